/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VGA by its registers: what each write mode makes of planes, what each display mode makes of memory, and how much of it is
 * told as changed. Modes are set by the tables of IBM's BIOS. A DAC entry's color is its number (vga_set_gray()).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "display.h"
#include "vga-rig.h"

enum { SEQ = 0x3c4, GFX = 0x3ce, CRTC = 0x3d4, VBE = 0x1ce, A0000 = 0xa0000, B8000 = 0xb8000 };
enum { BAR2 = VGA_RIG_BAR0 + VGA_MEMORY };

static uint32_t gray(unsigned n)
{
	return n * 0x010101u;
}

static int setup(void **state)
{
	struct vga_rig *r = g_new0(struct vga_rig, 1);

	vga_rig_open(r);
	vga_set_gray(r);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	vga_rig_close(*state);
	g_free(*state);
	return 0;
}

static void shows(struct vga_rig *r, uint32_t width, uint32_t height)
{
	struct display_surface s;

	display_refresh(r->core.display, 0);
	assert_true(display_get_surface(r->core.display, 0, &s));
	assert_int_equal(s.width, width);
	assert_int_equal(s.height, height);
}

static void damage_is(struct vga_rig *r, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
	r->damages = 0;
	display_refresh(r->core.display, 0);
	assert_int_equal(r->damages, 1);
	assert_int_equal(r->damage.x, x);
	assert_int_equal(r->damage.y, y);
	assert_int_equal(r->damage.width, width);
	assert_int_equal(r->damage.height, height);
	display_refresh(r->core.display, 0);
	assert_int_equal(r->damages, 1);
}

/* ---- text ---- */

static void put_glyph(struct vga_rig *r, unsigned character, unsigned line, uint8_t dots)
{
	vga_set(r, SEQ, 2, 4);
	vga_set(r, SEQ, 4, 6);
	vga_set(r, GFX, 5, 0);
	vga_set(r, GFX, 6, 5);
	vga_poke(r, A0000 + character * 32 + line, 1, dots);
	vga_set(r, SEQ, 2, 3);
	vga_set(r, SEQ, 4, 2);
	vga_set(r, GFX, 5, 0x10);
	vga_set(r, GFX, 6, 0x0e);
}

static void text_has_glyphs_and_colors(void **state)
{
	struct vga_rig *r = *state;

	vga_set_mode(r, &vga_text_mode);
	put_glyph(r, 'A', 0, 0xa1);
	put_glyph(r, 0xc4, 3, 0x01);
	put_glyph(r, 'B', 3, 0x01);
	vga_poke(r, B8000 + (80 + 2) * 2, 2, 0x1e00 | 'A');
	vga_poke(r, B8000, 2, 0x0700 | 0xc4);
	vga_poke(r, B8000 + 2, 2, 0x0700 | 'B');
	shows(r, 720, 400);
	for (unsigned x = 0; x < 9; x++)
		assert_int_equal(vga_pixel(r, 18 + x, 16), gray(x < 8 && 0xa1 >> (7 - x) & 1 ? 0x3e : 1));
	assert_int_equal(vga_pixel(r, 18, 17), gray(1));
	/* The ninth dot goes on in line graphics alone. */
	assert_int_equal(vga_pixel(r, 7, 3), gray(7));
	assert_int_equal(vga_pixel(r, 8, 3), gray(7));
	assert_int_equal(vga_pixel(r, 16, 3), gray(7));
	assert_int_equal(vga_pixel(r, 17, 3), gray(0));
	assert_int_equal(vga_peek(r, B8000, 4), 0x07420 << 12 | 0x7c4);
}

static void text_tells_cells(void **state)
{
	struct vga_rig *r = *state;

	vga_set_mode(r, &vga_text_mode);
	shows(r, 720, 400);
	vga_poke(r, B8000 + (3 * 80 + 10) * 2, 4, 0x17421741);
	damage_is(r, 90, 48, 18, 16);
	/* A cursor of lines 13 and 14 */
	vga_set(r, CRTC, 0xe, 0);
	vga_set(r, CRTC, 0xf, 5);
	vga_set(r, CRTC, 0xb, 14);
	vga_poke(r, B8000 + 5 * 2, 2, 0x0720);
	vga_set(r, CRTC, 0xa, 13);
	damage_is(r, 45, 0, 9, 16);
	assert_int_equal(vga_pixel(r, 46, 13), gray(7));
	assert_int_equal(vga_pixel(r, 46, 12), gray(0));
	assert_int_equal(vga_pixel(r, 46, 15), gray(0));
}

static void text_scrolls_and_splits(void **state)
{
	struct vga_rig *r = *state;

	vga_set_mode(r, &vga_text_mode);
	put_glyph(r, 'x', 0, 0xff);
	for (unsigned i = 0; i < 80 * 30; i++)
		vga_poke(r, B8000 + 2 * i, 2, 0x0020);
	vga_poke(r, B8000 + 2 * 160, 2, 0x0200 | 'x');
	vga_poke(r, B8000, 2, 0x0400 | 'x');
	vga_set(r, CRTC, 0xd, 160);
	shows(r, 720, 400);
	assert_int_equal(vga_pixel(r, 0, 0), gray(2));
	/* Below scanline 319 memory begins again. */
	vga_set(r, CRTC, 0x18, 319 & 0xff);
	vga_set(r, CRTC, 7, 0x1f);
	vga_set(r, CRTC, 9, 0x0f);
	shows(r, 720, 400);
	assert_int_equal(vga_pixel(r, 0, 319), gray(0));
	assert_int_equal(vga_pixel(r, 0, 320), gray(4));
	/* All but one line of a row is all of it. */
	vga_set(r, CRTC, 0x18, 320 & 0xff);
	shows(r, 720, 400);
	assert_int_equal(vga_pixel(r, 0, 320), gray(4));
	/* Line 0: nothing is split, nor shown twice. */
	vga_set(r, CRTC, 0x18, 0);
	vga_set(r, CRTC, 7, 0x0f);
	shows(r, 720, 400);
	assert_int_equal(vga_pixel(r, 0, 0), gray(2));
	assert_int_equal(vga_pixel(r, 0, 16), gray(0));
}

/* ---- planes ---- */

static unsigned color_at(struct vga_rig *r, uint32_t x, uint32_t y)
{
	static const uint8_t dac[] = {0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f};
	uint32_t p = vga_pixel(r, x, y) & 0xff;

	for (unsigned i = 0; i < 16; i++)
		if (dac[i] == p)
			return i;
	fail_msg("pixel %u,%u is of no color: %x", x, y, p);
	return 0;
}

static void has(struct vga_rig *r, const char *colors)
{
	char found[9] = "";

	display_refresh(r->core.display, 0);
	for (unsigned i = 0; i < 8; i++)
		found[i] = "0123456789abcdef"[color_at(r, i, 0)];
	assert_string_equal(found, colors);
}

static void planes_are_written(void **state)
{
	struct vga_rig *r = *state;

	vga_set_mode(r, &vga_planar_mode);
	shows(r, 640, 480);
	/* mode 0: rotated by one; planes 0 and 3 */
	vga_set(r, SEQ, 2, 9);
	vga_set(r, GFX, 3, 1);
	vga_poke(r, A0000, 1, 0x81);
	has(r, "99000000");
	/* set/reset of planes 1 and 3 (1: on, 3: off), data for the others */
	vga_set(r, SEQ, 2, 0xf);
	vga_set(r, GFX, 3, 0);
	vga_set(r, GFX, 0, 2);
	vga_set(r, GFX, 1, 0xa);
	vga_poke(r, A0000, 1, 0x0f);
	has(r, "22227777");
	vga_set(r, GFX, 1, 0);
	/* exclusive or with the latch, under a mask */
	vga_peek(r, A0000, 1);
	vga_set(r, GFX, 3, 0x18);
	vga_set(r, GFX, 8, 0x3c);
	vga_poke(r, A0000, 1, 0xff);
	has(r, "22dd8877");
	/* mode 2: a color, under a mask, onto what the latch has */
	vga_set(r, GFX, 3, 0);
	vga_peek(r, A0000, 1);
	vga_set(r, GFX, 5, 2);
	vga_set(r, GFX, 8, 0x81);
	vga_poke(r, A0000, 1, 0xe);
	has(r, "e2dd887e");
	/* mode 3: set/reset where the data is and the mask */
	vga_peek(r, A0000, 1);
	vga_set(r, GFX, 5, 3);
	vga_set(r, GFX, 0, 5);
	vga_set(r, GFX, 8, 0xf0);
	vga_poke(r, A0000, 1, 0x3c);
	has(r, "e255887e");
	/* mode 1: the latch as it is */
	vga_poke(r, A0000 + 1, 1, 0);
	vga_peek(r, A0000 + 1, 1);
	vga_set(r, GFX, 5, 1);
	vga_poke(r, A0000, 1, 0x55);
	display_refresh(r->core.display, 0);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(color_at(r, i, 0), color_at(r, 8 + i, 0));
}

static void planes_are_read(void **state)
{
	struct vga_rig *r = *state;

	vga_set_mode(r, &vga_planar_mode);
	for (unsigned plane = 0; plane < 4; plane++) {
		vga_set(r, SEQ, 2, 1 << plane);
		vga_poke(r, A0000 + 5, 1, 0x11 << plane);
	}
	for (unsigned plane = 0; plane < 4; plane++) {
		vga_set(r, GFX, 4, plane);
		assert_int_equal(vga_peek(r, A0000 + 5, 1), 0x11 << plane);
	}
	/* Where the color is 4, and of planes 2 and 1 alone. */
	vga_set(r, GFX, 5, 8);
	vga_set(r, GFX, 2, 4);
	assert_int_equal(vga_peek(r, A0000 + 5, 1), 0x44);
	vga_set(r, GFX, 2, 0);
	vga_set(r, GFX, 7, 6);
	assert_int_equal(vga_peek(r, A0000 + 5, 1), 0x99);
}

static void planes_pan_and_split(void **state)
{
	struct vga_rig *r = *state;

	vga_set_mode(r, &vga_planar_mode);
	vga_poke(r, A0000, 1, 0x80);
	vga_poke(r, A0000 + 80, 1, 0x01);
	vga_in(r, 0x3da, 1);
	vga_out(r, 0x3c0, 1, 0x33);
	vga_out(r, 0x3c0, 1, 3);
	vga_set(r, CRTC, 0xd, 80);
	/* Below line 99 memory begins anew. */
	vga_set(r, CRTC, 0x18, 99);
	vga_set(r, CRTC, 7, 0x2e);
	vga_set(r, CRTC, 9, 0);
	shows(r, 640, 480);
	assert_int_equal(color_at(r, 4, 0), 15);
	assert_int_equal(color_at(r, 7, 0), 0);
	assert_int_equal(color_at(r, 4, 101), 15);
	/* The lower part does not pan. */
	vga_in(r, 0x3da, 1);
	vga_out(r, 0x3c0, 1, 0x30);
	vga_out(r, 0x3c0, 1, 0x21);
	shows(r, 640, 480);
	assert_int_equal(color_at(r, 4, 0), 15);
	assert_int_equal(color_at(r, 0, 100), 15);
	assert_int_equal(color_at(r, 7, 101), 15);
}

/* ---- bytes and pairs ---- */

static void mode_13h_is_linear(void **state)
{
	struct vga_rig *r = *state;

	vga_set_mode(r, &vga_256_mode);
	assert_true(r->vga->window_on);
	assert_int_equal(r->vga->window->gpa, A0000);
	assert_ptr_equal(r->vga->window->host, r->vga->vram->host);
	shows(r, 640, 400);
	vga_poke(r, A0000 + 320 * 10 + 7, 1, 200);
	vga_poke(r, A0000 + 320 * 199 + 319, 1, 99);
	r->damages = 0;
	display_refresh(r->core.display, 0);
	assert_true(r->damages >= 1 && r->damages <= 2);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(vga_pixel(r, 14 + (i & 1), 20 + i / 2), gray(200));
	assert_int_equal(vga_pixel(r, 16, 20), gray(0));
	assert_int_equal(vga_pixel(r, 639, 399), gray(99));
	/* What the guest writes without an exit is found by its page: here the mark of it is ours. */
	vga_set(r, SEQ, 2, 1);
	assert_false(r->vga->window_on);
	vga_poke(r, A0000, 4, 0x01020304);
	assert_int_equal(vga_peek(r, A0000, 4), 4);
}

static void mode_x_has_planes(void **state)
{
	struct vga_rig *r = *state;

	vga_set_mode(r, &vga_256_mode);
	vga_set(r, SEQ, 4, 6);
	vga_set(r, CRTC, 0x14, 0);
	vga_set(r, CRTC, 0x17, 0xe3);
	assert_false(r->vga->window_on);
	for (unsigned plane = 0; plane < 4; plane++) {
		vga_set(r, SEQ, 2, 1 << plane);
		vga_poke(r, A0000 + 80, 1, 10 + plane);
	}
	shows(r, 640, 400);
	for (unsigned x = 0; x < 4; x++)
		assert_int_equal(vga_pixel(r, 2 * x, 2), gray(10 + x));
}

static void cga_has_two_banks(void **state)
{
	struct vga_rig *r = *state;

	vga_set_mode(r, &vga_cga_mode);
	vga_poke(r, B8000, 2, 0xe41b);		/* 0123 3210 */
	vga_poke(r, B8000 + 0x2000, 1, 0xc0);	/* line 1 */
	vga_poke(r, B8000 + 80, 1, 0x40);	/* line 2 */
	shows(r, 640, 400);
	for (unsigned i = 0; i < 8; i++) {
		static const uint8_t dac[] = {0, 0x13, 0x15, 0x17}, wanted[] = {0, 1, 2, 3, 3, 2, 1, 0};

		assert_int_equal(vga_pixel(r, 2 * i, 0), gray(dac[wanted[i]]));
		assert_int_equal(vga_pixel(r, 2 * i + 1, 1), gray(dac[wanted[i]]));
	}
	assert_int_equal(vga_pixel(r, 0, 2), gray(0x17));
	assert_int_equal(vga_pixel(r, 0, 4), gray(0x13));
}

/* ---- VBE ---- */

static void vbe_mode(struct vga_rig *r, unsigned width, unsigned height, unsigned bits)
{
	vga_set(r, VBE, VBE_ENABLE, 0);
	vga_set(r, VBE, VBE_XRES, width);
	vga_set(r, VBE, VBE_YRES, height);
	vga_set(r, VBE, VBE_BPP, bits);
	vga_set(r, VBE, VBE_ENABLE, VBE_ENABLED | VBE_LINEAR | VBE_8BIT_DAC);
	vga_out(r, 0x3c0, 1, 0x20);
}

static void vbe_has_all_depths(void **state)
{
	static const struct {
		unsigned bits;
		uint32_t stored, shown;
	} depths[] = {{8, 0x77, 0x777777}, {15, 0x7c1f, 0xff00ff}, {16, 0x07e0, 0x00ff00}, {24, 0x123456, 0x123456},
		      {32, 0x123456, 0x123456}};
	struct vga_rig *r = *state;

	vga_in(r, 0x3da, 1);
	for (unsigned i = 0; i < G_N_ELEMENTS(depths); i++) {
		unsigned bytes = (depths[i].bits + 7) / 8;

		vbe_mode(r, 800, 600, depths[i].bits);
		shows(r, 800, 600);
		for (unsigned b = 0; b < bytes; b++)
			vga_poke(r, A0000 + 9 * bytes + b, 1, depths[i].stored >> 8 * b & 0xff);
		display_refresh(r->core.display, 0);
		assert_int_equal(vga_pixel(r, 9, 0), depths[i].shown);
		assert_int_equal(vga_pixel(r, 10, 0), 0);
	}
}

static void vbe_32_is_memory(void **state)
{
	struct vga_rig *r = *state;
	struct display_surface s;

	vga_in(r, 0x3da, 1);
	vbe_mode(r, 1024, 768, 32);
	vga_set(r, VBE, VBE_VIRT_WIDTH, 1280);
	vga_set(r, VBE, VBE_X_OFFSET, 16);
	vga_set(r, VBE, VBE_Y_OFFSET, 2);
	shows(r, 1024, 768);
	assert_true(display_get_surface(r->core.display, 0, &s));
	assert_ptr_equal(s.pixels, r->vga->vram->host + (2 * 1280 + 16) * 4);
	assert_int_equal(s.stride, 1280 * 4);
	/* A bank of the window is told by lines. */
	vga_set(r, VBE, VBE_BANK, 3);
	assert_true(r->vga->window_on);
	assert_ptr_equal(r->vga->window->host, r->vga->vram->host + (3 << 16));
	display_refresh(r->core.display, 0);
	vga_poke(r, A0000, 4, 0xabcdef);
	damage_is(r, 0, 36, 1024, 2);
	assert_int_equal(vga_pixel(r, (3 << 16) / 4 % 1280 - 16, (3 << 16) / 4 / 1280 - 2), 0xabcdef);
}

static void vbe_refuses_what_does_not_fit(void **state)
{
	struct vga_rig *r = *state;

	vga_in(r, 0x3da, 1);
	vga_set(r, VBE, VBE_ID, 0x1234);
	vga_out(r, VBE, 2, VBE_ID);
	assert_int_equal(vga_in(r, VBE + 1, 2), 0xb0c5);
	vbe_mode(r, 0xffff, 0xffff, 33);
	vga_set(r, VBE, VBE_BPP, 32);
	vga_set(r, VBE, VBE_VIRT_WIDTH, 0xffff);
	vga_set(r, VBE, VBE_X_OFFSET, 0xffff);
	vga_set(r, VBE, VBE_Y_OFFSET, 0xffff);
	vga_set(r, VBE, VBE_BANK, 0xffff);
	display_refresh(r->core.display, 0);
	assert_true(r->vga->vbe[VBE_XRES] <= 16000 && r->vga->vbe[VBE_YRES] <= 12000);
	assert_true((uint64_t)vga_vbe_stride(r->vga) * r->vga->vbe[VBE_YRES] <= VGA_MEMORY);
	vga_set(r, VBE, VBE_ENABLE, VBE_GETCAPS);
	vga_out(r, VBE, 2, VBE_XRES);
	assert_int_equal(vga_in(r, VBE + 1, 2), 16000);
	vga_out(r, VBE, 2, 0xffff);
	assert_int_equal(vga_in(r, VBE + 1, 2), 0);
}

/* ---- registers ---- */

static void function_has_edid_and_registers(void **state)
{
	struct vga_rig *r = *state;
	uint8_t sum = 0;

	assert_int_equal(vga_peek(r, VGA_RIG_ECAM, 4), 0x11111234);
	for (unsigned i = 0; i < 128; i++)
		sum = (uint8_t)(sum + vga_peek(r, BAR2 + i, 1));
	assert_int_equal(sum, 0);
	assert_int_equal(vga_peek(r, BAR2, 8), 0x00ffffffffffff00);
	assert_int_equal(vga_peek(r, BAR2 + 56, 1), 1280 & 0xff);
	assert_int_equal(vga_peek(r, BAR2 + 0x500, 2), 0xb0c5);
	assert_int_equal(vga_peek(r, BAR2 + 0x514, 2), 256);
	vga_poke(r, BAR2 + 0x502, 2, 720);
	vga_out(r, VBE, 2, VBE_XRES);
	assert_int_equal(vga_in(r, VBE + 1, 2), 720);
	vga_poke(r, BAR2 + 0x40e, 2, 0x5a08);
	assert_int_equal(vga_in(r, 0x3cf, 1), 0x5a);
	assert_int_equal(vga_peek(r, BAR2 + 0x600, 4), 8);
	assert_int_equal(vga_peek(r, BAR2 + 0x604, 4), 0x1e1e1e1e);
}

static void registers_are_protected(void **state)
{
	struct vga_rig *r = *state;

	vga_set_mode(r, &vga_text_mode);
	/* CRTC 0 to 7, but for one bit */
	vga_set(r, CRTC, 1, 0x11);
	vga_set(r, CRTC, 7, 0);
	vga_out(r, CRTC, 1, 1);
	assert_int_equal(vga_in(r, CRTC + 1, 1), 0x4f);
	vga_out(r, CRTC, 1, 7);
	assert_int_equal(vga_in(r, CRTC + 1, 1), 0x0f);
	/* Nobody is at the other place. */
	assert_int_equal(vga_in(r, 0x3b5, 1), 0xff);
	vga_out(r, 0x3c2, 1, 0x66);
	assert_int_equal(vga_in(r, 0x3d5, 1), 0xff);
	assert_int_equal(vga_in(r, 0x3b5, 1), 0x0f);
	/* DAC: three parts a color */
	vga_out(r, 0x3c8, 1, 7);
	vga_out(r, 0x3c9, 1, 1);
	vga_out(r, 0x3c9, 1, 2);
	vga_out(r, 0x3c9, 1, 3);
	vga_out(r, 0x3c7, 1, 7);
	assert_int_equal(vga_in(r, 0x3c9, 1) | vga_in(r, 0x3c9, 1) << 8 | vga_in(r, 0x3c9, 1) << 16, 0x030201);
	assert_int_equal(vga_in(r, 0x3c9, 1), 8);
}

static void blank_when_it_is_off(void **state)
{
	struct vga_rig *r = *state;

	vga_set_mode(r, &vga_256_mode);
	vga_poke(r, A0000, 1, 50);
	shows(r, 640, 400);
	assert_int_equal(vga_pixel(r, 0, 0), gray(50));
	vga_set(r, SEQ, 1, 0x21);
	shows(r, 640, 400);
	assert_int_equal(vga_pixel(r, 0, 0), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(text_has_glyphs_and_colors),
		TEST(text_tells_cells),
		TEST(text_scrolls_and_splits),
		TEST(planes_are_written),
		TEST(planes_are_read),
		TEST(planes_pan_and_split),
		TEST(mode_13h_is_linear),
		TEST(mode_x_has_planes),
		TEST(cga_has_two_banks),
		TEST(vbe_has_all_depths),
		TEST(vbe_32_is_memory),
		TEST(vbe_refuses_what_does_not_fit),
		TEST(function_has_edid_and_registers),
		TEST(registers_are_protected),
		TEST(blank_when_it_is_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
