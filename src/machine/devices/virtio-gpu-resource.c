/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pictures that the driver keeps with us, and the pages of the guest behind them (virtio 1.2, section 5.7.6.8). All of a device's
 * count against one limit, with what is kept about them. See virtio-gpu.h.
 */
#include <string.h>

#include "virtio-gpu.h"

enum { OVERHEAD = 64 }; /* bytes around each allocation, and in the list */

/* Where the parts of a pixel are, bits, when it is read as a little-endian number. */
static const struct format {
	uint32_t format;
	uint8_t red, green, blue, alpha;
} formats[] = {
	{VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, 16, 8, 0, 24}, {VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 16, 8, 0, 24},
	{VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM, 8, 16, 24, 0}, {VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM, 8, 16, 24, 0},
	{VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM, 0, 8, 16, 24}, {VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM, 0, 8, 16, 24},
	{VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM, 24, 16, 8, 0}, {VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM, 24, 16, 8, 0},
};

static const struct format *find_format(uint32_t format)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++)
		if (formats[i].format == format)
			return &formats[i];
	return NULL;
}

bool gpu_format_known(uint32_t format)
{
	return find_format(format);
}

struct gpu_resource *gpu_find(const struct virtio_gpu *g, uint32_t id)
{
	for (unsigned i = 0; i < g->resources->len; i++) {
		struct gpu_resource *r = g->resources->pdata[i];

		if (r->id == id)
			return r;
	}
	return NULL;
}

uint64_t gpu_resource_memory(const struct gpu_resource *r)
{
	return sizeof(*r) + OVERHEAD + r->pixels_len + r->backing_len;
}

uint32_t gpu_resource_create(struct virtio_gpu *g, uint32_t id, uint32_t format, uint32_t width, uint32_t height)
{
	struct gpu_resource r = {.id = id, .format = format, .width = width, .height = height};
	uint64_t bytes = (uint64_t)width * height * 4;

	if (!id || gpu_find(g, id))
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (!gpu_format_known(format) || !width || !height || width > GPU_SIZE_MAX || height > GPU_SIZE_MAX)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	if (bytes > g->memory_max || g->resources->len >= GPU_RESOURCES_MAX)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	r.pixels_len = (uint32_t)bytes;
	if (gpu_resource_memory(&r) > g->memory_max - g->memory)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	r.pixels = g_try_malloc0(r.pixels_len);
	if (!r.pixels)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	g->memory += gpu_resource_memory(&r);
	g_ptr_array_add(g->resources, g_memdup2(&r, sizeof(r)));
	return VIRTIO_GPU_RESP_OK_NODATA;
}

void gpu_resource_free(void *resource)
{
	struct gpu_resource *r = resource;

	g_free(r->pixels);
	g_free(r->backing);
	g_free(r);
}

void gpu_resource_remove(struct virtio_gpu *g, struct gpu_resource *r)
{
	for (unsigned i = 0; i < g->n_heads; i++)
		if (g->head[i].resource == r->id)
			gpu_show(g, i, NULL);
	g->memory -= gpu_resource_memory(r);
	g_ptr_array_remove_fast(g->resources, r);
}

/* ---- backing ---- */

bool gpu_backing_ok(const struct virtio_gpu *g, const struct gpu_resource *r)
{
	for (uint32_t i = 0; i < r->backing_len / sizeof(*r->backing); i++)
		if (!gpa_ptr(g->dev.v.mem, GUINT64_FROM_LE(r->backing[i].addr), GUINT32_FROM_LE(r->backing[i].length)))
			return false;
	return true;
}

uint32_t gpu_attach(struct virtio_gpu *g, struct gpu_resource *r, const struct virtq_chain *c, uint32_t at, uint32_t entries)
{
	uint32_t len = entries * (uint32_t)sizeof(*r->backing);
	struct gpu_resource with = *r;

	if (r->backing)
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	if (!entries || entries > GPU_ENTRIES_MAX || c->out_len - at < len)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	if (len > g->memory_max - g->memory)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	with.backing_len = len;
	with.backing = g_malloc(len);
	if (virtq_iov_read(c->out, c->n_out, at, with.backing, len) != len || !gpu_backing_ok(g, &with)) {
		g_free(with.backing);
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	}
	*r = with;
	g->memory += len;
	return VIRTIO_GPU_RESP_OK_NODATA;
}

void gpu_detach(struct virtio_gpu *g, struct gpu_resource *r)
{
	g->memory -= r->backing_len;
	r->backing_len = 0;
	g_clear_pointer(&r->backing, g_free);
}

/* ---- transfers ---- */

bool gpu_rect_inside(const struct virtio_gpu_rect *rect, const struct gpu_resource *r)
{
	return rect->width && rect->height && rect->x < r->width && rect->y < r->height && rect->width <= r->width - rect->x &&
	       rect->height <= r->height - rect->y;
}

/* Goes through a backing, forwards alone. */
struct pages {
	const struct guest_mem *mem;
	const struct virtio_gpu_mem_entry *e, *end;
	uint64_t at; /* offset of e */
};

static bool read_pages(struct pages *p, uint64_t offset, uint8_t *to, size_t len)
{
	while (len && p->e < p->end) {
		uint32_t have = GUINT32_FROM_LE(p->e->length);
		size_t n;

		if (offset - p->at >= have) {
			p->at += have;
			p->e++;
			continue;
		}
		n = MIN(len, have - (offset - p->at));
		memcpy(to, (const uint8_t *)gpa_ptr(p->mem, GUINT64_FROM_LE(p->e->addr), have) + (offset - p->at), n);
		offset += n;
		to += n;
		len -= n;
	}
	return !len;
}

static void convert(const struct format *f, uint32_t *pixels, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t p = GUINT32_FROM_LE(pixels[i]);

		pixels[i] = (p >> f->alpha & 0xff) << 24 | (p >> f->red & 0xff) << 16 | (p >> f->green & 0xff) << 8 |
			    (p >> f->blue & 0xff);
	}
}

uint32_t gpu_transfer(struct virtio_gpu *g, struct gpu_resource *r, const struct virtio_gpu_rect *rect, uint64_t offset)
{
	struct pages p = {g->dev.v.mem, r->backing, r->backing + r->backing_len / sizeof(*r->backing), 0};
	const struct format *f = find_format(r->format);
	bool as_it_is = G_BYTE_ORDER == G_LITTLE_ENDIAN && f->alpha == 24 && f->red == 16;

	if (!r->backing)
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	if (offset > UINT64_MAX / 2)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	for (uint32_t y = 0; y < rect->height; y++) {
		uint32_t *line = r->pixels + (size_t)(rect->y + y) * r->width + rect->x;

		g->copied += (uint64_t)rect->width * 4; /* of one that fails as well */
		if (!read_pages(&p, offset + (uint64_t)y * r->width * 4, (uint8_t *)line, (size_t)rect->width * 4))
			return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
		if (!as_it_is)
			convert(f, line, rect->width);
	}
	return VIRTIO_GPU_RESP_OK_NODATA;
}
