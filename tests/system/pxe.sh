#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# From the network to /init: a card's option ROM (iPXE), DHCP, TFTP of a script, a kernel and an initrd, in the sandbox that a
# command line without QMP gets. usage: pxe.sh bios|uefi virtio|e1000e
. "$(dirname "$0")/lib.sh"
need_kernel
[ -r "/usr/lib/ipxe/qemu/efi-$2.rom" ] || skip "no ROM of iPXE (tools/install-deps test)"
case $1 in
bios) firmware=/usr/share/seabios/bios-256k.bin more= ;;
uefi) firmware=/usr/share/ovmf/OVMF.fd more=initrd=initrd ;;
esac
[ -r "$firmware" ] || skip "no $firmware (tools/install-deps test)"
mkdir "$work/tftp"
cp "$kernel" "$work/tftp/vmlinuz"
"$tools/make-initrd" "$work/tftp/initrd" || fail "no initrd"
chmod 644 "$work/tftp/vmlinuz" "$work/tftp/initrd"
cat >"$work/tftp/boot.ipxe" <<S
#!ipxe
kernel vmlinuz $more console=ttyS0 quiet kv.run="cat /sys/bus/pci/devices/0000:00:02.0/device; ls -1 /sys/firmware"
initrd initrd
boot
S
timeout -k 5 230 "$KV_VMM" --machine pc --firmware "$firmware" --accel soft --memory 512M --no-reboot --boot order=n \
	--net "user,model=$2,tftp=$work/tftp,bootfile=boot.ipxe" </dev/null >"$work/log" 2>&1
status=$?
[ $status = 0 ] || fail "kv-vmm ended with $status"
case $2 in
virtio) expect 0x1041 ;;
e1000e) expect 0x10d3 ;;
esac
if [ "$1" = uefi ]; then expect efi; fi
expect '@exit 0'
