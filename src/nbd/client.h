/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inside of the client: client.c, client-async.c. Names with nbd_file_, as libnbd has nbd_. */
#pragma once
#include <libnbd.h>

#include "file-nbd.h"

enum {
	CHUNK_MAX = 4 << 20, /* bytes of one request on the wire; */
	RANGE_MAX = 1 << 30, /* of one without data */
};

struct waiter;

struct nbd_file {
	struct image_file base;
	struct nbd_handle *nbd;
	void (*warn)(const char *format, ...);
	int wake; /* eventfd: the leader is to look at the direction anew, or is done */
	uint32_t block, chunk; /* the server's smallest and largest requests */
	bool can_flush, can_trim, can_zero, can_fast_zero, can_extents;
	GMutex turn; /* who takes replies; before libnbd's lock */
	unsigned begun, over; /* atomic; requests */
	uint64_t bounced; /* atomic; bytes of client-async.c's buffers */
	GMutex lock; /* below; not held while libnbd is called, but for questions that take no lock */
	struct waiter *leader; /* NULL: nobody is */
	bool lost; /* atomic */
	struct waiter *waiters;
	GMutex edges; /* a write that has to read before it */
};

static inline struct nbd_file *nbd_of(struct image_file *f)
{
	return (struct nbd_file *)f;
}

static inline bool nbd_file_gone(const struct nbd_file *f)
{
	return __atomic_load_n(&f->lost, __ATOMIC_ACQUIRE);
}

/* Around each request on the wire. */
static inline void nbd_file_begin(struct nbd_file *f)
{
	__atomic_add_fetch(&f->begun, 1, __ATOMIC_RELAXED);
}

static inline void nbd_file_over(struct nbd_file *f)
{
	__atomic_add_fetch(&f->over, 1, __ATOMIC_RELAXED);
}

/* client.c */
unsigned nbd_zero_flags(unsigned flags); /* IMAGE_* as libnbd has them */
void nbd_file_turn(struct image_file *f);
/* client-async.c */
extern const struct image_file_async nbd_file_async;
