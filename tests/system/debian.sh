#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A whole Debian on a copy of the guest that tools/make-guest made: login, every unit up, disk and network, data that comes
# back from the disk, clean power-off, clean file system.
# usage: debian.sh GUEST-DIRECTORY CPUS [--button]   (powered off by its power button, which SIGTERM presses)
. "$(dirname "$0")/lib.sh"
need python3
[ -s "$1/debian.raw" ] && [ -s "$1/vmlinuz" ] && [ -s "$1/initrd.img" ] || skip "no guest in $1 (tools/make-guest)"
cp --sparse=always "$1/debian.raw" "$work/disk" || fail "no room for a copy of the guest"
"$tools/console-drive" ${3:-} --timeout 400 --log "$work/log" --run 'test "$(systemctl is-system-running --wait)" = running' \
	--run "test \"\$(nproc)\" = $2" --run 'ip route | grep ^default' --run 'findmnt -no SOURCE / | grep -x /dev/vda' \
	--run 'dd if=/dev/urandom of=/root/data bs=1M count=8 conv=fsync 2>/dev/null && sha256sum /root/data >/root/sum' \
	--run 'sync; echo 3 >/proc/sys/vm/drop_caches; sha256sum -c /root/sum' \
	--run 'getent hosts 10.0.2.2; systemctl --no-legend --failed; test -z "$(systemctl --no-legend --failed)"' -- \
	"$KV_VMM" --accel soft --cpus "$2" --memory 1G --kernel "$1/vmlinuz" --initrd "$1/initrd.img" \
	--append 'root=LABEL=root console=ttyS0' --disk "file=$work/disk" --net user --no-reboot || fail "see above"
PATH=$PATH:/sbin:/usr/sbin
e2fsck -fn "$work/disk" >"$work/fsck" 2>&1 || { cat "$work/fsck"; fail "the guest left its file system unclean"; }
