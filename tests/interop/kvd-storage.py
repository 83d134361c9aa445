#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Storage pools of kvd's session with stock virsh: pools that are folders, volumes in all formats, their copies and bytes; qemu-img
looks at the images, and libvirtd's session is asked the same.   usage: kvd-storage.py KVD KVSH CASE...
Exit status 77: virsh, qemu-img or libvirtd is not installed."""
import difflib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import cases
from cases import Skipped, check, listens

LIMIT = 180
NOBODY = 65534
# What time, chance and the host's file systems make, and how large tables of our images are.
VARIES = ((r'[0-9a-f]{8}-[0-9a-f-]{27}', 'UUID'), (r'time>[0-9.]+<', 'time>T<'), (r'(allocation|available|physical)( unit=.bytes.)?>\d+<', r'\1>N<'),
          (r"<(capacity unit='bytes')>\d{11,}<", r'<\1>N<'), (r'(Capacity|Allocation|Available):.*GiB', r'\1: GiB'),
          (r'[0-9.]+ GiB +[0-9.]+ GiB +[0-9.]+ GiB', 'GiB'), (r'[0-9.]+ KiB', 'KiB'), (r'-{5,}', '-'), (r' +', ' '))


class Bed:
    """A daemon and its folders; as nobody where root runs the tests, since root's libvirtd is the system's."""

    def __init__(self, folder, program, shell):
        self.folder, self.shell = folder, shell
        self.env = dict(os.environ, LC_ALL='C', HOME=f'{folder}/home')
        for name in 'RUNTIME_DIR', 'CONFIG_HOME', 'CACHE_HOME', 'DATA_HOME':
            self.env[f'XDG_{name}'] = f'{folder}/{name}'
            os.makedirs(f'{folder}/{name}', mode=0o700)
        for name in 'home', 'pool':
            os.makedirs(f'{folder}/{name}')
        self.user = NOBODY if os.geteuid() == 0 else None
        if self.user:
            subprocess.run(['chown', '-R', f'{NOBODY}:{NOBODY}', folder], check=True)
        self.pool = f'{folder}/pool/p'
        self.program = program
        self.socket = f'{folder}/RUNTIME_DIR/libvirt/libvirt-sock'
        self.start()

    def start(self):
        kvd = os.path.basename(self.program) == 'kvd'
        options = ['--session', '--socket', self.socket] if kvd else []
        self.daemon = subprocess.Popen([self.program, *options], stderr=subprocess.PIPE, env=self.env, **self.as_user())
        end = time.monotonic() + LIMIT
        while not listens(self.socket):
            check(self.daemon.poll() is None and time.monotonic() < end, f'{self.program} does not listen')
            time.sleep(.01)

    def as_user(self):
        return {'user': self.user, 'group': self.user, 'extra_groups': []} if self.user else {}

    def run(self, *argv, ok=True):
        done = subprocess.run(argv, env=self.env, timeout=LIMIT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, text=True, cwd=f'{self.folder}/home', **self.as_user())
        check(ok is None or (done.returncode == 0) == ok, f'{" ".join(argv)}: {done.returncode}', done.stdout)
        return done.stdout

    def kvsh(self, line):
        return self.run(self.shell, '-c', f'qemu+unix:///session?socket={self.socket}', *line.split())

    def virsh(self, line, ok=True):
        return self.run('virsh', '-c', f'qemu+unix:///session?socket={self.socket}', *line.split(), ok=ok)

    def refused(self, line, text):
        said = self.virsh(line, ok=False)
        check(text in said, f'{line} is not refused with "{text}"', said)

    def image(self, name):
        return json.loads(self.run('qemu-img', 'info', '--output=json', f'{self.pool}/{name}'))

    def sound(self, name):
        self.run('qemu-img', 'check', '-q', f'{self.pool}/{name}')

    def size(self, name, field='Capacity'):
        return int(re.search(rf'{field}: +(\d+)', self.virsh(f'vol-info {name} p --bytes')).group(1))

    def fill(self, name, data):
        path = f'{self.folder}/home/{name}'
        with open(path, 'wb') as file:
            file.write(data)
        os.chmod(path, 0o644)
        return path

    def make_pool(self):
        self.virsh(f'pool-define-as p dir --target {self.pool}')
        self.virsh('pool-build p')
        self.virsh('pool-start p')

    def end(self, how=signal.SIGTERM):
        self.daemon.send_signal(how)
        said = self.daemon.communicate(timeout=LIMIT)[1].decode(errors='replace')
        check(self.daemon.returncode in (0, -how), f'the daemon ended with {self.daemon.returncode}', said)
        check('Sanitizer' not in said and 'runtime error' not in said, 'the daemon complains', said)


def case_pools(bed):
    bed.make_pool()
    check(os.stat(bed.pool).st_mode & 0o7777 == 0o711, 'the folder is not made with mode 0711')
    info = bed.virsh('pool-info p')
    check(re.search('State: +running', info) and re.search('Persistent: +yes', info), 'pool-info', info)
    bed.virsh('vol-create-as p a 1M')
    bed.refused('pool-undefine p', "storage pool 'p' is still active")
    bed.virsh('pool-destroy p')
    bed.refused('pool-delete p', 'Directory not empty')
    bed.virsh('pool-start p')
    bed.virsh('vol-delete a p')
    bed.virsh('pool-destroy p')
    bed.virsh('pool-delete p')
    check(not os.path.exists(bed.pool), 'the folder is still there')
    bed.virsh('pool-undefine p')
    bed.virsh(f'pool-define-as q fs --source-dev /dev/null --target {bed.pool}')
    bed.virsh('pool-build q')
    bed.refused('pool-start q', "mounting '/dev/null' is for the system's daemon")


def case_events(bed):
    bed.virsh(f'pool-define-as p dir --target {bed.pool}')
    argv = ['virsh', '-c', f'qemu+unix:///session?socket={bed.socket}', 'pool-event', '--loop', '--event']
    kinds = 'lifecycle', 'refresh'
    watchers = []
    for kind in kinds:
        with open(f'{bed.folder}/{kind}', 'wb') as out:
            watchers.append(subprocess.Popen(['stdbuf', '-oL', *argv, kind], env=bed.env, stdin=subprocess.DEVNULL, stdout=out, **bed.as_user()))

    def seen(kind):
        with open(f'{bed.folder}/{kind}', encoding='utf-8') as file:
            return file.read()

    try:
        end = time.monotonic() + LIMIT
        # Nobody says when a client has registered: all of it again until both have been told of the last.
        while 'Stopped' not in seen('lifecycle') or not seen('refresh'):
            check(time.monotonic() < end, 'no events', *map(seen, kinds))
            for line in 'pool-build p', 'pool-start p', 'pool-refresh p', 'pool-destroy p':
                bed.virsh(line)
    finally:
        for watcher in watchers:
            watcher.kill()
            watcher.wait()
    check("event 'refresh' for storage pool p" in seen('refresh'), 'refresh', seen('refresh'))
    for word in 'Started', 'Stopped':
        check(f"event 'lifecycle' for storage pool p: {word}" in seen('lifecycle'), word, seen('lifecycle'))


def case_volumes(bed):
    bed.make_pool()
    bed.virsh('vol-create-as p raw 1M')
    bed.virsh('vol-create-as p sparse 10M --allocation 0')
    check(os.stat(f'{bed.pool}/raw').st_blocks * 512 >= 1 << 20, 'a raw volume is not allocated')
    check(os.stat(f'{bed.pool}/sparse').st_blocks == 0, 'a sparse volume is allocated')
    bed.virsh('vol-create-as p q 1G --format qcow2')
    check(bed.image('q')['format-specific']['data']['compat'] == '0.10', 'compat')
    bed.virsh('vol-create-as p top 1G --format qcow2 --backing-vol q --backing-vol-format qcow2')
    info = bed.image('top')
    check(info['backing-filename'] == f'{bed.pool}/q' and info['backing-filename-format'] == 'qcow2', 'backing', str(info))
    check('<backingStore>' in bed.virsh('vol-dumpxml top p'), 'no backingStore')
    xml = ("<volume><name>options</name><capacity unit='M'>4</capacity><target><format type='qcow2'/><permissions><mode>0640</mode>"
           "</permissions><compat>1.1</compat><clusterSize unit='KiB'>128</clusterSize><features><lazy_refcounts/></features></target></volume>")
    bed.virsh(f'vol-create p {bed.fill("xml", xml.encode())}')
    info = bed.image('options')
    check(info['cluster-size'] == 131072 and info['format-specific']['data']['lazy-refcounts'] is True, 'options', str(info))
    check(os.stat(f'{bed.pool}/options').st_mode & 0o777 == 0o640, 'mode')
    bed.virsh('vol-create-as p meta 8M --format qcow2 --prealloc-metadata')
    for name in 'q', 'top', 'options', 'meta':
        bed.sound(name)
    for name, kind in (('x.vmdk', 'vmdk'), ('x.vdi', 'vdi'), ('x.vpc', 'vpc')):
        bed.virsh(f'vol-create-as p {name} 8M --format {kind}')
        check(bed.image(name)['format'] == kind, kind)
        check(f"format type='{kind}'" in bed.virsh(f'vol-dumpxml {name} p'), f'{kind} is not known again')
    bed.virsh('vol-resize q 2G p')
    bed.virsh('vol-resize q 1G p --delta')
    check(bed.image('q')['virtual-size'] == 3 << 30 and bed.size('q') == 3 << 30, 'resize')
    bed.refused('vol-resize q 1G p', 'unless shrink flag explicitly specified')
    bed.virsh('vol-resize q 1G p --shrink')
    bed.virsh('vol-resize sparse 12M p --allocate')
    check(os.stat(f'{bed.pool}/sparse').st_blocks * 512 >= 12 << 20, 'resize --allocate')
    bed.virsh('vol-delete top p')
    check(not os.path.exists(f'{bed.pool}/top'), 'vol-delete')
    bed.refused('vol-create-as p big 9000T', 'File too large')
    check(not os.path.exists(f'{bed.pool}/big'), 'what could not be made is left behind')


def case_copies(bed):
    bed.make_pool()
    bed.virsh('vol-create-as p raw 4M --allocation 0')
    data = os.urandom(70000)
    bed.virsh(f'vol-upload raw {bed.fill("data", data)} p --offset 1000000')
    bed.virsh('vol-clone raw raw2 p')
    bed.run('cmp', f'{bed.pool}/raw', f'{bed.pool}/raw2')
    check(os.stat(f'{bed.pool}/raw2').st_blocks * 512 < 1 << 20, 'the clone of a sparse volume is full')
    xml = "<volume><name>q</name><capacity>0</capacity><target><format type='qcow2'/><compat>1.1</compat></target></volume>"
    bed.virsh(f'vol-create-from p {bed.fill("xml", xml.encode())} raw --inputpool p')
    bed.sound('q')
    bed.run('qemu-img', 'compare', f'{bed.pool}/raw', f'{bed.pool}/q')
    bed.virsh('vol-create-as p top 4M --format qcow2 --backing-vol q --backing-vol-format qcow2')
    bed.run('qemu-io', '-c', 'write -P 7 64k 64k', '-c', 'write -z 960k 128k', f'{bed.pool}/top')
    bed.virsh('vol-clone top top2 p')
    bed.sound('top2')
    check(bed.image('top2')['backing-filename'] == f'{bed.pool}/q', 'the clone stands on nothing')
    check(os.stat(f'{bed.pool}/top2').st_size <= os.stat(f'{bed.pool}/top').st_size + 65536, 'the clone has what is below')
    bed.run('qemu-img', 'compare', f'{bed.pool}/top', f'{bed.pool}/top2')
    xml = "<volume><name>flat</name><capacity>0</capacity><target><format type='raw'/></target></volume>"
    bed.virsh(f'vol-create-from p {bed.fill("xml", xml.encode())} top --inputpool p')
    bed.run('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', f'{bed.pool}/flat', f'{bed.pool}/top')
    bed.refused('vol-clone raw raw2 p', "storage volume name 'raw2' already in use.")


def holes(bed, client, *, options=''):
    """Of the volume s, most of which are holes: there and back."""
    down = f'{bed.folder}/home/sparse'
    client(f'vol-download s {down} p --sparse')
    bed.run('cmp', down, f'{bed.pool}/s')
    check(os.stat(down).st_blocks * 512 < 4 << 20, 'holes are not told')
    bed.virsh(f'vol-create-as p t 64M {options}')
    client(f'vol-upload t {down} p --sparse')
    bed.run('cmp', down, f'{bed.pool}/t')
    check(os.stat(f'{bed.pool}/t').st_blocks * 512 < 4 << 20, 'holes are not made')
    bed.virsh('vol-delete t p')


def case_bytes(bed):
    bed.make_pool()
    data = os.urandom(1500000)
    up, down = bed.fill('up', data), f'{bed.folder}/home/down'
    bed.virsh('vol-create-as p v 2M')
    bed.virsh(f'vol-upload v {up} p')
    bed.virsh(f'vol-download v {down} p')
    with open(down, 'rb') as file:
        check(file.read() == data + bytes((2 << 20) - len(data)), 'what was uploaded does not come back')
    bed.virsh(f'vol-download v {down} p --offset 1000 --length 5000')
    with open(down, 'rb') as file:
        check(file.read() == data[1000:6000], 'offset and length')
    bed.virsh('vol-create-as p s 64M --allocation 0')
    bed.virsh(f'vol-upload s {up} p --offset 3000000')
    holes(bed, bed.virsh)
    holes(bed, bed.kvsh)
    bed.virsh('vol-create-as p t 64M')
    bed.virsh('vol-wipe v p')
    with open(f'{bed.pool}/v', 'rb') as file:
        check(not any(file.read()), 'vol-wipe leaves bytes')
    bed.virsh('vol-wipe t p --algorithm trim')
    check(os.stat(f'{bed.pool}/t').st_blocks == 0 and os.stat(f'{bed.pool}/t').st_size == 64 << 20, 'trim')
    bed.refused('vol-wipe v p --algorithm nnsa', "argument unsupported: 'nnsa' algorithm not supported")


def case_hostile(bed):
    """Names that leave the pool, and files that are none: nothing waits, and nothing is made elsewhere."""
    bed.make_pool()
    bed.refused('vol-create-as p ../x 1M', "cannot contain '/'")
    bed.refused('vol-create-as p .. 1M', 'already exists')
    bed.run('ln', '-s', f'{bed.folder}/home/elsewhere', f'{bed.pool}/dangling')
    bed.refused('vol-create-as p dangling 1M', 'already exists')
    check(not os.path.exists(f'{bed.folder}/home/elsewhere'), 'a link was followed')
    bed.run('mkfifo', f'{bed.pool}/fifo')
    bed.run('ln', '-s', 'fifo', f'{bed.pool}/to-fifo')
    bed.run('ln', '-s', '/dev/tty', f'{bed.pool}/to-tty')
    bed.run('touch', f'{bed.pool}/a\tb', f'{bed.pool}/closed', f"{bed.pool}/<&'")
    bed.run('chmod', '0', f'{bed.pool}/closed')
    bed.run('mkdir', f'{bed.pool}/folder')
    bed.virsh('vol-create-as p v 1M')
    bed.virsh('pool-refresh p')
    names = sorted(line.split()[0] for line in bed.virsh('vol-list p').splitlines()[2:] if line)
    check(names == ["<&'", 'folder', 'v'], 'volumes', str(names))
    # A volume that became something else since.
    bed.run('rm', f'{bed.pool}/v')
    bed.run('mkfifo', f'{bed.pool}/v')
    for line in 'vol-info v p', 'vol-dumpxml v p', 'vol-wipe v p', f'vol-download v {bed.folder}/home/x p':
        bed.virsh(line, ok=False)
    bed.run('rm', f'{bed.pool}/v')
    bed.refused('vol-dumpxml v p', 'no storage vol with matching path')
    bed.virsh('vol-delete v p')


def case_restart(bed):
    bed.make_pool()
    bed.virsh('vol-create-as p v 1M')
    bed.virsh(f'pool-create-as once dir --target {bed.folder}/pool/once --build')
    bed.virsh(f'pool-define-as idle dir --target {bed.folder}/pool/idle')
    bed.virsh('pool-autostart p')
    bed.end(signal.SIGKILL)
    bed.start()
    table = bed.virsh('pool-list --all --details')
    for row in 'p +running +yes +yes', 'once +running +no +no', 'idle +inactive +no +yes':
        check(re.search(row, table), row, table)
    check(bed.size('v') == 1 << 20, 'volumes')
    bed.virsh('pool-destroy p')
    bed.virsh('pool-undefine p')
    bed.end()
    bed.start()
    check(' p ' not in bed.virsh('pool-list --all'), 'a pool came back')
    # A boot empties what is of this run; then a pool starts by itself.
    bed.make_pool()
    bed.virsh('pool-autostart p')
    bed.virsh('pool-destroy p')
    bed.end()
    shutil.rmtree(f'{bed.folder}/RUNTIME_DIR/kvasir')
    bed.start()
    check(re.search('p +active +yes', bed.virsh('pool-list')), 'autostart')


PEER_LINES = '''
pool-define-as p dir --target POOL/p|pool-build p|pool-start p|pool-info p|pool-dumpxml p|pool-list --all --details
vol-create-as p a.img 1M|vol-create-as p b.qcow2 1G --format qcow2
vol-create-as p c.qcow2 1G --format qcow2 --backing-vol b.qcow2 --backing-vol-format qcow2
vol-list p|vol-list p --details|vol-dumpxml a.img p|vol-dumpxml b.qcow2 p|vol-dumpxml c.qcow2 p
vol-create-as p a.img 1M|vol-create-as p x/y 1M|vol-create-as p .. 1M|vol-create-as p r2 1M --prealloc-metadata
vol-create-as p r3 1M --backing-vol a.img|vol-create-as p f2.iso 1M --format iso|vol-create-as p f2.dir 0 --format dir
vol-create-as p sp 10M --allocation 0|vol-create-as p sp2 10M --allocation 20M|vol-create-as p huge 9999T
vol-resize a.img 2M p|vol-resize a.img 1M p|vol-resize a.img 1M p --shrink|vol-resize a.img 1M p --delta
vol-resize b.qcow2 2G p|vol-resize b.qcow2 1G p|vol-resize b.qcow2 3G p --allocate|vol-resize a.img 900000T p --allocate
vol-wipe a.img p|vol-clone a.img a2.img p|vol-clone a.img a.img p|vol-clone c.qcow2 c2.qcow2 p|vol-info a.img p|vol-info f2.dir p
vol-delete nope p|pool-undefine p|pool-delete p|pool-start p|pool-build p|pool-define-as p2 dir --target POOL/p
pool-define-as p dir --target POOL/o|pool-define-as p3 dir --target POOL/p3|pool-start p3|pool-info p3|pool-refresh p3|vol-list p3
pool-delete p3|pool-build p3 --overwrite|pool-build p3 --overwrite --no-overwrite|pool-build p3|pool-build p3|pool-start p3
pool-destroy p3|pool-destroy p3|pool-info p3|vol-create-as p3 x 1M|pool-delete p3|pool-autostart p3|pool-info p3
pool-autostart p3 --disable|pool-undefine p3|pool-undefine p3|pool-create-as p4 dir --target POOL/p4
pool-create-as p4 dir --target POOL/p4 --build|pool-info p4|pool-autostart p4|pool-undefine p4|pool-destroy p4|pool-info p4
pool-define-as p6 dir|pool-define-as p7 nosuch --target /tmp/x|pool-define-as a/b dir --target /tmp/x
pool-define-as p8 dir --target /etc/passwd/x|pool-build p8|pool-start p8|pool-destroy nope|vol-list nope|vol-pool POOL/p/a.img
find-storage-pool-sources dir|find-storage-pool-sources nosuch|vol-name POOL/p/a.img|vol-key a.img p|vol-path a.img p
vol-name POOL//p/a.img|vol-name POOL/p/../p/a.img|vol-key nope|pool-list --all --type dir|vol-list p
'''


def peer_texts(bed):
    texts = []
    for line in PEER_LINES.strip().replace('\n', '|').split('|'):
        said = bed.virsh(line.replace('POOL', f'{bed.folder}/pool'), ok=None).replace(bed.folder, 'FOLDER')
        for pattern, text in VARIES:
            said = re.sub(pattern, text, said)
        texts += [f'$ {line}', *said.splitlines()]
    return texts


def case_peer(bed):
    libvirtd = shutil.which('libvirtd') or '/usr/sbin/libvirtd'
    if not os.path.exists(libvirtd):
        raise Skipped('no libvirtd')
    other = Bed(f'{bed.folder}/other', libvirtd, bed.shell)
    try:
        libvirts, ours = peer_texts(other), peer_texts(bed)
        other.virsh('vol-create-as p s 64M --allocation 0')
        other.virsh(f'vol-upload s {bed.fill("up", os.urandom(1500000))} p --offset 3000000')
        holes(other, other.kvsh, options='--allocation 0')
    finally:
        other.end()
    check(libvirts == ours, 'kvd says something else than libvirtd', '\n'.join(difflib.unified_diff(libvirts, ours, lineterm='')))


def main():
    program, kvsh, *names = sys.argv[1:]
    if not shutil.which('virsh') or not shutil.which('qemu-img'):
        print('skipped: no virsh or no qemu-img')
        return 77

    def alone(case):
        """Each case in a daemon of its own, that must end well."""
        def run(folder):
            name = f'{folder}/{case.__name__}'
            os.mkdir(name)
            bed = Bed(f'{name}/b', f'{folder}/kvd', f'{folder}/kvsh')
            try:
                case(bed)
            except BaseException:
                bed.daemon.kill()
                raise
            bed.end()
        return run

    def make_bed(folder):
        os.chmod(folder, 0o755)
        # Whoever it runs as may not see where it was built.
        shutil.copy(program, f'{folder}/kvd')
        shutil.copy(kvsh, f'{folder}/kvsh')
        return folder

    return cases.run({name: alone(case) for name, case in globals().items() if name.startswith('case_')}, names, make_bed)


if __name__ == '__main__':
    sys.exit(main())
