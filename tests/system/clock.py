#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What Linux reads from the clock chip is what --rtc says, and that it sets it is told. usage: clock.py KV-VMM SOURCE-ROOT
Exit status 77: something needed is not installed."""
import calendar
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

LIMIT = 240
STOP = 4
SET = calendar.timegm((2010, 5, 6, 7, 8, 9))
GUEST = ('i=0; while [ $i -lt 3 ]; do echo @rtc $(cat /sys/class/rtc/rtc0/since_epoch); '
         'i=$((i+1)); read line </dev/ttyS0; done; date -u -s "2010-05-06 07:08:09"; hwclock -u -w; read line </dev/ttyS0')


class Bed:
    def __init__(self, program, root, folder):
        self.program, self.folder, self.runs = program, folder, 0
        kernels = sorted(glob.glob('/boot/vmlinuz-*-cloud-amd64'))
        if not kernels or not os.path.exists('/usr/share/seabios/bios-256k.bin'):
            raise Skipped('no cloud kernel, or no SeaBIOS')
        self.kernel = kernels[-1]
        with open(f'{folder}/guest.sh', 'w', encoding='ascii') as file:
            file.write(GUEST)
        if subprocess.run([f'{root}/tools/make-initrd', '-c', f'{folder}/guest.sh', f'{folder}/initrd'], check=False).returncode:
            raise Skipped('tools/make-initrd failed')

    def start(self, board, *more):
        self.runs += 1
        path, self.console = f'{self.folder}/qmp{self.runs}', f'{self.folder}/console{self.runs}'
        board = ['--machine', 'pc', '--vga', 'none'] if board == 'pc' else []
        return qmp.Process([self.program, '--accel', 'soft', '--memory', '256M', *board, '--kernel', self.kernel, '--initrd',
                            f'{self.folder}/initrd', '--append', f'console=ttyS0 quiet kv.run="sh {self.folder}/guest.sh"',
                            '--console', f'unix:{self.console}', '--qmp', f'unix:{path}', *more], path)


class Console:
    def __init__(self, path):
        self.socket = qmp.socket.socket(qmp.socket.AF_UNIX)
        end = time.monotonic() + LIMIT
        while self.socket.connect_ex(path):
            check(time.monotonic() < end, f'nobody listens on {path}')
            time.sleep(0.02)
        self.socket.settimeout(LIMIT)
        self.data = b''

    def rtc(self):
        """The next time that the guest tells; it waits for a line then."""
        while True:
            *lines, self.data = self.data.split(b'\n')
            for index, line in enumerate(lines):
                if b'@rtc ' in line:
                    self.data = b'\n'.join([*lines[index + 1:], self.data])
                    return int(line.split(b'@rtc ')[1])
            data = self.socket.recv(4096)
            check(data, 'the console is closed')
            self.data += data

    def next(self):
        self.socket.sendall(b'\n')


def read(bed, board, base, start, moves):
    """start(): what the clock has to say at the host's time."""
    before = time.time()
    with bed.start(board, '--rtc', base) as vmm:
        client, console = vmm.client(), Console(bed.console)
        client.socket.settimeout(LIMIT)
        first = console.rtc()
        check(int(start(before)) - 1 <= first <= start(time.time()) + 1, f'{base}: the guest reads {first}', str(start(before)))
        begin = time.monotonic()
        console.next()
        second = console.rtc()
        client.run('stop')
        time.sleep(STOP)
        client.run('cont')
        console.next()
        third = console.rtc()
        passed = int(time.monotonic() - begin) + 1
        check(STOP - 1 <= third - second <= passed if moves else third - second <= passed - STOP + 1,
              f'{base}: {third - second} s from before a stop to its end, in {passed}')
        now = time.time()
        console.next()
        told = client.event('RTC_CHANGE')['data']
        end = time.time() + LIMIT
        check(sorted(told) == ['offset', 'qom-path'], 'another event', told)
        # Linux writes registers one after the other; the event that counts is the last.
        while not (SET - start(time.time()) - 2 <= told['offset'] <= SET - start(now) + STOP + 2):
            check(time.time() < end, f'{base}: another offset', told)
            told = client.event('RTC_CHANGE')['data']
        client.run('quit')
        check(vmm.status() == 0, f'status {vmm.process.returncode}')


def rejected(bed, base):
    said = subprocess.run([bed.program, '--kernel', bed.kernel, '--rtc', f'base={base}'], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    check(said.returncode == 1 and f"--rtc: base: '{base}' is not valid; give".encode() in said.stdout, 'it is taken',
          said.stdout.decode())


def main():
    os.environ['TZ'] = 'XXX-05:30'
    date = calendar.timegm((2006, 6, 17, 16, 1, 21))
    with tempfile.TemporaryDirectory(prefix='kv-clock-') as folder:
        try:
            bed = Bed(*sys.argv[1:3], folder)
            for base in '', 'UTC', '2006-13-01', '2006-02-30T00:00:00', '2006-06-17T24:00:00', '2006-06-17T16:01:21Z', '06-06-17':
                rejected(bed, base)
            read(bed, 'pc', 'base=utc', lambda now: now, True)
            read(bed, 'micro', 'base=localtime', lambda now: now + 19800, True)
            begin = time.time()
            read(bed, 'pc', 'base=2006-06-17T16:01:21,clock=host', lambda now: date + now - begin, True)
            begin = time.time()
            read(bed, 'pc', 'base=2006-06-17T16:01:21,clock=vm,driftfix=none', lambda now: date + now - begin, False)
        except Skipped as reason:
            print(f'skipped: {reason}')
            return 77
        except cases.Failed as failure:
            print(f'clock: {failure}')
            return 1
    print('clock: good')
    return 0


sys.exit(main())
