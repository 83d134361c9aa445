#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk and a USB tablet that are plugged into a running pc, used by Linux, and taken out again, with QMP's words.
usage: plug.py KV-VMM SOURCE-ROOT. Exit status 77: something needed is not installed."""
import glob
import hashlib
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'interop'))
import cases  # noqa: E402
import qmp  # noqa: E402
from cases import Skipped, check  # noqa: E402

LIMIT = 150
SIZE = 4 << 20
# Tells when a disk has come, what is on it, and when it has gone; twice.
GUEST = ('i=0; while [ $i -lt 2 ]; do echo @ready; while [ ! -b /dev/vda ]; do sleep 0.2; done; '
         'echo @disk $(md5sum < /dev/vda); while [ -b /dev/vda ]; do sleep 0.2; done; echo @gone; i=$((i+1)); done')


def start(program, folder, kernel):
    return qmp.Process([program, '--accel', 'soft', '--machine', 'pc', '--firmware', 'bios', '--vga', 'none', '--memory', '256M', '--kernel',
                        kernel, '--initrd', f'{folder}/initrd', '--append', f'console=ttyS0 quiet kv.run="{GUEST}"', '--console',
                        f'file:{folder}/console', '--qmp', f'unix:{folder}/qmp', '--device', 'pcie-root-port,id=slot1,slot=1',
                        '--device', 'pcie-root-port,id=slot2,slot=2'], f'{folder}/qmp')


def wait_text(folder, text, times):
    end = time.monotonic() + LIMIT
    while True:
        with open(f'{folder}/console', 'rb') as file:
            seen = file.read().decode(errors='replace')
        if seen.count(text) >= times:
            return seen
        check(time.monotonic() < end, f'no "{text}" on the console', seen[-2000:])
        time.sleep(0.1)


def plug_and_unplug(folder, client, slot, times):
    data = os.urandom(SIZE)
    with open(f'{folder}/disk.raw', 'wb') as file:
        file.write(data)
    wait_text(folder, '@ready', times)
    client.run('blockdev-add', **{'driver': 'raw', 'node-name': 'node', 'file': {'driver': 'file', 'filename': f'{folder}/disk.raw'}})
    client.run('device_add', driver='virtio-blk-pci', id='hot', bus=slot, drive='node')
    error = client.ask({'execute': 'device_add', 'arguments': {'driver': 'virtio-rng-pci', 'bus': slot}})
    check('is in use' in error['error']['desc'], 'two devices in one slot', error)
    error = client.ask({'execute': 'blockdev-del', 'arguments': {'node-name': 'node'}})
    check('in use' in error.get('error', {}).get('desc', ''), 'a node goes while a device has it', error)
    seen = wait_text(folder, '@disk', times)
    check(hashlib.md5(data).hexdigest() in seen, 'other bytes', seen[-1000:])
    client.run('device_del', id='hot')
    check(client.event('DEVICE_DELETED')['data'] == {'device': 'hot', 'path': '/machine/peripheral/hot'}, 'another event')
    wait_text(folder, '@gone', times)
    client.run('blockdev-del', **{'node-name': 'node'})


def case_plug(program, root, folder):
    kernels = sorted(glob.glob('/boot/vmlinuz-*-cloud-amd64'))
    if not kernels or not os.path.exists('/usr/share/seabios/bios-256k.bin'):
        raise Skipped('no cloud kernel, or no SeaBIOS')
    if subprocess.run([f'{root}/tools/make-initrd', f'{folder}/initrd'], check=False).returncode:
        raise Skipped('tools/make-initrd failed')
    with start(program, folder, kernels[-1]) as vmm:
        client = vmm.client()
        error = client.ask({'execute': 'device_add', 'arguments': {'driver': 'virtio-rng-pci', 'id': 'x'}})
        check(error['error']['desc'] == "Bus 'pcie.0' does not support hotplugging", 'a plug on the root bus', error)
        error = client.ask({'execute': 'device_del', 'arguments': {'id': 'x'}})
        check(error['error'] == {'class': 'DeviceNotFound', 'desc': "Device 'x' not found"}, 'another error', error)
        plug_and_unplug(folder, client, 'slot1', 1)
        plug_and_unplug(folder, client, 'slot2', 2)


def main():
    with tempfile.TemporaryDirectory() as folder:
        try:
            case_plug(sys.argv[1], sys.argv[2], folder)
        except Skipped as reason:
            print(f'skipped: {reason}')
            return 77
        except cases.Failed as failure:
            print(f'plug: {failure}')
            return 1
    print('plug: good')
    return 0


sys.exit(main())
