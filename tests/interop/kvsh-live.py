#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kvsh beside virsh at machines that run: each has a kvd of its own with the same machines, and the same lines, one after the other,
say the same there and end with the same status.

Lines are in kvsh-live/NAME.txt, in one argument, with {dir} the folder of each. Marks before one: '~' numbers may differ (clocks,
counters), '^' standard output may differ (a text of ours).   usage: kvsh-live.py KVD KV-VMM SOURCE-ROOT KVSH CASE...
Exit status 77: virsh or what a machine needs is missing."""
import concurrent.futures
import importlib
import os
import re
import subprocess
import sys

import cases
from cases import check

kv = importlib.import_module('kvd-kv')
block = importlib.import_module('kvd-block')
agent = importlib.import_module('kvd-agent')
HERE = os.path.dirname(os.path.abspath(__file__))
UUID = '11111111-2222-3333-4444-{:012}'
PROGRESS = r'(?:\r(Block \w+|Migration|Dump|Save|Managedsave): \[[ 0-9.]+ ?%\])+(?=\r\1: \[100 %\])'


class Twins:
    """What virsh has, and what kvsh has; .each: both beds."""

    def __init__(self, kvd, vmm, root, kvsh, folder):
        self.programs = ['virsh', kvsh]
        self.each = []
        for name in 'first', 'other':
            os.mkdir(f'{folder}/{name}')
            self.each.append(kv.Bed(kvd, vmm, root, f'{folder}/{name}'))
        self.folder, self.threads = folder, concurrent.futures.ThreadPoolExecutor(2)

    def say(self, which, line):
        """Standard output, standard error and status, without what is only this one's."""
        bed = self.each[which]
        uri = f'qemu+unix:///session?socket={bed.socket}'
        done = subprocess.run([self.programs[which], '-c', uri, line.replace('{dir}', bed.folder)], env=bed.environment, cwd=bed.folder,
                              capture_output=True, stdin=subprocess.DEVNULL, timeout=kv.LIMIT, check=False)
        texts = [re.sub(PROGRESS, '', text.decode().replace(uri, 'URI').replace(bed.folder, 'DIR')) for text in (done.stdout, done.stderr)]
        return [*texts, done.returncode]

    def compare(self, line, marks):
        theirs, ours = self.threads.map(lambda which: self.say(which, line), (0, 1))
        for answer in theirs, ours:
            for at in 0, 1:
                if '~' in marks:
                    answer[at] = re.sub(r'-{3,}', '---', re.sub(r' +', ' ', re.sub(r'\d+(\.\d+)?', '#', answer[at])))
            if '^' in marks:
                answer[0] = ''
        if theirs == ours:
            return True
        for what, a, b in zip(('stdout', 'stderr', 'status'), theirs, ours):
            if a != b:
                print(f'--- {line}\n{what} of virsh:\n{a!r}\nof kvsh:\n{b!r}', flush=True)
        return False

    def lines(self, name):
        """All lines of a file; how many that run ended well, at virsh."""
        bad = 0
        with open(f'{HERE}/kvsh-live/{name}.txt', encoding='utf-8') as file:
            lines = [line for line in file.read().splitlines() if line and not line.startswith('#')]
        for line in lines:
            marks, line = re.match('([~^]*)(.*)', line).groups()
            bad += not self.compare(line, marks)
        check(lines and not bad, f'{bad} of {len(lines)} lines differ')

    def close(self):
        for bed in self.each:
            bed.close()


def fixed(bed, name, number):
    """The definition that was made last, with a UUID that both have."""
    path = bed.path(f'{name}.xml')
    with open(path, encoding='utf-8') as file:
        text = file.read()
    bed.virsh('undefine', name)
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text.replace('</name>', f'</name><uuid>{UUID.format(number)}</uuid>', 1))
    bed.virsh('define', path)


def case_block(twins):
    """Jobs of disks that come to their end, and all that is said about disks."""
    for bed in twins.each:
        paths = block.layers(bed, 5)
        for number, path in enumerate(paths):
            os.symlink(path, bed.path(f'l{number}'))
        os.rename(os.path.dirname(paths[0]), bed.path('layers'))
        for number in range(5):
            os.unlink(bed.path(f'l{number}'))
            block.tool('qemu-img', 'rebase', '-u', '-f', 'qcow2', *(['-b', bed.path(f'layers/{number - 1}.qcow2'), '-F', 'qcow2'] if number else ['-b', '']),
                       bed.path(f'layers/{number}.qcow2'))
        with open(bed.path('raw'), 'wb') as file:
            file.truncate(4 << 20)
        bed.bare('vm', '', block.disk_xml(bed.path('layers/4.qcow2')) + block.disk_xml(bed.path('raw'), 'raw', 'vdb'))
        fixed(bed, 'vm', 1)
    twins.lines('block')
    for bed in twins.each:
        block.holds(bed.path('layers/1.qcow2'), 5)


def main():
    kvd, vmm, root, kvsh, *names = sys.argv[1:]
    functions = {name: kv.closing(function) for name, function in globals().items() if name.startswith('case_')}
    functions['case_zz_end'] = lambda twins: twins.close()
    chosen = [*(names or [n[5:].replace('_', '-') for n in functions if n != 'case_zz_end']), 'zz-end']
    return cases.run(functions, chosen, lambda folder: Twins(*(os.path.abspath(path) for path in (kvd, vmm, root, kvsh)), folder))


if __name__ == '__main__':
    sys.exit(main())
