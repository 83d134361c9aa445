/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: the ring walker over a small guest memory filled from the input.
 *
 * Input: 16 bytes of settings (ring size, features, three ring offsets, positions), then a
 * list of operations (one byte each, up to a 0xff), then the contents of guest memory. The
 * checks: no stray access (sanitizers), segments inside memory, a bounded number of chains.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "mem.h"
#include "virtqueue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAM = 0x1000, BASE = 0x100000 };

static uint8_t *ram;

void *gpa_ptr(const struct guest_mem *mem, uint64_t gpa, uint64_t len)
{
	if (gpa < BASE || gpa - BASE > RAM || len > RAM - (gpa - BASE))
		return NULL;
	return ram + (gpa - BASE);
}

void mem_written(struct guest_mem *mem, uint64_t gpa, uint64_t len)
{
	if (!gpa_ptr(mem, gpa, len))
		abort();
}

static uint16_t get16(const uint8_t *p)
{
	return p[0] | p[1] << 8;
}

static void check(const struct virtq_chain *c)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < c->n_out + c->n_in; i++) {
		const struct iovec *v = i < c->n_out ? &c->out[i] : &c->in[i - c->n_out];
		uintptr_t at = (uint8_t *)v->iov_base - ram;

		if (at > RAM || v->iov_len > RAM - at)
			abort();
		if (i >= c->n_out)
			memset(v->iov_base, 0x5a, v->iov_len); /* the guest's own rings, perhaps */
		total += v->iov_len;
	}
	if (total != (uint64_t)c->out_len + c->in_len)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtqueue vq;
	const uint8_t *ops, *end = data + size;
	uint64_t features = 0;

	if (size < 16)
		return 0;
	ram = aligned_alloc(16, RAM);
	memset(ram, 0, RAM);
	virtq_init(&vq, NULL, 0, 256);
	features |= data[0] & 1 ? 1ull << VIRTIO_F_RING_PACKED : 0;
	features |= data[0] & 2 ? 1ull << VIRTIO_RING_F_EVENT_IDX : 0;
	features |= data[0] & 4 ? 1ull << VIRTIO_RING_F_INDIRECT_DESC : 0;
	vq.size = data[0] & 8 ? get16(data + 2) : 1u << (data[2] & 7);
	vq.desc = BASE + get16(data + 4);
	vq.avail = BASE + get16(data + 6);
	vq.used = BASE + get16(data + 8);
	vq.next_avail = get16(data + 10);
	vq.next_used = get16(data + 12);
	vq.avail_wrap = data[14] & 1;
	vq.used_wrap = data[14] & 2;
	ops = data + 16;
	while (data + 16 < end && *ops != 0xff && ops - data < 64 && ops + 1 < end)
		ops++;
	if (ops < end)
		memcpy(ram, ops, (size_t)(end - ops) < RAM ? (size_t)(end - ops) : RAM);
	if (virtq_start(&vq, features)) {
		for (const uint8_t *op = data + 16; op < ops; op++) {
			struct virtq_chain *c;

			if (*op & 1)
				virtq_disable_notify(&vq);
			for (unsigned n = *op >> 4; n && (c = virtq_pop(&vq)); n--) {
				check(c);
				if (*op & 2)
					virtq_push(&vq, c, c->in_len);
				else if (*op & 4)
					virtq_unpop(&vq, c->slots);
			}
			virtq_publish(&vq);
			if (*op & 8)
				virtq_enable_notify(&vq);
			/* A guest that makes more available at each step. */
			ram[(vq.avail + 2 - BASE) % RAM] += *op >> 4;
		}
	}
	if (vq.broken && !vq.why)
		abort();
	virtq_destroy(&vq);
	free(ram);
	return 0;
}
