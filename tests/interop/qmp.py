#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kv-vmm's QMP server as a client has it, and QEMU's beside it: what both know has one shape, and what is wrong is told in one
text, JSON's own faults aside. The guest is a few bytes long.   usage: qmp.py KV-VMM CASE...
Exit status 77: QEMU is needed and not installed."""
import json
import os
import re
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import time

import cases
from cases import Failed, Skipped, check

LIMIT = 180
LOAD_AT = 0x100000


def guest_code():
    """Waits for bytes on the first serial port: p powers off, r resets, x tells pvpanic of a panic, t is a triple fault."""
    def when(byte, code):
        return bytes([0x3c, ord(byte), 0x75, len(code)]) + code

    def out(port, value):
        return b'\x66\xba' + struct.pack('<H', port) + bytes([0xb0, value, 0xee])

    head = b'\x66\xba' + struct.pack('<H', 0x3fd) + b'\xec\xa8\x01'  # mov $0x3fd, %dx; in; test $1, %al
    body = (b'\x66\xba' + struct.pack('<H', 0x3f8) + b'\xec' + when('p', out(0x600, 0x34)) + when('r', out(0x602, 1)) +
            when('x', out(0x505, 1)) + when('t', b'\x0f\x01\x1d' + struct.pack('<I', 0x3000) + b'\x0f\x0b'))  # lidt of nothing; ud2
    code = head + b'\x74' + bytes([len(body)]) + body
    return code + b'\xeb' + struct.pack('b', -len(code) - 2)


def kernel(path, code=None):
    """An ELF file with a PVH entry: 32-bit protected mode (xen/include/public/elfnote.h, PHYS32_ENTRY)."""
    code = (code or guest_code()).ljust(256, b'\x90')
    note = struct.pack('<III4sII', 4, 4, 18, b'Xen', LOAD_AT, 0)
    head = 64 + 2 * 56
    ident = b'\x7fELF\x02\x01\x01'.ljust(16, b'\0')
    elf = ident + struct.pack('<HHIQQQIHHHHHH', 2, 62, 1, LOAD_AT, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack('<IIQQQQQQ', 1, 7, head + len(note), LOAD_AT, LOAD_AT, len(code), 0x1000, 0x1000)
    notes = struct.pack('<IIQQQQQQ', 4, 4, head, 0, 0, len(note), len(note), 4)
    with open(path, 'wb') as file:
        file.write(elf + load + notes + note + code)


class Client:
    """One connection; events that come between answers are kept."""

    def __init__(self, path, negotiate=True, process=None):
        end, self.process = time.monotonic() + LIMIT, process
        self.socket = socket.socket(socket.AF_UNIX)
        while self.socket.connect_ex(path):
            if time.monotonic() > end or process and process.poll() is not None:
                check(False, f'nobody listens on {path}', self.end())
            time.sleep(0.02)
        self.socket.settimeout(LIMIT)
        self.data, self.events = b'', []
        self.greeting = self.message()
        if negotiate:
            self.run('qmp_capabilities')

    def end(self):
        """How the server ended, and its last words."""
        if not self.process:
            return 'a server of others'
        try:
            words = self.process.communicate(timeout=5)[1]
        except subprocess.TimeoutExpired:
            return 'it runs'
        return f'status {self.process.returncode}: {words.decode("utf-8", "replace")}'

    def send(self, data):
        self.socket.sendall(data)

    def message(self):
        while b'\n' not in self.data:
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                check(False, f'no answer in {LIMIT} s', self.end())
            except ConnectionResetError:
                data = b''
            check(data, 'the server closed the connection', '' if data else self.end())
            self.data += data
        line, self.data = self.data.split(b'\n', 1)
        check(line.endswith(b'\r'), 'a line without its carriage return')
        return json.loads(line)

    def answer(self):
        while True:
            message = self.message()
            if 'event' not in message:
                return message
            self.events.append(message)

    def ask(self, data):
        self.send(data if isinstance(data, bytes) else json.dumps(data).encode())
        return self.answer()

    def run(self, command, **arguments):
        message = {'execute': command}
        if arguments:
            message['arguments'] = arguments
        answer = self.ask(message)
        check('return' in answer, f'{command} fails', answer)
        return answer['return']

    def event(self, name):
        """The next event of that name, with those before it forgotten."""
        while True:
            for index, event in enumerate(self.events):
                if event['event'] == name:
                    self.events = self.events[index + 1:]
                    return event
            message = self.message()
            check('event' in message, f'an answer instead of {name}', message)
            self.events.append(message)

    def closed(self):
        """True when the server hangs up; what it sends before that is forgotten."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True


class Process:
    """A program with a QMP socket."""

    def __init__(self, command, path):
        self.path = path
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.process.kill()
        self.process.communicate()

    def client(self, **keys):
        return Client(self.path, process=self.process, **keys)

    def status(self):
        return self.process.wait(LIMIT)


class Bed:
    def __init__(self, program, folder):
        self.program, self.folder, self.count = program, folder, 0
        self.kernel = f'{folder}/kernel'
        kernel(self.kernel)

    def path(self, name):
        self.count += 1
        return f'{self.folder}/{name}{self.count}'

    def start(self, *options):
        path, self.console = self.path('qmp'), self.path('console')
        return Process([self.program, '--accel', 'soft', '--memory', '16M', '--kernel', self.kernel, '--console',
                        f'unix:{self.console}', '--qmp', f'unix:{path},server=on,wait=off', *options], path)

    def qemu(self, *options):
        if not shutil.which('qemu-system-x86_64'):
            raise Skipped('no qemu-system-x86_64')
        path = self.path('qemu')
        return Process(['qemu-system-x86_64', '-nodefaults', '-display', 'none', '-accel', 'tcg', '-S', '-qmp',
                        f'unix:{path},server=on,wait=off', *(options or ('-M', 'none'))], path)

    def key(self, letter):
        """A byte for the guest's serial port."""
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(self.console)
            peer.sendall(letter)
            time.sleep(0.1)


def case_session(bed):
    """Greeting, negotiation, ids, one client after another, and the socket's own life."""
    with bed.start() as vmm:
        client = vmm.client(negotiate=False)
        check(client.greeting['QMP']['version']['package'].startswith('kv-vmm '), 'another greeting', client.greeting)
        check(client.greeting['QMP']['capabilities'] == [], 'capabilities are offered', client.greeting)
        mode = os.stat(vmm.path).st_mode
        check(stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600, f'the socket has mode {mode:o}')
        answer = client.ask({'execute': 'query-status', 'id': 1})
        check(answer['error']['class'] == 'CommandNotFound' and answer['id'] == 1, 'a command before negotiation', answer)
        answer = client.ask({'execute': 'qmp_capabilities', 'arguments': {'enable': ['oob']}})
        check(answer['error']['desc'] == 'Capability oob not available', 'a capability', answer)
        check(client.ask({'execute': 'qmp_capabilities', 'id': None}) == {'return': {}, 'id': None}, 'negotiation fails')
        for ident in 'x', 5, -2.5, True, None, [1, {'a': ['é\n']}], {}:
            check(client.ask({'execute': 'query-name', 'id': ident}) == {'return': {}, 'id': ident}, 'not this id', ident)
        names = [command['name'] for command in client.run('query-commands')]
        check({'qmp_capabilities', 'query-commands', 'query-stats', 'stop', 'quit'} <= set(names), 'not all commands', names)
        other = socket.socket(socket.AF_UNIX)
        other.connect(vmm.path)
        check(not select.select([other], [], [], 0.3)[0], 'a second client is greeted')
        client.socket.close()
        check(select.select([other], [], [], LIMIT)[0] and b'"QMP"' in other.recv(4096), 'the next client is not greeted')
        other.close()
        client = vmm.client(negotiate=False)
        check('error' in client.ask({'execute': 'query-status'}), 'negotiation is remembered')
        # A client that does not wait for answers has its commands run.
        client.send(b'{"execute":"qmp_capabilities"}{"execute":"stop"}')
        client.socket.close()
        check(vmm.client().run('query-status')['status'] == 'paused', 'a hurried client is not listened to')
        vmm.client().run('quit')
        check(vmm.status() == 0, f'status {vmm.process.returncode}')
        check(not os.path.exists(vmm.path), 'the socket is left behind')


def case_machine(bed):
    """What the machine says about itself; stop and cont, and that a stopped guest stands still; the power button."""
    with bed.start('--name', 'sam', '--cpus', '2') as vmm:
        client = vmm.client()
        check(client.run('query-name') == {'name': 'sam'}, 'another name')
        check(client.run('query-kvm') == {'enabled': False, 'present': True}, 'another KVM')
        check(client.run('query-version') == client.greeting['QMP']['version'], 'another version')
        tasks = os.listdir(f'/proc/{vmm.process.pid}/task')
        cpus = client.run('query-cpus-fast')
        check([cpu['cpu-index'] for cpu in cpus] == [0, 1] and all(str(cpu['thread-id']) in tasks for cpu in cpus),
              'not the vCPUs', cpus)
        for cpu in cpus:
            with open(f'/proc/{vmm.process.pid}/task/{cpu["thread-id"]}/comm', encoding='ascii') as file:
                check(file.read() == f'vcpu{cpu["cpu-index"]}\n', 'not the thread of this vCPU', cpu)
        chardevs = {row['label']: row for row in client.run('query-chardev')}
        check(chardevs['console']['filename'] == f'disconnected:unix:{bed.console},server=on', 'another console', chardevs)

        def ran():
            stats = client.run('query-stats', target='vcpu', vcpus=[cpus[0]['qom-path']])
            return next(row['value'] for row in stats[0]['stats'] if row['name'] == 'runs')

        def wait_for_more(than):
            end = time.monotonic() + LIMIT
            while ran() == than:
                check(time.monotonic() < end, 'the guest does not run')

        wait_for_more(ran())
        check(client.run('query-status')['status'] == 'running', 'not running')
        client.run('cont')
        client.run('stop')
        client.event('STOP')
        check(client.run('query-status') == {'status': 'paused', 'singlestep': False, 'running': False}, 'not paused')
        before = ran()
        time.sleep(0.2)
        check(ran() == before, 'a stopped guest runs')
        client.run('stop')
        client.run('system_reset')
        check(client.event('RESET')['data'] == {'guest': False, 'reason': 'host-qmp-system-reset'}, 'another reason')
        check(not client.run('query-status')['running'], 'a reset starts a stopped guest')
        before = ran()
        client.run('cont')
        client.event('RESUME')
        check(not client.events, 'events of nothing', client.events)
        wait_for_more(before)
        client.run('system_reset')
        client.event('RESET')
        wait_for_more(ran())
        client.run('system_powerdown')
        client.event('POWERDOWN')
        vmm.process.send_signal(signal.SIGTERM)
        client.event('POWERDOWN')
        vmm.process.send_signal(signal.SIGTERM)
        check(client.event('SHUTDOWN')['data'] == {'guest': False, 'reason': 'host-signal'}, 'another reason')
        check(client.closed() and vmm.status() == 128 + signal.SIGTERM, f'status {vmm.process.returncode}')


def case_paused(bed):
    """--paused: nothing has run before cont, as QEMU's -S has it."""
    with bed.start('--paused') as vmm:
        client = vmm.client()
        client.run('system_reset')
        bed.key(b'p')
        time.sleep(0.2)
        check(client.run('query-status') == {'status': 'prelaunch', 'singlestep': False, 'running': False}, 'it runs')
        client.run('cont')
        client.event('RESUME')
        check(client.event('SHUTDOWN')['data']['reason'] == 'guest-shutdown', 'another end')
        check(client.closed() and vmm.status() == 0, f'status {vmm.process.returncode}')


def case_ends(bed):
    """Each way a machine ends, as its client is told."""
    for letter, options, status, reason in [
            (b'p', [], 0, {'guest': True, 'reason': 'guest-shutdown'}),
            (b'r', ['--no-reboot'], 0, {'guest': True, 'reason': 'guest-reset'}),
            (b't', [], 1, {'guest': True, 'reason': 'guest-panic'}),
            (None, [], 0, {'guest': False, 'reason': 'host-qmp-quit'})]:
        with bed.start(*options) as vmm:
            client = vmm.client()
            if letter:
                bed.key(letter)
            else:
                client.run('quit')
            event = client.event('SHUTDOWN')
            check(event['data'] == reason, f'not {reason}', event)
            check(abs(event['timestamp']['seconds'] - time.time()) < LIMIT, 'another time', event)
            check(client.closed() and vmm.status() == status, f'status {vmm.process.returncode}, not {status}')
    with bed.start() as vmm:
        client = vmm.client()
        bed.key(b'r')
        check(client.event('RESET')['data'] == {'guest': True, 'reason': 'guest-reset'}, 'another reason')
        bed.key(b'p')
        client.event('SHUTDOWN')
        check(client.closed() and vmm.status() == 0, f'status {vmm.process.returncode}')


def case_actions(bed):
    """What ends of the guest's do is a choice, and may change."""
    with bed.start('--action', 'shutdown=pause', '--device', 'pvpanic') as vmm:
        client = vmm.client()

        def ends(letter, status, *events):
            bed.key(letter)
            seen = [client.event(name).get('data', {}) for name in events]
            check(client.run('query-status') == {'status': status, 'singlestep': False, 'running': status == 'running'}, f'not {status}')
            return seen

        def reset():
            answer = client.ask({'execute': 'cont'})
            check(answer.get('error', {}).get('desc') == 'Resetting the Virtual Machine is required', 'it goes on', answer)
            client.run('system_reset')
            check(client.run('query-status')['status'] == 'prelaunch', 'not prelaunch')
            client.run('cont')
            client.event('RESUME')

        check(ends(b'p', 'shutdown', 'SHUTDOWN', 'STOP')[0] == {'guest': True, 'reason': 'guest-shutdown'}, 'another reason')
        reset()
        client.run('set-action', reboot='shutdown')
        check(ends(b'r', 'shutdown', 'SHUTDOWN', 'STOP')[0] == {'guest': True, 'reason': 'guest-reset'}, 'another reason')
        reset()
        client.run('set-action', panic='none', reboot='reset')
        check(ends(b'x', 'running', 'GUEST_PANICKED') == [{'action': 'run'}], 'another action')
        check(ends(b'r', 'running', 'RESET') == [{'guest': True, 'reason': 'guest-reset'}], 'another reason')
        client.run('set-action', panic='pause', watchdog='none')
        check(ends(b'x', 'guest-panicked', 'GUEST_PANICKED', 'STOP')[0] == {'action': 'pause'}, 'another action')
        client.run('cont')
        check(client.run('query-status')['running'], 'it does not go on')
        client.run('set-action', shutdown='poweroff')
        bed.key(b'p')
        client.event('SHUTDOWN')
        check(client.closed() and vmm.status() == 0, f'status {vmm.process.returncode}')
    with bed.start('--action', 'panic=exit-failure', '--device', 'pvpanic') as vmm:
        client = vmm.client()
        bed.key(b'x')
        check(client.event('GUEST_PANICKED')['data'] == {'action': 'poweroff'}, 'another action')
        check(client.closed() and vmm.status() == 1, f'status {vmm.process.returncode}')


def check_core(data, code):
    """One segment of memory and the notes of one processor, which runs the kernel."""
    check(data[:4] == b'\x7fELF' and struct.unpack_from('<HH', data, 16) == (4, 62), 'no core file', data[:20])
    heads = [struct.unpack_from('<IIQQQQQQ', data, 64 + 56 * i) for i in range(struct.unpack_from('<H', data, 56)[0])]
    load = next(head for head in heads if head[0] == 1)
    check(load[4] == 0 and load[5] == 16 << 20 and len(data) == load[2] + load[5], 'not all of memory', load)
    check(data[load[2] + LOAD_AT:].startswith(code), 'not the kernel')
    at, end, notes = heads[0][2], heads[0][2] + heads[0][5], []
    while at < end:
        name, size, kind = struct.unpack_from('<III', data, at)
        notes.append((data[at + 12:at + 12 + name - 1], kind, data[at + 12 + (name + 3) // 4 * 4:][:size]))
        at += 12 + (name + 3) // 4 * 4 + (size + 3) // 4 * 4
    check([note[:2] for note in notes] == [(b'CORE', 1), (b'QEMU', 0)] and at == end, 'other notes', [note[:2] for note in notes])
    rip = struct.unpack_from('<Q', notes[0][2], 112 + 16 * 8)[0]
    check(LOAD_AT <= rip < LOAD_AT + len(code), 'the processor is elsewhere', hex(rip))
    check(struct.unpack_from('<Q', notes[1][2], 8 + 16 * 8)[0] == rip and struct.unpack_from('<Q', notes[1][2], 8 + 18 * 8 + 240)[0] & 1,
          'the notes do not agree')


def case_memory(bed):
    """Guest memory in files: what the kernel is, and zeroes where there is nothing."""
    path, code = bed.path('memory'), guest_code()
    with bed.start() as vmm, bed.qemu('-M', 'q35') as qemu:
        client, twin = vmm.client(), qemu.client()
        for command in 'memsave', 'pmemsave':
            client.run(command, val=LOAD_AT, size=5000, filename=path)
            with open(path, 'rb') as file:
                data = file.read()
            check(data[:len(code)] == code and len(data) == 5000 and not any(data[256:]), 'not the kernel', command, data.hex())
            check(client.run('query-status')['running'], 'it does not run')
        client.run('pmemsave', val=(16 << 20) - 8, size=1 << 20, filename=path)
        with open(path, 'rb') as file:
            check(not any(file.read()) and file.tell() == 1 << 20, 'not zeroes')
        check('error' in client.ask({'execute': 'pmemsave', 'arguments': {'val': 0, 'size': 1 << 60, 'filename': path}}), 'any size')
        client.run('dump-guest-memory', paging=False, protocol=f'file:{path}', format='elf')
        check(client.run('query-status')['running'], 'it does not run')
        with open(path, 'rb') as file:
            data = file.read()
        check_core(data, code)
        name = bed.path('passed')
        with open(name, 'wb') as file:
            socket.send_fds(client.socket, [b'{"execute": "getfd", "arguments": {"fdname": "core"}}'], [file.fileno()])
        check(client.answer() == {'return': {}}, 'no descriptor')
        client.run('stop')
        client.run('dump-guest-memory', paging=False, protocol='fd:core')
        check(client.run('query-status')['status'] == 'paused', 'it goes on')
        with open(name, 'rb') as file:
            check_core(file.read(), code)
        check(client.run('query-dump-guest-memory-capability') == {'formats': ['elf']}, 'other formats')
        for message in [{'execute': 'dump-guest-memory', 'arguments': {'paging': False, 'protocol': 'x'}},
                        {'execute': 'dump-guest-memory', 'arguments': {'paging': False, 'protocol': 'file:/no/such/path'}},
                        {'execute': 'dump-guest-memory', 'arguments': {'paging': False, 'protocol': 'fd:nothing'}},
                        {'execute': 'memsave', 'arguments': {'val': 0, 'size': 1, 'filename': path, 'cpu-index': 1}},
                        {'execute': 'memsave', 'arguments': {'val': 0, 'size': 1, 'filename': '/no/such/path'}},
                        {'execute': 'pmemsave', 'arguments': {'val': 0, 'size': 1, 'filename': '/no/such/path'}}]:
            got, wanted = client.ask(message), twin.ask(message)
            check(got == wanted, f'{json.dumps(message)}: not the same', got, wanted)


def values(results):
    return {row['name']: row['value'] for result in results for row in result['stats']}


def case_stats(bed):
    """Counters grow; the filters filter; the schemas name what there is; each vCPU has its own."""
    with bed.start('--cpus', '2') as vmm:
        client = vmm.client()
        paths = [cpu['qom-path'] for cpu in client.run('query-cpus-fast')]
        end = time.monotonic() + LIMIT
        while 'exit.io' not in values(client.run('query-stats', target='vm')):
            check(time.monotonic() < end, 'no I/O is counted')
        first = values(client.run('query-stats', target='vm'))
        check({'jit.blocks', 'jit.code_bytes', 'jit.links', 'jit.tlb_misses', 'jit.slow.page_fault', 'jit.interp_exits',
               'jit.invalidations'} <= set(first), 'not the counters of --stats', first)
        while values(client.run('query-stats', target='vm'))['exit.io'] <= first['exit.io']:
            check(time.monotonic() < end, 'counters do not grow')
        vcpus = client.run('query-stats', target='vcpu')
        check([row['qom-path'] for row in vcpus] == paths and all(row['provider'] == 'kvm' for row in vcpus), 'not each vCPU',
              vcpus)
        check({'runs', 'interpreted', 'tlb_fills'} <= set(values(vcpus)), 'not the counters of a vCPU', vcpus)
        one = client.run('query-stats', target='vcpu', vcpus=paths[1:], providers=[{'provider': 'kvm', 'names': ['runs', 'x']}])
        check(len(one) == 1 and one[0]['qom-path'] == paths[1] and [row['name'] for row in one[0]['stats']] == ['runs'],
              'not what was asked for', one)
        for nothing in {'vcpus': []}, {'vcpus': ['/machine']}, {'providers': []}, \
                {'providers': [{'provider': 'kvm', 'names': []}]}, {'providers': [{'provider': 'kvm', 'names': ['x']}]}:
            check(client.run('query-stats', target='vcpu', **nothing) == [], 'something', nothing)
        client.run('stop')
        schemas = {row['target']: row for row in client.run('query-stats-schemas', provider='kvm')}
        for target in 'vm', 'vcpu':
            names = [row['name'] for row in schemas[target]['stats']]
            check(sorted(names) == sorted(values(client.run('query-stats', target=target))), 'the schema names others', names)
        check({'name': 'jit.code_bytes', 'type': 'instant', 'unit': 'bytes', 'exponent': 0} in schemas['vm']['stats'],
              'no schema of bytes', schemas)


# Each is one message to us and to QEMU, and both answer the same. Line ends are part of it where a word ends there.
SAME_ERRORS = [
    b'{"execute":"nonsense","id":3}', b'{"id":5}', b'{}', b'{"execute":5}', b'{"execute":"query-status","arguments":5}',
    b'{"execute":"query-status","arguments":{"x":1}}', b'{"execute":"query-status","foo":1}', b'[1,2]', b'"x"', b'7\n',
    b'{"execute":"qmp_capabilities","id":1}', b'\xff', b'@\n', b'"\\x"', b'[' * 1025,
    b'{"execute":"query-stats"}', b'{"execute":"query-stats","arguments":{"target":5}}',
    b'{"execute":"query-stats","arguments":{"target":"x"}}',
    b'{"execute":"query-stats","arguments":{"target":"vm","vcpus":[]}}',
    b'{"execute":"query-stats","arguments":{"target":"vcpu","vcpus":"x"}}',
    b'{"execute":"query-stats","arguments":{"target":"vcpu","vcpus":[5]}}',
    b'{"execute":"query-stats","arguments":{"target":"vm","providers":[{"names":[]}]}}',
    b'{"execute":"query-stats","arguments":{"target":"vm","providers":[5]}}',
    b'{"execute":"query-stats","arguments":{"target":"vm","providers":[{"provider":"x"}]}}',
    b'{"execute":"query-stats","arguments":{"target":"vm","providers":[{"provider":"kvm","z":1}]}}',
    b'{"execute":"query-stats-schemas","arguments":{"provider":"x"}}',
    b'{"execute":"block-dirty-bitmap-add","arguments":{"node":"x","name":"y","granularity":-1}}',
    b'{"execute":"block-dirty-bitmap-add","arguments":{"node":"x","name":"y","granularity":4294967296}}',
    b'{"execute":"block-dirty-bitmap-add","arguments":{"node":"x","name":"y","granularity":1.5}}',
    b'{"execute":"send-key"}', b'{"execute":"send-key","arguments":{"keys":[{"type":"qcode","data":"nope"}]}}',
    b'{"execute":"send-key","arguments":{"keys":[{"type":"x","data":"a"}]}}', b'{"execute":"send-key","arguments":{"keys":[5]}}',
    b'{"execute":"send-key","arguments":{"keys":[{"type":"number","data":"a"}]}}',
    b'{"execute":"input-send-event","arguments":{"events":[{"type":"x"}]}}', b'{"execute":"input-send-event"}',
    b'{"execute":"input-send-event","arguments":{"events":[{"type":"btn","data":{"button":"x","down":true}}]}}',
    b'{"execute":"input-send-event","arguments":{"events":[{"type":"rel","data":{"axis":"z","value":1}}]}}',
    b'{"execute":"input-send-event","arguments":{"events":[{"type":"key","data":{"key":{"type":"qcode","data":"a"}}}]}}',
    b'{"execute":"query-mice","arguments":{"x":1}}', b'{"execute":"system_wakeup"}',
    b'{"execute":"change-vnc-password","arguments":{"password":"x"}}', b'{"execute":"change-vnc-password"}',
    b'{"execute":"display-reload","arguments":{"type":"vnc","tls-certs":true}}',
    b'{"execute":"display-reload","arguments":{"type":"gtk"}}',
]

# What json-glib finds is told in its words; both answer with an error of one class.
SAME_CLASS = [
    b'garbage ', b'nul\n', b'{"execute":"query-name"]', b'{"a":1,"a":2}', b'{1:1}', b'{a:1}', b'{true:1}', b'{[1]:2}',
    b'{"a" 1}', b'{"a":}', b'{"a":1 "b":2}', b'{"a":1,}', b'{,}', b'[1 2]', b'[1,]', b'[,]', b'["a":1]', b'[{]}', b']', b':',
    b',', b'"\\ud83d"', b'"\\u12"', b'"\xc3("', b'"a\x01\n', b'01\n', b'1.x\n', b'-x\n', b'1e+\n',
]


def case_errors(bed):
    """What is wrong is told as QEMU tells it, and the connection goes on."""
    with bed.start() as vmm, bed.qemu() as qemu:
        ours, theirs = vmm.client(negotiate=False), qemu.client(negotiate=False)
        for client in ours, theirs:
            check('error' in client.ask(b'{"execute":"nonsense","id":[]}'), 'a command before negotiation')
        check(ours.ask(b'{"execute":"x"}') == theirs.ask(b'{"execute":"x"}'), 'another text before negotiation')
        ours.run('qmp_capabilities')
        theirs.run('qmp_capabilities')
        for message in SAME_ERRORS + SAME_CLASS:
            got, wanted = ours.ask(message), theirs.ask(message)
            if message in SAME_CLASS:
                for answer in got, wanted:
                    answer['error'].pop('desc')
            check('error' in got and got == wanted, f'{message[:80]}: not the same error', got, wanted)
            for client in ours, theirs:
                # Whatever is left of a message, a client can begin anew.
                check('error' in client.ask(b'\xff'), 'no error for 0xff')
                check('return' in client.ask(b'{"execute":"query-version"}'), f'{message[:80]}: the end')
        for message in b"{'execute':'query-version','id':'\"'}", b'{"execute":"query-version","id":"\\ud83d\\ude00\\/\\b"}':
            got, wanted = ours.ask(message), theirs.ask(message)
            check(got['id'] == wanted['id'], 'another id', got, wanted)


class Schema:
    """QEMU's own description of its commands and events (query-qmp-schema)."""

    def __init__(self, client):
        entries = client.run('query-qmp-schema')
        self.types = {entry['name']: entry for entry in entries if entry['meta-type'] not in ('command', 'event')}
        self.commands = {entry['name']: entry for entry in entries if entry['meta-type'] == 'command'}
        self.events = {entry['name']: entry for entry in entries if entry['meta-type'] == 'event'}

    def fits(self, name, value, where):
        entry = self.types[name]
        kind = entry['meta-type']
        if kind == 'object':
            check(isinstance(value, dict), f'{where}: no object', value)
            members = {member['name']: member for member in entry['members']}
            tag = entry.get('tag')
            for variant in entry.get('variants', []):
                if value.get(tag) == variant['case']:
                    members.update({member['name']: member for member in self.types[variant['type']]['members']})
            for member in members.values():
                check(member['name'] in value or 'default' in member, f'{where}: no {member["name"]}', value)
            for key, inner in value.items():
                check(key in members, f'{where}: QEMU has no {key}', value)
                self.fits(members[key]['type'], inner, f'{where}.{key}')
        elif kind == 'array':
            check(isinstance(value, list), f'{where}: no array', value)
            for item in value:
                self.fits(entry['element-type'], item, where)
        elif kind == 'enum':
            check(value in entry['values'], f'{where}: QEMU has no such value', value)
        elif kind == 'alternate':
            check(any(self.is_fit(member['type'], value) for member in entry['members']), f'{where}: none of these', value)
        elif entry['json-type'] != 'value':
            want = {'string': str, 'int': int, 'number': (int, float), 'boolean': bool}[entry['json-type']]
            check(isinstance(value, want) and (want is bool or not isinstance(value, bool)), f'{where}: no {want}', value)

    def is_fit(self, name, value):
        try:
            self.fits(name, value, '')
        except Failed:
            return False
        return True

    def members(self, command):
        """Of a command's arguments, those that have to be there: names to types."""
        entry = self.types[self.commands[command]['arg-type']]
        return {member['name']: member['type'] for member in entry['members'] if 'default' not in member}

    def sample(self, name):
        """Some value of a type."""
        entry = self.types[name]
        kind = entry['meta-type']
        if kind == 'object':
            value = {member['name']: self.sample(member['type']) for member in entry['members'] if 'default' not in member}
            for variant in entry.get('variants', []):
                if value.get(entry['tag']) == variant['case']:
                    value.update(self.sample(variant['type']))
            return value
        if kind == 'alternate':
            return self.sample(entry['members'][0]['type'])
        return {'array': [], 'enum': entry.get('values', [''])[0],
                'builtin': {'string': 'x', 'int': 1, 'number': 1, 'boolean': True}.get(entry.get('json-type'))}[kind]


def argument_faults(schema, command):
    """Arguments that a command does not take: none of what it needs, each of a wrong type, one too many."""
    entry = schema.types[schema.commands[command]['arg-type']]
    needed = {name: schema.sample(kind) for name, kind in schema.members(command).items()}
    if needed:
        yield {}
    for member in entry['members']:
        if not member['type'].startswith('['):
            yield {**needed, member['name']: []}
        else:
            yield {**needed, member['name']: 5}
    # What is too many is told last, behind what is wrong with a union's own members.
    if 'tag' not in entry and command not in ('nbd-server-start', 'blockdev-create'):
        yield {**needed, 'x-y-z': 1}


def same_type(ours, mine, theirs, its, where, seen):
    """A type as we tell it is QEMU's, or a part of it: of an object what we have, with what has to be there."""
    a, b = ours.types[mine], theirs.types[its]
    if mine == 'any' or (mine, its) in seen:
        return
    seen.add((mine, its))
    if b['meta-type'] == 'alternate':
        check(any(ours.types[mine]['meta-type'] == theirs.types[m['type']]['meta-type'] for m in b['members']), f'{where}: none of these')
        return
    if mine == 'str' and b['meta-type'] == 'enum':
        return
    check(a['meta-type'] == b['meta-type'], f'{where}: {a["meta-type"]}, not {b["meta-type"]}')
    if a['meta-type'] == 'builtin':
        check(a == b, f'{where}: not the same', a, b)
    elif a['meta-type'] == 'array':
        same_type(ours, a['element-type'], theirs, b['element-type'], f'{where}[]', seen)
    elif a['meta-type'] == 'enum':
        check(set(a['values']) <= set(b['values']), f'{where}: values that QEMU has not', sorted(set(a['values']) - set(b['values'])))
    elif a['meta-type'] == 'object':
        known = {m['name']: m for v in b.get('variants', []) for m in theirs.types[v['type']].get('members', [])}
        known.update({m['name']: m for m in b['members']})
        own = {m['name'] for m in b['members']}
        for member in a['members']:
            name = member['name']
            check(name in known, f'{where}.{name}: QEMU has it not')
            check(name not in own or ('default' in member) == ('default' in known[name]), f'{where}.{name}: optional here or there')
            same_type(ours, member['type'], theirs, known[name]['type'], f'{where}.{name}', seen)
        lacking = {m['name'] for m in b['members'] if 'default' not in m} - {m['name'] for m in a['members']}
        check(not lacking, f'{where}: these have to be there', sorted(lacking))
        check(a.get('tag') in (None, b.get('tag')), f'{where}: another tag', a.get('tag'), b.get('tag'))
        for variant in a.get('variants', []):
            its = [v['type'] for v in b['variants'] if v['case'] == variant['case']]
            check(its, f'{where}: no case {variant["case"]}')
            same_type(ours, variant['type'], theirs, its[0], f'{where}({variant["case"]})', seen)


def case_introspect(bed):
    """What query-qmp-schema tells of arguments is a part of what QEMU tells; commands and events are those that there are."""
    with bed.start() as vmm, bed.qemu() as qemu:
        client = vmm.client()
        ours, theirs = Schema(client), Schema(qemu.client())
        names = {command['name'] for command in client.run('query-commands')}
        check(set(ours.commands) == names, 'other commands', sorted(set(ours.commands) ^ names))
        check(len(ours.events) > 10 and set(ours.events) <= set(theirs.events), 'other events', sorted(ours.events))
        for name, command in ours.commands.items():
            same_type(ours, command['arg-type'], theirs, theirs.commands[name]['arg-type'], name, set())


def case_schema(bed):
    """Every command of ours is QEMU's, it refuses what QEMU refuses, and what it answers fits QEMU's schema; events as well."""
    arguments = {'query-stats': [{'target': 'vm'}, {'target': 'vcpu'}], 'query-stats-schemas': [{}, {'provider': 'kvm'}]}
    with bed.start('--cpus', '2', '--name', 'x') as vmm, bed.qemu() as qemu:
        client, twin = vmm.client(), qemu.client()
        schema = Schema(twin)
        names = [command['name'] for command in client.run('query-commands')]
        check(len(names) == len(set(names)), 'a command is there twice', names)
        # Those that change the machine in the order that they can be run in.
        order = ['stop', 'cont', 'system_powerdown', 'system_reset', 'quit']
        for name in [name for name in names if name not in order] + order:
            check(name in schema.commands and name in names, f'{name}: not in both')
            if name in ('qmp_capabilities', 'inject-nmi'):  # of an NMI this guest would die
                continue
            for given in argument_faults(schema, name):
                message = {'execute': name, 'arguments': given}
                got, wanted = client.ask(message), twin.ask(message)
                # There are optional arguments, and values of enumerations, that we have not.
                lacking = any(got.get('error', {}).get('desc') in (
                    f"Parameter '{member}' is unexpected", f"Parameter '{member}' does not accept value '{value}'")
                    for member, value in given.items())
                check('error' in got and (got == wanted or lacking and 'x-y-z' not in given),
                      f'{json.dumps(message)}: not the same error', got, wanted)
            for given in arguments.get(name, [] if schema.members(name) else [{}]):
                message = {'execute': name, 'arguments': given}
                got = client.ask(message)
                if 'error' in got:
                    check(got == twin.ask(message), f'{json.dumps(message)}: not the same error', got)
                    continue
                schema.fits(schema.commands[name]['arg-type'], given, name)
                schema.fits(schema.commands[name]['ret-type'], got['return'], name)
    with bed.start() as vmm:
        client, seen = vmm.client(), []
        wanted = ['STOP', 'RESUME', 'POWERDOWN', 'RESET', 'SHUTDOWN']
        for name, event in zip(order, wanted):
            client.run(name)
            while not client.events:  # before or behind the answer
                client.events.append(client.message())
            seen += client.events
            client.events = []
        check([event.get('event') for event in seen] == wanted, 'other events', seen)
        for event in seen:
            schema.fits(schema.events[event['event']]['arg-type'], event.get('data', {}), event['event'])
            check(set(event) <= {'event', 'data', 'timestamp'} and set(event['timestamp']) == {'seconds', 'microseconds'},
                  'another shape', event)


def shape(value, at=''):
    """Paths of an answer's members and their types; those of a list's items are one."""
    if isinstance(value, dict):
        return {path for key, inner in value.items() for path in shape(inner, f'{at}.{key}')} | {f'{at} object'}
    if isinstance(value, list):
        return {path for item in value for path in shape(item, f'{at}[]')} | {f'{at} array'}
    return {f'{at} {"boolean" if isinstance(value, bool) else "number" if isinstance(value, (int, float)) else "string"}'}


# What QEMU has beyond us: statistics of the file below an image.
ONLY_QEMU = re.compile(r'[^ ]*\.parent[. ]')


def case_shapes(bed):
    """Disks, nodes, statistics and jobs are told with the members and types that QEMU has for the same images."""
    for tool in 'qemu-img', 'qemu-system-x86_64':
        if not shutil.which(tool):
            raise Skipped(f'no {tool}')
    sides = {}
    for side in 'ours', 'theirs':
        base, top, target, disc = (bed.path(f'{name}-{side}') for name in ('base', 'top', 'target', 'disc'))
        subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', base, '8M'], check=True)
        subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', top], check=True)
        subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', target, '8M'], check=True)
        subprocess.run(['qemu-img', 'snapshot', '-c', 'one', top], check=True)
        subprocess.run(['qemu-io', '-c', 'write 0 4M', top], check=True, stdout=subprocess.DEVNULL)
        with open(disc, 'wb') as file:
            file.truncate(1 << 20)
        if side == 'ours':
            machine = bed.start('--disk', f'file={top},format=qcow2,id=disk0', '--disk', f'file={disc},media=cdrom,id=cd0')
        else:
            machine = bed.qemu('-M', 'q35', '-m', '64M', '-drive', f'file={top},format=qcow2,id=disk0,if=none', '-device',
                               'virtio-blk-pci,drive=disk0', '-device', 'virtio-scsi-pci', '-drive',
                               f'file={disc},format=raw,media=cdrom,id=cd0,if=none', '-device', 'scsi-cd,drive=cd0')
        with machine as vm:
            client = vm.client()
            node = next(row for row in client.run('query-block') if row['device'] == 'disk0')['inserted']['node-name']
            client.run('block-dirty-bitmap-add', node=node, name='b', persistent=True)
            client.run('block_set_io_throttle', device='disk0', bps=1 << 30, bps_max=2 << 30, bps_rd=0, bps_wr=0, iops=0, iops_rd=0,
                       iops_wr=0)
            client.run('blockdev-add', driver='qcow2', file={'driver': 'file', 'filename': target}, **{'node-name': 'target'})
            sides[side] = {command: client.run(command) for command in (
                'query-block', 'query-named-block-nodes', 'query-blockstats')}
            client.run('blockdev-backup', device='disk0', target='target', sync='full', speed=1 << 16, **{'job-id': 'slow'})
            sides[side].update({command: client.run(command) for command in ('query-block-jobs', 'query-jobs')})
            schema = Schema(client) if side == 'theirs' else None
    for command, answer in sides['ours'].items():
        schema.fits(schema.commands[command]['ret-type'], answer, command)
        ours, theirs = shape(answer), shape(sides['theirs'][command])
        more, less = ours - theirs, {path for path in theirs - ours if not ONLY_QEMU.match(path)}
        check(not more and not less, f'{command}: other members', f'only here: {sorted(more)}', f'only in QEMU: {sorted(less)}')


CREATED = [
    ('qcow2', {'size': 64 << 20}),
    ('qcow2', {'size': 3 << 20, 'cluster-size': 4096, 'lazy-refcounts': True, 'refcount-bits': 8, 'compression-type': 'zstd'}),
    ('qcow2', {'size': 1 << 20, 'version': 'v2'}), ('qcow2', {'size': 8 << 20, 'extended-l2': True, 'preallocation': 'metadata'}),
    ('qcow2', {'size': 1 << 30, 'backing-file': 'elsewhere', 'backing-fmt': 'raw'}), ('vdi', {'size': 5 << 20}),
    ('vhdx', {'size': 64 << 20, 'block-size': 1 << 20, 'subformat': 'dynamic'}), ('vmdk', {'size': 32 << 20, 'adapter-type': 'ide'}),
    ('vpc', {'size': 8 << 20, 'subformat': 'fixed', 'force-size': True}),
]


def case_create(bed):
    """blockdev-create beside QEMU's: the same jobs, events and errors, and images that qemu-img finds to be the same."""
    if not shutil.which('qemu-img'):
        raise Skipped('no qemu-img')

    def conclude(client, arguments):
        client.run('blockdev-create', **{'job-id': 'c'}, options=arguments)
        while client.event('JOB_STATUS_CHANGE')['data']['status'] != 'concluded':
            pass
        jobs = client.run('query-jobs')
        client.run('job-dismiss', id='c')
        while client.event('JOB_STATUS_CHANGE')['data']['status'] != 'null':
            pass
        check(not client.events, 'other events', client.events)
        return jobs

    def create(client, path, driver, more):
        jobs = conclude(client, {'driver': 'file', 'filename': path, 'size': 0})
        client.run('blockdev-add', driver='file', filename=path, **{'node-name': 'file'})
        jobs += conclude(client, {'driver': driver, 'file': 'file', **more})
        client.run('blockdev-add', driver=driver, file='file', **({'backing': None} if driver == 'qcow2' else {}),
                   **{'node-name': 'image'})
        for node in 'image', 'file':
            client.run('blockdev-del', **{'node-name': node})
        info = json.loads(subprocess.run(['qemu-img', 'info', '--output=json', path], check=True, capture_output=True).stdout)
        for key in 'filename', 'actual-size', 'full-backing-filename':
            info.pop(key, None)
        data = info.get('format-specific', {}).get('data', {})
        for key in 'cid', 'extents':
            data.pop(key, None)
        return jobs, info

    with bed.start() as vmm, bed.qemu() as qemu:
        ours, theirs = vmm.client(), qemu.client()
        for driver, more in CREATED:
            got, wanted = (create(client, bed.path(driver), driver, more) for client in (ours, theirs))
            check(got == wanted, f'{driver} {more}: not the same', list(got), list(wanted))
        path = bed.path('raw')
        conclude(ours, {'driver': 'file', 'filename': path, 'size': 1 << 20, 'preallocation': 'falloc'})
        check(os.path.getsize(path) == 1 << 20 and os.stat(path).st_blocks >= 2048, 'not the room that was asked for')
        job = conclude(ours, {'driver': 'file', 'filename': '/no/such/folder/x', 'size': 0})[0]
        check('/no/such/folder/x' in job['error'] and job['type'] == 'create', 'no error', job)
        ours.run('blockdev-add', driver='raw', file={'driver': 'file', 'filename': path, 'node-name': 'below'}, **{'node-name': 'above'})
        answer = ours.ask({'execute': 'blockdev-create', 'arguments': {
            'job-id': 'c', 'options': {'driver': 'qcow2', 'file': 'below', 'size': 1 << 20}}})
        check(answer.get('error', {}).get('desc') == 'Node below is in use', 'a file in use is written', answer)
        for given in {'driver': 'qcow2', 'file': 'nothing', 'size': 1 << 20}, {'driver': 'qcow2', 'size': 1}, \
                {'driver': 'qcow2', 'file': 'x', 'size': -1.5}, {'driver': 'qcow2', 'file': 'x', 'size': 1, 'version': 'v9'}, \
                {'driver': 'file', 'filename': 5, 'size': 1}, {'driver': 'qcow2', 'file': 'x', 'size': 1, 'filename': 'x'}:
            message = {'execute': 'blockdev-create', 'arguments': {'job-id': 'c', 'options': given}}
            got = ours.ask(message)
            check('error' in got, f'{given}: no error', got)
            if given.get('file') != 'nothing':  # QEMU's job finds that out
                wanted = theirs.ask(message)
                check(got == wanted, f'{given}: not the same error', got, wanted)


def memory(process):
    with open(f'/proc/{process.pid}/status', encoding='ascii') as file:
        return int(next(line.split()[1] for line in file if line.startswith('VmRSS')))


def case_cpu(bed):
    """Each model is what QEMU has under that name; features come and go; where each vCPU is."""
    with bed.start('--smp', 'sockets=2,cores=1,threads=2') as vmm, bed.qemu() as qemu:
        client, twin = vmm.client(), qemu.client()

        def expand(of, name, **props):
            model = {'name': name, **({'props': props} if props else {})}
            return of.run('query-cpu-model-expansion', type='full', model=model)['model']['props']

        models = [model['name'] for model in client.run('query-cpu-definitions')]
        theirs = {model['name'] for model in twin.run('query-cpu-definitions')}
        check(len(models) > 40 and {'host', 'max', 'baseline'} < set(models), 'models are missing', models)
        for name in models:
            if name in ('host', 'max', 'baseline'):
                continue
            check(name in theirs, f'{name} is not one of QEMU\'s')
            got, wanted = expand(client, name), expand(twin, name)
            # KVM's own features are of the accelerator that QEMU does not have here.
            wrong = [key for key in got if not key.startswith('kvm') and got[key] != wanted.get(key, False)]
            check(not wrong, f'{name}: not the same', {key: (got[key], wanted.get(key)) for key in wrong})
        check(expand(client, 'EPYC', avx2=False)['avx2'] is False and expand(client, 'EPYC')['avx2'], 'features do not go')
        check('error' in client.ask({'execute': 'query-cpu-model-expansion',
                                     'arguments': {'type': 'full', 'model': {'name': 'EPYC', 'props': {'x': True}}}}), 'a feature x')
        places = [cpu['props'] for cpu in client.run('query-cpus-fast')]
        check([(p['socket-id'], p['core-id'], p['thread-id']) for p in places] == [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1)],
              'vCPUs are elsewhere', places)


def case_hostile(bed):
    """Clients that flood, do not read, hang up anywhere, and send what never ends: the guest runs on, memory is bounded."""
    with bed.start() as vmm:
        client = vmm.client()
        client.run('query-stats', target='vm')
        before = memory(vmm.process)
        client.socket.setblocking(False)
        sent, quiet = 0, 0
        while quiet < 5 and sent < 64 << 20:  # until it takes no more for a while
            try:
                sent += client.socket.send(b'{"execute":"query-stats","arguments":{"target":"vm"}}' * 1000)
                quiet = 0
            except BlockingIOError:
                quiet += 1
                time.sleep(0.1)
        check(quiet, f'{sent} bytes of commands are taken without an answer being read')
        check(memory(vmm.process) - before < 8 << 10, f'{memory(vmm.process) - before} KiB for a client that does not read')
        with open(f'/proc/{vmm.process.pid}/stat', encoding='ascii') as file:
            check(file.read().split()[2] in 'RSD', 'the process is not well')
        client.socket.close()
        client = vmm.client()
        for message, text in [
                (b'"' + b'x' * (2 << 20), 'JSON token size limit exceeded'),
                (b'[' + b'1,' * (1 << 16), 'JSON token size limit exceeded'),
                (b'{"a":' * 100000, 'JSON nesting depth limit exceeded')]:
            client.send(message)
            answer = client.answer()
            check(answer['error'] == {'class': 'GenericError', 'desc': text}, f'not "{text}"', answer)
            client.socket.close()
            client = vmm.client()
        for size in range(1, 40):
            client.socket.close()
            client = vmm.client(negotiate=False)
            client.send(b'{"execute":"qmp_capabilities"}{"execute'[:size])
        client.socket.close()
        client = vmm.client()
        check(client.run('query-status')['running'], 'not running')
        check(memory(vmm.process) - before < 16 << 10, f'{memory(vmm.process) - before} KiB more')


def case_rejected(bed):
    """One line that names the cause, and a status that is not 0."""
    used = bed.path('used')
    open(used, 'wb').close()
    for text, message in [
            ('unix:', "--qmp: socket: 'unix:' is not valid; give unix:PATH"),
            ('tcp:x', "--qmp: socket: 'tcp:x' is not valid; give unix:PATH"),
            ('unix:x,server=off', "--qmp: server: 'off' is not valid; give on"),
            ('unix:x,wait=on', "--qmp: wait: 'on' is not valid; give off"),
            (f'unix:{used}', f"QMP socket '{used}' exists and is not a socket; remove it"),
            ('unix:/no/such/path', "cannot listen on QMP socket '/no/such/path': No such file or directory")]:
        done = subprocess.run([bed.program, '--accel', 'soft', '--kernel', bed.kernel, '--console', f'file:{bed.folder}/log',
                               '--quiet', '--qmp', text], stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT,
                              check=False)
        check(done.returncode == 1 and done.stderr.decode() == f'kv-vmm: {message}\n',
              f'--qmp {text}: status {done.returncode}, not "{message}"', done.stderr.decode())
    with bed.start() as vmm:
        vmm.client()
        done = subprocess.run([bed.program, '--accel', 'soft', '--kernel', bed.kernel, '--console', f'file:{bed.folder}/log',
                               '--qmp', f'unix:{vmm.path}'], stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT,
                              check=False)
        check(b'is in use by another process' in done.stderr, 'a socket in use is taken', done.stderr.decode())


def main():
    program, *names = sys.argv[1:]
    return cases.run(globals(), names, lambda folder: Bed(os.path.abspath(program), folder))


if __name__ == '__main__':
    sys.exit(main())
