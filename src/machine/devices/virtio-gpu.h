/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio's GPU in two dimensions (virtio 1.2, section 5.7): its parts for each other. virtio-gpu.c has the device, its queues
 * and its heads, virtio-gpu-command.c what the driver asks for, virtio-gpu-resource.c the pictures it keeps with us,
 * virtio-gpu-state.c saves them; virtio-vga.c is a VGA until the driver shows something.
 *
 * A resource's pixels are 0xAARRGGBB in the machine's order whatever its format, so that what a head shows is a part of a
 * resource as it is.
 *
 * Threads: all in the main thread, but for registers; a reset by the driver is noted by its vCPU and done here (gpu_end_reset()).
 */
#pragma once

#include <linux/virtio_gpu.h>

#include "virtio-pci.h"

struct display_painter;

enum {
	GPU_CONTROL = 0, /* queues */
	GPU_CURSOR = 1,
	GPU_HEADS_MAX = VIRTIO_GPU_MAX_SCANOUTS,
	GPU_SIZE_MAX = 16384, /* pixels of a resource, each way */
	GPU_RESOURCES_MAX = 16384,
	GPU_ENTRIES_MAX = 16384, /* of a resource's backing */
	GPU_CURSOR_SIZE = 64,
};
#define GPU_MEMORY_MAX (512u << 20) /* of one device's resources, bytes */

struct gpu_resource {
	uint32_t id, format, width, height;
	uint32_t *pixels; /* pixels_len bytes: width * height * 4 */
	uint32_t pixels_len;
	struct virtio_gpu_mem_entry *backing; /* backing_len bytes, as the driver wrote them; each is in RAM */
	uint32_t backing_len;
};

struct gpu_head {
	uint32_t want_width, want_height; /* who looks would like it so; 0: not at all */
	uint32_t resource, x, y, width, height; /* what is shown; resource 0: nothing */
	uint32_t left, top, right, bottom; /* was flushed and not told yet */
	bool cursor_on;
	uint32_t hot_x, hot_y;
	int32_t cursor_x, cursor_y;
	uint32_t cursor[GPU_CURSOR_SIZE * GPU_CURSOR_SIZE]; /* 0xAARRGGBB, premultiplied */
};

struct virtio_gpu {
	struct virtio_pci_device dev; /* first */
	struct display *display;      /* NULL: nobody looks */
	unsigned first;		      /* head of the display */
	uint32_t n_heads;
	struct gpu_head *head; /* n_heads of them */
	GPtrArray *resources; /* struct gpu_resource, owned */
	uint64_t memory_max, memory;
	uint64_t copied;  /* bytes, in one turn of the queue */
	bool active;	  /* the driver has shown something */
	bool reset_due;	  /* atomic */
	/* Head 0 is another's again, before its pixels go; NULL: it is off then. */
	void (*let_go)(struct virtio_gpu *g);
};

/* virtio-gpu.c. The options of device_keys; the painter is the caller's to add. False: nothing is left. */
extern const struct device_key gpu_keys[];
bool gpu_create(struct virtio_gpu *g, const struct virtio_class *cls, GVariant *options, GError **error);
bool gpu_add_painter(struct virtio_gpu *g, const struct display_painter *painter, GError **error);
void gpu_destroy(struct virtio_gpu *g);
void gpu_reset(struct device *dev);
void gpu_end_reset(struct virtio_gpu *g);
void gpu_update(struct virtio_gpu *g, unsigned head);
void gpu_wish(void *gpu, unsigned head, uint32_t width, uint32_t height); /* a painter's */
/* Of struct virtio_class. */
void gpu_notify(struct virtio_device *v, struct virtqueue *vq);
bool gpu_settle(struct virtio_device *v, struct virtqueue *vq);
void gpu_config_written(struct virtio_device *v, const uint8_t *before, unsigned offset, unsigned len);
void gpu_driver_reset(struct virtio_device *v);

/* A head shows what its fields say; with its resource NULL nothing. */
void gpu_show(struct virtio_gpu *g, unsigned head, const struct gpu_resource *r);
void gpu_show_cursor(struct virtio_gpu *g, unsigned head);
void gpu_damage(struct gpu_head *h, uint32_t left, uint32_t top, uint32_t right, uint32_t bottom);

/* virtio-gpu-command.c: one chain of the control queue, answered; bytes written. And one of the cursor's. */
uint32_t gpu_command(struct virtio_gpu *g, const struct virtq_chain *c);
void gpu_cursor_command(struct virtio_gpu *g, const struct virtq_chain *c);

/* virtio-gpu-resource.c; types of answers, OK_NODATA or an error. */
struct gpu_resource *gpu_find(const struct virtio_gpu *g, uint32_t id); /* NULL: there is none */
bool gpu_format_known(uint32_t format);
uint32_t gpu_resource_create(struct virtio_gpu *g, uint32_t id, uint32_t format, uint32_t width, uint32_t height);
void gpu_resource_remove(struct virtio_gpu *g, struct gpu_resource *r);
void gpu_resource_free(void *resource);
uint64_t gpu_resource_memory(const struct gpu_resource *r); /* what it counts for, bytes */
uint32_t gpu_attach(struct virtio_gpu *g, struct gpu_resource *r, const struct virtq_chain *c, uint32_t at, uint32_t entries);
void gpu_detach(struct virtio_gpu *g, struct gpu_resource *r);
bool gpu_backing_ok(const struct virtio_gpu *g, const struct gpu_resource *r);
bool gpu_rect_inside(const struct virtio_gpu_rect *rect, const struct gpu_resource *r);
/* Pixels of the rectangle, which is inside, from the backing, where its first one is at the offset. */
uint32_t gpu_transfer(struct virtio_gpu *g, struct gpu_resource *r, const struct virtio_gpu_rect *rect, uint64_t offset);

/* virtio-gpu-state.c */
extern const struct state_field gpu_state_fields[]; /* of struct virtio_gpu */
void gpu_before_save(void *gpu);
bool gpu_loaded(void *gpu, GError **error);
