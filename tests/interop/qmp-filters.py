#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Filter nodes: what QMP says to them is what QEMU says; limits hold for NBD exports over them, and what is read through
copy-on-read is in the image afterwards.
usage: qmp-filters.py KV-VMM CASE...   Exit status 77: QEMU's or libnbd's programs are not installed."""
import json
import os
import shutil
import subprocess
import sys

import cases
import qmp
from cases import Skipped, check

DEBIAN = ['env', 'PATH=/usr/bin:/bin']  # Debian's Python has libnbd's module


class Bed(qmp.Bed):
    def images(self):
        """An overlay, empty, of an image that has a pattern in its first 3 MiB."""
        if not shutil.which('qemu-io'):
            raise Skipped('no qemu-io')
        base, top = self.path('base'), self.path('top')
        tool('qemu-img', 'create', '-q', '-f', 'qcow2', base, '16M')
        tool('qemu-io', '-f', 'qcow2', '-c', 'write -P 5 0 3M', base)
        tool('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', top)
        return base, top

    def pc(self):
        if not os.path.exists('/usr/share/seabios/bios-256k.bin'):
            raise Skipped('no SeaBIOS')
        path = self.path('qmp')
        return qmp.Process([self.program, '--accel', 'soft', '--machine', 'pc', '--firmware', 'bios', '--vga', 'none', '--memory', '64M',
                            '--console', f'file:{self.path("console")}', '--qmp', f'unix:{path}', '--device', 'pcie-root-port,id=slot,slot=1'],
                           path)


def tool(*words):
    done = subprocess.run([*DEBIAN, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=qmp.LIMIT, check=False)
    check(done.returncode == 0 and 'Pattern verification failed' not in done.stdout, ' '.join(words), done.stdout, done.stderr)
    return done.stdout


def names(**arguments):
    return {key.replace('_', '-'): value for key, value in arguments.items()}


def add(**arguments):
    return 'blockdev-add', names(**arguments)


def reopen(**options):
    return 'blockdev-reopen', {'options': [names(**options)]}


def group(ident, **limits):
    return 'object-add', {'qom-type': 'throttle-group', 'id': ident, 'limits': names(**limits)}


def own(path):
    """Bytes of each layer, as qemu-img map tells them: those that the image has itself."""
    rows = json.loads(tool('qemu-img', 'map', '-U', '--output=json', path))
    return sum(row['length'] for row in rows if row['depth'] == 0 and row.get('present', True) and (row['data'] or row['zero']))


def case_words(bed):
    """Filters are made, looked at, changed, in use, gone."""
    throttle = {'driver': 'throttle', 'node-name': 't', 'file': 'f'}

    def nodes(answer):
        return {row['node-name']: (row['drv'], row['ro'], row['image']['format'], row['image']['virtual-size'],
                                   row.get('backing_file') is None, row['backing_file_depth'])
                for row in answer['return'] if row['node-name'] in ('t', 'c')}

    def chain(answer):
        image, formats = answer['return'][-1]['inserted']['image'], []
        while image:
            formats.append((image['format'], 'backing-filename' in image))
            image = image.get('backing-image')
        return formats

    with bed.start() as vmm, bed.qemu('-M', 'q35') as qemu:
        ours, theirs = vmm.client(), qemu.client()
        for client in ours, theirs:
            client.run('blockdev-add', driver='qcow2', file={'driver': 'file', 'filename': bed.images()[1]}, **{'node-name': 'f'})
        for command, arguments, *change in [
                add(driver='throttle', node_name='t', file='f'), add(**throttle, throttle_group='g'), group('g', iops_total=100), group('h'),
                add(driver='throttle', node_name='t', throttle_group='g'), add(**{**throttle, 'file': 'x'}, throttle_group='g'),
                add(**throttle, throttle_group='g', x=1), add(**throttle, throttle_group=5), add(driver='copy-on-read', node_name='c'),
                add(driver='copy-on-read', node_name='c', file=5), add(driver='copy-on-read', node_name='c', file='f', throttle_group='g'),
                add(**throttle, throttle_group='g', read_only=True), ('query-named-block-nodes', {}, nodes), ('blockdev-del', {'node-name': 't'}),
                add(**throttle, throttle_group='g'), add(**throttle, throttle_group='g'), ('object-del', {'id': 'g'}),
                reopen(**throttle, throttle_group='x'), reopen(**throttle), reopen(**throttle, throttle_group='h'), ('object-del', {'id': 'g'}),
                ('object-del', {'id': 'h'}), add(driver='copy-on-read', node_name='c', file='t'), ('query-named-block-nodes', {}, nodes),
                ('block_resize', {'node-name': 'c', 'size': 32 << 20}), ('block_resize', {'node-name': 't', 'size': 40 << 20}),
                ('query-named-block-nodes', {}, nodes), ('block_resize', {'node-name': 'f', 'size': 48 << 20}),
                ('block-dirty-bitmap-add', {'node': 'f', 'name': 'b'}), ('block-stream', {'device': 'f', 'job-id': 'j', 'base-node': 'x'}),
                ('block-stream', {'device': 'x', 'job-id': 'j'})]:
            message = {'execute': command, 'arguments': arguments}
            got, wanted = ours.ask(message), theirs.ask(message)
            for f in change:
                got, wanted = f(got), f(wanted)
            check(got == wanted, f'{json.dumps(message)}: not the same', got, wanted)
        for name in 't', 'f':
            answer = ours.ask({'execute': 'blockdev-del', 'arguments': {'node-name': name}})
            check(answer['error']['desc'] == f'Node {name} is in use', 'a node goes that is in use', answer)
        for message, words in [
                (add(driver='raw', node_name='r', file='t'), 'a raw node cannot be on a throttle node, but that on it'),
                (add(driver='copy-on-read', node_name='r', file='t', cache={'direct': True}), "'cache' is for the node below a copy-on-read node")]:
            answer = ours.ask({'execute': message[0], 'arguments': message[1]})
            check(answer['error']['desc'] == words, 'another error', answer)
    # A device on the uppermost one.
    with bed.pc() as pc:
        client, base = pc.client(), bed.images()[1]
        client.run('object-add', **{'qom-type': 'throttle-group', 'id': 'g'})
        client.run('blockdev-add', driver='copy-on-read', **{'node-name': 'c'}, file={
            'driver': 'throttle', 'throttle-group': 'g', 'file': {'driver': 'qcow2', 'file': {'driver': 'file', 'filename': base}}})
        client.run('device_add', driver='virtio-blk-pci', id='d', drive='c', bus='slot')
        found = chain(client.ask({'execute': 'query-block'}))
        check(found == [('copy-on-read', False), ('throttle', False), ('qcow2', True), ('qcow2', False)], 'another chain', found)


# So many reads of each URI, all of them under way at once. What is seen of both at one moment counts: when the first has got no more
# while the second was looked at.
READS = """
import json, time
handles, ended, seen = [nbd.NBD() for _ in uris], [0] * len(uris), []
for handle, uri in zip(handles, uris):
    handle.connect_uri(uri)
def over(error, index):
    ended[index] += error.value == 0
    return 1
def look(handle):
    while handle.poll(0) > 0:
        pass
begin = time.monotonic()
for index, handle in enumerate(handles):
    for number in range(count):
        handle.aio_pread(nbd.Buffer(4096), number % 512 * 4096, lambda error, index=index: over(error, index))
    look(handle)
while any(handle.aio_in_flight() for handle in handles):
    for handle in handles:
        look(handle)
    first = ended[0]
    look(handles[0])
    if ended[0] == first:
        seen.append(list(ended))
    time.sleep(.002)
print(json.dumps([ended, seen, time.monotonic() - begin]))
"""
# The same; it says when the first of them has ended.
WAITS = READS.replace('while any', """while not ended[0]:
    handles[0].poll(100)
print('one', flush=True)
while any""")


def reads(uris, count):
    """Of so many reads at once of each URI: how many ended well, how many had at each time, and the seconds until the last."""
    return json.loads(tool('nbdsh', '-c', f'uris, count = {uris!r}, {count}', '-c', READS))


def serve(bed, client, *nodes):
    path = bed.path('nbd')
    client.run('nbd-server-start', addr={'type': 'unix', 'data': {'path': path}})
    for node in nodes:
        client.run('block-export-add', type='nbd', id=node, writable=True, **{'node-name': node})
    return [f'nbd+unix:///{node}?socket={path}' for node in nodes]


def case_limits(bed):
    """Requests through filters of one group share its limits, by turns; those of another do not wait; a drain, another limit or the
    end of the export lets go what waits."""
    if subprocess.run([*DEBIAN, 'nbdsh', '-c', 'pass'], stderr=subprocess.DEVNULL, check=False).returncode:
        raise Skipped('no nbdsh or no python3-libnbd')
    with bed.start() as vmm:
        client = vmm.client()
        for ident, limits in ('slow', {'iops-total': 10}), ('fast', {}):
            client.run('object-add', **{'qom-type': 'throttle-group', 'id': ident, 'limits': limits})
        for node, ident in ('a', 'slow'), ('b', 'slow'), ('c', 'fast'):
            below = {'driver': 'qcow2', 'node-name': f'{node}-image', 'file': {'driver': 'file', 'filename': bed.images()[1]}}
            client.run('blockdev-add', driver='throttle', file=below, **{'node-name': node, 'throttle-group': ident})
        uris = serve(bed, client, 'a', 'b', 'c')
        # Twenty-four, a tenth of a second each but for what a bucket holds; by turns, although the first asked for all of its own before.
        ended, seen, took = reads(uris[:2], 12)
        check(ended == [12, 12] and took > 1.5 and all(abs(a - b) <= 6 for a, b in seen), 'not limited, or not by turns', ended, seen, took)
        # Those that wait for that limit would take 200 seconds, which is longer than anybody waits here.
        check(reads(uris[2:], 2000)[0] == [2000], 'limited')
        # With another group the export is as fast; with a limit of all it is not.
        client.run('blockdev-reopen', options=[{'driver': 'throttle', 'node-name': 'a', 'throttle-group': 'fast', 'file': 'a-image'}])
        check(reads(uris[:1], 2000)[0] == [2000], 'limited in another group')
        client.run('qom-set', path='/objects/fast', property='limits', value={'bps-read': 20 * 4096})
        check(reads(uris[:1], 20)[2] > 0.5, 'not limited by bytes')
        client.run('qom-set', path='/objects/slow', property='limits', value={'iops-total': 1, 'iops-total-max': 0})
        with subprocess.Popen([*DEBIAN, 'nbdsh', '-c', f'uris, count = {uris[1:2]!r}, 400', '-c', WAITS], stdout=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, text=True) as waits:
            check(waits.stdout.readline() == 'one\n', 'none ends')
            # What waits, for minutes, is not under way: the image is changed at once, and the requests wait on.
            client.run('blockdev-snapshot-sync', **{'node-name': 'b', 'snapshot-file': bed.path('overlay'), 'snapshot-node-name': 'over'})
            check(waits.poll() is None, 'a snapshot waits for limits')
            client.run('qom-set', path='/objects/slow', property='limits', value={'iops-total': 0})
            check(json.loads(waits.communicate(timeout=qmp.LIMIT)[0])[0] == [400], 'not all of them end')
        answer = client.ask({'execute': 'blockdev-mirror', 'arguments': {'device': 'a-image', 'target': 'c', 'sync': 'full', 'job-id': 'm'}})
        check('is a filter' in answer['error']['desc'], 'a copy through a filter', answer)
        client.run('quit')
        check(vmm.status() == 0, f'status {vmm.process.returncode}')


def case_copies(bed):
    """What is read through copy-on-read is in the overlay, and nothing else; also after a snapshot below it; a stream does the rest."""
    with bed.start() as vmm:
        client, top = vmm.client(), bed.images()[1]
        image = {'driver': 'qcow2', 'node-name': 'image', 'file': {'driver': 'file', 'filename': top}}
        client.run('blockdev-add', driver='copy-on-read', file=image, **{'node-name': 'copies'})
        uri = serve(bed, client, 'copies')[0]
        check(own(top) == 0, 'it is not empty at first')
        tool('qemu-io', '-f', 'raw', '-c', 'read -P 5 65536 131072', uri)
        check(own(top) == 131072, 'not what was read', own(top))
        tool('qemu-io', '-f', 'raw', '-c', 'read -P 5 0 512', '-c', 'read -P 0 8M 64k', '-c', 'write -P 7 1M 4k', '-c', 'read -P 7 1M 4k', '-c',
             'read -P 5 1028k 60k', '-c', 'flush', uri)
        first = own(top)
        check(131072 + 2 * 65536 <= first <= 131072 + 3 * 65536, 'more than was read and written', first)
        overlay = bed.path('overlay')
        client.run('blockdev-snapshot-sync', **{'node-name': 'copies', 'snapshot-file': overlay, 'snapshot-node-name': 'over'})
        tool('qemu-io', '-f', 'raw', '-c', 'read -P 7 1M 4k', '-c', 'read -P 5 2M 64k', '-c', 'flush', uri)
        check(own(top) == first and own(overlay) == 2 * 65536, 'not in the overlay', own(top), own(overlay))
        client.run('block-stream', device='copies', **{'job-id': 'j'})
        while client.event('JOB_STATUS_CHANGE')['data']['status'] != 'null':
            pass
        tool('qemu-io', '-f', 'raw', '-c', 'read -P 7 1M 4k', '-c', 'read -P 5 1028k 1020k', '-c', 'read -P 5 0 1M', uri)
        client.run('quit')
        check(vmm.status() == 0, f'status {vmm.process.returncode}')
    check('backing file:' not in tool('qemu-img', 'info', overlay), 'it stands on something')
    case_copies_of_disk(bed)
    tool('qemu-io', '-f', 'qcow2', '-c', 'read -P 5 0 1M', '-c', 'read -P 7 1M 4k', '-c', 'read -P 5 1028k 2044k', overlay)
    tool('qemu-img', 'check', '-q', overlay)


def case_copies_of_disk(bed):
    """--disk copy-on-read=on: the filter is not shown, and is above snapshots of the disk."""
    base, top = bed.images()
    overlay = bed.path('overlay')
    with bed.start('--disk', f'file={top},format=qcow2,id=d,copy-on-read=on') as vmm:
        client, path = vmm.client(), bed.path('nbd')
        row = client.run('query-block')[0]['inserted']
        check((row['drv'], row['backing_file'], row['backing_file_depth']) == ('qcow2', base, 1), 'the filter is shown', row)
        client.run('nbd-server-start', addr={'type': 'unix', 'data': {'path': path}})
        client.run('nbd-server-add', device='d')
        tool('qemu-io', '-r', '-f', 'raw', '-c', 'read -P 5 1M 64k', f'nbd+unix:///d?socket={path}')
        client.run('blockdev-snapshot-sync', device='d', **{'snapshot-file': overlay})
        tool('qemu-io', '-r', '-f', 'raw', '-c', 'read -P 5 0 128k', f'nbd+unix:///d?socket={path}')
        client.run('quit')
        check(vmm.status() == 0, f'status {vmm.process.returncode}')
    check(own(top) == 65536 and own(overlay) == 131072, 'not what was read where', own(top), own(overlay))
    tool('qemu-io', '-f', 'qcow2', '-c', 'read -P 5 0 3M', overlay)
    done = subprocess.run([bed.program, '--kernel', bed.kernel, '--disk', f'file={top},format=qcow2,copy-on-read=on,readonly=on'],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=qmp.LIMIT, check=False)
    check(done.stderr == b'kv-vmm: --disk: copy-on-read writes to the image; leave out readonly\n', 'another error', done.stderr)


def main():
    program, *wanted = sys.argv[1:]
    return cases.run(globals(), wanted, lambda folder: Bed(os.path.abspath(program), folder))


if __name__ == '__main__':
    sys.exit(main())
