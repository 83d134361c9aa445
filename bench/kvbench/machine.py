# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtual machines that boot Linux: the command lines of ours and QEMU's, and one that runs."""
import collections
import os
import selectors
import signal
import subprocess
import time

LIMIT = 90  # seconds for one boot
Case = collections.namedtuple('Case', 'name ours cpus command')


class Machine:
    """One VM with its console on a pipe."""

    def __init__(self, case, append):
        command = [word.replace('@APPEND@', append) for word in case.command]
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.name = case.name

    def read_until(self, mark, limit=LIMIT):
        """What the console said until `mark`; seconds from the start."""
        selector = selectors.DefaultSelector()
        selector.register(self.process.stdout, selectors.EVENT_READ)
        seen = b''
        while mark not in seen:
            left = self.started + limit - time.monotonic()
            data = os.read(self.process.stdout.fileno(), 65536) if selector.select(max(0, left)) else b''
            if not data:
                self.end()
                errors = self.process.stderr.read().decode('utf-8', 'replace')
                raise SystemExit(f'{self.name}: no "{mark.decode().strip()}" in {limit} s or ended early: '
                                 f'{(seen.decode("utf-8", "replace") + errors)[-800:]}')
            seen += data
        return seen, time.monotonic() - self.started

    def wait_init(self):
        """Seconds to the line of /init."""
        return self.read_until(b'@init ')[1]

    def cpu(self):
        fields = open(f'/proc/{self.process.pid}/stat', encoding='ascii').read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def end(self):
        os.kill(self.process.pid, signal.SIGKILL)  # not kill(), which would reap what has ended
        _, _, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = -9
        return usage.ru_utime + usage.ru_stime


def vmm_command(context, kernel, cpus, memory, *more, net='none'):
    return [context.args.vmm, '--accel', 'soft', '--cpus', str(cpus), '--memory', f'{memory}M', '--kernel', kernel,
            '--console', 'stdio', '--net', net, '--no-reboot', '--quiet', *more]


def qemu_command(board, cpus, memory, *more):
    return ['qemu-system-x86_64', '-accel', 'tcg', '-cpu', 'max', '-smp', str(cpus), '-m', f'{memory}M', '-nodefaults',
            '-no-user-config', '-display', 'none', '-serial', 'stdio', '-no-reboot', '-M', board, *more]


def linux_cases(context, cpu_counts):
    mem, out = context.args.memory, []
    append = 'console=ttyS0 quiet @APPEND@'
    for cpus in cpu_counts:
        qemu = ('-initrd', context.initrd, '-append', append)
        if context.have_vmm:
            for kernel, file in (('bzImage', context.kernel), ('vmlinux', context.vmlinux)):
                out.append(Case(f'kv-vmm soft, {kernel}', True, cpus, tuple(
                    vmm_command(context, file, cpus, mem, '--initrd', context.initrd, '--append', append))))
        out.append(Case('QEMU q35, bzImage', False, cpus, tuple(
            qemu_command('q35', cpus, mem, *qemu, '-kernel', context.kernel))))
        out.append(Case('QEMU microvm, qboot, vmlinux', False, cpus, tuple(
            qemu_command('microvm,acpi=off,pit=on,pic=on,rtc=on', cpus, mem, *qemu, '-bios', 'qboot.rom', '-kernel',
                         context.vmlinux))))
    return out
