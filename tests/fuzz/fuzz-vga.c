/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: the VGA's ports, its window, BAR 2 and VBE registers, and pictures of what they make. Whatever mode comes of
 * it, the picture has the size that was told, and damage lies in it.
 *
 * Input: records of 6 bytes: what (0: port, 1: window, 2: BAR 2, 3: VBE register, 4: refresh, 5: configuration space; 8:
 * reads; 16 and 32: size), two of address, three of data.
 */
#include <stdlib.h>
#include <string.h>

#include "../unit/vga-rig.h"
#include "bytes.h"
#include "fuzz-display.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORD = 6, RECORDS = 400, REFRESHES = 8 };

static const struct display_viewer viewer = {.damage = fuzz_on_damage};

/* All of it can be read: a sanitizer says if not. */
static void look(struct vga_rig *r)
{
	struct display_surface s;
	volatile uint32_t sum = 0;

	display_refresh(r->core.display, 0);
	check(display_get_surface(r->core.display, 0, &s));
	for (uint32_t y = 0; y < s.height; y += MAX(s.height / 50, 1u))
		for (uint32_t x = 0; x < s.width; x += MAX(s.width / 50, 1u))
			sum += vga_pixel(r, x, y);
	sum += vga_pixel(r, s.width - 1, s.height - 1);
}

static void record(struct vga_rig *r, const uint8_t *b, unsigned *refreshes)
{
	static const uint64_t window = 0xa0000, bar2 = VGA_RIG_BAR0 + VGA_MEMORY;
	unsigned at = get_le16(b + 1), size = 1u << (b[0] >> 4 & 3);
	uint32_t value = b[3] | b[4] << 8 | b[5] << 16;
	uint64_t data = value * 0x0101010101ull;
	bool write = !(b[0] & 8);

	switch (b[0] & 7) {
	case 0:
		bus_access(r->core.ports, 0x3b0 + at % 0x30, &data, MIN(size, 4u), write);
		break;
	case 1:
		bus_access(r->core.mmio, window + at * 2u, &data, size, write);
		break;
	case 2:
		bus_access(r->core.mmio, bar2 + at % 0x1000, &data, size, write);
		break;
	case 3:
		vga_set(r, 0x1ce, at % 12, value & 0xffff);
		break;
	case 4:
		if ((*refreshes)++ < REFRESHES)
			look(r);
		break;
	case 5:
		bus_access(r->core.mmio, VGA_RIG_ECAM + at % 0x40, &data, MIN(size, 4u), write);
		break;
	case 6:
		r->dev->cls->reset(r->dev);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned refreshes = 0;
	struct vga_rig r;

	vga_rig_open(&r);
	display_add_viewer(r.core.display, &viewer, r.core.display);
	for (unsigned i = 0; i < RECORDS && size >= RECORD; i++, data += RECORD, size -= RECORD)
		record(&r, data, &refreshes);
	look(&r);
	display_remove_viewer(r.core.display, r.core.display);
	vga_rig_close(&r);
	return 0;
}
