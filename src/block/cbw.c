/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See cbw.h. A cluster is copied by one at a time, the job or a writer; a writer waits until all of its clusters are copied. A
 * bit of todo is cleared when that begins, and set again if it fails. Called by backup.c and, in writers' threads, by live.c.
 */
#include "cbw.h"

#include "bytes.h"
#include "driver.h"

uint64_t cbw_chunk(const struct cbw *c)
{
	return MAX(JOB_CHUNK, c->todo->granularity);
}

/* Under the lock: the first piece in [from, to) that is to do and nobody is at. */
static bool take(struct cbw *c, uint64_t from, uint64_t to, struct span *ret)
{
	uint64_t offset, len;

	while (image_bitmap_next(c->todo, true, from, to, &offset, &len)) {
		const struct span *busy;

		len = MIN(len, cbw_chunk(c));
		busy = spans_find(&c->spans, offset, offset + len);
		if (busy && busy->from <= offset) {
			from = busy->to;
			continue;
		}
		if (busy)
			len = busy->from - offset;
		*ret = (struct span){ .from = offset, .to = offset + len };
		spans_add(&c->spans, ret);
		image_bitmap_clear(c->todo, offset, len);
		return true;
	}
	return false;
}

/* Under the lock, which is let go of. */
static int do_span(struct cbw *c, struct span *span, void *buf, bool *ret_is_read)
{
	int res;

	g_mutex_unlock(&c->spans.lock);
	res = copy_range(&c->copy, span->from, span->to - span->from, buf, ret_is_read);
	g_mutex_lock(&c->spans.lock);
	if (res < 0)
		image_bitmap_mark(c->todo, span->from, span->to - span->from);
	spans_remove(&c->spans, span);
	return res;
}

static int copy_all(struct cbw *c, uint64_t from, uint64_t to)
{
	g_autofree void *buf = NULL;
	struct span span;
	int res = 0;

	g_mutex_lock(&c->spans.lock);
	while (res == 0) {
		bool is_read;

		if (take(c, from, to, &span)) {
			buf = buf ? buf : g_malloc(MIN(cbw_chunk(c), to - from));
			res = do_span(c, &span, buf, &is_read);
		} else if (spans_find(&c->spans, from, to)) {
			g_cond_wait(&c->spans.changed, &c->spans.lock);
		} else {
			break;
		}
	}
	g_mutex_unlock(&c->spans.lock);
	return res;
}

static int before(struct image_watch *w, uint64_t offset, uint64_t len)
{
	struct cbw *c = (struct cbw *)w;
	uint64_t unit = c->todo->granularity, size = c->todo->size;
	int res;

	if (__atomic_load_n(&c->broken, __ATOMIC_RELAXED) || offset >= size)
		return 0;
	res = copy_all(c, align_down(offset, unit), MIN(align_up(offset + len, unit), size));
	if (res == 0 || !c->break_snapshot)
		return res;
	__atomic_store_n(&c->broken, res, __ATOMIC_RELAXED);
	return 0;
}

void cbw_begin(struct cbw *c)
{
	c->watch.before = before;
	spans_init(&c->spans);
	image_watch_add(c->copy.source, &c->watch);
}

void cbw_end(struct cbw *c)
{
	image_watch_remove(c->copy.source, &c->watch);
	spans_clear(&c->spans);
}

int cbw_step(struct cbw *c, void *buf, uint64_t *ret_len, bool *ret_is_read)
{
	struct span span;
	int res = 0;

	g_mutex_lock(&c->spans.lock);
	if (take(c, c->next, c->todo->size, &span)) {
		c->next = span.to;
		*ret_len = span.to - span.from;
		res = do_span(c, &span, buf, ret_is_read);
		res = res < 0 ? res : 1;
	}
	g_mutex_unlock(&c->spans.lock);
	return res;
}

void cbw_rewind(struct cbw *c)
{
	g_mutex_lock(&c->spans.lock);
	while (c->spans.list)
		g_cond_wait(&c->spans.changed, &c->spans.lock);
	c->next = 0;
	g_mutex_unlock(&c->spans.lock);
}
