#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares what the translator makes of the sequences in code/ (jit-listing) with golden/, a file for each file of code/.
Run by the tests, and by `tools/dev golden` to write the files anew.

usage: golden.py JIT-LISTING [--update]"""
import difflib
import os
import subprocess
import sys

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'golden')
SHOWN = 400  # lines of differences


def listings(program):
    """Name of a file of code/ -> its listing."""
    run = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode:
        print(run.stdout if run.returncode == 77 else f'{program}: exit status {run.returncode}')
        sys.exit(run.returncode)
    parts = [part.split('\n', 1) for part in ('\n' + run.stdout).split('\n=== ')[1:]]
    return {name: text.strip('\n') + '\n' for name, text in parts}


def golden():
    result = {}
    for file in sorted(os.listdir(FOLDER)):
        with open(os.path.join(FOLDER, file), encoding='utf-8') as stream:
            result[file.removesuffix('.txt')] = stream.read()
    return result


def update(new):
    for name in golden().keys() - new.keys():
        os.unlink(os.path.join(FOLDER, name + '.txt'))
    for name, text in new.items():
        with open(os.path.join(FOLDER, name + '.txt'), 'w', encoding='utf-8') as stream:
            stream.write(text)
    print(f'{len(new)} files of {FOLDER} are written')


def sizes(text):
    """Sequence -> host bytes in line and out of line."""
    result, name = {}, None
    for line in text.splitlines():
        word = line.split()
        if line.startswith('--- '):
            name = line[4:]
        elif line.startswith(('host  ', 'out of line  ')):
            result.setdefault(name, []).append(int(word[-2]))
    return result


def compare(old, new):
    """Prints how they differ, and what that means for the size of each sequence; True: they do not."""
    lines, table = [], []
    for name in sorted(old.keys() | new.keys()):
        a, b = old.get(name, ''), new.get(name, '')
        lines += difflib.unified_diff(a.splitlines(), b.splitlines(), f'golden/{name}.txt', 'now', n=4, lineterm='')
        was, now = sizes(a), sizes(b)
        table += [f'  {sequence}: {was.get(sequence)} -> {now.get(sequence)}'
                  for sequence in sorted(was.keys() | now.keys()) if was.get(sequence) != now.get(sequence)]
    if lines:
        print('\n'.join(lines[:SHOWN]))
        if len(lines) > SHOWN:
            print(f'... and {len(lines) - SHOWN} lines more')
        print('host bytes, [in line, out of line]:', *(table or ['  as before']), sep='\n')
        print('The generated code has changed. If it is meant to: tools/dev golden, and commit tests/jit/golden with the change')
    else:
        print(f'{sum(len(sizes(text)) for text in new.values())} sequences in {len(new)} files are translated as golden/ says')
    return not lines


def main():
    new = listings(sys.argv[1])
    if '--update' in sys.argv:
        update(new)
        return 0
    return 0 if compare(golden(), new) else 1


sys.exit(main())
