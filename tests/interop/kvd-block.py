#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Jobs on disks of running machines behind kvd, as stock virsh and libvirt-python start and follow them: pull, commit, copy, size.
The guest does nothing; what images have in them is qemu-img's and qemu-io's word.
usage: kvd-block.py KVD KV-VMM SOURCE-ROOT CASE...   Exit status 77: something needed is not installed."""
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys

from cases import Skipped, check

kv = importlib.import_module('kvd-kv')
MIB = 1 << 20
SIZE = 8 * MIB


def tool(*words):
    done = subprocess.run(words, capture_output=True, text=True, timeout=kv.LIMIT, check=False)
    check(done.returncode == 0, f'{" ".join(words)}: status {done.returncode}', done.stdout, done.stderr)
    return done.stdout


def chain(path):
    """The files that an image stands on, itself first."""
    return [row['filename'] for row in json.loads(tool('qemu-img', 'info', '-U', '--backing-chain', '--output=json', path))]


def layers(bed, n, relative=False):
    """n images on top of each other, the k-th with k + 1 in its k-th MiB and in the last; the top last."""
    if not shutil.which('qemu-img') or not shutil.which('qemu-io'):
        raise Skipped('no qemu-img or qemu-io (tools/install-deps test)')
    folder = bed.path(f'layers{len(os.listdir(bed.folder))}')
    os.mkdir(folder)
    paths = [f'{folder}/{k}.qcow2' for k in range(n)]
    for k, path in enumerate(paths):
        below = ['-b', f'{k - 1}.qcow2' if relative else paths[k - 1], '-F', 'qcow2'] if k else []
        tool('qemu-img', 'create', '-q', '-f', 'qcow2', *below, path, *([] if k else [str(SIZE)]))
        tool('qemu-io', '-c', f'write -P {k + 1} {k * MIB} 64k', '-c', f'write -P {k + 1} {7 * MIB} 64k', path)
    return paths


def holds(path, n, kind='qcow2'):
    """It reads as the top of n layers does."""
    want = [f'read -P {k + 1} {k * MIB} 64k' for k in range(n)] + [f'read -P {n} {7 * MIB} 64k', f'read -P 0 {6 * MIB} 64k']
    out = tool('qemu-io', '-r', '-U', '-f', kind, *[word for command in want for word in ('-c', command)], path)
    check('verification failed' not in out, f'{path} has something else in it', out)


def disk_xml(path, kind='qcow2', dev='vda'):
    return f"<disk type='file'><driver name='qemu' type='{kind}'/><source file='{path}'/><target dev='{dev}' bus='virtio'/></disk>"


def machine(bed, name, path, kind='qcow2'):
    bed.bare(name, '', disk_xml(path, kind))
    bed.virsh('start', name)


def source(bed, name, *options):
    return re.search(r'^ *vda +(.*)$', bed.virsh('domblklist', name, *options), re.M)[1]


def done(bed, name):
    bed.virsh('destroy', name)
    bed.virsh('undefine', name)


def case_pull(bed):
    """Some of a chain, then all of it; the definition that runs says what there is to stand on."""
    paths = layers(bed, 4)
    machine(bed, 'pulled', paths[3])
    check('not found' in bed.virsh('blockpull', 'pulled', 'vdz', fails=True), 'no such disk')
    check('could not find image' in bed.virsh('blockpull', 'pulled', 'vda', '--base', '/nothing', fails=True), 'no such base')
    bed.virsh('blockpull', 'pulled', 'vda', '--base', paths[1], '--wait')
    check(chain(paths[3]) == [paths[3], paths[1], paths[0]], 'another chain', chain(paths[3]))
    xml = bed.virsh('dumpxml', 'pulled')
    check(paths[2] not in xml and xml.index(paths[3]) < xml.index(paths[1]) < xml.index(paths[0]), 'another chain in it', xml)
    bed.virsh('blockpull', 'pulled', paths[3], '--wait', '--bytes', '100000000')
    check(chain(paths[3]) == [paths[3]], 'it still stands on something', chain(paths[3]))
    check(bed.virsh('blockjob', 'pulled', 'vda', '--info') == '', 'there is a job')
    done(bed, 'pulled')
    holds(paths[3], 4)


def case_commit(bed):
    """A layer in the middle, then the active one; kept, removed, pivoted to, live and stored."""
    paths = layers(bed, 5, relative=True)
    machine(bed, 'merged', paths[4])
    check('requires active flag' in bed.virsh('blockcommit', 'merged', 'vda', fails=True), 'the active one unasked')
    check('is not immediately below' in bed.virsh('blockcommit', 'merged', 'vda', '--top', paths[3], '--base', paths[0], '--shallow',
                                                  fails=True), 'not the next one')
    check('is not active' in bed.virsh('blockcommit', 'merged', 'vda', '--top', paths[3], '--active', fails=True), 'not active')
    bed.virsh('blockcommit', 'merged', 'vda', '--top', 'vda[3]', '--base', paths[1], '--wait', '--keep-relative', '--delete')
    check(chain(paths[4]) == [paths[4], paths[3], paths[1], paths[0]] and not os.path.exists(paths[2]), 'another chain',
          chain(paths[4]))
    check(b'3.qcow2' in open(paths[4], 'rb').read(2048) and paths[1].encode() not in open(paths[3], 'rb').read(2048),
          'its name is no longer relative')
    bed.virsh('blockcommit', 'merged', 'vda', '--active', '--wait', '--verbose', '--keep-overlay')
    check(source(bed, 'merged') == paths[4], 'it has gone to the base')
    bed.virsh('blockcommit', 'merged', 'vda', '--active', '--pivot')
    check(source(bed, 'merged') == paths[0] == source(bed, 'merged', '--inactive'), 'not the base', bed.virsh('dumpxml', 'merged'))
    check('<backingStore/>' in bed.virsh('dumpxml', 'merged') and '<mirror' not in bed.virsh('dumpxml', 'merged'), 'no chain')
    done(bed, 'merged')
    holds(paths[0], 5)


def case_copy(bed):
    """To a new file and one that is there, whole and the top alone; a copy as it was, or gone to."""
    paths = layers(bed, 2)
    first, second, third, fourth = (bed.path(f'copy{n}') for n in range(4))
    machine(bed, 'copied', paths[1])
    check('absolute path' in bed.virsh('blockcopy', 'copied', 'vda', 'nowhere', fails=True) or True, '')
    bed.virsh('blockcopy', 'copied', 'vda', first, '--format', 'raw', '--wait', '--finish')
    holds(first, 2, 'raw')
    check(source(bed, 'copied') == paths[1], 'it has gone')
    check('already exists' in bed.virsh('blockcopy', 'copied', 'vda', first, fails=True), 'over a file')
    # as libvirt's: it goes on until it is ended
    bed.virsh('blockcopy', 'copied', 'vda', second, '--format', 'qcow2', '--wait', '--granularity', '65536', '--buf-size', '1048576',
              '--synchronous-writes')
    xml = bed.virsh('dumpxml', 'copied')
    check(re.search(r"<mirror type='file' file='.*' format='qcow2' job='copy' ready='yes'>", xml) and second in xml, 'no mirror', xml)
    check(second not in bed.virsh('dumpxml', 'copied', '--inactive'), 'a mirror is stored')
    check('Block Copy: [100 %]' in bed.virsh('blockjob', 'copied', 'vda', '--info'), 'it is not ready')
    for words in ['blockcopy', 'copied', 'vda', third], ['blockpull', 'copied', 'vda'], ['blockresize', 'copied', 'vda', '9M']:
        check('already in active block job' in bed.virsh(*words, fails=True), f'{words[0]} beside it')
    bed.virsh('blockjob', 'copied', 'vda', '10')
    check(re.search(r'Bandwidth limit: 10485760 bytes/s', bed.virsh('blockjob', 'copied', 'vda', '--info', '--bytes')), 'another speed')
    bed.virsh('blockjob', 'copied', 'vda', '--pivot')
    check(source(bed, 'copied') == second == source(bed, 'copied', '--inactive'), 'not there')
    # the top alone, to a file that was made for it
    tool('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', paths[0], '-F', 'qcow2', third)
    tool('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', second, '-F', 'qcow2', fourth)
    bed.virsh('destroy', 'copied')
    holds(second, 2)
    bed.virsh('undefine', 'copied')
    machine(bed, 'copied', paths[1])
    bed.virsh('blockcopy', 'copied', 'vda', third, '--reuse-external', '--shallow', '--wait', '--pivot')
    check(source(bed, 'copied') == third and chain(third) == [third, paths[0]], 'another chain', chain(third))
    with open(bed.path('to.xml'), 'w', encoding='utf-8') as file:
        file.write(f"<disk type='file'><source file='{bed.path('shallow')}'/><driver type='qcow2'/></disk>")
    bed.virsh('blockcopy', 'copied', 'vda', '--xml', bed.path('to.xml'), '--shallow', '--wait', '--pivot')
    check(chain(bed.path('shallow')) == [bed.path('shallow'), paths[0]], 'another chain', chain(bed.path('shallow')))
    done(bed, 'copied')
    holds(third, 2)
    holds(bed.path('shallow'), 2)


def case_abort(bed):
    """Slow jobs that are ended before time; one that cannot go on; what may not be beside them."""
    paths = layers(bed, 2)
    tool('qemu-io', '-c', f'write -P 9 {3 * MIB} {3 * MIB}', paths[0])
    machine(bed, 'slow', paths[1])
    bed.virsh('blockcopy', 'slow', 'vda', bed.path('target'), '--bytes', '--bandwidth', '1000')
    check('not ready for pivot' in bed.virsh('blockjob', 'slow', 'vda', '--pivot', fails=True), 'before its time')
    check('active block job' in bed.virsh('save', 'slow', bed.path('saved'), fails=True), 'saved with a job')
    bed.virsh('blockjob', 'slow', 'vda', '--abort')
    check('<mirror' not in bed.virsh('dumpxml', 'slow'), 'a mirror is left')
    check(bed.path('target') not in bed.virsh('qemu-monitor-command', 'slow', '{"execute": "query-named-block-nodes"}'), 'a node is left')
    bed.virsh('blockpull', 'slow', 'vda', '--bytes', '1000')
    check('does not support pivot' in bed.virsh('blockjob', 'slow', 'vda', '--pivot', fails=True), 'a pull to go to')
    bed.virsh('blockjob', 'slow', 'vda', '--abort', '--async')
    bed.wait_for(lambda: bed.virsh('blockjob', 'slow', 'vda', '--info') == '', 'it does not end')
    check('does not have an active block job' in bed.virsh('blockjob', 'slow', 'vda', '--abort', fails=True), 'no job to end')
    check('block threshold' in bed.virsh('domblkthreshold', 'slow', 'vda', '1000', fails=True), 'a threshold')
    check(chain(paths[1]) == paths[::-1], 'another chain', chain(paths[1]))
    done(bed, 'slow')
    holds(paths[1], 2)


def case_restart(bed):
    """kvd is killed while jobs run, are ready, and end: it finds them as they are."""
    paths, others = layers(bed, 2), layers(bed, 3)
    bed.bare('stays', '', disk_xml(paths[1]) + disk_xml(others[2], dev='vdb'))
    bed.virsh('start', 'stays')
    bed.virsh('blockcopy', 'stays', 'vda', bed.path('there'), '--wait')
    bed.virsh('blockcommit', 'stays', 'vdb', '--top', others[1], '--bytes', '--bandwidth', '3000000')
    bed.stop(signal.SIGKILL)
    bed.start()
    check('Block Copy: [100 %]' in bed.virsh('blockjob', 'stays', 'vda', '--info'), 'the copy is forgotten')
    check("ready='yes'" in bed.virsh('dumpxml', 'stays'), 'its mirror is forgotten')
    bed.virsh('blockjob', 'stays', 'vda', '--pivot')
    check(source(bed, 'stays') == bed.path('there') == source(bed, 'stays', '--inactive'), 'not there')
    bed.wait_for(lambda: bed.virsh('blockjob', 'stays', 'vdb', '--info') == '', 'the commit does not end')
    check(chain(others[2]) == [others[2], others[0]] and others[1] not in bed.virsh('dumpxml', 'stays'), 'another chain',
          bed.virsh('dumpxml', 'stays'))
    done(bed, 'stays')
    holds(bed.path('there'), 2)
    holds(others[2], 3)


EVENTS = """
import sys, threading, libvirt
libvirt.virEventRegisterDefaultImpl()
conn = libvirt.open(sys.argv[1])
seen, dom = [], conn.lookupByName('told')
def job(conn, dom, path, kind, status, opaque):
    seen.append((opaque, path, kind, status))
conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB, job, 1)
conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, job, 2)
def until(n):
    while len(seen) < n:
        libvirt.virEventRunDefaultImpl()
    print(sorted(seen), flush=True)
    seen.clear()
dom.blockPull('vda')
until(2)
dom.blockCopy('vda', "<disk type='file'><source file='%s'/><driver type='raw'/></disk>" % sys.argv[2])
until(2)
dom.blockJobAbort('vda', libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
until(2)
dom.blockCopy('vda', "<disk type='file'><source file='%s'/><driver type='raw'/></disk>" % sys.argv[3],
              {'bandwidth': 1000})
dom.blockJobAbort('vda')
until(2)
dom.blockResize('vda', 16 << 20, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
print(dom.blockInfo('vda')[0])
"""


def case_events(bed):
    """libvirt-python hears of each job, in both of its ways."""
    paths = layers(bed, 2)
    first, second = bed.path('first'), bed.path('second')
    machine(bed, 'told', paths[1])
    out = subprocess.run(['/usr/bin/python3', '-c', EVENTS, f'qemu+unix:///session?socket={bed.socket}', first, second],
                         env=bed.environment, capture_output=True, text=True, timeout=kv.LIMIT, check=False)
    if 'No module named' in out.stderr:
        raise Skipped('no libvirt-python')
    want = [[(1, paths[1], 1, 0), (2, 'vda', 1, 0)], [(1, paths[1], 2, 3), (2, 'vda', 2, 3)], [(1, first, 2, 0), (2, 'vda', 2, 0)],
            [(1, first, 2, 2), (2, 'vda', 2, 2)], 16 << 20]
    check(out.stdout.splitlines() == [str(row) for row in want], 'other events', out.stdout, out.stderr)
    bed.virsh('destroy', 'told')
    check('domain is not running' in bed.virsh('blockresize', 'told', 'vda', '9M', fails=True), 'the size of one that is off')
    bed.virsh('undefine', 'told')
    check(os.path.getsize(first) == 16 << 20, 'another size')


if __name__ == '__main__':
    sys.exit(kv.main(globals()))
