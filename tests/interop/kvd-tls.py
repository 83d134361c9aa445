#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kvd over TLS, with virsh and kvsh, and kvsh with a stock libvirtd.   usage: kvd-tls.py KVD KVSH [CASE]...
Exit status 77: virsh or certtool is missing."""
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys

import cases
import certs
import libvirtd
from cases import Skipped, check
from kvd_bed import LIMIT, NOBODY, Kvd, free_port

REMOTE, KEEPALIVE = 0x20008086, 0x6b656570


RSA = ['--generate-privkey', '--key-type=rsa', '--bits=2048']  # for who can decipher keys, as libvirt wants it


def certificate(folder, who, authority, *lines, kind='client', days='1000'):
    """Another one: who/{cacert,clientcert,clientkey}.pem, as a client's pkipath has them."""
    os.makedirs(f'{folder}/{who}')
    with open(f'{folder}/{who}.info', 'w', encoding='utf-8') as file:
        file.write('\n'.join(lines) + '\nsigning_key\nencryption_key\n' + (f'expiration_days = {days}\n' if days else ''))
    certs.tool(folder, *RSA, '--outfile', f'{who}/{kind}key.pem')
    certs.tool(folder, '--generate-certificate', '--load-ca-certificate', f'{authority}/ca-cert.pem', '--load-ca-privkey',
               f'{authority}/ca-key.pem', '--load-privkey', f'{who}/{kind}key.pem', '--template', f'{who}.info', '--outfile',
               f'{who}/{kind}cert.pem')
    shutil.copy(f'{folder}/ours/ca-cert.pem', f'{folder}/{who}/cacert.pem')


class Bed:
    def __init__(self, kvd, kvsh, folder):
        if not shutil.which('certtool'):
            raise Skipped('no certtool')
        self.kvd, self.kvsh, self.folder = kvd, kvsh, folder
        certs.make(f'{folder}/ours')
        certs.make(f'{folder}/others')
        certificate(folder, 'good', 'ours', 'cn = good', 'organization = Kvasir', 'country = DE', 'tls_www_client')
        certificate(folder, 'other', 'ours', 'cn = other', 'organization = Kvasir', 'country = DE', 'tls_www_client')
        certificate(folder, 'foreign', 'others', 'cn = good', 'organization = Kvasir', 'country = DE', 'tls_www_client')
        certificate(folder, 'server', 'ours', 'cn = good', 'tls_www_server')
        certificate(folder, 'here', 'ours', 'cn = localhost', 'dns_name = localhost', 'ip_address = 127.0.0.1', 'tls_www_server',
                    kind='server')
        certificate(folder, 'expired', 'ours', 'cn = good', 'tls_www_client', 'activation_date = "2020-01-01 00:00:00"',
                           'expiration_date = "2020-02-01 00:00:00"', days=None)
        os.makedirs(f'{folder}/nobody')
        shutil.copy(f'{folder}/ours/ca-cert.pem', f'{folder}/nobody/cacert.pem')
        self.port = free_port()

    def conf(self, *lines):
        here = f'{self.folder}/here'
        return '\n'.join((f'ca_file = "{here}/cacert.pem"', f'cert_file = "{here}/servercert.pem"', f'key_file = "{here}/serverkey.pem"',
                           'listen_tls = 1', 'listen_addr = "127.0.0.1"',
                          f'tls_port = "{self.port}"', *lines)) + '\n'

    def start(self, *lines, options=()):
        return Kvd(self.kvd, self.folder, self.conf(*lines), options)

    def uri(self, who, driver='test', path='/default', host='localhost'):
        return f'{driver}+tls://{host}:{self.port}{path}?pkipath={self.folder}/{who}'

    def raw(self, who='good', version=None):
        """The protocol's bytes over TLS by Python's library."""
        context = ssl.create_default_context(cafile=f'{self.folder}/ours/ca-cert.pem')
        if who:
            context.load_cert_chain(f'{self.folder}/{who}/clientcert.pem', f'{self.folder}/{who}/clientkey.pem')
        if version:
            context.maximum_version = context.minimum_version = version
        sock = context.wrap_socket(socket.create_connection(('127.0.0.1', self.port), LIMIT), server_hostname='localhost')
        sock.settimeout(LIMIT)
        return sock


def receive(sock, n):
    data = b''
    while len(data) < n:
        more = sock.recv(n - len(data))
        check(more, 'the server has hung up')
        data += more
    return data


def call(sock, number, body=b'', serial=1):
    sock.sendall(struct.pack('>7I', 28 + len(body), REMOTE, 1, number, 0, serial, 0) + body)


def answer(sock):
    data = receive(sock, struct.unpack('>I', receive(sock, 4))[0] - 4)
    return struct.unpack('>6I', data[:24]), data[24:]


def case_clients(bed):
    """virsh and kvsh with certificates do what they do locally; streams and long answers as well."""
    with bed.start() as kvd:
        for program in 'virsh', bed.kvsh:
            kvd.list(bed.uri('good'), program)
            status, text = kvd.run(program, '-c', bed.uri('good', 'qemu', '/session'), 'uri')
            check(status == 0 and text.startswith('qemu+tls://localhost:'), f'{program}: uri', text)
            tls, local = (kvd.run(program, '-c', uri, 'dumpxml', 'test') for uri in (bed.uri('good'), kvd.uri()))
            check(tls == local and tls[0] == 0, f'{program}: dumpxml', tls[1], local[1])
            status, text = kvd.run(program, '-c', bed.uri('good'), 'event', '--all', '--timeout', '1')
            check('event loop timed out' in text, f'{program}: events', text)
        # A volume there and back again: packets of streams, both ways.
        data = os.urandom(3 << 20)
        os.makedirs(f'{bed.folder}/pool')
        with open(f'{bed.folder}/up', 'wb') as file:
            file.write(data)
        qemu = bed.uri('good', 'qemu', '/session')
        for line in (['pool-create-as', 'p', 'dir', '--target', f'{bed.folder}/pool'], ['vol-create-as', 'p', 'v', str(len(data))],
                     ['vol-upload', 'v', f'{bed.folder}/up', '--pool', 'p'], ['vol-download', 'v', f'{bed.folder}/down', '--pool', 'p']):
            status, text = kvd.virsh(qemu, *line)
            check(status == 0, ' '.join(line), text)
        with open(f'{bed.folder}/down', 'rb') as file:
            check(file.read() == data, 'a volume is another one after its way')
        for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
            with bed.raw(version=version) as sock:
                check(sock.recv(1) == b'\1', 'the byte behind the handshake')
                for _ in range(4):
                    call(sock, 66)
                for _ in range(4):
                    check(answer(sock)[1] == struct.pack('>2I', 1, 0), 'auth_list')


def case_refused(bed):
    """No certificate, another authority's, one of a server, an expired one: not a byte of an answer."""
    with bed.start() as kvd:
        for who in 'nobody', 'foreign', 'server', 'expired':
            for program in 'virsh', bed.kvsh:
                kvd.no_list(bed.uri(who), program=program)
        # GnuTLS' clients keep back a certificate that no authority of the server's has signed; others do not.
        for who in 'foreign', 'server', 'expired', None:
            try:
                with bed.raw(who) as sock:
                    call(sock, 66)
                    data = sock.recv(1)
                check(data == b'', f'{who} gets an answer', data.hex())
            except (ssl.SSLError, ConnectionError):
                pass
        for word in 'expired', 'purpose', 'issuer is unknown':
            check(word in kvd.log(), f'the log does not say that it is "{word}"', kvd.log())
        # A client that does not speak TLS at all.
        with socket.create_connection(('127.0.0.1', bed.port), LIMIT) as sock:
            sock.sendall(struct.pack('>7I', 28, REMOTE, 1, 66, 0, 1, 0))
            try:
                check(REMOTE.to_bytes(4, 'big') not in sock.recv(4096), 'an answer in the clear')
            except ConnectionError:
                pass
        # The server's name is looked at by clients.
        status, text = kvd.run(bed.kvsh, '-c', bed.uri('good', host='127.0.0.2'), 'list')
        check(status != 0, 'another host', text)
        kvd.list(bed.uri('good'))


def case_names(bed):
    """tls_allowed_dn_list, in the form that libvirt's own tool shows; and no list of clients without certificates."""
    with bed.start() as kvd:
        name = subprocess.run(['virt-pki-query-dn', f'{bed.folder}/good/clientcert.pem'], stdout=subprocess.PIPE, check=False, text=True,
                              env=dict(os.environ, LC_ALL='C')).stdout if shutil.which('virt-pki-query-dn') else ''
    name = name.strip() or 'C=DE,O=Kvasir,CN=good'
    for listed, good, other in ([name], True, False), (['O=nobody', name.replace('CN=good', 'CN=*')], True, True), ([], False, False):
        text = ', '.join(f'"{item}"' for item in listed)
        with bed.start(f'tls_allowed_dn_list = [{text}]') as kvd:
            for who, allowed in ('good', good), ('other', other):
                (kvd.list if allowed else kvd.no_list)(bed.uri(who))
            if not other:
                check("C=DE,O=Kvasir,CN=other' is not in tls_allowed_dn_list" in kvd.log(), 'the log does not say who', kvd.log())
    with bed.start('tls_no_verify_certificate = 1') as kvd:
        kvd.list(bed.uri('nobody'))
    with bed.start('tls_no_verify_certificate = 1', 'tls_allowed_dn_list = ["CN=*"]') as kvd:
        kvd.no_list(bed.uri('nobody'))


def case_start(bed):
    """What kvd does not start with, and the option."""
    with Kvd(bed.kvd, bed.folder, bed.conf().replace('listen_tls = 1', 'listen_tls = 0'), ['--tls', f'localhost:{bed.port}']) as kvd:
        kvd.list(bed.uri('good'))
    shutil.copy(f'{bed.folder}/expired/clientcert.pem', f'{bed.folder}/old.pem')
    shutil.copy(f'{bed.folder}/expired/clientkey.pem', f'{bed.folder}/old-key.pem')
    for change, words in ((('servercert.pem', 'none.pem'), 'none.pem'), (('here/serverkey.pem', 'ours/ca-key.pem'), 'TLS: '),
                          (('here/servercert.pem', 'good/clientcert.pem'), 'TLS: ')):
        text = Kvd(bed.kvd, bed.folder, bed.conf().replace(*change)).refused()
        check(words in text, f'{change}: no word of it', text)
    old = bed.conf().replace('here/servercert.pem', 'old.pem').replace('here/serverkey.pem', 'old-key.pem')
    text = Kvd(bed.kvd, bed.folder, old).refused()
    check('failed validation' in text and 'expired' in text, 'its own expired certificate', text)
    with Kvd(bed.kvd, bed.folder, old + 'tls_no_sanity_certificate = 1\n') as kvd:
        kvd.no_list(bed.uri('good'))
    taken = socket.create_server(('127.0.0.1', bed.port))
    text = Kvd(bed.kvd, bed.folder, bed.conf()).refused()
    taken.close()
    check('cannot listen' in text, 'a port that somebody has', text)


def case_hostile(bed):
    """Handshakes that do not end hold up nobody but others that are not known yet; rubbish ends its own connection."""
    with bed.start('max_anonymous_clients = 5') as kvd:
        silent = [socket.create_connection(('127.0.0.1', bed.port), LIMIT) for _ in range(5)]
        kvd.wait_for(lambda: len(os.listdir(f'/proc/{kvd.daemon.pid}/fd')) > 10, 'they are not there')
        late = socket.create_connection(('127.0.0.1', bed.port), LIMIT)
        kvd.wait_for(lambda: 'max_anonymous_clients' in kvd.log(), 'there is no limit of those that are not known')
        for sock in silent[:3]:
            sock.sendall(b'\x16\x03\x01\x02\x00' + os.urandom(600))
        silent[3].sendall(b'GET / HTTP/1.0\r\n\r\n')
        kvd.list(bed.uri('good'))
        late.close()
        for sock in silent:
            sock.close()
        kvd.list(bed.uri('good'))
        with bed.raw() as sock:
            sock.sendall(struct.pack('>8I', 32, REMOTE, 1, 66, 4, 1, 0, 2))  # with descriptors, which TLS cannot carry
            check(sock.recv(1) == b'\1' and sock.recv(1) == b'', 'a call with descriptors')
        kvd.list(bed.uri('good'))


def case_slow(bed):
    """A client that reads nothing: what it has asked for waits, others do not, and in the end it is all there."""
    with bed.start() as kvd:
        with bed.raw() as sock:
            check(sock.recv(1) == b'\1', 'the byte')
            call(sock, 1, struct.pack('>2I', 1, 15) + b'test:///default\0' + bytes(4))
            check(answer(sock)[0][5] == 0, 'open')
            for serial in range(400):
                call(sock, 7, serial=serial)
            kvd.list(bed.uri('good'))
            for serial in range(400):
                check(answer(sock)[0][4] == serial, 'an answer is missing')


def case_keepalive(bed):
    """keepalive_interval and keepalive_count: one that does not answer is disconnected, one that does is not."""
    with bed.start('keepalive_interval = 1', 'keepalive_count = 4') as kvd, bed.raw() as deaf, bed.raw() as good:
        for sock in deaf, good:
            check(sock.recv(1) == b'\1', 'the byte')
            call(sock, 60, struct.pack('>I', 10))
            check(answer(sock)[0][5] == 0, 'feature')
        for _ in range(6):  # more than there may be without an answer
            header, _ = answer(good)
            check(header[:3] == (KEEPALIVE, 1, 1), 'what comes is no ping', header)
            good.sendall(struct.pack('>7I', 28, KEEPALIVE, 1, 2, 2, 0, 0))
        data = b''
        while more := deaf.recv(100):
            data += more
        check(len(data) == 4 * 28, f'{len(data)} bytes before the end')
        kvd.list(bed.uri('good'))


def case_activated(bed):
    """A socket of TCP that somebody else has opened."""
    kvd = bed.start()
    listener = socket.create_server(('127.0.0.1', bed.port))
    fd = listener.fileno()
    line = f'exec 3<&{fd}; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=kvd-tls.socket exec "$@"'
    with subprocess.Popen(['bash', '-c', line, 'bash', *kvd.line], pass_fds=[fd], env=kvd.env) as process:
        try:
            status, text = kvd.virsh(bed.uri('good'), 'list', '--name')
            check(status == 0 and text.split() == ['test'], 'it does not list', text)
        finally:
            process.send_signal(signal.SIGTERM)
            check(process.wait(LIMIT) == 0, 'its end')
    listener.close()


def case_libvirtd(bed):
    """kvsh with a stock libvirtd, and what that one refuses."""
    libvirtd.need('libvirtd')
    for path, folders, files in os.walk(bed.folder):
        for name in [path] + [f'{path}/{f}' for f in folders + files]:
            os.chown(name, NOBODY, NOBODY) if os.getuid() == 0 else None
    conf = bed.conf('tls_allowed_dn_list = ["C=DE,*CN=good"]').replace('listen_tls = 1\n', '')
    server = libvirtd.Libvirtd(more=conf, options=['--listen'])
    kvd = bed.start()
    with server:
        status, text = kvd.run(bed.kvsh, '-c', bed.uri('good'), 'list', '--name')
        check(status == 0 and text.split() == ['test'], 'kvsh does not list what libvirtd has', text)
        for who in 'nobody', 'foreign', 'expired', 'other':
            status, text = kvd.run(bed.kvsh, '-c', bed.uri(who), 'list')
            check(status != 0, f'libvirtd lets {who} in', text)


def main():
    kvd, kvsh, *names = sys.argv[1:]
    return cases.run(globals(), names, lambda folder: Bed(os.path.abspath(kvd), os.path.abspath(kvsh), folder))


if __name__ == '__main__':
    sys.exit(main())
