/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every device there is: a row here, a file in devices/, a page beside it. */
#include "device.h"
#include "devices/classes.h"

/* clang-format off */
const struct device_class *const device_table[] = {
	&device_acpi_pm,
	&device_ahci,
	&device_debugcon,
	&device_e1000e,
	&device_fw_cfg,
	&device_hpet,
	&device_i8042,
	&device_ich9_lpc,
	&device_mc146818,
	&device_ns16550,
	&device_nvme,
	&device_pci_host,
	&device_pcie_root_port,
	&device_pflash,
	&device_q35_mch,
	&device_sata_disk,
	&device_scsi_cd,
	&device_scsi_disk,
	&device_usb_kbd,
	&device_usb_mouse,
	&device_usb_storage,
	&device_usb_tablet,
	&device_vga,
	&device_virtio_balloon,
	&device_virtio_blk,
	&device_virtio_console,
	&device_virtio_keyboard,
	&device_virtio_mouse,
	&device_virtio_net,
	&device_virtio_rng,
	&device_virtio_scsi,
	&device_virtio_tablet,
	&device_xhci,
	NULL,
};
