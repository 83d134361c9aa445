#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kvd as systemd has it, in a Debian guest with what `meson install` leaves behind and stock virsh: socket activation, readiness, machines
as scopes with limits, a daemon that is started again or killed while they run, one that leaves when it is idle, a user's own, reboot.
usage: systemd.py KV-VMM KV-IMG BUILD-FOLDER PREFIX SOURCE-ROOT CASE...   Exit status 77: something needed is not there."""
import glob
import importlib
import os
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
disks = importlib.import_module('debian-disks')  # and tests/interop is in the path
import cases  # noqa: E402
import debian_console  # noqa: E402
import qmp  # noqa: E402
from cases import Skipped, check  # noqa: E402

LIBRARIES = 'usr/lib/x86_64-linux-gnu'
# One that stays, and takes no time: cli; hlt; jmp.
REST = b'\xfa\xf4\xeb\xfd'
XML = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>{more}
<os><type arch='x86_64' machine='micro'>hvm</type><kernel>/opt/kernel</kernel></os>
<devices><serial type='pty'/></devices></domain>
"""
LIMITS = ("<memtune><hard_limit unit='MiB'>256</hard_limit></memtune>"
          "<cputune><shares>200</shares><quota>50000</quota><period>100000</period></cputune>")
CONF = '[Scope]\nTimeoutStopSec=3\n'
QUIET = 'ssh.service', 'systemd-networkd-wait-online.service', 'systemd-resolved.service', 'systemd-timesyncd.service', 'systemd-networkd.service'
# What sessions of users need and the guest has not.
SESSIONS = '/lib/x86_64-linux-gnu/security/pam_systemd.so', '/usr/lib/systemd/user/dbus.service', '/usr/lib/systemd/user/dbus.socket'
SYSTEM, LOOK = 'qemu+unix:///system?socket=/run/kvasir/kvd-sock', 'qemu+unix:///system?socket=/run/kvasir/kvd-sock-ro'
GROUP = '/sys/fs/cgroup/machine.slice/machine-kv*limited.scope/machine-*-limited'


class Bed:
    def __init__(self, vmm, img, build, prefix, root, folder):
        self.vmm, self.img, self.folder, self.guest, self.booted = vmm, img, folder, f'{root}/guest', None
        os.environ['PATH'] += ':/usr/sbin:/sbin'
        debian_console.need_guest(self.guest)
        for program in 'meson', 'virsh', 'mke2fs', 'ldd':
            if not shutil.which(program):
                raise Skipped(f'no {program} (tools/install-deps test)')
        with open('/etc/os-release', encoding='utf-8') as file:
            if 'VERSION_CODENAME=bookworm' not in file.read():
                raise Skipped('no Debian 12, whose libraries the guest has')
        for path in SESSIONS:
            if not os.path.exists(path):
                raise Skipped(f'no {path} (tools/install-deps test)')
        os.environ.pop('LD_LIBRARY_PATH', None)  # Meson's, for tests
        self.tree = self.path('tree')
        disks.tool('meson', 'install', '-C', build, '--no-rebuild', '--quiet', '--strip', '--destdir', f'{self.tree}/copy')
        self.fill(prefix)
        disks.tool('mke2fs', '-q', '-t', 'ext4', '-m', '0', '-E', 'root_owner=0:0', '-d', self.tree, self.path('tree.img'), '192M')
        disks.tool(self.img, 'create', '-q', '-f', 'qcow2', '-b', f'{self.guest}/debian.raw', '-F', 'raw', self.path('root.qcow2'))

    def path(self, name):
        return f'{self.folder}/{name}'

    def write(self, name, text):
        path = f'{self.tree}/{name}'
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)

    def take(self, path, folder):
        os.makedirs(f'{self.tree}/{folder}', exist_ok=True)
        shutil.copy(path, f'{self.tree}/{folder}/')

    def fill(self, prefix):
        """copy/: what the guest's root gets; the rest is used where the disk is mounted: virsh, libraries, a kernel, definitions."""
        self.write('copy/etc/ld.so.conf.d/test.conf', '/opt/lib\n')
        self.write('copy/etc/systemd/system/machine-.scope.d/test.conf', CONF)
        self.write('copy/etc/fstab', 'LABEL=root / ext4 errors=remount-ro,noatime 0 1\n/dev/vdb /opt ext4 ro 0 0\n')
        for path in SESSIONS:
            self.take(path, f'copy{os.path.dirname(os.path.realpath(path))}')
        self.take(shutil.which('virsh'), 'bin')
        programs = [path for where in ('bin/*', 'lib/**/*.so*')
                    for path in glob.glob(f'{self.tree}/copy{prefix}/{where}', recursive=True)]
        needed = set()
        for program in [f'{self.tree}/bin/virsh', *programs]:
            text = subprocess.run(['ldd', program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
            needed.update(path for path in re.findall(r'=> (/\S+)', text) if not path.startswith(self.tree))
        for path in needed - set(glob.glob('/lib/x86_64-linux-gnu/ld-linux*')):
            self.take(path, 'lib')
        qmp.kernel(f'{self.tree}/kernel', REST)
        for name, more in ('limited', LIMITS), ('free', ''):
            self.write(f'{name}.xml', XML.format(name=name, more=more))

    def debian(self):
        """The guest, with all of it installed; the same one for all cases."""
        if self.booted:
            return self.booted
        self.booted = guest = Guest(self)
        guest.__enter__()
        guest.run('mount -o ro /dev/vdb /opt && cp -a /opt/copy/. / && ldconfig && systemctl daemon-reload')
        guest.run('export PATH=$PATH:/opt/bin SYSTEMD_LESS= SYSTEMD_PAGER=; systemctl enable -q kvd.service kvd.socket kvd-ro.socket')
        guest.say('it is installed')
        return guest


class Guest(disks.Guest):
    """As of debian-disks, one that may boot again."""

    def __init__(self, bed):
        self.bed, self.socket = bed, bed.path('qmp')
        mask = ' '.join(f'systemd.mask={unit}' for unit in QUIET)
        command = [bed.vmm, '--accel', 'soft', '--cpus', '2', '--memory', '1G', '--kernel', f'{bed.guest}/vmlinuz', '--initrd',
                   f'{bed.guest}/initrd.img', '--append', f'root=LABEL=root console=ttyS0 quiet {mask}', '--qmp', f'unix:{self.socket}',
                   '--disk', f'{bed.path("root.qcow2")},format=qcow2,cache=unsafe',
                   '--disk', f'{bed.path("tree.img")},format=raw,readonly=on']
        debian_console.Guest.__init__(self, command, bed.path('log'), disks.LIMIT)

    def has(self, command, *texts):
        """Its output, which has these texts."""
        output = self.run(command)
        for text in texts:
            check(re.search(text, output), f'in the guest: {command}: no "{text}"', output)
        return output

    def until(self, condition, what):
        self.run(f'for i in $(seq 200); do {{ {condition}; }} >/dev/null 2>&1 && break; sleep 0.1; done; {condition}')
        self.say(what)


def case_system(bed):
    """A call starts it, systemd knows when it is ready; machines are scopes with limits; it comes and goes while they run."""
    guest = bed.debian()
    guest.run('systemctl start kvd.socket kvd-ro.socket && ! systemctl is-active kvd.service')
    guest.has(f"virsh -c '{SYSTEM}' define /opt/limited.xml && kvsh define /opt/free.xml", 'limited', 'free')
    guest.has('systemctl show -p Type,ActiveState,StatusText,NRestarts kvd', 'Type=notify', 'ActiveState=active')
    guest.has(f"virsh -c '{LOOK}' -r list --all; ! virsh -c '{LOOK}' start free 2>&1", 'limited', 'read only')
    guest.run('kvsh start limited && kvsh start free')
    scopes = guest.has("systemctl list-units --no-legend --plain 'machine-*.scope'", r'x2dlimited.scope +loaded active running Virtual machine limited',
                       r'x2dfree.scope +loaded active running')
    check(len(scopes.splitlines()) == 2, 'not two scopes', scopes)
    guest.has('systemctl status kvd | cat', r'/kvd --system')
    check('kv-vmm' not in guest.run('systemctl status kvd | cat'), "a machine is in the daemon's group")
    guest.has(f'cat {GROUP}/memory.max {GROUP}/cpu.weight {GROUP}/vcpu0/cpu.max', '^268435456\n200\n50000 100000$')
    pids = guest.run('pidof kv-vmm')
    guest.say('two machines run')

    guest.run('systemctl restart kvd && systemctl is-active kvd')
    guest.has(f"virsh -c '{SYSTEM}' list", 'limited +running', 'free +running')
    guest.has('kvsh schedinfo limited', 'cpu_shares +: 200', 'vcpu_quota +: 50000')
    guest.run('kvsh schedinfo limited --live --set cpu_shares=300 && kvsh memtune limited --live --hard-limit 200M')
    guest.run('kvsh schedinfo free --live --set cpu_shares=70 vcpu_quota=20000')  # which had none
    guest.say('restarted')
    guest.run('systemctl kill -s KILL kvd')
    guest.until('test $(systemctl show -P NRestarts kvd) = 1 && systemctl is-active kvd', 'killed, and there again')
    guest.has(f"virsh -c '{SYSTEM}' list", 'limited +running', 'free +running')
    guest.run('kvsh schedinfo limited --live --set cpu_shares=400; systemctl daemon-reload; systemctl restart kvd')
    guest.has(f'cat {GROUP}/memory.max {GROUP}/cpu.weight {GROUP}/vcpu0/cpu.max', '^209715200\n400\n50000 100000$')
    guest.has('kvsh schedinfo free', 'cpu_shares +: 70', 'vcpu_quota +: 20000')
    check(guest.run('pidof kv-vmm') == pids, 'other processes', pids)
    guest.run('echo x >>/etc/kvasir/kvd.conf')
    guest.run('! systemctl restart kvd')
    guest.has('journalctl -b -u kvd | cat', 'kvd.conf', "Failed with result 'signal'")
    check('Found left-over process' not in guest.run('journalctl -b -u kvd | cat'), 'something is left in its group')
    guest.run('rm /etc/kvasir/kvd.conf; systemctl reset-failed kvd; kvsh list')
    guest.say('errors are in the journal')


def case_idle(bed):
    """With --timeout it leaves when no machine runs and nobody is connected; a call brings it back. A machine that was shut down stays so."""
    guest = bed.debian()
    guest.run('echo KVD_ARGS=--timeout 2 >/etc/default/kvd; kvsh autostart limited; systemctl restart kvd; sleep 4; systemctl is-active kvd')
    guest.run('kvsh destroy limited && kvsh destroy free')
    guest.until('test $(systemctl show -P ActiveState kvd) = inactive', 'it has left')
    guest.has(f"virsh -c '{SYSTEM}' list --all", 'limited +shut off')
    guest.run('systemctl is-active kvd; rm /etc/default/kvd; systemctl stop kvd.service kvd.socket kvd-ro.socket')
    guest.until("! systemctl list-units --no-legend 'machine-*' | grep . && ! pidof kvd kv-vmm", 'all is stopped')
    check(guest.run('ls /run/kvasir/run /run/kvasir/status; find /sys/fs/cgroup -name "*machine-*"').split() ==
          ['/run/kvasir/run:', '/run/kvasir/status:'], 'something is left')


USER = ('setpriv --reuid 1000 --regid 1000 --init-groups env -u KVSH_URI HOME=/home/tester XDG_RUNTIME_DIR=/run/user/1000 '
        'SYSTEMD_PAGER= PATH=$PATH ')


def case_user(bed):
    """A user's own, by units of the user's systemd."""
    guest = bed.debian()
    guest.run('useradd -m -u 1000 tester && loginctl enable-linger tester')
    guest.until('systemctl is-active user@1000.service', "the user's systemd is there")
    guest.run(f'{USER} systemctl --user enable -q --now kvd.socket; ! {USER} systemctl --user is-active kvd.service')
    guest.has(f"{USER} virsh -c 'qemu+unix:///session?socket=/run/user/1000/kvasir/kvd-sock' define /opt/limited.xml", 'defined')
    guest.run(f'{USER} kvsh start limited')
    guest.has(f'{USER} systemctl --user status kvd | cat', 'kvd --session')
    guest.has(f"{USER} systemctl --user list-units --no-legend --plain 'machine-*'", 'Virtual machine limited')
    guest.run(f'{USER} systemctl --user restart kvd')
    guest.run(f'{USER} systemctl --user kill -s KILL kvd')
    guest.has(f'{USER} kvsh list', 'limited +running')
    guest.has(f'{USER} kvsh schedinfo limited --live --set cpu_shares=300', 'cpu_shares +: 300')
    # Without a bus systemd is asked where systemctl asks it.
    guest.run(f'{USER} systemctl --user mask -q --now dbus.socket dbus.service; {USER} systemctl --user restart kvd')
    guest.run(f'{USER} kvsh define /opt/free.xml && {USER} kvsh start free')
    guest.has(f"{USER} systemctl --user list-units --no-legend --plain 'machine-*'", 'Virtual machine free', 'Virtual machine limited')
    guest.run(f'{USER} kvsh destroy limited; {USER} kvsh destroy free; loginctl disable-linger tester')
    guest.until('! systemctl is-active user@1000.service && ! pidof kvd kv-vmm', 'the user has left')


def case_reboot(bed):
    """What starts with the host does, once; at its end machines are told."""
    guest = bed.debian()
    guest.run('kvsh autostart limited; kvsh start free; systemctl stop kvd.service')
    guest.console.send('systemctl reboot\n')
    guest.login()
    guest.until("kvsh list | grep -q 'limited *running'", 'its machine runs')
    guest.has('kvsh list --all', 'free +shut off')
    guest.has('systemctl is-active kvd; cat ' + f'{GROUP}/memory.max', '^active\n268435456$')
    guest.power_off()


def main():
    vmm, img, build, prefix, root, *names = sys.argv[1:]
    beds = []

    def make(folder):
        beds.append(Bed(vmm, img, build, prefix, root, folder))
        return beds[0]
    try:
        return cases.run(globals(), names, make)
    finally:
        if beds and beds[0].booted:
            beds[0].booted.console.close()


if __name__ == '__main__':
    sys.exit(main())
