# SPDX-License-Identifier: GPL-2.0-or-later
"""The bare guest (bench/guest) on our machine and QEMU's, and its native twin, one after the other in each round: compute
kernels in milliseconds, primitives in nanoseconds. Guests count in ticks of the host's TSC; the native program has its rate."""
import collections
import subprocess
import sys

from . import machine, report

LIMIT = 300  # seconds for one guest
MEMORY = 128  # MiB
CLASSES = {
    'all nine': ['sort', 'hash', 'lz', 'tree', 'sha', 'call', 'interp', 'strm', 'mm'],
    'six integer': ['sort', 'hash', 'lz', 'tree', 'sha', 'call'],
    'FP and SIMD': ['strm', 'mm'],
    'interpreter': ['interp'],
}


def parse(text):
    """{unit: {name: value}} of the lines `@bench NAME VALUE UNIT`."""
    found = collections.defaultdict(dict)
    for line in text.splitlines():
        words = line.split()
        if words[:2] == ['@bench', 'panic']:
            raise SystemExit(f'the bare guest met an exception: {line}')
        if len(words) == 4 and words[0] == '@bench':
            name, value, unit = words[1:]
            if unit == 'sum':
                found[unit].setdefault(name, set()).add(value)
            else:
                found[unit][name] = float(value)
    return found


def run_guest(case):
    vm = machine.Machine(case, '')
    text, _ = vm.read_until(b'@bench end', LIMIT)
    vm.end()
    return parse(text.decode('ascii', 'replace').replace('\r', ''))


def measure(context, part, cpus=1):
    """{column: [what parse() returns, a round each]}."""
    programs = context.programs
    image = f'{programs}/bench-guest'
    cases = {}
    if context.have_vmm:
        cases['ours'] = machine.Case('kv-vmm', True, cpus, machine.vmm_command(context, image, cpus, MEMORY, '--append', part))
    cases['tcg'] = machine.Case('QEMU TCG', False, cpus,
                                machine.qemu_command('q35', cpus, MEMORY, '-kernel', image, '-append', part))
    found = {column: [] for column in (*cases, 'native')}
    for number in range(context.args.runs):
        for column, case in cases.items():
            found[column].append(run_guest(case))
        native = subprocess.run([f'{programs}/bench-native', part], capture_output=True, text=True, check=True)
        found['native'].append(parse(native.stdout))
        print(f'{part}: round {number + 1} of {context.args.runs}', file=sys.stderr)
    return found


def rows_of(found, unit, scale):
    """{name: {column: [values]}}; scale(kHz) is what one tick is."""
    khz = max(one['kHz']['tsc'] for one in found['native'])
    rows = collections.defaultdict(dict)
    for column, rounds in found.items():
        for one in rounds:
            for name, ticks in one[unit].items():
                rows[name].setdefault(column, []).append(ticks * scale / khz)
    return rows


def check_sums(context, found):
    sums = collections.defaultdict(dict)
    for column, rounds in found.items():
        for one in rounds:
            for name, values in one['sum'].items():
                sums[name].setdefault(column, set()).update(values)
    for name, columns in sums.items():
        if len(set().union(*columns.values())) != 1:
            context.faults += 1
            print(f'WRONG RESULT of {name}: ' + ', '.join(f'{c} {"/".join(sorted(v))}' for c, v in columns.items()), flush=True)


def kernels(context):
    found = measure(context, 'kernels')
    for title, unit in (('ring 3, first run', 'first-ticks'), ('ring 3, best run', 'ticks')):
        report.matrix(f'compute kernels, {title}', 'ms', list(found), rows_of(found, unit, 1), CLASSES, context.results)
    check_sums(context, found)


def primitives(context):
    found = measure(context, 'primitives')
    report.matrix('primitives', 'ns', list(found), rows_of(found, 'ticks', 1e6), {}, context.results)


def smp(context):
    found = measure(context, 'smp', 2)
    alone, twice = rows_of(found, 'ticks', 1), rows_of(found, 'twice-ticks', 1)
    rows = {name: {column: 2 * min(alone[name][column]) / min(twice[name][column]) for column in found} for name in alone}
    report.scaling('throughput of 2 vCPUs (native: threads) over 1', list(found), rows, context.results)
    check_sums(context, found)
