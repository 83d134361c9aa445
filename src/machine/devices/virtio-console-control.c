/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control queues of a virtio console with several ports (virtio 1.2, 5.3.6.2). What the driver is to be told is kept as bits
 * of each port, not as messages: a driver that asks again and again and never makes room costs nothing. See virtio-console.h.
 */
#include <string.h>

#include <linux/virtio_console.h>

#include "bytes.h"
#include "virtio-console.h"

enum { MESSAGE = 8 };

void console_tell(struct console_port *p, uint8_t pending)
{
	struct virtio_console *c = p->c;

	g_mutex_lock(&c->lock);
	p->pending |= pending;
	g_mutex_unlock(&c->lock);
	virtio_queue_kick(&c->dev.v, CONSOLE_CONTROL_RX);
}

void console_guest_open(struct console_port *p, bool open)
{
	struct machine_core *core = p->c->dev.pci.dev.core;
	bool changed;

	g_mutex_lock(&p->c->lock);
	changed = p->guest_open != open;
	p->guest_open = open;
	g_mutex_unlock(&p->c->lock);
	if (changed && p->id && core->notice)
		core->notice(core->machine, NOTICE_PORT, p->id, open);
}

/* The next message of a port, NAME and all, or 0 bytes; holds c->lock. */
static size_t next_message(struct console_port *p, uint8_t *m, size_t room)
{
	static const struct {
		uint8_t bit;
		uint16_t event;
	} order[] = {{PENDING_REMOVE, VIRTIO_CONSOLE_PORT_REMOVE},
		     {PENDING_ADD, VIRTIO_CONSOLE_PORT_ADD},
		     {PENDING_CONSOLE, VIRTIO_CONSOLE_CONSOLE_PORT},
		     {PENDING_NAME, VIRTIO_CONSOLE_PORT_NAME},
		     {PENDING_OPEN, VIRTIO_CONSOLE_PORT_OPEN}};
	size_t len = MESSAGE;

	for (unsigned i = 0; i < G_N_ELEMENTS(order); i++) {
		if (!(p->pending & order[i].bit))
			continue;
		p->pending &= (uint8_t)~order[i].bit;
		put_le32(m, p->index);
		put_le16(m + 4, order[i].event);
		put_le16(m + 6, order[i].bit == PENDING_OPEN ? p->host_open : 1);
		if (order[i].bit == PENDING_NAME) {
			size_t n = MIN(strlen(p->name), room - MESSAGE);

			memcpy(m + MESSAGE, p->name, n);
			len += n;
		}
		return len;
	}
	return 0;
}

static bool any_pending(struct virtio_console *c)
{
	bool any = false;

	g_mutex_lock(&c->lock);
	for (unsigned i = 0; i < c->n_ports; i++)
		any |= c->ports[i].pending;
	g_mutex_unlock(&c->lock);
	return any;
}

static size_t take_message(struct virtio_console *c, uint8_t *m, size_t room)
{
	size_t len = 0;

	g_mutex_lock(&c->lock);
	for (unsigned i = 0; i < c->n_ports && !len; i++)
		len = next_message(&c->ports[i], m, room);
	g_mutex_unlock(&c->lock);
	return len;
}

void console_control_rx(struct virtio_console *c, struct virtqueue *vq)
{
	struct virtq_chain *chain;
	uint8_t m[256];

	do {
		virtq_disable_notify(vq);
		while (any_pending(c) && (chain = virtq_pop(vq))) {
			size_t len = take_message(c, m, sizeof(m));

			virtq_push(vq, chain, (uint32_t)virtq_iov_write(chain->in, chain->n_in, 0, m, len));
		}
	} while (any_pending(c) && virtq_enable_notify(vq));
	virtio_queue_flush(&c->dev.v, vq);
}

static void device_ready(struct virtio_console *c)
{
	for (unsigned i = 0; i < c->n_ports; i++)
		if (c->ports[i].chr)
			console_tell(&c->ports[i], PENDING_ADD);
}

static void port_ready(struct console_port *p)
{
	console_tell(p, p->name ? PENDING_NAME | PENDING_OPEN : PENDING_CONSOLE | PENDING_OPEN);
}

static void command(struct virtio_console *c, uint32_t id, uint16_t event, uint16_t value)
{
	struct console_port *p = id < c->n_ports && c->ports[id].chr ? &c->ports[id] : NULL;

	if (event == VIRTIO_CONSOLE_DEVICE_READY && value) {
		device_ready(c);
	} else if (p && event == VIRTIO_CONSOLE_PORT_READY && value) {
		port_ready(p);
	} else if (p && event == VIRTIO_CONSOLE_PORT_OPEN) {
		console_guest_open(p, value);
		char_resume(p->chr);
	}
}

void console_control_tx(struct virtio_console *c, struct virtqueue *vq)
{
	struct virtq_chain *chain;
	unsigned budget = 2 * vq->size;

	do {
		virtq_disable_notify(vq);
		while (budget && (chain = virtq_pop(vq))) {
			uint8_t m[MESSAGE];
			bool whole = virtq_iov_read(chain->out, chain->n_out, 0, m, sizeof(m)) == sizeof(m);

			budget--;
			virtq_push(vq, chain, 0);
			if (whole)
				command(c, get_le32(m), get_le16(m + 4), get_le16(m + 6));
		}
	} while (budget && virtq_enable_notify(vq));
	if (!budget)
		virtio_queue_kick(&c->dev.v, vq->index);
	virtio_queue_flush(&c->dev.v, vq);
}
