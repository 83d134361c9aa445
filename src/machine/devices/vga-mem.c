/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Video memory through the window at 0xa0000-0xbffff (IBM VGA technical reference; FreeVGA: accessing display memory): write and
 * read modes, latches, planes, odd/even. In chain-4 and linear modes nothing happens on the way, and the bytes are mapped.
 */
#include "vga.h"

#include "bytes.h"

enum { WINDOW = 0xa0000, SEQ_PLANES = 2, SEQ_MEMORY = 4, CHAIN4 = 8 };
enum {
	GFX_SET_RESET,
	GFX_ENABLE_SET_RESET,
	GFX_COMPARE,
	GFX_ROTATE,
	GFX_READ_MAP,
	GFX_MODE,
	GFX_MISC,
	GFX_DONT_CARE,
	GFX_BIT_MASK
};
enum { MODE_READ_COMPARE = 8, MODE_ODD_EVEN = 0x10 };

/* A bit for each plane becomes a byte for each. */
static uint32_t planes(unsigned bits)
{
	return (bits & 1) * 0xffu | (bits >> 1 & 1) * 0xff00u | (bits >> 2 & 1) * 0xff0000u | (bits >> 3 & 1) * 0xff000000u;
}

static uint32_t four_times(uint8_t byte)
{
	return byte * 0x01010101u;
}

void vga_touched(struct vga *v, uint32_t offset, uint32_t len)
{
	for (uint32_t page = offset >> 12; len && page <= (offset + len - 1) >> 12 && page < VGA_PAGES; page++)
		v->touched[page / 64] |= 1ull << page % 64;
	mem_region_written(v->vram, offset, len);
}

/* Where the window is: false when it does not reach there. *ret_offset: in it. */
static bool in_window(const struct vga *v, uint32_t at, uint32_t *ret_offset)
{
	static const struct {
		uint32_t base, size;
	} maps[] = {{0xa0000, 0x20000}, {0xa0000, 0x10000}, {0xb0000, 0x8000}, {0xb8000, 0x8000}};
	unsigned map = v->gfx[GFX_MISC] >> 2 & 3;

	if (at < maps[map].base || at - maps[map].base >= maps[map].size)
		return false;
	*ret_offset = at - maps[map].base;
	return true;
}

static uint32_t bank(const struct vga *v)
{
	return vga_vbe_on(v) ? (uint32_t)v->vbe[VBE_BANK] << 16 : 0;
}

static bool is_linear(const struct vga *v)
{
	return v->seq[SEQ_MEMORY] & CHAIN4 || (vga_vbe_on(v) && v->vbe[VBE_BPP] != 4);
}

void vga_sync_window(struct vga *v)
{
	bool whole = (v->gfx[GFX_MISC] >> 2 & 3) == 0, low = (v->gfx[GFX_MISC] >> 2 & 3) <= 1;
	bool on = low && is_linear(v) && ((v->seq[SEQ_PLANES] & 15) == 15 || vga_vbe_on(v));
	uint32_t offset = bank(v), size = whole ? 0x20000 : 0x10000;

	if (offset + size > VGA_MEMORY)
		on = false;
	if (on == v->window_on && (!on || (offset == v->window_offset && size == v->window_size)))
		return;
	/* Its log is lost when it moves. */
	for (uint32_t page = v->window_offset >> 12; v->window_on && page < (v->window_offset + v->window_size) >> 12; page++)
		v->touched[page / 64] |= 1ull << page % 64;
	v->window_offset = offset;
	v->window_size = size;
	/* Where something else is mapped, the handlers do the same. */
	v->window_on = on && mem_window_map(v->window, offset, size, WINDOW, NULL);
	if (!v->window_on)
		mem_region_unmap(v->window);
}

/* Linear offset of a byte, and whether there is one. */
static bool linear(const struct vga *v, uint32_t offset, uint32_t *ret)
{
	*ret = bank(v) + offset;
	return *ret < VGA_MEMORY;
}

static uint8_t read_byte(struct vga *v, uint32_t at)
{
	uint32_t offset, differs;

	if (!in_window(v, at, &offset))
		return 0xff;
	if (is_linear(v))
		return linear(v, offset, &offset) ? v->vram->host[offset] : 0xff;
	if (v->gfx[GFX_MODE] & MODE_ODD_EVEN) {
		unsigned plane = (v->gfx[GFX_READ_MAP] & 2) | (offset & 1);

		v->latch = get_le32(v->vram->host + (offset >> 1) * 4);
		return (uint8_t)(v->latch >> 8 * plane);
	}
	offset = bank(v) + offset;
	if (offset >= VGA_WORDS)
		return 0xff;
	v->latch = get_le32(v->vram->host + offset * 4);
	if (!(v->gfx[GFX_MODE] & MODE_READ_COMPARE))
		return (uint8_t)(v->latch >> 8 * (v->gfx[GFX_READ_MAP] & 3));
	differs = (v->latch ^ planes(v->gfx[GFX_COMPARE])) & planes(v->gfx[GFX_DONT_CARE]);
	return (uint8_t)~(differs | differs >> 8 | differs >> 16 | differs >> 24);
}

static uint32_t combine(const struct vga *v, uint32_t data, uint32_t mask)
{
	switch (v->gfx[GFX_ROTATE] >> 3) {
	case 1:
		data &= v->latch;
		break;
	case 2:
		data |= v->latch;
		break;
	case 3:
		data ^= v->latch;
		break;
	}
	return (data & mask) | (v->latch & ~mask);
}

/* What the graphics controller makes of a byte, for all planes. */
static uint32_t processed(const struct vga *v, uint8_t data)
{
	unsigned count = v->gfx[GFX_ROTATE] & 7, mask = v->gfx[GFX_BIT_MASK];
	uint8_t rotated = (uint8_t)(data >> count | data << (8 - count));
	uint32_t set = planes(v->gfx[GFX_SET_RESET]), which = planes(v->gfx[GFX_ENABLE_SET_RESET]);

	switch (v->gfx[GFX_MODE] & 3) {
	case 0:
		return combine(v, (four_times(rotated) & ~which) | (set & which), four_times((uint8_t)mask));
	case 1:
		return v->latch;
	case 2:
		return combine(v, planes(data), four_times((uint8_t)mask));
	default:
		return combine(v, set, four_times((uint8_t)(mask & rotated)));
	}
}

static void put_planes(struct vga *v, uint32_t word, uint32_t data, unsigned which)
{
	uint8_t *p = v->vram->host + word * 4;

	put_le32(p, (get_le32(p) & ~planes(which)) | (data & planes(which)));
	v->glyphs |= which >> 2 & 1;
	vga_touched(v, word * 4, 4);
}

static void write_byte(struct vga *v, uint32_t at, uint8_t data)
{
	unsigned which = v->seq[SEQ_PLANES] & 15;
	uint32_t offset;

	if (!in_window(v, at, &offset))
		return;
	if (is_linear(v)) {
		if (!linear(v, offset, &offset) || (!vga_vbe_on(v) && !(which & 1u << (offset & 3))))
			return;
		v->vram->host[offset] = data;
		vga_touched(v, offset, 1);
	} else if (v->gfx[GFX_MODE] & MODE_ODD_EVEN) {
		put_planes(v, offset >> 1, processed(v, data), which & (5u << (offset & 1)));
	} else {
		offset = bank(v) + offset;
		if (offset < VGA_WORDS)
			put_planes(v, offset, processed(v, data), which);
	}
}

static uint64_t window_read(void *opaque, uint64_t offset, unsigned size)
{
	struct vga *v = opaque;
	uint64_t data = 0;

	g_mutex_lock(&v->lock);
	for (unsigned i = 0; i < size; i++)
		data |= (uint64_t)read_byte(v, (uint32_t)(WINDOW + offset + i)) << 8 * i;
	g_mutex_unlock(&v->lock);
	return data;
}

static void window_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct vga *v = opaque;

	g_mutex_lock(&v->lock);
	for (unsigned i = 0; i < size; i++)
		write_byte(v, (uint32_t)(WINDOW + offset + i), (uint8_t)(data >> 8 * i));
	vga_stir(v);
	g_mutex_unlock(&v->lock);
}

const struct bus_ops vga_window_ops = {window_read, window_write};
