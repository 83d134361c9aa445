# SPDX-License-Identifier: GPL-2.0-or-later
"""Process start to the first instructions of a guest, which write a byte to the serial port: a PVH kernel of a few bytes for the
board that boots kernels, a ROM of a few bytes for those that start firmware. Called by bench/run (start)."""
import struct
import subprocess

from . import machine, report

# mov $0x3f8, %dx; mov $'!', %al; out %al, (%dx); 1: hlt; jmp 1b: 32 bits and 16 bits
KERNEL = b'\x66\xba\xf8\x03\xb0!\xee\xf4\xeb\xfd'
FIRMWARE = b'\xba\xf8\x03\xb0!\xee\xf4\xeb\xfd'
ROM_SIZE = 65536
RESET = 0xfff0  # of the last 64 KiB below 4 GiB
ROUNDS = 10  # a run of the bench: these are short
LOAD = 0x100000


def write_kernel(path):
    """An ELF file with one segment and the note of PVH (Xen's elfnote.h, XEN_ELFNOTE_PHYS32_ENTRY)."""
    note = struct.pack('<III4sQ', 4, 8, 18, b'Xen', LOAD)
    at = 64 + 2 * 56
    header = struct.pack('<16sHHIQQQIHHHHHH', b'\x7fELF\2\1\1', 2, 62, 1, LOAD, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    note_at = at + 16
    load = struct.pack('<IIQQQQQQ', 1, 7, at, LOAD, LOAD, len(KERNEL), len(KERNEL), 8)
    notes = struct.pack('<IIQQQQQQ', 4, 4, note_at, 0, 0, len(note), len(note), 4)
    with open(path, 'wb') as file:
        file.write((header + load + notes + KERNEL).ljust(note_at, b'\0') + note)


def write_firmware(path):
    with open(path, 'wb') as file:
        file.write(b'\xf4' * RESET + FIRMWARE.ljust(ROM_SIZE - RESET, b'\xf4'))


def first_byte(context, name, command):
    """Milliseconds until the command has written one."""
    done = subprocess.run([f'{context.programs}/first-byte', *command], capture_output=True, text=True, check=False)
    if done.stdout.split()[1:] != ['!']:
        raise SystemExit(f'{name}: ended early: {done.stderr}')
    return int(done.stdout.split()[0]) / 1000


def run(context):
    kernel, firmware = f'{context.folder}/first', f'{context.folder}/first.rom'
    write_kernel(kernel)
    write_firmware(firmware)
    pc = [context.args.vmm, '--accel', 'soft', '--machine', 'pc', '--memory', '128M', '--firmware', firmware, '--quiet']
    cases = [
        ('micro / microvm', 'ours', machine.vmm_command(context, kernel, 1, 128)),
        ('micro / microvm', 'tcg', machine.qemu_command('microvm', 1, 128, '-bios', firmware)),
        ('pc / q35', 'ours', pc),
        ('pc / q35', 'tcg', machine.qemu_command('q35', 1, 128, '-bios', firmware)),
    ]
    rows = {}
    for _ in range(ROUNDS * context.args.runs):
        for name, column, command in cases:
            rows.setdefault(name, {}).setdefault(column, []).append(first_byte(context, f'{name}, {column}', command))
    report.matrix('Process start to the first instruction of a guest', 'ms', ('ours', 'tcg'), rows, {}, context.results)
