/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two devices behind the keyboard controller (i8042.c): IBM's enhanced keyboard and a PS/2 mouse, as the IBM Personal
 * System/2 Technical Reference and Microsoft's IntelliMouse papers have them. A device has bytes for its host, answers before
 * events. All functions: under the controller's lock.
 */
#pragma once
#include "device.h"

enum { PS2_ANSWERS = 16, PS2_EVENTS = 128 };

struct ps2_queue {
	uint8_t data[PS2_EVENTS];
	uint8_t head, count;
};

/* What both have in common; all of it is saved. */
struct ps2_port {
	struct ps2_queue answers, events;
	uint8_t last;	 /* sent, for "resend" */
	uint8_t command; /* whose parameter comes next; 0: none */
	bool enabled;	 /* by the host: reports events */
};

struct ps2_keyboard {
	struct ps2_port port; /* first */
	uint8_t set;	      /* of scan codes, 1 to 3 */
	uint8_t leds;	      /* of enum input_led */
	uint8_t rate;	      /* typematic; who types repeats keys already */
	uint8_t modifiers;    /* that are down and change what other keys send */
};

struct ps2_mouse {
	struct ps2_port port; /* first */
	uint8_t id;	      /* 0, 3 with a wheel, 4 with five buttons */
	uint8_t rate, resolution, scaling;
	uint8_t rates[2]; /* the two before, for the knock */
	bool remote, wrap;
	bool moved; /* since the last report */
	uint8_t buttons;
	uint32_t dx, dy, dz; /* two's complement; right, up, towards the user; not reported yet */
};

bool ps2_take(struct ps2_port *p, uint8_t *ret); /* the next byte for the host; false: none */
bool ps2_waits(const struct ps2_port *p);	 /* there is one */
bool ps2_loaded(struct ps2_port *p);		 /* false: a saved state that cannot be */
extern const struct state_field ps2_keyboard_fields[], ps2_mouse_fields[];

/* For the two devices. All of the bytes, or false and none. */
bool ps2_put(struct ps2_queue *q, unsigned room, const uint8_t *bytes, unsigned n);
void ps2_answer(struct ps2_port *p, uint8_t byte);
extern const struct state_field ps2_port_fields[];

uint8_t ps2_set1(uint8_t set2); /* a code as the controller translates it */
void ps2_keyboard_reset(struct ps2_keyboard *k);
void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t byte);
void ps2_keyboard_key(struct ps2_keyboard *k, unsigned code, bool down); /* code: linux/input-event-codes.h */

void ps2_mouse_reset(struct ps2_mouse *m);
void ps2_mouse_write(struct ps2_mouse *m, uint8_t byte);
void ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int dz);
void ps2_mouse_button(struct ps2_mouse *m, unsigned code, bool down); /* BTN_* */
/* What has moved becomes a report when there is room for it; after events, and when bytes were taken. */
void ps2_mouse_report(struct ps2_mouse *m);
