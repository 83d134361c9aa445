/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How much one SCSI command may ask for: what scsi-inquiry.c says and scsi-block.c holds. In blocks of a disk. */
#pragma once

enum {
	SCSI_GRANULARITY = 8, /* a page of the host */
	SCSI_UNMAP_RANGES = 255,
	SCSI_UNMAP_BLOCKS = 1 << 22, /* of one range */
	SCSI_SAME_BLOCKS = 1 << 22,
};
