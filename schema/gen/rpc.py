#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""schema/rpc.procs to C: rpc.py rpc.procs procs.c procs-enum.h. A type that xdr.h does not know ends the build here."""
import re
import sys

PROGRAMS = {'remote': '0x20008086', 'qemu': '0x20008087'}
TYPE = re.compile(r'[iuhHdcsoUMTDNPVFIEXCZ?a()]+')


def fields(words, where):
    for word in words:
        if not TYPE.fullmatch(word.partition(':')[2]):
            sys.exit(f'{where}: {word}: no such type')
    return '(' + ''.join(word.partition(':')[2] for word in words) + ')'


def read(path):
    for number, line in enumerate(open(path, encoding='utf-8'), 1):
        words = line.split('#')[0].split()
        if not words:
            continue
        where = f'{path}:{number}'
        program, proc, name, rest = words[0], int(words[1]), words[2], words[3:]
        event = rest[:1] == ['!']
        cut = rest.index('->') if '->' in rest else len(rest)
        yield program, proc, name, fields(rest[event:cut], where), fields(rest[cut + 1:], where), event


def main():
    source, table, header = sys.argv[1:]
    rows = sorted(read(source), key=lambda row: (PROGRAMS[row[0]], row[1]))
    if len({row[:2] for row in rows}) != len(rows):
        sys.exit(f'{source}: a number twice')
    with open(table, 'w', encoding='utf-8') as out:
        out.write('/* Made of schema/rpc.procs. */\n#include "procs.h"\n\nconst struct rpc_proc rpc_procs[] = {\n')
        for program, proc, name, args, ret, event in rows:
            out.write(f'\t{{ {PROGRAMS[program]}, {proc}, "{name}", "{args}", "{ret}", {int(event)} }},\n')
        out.write('};\nconst unsigned rpc_n_procs = sizeof(rpc_procs) / sizeof(*rpc_procs);\n')
    with open(header, 'w', encoding='utf-8') as out:
        out.write('/* Made of schema/rpc.procs. */\n#pragma once\n\nenum {\n')
        for program, proc, name, *_ in rows:
            out.write(f'\tRPC_{"QEMU_" if program == "qemu" else ""}{name.upper()} = {proc},\n')
        out.write('};\n')


main()
