/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VGA's parts for each other: registers (vga-regs.c), the window of memory (vga-mem.c), Bochs' VBE registers (vga-vbe.c),
 * what there is to show (vga-mode.c) and its pictures (vga-draw.c, vga-text.c); vga-core.c puts them together, for the PCI
 * functions that are VGAs: vga.c, virtio-vga.c.
 *
 * Video memory is as in other implementations of Bochs' VBE: byte p of the 32-bit word n is plane p at address n, for every
 * addressing mode, so that a linear mode has its pixels in order.
 *
 * Threads: registers and memory are accessed in vCPU threads, pictures made in the main thread, all under `lock`; `vga_`
 * functions want it held. Linear pixels are read without it, while the guest writes them.
 */
#pragma once

#include "pci.h"

#define VGA_MEMORY (16u << 20)
#define VGA_PAGES  (VGA_MEMORY >> 12)
#define VGA_WORDS  (VGA_MEMORY / 4)
#define VGA_MMIO   0x1000u /* bytes of vga_mmio_ops */

/* Bochs' VBE registers (bochs: iodev/display/vga.h, vbe_display_api.txt). */
enum {
	VBE_ID,
	VBE_XRES,
	VBE_YRES,
	VBE_BPP,
	VBE_ENABLE,
	VBE_BANK,
	VBE_VIRT_WIDTH,
	VBE_VIRT_HEIGHT,
	VBE_X_OFFSET,
	VBE_Y_OFFSET,
	VBE_MEMORY_64K,
	VBE_REGISTERS
};
enum { VBE_ENABLED = 1, VBE_GETCAPS = 2, VBE_8BIT_DAC = 0x20, VBE_LINEAR = 0x40, VBE_NO_CLEAR = 0x80 };

/* What the registers say is to be shown; shapes are compared as bytes, so zero one first. */
enum vga_kind { VGA_BLANK, VGA_TEXT, VGA_PLANAR, VGA_CGA, VGA_256, VGA_PACKED };
struct vga_mode {
	enum vga_kind kind;
	uint32_t width, height; /* of the picture, pixels */
	uint32_t bits;		/* PACKED: of a pixel */
	uint32_t start, stride; /* words of video memory; PACKED: bytes */
	uint32_t chars;		/* words of a line; TEXT: of a row */
	uint32_t doubled;	/* 1: each dot is two pixels wide */
	uint32_t scan_double, row_lines, preset, compare; /* scanlines */
	uint32_t pan, compare_pan; /* dots, of lines above and below of `compare` */
	uint32_t word_mode, bank_scan; /* CRTC mode control, bits 6, 0 and 1, inverted */
	uint32_t cell_width;
};

struct display;
struct vga_cell;

struct vga {
	struct machine_core *core;
	unsigned head; /* of the display */
	GMutex lock;
	struct mem_region *vram, *window; /* window: a part of it in 0xa0000-0xbffff, without exits */
	bool window_on;
	uint32_t window_gpa, window_size, window_offset;

	/* registers */
	uint8_t misc, feature, status;
	uint8_t seq_index, seq[8], gfx_index, gfx[16], crtc_index, crtc[32], attr_index, attr[32];
	bool attr_data; /* the flip-flop: 0x3c0 takes data */
	uint8_t dac_state, dac_sub, dac_read, dac_write, dac_cache[3], dac_mask;
	uint8_t dac[768];
	uint32_t latch;
	uint16_t vbe_index, vbe[VBE_REGISTERS];

	/* pictures */
	bool redraw;	 /* all of it: registers changed */
	bool glyphs;	 /* plane 2 was written */
	uint64_t touched[VGA_PAGES / 64 + 1]; /* by our handlers, a bit a page */
	uint64_t logged[VGA_PAGES / 64 + 1]; /* by the guest alone */
	uint64_t dirty[VGA_PAGES / 64 + 1]; /* both, in an update */
	struct vga_mode shown;
	uint32_t *pixels, palette[256];
	struct vga_cell *cells; /* of the text that is shown */
	uint64_t cursor_time;	/* microseconds: when it last moved */
	bool blinks;		/* something of what is shown does */
	bool asleep;		/* nobody asks for updates: the next change adds 1 to stir_fd */
	bool unposted;		/* writes to planes are exits; main thread */
	int stir_fd;		/* eventfd, of the guest's writes as well */
	GSource *stirrer;	/* NULL: there is no stir_fd */
};

/* vga.c */
struct vga_card {
	struct pci_device pci; /* first */
	struct vga vga;
};

/* vga-core.c. A PCI function: vga_open(), BARs, pci_add(); vga_unregister(), pci_remove(), vga_close(), also after a failure. */
bool vga_open(struct vga *v, struct machine_core *core, GError **error);
void vga_unregister(struct vga *v);
void vga_close(struct vga *v);
bool vga_add_rom(struct pci_device *p, const char *path, GError **error); /* a file that is not there is fine */
void vga_reset(struct vga *v);
void vga_bars_written(struct vga *v, unsigned offset); /* configuration space was, from there on */
void vga_loaded(struct vga *v);			       /* after the fields were */
extern const struct state_field vga_state_fields[];    /* of struct vga */
extern const struct bus_ops vga_mmio_ops;
/* Main thread: what changed is shown; the next time all is, on a surface of its own. */
void vga_update(struct vga *v);
void vga_redraw(struct vga *v);
bool vga_rest(struct vga *v); /* a painter's */
void vga_stir(struct vga *v); /* holds lock: something may be another picture now */

/* vga-regs.c */
uint8_t vga_port_read(struct vga *v, unsigned port); /* 0x3b0 to 0x3df */
void vga_port_write(struct vga *v, unsigned port, uint8_t data);
void vga_reset_registers(struct vga *v);

/* vga-vbe.c */
uint16_t vga_vbe_read(struct vga *v, unsigned index);
void vga_vbe_write(struct vga *v, unsigned index, uint16_t data);
bool vga_vbe_on(const struct vga *v);
/* Bytes from line to line, of a mode that is on. */
uint32_t vga_vbe_stride(const struct vga *v);
/* Makes what was loaded fit the memory. */
void vga_vbe_fix(struct vga *v);

/* vga-mem.c */
extern const struct bus_ops vga_window_ops; /* of 0xa0000-0xbffff */
void vga_sync_window(struct vga *v); /* maps what can do without handlers */
void vga_touched(struct vga *v, uint32_t offset, uint32_t len);

/* vga-mode.c */
void vga_get_mode(const struct vga *v, struct vga_mode *ret);
void vga_get_palette(const struct vga *v, uint32_t palette[256]); /* XRGB of DAC entries */
uint8_t vga_attribute_color(const struct vga *v, unsigned index); /* DAC entry of one of 16 */

/* vga-draw.c: into v->pixels, told to the display. In the main thread, with v->dirty filled. */
bool vga_is_dirty(const struct vga *v, uint32_t offset, uint32_t len); /* bytes */
void vga_draw_lines(struct vga *v, struct display *d, bool all);
void vga_draw_packed(struct vga *v, struct display *d, bool all);
/* vga-text.c */
void vga_draw_text(struct vga *v, struct display *d, bool all);
size_t vga_text_cells(const struct vga_mode *m); /* how many `cells` there have to be */
size_t vga_cell_size(void);

/* vga-edid.c: 128 bytes that describe a monitor of this preferred size, pixels; those of one device differ by a number */
enum { EDID_PIXELS_MAX = 4095 }; /* each way */
void vga_edid(uint8_t edid[128], uint32_t width, uint32_t height, unsigned number);
