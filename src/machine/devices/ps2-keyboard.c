/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PS/2 keyboard of 105 keys and some for sound and power: scan code sets 1, 2 and 3, and the commands of the IBM PS/2
 * Technical Reference, "Keyboard". Here is also what it has in common with the mouse: the bytes on their way to the host.
 * Called by i8042.c.
 */
#include <string.h>

#include <linux/input-event-codes.h>

#include "input.h"
#include "ps2.h"

enum { ACK = 0xfa, RESEND = 0xfe, ECHO = 0xee, SELF_TEST_PASSED = 0xaa };
enum {
	CMD_LEDS = 0xed,
	CMD_ECHO = 0xee,
	CMD_SET = 0xf0,
	CMD_IDENTIFY = 0xf2,
	CMD_RATE = 0xf3,
	CMD_ENABLE = 0xf4,
	CMD_DISABLE = 0xf5,
	CMD_DEFAULTS = 0xf6,
	CMD_ALL_KEYS = 0xf7, /* to 0xfa: all keys typematic, or make and break ... */
	CMD_ALL_KEYS_LAST = 0xfa,
	CMD_ONE_KEY = 0xfb, /* to 0xfd: the same for single keys, which follow */
	CMD_ONE_KEY_LAST = 0xfd,
	CMD_RESEND = 0xfe,
	CMD_RESET = 0xff
};

#define RATE_DEFAULT 0x2b
#define BREAK	     0xf0 /* before a code of sets 2 and 3 */
#define EXTENDED     0xe0

/* ---- bytes for the host ---- */

bool ps2_put(struct ps2_queue *q, unsigned room, const uint8_t *bytes, unsigned n)
{
	if (q->count + n > room)
		return false;
	for (unsigned i = 0; i < n; i++)
		q->data[(q->head + q->count++) % PS2_EVENTS] = bytes[i];
	return true;
}

void ps2_answer(struct ps2_port *p, uint8_t byte)
{
	ps2_put(&p->answers, PS2_ANSWERS, &byte, 1);
}

bool ps2_waits(const struct ps2_port *p)
{
	return p->answers.count || p->events.count;
}

bool ps2_take(struct ps2_port *p, uint8_t *ret)
{
	struct ps2_queue *q = p->answers.count ? &p->answers : &p->events;

	if (!q->count)
		return false;
	*ret = p->last = q->data[q->head];
	q->head = (uint8_t)((q->head + 1) % PS2_EVENTS);
	q->count--;
	return true;
}

bool ps2_loaded(struct ps2_port *p)
{
	return p->answers.head < PS2_EVENTS && p->answers.count <= PS2_ANSWERS && p->events.head < PS2_EVENTS &&
	       p->events.count <= PS2_EVENTS;
}

/* ---- scan codes ---- */

/* Set 1 of the keys that are not their Linux code, most of which are set 1; 0x100: behind 0xe0. */
static const uint16_t set1_others[] = {
	[KEY_RO] = 0x73,	      [KEY_HENKAN] = 0x79,	[KEY_KATAKANAHIRAGANA] = 0x70, [KEY_MUHENKAN] = 0x7b,
	[KEY_KPENTER] = 0x11c,	      [KEY_RIGHTCTRL] = 0x11d,	[KEY_KPSLASH] = 0x135,	       [KEY_SYSRQ] = 0x137,
	[KEY_RIGHTALT] = 0x138,	      [KEY_HOME] = 0x147,	[KEY_UP] = 0x148,	       [KEY_PAGEUP] = 0x149,
	[KEY_LEFT] = 0x14b,	      [KEY_RIGHT] = 0x14d,	[KEY_END] = 0x14f,	       [KEY_DOWN] = 0x150,
	[KEY_PAGEDOWN] = 0x151,	      [KEY_INSERT] = 0x152,	[KEY_DELETE] = 0x153,	       [KEY_MUTE] = 0x120,
	[KEY_VOLUMEDOWN] = 0x12e,     [KEY_VOLUMEUP] = 0x130,	[KEY_POWER] = 0x15e,	       [KEY_KPCOMMA] = 0x7e,
	[KEY_YEN] = 0x7d,	       [KEY_LEFTMETA] = 0x15b,
	[KEY_RIGHTMETA] = 0x15c,      [KEY_COMPOSE] = 0x15d,	[KEY_CALC] = 0x121,	       [KEY_SLEEP] = 0x15f,
	[KEY_WAKEUP] = 0x163,	      [KEY_MAIL] = 0x16c,	[KEY_BACK] = 0x16a,	       [KEY_FORWARD] = 0x169,
	[KEY_NEXTSONG] = 0x119,	      [KEY_PLAYPAUSE] = 0x122,	[KEY_PREVIOUSSONG] = 0x110,    [KEY_STOPCD] = 0x124,
	[KEY_HOMEPAGE] = 0x132,
};

/* Set 1 for each code of set 2, as the controller's ROM translates; those from 0x80 on stay, but for two that are keys. */
static const uint8_t set1_of_set2[0x80] = {
	0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
	0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
	0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
	0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
	0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
	0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
	0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
	0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};

uint8_t ps2_set1(uint8_t set2)
{
	switch (set2) {
	case 0x83:
		return 0x41;
	case 0x84:
		return 0x54;
	}
	return set2 < G_N_ELEMENTS(set1_of_set2) ? set1_of_set2[set2] : set2;
}

/* The two above first: their codes of set 1 have a second one of set 2, which no key sends. */
static uint8_t set2_of(uint8_t set1)
{
	for (uint8_t set2 = 0x84; set2 > 0; set2--)
		if (ps2_set1(set2) == set1)
			return set2;
	return 0;
}

static const uint8_t set3[] = {
	[KEY_F1] = 0x07,       [KEY_ESC] = 0x08,	[KEY_TAB] = 0x0d,	 [KEY_GRAVE] = 0x0e,	  [KEY_F2] = 0x0f,
	[KEY_LEFTCTRL] = 0x11, [KEY_LEFTSHIFT] = 0x12,	[KEY_102ND] = 0x13,	 [KEY_CAPSLOCK] = 0x14,	  [KEY_Q] = 0x15,
	[KEY_1] = 0x16,	       [KEY_F3] = 0x17,		[KEY_LEFTALT] = 0x19,	 [KEY_Z] = 0x1a,	  [KEY_S] = 0x1b,
	[KEY_A] = 0x1c,	       [KEY_W] = 0x1d,		[KEY_2] = 0x1e,		 [KEY_F4] = 0x1f,	  [KEY_C] = 0x21,
	[KEY_X] = 0x22,	       [KEY_D] = 0x23,		[KEY_E] = 0x24,		 [KEY_4] = 0x25,	  [KEY_3] = 0x26,
	[KEY_F5] = 0x27,       [KEY_SPACE] = 0x29,	[KEY_V] = 0x2a,		 [KEY_F] = 0x2b,	  [KEY_T] = 0x2c,
	[KEY_R] = 0x2d,	       [KEY_5] = 0x2e,		[KEY_F6] = 0x2f,	 [KEY_N] = 0x31,	  [KEY_B] = 0x32,
	[KEY_H] = 0x33,	       [KEY_G] = 0x34,		[KEY_Y] = 0x35,		 [KEY_6] = 0x36,	  [KEY_F7] = 0x37,
	[KEY_RIGHTALT] = 0x39, [KEY_M] = 0x3a,		[KEY_J] = 0x3b,		 [KEY_U] = 0x3c,	  [KEY_7] = 0x3d,
	[KEY_8] = 0x3e,	       [KEY_F8] = 0x3f,		[KEY_COMMA] = 0x41,	 [KEY_K] = 0x42,	  [KEY_I] = 0x43,
	[KEY_O] = 0x44,	       [KEY_0] = 0x45,		[KEY_9] = 0x46,		 [KEY_F9] = 0x47,	  [KEY_DOT] = 0x49,
	[KEY_SLASH] = 0x4a,    [KEY_L] = 0x4b,		[KEY_SEMICOLON] = 0x4c,	 [KEY_P] = 0x4d,	  [KEY_MINUS] = 0x4e,
	[KEY_F10] = 0x4f,      [KEY_APOSTROPHE] = 0x52, [KEY_LEFTBRACE] = 0x54,	 [KEY_EQUAL] = 0x55,	  [KEY_F11] = 0x56,
	[KEY_SYSRQ] = 0x57,    [KEY_RIGHTCTRL] = 0x58,	[KEY_RIGHTSHIFT] = 0x59, [KEY_ENTER] = 0x5a,	  [KEY_RIGHTBRACE] = 0x5b,
	[KEY_BACKSLASH] = 0x5c, [KEY_F12] = 0x5e,	[KEY_SCROLLLOCK] = 0x5f, [KEY_DOWN] = 0x60,	  [KEY_LEFT] = 0x61,
	[KEY_PAUSE] = 0x62,    [KEY_UP] = 0x63,		[KEY_DELETE] = 0x64,	 [KEY_END] = 0x65,	  [KEY_BACKSPACE] = 0x66,
	[KEY_INSERT] = 0x67,   [KEY_KP1] = 0x69,	[KEY_RIGHT] = 0x6a,	 [KEY_KP4] = 0x6b,	  [KEY_KP7] = 0x6c,
	[KEY_PAGEDOWN] = 0x6d, [KEY_HOME] = 0x6e,	[KEY_PAGEUP] = 0x6f,	 [KEY_KP0] = 0x70,	  [KEY_KPDOT] = 0x71,
	[KEY_KP2] = 0x72,      [KEY_KP5] = 0x73,	[KEY_KP6] = 0x74,	 [KEY_KP8] = 0x75,	  [KEY_NUMLOCK] = 0x76,
	[KEY_KPSLASH] = 0x77,  [KEY_KPENTER] = 0x79,	[KEY_KP3] = 0x7a,	 [KEY_KPPLUS] = 0x7c,	  [KEY_KP9] = 0x7d,
	[KEY_KPASTERISK] = 0x7e, [KEY_KPMINUS] = 0x84,	[KEY_LEFTMETA] = 0x8b,	 [KEY_RIGHTMETA] = 0x8c, [KEY_COMPOSE] = 0x8d,
};

/* Keys that have more than one code, which shift, control and alt change. */
static const struct {
	unsigned key;
	bool down;
	uint8_t modifier; /* 0: none of those below */
	uint8_t set1[6], n1, set2[8], n2;
} special[] = {
	{KEY_PAUSE, true, 1, {0xe0, 0x46, 0xe0, 0xc6}, 4, {0xe0, 0x7e, 0xe0, 0xf0, 0x7e}, 5},
	{KEY_PAUSE, true, 0, {0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5}, 6, {0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77}, 8},
	{KEY_PAUSE, false, 0, {0}, 0, {0}, 0},
	{KEY_SYSRQ, true, 2, {0x54}, 1, {0x84}, 1},
	{KEY_SYSRQ, false, 2, {0xd4}, 1, {0xf0, 0x84}, 2},
	{KEY_SYSRQ, true, 4 | 1, {0xe0, 0x37}, 2, {0xe0, 0x7c}, 2},
	{KEY_SYSRQ, false, 4 | 1, {0xe0, 0xb7}, 2, {0xe0, 0xf0, 0x7c}, 3},
	{KEY_SYSRQ, true, 0, {0xe0, 0x2a, 0xe0, 0x37}, 4, {0xe0, 0x12, 0xe0, 0x7c}, 4},
	{KEY_SYSRQ, false, 0, {0xe0, 0xb7, 0xe0, 0xaa}, 4, {0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12}, 6},
};

static uint8_t modifier_bit(unsigned code)
{
	switch (code) {
	case KEY_LEFTCTRL:
	case KEY_RIGHTCTRL:
		return 1;
	case KEY_LEFTALT:
	case KEY_RIGHTALT:
		return 2;
	case KEY_LEFTSHIFT:
	case KEY_RIGHTSHIFT:
		return 4;
	}
	return 0;
}

static unsigned set1_of(unsigned code)
{
	if (code < G_N_ELEMENTS(set1_others) && set1_others[code])
		return set1_others[code];
	return code <= KEY_F12 && code != KEY_ZENKAKUHANKAKU && code != 84 ? code : 0;
}

/* False: the key is none of those with codes of their own. */
static bool put_special(struct ps2_keyboard *k, unsigned code, bool down)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(special); i++) {
		uint8_t modifier = special[i].modifier;

		if (special[i].key != code || special[i].down != down || (modifier && !(modifier & k->modifiers)))
			continue;
		if (k->set == 1)
			ps2_put(&k->port.events, PS2_EVENTS, special[i].set1, special[i].n1);
		else
			ps2_put(&k->port.events, PS2_EVENTS, special[i].set2, special[i].n2);
		return true;
	}
	return false;
}

static unsigned codes_of(const struct ps2_keyboard *k, unsigned code, bool down, uint8_t *out)
{
	unsigned set1 = set1_of(code), n = 0;

	if (k->set == 3) {
		if (code >= G_N_ELEMENTS(set3) || !set3[code])
			return 0;
		if (!down)
			out[n++] = BREAK;
		out[n++] = set3[code];
		return n;
	}
	if (!set1)
		return 0;
	if (set1 & 0x100)
		out[n++] = EXTENDED;
	if (k->set == 1) {
		out[n++] = (uint8_t)((set1 & 0x7f) | (down ? 0 : 0x80));
		return n;
	}
	if (!down)
		out[n++] = BREAK;
	out[n++] = set2_of(set1 & 0x7f);
	return n;
}

void ps2_keyboard_key(struct ps2_keyboard *k, unsigned code, bool down)
{
	uint8_t bit = modifier_bit(code), bytes[4];

	k->modifiers = (uint8_t)(down ? k->modifiers | bit : k->modifiers & ~bit);
	if (!k->port.enabled || (k->set != 3 && put_special(k, code, down)))
		return;
	/* A keyboard whose buffer is full loses keys. */
	ps2_put(&k->port.events, PS2_EVENTS, bytes, codes_of(k, code, down, bytes));
}

/* ---- commands ---- */

static void defaults(struct ps2_keyboard *k)
{
	k->port.events = (struct ps2_queue){0};
	k->rate = RATE_DEFAULT;
	k->set = 2;
}

void ps2_keyboard_reset(struct ps2_keyboard *k)
{
	memset(k, 0, sizeof(*k));
	defaults(k);
	k->port.enabled = true;
}

static void identify(struct ps2_keyboard *k)
{
	ps2_answer(&k->port, 0xab);
	ps2_answer(&k->port, 0x83);
}

static void parameter(struct ps2_keyboard *k, uint8_t v)
{
	uint8_t command = k->port.command;

	k->port.command = 0;
	ps2_answer(&k->port, ACK);
	switch (command) {
	case CMD_LEDS: /* scroll, num, caps from bit 0 on */
		k->leds = (uint8_t)((v & 1 ? INPUT_LED_SCROLL : 0) | (v & 2 ? INPUT_LED_NUM : 0) | (v & 4 ? INPUT_LED_CAPS : 0));
		break;
	case CMD_RATE:
		k->rate = v & 0x7f;
		break;
	case CMD_SET:
		if (!v)
			ps2_answer(&k->port, k->set);
		else if (v <= 3)
			k->set = v;
		break;
	case CMD_ONE_KEY: /* a list of keys, which the next command ends */
		k->port.command = CMD_ONE_KEY;
		break;
	}
}

static void reset_by_host(struct ps2_keyboard *k)
{
	uint8_t modifiers = k->modifiers;

	ps2_keyboard_reset(k);
	k->modifiers = modifiers;
	ps2_answer(&k->port, ACK);
	ps2_answer(&k->port, SELF_TEST_PASSED);
}

static void command(struct ps2_keyboard *k, uint8_t v)
{
	switch (v) {
	case CMD_ECHO:
		ps2_answer(&k->port, ECHO);
		return;
	case CMD_RESEND:
		ps2_answer(&k->port, k->port.last);
		return;
	case CMD_RESET:
		reset_by_host(k);
		return;
	case CMD_LEDS:
	case CMD_RATE:
	case CMD_SET:
		k->port.command = v;
		break;
	case CMD_ONE_KEY ... CMD_ONE_KEY_LAST:
		k->port.command = CMD_ONE_KEY;
		break;
	case CMD_ALL_KEYS ... CMD_ALL_KEYS_LAST:
	case CMD_IDENTIFY:
		break;
	case CMD_ENABLE:
		k->port.events = (struct ps2_queue){0};
		k->port.enabled = true;
		break;
	case CMD_DISABLE:
	case CMD_DEFAULTS:
		defaults(k);
		k->port.enabled = v == CMD_DEFAULTS;
		break;
	default:
		ps2_answer(&k->port, RESEND);
		return;
	}
	ps2_answer(&k->port, ACK);
	if (v == CMD_IDENTIFY)
		identify(k);
}

void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t byte)
{
	/* A byte from 0xed on is a command, even where a parameter was due. */
	if (k->port.command && byte < CMD_LEDS)
		parameter(k, byte);
	else {
		k->port.command = 0;
		command(k, byte);
	}
}

static const struct state_field queue_fields[] = {STATE_RAW(struct ps2_queue, data), STATE_INT(struct ps2_queue, head, STATE_U8),
						  STATE_INT(struct ps2_queue, count, STATE_U8), STATE_END};

const struct state_field ps2_port_fields[] = {STATE_ONE(struct ps2_port, answers, queue_fields),
					      STATE_ONE(struct ps2_port, events, queue_fields),
					      STATE_INT(struct ps2_port, last, STATE_U8),
					      STATE_INT(struct ps2_port, command, STATE_U8),
					      STATE_INT(struct ps2_port, enabled, STATE_BOOL),
					      STATE_END};

const struct state_field ps2_keyboard_fields[] = {STATE_ONE(struct ps2_keyboard, port, ps2_port_fields),
						  STATE_INT(struct ps2_keyboard, set, STATE_U8),
						  STATE_INT(struct ps2_keyboard, leds, STATE_U8),
						  STATE_INT(struct ps2_keyboard, rate, STATE_U8),
						  STATE_INT(struct ps2_keyboard, modifiers, STATE_U8),
						  STATE_END};
