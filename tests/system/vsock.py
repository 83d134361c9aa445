#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtio sockets between a Linux guest and this program: a client of the guest's port, the guest's own connection, one that is
refused, and bytes that nobody takes for a while.   usage: vsock.py KV-VMM GUEST-PROGRAM SOURCE-ROOT
Exit status 77: something is needed and not installed."""
import glob
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

LIMIT = 180


def connect(path):
    peer, end = socket.socket(socket.AF_UNIX), time.monotonic() + LIMIT
    while peer.connect_ex(path) != 0:
        if time.monotonic() > end:
            sys.exit(f'nobody listens on {path}')
        time.sleep(0.05)
    peer.settimeout(LIMIT)
    return peer


def line(peer):
    text = b''
    while not text.endswith(b'\n'):
        byte = peer.recv(1)
        if not byte:
            break
        text += byte
    return text


def receive(peer):
    data = b''
    while part := peer.recv(65536):
        data += part
    return data


def to_guest(path):
    """A client of port 1234, which is there sooner or later; it sends all before it takes anything, as far as that goes."""
    with connect(path) as bad:
        bad.sendall(b'CONNECT 99\n')
        assert line(bad) == b'', 'a port where nobody listens'
    with connect(path) as bad:
        bad.sendall(b'nonsense\n')
        assert line(bad) == b'', 'a command that is none'
    end = time.monotonic() + LIMIT
    while True:
        peer = connect(path)
        peer.sendall(b'CONNECT 1234\n')
        answer = line(peer)
        if answer:
            break
        assert time.monotonic() < end, 'the guest does not listen'
        peer.close()
        time.sleep(0.1)
    assert answer.startswith(b'OK '), answer
    data = os.urandom(3000000)
    sender = threading.Thread(target=lambda: (peer.sendall(data), peer.shutdown(socket.SHUT_WR)))
    sender.start()
    time.sleep(0.5)  # the guest's echo has to wait, and then we do
    got = receive(peer)
    sender.join()
    peer.close()
    assert got == data, f'{len(got)} bytes came back, or others'


def from_guest(server):
    peer, _ = server.accept()
    with peer:
        peer.sendall(receive(peer))


def main():
    program, guest, root = sys.argv[1:]
    kernels = sorted(glob.glob('/boot/vmlinuz-*-cloud-amd64'))
    if not kernels or not os.access(kernels[-1], os.R_OK) or not shutil.which('cpio') or not shutil.which('busybox'):
        print('skipped: no cloud kernel, cpio or busybox')
        return 77
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        path = f'{folder}/vsock'
        server.bind(path + '_5000')
        server.listen()
        subprocess.run([f'{root}/tools/make-initrd', '-m', 'vmw_vsock_virtio_transport', f'{folder}/initrd', guest], check=True)
        threading.Thread(target=from_guest, args=(server,), daemon=True).start()
        with open(f'{folder}/log', 'w+b') as log, subprocess.Popen(
                [program, '--accel', 'soft', '--cpus', '2', '--memory', '256M', '--kernel', kernels[-1], '--initrd',
                 f'{folder}/initrd', '--no-reboot', '--device', f'virtio-vsock,cid=42,unix={path}', '--append',
                 f'console=ttyS0 quiet panic=-1 kv.run="{os.path.realpath(guest)}"'],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT) as process:
            try:
                while b'listening' not in open(f'{folder}/log', 'rb').read():
                    assert process.poll() is None, 'the guest ended'
                    time.sleep(0.05)
                to_guest(path)
                status = process.wait(LIMIT)
            finally:
                process.kill()
                log.seek(0)
                text = log.read().decode('utf-8', 'replace').replace('\r', '')
                print(text)
        for want in 'echoed 3000000', 'came back 3000000', 'port 5001: Connection reset by peer', '@exit 0':
            assert want in text.splitlines(), f'the guest does not say "{want}"'
        assert status == 0, f'exit status {status}'
        assert not os.path.exists(path), 'the socket is left behind'
    return 0


if __name__ == '__main__':
    sys.exit(main())
