#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A kernel to /init with the interpreter shadowing the translator: no block may leave another state than its shadow, and
# nearly all of them must have been compared.
. "$(dirname "$0")/lib.sh"
need_kernel
"$tools/make-initrd" "$work/initrd" || fail "no initrd"
"$tools/vmlinux" "$work/vmlinux" "$kernel" || fail "no vmlinux"
KVCORE_JIT=lockstep timeout -k 5 580 "$KV_VMM" --accel soft --memory 512M --kernel "$work/vmlinux" --initrd "$work/initrd" \
	--no-reboot --append 'console=ttyS0 quiet' </dev/null >"$work/log" 2>&1
status=$?
[ $status = 0 ] || fail "kv-vmm ended with $status"
grep -q '^@init ' "$work/log" || fail "no line of /init"
grep '^lock-step: ' "$work/log"
grep -q '^lock-step: [0-9]\{8,\} blocks, 0 left out; of the others \(99\.[0-9]*\|100\.00\) % agree,.* 0 not shadowed, 0 different' "$work/log" ||
	fail "see the line of lock-step"
