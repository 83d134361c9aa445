/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Text modes of the VGA: characters and attributes in planes 0 and 1, glyphs in plane 2 (IBM VGA technical reference; FreeVGA:
 * text mode). A cell is drawn when it differs from what is on the screen. Called by vga.c.
 */
#include <string.h>

#include "bytes.h"
#include "display.h"
#include "vga.h"

enum { SEQ_FONTS = 3, ATTR_MODE = 0x10, ATTR_LINE_GRAPHICS = 4, ATTR_BLINK = 8, GLYPH_LINES = 32, FONT_WORDS = 8192 };
enum { CURSOR_START = 0xa, CURSOR_END = 0xb, CURSOR_HIGH = 0xe, CURSOR_LOW = 0xf, CURSOR_OFF = 0x20 };
enum { BLINK_US = 266666 }; /* 16 frames */

/* The cell as it is on the screen. */
struct vga_cell {
	uint8_t character, attribute;
	uint8_t cursor; /* 1: shown here */
	uint8_t hidden; /* 1: blinks, and is not seen now */
};

size_t vga_cell_size(void)
{
	return sizeof(struct vga_cell);
}

size_t vga_text_cells(const struct vga_mode *m)
{
	return (size_t)m->chars * (m->height / m->row_lines);
}

/* Words of the two fonts: of attributes with bit 3 clear, and set. */
static void get_fonts(const struct vga *v, uint32_t font[2])
{
	uint8_t r = v->seq[SEQ_FONTS];

	font[0] = ((r & 3u) << 1 | (r >> 4 & 1u)) * FONT_WORDS;
	font[1] = ((r >> 2 & 3u) << 1 | (r >> 5 & 1u)) * FONT_WORDS;
}

static uint8_t glyph_line(const struct vga *v, const struct vga_cell *c, uint32_t y)
{
	uint32_t font[2];

	get_fonts(v, font);
	return v->vram->host[(font[c->attribute >> 3 & 1] + c->character * GLYPH_LINES + y) * 4 + 2];
}

static bool cursor_has(const struct vga *v, uint32_t y)
{
	return y >= (v->crtc[CURSOR_START] & 31u) && y <= (v->crtc[CURSOR_END] & 31u);
}

static void draw_cell(struct vga *v, const struct vga_cell *c, uint32_t *to)
{
	const struct vga_mode *m = &v->shown;
	bool blinks = v->attr[ATTR_MODE] & ATTR_BLINK;
	uint32_t front = v->palette[vga_attribute_color(v, c->attribute & 15)];
	uint32_t back = v->palette[vga_attribute_color(v, c->attribute >> 4 & (blinks ? 7 : 15))];
	/* The ninth dot goes on with the eighth in line graphics. */
	bool ninth = (c->character & 0xe0) == 0xc0 && v->attr[ATTR_MODE] & ATTR_LINE_GRAPHICS;

	for (uint32_t y = 0; y < m->row_lines; y++, to += m->width) {
		uint32_t dots = glyph_line(v, c, y) << 1;

		dots |= ninth ? dots >> 1 & 1 : 0;
		if (c->hidden)
			dots = 0;
		if (c->cursor && cursor_has(v, y))
			dots = 0x1ff;
		for (uint32_t x = 0; x < m->cell_width; x++)
			to[x] = dots >> (8 - (x >> m->doubled)) & 1 ? front : back;
	}
}

/* Seen right after it moved, and then every other while. */
static bool blink_phase(const struct vga *v)
{
	return ((uint64_t)g_get_monotonic_time() - v->cursor_time) / BLINK_US % 2 == 0;
}

void vga_draw_text(struct vga *v, struct display *d, bool all)
{
	const struct vga_mode *m = &v->shown;
	uint32_t cursor = (uint32_t)(v->crtc[CURSOR_HIGH] << 8 | v->crtc[CURSOR_LOW]), rows = m->height / m->row_lines;
	/*
	 * The row that memory begins again with: its first line is the one to compare with, or behind it. So 0, which is there
	 * before anybody has written it, splits nothing, as on QEMU (GRUB as firmware leaves it).
	 */
	uint32_t below = m->compare ? m->compare / m->row_lines + !!(m->compare % m->row_lines) : UINT32_MAX;
	bool phase = blink_phase(v), blinks = v->attr[ATTR_MODE] & ATTR_BLINK, off = v->crtc[CURSOR_START] & CURSOR_OFF;

	for (uint32_t row = 0; row < rows; row++) {
		uint32_t first = row >= below ? (row - below) * m->stride : m->start + row * m->stride;
		uint32_t from = UINT32_MAX, end = 0;

		for (uint32_t x = 0; x < m->chars; x++) {
			struct vga_cell *shown = &v->cells[row * m->chars + x];
			uint32_t at = (first + x) % VGA_WORDS, word = get_le32(v->vram->host + at * 4);
			struct vga_cell c = {.character = (uint8_t)word, .attribute = (uint8_t)(word >> 8)};

			v->blinks |= (at == cursor && !off) || (blinks && c.attribute & 0x80);
			c.cursor = at == cursor && phase && !off;
			c.hidden = blinks && c.attribute & 0x80 && !phase;
			if (!all && !memcmp(&c, shown, sizeof(c)))
				continue;
			*shown = c;
			draw_cell(v, &c, v->pixels + (size_t)row * m->row_lines * m->width + x * m->cell_width);
			from = MIN(from, x);
			end = x + 1;
		}
		if (end)
			display_damage(d, v->head, from * m->cell_width, row * m->row_lines, (end - from) * m->cell_width,
				       m->row_lines);
	}
}
