# SPDX-License-Identifier: GPL-2.0-or-later
"""A memory snapshot of a running guest of 1 GiB: how long the guest stands still (QMP's STOP to RESUME), migrate with
background-snapshot against QEMU's savevm; then process start to the guest's first instruction from there, --incoming against
-loadvm. The guest idles (polls a port) or is busy (writes to a page after the other of 64 MiB); few of its pages are zeroes."""
import json
import os
import socket
import struct
import subprocess
import sys
import time

from . import machine, report

LIMIT = 120
LOAD_AT = 0x100000
MEMORY = 1024  # MiB
FILLED = 960
BUSY_PAGES = 64  # for each dot
OUT_DX = b'\xee'


def _code(busy):
    """Writes to each page, then a dot at the serial port for each round; protected mode with 32 bits."""
    def mov(opcode, value):
        return bytes([opcode]) + struct.pack('<I', value)
    edi, ecx, eax = 0xbf, 0xb9, 0xb8
    code = mov(edi, 0x200000) + mov(ecx, (FILLED - 2) * 256) + mov(eax, 1)
    code += b'\x89\x07\x40\x81\xc7\x00\x10\x00\x00' + bytes([0xe2, 256 - 11])  # mov %eax, (%edi); inc; add $4096, %edi; loop
    if busy:  # and, or: 64 to 128 MiB
        body = mov(ecx, BUSY_PAGES) + b'\x40\x81\xe7' + struct.pack('<I', 0x7ffffff) + b'\x81\xcf' + struct.pack('<I', 0x4000000)
        body += b'\x89\x07\x81\xc7\x00\x10\x00\x00' + bytes([0xe2, 256 - 10])  # mov; add $4096, %edi; loop
    else:
        body = mov(ecx, 2000) + b'\x66\xba\xfd\x03' + b'\xec' + bytes([0xe2, 256 - 3])  # in; loop
    body += b'\x66\xba\xf8\x03\xb0.' + OUT_DX
    return code + body + b'\xe9' + struct.pack('<i', -len(body) - 5)


def _kernel(path, busy):
    """An ELF file with a PVH entry (xen/include/public/elfnote.h, PHYS32_ENTRY)."""
    code = _code(busy).ljust(256, b'\x90')
    note = struct.pack('<III4sII', 4, 4, 18, b'Xen', LOAD_AT, 0)
    head = 64 + 2 * 56
    elf = b'\x7fELF\x02\x01\x01'.ljust(16, b'\0') + struct.pack('<HHIQQQIHHHHHH', 2, 62, 1, LOAD_AT, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack('<IIQQQQQQ', 1, 7, head + len(note), LOAD_AT, LOAD_AT, len(code), 0x1000, 0x1000)
    notes = struct.pack('<IIQQQQQQ', 4, 4, head, 0, 0, len(note), len(note), 4)
    with open(path, 'wb') as file:
        file.write(elf + load + notes + note + code)


class Qmp:
    def __init__(self, path):
        end = time.monotonic() + LIMIT
        self.socket = socket.socket(socket.AF_UNIX)
        while self.socket.connect_ex(path):
            if time.monotonic() > end:
                raise SystemExit(f'snapshot: nobody listens on {path}')
            time.sleep(0.02)
        self.file = self.socket.makefile('rw', encoding='utf-8')
        self.file.readline()
        self.events = []
        self.run('qmp_capabilities')

    def run(self, command, **arguments):
        self.file.write(json.dumps({'execute': command, 'arguments': arguments}))
        self.file.flush()
        while True:
            message = json.loads(self.file.readline())
            if 'event' in message:
                self.events.append(message)
            elif 'return' in message:
                return message['return']
            else:
                raise SystemExit(f'snapshot: {command}: {message}')

    def pause(self):
        """Milliseconds from STOP to RESUME, once both have come."""
        end = time.monotonic() + LIMIT
        while True:
            at = {event['event']: event['timestamp']['seconds'] * 1e3 + event['timestamp']['microseconds'] / 1e3
                  for event in self.events}
            if 'STOP' in at and 'RESUME' in at:
                return at['RESUME'] - at['STOP']
            if time.monotonic() > end:
                raise SystemExit('snapshot: no STOP and RESUME')
            self.run('query-status')
            time.sleep(0.01)


def _wait_migrated(client):
    while True:
        status = client.run('query-migrate')['status']
        if status == 'completed':
            return
        if status == 'failed':
            raise SystemExit(f'snapshot: {client.run("query-migrate")}')
        time.sleep(0.01)


def _ours(context, kernel, qmp, saved):
    command = machine.vmm_command(context, kernel, 1, MEMORY)
    first = machine.Machine(machine.Case('kv-vmm', True, 1, (*command, '--qmp', f'unix:{qmp}')), '')
    first.read_until(b'....', LIMIT)
    client = Qmp(qmp)
    client.run('migrate-set-capabilities', capabilities=[{'capability': 'background-snapshot', 'state': True}])
    client.run('migrate', uri=f'file:{saved}')
    pause = client.pause()
    _wait_migrated(client)
    first.end()
    second = machine.Machine(machine.Case('kv-vmm', True, 1, (*command, '--incoming', f'file:{saved}')), '')
    first_dot = second.read_until(b'.', LIMIT)[1]
    second.end()
    os.unlink(saved)
    return pause, first_dot * 1000


def _qemu(context, kernel, qmp, disk):
    subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', disk, '64M'], check=True)
    command = machine.qemu_command('q35', 1, MEMORY, '-kernel', kernel, '-drive', f'file={disk},format=qcow2,if=virtio')
    first = machine.Machine(machine.Case('QEMU', False, 1, (*command, '-qmp', f'unix:{qmp},server=on,wait=off')), '')
    first.read_until(b'....', LIMIT)
    client = Qmp(qmp)
    client.run('human-monitor-command', **{'command-line': 'savevm one'})
    pause = client.pause()
    first.end()
    second = machine.Machine(machine.Case('QEMU', False, 1, (*command, '-loadvm', 'one')), '')
    first_dot = second.read_until(b'.', LIMIT)[1]
    second.end()
    os.unlink(disk)
    return pause, first_dot * 1000


def run(context):
    rows = {f'{what}, {load} guest': {'ours': [], 'tcg': []} for load in ('idle', 'busy')
            for what in ('pause for a snapshot', 'start to the first instruction')}
    for number in range(context.args.runs):
        for load in 'idle', 'busy':
            kernel = f'{context.folder}/snapshot-{load}'
            _kernel(kernel, load == 'busy')
            for column, measure in ('ours', _ours), ('tcg', _qemu):
                found = measure(context, kernel, f'{context.folder}/{column}-{load}{number}', f'{context.folder}/saved')
                for what, value in zip(('pause for a snapshot', 'start to the first instruction'), found):
                    rows[f'{what}, {load} guest'][column].append(value)
        print(f'snapshot: round {number + 1} of {context.args.runs}', file=sys.stderr)
    report.matrix('a saved machine of 1 GiB', 'ms', ['ours', 'tcg'], rows, {}, context.results)
