#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's installer to its first question, as a person sees it, and to the second by the keyboard. text: PXELINUX from the network,
VGA text; gtk: the kernel directly, pictures. usage: installer.py KV-VMM text|gtk.
Exit status 77: something needed is not installed."""
import os
import shutil
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import screen  # noqa: E402
from screen import check  # noqa: E402

FOLDER = '/usr/lib/debian-installer/images/12/amd64/'
LIMIT = 250


def text(program, folder):
    font = screen.learn_font(program, folder)
    # With files for everybody to read, and a configuration that does not ask.
    shutil.copytree(FOLDER + 'text', f'{folder}/tftp')
    os.unlink(f'{folder}/tftp/pxelinux.cfg/default')
    with open(f'{folder}/tftp/pxelinux.cfg/default', 'w', encoding='ascii') as file:
        file.write('default install\nlabel install\n kernel debian-installer/amd64/linux\n'
                   ' append vga=normal fb=false nomodeset initrd=debian-installer/amd64/initrd.gz\n')
    with screen.Machine(program, folder, 'installer', '--memory', '1G', '--boot', 'order=n', '--net',
                        f'user,tftp={folder}/tftp,bootfile=pxelinux.0') as machine:
        machine.wait_for(['Select a language', 'English'], font, LIMIT)
        machine.type('ret')
        machine.wait_for(['Select your location', 'United States'], font, LIMIT)


def white(rows):
    """How much of the picture is white, and how many colors it has."""
    pixels = [pixel for row in rows for pixel in row]
    return pixels.count(b'\xff\xff\xff') / len(pixels), len(set(pixels))


def gtk(program, folder):
    files = FOLDER + 'gtk/debian-installer/amd64/'
    with screen.Machine(program, folder, 'installer', '--memory', '1G', '--kernel', files + 'linux', '--initrd',
                        files + 'initrd.gz', '--append', 'vga=788') as machine:
        end = time.monotonic() + LIMIT
        # A list on a white ground, letters with soft edges, a banner with shades.
        while True:
            rows = machine.rows()
            share, colors = white(rows)
            if share > 0.5 and colors > 200:
                break
            check(time.monotonic() < end, f'no window: {share:.0%} white, {colors} colors')
            time.sleep(1)
        machine.type('down')
        while machine.rows() == rows:
            check(time.monotonic() < end, 'the keyboard changes nothing')
            time.sleep(1)


sys.exit(screen.main('installer', FOLDER, {'text': text, 'gtk': gtk}[sys.argv[2]], sys.argv[1]))
