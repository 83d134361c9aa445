#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian's QEMU, unmodified, with `-accel kvm` on the software KVM: boots the installed kernel to /init of a busybox
# initramfs, through SeaBIOS, and must power off by itself. usage: qemu-preload.sh LIBKVCORE-PRELOAD.SO [CPUS]
# Exit status 77: something needed is not installed.
set -u
preload=$1
cpus=${2:-1}

skip() {
	echo "skipped: $1"
	exit 77
}

command -v qemu-system-x86_64 >/dev/null || skip "no qemu-system-x86_64"
command -v cpio >/dev/null || skip "no cpio"
[ -x /bin/busybox ] || skip "no static busybox"
kernel=$(ls /boot/vmlinuz-*-cloud-amd64 2>/dev/null | tail -n 1)
[ -n "$kernel" ] && [ -r "$kernel" ] || skip "no cloud kernel in /boot"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root/bin" "$work/root/proc" "$work/root/dev"
cp /bin/busybox "$work/root/bin/"
cat >"$work/root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
echo "init runs on $(/bin/busybox nproc) processors"
/bin/busybox grep -c hypervisor /proc/cpuinfo
/bin/busybox poweroff -f
INIT
chmod +x "$work/root/init"
(cd "$work/root" && find . | cpio --quiet -o -H newc | gzip -1) >"$work/initrd"

LD_PRELOAD=$preload timeout 120 qemu-system-x86_64 -accel kvm -cpu host -smp "$cpus" -m 256 -nodefaults -display none \
	-serial stdio -no-reboot -kernel "$kernel" -initrd "$work/initrd" -append "console=ttyS0 quiet panic=-1" \
	</dev/null >"$work/log" 2>&1
status=$?
grep -q "init runs on $cpus processors" "$work/log" && [ $status -eq 0 ] && exit 0
echo "QEMU ended with status $status; the last lines:"
tail -n 30 "$work/log"
exit 1
