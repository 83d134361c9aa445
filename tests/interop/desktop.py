# SPDX-License-Identifier: GPL-2.0-or-later
"""A desktop for one program with windows: Xvfb, a window manager, a session bus of its own. A program is driven as by somebody who
reads the screen aloud and uses the mouse: what there is is found by name and role over AT-SPI, and pressed where it is on the screen.
Screenshots are PNG, from the server's own memory. Used by kvd-virt-manager.py. Needs gi: runs in Debian's Python.
AT-SPI is called on its own bus: libatspi's connections to programs that are just starting hang now and then."""
import os
import re
import shutil
import signal
import struct
import subprocess
import time
import zlib

from gi.repository import Gio, GLib

from cases import Failed, Skipped, check

LIMIT = 180
WIDTH, HEIGHT = 1280, 960
# AT-SPI's numbers: atspi-constants.h
STATES = {4: 'checked', 12: 'focused', 23: 'selected', 24: 'sensitive', 25: 'showing'}
LABEL_FOR, ANYWHERE = 1, 6
ATSPI = 'org.a11y.atspi.'


def until(what, condition, limit=LIMIT):
    """The first answer of condition() that is true; what went before it is gone when a window went."""
    end = time.monotonic() + limit
    while True:
        try:
            answer = condition()
        except GLib.Error:
            answer = None
        if answer:
            return answer
        if time.monotonic() > end:
            raise Failed(what() if callable(what) else what)
        time.sleep(0.05)


def connect(address):
    flags = Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION
    return Gio.DBusConnection.new_for_address_sync(address, flags, None, None)


class Desktop:
    """with Desktop(folder) as desktop: its environment is env."""

    def __init__(self, folder, **env):
        for program in 'Xvfb', 'openbox', 'dbus-daemon', '/usr/libexec/at-spi-bus-launcher':
            if not shutil.which(program):
                raise Skipped(f'no {program} (tools/install-deps test)')
        self.folder, self.processes = folder, []
        self.env = {**os.environ, 'HOME': folder, 'XDG_RUNTIME_DIR': f'{folder}/session', 'LC_ALL': 'C.UTF-8', 'GDK_BACKEND': 'x11',
                    'GSETTINGS_BACKEND': 'memory', **env}
        self.env.pop('NO_AT_BRIDGE', None)
        os.mkdir(f'{folder}/session', 0o700)
        os.mkdir(f'{folder}/screen')

    def __enter__(self):
        try:
            server = self.start('Xvfb', '-displayfd', '1', '-screen', '0', f'{WIDTH}x{HEIGHT}x24', '-fbdir', f'{self.folder}/screen', '-nolisten', 'tcp',
                                stdout=subprocess.PIPE)
            self.env['DISPLAY'] = ':' + server.stdout.readline().decode().strip()
            check(len(self.env['DISPLAY']) > 1, 'Xvfb does not start')
            bus = self.start('dbus-daemon', '--session', '--nofork', '--print-address=1', f'--address=unix:dir={self.folder}/session',
                             stdout=subprocess.PIPE)
            self.env['DBUS_SESSION_BUS_ADDRESS'] = bus.stdout.readline().decode().strip()
            self.start('openbox', '--sm-disable')
            for name in 'DISPLAY', 'DBUS_SESSION_BUS_ADDRESS', 'XDG_RUNTIME_DIR':
                os.environ[name] = self.env[name]
            session = connect(self.env['DBUS_SESSION_BUS_ADDRESS'])
            address, = session.call_sync('org.a11y.Bus', '/org/a11y/bus', 'org.a11y.Bus', 'GetAddress', None, None, 0, LIMIT * 1000, None)
            self.bus = connect(address)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()
        self.processes = []

    def start(self, *words, stdout=subprocess.DEVNULL, **more):
        self.processes.append(subprocess.Popen(words, env=self.env, stdin=subprocess.DEVNULL, stdout=stdout,
                                               stderr=more.pop('stderr', subprocess.DEVNULL), **more))
        return self.processes[-1]

    def pixels(self):
        """Rows of blue, green, red and nothing, and the bytes in each (X11's XWD)."""
        with open(f'{self.folder}/screen/Xvfb_screen0', 'rb') as file:
            data = file.read()
        head = struct.unpack('>25I', data[:100])
        return head[12], data[head[0] + head[19] * 12:]

    def shot(self, path):
        """What is on the screen, as PNG."""
        line, data = self.pixels()
        rows = bytearray()
        for y in range(HEIGHT):
            row = data[y * line:y * line + WIDTH * 4]
            pixels = bytearray(WIDTH * 3)
            pixels[0::3], pixels[1::3], pixels[2::3] = row[2::4], row[1::4], row[0::4]
            rows += b'\0' + pixels

        def chunk(kind, content):
            return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))
        with open(path, 'wb') as file:
            file.write(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', WIDTH, HEIGHT, 8, 2, 0, 0, 0)) +
                       chunk(b'IDAT', zlib.compress(bytes(rows), 1)) + chunk(b'IEND', b''))

    def program(self, name):
        """What it shows, once it is known to those who read screens aloud."""
        desktop = Node(self.bus, ATSPI + 'Registry', '/org/a11y/atspi/accessible/root')
        return until(f'{name} does not come', lambda: next((node for node in desktop.children() if node.name == name), None))

    @staticmethod
    def key(name):
        """X's name of it, those that are held at once with + between them."""
        subprocess.run(['xdotool', 'key', name], check=True, timeout=LIMIT)

    @staticmethod
    def type(text):
        """Keys, wherever the keyboard goes."""
        subprocess.run(['xdotool', 'type', '--delay', '60', text], check=True, timeout=LIMIT)


class Node:
    """Something on the screen."""

    def __init__(self, bus, owner, path):
        self.bus, self.owner, self.path = bus, owner, path

    def call(self, interface, method, signature='()', *values):
        answer = self.bus.call_sync(self.owner, self.path, ATSPI + interface if '.' not in interface else interface, method,
                                    GLib.Variant(signature, values), None, 0, 20000, None).unpack()
        return answer[0] if len(answer) == 1 else answer

    @property
    def name(self):
        return self.call('org.freedesktop.DBus.Properties', 'Get', '(ss)', ATSPI + 'Accessible', 'Name')

    @property
    def role(self):
        return self.call('Accessible', 'GetRoleName')

    @property
    def states(self):
        low, _ = self.call('Accessible', 'GetState')
        return {name for bit, name in STATES.items() if low >> bit & 1}

    @property
    def text(self):
        return self.call('Text', 'GetText', '(ii)', 0, -1)

    def children(self):
        return [Node(self.bus, *child) for child in self.call('Accessible', 'GetChildren') if not child[1].endswith('/null')]

    def walk(self):
        """Everything in it that shows, from the outside inwards."""
        for child in self.children():
            if 'showing' in child.states:
                yield child
                yield from child.walk()

    def all(self, name=None, role=None):
        return [node for node in self.walk() if node.matches(name, role)]

    def matches(self, name, role):
        return (role is None or self.role == role) and (name is None or re.fullmatch(name, self.name))

    def find(self, name=None, role=None, limit=LIMIT):
        """The first of that role whose name has that form, as soon as it shows."""
        return until(lambda: f'there is no {role or "thing"} "{name}" in "{self.name}":\n' + self.tree(),
                     lambda: next((node for node in self.walk() if node.matches(name, role)), None), limit)

    def has(self, name=None, role=None):
        try:
            return bool(self.all(name, role))
        except GLib.Error:
            return False

    def gone(self, name=None, role=None):
        until(lambda: f'"{name}" stays\n{self.tree()}', lambda: not self.has(name, role))

    def tree(self, depth=0):
        """All of it, for those who look for a fault."""
        text = ''
        try:
            for child in self.children():
                if 'showing' in child.states:
                    text += f'{"  " * depth}{child.role}: {child.name!r}\n' + child.tree(depth + 1)
        except GLib.Error:
            pass
        return text

    def place(self):
        return self.call('Component', 'GetExtents', '(u)', 0)

    def rests(self):
        """Its place, once it does not move."""
        last = [None]

        def look():
            before, last[0] = last[0], self.place()
            return last[0] if before == last[0] and last[0][2] > 0 and last[0][0] >= 0 else None
        return until(lambda: f'{self.role} "{self.name}" is not on the screen', look)

    def click(self, button=1, times=1):
        """The mouse's button on it, once it can be pressed."""
        until(lambda: f'{self.role} "{self.name}" cannot be pressed', lambda: 'sensitive' in self.states)
        x, y, width, height = self.rests()
        words = ['mousemove', str(x + min(width // 2, 40)), str(y + height // 2), 'sleep', '0.05', 'click', '--repeat', str(times), '--delay', '60', str(button)]
        subprocess.run(['xdotool', *words], check=True, timeout=LIMIT)

    def scroll(self):
        """So that it shows."""
        self.call('Component', 'ScrollTo', '(u)', ANYWHERE)

    def field(self, label):
        """What is named by a label beside it."""
        relations = dict(self.find(label, 'label').call('Accessible', 'GetRelationSet'))
        check(LABEL_FOR in relations, f'the label "{label}" is of nothing')
        return Node(self.bus, *relations[LABEL_FOR][0])

    def write(self, text):
        check(self.call('EditableText', 'SetTextContents', '(s)', text), f'{self.role} "{self.name}" takes no text')

    def enter(self, text):
        """In the place of what is there, by the keyboard."""
        self.click(times=3)
        Desktop.type(text)
        Desktop.key('Tab')
