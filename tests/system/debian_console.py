# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian that runs in a machine of kv-vmm, on its serial console, driven by tools/console-drive. Imported by the tests that boot one."""
import importlib.machinery
import importlib.util
import os

from cases import Failed, Skipped, check

HERE = os.path.dirname(os.path.abspath(__file__))
loader = importlib.machinery.SourceFileLoader('console_drive', f'{HERE}/../../tools/console-drive')
console_drive = importlib.util.module_from_spec(importlib.util.spec_from_loader('console_drive', loader))
loader.exec_module(console_drive)


def need_guest(folder, *more):
    for name in ('debian.raw', 'vmlinuz', 'initrd.img', *more):
        if not os.path.exists(f'{folder}/{name}'):
            raise Skipped(f'no {folder}/{name} (tools/make-guest, check long)')


class Guest:
    """A machine on its console, logged in from its entry on. limit: seconds for all of it."""

    def __init__(self, command, log, limit):
        self.log, self.limit = log, limit
        self.console = console_drive.Console(command, log, limit)

    def login(self):
        """Also after a reboot."""
        console_drive.login(self.console, 'root', 'kvasir', self.limit)

    def arrived(self):
        """What follows the first login."""

    def __enter__(self):
        try:
            self.login()
            self.arrived()
        except BaseException as reason:
            self.__exit__(type(reason), reason, None)
            raise
        return self

    def __exit__(self, kind, reason, where):
        self.console.close()
        if isinstance(reason, (Failed, console_drive.Failure)):
            with open(self.log, 'rb') as log:
                print(log.read()[-3000:].decode('utf-8', 'replace'))
        if isinstance(reason, console_drive.Failure):
            raise Failed(str(reason))

    def run(self, command, seconds=120):
        output, status = self.console.run(command, seconds)
        check(status == 0, f'in the guest: {command}: status {status}', output[-3000:])
        return output

    def say(self, what):
        self.console.say(what)

    def wait_end(self):
        """It has been told to power off."""
        check(console_drive.end(self.console) == 0, 'kv-vmm did not end well')
