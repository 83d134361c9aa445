#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qcow2 images between us (image-io) and QEMU's tools: either writes, the other one reads and checks.

    qcow2.py IMAGE-IO CASE

What a disk should contain is kept in a bytearray beside it; all workloads come from seeded generators. Exit status 77: no QEMU.
"""
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

IO = os.path.abspath(sys.argv[1])
K = 1024
M = K * K

# Options of qemu-img create, and the size of the disk.
KINDS = {
    'default': ('', 4 * M),
    'v2': ('compat=0.10', 4 * M),
    'tiny': ('cluster_size=512', 600 * K),
    'tiny-64': ('cluster_size=512,refcount_bits=64', 600 * K),
    '4k': ('cluster_size=4k', 3 * M + 512),
    '2M': ('cluster_size=2M', 20 * M),
    'ext-16k': ('cluster_size=16k,extended_l2=on', 4 * M),
    'ext-128k': ('cluster_size=128k,extended_l2=on', 6 * M),
    'zstd': ('compression_type=zstd', 4 * M),
    'zstd-512': ('compression_type=zstd,cluster_size=512', 300 * K),
    'bits-1': ('refcount_bits=1,cluster_size=1k', 2 * M),
    'bits-2': ('refcount_bits=2', 4 * M),
    'bits-4': ('refcount_bits=4,cluster_size=512', 500 * K),
    'bits-8': ('refcount_bits=8', 4 * M),
    'bits-32': ('refcount_bits=32,cluster_size=8k', 4 * M),
    'lazy': ('lazy_refcounts=on', 4 * M),
}


def run(*words, status=0, feed=None):
    done = subprocess.run([str(w) for w in words], input=feed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if status is not None and done.returncode != status:
        sys.exit(f'{" ".join(map(str, words))}: status {done.returncode}, not {status}\n{feed or ""}\n{done.stdout}')
    return done.stdout


def ours(path, *commands, options=(), status=0, feed=None):
    return run(IO, 'open', path, 'qcow2', *options, '--', *commands, status=status, feed=feed)


def img(*words, status=0):
    return run('qemu-img', *words, status=status)


def make(path, kind, size, who='qemu', backing=None):
    options = [o for o in kind.split(',') if o]
    if who == 'qemu':
        back = ['-b', backing, '-F', 'qcow2' if backing.endswith('qcow2') else 'raw'] if backing else []
        img('create', '-q', '-f', 'qcow2', *(['-o', kind] if kind else []), *back, path, size)
    else:
        back = [f'backing={backing}', f'backing-format={"qcow2" if backing.endswith("qcow2") else "raw"}'] if backing else []
        run(IO, 'create', path, 'qcow2', size, *options, *back)


class Disk:
    """What the guest of an image should see, and steps that change it."""

    def __init__(self, size, cluster, seed, old=False, backed=False):
        self.data = bytearray(size)
        self.size, self.cluster = size, cluster
        self.random = random.Random(seed)
        self.old, self.backed = old, backed

    def where(self, limit):
        r = self.random
        unit = r.choice([512, 512, 4096, self.cluster])
        offset = r.randrange(self.size) // unit * unit
        length = min(r.choice([512, r.randrange(1, 16) * 512, self.cluster, r.randrange(1, limit)]), self.size - offset)
        return offset, max(length // 512 * 512, 512)

    def fill(self, offset, length, byte):
        self.data[offset:offset + length] = bytes([byte]) * length

    def step(self, compress):
        r = self.random
        offset, length = self.where(min(5 * self.cluster, self.size))
        what = r.choice(['write'] * 5 + ['zero', 'unmap', 'discard', 'flush'] + (['compressed'] * 3 if compress else []))
        if what == 'flush':
            return what, 0, 0, 0
        if what in ('discard', 'compressed'):
            offset = offset // self.cluster * self.cluster
            length = self.cluster * (r.randrange(1, 5) if what == 'discard' else 1)
            length = min(length, self.size - offset)
        if what == 'discard' and self.old and self.backed:
            return 'flush', 0, 0, 0
        byte = r.randrange(1, 256) if what in ('write', 'compressed') else 0
        self.fill(offset, length, byte)
        return what, offset, length, byte

    def steps(self, n, compress=True):
        return [self.step(compress) for _ in range(n)]


def our_words(step):
    what, offset, length, byte = step
    return {'write': f'write {offset} {length} {byte}', 'compressed': f'compressed {offset} {length} {byte}',
            'zero': f'zero {offset} {length}', 'unmap': f'zero {offset} {length} unmap',
            'discard': f'discard {offset} {length}', 'flush': 'flush'}[what]


def their_words(step):
    what, offset, length, byte = step
    return {'write': f'write -q -P {byte} {offset} {length}', 'compressed': f'write -q -c -P {byte} {offset} {length}',
            'zero': f'write -q -z {offset} {length}', 'unmap': f'write -q -z -u {offset} {length}',
            'discard': f'discard -q {offset} {length}', 'flush': 'flush'}[what]


def we_do(path, steps):
    ours(path, '-', feed='\n'.join(our_words(s) for s in steps) + '\n')


def they_do(path, steps):
    # They cannot overwrite with compressed data; a discard of the same makes room, but not of zeroes that have a place. And the
    # place where they go on with compressed data is not forgotten when its cluster becomes free: a session for each.
    words = []
    for s in steps:
        if s[0] == 'compressed':
            words += [f'write -q {s[1]} {s[2]}', f'discard -q {s[1]} {s[2]}']
        words.append(their_words(s))
        if s[0] == 'compressed' or s is steps[-1]:
            out = run('qemu-io', '-f', 'qcow2', '-d', 'unmap', path, feed='\n'.join(words) + '\nquit\n')
            if 'failed' in out or 'error' in out.lower():
                sys.exit(f'qemu-io: {out}\n' + '\n'.join(words))
            words = []


def same(path, data, what):
    """Both find this content, and both find the image consistent."""
    with tempfile.TemporaryDirectory(dir='.') as d:
        ours(path, f'dump {d}/ours', options=['readonly=on'])
        img('convert', '-f', 'qcow2', '-O', 'raw', path, f'{d}/theirs')
        for name in ('ours', 'theirs'):
            with open(f'{d}/{name}', 'rb') as f:
                got = f.read()
            if got != data:
                at = next((i for i in range(min(len(got), len(data))) if got[i] != data[i]), min(len(got), len(data)))
                sys.exit(f'{what}: {name} differs at {at:#x} of {len(data):#x} ({len(got):#x})')
    check(path, what)


def check(path, what):
    theirs = json.loads(img('check', '--output=json', '-f', 'qcow2', path))
    line = ours(path, 'check', options=['readonly=on']).split('\n')[-2].split()
    value = {w: line[i + 1] for i, w in enumerate(line[:-1]) if not w.isdigit()}
    for ours_name, name in (('total', 'total-clusters'), ('allocated', 'allocated-clusters'),
                            ('fragmented', 'fragmented-clusters'), ('compressed', 'compressed-clusters'),
                            ('end', 'image-end-offset')):
        if int(value[ours_name]) != theirs.get(name, 0):
            sys.exit(f'{what}: check: {name} is {value[ours_name]} for us, {theirs.get(name, 0)} for qemu-img')


def cluster_of(kind):
    for option in kind.split(','):
        if option.startswith('cluster_size='):
            text = option.split('=')[1]
            return int(text.rstrip('kM')) * {'k': K, 'M': M}.get(text[-1], 1)
    return 64 * K


def each(seed, work, kinds=None):
    for n, (name, (kind, size)) in enumerate(KINDS.items()):
        if kinds and name not in kinds:
            continue
        path = f'{name}.qcow2'
        disk = Disk(size, cluster_of(kind), seed + n, old='0.10' in kind)
        work(name, kind, path, disk)
        for left in os.listdir('.'):
            os.unlink(left)


def case_read():
    def work(name, kind, path, disk):
        make(path, kind, disk.size)
        they_do(path, disk.steps(120))
        same(path, disk.data, name)
    each(1, work)


def case_write():
    def work(name, kind, path, disk):
        for who in ('qemu', 'us'):
            disk.data[:] = bytes(disk.size)
            make(path, kind, disk.size, who)
            we_do(path, disk.steps(200))
            same(path, disk.data, f'{name} of {who}')
            os.unlink(path)
    each(2, work)


def case_mixed():
    def work(name, kind, path, disk):
        make(path, kind, disk.size, 'us')
        for n in range(3):
            we_do(path, disk.steps(60))
            check(path, f'{name}, {n}')
            they_do(path, disk.steps(60))
            same(path, disk.data, f'{name}, {n}')
    each(3, work)


def case_backing():
    for n, (name, (kind, size)) in enumerate(KINDS.items()):
        if name == '2M':
            continue
        cluster = cluster_of(kind)
        for below, below_size in (('raw', size // 2 // 512 * 512), ('qcow2', size + 512 * 8)):
            who = 'us' if n % 2 else 'qemu'
            base = Disk(below_size, 64 * K, 10 + n)
            if below == 'raw':
                base.data = bytearray(random.Random(n).randbytes(below_size))
                with open('base.raw', 'wb') as f:
                    f.write(base.data)
            else:
                make('base.qcow2', '', below_size, 'us')
                we_do('base.qcow2', base.steps(80))
            disk = Disk(size, cluster, 100 + n, old='0.10' in kind, backed=True)
            disk.data[:min(size, below_size)] = base.data[:size]
            make('top.qcow2', kind, size, who, backing=f'base.{below}')
            same('top.qcow2', disk.data, f'{name} on {below}, new')
            compress = not disk.old
            we_do('top.qcow2', disk.steps(100))
            same('top.qcow2', disk.data, f'{name} on {below}')
            they_do('top.qcow2', disk.steps(50, compress))
            we_do('top.qcow2', disk.steps(50))
            same('top.qcow2', disk.data, f'{name} on {below}, again')
            for left in os.listdir('.'):
                os.unlink(left)


def main():
    if not shutil.which('qemu-img') or not shutil.which('qemu-io'):
        print('qemu-img and qemu-io are missing')
        sys.exit(77)
    with tempfile.TemporaryDirectory() as d:
        os.chdir(d)
        for name in sys.argv[2:]:
            globals()['case_' + name.replace('-', '_')]()
        os.chdir('/')


main()
