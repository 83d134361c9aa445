/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See vga-rig.h. */
#include "vga-rig.h"

#include <linux/pci_regs.h>
#include <string.h>

#include "display.h"

const struct vga_mode_table vga_text_mode = {
	0x67, {3, 0, 3, 0, 2},
	{0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0, 0x4f, 0x20, 0x0e, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28,
	 0x1f, 0x96, 0xb9,
	 0xa3, 0xff},
	{0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff},
	{0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0, 0x0f, 8, 0}};
const struct vga_mode_table vga_planar_mode = {
	0xe3, {3, 1, 0x0f, 0, 6},
	{0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0, 0x40, 0, 0, 0, 0, 0, 0, 0xea, 0x8c, 0xdf, 0x28, 0, 0xe7,
	 4, 0xe3, 0xff},
	{0, 0, 0, 0, 0, 0, 5, 0x0f, 0xff},
	{0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 1, 0, 0x0f, 0, 0}};
const struct vga_mode_table vga_256_mode = {
	0x63, {3, 1, 0x0f, 0, 0x0e},
	{0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0x41, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x40,
	 0x96, 0xb9, 0xa3,
	 0xff},
	{0, 0, 0, 0, 0, 0x40, 5, 0x0f, 0xff},
	{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x41, 0, 0x0f, 0, 0}};
const struct vga_mode_table vga_cga_mode = {
	0x63, {3, 9, 3, 0, 2},
	{0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0, 0xc1, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x14, 0, 0x96,
	 0xb9, 0xa2, 0xff},
	{0, 0, 0, 0, 0, 0x30, 0x0f, 0, 0xff},
	{0, 0x13, 0x15, 0x17, 2, 4, 6, 7, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 1, 0, 3, 0, 0}};

static void on_damage(void *opaque, unsigned head, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
	struct vga_rig *r = opaque;

	r->damage.x = x;
	r->damage.y = y;
	r->damage.width = width;
	r->damage.height = height;
	r->damages++;
}

static const struct display_viewer viewer = {.damage = on_damage};

static void request(void *machine, enum machine_request what)
{
}

void vga_rig_open(struct vga_rig *r)
{
	const struct pci_windows windows = {VGA_RIG_BAR0, 0x2000000, 1ull << 40, 1 << 30, 0xc000, 0x1000};
	uint16_t command = PCI_COMMAND_MEMORY;

	*r = (struct vga_rig){.core = {.vm_fd = -1, .request = request}};
	r->core.mem = mem_new(-1);
	mem_add_ram(r->core.mem, 0, 1 << 16, NULL);
	r->core.ports = bus_new("port");
	r->core.mmio = bus_new("mmio");
	r->core.pci = pci_bus_new(&r->core, &windows, NULL);
	pci_bus_set_ecam(r->core.pci, VGA_RIG_ECAM, 1, NULL);
	r->core.display = display_new();
	r->dev = device_new(&r->core, "vga", "vga", NULL, NULL, NULL);
	g_assert(r->dev);
	r->vga = &((struct vga_card *)r->dev)->vga;
	bus_access(r->core.mmio, VGA_RIG_ECAM + PCI_COMMAND, &command, 2, true);
	display_add_viewer(r->core.display, &viewer, r);
}

void vga_rig_close(struct vga_rig *r)
{
	device_free(r->dev);
	display_remove_viewer(r->core.display, r);
	display_free(r->core.display);
	pci_bus_free(r->core.pci);
	bus_free(r->core.ports);
	bus_free(r->core.mmio);
	mem_free(r->core.mem);
}

void vga_out(struct vga_rig *r, unsigned port, unsigned size, uint32_t data)
{
	bus_access(r->core.ports, port, &data, size, true);
}

uint32_t vga_in(struct vga_rig *r, unsigned port, unsigned size)
{
	uint32_t data = 0;

	bus_access(r->core.ports, port, &data, size, false);
	return data;
}

void vga_poke(struct vga_rig *r, uint64_t gpa, unsigned size, uint64_t data)
{
	bus_access(r->core.mmio, gpa, &data, size, true);
}

uint64_t vga_peek(struct vga_rig *r, uint64_t gpa, unsigned size)
{
	uint64_t data = 0;

	bus_access(r->core.mmio, gpa, &data, size, false);
	return data;
}

void vga_set(struct vga_rig *r, unsigned port, unsigned index, unsigned data)
{
	if (port == 0x1ce) {
		vga_out(r, port, 2, index);
		vga_out(r, port + 1, 2, data);
	} else {
		vga_out(r, port, 2, index | data << 8);
	}
}

void vga_set_mode(struct vga_rig *r, const struct vga_mode_table *m)
{
	vga_out(r, 0x3c2, 1, m->misc);
	for (unsigned i = 0; i < G_N_ELEMENTS(m->seq); i++)
		vga_set(r, 0x3c4, i, m->seq[i]);
	vga_set(r, 0x3d4, 0x11, 0);
	for (unsigned i = 0; i < G_N_ELEMENTS(m->crtc); i++)
		vga_set(r, 0x3d4, i, m->crtc[i]);
	for (unsigned i = 0; i < G_N_ELEMENTS(m->gfx); i++)
		vga_set(r, 0x3ce, i, m->gfx[i]);
	vga_in(r, 0x3da, 1);
	for (unsigned i = 0; i < G_N_ELEMENTS(m->attr); i++) {
		vga_out(r, 0x3c0, 1, i);
		vga_out(r, 0x3c0, 1, m->attr[i]);
	}
	vga_out(r, 0x3c0, 1, 0x20);
}

void vga_set_gray(struct vga_rig *r)
{
	vga_set(r, 0x1ce, VBE_ENABLE, VBE_8BIT_DAC);
	vga_out(r, 0x3c8, 1, 0);
	for (unsigned i = 0; i < 256; i++)
		for (unsigned part = 0; part < 3; part++)
			vga_out(r, 0x3c9, 1, i);
}

uint32_t vga_pixel(struct vga_rig *r, uint32_t x, uint32_t y)
{
	struct display_surface s;

	display_get_surface(r->core.display, 0, &s);
	return *(const uint32_t *)(const void *)((const uint8_t *)s.pixels + (size_t)y * s.stride + x * 4);
}
