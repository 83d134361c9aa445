# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux guest sends zeroes by TCP to a program on the host, through the user-mode network, and takes them from one: how many bytes
for a second of the host's CPU, that of the VM's process alone. Called by bench/run (network)."""
import collections
import socket
import subprocess
import sys
import threading
import time

from . import machine, report
from .console import Console
from .context import TOP

LIMIT = 90
SECONDS = 4
CHUNK = 1 << 20


class Peer:
    """A socket of the host's that takes (or gives) as much as it can; bytes so far."""

    def __init__(self, gives):
        self.server = socket.create_server(('127.0.0.1', 0))
        self.port = self.server.getsockname()[1]
        self.bytes = 0
        self.gives = gives
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        connection = self.server.accept()[0]
        buffer = bytearray(CHUNK)
        try:
            while True:
                n = connection.send(buffer) if self.gives else connection.recv_into(buffer)
                if not n:
                    break
                self.bytes += n
        except OSError:
            pass
        connection.close()

    def close(self):
        self.server.close()


def commands(context, peer):
    nc = f'nc 10.0.2.2 {peer.port}'
    send = f'{nc} >/dev/null' if peer.gives else f'{nc} </dev/zero'
    append = f'console=ttyS0 quiet kv.run="udhcpc -i eth0 -n -q >/dev/null 2>&1; ip addr add 10.0.2.15/24 dev eth0 2>/dev/null; {send}"'
    boot = ['--initrd', f'{context.folder}/network-initrd', '--append', append]
    return {
        'ours': machine.vmm_command(context, context.kernel, 1, 256, *boot, net='user'),
        'tcg': machine.qemu_command('q35', 1, 256, '-kernel', context.kernel, *[w[1:] if w.startswith('--') else w for w in boot],
                                    '-netdev', 'user,id=n', '-device', 'virtio-net-pci,netdev=n'),
    }


def measure(context, name, gives):
    """(MiB a CPU second, MiB a second)"""
    peer = Peer(gives)
    with Console(name, commands(context, peer)[name]) as vm:
        deadline = time.monotonic() + LIMIT
        while peer.bytes < 16 * CHUNK:
            if time.monotonic() > deadline:
                sys.exit(f'network: {name} sends nothing: ' + vm.error_text())
            time.sleep(0.05)
        before, cpu, started = peer.bytes, vm.cpu(), time.monotonic()
        time.sleep(SECONDS)
        moved, cpu, passed = peer.bytes - before, vm.cpu() - cpu, time.monotonic() - started
    peer.close()
    return moved / CHUNK / cpu, moved / CHUNK / passed


def run(context):
    subprocess.run([f'{TOP}/tools/make-initrd', f'{context.folder}/network-initrd'], check=True)
    cpu = collections.defaultdict(lambda: collections.defaultdict(list))
    wall = collections.defaultdict(lambda: collections.defaultdict(list))
    for number in range(context.args.runs):
        for row, gives in (('guest to host', False), ('host to guest', True)):
            for column in ('ours', 'tcg'):
                a_cpu, a_wall = measure(context, column, gives)
                cpu[row][column].append(1024 / a_cpu)
                wall[row][column].append(1024 / a_wall)
        print(f'network: round {number + 1} of {context.args.runs}', file=sys.stderr)
    report.matrix('User-mode network, TCP: CPU of the host for 1 GiB', 's', ('ours', 'tcg'), cpu, {}, context.results)
    report.matrix('User-mode network, TCP: time for 1 GiB', 's', ('ours', 'tcg'), wall, {}, context.results)
