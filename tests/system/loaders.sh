#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Boot loaders of others, each from its own medium to /init. usage: loaders.sh bios|uefi LOADER
# isolinux, syslinux, pxelinux, ipxe-iso, ipxe-lkrn, xen: BIOS; systemd-boot, xen: UEFI; grub-cdrom, grub-usb: both, of one ISO.
. "$(dirname "$0")/lib.sh"
need_kernel
case $1 in
bios) firmware=/usr/share/seabios/bios-256k.bin ;;
uefi) firmware=/usr/share/ovmf/OVMF.fd ;;
esac
[ -r "$firmware" ] || skip "no $firmware (tools/install-deps test)"
said='ls -1 /sys/firmware'
lines="console=ttyS0 quiet kv.run=$said"

have() { # files of packages
	for file in "$@"; do
		[ -r "$file" ] || skip "no $file (tools/install-deps test)"
	done
}

# put DIRECTORY: the kernel and an initrd in it.
put() {
	mkdir -p "$1"
	cp "$kernel" "$1/vmlinuz" && "$tools/make-initrd" "$1/initrd" || fail "no initrd"
	chmod 644 "$1/vmlinuz" "$1/initrd"
}

start() { # kv-vmm's options
	timeout -k 5 230 "$KV_VMM" --machine pc --firmware "$firmware" --accel soft --memory 768M --no-reboot "$@" </dev/null >"$work/log" 2>&1
	status=$?
	[ $status = 0 ] || fail "kv-vmm ended with $status"
	expect dmi
	expect '@exit 0'
}

# A configuration for all of SYSLINUX's family, whose files are beside it.
syslinux_config() {
	printf '%s\n' 'serial 0 115200' 'default start' 'label start' ' kernel vmlinuz' " append initrd=initrd $lines" >"$1"
}

isolinux() {
	have /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32
	need xorriso
	put "$work/tree"
	cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/tree"
	syslinux_config "$work/tree/isolinux.cfg"
	xorriso -as mkisofs -quiet -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table -o "$work/iso" \
		"$work/tree" >/dev/null 2>&1 || fail "no disc"
	start --cdrom "$work/iso"
}

syslinux_disk() {
	need syslinux mformat mcopy
	put "$work/tree"
	syslinux_config "$work/tree/syslinux.cfg"
	truncate -s 64M "$work/disk"
	mformat -i "$work/disk" -h 16 -s 63 :: && mcopy -i "$work/disk" "$work/tree"/* :: && syslinux --install "$work/disk" || fail "no disk"
	start --disk "file=$work/disk,bus=sata"
}

pxelinux() {
	have /usr/lib/PXELINUX/pxelinux.0 /usr/lib/syslinux/modules/bios/ldlinux.c32 /usr/lib/ipxe/qemu/efi-virtio.rom
	put "$work/tftp"
	cp /usr/lib/PXELINUX/pxelinux.0 /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/tftp"
	mkdir "$work/tftp/pxelinux.cfg"
	syslinux_config "$work/tftp/pxelinux.cfg/default"
	start --net "user,tftp=$work/tftp,bootfile=pxelinux.0" --boot order=n
}

# iPXE without a ROM of the card.
ipxe() { # options that start it
	put "$work/tftp"
	printf '%s\n' '#!ipxe' "kernel vmlinuz $lines" 'initrd initrd' boot >"$work/tftp/boot.ipxe"
	start --net "user,rombar=off,tftp=$work/tftp,bootfile=boot.ipxe" "$@"
}

grub_iso() {
	need grub-mkrescue xorriso mformat
	put "$work/tree/boot"
	mkdir "$work/tree/boot/grub"
	printf '%s\n' 'serial' 'terminal_output serial console' "linux /boot/vmlinuz $lines" 'initrd /boot/initrd' boot >"$work/tree/boot/grub/grub.cfg"
	grub-mkrescue -o "$work/iso" "$work/tree" >"$work/log" 2>&1 || fail "no disc"
}

systemd_boot() {
	have /usr/lib/systemd/boot/efi/systemd-bootx64.efi
	need sfdisk mformat mcopy mmd
	put "$work/tree"
	printf '%s\n' 'default kv.conf' 'timeout 0' >"$work/loader.conf"
	printf '%s\n' 'title Linux' 'linux /vmlinuz' 'initrd /initrd' "options $lines" >"$work/kv.conf"
	truncate -s 72M "$work/disk"
	echo 'start=2048, size=64M, type=U' | sfdisk -q --label gpt "$work/disk" || fail "no partitions"
	at=$work/disk@@1M
	mformat -i "$at" -T 131072 -h 16 -s 63 -H 2048 :: && mmd -i "$at" ::/EFI ::/EFI/BOOT ::/loader ::/loader/entries &&
		mcopy -i "$at" /usr/lib/systemd/boot/efi/systemd-bootx64.efi ::/EFI/BOOT/BOOTX64.EFI &&
		mcopy -i "$at" "$work/tree/vmlinuz" "$work/tree/initrd" :: && mcopy -i "$at" "$work/loader.conf" ::/loader/ &&
		mcopy -i "$at" "$work/kv.conf" ::/loader/entries/ || fail "no disk"
	start --disk "file=$work/disk,bus=nvme"
}

case $1-$2 in
bios-isolinux) isolinux ;;
bios-syslinux) syslinux_disk ;;
bios-pxelinux) pxelinux ;;
bios-ipxe-iso)
	have /usr/lib/ipxe/ipxe.iso
	ipxe --cdrom /usr/lib/ipxe/ipxe.iso
	;;
bios-ipxe-lkrn)
	have /boot/ipxe.lkrn
	ipxe --kernel /boot/ipxe.lkrn
	;;
*-grub-cdrom)
	grub_iso
	start --cdrom "$work/iso"
	;;
*-grub-usb)
	grub_iso
	start --disk "file=$work/iso,bus=usb"
	;;
uefi-systemd-boot) systemd_boot ;;
*) exit 2 ;;
esac
if [ "$1" = uefi ]; then expect efi; fi
