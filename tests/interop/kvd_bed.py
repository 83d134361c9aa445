# SPDX-License-Identifier: GPL-2.0-or-later
"""A kvd of a test's own with a kvd.conf, for kvd-tls.py, kvd-auth.py and kvd-ssh.py; and libvirt's clients for it."""
import os
import shutil
import socket
import subprocess
import time

from cases import Skipped, check, listens

LIMIT = 180
NOBODY = 65534


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


class Kvd:
    """with Kvd(program, folder, conf) as kvd: it listens at kvd.socket."""

    def __init__(self, program, folder, conf='', options=(), system=False, **env):
        if not shutil.which('virsh'):
            raise Skipped('no virsh')
        os.makedirs(f'{folder}/config', exist_ok=True)
        os.makedirs(f'{folder}/home', exist_ok=True)
        self.folder, self.socket = folder, f'{folder}/sock'
        self.env = dict(os.environ, LC_ALL='C', HOME=f'{folder}/home', XDG_RUNTIME_DIR=folder, XDG_CONFIG_HOME=f'{folder}/config',
                        XDG_CACHE_HOME=folder, **env)
        if system:  # as a unit's: nothing of the host's own daemon
            for name in 'CONFIGURATION', 'RUNTIME', 'STATE', 'LOGS':
                self.env[f'{name}_DIRECTORY'] = f'{folder}/{name.lower()}'
        with open(f'{folder}/kvd.conf', 'w', encoding='utf-8') as file:
            file.write(conf)
        self.line = [program, '--system' if system else '--session', '--socket', self.socket, '--config', f'{folder}/kvd.conf', *options]
        self.daemon = None

    def __enter__(self):
        with open(f'{self.folder}/log', 'w', encoding='utf-8') as log:
            self.daemon = subprocess.Popen(self.line, stderr=log, env=self.env)
        self.wait_for(lambda: listens(self.socket) and listens(self.socket + '-ro'), 'kvd does not listen')
        return self

    def __exit__(self, kind, *unused):
        self.daemon.terminate()
        try:
            status = self.daemon.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            status = self.daemon.wait()
        if not kind:
            check(status == 0, f'kvd ends with {status}', self.log())

    def refused(self):
        """What it says when it does not start at all."""
        done = subprocess.run(self.line, env=self.env, stderr=subprocess.PIPE, timeout=LIMIT, check=False, text=True)
        check(done.returncode == 1, f'it ends with {done.returncode}', done.stderr)
        return done.stderr

    def log(self):
        with open(f'{self.folder}/log', encoding='utf-8') as log:
            return log.read()

    def wait_for(self, condition, what, limit=LIMIT):
        end = time.monotonic() + limit
        while not condition():
            check(self.daemon.poll() is None, f'kvd has ended: {what}', self.log())
            check(time.monotonic() < end, what, self.log())
            time.sleep(.01)

    def uri(self, suffix=''):
        return f'test+unix:///default?socket={self.socket}{suffix}'

    def run(self, *line, user=None, **env):
        """Status and output of a client."""
        more = {'user': user, 'group': user, 'extra_groups': []} if user else {}
        done = subprocess.run(line, env=dict(self.env, **env), timeout=LIMIT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, text=True, **more)
        return done.returncode, done.stdout

    def virsh(self, uri, *line, user=None):
        return self.run('virsh', '-c', uri, *line, user=user)

    def list(self, uri, program='virsh', user=None):
        status, text = self.run(program, '-c', uri, 'list', '--name', user=user)
        check(status == 0 and text.split() == ['test'], f'{program} {uri} does not list', text, self.log())

    def no_list(self, uri, *words, program='virsh', user=None):
        """It is refused, with these words at the client and nothing of what is there."""
        status, text = self.run(program, '-c', uri, 'list', '--all', user=user)
        check(status != 0 and not [line for line in text.splitlines() if line.split()[1:2] == ['test']], f'{uri} is let in', text)
        for word in words:
            check(word in text, f'{uri} is refused without "{word}"', text, self.log())
