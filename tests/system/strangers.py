#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Firmware and systems that are not Linux, each with its own drivers, as a person meets them: on the VGA's text screen, in pictures,
at the keyboard. Those that start something else have Debian's kernel start, from a SATA disk, and power the machine off.
  u-boot, u-boot-64   U-Boot as firmware: PCI, AHCI, FAT, PS/2, ACPI's tables for Linux; of 64 bits it cannot start Linux
  grub-firmware       GRUB as firmware: it programs the VGA, AHCI and PS/2 itself. QEMU shows the same picture
  qboot               a firmware that has no screen and no disk
  grub-legacy         GRUB 0.97 from a CD-ROM: real mode, a menu, and the multiboot specification's own kernel
  gnumach             GNU's microkernel, by multiboot
  hdt, memdisk        programs of SYSLINUX: one looks at the hardware by the BIOS, one is a disk by hooking it
  refind              a menu of pictures by UEFI
usage: strangers.py KV-VMM SOURCE-ROOT NAME   Exit status 77: something needed is not installed."""
import glob
import os
import shutil
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, f'{HERE}/../interop')
import cases  # noqa: E402
import qmp  # noqa: E402
import screen  # noqa: E402
from cases import Skipped, check  # noqa: E402

LIMIT = 200
UNPACKED = '/var/lib/kvasir-tests'  # packages that tools/install-deps has not installed, but unpacked
MODULES = '/usr/lib/syslinux/modules/bios'
WORDS = 'console=ttyS0 quiet kv.run="ls /sys/firmware"'


def need(*files):
    for file in files:
        if not os.path.exists(file):
            raise Skipped(f'no {file} (tools/install-deps test)')


def tool(*words):
    """What it says."""
    if not shutil.which(words[0]):
        raise Skipped(f'no {words[0]} (tools/install-deps test)')
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    check(done.returncode == 0, f'{" ".join(words)}: status {done.returncode}', done.stderr[-2000:])
    return done.stdout


def write(path, *lines):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='ascii') as file:
        file.write('\n'.join(lines) + '\n')


class Bed:
    def __init__(self, program, root, folder):
        self.program, self.root, self.folder = program, root, folder

    def kernel(self):
        """Debian's, and an initrd."""
        kernels = sorted(glob.glob('/boot/vmlinuz-*-cloud-amd64'))
        if not kernels:
            raise Skipped('no cloud kernel in /boot (tools/install-deps test)')
        tool(f'{self.root}/tools/make-initrd', f'{self.folder}/initrd')
        return kernels[-1], f'{self.folder}/initrd'

    def disk(self, *files):
        """A disk with one FAT partition of these: (file, name in it)."""
        path, at = f'{self.folder}/disk', f'{self.folder}/disk@@1M'
        with open(path, 'wb') as file:
            file.truncate(97 << 20)
        subprocess.run(['sfdisk', '-q', path], input='start=2048,type=c,bootable\n', text=True, check=True)
        tool('mformat', '-i', at, '-h', '16', '-s', '63', '-T', str(96 << 11), '-H', '2048', '::')
        folders = {os.path.dirname(name[:i]) for _, name in files for i in range(2, len(name) + 1) if name[i - 1] == '/' or i == len(name)}
        for name in sorted(folders - {'', '/'}, key=len):
            tool('mmd', '-i', at, f'::{name}')
        for file, name in files:
            tool('mcopy', '-i', at, file, f'::{name}')
        return path

    def disc(self, image, *files):
        """A CD-ROM that the BIOS starts with `image`: (file, name in it)."""
        for file, name in files:
            os.makedirs(os.path.dirname(f'{self.folder}/tree{name}'), exist_ok=True)
            shutil.copy(file, f'{self.folder}/tree{name}')
        tool('xorriso', '-as', 'mkisofs', '-quiet', '-R', '-b', image, '-c', 'boot.cat', '-no-emul-boot', '-boot-load-size', '4',
             '-boot-info-table', '-o', f'{self.folder}/iso', f'{self.folder}/tree')
        return f'{self.folder}/iso'

    def isolinux(self, lines, *files):
        write(f'{self.folder}/isolinux.cfg', 'default it', 'label it', *lines)
        own = ['/usr/lib/ISOLINUX/isolinux.bin', f'{MODULES}/ldlinux.c32', *files]
        need(*own)
        return self.disc('isolinux.bin', (f'{self.folder}/isolinux.cfg', '/isolinux.cfg'),
                         *((file, '/' + os.path.basename(file)) for file in own))

    def machine(self, *options):
        return screen.Machine(self.program, self.folder, 'it', '--no-reboot', *options)

    def font(self):
        return screen.learn_font(self.program, self.folder)


def says(machine, words, seconds=LIMIT):
    """Until the serial port has said it: all that it said."""
    end = time.monotonic() + seconds
    while True:
        with open(machine.serial, 'rb') as file:
            text = file.read().decode('latin-1').replace('\r', '')
        if words in text:
            return text
        check(time.monotonic() < end, f"the serial port does not say '{words}'", text[-3000:])
        time.sleep(0.1)


def keys(machine, text):
    names = {' ': 'spc', '-': 'minus', '_': 'shift+minus', '\n': 'ret', ':': 'shift+semicolon', '=': 'equal', '/': 'slash', '(': 'shift+9', ')': 'shift+0'}
    for letter in text:
        machine.type(names.get(letter, letter))


def linux_ends(machine, line):
    """It ran, found ACPI's tables sound, and its power-off is one."""
    text = says(machine, '@exit 0')
    check('ACPI Error' not in text, 'an error in ACPI', text[-3000:])
    check(line in text.split('\n'), f"Linux does not say '{line}'", text[-3000:])
    check(machine.process.status() == 0, 'kv-vmm did not end well')


def u_boot(bed, kind, *commands):
    rom = f'/usr/lib/u-boot/{kind}/u-boot.rom'
    need(rom)
    kernel, initrd = bed.kernel()
    # The initrd is out of the way of a kernel that unpacks itself.
    write(f'{bed.folder}/env', 'go=load scsi 0:1 2000000 vmlinuz; load scsi 0:1 a000000 initrd; zboot 2000000 0 a000000 ${filesize}',
          f'bootargs={WORDS}\0')
    disk = bed.disk((kernel, '/vmlinuz'), (initrd, '/initrd'), (f'{bed.folder}/env', '/env'))
    with bed.machine('--firmware', rom, '--memory', '512M', '--disk', f'file={disk},bus=sata') as machine:
        says(machine, 'Hit any key')
        keys(machine, '\n')
        for command, answer in commands:
            says(machine, '=> ')
            keys(machine, command + '\n')
            says(machine, answer)
        if kind == 'qemu-x86':
            linux_ends(machine, 'acpi    dmi     memmap')


def u_boot_32(bed):
    u_boot(bed, 'qemu-x86', ('scsi scan', 'Prod.: KVASIR DISK'), ('load scsi 0:1 100000 env', ' bytes read'),
           ('env import -t 100000', 'env import -t 100000\n'), ('run go', 'Loading bzImage'))


def u_boot_64(bed):
    u_boot(bed, 'qemu-x86_64', ('pci', '0x8086     0x2922     Mass storage'), ('scsi scan', 'Prod.: KVASIR DISK'),
           ('fatls scsi 0:1', 'vmlinuz\n'))


def plain(rows):
    """Light and dark: QEMU makes six bits of a color eight in another way."""
    return [[pixel[0] > 80 for pixel in row] for row in rows]


def grub_firmware(bed):
    rom = '/usr/share/qemu/grub.bin'
    need(rom)
    if not shutil.which('qemu-system-x86_64'):
        raise Skipped('no qemu-system-x86_64 (tools/install-deps test)')
    kernel, initrd = bed.kernel()
    write(f'{bed.folder}/grub.cfg', 'serial', 'terminal_output serial', f'linux /vmlinuz {WORDS}', 'initrd /initrd', 'boot')
    disk = bed.disk((kernel, '/vmlinuz'), (initrd, '/initrd'), (f'{bed.folder}/grub.cfg', '/grub/grub.cfg'))
    path = f'{bed.folder}/theirs'
    theirs = qmp.Process(['qemu-system-x86_64', '-machine', 'q35', '-accel', 'tcg', '-bios', rom, '-display', 'none', '-nodefaults', '-vga',
                          'std', '-m', '512', '-qmp', f'unix:{path},server=on,wait=off'], path)
    machine = bed.machine('--firmware', rom, '--memory', '512M', '--disk', f'file={disk},bus=sata')
    with theirs, machine:
        client, end = theirs.client(), time.monotonic() + LIMIT
        # The menu is there when keys have stopped the clock in it.
        while True:
            machine.type('up')
            client.run('send-key', keys=[{'type': 'qcode', 'data': 'up'}])
            client.run('screendump', filename=f'{path}.png', format='png')
            rows, their_rows = plain(machine.rows()), plain(screen.read_png(f'{path}.png'))
            used = sum(0 < sum(row) < len(row) for row in rows)
            if rows == their_rows and used > 100:
                break
            check(time.monotonic() < end, f'the pictures differ: {len(rows[0])} x {len(rows)}, {used} lines with letters')
        machine.type('down', 'down', 'down', 'ret')  # 'source /grub/grub.cfg'; /boot/grub/grub.cfg is its own
        # It tells of no ACPI.
        says(machine, '\nmemmap\n')
        says(machine, '@exit 0')


def qboot(bed):
    rom = '/usr/share/qemu/qboot.rom'
    need(rom)
    kernel, initrd = bed.kernel()
    with bed.machine('--firmware', rom, '--memory', '256M', '--kernel', kernel, '--initrd', initrd, '--append', WORDS) as machine:
        linux_ends(machine, 'acpi    dmi     memmap')


def grub_legacy(bed):
    stage2 = f'{UNPACKED}/grub-legacy/usr/lib/grub/x86_64-pc/stage2_eltorito'
    kernel = '/usr/lib/multiboot/examples/kernel'
    need(stage2, kernel)
    write(f'{bed.folder}/menu.lst', 'title first', ' root (cd)', ' kernel /kernel first', 'title second', ' root (cd)', ' kernel /kernel one two',
          ' module /boot/grub/menu.lst three')
    disc = bed.disc('boot/grub/stage2_eltorito', (stage2, '/boot/grub/stage2_eltorito'), (kernel, '/kernel'),
                    (f'{bed.folder}/menu.lst', '/boot/grub/menu.lst'))
    font = bed.font()
    with bed.machine('--firmware', 'bios', '--memory', '64M', '--cdrom', disc) as machine:
        machine.wait_for([r'GNU GRUB  version 0\.97  \(639K lower / 64\d\d\dK upper memory\)', 'first', 'second'], font, LIMIT)
        machine.type('down', 'ret')
        machine.wait_for([r'mem_lower = 639KB, mem_upper = 64\d\d\dKB', r'cmdline = /kernel one two', 'mods_count = 1',
                          'cmdline = /boot/grub/menu.lst three', 'base_addr = 0x000100000, length = 0x003efc000, type = 0x1', 'Halted.'],
                         font, LIMIT)


def gnumach(bed):
    kernel = '/boot/gnumach-1.8-486.gz'
    need(kernel, '/usr/lib/grub/i386-pc')
    write(f'{bed.folder}/tree/boot/grub/grub.cfg', 'multiboot /gnumach.gz console=com0', 'boot')
    shutil.copy(kernel, f'{bed.folder}/tree/gnumach.gz')
    tool('grub-mkrescue', '-d', '/usr/lib/grub/i386-pc', '-o', f'{bed.folder}/iso', f'{bed.folder}/tree')
    machine = bed.machine('--firmware', 'bios', '--memory', '256M', '--cdrom', f'{bed.folder}/iso', '--rtc', 'base=2001-02-03T04:05:00')
    with machine:
        # It has memory, an address space, interrupts and a clock; what it would start is not there.
        text = says(machine, 'bootstrap_create: No bootstrap code loaded')
        for word in ('GNU Mach 1.8', 'biosmem: 000000000000100000:00000000000fffc000, available', 'RTC time is 2001-02-03 04:05:'):
            check(word in text, f"it does not say '{word}'", text)


def hdt(bed):
    pci_ids = '/usr/share/misc/pci.ids'
    disc = bed.isolinux([' com32 hdt.c32', ' append nomenu quiet auto="show summary"'],
                        *(f'{MODULES}/{name}.c32' for name in ('hdt', 'libcom32', 'libutil', 'libmenu', 'libgpl')), pci_ids)
    with open(f'{bed.folder}/disk', 'wb') as file:
        file.truncate(64 << 20)
    font = bed.font()
    with bed.machine('--firmware', 'bios', '--memory', '128M', '--cdrom', disc, '--disk', f'file={bed.folder}/disk,bus=sata', '--boot',
                     'order=d') as machine:
        machine.wait_for(['Product Name : Kvasir PC', r'Memory Size +: 128 MB', 'hdt>'], font, LIMIT)
        keys(machine, 'set mode pci\nshow\n')
        machine.wait_for(['4 PCI devices', 'Intel Corporation', '# VGA compatible controller', '# SATA controller'], font, LIMIT)


def memdisk(bed):
    disk = '/usr/lib/grub-rescue/grub-rescue-floppy.img'
    disc = bed.isolinux([' linux memdisk', ' initrd grub-rescue-floppy.img'], '/usr/lib/syslinux/memdisk', disk)
    font = bed.font()
    with bed.machine('--firmware', 'bios', '--memory', '128M', '--cdrom', disc) as machine:
        machine.wait_for(['GNU GRUB  version 2', 'Memtest86'], font, LIMIT)
        keys(machine, 'cls\n')
        machine.wait_for([r'grub> ls\n.*\(fd0\)'], font, LIMIT)


def refind(bed):
    loader = f'{UNPACKED}/refind/usr/share/refind/refind/refind_x64.efi'
    need(loader)
    icons = glob.glob(f'{UNPACKED}/refind/usr/share/refind/refind/icons/*.png')
    kernel, initrd = bed.kernel()
    write(f'{bed.folder}/refind.conf', 'timeout 0', 'scanfor manual', 'menuentry "Debian" {', ' loader /vmlinuz', ' initrd /initrd',
          ' options "' + WORDS.replace('firmware', 'firmware #').replace('"', '""') + '"', '}')  # the firmware adds to the line
    disk = bed.disk((kernel, '/vmlinuz'), (initrd, '/initrd'), (loader, '/EFI/BOOT/BOOTX64.EFI'),
                    (f'{bed.folder}/refind.conf', '/EFI/BOOT/refind.conf'),
                    *((icon, '/EFI/BOOT/icons/' + os.path.basename(icon)) for icon in icons))
    machine = bed.machine('--firmware', 'uefi', '--memory', '512M', '--disk', f'file={disk},bus=sata')
    with machine:
        end = time.monotonic() + LIMIT
        while True:
            pixels = [pixel for row in machine.rows() for pixel in row]
            colors, ground = len(set(pixels)), max(pixels.count(pixel) for pixel in {pixels[0], pixels[-1]}) / len(pixels)
            if colors > 500 and ground > 0.7:
                break
            check(time.monotonic() < end, f'no menu: {colors} colors, {ground:.0%} ground')
            time.sleep(0.5)
        machine.type('ret')
        linux_ends(machine, 'acpi    dmi     efi     memmap')


CASES = {'u-boot': u_boot_32, 'u-boot-64': u_boot_64, 'grub-firmware': grub_firmware, 'qboot': qboot, 'grub-legacy': grub_legacy,
         'gnumach': gnumach, 'hdt': hdt, 'memdisk': memdisk, 'refind': refind}


def run(program, root, name, folder):
    CASES[name](Bed(program, root, folder))


sys.exit(cases.one('strangers', run, *sys.argv[1:4]))
