#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Memtest86+ as a kernel that the BIOS starts, and as UEFI's program, as a person sees it: the memory is found, tests run on all
processors, no errors. usage: memtest.py KV-VMM bios|uefi. Exit status 77: something needed is not installed."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import screen  # noqa: E402
from screen import check  # noqa: E402

PROGRAM = {'bios': '/boot/memtest86+x64.bin', 'uefi': '/boot/memtest86+x64.efi'}


def options(firmware, folder):
    if firmware == 'bios':
        return ['--kernel', PROGRAM['bios']]
    disk = f'{folder}/disk'
    with open(disk, 'wb') as file:
        file.truncate(8 << 20)
    for command in (['mformat', '-i', disk, '::'], ['mmd', '-i', disk, '::/EFI', '::/EFI/BOOT'],
                    ['mcopy', '-i', disk, PROGRAM['uefi'], '::/EFI/BOOT/BOOTX64.EFI']):
        subprocess.run(command, check=True)
    return ['--firmware', 'uefi', '--disk', f'file={disk}']


def run(program, firmware, folder):
    font = screen.learn_font(program, folder)
    with screen.Machine(program, folder, 'memtest', '--memory', '96M', '--cpus', '2', *options(firmware, folder)) as machine:
        # Text of the VGA has nine columns a letter. That which Memtest86+ draws itself, in 640 x 480, has eight, and is in the middle.
        cells = {} if firmware == 'bios' else {'wide': 8, 'top': 40}
        lines = machine.wait_for(['est86', 'L3 Cache:', 'CPU: 2 Cores', 'Status: .esting'], font, 150, **cells)
        memory = re.search(r'e.ory *: +(\d[\d ]).B', '\n'.join(lines))  # a space is a 0 that is drawn in another way
        check(memory and 88 <= int(memory.group(1).replace(' ', '0')) <= 96, 'another size of memory', lines)
        # The last test waits for minutes.
        machine.wait_for(['Bit .ade test, 2 patterns', 'Errors:(?! *[1-9])'], font, 300, **cells)


sys.exit(screen.main('memtest', PROGRAM[sys.argv[2]], run, *sys.argv[1:3]))
