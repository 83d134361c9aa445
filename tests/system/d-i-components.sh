#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Components of Debian's installer, a step each: what d-i.py has beside those that a mirror has. They run in the installer, by its shell.
set -e
step=@STEP@

the_disk() {
	disk=
	for disk in /dev/vda /dev/sda; do
		if [ -b $disk ]; then
			echo $disk
			return
		fi
	done
}

# How a machine starts is what its installer was started by.
is_uefi() { [ -d /sys/firmware/efi ]; }

# What the installer writes down goes to a second serial port, for whoever looks for why it failed.
disk() {
	tail -n +1 -f /var/log/syslog >/dev/ttyS1 2>/dev/null </dev/null &
	depmod
	for module in ahci virtio_blk sd_mod ext4 vfat; do
		modprobe -q $module || true
	done
	for i in 1 2 3 4 5 6 7 8 9; do
		update-dev >/dev/null || true
		disk=$(the_disk)
		[ -z "$disk" ] || break
		sleep 1
	done
	export LD_LIBRARY_PATH=/usr/lib/kv-disk
	if is_uefi; then
		printf 'label: gpt\nsize=64MiB,type=uefi\ntype=linux\n' | /usr/lib/kv-disk/sfdisk -q "$disk"
		root=${disk}2
	else
		printf 'label: dos\ntype=83,bootable\n' | /usr/lib/kv-disk/sfdisk -q "$disk"
		root=${disk}1
	fi
	update-dev >/dev/null || true
	/usr/lib/kv-disk/mke2fs -q -F -t ext4 "$root"
	unset LD_LIBRARY_PATH
	mkdir -p /target
	mount -t ext4 "$root" /target
	mkdir -p /target/etc
	echo "UUID=$(blkid -s UUID -o value "$root") / ext4 errors=remount-ro 0 1" >/target/etc/fstab
	echo "kv-disk: /target is $root" >/dev/ttyS0
}

mapdevfs() { readlink -f "$1"; }

# The mirror's lists are signed by nobody.
trust() {
	mkdir -p /target/etc/apt/apt.conf.d
	echo 'Acquire::AllowInsecureRepositories "true";' >/target/etc/apt/apt.conf.d/00AllowUnauthenticated-lists
}

boot() {
	disk=$(the_disk)
	cat >>/target/etc/default/grub.kv <<'G'
GRUB_TIMEOUT=0
GRUB_TERMINAL=serial
GRUB_CMDLINE_LINUX=console=ttyS0
G
	if is_uefi; then
		apt-install grub2-common
		apt-install grub-efi-amd64-bin
		apt-install dosfstools
		in-target mkfs.vfat "${disk}1"
		mkdir -p /target/boot/efi
		mount -t vfat "${disk}1" /target/boot/efi
		echo "UUID=$(blkid -s UUID -o value "${disk}1") /boot/efi vfat umask=0077 0 2" >>/target/etc/fstab
		install='--target=x86_64-efi --efi-directory=/boot/efi --removable --no-nvram'
	else
		apt-install grub2-common
		apt-install grub-pc-bin
		install="--target=i386-pc $disk"
	fi
	cat /target/etc/default/grub.kv >>/target/etc/default/grub
	rm /target/etc/default/grub.kv
	in-target grub-install $install
	in-target update-grub
	echo root:kvasir | chroot /target chpasswd
	for hook in /usr/lib/finish-install.d/*; do
		$hook
	done
	[ -z "$(chroot /target dpkg --audit)" ]
	echo 'kv-boot: all is installed' >/dev/ttyS0
	umount /target/boot/efi 2>/dev/null || true
	sync
	reboot
}

# The menu may come back to the first of them, or go on to the second.
turn() {
	if ! grep -q ' /target ' /proc/mounts; then
		disk
	elif [ -n "$(ls /target/boot/vmlinuz-* 2>/dev/null)" ]; then
		boot
	fi
}

case $step in
turn)
	. /usr/share/debconf/confmodule
	turn
	;;
*) "$step" "$@" ;;
esac
