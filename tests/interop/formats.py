# SPDX-License-Identifier: GPL-2.0-or-later
"""Images of VirtualBox's, Virtual PC's, Hyper-V's and VMware's formats: what QEMU's tools make, we read, and the other way round; what
is refused is refused by name. The programs: format-io (format-io.c), qemu-img and qemu-io. formats.py FORMAT-IO [CASE]..."""
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile

from cases import Skipped, check, run

K, M, G = 1 << 10, 1 << 20, 1 << 30

# format, options of create (QEMU's and ours), can QEMU's tools check it
KINDS = [
    ('vdi', [], True),
    ('vdi', ['static=on'], True),
    ('vpc', [], False),
    ('vpc', ['force_size=on'], False),
    ('vpc', ['subformat=fixed'], False),
    ('vpc', ['subformat=fixed', 'force_size=on'], False),
    ('vmdk', [], True),
    ('vmdk', ['subformat=monolithicSparse', 'adapter_type=lsilogic', 'hwversion=7'], True),
    ('vmdk', ['subformat=monolithicFlat', 'toolsversion=7'], True),
    ('vmdk', ['subformat=twoGbMaxExtentFlat', 'compat6=on'], True),
    ('vmdk', ['subformat=twoGbMaxExtentSparse'], True),
    ('vmdk', ['zeroed_grain=on'], True),
    ('vhdx', [], True),
    ('vhdx', ['block_size=1M'], True),
    ('vhdx', ['block_size=2M', 'log_size=2M', 'block_state_zero=off'], True),
    ('vhdx', ['subformat=fixed'], True),
]
# QEMU's are another kind of stream than ours
THEIRS = [('vmdk', ['subformat=streamOptimized'], False)]
SIZES = [512, 3 * M + 512, 9 * M + 7 * 512]


RAMP = bytes(n % 251 for n in range(512 + 251))
PLUS = [bytes((n + k) % 256 for n in range(256)) for k in range(256)]


def plain(what, size=0, path=None, script=None):
    """What format-io does to a raw file, without a process: most are what an image is compared with."""
    with open(path, 'wb' if what == 'create' else 'r+b') as f:
        if what == 'create':
            f.truncate(size)
        for line in (script or '').splitlines():
            op, *numbers = line.split()
            if op == 'f':
                continue
            offset, length, seed = map(int, numbers + ['0'] * (3 - len(numbers)))
            f.seek(offset)
            f.write(bytes(length) if op in 'zd' else
                    b''.join(RAMP[at % 251:][:512].translate(PLUS[(seed + at // 512) % 256]) for at in range(offset, offset + length, 512)))


class Bed:
    def __init__(self, folder, format_io):
        self.folder, self.format_io, self.n = folder, format_io, 0
        if not shutil.which('qemu-img') or not shutil.which('qemu-io'):
            raise Skipped('qemu-img and qemu-io are not there')

    def path(self, name):
        self.n += 1
        return os.path.join(self.folder, f'{self.n}.{name}')

    def io(self, *args, script=None, good=True):
        if args[1] == 'raw' and args[2] in ('create', 'run'):
            return plain(*args[2:], path=args[0], script=script)
        done = subprocess.run([self.format_io, *map(str, args)], input=script, capture_output=True, text=True, timeout=180)
        check(not good or done.returncode == 0, f'format-io {args}: {done.returncode}', done.stdout, done.stderr)
        return done

    def refused(self, words, *args):
        done = self.io(*args, good=False)
        check(done.returncode == 1 and words in done.stderr, f'format-io {args} is not refused with "{words}"', done.stdout, done.stderr)


def tool(*args, good=True):
    done = subprocess.run(list(map(str, args)), capture_output=True, text=True, timeout=180)
    check(not good or done.returncode == 0, f'{args}: {done.returncode}', done.stdout, done.stderr)
    return done


def with_options(options):
    return ['-o', ','.join(options)] if options else []


def random_script(seed, size, n=24, ops='wwwwzdf'):
    """Lines for format-io's run: small and large writes in random places, now and then something else."""
    dice, lines = random.Random(seed), []
    for _ in range(n):
        op = dice.choice(ops)
        length = min(size, 512 * dice.choice([1, 3, 8, 127, 128, 256, 700]))
        offset = 512 * dice.randrange((size - length) // 512 + 1)
        lines.append(f'{op} {offset} {length} {dice.randrange(1, 250) if op == "w" else dice.randrange(2)}')
    return '\n'.join(lines) + '\n'


def make_raw(bed, size, seed):
    """A raw file with some data in it."""
    raw = bed.path('raw')
    bed.io(raw, 'raw', 'create', size)
    bed.io(raw, 'raw', 'run', script=random_script(seed, size, ops='w'))
    return raw


def check_same(bed, raw, image, form, what):
    """We read from the image what is in the raw file, and zeroes behind; so does QEMU."""
    dumped = bed.path('dump')
    bed.io(image, form, 'dump', dumped)
    with open(raw, 'rb') as a, open(dumped, 'rb') as b:
        want, got = a.read(), b.read()
    check(len(got) >= len(want), f'{what}: our size is {len(got)}, less than {len(want)}')
    want += bytes(len(got) - len(want))
    bad = next((i for i in range(0, len(want), 512) if want[i:i + 512] != got[i:i + 512]), None)
    check(bad is None, f'{what}: we read something else at {bad}')
    tool('qemu-img', 'compare', '-f', 'raw', '-F', form, dumped, image)
    os.unlink(dumped)


def check_info(bed, image, form, what):
    theirs = json.loads(tool('qemu-img', 'info', '-f', form, '--output=json', image).stdout)
    ours = dict(line.split(' ', 1) for line in bed.io(image, form, 'info').stdout.splitlines())
    check(int(ours['size']) == theirs['virtual-size'], f'{what}: our size is not theirs', ours, theirs)
    check(int(ours['cluster-size']) == theirs.get('cluster-size', 0), f'{what}: our cluster size is not theirs', ours, theirs)
    return ours, theirs


def case_read_theirs(bed):
    """What qemu-img convert makes of a raw file."""
    for form, options, _ in KINDS + THEIRS:
        for size in SIZES:
            what, image = f'{form} {options} of {size}', bed.path(form)
            raw = make_raw(bed, size, size)
            tool('qemu-img', 'convert', '-f', 'raw', '-O', form, *with_options(options), raw, image)
            check_info(bed, image, form, what)
            check_same(bed, raw, image, form, what)


def case_read_fragmented(bed):
    """What qemu-io wrote in random places of an empty image."""
    size = 20 * M
    for form, options, _ in KINDS:
        what, image, raw, dice = f'{form} {options}', bed.path(form), bed.path('raw'), random.Random(7)
        tool('qemu-img', 'create', '-f', form, *with_options(options), image, size)
        bed.io(raw, 'raw', 'create', size)
        writes = [(dice.randrange(1, 255), 512 * dice.randrange(40000), 512 * dice.choice([1, 9, 300])) for _ in range(30)]
        commands = [word for p, offset, length in writes for word in ('-c', f'write -P {p} {offset} {length}')]
        for path, f in (image, form), (raw, 'raw'):
            tool('qemu-io', '-f', f, *commands, path)
        check_same(bed, raw, image, form, what)


def check_image(bed, image, form, checks, what):
    if checks:
        tool('qemu-img', 'check', '-f', form, image)
    done = bed.io(image, form, 'check', good=False)
    check(done.returncode in (0, 63), f'{what}: our check finds faults', done.stdout, done.stderr)


def check_copies(image, form, options, what):
    """What a format has twice is twice the same."""
    with open(image, 'rb') as f:
        data = f.read()
    if form == 'vpc' and 'subformat=fixed' not in options:
        check(data[:512] == data[-512:], f'{what}: the footer is not at the end')
    elif form == 'vmdk' and data[:4] == b'KDMV':
        copy, directory = (struct.unpack('<Q', data[at:at + 8])[0] * 512 for at in (48, 56))
        tables = struct.unpack('<Q', data[12:20])[0] // (128 * 512) + 1
        for at in range(0, tables * 4, 4):
            a, b = (struct.unpack('<I', data[d + at:d + at + 4])[0] * 512 for d in (copy, directory))
            check(data[a:a + 2048] == data[b:b + 2048], f'{what}: the second set of grain tables is another')


def change(bed, image, form, raw, size, seed):
    script = random_script(seed, size)
    bed.io(image, form, 'run', script=script)
    bed.io(raw, 'raw', 'run', script=script)


def case_write_ours(bed):
    """Images that we make, fill and change, in two goes."""
    for form, options, checks in KINDS:
        for size in SIZES:
            what, image, raw = f'{form} {options} of {size}', bed.path(form), bed.path('raw')
            bed.io(image, form, 'create', size, *options)
            bed.io(raw, 'raw', 'create', size)
            check_info(bed, image, form, what)
            for go in 1, 2:
                change(bed, image, form, raw, size, size + go)
                check_same(bed, raw, image, form, f'{what}, go {go}')
                check_image(bed, image, form, checks, what)
                check_copies(image, form, options, what)


def case_write_theirs(bed):
    """We change images that QEMU made, and QEMU changes them again."""
    size = 9 * M
    for form, options, checks in KINDS:
        what, image, raw = f'{form} {options}', bed.path(form), make_raw(bed, size, 3)
        tool('qemu-img', 'convert', '-f', 'raw', '-O', form, *with_options(options), raw, image)
        change(bed, image, form, raw, size, 4)
        for path, f in (image, form), (raw, 'raw'):
            tool('qemu-io', '-f', f, '-c', 'write -P 0x5a 1000k 3M', '-c', 'write -P 0x11 8M 512', path)
        change(bed, image, form, raw, size, 5)
        check_same(bed, raw, image, form, what)
        check_image(bed, image, form, checks, what)


def case_not_flushed(bed):
    """A writer that is killed loses what it did not flush, and nothing else."""
    size = 40 * M
    for form, options, checks in KINDS:
        if any(word in ' '.join(options) for word in ('fixed', 'static', 'Flat')): # all their bytes have places
            continue
        what, image, raw = f'{form} {options}', bed.path(form), bed.path('raw')
        bed.io(image, form, 'create', size, *options)
        bed.io(raw, 'raw', 'create', size)
        flushed = f'w 4096 1048576 3\nw {5 * M} 512 9\nf\n'
        bed.io(image, form, 'run', script=flushed + f'w {37 * M} 100352 7\nk\n')
        bed.io(raw, 'raw', 'run', script=flushed)
        check_same(bed, raw, image, form, what)
        bed.io(raw, 'raw', 'run', script=f'w {33 * M} 100352 8\n')
        bed.io(image, form, 'run', script=f'w {33 * M} 100352 8\n')
        check_same(bed, raw, image, form, what)
        check_image(bed, image, form, checks, what)


def case_geometry(bed):
    """Virtual PC's disks have cylinders: the same size as QEMU's, whatever was asked for."""
    sizes = [512, 34816, 35328, 10 * M, 504 * M, 505 * M, 8 * G, 33 * G + 512, 127 * G, 128 * G, 2040 * G - 512, 2040 * G - 512 * 1000]
    for size in sizes:
        for options in [], ['force_size=on']:
            ours, theirs = bed.path('vpc'), bed.path('vpc')
            bed.io(ours, 'vpc', 'create', size, *options)
            tool('qemu-img', 'create', '-f', 'vpc', *with_options(options), theirs, size)
            a, b = (check_info(bed, image, 'vpc', f'vpc {options} of {size}')[0]['size'] for image in (ours, theirs))
            check(a == b, f'vpc {options} of {size}: our size is {a}, QEMU\'s {b}')
            with open(ours, 'rb') as x, open(theirs, 'rb') as y:
                f, g = x.read(512), y.read(512)
            check(f[28:32] + f[40:64] == g[28:32] + g[40:64], f'vpc {options} of {size}: another footer', f.hex(), g.hex())
    bed.refused('2040 GiB', bed.path('vpc'), 'vpc', 'create', 2041 * G)


def footer_with(footer, at, data):
    """A VHD footer with these bytes and the right sum."""
    f = footer[:at] + data + footer[at + len(data):]
    f = f[:64] + bytes(4) + f[68:]
    return f[:64] + struct.pack('>I', ~sum(f) & 0xffffffff) + f[68:]


def case_creators(bed):
    """Whether a VHD has its size by geometry depends on who made it."""
    image = bed.path('vpc')
    tool('qemu-img', 'create', '-f', 'vpc', image, 10 * M)
    with open(image, 'rb') as f:
        good = f.read()
    for creator in b'win ', b'd2v ', b'qem2', b'tap\0', b'CTXS', b'vpc ', b'qemu', b'vbox':
        footer = footer_with(footer_with(good[:512], 28, creator), 48, struct.pack('>Q', 9 * M))
        with open(image, 'wb') as f:
            f.write(footer + good[512:-512] + footer)
        check_info(bed, image, 'vpc', f'vpc of {creator}')


def case_vpc_footers(bed):
    """One of the two footers is enough; a fixed disk's first sector is the guest's."""
    image = bed.path('vpc')
    bed.io(image, 'vpc', 'create', 9 * M)
    with open(image, 'rb') as f:
        good = f.read()
    for broken in good[:-512] + bytes(512), bytes(512) + good[512:]:
        with open(image, 'wb') as f:
            f.write(broken)
        bed.io(image, 'vpc', 'info')
    with open(image, 'wb') as f:
        f.write(bytes(512) + good[512:-512] + bytes(512))
    bed.refused('no footer', image, 'vpc', 'info')
    with open(image, 'wb') as f:
        f.write(footer_with(good[:512], 60, struct.pack('>I', 4)) + good[512:-512] + footer_with(good[-512:], 60, struct.pack('>I', 4)))
    bed.refused('differencing', image, 'vpc', 'info')
    fixed = bed.path('vpc')
    bed.io(fixed, 'vpc', 'create', M, 'subformat=fixed', 'force_size=on')
    with open(fixed, 'r+b') as f:
        f.write(good[:1536])
    ours = bed.io(fixed, 'vpc', 'info').stdout
    check(f'size {M}\n' in ours, 'a footer in a guest\'s first sector is believed', ours)


def case_marks(bed):
    """What a first write has to change beside data: a VHD's bitmap of sectors, a VHDX's identities, a VMDK's CID; nothing before it."""
    for form, size in ('vpc', 9 * M), ('vhdx', 9 * M), ('vmdk', 9 * M):
        image = bed.path(form)
        bed.io(image, form, 'create', size)
        bed.io(image, form, 'run', script='w 0 512 1\n')
        with open(image, 'r+b') as f:
            if form == 'vpc': # the first block's bitmap: the first sector alone
                f.seek(2048)
                check(f.read(512) == b'\xff' * 512, 'a new block has no bitmap')
                f.seek(2048)
                f.write(b'\x80' + bytes(511))
            f.seek(0)
            before = f.read()
        bed.io(image, form, 'run', script='f\n')
        with open(image, 'rb') as f:
            check(f.read() == before, f'{form}: opening changes the file')
        bed.io(image, form, 'run', script='w 512 512 1\n')
        with open(image, 'rb') as f:
            after = f.read()
        if form == 'vpc':
            check(after[2048:2560] == b'\xff' * 512, 'the bitmap is the old one')
        elif form == 'vhdx':
            for at in 65536, 131072:
                check(after[at + 16:at + 48] not in (before[65536 + 16:65536 + 48], before[131072 + 16:131072 + 48]), 'a VHDX has its old identity')
        else:
            at = before.index(b'CID=')
            check(before[at:at + 12] != after[at:at + 12] and before[:at] == after[:at], 'a VMDK has its old CID')


def case_vdi_check(bed):
    """Faults of a table are found, and a wrong count mended."""
    image = bed.path('vdi')
    bed.io(image, 'vdi', 'create', 9 * M)
    bed.io(image, 'vdi', 'run', script=f'w 0 512 1\nw {M} 512 2\nw {5 * M} 512 2\n')
    with open(image, 'rb') as f:
        good = f.read()

    def changed(at, value):
        with open(image, 'wb') as f:
            f.write(good[:at] + struct.pack('<I', value) + good[at + 4:])
        return bed.io(image, 'vdi', 'check', good=False)
    for at, value, words in (512, 77, 'place 77'), (512, 1, 'another one has as well'), (0x184, 5, 'counts 5'):
        done = changed(at, value)
        check(done.returncode == 2 and words in done.stdout, f'vdi check does not find {words}', done.stdout, done.stderr)
    bed.io(image, 'vdi', 'fix')
    bed.io(image, 'vdi', 'check')
    tool('qemu-img', 'check', '-f', 'vdi', image)
    changed(512, 77)
    bed.refused('block 0 is at place 77', image, 'vdi', 'run')
    changed(0x4c, 4)
    bed.refused('differencing', image, 'vdi', 'info')
    changed(0x1b8, 4)
    bed.refused('stands on another image', image, 'vdi', 'info')


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def with_crc(data):
    data = data[:4] + bytes(4) + data[8:]
    return data[:4] + struct.pack('<I', crc32c(data)) + data[8:]


GUID = bytes(range(1, 17))


def log_entry(sequence, tail, changes):
    """changes: (offset, 4096 bytes or a number of zeroes)"""
    descriptors, sectors = b'', b''
    for offset, what in changes:
        if isinstance(what, int):
            descriptors += b'zero' + struct.pack('<IQQQ', 0, what, offset, sequence)
            continue
        descriptors += b'desc' + what[-4:] + what[:8] + struct.pack('<QQ', offset, sequence)
        sectors += b'data' + struct.pack('<I', sequence >> 32) + what[8:-4] + struct.pack('<I', sequence & 0xffffffff)
    head = b'loge' + struct.pack('<IIIQII', 0, 4096 + len(sectors), tail, sequence, len(changes), 0) + GUID + struct.pack('<QQ', 0, 0)
    return with_crc((head + descriptors).ljust(4096, b'\0') + sectors)


def vhdx_with_log(good, entries):
    """entries: (offset in the log, bytes); what goes beyond its end comes to its start."""
    image, size = bytearray(good), M
    current = max((65536, 131072), key=lambda at: good[at + 8:at + 16][::-1])
    image[current:current + 4096] = with_crc(good[current:current + 48] + GUID + good[current + 64:current + 4096])
    image[M:2 * M] = bytes(M)
    for at, entry in entries:
        for i in range(0, len(entry), 4096):
            image[M + (at + i) % size:M + (at + i) % size + 4096] = entry[i:i + 4096]
    return bytes(image)


def case_vhdx_log(bed):
    """A log that is not empty is replayed, in memory or in the file, to the same that QEMU makes of it."""
    image, raw = bed.path('vhdx'), bed.path('raw')
    bed.io(image, 'vhdx', 'create', 9 * M, 'block_size=1M')
    bed.io(image, 'vhdx', 'run', script=f'w 0 512 1\nw {3 * M} 5120 2\nw {8 * M} 512 3\n')
    tool('qemu-img', 'convert', '-O', 'raw', image, raw)
    with open(image, 'rb') as f:
        good = f.read()
    bat = good[2 * M:2 * M + 4096]
    old = bytearray(good)
    old[2 * M:2 * M + 4096] = struct.pack('<Q', 2) * 512 # all blocks zeroes
    half = bat[:16] + struct.pack('<Q', 2) * 510
    last = M - 8192
    cases = [
        ('one entry', [(0, log_entry(5, 0, [(2 * M, bat)]))]),
        ('a wrong one first', [(0, log_entry(1, 0, [(2 * M, half)])), (8192, log_entry(7, 8192, [(2 * M, bat)]))]),
        ('three that wrap', [(last, log_entry(5, last, [(2 * M, half)])), (0, log_entry(6, last, [(2 * M, 4096), (3 * M - 4096, half)])),
                             (8192, log_entry(7, last, [(2 * M, bat)]))]),
        ('a gap before the newest', [(0, log_entry(5, 0, [(2 * M, bat)])), (8192, log_entry(7, 0, [(2 * M, half)]))]),
        ('one that wraps', [(M - 4096, log_entry(9, M - 4096, [(2 * M, bat)]))]),
    ]
    for name, entries in cases:
        ours, theirs = bed.path('vhdx'), bed.path('vhdx')
        for path in ours, theirs:
            with open(path, 'wb') as f:
                f.write(vhdx_with_log(bytes(old), entries))
        if 'gap' not in name: # QEMU does not ask whether the tail is in the sequence, as [MS-VHDX] has it
            tool('qemu-img', 'check', '-r', 'all', '-f', 'vhdx', theirs)
            tool('qemu-img', 'compare', '-f', 'raw', '-F', 'vhdx', raw, theirs)
        dumped = bed.path('dump')
        bed.io(ours, 'vhdx', 'dump', dumped)
        tool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', raw, dumped)
        with open(ours, 'rb') as f:
            check(f.read() == vhdx_with_log(bytes(old), entries), f'{name}: reading changed the file')
        bed.io(ours, 'vhdx', 'run', script='')
        check_same(bed, raw, ours, 'vhdx', name)
    broken = bytearray(log_entry(5, 0, [(2 * M, bat)]))
    broken[5000] ^= 1
    for name, entries, words in [
            ('data', [(0, log_entry(5, 0, [(6 * M, bat)]))], 'more than the block table'),
            ('headers', [(0, log_entry(5, 0, [(65536, bat)]))], 'changes what it may not')]:
        with open(image, 'wb') as f:
            f.write(vhdx_with_log(bytes(old), entries))
        bed.refused(words, image, 'vhdx', 'info')
    with open(image, 'wb') as f: # no good entry: nothing was begun
        f.write(vhdx_with_log(good, [(0, bytes(broken))]))
    bed.io(image, 'vhdx', 'run', script='')
    check_same(bed, raw, image, 'vhdx', 'a bad entry')


def case_vhdx_check(bed):
    """Faults of the table; a header that is bad; parents."""
    image = bed.path('vhdx')
    bed.io(image, 'vhdx', 'create', 9 * M, 'block_size=1M')
    bed.io(image, 'vhdx', 'run', script=f'w 0 512 1\nw {3 * M} 512 2\n')
    with open(image, 'rb') as f:
        good = f.read()

    def write(*changes):
        data = bytearray(good)
        for at, new in changes:
            data[at:at + len(new)] = new
        with open(image, 'wb') as f:
            f.write(data)
    where = good[2 * M:2 * M + 8]
    for entry, words in [(where, 'in common'), (struct.pack('<Q', 99 * M | 6), 'beyond the end'), (struct.pack('<Q', 2 * M | 6), 'own structures'),
                         (struct.pack('<Q', 7), 'makes no sense')]:
        write((2 * M + 24, entry))
        done = bed.io(image, 'vhdx', 'check', good=False)
        check(done.returncode == 2 and words in done.stdout, f'vhdx check does not find "{words}"', done.stdout, done.stderr)
    for changes, words in [([(65536, b'x')], None), ([(131072, b'x')], None), ([(65536, b'x'), (131072, b'x')], 'neither of its headers'),
                           ([(196608, b'x')], None), ([(196608, b'x'), (262144, b'x')], 'neither of its lists'),
                           ([(3 * M + 65536 + 4, b'\2')], 'differencing'), ([(3 * M + 65536 + 2, b'\x11')], 'power of two'),
                           ([(3 * M + 65536 + 8, b'\1')], 'whole sectors'), ([(3 * M, b'x')], 'metadata is not where')]:
        write(*changes)
        if words:
            bed.refused(words, image, 'vhdx', 'info')
        else:
            bed.io(image, 'vhdx', 'info')


def case_vmdk_info(bed):
    """What qemu-img info says of a VMDK, we say."""
    for options in (options for form, options, _ in KINDS + THEIRS if form == 'vmdk'):
        image = bed.path('vmdk')
        tool('qemu-img', 'create', '-f', 'vmdk', *with_options(options), image, 9 * M)
        ours, theirs = check_info(bed, image, 'vmdk', f'vmdk {options}')
        data = theirs['format-specific']['data']
        words = [str(data['cid']), str(data['parent-cid']), f"'{data['create-type']}'"]
        words += [f"'{e[key]}'" if isinstance(e[key], str) else str(e[key]).lower() for e in data['extents'] for key in e]
        check(all(word in ours['members'] for word in words), f'vmdk {options}: something is not said', ours, data)


def case_stream(bed):
    """streamOptimized: written once, in any order; both read it, and it has the marks of a stream."""
    for size in 512, 9 * M + 512, 70 * M:
        image, raw = bed.path('vmdk'), bed.path('raw')
        bed.io(image, 'vmdk', 'create', size, 'subformat=streamOptimized', 'adapter_type=lsilogic')
        bed.io(raw, 'raw', 'create', size)
        check_same(bed, raw, image, 'vmdk', 'an empty stream')
        grain, order = 64 * K, random.Random(size)
        grains = [at for at in range(0, size, grain) if order.randrange(3)] or [0]
        order.shuffle(grains)
        lines = [f'c {at} {min(grain, size - at)} {at // grain % 200}' for at in grains]
        lines.insert(len(lines) // 2, 'f')
        bed.io(image, 'vmdk', 'run', script='\n'.join(lines) + '\n')
        bed.io(raw, 'raw', 'run', script='\n'.join(lines).replace('c', 'w') + '\n')
        check_same(bed, raw, image, 'vmdk', f'a stream of {size}')
        check_info(bed, image, 'vmdk', f'a stream of {size}')
        with open(image, 'rb') as f:
            data = f.read()
        check(data[56:64] == b'\xff' * 8 and data[-512:] == bytes(512) and data[-1024:-1020] == b'KDMV' and
              struct.unpack('<QII', data[-1536:-1520]) == (1, 0, 3), 'a stream has no footer')
        check(bed.io(image, 'vmdk', 'map').stdout.count('compressed') == len(grains), 'a stream has other grains')
        bed.refused('written once', image, 'vmdk', 'run')
    image = bed.path('vmdk')
    bed.io(image, 'vmdk', 'create', M, 'subformat=streamOptimized')
    for script in 'c 512 65536 1\n', 'c 0 512 1\n', 'w 0 65536 1\nw 0 65536 2\n':
        done = bed.io(image, 'vmdk', 'run', script=script, good=False)
        check(done.returncode == 1 and 'not supported' in done.stderr, f'a stream takes {script}', done.stderr)
        image = bed.path('vmdk')
        bed.io(image, 'vmdk', 'create', M, 'subformat=streamOptimized')


def case_vmdk_parents(bed):
    """Images that stand on others, made by us and by QEMU: what is written has the parent's bytes around it; the parent's bytes
    are found by both, and zeroes are not the parent's. A parent that has changed is not taken for what it was."""
    size = 5 * M
    raw, base = make_raw(bed, size, 3), bed.path('base')
    tool('qemu-img', 'convert', '-f', 'raw', '-O', 'vmdk', raw, base)
    for number, options in enumerate([[], ['subformat=twoGbMaxExtentSparse'], ['zeroed_grain=on']]):
        ours, theirs = bed.path('ours'), bed.path('theirs')
        bed.io(ours, 'vmdk', 'create', size, *options, f'backing={base}', 'backing-format=vmdk')
        tool('qemu-img', 'create', '-f', 'vmdk', *with_options(options), '-b', base, '-F', 'vmdk', theirs)
        for image in ours, theirs:
            what, now = f'{options}, {image}', bed.path('raw')
            check_same(bed, raw, image, 'vmdk', what)
            shutil.copy(raw, now)
            for seed in range(3):
                script = random_script(10 * number + seed, size, ops='wwwwzf')
                bed.io(now, 'raw', 'run', script=script)
                bed.io(image, 'vmdk', 'run', script=script)
                check_same(bed, now, image, 'vmdk', what)
            tool('qemu-io', '-f', 'vmdk', '-c', 'write -P 9 1000k 5k', image)
            tool('qemu-io', '-f', 'raw', '-c', 'write -P 9 1000k 5k', now)
            check_same(bed, now, image, 'vmdk', what)
            check(bed.io(image, 'vmdk', 'check').returncode == 0, f'{what}: faults')
    fails = bed.path('fails')
    for more, words in [(['backing-format=raw'], 'backing_file must be a vmdk image'),
                        (['backing-format=vmdk', 'subformat=monolithicFlat'], "Flat image can't have backing file")]:
        bed.refused(words, fails, 'vmdk', 'create', size, f'backing={base}', *more)
    bed.io(base, 'vmdk', 'run', script='w 0 512 1\n')
    bed.refused('was written to since', ours, 'vmdk', 'info')


def case_vmdk_refused(bed):
    """Files of other directories, parents, and what we do not know."""
    flat = os.path.join(bed.folder, 'x-flat.vmdk')
    with open(flat, 'wb') as f:
        f.truncate(M)
    text = '# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 2048 FLAT "x-flat.vmdk" 0\n'
    image = bed.path('vmdk')
    for old, new, words in [('x-flat', '/etc/x-flat', 'not a file of its own directory'), ('x-flat', '../x-flat', 'own directory'),
                            ('x-flat', 'sub/x-flat', 'own directory'), ('x-flat.vmdk', '..', 'own directory'),
                            ('RW 2048', 'RW 2049', 'cut off'), ('RW 2048', 'RW 99999999999999999999', 'makes no sense'),
                            ('RW ', 'RDONLY ', 'read only'), ('RW ', 'NOACCESS ', 'not supported'), ('FLAT', 'SESPARSE', 'SESPARSE'),
                            ('ffffffff', '12345678', 'stands on another image'), ('createType', 'created', 'createType')]:
        with open(image, 'w', encoding='ascii') as f:
            f.write(text.replace(old, new))
        bed.refused(words, image, 'vmdk', 'run')
    with open(image, 'w', encoding='ascii') as f:
        f.write(text + 'RW 2048 ZERO\n')
    check('size 2097152' in bed.io(image, 'vmdk', 'info').stdout, 'an extent of zeroes is not there')
    bed.io(image, 'vmdk', 'run', script=f'w {M - 512} 512 5\n')
    with open(image, encoding='ascii') as f:
        check('CID=12345678' not in f.read(), 'the CID is the old one')
    bed.refused('give one of them', bed.path('vmdk'), 'vmdk', 'create', M, 'compat6=on', 'hwversion=7')
    bed.refused('without quotes', bed.path('a"b'), 'vmdk', 'create', M)


def case_vmdk_check(bed):
    """Grains and tables that are not in the file are found."""
    image = bed.path('vmdk')
    bed.io(image, 'vmdk', 'create', 9 * M)
    bed.io(image, 'vmdk', 'run', script=f'w 0 512 1\nw {5 * M} 512 2\n')
    bed.io(image, 'vmdk', 'check')
    with open(image, 'rb') as f:
        good = f.read()
    directory = struct.unpack_from('<Q', good, 56)[0] * 512
    table = struct.unpack_from('<I', good, directory)[0] * 512
    for at, words in (directory, 'grain table 0'), (table, 'grain 0'), (table + 4 * 80, 'grain 80'):
        with open(image, 'wb') as f:
            f.write(good[:at] + struct.pack('<I', 1 << 20) + good[at + 4:])
        done = bed.io(image, 'vmdk', 'check', good=False)
        check(done.returncode == 2 and words in done.stdout, f'vmdk check does not find {words}', done.stdout, done.stderr)


def case_vmdk_split(bed):
    """More than one extent of 2 GiB, and writes across their border."""
    for options in ['subformat=twoGbMaxExtentFlat'], ['subformat=twoGbMaxExtentSparse']:
        image, raw, size, script = bed.path('vmdk'), bed.path('raw'), 5 * G + 512, f'w {2 * G - 4096} 8192 9\nw {4 * G - 512} 100352 8\nz {2 * G - 512} 1024 1\n'
        for path, form, *more in (image, 'vmdk', *options), (raw, 'raw'):
            bed.io(path, form, 'create', size, *more)
            bed.io(path, form, 'run', script=script)
        check_info(bed, image, 'vmdk', f'vmdk {options}')
        tool('qemu-img', 'compare', '-f', 'raw', '-F', 'vmdk', raw, image)
        with open(image, encoding='ascii') as f:
            check(f.read().count('RW ') == 3, f'vmdk {options} has not three extents')


def case_large(bed):
    """Far offsets: more than one chunk of a VHDX, many tables, numbers beyond 32 bits."""
    size, places = 9 * G, [0, 2 * G - 4096, 4 * G - 4096, 4 * G + 5 * M, 8 * G - 4096, 8 * G + 700 * K, 9 * G - 8192]
    for form, options, checks in KINDS:
        if any(word in ' '.join(options) for word in ('fixed', 'static', 'Flat')):
            continue
        what, ours, theirs, raw = f'{form} {options}', bed.path(form), bed.path(form), bed.path('raw')
        bed.io(ours, form, 'create', size, *options)
        tool('qemu-img', 'create', '-f', form, *with_options(options), theirs, size)
        bed.io(raw, 'raw', 'create', size)
        script = ''.join(f'w {at} 8192 {i + 1}\n' for i, at in enumerate(places))
        for path, f in (ours, form), (raw, 'raw'):
            bed.io(path, f, 'run', script=script)
        tool('qemu-img', 'compare', '-f', 'raw', '-F', form, raw, ours)
        check_image(bed, ours, form, checks, what)
        commands = [word for i, at in enumerate(places) for word in ('-c', f'write -P {i + 1} {at} 8k')]
        tool('qemu-io', '-f', form, *commands, theirs)
        bed.io(theirs, form, 'run', script=''.join(f'e {at} 8192 {i + 1}\ne {at + 8192} 512 0\n' for i, at in enumerate(places[:-1])))
        check_image(bed, theirs, form, checks, what)


def case_ova(bed):
    """The disk of an OVA, of every kind of tar; which one, if there are two."""
    raw, disk = make_raw(bed, 9 * M, 5), os.path.join(bed.folder, 'a-disk1.vmdk')
    tool('qemu-img', 'convert', '-f', 'raw', '-O', 'vmdk', '-o', 'subformat=streamOptimized', raw, disk)
    text = os.path.join(bed.folder, 'a.ovf')
    with open(text, 'w', encoding='ascii') as f:
        f.write('<Envelope/>' * 100)
    long = os.path.join(bed.folder, 'n' * 120 + '.vmdk')
    shutil.copy(disk, long)

    def make(names, form, **more):
        ova = bed.path('ova')
        with tarfile.open(ova, 'w', format=form) as tar:
            for name in names:
                tar.add(name, os.path.basename(name), **more)
        return ova
    for form in tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT:
        for name in (disk, long) if form != tarfile.USTAR_FORMAT else (disk,):
            ova, dumped = make([text, name], form), bed.path('dump')
            for image_format in 'auto', 'vmdk':
                bed.io(ova, image_format, 'dump', dumped)
                tool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', raw, dumped)
    two = make([text, disk, long], tarfile.GNU_FORMAT)
    bed.refused('has 2 disks; name one of them with member=: a-disk1.vmdk, nnn', two, 'auto', 'info')
    os.environ['MEMBER'] = 'a-disk1.vmdk'
    bed.io(two, 'vmdk', 'dump', dumped)
    bed.refused('can only be read', two, 'vmdk', 'run')
    os.environ['MEMBER'] = 'b.vmdk'
    bed.refused("no file 'b.vmdk'", two, 'vmdk', 'info')
    del os.environ['MEMBER']
    tool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', raw, dumped)
    bed.refused('has no disk', make([text], tarfile.GNU_FORMAT), 'auto', 'info')
    with open(two, 'r+b') as f:
        f.truncate(65536)
    bed.refused('cut off', two, 'auto', 'info')
    with open(two, 'r+b') as f:
        f.write(b'b')
    bed.refused('makes no sense', two, 'auto', 'info')
    check('size 65536' in bed.io(two, 'raw', 'info').stdout, 'an OVA is not raw when that is said')


def case_convert(bed):
    """kv-img makes every kind from a raw file, and a raw file of it again; its info says what qemu-img's does."""
    kv_img = os.environ.get('KV_IMG')
    if not kv_img:
        raise Skipped('KV_IMG does not say where kv-img is')
    raw = make_raw(bed, 9 * M + 512, 11)
    stream = ('vmdk', ['subformat=streamOptimized'], True)
    for form, options, checks, *more in [*KINDS, stream, (*stream, '-c')]:
        what, image, back = f'{form} {options} {more}', bed.path(form), bed.path('raw')
        tool(kv_img, 'convert', '-f', 'raw', '-O', form, *more, *with_options(options), raw, image)
        check_same(bed, raw, image, form, what)
        check_image(bed, image, form, checks, what)
        tool(kv_img, 'convert', '-f', form, '-O', 'raw', image, back)
        tool('qemu-img', 'compare', '-f', 'raw', '-F', form, back, image)
        ours, theirs = (json.loads(tool(img, 'info', '-f', form, '--output=json', image).stdout) for img in (kv_img, 'qemu-img'))
        for key in 'virtual-size', 'format', 'cluster-size', 'format-specific', 'actual-size':
            check(ours.get(key) == theirs.get(key), f'{what}: info has another {key}', ours, theirs)
    with open(raw, 'rb') as f: # grains come in order, for readers that cannot seek
        data = f.read()
    grains = [int(line.split()[0]) for line in bed.io(image, 'vmdk', 'map').stdout.splitlines() if line.endswith('compressed')]
    check(grains and len(grains) < len(data) // 65536, 'a stream has no grains, or grains of zeroes')
    with open(image, 'rb') as f:
        f.seek(65536)
        for grain in grains:
            at = f.tell()
            lba, size = struct.unpack('<QI', f.read(12))
            check(lba * 512 == grain, f'grain {grain} is not the next in the stream, but {lba * 512}')
            f.seek(at + (12 + size + 511) // 512 * 512)


if __name__ == '__main__':
    if os.access('/dev/shm', os.W_OK): # for the many flushes
        tempfile.tempdir = '/dev/shm'
    sys.exit(run(globals(), sys.argv[2:], lambda folder: Bed(folder, sys.argv[1])))
