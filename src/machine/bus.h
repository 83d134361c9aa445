/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ports and MMIO: maps from address intervals to handlers. vcpu.c calls bus_access() on an exit;
 * devices register while the machine runs (PCI BARs move). Readers take no lock. A handler runs
 * in the vCPU's thread and takes its device's own lock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

struct bus_ops {
	/* offset from the interval's start; size 1, 2, 4 or 8 bytes; data in the low bytes */
	uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
	void (*write)(void *opaque, uint64_t offset, unsigned size, uint64_t data);
};

struct bus;

struct bus *bus_new(const char *name); /* static string, "port", "mmio": for messages */
void bus_free(struct bus *bus);
/* Fails when it overlaps another interval (the error names both). name: lives as long. */
bool bus_register(struct bus *bus, uint64_t start, uint64_t len, const char *name,
		  const struct bus_ops *ops, void *opaque, GError **error);
/*
 * When it returns, no handler of the interval runs or will run in another thread. A handler may
 * unregister its own interval; the caller holds no lock that the interval's handlers take.
 */
void bus_unregister(struct bus *bus, uint64_t start);
/*
 * Does not wait for handlers that are running, so they may hold locks of the caller; what they use outlives the bus.
 */
void bus_withdraw(struct bus *bus, uint64_t start);
/* Reads of what nobody answers give all ones, writes vanish; false then. */
bool bus_access(struct bus *bus, uint64_t address, void *data, unsigned size, bool write);
