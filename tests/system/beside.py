# SPDX-License-Identifier: GPL-2.0-or-later
"""A PC and QEMU's q35 beside it, with the same firmware, disk and keys; their pictures have to be the same. Imported by the tests
that look at screens with QEMU as the judge."""
import os
import shutil
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'interop'))
import qmp  # noqa: E402
import vga  # noqa: E402
from cases import Skipped, check  # noqa: E402

BIOS = '/usr/share/seabios/bios-256k.bin'
PATIENCE = 8  # times as long as it takes where nothing else runs


class Pair:
    """ours, theirs: options of one alone."""

    def __init__(self, program, folder, ours, theirs):
        if not shutil.which('qemu-system-x86_64'):
            raise Skipped('no qemu-system-x86_64 (tools/install-deps test)')
        if not os.path.exists(BIOS):
            raise Skipped(f'no {BIOS} (tools/install-deps test)')
        self.folder = folder
        for name in ('ours', 'theirs'):
            for kind in ('qmp', 'serial'):
                if os.path.exists(f'{folder}/{name}.{kind}'):
                    os.unlink(f'{folder}/{name}.{kind}')
        paths = [f'{folder}/{name}.qmp' for name in ('ours', 'theirs')]
        commands = [[program, '--machine', 'pc', '--firmware', BIOS, '--accel', 'soft', '--quiet', '--console',
                     f'file:{folder}/ours.serial', '--qmp', f'unix:{paths[0]}', *ours],
                    ['qemu-system-x86_64', '-machine', 'q35', '-accel', 'tcg', '-bios', BIOS, '-display', 'none', '-nodefaults',
                     '-vga', 'std', '-serial', f'file:{folder}/theirs.serial', '-qmp', f'unix:{paths[1]},server=on,wait=off', *theirs]]
        self.processes = [qmp.Process(command, path) for command, path in zip(commands, paths)]

    def __enter__(self):
        for process in self.processes:
            process.__enter__()
        self.clients = [process.client() for process in self.processes]
        return self

    def __exit__(self, *what):
        for process in self.processes:
            process.__exit__(*what)

    def type(self, *keys):
        for key in keys:
            for client in self.clients:
                client.run('send-key', keys=[{'type': 'qcode', 'data': part} for part in key.split('+')])
            time.sleep(0.2)

    def wait_until(self, what, seconds, is_so):
        """Until is_so(what came over the serial port) is, for both."""
        end = time.monotonic() + PATIENCE * seconds
        while not all(is_so(text) for text in self.serial()):
            check(time.monotonic() < end, f'{what}: not after {seconds} s', str([text[-500:] for text in self.serial()]))
            time.sleep(0.1)

    def serial(self):
        texts = []
        for name in ('ours', 'theirs'):
            with open(f'{self.folder}/{name}.serial', 'rb') as file:
                texts.append(file.read())
        return texts

    def pictures(self):
        taken = []
        for name, client in zip(('ours', 'theirs'), self.clients):
            path = f'{self.folder}/{name}.ppm'
            client.run('screendump', filename=path)
            with open(path, 'rb') as file:
                _, size, _, pixels = file.read().split(b'\n', 3)
            taken.append((size.decode(), pixels))
        return taken

    def wait_for(self, what, seconds, colors=2, size=None):
        """Until both show the same, of as many colors at least, and of that size ('640 480'). Its size and number of colors."""
        end = time.monotonic() + PATIENCE * seconds
        while True:
            (our_size, ours), (their_size, theirs) = self.pictures()
            found = len({theirs[i:i + 3] for i in range(0, len(theirs), 3)})
            if our_size == their_size and size in (None, our_size) and found >= colors:
                wrong = vga.differences(ours, theirs) if ours != theirs else 0
                if wrong == 0:
                    return our_size, found
            else:
                wrong = 'all'
            if time.monotonic() > end:
                if 'KV_KEEP' in os.environ:
                    for name in ('ours', 'theirs'):
                        shutil.copy(f'{self.folder}/{name}.ppm', os.environ['KV_KEEP'])
                check(False, f'{what}: {our_size} here, {their_size} in QEMU, {found} colors, {wrong} bytes differ (KV_KEEP=FOLDER)')
            time.sleep(0.3)
