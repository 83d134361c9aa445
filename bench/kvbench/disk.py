# SPDX-License-Identifier: GPL-2.0-or-later
"""Random requests of 4 KiB by a Linux guest (disk-load.c), to a raw file and a qcow2 image that the page cache has: how many a
second of the host's CPU, and ours alone, how many system calls one takes. Called by bench/run (disk)."""
import collections
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys

from . import console, machine, report

MIB = 1 << 20
DATA = 128
LIMIT = 60
SECONDS = 4
CASES = [(kind, op, depth) for kind in ('raw', 'qcow2') for op in ('read', 'write') for depth in (1, 32)]


def make_initrd(context):
    path = f'{context.folder}/disk-initrd'
    subprocess.run([os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + '/tools/make-initrd', path,
                    f'{context.programs}/disk-load'], check=True)
    return path


def make_images(folder):
    with open(f'{folder}/disk.raw', 'wb') as file:
        for _ in range(DATA):
            file.write(os.urandom(MIB))
    subprocess.run(['qemu-img', 'convert', '-O', 'qcow2', f'{folder}/disk.raw', f'{folder}/disk.qcow2'], check=True)


def commands(context, kind, op, depth):
    append = f'console=ttyS0 quiet kv.run="disk-load /dev/vda {op} {depth} {SECONDS}"'
    disk, initrd = f'{context.folder}/disk.{kind}', f'{context.folder}/disk-initrd'
    return {
        'ours': machine.vmm_command(context, context.kernel, 1, 256, '--initrd', initrd, '--append', append, '--disk',
                                    f'file={disk},format={kind}'),
        'tcg': machine.qemu_command('q35', 1, 256, '-kernel', context.kernel, '-initrd', initrd, '-append', append, '-drive',
                                    f'file={disk},format={kind},if=none,id=d,aio=io_uring', '-device', 'virtio-blk-pci,drive=d'),
    }


PERF = ['perf', 'stat', '-x,', '-e', 'raw_syscalls:sys_enter']
STRACE = ['strace', '-f', '-c']


def counter():
    """How system calls can be counted here: perf, which does not slow them down, before strace; or None."""
    if shutil.which('perf') and not subprocess.run([*PERF, 'true'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        return PERF
    return STRACE if shutil.which('strace') else None


def count_calls(vm, tool):
    """(system calls, requests) of the running process until the guest's load ends."""
    tracer = subprocess.Popen([*tool, '-p', str(vm.process.pid)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)
    for _, line in vm.lines(LIMIT):
        if line.startswith('@disk end'):
            break
    tracer.send_signal(signal.SIGINT)
    text = tracer.communicate()[1]
    total = r'^(\d+),' if tool is PERF else r'^100\.00\s+\S+\s+\S*\s+(\d+)\s.*total$'
    return int(re.search(total, text, re.M).group(1)), int(line.split()[2])


def measure(command, name, trace=None):
    """(requests a CPU second, requests a second), or system calls a request."""
    with console.Console(name, command) as vm:
        vm.wait_text(b'@disk start', LIMIT)
        if trace:
            calls, done = count_calls(vm, trace)
            return calls / done
        before = vm.cpu()
        for _, line in vm.lines(LIMIT):
            if line.startswith('@disk end'):
                done, seconds = line.split()[2:4]
                return int(done) / (vm.cpu() - before), int(done) / float(seconds)
    sys.exit(f'disk: {name} ended early')


def measure_again(command, name):
    """A QEMU in some dozens says nothing at all: then another one."""
    try:
        return measure(command, name)
    except SystemExit as error:
        if name == 'ours':
            raise
        print(f'disk: {error}; once more', file=sys.stderr)
        return measure(command, name)


def run(context):
    make_initrd(context)
    make_images(context.folder)
    cpu = collections.defaultdict(lambda: collections.defaultdict(list))
    wall = collections.defaultdict(lambda: collections.defaultdict(list))
    for number in range(context.args.runs):
        for kind, op, depth in CASES:
            for column, command in list(commands(context, kind, op, depth).items())[::1 if number % 2 else -1]:
                a_cpu, a_wall = measure_again(command, column)
                row = f'{kind}, {op}, depth {depth}'
                cpu[row][column].append(1e6 / a_cpu)
                wall[row][column].append(1e6 / a_wall)
    report.matrix('4 KiB requests of a guest: CPU of the host for one', 'microseconds', ('ours', 'tcg'), cpu, {'all': list(cpu)},
                  context.results)
    report.matrix('4 KiB requests of a guest: time for one', 'microseconds', ('ours', 'tcg'), wall, {'all': list(wall)},
                  context.results)
    tool = counter()
    if not tool:
        print('disk: neither perf nor strace, system calls are not counted', file=sys.stderr)
        return
    print(f'\n## 4 KiB requests of a guest: system calls of kv-vmm for one, counted by {tool[0]}\n\n| | |\n| --- | --- |')
    for kind, op, depth in CASES:
        calls = statistics.median(measure(commands(context, kind, op, depth)['ours'], 'ours', tool) for _ in range(context.args.runs))
        print(f'| {kind}, {op}, depth {depth} | {calls:.2f} |', flush=True)
        context.results.append({'bench': 'system calls a request', 'name': f'{kind}, {op}, depth {depth}', 'value': calls})
