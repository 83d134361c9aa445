#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kv-img against qemu-img: every line of a group (tests/interop/kv-img/GROUP) is run with both, each in a folder of its own; status,
standard output, whether there are error messages, and the images that result have to be the same.   usage: kv-img.py KV-IMG GROUP...
Exit status 77: QEMU's tools are not installed.

A line is a shell command; `img` is the tool. In front of it may stand
  ~     do not compare its standard output
  both  run QEMU's tools in both folders, to make what is worked on: `both qemu-img create ...`
  same  FILE FORMAT: the file has the same content in both folders, passes QEMU's check, and QEMU says the same of it (info)
  mine  kv-img alone, where QEMU does something else on purpose; it has to end with status 0"""
import concurrent.futures
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import cases
from cases import Skipped, check

LIMIT = 180
# What differs from run to run, or is the host's file system's business.
BLUR = [
    (r'disk size: .*', 'disk size'), (r'"actual-size": \d+', '"actual-size"'), (r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d', 'DATE'),
    (r'"date-n?sec": \d+', '"date"'), (r'(    \([\d.]+/100%\)\r)+', 'progress\r'), (r'in [\d.]+ seconds', 'in seconds'),
]


class Bed:
    def __init__(self, program, folder):
        for tool in 'qemu-img', 'qemu-io':
            if not shutil.which(tool):
                raise Skipped(f'no {tool}')
        self.program = os.path.abspath(program)
        self.folder = {'qemu': f'{folder}/qemu', 'kv': f'{folder}/kv'}
        for who, tool in ('qemu', shutil.which('qemu-img')), ('kv', self.program):
            os.mkdir(self.folder[who])
            os.mkdir(f'{folder}/{who}-bin')
            os.symlink(tool, f'{folder}/{who}-bin/img')
        self.bin, self.threads = folder, concurrent.futures.ThreadPoolExecutor(2)

    def run_both(self, command):
        """At the same time: both wait for disks most of it."""
        return dict(zip(self.folder, self.threads.map(lambda who: self.run(who, command), self.folder)))

    def run(self, who, command):
        env = dict(os.environ, PATH=f'{self.bin}/{who}-bin:{os.environ["PATH"]}', LC_ALL='C', TZ='UTC')
        return subprocess.run(['bash', '-c', command], cwd=self.folder[who], env=env, stdin=subprocess.DEVNULL, timeout=LIMIT,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


def blur(data):
    text = data.decode('utf-8', 'replace')
    for pattern, instead in BLUR:
        text = re.sub(pattern, instead, text)
    return text


def show(who, done):
    return f'{who}: status {done.returncode}\n{done.stdout.decode("utf-8", "replace")}{done.stderr.decode("utf-8", "replace")}'


def line_both(bed, command):
    for who, done in bed.run_both(command).items():
        check(done.returncode == 0, f'"{command}" fails', show(who, done))


def line_same(bed, words):
    name, fmt = words.split()
    files = {who: f'{folder}/{name}' for who, folder in bed.folder.items()}
    compared = bed.run('kv', f'qemu-img compare -f {fmt} -F {fmt} {files["qemu"]} {files["kv"]}')
    check(compared.returncode == 0 and b'Warning' not in compared.stdout, f'{name} is not the same', show('qemu-img compare', compared))
    if fmt in ('qcow2', 'vdi', 'vhdx'):
        done = bed.run('kv', f'qemu-img check -f {fmt} {name}')
        check(done.returncode == 0, f'{name} has faults', show('qemu-img check', done))
    info = {who: blur(done.stdout) for who, done in bed.run_both(f'qemu-img info -f {fmt} --output=json {name}').items()}
    check(info['qemu'] == info['kv'], f'{name} is another image', info['qemu'], info['kv'])


def line_mine(bed, command):
    done = bed.run('kv', command)
    check(done.returncode == 0, f'"{command}" fails', show('kv', done))


def line_compare(bed, command, output=True):
    done = bed.run_both(command)
    both = [show(who, each) for who, each in done.items()]
    qemu, kv = done['qemu'], done['kv']
    check(qemu.returncode == kv.returncode, f'"{command}": another status', *both)
    check(not output or blur(qemu.stdout) == blur(kv.stdout), f'"{command}": other output', *both)
    check(bool(qemu.stderr) == bool(kv.stderr), f'"{command}": messages on one side only', *both)


WORDS = {'~': lambda bed, rest: line_compare(bed, rest, output=False), 'both': line_both, 'same': line_same, 'mine': line_mine}


def run_group(bed, name):
    here = os.path.dirname(os.path.abspath(__file__))
    with open(f'{here}/kv-img/{name}', encoding='utf-8') as file:
        lines = [line.strip() for line in file if line.strip() and not line.startswith('#')]
    check(lines, f'group {name} is empty')
    for line in lines:
        first, _, rest = line.partition(' ')
        if first in WORDS:
            WORDS[first](bed, rest)
        else:
            line_compare(bed, line)


def case_help(bed):
    """Each command's help fits a screen."""
    text = bed.run('kv', 'img --help').stdout.decode()
    names = re.findall(r'^  ([a-z]+) ', text, re.M)
    check(len(names) >= 15, 'too few commands', text)
    for name in names:
        done = bed.run('kv', f'img {name} --help')
        lines = done.stdout.decode().splitlines()
        check(done.returncode == 0 and len(lines) >= 2, f'{name} --help', show('kv', done))
        check(len(lines) <= 24 and max(map(len, lines)) <= 80, f'{name} --help does not fit 24 lines of 80', done.stdout.decode())


def case_start(bed):
    """It starts in a millisecond because it does not load these."""
    libraries = subprocess.run(['ldd', bed.program], stdout=subprocess.PIPE, check=True).stdout.decode()
    for word in 'libgio', 'libgobject', 'json-glib':
        check(word not in libraries, f'kv-img loads {word}', libraries)


def catches(pid, number):
    """Whether a process has a handler for a signal."""
    with open(f'/proc/{pid}/status', encoding='ascii') as file:
        return int(next(line.split()[1] for line in file if line.startswith('SigCgt')), 16) >> number - 1 & 1


def case_signal(bed):
    """SIGUSR1 prints how far a conversion is, and does not end it."""
    path = f'{bed.folder["kv"]}/signal.raw'
    with open(path, 'wb') as file:
        for at in range(0, 64 << 20, 4096):
            file.seek(at)
            file.write(b'data')
    process = subprocess.Popen([bed.program, 'convert', '-r', '32M', '-f', 'raw', path, f'{path}.out'], stderr=subprocess.PIPE)
    text, end = b'', time.monotonic() + LIMIT
    while not text and process.poll() is None and time.monotonic() < end:
        if catches(process.pid, signal.SIGUSR1) and os.path.exists(f'{path}.out') and os.stat(f'{path}.out').st_blocks:
            process.send_signal(signal.SIGUSR1)
            text = process.stderr.readline()
    check(re.fullmatch(rb'    \([\d.]+/100%\)\n', text), f'no progress: {text}')
    process.stderr.close()
    check(process.wait(LIMIT) == 0, f'status {process.returncode}')


def shares(path):
    """How many of a file's extents are shared, and all of them."""
    lines = subprocess.run(['filefrag', '-v', path], stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
    extents = [line for line in lines if re.match(r' +\d+:', line)]
    return sum('shared' in line for line in extents), len(extents)


def fill(path, blocks):
    """Data between holes that fit no cluster, and one place with zeroes that are written."""
    with open(path, 'wb') as file:
        file.truncate(64 << 20)
        for number in range(blocks):
            file.seek(number * 2 << 20 | 5 << 12)
            file.write(os.urandom(4096) * 200)
        file.seek(33 << 20)
        file.write(bytes(1 << 20))


def case_shared_blocks(bed):
    """Where a file system can, a copy has its source's blocks; it is the same and sound, and keeps its bytes when the source changes."""
    for tool in 'mkfs.xfs', 'filefrag', 'mount':
        if not shutil.which(tool):
            raise Skipped(f'no {tool}')
    folder = f'{bed.folder["kv"]}/xfs'
    os.mkdir(folder)
    commands = f'truncate -s 512M {folder}.img && mkfs.xfs -q -m reflink=1 {folder}.img && mount -o loop {folder}.img {folder}'
    if bed.run('kv', commands).returncode != 0:
        raise Skipped('cannot mount an xfs')
    try:
        fill(f'{folder}/a.raw', 20)
        for name, kind in ('hint.raw', 'raw'), ('hint.qcow2', 'qcow2'):
            done = bed.run('kv', f'cd xfs && img create -q -f {kind} -o extent_size_hint=2M {name} 8M && xfs_io -c extsize {name}')
            check(done.stdout.startswith(b'[2097152]'), f'{name} has no extent size hint', show('kv', done))
        os.sync()
        for source, name, kind, options in (
                ('a.raw', 'a.qcow2', 'qcow2', ''), ('a.qcow2', 'b.raw', 'raw', ''), ('a.raw', 'c.raw', 'raw', ''),
                ('a.qcow2', 'd.qcow2', 'qcow2', '-o cluster_size=4k'), ('a.raw', 'e.vdi', 'vdi', '')):
            done = bed.run('kv', f'cd xfs && img convert -O {kind} {options} {source} {name} && qemu-img compare -F {kind} a.raw {name}')
            check(done.returncode == 0, f'{source} to {kind}', show('kv', done))
            shared, extents = shares(f'{folder}/{name}')
            check(shared >= 20 if kind != 'vdi' else not shared, f'{source} to {kind}: {shared} of {extents} extents are shared')
            if kind == 'qcow2':
                checked = bed.run('kv', f'cd xfs && qemu-img check {name}')
                check(checked.returncode == 0, f'{name} has faults', show('qemu-img check', checked))
        # Ends of data in the middle of clusters are shared with the hole around them; what has a place already is copied.
        done = bed.run('kv', 'cd xfs && qemu-img create -q -f qcow2 g.qcow2 64M && qemu-io -c "write -z 6M 3M" -c "write -z 7M 64k" g.qcow2 && '
                             'qemu-img create -q -f qcow2 -o preallocation=metadata h.qcow2 64M && '
                             'for i in g h; do img convert -n --target-is-zero -O qcow2 a.raw $i.qcow2 && '
                             'qemu-img compare -f raw a.raw $i.qcow2 && qemu-img check $i.qcow2 || exit 1; done')
        check(done.returncode == 0, 'into images that are there', show('kv', done))
        shared, extents = shares(f'{folder}/a.qcow2')
        check(extents - shared <= 6, f'{extents - shared} of {extents} extents of a.qcow2 are its own: more than tables and zeroes')
        done = bed.run('kv', 'cd xfs && qemu-img convert -O raw a.qcow2 before && cp a.qcow2 f.qcow2 && qemu-io -f raw -c "write -P 1 0 64M" a.raw '
                             '&& qemu-img compare -F raw a.qcow2 before && qemu-io -c "write -P 2 0 64M" f.qcow2 && qemu-img check f.qcow2')
        check(done.returncode == 0, 'a copy changes with its source', show('kv', done))
    finally:
        bed.run('kv', f'umount {folder}')


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    groups = {f'case_{name}': lambda bed, name=name: run_group(bed, name) for name in os.listdir(f'{here}/kv-img')}
    functions = {name: value for name, value in globals().items() if name.startswith('case_')}
    return cases.run({**functions, **groups}, sys.argv[2:], lambda folder: Bed(sys.argv[1], folder))


if __name__ == '__main__':
    sys.exit(main())
