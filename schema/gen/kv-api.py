#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""libkv's classes from schema/kv-api.tab and rpc.procs, which say what everything here means:
kv-api.py kv-api.tab rpc.procs kv-api.h kv-api.c kv-api.md. Each method is made three times: NAME(), which calls back, NAME_finish()
for what it brought, and NAME_sync(). A procedure or type that is not there ends the build here."""
import re
import sys
import textwrap

HANDLES = {'D': '(sayi)', 'N': '(say)', 'P': '(say)', 'F': '(say)', 'V': '(sss)', 'I': '(ss)', 'E': '(ayis)', 'X': 's',
           'C': '(s(sayi))', 'Z': '(s(sayi))'}
# of a type string: C type, GVariant format
SCALARS = {'u': ('guint32', 'u'), 'i': ('gint32', 'i'), 'c': ('gint32', 'i'), 'h': ('gint64', 'x'), 'H': ('guint64', 't'),
           'd': ('double', 'd')}
NOTE = '/* Made of schema/kv-api.tab. */\n'


def snake(name):
    return re.sub(r'(?<=[a-z])(?=[A-Z])', '_', name).lower()


class Class:
    def __init__(self, name, letter, doc):
        self.name, self.letter, self.doc = name, letter, doc
        self.lower, self.methods = snake(name), []
        self.macro = 'KV_' + self.lower[3:].upper()
        self.type = 'KV_TYPE_' + self.lower[3:].upper()


class Value:
    """An argument or a result: its name, its type as in rpc.procs, and perhaps an enum or bool instead."""

    def __init__(self, text):
        self.name, self.kind = text.split(':', 1)
        self.as_type = self.fixed = None

    def class_of(self):
        return classes.get(self.kind)


classes, enums, procs = {}, [], {}


def wire(kind):
    """The GVariant type of a type string."""
    out, i = '', 0
    while i < len(kind):
        c = kind[i]
        out += HANDLES.get(c) or {'h': 'x', 'H': 't', 'c': 'i', 'o': 'ay', 'U': 'ay', 'M': 's', '?': 'm', 'T': '(sv)'}.get(c, c)
        i += 1
    return out


def read_procs(path):
    for line in open(path, encoding='utf-8'):
        words = [w for w in line.split('#')[0].split() if w[0] not in '@%']
        if words and words[0] == 'remote' and '!' not in words:
            cut = words.index('->') if '->' in words else len(words)
            procs[words[2]] = [Value(w) for w in words[3:cut]], [Value(w) for w in words[cut + 1:]]


class Method:
    def __init__(self, cls, name, proc, words):
        self.cls, self.name, self.proc, self.doc = cls, name, proc, ''
        if proc not in procs:
            sys.exit(f'kv-api: {cls.name} {name}: there is no procedure {proc}')
        self.args, self.results = ([Value(f'{v.name}:{v.kind}') for v in side] for side in procs[proc])
        self.stream = '!stream' in words
        if cls.letter:
            own = self.args.pop(0)
            if own.kind != cls.letter and (cls.letter, own.kind) != ('X', 's'):
                sys.exit(f'kv-api: {proc} is not about a {cls.name}')
        self.refine([w for w in words if w != '!stream'])
        self.shown = [v for v in self.results if v.fixed is None]

    def refine(self, words):
        everything = self.args + self.results
        for v in self.args:
            if v.name == 'need_results':
                v.fixed = '1'
        for word in words:
            name = re.match(r'-?([a-z_0-9]+)', word)[1]
            found = [v for v in everything if v.name == name]
            if not found:
                sys.exit(f'kv-api: {self.proc} has no {name}')
            if word[0] == '-':
                self.results[-1 if found[0] not in self.results else self.results.index(found[0])].fixed = ''
            elif '=' in word:
                found[0].fixed = word.split('=')[1]
            else:
                found[0].as_type = word.split(':')[1]

    # ---- what it is in C ----

    def prefix(self):
        return f'{self.cls.lower}_{self.name}'

    def parameters(self):
        out = [f'{self.cls.name} *self']
        for v in self.args:
            if v.fixed is None:
                out += [f'const guint32 *{v.name}', f'gsize n_{v.name}'] if v.kind == 'au' else [c_argument(v)]
        return out

    def names(self):
        return ', '.join(re.search(r'(\w+)$', p)[1] for p in self.parameters())

    def outs(self):
        """Results that are written to where the caller says; the only one that is a pointer is returned instead."""
        return [] if self.returned() else self.shown

    def returned(self):
        return len(self.shown) == 1 and c_result(self.shown[0])[1] and self.shown[0].kind != '?s' and self.shown[0]

    def out_parameters(self):
        return [f'{c_result(v)[0]}{"" if c_result(v)[0].endswith("*") else " "}*ret_{v.name}' for v in self.outs()]

    def return_type(self):
        return c_result(self.returned())[0] if self.returned() else 'gboolean '


def c_argument(v):
    k = v.kind
    if v.as_type:
        return f'{"gboolean" if v.as_type == "bool" else v.as_type} {v.name}'
    if k in SCALARS:
        return f'{SCALARS[k][0]} {v.name}'
    if v.class_of():
        return f'{v.class_of().name} *{v.name}'
    return {'s': f'const char *{v.name}', '?s': f'const char *{v.name}', 'o': f'GBytes *{v.name}', 'U': f'GBytes *{v.name}',
            'aT': f'GVariant *{v.name}', 'as': f'const char *const *{v.name}', 'aD': f'GPtrArray *{v.name}'}[k]


def c_result(v):
    """The C type, and whether NULL can say that there is none."""
    if v.as_type:
        return ('gboolean ' if v.as_type == 'bool' else v.as_type), False
    if v.kind in SCALARS:
        return SCALARS[v.kind][0], False
    if v.class_of():
        return v.class_of().name + ' *', True
    if v.kind[0] == 'a' and v.kind[1:] in classes:
        return 'GPtrArray *', True
    return {'s': 'char *', '?s': 'char *', 'M': 'char *', 'as': 'char **', 'o': 'GBytes *'}.get(v.kind, 'GVariant *'), True


def argument_code(v):
    """Its place in a format of g_variant_new(), and what goes there."""
    if v.fixed is not None:
        return SCALARS[v.kind][1], v.fixed
    if v.as_type == 'bool':
        return 'i', f'{v.name} != 0'
    if v.kind in SCALARS:
        return SCALARS[v.kind][1], v.name
    if v.class_of():
        return '@' + HANDLES[v.kind], f'kv_object_get_handle(KV_OBJECT({v.name}))'
    return {'s': ('s', v.name), '?s': ('ms', v.name), 'o': ('@ay', f'kv_wire_bytes({v.name})'), 'U': ('@ay', f'kv_wire_bytes({v.name})'),
            'aT': ('@a(sv)', f'kv_wire_params({v.name})'), 'as': ('^as', v.name),
            'au': ('@au', f'g_variant_new_fixed_array(G_VARIANT_TYPE_UINT32, {v.name}, n_{v.name}, sizeof(guint32))'),
            'aD': ('@a(sayi)', f'kv_wire_objects({v.name})')}[v.kind]


def result_code(method, v):
    """An expression for a result that is a pointer."""
    at, conn = method.results.index(v), 'connection_of(self)'
    if v.class_of():
        return f'{v.class_of().macro}(kv_unwire_object({conn}, {v.class_of().type}, answer, {at}))'
    if v.kind[0] == 'a' and v.kind[1:] in classes:
        return f'kv_unwire_objects({conn}, {classes[v.kind[1:]].type}, answer, {at})'
    name = {'s': 'text', 'M': 'text', '?s': 'maybe_text', 'as': 'texts', 'o': 'bytes', 'aT': 'params'}.get(v.kind, 'variant')
    return f'kv_unwire_{name}(answer, {at})'


# ---- C ----

def doc_lines(m, finish, sync):
    lines = []
    if not finish:
        for v in m.args:
            if v.fixed is None and v.kind in ('?s', 'aT', 'aD'):
                lines.append(f'@{v.name}: (nullable){" (element-type KvDomain)" if v.kind == "aD" else ""}: '
                             + ('an a{sv}' if v.kind == 'aT' else 'or none'))
            if v.fixed is None and v.kind == 'au':
                lines.append(f'@{v.name}: (array length=n_{v.name}): values')
    if finish or sync:
        for v in m.outs():
            notes = '(out) (optional)'
            if c_result(v)[1]:
                notes += transfer(v) + (' (nullable)' if v.kind == '?s' else '')
            lines.append(f'@ret_{v.name}: {notes}: {what(v)}')
    return lines


def transfer(v):
    """An array has a function that frees its objects, so whoever has it has them."""
    if v.kind[0] == 'a' and v.kind[1:] in classes:
        return f' (transfer container) (element-type {classes[v.kind[1:]].name})'
    return ' (transfer full)'


def what(v):
    if c_result(v)[0] == 'GVariant *':
        return 'an a{sv}' if v.kind == 'aT' else f'{v.name}, of type {wire(v.kind)}'
    return v.name


def returns_line(m):
    v = m.returned()
    if m.stream:
        return 'Returns: (transfer full): the stream'
    return f'Returns:{transfer(v)}: {what(v)}' if v else 'Returns: whether it went well'


def comment(name, lines, doc, last):
    out = [f'/**\n * {name}:']
    out += [f' * {line}' for line in lines]
    if doc:
        out += [' *', f' * {doc}']
    if last:
        out += [' *', f' * {last}']
    return '\n'.join(out) + '\n */\n'


def wrapped(head, parameters, end):
    text = head + '(' + ', '.join(parameters) + ')' + end
    return '\n'.join(textwrap.wrap(text, 120, subsequent_indent='\t\t', break_long_words=False)) + '\n'


SYNC = ['GCancellable *cancellable', 'GError **error']
ASYNC = ['GCancellable *cancellable', 'GAsyncReadyCallback callback', 'gpointer user_data']


def heads(m):
    """The three: name, return type, parameters."""
    if m.stream:
        return [(m.prefix() + '_sync', 'KvStream *', m.parameters() + (['char **ret_mime'] if m.shown else []) + SYNC)]
    return [(m.prefix(), 'void ', m.parameters() + ASYNC),
            (m.prefix() + '_finish', m.return_type(), [f'{m.cls.name} *self', 'GAsyncResult *result'] + m.out_parameters() + ['GError **error']),
            (m.prefix() + '_sync', m.return_type(), m.parameters() + m.out_parameters() + SYNC)]


def declare(m):
    out = ''
    for i, (name, ret, parameters) in enumerate(heads(m)):
        sync = m.stream or i == 2
        lines = doc_lines(m, i == 1, sync) if not m.stream else doc_lines(m, False, False)
        if m.stream and m.shown:
            lines.append('@ret_mime: (out) (optional) (nullable) (transfer full): its MIME type')
        out += comment(name, lines, m.doc if sync else f'{m.name.replace("_", " ")}: see {m.prefix()}_sync().',
                       returns_line(m) if i or m.stream else '')
        out += wrapped(ret + name, parameters, ';')
    return out


def header():
    out = '/* SPDX-License-Identifier: LGPL-2.1-or-later */\n' + NOTE
    out += '#pragma once\n#include "kv-object.h"\n#include "kv-stream.h"\n\nG_BEGIN_DECLS\n\n'
    for name, is_flags, values in enums:
        members = [f'KV_{snake(name)[3:].upper()}_{n.upper().replace("-", "_")}' for n, _ in values]
        out += comment(name, [f'@{m}: {n}' for m, (n, _) in zip(members, values)], '', '')
        out += f'typedef enum {"/*< flags >*/ " if is_flags else ""}{{\n' + ''.join(
            f'\t{m} = {v},\n' for m, (_, v) in zip(members, values)) + f'}} {name};\n\n'
    for c in classes.values():
        out += f'#define {c.type} {c.lower}_get_type()\n'
        out += comment(c.name, [], c.doc, '') + f'G_DECLARE_FINAL_TYPE({c.name}, {c.lower}, KV, {c.lower[3:].upper()}, KvObject)\n\n'
    return out + '\n'.join(declare(m) for m in methods) + '\nG_END_DECLS\n'


def args_function(m):
    own = [('@' + HANDLES[m.cls.letter], 'kv_object_get_handle(KV_OBJECT(self))')] if m.cls.letter else []
    parts = own + [argument_code(v) for v in m.args]
    values = ''.join(f',\n\t\t\t\t{value}' for _, value in parts)
    made = f'g_variant_new("({"".join(f for f, _ in parts)})"{values})' if parts else 'NULL'
    return wrapped(f'static GVariant *args_{m.prefix()}', m.parameters(), '') + f'{{\n\treturn {made};\n}}\n\n'


def take_function(m):
    body = ''
    if m.returned():
        body = f'\treturn {result_code(m, m.returned())};\n'
    else:
        for v in m.outs():
            at = m.results.index(v)
            if v.as_type == 'bool':
                code = f'*ret_{v.name} = kv_unwire_bool(answer, {at});'
            elif c_result(v)[1]:
                code = f'*ret_{v.name} = {result_code(m, v)};'
            else:
                code = f'g_variant_get_child(answer, {at}, "{SCALARS[v.kind][1]}", ret_{v.name});'
            body += f'\tif (ret_{v.name})\n\t\t{code}\n'
        body += '\treturn TRUE;\n'
    return wrapped(f'static {m.return_type()}take_{m.prefix()}', [f'{m.cls.name} *self', 'GVariant *answer'] + m.out_parameters(), '') \
        + '{\n' + body + '}\n\n'


def define(m):
    layer, me = ('kv_object', 'KV_OBJECT(self)') if m.cls.letter else ('kv_connection', 'self')
    call = f'"{m.proc}", args_{m.prefix()}({m.names()})'
    out = args_function(m)
    if m.stream:
        name, ret, parameters = heads(m)[0]
        mime = 'ret_mime' if m.shown else 'NULL'
        return out + wrapped(ret + name, parameters, '') + f'{{\n\treturn kv_wire_stream(connection_of(self), {call}, {mime}, cancellable, error);\n}}\n\n'
    out += take_function(m)
    outs = ''.join(f', ret_{v.name}' for v in m.outs())
    none = 'NULL' if m.returned() else 'FALSE'
    bodies = [f'\t{layer}_call({me}, {call}, cancellable, callback, user_data);\n',
              f'\tg_autoptr(GVariant) answer = {layer}_call_finish({me}, result, error);\n\n'
              f'\treturn answer ? take_{m.prefix()}(self, answer{outs}) : {none};\n',
              f'\tg_autoptr(GVariant) answer = {layer}_call_sync({me}, {call}, cancellable, error);\n\n'
              f'\treturn answer ? take_{m.prefix()}(self, answer{outs}) : {none};\n']
    for (name, ret, parameters), body in zip(heads(m), bodies):
        out += wrapped(ret + name, parameters, '') + '{\n' + body + '}\n\n'
    return out


def source():
    out = '/* SPDX-License-Identifier: LGPL-2.1-or-later */\n' + NOTE + '#include "kv-api.h"\n#include "object-inside.h"\n\n'
    out += '#define connection_of(self) _Generic((self), KvConnection *: (void *)(self), default: kv_object_get_connection((void *)(self)))\n\n'
    for c in classes.values():
        out += f'struct _{c.name} {{\n\tKvObject parent;\n}};\n\nG_DEFINE_FINAL_TYPE({c.name}, {c.lower}, KV_TYPE_OBJECT)\n\n'
        out += f'static void {c.lower}_class_init({c.name}Class *class)\n{{\n}}\n\nstatic void {c.lower}_init({c.name} *self)\n{{\n}}\n\n'
    out += 'const struct kv_class kv_classes[] = {\n' + ''.join(
        f"\t{{ '{c.letter}', \"{HANDLES[c.letter]}\", {c.lower}_get_type }},\n" for c in classes.values()) + '\t{},\n};\n\n'
    return out + ''.join(define(m) for m in methods)


# ---- the page ----

def page():
    out = '# libkv\'s methods\n\n<!-- Made of schema/kv-api.tab: cp build/src/virt/kv-api.md docs/libkv.md -->\n\n'
    out += textwrap.fill('What libkv offers by name; every other procedure of the protocol is there by kv_connection_call() and kv_object_call(). '
                         'In C each method is three functions: kv_domain_start() calls back, kv_domain_start_finish() has what it brought, '
                         'kv_domain_start_sync() waits. In Python: domain.start_sync(0, None).', 128) + '\n'
    for c in [connection] + list(classes.values()):
        out += f'\n## {c.name}\n\n{c.doc}\n\n| method | gives | what it does |\n| --- | --- | --- |\n'
        for m in c.methods:
            args = ', '.join(v.name for v in m.args if v.fixed is None)
            gives = 'a stream' if m.stream else ', '.join(shown_type(v) for v in m.shown)
            out += f'| `{m.name}({args})` | {gives} | {m.doc} |\n'
    out += '\n## Constants\n\n| type | values |\n| --- | --- |\n'
    for name, is_flags, values in enums:
        out += f'| `{name}`{" (flags)" if is_flags else ""} | {", ".join(f"{n} {v}" for n, v in values)} |\n'
    return out


def shown_type(v):
    if v.class_of():
        return v.class_of().name
    if v.kind[0] == 'a' and v.kind[1:] in classes:
        return f'{classes[v.kind[1:]].name}s'
    return v.name + (f' `{wire(v.kind)}`' if c_result(v)[0] == 'GVariant *' and v.kind != 'aT' else '')


# ---- reading ----

connection = Class('KvConnection', '', 'A connection; see kv-connection.h for how to open one, for events and for calls by name.')
methods = []


def read_table(path):
    last = None
    lines = [line.rstrip('\n') for line in open(path, encoding='utf-8')]
    for line in lines:
        words = line.split()
        if words and words[0] == 'class':
            classes[words[2]] = Class(words[1], words[2], '')
    by_name = {c.name: c for c in [connection] + list(classes.values())}
    for line in lines:
        words = line.split()
        if not words or line[0] == '#':
            continue
        if line[0] == '\t':
            last.doc = (last.doc + ' ' + line.strip()).strip()
        elif words[0] in ('enum', 'flags'):
            values = [w.split('=') if '=' in w else (w, str(i)) for i, w in enumerate(words[2:])]
            enums.append((words[1], words[0] == 'flags', values))
        elif words[0] == 'class':
            last = by_name[words[1]]
        else:
            last = Method(by_name[words[0]], words[1], words[3], words[4:])
            by_name[words[0]].methods.append(last)
            methods.append(last)


def main():
    table, procs_path, *outputs = sys.argv[1:]
    read_procs(procs_path)
    read_table(table)
    known = {e[0] for e in enums} | {'bool'}
    for m in methods:
        for v in m.args + m.results:
            if v.as_type and v.as_type not in known:
                sys.exit(f'kv-api: {m.proc}: there is no type {v.as_type}')
    for path, text in zip(outputs, (header, source, page)):
        with open(path, 'w', encoding='utf-8') as out:
            out.write(text())


main()
