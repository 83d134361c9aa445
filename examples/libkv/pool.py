#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""libkv from Python, by GObject introspection: a pool with a volume, filled, read back and deleted again.   pool.py URI FOLDER"""
import sys

import gi
gi.require_version('Kv', '1.0')
from gi.repository import GLib, Kv

POOL = '<pool type="dir"><name>example</name><target><path>{}</path></target></pool>'
VOLUME = '<volume><name>disk.raw</name><capacity unit="MiB">4</capacity><target><format type="raw"/></target></volume>'


def fill(volume, text):
    stream = volume.upload_sync(0, len(text), 0, None)
    stream.send_sync(text, None)
    stream.finish_sync(None)


def read(volume, count):
    stream, out = volume.download_sync(0, count, 0, None), b''
    while len(out) < count:
        piece = stream.read_bytes_sync(count - len(out), None).get_data()
        if not piece:
            break
        out += piece
    stream.finish_sync(None)
    return out


def main():
    uri, folder = sys.argv[1:]
    conn = Kv.Connection.open_sync(uri, Kv.ConnectionFlags.NONE, None)
    try:
        conn.lookup_pool_sync('example', None)
        sys.exit('there is a pool called example already')
    except GLib.Error as error:
        if not error.matches(Kv.virt_error_quark(), Kv.VirtError.NO_POOL):
            raise
    pool = conn.define_pool_sync(POOL.format(folder), 0, None)
    pool.start_sync(0, None)
    volume = pool.create_volume_sync(VOLUME, 0, None)
    path = volume.get_path_sync(None)
    print(f'{volume.props.name} in {volume.get_pool_sync(None).get_name()}: {path}')
    fill(volume, b'some bytes')
    print('read back:', read(volume, 10).decode())
    print('volumes:', [v.props.name for v in pool.list_volumes_sync(0, None)])
    volume.delete_sync(0, None)
    pool.destroy_sync(None)
    pool.undefine_sync(None)


main()
