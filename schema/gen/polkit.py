#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""polkit's action files, of schema/rpc.procs: org.libvirt.unix.*, who may connect (kvd.conf's auth_unix_rw = "polkit"), and
org.libvirt.api.*, who may do what (access_drivers = ["polkit"]). The actions' names and what is allowed without a rule are libvirt's,
so that its rules are ours. usage: polkit.py RPC.PROCS UNIX.POLICY API.POLICY"""
import re
import sys

HEAD = '''<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE policyconfig PUBLIC "-//freedesktop//DTD polkit Policy Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/PolicyKit/1/policyconfig.dtd">
<policyconfig>
'''
ACTION = '''  <action id="org.libvirt.{name}">
    <description>{text}</description>
    <message>{message}</message>
    <defaults>
      <allow_any>{any}</allow_any>
      <allow_inactive>{any}</allow_inactive>
      <allow_active>{active}</allow_active>
    </defaults>
  </action>
'''
# What everybody may who may connect: to look, and to look for.
HARMLESS = re.compile('getattr|read|search-.*')


def action(name, text, message, any_one, active):
    return ACTION.format(name=name, text=text, message=message, any=any_one, active=active)


def main():
    procs, unix, api = sys.argv[1:]
    with open(procs, encoding='utf-8') as file:
        rows = [line for line in file if not line.startswith('#')]
    pairs = sorted(set(re.findall(r'[@%]([a-z-]+):([a-z-]+)', ''.join(rows))))
    with open(unix, 'w', encoding='utf-8') as out:
        out.write(HEAD + action('unix.monitor', 'Look at virtual machines', 'Looking at virtual machines needs an authorization', 'yes', 'yes') +
                  action('unix.manage', 'Manage virtual machines', 'Managing virtual machines needs an authorization', 'auth_admin',
                         'auth_admin_keep') + '</policyconfig>\n')
    with open(api, 'w', encoding='utf-8') as out:
        out.write(HEAD)
        for thing, permission in pairs:
            may = 'yes' if HARMLESS.fullmatch(permission) else 'no'
            words = f'{thing.replace("-", " ")}: {permission.replace("-", " ")}'
            out.write(action(f'api.{thing}.{permission}', words, f'This needs an authorization ({words})', may, may))
        out.write('</policyconfig>\n')


if __name__ == '__main__':
    main()
