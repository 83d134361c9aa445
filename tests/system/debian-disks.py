#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A whole Debian that works on its disks (debian-load.sh) while QMP commands change them: snapshots, commits, mirrors, backups, limits,
sizes. Afterwards the guest's own checks were good, QEMU finds each image sound, the root is clean, and what was copied or left on
the way is a disk as after a power cut: its journal makes it clean, and its database has what was committed by then.
usage: debian-disks.py KV-VMM KV-IMG GUEST-DIRECTORY CASE...   Exit status 77: something needed is not there."""
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = HERE, f'{ROOT}/tests/interop'
import cases  # noqa: E402
import debian_console  # noqa: E402
import qmp  # noqa: E402
from cases import Skipped, check  # noqa: E402

LIMIT = 400  # seconds for a whole guest
PACKAGES = 'sqlite3', 'fio', 'bash-completion'
DATA_SIZE = 96 << 20
SPEED = 150 << 20  # of jobs that would be over before the guest has written anything


def tool(*words, status=(0,)):
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT, check=False)
    check(done.returncode in status, f'{" ".join(words)}: status {done.returncode}', done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


class Bed:
    def __init__(self, vmm, img, guest, folder):
        self.vmm, self.img, self.guest, self.folder = vmm, img, guest, folder
        os.environ['PATH'] += ':/usr/sbin:/sbin'
        debian_console.need_guest(guest)
        for program in 'qemu-img', 'e2fsck', 'debugfs':
            if not shutil.which(program):
                raise Skipped(f'no {program}')

    def path(self, name):
        return f'{self.folder}/{name}'

    def disc(self):
        """A CD with packages and the guest's work."""
        debs, disc = f'{self.guest}/debs', self.path('disc.iso')
        if not shutil.which('xorrisofs'):
            raise Skipped('no xorrisofs')
        names = [name for name in os.listdir(debs) if name.endswith('.deb')] if os.path.isdir(debs) else []
        if not all(any(name.startswith(f'{package}_') for name in names) for package in PACKAGES):
            raise Skipped(f'no packages in {debs} (tools/guest-packages)')
        grafts = [f'/{"more" if name.startswith("bash-completion") else "debs"}/{name}={debs}/{name}' for name in names]
        tool('xorrisofs', '-quiet', '-R', '-graft-points', '-o', disc, f'/load.sh={HERE}/debian-load.sh', *grafts)
        return disc

    def overlay(self):
        """The guest's root: an overlay with zstd on a compressed image with zstd."""
        base, root = self.path('base.qcow2'), self.path('root.qcow2')
        tool(self.img, 'convert', '-c', '-O', 'qcow2', '-o', 'compression_type=zstd', f'{self.guest}/debian.raw', base)
        tool(self.img, 'create', '-q', '-f', 'qcow2', '-o', 'compression_type=zstd', '-b', base, '-F', 'qcow2', root)
        return root

    def qcow2(self, name, size, *options):
        path = self.path(name)
        tool('qemu-img', 'create', '-q', '-f', 'qcow2', *options, path, *([str(size)] if size else []))
        return path


class Guest(debian_console.Guest):
    """With its QMP socket."""

    def __init__(self, bed, *disks):
        self.bed, self.socket, self.jobs = bed, bed.path('qmp'), 0
        command = [bed.vmm, '--accel', 'soft', '--cpus', '2', '--memory', '1G', '--kernel', f'{bed.guest}/vmlinuz', '--initrd',
                   f'{bed.guest}/initrd.img', '--append', 'root=LABEL=root console=ttyS0', '--net', 'user', '--no-reboot', '--qmp',
                   f'unix:{self.socket}']
        for disk in disks:
            command += ['--disk', disk]
        super().__init__(command, bed.path('log'), LIMIT)

    def arrived(self):
        self.qmp = qmp.Client(self.socket)

    def power_off(self):
        self.qmp.run('system_powerdown')
        self.wait_end()

    # what happens to the root's disk

    def inserted(self, device='root'):
        return next(row for row in self.qmp.run('query-block') if row['device'] == device)['inserted']

    def rows(self):
        """How many rows the guest's database has had committed."""
        return int(self.run('cat /run/rows'))

    def wait_rows(self, more):
        want = self.rows() + more
        while self.rows() < want:
            faults = self.run('cat /root/result.new 2>/dev/null || true')
            check(not faults, "a part of the guest's work ends early", faults)
            time.sleep(0.1)

    def snapshot(self, name):
        path = self.bed.path(f'{name}.qcow2')
        self.qmp.run('blockdev-snapshot-sync', device='root', **{'snapshot-file': path, 'format': 'qcow2', 'snapshot-node-name': name})
        return path

    def add(self, name, path, driver):
        self.qmp.run('blockdev-add', driver=driver, file={'driver': 'file', 'filename': path}, **{'node-name': name})

    def job_event(self, name, ident):
        while True:
            data = self.qmp.event(name)['data']
            if data.get('device') == ident:
                return data

    def ended(self, ident):
        data = self.job_event('BLOCK_JOB_COMPLETED', ident)
        check('error' not in data, f'{ident} fails', data)
        self.say(f'{ident}: {data["len"] >> 20} MiB')

    def job(self, command, ident, pivot=False, **arguments):
        self.qmp.run(command, **{'job-id': ident}, **arguments)
        if pivot:
            self.job_event('BLOCK_JOB_READY', ident)
            self.wait_rows(2)
            self.qmp.run('block-job-complete', device=ident)
        self.ended(ident)

    # the guest's work

    def install(self):
        self.run('mkdir /mnt/cd && mount -o ro /dev/sr0 /mnt/cd')
        self.run('sh /mnt/cd/load.sh install >/root/log.install 2>&1 || { tail /root/log.install; false; }', LIMIT)
        self.say('packages are installed')

    def start_load(self):
        self.run('( setsid sh /mnt/cd/load.sh load >/dev/null 2>&1 & )')
        self.run('while [ ! -e /run/rows ]; do sleep 0.2; done')

    def end_load(self, wanted):
        self.run('touch /run/stop; while [ ! -e /root/result ]; do sleep 0.2; done', LIMIT)
        result = self.run('cat /root/result')
        self.say('the guest: ' + '; '.join(result.split('\n')))
        lines = {line.split()[0]: line.split()[1:] for line in result.split('\n') if line}
        check(set(lines) == set(wanted) and all(line[0] == '0' and int(line[1]) > 0 for line in lines.values()),
              'the guest finds faults', result)
        check(self.run('dpkg --audit') == '', 'packages are not in order')
        faults = self.run("dmesg | grep -E 'I/O error|EXT4-fs (error|warning)|blk_update' || true")
        check(not faults, 'the kernel finds faults', faults)


@contextlib.contextmanager
def raw(bed, path, kind):
    """What an image reads as, by QEMU's tools."""
    copy = bed.path('copy.raw')
    tool('qemu-img', 'convert', '-f', kind, '-O', 'raw', path, copy)
    yield copy
    os.unlink(copy)


def sound(*paths):
    for path in paths:
        tool('qemu-img', 'check', path)


def clean(bed, path, kind='qcow2'):
    """A file system that was unmounted."""
    with raw(bed, path, kind) as copy:
        tool('e2fsck', '-fn', copy)


def database(copy):
    """The rows of the guest's database in a disk of then."""
    folder = f'{copy}.db'
    os.mkdir(folder)
    for name in 'db', 'db-journal':
        tool('debugfs', '-R', f'dump /root/{name} {folder}/{name}', copy)
    if os.path.exists(f'{folder}/db-journal') and not os.path.getsize(f'{folder}/db-journal'):
        os.unlink(f'{folder}/db-journal')
    with contextlib.closing(sqlite3.connect(f'{folder}/db')) as db:
        check(db.execute('pragma integrity_check').fetchall() == [('ok',)], f'{copy}: the database is damaged')
        count, last = db.execute('select count(*), max(n) from t').fetchone()
    check(count == last, f'{copy}: {count} rows, the last one is {last}')
    shutil.rmtree(folder)
    return count


def crashed(bed, path, kind, least, most):
    """A disk as after a power cut, when the guest had had this many transactions."""
    with raw(bed, path, kind) as copy:
        tool('e2fsck', '-p', copy, status=(0, 1))
        tool('e2fsck', '-fn', copy)
        rows = database(copy)
    check(least <= rows <= most, f'{path}: {rows} transactions, not {least} to {most}')
    print(f'{os.path.basename(path)}: {rows} transactions, at least {least}, at most {most}', flush=True)


def snapshots_and_commits(guest):
    """Layers come and go; the disk is at last the file that it was at first."""
    before = guest.inserted()['file']
    files = [guest.snapshot('one')]
    guest.wait_rows(5)
    files.append(guest.snapshot('two'))
    guest.wait_rows(5)
    guest.job('block-commit', 'middle', device='root', **{'top-node': 'one', 'base': before})
    check(guest.inserted()['backing_file_depth'] == 2, 'the layer is still there', guest.inserted())
    guest.job('block-commit', 'active', pivot=True, device='root', base=before)
    check(guest.inserted()['file'] == before and guest.inserted()['backing_file_depth'] == 1, 'another image', guest.inserted())
    return files


def backups(guest):
    """A full one with a new bitmap, then what has changed since; (path, rows before, rows after) of each."""
    size = guest.inserted()['image']['virtual-size']
    full = guest.bed.qcow2('full.qcow2', size, '-o', 'compression_type=zstd')
    guest.add('full', full, 'qcow2')
    least = guest.rows()
    guest.qmp.run('transaction', actions=[
        {'type': 'block-dirty-bitmap-add', 'data': {'node': guest.inserted()['node-name'], 'name': 'since', 'persistent': True}},
        {'type': 'blockdev-backup', 'data': {'device': 'root', 'job-id': 'full', 'target': 'full', 'sync': 'full',
                                             'speed': SPEED}}])
    marks = [(full, least, guest.rows() + 1)]
    guest.ended('full')
    guest.qmp.run('blockdev-del', **{'node-name': 'full'})
    guest.wait_rows(5)
    part = guest.bed.qcow2('part.qcow2', 0, '-b', full, '-F', 'qcow2')
    guest.add('part', part, 'qcow2')
    least = guest.rows()
    guest.qmp.run('blockdev-backup', device='root', target='part', sync='incremental', bitmap='since', **{'job-id': 'part'})
    marks.append((part, least, guest.rows() + 1))
    guest.ended('part')
    guest.qmp.run('blockdev-del', **{'node-name': 'part'})
    return marks


def limits(guest):
    """The disk is held back for a while, and goes on."""
    none = {name: 0 for name in ('bps', 'bps_rd', 'bps_wr', 'iops', 'iops_rd', 'iops_wr')}
    guest.qmp.run('block_set_io_throttle', id='root', **{**none, 'iops': 100, 'bps_wr': 4 << 20})
    check(guest.inserted()['iops'] == 100, 'no limit', guest.inserted())
    guest.wait_rows(3)
    guest.qmp.run('block_set_io_throttle', id='root', **none)
    guest.wait_rows(3)


def grow(guest, device):
    """The second disk and its file system, which is in use."""
    guest.qmp.run('block_resize', device='data', size=DATA_SIZE * 2)
    name = os.path.basename(device)
    guest.run(f'while [ $(cat /sys/block/{name}/size) != {DATA_SIZE * 2 // 512} ]; do sleep 0.1; done; resize2fs {device} 2>&1')
    check(int(guest.run('df --output=size -B1 /data | tail -n 1')) > DATA_SIZE, 'the file system has not grown')


def mirrors(guest):
    """To a raw file and from there to qcow2, once in either mode; (path, format, rows before, rows after) of what is left."""
    left, size = [], guest.inserted()['image']['virtual-size']
    targets = [('there.raw', 'raw', 'background'), ('back.qcow2', 'qcow2', 'write-blocking')]
    for name, kind, mode in targets:
        source, path = guest.inserted(), guest.bed.path(name)
        tool('qemu-img', 'create', '-q', '-f', kind, path, str(size))
        guest.add(name.split('.')[0], path, kind)
        guest.qmp.run('blockdev-mirror', device='root', target=name.split('.')[0], sync='full', speed=SPEED,
                      **{'job-id': name, 'copy-mode': mode})
        guest.job_event('BLOCK_JOB_READY', name)
        guest.wait_rows(3)
        least = guest.rows()
        guest.qmp.run('block-job-complete', device=name)
        guest.ended(name)
        left.append((source['file'], source['drv'], least, guest.rows() + 1))
        check(guest.inserted()['file'] == path, 'not the target', guest.inserted())
        guest.wait_rows(3)
    return left, path


def work(bed, bus):
    root, disc, data = bed.overlay(), bed.disc(), bed.qcow2('data.qcow2', DATA_SIZE)
    with Guest(bed, f'file={root},format=qcow2,id=root,bus={bus},cache=writeback,discard=on',
               f'file={data},format=qcow2,id=data,bus={bus}', f'file={disc},media=cdrom,readonly=on') as guest:
        sizes = dict(line.split()[::-1] for line in guest.run('lsblk -bdnro PATH,SIZE').split('\n'))
        device = sizes[str(DATA_SIZE)]
        check(device.startswith('/dev/sd' if bus == 'scsi' else '/dev/vd'), 'the disk is elsewhere', sizes)
        guest.run(f'mke2fs -q -t ext4 {device} && mkdir /data && mount {device} /data')
        guest.install()
        guest.start_load()
        layers = snapshots_and_commits(guest)
        marks = backups(guest)
        limits(guest)
        grow(guest, device)
        left, last = mirrors(guest)
        guest.end_load(['sqlite', 'fio', 'data', 'packages'])
        guest.power_off()
    sound(bed.path('base.qcow2'), root, data, *layers, last, *[path for path, *_ in marks])
    clean(bed, last)
    clean(bed, data)
    for path, least, most in marks:
        crashed(bed, path, 'qcow2', least, most)
    for path, kind, least, most in left:
        crashed(bed, path, kind, least, most)
    info = json.loads(tool('qemu-img', 'info', '--output=json', root))
    check([row['name'] for row in info['format-specific']['data']['bitmaps']] == ['since'], 'the bitmap is not stored', info)


def case_virtio(bed):
    """All of it, with disks of virtio-blk."""
    work(bed, 'virtio')


def case_scsi(bed):
    """The same with disks of virtio-scsi."""
    work(bed, 'scsi')


def case_killed(bed):
    """kill -9 in the middle of a commit: no image is damaged, and what the guest was told is committed is there."""
    root, disc = bed.overlay(), bed.disc()
    with Guest(bed, f'file={root},format=qcow2,id=root', f'file={disc},media=cdrom,readonly=on') as guest:
        guest.install()
        guest.start_load()
        guest.wait_rows(5)
        top = guest.snapshot('one')
        guest.wait_rows(5)
        guest.qmp.run('block-commit', device='root', base=root, speed=1 << 20, **{'job-id': 'active'})
        guest.wait_rows(10)
        check(guest.qmp.run('query-block-jobs'), 'the job is over', guest.qmp.events)
        least = guest.rows()
        guest.console.process.kill()
        guest.console.process.wait()
    for path in bed.path('base.qcow2'), root, top:
        tool('qemu-img', 'check', path, status=(0, 3))  # 3: leaks alone
    crashed(bed, top, 'qcow2', least, least + 20)


def case_nbd(bed):
    """The root is an NBD export, of our server and of QEMU's: login, data, discards, power-off."""
    if not shutil.which('qemu-nbd'):
        raise Skipped('no qemu-nbd')
    root = bed.overlay()
    for name, command in ('ours', [bed.img, 'serve']), ('theirs', ['qemu-nbd', '--discard=unmap']):
        socket = bed.path(f'nbd-{name}')
        with subprocess.Popen([*command, '-f', 'qcow2', '-k', socket, root]) as server:
            try:
                end = time.monotonic() + LIMIT
                while not os.path.exists(socket):
                    check(time.monotonic() < end and server.poll() is None, f'{command[0]} does not listen')
                    time.sleep(0.05)
                with Guest(bed, f'file=nbd+unix:///?socket={socket},id=root') as guest:
                    check(guest.run('findmnt -no SOURCE /') == '/dev/vda', 'another root')
                    guest.run(f'dd if=/dev/urandom of=/root/{name} bs=1M count=16 conv=fsync 2>/dev/null && '
                              f'sha256sum /root/{name} >/root/{name}.sum')
                    guest.run('sync; echo 3 >/proc/sys/vm/drop_caches; sha256sum -c /root/*.sum')
                    guest.run('fstrim /')
                    guest.power_off()
                check(server.wait(LIMIT) == 0, f'{command[0]}: status {server.returncode}')  # its client has left
            finally:
                server.kill()
        sound(root)
        clean(bed, root)


def main():
    vmm, img, guest, *names = sys.argv[1:]
    return cases.run(globals(), names, lambda folder: Bed(vmm, img, guest, folder))


if __name__ == '__main__':
    sys.exit(main())
