#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Processors that come to a running pc and go: Linux uses them, they outlive a reset and a saved machine, and leave by their names.
usage: cpus.py KV-VMM SOURCE-ROOT bios|uefi. Exit status 77: something needed is not installed."""
import glob
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'interop'))
import cases  # noqa: E402
import qmp  # noqa: E402
from cases import Skipped, check  # noqa: E402

LIMIT = 150
EJECT = 3
FIRMWARE = {'bios': '/usr/share/seabios/bios-256k.bin', 'uefi': '/usr/share/OVMF/OVMF_CODE.fd'}
# Takes all that come into use, and tells what there is when that changes. UEFI firmware adds words to the command line.
GUEST = ('cd /sys/devices/system/cpu; echo @ready; last=; while :; do for c in cpu[0-9]*/online; do [ $(cat $c) = 1 ] || echo 1 > $c; '
         'done 2>/dev/null; now=$(cat online)/$(grep -c ^processor /proc/cpuinfo)/$(cat possible); '
         '[ x$now = x$last ] || echo @cpus $now; last=$now; sleep 0.1; done')


def start(program, folder, kernel, firmware, *more):
    return qmp.Process([program, '--accel', 'soft', '--machine', 'pc', '--firmware', firmware, '--vga', 'none', '--memory', '256M', '--smp',
                        '1,maxcpus=4', '--kernel', kernel, '--initrd', f'{folder}/initrd', '--append', f'console=ttyS0 quiet kv.run="sh {folder}/guest.sh #"',
                        '--console', f'file:{folder}/console', '--qmp', f'unix:{folder}/qmp', *more], f'{folder}/qmp')


def wait_text(folder, text, times=1):
    end = time.monotonic() + LIMIT
    while True:
        with open(f'{folder}/console', 'rb') as file:
            seen = file.read().decode(errors='replace').replace('\r', '')
        if seen.count(f'{text}\n') >= times:
            return
        check(time.monotonic() < end, f'no "{text}" on the console', seen[-2000:])
        time.sleep(0.1)


def prepare(root, folder, firmware):
    kernels = sorted(glob.glob('/boot/vmlinuz-*-cloud-amd64'))
    if not kernels or not os.path.exists(FIRMWARE[firmware]):
        raise Skipped(f'no cloud kernel, or no {firmware} firmware')
    with open(f'{folder}/guest.sh', 'w', encoding='ascii') as file:
        file.write(GUEST)
    if subprocess.run([f'{root}/tools/make-initrd', '-c', f'{folder}/guest.sh', f'{folder}/initrd'], check=False).returncode:
        raise Skipped('tools/make-initrd failed')
    return kernels[-1]


def add(client, index):
    client.run('device_add', driver='host-x86_64-cpu', id=f'hot{index}', **{'socket-id': 0, 'core-id': index, 'thread-id': 0})
    info = {'source': EJECT}
    while info['source'] == EJECT:  # of one that went before
        info = client.event('ACPI_DEVICE_OST')['data']['info']
    check(info == {'device': f'hot{index}', 'slot': str(index), 'slot-type': 'CPU', 'source': 1, 'status': 0}, 'another _OST', info)


def indices(client):
    return [cpu['cpu-index'] for cpu in client.run('query-cpus-fast')]


def delete(client, index):
    client.run('device_del', id=f'hot{index}')
    gone = client.event('DEVICE_DELETED')['data']
    check(gone == {'device': f'hot{index}', 'path': f'/machine/peripheral/hot{index}'}, 'another event', gone)


def save(client, folder):
    client.run('stop')
    client.run('migrate', uri=f'file:{folder}/saved')
    end = time.monotonic() + LIMIT
    while client.run('query-migrate')['status'] != 'completed':
        check(time.monotonic() < end, 'the machine is not saved')
        time.sleep(0.05)


def run(program, root, folder, firmware):
    kernel = prepare(root, folder, firmware)
    with start(program, folder, kernel, firmware) as vmm:
        client = vmm.client()
        wait_text(folder, '@cpus 0/1/0-3')
        add(client, 2)
        wait_text(folder, '@cpus 0-1/2/0-3')
        check(indices(client) == [0, 2], 'other processors', indices(client))
        end, told = time.monotonic() + LIMIT, []
        while [(slot['slot'], slot['source']) for slot in told] != [('0', 0), ('1', 0), ('2', 1), ('3', 0)]:
            check(time.monotonic() < end, 'another status', told)
            told = client.run('query-acpi-ospm-status')
        client.run('system_reset')
        wait_text(folder, '@ready', 2)
        wait_text(folder, '@cpus 0-1/2/0-3', 2)
        add(client, 3)
        wait_text(folder, '@cpus 0-2/3/0-3')
        delete(client, 2)
        wait_text(folder, '@cpus 0,2/2/0-3')
        save(client, folder)
    os.rename(f'{folder}/console', f'{folder}/console.before')
    with start(program, folder, kernel, firmware, '--incoming', f'file:{folder}/saved') as vmm:
        client = vmm.client()
        check(indices(client) == [0, 3], 'other processors are loaded', indices(client))
        client.run('cont')
        delete(client, 3)
        wait_text(folder, '@cpus 0/1/0-3')
        add(client, 1)
        wait_text(folder, '@cpus 0,3/2/0-3')  # Linux keeps the numbers of those that it has seen
        check(indices(client) == [0, 1], 'other processors', indices(client))


def main():
    program, root, firmware = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        try:
            run(program, root, folder, firmware)
        except Skipped as reason:
            print(f'skipped: {reason}')
            return 77
        except cases.Failed as failure:
            print(f'cpus: {failure}')
            return 1
    print('cpus: good')
    return 0


sys.exit(main())
