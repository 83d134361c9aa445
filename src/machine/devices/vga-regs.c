/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers of the VGA at ports 0x3b0-0x3df (IBM VGA technical reference; FreeVGA project's hardware description): sequencer,
 * graphics controller, attribute controller, CRT controller, DAC. A write that changes the picture marks it. Called by vga.c.
 */
#include <string.h>

#include "vga.h"

enum { ATTR_LAST = 0x14, CRTC_LAST = 0x18, CRTC_PROTECT = 0x11, CRTC_OVERFLOW = 7 };
enum { MISC_COLOR = 1, STATUS_BLANK = 1, STATUS_RETRACE = 8, OVERFLOW_COMPARE = 0x10 };
enum { CRTC_CURSOR_START = 0xa, CRTC_CURSOR_END = 0xb, CRTC_CURSOR_HIGH = 0xe, CRTC_CURSOR_LOW = 0xf };

/* Bits that are there. */
static const uint8_t seq_mask[8] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e, 0, 0, 0xff};
static const uint8_t gfx_mask[16] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};
static const uint8_t attr_mask[ATTR_LAST + 1] = {0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f,
						 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0xef, 0xff, 0x3f, 0x0f, 0x0f};

static bool set(struct vga *v, uint8_t *reg, uint8_t data)
{
	bool changed = *reg != data;

	*reg = data;
	v->redraw |= changed;
	return changed;
}

static void seq_write(struct vga *v, uint8_t data)
{
	unsigned n = v->seq_index & 7;

	/* The plane mask changes with every few bytes, and nothing of what is shown. */
	if (n == 2)
		v->seq[n] = data & seq_mask[n];
	else
		set(v, &v->seq[n], data & seq_mask[n]);
	vga_sync_window(v);
}

static void gfx_write(struct vga *v, uint8_t data)
{
	unsigned n = v->gfx_index & 15;

	if (n < 5 || n > 6)
		v->gfx[n] = data & gfx_mask[n];
	else if (set(v, &v->gfx[n], data & gfx_mask[n]))
		vga_sync_window(v);
}

static void crtc_write(struct vga *v, uint8_t data)
{
	unsigned n = v->crtc_index;

	if (n > CRTC_LAST)
		return;
	if (n <= CRTC_OVERFLOW && v->crtc[CRTC_PROTECT] & 0x80) {
		if (n == CRTC_OVERFLOW)
			set(v, &v->crtc[n], (uint8_t)((v->crtc[n] & ~OVERFLOW_COMPARE) | (data & OVERFLOW_COMPARE)));
		return;
	}
	if (n == CRTC_CURSOR_START || n == CRTC_CURSOR_END || n == CRTC_CURSOR_HIGH || n == CRTC_CURSOR_LOW) {
		if (v->crtc[n] != data)
			v->cursor_time = (uint64_t)g_get_monotonic_time();
		v->crtc[n] = data;
	} else {
		set(v, &v->crtc[n], data);
	}
}

static void attr_write(struct vga *v, uint8_t data)
{
	unsigned n = v->attr_index & 31;

	if (!v->attr_data)
		set(v, &v->attr_index, data & 0x3f);
	else if (n <= ATTR_LAST)
		set(v, &v->attr[n], data & attr_mask[n]);
	v->attr_data = !v->attr_data;
}

static uint8_t dac_read(struct vga *v)
{
	uint8_t data = v->dac[v->dac_read * 3 + v->dac_sub];

	if (++v->dac_sub == 3) {
		v->dac_sub = 0;
		v->dac_read++;
	}
	return data;
}

/* A color changes when all three of its parts are there. */
static void dac_write(struct vga *v, uint8_t data)
{
	v->dac_cache[v->dac_sub] = data;
	if (++v->dac_sub < 3)
		return;
	v->dac_sub = 0;
	v->redraw |= memcmp(v->dac + v->dac_write * 3, v->dac_cache, 3) != 0;
	memcpy(v->dac + v->dac_write * 3, v->dac_cache, 3);
	v->dac_write++;
}

/* Retrace comes and goes with each look, so that who waits for either goes on. */
static uint8_t status_read(struct vga *v)
{
	v->attr_data = false;
	v->status ^= STATUS_BLANK | STATUS_RETRACE;
	return v->status;
}

/* The CRT controller and the status are at 0x3bx or 0x3dx, by a bit of the miscellaneous output. */
static bool is_elsewhere(const struct vga *v, unsigned port)
{
	return (port < 0x3c0 && v->misc & MISC_COLOR) || (port >= 0x3d0 && !(v->misc & MISC_COLOR));
}

uint8_t vga_port_read(struct vga *v, unsigned port)
{
	if (is_elsewhere(v, port))
		return 0xff;
	switch (port < 0x3c0 ? port + 0x20 : port) {
	case 0x3c0:
		return v->attr_data ? 0 : v->attr_index;
	case 0x3c1:
		return (v->attr_index & 31) <= ATTR_LAST ? v->attr[v->attr_index & 31] : 0;
	case 0x3c2:
		return 0;
	case 0x3c4:
		return v->seq_index;
	case 0x3c5:
		return v->seq[v->seq_index & 7];
	case 0x3c6:
		return v->dac_mask;
	case 0x3c7:
		return v->dac_state;
	case 0x3c8:
		return v->dac_write;
	case 0x3c9:
		return dac_read(v);
	case 0x3ca:
		return v->feature;
	case 0x3cc:
		return v->misc;
	case 0x3ce:
		return v->gfx_index;
	case 0x3cf:
		return v->gfx[v->gfx_index & 15];
	case 0x3d4:
		return v->crtc_index;
	case 0x3d5:
		return v->crtc[v->crtc_index & 31];
	case 0x3da:
		return status_read(v);
	default:
		return 0xff;
	}
}

void vga_port_write(struct vga *v, unsigned port, uint8_t data)
{
	if (is_elsewhere(v, port))
		return;
	switch (port < 0x3c0 ? port + 0x20 : port) {
	case 0x3c0:
	case 0x3c1:
		attr_write(v, data);
		break;
	case 0x3c2:
		set(v, &v->misc, data & ~0x10);
		break;
	case 0x3c4:
		v->seq_index = data & 7;
		break;
	case 0x3c5:
		seq_write(v, data);
		break;
	case 0x3c6:
		set(v, &v->dac_mask, data);
		break;
	case 0x3c7:
		v->dac_read = data;
		v->dac_sub = 0;
		v->dac_state = 3;
		break;
	case 0x3c8:
		v->dac_write = data;
		v->dac_sub = 0;
		v->dac_state = 0;
		break;
	case 0x3c9:
		dac_write(v, data);
		break;
	case 0x3ce:
		v->gfx_index = data & 15;
		break;
	case 0x3cf:
		gfx_write(v, data);
		break;
	case 0x3d4:
		v->crtc_index = data & 31;
		break;
	case 0x3d5:
		crtc_write(v, data);
		break;
	case 0x3da:
		v->feature = data & 0x10;
		break;
	}
}

void vga_reset_registers(struct vga *v)
{
	v->misc = MISC_COLOR;
	v->feature = v->status = 0;
	v->seq_index = v->gfx_index = v->crtc_index = v->attr_index = 0;
	memset(v->seq, 0, sizeof(v->seq));
	memset(v->gfx, 0, sizeof(v->gfx));
	memset(v->crtc, 0, sizeof(v->crtc));
	memset(v->attr, 0, sizeof(v->attr));
	v->attr_data = false;
	v->dac_state = v->dac_sub = v->dac_read = v->dac_write = 0;
	v->dac_mask = 0xff;
	memset(v->dac_cache, 0, sizeof(v->dac_cache));
	memset(v->dac, 0, sizeof(v->dac));
	v->latch = 0;
	v->vbe_index = 0;
	memset(v->vbe, 0, sizeof(v->vbe));
	vga_vbe_fix(v);
	v->redraw = true;
}
