#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots of machines of kv-vmm behind kvd, as stock virsh has them; what images hold by QEMU's tools.
usage: kvd-snapshots.py KVD KV-VMM SOURCE-ROOT CASE...   Exit status 77: virsh, qemu-io or a kernel is missing."""
import importlib.util
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import tty

import cases
from cases import Skipped, check

spec = importlib.util.spec_from_file_location('kvd_kv', os.path.join(os.path.dirname(os.path.abspath(__file__)), 'kvd-kv.py'))
kv = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kv)

LIMIT = 180
MIB = 1 << 20


class Bed(kv.Bed):
    def __init__(self, *words):
        if not shutil.which('qemu-io') or not shutil.which('qemu-img'):
            raise Skipped('no qemu-io or qemu-img (tools/install-deps test)')
        super().__init__(*words)
        self.events = None

    def image(self, name, kind='qcow2', size='8M'):
        path = self.path(name)
        subprocess.run(['qemu-img', 'create', '-q', '-f', kind, path, size], check=True)
        return path

    def disks(self, *images):
        return ''.join(f"<disk type='file'><driver type='{kind}'/><source file='{path}'/><target dev='vd{chr(97 + n)}' "
                       f"bus='virtio'/></disk>" for n, (path, kind) in enumerate(images))

    def off(self, name, *images):
        """A machine for its disks alone."""
        self.bare(name, devices=self.disks(*(images or [(self.image(f'{name}.qcow2'), 'qcow2')])))

    def source(self, name, target='vda', *flags):
        rows = dict(line.split(None, 1) for line in self.virsh('domblklist', name, *flags).splitlines())
        return rows[target].strip()

    def write(self, path, byte, at=0, kind='qcow2'):
        subprocess.run(['qemu-io', '-f', kind, '-c', f'write -P {byte} {at} 64k', path], check=True, stdout=subprocess.DEVNULL)

    def has(self, path, byte, at=0, kind='qcow2'):
        done = subprocess.run(['qemu-io', '-U', '-r', '-f', kind, '-c', f'read -P {byte} {at} 64k', path], check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode == 0 and b'Pattern verification failed' not in done.stdout

    def live_has(self, path, byte):
        """What live_write() wrote."""
        done = subprocess.run(['qemu-io', '-U', '-r', '-f', 'qcow2', '-c', f'read -P {byte} {MIB} 32k', path], check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode == 0 and b'Pattern verification failed' not in done.stdout

    def sound(self, *paths):
        for path in paths:
            done = subprocess.run(['qemu-img', 'check', '-U', '-q', path], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            check(done.returncode == 0, f'{path} is not sound', done.stdout.decode())

    def chain(self, path):
        done = subprocess.run(['qemu-img', 'info', '-U', '--backing-chain', path], check=True, stdout=subprocess.PIPE)
        return [os.path.basename(name) for name in re.findall(r'^image: (.*)$', done.stdout.decode(), re.M)]

    def inside(self, path):
        done = subprocess.run(['qemu-img', 'snapshot', '-U', '-l', path], check=True, stdout=subprocess.PIPE)
        return re.findall(r'^\d+\s+(\S+)', done.stdout.decode(), re.M)

    def tree(self, name):
        return self.virsh('snapshot-list', name, '--name', '--topological').split()

    def restart(self, how=signal.SIGKILL):
        self.stop(how)
        self.start()

    def monitor(self, domain, command, **arguments):
        answer = json.loads(self.virsh('qemu-monitor-command', domain, json.dumps({'execute': command, 'arguments': arguments})))
        check('return' in answer, f'{command} fails', answer)
        return answer['return']

    def live_write(self, name, byte, at=MIB):
        """By the machine's own hand, 32 KiB at a whole MiB."""
        answer = self.terminal(name, f'w{chr(byte)}{at // MIB}', answer=True)
        check(answer == 'k', 'the guest cannot write', answer)

    def tiny(self, name, *images):
        """A PC that its disk's first sector starts: see BOOT."""
        if not os.path.exists('/usr/share/seabios/bios-256k.bin'):
            raise Skipped('no SeaBIOS (tools/install-deps test)')
        images = images or [(self.image(f'{name}.qcow2'), 'qcow2')]
        with open(self.path('sector'), 'wb') as file:
            file.write(BOOT.ljust(510, b'\0') + b'\x55\xaa')
        subprocess.run(['qemu-io', '-f', images[0][1], '-c', f'write -s {self.path("sector")} 0 512', images[0][0]], check=True,
                       stdout=subprocess.DEVNULL)
        self.board(name, self.disks(*images) + "<serial type='pty'/>")

    def terminal(self, name, word, answer=False):
        fd = os.open(re.search(r"tty='(.*?)'", self.virsh('dumpxml', name))[1], os.O_RDWR | os.O_NOCTTY)
        try:
            tty.setraw(fd)
            os.write(fd, word.encode())
            if not answer:
                return None
            check(select.select([fd], [], [], LIMIT)[0], 'the guest says nothing', self.log())
            return os.read(fd, 1).decode()
        finally:
            os.close(fd)

    def keep(self, name, letter):
        self.terminal(name, letter)
        end = time.monotonic() + LIMIT
        while self.kept(name) != letter:
            check(time.monotonic() < end, 'the guest does not hear')
            time.sleep(0.05)

    def kept(self, name):
        return self.terminal(name, '?', answer=True)


# A boot sector, 16-bit code: it keeps the last byte that it heard on the first serial port, and says it when it hears '?'.
# 'w', a byte and a digit: 32 KiB of that byte are written to the disk at as many MiB (int 13h, AH=43h), and 'k' says it was done.
BOOT = bytes.fromhex("""
31c08ed88ed0bc007cb800108ec08816007efce862003c3f74093c77740ea2017eebf0a0017ebaf803eeebe7e8490031ffb90080f3aae83f002c3030e4c1e00b
a3187ebe107e66c706107e1000400066c706147e00000010c7061a7e000066c7061c7e00000000b800438a16007ecd13b06b73b2b065ebaebafd03eca80174fb
baf803ecc3""".replace('\n', ''))


# ---- machines that are off ----

def case_internal_off(bed):
    """Inside of qcow2 images: made, told, gone back to, deleted; the same after a daemon that was killed."""
    bed.off('a', (bed.image('a1.qcow2'), 'qcow2'), (bed.image('a2.qcow2'), 'qcow2'))
    files = [bed.path('a1.qcow2'), bed.path('a2.qcow2')]
    for n, name in enumerate(['one', 'two', 'three'], 1):
        for path in files:
            bed.write(path, n)
        bed.virsh('snapshot-create-as', 'a', name, f'the {name}')
        bed.restart()
    check(bed.tree('a') == ['one', 'two', 'three'], 'another tree', bed.tree('a'))
    check(all(bed.inside(path) == ['one', 'two', 'three'] for path in files), 'not in the images')
    check(bed.virsh('snapshot-current', 'a', '--name') == 'three' and bed.virsh('snapshot-parent', 'a', 'three') == 'two', 'another order')
    check('the two' in bed.virsh('snapshot-dumpxml', 'a', 'two') and 'shutoff' in bed.virsh('snapshot-info', 'a', 'two'), 'another text')
    bed.virsh('snapshot-revert', 'a', 'one')
    check(all(bed.has(path, 1) for path in files), 'another content')
    bed.restart()
    check(bed.virsh('snapshot-current', 'a', '--name') == 'one', 'another current one')
    for path in files:
        bed.write(path, 4)
    bed.virsh('snapshot-create-as', 'a', 'four')
    check(bed.virsh('snapshot-parent', 'a', 'four') == 'one', 'no branch')
    bed.virsh('snapshot-delete', 'a', 'one')
    check(sorted(bed.virsh('snapshot-list', 'a', '--roots', '--name').split()) == ['four', 'two'], 'other roots')
    bed.virsh('snapshot-revert', 'a', 'three')
    check(all(bed.has(path, 3) and sorted(bed.inside(path)) == ['four', 'three', 'two'] for path in files), 'another content')
    check('cannot delete inactive domain with 3 snapshots' in bed.virsh('undefine', 'a', fails=True), 'it goes')
    bed.virsh('snapshot-delete', 'a', 'two', '--children')
    check(bed.tree('a') == ['four'], 'children are there')
    bed.virsh('snapshot-delete', 'a', 'four', '--metadata')
    check(bed.tree('a') == [] and bed.inside(files[0]) == ['four'], 'not the metadata alone')
    bed.virsh('snapshot-create-as', 'a', 'five')
    bed.sound(*files)
    bed.virsh('undefine', 'a', '--snapshots-metadata')
    bed.restart()
    bed.off('a', (files[0], 'qcow2'))
    check(bed.tree('a') == [], 'it is remembered')
    bed.virsh('undefine', 'a')


def case_external_off(bed):
    """Overlays of a machine that is off; branches; what is merged when one is deleted."""
    bed.off('b', (bed.image('b.raw', 'raw'), 'raw'))
    base = bed.path('b.raw')
    bed.write(base, 1, kind='raw')
    bed.virsh('snapshot-create-as', 'b', 's1', '--disk-only')
    check(bed.source('b') == bed.path('b.s1'), 'another file', bed.source('b'))
    bed.write(bed.path('b.s1'), 2)
    bed.virsh('snapshot-create-as', 'b', 's2', '--disk-only', '--diskspec', f'vda,snapshot=external,file={bed.path("second.qcow2")}')
    bed.write(bed.path('second.qcow2'), 3)
    check(bed.chain(bed.source('b')) == ['second.qcow2', 'b.s1', 'b.raw'], 'another chain')
    check(bed.virsh('snapshot-list', 'b', '--external', '--name').split() == ['s1', 's2'], 'not external')
    bed.restart()
    bed.virsh('snapshot-revert', 'b', 's1')
    branch = bed.source('b')
    check(bed.has(branch, 1) and not os.path.exists(bed.path('second.qcow2')) and os.path.exists(bed.path('b.s1')), 'not at s1')
    bed.write(branch, 4)
    bed.virsh('snapshot-create-as', 'b', 's3', '--disk-only')
    bed.write(bed.source('b'), 5)
    check(bed.virsh('snapshot-parent', 'b', 's3') == 's1', 'no branch')
    bed.virsh('snapshot-revert', 'b', 's2')
    check(bed.has(bed.source('b'), 2), 'not at s2')
    bed.write(bed.source('b'), 6)
    # s1's image has two that stand on it: it stays for them
    bed.virsh('snapshot-delete', 'b', 's1')
    check(bed.has(bed.source('b'), 6) and os.path.exists(base), 'another content')
    bed.virsh('snapshot-revert', 'b', 's3')
    check(bed.has(bed.source('b'), 4), 'not at s3')
    bed.virsh('snapshot-delete', 'b', 's2')
    bed.write(bed.source('b'), 7)
    bed.virsh('snapshot-delete', 'b', 's3')
    check(bed.has(bed.source('b'), 7), 'another content')
    check(bed.chain(bed.source('b'))[-1] == 'b.raw' and bed.tree('b') == [], 'another chain', bed.chain(bed.source('b')))
    left = [name for name in os.listdir(bed.folder) if name.startswith(('b.', 'second')) and not name.endswith('.xml')]
    check(sorted(left) == sorted(bed.chain(bed.source('b'))), 'other files', left)
    bed.virsh('undefine', 'b')


def case_long_name(bed):
    """A revert finds no name for its overlay beside an image whose name is as long as a name may be: it says so, and nobody waits."""
    base, over = bed.image('n' * 250, 'raw'), bed.path('over.qcow2')
    bed.off('n', (base, 'raw'))
    bed.virsh('snapshot-create-as', 'n', 's1', '--disk-only', '--diskspec', f'vda,snapshot=external,file={over}')
    done = subprocess.Popen(['virsh', '-c', f'qemu+unix:///session?socket={bed.socket}', 'snapshot-revert', 'n', 's1'], env=bed.environment,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        text = done.communicate(timeout=LIMIT)[0]
    except subprocess.TimeoutExpired:
        done.kill()
        bed.stop(signal.SIGKILL)
        bed.start()
        raise cases.Failed('kvd hangs') from None
    check(done.returncode != 0 and 'File name too long' in text and bed.source('n') == over, 'another end', text, bed.source('n'))
    bed.virsh('snapshot-delete', 'n', 's1')
    bed.virsh('undefine', 'n')


def case_merge_off(bed):
    """The middle of a chain is deleted; the last; a snapshot after each is what it was."""
    bed.off('m')
    for n, name in enumerate(['s1', 's2', 's3'], 1):
        bed.write(bed.source('m'), n)
        bed.write(bed.source('m'), n, at=n * MIB)
        bed.virsh('snapshot-create-as', 'm', name, '--disk-only')
    bed.write(bed.source('m'), 9)
    bed.virsh('snapshot-delete', 'm', 's2')
    check(bed.tree('m') == ['s1', 's3'] and bed.chain(bed.source('m')) == ['m.s3', 'm.s1', 'm.qcow2'], 'another chain',
          bed.chain(bed.source('m')))
    bed.virsh('snapshot-delete', 'm', 's1')
    check(bed.chain(bed.source('m')) == ['m.s3', 'm.qcow2'] and bed.has(bed.source('m'), 9), 'another chain')
    bed.virsh('snapshot-revert', 'm', 's3')
    check(bed.has(bed.source('m'), 3) and all(bed.has(bed.source('m'), n, at=n * MIB) for n in (1, 2, 3)), 'not at s3')
    bed.sound(bed.source('m'), bed.path('m.qcow2'))
    bed.virsh('snapshot-delete', 'm', 's3')
    check(bed.chain(bed.source('m')) == ['m.qcow2'] and bed.has(bed.source('m'), 3), 'not one image')
    bed.virsh('undefine', 'm')


# ---- machines that run ----

def case_memory(bed):
    """A running machine with its memory: gone back to while it runs, when it is off, paused; in other processes of the daemon."""
    bed.tiny('r')
    bed.virsh('start', 'r')
    bed.keep('r', 'f')
    bed.live_write('r', 1)
    bed.virsh('snapshot-create-as', 'r', 'one')
    bed.wait('running (unpaused)', 'r')
    bed.keep('r', 's')
    bed.live_write('r', 2)
    bed.virsh('suspend', 'r')
    bed.virsh('snapshot-create-as', 'r', 'two')
    bed.wait('paused (user)', 'r')
    check(bed.inside(bed.path('r.qcow2')) == ['one', 'two'], 'not in the image')
    check('running' in bed.virsh('snapshot-info', 'r', 'one') and 'paused' in bed.virsh('snapshot-info', 'r', 'two'), 'other states')
    check("<inactiveDomain" in bed.virsh('snapshot-dumpxml', 'r', 'one'), 'one definition')
    bed.virsh('snapshot-revert', 'r', 'one')
    bed.wait('running (from snapshot)', 'r')
    check(bed.kept('r') == 'f', 'other memory', bed.kept('r'))
    bed.virsh('destroy', 'r')
    check(bed.live_has(bed.path('r.qcow2'), 1), 'another content')
    bed.restart()
    bed.virsh('snapshot-revert', 'r', 'two')
    bed.wait('paused (from snapshot)', 'r')
    bed.virsh('resume', 'r')
    check(bed.kept('r') == 's', 'other memory', bed.kept('r'))
    bed.virsh('snapshot-revert', 'r', 'one', '--paused')
    bed.wait('paused (from snapshot)', 'r')
    bed.restart()
    bed.wait('paused (from snapshot)', 'r')
    bed.virsh('snapshot-delete', 'r', 'two')
    bed.virsh('resume', 'r')
    check(bed.kept('r') == 'f', 'other memory', bed.kept('r'))
    bed.virsh('snapshot-create-as', 'r', 'three', '--halt')
    bed.wait('shut off (from snapshot)', 'r')
    memory = re.search(r"<memory snapshot='external' file='(.*?)'", bed.virsh('snapshot-dumpxml', 'r', 'three'))[1]
    check(os.path.exists(memory), 'no memory')
    bed.virsh('snapshot-delete', 'r', 'three')
    check(not os.path.exists(memory) and bed.inside(bed.path('r.qcow2')) == ['one'], 'it is still there')
    bed.virsh('snapshot-delete', 'r', 'one')
    bed.sound(bed.path('r.qcow2'))
    bed.virsh('undefine', 'r')


def case_external_live(bed):
    """Overlays of a running machine, with memory and without; deleted while it runs: merged by jobs."""
    bed.tiny('x')
    bed.virsh('start', 'x')
    bed.keep('x', 'f')
    bed.live_write('x', 1)
    bed.virsh('snapshot-create-as', 'x', 's1', '--memspec', f'file={bed.path("x.mem")}', '--live')
    check(bed.source('x') == bed.path('x.s1') == bed.source('x', 'vda', '--inactive'), 'another file', bed.source('x'))
    check(f"<source file='{bed.path('x.qcow2')}'/>" in bed.virsh('dumpxml', 'x').split('<backingStore')[1], 'no chain', bed.virsh('dumpxml', 'x'))
    bed.keep('x', 's')
    bed.live_write('x', 2)
    bed.virsh('snapshot-create-as', 'x', 's2', '--disk-only', '--atomic')
    bed.live_write('x', 3)
    check('disk-snapshot' in bed.virsh('snapshot-info', 'x', 's2'), 'another state')
    check(bed.virsh('snapshot-list', 'x', '--disk-only', '--name') == 's2', 'another list')
    bed.virsh('snapshot-create-as', 'x', 's3', '--memspec', f'file={bed.path("x3.mem")}')
    bed.restart()
    bed.live_write('x', 4)
    bed.virsh('snapshot-delete', 'x', 's2')
    check(bed.chain(bed.source('x')) == ['x.s3', 'x.s1', 'x.qcow2'], 'another chain', bed.chain(bed.source('x')))
    bed.virsh('snapshot-delete', 'x', 's3')
    check(bed.chain(bed.source('x')) == ['x.s1', 'x.qcow2'] and not os.path.exists(bed.path('x3.mem')), 'another chain')
    check(bed.live_has(bed.source('x'), 4), 'another content')
    bed.virsh('snapshot-revert', 'x', 's1')
    bed.wait('running (from snapshot)', 'x')
    check(bed.kept('x') == 'f', 'other memory', bed.kept('x'))
    check(bed.live_has(bed.source('x'), 1) and not os.path.exists(bed.path('x.s1')), 'not at s1')
    bed.live_write('x', 5)
    bed.virsh('snapshot-delete', 'x', 's1')
    check(bed.source('x') == bed.path('x.qcow2') == bed.source('x', 'vda', '--inactive') and not os.path.exists(bed.path('x.mem')),
          'not one image', bed.source('x'))
    check(bed.live_has(bed.path('x.qcow2'), 5), 'another content')
    bed.virsh('destroy', 'x')
    bed.sound(bed.path('x.qcow2'))
    bed.virsh('undefine', 'x')


# ---- crashes ----

def stored(bed, name):
    return bed.path(f'config/kvasir/snapshots/{name}.xml')


def leave_pending(bed, name, what, snapshot, called=None):
    """As a daemon leaves it that is killed while it does that."""
    with open(stored(bed, name), encoding='utf-8') as file:
        text = file.read()
    docs = re.findall(r'<domainsnapshot>.*?</domainsnapshot>', text, re.S)
    doc = next(doc for doc in docs if f'<name>{snapshot}</name>' in doc)
    if called:
        doc = doc.replace(f'<name>{snapshot}</name>', f'<name>{called}</name>', 1).replace(f'.{snapshot}\'', f'.{called}\'')
    at = text.index('<domainsnapshot>')
    with open(stored(bed, name), 'w', encoding='utf-8') as file:
        file.write(f"{text[:at]}<pending what='{what}'>{doc}</pending>{text[at:]}")


def settled(bed, name):
    """Starts the daemon, which does what is left to be done."""
    bed.start()
    end = time.monotonic() + LIMIT
    while os.path.exists(stored(bed, name)) and b'<pending' in open(stored(bed, name), 'rb').read():
        check(time.monotonic() < end, 'it is not settled', bed.log())
        time.sleep(0.05)


def inner(action, name, *paths):
    for path in paths:
        subprocess.run(['qemu-img', 'snapshot', action, name, path], check=True)


def case_crash_internal(bed):
    """A daemon that is killed between two images: what is half made is taken back, the rest is finished."""
    one, two = bed.image('one.qcow2'), bed.image('two.qcow2')
    bed.off('c', (one, 'qcow2'), (two, 'qcow2'))
    for path in one, two:
        bed.write(path, 1)
    bed.virsh('snapshot-create-as', 'c', 's1')
    bed.stop(signal.SIGKILL)
    leave_pending(bed, 'c', 'create', 's1', 'half')
    inner('-c', 'half', one)
    settled(bed, 'c')
    check(bed.tree('c') == ['s1'] and bed.inside(one) == bed.inside(two) == ['s1'], 'half of one is there')
    bed.stop(signal.SIGKILL)
    leave_pending(bed, 'c', 'create', 's1', 'whole')
    inner('-c', 'whole', one, two)
    settled(bed, 'c')
    check(bed.tree('c') == ['s1', 'whole'] and bed.virsh('snapshot-current', 'c', '--name') == 'whole', 'it is not kept')
    for path in one, two:
        bed.write(path, 2)
    bed.stop(signal.SIGKILL)
    leave_pending(bed, 'c', 'revert', 's1')
    inner('-a', 's1', one)
    settled(bed, 'c')
    check(bed.has(one, 1) and bed.has(two, 1) and bed.virsh('snapshot-current', 'c', '--name') == 's1', 'half way back')
    bed.stop(signal.SIGKILL)
    leave_pending(bed, 'c', 'delete', 's1')
    inner('-d', 's1', one)
    settled(bed, 'c')
    check(bed.tree('c') == ['whole'] and bed.inside(one) == bed.inside(two) == ['whole'], 'half deleted')
    bed.sound(one, two)
    bed.virsh('undefine', 'c', '--snapshots-metadata')


def case_crash_external(bed):
    """The same with overlays: none is lost that a definition names, and none is left over."""
    bed.off('e')
    base = bed.path('e.qcow2')
    bed.write(base, 1)
    bed.virsh('snapshot-create-as', 'e', 's1', '--disk-only')
    bed.write(bed.path('e.s1'), 2)
    bed.virsh('snapshot-create-as', 'e', 's2', '--disk-only')
    bed.write(bed.path('e.s2'), 3)
    bed.stop(signal.SIGKILL)
    leave_pending(bed, 'e', 'create', 's2', 's3')  # on what s2 stands on; never begun
    settled(bed, 'e')
    check(bed.tree('e') == ['s1', 's2'] and bed.source('e') == bed.path('e.s2'), 'another tree')
    bed.stop(signal.SIGKILL)
    leave_pending(bed, 'e', 'delete', 's2')
    subprocess.run(['qemu-img', 'commit', '-q', '-d', bed.path('e.s2')], check=True)
    settled(bed, 'e')
    check(bed.tree('e') == ['s1'] and bed.source('e') == bed.path('e.s1') and bed.has(bed.path('e.s1'), 3), 'not merged',
          bed.tree('e'), bed.source('e'), bed.log())
    check(not os.path.exists(bed.path('e.s2')), 'the overlay is left')
    bed.stop(signal.SIGKILL)
    leave_pending(bed, 'e', 'revert', 's1')
    with open(stored(bed, 'e'), encoding='utf-8') as file:
        text = file.read()
    with open(stored(bed, 'e'), 'w', encoding='utf-8') as file:
        file.write(text.replace('</domainsnapshot></pending>', f"<revertDisks><disk name='vda' type='file'><driver type='qcow2'/>"
                                f"<source file='{bed.path('e.new')}'/></disk></revertDisks></domainsnapshot></pending>"))
    settled(bed, 'e')
    check(bed.source('e') == bed.path('e.new') and bed.has(bed.path('e.new'), 1), 'not at s1', bed.source('e'))
    check(not os.path.exists(bed.path('e.s1')), 'the old overlay is left')
    bed.virsh('snapshot-delete', 'e', 's1')
    check(bed.source('e') == base and bed.has(base, 1), 'not one image')
    bed.virsh('undefine', 'e')


def case_crash_live(bed):
    """Killed at any time while a running machine's memory and disks are taken: it runs on, and the tree is what there is."""
    bed.tiny('k')
    bed.virsh('start', 'k')
    bed.keep('k', 'a')
    for n, delay in enumerate((0.05, 0.1, 0.2, 0.4)):
        kind = ['--memspec', f'file={bed.path(f"k{n}.mem")}', '--live'] if n % 2 else []
        client = subprocess.Popen(['virsh', '-q', '-c', f'qemu+unix:///session?socket={bed.socket}', 'snapshot-create-as', 'k', f't{n}',
                                   *kind], env=bed.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        bed.stop(signal.SIGKILL)
        client.wait(LIMIT)
        settled(bed, 'k')
        end = time.monotonic() + LIMIT
        while not bed.virsh('domstate', 'k').startswith('running'):
            check(time.monotonic() < end, 'it stands still', bed.log())
            time.sleep(0.1)
        check(bed.kept('k') == 'a', 'other memory')
        top, tree = bed.source('k'), bed.tree('k')
        check(top == bed.source('k', 'vda', '--inactive'), 'two definitions')
        for name in tree:
            memory = re.search(r"<memory snapshot='external' file='(.*?)'", bed.virsh('snapshot-dumpxml', 'k', name))
            check(memory and os.path.exists(memory[1]), 'a snapshot without its memory', name)
        names = [name for path in bed.chain(top) for name in bed.inside(bed.path(path))]
        check(sorted(names) == sorted(name for name in tree if name in ('t0', 't2')), 'the tree lies', names, tree)
        bed.live_write('k', n + 1)
    for name in bed.tree('k'):
        bed.virsh('snapshot-delete', 'k', name)
    check(bed.live_has(bed.source('k'), 4), 'another content')
    bed.virsh('save', 'k', bed.path('k.save'))  # as ever
    bed.sound(bed.source('k'))
    bed.virsh('undefine', 'k')


# ---- what is said ----

def case_words(bed):
    """libvirt's words for what does not go together, in the place of stock libvirtd's qemu driver (compared by hand)."""
    bed.off('w')
    bed.off('raw', (bed.image('w.raw', 'raw'), 'raw'))
    bed.off('two', (bed.image('w1.qcow2'), 'qcow2'), (bed.image('w2.qcow2'), 'qcow2'))
    rows = [
        ('raw s', 'unsupported configuration: internal snapshot for disk vda unsupported for storage type raw'),
        ('w s --memspec snapshot=internal', 'XML error: memory state cannot be saved with offline or disk-only snapshot'),
        ('w s --memspec snapshot=external', 'XML error: external memory snapshots require a filename'),
        ('w s --live', 'Operation not supported: live snapshot creation is supported only during full system snapshots'),
        ('w s --quiesce', "Flag 'VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY' is required by flag 'VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE'"),
        ('w a/b', "invalid snapshot name 'a/b': name can't contain '/'"),
        ('w .x', "invalid snapshot name '.x': name can't start with '.'"),
        ('w s --diskspec vda,snapshot=external', "unsupported configuration: disk 'vda' must use snapshot mode 'internal'"),
        ('w s --diskspec vda,snapshot=no', "unsupported configuration: disk 'vda' must use snapshot mode 'internal'"),
        ('w s --diskspec vda,snapshot=no --disk-only', 'unsupported configuration: nothing selected for snapshot'),
        ('w s --diskspec vdz,snapshot=no', "unsupported configuration: no disk named 'vdz'"),
        ('w s --diskspec vda,snapshot=internal,file=/x', "file '/x' for disk 'vda' requires use of external snapshot mode"),
        (f'w s --disk-only --diskspec vda,file={bed.path("w1.qcow2")}',
         f'external snapshot file for disk vda already exists and is not a block device: {bed.path("w1.qcow2")}'),
        (f'w s --disk-only --diskspec vda,file={bed.path("no")} --reuse-external',
         f'missing existing file for disk vda: {bed.path("no")}: No such file or directory'),
        ('two s --disk-only --diskspec vda,snapshot=internal --diskspec vdb,snapshot=external',
         'mixing internal and external targets for a snapshot is not yet supported'),
    ]
    for words, text in rows:
        said = bed.virsh('snapshot-create-as', *words.split(), fails=True)
        check(said.endswith(f'error: {text}') or said.endswith(text), 'other words', words, said)
    check(not os.path.exists(stored(bed, 'w')) and not bed.inside(bed.path('w.qcow2')), 'something is left')
    bed.virsh('snapshot-create-as', 'w', 's')
    check('domain moment s already exists' in bed.virsh('snapshot-create-as', 'w', 's', fails=True), 'twice')
    check("revert to" not in bed.virsh('snapshot-revert', 'w', 's', '--running'), 'it does not start')
    bed.wait('running (from snapshot)', 'w')
    said = bed.virsh('snapshot-revert', 'w', 's', '--paused', fails=True)
    check('must respawn guest to start inactive snapshot' in said, 'no warning', said)
    bed.virsh('snapshot-revert', 'w', 's', '--paused', '--force')
    bed.wait('paused (from snapshot)', 'w')
    check('internal snapshot of a running VM must include the memory state' in
          bed.virsh('snapshot-create-as', 'w', 't', '--memspec', 'snapshot=no', fails=True), 'no memory')
    said = bed.virsh('snapshot-create-as', 'w', 't', '--disk-only', '--quiesce', fails=True)
    check('agent' in said and bed.source('w') == bed.path('w.qcow2'), 'no agent is missed', said)
    bed.virsh('destroy', 'w')
    # edited and put back
    text = bed.virsh('snapshot-dumpxml', 'w', 's', '--security-info')
    with open(bed.path('s.xml'), 'w', encoding='utf-8') as file:
        file.write(text.replace('<name>s</name>', '<name>s</name><description>described</description>', 1))
    for name, why in ('a/b', "contain '/'"), ('.x', "start with '.'"):
        with open(bed.path('bad.xml'), 'w', encoding='utf-8') as file:
            file.write(text.replace('<name>s</name>', f'<name>{name}</name>', 1))
        said = bed.virsh('snapshot-create', 'w', bed.path('bad.xml'), '--redefine', fails=True)
        check(f"invalid snapshot name '{name}': name can't {why}" in said, 'a name', said)
    # what cannot be stored is as it was
    with open(bed.path('new.xml'), 'w', encoding='utf-8') as file:
        file.write(text.replace('<name>s</name>', '<name>new</name>', 1))
    path = stored(bed, 'w')
    os.rename(path, path + '.kept')
    os.mkdir(path)
    for file in 's.xml', 'new.xml':
        bed.virsh('snapshot-create', 'w', bed.path(file), '--redefine', '--current', fails=True)
    check('described' not in bed.virsh('snapshot-dumpxml', 'w', 's') and bed.virsh('snapshot-list', 'w', '--name') == 's', 'it is redefined after all')
    check(bed.virsh('snapshot-current', 'w', '--name') == 's', 'another current one')
    os.rmdir(path)
    os.rename(path + '.kept', path)
    bed.virsh('snapshot-create', 'w', bed.path('s.xml'), '--redefine', '--current', '--validate')
    bed.restart()
    check('described' in bed.virsh('snapshot-dumpxml', 'w', 's') and bed.virsh('snapshot-current', 'w', '--name') == 's', 'not redefined')
    for name in 'w', 'raw', 'two':
        bed.virsh('undefine', name, '--snapshots-metadata')


def case_events(bed):
    """What those hear who listen."""
    bed.tiny('v')
    with open(bed.path('events'), 'wb') as out:
        client = subprocess.Popen(['virsh', '-q', '-c', f'qemu+unix:///session?socket={bed.socket}', 'event', '--event', 'lifecycle',
                                   '--loop'], env=bed.environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL)

    def heard(*wanted):
        end = time.monotonic() + LIMIT
        while True:
            with open(bed.path('events'), encoding='utf-8') as file:
                said = re.findall(r"'v': (.*)", file.read())
            if said[-len(wanted):] == list(wanted):
                return
            check(time.monotonic() < end, 'other events', said)
            time.sleep(0.05)

    try:
        with open(bed.path('again.xml'), 'w', encoding='utf-8') as file:
            file.write(bed.virsh('dumpxml', 'v', '--inactive'))
        end = time.monotonic() + LIMIT
        while b'Defined' not in open(bed.path('events'), 'rb').read():  # it listens
            check(time.monotonic() < end, 'no events')
            bed.virsh('define', bed.path('again.xml'))
        bed.virsh('start', 'v')
        heard('Started Booted')
        bed.keep('v', 'a')
        bed.virsh('snapshot-create-as', 'v', 's')
        heard('Suspended Paused', 'Resumed Unpaused')
        bed.virsh('snapshot-revert', 'v', 's')
        heard('Stopped Snapshot', 'Defined Snapshot', 'Started Snapshot')
        bed.virsh('snapshot-revert', 'v', 's', '--paused')
        heard('Stopped Snapshot', 'Defined Snapshot', 'Started Snapshot', 'Suspended Snapshot')
        bed.virsh('snapshot-delete', 'v', 's')
        bed.virsh('destroy', 'v')
    finally:
        client.kill()
        client.wait()
    bed.virsh('undefine', 'v')


def case_job(bed):
    """Memory that takes long: how far it is, the guest that runs on meanwhile, and an end before time that leaves nothing."""
    bed.tiny('j')
    bed.virsh('start', 'j')
    bed.keep('j', 'a')
    for kind in [], ['--memspec', f'file={bed.path("j.mem")}', '--live']:
        bed.monitor('j', 'migrate-set-parameters', **{'max-bandwidth': 10000})
        client = subprocess.Popen(['virsh', '-q', '-c', f'qemu+unix:///session?socket={bed.socket}', 'snapshot-create-as', 'j', 's', *kind],
                                  env=bed.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        end = time.monotonic() + LIMIT
        while 'Memory total' not in (info := bed.virsh('domjobinfo', 'j')):
            check(time.monotonic() < end and client.poll() is None, 'no job', info)
            time.sleep(0.05)
        check('Snapshot' in info, 'another operation', info)
        bed.wait('running (unpaused)', 'j')
        bed.keep('j', 'b')
        check('cannot acquire state change lock' not in bed.virsh('snapshot-list', 'j'), 'nobody may look')
        bed.virsh('domjobabort', 'j')
        said = client.communicate(timeout=LIMIT)[0].decode()
        check('operation aborted: snapshot job: canceled by client' in said and client.returncode, 'other words', said)
        check(not bed.tree('j') and not bed.inside(bed.path('j.qcow2')) and bed.source('j') == bed.path('j.qcow2'), 'something is left')
        check(not [name for name in os.listdir(bed.folder) if name.startswith(('j.mem', 'j.s'))], 'files are left')
        check(bed.kept('j') == 'b', 'it does not run')
        bed.live_write('j', 3)
    bed.monitor('j', 'migrate-set-parameters', **{'max-bandwidth': 10000})
    client = subprocess.Popen(['virsh', '-q', '-c', f'qemu+unix:///session?socket={bed.socket}', 'snapshot-create-as', 'j', 's'],
                              env=bed.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while 'Memory total' not in bed.virsh('domjobinfo', 'j'):
        check(client.poll() is None, 'it is over')
    bed.virsh('destroy', 'j')
    status = client.wait(LIMIT)
    check(status and not bed.tree('j') and not bed.inside(bed.path('j.qcow2')), 'something is left', status, bed.tree('j'), bed.log())
    bed.virsh('start', 'j')
    bed.keep('j', 'c')
    bed.virsh('snapshot-create-as', 'j', 's')
    check('Completed' in bed.virsh('domjobinfo', 'j', '--completed') and bed.tree('j') == ['s'], 'not the last job')
    bed.virsh('destroy', 'j')
    bed.sound(bed.path('j.qcow2'))
    bed.virsh('undefine', 'j', '--snapshots-metadata')


def case_transient(bed):
    """Of a machine that is there for once: gone back to, and forgotten with it."""
    bed.tiny('t')
    bed.virsh('undefine', 't')
    bed.virsh('create', bed.path('t.xml'))
    bed.keep('t', 'a')
    bed.virsh('snapshot-create-as', 't', 's1')
    bed.keep('t', 'b')
    bed.virsh('snapshot-create-as', 't', 's2', '--disk-only')
    check('cannot halt after transient' in bed.virsh('snapshot-create-as', 't', 's3', '--halt', fails=True), 'it halts')
    said = bed.virsh('snapshot-revert', 't', 's2', fails=True)
    check('transient domain needs to request run or pause' in said, 'other words', said)
    said = bed.virsh('snapshot-revert', 't', 's1', fails=True)
    check('stands on' in said and bed.kept('t') == 'b', 'an image changes below another one', said)
    bed.virsh('snapshot-delete', 't', 's2')
    bed.restart()
    bed.virsh('snapshot-revert', 't', 's1')
    bed.wait('running (from snapshot)', 't')
    check(bed.kept('t') == 'a' and bed.tree('t') == ['s1'], 'not at s1')
    bed.virsh('destroy', 't')
    check(bed.virsh('list', '--all', '--name') == '' and not os.path.exists(stored(bed, 't')), 'it is remembered')


def main():
    kvd, vmm, root, *names = sys.argv[1:]
    beds = []

    def make(folder):
        beds.append(Bed(os.path.abspath(kvd), os.path.abspath(vmm), root, folder))
        return beds[0]

    def wrap(function):
        def case(bed):
            try:
                function(bed)
            except BaseException:
                bed.close()
                raise
        return case

    functions = {name: wrap(function) for name, function in globals().items() if name.startswith('case_')}
    functions['case_zz_end'] = lambda bed: bed.close()
    chosen = [*(names or [n[5:].replace('_', '-') for n in functions if n != 'case_zz_end']), 'zz-end']
    return cases.run(functions, chosen, make)


if __name__ == '__main__':
    sys.exit(main())
