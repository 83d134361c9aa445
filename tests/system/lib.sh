# SPDX-License-Identifier: GPL-2.0-or-later
# What the tests of this folder share; sourced by them. They get the programs' paths in the environment (meson.build).
set -u
tools=$(cd "$(dirname "$0")/../../tools" && pwd)
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT

skip() {
	echo "skipped: $*"
	exit 77
}

fail() {
	echo "failed: $*"
	[ ! -f "$work/log" ] || tail -n 40 "$work/log"
	exit 1
}

need() { # programs
	for program in "$@"; do
		PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || skip "no $program"
	done
}

need_kernel() {
	kernel=$(ls /boot/vmlinuz-*-cloud-amd64 2>/dev/null | sort -V | tail -n 1)
	[ -n "$kernel" ] && [ -r "$kernel" ] || skip "no cloud kernel in /boot (tools/install-deps test)"
	need busybox cpio modprobe
}

# expect TEXT: a line of the log is TEXT, carriage returns aside.
expect() {
	tr -d '\r' <"$work/log" | grep -qxF -- "$1" || fail "the console does not say '$1'"
}
