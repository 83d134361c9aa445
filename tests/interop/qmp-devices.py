#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP's commands about devices and what is behind them, on a pc of ours and a q35 of QEMU's: each message is answered the same.
usage: qmp-devices.py KV-VMM CASE...   Exit status 77: QEMU or SeaBIOS is not installed."""
import json
import os
import sys

import cases
import qmp
from cases import Skipped, check

SLOTS = ['-device', 'pcie-root-port,id=slot1,slot=1,chassis=1', '-device', 'pcie-root-port,id=slot2,slot=2,chassis=2']


class Bed(qmp.Bed):
    def start(self, *options):
        if not os.path.exists('/usr/share/seabios/bios-256k.bin'):
            raise Skipped('no SeaBIOS')
        path = self.path('qmp')
        slots = [word.replace('-device', '--device').replace(',chassis=1', '').replace(',chassis=2', '') for word in SLOTS]
        return qmp.Process([self.program, '--accel', 'soft', '--machine', 'pc', '--firmware', 'bios', '--memory', '64M', '--console',
                            f'file:{self.path("console")}', '--qmp', f'unix:{path}', *slots, *options], path)

    def twin(self, *options):
        return self.qemu('-M', 'q35', '-m', '64M', *SLOTS, *options)


def same(ours, theirs, messages):
    """Messages as (command, arguments), or with a third member, how both answers are made comparable."""
    for command, arguments, *change in messages:
        message = {'execute': command, 'arguments': arguments}
        got, wanted = ours.ask(message), theirs.ask(message)
        for f in change:
            got, wanted = f(got), f(wanted)
        check(got == wanted, f'{json.dumps(message)}: not the same', got, wanted)


def failed(answer):
    """An error, whatever its words."""
    return answer['error']['class'] if 'error' in answer else answer


def case_net(bed):
    """Networks and cards that come, their cables, and what is refused."""
    with bed.start('--net', 'none') as vmm, bed.twin() as qemu:
        ours, theirs = vmm.client(), qemu.client()
        same(ours, theirs, [
            ('netdev_add', {'type': 'user', 'id': '0x'}), ('netdev_add', {'type': 'user', 'id': ''}),
            ('netdev_add', {'type': 'user', 'id': 'n', 'restrict': 5}), ('netdev_add', {'type': 'user', 'id': 'n', 'hostfwd': ['x']}),
            ('netdev_add', {'type': 'user', 'id': 'n', 'hostfwd': [{'str': 'tcp::x-:1'}]}, failed),
            ('netdev_add', {'type': 'user', 'id': 'n', 'hostfwd': [{'str': 'sctp::1-:1'}]}, failed),
            ('netdev_add', {'type': 'user', 'id': 'n', 'x-y': 1}), ('netdev_add', {'type': 'x-y', 'id': 'n'}),
            ('netdev_add', {'type': 'user', 'id': 'n', 'hostfwd': [], 'restrict': True}), ('netdev_add', {'type': 'user', 'id': 'n'}),
            ('netdev_del', {'id': 'm'}), ('set_link', {'name': 'm', 'up': True}), ('set_link', {'name': 'n', 'up': False}),
            ('device_add', {'driver': 'virtio-net-pci', 'id': 'c', 'bus': 'slot1', 'netdev': 'm'}),
            ('device_add', {'driver': 'e1000e', 'id': 'c', 'bus': 'slot1', 'netdev': 'm'}),
            ('device_add', {'driver': 'e1000e', 'id': 'c', 'bus': 'slot1', 'netdev': 'n', 'mac': 'zz'}, failed),
            ('device_add', {'driver': 'e1000e', 'id': '0c', 'bus': 'slot1', 'netdev': 'n'}),
            ('device_add', {'driver': 'e1000e', 'id': 'c', 'bus': 'slot1', 'netdev': 'n', 'mac': '52:54:00:01:02:03'}),
            ('device_add', {'driver': 'virtio-net-pci', 'id': 'd', 'bus': 'slot2', 'netdev': 'n'}),
            ('device_add', {'driver': 'virtio-rng-pci', 'id': 'd', 'bus': 'slot2', 'netdev': 'n'}),
            ('device_add', {'driver': 'virtio-net-pci', 'id': 'd', 'bus': 'slot2', 'drive': 'n'}),
            ('device_add', {'driver': 'virtio-net-pci', 'id': 'c', 'bus': 'slot2'}, failed),
            ('device_add', {'driver': 'virtio-net-pci', 'id': 'd', 'bus': 'slot2'}),
            ('set_link', {'name': 'c', 'up': True}), ('set_link', {'name': 'd', 'up': False}),
            ('netdev_del', {'id': 'n'}), ('netdev_del', {'id': 'n'}), ('netdev_add', {'type': 'user', 'id': 'n'})])
        # The command line's cards and networks have one name.
        ours.run('set_link', name='net0', up=True)
        ours.run('netdev_del', id='net0')


def main():
    program, *names = sys.argv[1:]
    return cases.run(globals(), names, lambda folder: Bed(os.path.abspath(program), folder))


if __name__ == '__main__':
    sys.exit(main())
