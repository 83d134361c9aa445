#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What install.py has a live Debian do: partitions, file systems, Debian from a mirror, GRUB. Everything is asked of Debian's own tools.
# usage: install-guest.sh bios|uefi DISK MIRROR PACKAGES
set -eu
firmware=$1 disk=$2 mirror=$3 packages=$4
export DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
case $firmware in
bios) parted -s "$disk" mklabel msdos mkpart primary ext4 1MiB 100% set 1 boot on ;;
uefi) parted -s "$disk" mklabel gpt mkpart esp fat32 1MiB 65MiB set 1 esp on mkpart root ext4 65MiB 100% ;;
esac
udevadm settle
root=$disk-part1
if [ "$firmware" = uefi ]; then
	root=$disk-part2
	mkfs.vfat "$disk-part1"
fi
mkfs.ext4 -q "$root"
mount "$root" /mnt
debootstrap --variant=minbase --no-check-gpg --include="$packages" bookworm /mnt "$mirror"
echo "UUID=$(blkid -s UUID -o value "$root") / ext4 errors=remount-ro 0 1" >/mnt/etc/fstab
if [ "$firmware" = uefi ]; then
	mkdir /mnt/boot/efi
	mount "$disk-part1" /mnt/boot/efi
	echo "UUID=$(blkid -s UUID -o value "$disk-part1") /boot/efi vfat umask=0077 0 2" >>/mnt/etc/fstab
fi
echo installed >/mnt/etc/hostname
cat >>/mnt/etc/default/grub <<'G'
GRUB_TIMEOUT=0
GRUB_TERMINAL=serial
GRUB_CMDLINE_LINUX=console=ttyS0
G
for folder in dev proc sys; do
	mount --rbind "/$folder" "/mnt/$folder"
done
echo root:kvasir | chroot /mnt chpasswd
case $firmware in
bios) chroot /mnt grub-install --target=i386-pc "$(readlink -f "$disk")" ;;
uefi) chroot /mnt grub-install --target=x86_64-efi --efi-directory=/boot/efi --removable --no-nvram ;;
esac
chroot /mnt update-grub
[ -z "$(chroot /mnt dpkg --audit)" ]
sync
echo 'all is installed'
