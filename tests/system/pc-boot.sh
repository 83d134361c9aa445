#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The whole way of a PC: firmware, GRUB from a disk, Linux, /init; a reboot, the same again, and the guest's power-off.
# usage: pc-boot.sh bios|uefi
. "$(dirname "$0")/lib.sh"
need_kernel
need grub-mkimage mformat
case $1 in
bios) firmware=/usr/share/seabios/bios-256k.bin platform=pc ;;
uefi) firmware=/usr/share/ovmf/OVMF.fd platform=efi ;;
esac
[ -r "$firmware" ] || skip "no $firmware (tools/install-deps test)"
# What survives a reboot is on the disk, in the gap in front of the partition.
mark='dd of=/dev/vda bs=512 seek=2000 conv=notrunc,fsync 2>/dev/null'
first="dd if=/dev/vda bs=512 skip=2000 count=1 2>/dev/null | grep -q again || { echo again | $mark; echo first; reboot -f; }"
"$tools/make-initrd" "$work/initrd" && gzip -1 "$work/initrd" || fail "no initrd"
"$tools/make-boot-disk" "$work/disk" "$kernel" "$work/initrd.gz" \
	"console=ttyS0 quiet kv.run=\"$first; nproc; dmesg | grep -c [W]ARNING: || true\"" ||
	fail "no disk"
timeout -k 5 230 "$KV_VMM" --machine pc --firmware "$firmware" --accel soft --memory 512M \
	--disk file="$work/disk",format=raw </dev/null >"$work/log" 2>&1
status=$?
[ $status = 0 ] || fail "kv-vmm ended with $status"
[ "$(grep -c "grub: $platform" "$work/log")" = 2 ] || fail "GRUB was not started twice"
[ "$(grep -c '@init ' "$work/log")" = 2 ] || fail "Linux was not started twice"
expect first
expect 0
expect '@exit 0'
