#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# kv-vmm on a genuine Linux KVM, in a guest of QEMU that has one: --accel auto takes it, and Debian's kernel boots with a disk
# and a network to a shell's prompt; on a pc, through SeaBIOS.
# usage: nest.sh KV-VMM SOURCE-ROOT micro|pc. Exit status 77: something needed is not installed.
set -u
program=$(realpath "$1")
net=$(realpath "$(dirname "$program")/../net/kv-user-net.so")
tools=$2/tools
machine=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for tool in qemu-system-x86_64 cpio busybox; do
	command -v $tool >/dev/null || { echo "skipped: no $tool"; exit 77; }
done
kernel=$(ls /boot/vmlinuz-*-cloud-amd64 2>/dev/null | sort -V | tail -n 1)
[ -n "$kernel" ] && [ -r "$kernel" ] || { echo "skipped: no cloud kernel in /boot"; exit 77; }

"$tools/make-initrd" "$work/inner" || exit 1
truncate -s 8M "$work/disk"
firmware=
if [ "$machine" = pc ]; then
	for file in /usr/share/seabios /usr/share/qemu/linuxboot_dma.bin; do
		[ -e $file ] || { echo "skipped: no $file"; exit 77; }
		firmware="$firmware --copy $file"
	done
fi
cat >"$work/run" <<R
$program --machine $machine --accel auto --memory 192M --kernel $kernel --initrd $work/inner --disk $work/disk --net user --no-reboot \
	--append 'console=ttyS0 quiet panic=-1 kv.run="echo hello > /dev/vda; head -c 5 /dev/vda; ip link set eth0 up; udhcpc -i eth0 -n -q -s /bin/true; echo exit | sh -i"'
R
"$tools/nested-kvm" --timeout 280 --program "$program" --copy "$net" --copy "$kernel" --copy "$work/inner" --copy "$work/disk" --copy "$work/run" $firmware -- \
	sh "$work/run" >"$work/log" 2>&1
status=$?
for text in 'kv-vmm: Linux KVM' '@init' 'hello' 'lease of 10.0.2.15 obtained' 'tmp # '; do
	grep -q "$text" "$work/log" || { cat "$work/log"; echo "nest: no '$text'"; exit 1; }
done
[ $status -eq 0 ] || { cat "$work/log"; echo "nest: status $status"; exit 1; }
