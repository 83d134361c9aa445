#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The interpreter shadows the translator: no block may leave another state than its shadow, and nearly all of them must have been
# compared. usage: lockstep.sh linux|bios: a kernel to /init; or SeaBIOS and GRUB, which are 32-bit code, to GRUB's menu file.
. "$(dirname "$0")/lib.sh"
need_kernel
"$tools/make-initrd" "$work/initrd" || fail "no initrd"
case $1 in
linux)
	"$tools/vmlinux" "$work/vmlinux" "$kernel" || fail "no vmlinux"
	set -- --kernel "$work/vmlinux" --initrd "$work/initrd" --append 'console=ttyS0 quiet'
	line='^@init ' digits=8
	;;
bios)
	need grub-mkimage mformat
	[ -r /usr/share/seabios/bios-256k.bin ] || skip "no SeaBIOS (tools/install-deps test)"
	"$tools/make-boot-disk" -b "$work/disk" "$kernel" "$work/initrd" || fail "no disk"
	set -- --machine pc --firmware bios --disk file="$work/disk",format=raw
	line='grub: pc' digits=7
	;;
esac
KVCORE_JIT=lockstep timeout -k 5 580 "$KV_VMM" --accel soft --memory 512M --no-reboot "$@" </dev/null >"$work/log" 2>&1
status=$?
[ $status = 0 ] || fail "kv-vmm ended with $status"
grep -q "$line" "$work/log" || fail "no line '$line'"
grep '^lock-step: ' "$work/log"
grep -q '^lock-step: [0-9]\{'$digits',\} blocks, 0 left out; of the others \(99\.[0-9]*\|100\.00\) % agree,.* 0 not shadowed, 0 different' "$work/log" ||
	fail "see the line of lock-step"
