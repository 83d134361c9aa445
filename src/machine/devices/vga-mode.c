/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the VGA's registers to what there is to show (IBM VGA technical reference; FreeVGA: CRT controller, "how the picture is
 * made"). A character clock shows one 32-bit word of video memory. Called by vga.c before it paints.
 */
#include <string.h>

#include "vga.h"

enum { SEQ_CLOCKING = 1, CLOCKING_8_DOTS = 1, CLOCKING_HALF = 8, CLOCKING_OFF = 0x20 };
enum { GFX_MODE = 5, GFX_MISC = 6, MISC_GRAPHICS = 1 };
enum { ATTR_MODE = 0x10, ATTR_PAN = 0x13, ATTR_SELECT = 0x14, ATTR_SHOW = 0x20 };
enum { MODE_COMPARE_PANS = 0x20, MODE_SELECT_LOW = 0x80 };
enum { CRTC_CHARS = 1, CRTC_OVERFLOW = 7, CRTC_PRESET, CRTC_ROWS, CRTC_START_HIGH = 0xc, CRTC_START_LOW = 0xd };
enum { CRTC_LINES = 0x12, CRTC_OFFSET = 0x13, CRTC_MODE = 0x17, CRTC_COMPARE = 0x18 };

static uint32_t lines_of(const struct vga *v)
{
	return 1 + (v->crtc[CRTC_LINES] | (v->crtc[CRTC_OVERFLOW] & 2u) << 7 | (v->crtc[CRTC_OVERFLOW] & 0x40u) << 3);
}

static uint32_t compare_of(const struct vga *v)
{
	return v->crtc[CRTC_COMPARE] | (v->crtc[CRTC_OVERFLOW] & 0x10u) << 4 | (v->crtc[CRTC_ROWS] & 0x40u) << 3;
}

static void get_packed(const struct vga *v, struct vga_mode *m)
{
	uint32_t stride = vga_vbe_stride(v), x = v->vbe[VBE_X_OFFSET], y = v->vbe[VBE_Y_OFFSET];

	m->width = v->vbe[VBE_XRES];
	m->height = v->vbe[VBE_YRES];
	m->bits = v->vbe[VBE_BPP];
	if (m->bits == 4) {
		m->kind = VGA_PLANAR;
		m->start = (y * stride + x / 2) / 4;
		m->stride = stride / 4;
		m->chars = m->width / 8;
		m->row_lines = 1;
		m->pan = x & 7;
		m->compare = UINT32_MAX;
		return;
	}
	m->kind = VGA_PACKED;
	m->stride = stride;
	m->start = y * stride + x * ((m->bits + 7) / 8);
}

static void get_scan(const struct vga *v, struct vga_mode *m)
{
	m->start = (v->crtc[CRTC_START_HIGH] << 8 | v->crtc[CRTC_START_LOW]) + (v->crtc[CRTC_PRESET] >> 5 & 3u);
	m->stride = v->crtc[CRTC_OFFSET] * 2u;
	m->chars = v->crtc[CRTC_CHARS] + 1u;
	m->doubled = v->seq[SEQ_CLOCKING] & CLOCKING_HALF ? 1 : 0;
	m->row_lines = (v->crtc[CRTC_ROWS] & 31u) + 1;
	m->preset = v->crtc[CRTC_PRESET] & 31u;
	m->compare = compare_of(v);
	m->height = lines_of(v);
}

static void get_text(const struct vga *v, struct vga_mode *m)
{
	m->kind = VGA_TEXT;
	get_scan(v, m);
	/* Forty columns have no ninth dots, as in QEMU. */
	m->cell_width = m->doubled ? 16 : v->seq[SEQ_CLOCKING] & CLOCKING_8_DOTS ? 8 : 9;
	m->width = m->chars * m->cell_width;
	m->height = MAX(m->height / m->row_lines, 1u) * m->row_lines;
}

static void get_graphics(const struct vga *v, struct vga_mode *m)
{
	unsigned shift = v->gfx[GFX_MODE] >> 5 & 3;

	m->kind = shift == 0 ? VGA_PLANAR : shift == 1 ? VGA_CGA : VGA_256;
	get_scan(v, m);
	m->scan_double = v->crtc[CRTC_ROWS] >> 7;
	m->width = m->chars * 8 << m->doubled;
	m->pan = v->attr[ATTR_PAN] & 7u;
	m->compare_pan = v->attr[ATTR_MODE] & MODE_COMPARE_PANS ? 0 : m->pan;
	m->word_mode = !(v->crtc[CRTC_MODE] & 0x40);
	m->bank_scan = ~v->crtc[CRTC_MODE] & 3u;
}

void vga_get_mode(const struct vga *v, struct vga_mode *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (!(v->attr_index & ATTR_SHOW) || (!vga_vbe_on(v) && v->seq[SEQ_CLOCKING] & CLOCKING_OFF)) {
		ret->width = 640;
		ret->height = 400;
	} else if (vga_vbe_on(v)) {
		get_packed(v, ret);
	} else if (v->gfx[GFX_MISC] & MISC_GRAPHICS) {
		get_graphics(v, ret);
	} else {
		get_text(v, ret);
	}
}

static uint32_t widened(uint8_t part, bool eight)
{
	return eight ? part : (part << 2 & 0xfc) | (part >> 4 & 3);
}

void vga_get_palette(const struct vga *v, uint32_t palette[256])
{
	bool eight = v->vbe[VBE_ENABLE] & VBE_8BIT_DAC;

	for (unsigned i = 0; i < 256; i++) {
		const uint8_t *c = v->dac + 3 * (i & v->dac_mask);

		palette[i] = widened(c[0], eight) << 16 | widened(c[1], eight) << 8 | widened(c[2], eight);
	}
}

uint8_t vga_attribute_color(const struct vga *v, unsigned index)
{
	uint8_t color = v->attr[index & 15], select = v->attr[ATTR_SELECT];

	if (v->attr[ATTR_MODE] & MODE_SELECT_LOW)
		return (uint8_t)((select & 15) << 4 | (color & 15));
	return (uint8_t)((select & 12) << 4 | (color & 63));
}
