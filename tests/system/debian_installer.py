# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's installer on an ISO that GRUB starts, by BIOS or UEFI, with a preseed file of the test's. Imported by preseed.py and d-i.py."""
import os
import shutil
import subprocess

from cases import Skipped, check
from mirror import write

FILES = '/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/'
FIRMWARE = {'bios': '/usr/share/seabios/bios-256k.bin', 'uefi': '/usr/share/ovmf/OVMF.fd'}
WORDS = 'console=ttyS0 auto=true priority=critical locale=en_US.UTF-8 keymap=us domain=test'
# The mirror that the test is itself, by the user network.
PRESEED = '''d-i mirror/country string manual
d-i mirror/http/hostname string 10.0.2.2:{port}
d-i mirror/http/directory string /debian
d-i mirror/http/proxy string
d-i mirror/suite string bookworm
d-i debian-installer/allow_unauthenticated boolean true
'''


def tool(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    check(done.returncode == 0, f'{" ".join(words)}: status {done.returncode}', done.stderr[-2000:])
    return done.stdout


def need(*more):
    for file in (FILES + 'linux', *FIRMWARE.values(), *more):
        if not os.path.exists(file):
            raise Skipped(f'no {file} (check long)')
    for name in ('grub-mkrescue', 'xorriso', 'mformat', 'dpkg-deb'):
        if not shutil.which(name):
            raise Skipped(f'no {name} (tools/install-deps test)')


def make_disc(folder, port, words):
    tree = f'{folder}/tree'
    os.makedirs(f'{tree}/install')
    shutil.copy(FILES + 'linux', f'{tree}/install/linux')
    shutil.copy(FILES + 'initrd.gz', f'{tree}/install/initrd.gz')
    write(f'{tree}/boot/grub/grub.cfg', f'serial\nterminal_output serial console\necho "grub: $grub_platform"\n'
          f'linux /install/linux {words} url=http://10.0.2.2:{port}/preseed.cfg ---\ninitrd /install/initrd.gz\nboot\n')
    tool('grub-mkrescue', '-o', f'{folder}/iso', tree)
    return f'{folder}/iso'
