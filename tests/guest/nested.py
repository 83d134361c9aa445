#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""All bare guests on a genuine Linux KVM, in one boot of tools/nested-kvm: the second opinion where the machine's own /dev/kvm
is none. What cannot pass there is in nested.cfg, with its reason; every other failed check fails the test.

usage: nested.py SOURCE-ROOT RUN-GUEST GUEST...   (status 77: something needed is not installed)"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile


def rows(path, separator):
    with open(path, encoding='utf-8') as file:
        return [[word.strip() for word in line.split(separator)] for line in file if line.strip() and line[0] != '#']


def need():
    for program in ['qemu-system-x86_64', 'busybox', 'cpio', 'modprobe']:
        if not shutil.which(program, path=os.environ['PATH'] + ':/usr/sbin:/sbin'):
            sys.exit(skip(f'no {program}'))
    if not glob.glob('/boot/vmlinuz-*-cloud-amd64'):
        sys.exit(skip('no cloud kernel in /boot (tools/install-deps test)'))


def skip(text):
    print(f'skipped: {text}')
    return 77


def run(root, runner, guests, table):
    """The console's lines."""
    with tempfile.TemporaryDirectory() as folder:
        with open(f'{folder}/script', 'w', encoding='utf-8') as script:
            for name, bits, cpus, seconds in table:
                shutil.copy(guests[name], folder)
                script.write(f'echo "@guest {name}"; {runner} {folder}/{os.path.basename(guests[name])} genuine {bits} {cpus} '
                             f'{seconds}; echo "@status $?"\n')
        done = subprocess.run([f'{root}/tools/nested-kvm', '--timeout', '200', '--program', runner, '--copy', folder, '--', 'sh',
                               f'{folder}/script'], stdout=subprocess.PIPE, text=True, check=False)
        return done.stdout.splitlines()


def judge(name, lines, status, known):
    """Prints the guest's result; whether it is as it should be."""
    failed = {re.sub(r'( \(last vector|: rip ).*', '', line[5:]) for line in lines if line.startswith('FAIL ')}
    passed = [line for line in lines if line.startswith('ok ')]
    wrong = sorted(failed - known.keys())
    good = bool(passed) and not wrong and (status == '0' or bool(failed))
    print(f'{"ok" if good else "FAIL"} {name}: {len(passed)} checks passed')
    for check in sorted(failed & known.keys()):
        print(f'    left out: {check}: {known[check]}')
    for check in sorted(known.keys() - failed if good else []):
        print(f'    passes here, though nested.cfg has it: {check}')
    if not good:
        print('\n'.join([f'    {line}' for line in lines] + [f'    status {status}']))
    return good


def main():
    root, runner, *paths = sys.argv[1:]
    need()
    here = os.path.dirname(os.path.abspath(__file__))
    guests = {re.sub('^guest-', '', os.path.basename(path)): os.path.abspath(path) for path in paths}
    known, why = {}, ''
    for name, check, reason in rows(f'{here}/nested.cfg', ' : '):
        why = why if reason == 'as above' else reason
        known.setdefault(name, {})[check] = why
    table = [row for row in rows(f'{here}/guests.cfg', None) if '*' not in known.get(row[0], {})]
    for name in known:
        if '*' in known[name]:
            print(f'left out: {name}: {known[name]["*"]}')
        if name not in guests:
            sys.exit(f'nested.cfg has a guest that guests.cfg has not: {name}')
    lines, good, name = {}, True, None
    status = dict.fromkeys((row[0] for row in table), 'none: it did not run')
    for line in run(root, os.path.abspath(runner), guests, table):
        word = line.split()
        if word[:1] == ['@guest']:
            name = word[1]
        elif word[:1] == ['@status']:
            status[name], name = word[1], None
        else:
            lines.setdefault(name, []).append(line)
    for name in status:
        good &= judge(name, lines.get(name, []), status[name], known.get(name, {}))
    if not good:
        print('\n'.join(lines.get(None, [])))
    return 0 if good else 1


sys.exit(main())
