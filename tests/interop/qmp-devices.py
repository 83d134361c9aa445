#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP's commands about devices and what is behind them, on a pc of ours and a q35 of QEMU's: each message is answered the same.
usage: qmp-devices.py KV-VMM CASE...   Exit status 77: QEMU or SeaBIOS is not installed."""
import glob
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time

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
        return qmp.Process([self.program, '--accel', 'soft', '--machine', 'pc', '--firmware', 'bios', '--vga', 'none', '--memory', '64M',
                            '--console', f'file:{self.path("console")}', '--qmp', f'unix:{path}', *slots, *options], path)

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


def case_reopen(bed):
    """A read-only image is opened for writing, its bitmaps are changed, and it is read-only again; nothing else may change."""
    if not shutil.which('qemu-img'):
        raise Skipped('no qemu-img')
    with bed.start() as vmm, bed.twin() as qemu:
        ours, theirs = vmm.client(), qemu.client()
        for client in ours, theirs:
            base, top = bed.path('base'), bed.path('top')
            subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', base, '1M'], check=True)
            subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', top], check=True)
            for name, path, readonly in ('base', base, True), ('top', top, False):
                client.run('blockdev-add', driver='file', filename=path, **{'node-name': f'{name}-file', 'read-only': readonly})
                client.run('blockdev-add', driver='qcow2', file=f'{name}-file', **{
                    'node-name': name, 'read-only': readonly, **({'backing': 'base'} if name == 'top' else {'backing': None})})
            client.run('device_add', driver='virtio-blk-pci', id='d', bus='slot1', drive='top')

        def reopen(*nodes, change=None):
            options = [{'driver': 'qcow2', 'node-name': name, 'file': f'{name}-file', 'backing': 'base' if name == 'top' else None,
                        'read-only': readonly, **more} for name, readonly, more in nodes]
            return 'blockdev-reopen', {'options': options}, *([change] if change else [])

        def bitmap(name):
            """QEMU refuses it when it is stored."""
            return ours.ask({'execute': 'block-dirty-bitmap-add', 'arguments': {'node': 'base', 'name': name, 'persistent': True}})

        def readonly(answer):
            return {row['node-name']: row['ro'] for row in answer['return'] if row['node-name'] in ('base', 'top')}

        same(ours, theirs, [
            ('blockdev-reopen', {'options': 5}), ('blockdev-reopen', {'options': [{'driver': 'qcow2', 'file': 'base-file'}]}),
            reopen(('x', False, {})), reopen(('base', False, {'driver': 'raw'}), change=failed),
            reopen(('base', False, {'file': 'top-file'}), change=failed), reopen(('base', False, {'backing': 'top'}), change=failed),
            reopen(('top', True, {}), change=failed), ('query-named-block-nodes', {'flat': True}, readonly)])
        check('error' in bitmap('a'), 'a bitmap in a read-only image')
        file = {'driver': 'file', 'node-name': 'base-file', 'read-only': False}
        file['filename'] = next(row['file'] for row in ours.run('query-named-block-nodes') if row['node-name'] == 'base-file')
        ours.run('blockdev-reopen', options=[file])
        file['filename'] = next(row['file'] for row in theirs.run('query-named-block-nodes') if row['node-name'] == 'base-file')
        theirs.run('blockdev-reopen', options=[file])
        same(ours, theirs, [reopen(('base', False, {})), ('query-named-block-nodes', {'flat': True}, readonly)])
        check(bitmap('b') == {'return': {}}, 'no bitmap')
        same(ours, theirs, [
            reopen(('base', True, {}), ('x', True, {})), ('query-named-block-nodes', {'flat': True}, readonly),
            reopen(('base', True, {}), ('top', False, {})), ('query-named-block-nodes', {'flat': True}, readonly)])
        check('error' in bitmap('c'), 'a bitmap in a read-only image')


def case_words(bed):
    """What commands about bitmaps, passwords and the human monitor refuse."""
    if not shutil.which('qemu-img'):
        raise Skipped('no qemu-img')
    with bed.start() as vmm, bed.twin() as qemu:
        ours, theirs = vmm.client(), qemu.client()
        for client in ours, theirs:
            path = bed.path('disk')
            subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', path, '1M'], check=True)
            client.run('blockdev-add', driver='qcow2', file={'driver': 'file', 'filename': path}, **{'node-name': 'n'})

        def add(name):
            return 'block-dirty-bitmap-add', {'node': 'n', 'name': name}

        def merge(**source):
            return 'block-dirty-bitmap-merge', {'node': 'n', 'target': 'a', 'bitmaps': [source]}, failed

        same(ours, theirs, [
            add(1024 * 'x'), add(1023 * 'x'), add('a'), add('b'), merge(node='n', name='b'), merge(node='n', name='b', x=1),
            merge(node='n'), merge(node='n', name=5),
            ('set_password', {'protocol': 'spice', 'password': 'x'}), ('set_password', {'protocol': 'vnc', 'password': 'x'}),
            ('set_password', {'protocol': 'vnc', 'password': 'x', 'connected': 'fail'}),
            ('set_password', {'protocol': 'spice', 'password': 'x', 'connected': 'fail'}),
            ('expire_password', {'protocol': 'spice', 'time': 'now'}), ('expire_password', {'protocol': 'vnc', 'time': 'now'}),
            ('human-monitor-command', {'command-line': 'nope', 'cpu-index': 0}),
            ('human-monitor-command', {'command-line': 'nope', 'cpu-index': 9}),
            ('human-monitor-command', {'command-line': 'nope', 'cpu-index': -1})])


def case_bitmap_node(bed):
    """An export has a bitmap of another node: that stays until the export goes (QEMU aborts)."""
    if not shutil.which('qemu-img') or not shutil.which('nbdinfo'):
        raise Skipped('no qemu-img or nbdinfo')
    with bed.start() as vmm:
        ours, path = vmm.client(), bed.path('nbd')
        ours.run('nbd-server-start', addr={'type': 'unix', 'data': {'path': path}})
        for name in 'one', 'two':
            file = bed.path(name)
            subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', file, '1M'], check=True)
            ours.run('blockdev-add', driver='qcow2', file={'driver': 'file', 'filename': file}, **{'node-name': name})
        ours.run('block-dirty-bitmap-add', node='two', name='b', disabled=True)
        ours.run('block-export-add', type='nbd', id='e', bitmaps=[{'node': 'two', 'name': 'b'}], **{'node-name': 'one'})
        answer = ours.ask({'execute': 'blockdev-del', 'arguments': {'node-name': 'two'}})
        check(answer.get('error', {}).get('desc') == 'Node two is in use', 'a node goes whose bitmap is exported', answer)
        good, text = nbd_tool('nbdinfo', '--map=qemu:dirty-bitmap:b', f'nbd+unix:///one?socket={path}')
        check(good and 'dirty' not in text, 'another bitmap', text)
        ours.run('block-export-del', id='e')
        ours.run('blockdev-del', **{'node-name': 'two'})


def case_transaction(bed):
    """Parts of a transaction that have the same bitmap: what one removes no other has, and a failure leaves all as it was."""
    if not shutil.which('qemu-img'):
        raise Skipped('no qemu-img')
    with bed.start() as vmm, bed.twin() as qemu:
        ours, theirs = vmm.client(), qemu.client()
        for client in ours, theirs:
            path = bed.path('disk')
            subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', path, '1M'], check=True)
            client.run('blockdev-add', driver='qcow2', file={'driver': 'file', 'filename': path}, **{'node-name': 'n'})
            for name in 'a', 'b':
                client.run('block-dirty-bitmap-add', node='n', name=name)

        def bitmaps(answer):
            rows = next(row for row in answer['return'] if row.get('node-name') == 'n').get('dirty-bitmaps', [])
            return sorted((row['name'], row['recording'], row['busy']) for row in rows)

        def parts(*words):
            return 'transaction', {'actions': [
                {'type': f'block-dirty-bitmap-{verb}', 'data': {'node': 'n', 'name': name}} for verb, name in (w.split() for w in words)]}

        left = 'query-named-block-nodes', {'flat': True}, bitmaps
        same(ours, theirs, [
            parts('remove a', 'remove a'), left, parts('remove a', 'clear a'), left, parts('remove a', 'disable a'), left,
            parts('remove a', 'add a'), left, parts('disable a', 'remove a', 'remove x'), left, parts('disable b', 'remove a'), left])


def nbd_tool(*words):
    """What it prints, and whether it was content."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=qmp.LIMIT, check=False)
    return done.returncode == 0, done.stdout


def served(path):
    """What clients find at a server: of each export its size, whether it is for reading alone, words about it, contexts."""
    good, text = nbd_tool('nbdinfo', '--list', '--json', f'nbd+unix://?socket={path}')
    check(good, 'nbdinfo fails', text)
    rows = {row['export-name']: (row['export-size'], row['is_read_only'], row.get('description'), sorted(row['contexts']))
            for row in json.loads(text)['exports']}
    good, text = nbd_tool('qemu-nbd', '--list', '-k', path)
    check(good and {f"export: '{name}'" for name in rows} == {line.strip() for line in text.splitlines() if 'export:' in line},
          'qemu-nbd sees other exports', text)
    return rows


def case_nbd_server(bed):
    """nbd-server-add and -remove: names, writing, a bitmap, what is refused; the same for nbdinfo, qemu-nbd and qemu-io as QEMU's."""
    if not shutil.which('nbdinfo') or not shutil.which('qemu-io'):
        raise Skipped('no nbdinfo or qemu-io')
    with bed.start() as vmm, bed.twin() as qemu:
        clients, paths = (vmm.client(), qemu.client()), []
        for client in clients:
            paths.append(bed.path('nbd'))
            for name, readonly in ('one', False), ('two', True), ('used', False):
                path = bed.path(name)
                subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', path, '1M'], check=True)
                client.run('blockdev-add', driver='qcow2', file={'driver': 'file', 'filename': path},
                           **{'node-name': name, 'read-only': readonly})
            client.run('device_add', driver='virtio-blk-pci', id='d', bus='slot1', drive='used')

        def add(device, **keys):
            return 'nbd-server-add', {'device': device, **keys}

        def remove(name, **keys):
            return 'nbd-server-remove', {'name': name, **keys}

        def exports(answer):
            return sorted((row['id'], row['type'], row['node-name'], row['shutting-down']) for row in answer['return'])

        def compare():
            ours, theirs = served(paths[0]), served(paths[1])
            check(ours == theirs, 'other exports', ours, theirs)
            return ours

        listing = 'query-block-exports', {}, exports
        same(*clients, [add('one'), remove('one'), ('nbd-server-stop', {})])
        for client, path in zip(clients, paths):
            client.run('nbd-server-start', addr={'type': 'unix', 'data': {'path': path}})
        same(*clients, [
            add('no'), add('one', name=5), add('one', writable='x'), add('one', x=1), ('nbd-server-add', {}), remove('no'),
            add('one', bitmap='no', name='x'), listing,
            ('block-dirty-bitmap-add', {'node': 'one', 'name': 'b'}), add('one', bitmap='b'),
            add('one', writable=True, bitmap='b', description='to be written'), add('one'), add('one', name='again'),
            add('two', name='second', writable=True), add('used', name='u'), listing])
        rows = compare()
        check(rows['one'][:2] == (1 << 20, False) and 'qemu:dirty-bitmap:b' in rows['one'][3] and rows['one'][2] == 'to be written' and
              rows['second'][1] and rows['u'][1] and rows['again'][1], 'not what was asked for', rows)
        # A bitmap is taken, and for as long as the export is there; what a client writes others read, and the bitmap has it not.
        same(*clients, [('block-dirty-bitmap-remove', {'node': 'one', 'name': 'b'}, failed), add('two', name='w', bitmap='b'),
                        ('nbd-server-start', {'addr': {'type': 'unix', 'data': {'path': bed.path('x')}}})])
        for path in paths:
            uri = f'nbd+unix:///%s?socket={path}'
            for command, wanted in ('write -P 7 64k 64k', True), ('read -P 7 64k 64k', True), ('read -P 7 0 64k', False):
                text = nbd_tool('qemu-io', '-f', 'raw', '-c', command, uri % 'one')[1]
                check(('verification failed' not in text) == wanted, f'{command}: not as it should be', text)
            text = nbd_tool('qemu-io', '-f', 'raw', '-c', 'read -P 7 64k 64k', '-r', uri % 'again')[1]
            check('64 KiB' in text and 'failed' not in text, 'another export has something else', text)
            check(not nbd_tool('qemu-io', '-f', 'raw', '-c', 'write 0 64k', uri % 'second')[0], 'a read-only export is written')
        maps = [nbd_tool('nbdinfo', '--map=qemu:dirty-bitmap:b', f'nbd+unix:///one?socket={path}') for path in paths]
        check(maps[0] == maps[1] and maps[0][0], 'another map', *maps)
        # One that a client uses goes when it is told twice.
        readers = []
        for path in paths:
            peer = subprocess.Popen(['qemu-io', '-f', 'raw', '-r', f'nbd+unix:///u?socket={path}'], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, text=True)
            peer.stdin.write('read 0 512\n')
            peer.stdin.flush()
            check('read 512/512' in peer.stdout.readline() + peer.stdout.readline(), 'nothing is read')
            readers.append(peer)
        same(*clients, [remove('u'), remove('u', mode='safe'), remove('u', mode='x'), listing, remove('u', mode='hard')])
        for client, peer in zip(clients, readers):
            check(client.event('BLOCK_EXPORT_DELETED')['data'] == {'id': 'u'}, 'another event')
            peer.kill()
            peer.wait()
            peer.stdin.close()
            peer.stdout.close()
        same(*clients, [remove('u'), remove('again'), listing, ('block-export-del', {'id': 'second'}), listing])
        check(list(compare()) == ['one'], 'more than one is left')
        same(*clients, [('nbd-server-stop', {}), ('nbd-server-stop', {}), listing,
                        ('block-dirty-bitmap-remove', {'node': 'one', 'name': 'b'})])
        check(not os.path.exists(paths[0]) and not nbd_tool('nbdinfo', f'nbd+unix:///one?socket={paths[0]}')[0], 'it still listens')


def case_scsi(bed):
    """Where SCSI disks are that are plugged in, and what is refused, beside QEMU."""
    usb = bed.path('usb')
    with open(usb, 'wb') as file:
        file.truncate(1 << 20)
    with bed.start('--device', 'virtio-scsi,id=s', '--disk', f'{usb},bus=usb,id=u') as vmm, bed.twin('-device', 'virtio-scsi-pci,id=s') as qemu:
        clients = vmm.client(), qemu.client()
        for client in clients:
            for name in 'abcde':
                path = bed.path(name)
                with open(path, 'wb') as file:
                    file.truncate(1 << 20)
                client.run('blockdev-add', driver='raw', file={'driver': 'file', 'filename': path}, **{'node-name': name})

        def add(ident, driver='scsi-hd', **keys):
            keys = {key.replace('_', '-'): value for key, value in keys.items()}
            return 'device_add', {'driver': driver, 'id': ident, **({} if driver == 'scsi-cd' else {'drive': ident.lower()}), **keys}

        def used(answer):
            return re.sub("^.*(lun already used by '.*')$", r'\1', answer['error']['desc']) if 'error' in answer else answer

        same(*clients, [
            add('A', bus='x.0'), (*add('A', scsi_id=256), failed), (*add('A', scsi_id='x'), failed),
            (*add('A', lun=16384), failed), (*add('A', channel=1), failed), add('A', lun=2), add('B', lun=2), add('C', scsi_id=0),
            (*add('D', scsi_id=1, lun=2), used), (*add('D', scsi_id=0, lun=2), used), (*add('D', scsi_id=0, lun=0), used),
            add('D', scsi_id=0), add('E', bus='s.0'), add('F', 'scsi-cd', scsi_id=200, lun=16383, channel=0),
            (*add('G', 'scsi-cd', scsi_id=200, lun=16383), used), ('device_del', {'id': 'x'})])
        # QEMU's tree has where they are: what is free there is free here.
        for scsi_id, lun in (0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (200, 16383):
            same(*clients, [(*add('G', 'scsi-cd', scsi_id=scsi_id, lun=lun), used)])
        for name in 'A', 'F':
            same(*clients, [('device_del', {'id': name})])
            for client in clients:
                check(client.event('DEVICE_DELETED')['data']['device'] == name, 'another device has gone')
        same(*clients, [add('G', 'scsi-cd', scsi_id=0, lun=2), add('H', 'scsi-cd'), (*add('I', 'scsi-cd', scsi_id=2, lun=0), used)])
        for name, message in ('s', "'s' has the disk '"), ('u', "Bus 'u-usb.0' does not"), ('u-usb', 'stays with it'):
            answer = clients[0].ask({'execute': 'device_del', 'arguments': {'id': name}})
            check(message in answer['error']['desc'], f'{name} goes', answer)
        clients[0].run('quit')
        check(vmm.status() == 0, 'it does not end')


CPU = 'EPYC-x86_64-cpu'


def case_cpus(bed):
    """Processors that come: which there may be, what is refused, and what is told of them, beside QEMU."""
    smp = ['2,maxcpus=8,sockets=2,cores=2,threads=2']
    with bed.start('--smp', *smp, '--cpu', 'EPYC') as vmm, bed.twin('-smp', *smp, '-cpu', 'EPYC') as qemu:
        clients = vmm.client(), qemu.client()

        def add(ident=None, driver=CPU, **place):
            return 'device_add', {'driver': driver, **({'id': ident} if ident else {}), **{f'{key}-id': n for key, n in place.items()}}

        def there(answer):
            # QEMU has them in its tree at other numbers.
            return [dict(slot, **{'qom-path': re.sub(r'/(unattached|peripheral-anon)/device.*', '', slot['qom-path'])} if 'qom-path' in slot else {})
                    for slot in answer['return']]

        def fast(answer):
            return [{**{key: cpu[key] for key in ('cpu-index', 'props', 'target')},
                     'qom-path': re.sub(r'/(unattached|peripheral-anon)/device.*', '', cpu['qom-path'])} for cpu in sorted(answer['return'], key=lambda cpu: cpu['cpu-index'])]

        looks = [('query-hotpluggable-cpus', {}, there), ('query-cpus-fast', {}, fast)]
        same(*clients, [
            *looks, add('a', driver='max-x86_64-cpu', socket=1, core=0, thread=0), add('a', driver='none-x86_64-cpu', socket=1),
            add('a', core=0, thread=0), add('a', socket=1, thread=0), add('a', socket=1, core=0), add('a', socket=2, core=0, thread=0),
            add('a', socket=1, core=2, thread=0), add('a', socket=1, core=0, thread=2), add('a', socket=0, core=0, thread=1),
            add('a', socket=1, core=0, thread=1), add('a', socket=1, core=1, thread=1), add('b', socket=1, core=0, thread=1),
            add('b', socket=0, core=1, thread=0), add(socket=1, core=1, thread=0), *looks, ('device_del', {'id': 'c'}),
            ('qom-get', {'path': '/machine/peripheral/a', 'property': 'type'})])
        for client in clients:
            client.run('system_reset')
        same(*clients, looks)
        clients[0].run('quit')
        check(vmm.status() == 0, 'it does not end')
    with bed.start('--cpus', '2') as vmm, bed.twin('-smp', '2', '-cpu', 'qemu64') as qemu:
        for client in (vmm.client(), qemu.client()):
            slots = client.run('query-hotpluggable-cpus')
            check([slot['props'] for slot in slots] == [{'socket-id': 0, 'core-id': n, 'thread-id': 0} for n in (1, 0)], 'other places', slots)
            answer = client.ask({'execute': 'device_add', 'arguments': {'driver': slots[0]['type'], 'id': 'x', **slots[0]['props']}})
            check(re.fullmatch(r'CPU\[1\] with APIC ID 1 exists', answer.get('error', {}).get('desc', '')), 'another answer', answer)


def case_rx_filter(bed):
    """Which frames a card wants that no driver has, and what is refused."""
    def card(answer):
        # QEMU says the opposite of the one, and has all of the other where nothing is filtered.
        return {**answer['return'][0], 'broadcast-allowed': None, 'vlan-table': None}

    with bed.start('--net', 'none,mac=52:54:00:01:02:03') as vmm, bed.twin('-nic', 'none', '-netdev', 'user,id=n', '-device',
                                                                           'virtio-net-pci,id=net0,mac=52:54:00:01:02:03') as qemu:
        ours, theirs = vmm.client(), qemu.client()
        same(ours, theirs, [
            ('query-rx-filter', {'name': 'x'}), ('query-rx-filter', {'name': 5}), ('query-rx-filter', {'x': 5}),
            ('netdev_add', {'type': 'user', 'id': 'm'}), ('query-rx-filter', {'name': 'm'}),
            ('query-rx-filter', {}, card), ('query-rx-filter', {'name': 'net0'}, card)])
        check(ours.run('query-rx-filter')[0]['broadcast-allowed'] is True, 'no broadcasts')


def case_linux_rx_filter(bed):
    """Linux's filters of both cards: its addresses, groups, modes; each change after a look is told once."""
    kernels = sorted(glob.glob('/boot/vmlinuz-*[0-9]-amd64'))
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
    if not kernels or subprocess.run([f'{root}/tools/make-initrd', '-k', '-m', 'e1000e', f'{bed.folder}/initrd'], check=False).returncode:
        raise Skipped('no kernel with drivers, or tools/make-initrd failed')
    for model, path in ('virtio', '/machine/peripheral/net0/virtio-backend'), ('e1000e', '/machine/peripheral/net0'):
        socket_path, console = bed.path('qmp'), bed.path('console')
        script = ('exec </dev/ttyS0; d=$(basename $(ls -d /sys/class/net/e*)); ip link set $d up; echo @ready; '
                  'while read words; do eval $words; echo @done; done')
        with qmp.Process([bed.program, '--accel', 'soft', '--memory', '256M', '--kernel', kernels[-1], '--initrd', f'{bed.folder}/initrd',
                          '--append', f'console=ttyS0 quiet kv.run="{script}"', '--net', f'none,model={model},mac=52:54:00:01:02:03',
                          '--console', f'unix:{console}', '--qmp', f'unix:{socket_path}'], socket_path) as vmm:
            client = vmm.client()
            with socket.socket(socket.AF_UNIX) as peer:
                peer.settimeout(qmp.LIMIT)
                peer.connect(console)

                def wait_text(text):
                    seen = b''
                    while text not in seen:
                        data = peer.recv(4096)
                        check(data, 'the console is closed', seen.decode(errors='replace'))
                        seen += data

                def guest(*commands):
                    for words in commands:
                        peer.sendall(words.encode() + b'\n')
                        wait_text(b'@done')
                    event = client.event('NIC_RX_FILTER_CHANGED')
                    check(event['data'] == {'name': 'net0', 'path': path}, 'another card', event)
                    client.run('query-status')
                    check(not client.events, 'told twice', client.events)
                    return client.run('query-rx-filter', name='net0')[0]

                wait_text(b'@ready')
                card = client.run('query-rx-filter')[0]
                check(card['main-mac'] == '52:54:00:01:02:03' and not card['promiscuous'] and card['broadcast-allowed'] and
                      card['multicast'] == card['unicast'] == 'normal', 'another filter', card)
                check(guest('ip link set $d promisc on')['promiscuous'], 'not promiscuous')
                check(not guest('ip link set $d promisc off')['promiscuous'], 'promiscuous')
                card = guest('ip link set $d promisc on', 'ip link set $d promisc off', 'ip addr add fe80::5/64 dev $d')
                check(card['multicast-overflow'] if model == 'e1000e' else '33:33:ff:00:00:05' in card['multicast-table'], 'not the group', card)
                check(guest('ifconfig $d allmulti')['multicast'] == 'all', 'not all groups')


def case_memory(bed):
    """Memory backends: made, refused and told as by QEMU; a guest's memory is what a file has, over a reset, saved and loaded."""
    def add(kind, ident='m', **more):
        return 'object-add', {'qom-type': f'memory-backend-{kind}', 'id': ident, **more}

    size, path = 16 << 20, bed.path('file')
    with open(path, 'wb') as file:
        file.truncate(size // 2)
    with bed.start() as vmm, bed.twin() as qemu:
        ours, theirs = vmm.client(), qemu.client()
        same(ours, theirs, [
            add('ram'), add('x', size=size), add('ram', size='x'), add('ram', size=0), add('ram', size=size, x=1), add('file', size=size),
            (*add('file', size=size, **{'mem-path': '/no/such/file'}), failed), (*add('file', size=size, **{'mem-path': path}), failed),
            (*add('file', size=-1, **{'mem-path': path}), failed), add('ram', size=size, policy='x'), add('ram', size=size, policy='bind'),
            add('ram', size=size, **{'host-nodes': [0]}), (*add('ram', size=size, policy='bind', **{'host-nodes': [127]}), failed),
            (*add('ram', size=size, policy='bind', **{'host-nodes': [1000]}), failed), add('ram', size=size, **{'host-nodes': 0}),
            (*add('memfd', size=size, hugetlb=True, hugetlbsize=3 << 20), failed), (*add('ram', size=1 << 62), failed),
            add('ram', size=size, policy='bind', prealloc=True, dump=False, **{'host-nodes': [0]}), add('ram', size=size),
            add('memfd', 'f', size=size), add('file', 'g', size=size // 2, share=True, **{'mem-path': path, 'discard-data': True}),
            *[('qom-get', {'path': f'/objects/{ident}', 'property': key}) for ident in 'mfg' for key in (
                'size', 'share', 'prealloc', 'dump', 'policy', 'host-nodes')],
            ('object-del', {'id': 'f'}), ('object-del', {'id': 'f'})])
        rows = {row['id']: row for row in ours.run('query-memdev')}
        for row in theirs.run('query-memdev'):
            if row['id'] in rows:  # it merges pages unless it is told not to
                check({**row, 'reserve': None, 'merge': None} == {**rows[row['id']], 'reserve': None, 'merge': None}, 'not the same', row, rows)
        check(set(rows) == {'m', 'g'}, 'other backends', rows)
    saved, code = bed.path('saved'), qmp.guest_code()
    with open(path, 'wb') as file:
        file.truncate(0)

    def start(*options, **keys):
        words = ','.join(f'{key}={value}' for key, value in keys.items())
        return qmp.Bed.start(bed, '--object', f'memory-backend-{words}', '--machine', 'micro,memory-backend=m', *options)

    def look(client, process):
        client.run('stop')
        with open(path, 'rb') as file:
            file.seek(qmp.LOAD_AT)
            check(file.read(len(code)) == code, 'the guest is not in the file')
            file.seek(qmp.LOAD_AT + (1 << 20))
            check(not any(file.read(4096)), 'something else is in the file')
        with open(f'/proc/{process.pid}/maps', encoding='ascii') as file:
            check(any(path in line and ' rw-s ' in line for line in file), 'the file is not mapped')

    options = {'file,id': 'm', 'size': '16M', 'share': 'on', 'mem-path': path}
    with start(**options) as vmm:
        client = vmm.client()
        look(client, vmm.process)
        with open(path, 'r+b') as file:
            file.seek(qmp.LOAD_AT + (1 << 20))
            file.write(b'x' * 4096)
        client.run('system_reset')
        look(client, vmm.process)
        answer = client.ask({'execute': 'object-del', 'arguments': {'id': 'm'}})
        check(answer['error']['desc'] == "object 'm' is in use, can not be deleted", 'memory goes', answer)
        client.run('migrate', uri=f'file:{saved}')
        end = time.monotonic() + qmp.LIMIT
        while client.run('query-migrate')['status'] != 'completed':
            check(time.monotonic() < end, 'it is not saved', client.run('query-migrate'))
    os.unlink(path)
    with start('--incoming', f'file:{saved}', **options) as vmm:
        client = vmm.client()
        end = time.monotonic() + qmp.LIMIT
        while client.run('query-status')['status'] == 'inmigrate':
            check(time.monotonic() < end, 'it is not loaded')
        look(client, vmm.process)
    with start(**{'memfd,id': 'm', 'size': '16M', 'prealloc': 'on'}) as vmm:
        client = vmm.client()
        check(client.run('query-memory-size-summary') == {'base-memory': size}, 'another size')
        check(client.run('query-status')['running'], 'it does not run')
        with open(f'/proc/{vmm.process.pid}/smaps', encoding='ascii') as file:
            text = file.read()
        check(f'Rss: {size >> 10} kB' in re.sub(' +', ' ', text.split('/memfd:m')[1]), 'not all of it is there', text)
    for words, message in [
            (['--object', 'memory-backend-ram,id=m', '--machine', 'micro,memory-backend=m'],
             '--object memory-backend-ram: size is missing; give size=SIZE'),
            (['--object', 'memory-backend-ram,id=m,size=32M', '--machine', 'micro,memory-backend=m'],
             "--memory: the memory backend 'm' has another size: 33554432"),
            (['--object', 'iothread,id=m', '--machine', 'micro,memory-backend=m'],
             "--machine: memory-backend: there is no memory backend 'm'; give --object memory-backend-ram,id=m,size=SIZE as well"),
            (['--object', 'memory-backend-x,id=m'], "--object: unknown type 'memory-backend-x'; known are iothread, memory-backend-ram, "
             'memory-backend-memfd, memory-backend-file, throttle-group'),
            (['--object', 'iothread'], '--object iothread: id is missing; give id=NAME'),
            (['--object', 'iothread,id=t,poll-max-ns=5'], '--object iothread: poll-max-ns: iothreads do not poll; give 0'),
            (['--object', 'iothread,id=t,x=5'], "--object iothread: unknown key 'x'; known are poll-max-ns, poll-grow, poll-shrink, aio-max-batch"),
            (['--object', 'iothread,id=t', '--object', 'iothread,id=t'],
             "--object iothread: attempt to add duplicate property 't' to object (type 'container')"),
            (['--disk', f'file={saved},iothread=t'], '--disk: iothread: there is no iothread \'t\'; give --object iothread,id=t as well')]:
        done = subprocess.run([bed.program, '--accel', 'soft', '--kernel', bed.kernel, '--memory', '16M', '--console', f'file:{bed.folder}/log',
                               '--quiet', *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=qmp.LIMIT, check=False)
        check(done.returncode == 1 and done.stderr.decode() == f'kv-vmm: {message}\n', f'{words}: not "{message}"', done.stderr.decode())


def case_throttle(bed):
    """Groups of limits: made, looked at, changed, in use, gone; drives come to them by QMP."""
    none = {f'{unit}{kind}': 0 for unit in ('bps', 'iops') for kind in ('', '_rd', '_wr')}

    def add(ident, **more):
        return 'object-add', {'qom-type': 'throttle-group', 'id': ident, **more}

    def limit(ident, **more):
        return 'block_set_io_throttle', {'id': f'/machine/peripheral/{ident}/virtio-backend', **none, **more}

    def limits(answer):
        return {row['qdev']: {key: value for key, value in row['inserted'].items() if key == 'group' or key[:3] in (
            'bps', 'iop')} for row in answer['return']}

    name = {'path': '/objects/g', 'property': 'limits'}
    with bed.start('--object', 'throttle-group,id=first,x-iops-total=100') as vmm, \
            bed.twin('-object', 'throttle-group,id=first,x-iops-total=100') as qemu:
        ours, theirs = vmm.client(), qemu.client()
        for client in ours, theirs:
            for index in 1, 2:
                with open(bed.path('image'), 'wb') as file:
                    file.truncate(1 << 20)
                client.run('blockdev-add', driver='raw', file={'driver': 'file', 'filename': file.name}, **{'node-name': f'n{index}'})
                client.run('device_add', driver='virtio-blk-pci', id=f'd{index}', bus=f'slot{index}', drive=f'n{index}')
        same(ours, theirs, [
            add('first'), add('0'), add('g', x=1), add('g', limits=5), add('g', limits={'x': 1}), add('g', limits={'iops-total': 'x'}),
            add('g', limits={'iops-total': 5, 'iops-read': 5}), add('g', limits={'iops-size': 512}), add('g', limits={'bps-read-max': 5}),
            add('g', limits={'bps-read': 5, 'bps-read-max': 4}), add('g', limits={'bps-read': 5, 'bps-read-max-length': 2}),
            add('g', limits={'bps-read': 5, 'bps-read-max': 1 << 40, 'bps-read-max-length': 1 << 31}),
            add('g', limits={'bps-read': 1 << 60}), add('g', limits={'bps-read': -1}), (*add('g', **{'x-bps-read': -1}), failed),
            (*add('g', limits={'bps-read': 5, 'bps-read-max': 9, 'bps-read-max-length': 0}), failed),
            add('g', limits={'iops-total': 100, 'iops-total-max': 200, 'iops-total-max-length': 3, 'iops-size': 4096}),
            ('qom-get', name), ('qom-get', {'path': '/objects/first', 'property': 'limits'}),
            ('qom-set', {**name, 'value': {'iops-total': 50, 'bps-write': 1 << 20}}), ('qom-get', name),
            ('qom-set', {**name, 'value': {'iops-total': 0}}), ('qom-set', {**name, 'value': 5}),
            ('qom-set', {**name, 'value': {'x': 5}}), ('qom-set', {**name, 'value': {'iops-total': 'x'}}), ('qom-get', name),
            limit('x', iops=5), limit('d1', iops=5, iops_rd=5), limit('d1', group='g', iops=7), ('query-block', {}, limits), ('qom-get', name),
            ('object-del', {'id': 'g'}), limit('d2', group='g', bps=1 << 20), ('query-block', {}, limits), ('qom-get', name),
            limit('d1'), ('query-block', {}, limits), limit('d1', iops=9), limit('d2', iops=9, group='d1'), ('query-block', {}, limits),
            limit('d1', iops=8), ('query-block', {}, limits), add('d1'), limit('d1'), limit('d2'),
            add('d1', **{'x-iops-total': 5}), limit('d2', bps=1, group='d1'),
            ('query-block', {}, limits), limit('d2'), ('object-del', {'id': 'g'}), ('object-del', {'id': 'd1'}), ('object-del', {'id': 'first'})])


def case_iothread(bed):
    """Threads that serve disks: made, found in the process, pinned, in use, gone; a guest's disk is served by its own."""
    def add(ident, **more):
        return 'object-add', {'qom-type': 'iothread', 'id': ident, **more}

    def ids(answer):
        return [row['id'] for row in answer['return']]

    disk = {'driver': 'virtio-blk-pci', 'id': 'd', 'bus': 'slot1', 'drive': 'n'}
    with bed.start('--object', 'iothread,id=first') as vmm, bed.twin('-object', 'iothread,id=first') as qemu:
        ours, theirs = vmm.client(), qemu.client()
        for client in ours, theirs:
            with open(bed.path('image'), 'wb') as file:
                file.truncate(1 << 20)
            client.run('blockdev-add', driver='raw', file={'driver': 'file', 'filename': file.name}, **{'node-name': 'n'})
        same(ours, theirs, [
            add('first'), add('0'), add('t', x=1), add('t', **{'poll-max-ns': 'x'}), add('t', **{'poll-max-ns': -1}), add('t'),
            ('query-iothreads', {}, ids),
            ('query-iothreads', {}, lambda answer: sorted({key for row in answer['return'] for key in row})),
            ('object-add', {'qom-type': 'secret', 'id': 's', 'data': 'x'}),
            ('device_add', {**disk, 'iothread': 'x'}), ('device_add', {**disk, 'iothread': 's'}),
            ('device_add', {'driver': 'virtio-rng-pci', 'id': 'r', 'bus': 'slot2', 'iothread': 't'}),
            ('device_add', {**disk, 'iothread': 't'}), ('object-del', {'id': 'first'}),
            ('object-del', {'id': 'first'}), ('query-iothreads', {}, ids),
            ('qom-get', {'path': '/objects/t', 'property': 'type'}), ('qom-get', {'path': 't', 'property': 'poll-grow'}),
            ('qom-get', {'path': '/objects/t', 'property': 'x'}), ('qom-set', {'path': '/objects/t', 'property': 'poll-max-ns', 'value': 'x'}),
            ('qom-set', {'path': '/objects/t', 'property': 'poll-max-ns', 'value': 0})])
        # QEMU takes the name alone away, and the thread goes on without.
        answer = ours.ask({'execute': 'object-del', 'arguments': {'id': 't'}})
        check(answer['error']['desc'] == "object 't' is in use, can not be deleted", 'a thread goes that is in use', answer)
        check(ours.run('query-iothreads')[0]['poll-max-ns'] == 0, 'it polls')
        answer = ours.ask({'execute': 'object-add', 'arguments': add('u', **{'poll-max-ns': 5})[1]})
        check('iothreads do not poll' in answer['error']['desc'], 'another error', answer)
        thread = ours.run('query-iothreads')[0]['thread-id']
        with open(f'/proc/{vmm.process.pid}/task/{thread}/comm', encoding='ascii') as file:
            check(file.read() == 'IO t\n', 'another thread')
        os.sched_setaffinity(thread, {0})
        check(os.sched_getaffinity(thread) == {0}, 'it is not pinned')


def turns_of(pid, thread):
    """How often a thread had to wait, which it does for each request: ticks of its time may be none on a fast machine."""
    with open(f'/proc/{pid}/task/{thread}/status', encoding='ascii') as file:
        return int(next(line.split()[1] for line in file if line.startswith('voluntary')))


def case_linux_iothread(bed):
    """Two disks of a Linux that share a thread, and one with its own: it writes, is stopped and goes on, a disk comes and goes; the
    bytes are in the images, and it was those threads that did it."""
    kernels = sorted(glob.glob('/boot/vmlinuz-*-cloud-amd64'))
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
    if not kernels or subprocess.run([f'{root}/tools/make-initrd', f'{bed.folder}/initrd'], check=False).returncode:
        raise Skipped('no cloud kernel, or tools/make-initrd failed')
    path, images = bed.path('qmp'), [bed.path('image') for _ in range(3)]
    for index, image in enumerate(images):
        with open(image, 'wb') as file:
            file.write(bytes([65 + index]) * 512)
            file.truncate(8 << 20)
    # What a disk begins with says which it is.
    script = ('for d in /dev/vd?; do c=$(head -c 1 $d); (yes $c | dd of=$d bs=4k seek=1 count=1000 iflag=fullblock '
              'oflag=direct 2>/dev/null; echo @done $c) & done; wait; echo @all; sleep 1000')
    options = [f'file={image},id=d{index},iothread={"one" if index < 2 else "two"}' for index, image in enumerate(images)]
    with qmp.Process([bed.program, '--accel', 'soft', '--cpus', '2', '--memory', '128M', '--kernel', kernels[-1], '--initrd',
                      f'{bed.folder}/initrd', '--append', f'console=ttyS0 quiet kv.run="{script}"', '--console', f'file:{bed.folder}/log',
                      '--object', 'iothread,id=one', '--object', 'iothread,id=two', '--qmp', f'unix:{path}',
                      *[word for option in options for word in ('--disk', option)]], path) as vmm:
        client = vmm.client()
        threads = {row['id']: row['thread-id'] for row in client.run('query-iothreads')}
        end = time.monotonic() + qmp.LIMIT
        while b'@all' not in open(f'{bed.folder}/log', 'rb').read():
            check(time.monotonic() < end, 'the guest does not end', open(f'{bed.folder}/log', 'rb').read().decode(errors='replace'))
            client.run('stop')
            client.run('block_set_io_throttle', device='d0', bps=0, bps_rd=0, bps_wr=1 << 30, iops=0, iops_rd=0, iops_wr=0)
            client.run('cont')
            client.run('blockdev-snapshot-sync', device='d1', **{'snapshot-file': bed.path('overlay')})
            client.run('block-commit', device='d1', **{'job-id': 'c'})
            while client.event('JOB_STATUS_CHANGE')['data']['status'] != 'ready':
                pass
            client.run('job-complete', id='c')
            while client.event('JOB_STATUS_CHANGE')['data']['status'] != 'null':
                pass
        for row in client.run('query-blockstats'):
            check(row['stats']['wr_operations'] >= 1000, 'not all writes', row)
        for name, thread in threads.items():
            check(turns_of(vmm.process.pid, thread) > 20, f'{name} did nothing')
        client.run('quit')
        check(vmm.status() == 0, f'status {vmm.process.returncode}')
    for index, image in enumerate(images):
        with open(image, 'rb') as file:
            file.seek(4096)
            data = file.read(1000 * 4096)
        check(data == bytes([65 + index, 10]) * (len(data) // 2), f'not what the guest wrote: image {index}')


def names(answer):
    """Of a list of objects the names alone, of which QEMU has more."""
    return 'error' in answer and answer or {row['name'] for row in answer['return']} & {
        'type', 'balloon', 'guest-stats', 'guest-stats-polling-interval', 'peripheral', 'machine', 'virtio-balloon-pci', 'e1000e'}


def case_balloon(bed):
    """The balloon of a guest that has no driver, and the object that it is."""
    device = 'virtio-balloon,id=balloon'
    with bed.start() as vmm, bed.twin() as qemu:
        same(vmm.client(), qemu.client(), [('balloon', {'value': 1}), ('query-balloon', {})])
    with bed.start('--device', device) as vmm, bed.twin('-device', device) as qemu:
        ours, theirs = vmm.client(), qemu.client()
        path = '/machine/peripheral/balloon'
        period = {'path': path, 'property': 'guest-stats-polling-interval'}
        stats = {'path': path, 'property': 'guest-stats'}
        same(ours, theirs, [
            ('query-balloon', {}), ('balloon', {'value': -5}), ('balloon', {'value': 0}), ('balloon', {'value': 1 << 24}),
            ('balloon', {'value': 1 << 60}), ('query-balloon', {}),
            ('qom-list', {'path': '/'}, names), ('qom-list', {'path': '/machine'}, names),
            ('qom-list', {'path': '/machine/peripheral'}, names), ('qom-list', {'path': path}, names),
            ('qom-list', {'path': '/machine/x'}), ('qom-list', {'path': '/machine/peripheral/x'}),
            ('qom-get', {'path': path, 'property': 'type'}), ('qom-get', {'path': 'balloon', 'property': 'type'}),
            ('qom-get', {'path': path, 'property': 'x'}), ('qom-get', {'path': '/x', 'property': 'type'}),
            ('qom-get', period), ('qom-set', {**period, 'value': 2}), ('qom-get', period), ('qom-set', {**period, 'value': -1}),
            ('qom-set', {**period, 'value': 'x'}), ('qom-set', {**period, 'value': 1 << 32}), ('qom-get', period),
            ('qom-set', {**period, 'value': 0}), ('qom-get', period), ('qom-set', {**stats, 'value': 1}),
            ('qom-set', {'path': path, 'property': 'x', 'value': 1}), ('qom-set', {'path': '/x', 'property': 'x', 'value': 1}),
            ('qom-get', stats, lambda answer: answer['return']['last-update']),
            ('qom-list-types', {'implements': 'virtio-balloon-pci'}, names), ('qom-list-types', {'implements': 'x'}),
            ('device-list-properties', {'typename': 'x'}), ('qom-list-properties', {'typename': 'x'})])
        kinds = {row['name']: row for row in ours.run('qom-list-types', implements='device')}
        check({'e1000e', 'virtio-blk-pci', 'pcie-root-port'} <= set(kinds), 'other types', kinds)
        mac = [row for row in ours.run('device-list-properties', typename='e1000e') if row['name'] == 'mac']
        check(mac and mac == [row for row in ours.run('qom-list-properties', typename='e1000e') if row['name'] == 'mac'], 'no mac')


def case_linux_balloon(bed):
    """Linux gives memory up and takes it back, each is told, and it tells about its memory when it is asked."""
    kernels = sorted(glob.glob('/boot/vmlinuz-*-cloud-amd64'))
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
    if not kernels or subprocess.run([f'{root}/tools/make-initrd', f'{bed.folder}/initrd'], check=False).returncode:
        raise Skipped('no cloud kernel, or tools/make-initrd failed')
    path, memory = bed.path('qmp'), 256 << 20
    with qmp.Process([bed.program, '--accel', 'soft', '--memory', str(memory), '--kernel', kernels[-1], '--initrd', f'{bed.folder}/initrd',
                      '--append', 'console=ttyS0 quiet kv.run="sleep 1000"', '--console', f'file:{bed.folder}/log', '--qmp',
                      f'unix:{path}'], path) as vmm:
        client = vmm.client()
        for target in memory - (64 << 20), memory:
            client.run('balloon', value=target)
            while client.event('BALLOON_CHANGE')['data']['actual'] != target:
                pass
            check(client.run('query-balloon') == {'actual': target}, 'another size')
        where = {'path': '/machine/peripheral/balloon'}
        client.run('qom-set', **where, property='guest-stats-polling-interval', value=1)
        end = time.monotonic() + qmp.LIMIT
        while True:
            answer = client.run('qom-get', **where, property='guest-stats')
            if answer['last-update']:
                break
            check(time.monotonic() < end, 'the guest tells nothing', answer)
            time.sleep(0.1)
        stats = answer['stats']
        check(abs(answer['last-update'] - time.time()) < 10 * qmp.LIMIT, 'another time', answer)
        check(memory // 2 < stats['stat-total-memory'] < memory and 0 < stats['stat-free-memory'] < stats['stat-total-memory'] and
              stats['stat-minor-faults'] > 0, 'other statistics', stats)


def backend(kind, **data):
    return {'type': kind, 'data': data}


def unix_socket(path, **more):
    return backend('socket', addr={'type': 'unix', 'data': {'path': path}}, **more)


def inet_socket(port, **more):
    return backend('socket', addr={'type': 'inet', 'data': {'host': '127.0.0.1', 'port': str(port)}}, **more)


def chardev(client, label):
    return {row['label']: row for row in client.run('query-chardev')}.get(label)


def wait_chardev(client, label, start):
    end = time.monotonic() + qmp.LIMIT
    while not chardev(client, label)['filename'].startswith(start):
        check(time.monotonic() < end, f'{label} is not "{start}..."', chardev(client, label))
        time.sleep(0.05)


def sides(bed, client):
    """Sockets of all ways: peers come, go and come again."""
    path = bed.path('s')
    client.run('chardev-add', id='server', backend=unix_socket(path))
    for _ in range(2):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(path)
            wait_chardev(client, 'server', f'unix:{path},server=on')
        wait_chardev(client, 'server', f'disconnected:unix:{path},server=on')
    client.run('chardev-add', id='tcp', backend=inet_socket(0))
    name = chardev(client, 'tcp')['filename']
    check(name.startswith('disconnected:tcp:127.0.0.1:') and name.endswith(',server=on'), 'another name', name)
    port = int(name.split(':')[-1].split(',')[0])
    client.run('chardev-add', id='dial', backend=inet_socket(port, server=False, reconnect=1))
    wait_chardev(client, 'dial', 'tcp:127.0.0.1:')
    wait_chardev(client, 'tcp', f'tcp:127.0.0.1:{port},server=on <-> 127.0.0.1:')
    # Nobody is there for a while; somebody else is when it tries again.
    client.run('chardev-remove', id='tcp')
    wait_chardev(client, 'dial', f'disconnected:tcp:127.0.0.1:{port}')
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        peer.bind(('127.0.0.1', port))
        peer.listen()
        wait_chardev(client, 'dial', 'tcp:127.0.0.1:')
    client.run('chardev-remove', id='dial')
    client.run('chardev-remove', id='server')
    check(not os.path.exists(path), 'the socket is left behind')


def certificates(folder, password):
    """An authority and a server of it, whose key has a password."""
    def tool(*words):
        subprocess.run(['certtool', *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    for who, lines in ('ca', ['cn = Test', 'ca', 'cert_signing_key']), ('server', ['cn = localhost', 'tls_www_server', 'signing_key']):
        with open(f'{folder}/{who}.info', 'w', encoding='ascii') as file:
            file.write('\n'.join([*lines, 'dns_name = localhost', 'expiration_days = 100', '']))
        tool('--generate-privkey', '--key-type', 'ecdsa', '--outfile', f'{folder}/{who}.key')
    tool('--generate-self-signed', '--load-privkey', f'{folder}/ca.key', '--template', f'{folder}/ca.info', '--outfile',
         f'{folder}/ca-cert.pem')
    tool('--generate-certificate', '--load-ca-certificate', f'{folder}/ca-cert.pem', '--load-ca-privkey', f'{folder}/ca.key',
         '--load-privkey', f'{folder}/server.key', '--template', f'{folder}/server.info', '--outfile', f'{folder}/server-cert.pem')
    tool('--to-p8', '--load-privkey', f'{folder}/server.key', '--password', password, '--outfile', f'{folder}/server-key.pem')


def case_objects(bed):
    """Secrets and credentials come and go; an NBD server takes them, password and all."""
    for tool in 'certtool', 'nbdinfo':
        if not shutil.which(tool):
            raise Skipped(f'no {tool}')
    folder, empty = bed.path('pki'), bed.path('empty')
    os.mkdir(folder)
    os.mkdir(empty)
    certificates(folder, 'pass word')
    with open(f'{folder}/base64', 'w', encoding='ascii') as file:
        file.write('cGFzcyB3b3Jk')
    with bed.start() as vmm, bed.twin() as qemu:
        ours, theirs = vmm.client(), qemu.client()

        def add(kind, ident, **more):
            return 'object-add', {'qom-type': kind, 'id': ident, **more}

        def nbd(creds, *change):
            return 'nbd-server-start', {'addr': {'type': 'unix', 'data': {'path': bed.path('nbd')}}, 'tls-creds': creds}, *change

        x509 = {'dir': folder, 'verify-peer': False}
        same(ours, theirs, [
            add('secret', '0'), add('secret', 's'), add('secret', 's', data='a', file='b'), add('secret', 's', data=5),
            add('secret', 's', data='*', format='base64'), add('secret', 's', data='x', format='x'), add('secret', 's', dir='x'),
            add('secret', 's', file='/no/such/file'), add('x', 's'), add('secret', 's', file=f'{folder}/base64', format='base64'),
            add('secret', 's', data='again'), add('secret', 'wrong', data='word'),
            add('tls-creds-x509', 't'), add('tls-creds-x509', 't', dir=empty), add('tls-creds-x509', 't', dir=empty, endpoint='server'),
            add('tls-creds-x509', 't', dir=folder, endpoint='x'),
            add('tls-creds-x509', 'c', endpoint='client', **x509),
            add('tls-creds-x509', 't', endpoint='server', passwordid='s', **x509),
            nbd('none'), nbd('s'), nbd('c'), ('object-del', {'id': 'none'}),
            ('qom-get', {'path': '/objects/s', 'property': 'type'}), ('qom-get', {'path': '/objects/s', 'property': 'x'}),
            ('qom-get', {'path': '/objects/x', 'property': 'type'}),
            ('qom-list', {'path': '/objects'}, lambda answer: sorted(row['type'] for row in answer['return'] if row['name'] in 'st')),
            ('object-del', {'id': 'c'}), ('object-del', {'id': 'c'})])
        # A wrong password is found out by QEMU when it reads the key, by us when somebody needs it.
        command, arguments = add('tls-creds-x509', 'w', endpoint='server', passwordid='wrong', **x509)
        ours.run(command, **arguments)
        check('error' in ours.ask({'execute': 'nbd-server-start', 'arguments': nbd('w')[1]}), 'any password will do')
        start = nbd('t')
        ours.run(start[0], **start[1])
        ours.run('object-del', id='t')
        with open(bed.path('disk'), 'wb') as file:
            file.truncate(1 << 20)
        ours.run('blockdev-add', **{'driver': 'file', 'filename': file.name, 'node-name': 'n'})
        ours.run('block-export-add', **{'type': 'nbd', 'id': 'e', 'node-name': 'n', 'name': ''})
        where = f'socket={start[1]["addr"]["data"]["path"]}'
        done = subprocess.run(['nbdinfo', '--size', f'nbds+unix://localhost/?{where}&tls-certificates={folder}&tls-verify-peer=false'],
                              capture_output=True, timeout=qmp.LIMIT, check=False)
        check(done.stdout == b'1048576\n', 'no export by TLS', done.stderr.decode())
        done = subprocess.run(['nbdinfo', '--size', f'nbd+unix:///?{where}'], capture_output=True, timeout=qmp.LIMIT, check=False)
        check(done.returncode, 'an export without TLS')


def case_chardev(bed):
    """Character devices that come and go, and what is refused; buffers."""
    with bed.start() as vmm, bed.twin() as qemu:
        ours, theirs = vmm.client(), qemu.client()
        nobody = {'id': 's', 'backend': inet_socket(1, server=False)}
        same(ours, theirs, [
            ('chardev-add', {'id': 'r', 'backend': backend('ringbuf', size=100)}),
            ('chardev-add', {'id': 'r', 'backend': backend('ringbuf', size=-1)}),
            ('chardev-add', {'id': 'r', 'backend': backend('ringbuf', size='x')}),
            ('chardev-add', {'id': 'r', 'backend': backend('x')}), ('chardev-add', {'id': 'r', 'backend': {'type': 'null'}}),
            ('chardev-add', {'id': 'r', 'backend': backend('null', x=1)}), ('chardev-add', {'id': 'r', 'backend': backend('file')}),
            ('chardev-add', {'id': 'r', 'backend': backend('ringbuf', size=8)}),
            ('chardev-add', {'id': 'r', 'backend': backend('null')}), ('chardev-add', {'id': 'n', 'backend': backend('null')}),
            ('chardev-add', {'id': 'f', 'backend': backend('file', out=bed.path('file'))}),
            ('chardev-add', {'id': 'x', 'backend': backend('file', out='/no/such/file')}, failed),
            ('chardev-add', nobody), ('chardev-add', {**nobody, 'backend': inet_socket(1, server=False, reconnect=100)}),
            ('chardev-add', {'id': 'x', 'backend': unix_socket('/no/such/socket', server=False)}),
            ('chardev-add', {'id': 'x', 'backend': unix_socket('x' * 108, server=False)}, failed),
            ('chardev-add', {'id': 'x', 'backend': inet_socket(1, reconnect=1)}),
            ('chardev-add', {'id': 'x', 'backend': inet_socket(1, server=False, wait=False)}),
            ('chardev-add', {'id': 'x', 'backend': backend('socket', addr={'type': 'inet', 'data': {'host': 'x'}})}),
            ('chardev-add', {'id': 'x', 'backend': backend('socket', addr={'type': 'x'})}),
            *[('query-chardev', {}, lambda answer, label=label: next(
                row for row in answer['return'] if row['label'] == label)) for label in ('r', 'n', 'f', 's')],
            ('chardev-remove', {'id': 'x'}), ('chardev-change', {'id': 'x', 'backend': backend('null')}),
            ('chardev-change', {'id': 's', 'backend': backend('null')}), ('chardev-remove', {'id': 's'}),
            ('ringbuf-write', {'device': 'r', 'data': 'hello'}), ('ringbuf-read', {'device': 'r', 'size': 3}),
            ('ringbuf-write', {'device': 'r', 'data': '0123456789'}), ('ringbuf-read', {'device': 'r', 'size': 100, 'format': 'base64'}),
            ('ringbuf-write', {'device': 'r', 'data': 'w6l=', 'format': 'base64'}), ('ringbuf-read', {'device': 'r', 'size': 1 << 40}),
            ('ringbuf-read', {'device': 'r', 'size': 1}), ('ringbuf-read', {'device': 'r', 'size': 0}),
            ('ringbuf-read', {'device': 'r', 'size': 1, 'format': 'x'}), ('ringbuf-read', {'device': 'f', 'size': 1}),
            ('ringbuf-read', {'device': 'x', 'size': 1}), ('ringbuf-write', {'device': 'x', 'data': ''}),
            ('ringbuf-write', {'device': 'r', 'data': '!', 'format': 'base64'}), ('chardev-remove', {'id': 'r'})])
        kinds = {row['name'] for row in ours.run('query-chardev-backends')}
        check(kinds == {'file', 'null', 'pty', 'ringbuf', 'socket'}, 'other kinds', sorted(kinds))
        sides(bed, ours)
        # The console goes on elsewhere.
        answer = ours.ask({'execute': 'chardev-remove', 'arguments': {'id': 'console'}})
        check(answer['error']['desc'] == "Chardev 'console' is busy", 'a console goes', answer)
        answer = ours.ask({'execute': 'chardev-add', 'arguments': {'id': 'p', 'backend': backend('pty')}})
        check('--sandbox off' in answer['error']['desc'], 'another error', answer)
    with bed.start('--sandbox', 'off') as vmm, bed.twin() as qemu:
        same(vmm.client(), qemu.client(), [
            ('chardev-add', {'id': 'p', 'backend': backend('pty')}, lambda answer: answer['return']['pty'].startswith('/dev/pts/')),
            ('chardev-remove', {'id': 'p'})])


def case_console(bed):
    """A guest's console is moved from one place to another while it runs: nothing is lost of what it gets and sends."""
    path, places = bed.path('qmp'), [bed.path('console') for _ in range(2)]
    kernels = sorted(glob.glob('/boot/vmlinuz-*-cloud-amd64'))
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
    if not kernels or subprocess.run([f'{root}/tools/make-initrd', f'{bed.folder}/initrd'], check=False).returncode:
        raise Skipped('no cloud kernel, or tools/make-initrd failed')

    def wait_text(peer, text):
        seen = b''
        while text not in seen:
            data = peer.recv(4096)
            check(data, 'the console is closed', seen.decode(errors='replace'))
            seen += data

    def talk(place, word, first=b''):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(qmp.LIMIT)
            peer.connect(place)
            wait_text(peer, first)
            peer.sendall(word + b'\n')
            wait_text(peer, b'=' + word + b'=')

    script = 'exec </dev/ttyS0; echo @ready; while read word; do echo =$word=; done'
    with qmp.Process([bed.program, '--accel', 'soft', '--memory', '128M', '--kernel', kernels[-1], '--initrd', f'{bed.folder}/initrd',
                      '--append', f'console=ttyS0 quiet kv.run="{script}"', '--console', f'unix:{places[0]}', '--qmp',
                      f'unix:{path}'], path) as vmm:
        client = vmm.client()
        talk(places[0], b'first', b'@ready')
        client.run('chardev-change', id='console', backend=unix_socket(places[1]))
        check(not os.path.exists(places[0]), 'the old socket is there')
        talk(places[1], b'second')
        client.run('chardev-change', id='console', backend=backend('ringbuf'))
        client.run('chardev-change', id='console', backend=unix_socket(places[0]))
        talk(places[0], b'third')


def case_port(bed):
    """What is refused about ports of a serial bus, and the names of buses."""
    with bed.start('--device', 'virtio-serial,id=vs') as vmm, bed.twin('-device', 'virtio-serial-pci,id=vs') as qemu:
        ours, theirs = vmm.client(), qemu.client()

        def port(ident, **more):
            return 'device_add', {'driver': 'virtserialport', 'id': ident, **more}

        same(ours, theirs, [
            ('chardev-add', {'id': 'a', 'backend': backend('ringbuf')}), ('chardev-add', {'id': 'b', 'backend': backend('null')}),
            port('p', chardev='x', name='n'), port('p', chardev='a', name='n', bus='x.0'),
            port('p', chardev='a', name='n', bus='vs.0'), port('q', chardev='a', name='m'), port('q', chardev='b', name='n'),
            ('chardev-remove', {'id': 'a'}), port('q', chardev='b', name='m'), ('device_del', {'id': 'p'})])
        ours.event('DEVICE_DELETED')
        theirs.event('DEVICE_DELETED')
        same(ours, theirs, [('chardev-remove', {'id': 'a'}), ('chardev-remove', {'id': 'b'}), ('device_del', {'id': 'p'})])
    with bed.start() as vmm, bed.twin() as qemu:
        same(vmm.client(), qemu.client(), [
            ('chardev-add', {'id': 'a', 'backend': backend('null')}),
            ('device_add', {'driver': 'virtserialport', 'id': 'p', 'chardev': 'a'}), ('chardev-remove', {'id': 'a'})])


def case_linux_port(bed):
    """A port that is plugged into a running Linux is spoken through, each side is told of the other, and it goes; twice."""
    kernels = sorted(glob.glob('/boot/vmlinuz-*-cloud-amd64'))
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
    if not kernels or subprocess.run([f'{root}/tools/make-initrd', f'{bed.folder}/initrd'], check=False).returncode:
        raise Skipped('no cloud kernel, or tools/make-initrd failed')
    path, place = bed.path('qmp'), bed.path('port')
    # Without udev ports have no names but vportNpM.
    script = ('while true; do for p in /dev/vport*; do [ -c $p ] || continue; exec 3<>$p; cat /sys/class/virtio-ports/*/name >&3; '
              'read word <&3; echo =$word= >&3; exec 3>&-; while [ -c $p ]; do sleep 0.1; done; echo @gone; done; sleep 0.1; done')
    with qmp.Process([bed.program, '--accel', 'soft', '--memory', '128M', '--kernel', kernels[-1], '--initrd', f'{bed.folder}/initrd',
                      '--append', f'console=ttyS0 quiet kv.run="{script}"', '--console', f'file:{bed.folder}/log', '--device',
                      'virtio-serial,id=vs', '--qmp', f'unix:{path}'], path) as vmm:
        client = vmm.client()
        client.run('chardev-add', id='c', backend=unix_socket(place))
        for times, word in enumerate((b'first', b'second'), 1):
            with socket.socket(socket.AF_UNIX) as peer:
                peer.settimeout(qmp.LIMIT)
                peer.connect(place)
                client.run('device_add', driver='virtserialport', id='p', bus='vs.0', chardev='c', name='org.kvasir.test')
                check(client.event('VSERPORT_CHANGE')['data'] == {'id': 'p', 'open': True}, 'another port')
                peer.sendall(word + b'\n')
                seen = b''
                while b'=' + word + b'=' not in seen:
                    data = peer.recv(4096)
                    check(data, 'the port is closed', seen.decode(errors='replace'))
                    seen += data
                check(seen.startswith(b'org.kvasir.test\n'), 'another name', seen.decode(errors='replace'))
                check(client.event('VSERPORT_CHANGE')['data'] == {'id': 'p', 'open': False}, 'the port stays open')
                client.run('stop')
                client.run('migrate', uri=f'file:{bed.path("saved")}')
                end = time.monotonic() + qmp.LIMIT
                while client.run('query-migrate')['status'] not in ('failed', 'completed'):
                    check(time.monotonic() < end, 'saving does not end')
                    time.sleep(0.05)
                answer = client.run('query-migrate')
                check("port 'p' was plugged in" in answer.get('error-desc', ''), 'it is saved', answer)
                client.run('cont')
                client.run('device_del', id='p')
                client.event('DEVICE_DELETED')
                end = time.monotonic() + qmp.LIMIT
                while open(f'{bed.folder}/log', 'rb').read().count(b'@gone') < times:
                    check(time.monotonic() < end, 'the guest still has the port')
                    time.sleep(0.05)


def case_unplug(bed):
    """A guest that was asked to let go of a device is not asked again before it can have answered, unless it was reset meanwhile."""
    with bed.start('--device', 'virtio-rng-pci,id=rng,bus=slot1') as vmm:
        client = vmm.client()
        for _ in range(2):
            pci(client)
            client.run('device_del', id='rng')
            for _ in range(2):
                answer = client.ask({'execute': 'device_del', 'arguments': {'id': 'rng'}})
                check(answer.get('error', {}).get('desc') == 'Device rng is already in the process of unplug', 'it is asked again', answer)
            client.run('system_reset')
        for name in 'usb-tablet', 'virtserialport':
            answer = client.ask({'execute': 'device_add', 'arguments': {'driver': name, 'id': 'x', 'bus': 'slot1', 'addr': '3'}})
            check(answer.get('error', {}).get('desc') == f"Property '{name}.addr' not found", 'a place is ignored', answer)
        client.run('quit')
        check(vmm.status() == 0, 'it does not end')


def case_power(bed):
    """An empty port is off: what is plugged into one that nobody has a driver for leaves at once; so does what nobody has seen."""
    def comes_and_goes(client):
        client.run('device_add', driver='virtio-rng-pci', id='r', bus='slot2')
        client.run('device_del', id='r')
        client.event('DEVICE_DELETED')
        answer = client.ask({'execute': 'device_del', 'arguments': {'id': 'r'}})
        check(answer.get('error', {}).get('class') == 'DeviceNotFound', 'it is there', answer)
    rng = 'virtio-rng-pci,id=rng,bus=slot1'
    with bed.start('--device', rng, '--paused') as vmm, \
            bed.twin('-device', rng, '-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off') as qemu:
        ours, theirs = vmm.client(), qemu.client()
        comes_and_goes(ours)
        for client in ours, theirs:
            client.run('cont')
            pci(client)
            comes_and_goes(client)
            client.run('device_del', id='rng')
            answer = client.ask({'execute': 'device_del', 'arguments': {'id': 'rng'}})
            check(answer.get('error', {}).get('desc') == 'Device rng is already in the process of unplug', 'it is not asked', answer)


def case_refused(bed):
    """What is wrong with a device or a picture is told as QEMU tells it, and nothing is passed over; a controller by QEMU's name."""
    with bed.start() as vmm, bed.twin() as qemu:
        ours, theirs = vmm.client(), qemu.client()
        picture = {'filename': bed.path('picture')}
        same(ours, theirs, [
            ('device_add', {'driver': 'virtio-blk-pci', 'id': 'd', 'bus': 'slot1', 'drive': 'none'}),
            ('device_add', {}), ('device_add', {'driver': 5}), ('device_add', {'driver': True}), ('device_add', {'driver': {}}), ('screendump', {**picture, 'head': 0}), ('screendump', {**picture, 'device': 'none'}),
            ('screendump', picture), ('device_add', {'driver': 'qemu-xhci', 'id': 'usb', 'bus': 'slot1'}),
            ('qom-get', {'path': '/machine/peripheral/usb', 'property': 'type'})])
        with open(bed.path('disk'), 'wb') as file:
            file.truncate(4096)
        node = {'driver': 'file', 'node-name': 'n', 'filename': file.name, 'read-only': True}
        same(ours, theirs, [('blockdev-add', node), ('blockdev-reopen', {'options': [{**node, 'read-only': 'yes'}]}),
                            ('blockdev-reopen', {'options': [node]})])
        ours.run('nbd-server-start', addr={'type': 'unix', 'data': {'path': bed.path('nbd')}})
        answer = ours.ask({'execute': 'block-export-add', 'arguments': {
            'type': 'nbd', 'id': 'e', 'node-name': 'n', 'bitmaps': [{'node': [], 'name': {}}]}})
        check("'node', expected: string" in answer['error']['desc'], 'a list is a name', answer)
        ours.run('quit')
        words = vmm.process.communicate(timeout=qmp.LIMIT)[1].decode()
        check('CRITICAL' not in words, 'a library complains', words)


def pci(client):
    """query-pci once firmware has numbered the buses: functions by name, those behind bridges included."""
    def walk(devices):
        for device in devices:
            yield device
            yield from walk(device.get('pci_bridge', {}).get('devices', []))
    end = time.monotonic() + qmp.LIMIT
    while True:
        buses = client.run('query-pci')
        found = {device['qdev_id']: device for device in walk(buses[0]['devices'])}
        if found.get('rng', {}).get('bus') and found['slot2']['pci_bridge']['bus']['secondary'] and \
                all(region['address'] >= 0 for region in found['rng']['regions']):
            return found
        check(time.monotonic() < end, 'firmware numbers no buses', buses)
        time.sleep(0.1)


def case_queries(bed):
    """What management asks at a start; PCI functions as firmware has placed them."""
    uuid, device = '12345678-1234-1234-1234-123456789abc', ['virtio-rng-pci,id=rng,bus=slot1']
    with bed.start('--smbios', f'type=1,uuid={uuid}', '--device', *device) as vmm, \
            bed.twin('-uuid', uuid, '-device', *device) as qemu:
        ours, theirs = vmm.client(), qemu.client()
        same(ours, theirs, [
            ('query-uuid', {}), ('query-target', {}), ('query-iothreads', {}), ('query-memory-devices', {}), ('query-vm-generation-id', {}),
            ('query-tpm', {}), ('query-pr-managers', {}),
            ('query-memory-size-summary', {}, lambda answer: answer['return']['base-memory']),
            ('query-command-line-options', {'option': 'x'}), ('query-command-line-options', {'option': 5})])
        machines = {row['name']: row for row in ours.run('query-machines')}
        check(set(machines) == {'micro', 'pc'} and machines['micro']['is-default'] and 'is-default' not in machines['pc'], 'machines', machines)
        options = ours.run('query-command-line-options', option='net')[0]
        check({'name': 'mac', 'type': 'string'}.items() <= next(p for p in options['parameters'] if p['name'] == 'mac').items(), 'net', options)
        check(len(ours.run('query-command-line-options')) > 20, 'options are missing')
        theirs.run('cont')
        mine, its = pci(ours), pci(theirs)
        for name in 'slot1', 'slot2', 'rng':
            a, b = mine[name], its[name]
            for key in 'bus', 'slot', 'function', 'irq_pin', 'id':
                check(a[key] == b[key], f'{name}: another {key}', a, b)
            check(a['class_info']['class'] == b['class_info']['class'], f'{name}: another class', a, b)
        for name in 'slot1', 'slot2':
            a, b = mine[name]['pci_bridge']['bus'], its[name]['pci_bridge']['bus']
            check([a[key] for key in ('number', 'secondary', 'subordinate')] == [b[key] for key in ('number', 'secondary', 'subordinate')],
                  f'{name}: other buses', a, b)
        windows = mine['slot1']['pci_bridge']['bus']
        for region in mine['rng']['regions']:
            check(region['type'] == 'memory' and any(
                windows[key]['base'] <= region['address'] and region['address'] + region['size'] - 1 <= windows[key]['limit']
                for key in ('memory_range', 'prefetchable_range')), 'a region outside of its window', region, windows)
        check(mine['rng']['regions'], 'no regions')


def main():
    program, *names = sys.argv[1:]
    return cases.run(globals(), names, lambda folder: Bed(os.path.abspath(program), folder))


if __name__ == '__main__':
    sys.exit(main())
