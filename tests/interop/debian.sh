#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A whole Debian 12 (tools/make-guest) on the software KVM: login over the serial console, systemd running, disk and network
# up, writes that reach the disk, clean power-off, and a clean file system afterwards.
# usage: debian.sh KV-VMM SOURCE-ROOT CPUS. Exit status 77: the guest's disk is not there (./check makes it).
set -u
program=$1
top=$2
cpus=$3
guest=${KV_GUEST:-$top/guest}

[ -s "$guest/debian.raw" ] || { echo "skipped: no $guest/debian.raw (tools/make-guest guest)"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp --sparse=always "$guest/debian.raw" "$work/disk" || exit 1

"$top/tools/console-drive" --timeout 500 --log "$work/console" \
	--run "test \$(nproc) = $cpus" \
	--run 'systemctl is-system-running --wait' \
	--run 'ip -4 address show | grep -q 10.0.2.15/' \
	--run 'ip route | grep -q "default via 10.0.2.2"' \
	--run 'findmnt -n -o SOURCE / | grep -q /dev/vda' \
	--run 'dd if=/dev/urandom of=/root/data bs=1M count=8 conv=fsync 2>/dev/null && sha256sum /root/data > /root/sum && sync' \
	--run 'echo 3 > /proc/sys/vm/drop_caches && sha256sum -c /root/sum' \
	-- "$program" --accel soft --cpus "$cpus" --memory 768M --kernel "$guest/vmlinuz" --initrd "$guest/initrd.img" \
	--append 'root=LABEL=root console=ttyS0' --disk "file=$work/disk" --net user --console stdio --no-reboot \
	</dev/null >"$work/log" 2>&1
status=$?
if [ $status -ne 0 ]; then
	tail -n 40 "$work/console" 2>/dev/null
	cat "$work/log"
	echo "debian: status $status"
	exit 1
fi
PATH=$PATH:/sbin:/usr/sbin
e2fsck -fn "$work/disk" >"$work/fsck" 2>&1 || { cat "$work/fsck"; echo "debian: the file system is not clean"; exit 1; }
