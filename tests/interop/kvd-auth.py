#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may connect to kvd over its Unix sockets, and what he may do there: modes, groups, polkit, access drivers.
usage: kvd-auth.py KVD KVSH [CASE]...   Exit status 77: virsh, a bus, or root, who can be somebody else, is missing."""
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import time

import cases
import polkit
from cases import Skipped, check
from kvd_bed import LIMIT, NOBODY, Kvd

BUS = '''<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path={folder}/bus</listen><auth>EXTERNAL</auth><policy context="default"><allow send_destination="*"/>
<allow receive_sender="*"/><allow own="*"/><allow user="*"/></policy></busconfig>
'''


class Bed:
    def __init__(self, kvd, kvsh, folder):
        if os.geteuid() != 0:
            raise Skipped('only root can be somebody else')
        self.kvd, self.kvsh, self.folder = kvd, kvsh, folder
        os.chmod(folder, 0o755)

    def start(self, *lines, system=True, **env):
        return Kvd(self.kvd, self.folder, ''.join(line + '\n' for line in lines), system=system, **env)


class Polkit:
    """A bus, and what stands in for polkitd there. .rule(text): the answers from now on; .asked(): since the last time."""

    def __init__(self, folder):
        if not shutil.which('dbus-daemon') or subprocess.run(['/usr/bin/python3', '-c', 'from gi.repository import Gio'],
                                                             stderr=subprocess.DEVNULL, check=False).returncode:
            raise Skipped('no D-Bus, or no python3-gi')
        self.folder = folder
        self.address = f'unix:path={folder}/bus'
        with open(f'{folder}/bus.conf', 'w', encoding='utf-8') as file:
            file.write(BUS.format(folder=folder))
        self.processes = []

    def __enter__(self):
        self.rule('"no"')
        self.asked()
        try:
            self.begin('dbus-daemon', '--nofork', '--nopidfile', f'--config-file={self.folder}/bus.conf', '--print-address')
            self.begin('/usr/bin/python3', polkit.__file__, f'{self.folder}/rules', f'{self.folder}/asked')
        except BaseException:
            self.__exit__()
            raise
        return self

    def begin(self, *line):
        """A program that says a line when it is ready."""
        env = dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=self.address)
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)
        self.processes.append(process)
        ready = select.select([process.stdout], [], [], LIMIT)[0] and process.stdout.readline()
        check(ready, f'{line[0]} does not begin')

    def __exit__(self, *unused):
        for process in reversed(self.processes):
            process.terminate()
            process.wait(LIMIT)

    def rule(self, expression):
        with open(f'{self.folder}/rules.new', 'w', encoding='utf-8') as file:
            file.write(f'def answer(action, details, uid, flags):\n    return {expression}\n')
        os.rename(f'{self.folder}/rules.new', f'{self.folder}/rules')

    def asked(self):
        path = f'{self.folder}/asked'
        lines = open(path, encoding='utf-8').read().splitlines() if os.path.exists(path) else []
        open(path, 'w', encoding='utf-8').close()
        return lines


def case_modes(bed):
    """The system's: root alone, or a group, or all; nobody else connects, whatever the file's mode becomes later."""
    with bed.start() as kvd:
        check((os.stat(kvd.socket).st_mode & 0o777, os.stat(kvd.socket + '-ro').st_mode & 0o777) == (0o700, 0o777), 'modes')
        kvd.list(kvd.uri())
        kvd.no_list(kvd.uri(), 'Permission denied', user=NOBODY)
        kvd.list(kvd.uri('-ro'), user=NOBODY)
        status, text = kvd.virsh(kvd.uri('-ro'), 'destroy', 'test', user=NOBODY)
        check(status != 0 and 'read only access prevents virDomainDestroy' in text, 'destroy', text)
        os.chmod(kvd.socket, 0o777)
        kvd.no_list(kvd.uri(), user=NOBODY)
        kvd.wait_for(lambda: 'a connection of user 65534 is refused' in kvd.log(), 'the log')
    with bed.start('unix_sock_group = "nogroup"', 'unix_sock_ro_perms = "0750"') as kvd:
        here = os.stat(kvd.socket)
        check((here.st_mode & 0o777, here.st_gid) == (0o770, NOBODY), 'mode and group', oct(here.st_mode), here.st_gid)
        kvd.list(kvd.uri(), user=NOBODY)
        kvd.no_list(kvd.uri(), 'Permission denied', user=2)
        kvd.no_list(kvd.uri('-ro'), 'Permission denied', user=2)
        os.chmod(kvd.socket, 0o777)
        kvd.no_list(kvd.uri(), user=2)
        more = {'user': 2, 'group': 2, 'extra_groups': [NOBODY]}
        done = subprocess.run(['virsh', '-c', kvd.uri(), 'list', '--name'], env=kvd.env, stdout=subprocess.PIPE, check=False, text=True,
                              timeout=LIMIT, **more)
        check(done.stdout.split() == ['test'], 'a member by another group of his', done.stdout)
    with bed.start('unix_sock_rw_perms = "0777"') as kvd:
        kvd.list(kvd.uri(), user=2)
    for line, words in (('unix_sock_group = "no such group"', 'there is no group'), ('unix_sock_rw_perms = "rwx"', 'is no mode'),
                        ('auth_unix_rw = "sasl"', 'kvd has no SASL'), ('auth_tls = "sasl"', 'kvd has no SASL'),
                        ('listen_tcp = 1', 'no TCP without TLS'), ('max_clients = "5"', 'max_clients is a number'),
                        ('max_clients = 0', 'from 1 to'), ('access_drivers = ["selinux"]', 'not \'selinux\''),
                        ('log_filters = "1:qemu"', "'log_filters' is no setting"), ('x', 'no = behind'), ('max_clients =', 'a number'),
                        ('auth_unix_ro = "none', 'does not end'), ('access_drivers = [ "none" "none" ]', 'commas')):
        said = bed.start('# a comment', '', line).refused()
        check(words in said and 'kvd.conf:3: ' in said or 'unix_sock' in said and words in said, line, said)


def case_session(bed):
    """A user's own is his and root's, over either socket."""
    for name in 'config', 'home':
        os.makedirs(f'{bed.folder}/{name}')
    os.chmod(bed.folder, 0o777)
    with bed.start('unix_sock_rw_perms = "0777"', 'unix_sock_ro_perms = "0777"', system=False) as kvd:
        for suffix in '', '-ro':
            os.chmod(kvd.socket + suffix, 0o777)
            kvd.no_list(kvd.uri(suffix), user=NOBODY)
            kvd.list(kvd.uri(suffix))
    os.chmod(bed.folder, 0o755)


def case_polkit(bed):
    """auth_unix_rw and auth_unix_ro: root is not asked about, all others are, by process, its start and its user."""
    with Polkit(bed.folder) as authority, bed.start('auth_unix_rw = "polkit"', 'auth_unix_ro = "polkit"',
                                                    DBUS_SYSTEM_BUS_ADDRESS=authority.address) as kvd:
        kvd.list(kvd.uri())
        check(authority.asked() == [], 'root is asked about')
        kvd.no_list(kvd.uri(), 'authentication failed: access denied by policy', user=NOBODY)
        check(authority.asked() == ['org.libvirt.unix.manage [] 65534 1 True'], 'what is asked')
        authority.rule('"yes" if action == "org.libvirt.unix.monitor" and uid == 65534 else "no"')
        kvd.no_list(kvd.uri(), 'access denied by policy', user=NOBODY)
        kvd.list(kvd.uri('-ro'), user=NOBODY)
        kvd.no_list(kvd.uri('-ro'), 'access denied by policy', user=2)
        check([line.split()[0] for line in authority.asked()] == ['org.libvirt.unix.manage'] + ['org.libvirt.unix.monitor'] * 2, 'asked')
        authority.rule('"yes"')
        kvd.list(kvd.uri(), user=NOBODY)
        shutil.copy(bed.kvsh, f'{bed.folder}/kvsh')  # where everybody may run it
        kvd.list(kvd.uri(), f'{bed.folder}/kvsh', user=NOBODY)
        authority.rule('"challenge"')
        kvd.no_list(kvd.uri(), "authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'",
                    user=NOBODY)
        authority.rule('"dismissed"')
        kvd.no_list(kvd.uri(), 'authentication cancelled: user cancelled authentication process', user=NOBODY)
        # Before polkit's word nothing is to be had, and that there is no SASL is said.
        program = f'''
import socket, struct
s = socket.socket(socket.AF_UNIX); s.connect({kvd.socket!r}); s.settimeout(20)
def call(n, body=b''):
    s.sendall(struct.pack('>7I', 28 + len(body), 0x20008086, 1, n, 0, 1, 0) + body)
    data = s.recv(4, socket.MSG_WAITALL)
    return s.recv(struct.unpack('>I', data)[0] - 4, socket.MSG_WAITALL)
assert call(66)[24:] == struct.pack('>2I', 1, 2)
for n in 1, 23, 7, 60, 444, 100000:
    assert b'authentication required' in call(n) or n == 100000, n
for n in 67, 68, 69:
    data = call(n)
    assert data[20:24] == struct.pack('>I', 1) and (b'has no SASL' in data or n > 67), data
assert b'user cancelled' in call(70) and b'user cancelled' in call(70)
assert b'authentication required' in call(1, struct.pack('>2I', 0, 0))
'''
        status, text = kvd.run('/usr/bin/python3', '-c', program, user=NOBODY)
        check(status == 0, 'by the protocol itself', text)
    with bed.start('auth_unix_rw = "polkit"', DBUS_SYSTEM_BUS_ADDRESS=f'unix:path={bed.folder}/nowhere') as kvd:
        kvd.list(kvd.uri())
        kvd.no_list(kvd.uri(), 'authentication failed: polkit cannot be asked', user=NOBODY)
        kvd.list(kvd.uri('-ro'), user=NOBODY)


RULES = """polkit.addRule(function(action, subject) {
    if (action.id == "org.libvirt.unix.manage" && subject.user == "daemon") return polkit.Result.YES;
    if (action.id == "org.libvirt.unix.monitor" && subject.user == "bin") return polkit.Result.NO;
    if (action.id == "org.libvirt.api.domain.stop" && subject.user == "daemon" && action.lookup("domain_name") == "test")
        return polkit.Result.YES;
});
"""
INSIDE = """mount --bind {folder}/actions /usr/share/polkit-1/actions && mount --bind {folder}/rules.d /etc/polkit-1/rules.d &&
echo ready && exec {polkitd} --no-debug"""


class Polkitd(Polkit):
    """polkit's own daemon, with our actions and these rules and nothing of this host's: in a mount namespace of its own."""

    def __init__(self, folder, policies):
        super().__init__(folder)
        program = next((p for p in ('/usr/lib/polkit-1/polkitd', '/usr/libexec/polkitd') if os.path.exists(p)), None)
        if not program or not os.path.isdir('/etc/polkit-1/rules.d') or not os.path.isdir('/usr/share/polkit-1/actions'):
            raise Skipped('no polkitd (tools/install-deps test)')
        if subprocess.run(['unshare', '-m', 'mount', '--bind', folder, '/etc/polkit-1/rules.d'], stderr=subprocess.DEVNULL, check=False).returncode:
            raise Skipped('this machine permits no mounts: polkitd would read the rules of the host')
        for name in 'actions', 'rules.d':
            os.mkdir(f'{folder}/{name}')
            os.chmod(f'{folder}/{name}', 0o755)
        for path in policies:
            shutil.copy(path, f'{folder}/actions')
        with open(f'{folder}/rules.d/10-test.rules', 'w', encoding='utf-8') as file:
            file.write(RULES)
        os.chmod(f'{folder}/rules.d/10-test.rules', 0o644)
        self.line = ['unshare', '-m', 'sh', '-c', INSIDE.format(folder=folder, polkitd=program)]

    def __enter__(self):
        try:
            self.begin('dbus-daemon', '--nofork', '--nopidfile', f'--config-file={self.folder}/bus.conf', '--print-address')
            self.begin(*self.line)
            end = time.monotonic() + LIMIT
            while 'PolicyKit1' not in subprocess.run(['dbus-send', f'--bus={self.address}', '--print-reply', '--dest=org.freedesktop.DBus', '/',
                                                      'org.freedesktop.DBus.ListNames'], capture_output=True, text=True, check=False).stdout:
                check(time.monotonic() < end and self.processes[-1].poll() is None, 'polkitd does not begin')
                time.sleep(.1)
        except BaseException:
            self.__exit__()
            raise
        return self


def case_polkitd(bed):
    """polkit's own daemon: libvirt's rules are about kvd, and what none says is as the installed action files have it."""
    build = os.path.dirname(bed.kvd)
    policies = [f'{build}/org.kvasir.{name}.policy' for name in ('unix', 'api')]
    daemon, other, no_one = 1, NOBODY, 2
    with Polkitd(bed.folder, policies) as authority:
        address = authority.address
        with bed.start('auth_unix_rw = "polkit"', 'auth_unix_ro = "polkit"', DBUS_SYSTEM_BUS_ADDRESS=address) as kvd:
            kvd.list(kvd.uri())
            kvd.list(kvd.uri(), user=daemon)
            kvd.no_list(kvd.uri(), "no polkit agent available to authenticate action 'org.libvirt.unix.manage'", user=other)
            kvd.list(kvd.uri('-ro'), user=other)
            kvd.no_list(kvd.uri('-ro'), 'access denied by policy', user=no_one)
        with bed.start('access_drivers = ["polkit"]', 'unix_sock_rw_perms = "0777"', DBUS_SYSTEM_BUS_ADDRESS=address) as kvd:
            kvd.list(kvd.uri(), user=other)
            for user, good in (other, False), (daemon, True):
                status, text = kvd.virsh(kvd.uri(), 'destroy', 'test', user=user)
                check((status == 0) == good and ('denied access' in text) != good, f'destroy by user {user}', text)
            status, text = kvd.virsh(kvd.uri(), 'undefine', 'test', user=daemon)
            check(status != 0 and 'denied access' in text, 'what no rule allows', text)


def case_limits(bed):
    """max_clients, also by the option; max_client_requests: so many calls wait for an answer, others for their turn."""
    for lines, options, most in ((['max_clients = 3'], [], 3), (['max_clients = 1000'], ['--max-clients', '2'], 2)):
        with Kvd(bed.kvd, bed.folder, ''.join(f'{line}\n' for line in lines), options) as kvd:
            kvd.wait_for(lambda: kvd.virsh(kvd.uri(), 'uri')[0] == 0, 'those who asked whether it listens are there still')
            clients = [socket.socket(socket.AF_UNIX) for _ in range(most + 1)]
            for client in clients:
                client.connect(kvd.socket)
                client.settimeout(LIMIT)
            try:
                check(clients[-1].recv(1) == b'', 'one too many')
            except ConnectionResetError:
                pass
            kvd.wait_for(lambda: 'a client is refused' in kvd.log(), 'the log')
            for client in clients:
                client.close()
            kvd.wait_for(lambda: kvd.virsh(kvd.uri(), 'uri')[0] == 0, 'there is room again')
    with Kvd(bed.kvd, bed.folder, 'max_client_requests = 1\nmax_workers = 1\nprio_workers = 1\n') as kvd, \
            socket.socket(socket.AF_UNIX) as client:
        client.connect(kvd.socket)
        client.settimeout(LIMIT)
        for serial in range(100):
            client.sendall(struct.pack('>7I', 28, 0x20008086, 1, 66, 0, serial, 0))
        for serial in range(100):
            check(struct.unpack('>9I', client.recv(36, socket.MSG_WAITALL))[5] == serial, 'the order of answers')
        kvd.list(kvd.uri())


XML = """<domain type='test'><name>{}</name><uuid>{}</uuid><memory>1024</memory><os><type>hvm</type></os></domain>"""
OTHER = '11111111-2222-3333-4444-555555555555'


def case_access(bed):
    """access_drivers = ["polkit"]: nobody sees or does what polkit does not say, by what objects are and not by what a client says."""
    with Polkit(bed.folder) as authority, bed.start('access_drivers = ["polkit"]', 'unix_sock_rw_perms = "0777"',
                                                    DBUS_SYSTEM_BUS_ADDRESS=authority.address) as kvd:
        keeper = subprocess.Popen(['virsh', '-c', kvd.uri()], env=kvd.env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        try:
            access(bed, authority, kvd)
        finally:
            keeper.communicate(b'quit\n', LIMIT)


def access(bed, authority, kvd):
    def mine(*line):
        return kvd.virsh(kvd.uri(), *line, user=NOBODY)
    path = f'{bed.folder}/other.xml'
    with open(path, 'w', encoding='utf-8') as file:
        file.write(XML.format('other', OTHER))
    end = time.monotonic() + LIMIT
    while kvd.virsh(kvd.uri(), 'dominfo', 'other')[0]:  # what is in memory stays when the keeper has come
        check(time.monotonic() < end, 'the definition does not stay')
        status, text = kvd.virsh(kvd.uri(), 'define', path)
        check(status == 0, 'root may do all', text)
    authority.asked()
    status, text = mine('list')
    check(status != 0 and "access denied: 'TEST' denied access" in text, 'nothing is allowed', text)
    check(authority.asked() == ["org.libvirt.api.connect.getattr [('connect_driver', 'TEST')] 65534 0 True"], 'opening')
    # He may see "test" alone, and start and stop it.
    authority.rule('"yes" if action.startswith("org.libvirt.api.connect.") or details.get("domain_name") == "test" or '
                   'details.get("network_name") == "mine" else "no"')
    for line, names in ((('list', '--all', '--name'), ['test']), (('net-list', '--all', '--name'), []), (('pool-list', '--all', '--name'), []),
                        (('domstats', '--list-active', '--state'), None)):
        status, text = mine(*line)
        check(status == 0 and (names is None or text.split() == names), f'{line}', text)
    check("Domain: 'test'" in text and 'other' not in text, 'statistics', text)
    for line in (['dominfo', 'test'], ['destroy', 'test'], ['start', 'test'], ['dumpxml', 'test', '--security-info']):
        status, text = mine(*line)
        check(status == 0, f'{line}', text)
    for line in (['dominfo', 'other'], ['start', 'other'], ['undefine', 'other'], ['net-destroy', 'default'], ['net-dumpxml', 'default'],
                 ['pool-info', 'default-pool'], ['pool-destroy', 'default-pool'], ['define', path], ['create', path]):
        status, text = mine(*line)
        check(status != 0 and ('denied access' in text or 'failed to get' in text), f'{line}', text)
    # Only one of two names is what it would be called: who asks polkit must not be told of the other.
    for first, second in (XML.format('other', OTHER), "<name>test</name>"), (XML.format('other', OTHER), "<name xmlns='urn:x'>test</name>"):
        with open(path, 'w', encoding='utf-8') as file:
            file.write(first.replace('</name>', '</name>' + second, 1))
        status, text = mine('define', path)
        check(status != 0, f'defined with {second}', text)
    with open(path, 'w', encoding='utf-8') as file:
        file.write("<network><name>mine</name><bridge name='b9'/><ip address='10.9.0.1' netmask='255.255.255.0'/></network>")
    status, text = mine('net-define', path)
    check(status == 0, 'a definition by its name', text)
    check(mine('net-list', '--all', '--name')[1].split() == ['mine'], 'it sees its own')
    # Handles with one's name and another's UUID; the old ways of lists, and how many there are.
    program = f'''
import socket, struct, uuid
s = socket.socket(socket.AF_UNIX); s.connect({kvd.socket!r}); s.settimeout(20)
def string(t): return struct.pack(">I", len(t)) + t + bytes(-len(t) % 4)
def call(n, body=b""):
    s.sendall(struct.pack(">7I", 28 + len(body), 0x20008086, 1, n, 0, 1, 0) + body)
    data = s.recv(struct.unpack(">I", s.recv(4, socket.MSG_WAITALL))[0] - 4, socket.MSG_WAITALL)
    return struct.unpack(">I", data[20:24])[0], data[24:]
assert call(1, struct.pack(">I", 1) + string(b"test:///default") + bytes(4))[0] == 0
other = string(b"test") + uuid.UUID("{OTHER}").bytes + struct.pack(">i", 1)
for n, more in (14, bytes(4)), (9, b""), (12, b""), (231, bytes(4)), (16, b""):
    status, data = call(n, other + more)
    assert status == 1 and b"denied access" in data, (n, data)
status, data = call(24, uuid.UUID("{OTHER}").bytes)
assert status == 1 and b"denied access" in data
assert call(25) == (0, bytes(4)) and call(51) == (0, struct.pack(">I", 1)), (call(25), call(51))
assert call(21, struct.pack(">i", 1)) == (0, bytes(4))
assert call(37, struct.pack(">i", 9))[1][:4] == struct.pack(">I", 1)
assert call(52) == (0, bytes(4)) and call(50) == (0, struct.pack(">I", 1))
assert call(36, struct.pack(">i", 5)) == (0, struct.pack(">I", 1) + string(b"mine")), call(36, struct.pack(">i", 5))
assert call(273, struct.pack(">2I", 0, 0)) == (0, struct.pack(">2I", 0, 1)), call(273, struct.pack(">2I", 0, 0))
'''
    status, text = kvd.run('/usr/bin/python3', '-c', program, user=NOBODY)
    check(status == 0, 'by the protocol itself', text)
    # Events of what it sees alone, in their order.
    with subprocess.Popen(['virsh', '-c', kvd.uri(), 'event', '--event', 'lifecycle', '--loop', '--timeout', '30'], env=kvd.env,
                          stdout=subprocess.PIPE, text=True, user=NOBODY, group=NOBODY, extra_groups=[]) as events:
        kvd.wait_for(lambda: any('connect.search-domains' in line for line in authority.asked()), 'it does not register')
        for line in ('start', 'other'), ('suspend', 'test'), ('destroy', 'other'), ('resume', 'test'), ('destroy', 'test'):
            status, text = kvd.virsh(kvd.uri(), *line)
            check(status == 0, f'{line}', text)
        said = ''.join(events.stdout.readline() for _ in range(3))
        events.terminate()
    check([word in said for word in ('Suspended', 'Resumed', 'Stopped', 'other')] == [True, True, True, False], 'events', said)
    check(said.index('Suspended') < said.index('Resumed') < said.index('Stopped'), 'their order', said)


def main():
    kvd, kvsh, *names = sys.argv[1:]
    return cases.run(globals(), names, lambda folder: Bed(os.path.abspath(kvd), os.path.abspath(kvsh), folder))


if __name__ == '__main__':
    sys.exit(main())
