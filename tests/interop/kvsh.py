#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kvsh beside virsh: the same command lines to the same libvirtd, with its test driver, must say the same in the same way.

Lines are in kvsh/NAME.txt, one a line as virsh takes it in one argument. Before a line there may be marks: '~' numbers may differ
(clocks, counters), '^' standard output may differ (a text of ours). A line with tabs is several arguments.
Each line is a connection of its own, so the test driver's objects are as they were."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time

import libvirtd

here = os.path.dirname(os.path.abspath(__file__))

# What the test driver makes for each connection anew, so that a call never sees what the call before it did.
NODE = '''<node>
<domain type='test'><name>test</name><memory>8388608</memory><vcpu>2</vcpu><os><type>hvm</type></os>
<devices><disk type='file' device='disk'><source file='/guest/diskimage1'/><target dev='vda' bus='virtio'/></disk>
<interface type='network'><mac address='aa:bb:cc:dd:ee:ff'/><source network='default'/></interface></devices></domain>
<network><name>default</name><bridge name='virbr0'/><forward/><ip address='192.168.122.1' netmask='255.255.255.0'/></network>
<pool type='dir'><name>default-pool</name><target><path>/default-pool</path></target></pool>
</node>
'''


def run(program, uri, line, folder):
    p = subprocess.run([program, '-c', uri] + line, cwd=folder, capture_output=True, text=True, timeout=180,
                       stdin=subprocess.DEVNULL, env={**os.environ, 'LC_ALL': 'C', 'EDITOR': f'{folder}/editor'}, check=False)
    return p.stdout, p.stderr, p.returncode


def plain(text, uri, marks):
    text = text.replace(uri, 'URI').replace('/tmp/kvsh-', '/tmp/virsh-')
    text = re.sub(r'<creationTime>\d+<|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}', 'TIME', text)
    if '~' in marks:
        text = re.sub(r' +', ' ', re.sub(r'[0-9]+', '#', text))
        text = re.sub(r'-{3,}', '---', text)
    return text


def files(folder):
    """What lines read, and an editor that changes titles."""
    for name in os.listdir(f'{here}/kvsh'):
        if name.endswith('.xml'):
            with open(f'{here}/kvsh/{name}', encoding='utf-8') as source, open(f'{folder}/{name}', 'w', encoding='utf-8') as to:
                to.write(source.read())
    with open(f'{folder}/editor', 'w', encoding='utf-8') as f:
        f.write('#!/bin/sh\nexec sed -i "s/<name>test/<title>edited<\\/title>\\n&/; s/virbr0/virbr9/" "$1"\n')
    os.chmod(f'{folder}/editor', 0o755)


def compare(kvsh, uri, line, marks, folder):
    ours, theirs = (run(program, uri, line, folder) for program in (kvsh, 'virsh'))
    ours, theirs = ([plain(t, uri, marks) for t in r[:2]] + [r[2]] for r in (ours, theirs))
    if '^' in marks:
        ours[0] = theirs[0] = ''
    if ours == theirs:
        return True
    print(f'--- {" ".join(line)}')
    for what, a, b in zip(('stdout', 'stderr', 'status'), ours, theirs):
        if a != b:
            print(f'{what} of kvsh:\n{a}\nof virsh:\n{b}')
    return False


def synopses(kvsh):
    """Each command that we have takes exactly the options that virsh's has."""
    groups = subprocess.run([kvsh, 'help'], capture_output=True, text=True, check=True).stdout
    names = re.findall(r'^    (\S+) ', groups, re.M)
    found = []
    for program in (kvsh, 'virsh'):
        text = subprocess.run([program, '; '.join(f'help {name}' for name in names)], capture_output=True, text=True, check=False,
                              env={**os.environ, 'LC_ALL': 'C'}).stdout
        found.append(dict(re.findall(r'^  NAME\n    (\S+).*?SYNOPSIS\n(.*?)\n', text, re.M | re.S)))
    bad = 0
    for name in names:
        ours, theirs = (lines.get(name, '') for lines in found)
        if theirs and ours.split() != theirs.split():
            print(f'{name}: {ours.strip()}\nvirsh: {theirs.strip()}')
            bad += 1
    return bad or len(set(found[0]) & set(found[1])) < 150


# What is typed, and what must be among what is offered; with '!' what must not be.
COMPLETIONS = [
    ('', 'list !complete'), ('net-d', 'net-define net-destroy net-dumpxml !list'), ('start --', '--paused --console !--domain=x'),
    ('domid ', 'test'), ('domid --domain t', 'test'), ('start ', '!test'), ('destroy ', 'test'), ('domblkinfo test ', 'vda'),
    ('domif-setlink test ', 'aa:bb:cc:dd:ee:ff'), ('domif-setlink test eth0 ', 'up down'), ('shutdown test --mode a', 'acpi agent !signal'),
    ('net-info ', 'default'), ('net-start ', '!default'), ('pool-info ', 'default-pool'), ('vol-info --pool default-pool ', ''),
    ('iface-dumpxml ', 'eth1'), ('help net', 'network net-list'), ('event --event life', 'lifecycle'), ('list --all --', '--title !--all'),
    ('top --sort ', 'cpu memory'), ('send-key test KEY_EN', 'KEY_ENTER KEY_END'), ('nope ', ''), ('set-lifecycle-action test ', 'crash'),
    ('nodedev-dumpxml ', 'computer scsi_host1'), ('-o ', 'text json'), ('--out', '--output'), ('domif-setlink test aa:b', 'bb:cc:dd:ee:ff'),
]


def completion(kvsh):
    """What bash offers, with its word breaks."""
    script = f'{here}/../../src/cli/kvsh.bash'
    bad = 0
    with libvirtd.Libvirtd() as uri:
        for typed, wanted in COMPLETIONS:
            line = f'{kvsh} -c {uri} {typed}'
            code = '. "$1"; COMP_LINE=$2; COMP_POINT=${#2}; _kvsh; printf "%s\\n" "${COMPREPLY[@]}"'
            p = subprocess.run(['bash', '-c', code, 'bash', script, line], capture_output=True, text=True, check=False, timeout=180)
            offered = p.stdout.split('\n')
            wrong = [w for w in wanted.split() if (w[0] == '!') == (w.lstrip('!') in offered)]
            if p.returncode or p.stderr or wrong or (not wanted and p.stdout.strip()):
                print(f'{typed!r}: {wrong} of {offered} {p.stderr}')
                bad += 1
    return bad


# What --output json makes of each kind of text.
JSON = {'list --all': list, 'list --name': ['test'], 'dominfo test': dict, 'dommemstat test': dict, 'dumpxml test': str, 'domid test': str,
        'net-list --name': ['default'], 'net-list --inactive --name': [], 'pool-list --details': list, 'domblklist test': list,
        'nodedev-list': None, 'perf test': dict, 'numatune test': dict, 'cpu-stats test': dict, 'domblkstat test vda': dict,
        'domiftune test aa:bb:cc:dd:ee:ff': dict, 'domstats': dict, 'freecell': dict, 'iface-list': list, 'top --once': None,
        'checkpoint-create-as test a; checkpoint-list test': None, 'nodeinfo': dict, 'capabilities': str, 'vol-list default-pool': list}


def json_output(kvsh):
    bad = 0
    with libvirtd.Libvirtd() as uri:
        for line, kind in JSON.items():
            out, err, _ = run(kvsh, uri, ['-o', 'json', line], here)
            values, decoder = [], json.JSONDecoder()
            try:
                while out.strip():
                    value, end = decoder.raw_decode(out.lstrip())
                    values.append(value)
                    out = out.lstrip()[end:]
            except ValueError:
                values = []
            if kind is None:
                good = bool(values) or err.startswith('error: ')
            else:
                good = len(values) == 1 and (isinstance(values[0], kind) if isinstance(kind, type) else values[0] == kind)
            if not good:
                print(f'{line}: {values} {err}')
                bad += 1
    return bad


def at_terminal(command, typed=b'', seconds=150, **more):
    """All that it writes to a terminal of its own; typed goes there once it has written something."""
    pid, fd = pty.fork()
    if not pid:
        os.execvpe(command[0], command, {**os.environ, 'LC_ALL': 'C', 'TERM': 'xterm', **more})
    out, end = b'', time.monotonic() + seconds
    while time.monotonic() < end and select.select([fd], [], [], max(0, end - time.monotonic()))[0]:
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        out += data
        if data and typed:
            os.write(fd, typed)
            typed = b''
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    os.waitpid(pid, 0)
    os.close(fd)
    return out.decode().replace('\r\n', '\n')


def terminal(kvsh):
    """What only a person sees: colours, hints, the question after a description that was refused."""
    bad = 0
    with libvirtd.Libvirtd() as uri, tempfile.TemporaryDirectory() as folder:
        editor = f'{folder}/editor'
        with open(editor, 'w', encoding='utf-8') as f:
            f.write('#!/bin/sh\nexec sed -i "s/<memory.*/<memory>x<\\/memory>/" "$1"\n')
        os.chmod(editor, 0o755)
        green, red = '\033[32mrunning\033[0m', '\033[31merror:\033[0m'
        for line, typed, more, wanted, unwanted in [
                ('list', b'', {}, [green, '\033[1mState'], []),
                ('list', b'', {'NO_COLOR': '1'}, ['running'], ['\033']),
                ('dominfo test', b'', {}, [green], []),
                ('domid tset', b'', {}, [red, "hint: did you mean 'test'?"], []),
                ('net-info defualt', b'', {}, ["hint: did you mean 'default'?"], []),
                ('lsit', b'', {}, ["unknown command: 'lsit'", "hint: did you mean 'list'?"], []),
                ('edit test', b'', {'EDITOR': 'stat -c mode-%a'}, ['mode-600'], []),
                ('edit test', b'n\n', {'EDITOR': editor}, ['Try again? [y,n,i,f,?]: ', red], ['edited']),
                ('edit test', b'?\nn\n', {'EDITOR': editor}, ['y - yes, start editor again', 'i - turn off validation'], []),
                ('edit test', b'i\nn\n', {'EDITOR': editor}, ['Try again? [y,n,f,?]: '], [])]:
            out = at_terminal([kvsh, '-c', uri, line], typed, **more)
            if any(w not in out for w in wanted) or any(w in out for w in unwanted):
                print(f'{line}: {out!r}')
                bad += 1
        _, err, _ = run(kvsh, uri, ['domid tset'], folder)
        bad += 'hint' in err
        # A word that is completed before anything else leaves no connection that may only look.
        out = at_terminal([kvsh, '-c', uri], b'domid t\t\nautostart test\nautostart test --disable\nquit\n')
        if "'test' marked as" not in out or "'test' unmarked as" not in out:
            print(f'after a completion: {out!r}')
            bad += 1
    return bad


# Options of the program itself, and connections that come and go. URI is a server that is there, NOBODY one that is not.
PROGRAM = [['-c', 'URI'], ['-c', 'NOBODY', 'echo a'], ['-c', 'NOBODY', 'list'], ['-c', 'NOBODY', 'nope'], ['-e', '^', 'echo a'], ['-e', '^1', 'echo a'],
           ['-e', '^^', 'echo a'], ['-e', 'ab', 'echo a'], ['-k', '-1', 'echo a'], ['-K', '-1', 'echo a'], ['-k', '0', '-c', 'URI', 'uri'],
           ['-c', 'URI', 'connect; domid test'], ['-c', 'URI', "connect 'NOBODY'; domid test; uri"],
           ['-c', 'URI', "connect 'URI' --readonly; destroy test"], ['-r', '-c', 'URI', 'connect; domid test; destroy test; connect']]

LINES = "cd /\npwd\ncd ''\npwd\ncd /nope\necho a; echo 'b c' # d\nnope\nquit\necho no\n"


def program(kvsh):
    bad = 0
    with libvirtd.Libvirtd() as uri:
        nobody = uri.replace('libvirt-sock', 'nobody')
        for line in PROGRAM:
            words = [word.replace('URI', uri).replace('NOBODY', nobody) for word in line]
            said = []
            for name in kvsh, 'virsh':
                p = subprocess.run([name, *words], capture_output=True, text=True, timeout=180, input=LINES, check=False,
                                   env={**os.environ, 'LC_ALL': 'C', 'TERM': 'dumb', 'HOME': here})
                said.append((p.returncode, p.stdout.replace('virsh', 'kvsh'), p.stderr))
            if said[0] != said[1]:
                print(f'{line}: {said[0]}\nvirsh: {said[1]}')
                bad += 1
    return bad


def odd_bytes(kvsh):
    """What is no UTF-8 is refused by its name, wherever it comes from."""
    bad = 0
    with libvirtd.Libvirtd() as uri, tempfile.TemporaryDirectory() as folder:
        with open(f'{folder}/odd', 'wb') as file:
            file.write(b'<domain>\xff</domain>\n')
        for line, wanted in [([b'dominfo', b'\xff'], 'option --domain'), ([b'desc', b'test', b'a', b'\xfe'], 'option --new-desc'),
                             (['define', f'{folder}/odd'], 'odd'), (['set-user-sshkeys', 'test', 'root', f'{folder}/odd'], 'odd'),
                             (['edit', 'test'], 'edited')]:
            with open(f'{folder}/editor', 'w', encoding='utf-8') as file:
                file.write(f'#!/bin/sh\nexec cp {folder}/odd "$1"\n')
            os.chmod(f'{folder}/editor', 0o755)
            _, err, status = run(kvsh, uri, line, folder)
            if status != 1 or wanted not in err or 'no UTF-8 text' not in err or 'CRITICAL' in err:
                print(f'{line}: {status} {err}')
                bad += 1
    return bad


def run_program(name, path):
    """facts: what schema/rpc.procs says, against the server. libkv: the library, which kills the server in the end."""
    with tempfile.NamedTemporaryFile('w', suffix='.xml') as node:
        node.write(NODE)
        node.flush()
        os.chmod(node.name, 0o644)
        server = libvirtd.Libvirtd(f'test+unix://{node.name}' if name == 'facts' else 'test+unix:///default')
        with server as uri:
            more = '100' if name == 'facts' else str(server.process.pid)
            return subprocess.run([path, uri, more], check=False, timeout=400).returncode


def main():
    kvsh, name = os.path.abspath(sys.argv[1]), sys.argv[2]
    libvirtd.need('virsh', 'libvirtd')
    if name in ('facts', 'libkv'):
        sys.exit(run_program(name, kvsh))
    checks = {'synopses': synopses, 'completion': completion, 'json': json_output, 'terminal': terminal,
              'odd-bytes': odd_bytes, 'program': program}
    if name in checks:
        sys.exit(1 if checks[name](kvsh) else 0)
    bad = count = 0
    with libvirtd.Libvirtd() as uri, tempfile.TemporaryDirectory() as folder:
        files(folder)
        for line in open(f'{here}/kvsh/{name}.txt', encoding='utf-8'):
            marks, line = re.match(r'([~^]*)(.*)', line.rstrip('\n')).groups()
            if not line or line.startswith('#'):
                continue
            count += 1
            bad += not compare(kvsh, uri, line.split('\t') if '\t' in line else [line], marks, folder)
    print(f'{count} lines, {bad} differ')
    sys.exit(1 if bad or not count else 0)


if __name__ == '__main__':
    main()
