#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The bare guest of bench/run in kv-vmm: it gets to its end, and its kernels compute what the native program does.

usage: bench-guest.py KV-VMM GUEST NATIVE kernels|primitives|smp"""
import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../bench'))
from kvbench import bare  # noqa: E402

LIMIT = 300  # seconds


def main(vmm, guest, native, word):
    command = [vmm, '--accel', 'soft', '--cpus', '2', '--memory', f'{bare.MEMORY}M', '--kernel', guest, '--append', word,
               '--console', 'stdio', '--net', 'none', '--no-reboot', '--quiet']
    ours = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False)
    twin = subprocess.run([native, word], capture_output=True, text=True, timeout=LIMIT, check=True)
    if '@bench end' not in ours.stdout:
        sys.exit(f'FAIL the guest did not get to its end: {ours.stdout[-400:]}{ours.stderr[-400:]}')
    found, wanted = bare.parse(ours.stdout), bare.parse(twin.stdout)
    missing = [f'{unit} of {name}' for unit in ('sum', 'ticks', 'twice-ticks') for name in wanted[unit]
               if name not in found[unit]]
    if missing:
        sys.exit(f'FAIL the guest has no {", ".join(missing)}')
    for name, sums in wanted['sum'].items():
        if len(sums) != 1 or found['sum'][name] != sums:
            sys.exit(f'FAIL {name}: {found["sum"][name]}, native {sums}')
    print(f'ok {len(found["ticks"])} measured, {len(found["sum"])} checksums as native')


main(*sys.argv[1:])
