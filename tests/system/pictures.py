#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What programs of others show, on a PC and on QEMU beside it, is the same picture, before and after keys: ISOLINUX's menu in a VESA mode,
GRUB in the planes of mode 12h and in VBE modes of all depths, Linux in the modes of vga=.
usage: pictures.py KV-VMM CASE...   Exit status 77: something needed is not installed."""
import glob
import os
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import beside  # noqa: E402
import cases  # noqa: E402
from cases import Skipped, check  # noqa: E402

TOOLS = f'{beside.HERE}/../../tools'
ISOLINUX = '/usr/lib/ISOLINUX/isolinux.bin'
MODULES = '/usr/lib/syslinux/modules/bios/'
GRUB = '/usr/lib/grub/i386-pc'
FONT = '/usr/share/grub/unicode.pf2'
SPLASH = '/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/boot-screens/splash.png'


class Bed:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def path(self, name):
        return f'{self.folder}/{name}'

    def tool(self, *words):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        check(done.returncode == 0, f'{" ".join(words)}: status {done.returncode}', done.stderr[-2000:])

    def tree(self, *files):
        tree = self.path('tree')
        shutil.rmtree(tree, ignore_errors=True)
        os.mkdir(tree)
        for file in files:
            shutil.copy(need(file), tree)
        return tree

    def pair(self, disc, memory=128):
        return beside.Pair(self.program, self.folder, ['--cdrom', disc, '--memory', f'{memory}M'], ['-cdrom', disc, '-m', str(memory)])


def need(file):
    if not os.path.exists(file):
        raise Skipped(f'no {file} (tools/install-deps test)')
    return file


def write(path, text):
    with open(path, 'w', encoding='ascii') as file:
        file.write(text)


# ---- ISOLINUX ----

def isolinux(bed, config, *files):
    need('/usr/bin/xorriso')
    tree = bed.tree(ISOLINUX, *files)
    write(f'{tree}/isolinux.cfg', config)
    return tree


def pack(bed, tree):
    bed.tool('xorriso', '-as', 'mkisofs', '-quiet', '-b', 'isolinux.bin', '-c', 'boot.cat', '-no-emul-boot', '-boot-load-size', '4',
             '-boot-info-table', '-o', bed.path('iso'), tree)
    return bed.path('iso')


def case_isolinux_vesa(bed):
    config = ('ui vesamenu.c32\nmenu title Others\nmenu background splash.png\nlabel a\n menu label First\n kernel a\n'
              'label b\n menu label Second\n kernel b\n')
    tree = isolinux(bed, config, *(MODULES + name for name in ('ldlinux.c32', 'vesamenu.c32', 'libcom32.c32', 'libutil.c32')), SPLASH)
    with bed.pair(pack(bed, tree)) as pair:
        pair.wait_for('a menu', 60, 200, '640 480')
        pair.type('down')
        pair.wait_for('its second line', 20, 200, '640 480')
        pair.type('tab', 'x')
        pair.wait_for('a line to edit', 20, 200, '640 480')


# ---- GRUB ----

def grub(bed, modules, config, *files):
    need(GRUB), need('/usr/bin/xorriso'), need('/usr/bin/mformat')
    tree = bed.tree(*files)
    os.makedirs(f'{tree}/boot/grub')
    write(f'{tree}/boot/grub/grub.cfg', config)
    bed.tool('grub-mkrescue', '-d', GRUB, '--fonts=', '--locales=', '--themes=', f'--install-modules={modules}', '-o', bed.path('iso'), tree)
    return bed.path('iso')


def menu(bed, driver, size, colors, *config):
    disc = grub(bed, f'normal gfxterm font {driver} test biosdisk iso9660',
                '\n'.join([f'insmod {driver}', 'loadfont /unicode.pf2', *config, 'set timeout=-1', 'menuentry "First" { true }',
                           'menuentry "Second" { true }', '']), FONT)
    with bed.pair(disc) as pair:
        pair.wait_for(f'{driver}: a menu of {size}', 60, colors, size)
        pair.type('down')
        pair.wait_for(f'{driver}: its second line', 20, colors, size)
        pair.type('e')
        pair.wait_for(f'{driver}: an editor', 20, colors, size)


def case_grub_planes(bed):
    """Its driver of a VGA draws in planes, two pages in turn."""
    menu(bed, 'vga', '640 480', 2, 'terminal_output gfxterm')


def case_grub_vbe(bed):
    for width, height, bits in ((640, 400, 8), (800, 600, 16), (1024, 768, 24), (640, 480, 32)):
        menu(bed, 'vbe', f'{width} {height}', 4, f'set gfxmode={width}x{height}x{bits}', 'terminal_output gfxterm',
             'set menu_color_normal=yellow/blue', 'set menu_color_highlight=light-cyan/red')


# ---- Linux ----

DRAW = r'''exec >/dev/tty0 2>&1
printf "\033[2J\033[?25l"
for i in 1 2 3 4 5 6 7; do
	printf "\033[1;3$i;4$((7 - i))m$i planes "
done
ls /bin | head -n 300 | tr "\n" " "
echo drawn >/dev/ttyS0
sleep 1000
'''


def case_linux(bed):
    """Its setup code sets the mode that vga= says: VESA's, and VGA's text with 50 lines."""
    kernels = glob.glob('/boot/vmlinuz-*[0-9]-amd64')
    if not kernels or not shutil.which('busybox'):
        raise Skipped('no linux-image-amd64, or no busybox (tools/install-deps test)')
    kernel, initrd, draw = sorted(kernels)[-1], bed.path('initrd'), bed.path('draw')
    write(draw, DRAW)
    bed.tool(f'{TOOLS}/make-initrd', '-k', '-c', draw, initrd)
    for mode, size in (('0x317', '1024 768'), ('ext', '720 400')):
        line = f'console=ttyS0 quiet vga={mode} kv.run=sh {draw}'
        with beside.Pair(bed.program, bed.folder, ['--memory', '256M', '--kernel', kernel, '--initrd', initrd, '--append', line],
                         ['-m', '256', '-kernel', kernel, '-initrd', initrd, '-append', line]) as pair:
            pair.wait_until(f'Linux with vga={mode}', 150, lambda text: b'drawn' in text)
            pair.wait_for(f'Linux with vga={mode}', 20, 8, size)


if __name__ == '__main__':
    sys.exit(cases.run(globals(), sys.argv[2:], lambda folder: Bed(sys.argv[1], folder)))
