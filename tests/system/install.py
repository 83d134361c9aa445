#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian is installed on an empty disk, in the machine that is to run it: a live Debian (guest/installer) has parted, mkfs, debootstrap
and grub-install do it (install-guest.sh), with packages of a mirror that this program serves and the guest reaches by the user network.
Then the disk starts by itself, by the firmware, GRUB and its kernel, to a login, and once more after a reboot.
usage: install.py KV-VMM GUEST-DIRECTORY bios|uefi   Exit status 77: something needed is not there."""
import os
import shutil
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, f'{HERE}/../interop')
import cases  # noqa: E402
import mirror  # noqa: E402
from cases import check  # noqa: E402
from debian_console import need_guest  # noqa: E402
from debian_installed import LIMIT, look, pc, power_off  # noqa: E402

PACKAGES = 'systemd-sysv,udev,linux-image-cloud-amd64,initramfs-tools,zstd,grub2-common,grub-pc-bin,grub-efi-amd64-bin'


def install(program, guest, firmware, folder, disk):
    www = f'{folder}/www'
    debs = sorted(name for name in os.listdir(f'{guest}/debs') if name.endswith('.deb'))
    mirror.make(www, {'main/binary-amd64': [f'{guest}/debs/{name}' for name in debs]})
    shutil.copy(f'{HERE}/install-guest.sh', www)
    port = mirror.Server(www).port
    with pc(program, firmware, f'{folder}/log', '--kernel', f'{guest}/vmlinuz', '--initrd', f'{guest}/initrd.img', '--append',
               'root=LABEL=root console=ttyS0', '--disk', f'file={guest}/debian.raw,snapshot=on', '--disk',
               f'file={disk},serial=target', '--net', 'user') as live:
        live.run('systemctl start systemd-networkd-wait-online')
        live.run(f'wget -q http://10.0.2.2:{port}/install-guest.sh')
        output = live.run(f'sh install-guest.sh {firmware} /dev/disk/by-id/virtio-target http://10.0.2.2:{port}/debian {PACKAGES} 2>&1',
                          LIMIT)
        check(output.endswith('all is installed'), 'it was not', output[-2000:])
        power_off(live)


def run(program, guest, firmware, folder):
    need_guest(guest, 'debs/list')
    disk = f'{folder}/disk'
    with open(disk, 'wb') as file:
        file.truncate(2 << 30)
    install(program, guest, firmware, folder, disk)
    with pc(program, firmware, f'{folder}/log', '--disk', f'file={disk}') as system:
        look(system, firmware)
        system.console.send('systemctl reboot\n')
        system.login()
        look(system, firmware)
        power_off(system)


sys.exit(cases.one('install', run, *sys.argv[1:4]))
