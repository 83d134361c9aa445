#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What --disk's keys promise, as Debian's kernel and a busybox initramfs find it: SCSI disks and CD-ROM drives, cache modes,
snapshot=on, a host that is full, another size.   usage: guest-disks.py KV-VMM SOURCE-ROOT CASE...
Exit status 77: something needed is not installed, or root's."""
import hashlib
import importlib
import os
import random
import re
import shutil
import subprocess
import sys
import time

import cases
import qmp
from cases import Skipped, check

kv_vmm = importlib.import_module('kv-vmm')
MODULES = 'virtio_scsi', 'sd_mod', 'sr_mod', 'isofs'
SIZE = 32 << 20
SECTOR = 512


class Bed(kv_vmm.Bed):
    def __init__(self, program, root, folder):
        super().__init__(program, root, folder)
        self.make_initrd(*MODULES)

    def file(self, name, size=SIZE, data=b''):
        path = f'{self.folder}/{name}'
        with open(path, 'wb') as file:
            file.write(data)
            file.truncate(size)
        return path


def lines(text):
    """What the guest's command printed, by the first word: @name value."""
    return dict(re.findall(r'^@(\S+) (.*?)\r?$', text, re.M))


def md5(path):
    with open(path, 'rb') as file:
        return hashlib.md5(file.read()).hexdigest()


def numbers(count):
    return b''.join(b'%d\n' % i for i in range(1, count + 1))


def case_scsi(bed):
    """Two disks and a CD-ROM drive: in order, with their sizes, names and caches; what is written is there; room is given back."""
    if not shutil.which('qemu-img'):
        raise Skipped('no qemu-img')
    first, second = bed.file('first'), f'{bed.folder}/second'
    disc = bed.file('disc', 4 << 20, random.Random(1).randbytes(4 << 20))
    subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', second, '16M'], check=True)
    # Linux looks at disks at the same time: which is sda is chance.
    text = bed.run('--cpus', '2', '--disk', f'{first},bus=scsi,serial=S77,wwn=0x5000c50015ea71ac',
                   '--disk', f'{second},bus=scsi,format=qcow2,cache=writethrough', '--disk', f'{disc},media=cdrom',
                   run='a=$(ls /sys/class/scsi_device/0:0:0:0/device/block) b=$(ls /sys/class/scsi_device/0:0:1:0/device/block); '
                       'echo @sizes $(cat /sys/block/$a/size /sys/block/$b/size /sys/block/sr0/size); '
                       'echo @cache $(cat /sys/block/$a/queue/write_cache), $(cat /sys/block/$b/queue/write_cache); '
                       'echo @serial $(tail -c 3 /sys/block/$a/device/vpd_pg80); echo @wwid $(cat /sys/block/$a/device/wwid); '
                       'echo @ro $(cat /sys/block/$a/ro /sys/block/sr0/ro); '
                       'echo @disc $(md5sum < /dev/sr0); seq 400000 > x; '
                       'for i in $a $b; do dd if=x of=/dev/$i bs=64k seek=16 conv=notrunc,fsync 2>/dev/null; done; '
                       'echo 3 > /proc/sys/vm/drop_caches; echo @back $(dd if=/dev/$b bs=64k skip=16 2>/dev/null | md5sum); '
                       'blkdiscard -o 8M -l 4M /dev/$a && echo @discard yes')
    got = lines(text)
    check(got['sizes'] == '65536 32768 8192', 'other sizes', text)
    check(got['cache'] == 'write back, write through', 'other caches', text)
    check(got['serial'] == 'S77' and got['wwid'] == 'naa.5000c50015ea71ac' and got['ro'] == '0 1', 'another identity', text)
    check(got['disc'].startswith(md5(disc)) and got.get('discard') == 'yes', 'the CD is another, or no discard', text)
    written = numbers(400000)
    back = written + bytes((16 << 20) - (1 << 20) - len(written))
    check(got['back'].startswith(hashlib.md5(back).hexdigest()), 'the guest does not read what it has written', text)
    subprocess.run(['qemu-img', 'check', '-q', second], check=True)
    subprocess.run(['qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', second, f'{second}.raw'], check=True)
    for path in first, f'{second}.raw':
        with open(path, 'rb') as file:
            file.seek(1 << 20)
            check(file.read(len(written)) == written, f'{path} does not have what the guest wrote')


def case_many_scsi(bed):
    """Forty units of one controller, and a virtio disk among them in its own place."""
    disks = []
    for i in range(40):
        disks += ['--disk', f'{bed.file(f"d{i}", (1 << 20) + i * SECTOR)},bus=scsi']
    disks[20:20] = ['--disk', bed.file('other', 1 << 20)]
    got = lines(bed.run(*disks, run='echo @sizes $(cat /sys/class/scsi_device/0:0:*:0/device/block/*/size | sort -n); '
                                    'echo @virtio $(ls /sys/block | grep -c vd)'))
    check(got['sizes'] == ' '.join(str(2048 + i) for i in range(40)) and got['virtio'] == '1', 'not all of them', str(got))


WATCH = ('while :; do read x < /dev/console || sleep 0.1; echo; for i in $(ls /sys/class/scsi_device | sort); do '
         'd=$(ls /sys/class/scsi_device/$i/device/block 2>/dev/null); '
         'echo "@at$x $i $(cat /sys/class/scsi_device/$i/device/type) $(head -c 5 /dev/$d)"; done; echo "@end$x"; done')


class Watcher:
    """Asks the guest what SCSI units it has: a set of (H:C:T:L, type, the first bytes)."""

    def __init__(self, process):
        self.process, self.turn = process, 0

    def units(self):
        self.turn += 1
        self.process.stdin.write(b'%d\n' % self.turn)
        self.process.stdin.flush()
        text = kv_vmm.wait_for(self.process, f'@end{self.turn}')
        return set(re.findall(rf'^@at{self.turn} (\S+) (\d+) ?(.*?)\r?$', text, re.M))

    def wait(self, want):
        end, have = time.monotonic() + kv_vmm.LIMIT, None
        while time.monotonic() < end:
            have = self.units()
            if have == want:
                return
            time.sleep(0.1)
        check(False, 'other units', f'{sorted(have)}, not {sorted(want)}')


def case_luns(bed):
    """Several LUNs of one target, a CD-ROM drive among them, other targets, another controller: where Linux finds them, as QEMU
    would number them. One LUN comes and one goes, each alone, while the guest runs; the rest of the target stays."""
    def disk(name):
        return bed.file(name, 1 << 20, name.encode())

    socket = f'{bed.folder}/qmp-luns'
    process = bed.start('--disk', f'{disk("first")},scsi-id=2,bus=scsi,lun=0,id=a', '--disk', f'{disk("secnd")},bus=scsi,scsi-id=2,id=b',
                        '--disk', f'{disk("third")},bus=scsi,scsi-id=2,lun=300,id=c',
                        '--disk', f'{disk("cdrom")},media=cdrom,bus=scsi,scsi-id=2,lun=5,id=d',
                        '--disk', f'{disk("other")},bus=scsi', '--disk', f'{disk("lun 9")},bus=scsi,lun=9',
                        '--disk', f'{disk("hba 1")},bus=scsi,controller=1,scsi-id=2,lun=1', '--qmp', f'unix:{socket}', run=WATCH)
    units = {('0:0:2:0', '0', 'first'), ('0:0:2:1', '0', 'secnd'), (f'0:0:2:{0x4000 | 300}', '0', 'third'), ('0:0:2:5', '5', 'cdrom'),
             ('0:0:0:0', '0', 'other'), ('0:0:0:9', '0', 'lun 9'), ('1:0:2:1', '0', 'hba 1')}
    try:
        kv_vmm.wait_for(process, '@init')
        guest, client = Watcher(process), qmp.Client(socket)
        guest.wait(units)

        def node(ident, name, readonly=False):
            client.run('blockdev-add', **{'node-name': f'{ident}-node', 'driver': 'raw', 'read-only': readonly,
                                          'file': {'driver': 'file', 'filename': disk(name)}})

        def add(name, driver='scsi-hd', **keys):
            node(keys['id'], name, driver == 'scsi-cd')
            client.run('device_add', driver=driver, drive=f'{keys["id"]}-node', **keys)

        def remove(name):
            client.run('device_del', id=name)
            check(client.event('DEVICE_DELETED')['data']['device'] == name, 'another device has gone')

        add('hot 7', id='e', bus='scsi.0', lun=7, **{'scsi-id': 2})
        guest.wait(units := units | {('0:0:2:7', '0', 'hot 7')})
        add('hot 2', id='f', **{'scsi-id': 2})  # the first LUN that is free there
        guest.wait(units := units | {('0:0:2:2', '0', 'hot 2')})
        add('hotcd', 'scsi-cd', id='g', bus='scsi1.0')  # LUN 0 of the first target where that is free
        guest.wait(units := units | {('1:0:0:0', '5', 'hotcd')})
        client.run('device_add', driver='scsi-cd', id='h', lun=400, channel=0)
        guest.wait(units := units | {(f'0:0:0:{0x4000 | 400}', '5', '')})
        node('x', 'nobody')
        for keys, message in [
                ({'scsi-id': 2, 'lun': 7}, "x: scsi-id 2, lun 7: lun already used by 'e'"),
                ({'scsi-id': 256}, "scsi-disk: scsi-id: '256' is not a number from 0 to 255"),
                ({'lun': 16384}, "scsi-disk: lun: '16384' is not a number from 0 to 16383"),
                ({'channel': 1}, 'x: bad scsi channel id: 1; there is 0 alone'),
                ({'bus': 'scsi2.0'}, "Bus 'scsi2.0' not found"),
                ({'target': 2}, "scsi-disk has no option 'target'"),
                ({'drive': 'e-node'}, "Conflicts with use by another device as 'root' of node 'e-node'")]:
            answer = client.ask({'execute': 'device_add', 'arguments': {'driver': 'scsi-hd', 'id': 'x', 'drive': 'x-node', **keys}})
            check(message in answer['error']['desc'], f'not "{message}"', answer)
        client.run('blockdev-del', **{'node-name': 'x-node'})
        remove('b')  # of the command line
        guest.wait(units := units - {('0:0:2:1', '0', 'secnd')})
        remove('e')
        guest.wait(units := units - {('0:0:2:7', '0', 'hot 7')})
        client.run('blockdev-del', **{'node-name': 'e-node'})
        check({row['device'] for row in client.run('query-block')} == {'a', 'c', 'd', 'disk4', 'disk5', 'disk6', 'f', 'g', 'h'},
              'other drives')
        for name in 'g', 'h', 'a':
            remove(name)
        guest.wait(units := units - {('1:0:0:0', '5', 'hotcd'), (f'0:0:0:{0x4000 | 400}', '5', ''), ('0:0:2:0', '0', 'first')})
        # In a machine that stands still: the driver hears that it has missed something, and looks again.
        client.run('stop')
        add('quiet', id='i', **{'scsi-id': 2, 'lun': 0})
        client.run('cont')
        guest.wait(units | {('0:0:2:0', '0', 'quiet')})
        client.run('quit')
        check(process.wait(kv_vmm.LIMIT) == 0, f'status {process.returncode}')
    finally:
        kv_vmm.stop(process)


CACHES = 'writeback', 'none', 'writethrough', 'directsync', 'unsafe'


def has_direct(bed):
    """Whether the file system of the test can do without a cache; where not, kv-vmm says so."""
    path = bed.file('direct')
    try:
        os.close(os.open(path, os.O_RDWR | os.O_DIRECT))
        return True
    except OSError:
        for cache in 'none', 'directsync':
            check('has no O_DIRECT' in bed.run('--disk', f'{path},cache={cache}', status=1), f'{cache}: another error')
        return False


def case_caches(bed):
    """Every cache mode with each bus, all in one guest: data is there, the guest finds the cache that it should. Ranges are odd ones."""
    data = numbers(200000)
    caches = CACHES if has_direct(bed) else [cache for cache in CACHES if cache not in ('none', 'directsync')]
    names = [f'{bus}-{cache}' for bus in ('virtio', 'scsi', 'nvme') for cache in caches]
    options = []
    for name in names:  # which it is the guest finds in the first sector
        bus, cache = name.split('-')
        options += ['--disk', f'{bed.file(name, data=name.encode())},bus={bus},cache={cache}']
    text = bed.run(*options, run='seq 200000 > x; truncate -s 1290240 x; for d in /dev/vd? /dev/sd? /dev/nvme?n1; do '
                                 'n=$(head -c 32 $d); echo @cache-$n $(cat /sys/block/${d##*/}/queue/write_cache); '
                                 'dd if=x of=$d bs=512 seek=3 count=1000 conv=notrunc oflag=direct 2>/dev/null; '
                                 'dd if=x of=$d bs=7680 seek=1 skip=0 conv=notrunc,fsync 2>/dev/null; echo 3 > /proc/sys/vm/drop_caches; '
                                 'echo @sum-$n $(dd if=$d bs=7680 skip=1 count=168 2>/dev/null | md5sum); done')
    got, want = lines(text), data + bytes(1290240 - len(data))
    for name in names:
        through = name.split('-')[1] in ('writethrough', 'directsync')
        check(got.get(f'cache-{name}') == ('write through' if through else 'write back'), f'{name}: another cache', text)
        check(got[f'sum-{name}'].startswith(hashlib.md5(want).hexdigest()), f'{name}: the guest reads something else', text)
        with open(f'{bed.folder}/{name}', 'rb') as file:
            file.seek(7680)
            check(file.read(len(want)) == want, f'{name}: the file has something else')


def case_snapshot(bed):
    """Writes with snapshot=on are the guest's alone: the image stays as it was, and nothing is left in $TMPDIR."""
    base = bed.file('base', data=b'as it was')
    temporary = f'{bed.folder}/tmp'
    os.mkdir(temporary)
    os.environ['TMPDIR'] = temporary
    before = md5(base)
    text = bed.run('--disk', f'{base},snapshot=on', '--disk', f'{base},snapshot=on,bus=scsi',
                   run='echo @was $(head -c 9 /dev/vda); seq 100000 > x; dd if=x of=/dev/vda conv=notrunc,fsync bs=64k 2>/dev/null; '
                       'echo 3 > /proc/sys/vm/drop_caches; echo @vda $(head -c 588895 /dev/vda | md5sum); '
                       'echo @sda $(head -c 9 /dev/sda)')
    got = lines(text)
    check(got['was'] == 'as it was' and got['sda'] == 'as it was', 'the image is not read', text)
    check(got['vda'].startswith(hashlib.md5(numbers(100000)).hexdigest()), 'the guest does not read what it has written', text)
    check(md5(base) == before, 'the image has changed')
    check(not os.listdir(temporary), 'something is left behind', str(os.listdir(temporary)))


def full_host(bed, bus, name):
    mount = f'{bed.folder}/small-{bus}'
    os.mkdir(mount)
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=4M', 'none', mount], capture_output=True, check=False).returncode:
        raise Skipped('no tmpfs to mount')
    try:
        disk, socket = f'{mount}/disk', f'{bed.folder}/qmp-{bus}'
        with open(disk, 'wb') as file:
            file.truncate(SIZE)
        process = bed.start('--disk', f'{disk},bus={bus},id=small', '--qmp', f'unix:{socket}',
                            run=f'seq 1500000 > x; dd if=x of=/dev/{name} bs=64k conv=notrunc,fsync && echo @written yes; '
                                'echo 3 > /proc/sys/vm/drop_caches; '
                                f'echo @sum $(head -c 10888896 /dev/{name} | md5sum); dmesg | grep -i error')
        try:
            client = qmp.Client(socket)
            for turn in range(2):
                event = client.event('BLOCK_IO_ERROR')['data']
                check(event == {'device': 'small', 'operation': 'write', 'action': 'stop', 'nospace': True,
                                'reason': 'No space left on device'}, 'another event', event)
                client.event('STOP')
                check(client.run('query-status') == {'status': 'io-error', 'singlestep': False, 'running': False}, 'not io-error')
                # Nothing has changed: the same again.
                if turn == 0:
                    client.run('cont')
                    client.event('RESUME')
            subprocess.run(['mount', '-o', 'remount,size=64M', mount], check=True)
            client.run('cont')
            client.event('RESUME')
            text = process.communicate(timeout=kv_vmm.LIMIT)[0].decode('utf-8', 'replace')
            check(process.returncode == 0, f'status {process.returncode}', text)
            got = lines(text)
            check(got.get('written') == 'yes', 'the guest has seen an error', text)
            check(got['sum'].startswith(hashlib.md5(numbers(1500000)[:10888896]).hexdigest()), 'something else is there', text)
            check('I/O error' not in text, 'the guest has seen an error', text)
        finally:
            kv_vmm.stop(process)
    finally:
        subprocess.run(['umount', '-l', mount], check=True)


def case_full(bed):
    """A host without room: the guest is paused, told nothing, and goes on where it was when there is room and cont is given."""
    if os.getuid():
        raise Skipped('mounting a tmpfs is root\'s')
    full_host(bed, 'virtio', 'vda')
    full_host(bed, 'scsi', 'sda')
    full_host(bed, 'nvme', 'nvme0n1')


def reset_when_full(bed, path, *options):
    process = bed.start(*options, '--qmp', f'unix:{bed.folder}/qmp',
                        run='dd if=/dev/zero bs=64k count=64 | tr x y | tr \\\\\\\\0 z | dd of=/dev/vda bs=64k conv=notrunc,fsync')
    try:
        client = qmp.Client(path)
        client.event('BLOCK_IO_ERROR')
        client.event('STOP')
        client.run('system_reset')
        client.event('RESET')
        check(not client.run('query-status')['running'], 'a reset starts a stopped guest')
        client.run('cont')
        client.event('RESUME')
        client.event('BLOCK_IO_ERROR')
        client.event('STOP')
        client.run('quit')
        text = process.communicate(timeout=kv_vmm.LIMIT)[0].decode('utf-8', 'replace')
        check(process.returncode == 0, f'status {process.returncode}', text)
        check(text.count('@init') == 2, 'the guest did not start again', text)
    finally:
        kv_vmm.stop(process)


def case_full_reset(bed):
    """A machine that stands still because its host is full can be reset and ended; the failed write is forgotten. Whichever thread
    it is of."""
    if not os.path.exists('/dev/full'):
        raise Skipped('no /dev/full')
    if os.getuid():
        raise Skipped('mounting a tmpfs is root\'s')
    mount = f'{bed.folder}/small'
    os.mkdir(mount)
    for options in [], ['--object', 'iothread,id=t']:
        if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1M', 'none', mount], capture_output=True, check=False).returncode:
            raise Skipped('no tmpfs to mount')
        try:
            with open(f'{mount}/disk', 'wb') as file:
                file.truncate(SIZE)
            reset_when_full(bed, f'{bed.folder}/qmp', *options, '--disk', f'{mount}/disk{",iothread=t" if options else ""}')
        finally:
            subprocess.run(['umount', '-l', mount], check=True)


def case_resize(bed):
    """block_resize: the guest sees the new size by itself, and reads and writes there."""
    for bus, name in ('virtio', 'vda'), ('scsi', 'sda'), ('nvme', 'nvme0n1'):
        path, socket = bed.file(f'sized-{bus}'), f'{bed.folder}/qmp-r{bus}'
        process = bed.start('--disk', f'{path},bus={bus},id=it', '--qmp', f'unix:{socket}',
                            run=f'echo @ready $(cat /sys/block/{name}/size); while [ $(cat /sys/block/{name}/size) = 65536 ]; '
                                f'do sleep 0.1; done; echo @size $(cat /sys/block/{name}/size); '
                                f'echo at the end | dd of=/dev/{name} bs=512 seek=98303 conv=sync,fsync 2>/dev/null')
        try:
            text = kv_vmm.wait_for(process, '@ready 65536')
            client = qmp.Client(socket)
            client.run('block_resize', device='it', size=48 << 20)
            text += process.communicate(timeout=kv_vmm.LIMIT)[0].decode('utf-8', 'replace')
            check(process.returncode == 0 and lines(text).get('size') == '98304', f'{bus}: not the new size', text)
            check(os.path.getsize(path) == 48 << 20, 'the file has another size')
            with open(path, 'rb') as file:
                file.seek(-SECTOR, os.SEEK_END)
                check(file.read(10) == b'at the end', 'not what the guest wrote')
        finally:
            kv_vmm.stop(process)


def case_medium(bed):
    """A CD-ROM drive that starts empty: a disc goes in, another one, none; the guest reads what is there. QEMU's errors."""
    discs = [bed.file(f'disc{i}', (i + 1) << 20, random.Random(i).randbytes((i + 1) << 20)) for i in range(3)]
    socket = f'{bed.folder}/qmp-medium'
    process = bed.start('--disk', 'media=cdrom,id=cd', '--disk', f'{bed.disk},id=hd', '--qmp', f'unix:{socket}',
                        run='i=0; while :; do read x < /dev/console; i=$((i+1)); sum=$(md5sum < /dev/sr0 2>/dev/null); '
                            'echo @read$i $sum $(cat /sys/block/sr0/size); done')
    seen = [0]

    def guest_reads():
        seen[0] += 1
        process.stdin.write(b'\n')
        process.stdin.flush()
        text = kv_vmm.wait_for(process, f'@read{seen[0]} ')
        while not text.split(f'@read{seen[0]} ')[1].count('\n'):
            text += kv_vmm.wait_for(process, '\n')
        return text.split(f'@read{seen[0]} ')[1].split()[0]

    try:
        kv_vmm.wait_for(process, '@init')
        client = qmp.Client(socket)
        info = {row['device']: row for row in client.run('query-block')}
        check(info['cd']['removable'] and not info['cd']['tray_open'] and 'inserted' not in info['cd'], 'another drive', info)
        check('tray_open' not in info['hd'] and info['hd']['inserted']['file'] == bed.disk, 'another disk', info)
        check(len(guest_reads()) != 32, 'something is in an empty drive')
        client.run('blockdev-change-medium', id='cd', filename=discs[0])
        check(client.event('DEVICE_TRAY_MOVED')['data'] == {'device': 'cd', 'id': 'cd', 'tray-open': True}, 'another event')
        check(client.event('DEVICE_TRAY_MOVED')['data']['tray-open'] is False, 'another event')
        check(guest_reads() == md5(discs[0]), 'not the first disc')
        client.run('blockdev-change-medium', device='cd', filename=discs[1], format='raw')
        check(guest_reads() == md5(discs[1]), 'not the second disc')
        answer = client.ask({'execute': 'blockdev-remove-medium', 'arguments': {'id': 'cd'}})
        check(answer['error']['desc'] == "Tray of device 'cd' is not open", 'another error', answer)
        client.run('blockdev-open-tray', id='cd')
        client.run('blockdev-remove-medium', id='cd')
        client.run('blockdev-add', **{'node-name': 'third', 'driver': 'raw', 'read-only': True,
                                      'file': {'driver': 'file', 'filename': discs[2]}})
        client.run('blockdev-insert-medium', id='cd', **{'node-name': 'third'})
        check({row['device']: row for row in client.run('query-block')}['cd']['tray_open'], 'the tray is shut')
        client.run('blockdev-close-tray', id='cd')
        check(guest_reads() == md5(discs[2]), 'not the third disc')
        client.run('eject', id='cd')
        check(len(guest_reads()) != 32, 'a disc is still read')
        check('inserted' not in {row['device']: row for row in client.run('query-block')}['cd'], 'the disc is still there')
        for command, arguments, message in [
                ('eject', {'id': 'hd'}, "Device 'hd' is not removable"),
                ('eject', {'id': 'no'}, "Device 'no' not found"),
                ('eject', {}, "Need exactly one of 'device' and 'id'"),
                ('blockdev-insert-medium', {'id': 'cd', 'node-name': 'no'}, "Node 'no' not found"),
                ('blockdev-change-medium', {'id': 'cd', 'filename': '/no/such'}, 'cannot open disk'),
                ('blockdev-change-medium', {'id': 'cd', 'filename': discs[0], 'read-only-mode': 'read-write'}, 'only reads')]:
            answer = client.ask({'execute': command, 'arguments': arguments})
            check(message in answer['error']['desc'], f'{command}: not "{message}"', answer)
        client.run('quit')
        check(process.wait(kv_vmm.LIMIT) == 0, f'status {process.returncode}')
    finally:
        kv_vmm.stop(process)


def case_errors(bed):
    """Keys that do not go together, in one line that names them."""
    disk = bed.file('disk')
    for keys, message in [
            ('readonly=on', '--disk: file is missing; give file=PATH'),
            (f'{disk},media=cdrom,bus=virtio', '--disk: media=cdrom is for bus=scsi'),
            (f'{disk},bus=scsi,queues=2', '--disk: queues is for bus=virtio'),
            (f'{disk},scsi-id=1', '--disk: scsi-id is for bus=scsi'), (f'{disk},bus=sata,lun=1', '--disk: lun is for bus=scsi'),
            (f'{disk},bus=usb,controller=1', '--disk: controller is for bus=scsi'),
            (f'{disk},bus=scsi,scsi-id=256', "scsi-id: '256' is not valid; give a number from 0 to 255"),
            (f'{disk},bus=scsi,lun=16384', "lun: '16384' is not valid; give a number from 0 to 16383"),
            (f'{disk},bus=scsi,channel=1', "channel: '1' is not valid; give a number from 0 to 0"),
            (f'{disk},wwn=0x1', '--disk: wwn is for bus=scsi'),
            (f'{disk},bus=scsi,wwn=7', "--disk: wwn: '7' is not valid; give a number as 0x5000c50015ea71ac"),
            (f'{disk},iops=5,iops-read=5', 'disk0: bps/iops/max total values and read/write values cannot be used at the same time'),
            (f'{disk},discard=off,detect-zeroes=unmap', 'disk0: detect-zeroes=unmap needs discard=on'),
            (f'{disk},id=com1', "there are two devices 'com1'; give one of them another id"),
            (f'{disk},snapshot=on,format=auto', 'is for disks that the guest does not write'),
            (f'{disk},serial={"x" * 21}', 'is longer than 20 characters')]:
        done = subprocess.run([bed.program, '--accel', 'soft', '--quiet', '--console', f'file:{bed.folder}/log', '--kernel',
                               bed.kernel, '--disk', keys], stdin=subprocess.DEVNULL, capture_output=True, timeout=kv_vmm.LIMIT, check=False)
        text = done.stderr.decode()
        check(done.returncode == 1 and len(text.splitlines()) == 1 and message in text, f'{keys}: not "{message}"', text)


def main():
    program, root, *names = sys.argv[1:]
    return cases.run(globals(), names, lambda folder: Bed(os.path.abspath(program), root, folder))


if __name__ == '__main__':
    sys.exit(main())
