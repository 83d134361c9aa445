# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian that runs in a machine of kv-vmm, on its serial console, driven by tools/console-drive. Imported by the tests that install."""
import importlib.machinery
import importlib.util
import os

from cases import Failed, check

HERE = os.path.dirname(os.path.abspath(__file__))
loader = importlib.machinery.SourceFileLoader('console_drive', f'{HERE}/../../tools/console-drive')
console_drive = importlib.util.module_from_spec(importlib.util.spec_from_loader('console_drive', loader))
loader.exec_module(console_drive)

LIMIT = 560  # seconds for a machine


class Guest:
    """A machine on its console, logged in."""

    def __init__(self, program, firmware, log, *options):
        self.log = log
        self.console = console_drive.Console([program, '--machine', 'pc', '--firmware', firmware, '--accel', 'soft', '--cpus', '2',
                                              '--memory', '1G', *options], log, LIMIT)

    def __enter__(self):
        try:
            console_drive.login(self.console, 'root', 'kvasir', LIMIT)
        except BaseException as reason:
            self.__exit__(type(reason), reason, None)
            raise
        return self

    def __exit__(self, kind, reason, where):
        self.console.close()
        if reason:
            with open(self.log, 'rb') as log:
                print(log.read()[-3000:].decode('utf-8', 'replace'))
        if isinstance(reason, console_drive.Failure):
            raise Failed(str(reason))

    def run(self, command, seconds=60):
        output, status = self.console.run(command, seconds)
        check(status == 0, f'in the guest: {command}: status {status}', output[-3000:])
        return output

    def end(self, command):
        self.console.send(command + '\n')
        check(console_drive.end(self.console) == 0, 'kv-vmm did not end well')
