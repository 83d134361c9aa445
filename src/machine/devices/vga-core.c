/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VGA without a bus: legacy ports and window, video memory, the page of registers in a BAR (QEMU: docs/specs/standard-vga),
 * and its picture: vga_update() finds by KVM's dirty log and by marks of handlers what has changed. Used by the PCI functions
 * that are VGAs: vga.c, virtio-vga.c.
 */
#include "vga.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <glib-unix.h>
#include <linux/pci_regs.h>

#include "bytes.h"
#include "display.h"
#include "log.h"
#include "posted.h"

enum { PORTS = 0x3b0, N_PORTS = 0x30, VBE_PORTS = 0x1ce, WINDOW = 0xa0000, WINDOW_SIZE = 0x20000 };
/* The page of registers */
enum { MMIO_PORTS = 0x400, MMIO_VBE = 0x500, MMIO_EXTENSION = 0x600, EXTENSION_SIZE = 8 };
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
	vga_stir(v);
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
	vga_stir(v);
	g_mutex_unlock(&v->lock);
}

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
	struct vga *v = opaque;
	uint8_t edid[EDID_SIZE + 8] = {0};
	uint64_t data = 0;

	if (offset < EDID_SIZE) {
		vga_edid(edid, EDID_WIDTH, EDID_HEIGHT, 0);
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
		vga_stir(v);
		g_mutex_unlock(&v->lock);
	}
}

static const struct bus_ops legacy_ops = {legacy_read, legacy_write}, vbe_ops = {vbe_port_read, vbe_port_write};
const struct bus_ops vga_mmio_ops = {mmio_read, mmio_write};

/* ---- pictures ---- */

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
	display_set_surface(d, v->head, &s);
	g_free(old);
	g_clear_pointer(&v->cells, g_free);
	if (m->kind == VGA_TEXT)
		v->cells = g_malloc0(vga_text_cells(m) * vga_cell_size());
}

static void post_again(struct vga *v)
{
	bool asleep;

	g_mutex_lock(&v->lock);
	asleep = v->asleep;
	g_mutex_unlock(&v->lock);
	if (v->unposted && !asleep)
		posted_resume(v->core->posted, WINDOW, WINDOW_SIZE);
	v->unposted &= asleep;
}

void vga_update(struct vga *v)
{
	struct display *d = v->core->display;
	struct vga_mode mode;
	bool all;

	post_again(v);
	posted_flush(v->core->posted);
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
	v->blinks = false;
	if (mode.kind == VGA_TEXT)
		vga_draw_text(v, d, all || v->glyphs);
	else if (mode.kind == VGA_PACKED)
		vga_draw_packed(v, d, all);
	else if (mode.kind != VGA_BLANK)
		vga_draw_lines(v, d, all);
	else if (all)
		display_damage(d, v->head, 0, 0, mode.width, mode.height);
	v->redraw = v->glyphs = false;
	g_mutex_unlock(&v->lock);
}

void vga_redraw(struct vga *v)
{
	g_mutex_lock(&v->lock);
	v->shown.width = 0;
	vga_stir(v);
	g_mutex_unlock(&v->lock);
}

void vga_stir(struct vga *v)
{
	if (v->asleep)
		eventfd_write(v->stir_fd, 1);
	v->asleep = false;
}

/*
 * A cursor blinks by the clock. Planes and registers have handlers, the rest of the memory has the dirty log. Of writes that are
 * posted nobody would hear: they are exits meanwhile.
 */
bool vga_rest(struct vga *v)
{
	bool asleep;

	g_mutex_lock(&v->lock);
	asleep = v->stirrer && !v->blinks && mem_region_watch(v->vram, v->stir_fd) &&
		 (!v->window_on || mem_region_watch(v->window, v->stir_fd));
	v->asleep = asleep;
	g_mutex_unlock(&v->lock);
	if (asleep && !v->unposted)
		posted_suspend(v->core->posted, WINDOW, WINDOW_SIZE);
	v->unposted |= asleep;
	return asleep;
}

static gboolean on_stir(gint fd, GIOCondition condition, gpointer opaque)
{
	struct vga *v = opaque;
	eventfd_t count;

	eventfd_read(fd, &count);
	g_mutex_lock(&v->lock);
	v->asleep = false;
	g_mutex_unlock(&v->lock);
	if (v->core->display)
		display_stir(v->core->display, v->head);
	return G_SOURCE_CONTINUE;
}

static void open_stirrer(struct vga *v)
{
	v->stir_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->stir_fd < 0)
		return;
	v->stirrer = g_unix_fd_source_new(v->stir_fd, G_IO_IN);
	g_source_set_callback(v->stirrer, G_SOURCE_FUNC(on_stir), v, NULL);
	g_source_attach(v->stirrer, v->core->context);
}

static void close_stirrer(struct vga *v)
{
	if (!v->stirrer)
		return;
	g_source_destroy(v->stirrer);
	g_clear_pointer(&v->stirrer, g_source_unref);
	close(v->stir_fd);
}

/* ---- coming and going ---- */

bool vga_add_rom(struct pci_device *p, const char *path, GError **error)
{
	g_autoptr(GError) missing = NULL;
	g_autofree char *rom = NULL;
	gsize len;

	/* UEFI has a driver of its own. */
	if (!g_file_get_contents(path, &rom, &len, &missing)) {
		kv_log_debug("vga: no BIOS: %s; it is in Debian's package seabios", missing->message);
		return true;
	}
	return pci_set_rom(p, rom, len, error);
}

bool vga_open(struct vga *v, struct machine_core *core, GError **error)
{
	g_mutex_init(&v->lock);
	v->core = core;
	open_stirrer(v);
	vga_reset_registers(v);
	v->vram = mem_region_new(core->mem, "video memory", VGA_MEMORY, false, error);
	v->window = v->vram ? mem_window_new(v->vram, "VGA window", error) : NULL;
	if (!v->window || !bus_register(core->ports, PORTS, N_PORTS, "VGA", &legacy_ops, v, error) ||
	    !bus_register(core->ports, VBE_PORTS, 2, "VGA", &vbe_ops, v, error) ||
	    !bus_register(core->mmio, WINDOW, WINDOW_SIZE, "VGA", &vga_window_ops, v, error))
		return false;
	posted_add(core->posted, WINDOW, WINDOW_SIZE);
	return true;
}

void vga_unregister(struct vga *v)
{
	bus_unregister(v->core->ports, PORTS);
	bus_unregister(v->core->ports, VBE_PORTS);
	bus_unregister(v->core->mmio, WINDOW);
}

void vga_close(struct vga *v)
{
	mem_region_free(v->window);
	mem_region_free(v->vram);
	close_stirrer(v);
	g_free(v->pixels);
	g_free(v->cells);
	g_mutex_clear(&v->lock);
}

void vga_reset(struct vga *v)
{
	g_mutex_lock(&v->lock);
	vga_reset_registers(v);
	vga_sync_window(v);
	vga_stir(v);
	g_mutex_unlock(&v->lock);
}

/* Video memory came or went: its log may have been lost. */
void vga_bars_written(struct vga *v, unsigned offset)
{
	if (offset >= PCI_BASE_ADDRESS_0 + 4)
		return;
	g_mutex_lock(&v->lock);
	v->redraw = true;
	vga_stir(v);
	g_mutex_unlock(&v->lock);
}

void vga_loaded(struct vga *v)
{
	v->seq_index &= 7;
	v->gfx_index &= 15;
	v->crtc_index &= 31;
	v->attr_index &= 63;
	v->dac_sub %= 3;
	vga_vbe_fix(v);
	vga_sync_window(v);
	v->redraw = v->glyphs = true;
	g_mutex_lock(&v->lock);
	vga_stir(v);
	g_mutex_unlock(&v->lock);
}

#define U8(member)  STATE_INT(struct vga, member, STATE_U8)
#define RAW(member) STATE_RAW(struct vga, member)
const struct state_field vga_state_fields[] = {
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
