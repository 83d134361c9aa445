# SPDX-License-Identifier: GPL-2.0-or-later
"""The quickstart's Debian guest (systemd, 2 vCPUs, 1 GiB, a disk and a network card): process start to the login prompt, and
what the VM's process takes beyond the guest's memory when that is there. Each start has a fresh copy of the disk, made before
the clock runs. Called by bench/run (login, memory-after-boot)."""
import os
import statistics
import subprocess
import sys
import tempfile
import time

from . import machine
from .console import Console
from .context import TOP
from .memory import memory_of

LIMIT = 180  # seconds to the prompt
SETTLE = 5  # seconds from the prompt to the look at the memory
MEMORY = 1024  # MiB


def commands(context, disk):
    """{name: command}; the same kernel, initrd, disk and devices."""
    guest = context.args.guest
    boot = ['--initrd', f'{guest}/initrd.img', '--append', 'root=LABEL=root console=ttyS0']
    ours = machine.vmm_command(context, f'{guest}/vmlinuz', 2, MEMORY, *boot, '--disk', f'file={disk}', net='user')
    qemu = machine.qemu_command('q35', 2, MEMORY, '-kernel', f'{guest}/vmlinuz', *boot, '-drive', f'file={disk},if=virtio,format=raw',
                                '-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net')
    known = {'ours': ours, 'tcg': qemu}
    return {name: known[name] for name in context.args.machines.split(',') if name in known}


def boot_all(context, title, look):
    """{name: [look(vm, seconds to the prompt)]}, the machines in turn."""
    args = context.args
    subprocess.run([f'{TOP}/tools/make-guest', args.guest], check=True, stdout=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        disk = f'{folder}/disk.raw'
        values = {name: [] for name in commands(context, disk)}
        for number in range(args.runs):
            for name, command in commands(context, disk).items():
                subprocess.run(['cp', '--sparse=always', f'{args.guest}/debian.raw', disk], check=True)
                with Console(name, command) as vm:
                    values[name].append(look(vm, vm.wait_text(b' login: ', LIMIT)))
            print(f'{title}: round {number + 1} of {args.runs}', file=sys.stderr)
    return values


def report(context, title, unit, columns, values):
    print(f'\n## {title}\n\n| machine | ' + ' | '.join(f'{c} min {unit} | median' for c in columns) + ' | ratio |')
    print('| --- |' + ' --- |' * (2 * len(columns) + 1))
    least = {name: min(value[0] for value in rows) for name, rows in values.items()}
    for name, rows in values.items():
        cells = [f'{min(column):.2f} | {statistics.median(column):.2f}' for column in zip(*rows)]
        ratio = least['tcg'] / least[name] if 'tcg' in least else float('nan')
        print(f'| {name} | ' + ' | '.join(cells) + f' | {ratio:.2f} |')
        context.results.append({'bench': title, 'machine': name, 'unit': unit, 'columns': columns, 'values': rows, 'ratio': ratio})
    print(flush=True)


def run(context):
    values = boot_all(context, 'login', lambda vm, seconds: (seconds, vm.cpu()))
    report(context, 'process start to the login prompt of a Debian, 2 vCPUs', 's', ['wall', 'CPU'], values)


def run_memory(context):
    def look(vm, _):
        time.sleep(SETTLE)
        kinds = memory_of(vm.process.pid, MEMORY)
        return kinds['rest MiB'] + kinds['code cache MiB'], kinds['code cache MiB']

    values = boot_all(context, 'memory-after-boot', look)
    report(context, 'memory of the process beyond the guest\'s after a Debian\'s boot (PSS)', 'MiB', ['all', 'code cache'], values)


def add_options(parser):
    parser.add_argument('--guest', metavar='DIR', default=os.path.join(TOP, 'guest'), help='the guest of login and memory-after-boot')
