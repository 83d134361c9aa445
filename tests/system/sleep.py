#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's kernel on a pc sleeps (S3) and is woken: by QMP, by its clock, by a key, and in another process that a sleeping machine
was saved for. Memory, disks, network, USB and screen are as before each time, and the guest is powered off in the end.
usage: sleep.py KV-VMM SOURCE-ROOT bios|uefi. Exit status 77: something needed is not installed."""
import glob
import hashlib
import http.server
import os
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'interop'))
import cases  # noqa: E402
import qmp  # noqa: E402
from cases import Skipped, check  # noqa: E402

LIMIT = 240
FIRMWARE = {'bios': '/usr/share/seabios/bios-256k.bin', 'uefi': '/usr/share/OVMF/OVMF_CODE.fd'}
MODULES = 'ahci', 'sd_mod', 'xhci_pci', 'usbhid', 'hid-generic', 'bochs', 'psmouse'
WAKES = 4
# After each sleep: what memory and disks have, that they can be written, the network and how many USB devices there are.
GUEST = '''
ip addr add 10.0.2.15/24 dev eth0
cat /sys/power/mem_sleep
dd if=/dev/urandom of=/tmp/memory bs=1M count=8 2>/dev/null
before=$(md5sum </tmp/memory)
i=0
while [ $i -lt %(wakes)d ]; do
	[ $i != 1 ] || { echo 0; echo +3; } | while read t; do echo $t >/sys/class/rtc/rtc0/wakealarm; done
	echo mem >/sys/power/state || echo "@no sleep"
	i=$((i + 1))
	[ "$(md5sum </tmp/memory)" = "$before" ] && echo "@memory $i"
	for disk in vda sda; do
		echo 3 >/proc/sys/vm/drop_caches
		dd if=/dev/$disk bs=1M count=1 2>/dev/null | md5sum
		tr '\\0' "$i" </dev/zero | dd of=/dev/$disk bs=1M iflag=fullblock seek=$i count=1 conv=fsync 2>/dev/null && echo "@$disk $i"
	done
	wget -q -O - http://10.0.2.2:%(port)d/ | grep -q kvasir && echo "@network $i"
	echo "@usb $(ls /sys/bus/usb/devices | wc -l) fb $(cat /sys/class/graphics/fb0/virtual_size)"
	echo "@cpus $(nproc)"
done
dmesg | grep -E 'ACPI Error|BUG:|WARNING:|Oops' || echo "@clean"
'''


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'kvasir\n')

    def log_message(self, *what):
        pass


class Bed:
    def __init__(self, program, root, firmware, folder):
        self.program, self.firmware, self.folder, self.runs = program, firmware, folder, 0
        kernels = sorted(glob.glob('/boot/vmlinuz-*[0-9]-amd64'))
        if not kernels or not os.path.exists(FIRMWARE[firmware]):
            raise Skipped(f'no kernel of linux-image-amd64, or no {FIRMWARE[firmware]}')
        self.kernel = kernels[-1]
        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        with open(f'{folder}/guest.sh', 'w', encoding='ascii') as file:
            file.write(GUEST % {'wakes': WAKES, 'port': self.server.server_port})
        modules = [word for name in MODULES for word in ('-m', name)]
        if subprocess.run([f'{root}/tools/make-initrd', '-k', *modules, '-c', f'{folder}/guest.sh', f'{folder}/initrd'],
                          check=False).returncode:
            raise Skipped('tools/make-initrd failed')
        self.first = os.urandom(1 << 20)
        for name in 'vda', 'sda':
            with open(f'{folder}/{name}', 'wb') as file:
                file.write(self.first)
                file.truncate(16 << 20)

    def start(self, *more):
        """The command of kv.run ends in a comment: UEFI firmware adds to the line."""
        self.runs += 1
        path = f'{self.folder}/qmp{self.runs}'
        return qmp.Process([self.program, '--accel', 'soft', '--machine', 'pc', '--firmware', self.firmware, '--cpus', '2', '--memory',
                            '384M', '--kernel', self.kernel, '--initrd', f'{self.folder}/initrd', '--append',
                            f'console=ttyS0 quiet kv.run="sh {self.folder}/guest.sh #"', '--console',
                            f'file:{self.folder}/console{self.runs}', '--disk', f'file={self.folder}/vda', '--disk',
                            f'file={self.folder}/sda,bus=sata', '--net', 'user', '--device', 'xhci', '--device', 'usb-kbd', '--qmp',
                            f'unix:{path}', *more], path)

    def console(self):
        text = ''
        for run in range(1, self.runs + 1):
            with open(f'{self.folder}/console{run}', 'rb') as file:
                text += file.read().decode(errors='replace').replace('\r', '')
        return text

    def expect(self, *lines):
        for line in lines:
            check(line in self.console().split('\n'), f'the guest does not say "{line}"', self.console()[-4000:])


def asleep(client):
    client.event('SUSPEND')
    check(client.run('query-status') == {'status': 'suspended', 'singlestep': False, 'running': False}, 'another status')
    check('running' not in [event['event'] for event in client.events], 'events in its sleep')


def woken(client, how):
    if how:
        how()
    client.event('WAKEUP')
    check(client.run('query-status')['status'] == 'running', 'it does not run')


def save(bed, client):
    """A machine that sleeps is somewhere else, and sleeps there."""
    client.run('migrate', uri=f'file:{bed.folder}/saved')
    end = time.monotonic() + LIMIT
    while client.run('query-migrate').get('status') != 'completed':
        check(time.monotonic() < end, 'it is not saved', client.run('query-migrate'))
        time.sleep(0.05)
    client.run('quit')


def run(bed):
    with bed.start() as vmm:
        client = vmm.client()
        client.socket.settimeout(LIMIT)
        check(client.run('query-current-machine') == {'wakeup-suspend-support': True}, 'it says that it cannot sleep')
        error = client.ask({'execute': 'system_wakeup'})['error']
        check(error == {'class': 'GenericError', 'desc': 'Unable to wake up: guest is not in suspended state'}, 'another', error)
        asleep(client)
        client.run('cont')
        client.run('stop')
        check(client.run('query-status')['status'] == 'paused', 'it is not stopped')
        client.run('cont')
        check(client.run('query-status')['status'] == 'suspended', 'cont wakes it')
        woken(client, lambda: client.run('system_wakeup'))
        asleep(client)
        woken(client, None)
        asleep(client)
        woken(client, lambda: client.run('input-send-event', events=[
            {'type': 'rel', 'data': {'axis': 'x', 'value': 1}}]))
        asleep(client)
        save(bed, client)
        check(vmm.status() == 0, f'status {vmm.process.returncode}')
    with bed.start('--incoming', f'file:{bed.folder}/saved') as vmm:
        client = vmm.client()
        client.socket.settimeout(LIMIT)
        check(client.run('query-status')['status'] == 'suspended', 'it does not sleep where it was loaded')
        woken(client, lambda: client.run('system_wakeup'))
        check(client.event('SHUTDOWN')['data']['reason'] == 'guest-shutdown', 'another end')
        check(vmm.status() == 0, f'status {vmm.process.returncode}')
    bed.expect('s2idle [deep]', '@clean', '@exit 0')
    for i in range(1, WAKES + 1):
        bed.expect(f'@memory {i}', f'@vda {i}', f'@sda {i}', f'@network {i}')
    text = bed.console()
    check(text.count(hashlib.md5(bed.first).hexdigest()) == 2 * WAKES, 'disks have other bytes', text[-4000:])
    check(text.count('@cpus 2') == WAKES and text.count('@usb') == WAKES, 'processors are missing', text[-4000:])
    check(len({line for line in text.split('\n') if line.startswith('@usb')}) == 1, 'USB devices come or go', text[-4000:])
    for name in 'vda', 'sda':
        with open(f'{bed.folder}/{name}', 'rb') as file:
            data = file.read()
        for i in range(1, WAKES + 1):
            check(data[i << 20:(i + 1) << 20] == str(i).encode() * (1 << 20), f'{name} has not what was written after {i}')


def main():
    with tempfile.TemporaryDirectory(prefix='kv-sleep-') as folder:
        try:
            run(Bed(*sys.argv[1:4], folder))
        except Skipped as reason:
            print(f'skipped: {reason}')
            return 77
        except cases.Failed as failure:
            print(f'sleep: {failure}')
            return 1
    print('sleep: good')
    return 0


sys.exit(main())
