/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What all virtio devices share (virtio 1.2, chapters 2 and 3): status, features, the
 * configuration bytes, queues and their threads, interrupts. A device is a struct virtio_class
 * plus a struct that starts with a struct virtio_device; a transport (virtio-pci.c) calls the
 * register functions and is told of interrupts through struct virtio_transport.
 *
 * Threads: register functions run in vCPU threads under v->lock. Queue work runs in the
 * context of v->context (the main one unless set), under the queue's own lock, woken through
 * the queue's eventfd, which a transport also gives to KVM as an ioeventfd. Lock order:
 * v->lock, then vq->lock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>

#include "state.h"
#include "virtqueue.h"

enum {
	VIRTIO_MAX_QUEUES = 64,
	VIRTIO_CONFIG_MAX = 256,
};

struct virtio_device;

struct virtio_class {
	const char *name;
	uint16_t id; /* VIRTIO_ID_... */
	uint32_t pci_class;
	/* Queue work: chains may wait on @vq. Holds vq->lock. */
	void (*notify)(struct virtio_device *v, struct virtqueue *vq);
	/* After it, without vq->lock: ends what has ended meanwhile. True: chains have come, notify again. May be NULL. */
	bool (*settle)(struct virtio_device *v, struct virtqueue *vq);
	/* The driver wrote v->config[offset..]; put back from @before what it may not change. */
	void (*config_written)(struct virtio_device *v, const uint8_t *before, unsigned offset,
			       unsigned len);
	/* DRIVER_OK: v->features is final, the queues are started. May be NULL. */
	void (*started)(struct virtio_device *v);
	/* Back to power-on values; nothing is in flight. May be NULL. */
	void (*reset)(struct virtio_device *v);
	/* Somebody waits for what is in flight: do not put it off. Any thread. May be NULL. */
	void (*hurry)(struct virtio_device *v);
};

/* How a transport raises interrupts: a queue's, or with @vq NULL the configuration's. */
struct virtio_transport {
	void (*interrupt)(void *opaque, const struct virtqueue *vq);
};

struct virtio_queue_source; /* virtio.c: a queue and the GSource on its eventfd */

struct virtio_device {
	const struct virtio_class *cls;
	void *owner;	/* the device's struct */
	const char *id; /* for the log */
	struct guest_mem *mem;
	const struct virtio_transport *transport;
	void *transport_opaque;
	GMainContext *context;
	GMutex lock;

	/* Registers; saved. Status is atomic: queue threads set NEEDS_RESET in it. */
	uint8_t status;
	uint8_t generation;
	uint16_t config_vector;
	uint16_t queue_select;
	uint32_t host_select;
	uint32_t guest_select;
	uint64_t features;	/* what the driver wrote, final with FEATURES_OK */

	uint64_t host_features;
	unsigned config_size;
	/* Little endian, laid out as the driver sees it. */
	uint8_t config[VIRTIO_CONFIG_MAX] __attribute__((aligned(8)));
	uint32_t n_queues;
	struct virtqueue *queues;
	struct virtio_queue_source **sources;
	bool paused;
	bool live;	/* DRIVER_OK, queues started, not broken; atomic */
	bool resetting; /* reset was asked for and waits for what is in flight */
	unsigned breaks;    /* how often the driver broke the rules */
	unsigned in_flight; /* chains with a backend; atomic */
	GMutex idle_lock;
	GCond idle;
	unsigned idle_waiters; /* under idle_lock */
};

/*
 * Set up @v (zeroed, the device's own fields filled as wanted) with @n_queues queues of at
 * most @queue_size entries. @features are the device's own bits; the common ones are added.
 */
bool virtio_init(struct virtio_device *v, const struct virtio_class *cls, void *owner,
		 const char *id, struct guest_mem *mem, GMainContext *context, uint64_t features,
		 unsigned config_size, unsigned n_queues, uint16_t queue_size, GError **error);
void virtio_destroy(struct virtio_device *v);

static inline bool virtio_has(const struct virtio_device *v, unsigned bit)
{
	return v->features >> bit & 1;
}

/* For devices. Publish what was pushed on @vq and interrupt if asked for; holds vq->lock. */
void virtio_queue_flush(struct virtio_device *v, struct virtqueue *vq);
/* Run the class's notify for this queue soon, in its context; any thread. */
void virtio_queue_kick(struct virtio_device *v, unsigned index);
/* The device changed v->config: new generation and a configuration interrupt; any thread. */
void virtio_config_changed(struct virtio_device *v);
/* The driver broke the rules: NEEDS_RESET, an interrupt, no queue work until reset. */
void virtio_break(struct virtio_device *v, const char *why);
/* True when the queues may be worked on. */
bool virtio_live(struct virtio_device *v);
/*
 * Around a chain that a backend works on after notify returned: reset and pause wait for it.
 * The end is called after the push, in the queue's context.
 */
void virtio_request_begin(struct virtio_device *v);
void virtio_request_end(struct virtio_device *v);

/* For transports, under v->lock. Values are those of virtio 1.2, section 4.1.4.3. */
uint32_t virtio_features_page(struct virtio_device *v, bool host, uint32_t select);
void virtio_write_features(struct virtio_device *v, uint32_t value);
/* Status 0 asks for a reset, which is over when the status reads as 0. */
uint8_t virtio_read_status(struct virtio_device *v);
void virtio_write_status(struct virtio_device *v, uint8_t value);
void virtio_enable_queue(struct virtio_device *v, struct virtqueue *vq);
void virtio_read_config(struct virtio_device *v, unsigned offset, void *data, unsigned len);
void virtio_write_config(struct virtio_device *v, unsigned offset, const void *data, unsigned len);
int virtio_queue_eventfd(struct virtio_device *v, unsigned index);

/* For the machine, in the context's thread or another, vCPUs stopped. */
void virtio_reset(struct virtio_device *v);
void virtio_pause(struct virtio_device *v); /* nothing in flight and no queue work after it */
void virtio_resume(struct virtio_device *v);
/* After the saved fields were loaded; false when they make no sense. */
bool virtio_loaded(struct virtio_device *v, GError **error);

extern const struct state_field virtio_state_fields[]; /* of struct virtio_device */
