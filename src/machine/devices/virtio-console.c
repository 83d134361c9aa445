/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtio console (virtio 1.2, section 5.3): one port, hvc0 in Linux, joined to a
 * character backend. Input waits in the backend while the guest offers no buffer; output
 * stays in the ring while the backend's buffer is full.
 */
#include <string.h>

#include <linux/virtio_console.h>

#include "bytes.h"
#include "char.h"
#include "classes.h"
#include "error.h"
#include "virtio-pci.h"

enum {
	QUEUE_SIZE = 64,
	RX = 0,
	TX = 1,
	INPUT = 4096,
	RETRY_MS = 20,
};

struct virtio_console {
	struct virtio_pci_device dev;
	struct chardev *chr;
	/* What the backend gave and the guest has no buffer for yet; the rx queue's lock. */
	uint8_t input[INPUT];
	uint32_t input_len;
	GSource *retry; /* output waits for the backend; the tx queue's lock */
};

static gboolean tx_retry(gpointer data)
{
	struct virtio_console *c = data;
	struct virtqueue *vq = &c->dev.v.queues[TX];

	g_mutex_lock(&vq->lock);
	g_clear_pointer(&c->retry, g_source_unref);
	g_mutex_unlock(&vq->lock);
	virtio_queue_kick(&c->dev.v, TX);
	return G_SOURCE_REMOVE;
}

static void tx(struct virtio_console *c, struct virtqueue *vq)
{
	struct virtq_chain *chain;
	unsigned budget = 2 * vq->size;
	bool room;

	do {
		virtq_disable_notify(vq);
		while (budget && (room = char_writable(c->chr)) && (chain = virtq_pop(vq))) {
			for (unsigned i = 0; i < chain->n_out; i++)
				char_write(c->chr, chain->out[i].iov_base, chain->out[i].iov_len);
			virtq_push(vq, chain, 0);
			budget--;
		}
	} while (budget && room && virtq_enable_notify(vq));
	virtio_queue_flush(&c->dev.v, vq);
	if (!budget) {
		virtio_queue_kick(&c->dev.v, TX);
	} else if (!room && !c->retry) {
		/* Backends do not tell when they have room again. */
		c->retry = g_timeout_source_new(RETRY_MS);
		g_source_set_callback(c->retry, tx_retry, c, NULL);
		g_source_attach(c->retry, c->dev.v.context);
	}
}

/* Waiting input to the guest's buffers; holds the rx queue's lock. */
static void rx(struct virtio_console *c, struct virtqueue *vq)
{
	struct virtq_chain *chain;
	uint32_t done = 0;

	do {
		virtq_disable_notify(vq);
		while (done < c->input_len && (chain = virtq_pop(vq))) {
			size_t n = virtq_iov_write(chain->in, chain->n_in, 0, c->input + done,
						   c->input_len - done);

			virtq_push(vq, chain, n);
			done += n;
			if (!n)
				virtq_break(vq, "console buffer without room");
		}
	} while (done < c->input_len && virtq_enable_notify(vq));
	c->input_len -= done;
	memmove(c->input, c->input + done, c->input_len);
	virtio_queue_flush(&c->dev.v, vq);
}

static size_t console_can_receive(void *opaque)
{
	struct virtio_console *c = opaque;
	struct virtqueue *vq = &c->dev.v.queues[RX];
	size_t room;

	g_mutex_lock(&vq->lock);
	room = INPUT - c->input_len;
	g_mutex_unlock(&vq->lock);
	return room;
}

static void console_receive(void *opaque, const uint8_t *data, size_t len)
{
	struct virtio_console *c = opaque;
	struct virtqueue *vq = &c->dev.v.queues[RX];

	g_mutex_lock(&vq->lock);
	len = MIN(len, INPUT - c->input_len);
	memcpy(c->input + c->input_len, data, len);
	c->input_len += len;
	if (virtio_live(&c->dev.v) && vq->started)
		rx(c, vq);
	g_mutex_unlock(&vq->lock);
}

static const struct char_client console_client = {
	.can_receive = console_can_receive,
	.receive = console_receive,
};

static void console_notify(struct virtio_device *v, struct virtqueue *vq)
{
	struct virtio_console *c = v->owner;
	bool full;

	if (vq->index == TX) {
		tx(c, vq);
		return;
	}
	full = c->input_len == INPUT;
	rx(c, vq);
	if (!full || c->input_len == INPUT)
		return;
	/* The backend may call console_receive at once. */
	g_mutex_unlock(&vq->lock);
	char_resume(c->chr);
	g_mutex_lock(&vq->lock);
}

/* The emergency register is a byte to print before there is a queue. */
static void console_config_written(struct virtio_device *v, const uint8_t *before,
				   unsigned offset, unsigned len)
{
	struct virtio_console *c = v->owner;
	unsigned reg = offsetof(struct virtio_console_config, emerg_wr);

	if (offset == reg)
		char_write(c->chr, v->config + reg, 1);
	memcpy(v->config, before, v->config_size);
}

static const struct virtio_class console_class = {
	.name = "virtio-console",
	.id = VIRTIO_ID_CONSOLE,
	.pci_class = 0x078000,
	.notify = console_notify,
	.config_written = console_config_written,
};

static bool console_create(struct device *dev, GVariant *options,
			   const struct device_backend *backend, GError **error)
{
	struct virtio_console *c = (struct virtio_console *)dev;
	uint64_t features = 1ull << VIRTIO_CONSOLE_F_EMERG_WRITE;
	uint32_t columns = 0, rows = 0;

	c->chr = backend ? backend->chardev : NULL;
	if (!c->chr)
		return kv_fail(error, KV_ERROR_USAGE, "%s: a console needs a character device",
			       dev->id);
	if (options) {
		g_variant_lookup(options, "columns", "u", &columns);
		g_variant_lookup(options, "rows", "u", &rows);
	}
	if (!columns != !rows || columns > UINT16_MAX || rows > UINT16_MAX)
		return kv_fail(error, KV_ERROR_USAGE,
			       "%s: size %ux%u; give both columns and rows, at most 65535",
			       dev->id, columns, rows);
	if (columns)
		features |= 1ull << VIRTIO_CONSOLE_F_SIZE;
	if (!virtio_pci_create(dev, &console_class, features,
			       sizeof(struct virtio_console_config), 2, QUEUE_SIZE, error))
		return false;
	put_le16(c->dev.v.config + offsetof(struct virtio_console_config, cols), columns);
	put_le16(c->dev.v.config + offsetof(struct virtio_console_config, rows), rows);
	put_le32(c->dev.v.config + offsetof(struct virtio_console_config, max_nr_ports), 1);
	char_attach(c->chr, &console_client, c);
	return true;
}

static void console_destroy(struct device *dev)
{
	struct virtio_console *c = (struct virtio_console *)dev;

	char_attach(c->chr, NULL, NULL);
	if (c->retry) {
		g_source_destroy(c->retry);
		g_source_unref(c->retry);
	}
	virtio_pci_destroy(dev);
}

static bool console_after_load(void *opaque, GError **error)
{
	struct virtio_console *c = opaque;

	if (c->input_len > INPUT)
		return kv_fail(error, KV_ERROR_INVALID, "%s: saved input is longer than its buffer",
			       c->dev.v.id);
	return virtio_pci_after_load(opaque, error);
}

static const struct state_field console_fields[] = {
	VIRTIO_PCI_STATE(struct virtio_console, dev),
	STATE_RAW(struct virtio_console, input),
	STATE_INT(struct virtio_console, input_len, STATE_U32),
	STATE_END,
};

static const struct state_desc console_state = {
	.name = "virtio-console",
	.version = 1,
	.oldest = 1,
	.fields = console_fields,
	.after_load = console_after_load,
};

const struct device_class device_virtio_console = {
	.name = "virtio-console",
	.description = "virtio console (hvc0)",
	.size = sizeof(struct virtio_console),
	.create = console_create,
	.reset = virtio_pci_reset,
	.destroy = console_destroy,
	.pause = virtio_pci_pause,
	.resume = virtio_pci_resume,
	.state = &console_state,
};
