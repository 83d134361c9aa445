#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What kvd promises when all goes wrong: each write of it fails once, allocations fail, and it is killed among a thousand
definitions and fifty machines that start, stop and die. Whatever was answered is so afterwards, definitions are whole, machines
run on, and nothing is left.
usage: kvd-torture.py KVD KV-VMM KVSH FAIL-PRELOAD SOURCE-ROOT STRIDE STEPS CASE...   STRIDE: each so many-th failure is tried."""
import glob
import importlib.util
import os
import random
import re
import signal
import subprocess
import sys
import time
import uuid

import cases
import qmp
from cases import check

spec = importlib.util.spec_from_file_location('kvd_kv', os.path.join(os.path.dirname(os.path.abspath(__file__)), 'kvd-kv.py'))
kvd_kv = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kvd_kv)

DOMAINS, MACHINES = 1000, 50
XML = """<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid>{title}<memory unit='MiB'>16</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='micro'>hvm</type><kernel>{kernel}</kernel></os>
<devices><serial type='null'/></devices></domain>"""
POOL = "<pool type='dir'><name>pool</name><target><path>{path}</path></target></pool>"
# Name of the domain, command, what its success means: the title that it has, whether it runs.
STEPS = [('a', 'define a1.xml', {'title': '1'}), ('a', 'autostart a', {}), ('b', 'define b1.xml', {'title': '1'}),
         ('b', 'start b', {'runs': True}), ('a', 'define a2.xml', {'title': '2'}), ('b', 'suspend b', {}), ('b', 'resume b', {}),
         ('b', 'managedsave b', {'runs': False}), ('b', 'start b', {'runs': True}), (None, 'pool-define pool.xml', {}),
         (None, 'pool-start pool', {}), (None, 'vol-create-as pool v 1M', {}), (None, 'pool-destroy pool', {}),
         (None, 'pool-undefine pool', {}), ('a', 'undefine a', {'title': None}), ('c', 'define c1.xml', {'title': '1'})]


class Bed(kvd_kv.Bed):
    def __init__(self, kvd, vmm, kvsh, preload, root, stride, steps, folder):
        self.kvsh, self.preload, self.stride, self.steps = kvsh, preload, stride, steps
        super().__init__(kvd, vmm, root, folder)
        qmp.kernel(self.path('kernel'), b'\xf4\xeb\xfd')  # 1: hlt; jmp 1b
        for name in 'abc':
            for title in '12':
                self.write(f'{name}{title}.xml', self.xml(name, title))
        os.mkdir(self.path('pool'))
        self.write('pool.xml', POOL.format(path=self.path('pool')))

    def write(self, name, text):
        with open(self.path(name), 'w', encoding='utf-8') as file:
            file.write(text)

    def xml(self, name, title):
        return XML.format(name=name, uuid=uuid.uuid5(uuid.NAMESPACE_DNS, name), title=f'<title>{title}</title>', kernel=self.path('kernel'))

    def say(self, line):
        """kvsh's status: None when there is no answer."""
        return self.ask(*line.split())

    def each_of(self, names, line):
        """One kvsh that says the same of many, as '{}' in the line; none of it may fail."""
        for at in range(0, len(names), 50):
            status, text = self.ask('; '.join(line.format(name) for name in names[at:at + 50]))
            check(status == 0 and 'error: ' not in text, f'{line} of {names[at:at + 50]}', text, self.log())

    def ask(self, *words):
        try:
            done = subprocess.run([self.kvsh, '-q', '-c', f'qemu+unix:///session?socket={self.socket}', *words], env=self.environment,
                                  cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=kvd_kv.LIMIT, check=False)
        except subprocess.TimeoutExpired:
            return None, ''
        return done.returncode, done.stdout.decode()

    def start_failing(self, what):
        """A daemon whose part fails; whether it listens."""
        environment = {**self.environment, 'LD_PRELOAD': self.preload, 'KV_FAIL': what, 'KV_FAIL_COUNT': self.path('count'), 'G_SLICE': 'always-malloc'}
        with open(self.path('kvd.log'), 'ab') as log:
            self.process = subprocess.Popen([self.kvd, '--session', '--socket', self.socket, '--vmm', self.vmm],
                                            env=environment, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + kvd_kv.LIMIT
        while self.process.poll() is None and time.monotonic() < end:
            if self.say('uri')[0] == 0:
                return True
            time.sleep(0.005)
        check(self.process.poll() is not None, f'{what}: kvd neither listens nor ends')
        return False

    def machines(self):
        """Processes of kv-vmm that are of this test, by their domains' names."""
        found = {}
        for path in glob.glob('/proc/[0-9]*/cmdline'):
            try:
                with open(path, 'rb') as file:
                    words = file.read().split(b'\0')
            except OSError:
                continue
            if words[0].decode() == self.vmm and any(self.folder.encode() in w for w in words):
                found[words[words.index(b'--name') + 1].decode()] = int(path.split('/')[2])
        return found

    def clear(self):
        for name in self.say('list --name')[1].split():
            self.say(f'destroy {name}')
        for name in self.say('list --all --name')[1].split():
            status, text = self.say(f'undefine {name} --managed-save')
            check(status == 0, f'undefine {name}', text)
        for name in self.say('pool-list --all --name')[1].split():
            self.say(f'pool-destroy {name}')
            self.say(f'pool-undefine {name}')
        for name in os.listdir(self.path('pool')):
            os.unlink(self.path(f'pool/{name}'))
        self.wait_for(lambda: not self.machines(), 'machines are left')


def work(bed, what):
    """The steps with a daemon that fails; what is known afterwards, of each domain: a set of what may be so."""
    may = {name: {'title': {None}, 'runs': {False}} for name in 'abc'}
    may['a']['runs'].add(True)  # the next daemon starts it
    failed = []
    if not bed.start_failing(what):
        return may, ['it does not start']
    for name, line, means in STEPS:
        status, text = bed.say(line)
        if status != 0:
            failed.append(line)
            check(status is not None, f'{what}: {line}: no answer')
            check(text.startswith('error: '), f'{what}: {line}: it fails without a word', text)
        for key, value in means.items() if name else ():
            may[name][key] = {value} if status == 0 else may[name][key] | {value}
        if bed.process.poll() is not None:
            break
    return may, failed


def compare(bed, what, may):
    """A daemon that is well says what may be so, and what runs is what it says that runs."""
    bed.start()
    running = set()

    def is_so():
        running.clear()
        running.update(bed.say('list --name')[1].split())
        return running == set(bed.machines())
    bed.wait_for(is_so, f'{what}: kvd says that others run than those that do')  # one that was killed takes a moment to go
    names = set(bed.say('list --all --name')[1].split())
    for name, possible in may.items():
        title = None
        if name in names:
            text = bed.say(f'dumpxml {name} --inactive')[1]
            title = re.search('<title>(.*)</title>', text)
            check(title and text.rstrip().endswith('</domain>'), f'{what}: {name} has no whole definition', text)
            title = title[1]
        check(title in possible['title'], f'{what}: {name} is {title}, not {possible["title"]}', bed.log())
        check((name in running) in possible['runs'], f'{what}: {name} runs: {name in running}', bed.log())
    leftovers = glob.glob(bed.path('config/kvasir/**/.new-*'), recursive=True) + glob.glob(bed.path('run/kvasir/**/.new-*'), recursive=True)
    check(not leftovers, f'{what}: files are left', str(leftovers))
    bed.clear()
    bed.stop()


def count(bed):
    bed.stop()
    may, failed = work(bed, 'write:0')
    check(not failed, f'without a fault {failed} fail', bed.log())
    bed.stop()
    with open(bed.path('count'), encoding='ascii') as file:
        writes, mallocs = map(int, file.read().split())
    compare(bed, 'nothing', may)
    return writes, mallocs


def each(bed, kind, numbers):
    hit = 0
    for n in numbers:
        what = f'{kind}:{n}'
        may, failed = work(bed, what)
        hit += bool(failed)
        if kind == 'write':
            check(bed.process.poll() in (None, 1), f'{what}: kvd dies: {bed.process.poll()}', bed.log())
        if bed.process.poll() is None:
            bed.process.kill()
        bed.process.wait()
        compare(bed, what, may)
    check(hit > len(numbers) / 5, f'only {hit} of {len(numbers)} faults were seen')
    print(f'{len(numbers)} faults, {hit} seen by a client')
    bed.start()


def case_writes(bed):
    writes = count(bed)[0]
    check(writes > 50, f'only {writes} writes')
    each(bed, 'write', range(1, writes + 1, bed.stride))


def case_allocations(bed):
    """GLib ends a process that has no memory: then it is a kill at a place that no signal would hit."""
    mallocs = count(bed)[1]
    check(mallocs > 1000, f'only {mallocs} allocations')
    each(bed, 'malloc', range(200, mallocs, max(1, mallocs * bed.stride // 400)))


def resources(bed):
    with open(f'/proc/{bed.process.pid}/status', encoding='ascii') as file:
        memory = int(re.search(r'RssAnon:\s+(\d+)', file.read())[1])
    threads = len(os.listdir(f'/proc/{bed.process.pid}/task'))
    return len(os.listdir(f'/proc/{bed.process.pid}/fd')), memory, threads


def case_crowd(bed):
    """Fifty machines of a thousand definitions are started, stopped and killed at random, and now and then kvd is."""
    chance = random.Random(1)
    for n in range(DOMAINS):
        bed.write(f'dom{n}.xml', bed.xml(f'dom{n}', n))
    bed.each_of([f'dom{n}' for n in range(DOMAINS)], 'define {}.xml')
    names = [f'dom{n}' for n in range(0, DOMAINS, DOMAINS // MACHINES)]
    bed.each_of(names, 'start {}')
    before, done = resources(bed), {}
    for _ in range(bed.steps):
        what = chance.choice(['start', 'start', 'start', 'destroy', 'suspend', 'resume', 'reset', 'dominfo', 'domstats', 'kill', 'kvd'])
        name = chance.choice(names)
        if what == 'kill':
            pid = bed.machines().get(name)
            if pid:
                os.kill(pid, signal.SIGKILL)
        elif what == 'kvd':
            if chance.random() < .05:
                bed.process.kill()
                bed.process.wait()
                bed.start()
                before = None
        else:
            status, text = bed.say(f'{what} {name}')
            check(status is not None and bed.process.poll() is None, f'{what} {name}: no answer', bed.log())
            check(status == 0 or 'error: ' in text, f'{what} {name}', text)
            done[what] = done.get(what, 0) + (status == 0)
    check(min(done.get(what, 0) for what in ('start', 'destroy', 'suspend', 'resume')) > 0, 'not everything was done', str(done))
    settle(bed, names, before)
    check(len(bed.say('list --all --name')[1].split()) == DOMAINS, 'definitions are missing')
    print(done)
    bed.stop()
    for path in glob.glob(bed.path('config/kvasir/domains/*.xml')):  # or the end takes minutes
        os.unlink(path)
    bed.start()


def settle(bed, names, before):
    """What runs is what kvd says; with all stopped nothing of them is left, and with all running it is as in the beginning."""
    end = time.monotonic() + kvd_kv.LIMIT
    while set(bed.say('list --name')[1].split()) != set(bed.machines()):
        check(time.monotonic() < end, 'kvd knows not what runs', bed.say('list --name')[1], str(bed.machines()))
        time.sleep(.2)
    bed.each_of(bed.say('list --name')[1].split(), 'destroy {}')
    bed.wait_for(lambda: not bed.machines(), 'machines are left')
    check(not glob.glob(bed.path('run/kvasir/status/*.xml')), 'status files are left')
    left = glob.glob(bed.path('run/kvasir/run/*'))
    check(not left, 'folders of machines are left', str(left))
    bed.each_of(names, 'start {}')
    now = resources(bed)
    print(f'descriptors, KiB, threads: {before} then {now}')
    check(not before or (now[0] <= before[0] + 4 and now[1] < before[1] * 1.5 + 4096 and now[2] <= before[2] + 4), 'kvd grows', str(before), str(now))
    bed.each_of(names, 'destroy {}')


def main():
    kvd, vmm, kvsh, preload, root, stride, steps, *names = sys.argv[1:]
    beds = []

    def make(folder):
        beds.append(Bed(*map(os.path.abspath, (kvd, vmm, kvsh, preload, root)), int(stride), int(steps), folder))
        return beds[0]
    functions = {name: kvd_kv.closing(function) for name, function in globals().items() if name.startswith('case_')}
    functions['case_zz_end'] = lambda bed: bed.close()
    return cases.run(functions, [*names, 'zz-end'], make)


if __name__ == '__main__':
    sys.exit(main())
