/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host bridge of the pc board at 00:00.0 (Intel 3 Series Express Chipset data sheet, chapter 5): the window of configuration
 * space in memory, and the attribute bits of the memory below 1 MiB. Those are bytes and nothing more: what firmware shadows is
 * RAM from the start (pc.c), with a copy of it that it may copy once more. There is no SMM, so SMRAM cannot be opened.
 * Created by the board.
 */
#include "bytes.h"
#include "classes.h"
#include "log.h"
#include "pci.h"

enum { PCIEXBAR = 0x60, PAM0 = 0x90, PAM_REGISTERS = 7, SMRAM = 0x9d };
enum { PAM_RE_WE = 0x33, SMRAM_C_BASE_SEG = 2 };

#define EXBAR_ENABLE  1u
#define EXBAR_LENGTH  6u /* 256, 128 or 64 MiB, a MiB a bus */
#define EXBAR_ADDRESS 0xffc000000ull
#define EXBAR_INITIAL 0xb0000000ull
#define MIB	      20

/*
 * On the way out of a sleep SeaBIOS (1.16) reaches configuration space through the window from the start, also where it switches
 * the window off in order to set it up. So it stays where it was over that reset, and until it is switched on anew. QEMU has no
 * window then, and its guest of SeaBIOS no power management any more.
 */
struct mch {
	struct pci_device pci; /* first */
	bool waking;	       /* for some instructions of firmware: no part of the saved state */
};

/* A length that is reserved opens nothing. */
static void update_window(struct pci_device *p)
{
	static const unsigned buses[] = {256, 128, 64, 0};
	uint64_t bar = get_le64(p->config + PCIEXBAR);
	unsigned n = bar & EXBAR_ENABLE ? buses[(bar & EXBAR_LENGTH) / 2] : 0;
	uint64_t base = bar & EXBAR_ADDRESS & ~(((uint64_t)n << MIB) - 1);
	g_autoptr(GError) error = NULL;

	if (!pci_bus_set_ecam(p->dev.core->pci, base, n, &error))
		kv_log_debug("%s: %s", p->dev.id, error->message);
}

static void config_written(struct pci_device *p, unsigned offset, unsigned len)
{
	struct mch *mch = (struct mch *)p;

	if (offset >= PCIEXBAR + 8 || offset + len <= PCIEXBAR)
		return;
	if (p->config[PCIEXBAR] & EXBAR_ENABLE)
		mch->waking = false;
	if (!mch->waking)
		update_window(p);
}

static bool mch_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	static const struct pci_ids ids = {
		.vendor = 0x8086, .device = 0x29c0, .subvendor = 0x1af4, .subdevice = 0x1100, .class_revision = 0x06000000};
	struct pci_device *p = (struct pci_device *)dev;

	pci_init(p, &ids);
	p->config[0x3d] = 0; /* no interrupt pin */
	p->slot = 0;
	put_le64(p->config + PCIEXBAR, EXBAR_INITIAL);
	put_le64(p->wmask + PCIEXBAR, EXBAR_ADDRESS | EXBAR_LENGTH | EXBAR_ENABLE);
	p->wmask[PAM0] = PAM_RE_WE & 0xf0; /* of the last 64 KiB alone */
	for (unsigned i = 1; i < PAM_REGISTERS; i++)
		p->wmask[PAM0 + i] = PAM_RE_WE;
	p->config[SMRAM] = SMRAM_C_BASE_SEG;
	p->config_written = config_written;
	return pci_add(p, error);
}

static void mch_reset(struct device *dev)
{
	struct pci_device *p = (struct pci_device *)dev;

	((struct mch *)p)->waking = dev->core->waking;
	if (dev->core->waking)
		return;
	pci_reset(p);
	update_window(p);
}

static void mch_destroy(struct device *dev)
{
	pci_bus_set_ecam(dev->core->pci, 0, 0, NULL);
	pci_remove((struct pci_device *)dev);
}

static bool mch_loaded(void *dev, GError **error)
{
	pci_loaded(dev);
	update_window(dev);
	return true;
}

static const struct state_desc mch_state = {"q35-mch", 1, 1, pci_state_fields, NULL, mch_loaded};

const struct device_class device_q35_mch = {
	.name = "q35-mch",
	.description = "host bridge of the pc board",
	.size = sizeof(struct mch),
	.create = mch_create,
	.reset = mch_reset,
	.destroy = mch_destroy,
	.state = &mch_state,
};
