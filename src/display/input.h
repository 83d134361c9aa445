/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys and pointers between who has them (VNC clients, QMP) and the guest's devices. A device plugs in with what it takes; of
 * those that take an event, the one that was plugged in or made active last gets it. Main thread, but what devices call: a
 * vCPU's thread may; what is unplugged may get an event that the main thread has under way.
 * Keys are Linux's codes (linux/input-event-codes.h, KEY_*), buttons too (BTN_LEFT ...).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

enum input_kind { INPUT_KEY = 1, INPUT_BUTTON = 2, INPUT_RELATIVE = 4, INPUT_ABSOLUTE = 8, INPUT_WHEEL = 16 };
enum { INPUT_ABSOLUTE_MAX = 0x7fff }; /* the far edge; near is 0 */
enum input_led { INPUT_LED_NUM = 1, INPUT_LED_CAPS = 2, INPUT_LED_SCROLL = 4 };

struct input_event {
	enum input_kind kind;
	unsigned code; /* KEY, BUTTON */
	bool down;     /* KEY, BUTTON */
	int x, y;      /* RELATIVE: right and down; ABSOLUTE: 0 to INPUT_ABSOLUTE_MAX; WHEEL: y, positive is away from the user */
};

struct input_device {
	const char *name;
	unsigned kinds; /* of enum input_kind */
	void (*event)(void *opaque, const struct input_event *e);
	void (*sync)(void *opaque); /* events so far belong together; may be NULL */
};

struct input;

struct input *input_new(void);
void input_free(struct input *in); /* NULL is fine */

/* ---- for devices ---- */
void input_plug(struct input *in, const struct input_device *device, void *opaque); /* the struct lives as long */
void input_unplug(struct input *in, void *opaque);
void input_activate(struct input *in, void *opaque); /* the guest uses this one */
void input_leds(struct input *in, void *opaque, unsigned leds); /* what the guest's keyboard shows */

/* ---- for who has keys and pointers ---- */
void input_send(struct input *in, const struct input_event *e);
void input_sync(struct input *in);
bool input_takes(const struct input *in, enum input_kind kind);
bool input_pointer_is_absolute(const struct input *in);
/* Devices that take one of these kinds, who gets events first; how many of them. */
unsigned input_list(const struct input *in, unsigned kinds, const struct input_device **ret, unsigned max);
/* changed() comes in the main context when LEDs, or what the pointer is, have. */
void input_watch(struct input *in, GMainContext *context, void (*changed)(void *opaque), void *opaque);
void input_unwatch(struct input *in, void *opaque);
unsigned input_get_leds(const struct input *in);
