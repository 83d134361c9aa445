/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The entropy device (virtio 1.2, section 5.4): fills what the driver offers from getrandom.
 * At most QUOTA bytes a PERIOD, so that a guest in a loop costs the host nothing to speak of;
 * a driver that wants more waits. The smallest virtio device: a model for the others.
 */
#include <sys/random.h>

#include "device.h"
#include "virtio-pci.h"

enum {
	QUEUE_SIZE = 8,
	PERIOD_MS = 100,
	QUOTA = 128 << 10, /* bytes a period */
};

struct virtio_rng {
	struct virtio_pci_device dev;
	uint32_t left; /* of this period's quota; the queue's lock */
	GSource *refill; /* runs while the quota is not full */
};

static gboolean rng_refill(gpointer data)
{
	struct virtio_rng *r = data;
	struct virtqueue *vq = &r->dev.v.queues[0];

	g_mutex_lock(&vq->lock);
	r->left = QUOTA;
	g_clear_pointer(&r->refill, g_source_unref);
	g_mutex_unlock(&vq->lock);
	virtio_queue_kick(&r->dev.v, 0);
	return G_SOURCE_REMOVE;
}

static uint32_t fill(struct virtio_rng *r, const struct virtq_chain *c)
{
	uint32_t done = 0;

	for (unsigned i = 0; i < c->n_in && r->left; i++) {
		size_t part = MIN(c->in[i].iov_len, r->left);
		ssize_t n = getrandom(c->in[i].iov_base, part, 0);

		if (n <= 0)
			break;
		r->left -= n;
		done += n;
		if ((size_t)n < part)
			break;
	}
	return done;
}

static void rng_notify(struct virtio_device *v, struct virtqueue *vq)
{
	struct virtio_rng *r = (struct virtio_rng *)v;
	struct virtq_chain *c;

	do {
		virtq_disable_notify(vq);
		while (r->left && (c = virtq_pop(vq))) {
			/* An empty chain costs too, or it would be a free endless loop. */
			r->left -= MIN(r->left, 64);
			virtq_push(vq, c, fill(r, c));
		}
	} while (r->left && virtq_enable_notify(vq));
	virtio_queue_flush(v, vq);
	if (r->left < QUOTA && !r->refill) {
		r->refill = g_timeout_source_new(PERIOD_MS);
		g_source_set_callback(r->refill, rng_refill, r, NULL);
		g_source_attach(r->refill, v->context);
	}
}

static const struct virtio_class rng_class = {
	.name = "virtio-rng",
	.id = VIRTIO_ID_RNG,
	.pci_class = 0x00ff00,
	.notify = rng_notify,
};
