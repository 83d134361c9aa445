/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bochs' VBE registers ("DISPI", bochs: docs of iodev/display, VBE_DISPI_*): linear and banked modes of any size. Sizes that
 * do not fit the memory are made to fit when a mode is switched on. Called by vga.c for ports 0x1ce and 0x1cf, and for its
 * BAR.
 */
#include <string.h>

#include "vga.h"

enum { ID_FIRST = 0xb0c0, ID_LAST = 0xb0c5, MAX_XRES = 16000, MAX_YRES = 12000, MAX_BPP = 32 };

bool vga_vbe_on(const struct vga *v)
{
	return v->vbe[VBE_ENABLE] & VBE_ENABLED;
}

/* 15 bits take two bytes, four a half. */
static uint32_t bytes_of(uint32_t bpp, uint32_t pixels)
{
	return bpp == 4 ? pixels / 2 : pixels * ((bpp + 7) / 8);
}

uint32_t vga_vbe_stride(const struct vga *v)
{
	return bytes_of(v->vbe[VBE_BPP], v->vbe[VBE_VIRT_WIDTH]);
}

static bool bpp_is_known(uint16_t bpp)
{
	return bpp == 4 || bpp == 8 || bpp == 15 || bpp == 16 || bpp == 24 || bpp == 32;
}

void vga_vbe_fix(struct vga *v)
{
	uint16_t *r = v->vbe;
	uint32_t stride, lines;

	if (r[VBE_ID] < ID_FIRST || r[VBE_ID] > ID_LAST)
		r[VBE_ID] = ID_LAST;
	r[VBE_MEMORY_64K] = VGA_MEMORY >> 16;
	r[VBE_BANK] %= VGA_MEMORY >> 16;
	if (!vga_vbe_on(v))
		return;
	if (!bpp_is_known(r[VBE_BPP]))
		r[VBE_BPP] = 8;
	r[VBE_XRES] = CLAMP(r[VBE_XRES] & ~7, 8, MAX_XRES);
	if (r[VBE_VIRT_WIDTH] < r[VBE_XRES])
		r[VBE_VIRT_WIDTH] = r[VBE_XRES];
	r[VBE_VIRT_WIDTH] &= ~7;
	stride = vga_vbe_stride(v);
	lines = VGA_MEMORY / stride;
	r[VBE_YRES] = (uint16_t)CLAMP(r[VBE_YRES], 1, MIN(lines, MAX_YRES));
	r[VBE_VIRT_HEIGHT] = (uint16_t)MIN(lines, UINT16_MAX);
	if (r[VBE_X_OFFSET] + r[VBE_XRES] > r[VBE_VIRT_WIDTH])
		r[VBE_X_OFFSET] = 0;
	if ((uint32_t)r[VBE_Y_OFFSET] + r[VBE_YRES] > lines)
		r[VBE_Y_OFFSET] = 0;
}

uint16_t vga_vbe_read(struct vga *v, unsigned index)
{
	bool caps = v->vbe[VBE_ENABLE] & VBE_GETCAPS;

	switch (index) {
	case VBE_XRES:
		return caps ? MAX_XRES : v->vbe[index];
	case VBE_YRES:
		return caps ? MAX_YRES : v->vbe[index];
	case VBE_BPP:
		return caps ? MAX_BPP : v->vbe[index];
	default:
		return index < VBE_REGISTERS ? v->vbe[index] : 0;
	}
}

static void enable(struct vga *v, uint16_t data)
{
	bool was_on = vga_vbe_on(v);

	v->vbe[VBE_ENABLE] = data & (VBE_ENABLED | VBE_GETCAPS | VBE_8BIT_DAC | VBE_LINEAR | VBE_NO_CLEAR);
	if (vga_vbe_on(v) && !was_on) {
		v->vbe[VBE_BANK] = v->vbe[VBE_X_OFFSET] = v->vbe[VBE_Y_OFFSET] = 0;
		v->vbe[VBE_VIRT_WIDTH] = v->vbe[VBE_XRES];
		vga_vbe_fix(v);
		if (!(data & VBE_NO_CLEAR)) {
			uint32_t len = v->vbe[VBE_YRES] * vga_vbe_stride(v);

			memset(v->vram->host, 0, len);
			vga_touched(v, 0, len);
		}
	} else if (!vga_vbe_on(v)) {
		v->vbe[VBE_BANK] = 0;
	}
	v->redraw = true;
	vga_sync_window(v);
}

void vga_vbe_write(struct vga *v, unsigned index, uint16_t data)
{
	switch (index) {
	case VBE_ID:
		if (data >= ID_FIRST && data <= ID_LAST)
			v->vbe[index] = data;
		break;
	case VBE_ENABLE:
		enable(v, data);
		break;
	case VBE_BANK:
		v->vbe[index] = data % (VGA_MEMORY >> 16);
		vga_sync_window(v);
		break;
	case VBE_XRES:
	case VBE_YRES:
	case VBE_BPP:
	case VBE_VIRT_WIDTH:
	case VBE_X_OFFSET:
	case VBE_Y_OFFSET:
		v->redraw |= v->vbe[index] != data;
		v->vbe[index] = data;
		vga_vbe_fix(v);
		vga_sync_window(v);
		break;
	}
}
