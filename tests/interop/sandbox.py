#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What kv-vmm has given up once its guest runs, as /proc shows it and as a QMP client finds it. The guest is a few bytes long.
usage: sandbox.py KV-VMM CASE..."""
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time

import cases
import qmp
from cases import Skipped, check

LIMIT = 180
LANDLOCK_CREATE_RULESET = 444


def landlock():
    return ctypes.CDLL(None).syscall(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1) > 0


def namespaces_of_users():
    return subprocess.run(['unshare', '--user', 'true'], check=False, capture_output=True).returncode == 0


def status_of(pid, thread):
    with open(f'/proc/{pid}/task/{thread}/status', encoding='utf-8') as file:
        return {key: value.split() for key, value in (line.rstrip('\n').split(':', 1) for line in file)}


def threads_of(pid):
    return [status_of(pid, thread) for thread in os.listdir(f'/proc/{pid}/task')]


class Guest:
    """A machine that runs; bytes for its guest are those of qmp.py."""

    def __init__(self, bed, *options, before=()):
        command = [*before, bed.program, '--accel', 'soft', '--memory', '64M', '--kernel', bed.kernel, *options]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.kill()
        self.process.wait()

    def wait(self, done):
        """Until done(), which may look into /proc."""
        end = time.monotonic() + LIMIT
        while not done():
            check(self.process.poll() is None, 'kv-vmm ended', (self.process.stdout.read() if self.process.poll() else b'').decode())
            check(time.monotonic() < end, 'waited in vain')
            time.sleep(0.02)

    def running(self, filters):
        """Until the guest runs and each thread that was started has come as far as to its filter."""
        def is_running():
            try:
                threads = threads_of(self.pid)
            except (FileNotFoundError, ProcessLookupError):
                return False
            others = [t for t in threads if t['Tgid'] != t['Pid']]
            return any(t['Name'] == ['vcpu0'] for t in others) and all(int(t['Seccomp_filters'][0]) == filters for t in others)
        self.wait(is_running)
        return self

    def running_inside(self, filters):
        """As running(), of the machine's process in a namespace: another one than that which was started."""
        def has_child():
            try:
                self.pid = first_of_namespace(self.process.pid)
            except IndexError:
                return False
            return True
        self.wait(has_child)
        return self.running(filters)

    def wait_gone(self):
        end = time.monotonic() + LIMIT
        while os.path.exists(f'/proc/{self.pid}') and status_of(self.pid, self.pid)['State'][0] != 'Z':
            check(time.monotonic() < end, 'it is still there')
            time.sleep(0.02)

    def send(self, byte):
        self.process.stdin.write(byte)
        self.process.stdin.flush()

    def end(self, status=0):
        """Powers the guest off; a byte that comes while it is reset is lost, so there are several."""
        until = time.monotonic() + LIMIT
        while self.process.poll() is None and time.monotonic() < until:
            try:
                self.send(b'p')
            except BrokenPipeError:
                pass
            time.sleep(0.05)
        text = self.process.stdout.read() if self.process.poll() is not None else b'it runs on'
        check(self.process.returncode == status, f'exit status {self.process.returncode}, not {status}', text.decode())
        return text.decode()


class Bed:
    def __init__(self, program, folder):
        os.chmod(folder, 0o755)
        self.program, self.folder, self.kernel = program, folder, f'{folder}/kernel'
        qmp.kernel(self.kernel)

    def guest(self, *options, **keys):
        return Guest(self, *options, **keys)


def check_threads(guest, uid):
    for thread in threads_of(guest.pid):
        name = thread['Name'][0]
        check(thread['NoNewPrivs'] == ['1'] and thread['Seccomp'] == ['2'], f'{name}: no filter', thread)
        check(all(int(thread[key][0], 16) == 0 for key in ('CapEff', 'CapPrm', 'CapInh', 'CapBnd', 'CapAmb')),
              f'{name}: capabilities', thread)
        check(set(thread['Uid'] + thread['Gid']) == {str(uid)}, f'{name}: not user {uid}', thread)
        wanted = 1 if thread['Tgid'] == thread['Pid'] else 2
        check(int(thread['Seccomp_filters'][0]) == wanted, f'{name}: not {wanted} filters', thread)


def check_world(guest, *same):
    """Of a machine that is not told names: nothing of the host's is there, but `same`."""
    for space in 'user', 'mnt', 'net', 'ipc':
        other = os.readlink(f'/proc/{guest.pid}/ns/{space}') != os.readlink(f'/proc/self/ns/{space}')
        check(other == (space not in same), f'{space}: {"the same namespace" if not other else "another namespace"}')
    check(not os.listdir(f'/proc/{guest.pid}/root') or 'net' in same, 'files', str(os.listdir(f'/proc/{guest.pid}/root')))


def case_threads(bed):
    """Nobody, no capabilities, filters in all threads, an empty world; and a guest that resets needs no files."""
    if not namespaces_of_users():
        raise Skipped('no namespaces of users')
    uid = os.geteuid() or 65534
    with bed.guest('--sandbox', 'on,strict=on', '--net', 'none') as guest:
        guest.running(2)
        check_threads(guest, uid)
        check_world(guest)
        guest.send(b'r')
        guest.end()
    with bed.guest('--net', 'user') as guest:
        guest.running(2)
        check_threads(guest, uid)
        check_world(guest, 'net')
        check(set(os.listdir(f'/proc/{guest.pid}/root')) <= {'etc', 'run', 'usr', 'var'}, 'more than the resolver has')
        check(set(os.listdir(f'/proc/{guest.pid}/root/etc')) <= {'resolv.conf'}, 'more than the resolver has')
        guest.end()


def case_off(bed):
    with bed.guest('--sandbox', 'off') as guest:
        guest.running(0)
        check(all(thread['Seccomp'] == ['0'] and thread['NoNewPrivs'] == ['0'] for thread in threads_of(guest.pid)), 'not off')
        guest.end()


def case_user(bed):
    """Somebody else than nobody, as root wants it; and who is not root stays who he is."""
    if os.geteuid() != 0:
        raise Skipped('not root')
    with bed.guest('--sandbox', 'user=daemon') as guest:
        check_threads(guest.running(2), pwd.getpwnam('daemon').pw_uid)
        guest.end()
    done = subprocess.run([bed.program, '--kernel', bed.kernel, '--sandbox', 'user=no-such-user'], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=LIMIT, check=False)
    check(done.returncode == 1 and b'user=no-such-user: there is no such user' in done.stderr, 'no error', done.stderr.decode())
    if not shutil.which('setpriv') or not namespaces_of_users():
        raise Skipped('no setpriv, or no namespaces of users')
    other = pwd.getpwnam('daemon')
    before = ['setpriv', f'--reuid={other.pw_uid}', f'--regid={other.pw_uid}', '--clear-groups']
    if subprocess.run([*before, 'test', '-x', bed.program], check=False).returncode:
        raise Skipped('the program is not for others')
    with bed.guest('--sandbox', 'strict=on', before=before) as guest:
        check_threads(guest.running(2), other.pw_uid)
        check_world(guest)
        guest.end()


def first_of_namespace(waiter):
    """The child of the process that was started."""
    with open(f'/proc/{waiter}/task/{waiter}/children', encoding='utf-8') as file:
        return int(file.read().split()[0])


def check_first(guest, uid):
    """The machine's process is the first of its namespace; the other one takes signals for it, once each, and ends as it does."""
    waiter, first = guest.process.pid, guest.pid
    check(status_of(first, first)['NSpid'] == [str(first), '1'], 'not the first', str(status_of(first, first)['NSpid']))
    other = os.readlink(f'/proc/{first}/ns/pid')
    check(other not in (os.readlink('/proc/self/ns/pid'), os.readlink(f'/proc/{waiter}/ns/pid')), 'the same namespace')
    check_threads(guest, uid)
    check_world(guest)
    os.kill(first, signal.SIGTERM)
    os.kill(waiter, signal.SIGTERM)
    line = guest.process.stdout.readline()
    while line and b'power button' not in line:
        line = guest.process.stdout.readline()
    check(line, 'no power button')
    os.kill(first, signal.SIGTERM)


def case_pid(bed):
    """A namespace of processes, and what the process outside of it does: for root and for others."""
    if not namespaces_of_users():
        raise Skipped('no namespaces of users')
    other = pwd.getpwnam('daemon').pw_uid
    starts = [((), os.geteuid() or 65534)]
    if os.geteuid() == 0 and shutil.which('setpriv'):
        before = ('setpriv', f'--reuid={other}', f'--regid={other}', '--clear-groups')
        if subprocess.run([*before, 'test', '-x', bed.program], check=False).returncode == 0:
            starts.append((before, other))
    for before, uid in starts:
        for end in 'guest', signal.SIGTERM, signal.SIGKILL:
            with bed.guest('--sandbox', 'pid=on,strict=on', '--net', 'none', before=before) as guest:
                guest.running_inside(2)
                check_first(guest, uid)
                if end == 'guest':
                    guest.end()
                elif end == signal.SIGTERM:  # the second one
                    os.kill(guest.process.pid, end)
                    check(guest.process.wait(LIMIT) == 128 + end, 'another status')
                else:
                    os.kill(guest.pid, end)
                    check(guest.process.wait(LIMIT) == -end, 'another end')
        with bed.guest('--sandbox', 'pid=on', '--net', 'none', before=before) as guest:
            guest.running_inside(2)
            guest.process.kill()
            guest.process.wait()
            guest.wait_gone()


def case_container(bed):
    """Where there are no namespaces to get, a guest runs all the same, filtered; strict=on says what is missing."""
    if not namespaces_of_users():
        raise Skipped('no namespaces of users')
    script = 'for n in user mnt net ipc pid; do echo 0 >/proc/sys/user/max_${n}_namespaces || exit 9; done; exec "$@"'
    before = ['unshare', '--user', '--map-root-user', 'sh', '-c', script, 'sh']
    with bed.guest(before=before) as guest:
        guest.running(2)
        check(all(t['Seccomp'] == ['2'] and int(t['CapEff'][0], 16) == 0 for t in threads_of(guest.pid)), 'not filtered')
        guest.end()
    with bed.guest('--sandbox', 'pid=on', before=before) as guest:
        guest.running(2).end()
    for keys, missing in ('strict=on', 'mount namespace'), ('strict=on,pid=on', 'process namespace'):
        with bed.guest('--sandbox', keys, before=before) as guest:
            text = guest.end(1)
            check('strict=on' in text and missing in text, 'does not say what is missing', text)


def refused(client, path):
    answer = client.ask({'execute': 'blockdev-add', 'arguments': {'driver': 'raw', 'node-name': 'x',
                                                                 'file': {'driver': 'file', 'filename': path}}})
    if 'error' not in answer:
        client.run('blockdev-del', **{'node-name': 'x'})
    return 'Permission denied' in answer.get('error', {}).get('desc', '')


def case_names(bed):
    """A QMP client opens a person's files; the kernel's, or those that are elsewhere, it does not."""
    if not landlock():
        raise Skipped('no Landlock')
    place, other = f'{bed.folder}/place', f'{bed.folder}/other'
    for folder in place, other:
        os.mkdir(folder)
        with open(f'{folder}/disk', 'wb') as file:
            file.truncate(1 << 20)
    for files, places in ((), (place, other)), ((f'files={place}',), (place,)):
        socket = f'{place}/qmp'
        with bed.guest('--sandbox', ','.join(('on', *files)), '--qmp', f'unix:{socket}') as guest:
            client = qmp.Client(socket)
            check_threads(guest.running(2), os.geteuid())
            for folder in place, other:
                check(refused(client, f'{folder}/disk') == (folder not in places), f'{files}: {folder}')
            for path in '/proc/self/environ', '/sys/power/state', '/dev/zero':
                check(refused(client, path), f'{path} can be opened')
            guest.end()


def case_vsock(bed):
    """A guest's ports are sockets that come later, by whichever of its names the device was asked for: they stay in reach."""
    socket = f'{bed.folder}/vsock'
    for name in 'virtio-vsock', 'virtio-vsock-pci':
        with bed.guest('--device', f'{name},cid=42,unix={socket}') as guest:
            guest.running(2)
            check(os.path.exists(f'/proc/{guest.pid}/root{socket}'), f'{name}: the folder is out of reach')
            check_threads(guest, os.geteuid())
            guest.end()
        check(not os.path.exists(socket), f'{name}: the socket stays behind')


if __name__ == '__main__':
    sys.exit(cases.run(globals(), sys.argv[2:], lambda folder: Bed(sys.argv[1], folder)))
