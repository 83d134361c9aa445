/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Persistent bitmaps: those that are kept, not yet what they are for. One that records changes ("auto") does not see ours, so
 * before the first change it is marked in use, which tells everybody that it was not saved; others stay as they are.
 */
#include <errno.h>

#include "bytes.h"
#include "qcow2.h"

enum { ENTRY = 24, AT_FLAGS = 12, IN_USE = 1, AUTO = 2 };

static int visit_all(struct qcow2 *s, uint8_t *dir, qcow2_bitmap_visit *visit, void *opaque)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < s->n_bitmaps; i++) {
		uint64_t room = s->bitmaps_len - at, len;
		g_autofree char *name = NULL, *valid = NULL;
		uint32_t name_len, extra;

		if (room < ENTRY)
			return -EIO;
		name_len = get_be16(dir + at + 18);
		extra = get_be32(dir + at + 20);
		len = align_up(ENTRY + (uint64_t)name_len + extra, 8);
		if (len > room)
			return -EIO;
		name = g_strndup((const char *)dir + at + ENTRY + extra, name_len);
		valid = g_utf8_make_valid(name, -1);
		if (!visit(s, dir + at, valid, opaque))
			break;
		at += len;
	}
	return 0;
}

int qcow2_bitmaps_each(struct qcow2 *s, qcow2_bitmap_visit *visit, void *opaque)
{
	g_autofree uint8_t *dir = g_malloc(s->bitmaps_len);
	int res = qcow2_pread(s, s->bitmaps_offset, dir, s->bitmaps_len);

	return res < 0 ? res : visit_all(s, dir, visit, opaque);
}

static bool mark(struct qcow2 *s, uint8_t *entry, const char *name, void *opaque)
{
	uint32_t flags = get_be32(entry + AT_FLAGS);

	if (flags & AUTO && !(flags & IN_USE)) {
		put_be32(entry + AT_FLAGS, flags | IN_USE);
		*(bool *)opaque = true;
	}
	return true;
}

int qcow2_bitmaps_in_use(struct qcow2 *s)
{
	g_autofree uint8_t *dir = g_malloc(s->bitmaps_len);
	bool changed = false;
	int res = qcow2_pread(s, s->bitmaps_offset, dir, s->bitmaps_len);

	if (res == 0)
		res = visit_all(s, dir, mark, &changed);
	if (res < 0 || !changed)
		return res;
	res = qcow2_pwrite(s, s->bitmaps_offset, dir, s->bitmaps_len);
	return res < 0 ? res : qcow2_sync(s);
}
