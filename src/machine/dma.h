/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a command's data is: pieces of guest memory that a device found in the guest's own list of them (a PRDT, PRPs), as a
 * vector for a drive. Devices that do not have rings of virtio's use it; who makes a list bounds it.
 *
 * Threads: a list has one user at a time.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct guest_mem;

struct dma_list {
	struct iovec *iov; /* g_malloc */
	uint64_t *gpa;	   /* of each */
	unsigned n, room;
	uint64_t len; /* bytes in all */
};

/* False: not all of it is RAM. What follows the last piece becomes one with it. */
bool dma_add(struct dma_list *list, const struct guest_mem *mem, uint64_t gpa, uint64_t len);
/* The first len bytes were written by the device: see mem_written(). */
void dma_written(const struct dma_list *list, struct guest_mem *mem, uint64_t len);
void dma_clear(struct dma_list *list);
