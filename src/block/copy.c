/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See copy.h. Called by mirror.c, commit.c and cbw.c, in their threads. */
#include "copy.h"

#include <string.h>

#include "format.h"

static enum copy_what classify(const struct copy *c, const struct image_extent *e)
{
	if (e->kind != IMAGE_HOLE && (e->depth >= c->depth || e->depth < c->from))
		return COPY_SKIP;
	if (e->kind == IMAGE_DATA || e->kind == IMAGE_COMPRESSED)
		return COPY_DATA;
	/* No layer has it. One that ends too early hides what is below; the last one above `depth` need not. */
	if (e->kind == IMAGE_HOLE && (c->depth != UINT_MAX ? e->depth + 1 >= c->depth : c->from > 0))
		return COPY_SKIP;
	return COPY_ZERO;
}

int copy_look(const struct copy *c, uint64_t offset, uint64_t len, enum copy_what *ret, uint64_t *ret_len)
{
	uint64_t size = __atomic_load_n(&c->source->size, __ATOMIC_RELAXED);
	struct image_extent e;
	int res;

	/* Who stands on source sees zeroes behind its end. */
	if (offset >= size) {
		*ret = COPY_ZERO;
		*ret_len = len;
		return 0;
	}
	res = image_status(c->source, offset, MIN(len, size - offset), &e);
	if (res < 0)
		return res;
	*ret = classify(c, &e);
	*ret_len = e.len;
	return 0;
}

/* And will, whatever guests write: a target may stand on the disk that is copied. */
static bool reads_zero(struct image *img, uint64_t offset, uint64_t len)
{
	while (len) {
		struct image_extent e;

		if (image_status(img, offset, len, &e) < 0 || (e.kind != IMAGE_ZERO && e.kind != IMAGE_HOLE))
			return false;
		if (image_is_moving(img->backing) && (e.kind == IMAGE_HOLE || e.depth))
			return false;
		offset += e.len;
		len -= e.len;
	}
	return true;
}

static int zero(const struct copy *c, uint64_t offset, uint64_t len)
{
	return reads_zero(c->target, offset, len) ? 0 : image_write_zeroes(c->target, offset, len, c->zero_flags);
}

static bool all_zero(const uint8_t *p, uint64_t len)
{
	return !len || (!p[0] && memcmp(p, p + 1, len - 1) == 0);
}

/* A cluster of the target, whole but for the disk's end. */
static int compress_cluster(const struct copy *c, uint64_t offset, uint64_t len, uint8_t *buf, bool *ret_is_read)
{
	enum copy_what what;
	uint64_t n;
	int res = copy_look(c, offset, len, &what, &n);

	if (res == 0 && what != COPY_DATA && n == len)
		return what == COPY_SKIP ? 0 : zero(c, offset, len);
	if (res == 0)
		res = image_read(c->source, offset, buf, len);
	*ret_is_read = res < 0;
	if (res < 0)
		return res;
	return all_zero(buf, len) ? zero(c, offset, len) : image_write_compressed(c->target, offset, buf, len);
}

static int copy_compressed(const struct copy *c, uint64_t offset, uint64_t len, uint8_t *buf, bool *ret_is_read)
{
	uint64_t unit = c->target->format->cluster_size(c->target);
	int res = 0;

	for (uint64_t done = 0; done < len && res == 0; done += unit)
		res = compress_cluster(c, offset + done, MIN(unit, len - done), buf, ret_is_read);
	return res;
}

static int copy_data(const struct copy *c, uint64_t offset, uint64_t len, void *buf, bool *ret_is_read)
{
	int res = image_read(c->source, offset, buf, len);

	*ret_is_read = res < 0;
	return res < 0 ? res : image_write(c->target, offset, buf, len);
}

int copy_range(const struct copy *c, uint64_t offset, uint64_t len, void *buf, bool *ret_is_read)
{
	int res = 0;

	*ret_is_read = false;
	if (c->compress)
		return copy_compressed(c, offset, len, buf, ret_is_read);
	while (len && res == 0) {
		enum copy_what what;
		uint64_t n;

		res = copy_look(c, offset, len, &what, &n);
		*ret_is_read = res < 0;
		if (res < 0)
			break;
		if (what == COPY_ZERO)
			res = zero(c, offset, n);
		else if (what == COPY_DATA)
			res = copy_data(c, offset, n, buf, ret_is_read);
		offset += n;
		len -= n;
	}
	return res;
}

unsigned copy_depth(const struct image *img, const struct image *base)
{
	unsigned depth = 0;

	for (; img && img != base; img = img->backing)
		depth++;
	return img ? depth : 0;
}

void spans_init(struct spans *s)
{
	g_mutex_init(&s->lock);
	g_cond_init(&s->changed);
}

void spans_clear(struct spans *s)
{
	g_mutex_clear(&s->lock);
	g_cond_clear(&s->changed);
}

const struct span *spans_find(const struct spans *s, uint64_t from, uint64_t to)
{
	const struct span *found = NULL;

	for (const struct span *p = s->list; p; p = p->next)
		if (p->from < to && from < p->to && (!found || p->from < found->from))
			found = p;
	return found;
}

void spans_add(struct spans *s, struct span *span)
{
	span->next = s->list;
	s->list = span;
}

void spans_remove(struct spans *s, struct span *span)
{
	struct span **at = &s->list;

	while (*at != span)
		at = &(*at)->next;
	*at = span->next;
	g_cond_broadcast(&s->changed);
}
