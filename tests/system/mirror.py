# SPDX-License-Identifier: GPL-2.0-or-later
"""A mirror of Debian packages as installers expect one, made of a folder of packages, and served to guests that reach the host by the
user network. Imported by the tests that install."""
import functools
import gzip
import hashlib
import http.server
import os
import subprocess
import threading


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as file:
        file.write(data.encode() if isinstance(data, str) else data)


def add(www, path):
    """A package in the pool; its row of a list."""
    name = 'pool/' + os.path.basename(path).replace('%3a', '.')
    os.symlink(path, f'{www}/debian/{name}')
    with open(path, 'rb') as file:
        data = file.read()
    fields = subprocess.run(['dpkg-deb', '-f', path], capture_output=True, text=True, check=True).stdout.strip()
    return f'{fields}\nFilename: {name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n\n'


def make(www, sections):
    """www/debian with bookworm's lists, main/binary-amd64 or main/debian-installer/binary-amd64, each of the files that it has."""
    suite = f'{www}/debian/dists/bookworm'
    os.makedirs(f'{www}/debian/pool')
    release = 'Origin: Debian\nLabel: Debian\nSuite: oldstable\nCodename: bookworm\nArchitectures: amd64\nComponents: main\nSHA256:\n'
    for section, packages in sections.items():
        rows = ''.join(add(www, path) for path in packages)
        for name, data in (f'{section}/Packages', rows.encode()), (f'{section}/Packages.gz', gzip.compress(rows.encode())):
            write(f'{suite}/{name}', data)
            release += f' {hashlib.sha256(data).hexdigest()} {len(data)} {name}\n'
    write(f'{suite}/Release', release)
    # The installer looks here whether there is the architecture.
    write(f'{suite}/main/binary-amd64/Release', 'Archive: oldstable\nComponent: main\nArchitecture: amd64\n')


class Server:
    """A folder on a port of the host's own address, until the program ends; what was asked for is in `asked`."""

    def __init__(self, folder):
        asked = self.asked = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_):
                asked.append(self.requestline)

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=folder))
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
