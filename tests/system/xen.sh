#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Xen with a Linux as its first guest, which says so and powers the machine off. usage: xen.sh bios|uefi
# bios: GRUB starts it by multiboot 2; uefi: firmware starts xen.efi, which reads the rest.
. "$(dirname "$0")/lib.sh"
need_kernel
kernel=$(ls /boot/vmlinuz-*[0-9]-amd64 2>/dev/null | sort -V | tail -n 1)
[ -n "$kernel" ] && [ -r "$kernel" ] || skip "no kernel with Xen's drivers in /boot (tools/install-deps test)"
xen=$(ls /boot/xen-*-amd64.gz 2>/dev/null | sort -V | tail -n 1)
[ -n "$xen" ] || skip "no Xen in /boot (tools/install-deps test)"
"$tools/make-initrd" -k "$work/initrd" || fail "no initrd"
xen_words='console=com1 com1=115200,8n1 dom0_mem=320M noreboot'
words='console=hvc0 quiet kv.run=cat /sys/hypervisor/type; nproc'

bios() {
	need grub-mkrescue xorriso mformat
	mkdir -p "$work/tree/boot/grub"
	cp "$xen" "$work/tree/xen.gz"
	cp "$kernel" "$work/tree/vmlinuz"
	cp "$work/initrd" "$work/tree/initrd"
	# GRUB takes no name of the file for the first word.
	printf '%s\n' serial 'terminal_output serial' "multiboot2 /xen.gz - $xen_words" "module2 /vmlinuz - '$words'" \
		'module2 /initrd' boot >"$work/tree/boot/grub/grub.cfg"
	grub-mkrescue -o "$work/iso" "$work/tree" >"$work/log" 2>&1 || fail "no disc"
	set -- --firmware bios --cdrom "$work/iso"
	start "$@"
}

uefi() {
	need mformat mcopy mmd
	truncate -s 64M "$work/disk"
	printf '%s\r\n' '[global]' 'default=xen' '[xen]' "options=$xen_words" "kernel=vmlinuz $words" 'ramdisk=initrd' >"$work/xen.cfg"
	mformat -i "$work/disk" -h 16 -s 63 :: && mmd -i "$work/disk" ::/EFI ::/EFI/BOOT &&
		mcopy -i "$work/disk" "${xen%.gz}.efi" ::/EFI/BOOT/BOOTX64.EFI && mcopy -i "$work/disk" "$work/xen.cfg" ::/EFI/BOOT/BOOTX64.cfg &&
		mcopy -i "$work/disk" "$kernel" ::/EFI/BOOT/vmlinuz && mcopy -i "$work/disk" "$work/initrd" ::/EFI/BOOT/initrd || fail "no disk"
	start --firmware uefi --disk "file=$work/disk,bus=sata"
}

start() {
	timeout -k 5 280 "$KV_VMM" --machine pc --accel soft --cpus 2 --memory 768M --no-reboot "$@" </dev/null >"$work/log" 2>&1
	status=$?
	[ $status = 0 ] || fail "kv-vmm ended with $status"
	expect xen
	expect 2
	expect '@exit 0'
}

case $1 in
bios | uefi) "$1" ;;
*) exit 2 ;;
esac
