/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The entropy device (virtio 1.2, section 5.4): fills what the driver offers from getrandom.
 * At most QUOTA bytes a PERIOD, so that a guest in a loop costs the host nothing to speak of;
 * a driver that wants more waits. The smallest virtio device: a model for the others.
 */
#include <sys/random.h>

#include "classes.h"
#include "virtio-pci.h"

enum {
	QUEUE_SIZE = 8,
	PERIOD_MS = 100,
	QUOTA = 128 << 10, /* bytes a period */
	EMPTY_COST = 64,
};

struct virtio_rng {
	struct virtio_pci_device dev;
	uint32_t left; /* of this period's quota; the queue's lock */
	GSource *refill; /* runs while the quota is not full; likewise */
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
	struct virtio_rng *r = v->owner;
	struct virtq_chain *c;

	do {
		virtq_disable_notify(vq);
		while (r->left && (c = virtq_pop(vq))) {
			uint32_t n = fill(r, c);

			/* An empty chain costs too, or a ring of them would be free. */
			if (!n)
				r->left -= MIN(r->left, EMPTY_COST);
			virtq_push(vq, c, n);
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

static bool rng_create(struct device *dev, GVariant *options,
		       const struct device_backend *backend, GError **error)
{
	((struct virtio_rng *)dev)->left = QUOTA;
	return virtio_pci_create(dev, &rng_class, 0, 0, 1, QUEUE_SIZE, error);
}

static void rng_destroy(struct device *dev)
{
	struct virtio_rng *r = (struct virtio_rng *)dev;

	if (r->refill) {
		g_source_destroy(r->refill);
		g_source_unref(r->refill);
	}
	virtio_pci_destroy(dev);
}

static const struct state_field rng_fields[] = {
	VIRTIO_PCI_STATE(struct virtio_rng, dev),
	STATE_END,
};

static const struct state_desc rng_state = {
	.name = "virtio-rng",
	.version = 1,
	.oldest = 1,
	.fields = rng_fields,
	.after_load = virtio_pci_after_load,
};

const struct device_class device_virtio_rng = {
	.name = "virtio-rng",
	.description = "virtio entropy source",
	.size = sizeof(struct virtio_rng),
	.create = rng_create,
	.reset = virtio_pci_reset,
	.destroy = rng_destroy,
	.pause = virtio_pci_pause,
	.resume = virtio_pci_resume,
	.state = &rng_state,
	.keys = device_no_keys,
};
