/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtio console (virtio 1.2, section 5.3): hvc0 in Linux, joined to a character backend, and ports with names, each joined
 * to one of its own: /dev/virtio-ports/NAME, for agents in the guest. Input waits in the backend while the guest offers no
 * buffer, and while nobody in the guest has opened the port; output stays in the ring while the backend's buffer is full.
 */
#include "virtio-console.h"

#include <string.h>

#include <linux/virtio_console.h>

#include "bytes.h"
#include "classes.h"
#include "error.h"

enum {
	QUEUE_SIZE = 64,
	RETRY_MS = 20,
	TX_CHAIN = 16 << 20, /* bytes of output in one buffer; drivers send some pages */
	TX_TURN = 4 << 20,   /* bytes, before others have their turn */
	NAME_MAX_LEN = 127,
};

static unsigned rx_queue(const struct console_port *p)
{
	return p->index ? 2 * p->index + 2 : 0;
}

static unsigned tx_queue(const struct console_port *p)
{
	return rx_queue(p) + 1;
}

static gboolean tx_retry(gpointer data)
{
	struct console_port *p = data;
	struct virtqueue *vq = &p->c->dev.v.queues[tx_queue(p)];

	g_mutex_lock(&vq->lock);
	g_clear_pointer(&p->retry, g_source_unref);
	g_mutex_unlock(&vq->lock);
	virtio_queue_kick(&p->c->dev.v, tx_queue(p));
	return G_SOURCE_REMOVE;
}

static void tx(struct console_port *p, struct virtqueue *vq)
{
	struct virtio_device *v = &p->c->dev.v;
	struct virtq_chain *chain;
	unsigned budget = 2 * vq->size;
	uint32_t bytes = 0;
	bool room;

	do {
		virtq_disable_notify(vq);
		while (budget && bytes < TX_TURN && (room = !p->chr || char_writable(p->chr)) && (chain = virtq_pop(vq))) {
			if (chain->out_len > TX_CHAIN) {
				virtq_break(vq, "console output is too long for a buffer");
				break;
			}
			for (unsigned i = 0; p->chr && i < chain->n_out; i++)
				char_write(p->chr, chain->out[i].iov_base, chain->out[i].iov_len);
			bytes += chain->out_len;
			virtq_push(vq, chain, 0);
			budget--;
		}
	} while (budget && bytes < TX_TURN && room && virtq_enable_notify(vq));
	virtio_queue_flush(v, vq);
	if (!budget || bytes >= TX_TURN) {
		virtio_queue_kick(v, vq->index);
	} else if (!room && !p->retry) {
		/* Backends do not tell when they have room again. */
		p->retry = g_timeout_source_new(RETRY_MS);
		g_source_set_callback(p->retry, tx_retry, p, NULL);
		g_source_attach(p->retry, v->context);
	}
}

/* Waiting input to the guest's buffers; holds the rx queue's lock. */
static void rx(struct console_port *p, struct virtqueue *vq)
{
	struct virtq_chain *chain;
	uint32_t done = 0;

	do {
		virtq_disable_notify(vq);
		while (done < p->input_len && (chain = virtq_pop(vq))) {
			size_t n = virtq_iov_write(chain->in, chain->n_in, 0, p->input + done, p->input_len - done);

			virtq_push(vq, chain, n);
			done += n;
			if (!n)
				virtq_break(vq, "console buffer without room");
		}
	} while (done < p->input_len && virtq_enable_notify(vq));
	p->input_len -= done;
	memmove(p->input, p->input + done, p->input_len);
	virtio_queue_flush(&p->c->dev.v, vq);
}

/* The console's input is kept for whoever comes. */
static bool is_open(void *opaque)
{
	struct console_port *p = opaque;
	bool open;

	g_mutex_lock(&p->c->lock);
	open = p->guest_open || !p->name;
	g_mutex_unlock(&p->c->lock);
	return open;
}

static size_t console_can_receive(void *opaque)
{
	struct console_port *p = opaque;
	struct virtqueue *vq = &p->c->dev.v.queues[rx_queue(p)];
	size_t room;

	if (!is_open(p))
		return 0;
	g_mutex_lock(&vq->lock);
	room = CONSOLE_INPUT - p->input_len;
	g_mutex_unlock(&vq->lock);
	return room;
}

static void console_receive(void *opaque, const uint8_t *data, size_t len)
{
	struct console_port *p = opaque;
	struct virtqueue *vq = &p->c->dev.v.queues[rx_queue(p)];

	g_mutex_lock(&vq->lock);
	len = MIN(len, CONSOLE_INPUT - p->input_len);
	memcpy(p->input + p->input_len, data, len);
	p->input_len += len;
	if (virtio_live(&p->c->dev.v) && vq->started)
		rx(p, vq);
	g_mutex_unlock(&vq->lock);
}

/* Somebody came to the host's side, or left. */
static void console_connected(void *opaque, bool connected)
{
	struct console_port *p = opaque;
	bool changed;

	g_mutex_lock(&p->c->lock);
	changed = p->host_open != connected;
	p->host_open = connected;
	g_mutex_unlock(&p->c->lock);
	if (changed && virtio_has(&p->c->dev.v, VIRTIO_CONSOLE_F_MULTIPORT))
		console_tell(p, PENDING_OPEN);
}

static const struct char_client console_client = {
	.can_receive = console_can_receive,
	.receive = console_receive,
	.connected = console_connected,
	.is_open = is_open,
};

static void port_rx(struct console_port *p, struct virtqueue *vq)
{
	bool full = p->input_len == CONSOLE_INPUT;

	rx(p, vq);
	if (!full || p->input_len == CONSOLE_INPUT)
		return;
	/* The backend may call console_receive at once. */
	g_mutex_unlock(&vq->lock);
	char_resume(p->chr);
	g_mutex_lock(&vq->lock);
}

static void console_notify(struct virtio_device *v, struct virtqueue *vq)
{
	struct virtio_console *c = v->owner;
	unsigned index = vq->index / 2;

	if (vq->index == CONSOLE_CONTROL_RX)
		console_control_rx(c, vq);
	else if (vq->index == CONSOLE_CONTROL_TX)
		console_control_tx(c, vq);
	else if (vq->index & 1)
		tx(&c->ports[index ? index - 1 : 0], vq);
	else
		port_rx(&c->ports[index ? index - 1 : 0], vq);
}

/* Whoever had opened the ports is gone; the console's input is for the next one. */
static void console_reset(struct virtio_device *v)
{
	struct virtio_console *c = v->owner;

	for (unsigned i = 0; i < c->n_ports; i++) {
		struct console_port *p = &c->ports[i];
		struct virtqueue *vq = &v->queues[rx_queue(p)];

		console_guest_open(p, false);
		g_mutex_lock(&c->lock);
		p->pending = 0;
		g_mutex_unlock(&c->lock);
		/* A console keeps what was typed, unless a refused state says there is more than there can be. */
		if (!p->name && p->input_len <= CONSOLE_INPUT)
			continue;
		g_mutex_lock(&vq->lock);
		memset(p->input, 0, sizeof(p->input));
		p->input_len = 0;
		g_mutex_unlock(&vq->lock);
	}
}

/* The emergency register is a byte to print before there is a queue. */
static void console_config_written(struct virtio_device *v, const uint8_t *before,
				   unsigned offset, unsigned len)
{
	struct virtio_console *c = v->owner;
	unsigned reg = offsetof(struct virtio_console_config, emerg_wr);

	if (offset == reg && c->ports[0].chr)
		char_write(c->ports[0].chr, v->config + reg, 1);
	memcpy(v->config, before, v->config_size);
}

/* ---- ports that come and go ---- */

static bool check_name(const struct virtio_console *c, const char *name, GError **error)
{
	if (!*name || strlen(name) > NAME_MAX_LEN || strchr(name, '/'))
		return kv_fail(error, KV_ERROR_USAGE, "port name '%s' is not one of 1 to %u bytes without /", name, NAME_MAX_LEN);
	for (unsigned i = 1; i < c->n_ports; i++)
		if (!g_strcmp0(c->ports[i].name, name))
			return kv_fail(error, KV_ERROR_INVALID, "virtio-serial-bus: A port already exists by name %s", name);
	return true;
}

struct console_port *console_add_port(struct virtio_console *c, struct device *owner, struct chardev *chr, const char *name,
				      GError **error)
{
	struct console_port *p = NULL;

	if (!check_name(c, name, error))
		return NULL;
	for (unsigned i = 1; i < c->n_ports && !p; i++)
		if (!c->ports[i].chr)
			p = &c->ports[i];
	if (!p) {
		kv_fail(error, KV_ERROR_INVALID, "virtio-serial-bus: Maximum port limit for this device reached");
		return NULL;
	}
	g_mutex_lock(&c->lock);
	p->name = g_strdup(name);
	p->id = g_strdup(owner->id);
	p->owner = owner;
	p->chr = chr;
	p->host_open = char_connected(chr);
	g_mutex_unlock(&c->lock);
	char_attach(chr, &console_client, p);
	if (virtio_has(&c->dev.v, VIRTIO_CONSOLE_F_MULTIPORT))
		console_tell(p, PENDING_ADD);
	return p;
}

/* Queues are served in this thread: none is being served now. */
void console_remove_port(struct console_port *p)
{
	struct virtio_console *c = p->c;
	struct virtqueue *rxq = &c->dev.v.queues[rx_queue(p)], *txq = &c->dev.v.queues[tx_queue(p)];

	console_guest_open(p, false);
	char_attach(p->chr, NULL, NULL);
	g_mutex_lock(&txq->lock);
	if (p->retry)
		g_source_destroy(p->retry);
	g_clear_pointer(&p->retry, g_source_unref);
	g_mutex_unlock(&txq->lock);
	g_mutex_lock(&rxq->lock);
	p->input_len = 0;
	g_mutex_unlock(&rxq->lock);
	g_mutex_lock(&c->lock);
	p->chr = NULL;
	p->owner = NULL;
	p->host_open = false;
	p->pending = 0;
	g_clear_pointer(&p->name, g_free);
	g_clear_pointer(&p->id, g_free);
	g_mutex_unlock(&c->lock);
	if (virtio_has(&c->dev.v, VIRTIO_CONSOLE_F_MULTIPORT))
		console_tell(p, PENDING_REMOVE);
}

static const struct virtio_class console_class = {
	.name = "virtio-console",
	.id = VIRTIO_ID_CONSOLE,
	.pci_class = 0x078000,
	.notify = console_notify,
	.config_written = console_config_written,
	.reset = console_reset,
};

static void free_ports(struct virtio_console *c)
{
	for (unsigned i = 0; i < c->n_ports; i++) {
		g_free(c->ports[i].name);
		g_free(c->ports[i].id);
	}
	g_clear_pointer(&c->ports, g_free);
	g_mutex_clear(&c->lock);
}

static bool add_ports(struct virtio_console *c, const struct device_backend *backend, GError **error)
{
	const char *id = c->dev.pci.dev.id;

	if (backend->n_ports >= CONSOLE_PORTS)
		return kv_fail(error, KV_ERROR_USAGE, "%s: %u channels; there is room for %u", id, backend->n_ports,
			       CONSOLE_PORTS - 1);
	for (unsigned i = 0; i < backend->n_ports; i++) {
		const char *name = backend->ports[i].name;

		if (!*name || strlen(name) > NAME_MAX_LEN || strchr(name, '/'))
			return kv_fail(error, KV_ERROR_USAGE, "%s: channel name '%s' is not one of 1 to %u bytes without /", id,
				       name, NAME_MAX_LEN);
		for (unsigned k = 0; k < i; k++)
			if (!strcmp(name, backend->ports[k].name))
				return kv_fail(error, KV_ERROR_USAGE, "%s: there are two channels '%s'", id, name);
	}
	c->n_ports = backend->n_ports + 1;
	c->ports = g_new0(struct console_port, c->n_ports);
	g_mutex_init(&c->lock);
	for (unsigned i = 0; i < c->n_ports; i++) {
		const struct device_port *from = i ? &backend->ports[i - 1] : NULL;
		struct console_port *p = &c->ports[i];

		*p = (struct console_port){.c = c, .index = i, .chr = from ? from->chardev : backend->chardev};
		p->name = g_strdup(from ? from->name : NULL);
		p->id = g_strdup(from ? from->id : NULL);
		p->host_open = p->chr && char_connected(p->chr);
	}
	return true;
}

static bool read_size(struct device *dev, GVariant *options, uint32_t *columns, uint32_t *rows, GError **error)
{
	if (options) {
		g_variant_lookup(options, "columns", "u", columns);
		g_variant_lookup(options, "rows", "u", rows);
	}
	return (!*columns == !*rows && *columns <= UINT16_MAX && *rows <= UINT16_MAX) ||
	       kv_fail(error, KV_ERROR_USAGE, "%s: size %ux%u; give both columns and rows, at most 65535", dev->id, *columns,
		       *rows);
}

static bool console_create(struct device *dev, GVariant *options,
			   const struct device_backend *backend, GError **error)
{
	struct virtio_console *c = (struct virtio_console *)dev;
	uint64_t features = 1ull << VIRTIO_CONSOLE_F_EMERG_WRITE;
	uint32_t columns = 0, rows = 0;

	if (!backend->chardev && !backend->n_ports)
		return kv_fail(error, KV_ERROR_USAGE, "%s: a console needs a character device",
			       dev->id);
	if (!read_size(dev, options, &columns, &rows, error) || !add_ports(c, backend, error))
		return false;
	if (columns)
		features |= 1ull << VIRTIO_CONSOLE_F_SIZE;
	if (c->n_ports > 1)
		features |= 1ull << VIRTIO_CONSOLE_F_MULTIPORT;
	if (!virtio_pci_create(dev, &console_class, features, sizeof(struct virtio_console_config),
			       c->n_ports > 1 ? 2 * (c->n_ports + 1) : 2, QUEUE_SIZE, error)) {
		free_ports(c);
		return false;
	}
	put_le16(c->dev.v.config + offsetof(struct virtio_console_config, cols), columns);
	put_le16(c->dev.v.config + offsetof(struct virtio_console_config, rows), rows);
	put_le32(c->dev.v.config + offsetof(struct virtio_console_config, max_nr_ports), c->n_ports);
	for (unsigned i = 0; i < c->n_ports; i++)
		if (c->ports[i].chr)
			char_attach(c->ports[i].chr, &console_client, &c->ports[i]);
	return true;
}

static void console_destroy(struct device *dev)
{
	struct virtio_console *c = (struct virtio_console *)dev;

	for (unsigned i = 0; i < c->n_ports; i++) {
		struct console_port *p = &c->ports[i];

		if (p->owner)
			virtserialport_orphan(p->owner);
		if (p->chr)
			char_attach(p->chr, NULL, NULL);
		if (p->retry) {
			g_source_destroy(p->retry);
			g_source_unref(p->retry);
		}
	}
	virtio_pci_destroy(dev);
	free_ports(c);
}

/* Ports come later: there is room for all of them, and none yet. */
static bool serial_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct virtio_console *c = (struct virtio_console *)dev;
	uint64_t features = 1ull << VIRTIO_CONSOLE_F_EMERG_WRITE | 1ull << VIRTIO_CONSOLE_F_MULTIPORT;
	guint64 n = CONSOLE_PORTS;

	if (options)
		g_variant_lookup(options, "max_ports", "t", &n);
	c->n_ports = (uint32_t)n;
	c->ports = g_new0(struct console_port, n);
	g_mutex_init(&c->lock);
	for (unsigned i = 0; i < n; i++)
		c->ports[i] = (struct console_port){.c = c, .index = i};
	if (!virtio_pci_create(dev, &console_class, features, sizeof(struct virtio_console_config), 2 * (c->n_ports + 1),
			       QUEUE_SIZE, error)) {
		free_ports(c);
		return false;
	}
	put_le32(c->dev.v.config + offsetof(struct virtio_console_config, max_nr_ports), c->n_ports);
	return true;
}

static bool console_after_load(void *opaque, GError **error)
{
	struct virtio_console *c = opaque;

	for (unsigned i = 0; i < c->n_ports; i++) {
		if (c->ports[i].input_len > CONSOLE_INPUT)
			return kv_fail(error, KV_ERROR_INVALID, "%s: saved input is longer than its buffer", c->dev.v.id);
		c->ports[i].pending &= c->ports[i].chr ? (c->ports[i].name ? 13 : 11) : 0;
	}
	if (!virtio_pci_after_load(opaque, error))
		return false;
	for (unsigned i = 0; i < c->n_ports; i++)
		console_connected(&c->ports[i], c->ports[i].chr && char_connected(c->ports[i].chr));
	return true;
}

static const struct state_field port_fields[] = {
	STATE_RAW(struct console_port, input),
	STATE_INT(struct console_port, input_len, STATE_U32),
	STATE_INT(struct console_port, guest_open, STATE_BOOL),
	STATE_INT(struct console_port, host_open, STATE_BOOL),
	STATE_INT(struct console_port, pending, STATE_U8),
	STATE_END,
};

static const struct state_field console_fields[] = {
	VIRTIO_PCI_STATE(struct virtio_console, dev),
	{ .name = "ports", .offset = offsetof(struct virtio_console, ports), .type = STATE_POINTER_STRUCT, .since = 1,
	  .size = sizeof(struct console_port), .count = CONSOLE_PORTS, .count_at = offsetof(struct virtio_console, n_ports),
	  .fields = port_fields },
	STATE_END,
};

static const struct state_desc console_state = {
	.name = "virtio-console",
	.version = 2,
	.oldest = 2, /* before there was one port */
	.fields = console_fields,
	.after_load = console_after_load,
};

const struct device_class device_virtio_console = {
	.name = "virtio-console",
	.description = "virtio console (hvc0) and ports with names",
	.size = sizeof(struct virtio_console),
	.create = console_create,
	.reset = virtio_pci_reset,
	.destroy = console_destroy,
	.pause = virtio_pci_pause,
	.resume = virtio_pci_resume,
	.state = &console_state,
};

static const struct device_key serial_keys[] = {
	{"max_ports", DEVICE_KEY_COUNT, "ports there is room for, and one (31)", 2, CONSOLE_PORTS}, {}};

const struct device_class device_virtio_serial = {
	.name = "virtio-serial",
	.description = "virtio serial bus, for ports that are plugged in",
	.size = sizeof(struct virtio_console),
	.create = serial_create,
	.reset = virtio_pci_reset,
	.destroy = console_destroy,
	.pause = virtio_pci_pause,
	.resume = virtio_pci_resume,
	.state = &console_state,
	.keys = serial_keys,
};
