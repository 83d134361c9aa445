# SPDX-License-Identifier: GPL-2.0-or-later
"""A PC from power-on through its firmware, SeaBIOS or OVMF: seconds to the first byte that a boot sector writes, to GRUB's first
line (of which it looks at the 8254 for 55 ms), and to a Debian's login prompt. Firmware, disks and devices are the same for both.
Called by bench/run (power-on)."""
import collections
import subprocess
import sys

from . import machine, report, start
from .console import Console
from .context import TOP

LIMIT = 300
FIRMWARE = {'BIOS': '/usr/share/seabios/bios-256k.bin', 'UEFI': '/usr/share/ovmf/OVMF.fd'}
MEMORY = 1024  # MiB
SECTOR = 512


def commands(context, firmware, boot, root):
    ours = [context.args.vmm, '--accel', 'soft', '--machine', 'pc', '--firmware', firmware, '--cpus', '2', '--memory', f'{MEMORY}M',
            '--quiet', '--no-reboot', '--disk', f'file={boot}', '--disk', f'file={root},snapshot=on']
    qemu = machine.qemu_command('q35', 2, MEMORY, '-bios', firmware, '-vga', 'std', '-drive', f'file={boot},if=virtio,format=raw', '-drive',
                                f'file={root},if=virtio,format=raw,snapshot=on')
    return {'ours': ours, 'tcg': qemu}


def write_sector(path):
    with open(path, 'wb') as file:
        file.write(start.FIRMWARE.ljust(SECTOR - 2, b'\0') + b'\x55\xaa')
        file.truncate(1 << 20)


def run(context):
    guest = context.args.guest
    subprocess.run([f'{TOP}/tools/make-guest', guest], check=True, stdout=sys.stderr)
    boot, sector = f'{context.folder}/boot', f'{context.folder}/sector'
    write_sector(sector)
    subprocess.run([f'{TOP}/tools/make-boot-disk', boot, f'{guest}/vmlinuz', f'{guest}/initrd.img', 'root=LABEL=root console=ttyS0'],
                   check=True)
    rows = collections.defaultdict(lambda: collections.defaultdict(list))
    for number in range(context.args.runs):
        for column, command in commands(context, FIRMWARE['BIOS'], sector, f'{guest}/debian.raw').items():
            rows['BIOS: boot sector'][column].append(start.first_byte(context, column, command) / 1000)
        for name, firmware in FIRMWARE.items():
            for column, command in commands(context, firmware, boot, f'{guest}/debian.raw').items():
                with Console(f'{column}, {name}', command) as vm:
                    rows[f'{name}: GRUB'][column].append(vm.wait_text(b'grub: ', LIMIT))
                    rows[f'{name}: login'][column].append(vm.wait_text(b' login: ', LIMIT))
        print(f'power-on: round {number + 1} of {context.args.runs}', file=sys.stderr)
    report.matrix('A PC: power-on to GRUB and to a Debian\'s login prompt, 2 vCPUs', 's', ('ours', 'tcg'), rows, {}, context.results)
