#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's agent behind kvd, as stock virsh asks it: QEMU's own qemu-ga in a small Linux, and one that lies.
usage: kvd-agent.py KVD KV-VMM SOURCE-ROOT CASE...   Exit status 77: virsh, a kernel or qemu-ga is missing."""
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

from cases import Skipped, check

kv = importlib.import_module('kvd-kv')
LIMIT = kv.LIMIT
PORT = 'org.qemu.guest_agent.0'
CHANNEL = f"<channel type='unix'><target type='virtio' name='{PORT}'/></channel>"
# What qemu-ga runs; the guest has no more than a shell.
HEAD = f"""mkdir -p /sbin /etc /mnt /root /run /var/run /var/local/run
hostname agent-guest
echo 'root:x:0:0:root:/root:/bin/sh' >/etc/passwd
echo 'root:!:::::::' >/etc/shadow
echo 'root:x:0:' >/etc/group
printf 'ID=tiny\\nNAME="Tiny"\\nPRETTY_NAME="Tiny 1"\\n' >/etc/os-release
cat >/sbin/shutdown <<EOF
#!/bin/sh
case "\\$1" in
-r) reboot -f ;;
*) poweroff -f ;;
esac
EOF
chmod +x /sbin/shutdown
ln -s /bin/hwclock /sbin/hwclock
port=/dev/$(grep -l {PORT} /sys/class/virtio-ports/*/name | cut -d / -f 5)
"""
TRUE = HEAD + """mount -t ext4 /dev/vda /mnt
ip addr add 10.1.2.3/24 dev eth0
echo guest-agent
/usr/sbin/qemu-ga -m virtio-serial -p $port -t /run -f /run/ga.pid
"""
# An agent that answers by what the line has in it, in a way of its own.
FALSE = HEAD + r"""exec 3<>$port
echo guest-agent
while read -r line <&3; do
	id=${line##*\"id\":}
	id=${id%%\}*}
	case "$line" in
	*guest-sync-delimited*)
		[ -e /silent ] && continue
		printf '{"return": 1}\n\377\377{"return": %s}\n' "$id" >&3 ;;
	*guest-get-fsinfo*) printf '{"return": {"no": "list"}}\n' >&3 ;;
	*guest-get-time*) printf '{"return": "noon"}\n' >&3 ;;
	*guest-get-host-name*) printf '{"return": {"host-name": 5}}\n' >&3 ;;
	*guest-network*) printf '{"return": [{"name": "a", "ip-addresses": [{"prefix": 1}]}]}\n' >&3 ;;
	*guest-get-vcpus*) printf '{"return": [{"logical-id": 99999999}]}\n' >&3 ;;
	*guest-ping*) sleep 8; printf '{"return": {}}\n' >&3 ;;
	*nonsense*) printf 'nothing of sense\n{"x": [1, "\\u0000", {"return"' >&3; sleep 1; printf '}\n' >&3 ;;
	*guest-fstrim*) yes '{"an": "endless one"}' | head -c 80000000 >&3 ;;
	*guest-silence*) touch /silent; printf '{"return": {}}\n' >&3 ;;
	*guest-leave*) exec 3<&-; sleep 1000 ;;
	*) printf '{"error": {"class": "CommandNotFound", "desc": "The command %%s has not been found"}}\n' >&3 ;;
	esac
done
"""


def guest(bed, name, script, devices=''):
    """A machine with an agent, two processors and a disk with a file system."""
    if not os.path.exists('/usr/sbin/qemu-ga') or not shutil.which('mkfs.ext4'):
        raise Skipped('no qemu-ga or mkfs.ext4 (tools/install-deps test)')
    kernel, folder = bed.kernel(), bed.path(f'{name}-guest')
    os.mkdir(folder)
    with open(f'{folder}/script', 'w', encoding='utf-8') as file:
        file.write(script)
    subprocess.run([os.path.join(bed.root, 'tools/make-initrd'), '-m', 'rtc-cmos', '-c', folder, f'{folder}/initrd', '/usr/sbin/qemu-ga'],
                   check=True, stdout=subprocess.DEVNULL)
    with open(f'{folder}/disk', 'wb') as file:
        file.truncate(16 << 20)
    subprocess.run(['mkfs.ext4', '-q', f'{folder}/disk'], check=True)
    with open(f'{folder}/xml', 'w', encoding='utf-8') as file:
        file.write(f"<domain type='qemu'><name>{name}</name><memory unit='MiB'>192</memory><vcpu>2</vcpu><os>"
                   f"<type arch='x86_64' machine='micro'>hvm</type><kernel>{kernel}</kernel><initrd>{folder}/initrd</initrd>"
                   f'<cmdline>console=ttyS0 quiet kv.run=&quot;sh {folder}/script&quot;</cmdline></os><devices>'
                   f"<disk type='file'><driver name='qemu' type='raw'/><source file='{folder}/disk'/>"
                   f"<target dev='vda' bus='virtio'/></disk><serial type='file'><source path='{folder}/serial'/></serial>{CHANNEL}{devices}</devices></domain>")
    bed.virsh('define', f'{folder}/xml')
    bed.virsh('start', name)
    bed.wait_for(lambda: "state='connected'" in bed.virsh('dumpxml', name), 'no agent')


def case_agent(bed):
    """Everything that libvirt asks an agent, of the real one."""
    guest(bed, 'true', TRUE, "<interface type='user'/>")
    print(bed.virsh('qemu-agent-command', 'true', '{"execute": "guest-ping"}'))
    for words in (['domfsinfo'], ['domfsfreeze'], ['domfsthaw'], ['domfstrim'], ['domtime'], ['domhostname', '--source', 'agent'], ['guestinfo'], ['guestvcpus'], ['domifaddr', '--source', 'agent'], ['vcpucount', '--guest'], ['setvcpus', '--guest', '1'], ['guestvcpus'], ['domtime', '--time', '1700000000'], ['domtime'],
            ['set-user-password', 'root', 'x'], ['get-user-sshkeys', 'root'],['dompmsuspend', 'mem'], ['domstate', '--reason'], ['dompmwakeup'], ['domstate'], ['reboot', '--mode', 'agent'],['shutdown', '--mode', 'agent'], ['domstate']):
        start = time.time()
        print(words, bed.run(words[0], 'true', *words[1:], fails=None).stdout.decode(), time.time() - start)
    print(bed.log()[-3000:])


if __name__ == '__main__':
    sys.exit(kv.main(globals()))
