#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# `meson install` gives programs that run from where they are, a library that links, and man pages. usage: install.sh BUILD
. "$(dirname "$0")/lib.sh"
need meson
unset LD_LIBRARY_PATH
DESTDIR=$work meson install -C "$1" --no-rebuild >"$work/log" 2>&1 || fail "meson install"
vmm=$(find "$work" -path '*/bin/kv-vmm')
[ -n "$vmm" ] || fail "no bin/kv-vmm"
prefix=${vmm%/bin/kv-vmm}
"$vmm" --version >"$work/log" 2>&1 || fail "the installed kv-vmm does not start"
grep -q kv-vmm "$work/log" || fail "--version does not name the program"
ldd "$vmm" | grep libkvcore | grep -q "$prefix" || fail "the installed kv-vmm takes libkvcore from elsewhere"
[ -s "$prefix/share/man/man1/kv-vmm.1" ] || [ -s "$prefix/share/man/man1/kv-vmm.1.gz" ] || fail "no man page"
[ -s "$prefix/include/kvcore/core.h" ] || fail "no core.h"
