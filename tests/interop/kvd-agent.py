#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's agent behind kvd, as stock virsh and libvirt-python ask it: one whose answers are the test's (agent-vmm.py in the place of
kv-vmm), and QEMU's own qemu-ga in a small Linux.
usage: kvd-agent.py KVD KV-VMM SOURCE-ROOT CASE...   Exit status 77: virsh, a kernel or qemu-ga is missing."""
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time

from cases import Skipped, check

kv = importlib.import_module('kvd-kv')
PORT = 'org.qemu.guest_agent.0'
CHANNEL = f"<channel type='unix'><target type='virtio' name='{PORT}'/></channel>"
DISK = """<disk type='file'><driver type='raw'/><source file='/dev/null'/><target dev='vda' bus='virtio'/>
<address type='pci' domain='0x0000' bus='0x00' slot='0x05' function='0x0'/></disk>"""
PCI = {'domain': 0, 'bus': 0, 'slot': 5, 'function': 0}
SPOT = {'pci-controller': PCI, 'bus-type': 'virtio', 'bus': 0, 'target': 0, 'unit': 0, 'serial': 'S1', 'dev': '/dev/vda'}
ANSWERS = {
    'guest-ping': {},
    'guest-fsfreeze-freeze': 2, 'guest-fsfreeze-freeze-list': 1, 'guest-fsfreeze-thaw': 2, 'guest-fstrim': {'paths': []},
    'guest-get-fsinfo': [{'name': 'vda1', 'mountpoint': '/', 'type': 'ext4', 'disk': [SPOT], 'total-bytes': 10, 'used-bytes': 5}],
    'guest-get-time': 1700000000 * 10 ** 9 + 5, 'guest-set-time': {}, 'guest-set-user-password': {},
    'guest-get-host-name': {'host-name': 'inside'},
    'guest-get-users': [{'user': 'ada', 'login-time': 1.5}],
    'guest-get-osinfo': {'id': 'tiny', 'pretty-name': 'Tiny 1', 'kernel-release': '6.1'},
    'guest-get-timezone': {'zone': 'UTC', 'offset': -60},
    'guest-get-disks': [{'name': '/dev/vda', 'partition': False, 'address': SPOT},
                        {'name': '/dev/vda1', 'partition': True, 'dependencies': ['/dev/vda']}],
    'guest-network-get-interfaces': [
        {'name': 'eth0', 'hardware-address': '52:54:00:00:00:01', 'ip-addresses': [
            {'ip-address-type': 'ipv4', 'ip-address': '10.0.0.2', 'prefix': 24}]},
        {'name': 'eth0:1', 'ip-addresses': [{'ip-address-type': 'ipv6', 'ip-address': 'fe80::1', 'prefix': 64}]}],
    'guest-get-vcpus': [{'logical-id': 0, 'online': True, 'can-offline': False}, {'logical-id': 1, 'online': True, 'can-offline': True},
                        {'logical-id': 2, 'online': False, 'can-offline': True}],
    'guest-set-vcpus': 1,
    'guest-ssh-get-authorized-keys': {'keys': ['ssh-rsa one', 'ssh-rsa two']}, 'guest-ssh-add-authorized-keys': {},
    'guest-ssh-remove-authorized-keys': {},
}


class Fake:
    """A machine named inner whose agent says what say() was told."""

    def __init__(self, bed, start=True, devices=CHANNEL + DISK):
        self.bed, self.folder = bed, bed.path('agent')
        os.mkdir(self.folder)
        bed.environment['KV_AGENT'] = self.folder
        bed.vmm = os.path.join(bed.root, 'tests/interop/agent-vmm.py')
        bed.stop()
        bed.start()
        for name, value in ANSWERS.items():
            self.say(name, {'return': value})
        self.say('error', {'error': {'class': 'CommandNotFound', 'desc': 'The command has not been found'}})
        bed.bare('inner', '', devices)
        if start:
            bed.virsh('start', 'inner')

    def say(self, name, value):
        self.put(name, value if isinstance(value, bytes) else json.dumps(value).encode() + b'\n')

    def put(self, name, data):
        """A file that is there as a whole, whenever it is read."""
        with open(f'{self.folder}/new', 'wb') as file:
            file.write(data)
        os.rename(f'{self.folder}/new', f'{self.folder}/{name}.json')

    def heard(self):
        """The last command."""
        with open(f'{self.folder}/log', encoding='utf-8') as file:
            return json.loads(file.read().splitlines()[-1])

    def emit(self, event, **data):
        """The machine tells it."""
        self.bed.run('qemu-monitor-command', 'inner', json.dumps({'execute': 'emit', 'arguments': {'event': event, 'data': data}}),
                     fails=None)  # it may be ended by what it tells

    def ask(self, *words, fails=False):
        return self.bed.virsh(words[0], 'inner', *words[1:], fails=fails)

    def end(self):
        self.bed.virsh('destroy', 'inner')
        self.bed.virsh('undefine', 'inner')


def case_calls(bed):
    """Each call is a command of the agent's, and its answer is libvirt's."""
    fake = Fake(bed)
    check(json.loads(fake.ask('qemu-agent-command', '{"execute": "guest-ping"}')) == {'return': {}}, 'another answer')
    check('cannot parse json' in fake.ask('qemu-agent-command', '{"execute"', fails=True), 'half of a command')
    check("unable to execute QEMU agent command 'guest-x': The command has not been found" in
          fake.ask('qemu-agent-command', '{"execute": "guest-x"}', fails=True), 'an error that is none')
    for words, answer, command, args in [
            (['domfsfreeze'], '', 'guest-fsfreeze-freeze', None),
            (['domfsfreeze', '/a', '/b'], '', 'guest-fsfreeze-freeze-list', {'mountpoints': ['/a', '/b']}),
            (['domfsthaw'], '', 'guest-fsfreeze-thaw', None),
            (['domfstrim', '--minimum', '4096'], '', 'guest-fstrim', {'minimum': 4096}),
            (['domfsinfo'], '/ +vda1 +ext4 +vda', 'guest-get-fsinfo', None),
            (['domtime'], 'Time: 1700000000', 'guest-get-time', None),
            (['domtime', '--time', '5'], '', 'guest-set-time', {'time': 5 * 10 ** 9}),
            (['domtime', '--sync'], '', 'guest-set-time', None),
            (['set-user-password', 'ada', 'x'], '', 'guest-set-user-password',
             {'username': 'ada', 'password': 'eA==', 'crypted': False}),
            (['domhostname', '--source', 'agent'], 'inside', 'guest-get-host-name', None),
            (['domifaddr', '--source', 'agent'], r'eth0 +52:54:00:00:00:01 +ipv4 +10.0.0.2/24\n.*ipv6 +fe80::1/64',
             'guest-network-get-interfaces', None),
            (['vcpucount', '--guest'], '^2$', 'guest-get-vcpus', None),
            (['guestvcpus'], 'vcpus +: 0-2\nonline +: 0-1\nofflinable +: 1-2', 'guest-get-vcpus', None),
            (['guestvcpus', '--cpulist', '1', '--disable'], '', 'guest-set-vcpus', {'vcpus': [{'logical-id': 1, 'online': False}]}),
            (['get-user-sshkeys', 'ada'], 'ssh-rsa one', 'guest-ssh-get-authorized-keys', {'username': 'ada'}),
            (['set-user-sshkeys', 'ada', '--reset'], '', 'guest-ssh-add-authorized-keys', {'username': 'ada', 'keys': [], 'reset': True})]:
        text = fake.ask(*words)
        check(re.search(answer, text), f'{words[0]}: another answer', text)
        check(fake.heard() == {'execute': command, **({} if args is None else {'arguments': args})}, f'{words[0]}: another command',
              fake.heard())
    info = dict(line.split(':', 1) for line in re.sub(' ', '', fake.ask('guestinfo')).splitlines() if ':' in line)
    want = {'user.count': '1', 'user.0.name': 'ada', 'user.0.login-time': '1500', 'os.id': 'tiny', 'os.kernel-release': '6.1',
            'timezone.offset': '-60', 'hostname': 'inside', 'fs.0.disk.0.alias': 'vda', 'fs.0.total-bytes': '10', 'disk.count': '2',
            'disk.0.alias': 'vda', 'disk.1.dependency.0.name': '/dev/vda', 'if.0.addr.0.addr': '10.0.0.2', 'if.1.name': 'eth0:1'}
    check({name: info.get(name) for name in want} == want, 'another guestinfo', info)
    os.unlink(f'{fake.folder}/guest-get-users.json')
    check('user.count' not in fake.ask('guestinfo') and 'not been found' in fake.ask('guestinfo', '--user', fails=True), 'no users')
    fake.end()


def case_ends(bed):
    """Commands that end, reset or put a guest to sleep: the event is their answer."""
    fake = Fake(bed)
    fake.ask('reboot', '--mode', 'agent')
    check(fake.heard()['arguments'] == {'mode': 'reboot'}, 'another command', fake.heard())
    fake.ask('dompmsuspend', 'mem')
    bed.wait('pmsuspended (unknown)', 'inner')
    fake.ask('dompmwakeup')
    bed.wait('running (event wakeup)', 'inner')
    check('not been found' in fake.ask('dompmsuspend', 'hybrid', fails=True), 'hybrid')
    fake.ask('shutdown')
    check(fake.heard()['arguments'] == {'mode': 'powerdown'}, 'another command', fake.heard())
    bed.wait('shut off (shutdown)', 'inner')
    check('domain is not running' in fake.ask('domfsinfo', fails=True), 'it is off')
    bed.virsh('undefine', 'inner')


def case_hostile(bed):
    """Answers of any shape and size are errors, and the next command finds its own."""
    fake = Fake(bed)
    wrong = 'Invalid data provided by guest agent'
    for name, words, values in [
            ('guest-get-fsinfo', ['domfsinfo'], [{'no': 'list'}, [1], [{'name': 'x'}], None]),
            ('guest-get-time', ['domtime'], ['noon', -1, [], None]),
            ('guest-get-host-name', ['domhostname', '--source', 'agent'], [{'host-name': 5}, 7]),
            ('guest-network-get-interfaces', ['domifaddr', '--source', 'agent'], [[{'name': 5}], {}, [{'name': 'a', 'ip-addresses': [{}]}]]),
            ('guest-get-vcpus', ['guestvcpus'], [[{'logical-id': 99999999}], [{'logical-id': -1}], 'x', [None]]),
            ('guest-ssh-get-authorized-keys', ['get-user-sshkeys', 'ada'], [{'keys': [1]}, {}, []]),
            ('guest-fsfreeze-freeze', ['domfsfreeze'], [{}, []])]:
        for value in values:
            fake.say(name, {'return': value})
            text = fake.ask(*words, fails=True)
            check(wrong in text, f'{words[0]} of {value}', text)
    for data in (b'nothing of sense\n{"x": [1, "\\u0000", {"return"}}\n', b'[' * 100000 + b'\n', b'{"return": 1e999}\n', b'\xfe\x00\xff{}\n'):
        fake.say('guest-ping', data + b'{"error": {"desc": "behind"}}\n')
        check('error' in fake.ask('qemu-agent-command', '{"execute": "guest-ping"}', fails=True), 'an answer', repr(data))
    fake.say('guest-ping', b'[{"an": "endless one"}]\n' * 1000000)
    check('No complete agent response' in fake.ask('qemu-agent-command', '--timeout', '50', '{"execute": "guest-ping"}', fails=True), 'endless')
    fake.say('guest-ping', {'return': 'well'})
    check('well' in fake.ask('qemu-agent-command', '{"execute": "guest-ping"}'), 'it is lost for good')
    fake.end()


def case_silent(bed):
    """One that says nothing is waited for as long as the caller says, and keeps nobody from destroying the machine."""
    fake = Fake(bed)
    fake.say('guest-ping', b'')
    for seconds in 1, 7:  # less and more than without a word
        start = time.monotonic()
        text = fake.ask('qemu-agent-command', '{"execute": "guest-ping"}', '--timeout', str(seconds), fails=True)
        took = time.monotonic() - start
        check('Guest agent is not responding: Guest agent not available for now' in text and took > seconds - .1, 'another wait', text, str(took))
    # Five seconds each would be longer than anybody waits here.
    text = bed.virsh('; '.join(["qemu-agent-command inner --async '{\"execute\": \"guest-ping\"}'"] * 200), fails=True)
    check(text.count('error: ') == 200, 'not all of them were asked', text)
    fake.ask('guest-agent-timeout', '--timeout', '1')
    check("less than the minimum '-2'" in fake.ask('guest-agent-timeout', '--timeout', '-3', fails=True), 'no time at all')
    bed.stop(signal.SIGKILL)
    bed.start()
    bed.wait_for(lambda: "state='connected'" in bed.virsh('dumpxml', 'inner'), 'no agent')
    fake.say('guest-fsfreeze-thaw', b'')
    check('not available for now' in fake.ask('domfsthaw', fails=True), 'the limit is forgotten')
    with open(f'{fake.folder}/silent', 'wb'):
        pass
    check('not available for now' in fake.ask('domtime', fails=True), 'it answers')
    os.unlink(f'{fake.folder}/silent')
    check('1700000000' in fake.ask('domtime'), 'it does not come back')
    waiting = subprocess.Popen(['virsh', '-c', f'qemu+unix:///session?socket={bed.socket}', 'qemu-agent-command', 'inner', '--block',
                                '{"execute": "guest-ping"}'], env=bed.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    bed.wait_for(lambda: fake.heard()['execute'] == 'guest-ping', 'it is not asked')
    bed.virsh('destroy', 'inner')
    check(waiting.wait(kv.LIMIT) and b'not responding' in waiting.stdout.read(), 'it waits on')
    waiting.stdout.close()
    bed.virsh('undefine', 'inner')


EVENTS = """
import sys, libvirt, libvirt_qemu
libvirt.virEventRegisterDefaultImpl()
conn = libvirt.open(sys.argv[1])
seen, dom = [], conn.lookupByName('inner')
conn.domainEventRegisterAny(dom, libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, lambda *a: seen.append(a[2:4]), None)
for open in 'true', 'false':
    libvirt_qemu.qemuMonitorCommand(dom, '{"execute": "emit", "arguments": {"event": "VSERPORT_CHANGE", '
                                    '"data": {"id": "channel0", "open": %s}}}' % open, 0)
while len(seen) < 2:
    libvirt.virEventRunDefaultImpl()
print(seen)
"""


def case_events(bed):
    """The guest opens and closes the port: libvirt-python is told, the definition says so, and calls are refused or not."""
    fake = Fake(bed, start=False)
    with open(f'{fake.folder}/closed', 'wb'):
        pass
    bed.virsh('start', 'inner')
    check("state='disconnected'" in bed.virsh('dumpxml', 'inner'), 'it is open', bed.virsh('dumpxml', 'inner'))
    check('QEMU guest agent is not connected' in fake.ask('domtime', fails=True), 'it is asked')
    out = subprocess.run(['/usr/bin/python3', '-c', EVENTS, f'qemu+unix:///session?socket={bed.socket}'], env=bed.environment,
                         capture_output=True, text=True, timeout=kv.LIMIT, check=False)
    if 'No module named' in out.stderr:
        raise Skipped('no libvirt-python')
    check(out.stdout.strip() == '[(1, 2), (2, 2)]', 'other events', out.stdout, out.stderr)
    fake.emit('VSERPORT_CHANGE', id='channel0', open=True)
    bed.wait_for(lambda: "state='connected'" in bed.virsh('dumpxml', 'inner'), 'it is closed')
    check('1700000000' in fake.ask('domtime'), 'no answer')
    fake.end()


def case_told(bed):
    """What kv-vmm tells (src/vmm/events.c, notices.c) is libvirt's event, as virsh prints it."""
    fake = Fake(bed)
    log = bed.path('events')
    with open(log, 'wb') as out, subprocess.Popen(
            ['virsh', '-c', f'qemu+unix:///session?socket={bed.socket}', 'event', 'inner', '--all', '--loop'], env=bed.environment,
            stdout=out, stderr=out) as virsh:

        def heard():
            with open(log, encoding='utf-8') as file:
                return file.read()

        def hears(text, event, **data):
            end = time.monotonic() + kv.LIMIT
            while text not in heard():
                check(time.monotonic() < end, f'not "{text}"', heard())
                fake.emit(event, **data)
                time.sleep(0.05)

        hears("event 'reboot'", 'RESET', guest=True)  # it listens
        hears("event 'io-error' for domain 'inner': /dev/null (virtio-disk0) report", 'BLOCK_IO_ERROR', device='virtio-disk0',
              action='report', operation='write', nospace=True, reason='No space left on device')
        bed.wait_for(lambda: "event 'io-error-reason' for domain 'inner': /dev/null (virtio-disk0) report due to enospc" in heard(), 'no reason')
        hears("event 'watchdog' for domain 'inner': reset", 'WATCHDOG', action='reset')
        hears("event 'rtc-change' for domain 'inner': 60", 'RTC_CHANGE', offset=60)
        hears("event 'balloon-change' for domain 'inner': 65536KiB", 'BALLOON_CHANGE', actual=64 << 20)
        hears("event 'tray-change' for domain 'inner' disk virtio-disk0: opened", 'DEVICE_TRAY_MOVED', device='virtio-disk0',
              id='virtio-disk0', **{'tray-open': True})
        hears("event 'lifecycle' for domain 'inner': Crashed", 'GUEST_CRASHLOADED', action='run')
        hears("event 'device-removed' for domain 'inner': virtio-disk0", 'DEVICE_DELETED', device='virtio-disk0', path='/x')
        bed.virsh('desc', 'inner', '--title', 'told', '--live')
        hears("event 'metadata-change' for domain 'inner': type title", 'RESET', guest=True)
        hears("event 'lifecycle' for domain 'inner': Shutdown Finished", 'SHUTDOWN', guest=True, reason='guest-shutdown')
        virsh.terminate()
    bed.wait('shut off (shutdown)', 'inner')
    bed.virsh('undefine', 'inner')


SCRIPT = f"""mkdir -p /sbin /etc /root /run /var/run /var/local/run
printf '#!/bin/sh\\nexec poweroff -f\\n' >/sbin/shutdown
chmod +x /sbin/shutdown
printf 'ID=tiny\\nPRETTY_NAME="Tiny 1"\\n' >/etc/os-release
hostname agent-guest
exec /usr/sbin/qemu-ga -m virtio-serial -p /dev/$(grep -l {PORT} /sys/class/virtio-ports/*/name | cut -d / -f 5) -t /run -f /run/ga.pid
"""


def case_real(bed):
    """QEMU's own agent in a small Linux, from its start to its end."""
    if not os.path.exists('/usr/sbin/qemu-ga'):
        raise Skipped('no qemu-ga (tools/install-deps test)')
    kernel, folder = bed.kernel(), bed.path('guest')
    os.mkdir(folder)
    with open(f'{folder}/script', 'w', encoding='utf-8') as file:
        file.write(SCRIPT)
    subprocess.run([os.path.join(bed.root, 'tools/make-initrd'), '-c', folder, f'{folder}/initrd', '/usr/sbin/qemu-ga'], check=True,
                   stdout=subprocess.DEVNULL)
    bed.define('real', kernel, f'{folder}/initrd', f'console=ttyS0 quiet kv.run=&quot;sh {folder}/script&quot;', '', CHANNEL)
    bed.virsh('start', 'real')
    kv.LIMIT = 240
    bed.wait_for(lambda: "state='connected'" in bed.virsh('dumpxml', 'real'), 'no agent')
    bed.virsh('qemu-agent-command', 'real', '--timeout', '60', '{"execute": "guest-ping"}')
    check(bed.virsh('domhostname', 'real', '--source', 'agent') == 'agent-guest', 'another name')
    check('Tiny 1' in bed.virsh('guestinfo', 'real', '--os'), 'another system', bed.virsh('guestinfo', 'real'))
    check(abs(int(bed.virsh('domtime', 'real').split()[1]) - time.time()) < 60, 'another time')
    bed.virsh('shutdown', 'real', '--mode', 'agent')
    bed.wait('shut off (shutdown)', 'real')
    bed.virsh('undefine', 'real')


if __name__ == '__main__':
    sys.exit(kv.main(globals()))
