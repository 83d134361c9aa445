# SPDX-License-Identifier: GPL-2.0-or-later
"""kvd against libvirtd, both a user's own, the same definitions and stock libvirt-python as the client of both; kvsh against virsh.
Called by bench/run (manage)."""
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
import uuid

from . import report, start

DOMAINS = 1000
TRIPS = 2000
LISTS = 500
EVENTS, CLIENTS = 1000, 20
NOBODY = 65534
XML = """<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>512</memory><vcpu>2</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/><apic/></features>
<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/tmp/{name}.qcow2'/>
<target dev='vda' bus='virtio'/></disk>
<interface type='user'><model type='virtio'/></interface><serial type='pty'/><graphics type='vnc' autoport='yes'/></devices></domain>"""


# A guest of a few bytes that writes one to its serial port: ours starts it as a kernel, QEMU as a firmware, its fastest ways.
FIRST = """<domain type='qemu'><name>first</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='{machine}'>hvm</type>{boot}</os>
<devices><controller type='usb' model='none'/><serial type='file'><source path='{path}'/></serial><memballoon model='none'/></devices>
</domain>"""


class Daemon:
    """One that can be started again with what it has kept."""

    def __init__(self, folder, name, command, sock, user=None):
        self.dir, self.name, self.command, self.sock = f'{folder}/{name}', name, command, sock.format(dir=f'{folder}/{name}')
        self.user = {'user': user, 'group': user, 'extra_groups': []} if user and os.getuid() == 0 else {}
        for part in ('run', 'conf', 'cache', 'home', 'state', 'sock'):
            os.makedirs(f'{self.dir}/{part}')
            if self.user:
                os.chown(f'{self.dir}/{part}', user, user)
        self.process = None

    def start(self, libvirt):
        """Milliseconds until it answers a first call."""
        env = {'PATH': os.environ['PATH'] + ':/usr/sbin', 'HOME': f'{self.dir}/home', 'XDG_RUNTIME_DIR': f'{self.dir}/run',
               'XDG_CONFIG_HOME': f'{self.dir}/conf', 'XDG_CACHE_HOME': f'{self.dir}/cache', 'XDG_STATE_HOME': f'{self.dir}/state'}
        if os.path.exists(self.sock):
            os.unlink(self.sock)
        begin = time.monotonic()
        self.process = subprocess.Popen([word.format(dir=self.dir) for word in self.command], env=env, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, **self.user)
        while time.monotonic() < begin + 60:
            try:
                self.connection = libvirt.open(f'qemu+unix:///session?socket={self.sock}')
                self.connection.numOfDomains()
                return 1000 * (time.monotonic() - begin)
            except libvirt.libvirtError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.0005)
        sys.exit(f'manage: {self.name} does not start')

    def stop(self):
        self.connection.close()
        self.process.terminate()
        self.process.wait(30)

    def memory(self):
        """MiB, proportional."""
        with open(f'/proc/{self.process.pid}/smaps_rollup', encoding='ascii') as file:
            return next(int(line.split()[1]) for line in file if line.startswith('Pss:')) / 1024

    def cpu(self):
        with open(f'/proc/{self.process.pid}/stat', encoding='ascii') as file:
            fields = file.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def definitions():
    return [XML.format(name=f'guest{n}', uuid=uuid.uuid4()) for n in range(DOMAINS)]


def milliseconds(function):
    begin = time.monotonic()
    function()
    return 1000 * (time.monotonic() - begin)


def command(words):
    return milliseconds(lambda: subprocess.run(words, check=True, stdout=subprocess.DEVNULL))


def first_byte(connection, xml, path):
    """Milliseconds from the call that creates the machine until its first byte is in the file."""
    seen = []

    def watch():
        while not seen and time.monotonic() < begin + 30:
            try:
                if os.stat(path).st_size:
                    seen.append(time.monotonic())
            except FileNotFoundError:
                pass
            time.sleep(0.0002)
    begin = time.monotonic()
    watcher = threading.Thread(target=watch)
    watcher.start()
    domain = connection.createXML(xml, 0)
    watcher.join()
    domain.destroy()
    os.unlink(path)
    if not seen:
        sys.exit(f'manage: nothing in {path}')
    return 1000 * (seen[0] - begin)


def load(programs, *words):
    """What rpc-load prints, ms."""
    done = subprocess.run([f'{programs}/rpc-load', *map(str, words)], check=True, capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()]


def list_cpu(daemon):
    before = daemon.cpu()
    for _ in range(LISTS):
        daemon.connection.listAllDomains()
    return 1000 / LISTS * (daemon.cpu() - before)


def measure(daemon, shell, libvirt, texts, first, programs, put):
    c = daemon.connection
    for _ in range(5):
        put('start of a machine to its first serial byte', first_byte(c, *first))
        put(f'{EVENTS} events to {CLIENTS} clients', load(programs, daemon.sock, 'events', CLIENTS, EVENTS)[0])
        median, percentile = load(programs, daemon.sock, 'trips', TRIPS)
        put('RPC, a round trip: median', median)
        put('RPC, a round trip: 99th percentile', percentile)
    trips = [milliseconds(c.getLibVersion) for _ in range(TRIPS)]
    put('RPC from libvirt-python, a round trip: median', statistics.median(trips))
    put('RPC from libvirt-python, a round trip: 99th percentile', statistics.quantiles(trips, n=100)[98])
    define = milliseconds(lambda: [c.defineXML(text) for text in texts])
    put(f'define {DOMAINS}', define)
    put(f'list {DOMAINS}: CPU of the server', list_cpu(daemon))
    uri = f'qemu+unix:///session?socket={daemon.sock}'
    for _ in range(5):
        put(f'list {DOMAINS}: the whole command', command([shell, '-c', uri, 'list', '--all']))
        put('a command: uri', command([shell, '-c', uri, 'uri']))
    daemon.stop()
    for _ in range(3):
        put(f'start with {DOMAINS} definitions', daemon.start(libvirt))
        put(f'memory with {DOMAINS} definitions, MiB', daemon.memory())
        if _ < 2:
            daemon.stop()
    domains = daemon.connection.listAllDomains()
    undefine = milliseconds(lambda: [domain.undefine() for domain in domains])
    put(f'undefine {DOMAINS}', undefine)
    put(f'define and undefine {DOMAINS}', define + undefine)


def run(context):
    sys.path.insert(0, '/usr/lib/python3/dist-packages')
    try:
        import libvirt
    except ImportError:
        sys.exit('manage: needs python3-libvirt, libvirt-daemon-driver-qemu and libvirt-clients')
    libvirt.registerErrorHandler(lambda *_: None, None)
    build = os.path.abspath(context.args.build)
    folder = context.folder
    os.chmod(folder, 0o711)
    start.write_kernel(f'{folder}/kernel')
    start.write_firmware(f'{folder}/firmware')
    first = {'ours': ('micro', f'<kernel>{folder}/kernel</kernel>'),
             'libvirt': ('q35', f"<loader readonly='yes' type='rom'>{folder}/firmware</loader>")}
    rows = {}
    for number in range(context.args.runs):
        place = f'{folder}/manage{number}'
        daemons = {
            'ours': (Daemon(place, 'kvd', [f'{build}/src/daemon/kvd', '--session', '--socket', '{dir}/sock/kvd', '--vmm', context.args.vmm],
                            '{dir}/sock/kvd'), f'{build}/src/cli/kvsh'),
            'libvirt': (Daemon(place, 'libvirtd', ['libvirtd', '--config', '{dir}/libvirtd.conf', '--pid-file', '{dir}/sock/pid'],
                               '{dir}/sock/libvirt-sock', NOBODY), 'virsh'),
        }
        with open(f'{place}/libvirtd/libvirtd.conf', 'w', encoding='utf-8') as conf:
            conf.write(f'auth_unix_rw = "none"\nunix_sock_dir = "{place}/libvirtd/sock"\n')
        texts = definitions()
        for column in list(daemons)[::1 if number % 2 else -1]:
            daemon, shell = daemons[column]
            daemon.start(libvirt)
            try:
                path = f'{daemon.dir}/state/serial'
                machine, boot = first[column]
                measure(daemon, shell, libvirt, texts, (FIRST.format(machine=machine, boot=boot, path=path), path), context.programs,
                        lambda row, value: rows.setdefault(row, {}).setdefault(column, []).append(value))
            finally:
                daemon.stop()
        shutil.rmtree(place)
    report.matrix('Management: kvd and kvsh, libvirtd and virsh', 'ms, but memory', ('ours', 'libvirt'), rows, {}, context.results)
