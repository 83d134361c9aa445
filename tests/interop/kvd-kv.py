#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines of kv-vmm behind kvd, as stock virsh has them: their life, what they say about themselves, a daemon that comes back.
usage: kvd-kv.py KVD KV-VMM SOURCE-ROOT CASE...   Exit status 77: virsh or a kernel is missing."""
import glob
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

import cases
import qmp
from cases import Failed, Skipped, check

LIMIT = 180
SCRIPT = """while sleep 0.5; do
	if [ -e /sys/block/vda ]; then
		[ "$there" ] || echo "guest-disk $(cat /sys/block/vda/size)"
		there=1
	else
		[ ! "$there" ] || echo guest-no-disk
		there=
	fi
done &
(head -c 1 /dev/input/event0 >/dev/null; echo guest-button; poweroff -f) &
exec </dev/ttyS0
echo guest-up
while true; do
	if read -r line; then
		echo "guest-heard $line"
		[ "$line" = off ] && poweroff -f
	else
		sleep 0.2
	fi
done
"""
XML = """<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>128</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='micro'>hvm</type>
    <kernel>{kernel}</kernel><initrd>{initrd}</initrd><cmdline>{cmdline}</cmdline>
  </os>
  {more}
  <devices>{devices}<serial type='pty'/></devices>
</domain>
"""


class Bed:
    def __init__(self, kvd, vmm, root, folder):
        self.kvd, self.vmm, self.root, self.folder = kvd, vmm, root, folder
        self.socket = os.path.join(folder, 'sock')
        self.environment = dict(os.environ, LC_ALL='C', XDG_CONFIG_HOME=self.path('config'), XDG_CACHE_HOME=self.path('cache'),
                                XDG_DATA_HOME=self.path('data'), XDG_RUNTIME_DIR=self.path('run'))
        if not shutil.which('virsh'):
            raise Skipped('no virsh (tools/install-deps test)')
        os.mkdir(self.path('run'), 0o700)
        self.initrd = None
        self.process = None
        self.start()

    def path(self, name):
        return os.path.join(self.folder, name)

    def start(self):
        with open(self.path('kvd.log'), 'ab') as log:
            self.process = subprocess.Popen([self.kvd, '--session', '--socket', self.socket, '--vmm', self.vmm],
                                            env=self.environment, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + LIMIT
        while self.run('list', fails=None).returncode:
            check(self.process.poll() is None and time.monotonic() < end, 'kvd does not start', self.log())
            time.sleep(0.05)

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(LIMIT)

    def log(self):
        text = ''
        for name in [self.path('kvd.log')] + glob.glob(self.path('cache/kvasir/*.log')):
            with open(name, encoding='utf-8', errors='replace') as file:
                text += file.read()
        return text

    def close(self):
        """Whatever a failed case has left running."""
        if self.process.poll() is not None:
            self.start()
        for name in self.virsh('list', '--name').split():
            self.run('destroy', name, fails=None)
        self.stop()

    def run(self, *words, fails=False):
        done = subprocess.run(['virsh', '-q', '-c', f'qemu+unix:///session?socket={self.socket}', *words], env=self.environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=LIMIT, check=False)
        if fails is not None and bool(done.returncode) != fails:
            raise Failed(f'virsh {" ".join(words)}: status {done.returncode}, kvd {self.process.poll()}\n{done.stdout.decode()}\n'
                         f'{self.log()}')
        return done

    def virsh(self, *words, fails=False):
        return self.run(*words, fails=fails).stdout.decode().strip()

    def kernel(self):
        kernels = sorted(glob.glob('/boot/vmlinuz-*-cloud-amd64'))
        if not kernels or not shutil.which('busybox') or not shutil.which('cpio'):
            raise Skipped('no cloud kernel, busybox or cpio (tools/install-deps test)')
        return kernels[-1]

    def linux(self, name, more='', devices=''):
        """Defines a guest that says what it hears."""
        self.define(name, *self.guest(), more, devices)

    def guest(self):
        """Its kernel, initrd and command line."""
        kernel = self.kernel()
        if not self.initrd:
            os.mkdir(self.path('guest'))
            with open(self.path('guest/script'), 'w', encoding='utf-8') as file:
                file.write(SCRIPT)
            self.initrd = self.path('initrd')
            subprocess.run([os.path.join(self.root, 'tools/make-initrd'), '-m', 'button', '-m', 'evdev', '-m', 'pciehp', '-c', self.path('guest'), self.initrd],
                           check=True, stdout=subprocess.DEVNULL)
        return kernel, self.initrd, f'console=ttyS0 quiet kv.run=&quot;sh {self.path("guest/script")}&quot;'

    def bare(self, name, more='', devices=''):
        """A few bytes that wait for a key: p powers off, t is a triple fault."""
        qmp.kernel(self.path('kernel'))
        with open(self.path('nothing'), 'wb') as file:
            file.write(b'x')
        self.define(name, self.path('kernel'), self.path('nothing'), 'none', more, devices)

    def board(self, name, devices, linux=False):
        """A pc whose firmware finds nothing to start, or the guest that says what it hears."""
        needs = ['/usr/share/seabios/bios-256k.bin'] + ['/usr/share/qemu/linuxboot_dma.bin'] * linux
        missing = [path for path in needs if not os.path.exists(path)]
        if missing:
            raise Skipped(f'no {missing[0]} (tools/install-deps test)')
        guest = '<kernel>{}</kernel><initrd>{}</initrd><cmdline>{}</cmdline>'.format(*self.guest()) if linux else ''
        path = self.path(f'{name}.xml')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(f"<domain type='qemu'><name>{name}</name><memory unit='MiB'>128</memory><vcpu>1</vcpu><os>"
                       f"<type arch='x86_64' machine='q35'>hvm</type>{guest}</os><devices>{devices}</devices></domain>")
        self.virsh('define', path)

    def define(self, name, kernel, initrd, cmdline, more, devices):
        path = self.path(f'{name}.xml')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(XML.format(name=name, kernel=kernel, initrd=initrd, cmdline=cmdline, more=more, devices=devices))
        self.virsh('define', path)

    def wait(self, state, name):
        end = time.monotonic() + LIMIT
        while (now := self.virsh('domstate', name, '--reason')) != state:
            check(time.monotonic() < end, f'the state is {now}, not {state}', self.log())
            time.sleep(0.05)

    def wait_for(self, condition, what):
        end = time.monotonic() + LIMIT
        while not condition():
            check(time.monotonic() < end, what, self.log())
            time.sleep(0.05)

    def console(self, name):
        return Console(self, name)

    def pids(self):
        found = []
        for path in glob.glob(self.path('run/kvasir/status/*.xml')):
            try:
                with open(path, encoding='utf-8') as file:
                    found.append(int(re.search(r"pid='(\d+)'", file.read())[1]))
            except FileNotFoundError:  # it has just ended
                pass
        return found


class Console:
    """virsh console on a terminal."""

    def __init__(self, bed, name):
        self.fd, slave = pty.openpty()
        self.text = ''
        self.process = subprocess.Popen(['virsh', '-c', f'qemu+unix:///session?socket={bed.socket}', 'console', name],
                                        env=bed.environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        self.wait('Escape character')

    def wait(self, word):
        end = time.monotonic() + LIMIT
        while word not in self.text:
            left = end - time.monotonic()
            check(left > 0 and select.select([self.fd], [], [], left)[0], f'no "{word}" on the console', self.text)
            try:
                self.text += os.read(self.fd, 4096).decode(errors='replace')
            except OSError:
                raise Failed(f'the console ends without "{word}"\n{self.text}') from None
        self.text = self.text[self.text.index(word) + len(word):]

    def greet(self):
        """Until the guest listens: what comes earlier it throws away."""
        end = time.monotonic() + LIMIT
        while 'guest-heard' not in self.text:
            check(time.monotonic() < end, 'the guest does not listen', self.text)
            self.say('')
            while select.select([self.fd], [], [], 0.5)[0] and 'guest-heard' not in self.text:
                self.text += os.read(self.fd, 4096).decode(errors='replace')
        self.text = ''

    def say(self, line):
        os.write(self.fd, line.encode() + b'\n')

    def close(self):
        if self.process.poll() is None:
            os.write(self.fd, b'\x1d')
            self.process.wait(LIMIT)
        os.close(self.fd)


def case_life(bed):
    """Define, start, console, suspend, resume, a guest that ends by itself, destroy, undefine."""
    bed.linux('tiny')
    check(bed.virsh('list', '--all', '--name') == 'tiny' and bed.virsh('list', '--name') == '', 'another list')
    bed.virsh('start', 'tiny')
    bed.wait('running (booted)', 'tiny')
    check('already active' in bed.virsh('start', 'tiny', fails=True), 'two of it')
    console = bed.console('tiny')
    console.greet()
    console.say('hello')
    console.wait('guest-heard hello')
    bed.virsh('suspend', 'tiny')
    bed.wait('paused (user)', 'tiny')
    bed.virsh('resume', 'tiny')
    bed.wait('running (unpaused)', 'tiny')
    info = dict(re.findall(r'^(.*?): +(.*)$', bed.virsh('dominfo', 'tiny'), re.M))
    check(info['State'] == 'running' and info['CPU(s)'] == '1' and info['Max memory'] == '131072 KiB', 'another dominfo', info)
    check(float(info['CPU time'][:-1]) > 0, 'no CPU time', info)
    console.say('off')
    bed.wait('shut off (shutdown)', 'tiny')
    console.close()
    bed.virsh('start', 'tiny')
    bed.virsh('destroy', 'tiny')
    bed.wait('shut off (destroyed)', 'tiny')
    check(not bed.pids(), 'a status file is left', bed.pids())
    bed.virsh('undefine', 'tiny')
    check(bed.virsh('list', '--all', '--name') == '', 'it is still there')


def case_button(bed):
    """virsh shutdown presses the guest's power button; virsh reboot has it start again."""
    bed.linux('pressed')
    bed.virsh('start', 'pressed')
    console = bed.console('pressed')
    console.greet()
    console.close()
    first = bed.pids()
    bed.virsh('reboot', 'pressed')
    end = time.monotonic() + LIMIT
    while bed.pids() in ([], first):
        check(time.monotonic() < end, 'it does not start again', bed.log())
        time.sleep(0.1)
    console = bed.console('pressed')
    console.greet()
    bed.virsh('shutdown', 'pressed')
    bed.wait('shut off (shutdown)', 'pressed')
    console.close()
    bed.virsh('undefine', 'pressed')


def case_ends(bed):
    """How a machine ended, told apart: crashed in the guest, killed from outside, refused at its start."""
    bed.bare('bare')
    bed.virsh('start', 'bare')
    with open(re.search(r"tty='(.*?)'", bed.virsh('dumpxml', 'bare'))[1], 'wb', buffering=0) as terminal:
        terminal.write(b't')
        bed.wait('shut off (crashed)', 'bare')
    bed.virsh('start', 'bare')
    os.kill(bed.pids()[0], signal.SIGKILL)
    bed.wait('shut off (crashed)', 'bare')
    os.unlink(bed.path('kernel'))
    text = bed.virsh('start', 'bare', fails=True)
    check(f"--kernel: cannot read '{bed.path('kernel')}': No such file or directory" in text, 'another text', text)
    bed.wait('shut off (failed)', 'bare')
    bed.virsh('undefine', 'bare')


def case_restart(bed):
    """kvd is killed and comes back: its machine runs on and is its own again; one that ended meanwhile is off."""
    bed.linux('stays')
    bed.bare('goes')
    bed.bare('asleep')
    for name in 'stays', 'goes', 'asleep':
        bed.virsh('start', name)
    bed.virsh('suspend', 'asleep')
    pids = bed.pids()
    check(len(pids) == 3, 'not three processes', pids)
    bed.virsh('autostart', 'stays')
    with open(bed.path('run/kvasir/status/goes.xml'), encoding='utf-8') as file:
        pid = int(re.search(r"pid='(\d+)'", file.read())[1])
    bed.stop(signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    bed.start()
    bed.wait('shut off (daemon)', 'goes')
    check(bed.virsh('domstate', 'stays').startswith('running'), 'it does not run')
    bed.wait('paused (user)', 'asleep')
    check('enable' in bed.virsh('dominfo', 'stays'), 'autostart is forgotten')
    console = bed.console('stays')
    console.greet()
    console.say('off')
    bed.wait('shut off (shutdown)', 'stays')
    console.close()
    bed.virsh('resume', 'asleep')
    bed.virsh('destroy', 'asleep')
    for name in 'stays', 'goes', 'asleep':
        bed.virsh('undefine', name)


def case_save(bed):
    """Saved to a file of libvirt's form and restored; managed; a guest does not notice."""
    bed.linux('kept')
    bed.virsh('start', 'kept')
    console = bed.console('kept')
    console.greet()
    console.close()
    image = bed.path('image')
    bed.virsh('save', 'kept', image)
    bed.wait('shut off (saved)', 'kept')
    with open(image, 'rb') as file:
        check(file.read(16) == b'LibvirtQemudSave', 'another magic')
    check('<name>kept</name>' in bed.virsh('save-image-dumpxml', image), 'no definition in it')
    # another definition comes in one piece: who has the file open has the old one
    text = bed.virsh('save-image-dumpxml', image, '--security-info')
    with open(bed.path('saved.xml'), 'w', encoding='utf-8') as file:
        file.write(text.replace('<name>', '<title>other</title><name>', 1))
    os.chmod(image, 0o640)
    os.symlink(image, bed.path('link'))
    with open(image, 'rb') as before:
        size, old = os.path.getsize(image), before.read(65536)
        bed.virsh('save-image-define', bed.path('link'), bed.path('saved.xml'))
        before.seek(0)
        check(before.read(65536) == old and os.path.getsize(image) == size, 'it was written to in place')
    check('<title>other</title>' in bed.virsh('save-image-dumpxml', image), 'the old definition')
    check(os.stat(image).st_mode & 0o777 == 0o640 and os.path.islink(bed.path('link')) and not glob.glob(image + '.*'), 'not as it was')
    bed.virsh('restore', image)
    bed.wait('running (restored)', 'kept')
    console = bed.console('kept')
    console.greet()  # virsh throws away what was typed before it was ready
    console.say('again')
    console.wait('guest-heard again')
    console.close()
    bed.virsh('managedsave', 'kept')
    check('saved' in bed.virsh('list', '--all', '--managed-save'), 'no managed state')
    bed.virsh('start', 'kept')
    bed.wait('running (restored)', 'kept')
    bed.virsh('destroy', 'kept')
    with open(image, 'r+b') as file:
        file.write(b'LibvirtQemudPart')
    check('incomplete' in bed.virsh('restore', image, fails=True), 'a cut image is taken')
    with open(image, 'wb') as file:
        file.write(b'nonsense' * 100)
    check('magic is incorrect' in bed.virsh('restore', image, fails=True), 'nonsense is taken')
    bed.virsh('undefine', 'kept')


def case_devices(bed):
    """Disks, cards and memory of a machine that runs."""
    disk, second = bed.path('disk.raw'), bed.path('second.raw')
    for path in disk, second:
        with open(path, 'wb') as file:
            file.truncate(8 << 20)
    ports = ''.join(f"<controller type='pci' index='{i}' model='pcie-root-port'/>" for i in range(1, 9))
    bed.board('plugged', f"<disk type='file'><driver type='raw'/><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>"
             f"<interface type='user'/>{ports}")
    bed.virsh('start', 'plugged')
    stats = dict(line.strip().split('=', 1) for line in bed.virsh('domstats', 'plugged').splitlines() if '=' in line)
    check(stats['block.count'] == '1' and stats['block.0.capacity'] == str(8 << 20) and stats['block.0.path'] == disk, 'disks', stats)
    check(stats['balloon.maximum'] == '131072' and stats['vcpu.current'] == '1', 'other numbers', stats)
    check(int(stats['cpu.time']) > 0 and int(stats['vcpu.0.time']) > 0, 'no time', stats)
    check(re.search(r'Capacity: +8388608', bed.virsh('domblkinfo', 'plugged', 'vda')), 'another size')
    bed.virsh('attach-disk', 'plugged', second, 'vdb', '--targetbus', 'virtio', '--live')
    check('second.raw' in bed.virsh('domblklist', 'plugged'), 'the disk is not there')
    check('vdb' not in bed.virsh('domblklist', 'plugged', '--inactive'), 'it is stored')
    check('"running": true' in bed.virsh('qemu-monitor-command', 'plugged', '{"execute": "query-status"}').replace('":true', '": true'),
          'no answer of the monitor')
    bed.virsh('destroy', 'plugged')
    bed.virsh('undefine', 'plugged')


def case_scsi(bed):
    """SCSI disks where their addresses say, in a domain with two controllers, one of them empty; more come and go: a disk, a drive
    without a disc, one of the definition. The monitor says where each is."""
    def disk(name):
        path = bed.path(name)
        with open(path, 'wb') as file:
            file.truncate(1 << 20)
        return path

    def element(name, target, address, kind='disk'):
        controller, scsi_id, unit = address
        source = f"<source file='{disk(name)}'/>" if name else ''
        return (f"<disk type='file' device='{kind}'><driver name='qemu' type='raw'/>{source}<target dev='{target}' bus='scsi'/>"
                f"<address type='drive' controller='{controller}' bus='0' target='{scsi_id}' unit='{unit}'/></disk>")

    def attach(xml):
        with open(bed.path('unit.xml'), 'w', encoding='utf-8') as file:
            file.write(xml)
        return bed.virsh('attach-device', 'units', bed.path('unit.xml'), '--live')

    def drives():
        answer = json.loads(bed.virsh('qemu-monitor-command', 'units', '{"execute": "query-block"}'))['return']
        return {row['device'] for row in answer}

    controllers = ''.join(f"<controller type='scsi' index='{i}' model='virtio-scsi'/>" for i in range(2))
    bed.board('units', controllers + element('one', 'sda', (0, 0, 0)) + element('two', 'sdb', (0, 0, 1)))
    bed.virsh('start', 'units')
    check(drives() == {'scsi0-0-0-0', 'scsi0-0-0-1'}, 'other drives', drives())
    attach(element('three', 'sdc', (0, 2, 3)))
    attach(element('four', 'sdd', (1, 0, 0)).replace("type='raw'/>", "type='raw' copy_on_read='on'/>").replace(
        '<target ', '<iotune><total_iops_sec>50</total_iops_sec><group_name>slow</group_name></iotune><target '))
    limited = [row['inserted'] for row in json.loads(bed.virsh('qemu-monitor-command', 'units', '{"execute": "query-block"}'))['return']
               if row['device'] == 'scsi1-0-0-0'][0]
    check((limited['drv'], limited['iops'], limited['group']) == ('copy-on-read', 50, 'slow'), 'no limits, or no copies', limited)
    # What a disk is told with is what it has, or it is refused by name.
    attach(element('five', 'sdf', (1, 5, 0)).replace("type='raw'/>", "type='raw' cache='directsync' error_policy='stop' rerror_policy='report' io='threads'/>"))
    row = [row for row in json.loads(bed.virsh('qemu-monitor-command', 'units', '{"execute": "query-block"}'))['return']
           if row['device'] == 'scsi1-0-5-0'][0]
    check(row['inserted']['cache'] == {'writeback': False, 'direct': True, 'no-flush': False}, 'another cache', row)
    for words, name in ("cache='unsafe'", 'driver/@cache unsafe'), ("queues='2'", 'driver/@queues'):
        xml = element('six', 'sdg', (1, 6, 0)).replace("type='raw'/>", f"type='raw' {words}/>")
        with open(bed.path('unit.xml'), 'w', encoding='utf-8') as file:
            file.write(xml)
        said = bed.virsh('attach-device', 'units', bed.path('unit.xml'), '--live', fails=True)
        check(f"disk 'sdg': {name} is not for a disk that is attached to a running machine" in said, 'another refusal', said)
    bed.virsh('detach-disk', 'units', 'sdf', '--live')
    attach(element('', 'sde', (1, 4, 300), 'cdrom'))
    check(drives() == {'scsi0-0-0-0', 'scsi0-0-0-1', 'scsi0-0-2-3', 'scsi1-0-0-0', 'scsi1-0-4-300'}, 'other drives', drives())
    # What is in use the machine knows, whoever asks.
    args = {'driver': 'scsi-cd', 'id': 'x', 'bus': 'scsi.0', 'scsi-id': 2, 'lun': 3}
    answer = bed.virsh('qemu-monitor-command', 'units', json.dumps({'execute': 'device_add', 'arguments': args}))
    check("x: scsi-id 2, lun 3: lun already used by 'scsi0-0-2-3'" in answer, 'another error', answer)
    for target in 'sdb', 'sdd', 'sde':
        bed.virsh('detach-disk', 'units', target, '--live')
    check(drives() == {'scsi0-0-0-0', 'scsi0-0-2-3'}, 'other drives', drives())
    listed = bed.virsh('domblklist', 'units').split()
    check('sda' in listed and 'sdc' in listed and not {'sdb', 'sdd', 'sde'} & set(listed), 'another definition', listed)
    bed.virsh('destroy', 'units')
    bed.virsh('undefine', 'units')
    # Without a controller one comes with the first disk, as libvirt has it; with several in between as well.
    bed.board('units', ''.join(f"<controller type='pci' index='{i}' model='pcie-root-port'/>" for i in range(1, 6)))
    bed.virsh('start', 'units')
    bed.virsh('attach-disk', 'units', disk('one'), 'sda', '--targetbus', 'scsi', '--live')
    attach(element('two', 'sdb', (2, 0, 1)))
    check(drives() == {'scsi0-0-0-0', 'scsi2-0-0-1'}, 'other drives', sorted(drives()))
    xml = bed.virsh('dumpxml', 'units')
    check([f"<controller type='scsi' index='{i}'" in xml for i in range(4)] == [True, True, True, False], 'other controllers', xml)
    check("<controller type='scsi'" not in bed.virsh('dumpxml', 'units', '--inactive'), 'they are stored')
    with open(bed.path('controller.xml'), 'w', encoding='utf-8') as file:
        file.write(re.search("<controller type='scsi' index='2'.*?</controller>", xml, re.S)[0])
    check('device is busy' in bed.virsh('detach-device', 'units', bed.path('controller.xml'), '--live', fails=True), 'it goes with a disk at it')
    bed.virsh('detach-disk', 'units', 'sdb', '--live')
    bed.stop(signal.SIGKILL)
    bed.start()
    bed.wait_for(lambda: drives() == {'scsi0-0-0-0'}, 'other drives')
    bed.virsh('attach-disk', 'units', disk('three'), 'sdc', '--targetbus', 'scsi', '--live')
    check(drives() == {'scsi0-0-0-0', 'scsi0-0-0-2'}, 'other drives', sorted(drives()))
    bed.virsh('attach-disk', 'units', disk('four'), 'sdd', '--targetbus', 'scsi', '--config')
    check("<controller type='scsi' index='0'" in bed.virsh('dumpxml', 'units', '--inactive'), 'none is stored')
    bed.virsh('destroy', 'units')
    bed.virsh('start', 'units')
    check(drives() == {'scsi0-0-0-3'}, 'other drives', sorted(drives()))
    bed.virsh('destroy', 'units')
    bed.virsh('undefine', 'units')


def case_plug(bed):
    """A Linux whose disk and card come and go, a disc in its drive, its cable; what goes is no longer in the definition."""
    disk = bed.path('plug.raw')
    with open(disk, 'wb') as file:
        file.truncate(4 << 20)
    ports = ''.join(f"<controller type='pci' index='{i}' model='pcie-root-port'/>" for i in range(1, 9))
    bed.board('grows', f"<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk><interface type='user'/>"
              f"<serial type='pty'/>{ports}", linux=True)
    bed.virsh('start', 'grows')
    console = bed.console('grows')
    console.greet()
    bed.virsh('attach-disk', 'grows', disk, 'vdb', '--targetbus', 'virtio', '--live')
    console.wait('guest-disk 8192')
    bed.virsh('detach-disk', 'grows', 'vdb', '--live')
    console.wait('guest-no-disk')
    console.close()
    end = time.monotonic() + LIMIT
    while 'vdb' in bed.virsh('domblklist', 'grows') or disk in bed.virsh('qemu-monitor-command', 'grows',
                                                                         '{"execute": "query-named-block-nodes"}'):
        check(time.monotonic() < end, 'the disk is still there')
        time.sleep(0.2)
    with open(bed.path('card.xml'), 'w', encoding='utf-8') as file:
        file.write("<interface type='user'><mac address='52:54:00:00:00:77'/><model type='virtio'/></interface>")
    bed.virsh('attach-device', 'grows', bed.path('card.xml'), '--live')
    check('52:54:00:00:00:77' in bed.virsh('domiflist', 'grows'), 'no second card')
    first = bed.virsh('domiflist', 'grows').split()[4]
    bed.virsh('domif-setlink', 'grows', first, 'down')
    check(bed.virsh('domif-getlink', 'grows', first).endswith('down'), 'the cable is plugged in')
    bed.virsh('change-media', 'grows', 'sda', disk, '--live')
    check(disk in bed.virsh('domblklist', 'grows'), 'no disc')
    bed.virsh('change-media', 'grows', 'sda', '--eject', '--live')
    check(disk not in bed.virsh('domblklist', 'grows'), 'the disc is there')
    bed.virsh('destroy', 'grows')
    bed.virsh('undefine', 'grows')


def case_many(bed):
    """More machines than kvd keeps parsed: each is there as it was defined, and they take next to no memory."""
    def each(command, numbers):
        return bed.virsh('; '.join(command.format(n=n, path=bed.path(f'many{n}.xml')) for n in numbers))

    def anonymous():
        with open(f'/proc/{bed.process.pid}/status', encoding='ascii') as file:
            return next(int(line.split()[1]) for line in file if line.startswith('RssAnon'))

    for n in range(300):
        with open(bed.path(f'many{n}.xml'), 'w', encoding='utf-8') as file:
            file.write(XML.format(name=f'many{n}', kernel='/k', initrd='/i', cmdline=f'number={n}', more='', devices=''))
    each('define {path}; dumpxml many{n}', range(60))
    before = anonymous()
    fresh = [each('define {path}; dumpxml many{n}', [n]) for n in range(60, 70)]
    each('define {path}; dumpxml many{n}', range(70, 300))
    grown = anonymous() - before
    with open(f'/proc/{bed.process.pid}/maps', encoding='utf-8') as file:
        sanitized = 'libasan' in file.read()
    check(sanitized or grown < 2048, f'240 definitions more took {grown} KiB')
    now = [bed.virsh('dumpxml', f'many{n}') for n in range(60, 70)]
    check(now == fresh, 'a definition that was put away is another one')
    bed.virsh('setvcpus', 'many60', '3', '--maximum', '--config')
    each('dumpxml many{n}', range(100))
    check("<vcpu placement='static' current='1'>3</vcpu>" in bed.virsh('dumpxml', 'many60'), bed.virsh('dumpxml', 'many60'))
    each('undefine many{n}', range(300))
    check(bed.virsh('list', '--all', '--name') == '', 'definitions are left')


def is_free(name):
    with socket.socket(socket.AF_UNIX) as mine:
        try:
            mine.bind(name)
        except OSError:
            return False
    return True


def case_ports(bed):
    """A port that another daemon has chosen, whose machine does not listen yet, is not chosen again."""
    with open(bed.path('seen.xml'), 'w', encoding='utf-8') as file:
        file.write("<domain type='qemu'><name>seen</name><memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type machine='q35'>hvm</type></os>"
                   "<devices><graphics type='vnc' autoport='yes' websocket='-1'/></devices></domain>")
    bed.virsh('define', bed.path('seen.xml'))
    others = []
    for port in [*range(5900, 5940), *range(5700, 5740)]:
        others.append(socket.socket(socket.AF_UNIX))
        try:
            others[-1].bind(f'\0kvd-port-{port}')
        except OSError:  # it is so already
            pass
    bed.virsh('start', 'seen', '--paused')
    xml = bed.virsh('dumpxml', 'seen')
    port, web = (int(re.search(f" {name}='([0-9]+)'", xml)[1]) for name in ('port', 'websocket'))
    check(port >= 5940 and web >= 5740, f'ports {port} and {web} are others')
    for number in port, web:
        bed.wait_for(lambda number=number: is_free(f'\0kvd-port-{number}'), 'it is held after the start')  # by others for a moment
        socket.create_connection(('127.0.0.1', number)).close()
    bed.virsh('destroy', 'seen')
    bed.virsh('undefine', 'seen')


def closing(function):
    """A case that leaves nothing running when it fails."""
    def case(bed):
        try:
            function(bed)
        except BaseException:
            bed.close()
            raise
    return case


def main(cases_of=None):
    """The cases of this program, or of another one that uses its bed: its globals()."""
    kvd, vmm, root, *names = sys.argv[1:]
    beds = []

    def make(folder):
        beds.append(Bed(os.path.abspath(kvd), os.path.abspath(vmm), root, folder))
        return beds[0]

    functions = {name: closing(function) for name, function in (cases_of or globals()).items() if name.startswith('case_')}
    functions['case_zz_end'] = lambda bed: bed.close()
    chosen = [*(names or [n[5:].replace('_', '-') for n in functions if n != 'case_zz_end']), 'zz-end']
    return cases.run(functions, chosen, make)


if __name__ == '__main__':
    sys.exit(main())
