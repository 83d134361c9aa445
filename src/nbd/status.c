/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Metadata contexts: "base:allocation" and, QEMU's (its docs/interop/nbd.txt), "qemu:allocation-depth" and
 * "qemu:dirty-bitmap:NAME"; and the answers to NBD_CMD_BLOCK_STATUS. Called by handshake.c and request.c.
 */
#include <errno.h>
#include <string.h>

#include "bitmap.h"
#include "bytes.h"
#include "connection.h"

enum {
	EXTENTS_MAX = 4096, /* of an answer; a client asks again for more */
	EXTENT_SIZE = 8,
};

char *conn_context_name(const struct nbd_export *e, unsigned context)
{
	if (context == CONTEXT_BASE)
		return g_strdup("base:allocation");
	if (context == CONTEXT_DEPTH)
		return e->allocation_depth ? g_strdup("qemu:allocation-depth") : NULL;
	context -= CONTEXT_BITMAP;
	return context < e->n_bitmaps ? g_strconcat("qemu:dirty-bitmap:", e->bitmap[context].name, NULL) : NULL;
}

static int bitmap_extent(void *opaque, uint64_t offset, uint64_t len, bool *ret_dirty, uint64_t *ret_len)
{
	const struct image_bitmap *b = opaque;
	uint64_t at;

	*ret_dirty = image_bitmap_get(b, offset);
	if (image_bitmap_next(b, !*ret_dirty, offset, offset + len, &at, ret_len))
		*ret_len = at - offset;
	else
		*ret_len = len;
	return 0;
}

struct nbd_bitmap nbd_bitmap_of(struct image_bitmap *b)
{
	return (struct nbd_bitmap){ b->name, bitmap_extent, b };
}

static int image_flags(struct image *img, unsigned context, uint64_t offset, uint64_t len, uint32_t *ret_flags,
		       uint64_t *ret_len)
{
	struct image_extent x;
	int res = image_status(img, offset, len, &x);
	bool zero;

	if (res < 0)
		return res;
	zero = x.kind == IMAGE_HOLE || x.kind == IMAGE_ZERO;
	if (context == CONTEXT_DEPTH)
		*ret_flags = x.kind == IMAGE_HOLE ? 0 : x.depth + 1;
	else
		*ret_flags = !zero ? 0 : NBD_STATE_ZERO | (x.allocated ? 0 : NBD_STATE_HOLE);
	*ret_len = x.len;
	return 0;
}

static int bitmap_flags(const struct nbd_bitmap *b, uint64_t offset, uint64_t len, uint32_t *ret_flags, uint64_t *ret_len)
{
	bool dirty = true;
	int res = b->extent(b->opaque, offset, len, &dirty, ret_len);

	*ret_flags = dirty ? NBD_STATE_DIRTY : 0;
	return res == 0 && (!*ret_len || *ret_len > len) ? -EIO : res;
}

/* The chunk's payload; how many bytes, or a negative errno. */
static int collect(struct nbd_conn *c, struct image *img, unsigned context, const struct nbd_request *r, uint8_t *to)
{
	struct nbd_export *e = c->export;
	uint32_t last = 0, flags;
	unsigned n = 0;
	uint64_t len;

	put_be32(to, context);
	to += 4;
	for (uint64_t done = 0; done < r->len; done += len) {
		uint64_t at = r->offset + done, left = r->len - done;
		int res = context < CONTEXT_BITMAP ? image_flags(img, context, at, left, &flags, &len) :
						     bitmap_flags(&e->bitmap[context - CONTEXT_BITMAP], at, left, &flags, &len);

		if (res < 0)
			return n ? (int)(4 + n * EXTENT_SIZE) : res;
		if (n && flags == last) {
			uint8_t *extent = to + (n - 1) * EXTENT_SIZE;

			put_be32(extent, get_be32(extent) + len);
			continue;
		}
		if (n == (r->flags & NBD_CMD_FLAG_REQ_ONE ? 1 : EXTENTS_MAX))
			break;
		put_be32(to + n * EXTENT_SIZE, len);
		put_be32(to + n * EXTENT_SIZE + 4, flags);
		last = flags;
		n++;
	}
	return 4 + n * EXTENT_SIZE;
}

bool conn_block_status(struct nbd_conn *c, const struct nbd_request *r)
{
	uint32_t left = c->contexts;

	if (!left || !r->len)
		return conn_reply_error(c, r, -EINVAL);
	for (unsigned i = 0; left; i++) {
		uint8_t *to;
		int len;

		if (!(left & 1u << i))
			continue;
		left &= ~(1u << i);
		to = conn_out(c, NBD_CHUNK_SIZE + 4 + EXTENTS_MAX * EXTENT_SIZE);
		if (!to)
			return false;
		len = collect(c, conn_enter_image(c), i, r, to + NBD_CHUNK_SIZE);
		conn_leave_image(c);
		if (len < 0)
			return conn_reply_error(c, r, len);
		conn_put_chunk(to, r, NBD_REPLY_TYPE_BLOCK_STATUS, !left, len);
		conn_out_add(c, NBD_CHUNK_SIZE + len);
	}
	c->n_replies++;
	return true;
}
