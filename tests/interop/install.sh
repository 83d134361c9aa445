#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What `meson install` leaves behind works where it is put: the program finds its library, the man page is one, the
# completions parse. usage: install.sh BUILD-FOLDER PREFIX. Exit status 77: meson cannot install from here.
set -u
# Meson sets this for tests; an installed program has to find its library without.
unset LD_LIBRARY_PATH
build=$1
prefix=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
	echo "install: $1"
	exit 1
}

command -v meson >/dev/null || { echo "skipped: no meson"; exit 77; }
meson install -C "$build" --no-rebuild --quiet --destdir "$work/dest" >"$work/log" 2>&1 || {
	cat "$work/log"
	fail "meson install fails"
}
# Somewhere else than it was built for: nothing in it may depend on the place.
mv "$work/dest$prefix" "$work/moved" || fail "nothing under the prefix"
program=$work/moved/bin/kv-vmm
[ -x "$program" ] || fail "no bin/kv-vmm"
version=$(cd / && "$program" --version) || fail "kv-vmm --version fails"
case $version in "kv-vmm (Kvasir) "*) ;; *) fail "kv-vmm --version says '$version'" ;; esac
ldd "$program" | grep -q "libkvcore.so.* => $work/moved/" || fail "kv-vmm does not use the libkvcore beside it"
version=$("$work/moved/bin/kv-img" --version) || fail "kv-img --version fails"
case $version in "kv-img (Kvasir) "*) ;; *) fail "kv-img --version says '$version'" ;; esac
# Its modules are found from there: a name that cannot be reached says what libnbd says.
"$work/moved/bin/kv-img" info 'nbd+unix:///?socket=/nowhere' 2>&1 | grep -q nbd_connect_uri || fail "kv-img does not find its modules"
"$work/moved/bin/kv-img" serve --tls-creds /nowhere -r "$0" 2>&1 | grep -q ca-cert.pem || fail "kv-img does not find GnuTLS"
"$program" --kernel "$0" --net user --qmp "unix:$work/qmp" 2>"$work/log" </dev/null
grep -q 'is neither a' "$work/log" || { cat "$work/log"; fail "kv-vmm does not find its modules"; }
kvsh=$work/moved/bin/kvsh
[ "$("$kvsh" echo a)" = a ] || fail "kvsh echo says something else"
mkdir "$work/empty"
"$kvsh" -c "qemu://localhost/system?pkipath=$work/empty" list 2>&1 | grep -q 'cacert.pem\|unable to connect' || fail "kvsh does not find its modules"
check_page() { # name, a text that it has
	page=$(find "$work/moved/share/man/man${1##*.}" -name "$1*" 2>/dev/null | head -n 1)
	[ -n "$page" ] || fail "no share/man/man${1##*.}/$1"
	command -v man >/dev/null || return 0
	man --warnings -l "$page" >"$work/text" 2>"$work/warnings" || fail "man cannot show $1"
	[ ! -s "$work/warnings" ] || { cat "$work/warnings"; fail "$1 has errors"; }
	grep -q "$2" "$work/text" || fail "$1 is empty"
}
check_page kv-vmm.1 'run a virtual machine'
check_page kv-img.1 'convert, serve and look at disk images'
check_page kvsh.1 'look at and change virtual machines'
check_page kvd.8 'manages virtual machines'
check_page kvd.conf.5 'settings of kvd'
check_page kv-ssh-helper.1 'the other end of ssh'
"$work/moved/bin/kv-ssh-helper" --version | grep -q '^kv-ssh-helper ' || fail "kv-ssh-helper --version fails"
for policy in unix api; do
	[ -f "$work/moved/share/polkit-1/actions/org.kvasir.$policy.policy" ] || fail "no actions of polkit"
done
for unit in kvd.service kvd.socket kvd-ro.socket kvd-tls.socket; do
	[ -f "$work/moved/lib/systemd/system/$unit" ] || fail "no unit $unit"
done
for unit in kvd.service kvd.socket; do
	[ -f "$work/moved/lib/systemd/user/$unit" ] || fail "no unit $unit for users"
done
grep -q "^ExecStart=$prefix/bin/kvd --session" "$work/moved/lib/systemd/user/kvd.service" || fail "the users' kvd.service starts something else"
grep -q "^ExecStart=$prefix/bin/kvd --system" "$work/moved/lib/systemd/system/kvd.service" || fail "kvd.service starts something else"
completion=$work/moved/share/bash-completion/completions/kv-vmm.bash
[ -f "$completion" ] || fail "no bash completion"
[ -f "$work/moved/share/zsh/site-functions/_kv-vmm" ] || fail "no zsh completion"
[ -f "$work/moved/share/bash-completion/completions/kv-img.bash" ] || fail "no bash completion of kv-img"
complete() { # words after kv-vmm, the last one unfinished: what bash offers
	bash -c 'source "$1"; shift; compopt() { :; }
		COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
		_kv_vmm; echo "${COMPREPLY[*]}"' - "$completion" kv-vmm "$@"
}
expect() { # what bash should offer, then the words
	wanted=$1
	shift
	got=$(complete "$@")
	[ "$got" = "$wanted" ] || fail "completion of '$*' is '$got', not '$wanted'"
}
if command -v bash >/dev/null; then
	expect "--kernel" --ker
	expect "auto" --accel au
	expect "auto kvm soft" --accel ""
	expect "user" --net us
	expect "readonly=" --disk rea
	expect "unix" --qmp un
	got=$(bash -c 'source "$1"; COMP_WORDS=(kv-img conv); COMP_CWORD=1; _kv_img; echo "${COMPREPLY[*]}"' - \
		"$work/moved/share/bash-completion/completions/kv-img.bash")
	[ "$got" = convert ] || fail "completion of 'kv-img conv' is '$got'"
fi
exit 0
