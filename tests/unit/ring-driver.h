/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver's side of a virtio ring, split or packed, for tests: written from the
 * specification's driver chapters, independent of the device side it tests.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { RING_MAX = 256 };

struct ring_buf {
	uint64_t gpa;
	uint32_t len;
	bool writable;
};

struct ring_driver {
	uint8_t *ram; /* guest memory; ram[0] has guest address ram_gpa */
	uint64_t ram_gpa;
	uint16_t size;
	bool packed;
	bool event_idx;
	uint64_t desc;
	uint64_t avail;
	uint64_t used;
	uint16_t next_avail;
	uint16_t kicked; /* next_avail at the last kick decision */
	uint16_t next_used;
	bool avail_wrap;
	bool used_wrap;
	uint16_t added;
	unsigned n_free;
	uint16_t free_list[RING_MAX]; /* packed: buffer ids; split: descriptors */
	uint16_t slots[RING_MAX];     /* by id: descriptors taken */
	uint16_t chain[RING_MAX];     /* split: next descriptor */
	void *cookie[RING_MAX];
};

/* Bytes of guest memory a ring takes, from a 16-byte aligned @gpa on. */
uint64_t ring_bytes(uint16_t size);
void ring_setup(struct ring_driver *r, uint8_t *ram, uint64_t ram_gpa, uint64_t gpa, uint16_t size,
		bool packed, bool event_idx);

/*
 * Queue a chain; @indirect_gpa nonzero puts it there as an indirect table. False when full.
 * ring_kick says then whether the device must be notified.
 */
bool ring_add(struct ring_driver *r, const struct ring_buf *bufs, unsigned n,
	      uint64_t indirect_gpa, void *cookie);
bool ring_kick(struct ring_driver *r);

/* The next used chain's cookie, or NULL. */
void *ring_get(struct ring_driver *r, uint32_t *ret_len);

/* Ask for an interrupt at the next used chain; true when one is there already. */
bool ring_arm(struct ring_driver *r);
void ring_disarm(struct ring_driver *r);
