/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The standard VGA: PCI function 1234:1111 with Bochs' VBE (QEMU: docs/specs/standard-vga), 16 MiB of video memory in BAR 0,
 * registers and EDID in BAR 2, the VGA BIOS of SeaBIOS as option ROM; all else is vga-core.c's. Created by the board for
 * --vga std.
 */
#include <linux/pci_regs.h>

#include "classes.h"
#include "display.h"
#include "error.h"
#include "vga.h"

#define OPTION_ROM "/usr/share/seabios/vgabios-stdvga.bin"

static void update(void *opaque, unsigned head)
{
	vga_update(opaque);
}

static bool rest(void *opaque, unsigned head)
{
	return vga_rest(opaque);
}

static const struct display_painter painter = {.update = update, .rest = rest};

static void config_written(struct pci_device *p, unsigned offset, unsigned len)
{
	vga_bars_written(&((struct vga_card *)p)->vga, offset);
}

static bool card_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct vga_card *c = (struct vga_card *)dev;
	struct vga *v = &c->vga;

	pci_init(&c->pci, &(struct pci_ids){0x1234, 0x1111, 0x1af4, 0x1100, 0x03000002});
	c->pci.config[PCI_INTERRUPT_PIN] = 0;
	c->pci.config_written = config_written;
	if (!vga_open(v, dev->core, error))
		return false;
	pci_set_memory_bar(&c->pci, 0, v->vram, false);
	pci_set_bar(&c->pci, 2, VGA_MMIO, false, false, &vga_mmio_ops, v);
	if (!vga_add_rom(&c->pci, OPTION_ROM, error) || !pci_add(&c->pci, error))
		return false;
	return !dev->core->display || display_add_painter(dev->core->display, dev->id, &painter, v, 1, &v->head) ||
	       kv_fail(error, KV_ERROR_UNSUPPORTED, "%s: there are %d screens already", dev->id, DISPLAY_HEADS);
}

static void card_reset(struct device *dev)
{
	struct vga_card *c = (struct vga_card *)dev;

	pci_reset(&c->pci);
	vga_reset(&c->vga);
}

static void card_destroy(struct device *dev)
{
	struct vga_card *c = (struct vga_card *)dev;

	if (dev->core->display)
		display_remove_painter(dev->core->display, &c->vga);
	vga_unregister(&c->vga);
	pci_remove(&c->pci);
	vga_close(&c->vga);
}

static bool card_loaded(void *opaque, GError **error)
{
	struct vga_card *c = opaque;

	pci_loaded(&c->pci);
	vga_loaded(&c->vga);
	return true;
}

static const struct state_field card_fields[] = {STATE_ONE(struct vga_card, pci, pci_state_fields),
						 STATE_ONE(struct vga_card, vga, vga_state_fields), STATE_END};
static const struct state_desc card_state = {"vga", 2, 2, card_fields, NULL, card_loaded};

const struct device_class device_vga = {
	.name = "vga",
	.description = "standard VGA with Bochs' VBE",
	.size = sizeof(struct vga_card),
	.create = card_create,
	.reset = card_reset,
	.destroy = card_destroy,
	.state = &card_state,
};
