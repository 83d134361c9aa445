#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines that are saved and restored: to files, sockets and pipes, while the guest writes memory and checks what it wrote. The
guest is a few bytes long, but for the case `linux`.   usage: migrate.py KV-VMM SOURCE-TREE CASE...
Exit status 77: something is needed and not installed."""
import contextlib
import http.server
import importlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time

import cases
import qmp
from cases import Skipped, check

LIMIT = 180
MIB = 1 << 20


def out(port, value):
    return b'\x66\xba' + struct.pack('<H', port) + bytes([0xb0, value, 0xee])


def guest_code():
    """Fills 4 MiB with numbers that go up, each round from one more on, and checks them; answers a byte from the serial port by
    +, p by the end. What is not as it was written: ! and no more."""
    begin = b'\xbf\x00\x00\x20\x00\xb9\x00\x00\x10\x00\x89\xf0'  # mov $0x200000, %edi; mov $0x100000, %ecx; mov %esi, %eax
    fill = b'\x89\x07\x83\xc7\x04\x40\xe2\xf8'  # mov %eax, (%edi); add $4, %edi; inc %eax; loop
    bad = out(0x3f8, ord('!')) + b'\xeb\xfe'
    compare = b'\x39\x07\x75%c\x83\xc7\x04\x40\xe2\xf6'  # cmp %eax, (%edi); jne bad; as above
    poll = b'\x66\xba\xfd\x03\xec\xa8\x01\x74%c'  # wait for a byte, or go round
    answer = b'\x66\xba\xf8\x03\xec\x3c\x70\x75\x07' + out(0x600, 0x34) + out(0x3f8, ord('+')) + b'\xeb%c'
    head = b'\x31\xf6'  # xor %esi, %esi
    round_ = b'\x46' + begin + fill + begin
    to_bad = len(compare) - 1 - 4 + len(poll) - 1 + len(answer) - 1
    length = len(round_) + len(compare) - 1 + len(poll) - 1
    code = round_ + compare.replace(b'%c', bytes([to_bad])) + poll.replace(b'%c', bytes([256 - length & 0xff]))
    code += answer.replace(b'%c', bytes([256 - (len(code) + len(answer) - 1) & 0xff]))
    return head + code + bad


class Bed:
    def __init__(self, program, tree, folder):
        self.program, self.tree, self.folder, self.count = program, tree, folder, 0
        self.kernel = f'{folder}/kernel'
        qmp.guest_code = guest_code
        qmp.kernel(self.kernel)

    def path(self, name):
        self.count += 1
        return f'{self.folder}/{name}{self.count}'

    def start(self, *options, memory='16M', kernel=None, pass_fds=(), before=()):
        path, console = self.path('qmp'), self.path('console')
        process = qmp.Process.__new__(qmp.Process)
        process.path, process.console = path, console
        process.process = subprocess.Popen([*before, self.program, '--accel', 'soft', '--memory', memory,
                                            '--kernel', kernel or self.kernel, '--console', f'unix:{console}',
                                            '--qmp', f'unix:{path}', *options],
                                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                           pass_fds=pass_fds)
        return process


def is_good(vmm):
    """The guest runs, and all that it has written was there when it looked."""
    with socket.socket(socket.AF_UNIX) as peer:
        end = time.monotonic() + LIMIT
        while peer.connect_ex(vmm.console):
            check(time.monotonic() < end, 'no console')
            time.sleep(0.02)
        peer.settimeout(LIMIT)
        peer.sendall(b'k')
        answer = peer.recv(1)
        check(answer == b'+', f'the guest answers {answer}')


def wait_status(client, *names, what='query-migrate'):
    end = time.monotonic() + LIMIT
    while True:
        info = client.run(what)
        if info.get('status') in names:
            return info
        check(time.monotonic() < end and info.get('status') != 'failed', f'not {names}', info)
        time.sleep(0.02)


def capability(client, name, on=True):
    client.run('migrate-set-capabilities', capabilities=[{'capability': name, 'state': on}])


def save(client, uri):
    client.run('migrate', uri=uri)
    return wait_status(client, 'completed')


def running(client):
    return wait_status(client, 'running', what='query-status')


def case_file(bed):
    """To a file and from there; the source can go on, the file can be used twice, a reset forgets it."""
    path = bed.path('saved')
    with bed.start('--cpus', '2') as vmm:
        client = vmm.client()
        is_good(vmm)
        capability(client, 'events')
        info = save(client, f'file:{path}')
        check(info['ram']['total'] >= 16 * MIB and info['ram']['remaining'] == 0 and info['ram']['normal'] > 1024, 'counts', info)
        check([client.event('MIGRATION')['data']['status'] for _ in range(3)] == ['setup', 'active', 'completed'], 'events')
        check(client.run('query-status') == {'status': 'postmigrate', 'singlestep': False, 'running': False}, 'status')
        for _ in range(2):
            with bed.start('--cpus', '2', '--incoming', f'file:{path}') as other:
                running(other.client())
                is_good(other)
                client2 = other.client()
                client2.run('system_reset')
                is_good(other)
        client.run('cont')
        is_good(vmm)
        check(client.run('query-status')['running'], 'the source does not go on')
    check(os.stat(path).st_blocks * 512 < 8 * MIB, 'the file has no holes')


def case_paused(bed):
    """A machine that stands still comes as one."""
    path = bed.path('saved')
    with bed.start() as vmm:
        client = vmm.client()
        is_good(vmm)
        client.run('stop')
        save(client, f'file:{path}')
    with bed.start('--incoming', f'file:{path}') as vmm:
        client = vmm.client()
        check(client.run('query-status')['status'] == 'paused', 'it is not paused')
        client.run('cont')
        is_good(vmm)


def case_cut(bed):
    """The file that a machine has its memory from is cut short under it: that is the end, in words."""
    path = bed.path('saved')
    with bed.start() as vmm:
        client = vmm.client()
        is_good(vmm)
        client.run('stop')
        save(client, f'file:{path}')
    with bed.start('--incoming', f'file:{path}') as vmm:
        client = vmm.client()
        os.truncate(path, 4096)
        with contextlib.suppress(OSError, cases.Failed):
            client.run('pmemsave', val=0, size=16 * MIB, filename=bed.path('memory'))
        words = vmm.process.communicate(timeout=LIMIT)[1].decode()
        check('was cut short: the guest is lost' in words, 'no words', words)


def case_hops(bed):
    """From process to process by a socket, twenty times."""
    vmm = bed.start('--cpus', '2')
    try:
        for _ in range(20):
            path = bed.path('socket')
            other = bed.start('--cpus', '2', '--incoming', f'unix:{path}')
            try:
                new = other.client()
                check(new.run('query-status') == {'status': 'inmigrate', 'singlestep': False, 'running': False}, 'not inmigrate')
                save(vmm.client(), f'unix:{path}')
                running(new)
            finally:
                vmm.__exit__()
                vmm = other
            is_good(vmm)
    finally:
        vmm.__exit__()


def free_port(family, address):
    """One that nobody has now; who takes it meanwhile is told of."""
    with socket.socket(family) as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def case_tcp(bed):
    """From process to process by TCP, of both families; who is not there, or does not answer, holds up nobody."""
    vmm = bed.start('--cpus', '2')
    try:
        for family, address in ((socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1'), (socket.AF_INET, '')):
            try:
                port = free_port(family, address)
            except OSError as error:
                raise Skipped(f'{address}: {error}') from error
            uri = f'tcp:[{address}]:{port}' if ':' in address else f'tcp:{address}:{port}'
            other = bed.start('--cpus', '2', '--incoming', *(['defer'] if not address else [uri]))
            try:
                new = other.client()
                if not address:
                    new.run('migrate-incoming', uri=uri)
                save(vmm.client(), uri)
                running(new)
            finally:
                vmm.__exit__()
                vmm = other
            is_good(vmm)
        client = new
        client.run('migrate', uri=f'tcp:127.0.0.1:{free_port(socket.AF_INET, "127.0.0.1")}')
        end = time.monotonic() + LIMIT
        while client.run('query-migrate')['status'] != 'failed':
            check(time.monotonic() < end, 'nobody is there, and nobody says so')
        check('refused' in client.run('query-migrate')['error-desc'], 'another reason', client.run('query-migrate'))
        with socket.socket() as full:
            # A queue of no length: connections beyond the first few are not answered.
            full.bind(('127.0.0.1', 0))
            full.listen(0)
            fill = [socket.socket() for _ in range(8)]
            for one in fill:
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            client.run('migrate', uri=f'tcp:127.0.0.1:{full.getsockname()[1]}')
            wait_status(client, 'active')
            is_good(vmm)
            client.run('migrate_cancel')
            wait_status(client, 'cancelled')
            for one in fill:
                one.close()
        is_good(vmm)
        text = refused_uri(bed, f'tcp:127.0.0.1:nosuchport')
        check('cannot listen on' in text, 'another reason', text)
    finally:
        vmm.__exit__()


def case_exec(bed):
    """Through commands: the one that --incoming names starts outside of the sandbox, others with --sandbox off."""
    path = bed.path('saved')
    with bed.start('--sandbox', 'off') as vmm:
        client = vmm.client()
        is_good(vmm)
        save(client, f'exec:cat >{path}.new && mv {path}.new {path}')
    end = time.monotonic() + LIMIT
    while not os.path.exists(path):
        check(time.monotonic() < end, 'the command does not end')
        time.sleep(0.02)
    with bed.start('--incoming', f'exec:cat {path}') as vmm:
        running(vmm.client())
        is_good(vmm)
    with bed.start('--incoming', 'defer') as vmm:
        answer = vmm.client().ask({'execute': 'migrate-incoming', 'arguments': {'uri': f'exec:cat {path}'}})
        check('the sandbox starts no programs' in answer['error']['desc'], 'it starts one', answer)
    text = refused_uri(bed, 'exec:exit 3')
    check('ends too early' in text, 'another reason', text)


def refused_uri(bed, uri):
    with bed.start('--incoming', uri) as vmm:
        text = vmm.process.communicate(timeout=LIMIT)[1].decode()
        check(vmm.process.returncode == 1, f'{uri} is taken', text)
        return text


def case_pipe(bed):
    """Through a pipe, whose ends are passed by SCM_RIGHTS and by inheritance; --incoming defer."""
    read, write = os.pipe()
    with bed.start() as vmm, bed.start('--incoming', 'defer', pass_fds=(read,)) as other:
        client, new = vmm.client(), other.client()
        is_good(vmm)
        new.run('system_reset')
        check(new.event('RESET')['data'] == {'guest': False, 'reason': 'host-qmp-system-reset'}, 'another reason')
        check(new.run('query-status')['status'] == 'inmigrate', 'a reset changes what is awaited')
        answer = client.ask({'execute': 'getfd', 'arguments': {'fdname': 'x'}})
        check(answer['error']['desc'] == 'No file descriptor supplied via SCM_RIGHTS', 'no descriptor', answer)
        socket.send_fds(client.socket, [b'{"execute": "getfd", "arguments": {"fdname": "x"}}'], [write])
        check(client.answer() == {'return': {}}, 'getfd fails')
        os.close(write)
        new.run('migrate-incoming', uri=f'fd:{read}')
        os.close(read)
        save(client, 'fd:x')
        running(new)
        is_good(other)
        answer = client.ask({'execute': 'closefd', 'arguments': {'fdname': 'x'}})
        check(answer['error']['desc'] == "File descriptor named 'x' not found", 'the descriptor is still there', answer)


def case_snapshot(bed):
    """A background snapshot: the machine goes on at once, and the file has one moment. Also of a restored machine."""
    first, second = bed.path('saved'), bed.path('saved')
    with bed.start('--cpus', '2') as vmm:
        client = vmm.client()
        is_good(vmm)
        capability(client, 'background-snapshot')
        for _ in range(5):
            save(client, f'file:{first}')
            check(client.run('query-status')['status'] == 'running', 'it does not go on')
            is_good(vmm)
            client.event('STOP')
            client.event('RESUME')
        answer = client.ask({'execute': 'migrate', 'arguments': {'uri': f'unix:{first}'}})
        check(answer['error']['desc'] == 'background-snapshot is for file:PATH', 'a socket is taken', answer)
        with bed.start('--cpus', '2', '--incoming', f'file:{first}') as other:
            new = other.client()
            running(new)
            is_good(other)
            capability(new, 'background-snapshot')
            save(new, f'file:{second}')
            running(new)
            is_good(other)
        for path in first, second:
            with bed.start('--cpus', '2', '--incoming', f'file:{path}') as other:
                running(other.client())
                is_good(other)
        # A reset in the middle changes nothing of it.
        client.run('migrate', uri=f'file:{second}')
        client.run('system_reset')
        wait_status(client, 'completed', 'failed')
        is_good(vmm)


def case_unprivileged(bed):
    """A background snapshot where userfaultfd is not permitted: in rounds."""
    path = bed.path('saved')
    before = ()
    if not os.getuid():
        if not shutil.which('setpriv'):
            raise Skipped('no setpriv')
        before = 'setpriv', '--bounding-set=-sys_ptrace', '--inh-caps=-sys_ptrace'
    with bed.start(before=before) as vmm:
        client = vmm.client()
        is_good(vmm)
        capability(client, 'background-snapshot')
        for _ in range(2):
            info = save(client, f'file:{path}')
            running(client)
            is_good(vmm)
        with open('/proc/sys/vm/unprivileged_userfaultfd', encoding='ascii') as file:
            check(int(file.read()) or info['ram']['dirty-sync-count'] > 0, 'it was permitted', info)
    with bed.start('--incoming', f'file:{path}') as vmm:
        running(vmm.client())
        is_good(vmm)


def case_cancel(bed):
    """Slowly, then not at all; then quickly."""
    path = bed.path('socket')
    with bed.start() as vmm, bed.start('--incoming', f'unix:{path}') as other:
        client, new = vmm.client(), other.client()
        is_good(vmm)
        client.run('migrate-set-parameters', **{'max-bandwidth': MIB, 'downtime-limit': 1})
        check(client.run('query-migrate-parameters') == {'max-bandwidth': MIB, 'downtime-limit': 1}, 'parameters')
        client.run('migrate', uri=f'unix:{path}')
        info = wait_status(client, 'active')
        answer = client.ask({'execute': 'migrate', 'arguments': {'uri': 'file:/x'}})
        check(answer['error']['desc'] == "There's a migration process in progress", 'a second one', answer)
        client.run('migrate_cancel')
        info = wait_status(client, 'cancelled')
        check('ram' not in info, 'counts of what was cancelled', info)
        check(client.run('query-status')['running'], 'it does not run')
        is_good(vmm)
        check(other.status() == 1, 'the destination does not give up')
    path = bed.path('socket')
    with bed.start() as vmm, bed.start('--incoming', f'unix:{path}') as other:
        client, new = vmm.client(), other.client()
        is_good(vmm)
        client.run('migrate-set-parameters', **{'max-bandwidth': MIB // 4, 'downtime-limit': 1})
        client.run('migrate', uri=f'unix:{path}')
        wait_status(client, 'active')
        client.run('migrate-set-parameters', **{'max-bandwidth': 0, 'downtime-limit': 2000})
        wait_status(client, 'completed')
        running(new)
        is_good(other)


def case_backing(bed):
    """Memory that is shared, through a file or a memfd, goes as other memory does, also into a file that had something."""
    ram = bed.path('ram')
    with open(ram, 'wb') as file:
        file.write(b'x' * (16 * MIB))
    for kind in 'memfd', f'file,mem-path={ram}':
        path, other_ram = bed.path('socket'), bed.path('ram')
        with open(other_ram, 'wb') as file:
            file.write(b'x' * (16 * MIB))
        words = ('--machine', 'micro,memory-backend=m', '--object')
        with bed.start(*words, f'memory-backend-{kind},id=m,size=16M,share=on') as vmm, \
                bed.start(*words, f'memory-backend-file,mem-path={other_ram},id=m,size=16M,share=on', '--incoming', f'unix:{path}') as other:
            client, new = vmm.client(), other.client()
            is_good(vmm)
            save(client, f'unix:{path}')
            running(new)
            is_good(other)


def case_full(bed):
    """Who listens and lets nobody in is not waited for by the main thread."""
    path = bed.path('socket')
    with bed.start() as vmm, socket.socket(socket.AF_UNIX) as server:
        client = vmm.client()
        server.bind(path)
        server.listen(0)
        waits = []
        while True:
            waits.append(socket.socket(socket.AF_UNIX))
            waits[-1].setblocking(False)
            if waits[-1].connect_ex(path):
                break
        answer = client.ask({'execute': 'migrate', 'arguments': {'uri': f'unix:{path}'}})
        check('temporarily unavailable' in answer.get('error', {}).get('desc', ''), 'it is taken', answer)
        is_good(vmm)
        for peer in waits:
            peer.close()


def refused(bed, path, *options, memory='16M'):
    with bed.start('--incoming', f'file:{path}', *options, memory=memory) as vmm:
        text = vmm.process.communicate(timeout=LIMIT)[1].decode()
        check(vmm.process.returncode == 1, f'status {vmm.process.returncode}', text)
        return text


def case_refused(bed):
    """What does not fit is told in words; the source goes on."""
    path = bed.path('saved')
    with bed.start() as vmm:
        client = vmm.client()
        is_good(vmm)
        save(client, f'file:{path}')
        for options, memory, words in (
                (('--cpus', '2'), '16M', "has 'cpus 1' where this one has 'cpus 2'"),
                ((), '32M', "has 'memory 16777216' where this one has 'memory 33554432'"),
                (('--net', 'none'), '16M', "where this one has 'device virtio-net net0'")):
            text = refused(bed, path, *options, memory=memory)
            check(words in text, f'not "{words}"', text)
        with open(path, 'rb') as file:
            good = file.read()
        for name, data, words in (('empty', b'', 'ends too early'), ('other', b'x' * 100000, 'not a saved machine'),
                                  ('short', good[:-1], 'too few'), ('start', good[:70], 'ends too early'),
                                  ('state', good[:-100] + b'\0' * 100, 'damaged'),
                                  ('version', good[:8] + b'\x09' + good[9:], 'has version 9')):
            bad = bed.path(name)
            with open(bad, 'wb') as file:
                file.write(data)
            text = refused(bed, bad)
            check(words in text, f'{name}: not "{words}"', text)
        for uri, words in (('exec:cat', 'the sandbox starts no programs'), ('rdma:x:1', 'unknown migration protocol'),
                           ('tcp:localhost', 'give tcp:HOST:PORT'), ('tcp:::1:5', 'in brackets'),
                           ('unix:/nowhere/x', 'No such file'), ('fd:no', "named 'no' has not been found"),
                           ('file:/nowhere/x', 'No such file')):
            client.run('cont')
            answer = client.ask({'execute': 'migrate', 'arguments': {'uri': uri}})
            check(words in answer.get('error', {}).get('desc', ''), f'{uri}: not "{words}"', answer)
        is_good(vmm)
        # The destination says no in the middle: the source has sent all and is asked to go on.
        socket_path = bed.path('socket')
        with bed.start('--cpus', '2', '--incoming', f'unix:{socket_path}') as other:
            other.client()
            client.run('migrate', uri=f'unix:{socket_path}')
            check(other.status() == 1, 'the destination takes it')
        end = time.monotonic() + LIMIT
        while client.run('query-migrate')['status'] not in ('completed', 'failed'):
            check(time.monotonic() < end, 'it does not end')
            time.sleep(0.02)
        client.run('cont')
        is_good(vmm)


def case_disks(bed):
    """A disk's lock goes with the machine; the source has it again only when the destination has let go."""
    disk, path = bed.path('disk'), bed.path('socket')
    with open(disk, 'wb') as file:
        file.truncate(MIB)
    with bed.start('--disk', disk) as vmm:
        client = vmm.client()
        is_good(vmm)
        with bed.start('--disk', disk, '--incoming', f'unix:{path}') as other:
            new = other.client()
            save(client, f'unix:{path}')
            running(new)
            is_good(other)
            answer = client.ask({'execute': 'cont'})
            check('open for writing in another process' in answer.get('error', {}).get('desc', ''), 'two writers', answer)
        client.run('cont')
        is_good(vmm)
        with bed.start('--disk', disk) as other:
            check(other.status() == 1, 'the source does not hold its disk')


def case_shapes(bed):
    """QEMU's answers have the same members."""
    if not shutil.which('qemu-system-x86_64'):
        raise Skipped('no qemu-system-x86_64')
    path = bed.path('qemu')
    with bed.start() as vmm, qmp.Process(['qemu-system-x86_64', '-nodefaults', '-display', 'none', '-accel', 'tcg', '-S', '-qmp',
                                          f'unix:{path},server=on,wait=off'], path) as other:
        ours, theirs = vmm.client(), other.client()
        check(ours.run('query-migrate') == theirs.run('query-migrate') == {}, 'before the first one')
        for client in ours, theirs:
            client.run('stop')
            read, write = os.pipe()
            drain = subprocess.Popen(['cat'], stdin=read, stdout=subprocess.DEVNULL)
            os.close(read)
            socket.send_fds(client.socket, [b'{"execute": "getfd", "arguments": {"fdname": "x"}}'], [write])
            client.answer()
            os.close(write)
            client.run('migrate', uri='fd:x')
            client.info = wait_status(client, 'completed')
            drain.wait(LIMIT)
            client.status = client.run('query-status')
            client.error = client.ask({'execute': 'migrate', 'arguments': {'uri': 'fd:x'}})
        check(set(ours.info) == set(theirs.info), 'query-migrate', sorted(ours.info), sorted(theirs.info))
        check(set(ours.info['ram']) == set(theirs.info['ram']), 'ram', sorted(ours.info['ram']), sorted(theirs.info['ram']))
        check(ours.status == theirs.status, 'query-status', ours.status, theirs.status)
        check(ours.error == theirs.error, 'a second time', ours.error, theirs.error)


def case_firmware(bed):
    """A pc with a firmware of some bytes: they run, their copy below 1 MiB and what they wrote to RAM are there."""
    firmware, path = bed.path('firmware'), bed.path('saved')
    # Real mode: 1234h to 8000h; then for each byte at the serial port: + if that and the copy of this are there, else !.
    code = bytes.fromhex('fa31c08ed8b800f08ec0c70600803412 bafd03eca80174f8 baf803ec b021 813e00803412 750b 26813e0000fa31 7502 '
                         'b02b ee ebdc')
    with open(firmware, 'wb') as file:
        file.write(code.ljust(0xfff0, b'\0') + b'\xe9\x0d\x00'.ljust(16, b'\0'))

    def start(*options):
        process = qmp.Process.__new__(qmp.Process)
        process.path, process.console = bed.path('qmp'), bed.path('console')
        process.process = subprocess.Popen([bed.program, '--accel', 'soft', '--machine', 'pc', '--firmware', firmware, '--memory',
                                            '64M', '--console', f'unix:{process.console}', '--qmp',
                                            f'unix:{process.path}', *options], stdin=subprocess.DEVNULL,
                                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        return process

    with start() as vmm:
        client = vmm.client()
        is_good(vmm)
        capability(client, 'background-snapshot')
        save(client, f'file:{path}')
        is_good(vmm)
        client.run('quit')
    for _ in range(2):
        with start('--incoming', f'file:{path}') as vmm:
            client = vmm.client()
            running(client)
            is_good(vmm)
            client.run('system_reset')
            is_good(vmm)
            client.run('quit')
            vmm.status()


# Ticks on the console; memory, a disk and, when it is asked for, the network, each with sums that have to be right.
LOAD = """
ip addr add 10.0.2.15/24 dev eth0
mke2fs -F /dev/vda >/dev/null 2>&1 && mkdir /mnt && mount -t ext2 /dev/vda /mnt
seq 200000 > want; sum=$(md5sum < want)
while :; do seq 200000 > mem; [ "$(md5sum < mem)" = "$sum" ] || echo @bad memory; done &
while :; do
 cp want /mnt/got; sync; echo 3 > /proc/sys/vm/drop_caches
 [ "$(md5sum < /mnt/got)" = "$sum" ] || echo @bad disk; touch /disk-ran
done &
n=0
while [ ! -e /mnt/end ]; do
 n=$((n+1)); read up rest < /proc/uptime
 wget -q -O got http://10.0.2.2:PORT/ 2>/dev/null && net=$(cat got)
 echo "@tick $n $up $net $(ls /disk-ran 2>/dev/null)"; rm -f /disk-ran; sleep 0.2
done
"""


def ticks(path):
    with open(path, encoding='utf-8', errors='replace', newline='') as file:
        text = file.read()
    check('@bad' not in text and 'rcu' not in text and 'BUG' not in text, 'the guest complains', text[-3000:])
    rows = [line.split() for line in text.split('\n') if line.startswith('@tick ') and line.endswith('\r')]
    return [(int(row[1]), float(row[2]), row[3:]) for row in rows]


def wait_ticks(path, count, *words):
    """That many lines more, and each word in one of them."""
    end = time.monotonic() + LIMIT
    before = len(ticks(path)) if os.path.exists(path) else 0
    while True:
        rows = ticks(path)[before:] if os.path.exists(path) else []
        if len(rows) >= count and all(any(word in row[2] for row in rows) for word in words):
            return rows
        check(time.monotonic() < end, f'no {count} lines with {words} in {path}', str(rows))
        time.sleep(0.05)


class Web:
    """A server for the guest, whose answer is a word."""

    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'net')

            def log_message(self, *words):
                pass
        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def case_linux(bed):
    """Linux with two processors, a disk, a network and a console, under load: live through a socket, by a snapshot while it runs,
    to a file. Time goes on where it was."""
    linux = importlib.import_module('kv-vmm').Bed(bed.program, bed.tree, bed.folder)
    disk = linux.disk
    script = f'{bed.folder}/run/script'
    os.mkdir(f'{bed.folder}/run')
    with open(script, 'w', encoding='utf-8') as file:
        file.write(LOAD.replace('PORT', str(Web().server.server_port)))
    subprocess.run([f'{bed.tree}/tools/make-initrd', '-c', f'{bed.folder}/run', linux.initrd], check=True)

    def start(*options):
        process = qmp.Process.__new__(qmp.Process)
        process.path, process.console = bed.path('qmp'), bed.path('console')
        process.process = subprocess.Popen(
            linux.command('--cpus', '2', '--disk', disk, '--net', 'user', '--console', f'file:{process.console}', '--qmp',
                          f'unix:{process.path}', *options, run=f'sh {script}'),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        return process

    path, snapshot, saved = bed.path('socket'), bed.path('saved'), bed.path('saved')
    with start() as first, start('--incoming', f'unix:{path}') as second:
        last = wait_ticks(first.console, 3, 'net', '/disk-ran')[-1]
        client, new = first.client(), second.client()
        client.run('migrate-set-parameters', **{'max-bandwidth': 0})
        save(client, f'unix:{path}')
        last = ticks(first.console)[-1]
        running(new)
        row = wait_ticks(second.console, 3, 'net', '/disk-ran')[0]
        check(last[0] <= row[0] <= last[0] + 1 and row[1] >= last[1], 'not where it was', str((last, row)))
        capability(new, 'background-snapshot')
        save(new, f'file:{snapshot}')
        wait_ticks(second.console, 3, 'net', '/disk-ran')
        capability(new, 'background-snapshot', False)
        save(new, f'file:{saved}')
        last = ticks(second.console)[-1]
        new.run('quit')
    with start('--incoming', f'file:{saved}') as third:
        running(third.client())
        row = wait_ticks(third.console, 3, 'net', '/disk-ran')[0]
        check(last[0] <= row[0] <= last[0] + 1 and last[1] <= row[1] < last[1] + 60, 'not where it was', str((last, row)))
        # A restored machine's memory is a file's: once more from there, and a reset.
        client = third.client()
        save(client, f'file:{saved}')
        client.run('cont')
        wait_ticks(third.console, 2, '/disk-ran')


if __name__ == '__main__':
    program, tree, *names = sys.argv[1:]
    sys.exit(cases.run(globals(), names, lambda folder: Bed(program, tree, folder)))
