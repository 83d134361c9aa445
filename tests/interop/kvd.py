#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kvd as libvirt's clients see it. Tables of virsh's command lines (kvd/*.txt) say the same of kvd's test:///default as of the one in
virsh's own process; libvirt-python; clients that are slow, hostile, read-only or somebody else.   usage: kvd.py KVD SOURCE-ROOT [CASE]...
Exit status 77: libvirt's programs are not installed."""
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

import cases
from cases import Skipped, check, listens

LIMIT = 180
REMOTE, KEEPALIVE = 0x20008086, 0x6b656570
CALL, REPLY, MESSAGE, STREAM, CALL_FDS = 0, 1, 2, 3, 4
OK, ERROR, CONTINUE = 0, 1, 2
NO_SUPPORT, INVALID_ARG, OPERATION_DENIED, RPC = 3, 8, 29, 39
TEST_UUID = bytes.fromhex('6695eb01f6a4830479aa97f2502e193f')
# What time and chance make: random UUIDs, clocks, counters of the test driver that are made of the time.
VARIES = ((r'[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f-]{21}', 'UUID'), (r'CPU time:.*', 'CPU time'), (r'creationTime>\d+', 'creationTime>'),
          (r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}', 'TIME'), (r'((rd|wr|rx|tx)_\w+|errs) \d+', r'\1'))


class Bed:
    def __init__(self, program, root, folder):
        if not shutil.which('virsh'):
            raise Skipped('no virsh')
        self.here = f'{root}/tests/interop/kvd'
        self.procs = f'{root}/schema/rpc.procs'
        self.folder = folder
        self.socket = f'{folder}/sock'
        # virsh's own driver has nothing of the user's, and the host's name is not asked for.
        self.env = dict(os.environ, LC_ALL='C', XDG_RUNTIME_DIR=folder, XDG_CONFIG_HOME=folder, XDG_CACHE_HOME=folder, TZ='UTC')
        self.daemon = subprocess.Popen([program, '--session', '--socket', self.socket], stderr=subprocess.PIPE, env=self.env)
        self.wait_for(lambda: listens(self.socket), 'kvd does not listen')

    def wait_for(self, condition, what):
        end = time.monotonic() + LIMIT
        while not condition():
            check(self.daemon.poll() is None, 'kvd has ended', str(self.daemon.poll()))
            check(time.monotonic() < end, what)
            time.sleep(.005)

    def uri(self, ro=''):
        return f'test+unix:///default?socket={self.socket}{ro}'

    def virsh(self, uri, line, *options):
        """What it prints; None: virsh 9.0 with a test driver of its own has hung twice, as it does now and then at managedsave."""
        own = uri == 'test:///default'
        for _ in range(2):
            try:
                done = subprocess.run(['virsh', *options, '-c', uri, line], env=self.env, timeout=30 if own else LIMIT,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True)
                break
            except subprocess.TimeoutExpired:
                check(own, f'virsh hangs: {line}')
        else:
            return None
        for pattern, text in VARIES:
            done.stdout = re.sub(pattern, text, done.stdout)
        return done.stdout

    def alive(self):
        check(self.daemon.poll() is None, 'kvd has ended', str(self.daemon.poll()))
        check(self.virsh(self.uri(), 'list --name').split() == ['test'], 'kvd does not answer')

    def end(self):
        self.daemon.send_signal(signal.SIGTERM)
        status = self.daemon.wait(LIMIT)
        errors = self.daemon.stderr.read().decode()
        check(status == 0, f'kvd ends with {status}', errors)
        check(not os.path.exists(self.socket), 'the socket is left')


def compare(bed, name):
    different, left_out = [], []
    for line in open(f'{bed.here}/{name}.txt', encoding='utf-8'):
        if line.startswith('#') or not line.strip():
            continue
        line = line.strip().replace('@here@', bed.here).replace('@tmp@', bed.folder)
        theirs, ours = bed.virsh('test:///default', line), bed.virsh(bed.uri(), line)
        if theirs is None:
            left_out.append(line)
        elif theirs != ours:
            different.append(f'{line}\n--- libvirt\n{theirs}\n--- kvd\n{ours}')
    check(not different, f'{len(different)} lines of {name} are answered in another way', *different)
    for line in left_out:
        print(f'virsh hangs by itself: {line}')
    check(len(left_out) < 4, 'virsh hangs by itself at too many lines')
    bed.alive()


def case_domains(bed):
    compare(bed, 'domains')


def case_guest(bed):
    compare(bed, 'guest')


def case_snapshots(bed):
    compare(bed, 'snapshots')


def case_networks(bed):
    compare(bed, 'networks')


def case_storage(bed):
    compare(bed, 'storage')


def case_host(bed):
    compare(bed, 'host')


def case_test_host(bed):
    compare(bed, 'test-host')


SCRIPT = '''
import libvirt, sys, threading, time
libvirt.virEventRegisterDefaultImpl()
threading.Thread(target=lambda: [libvirt.virEventRunDefaultImpl() for _ in iter(int, 1)], daemon=True).start()
got = []
c = libvirt.open(sys.argv[1])
c.setKeepAlive(1, 60)
d = c.lookupByName('test')
ids = [c.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lambda c, d, e, why, o: got.append((d.name(), e, why)), None),
       c.domainEventRegisterAny(d, libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, lambda c, d, k, u, o: got.append(('meta', k, u)), None),
       c.networkEventRegisterAny(None, libvirt.VIR_NETWORK_EVENT_ID_LIFECYCLE, lambda c, n, e, w, o: got.append((n.name(), 'net', e)), None),
       c.storagePoolEventRegisterAny(None, libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, lambda c, p, e, w, o: got.append((p.name(), 'pool', e)), None),
       c.storagePoolEventRegisterAny(None, libvirt.VIR_STORAGE_POOL_EVENT_ID_REFRESH, lambda c, p, o: got.append((p.name(), 'refresh')), None)]
d.suspend(); d.resume()
d.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, '<a/>', 'k', 'http://x')
n = c.networkLookupByName('default'); n.destroy(); n.create()
p = c.storagePoolLookupByName('default-pool'); p.refresh(); p.destroy(); p.create()
other = c.defineXML('<domain type="test"><name>o</name><memory>1024</memory><os><type>hvm</type></os></domain>')
other.undefine()
d.destroy()
end = time.time() + 150
while len(got) < 11 and time.time() < end: time.sleep(.01)
c.domainEventDeregisterAny(ids[0]); c.domainEventDeregisterAny(ids[1])
d.create()
c.networkEventDeregisterAny(ids[2]); c.storagePoolEventDeregisterAny(ids[3]); c.storagePoolEventDeregisterAny(ids[4])
assert c.isAlive() == 1 and c.getInfo()[2] == 16 and [x.name() for x in c.listAllDomains()] == ['test']
assert c.getType() == 'TEST' and c.getVersion() == 2 and c.getLibVersion() == 9000000 and c.isSecure() == 1
s = d.snapshotCreateXML('<domainsnapshot><name>s</name></domainsnapshot>'); assert d.snapshotCurrent().getName() == 's' and s.isCurrent()
assert [x[0].name() for x in c.getAllDomainStats()] == ['test']
try:
    c.lookupByName('nobody')
except libvirt.libvirtError as e:
    assert e.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN, e
try:
    c.getCPUMap(); c.listAllSecrets()
except libvirt.libvirtError as e:
    assert e.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT, e
import json
print(json.dumps(got))
'''


def case_python(bed):
    """libvirt-python with an event loop says the same with its own test driver and with ours."""
    python = '/usr/bin/python3'
    if subprocess.run([python, '-c', 'import libvirt'], check=False, stderr=subprocess.DEVNULL).returncode:
        raise Skipped('no python3-libvirt')
    done = subprocess.run([python, '-c', SCRIPT, bed.uri()], env=bed.env, timeout=LIMIT, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False, text=True)
    check(done.returncode == 0, 'the script fails', done.stderr)
    got = eval(done.stdout.replace('null', 'None'))  # pylint: disable=eval-used
    for event in [['test', 3, 0], ['test', 4, 0], ['meta', 2, 'http://x'], ['default', 'net', 3], ['default', 'net', 2],
                  ['default-pool', 'refresh'], ['default-pool', 'pool', 3], ['default-pool', 'pool', 2], ['o', 0, 0], ['o', 1, 0],
                  ['test', 5, 1]]:
        check(event in got, f'no event {event}', str(got))
    check(['test', 2, 0] not in got, 'an event after its registration has ended', str(got))
    bed.alive()


# ---- clients that speak the protocol by themselves ----

def string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack('>I', len(data)) + data + bytes(-len(data) % 4)


def domain(name='test', uuid=TEST_UUID, number=1):
    return string(name) + uuid + struct.pack('>i', number)


class Raw:
    def __init__(self, bed, ro='', opens=True):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LIMIT)
        self.socket.connect(bed.socket + ro)
        self.serial = 0
        if opens:
            check(self.call(66)[0] == OK, 'AUTH_LIST')
            status, body = self.call(1, struct.pack('>I', 1) + string('test:///default') + struct.pack('>I', 0))
            check(status == OK, 'CONNECT_OPEN', body.hex())

    def send(self, number, body=b'', program=REMOTE, kind=CALL, status=OK, version=1):
        self.serial += 1
        self.socket.sendall(struct.pack('>7I', 28 + len(body), program, version, number, kind, self.serial, status) + body)
        return self.serial

    def take(self, n):
        data = b''
        while len(data) < n:
            more = self.socket.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def receive(self):
        """(program, number, type, serial, status), body"""
        length, = struct.unpack('>I', self.take(4))
        data = self.take(length - 4)
        program, _, number, kind, serial, status = struct.unpack('>6I', data[:24])
        return (program, number, kind, serial, status), data[24:]

    def call(self, number, body=b'', **more):
        serial = self.send(number, body, **more)
        while True:
            header, data = self.receive()
            if header[2] == REPLY and header[3] == serial:
                return header[4], data

    def closed(self):
        """The server has hung up, whatever it has said before."""
        try:
            while self.socket.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
        self.socket.close()


def code(body):
    return struct.unpack('>I', body[:4])[0]


def metadata(uri):
    """DOMAIN_SET_METADATA of an element that is not there: taken out, and told with its uri."""
    none = struct.pack('>I', 0)
    return domain() + struct.pack('>i', 2) + none + none + struct.pack('>I', 1) + string(uri) + none


def case_slow(bed):
    """Who never reads holds up nobody, and is disconnected when too much waits for it."""
    slow, many, quick = Raw(bed), Raw(bed), Raw(bed)
    for _ in range(100):
        many.send(7)  # capabilities; nobody reads them
    check(slow.call(316, struct.pack('>iI', 23, 0))[0] == OK, 'registration')
    uri = 'http://x/' + 'a' * (2 << 20)
    for i in range(20):
        status, body = quick.call(264, metadata(f'{uri}{i}'))
        check(status == OK, 'set_metadata', body[:200].hex())
    slow.closed()
    for _ in range(100):
        while True:
            header, _ = many.receive()
            if header[2] == REPLY:
                break
        check(header[4] == OK, 'an answer that waited')
    check(quick.call(66)[0] == OK, 'the quick one')
    check(int(re.search(r'VmHWM:\s+(\d+)', open(f'/proc/{bed.daemon.pid}/status', encoding='utf-8').read()).group(1)) < 200 << 10,
          'kvd has grown beyond 200 MiB')
    bed.alive()


def case_read_only(bed):
    """No procedure changes anything over the read-only socket, whatever its arguments are."""
    state = 'list --all; dumpxml test; snapshot-list test; net-list --all; net-dumpxml default; pool-list --all --details; dominfo test'
    keeper = Raw(bed)  # what is there stays as long as somebody has it open
    before = bed.virsh(bed.uri(), state)
    denied = 0
    client = Raw(bed, '-ro')
    for line in open(bed.procs, encoding='utf-8'):
        words = line.split()
        if not words or words[0] != 'remote' or words[3:4] == ['!'] or words[2] == 'connect_close':
            continue
        for body in b'', domain(), domain() + bytes(4), domain() + bytes(12):
            status, data = client.call(int(words[1]), body)
            if status == ERROR and code(data) == OPERATION_DENIED:
                check(words[2] not in ('connect_list_all_domains', 'domain_get_xml_desc', 'node_get_info'), f'{words[2]} is denied')
                denied += 1
            if status == OK and body:
                check(re.search('get|lookup|list|num|has|is_|register|supports|stats|info|auth|current', words[2]),
                      f'{words[2]} may be called')
    check(denied > 100, f'{denied} calls denied')
    check(bed.virsh(bed.uri(), state) == before, 'something has changed', before, bed.virsh(bed.uri(), state))
    for line in 'destroy test', 'net-destroy default', 'pool-destroy default-pool', 'autostart test', 'snapshot-create test':
        check('read only access prevents' in bed.virsh(bed.uri('-ro'), line) or 'forbidden' in bed.virsh(bed.uri(), line, '-r'), line)
    check('secure flag' in bed.virsh(bed.uri('-ro'), 'dumpxml test --security-info', '-r'), 'secrets')
    keeper.socket.close()


def case_somebody_else(bed):
    """Another user is refused even when he can open the socket's file."""
    if os.geteuid() != 0:
        raise Skipped('only root can be somebody else')
    os.chmod(bed.folder, 0o755)
    for name in bed.socket, bed.socket + '-ro':
        os.chmod(name, 0o666)
        done = subprocess.run(['virsh', '-c', f'test+unix:///default?socket={name}', 'list'], env=dict(bed.env, HOME='/nonexistent'), user=65534,
                              group=65534, timeout=LIMIT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True)
        check(done.returncode != 0 and 'test ' not in done.stdout, 'another user is served', done.stdout)
    bed.alive()


def case_hostile(bed):
    """What is no protocol ends its connection; what is a wrong call is answered."""
    client = Raw(bed, opens=False)
    for number in 23, 7, 14:
        status, body = client.call(number, string('test'))
        check(status == ERROR and b'connection not open' in body, 'before opening', body.hex())
    for program, version, number in (1, 1, 1), (REMOTE, 2, 1), (REMOTE, 1, 0), (REMOTE, 1, 100000), (REMOTE, 1, 318), (REMOTE, 1, 0xffffffff):
        status, body = client.call(number, program=program, version=version)
        check(status == ERROR and code(body) == RPC, f'{program} {version} {number}', body.hex())
    client = Raw(bed)
    for number, body in (23, b''), (23, string('test') + b'more'), (23, struct.pack('>I', 0xffffffff)), (23, string(b'\xff\xfe')), (
            24, b'short'), (14, domain()), (14, domain() + bytes(8)), (344, struct.pack('>I', 0x7fffffff)), (57, domain()):
        status, answer = client.call(number, body)
        check(status == ERROR and code(answer) in (RPC, INVALID_ARG), f'{number} {body.hex()}', answer.hex())
    status, answer = client.call(213, domain() + bytes(4) + bytes(8) + bytes(4) + bytes(8))
    check(status == ERROR and code(answer) == NO_SUPPORT and b'virDomainMigrateBegin3' in answer, 'what is not there', answer.hex())
    client.send(1, program=KEEPALIVE, kind=MESSAGE)
    check(client.receive()[0][:2] == (KEEPALIVE, 2), 'a ping is not answered')
    for data in (b'\0' * 64, struct.pack('>I', 27) + bytes(23), struct.pack('>I', 33554433), b'GET / HTTP/1.0\r\n\r\n',
                 struct.pack('>7I', 28, REMOTE, 1, 66, 9, 1, 0), struct.pack('>7I', 28, REMOTE, 1, 66, CALL, 1, 7),
                 struct.pack('>7I', 28, REMOTE, 1, 66, REPLY, 1, 0), struct.pack('>8I', 32, REMOTE, 1, 66, CALL_FDS, 1, 0, 33)):
        client = Raw(bed, opens=False)
        client.socket.sendall(data)
        client.closed()
    # Descriptors that do not come with their bytes never come: nothing is kept for them.
    for more in b'\0', bytes(1 << 20):
        client = Raw(bed, opens=False)
        client.socket.sendall(struct.pack('>8I', 32, REMOTE, 1, 66, CALL_FDS, 1, 0, 1))
        try:
            client.socket.sendall(more)
        except OSError:
            pass
        client.closed()
    # A length that is never sent, a message in single bytes, and one that comes in two.
    waiting = Raw(bed, opens=False)
    waiting.socket.sendall(struct.pack('>I', 33554432))
    client = Raw(bed, opens=False)
    for byte in struct.pack('>7I', 28, REMOTE, 1, 66, CALL, 1, 0) * 2:
        client.socket.sendall(bytes([byte]))
    check([client.receive()[0][4] for _ in range(2)] == [OK, OK], 'in single bytes')
    # Descriptors: where none are taken, and more than there may be.
    read, write = os.pipe()
    client = Raw(bed)
    client.socket.sendall(struct.pack('>8I', 32, REMOTE, 1, 66, CALL_FDS, 9, 0, 2))
    for _ in range(2):
        socket.send_fds(client.socket, [b'\0'], [write])
    check(client.receive()[0][4] == OK, 'a call with descriptors')
    os.close(write)
    check(os.read(read, 1) == b'', 'kvd keeps a descriptor that nobody wants')
    client = Raw(bed, opens=False)
    for _ in range(40):
        try:
            socket.send_fds(client.socket, [b'\0'], [read] * 8)
        except OSError:
            break
    client.closed()
    os.close(read)
    bed.alive()
    bed.wait_for(lambda: len(os.listdir(f'/proc/{bed.daemon.pid}/fd')) < 40, 'descriptors are left')


def case_many(bed):
    """100 clients at once, each with calls and events; then all are gone."""
    clients = [Raw(bed) for _ in range(100)]
    for client in clients:
        client.call(316, struct.pack('>iI', 0, 0))
    for _ in range(10):
        for number in 34, 28:
            check(clients[0].call(number, domain())[0] == OK, 'suspend or resume')
    for client in clients[1:]:
        events = [client.receive() for _ in range(20)]
        check(all(header[1] == 318 for header, _ in events), 'events')
        check([struct.unpack('>ii', body[-8:]) for _, body in events] == [(3, 0), (4, 0)] * 10, 'the order of events')
        client.socket.close()
    clients[0].socket.close()
    # The last one takes the test driver's state with it.
    bed.wait_for(lambda: len(os.listdir(f'/proc/{bed.daemon.pid}/fd')) < 30, 'descriptors are left')
    bed.alive()


def case_autodestroy(bed):
    client, keeper = Raw(bed), Raw(bed)
    xml = string('<domain type="test"><name>once</name><memory>1024</memory><os><type>hvm</type></os></domain>')
    check(client.call(10, xml + struct.pack('>I', 2))[0] == OK, 'create')
    check('once' in bed.virsh(bed.uri(), 'list'), 'it is not there')
    client.socket.close()
    bed.wait_for(lambda: 'once' not in bed.virsh(bed.uri(), 'list --all'), 'it does not end with its client')
    keeper.socket.close()


def case_systemd(bed):
    """Sockets that somebody else has opened, and a word when kvd is ready."""
    word = f'{bed.folder}/notify'
    sockets = {name: socket.socket(socket.AF_UNIX) for name in ('a', 'a-ro')}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(word)
        notify.settimeout(LIMIT)
        for name, sock in sockets.items():
            sock.bind(f'{bed.folder}/{name}')
            sock.listen()
        # The numbers 3 and 4, by a shell that says who it is.
        fds = [sock.fileno() for sock in sockets.values()]
        line = f'exec 3<&{fds[0]} 4<&{fds[1]}; LISTEN_PID=$$ LISTEN_FDS=2 exec "{bed.daemon.args[0]}" --session'
        with subprocess.Popen(['bash', '-c', line], pass_fds=fds, env=dict(bed.env, NOTIFY_SOCKET=word, XDG_RUNTIME_DIR=f'{bed.folder}/other')) as process:
            check(notify.recv(100) == b'READY=1', 'not ready')
            check(bed.virsh(f'test+unix:///default?socket={bed.folder}/a', 'uri').strip(), 'by the socket')
            check('read only' in bed.virsh(f'test+unix:///default?socket={bed.folder}/a-ro', 'destroy test'), 'by the other one')
            process.terminate()
            check(notify.recv(100) == b'STOPPING=1', 'not stopping')
            check(process.wait(LIMIT) == 0, 'its end')
    check(os.path.exists(f'{bed.folder}/a'), 'a socket of others is removed')


def case_twice(bed):
    """One daemon has the folders: a second says whose they are, many at once are one, and who is killed hinders nobody."""
    def second(*more, **env):
        return subprocess.Popen([bed.daemon.args[0], '--session', *more], env=dict(bed.env, **env), stderr=subprocess.PIPE, text=True)
    for more in ('--socket', f'{bed.folder}/elsewhere'), ('--socket', bed.socket), ():
        said = second(*more).communicate(timeout=LIMIT)[1]
        check(f'another kvd (process {bed.daemon.pid}) runs with the folder \'{bed.folder}/kvasir\'' in said, f'{more}', said)
    check(not os.path.exists(f'{bed.folder}/elsewhere') and bed.virsh(bed.uri(), 'uri').strip(), 'the first one is disturbed')
    for name, why in {'run': 'another kvd (process', 'socket': 'is in use by another process'}.items():
        for turn in range(3):  # each time with what the last one has left
            env = [{'XDG_RUNTIME_DIR': f'{bed.folder}/{name}{number if name == "socket" else ""}', 'XDG_CONFIG_HOME': f'{bed.folder}/config{number}'}
                   for number in range(6)]
            crowd = [second('--socket', f'{bed.folder}/{name}-sock', **e) for e in env]
            bed.wait_for(lambda those=crowd: sum(p.poll() is None for p in those) == 1, f'{name}: not one is left')
            last = next(p for p in crowd if p.poll() is None)
            for process in crowd:
                if process is not last:
                    said = process.communicate(timeout=LIMIT)[1]
                    check(process.returncode == 1 and why in said and (str(last.pid) in said or name == 'socket'), f'{name}', said)
            path = f'{bed.folder}/{name}-sock'
            bed.wait_for(lambda there=path: listens(there), f'{name}: nobody listens')
            time.sleep(.05)
            check(last.poll() is None and bed.virsh(f'test+unix:///default?socket={path}', 'uri').strip(), f'{name}: the last one is no good')
            (last.kill if turn < 2 else last.terminate)()
            last.communicate(timeout=LIMIT)


def main():
    program, root, *names = sys.argv[1:]
    beds = []

    def make(folder):
        beds.append(Bed(os.path.abspath(program), root, folder))
        return beds[0]
    status = cases.run(globals(), names, make)
    for bed in beds:
        if status == 0:
            bed.end()
        else:
            bed.daemon.kill()
            bed.daemon.wait()
    return status


if __name__ == '__main__':
    sys.exit(main())
