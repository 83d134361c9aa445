/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What reaches the disk before what. At any moment a crash may keep any of the writes since the last flush and lose the others;
 * then there may be clusters too many (leaks), nothing else. So:
 *
 *   reference counts go up, the tables that are new are filled, guest data is written
 *     -- flush --   L2 entries point to data, L1 entries to tables
 *     -- flush --   counts go down for what nobody points to any more, and it may be used again
 *
 * With lazy refcounts the first line has no counts: the dirty bit is set instead, and who opens the image next makes them anew.
 */
#include <errno.h>
#include <stdarg.h>

#include "log.h"
#include "qcow2.h"

enum { MAX_GONE = 4096 };

int qcow2_corrupt(struct qcow2 *s, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	if (s->broken || s->checking)
		return -EIO;
	kv_log_warn("disk '%s' is corrupt: %s; nothing is written to it from now on; check and repair a copy of it", s->img->path,
		    text);
	s->broken = true;
	if (s->file->readonly || s->version < 3)
		return -EIO;
	s->incompatible |= QCOW2_CORRUPT;
	qcow2_header_features(s);
	return -EIO;
}

int qcow2_sync(struct qcow2 *s)
{
	int res = s->file->type->flush(s->file);

	if (res == 0 && s->img->data != s->file)
		res = s->img->data->type->flush(s->img->data);
	return res;
}

static int write_words(struct qcow2 *s, uint64_t at, const uint64_t *words, uint32_t n)
{
	g_autofree uint8_t *bytes = g_malloc(n * 8ULL);

	for (uint32_t i = 0; i < n; i++)
		put_be64(bytes + i * 8ULL, words[i]);
	return qcow2_pwrite(s, at, bytes, n * 8ULL);
}

static void widen(uint32_t *from, uint32_t *to, uint32_t index)
{
	if (*from >= *to) {
		*from = index;
		*to = index + 1;
	} else {
		*from = MIN(*from, index);
		*to = MAX(*to, index + 1);
	}
}

void qcow2_l1_set(struct qcow2 *s, uint32_t index, uint64_t entry)
{
	s->l1[index] = entry;
	widen(&s->l1_from, &s->l1_to, index);
}

void qcow2_reftable_set(struct qcow2 *s, uint32_t index, uint64_t entry)
{
	s->reftable[index] = entry;
	widen(&s->reftable_from, &s->reftable_to, index);
}

static int write_l1(struct qcow2 *s)
{
	int res;

	if (s->l1_from >= s->l1_to)
		return 0;
	res = write_words(s, s->l1_offset + s->l1_from * 8ULL, s->l1 + s->l1_from, s->l1_to - s->l1_from);
	if (res == 0)
		s->l1_from = s->l1_to = 0;
	return res;
}

int qcow2_clean_refcounts(struct qcow2 *s)
{
	return s->broken ? -EIO : qcow2_cache_write(&s->refcount_cache);
}

/* Blocks before the table that points to them. */
int qcow2_write_refcounts(struct qcow2 *s)
{
	int res = qcow2_clean_refcounts(s);

	if (res < 0 || s->reftable_from >= s->reftable_to)
		return res;
	res = qcow2_sync(s);
	if (res == 0)
		res = write_words(s, s->reftable_offset + s->reftable_from * 8ULL, s->reftable + s->reftable_from,
				  s->reftable_to - s->reftable_from);
	if (res == 0)
		s->reftable_from = s->reftable_to = 0;
	return res;
}

static int before_pointers(struct qcow2 *s)
{
	int res = s->lazy ? 0 : qcow2_write_refcounts(s);

	return res < 0 ? res : qcow2_sync(s);
}

int qcow2_clean_l2(struct qcow2 *s)
{
	int res = s->broken ? -EIO : before_pointers(s);

	return res < 0 ? res : qcow2_cache_write(&s->l2_cache);
}

static bool has_pointers(const struct qcow2 *s)
{
	return s->l2_cache.n_dirty || s->l1_from < s->l1_to;
}

static int write_pointers(struct qcow2 *s)
{
	int res = 0;

	if (s->broken)
		return -EIO;
	if (has_pointers(s))
		res = qcow2_clean_l2(s);
	return res < 0 ? res : write_l1(s);
}

int qcow2_flush_locked(struct qcow2 *s)
{
	int res = write_pointers(s);

	if (res == 0)
		res = qcow2_sync(s);
	return res < 0 ? res : qcow2_free_gone(s);
}

/* Counts that are in memory may be written at any time: those that went down did so when nothing on the disk needed them. */
int qcow2_flush_all(struct qcow2 *s)
{
	int res = write_pointers(s);

	if (res == 0)
		res = qcow2_write_refcounts(s);
	return res < 0 ? res : qcow2_sync(s);
}

int qcow2_flush_flags(struct qcow2 *s)
{
	int res;

	if (s->broken)
		return -EIO;
	if (!has_pointers(s))
		return 0;
	res = qcow2_cache_write(&s->l2_cache);
	if (res == 0)
		res = write_l1(s);
	return res < 0 ? res : qcow2_sync(s);
}

int qcow2_settle(struct qcow2 *s)
{
	return s->gone->len > MAX_GONE ? qcow2_flush_locked(s) : 0;
}

int qcow2_flush(struct image *img)
{
	struct qcow2 *s = qcow2_state(img);
	bool plain;
	int res = 0;

	g_mutex_lock(&s->lock);
	plain = !has_pointers(s) && !s->gone->len;
	if (!plain)
		res = qcow2_flush_locked(s);
	g_mutex_unlock(&s->lock);
	return plain ? qcow2_sync(s) : res;
}

static int mark_dirty(struct qcow2 *s)
{
	int res;

	s->incompatible |= QCOW2_DIRTY;
	res = qcow2_header_features(s);
	if (res == 0)
		res = qcow2_sync(s);
	s->lazy = res == 0;
	return res;
}

int qcow2_will_write(struct qcow2 *s)
{
	int res = 0;

	if (s->broken)
		return -EIO;
	if (s->written)
		return 0;
	res = qcow2_bitmaps_in_use(s, false);
	if (res == 0 && (s->compatible & QCOW2_LAZY_REFCOUNTS) && !s->checking)
		res = mark_dirty(s);
	s->written = res == 0;
	return res;
}
