# SPDX-License-Identifier: GPL-2.0-or-later
"""VNC: a bare guest (bench/screen) scrolls text, moves a window, shows a film, a hundred pictures a second, in 1024x768; a viewer
that only counts (bench/vnc-watch), and knows CopyRect as real ones do, tells how many arrive, and what they cost. Then an idle
screen. Called by bench/run (vnc)."""
import collections
import socket
import subprocess
import sys
import time

from . import machine, report

WORK = ('still', 'scroll', 'window', 'film')
WORK_AT = 0xffe0  # bench/screen/screen.ld
SECONDS = 5
IDLE = 10
LIMIT = 30


def make_firmware(context):
    with open(f'{context.programs}/bench-screen.rom', 'rb') as file:
        image = bytearray(file.read())
    for number, work in enumerate(WORK):
        image[WORK_AT] = number
        with open(f'{context.folder}/{work}.rom', 'wb') as file:
            file.write(image)


def free_port():
    """A port that QEMU can have: it counts from 5900."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def commands(context, work, port):
    rom = f'{context.folder}/{work}.rom'
    found = {}
    if context.have_vmm:
        found['ours'] = [context.args.vmm, '--machine', 'pc', '--accel', 'soft', '--memory', '64M', '--firmware', rom, '--quiet',
                         '--console', 'file:/dev/null', '--net', 'none', '--vnc', f'127.0.0.1:{port}']
    found['tcg'] = machine.qemu_command('q35', 1, 64, '-bios', rom, '-vga', 'std', '-vnc', f'127.0.0.1:{port - 5900}')
    return found


def wait_port(vm, port):
    for _ in range(LIMIT * 20):
        with socket.socket() as s:
            if not s.connect_ex(('127.0.0.1', port)):
                return
        if vm.process.poll() is not None:
            break
        time.sleep(0.05)
    raise SystemExit(f'vnc: {vm.name} does not listen: {vm.process.stderr.read().decode()}')


def watch(vm, viewer, seconds):
    done = subprocess.run([*viewer, str(seconds)], check=False, capture_output=True, text=True, timeout=LIMIT + seconds)
    if done.returncode:
        raise SystemExit(f'vnc: {vm.name}: {done.stderr}')
    return map(float, done.stdout.split()[1:])


def measure(context, name, command, port, seconds, encodings='copyrect tight'):
    """Pictures and bytes a second, CPU per cent."""
    vm = machine.Machine(machine.Case(name, name == 'ours', 1, command), '')
    try:
        wait_port(vm, port)
        viewer = [f'{context.programs}/vnc-watch', str(port), encodings]
        time.sleep(1)  # the screen has its size
        before = vm.cpu()
        frames, updates, sent = watch(vm, viewer, seconds)
        return frames, sent, updates, 100 * (vm.cpu() - before) / seconds
    finally:
        vm.end()


def run(context):
    make_firmware(context)
    tables = [collections.defaultdict(lambda: collections.defaultdict(list)) for _ in range(4)]
    times, sizes, cpus, idle = tables
    for number in range(context.args.runs):
        for work in WORK:
            port = free_port()
            for column, command in list(commands(context, work, port).items())[::1 if number % 2 else -1]:
                frames, sent, updates, cpu = measure(context, column, command, port, IDLE if work == 'still' else SECONDS)
                if work == 'still':
                    idle['a viewer and a still picture'][column].append(max(cpu, 0.01))
                    continue
                times[work][column].append(1000 / max(frames, 0.01))
                sizes[work][column].append(sent / max(frames, 0.01) / 1024)
                cpus[work][column].append(10 * cpu / max(frames, 0.01))
        print(f'vnc: round {number + 1} of {context.args.runs}', file=sys.stderr)
    columns = ('ours', 'tcg')
    for title, unit, rows in (('VNC: time between pictures', 'ms', times), ('VNC: bytes of a picture', 'KiB', sizes),
                              ('VNC: CPU of guest and server for a picture', 'ms', cpus),
                              ('VNC: CPU of guest and server', '% of a core', idle)):
        report.matrix(title, unit, columns, rows, {'all': list(rows)}, context.results)
