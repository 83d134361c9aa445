# SPDX-License-Identifier: GPL-2.0-or-later
"""A stock libvirtd of its own for a test: its own folders, not root, gone at the end."""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from cases import listens

NOBODY = 65534


def need(*programs):
    for program in programs:
        if not shutil.which(program, path=os.environ['PATH'] + ':/usr/sbin'):
            print(f'SKIP: {program} is not installed')
            sys.exit(77)


class Libvirtd:
    """with Libvirtd() as uri: a URI of the test driver there, to which each first connection finds the same objects."""

    def __init__(self, uri='test+unix:///default', more='', options=()):
        self.uri, self.more, self.options = uri, more, options

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix='lv.', dir='/tmp')
        for name in ('run', 'conf', 'cache', 'home', 'sock'):
            os.mkdir(f'{self.dir}/{name}')
        with open(f'{self.dir}/libvirtd.conf', 'w', encoding='utf-8') as conf:
            conf.write(f'auth_unix_ro = "none"\nauth_unix_rw = "none"\nunix_sock_dir = "{self.dir}/sock"\n'
                       f'log_outputs = "3:file:{self.dir}/log"\n' + self.more)
        env = {'PATH': os.environ['PATH'] + ':/usr/sbin', 'HOME': f'{self.dir}/home', 'XDG_RUNTIME_DIR': f'{self.dir}/run',
               'XDG_CONFIG_HOME': f'{self.dir}/conf', 'XDG_CACHE_HOME': f'{self.dir}/cache'}
        user = {}
        if os.getuid() == 0:  # root's libvirtd is the system's
            for path, folders, files in os.walk(self.dir):
                for name in [path] + [f'{path}/{f}' for f in folders + files]:
                    os.chown(name, NOBODY, NOBODY)
            user = {'user': NOBODY, 'group': NOBODY, 'extra_groups': []}
        self.process = subprocess.Popen(
            ['libvirtd', '--config', f'{self.dir}/libvirtd.conf', '--pid-file', f'{self.dir}/pid', *self.options], env=env,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, **user)
        self.socket = f'{self.dir}/sock/libvirt-sock'
        for _ in range(1800):
            if listens(self.socket):
                return f'{self.uri}?socket={self.socket}'
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        log = open(f'{self.dir}/log', encoding='utf-8').read() if os.path.exists(f'{self.dir}/log') else ''
        self.__exit__()
        print('SKIP: libvirtd does not start here\n' + log)
        sys.exit(77)

    def __exit__(self, *unused):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
