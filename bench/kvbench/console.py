# SPDX-License-Identifier: GPL-2.0-or-later
"""A process whose output is watched line by line or for a text, with the time at which it came: a VM with its console on a
pipe, or the same programs run natively. Used by programs.py and login.py."""
import os
import selectors
import signal
import subprocess
import tempfile
import time


class Console:
    def __init__(self, name, command):
        self.name = name
        self.errors = tempfile.TemporaryFile()
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)
        self.seen = b''

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.returncode is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        self.process.stdin.close()
        self.errors.close()

    def cpu(self):
        """CPU seconds of the process so far, all threads: its CPU clock as clock_getcpuclockid(3) names it."""
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def error_text(self):
        self.errors.seek(0)
        return self.errors.read().decode('utf-8', 'replace')

    def read(self, limit):
        """More output, within limit seconds; the time when it was there."""
        data = os.read(self.process.stdout.fileno(), 65536) if self.selector.select(limit) else b''
        if not data:
            raise SystemExit(f'{self.name}: nothing more on the console for {limit} s, or ended early: '
                             + (self.seen.decode('utf-8', 'replace') + self.error_text())[-1500:])
        self.seen += data
        return time.monotonic()

    def wait_text(self, text, limit):
        """Seconds from the start until the text was there."""
        at = time.monotonic()
        while text not in self.seen:
            at = self.read(max(0, self.started + limit - time.monotonic()))
        return at - self.started

    def lines(self, limit):
        """(time, line) for each, as they come; limit is for each."""
        at = time.monotonic()
        while True:
            line, newline, rest = self.seen.partition(b'\n')
            if newline:
                self.seen = rest
                yield at, line.decode('utf-8', 'replace').strip()
            else:
                at = self.read(limit)
