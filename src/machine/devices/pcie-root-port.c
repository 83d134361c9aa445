/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PCI Express root port with one slot that takes a function while the guest runs (PCI Express base 4.0, 6.7 and 7.5.3): native
 * hot-plug, as Linux's pciehp and firmware have it. --device pcie-root-port; plug.c puts devices in and takes them out.
 *
 * A device that is to go is announced by the attention button; when the driver has switched the slot's power off, it is gone.
 * An empty slot is off: who has no driver for it never has to let go of what comes into it.
 */
#include <linux/pci_regs.h>

#include "bytes.h"
#include "classes.h"
#include "error.h"
#include "pci.h"

enum {
	CAP_SIZE = 0x3c,
	EVENTS = PCI_EXP_SLTSTA_ABP | PCI_EXP_SLTSTA_PFD | PCI_EXP_SLTSTA_MRLSC | PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_CC |
		 PCI_EXP_SLTSTA_DLLSC,
	CONTROLS = PCI_EXP_SLTCTL_ABPE | PCI_EXP_SLTCTL_PFDE | PCI_EXP_SLTCTL_MRLSCE | PCI_EXP_SLTCTL_PDCE | PCI_EXP_SLTCTL_CCIE |
		   PCI_EXP_SLTCTL_HPIE | PCI_EXP_SLTCTL_AIC | PCI_EXP_SLTCTL_PIC | PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_DLLSCE,
	SLOTS_MAX = 8191,
	ANSWER_US = 5000000, /* a driver waits so long after the button, for a second press to be called off (6.7.1.5) */
};

struct root_port {
	struct pci_device pci; /* first */
	uint16_t cap;
	bool leaving; /* the device was asked to go; pci.lock */
	gint64 asked; /* when, g_get_monotonic_time(); 0: by who had the machine before; main thread */
};

static uint8_t *reg(struct root_port *r, unsigned at)
{
	return r->pci.config + r->cap + at;
}

static void set_bits(uint8_t *p, uint16_t bits, bool on)
{
	put_le16(p, on ? get_le16(p) | bits : get_le16(p) & ~bits);
}

/* Events whose enable bits have the same places, but for the link's (7.5.3.10, 7.5.3.11). Holds pci.lock. */
static bool wants_interrupt(struct root_port *r)
{
	uint16_t control = get_le16(reg(r, PCI_EXP_SLTCTL)), status = get_le16(reg(r, PCI_EXP_SLTSTA));

	return (control & PCI_EXP_SLTCTL_HPIE) &&
	       ((control & status & 0x1f) || ((control & PCI_EXP_SLTCTL_DLLSCE) && (status & PCI_EXP_SLTSTA_DLLSC)));
}

/* Holds pci.lock, as config_written() does. */
static void occupied(struct root_port *r, bool on, uint16_t events)
{
	set_bits(reg(r, PCI_EXP_SLTSTA), PCI_EXP_SLTSTA_PDS, on);
	set_bits(reg(r, PCI_EXP_LNKSTA), PCI_EXP_LNKSTA_DLLLA, on);
	set_bits(reg(r, PCI_EXP_SLTSTA), events, true);
}

/* As a reset leaves it: on, when something is there. */
static void set_power(struct root_port *r, bool on)
{
	uint16_t control = get_le16(reg(r, PCI_EXP_SLTCTL)) & ~(PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PIC);

	control |= on ? PCI_EXP_SLTCTL_PWR_ON | PCI_EXP_SLTCTL_PWR_IND_ON : PCI_EXP_SLTCTL_PWR_OFF | PCI_EXP_SLTCTL_PWR_IND_OFF;
	put_le16(reg(r, PCI_EXP_SLTCTL), control);
}

/* No bus number: since the reset nobody can have seen what is in the slot. Holds pci.lock. */
static bool is_unseen(const struct root_port *r)
{
	return !r->pci.config[PCI_SECONDARY_BUS];
}

/* Holds pci.lock. */
static bool is_off(struct root_port *r)
{
	uint16_t control = get_le16(reg(r, PCI_EXP_SLTCTL));

	return (control & PCI_EXP_SLTCTL_PCC) && (control & PCI_EXP_SLTCTL_PIC) == PCI_EXP_SLTCTL_PWR_IND_OFF;
}

/* What the driver has seen goes by a 1; the rest of the write is common code's. */
static bool port_access(struct pci_device *p, unsigned offset, unsigned len, uint32_t *value, bool write)
{
	struct root_port *r = (struct root_port *)p;
	unsigned at = r->cap + PCI_EXP_SLTSTA;

	for (unsigned i = 0; write && i < len; i++)
		if (offset + i - at < 2)
			p->config[offset + i] &= (uint8_t) ~(*value >> 8 * i & EVENTS >> 8 * (offset + i - at));
	return false;
}

/* Holds pci.lock. */
static void let_go(struct root_port *r, struct device *child)
{
	r->leaving = false;
	occupied(r, false, PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_DLLSC);
	child->core->unplugged(child->core->machine, child);
}

static void port_written(struct pci_device *p, unsigned offset, unsigned len)
{
	struct root_port *r = (struct root_port *)p;
	unsigned control = r->cap + PCI_EXP_SLTCTL;
	struct pci_device *in_slot;

	if (offset < control + 4 && offset + len > control) {
		if (offset < control + 2)
			set_bits(reg(r, PCI_EXP_SLTSTA), PCI_EXP_SLTSTA_CC, true); /* done at once */
		in_slot = pci_bus_first(p->secondary);
		if (r->leaving && in_slot && (get_le16(reg(r, PCI_EXP_SLTCTL)) & PCI_EXP_SLTCTL_PCC))
			let_go(r, &in_slot->dev);
	}
	pci_set_intx(p, wants_interrupt(r));
}

static void port_plugged(struct device *dev, struct device *child, bool hot)
{
	struct root_port *r = (struct root_port *)dev;

	g_mutex_lock(&r->pci.lock);
	r->leaving = false;
	occupied(r, true, hot ? PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_DLLSC : 0);
	/* As if it had been there from the start. */
	if (!hot || is_unseen(r))
		set_power(r, true);
	if (!hot)
		memcpy(r->pci.initial, r->pci.config, sizeof(r->pci.config));
	pci_set_intx(&r->pci, wants_interrupt(r));
	g_mutex_unlock(&r->pci.lock);
}

/* A second press within the driver's time to think would call the first one off. */
static bool port_unplug(struct device *dev, struct device *child, GError **error)
{
	struct root_port *r = (struct root_port *)dev;
	g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&r->pci.lock);
	uint16_t control = get_le16(reg(r, PCI_EXP_SLTCTL));

	if (r->leaving && r->asked && g_get_monotonic_time() - r->asked < ANSWER_US)
		return kv_fail(error, KV_ERROR_BUSY, "Device %s is already in the process of unplug", child->id);
	if ((control & PCI_EXP_SLTCTL_PIC) == PCI_EXP_SLTCTL_PWR_IND_BLINK)
		return kv_fail(error, KV_ERROR_BUSY, "Hot-unplug failed: guest is busy (power indicator blinking)");
	if (is_off(r) || is_unseen(r)) {
		set_power(r, false);
		let_go(r, child);
	} else {
		r->leaving = true;
		r->asked = g_get_monotonic_time();
		set_bits(reg(r, PCI_EXP_SLTSTA), PCI_EXP_SLTSTA_ABP, true);
	}
	pci_set_intx(&r->pci, wants_interrupt(r));
	return true;
}

static struct pci_bus *port_bus(struct device *dev)
{
	return ((struct pci_device *)dev)->secondary;
}

/* A bridge's header (PCI-to-PCI bridge 1.2, chapter 3): buses and windows are the guest's to fill. */
static void init_header(struct pci_device *p)
{
	static const struct {
		uint8_t at, len;
		uint8_t mask;
	} writable[] = {
		{PCI_PRIMARY_BUS, 3, 0xff},
		{PCI_IO_BASE, 2, 0xf0},
		{PCI_MEMORY_BASE + 1, 1, 0xff},
		{PCI_MEMORY_BASE, 1, 0xf0},
		{PCI_MEMORY_LIMIT, 1, 0xf0},
		{PCI_MEMORY_LIMIT + 1, 1, 0xff},
		{PCI_PREF_MEMORY_BASE, 1, 0xf0},
		{PCI_PREF_MEMORY_BASE + 1, 1, 0xff},
		{PCI_PREF_MEMORY_LIMIT, 1, 0xf0},
		{PCI_PREF_MEMORY_LIMIT + 1, 1, 0xff},
		{PCI_PREF_BASE_UPPER32, 8, 0xff},
		{PCI_IO_BASE_UPPER16, 4, 0xff},
		{PCI_BRIDGE_CONTROL, 1, PCI_BRIDGE_CTL_PARITY | PCI_BRIDGE_CTL_SERR | PCI_BRIDGE_CTL_ISA | PCI_BRIDGE_CTL_VGA}};

	p->config[PCI_HEADER_TYPE] = PCI_HEADER_TYPE_BRIDGE;
	put_le16(p->config + PCI_IO_BASE, PCI_IO_RANGE_TYPE_32 | PCI_IO_RANGE_TYPE_32 << 8);
	p->config[PCI_PREF_MEMORY_BASE] = p->config[PCI_PREF_MEMORY_LIMIT] = PCI_PREF_RANGE_TYPE_64;
	for (unsigned i = 0; i < G_N_ELEMENTS(writable); i++)
		memset(p->wmask + writable[i].at, writable[i].mask, writable[i].len);
}

static void init_capability(struct root_port *r, uint8_t port, uint32_t slot)
{
	struct pci_device *p = &r->pci;
	const uint32_t slot_cap = PCI_EXP_SLTCAP_ABP | PCI_EXP_SLTCAP_PCP | PCI_EXP_SLTCAP_AIP | PCI_EXP_SLTCAP_PIP |
				  PCI_EXP_SLTCAP_HPC | slot << 19;

	r->cap = (uint16_t)pci_add_capability(p, PCI_CAP_ID_EXP, CAP_SIZE);
	put_le16(reg(r, PCI_EXP_FLAGS), 2 | PCI_EXP_TYPE_ROOT_PORT << 4 | PCI_EXP_FLAGS_SLOT);
	put_le32(reg(r, PCI_EXP_DEVCAP), PCI_EXP_DEVCAP_RBER);
	put_le16(r->pci.wmask + r->cap + PCI_EXP_DEVCTL, 0x70ff);
	put_le32(reg(r, PCI_EXP_LNKCAP), PCI_EXP_LNKCAP_SLS_2_5GB | 1 << 4 | PCI_EXP_LNKCAP_DLLLARC | (uint32_t)port << 24);
	put_le16(r->pci.wmask + r->cap + PCI_EXP_LNKCTL, PCI_EXP_LNKCTL_LD | PCI_EXP_LNKCTL_CCC | PCI_EXP_LNKCTL_ES);
	put_le16(reg(r, PCI_EXP_LNKSTA), PCI_EXP_LNKSTA_CLS_2_5GB | PCI_EXP_LNKSTA_NLW_X1);
	put_le32(reg(r, PCI_EXP_SLTCAP), slot_cap);
	put_le16(reg(r, PCI_EXP_SLTCTL), PCI_EXP_SLTCTL_ATTN_IND_OFF);
	set_power(r, false);
	put_le16(r->pci.wmask + r->cap + PCI_EXP_SLTCTL, CONTROLS);
	put_le16(r->pci.wmask + r->cap + PCI_EXP_RTCTL, 0x1f);
}

static bool port_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	static const struct pci_ids ids = {
		.vendor = 0x1b36, .device = 0x000c, .subvendor = 0x1af4, .subdevice = 0x1100, .class_revision = 0x06040000};
	struct root_port *r = (struct root_port *)dev;
	guint64 port = 0, slot = 0;

	if (options) {
		g_variant_lookup(options, "port", "t", &port);
		g_variant_lookup(options, "slot", "t", &slot);
	}
	pci_init(&r->pci, &ids);
	/* A bridge has its subsystem in a capability, and no BARs at the place of the rest. */
	put_le32(r->pci.config + PCI_SUBSYSTEM_VENDOR_ID, 0);
	init_header(&r->pci);
	init_capability(r, (uint8_t)port, (uint32_t)slot);
	r->pci.config_access = port_access;
	r->pci.config_written = port_written;
	r->pci.secondary = pci_bus_new_secondary(&r->pci);
	if (pci_add(&r->pci, error))
		return true;
	pci_bus_free(g_steal_pointer(&r->pci.secondary));
	return false;
}

static void port_reset(struct device *dev)
{
	struct root_port *r = (struct root_port *)dev;
	bool there;

	pci_reset(&r->pci);
	g_mutex_lock(&r->pci.lock);
	r->leaving = false;
	there = pci_bus_first(r->pci.secondary) != NULL;
	occupied(r, there, 0);
	set_power(r, there);
	g_mutex_unlock(&r->pci.lock);
}

static void port_destroy(struct device *dev)
{
	struct pci_device *p = (struct pci_device *)dev;

	pci_remove(p);
	pci_bus_free(p->secondary);
}

static bool port_loaded(void *opaque, GError **error)
{
	struct root_port *r = opaque;
	bool there = get_le16(reg(r, PCI_EXP_SLTSTA)) & PCI_EXP_SLTSTA_PDS;

	if (there != (pci_bus_first(r->pci.secondary) != NULL))
		return kv_fail(error, KV_ERROR_INVALID, "%s: the saved state has %s in the slot, and this machine has %s",
			       r->pci.dev.id, there ? "a device" : "nothing", there ? "nothing" : "a device");
	pci_loaded(&r->pci);
	return true;
}

static const struct state_field port_fields[] = {STATE_ONE(struct root_port, pci, pci_state_fields),
						 STATE_INT(struct root_port, leaving, STATE_BOOL),
						 STATE_END};
static const struct state_desc port_state = {"pcie-root-port", 1, 1, port_fields, NULL, port_loaded};

static const struct device_key port_keys[] = {{"port", DEVICE_KEY_COUNT, "its number on the link", 0, 255},
					      {"chassis", DEVICE_KEY_COUNT, "where the slot is; said by no register", 0, 255},
					      {"slot", DEVICE_KEY_COUNT, "the slot's number", 0, SLOTS_MAX},
					      {}};

const struct device_class device_pcie_root_port = {
	.name = "pcie-root-port",
	.description = "PCI Express port whose device comes and goes",
	.size = sizeof(struct root_port),
	.create = port_create,
	.reset = port_reset,
	.destroy = port_destroy,
	.bus = port_bus,
	.plugged = port_plugged,
	.unplug = port_unplug,
	.state = &port_state,
	.keys = port_keys,
};
