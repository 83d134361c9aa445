#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's installer installs Debian on an empty disk from a preseed file and reboots into it. Its own components do what is
theirs: the network, the drivers of its kernel, the base system and the kernel, by debootstrap and apt in it, from a mirror that this
program serves (d-i-components.sh has what partman and grub-installer would do, as mirrors do not keep all components). Then the disk
starts by itself, by the firmware, GRUB and its kernel, to a login.
usage: d-i.py KV-VMM GUEST-DIRECTORY bios|uefi   Exit status 77: something needed is not there."""
import os
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, f'{HERE}/../interop')
import cases  # noqa: E402
import mirror  # noqa: E402
from cases import Skipped, check  # noqa: E402
from debian_installed import look, pc, power_off  # noqa: E402
from debian_installer import FIRMWARE, PRESEED, WORDS, make_disc, need, tool  # noqa: E402

DISK = {'bios': 'bus=sata', 'uefi': 'bus=virtio'}
CARD = {'bios': 'e1000e', 'uefi': 'virtio'}
MORE_PRESEED = '''d-i base-installer/kernel/image string linux-image-cloud-amd64
d-i base-installer/install-recommends boolean false
d-i preseed/late_command string echo "late: $(cat /proc/sys/kernel/hostname)" >/dev/ttyS0
'''
LIMIT = 3000  # seconds: ten minutes where nothing else runs


def copy_program(name, tree):
    """With its libraries, those of libc aside: the installer has them."""
    path = shutil.which(name, path='/usr/sbin:/sbin:/usr/bin:/bin')
    if not path:
        raise Skipped(f'no {name} (tools/install-deps test)')
    os.makedirs(tree, exist_ok=True)
    shutil.copy(path, tree)
    for line in tool('ldd', path).splitlines():
        words = line.split()
        if '=>' in words and not words[0].startswith(('libc.', 'libm.', 'libpthread.')):
            shutil.copy(words[2], f'{tree}/{words[0]}')


def component(folder, name, control, files):
    """A package of the installer; the files by their places, a string or a folder that is copied."""
    tree = f'{folder}/{name}'
    mirror.write(f'{tree}/DEBIAN/control', f'Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: Kvasir\n'
                 f'Section: debian-installer\nPriority: standard\nDescription: Kvasir\n{control}')
    for place, what in files.items():
        if os.path.isdir(what):
            shutil.copytree(what, f'{tree}/{place}', symlinks=True, dirs_exist_ok=True)
        else:
            mirror.write(f'{tree}/{place}', what)
            os.chmod(f'{tree}/{place}', 0o755)
    tool('dpkg-deb', '-b', '-Zgzip', '--root-owner-group', tree, f'{folder}/{name}_1_all.udeb')
    return f'{folder}/{name}_1_all.udeb'


def script(step):
    with open(f'{HERE}/d-i-components.sh', encoding='utf-8') as file:
        return file.read().replace('@STEP@', step)


def components(folder, debs):
    for name in 'sfdisk', 'mke2fs':
        copy_program(name, f'{folder}/programs')
    [bootstrap] = [name for name in os.listdir(debs) if name.startswith('debootstrap_')] or [None]
    if not bootstrap:
        raise Skipped(f'no debootstrap in {debs} (check long)')
    tool('dpkg-deb', '-x', f'{debs}/{bootstrap}', f'{folder}/bootstrap')
    shutil.rmtree(f'{folder}/bootstrap/usr/share/doc')
    shutil.rmtree(f'{folder}/bootstrap/usr/share/man')
    return [
        component(folder, 'debootstrap-udeb', '', {'': f'{folder}/bootstrap'}),
        component(folder, 'kv-disk', 'Provides: created-fstab, made-filesystems, mounted-partitions, partitioned-harddrives, '
                  'di-utils-mapdevfs\nInstaller-Menu-Item: 4200\n',
                  {'DEBIAN/postinst': script('turn'), 'usr/lib/kv-disk': f'{folder}/programs', 'bin/mapdevfs': script('mapdevfs'),
                   'usr/lib/base-installer.d/90kv-disk': script('trust')}),
        component(folder, 'kv-boot', 'Depends: installed-base\nInstaller-Menu-Item: 7800\n',
                  {'DEBIAN/postinst': script('turn')}),
    ]


def make_mirror(folder, guest, www):
    udebs = [f'{guest}/udebs/{name}' for name in sorted(os.listdir(f'{guest}/udebs')) if name.endswith('.udeb')]
    debs = [f'{guest}/debs/{name}' for name in sorted(os.listdir(f'{guest}/debs')) if name.endswith('.deb')]
    mirror.make(www, {'main/debian-installer/binary-amd64': udebs + components(folder, f'{guest}/debs'),
                      'main/binary-amd64': debs})


def install(program, guest, firmware, folder, disk):
    www = f'{folder}/www'
    make_mirror(folder, guest, www)
    server = mirror.Server(www)
    mirror.write(f'{www}/preseed.cfg', PRESEED.format(port=server.port) + MORE_PRESEED)
    command = [program, '--machine', 'pc', '--firmware', FIRMWARE[firmware], '--accel', 'soft', '--cpus', '2', '--memory', '1280M',
               '--cdrom', make_disc(folder, server.port, f'{WORDS} DEBIAN_FRONTEND=text hostname=installed'), '--boot', 'order=d',
               '--disk', f'file={disk},{DISK[firmware]}', '--net', f'user,model={CARD[firmware]}', '--no-reboot',
               '--console', f'file:{folder}/serial', '--console2', f'file:{folder}/syslog']
    status = None
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            status = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
    with open(f'{folder}/serial', encoding='utf-8', errors='replace') as file:
        said = file.read()
    with open(f'{folder}/syslog', encoding='utf-8', errors='replace') as file:
        log = file.read()
    for line in 'kv-disk: /target', 'late: installed', 'kv-boot: all is installed':
        check(line in said, f"the console does not say '{line}'", '\n'.join(server.asked[-20:]), said[-2000:], log[-4000:])
    check(status == 0, f'kv-vmm: status {status}', said[-500:])


def run(program, guest, firmware, folder):
    need(f'{guest}/debs/list', f'{guest}/udebs/list')
    disk = f'{folder}/disk'
    with open(disk, 'wb') as file:
        file.truncate(2 << 30)
    install(program, guest, firmware, folder, disk)
    with pc(program, FIRMWARE[firmware], f'{folder}/log', '--disk', f'file={disk}') as system:
        look(system, firmware)
        system.run('test -s /etc/network/interfaces')
        power_off(system)


sys.exit(cases.one('d-i', run, *sys.argv[1:4]))
