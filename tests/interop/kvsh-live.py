#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kvsh beside virsh at machines that run: each has a kvd of its own with the same machines, and the same lines, one after the other,
say the same there and end with the same status.

Lines are in kvsh-live/NAME.txt, in one argument, with {dir} the folder of each. Marks before one: '~' numbers may differ (clocks,
counters), '^' standard output may differ (a text of ours), '!' it ends well.   usage: kvsh-live.py KVD KV-VMM SOURCE-ROOT KVSH CASE...
Exit status 77: virsh or what a machine needs is missing."""
import concurrent.futures
import importlib
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time

import cases
import libvirtd
from cases import check

kv = importlib.import_module('kvd-kv')
block = importlib.import_module('kvd-block')
agent = importlib.import_module('kvd-agent')
HERE = os.path.dirname(os.path.abspath(__file__))
UUID = '11111111-2222-3333-4444-{:012}'
PROGRESS = r'(?:\r(Block \w+|Migration|Dump|Save|Managedsave): \[[ 0-9.]+ ?%\])+(?=\r\1: \[100 %\])'


class Pair:
    """virsh at one daemon and kvsh at another, which are alike. .ends: of each its URI, folder and environment."""

    def __init__(self, kvsh):
        self.programs, self.ends, self.threads = ['virsh', kvsh], [], concurrent.futures.ThreadPoolExecutor(2)

    def say(self, which, line):
        """Standard output, standard error and status, without what is only this one's."""
        uri, folder, environment = self.ends[which]
        done = subprocess.run([self.programs[which], '-c', uri, line.replace('{dir}', folder).replace('{uri}', uri)], env=environment,
                              cwd=folder, capture_output=True, stdin=subprocess.DEVNULL, timeout=kv.LIMIT, check=False)
        texts = [re.sub(PROGRESS, '', text.decode().replace(uri, 'URI').replace(folder, 'DIR')) for text in (done.stdout, done.stderr)]
        # which daemon it is, how fast it was, what it made up
        texts = [re.sub('same host [0-9a-f-]{36}', 'same host UUID', re.sub('Memory bandwidth: .*\n', '', text)) for text in texts]
        texts = [re.sub('[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}', 'UUID', text) for text in texts]
        return [*texts, done.returncode]

    def compare(self, line, marks):
        theirs, ours = self.threads.map(lambda which: self.say(which, line), (0, 1))
        for answer in theirs, ours:
            for at in 0, 1:
                if '~' in marks:
                    answer[at] = re.sub(r'-{3,}', '---', re.sub(r' +', ' ', re.sub(r'\d+(\.\d+)?', '#', answer[at])))
            if '^' in marks:
                answer[0] = ''
        for what, a, b in zip(('stdout', 'stderr', 'status'), theirs, ours):
            if a != b:
                print(f'--- {line}\n{what} of virsh:\n{a!r}\nof kvsh:\n{b!r}', flush=True)
        if os.environ.get('SHOW'):
            print(f'{line}: {theirs}', flush=True)
        if '!' in marks:
            check(theirs[2] == 0, f'it is to end well: {line}', str(theirs))
        return theirs == ours

    def lines(self, name):
        """All lines of a file."""
        with open(f'{HERE}/kvsh-live/{name}.txt', encoding='utf-8') as file:
            lines = [line for line in file.read().splitlines() if line and not line.startswith('#')]
        pairs = [re.match('([~^!]*)(.*)', line).groups() for line in lines]
        bad = sum(not self.compare(line, marks) for marks, line in pairs)
        check(lines and not bad, f'{bad} of {len(lines)} lines differ')


class Twins(Pair):
    """Each has a kvd of its own. .each: their beds."""

    def __init__(self, kvd, vmm, root, kvsh, folder):
        super().__init__(kvsh)
        self.folder, self.each = folder, []
        for name in 'first', 'other':
            os.mkdir(f'{folder}/{name}')
            bed = kv.Bed(kvd, vmm, root, f'{folder}/{name}')
            self.each.append(bed)
            self.ends.append((f'qemu+unix:///session?socket={bed.socket}', bed.folder, bed.environment))

    def close(self):
        for bed in self.each:
            bed.close()


def fixed(bed, name, number):
    """The definition that was made last, with a UUID that both have."""
    path = bed.path(f'{name}.xml')
    with open(path, encoding='utf-8') as file:
        text = file.read()
    bed.virsh('undefine', name)
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text.replace('</name>', f'</name><uuid>{UUID.format(number)}</uuid>', 1))
    bed.virsh('define', path)


def case_block(twins):
    """Jobs of disks that come to their end, and all that is said about disks."""
    for bed in twins.each:
        paths = block.layers(bed, 5)
        for number, path in enumerate(paths):
            os.symlink(path, bed.path(f'l{number}'))
        os.rename(os.path.dirname(paths[0]), bed.path('layers'))
        for number in range(5):
            os.unlink(bed.path(f'l{number}'))
            block.tool('qemu-img', 'rebase', '-u', '-f', 'qcow2', *(['-b', bed.path(f'layers/{number - 1}.qcow2'), '-F', 'qcow2'] if number else ['-b', '']),
                       bed.path(f'layers/{number}.qcow2'))
        with open(bed.path('raw'), 'wb') as file:
            file.truncate(4 << 20)
        bed.bare('vm', '', block.disk_xml(bed.path('layers/4.qcow2')) + block.disk_xml(bed.path('raw'), 'raw', 'vdb'))
        fixed(bed, 'vm', 1)
    twins.lines('block')
    for bed in twins.each:
        block.holds(bed.path('layers/1.qcow2'), 5)


def case_life(twins):
    """From one definition to none: what a machine that does nothing is told and says."""
    for bed in twins.each:
        bed.bare('vm')
        fixed(bed, 'vm', 1)
    twins.lines('life')


FILES = {
    'rng.xml': "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>",
    'card.xml': "<interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/><link state='up'/></interface>",
    'net.xml': f"<network><name>isolated</name><uuid>{UUID.format(8)}</uuid><ip address='10.9.0.1' netmask='255.255.255.0'/></network>",
    'secret.xml': f"<secret ephemeral='no' private='no'><uuid>{UUID.format(9)}</uuid><description>d</description></secret>",
}


def case_devices(twins):
    """Devices that come and go, and the other objects that a daemon has."""
    for bed in twins.each:
        for name, text in {**FILES, 'disk': 'x' * (1 << 20), 'word': 'hello', 'zeroes': 'a\0b\n'}.items():
            with open(bed.path(name), 'w', encoding='utf-8') as file:
                file.write(text)
        ports = ''.join(f"<controller type='pci' index='{i}' model='pcie-root-port'/>" for i in range(1, 7))
        bed.board('vm', ports + "<disk type='file' device='cdrom'><target dev='sdb' bus='sata'/></disk>" +
                  "<interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/></interface>" +
                  block.disk_xml(bed.path('disk'), 'raw'))
        fixed(bed, 'vm', 1)
        bed.virsh('start', 'vm', '--paused')
    twins.lines('devices')


def case_agent(twins):
    """A guest's agent: what it answers, as both tell it."""
    for bed in twins.each:
        agent.Fake(bed, start=False)
        fixed(bed, 'inner', 2)
        bed.virsh('start', 'inner')
        with open(bed.path('keys'), 'w', encoding='utf-8') as file:
            file.write('ssh-rsa one\nssh-rsa three\n')
    twins.lines('agent')
    for bed in twins.each:
        bed.wait('shut off (shutdown)', 'inner')


EDITOR = """#!/bin/sh
grep -q '<title>edited' "$1" || sed -i '1,/<name>/s/<name>vm/<title>edited<\\/title>\\n&/' "$1"
grep -q '<description>d' "$1" || sed -i 's/<creationTime/<description>d<\\/description>\\n&/' "$1"
exec sed -i 's/10.9.0.1/10.9.0.3/; s/<mode>0711/<mode>0700/' "$1"
"""


def case_edits(twins):
    """Definitions in an editor: of what is stored, runs, is saved."""
    for bed in twins.each:
        bed.bare('vm', '', block.disk_xml(bed.path('d.qcow2')))
        block.tool('qemu-img', 'create', '-q', '-f', 'qcow2', bed.path('d.qcow2'), '4M')
        fixed(bed, 'vm', 1)
        for name, text in {**FILES, 'editor': EDITOR}.items():
            with open(bed.path(name), 'w', encoding='utf-8') as file:
                file.write(text)
        os.chmod(bed.path('editor'), 0o755)
        bed.environment.update(EDITOR=bed.path('editor'), TMPDIR='/tmp')
        bed.virsh('net-define', bed.path('net.xml'))
    twins.lines('edits')


# What happens while both listen, one after the other, again and again.
HAPPENS = [['define', '{dir}/vm.xml'], ['start', 'vm'], ['suspend', 'vm'], ['resume', 'vm'], ['reset', 'vm'], ['metadata', 'vm', 'urn:a', '--key', 'k', '--set', '<a/>', '--live'],
           ['setmem', 'vm', '64M', '--live'], ['net-define', '{dir}/net.xml'], ['net-start', 'isolated'], ['net-destroy', 'isolated'],
           ['net-undefine', 'isolated'], ['pool-create-as', 'p', 'dir', '--target', '{dir}'], ['pool-refresh', 'p'], ['pool-destroy', 'p'],
           ['secret-define', '{dir}/secret.xml'], ['secret-set-value', UUID.format(9), 'YQ=='], ['secret-undefine', UUID.format(9)],
           ['destroy', 'vm'], ['autostart', 'vm'], ['define', '{dir}/vm.xml'], ['undefine', 'vm']]
# What listens, and what those that go on hear once in each turn.
LISTEN = {'event --all --loop --timestamp': 'Undefined', 'event --event lifecycle --domain vm --loop': 'Undefined', 'event --event reboot': None,
          'net-event --event lifecycle --loop': 'Undefined', 'pool-event --event lifecycle --loop --timestamp': 'Stopped',
          'pool-event --event refresh': None, 'secret-event --event lifecycle --loop': 'Undefined', 'qemu-monitor-event --pretty --loop': 'SHUTDOWN',
          'qemu-monitor-event --event RESET --timestamp': None, 'qemu-monitor-event --regex --event "STOP|RESUME" --loop': 'STOP'}


# virsh's own, now and then.
LEAK = 'error: One or more references were leaked after disconnect from the hypervisor\n'


class Listener:
    """One of the programs that listens."""

    def __init__(self, twins, which, number, line, mark):
        uri, folder, environment = twins.ends[which]
        self.path, self.mark, self.folder = f'{folder}/heard{number}', mark, folder
        with open(self.path, 'wb') as out:
            self.process = subprocess.Popen(['stdbuf', '-oL', twins.programs[which], '-c', uri, line], env=environment, cwd=folder,
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def text(self):
        with open(self.path, encoding='utf-8') as file:
            text = file.read()
        return re.sub(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+[+-]\d{4}|\d{9,}\.\d+', 'TIME', text).replace(self.folder, 'DIR').replace(LEAK, '')

    def has(self, times):
        """It has ended, or has heard of so many turns."""
        return self.text().count(self.mark) >= times if self.mark else self.process.poll() is not None

    def end(self):
        """What it heard in the last turn, or at all; how it ends; whether it knows how many events it heard."""
        if self.mark:
            self.process.send_signal(signal.SIGINT)
        status, text = self.process.wait(kv.LIMIT), self.text()
        told = re.search(r'^events received: (\d+)$', text, re.M)
        turn = text.split(self.mark)[-2] if self.mark else text
        return turn, text[told.end():], status, int(told[1]) == len(re.findall("event ['A-Z]", text)) if told else text


def case_events(twins):
    """Who listens hears the same, in the same words; the first one, or all until they are interrupted. Nobody says when they listen: all
    happens again until each has heard of two turns, and then once more."""
    heard = []
    for which, bed in enumerate(twins.each):
        bed.bare('vm')
        fixed(bed, 'vm', 1)
        for name, text in FILES.items():
            with open(bed.path(name), 'w', encoding='utf-8') as file:
                file.write(text)
        listeners = [Listener(twins, which, number, *row) for number, row in enumerate(LISTEN.items())]
        turns = '; '.join(shlex.join(word.replace('{dir}', bed.folder) for word in words) for words in HAPPENS)
        end = time.monotonic() + kv.LIMIT
        while not all(listener.has(2) for listener in listeners):
            check(time.monotonic() < end, 'somebody hears nothing', *[listener.text() for listener in listeners])
            bed.virsh(turns)
        for _ in range(2):
            bed.virsh(turns)
        bed.wait_for(lambda those=listeners: all(listener.has(4) for listener in those), 'somebody hears no more')
        heard.append([listener.end() for listener in listeners])
    for line, theirs, ours in zip(LISTEN, *heard):
        check(theirs == ours, f'{line}: they hear otherwise', f'--- virsh\n{theirs}\n--- kvsh\n{ours}')
        check(theirs[3] is True, f'{line}: another number of events', str(theirs))
        check(theirs[0].count('event ') > (LISTEN[line] is not None), f'{line}: hardly an event', theirs[0])


class Console(kv.Console):
    """One of the two, at a terminal of its own."""

    def __init__(self, twins, which, *words):
        self.fd, slave = pty.openpty()
        self.text = ''
        uri, folder, environment = twins.ends[which]
        self.process = subprocess.Popen([twins.programs[which], '-c', uri, *words], env=environment, cwd=folder, stdin=slave, stdout=slave,
                                        stderr=slave, start_new_session=True)
        os.close(slave)
        self.wait("Connected to domain 'vm'")
        end = time.monotonic() + kv.LIMIT
        while self.text.count('\n') < 2:
            check(select.select([self.fd], [], [], max(0, end - time.monotonic()))[0], 'no word of how to leave', self.text)
            self.text += os.read(self.fd, 4096).decode(errors='replace')
        self.head, self.text = self.text.split('\n')[1], ''

    def rest(self, typed):
        """How it ends, beside what the guest says: errors, the end of its last line, its status."""
        if typed:
            os.write(self.fd, typed)
        said, end = self.text.encode(), time.monotonic() + 60
        while True:
            check(select.select([self.fd], [], [], max(0, end - time.monotonic()))[0], 'the console does not end', said.decode(errors='replace'))
            try:
                data = os.read(self.fd, 4096)
            except OSError:  # nobody has it any more
                break
            said += data
        os.close(self.fd)
        self.said = said.decode(errors='replace')
        text = re.sub(r'\x1b\[[0-9;]*m', '', self.said)  # kvsh's colours
        return re.findall(r'error:.*', text), text[-2:], self.process.wait(kv.LIMIT)


def case_console(twins):
    """At a terminal: what is typed and what comes, the way out, who takes whose console."""
    said = []
    for which, bed in enumerate(twins.each):
        bed.linux('vm')
        first = Console(twins, which, 'start vm --console')
        first.greet()
        first.say('hello')
        first.wait('guest-heard hello')
        answers = [first.head, twins.say(which, 'console vm')]  # which has no terminal
        other = Console(twins, which, '-e', '^X', 'console vm --force')
        other.greet()
        answers += [other.head, first.rest(b''), other.rest(b'\x18')]
        last = Console(twins, which, 'console vm serial0')
        last.greet()
        said.append([*answers, last.head, last.rest(b'off\n')])
        bed.wait('shut off (shutdown)', 'vm')
    for theirs, ours in zip(*said):
        check(theirs == ours, 'another console', f'--- virsh\n{theirs!r}\n--- kvsh\n{ours!r}')
    check('I/O failure' in str(said[0]), 'who has the console keeps it', str(said[0]))


def case_paste(twins):
    """A guest that reads nothing, and more than anybody's queue for it: the escape character gets out of the console, and the next command works.
    Meanwhile kvd hears no answers to its keepalive, as it reads nothing of that client."""
    bed = twins.each[1]
    bed.stop()
    os.makedirs(bed.path('config/kvasir'), exist_ok=True)
    with open(bed.path('config/kvasir/kvd.conf'), 'w', encoding='utf-8') as file:
        file.write('keepalive_interval = 1\nkeepalive_count = 1\n')
    bed.start()
    bed.bare('vm')
    bed.virsh('start', 'vm')
    bed.virsh('suspend', 'vm')
    console = Console(twins, 1, '-k', '0', 'console vm; domstate vm')
    text, at, end = b'all of it\r' * 400000, 0, time.monotonic() + 120
    while at < len(text):
        check(time.monotonic() < end, f'{at} bytes are taken, then no more')
        ready = select.select([console.fd], [console.fd], [], 5)
        if console.fd in ready[0]:
            console.text += os.read(console.fd, 4096).decode(errors='replace')
        if console.fd in ready[1]:
            at += os.write(console.fd, text[at:at + 512])
    time.sleep(5)
    began = time.monotonic()
    errors, _, status = console.rest(b'\x1d')
    check(not errors and status == 0, 'it does not end well', errors, status)
    check('paused' in console.said and time.monotonic() - began < 20, 'what comes behind the console', console.said[-200:], time.monotonic() - began)
    check('vm' in bed.virsh('list', '--name'), 'kvd has gone')


STOCK = """<domain type='qemu'><name>vm</name><uuid>{uuid}</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator><disk type='file'><driver name='qemu' type='qcow2'/>
<source file='{dir}/home/disk'/><target dev='vda' bus='virtio'/></disk><serial type='pty'/></devices></domain>"""


def case_stock(twins):
    """libvirt's own daemon with QEMU, for what kvd does not have: backups, checkpoints, migration."""
    libvirtd.need('libvirtd', 'qemu-system-x86_64', 'qemu-img')
    pair = Pair(twins.programs[1])
    with libvirtd.Libvirtd('qemu+unix:///session') as first, libvirtd.Libvirtd('qemu+unix:///session') as other:
        for uri in first, other:
            folder = os.path.dirname(os.path.dirname(uri.partition('socket=')[2]))
            block.tool('qemu-img', 'create', '-q', '-f', 'qcow2', f'{folder}/home/disk', '4M')
            os.chmod(f'{folder}/home/disk', 0o666)
            with open(f'{folder}/vm.xml', 'w', encoding='utf-8') as file:
                file.write(STOCK.format(uuid=UUID.format(1), dir=folder))
            with open(f'{folder}/pull.xml', 'w', encoding='utf-8') as file:
                file.write(f"<domainbackup mode='pull'><server transport='unix' socket='{folder}/home/nbd'/>"
                           f"<disks><disk name='vda' type='file'><scratch file='{folder}/home/scratch'/></disk></disks></domainbackup>")
            pair.ends.append((uri, folder, dict(os.environ, LC_ALL='C')))
        try:
            pair.lines('stock')
        finally:
            for which in 0, 1:
                pair.say(which, 'destroy vm')


def main():
    kvd, vmm, root, kvsh, *names = sys.argv[1:]
    functions = {name: kv.closing(function) for name, function in globals().items() if name.startswith('case_')}
    functions['case_zz_end'] = lambda twins: twins.close()
    chosen = [*(names or [n[5:].replace('_', '-') for n in functions if n != 'case_zz_end']), 'zz-end']
    return cases.run(functions, chosen, lambda folder: Twins(*(os.path.abspath(path) for path in (kvd, vmm, root, kvsh)), folder))


if __name__ == '__main__':
    sys.exit(main())
