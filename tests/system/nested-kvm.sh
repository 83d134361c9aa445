#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The same kv-vmm on a genuine Linux KVM: in a Debian kernel under QEMU's TCG with kvm-amd, it boots the same kernel to /init.
# usage: nested-kvm.sh CPUS
. "$(dirname "$0")/lib.sh"
need_kernel
need qemu-system-x86_64 python3
mkdir "$work/in"
"$tools/make-initrd" "$work/in/initrd" || fail "no initrd"
cp "$kernel" "$work/in/kernel"
"$tools/nested-kvm" --timeout 200 --memory 1024 --program "$KV_VMM" --copy "$work/in" -- \
	"$KV_VMM --accel kvm --cpus $1 --memory 256M --kernel $work/in/kernel --initrd $work/in/initrd --no-reboot" \
	"--append 'console=ttyS0 quiet kv.run=\"nproc\"' </dev/null" >"$work/log" 2>&1
status=$?
[ $status = 0 ] || fail "status $status"
grep -q '^@init ' "$work/log" || fail "no line of /init"
expect "$1"
