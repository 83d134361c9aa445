#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What firmware is told and what it remembers. usage: firmware.sh kernel|variables|small
# kernel: SeaBIOS starts a kernel of fw_cfg, and Linux has nothing to say against ACPI's tables; SMBIOS says what was asked for.
# variables: what the UEFI shell of OVMF stores is there in the next machine that has the same file.
# small: OVMF's 4M build, whose PEI is 32-bit code and makes page tables for all physical addresses, in 256 MiB of memory.
. "$(dirname "$0")/lib.sh"

kernel() {
	need_kernel
	for file in /usr/share/seabios/bios-256k.bin /usr/share/qemu/linuxboot_dma.bin; do
		[ -r "$file" ] || skip "no $file (tools/install-deps test)"
	done
	"$tools/make-initrd" "$work/initrd" || fail "no initrd"
	said='dmesg | grep -v kv[.]run | grep -E \"ACPI|PCI|pnp|hpet\" | grep -ciE \"error|warn|bug:|fail|invalid|conflict\" || true'
	run="nproc; cat /sys/class/dmi/id/sys_vendor; $said; dmesg | grep -v kv[.]run | grep -c \"ACPI: Interpreter enabled\""
	timeout -k 5 150 "$KV_VMM" --machine pc --accel soft --cpus 2 --memory 512M --kernel "$kernel" --initrd "$work/initrd" \
		--smbios type=1,manufacturer=Acme --no-reboot --append "console=ttyS0 quiet kv.run=\"$run\"" </dev/null >"$work/log" 2>&1
	status=$?
	[ $status = 0 ] || fail "kv-vmm ended with $status"
	grep -q '^@init ' "$work/log" || fail "no line of /init"
	tr -d '\r' <"$work/log" | grep -A 4 '^@init ' | tail -n 4 | tr '\n' ' ' >"$work/said"
	[ "$(cat "$work/said")" = "2 Acme 0 1 " ] || fail "Linux says '$(cat "$work/said")'"
}

# A disk whose startup.nsh has the lines; with what the shell of $firmware says as $work/log.
firmware=uefi
shell() {
	printf '%s\r\n' "$@" 'reset -s' >"$work/startup.nsh"
	rm -f "$work/disk"
	truncate -s 8M "$work/disk"
	mformat -i "$work/disk" :: && mcopy -i "$work/disk" "$work/startup.nsh" ::/startup.nsh || fail "no disk"
	timeout -k 5 150 "$KV_VMM" --machine pc --firmware "$firmware" --nvram "$work/nvram" --accel soft --memory 256M --no-reboot \
		--disk file="$work/disk",bootindex=0 </dev/null >"$work/log" 2>&1
	status=$?
	[ $status = 0 ] || fail "kv-vmm ended with $status"
}

variables() {
	need mformat mcopy
	[ -r /usr/share/OVMF/OVMF_CODE.fd ] || skip "no OVMF_CODE.fd (tools/install-deps test)"
	guid=5d9f96db-e731-4caa-a00d-72e187cd7762
	shell "setvar kvasir -guid $guid -bs -nv =0x6b767631"
	shell "setvar kvasir -guid $guid"
	tr -d '\r' <"$work/log" | grep -q '31 76 76 6B' || fail "the variable is forgotten"
}

small() {
	need mformat mcopy
	firmware=/usr/share/OVMF/OVMF_CODE_4M.fd
	[ -r "$firmware" ] || skip "no $firmware (tools/install-deps test)"
	shell "echo kvasir was here"
	tr -d '\r' <"$work/log" | grep -q '^kvasir was here' || fail "the shell was not there"
}

case $1 in
kernel | variables | small) "$1" ;;
*) exit 2 ;;
esac
