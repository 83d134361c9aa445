#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A kernel to /init and back: all processors are there, no warning, and the guest's power-off ends kv-vmm with 0.
# usage: boot-init.sh bzimage|vmlinux CPUS
. "$(dirname "$0")/lib.sh"
need_kernel
"$tools/make-initrd" "$work/initrd" || fail "no initrd"
if [ "$1" = vmlinux ]; then
	"$tools/vmlinux" "$work/vmlinux" "$kernel" || fail "no vmlinux"
	kernel=$work/vmlinux
fi
timeout -k 5 230 "$KV_VMM" --accel soft --cpus "$2" --memory 512M --kernel "$kernel" --initrd "$work/initrd" --no-reboot \
	--append 'console=ttyS0 quiet kv.run="nproc; grep -c ^flags /proc/cpuinfo; dmesg | grep -c [W]ARNING: || true"' \
	</dev/null >"$work/log" 2>&1
status=$?
[ $status = 0 ] || fail "kv-vmm ended with $status"
grep -q '^@init ' "$work/log" || fail "no line of /init"
[ "$(tr -d '\r' <"$work/log" | grep -A 2 '^@init ' | tail -n 2 | tr '\n' ' ')" = "$2 $2 " ] || fail "not $2 processors"
expect 0
