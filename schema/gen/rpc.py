#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""schema/rpc.procs to C: rpc.py rpc.procs procs.c procs-enum.h acls.c. A type that xdr.h does not know ends the build here."""
import re
import sys

PROGRAMS = {'remote': '0x20008086', 'qemu': '0x20008087'}
ACL = re.compile(r'([@%])([a-z-]+):([a-z-]+)(?::(?:(!?)(\d+)|([a-z]+)=(\d+)))?')
TYPE = re.compile(r'[iuhHdcsoUMTDNPVFIEXCZ?a()]+')


def fields(words, where):
    for word in words:
        if not TYPE.fullmatch(word.partition(':')[2]):
            sys.exit(f'{where}: {word}: no such type')
    return '(' + ''.join(word.partition(':')[2] for word in words) + ')'


def rules(words, args, where):
    """Of words like @domain:save:!3: is it a filter, object, permission, number of the argument (-1: always asked), bits, value."""
    names = [word.partition(':')[0] for word in args]
    for word in words:
        match = ACL.fullmatch(word)
        if not match:
            sys.exit(f'{where}: {word}: not asked like that')
        kind, item, permission, negated, flags, name, value = match.groups()
        name = 'flags' if flags else name
        if name and name not in names:
            sys.exit(f'{where}: {word}: there is no argument {name}')
        bits = int(flags) if flags else 0xffffffff
        yield kind == '%', item, permission, names.index(name) if name else -1, bits, 0 if negated else int(flags or value or 0)


def read(path):
    for number, line in enumerate(open(path, encoding='utf-8'), 1):
        words = line.split('#')[0].split()
        if not words:
            continue
        where = f'{path}:{number}'
        program, proc, name, rest = words[0], int(words[1]), words[2], words[3:]
        event = rest[:1] == ['!']
        acl = [word for word in rest if word[0] in '@%']
        rest = rest[event:len(rest) - len(acl)]
        cut = rest.index('->') if '->' in rest else len(rest)
        yield program, proc, name, fields(rest[:cut], where), fields(rest[cut + 1:], where), event, list(rules(acl, rest[:cut], where))


def main():
    source, table, header, access = sys.argv[1:]
    rows = sorted(read(source), key=lambda row: (PROGRAMS[row[0]], row[1]))
    if len({row[:2] for row in rows}) != len(rows):
        sys.exit(f'{source}: a number twice')
    with open(table, 'w', encoding='utf-8') as out:
        out.write('/* Made of schema/rpc.procs. */\n#include "procs.h"\n\nconst struct rpc_proc rpc_procs[] = {\n')
        for program, proc, name, args, ret, event, _ in rows:
            out.write(f'\t{{ {PROGRAMS[program]}, {proc}, "{name}", "{args}", "{ret}", {int(event)} }},\n')
        out.write('};\nconst unsigned rpc_n_procs = sizeof(rpc_procs) / sizeof(*rpc_procs);\n')
    with open(header, 'w', encoding='utf-8') as out:
        out.write('/* Made of schema/rpc.procs. */\n#pragma once\n\nenum {\n')
        for program, proc, name, *_ in rows:
            out.write(f'\tRPC_{"QEMU_" if program == "qemu" else ""}{name.upper()} = {proc},\n')
        out.write('};\n')
    with open(access, 'w', encoding='utf-8') as out:
        out.write('/* Made of schema/rpc.procs. */\n#include "procs-acl.h"\n\nconst struct rpc_acl rpc_acls[] = {\n')
        for program, proc, *_, acl in rows:
            for is_filter, item, permission, arg, bits, value in acl:
                out.write(f'\t{{ {PROGRAMS[program]}, {proc}, "{item}", "{permission}", {int(is_filter)}, {arg}, {bits}u, {value}u }},\n')
        out.write('};\nconst unsigned rpc_n_acls = sizeof(rpc_acls) / sizeof(*rpc_acls);\n')


main()
