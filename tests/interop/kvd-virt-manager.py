#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""virt-manager, unmodified, as its user sees it: a desktop of its own with machines of kv-vmm behind kvd. What it did is looked for
from outside, by virsh. An error of its own, in a window or in its log, is a fault.
usage: kvd-virt-manager.py [--pictures FOLDER] KVD KV-VMM SOURCE-ROOT CASE...
Its pictures are kept in FOLDER, or in one of /tmp when a case fails. Exit status 77: a program is missing."""
import contextlib
import importlib
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import tty

sys.dont_write_bytecode = True
import cases  # noqa: E402
from cases import Skipped, check  # noqa: E402

PYTHON = '/usr/bin/python3'  # Debian's, which has gi
LIMIT = 180
GRAPHICS = "<graphics type='vnc' port='-1'/><video><model type='vga'/></video>"
pictures = ''
snapshots = importlib.import_module('kvd-snapshots')
desktop = until = None


class Bed(snapshots.Bed):
    def uri(self):
        # Without a transport in its name: virt-manager takes others for remote, and looks for a console's port alone.
        return f'qemu:///session?socket={self.socket}'

    def tell(self, name, devices, sector=None, size='8M'):
        """A machine whose disk, NAME.qcow2, starts this code."""
        if not os.path.exists('/usr/share/seabios/bios-256k.bin'):
            raise Skipped('no SeaBIOS (tools/install-deps test)')
        image = self.image(f'{name}.qcow2', size=size)
        with open(self.path('sector'), 'wb') as file:
            file.write((sector or snapshots.BOOT).ljust(510, b'\0') + b'\x55\xaa')
        subprocess.run(['qemu-io', '-f', 'qcow2', '-c', f'write -s {self.path("sector")} 0 512', image], check=True, stdout=subprocess.DEVNULL)
        if devices:
            self.board(name, self.disks((image, 'qcow2')) + "<serial type='pty'/>" + devices)
        return image


class Manager:
    """virt-manager's windows."""

    def __init__(self, bed, screen):
        self.bed, self.screen, self.shots = bed, screen, 0
        self.process = screen.start('virt-manager', '--debug', '--no-fork', '--connect', bed.uri(), stdout=open(bed.path('vm.log'), 'wb'),
                                    stderr=subprocess.STDOUT)
        self.app = screen.program('virt-manager')
        self.window = self.app.find('Virtual Machine Manager', 'frame')
        self.window.find('QEMU/KVM.*', 'table cell')

    def log(self):
        with open(self.bed.path('vm.log'), encoding='utf-8', errors='replace') as file:
            return file.read()

    def sound(self):
        """It has neither ended nor found a fault."""
        check(self.process.poll() is None, 'virt-manager has ended', self.log()[-4000:])
        bad = re.search(r'Traceback|ERROR|error dialog message', self.log())
        check(not bad, 'virt-manager has found a fault', self.log()[max(0, bad.start() - 500) if bad else 0:][:4000])

    def shot(self, name):
        """What is to be seen now, and that nothing went wrong until here."""
        self.shots += 1
        time.sleep(0.2)
        self.screen.shot(f'{self.bed.path("pictures")}/{self.shots:02}-{name}.png')
        self.sound()

    def row(self, name, state):
        """A machine's, once it has this state."""
        return self.window.find(f'{name}\n{state}', 'table cell')

    def open(self, name, state='Running', page='Details'):
        """A machine's own window, by a double click."""
        self.row(name, state).click(times=2)
        window = self.app.find(f'{name} on QEMU/KVM.*', 'frame')
        if page != 'Console':
            window.find(page, 'radio button').click()
        return window

    def close(self, window):
        self.menu(window, 'File', 'Close')
        self.app.gone(re.escape(window.name), 'frame')

    def menu(self, window, *names):
        """Entries of menus, one in the other."""
        for name in names:
            window = window.find(name)
            window.click()

    def answer(self, words, button):
        """A question's answer."""
        question = self.app.find(role='alert')
        text = '\n'.join(node.text for node in question.all(role='label'))
        check(re.search(words, text), 'another question', text)
        question.find(button, 'push button').click()
        self.app.gone(role='alert')


@contextlib.contextmanager
def manager(bed):
    os.makedirs(bed.path('pictures'), exist_ok=True)
    os.makedirs(bed.path('desktop'), exist_ok=True)
    if not shutil.which('virt-manager') or not shutil.which('xdotool'):
        raise Skipped('no virt-manager or xdotool (tools/install-deps test)')
    names = 'XDG_CONFIG_HOME', 'XDG_CACHE_HOME', 'XDG_DATA_HOME', 'XDG_RUNTIME_DIR'
    with desktop.Desktop(bed.path('desktop'), **{name: bed.environment[name] for name in names}) as screen:
        it = None
        good = False
        try:
            it = Manager(bed, screen)
            yield it
            it.shot('end')
            good = True
        finally:
            if not good:
                screen.shot(bed.path('pictures/failed.png'))
            keep(bed, not good)


def keep(bed, failed):
    """The pictures, for people."""
    folder = pictures or (tempfile.mkdtemp(prefix='kv-virt-manager-') if failed else None)
    if folder:
        shutil.copytree(bed.path('pictures'), folder, dirs_exist_ok=True)
        for name in 'vm.log', 'kvd.log':
            shutil.copy(bed.path(name), folder)
        print(f'pictures are in {folder}', flush=True)


def case_list(bed):
    """Machines and their states, as others and virt-manager itself change them: all is known by events."""
    for name in 'first', 'second', 'third':
        bed.tell(name, GRAPHICS)
    bed.virsh('start', 'second')
    bed.virsh('start', 'third')
    bed.virsh('suspend', 'third')
    with manager(bed) as it:
        it.row('first', 'Shutoff')
        it.row('second', 'Running')
        it.row('third', 'Paused')
        it.shot('list')
        bed.virsh('start', 'first')
        bed.virsh('resume', 'third')
        bed.virsh('destroy', 'second')
        it.row('first', 'Running')
        it.row('second', 'Shutoff')
        it.row('third', 'Running')
        bed.tell('fourth', GRAPHICS)
        it.row('fourth', 'Shutoff')
        bed.virsh('undefine', 'second')
        it.window.gone('second\n.*', 'table cell')
        it.shot('changed')
        it.row('fourth', 'Shutoff').click()
        it.window.find('Run', 'push button').click()
        it.row('fourth', 'Running')
        bed.wait('running (booted)', 'fourth')
        it.window.find('Pause', 'toggle button').click()
        bed.wait('paused (user)', 'fourth')
        it.row('fourth', 'Paused')
        it.window.find('Pause', 'toggle button').click()
        bed.wait('running (unpaused)', 'fourth')
        it.shot('run')
        it.window.find('Menu', 'toggle button').click()
        it.app.find('Force Off', 'menu item').click()
        it.answer('force poweroff', 'Yes')
        bed.wait('shut off (destroyed)', 'fourth')
        it.row('fourth', 'Shutoff')


ALL = f"""{GRAPHICS}<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk><interface type='user'>
<model type='virtio'/></interface><input type='tablet' bus='usb'/><input type='keyboard' bus='virtio'/><channel type='unix'>
<target type='virtio' name='org.qemu.guest_agent.0'/></channel><console type='pty'><target type='virtio'/></console>
<watchdog model='i6300esb' action='reset'/><panic model='isa'/><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
<memballoon model='virtio'/><controller type='scsi' model='virtio-scsi'/>
"""
PORTS = "<controller type='pci' model='pcie-root-port'/>" * 14


def choose(window, name):
    """A page of a machine's hardware."""
    cell = window.find(name, 'table cell')
    cell.scroll()
    cell.click()
    until(f'the page {name} does not open', lambda: 'selected' in cell.states)


def applied(bed, window, name, *wanted, live=False):
    """The changes on this page are stored."""
    window.find('config-apply', 'push button').click()
    until(f'{wanted} are not in {name}', lambda: all(re.search(w, bed.virsh('dumpxml', name, *['--inactive'] * (not live)))
                                                     for w in wanted))


def case_pages(bed):
    """Every page of all the hardware that there is opens, of a machine that runs."""
    bed.tell('full', ALL)
    bed.virsh('start', 'full')
    with manager(bed) as it:
        window = it.open('full')
        listed = window.find('hw-list', 'table')
        names = [node.name for node in listed.all(role='table cell') if node.name]
        check(len(names) > 24 and 'Watchdog' in names, 'few pages', names)
        for name in names:
            choose(window, re.escape(name))
            window.find('.*-tab')
            time.sleep(0.1)
            it.shot(re.sub('[^A-Za-z0-9]+', '-', name))


def case_details(bed):
    """A machine that is off is changed: names, memory, processors, its start with the host, a device more and less."""
    bed.tell('edited', GRAPHICS)
    with manager(bed) as it:
        window = it.open('edited', 'Shutoff')
        choose(window, 'Overview')
        window.field('Title:').write('A title')
        applied(bed, window, 'edited', '<title>A title</title>')
        it.shot('title')
        choose(window, 'CPUs')
        window.find('Virtual CPU Select', 'spin button').enter('2')
        applied(bed, window, 'edited', '<vcpu[^>]*>2</vcpu>')
        choose(window, 'Memory')
        window.find('Max Memory Select', 'spin button').enter('192')
        window.find('Memory Select', 'spin button').enter('160')
        applied(bed, window, 'edited', '<memory[^>]*>196608<', '<currentMemory[^>]*>163840<')
        it.shot('memory')
        choose(window, 'Boot Options')
        window.find('Start virtual machine on host boot up', 'check box').click()
        window.find('Enable boot menu', 'check box').click()
        applied(bed, window, 'edited', "<bootmenu enable='yes'")
        check(re.search('Autostart: +enable', bed.virsh('dominfo', 'edited')), 'it does not start by itself')
        it.shot('boot')
        window.find('add-hardware', 'push button').click()
        more = it.app.find('Add New Virtual Hardware', 'frame')
        choose(more, 'RNG')
        it.shot('add')
        more.find('Finish', 'push button').click()
        window.find('RNG /dev/urandom', 'table cell')
        check('<rng' in bed.virsh('dumpxml', 'edited'), 'no generator is added')
        choose(window, 'RNG /dev/urandom')
        window.find('config-remove', 'push button').click()
        it.answer('remove this device', 'Yes')
        window.gone('RNG /dev/urandom', 'table cell')
        check('<rng' not in bed.virsh('dumpxml', 'edited'), 'the generator stays')
        it.shot('removed')
        bed.virsh('start', 'edited')
        until('it does not run as it was changed', lambda: re.search('CPU\\(s\\): +2', bed.virsh('dominfo', 'edited')))


def case_live(bed):
    """A machine that runs is changed: a cable, a disc, a disk that is made for it."""
    bed.tell('full', ALL + PORTS)
    bed.virsh('start', 'full')
    disc = bed.image('disc.iso', 'raw')
    with manager(bed) as it:
        window = it.open('full')
        choose(window, 'NIC.*')
        window.find('active', 'check box').click()
        applied(bed, window, 'full', "<link state='down'/>", live=True)
        it.shot('link')
        choose(window, 'SATA CDROM 1')
        window.find('media-entry', 'text').write(disc)
        applied(bed, window, 'full', 'disc.iso', live=True)
        it.shot('disc')
        window.find('add-hardware', 'push button').click()
        more = it.app.find('Add New Virtual Hardware', 'frame')
        choose(more, 'Storage')
        more.find(role='spin button').enter('0.1')
        it.shot('add')
        more.find('Finish', 'push button').click()
        window.find('VirtIO Disk 2', 'table cell')
        it.shot('added')
        for words in [], ['--inactive']:
            check(re.search('vdb .*full.qcow2', bed.virsh('domblklist', 'full', *words)), 'no disk more')


# 16-bit code: what is typed (int 16h) or comes from the first serial port goes to that port and to the screen, for ever.
ECHO = bytes.fromhex('b401cd16740631c0cd16eb0cbafd03eca80174ecbaf803ecbaf803eeb40ebb0700cd10ebdb')


def lit(screen):
    """Pixels that are neither black nor of a window: white letters on black."""
    line, data = screen.pixels()
    return sum(data[y * line + x * 4:y * line + x * 4 + 3] == b'\xaa\xaa\xaa' for y in range(100, 800, 2) for x in range(0, 1020))


def case_console(bed):
    """A machine's screen, what is typed there, and Ctrl+Alt+Delete by the menu; its serial port in a window of text."""
    bed.tell('shown', GRAPHICS, ECHO)
    bed.virsh('start', 'shown')
    with manager(bed) as it:
        window = it.open('shown', page='Console')
        until('the screen does not show', lambda: lit(it.screen) > 200)
        it.shot('screen')
        before = lit(it.screen)
        fd = os.open(re.search(r"tty='(.*?)'", bed.virsh('dumpxml', 'shown'))[1], os.O_RDWR | os.O_NOCTTY)
        try:
            tty.setraw(fd)
            page = window.find('console-pages', 'page tab list')
            page.click()
            it.screen.type('Kvasir')
            heard = b''
            while b'Kvasir' not in heard:
                check(select.select([fd], [], [], LIMIT)[0], 'the guest does not hear', repr(heard))
                heard += os.read(fd, 64)
        finally:
            os.close(fd)
        until('the screen does not change', lambda: lit(it.screen) > before + 30)
        it.shot('typed')
        it.screen.key('Control_L+Alt_L')
        it.menu(window, 'Send Key', 'Ctrl.Alt.Delete')
        until('it does not start again', lambda: before - 20 < lit(it.screen) < before + 20)
        it.shot('again')
        it.menu(window, 'View', 'Consoles', 'Serial 1')
        terminal = window.find(role='terminal')
        terminal.click()
        it.screen.type('text')
        until('the terminal does not show it', lambda: 'text' in terminal.text)
        it.shot('serial')


def forward(it, wizard, number, total):
    """From this step to the next."""
    until(f'no step {number}', lambda: f'Step {number} of {total}' in wizard.find('pagenum-label', 'label').text)
    it.shot(f'step-{number}')
    wizard.find('Forward' if number < total else 'Finish', 'push button').click()


def named(it, wizard, name, number):
    """The last step, and the machine runs and shows what it does."""
    wizard.field('Name:').write(name)
    forward(it, wizard, number, number)
    window = it.app.find(f'{name} on.*', 'frame')
    it.bed.wait('running (booted)', name)
    until('the screen does not show', lambda: lit(it.screen) > 200)
    it.shot(name)
    it.close(window)


def unknown_system(it, wizard):
    wizard.find('oslist-entry', 'text').write('generic')
    it.app.find('Generic or unknown OS.*', 'table cell').click()


def case_create(bed):
    """The wizard makes a machine of an image that is there, and one with a disk of its own; both run."""
    image = bed.tell('ready', '')
    with manager(bed) as it:
        it.window.find('New', 'push button').click()
        wizard = it.app.find('New VM', 'frame')
        wizard.find('Import existing disk image', 'radio button').click()
        forward(it, wizard, 1, 4)
        wizard.find('import-entry', 'text').write(image)
        unknown_system(it, wizard)
        forward(it, wizard, 2, 4)
        forward(it, wizard, 3, 4)
        named(it, wizard, 'imported', 4)
        check(re.search(f"file='{image}'", bed.virsh('dumpxml', '--inactive', 'imported')), 'another disk')
        it.window.find('New', 'push button').click()
        wizard = it.app.find('New VM', 'frame')
        wizard.find('Manual install', 'radio button').click()
        forward(it, wizard, 1, 5)
        unknown_system(it, wizard)
        forward(it, wizard, 2, 5)
        wizard.find('Choose Memory and CPU settings:', 'label')
        wizard.find('', 'spin button').enter('128')
        forward(it, wizard, 3, 5)
        wizard.find('Enable storage.*', 'check box')
        wizard.find(role='spin button').enter('0.2')
        forward(it, wizard, 4, 5)
        named(it, wizard, 'empty', 5)
        check('204.80 MiB' in bed.virsh('vol-info', 'empty.qcow2', 'default'), 'another volume', bed.virsh('vol-info', 'empty.qcow2', 'default'))
        check(re.search('empty.qcow2', bed.virsh('domblklist', 'empty')), 'another disk')
        check(re.search("<memory[^>]*>131072<", bed.virsh('dumpxml', 'empty')), 'another size')


def case_ends(bed):
    """A machine is saved and goes on, is reset and, while it runs, deleted with its disk."""
    image = bed.tell('gone', GRAPHICS)
    bed.virsh('start', 'gone')
    bed.keep('gone', 'a')
    with manager(bed) as it:
        it.row('gone', 'Running').click()
        it.window.find('Menu', 'toggle button').click()
        it.app.find('Save', 'menu item').click()
        it.row('gone', 'Saved')
        bed.wait('shut off (saved)', 'gone')
        it.shot('saved')
        it.window.find('Restore', 'push button').click()
        it.row('gone', 'Running')
        bed.wait('running (restored)', 'gone')
        check(bed.kept('gone') == 'a', 'it has forgotten')
        it.shot('restored')
        told = subprocess.Popen(['virsh', '-c', bed.uri(), 'event', 'gone', '--event', 'reboot', '--timeout', str(LIMIT)], env=bed.environment,
                                stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        it.window.find('Menu', 'toggle button').click()
        it.app.find('Force Reset', 'menu item').click()
        it.answer('force reset', 'Yes')
        check(b"'reboot' for domain 'gone'" in told.communicate(timeout=2 * LIMIT)[0], 'it is not reset')
        it.menu(it.window, 'Edit', 'Delete')
        question = it.app.find('Delete Virtual Machine', 'frame')
        question.find(re.escape(image), 'table cell')
        it.shot('delete')
        question.find('Delete', 'push button').click()
        it.answer('delete the storage', 'Yes')
        it.window.gone('gone\n.*', 'table cell')
        check(bed.virsh('list', '--all', '--name') == '' and not os.path.exists(image), 'it is still there')
        it.shot('deleted')


def went_back(bed, name, letter):
    try:
        return bed.virsh('domstate', name).startswith('running') and bed.kept(name) == letter
    except (TypeError, OSError):  # one process goes, another comes: a terminal is there no more, or not yet
        return False


def case_snapshots(bed):
    """Of a machine that runs: taken, told more of, gone back to, deleted; of one that is off, inside of its image."""
    bed.tell('kept', GRAPHICS)
    bed.tell('off', GRAPHICS)
    bed.virsh('start', 'kept')
    with manager(bed) as it:
        window = it.open('kept', page='Snapshots')
        bed.keep('kept', 'a')
        window.find('snapshot-add', 'push button').click()
        new = it.app.find('Create snapshot', 'frame')
        new.field('Name:').write('first')
        it.shot('new')
        new.find('Finish', 'push button').click()
        window.find('first\nVM State: Running.*', 'table cell')
        check(bed.tree('kept') == ['first'], 'another tree')
        it.shot('taken')
        window.find('snapshot-description', 'text').write('As it was')
        window.find('snapshot-apply', 'push button').click()
        until('it is not told', lambda: '<description>As it was<' in bed.virsh('snapshot-dumpxml', 'kept', 'first'))
        bed.keep('kept', 'b')
        window.find('snapshot-start', 'push button').click()
        it.answer('run the snapshot', 'Yes')
        until('it is not gone back to', lambda: went_back(bed, 'kept', 'a'))
        it.shot('back')
        window.find('first\nVM State: Running.*', 'table cell').click()
        window.find('snapshot-delete', 'push button').click()
        it.answer('permanently delete', 'Yes')
        window.gone('first\nVM.*', 'table cell')
        check(bed.tree('kept') == [], 'it stays')
        check(bed.kept('kept') == 'a', 'the machine does not run on')
        it.shot('deleted')
        it.close(window)
        window = it.open('off', 'Shutoff', 'Snapshots')
        window.find('snapshot-add', 'push button').click()
        it.app.find('Create snapshot', 'frame').find('Finish', 'push button').click()
        window.find('snapshot1\nVM State: Shutoff', 'table cell')
        it.shot('off')
        check(bed.inside(bed.path('off.qcow2')) == ['snapshot1'], 'it is not in the image')


def main():
    global desktop, pictures, until
    words = sys.argv[1:]
    if words[0] == '--pictures':
        pictures = os.path.abspath(words[1])
        words = words[2:]
    try:
        desktop = importlib.import_module('desktop')
        until = desktop.until
    except (ImportError, ValueError) as error:
        if sys.executable != PYTHON and os.path.exists(PYTHON):
            os.execv(PYTHON, [PYTHON, *sys.argv])
        print(f'skipped: {error} (tools/install-deps test)')
        return 77
    kvd, vmm, root, *names = words

    def wrap(function):
        def case(bed):
            try:
                function(bed)
            finally:
                bed.close()
        return case

    functions = {name: wrap(function) for name, function in globals().items() if name.startswith('case_')}
    return cases.run(functions, names, lambda folder: Bed(kvd, vmm, root, folder))


if __name__ == '__main__':
    sys.exit(main())
