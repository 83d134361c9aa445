/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine of one virtio device, memory and a PCI bus, without a CPU: tests are the driver.
 * They reach the device only as a guest does, through PCI configuration space (ECAM), the
 * BAR on the bus, rings in memory, and the interrupt status register.
 */
#pragma once

#include "device.h"
#include "ring-driver.h"

enum {
	RIG_RAM = 1 << 20, /* guest memory from address 0 on */
	RIG_DATA = 0x40000, /* free for the test from here on; the rings lie below */
	RIG_ECAM = 0xb0000000,
	RIG_BAR = 0xc0000000, /* the one with virtio's structures */
	RIG_OTHER_BAR = 0xc4000000,
};

struct rig {
	struct machine_core core;
	struct device *dev;
	uint8_t *ram;
	unsigned bar;	 /* number of virtio's */
	uint64_t config; /* address of the function's configuration space */
	/* Addresses of the structures the capabilities name, 0 when there is none. */
	uint64_t common, notify, isr, device, window;
	uint32_t notify_multiplier;
	uint64_t features;
	uint64_t ring_at;
	struct ring_driver ring[8];
};

/* Places the device and maps its BAR; fails the test when the device cannot be made. */
void rig_open(struct rig *r, const char *cls, GVariant *options,
	      const struct device_backend *backend);
void rig_close(struct rig *r);
void rig_map(struct rig *r); /* again, after a reset of the machine */

uint64_t rig_read(struct rig *r, uint64_t address, unsigned size);
void rig_write(struct rig *r, uint64_t address, unsigned size, uint64_t value);

uint64_t rig_offered(struct rig *r);
/* Reset, acknowledge, and accept @features (VERSION_1 is added); true when they were. */
bool rig_negotiate(struct rig *r, uint64_t features);
/* Queue @index with @size entries, enabled; then rig_driver_ok. */
void rig_queue(struct rig *r, unsigned index, uint16_t size);
void rig_driver_ok(struct rig *r);
uint8_t rig_status(struct rig *r);
void rig_reset(struct rig *r);

/* Notify the device if it wants to be, and let it work until nothing is left to do. */
void rig_kick(struct rig *r, unsigned index);
void rig_run(void);
/* Reads and clears the interrupt status. */
uint8_t rig_isr(struct rig *r);

/*
 * Send a chain of @n_out readable and @n_in writable buffers (one after the other in @bufs)
 * and wait for its return; answers the length the device wrote.
 */
uint32_t rig_request(struct rig *r, unsigned index, const struct ring_buf *bufs, unsigned n);

/* Save the device, make it anew with the same options, and load it. */
void rig_move(struct rig *r, const char *cls, GVariant *options,
	      const struct device_backend *backend);
