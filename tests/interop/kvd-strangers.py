#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of others with kvd, as their users call them: virt-install, virt-xml, Pacemaker's VirtualDomain, clients in Python that do
what an exporter of statistics and a provisioner do.
usage: kvd-strangers.py KVD KV-VMM SOURCE-ROOT CASE...   Exit status 77: a program is missing."""
import importlib
import os
import re
import shutil
import struct
import subprocess
import sys
import time

import cases
from cases import Skipped, check

kv = importlib.import_module('kvd-kv')
LIMIT = 120
AGENT = '/usr/lib/ocf/resource.d/heartbeat/VirtualDomain'
WORDS = b'kv-boots\r\n'


def need(*programs):
    for program in programs:
        if not os.path.exists(program) and not shutil.which(program):
            raise Skipped(f'no {program} (tools/install-deps test)')


def boot_sector():
    """16-bit code that says WORDS on the first serial port and halts."""
    code = bytearray(b'\xfa\x31\xc0\x8e\xd8\xfc\xbe\0\0')      # cli; ds = 0; cld; mov si, the words
    code += b'\xac\x84\xc0\x74\x06\xba\xf8\x03\xee\xeb\xf5'    # lodsb; test al, al; jz the end; out 3f8h, al; again
    code += b'\xf4\xeb\xfd'                                    # hlt for ever
    code[7:9] = (0x7c00 + len(code)).to_bytes(2, 'little')
    return bytes(code + WORDS + b'\0').ljust(510, b'\0') + b'\x55\xaa'


def boot_disk(bed, name):
    path = bed.path(name)
    with open(path, 'wb') as file:
        file.write(boot_sector().ljust(1 << 20, b'\0'))
    return path


def uri(bed):
    return f'qemu+unix:///session?socket={bed.socket}'


def run(bed, *words, fails=False, **more):
    done = subprocess.run(words, env=dict(bed.environment, VIRTINSTALL_OSINFO_DISABLE_REQUIRE='1', **more), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT, check=False)
    text = done.stdout.decode(errors='replace')
    check(bool(done.returncode) == fails, f'{" ".join(words)}: status {done.returncode}', text, bed.log())
    return text


def virt_install(bed, name, *words):
    need('virt-install', '/usr/share/seabios/bios-256k.bin')
    vcpus = [] if '--vcpus' in words else ['--vcpus', '1']
    return run(bed, 'virt-install', '--connect', uri(bed), '--name', name, '--memory', '128', *vcpus, '--network', 'user',
               '--noautoconsole', *words)


def says(bed, name, word):
    """A machine that was paused at its start says it on its console."""
    console = bed.console(name)
    bed.virsh('reset', name)
    console.wait(word)
    console.close()


def end(bed, name):
    bed.virsh('destroy', name)
    bed.virsh('undefine', name)


def case_import(bed):
    """virt-install --import for a system it knows and one it does not; virt-xml changes it; virt-clone's questions."""
    disk = boot_disk(bed, 'import.img')
    virt_install(bed, 'known', '--import', '--disk', f'path={disk},format=raw', '--osinfo', 'debian11')
    says(bed, 'known', 'kv-boots')
    run(bed, 'virt-xml', '--connect', uri(bed), 'known', '--edit', '--metadata', 'title=changed', '--define')
    run(bed, 'virt-xml', '--connect', uri(bed), 'known', '--edit', '--vcpus', '2', '--define')
    xml = bed.virsh('dumpxml', '--inactive', 'known')
    check('<title>changed</title>' in xml and re.search('<vcpu[^>]*>2</vcpu>', xml), 'virt-xml changed nothing', xml)
    run(bed, 'virt-xml', '--connect', uri(bed), 'known', '--remove-device', '--rng', 'all', '--define')
    check('<rng' not in bed.virsh('dumpxml', '--inactive', 'known'), 'the generator stays')
    end(bed, 'known')
    virt_install(bed, 'unknown', '--import', '--disk', f'path={disk},format=raw', '--osinfo', 'generic')
    check("model='qemu-xhci'" in bed.virsh('dumpxml', 'unknown'), 'no xHCI in the place of USB 2')
    end(bed, 'unknown')


def case_vcpus(bed):
    """virt-install --vcpus with a maximum: one processor at the start, and more when they are asked for."""
    disk = boot_disk(bed, 'vcpus.img')
    virt_install(bed, 'grows', '--import', '--disk', f'path={disk},format=raw', '--osinfo', 'debian11', '--vcpus', '1,maxvcpus=4')
    says(bed, 'grows', 'kv-boots')
    bed.virsh('setvcpus', 'grows', '3', '--live', '--config')
    check(re.findall(r'\d+', bed.virsh('vcpucount', 'grows')) == ['4', '4', '3', '3'], 'other counts', bed.virsh('vcpucount', 'grows'))
    check(bed.virsh('vcpuinfo', 'grows').count('VCPU:') == 3, 'other vCPUs', bed.virsh('vcpuinfo', 'grows'))
    # Nobody is there who would let go of one.
    check('vcpu unplug request timed out' in bed.virsh('setvcpus', 'grows', '2', '--live', fails=True), 'it goes')
    end(bed, 'grows')


def case_cdrom(bed):
    """virt-install --cdrom: from a CD first, without it once it is installed; a disk that is made for it."""
    need('xorriso')
    os.mkdir(bed.path('cd'))
    with open(bed.path('cd/boot'), 'wb') as file:
        file.write(boot_sector().ljust(2048, b'\0'))
    run(bed, 'xorriso', '-as', 'mkisofs', '-quiet', '-o', bed.path('cd.iso'), '-b', 'boot', '-no-emul-boot', '-boot-load-size', '4',
        bed.path('cd'))
    virt_install(bed, 'cd', '--cdrom', bed.path('cd.iso'), '--disk', f'path={bed.path("new.qcow2")},size=1', '--osinfo', 'debian11')
    says(bed, 'cd', 'kv-boots')
    check(bed.path('cd.iso') not in bed.virsh('dumpxml', '--inactive', 'cd'), 'the CD stays in')
    end(bed, 'cd')


def case_location(bed):
    """virt-install --location: a kernel and initrd of a tree, for the first time only."""
    kernel, initrd, _ = bed.guest()
    os.mkdir(bed.path('tree'))
    shutil.copy(kernel, bed.path('tree/linux'))
    shutil.copy(initrd, bed.path('tree/initrd.gz'))
    script = bed.path('guest/script')
    virt_install(bed, 'tree', '--location', f'{bed.path("tree")},kernel=linux,initrd=initrd.gz', '--disk', 'none', '--osinfo', 'debian11',
                 '--graphics', 'none', '--extra-args', f'console=ttyS0 quiet kv.run="sh {script}"')
    console = bed.console('tree')
    console.greet()
    console.close()
    check('<kernel>' in bed.virsh('dumpxml', 'tree') and '<kernel>' not in bed.virsh('dumpxml', '--inactive', 'tree'),
          'the kernel is for ever')
    end(bed, 'tree')


def case_cloud_init(bed):
    """virt-install --cloud-init: an ISO with the user's data at the first start alone."""
    need('xorriso')
    with open(bed.path('user-data'), 'w', encoding='utf-8') as file:
        file.write('#cloud-config\nhostname: kv\n')
    disk = boot_disk(bed, 'cloud.img')
    virt_install(bed, 'cloud', '--import', '--cloud-init', f'user-data={bed.path("user-data")}', '--disk', f'path={disk},format=raw',
                 '--osinfo', 'debian11')
    seed = re.search("<source file='([^']*cloudinit[^']*)'", bed.virsh('dumpxml', 'cloud'))
    check(seed, 'no ISO of cloud-init', bed.virsh('dumpxml', 'cloud'))
    check('cloudinit' not in bed.virsh('dumpxml', '--inactive', 'cloud'), 'it stays in')
    end(bed, 'cloud')


def case_pacemaker(bed):
    """The agent VirtualDomain of Pacemaker: started, watched, stopped; a machine that died is seen."""
    need(AGENT)
    bed.bare('clustered')
    config = bed.path('clustered.xml')
    with open(config, 'w', encoding='utf-8') as file:
        file.write(bed.virsh('dumpxml', 'clustered'))
    bed.virsh('undefine', 'clustered')
    os.mkdir(bed.path('ha'))
    more = dict(OCF_ROOT='/usr/lib/ocf', OCF_RESOURCE_INSTANCE='clustered', OCF_RESKEY_config=config, OCF_RESKEY_hypervisor=uri(bed),
                OCF_RESKEY_CRM_meta_timeout='60000', OCF_RESKEY_force_stop='1', HA_RSCTMP=bed.path('ha'), HA_LOGFILE=bed.path('ha/log'),
                OCF_RESKEY_autoset_utilization_cpu='false', OCF_RESKEY_autoset_utilization_hv_memory='false',
                VIRSH_DEFAULT_CONNECT_URI=uri(bed), PATH=bed.environment['PATH'] + ':/usr/sbin:/sbin')

    def agent(action, status):
        done = subprocess.run([AGENT, action], env=dict(bed.environment, **more), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=LIMIT, check=False)
        check(done.returncode == status, f'{action}: status {done.returncode}, not {status}', done.stdout.decode(), bed.log())
        return done.stdout.decode()

    success, not_running = 0, 7
    agent('validate-all', success)
    agent('monitor', not_running)
    agent('start', success)
    agent('monitor', success)
    agent('status', success)
    agent('stop', success)
    agent('monitor', not_running)
    agent('stop', success)
    agent('start', success)
    os.kill(bed.pids()[0], 9)
    bed_gone = time.monotonic() + LIMIT
    while bed.pids():
        check(time.monotonic() < bed_gone, 'it is not seen to have gone')
        time.sleep(0.1)
    agent('monitor', not_running)
    agent('stop', success)


EXPORTER = """
import libvirt, sys
import xml.etree.ElementTree as tree
c = libvirt.openReadOnly(sys.argv[1])
for number in c.listDomainsID():
    d = c.lookupByID(number)
    root = tree.fromstring(d.XMLDesc(0))
    state, most, memory, cpus, time = d.info()
    print('info', d.name(), state, most, memory, cpus)
    for disk in root.findall('devices/disk'):
        if disk.get('device') not in ('cdrom', 'fd'):
            print('disk', d.blockStats(disk.find('target').get('dev')))
    for card in root.findall('devices/interface'):
        if card.find('target') is not None:
            print('card', d.interfaceStats(card.find('target').get('dev')))
for d, stats in c.getAllDomainStats():
    print('stats', d.name(), stats['state.state'], stats['vcpu.current'], stats['balloon.current'], stats['block.count'])
print('secrets', c.listAllSecrets(), 'filters', c.listAllNWFilters(), 'devices', len(c.listAllDevices()) > 1, 'interfaces',
      len(c.listAllInterfaces()) > 0)
"""

PROVISIONER = """
import libvirt, sys
c = libvirt.open(sys.argv[1])
folder, image = sys.argv[2:]
print(c.getLibVersion(), c.getHostname())
pool = c.storagePoolDefineXML(f"<pool type='dir'><name>p</name><target><path>{folder}</path></target></pool>", 0)
pool.build(0)
pool.create(0)
pool.setAutostart(1)
pool.refresh(0)
size = len(open(image, 'rb').read())
volume = pool.createXML(f"<volume><name>disk</name><capacity unit='bytes'>{size}</capacity><target><format type='raw'/></target></volume>", 0)
stream = c.newStream(0)
volume.upload(stream, 0, size, 0)
stream.sendAll(lambda s, n, f: f.read(n), open(image, 'rb'))
stream.finish()
network = c.networkDefineXML("<network><name>n</name><forward mode='nat'/><ip address='10.9.0.1' netmask='255.255.255.0'/></network>")
print(network.isActive(), network.isPersistent(), network.autostart())
secret = c.secretDefineXML("<secret><usage type='ceph'><name>tf</name></usage></secret>", 0)
secret.setValue(b'value')
d = c.defineXML(f'''<domain type='qemu'><name>made</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><devices><disk type='file' device='disk'><driver name='qemu' type='raw'/>
<source file='{volume.path()}'/><target dev='vda' bus='virtio'/></disk><serial type='pty'/></devices></domain>''')
d.create()
print(d.state(0), d.isActive(), open(volume.path(), 'rb').read() == open(image, 'rb').read())
d.destroyFlags(0)
d.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
volume.delete(0)
pool.destroy()
pool.delete(0)
pool.undefine()
network.undefine()
secret.undefine()
print('all gone', not c.listAllDomains() and not c.listAllStoragePools() and not c.listAllSecrets())
"""


def python(bed, script, *words):
    need('/usr/bin/python3')
    if subprocess.run(['/usr/bin/python3', '-c', 'import libvirt'], stderr=subprocess.DEVNULL, check=False).returncode:
        raise Skipped('no libvirt-python')
    return run(bed, '/usr/bin/python3', '-c', script, *words)


def case_exporter(bed):
    """What an exporter of statistics asks of all that runs, over the read-only socket, and lists of what there is not."""
    bed.board('seen', "<disk type='file'><driver name='qemu' type='raw'/>"
              f"<source file='{boot_disk(bed, 'seen.img')}'/><target dev='vda' bus='virtio'/></disk><serial type='pty'/>")
    bed.virsh('start', 'seen')
    text = python(bed, EXPORTER, uri(bed) + '-ro')
    check(re.search(r'info seen 1 131072 131072 1\ndisk \(\d+, \d+, \d+, \d+, -1\)\nstats seen 1 1 131072 1\n', text), 'other facts', text)
    check('secrets [] filters [] devices True interfaces True' in text, 'other lists', text)
    end(bed, 'seen')


def case_provisioner(bed):
    """As Terraform does: a pool, a volume with an image through a stream, a network, a secret, a machine; and all away again."""
    need('/usr/share/seabios/bios-256k.bin')
    os.mkdir(bed.path('pool'))
    text = python(bed, PROVISIONER, uri(bed), bed.path('pool'), boot_disk(bed, 'image'))
    check('[1, 1] 1 True' in text and 'all gone True' in text, 'another course', text)


def picture(path):
    """Width, height and how many pixels are not black, of what Xvfb has in a file (X11's XWD, 32 bits a pixel)."""
    with open(path, 'rb') as file:
        data = file.read()
    head = struct.unpack('>25I', data[:100])
    size, width, height, line, colors = head[0], head[4], head[5], head[12], head[19]
    pixels = data[size + colors * 12:]
    lit = sum(1 for y in range(0, height, 2) for x in range(0, width * 4, 8) if pixels[y * line + x:y * line + x + 3] != bytes(3))
    return width, height, lit


def case_viewer(bed):
    """virt-viewer finds a machine's screen and shows what its firmware writes."""
    need('virt-viewer', 'Xvfb', '/usr/share/seabios/bios-256k.bin')
    bed.board('shown', "<disk type='file'><driver name='qemu' type='raw'/>"
              f"<source file='{boot_disk(bed, 'shown.img')}'/><target dev='vda' bus='virtio'/></disk><serial type='pty'/>"
              "<graphics type='vnc' port='-1'/><video><model type='vga'/></video>")
    bed.virsh('start', 'shown')
    os.mkdir(bed.path('fb'))
    number, other = os.pipe()
    screen = subprocess.Popen(['Xvfb', '-displayfd', str(other), '-screen', '0', '800x600x24', '-fbdir', bed.path('fb')], pass_fds=[other],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    viewer = None
    try:
        os.close(other)
        display = os.read(number, 16).decode().strip()
        check(display, 'Xvfb does not start')
        viewer = subprocess.Popen(['virt-viewer', '-c', uri(bed), '--full-screen', 'shown'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  env=dict(bed.environment, DISPLAY=':' + display, GDK_BACKEND='x11', NO_AT_BRIDGE='1', HOME=bed.folder))
        until = time.monotonic() + LIMIT
        frame = bed.path('fb/Xvfb_screen0')
        # A window with nothing in it is one colour, or black; SeaBIOS's letters are a few hundred pixels.
        while not 100 < picture(frame)[2] < 30000:
            check(viewer.poll() is None, 'virt-viewer has ended')
            check(time.monotonic() < until, 'virt-viewer shows nothing', str(picture(frame)))
            time.sleep(0.3)
    finally:
        for process in viewer, screen:
            if process:
                process.kill()
                process.wait()
        os.close(number)
    end(bed, 'shown')


def main():
    kvd, vmm, root, *names = sys.argv[1:]

    def wrap(function):
        def case(bed):
            try:
                function(bed)
            finally:
                bed.close()
        return case

    functions = {name: wrap(function) for name, function in globals().items() if name.startswith('case_')}
    return cases.run(functions, names, lambda folder: kv.Bed(kvd, vmm, root, folder))


if __name__ == '__main__':
    sys.exit(main())
