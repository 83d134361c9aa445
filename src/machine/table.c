/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every device there is: a row here, a file in devices/, a page beside it. */
#include "device.h"
#include "devices/classes.h"

/* clang-format off */
const struct device_class *const device_table[] = {
	&device_acpi_pm,
	&device_debugcon,
	&device_e1000e,
	&device_hpet,
	&device_i6300esb,
	&device_i8042,
	&device_ich9_lpc,
	&device_isa_debug_exit,
	&device_isa_debugcon,
	&device_mc146818,
	&device_ns16550,
	&device_pci_host,
	&device_pvpanic_pci,
	&device_q35_mch,
	&device_scsi_cd,
	&device_scsi_disk,
	&device_virtio_balloon,
	&device_virtio_blk,
	&device_virtio_console,
	&device_virtio_net,
	&device_virtio_rng,
	&device_virtio_scsi,
	&device_virtio_vsock,
	NULL,
};
