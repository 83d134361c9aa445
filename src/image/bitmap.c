/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See bitmap.h. Words of 64 bits, changed by atomic operations: a write that ends marks, while a job looks and clears. */
#include "bitmap.h"

#include <errno.h>

#include "bytes.h"
#include "format.h"
#include "log.h"

enum {
	WORD = 64,
	MIN_BITS = 9,
	MAX_BITS = 31,
	DEFAULT_MIN = 4 << 10,
	DEFAULT_MAX = 64 << 10,
};
#define WORDS_MAX (1ull << 26) /* 512 MiB: 256 TiB at 64 KiB */

static uint64_t bits_of(uint64_t size, uint32_t granularity)
{
	return size / granularity + !!(size % granularity);
}

static uint64_t words_of(uint64_t size, uint32_t granularity)
{
	uint64_t bits = bits_of(size, granularity);

	return bits / WORD + !!(bits % WORD);
}

static void after(struct image_watch *w, uint64_t offset, uint64_t len)
{
	struct image_bitmap *b = (struct image_bitmap *)((char *)w - offsetof(struct image_bitmap, watch));

	if (__atomic_load_n(&b->recording, __ATOMIC_RELAXED))
		image_bitmap_mark(b, offset, len);
}

static void resized(struct image_watch *w, uint64_t size)
{
	struct image_bitmap *b = (struct image_bitmap *)((char *)w - offsetof(struct image_bitmap, watch));

	if (image_bitmap_resize(b, size) < 0) {
		kv_log_warn("disk '%s': its bitmap '%s' cannot become so large and is void", b->img->path,
			    b->name ? b->name : "");
		b->inconsistent = true;
		b->recording = false;
	}
}

struct image_bitmap *image_bitmap_new(const char *name, uint64_t size, uint32_t granularity, int *ret_err)
{
	struct image_bitmap *b;
	int bits = granularity ? __builtin_ctz(granularity) : 0;

	*ret_err = -EINVAL;
	if (bits < MIN_BITS || bits > MAX_BITS || granularity != 1u << bits)
		return NULL;
	*ret_err = -E2BIG;
	if (words_of(size, granularity) > WORDS_MAX)
		return NULL;
	b = g_new0(struct image_bitmap, 1);
	b->n_words = words_of(size, granularity);
	b->words = g_try_new0(uint64_t, MAX(b->n_words, 1));
	if (!b->words) {
		g_free(b);
		return NULL;
	}
	b->name = g_strdup(name);
	b->size = size;
	b->granularity = granularity;
	b->watch.after = after;
	b->watch.resized = resized;
	*ret_err = 0;
	return b;
}

void image_bitmap_free(struct image_bitmap *b)
{
	if (!b)
		return;
	g_free(b->name);
	g_free(b->words);
	g_free(b);
}

uint32_t image_bitmap_granularity(const struct image *img)
{
	uint64_t cluster = img->format->cluster_size ? img->format->cluster_size((struct image *)img) : 0;

	return cluster ? CLAMP(cluster, DEFAULT_MIN, DEFAULT_MAX) : DEFAULT_MAX;
}

void image_bitmap_attach(struct image_bitmap *b, struct image *img)
{
	b->img = img;
	image_watch_add(img, &b->watch);
}

void image_bitmap_detach(struct image_bitmap *b)
{
	if (b->img)
		image_watch_remove(b->img, &b->watch);
	b->img = NULL;
}

/* The bits [first, last] of each word in turn. */
static void change(struct image_bitmap *b, uint64_t offset, uint64_t len, bool set)
{
	uint64_t first, last;

	if (!len || offset >= b->size)
		return;
	first = offset / b->granularity;
	last = (offset + MIN(len, b->size - offset) - 1) / b->granularity;
	for (uint64_t word = first / WORD; word <= last / WORD; word++) {
		uint64_t mask = UINT64_MAX, old;

		if (word == first / WORD)
			mask &= UINT64_MAX << first % WORD;
		if (word == last / WORD)
			mask &= UINT64_MAX >> (WORD - 1 - last % WORD);
		if (set) {
			old = __atomic_load_n(&b->words[word], __ATOMIC_RELAXED) & mask;
			if (old != mask)
				old = __atomic_fetch_or(&b->words[word], mask, __ATOMIC_ACQ_REL) & mask;
			__atomic_fetch_add(&b->count, __builtin_popcountll(mask & ~old), __ATOMIC_RELAXED);
		} else {
			old = __atomic_fetch_and(&b->words[word], ~mask, __ATOMIC_ACQ_REL) & mask;
			__atomic_fetch_sub(&b->count, __builtin_popcountll(old), __ATOMIC_RELAXED);
		}
	}
}

void image_bitmap_mark(struct image_bitmap *b, uint64_t offset, uint64_t len)
{
	change(b, offset, len, true);
}

void image_bitmap_clear(struct image_bitmap *b, uint64_t offset, uint64_t len)
{
	change(b, offset, len, false);
}

bool image_bitmap_get(const struct image_bitmap *b, uint64_t offset)
{
	uint64_t bit = offset / b->granularity;

	return offset < b->size && __atomic_load_n(&b->words[bit / WORD], __ATOMIC_ACQUIRE) >> bit % WORD & 1;
}

/* The first bit of this value from `bit` on, below `end`; `end` when there is none. */
static uint64_t find(const struct image_bitmap *b, bool value, uint64_t bit, uint64_t end)
{
	while (bit < end) {
		uint64_t word = __atomic_load_n(&b->words[bit / WORD], __ATOMIC_ACQUIRE);

		word = (value ? word : ~word) >> bit % WORD;
		if (word)
			return MIN(bit + __builtin_ctzll(word), end);
		bit = (bit / WORD + 1) * WORD;
	}
	return end;
}

bool image_bitmap_next(const struct image_bitmap *b, bool value, uint64_t from, uint64_t to, uint64_t *ret_offset,
		       uint64_t *ret_len)
{
	uint64_t end, bit, stop;

	to = MIN(to, b->size);
	if (from >= to)
		return false;
	end = bits_of(to, b->granularity);
	bit = find(b, value, from / b->granularity, end);
	if (bit == end)
		return false;
	stop = find(b, !value, bit, end);
	*ret_offset = MAX(bit * b->granularity, from);
	*ret_len = MIN(stop * b->granularity, to) - *ret_offset;
	return true;
}

uint64_t image_bitmap_count(const struct image_bitmap *b)
{
	return __atomic_load_n(&b->count, __ATOMIC_RELAXED) * b->granularity;
}

int image_bitmap_merge(struct image_bitmap *b, const struct image_bitmap *src)
{
	uint64_t at = 0, offset, len;

	if (b->size != src->size)
		return -EINVAL;
	for (; image_bitmap_next(src, true, at, src->size, &offset, &len); at = offset + len)
		image_bitmap_mark(b, offset, len);
	return 0;
}

int image_bitmap_resize(struct image_bitmap *b, uint64_t size)
{
	uint64_t n = words_of(size, b->granularity), *words;

	if (n > WORDS_MAX)
		return -E2BIG;
	if (size < b->size)
		image_bitmap_clear(b, align_up(size, b->granularity), b->size);
	words = g_try_renew(uint64_t, b->words, MAX(n, 1));
	if (!words)
		return -E2BIG;
	for (uint64_t i = b->n_words; i < n; i++)
		words[i] = 0;
	b->words = words;
	b->n_words = n;
	b->size = size;
	return 0;
}
