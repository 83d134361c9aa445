/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keyboard, mouse and tablet of virtio 1.2, section 5.8: Linux's events as they are, in the buffers of the event queue; which
 * codes a device has is read through a window in the configuration; LEDs come in the status queue. Events that belong together go
 * as a whole or are dropped as a whole. Created by --device.
 */
#include <string.h>

#include <linux/input-event-codes.h>
#include <linux/virtio_input.h>

#include "bytes.h"
#include "classes.h"
#include "input.h"
#include "virtio-pci.h"

enum {
	EVENTS = 0,
	STATUS = 1,
	QUEUE_SIZE = 64,
	GROUP_MAX = 16,	  /* events that belong together */
	WAITING_MAX = 256, /* that the driver has no buffers for yet */
	EVENT = 8,	  /* bytes */
	BUS_VIRTUAL = 6,
	VENDOR = 0x0627,
};

struct kind {
	const char *name;
	uint16_t product;
	const struct input_device *input;
};

struct virtio_input {
	struct virtio_pci_device dev; /* first */
	const struct kind *kind;
	/* The event queue's lock: */
	uint8_t group[GROUP_MAX * EVENT]; /* gathers until the sync */
	unsigned n_group;
	uint8_t waiting[WAITING_MAX * EVENT];
	uint32_t n_waiting;
	uint32_t leds; /* the status queue's lock */
};

/* ---- configuration (5.8.4, 5.8.5) ---- */

static void set_bit(uint8_t *map, unsigned bit)
{
	map[bit / 8] |= (uint8_t)(1u << bit % 8);
}

static const uint16_t buttons[] = {BTN_LEFT, BTN_RIGHT, BTN_MIDDLE, BTN_SIDE, BTN_EXTRA};

/* Bytes of the bitmap; 0: the device has no such events. */
static unsigned event_bits(const struct kind *k, unsigned type, uint8_t *map)
{
	bool keys = k->input->kinds & INPUT_KEY, absolute = k->input->kinds & INPUT_ABSOLUTE;

	if (type == EV_KEY && keys) {
		for (unsigned i = KEY_ESC; i <= KEY_MICMUTE; i++)
			set_bit(map, i);
		return KEY_MICMUTE / 8 + 1;
	}
	if (type == EV_KEY) {
		for (unsigned i = 0; i < G_N_ELEMENTS(buttons); i++)
			set_bit(map, buttons[i]);
		return BTN_EXTRA / 8 + 1;
	}
	if (type == EV_LED && keys) {
		map[0] = 1 << LED_NUML | 1 << LED_CAPSL | 1 << LED_SCROLLL;
		return 1;
	}
	if (type == EV_REP && keys) {
		map[0] = 1 << REP_DELAY | 1 << REP_PERIOD;
		return 1;
	}
	if (type == EV_REL && !keys) {
		if (!absolute)
			map[0] = 1 << REL_X | 1 << REL_Y;
		set_bit(map, REL_WHEEL);
		return 2;
	}
	if (type == EV_ABS && absolute) {
		map[0] = 1 << ABS_X | 1 << ABS_Y;
		return 1;
	}
	return 0;
}

static unsigned text(uint8_t *out, const char *s)
{
	size_t n = MIN(strlen(s), sizeof(((struct virtio_input_config *)0)->u.string));

	memcpy(out, s, n);
	return (unsigned)n;
}

/* What select and subsel ask for; bytes, 0: nothing. */
static unsigned answer(const struct virtio_input *d, unsigned select, unsigned subsel, uint8_t *out)
{
	switch (select) {
	case VIRTIO_INPUT_CFG_ID_NAME:
		return subsel ? 0 : text(out, d->kind->name);
	case VIRTIO_INPUT_CFG_ID_SERIAL:
		return subsel ? 0 : text(out, d->dev.pci.dev.id);
	case VIRTIO_INPUT_CFG_ID_DEVIDS:
		if (subsel)
			return 0;
		put_le16(out, BUS_VIRTUAL);
		put_le16(out + 2, VENDOR);
		put_le16(out + 4, d->kind->product);
		put_le16(out + 6, 1);
		return 8;
	case VIRTIO_INPUT_CFG_EV_BITS:
		return event_bits(d->kind, subsel, out);
	case VIRTIO_INPUT_CFG_ABS_INFO:
		if (!(d->kind->input->kinds & INPUT_ABSOLUTE) || subsel > ABS_Y)
			return 0;
		put_le32(out + 4, INPUT_ABSOLUTE_MAX);
		return sizeof(struct virtio_input_absinfo);
	}
	return 0;
}

static void fill_config(struct virtio_input *d, unsigned select, unsigned subsel)
{
	struct virtio_input_config c = {.select = (uint8_t)select, .subsel = (uint8_t)subsel};

	c.size = (uint8_t)answer(d, select, subsel, c.u.bitmap);
	memcpy(d->dev.v.config, &c, sizeof(c));
}

static void config_written(struct virtio_device *v, const uint8_t *before, unsigned offset, unsigned len)
{
	fill_config(v->owner, v->config[0], v->config[1]);
}

/* ---- events ---- */

/* Those that wait, as far as there are buffers. Holds the queue's lock. */
static void send_waiting(struct virtio_input *d, struct virtqueue *vq)
{
	uint32_t sent = 0;
	struct virtq_chain *c;

	while (sent < d->n_waiting && (c = virtq_pop(vq))) {
		if (c->in_len < EVENT) {
			virtq_break(vq, "an event buffer that is too small");
			break;
		}
		virtq_iov_write(c->in, c->n_in, 0, d->waiting + sent++ * EVENT, EVENT);
		virtq_push(vq, c, EVENT);
	}
	d->n_waiting -= sent;
	memmove(d->waiting, d->waiting + sent * EVENT, d->n_waiting * EVENT);
}

static void put_event(struct virtio_input *d, unsigned type, unsigned code, int value)
{
	uint8_t *at = d->group + d->n_group * EVENT;

	if (d->n_group == GROUP_MAX)
		return;
	put_le16(at, (uint16_t)type);
	put_le16(at + 2, (uint16_t)code);
	put_le32(at + 4, (uint32_t)value);
	d->n_group++;
}

static void on_event(void *opaque, const struct input_event *e)
{
	struct virtio_input *d = opaque;
	struct virtqueue *vq = &d->dev.v.queues[EVENTS];

	g_mutex_lock(&vq->lock);
	switch (e->kind) {
	case INPUT_KEY:
	case INPUT_BUTTON:
		put_event(d, EV_KEY, e->code, e->down);
		break;
	case INPUT_RELATIVE:
		if (e->x)
			put_event(d, EV_REL, REL_X, e->x);
		if (e->y)
			put_event(d, EV_REL, REL_Y, e->y);
		break;
	case INPUT_ABSOLUTE:
		put_event(d, EV_ABS, ABS_X, e->x);
		put_event(d, EV_ABS, ABS_Y, e->y);
		break;
	case INPUT_WHEEL:
		put_event(d, EV_REL, REL_WHEEL, e->y);
		break;
	}
	g_mutex_unlock(&vq->lock);
}

static void on_sync(void *opaque)
{
	struct virtio_input *d = opaque;
	struct virtio_device *v = &d->dev.v;
	struct virtqueue *vq = &v->queues[EVENTS];

	g_mutex_lock(&vq->lock);
	if (d->n_group) {
		if (d->n_group == GROUP_MAX)
			d->n_group--;
		put_event(d, EV_SYN, SYN_REPORT, 0);
		if (virtio_has(v, VIRTIO_F_VERSION_1) && d->n_waiting + d->n_group <= WAITING_MAX) {
			memcpy(d->waiting + d->n_waiting * EVENT, d->group, d->n_group * EVENT);
			d->n_waiting += d->n_group;
		}
		d->n_group = 0;
	}
	g_mutex_unlock(&vq->lock);
	virtio_queue_kick(v, EVENTS);
}

static void read_led(struct virtio_input *d, const struct virtq_chain *c)
{
	static const unsigned leds[] = {
		[LED_NUML] = INPUT_LED_NUM, [LED_CAPSL] = INPUT_LED_CAPS, [LED_SCROLLL] = INPUT_LED_SCROLL};
	uint8_t e[EVENT];
	unsigned code;

	if (virtq_iov_read(c->out, c->n_out, 0, e, sizeof(e)) != sizeof(e) || get_le16(e) != EV_LED)
		return;
	code = get_le16(e + 2);
	if (code < G_N_ELEMENTS(leds))
		d->leds = get_le32(e + 4) ? d->leds | leds[code] : d->leds & ~leds[code];
}

/* As many as a ring has, for those that come meanwhile it is notified again. */
static void read_status(struct virtio_input *d, struct virtqueue *vq)
{
	struct virtq_chain *c;
	unsigned left = vq->size;

	while (left-- && (c = virtq_pop(vq))) {
		read_led(d, c);
		virtq_push(vq, c, 0);
	}
	if (virtq_enable_notify(vq))
		virtio_queue_kick(&d->dev.v, STATUS);
}

static void input_notify(struct virtio_device *v, struct virtqueue *vq)
{
	struct virtio_input *d = v->owner;

	if (vq->index == EVENTS) {
		send_waiting(d, vq);
	} else {
		read_status(d, vq);
		if (d->dev.pci.dev.core->input)
			input_leds(d->dev.pci.dev.core->input, d, d->leds);
	}
	virtio_queue_flush(v, vq);
}

static void clear(struct virtio_device *v)
{
	struct virtio_input *d = v->owner;

	/* Of a driver's reset, in a vCPU thread: keys come meanwhile. */
	g_mutex_lock(&v->queues[EVENTS].lock);
	d->n_group = 0;
	d->n_waiting = 0;
	memset(d->waiting, 0, sizeof(d->waiting));
	g_mutex_unlock(&v->queues[EVENTS].lock);
	g_mutex_lock(&v->queues[STATUS].lock);
	d->leds = 0;
	g_mutex_unlock(&v->queues[STATUS].lock);
	fill_config(d, 0, 0);
}

/* A driver is there: this is the device that it looks at. */
static void started(struct virtio_device *v)
{
	struct virtio_input *d = v->owner;

	if (d->dev.pci.dev.core->input)
		input_activate(d->dev.pci.dev.core->input, d);
}

static const struct virtio_class input_class = {
	.name = "virtio-input",
	.id = VIRTIO_ID_INPUT,
	.pci_class = 0x098000,
	.notify = input_notify,
	.config_written = config_written,
	.started = started,
	.reset = clear,
};

/* ---- the devices ---- */

static const struct input_device keyboard_input = {
	.name = "Virtio Keyboard", .kinds = INPUT_KEY, .event = on_event, .sync = on_sync};
static const struct input_device mouse_input = {.name = "Virtio Mouse",
						.kinds = INPUT_BUTTON | INPUT_RELATIVE | INPUT_WHEEL,
						.event = on_event,
						.sync = on_sync};
static const struct input_device tablet_input = {.name = "Virtio Tablet",
						 .kinds = INPUT_BUTTON | INPUT_ABSOLUTE | INPUT_WHEEL,
						 .event = on_event,
						 .sync = on_sync};
static const struct kind keyboard = {"Kvasir Virtio Keyboard", 1, &keyboard_input};
static const struct kind mouse = {"Kvasir Virtio Mouse", 2, &mouse_input};
static const struct kind tablet = {"Kvasir Virtio Tablet", 3, &tablet_input};

static bool create(struct device *dev, const struct kind *kind, GError **error)
{
	struct virtio_input *d = (struct virtio_input *)dev;

	d->kind = kind;
	if (!virtio_pci_create(dev, &input_class, 0, sizeof(struct virtio_input_config), 2, QUEUE_SIZE, error))
		return false;
	fill_config(d, 0, 0);
	if (dev->core->input)
		input_plug(dev->core->input, kind->input, d);
	return true;
}

static bool keyboard_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	return create(dev, &keyboard, error);
}

static bool mouse_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	return create(dev, &mouse, error);
}

static bool tablet_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	return create(dev, &tablet, error);
}

static void input_destroy(struct device *dev)
{
	if (dev->core->input)
		input_unplug(dev->core->input, dev);
	virtio_pci_destroy(dev);
}

static bool input_loaded(void *opaque, GError **error)
{
	struct virtio_input *d = opaque;

	d->n_waiting = MIN(d->n_waiting, WAITING_MAX);
	fill_config(d, d->dev.v.config[0], d->dev.v.config[1]);
	return virtio_pci_after_load(opaque, error);
}

static const struct state_field input_fields[] = {VIRTIO_PCI_STATE(struct virtio_input, dev),
						  STATE_RAW(struct virtio_input, waiting),
						  STATE_INT(struct virtio_input, n_waiting, STATE_U32),
						  STATE_INT(struct virtio_input, leds, STATE_U32),
						  STATE_END};
static const struct state_desc input_state = {"virtio-input", 1, 1, input_fields, NULL, input_loaded};

#define INPUT_CLASS(variable, word, words, make) \
	const struct device_class variable = {.name = word, \
					      .description = words, \
					      .size = sizeof(struct virtio_input), \
					      .create = make, \
					      .reset = virtio_pci_reset, \
					      .destroy = input_destroy, \
					      .pause = virtio_pci_pause, \
					      .resume = virtio_pci_resume, \
					      .state = &input_state, \
					      .keys = device_no_keys}
INPUT_CLASS(device_virtio_keyboard, "virtio-keyboard", "virtio keyboard", keyboard_create);
INPUT_CLASS(device_virtio_mouse, "virtio-mouse", "virtio mouse", mouse_create);
INPUT_CLASS(device_virtio_tablet, "virtio-tablet", "virtio tablet: a pointer with absolute positions", tablet_create);
