/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pictures of the VGA's graphics modes: lines of words that the CRT controller goes through (planes, CGA's pairs of bits,
 * bytes of 256 colors), and packed pixels of VBE modes. Only lines whose pages were written are drawn. Called by vga.c.
 */
#include <string.h>

#include "bytes.h"
#include "display.h"
#include "vga.h"

enum { ATTR_PLANES = 0x12, DOTS = 8 };

bool vga_is_dirty(const struct vga *v, uint32_t offset, uint32_t len)
{
	for (uint32_t page = offset >> 12; len && page <= (offset + len - 1) >> 12; page++)
		if (page < VGA_PAGES && v->dirty[page / 64] >> page % 64 & 1)
			return true;
	return false;
}

/* Lines that were drawn one after the other are told together. */
struct band {
	struct display *display;
	unsigned head;
	uint32_t width, first, end;
};

static void band_end(struct band *b)
{
	if (b->end > b->first)
		display_damage(b->display, b->head, 0, b->first, b->width, b->end - b->first);
	b->first = b->end = 0;
}

static void band_add(struct band *b, uint32_t y)
{
	if (b->end != y) {
		band_end(b);
		b->first = y;
	}
	b->end = y + 1;
}

/* ---- words of the CRT controller ---- */

/* What a line shows: its first word, and what its row's number changes of each address. */
struct scan {
	uint32_t start, or_bits, clear_bits, pan;
};

static struct scan scan_of(const struct vga_mode *m, uint32_t y)
{
	bool split = y > m->compare;
	uint32_t n = (split ? y - m->compare - 1 : y + (m->preset << m->scan_double)) >> m->scan_double;
	uint32_t row = n / m->row_lines, line = n % m->row_lines, bit = 1u << (13 - m->word_mode);
	struct scan s = {.start = (split ? 0 : m->start) + row * m->stride, .pan = split ? m->compare_pan : m->pan};

	if (m->bank_scan & 1) {
		s.clear_bits = bit;
		s.or_bits = line & 1 ? bit : 0;
	}
	if (m->bank_scan & 2) {
		s.clear_bits |= 1u << 14;
		s.or_bits |= line & 2 ? 1u << 14 : 0;
	}
	return s;
}

static uint32_t word_at(const struct vga *v, const struct scan *s, uint32_t n)
{
	uint32_t at = (((s->start + n) & ~s->clear_bits) | s->or_bits) % VGA_WORDS;

	return get_le32(v->vram->host + at * 4);
}

static bool scan_is_dirty(const struct vga *v, const struct scan *s, uint32_t words)
{
	uint32_t at = ((s->start & ~s->clear_bits) | s->or_bits) % VGA_WORDS;

	return vga_is_dirty(v, at * 4, words * 4) || (s->clear_bits && vga_is_dirty(v, 0, 0x20000 * 4u));
}

static void put_planar(uint32_t *to, uint32_t word, const uint32_t *colors)
{
	for (unsigned i = 0; i < DOTS; i++) {
		uint32_t bits = word >> (7 - i);

		to[i] = colors[(bits & 1) | (bits >> 7 & 2) | (bits >> 14 & 4) | (bits >> 21 & 8)];
	}
}

static void put_cga(uint32_t *to, uint32_t word, const uint32_t *colors)
{
	for (unsigned i = 0; i < DOTS; i++) {
		uint32_t bits = word >> ((i & 4 ? 8 : 0) + 6 - 2 * (i & 3));

		to[i] = colors[(bits & 3) | (bits >> 14 & 12)];
	}
}

/* Each byte is two dots wide. */
static void put_256(uint32_t *to, uint32_t word, const uint32_t *palette)
{
	for (unsigned i = 0; i < DOTS; i++)
		to[i] = palette[word >> 8 * (i / 2) & 0xff];
}

static void draw_scan(struct vga *v, const struct vga_mode *m, const struct scan *s, const uint32_t *colors, uint32_t *to)
{
	static void (*const put[])(uint32_t *, uint32_t, const uint32_t *) = {
		[VGA_PLANAR] = put_planar, [VGA_CGA] = put_cga, [VGA_256] = put_256};
	uint32_t width = m->width >> m->doubled, dots[2 * DOTS];

	put[m->kind](dots, word_at(v, s, 0), colors);
	for (uint32_t x = 0; x < width; x += DOTS) {
		put[m->kind](dots + DOTS, word_at(v, s, x / DOTS + 1), colors);
		for (uint32_t i = 0; i < DOTS; i++) {
			uint32_t color = dots[i + s->pan];

			to[(x + i) << m->doubled] = color;
			to[((x + i) << m->doubled) + m->doubled] = color;
		}
		memcpy(dots, dots + DOTS, DOTS * sizeof(*dots));
	}
}

static void get_colors(const struct vga *v, const struct vga_mode *m, uint32_t colors[256])
{
	if (m->kind == VGA_256) {
		memcpy(colors, v->palette, 256 * sizeof(*colors));
		return;
	}
	for (unsigned i = 0; i < 16; i++)
		colors[i] = v->palette[vga_attribute_color(v, i & v->attr[ATTR_PLANES])];
}

void vga_draw_lines(struct vga *v, struct display *d, bool all)
{
	const struct vga_mode *m = &v->shown;
	struct band band = {.display = d, .head = v->head, .width = m->width};
	struct scan last = {.start = UINT32_MAX};
	uint32_t colors[256];

	get_colors(v, m, colors);
	for (uint32_t y = 0; y < m->height; y++) {
		struct scan s = scan_of(m, y);
		uint32_t *to = v->pixels + (size_t)y * m->width;

		if (!all && !scan_is_dirty(v, &s, m->chars + 1))
			continue;
		if (y && !memcmp(&s, &last, sizeof(s)))
			memcpy(to, to - m->width, (size_t)m->width * 4);
		else
			draw_scan(v, m, &s, colors, to);
		last = s;
		band_add(&band, y);
	}
	band_end(&band);
}

/* ---- packed pixels ---- */

static void line_8(const struct vga *v, const uint8_t *from, uint32_t *to, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		to[i] = v->palette[from[i]];
}

static uint32_t five(uint32_t part)
{
	return part << 3 | part >> 2;
}

static void line_15(const struct vga *v, const uint8_t *from, uint32_t *to, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t p = get_le16(from + 2 * i);

		to[i] = five(p >> 10 & 31) << 16 | five(p >> 5 & 31) << 8 | five(p & 31);
	}
}

static void line_16(const struct vga *v, const uint8_t *from, uint32_t *to, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t p = get_le16(from + 2 * i), green = p >> 5 & 63;

		to[i] = five(p >> 11) << 16 | (green << 2 | green >> 4) << 8 | five(p & 31);
	}
}

static void line_24(const struct vga *v, const uint8_t *from, uint32_t *to, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++, from += 3)
		to[i] = (uint32_t)from[2] << 16 | from[1] << 8 | from[0];
}

void vga_draw_packed(struct vga *v, struct display *d, bool all)
{
	const struct vga_mode *m = &v->shown;
	void (*line)(const struct vga *, const uint8_t *, uint32_t *, uint32_t) =
		m->bits == 8 ? line_8 : m->bits == 15 ? line_15 : m->bits == 16 ? line_16 : line_24;
	uint32_t len = m->width * ((m->bits + 7) / 8);
	struct band band = {.display = d, .head = v->head, .width = m->width};

	for (uint32_t y = 0; y < m->height; y++) {
		uint32_t at = m->start + y * m->stride;

		if (at + len > VGA_MEMORY || (!all && !vga_is_dirty(v, at, len)))
			continue;
		/* 32 bits: the screen is the memory. */
		if (m->bits != 32)
			line(v, v->vram->host + at, v->pixels + (size_t)y * m->width, m->width);
		band_add(&band, y);
	}
	band_end(&band);
}
