#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""VNC viewers that others wrote, each at a Linux guest that paints its screen and tells what it hears of keyboard and pointer: the
viewer is there from the firmware's text mode on, shows each picture, types, clicks, goes, and comes again.

    vnc-clients.py KV-VMM SOURCE-ROOT EVDEV-LOG FB-SHOW CASE...
Exit status 77: something needed is not installed (tools/install-deps test)."""
import contextlib
import functools
import http.server
import importlib
import json
import os
import re
import select
import shutil
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
import cases
import certs
import qmp
from cases import Skipped, check

kv_vmm = importlib.import_module('kv-vmm')
vnc_tests = importlib.import_module('vnc')
input_tests = importlib.import_module('input')
MODULES = ('bochs', 'xhci_pci', 'usbhid', 'hid_generic', 'evdev', 'psmouse')
WIDTH, HEIGHT, LIMIT = 1280, 800, 180
COLORS = (0xe02010, 0x20c040, 0x1030d0, 0xf0e040)
A, ONE, F12, SHIFT, LEFT = 30, 2, 88, 42, 0x110
NOVNC = '/usr/share/novnc'


class Bed(input_tests.Bed):
    """With the driver of the screen, and the programs that paint and tell events."""
    modules = MODULES

    def path(self, name):
        return f'{self.folder}/{name}'

    @contextlib.contextmanager
    def guest(self, vnc=''):
        """A guest that paints, waits for F12, paints other colors, and again."""
        process = self.start('--machine', 'pc', '--firmware', 'bios', '--qmp', 'unix:' + self.path('q'), '--vnc', '127.0.0.1:0' + vnc,
                             run=input_tests.comes('AT Translated Set 2 keyboard', 'Kvasir USB Tablet') +
                             'i=0; while [ $i -lt 9 ]; do /bin/fb-show $i; /bin/evdev-log; i=$((i+1)); done')
        try:
            client = qmp.Client(self.path('q'))
            yield Guest(process, client, int(client.run('query-vnc')['service']))
        finally:
            kv_vmm.stop(process)


class Guest:
    def __init__(self, process, client, port):
        self.process, self.client, self.port = process, client, port

    def viewers(self):
        return len(self.client.run('query-vnc')['clients'])

    def heard(self):
        """What the guest heard until it has painted the next picture, which it does for F12."""
        text = kv_vmm.wait_for(self.process, 'the end')
        kv_vmm.wait_for(self.process, 'listening')
        return text


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Skipped(f'no {program}')


def until(what, condition):
    end = time.monotonic() + LIMIT
    while True:
        answer = condition()
        if answer:
            return answer
        check(time.monotonic() < end, what)
        time.sleep(0.1)


def stop(process):
    process.kill()
    process.wait()


# ---- viewers in windows ----

class Screen:
    """An X server without a window manager, whose pixels lie in a file (XWD, of Xvfb's -fbdir)."""

    def __init__(self, folder):
        need('Xvfb', 'xdotool')
        self.file = f'{folder}/Xvfb_screen0'
        self.server = subprocess.Popen(['Xvfb', '-displayfd', '1', '-screen', '0', '1500x1000x24', '-fbdir', folder, '-nolisten', 'tcp'],
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        # No session of the user's, no settings, no sound.
        self.env = {**os.environ, 'DISPLAY': ':' + self.server.stdout.readline().decode().strip(), 'HOME': folder,
                    'GSETTINGS_BACKEND': 'memory', 'NO_AT_BRIDGE': '1', 'DBUS_SESSION_BUS_ADDRESS': 'disabled:'}

    def __enter__(self):
        return self

    def __exit__(self, *a):
        stop(self.server)

    def pixels(self):
        with open(self.file, 'rb') as file:
            data = file.read()
        words = [int.from_bytes(data[i * 4:i * 4 + 4], 'big') for i in range(25)]
        return words[12], data[words[0] + words[19] * 12:]

    def find(self, first):
        """Where the guest's picture is, at its size; None."""
        stride, data = self.pixels()

        def at(x, y):
            return int.from_bytes(data[y * stride + x * 4:y * stride + x * 4 + 3], 'little')
        wanted = COLORS[first % 4].to_bytes(3, 'little')
        start = data.find(wanted)
        while start >= 0 and start % 4:
            start = data.find(wanted, start + 1)
        if start < 0:
            return None
        x, y = start % stride // 4, start // stride
        if (x + WIDTH) * 4 > stride or (y + HEIGHT) * stride > len(data):
            return None
        corners = [at(x + (WIDTH - 1) * (i % 2), y + (HEIGHT - 1) * (i // 2)) for i in range(4)]
        grays = [at(x + i, y + HEIGHT // 4 + 16) for i in range(0, WIDTH, 64)]
        good = corners == [COLORS[(first + i) % 4] for i in range(4)] and \
            all(abs((gray >> shift & 255) - i * 64 * 255 // WIDTH) <= 8 for i, gray in enumerate(grays) for shift in (0, 8, 16))
        return (x, y) if good else None

    def see(self, first, viewer):
        def look():
            check(viewer.poll() is None, 'the viewer has ended', viewer.args)
            return self.find(first)
        return until(f'picture {first} is not shown', look)

    def do(self, *words):
        subprocess.run(['xdotool', *map(str, words)], env=self.env, check=True, timeout=LIMIT)

    def window(self):
        """The one under the pointer."""
        text = subprocess.run(['xdotool', 'getmouselocation', '--shell'], env=self.env, check=True, timeout=LIMIT, capture_output=True)
        return re.search('WINDOW=(\\d+)', text.stdout.decode()).group(1)

    def start(self, *command):
        return subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def check_heard(text, signs=True):
    """a, an exclamation mark, and a click in the middle of the right lower quarter."""
    events = [tuple(map(int, words)) for words in re.findall(r"^event '[^']*' (\d+) (\d+) (-?\d+)\r?$", text, re.M)]
    keys = [event[1:] for event in events if event[0] == 1 and event[2] != 2 and event[1] != LEFT]
    wanted = [(A, 1), (A, 0)] + ([(SHIFT, 1), (ONE, 1), (ONE, 0), (SHIFT, 0)] if signs else []) + [(F12, 1)]
    check(sorted(keys[:len(wanted)]) == sorted(wanted) and keys[:2] == wanted[:2], 'other keys', text)
    buttons = [event[2] for event in events if event[:2] == (1, LEFT)]
    check(buttons == [1, 0], 'other clicks', text)
    # Where it was at the click
    before = events[:events.index((1, LEFT, 1))]
    where = [[event[2] for event in before if event[:2] == (3, axis)][-1] for axis in (0, 1)]
    for got, size in zip(where, (WIDTH, HEIGHT)):
        check(abs(got - size * 3 // 4 * 32767 // (size - 1)) <= 32767 // (size - 1) + 1, 'another place', where)


def watch(bed, command, vnc='', early=True):
    """A viewer's whole life; command: its words, by the guest's port; early: it follows a change of the screen's size."""
    need(command(0)[0])
    with bed.guest(vnc) as guest, Screen(bed.folder) as screen:
        if not early:
            kv_vmm.wait_for(guest.process, 'listening')
        viewer = screen.start(*command(guest.port))
        try:
            until('no viewer', lambda: guest.viewers() == 1)
            if early:
                kv_vmm.wait_for(guest.process, 'listening')
            x, y = screen.see(0, viewer)
            screen.do('mousemove', x + WIDTH // 2, y + HEIGHT // 2, 'sleep', 0.2, 'mousemove', x + WIDTH * 3 // 4, y + HEIGHT * 3 // 4,
                      'sleep', 0.2, 'click', 1)
            screen.do('windowfocus', screen.window(), 'sleep', 0.3, 'key', 'a', 'key', 'exclam', 'key', 'F12')
            check_heard(guest.heard())
            screen.see(1, viewer)
            stop(viewer)
            until('the viewer has not gone', lambda: not guest.viewers())
            viewer = screen.start(*command(guest.port))
            screen.see(1, viewer)
        finally:
            stop(viewer)


def case_tigervnc(bed):
    """Tight with JPEG, keys by their place."""
    watch(bed, lambda port: ('xtigervncviewer', f'127.0.0.1::{port}'))


def case_tigervnc_tls(bed):
    """X509None, and the certificate is verified."""
    need('certtool')
    certs.make(bed.path('c'))
    watch(bed, lambda port: ('xtigervncviewer', '-X509CA', bed.path('c/ca-cert.pem'), '-SecurityTypes', 'X509None', f'localhost::{port}'),
          f',tls-creds={bed.path("c")}')


def case_tigervnc_anon(bed):
    """TLSNone; ZRLE."""
    watch(bed, lambda port: ('xtigervncviewer', '-SecurityTypes', 'TLSNone', '-AutoSelect=0', '-PreferredEncoding=ZRLE',
                             f'127.0.0.1::{port}'), ',tls-creds=anon')


def case_tightvnc(bed):
    """RFB 3.3 or 3.8 of long ago: keysyms, Tight at its own levels."""
    watch(bed, lambda port: ('xtightvncviewer', '-encodings', 'tight copyrect hextile', f'127.0.0.1::{port}'), early=False)


def case_tightvnc_hextile(bed):
    watch(bed, lambda port: ('xtightvncviewer', '-encodings', 'hextile copyrect', f'127.0.0.1::{port}'), early=False)


def case_gvncviewer(bed):
    """gtk-vnc."""
    watch(bed, lambda port: ('gvncviewer', f'127.0.0.1:{port - 5900}'), early=False)


def case_gvncviewer_anon(bed):
    """TLSNone of gtk-vnc."""
    watch(bed, lambda port: ('gvncviewer', f'127.0.0.1:{port - 5900}'), ',tls-creds=anon', early=False)


def case_gvncviewer_tls(bed):
    """X509None with a certificate of the viewer's own, which gtk-vnc wants to have at the user's home, whatever HOME says."""
    need('certtool', 'unshare')
    home, made = bed.path('.pki'), bed.path('c')
    enter = ('unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', 'mount --bind "$0" /root && exec "$@"', bed.folder)
    if subprocess.run([*enter, 'true'], capture_output=True, check=False).returncode:
        raise Skipped('no mount namespaces')
    certs.make(made)
    os.makedirs(home + '/gvncviewer/private')
    os.makedirs(home + '/CA')
    for name, place in ('ca-cert', 'CA/cacert'), ('client-cert', 'gvncviewer/clientcert'), ('client-key', 'gvncviewer/private/clientkey'):
        shutil.copy(f'{made}/{name}.pem', f'{home}/{place}.pem')
    watch(bed, lambda port: (*enter, 'gvncviewer', f'localhost:{port - 5900}'), f',tls-creds={made},tls-verify-peer=on', early=False)


def case_remote_viewer(bed):
    """virt-viewer's: gtk-vnc, which would like the screen to have the window's size."""
    watch(bed, lambda port: ('remote-viewer', f'vnc://127.0.0.1:{port}'))


# ---- noVNC in a browser ----

class Browser:
    """Chromium without a window, by its DevTools protocol: JSON that ends with a zero, on descriptors 3 and 4."""

    def __init__(self, folder):
        need('chromium')
        self.reader, theirs_out = os.pipe()
        theirs_in, self.writer = os.pipe()
        script = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self.process = subprocess.Popen(['sh', '-c', script, 'sh', 'chromium', '--headless', '--no-sandbox', '--disable-gpu',
                                         '--remote-debugging-pipe', '--ignore-certificate-errors', '--disable-features=BackForwardCache', f'--user-data-dir={folder}/chromium',
                                         '--window-size=1400,1000', 'about:blank'], pass_fds=(theirs_in, theirs_out),
                                        env={**os.environ, 'HOME': folder}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self.number, self.session, self.data = 0, None, b''

    def __enter__(self):
        target = self.run('Target.createTarget', url='about:blank')['targetId']
        self.session = self.run('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        return self

    def __exit__(self, *a):
        self.process.terminate()
        self.process.wait()
        os.close(self.reader)
        os.close(self.writer)

    def message(self):
        while b'\0' not in self.data:
            ready, _, _ = select.select([self.reader], [], [], LIMIT)
            more = os.read(self.reader, 1 << 20) if ready else b''
            check(more, 'the browser says nothing')
            self.data += more
        first, self.data = self.data.split(b'\0', 1)
        return json.loads(first)

    def run(self, method, **args):
        self.number += 1
        request = {'id': self.number, 'method': method, 'params': args, **({'sessionId': self.session} if self.session else {})}
        os.write(self.writer, json.dumps(request).encode() + b'\0')
        while True:
            answer = self.message()
            if answer.get('id') == self.number:
                check('result' in answer, method, answer)
                return answer['result']

    def value(self, script):
        return self.run('Runtime.evaluate', expression=script, returnByValue=True)['result'].get('value')

    def sees(self, first):
        """Whether the canvas has the picture: its corners."""
        colors = self.value("""(() => {
            const c = document.querySelector('canvas');
            if (!c || c.width != %d || c.height != %d) return null;
            const at = (x, y) => { const d = c.getContext('2d').getImageData(x, y, 1, 1).data; return d[0] << 16 | d[1] << 8 | d[2]; };
            return [at(0, 0), at(c.width - 1, 0), at(0, c.height - 1), at(c.width - 1, c.height - 1)];
        })()""" % (WIDTH, HEIGHT))
        return colors == [COLORS[(first + i) % 4] for i in range(4)]

    def key(self, key, code, number):
        for kind in 'keyDown', 'keyUp':
            self.run('Input.dispatchKeyEvent', type=kind, key=key, code=code, windowsVirtualKeyCode=number)

    def click(self):
        where = json.loads(self.value("JSON.stringify(document.querySelector('canvas').getBoundingClientRect())"))
        x, y = where['x'] + where['width'] * 3 / 4, where['y'] + where['height'] * 3 / 4
        self.run('Input.dispatchMouseEvent', type='mouseMoved', x=x, y=y)
        for kind in 'mousePressed', 'mouseReleased':
            self.run('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', clickCount=1)
            time.sleep(0.2)  # noVNC sends pointers at a pace


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *a):
        pass


@contextlib.contextmanager
def web_server(folder):
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def browse(bed, page, vnc=''):
    """A page of noVNC's, at the port for browsers: nothing is between."""
    if not os.path.exists(NOVNC + '/vnc_lite.html'):
        raise Skipped('no novnc')
    port = vnc_tests.free_port()
    with bed.guest(f',websocket={port}{vnc}') as guest, web_server(NOVNC) as web, Browser(bed.folder) as browser:
        url = f'http://127.0.0.1:{web}/{page}&host=127.0.0.1&port={port}'
        browser.run('Page.navigate', url=url)
        until('no viewer', lambda: guest.viewers() == 1)
        kv_vmm.wait_for(guest.process, 'listening')
        until('picture 0 is not shown', lambda: browser.sees(0))
        browser.click()
        browser.key('a', 'KeyA', 65)
        browser.key('F12', 'F12', 123)
        check_heard(guest.heard(), False)
        until('picture 1 is not shown', lambda: browser.sees(1))
        browser.run('Page.navigate', url='about:blank')
        until('the viewer has not gone', lambda: not guest.viewers())
        browser.run('Page.navigate', url=url)
        until('picture 1 is not shown again', lambda: browser.sees(1))


def case_novnc(bed):
    """The small page, by ws."""
    browse(bed, 'vnc_lite.html?scale=false')


def case_novnc_tls(bed):
    """The large page, by wss."""
    need('certtool')
    certs.make(bed.path('c'))
    browse(bed, 'vnc.html?autoconnect=true&encrypt=true', f',tls-creds={bed.path("c")}')


def main():
    program, root, log, show, *names = sys.argv[1:]
    return cases.run(globals(), names, lambda folder: Bed(os.path.abspath(program), root, (log, show), folder))


if __name__ == '__main__':
    sys.exit(main())
