#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""libkv as other programs use it: the shared library and its introspection, by the examples, with a kvd of the test's own.
usage: libkv-examples.py KVD SOURCE-ROOT BUILD-ROOT [CASE]...   Exit status 77: there is no introspection here."""
import filecmp
import os
import re
import subprocess
import sys

import cases
import kvd
from cases import Skipped, check

PYTHON = '/usr/bin/python3'


class Bed(kvd.Bed):
    def __init__(self, program, root, build, folder):
        super().__init__(program, root, folder)
        self.root, self.build = root, build
        self.python_env = {**self.env, 'GI_TYPELIB_PATH': f'{build}/src/virt', 'LD_LIBRARY_PATH': f'{build}/src/virt'}

    def run(self, *command, env=None):
        done = subprocess.run(command, env=env or self.env, timeout=kvd.LIMIT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False, text=True)
        check(done.returncode == 0, f'{command[0]} ends with {done.returncode}', done.stdout)
        return done.stdout

    def need_introspection(self):
        script = 'import gi; gi.require_version("Kv", "1.0"); from gi.repository import Kv'
        if not os.path.exists(f'{self.build}/src/virt/Kv-1.0.typelib') or not os.path.exists(PYTHON) or \
                subprocess.run([PYTHON, '-c', 'import gi'], check=False, stderr=subprocess.DEVNULL).returncode:
            raise Skipped('no GObject introspection')
        self.run(PYTHON, '-c', script, env=self.python_env)


def case_list(bed):
    out = bed.run(f'{bed.build}/examples/kv-list', bed.uri())
    check(re.fullmatch(r'test +running +2 vCPUs, 2048 MiB, [\d.]+ s\n', out), 'kv-list says something else', out)


def case_watch(bed):
    watch = subprocess.Popen([f'{bed.build}/examples/kv-watch', bed.uri(), '2'], env=bed.env, stdout=subprocess.PIPE, text=True)
    check(watch.stdout.readline() == 'watching\n', 'kv-watch does not begin')
    bed.virsh(bed.uri(), 'suspend test; resume test')
    out = watch.communicate(timeout=kvd.LIMIT)[0]
    check(watch.returncode == 0, f'kv-watch ends with {watch.returncode}', out)
    check(sorted(re.findall('^test: .*', out, re.M)) == ['test: resumed', 'test: suspended'], 'not the events that there were', out)
    check(len(re.findall('^test is now in state [13]$', out, re.M)) == 2, 'not two states', out)


def case_symbols(bed):
    """What the library offers is what its headers say."""
    headers = [f'{bed.root}/src/virt/{name}.h' for name in ('kv-connection', 'kv-object', 'kv-stream')] + [f'{bed.build}/src/virt/kv-api.h']
    said = set(re.findall(r'\b(kv_\w+)\(', re.sub(r'/\*.*?\*/', '', ''.join(open(h, encoding='utf-8').read() for h in headers), flags=re.S)))
    said |= set(re.findall(r'\b(kv_\w+_get_type)\b', ''.join(open(h, encoding='utf-8').read() for h in headers)))
    said |= {f'{name}_get_type' for name in re.findall(r'G_DECLARE_\w+\(\w+, (\w+),', ''.join(open(h, encoding='utf-8').read() for h in headers))}
    out = bed.run('nm', '-D', '--defined-only', f'{bed.build}/src/virt/libkv-1.so')
    offered = {line.split()[2] for line in out.splitlines()}
    check(offered == said, 'headers and library differ', f'only offered: {offered - said}', f'only in headers: {said - offered}')


def case_page(bed):
    check(filecmp.cmp(f'{bed.build}/src/virt/kv-api.md', f'{bed.root}/docs/libkv.md', shallow=False),
          'docs/libkv.md is not what schema/kv-api.tab makes: cp build/src/virt/kv-api.md docs/libkv.md')


def case_python(bed):
    bed.need_introspection()
    folder = f'{bed.folder}/pool'
    os.mkdir(folder)
    out = bed.run(PYTHON, f'{bed.root}/examples/libkv/pool.py', f'qemu+unix:///session?socket={bed.socket}', folder, env=bed.python_env)
    check('read back: some bytes\n' in out and "volumes: ['disk.raw']" in out, 'pool.py says something else', out)
    check(not os.listdir(folder), 'the volume is left')


def case_everything(bed):
    """Every method is there for Python, and each one of the class that has no arguments answers or refuses in words."""
    bed.need_introspection()
    script = '''
import sys, gi
gi.require_version('Kv', '1.0')
from gi.repository import GLib, Kv
conn = Kv.Connection.open_sync(sys.argv[1], Kv.ConnectionFlags.NONE, None)
things = [conn, conn.lookup_domain_sync('test', None), conn.lookup_network_sync('default', None), conn.lookup_pool_sync('default-pool', None)]
asked = answered = 0
for thing in things:
    for name in sorted(dir(thing)):
        if not name.endswith('_sync') or not name.startswith(('get_', 'is_', 'list_', 'has_')):
            continue
        asked += 1
        for arguments in ((None,), (0, None)):
            try:
                getattr(thing, name)(*arguments)
                answered += 1
            except TypeError:
                continue
            except GLib.Error as error:
                assert error.domain == GLib.quark_to_string(Kv.virt_error_quark()), error
            break
print(asked, answered)
assert things[1].equal(conn.lookup_domain_by_id_sync(things[1].get_id(), None))
'''
    asked, answered = map(int, bed.run(PYTHON, '-c', script, bed.uri(), env=bed.python_env).split())
    check(asked > 40 and answered > 25, f'{answered} of {asked} methods answer')


def main():
    program, root, build, *names = sys.argv[1:]
    beds = []

    def make(folder):
        beds.append(Bed(os.path.abspath(program), root, build, folder))
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
