/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Slices of tables in memory: L2 tables and refcount blocks are up to 2 MiB, but a slice of 4 KiB serves most requests. A bounded
 * number of them, in sets of eight; the one that was used longest ago makes room. What is dirty is written by the cache's
 * clean(), which knows what has to be on the disk before it. Callers hold the image's lock.
 */
#include <string.h>
#include <sys/mman.h>

#include "qcow2.h"

enum { WAYS = 8 };

struct qcow2_slice {
	uint64_t at, used;
	bool valid, dirty;
};

/* Of a cache that a small image never fills only what is used becomes memory. */
static uint8_t *reserve(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		g_error("cannot allocate %zu bytes for a cache of tables", len);
	return p;
}

void qcow2_cache_init(struct qcow2_cache *c, struct qcow2 *s, uint64_t bytes, int (*clean)(struct qcow2 *s))
{
	c->file = s->file;
	c->owner = s;
	c->clean = clean;
	c->slice_size = MIN(QCOW2_SLICE, s->cluster_size);
	c->n_slices = MAX(bytes / c->slice_size / WAYS, 1) * WAYS;
	c->slices = g_new0(struct qcow2_slice, c->n_slices);
	c->bytes = reserve((size_t)c->n_slices * c->slice_size);
}

void qcow2_cache_clear(struct qcow2_cache *c)
{
	g_clear_pointer(&c->slices, g_free);
	if (c->bytes)
		munmap(c->bytes, (size_t)c->n_slices * c->slice_size);
	c->bytes = NULL;
	c->n_slices = 0;
}

static uint8_t *bytes_of(struct qcow2_cache *c, const struct qcow2_slice *slice)
{
	return c->bytes + (size_t)(slice - c->slices) * c->slice_size;
}

static struct qcow2_slice *set_of(struct qcow2_cache *c, uint64_t at)
{
	uint64_t hash = at / c->slice_size * 0x9e3779b97f4a7c15ULL >> 32;

	return c->slices + hash % (c->n_slices / WAYS) * WAYS;
}

static struct qcow2_slice *find(struct qcow2_cache *c, uint64_t at)
{
	struct qcow2_slice *set = set_of(c, at);

	for (int i = 0; i < WAYS; i++) {
		if (set[i].valid && set[i].at == at) {
			set[i].used = ++c->clock;
			return set + i;
		}
	}
	return NULL;
}

static struct qcow2_slice *oldest(struct qcow2_cache *c, uint64_t at)
{
	struct qcow2_slice *set = set_of(c, at), *best = set;

	for (int i = 0; i < WAYS; i++) {
		if (!set[i].valid)
			return set + i;
		if (set[i].used < best->used)
			best = set + i;
	}
	return best;
}

uint8_t *qcow2_cache_peek(struct qcow2_cache *c, uint64_t at)
{
	struct qcow2_slice *slice = find(c, at);

	return slice ? bytes_of(c, slice) : NULL;
}

int qcow2_cache_get(struct qcow2_cache *c, uint64_t at, uint8_t **ret)
{
	struct qcow2_slice *slice = find(c, at);
	int res;

	if (!slice) {
		slice = oldest(c, at);
		res = slice->dirty ? c->clean(c->owner) : 0;
		if (res < 0)
			return res;
		slice->valid = false;
		res = c->file->type->read(c->file, at, bytes_of(c, slice), c->slice_size);
		if (res < 0)
			return res;
		*slice = (struct qcow2_slice){.at = at, .used = ++c->clock, .valid = true};
	}
	*ret = bytes_of(c, slice);
	return 0;
}

void qcow2_cache_dirty(struct qcow2_cache *c, const uint8_t *bytes)
{
	struct qcow2_slice *slice = c->slices + (size_t)(bytes - c->bytes) / c->slice_size;

	c->n_dirty += !slice->dirty;
	slice->dirty = true;
}

int qcow2_cache_write(struct qcow2_cache *c)
{
	int res = 0;

	for (unsigned i = 0; i < c->n_slices && c->n_dirty; i++) {
		struct qcow2_slice *slice = c->slices + i;

		if (!slice->dirty)
			continue;
		res = c->file->type->write(c->file, slice->at, bytes_of(c, slice), c->slice_size);
		if (res < 0)
			return res;
		slice->dirty = false;
		c->n_dirty--;
	}
	return 0;
}

void qcow2_cache_forget(struct qcow2_cache *c, uint64_t at, uint64_t len)
{
	for (uint64_t i = 0; i < len; i += c->slice_size) {
		struct qcow2_slice *slice = find(c, at + i);

		if (!slice)
			continue;
		c->n_dirty -= slice->dirty;
		slice->valid = slice->dirty = false;
	}
}
