#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The command lines that kvd makes of definitions (tests/xml/argv/*.argv) are taken by kv-vmm: it stands before its guest's first
instruction, with the devices by the names that the lines give them.   usage: kvd-argv.py KV-VMM FOLDER
Exit status 77: firmware is needed and not installed."""
import os
import re
import socket
import subprocess
import sys
import tempfile

import qmp
from cases import Failed, Skipped, check

SIZE = 1 << 20


def prepare(folder, line):
    """The files that a line names."""
    for name in 'run', 'lib/nvram', 'lib/channel/target':
        os.makedirs(os.path.join(folder, name), exist_ok=True)
    for path in re.findall(re.escape(folder) + r'/lib/channel/target/[^/]+/', line):
        os.makedirs(path, exist_ok=True)
    qmp.kernel(os.path.join(folder, 'kernel'))
    with open(os.path.join(folder, 'initrd'), 'wb') as file:
        file.write(bytes(512))
    for path, form in re.findall(r'file=(' + re.escape(folder) + r'/.*?),format=(\w+)', line):
        path = path.replace(',,', ',')
        if form == 'raw':
            with open(path, 'wb') as file:
                file.truncate(SIZE)
        elif subprocess.run(['qemu-img', 'create', '-q', '-f', form, path, str(SIZE)], check=False).returncode:
            raise Skipped('no qemu-img')


def start(program, folder, argv):
    path = os.path.join(folder, 'run/monitor')
    with open(os.path.join(folder, 'log'), 'w+b') as log:
        process = subprocess.Popen([program] + argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            while not os.path.exists(path) and process.poll() is None:
                try:
                    process.wait(0.02)
                except subprocess.TimeoutExpired:
                    pass
            log.seek(0)
            check(process.poll() is None, 'kv-vmm does not take it', log.read().decode())
            client = qmp.Client(path)
            check(client.run('query-status')['status'] == 'prelaunch', 'it runs')
            wanted = set(re.findall(r'(?<![\w-])id=([\w.-]+)', '\n'.join(argv)))
            have = {o['name'] for o in client.run('qom-list', path='/machine/peripheral')}
            have |= {c['label'] for c in client.run('query-chardev')}
            have |= {b['device'] for b in client.run('query-block')}
            check(wanted <= have, 'no device of this name', sorted(wanted - have))
            client.run('quit')
            check(process.wait(qmp.LIMIT) == 0, f'status {process.returncode}')
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def free_port(match):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if match[2] == 'tcp' else socket.SOCK_DGRAM) as s:
        s.bind(('', 0))
        return f'{match[1]}{match[2]}{match[3]}:{s.getsockname()[1]}-'


def main():
    program, goldens = os.path.abspath(sys.argv[1]), sys.argv[2]
    names = sorted(n for n in os.listdir(goldens) if n.endswith('.argv'))
    check(len(names) >= 4, 'no lines')
    for name in names:
        with tempfile.TemporaryDirectory() as folder, open(os.path.join(goldens, name), encoding='utf-8') as file:
            # Fixed ports may be somebody's; any will do here. These tests run without a KVM as well.
            line = file.read().replace('/vm/', folder + '/').replace(':5999', ':0')
            line = re.sub(r'(hostfwd=)(\w+)(:[^:]*):\d+-', free_port, line).replace('\nauto\n', '\nsoft\n')
            argv = line.splitlines()[1:]
            if '--firmware' in argv and not os.path.exists('/usr/share/OVMF/OVMF_CODE.fd'):
                raise Skipped('no OVMF')
            prepare(folder, line)
            try:
                start(program, folder, argv)
            except Failed as e:
                raise Failed(f'{name}: {e}') from e
        print(name, 'is taken')


if __name__ == '__main__':
    try:
        main()
    except Skipped as e:
        print('skipped:', e)
        sys.exit(77)
    except Failed as e:
        print('failed:', e)
        sys.exit(1)
