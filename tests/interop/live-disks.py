#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks that are changed while a guest writes to them: Debian's kernel and a busybox that overwrites random blocks, QMP commands
beside it, QEMU's tools on the files afterwards.   usage: live-disks.py KV-VMM SOURCE-ROOT CASE...
Exit status 77: something needed is not installed."""
import glob
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time

import cases
import qmp
from cases import Skipped, check

LIMIT = 180
SIZE = 32 << 20

# Overwrites blocks until there is a second disk... of its own will: until the host presses Enter on the console.
LOAD = ('mount -t devtmpfs none /dev 2>/dev/null; echo @load > /dev/console; '
        '( while :; do dd if=/dev/urandom of=/dev/vda bs=64k count=1 seek=$((RANDOM%512)) conv=notrunc oflag=direct 2>/dev/null; '
        'dd if=/dev/urandom of=/dev/vda bs=4k count=3 seek=$((RANDOM%8000)) conv=notrunc oflag=direct 2>/dev/null; '
        '[ -e /tmp/stop ] && break; done; touch /tmp/stopped ) & '
        'read line < /dev/console; touch /tmp/stop; while [ ! -e /tmp/stopped ]; do sleep 0.1; done; sync; '
        'echo @sum $(md5sum < /dev/vda) > /dev/console; read line < /dev/console')


class Bed:
    def __init__(self, program, root, folder):
        self.program, self.folder, self.count = program, folder, 0
        kernels = sorted(glob.glob('/boot/vmlinuz-*-cloud-amd64'))
        if not kernels or not os.access(kernels[-1], os.R_OK):
            raise Skipped('no cloud kernel in /boot')
        for tool in 'cpio', 'busybox', 'qemu-img', 'qemu-io':
            if not shutil.which(tool):
                raise Skipped(f'no {tool}')
        self.kernel, self.initrd = kernels[-1], f'{folder}/initrd'
        subprocess.run([f'{root}/tools/make-initrd', self.initrd], check=True)

    def path(self, name):
        self.count += 1
        return f'{self.folder}/{self.count}-{name}'

    def image(self, name='base.qcow2', kind='qcow2', size=SIZE):
        path = self.path(name)
        tool('qemu-img', 'create', '-f', kind, path, str(size))
        return path

    def guest(self, disk, *options, kind='qcow2', run=LOAD):
        return Guest(self, disk, kind, options, run)


def tool(*words, status=0):
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT, check=False)
    check(done.returncode == status, f'{" ".join(words)}: status {done.returncode}', done.stdout, done.stderr)
    return done.stdout


def content(path, kind='qcow2', length=SIZE):
    """The md5 of what an image reads as, by QEMU's tools."""
    raw = f'{path}.raw'
    tool('qemu-img', 'convert', '-U', '-f', kind, '-O', 'raw', path, raw)
    with open(raw, 'rb') as file:
        data = file.read()
    os.unlink(raw)
    check(len(data) == length, f'{path} has {len(data)} bytes')
    return hashlib.md5(data).hexdigest()


def sound(*paths):
    for path in paths:
        tool('qemu-img', 'check', '-U', path)


class Guest:
    """A VM whose guest writes all the time, until sum() is asked for."""

    def __init__(self, bed, disk, kind, options, run):
        self.socket, self.text = bed.path('qmp'), ''
        command = [bed.program, '--accel', 'soft', '--memory', '256M', '--kernel', bed.kernel, '--initrd', bed.initrd, '--append',
                   f'console=ttyS0 quiet panic=-1 kv.run="{run}"', '--disk', f'file={disk},format={kind},id=disk0,werror=report',
                   '--qmp', f'unix:{self.socket},server=on,wait=off', *options]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def __enter__(self):
        self.wait('@load')
        self.qmp = qmp.Client(self.socket)
        return self

    def __exit__(self, *what):
        self.process.kill()
        self.process.wait()

    def wait(self, pattern):
        end = time.monotonic() + LIMIT
        while not re.search(pattern, self.text):
            check(time.monotonic() < end, f'no "{pattern}"', self.text)
            data = os.read(self.process.stdout.fileno(), 65536)
            check(data, f'the end instead of "{pattern}"', self.text)
            self.text += data.decode('utf-8', 'replace')
        return re.search(pattern, self.text)

    def enter(self):
        self.process.stdin.write(b'\n')
        self.process.stdin.flush()

    def sum(self):
        """The writing ends; what the guest reads."""
        self.enter()
        return self.wait(r'@sum ([0-9a-f]{32})').group(1)

    def quit(self):
        self.qmp.run('quit')
        check(self.process.wait(LIMIT) == 0, f'status {self.process.returncode}', self.text)

    def written(self):
        """How many writes of its first disk have ended."""
        return next(row['stats']['wr_operations'] for row in self.qmp.run('query-blockstats') if row['device'] == 'disk0')

    def busy(self, writes=40):
        """Until it has written so many times more."""
        until, end = self.written() + writes, time.monotonic() + LIMIT
        while self.written() < until:
            check(time.monotonic() < end, 'the guest does not write', self.text)
            time.sleep(0.02)

    def job(self, command, ident, **arguments):
        self.qmp.run(command, **{'job-id': ident}, **arguments)

    def job_event(self, name, ident):
        while True:
            event = self.qmp.event(name)
            if event['data'].get('device') == ident or event['data'].get('id') == ident:
                return event['data']

    def done(self, ident):
        data = self.job_event('BLOCK_JOB_COMPLETED', ident)
        check('error' not in data and data['offset'] == data['len'], f'job {ident} fails', data)
        return data

    def block(self):
        return next(row for row in self.qmp.run('query-block') if row['device'] == 'disk0')


def case_snapshot(bed):
    """External snapshots under load, several in one transaction; the chain is what the guest sees, and everything is sound."""
    base, first, second = bed.image(), bed.path('first.qcow2'), bed.path('second.qcow2')
    other, other_top = bed.image('other.qcow2'), bed.path('other-top.qcow2')
    with bed.guest(base, '--disk', f'file={other},format=qcow2,id=disk1') as guest:
        guest.busy()
        guest.qmp.run('blockdev-snapshot-sync', device='disk0', **{'snapshot-file': first, 'format': 'qcow2'})
        frozen = content(base)
        tool('qemu-img', 'info', base)  # nobody has it for writing any more
        guest.busy()
        guest.qmp.run('transaction', actions=[
            {'type': 'blockdev-snapshot-sync', 'data': {'device': 'disk0', 'snapshot-file': second, 'snapshot-node-name': 'top'}},
            {'type': 'blockdev-snapshot-sync', 'data': {'device': 'disk1', 'snapshot-file': other_top}}])
        guest.busy()
        answer = guest.qmp.ask({'execute': 'transaction', 'arguments': {'actions': [
            {'type': 'blockdev-snapshot-sync', 'data': {'device': 'disk0', 'snapshot-file': bed.path('never.qcow2')}},
            {'type': 'blockdev-snapshot-sync', 'data': {'device': 'disk1', 'snapshot-file': '/no/such/folder/x'}}]}})
        check('error' in answer, 'a snapshot into nowhere', answer)
        block = guest.block()
        stats = {row['device']: row['stats'] for row in guest.qmp.run('query-blockstats')}
        check(stats['disk0']['wr_operations'] > 10 and stats['disk0']['wr_bytes'] > 10 * 4096 and
              stats['disk0']['wr_total_time_ns'] > 0 and not stats['disk1']['wr_operations'], 'other statistics', stats)
        check(block['inserted']['file'] == second and block['inserted']['node-name'] == 'top' and
              block['inserted']['backing_file_depth'] == 2, 'another image', block)
        seen = guest.sum()
        check(content(base) == frozen, 'the base changes')
        guest.quit()
    check(content(second) == seen, 'the chain is not what the guest has seen')
    sound(base, first, second, other, other_top)


def case_internal(bed):
    """Internal snapshots under load: the image goes on, and the snapshot is as it was."""
    base = bed.image()
    with bed.guest(base) as guest:
        guest.busy()
        guest.qmp.run('stop')
        guest.qmp.run('blockdev-snapshot-internal-sync', device='disk0', name='one')
        guest.qmp.run('cont')
        guest.busy()
        guest.qmp.run('blockdev-snapshot-internal-sync', device='disk0', name='two')
        info = guest.block()['inserted']['image']
        check([row['name'] for row in info['snapshots']] == ['one', 'two'], 'other snapshots', info)
        answer = guest.qmp.ask({'execute': 'blockdev-snapshot-internal-sync', 'arguments': {'device': 'disk0', 'name': 'one'}})
        check("already exists" in answer['error']['desc'], 'a snapshot twice', answer)
        gone = guest.qmp.run('blockdev-snapshot-delete-internal-sync', device='disk0', name='one')
        check(gone['name'] == 'one', 'another snapshot', gone)
        seen = guest.sum()
        guest.quit()
    check(content(base) == seen, 'the image is not what the guest has seen')
    check('two' in tool('qemu-img', 'snapshot', '-l', base), 'no snapshot')
    sound(base)


def case_resize(bed):
    """A disk grows while it is in use, and the guest sees it."""
    base = bed.image()
    run = ('echo @load > /dev/console; while [ $(cat /sys/block/vda/size) = 65536 ]; do sleep 0.1; done; '
           'echo @size $(cat /sys/block/vda/size) > /dev/console')
    with bed.guest(base, run=run) as guest:
        guest.qmp.run('block_resize', device='disk0', size=SIZE * 2)
        check(guest.wait(r'@size (\d+)\s').group(1) == str(SIZE * 2 // 512), 'another size', guest.text)
    check(json.loads(tool('qemu-img', 'info', '--output=json', base))['virtual-size'] == SIZE * 2, 'the file has another size')


def case_nodes(bed):
    """blockdev-add, -snapshot and -del: nodes by name, with QEMU's words where they are refused."""
    base, top = bed.image(), bed.path('top.qcow2')
    tool('qemu-img', 'create', '-f', 'qcow2', '-b', base, '-F', 'qcow2', top, str(SIZE))
    with bed.guest(base) as guest:
        guest.qmp.run('nbd-server-start', addr={'type': 'unix', 'data': {'path': bed.path('nbd')}})
        guest.qmp.run('blockdev-add', driver='file', filename=top, **{'node-name': 'storage'})
        guest.qmp.run('blockdev-add', driver='qcow2', file='storage', backing=None, **{'node-name': 'overlay'})
        names = {row['node-name'] for row in guest.qmp.run('query-named-block-nodes', flat=True)}
        check({'storage', 'overlay'} <= names, 'no such nodes', sorted(names))
        for command, words in [
                ({'execute': 'blockdev-del', 'arguments': {'node-name': 'storage'}}, 'Node storage is in use'),
                ({'execute': 'blockdev-del', 'arguments': {'node-name': 'x'}}, "Failed to find node with node-name='x'"),
                ({'execute': 'blockdev-add', 'arguments': {'driver': 'file', 'filename': base, 'node-name': 'storage'}},
                 'open for writing in another process'),
                ({'execute': 'blockdev-add', 'arguments': {'driver': 'raw', 'file': 'nothing', 'node-name': 'y'}},
                 "Cannot find device='nothing' nor node-name='nothing'"),
                ({'execute': 'blockdev-add', 'arguments': {'driver': 'null-co', 'node-name': 'y'}},
                 "Parameter 'driver' does not accept value 'null-co'"),
                ({'execute': 'blockdev-add', 'arguments': {'driver': 'file', 'filename': top}},
                 "'node-name' must be specified for the root node"),
                ({'execute': 'blockdev-add', 'arguments': {'driver': 'file', 'node-name': 'y'}}, "Parameter 'filename' is missing"),
                ({'execute': 'blockdev-add', 'arguments': {'driver': 'file', 'node-name': '5', 'filename': top, 'x': 1}},
                 "Parameter 'x' is unexpected"),
                ({'execute': 'blockdev-add', 'arguments': {'driver': 'file', 'node-name': 'y', 'filename': top, 'cache': {'direct': 'on'}}},
                 "Invalid parameter type for 'cache.direct', expected: boolean"),
                ({'execute': 'blockdev-add', 'arguments': {'driver': 'nbd', 'node-name': 'y', 'server': {'type': 'unix', 'path': '/', 'x': 1}}},
                 "Parameter 'server.x' is unexpected"),
                # What its file says is under it is not: it was added without.
                ({'execute': 'block-stream', 'arguments': {'device': 'overlay', 'job-id': 'j', 'base': base}},
                 f"Can't find '{base}' in the backing chain"),
                ({'execute': 'block-export-add', 'arguments': {'type': 'nbd', 'id': '1', 'node-name': 'overlay'}},
                 'Invalid block export id')]:
            answer = guest.qmp.ask(command)
            check(words in answer.get('error', {}).get('desc', ''), f'not "{words}"', answer)
        node = guest.block()['inserted']['node-name']
        guest.busy()
        guest.qmp.run('blockdev-snapshot', node=node, overlay='overlay')
        guest.busy()
        check(guest.block()['inserted']['node-name'] == 'overlay', 'the overlay is not in use', guest.block())
        seen = guest.sum()
        guest.quit()
    tool('qemu-img', 'rebase', '-u', '-f', 'qcow2', '-b', base, '-F', 'qcow2', top)
    check(content(top) == seen, 'the chain is not what the guest has seen')
    sound(base, top)


def chain(bed, guest, n):
    """n snapshots on top of each other, with writes in between; their files."""
    files = []
    for index in range(n):
        files.append(bed.path(f'layer{index}.qcow2'))
        guest.qmp.run('blockdev-snapshot-sync', device='disk0', **{'snapshot-file': files[-1],
                                                                   'snapshot-node-name': f'layer{index}'})
        guest.busy(20)
    return files


def case_commit(bed):
    """A layer in the middle into the one below it, then the active layer into the base, while the guest writes."""
    base = bed.image()
    with bed.guest(base) as guest:
        guest.busy(20)
        first, second, third = chain(bed, guest, 3)
        guest.job('block-commit', 'middle', device='disk0', **{'top-node': 'layer1', 'base-node': 'layer0'})
        guest.done('middle')
        check(guest.block()['inserted']['backing_file_depth'] == 2, 'the layer is still there', guest.block())
        guest.job('block-commit', 'active', device='disk0', speed=200 << 20)
        data = guest.job_event('BLOCK_JOB_READY', 'active')
        check(data['type'] == 'commit', 'another job', data)
        guest.busy(20)
        jobs = guest.qmp.run('query-block-jobs')
        check(len(jobs) == 1 and jobs[0]['ready'] and jobs[0]['status'] == 'ready', 'not ready', jobs)
        guest.qmp.run('block-job-complete', device='active')
        guest.done('active')
        block = guest.block()
        check(block['inserted']['file'] == base and block['inserted']['backing_file_depth'] == 0, 'not the base', block)
        guest.busy(20)
        seen = guest.sum()
        guest.quit()
    check(content(base) == seen, 'the base is not what the guest has seen')
    sound(base, first, second, third)


def case_stream(bed):
    """Part of a chain, then all of it, becomes the top layer's own, while the guest writes."""
    base = bed.image()
    with bed.guest(base) as guest:
        guest.busy(20)
        first, second, third = chain(bed, guest, 3)
        guest.job('block-stream', 'part', device='disk0', **{'base-node': 'layer0'})
        guest.done('part')
        check(guest.block()['inserted']['backing_file_depth'] == 2, 'another depth', guest.block())
        info = json.loads(tool('qemu-img', 'info', '-U', '--output=json', third))
        check(info['backing-filename'] == first, 'the header names another one', info)
        guest.job('block-stream', 'whole', device='disk0')
        guest.done('whole')
        check(guest.block()['inserted']['backing_file_depth'] == 0, 'there is still a chain', guest.block())
        os.unlink(base)
        os.unlink(first)
        guest.busy(20)
        seen = guest.sum()
        guest.quit()
    check(content(third) == seen, 'the image is not what the guest has seen')
    sound(third)


def case_mirror(bed):
    """To another format and back, with pauses and another speed; one that is cancelled is a copy of then."""
    base, target, copy = bed.image(), bed.path('target.raw'), bed.path('copy.qcow2')
    with open(target, 'wb') as file:
        file.truncate(SIZE)
    tool('qemu-img', 'create', '-f', 'qcow2', '-o', 'extended_l2=on', copy, str(SIZE))
    with bed.guest(base) as guest:
        guest.busy(20)
        guest.qmp.run('blockdev-add', driver='raw', file={'driver': 'file', 'filename': target}, **{'node-name': 'target'})
        guest.job('blockdev-mirror', 'there', device='disk0', target='target', sync='full', speed=1 << 20)
        guest.qmp.run('block-job-pause', device='there')
        check(guest.qmp.run('query-block-jobs')[0]['paused'], 'not paused')
        answer = guest.qmp.ask({'execute': 'block-job-complete', 'arguments': {'device': 'there'}})
        check('cannot accept command verb' in answer['error']['desc'], 'completed before it is ready', answer)
        guest.qmp.run('block-job-resume', device='there')
        guest.qmp.run('block-job-set-speed', device='there', speed=0)
        guest.job_event('BLOCK_JOB_READY', 'there')
        guest.busy(20)
        guest.qmp.run('block-job-complete', device='there')
        guest.done('there')
        block = guest.block()
        check(block['inserted']['node-name'] == 'target' and block['inserted']['drv'] == 'raw', 'not the target', block)
        sound(base)
        guest.busy(20)
        guest.qmp.run('blockdev-add', driver='qcow2', file={'driver': 'file', 'filename': copy}, **{'node-name': 'copy'})
        guest.job('blockdev-mirror', 'copy', device='disk0', target='copy', sync='full', **{'copy-mode': 'write-blocking'})
        guest.job_event('BLOCK_JOB_READY', 'copy')
        guest.enter()
        seen = guest.wait(r'@sum ([0-9a-f]{32})').group(1)
        guest.qmp.run('block-job-cancel', device='copy')
        guest.done('copy')
        guest.qmp.run('blockdev-del', **{'node-name': 'copy'})
        check(content(copy) == seen, 'the copy differs')
        guest.quit()
    check(content(target, 'raw') == seen, 'the target is not what the guest has seen')
    sound(copy)


def case_backup(bed):
    """Full, then incremental by a bitmap, several times, each as the disk was when it began; in one transaction with a new bitmap."""
    base, full, parts = bed.image(), bed.path('full.qcow2'), [bed.path(f'part{index}.qcow2') for index in range(2)]
    tool('qemu-img', 'create', '-f', 'qcow2', full, str(SIZE))
    with bed.guest(base) as guest:
        guest.busy(20)
        guest.qmp.run('blockdev-add', driver='qcow2', file={'driver': 'file', 'filename': full}, **{'node-name': 'full'})
        node = guest.block()['inserted']['node-name']
        guest.qmp.run('transaction', actions=[
            {'type': 'block-dirty-bitmap-add', 'data': {'node': node, 'name': 'since', 'persistent': True}},
            {'type': 'blockdev-backup', 'data': {'device': 'disk0', 'job-id': 'full', 'target': 'full', 'sync': 'full',
                                                 'speed': 20 << 20}}])
        guest.done('full')
        guest.qmp.run('blockdev-del', **{'node-name': 'full'})
        last = full
        for index, part in enumerate(parts):
            guest.busy(20)
            tool('qemu-img', 'create', '-f', 'qcow2', '-b', last, '-F', 'qcow2', part)
            guest.qmp.run('blockdev-add', driver='qcow2', file={'driver': 'file', 'filename': part}, **{'node-name': 'part'})
            if index == len(parts) - 1:
                guest.enter()
                seen = guest.wait(r'@sum ([0-9a-f]{32})').group(1)
            guest.job('blockdev-backup', 'part', device='disk0', target='part', sync='incremental', bitmap='since')
            guest.done('part')
            guest.qmp.run('blockdev-del', **{'node-name': 'part'})
            last = part
        bitmaps = guest.block()['inserted']['dirty-bitmaps']
        check(bitmaps[0]['name'] == 'since' and bitmaps[0]['count'] == 0 and bitmaps[0]['persistent'], 'another bitmap', bitmaps)
        guest.quit()
    check(content(last) == seen, 'full and incremental backups are not the disk')
    info = json.loads(tool('qemu-img', 'info', '--output=json', base))
    check([row['name'] for row in info['format-specific']['data']['bitmaps']] == ['since'], 'the bitmap is not stored', info)
    sound(base, full, *parts)


def case_pull_backup(bed):
    """A backup that a client pulls: a scratch image on the disk takes what is overwritten, and is exported by NBD with a bitmap."""
    if not shutil.which('nbdcopy'):
        raise Skipped('no nbdcopy')
    base, scratch, pulled, path = bed.image(), bed.path('scratch.qcow2'), bed.path('pulled'), bed.path('nbd')
    tool('qemu-img', 'create', '-f', 'qcow2', scratch, str(SIZE))
    with bed.guest(base) as guest:
        node = guest.block()['inserted']['node-name']
        guest.qmp.run('block-dirty-bitmap-add', node=node, name='dirty')
        guest.busy()
        guest.qmp.run('blockdev-add', driver='qcow2', file={'driver': 'file', 'filename': scratch}, backing=node,
                      **{'node-name': 'scratch'})
        guest.qmp.run('nbd-server-start', addr={'type': 'unix', 'data': {'path': path}})
        guest.qmp.run('transaction', actions=[
            {'type': 'block-dirty-bitmap-disable', 'data': {'node': node, 'name': 'dirty'}},
            {'type': 'blockdev-backup', 'data': {'device': 'disk0', 'job-id': 'pull', 'target': 'scratch', 'sync': 'none'}}])
        guest.qmp.run('block-export-add', type='nbd', id='x', name='disk', bitmaps=[{'node': node, 'name': 'dirty'}],
                      **{'node-name': 'scratch'})
        uri = f'nbd+unix:///disk?socket={path}'
        tool('nbdcopy', uri, pulled)
        with open(pulled, 'rb') as file:
            first = hashlib.md5(file.read()).hexdigest()
        guest.busy()
        tool('nbdcopy', uri, pulled)
        with open(pulled, 'rb') as file:
            check(hashlib.md5(file.read()).hexdigest() == first, 'the point in time moves')
        ranges = tool('nbdinfo', '--map=qemu:dirty-bitmap:dirty', uri)
        check(' 1 ' in re.sub(r' +', ' ', ranges), 'nothing is dirty', ranges)
        check([row['id'] for row in guest.qmp.run('query-block-exports')] == ['x'], 'another export')
        guest.qmp.run('block-job-cancel', device='pull')
        guest.job_event('BLOCK_JOB_CANCELLED', 'pull')
        guest.qmp.run('nbd-server-stop')
        guest.qmp.run('blockdev-del', **{'node-name': 'scratch'})
        seen = guest.sum()
        guest.quit()
    check(content(base) == seen, 'the image is not what the guest has seen')
    sound(base)


class Server:
    """qemu-nbd with an image, for several clients."""

    def __init__(self, bed, image, kind):
        self.path = bed.path('server')
        self.process = subprocess.Popen(['qemu-nbd', '-t', '-e', '4', '-f', kind, '-k', self.path, '-x', 'disk', image])

    def __enter__(self):
        end = time.monotonic() + LIMIT
        while True:  # the file is there before its socket listens
            with socket.socket(socket.AF_UNIX) as client:
                if client.connect_ex(self.path) == 0:
                    return self
            check(time.monotonic() < end and self.process.poll() is None, 'qemu-nbd does not listen')
            time.sleep(0.05)

    def __exit__(self, *what):
        self.process.terminate()
        self.process.wait()

    def options(self, name):
        return {'driver': 'nbd', 'server': {'type': 'unix', 'path': self.path}, 'export': 'disk', 'node-name': name}


def case_nbd_nodes(bed):
    """Exports of qemu-nbd as nodes: the target of a backup, and of a mirror whose end moves the guest there; one below a qcow2 image."""
    if not shutil.which('qemu-nbd'):
        raise Skipped('no qemu-nbd')
    base, copy, target, below = bed.image(), bed.image('copy.qcow2'), bed.image('target.raw', 'raw'), bed.path('below')
    with open(below, 'wb') as file:
        file.truncate(2 * SIZE)  # an export does not grow
    with Server(bed, copy, 'qcow2') as first, Server(bed, target, 'raw') as second, Server(bed, below, 'raw') as third:
        with bed.guest(base) as guest:
            guest.busy(20)
            for arguments, words in [
                    ({'driver': 'nbd', 'node-name': 'x'}, "Parameter 'server' is missing"),
                    ({'driver': 'nbd', 'node-name': 'x', 'server': 5}, "Invalid parameter type for 'server', expected: object"),
                    ({'driver': 'nbd', 'node-name': 'x', 'server': {'type': 'unix', 'path': '/no/such'}}, '/no/such'),
                    ({**first.options('x'), 'export': 'other'}, 'other')]:
                answer = guest.qmp.ask({'execute': 'blockdev-add', 'arguments': arguments})
                check(words in answer.get('error', {}).get('desc', ''), f'not "{words}"', answer)
            guest.qmp.run('blockdev-add', **first.options('copy'))
            guest.job('blockdev-backup', 'full', device='disk0', target='copy', sync='full')
            guest.done('full')
            guest.qmp.run('blockdev-del', **{'node-name': 'copy'})
            guest.job('blockdev-create', 'make', options={'driver': 'qcow2', 'file': third.options('storage'), 'size': SIZE})
            while guest.job_event('JOB_STATUS_CHANGE', 'make')['status'] != 'concluded':
                pass
            jobs = guest.qmp.run('query-jobs')
            check('error' not in jobs[0], 'no image on the export', jobs)
            guest.qmp.run('job-dismiss', id='make')
            guest.qmp.run('blockdev-add', driver='qcow2', file=third.options('storage'), **{'node-name': 'below'})
            guest.job('blockdev-mirror', 'below', device='disk0', target='below', sync='full')
            guest.job_event('BLOCK_JOB_READY', 'below')
            guest.qmp.run('block-job-complete', device='below')
            guest.done('below')
            guest.busy(20)
            guest.qmp.run('blockdev-add', driver='raw', file=second.options('export'), **{'node-name': 'target'})
            guest.job('blockdev-mirror', 'there', device='disk0', target='target', sync='full')
            guest.job_event('BLOCK_JOB_READY', 'there')
            guest.busy(20)
            guest.qmp.run('block-job-complete', device='there')
            guest.done('there')
            check(guest.block()['inserted']['node-name'] == 'target', 'not the target', guest.block())
            guest.busy(20)
            seen = guest.sum()
            guest.quit()
    check(content(target, 'raw') == seen, 'the export is not what the guest has seen')
    content(copy)
    sound(base, copy, below)


def case_jobs(bed):
    """States, verbs and events of a job that is finalized and dismissed by hand, and QEMU's words for what it refuses."""
    base, target = bed.image(), bed.image('target.qcow2')
    with bed.guest(base) as guest:
        guest.qmp.run('blockdev-add', driver='qcow2', file={'driver': 'file', 'filename': target}, **{'node-name': 'target'})
        guest.job('blockdev-backup', 'b', device='disk0', target='target', sync='full',
                  **{'auto-finalize': False, 'auto-dismiss': False})
        guest.job_event('BLOCK_JOB_PENDING', 'b')
        job = guest.qmp.run('query-jobs')[0]
        check(job['id'] == 'b' and job['status'] == 'pending' and job['type'] == 'backup', 'another job', job)
        for command, words in [
                ({'execute': 'job-dismiss', 'arguments': {'id': 'b'}}, "Job 'b' in state 'pending' cannot accept command verb 'dismiss'"),
                ({'execute': 'job-pause', 'arguments': {'id': 'x'}}, 'Job not found'),
                ({'execute': 'block-job-cancel', 'arguments': {'device': 'x'}}, "Block job 'x' not found"),
                ({'execute': 'blockdev-backup', 'arguments': {'device': 'disk0', 'job-id': 'b', 'target': 'target', 'sync': 'full'}},
                 "Job ID 'b' already in use"),
                ({'execute': 'blockdev-del', 'arguments': {'node-name': 'target'}}, 'is busy: block device is in use by block job: backup'),
                ({'execute': 'block_resize', 'arguments': {'device': 'disk0', 'size': SIZE * 2}}, 'busy')]:
            answer = guest.qmp.ask(command)
            check(words in answer.get('error', {}).get('desc', ''), f'not "{words}"', answer)
        guest.qmp.run('job-finalize', id='b')
        guest.done('b')
        check(guest.qmp.run('query-jobs')[0]['status'] == 'concluded', 'not concluded')
        guest.qmp.run('job-dismiss', id='b')
        check(guest.qmp.run('query-jobs') == [], 'there are jobs')
        guest.quit()


def case_killed(bed):
    """kill -9 in the middle of a mirror, a commit, a stream and a backup: every image opens and is sound, leaks aside."""
    for command in 'block-commit', 'block-stream', 'blockdev-mirror', 'blockdev-backup':
        base, target = bed.image(), bed.image('target.qcow2')
        with bed.guest(base) as guest:
            guest.busy(20)
            files = chain(bed, guest, 2)
            guest.qmp.run('blockdev-add', driver='qcow2', file={'driver': 'file', 'filename': target}, **{'node-name': 'target'})
            more = {} if command.startswith('block-') else {'target': 'target', 'sync': 'full'}
            guest.job(command, 'job', device='disk0', speed=4 << 20, **more)
            guest.busy(20)
        for path in (base, target, *files):
            done = subprocess.run(['qemu-img', 'check', path], capture_output=True, text=True, check=False)
            check(done.returncode in (0, 3), f'{command}: {path} is damaged', done.stdout, done.stderr)
        content(files[-1])


def main():
    program, root, *names = sys.argv[1:]
    return cases.run(globals(), names, lambda folder: Bed(program, root, folder))


if __name__ == '__main__':
    sys.exit(main())
