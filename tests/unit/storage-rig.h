/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine of memory, a PCI bus and a disk controller, without a CPU, over images in memory (disk-rig.h): tests are the driver.
 * They reach the controller only as a guest does, through configuration space (ECAM), its registers and memory.
 */
#pragma once

#include "device.h"
#include "disk-rig.h"
#include "disk.h"

enum { STORAGE_RAM = 1 << 20, STORAGE_ECAM = 0xb0000000 };

struct storage_rig {
	struct machine_core core;
	uint8_t *ram;
	uint64_t bar; /* of its registers */
	struct device *dev;
	bool line; /* its INTx */
};

/* Memory and buses; then the test makes the controller, and storage_map() finds BAR n of the function in slot 0. */
void storage_open(struct storage_rig *r);
void storage_map(struct storage_rig *r, unsigned bar);
void storage_close(struct storage_rig *r); /* the devices are gone */
uint32_t storage_read(struct storage_rig *r, unsigned offset);
void storage_write(struct storage_rig *r, unsigned offset, uint32_t value);
/* Its state is saved, it is reset, and the state loaded; it is paused before, and goes on. */
void storage_save_and_load(struct storage_rig *r);
void storage_run(void); /* until nothing is left to do */
