# SPDX-License-Identifier: GPL-2.0-or-later
"""KVM_RUN left and entered again, in a program that does nothing else (bench/exits.c): the software KVM, and this machine's
/dev/kvm where it has one."""
import collections
import subprocess
import sys

from . import bare, report

SKIPPED = 77


def run(context):
    rows = collections.defaultdict(dict)
    columns = ['soft', 'kvm']
    for number in range(context.args.runs):
        for column in list(columns):
            done = subprocess.run([f'{context.programs}/bench-exits', column], capture_output=True, text=True, check=False)
            if done.returncode == SKIPPED:
                columns.remove(column)
                continue
            if done.returncode:
                raise SystemExit(f'exits, {column}: {done.stderr}')
            for name, ns in bare.parse(done.stdout)['ns'].items():
                rows[name].setdefault(column, []).append(ns)
        print(f'exits: round {number + 1} of {context.args.runs}', file=sys.stderr)
    report.matrix('KVM_RUN: exit and re-entry', 'ns', columns, rows, {}, context.results)
