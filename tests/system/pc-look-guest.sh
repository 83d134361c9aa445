# SPDX-License-Identifier: GPL-2.0-or-later
# What pc-look.sh has its guest do, in busybox's shell; what is wrong is said in lines that begin with "wrong".
none() { # WHAT FILE REGULAR-EXPRESSION: it has lines, and none of these
	[ -s "$2" ] || echo "wrong: $1 says nothing"
	grep -iE "$3" "$2" | sed "s/^/wrong: $1: /"
}

echo "virt-what: $(virt-what 2>&1)"

dmesg -r >log
none Linux log '^<[0-3]>'
none Linux log 'firmware (bug|warn)|acpi( bios)?:? (error|warn|exception)|AE_[A-Z]+|nobody cared'

# There is no module of the kernel that lspci could know.
lspci -vv 2>&1 | grep -v libkmod >pci
none lspci pci '!!!|<access denied>|unknown header|chain (looped|broken)|rev ff|^(lspci|pcilib):|unassigned'
for driver in bochs-drm nvme xhci_hcd e1000e lpc_ich ahci; do
	grep -q "driver in use: $driver$" pci || echo "wrong: $driver has no device"
done

# What is there late is waited for. libusb asks udev's notes for what is ready; only without their driver HID devices say all.
until [ "$(cat /sys/bus/usb/devices/*/product | grep -c Kvasir)" = 3 ] || [ "$((tries += 1))" -gt 100 ]; do
	sleep 0.1
done
rmmod usbhid
mkdir -p /run/udev/data
for device in /sys/bus/usb/devices/*/dev; do
	echo I:1 >"/run/udev/data/c$(cat "$device")"
done
lsusb -v >usb 2>&1
none lsusb usb "can.?t|cannot|couldn.t|unrecognized|warning|invalid|error|unavailable"
for device in 'USB Storage' 'USB Tablet' 'USB Keyboard'; do
	grep -q "^Bus .*$device" usb || echo "wrong: lsusb has no $device"
done

dmidecode >dmi 2>&1
none dmidecode dmi 'invalid|wrong|broken|<bad|out of spec|truncated|inconsistent|not present:'
for part in 'BIOS Information' 'System Information' 'Processor Information' 'Memory Device' 'End Of Table'; do
	grep -q "^$part" dmi || echo "wrong: no $part"
done

mkdir tables
cd tables || exit
acpidump -b || echo 'wrong: acpidump failed'
for table in *.dat; do
	name=${table%.dat}
	cp "$table" "$name.aml"
	iasl -p "$name" -d "$name.aml" >apart 2>&1 || echo "wrong: $name: not taken apart"
	none "iasl -d $name" apart 'error|warning|could not|unknown|invalid|incorrect'
	# Without optimizations of its own it makes the same table.
	iasl -oa -p "new-$name" "$name.dsl" >together 2>&1
	grep -qF ' 0 Errors, 0 Warnings' together || sed "s/^/wrong: $name: /" together
	# Its name and number are the last 8 bytes of the header; the sum is byte 10.
	cmp -l "$table" "new-$name.aml" 2>&1 | grep -vE '^ *(10|29|3[0-6]) +[0-7]+ +[0-7]+$' | sed "s/^/wrong: $name: other bytes: /"
	echo "table: $name"
done
