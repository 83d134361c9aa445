#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The VGA's pictures beside QEMU's: a firmware of a few hundred instructions, made here, sets a mode by its registers, fills the
memory with a pattern and halts; screendumps of both must be the same, but for how six bits of a color become eight.

    vga.py KV_VMM CASE
"""
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

LIMIT = 180

TEXT = (0x67, '0300030002', '5f4f50825581bf1f004f200e000000009c8e8f281f96b9a3ff', '00000000001' '00e00ff',
        '000102030405140738393a3b3c3d3e3f0c000f0800')
TEXT40 = (0x67, '0309030002', '2d2728902ba0bf1f004f200e000000009c8e8f141f96b9a3ff', '00000000001' '00e00ff',
          '000102030405140738393a3b3c3d3e3f0c000f0800')
PLANAR = (0xe3, '03010f0006', '5f4f508254800b3e00400000000000' '00ea8cdf2800e704e3ff', '000000000000050fff',
          '000102030405140738393a3b3c3d3e3f01000f0000')
PLANAR320 = (0x63, '03090f0006', '2d2728902b80bf1f00c00000000000009c8e8f1400' '96b9e3ff', '000000000000050fff',
             '0001020304050607101112131415161701000f0000')
BYTES = (0x63, '03010f000e', '5f4f50825480bf1f00410000000000009c8e8f2840' '96b9a3ff', '000000000040050fff',
         '000102030405060708090a0b0c0d0e0f41000f0000')
MODE_X = (0x63, '03010f0006', '5f4f50825480bf1f00410000000000009c8e8f2800' '96b9e3ff', '000000000040050fff',
          '000102030405060708090a0b0c0d0e0f41000f0000')
CGA = (0x63, '0309030002', '2d2728902b80bf1f00c10000000000009c8e8f1400' '96b9a2ff', '0000000000300f00ff',
       '001315170204060710111213141516170100030000')
CGA_MONO = (0x63, '0301010006', '5f4f50825480bf1f00c10000000000009c8e8f2800' '96b9c2ff', '00000000000' '00d00ff',
            '001717171717171717171717171717170100010000')


class Rom:
    """Real-mode code at f000:0000."""

    def __init__(self):
        self.code = bytearray(b'\xfa\xfc')  # cli, cld

    def out(self, port, value):
        self.code += struct.pack('<BHBB', 0xba, port, 0xb0, value) + b'\xee'

    def out16(self, port, value):
        self.code += struct.pack('<BHBH', 0xba, port, 0xb8, value) + b'\xef'

    def in8(self, port):
        self.code += struct.pack('<BH', 0xba, port) + b'\xec'

    def mode(self, table):
        misc, seq, crtc, gfx, attr = table
        self.out(0x3c2, misc)
        for i, v in enumerate(bytes.fromhex(seq)):
            self.out16(0x3c4, i | v << 8)
        self.out16(0x3d4, 0x0011)
        for i, v in enumerate(bytes.fromhex(crtc)):
            self.out16(0x3d4, i | v << 8)
        for i, v in enumerate(bytes.fromhex(gfx)):
            self.out16(0x3ce, i | v << 8)
        self.in8(0x3da)
        for i, v in enumerate(bytes.fromhex(attr)):
            self.out(0x3c0, i)
            self.out(0x3c0, v)
        self.out(0x3c0, 0x20)
        self.out(0x3c6, 0xff)
        self.palette()

    def palette(self):
        """Entry i: i, 63 - i, 37 * i, six bits each, in a loop."""
        self.out(0x3c8, 0)
        self.code += bytes.fromhex('bac903' '31db' '88d8' '243f' 'ee' '88d8' 'f6d0' '243f' 'ee' '88d8' 'b125' 'f6e1' '243f' 'ee'
                                   'fec3' '75e9')

    def vbe(self, index, value):
        self.out16(0x1ce, index)
        self.out16(0x1cf, value)

    def fill(self, segment, start, count, seed=0):
        """Bytes of a pattern: b = b * 5 + 17, in a loop of stosb, with the position mixed in."""
        self.code += struct.pack('<BHBB', 0xb8, segment, 0x8e, 0xc0) + struct.pack('<BHBH', 0xbf, start, 0xb9, count & 0xffff)
        self.code += struct.pack('<BB', 0xb3, seed)
        self.code += bytes.fromhex('88d8' 'c0e302' '00c3' '80c311' '89f8' '00e0' '30d8' 'aa' 'e2ed')

    def at_nmi(self, code):
        """The vector is set, with DS still 0; the handler is behind it, jumped over."""
        at = len(self.code) + 14
        self.code += struct.pack('<HHHHHHBB', 0x06c7, 8, at, 0x06c7, 10, 0xf000, 0xeb, len(code) + 1) + code + b'\xcf'

    def image(self):
        code = bytes(self.code) + b'\xf4\xeb\xfd'  # hlt, and again
        assert len(code) < 0xfff0
        return code.ljust(0xfff0, b'\0') + b'\xea\0\0\0\xf0'.ljust(16, b'\0')


def qmp(path, *commands):
    end = time.monotonic() + LIMIT
    while True:
        try:
            s = socket.socket(socket.AF_UNIX)
            s.connect(path)
            break
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
    f = s.makefile('rw')
    f.readline()
    for name, args in (('qmp_capabilities', {}),) + commands:
        f.write(json.dumps({'execute': name, 'arguments': args}) + '\n')
        f.flush()
        while True:
            answer = json.loads(f.readline())
            if 'event' not in answer:
                break
        assert 'return' in answer, answer
    s.close()


def dump(path, to):
    qmp(path, ('screendump', {'filename': to}))
    with open(to, 'rb') as f:
        kind, size, depth, pixels = f.read().split(b'\n', 3)
    assert (kind, depth) == (b'P6', b'255')
    width, height = map(int, size.split())
    assert len(pixels) == width * height * 3
    return width, height, pixels


def differences(a, b):
    """Parts of pixels of another color, beyond what two ways to make eight bits of five can be apart."""
    return sum(1 for x, y in zip(a, b) if abs(x - y) > 7)


def same(kv_vmm, rom):
    with tempfile.TemporaryDirectory(prefix='kv-vga-') as d:
        bios, ours, theirs = (os.path.join(d, n) for n in ('rom', 'k', 'q'))
        with open(bios, 'wb') as f:
            f.write(rom.image())
        runs = [subprocess.Popen([kv_vmm, '--machine', 'pc', '--firmware', bios, '--memory', '16M', '--accel', 'soft', '--console',
                                  'file:/dev/null', '--qmp', 'unix:' + ours, '--quiet']),
                subprocess.Popen(['qemu-system-x86_64', '-machine', 'q35', '-accel', 'tcg', '-bios', bios, '-m', '16', '-display', 'none',
                                  '-nodefaults', '-vga', 'std', '-qmp', 'unix:%s,server=on,wait=off' % theirs])]
        try:
            end = time.monotonic() + LIMIT
            while True:
                pictures = [dump(p, p + '.ppm') for p in (ours, theirs)]
                wrong = differences(pictures[0][2], pictures[1][2]) if pictures[0][:2] == pictures[1][:2] else -1
                colors = len(set(pictures[1][2][i:i + 3] for i in range(0, len(pictures[1][2]), 3)))
                if wrong == 0 and colors > 1:
                    print('%dx%d, %d colors' % (pictures[0][0], pictures[0][1], colors))
                    return
                if time.monotonic() > end:
                    keep = os.environ.get('KV_KEEP')
                    if keep:
                        for p in (ours, theirs):
                            shutil.copy(p + '.ppm', keep)
                    sys.exit('%s and %s: %d bytes differ, %d colors' % (pictures[0][:2], pictures[1][:2], wrong, colors))
                time.sleep(0.2)
        finally:
            for r in runs:
                r.kill()
                r.wait()


def font(rom):
    for reg, v in ((0x3c4, 0x0402), (0x3c4, 0x0604), (0x3ce, 0x0005), (0x3ce, 0x0506)):
        rom.out16(reg, v)
    rom.fill(0xa000, 0, 0x2000, 3)
    for reg, v in ((0x3c4, 0x0302), (0x3c4, 0x0204), (0x3ce, 0x1005), (0x3ce, 0x0e06)):
        rom.out16(reg, v)


def text(table):
    rom = Rom()
    rom.mode(table)
    font(rom)
    rom.out16(0x3ce, 0x0e06)
    # No blinking: when is not the same in both; no ninth dots: which characters have them is not, either.
    rom.in8(0x3da)
    rom.out(0x3c0, 0x30)
    rom.out(0x3c0, 0)
    rom.fill(0xb800, 0, 4000)
    return rom


def planes(table, size):
    rom = Rom()
    rom.mode(table)
    for plane in range(4):
        rom.out16(0x3c4, 2 | 0x100 << plane)
        rom.fill(0xa000, 0, size, plane * 31)
    rom.out16(0x3c4, 0x0f02)
    return rom


def memory(table, segment, size):
    rom = Rom()
    rom.mode(table)
    rom.fill(segment, 0, size)
    return rom


def vbe(bits):
    rom = Rom()
    rom.mode(BYTES)
    for index, value in ((1, 160), (2, 120), (3, bits), (4, 0x41)):
        rom.vbe(index, value)
    rom.out16(0x3ce, 0x0506)
    for bank in range((160 * 120 * ((bits + 7) // 8) >> 16) + 1):
        rom.vbe(5, bank)
        rom.fill(0xa000, 0, 0xffff, bank)
    rom.in8(0x3da)
    rom.out(0x3c0, 0x20)
    return rom


def posted(kv_vmm):
    """Writes that need handlers do not end KVM_RUN each: 16384 of them are a few hundred exits. A byte to the serial port tells the end."""
    rom = memory(CGA, 0xb800, 16384)
    rom.out(0x3f8, 0x21)
    with tempfile.TemporaryDirectory(prefix='kv-vga-') as d:
        bios, path = os.path.join(d, 'rom'), os.path.join(d, 'k')
        with open(bios, 'wb') as f:
            f.write(rom.image())
        run = subprocess.Popen([kv_vmm, '--machine', 'pc', '--firmware', bios, '--memory', '16M', '--accel', 'soft', '--quiet', '--stats',
                                '--qmp', 'unix:' + path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            assert run.stdout.read(1) == b'!', run.communicate(timeout=LIMIT)
            qmp(path, ('quit', {}))
            stats = dict(line.split() for line in run.communicate(timeout=LIMIT)[1].splitlines() if len(line.split()) == 2)
        finally:
            run.kill()
            run.wait()
        assert 0 < int(stats[b'vcpu0.exits.mmio']) < 1024, stats


CASES = {
    'text': [lambda: text(TEXT), lambda: text(TEXT40)],
    'planes': [lambda: planes(PLANAR, 38400), lambda: planes(PLANAR320, 8000)],
    'bytes': [lambda: memory(BYTES, 0xa000, 64000), lambda: planes(MODE_X, 16000)],
    'cga': [lambda: memory(CGA, 0xb800, 16384), lambda: memory(CGA_MONO, 0xb800, 16384)],
    'vbe': [lambda bits=bits: vbe(bits) for bits in (8, 15, 16, 24, 32)],
}


def main():
    if sys.argv[2] == 'posted':
        return posted(sys.argv[1])
    if not shutil.which('qemu-system-x86_64'):
        print('SKIP: qemu-system-x86_64 is missing (Debian: qemu-system-x86)')
        sys.exit(77)
    for make in CASES[sys.argv[2]]:
        same(sys.argv[1], make())
    return None


if __name__ == '__main__':
    main()
