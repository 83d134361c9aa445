#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian's 32-bit kernels on two processors, with and without PAE, to their initrd and its end. usage: i386.sh GUEST-DIRECTORY 686|686-pae
. "$(dirname "$0")/lib.sh"
dir=$1/i386
[ -s "$dir/initrd.gz" ] || skip "no 32-bit kernels in $dir (tools/make-i386)"
# The kernel's self tests of ciphers take minutes in the interpreter.
timeout -k 5 570 "$KV_VMM" --machine pc --accel soft --cpus 2 --memory 512M --no-reboot --vga none --kernel "$dir/vmlinuz-$2" \
	--initrd "$dir/initrd.gz" --append "console=ttyS0 quiet cryptomgr.notests" </dev/null >"$work/log" 2>&1
status=$?
[ $status = 0 ] || fail "kv-vmm ended with $status"
expect i686
expect 2
expect "kernel $2"
expect 0000:00:00.0
expect '@exit 0'
