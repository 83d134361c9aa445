#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kv-img serve against NBD clients that others wrote (QEMU, libnbd), and NBD exports as images of ours against servers that others
wrote (QEMU, nbdkit).   usage: kv-nbd.py KV-IMG [CASE]...
Exit status 77: their programs are not installed."""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import cases
import certs
from cases import Skipped, check, listens

LIMIT = 180
MIB = 1 << 20
TOOLS = 'qemu-img', 'qemu-io', 'qemu-nbd', 'nbdinfo', 'nbdcopy'
# The disk of most cases: data, a hole, data, zeroes that have room, a hole.
SIZE = 64 * MIB
FILL = ('write -P 1 0 3M', 'write -P 2 20M 100k', 'write -z 30M 2M', 'write -P 3 63M 1M')


class Bed:
    def __init__(self, program, folder):
        for tool in TOOLS:
            if not shutil.which(tool):
                raise Skipped(f'no {tool}')
        self.img = os.path.abspath(program)
        self.folder = folder
        self.running = []

    def path(self, name):
        return f'{self.folder}/{name}'

    def run(self, *words, status=0):
        done = subprocess.run(words, cwd=self.folder, timeout=LIMIT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False, text=True)
        check(done.returncode == status, f'"{" ".join(words)}" ends with {done.returncode}', done.stdout, done.stderr)
        return done.stdout if status == 0 else done.stderr

    def kv(self, *words, **more):
        return self.run(self.img, *words, **more)

    def start(self, words, sock):
        """A server; it listens when this returns."""
        if os.path.exists(sock):
            os.unlink(sock)
        process = subprocess.Popen(words, cwd=self.folder, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.running.append(process)
        end = time.monotonic() + LIMIT
        while not listens(sock):
            check(process.poll() is None and time.monotonic() < end, f'{words[0]} does not start',
                  process.stderr.read().decode() if process.poll() is not None else '')
            time.sleep(.005)
        return process

    def serve(self, *options, sock='s'):
        return self.start([self.img, 'serve', '-k', self.path(sock), *options], self.path(sock))

    def uri(self, sock='s', export=''):
        return f'nbd+unix:///{export}?socket={self.path(sock)}'

    def stop(self, process, number=signal.SIGTERM):
        process.send_signal(number)
        return self.ended(process)

    def ended(self, process):
        status = process.wait(LIMIT)
        check(status == 0, f'a server ends with {status}', process.stderr.read().decode())
        return process.stderr.read().decode()

    def disk(self, name, fmt):
        self.run('qemu-img', 'create', '-q', '-f', fmt, name, str(SIZE))
        self.run('qemu-io', '-f', fmt, *(word for command in FILL for word in ('-c', command)), name)

    def same(self, a, b, fmt_a='raw', fmt_b='raw'):
        self.run('qemu-img', 'compare', '-f', fmt_a, '-F', fmt_b, a, b)


def merged(rows):
    """Runs of zeroes and of data, as (start, length, zero)."""
    out = []
    for start, length, zero in rows:
        if out and out[-1][2] == zero and out[-1][0] + out[-1][1] == start:
            out[-1] = (out[-1][0], out[-1][1] + length, zero)
        else:
            out.append((start, length, zero))
    return out


def nbd_map(bed, context='base:allocation', uri=None):
    return json.loads(bed.run('nbdinfo', f'--map={context}', '--json', uri or bed.uri()))


def case_info(bed):
    bed.disk('a', 'qcow2')
    process = bed.serve('-f', 'qcow2', '-x', 'an export', '-D', 'its description', '-A', '-e', '5', '-t', 'a')
    export = json.loads(bed.run('nbdinfo', '--json', '--list', bed.uri()))['exports'][0]
    for name, value in {'export-name': 'an export', 'description': 'its description', 'export-size': SIZE, 'is_read_only': False,
                        'can_trim': True, 'can_zero': True, 'can_flush': True, 'can_fua': True, 'can_df': True, 'can_cache': True,
                        'can_multi_conn': True, 'can_fast_zero': True}.items():
        check(export[name] == value, f'{name} is {export[name]}')
    check(export['contexts'] == ['base:allocation', 'qemu:allocation-depth'], 'contexts', export)
    info = json.loads(bed.run('qemu-img', 'info', '--output=json', f'nbd:unix:{bed.path("s")}:exportname=an export'))
    check(info['virtual-size'] == SIZE, 'size', info)
    bed.run('nbdinfo', bed.uri(export='nobody'), status=1)
    bed.stop(process)
    check(not os.path.exists(bed.path('s')), 'the socket is left')
    process = bed.serve('-r', '-f', 'raw', 'a')
    export = json.loads(bed.run('nbdinfo', '--json', bed.uri()))['exports'][0]
    check(export['is_read_only'] and not export['can_multi_conn'] and not export['can_trim'], 'read only', export)
    bed.ended(process)  # it was the last client
    # socket activation
    bed.run('nbdinfo', '--', '[', bed.img, 'serve', '-r', '-f', 'qcow2', 'a', ']')


def case_map(bed):
    """Block status is what kv-img map says, and what qemu-nbd says."""
    bed.disk('base', 'qcow2')
    bed.run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base', '-F', 'qcow2', 'top')
    bed.run('qemu-io', '-f', 'qcow2', '-c', 'write -P 5 10M 1M', '-c', 'write -z 1M 1M', 'top')
    bed.run('qemu-img', 'convert', '-O', 'raw', 'base', 'flat')
    for fmt, name in ('qcow2', 'top'), ('raw', 'flat'), ('qcow2', 'base'):
        process = bed.serve('-r', '-A', '-t', '-f', fmt, name)
        ours = nbd_map(bed)
        depth = nbd_map(bed, 'qemu:allocation-depth')
        bed.stop(process)
        rows = json.loads(bed.kv('map', '--output=json', '-f', fmt, name))
        check(merged((e['offset'], e['length'], bool(e['type'] & 2)) for e in ours) ==
              merged((e['start'], e['length'], e['zero']) for e in rows), 'the maps differ', ours, rows)
        theirs = bed.start(['qemu-nbd', '-r', '-A', '-t', '-f', fmt, '-k', bed.path('q'), name], bed.path('q'))
        want, want_depth = nbd_map(bed, uri=bed.uri('q')), nbd_map(bed, 'qemu:allocation-depth', bed.uri('q'))
        bed.stop(theirs)
        check(ours == want, f'base:allocation of {name} is not that of qemu-nbd', ours, want)
        check(depth == want_depth, f'qemu:allocation-depth of {name} is not that of qemu-nbd', depth, want_depth)


def case_bitmap(bed):
    """A bitmap that QEMU made and filled, as qemu-nbd tells it; and what clients write is in it when the server has ended."""
    bed.disk('a', 'qcow2')
    bed.run('qemu-img', 'bitmap', '--add', '-f', 'qcow2', 'a', 'b0')
    bed.run('qemu-io', '-f', 'qcow2', '-c', 'write 5M 100k', '-c', 'write 40M 1M', 'a')
    context = 'qemu:dirty-bitmap:b0'
    theirs = bed.start(['qemu-nbd', '-r', '-t', '-B', 'b0', '-f', 'qcow2', '-k', bed.path('q'), 'a'], bed.path('q'))
    want = nbd_map(bed, context, bed.uri('q'))
    bed.stop(theirs)
    process = bed.serve('-r', '-t', '-B', 'b0', '-f', 'qcow2', 'a')
    check(nbd_map(bed, context) == want, 'another bitmap than that of qemu-nbd', want, nbd_map(bed, context))
    bed.stop(process)
    process = bed.serve('-t', '-B', 'b0', '-f', 'qcow2', 'a')
    bed.run('qemu-io', '-f', 'raw', '-c', 'write 50M 4k', '-c', 'write -z 52M 1M', bed.uri())
    ours = nbd_map(bed, context)
    bed.stop(process)
    theirs = bed.start(['qemu-nbd', '-r', '-t', '-B', 'b0', '-f', 'qcow2', '-k', bed.path('q'), 'a'], bed.path('q'))
    check(nbd_map(bed, context, bed.uri('q')) == ours and ours != want, 'what was written is not in the bitmap', ours)
    bed.stop(theirs)


def case_copy(bed):
    """nbdcopy with several connections, both ways; and QEMU."""
    bed.disk('a', 'qcow2')
    bed.run('qemu-img', 'convert', '-O', 'raw', 'a', 'flat')
    process = bed.serve('-r', '-t', '-e', '8', '-f', 'qcow2', 'a')
    bed.run('nbdcopy', bed.uri(), 'copy')
    bed.same('copy', 'flat')
    bed.run('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', bed.uri(), 'copy')
    bed.same('copy', 'flat')
    bed.stop(process)
    for fmt in 'raw', 'qcow2':
        bed.run('qemu-img', 'create', '-q', '-f', fmt, 'target', str(SIZE))
        process = bed.serve('-t', '-e', '0', '-f', fmt, 'target')
        bed.run('nbdcopy', '--flush', 'flat', bed.uri())
        bed.run('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', bed.uri(), 'flat')
        bed.run('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', 'flat', bed.uri())
        bed.stop(process)
        bed.same('target', 'flat', fmt)
    bed.run('qemu-img', 'check', 'target')


def case_io(bed):
    """qemu-io's requests through the server, beside a file."""
    noise = random.Random(7)
    commands = []
    for number in range(300):
        offset, length = noise.randrange(0, SIZE - MIB), noise.choice((1, 512, 4096, 65536, noise.randrange(1, MIB)))
        kind = noise.choice(('write -P', 'write -P', 'write -f -P', 'write -z', 'write -z -u', 'read', 'flush'))
        value = f' {number % 255 + 1}' if kind.endswith('-P') else ''
        commands += ['-c', kind if kind == 'flush' else f'{kind}{value} {offset} {length}']
    bed.run('qemu-img', 'create', '-q', 'want', str(SIZE))
    bed.run('qemu-io', '-f', 'raw', *commands, 'want')
    for fmt in 'raw', 'qcow2':
        bed.run('qemu-img', 'create', '-q', '-f', fmt, 'target', str(SIZE))
        process = bed.serve('-f', fmt, 'target')
        bed.run('qemu-io', '-f', 'raw', *commands, bed.uri())
        bed.ended(process)
        bed.same('target', 'want', fmt)


def case_trim(bed):
    bed.disk('a', 'raw')
    for discard, fewer in ('ignore', False), ('unmap', True):
        blocks = os.stat(bed.path('a')).st_blocks
        process = bed.serve('--discard', discard, '-f', 'raw', 'a')
        bed.run('qemu-io', '-f', 'raw', '-d', 'unmap', '-c', 'discard 0 2M', bed.uri())
        bed.ended(process)
        check((os.stat(bed.path('a')).st_blocks < blocks) == fewer, f'--discard {discard}')


CONNECTIONS = """
import shutil
clients = [nbd.NBD() for _ in range(3)]
for client in clients:
    client.connect_uri(uri)
    assert client.can_multi_conn()
for number, client in enumerate(clients):
    client.pwrite(bytes([number + 1]) * 4096, number << 20)
clients[0].flush()
# What a flush has made safe is in the file, whatever becomes of the server.
shutil.copy(path, path + '-copy')
for number in range(3):
    assert clients[2 - number].pread(4096, number << 20) == bytes([number + 1]) * 4096
for client in clients[:2]:
    client.shutdown()
clients[2].pread(512, 0) # the server goes on for the last one
clients[2].shutdown()
"""


def case_connections(bed):
    """A flush of one connection is for what another one has written; the last client ends the server."""
    debian = ['env', 'PATH=/usr/bin:/bin']  # Debian's Python has the module
    if subprocess.run([*debian, 'nbdsh', '-c', 'pass'], stderr=subprocess.DEVNULL, check=False).returncode:
        raise Skipped('no nbdsh or no python3-libnbd')
    bed.run('qemu-img', 'create', '-q', '-f', 'qcow2', 'a', str(SIZE))
    process = bed.serve('-e', '3', '-f', 'qcow2', 'a')
    bed.run(*debian, 'nbdsh', '-c', f'uri, path = {bed.uri()!r}, {bed.path("a")!r}', '-c', CONNECTIONS)
    bed.ended(process)
    for number in range(3):
        out = bed.run('qemu-io', '-f', 'qcow2', '-r', '-c', f'read -P {number + 1} {number}M 4k', 'a-copy')
        check('Pattern verification failed' not in out, 'what was flushed is not in the file', out)


FAST = """
def zero(handle, size, offset, flags=0):
    try:
        handle.zero(size, offset, nbd.CMD_FLAG_FAST_ZERO | flags)
    except nbd.Error as error:
        return error.errno
handles = {name: nbd.NBD() for name in uris}
for name, handle in handles.items():
    handle.connect_uri(uris[name])
    assert handle.can_fast_zero(), name
    handle.pwrite(b'x' * (1 << 20), 0)
fast, slow, nested = handles['fast'], handles['slow'], handles['nested']
# Whole clusters need no bytes; a part of one does, unless it has zeroes already; VHD images have no way but bytes.
assert zero(fast, 65536, 65536) is None and zero(fast, 65536, 0, nbd.CMD_FLAG_NO_HOLE) is None
assert zero(fast, 4096, 262144) == 'ENOTSUP' and zero(fast, 131072, 262144 + 512) == 'ENOTSUP' and zero(fast, 4096, 65536) is None
assert zero(slow, 65536, 65536) == 'ENOTSUP'
assert zero(nested, 65536, 65536) is None and zero(nested, 4096, 262144) == 'ENOTSUP', 'through an export of an export'
assert zero(fast, 65536, size) == 'ENOSPC' and zero(slow, 65536, size) == 'ENOSPC'
for name, handle in handles.items():
    for offset, byte in (65536, 0), (262144, 'x'), (262144 + 131072, 'x'):
        if name == 'slow':
            byte = 'x'
        assert handle.pread(4096, offset) == (byte or chr(0)).encode() * 4096, (name, offset)
    handle.shutdown()
"""


def case_fast_zero(bed):
    """FAST_ZERO is done, or refused before anything is written; a client of ours passes it on; nbdcopy's zeroes are zeroes."""
    debian = ['env', 'PATH=/usr/bin:/bin']  # Debian's Python has the module
    if subprocess.run([*debian, 'nbdsh', '-c', 'pass'], stderr=subprocess.DEVNULL, check=False).returncode:
        raise Skipped('no nbdsh or no python3-libnbd')
    uris, processes = {}, []
    for name, kind in ('fast', 'qcow2'), ('slow', 'vpc'), ('below', 'qcow2'):
        bed.run('qemu-img', 'create', '-q', '-f', kind, f'{name}-image', str(SIZE), *(['-o', 'force_size=on'] if kind == 'vpc' else []))
        processes.append(bed.serve('-t', '-e', '4', '-f', kind, f'{name}-image', sock=name))
        uris[name] = bed.uri(sock=name)
    processes.append(bed.serve('-t', '-e', '4', '-f', 'raw', uris.pop('below'), sock='nested'))
    uris['nested'] = bed.uri(sock='nested')
    bed.run(*debian, 'nbdsh', '-c', f'uris, size = {uris!r}, {SIZE}', '-c', FAST)
    with open(bed.path('sparse'), 'wb') as file:
        file.write(b'y' * 65536)
        file.truncate(SIZE)
    for name in 'fast', 'slow', 'nested':
        bed.run('nbdcopy', '--allocated', bed.path('sparse'), uris[name])
        bed.run('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', bed.path('sparse'), uris[name])
    for process in processes:
        process.kill()
        process.wait()


def case_ends(bed):
    """--fork, --pid-file, signals, and a client that goes away in the middle."""
    bed.disk('a', 'raw')
    bed.kv('serve', '--fork', '--pid-file', bed.path('pid'), '-t', '-k', bed.path('s'), '-f', 'raw', 'a')
    with open(bed.path('pid'), encoding='utf-8') as file:
        pid = int(file.read())
    bed.run('nbdinfo', bed.uri())
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + LIMIT
    while os.path.exists(bed.path('s')) or os.path.exists(bed.path('pid')):
        check(time.monotonic() < end, 'socket or number are left')
        time.sleep(.01)
    check('cannot' in bed.kv('serve', '--fork', '-k', bed.path('s'), '-f', 'raw', 'nowhere', status=1), 'no reason')
    process = bed.serve('-e', '2', '-t', '-f', 'raw', 'a')
    client = subprocess.Popen(['nbdcopy', bed.uri(), 'null:'], stderr=subprocess.DEVNULL)
    client.kill()
    client.wait()
    bed.run('nbdinfo', bed.uri())
    for number in signal.SIGINT, signal.SIGHUP:
        bed.stop(process, number)
        process = bed.serve('-t', '-f', 'raw', 'a')
    bed.stop(process)
    for words in (['-c', '/dev/nbd0'], ['-s'], ['-B', 'nowhere'], ['-o', '1'], ['--cache=writethrough'], ['-e', 'x'], ['-k', 's', '-p', '1']):
        check('kv-img: ' in bed.kv('serve', *words, 'a', status=1), 'no message')


def case_resize(bed):
    bed.run('qemu-img', 'create', '-q', '-f', 'qcow2', 'a', str(SIZE))
    for size in SIZE, 2 * SIZE:
        bed.kv('resize', '-f', 'qcow2', 'a', str(size))
        process = bed.serve('-f', 'qcow2', 'a')
        check(int(bed.run('nbdinfo', '--size', bed.uri())) == size, 'another size')
        bed.ended(process)


# ---- the client ----

def servers(bed, name):
    yield 'qemu-nbd', ['qemu-nbd', '-t', '-e', '8', '-f', 'raw', '-k', bed.path('c'), name]
    yield 'kv-img', [bed.img, 'serve', '-t', '-e', '8', '-f', 'raw', '-k', bed.path('c'), name]
    if shutil.which('nbdkit'):
        yield 'nbdkit', ['nbdkit', '-f', '-U', bed.path('c'), 'file', name]
        yield 'nbdkit with blocks of 4096', ['nbdkit', '-f', '-U', bed.path('c'), '--filter=blocksize-policy', 'file', name,
                                             'blocksize-minimum=4096', 'blocksize-preferred=4096', 'blocksize-maximum=1M',
                                             'blocksize-error-policy=error']


def case_client(bed):
    """Images in exports of others: info, map, convert, compare, check, writes."""
    bed.disk('small.qcow2', 'qcow2')
    bed.run('qemu-img', 'convert', '-O', 'raw', 'small.qcow2', 'flat')
    bed.run('cp', '--sparse=always', 'flat', 'want')
    for fmt, name in ('raw', 'flat'), ('qcow2', 'small.qcow2'):
        for who, words in servers(bed, name):
            process = bed.start(words, bed.path('c'))
            info = json.loads(bed.kv('info', '--output=json', bed.uri('c')))
            check(info['format'] == fmt and info['virtual-size'] == SIZE, f'{who}: info', info)
            bed.kv('convert', '-f', fmt, '-O', 'raw', bed.uri('c'), 'copy')
            bed.same('copy', 'want')
            bed.kv('compare', '-f', fmt, '-F', 'raw', f'nbd:unix:{bed.path("c")}', 'want')
            theirs = json.loads(bed.run('qemu-img', 'map', '--output=json', '-f', fmt, bed.uri('c')))
            ours = json.loads(bed.kv('map', '--output=json', '-f', fmt, bed.uri('c')))
            check(merged((e['start'], e['length'], e['zero']) for e in ours) ==
                  merged((e['start'], e['length'], e['zero']) for e in theirs), f'{who}: map', ours, theirs)
            if fmt == 'qcow2':
                bed.kv('check', bed.uri('c'))
                place = {'driver': 'nbd', 'server': {'type': 'unix', 'path': bed.path('c')}}
                bed.kv('compare', 'json:' + json.dumps({'driver': fmt, 'file': place}), 'want')
                bed.kv('info', '--image-opts', f'driver={fmt},file.driver=nbd,file.path={bed.path("c")}')
            process.terminate()
            process.wait(LIMIT)


def case_client_writes(bed):
    bed.disk('a.qcow2', 'qcow2')
    bed.run('qemu-img', 'convert', '-O', 'raw', 'a.qcow2', 'flat')
    for who, words in servers(bed, 'target'):
        bed.run('qemu-img', 'create', '-q', 'target', str(SIZE + 8 * MIB))
        process = bed.start(words, bed.path('c'))
        bed.kv('create', '-q', '-f', 'qcow2', bed.uri('c'), str(SIZE))
        bed.kv('convert', '-n', '-O', 'qcow2', 'a.qcow2', bed.uri('c'))
        bed.kv('bench', '-w', '--pattern=9', '-q', '-f', 'qcow2', '-c', '500', '-d', '32', '-s', '3584', '-S', '8192', '-o', '512',
               bed.uri('c'))
        bed.kv('bench', '-w', '--pattern=9', '-q', '-f', 'qcow2', '-c', '500', '-d', '32', '-s', '3584', '-S', '8192', '-o', '512',
               'a.qcow2')
        bed.kv('snapshot', '-c', 'one', bed.uri('c'))
        process.terminate()
        process.wait(LIMIT)
        bed.run('qemu-img', 'check', '-f', 'qcow2', 'target')
        bed.same('target', 'a.qcow2', 'qcow2', 'qcow2')
        print(f'client-writes: {who}')


def case_client_queues(bed):
    """Many requests at the same time, aligned and not, that a thread and the queue itself have under way together."""
    bed.disk('a.qcow2', 'qcow2')
    bed.run('qemu-img', 'convert', '-O', 'raw', 'a.qcow2', 'flat')
    for who, words in servers(bed, 'target'):
        for fmt in 'qcow2', 'raw':
            bed.run('cp', 'a.qcow2' if fmt == 'qcow2' else 'flat', 'target')
            bed.run('cp', 'target', 'beside')
            if fmt == 'qcow2':  # an export does not grow
                os.truncate(bed.path('target'), 2 * SIZE)
            process = bed.start(words, bed.path('c'))
            for _ in range(10):  # the tables are not in memory at first: threads read them
                bed.kv('bench', '-q', '-f', fmt, '-c', '3000', '-d', '16', bed.uri('c'))
            for size, step, first in ('4096', '20480', '0'), ('3584', '8192', '512'), ('8M', '8M', '0'):
                for place in bed.uri('c'), 'beside':
                    bed.kv('bench', '-w', '--pattern', str(len(size)), '-q', '-f', fmt, '-c', '40', '-d', '16', '-s', size, '-S', step,
                           '-o', first, '--flush-interval', '20', place)
            process.terminate()
            process.wait(LIMIT)
            bed.same('target', 'beside', fmt, fmt)
            print(f'client-queues: {who}, {fmt}')


def case_backing(bed):
    """An image that stands on an export, by its name and by an option."""
    bed.disk('base', 'raw')
    process = bed.start(['qemu-nbd', '-r', '-t', '-e', '4', '-f', 'raw', '-k', bed.path('c'), 'base'], bed.path('c'))
    bed.kv('create', '-q', '-f', 'qcow2', '-b', bed.uri('c'), '-F', 'raw', 'top')
    chain = json.loads(bed.kv('info', '--backing-chain', '--output=json', 'top'))
    check([layer['format'] for layer in chain] == ['qcow2', 'raw'], 'chain', chain)
    bed.run('qemu-io', '-f', 'qcow2', '-c', 'write -P 7 1M 10k', 'top')
    bed.kv('convert', '-f', 'qcow2', '-O', 'raw', 'top', 'ours')
    bed.run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', 'top', 'theirs')
    bed.same('ours', 'theirs')
    bed.stop(process)
    check('cannot open disk' in bed.kv('info', '-U', '--backing-chain', 'top', status=1), 'no message')


def is_socket(path):
    try:
        return os.readlink(path).startswith('socket:')
    except OSError:
        return False


def read_by(pid):
    """Bytes that a process has had of files and sockets."""
    with open(f'/proc/{pid}/io', encoding='ascii') as file:
        return int(file.readline().split()[1])


def case_lost(bed):
    """A server that goes away in the middle: one message, an error, no hang."""
    bed.disk('a', 'raw')
    process = bed.start(['qemu-nbd', '-t', '-f', 'raw', '-k', bed.path('c'), 'a'], bed.path('c'))
    client = subprocess.Popen([bed.img, 'bench', '-q', '-f', 'raw', '-c', '100000000', '-d', '16', bed.uri('c')],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end = time.monotonic() + LIMIT
    while not any(is_socket(f'/proc/{client.pid}/fd/{number}') for number in range(3, 16)):
        check(client.poll() is None and time.monotonic() < end, 'no connection')
        time.sleep(.01)
    before = read_by(process.pid)
    while read_by(process.pid) < before + MIB:  # requests are served
        check(client.poll() is None and time.monotonic() < end, 'no requests')
        time.sleep(.01)
    process.kill()
    process.wait()
    message = client.communicate(timeout=LIMIT)[1].decode()
    check(client.returncode == 1 and message.count('the connection to the NBD server is lost') == 1 and 'Failed request' in message,
          'the client', message)
    for name in 'nbd:x', 'nbd://localhost:1/', f'nbd+unix:///?socket={bed.path("nowhere")}':
        check('kv-img: ' in bed.kv('info', name, status=1), f'no message for {name}')


# ---- TLS ----

def case_tls(bed):
    for tool in 'certtool', 'psktool':
        if not shutil.which(tool):
            raise Skipped(f'no {tool}')
    certs.make(bed.path('ours'))
    certs.make(bed.path('others'))
    bed.disk('a', 'raw')

    def uri(folder):
        return f'nbds+unix://localhost/?socket={bed.path("s")}&tls-certificates={bed.path(folder)}&tls-hostname=localhost'

    # libnbd compares the certificate with the host of TCP alone
    for verify in [], ['--tls-verify-peer']:
        process = bed.serve('-t', '-e', '8', '-f', 'raw', '--tls-creds', 'ours', *verify, 'a')
        bed.run('nbdinfo', '--size', uri('ours') + '&tls-verify-peer=false')
        bed.run('nbdcopy', uri('ours') + '&tls-verify-peer=false', 'copy')
        bed.same('copy', 'a')
        bed.kv('convert', '-f', 'raw', '-O', 'raw', uri('ours') + '&tls-verify-peer=false', 'copy')
        bed.same('copy', 'a')
        bed.run('qemu-img', 'convert', '--object', 'tls-creds-x509,id=t,endpoint=client,dir=ours', '--image-opts', '-O', 'raw',
                f'driver=nbd,path={bed.path("s")},tls-creds=t,tls-hostname=localhost', 'copy')
        bed.same('copy', 'a')
        bed.run('nbdinfo', '--size', bed.uri(), status=1)  # without TLS
        if verify:
            bed.run('nbdinfo', '--size', uri('others') + '&tls-verify-peer=false', status=1)
        bed.stop(process)
    os.makedirs(bed.path('psk'), exist_ok=True)
    bed.run('psktool', '-u', 'alice', '-p', 'psk/keys.psk')
    process = bed.serve('-t', '-f', 'raw', '--tls-psk', 'psk', 'a')
    psk = f'nbds+unix://alice@/?socket={bed.path("s")}&tls-psk-file={bed.path("psk")}/keys.psk'
    bed.run('nbdinfo', '--size', psk)
    bed.kv('compare', '-f', 'raw', '-F', 'raw', psk, bed.path('a'), '-U')
    bed.run('nbdinfo', '--size', psk.replace('alice', 'bob'), status=1)
    bed.stop(process)
    check('TLS' in bed.kv('serve', '--tls-creds', 'nowhere', '-k', bed.path('s'), '-f', 'raw', 'a', status=1), 'no message')


def case_start(bed):
    """Neither GnuTLS nor libnbd are part of kv-img: they come when they are needed."""
    out = bed.run('ldd', bed.img)
    for name in 'gnutls', 'libnbd', 'gio', 'xml2':
        check(name not in out, f'kv-img is linked with {name}', out)


def main(program, names):
    beds = []

    def make(folder):
        beds.append(Bed(program, folder))
        return beds[0]

    try:
        return cases.run(globals(), names, make)
    finally:
        for bed in beds:
            for process in bed.running:
                process.kill()
                process.wait()


if __name__ == '__main__':
    sys.exit(main(sys.argv[1], sys.argv[2:]))
