#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kvd at the other end of ssh: virsh and kvsh with kv-ssh-helper and with netcat. ssh is a script that runs the command
here.
usage: kvd-ssh.py KVD KVSH KV-SSH-HELPER [CASE]...   Exit status 77: virsh or nc is missing."""
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import cases
from cases import Skipped, check
from kvd_bed import LIMIT, Kvd

# What ssh does with its words: options, the host, and the rest as one line for the user's shell over there.
SSH = '''#!/bin/bash
# libvirt's clients pass on hardly anything of the environment, and a login over there has its own.
export HOME={folder}/home XDG_RUNTIME_DIR={folder} XDG_CONFIG_HOME={folder}/config XDG_CACHE_HOME={folder} {more}
echo "$*" >>{folder}/ssh.log
while [ "$1" != -- ]; do shift; done
shift
[ "$1" = there ] || exit 255
shift
PATH={folder}/{remote} exec /bin/sh -c "$*"
'''


class Bed:
    def __init__(self, kvd, kvsh, helper, folder):
        self.kvd, self.kvsh, self.helper, self.folder = kvd, kvsh, helper, folder
        self.programs = ('virsh', kvsh)
        os.makedirs(f'{folder}/kvasir')
        self.ssh = f'{folder}/ssh'
        for name in 'with-ours', 'with-name', 'without', 'both':
            os.makedirs(f'{folder}/{name}')
            for tool in 'sh', 'which', 'grep', 'nc', 'env', 'test':
                path = shutil.which(tool)
                if path:
                    os.symlink(path, f'{folder}/{name}/{tool}')
        for name, link in ('with-ours', 'kv-ssh-helper'), ('with-name', 'virt-ssh-helper'), ('both', 'virt-ssh-helper'):
            os.symlink(helper, f'{folder}/{name}/{link}')
        for name in 'with-ours', 'with-name', 'both':
            os.symlink(kvd, f'{folder}/{name}/kvd')

    def script(self, name, text):
        path = f'{self.folder}/{name}'
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
        os.chmod(path, 0o755)
        return path

    def start(self, remote, more=''):
        """A session's kvd in its usual place, where the helper looks; remote: which programs there are over there."""
        self.script('ssh', SSH.format(folder=self.folder, remote=remote, more=more))
        kvd = Kvd(self.kvd, self.folder)
        kvd.socket = f'{self.folder}/kvasir/kvd-sock'
        kvd.line[kvd.line.index('--socket') + 1] = kvd.socket
        return kvd

    def uri(self, path='/session', more='', driver='qemu'):
        return f'{driver}+ssh://there{path}?command={self.ssh}{more}'

    def said(self):
        with open(f'{self.folder}/ssh.log', encoding='utf-8') as log:
            return log.read()


def hypervisor(kvd, program, uri, *options):
    status, text = kvd.run(program, *options, '-c', uri, 'capabilities')
    check(status == 0 and '<capabilities>' in text and "<domain type='" in text, f'{program} {uri}', text)


def case_native(bed):
    """By the helper: under libvirt's name for virsh, under either for kvsh."""
    with bed.start('with-name') as kvd:
        for program in bed.programs:
            for proxy in '', '&proxy=native', '&proxy=auto':
                hypervisor(kvd, program, bed.uri(more=proxy))
            hypervisor(kvd, program, bed.uri(), '-r')
            status, text = kvd.run(program, '-r', '-c', bed.uri(), 'net-define', '/dev/null')
            check(status != 0, f'{program} changes something with -r', text)
        check(bed.said().count('virt-ssh-helper') >= 8 and 'virt-ssh-helper -r' in bed.said(), 'the helper is not asked for', bed.said())
    with bed.start('with-ours') as kvd:
        hypervisor(kvd, bed.kvsh, bed.uri(more='&proxy=native'))
        status, text = kvd.run('virsh', '-c', bed.uri(more='&proxy=native'), 'list')
        check(status != 0, 'virsh knows our name', text)
    with bed.start('without') as kvd:
        for program in bed.programs:
            status, text = kvd.run(program, '-c', bed.uri(more='&proxy=native'), 'list')
            check(status != 0, f'{program} without a helper', text)


def case_netcat(bed):
    """Over there is nothing but netcat."""
    if not shutil.which('nc'):
        raise Skipped('no nc')
    with bed.start('without') as kvd:
        for program in bed.programs:
            for more in f'&socket={kvd.socket}', f'&socket={kvd.socket}&proxy=netcat', f'&socket={kvd.socket}&netcat=nc':
                hypervisor(kvd, program, bed.uri(more=more))
    check('nc' in bed.said() and '-U' in bed.said(), 'netcat is not asked for', bed.said())


def case_bytes(bed):
    """A volume there and back again, and events while nothing is asked."""
    data = os.urandom(5 << 20)
    os.makedirs(f'{bed.folder}/pool')
    with open(f'{bed.folder}/up', 'wb') as file:
        file.write(data)
    with bed.start('with-name') as kvd:
        for number, program in enumerate(bed.programs):
            for line in (['pool-create-as', 'p', 'dir', '--target', f'{bed.folder}/pool'],
                         ['vol-create-as', 'p', f'v{number}', str(len(data))],
                         ['vol-upload', f'v{number}', f'{bed.folder}/up', '--pool', 'p'],
                         ['vol-download', f'v{number}', f'{bed.folder}/down', '--pool', 'p'], ['pool-destroy', 'p']):
                status, text = kvd.run(program, '-c', bed.uri(), *line)
                check(status == 0, f'{program} {line}', text)
            with open(f'{bed.folder}/down', 'rb') as file:
                check(file.read() == data, f'{program}: a volume is another one after its way')
        xml = bed.script('net.xml', "<network><name>n</name><forward mode='nat'/><ip address='10.9.0.1' netmask='255.255.255.0'/></network>")
        line = ['virsh', '-c', bed.uri(), 'net-event', '--event', 'lifecycle', '--timeout', str(LIMIT)]
        with subprocess.Popen(line, env=kvd.env, stdout=subprocess.PIPE, text=True) as events:
            local, number = f'qemu+unix:///session?socket={kvd.socket}', 0
            while events.poll() is None:  # until it has heard of one
                kvd.virsh(local, 'net-undefine' if number % 2 else 'net-define', 'n' if number % 2 else xml)
                number += 1
            check("event 'lifecycle' for network n" in events.communicate(timeout=LIMIT)[0], 'no event')
        check(kvd.daemon.poll() is None, 'kvd has ended')


def case_autostart(bed):
    """A session's kvd is started by the first that needs it, once; the system's is not."""
    kvd = bed.start('with-name')
    for program in bed.programs:
        done = [None] * 4

        def work(number, name=program, status=done):
            status[number] = kvd.run(name, '-c', bed.uri(more='&proxy=native'), 'capabilities')
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        try:
            for status, text in done:
                check(status == 0 and '<capabilities>' in text, f'{program}: {status}', text)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(kvd.socket)
                pid = int.from_bytes(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4), sys.byteorder)
        except OSError as reason:
            check(False, f'nobody is there: {reason}')
        with open(f'/proc/{pid}/cmdline', 'rb') as line:
            words = line.read().split(b'\0')
        check(words[0].endswith(b'kvd') and words[1] == b'--session', 'somebody else', str(words))
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + LIMIT
        while os.path.exists(kvd.socket):
            check(time.monotonic() < end, 'it does not end')
            time.sleep(.01)
    bed.start('with-name', 'LIBVIRT_AUTOSTART=0')
    status, text = kvd.run(bed.kvsh, '-c', bed.uri(more='&proxy=native'), 'list')
    check(status != 0 and not os.path.exists(kvd.socket), 'it is started although it is not to be', text)


def case_helper(bed):
    """The helper's own words; it ends when either side does."""
    with bed.start('without') as kvd:
        for words, text in (([], 'give one URI'), (['qemu+tls://there/system'], 'without transport'), (['nonsense'], 'parse'),
                            (['qemu:///session', 'more'], 'give one URI'), (['test:///default?socket=/nowhere'], "'/nowhere'")):
            status, said = kvd.run(bed.helper, *words)
            check(status == 1 and text in said, f'{words}', said)
        check(kvd.run(bed.helper, '--version')[1].startswith('kv-ssh-helper '), 'version')
        for end in 'input', 'output', 'daemon':
            with subprocess.Popen([bed.helper, f'test:///default?socket={kvd.socket}'], env=kvd.env, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE) as process:
                process.stdin.write(bytes.fromhex('0000001c200080860000000100000042000000000000000100000000'))
                process.stdin.flush()
                check(len(process.stdout.read(36)) == 36, 'an answer')
                if end == 'input':
                    process.stdin.close()
                elif end == 'output':
                    process.stdout.close()
                else:
                    process.stdin.write(b'rubbish that is no message')
                    process.stdin.flush()
                check(process.wait(LIMIT) == 0, f'its end by {end}')


def seconds_used(pid):
    with open(f'/proc/{pid}/stat', encoding='ascii') as stat:
        fields = stat.read().rpartition(') ')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def fill(file):
    """All that it takes until it would wait."""
    os.set_blocking(file.fileno(), False)
    sent = 0
    end = time.monotonic() + LIMIT
    quiet = 0
    while quiet < 5 and time.monotonic() < end:
        try:
            sent, quiet = sent + os.write(file.fileno(), b'x' * 65536), 0
        except BlockingIOError:
            quiet += 1
            time.sleep(.05)
    return sent


def drain(read):
    got = 0
    while True:
        data = read(65536)
        if not data:
            return got
        got += len(data)


def case_stuck(bed):
    """One side hangs up while the other takes nothing: the helper sleeps until that one goes on, and nothing is lost."""
    for who in 'client', 'daemon':
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f'{bed.folder}/{who}')
            listener.listen()
            listener.settimeout(LIMIT)
            with subprocess.Popen([bed.helper, f'test:///default?socket={bed.folder}/{who}'], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, bufsize=0) as process:
                daemon = listener.accept()[0]
                daemon.settimeout(LIMIT)
                with daemon:
                    sent = fill(process.stdin if who == 'client' else daemon)
                    before = seconds_used(process.pid)
                    if who == 'client':
                        process.stdin.close()
                    else:
                        daemon.close()
                    time.sleep(.5)
                    used = seconds_used(process.pid) - before
                    got = drain(daemon.recv if who == 'client' else process.stdout.read)
                check(used < .2, f'{who} has hung up: {used} s of a CPU in half a second')
                check(got == sent, f'{who} has hung up: {got} bytes of {sent}')
                check(process.wait(LIMIT) == 0, f'its end by the {who}')


def main():
    kvd, kvsh, helper, *names = sys.argv[1:]
    return cases.run(globals(), names, lambda folder: Bed(*map(os.path.abspath, (kvd, kvsh, helper)), folder))


if __name__ == '__main__':
    sys.exit(main())
