# SPDX-License-Identifier: GPL-2.0-or-later
"""Process start to the first line of /init, wall and CPU seconds (also CPU of children and threads)."""
import sys

from . import machine, report


def run(context):
    cases = machine.linux_cases(context, (1, 2))
    values = {case: {'wall s': [], 'CPU s': []} for case in cases}
    for number in range(context.args.runs):
        for case in cases:
            vm = machine.Machine(case, '')
            wall = vm.wait_init()
            values[case]['CPU s'].append(vm.end())
            values[case]['wall s'].append(wall)
        print(f'boot: round {number + 1} of {context.args.runs}', file=sys.stderr)
    report.machines('process start to the first line of /init', 's', list(values.items()), context.results)
