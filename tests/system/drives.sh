#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Drives of a PC as Linux's own drivers use them, on a micro machine. usage: drives.sh sata|nvme
# A file system survives, what is trimmed is given back, a read-only disk (NVMe) is one;
# sata: a CD-ROM drive's disc is read, and another one that QMP puts in.
. "$(dirname "$0")/lib.sh"
bus=$1
kernel=$(ls /boot/vmlinuz-*[0-9]-amd64 2>/dev/null | sort -V | tail -n 1)
[ -n "$kernel" ] && [ -r "$kernel" ] || skip "no linux-image-amd64 in /boot (tools/install-deps test)"
need busybox cpio modprobe python3 blkdiscard
for disc in first second; do
	head -c 1000000 /dev/urandom >"$work/$disc"
	truncate -s 1M "$work/$disc"
done
first=$(md5sum <"$work/first" | cut -d ' ' -f 1)
truncate -s 64M "$work/disk"
head -c 8M /dev/urandom | dd of="$work/disk" bs=1M seek=48 conv=notrunc status=none
cp "$work/first" "$work/readonly"
case $bus in
sata) a=/dev/sda b=/dev/sdb ;;
nvme) a=/dev/nvme0n1 b=/dev/nvme1n1 ;;
esac
mkdir "$work/run"
cat >"$work/run/script" <<S
n=0
until [ -b $a ] && [ -b $b ] && { [ $bus = nvme ] || [ -b /dev/sr0 ]; } || [ \$n = 100 ]; do
	n=\$((n + 1))
	sleep 0.1
done
a=$a b=$b
# Linux looks at SATA disks at once: either may be the first.
[ "\$(cat /sys/block/\${a#/dev/}/size)" = 131072 ] || a=$b b=$a
set -e
mke2fs -F \$a 40000 >/dev/null
mkdir -p /mnt
mount -t ext4 \$a /mnt
dd if=\$b of=/mnt/file bs=64k 2>/dev/null
for i in 1 2 3 4; do
	dd if=\$b of=/mnt/file\$i bs=4k 2>/dev/null &
done
wait
sync
umount /mnt
echo 3 >/proc/sys/vm/drop_caches
mount -t ext4 -o ro \$a /mnt
echo "disk: \$(cat /mnt/file /mnt/file1 /mnt/file2 /mnt/file3 /mnt/file4 | md5sum)"
umount /mnt
echo "read-only: \$(md5sum <\$b) \$(cat /sys/block/\${b#/dev/}/ro)"
/usr/sbin/blkdiscard -o 48M -l 8M \$a
dd if=/dev/zero of=\$a bs=4k count=1 seek=15000 oflag=direct conv=fsync 2>/dev/null
[ $bus = sata ] || exit 0
echo "disc: \$(md5sum </dev/sr0)"
n=0
until [ "\$(cat /sys/block/sr0/size)" = 4096 ] || [ \$n = 100 ]; do
	sleep 0.1
	: </dev/sr0 || true
	n=\$((n + 1))
done 2>/dev/null
echo "disc: \$(md5sum </dev/sr0)"
S
PATH="$PATH:/usr/sbin:/sbin" "$tools/make-initrd" -k -m ahci -m nvme -m sd_mod -m sr_mod -c "$work/run" "$work/initrd" blkdiscard ||
	fail "no initrd"
cat "$work/second" "$work/second" >"$work/other"
cat >"$work/change.py" <<'P'
import json, socket, sys, time
s = socket.socket(socket.AF_UNIX)
for _ in range(100):
    try:
        s.connect(sys.argv[1])
        break
    except OSError:
        time.sleep(0.1)
f = s.makefile('rw')
f.readline()
def command(name, **arguments):
    f.write(json.dumps({'execute': name, 'arguments': arguments}) + '\n')
    f.flush()
    while True:
        m = json.loads(f.readline())
        if 'return' in m or 'error' in m:
            return m
command('qmp_capabilities')
while 'disc: ' not in open(sys.argv[3], errors='replace').read():
    time.sleep(0.05)
print(command('blockdev-change-medium', device='disk2', filename=sys.argv[2], format='raw'))
drive = [d for d in command('query-block')['return'] if d['device'] == 'disk2'][0]
print(drive['removable'], drive['inserted']['file'], flush=True)
P
ro=1 # ATA has no read-only disks
[ $bus = nvme ] || ro=0
set -- --disk "file=$work/disk,bus=$bus" --disk "file=$work/readonly,bus=$bus,readonly=$([ $ro = 1 ] && echo on || echo off)"
if [ "$bus" = sata ]; then
	set -- "$@" --disk "file=$work/first,media=cdrom,bus=sata"
	: >"$work/log"
	python3 "$work/change.py" "$work/qmp" "$work/other" "$work/log" >"$work/changed" 2>&1 &
	server=$!
fi
timeout -k 5 230 "$KV_VMM" --accel soft --cpus 2 --memory 512M --kernel "$kernel" --initrd "$work/initrd" --no-reboot "$@" \
	--qmp "unix:$work/qmp" --append "console=ttyS0 quiet kv.run=\"sh $work/run/script\"" </dev/null >"$work/log" 2>&1
status=$?
[ $status = 0 ] || fail "kv-vmm ended with $status"
expect "@exit 0"
for i in 1 2 3 4 5; do
	cat "$work/readonly"
done >"$work/five"
expect "disk: $(md5sum <"$work/five" | cut -d ' ' -f 1)  -"
expect "read-only: $first  - $ro"
[ "$(dd if="$work/disk" bs=1M skip=48 count=8 status=none | tr -d '\0' | wc -c)" = 0 ] || fail "what was trimmed is still there"
[ "$bus" = sata ] || exit 0
expect "disc: $first  -"
expect "disc: $(md5sum <"$work/other" | cut -d ' ' -f 1)  -"
grep -q "True $work/other" "$work/changed" || fail "$(cat "$work/changed")"
