#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Jobs of kvd's machines that take long, as stock virsh and libvirt-python have them: core dumps, how far they are, their end before
time; and what machines tell. The guest is a few bytes long.
usage: kvd-jobs.py KVD KV-VMM SOURCE-ROOT CASE...   Exit status 77: something needed is not installed."""
import importlib
import fcntl
import os
import re
import subprocess
import sys

from cases import check

kv = importlib.import_module('kvd-kv')


def fields(text):
    return dict(re.findall(r'^(.*?): +(.*?)\s*$', text, re.M))


def case_dump(bed):
    """Core files for debuggers and whole states; what becomes of the machine; formats that there are not."""
    core = bed.path('core')
    bed.bare('dumped')
    bed.virsh('start', 'dumped')
    bed.virsh('dump', 'dumped', core, '--memory-only', '--format', 'elf')
    bed.wait('running (unpaused)', 'dumped')
    with open(core, 'rb') as file:
        head = file.read(18)
    check(head[:5] == b'\x7fELF\x02' and head[16] == 4 and os.path.getsize(core) > 128 << 20, 'no core file', repr(head))
    done = fields(bed.virsh('domjobinfo', 'dumped', '--completed'))
    check(done['Job type'] == 'Completed' and done['Operation'] == 'Dump', 'another job', done)
    check(bed.virsh('domjobinfo', 'dumped', '--completed').startswith('Job type:') and
          fields(bed.virsh('domjobinfo', 'dumped', '--completed'))['Job type'] == 'None', 'told twice')
    bed.virsh('dump', 'dumped', core, '--live')
    with open(core, 'rb') as file:
        check(file.read(4) != b'\x7fELF' and os.path.getsize(core) > 1000, 'no state')
    done = fields(bed.virsh('domjobinfo', 'dumped', '--completed', '--keep-completed'))
    check(done['Operation'] == 'Dump' and done['Memory total'].startswith('128.') and int(done['Constant pages']) > 0, 'no numbers', done)
    check(bed.virsh('domstate', 'dumped').startswith('running'), 'it does not go on')
    check("unsupported dumpformat 'kdump-lzo'" in bed.virsh('dump', 'dumped', core, '--memory-only', '--format', 'kdump-lzo', fails=True),
          'a format that there is not')
    check('Failed to create file' in bed.virsh('dump', 'dumped', '/no/such/folder/core', fails=True), 'into nowhere')
    check(bed.virsh('domstate', 'dumped').startswith('running'), 'it does not go on')
    bed.virsh('dump', 'dumped', core, '--memory-only', '--reset', '--bypass-cache')
    bed.virsh('dump', 'dumped', core, '--memory-only', '--crash')
    bed.wait('shut off (crashed)', 'dumped')
    bed.virsh('undefine', 'dumped')


def case_abort(bed):
    """A dump that nobody reads is looked at and ended; the machine goes on."""
    fifo = bed.path('fifo')
    os.mkfifo(fifo)
    bed.bare('stuck')
    bed.virsh('start', 'stuck')
    check('no job is active' in bed.virsh('domjobabort', 'stuck', fails=True), 'no job to end')
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)  # else all of a bare machine fits
    dump = subprocess.Popen(['virsh', '-c', f'qemu+unix:///session?socket={bed.socket}', 'dump', 'stuck', fifo], env=bed.environment,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    bed.wait_for(lambda: 'Memory total' in bed.virsh('domjobinfo', 'stuck'), 'no job')
    info = fields(bed.virsh('domjobinfo', 'stuck'))
    check(info.get('Operation') == 'Dump' and info['Job type'] in ('Bounded', 'Unbounded'), 'another job', info)
    bed.virsh('domjobabort', 'stuck')
    os.set_blocking(reader, True)
    while os.read(reader, 1 << 20):
        pass
    text = dump.communicate(timeout=kv.LIMIT)[0]
    check(dump.returncode and 'domain core dump job: canceled by client' in text, 'it is not ended', text)
    os.close(reader)
    bed.wait('running (unpaused)', 'stuck')
    bed.virsh('save', 'stuck', bed.path('saved'))
    done = fields(bed.virsh('domjobinfo', 'stuck', '--completed'))
    check(done['Operation'] == 'Save', 'another job', done)
    bed.virsh('undefine', 'stuck')


def case_vcpus(bed):
    """Those that it starts with stay while it runs, which is said; the next start has as many as are asked for."""
    bed.bare('small')
    bed.virsh('setvcpus', 'small', '4', '--maximum', '--config')
    bed.virsh('setvcpus', 'small', '4', '--config')
    bed.virsh('start', 'small')
    check('failed to find appropriate hotpluggable vcpus' in bed.virsh('setvcpus', 'small', '3', '--live', fails=True), 'they are plugged')
    bed.virsh('setvcpus', 'small', '2', '--config', '--maximum')
    counts = bed.virsh('vcpucount', 'small').split()
    check(counts[2::3] == ['2', '4', '2', '4'], 'other numbers', counts)
    check('QEMU guest agent is not configured' in bed.virsh('setvcpus', 'small', '1', '--guest', fails=True), 'an agent')
    check('not supported by the connection driver' in bed.virsh('send-process-signal', 'small', '1', 'sigterm', fails=True), 'a signal')
    check('guest agent' in bed.virsh('dompmsuspend', 'small', 'mem', fails=True), 'it sleeps')
    bed.virsh('dompmwakeup', 'small', fails=True)
    bed.virsh('inject-nmi', 'small')
    bed.wait('shut off (crashed)', 'small')  # it has no handler for it
    bed.virsh('undefine', 'small')


if __name__ == '__main__':
    sys.exit(kv.main(globals()))
