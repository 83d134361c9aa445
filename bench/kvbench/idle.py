# SPDX-License-Identifier: GPL-2.0-or-later
"""CPU of an idle guest, per cent of a core."""
import time

from . import machine, report


def run(context):
    values = {case: {'% of a core': []} for case in machine.linux_cases(context, (1, 2))}
    for _ in range(min(context.args.runs, 3)):
        for case, columns in values.items():
            vm = machine.Machine(case, 'kv.run="sleep 1000"')
            vm.wait_init()
            time.sleep(4)
            before, start = vm.cpu(), time.monotonic()
            time.sleep(context.args.idle)
            columns['% of a core'].append(100 * (vm.cpu() - before) / (time.monotonic() - start))
            vm.end()
    report.machines('an idle guest', '%', list(values.items()), context.results)
