#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A whole Debian on a copy of the guest that tools/make-guest made: login, every unit up, disk and network, data that comes
# back from the disk, clean power-off, clean file system.
# usage: debian.sh GUEST-DIRECTORY CPUS [--button | --qcow2]
#   --button  it is powered off by its power button, which SIGTERM presses
#   --qcow2   its root is an overlay on a compressed image
. "$(dirname "$0")/lib.sh"
need python3
[ -s "$1/debian.raw" ] && [ -s "$1/vmlinuz" ] && [ -s "$1/initrd.img" ] || skip "no guest in $1 (tools/make-guest)"
drive= disk="file=$work/disk"
if [ "${3:-}" = --qcow2 ]; then
	disk="$disk,format=qcow2"
	"$KV_IMG" convert -c -O qcow2 -o compression_type=zstd "$1/debian.raw" "$work/base" &&
		"$KV_IMG" create -q -f qcow2 -b base -F qcow2 "$work/disk" || fail "no overlay"
else
	drive=${3:-}
	cp --sparse=always "$1/debian.raw" "$work/disk" || fail "no room for a copy of the guest"
fi
"$tools/console-drive" $drive --timeout 400 --log "$work/log" --run 'test "$(systemctl is-system-running --wait)" = running' \
	--run "test \"\$(nproc)\" = $2" --run 'ip route | grep ^default' --run 'findmnt -no SOURCE / | grep -x /dev/vda' \
	--run 'dd if=/dev/urandom of=/root/data bs=1M count=8 conv=fsync 2>/dev/null && sha256sum /root/data >/root/sum' \
	--run 'sync; echo 3 >/proc/sys/vm/drop_caches; sha256sum -c /root/sum' --run 'fstrim -v /' \
	--run 'getent hosts 10.0.2.2; systemctl --no-legend --failed; test -z "$(systemctl --no-legend --failed)"' -- \
	"$KV_VMM" --accel soft --cpus "$2" --memory 1G --kernel "$1/vmlinuz" --initrd "$1/initrd.img" \
	--append 'root=LABEL=root console=ttyS0' --disk "$disk" --net user --no-reboot || fail "see above"
if [ "${3:-}" = --qcow2 ]; then
	"$KV_IMG" check "$work/disk" >"$work/check" 2>&1 || { cat "$work/check"; fail "the image is not clean"; }
	"$KV_IMG" convert -O raw "$work/disk" "$work/raw" && mv "$work/raw" "$work/disk" || fail "the image cannot be read"
fi
PATH=$PATH:/sbin:/usr/sbin
e2fsck -fn "$work/disk" >"$work/fsck" 2>&1 || { cat "$work/fsck"; fail "the guest left its file system unclean"; }
