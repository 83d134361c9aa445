# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the inputs of the benchmark's programs into a directory: the same bytes on every machine and with every Python.
usage: inputs.py DIR. Called by bench/kvbench/programs.py."""
import os
import sys

WORD_PARTS = ('ka', 'vi', 'sol', 'men', 'tra', 'ne', 'ru', 'hal', 'dor', 'py', 'st', 'el', 'ing', 'qua')


class Numbers:
    """A generator of our own, so that no library's may change it (MMIX's constants)."""

    def __init__(self, seed):
        self.state = seed

    def below(self, limit):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & (1 << 64) - 1
        return (self.state >> 33) % limit


def text(numbers, size):
    """Words, the frequent ones often, with numbers between: what a compressor gets."""
    words = [''.join(WORD_PARTS[numbers.below(len(WORD_PARTS))] for _ in range(1 + numbers.below(4))) for _ in range(4000)]
    lines, length = [], 0
    while length < size:
        line = ' '.join(words[numbers.below(1 + numbers.below(len(words)))] for _ in range(10)) + f' {numbers.below(100000)}\n'
        lines.append(line)
        length += len(line)
    return ''.join(lines)[:size]


def c_source(numbers, functions):
    """A file of C: loops, branches, tables, structures."""
    out = ['typedef struct { unsigned key, value; double weight; } entry;\nstatic entry table[256];\n']
    for i in range(functions):
        a, b, c = (1 + numbers.below(250) for _ in range(3))
        callee = f'f{numbers.below(i)}(n - 1, p)' if i else 'n'
        cases = ''.join(f'\tcase {k}: s += p[{(k * a) & 63}] ^ {b + k}; break;\n' for k in range(8))
        out.append(f'unsigned f{i}(unsigned n, const unsigned *p)\n{{\n\tunsigned s = {a};\n\tif (!n)\n\t\treturn s;\n'
                   f'\tfor (unsigned i = 0; i < {b}; i++) {{\n\t\ts = s * {c * 2 + 1} + p[i & 63];\n'
                   f'\t\tif (s & {1 << (a & 15)})\n\t\t\ttable[s & 255].value += i;\n'
                   f'\t\telse\n\t\t\ttable[i & 255].weight *= 1.0 + s;\n\t}}\n\tswitch (s & 7) {{\n{cases}\t}}\n'
                   f'\treturn s + {callee};\n}}\n')
    out.append('int main(void)\n{\n\tunsigned p[64], s = 0;\n\tfor (unsigned i = 0; i < 64; i++)\n\t\tp[i] = i * 2654435761u;\n'
               + ''.join(f'\ts += f{i}(3, p);\n' for i in range(functions)) + '\treturn s & 0x7f;\n}\n')
    return ''.join(out)


def sql(numbers, rows):
    out = ['pragma journal_mode = memory;', 'create table item(id integer primary key, name text, grp integer, price real);', 'begin;']
    for i in range(rows):
        out.append(f"insert into item values({i}, 'name{numbers.below(10000)}', {numbers.below(50)}, {numbers.below(100000)} / 100.0);")
    out += ['commit;', 'create index by_name on item(name);', 'create index by_group on item(grp, price);',
            'select grp, count(*), sum(price), max(name) from item group by grp order by grp;']
    for _ in range(rows // 10):
        out.append(f"select count(*), total(price) from item where name = 'name{numbers.below(10000)}';")
    for _ in range(20):
        out.append(f'update item set price = price + 1 where grp = {numbers.below(50)};')
    out += ['select count(*), sum(a.price) from item a join item b on a.id = b.id + 1 where a.grp < b.grp;',
            "delete from item where name like '%7';", 'select count(*), min(name), max(price) from item;']
    return '\n'.join(out) + '\n'


def main():
    folder = sys.argv[1]
    files = {'text': text(Numbers(1), 4 << 20), 'text-small': text(Numbers(2), 700 << 10), 'source.c': c_source(Numbers(3), 30),
             'script.sql': sql(Numbers(4), 20000), 'prime': f'{2 ** 1279 - 1:X}\n'}
    for name, content in files.items():
        with open(os.path.join(folder, name), 'w', encoding='ascii') as file:
            file.write(content)


main()
