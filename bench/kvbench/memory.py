# SPDX-License-Identifier: GPL-2.0-or-later
"""What the process uses with an idle guest (PSS), without the guest's memory; the code cache apart."""
import collections
import re
import time

from . import machine, report


def mappings(pid):
    """(size, executable, inode, name, Pss) in KiB of each mapping; what lies side by side and differs in advice alone is one."""
    found, before = [], None
    for line in open(f'/proc/{pid}/smaps', encoding='utf-8', errors='replace'):
        match = re.match(r'([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ (\S+) (\d+) *(.*)', line)
        if match:
            size = (int(match[2], 16) - int(match[1], 16)) >> 10
            joins = before == (match[1], match[3], '0', match[6]) and match[5] == '0'
            before = match[2], match[3], match[5], match[6]
            if joins:
                found[-1][0] += size
                continue
            found.append([size, 'x' in match[3], match[5] if match[5] != '0' else None, match[6], 0])
        elif line.startswith('Pss:'):
            found[-1][4] += int(line.split()[1])
    return found


def memory_of(pid, guest_mib):
    """MiB by kind: guest memory, code cache, the rest."""
    maps = mappings(pid)
    is_code = lambda m: m[1] and m[0] >= 1024 and (not m[3] or m[3].startswith(('/memfd:', '[anon')))
    code_files = {m[2] for m in maps if is_code(m) and m[2]}
    kinds = {'rest MiB': 0, 'code cache MiB': 0, 'guest MiB': 0}
    for m in maps:
        if is_code(m) or (m[2] and m[2] in code_files):
            kind = 'code cache MiB'
        elif m[0] >= guest_mib * 1024 * 9 // 10 and not m[1]:
            kind = 'guest MiB'
        else:
            kind = 'rest MiB'
        kinds[kind] += m[4] / 1024
    return kinds


def run(context):
    cases = machine.linux_cases(context, (1, 2))
    if context.have_vmm:
        command = machine.vmm_command(context, context.kernel, 1, context.args.memory, '--initrd', context.initrd, '--append',
                                      'console=ttyS0 quiet @APPEND@', '--machine', 'pc')
        cases.insert(2, machine.Case('kv-vmm soft, pc, SeaBIOS', True, 1, tuple(command)))
    values = {case: collections.defaultdict(list) for case in cases}
    for _ in range(min(context.args.runs, 3)):
        for case, kinds in values.items():
            vm = machine.Machine(case, 'kv.run="sleep 1000"')
            vm.wait_init()
            time.sleep(3)
            for kind, mib in memory_of(vm.process.pid, context.args.memory).items():
                kinds[kind].append(mib)
            vm.end()
    report.machines('memory of the process beyond the guest\'s (PSS, idle guest)', 'MiB', list(values.items()), context.results)
