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
import subprocess
import sys
import time

import cases
import qmp
from cases import Skipped, check

LIMIT = 90
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

    def busy(self, seconds=0.5):
        time.sleep(seconds)

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
    run = 'echo @load > /dev/console; read line < /dev/console; echo @size $(cat /sys/block/vda/size) > /dev/console'
    with bed.guest(base, run=run) as guest:
        guest.qmp.run('block_resize', device='disk0', size=SIZE * 2)
        time.sleep(0.5)
        guest.enter()
        check(guest.wait(r'@size (\d+)\s').group(1) == str(SIZE * 2 // 512), 'another size', guest.text)
    check(json.loads(tool('qemu-img', 'info', '--output=json', base))['virtual-size'] == SIZE * 2, 'the file has another size')


def case_nodes(bed):
    """blockdev-add, -snapshot and -del: nodes by name, with QEMU's words where they are refused."""
    base, top = bed.image(), bed.path('top.qcow2')
    tool('qemu-img', 'create', '-f', 'qcow2', top, str(SIZE))
    with bed.guest(base) as guest:
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
                 "Cannot find device='' nor node-name='nothing'"),
                ({'execute': 'blockdev-add', 'arguments': {'driver': 'null-co', 'node-name': 'y'}},
                 "Parameter 'driver' does not accept value 'null-co'"),
                ({'execute': 'blockdev-add', 'arguments': {'driver': 'file', 'filename': top}},
                 "'node-name' must be specified for the root node"),
                ({'execute': 'blockdev-add', 'arguments': {'driver': 'file', 'node-name': 'y'}}, "Parameter 'filename' is missing"),
                ({'execute': 'blockdev-add', 'arguments': {'driver': 'file', 'node-name': '5', 'filename': top, 'x': 1}},
                 "Parameter 'x' is unexpected")]:
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


def main():
    program, root, *names = sys.argv[1:]
    return cases.run(globals(), names, lambda folder: Bed(program, root, folder))


if __name__ == '__main__':
    sys.exit(main())
