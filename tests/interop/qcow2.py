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
    done = subprocess.run([str(w) for w in words], input=feed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace',
                          timeout=180)
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
    # place where they go on with compressed data is not forgotten when its cluster becomes free: the image is opened anew for each.
    words = [again := f'open -o driver=qcow2,discard=unmap,file.driver=file,file.filename={path}']
    for s in steps:
        if s[0] == 'compressed':
            words += [f'write -q {s[1]} {s[2]}', f'discard -q {s[1]} {s[2]}']
        words.append(their_words(s))
        if s[0] == 'compressed':
            words += ['close', again]
    out = run('qemu-io', feed='\n'.join(words) + '\nquit\n')
    if 'failed' in out or 'error' in out.lower() or 'no file open' in out or "can't open" in out:
        sys.exit(f'qemu-io: {out}\n' + '\n'.join(words))


def same(path, data, what):
    """Both find this content, and both find the image consistent."""
    with tempfile.TemporaryDirectory(dir='.') as d:
        said = ours(path, f'dump {d}/ours', 'check', options=['readonly=on'])
        img('convert', '-f', 'qcow2', '-O', 'raw', path, f'{d}/theirs')
        for name in ('ours', 'theirs'):
            with open(f'{d}/{name}', 'rb') as f:
                got = f.read()
            if got != data:
                at = next((i for i in range(min(len(got), len(data))) if got[i] != data[i]), min(len(got), len(data)))
                sys.exit(f'{what}: {name} differs at {at:#x} of {len(data):#x} ({len(got):#x})')
    same_check(path, said, what)


def check(path, what):
    same_check(path, ours(path, 'check', options=['readonly=on']), what)


def same_check(path, said, what):
    """What our check said is what qemu-img's says."""
    theirs = json.loads(img('check', '--output=json', '-f', 'qcow2', path))
    line = said.split('\n')[-2].split()
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


CREATE = [
    '', 'compat=0.10', 'compat=v2', 'cluster_size=512', 'cluster_size=2M', 'cluster_size=1k', 'refcount_bits=1', 'refcount_bits=64',
    'lazy_refcounts=on', 'extended_l2=on', 'cluster_size=16k,extended_l2=on', 'compression_type=zstd', 'compression_type=zlib',
    'preallocation=metadata', 'preallocation=falloc', 'preallocation=full', 'extended_l2=on,preallocation=metadata',
    'cluster_size=512,preallocation=metadata,refcount_bits=64', 'compat=0.10,preallocation=full',
]


def info(path):
    return json.loads(img('info', '--output=json', '-f', 'qcow2', path))


def case_create():
    for kind in CREATE:
        for size in (0, 512, 1000 * K + 512, 3 * M):
            make('theirs.qcow2', kind, size)
            make('ours.qcow2', kind, size, 'us')
            a, b = info('theirs.qcow2'), info('ours.qcow2')
            for key in ('virtual-size', 'cluster-size', 'format-specific', 'format'):
                if a[key] != b[key]:
                    sys.exit(f'create {kind}, {size}: {key} is {b[key]}, not {a[key]}')
            if 'preallocation' in kind:
                if abs(os.stat('theirs.qcow2').st_blocks - os.stat('ours.qcow2').st_blocks) * 512 > 600 * K:
                    sys.exit(f'create {kind}, {size}: other blocks')
                a, b = (json.loads(img('check', '--output=json', f'{who}.qcow2')) for who in ('theirs', 'ours'))
                if a.get('allocated-clusters') != b.get('allocated-clusters'):
                    sys.exit(f'create {kind}, {size}: {b}\n{a}')
            same('ours.qcow2', bytes(size), f'create {kind}, {size}')
            if size:
                disk = Disk(size, cluster_of(kind), 5, old='0.10' in kind)
                we_do('ours.qcow2', disk.steps(30))
                same('ours.qcow2', disk.data, f'create {kind}, {size}, written')
    # Large ones: tables of many clusters.
    for kind, size in (('cluster_size=512', 8 << 30), ('', 8 << 40), ('cluster_size=2M', 1 << 55), ('refcount_bits=1', 1 << 40),
                       ('cluster_size=512,refcount_bits=64', 16 << 30)):
        make('ours.qcow2', kind, size, 'us')
        ours('ours.qcow2', f'write {size - 512} 512 7', f'read {size - 512} 512 7', f'read 0 4096 0')
        check('ours.qcow2', f'create {kind}, {size}')
        run('qemu-io', '-f', 'qcow2', '-c', f'read -q -P 7 {size - 512} 512', 'ours.qcow2')
    for bad in ('cluster_size=3k', 'cluster_size=4M', 'refcount_bits=3', 'compat=2', 'compat=0.10,lazy_refcounts=on',
                'cluster_size=8k,extended_l2=on', 'nonsense=on', 'preallocation=much', 'data_file_raw=on'):
        run(IO, 'create', 'bad.qcow2', 'qcow2', M, *bad.split(','), status=1)
    run(IO, 'create', 'bad.qcow2', 'qcow2', 1 << 40, 'cluster_size=512', status=1)


def case_resize():
    def work(name, kind, path, disk):
        make(path, kind, disk.size)
        r = random.Random(name)
        for n in range(6):
            we_do(path, disk.steps(30))
            size = r.randrange(1, 3 * disk.size // 512) * 512
            size = min(size, 60 * M)
            if n == 2 and '0.10' not in kind:
                # What QEMU cuts, we make longer again.
                img('resize', '-q', '--shrink', '-f', 'qcow2', path, str(min(size, disk.size)))
                disk.data = disk.data[:min(size, disk.size)]
            prealloc = r.choice(['', '', 'metadata', 'falloc', 'full'])
            ours(path, f'resize {size} {prealloc if size > len(disk.data) else ""}'.strip())
            disk.data = (disk.data + bytes(size))[:size]
            disk.size = size
            same(path, disk.data, f'{name}: resize to {size} {prealloc}')
    each(4, work, [k for k in KINDS if k != '2M'])
    # A backing image that is longer does not show.
    make('base.qcow2', '', 2 * M)
    run('qemu-io', '-f', 'qcow2', '-c', 'write -q -P 5 0 2M', 'base.qcow2')
    for kind in ('', 'compat=0.10', 'extended_l2=on'):
        make('top.qcow2', kind, M // 2 + 512, 'us', backing='base.qcow2')
        ours('top.qcow2', f'resize {3 * M}')
        same('top.qcow2', bytes([5]) * (M // 2 + 512) + bytes(3 * M - M // 2 - 512), f'resize {kind} with a backing image')


def case_snapshots():
    def work(name, kind, path, disk):
        make(path, kind, disk.size, 'us')
        kept = {}
        r = random.Random(name)
        for n in range(8):
            (we_do if n % 2 or n > 4 else they_do)(path, disk.steps(25, compress=n > 4))
            what = r.choice(['create', 'create', 'apply', 'delete'])
            if what == 'create' or not kept:
                kept[f's{n}'] = bytes(disk.data)
                if r.randrange(2):
                    img('snapshot', '-c', f's{n}', path)
                else:
                    ours(path, f'snapshot create s{n}')
            else:
                one = r.choice(sorted(kept))
                if what == 'apply':
                    disk.data[:] = kept[one]
                else:
                    del kept[one]
                if r.randrange(3) == 0:
                    img('snapshot', '-a' if what == 'apply' else '-d', one, path)
                else:
                    ours(path, f'snapshot {what} {one}')
            same(path, disk.data, f'{name}, {n}: snapshot {what}')
            names = [line.split()[1] for line in ours(path, 'snapshots', options=['readonly=on']).splitlines()]
            theirs = [s['name'] for s in info(path).get('snapshots', [])]
            if names != theirs or sorted(names) != sorted(kept):
                sys.exit(f'{name}: snapshots {names}, for qemu-img {theirs}, should be {sorted(kept)}')
        for one, data in kept.items():
            img('convert', '-l', f'snapshot.name={one}', '-f', 'qcow2', '-O', 'raw', path, 'raw')
            with open('raw', 'rb') as f:
                if f.read() != data:
                    sys.exit(f'{name}: snapshot {one} differs')
    each(5, work, [k for k in KINDS if k not in ('bits-1', 'bits-2', 'bits-4', '2M')])
    make('one.qcow2', 'refcount_bits=1', M)
    ours('one.qcow2', 'write 0 64k 1')
    if 'reference counts of 1 bits' not in ours('one.qcow2', 'snapshot create x', status=1):
        sys.exit('a snapshot with counts of one bit')
    check('one.qcow2', 'refused snapshot')
    # Another size then.
    make('two.qcow2', '', M)
    ours('two.qcow2', 'write 0 1M 1', 'snapshot create small', 'resize 3M', 'write 2M 64k 2')
    img('snapshot', '-c', 'large', 'two.qcow2')
    ours('two.qcow2', 'snapshot apply small')
    same('two.qcow2', bytes([1]) * M, 'smaller snapshot')
    ours('two.qcow2', 'snapshot apply large')
    same('two.qcow2', bytes([1]) * M + bytes(M) + bytes([2]) * 64 * K + bytes(M - 64 * K), 'larger snapshot')


def patch(path, at, data):
    with open(path, 'r+b') as f:
        f.seek(at)
        f.write(data)


def be(path, at, n):
    with open(path, 'rb') as f:
        f.seek(at)
        return int.from_bytes(f.read(n), 'big')


def spoil(path, disk, r):
    """One fault; True when QEMU finds one there as well."""
    l1 = be(path, 40, 8)
    table = be(path, be(path, 48, 8), 8)
    l2 = be(path, l1, 8) & 0xfffffffffffe00
    bits = be(path, 96, 4)
    what = r.choice(['count', 'count', 'copied', 'l1-copied', 'entry', 'block', 'beyond', 'dirty', 'corrupt', 'table'])
    if what == 'count':
        at = r.randrange(be(path, 48, 8) // 512 % 8 + 4, 40) << bits >> 3
        patch(path, table + at, bytes([r.choice([0, 1, 2, 255])]))
    elif what == 'copied':
        at = l2 + 8 * r.randrange(64) if not be(path, 72, 8) & 16 else l2 + 16 * r.randrange(64)
        patch(path, at, bytes([be(path, at, 1) ^ 0x80]) if be(path, at, 8) & 0xfffffffffffe00 else b'')
    elif what == 'l1-copied':
        patch(path, l1, bytes([be(path, l1, 1) ^ 0x80]))
    elif what == 'entry':
        patch(path, l2 + 16 * r.randrange(20), struct.pack('>Q', 1 << 63 | r.randrange(1, 1 << 20) << 9 | 0x200))
    elif what == 'block':
        patch(path, be(path, 48, 8), struct.pack('>Q', r.choice([0, 0x200, table + 0x300, 1 << 50])))
    elif what == 'beyond':
        patch(path, l2, struct.pack('>Q', 1 << 63 | 1 << 40))
    elif what == 'table':
        patch(path, l1, struct.pack('>Q', r.choice([1 << 63 | 0x600, 1 << 63 | 1 << 41, 7 << 56 | l2])))
    else:
        patch(path, 79, bytes([be(path, 79, 1) | (1 if what == 'dirty' else 2)]))
    return what


def case_check():
    def work(name, kind, path, disk):
        make(path, kind, disk.size, 'us')
        disk.fill(0, 64 * K, 1)
        we_do(path, [('write', 0, 64 * K, 1)] + disk.steps(60))
        if name not in ('bits-1', 'bits-4'):
            ours(path, 'snapshot create one')
            we_do(path, disk.steps(10))
        r = random.Random(name)
        for n in range(12):
            shutil.copy(path, 'bad.qcow2')
            what = spoil('bad.qcow2', disk, r)
            theirs = '\n' + run('qemu-img', 'check', '--output=json', '-f', 'qcow2', 'bad.qcow2', status=None)
            they_mind = json.loads(theirs[theirs.index('\n{'):]) if '\n{' in theirs else {'corruptions': 1}
            mine = ours('bad.qcow2', 'check', options=['readonly=on', 'check=on'], status=None)
            last = mine.splitlines()[-1].split()
            faults = [int(last[1]) > 0, int(last[3]) > 0] if last and last[0] == 'corruptions' else [True, False]
            wanted = [they_mind.get('corruptions', 0) > 0, they_mind.get('leaks', 0) > 0]
            # A count that is too high is a leak; they also mind that "copied" flags disagree with it.
            if what in ('count', 'copied', 'l1-copied', 'beyond') and faults[0] != wanted[0] and not (what == 'count' and faults[1]):
                sys.exit(f'{name}: {what}: we find {faults}, qemu-img {wanted}\n{mine}\n{theirs}')
            ours('bad.qcow2', 'check all', options=['check=on'], status=None)
            ours('bad.qcow2', 'check', 'flush')
            after = json.loads(img('check', '--output=json', '-f', 'qcow2', 'bad.qcow2'))
            if after.get('corruptions') or after.get('leaks'):
                sys.exit(f'{name}: {what} is not repaired: {after}\n{mine}')
            if what in ('count', 'copied', 'l1-copied', 'block', 'dirty', 'corrupt'):
                same('bad.qcow2', disk.data, f'{name}: {what}, repaired')
            we_do('bad.qcow2', [('write', 0, 4 * K, 9)])
            check('bad.qcow2', f'{name}: {what}, repaired and written')
    each(6, work, ['default', 'tiny', 'tiny-64', '4k', 'ext-16k', 'bits-1', 'bits-4', 'bits-32', 'lazy'])


def case_data_file():
    for raw in ('off', 'on'):
        for who in ('us', 'qemu'):
            disk = Disk(3 * M, 64 * K, 20)
            kind = f'data_file=d.raw,data_file_raw={raw}'
            if who == 'qemu':
                with open('d.raw', 'wb') as f:
                    f.truncate(disk.size)
            make('m.qcow2', kind, disk.size, who)
            we_do('m.qcow2', disk.steps(60, compress=False))
            same('m.qcow2', disk.data, f'data file of {who}, raw {raw}')
            they_do('m.qcow2', disk.steps(60, compress=False))
            we_do('m.qcow2', disk.steps(60, compress=False))
            same('m.qcow2', disk.data, f'data file of {who}, raw {raw}')
            if raw == 'on':
                with open('d.raw', 'rb') as f:
                    if f.read() != disk.data:
                        sys.exit('the raw data file differs')
            ours('m.qcow2', f'resize {4 * M + 512}')
            disk.data += bytes(M + 512)
            same('m.qcow2', disk.data, f'data file of {who}, raw {raw}, resized')
            for left in os.listdir('.'):
                os.unlink(left)


def our_bitmaps(path):
    """What we read: name to flag and the runs that are dirty."""
    found = {}
    for line in ours(path, 'bitmaps', options=['readonly=on']).splitlines():
        if line.startswith('kv: '):
            continue
        name, flag, *runs = line.split()
        found[name] = flag, [tuple(int(n) for n in r.split('+')) for r in runs]
    return found


def their_bitmap(path, name):
    """What QEMU tells a client of NBD is dirty."""
    out = run('nbdinfo', '--json', f'--map=qemu:dirty-bitmap:{name}', '--',
              '[', 'qemu-nbd', '-r', '-f', 'qcow2', '-B', name, path, ']')
    return [(e['offset'], e['length']) for e in json.loads(out) if e['type']]


def runs_of(dirty, granularity, size):
    """Granules that are dirty, as runs of bytes."""
    runs = []
    for g in sorted(dirty):
        at, end = g * granularity, min((g + 1) * granularity, size)
        if runs and sum(runs[-1]) == at:
            runs[-1] = runs[-1][0], end - runs[-1][0]
        else:
            runs.append((at, end - at))
    return runs


def case_bitmaps():
    """Sessions of both by turns, with bitmaps that either made: what is written is dirty for both, and nothing else."""
    if not shutil.which('nbdinfo'):
        print('nbdinfo is missing')
        sys.exit(77)

    def work(name, kind, path, disk):
        make(path, kind, disk.size, 'us')
        kinds, dirty, still = {}, {}, set()
        r = random.Random(name)
        for n in range(10):
            if n < 4:
                one, granularity = f'b{n}', r.choice([512, 4 * K, 64 * K, M])
                kinds[one], dirty[one] = granularity, set()
                if n % 2:
                    img('bitmap', '--add', '-g', granularity, path, one)
                else:
                    ours(path, f'bitmap add {one} {granularity}')
            steps = disk.steps(30, compress=n > 4)
            if n % 2:
                we_do(path, steps)
            else:
                they_do(path, steps)
            for _, offset, length, _ in steps:
                for one, granularity in kinds.items():
                    if length and one not in still:
                        dirty[one].update(range(offset // granularity, (offset + length - 1) // granularity + 1))
            if n == 5:
                ours(path, 'bitmap clear b0', 'bitmap disable b1')
                dirty['b0'] = set()
                still.add('b1')
            if n == 7:
                img('bitmap', '--merge', 'b1', path, 'b0')
                g0, g1 = kinds['b0'], kinds['b1']
                for at, length in runs_of(dirty['b1'], g1, disk.size):
                    dirty['b0'].update(range(at // g0, (at + length - 1) // g0 + 1))
                ours(path, 'bitmap remove b2')
                del kinds['b2'], dirty['b2']
            mine = our_bitmaps(path)
            if set(mine) != set(kinds):
                sys.exit(f'{name}, {n}: bitmaps {sorted(mine)}, should be {sorted(kinds)}')
            for one, granularity in kinds.items():
                want = runs_of(dirty[one], granularity, disk.size)
                flag = '-' if one in still else 'auto'
                if mine[one] != (flag, want):
                    sys.exit(f'{name}, {n}: bitmap {one}: {mine[one]}, should be {flag} {want}')
            one = r.choice(sorted(kinds))
            theirs, want = their_bitmap(path, one), runs_of(dirty[one], kinds[one], disk.size)
            if theirs != want:
                sys.exit(f'{name}, {n}: bitmap {one} for QEMU: {theirs}, should be {want}')
            same(path, disk.data, f'{name}, {n}: with bitmaps')
    each(9, work, ['default', 'tiny-64', '4k', 'ext-16k', 'zstd', 'lazy'])


def case_bitmap_rules():
    make('b.qcow2', '', 4 * M)
    img('bitmap', '--add', '-g', '64k', 'b.qcow2', 'auto')
    img('bitmap', '--add', '--disable', 'b.qcow2', 'still')

    def flags():
        return {b['name']: sorted(b['flags']) for b in info('b.qcow2')['format-specific']['data']['bitmaps']}

    before = open('b.qcow2', 'rb').read()
    ours('b.qcow2', 'read 0 512 0', 'check', 'info', 'flush')
    if open('b.qcow2', 'rb').read() != before:
        sys.exit('reading has changed the image')
    # Who did not come to an end leaves what records in use, and nothing else.
    ours('b.qcow2', 'write 2M 64k 3', 'flush', 'abort')
    if flags() != {'auto': ['auto', 'in-use'], 'still': []}:
        sys.exit(f'bitmaps after a crash: {flags()}')
    ours('b.qcow2', 'write 3M 64k 3')
    if our_bitmaps('b.qcow2') != {'auto': ('in-use', []), 'still': ('-', [])} or 'in-use' not in flags()['auto']:
        sys.exit('one in use is trusted again')
    check('b.qcow2', 'bitmaps in use')
    refuse('b.qcow2', ['auto', 'inconsistent'], 'bitmap clear auto')
    refuse('b.qcow2', ['auto', 'inconsistent'], 'resize 8M')
    refuse('b.qcow2', ['already exists'], 'bitmap add auto 512')
    ours('b.qcow2', 'backing base.raw raw')
    if set(flags()) != {'auto', 'still'} or info('b.qcow2')['backing-filename'] != 'base.raw':
        sys.exit('bitmaps are lost with a new header')
    ours('b.qcow2', 'backing', 'check', options=['backing='])
    img('bitmap', '--remove', 'b.qcow2', 'auto')
    ours('b.qcow2', 'snapshot create s')
    refuse('b.qcow2', ['dirty bitmaps'], 'snapshot apply s')
    ours('b.qcow2', 'bitmap remove still', 'snapshot apply s')
    check('b.qcow2', 'no bitmaps')
    # A program that knows no bitmaps: they are void, and what they took is lost until a repair.
    ours('b.qcow2', 'bitmap add void 64k', 'write 0 64k 1')
    patch('b.qcow2', 95, b'\0')
    if our_bitmaps('b.qcow2') or 'bitmaps:' in img('info', 'b.qcow2'):
        sys.exit('void bitmaps are there')
    ours('b.qcow2', 'check leaks', status=None)
    img('check', 'b.qcow2')
    make('old.qcow2', 'compat=0.10', M)
    refuse('old.qcow2', ['v2'], 'bitmap add x 64k')


def case_bitmap_hostile():
    """Every byte of the directory and of a table changed in some ways: an error or sense, and QEMU agrees which where it can tell."""
    make('h.qcow2', 'cluster_size=4k', 4 * M)
    ours('h.qcow2', 'bitmap add first 4k', 'bitmap add second 64k', 'write 1M 64k 1')
    with open('h.qcow2', 'rb') as f:
        data = f.read()
    at = data.index(b'first') - 24
    table = int.from_bytes(data[at:at + 8], 'big')
    places = [(at + i, v) for i in range(64) for v in (0, 1, 0x80, 0xff)] + [(table + i, v) for i in range(8) for v in (1, 2, 0xff)]
    bad = 0
    for place, value in places:
        if data[place] == value:
            continue
        shutil.copy('h.qcow2', 'x.qcow2')
        patch('x.qcow2', place, bytes([value]))
        mine = run(IO, 'open', 'x.qcow2', 'qcow2', '--', 'bitmaps', status=None)
        theirs = run('qemu-img', 'info', 'x.qcow2', status=None)
        # They do not look where tables are and what is in them, and end names where a zero is.
        unseen = table <= place < table + 8 or (place - at) % 32 < 8 or value == 0
        if ('image-io' in mine) != ('qemu-img: ' in theirs) and not unseen:
            sys.exit(f'byte {place - at} of the directory as {value}: {mine} {theirs}')
        bad += 'image-io' in mine
        ours('x.qcow2', 'check all', options=['check=on'], status=None)
    if bad < 40:
        sys.exit(f'only {bad} of the changes are refused')
    # What is wrong inside of one is no matter for the others, and is removed.
    shutil.copy('h.qcow2', 'x.qcow2')
    patch('x.qcow2', table, b'\1')
    ours('x.qcow2', 'write 2M 64k 1')
    mine = our_bitmaps('x.qcow2')
    if mine != {'first': ('in-use', []), 'second': ('auto', [(M, 64 * K), (2 * M, 64 * K)])}:
        sys.exit(f'a bitmap with a bad table: {mine}')
    ours('x.qcow2', 'bitmap remove first')
    ours('x.qcow2', 'check leaks', status=None)
    check('x.qcow2', 'removed with a bad table')
    # An open for reading alone does not look.
    shutil.copy('h.qcow2', 'x.qcow2')
    patch('x.qcow2', at + 16, b'\7')
    ours('x.qcow2', 'read 1M 64k 1', options=['readonly=on'])
    refuse('x.qcow2', ['first', 'type'], 'write 1M 64k 1')


def refuse(path, words, *commands, options=()):
    out = ours(path, *commands, options=options, status=1)
    if not all(w in out for w in words):
        sys.exit(f'refused without {words}: {out}')


def case_refused():
    def fresh():
        make('r.qcow2', '', 4 * M)
        ours('r.qcow2', 'write 0 1M 1')
    fresh()
    patch('r.qcow2', 72, struct.pack('>Q', 1 << 40))
    refuse('r.qcow2', ['features', 'incompatible feature 40'])
    fresh()
    patch('r.qcow2', 78, b'\1')
    refuse('r.qcow2', ['features'])
    for at, value in ((4, struct.pack('>I', 4)), (20, struct.pack('>I', 8)), (20, struct.pack('>I', 22)),
                      (32, struct.pack('>I', 1)), (36, struct.pack('>I', 1 << 30)), (36, struct.pack('>I', 0)),
                      (40, struct.pack('>Q', 0x200)), (40, struct.pack('>Q', 1 << 63)), (48, struct.pack('>Q', 77)),
                      (56, struct.pack('>I', 0xffffffff)), (56, struct.pack('>I', 0)), (60, struct.pack('>I', 1 << 20)),
                      (8, struct.pack('>QI', 0xfff0, 100)), (8, struct.pack('>QI', 1 << 40, 10)), (96, struct.pack('>I', 7)),
                      (100, struct.pack('>I', 0xfffffff8)), (100, struct.pack('>I', 96)), (24, struct.pack('>Q', 1 << 63)),
                      (24, struct.pack('>Q', 1 << 50)), (104, b'\1'), (112, struct.pack('>II', 1, 0xffffffff))):
        fresh()
        patch('r.qcow2', at, value)
        refuse('r.qcow2', ["disk 'r.qcow2'"])
    # Metadata that overlaps: reading works, writing does not.
    fresh()
    l1 = be('r.qcow2', 40, 8)
    l2 = be('r.qcow2', l1, 8) & 0xfffffffffffe00
    for entry in (l1, be('r.qcow2', 48, 8), 0x20000):
        fresh()
        patch('r.qcow2', l1, struct.pack('>Q', 1 << 63 | entry))
        refuse('r.qcow2', ['corrupt', 'overlap'])
    for entry in (l1, l2, 0x10000, 0x20000):
        fresh()
        patch('r.qcow2', l2, struct.pack('>Q', 1 << 63 | entry))
        before = open('r.qcow2', 'rb').read()
        refuse('r.qcow2', ['corrupt', 'metadata'], 'write 0 64k 1')
        after = open('r.qcow2', 'rb').read()
        if before[:72] != after[:72] or before[80:] != after[80:len(before)]:
            sys.exit('a corrupt image was written')
        refuse('r.qcow2', ['marked as corrupt'], 'read 64k 64k 1')
        ours('r.qcow2', 'read 64k 64k 1', options=['readonly=on'])
    # Clusters in use that are counted as free are not given to anybody.
    fresh()
    table = be('r.qcow2', 0x10000, 8)
    patch('r.qcow2', table, bytes(64 * K))
    refuse('r.qcow2', ['corrupt'], 'write 2M 64k 1')
    # A chain that is a loop
    make('x.qcow2', '', M)
    make('y.qcow2', '', M, backing='x.qcow2')
    img('rebase', '-u', '-F', 'qcow2', '-b', 'y.qcow2', 'x.qcow2')
    refuse('x.qcow2', ['stands on it'])


def case_crash():
    """Killed in the middle: at most leaks."""
    def work(name, kind, path, disk):
        make(path, kind, disk.size, 'us')
        for n in range(8):
            steps = disk.steps(40)
            ours(path, '-', feed='\n'.join(our_words(s) for s in steps) + '\nflush\nabort\n')
            theirs = run('qemu-img', 'check', '-f', 'qcow2', path, status=None) if 'lazy' not in kind else ''
            if 'corrupt' in theirs or 'ERROR' in theirs:
                sys.exit(f'{name}: {theirs}')
            ours(path, f'dump d', options=['readonly=on'])
            if open('d', 'rb').read() != disk.data:
                sys.exit(f'{name}: content after a crash')
        ours(path, 'check all', status=None)
        same(path, disk.data, f'{name}: repaired')
    each(7, work)


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
