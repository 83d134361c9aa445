# SPDX-License-Identifier: GPL-2.0-or-later
"""kv-img serve against qemu-nbd: random requests of 4 KiB over a Unix socket, each server with files of its own that have the same
content and are in the page cache, one server after the other in each round; for every server the same client (nbd-load.c), and
once more the client that each project has itself, as a machine's disk would. Called by bench/run (nbd)."""
import collections
import os
import re
import shutil
import socket
import subprocess
import sys
import time

from . import report

MIB = 1 << 20
SIZE = 4096  # MiB of the disks
DATA = 256  # MiB of data at their beginning
COUNT = 20000

# name, format, operation, first MiB, MiB; the last one has a fresh image each time
CASES = (
    ('raw, read', 'raw', 'read', 0, DATA),
    ('raw, write', 'raw', 'write', 0, DATA),
    ('qcow2, read', 'qcow2', 'read', 0, DATA),
    ('qcow2, write', 'qcow2', 'write', 0, DATA),
    ('qcow2, read of what is not allocated', 'qcow2', 'read', 2 * DATA, DATA),
    ('qcow2, write that allocates', 'qcow2', 'write', 4 * DATA, SIZE - 4 * DATA),
)
DEPTHS = 1, 16
# Of the bench command of each project: name, first MiB
OWN = ('qcow2, read', 0), ('qcow2, read of what is not allocated', 2 * DATA)
OWN_STEP = 33 * 4096


def fill(folder, columns):
    block = os.urandom(MIB)
    for column in columns:
        with open(f'{folder}/{column}.raw', 'wb') as file:
            for _ in range(DATA):
                file.write(block)
            file.truncate(SIZE * MIB)
        subprocess.run(['qemu-img', 'convert', '-O', 'qcow2', f'{column}.raw', f'{column}.made'], cwd=folder, check=True)
        shutil.copy(f'{folder}/{column}.made', f'{folder}/{column}.qcow2')


def serve(words, folder):
    path = f'{folder}/socket'
    if os.path.exists(path):
        os.unlink(path)
    process = subprocess.Popen([*words, '-t', '-k', path], cwd=folder, stdin=subprocess.DEVNULL)
    while True:  # the file is there before its socket listens
        with socket.socket(socket.AF_UNIX) as client:
            if client.connect_ex(path) == 0:
                return process
        if process.poll() is not None:
            sys.exit(f'nbd: {words[0]} does not start')
        time.sleep(.005)


def microseconds(load, server, case, depth, column, folder):
    _, fmt, operation, first, length = case
    if case == CASES[-1]:
        shutil.copy(f'{folder}/{column}.made', f'{folder}/{column}.qcow2')
    process = serve([*server, '-f', fmt, f'{column}.{fmt}'], folder)
    words = [load, f'{folder}/socket', operation, str(depth)]
    where = [str(first * MIB), str(length * MIB)]
    if operation == 'read':
        subprocess.run([*words, str(COUNT // 4), *where], check=True, stdout=subprocess.DEVNULL)  # into the page cache
    done = subprocess.run([*words, str(COUNT), *where], check=True, stdout=subprocess.PIPE, text=True)
    process.terminate()
    process.wait()
    return 1e6 / float(done.stdout)


def own_microseconds(tool, server, first, depth, column, folder):
    """With the project's own client."""
    process = serve([*server, '-f', 'qcow2', f'{column}.qcow2'], folder)
    done = subprocess.run([tool, 'bench', '-f', 'raw', '-c', str(COUNT), '-d', str(depth), '-s', '4096', '-S', str(OWN_STEP), '-o',
                           str(first * MIB), f'nbd+unix:///?socket={folder}/socket'], check=True, stdout=subprocess.PIPE, text=True)
    process.terminate()
    process.wait()
    return 1e6 * float(re.search(r'completed in ([0-9.]+)', done.stdout).group(1)) / COUNT


def run(context):
    servers = {'ours': [os.path.abspath(f'{context.args.build}/src/img/kv-img'), 'serve'], 'qemu-nbd': ['qemu-nbd']}
    load = os.path.abspath(f'{context.args.build}/bench/nbd-load')
    rows = collections.defaultdict(lambda: collections.defaultdict(list))
    fill(context.folder, servers)
    for number in range(context.args.runs):
        order = list(servers.items())[::1 if number % 2 else -1]
        for case in CASES:
            for depth in DEPTHS:
                for column, words in order:
                    value = microseconds(load, words, case, depth, column, context.folder)
                    rows[f'{case[0]}, depth {depth}'][column].append(value)
        for name, first in OWN:
            for depth in DEPTHS:
                for column, words in order:
                    tool = 'qemu-img' if column != 'ours' else words[0]
                    value = own_microseconds(tool, words, first, depth, column, context.folder)
                    rows[f'{name}, own client, depth {depth}'][column].append(value)
        print(f'nbd: round {number + 1} of {context.args.runs}', file=sys.stderr)
    report.matrix('NBD servers: 4 KiB requests', 'us a request', list(servers), rows, {'all': list(rows)}, context.results)
