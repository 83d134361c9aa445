/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VGA without a CPU, for its tests and its fuzz target: buses, memory, a display, the modes of the IBM tables. */
#pragma once

#include "devices/vga.h"

enum { VGA_RIG_BAR0 = 0x90000000, VGA_RIG_ECAM = 0xb0000000 };

struct vga_rig {
	struct machine_core core;
	struct device *dev;
	struct vga *vga; /* of it */
	struct { uint32_t x, y, width, height; } damage; /* what was told last */
	unsigned damages;
};

struct vga_mode_table {
	uint8_t misc, seq[5], crtc[25], gfx[9], attr[21];
};
extern const struct vga_mode_table vga_text_mode, vga_planar_mode, vga_256_mode, vga_cga_mode;

void vga_rig_open(struct vga_rig *r);
void vga_rig_close(struct vga_rig *r);
void vga_out(struct vga_rig *r, unsigned port, unsigned size, uint32_t data);
uint32_t vga_in(struct vga_rig *r, unsigned port, unsigned size);
void vga_poke(struct vga_rig *r, uint64_t gpa, unsigned size, uint64_t data); /* MMIO: window and BAR 2 */
uint64_t vga_peek(struct vga_rig *r, uint64_t gpa, unsigned size);
/* An indexed register: seq 0x3c4, gfx 0x3ce, crtc 0x3d4, VBE 0x1ce. */
void vga_set(struct vga_rig *r, unsigned port, unsigned index, unsigned data);
void vga_set_mode(struct vga_rig *r, const struct vga_mode_table *m);
/* DAC entry i is i in all of its parts, so that a pixel says which one it is. */
void vga_set_gray(struct vga_rig *r);
/* After a refresh: a pixel of the surface. */
uint32_t vga_pixel(struct vga_rig *r, uint32_t x, uint32_t y);
