/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver's commands (virtio 1.2, sections 5.7.6.7 to 5.7.6.10): a table of them, each with the bytes it has at least. What is
 * wrong with one is its answer. See virtio-gpu.h.
 */
#include <string.h>

#include "bytes.h"
#include "display.h"
#include "log.h"
#include "vga.h"
#include "virtio-gpu.h"

enum { SCANOUT_MIN = 16 }; /* pixels, each way, as in QEMU */

typedef struct virtio_gpu_ctrl_hdr header;

union request {
	header hdr;
	struct virtio_gpu_resource_create_2d create;
	struct virtio_gpu_resource_unref unref;
	struct virtio_gpu_set_scanout scanout;
	struct virtio_gpu_resource_flush flush;
	struct virtio_gpu_transfer_to_host_2d transfer;
	struct virtio_gpu_resource_attach_backing attach;
	struct virtio_gpu_resource_detach_backing detach;
	struct virtio_gpu_cmd_get_edid edid;
};

union answer {
	header hdr;
	struct virtio_gpu_resp_display_info display;
	struct virtio_gpu_resp_edid edid;
};

/* Everything here is little endian, in the guest and (as the rest of this program wants it) in the host. */
static struct virtio_gpu_rect rect_of(const struct virtio_gpu_rect *r)
{
	return (struct virtio_gpu_rect){GUINT32_FROM_LE(r->x), GUINT32_FROM_LE(r->y), GUINT32_FROM_LE(r->width),
					GUINT32_FROM_LE(r->height)};
}

/* Heads lie side by side. */
static uint32_t get_display_info(struct virtio_gpu *g, const union request *q, const struct virtq_chain *c, union answer *a)
{
	uint32_t x = 0;

	for (unsigned i = 0; i < g->n_heads; i++) {
		const struct gpu_head *h = &g->head[i];
		struct virtio_gpu_display_one *m = &a->display.pmodes[i];

		if (!h->want_width)
			continue;
		m->enabled = GUINT32_TO_LE(1);
		m->r.x = GUINT32_TO_LE(x);
		m->r.width = GUINT32_TO_LE(h->want_width);
		m->r.height = GUINT32_TO_LE(h->want_height);
		x += h->want_width;
	}
	return VIRTIO_GPU_RESP_OK_DISPLAY_INFO;
}

static uint32_t get_edid(struct virtio_gpu *g, const union request *q, const struct virtq_chain *c, union answer *a)
{
	uint32_t i = GUINT32_FROM_LE(q->edid.scanout);

	if (i >= g->n_heads)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	if (g->head[i].want_width) {
		a->edid.size = GUINT32_TO_LE(128);
		vga_edid(a->edid.edid, g->head[i].want_width, g->head[i].want_height, i);
	}
	return VIRTIO_GPU_RESP_OK_EDID;
}

static uint32_t create_2d(struct virtio_gpu *g, const union request *q, const struct virtq_chain *c, union answer *a)
{
	return gpu_resource_create(g, GUINT32_FROM_LE(q->create.resource_id), GUINT32_FROM_LE(q->create.format),
				   GUINT32_FROM_LE(q->create.width), GUINT32_FROM_LE(q->create.height));
}

static uint32_t unref(struct virtio_gpu *g, const union request *q, const struct virtq_chain *c, union answer *a)
{
	struct gpu_resource *r = gpu_find(g, GUINT32_FROM_LE(q->unref.resource_id));

	if (!r)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	gpu_resource_remove(g, r);
	return VIRTIO_GPU_RESP_OK_NODATA;
}

static uint32_t set_scanout(struct virtio_gpu *g, const union request *q, const struct virtq_chain *c, union answer *a)
{
	uint32_t i = GUINT32_FROM_LE(q->scanout.scanout_id), id = GUINT32_FROM_LE(q->scanout.resource_id);
	struct virtio_gpu_rect rect = rect_of(&q->scanout.r);
	struct gpu_resource *r = gpu_find(g, id);
	struct gpu_head *h = &g->head[i];

	if (i >= g->n_heads)
		return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
	if (!id) {
		gpu_show(g, i, NULL);
		return VIRTIO_GPU_RESP_OK_NODATA;
	}
	if (!r)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (!gpu_rect_inside(&rect, r) || rect.width < SCANOUT_MIN || rect.height < SCANOUT_MIN)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	g->active = true;
	h->resource = id;
	h->x = rect.x;
	h->y = rect.y;
	h->width = rect.width;
	h->height = rect.height;
	gpu_show(g, i, r);
	return VIRTIO_GPU_RESP_OK_NODATA;
}

static uint32_t flush(struct virtio_gpu *g, const union request *q, const struct virtq_chain *c, union answer *a)
{
	struct gpu_resource *r = gpu_find(g, GUINT32_FROM_LE(q->flush.resource_id));
	struct virtio_gpu_rect rect = rect_of(&q->flush.r);

	if (!r)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (!gpu_rect_inside(&rect, r))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	for (unsigned i = 0; i < g->n_heads; i++) {
		struct gpu_head *h = &g->head[i];
		uint32_t left = MAX(rect.x, h->x), top = MAX(rect.y, h->y);
		uint32_t right = MIN(rect.x + rect.width, h->x + h->width), bottom = MIN(rect.y + rect.height, h->y + h->height);

		if (h->resource != r->id || left >= right || top >= bottom)
			continue;
		gpu_damage(h, left - h->x, top - h->y, right - h->x, bottom - h->y);
		if (g->display)
			display_stir(g->display, g->first + i);
	}
	return VIRTIO_GPU_RESP_OK_NODATA;
}

static uint32_t transfer(struct virtio_gpu *g, const union request *q, const struct virtq_chain *c, union answer *a)
{
	struct gpu_resource *r = gpu_find(g, GUINT32_FROM_LE(q->transfer.resource_id));
	struct virtio_gpu_rect rect = rect_of(&q->transfer.r);

	if (!r)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (!gpu_rect_inside(&rect, r))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	return gpu_transfer(g, r, &rect, GUINT64_FROM_LE(q->transfer.offset));
}

static uint32_t attach(struct virtio_gpu *g, const union request *q, const struct virtq_chain *c, union answer *a)
{
	struct gpu_resource *r = gpu_find(g, GUINT32_FROM_LE(q->attach.resource_id));

	return r ? gpu_attach(g, r, c, sizeof(q->attach), GUINT32_FROM_LE(q->attach.nr_entries)) :
		   VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
}

static uint32_t detach(struct virtio_gpu *g, const union request *q, const struct virtq_chain *c, union answer *a)
{
	struct gpu_resource *r = gpu_find(g, GUINT32_FROM_LE(q->detach.resource_id));

	if (!r)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (!r->backing)
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	gpu_detach(g, r);
	return VIRTIO_GPU_RESP_OK_NODATA;
}

#define ROW(type, member, run) [type - VIRTIO_GPU_CMD_GET_DISPLAY_INFO] = {sizeof(((union request *)0)->member), run}
static const struct {
	uint32_t len;
	uint32_t (*run)(struct virtio_gpu *g, const union request *q, const struct virtq_chain *c, union answer *a);
} commands[] = {
	ROW(VIRTIO_GPU_CMD_GET_DISPLAY_INFO, hdr, get_display_info),
	ROW(VIRTIO_GPU_CMD_RESOURCE_CREATE_2D, create, create_2d),
	ROW(VIRTIO_GPU_CMD_RESOURCE_UNREF, unref, unref),
	ROW(VIRTIO_GPU_CMD_SET_SCANOUT, scanout, set_scanout),
	ROW(VIRTIO_GPU_CMD_RESOURCE_FLUSH, flush, flush),
	ROW(VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D, transfer, transfer),
	ROW(VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, attach, attach),
	ROW(VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, detach, detach),
	ROW(VIRTIO_GPU_CMD_GET_EDID, edid, get_edid),
};

static uint32_t run(struct virtio_gpu *g, const union request *q, size_t len, const struct virtq_chain *c, union answer *a)
{
	uint32_t row = GUINT32_FROM_LE(q->hdr.type) - VIRTIO_GPU_CMD_GET_DISPLAY_INFO;

	if (row >= G_N_ELEMENTS(commands) || !commands[row].run || len < commands[row].len ||
	    (commands[row].run == get_edid && !virtio_has(&g->dev.v, VIRTIO_GPU_F_EDID)))
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	return commands[row].run(g, q, c, a);
}

uint32_t gpu_command(struct virtio_gpu *g, const struct virtq_chain *c)
{
	static const struct {
		uint32_t type, len;
	} long_answers[] = {{VIRTIO_GPU_RESP_OK_DISPLAY_INFO, sizeof(struct virtio_gpu_resp_display_info)},
			    {VIRTIO_GPU_RESP_OK_EDID, sizeof(struct virtio_gpu_resp_edid)}};
	union request q = {0};
	union answer a = {0};
	size_t len = virtq_iov_read(c->out, c->n_out, 0, &q, sizeof(q));
	uint32_t type = run(g, &q, len, c, &a), answer_len = sizeof(header);

	for (unsigned i = 0; i < G_N_ELEMENTS(long_answers); i++)
		if (type == long_answers[i].type)
			answer_len = long_answers[i].len;
	if (type >= VIRTIO_GPU_RESP_ERR_UNSPEC)
		kv_log_debug("%s: command 0x%x: error 0x%x", g->dev.v.id, GUINT32_FROM_LE(q.hdr.type), type);
	a.hdr.type = GUINT32_TO_LE(type);
	/* All that was asked for is done. */
	if (q.hdr.flags & GUINT32_TO_LE(VIRTIO_GPU_FLAG_FENCE)) {
		a.hdr.flags = GUINT32_TO_LE(VIRTIO_GPU_FLAG_FENCE);
		a.hdr.fence_id = q.hdr.fence_id;
		a.hdr.ctx_id = q.hdr.ctx_id;
	}
	return (uint32_t)virtq_iov_write(c->in, c->n_in, 0, &a, answer_len);
}

/* ---- the cursor ---- */

static bool take_cursor(struct virtio_gpu *g, struct gpu_head *h, const struct virtio_gpu_update_cursor *q)
{
	uint32_t id = GUINT32_FROM_LE(q->resource_id);
	const struct gpu_resource *r = gpu_find(g, id);
	bool opaque;

	if (id && (!r || r->width != GPU_CURSOR_SIZE || r->height != GPU_CURSOR_SIZE))
		return false;
	h->cursor_on = id;
	if (!id)
		return true;
	h->hot_x = MIN(GUINT32_FROM_LE(q->hot_x), GPU_CURSOR_SIZE - 1);
	h->hot_y = MIN(GUINT32_FROM_LE(q->hot_y), GPU_CURSOR_SIZE - 1);
	opaque = r->format == VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM || r->format == VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM ||
		 r->format == VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM || r->format == VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM;
	for (unsigned i = 0; i < G_N_ELEMENTS(h->cursor); i++)
		h->cursor[i] = r->pixels[i] | (opaque ? 0xff000000 : 0);
	return true;
}

void gpu_cursor_command(struct virtio_gpu *g, const struct virtq_chain *c)
{
	struct virtio_gpu_update_cursor q = {0};
	size_t len = virtq_iov_read(c->out, c->n_out, 0, &q, sizeof(q));
	uint32_t type = GUINT32_FROM_LE(q.hdr.type), i = GUINT32_FROM_LE(q.pos.scanout_id);

	if (len < sizeof(q) || i >= g->n_heads || (type != VIRTIO_GPU_CMD_UPDATE_CURSOR && type != VIRTIO_GPU_CMD_MOVE_CURSOR)) {
		kv_log_debug("%s: cursor command 0x%x for screen %u: ignored", g->dev.v.id, type, i);
		return;
	}
	if (type == VIRTIO_GPU_CMD_UPDATE_CURSOR && take_cursor(g, &g->head[i], &q))
		gpu_show_cursor(g, i);
	g->head[i].cursor_x = (int32_t)GUINT32_FROM_LE(q.pos.x);
	g->head[i].cursor_y = (int32_t)GUINT32_FROM_LE(q.pos.y);
	if (g->display)
		display_move_cursor(g->display, g->first + i, g->head[i].cursor_x, g->head[i].cursor_y);
}
