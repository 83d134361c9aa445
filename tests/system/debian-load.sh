#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What debian-disks.py has a Debian guest do while its disks are changed; comes to it on a CD.
# usage: debian-load.sh install|load
# install: packages of the CD, with apt. load: until /run/stop is there, each beside the others: transactions of sqlite, fio with
# checksums on both disks, a package that is installed and purged, discards. /root/result has a line for each: name, status, rounds.
set -u
cd /root
media=$(dirname "$0")

sqlite_load() {
	rows=0
	sqlite3 db 'create table t(n integer primary key, data blob)' || return
	while [ ! -e /run/stop ]; do
		# extra: the journal's end is on the disk as well, so what is committed does not come undone.
		sqlite3 db "pragma synchronous = extra; begin; insert into t values($((rows + 1)), randomblob(3000));
			update t set data = randomblob(2000) where n > $((rows - 20)) and n % 3 = 0; commit" || return
		rows=$((rows + 1))
		# What is told here is committed: the host counts on it.
		echo $rows >/run/rows.new && mv /run/rows.new /run/rows
	done
	echo $rows >rounds.sqlite
	[ "$(sqlite3 db 'pragma integrity_check')" = ok ] && [ "$(sqlite3 db 'select count(*), max(n) from t')" = "$rows|$rows" ]
}

fio_load() { # name folder
	rounds=0
	while [ ! -e /run/stop ]; do
		fio --name="$1" --filename="$2/fio.$((rounds % 2))" --size=16m --rw=randwrite --bsrange=4k-64k --ioengine=libaio \
			--iodepth=8 --direct=1 --fsync=16 --verify=crc32c --verify_fatal=1 --randseed=$rounds --output=fio.$1 || return
		rounds=$((rounds + 1))
	done
	echo $rounds >"rounds.$1"
	[ $rounds -gt 0 ]
}

package_load() {
	rounds=0
	while [ ! -e /run/stop ]; do
		dpkg -i "$media"/more/*.deb && dpkg --purge bash-completion && fstrim / || return
		rounds=$((rounds + 1))
	done
	echo $rounds >rounds.packages
	[ $rounds -gt 0 ] && dpkg -i "$media"/more/*.deb && [ -z "$(dpkg --audit)" ]
}

# part NAME COMMAND...
part() {
	name=$1
	shift
	"$@" >"log.$name" 2>&1
	status=$?
	echo "$name $status $(cat "rounds.$name" 2>/dev/null)" >>result.new
	[ $status = 0 ] || tail -n 5 "log.$name" "fio.$name" >>result.new 2>/dev/null
}

case $1 in
install) DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$media"/debs/*.deb ;;
load)
	part sqlite sqlite_load &
	part fio fio_load fio /root &
	[ ! -d /data ] || part data fio_load data /data &
	part packages package_load &
	wait
	mv result.new result
	;;
esac
