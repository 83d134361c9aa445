# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian that was installed on a PC's disk: what it starts as. Imported by install.py and d-i.py."""
from cases import check
from debian_console import Guest

LIMIT = 560  # seconds for a machine


def pc(program, firmware, log, *options):
    return Guest([program, '--machine', 'pc', '--firmware', firmware, '--accel', 'soft', '--cpus', '2', '--memory', '1G', *options],
                 log, LIMIT)


def power_off(guest):
    guest.console.send('systemctl poweroff\n')
    guest.wait_end()


def look(system, firmware):
    check(system.run('hostname') == 'installed', 'another system')
    system.run('test "$(systemctl is-system-running --wait)" = running')
    system.run(f'test {"!" if firmware == "bios" else ""} -d /sys/firmware/efi')
    system.run('findmnt -no FSTYPE / | grep -x ext4 && test -z "$(dpkg --audit)" && test -e /boot/grub/grub.cfg')
