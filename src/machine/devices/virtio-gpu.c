/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio's GPU in two dimensions, as a PCI function of its own: queues, configuration, and what its heads show. Created by
 * --device and device_add; virtio-vga.c has the same behind a VGA. See virtio-gpu.h.
 */
#include "virtio-gpu.h"

#include <string.h>

#include "bytes.h"
#include "classes.h"
#include "display.h"
#include "error.h"
#include "vga.h"

enum { CONTROL_SIZE = 64, WIDTH = 1280, HEIGHT = 800, WISH_MIN = 64, TURN = 16 << 20 /* bytes copied, before others have one */ };
#define MEMORY (256u << 20)

/* ---- heads ---- */

/* Head 0 is somebody else's until the driver has shown something. */
static bool owns(const struct virtio_gpu *g, unsigned head)
{
	return g->display && (head || g->active || !g->let_go);
}

void gpu_show(struct virtio_gpu *g, unsigned head, const struct gpu_resource *r)
{
	struct gpu_head *h = &g->head[head];
	struct display_surface s = {0};

	if (r) {
		s = (struct display_surface){h->width, h->height, r->width * 4, r->pixels + (size_t)h->y * r->width + h->x};
		gpu_damage(h, 0, 0, h->width, h->height);
		g->copied += (uint64_t)h->width * h->height * 4; /* by who looks */
	} else {
		h->resource = h->x = h->y = h->width = h->height = 0;
		h->left = h->top = h->right = h->bottom = 0;
	}
	if (owns(g, head))
		display_set_surface(g->display, g->first + head, &s);
}

void gpu_damage(struct gpu_head *h, uint32_t left, uint32_t top, uint32_t right, uint32_t bottom)
{
	if (h->left == h->right) {
		h->left = left;
		h->top = top;
	}
	h->left = MIN(h->left, left);
	h->top = MIN(h->top, top);
	h->right = MAX(h->right, right);
	h->bottom = MAX(h->bottom, bottom);
}

void gpu_update(struct virtio_gpu *g, unsigned head)
{
	struct gpu_head *h = &g->head[head];

	gpu_end_reset(g);
	if (h->right > h->left)
		display_damage(g->display, g->first + head, h->left, h->top, h->right - h->left, h->bottom - h->top);
	h->left = h->top = h->right = h->bottom = 0;
}

static uint32_t divided(uint32_t part, uint32_t alpha)
{
	return MIN((part * 255 + alpha / 2) / alpha, 255u);
}

/* As the display wants it: a driver's are premultiplied, as DRM's cursors are. */
static uint32_t straight(uint32_t p)
{
	uint32_t alpha = p >> 24;

	if (!alpha)
		return 0;
	return alpha << 24 | divided(p >> 16 & 0xff, alpha) << 16 | divided(p >> 8 & 0xff, alpha) << 8 | divided(p & 0xff, alpha);
}

void gpu_show_cursor(struct virtio_gpu *g, unsigned head)
{
	const struct gpu_head *h = &g->head[head];
	uint32_t pixels[GPU_CURSOR_SIZE * GPU_CURSOR_SIZE];
	struct display_cursor c = {0};

	if (!g->display)
		return;
	if (h->cursor_on) {
		for (unsigned i = 0; i < G_N_ELEMENTS(pixels); i++)
			pixels[i] = straight(h->cursor[i]);
		c = (struct display_cursor){GPU_CURSOR_SIZE, GPU_CURSOR_SIZE, h->hot_x, h->hot_y, pixels};
	}
	display_set_cursor(g->display, g->first + head, &c);
}

void gpu_wish(void *gpu, unsigned head, uint32_t width, uint32_t height)
{
	struct virtio_gpu *g = gpu;
	struct virtio_device *v = &g->dev.v;
	struct gpu_head *h = &g->head[head];
	uint8_t *events = v->config + offsetof(struct virtio_gpu_config, events_read);

	if (width && height) {
		width = CLAMP(width, WISH_MIN, EDID_PIXELS_MAX);
		height = CLAMP(height, WISH_MIN, EDID_PIXELS_MAX);
	} else {
		width = height = 0;
	}
	if (h->want_width == width && h->want_height == height)
		return;
	h->want_width = width;
	h->want_height = height;
	g_mutex_lock(&v->lock);
	put_le32(events, get_le32(events) | VIRTIO_GPU_EVENT_DISPLAY);
	g_mutex_unlock(&v->lock);
	virtio_config_changed(v);
}

/* ---- queues and configuration ---- */

void gpu_notify(struct virtio_device *v, struct virtqueue *vq)
{
	struct virtio_gpu *g = v->owner;
	unsigned left = vq->size;
	struct virtq_chain *c;

	gpu_end_reset(g);
	g->copied = 0;
	virtq_disable_notify(vq);
	while (left-- && g->copied < TURN && (c = virtq_pop(vq))) {
		uint32_t written = 0;

		if (vq->index == GPU_CONTROL)
			written = gpu_command(g, c);
		else
			gpu_cursor_command(g, c);
		virtq_push(vq, c, written);
	}
	if (virtq_enable_notify(vq))
		virtio_queue_kick(v, vq->index);
	virtio_queue_flush(v, vq);
}

bool gpu_settle(struct virtio_device *v, struct virtqueue *vq)
{
	gpu_end_reset(v->owner);
	return false;
}

/* events_clear is all that the driver may write: bits of events_read go. */
void gpu_config_written(struct virtio_device *v, const uint8_t *before, unsigned offset, unsigned len)
{
	const unsigned events = offsetof(struct virtio_gpu_config, events_read);
	uint32_t clear = get_le32(v->config + offsetof(struct virtio_gpu_config, events_clear));

	memcpy(v->config, before, v->config_size);
	put_le32(v->config + events, get_le32(v->config + events) & ~clear);
}

void gpu_driver_reset(struct virtio_device *v)
{
	struct virtio_gpu *g = v->owner;

	put_le32(v->config + offsetof(struct virtio_gpu_config, events_read), 0);
	__atomic_store_n(&g->reset_due, true, __ATOMIC_RELEASE);
	virtio_queue_kick(v, GPU_CONTROL); /* gpu_settle() */
}

void gpu_end_reset(struct virtio_gpu *g)
{
	if (!__atomic_exchange_n(&g->reset_due, false, __ATOMIC_ACQ_REL))
		return;
	g->active = false;
	if (g->let_go)
		g->let_go(g);
	for (unsigned i = 0; i < g->n_heads; i++) {
		struct gpu_head *h = &g->head[i];

		*h = (struct gpu_head){.want_width = h->want_width, .want_height = h->want_height};
		gpu_show(g, i, NULL);
		gpu_show_cursor(g, i);
	}
	g_ptr_array_set_size(g->resources, 0);
	g->memory = 0;
}

/* ---- the device ---- */

const struct device_key gpu_keys[] = {
	{"max_outputs", DEVICE_KEY_COUNT, "how many screens (1)", 1, GPU_HEADS_MAX},
	{"xres", DEVICE_KEY_COUNT, "their width, pixels (1280)", WISH_MIN, EDID_PIXELS_MAX},
	{"yres", DEVICE_KEY_COUNT, "their height (800)", WISH_MIN, EDID_PIXELS_MAX},
	{"max_hostmem", DEVICE_KEY_COUNT, "bytes that the guest's pictures may have here (256 MiB)", 1 << 20, GPU_MEMORY_MAX},
	{0},
};

bool gpu_create(struct virtio_gpu *g, const struct virtio_class *cls, GVariant *options, GError **error)
{
	uint64_t heads = 1, width = WIDTH, height = HEIGHT;
	struct device *dev = &g->dev.pci.dev;

	g->memory_max = MEMORY;
	if (options) {
		g_variant_lookup(options, "max_outputs", "t", &heads);
		g_variant_lookup(options, "xres", "t", &width);
		g_variant_lookup(options, "yres", "t", &height);
		g_variant_lookup(options, "max_hostmem", "t", &g->memory_max);
	}
	g->n_heads = (uint32_t)heads;
	g->head = g_new0(struct gpu_head, heads);
	for (unsigned i = 0; i < g->n_heads; i++) {
		g->head[i].want_width = (uint32_t)width;
		g->head[i].want_height = (uint32_t)height;
	}
	if (!virtio_pci_create(dev, cls, 1 << VIRTIO_GPU_F_EDID, sizeof(struct virtio_gpu_config), 2, CONTROL_SIZE, error)) {
		g_free(g->head);
		return false;
	}
	g->resources = g_ptr_array_new_with_free_func(gpu_resource_free);
	put_le32(g->dev.v.config + offsetof(struct virtio_gpu_config, num_scanouts), g->n_heads);
	return true;
}

bool gpu_add_painter(struct virtio_gpu *g, const struct display_painter *painter, GError **error)
{
	struct device *dev = &g->dev.pci.dev;

	if (dev->core->display &&
	    !display_add_painter(dev->core->display, dev->id, painter, g, g->n_heads, &g->first)) {
		gpu_destroy(g);
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "%s: there are no more than %d screens", dev->id, DISPLAY_HEADS);
	}
	g->display = dev->core->display;
	return true;
}

void gpu_destroy(struct virtio_gpu *g)
{
	if (g->display)
		display_remove_painter(g->display, g);
	virtio_pci_destroy(&g->dev.pci.dev);
	g_ptr_array_unref(g->resources);
	g_free(g->head);
}

void gpu_reset(struct device *dev)
{
	virtio_pci_reset(dev);
	gpu_end_reset((struct virtio_gpu *)dev);
}

static void update(void *opaque, unsigned head)
{
	gpu_update(opaque, head);
}

/* The driver says what it painted, gpu_show() what is shown. */
static bool rest(void *opaque, unsigned head)
{
	return true;
}

static const struct display_painter painter = {update, gpu_wish, rest};

static const struct virtio_class gpu_class = {
	.name = "virtio-gpu",
	.id = VIRTIO_ID_GPU,
	.pci_class = 0x038000,
	.notify = gpu_notify,
	.settle = gpu_settle,
	.config_written = gpu_config_written,
	.reset = gpu_driver_reset,
};

static bool create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct virtio_gpu *g = (struct virtio_gpu *)dev;

	return gpu_create(g, &gpu_class, options, error) && gpu_add_painter(g, &painter, error);
}

static void destroy(struct device *dev)
{
	gpu_destroy((struct virtio_gpu *)dev);
}

static const struct state_desc gpu_state = {"virtio-gpu", 1, 1, gpu_state_fields, gpu_before_save, gpu_loaded};

const struct device_class device_virtio_gpu = {
	.name = "virtio-gpu",
	.description = "virtio graphics of one screen or several",
	.size = sizeof(struct virtio_gpu),
	.create = create,
	.reset = gpu_reset,
	.destroy = destroy,
	.pause = virtio_pci_pause,
	.resume = virtio_pci_resume,
	.state = &gpu_state,
	.keys = gpu_keys,
};
