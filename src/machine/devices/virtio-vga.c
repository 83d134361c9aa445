/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VGA and virtio's GPU in one PCI function, as QEMU's virtio-vga: firmware, boot loaders and kernels without a driver have the
 * VGA (vga-core.c), and once a driver shows something, head 0 is the GPU's (virtio-gpu.c) until that is reset. BAR 0 is video
 * memory, BAR 2 the VGA's page of registers and virtio's structures; the VGA BIOS is SeaBIOS's. Created by the board for
 * --vga virtio.
 */
#include "classes.h"
#include "display.h"
#include "vga.h"
#include "virtio-gpu.h"

#define OPTION_ROM "/usr/share/seabios/vgabios-virtio.bin"

struct virtio_vga {
	struct virtio_gpu gpu; /* first */
	struct vga vga;
};

static void update(void *opaque, unsigned head)
{
	struct virtio_vga *x = opaque;

	gpu_end_reset(&x->gpu);
	if (head || x->gpu.active)
		gpu_update(&x->gpu, head);
	else
		vga_update(&x->vga);
}

static bool rest(void *opaque, unsigned head)
{
	struct virtio_vga *x = opaque;

	return head || x->gpu.active || vga_rest(&x->vga);
}

static const struct display_painter painter = {update, gpu_wish, rest};

static void let_go(struct virtio_gpu *g)
{
	struct virtio_vga *x = (struct virtio_vga *)g;

	if (!g->display)
		return;
	vga_redraw(&x->vga);
	vga_update(&x->vga);
}

static void config_written(struct pci_device *p, unsigned offset, unsigned len)
{
	virtio_pci_config_written(p, offset, len);
	vga_bars_written(&((struct virtio_vga *)p)->vga, offset);
}

static bool prepare(struct virtio_pci_device *p, GError **error)
{
	struct virtio_vga *x = (struct virtio_vga *)p;

	p->pci.config_written = config_written;
	pci_set_memory_bar(&p->pci, 0, x->vga.vram, false);
	return vga_add_rom(&p->pci, OPTION_ROM, error);
}

static const struct virtio_class vga_class = {
	.name = "virtio-vga",
	.id = VIRTIO_ID_GPU,
	.pci_class = 0x030000,
	.notify = gpu_notify,
	.settle = gpu_settle,
	.config_written = gpu_config_written,
	.reset = gpu_driver_reset,
};

static bool create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct virtio_vga *x = (struct virtio_vga *)dev;
	struct virtio_pci_device *p = &x->gpu.dev;

	p->bar = 2;
	p->front = &vga_mmio_ops;
	p->front_opaque = &x->vga;
	p->prepare = prepare;
	x->gpu.let_go = let_go;
	if (!vga_open(&x->vga, dev->core, error) || !gpu_create(&x->gpu, &vga_class, options, error) ||
	    !gpu_add_painter(&x->gpu, &painter, error))
		return false;
	x->vga.head = x->gpu.first;
	return true;
}

static void reset(struct device *dev)
{
	struct virtio_vga *x = (struct virtio_vga *)dev;

	vga_reset(&x->vga);
	gpu_reset(dev);
}

static void destroy(struct device *dev)
{
	struct virtio_vga *x = (struct virtio_vga *)dev;

	vga_unregister(&x->vga);
	gpu_destroy(&x->gpu);
	vga_close(&x->vga);
}

static bool loaded(void *opaque, GError **error)
{
	struct virtio_vga *x = opaque;

	/* Before its picture is made, which a GPU does that shows nothing, or is refused. */
	vga_loaded(&x->vga);
	if (!gpu_loaded(&x->gpu, error))
		return false;
	vga_bars_written(&x->vga, 0);
	return true;
}

static const struct state_field fields[] = {STATE_ONE(struct virtio_vga, gpu, gpu_state_fields),
					    STATE_ONE(struct virtio_vga, vga, vga_state_fields), STATE_END};
static const struct state_desc state = {"virtio-vga", 1, 1, fields, gpu_before_save, loaded};

const struct device_class device_virtio_vga = {
	.name = "virtio-vga",
	.description = "VGA with virtio graphics",
	.size = sizeof(struct virtio_vga),
	.create = create,
	.reset = reset,
	.destroy = destroy,
	.pause = virtio_pci_pause,
	.resume = virtio_pci_resume,
	.state = &state,
};
