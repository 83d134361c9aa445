/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * USB keyboard, mouse and tablet (Device Class Definition for HID 1.11; usages of the HID Usage Tables): each one interface with
 * one interrupt endpoint. Keys wait in a queue, moves are added up as long as no button changes. A device takes events from
 * input.h while its driver has it configured. Created by --device, and by the pc board.
 */
#include <string.h>

#include <linux/input-event-codes.h>

#include "bytes.h"
#include "classes.h"
#include "error.h"
#include "input.h"
#include "usb.h"
#include "virtio.h"

enum { GET_DESCRIPTOR = 6, DESC_HID = 0x21, DESC_REPORT = 0x22 };
enum { GET_REPORT = 1, GET_IDLE, GET_PROTOCOL, SET_REPORT = 9, SET_IDLE, SET_PROTOCOL };
enum { BOOT_NONE = 0, BOOT_KEYBOARD = 1, BOOT_MOUSE = 2 };
enum { ENDPOINT = 1, KEYS = 64, POINTS = 16, REPORT_MAX = 8, KEYS_DOWN = 6, USAGES = 0xe8 };

#define USAGE_MODIFIER 0xe0 /* the first of eight */
#define ROLLOVER       1    /* more keys are down than a report has room for */

struct hid_point {
	uint8_t buttons;
	uint16_t x, y; /* absolute, or two's complement */
	uint8_t wheel; /* two's complement */
};

struct hid;

struct hid_kind {
	struct usb_bytes report_descriptor;
	const uint8_t *hid_descriptor; /* 9 bytes, in the configuration's */
	const struct input_device *input;
	unsigned (*report)(struct hid *h, uint8_t *out); /* the next one; bytes */
	bool (*waits)(const struct hid *h);
};

struct hid {
	struct usb_device usb; /* first */
	const struct hid_kind *kind;
	/* All below is saved. */
	uint8_t protocol, idle, leds;
	/* Keyboard: events that wait, usages; bit 8: up. */
	uint16_t key[KEYS];
	uint8_t first_key, n_keys;
	uint8_t modifiers, down[KEYS_DOWN * 4], n_down;
	/* Pointer: the one that grows is the last. */
	struct hid_point point[POINTS], now;
	uint8_t n_points;
	bool moved; /* now is not in point[] */
};

/* ---- descriptors ---- */

/* Appendix B.1 and E.6 of the class definition: the boot keyboard. */
static const uint8_t keyboard_report[] = {
	0x05, 0x01, 0x09, 0x06, 0xa1, 0x01,			   /* generic desktop, keyboard */
	0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, 0x15, 0x00, 0x25, 0x01, /* modifiers: 8 bits */
	0x75, 0x01, 0x95, 0x08, 0x81, 0x02, 0x95, 0x01, 0x75, 0x08, 0x81, 0x01, /* a byte of nothing */
	0x95, 0x05, 0x75, 0x01, 0x05, 0x08, 0x19, 0x01, 0x29, 0x05, 0x91, 0x02, /* LEDs */
	0x95, 0x01, 0x75, 0x03, 0x91, 0x01,
	0x95, 0x06, 0x75, 0x08, 0x15, 0x00, 0x26, 0xff, 0x00, 0x05, 0x07, 0x19, 0x00, 0x2a, 0xff, 0x00, 0x81, 0x00, /* keys */
	0xc0};
static const uint8_t mouse_report[] = {
	0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00,				    /* mouse, pointer */
	0x05, 0x09, 0x19, 0x01, 0x29, 0x05, 0x15, 0x00, 0x25, 0x01, 0x95, 0x05, 0x75, 0x01, 0x81, 0x02, /* five buttons */
	0x95, 0x01, 0x75, 0x03, 0x81, 0x01,
	0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x09, 0x38, 0x15, 0x81, 0x25, 0x7f, 0x75, 0x08, 0x95, 0x03, 0x81, 0x06, /* wheel */
	0xc0, 0xc0};
static const uint8_t tablet_report[] = {
	0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00,
	0x05, 0x09, 0x19, 0x01, 0x29, 0x05, 0x15, 0x00, 0x25, 0x01, 0x95, 0x05, 0x75, 0x01, 0x81, 0x02,
	0x95, 0x01, 0x75, 0x03, 0x81, 0x01,
	0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x15, 0x00, 0x26, 0xff, 0x7f, 0x35, 0x00, 0x46, 0xff, 0x7f, /* 16 bits, absolute */
	0x75, 0x10, 0x95, 0x02, 0x81, 0x02,
	0x05, 0x01, 0x09, 0x38, 0x15, 0x81, 0x25, 0x7f, 0x35, 0x00, 0x45, 0x00, 0x75, 0x08, 0x95, 0x01, 0x81, 0x06, /* wheel */
	0xc0, 0xc0};

#define HID_AT 18 /* of the HID descriptor in a configuration */
/* One interface, its HID descriptor, an endpoint that is asked every 8 ms (2^6 microframes). */
#define HID_CONFIG(subclass, protocol, report, size) \
	{ \
		9, 2, 34, 0, 1, 1, 0, 0xa0, 50, 9, 4, 0, 0, 1, 3, subclass, protocol, 0, 9, DESC_HID, 0x11, 1, 0, 1, \
			DESC_REPORT, sizeof(report), 0, 7, 5, 0x80 | ENDPOINT, 3, size, 0, 7 \
	}
static const uint8_t keyboard_config[] = HID_CONFIG(1, BOOT_KEYBOARD, keyboard_report, 8);
static const uint8_t mouse_config[] = HID_CONFIG(1, BOOT_MOUSE, mouse_report, 4);
static const uint8_t tablet_config[] = HID_CONFIG(0, BOOT_NONE, tablet_report, 8);

/* ---- keys ---- */

/* Usage page 7 by Linux's code; 0: there is none. */
static const uint8_t usages[] = {
	[KEY_ESC] = 0x29, 0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x2d, 0x2e, 0x2a, 0x2b,
	[KEY_Q] = 0x14, 0x1a, 0x08, 0x15, 0x17, 0x1c, 0x18, 0x0c, 0x12, 0x13, 0x2f, 0x30, 0x28, 0xe0,
	[KEY_A] = 0x04, 0x16, 0x07, 0x09, 0x0a, 0x0b, 0x0d, 0x0e, 0x0f, 0x33, 0x34, 0x35, 0xe1, 0x31,
	[KEY_Z] = 0x1d, 0x1b, 0x06, 0x19, 0x05, 0x11, 0x10, 0x36, 0x37, 0x38, 0xe5, 0x55, 0xe2, 0x2c, 0x39,
	[KEY_F1] = 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x40, 0x41, 0x42, 0x43, 0x53, 0x47,
	[KEY_KP7] = 0x5f, 0x60, 0x61, 0x56, 0x5c, 0x5d, 0x5e, 0x57, 0x59, 0x5a, 0x5b, 0x62, 0x63,
	[KEY_ZENKAKUHANKAKU] = 0x94, [KEY_102ND] = 0x64, [KEY_F11] = 0x44, [KEY_F12] = 0x45, [KEY_RO] = 0x87,
	[KEY_KATAKANA] = 0x92, [KEY_HIRAGANA] = 0x93, [KEY_HENKAN] = 0x8a, [KEY_KATAKANAHIRAGANA] = 0x88,
	[KEY_MUHENKAN] = 0x8b, [KEY_KPENTER] = 0x58, [KEY_RIGHTCTRL] = 0xe4, [KEY_KPSLASH] = 0x54, [KEY_SYSRQ] = 0x46,
	[KEY_RIGHTALT] = 0xe6, [KEY_HOME] = 0x4a, [KEY_UP] = 0x52, [KEY_PAGEUP] = 0x4b, [KEY_LEFT] = 0x50,
	[KEY_RIGHT] = 0x4f, [KEY_END] = 0x4d, [KEY_DOWN] = 0x51, [KEY_PAGEDOWN] = 0x4e, [KEY_INSERT] = 0x49,
	[KEY_DELETE] = 0x4c, [KEY_MUTE] = 0x7f, [KEY_VOLUMEDOWN] = 0x81, [KEY_VOLUMEUP] = 0x80, [KEY_POWER] = 0x66,
	[KEY_KPEQUAL] = 0x67, [KEY_PAUSE] = 0x48, [KEY_KPCOMMA] = 0x85, [KEY_HANGEUL] = 0x90, [KEY_HANJA] = 0x91,
	[KEY_YEN] = 0x89, [KEY_LEFTMETA] = 0xe3, [KEY_RIGHTMETA] = 0xe7, [KEY_COMPOSE] = 0x65, [KEY_STOP] = 0x78,
	[KEY_AGAIN] = 0x79, [KEY_PROPS] = 0x76, [KEY_UNDO] = 0x7a, [KEY_COPY] = 0x7c, [KEY_OPEN] = 0x74, [KEY_PASTE] = 0x7d,
	[KEY_FIND] = 0x7e, [KEY_CUT] = 0x7b, [KEY_HELP] = 0x75, [KEY_F13] = 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f, 0x70,
	0x71, 0x72, 0x73,
};

static void key_moves(struct hid *h, unsigned usage, bool up)
{
	unsigned i = 0;

	if (usage >= USAGE_MODIFIER && usage < USAGE_MODIFIER + 8) {
		uint8_t bit = (uint8_t)(1u << (usage - USAGE_MODIFIER));

		h->modifiers = (uint8_t)(up ? h->modifiers & ~bit : h->modifiers | bit);
		return;
	}
	while (i < h->n_down && h->down[i] != usage)
		i++;
	if (up && i < h->n_down)
		memmove(h->down + i, h->down + i + 1, --h->n_down - i);
	else if (!up && i == h->n_down && i < sizeof(h->down))
		h->down[h->n_down++] = (uint8_t)usage;
}

static bool keyboard_waits(const struct hid *h)
{
	return h->n_keys;
}

static unsigned keyboard_next(struct hid *h, uint8_t *out)
{
	if (h->n_keys) {
		uint16_t key = h->key[h->first_key];

		h->first_key = (uint8_t)((h->first_key + 1) % KEYS);
		h->n_keys--;
		key_moves(h, key & 0xff, key & 0x100);
	}
	memset(out, 0, REPORT_MAX);
	out[0] = h->modifiers;
	if (h->n_down > KEYS_DOWN)
		memset(out + 2, ROLLOVER, KEYS_DOWN);
	else
		memcpy(out + 2, h->down, h->n_down);
	return REPORT_MAX;
}

static void keyboard_event(void *opaque, const struct input_event *e)
{
	struct hid *h = opaque;
	unsigned usage = e->code < G_N_ELEMENTS(usages) ? usages[e->code] : 0;

	usb_lock(&h->usb);
	if (usage && h->n_keys < KEYS) {
		h->key[(h->first_key + h->n_keys++) % KEYS] = (uint16_t)(usage | (e->down ? 0 : 0x100));
		usb_ready(&h->usb, ENDPOINT, true);
	}
	usb_unlock(&h->usb);
}

/* ---- pointers ---- */

static bool pointer_waits(const struct hid *h)
{
	return h->n_points;
}

/* As much of *v as a signed byte can say; *v keeps the rest. */
static uint8_t take_byte(uint16_t *v)
{
	int n = CLAMP((int16_t)*v, -127, 127);

	*v = (uint16_t)(*v - n);
	return (uint8_t)n;
}

static void drop_point(struct hid *h)
{
	if (h->n_points)
		memmove(h->point, h->point + 1, --h->n_points * sizeof(h->point[0]));
}

static unsigned mouse_next(struct hid *h, uint8_t *out)
{
	struct hid_point *p = h->n_points ? &h->point[0] : &h->now, none = {.buttons = h->now.buttons};

	if (!h->n_points)
		p = &none;
	out[0] = p->buttons;
	out[1] = take_byte(&p->x);
	out[2] = take_byte(&p->y);
	out[3] = p->wheel;
	p->wheel = 0;
	if (!p->x && !p->y)
		drop_point(h);
	return h->protocol ? 4 : 3;
}

static unsigned tablet_next(struct hid *h, uint8_t *out)
{
	const struct hid_point *p = h->n_points ? &h->point[0] : &h->now;

	out[0] = p->buttons;
	put_le16(out + 1, p->x);
	put_le16(out + 3, p->y);
	out[5] = h->n_points ? p->wheel : 0;
	drop_point(h);
	return 6;
}

static int8_t add_wheel(uint8_t a, int b)
{
	return (int8_t)CLAMP((int64_t)(int8_t)a + b, -127, 127);
}

static uint16_t add_move(uint16_t a, int b)
{
	return (uint16_t)CLAMP((int64_t)(int16_t)a + b, -0x4000, 0x4000);
}

/* What has gathered becomes a report; into the last one when that differs in moves alone, or there is no room. */
static void push_point(struct hid *h, bool absolute)
{
	struct hid_point *last = h->n_points ? &h->point[h->n_points - 1] : NULL;

	if (!h->moved)
		return;
	h->moved = false;
	if (last && (last->buttons == h->now.buttons || h->n_points == POINTS)) {
		last->buttons = h->now.buttons;
		last->x = absolute ? h->now.x : add_move(last->x, (int16_t)h->now.x);
		last->y = absolute ? h->now.y : add_move(last->y, (int16_t)h->now.y);
		last->wheel = (uint8_t)add_wheel(last->wheel, (int8_t)h->now.wheel);
	} else {
		h->point[h->n_points++] = h->now;
	}
	h->now.wheel = 0;
	if (!absolute)
		h->now.x = h->now.y = 0;
	usb_ready(&h->usb, ENDPOINT, true);
}

static void set_button(struct hid *h, unsigned code, bool down)
{
	static const unsigned codes[] = {BTN_LEFT, BTN_RIGHT, BTN_MIDDLE, BTN_SIDE, BTN_EXTRA};

	for (unsigned i = 0; i < G_N_ELEMENTS(codes); i++)
		if (codes[i] == code)
			h->now.buttons = (uint8_t)(down ? h->now.buttons | 1u << i : h->now.buttons & ~(1u << i));
}

static void pointer_event(void *opaque, const struct input_event *e)
{
	struct hid *h = opaque;
	bool absolute = h->kind->input->kinds & INPUT_ABSOLUTE;

	usb_lock(&h->usb);
	if (e->kind == INPUT_BUTTON) {
		push_point(h, absolute);
		set_button(h, e->code, e->down);
	} else if (e->kind == INPUT_WHEEL) {
		h->now.wheel = (uint8_t)add_wheel(h->now.wheel, e->y);
	} else {
		h->now.x = absolute ? (uint16_t)CLAMP(e->x, 0, INPUT_ABSOLUTE_MAX) : add_move(h->now.x, e->x);
		h->now.y = absolute ? (uint16_t)CLAMP(e->y, 0, INPUT_ABSOLUTE_MAX) : add_move(h->now.y, e->y);
	}
	h->moved = true;
	usb_unlock(&h->usb);
}

static void pointer_sync(void *opaque)
{
	struct hid *h = opaque;

	usb_lock(&h->usb);
	push_point(h, h->kind->input->kinds & INPUT_ABSOLUTE);
	usb_unlock(&h->usb);
}

/* ---- USB ---- */

static void set_leds(struct hid *h, uint8_t bits)
{
	struct input *in = h->usb.dev.core->input;

	h->leds = (uint8_t)((bits & 1 ? INPUT_LED_NUM : 0) | (bits & 2 ? INPUT_LED_CAPS : 0) | (bits & 4 ? INPUT_LED_SCROLL : 0));
	if (in)
		input_leds(in, h, h->leds);
}

static int class_request(struct hid *h, const struct usb_setup *s, uint8_t *data)
{
	switch (s->request) {
	case GET_REPORT:
		return s->value >> 8 == 1 ? (int)h->kind->report(h, data) : USB_STALL;
	case GET_IDLE:
		data[0] = h->idle;
		return 1;
	case GET_PROTOCOL:
		data[0] = h->protocol;
		return 1;
	case SET_REPORT:
		if (s->value >> 8 == 2 && s->length)
			set_leds(h, data[0]);
		return 0;
	case SET_IDLE: /* reports come when something changes */
		h->idle = s->value >> 8;
		return 0;
	case SET_PROTOCOL:
		h->protocol = s->value & 1;
		return 0;
	}
	return USB_STALL;
}

static int hid_control(struct usb_device *d, const struct usb_setup *s, uint8_t *data)
{
	struct hid *h = (struct hid *)d;

	if (s->index)
		return USB_STALL;
	if (s->type == 0xa1 || s->type == 0x21)
		return class_request(h, s, data);
	if (s->type != 0x81 || s->request != GET_DESCRIPTOR)
		return USB_STALL;
	if (s->value >> 8 == DESC_HID) {
		memcpy(data, h->kind->hid_descriptor, 9);
		return 9;
	}
	if (s->value >> 8 != DESC_REPORT)
		return USB_STALL;
	memcpy(data, h->kind->report_descriptor.data, h->kind->report_descriptor.len);
	return (int)h->kind->report_descriptor.len;
}

static int hid_in(struct usb_device *d, unsigned endpoint, const struct iovec *iov, unsigned n, uint32_t len)
{
	struct hid *h = (struct hid *)d;
	uint8_t report[REPORT_MAX];
	unsigned bytes;

	if (endpoint != ENDPOINT)
		return USB_STALL;
	if (!h->kind->waits(h))
		return USB_NAK;
	bytes = h->kind->report(h, report);
	if (bytes > len)
		return USB_BABBLE;
	return (int)virtq_iov_write(iov, n, 0, report, bytes);
}

static int hid_out(struct usb_device *d, unsigned endpoint, const struct iovec *iov, unsigned n, uint32_t len)
{
	return USB_STALL;
}

static void hid_clear(struct usb_device *d)
{
	struct hid *h = (struct hid *)d;

	h->protocol = 1;
	h->idle = h->leds = h->modifiers = h->n_down = 0;
	h->first_key = h->n_keys = h->n_points = 0;
	h->moved = false;
	memset(h->key, 0, sizeof(h->key));
	memset(h->down, 0, sizeof(h->down));
	memset(h->point, 0, sizeof(h->point));
	memset(&h->now, 0, sizeof(h->now));
}

static void hid_configured(struct usb_device *d, bool used)
{
	struct hid *h = (struct hid *)d;
	struct input *in = d->dev.core->input;

	if (!in)
		return;
	input_unplug(in, h);
	if (used)
		input_plug(in, h->kind->input, h);
}

#define HID_FUNCTION(text, list) \
	{ \
		.product = text, .vendor_id = 0x0627, .product_id = 0x0001, .config = {[USB_HIGH] = {list, sizeof(list)}}, \
		.control = hid_control, .in = hid_in, .out = hid_out, .reset = hid_clear, .configured = hid_configured \
	}
static const struct usb_function keyboard_function = HID_FUNCTION("USB Keyboard", keyboard_config),
				 mouse_function = HID_FUNCTION("USB Mouse", mouse_config),
				 tablet_function = HID_FUNCTION("USB Tablet", tablet_config);

/* ---- the devices ---- */

static const struct input_device keyboard_input = {.name = "USB Keyboard", .kinds = INPUT_KEY, .event = keyboard_event};
static const struct input_device mouse_input = {.name = "USB Mouse",
						.kinds = INPUT_BUTTON | INPUT_RELATIVE | INPUT_WHEEL,
						.event = pointer_event,
						.sync = pointer_sync};
static const struct input_device tablet_input = {.name = "USB Tablet",
						 .kinds = INPUT_BUTTON | INPUT_ABSOLUTE | INPUT_WHEEL,
						 .event = pointer_event,
						 .sync = pointer_sync};

static const struct hid_kind keyboard_kind = {{keyboard_report, sizeof(keyboard_report)},
					      keyboard_config + HID_AT,
					      &keyboard_input,
					      keyboard_next,
					      keyboard_waits};
static const struct hid_kind mouse_kind = {{mouse_report, sizeof(mouse_report)},
					   mouse_config + HID_AT,
					   &mouse_input,
					   mouse_next,
					   pointer_waits};
static const struct hid_kind tablet_kind = {{tablet_report, sizeof(tablet_report)},
					    tablet_config + HID_AT,
					    &tablet_input,
					    tablet_next,
					    pointer_waits};

static bool create(struct device *dev, const struct hid_kind *kind, const struct usb_function *f, GError **error)
{
	struct hid *h = (struct hid *)dev;

	h->kind = kind;
	hid_clear(&h->usb);
	return usb_plug(&h->usb, f, error);
}

static bool keyboard_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	return create(dev, &keyboard_kind, &keyboard_function, error);
}

static bool mouse_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	return create(dev, &mouse_kind, &mouse_function, error);
}

static bool tablet_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	return create(dev, &tablet_kind, &tablet_function, error);
}

static void hid_reset(struct device *dev)
{
	struct hid *h = (struct hid *)dev;

	usb_lock(&h->usb);
	usb_reset(&h->usb);
	usb_unlock(&h->usb);
}

static void hid_destroy(struct device *dev)
{
	usb_unplug(&((struct hid *)dev)->usb);
}

static bool hid_loaded(void *opaque, GError **error)
{
	struct hid *h = opaque;

	if (h->first_key >= KEYS || h->n_keys > KEYS || h->n_down > sizeof(h->down) || h->n_points > POINTS)
		return kv_fail(error, KV_ERROR_INVALID, "%s: the saved events make no sense", h->usb.dev.id);
	usb_loaded(&h->usb);
	if (h->usb.dev.core->input)
		input_leds(h->usb.dev.core->input, h, h->leds);
	return true;
}

static const struct state_field point_fields[] = {
	STATE_INT(struct hid_point, buttons, STATE_U8), STATE_INT(struct hid_point, x, STATE_U16),
	STATE_INT(struct hid_point, y, STATE_U16), STATE_INT(struct hid_point, wheel, STATE_U8), STATE_END};

static const struct state_field hid_fields[] = {
	USB_DEVICE_STATE(struct hid, usb),
	STATE_INT(struct hid, protocol, STATE_U8),
	STATE_INT(struct hid, idle, STATE_U8),
	STATE_INT(struct hid, leds, STATE_U8),
	{.name = "key", .offset = offsetof(struct hid, key), .type = STATE_ARRAY, .since = 1, .size = 2, .count = KEYS},
	STATE_INT(struct hid, first_key, STATE_U8),
	STATE_INT(struct hid, n_keys, STATE_U8),
	STATE_INT(struct hid, modifiers, STATE_U8),
	STATE_RAW(struct hid, down),
	STATE_INT(struct hid, n_down, STATE_U8),
	STATE_MANY(struct hid, point, point_fields),
	STATE_ONE(struct hid, now, point_fields),
	STATE_INT(struct hid, n_points, STATE_U8),
	STATE_INT(struct hid, moved, STATE_BOOL),
	STATE_END};
static const struct state_desc hid_state = {"usb-hid", 1, 1, hid_fields, NULL, hid_loaded};

#define HID_CLASS(variable, word, text, make) \
	const struct device_class variable = {.name = word, \
					      .description = text, \
					      .size = sizeof(struct hid), \
					      .create = make, \
					      .reset = hid_reset, \
					      .destroy = hid_destroy, \
					      .state = &hid_state, \
					      .keys = device_no_keys}
HID_CLASS(device_usb_kbd, "usb-kbd", "USB keyboard", keyboard_create);
HID_CLASS(device_usb_mouse, "usb-mouse", "USB mouse", mouse_create);
HID_CLASS(device_usb_tablet, "usb-tablet", "USB tablet: a pointer with absolute positions", tablet_create);
