#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A Debian on a PC: firmware, GRUB on one disk, the root on another; every unit up, ACPI's interrupt, the HPET and the clock as
# their drivers find them, and the power button, which is PM1's, powers it off. usage: pc-debian.sh GUEST-DIRECTORY bios|uefi
. "$(dirname "$0")/lib.sh"
need python3 grub-mkimage mformat
[ -s "$1/debian.raw" ] && [ -s "$1/vmlinuz" ] && [ -s "$1/initrd.img" ] || skip "no guest in $1 (tools/make-guest)"
"$tools/make-boot-disk" "$work/boot" "$1/vmlinuz" "$1/initrd.img" 'root=LABEL=root console=ttyS0' || fail "no disk"
"$tools/console-drive" --button --timeout 400 --log "$work/log" --run 'test "$(systemctl is-system-running --wait)" = running' \
	--run 'nproc | grep -x 2' --run 'findmnt -no SOURCE / | grep -x /dev/vdb' \
	--run 'grep -E "^ *0: .*IO-APIC +2-edge +timer" /proc/interrupts' \
	--run 'grep -E "^ *9: .*IO-APIC +9-fasteoi +acpi" /proc/interrupts' \
	--run 'grep -w hpet /sys/devices/system/clocksource/clocksource0/available_clocksource' \
	--run 'grep -w acpi_pm /sys/devices/system/clocksource/clocksource0/available_clocksource' \
	--run hwclock \
	--run 'systemd-detect-virt | grep -x kvm' \
	--run 'dmesg | grep -iE "firmware (bug|warn)|acpi( bios)?:? (error|warn|exception)|AE_[A-Z]+"; test $? = 1' \
	--run 'test "$(dmesg -l emerg,alert,crit,err)" = ""' \
	--run 'test "$(systemctl --no-legend --failed)" = ""' -- \
	"$KV_VMM" --machine pc --firmware "$2" --accel soft --cpus 2 --memory 1G --disk file="$work/boot",format=raw \
	--disk file="$1/debian.raw",format=raw,snapshot=on --no-reboot || fail "see above"
