#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's installer, started by GRUB from an ISO on CD-ROM, answers its questions from a preseed file: language, keyboard, DHCP, the
mirror, which is this program's and is reached over the user network, and what it installs itself from there, a component of ours that
says so. usage: preseed.py KV-VMM bios|uefi CARD   Exit status 77: something needed is not installed."""
import os
import subprocess
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, f'{HERE}/../interop')
import cases  # noqa: E402
import mirror  # noqa: E402
from cases import check  # noqa: E402
from debian_installer import FIRMWARE, PRESEED, WORDS, make_disc, need, tool  # noqa: E402
from mirror import write  # noqa: E402

MORE_PRESEED = '''d-i anna/no_kernel_modules boolean true
d-i preseed/early_command string echo "preseed: $(cat /proc/sys/kernel/hostname)" >/dev/ttyS0
'''
CONTROL = '''Package: kv-here
Version: 1
Architecture: all
Maintainer: Kvasir
Section: debian-installer
Priority: standard
Installer-Menu-Item: 2400
Description: Says that it runs
'''
# A row of the installer's menu: run when what is above it is done.
POSTINST = '''#!/bin/sh
. /usr/share/debconf/confmodule
db_get mirror/suite
{ echo
echo "component: $(cat /usr/share/kv-here) of $RET"
ip -4 addr show | grep -o 'inet 10[.]0[.]2[.]15/24' | head -n 1
[ ! -d /sys/firmware/efi ] || echo by UEFI
} >/dev/ttyS0
poweroff -f
'''


def make_mirror(folder, www):
    package = f'{folder}/package'
    write(f'{package}/DEBIAN/control', CONTROL)
    write(f'{package}/DEBIAN/postinst', POSTINST)
    os.chmod(f'{package}/DEBIAN/postinst', 0o755)
    write(f'{package}/usr/share/kv-here', 'kv-here')
    tool('dpkg-deb', '-b', '-Zgzip', '--root-owner-group', package, f'{folder}/kv-here_1_all.udeb')
    mirror.make(www, {'main/debian-installer/binary-amd64': [f'{folder}/kv-here_1_all.udeb']})


def run(program, firmware, card, folder):
    need()
    www = f'{folder}/www'
    make_mirror(folder, www)
    server = mirror.Server(www)
    write(f'{www}/preseed.cfg', PRESEED.format(port=server.port) + MORE_PRESEED)
    command = [program, '--machine', 'pc', '--firmware', FIRMWARE[firmware], '--accel', 'soft', '--memory', '1280M', '--cdrom',
               make_disc(folder, server.port, f'{WORDS} hostname=kv'), '--net', f'user,model={card}', '--no-reboot',
               '--console', f'file:{folder}/serial']
    status = None
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            status = process.wait(270)
        except subprocess.TimeoutExpired:
            process.kill()
    with open(f'{folder}/serial', encoding='utf-8', errors='replace') as file:
        said = file.read()
    asked = '\n'.join(server.asked)
    for line in ('grub: ' + {'bios': 'pc', 'uefi': 'efi'}[firmware], 'preseed: ', 'component: kv-here of bookworm', 'inet 10.0.2.15/24'):
        check(line in said, f"the console does not say '{line}'", asked, said[-3000:])
    check(('by UEFI' in said) == (firmware == 'uefi'), 'another firmware', said[-500:])
    check(status == 0, f'kv-vmm: status {status}', said[-500:])


sys.exit(cases.one('preseed', run, *sys.argv[1:4]))
