#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks and network cards that are plugged into a running pc, used by Linux, and taken out again, with QMP's words.
usage: plug.py KV-VMM SOURCE-ROOT disk|card. Exit status 77: something needed is not installed."""
import glob
import hashlib
import os
import socket
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
DISK = ('i=0; while [ $i -lt 2 ]; do echo @ready; while [ ! -b /dev/vda ]; do sleep 0.2; done; '
         'echo @disk $(md5sum < /dev/vda); while [ -b /dev/vda ]; do sleep 0.2; done; echo @gone; i=$((i+1)); done')
# The same for a card: its driver, a lease, a server that echoes, and whether the cable is plugged in, twice.
CARD = ('cd /sys/class/net; i=0; while [ $i -lt 2 ]; do echo @ready; while [ ! -e eth0 ]; do sleep 0.2; done; sleep 0.5; '
        'ip link set eth0 up; echo @driver $(basename $(readlink eth0/device/driver)) $(cat eth0/address); '
        'udhcpc -n -q -f -i eth0 -s /bin/true 2>&1 | grep lease.of; ip addr add 10.0.2.15/24 dev eth0; nc -l -p 7 -e cat & '
        'sleep 0.2; echo @up; while [ $(cat eth0/carrier) = 1 ]; do sleep 0.2; done; echo @cut; '
        'while [ $(cat eth0/carrier) = 0 ]; do sleep 0.2; done 2>/dev/null; echo @end; while [ -e eth0 ]; do sleep 0.2; done; '
        'echo @gone; i=$((i+1)); done')


def start(program, folder, kernel, script):
    return qmp.Process([program, '--accel', 'soft', '--machine', 'pc', '--firmware', 'bios', '--vga', 'none', '--memory', '256M', '--kernel',
                        kernel, '--initrd', f'{folder}/initrd', '--append', f'console=ttyS0 quiet kv.run="{script}"', '--console',
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
    # The second time another thread serves it, which goes afterwards.
    thread = {'iothread': 'thread'} if times > 1 else {}
    if thread:
        client.run('object-add', **{'qom-type': 'iothread', 'id': 'thread'})
    client.run('device_add', driver='virtio-blk-pci', id='hot', bus=slot, drive='node', **thread)
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
    if thread:
        client.run('object-del', id='thread')


def prepare(root, folder, kind, *options):
    kernels = sorted(path for path in glob.glob(f'/boot/vmlinuz-*-{kind}') if kind != 'amd64' or path.rsplit('-', 2)[1].isdigit())
    if not kernels or not os.path.exists('/usr/share/seabios/bios-256k.bin'):
        raise Skipped(f'no {kind} kernel, or no SeaBIOS')
    if subprocess.run([f'{root}/tools/make-initrd', *options, f'{folder}/initrd'], check=False).returncode:
        raise Skipped('tools/make-initrd failed')
    return kernels[-1]


def case_disk(program, root, folder):
    kernel = prepare(root, folder, 'cloud-amd64')
    with start(program, folder, kernel, DISK) as vmm:
        client = vmm.client()
        error = client.ask({'execute': 'device_add', 'arguments': {'driver': 'virtio-rng-pci', 'id': 'x'}})
        check(error['error']['desc'] == "Bus 'pcie.0' does not support hotplugging", 'a plug on the root bus', error)
        error = client.ask({'execute': 'device_del', 'arguments': {'id': 'x'}})
        check(error['error'] == {'class': 'DeviceNotFound', 'desc': "Device 'x' not found"}, 'another error', error)
        plug_and_unplug(folder, client, 'slot1', 1)
        plug_and_unplug(folder, client, 'slot2', 2)


def refused(client, text, command, **arguments):
    answer = client.ask({'execute': command, 'arguments': arguments})
    check(answer.get('error', {}).get('desc') == text, f'not "{text}"', answer)


def echoes(port):
    """The forward leads to the guest's server."""
    with socket.create_connection(('127.0.0.1', port), timeout=LIMIT) as peer:
        peer.sendall(b'hello')
        return peer.recv(5) == b'hello'


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def use_card(folder, client, driver, linux, slot, times):
    """Up to the moment where the guest has a lease and is spoken with."""
    port, mac = free_port(), f'52:54:00:01:02:0{times}'
    wait_text(folder, '@ready', times)
    client.run('netdev_add', type='user', id='lan', hostfwd=[{'str': f'tcp:127.0.0.1:{port}-:7'}])
    client.run('device_add', driver=driver, id='hot', bus=slot, netdev='lan', mac=mac)
    refused(client, "Property 'e1000e.netdev' can't take value 'lan', it's in use", 'device_add', driver='e1000e', id='x', bus='slot2',
            netdev='lan')
    seen = wait_text(folder, '@up', times)
    check(f'@driver {linux} {mac}' in seen and seen.count('lease of 10.0.2.15') == times, 'another card, or no lease', seen[-1000:])
    check(echoes(port), 'nobody behind the forward')


def remove_card(folder, client, times):
    client.run('device_del', id='hot')
    check(client.event('DEVICE_DELETED')['data'] == {'device': 'hot', 'path': '/machine/peripheral/hot'}, 'another event')
    wait_text(folder, '@gone', times)


def case_card(program, root, folder):
    kernel = prepare(root, folder, 'amd64', '-k', '-m', 'e1000e')
    with start(program, folder, kernel, CARD) as vmm:
        client = vmm.client()
        use_card(folder, client, 'virtio-net-pci', 'virtio_net', 'slot1', 1)
        client.run('set_link', name='hot', up=False)
        wait_text(folder, '@cut', 1)
        client.run('set_link', name='lan', up=True)
        wait_text(folder, '@end', 1)
        remove_card(folder, client, 1)
        client.run('netdev_del', id='lan')
        use_card(folder, client, 'e1000e', 'e1000e', 'slot2', 2)
        # A network that goes first leaves a card without a cable, and its name to others.
        client.run('netdev_del', id='lan')
        wait_text(folder, '@cut', 2)
        client.run('netdev_add', type='user', id='lan', restrict=True)
        client.run('netdev_del', id='lan')
        remove_card(folder, client, 2)


def main():
    program, root, name = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        try:
            globals()[f'case_{name}'](program, root, folder)
        except Skipped as reason:
            print(f'skipped: {reason}')
            return 77
        except cases.Failed as failure:
            print(f'plug: {failure}')
            return 1
    print('plug: good')
    return 0


sys.exit(main())
