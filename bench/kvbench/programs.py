# SPDX-License-Identifier: GPL-2.0-or-later
"""Real programs and kernel loops (bench/programs/items) in a Debian guest on our software KVM, in the same guest on QEMU's
TCG, and natively from the same files. One round runs all machines in turn. The time of an item is that between its two lines'
arrival on the host, so the guest's clock cannot flatter; where the guest's clock says something else, the report says so. The
CPU seconds are those of the VM's process, and natively of the item's. An item's output must be what it is natively. Called by bench/run (programs, programs-smp)."""
import collections
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

from . import machine as vm
from .console import Console
from .context import TOP
from .report import geomean

SOURCE = f'{TOP}/bench/programs'
MEMORY = 1024  # MiB
# The guest's packages beside those of tools/make-guest.
PACKAGES = 'gzip,xz-utils,coreutils,sqlite3,openssl,python3-minimal,python3,gcc,libc6-dev,findutils'
GEOMEANS = {'program': 'programs', 'kernel': 'kernel loops'}
SILENCE = 180  # seconds without a line
CLOCK_SLACK = 0.03  # seconds and share that the guest's clock may differ from the host's before it is told
Machine = collections.namedtuple('Machine', 'name command')
Item = collections.namedtuple('Item', 'name kind line')
Value = collections.namedtuple('Value', 'wall cpu guest sum')


def read_items(kinds, names):
    items = []
    for line in open(f'{SOURCE}/items', encoding='ascii'):
        name, kind, _ = line.split(' ', 2)
        if kind == 'warm' or (kind in kinds and (not names or name in names)):
            items.append(Item(name, kind, line))
    return items


def prepare(folder, items):
    """The benchmark's own directory, as such and as a disk."""
    stage, disk = f'{folder}/bench', f'{folder}/bench.raw'
    shutil.rmtree(stage, ignore_errors=True)
    os.mkdir(stage)
    for name in ('runner', 'loops'):
        subprocess.run(['gcc', '-O2', '-static', '-o', f'{stage}/{name}', f'{SOURCE}/{name}.c'], check=True)
    subprocess.run([sys.executable, f'{SOURCE}/inputs.py', stage], check=True)
    shutil.copy(f'{SOURCE}/script.py', stage)
    with open(f'{stage}/items', 'w', encoding='ascii') as file:
        file.writelines(item.line for item in items)
    path = os.environ['PATH'] + ':/usr/sbin:/sbin'
    subprocess.run(['mke2fs', '-q', '-F', '-t', 'ext4', '-L', 'bench', '-d', stage, disk, '32M'], check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, 'PATH': path})
    return stage, disk


def native_tree(guest):
    """The guest's files as a directory, made again when the image is newer."""
    tree, image = f'{guest}/tree', f'{guest}/debian.raw'
    if not os.path.isdir(tree) or os.path.getmtime(tree) < os.path.getmtime(image):
        shutil.rmtree(tree, ignore_errors=True)
        os.mkdir(f'{tree}.new')
        path = os.environ['PATH'] + ':/usr/sbin:/sbin'
        subprocess.run(['debugfs', '-R', f'rdump / {tree}.new', image], check=True, capture_output=True, env={**os.environ, 'PATH': path})
        os.rename(f'{tree}.new', tree)
        os.utime(tree)
    return tree


def machines(context, stage, disk, cpus):
    """The wanted ones, by --machines: ours, tcg, native; and that of --against."""
    args, guest = context.args, context.args.guest_bench
    append = 'root=LABEL=root ro quiet console=ttyS0 init=/bin/sh -- -c "mount -o ro -L bench /mnt && exec /mnt/runner --guest"'
    boot = ['--initrd', f'{guest}/initrd.img', '--append', append]
    ours = vm.vmm_command(context, f'{guest}/vmlinuz', cpus, MEMORY, *boot, '--stats')
    qemu = vm.qemu_command('q35', cpus, MEMORY, '-kernel', f'{guest}/vmlinuz', *boot)
    for file in (f'{guest}/debian.raw', disk):
        ours += ['--disk', f'file={file},readonly=on']
        qemu += ['-drive', f'file={file},if=virtio,format=raw,readonly=on']
    namespace = ['unshare', '-m', '-p', '-f'] + ([] if os.getuid() == 0 else ['-U', '-r'])
    tree = native_tree(guest)
    native = namespace + ['sh', '-c', f'mount --rbind /dev {tree}/dev && mount --bind {stage} {tree}/mnt && exec chroot {tree} /mnt/runner']
    if cpus == 1:
        native = ['taskset', '-c', str(max(os.sched_getaffinity(0)))] + native
    all_machines = {'ours': Machine('ours', ours), 'tcg': Machine('TCG', qemu), 'native': Machine('native', native)}
    if args.against:
        all_machines['other'] = Machine('other', [args.against] + ours[1:])
    wanted = args.machines.split(',') + (['other'] if args.against else [])
    return [machine for key, machine in all_machines.items() if key in wanted]


def run_once(machine):
    """{item: Value}, and what the VMM says at its end."""
    results, started, cpu = {}, None, None
    with Console(machine.name, machine.command) as console:
        for at, line in console.lines(SILENCE):
            words = line.split()
            if words[:1] == ['@start']:
                started, cpu = at, console.cpu()
            elif words[:1] == ['@bench'] and len(words) == 5:
                used = float(words[4]) if machine.name == 'native' else console.cpu() - cpu
                results[words[1]] = Value(at - started, used, float(words[2]), words[3])
            elif words[:1] == ['@error']:
                raise SystemExit(f'{machine.name}: {line}')
            elif words[:1] == ['@end']:
                break
        try:
            console.process.wait(20)
        except subprocess.TimeoutExpired:
            print(f'{machine.name}: still runs 20 s after its power-off', file=sys.stderr)
        return results, console.error_text()


def measure(context, items, cpus, title):
    """{machine: {item: [Value]}}, and the last VMM report of each machine."""
    values = collections.defaultdict(lambda: collections.defaultdict(list))
    said = {}
    with tempfile.TemporaryDirectory() as folder:
        stage, disk = prepare(folder, items)
        for number in range(context.args.runs):
            for machine in machines(context, stage, disk, cpus):
                found, said[machine.name] = run_once(machine)
                for name, value in found.items():
                    values[machine.name][name].append(value)
            print(f'{title}: round {number + 1} of {context.args.runs}', file=sys.stderr)
    return values, said


def check(context, values, items):
    """Takes out of values, and counts, what went wrong: missing items, and other output than natively. Tells of clocks that are off."""
    reference = dict(values.get('native') or next(iter(values.values())))
    for name, found in values.items():
        for item in items:
            sums = {value.sum for value in found[item.name]}
            if not sums or sums != {value.sum for value in reference[item.name]} or any(s.startswith('status-') for s in sums):
                print(f'WRONG RESULT of {item.name} on {name}: {", ".join(sorted(sums)) or "none"}', flush=True)
                context.faults += 1
                found[item.name] = []
                continue
            best = min(found[item.name])
            if abs(best.wall - best.guest) > CLOCK_SLACK * (1 + best.wall):
                print(f'note: {item.name} on {name} took {best.wall:.3f} s, by the guest\'s clock {best.guest:.3f} s')


def report(context, title, items, values):
    """A row an item: seconds of each machine, and how many times ours takes less than the others (wall; CPU)."""
    names = list(values)
    ours, others = names[0], names[1:]
    heads = [f'{name} min | median | CPU' for name in names] + [f'{other}/{ours} | CPU' for other in others]
    print(f'\n## {title}\n\n| item | ' + ' | '.join(heads) + ' |\n| --- |' + ' --- |' * (3 * len(names) + 2 * len(others)))
    ratios = collections.defaultdict(list)
    for item in items:
        row = {name: values[name][item.name] for name in names}
        best = {name: [min(v[i] for v in row[name]) for i in (0, 1)] for name in names if row[name]}
        cells = [f'{best[n][0]:.3f} | {statistics.median(v.wall for v in row[n]):.3f} | {best[n][1]:.3f}' if row[n] else '- | - | -'
                 for n in names]
        for other in others:
            if ours in best and other in best:
                pair = [best[other][i] / max(best[ours][i], 1e-6) for i in (0, 1)]
                ratios[item.kind, other].append(pair)
                cells.append('{:.2f} | {:.2f}'.format(*pair))
            else:
                cells.append('- | -')
        print(f'| {item.name} | ' + ' | '.join(cells) + ' |')
        context.results += [{'bench': title, 'name': item.name, 'machine': name, 'unit': 's', 'values': [v._asdict() for v in row[name]]}
                            for name in names]
    for kind, text in GEOMEANS.items():
        means = {other: [geomean(column) for column in zip(*ratios[kind, other])] for other in others if ratios[kind, other]}
        if means:
            print(f'| **geomean, {text}** |' + ' |' * 3 * len(names) + ''.join(' **{:.2f}** | **{:.2f}** |'.format(*m) for m in means.values()))
            context.results.append({'bench': title, 'class': text, 'geomean (wall, CPU)': means})
    print(flush=True)


def run(context):
    ensure_guest(context.args)
    items = read_items(('program', 'kernel'), context.args.items.split(',') if context.args.items else [])
    values, said = measure(context, items, 1, 'programs')
    check(context, values, items)
    report(context, 'programs and kernel loops in a Debian guest, 1 vCPU (s)', [item for item in items if item.kind != 'warm'], values)
    context.results.append({'bench': 'programs', 'said by the machines': said})


def run_smp(context):
    """Two copies at once: the time with 1 vCPU divided by that with 2."""
    ensure_guest(context.args)
    items = read_items(('smp',), [])
    one, two = (measure(context, items, cpus, f'programs-smp, {cpus} vCPUs')[0] for cpus in (1, 2))
    check(context, one, items)
    check(context, two, items)
    title = 'two copies at once: time with 1 vCPU / with 2 (2.00 is best)'
    print(f'\n## {title}\n\n| item | machine | 1 vCPU min s | 2 vCPUs min s | ratio |\n| --- | --- | --- | --- | --- |')
    for item in items[1:]:
        for name in one:
            if one[name][item.name] and two[name][item.name]:
                pair = [min(v.wall for v in side[name][item.name]) for side in (one, two)]
                print(f'| {item.name} | {name} | {pair[0]:.3f} | {pair[1]:.3f} | {pair[0] / pair[1]:.2f} |')
                context.results.append({'bench': title, 'name': item.name, 'machine': name, 'values': pair, 'ratio': pair[0] / pair[1]})
    print(flush=True)


def ensure_guest(args):
    subprocess.run([f'{TOP}/tools/make-guest', '-p', PACKAGES, args.guest_bench], check=True, stdout=sys.stderr)


def add_options(parser):
    parser.add_argument('--guest-bench', metavar='DIR', default=f'{TOP}/guest-bench', help='the guest of programs and programs-smp, made if missing')
    parser.add_argument('--items', metavar='NAME,...', default='', help='programs: these alone')
    parser.add_argument('--machines', metavar='NAME,...', default='ours,tcg,native', help='programs, programs-smp, login: these alone')
    parser.add_argument('--against', metavar='VMM', help='programs, programs-smp: another kv-vmm ("other"), in the same rounds')
