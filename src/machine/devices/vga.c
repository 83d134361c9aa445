/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The standard VGA: PCI function 1234:1111 with Bochs' VBE (QEMU: docs/specs/standard-vga), 16 MiB of video memory in BAR 0,
 * registers and EDID in BAR 2, the VGA BIOS of SeaBIOS as option ROM; the legacy ports and window. It paints head 0 of the
 * display: update() is called when somebody wants to look, and finds by KVM's dirty log and by marks of handlers what has
 * changed. Created by the board for --vga std.
 */
#include "vga.h"

#include <string.h>

#include <linux/pci_regs.h>

#include "bytes.h"
#include "display.h"
#include "classes.h"
#include "log.h"

#define OPTION_ROM "/usr/share/seabios/vgabios-stdvga.bin"

enum { PORTS = 0x3b0, N_PORTS = 0x30, VBE_PORTS = 0x1ce, WINDOW = 0xa0000, WINDOW_SIZE = 0x20000 };
/* BAR 2 */
enum { MMIO_SIZE = 0x1000, MMIO_EDID = 0, MMIO_PORTS = 0x400, MMIO_VBE = 0x500, MMIO_EXTENSION = 0x600, EXTENSION_SIZE = 8 };
enum { EDID_SIZE = 128, EDID_WIDTH = 1280, EDID_HEIGHT = 800, LITTLE_ENDIAN_DATA = 0x1e1e1e1e };

/* ---- registers ---- */

/* Wide accesses are of ports next to each other: index and data at once. */
static uint64_t ports_read(struct vga *v, unsigned port, unsigned size)
{
	uint64_t data = 0;

	g_mutex_lock(&v->lock);
	for (unsigned i = 0; i < size; i++)
		data |= (uint64_t)vga_port_read(v, port + i) << 8 * i;
	g_mutex_unlock(&v->lock);
	return data;
}

static void ports_write(struct vga *v, unsigned port, unsigned size, uint64_t data)
{
	g_mutex_lock(&v->lock);
	for (unsigned i = 0; i < size; i++)
		vga_port_write(v, port + i, (uint8_t)(data >> 8 * i));
	g_mutex_unlock(&v->lock);
}

static uint64_t legacy_read(void *opaque, uint64_t offset, unsigned size)
{
	return ports_read(opaque, PORTS + (unsigned)offset, size);
}

static void legacy_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	ports_write(opaque, PORTS + (unsigned)offset, size, data);
}

static uint64_t vbe_port_read(void *opaque, uint64_t offset, unsigned size)
{
	struct vga *v = opaque;
	uint64_t data;

	g_mutex_lock(&v->lock);
	data = offset ? vga_vbe_read(v, v->vbe_index) : v->vbe_index;
	g_mutex_unlock(&v->lock);
	return data;
}

static void vbe_port_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct vga *v = opaque;

	g_mutex_lock(&v->lock);
	if (offset)
		vga_vbe_write(v, v->vbe_index, (uint16_t)data);
	else
		v->vbe_index = (uint16_t)data;
	g_mutex_unlock(&v->lock);
}

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
	struct vga *v = opaque;
	uint8_t edid[EDID_SIZE + 8] = {0};
	uint64_t data = 0;

	if (offset < EDID_SIZE) {
		vga_edid(edid, EDID_WIDTH, EDID_HEIGHT);
		memcpy(&data, edid + offset, size);
	} else if (offset >= MMIO_PORTS && offset < MMIO_PORTS + 0x20) {
		data = ports_read(v, 0x3c0 + (unsigned)(offset - MMIO_PORTS), size);
	} else if (offset >= MMIO_VBE && offset < MMIO_VBE + 2 * VBE_REGISTERS) {
		g_mutex_lock(&v->lock);
		data = vga_vbe_read(v, (unsigned)(offset - MMIO_VBE) / 2);
		g_mutex_unlock(&v->lock);
	} else if (offset == MMIO_EXTENSION) {
		data = EXTENSION_SIZE;
	} else if (offset == MMIO_EXTENSION + 4) {
		data = LITTLE_ENDIAN_DATA;
	}
	return data;
}

static void mmio_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct vga *v = opaque;

	if (offset >= MMIO_PORTS && offset < MMIO_PORTS + 0x20) {
		ports_write(v, 0x3c0 + (unsigned)(offset - MMIO_PORTS), size, data);
	} else if (offset >= MMIO_VBE && offset < MMIO_VBE + 2 * VBE_REGISTERS) {
		g_mutex_lock(&v->lock);
		vga_vbe_write(v, (unsigned)(offset - MMIO_VBE) / 2, (uint16_t)data);
		g_mutex_unlock(&v->lock);
	}
}

static const struct bus_ops legacy_ops = {legacy_read, legacy_write}, vbe_ops = {vbe_port_read, vbe_port_write},
			    mmio_ops = {mmio_read, mmio_write};

/* ---- the painter ---- */

static void collect_dirty(struct vga *v)
{
	uint64_t window[2];

	mem_region_take_dirty(v->vram, v->logged);
	for (unsigned i = 0; i < G_N_ELEMENTS(v->dirty); i++) {
		v->dirty[i] = v->logged[i] | v->touched[i];
		v->touched[i] = 0;
	}
	if (!v->window_on || !mem_region_take_dirty(v->window, window))
		return;
	for (uint32_t page = 0; page < v->window_size >> 12; page++)
		if (window[0] >> page & 1)
			v->dirty[((v->window_offset >> 12) + page) / 64] |= 1ull << ((v->window_offset >> 12) + page) % 64;
}

static void set_surface(struct vga *v, struct display *d)
{
	const struct vga_mode *m = &v->shown;
	struct display_surface s = {.width = m->width, .height = m->height};
	uint32_t *old = v->pixels;

	v->pixels = NULL;
	if (m->kind == VGA_PACKED && m->bits == 32) {
		s.pixels = v->vram->host + m->start;
		s.stride = m->stride;
	} else {
		v->pixels = g_new0(uint32_t, (size_t)m->width * m->height);
		s.pixels = v->pixels;
		s.stride = m->width * 4;
	}
	display_set_surface(d, 0, &s);
	g_free(old);
	g_clear_pointer(&v->cells, g_free);
	if (m->kind == VGA_TEXT)
		v->cells = g_malloc0(vga_text_cells(m) * vga_cell_size());
}

static void vga_update(void *opaque, unsigned head)
{
	struct vga *v = opaque;
	struct display *d = v->pci.dev.core->display;
	struct vga_mode mode;
	bool all;

	if (head)
		return;
	g_mutex_lock(&v->lock);
	vga_get_mode(v, &mode);
	collect_dirty(v);
	all = v->redraw;
	if (memcmp(&mode, &v->shown, sizeof(mode)) || !v->shown.width) {
		v->shown = mode;
		set_surface(v, d);
		all = true;
	}
	if (all)
		vga_get_palette(v, v->palette);
	if (mode.kind == VGA_TEXT)
		vga_draw_text(v, d, all || v->glyphs);
	else if (mode.kind == VGA_PACKED)
		vga_draw_packed(v, d, all);
	else if (mode.kind != VGA_BLANK)
		vga_draw_lines(v, d, all);
	else if (all)
		display_damage(d, 0, 0, 0, mode.width, mode.height);
	v->redraw = v->glyphs = false;
	g_mutex_unlock(&v->lock);
}

static const struct display_painter painter = {.update = vga_update};

/* ---- the device ---- */

/* Video memory came or went: its log may have been lost. */
static void vga_config_written(struct pci_device *p, unsigned offset, unsigned len)
{
	struct vga *v = (struct vga *)p;

	if (offset >= PCI_BASE_ADDRESS_0 + 4)
		return;
	g_mutex_lock(&v->lock);
	v->redraw = true;
	g_mutex_unlock(&v->lock);
}

static bool add_rom(struct vga *v, GError **error)
{
	g_autoptr(GError) missing = NULL;
	g_autofree char *rom = NULL;
	gsize len;

	/* UEFI has a driver of its own. */
	if (!g_file_get_contents(OPTION_ROM, &rom, &len, &missing)) {
		kv_log_debug("vga: no BIOS: %s; it is in Debian's package seabios", missing->message);
		return true;
	}
	return pci_set_rom(&v->pci, rom, len, error);
}

static bool vga_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct vga *v = (struct vga *)dev;
	struct machine_core *core = dev->core;

	g_mutex_init(&v->lock);
	pci_init(&v->pci, &(struct pci_ids){0x1234, 0x1111, 0x1af4, 0x1100, 0x03000002});
	v->pci.config[PCI_INTERRUPT_PIN] = 0;
	v->pci.config_written = vga_config_written;
	vga_reset_registers(v);
	v->vram = mem_region_new(core->mem, "video memory", VGA_MEMORY, false, error);
	v->window = v->vram ? mem_window_new(v->vram, "VGA window", error) : NULL;
	if (!v->window)
		return false;
	pci_set_memory_bar(&v->pci, 0, v->vram, false);
	pci_set_bar(&v->pci, 2, MMIO_SIZE, false, false, &mmio_ops, v);
	if (!add_rom(v, error) || !pci_add(&v->pci, error) ||
	    !bus_register(core->ports, PORTS, N_PORTS, "VGA", &legacy_ops, v, error) ||
	    !bus_register(core->ports, VBE_PORTS, 2, "VGA", &vbe_ops, v, error) ||
	    !bus_register(core->mmio, WINDOW, WINDOW_SIZE, "VGA", &vga_window_ops, v, error))
		return false;
	if (core->display)
		display_set_painter(core->display, &painter, v);
	return true;
}

static void vga_reset(struct device *dev)
{
	struct vga *v = (struct vga *)dev;

	pci_reset(&v->pci);
	g_mutex_lock(&v->lock);
	vga_reset_registers(v);
	vga_sync_window(v);
	g_mutex_unlock(&v->lock);
}

static void vga_destroy(struct device *dev)
{
	struct vga *v = (struct vga *)dev;

	if (dev->core->display)
		display_set_painter(dev->core->display, NULL, NULL);
	bus_unregister(dev->core->ports, PORTS);
	bus_unregister(dev->core->ports, VBE_PORTS);
	bus_unregister(dev->core->mmio, WINDOW);
	pci_remove(&v->pci);
	mem_region_free(v->window);
	mem_region_free(v->vram);
	g_free(v->pixels);
	g_free(v->cells);
	g_mutex_clear(&v->lock);
}

static bool vga_loaded(void *opaque, GError **error)
{
	struct vga *v = opaque;

	v->seq_index &= 7;
	v->gfx_index &= 15;
	v->crtc_index &= 31;
	v->attr_index &= 63;
	v->dac_sub %= 3;
	vga_vbe_fix(v);
	pci_loaded(&v->pci);
	vga_sync_window(v);
	v->redraw = v->glyphs = true;
	return true;
}

#define U8(member)  STATE_INT(struct vga, member, STATE_U8)
#define RAW(member) STATE_RAW(struct vga, member)
static const struct state_field vga_fields[] = {
	STATE_ONE(struct vga, pci, pci_state_fields),
	U8(misc),
	U8(feature),
	U8(status),
	U8(seq_index),
	RAW(seq),
	U8(gfx_index),
	RAW(gfx),
	U8(crtc_index),
	RAW(crtc),
	U8(attr_index),
	RAW(attr),
	STATE_INT(struct vga, attr_data, STATE_BOOL),
	U8(dac_state),
	U8(dac_sub),
	U8(dac_read),
	U8(dac_write),
	U8(dac_mask),
	RAW(dac_cache),
	RAW(dac),
	STATE_INT(struct vga, latch, STATE_U32),
	STATE_INT(struct vga, vbe_index, STATE_U16),
	{.name = "vbe", .offset = offsetof(struct vga, vbe), .type = STATE_ARRAY, .since = 1, .size = 2, .count = VBE_REGISTERS},
	STATE_END};
static const struct state_desc vga_state = {"vga", 1, 1, vga_fields, NULL, vga_loaded};

const struct device_class device_vga = {
	.name = "vga",
	.description = "standard VGA with Bochs' VBE",
	.size = sizeof(struct vga),
	.create = vga_create,
	.reset = vga_reset,
	.destroy = vga_destroy,
	.state = &vga_state,
};
