# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt's XML, checked and completed: model.py MODEL_XML XML_DIR CASE.

golden   each file of tests/xml gives what the .out beside it has, and that gives itself; REGEN=1 writes them anew
docs     docs/xml.md has what the tables have; REGEN=1 likewise
schema   what we write is valid by libvirt's schemas
libvirt  a libvirtd of Debian's, as a user's own, gives the same for the domains, and for the pieces of fragments.txt
test     libvirt's test driver gives the same for what is in domain-test, network and so on
"""
import difflib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time

model, xml_dir, case = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
# A volume's path and key, and what kv-vmm has in the place of QEMU's, differ.
OURS_ALONE = {'micro.xml', 'usb2.xml', 'watchdog.xml'}


def skip(why):
    print(why)
    sys.exit(77)


def ours(folder, text, *more):
    words = folder.split('-') + list(more)
    return subprocess.run([model, *words], input=text, capture_output=True, text=True, timeout=180).stdout


def inputs(*folders):
    """argv/ has command lines beside its definitions: of another test."""
    every = [d.name for d in xml_dir.iterdir() if d.is_dir() and d.name != 'argv']
    return sorted(p for f in folders or every for p in (xml_dir / f).glob('*.xml'))


def golden():
    bad = 0
    for path in inputs():
        out = path.with_suffix('.out')
        got = ours(path.parent.name, path.read_text())
        if os.environ.get('REGEN'):
            out.write_text(got)
        if got != out.read_text():
            bad += 1
            print(f'{path.parent.name}/{path.name}: differs from {out.name}:')
            subprocess.run(['diff', '-u', out, '-'], input=got, text=True)
        elif got.startswith('error'):
            bad += 1
            print(f'{path.name}: {got}')
        # libvirt has a root bus that nobody wrote behind what is written: a second time it is in front.
        first = ours(path.parent.name, got)
        again = ours(path.parent.name, first)
        if again != first or sorted(first.split('\n')) != sorted(got.split('\n')):
            bad += 1
            print(f'{path.parent.name}/{path.name}: its output gives something else:')
            sys.stdout.writelines(difflib.unified_diff(got.splitlines(True), again.splitlines(True)))
    return bad


def schema():
    """What we write is valid by libvirt's schemas, and what is not is told in libvirt's words."""
    if not os.path.exists('/usr/share/libvirt/schemas/domain.rng') or not shutil.which('virsh'):
        skip("libvirt's schemas or virsh are not installed")
    bad = 0
    for path in inputs('domain', 'network', 'secret'):
        got = ours(path.parent.name, path.with_suffix('.out').read_text(), 'validate')
        if got.startswith('error'):
            print(f'{path.name}: what we write is not valid: {got}')
            bad += 1
    text = "<domain type='test'><name>a</name><memory>1000</memory><os><type>hvm</type></os><odd/></domain>"
    with tempfile.NamedTemporaryFile('w', suffix='.xml') as f:
        f.write(text)
        f.flush()
        answer = subprocess.run(['virsh', '-q', '-c', 'test:///default', 'define', '--validate', f.name], capture_output=True, text=True,
                                env=dict(os.environ, LANG='C'), timeout=180)
    theirs = answer.stderr.split('\n', 1)[1].strip()
    if theirs != ours('domain-test', text, 'validate').strip():
        print(f'libvirt: {theirs}\nwe: {ours("domain-test", text, "validate")}')
        bad += 1
    return bad


def docs():
    """docs/xml.md's lists are what the tables have."""
    page = xml_dir.parent.parent / 'docs' / 'xml.md'
    text = subprocess.run([model, 'tables'], capture_output=True, text=True, check=True).stdout
    fill = lambda line: textwrap.fill(line, 126, subsequent_indent='  ' if line.startswith('-') else '', break_long_words=False,
                                      break_on_hyphens=False)
    lists = '\n'.join(fill(line) for line in text.split('\n'))
    head, old = page.read_text().split('\n## <domain>', 1)
    if os.environ.get('REGEN'):
        page.write_text(head + lists)
        return 0
    if lists != '\n## <domain>' + old:
        print('docs/xml.md is not what the tables have: REGEN=1 writes it')
        return 1
    return 0


def normal(text, ours_too=True):
    text = re.sub(r'<emulator>.*</emulator>', '<emulator/>', text)
    # what their library adds at random, and cards of theirs that we have not
    text = re.sub(r'<(uuid|key|path)>.*</\1>\n *', '', text)
    text = re.sub(r"type='cirrus'", "type='vga'", text)
    text = re.sub(r"52:54:00:..:..:..", 'MAC', text)
    return text.replace('\n\n', '\n').strip() + '\n'


def compare(name, theirs, got):
    if normal(theirs) == normal(got):
        return 0
    print(f'{name}: libvirt (-) and we (+):')
    with tempfile.NamedTemporaryFile('w') as f:
        f.write(normal(theirs))
        f.flush()
        subprocess.run(['diff', '-u', f.name, '-'], input=normal(got), text=True)
    return 1


def libvirt():
    if not shutil.which('libvirtd') or not shutil.which('virsh') or not shutil.which('qemu-system-x86_64'):
        skip('libvirtd, virsh or QEMU is not installed')
    with tempfile.TemporaryDirectory() as home:
        who = {}
        if os.getuid() == 0:
            os.chown(home, 65534, 65534)
            kvm = [os.stat('/dev/kvm').st_gid] if os.path.exists('/dev/kvm') else []
            who = {'user': 65534, 'group': 65534, 'extra_groups': kvm}
        env = {'PATH': os.environ['PATH'], 'LANG': 'C', 'HOME': home, 'XDG_RUNTIME_DIR': home + '/run',
               'XDG_CONFIG_HOME': home + '/config', 'XDG_CACHE_HOME': home + '/cache', 'XDG_DATA_HOME': home + '/data'}
        with open(home + '/log', 'w') as log:
            server = subprocess.Popen(['libvirtd'], env=env, cwd=home, stdout=log, stderr=log, start_new_session=True, **who)
        try:
            return with_server(home, env, who, server)
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(180)


def fragments(home, run):
    """Each line of fragments.txt in a small domain: what libvirtd and we say of it is as the line's mark has it."""
    head = "<domain type='kvm'><name>piece</name><memory unit='MiB'>64</memory>"
    bad = 0
    for line in (xml_dir / 'fragments.txt').read_text().split('\n'):
        if not line or line.startswith('#'):
            continue
        mark, where, xml = line.split(' ', 2)
        whole = head + (xml if where == 'd' else '') + '<os>' + (xml if where == 'o' else '') + \
            "<type machine='q35'>hvm</type></os><devices>" + (xml if where == 'v' else '') + '</devices></domain>'
        copy = pathlib.Path(home, 'piece.xml')
        copy.write_text(whole)
        copy.chmod(0o644)
        got, answer = ours('domain', whole), run('define', str(copy))
        taken = not got.startswith('error')
        if (mark == '=') != taken or (mark == '!') != (answer.returncode != 0):
            print(f'{line}\n  libvirtd: {answer.stderr or "taken"}  we: {"taken" if taken else got}')
            bad += 1
        if not answer.returncode:
            if taken:
                bad += compare(line, run('dumpxml', '--inactive', '--security-info', 'piece').stdout, got)
            run('undefine', '--nvram', 'piece')
    return bad


def with_server(home, env, who, server):
    socket = home + '/run/libvirt/libvirt-sock'
    for _ in range(1800):
        if os.path.exists(socket) or server.poll() is not None:
            break
        time.sleep(0.1)
    virsh = ['virsh', '-c', f'qemu+unix:///session?socket={socket}']
    run = lambda *words: subprocess.run([*virsh, *words], env=env, cwd=home, capture_output=True, text=True, timeout=180, **who)
    if run('uri').returncode:
        skip('libvirtd does not start here: ' + open(home + '/log').read()[-500:])
    if "<domain type='kvm'" not in run('domcapabilities', '--virttype', 'kvm').stdout and \
       '<domain>kvm' not in run('domcapabilities', '--virttype', 'kvm').stdout:
        skip('libvirtd finds no KVM that it may use')
    bad = fragments(home, run)
    for path in inputs('domain'):
        if path.name in OURS_ALONE:
            continue
        name = re.search('<name>(.*?)</name>', path.read_text()).group(1)
        copy = pathlib.Path(home, 'domain.xml')
        copy.write_text(path.read_text())
        copy.chmod(0o644)
        answer = run('define', str(copy))
        if answer.returncode:
            print(f'{path.name}: libvirtd refuses it: {answer.stderr}')
            bad += 1
            continue
        bad += compare(path.name, run('dumpxml', '--inactive', '--security-info', name).stdout, ours('domain', path.read_text()))
        run('undefine', '--nvram', name)
    return bad


def test():
    if not shutil.which('virsh'):
        skip('virsh is not installed')
    rows = {'domain-test': ('define', 'dumpxml'), 'network': ('net-define', 'net-dumpxml'), 'pool': ('pool-define', 'pool-dumpxml')}
    bad = 0
    for folder, (define, dump) in rows.items():
        for path in inputs(folder):
            name = re.search('<name>(.*?)</name>', path.read_text()).group(1)
            answer = subprocess.run(['virsh', '-q', '-c', 'test:///default', f'{define} {path}; {dump} {name}'], capture_output=True,
                                    text=True, timeout=180, env=dict(os.environ, LANG='C'))
            theirs = answer.stdout[max(answer.stdout.find('<'), 0):]
            theirs = re.sub(r'(capacity|available) unit=.bytes.>\d+', r"\1 unit='bytes'>0", theirs)
            bad += compare(f'{folder}/{path.name}', theirs, ours(folder, path.read_text()))
    return bad


sys.exit(1 if {'golden': golden, 'docs': docs, 'schema': schema, 'libvirt': libvirt, 'test': test}[case]() else 0)
