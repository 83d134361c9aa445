#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What tools of others say about a PC that they find themselves in (pc-look-guest.sh): ACPICA's about each ACPI table, which they
# take apart and put together again, lspci, lsusb, dmidecode, virt-what, and Linux in its log. usage: pc-look.sh bios|uefi
. "$(dirname "$0")/lib.sh"
need_kernel
need acpidump iasl lspci lsusb dmidecode virt-what
kernel=$(ls /boot/vmlinuz-*[0-9]-amd64 2>/dev/null | sort -V | tail -n 1)
[ -n "$kernel" ] && [ -r "$kernel" ] || skip "no kernel with drivers in /boot (tools/install-deps test)"
helper=/usr/libexec/virt-what-cpuid-helper
[ -x $helper ] || skip "no $helper"
mkdir "$work/look"
cp "$(dirname "$0")/pc-look-guest.sh" "$work/look/look"
"$tools/make-initrd" -k -m ahci -m nvme -m xhci_pci -m usbhid -m usb-storage -m e1000e -m lpc_ich -m bochs -m button -m rtc_cmos \
	-c "$work/look" -c $helper -c /usr/share/misc/pci.ids "$work/initrd" acpidump iasl lspci lsusb \
	"$(PATH="$PATH:/usr/sbin" command -v dmidecode)" "$(PATH="$PATH:/usr/sbin" command -v virt-what)" || fail "no initrd"
for disk in sata nvme usb; do
	truncate -s 4M "$work/$disk"
done
timeout -k 5 170 "$KV_VMM" --machine pc --firmware "$1" --accel soft --cpus 2 --memory 512M --no-reboot --kernel "$kernel" \
	--initrd "$work/initrd" --disk "file=$work/sata,bus=sata" --disk "file=$work/nvme,bus=nvme" --disk "file=$work/usb,bus=usb" \
	--net user,model=e1000e --device usb-kbd --device usb-tablet --append "console=ttyS0 loglevel=1 kv.run=sh $work/look/look" \
	</dev/null >"$work/log" 2>&1
status=$?
[ $status = 0 ] || fail "kv-vmm ended with $status"
grep -q '^@exit 0' "$work/log" || fail "the guest did not come to the end"
! grep -q '^wrong:' "$work/log" || fail "something complains"
expect 'virt-what: kvm'
for table in apic dsdt facp facs hpet mcfg; do
	expect "table: $table"
done
