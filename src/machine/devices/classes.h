/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rows of device_table[] (table.c), one a file in this folder. */
#pragma once
#include "device.h"

extern const struct device_class device_pcie_root_port;
extern const struct device_class device_acpi_cpu_hotplug;
extern const struct device_class device_acpi_pm, device_debugcon, device_i8042, device_mc146818, device_ns16550, device_pci_host;
extern const struct device_class device_ahci, device_nvme, device_sata_disk;
extern const struct device_class device_scsi_cd, device_scsi_disk, device_virtio_scsi;
extern const struct device_class device_usb_kbd, device_usb_mouse, device_usb_storage, device_usb_tablet, device_xhci;
extern const struct device_class device_virtio_keyboard, device_virtio_mouse, device_virtio_tablet;
extern const struct device_class device_vga;
extern const struct device_class device_virtio_balloon, device_virtio_blk, device_virtio_console, device_virtio_net,
	device_virtio_rng;
extern const struct device_class device_virtio_serial, device_virtserialport;
extern const struct device_class device_e1000e;
extern const struct device_class device_fw_cfg, device_pflash;
extern const struct device_class device_hpet;
extern const struct device_class device_ich9_lpc;
extern const struct device_class device_q35_mch;
extern const struct device_class device_i6300esb;
extern const struct device_class device_isa_debug_exit;
extern const struct device_class device_isa_debugcon;
extern const struct device_class device_pvpanic, device_pvpanic_pci;
extern const struct device_class device_virtio_vsock;
extern const struct device_class device_virtio_gpu, device_virtio_vga;
