#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kv-vmm as a user has it: Debian's kernel with a busybox initramfs on the software KVM, and strangers around it (QEMU's
tools, the host's sockets, a terminal).   usage: kv-vmm.py KV-VMM SOURCE-ROOT CASE...
Exit status 77: something needed is not installed."""
import glob
import hashlib
import json
import os
import pty
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import termios
import threading
import time

import cases
import qmp
from cases import Skipped, check

LIMIT = 180
DISK = 32 << 20


class Bed:
    """A folder with a kernel, an initramfs and a disk, and the program under test."""

    def __init__(self, program, root, folder):
        self.program, self.folder = program, folder
        self.disk, self.initrd = f'{folder}/disk.raw', f'{folder}/initrd'
        kernels = sorted(glob.glob('/boot/vmlinuz-*-cloud-amd64'))
        if not kernels or not os.access(kernels[-1], os.R_OK):
            raise Skipped('no cloud kernel in /boot')
        self.kernel = kernels[-1]
        for tool in 'cpio', 'busybox':
            if not shutil.which(tool):
                raise Skipped(f'no {tool}')
        self.root = root
        self.make_initrd()
        with open(self.disk, 'wb') as file:
            file.truncate(DISK)

    def make_initrd(self, *modules):
        options = [word for module in modules for word in ('-m', module)]
        subprocess.run([f'{self.root}/tools/make-initrd', *options, self.initrd], check=True)

    def command(self, *options, run=None, append='', accel='soft'):
        text = f'console=ttyS0 quiet panic=-1 {append}' + (f' kv.run="{run}"' if run else '')
        return [self.program, '--accel', accel, '--memory', '256M', '--kernel', self.kernel, '--initrd', self.initrd,
                '--append', text, *options]

    def run(self, *options, status=0, **keys):
        """One run to its end: what it printed."""
        done = subprocess.run(self.command(*options, **keys), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=LIMIT, check=False)
        text = done.stdout.decode('utf-8', 'replace')
        check(done.returncode == status, f'exit status {done.returncode}, not {status}', text)
        return text

    def start(self, *options, **keys):
        return subprocess.Popen(self.command(*options, **keys), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)


def wait_for(process, what):
    """Reads a process's output until the text is there: all of it so far."""
    text, end = '', time.monotonic() + LIMIT
    while what not in text:
        ready, _, _ = select.select([process.stdout], [], [], max(0, end - time.monotonic()))
        data = os.read(process.stdout.fileno(), 65536) if ready else b''
        check(data, f'no "{what}"', text)
        text += data.decode('utf-8', 'replace')
    return text


def stop(process):
    process.kill()
    process.wait()


def check_mappings(process):
    """Of a VM whose guest has run: there is translated code, and nothing is both writable and executable."""
    rights = [line.split()[1::4] for line in open(f'/proc/{process.pid}/maps', encoding='utf-8')]
    both = [words for words in rights if 'w' in words[0] and 'x' in words[0]]
    check(not both, 'writable and executable', str(both))
    check(any('x' in words[0] and 'kvcore-code' in words[-1] for words in rights), 'no translated code', str(rights))


def case_boot(bed):
    """To /init and off again, with one processor and with two, and what --stats says about it."""
    text = bed.run('--stats')
    check('kv-vmm: software KVM' in text and '@init' in text, 'no line about the engine or no /init', text)
    check(re.search(r'^time\.wall \d', text, re.M) and re.search(r'^exit\.io [1-9]', text, re.M), 'no statistics', text)
    check('kv-vmm sam: software KVM' in bed.run('--name', 'sam'), 'messages without the name')
    text = bed.run('--cpus', '2', '--quiet', run='nproc')
    check('\n2\r\n' in text and 'kv-vmm:' not in text, 'not two processors, or not quiet', text)


def case_disk(bed):
    """What the guest writes is in the file; what is in the file the guest reads; by io_uring and by threads."""
    for engine in 'io_uring', 'threads':
        with open(bed.disk, 'r+b') as file:
            file.write(b'from the host ' + engine.encode())
        text = bed.run('--disk', f'file={bed.disk},aio={engine}',
                       run='dd if=/dev/vda bs=64 count=1 2>/dev/null; seq 400000 > x; md5sum < x; wc -c < x; '
                           'dd if=x of=/dev/vda bs=64k seek=16 conv=notrunc,fsync 2>/dev/null')
        check('from the host ' + engine in text, 'the guest does not read the file', text)
        size = int(re.search(r'^(\d+)\r', text, re.M)[1])
        with open(bed.disk, 'rb') as file:
            file.seek(16 << 16)
            data = file.read(size)
        check(data == b''.join(b'%d\n' % i for i in range(1, 400001)), 'the file is not what the guest wrote', text)
    text = bed.run('--disk', f'{bed.disk},readonly=on', run='echo x > /dev/vda; cat /sys/block/vda/ro')
    check('\n1\r\n' in text, 'not read-only', text)


def case_nbd(bed):
    """A disk that is an NBD export, and one that stands on one: the guest reads and writes, and QEMU finds what it wrote."""
    if not shutil.which('qemu-nbd') or not shutil.which('qemu-io'):
        raise Skipped('no qemu-nbd or no qemu-io')
    sock, top = f'{bed.folder}/nbd', f'{bed.folder}/top'
    uri = f'nbd+unix:///?socket={sock}'
    with open(bed.disk, 'r+b') as file:
        file.write(b'from the server')
    server = subprocess.Popen(['qemu-nbd', '-t', '-e', '4', '-f', 'raw', '-k', sock, bed.disk])
    try:
        while True:  # the file is there before its socket listens
            with socket.socket(socket.AF_UNIX) as client:
                if client.connect_ex(sock) == 0:
                    break
            check(server.poll() is None, 'qemu-nbd does not start')
            time.sleep(.01)
        subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', uri, '-F', 'raw', top], check=True)
        for disk, where in (f'file={uri}', 64), (f'file={top},format=qcow2', 65):
            text = bed.run('--disk', disk,
                           run='dd if=/dev/vda bs=64 count=1 2>/dev/null; seq 100000 > x; wc -c < x; '
                               f'dd if=x of=/dev/vda bs=64k seek={where} conv=notrunc,fsync 2>/dev/null')
            check('from the server' in text, 'the guest does not read the export', text)
    finally:
        server.terminate()
        server.wait()
    text = b''.join(b'%d\n' % i for i in range(1, 100001))
    with open(bed.disk, 'rb') as file:
        file.seek(64 << 16)
        check(file.read(len(text)) == text, 'the export has not what the guest wrote')
    subprocess.run(['qemu-img', 'rebase', '-u', '-f', 'qcow2', '-b', bed.disk, '-F', 'raw', top], check=True)
    subprocess.run(['qemu-img', 'convert', '-O', 'raw', top, f'{bed.folder}/flat'], check=True)
    with open(f'{bed.folder}/flat', 'rb') as file:
        file.seek(65 << 16)
        check(file.read(len(text)) == text, 'the image on top has not what the guest wrote')


FORMATS = {'qcow2': (), 'vmdk': (), 'vpc': ('-o', 'force_size=on'), 'vhdx': (), 'vdi': (), 'onraw': ('-F', 'raw')}


def check_formats(bed, text, expected):
    """What one guest has written to the images of all formats, for qemu-img and for the guest itself."""
    sums = dict(re.findall(r'^@(\S+) (\w+)', text, re.M))
    for name in FORMATS:
        image, form = f'{bed.folder}/image-{name}', name if name != 'onraw' else 'qcow2'
        check(sums.get(name) == hashlib.md5(expected).hexdigest(), f'{name}: the guest does not read what it has written', text)
        if name not in ('vmdk', 'vpc'):
            subprocess.run(['qemu-img', 'check', '-q', '-f', form, image], check=True)
        subprocess.run(['qemu-img', 'convert', '-f', form, '-O', 'raw', image, f'{bed.folder}/result'], check=True)
        with open(f'{bed.folder}/result', 'rb') as file:
            check(file.read() == expected, f'{name}: qemu-img reads something else', text)


def case_formats(bed):
    """Images that qemu-img has made, one of them on top of a raw file: the guest reads and writes; qemu-img finds no fault afterwards
    and reads what was written. Twice, with io_uring and with threads, so that the second run finds what the first has left."""
    if not shutil.which('qemu-img'):
        raise Skipped('no qemu-img')
    expected = bytearray(random.Random(1).randbytes(4 << 20)) + bytearray(DISK - (4 << 20))
    before = hashlib.md5(expected).hexdigest()
    written = b''.join(b'%d\n' % i for i in range(1, 400001))
    with open(bed.disk, 'wb') as file:
        file.write(expected)
    for name, options in FORMATS.items():
        make = ['create', '-f', 'qcow2', '-b', bed.disk, *options] if name == 'onraw' else \
            ['convert', '-O', name, *options, bed.disk]
        subprocess.run(['qemu-img', *make, f'{bed.folder}/image-{name}'], check=True, stdout=subprocess.DEVNULL)
    for engine, at in ('io_uring', 0x1fe00), ('threads', 0x1802000):
        expected[at:at + len(written)] = written
        disks = [word for name in FORMATS for word in ('--disk', f'file={bed.folder}/image-{name},aio={engine},serial={name},format='
                                                       + (name if name != 'onraw' else 'qcow2'))]
        text = bed.run(*disks, run='seq 400000 > x; for d in /dev/vd?; do n=$(cat /sys/block/${d##*/}/serial); '
                                   f'echo @was-$n $(md5sum < $d); dd if=x of=$d bs=512 seek={at // 512} conv=notrunc,fsync 2>/dev/null; '
                                   'echo 3 > /proc/sys/vm/drop_caches; echo @$n $(md5sum < $d); done')
        for name in FORMATS:
            check(f'@was-{name} {before}' in text, f'{name}: the guest reads something else', text)
        check_formats(bed, text, expected)
        before = hashlib.md5(expected).hexdigest()


def dirty_ranges(image, name):
    out = subprocess.run(['nbdinfo', '--json', f'--map=qemu:dirty-bitmap:{name}', '--',
                          '[', 'qemu-nbd', '-r', '-f', 'qcow2', '-B', name, image, ']'], check=True, stdout=subprocess.PIPE).stdout
    return [(e['offset'], e['length']) for e in json.loads(out) if e['type']]


def case_bitmaps(bed):
    """What a guest writes is dirty in the persistent bitmaps of its disk, as QEMU reads them, and nothing else; by both engines."""
    for tool in 'qemu-img', 'qemu-nbd', 'nbdinfo':
        if not shutil.which(tool):
            raise Skipped(f'no {tool}')
    image = f'{bed.folder}/image'
    subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', image, '64M'], check=True)
    subprocess.run(['qemu-img', 'bitmap', '--add', '-g', '4k', image, 'all'], check=True)
    for engine, at in ('io_uring', 5), ('threads', 40):
        subprocess.run(['qemu-img', 'bitmap', '--add', '-g', '4k', image, engine], check=True)
        # The second time it is there and goes to the kernel at once.
        done = subprocess.run(bed.command('--disk', f'file={image},format=qcow2,aio={engine}',
                                          run='for i in 1 2; do '
                                              f'dd if=/dev/zero bs=64k count=2 seek={at * 16} of=/dev/vda conv=notrunc,fsync; '
                                              f'dd if=/dev/zero bs=4k count=1 seek=$(({at * 256} + 256 * i)) of=/dev/vda '
                                              'conv=notrunc,fsync; done'),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT, check=False)
        check(done.returncode == 0, f'{engine}: exit status {done.returncode}', done.stdout.decode('utf-8', 'replace'))
        want = [(at << 20, 128 << 10), (at + 1 << 20, 4096), (at + 2 << 20, 4096)]
        check(dirty_ranges(image, engine) == want, f'{engine}: dirty are', dirty_ranges(image, engine), want)
    first = [(5 << 20, 128 << 10), (6 << 20, 4096), (7 << 20, 4096)]
    check(dirty_ranges(image, 'all') == first + want, 'what both engines wrote is not dirty', dirty_ranges(image, 'all'))
    subprocess.run(['qemu-img', 'check', '-q', '-f', 'qcow2', image], check=True)


def case_block_device(bed):
    """A block device as a disk: its size, reading and writing, by io_uring and by threads; a read-only one says so."""
    losetup = shutil.which('losetup', path=os.environ['PATH'] + ':/usr/sbin:/sbin')
    if os.getuid() or not losetup:
        raise Skipped('a loop device needs root and losetup')

    def attach(*options):
        done = subprocess.run([losetup, '--show', '-f', *options, bed.disk], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False)
        if done.returncode:
            raise Skipped(f'no loop device: {done.stdout.strip()}')
        return done.stdout.strip()

    device = attach()
    try:
        for engine in 'io_uring', 'threads':
            with open(device, 'r+b') as file:
                file.write(b'from the host ' + engine.encode())
            text = bed.run('--disk', f'file={device},aio={engine}',
                           run='cat /sys/block/vda/size; head -c 64 /dev/vda; yes | head -c 300000 > x; '
                               'dd if=x of=/dev/vda bs=64k seek=16 conv=notrunc,fsync 2>/dev/null')
            check(f'\n{DISK // 512}\r\n' in text, 'not the size of the device', text)
            check('from the host ' + engine in text, 'the guest does not read the device', text)
            with open(device, 'r+b') as file:
                file.seek(16 << 16)
                data = file.read(300001)
                check(data == b'y\n' * 150000 + b'\0', 'the device does not have what the guest wrote', text)
                file.seek(16 << 16)
                file.write(bytes(300000))
    finally:
        subprocess.run([losetup, '-d', device], check=True)
    device = attach('-r')
    try:
        text = bed.run('--disk', f'file={device}', status=1)
        check(device in text and 'readonly=on' in text, 'the refusal does not name the device and the way out', text)
        text = bed.run('--disk', f'file={device},readonly=on', run='head -c 13 /dev/vda; cat /sys/block/vda/ro')
        check('from the host1' in text, 'a read-only device is not read, or not read-only', text)
    finally:
        subprocess.run([losetup, '-d', device], check=True)


def receive(port, size):
    """So many bytes, or those until the other side ends."""
    got = b''
    with socket.create_connection(('127.0.0.1', port), timeout=LIMIT) as peer:
        while len(got) < size:
            try:
                data = peer.recv(65536)
            except ConnectionResetError:
                break
            if not data:
                break
            got += data
    return got


def case_net(bed):
    """An address by DHCP, a page from a server of the host, and a connection from the host into the guest."""
    server = socket.create_server(('127.0.0.1', 0))
    free = socket.create_server(('127.0.0.1', 0))
    port, forward = server.getsockname()[1], free.getsockname()[1]
    free.close()
    answer = os.urandom(300000).hex().encode()

    def serve():
        peer, _ = server.accept()
        peer.recv(4096)
        peer.sendall(b'HTTP/1.0 200 OK\r\n\r\n' + answer)
        peer.close()

    threading.Thread(target=serve, daemon=True).start()
    process = bed.start('--net', f'user,hostfwd=tcp:127.0.0.1:{forward}-:7',
                        run='ip link set eth0 up; udhcpc -i eth0 -n -q -s /bin/true; ip addr add 10.0.2.15/24 dev eth0; '
                            f'wget -q -O x http://10.0.2.2:{port}/; wc -c < x; cat x | nc -l -p 7')
    try:
        text = wait_for(process, f'{len(answer)}')
        check('lease of 10.0.2.15 obtained' in text, 'no lease', text)
        got, end = b'', time.monotonic() + LIMIT
        while not got and time.monotonic() < end:  # the guest may not listen yet
            got = receive(forward, len(answer))
        check(got == answer, f'{len(got)} bytes came back of {len(answer)}')
    finally:
        stop(process)


def case_reboot(bed):
    """A reboot ends with --no-reboot and starts again without, whichever way the kernel takes."""
    for way in '', 'reboot=k':
        text = bed.run('--no-reboot', append=way, run='reboot -f')
        check('the guest rebooted' in text, 'no line about the reboot', text)
    process = bed.start(append=way, run='reboot -f')
    try:
        wait_for(process, '@init')
        wait_for(process, '@init')
    finally:
        stop(process)


def case_triple_fault(bed):
    """A triple fault is an error with its cause."""
    text = bed.run('--no-reboot', append='reboot=t', run='reboot -f', status=1)
    check('triple fault' in text, 'the cause is not named', text)


def case_signals(bed):
    """SIGTERM presses the power button, again it quits; SIGINT quits."""
    process = bed.start(run='sleep 1000')
    try:
        wait_for(process, '@init')
        process.send_signal(signal.SIGTERM)
        text = wait_for(process, 'power button')
        check(process.poll() is None, 'the first SIGTERM quits', text)
        process.send_signal(signal.SIGTERM)
        check(process.wait(LIMIT) == 128 + signal.SIGTERM, f'status {process.returncode}')
    finally:
        stop(process)
    process = bed.start(run='sleep 1000')
    try:
        wait_for(process, '@init')
        process.send_signal(signal.SIGINT)
        check(process.wait(LIMIT) == 128 + signal.SIGINT, f'status {process.returncode}')
    finally:
        stop(process)


def case_power_button(bed):
    """SIGTERM is the guest's power button: its driver gives one key press, which the guest takes as a wish to end."""
    bed.make_initrd('button', 'evdev')
    # struct input_event behind its time: EV_KEY, KEY_POWER, pressed
    process = bed.start(run='exec 3</dev/input/event0; cat /sys/class/input/event0/device/name; echo wait; '
                            'dd bs=24 count=1 <&3 2>/dev/null | od -An -tx2 -j16 -N8')
    try:
        text = wait_for(process, 'wait\r\n')
        check('Power Button' in text, 'the first input device is no power button', text)
        process.send_signal(signal.SIGTERM)
        text = process.communicate(timeout=LIMIT)[0].decode('utf-8', 'replace')
        check(re.search(r'^ *0001 0074 0001 0000\r', text, re.M), 'no press of the power key', text)
        check(process.returncode == 0, f'status {process.returncode}', text)
    finally:
        stop(process)


def case_stop(bed):
    """A Linux that reads its disk all the time is stopped and goes on, reset, and switched off, over QMP."""
    path = f'{bed.folder}/qmp'
    bed.make_initrd('button', 'evdev')
    process = bed.start('--disk', bed.disk, '--cpus', '2', '--qmp', f'unix:{path}',
                        run='exec 3</dev/input/event0; while dd if=/dev/vda of=/dev/null bs=64k 2>/dev/null; do :; done & '
                            'sleep 2; echo it-goes-on; dd bs=24 count=1 <&3 2>/dev/null | wc -c')
    try:
        wait_for(process, '@init')
        check_mappings(process)
        client = qmp.Client(path)
        for again in range(20):
            client.run('stop')
            check(client.run('query-status')['status'] == 'paused', 'not paused')
            time.sleep(0.05 if again else 3)
            client.run('cont')
        text = wait_for(process, 'it-goes-on')
        check('lockup' not in text and 'stall' not in text, 'the guest noticed', text)
        # Without waiting: commands do not run into each other while the queues are drained.
        names = ['stop', 'cont'] * 100 + ['stop', 'system_reset', 'cont']
        client.send(b''.join(b'{"execute":"%s"}' % name.encode() for name in names))
        check([client.answer() for _ in names] == [{'return': {}} for _ in names], 'not all are answered')
        text = wait_for(process, 'it-goes-on')
        check('@init' in text, 'no other start', text)
        client.run('system_powerdown')
        text = process.communicate(timeout=LIMIT)[0].decode('utf-8', 'replace')
        check('24\r\n' in text and process.returncode == 0, f'status {process.returncode}', text)
        check([event['event'] for event in client.events if event['event'] not in ('STOP', 'RESUME')] == ['RESET', 'POWERDOWN'],
              'other events', str(client.events))
    finally:
        stop(process)


def case_cpu(bed):
    """A model, features more and less, and how processors are arranged: what Linux finds."""
    def found(*options):
        text = bed.run(*options, run='cat /proc/cpuinfo')
        return {key.strip(): value.strip() for key, value in re.findall(r'^([\w ]+)\t*: (.*)\r$', text, re.M)}, text

    info, text = found('--cpu', 'Nehalem,+avx,+xsave,-popcnt', '--smp', '4,cores=2,threads=2')
    flags = info['flags'].split()
    check(info['vendor_id'] == 'GenuineIntel' and 'Nehalem' in info['model name'] and info['model'] == '26', 'another model', text)
    check('sse4_2' in flags and 'avx' in flags and not {'popcnt', 'avx2', 'fma'} & set(flags), 'other features', info['flags'])
    check(info['siblings'] == '4' and info['cpu cores'] == '2' and text.count('processor\t') == 4, 'another arrangement', text)
    info, text = found('--cpu', 'EPYC-Rome', '--smp', 'sockets=2,cores=3')
    check('EPYC-Rome' in info['model name'] and info['cpu cores'] == '3' and info['physical id'] == '1' and info['apicid'] == '6',
          'not two packages of three cores', text)
    info, text = found('--cpu', 'host,-avx')
    check(not {'avx', 'avx2', 'avx512f'} & set(info['flags'].split()), 'AVX is there', info['flags'])


def case_rejected(bed):
    """One line that names the cause, and a status that is not 0."""
    empty, notes = f'{bed.folder}/empty', f'{bed.folder}/notes'
    open(empty, 'wb').close()
    with open(notes, 'wb') as file:
        file.write(b'not a kernel ' * 10000)
    base = [bed.program, '--accel', 'soft', '--console', f'file:{bed.folder}/log']
    pc = ['--machine', 'pc']
    table = [
        ([], '--kernel is missing; give --kernel FILE'),
        (['--kernel', '/no/such'], "--kernel: cannot read '/no/such': No such file or directory"),
        (['--kernel', bed.kernel, '--initrd', '/no/such'], "--initrd: cannot read '/no/such': No such file or directory"),
        (['--kernel', bed.kernel, '--disk', 'file=/no/such'], "cannot open disk '/no/such': No such file or directory"),
        (['--kernel', bed.kernel, '--disk', f'file={empty}'], f"disk '{empty}' is empty"),
        (['--kernel', bed.kernel, '--disk', f'file={bed.disk},format=auto'], "is for disks that the guest does not write"),
        (['--kernel', bed.kernel, '--disk', f'file={bed.disk}', '--disk', f'file={bed.disk}'],
         f"disk '{bed.disk}' is open for writing in another process"),
        (['--kernel', bed.kernel, '--net', 'user,hostfwd=tcp:1'], "hostfwd 'tcp:1': a part is missing"),
        (['--kernel', bed.kernel, '--disk', 'file=x,nocache=on'], "--disk: unknown key 'nocache'"),
        (['--kernel', bed.kernel, '--console', 'file:/no/such/log'], '--console: given twice'),
        (['--kernel', bed.kernel, '--cpu', 'Pentium9'], "--cpu: there is no model 'Pentium9'"),
        (['--kernel', bed.kernel, '--cpu', 'host,+turbo'], "--cpu: there is no feature 'turbo'"),
        (['--kernel', bed.kernel, '--cpu', 'host,avx'], "--cpu: 'avx' is not +feature, -feature or feature=on|off"),
        (['--kernel', bed.kernel, '--cpu', 'host,+amx-tile'], 'has no amx-tile'),
        (['--kernel', bed.kernel, '--smp', '4,cores=3'], 'sockets 1, cores 3, threads 1 do not make 4 processors'),
        (['--kernel', bed.kernel, '--smp', '4', '--cpus', '2'], '--smp: cpus=4, and --cpus 2'),
        (['--kernel', bed.kernel, '--device', 'teapot'], "--device teapot: 'teapot' is not a valid device model name"),
        (['--kernel', bed.kernel, '--device', 'nvme'], "--device nvme: 'nvme' is a part of the machine, which --disk (bus=)"),
        (['--kernel', bed.kernel, '--firmware', 'bios'], '--firmware: machine \'micro\' has no firmware; give --machine pc'),
        (['--kernel', bed.kernel, '--net', 'user,bootindex=1'], "--net: bootindex is for --machine pc: 'micro' boots a kernel"),
        (pc + ['--nvram', 'x'], '--nvram: a BIOS has no variables; give --firmware uefi'),
        (pc + ['--firmware', '/no/such'], "--firmware: cannot read '/no/such': No such file or directory"),
        (pc + ['--firmware', empty], f"firmware '{empty}' has 0 bytes: not a multiple of 4 KiB up to 16 MiB"),
        (pc + ['--firmware', notes, '--nvram', '/no/such'], f"--nvram: '/no/such' is not there, and beside '{notes}' is nothing"),
        (pc + ['--boot', 'ca'], "--boot: order: 'ca' is not valid; give some of c (disks), d (CD-ROM drives), n (network)"),
        (pc + ['--fw-cfg', 'opt/x'], "--fw-cfg: 'opt/x' has no content, or two; give file=PATH or string=TEXT"),
        (pc + ['--fw-cfg', 'etc/e820,string=x'], "--fw-cfg: there is a file 'etc/e820' already; give another name"),
        (pc + ['--smbios', 'type=1,vendor=x'], "--smbios: type 1 has no 'vendor'"),
        (pc + ['--net', 'none,bootindex=1', '--net', 'none,bootindex=1'], '--net: bootindex 1 is given twice'),
        (pc + ['--append', 'x'], '--initrd and --append are for a kernel; give --kernel FILE as well'),
        (pc + ['--kernel', notes], f"--kernel: '{notes}' is not a bzImage, the kernel that firmware can load"),
        (['--kernel', notes], notes),
        (['--kernel', empty], empty),
    ]
    for options, message in table:
        done = subprocess.run(base + options, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT, check=False)
        text = done.stderr.decode()
        lines = [line for line in text.splitlines() if 'software KVM' not in line]
        check(done.returncode == 1 and len(lines) == 1 and lines[0].startswith('kv-vmm: ') and message in lines[0],
              f'{options}: status {done.returncode}, wanted "{message}"', text)


def on_terminal(command):
    """A process on a terminal of its own: it, the terminal's two ends, and the terminal's settings before it started."""
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    return process, master, slave, before


def read_until(fd, what):
    text, end = '', time.monotonic() + LIMIT
    while what not in text:
        ready, _, _ = select.select([fd], [], [], max(0, end - time.monotonic()))
        check(ready, f'no "{what}"', text)
        text += os.read(fd, 65536).decode('utf-8', 'replace')
    return text


def until_heard(say, fd, what):
    """Says it again until it comes back: what is said before the guest listens is lost."""
    text, end = b'', time.monotonic() + LIMIT
    while what not in text:
        check(time.monotonic() < end, f'no "{what}"', text.decode(errors='replace'))
        say()
        while what not in text and select.select([fd], [], [], 1)[0]:
            text += os.read(fd, 65536)


def case_terminal(bed):
    """Keys reach the guest, Ctrl-A X leaves, and the terminal is as before; after a crash as well."""
    process, master, slave, before = on_terminal(bed.command(run='sh < /dev/console > /dev/console 2>&1'))
    try:
        read_until(master, '@init')
        check(not termios.tcgetattr(slave)[3] & termios.ICANON, 'the terminal is not raw')
        until_heard(lambda: os.write(master, b'echo $((6*7))-there\n'), master, b'42-there')
        os.write(master, b'\x01x')
        check(process.wait(LIMIT) == 0, f'Ctrl-A X ends with status {process.returncode}')
        check(termios.tcgetattr(slave) == before, 'the terminal is not restored')
    finally:
        stop(process)
    process, master, slave, before = on_terminal(bed.command(run='sleep 1000'))
    try:
        read_until(master, '@init')
        process.send_signal(signal.SIGABRT)
        process.wait(LIMIT)
        check(termios.tcgetattr(slave) == before, 'the terminal is not restored after a crash')
    finally:
        stop(process)


def case_consoles(bed):
    """The serial port in a file, on a socket, and on a pseudo terminal."""
    log, path = f'{bed.folder}/console.log', f'{bed.folder}/console'
    bed.run('--console', f'file:{log}', run='echo to-the-file')
    with open(log, encoding='utf-8', errors='replace') as file:
        text = file.read()
    check('to-the-file' in text, 'not in the file', text)
    bed.run('--virtio-console', f'file:{log}', run='echo over-hvc > /dev/hvc0')
    with open(log, encoding='utf-8', errors='replace') as file:
        text = file.read()
    check('over-hvc' in text, 'not on the virtio console', text)
    process = bed.start('--console', f'unix:{path}', run='cat /dev/ttyS0')
    try:
        with socket.socket(socket.AF_UNIX) as peer:
            end = time.monotonic() + LIMIT
            while peer.connect_ex(path) != 0:
                check(time.monotonic() < end, 'no socket')
                time.sleep(0.05)
            peer.settimeout(LIMIT)
            text = b''
            while b'@init' not in text:
                text += peer.recv(4096)
            until_heard(lambda: peer.sendall(b'hello guest\n'), peer.fileno(), b'hello guest')
    finally:
        stop(process)
    process = bed.start('--console', 'pty', run='sleep 1; while :; do echo on-the-pty; sleep 1; done')
    try:
        text = wait_for(process, '\n')
        while '/dev/pts/' not in text:
            text += wait_for(process, '\n')
        fd = os.open(re.search(r'/dev/pts/\d+', text)[0], os.O_RDWR | os.O_NOCTTY)
        read_until(fd, 'on-the-pty')
        os.close(fd)
    finally:
        stop(process)


def connect(path):
    peer, end = socket.socket(socket.AF_UNIX), time.monotonic() + LIMIT
    while peer.connect_ex(path) != 0:
        check(time.monotonic() < end, f'nobody listens on {path}')
        time.sleep(0.05)
    peer.settimeout(LIMIT)
    return peer


def case_channel(bed):
    """A program in the guest and one outside talk through a port with a name; QMP tells when it is opened and closed."""
    port, control = f'{bed.folder}/port', f'{bed.folder}/qmp'
    script = ('port=/dev/$(grep -l org.kvasir.test /sys/class/virtio-ports/*/name | cut -d / -f 5); exec 3<>$port; '
              'echo from the guest >&3; head -n 1 <&3; exec 3>&-; echo over-hvc >/dev/hvc0; echo closed-it; cat $port | md5sum')
    process = bed.start('--virtio-console', f'file:{bed.folder}/hvc', '--channel', f'unix:{port},name=org.kvasir.test,id=agent',
                        '--qmp', f'unix:{control}', run=script)
    try:
        with connect(control) as client, connect(port) as peer:
            client.sendall(b'{"execute": "qmp_capabilities"}')
            check(peer.recv(100) == b'from the guest\n', 'another line from the guest')
            peer.sendall(b'from the host\n')
            wait_for(process, 'closed-it')
            data = os.urandom(300000)
            peer.sendall(data)
            peer.close()
            wait_for(process, hashlib.md5(data).hexdigest())
            check(process.wait(LIMIT) == 0, f'exit status {process.returncode}')
            events = b''
            while b'SHUTDOWN' not in events:
                events += client.recv(65536)
        told = [json.loads(line) for line in events.splitlines() if b'VSERPORT_CHANGE' in line]
        check([event['data'] for event in told] == [{'id': 'agent', 'open': n % 2 == 0} for n in range(4)], 'events', str(told))
        with open(f'{bed.folder}/hvc', encoding='utf-8') as file:
            check('over-hvc' in file.read(), 'not on the virtio console')
    finally:
        stop(process)


def case_locks(bed):
    """QEMU and kv-vmm keep each other off a disk that one of them writes; both may read."""
    if not shutil.which('qemu-system-x86_64'):
        raise Skipped('no qemu-system-x86_64')

    def qemu(mode, **keys):
        return subprocess.Popen(['qemu-system-x86_64', '-M', 'q35', '-accel', 'tcg', '-S', '-nodefaults', '-display', 'none',
                                 '-monitor', 'stdio', '-drive', f'file={bed.disk},format=raw,if=virtio,readonly={mode}'],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **keys)

    def starts(mode):
        process = qemu(mode)
        text = process.communicate(b'quit\n', timeout=LIMIT)[0]
        check(process.returncode == 0 or b'lock' in text, 'QEMU ends for another reason', text.decode())
        return process.returncode == 0

    for mode in 'on', 'off':
        process = bed.start('--disk', f'file={bed.disk},readonly={mode}', run='sleep 1000')
        try:
            wait_for(process, '@init')
            check(not starts('off'), f'QEMU writes beside a kv-vmm with readonly={mode}')
            check(starts('on') == (mode == 'on'), f'QEMU reads beside a kv-vmm with readonly={mode}: not as it should')
        finally:
            stop(process)
    for mode, message in ('off', 'is open for writing in another process'), ('on', 'is in use by another process'):
        other = qemu(mode)
        try:
            # The prompt comes before the disk is open; an answer comes after.
            other.stdin.write(b'info block\n')
            other.stdin.flush()
            wait_for(other, 'Attached to')
            check(message in bed.run('--disk', f'file={bed.disk}', status=1), 'kv-vmm writes beside QEMU')
            text = bed.run('--disk', f'file={bed.disk},readonly=on', status=0 if mode == 'on' else 1)
            check(mode == 'on' or message in text, 'another message', text)
        finally:
            stop(other)


def main():
    program, root, *names = sys.argv[1:]
    return cases.run(globals(), names, lambda folder: Bed(os.path.abspath(program), root, folder))


if __name__ == '__main__':
    sys.exit(main())
