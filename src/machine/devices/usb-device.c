/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every USB device answers: the standard requests and descriptors of USB 2.0 and 3.2, chapter 9, and how it comes and goes
 * (usb.h). Called by the controller and the devices.
 */
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "usb.h"

enum { TYPE_IN = 0x80, RECIPIENT_DEVICE = 0, RECIPIENT_INTERFACE = 1, RECIPIENT_ENDPOINT = 2 };
enum {
	GET_STATUS = 0,
	CLEAR_FEATURE = 1,
	SET_FEATURE = 3,
	SET_ADDRESS = 5,
	GET_DESCRIPTOR = 6,
	GET_CONFIGURATION = 8,
	SET_CONFIGURATION = 9,
	GET_INTERFACE = 10,
	SET_INTERFACE = 11,
	SET_SEL = 0x30,
	SET_ISOCH_DELAY = 0x31
};
enum { FEATURE_HALT = 0, FEATURE_REMOTE_WAKEUP = 1, FEATURE_U1 = 48, FEATURE_LTM = 50 };
enum { DESC_DEVICE = 1, DESC_CONFIG = 2, DESC_STRING = 3, DESC_QUALIFIER = 6, DESC_BOS = 15 };
enum { STRING_MANUFACTURER = 1, STRING_PRODUCT, STRING_SERIAL };

#define LANGUAGE    0x0409 /* English (United States) */
#define STRING_MAX  126	   /* characters */
#define SELF_POWERED 1

/* What a super-speed device can: USB 2.0's link power management, and its speeds. */
static const uint8_t bos[] = {5,    DESC_BOS, 22, 0, 2,	   7, 0x10, 2, 2, 0, 0, 0, /* USB 2.0 extension */
			      10, 0x10,	    3,	0, 0x0c, 0, 2,    10, 0x20, 0};

static int device_descriptor(const struct usb_device *d, uint8_t *out)
{
	static const uint16_t version[] = {[USB_FULL] = 0x200, [USB_LOW] = 0x200, [USB_HIGH] = 0x200, [USB_SUPER] = 0x300};

	memset(out, 0, 18);
	out[0] = 18;
	out[1] = DESC_DEVICE;
	put_le16(out + 2, version[d->speed]);
	out[7] = d->speed == USB_SUPER ? 9 : 64; /* the first is a power of two */
	put_le16(out + 8, d->function->vendor_id);
	put_le16(out + 10, d->function->product_id);
	put_le16(out + 12, 0x100);
	out[14] = STRING_MANUFACTURER;
	out[15] = STRING_PRODUCT;
	out[16] = STRING_SERIAL;
	out[17] = 1; /* configuration */
	return 18;
}

static int qualifier(const struct usb_device *d, uint8_t *out)
{
	static const uint8_t bytes[] = {10, DESC_QUALIFIER, 0, 2, 0, 0, 0, 64, 0, 0};

	if (d->speed == USB_SUPER)
		return USB_STALL;
	memcpy(out, bytes, sizeof(bytes));
	return sizeof(bytes);
}

static int string(const struct usb_device *d, unsigned index, uint8_t *out)
{
	const char *const texts[] = {NULL, "Kvasir", d->function->product, d->dev.id};
	unsigned n;

	if (index >= G_N_ELEMENTS(texts))
		return USB_STALL;
	out[1] = DESC_STRING;
	if (!index) {
		out[0] = 4;
		put_le16(out + 2, LANGUAGE);
		return 4;
	}
	n = MIN((unsigned)strlen(texts[index]), STRING_MAX);
	for (unsigned i = 0; i < n; i++)
		put_le16(out + 2 + 2 * i, (uint8_t)texts[index][i]);
	out[0] = (uint8_t)(2 + 2 * n);
	return out[0];
}

static int descriptor(struct usb_device *d, const struct usb_setup *s, uint8_t *out)
{
	const struct usb_bytes *config = &d->function->config[d->speed];

	switch (s->value >> 8) {
	case DESC_DEVICE:
		return device_descriptor(d, out);
	case DESC_CONFIG:
		if (s->value & 0xff)
			return USB_STALL;
		memcpy(out, config->data, config->len);
		return (int)config->len;
	case DESC_STRING:
		return string(d, s->value & 0xff, out);
	case DESC_QUALIFIER:
		return qualifier(d, out);
	case DESC_BOS:
		if (d->speed != USB_SUPER)
			return USB_STALL;
		memcpy(out, bos, sizeof(bos));
		return sizeof(bos);
	}
	return USB_STALL;
}

static uint32_t endpoint_bit(unsigned endpoint, bool in)
{
	return 1u << ((endpoint & 15) + (in ? 16 : 0));
}

static void set_configuration(struct usb_device *d, uint8_t value)
{
	d->configuration = value;
	d->halted = 0;
	d->function->reset(d);
	if (d->function->configured)
		d->function->configured(d, value);
}

static int status(const struct usb_device *d, const struct usb_setup *s, uint8_t *data)
{
	unsigned v = 0;

	if ((s->type & 0x1f) == RECIPIENT_DEVICE)
		v = SELF_POWERED | (d->remote_wakeup ? 2 : 0);
	else if ((s->type & 0x1f) == RECIPIENT_ENDPOINT)
		v = (d->halted & endpoint_bit(s->index, s->index & TYPE_IN)) != 0;
	put_le16(data, (uint16_t)v);
	return 2;
}

static int feature(struct usb_device *d, const struct usb_setup *s)
{
	bool on = s->request == SET_FEATURE;
	uint32_t bit = endpoint_bit(s->index, s->index & TYPE_IN);

	switch (s->type & 0x1f) {
	case RECIPIENT_DEVICE:
		if (s->value == FEATURE_REMOTE_WAKEUP)
			d->remote_wakeup = on;
		else if (d->speed != USB_SUPER || s->value < FEATURE_U1 || s->value > FEATURE_LTM)
			return USB_STALL;
		return 0;
	case RECIPIENT_INTERFACE: /* function suspend */
		return d->speed == USB_SUPER && !s->value ? 0 : USB_STALL;
	case RECIPIENT_ENDPOINT:
		if (s->value != FEATURE_HALT)
			return USB_STALL;
		d->halted = on && (s->index & 15) ? d->halted | bit : d->halted & ~bit;
		return 0;
	}
	return USB_STALL;
}

static int interface(const struct usb_device *d, const struct usb_setup *s, uint8_t *data)
{
	if (!d->configuration || s->index)
		return USB_STALL;
	if (s->request == SET_INTERFACE)
		return s->value ? USB_STALL : 0;
	data[0] = 0;
	return 1;
}

static int standard(struct usb_device *d, const struct usb_setup *s, uint8_t *data)
{
	switch (s->request) {
	case GET_STATUS:
		return status(d, s, data);
	case CLEAR_FEATURE:
	case SET_FEATURE:
		return feature(d, s);
	case SET_ADDRESS: /* the controller's business */
		return 0;
	case GET_DESCRIPTOR:
		return s->type == TYPE_IN ? descriptor(d, s, data) : d->function->control(d, s, data);
	case GET_CONFIGURATION:
		data[0] = d->configuration;
		return 1;
	case SET_CONFIGURATION:
		if (s->value > 1)
			return USB_STALL;
		set_configuration(d, (uint8_t)s->value);
		return 0;
	case GET_INTERFACE:
	case SET_INTERFACE:
		return interface(d, s, data);
	case SET_SEL:
	case SET_ISOCH_DELAY:
		return d->speed == USB_SUPER ? 0 : USB_STALL;
	}
	return USB_STALL;
}

/* ---- for controllers ---- */

void usb_reset(struct usb_device *d)
{
	d->remote_wakeup = false;
	set_configuration(d, 0);
}

int usb_control(struct usb_device *d, const struct usb_setup *s, uint8_t *data)
{
	int n;

	if (s->length > USB_CONTROL_MAX)
		return USB_STALL;
	n = s->type & 0x60 ? d->function->control(d, s, data) : standard(d, s, data);
	return n > 0 && !(s->type & TYPE_IN) ? 0 : MIN(n, s->length);
}

int usb_transfer(struct usb_device *d, unsigned endpoint, bool in, const struct iovec *iov, unsigned n, uint32_t len)
{
	int res;

	if (!d->configuration || (d->halted & endpoint_bit(endpoint, in)))
		return USB_STALL;
	res = in ? d->function->in(d, endpoint, iov, n, len) : d->function->out(d, endpoint, iov, n, len);
	if (res == USB_STALL)
		d->halted |= endpoint_bit(endpoint, in);
	return res;
}

/* ---- for devices ---- */

bool usb_plug(struct usb_device *d, const struct usb_function *f, GError **error)
{
	struct usb_bus *bus = d->dev.core->usb;

	d->function = f;
	if (!bus)
		return kv_fail(error, KV_ERROR_USAGE, "%s: there is no USB controller; give --device xhci before it", d->dev.id);
	if (!bus->attach(bus, d, error))
		return false;
	d->bus = bus;
	d->dev.holder = bus->controller;
	return true;
}

void usb_unplug(struct usb_device *d)
{
	if (d->bus)
		d->bus->detach(d->bus, d);
	if (d->function->configured)
		d->function->configured(d, false);
	d->bus = NULL;
}

void usb_lock(struct usb_device *d)
{
	g_mutex_lock(&d->bus->lock);
}

void usb_unlock(struct usb_device *d)
{
	g_mutex_unlock(&d->bus->lock);
}

void usb_ready(struct usb_device *d, unsigned endpoint, bool in)
{
	d->bus->ready(d->bus, d, endpoint, in);
}

void usb_loaded(struct usb_device *d)
{
	d->configuration = d->configuration ? 1 : 0;
	if (d->function->configured)
		d->function->configured(d, d->configuration);
}

const struct state_field usb_device_fields[] = {STATE_INT(struct usb_device, configuration, STATE_U8),
						STATE_INT(struct usb_device, remote_wakeup, STATE_BOOL),
						STATE_INT(struct usb_device, halted, STATE_U32), STATE_END};
