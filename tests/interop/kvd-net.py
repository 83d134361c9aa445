#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks of the kv driver and the cards at them, as stock virsh and libvirt-python have them; where the XML and the machine
have devices. Machines stand before their first instruction: nothing here waits for a guest.
usage: kvd-net.py KVD KV-VMM SOURCE-ROOT CASE...   Exit status 77: virsh or firmware is missing."""
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET

import cases
import qmp
from cases import check, Skipped

SPEC = importlib.util.spec_from_file_location('kvd_kv', os.path.join(os.path.dirname(os.path.abspath(__file__)), 'kvd-kv.py'))
KV = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(KV)

NET = "<network><name>{}</name>{}<forward mode='nat'/><ip address='10.7.0.1' netmask='255.255.255.0'>{}</ip></network>"
RANGE = "<dhcp><range start='10.7.0.10' end='10.7.0.20'/>{}</dhcp>"
CARD = "<interface type='network'><mac address='{}'/><source network='{}'/></interface>"


def write(bed, name, text):
    path = bed.path(name)
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text)
    return path


def free_port():
    with socket.create_server(('127.0.0.1', 0)) as s:
        return s.getsockname()[1]


def is_open(port):
    try:
        socket.create_connection(('127.0.0.1', port), timeout=5).close()
        return True
    except ConnectionRefusedError:
        return False


def ask(bed, name, command, **args):
    answer = json.loads(bed.virsh('qemu-monitor-command', name, json.dumps({'execute': command, 'arguments': args})))
    check('return' in answer, f'{command} fails', answer)
    return answer['return']


def options(bed, name):
    """The words of the machine's --net, by card."""
    with open(bed.path(f'run/kvasir/status/{name}.xml'), encoding='utf-8') as file:
        pid = re.search(r"pid='(\d+)'", file.read())[1]
    with open(f'/proc/{pid}/cmdline', encoding='utf-8') as file:
        words = file.read().split('\0')
    nets = [dict(w.split('=', 1) for w in words[i + 1].split(',') if '=' in w) for i, word in enumerate(words) if word == '--net']
    return {net['id']: net for net in nets}


def case_objects(bed):
    """The default network of a new system, life, autostart, what is refused, and a daemon that is killed."""
    check(bed.virsh('net-list', '--all').split() == ['default', 'active', 'yes', 'yes'], 'another default network')
    xml = ET.fromstring(bed.virsh('net-dumpxml', 'default'))
    check(xml.find('forward').get('mode') == 'nat' and xml.find('ip').get('address') == '192.168.122.1' and
          xml.find('ip/dhcp/range').get('start') == '192.168.122.2' and xml.find('bridge') is None, 'other XML', ET.tostring(xml))
    info = bed.virsh('net-info', 'default')
    check(re.search(r'Active: +yes', info) and 'Bridge' not in info, 'other facts', info)
    bed.virsh('net-define', write(bed, 'n.xml', NET.format('n', '', RANGE.format(''))))
    check('network is not active' not in bed.virsh('net-start', 'n'), 'it does not start')
    check("network is already active" in bed.virsh('net-start', 'n', fails=True), 'twice')
    bed.virsh('net-create', write(bed, 't.xml', NET.format('t', '', '').replace('10.7', '10.8')))
    check('transient' in bed.virsh('net-autostart', 't', fails=True), 'a transient one is stored')
    bed.virsh('net-undefine', 'default')
    check(bed.virsh('net-list', '--all').split() == ['default', 'active', 'no', 'no', 'n', 'active', 'no', 'yes', 't', 'active', 'no', 'no'],
          'another list', bed.virsh('net-list', '--all'))
    bed.virsh('net-update', 'n', 'add', 'ip-dhcp-host', "<host mac='52:54:00:00:00:01' ip='10.7.0.9'/>", '--live')
    live = bed.virsh('net-dumpxml', 'n')
    check('10.7.0.9' in live and '10.7.0.9' not in bed.virsh('net-dumpxml', 'n', '--inactive'), 'net-update', live)
    check('not' in bed.virsh('net-update', 'n', 'add', 'ip-dhcp-range', "<range start='10.9.0.1' end='10.9.0.2'/>", fails=True) and
          '10.9' not in bed.virsh('net-dumpxml', 'n'), 'a range that is elsewhere')
    before = {name: bed.virsh('net-dumpxml', name) for name in ('default', 'n', 't')}
    bed.stop(signal.SIGKILL)
    bed.start()
    check({name: bed.virsh('net-dumpxml', name) for name in before} == before, 'they are others now')
    bed.virsh('net-destroy', 'default')
    bed.virsh('net-destroy', 't')
    bed.virsh('net-destroy', 'n')
    check("network 'n' is not active" in bed.virsh('net-destroy', 'n', fails=True), 'destroyed twice')
    bed.virsh('net-autostart', 'n')
    bed.stop()
    bed.start()
    check(bed.virsh('net-list', '--all').split() == ['n', 'inactive', 'yes', 'yes'], 'what was deleted comes back, or starts before a boot')
    os.unlink(bed.path('run/kvasir/networks-started'))
    bed.stop()
    bed.start()
    check(bed.virsh('net-list').split() == ['n', 'active', 'yes', 'yes'], 'it does not start after a boot')


HOST = "<host mac='52:54:00:00:00:{:02x}'{} ip='192.168.122.{}'/>"
UPDATES = [
    ('add', 'ip-dhcp-host', HOST.format(10, " name='a'", 5)), ('add', 'ip-dhcp-host', HOST.format(10, '', 6)),
    ('add', 'ip-dhcp-host', HOST.format(2, '', 5)), ('add', 'ip-dhcp-host', HOST.format(2, " name='a'", 7)),
    ('add-first', 'ip-dhcp-host', HOST.format(2, " name='b'", 7)), ('delete', 'ip-dhcp-host', HOST.format(10, '', 7)),
    ('delete', 'ip-dhcp-host', HOST.format(10, " name='b'", 5)), ('modify', 'ip-dhcp-host', HOST.format(3, '', 9)),
    ('modify', 'ip-dhcp-host', HOST.format(2, " name='c'", 8)), ('add', 'ip-dhcp-host', HOST.format(4, '', 11)),
    ('delete', 'ip-dhcp-host', HOST.format(10, '', 5).replace('0a', '0A')), ('delete', 'ip-dhcp-host', "<host ip='192.168.122.99'/>"),
    ('delete', 'ip-dhcp-host', "<host ip='192.168.122.11'/>"), ('delete', 'ip-dhcp-host', HOST.format(2, '', 8) + ' --parent-index 1'),
    ('modify', 'ip-dhcp-range', "<range start='192.168.122.2' end='192.168.122.254'/>"),
    ('add', 'ip-dhcp-range', "<range start='192.168.122.2' end='192.168.122.254'/>"),
    ('delete', 'ip-dhcp-range', "<range start='192.168.122.2' end='192.168.122.25'/>"),
    ('delete', 'ip-dhcp-range', "<range start='192.168.122.2' end='192.168.122.254'/>"),
    ('add', 'ip-dhcp-range', "<range start='192.168.122.100' end='192.168.122.110'/>"),
    ('add', 'bridge', "<bridge name='x'/>"), ('add', 'domain', "<domain name='x'/>"), ('modify', 'forward-pf', "<pf dev='x'/>"),
    ('delete', 'dns-host', "<host ip='192.168.122.9'/>"), ('modify', 'dns-host', "<host ip='192.168.122.9'/>"),
]


def case_updates(bed):
    """net-update: libvirt's own words and network after each step; and of a network that is not stored any more."""
    script = '; '.join(['net-update default ' + f'{command} {section} "{xml.split(" --")[0]}"' + xml[len(xml.split(' --')[0]):]
                        for command, section, xml in UPDATES] + ['net-dumpxml default'])
    said = []
    for uri in 'test:///default', f'qemu+unix:///session?socket={bed.socket}':
        text = subprocess.run(['virsh', '-c', uri, script], env=bed.environment, capture_output=True, check=False, timeout=60)
        xml = ET.fromstring(text.stdout[text.stdout.index(b'<network>'):])
        errors = [line for line in text.stderr.decode().splitlines() if not line.startswith('error: Failed')]
        said.append((errors, [(node.tag, node.attrib) for node in xml.find('ip/dhcp')]))
    check(said[0] == said[1], 'it is not as with libvirt', *said)
    # The one with DHCP is meant, and the first of IPv4 if none has.
    six = "<ip family='ipv6' address='fd00::1' prefix='64'/>"
    bed.virsh('net-define', write(bed, 'n.xml', NET.format('n', '', '').replace('<ip', six + '<ip')))
    bed.virsh('net-start', 'n')
    bed.virsh('net-update', 'n', 'add', 'ip-dhcp-host', "<host mac='52:54:00:00:00:01' ip='10.7.0.9'/>")
    bed.virsh('net-undefine', 'n')
    bed.virsh('net-update', 'n', 'add', 'ip-dhcp-host', "<host mac='52:54:00:00:00:02' ip='10.7.0.8'/>")
    for _ in range(2):
        live = bed.virsh('net-dumpxml', 'n')
        check('10.7.0.9' in live and '10.7.0.8' in live, 'an update is lost', live)
        bed.stop(signal.SIGKILL)
        bed.start()


def case_refused(bed):
    """What takes a bridge, and what user mode does not do, by its name; libvirt's own default.xml is taken."""
    theirs = NET.format('own', "<bridge name='virbr0' stp='on' delay='0'/><mac address='52:54:00:6c:3c:01'/>", RANGE.format(''))
    bed.virsh('net-define', write(bed, 'own.xml', theirs))
    check(re.search(r'Bridge: +virbr0', bed.virsh('net-info', 'own')), 'no bridge')
    for what, words in (("<forward mode='bridge'/><bridge name='br0'/>", 'bridge'), ("<forward mode='route'/>", 'route'),
                        ("<forward mode='nat'/><virtualport type='openvswitch'/>", 'virtualport'),
                        ("<forward mode='nat'><nat><port start='1024' end='65535'/></nat></forward>", 'forward/nat/port'),
                        ("<forward mode='nat'/><dns><host ip='10.7.0.5'><hostname>x</hostname></host></dns>", 'dns/host'),
                        ("<forward mode='nat'/><dns enable='no'/>", "dns/@enable 'no'")):
        text = f"<network><name>bad</name>{what}<ip address='10.7.0.1' netmask='255.255.255.0'/></network>"
        said = bed.virsh('net-define', write(bed, 'bad.xml', text), fails=True)
        check(words in said and 'support' in said, f'another text for {what}', said)
    for dhcp, words in (("<dhcp><range start='10.7.0.9' end='10.7.0.2'/></dhcp>", 'is reversed'),
                        ("<dhcp><range start='10.7.0.9' end='10.7.1.2'/></dhcp>", 'is not entirely within network 10.7.0.0/24'),
                        ("<dhcp><host name='x' ip='10.7.0.4'/></dhcp>", 'without mac'),
                        (RANGE.format("<host mac='52:54:00:00:00:01' ip='10.8.0.4'/>"), 'Invalid IP address in static host'),
                        ("</ip><ip address='10.9.0.1' prefix='24'>", 'a second <ip>')):
        said = bed.virsh('net-define', write(bed, 'bad.xml', NET.format('bad', '', dhcp)), fails=True)
        check(words in said, f'another text for {dhcp}', said)
    check(bed.virsh('net-list', '--all', '--name').split() == ['default', 'own'], 'a refused one is there')


ISOLATED = """busybox udhcpc -i eth0 -n -q -t 9 -T 1 -s {folder}/said 2>/dev/null
ip -o -4 addr show eth0 | grep -o 'inet [0-9./]*'
ip route add default via {host}  # which DHCP did not say
for where in {host} {outside}; do echo | nc -w 3 $where {port} | grep heard && echo guest-is-out; done
sleep 3
echo guest-done
"""
SAID = """#!/bin/sh
[ "$1" != bound ] || { ip addr add $ip/$mask dev eth0; [ -z "$router$dns" ] || echo guest-has-a-way; }
"""


def case_isolated(bed):
    """Without <forward>: DHCP gives addresses and no way; the guest reaches neither the host nor anything behind it, and the same
    guest of a network with one does."""
    kernel, folder = bed.kernel(), bed.path('guest')
    os.mkdir(folder)
    server = socket.create_server(('', 0))
    port = server.getsockname()[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(('198.51.100.1', 9))
            outside = probe.getsockname()[0]
        except OSError:
            outside = '10.7.0.1'  # the host has no other address
    with open(f'{folder}/script', 'w', encoding='utf-8') as file:
        file.write('ip link set eth0 up\n' + ISOLATED.format(folder=folder, host='10.7.0.1', outside=outside, port=port))
    with open(f'{folder}/said', 'w', encoding='utf-8') as file:
        file.write(SAID)
    os.chmod(f'{folder}/said', 0o755)
    subprocess.run([os.path.join(bed.root, 'tools/make-initrd'), '-c', folder, bed.path('initrd')], check=True, stdout=subprocess.DEVNULL)

    def says(network):
        bed.define('g', kernel, bed.path('initrd'), f'console=ttyS0 quiet kv.run=&quot;sh {folder}/script&quot;', '',
                   CARD.format('52:54:00:00:00:01', network) + f"<serial type='file'><source path='{bed.path('out')}'/></serial>")
        bed.virsh('start', 'g')
        if network == 'in':
            check('no hostname found: no hostname found for domain g' in bed.virsh('domhostname', 'g', '--source', 'lease', fails=True), 'a name')
            bed.wait_for(lambda: bed.run('domhostname', 'g', '--source', 'lease', fails=None).stdout.strip() == b'inside', 'no name of a lease')
        bed.wait('shut off (shutdown)', 'g')
        bed.virsh('undefine', 'g')
        return open(bed.path('out'), encoding='utf-8', errors='replace').read()

    def answer():
        while True:
            try:
                client = server.accept()[0]
            except OSError:
                return
            with client:
                client.recv(1000)
                client.sendall(b'heard\n')
    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    closed = NET.replace("<forward mode='nat'/>", '')
    for name, text in (('out', NET.format('out', '', RANGE.format(''))),
                       ('in', closed.format('in', "<bridge name='virbr1'/>", RANGE.format("<host mac='52:54:00:00:00:01' ip='10.7.0.5' name='inside'/>"))),
                       ('none', "<network><name>none</name><port isolated='yes'/></network>"),
                       ('quiet', closed.format('quiet', "<dns enable='no'/>", ''))):
        bed.virsh('net-define', write(bed, 'n.xml', text))
        bed.virsh('net-start', name)
        check(('<forward' in bed.virsh('net-dumpxml', name)) == (name == 'out'), f'{name}: another forward')
    open_net, closed_net = says('out'), says('in')
    check(open_net.count('guest-is-out') == 2 and 'guest-has-a-way' in open_net and 'heard' in open_net, 'it reaches nothing', open_net)
    check('inet 10.7.0.5/24' in closed_net and 'guest-is-out' not in closed_net and 'guest-has-a-way' not in closed_net, 'it is not closed', closed_net)
    bed.board('b', CARD.format('52:54:00:00:00:01', 'none') + CARD.format('52:54:00:00:00:02', 'quiet'))
    bed.virsh('start', 'b', '--paused')
    nets = options(bed, 'b')
    check([(nets[n].get('restrict'), nets[n]['dhcp'], nets[n].get('net'), nets[n]['ipv6']) for n in ('net0', 'net1')] ==
          [('on', 'off', None, 'off'), ('on', 'off', '10.7.0.0/24', 'off')], 'other keys', nets)
    bed.virsh('destroy', 'b')
    said = bed.virsh('net-define', write(bed, 'n.xml', "<network><name>six</name><ip family='ipv6' address='fd00::1' prefix='64'/></network>"), fails=True)
    check('without an IPv4 address' in said, 'IPv6 alone', said)
    server.close()


def case_cards(bed):
    """A card of a network has its addresses, a name, counters; a network that is not there or not active is told."""
    bed.virsh('net-define', write(bed, 'n.xml', NET.format('n', "<domain name='test.lan'/>", RANGE.format(
        "<host mac='52:54:00:00:00:02' name='fixed' ip='10.7.0.5'/>"))))
    bed.board('a', CARD.format('52:54:00:00:00:01', 'n') + CARD.format('52:54:00:00:00:02', 'n') +
              CARD.format('52:54:00:00:00:03', 'default') + "<interface type='user'/>")
    check("network 'n' is not active" in bed.virsh('start', 'a', fails=True), 'another text')
    bed.virsh('net-start', 'n')
    bed.virsh('start', 'a', '--paused')
    nets = options(bed, 'a')
    check(nets['net0']['net'] == '10.7.0.0/24' and nets['net0']['host'] == '10.7.0.1' and nets['net0']['dns'] == '10.7.0.254' and
          10 <= int(nets['net0']['dhcpstart'].split('.')[3]) <= 20 and nets['net0']['domainname'] == 'test.lan', 'other keys', nets)
    check(nets['net1']['dhcpstart'] == '10.7.0.5' and nets['net1']['hostname'] == 'fixed', 'not the static address', nets)
    check(nets['net2']['dns'] == '192.168.122.254' and 'net' not in nets['net3'], 'other networks', nets)
    rows = [line.split() for line in bed.virsh('domiflist', 'a').splitlines()]
    check([row[:3] for row in rows] == [['vnet0', 'network', 'n'], ['vnet1', 'network', 'n'], ['vnet2', 'network', 'default'],
                                        ['-', 'user', '-']], 'other cards', rows)
    check("connections='2'" in bed.virsh('net-dumpxml', 'n') and 'vnet' not in bed.virsh('dumpxml', 'a', '--inactive'), 'connections')
    check('rx_bytes 0' in bed.virsh('domifstat', 'a', 'vnet1') and 'tx_drop 0' in bed.virsh('domifstat', 'a', rows[3][4]), 'counters')
    check('net.count=4' in bed.virsh('domstats', 'a', '--interface') and 'net.3.tx.pkts=0' in bed.virsh('domstats', 'a', '--interface'),
          'statistics')
    emulators = {re.search('<emulator>(.*)</emulator>', bed.virsh(*words))[1]
                 for words in (('dumpxml', 'a'), ('dumpxml', '--inactive', 'a'), ('capabilities',))}
    check(emulators == {os.path.realpath(bed.vmm)}, 'another program', sorted(emulators))
    check(bed.virsh('domifaddr', 'a') == '' and bed.virsh('net-dhcp-leases', 'n') == '', 'a lease that nobody asked for')
    bed.virsh('domif-setlink', 'a', 'vnet0', 'down')
    check(ask(bed, 'a', 'qom-get', path='net0', property='net-stats')['link-up'] is False, 'the cable is plugged in')
    bed.board('b', CARD.format('52:54:00:00:00:0a', 'n') +
              ''.join(f"<controller type='pci' index='{i}' model='pcie-root-port'/>" for i in range(1, 9)))
    bed.stop(signal.SIGKILL)
    bed.start()
    bed.virsh('start', 'b', '--paused')
    check(options(bed, 'b')['net0']['dhcpstart'] != nets['net0']['dhcpstart'], 'two cards have one address')
    check(bed.virsh('domiflist', 'b').split()[0] == 'vnet3', 'not the next name', bed.virsh('domiflist', 'b'))
    bed.virsh('attach-interface', 'b', 'network', 'n', '--mac', '52:54:00:00:00:02', '--model', 'virtio', '--live')
    check(ask(bed, 'b', 'qom-get', path='net1', property='net-stats')['dhcpstart'] == '10.7.0.5', 'it has another address')
    bed.virsh('net-define', write(bed, 'still.xml', "<network><name>still</name><ip address='10.8.0.1' netmask='255.255.255.0'/></network>"))
    bed.virsh('net-start', 'still')
    for number in 5, 6:  # its address is the guest's matter
        bed.virsh('attach-interface', 'b', 'network', 'still', '--mac', f'52:54:00:00:00:0{number}', '--model', 'virtio', '--live')
    stats = ask(bed, 'b', 'qom-get', path='net2', property='net-stats')
    check('dhcpstart' not in stats and stats['link-up'], 'DHCP gives addresses', stats)
    check([line.split()[2] for line in bed.virsh('domiflist', 'b').splitlines()] == ['n', 'n', 'still', 'still'], 'other cards')
    bed.virsh('detach-interface', 'b', 'network', '--mac', '52:54:00:00:00:06', '--live')
    bed.virsh('net-destroy', 'n')
    check("network 'n' is not active" in bed.virsh('attach-interface', 'b', 'network', 'n', '--model', 'virtio', '--live', fails=True),
          'at a network that is not active')
    bed.board('c', CARD.format('52:54:00:00:00:01', 'none'))
    check("no network with matching name 'none'" in bed.virsh('start', 'c', fails=True), 'a network that is not there')


def case_forwards(bed):
    """Port forwards come and go while it runs, in the live definition, the stored one or both; what cannot be leaves all as it was."""
    ports = [free_port() for _ in range(5)]

    def card(*forwarded, more=''):
        ranges = ''.join(f"<portForward proto='tcp' address='127.0.0.1'><range start='{port}' to='{to}'/></portForward>"
                         for port, to in forwarded)
        return f"<interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/>{ranges}{more}</interface>"

    def update(*forwarded, where='--live', fails=False):
        return bed.virsh('update-device', 'f', write(bed, 'card.xml', card(*forwarded)), where, fails=fails)

    def check_open(*wanted):
        check([port for port in ports if is_open(port)] == sorted(wanted, key=ports.index), 'other ports are open', wanted)

    bed.board('f', card((ports[0], 22)))
    bed.virsh('start', 'f', '--paused')
    check_open(ports[0])
    update((ports[0], 22), (ports[1], 80))
    check_open(ports[0], ports[1])
    check(str(ports[1]) in bed.virsh('dumpxml', 'f') and str(ports[1]) not in bed.virsh('dumpxml', 'f', '--inactive'), 'stored, or not live')
    update((ports[0], 2222), (ports[2], 80))
    check_open(ports[0], ports[2])
    check(f'tcp:127.0.0.1:{ports[0]}-:2222' in ask(bed, 'f', 'qom-get', path='net0', property='net-stats')['hostfwd'], 'the old port')
    update((ports[3], 1), where='--config')
    check(str(ports[3]) in bed.virsh('dumpxml', 'f', '--inactive') and not is_open(ports[3]), 'not stored, or open')
    with socket.create_server(('127.0.0.1', ports[4])):
        said = update((ports[1], 1), (ports[4], 1), fails=True)
        check(f'cannot listen on port {ports[4]}' in said, 'another text', said)
    check_open(ports[0], ports[2])
    check(str(ports[4]) not in bed.virsh('dumpxml', 'f'), 'it is in the definition')
    said = bed.virsh('update-device', 'f', write(bed, 'card.xml', card().replace('default', 'other')), '--live', fails=True)
    check('cannot change the network' in said, 'another network', said)
    check('hostfwd' not in bed.virsh('qemu-monitor-command', 'f', '--hmp', f'hostfwd_add net0 tcp:127.0.0.1:{ports[1]}-:9'), 'by hand')
    check_open(ports[0], ports[1], ports[2])
    bed.virsh('destroy', 'f')
    first = free_port()
    excluded = (f"<interface type='user'><portForward proto='tcp' address='127.0.0.1'><range start='{first}' end='{first + 2}' to='100'/>"
                f"<range start='{first + 1}' exclude='yes'/></portForward></interface>")
    bed.board('g', excluded)
    bed.virsh('start', 'g', '--paused')
    check(ask(bed, 'g', 'qom-get', path='net0', property='net-stats')['hostfwd'] == [
        f'tcp:127.0.0.1:{first}-:100', f'tcp:127.0.0.1:{first + 2}-:102'], 'other ports')


def places(bed, name):
    """Of the definition and of the machine: device by place, bus by the port's name."""
    xml = ET.fromstring(bed.virsh('dumpxml', name))
    ports = {int(c.get('index')): c.find('alias').get('name') for c in xml.iter('controller') if c.get('type') == 'pci'}
    said, there = {}, {}
    for device in xml.find('devices'):
        address, alias = device.find('address'), device.find('alias')
        if address is None or address.get('type') != 'pci':
            continue
        bus, slot, function = (int(address.get(part), 16) for part in ('bus', 'slot', 'function'))
        said[ports[bus] if bus else 'pcie.0', slot, function] = alias.get('name')

    def walk(functions, bus):
        for function in functions:
            there[bus, function['slot'], function['function']] = function['qdev_id']
            walk(function.get('pci_bridge', {}).get('devices', []), function['qdev_id'])

    walk(ask(bed, name, 'query-pci')[0]['devices'], 'pcie.0')
    return said, there


# What the machine calls otherwise, and what it has before devices of a definition.
NAMES = {'scsi0': 'scsi', 'virtio-serial0': 'console', 'ide': 'sata', 'video0': 'vga'}
CHIPS = {'mch', 'lpc', 'pcihost'}


def check_places(bed, name, micro=False):
    said, there = places(bed, name)
    mine = {place: device for place, device in there.items() if device not in CHIPS}
    names = dict(NAMES, **({'rng0': 'rng', 'balloon0': 'balloon'} if micro else {}))
    said = {place: names.get(device, device) for place, device in said.items()}
    check(said == mine, 'the machine has them elsewhere', sorted(set(said.items()) ^ set(mine.items()), key=str))
    return said


def case_places(bed):
    """Every PCI address of a running domain's XML is the machine's, with what was plugged in, and after a save."""
    disks = []
    for n in range(4):
        disks.append(bed.path(f'disk{n}.raw'))
        with open(disks[n], 'wb') as file:
            file.truncate(1 << 20)
    bed.board('p', f"<disk type='file'><driver type='raw'/><source file='{disks[0]}'/><target dev='vda' bus='virtio'/></disk>"
              f"<disk type='file'><driver type='raw'/><source file='{disks[1]}'/><target dev='sda' bus='scsi'/></disk>"
              f"<disk type='file'><driver type='raw'/><source file='{disks[2]}'/><target dev='sdb' bus='sata'/></disk>"
              "<controller type='scsi' model='virtio-scsi'/><interface type='user'/><interface type='network'><source network='default'/>"
              "<model type='e1000e'/></interface><serial type='pty'/><channel type='unix'><target type='virtio' name='org.x'/></channel>"
              "<input type='tablet' bus='virtio'/><video><model type='virtio'/></video><panic model='pvpanic'/>"
              "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"
              + ''.join(f"<controller type='pci' index='{i}' model='pcie-root-port'/>" for i in range(1, 17)))
    bed.virsh('start', 'p', '--paused')
    first = check_places(bed, 'p')
    check(len(first) > 24, 'few devices', first)
    bed.virsh('attach-disk', 'p', disks[3], 'vdb', '--targetbus', 'virtio', '--live')
    bed.virsh('attach-interface', 'p', 'network', 'default', '--model', 'virtio', '--live')
    more = check_places(bed, 'p')
    check(len(more) == len(first) + 2 and first.items() <= more.items(), 'they have moved', more)
    bed.virsh('save', 'p', bed.path('saved'))
    bed.virsh('restore', bed.path('saved'), '--paused')
    check(check_places(bed, 'p') == more, 'they have moved')
    bed.virsh('destroy', 'p')
    # Places that a user has chosen.
    bed.board('q', "<interface type='user'><address type='pci' bus='0' slot='0x07'/></interface>"
              "<controller type='pci' index='1' model='pcie-root-port'><address type='pci' bus='0' slot='0x05' function='0x0' multifunction='on'/>"
              "</controller><video><model type='vga'/><address type='pci' bus='0' slot='0x09'/></video><memballoon model='virtio'>"
              "<address type='pci' bus='1' slot='0'/></memballoon><controller type='sata' index='0'/><controller type='usb' model='none'/>")
    bed.virsh('start', 'q', '--paused')
    said, there = places(bed, 'q')
    check(there['pcie.0', 7, 0] == 'net0' and there['pcie.0', 9, 0] == 'vga' and there['pci.1', 0, 0] == 'balloon0', 'elsewhere', there)
    qmp.kernel(bed.path('kernel'))
    bed.bare('m', devices="<interface type='user'/><interface type='user'/><rng model='virtio'><backend model='random'>/dev/urandom</backend>"
             "</rng><memballoon model='virtio'/>")
    bed.virsh('start', 'm', '--paused')
    check_places(bed, 'm', micro=True)


PYTHON = """
import sys, time, libvirt
libvirt.virEventRegisterDefaultImpl()
connection, got = libvirt.open(sys.argv[1]), []
connection.networkEventRegisterAny(None, libvirt.VIR_NETWORK_EVENT_ID_LIFECYCLE, lambda c, n, e, d, o: got.append((n.name(), e)), None)
network = connection.networkDefineXML(sys.argv[2])
network.create()
assert network.isActive() and network.DHCPLeases() == [] and network.DHCPLeases('52:54:00:00:00:01') == []
network.destroy()
network.undefine()
end = time.monotonic() + 150
while len(got) < 4:
    assert time.monotonic() < end, got
    libvirt.virEventRunDefaultImpl()
assert got == [('py', e) for e in (0, 2, 3, 1)], got
"""


def case_python(bed):
    """libvirt-python hears of a network's life, and is told its leases."""
    python = '/usr/bin/python3'
    if subprocess.run([python, '-c', 'import libvirt'], stderr=subprocess.DEVNULL, check=False).returncode:
        raise Skipped('no libvirt-python (tools/install-deps test)')
    done = subprocess.run([python, '-c', PYTHON, f'qemu+unix:///session?socket={bed.socket}', NET.format('py', '', RANGE.format(''))],
                          env=bed.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=KV.LIMIT * 2, check=False)
    check(done.returncode == 0, 'libvirt-python', done.stdout.decode())


def main():
    kvd, vmm, root, *names = sys.argv[1:]
    beds = []

    def make(folder):
        beds.append(KV.Bed(os.path.abspath(kvd), os.path.abspath(vmm), root, folder))
        return beds[0]

    def wrap(function):
        def case(bed):
            try:
                function(bed)
            except BaseException:
                bed.close()
                raise
        return case

    functions = {name: wrap(function) for name, function in globals().items() if name.startswith('case_')}
    functions['case_zz_end'] = lambda bed: bed.close()
    chosen = [*(names or [n[5:].replace('_', '-') for n in functions if n != 'case_zz_end']), 'zz-end']
    return cases.run(functions, chosen, make)


if __name__ == '__main__':
    sys.exit(main())
