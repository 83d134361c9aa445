/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PS/2 mouse (IBM PS/2 Technical Reference, "Mouse") that becomes an IntelliMouse with a wheel, or one with five buttons, when
 * its driver knocks with the right sample rates. Called by i8042.c.
 */
#include <string.h>

#include <linux/input-event-codes.h>

#include "ps2.h"

enum { ACK = 0xfa, NACK = 0xfe, SELF_TEST_PASSED = 0xaa };
enum {
	CMD_SCALE_1 = 0xe6,
	CMD_SCALE_2 = 0xe7,
	CMD_RESOLUTION = 0xe8,
	CMD_STATUS = 0xe9,
	CMD_STREAM = 0xea,
	CMD_READ = 0xeb,
	CMD_UNWRAP = 0xec,
	CMD_WRAP = 0xee,
	CMD_REMOTE = 0xf0,
	CMD_IDENTIFY = 0xf2,
	CMD_RATE = 0xf3,
	CMD_ENABLE = 0xf4,
	CMD_DISABLE = 0xf5,
	CMD_DEFAULTS = 0xf6,
	CMD_RESEND = 0xfe,
	CMD_RESET = 0xff
};
enum { ID_PLAIN = 0, ID_WHEEL = 3, ID_BUTTONS = 4 };

#define RATE_DEFAULT	   100
#define RESOLUTION_DEFAULT 2
#define MOVED_MAX	   (1 << 20) /* that waits for a report */
#define REPORT_MAX	   4

/* ---- reports ---- */

static int take(uint32_t *v, int min, int max)
{
	int n = CLAMP((int32_t)*v, min, max);

	*v -= (uint32_t)n;
	return n;
}

/* 2:1 scaling; not in remote mode. */
static int scale(const struct ps2_mouse *m, int v)
{
	static const int8_t small[] = {0, 1, 1, 3, 6, 9};
	int n = ABS(v);

	if (!m->scaling || m->remote)
		return v;
	n = n < (int)G_N_ELEMENTS(small) ? small[n] : 2 * n;
	return v < 0 ? -n : n;
}

/* 9 bits each of x and y; a fourth byte has the wheel, and buttons four and five. */
static unsigned make_report(struct ps2_mouse *m, uint8_t out[REPORT_MAX])
{
	int limit = m->scaling && !m->remote ? 127 : 255;
	int dx = scale(m, take(&m->dx, -limit, limit)), dy = scale(m, take(&m->dy, -limit, limit)), dz = take(&m->dz, -8, 7);

	out[0] = (uint8_t)(8 | (m->buttons & 7) | (dx < 0 ? 0x10 : 0) | (dy < 0 ? 0x20 : 0));
	out[1] = (uint8_t)dx;
	out[2] = (uint8_t)dy;
	out[3] = m->id == ID_BUTTONS ? (uint8_t)((dz & 15) | (m->buttons & 0x18) << 1) : (uint8_t)dz;
	return m->id == ID_PLAIN ? 3 : 4;
}

void ps2_mouse_report(struct ps2_mouse *m)
{
	uint8_t bytes[REPORT_MAX];

	while (m->moved && m->port.enabled && !m->remote && !m->wrap &&
	       m->port.events.count + REPORT_MAX <= PS2_EVENTS / 2) {
		ps2_put(&m->port.events, PS2_EVENTS, bytes, make_report(m, bytes));
		m->moved = m->dx || m->dy || m->dz;
	}
}

static void add(uint32_t *v, int by)
{
	*v = (uint32_t)CLAMP((int64_t)(int32_t)*v + by, -MOVED_MAX, MOVED_MAX);
}

void ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int dz)
{
	if (!m->port.enabled && !m->remote)
		return;
	add(&m->dx, dx);
	add(&m->dy, dy);
	if (m->id != ID_PLAIN)
		add(&m->dz, dz);
	m->moved = true;
}

void ps2_mouse_button(struct ps2_mouse *m, unsigned code, bool down)
{
	static const unsigned codes[] = {BTN_LEFT, BTN_RIGHT, BTN_MIDDLE, BTN_SIDE, BTN_EXTRA};

	for (unsigned i = 0; i < G_N_ELEMENTS(codes); i++)
		if (codes[i] == code) {
			/* What moved before is a report of its own: a click belongs to a place. */
			ps2_mouse_report(m);
			m->buttons = (uint8_t)(down ? m->buttons | 1u << i : m->buttons & ~(1u << i));
			m->moved = m->moved || m->port.enabled;
		}
}

static void forget(struct ps2_mouse *m)
{
	m->dx = m->dy = m->dz = 0;
	m->moved = false;
	m->port.events = (struct ps2_queue){0};
}

/* ---- commands ---- */

static void defaults(struct ps2_mouse *m)
{
	forget(m);
	m->rate = RATE_DEFAULT;
	m->resolution = RESOLUTION_DEFAULT;
	m->scaling = 0;
	m->remote = m->port.enabled = false;
}

void ps2_mouse_reset(struct ps2_mouse *m)
{
	uint8_t buttons = m->buttons;

	memset(m, 0, sizeof(*m));
	m->buttons = buttons;
	defaults(m);
}

static void status(struct ps2_mouse *m)
{
	uint8_t b = m->buttons;

	ps2_answer(&m->port, (uint8_t)((m->remote ? 0x40 : 0) | (m->port.enabled ? 0x20 : 0) | (m->scaling ? 0x10 : 0) |
				       (b & 1 ? 4 : 0) | (b & 4 ? 2 : 0) | (b & 2 ? 1 : 0)));
	ps2_answer(&m->port, m->resolution);
	ps2_answer(&m->port, m->rate);
}

static void read_data(struct ps2_mouse *m)
{
	uint8_t bytes[REPORT_MAX];
	unsigned n = make_report(m, bytes);

	m->moved = m->dx || m->dy || m->dz;
	ps2_put(&m->port.answers, PS2_ANSWERS, bytes, n);
}

/* 200, 100, 80 and 200, 200, 80. */
static void set_rate(struct ps2_mouse *m, uint8_t v)
{
	if (v == 80 && m->rates[0] == 200 && m->rates[1] == 100)
		m->id = ID_WHEEL;
	else if (v == 80 && m->rates[0] == 200 && m->rates[1] == 200)
		m->id = ID_BUTTONS;
	m->rates[0] = m->rates[1];
	m->rates[1] = m->rate = v;
}

static void parameter(struct ps2_mouse *m, uint8_t v)
{
	uint8_t command = m->port.command;

	m->port.command = 0;
	if (command == CMD_RESOLUTION && v > 3) {
		ps2_answer(&m->port, NACK);
		return;
	}
	if (command == CMD_RESOLUTION)
		m->resolution = v;
	else
		set_rate(m, v);
	ps2_answer(&m->port, ACK);
}

/* False: there is no such command. */
static bool mode_command(struct ps2_mouse *m, uint8_t v)
{
	switch (v) {
	case CMD_SCALE_1:
	case CMD_SCALE_2:
		m->scaling = v == CMD_SCALE_2;
		return true;
	case CMD_RESOLUTION:
	case CMD_RATE:
		m->port.command = v;
		return true;
	case CMD_STREAM:
	case CMD_REMOTE:
		forget(m);
		m->remote = v == CMD_REMOTE;
		return true;
	case CMD_WRAP:
	case CMD_UNWRAP:
		forget(m);
		m->wrap = v == CMD_WRAP;
		return true;
	case CMD_ENABLE:
	case CMD_DISABLE:
		forget(m);
		m->port.enabled = v == CMD_ENABLE;
		return true;
	case CMD_DEFAULTS:
		defaults(m);
		return true;
	case CMD_STATUS:
	case CMD_READ:
	case CMD_IDENTIFY:
		return true;
	}
	return false;
}

static void command(struct ps2_mouse *m, uint8_t v)
{
	if (v == CMD_RESET) {
		ps2_mouse_reset(m);
		ps2_answer(&m->port, ACK);
		ps2_answer(&m->port, SELF_TEST_PASSED);
		ps2_answer(&m->port, ID_PLAIN);
		return;
	}
	if (v == CMD_RESEND) {
		ps2_answer(&m->port, m->port.last);
		return;
	}
	if (!mode_command(m, v)) {
		ps2_answer(&m->port, NACK);
		return;
	}
	ps2_answer(&m->port, ACK);
	if (v == CMD_STATUS)
		status(m);
	else if (v == CMD_READ)
		read_data(m);
	else if (v == CMD_IDENTIFY)
		ps2_answer(&m->port, m->id);
}

void ps2_mouse_write(struct ps2_mouse *m, uint8_t byte)
{
	if (m->wrap && byte != CMD_UNWRAP && byte != CMD_RESET)
		ps2_answer(&m->port, byte);
	else if (m->port.command)
		parameter(m, byte);
	else
		command(m, byte);
}

const struct state_field ps2_mouse_fields[] = {STATE_ONE(struct ps2_mouse, port, ps2_port_fields),
					       STATE_INT(struct ps2_mouse, id, STATE_U8),
					       STATE_INT(struct ps2_mouse, rate, STATE_U8),
					       STATE_INT(struct ps2_mouse, resolution, STATE_U8),
					       STATE_INT(struct ps2_mouse, scaling, STATE_U8),
					       STATE_RAW(struct ps2_mouse, rates),
					       STATE_INT(struct ps2_mouse, remote, STATE_BOOL),
					       STATE_INT(struct ps2_mouse, wrap, STATE_BOOL),
					       STATE_INT(struct ps2_mouse, moved, STATE_BOOL),
					       STATE_INT(struct ps2_mouse, buttons, STATE_U8),
					       STATE_INT(struct ps2_mouse, dx, STATE_U32),
					       STATE_INT(struct ps2_mouse, dy, STATE_U32),
					       STATE_INT(struct ps2_mouse, dz, STATE_U32),
					       STATE_END};
