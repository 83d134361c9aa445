#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""vCPUs that come to a running machine of kvd's and go, as stock virsh and libvirt's Python have them, with a Linux that uses them.
usage: kvd-vcpus.py KVD KV-VMM SOURCE-ROOT CASE...   Exit status 77: virsh, a kernel or firmware is missing."""
import importlib
import os
import re
import sys

from cases import Skipped, check

kv = importlib.import_module('kvd-kv')
GUEST = """cd /sys/devices/system/cpu
echo guest-up
while :; do
	for c in cpu[0-9]*/online; do [ $(cat $c) = 1 ] || echo 1 >$c; done 2>/dev/null
	now=$(grep -c ^processor /proc/cpuinfo)
	[ x$now = x$last ] || echo guest-cpus-$now.
	last=$now
	sleep 0.1
done
"""
DOMAIN = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>256</memory>{vcpus}<os>
<type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel><initrd>{initrd}</initrd><cmdline>{cmdline}</cmdline></os>
<features><acpi/><apic/></features>{more}<devices><serial type='file'><source path='{console}'/></serial></devices></domain>
"""


class Machine:
    def __init__(self, bed, name, vcpus, more=''):
        for path in ('/usr/share/seabios/bios-256k.bin', '/usr/share/qemu/linuxboot_dma.bin'):
            if not os.path.exists(path):
                raise Skipped(f'no {path} (tools/install-deps test)')
        kv.SCRIPT = GUEST
        kernel, initrd, cmdline = bed.guest()
        self.bed, self.name, self.console = bed, name, bed.path(f'{name}.console')
        with open(bed.path(f'{name}.xml'), 'w', encoding='utf-8') as file:
            file.write(DOMAIN.format(name=name, vcpus=vcpus, kernel=kernel, initrd=initrd, cmdline=cmdline, more=more, console=self.console))
        bed.virsh('define', bed.path(f'{name}.xml'))

    def virsh(self, command, *words, fails=False):
        return self.bed.virsh(command, self.name, *words, fails=fails)

    def sees(self, number, times=1):
        """The guest has said so, as often."""
        def said():
            with open(self.console, encoding='utf-8', errors='replace') as file:
                return file.read().count(f'guest-cpus-{number}.') >= times
        self.bed.wait_for(lambda: os.path.exists(self.console) and said(), f'the guest does not see {number} processors')

    def goes(self, live, command, *words):
        """Some go, and these stay: kvd waits for the guest for seconds, which may not be enough for it."""
        done = self.bed.run(command, self.name, *words, fails=None)
        if done.returncode:
            check(b'vcpu unplug request timed out' in done.stdout, f'{command} {words}', done.stdout.decode())
        self.bed.wait_for(lambda: self.live() == live, f'others than {live}')
        if done.returncode and '--config' in words:
            self.virsh(command, *[word for word in words if word != '--live'])

    def counts(self):
        """maximum config, maximum live, current config, current live."""
        return [int(word) for word in re.findall(r'\d+', self.virsh('vcpucount'))]

    def live(self):
        return [int(n) for n in re.findall(r'^VCPU:\s+(\d+)', self.virsh('vcpuinfo'), re.M)]

    def refused(self, text, command, *words):
        said = self.virsh(command, *words, fails=True)
        check(text in said, f'not "{text}"', said)

    def affinity(self, vcpu):
        return re.search(rf'VCPU: +{vcpu}\n(?:.+\n)*CPU Affinity: +(\S+)', self.virsh('vcpuinfo') + '\n')[1]


def case_live(bed):
    """One of four at the start; they come, go, outlive a daemon and a saved machine; a reset keeps them."""
    m = Machine(bed, 'plug', "<vcpu current='1'>4</vcpu>", "<cputune><vcpupin vcpu='2' cpuset='0'/></cputune>")
    m.virsh('start')
    m.sees(1)
    check(m.counts() == [4, 4, 1, 1], 'other counts', m.counts())
    m.virsh('setvcpus', '3', '--live')
    m.sees(3)
    check(m.live() == [0, 1, 2] and m.counts() == [4, 4, 1, 3], 'other vCPUs', m.virsh('vcpuinfo'))
    check('y' not in m.affinity(2)[1:], 'vCPU 2 is not where it is defined to be', m.virsh('vcpuinfo'))
    m.refused('requested cpu amount exceeds maximum (5 > 4)', 'setvcpus', '5', '--live')
    m.goes([0, 1], 'setvcpus', '2', '--live')
    m.sees(2)
    check(m.live() == [0, 1], 'other vCPUs', m.virsh('vcpuinfo'))
    m.virsh('setvcpu', '3', '--enable', '--live')
    m.sees(3, 2)
    check(m.live() == [0, 1, 3], 'other vCPUs', m.virsh('vcpuinfo'))
    m.refused("vcpu '3' is already in requested state", 'setvcpu', '3', '--enable', '--live')
    m.refused("vCPU '0' can't be modified", 'setvcpu', '0', '--disable', '--live')
    m.refused('vcpu 4 is not present in live config', 'setvcpu', '4', '--enable', '--live')
    xml = m.virsh('dumpxml')
    check("<vcpu placement='static' current='3'>4</vcpu>" in xml and "<vcpu id='2' enabled='no' hotpluggable='yes'/>" in xml and
          "<vcpu id='0' enabled='yes' hotpluggable='no'/>" in xml, 'another description', xml)
    stats = bed.virsh('domstats', m.name, '--vcpu')
    check('vcpu.current=3' in stats and 'vcpu.maximum=4' in stats and 'vcpu.3.state=1' in stats and 'vcpu.2.' not in stats, 'stats', stats)
    bed.stop(9)
    bed.start()
    check(m.live() == [0, 1, 3], 'a daemon that comes back has other vCPUs', m.virsh('vcpuinfo'))
    m.virsh('managedsave')
    m.virsh('start')
    check(m.live() == [0, 1, 3], 'a saved machine has other vCPUs', m.virsh('vcpuinfo'))
    m.goes([0, 1], 'setvcpu', '3', '--disable', '--live')
    m.virsh('destroy')
    check(m.counts() == [4, 1], 'the definition has changed', m.counts())
    m.virsh('undefine')


def case_config(bed):
    """What is stored: numbers, single vCPUs, those that may go from the start."""
    m = Machine(bed, 'stored', "<vcpu current='1'>4</vcpu>")
    m.virsh('setvcpus', '3', '--config', '--hotpluggable')
    xml = m.virsh('dumpxml', '--inactive')
    check("current='3'" in xml and "<vcpu id='2' enabled='yes' hotpluggable='yes'/>" in xml, 'other vCPUs', xml)
    m.virsh('setvcpu', '1', '--disable', '--config')
    m.virsh('start')
    m.sees(2)
    check(m.live() == [0, 2], 'other vCPUs', m.virsh('vcpuinfo'))
    m.goes([0], 'setvcpus', '1', '--live', '--config')
    m.sees(1)
    check(m.live() == [0] and m.counts() == [4, 4, 1, 1], 'other vCPUs', m.virsh('vcpucount'))
    m.refused("maximum vcpu count of a live domain can't be modified", 'setvcpus', '6', '--live', '--config', '--maximum')
    m.virsh('destroy')
    m.virsh('setvcpus', '6', '--config', '--maximum')
    check(m.counts() == [6, 1], 'another maximum', m.virsh('vcpucount'))
    m.virsh('setvcpus', '6', '--config')
    m.virsh('start')
    m.sees(6)
    m.refused('failed to find appropriate hotpluggable vcpus to reach the desired target vcpu count', 'setvcpus', '5', '--live')
    m.virsh('destroy')
    m.virsh('undefine')


def case_refused(bed):
    """Definitions that say what cannot be."""
    for vcpus, text in (("<vcpu>2</vcpu><vcpus><vcpu id='0' enabled='no'/></vcpus>", "vcpu 0 can't be offline"),
                        ("<vcpu>2</vcpu><vcpus><vcpu id='0' enabled='yes' hotpluggable='yes'/></vcpus>", "vcpu0 can't be hotpluggable"),
                        ("<vcpu>2</vcpu><vcpus><vcpu id='2' enabled='yes'/></vcpus>", "vCPU '2' is not present in domain definition"),
                        ("<vcpu>2</vcpu><vcpus><vcpu id='0' enabled='yes'/><vcpu id='1' enabled='no' hotpluggable='no'/></vcpus>",
                         "vcpu '1' is both offline and not hotpluggable")):
        path = bed.path('refused.xml')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(f"<domain type='qemu'><name>refused</name><memory>131072</memory>{vcpus}<os><type arch='x86_64' machine='q35'>hvm"
                       '</type></os></domain>')
        said = bed.virsh('define', path, fails=True)
        check(text in said, f'not "{text}"', said)
    bed.bare('small')
    bed.virsh('setvcpus', 'small', '2', '--maximum', '--config')
    said = bed.virsh('start', 'small', fails=True)
    check("machine 'micro' plugs no processors: vcpu current='1' of 2" in said, 'it starts', said)
    bed.virsh('undefine', 'small')


if __name__ == '__main__':
    sys.exit(kv.main(globals()))
