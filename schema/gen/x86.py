#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes the instruction tables of the processor from schema/x86.tab (which explains its format).

x86.py x86.tab ops.h tables.c rows.c: enum of mnemonics and CPUID gates; the decoder's tables; one encoding a row for tests.
"""
import itertools
import re
import sys

CC = 'O NO B AE E NE BE A S NS P NP L GE LE G'.split()
CC_READ = 'o o c c z z cz cz s s p p so so soz soz'.split()
GPR = 'RAX RCX RDX RBX RSP RBP RSI RDI'.split()
FIXED = {'AL': ('RAX', '1'), 'CL': ('RCX', '1'), 'AX': ('RAX', '2'), 'DX': ('RDX', '2'), 'rAX': ('RAX', 'SZ_V'),
         'eAX': ('RAX', 'SZ_Z')}
SREG = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS']
SIZE = {'b': '1', 'w': '2', 'd': '4', 'q': '8', 'dq': '16', 'qq': '32', 'v': 'SZ_V', 'z': 'SZ_Z', 'y': 'SZ_Y', 'x': 'SZ_X',
        'xh': 'SZ_XH', 'xq': 'SZ_XQ', 'xe': 'SZ_XE', 'n': 'SZ_64V', 'p': 'SZ_P', 's': 'SZ_S', 'var': 'SZ_VAR', '': '0',
        'y8': '8', '10': '10'}
LEGACY = {'x': 'dq', 'xh': 'q', 'xq': 'd', 'xe': 'w'}
# how many immediate bytes follow: enum imm_code in decode.h
IMM = {'Ib': 1, 'Is': 2, 'Iw': 3, 'Iz': 4, 'Iv': 5, 'Iwb': 6, 'Ap': 7, 'Jb': 8, 'Jz': 9, 'O': 10}
PFX = ['NP', '66', 'F3', 'F2']
FLAG = dict(o='FL_OF', s='FL_SF', z='FL_ZF', a='FL_AF', p='FL_PF', c='FL_CF')
ATTR = dict(lock='LOCK', cpl0='CPL0', prot='NOPROT', d64='DEF64', f64='DEF64|FORCE64', string='STRING', nomem='NOMEMCHECK',
            mask='MASKED', align='ALIGN')
MODRM_KINDS = set('E G R M S C D V W U H L P Q N B STi VSIB'.split())
SHIFTS = 'ROL ROR RCL RCR SHL SHR SAL SAR SHLD SHRD'.split()
# dimensions of a leaf table, in index order, and their sizes
DIMS = [('pfx', 4), ('reg', 8), ('mod', 2), ('rm', 8), ('w', 2), ('l', 2), ('m64', 2), ('b', 2)]


class Table:
    def __init__(self):
        self.family, self.flags, self.gates, self.rows = {}, {}, [], []


class Row:
    """One desc and the encodings that select it."""


def fail(n, text):
    sys.exit(f'x86.tab:{n}: {text}')


def parse_directive(t, n, line):
    w = line.split()
    if w[0] == '%family':
        t.family[w[1]] = (w[2], w[3], w[4:])
    elif w[0] == '%gate':
        t.gates.append((w[1], int(w[2], 0), int(w[3], 0), ['eax', 'ebx', 'ecx', 'edx'].index(w[4]), int(w[5])))
    elif w[0] == '%flags':
        f = dict(x.split(':') for x in w[1:] if ':' in x)
        for m in (x for x in w[1:] if ':' not in x):
            old = t.flags.setdefault(m, dict(r='', w='', u=''))
            for k, v in f.items():
                old[k] += v
    else:
        fail(n, 'unknown directive')


def spread(text, base):
    """'10..30' -> (first, last); '10' -> (10, 10)."""
    a = text.split('..')
    return int(a[0], base), int(a[-1], base)


def parse_encoding(n, text):
    e = dict(kind='', pfx=None, each=False, map=0, op=None, plus=False, reg=None, mod=None, rm=None, w=None, l=None,
             m64=None, b=None)
    for w in text.split():
        if w in ('V', '*', 'M*'):
            e['kind'] = w
        elif re.fullmatch(r'(NP|66|F3|F2)([,/](NP|66|F3|F2))*', w) and e['pfx'] is None and not e['map']:
            e['each'] = '/' in w
            e['pfx'] = re.split('[,/]', w)
        elif w in ('0F', '0F38', '0F3A') and not e['map']:
            e['map'] = {'0F': 1, '0F38': 2, '0F3A': 3}[w]
        elif re.fullmatch(r'[0-9A-F]{2}(\.\.[0-9A-F]{2})?\+?', w) and e['op'] is None:
            e['plus'] = w.endswith('+')
            e['op'] = spread(w.rstrip('+'), 16)
        elif w.startswith('/'):
            e['reg'] = spread(w[1:], 10)
        elif w in ('m', 'r'):
            e['mod'] = int(w == 'r')
        elif re.fullmatch(r'r\d(\.\.\d)?', w):
            e['mod'], e['rm'] = 1, spread(w[1:], 10)
        elif w in ('W0', 'W1', 'L0', 'L1'):
            e[w[0].lower()] = int(w[1])
        elif w == 'LIG':
            e['l'] = 'any'
        elif w in ('i64', 'o64'):
            e['m64'] = int(w == 'o64')
        elif w in ('NB', 'RB'):
            e['b'] = int(w == 'RB')
        else:
            fail(n, f'encoding word {w}')
    if e['op'] is None:
        fail(n, 'no opcode')
    return e


def parse_operand(n, text):
    """-> dict(kind, size letter, acc or '', reg)"""
    text, _, acc = text.partition(':')
    if text in FIXED:
        return dict(kind='REG', size=FIXED[text][1], fixed=True, acc=acc, reg=FIXED[text][0], text=text)
    if text in SREG:
        return dict(kind='REG', size='SZ_64V', fixed=True, acc=acc, reg='SEG_' + text, text=text)
    if text == '1':
        return dict(kind='ONE', size='', acc=acc, reg='0', text=text)
    m = re.fullmatch(r'(VSIB|STi|ST|[A-Z])(.*)', text)
    if not m:
        fail(n, f'operand {text}')
    return dict(kind=m[1], size=m[2], acc=acc, reg='0', text=text)


def operand_c(n, o, first, pfx, d64):
    kind = {'STi': 'STI'}.get(o['kind'], o['kind'])
    size = o['size']
    if o.get('fixed'):
        s = size
    elif kind in ('ST', 'STI'):
        s = '10'
    elif kind == 'I':
        s = {'b': '1', 's': 'SZ_V', 'z': 'SZ_V', 'v': 'SZ_V', 'w': '2', 'wb': '2'}[size]
        if d64 and size in 'sz':
            s = 'SZ_64V'
    elif kind == 'J':
        s = 'SZ_64V'
    else:
        if size not in SIZE:
            fail(n, f'operand size {size}')
        s = SIZE[size]
    acc = o['acc'] or ('w' if first else 'r')
    c = {'r': 'ACC_R', 'w': 'ACC_W', 'rw': 'ACC_R | ACC_W'}[acc]
    return '{ OP_%s, %s, %s, %s }' % (kind, s, c, o['reg'])


def resolve_f(ops, pfx):
    out = []
    for o in ops:
        o = dict(o)
        if o['size'] == 'f':
            o['size'] = {'F3': 'd', 'F2': 'q'}.get(pfx, 'x')
        out.append(o)
    return out


def variants(n, e, ops, words):
    """MMX, legacy SSE and VEX rows of a starred row: yields (encoding, ops, name prefix, gate, attrs)."""
    gate = [w[2:] for w in words if w.startswith('g=')]
    gates = gate[0].split('/') if gate else ['']
    if e['kind'] == '':
        yield e, ops, '', gates[0], ['sse'] if ops_vector(ops) else []
        return
    if e['kind'] == 'M*':
        m = dict(e, pfx=['NP'])
        mm = []
        for o in ops:
            if o['kind'] == 'H':
                continue
            o = dict(o)
            if o['kind'] in 'VWU':
                o['kind'], o['size'] = {'V': 'P', 'W': 'Q', 'U': 'N'}[o['kind']], 'q'
            if 'low' in words and o['kind'] == 'Q':
                o['size'] = 'd'
            mm.append(o)
        if len(mm) < len(ops):
            mm[0]['acc'] = mm[0]['acc'] or 'rw'
        yield m, mm, '', gates[0], ['mmx']
        e = dict(e, pfx=['66'])
        gates = gates[1:]
    if e['kind'] in ('M*', '*'):
        s = [dict(o, size=LEGACY.get(o['size'], o['size'])) for o in ops if o['kind'] != 'H']
        if len(s) < len(ops):
            s[0]['acc'] = s[0]['acc'] or 'rw'
        yield dict(e, l=None, w=None), s, '', gates[0], ['sse']
    prefix = '' if e['kind'] == 'V' else 'V'
    vgate = gates[0] if e['kind'] == 'V' else gates[1] if len(gates) > 1 and e['kind'] == '*' else 'AVX'
    if e['l'] == 'any':
        e = dict(e, l=None)
    elif e['l'] is None and not any(o['size'] in LEGACY for o in ops) and not e.get('scalar'):
        e = dict(e, l=0)
    if (e['kind'] == 'M*' or 'int' in words) and e['l'] is None:
        yield dict(e, l=0), ops, prefix, vgate, ['vex']
        yield dict(e, l=1), ops, prefix, 'AVX2', ['vex']
    else:
        yield e, ops, prefix, vgate, ['vex']


def ops_vector(ops):
    return any(o['kind'] in 'V H W U L'.split() for o in ops)


def attributes(t, n, e, ops, words, fam, extra):
    a = set()
    for w in t.family[fam][2] + words:
        if w in ATTR:
            a.update(ATTR[w].split('|'))
    kind = t.family[fam][1]
    exec_name = t.family[fam][0]
    if exec_name == 'vector':
        a.add('VEC')
    if 'x87' in t.family[fam][2]:
        a.update(['X87', 'FIXED_ST'])
    if any(o['kind'] in 'PQN' for o in ops) or 'mmx' in words or 'mmx' in extra:
        a.add('MMX')
    if 'sse' in extra and exec_name == 'vector' and 'X87' not in a:
        a.add('SSE')
    if 'vex' in extra:
        a.add('VEX')
    mem16 = any(o['kind'] in 'WM' and o['size'] in ('dq', 'x', 'qq') for o in ops)
    if exec_name == 'vector' and mem16 and 'u' not in words and ('vex' not in extra or 'a' in words) and 'X87' not in a:
        a.add('ALIGN')
    for w in words:
        if w.startswith('k='):
            kind = w[2:]
    if kind in ('call', 'ret', 'jmp', 'jcc', 'loop', 'system'):
        a.add('END')
    if e['m64'] is not None:
        a.add('ONLY64' if e['m64'] else 'NO64')
    return a, kind, exec_name


def flag_masks(t, name, words, ops):
    f = t.flags.get(name, dict(r='', w='', u=''))
    r, w, u = set(f['r']), set(f['w']), set(f['u'])
    for stem in ('J', 'CMOV', 'SET'):
        if name.startswith(stem) and name[len(stem):] in CC and name not in ('SETPM',):
            r |= set(CC_READ[CC.index(name[len(stem):])])
    if name in SHIFTS and not any(o['kind'] == 'ONE' for o in ops):
        u |= {'o'}
    w |= u
    zero = set()
    if 'cond' in words:
        zero = set(w)
        if any(o['text'] == 'CL' for o in ops):
            r |= w
    return r, w, u, r | zero


def make_row(t, n, name, e, ops, prefix, gate, words, fam, extra):
    row = Row()
    ops = [dict(o) for o in ops]
    row.line, row.name, row.gate = n, prefix + name, gate or 'NONE'
    row.attr, row.kind, row.exec = attributes(t, n, e, ops, words, fam, extra)
    d64 = 'DEF64' in row.attr
    row.ops = [operand_c(n, o, i == 0, e['pfx'], d64) for i, o in enumerate(ops)]
    row.flags = flag_masks(t, row.name, words, ops)
    row.r, row.w = set(), set()
    for w in words:
        if w.startswith('imp='):
            for part in w[4:].split(','):
                k, regs = part.split(':')
                (row.r if k == 'r' else row.w).update(regs.split('+'))
    imm = [IMM[o['text']] for o in ops if o['text'] in IMM] + [10 for o in ops if o['kind'] == 'O'] + \
        [1 for o in ops if o['kind'] == 'L']
    row.imm = 6 if 6 in imm else imm[0] if imm else 0
    row.count = 'cond' in words and row.imm == 1
    row.vvvv = any(o['kind'] in 'HB' for o in ops)
    row.mand = bool(e['pfx']) and len(e['pfx']) == 1 and e['pfx'] != ['NP']
    row.vsib = any(o['kind'] == 'VSIB' for o in ops)
    row.nomod = row.exec in ('mov_cr', 'mov_dr')
    row.modrm = e['reg'] is not None or any(o['kind'] in MODRM_KINDS for o in ops)
    row.vex = 'vex' in extra
    row.map, row.op, row.plus = e['map'], e['op'], e['plus']
    row.sel = {k: e[k] for k in ('pfx', 'reg', 'mod', 'rm', 'w', 'l', 'm64', 'b')}
    # a register-only or memory-only operand decides modrm.mod
    if row.sel['mod'] is None and not row.nomod:
        kinds = {o['kind'] for o in ops}
        if kinds & {'M', 'VSIB'}:
            row.sel['mod'] = 0
        elif kinds & {'R', 'U', 'N', 'STi'}:
            row.sel['mod'] = 1
    t.rows.append(row)


def split_rm(ops):
    """Ra|Mb operands: one list of operands for the register form, one for the memory form."""
    if not any('|' in o for o in ops):
        return [ops]
    pick = lambda i: [o.split('|')[i] if '|' in o else o for o in ops]
    acc = [o.partition(':')[2] for o in ops]
    del acc
    return [pick(0), pick(1)]


def parse_row(t, n, line):
    col = [c.strip() for c in re.split(r'(?<!\w)\|(?!\w)|\s\|\s', line)]
    if len(col) != 4:
        fail(n, f'{len(col)} columns')
    e = parse_encoding(n, col[0])
    names, words = col[1].split(), col[3].split()
    fam, words = words[0], words[1:]
    if fam not in t.family:
        fail(n, f'family {fam}')
    if names[0].endswith('cc') and len(names) == 1:
        names = [names[0][:-2] + c for c in CC]
    count = len(names)
    for optext in split_rm(col[2].split()):
        for k, name in enumerate(names):
            x = dict(e)
            ops = [parse_operand(n, o) for o in optext]
            if e['each']:
                if len(e['pfx']) != count:
                    fail(n, 'names do not match prefixes')
                x['pfx'] = [e['pfx'][k]]
            for dim in ('op', 'reg', 'rm'):
                if e[dim]:
                    a, b = e[dim]
                    steps = count - 1
                    if a != b and (not steps or (b - a) % steps):
                        fail(n, f'names do not fit the range of {dim}')
                    x[dim] = a + (k * (b - a) // steps if a != b else 0)
            pfx = x['pfx'][0] if x['pfx'] and len(x['pfx']) == 1 else None
            x['scalar'] = any(o['size'] == 'f' for o in ops) and pfx in ('F3', 'F2')
            ops = resolve_f(ops, pfx)
            w = [('g=SSE' if pfx in ('NP', 'F3') else 'g=SSE2') if v == 'g=SSEf' else v for v in words]
            for ve, vops, prefix, gate, extra in variants(n, x, ops, w):
                make_row(t, n, name, ve, vops, prefix, gate, w, fam, extra)


def read(path):
    t = Table()
    for n, line in enumerate(open(path), 1):
        line = line.rstrip('\n')
        if not line or line.startswith('#'):
            continue
        if line.startswith('%'):
            parse_directive(t, n, line)
        else:
            parse_row(t, n, line)
    return t


def leaf_tables(t):
    """(vex, map) -> 256 roots (first, shape, flags); and the leaves."""
    slots = {}
    for i, r in enumerate(t.rows):
        for k in range(8 if r.plus else 1):
            slots.setdefault((r.vex, r.map, r.op + k), []).append(i)
    leaves, roots, seen = [0], {}, {}
    for key, rows in slots.items():
        sel = []
        for i in rows:
            r = t.rows[i]
            s = {}
            for d, size in DIMS:
                v = r.sel[d]
                if v is None:
                    continue
                s[d] = {PFX.index(p) for p in v} if d == 'pfx' else {v}
            sel.append(s)
        dims = [(d, n) for d, n in DIMS if any(d in s for s in sel)]
        table = []
        for combo in itertools.product(*[range(n) for _, n in dims]):
            at = dict(zip((d for d, _ in dims), combo))
            hit = [(len(s.get('pfx', ())) and 1, i) for s, i in zip(sel, rows) if all(at[d] in v for d, v in s.items())]
            best = max((h[0] for h in hit), default=0)
            hit = [i for b, i in hit if b == best]
            if len(hit) > 1:
                sys.exit(f'x86.tab: lines {[t.rows[i].line for i in hit]} overlap at opcode {key} {at}')
            table.append(t.rows[hit[0]].index if hit else 0)
        shape = sum(1 << [x for x, _ in DIMS].index(d) for d, _ in dims)
        modrm = {t.rows[i].modrm for i in rows}
        if len(modrm) > 1:
            sys.exit(f'x86.tab: opcode {key}: rows with and without modrm')
        flags = int(modrm.pop()) | int(any(t.rows[i].nomod for i in rows)) << 1
        tab = tuple(table)
        if tab not in seen:
            seen[tab] = len(leaves)
            leaves.extend(tab)
        roots[key] = (seen[tab], shape, flags)
    return leaves, roots


def mask(letters):
    return ' | '.join(FLAG[c] for c in 'oszapc' if c in letters) or '0'


def regs(s):
    return ' | '.join(f'1 << {r}' for r in GPR if r in s) or '0'


def desc_c(r, reads):
    attr = [f'ATTR_{a}' for a in sorted(r.attr)]
    attr += [f'{r.imm}u << D_IMM_SHIFT'] if r.imm else []
    attr += ['D_VVVV'] if r.vvvv else []
    attr += ['D_COUNT'] if r.count else []
    attr += ['D_MAND'] if r.mand else []
    attr += ['D_VSIB'] if r.vsib else []
    attr += ['D_CHECK'] if r.exec in ('mov_cr', 'mov_dr', 'mov_sreg') else []
    fr, fw, fu = reads, r.flags[1], r.flags[2]
    return '\t{ INSN_%s, KIND_%s, %d, { %s }, %s, %s, %s, %s, %s, %s, GATE_%s, FN_%s },\n' % (
        r.name, r.kind.upper(), len(r.ops), ', '.join(r.ops) or '{ 0 }', mask(fr), mask(fw), mask(fu),
        regs(r.r), regs(r.w), ' | '.join(attr) or '0', r.gate, function(r))


def function(r):
    return f'exec_{r.exec}' if r.exec != 'vector' else 'vector_exec'


def write_ops(t, path, names):
    with open(path, 'w') as f:
        f.write('/* Made by schema/gen/x86.py from schema/x86.tab. */\n#pragma once\n#include <stdint.h>\n\nenum insn_op {\n\tINSN_NONE,\n')
        f.writelines(f'\tINSN_{n},\n' for n in names)
        f.write('\tINSN_COUNT\n};\n\n/* CPUID gates: may this vCPU use the instruction? */\nenum cpuid_gate {\n\tGATE_NONE,\n')
        f.writelines(f'\tGATE_{g[0]},\n' for g in t.gates)
        f.write('\tGATE_COUNT\n};\n\n/* Which CPUID bit opens a gate; reg: 0 = EAX, 1 = EBX, 2 = ECX, 3 = EDX. */\nstruct cpuid_gate_bit {\n'
                '\tuint32_t leaf, subleaf;\n\tuint8_t reg, bit;\n};\nextern const struct cpuid_gate_bit cpuid_gates[GATE_COUNT];\n')


def write_tables(t, path, names, leaves, roots):
    with open(path, 'w') as f:
        f.write('/* Made by schema/gen/x86.py from schema/x86.tab. */\n#include "exec-list.h"\n#include "vector.h"\n'
                '#include "decode.h"\n\n')
        functions = sorted({'exec_ud', *map(function, t.rows)})
        f.write('enum {\n')
        f.writelines(f'\tFN_{n},\n' for n in functions)
        f.write('};\n\ninsn_fn *const insn_functions[] = {\n')
        f.writelines(f'\t{n},\n' for n in functions)
        f.write('};\n\nconst char insn_op_names[INSN_COUNT][INSN_NAME_SIZE] = {\n\t"(none)",\n')
        f.writelines(f'\t"{n}",\n' for n in names)
        f.write('};\n\nconst struct cpuid_gate_bit cpuid_gates[GATE_COUNT] = {\n')
        f.writelines(f'\t[GATE_{g[0]}] = {{ {g[1]:#x}, {g[2]}, {g[3]}, {g[4]} }},\n' for g in t.gates)
        f.write('};\n\n')
        f.write('const struct insn_desc insn_descs[] = {\n\t{ INSN_NONE, KIND_INTERP, 0, { { 0 } }, 0, 0, 0, 0, 0, 0, 0, FN_exec_ud },\n')
        for r in t.rows:
            f.write(desc_c(r, r.flags[0]))
            if r.count:
                f.write(desc_c(r, r.flags[3]))
        f.write('};\nconst unsigned insn_desc_count = sizeof(insn_descs) / sizeof(insn_descs[0]);\n\nconst u16 insn_leaves[] = {\n')
        for i in range(0, len(leaves), 20):
            f.write('\t' + ', '.join(map(str, leaves[i:i + 20])) + ',\n')
        f.write('};\n\nconst struct insn_root insn_roots[7][256] = {\n')
        for vex, m in [(False, 0), (False, 1), (False, 2), (False, 3), (True, 1), (True, 2), (True, 3)]:
            f.write('\t{\n')
            for op in range(256):
                if (vex, m, op) in roots:
                    f.write('\t\t[0x%02x] = { %d, 0x%02x, %d },\n' % ((op,) + roots[(vex, m, op)]))
            f.write('\t},\n')
        f.write('};\n')


def write_rows(t, path):
    """Test generators: how each row is encoded. -1: free."""
    val = lambda v: -1 if v is None else v
    with open(path, 'w') as f:
        f.write('/* Made by schema/gen/x86.py from schema/x86.tab. */\n#include "decode.h"\n#include "insn-rows.h"\n\n'
                'const struct insn_row insn_rows[] = {\n')
        for r in t.rows:
            for p in r.sel['pfx'] or ['NP']:
                f.write('\t{ %d, %d, %d, 0x%02x, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d },\n' % (
                    r.index, r.vex, r.map, r.op, r.plus, PFX.index(p), val(r.sel['reg']), val(r.sel['mod']), val(r.sel['rm']),
                    val(r.sel['w']), val(r.sel['l']), val(r.sel['m64']), val(r.sel['b']), r.modrm))
        f.write('};\nconst unsigned insn_row_count = sizeof(insn_rows) / sizeof(insn_rows[0]);\n')


def main():
    t = read(sys.argv[1])
    index, names = 1, []
    for r in t.rows:
        r.index = index
        index += 2 if r.count else 1
        if r.name not in names:
            names.append(r.name)
    leaves, roots = leaf_tables(t)
    gates = {g[0] for g in t.gates} | {'NONE'}
    for r in t.rows:
        if r.gate not in gates:
            fail(r.line, f'gate {r.gate}')
    for m in t.flags:
        if m not in names:
            sys.exit(f'x86.tab: %flags names {m}, which no row has')
    write_ops(t, sys.argv[2], names)
    write_tables(t, sys.argv[3], names, leaves, roots)
    write_rows(t, sys.argv[4])


if __name__ == '__main__':
    main()
