#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kvd and its host, by stock virsh: devices and interfaces beside libvirtd's answers, secrets, where threads run, what limits are kept.
usage: kvd-host.py KVD KV-VMM TEST-CGROUP SOURCE-ROOT CASE...   Exit status 77: virsh or a kernel is missing."""
import functools
import importlib
import os
import re
import stat
import subprocess
import sys
import time

import cases
from cases import Skipped, check

kv = importlib.import_module('kvd-kv')
UUID = '0a81f5b2-8403-7b23-c8d6-21ccc2f80d6%d'


def case_devices(bed):
    """Node devices and interfaces of this host: the same lists and XML as libvirtd's."""
    from libvirtd import Libvirtd, need  # skips by itself
    need('libvirtd')
    with Libvirtd('qemu+unix:///session') as uri:
        def theirs(*words):
            done = subprocess.run(['virsh', '-q', '-c', uri, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=kv.LIMIT,
                                  env=dict(os.environ, LC_ALL='C'), check=False)
            return done.stdout.decode().strip()

        def same(*words):
            done = bed.run(*words, fails=None).stdout.decode().strip()
            other = theirs(*words)
            check(done == other, ' '.join(words), f'--- libvirt\n{other}\n--- kvd\n{done}')
            return done

        # Kinds that kvd does not list: what udev alone knows.
        kinds = 'system,pci,usb_device,usb,net,scsi_host,scsi_target,scsi,storage'
        names = same('nodedev-list', '--cap', kinds).split()
        check('computer' in names and len(names) > 2, 'hardly a device', *names)
        for name in names:
            same('nodedev-info', name)
            ours, other = bed.virsh('nodedev-dumpxml', name), theirs('nodedev-dumpxml', name)
            # <pci-express> is read from the configuration space, which is root's.
            other = re.sub(r' *<pci-express>.*?</pci-express>\n', '', other, flags=re.S)
            check(ours == other, name, f'--- libvirt\n{other}\n--- kvd\n{ours}')
        same('nodedev-dumpxml', 'nosuch')
        same('nodedev-list', '--cap', 'nosuch')
        for line in same('iface-list', '--all').splitlines():
            same('iface-dumpxml', line.split()[0])
        same('iface-dumpxml', 'nosuch')
        same('iface-destroy', 'lo')
        same('nwfilter-list')
        same('nwfilter-dumpxml', 'nosuch')
        same('secret-list')


def define_secret(bed, number, attributes='', usage='', fails=False):
    path = bed.path('secret.xml')
    with open(path, 'w', encoding='utf-8') as file:
        file.write(f'<secret {attributes}><uuid>{UUID % number}</uuid>{usage}</secret>')
    return bed.virsh('secret-define', path, fails=fails)


def case_secrets(bed):
    """Defined, valued, private, ephemeral; as files of their owner alone, found again by the next daemon."""
    ceph = "<usage type='ceph'><name>client.admin</name></usage>"
    volume = "<usage type='volume'><volume>/var/lib/a.img</volume></usage>"
    define_secret(bed, 0, "private='yes'", volume)
    define_secret(bed, 1, usage=ceph)
    define_secret(bed, 2, "ephemeral='yes'", "<usage type='iscsi'><target>t</target></usage>")
    define_secret(bed, 3)
    check('already defined for use with client.admin' in define_secret(bed, 4, usage=ceph, fails=True), 'a usage twice')
    check('is already defined for use with /var/lib/a.img' in define_secret(bed, 0, "private='yes'", ceph, fails=True), 'another usage')
    check('cannot change private flag' in define_secret(bed, 0, usage=volume, fails=True), 'private no more')
    listed = [line.split() for line in bed.virsh('secret-list').splitlines()]
    check(sorted(listed) == [[UUID % 0, 'volume', '/var/lib/a.img'], [UUID % 1, 'ceph', 'client.admin'], [UUID % 2, 'iscsi', 't'],
                             [UUID % 3, 'Unused']], 'another list', listed)
    check(bed.virsh('secret-list', '--ephemeral').split()[0] == UUID % 2, 'another list of ephemeral ones')
    check(bed.virsh('secret-list', '--no-private', '--no-ephemeral').split()[::3][0] == UUID % 1, 'another list of public ones')

    value = bed.path('value')
    with open(value, 'wb') as file:
        file.write(b'by\0tes\xff')
    watch = subprocess.Popen(['virsh', '-q', '-c', f'qemu+unix:///session?socket={bed.socket}', 'secret-event', '--loop', '--timeout', str(kv.LIMIT),
                              '--event', 'value-changed'], env=bed.environment, stdout=subprocess.PIPE)
    end = time.monotonic() + kv.LIMIT
    os.set_blocking(watch.stdout.fileno(), False)
    while not watch.stdout.read():
        check(time.monotonic() < end, 'no event of a changed value')
        bed.virsh('secret-set-value', UUID % 1, '--file', value, '--plain')
        time.sleep(0.1)
    watch.kill()
    watch.wait()
    for number in 0, 2:
        bed.virsh('secret-set-value', UUID % number, '--file', value, '--plain')
    check(bed.virsh('secret-get-value', UUID % 1) == 'YnkAdGVz/w==', 'another value')
    check(bed.virsh('secret-get-value', UUID % 2) == 'YnkAdGVz/w==', 'another value of an ephemeral one')
    check('secret is private' in bed.virsh('secret-get-value', UUID % 0, fails=True), 'a private value is told')
    check('does not have a value' in bed.virsh('secret-get-value', UUID % 3, fails=True), 'a value from nowhere')

    folder = bed.path('config/kvasir/secrets')
    files = sorted(os.listdir(folder))
    check(files == sorted([UUID % n + '.xml' for n in (0, 1, 3)] + [UUID % n + '.base64' for n in (0, 1)]), 'other files', files)
    for path in [folder] + [os.path.join(folder, name) for name in files]:
        check(not stat.S_IMODE(os.stat(path).st_mode) & 0o077, f'{path} is open to others')
    with open(os.path.join(folder, 'odd.xml'), 'w', encoding='utf-8') as file:
        file.write('<secret>')
    bed.stop()
    bed.start()
    check('odd.xml' in bed.log(), 'a broken file is not told')
    check(len(bed.virsh('secret-list').splitlines()) == 3, 'the ephemeral one is there, or others are not')
    check(bed.virsh('secret-get-value', UUID % 1) == 'YnkAdGVz/w==', 'the value is forgotten')
    for number in 0, 1, 3:
        bed.virsh('secret-undefine', UUID % number)
    check(os.listdir(folder) == ['odd.xml'], 'files are left', os.listdir(folder))
    check('no secret with matching uuid' in bed.virsh('secret-dumpxml', UUID % 1, fails=True), 'it is there')
    bed.virsh('secret-list')
    read_only = subprocess.run(['virsh', '-r', '-q', '-c', f'qemu+unix:///session?socket={bed.socket}-ro', 'secret-get-value', UUID % 1],
                               env=bed.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=kv.LIMIT)
    check(read_only.returncode, 'a value for a reader alone')


def allowed(task):
    """The processors that Linux lets a thread use."""
    with open(f'/proc/{task}/status', encoding='utf-8') as file:
        return re.search(r'Cpus_allowed_list:\s*(\S+)', file.read())[1]


def case_pin(bed):
    """vcpupin and emulatorpin are what the kernel has for the threads, live and at the next start; vcpuinfo and cpu-stats tell it."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise Skipped('one processor')
    first, last = cpus[0], cpus[-1]
    bed.bare('pinned', more=f"<cputune><vcpupin vcpu='0' cpuset='{last}'/></cputune>")
    bed.virsh('start', 'pinned')
    pid = bed.pids()[0]
    threads = {int(name) for name in os.listdir(f'/proc/{pid}/task')}

    def on(cpu):
        return {t for t in threads if allowed(t) == str(cpu)}

    vcpu = on(last)
    check(len(vcpu) == 1 and pid not in vcpu, 'not one vCPU is pinned', sorted(vcpu))
    check(bed.virsh('vcpupin', 'pinned').split() == ['0', str(last)], 'vcpupin says otherwise')
    info = bed.virsh('vcpuinfo', 'pinned')
    check(re.search(r'CPU Affinity: +' + '-' * last + 'y', info) and re.search(r'State: +running', info), 'another vcpuinfo', info)
    bed.virsh('vcpupin', 'pinned', '0', str(first), '--live', '--config')
    check(vcpu <= on(first), 'the thread stays')
    bed.virsh('emulatorpin', 'pinned', str(last), '--live')
    check(on(last) == threads - vcpu, 'not all others are pinned', sorted(on(last)))
    check(bed.virsh('emulatorpin', 'pinned').split()[-1] == str(last), 'emulatorpin says otherwise')
    live, stored = bed.virsh('dumpxml', 'pinned'), bed.virsh('dumpxml', '--inactive', 'pinned')
    check(f"<emulatorpin cpuset='{last}'/>" in live and f"<vcpupin vcpu='0' cpuset='{first}'/>" in live, 'another XML', live)
    check('emulatorpin' not in stored and f"<vcpupin vcpu='0' cpuset='{first}'/>" in stored, 'another stored XML', stored)
    for words, text in ((('vcpupin', 'pinned', '5', '0'), 'vcpu 5 is out of range of live cpu count 1'),
                        (('iothreadpin', 'pinned', '1', '0'), 'iothread 1 not found'),
                        (('cpu-stats', 'pinned'), 'there are no times of each host processor')):
        check(text in bed.virsh(*words, fails=True), text, bed.virsh(*words, fails=True))
    check(re.search(r'cpu_time +[\d.]+ seconds\n.*user_time', bed.virsh('cpu-stats', 'pinned', '--total')), 'no times')
    check(bed.virsh('iothreadinfo', 'pinned') in ('', 'No IOThreads found for the domain'), 'threads from nowhere')
    bed.virsh('destroy', 'pinned')
    check(bed.virsh('vcpupin', 'pinned').split() == ['0', str(first)], 'it is forgotten')
    bed.virsh('undefine', 'pinned')

    bed.bare('node', more="<numatune><memory mode='strict' nodeset='0'/></numatune>")
    bed.virsh('start', 'node')
    check('numa_mode      : strict' in bed.virsh('numatune', 'node'), 'another numatune')
    with open(f'/proc/{bed.pids()[0]}/numa_maps', encoding='utf-8') as file:
        check('bind' in file.read(), 'no policy of memory')
    check('running domain' in bed.virsh('numatune', 'node', '--nodeset', '0', '--live', fails=True), 'changed while it runs')
    bed.virsh('destroy', 'node')
    bed.virsh('numatune', 'node', '--nodeset', '60', '--config')
    check('NUMA node 60 is unavailable' in bed.virsh('start', 'node', fails=True), 'a node that is not there')
    bed.virsh('undefine', 'node')


def controllers():
    """Of cgroups of version 2, if a folder for groups can be written here; else none."""
    for mount in '/sys/fs/cgroup', '/sys/fs/cgroup/unified':
        path = os.path.join(mount, 'cgroup.controllers')
        if os.path.exists(path):
            with open(path, encoding='utf-8') as file, open('/proc/self/cgroup', encoding='utf-8') as own:
                group = re.search('^0::(.*)$', own.read(), re.M)[1]
                return file.read().split() if os.access(mount + group, os.W_OK) else []
    return []


def case_limits(bed):
    """Where cgroups are ours, limits are kept; where not, they are refused at the start, in words, and never ignored."""
    there = controllers()
    bed.bare('limited', more='<memtune><hard_limit>1048576</hard_limit></memtune><cputune><shares>50</shares></cputune>')
    check(re.search('cpu_shares +: 50', bed.virsh('schedinfo', 'limited', '--config')), 'shares are not told')
    check(re.search('hard_limit +: 1048576', bed.virsh('memtune', 'limited')), 'the limit is not told')
    if 'cpu' in there and 'memory' in there:
        bed.virsh('start', 'limited')
        check(re.search('cpu_shares +: 50', bed.virsh('schedinfo', 'limited')), 'other shares in the kernel')
        bed.virsh('schedinfo', 'limited', '--set', 'cpu_shares=70', '--live')
        with open(f'/proc/{bed.pids()[0]}/cgroup', encoding='utf-8') as file:
            check('/machine-' in file.read(), 'no group of its own')
        bed.virsh('destroy', 'limited')
    else:
        text = bed.virsh('start', 'limited', fails=True)
        check('the limit <cputune/shares> cannot be kept' in text, 'refused in other words', text)
        bed.wait('shut off (failed)', 'limited')
    bed.virsh('memtune', 'limited', '--hard-limit', '-1', '--config')
    bed.virsh('memtune', 'limited', '--swap-hard-limit', '2000000', '--hard-limit', '1000000', '--config')
    check('lower than or equal' in bed.virsh('memtune', 'limited', '--hard-limit', '3000000', '--config', fails=True), 'more than with swap')
    check('out of range' in bed.virsh('schedinfo', 'limited', '--set', 'vcpu_quota=5', '--config', fails=True), 'a quota of 5')
    bed.virsh('blkiotune', 'limited', '--weight', '500', '--device-read-bytes-sec', '/dev/vda,1000000,/dev/vdb,2', '--config')
    xml = bed.virsh('dumpxml', 'limited')
    check("<path>/dev/vdb</path>\n      <read_bytes_sec>2</read_bytes_sec>" in xml and '<weight>500</weight>' in xml, 'another XML', xml)
    bed.virsh('blkiotune', 'limited', '--device-read-bytes-sec', '/dev/vda,0,/dev/vdb,0', '--config')
    check('/dev/vd' not in bed.virsh('dumpxml', 'limited'), 'rows are left')
    bed.virsh('undefine', 'limited')
    bed.bare('free')
    bed.virsh('start', 'free')
    if 'cpu' not in there:
        text = bed.virsh('schedinfo', 'free', '--set', 'cpu_shares=70', '--live', fails=True)
        check('cannot be kept' in text, 'refused in other words', text)
    bed.virsh('destroy', 'free')
    bed.virsh('undefine', 'free')


def case_kernel(bed, program):
    """Limits with Linux's own cgroups: in a guest, by the unit test's program."""
    kernel, program = bed.kernel(), os.path.abspath(program)
    subprocess.run([os.path.join(bed.root, 'tools/make-initrd'), bed.path('cgroups'), program], check=True, stdout=subprocess.DEVNULL)
    with open(bed.path('disk'), 'wb') as file:
        file.truncate(1 << 20)
    command = ('mount -t cgroup2 cgroup2 /sys/fs/cgroup && echo +cpu +memory +io >/sys/fs/cgroup/cgroup.subtree_control && '
               + program + ' kernel')
    done = subprocess.run(['timeout', '-s', 'KILL', '180', bed.vmm, '--kernel', kernel, '--initrd', bed.path('cgroups'), '--memory', '512M',
                           '--disk', bed.path('disk'), '--append', f'console=ttyS0 quiet kv.run="{command}"'], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = done.stdout.decode(errors='replace')
    check('@exit 0' in text, 'it fails in the guest', text)


def case_messages(bed):
    """What a definition has and the machine does nothing of is told: dominfo, and the log when it starts."""
    bed.bare('hinted', more="<features><hyperv><relaxed state='on'/></hyperv></features>")
    check('<features/hyperv> is kept, without an effect' in bed.virsh('dominfo', 'hinted'), 'no message', bed.virsh('dominfo', 'hinted'))
    bed.virsh('start', 'hinted')
    check("domain 'hinted': kept, without an effect: <features/hyperv>" in bed.log(), 'not in the log', bed.log())
    bed.virsh('destroy', 'hinted')
    bed.virsh('undefine', 'hinted')


def main():
    kvd, vmm, program, root, *names = sys.argv[1:]
    functions = {'case_kernel': functools.partial(case_kernel, program=program)}
    for name, function in globals().items():
        if name.startswith('case_') and name not in functions:
            functions[name] = function

    def wrap(function):
        def case(bed):
            try:
                function(bed)
            finally:
                bed.close()
                bed.start()
        return case

    functions = {name: wrap(function) for name, function in functions.items()}
    made = []

    def make(folder):
        made.append(kv.Bed(kvd, vmm, root, folder))
        return made[0]

    try:
        return cases.run(functions, names, make)
    finally:
        if made and made[0].process.poll() is None:
            made[0].process.kill()


if __name__ == '__main__':
    sys.exit(main())
