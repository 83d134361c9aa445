#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""VNC of kv-vmm as a user has it: QMP's words about it, browsers' WebSocket, TLS, keys and options that are refused.

    vnc.py KV_VMM CASE
"""
import base64
import contextlib
import hashlib
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import certs
import vga
from vga import LIMIT


class Session:
    """A QMP session that keeps its events."""

    def __init__(self, path):
        end = time.monotonic() + LIMIT
        while True:
            try:
                self.s = socket.socket(socket.AF_UNIX)
                self.s.connect(path)
                break
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.05)
        self.f = self.s.makefile('rw')
        self.events = []
        self.f.readline()
        self.run('qmp_capabilities')

    def run(self, name, **args):
        self.f.write(json.dumps({'execute': name, 'arguments': args}) + '\n')
        self.f.flush()
        while True:
            m = json.loads(self.f.readline())
            if 'event' not in m:
                return m
            self.events.append(m)

    def wait_event(self, name):
        while not any(e['event'] == name for e in self.events):
            m = json.loads(self.f.readline())
            assert 'event' in m, m
            self.events.append(m)
        return next(e for e in self.events if e['event'] == name)['data']


class Stream:
    """A socket, or what a WebSocket carries."""

    def __init__(self, s, web=False):
        self.s, self.web, self.have = s, web, b''
        s.settimeout(LIMIT)

    def raw(self, n):
        data = b''
        while len(data) < n:
            more = self.s.recv(n - len(data))
            assert more, 'the connection is closed'
            data += more
        return data

    def read(self, n):
        while len(self.have) < n:
            if not self.web:
                self.have += self.raw(n - len(self.have))
                continue
            head = self.raw(2)
            length = head[1] & 0x7f
            if length >= 126:
                length = int.from_bytes(self.raw(2 if length == 126 else 8), 'big')
            self.have += self.raw(length)
        data, self.have = self.have[:n], self.have[n:]
        return data

    def write(self, data):
        if self.web:
            mask = b'\x11\x22\x33\x44'
            assert len(data) < 126
            data = bytes([0x82, 0x80 | len(data)]) + mask + bytes(c ^ mask[i % 4] for i, c in enumerate(data))
        self.s.sendall(data)


def upgrade(s):
    key = base64.b64encode(b'0123456789abcdef').decode()
    s.sendall(('GET /websockify HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
               'Sec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: binary\r\nSec-WebSocket-Version: 13\r\n\r\n' % key).encode())
    answer = b''
    while not answer.endswith(b'\r\n\r\n'):
        answer += s.recv(1)
    wanted = base64.b64encode(hashlib.sha1((key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').encode()).digest())
    assert b' 101 ' in answer and wanted in answer, answer


def no_security(stream):
    assert stream.read(12) == b'RFB 003.008\n'
    stream.write(b'RFB 003.008\n')
    types = stream.read(stream.read(1)[0])
    assert types == b'\1', types
    stream.write(b'\1')
    assert stream.read(4) == bytes(4)


def ask(stream, more, width, height):
    stream.write(struct.pack('>BBHHHH', 3, more, 0, 0, width, height))


def update(stream, width, pixels):
    """One, of raw pixels: how many."""
    seen = 0
    assert stream.read(1) == b'\0'
    for _ in range(int.from_bytes(stream.read(3)[1:], 'big')):
        x, y, w, h, encoding = struct.unpack('>HHHHi', stream.read(12))
        assert encoding == 0
        for row in range(y, y + h):
            pixels[(row * width + x) * 4:(row * width + x + w) * 4] = stream.read(w * 4)
        seen += w * h
    return seen


def picture(stream, secure=no_security):
    """Shakes hands, and asks for a picture in raw pixels: width, height, BGRX."""
    secure(stream)
    stream.write(b'\1')
    width, height = struct.unpack('>HH', stream.read(4))
    stream.read(16)
    stream.read(int.from_bytes(stream.read(4), 'big'))
    stream.write(struct.pack('>BBHi', 2, 0, 1, 0))
    ask(stream, False, width, height)
    pixels = bytearray(width * height * 4)
    seen = 0
    while seen < width * height:
        seen += update(stream, width, pixels)
    return width, height, pixels


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Machine:
    def __init__(self, kv_vmm, vnc, monitor=True, rom=None):
        self.dir = tempfile.TemporaryDirectory(prefix='kv-vnc-')
        bios, self.qmp = self.file('rom'), self.file('q')
        rom = rom or vga.memory(vga.BYTES, 0xa000, 64000)
        with open(bios, 'wb') as f:
            f.write(rom.image())
        self.process = subprocess.Popen([kv_vmm, '--machine', 'pc', '--firmware', bios, '--memory', '16M', '--accel', 'soft', '--console',
                                         'file:/dev/null', '--quiet', '--vnc', vnc % self.dir.name] +
                                        (['--qmp', 'unix:' + self.qmp] if monitor else []))

    def file(self, name):
        return os.path.join(self.dir.name, name)

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.process.kill()
        self.process.wait()
        self.dir.cleanup()


def same_as_dump(m, session, get):
    """The viewer's picture becomes the screendump's."""
    end = time.monotonic() + LIMIT
    while True:
        session.run('screendump', filename=m.file('ppm'))
        with open(m.file('ppm'), 'rb') as f:
            _, size, _, rgb = f.read().split(b'\n', 3)
        width, height, bgrx = get()
        mine = bytearray(width * height * 3)
        for part in range(3):
            mine[part::3] = bgrx[2 - part::4]
        if (width, height) == tuple(map(int, size.split())) and mine == rgb and len(set(rgb)) > 2:
            return
        assert time.monotonic() < end, 'the viewer has another picture than the screendump'
        time.sleep(0.2)


def case_unix(kv_vmm):
    with Machine(kv_vmm, 'unix:%s/v') as m:
        session = Session(m.qmp)

        def get():
            s = socket.socket(socket.AF_UNIX)
            s.connect(m.file('v'))
            result = picture(Stream(s))
            info = session.run('query-vnc')['return']
            assert info['enabled'] and info['family'] == 'unix' and info['service'] == m.file('v') and len(info['clients']) >= 1, info
            s.close()
            return result
        same_as_dump(m, session, get)
        for name in ('VNC_CONNECTED', 'VNC_INITIALIZED', 'VNC_DISCONNECTED'):
            data = session.wait_event(name)
            assert data['server']['service'] == m.file('v') and data['server']['auth'] == 'none' and not data['client']['websocket'], data
        assert 'error' in session.run('set_password', protocol='vnc', password='x')
        assert session.run('query-display-options')['return'] == {'type': 'none'}
        png = m.file('png')
        assert 'return' in session.run('screendump', filename=png, format='png')
        with open(png, 'rb') as f:
            assert f.read(8) == b'\x89PNG\r\n\x1a\n'
        os.symlink('/dev/full', m.file('full'))
        for args in ({'head': 1}, {'head': 9}, {'device': 'other'}, {'filename': '/nonexistent/file'}, {'filename': m.file('full')}):
            assert 'error' in session.run('screendump', **dict({'filename': png}, **args)), args
        assert os.path.islink(m.file('full')), 'what is no file is removed'
        session.run('quit')
        assert m.process.wait(LIMIT) == 0
        assert not os.path.exists(m.file('v'))


def case_websocket(kv_vmm):
    port = free_port()
    with Machine(kv_vmm, '127.0.0.1:0,websocket=%d' % port + '%.0s') as m:
        session = Session(m.qmp)
        info = session.run('query-vnc')['return']
        assert info['host'] == '127.0.0.1' and info['family'] == 'ipv4', info

        def get(web):
            s = socket.create_connection(('127.0.0.1', port if web else int(info['service'])))
            if web:
                upgrade(s)
            result = picture(Stream(s, web))
            s.close()
            return result
        same_as_dump(m, session, lambda: get(True))
        same_as_dump(m, session, lambda: get(False))
        assert session.wait_event('VNC_INITIALIZED')['client']['websocket']


def case_password(kv_vmm):
    with Machine(kv_vmm, 'unix:%s/v,password=on') as m:
        session = Session(m.qmp)
        s = socket.socket(socket.AF_UNIX)
        s.connect(m.file('v'))
        stream = Stream(s)
        stream.write(stream.read(12))
        assert stream.read(2) == b'\1\2'
        stream.write(b'\2' + bytes(16))
        assert len(stream.read(16)) == 16
        assert stream.read(4) == b'\0\0\0\1'
        assert session.run('query-vnc')['return']['auth'] == 'vnc'
        assert 'return' in session.run('set_password', protocol='vnc', password='secret')
        assert 'error' in session.run('set_password', protocol='vnc', password='secret', connected='disconnect')
        assert 'error' in session.run('set_password', protocol='spice', password='secret')
        for when in ('now', 'never', '+60', '2000000000'):
            assert 'return' in session.run('expire_password', protocol='vnc', time=when)
        assert 'error' in session.run('expire_password', protocol='vnc', time='soon')


X509_NONE, X509_VNC = 260, 261


def context(folder, certificate=True):
    c = ssl.create_default_context(cafile=folder + '/ca-cert.pem')
    if certificate:
        c.load_cert_chain(folder + '/client-cert.pem', folder + '/client-key.pem')
    return c


def vencrypt(stream, tls, kind=X509_NONE):
    """Until TLS: the stream goes on in it."""
    assert stream.read(12) == b'RFB 003.008\n'
    stream.write(b'RFB 003.008\n')
    assert stream.read(2) == b'\1\x13'  # nothing but VeNCrypt
    stream.write(b'\x13')
    assert stream.read(2) == b'\0\2'
    stream.write(b'\0\2')
    assert stream.read(6) == struct.pack('>BBI', 0, 1, kind)
    stream.write(struct.pack('>I', kind))
    assert stream.read(1) == b'\1'
    stream.s = tls.wrap_socket(stream.s, server_hostname='localhost')


def ends(stream):
    """There is nothing but the end of the connection."""
    try:
        return not stream.s.recv(1)
    except (ssl.SSLError, ConnectionError):
        return True


def need_certtool():
    if not shutil.which('certtool'):
        print('SKIP: certtool is missing (tools/install-deps test)')
        sys.exit(77)


def case_tls(kv_vmm):
    """X509None, X509Vnc and wss; certificates of viewers; what QMP says; a new certificate."""
    need_certtool()
    port = free_port()
    with tempfile.TemporaryDirectory(prefix='kv-vnc-') as d:
        ours, others = d + '/ours', d + '/others'
        certs.make(ours)
        certs.make(others)
        with Machine(kv_vmm, '127.0.0.1:0,websocket=%d,tls-creds=%s,tls-verify-peer=on' % (port, ours) + '%.0s') as m:
            session = Session(m.qmp)
            info = session.run('query-vnc')['return']
            assert info['auth'] == 'vencrypt+x509+none', info

            def dial():
                return Stream(socket.create_connection(('127.0.0.1', int(info['service']))))

            def get():
                stream = dial()

                def secure(stream):
                    vencrypt(stream, context(ours))
                    assert stream.read(4) == bytes(4)
                result = picture(stream, secure)
                clients = session.run('query-vnc')['return']['clients']
                assert any(c.get('x509_dname') == 'CN=localhost' for c in clients), clients
                stream.s.close()
                return result

            def get_web():
                s = context(ours).wrap_socket(socket.create_connection(('127.0.0.1', port)), server_hostname='localhost')
                upgrade(s)
                result = picture(Stream(s, True))
                s.close()
                return result
            same_as_dump(m, session, get)
            same_as_dump(m, session, get_web)
            ready = session.wait_event('VNC_INITIALIZED')
            assert ready['client']['x509_dname'] == 'CN=localhost' and ready['server']['auth'] == 'vencrypt+x509+none', ready
            for folder, certificate in (ours, False), (others, True):
                stream = dial()
                try:
                    c = context(folder, certificate)
                    c.load_verify_locations(ours + '/ca-cert.pem')
                    vencrypt(stream, c)
                except (ssl.SSLError, ConnectionError):
                    continue
                assert ends(stream), 'a viewer without a certificate of ours'
            no_way_around(dial, port)
            # Whoever connects from now on sees another one.
            certs.make_one(ours, 'server')
            before = dial()
            vencrypt(before, context(ours))
            assert session.run('display-reload', type='vnc', **{'tls-certs': True}) == {'return': {}}
            after = dial()
            vencrypt(after, context(ours))
            assert before.read(4) == after.read(4) == bytes(4)
            assert before.s.getpeercert(True) != after.s.getpeercert(True)
            os.unlink(ours + '/server-key.pem')
            assert 'server-cert.pem' in session.run('display-reload', type='vnc', **{'tls-certs': True})['error']['desc']
            get()


def case_closed(kv_vmm):
    """TLS in the closed sandbox of a machine without a monitor, by a Unix socket."""
    need_certtool()
    with tempfile.TemporaryDirectory(prefix='kv-vnc-') as d:
        certs.make(d)
        with Machine(kv_vmm, 'unix:%s/v,tls-creds=' + d, monitor=False) as m:
            end = time.monotonic() + LIMIT
            while not os.path.exists(m.file('v')):
                assert time.monotonic() < end and m.process.poll() is None
                time.sleep(0.05)

            def secure(stream):
                vencrypt(stream, context(d, False))
                assert stream.read(4) == bytes(4)
            for _ in range(3):
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(m.file('v'))
                    stream = Stream(s)
                    assert picture(stream, secure)[:2] >= (320, 200)
                    stream.s.close()
            assert m.process.poll() is None


def no_way_around(dial, port):
    """No way around TLS."""
    for version, types in (b'RFB 003.003\n', b''), (b'RFB 003.008\n', b'\1'), (b'nonsense 12\n', b''), (b'RFB 003.008\n', b'\x13\0\1'):
        stream = dial()
        stream.write(version + types)
        stream.read(12)
        while not ends(stream):
            pass
    stream = dial()
    assert stream.read(12) == b'RFB 003.008\n'
    # The subtype of a password, where there is none.
    stream.write(b'RFB 003.008\n\x13\0\2' + struct.pack('>I', X509_VNC))
    assert stream.read(10)[2:] == struct.pack('>BBBBI', 0, 2, 0, 1, X509_NONE) and stream.read(1) == b'\0' and ends(stream)
    with socket.create_connection(('127.0.0.1', port)) as s:
        s.settimeout(LIMIT)
        s.sendall(b'GET / HTTP/1.1\r\n\r\n')
        assert b'101' not in s.recv(100)


def case_servers(kv_vmm):
    """query-vnc-servers and its neighbours as QEMU has them, for some kinds of servers."""
    need_certtool()
    if not shutil.which('qemu-system-x86_64'):
        print('SKIP: QEMU is missing (tools/install-deps test)')
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix='kv-vnc-') as d:
        certs.make(d + '/c')
        for options, theirs, commands in (
                ('', '', [('change-vnc-password', {'password': 'x'})]),
                (',password=on', ',password=on', [('change-vnc-password', {'password': 'x'})]),
                (',websocket=%d,tls-creds=' + d + '/c,password=on', ',websocket=%d,tls-creds=t,password=on',
                 [('display-reload', {'type': 'vnc', 'tls-certs': True})]),
                (',tls-creds=anon', ',tls-creds=u', [])):
            answers = []
            for other in False, True:
                web = free_port()
                at = (theirs if other else options).replace('%d', str(web))
                if other:
                    qmp = d + '/q'
                    process = subprocess.Popen(['qemu-system-x86_64', '-S', '-display', 'none', '-qmp', 'unix:%s,server=on,wait=off' % qmp,
                                                '-object', 'tls-creds-x509,id=t,endpoint=server,verify-peer=off,dir=' + d + '/c',
                                                '-object', 'tls-creds-anon,id=u,endpoint=server',
                                                '-vnc', '127.0.0.1:%d' % (free_port() - 5900) + at])
                    session = Session(qmp)
                else:
                    m = Machine(kv_vmm, '127.0.0.1:0' + at + '%.0s')
                    process, session = m.process, Session(m.qmp)
                try:
                    servers = session.run('query-vnc-servers')['return']
                    one = session.run('query-vnc')['return']
                    for entry in servers[0]['server'] + [one]:
                        assert int(entry.pop('service')) > 0
                    answers.append((servers, one, [session.run(name, **args) for name, args in commands + [
                        ('display-reload', {'type': 'vnc'}), ('display-reload', {'type': 'x'}), ('change-vnc-password', {})]],
                        session.run('display-reload', type='vnc', **{'tls-certs': 'tls' not in at})))
                finally:
                    process.kill()
                    process.wait()
            assert answers[0] == answers[1], answers


def case_refused(kv_vmm):
    with tempfile.TemporaryDirectory(prefix='kv-vnc-') as d:
        rom = os.path.join(d, 'rom')
        with open(rom, 'wb') as f:
            f.write(vga.Rom().image())
        long = os.path.join(d, 'long')
        with open(long, 'w') as f:
            f.write('a long password\n')
        for options, words in ((['--vnc', 'nonsense'], 'give unix:PATH or ADDR:PORT'),
                               (['--vnc', '127.0.0.1:port'], "port 'port'"),
                               (['--vnc', 'unix:%s/v,websocket=5700' % d], 'give ADDR:PORT'),
                               (['--vnc', 'unix:%s/v,password-file=%s' % (d, long)], '1 to 8 bytes'),
                               (['--vnc', 'unix:%s/v' % d, '--vga', 'none'], 'there is no screen'),
                               (['--vnc', 'unix:%s/v,head=1' % d], 'no screen 1'),
                               (['--vnc', 'unix:%s/v,display=x' % d], "of 'x'"),
                               (['--vnc', 'unix:%s/v' % d, '--vnc', 'unix:%s/w,id=default' % d], 'another id'),
                               (['--vga', 'std,max_outputs=2'], 'for virtio alone'),
                               (['--vnc', 'unix:%s/v,share=some' % d], 'share'),
                               (['--vnc', 'unix:%s/v,tls-creds=%s' % (d, d)], 'ca-cert.pem'),
                               (['--vnc', 'unix:%s/v,tls-creds=anon,tls-verify-peer=on' % d], 'give a folder'),
                               (['--vnc', 'unix:%s/v,tls-verify-peer=on' % d], 'needs tls-creds')):
            r = subprocess.run([kv_vmm, '--machine', 'pc', '--firmware', rom, '--console', 'file:/dev/null', '--accel', 'soft'] + options,
                               stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT)
            assert r.returncode == 2 or r.returncode == 1, r
            assert words in r.stderr and r.stderr.count('\n') <= 2, (options, r.stderr)


def settle(machines):
    """Until the main threads sleep for good: one that looks at a screen once a second wakes up twice in the while."""
    def woken():
        counts = []
        for m in machines:
            with open('/proc/%d/task/%d/status' % (m.process.pid, m.process.pid)) as f:
                counts += [line for line in f if line.startswith('voluntary')]
        return counts
    before, since, end = woken(), time.monotonic(), time.monotonic() + LIMIT
    while time.monotonic() - since < 2.5:
        assert time.monotonic() < end, 'main threads wake up again and again: %s' % before
        time.sleep(0.2)
        if woken() != before:
            before, since = woken(), time.monotonic()


def case_idle(kv_vmm):
    """A screen that stands still is not looked at, with a viewer or without; what the guest does at an NMI wakes it up: memory with a
    dirty log, memory with handlers, registers."""
    with contextlib.ExitStack() as stack:
        seats = []
        for table, code in ((vga.BYTES, '26800601005a'),  # add byte es:[1], 0x5a
                            (vga.PLANAR, '26800601005a'),
                            (vga.BYTES, 'bac803' '30c0' 'ee' '42' 'fec3' '88d8' 'eeeeee')):  # DAC entry 0 is BL, counted up
            rom = vga.memory(table, 0xa000, 0x8000)
            rom.at_nmi(bytes.fromhex(code))
            m = stack.enter_context(Machine(kv_vmm, 'unix:%s/v', rom=rom))
            session = Session(m.qmp)
            s = stack.enter_context(socket.socket(socket.AF_UNIX))
            s.connect(m.file('v'))
            stream = Stream(s)
            seats.append((m, session, s, stream) + picture(stream))
            ask(stream, True, *seats[-1][4:6])
        machines = [m for m, *_ in seats]
        for _ in range(2):
            settle(machines)
            for m, session, _, stream, width, height, pixels in seats:
                before = bytes(pixels)
                session.run('inject-nmi')
                while bytes(pixels) == before:
                    update(stream, width, pixels)
                    ask(stream, True, width, height)
        for m, session, s, *_ in seats:
            s.close()
            session.wait_event('VNC_DISCONNECTED')
            session.run('inject-nmi')
        settle(machines)


GRUB = """
loadfont unicode
set gfxmode=800x600
insmod vbe
insmod gfxterm
terminal_output gfxterm
set timeout=-1
menuentry "First system" { halt }
menuentry "Second system" { halt }
menuentry "Third system" { halt }
"""
DOWN = 0xff54


def case_grub(kv_vmm):
    """SeaBIOS, its VGA BIOS and GRUB's graphical menu beside QEMU; then a key, typed by VNC, and its effect."""
    seabios = '/usr/share/seabios/bios-256k.bin'
    if not shutil.which('grub-mkrescue') or not shutil.which('xorriso') or not os.path.exists(seabios) or \
            not os.path.exists('/usr/lib/grub/i386-pc') or not shutil.which('qemu-system-x86_64'):
        print('SKIP: grub-mkrescue, xorriso, SeaBIOS or QEMU is missing (tools/install-deps test)')
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix='kv-vnc-') as d:
        disk, ours, theirs, vnc = (os.path.join(d, n) for n in ('disk', 'k', 'q', 'v'))
        os.makedirs(os.path.join(d, 'iso/boot/grub'))
        with open(os.path.join(d, 'iso/boot/grub/grub.cfg'), 'w') as f:
            f.write(GRUB)
        subprocess.run(['grub-mkrescue', '-o', disk, '--directory=/usr/lib/grub/i386-pc', '--fonts=unicode', '--locales=', '--themes=',
                        '--install-modules=vbe gfxterm normal font halt', os.path.join(d, 'iso')], check=True, capture_output=True)
        runs = [subprocess.Popen([kv_vmm, '--machine', 'pc', '--firmware', seabios, '--memory', '128M', '--accel', 'soft', '--console',
                                  'file:/dev/null', '--qmp', 'unix:' + ours, '--quiet', '--disk', disk + ',readonly=on', '--vnc',
                                  'unix:' + vnc]),
                subprocess.Popen(['qemu-system-x86_64', '-machine', 'q35', '-accel', 'tcg', '-m', '128', '-display', 'none', '-nodefaults',
                                  '-vga', 'std', '-drive', 'format=raw,snapshot=on,file=' + disk, '-qmp',
                                  'unix:%s,server=on,wait=off' % theirs])]
        try:
            menu = same_soon(ours, theirs, None)
            s = socket.socket(socket.AF_UNIX)
            s.connect(vnc)
            stream = Stream(s)
            picture(stream)
            for down in (1, 0):
                stream.write(struct.pack('>BBHI', 4, down, 0, DOWN))
            vga.qmp(theirs, ('send-key', {'keys': [{'type': 'qcode', 'data': 'down'}]}))
            menu = same_soon(ours, theirs, menu)
            # The server has it by what the guest's pages in video memory tell: the first viewer never went.
            end = time.monotonic() + LIMIT
            while True:
                with socket.socket(socket.AF_UNIX) as other:
                    other.connect(vnc)
                    bgrx = picture(Stream(other))[2]
                if all(bgrx[2 - part::4] == menu[part::3] for part in range(3)):
                    break
                assert time.monotonic() < end, 'viewers have an old picture'
        finally:
            for r in runs:
                r.kill()
                r.wait()


def same_soon(ours, theirs, before):
    """Until both show the same menu, which is not the one of before."""
    end = time.monotonic() + LIMIT
    while True:
        a, b = vga.dump(ours, ours + '.ppm'), vga.dump(theirs, theirs + '.ppm')
        if a[:2] == b[:2] == (800, 600) and a[2] != before and len(set(b[2])) > 1 and not vga.differences(a[2], b[2]):
            return a[2]
        assert time.monotonic() < end, 'other pictures: %s, %s' % (a[:2], b[:2])
        time.sleep(0.3)


if __name__ == '__main__':
    globals()['case_' + sys.argv[2]](sys.argv[1])
