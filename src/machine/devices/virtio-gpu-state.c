/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The GPU's saved state: heads, and resources with their pixels, which the guest does not send again. What comes from a stream is
 * held against the same limits as the driver's commands. See virtio-gpu.h.
 */
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "vga.h"
#include "virtio-gpu.h"

void gpu_before_save(void *gpu)
{
	gpu_end_reset(gpu);
}

static bool resource_ok(const struct virtio_gpu *g, const struct gpu_resource *r)
{
	return r->id && gpu_format_known(r->format) && r->width && r->height && r->width <= GPU_SIZE_MAX &&
	       r->height <= GPU_SIZE_MAX && r->pixels_len == (uint64_t)r->width * r->height * 4 &&
	       r->backing_len % sizeof(*r->backing) == 0 && gpu_backing_ok(g, r);
}

static bool check_resources(struct virtio_gpu *g, GError **error)
{
	g_autoptr(GHashTable) ids = g_hash_table_new(NULL, NULL);

	g->memory = 0;
	for (unsigned i = 0; i < g->resources->len; i++) {
		const struct gpu_resource *r = g->resources->pdata[i];

		if (!resource_ok(g, r) || !g_hash_table_add(ids, GUINT_TO_POINTER(r->id)))
			return kv_fail(error, KV_ERROR_INVALID, "%s: the saved resource %u makes no sense", g->dev.v.id, r->id);
		g->memory += gpu_resource_memory(r);
	}
	return g->memory <= g->memory_max ||
	       kv_fail(error, KV_ERROR_INVALID, "%s: saved resources have %" G_GUINT64_FORMAT " bytes, more than max_hostmem",
		       g->dev.v.id, g->memory);
}

static bool head_ok(const struct virtio_gpu *g, unsigned i)
{
	const struct gpu_head *h = &g->head[i];
	const struct gpu_resource *r = h->resource ? gpu_find(g, h->resource) : NULL;

	if (h->want_width > EDID_PIXELS_MAX || h->want_height > EDID_PIXELS_MAX || !h->want_width != !h->want_height ||
	    h->hot_x >= GPU_CURSOR_SIZE || h->hot_y >= GPU_CURSOR_SIZE)
		return false;
	return !h->resource ||
	       (r && g->active && gpu_rect_inside(&(struct virtio_gpu_rect){h->x, h->y, h->width, h->height}, r));
}

/* A stream that was refused leaves what a reset does. */
static bool refuse(struct virtio_gpu *g)
{
	__atomic_store_n(&g->reset_due, true, __ATOMIC_RELEASE);
	gpu_end_reset(g);
	return false;
}

bool gpu_loaded(void *gpu, GError **error)
{
	struct virtio_gpu *g = gpu;
	struct virtio_gpu_config config = {.num_scanouts = GUINT32_TO_LE(g->n_heads)};

	__atomic_store_n(&g->reset_due, false, __ATOMIC_RELEASE);
	config.events_read = GUINT32_TO_LE(get_le32(g->dev.v.config) & VIRTIO_GPU_EVENT_DISPLAY);
	memcpy(g->dev.v.config, &config, sizeof(config));
	if (!check_resources(g, error))
		return refuse(g);
	for (unsigned i = 0; i < g->n_heads; i++)
		if (!head_ok(g, i)) {
			kv_fail(error, KV_ERROR_INVALID, "%s: the saved screen %u makes no sense", g->dev.v.id, i);
			return refuse(g);
		}
	if (g->let_go && !g->active)
		g->let_go(g);
	for (unsigned i = 0; i < g->n_heads; i++) {
		gpu_show(g, i, gpu_find(g, g->head[i].resource));
		gpu_show_cursor(g, i);
	}
	return virtio_pci_after_load(gpu, error) || refuse(g);
}

static const struct state_field resource_fields[] = {
	STATE_INT(struct gpu_resource, id, STATE_U32),
	STATE_INT(struct gpu_resource, format, STATE_U32),
	STATE_INT(struct gpu_resource, width, STATE_U32),
	STATE_INT(struct gpu_resource, height, STATE_U32),
	{.name = "pixels",
	 .offset = offsetof(struct gpu_resource, pixels),
	 .type = STATE_BUFFER,
	 .since = 1,
	 .count = GPU_MEMORY_MAX,
	 .count_at = offsetof(struct gpu_resource, pixels_len)},
	{.name = "backing",
	 .offset = offsetof(struct gpu_resource, backing),
	 .type = STATE_BUFFER,
	 .since = 1,
	 .count = GPU_ENTRIES_MAX * sizeof(struct virtio_gpu_mem_entry),
	 .count_at = offsetof(struct gpu_resource, backing_len)},
	STATE_END,
};

#define HEAD(member) STATE_INT(struct gpu_head, member, STATE_U32)
static const struct state_field head_fields[] = {
	HEAD(want_width),
	HEAD(want_height),
	HEAD(resource),
	HEAD(x),
	HEAD(y),
	HEAD(width),
	HEAD(height),
	STATE_INT(struct gpu_head, cursor_on, STATE_BOOL),
	HEAD(hot_x),
	HEAD(hot_y),
	HEAD(cursor_x),
	HEAD(cursor_y),
	{.name = "cursor",
	 .offset = offsetof(struct gpu_head, cursor),
	 .type = STATE_ARRAY,
	 .since = 1,
	 .size = 4,
	 .count = GPU_CURSOR_SIZE * GPU_CURSOR_SIZE},
	STATE_END,
};

const struct state_field gpu_state_fields[] = {
	VIRTIO_PCI_STATE(struct virtio_gpu, dev),
	STATE_INT(struct virtio_gpu, active, STATE_BOOL),
	{.name = "head",
	 .offset = offsetof(struct virtio_gpu, head),
	 .type = STATE_POINTER_STRUCT,
	 .since = 1,
	 .size = sizeof(struct gpu_head),
	 .count = GPU_HEADS_MAX,
	 .count_at = offsetof(struct virtio_gpu, n_heads),
	 .fields = head_fields},
	{.name = "resources",
	 .offset = offsetof(struct virtio_gpu, resources),
	 .type = STATE_LIST,
	 .since = 1,
	 .size = sizeof(struct gpu_resource),
	 .count = GPU_RESOURCES_MAX,
	 .fields = resource_fields},
	STATE_END,
};
