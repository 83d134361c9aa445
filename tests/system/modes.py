#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Each video mode of the BIOS, set and drawn in by modes.c, looks as in QEMU, which runs the same disk.
usage: modes.py KV-VMM BOOT-IMAGE   Exit status 77: something needed is not installed."""
import os
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import beside  # noqa: E402
import cases  # noqa: E402
from beside import check  # noqa: E402

# In the order of modes.c, in hexadecimal.
STEPS = '''0 text|1 text, scrolled|2 text|3 text|7 text|3 with 8 by 14|3 with 8 by 8|3, page 2|3, split|4|5, scrolled|6|D|E, scrolled|F|10, split
11|12|12, split|13|13, scrolled|X|X, split|100|101, scrolled|10D|10E|10F|110|111|112|142|3 again'''.replace('\n', '|').split('|')


def run(program, image, folder):
    disk = f'{folder}/disk'
    shutil.copy(image, disk)
    os.truncate(disk, 1 << 20)
    with beside.Pair(program, folder, ['--disk', f'file={disk},bus=sata,snapshot=on', '--memory', '64M'],
                     ['-drive', f'file={disk},if=none,id=d,format=raw,snapshot=on', '-device', 'ide-hd,drive=d', '-m', '64']) as pair:
        for number, name in enumerate(STEPS, 1):
            pair.wait_until(f'mode {name}', 40, lambda text, number=number: text.count(b'.') == number)
            check(b'-' not in b''.join(pair.serial()), f'mode {name}: the BIOS has none')
            size, colors = pair.wait_for(f'mode {name}', 15)
            print(f'mode {name}: {size}, {colors} colors', flush=True)
            pair.type('spc')


sys.exit(cases.one('modes', run, *sys.argv[1:3]))
