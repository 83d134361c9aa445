#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Linux's own drivers on our devices: a file system on a disk survives, DHCP and TCP out work, a read-only disk is one, random
# numbers come, free memory is reported back.
. "$(dirname "$0")/lib.sh"
need_kernel
need python3
"$tools/make-initrd" -m virtio_rng "$work/initrd" || fail "no initrd"
mkdir "$work/www"
head -c 3000000 /dev/urandom >"$work/www/file"
want=$(md5sum <"$work/www/file" | cut -d ' ' -f 1)
cp "$work/www/file" "$work/readonly"
truncate -s 3000320 "$work/readonly"
truncate -s 64M "$work/disk"
python3 - "$work/www" >"$work/port" <<'P' &
import functools, http.server, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
print(server.server_port, flush=True)
server.serve_forever()
P
server=$!
until [ -s "$work/port" ]; do
	sleep 0.1
	kill -0 $server 2>/dev/null || fail "the web server did not start"
done
cat >"$work/script" <<S
set -e
ip link set eth0 up
udhcpc -n -q -f -i eth0 -s /bin/true -O router >/dev/null 2>&1
ip addr add 10.0.2.15/24 dev eth0
mke2fs -F /dev/vda >/dev/null
mkdir -p /mnt
mount -t ext4 /dev/vda /mnt || mount -t ext2 /dev/vda /mnt
wget -q -O /mnt/file http://10.0.2.2:$(cat "$work/port")/file
sync
umount /mnt
echo 3 >/proc/sys/vm/drop_caches
mount -t ext4 -o ro /dev/vda /mnt
echo "net and disk: \$(md5sum </mnt/file)"
echo "read-only: \$(head -c 3000000 /dev/vdb | md5sum) \$(cat /sys/block/vdb/ro)"
echo "random: \$(head -c 64 /dev/hwrng | wc -c)"
S
mkdir "$work/run"
cp "$work/script" "$work/run/script"
"$tools/make-initrd" -c "$work/run" "$work/initrd" || fail "no initrd"
timeout -k 5 230 "$KV_VMM" --accel soft --cpus 2 --memory 512M --kernel "$kernel" --initrd "$work/initrd" --no-reboot \
	--disk "file=$work/disk" --disk "file=$work/readonly,readonly=on" --net user \
	--append "console=ttyS0 quiet kv.run=\"sh $work/run/script\"" </dev/null >"$work/log" 2>&1
status=$?
[ $status = 0 ] || fail "kv-vmm ended with $status"
expect "net and disk: $want  -"
expect "read-only: $want  - 1"
expect "random: 64"
expect "@exit 0"
