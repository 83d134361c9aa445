#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""GRUB Invaders, a game that is its own system, is played: GRUB starts it by multiboot, it moves by the timer, and the keyboard's
controller tells it what to do. usage: invaders.py KV-VMM   Exit status 77: something needed is not installed."""
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import screen  # noqa: E402
from screen import check  # noqa: E402

GAME = '/boot/invaders.exec'
SHIP = re.compile(r'^( *)/ \\ *$', re.MULTILINE)


def look(machine, font):
    return '\n'.join(screen.read_text(machine.rows(), font))


def place(machine, font):
    """The ship's column."""
    found = SHIP.search(look(machine, font))
    check(found, 'no ship on the screen')
    return len(found.group(1))


def play(machine, font, what, key, is_so):
    end = time.monotonic() + 200
    while True:
        machine.type(key)
        if is_so():
            return
        check(time.monotonic() < end, what, look(machine, font))


def run(program, folder):
    font = screen.learn_font(program, folder)
    os.makedirs(f'{folder}/tree/boot/grub')
    shutil.copy(GAME, f'{folder}/tree')
    with open(f'{folder}/tree/boot/grub/grub.cfg', 'w', encoding='ascii') as file:
        file.write('multiboot /invaders.exec\nboot\n')
    subprocess.run(['grub-mkrescue', '-d', '/usr/lib/grub/i386-pc', '-o', f'{folder}/iso', f'{folder}/tree'], check=True,
                   capture_output=True)
    with screen.Machine(program, folder, 'game', '--cdrom', f'{folder}/iso', '--memory', '64M') as machine:
        before = '\n'.join(machine.wait_for([r'-\*-.*-\*-', SHIP], font, 200))
        column, end = place(machine, font), time.monotonic() + 200
        while look(machine, font) == before:
            check(time.monotonic() < end, 'nothing moves')
        play(machine, font, 'it does not go to the left', 'left', lambda: place(machine, font) < column - 2)
        left = place(machine, font)
        play(machine, font, 'it does not go to the right', 'right', lambda: place(machine, font) > left + 2)
        play(machine, font, 'it does not shoot', 'spc', lambda: re.search(r'^ *\| *$', look(machine, font), re.MULTILINE))


if not shutil.which('grub-mkrescue') or not os.path.exists('/usr/lib/grub/i386-pc'):
    print('skipped: no grub-mkrescue with its i386-pc (tools/install-deps test)')
    sys.exit(77)
sys.exit(screen.main('invaders', GAME, run, sys.argv[1]))
