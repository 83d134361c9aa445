# SPDX-License-Identifier: GPL-2.0-or-later
"""kv-img against qemu-img: whole commands on the same files, warm in the page cache, one tool after the other in each round.
Called by bench/run (images)."""
import collections
import contextlib
import os
import random
import shlex
import shutil
import subprocess
import sys
import time

from . import fragmented, report

MIB = 1 << 20
SIZE = 4096  # MiB, every second one data
TEXT = 128  # MiB to compress

# name, command; what it makes is removed before
LARGE = (
    ('convert raw to qcow2', '{tool} convert -O qcow2 data.raw made'),
    ('convert qcow2 to raw', '{tool} convert -O raw data.qcow2 made'),
    ('convert -c, zlib', '{tool} convert -c -O qcow2 text.raw made'),
    ('convert -c, zstd', '{tool} convert -c -O qcow2 -o compression_type=zstd text.raw made'),
    ('convert from zlib', '{tool} convert -O raw packed.qcow2 made'),
    ('compare raw with qcow2', '{tool} compare data.raw data.qcow2'),
    ('check', '{tool} check data.qcow2'),
    ('check, 64 GiB, fragmented', '{tool} check fragmented.qcow2'),
)
# File systems where files can share blocks: xfs writes a log of each extent that is shared, btrfs takes a file of them at once.
SHARES = ('xfs', 'btrfs')
SHARED = (
    ('convert raw to qcow2', '{tool} convert -O qcow2 data.raw made'),
    ('convert qcow2 to raw', '{tool} convert -O raw data.qcow2 made'),
    ('convert raw to raw', '{tool} convert -O raw data.raw made'),
    ('convert qcow2 to qcow2', '{tool} convert -O qcow2 data.qcow2 made'),
)
SMALL = (
    ('create', '{tool} create -q -f qcow2 made 1G'),
    ('info', '{tool} info small.qcow2'),
    ('map', '{tool} map small.qcow2'),
    ('resize', '{tool} resize -q small.qcow2 1G'),
    ('snapshot -c', '{tool} snapshot -c made small.qcow2'),
    (None, 'qemu-io -c "write 0 64k" small.qcow2'),  # that there is something to go back from; not a row
    ('snapshot -l', '{tool} snapshot -l small.qcow2'),
    ('snapshot -a', '{tool} snapshot -a made small.qcow2'),
    ('snapshot -d', '{tool} snapshot -d made small.qcow2'),
)
SMALL_TIMES = 20


def fill(folder):
    """Data between holes, of lengths that do not fit clusters; what is compressed are programs."""
    noise = random.Random(1)
    block = noise.randbytes(MIB)
    with open(f'{folder}/data.raw', 'wb') as file:
        file.truncate(SIZE * MIB)
        for at in range(0, SIZE, 2):
            file.seek(at * MIB)
            file.write(block[:MIB - noise.randrange(0, 64 << 10, 4096)])
    with open(f'{folder}/text.raw', 'wb') as out:
        for path in sorted(os.listdir('/usr/bin')):
            path = f'/usr/bin/{path}'
            if out.tell() < TEXT * MIB and os.path.isfile(path):
                with open(path, 'rb') as file:
                    shutil.copyfileobj(file, out)
        out.truncate(TEXT * MIB)
    fragmented.make(f'{folder}/fragmented.qcow2', 64 << 30, 2 << 30)
    for command in ('convert -O qcow2 data.raw data.qcow2', 'convert -c -O qcow2 text.raw packed.qcow2', 'create -q -f qcow2 small.qcow2 1G'):
        subprocess.run(['qemu-img', *command.split()], cwd=folder, check=True)


def seconds(command, folder, times):
    words = shlex.split(command)
    total = 0
    for _ in range(times):
        if 'made' in words[-2:] and os.path.exists(f'{folder}/made'):
            os.unlink(f'{folder}/made')
        before = time.perf_counter()
        subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        total += time.perf_counter() - before
    return total / times


@contextlib.contextmanager
def mounted(folder, kind):
    """A new file system with the large files, in one of them; None where that cannot be made."""
    place = f'{folder}/{kind}'
    os.mkdir(place)
    commands = f'truncate -s 16G {place}.img && mkfs.{kind} -q {place}.img && mount -o loop {place}.img {place}'
    if subprocess.run(commands, shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        print(f'images: no {kind} (it takes root, mkfs.{kind} and a loop device): shared blocks are left out there', file=sys.stderr)
        yield None
        return
    try:
        for name in 'data.raw', 'data.qcow2':
            subprocess.run(['cp', '--sparse=always', f'{folder}/{name}', place], check=True)
        os.sync()
        yield place
    finally:
        subprocess.run(['umount', place], check=True)
        os.unlink(f'{place}.img')


def run_shared(context, tools, kind):
    rows = collections.defaultdict(lambda: collections.defaultdict(list))
    with mounted(context.folder, kind) as place:
        if not place:
            return
        for number in range(context.args.runs):
            for name, command in SHARED:
                for column, tool in list(tools.items())[::1 if number % 2 else -1]:
                    rows[name][column].append(seconds(command.format(tool=tool), place, 1))
    report.matrix(f'disk images: shared blocks, {kind}', 's', list(tools), rows, {'all': list(rows)}, context.results)


def run(context):
    tools = {'ours': os.path.abspath(f'{context.args.build}/src/img/kv-img'), 'qemu-img': 'qemu-img'}
    rows = collections.defaultdict(lambda: collections.defaultdict(list))
    small = collections.defaultdict(lambda: collections.defaultdict(list))
    fill(context.folder)
    for number in range(context.args.runs):
        # Whoever is first may get pages that a virtual machine's host has to find yet.
        order = list(tools.items())[::1 if number % 2 else -1]
        for name, command in LARGE:
            for column, tool in order:
                rows[name][column].append(seconds(command.format(tool=tool), context.folder, 1))
        for column, tool in order:  # a snapshot is made and deleted by turns
            for _ in range(SMALL_TIMES):
                for name, command in SMALL:
                    small[name][column].append(1000 * seconds(command.format(tool=tool), context.folder, 1))
        print(f'images: round {number + 1} of {context.args.runs}', file=sys.stderr)
    del small[None]
    report.matrix('disk images: whole commands', 's', list(tools), rows, {'all': list(rows)}, context.results)
    report.matrix('disk images: commands on a small one', 'ms', list(tools), small, {'all': list(small)}, context.results)
    for kind in SHARES:
        run_shared(context, tools, kind)
