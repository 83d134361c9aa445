#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes on in a machine while somebody changes it: devices that leave, jobs and machines that end in the middle of a call; and
what kvd itself cannot write. A stand-in for kv-vmm (agent-vmm.py) does at each command what the case says; what is there afterwards
is virsh's word.
usage: kvd-faults.py KVD KV-VMM SOURCE-ROOT LATE-PRELOAD CASE...   Exit status 77: virsh is missing."""
import argparse
import glob
import importlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time

from cases import Skipped, check

kv = importlib.import_module('kvd-kv')
agent = importlib.import_module('kvd-agent')
CARD = "<interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/><link state='{}'/></interface>"
RNG = "<rng model='virtio'><backend model='random'>/dev/random</backend></rng>"
NETWORK = "<network><name>it</name><uuid>5fe6f1b1-6a5c-4f0c-8b3e-000000000001</uuid><ip address='{}' netmask='255.255.255.0'/></network>"
POOL = "<pool type='dir'><name>it</name><uuid>5fe6f1b1-6a5c-4f0c-8b3e-000000000002</uuid><target><path>{}</path></target></pool>"
CONCLUDED = ['JOB_STATUS_CHANGE', {'id': 'pull-vda', 'status': 'concluded'}]


class Fake(agent.Fake):
    def does(self, command, *steps):
        self.put(f'do-{command}', json.dumps(steps).encode())

    def comes(self, name):
        with open(f'{self.folder}/{name}', 'wb'):
            pass

    def waits(self, name):
        """It has come so far; what it waits for has not."""
        self.bed.wait_for(lambda: os.path.exists(f'{self.folder}/waits-{name}'), f'it does not wait for {name}')
        os.unlink(f'{self.folder}/waits-{name}')

    def begin(self, *words):
        return subprocess.Popen(['virsh', '-q', '-c', f'qemu+unix:///session?socket={self.bed.socket}', *words], env=self.bed.environment,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def pull(self):
        self.does('query-block', ['return', [{'device': 'virtio-disk0', 'inserted': {'image': {'filename': '/dev/null', 'format': 'raw'}}}]])
        self.ask('blockpull', 'vda')
        self.does('query-block-jobs', ['return', [{'device': 'pull-vda', 'type': 'stream', 'len': 9, 'offset': 1}]])
        self.does('query-jobs', ['return', [{'id': 'pull-vda', 'status': 'concluded', 'type': 'stream'}]])
        check('Block Pull' in self.info(), 'no job', self.info())

    def info(self):
        return self.ask('blockjob', 'vda', '--info')

    def concludes(self):
        self.emit(CONCLUDED[0], **CONCLUDED[1])


def well(bed):
    check(bed.process.poll() is None, f'kvd has ended with {bed.process.poll()}', bed.log())


def case_refused_abort(bed):
    """A job that the machine does not abort, as it has just ended, ends all the same; so does one that is aborted in vain before."""
    fake = Fake(bed)
    fake.pull()
    fake.does('block-job-cancel', ['error', 'it cannot be cancelled'])
    check('it cannot be cancelled' in fake.ask('blockjob', 'vda', '--abort', fails=True), 'it is aborted')
    fake.concludes()
    bed.wait_for(lambda: 'Block Pull' not in fake.info(), 'the job stays')
    fake.pull()
    fake.does('block-job-cancel', ['event', *CONCLUDED], ['error', 'it cannot be cancelled'])
    check('it cannot be cancelled' in fake.ask('blockjob', 'vda', '--abort', fails=True), 'it is aborted')
    bed.wait_for(lambda: 'Block Pull' not in fake.info(), 'the job stays')
    fake.end()


def case_late_abort(bed):
    """A job ends while somebody waits to abort it: the domain is nobody's afterwards."""
    fake = Fake(bed)
    for _ in range(3):
        fake.pull()
        fake.does('block-job-cancel', ['error', 'it cannot be cancelled'])
        fake.does('stop', ['wait', 'end'], ['event', *CONCLUDED], ['wait', 'go-on'], ['return', {}])
        suspend = fake.begin('suspend', 'inner')
        fake.waits('end')
        abort = fake.begin('blockjob', 'inner', 'vda', '--abort')
        time.sleep(.3)  # mostly it waits for its turn then; whenever it comes, the domain is nobody's in the end
        fake.comes('end')
        fake.waits('go-on')
        time.sleep(.1)
        fake.comes('go-on')
        check(suspend.wait(kv.LIMIT) == 0 and abort.wait(kv.LIMIT) != 0, 'another end', suspend.stdout.read(), abort.stdout.read())
        bed.wait_for(lambda: 'Block Pull' not in fake.info(), 'the job stays')
        fake.ask('reset')  # which fails while somebody has the domain
    fake.end()


def case_unplugged(bed):
    """A guest lets go of a disk while its medium is changed."""
    fake = Fake(bed, devices=agent.CHANNEL + CARD.format('up'))
    with open(bed.path('update.xml'), 'w', encoding='utf-8') as file:
        file.write(CARD.format('down'))
    fake.does('set_link', ['event', 'DEVICE_DELETED', {'device': 'net0', 'path': '/machine/peripheral/net0'}], ['return', {}])
    text = fake.ask('update-device', bed.path('update.xml'), '--live', fails=True)
    well(bed)
    check('not running' not in text, 'another error', text)
    check('<interface' not in bed.virsh('dumpxml', 'inner'), 'the card is back', bed.virsh('dumpxml', 'inner'))
    fake.end()


def case_ends_amid(bed):
    """A machine ends as soon as it has answered, while who asked has not had its turn yet: it is found to have ended."""
    bed.environment.update(LD_PRELOAD=PRELOAD, MALLOC_PERTURB_='165')
    fake = Fake(bed)
    with open(bed.path('rng.xml'), 'w', encoding='utf-8') as file:
        file.write(RNG)
    fake.does('device_add', ['return', {}], ['end'])
    for _ in range(3):
        fake.ask('attach-device', bed.path('rng.xml'), '--live', fails=None)
        well(bed)
        bed.wait('shut off (crashed)', 'inner')
        fake.ask('start')
    del bed.environment['LD_PRELOAD']
    fake.end()


def case_lost_monitor(bed):
    """A monitor's answer that is longer than kvd takes, or makes no sense, costs the connection and not the machine."""
    fake = Fake(bed)
    pids = bed.pids()
    for answer in 'long' * (5 << 20), 'bad':
        fake.does('query-nothing', ['return', answer] if answer != 'bad' else ['event', ['no name'], {}])
        said = fake.ask('qemu-monitor-command', '{"execute": "query-nothing"}', fails=True)
        check("connection to the machine's monitor is gone" in said, 'such an answer is taken', said[:200])
        fake.does('query-status', ['return', {'status': 'paused' if answer == 'bad' else 'running', 'running': answer != 'bad'}])
        bed.wait_for(lambda: bed.run('qemu-monitor-command', 'inner', '{"execute": "query-any"}', fails=None).returncode == 0, 'the monitor does not come back')
        check(bed.pids() == pids, 'another machine', bed.log())
        bed.wait('paused (unknown)' if answer == 'bad' else 'running (booted)', 'inner')
    well(bed)
    os.kill(pids[0], signal.SIGKILL)
    bed.wait('shut off (crashed)', 'inner')
    bed.virsh('undefine', 'inner')


def case_slow_disk(bed):
    """While a saved machine goes to a disk that takes its time, others are served."""
    path = bed.path('saved')
    bed.environment.update(LD_PRELOAD=PRELOAD, KV_LATE_SYNC=path)
    fake = Fake(bed)
    fake.does('query-migrate', ['return', {'status': 'completed'}])
    save = fake.begin('save', 'inner', path)
    bed.wait_for(lambda: os.path.exists(path + '.syncing'), 'it is not saved')
    bed.virsh('list')
    check(save.poll() is None, 'the disk has not taken its time', str(save.poll()))
    with open(path + '.synced', 'wb'):
        pass
    check(save.wait(kv.LIMIT) == 0, 'it is not saved', save.stdout.read())
    bed.virsh('undefine', 'inner')


def case_stuck(bed):
    """A machine that does not answer any more is destroyed, whoever waits for its answer."""
    fake = Fake(bed)
    with open(bed.path('rng.xml'), 'w', encoding='utf-8') as file:
        file.write(RNG)
    fake.does('device_add', ['wait', 'never'])
    attach = fake.begin('attach-device', 'inner', bed.path('rng.xml'), '--live')
    fake.waits('never')
    fake.ask('destroy')  # which fails when it waits for who has the domain
    bed.wait('shut off (destroyed)', 'inner')
    text = attach.communicate(timeout=kv.LIMIT)[0]
    check(attach.returncode and 'does not answer' not in text, 'it is attached, or its time was over', text)
    well(bed)
    bed.virsh('undefine', 'inner')


def case_half_save(bed):
    """A managed save that a daemon did not live to complete is no reason not to start."""
    fake = Fake(bed, start=False)
    folder = bed.path('data/kvasir/save')
    bed.stop()
    os.makedirs(folder, exist_ok=True)
    with open(f'{folder}/inner.save', 'wb') as file:
        file.write(struct.pack('16s19I', b'LibvirtQemudPart', 2, 4096, 1, 0, 0, *[0] * 14) + bytes(4096))
    bed.start()
    check('Managed save:   yes' in fake.ask('dominfo'), 'no managed save', fake.ask('dominfo'))
    fake.ask('start')
    check('ignoring incomplete managed state' in bed.log() and 'Managed save:   no' in fake.ask('dominfo'), 'it is kept', fake.ask('dominfo'))
    fake.end()


def save_killed(bed, fake, status):
    """kvd is killed in the middle of a managed save whose memory is not (active) or is all written; then it is there again."""
    path = bed.path('data/kvasir/save/inner.save')
    fake.does('stop', ['event', 'STOP', {}], ['return', {}])
    fake.does('cont', ['event', 'RESUME', {}], ['return', {}])
    fake.does('query-migrate', ['mark', 'asked'], ['return', {'status': status}])
    fake.does('migrate_cancel', ['mark', 'cancelled'], ['return', {}])
    save = fake.begin('managedsave', 'inner')
    bed.wait_for(lambda: os.path.exists(path) and open(path, 'rb').read(16) == b'LibvirtQemud' + (b'Part' if status == 'active' else b'Save'),
                 'it is not saved')
    bed.wait_for(lambda: os.path.exists(f'{fake.folder}/asked'), 'it is not asked how far it is')
    bed.stop(signal.SIGKILL)
    save.communicate(timeout=kv.LIMIT)
    fake.does('query-status', ['return', {'status': 'paused', 'running': False}])
    fake.does('query-migrate', ['return', {'status': 'cancelled'}])
    bed.start()


def case_killed_save(bed):
    """A machine goes on whose save the daemon did not live to see; its half of a file is nothing to start from."""
    fake = Fake(bed)
    save_killed(bed, fake, 'active')
    bed.wait('running (save canceled)', 'inner')
    check('Managed save:   no' in fake.ask('dominfo') and os.path.exists(f'{fake.folder}/cancelled'), 'it is being saved', fake.ask('dominfo'))
    fake.end()


def case_killed_saved(bed):
    """One that was all written when the daemon was killed is saved, and does not run beside that."""
    bed.environment.update(LD_PRELOAD=PRELOAD, KV_LATE_SYNC=bed.path('data/kvasir/save/inner.save'))
    fake = Fake(bed)
    save_killed(bed, fake, 'completed')
    bed.wait('shut off (saved)', 'inner')
    check('Managed save:   yes' in fake.ask('dominfo'), 'it is not saved', fake.ask('dominfo'))
    bed.virsh('undefine', 'inner', '--managed-save')


def case_restore_xml(bed):
    """The definition that goes with a restore is the one that runs, of a domain that is not defined as well."""
    fake = Fake(bed)
    xml = fake.ask('dumpxml', '--inactive').encode()
    bed.virsh('destroy', 'inner')
    bed.virsh('undefine', 'inner')
    with open(bed.path('saved'), 'wb') as file:
        file.write(struct.pack('16s19I', b'LibvirtQemudSave', 2, len(xml) + 1024, 1, 0, 0, *[0] * 14) + xml + bytes(1024))
    with open(bed.path('other.xml'), 'wb') as file:
        file.write(xml.replace(b'<memory', b'<title>another</title><memory', 1))
    bed.virsh('restore', bed.path('saved'), '--xml', bed.path('other.xml'))
    check('<title>another</title>' in fake.ask('dumpxml'), 'it is not the given one', fake.ask('dumpxml'))
    bed.virsh('destroy', 'inner')


def case_save_xml(bed):
    """What is no definition, or another machine's, is not saved with a machine, which could not come back then: it goes on."""
    fake, xml = Fake(bed), bed.path('other.xml')
    fake.does('query-migrate', ['return', {'status': 'completed'}])

    def write(text):
        with open(xml, 'w', encoding='utf-8') as file:
            file.write(text)

    own = fake.ask('dumpxml', '--inactive')
    uuid = re.search('<uuid>(.*)</uuid>', own)[1]
    others = [('does not match source', own.replace(uuid, uuid[:-4] + 'ffff')), ('does not match source', own.replace('>inner<', '>outer<')),
              ('max memory 262144 does not match source 131072', own.replace('131072', '262144')),
              ('vCPU max 2 does not match source 1', own.replace('>1</vcpu>', '>2</vcpu>')), ('document', '<domain')]
    for words, text in others:
        write(text)
        said = fake.ask('save', bed.path('saved'), '--xml', xml, fails=True)
        check((words in said or text == '<domain') and 'running' in fake.ask('domstate') and not os.path.exists(bed.path('saved')), 'it is saved', said)
    bed.virsh('save', 'inner', bed.path('saved'))
    for words, text in others[:-1]:
        write(text)
        for command in 'restore', 'save-image-define':
            said = bed.virsh(command, bed.path('saved'), *(['--xml', xml] if command == 'restore' else [xml]), fails=True)
            check(words in said, f'{command}: another error', said)
    check(bed.virsh('list', '--all', '--name') == 'inner' and 'shut off' in fake.ask('domstate'), 'another one is there', bed.virsh('list', '--all'))
    write(own.replace('<memory', '<title>another</title><memory', 1))
    bed.virsh('save-image-define', bed.path('saved'), xml)
    bed.virsh('restore', bed.path('saved'))
    check('<title>another</title>' in fake.ask('dumpxml'), 'it is not the given one', fake.ask('dumpxml'))
    fake.end()


def case_unreadable(bed):
    """A command that no monitor can read is not sent: there would be no answer that could be told from others, and no way on."""
    fake, words = Fake(bed), '{"execute": "query-status", "arguments": {"x": FILL}}'
    for fill in '"' + 'y' * (64 << 10) + '"', '[' * 1100 + ']' * 1100, '1e999', '"' + 'é' * (40 << 10) + '"':
        said = fake.ask('qemu-monitor-command', '--cmd', words.replace('FILL', fill), fails=True)
        check('could not read' in said, 'another error', said[-300:])
        fake.ask('domblkstat', 'vda', fails=None)
        fake.ask('reset')
    for words in ['qemu-monitor-command', '--hmp', 'i' * 70000], ['send-key', '30']:
        fake.ask(*words, fails=len(words) == 3)
    fake.end()


def case_beside_save(bed):
    """What is created is not what was saved before, and leaves that alone."""
    fake = Fake(bed)
    fake.does('query-migrate', ['return', {'status': 'completed'}])
    own = fake.ask('dumpxml', '--inactive')
    fake.ask('managedsave')
    with open(bed.path('own.xml'), 'w', encoding='utf-8') as file:
        file.write(own)
    bed.virsh('create', bed.path('own.xml'))
    check('(booted)' in fake.ask('domstate', '--reason') and 'Managed save:   yes' in fake.ask('dominfo'), 'it is restored',
          fake.ask('domstate', '--reason'), fake.ask('dominfo'))
    bed.virsh('destroy', 'inner')
    fake.ask('start')
    check('(restored)' in fake.ask('domstate', '--reason') and 'Managed save:   no' in fake.ask('dominfo'), 'it is not restored')
    fake.end()


def case_output(bed):
    """A save or a dump that fails removes the file that it has begun, and no device or FIFO."""
    fake, fifo, file = Fake(bed), bed.path('fifo'), bed.path('file')
    fake.does('query-migrate', ['return', {'status': 'failed', 'error-desc': 'as it is told'}])
    os.mkfifo(fifo)
    with os.fdopen(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK), 'rb'):
        for command in 'save', 'dump':
            for path in fifo, file:
                check('as it is told' in fake.ask(command, path, fails=True) or command == 'save', 'another error')
                check(os.path.exists(path) == (path == fifo), f'{command}: {path}')
    fake.end()


def case_large(bed):
    """A definition that is too large to be read again is not taken; whatever was taken is there after a start."""
    largest, uuid = 4 << 20, '5fe6f1b1-6a5c-4f0c-8b3e-00000000000'

    def define(kind, xml, n, fill='x', fails=False):
        with open(bed.path('large.xml'), 'w', encoding='utf-8') as file:
            file.write(xml.replace('FILL', fill * n))
        text = bed.virsh(f'{kind}define', bed.path('large.xml'), fails=fails)
        check(not fails or 'the most is' in text, 'another error', text)

    domain = "<domain type='qemu'><name>large</name><memory>65536</memory><os><type>hvm</type></os><description>FILL</description></domain>"
    network = NETWORK.replace('<ip', '<description>FILL</description><ip', 1)
    secret = f"<secret ephemeral='no'><uuid>{uuid}9</uuid><description>FILL</description><usage type='volume'><volume>/a</volume></usage></secret>"
    for kind, xml in ('', domain), ('secret-', secret):
        define(kind, xml, largest - 500, "'", fails=True)
        define(kind, xml, largest - 50000)
    define('net-', network.format('192.0.2.1'), 1000)
    meta = '<metadata>' + '<a:b xmlns:a="urn:a"/>' * ((largest - 2000) // 22) + '</metadata>'
    define('net-', network.format('192.0.2.1').replace('<ip', meta + '<ip', 1), 0, fails=True)
    define('net-', network.format('192.0.2.1'), 2000)
    bed.stop()
    bed.start()
    check('large' in bed.virsh('list', '--all', '--name').split() and 'x' * 2000 in bed.virsh('net-dumpxml', 'it') and f'{uuid}9' in
          bed.virsh('secret-list') and 'x' * (largest - 50000) in bed.virsh('dumpxml', 'large'), 'something is lost', bed.log())
    bed.virsh('undefine', 'large')


def case_control(bed):
    """Characters that XML has not do not make a definition that nobody can read any more."""
    fake = Fake(bed, start=False)
    fake.ask('desc', 'be\x01fore\x1f and behind')
    check('invalid char in name' in fake.ask('domrename', 'out\x01er', fails=True), 'another name')
    fake.ask('metadata', 'http://x/', '--key', 'k', '--set', '<a/>')
    check('control characters' in fake.ask('metadata', 'http://x/\x02', '--key', 'k', '--set', '<a/>', fails=True), 'another namespace')
    bed.stop()
    bed.start()
    check(fake.ask('desc') == 'before and behind', 'another description', fake.ask('desc'))
    bed.virsh('undefine', 'inner')


def case_unwritten(bed):
    """A change of a stored definition that cannot be kept is none: one that nobody could read again, one that cannot be written."""
    fake = Fake(bed, start=False)
    before = fake.ask('dumpxml')
    for n in 70000, 4000000000:
        check("Invalid value for element 'vcpu'" in fake.ask('setvcpus', str(n), '--maximum', '--config', fails=True), 'so many vCPUs')
    folder = bed.path('config/kvasir/domains')
    os.rename(folder, folder + '-away')
    for words in [['setvcpus', '3', '--maximum'], ['setmaxmem', '256M'], ['desc', 'another'], ['vcpupin', '0', '0'],
                  ['memtune', '--hard-limit', '100000']]:
        fake.ask(*words, '--config', fails=True)
        check(fake.ask('dumpxml') == before, f'{words[0]} has changed it', fake.ask('dumpxml'))
    os.rename(folder + '-away', folder)
    fake.ask('setmaxmem', '256M', '--config')
    # Nobody has asked for it since the daemon came, so that nothing of it is in memory.
    before = fake.ask('dumpxml')
    bed.stop()
    bed.start()
    with open(bed.path('new.xml'), 'w', encoding='utf-8') as file:
        file.write(before.replace('262144', '524288'))
    os.rename(folder, folder + '-away')
    bed.virsh('define', bed.path('new.xml'), fails=True)
    os.rename(folder + '-away', folder)
    check(fake.ask('dumpxml') == before, 'the definition that was not kept is there', fake.ask('dumpxml'))
    bed.stop()
    bed.start()
    check('262144 KiB' in fake.ask('dominfo'), 'another definition', fake.ask('dominfo'))
    bed.virsh('undefine', 'inner')


def case_many_rows(bed):
    """More vCPUs than there may be do not get a row each before they are refused."""
    bed.bare('rows', "<vcpus><vcpu id='0' enabled='yes' hotpluggable='no'/></vcpus>")
    check("Invalid value for element 'vcpu'" in bed.virsh('setvcpus', 'rows', '4000000000', '--maximum', '--config', fails=True), 'so many')
    bed.virsh('setvcpus', 'rows', '255', '--maximum', '--config')
    check(bed.virsh('dumpxml', 'rows').count('<vcpu id=') == 255, 'another number of rows')
    bed.virsh('undefine', 'rows')


def case_renamed(bed):
    """A name that no definition may have is no new name either; the variables of its firmware go with it, over nobody else's."""
    with open(bed.path('uefi.xml'), 'w', encoding='utf-8') as file:
        file.write("<domain type='qemu'><name>old</name><memory>65536</memory><os firmware='efi'><type machine='q35'>hvm</type></os>"
                   "<features><acpi/></features></domain>")
    bed.virsh('define', bed.path('uefi.xml'))
    for name, words in ('n' * 230, 'longer than 200 bytes'), (' ', 'must not be blank'):
        check(words in bed.virsh('domrename', 'old', name, fails=True), f'it is called "{name}"')
    folder = bed.path('data/kvasir/nvram')
    os.makedirs(folder, exist_ok=True)
    for name in 'old', 'other':
        with open(f'{folder}/{name}_VARS.fd', 'w', encoding='utf-8') as file:
            file.write(name)
    check('other_VARS.fd' in bed.virsh('domrename', 'old', 'other', fails=True), "another's variables are written over")
    bed.virsh('domrename', 'old', 'new')
    check(sorted(os.listdir(folder)) == ['new_VARS.fd', 'other_VARS.fd'], 'other files', os.listdir(folder))
    with open(f'{folder}/other_VARS.fd', encoding='utf-8') as file:
        check(file.read() == 'other', "another's variables are lost")
    bed.stop()
    bed.start()
    bed.virsh('undefine', 'new', '--nvram')
    check(os.listdir(folder) == ['other_VARS.fd'], 'other files', os.listdir(folder))


def case_devices(bed):
    """What becomes of a device's other values when one of them changes; which one is meant; the same card here and there."""
    def write(xml):
        with open(bed.path('device.xml'), 'w', encoding='utf-8') as file:
            file.write(xml)
        return bed.path('device.xml')

    drive = ("<disk type='file' device='cdrom'><driver name='qemu' type='raw'/>{}<target dev='sda' bus='scsi'/><readonly/>{}"
             "<address type='drive' controller='0' bus='0' target='0' unit='0'/></disk>")
    screen = "<graphics type='vnc' port='{}' autoport='{}' passwd='{}'/>"
    fake = Fake(bed, devices=agent.CHANNEL + drive.format('', '<serial>S1</serial>') + screen.format(-1, 'yes', 'one'))
    port = fake.ask('vncdisplay')
    # As people have it from the stored definition: without the port that was chosen.
    fake.ask('update-device', write(screen.format(-1, 'yes', 'two')), '--live')
    check(fake.ask('vncdisplay') == port, 'another port', fake.ask('vncdisplay'))
    check("passwd='two'" in fake.ask('dumpxml', '--security-info'), 'another password')
    said = fake.ask('update-device', write(screen.format(5999, 'no', 'two')), '--live', fails=True)
    check('cannot change port settings on vnc graphics' in said, 'another port', said)
    # A disc comes; what else a drive is stays, and is not said to be something else.
    fake.ask('update-device', write(drive.format("<source file='/dev/null'/>", '')), '--live')
    xml = fake.ask('dumpxml')
    check("<source file='/dev/null'/>" in xml and '<serial>S1</serial>' in xml, 'another drive', xml)
    said = fake.ask('update-device', write(drive.format('', '<serial>S2</serial>')), '--live', fails=True)
    check("cannot modify field 'serial'" in said, 'another serial', said)
    said = fake.ask('update-device', write(drive.format('', '').replace("type='raw'", "type='raw' cache='none'")), '--live', fails=True)
    check("cannot modify field 'cache'" in said, 'another cache', said)
    # One address for a card that is made up, in both definitions.
    fake.ask('attach-device', write("<interface type='user'/>"), '--live', '--config')
    macs = [re.search("mac address='(.*)'", fake.ask('dumpxml', *words))[1] for words in ([], ['--inactive'])]
    check(macs[0] == macs[1], 'two addresses', macs)
    fake.ask('attach-device', write("<interface type='user'/>"), '--config')
    said = fake.ask('detach-device', write("<interface type='user'/>"), '--config', fails=True)
    check('multiple devices' in said, 'one of two cards goes', said)
    fake.end()


def case_redefined(bed):
    """Networks and pools whose new definition cannot be written are as they were."""
    bed.stop()
    bed.start()
    for kind, xml, old, new in [('net', NETWORK, '192.0.2.1', '198.51.100.1'), ('pool', POOL, '/tmp', '/var/tmp')]:
        folder = bed.path('config/kvasir/' + {'net': 'networks', 'pool': 'storage'}[kind])
        path = bed.path(f'{kind}.xml')
        for value in old, new:
            with open(path, 'w', encoding='utf-8') as file:
                file.write(xml.format(value))
            if value == new:
                check(os.path.isdir(folder), 'no such folder', os.listdir(bed.path('config/kvasir')))
                os.rename(folder, folder + '-away')
            bed.virsh(f'{kind}-define', path, fails=value == new)
        bed.virsh(f'{kind}-autostart', 'it', fails=True)
        check('it' in bed.virsh(f'{kind}-list', '--all', '--name').split(), f'{kind}: it is not there')
        text = bed.virsh(f'{kind}-dumpxml', 'it') + bed.virsh(f'{kind}-info', 'it')
        check(old in text and new not in text and 'Autostart:      no' in text, f'{kind}: another definition', text)
        os.rename(folder + '-away', folder)


def case_odd_names(bed):
    """An image whose name XML does not have is no reason not to find its machine again, nor to forget which files go with a commit."""
    fake, odd, base = Fake(bed), bed.path('o\x01d"d\n'), bed.path('base')
    for name in odd, base:
        with open(name, 'wb'):
            pass
    chain = {'filename': '/dev/null', 'format': 'raw', 'backing-image': {'filename': odd, 'format': 'raw', 'backing-image': {
        'filename': base, 'format': 'raw'}}}
    fake.does('query-block', ['return', [{'device': 'virtio-disk0', 'inserted': {'image': chain}}]])
    fake.ask('blockcommit', 'vda', '--top', 'vda[2]', '--base', 'vda[3]', '--delete')
    fake.does('query-jobs', ['return', [{'id': 'commit-vda', 'status': 'running', 'type': 'commit'}]])
    bed.stop()
    bed.start()
    bed.wait('running (booted)', 'inner')
    fake.does('query-jobs', ['return', [{'id': 'commit-vda', 'status': 'concluded', 'type': 'commit'}]])
    fake.emit('JOB_STATUS_CHANGE', id='commit-vda', status='concluded')
    bed.wait_for(lambda: not os.path.exists(odd), 'what was committed is there still')
    check(os.path.exists(base), 'the base is gone')
    fake.end()


def case_long_dump(bed):
    """A machine that is being dumped when kvd starts anew, however often, answers when that is over, however late; until then it can be
    destroyed."""
    fake = Fake(bed)
    fake.does('query-dump-guest-memory-capability', ['return', {'formats': ['elf']}])
    fake.does('dump-guest-memory', ['wait', 'dumped'], ['return', {}])
    dump = fake.begin('dump', 'inner', bed.path('dump'), '--memory-only')
    fake.waits('dumped')
    bed.stop(signal.SIGKILL)
    dump.communicate(timeout=kv.LIMIT)
    for _ in range(5):  # more than wait to be let in
        bed.start()
        time.sleep(.2)
        bed.stop(signal.SIGKILL)
    bed.start()
    time.sleep(12)
    check('running' in fake.ask('domstate'), 'it is given up', fake.ask('domstate'))
    fake.comes('dumped')
    fake.ask('dommemstat', fails=None)
    fake.ask('reset')
    os.unlink(f'{fake.folder}/dumped')
    bed.stop(signal.SIGKILL)
    bed.start()
    fake.does('dump-guest-memory', ['wait', 'never'])
    dump = fake.begin('dump', 'inner', bed.path('dump'), '--memory-only')
    fake.waits('never')
    bed.stop(signal.SIGKILL)
    dump.communicate(timeout=kv.LIMIT)
    bed.start()
    fake.ask('destroy')
    bed.wait('shut off (destroyed)', 'inner')
    bed.virsh('undefine', 'inner')


def reads_folder(pid, folder):
    """Whether a process has it open."""
    for path in glob.glob(f'/proc/{pid}/fd/*'):
        try:
            if os.readlink(path) == folder:
                return True
        except OSError:
            pass
    return False


def case_two_pools(bed):
    """Of two that create a pool at once one is told that it is there; it is what was started."""
    folders = [bed.path('large'), bed.path('small')]
    for folder, n in zip(folders, (20000, 0)):
        os.mkdir(folder)
        for i in range(n):
            os.link(f'{folder}/0', f'{folder}/{i}') if i else open(f'{folder}/0', 'wb').close()
        with open(folder + '.xml', 'w', encoding='utf-8') as file:
            file.write(POOL.format(folder))
    for stored in False, True:
        if stored:
            bed.virsh('pool-define', folders[1] + '.xml')
        second = subprocess.Popen(['virsh', '-q', '-c', f'qemu+unix:///session?socket={bed.socket}'], env=bed.environment, text=True, bufsize=1,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        second.stdin.write('uri\n')
        while 'qemu+unix' not in second.stdout.readline():  # it is connected
            pass
        first = Fake.begin(argparse.Namespace(bed=bed), 'pool-create', folders[0] + '.xml')
        while first.poll() is None and not reads_folder(bed.process.pid, folders[0]):
            pass
        second.stdin.write(f'pool-create {folders[1]}.xml\n')
        text = second.communicate(timeout=kv.LIMIT)[0]
        check(first.wait(kv.LIMIT) == 0 and 'already active' in text, 'another end', text, first.stdout.read())
        check(folders[0] in bed.virsh('pool-dumpxml', 'it'), 'another pool than the one that was started', bed.virsh('pool-dumpxml', 'it'))
        bed.virsh('pool-destroy', 'it')
    bed.virsh('pool-undefine', 'it')


OPEN = """
import sys, os, libvirt
os.close(libvirt.open(sys.argv[1]).lookupByName('inner').openGraphicsFD(0))
"""


def sockets_of(pid):
    """The inodes of a process's sockets."""
    for path in glob.glob(f'/proc/{pid}/fd/*'):
        try:
            found = re.fullmatch(r'socket:\[(\d+)\]', os.readlink(path))
        except OSError:
            continue
        if found:
            yield found[1]


def dials(sockets, port):
    """Whether one of these is not connected yet to a port of this host (state SYN_SENT)."""
    with open('/proc/net/tcp', encoding='ascii') as file:
        rows = [line.split() for line in file][1:]
    return any(row[9] in sockets and row[3] == '02' and row[2].endswith(f':{port:04X}') for row in rows)


def case_busy_screen(bed):
    """A screen that takes no connections holds up who asks for one, and nobody else."""
    with socket.socket() as screen:
        screen.bind(('127.0.0.1', 0))
        screen.listen(0)
        port = screen.getsockname()[1]
        clients = [socket.socket() for _ in range(8)]
        fake = Fake(bed, devices=agent.CHANNEL + f"<graphics type='vnc' port='{port}' autoport='no' listen='127.0.0.1'/>")
        for client in clients:
            client.setblocking(False)
            client.connect_ex(('127.0.0.1', port))
        sockets, served = set(sockets_of(bed.process.pid)), False
        for _ in range(5):  # kvd waits for seconds, in which a list may not get its turn now and then
            opener = subprocess.Popen(['/usr/bin/python3', '-c', OPEN, f'qemu+unix:///session?socket={bed.socket}'], env=bed.environment,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            while opener.poll() is None and not dials(set(sockets_of(bed.process.pid)) - sockets, port):
                time.sleep(.01)
            bed.virsh('list')
            served = dials(set(sockets_of(bed.process.pid)) - sockets, port)
            text = opener.communicate(timeout=kv.LIMIT)[0]
            if 'No module named' in text:
                raise Skipped('no libvirt-python')
            check('cannot connect to the screen' in text, 'it is connected to', text)
            if served:
                break
        check(served, 'a list waits for a screen')
        for client in clients:
            client.close()
    fake.end()


if __name__ == '__main__':
    PRELOAD = sys.argv.pop(4)
    sys.exit(kv.main(globals()))
