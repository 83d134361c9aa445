#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Keyboards, pointers and USB as Debian's kernel finds them: what QMP types and clicks arrives as events, in order; disks at the
USB controller; SeaBIOS and GRUB let themselves be typed at.   usage: input.py KV-VMM SOURCE-ROOT EVDEV-LOG CASE...
Exit status 77: something needed is not installed."""
import glob
import hashlib
import importlib
import os
import random
import re
import shutil
import subprocess
import sys

import cases
import qmp
from cases import Skipped, check

kv_vmm = importlib.import_module('kv-vmm')
MODULES = ('xhci_pci', 'usbhid', 'hid_generic', 'evdev', 'usb_storage', 'sd_mod', 'sr_mod', 'psmouse', 'virtio_input')
KEY, REL, ABS, LED = 1, 2, 3, 17
SHIFT, A, SCROLL, PAUSE, PRINT, F12, LEFT, SIDE = 42, 30, 70, 119, 99, 88, 0x110, 0x113


class Bed(kv_vmm.Bed):
    """With the kernel that has drivers for all hardware, and the programs of the test, such as the one that tells events."""
    modules = MODULES

    def __init__(self, program, root, programs, folder):
        self.programs = programs
        super().__init__(program, root, folder)
        kernels = sorted(glob.glob('/boot/vmlinuz-*[0-9]-amd64'))
        if not kernels or not os.access(kernels[-1], os.R_OK):
            raise Skipped('no kernel for all hardware in /boot (linux-image-amd64)')
        self.kernel = kernels[-1]

    def make_initrd(self, *modules):
        options = [word for module in self.modules for word in ('-m', module)]
        subprocess.run([f'{self.root}/tools/make-initrd', '-k', *options, self.initrd, *self.programs], check=True)


def comes(*names):
    """What a guest does until its kernel has found these devices."""
    return ''.join(f"until grep -q '{name}' /proc/bus/input/devices; do sleep 0.1; done; " for name in names)


def qcode(*names):
    return [{'type': 'qcode', 'data': name} for name in names]


def abs_event(axis, value):
    return {'type': 'abs', 'data': {'axis': axis, 'value': value}}


def button(name, down):
    return {'type': 'btn', 'data': {'button': name, 'down': down}}


def events(text, device):
    """(type, code, value) of the device's events, in order."""
    return [tuple(map(int, words)) for words in re.findall(f"^event '{device}' (\\d+) (\\d+) (-?\\d+)\r?$", text, re.M)]


def type_and_move(client, absolute):
    """What all keyboards and pointers are sent: shift-a, Scroll Lock, Pause, Print; a move, a click, a turn of the wheel; F12."""
    client.run('send-key', keys=qcode('shift', 'a'), **{'hold-time': 20})
    client.run('send-key', keys=qcode('scroll_lock'), **{'hold-time': 20})
    client.run('send-key', keys=qcode('pause'), **{'hold-time': 20})
    client.run('send-key', keys=qcode('print'), **{'hold-time': 20})
    if absolute:
        client.run('input-send-event', events=[abs_event('x', 0x1234), abs_event('y', 0x7fff)])
    else:
        client.run('input-send-event', events=[{'type': 'rel', 'data': {'axis': 'x', 'value': 5}},
                                               {'type': 'rel', 'data': {'axis': 'y', 'value': -7}}])
    client.run('input-send-event', events=[button('left', True)])
    client.run('input-send-event', events=[button('left', False)])
    client.run('input-send-event', events=[button('wheel-up', True), button('wheel-up', False)])
    client.run('input-send-event', events=[button('side', True)])
    client.run('input-send-event', events=[button('side', False)])


def finish(client, process, text):
    text += kv_vmm.wait_for(process, "eyboard' 17 2 1")  # the light of Scroll Lock, when the kernel has the time for it
    client.run('send-key', keys=qcode('f12'), **{'hold-time': 20})
    text += kv_vmm.wait_for(process, '@exit 0')
    check(process.wait(kv_vmm.LIMIT) == 0, 'it does not end', text)
    return text


WANTED_KEYS = [(KEY, SHIFT, 1), (KEY, A, 1), (KEY, A, 0), (KEY, SHIFT, 0), (KEY, SCROLL, 1), (KEY, SCROLL, 0),
               (KEY, PAUSE, 1), (KEY, PAUSE, 0), (KEY, PRINT, 1), (KEY, PRINT, 0), (KEY, F12, 1), (KEY, F12, 0), (LED, 2, 1)]
CLICKS = [(KEY, LEFT, 1), (KEY, LEFT, 0), (REL, 8, 1), (KEY, SIDE, 1), (KEY, SIDE, 0)]


def keys_of(text, device):
    """Without what the kernel's own repeating adds; lights last, as the kernel sets them when it has the time."""
    found = [event for event in events(text, device) if event[0] in (KEY, LED) and event[2] != 2]
    return sorted(found, key=lambda event: event[0] == LED)


def moves_of(text, device):
    """Without the wheel's finer axis, which not every driver has, and scan codes."""
    return [event for event in events(text, device) if event[:2] != (REL, 11)]


def case_usb(bed):
    """A keyboard, a tablet and a mouse at the USB controller: Linux finds them, and hears of all."""
    path = f'{bed.folder}/qmp'
    process = bed.start('--device', 'usb-kbd', '--device', 'usb-mouse', '--device', 'usb-tablet,id=pen', '--qmp', f'socket=unix:{path}',
                        run=comes('Kvasir USB Keyboard', 'Kvasir USB Mouse', 'Kvasir USB Tablet') + '/bin/evdev-log')
    try:
        text = kv_vmm.wait_for(process, 'listening')
        check("device 'Kvasir USB Tablet' 32767" in text, 'no tablet', text)
        client = qmp.Client(path)
        mice = client.run('query-mice')
        check(mice[0] == {'name': 'USB Tablet', 'index': 0, 'current': True, 'absolute': True}, 'not the tablet', mice)
        type_and_move(client, True)
        client.run('input-send-event', events=[{'type': 'rel', 'data': {'axis': 'x', 'value': 9}}])
        text = finish(client, process, text)
    finally:
        kv_vmm.stop(process)
    check(keys_of(text, 'Kvasir USB Keyboard') == WANTED_KEYS, 'other keys', text)
    check(moves_of(text, 'Kvasir USB Tablet') == [(ABS, 0, 0x1234), (ABS, 1, 0x7fff)] + CLICKS, 'other moves', text)
    check(moves_of(text, 'Kvasir USB Mouse') == [(REL, 0, 9)], 'the mouse does not move', text)


def case_virtio(bed):
    """The same of virtio."""
    path = f'{bed.folder}/qmp'
    process = bed.start('--device', 'virtio-keyboard', '--device', 'virtio-tablet', '--device', 'virtio-mouse', '--qmp',
                        f'socket=unix:{path}', run=comes('Kvasir Virtio Keyboard', 'Kvasir Virtio Tablet', 'Kvasir Virtio Mouse') + '/bin/evdev-log')
    try:
        text = kv_vmm.wait_for(process, 'listening')
        client = qmp.Client(path)
        type_and_move(client, not client.run('query-mice')[0]['name'].endswith('Mouse'))
        text = finish(client, process, text)
    finally:
        kv_vmm.stop(process)
    check(keys_of(text, 'Kvasir Virtio Keyboard') == WANTED_KEYS, 'other keys', text)
    tablet, mouse = moves_of(text, 'Kvasir Virtio Tablet'), moves_of(text, 'Kvasir Virtio Mouse')
    check((tablet, mouse) in [([(ABS, 0, 0x1234), (ABS, 1, 0x7fff)] + CLICKS, []), ([], [(REL, 0, 5), (REL, 1, -7)] + CLICKS)],
          'other moves', text)


def case_usb_disks(bed):
    """Sticks and a CD-ROM drive: what is written is there, a read-only one is one."""
    first, second = f'{bed.folder}/first', f'{bed.folder}/second'
    data = random.Random(2).randbytes(4 << 20)
    for name in first, second:
        with open(name, 'wb') as file:
            file.write(data if name == second else bytes(16 << 20))
    text = bed.run('--disk', f'{first},bus=usb', '--disk', f'{second},bus=usb,readonly=on', '--disk', f'{second},bus=usb,media=cdrom',
                   run='while ! [ -e /dev/sr0 -a -e /dev/sdb ] || [ $(cat /sys/block/sd[ab]/size | grep -c 32768) = 0 ]; do sleep 0.2; done; '
                       'for i in sda sdb; do [ $(cat /sys/block/$i/size) = 32768 ] && a=$i || b=$i; done; '
                       'echo @speed $(cat /sys/bus/usb/devices/2-[123]/speed); echo @ro $(cat /sys/block/$a/ro /sys/block/$b/ro); '
                       'dd if=/dev/$b of=/dev/$a bs=1M conv=fsync 2>/dev/null; echo 3 > /proc/sys/vm/drop_caches; '
                       'echo @back $(dd if=/dev/$a bs=1M count=4 2>/dev/null | md5sum); echo @disc $(md5sum < /dev/sr0)')
    got = dict(re.findall(r'^@(\S+) (.*?)\r?$', text, re.M))
    md5 = hashlib.md5(data).hexdigest()
    check(got.get('speed') == '5000 5000 5000' and got.get('ro') == '0 1', 'other disks', text)
    check(got['back'].startswith(md5) and got['disc'].startswith(md5), 'other contents', text)
    with open(first, 'rb') as file:
        check(file.read(len(data)) == data, 'the file is not what the guest wrote')


def boot_from_disk(bed, disk, path, *options):
    command = [bed.program, '--accel', 'soft', '--memory', '512M', '--machine', 'pc', '--firmware', '/usr/share/seabios/bios-256k.bin',
               '--qmp', f'socket=unix:{path}', '--disk', f'{disk},bus=usb', *options]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def case_ps2(bed):
    """A PC with a PS/2 keyboard and mouse boots from a USB stick: GRUB reads a line by SeaBIOS, Linux hears of all."""
    firmware = '/usr/share/seabios/bios-256k.bin'
    for needed in firmware, '/usr/bin/grub-mkimage', '/usr/bin/mformat':
        if not os.path.exists(needed):
            raise Skipped(f'no {needed}')
    disk, path = f'{bed.folder}/boot', f'{bed.folder}/qmp'
    line = f'console=ttyS0 quiet panic=-1 kv.run="{comes("AT Translated Set 2 keyboard", "ImExPS/2 Generic Explorer Mouse")}/bin/evdev-log"'
    subprocess.run([f'{bed.root}/tools/make-boot-disk', '-r', disk, bed.kernel, bed.initrd, line], check=True)
    process = boot_from_disk(bed, disk, path)
    try:
        text = kv_vmm.wait_for(process, 'grub: pc')
        client = qmp.Client(path)
        for name in 'k', 'v', 'a', 's', 'i', 'r', 'minus', '2', 'ret':
            client.run('send-key', keys=qcode(name), **{'hold-time': 50})
        text += kv_vmm.wait_for(process, 'listening')
        check('typed: kvasir-2' in text, 'GRUB was not typed at', text)
        check('ImExPS/2 Generic Explorer Mouse' in text and 'AT Translated Set 2 keyboard' in text, 'other devices', text)
        check(client.run('query-mice')[0]['name'] == 'PS/2 mouse', 'another mouse')
        type_and_move(client, False)
        text = finish(client, process, text)
    finally:
        kv_vmm.stop(process)
    check(keys_of(text, 'AT Translated Set 2 keyboard') == WANTED_KEYS, 'other keys', text)
    moves = moves_of(text, 'ImExPS/2 Generic Explorer Mouse')
    check(moves == [(REL, 0, 5), (REL, 1, -7)] + CLICKS, 'other moves', text)


def main():
    program, root, log, *names = sys.argv[1:]
    if not shutil.which('modprobe', path=os.environ['PATH'] + ':/usr/sbin:/sbin'):
        print('skipped: no modprobe')
        return 77
    return cases.run(globals(), names, lambda folder: Bed(os.path.abspath(program), root, (log,), folder))


if __name__ == '__main__':
    sys.exit(main())
