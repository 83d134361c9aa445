# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person reads on a PC's screen: a picture that QMP's screendump made, as lines of text. Glyphs are those of the VGA's font,
which a few bytes of boot code show: nothing here knows how they look. What others draw (Linux on a frame buffer, Memtest86+) is the
same but for the letters F M T W X Y Z m v w x and 0, which are then spaces. Imported by the tests that look at screens."""
import os
import re
import struct
import sys
import tempfile
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'interop'))
import qmp  # noqa: E402
from cases import Failed, check  # noqa: E402

LETTERS = bytes(range(0x21, 0x7f))
TALL = 16


def read_png(path):
    """Rows of pixels, each a tuple of three bytes: what libpng writes for RGB with 8 bits, by any filter (PNG, 9.2)."""
    with open(path, 'rb') as file:
        data = file.read()
    check(data[:8] == b'\x89PNG\r\n\x1a\n', 'no PNG', path)
    width, height, depth, kind = struct.unpack('>IIBB', data[16:26])
    check((depth, kind) == (8, 2), 'not RGB with 8 bits')
    at, packed = 8, b''
    while at < len(data):
        size, name = struct.unpack('>I4s', data[at:at + 8])
        packed += data[at + 8:at + 8 + size] if name == b'IDAT' else b''
        at += size + 12
    raw, rows, above = zlib.decompress(packed), [], bytes(3 * width)
    for y in range(height):
        how, line = raw[y * (3 * width + 1)], bytearray(raw[y * (3 * width + 1) + 1:(y + 1) * (3 * width + 1)])
        above = unfilter(how, line, above)
        rows.append([above[i:i + 3] for i in range(0, 3 * width, 3)])
    return rows


def unfilter(how, line, above):
    if how == 2:
        return bytes((a + b) & 255 for a, b in zip(line, above))
    for i in range(len(line) if how else 0):
        left, corner = (line[i - 3], above[i - 3]) if i >= 3 else (0, 0)
        near = min((abs(above[i] - corner), 0, left), (abs(left - corner), 1, above[i]),
                   (abs(left + above[i] - 2 * corner), 2, corner))[2]
        line[i] = (line[i] + (0, left, 0, (left + above[i]) // 2, near)[how]) & 255
    return bytes(line)


def glyph(rows, x, y):
    """Eight columns of a cell as bits that differ from its first pixel: None when it has more than two colors."""
    cell = [row[x:x + 8] for row in rows[y:y + TALL]]
    ground = cell[0][0]
    if len({pixel for line in cell for pixel in line}) > 2:
        return None
    return tuple(sum((pixel != ground) << i for i, pixel in enumerate(line)) for line in cell)


def read_text(rows, font, wide=9, top=0):
    """Cells that are no letter of the font are spaces. wide: columns of a cell; top: of the first line."""
    lines = []
    for y in range(top, len(rows) - TALL + 1, TALL):
        cells = (glyph(rows, x, y) for x in range(0, len(rows[0]) - 7, wide))
        lines.append(''.join(font.get(cell, ' ') for cell in cells).rstrip())
    return lines


def boot_sector(path):
    """Clears the screen (BIOS, int 10h), shows LETTERS in the first cells, and halts."""
    show = bytes.fromhex('b80300cd10 b800b88ec0 31ff be0000 b9') + struct.pack('<H', len(LETTERS))
    show += bytes.fromhex('0e1f b407 ac ab e2fc fa f4')  # push cs; pop ds; mov ah, 7; lodsb; stosw; loop; cli; hlt
    at = show.index(b'\xbe') + 1
    show = show[:at] + struct.pack('<H', 0x7c00 + len(show)) + show[at + 2:]
    with open(path, 'wb') as file:
        file.write((show + LETTERS).ljust(510, b'\0') + b'\x55\xaa')
        file.truncate(1 << 20)


class Machine:
    """kv-vmm as a pc, its serial port in a file, until the end of `with`."""

    def __init__(self, program, folder, name, *options):
        self.folder, self.name = folder, name
        self.serial = f'{folder}/{name}.serial'
        path = f'{folder}/{name}.qmp'
        self.process = qmp.Process([program, '--machine', 'pc', '--accel', 'soft', '--console', f'file:{self.serial}', '--qmp',
                                    f'unix:{path}', *options], path)

    def __enter__(self):
        self.process.__enter__()
        self.client = self.process.client()
        return self

    def __exit__(self, *what):
        return self.process.__exit__(*what)

    def rows(self):
        path = f'{self.folder}/{self.name}.png'
        self.client.run('screendump', filename=path, format='png')
        return read_png(path)

    def type(self, *keys):
        """Each a QKeyCode, or several with + between."""
        for key in keys:
            self.client.run('send-key', keys=[{'type': 'qcode', 'data': part} for part in key.split('+')])
            time.sleep(0.15)

    def wait_for(self, words, font, seconds, **cells):
        """Until all of these regular expressions match what is on the screen at once; its lines."""
        end = time.monotonic() + seconds
        while True:
            lines = read_text(self.rows(), font, **cells)
            if all(re.search(word, '\n'.join(lines)) for word in words):
                return lines
            if time.monotonic() > end:
                raise Failed('the screen does not say ' + ', '.join(repr(word) for word in words) + ':\n' + '\n'.join(lines))
            time.sleep(0.5)


def learn_font(program, folder):
    boot_sector(f'{folder}/letters')
    with Machine(program, folder, 'letters', '--disk', f'file={folder}/letters,bus=sata', '--memory', '64M') as machine:
        end = time.monotonic() + 200
        while True:
            rows = machine.rows()
            if len(rows) >= TALL and len(rows[0]) == 720:
                font = {glyph(rows, 9 * (i % 80), TALL * (i // 80)): chr(code) for i, code in enumerate(LETTERS)}
                if len(font) == len(LETTERS) and None not in font:
                    return font
            check(time.monotonic() < end, 'no letters on the screen')
            time.sleep(0.2)


def main(word, needed, run, *arguments):
    """A test's end: its exit status. run gets the arguments and a folder."""
    if not os.path.exists(needed):
        print(f'skipped: no {needed} (tools/install-deps test)')
        return 77
    with tempfile.TemporaryDirectory() as folder:
        try:
            run(*arguments, folder)
        except Failed as failure:
            print(f'{word}: {failure}')
            return 1
    print(f'{word}: good')
    return 0
