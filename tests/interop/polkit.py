#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands in for polkitd on a bus of a test's own: polkit.py RULES LOG. RULES is a program in Python with a function
answer(action, details, uid, flags) -> 'yes', 'no', 'challenge' or 'dismissed', read anew for each question."""
import sys

INTERFACE = '''<node><interface name="org.freedesktop.PolicyKit1.Authority"><method name="CheckAuthorization">
<arg type="(sa{sv})" direction="in"/><arg type="s" direction="in"/><arg type="a{ss}" direction="in"/><arg type="u" direction="in"/>
<arg type="s" direction="in"/><arg type="(bba{ss})" direction="out"/></method></interface></node>'''


Variant = None


def started(pid):
    with open(f'/proc/{pid}/stat', encoding='utf-8') as stat:
        return int(stat.read().rpartition(')')[2].split()[19])


def called(_connection, _sender, _path, _interface, _method, parameters, invocation):
    (kind, subject), action, details, flags, _cancellation = parameters.unpack()
    good = kind == 'unix-process' and started(subject['pid']) == subject['start-time']
    with open(sys.argv[2], 'a', encoding='utf-8') as log:
        log.write(f'{action} {sorted(details.items())} {subject["uid"]} {flags} {good}\n')
    rules = {}
    with open(sys.argv[1], encoding='utf-8') as file:
        exec(file.read(), rules)  # pylint: disable=exec-used
    word = rules['answer'](action, details, subject['uid'], flags) if good else 'no'
    more = {'polkit.dismissed': 'true'} if word == 'dismissed' else {}
    invocation.return_value(Variant('((bba{ss}))', ((word == 'yes', word == 'challenge', more),)))


def main():
    from gi.repository import Gio, GLib  # Debian's Python has it, the one that runs the tests need not
    global Variant  # pylint: disable=global-statement
    Variant = GLib.Variant
    bus = Gio.bus_get_sync(Gio.BusType.SYSTEM)
    info = Gio.DBusNodeInfo.new_for_xml(INTERFACE).interfaces[0]
    bus.register_object('/org/freedesktop/PolicyKit1/Authority', info, called, None, None)
    Gio.bus_own_name_on_connection(bus, 'org.freedesktop.PolicyKit1', Gio.BusNameOwnerFlags.NONE,
                                   lambda *_: print('ready', flush=True), None)
    GLib.MainLoop().run()


if __name__ == '__main__':
    main()
