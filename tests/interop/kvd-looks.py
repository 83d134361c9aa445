#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Over the read-only socket all of the protocol's procedures are called, and nothing changes.   usage: kvd-looks.py KVD RPC-LOOKS
Exit status 77: virsh is missing."""
import os
import subprocess
import sys

import cases
from cases import check
from kvd_bed import LIMIT, Kvd

STATE = ('list --all', 'dumpxml test --security-info', 'dumpxml test --inactive', 'snapshot-list test', 'dominfo test', 'domblklist test',
         'net-list --all', 'net-dumpxml default', 'pool-list --all --details', 'pool-dumpxml default-pool', 'vol-list default-pool',
         'schedinfo test', 'memtune test', 'vcpupin test', 'desc test', 'domjobinfo test')


def case_all(bed):
    kvd, program = bed
    keeper = subprocess.Popen(['virsh', '-c', kvd.uri()], env=kvd.env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)

    def state():
        lines = kvd.virsh(kvd.uri(), '; '.join(STATE))[1].splitlines()
        return [line for line in lines if not line.startswith('CPU time')]
    try:
        before = state()
        check(len(before) > 60, 'there is hardly a state', before)
        done = subprocess.run([program, kvd.uri('-ro'), '100'], env=kvd.env, stdout=subprocess.PIPE, timeout=150, check=False, text=True)
        check(done.returncode == 0, 'rpc-looks', done.stdout)
        print(done.stdout.strip())
        after = state()
        check(before == after, 'something has changed', before, after)
    finally:
        keeper.communicate(b'quit\n', LIMIT)


def main():
    kvd, program = map(os.path.abspath, sys.argv[1:])

    def run(folder):
        with Kvd(kvd, folder) as daemon:
            case_all((daemon, program))
    return cases.one('all', run)


if __name__ == '__main__':
    sys.exit(main())
