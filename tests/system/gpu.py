#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Screens of virtio's GPU as firmware, GRUB and Linux's driver have them, beside QEMU's virtio-vga.
usage: gpu.py KV-VMM SOURCE-ROOT CASE...   Exit status 77: something needed is not installed."""
import glob
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'interop'))
import cases  # noqa: E402
import qmp  # noqa: E402
from cases import Skipped, check  # noqa: E402

LIMIT = 150
# Fills the screen, tells about the connectors, and then of each new size.
GUEST = r'''printf '\033[2J\033[H' > /dev/tty1
seq 1 40 | sed 's/$/: the quick brown fox jumps over the lazy dog/' > /dev/tty1
for c in /sys/class/drm/card0-Virtual-*; do
	echo "@connector $(cat $c/status) $(head -n 1 $c/modes) $(od -An -v -tx1 $c/edid | tr -d ' \n')"
done
echo @ready
while :; do
	for c in 1 2; do
		new=$(head -n 1 /sys/class/drm/card0-Virtual-$c/modes 2>/dev/null)
		[ "$new" = "$(cat /tmp/$c 2>/dev/null)" ] || echo "@size $c $new"
		echo "$new" > /tmp/$c
	done
	sleep 0.2
done
'''
LINE = 'console=ttyS0 quiet panic=-1 vt.global_cursor_default=0 kv.run="sh /tmp/gpu-guest"'
KEYS = [{'type': 'qcode', 'data': 'ret'}]


class Bed:
    modules = ('virtio_gpu',)

    def __init__(self, program, root, folder, guest=GUEST):
        self.program, self.root, self.folder = program, root, folder
        kernels = sorted(glob.glob('/boot/vmlinuz-*[0-9]-amd64'))
        if not kernels or not os.access(kernels[-1], os.R_OK):
            raise Skipped('no kernel for all hardware in /boot (linux-image-amd64)')
        for tool in 'cpio', 'busybox':
            if not shutil.which(tool):
                raise Skipped(f'no {tool}')
        self.kernel, self.initrd = kernels[-1], f'{folder}/initrd'
        script = f'{folder}/gpu-guest'
        with open(script, 'w', encoding='utf-8') as file:
            file.write(guest)
        options = [word for module in self.modules for word in ('-m', module)]
        subprocess.run([f'{root}/tools/make-initrd', '-k', *options, '-c', script, self.initrd], check=True)
        self.line = LINE.replace('/tmp/gpu-guest', script)

    def boot_disk(self):
        for needed in '/usr/bin/grub-mkimage', '/usr/bin/mformat':
            if not os.path.exists(needed):
                raise Skipped(f'no {needed}')
        path = f'{self.folder}/boot'
        subprocess.run([f'{self.root}/tools/make-boot-disk', '-r', '-s', path, self.kernel, self.initrd, self.line], check=True)
        return path

    def start(self, name, *options):
        return Machine(self.folder, name, [self.program, '--accel', 'soft', '--memory', '512M', '--quiet', '--console',
                                           f'file:{self.folder}/{name}.log', '--qmp', f'unix:{self.folder}/{name}', *options])

    def start_kernel(self, name, *options):
        return self.start(name, '--kernel', self.kernel, '--initrd', self.initrd, '--append', self.line, *options)


class Machine(qmp.Process):
    """Its console is a file beside its QMP socket."""

    def __init__(self, folder, name, command):
        super().__init__(command, f'{folder}/{name}')
        self.log, self.picture = f'{folder}/{name}.log', f'{folder}/{name}.ppm'
        try:
            self.qmp = self.client()
        except BaseException:
            self.__exit__()
            raise

    def text(self):
        if not os.path.exists(self.log):
            return ''
        with open(self.log, 'rb') as file:
            return file.read().decode(errors='replace').replace('\r', '')

    def wait_text(self, text):
        end = time.monotonic() + LIMIT
        while text not in self.text():
            check(self.process.poll() is None, 'it has ended', self.text()[-2000:])
            check(time.monotonic() < end, f'no "{text}" on the console', self.text()[-2000:])
            time.sleep(0.1)
        return self.text()

    def dump(self, **what):
        """Width, height, RGB."""
        self.qmp.run('screendump', filename=self.picture, **what)
        with open(self.picture, 'rb') as file:
            kind, size, depth, pixels = file.read().split(b'\n', 3)
        width, height = map(int, size.split())
        check((kind, depth, len(pixels)) == (b'P6', b'255', width * height * 3), 'not a picture')
        return width, height, pixels


def until(what, condition):
    end = time.monotonic() + LIMIT
    while not condition():
        check(time.monotonic() < end, what)
        time.sleep(0.3)


def colors(picture):
    pixels = picture[2]
    return len(set(pixels[i:i + 3] for i in range(0, len(pixels), 3)))


def same_pictures(what, ours, theirs, apart=0):
    """Soon: cursors blink, and one is later than the other. apart: of a part of a pixel, since a VGA's six bits become eight in
    more than one way."""
    def same():
        a, b = ours.dump(), theirs.dump()
        return a[:2] == b[:2] and colors(a) > 1 and not any(abs(x - y) > apart for x, y in zip(a[2], b[2]))
    until(f'{what}: another picture than QEMU\'s ({ours.picture}, {theirs.picture})', same)


class Viewer:
    """A VNC viewer that knows of desktop sizes (RFB: rfbproto's extended desktop size, encoding -308)."""

    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(LIMIT)
        self.s.connect(path)
        for expect, send in ((12, b'RFB 003.008\n'), (2, b'\1'), (4, b'\1')):
            self.read(expect)
            self.s.sendall(send)
        self.size = struct.unpack('>HH', self.read(4))
        self.read(16)
        self.read(int.from_bytes(self.read(4), 'big'))
        self.s.sendall(struct.pack('>BBHi', 2, 0, 1, -308))

    def read(self, n):
        data = b''
        while len(data) < n:
            more = self.s.recv(n - len(data))
            check(more, 'the VNC server hangs up')
            data += more
        return data

    def wish(self, width, height):
        self.s.sendall(struct.pack('>BBHHBBIHHHHI', 251, 0, width, height, 1, 0, 0, 0, 0, width, height, 0))


def check_connectors(text, count, size):
    found = re.findall(r'^@connector connected (\S+) ([0-9a-f]+)$', text, re.M)
    check([mode for mode, _ in found] == [size] * count, 'other connectors', text[-3000:])
    for _, edid in found:
        data = bytes.fromhex(edid)
        check(len(data) == 128 and sum(data) % 256 == 0 and data[:8] == b'\0\xff\xff\xff\xff\xff\xff\0', 'no EDID', edid)
        check(f'{data[56] | data[58] >> 4 << 8}x{data[59] | data[61] >> 4 << 8}' == size, 'another timing', edid)
    check(len(set(edid for _, edid in found)) == count, 'EDIDs that are the same', found)


def case_bios(bed):
    """SeaBIOS's and GRUB's text and Linux's console are what QEMU shows; two screens; a size that a viewer wishes; a saved machine."""
    if not shutil.which('qemu-system-x86_64'):
        raise Skipped('no qemu-system-x86_64')
    disk, saved = bed.boot_disk(), f'{bed.folder}/saved'
    options = ('--machine', 'pc', '--vga', 'virtio,max_outputs=2', '--disk', f'{disk},bus=sata,snapshot=on', '--vnc')
    other = ('--vnc', f'unix:{bed.folder}/second,display=vga,head=1,password=on')
    qemu = ['qemu-system-x86_64', '-machine', 'q35', '-accel', 'tcg', '-m', '512', '-display', 'none', '-nodefaults', '-vga', 'virtio',
            '-qmp', f'unix:{bed.folder}/q,server=on,wait=off', '-serial', f'file:{bed.folder}/q.log',
            '-drive', f'file={disk},format=raw,if=none,id=d,snapshot=on', '-device', 'ide-hd,drive=d']
    with bed.start('k', *options, f'unix:{bed.folder}/vnc', *other) as ours, Machine(bed.folder, 'q', qemu) as theirs:
        for m in ours, theirs:
            m.wait_text('grub: pc')
        same_pictures('GRUB', ours, theirs, 3)
        for m in ours, theirs:
            m.qmp.run('send-key', keys=KEYS)
        for m in ours, theirs:
            m.wait_text('@ready')
        same_pictures('Linux', ours, theirs)
        check_connectors(ours.text(), 2, '1280x800')
        check(ours.dump(device='vga', head=1) == ours.dump(), 'two screens that are not the same')
        answer = ours.qmp.ask({'execute': 'screendump', 'arguments': {'filename': ours.picture, 'device': 'vga', 'head': 2}})
        check('error' in answer, 'a third screen', answer)
        theirs.process.kill()
        viewer = Viewer(f'{bed.folder}/vnc')
        check(viewer.size == (1280, 800), 'another size for the viewer', viewer.size)
        viewer.wish(1000, 704)
        ours.wait_text('@size 1 1000x704')
        until('the screen keeps its size', lambda: ours.dump()[:2] == (1000, 704))
        servers = ours.qmp.run('query-vnc-servers')
        check([(s['id'], s['server'][0]['service'], s['auth'], len(s['clients']), s.get('display')) for s in servers] ==
              [('default', f'{bed.folder}/vnc', 'none', 1, None), ('vnc2', f'{bed.folder}/second', 'vnc', 0, 'vga')], 'other servers',
              servers)
        answer = ours.qmp.ask({'execute': 'set_password', 'arguments': {'protocol': 'vnc', 'password': 'x'}})
        check('error' in answer, 'the first server has a password', answer)
        ours.qmp.run('set_password', protocol='vnc', password='', display='vnc2')
        before = ours.dump(), ours.dump(device='vga', head=1)
        ours.qmp.run('migrate', uri=f'file:{saved}')
        until('it is not saved', lambda: ours.qmp.run('query-migrate').get('status') == 'completed')
    with bed.start('again', *options, f'unix:{bed.folder}/vnc2,head=1', '--incoming', f'file:{saved}') as again:
        until('it does not run', lambda: again.qmp.run('query-status')['running'])
        check((again.dump(), again.dump(device='vga', head=1)) == before, 'the saved machine has other pictures')
        viewer = Viewer(f'{bed.folder}/vnc2')
        check(viewer.size == before[1][:2], 'another size of the second screen', viewer.size)
        viewer.wish(1152, 720)
        again.wait_text('@size 2 1152x720')
        check('@size 1 1152x720' not in again.text(), 'the first screen has it as well')
        until('the screen keeps its size', lambda: again.dump(device='vga', head=1)[:2] == (1152, 720))


def case_uefi(bed):
    """OVMF and GRUB show themselves, then Linux's driver."""
    if not os.path.exists('/usr/share/ovmf/OVMF.fd'):
        raise Skipped('no /usr/share/ovmf/OVMF.fd')
    with bed.start('k', '--machine', 'pc', '--firmware', 'uefi', '--vga', 'virtio', '--disk', bed.boot_disk()) as ours:
        ours.wait_text('grub: efi')
        until('GRUB shows nothing', lambda: colors(ours.dump()) > 1)
        before = ours.dump()
        ours.qmp.run('send-key', keys=KEYS)
        check_connectors(ours.wait_text('@ready'), 1, '1280x800')
        until('Linux shows nothing', lambda: ours.dump()[:2] == (1280, 800) and ours.dump() != before and colors(ours.dump()) > 1)


def case_cards(bed):
    """Without a VGA: the card of a micro board, of three screens; and a second one that is plugged into a pc."""
    with bed.start_kernel('k', '--device', 'virtio-gpu-pci,id=card,max_outputs=3,xres=800,yres=600') as ours:
        check_connectors(ours.wait_text('@ready'), 3, '800x600')
        until('Linux shows nothing', lambda: colors(ours.dump(device='card', head=2)) > 1)
        check(ours.dump() == ours.dump(device='card', head=2), 'other pictures')
    with bed.start_kernel('h', '--machine', 'pc', '--vga', 'std', '--device', 'pcie-root-port,id=slot') as ours:
        ours.wait_text('@ready')
        ours.qmp.run('device_add', driver='virtio-gpu-pci', id='hot', bus='slot', xres='640', yres='480')
        ours.wait_text('@size 1 640x480')
        until('Linux shows nothing', lambda: 'return' in ours.qmp.ask({'execute': 'screendump', 'arguments': {
            'filename': ours.picture, 'device': 'hot'}}))
        check(ours.dump(device='hot')[:2] == (640, 480) and ours.dump()[0] == 720, 'other sizes')


def main():
    program, root, *names = sys.argv[1:]
    return cases.run(globals(), names, lambda folder: Bed(os.path.abspath(program), root, folder))


if __name__ == '__main__':
    sys.exit(main())
