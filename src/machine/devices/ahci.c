/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The AHCI controller of Intel's ICH9 (AHCI 1.3.1; PCI 8086:2922), 6 ports with a SATA disk or CD-ROM drive each: the PCI
 * function, its global registers (3.1), interrupts, and which device is where. Created by the boards with the first SATA drive.
 * The ports of an IDE controller are left out: it is always in AHCI mode.
 */
#include "ahci.h"

#include <string.h>

#include <linux/pci_regs.h>

#include "bytes.h"
#include "classes.h"
#include "error.h"

enum {
	ABAR = 5,
	ABAR_SIZE = 4096,
	PAIR_BAR = 4, /* index and data, in I/O space (Serial ATA AHCI 1.3.1, 2.4.2) */
	PAIR_SIZE = 32,
	PAIR_INDEX = 0x10,
	PAIR_DATA = 0x14,
	CAP_SATA = 0x12,
	SATA_REVISION = 0x10,
	CAP = 0x00,
	GHC = 0x04,
	IS = 0x08,
	PI = 0x0c,
	VS = 0x10,
	PORTS_AT = 0x100,
	PORT_SIZE = 0x80,
	GHC_RESET = 1,
	GHC_INTERRUPTS = 2,
	VERSION = 0x00010301,
};
#define GHC_AHCI 0x80000000u
/* 64 bits, NCQ, command list override, 6 Gb/s, AHCI only, all slots, 6 ports. */
#define CAPABILITIES (1u << 31 | 1u << 30 | 1u << 24 | 3u << 20 | 1u << 18 | (AHCI_SLOTS - 1) << 8 | (AHCI_PORTS - 1))

/* ---- interrupts ---- */

void ahci_interrupt(struct ahci *a)
{
	bool want;

	for (unsigned i = 0; i < AHCI_PORTS; i++)
		if (a->port[i].is & a->port[i].ie)
			a->is |= 1u << i;
	want = (a->ghc & GHC_INTERRUPTS) && a->is;
	pci_set_intx(&a->pci, want && !pci_msi_enabled(&a->pci));
	/* A message more than there are events does no harm, one less would. */
	if (want)
		pci_msi_notify(&a->pci);
}

void ahci_raise(struct ahci_port *p, uint32_t bits)
{
	p->is |= bits;
	if (bits & p->ie)
		ahci_interrupt(p->a);
}

/* MSI is switched on or off. */
static void config_written(struct pci_device *pci, unsigned offset, unsigned len)
{
	struct ahci *a = (struct ahci *)pci;

	if (offset < pci->msi_cap || offset > pci->msi_cap + PCI_MSI_FLAGS + 1u)
		return;
	g_mutex_lock(&a->lock);
	ahci_interrupt(a);
	g_mutex_unlock(&a->lock);
}

/* ---- resets, work ---- */

static void power_on(struct ahci *a)
{
	a->ghc = GHC_AHCI;
	a->is = 0;
	a->resetting = false;
	for (unsigned i = 0; i < AHCI_PORTS; i++)
		ahci_port_power_on(&a->port[i]);
	pci_set_intx(&a->pci, false);
}

static void start_reset(struct ahci *a)
{
	for (unsigned i = 0; i < AHCI_PORTS; i++) {
		ahci_port_abandon(&a->port[i]);
		a->port[i].cmd &= ~1u;
	}
	a->ghc = GHC_AHCI | GHC_RESET;
	a->resetting = true;
	work_kick(&a->work);
}

static bool is_idle(const struct ahci *a)
{
	for (unsigned i = 0; i < AHCI_PORTS; i++)
		if (a->port[i].n_busy)
			return false;
	return true;
}

/* Kept requests that nobody waits for are not waited for, either. */
static void drop_dead(struct ahci_port *p)
{
	bool drop;

	g_mutex_lock(&p->a->lock);
	drop = p->n_dead && p->n_kept;
	g_mutex_unlock(&p->a->lock);
	if (drop)
		ahci_port_drop_kept(p);
}

static struct disk *disk_of(const struct ahci_port *p)
{
	return p->disk ? p->disk->disk : p->cd ? p->cd->disk : NULL;
}

/* Somebody waits for what is under way. */
static void hurry(void *opaque)
{
	struct ahci *a = opaque;

	for (unsigned i = 0; i < AHCI_PORTS; i++)
		if (disk_of(&a->port[i]))
			disk_hurry(disk_of(&a->port[i]));
}

static void settle(struct ahci *a)
{
	for (unsigned i = 0; i < AHCI_PORTS; i++) {
		struct ahci_port *p = &a->port[i];

		ahci_port_settle(p);
		if (p->n_dead && disk_of(p))
			disk_hurry(disk_of(p));
	}
	if (a->resetting && is_idle(a))
		power_on(a);
}

static void work(void *opaque)
{
	struct ahci *a = opaque;

	for (unsigned i = 0; i < AHCI_PORTS; i++)
		drop_dead(&a->port[i]);
	g_mutex_lock(&a->lock);
	settle(a);
	g_mutex_unlock(&a->lock);
	for (unsigned i = 0; i < AHCI_PORTS; i++)
		if (__atomic_load_n(&a->port[i].ci, __ATOMIC_RELAXED))
			ahci_port_issue(&a->port[i]);
}

/* ---- registers ---- */

static uint32_t read_register(struct ahci *a, unsigned at)
{
	if (at >= PORTS_AT)
		return at < PORTS_AT + AHCI_PORTS * PORT_SIZE ?
			       ahci_port_read(&a->port[(at - PORTS_AT) / PORT_SIZE], (at - PORTS_AT) % PORT_SIZE) :
			       0;
	switch (at) {
	case CAP:
		return CAPABILITIES;
	case GHC:
		return a->ghc;
	case IS:
		return a->is;
	case PI:
		return (1u << AHCI_PORTS) - 1;
	case VS:
		return VERSION;
	}
	return 0;
}

static void write_register(struct ahci *a, unsigned at, uint32_t value)
{
	if (a->resetting)
		return;
	if (at >= PORTS_AT && at < PORTS_AT + AHCI_PORTS * PORT_SIZE) {
		ahci_port_write(&a->port[(at - PORTS_AT) / PORT_SIZE], (at - PORTS_AT) % PORT_SIZE, value);
	} else if (at == GHC && (value & GHC_RESET)) {
		start_reset(a);
	} else if (at == GHC) {
		a->ghc = GHC_AHCI | (value & GHC_INTERRUPTS);
		ahci_interrupt(a);
	} else if (at == IS) {
		a->is &= ~value;
		ahci_interrupt(a);
	}
}

static uint64_t read_dword(struct ahci *a, uint64_t offset)
{
	uint32_t value;

	g_mutex_lock(&a->lock);
	value = read_register(a, (unsigned)offset);
	g_mutex_unlock(&a->lock);
	return value;
}

/* Drivers read dwords; parts of them are what they are parts of. */
static uint64_t abar_read(void *opaque, uint64_t offset, unsigned size)
{
	unsigned in = offset & 3;
	uint64_t value = read_dword(opaque, offset & ~3ull) >> (8 * in);

	if (size == 8 && !in)
		value |= read_dword(opaque, offset + 4) << 32;
	return value;
}

static void write_dword(struct ahci *a, uint64_t offset, uint32_t value)
{
	g_mutex_lock(&a->lock);
	write_register(a, (unsigned)offset, value);
	g_mutex_unlock(&a->lock);
}

/* Writes that are not of dwords are for nobody (3). */
static void abar_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	if (size < 4 || offset & 3)
		return;
	write_dword(opaque, offset, (uint32_t)data);
	if (size == 8)
		write_dword(opaque, offset + 4, data >> 32);
}

static const struct bus_ops abar_ops = {abar_read, abar_write};

static uint64_t pair_read(void *opaque, uint64_t offset, unsigned size)
{
	struct ahci *a = opaque;
	uint32_t index = __atomic_load_n(&a->index, __ATOMIC_RELAXED);

	if (size != 4)
		return 0;
	return offset == PAIR_INDEX ? index : offset == PAIR_DATA ? read_dword(a, index) : 0;
}

static void pair_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct ahci *a = opaque;

	if (size != 4)
		return;
	if (offset == PAIR_INDEX)
		__atomic_store_n(&a->index, (uint32_t)data & (ABAR_SIZE - 1) & ~3u, __ATOMIC_RELAXED);
	else if (offset == PAIR_DATA)
		write_dword(a, __atomic_load_n(&a->index, __ATOMIC_RELAXED), (uint32_t)data);
}

static const struct bus_ops pair_ops = {pair_read, pair_write};

/* ---- devices at the ports ---- */

static struct ahci_port *free_port(struct ahci *a, const char *id, GError **error)
{
	for (unsigned i = 0; i < AHCI_PORTS; i++)
		if (!ahci_has_device(&a->port[i]))
			return &a->port[i];
	kv_fail(error, KV_ERROR_USAGE, "%s: %s has %d drives, and no room for more", id, a->pci.dev.id, AHCI_PORTS);
	return NULL;
}

static void plug(struct ahci_port *p)
{
	g_mutex_lock(&p->a->lock);
	ahci_port_power_on(p);
	g_mutex_unlock(&p->a->lock);
}

bool ahci_attach_disk(struct device *controller, struct sata_disk *d, GError **error)
{
	struct ahci_port *p;

	if (!controller || controller->cls != &device_ahci)
		return kv_fail(error, KV_ERROR_USAGE, "%s: a SATA disk needs an AHCI controller", d->dev.id);
	p = free_port((struct ahci *)controller, d->dev.id, error);
	if (!p)
		return false;
	d->port = p->number;
	p->disk = d;
	disk_queue_on_batch(d->io, ahci_port_tell, p);
	plug(p);
	return true;
}

void ahci_detach(struct device *controller, unsigned port)
{
	struct ahci *a = (struct ahci *)controller;
	struct ahci_port *p = &a->port[port];

	work_pause(&a->work);
	ahci_port_drop_kept(p);
	p->disk = NULL;
	p->cd = NULL;
	plug(p);
}

static bool attach_unit(struct device *controller, struct scsi_lun *lun, unsigned *ret_unit, unsigned *ret_queues,
			GError **error)
{
	struct ahci_port *p;

	if (!lun->cdrom)
		return kv_fail(error, KV_ERROR_USAGE, "%s: SATA has no SCSI disks; use sata-disk", lun->dev.id);
	p = free_port((struct ahci *)controller, lun->dev.id, error);
	if (!p)
		return false;
	p->cd = lun;
	*ret_unit = p->number;
	*ret_queues = 1;
	plug(p);
	return true;
}

static void unit_done(struct scsi_req *r)
{
	struct ata_cmd *c = (struct ata_cmd *)r;

	atapi_done(&c->port->atapi, c);
	ahci_done(c);
}

static void unit_kept(struct scsi_req *r, bool kept)
{
	ahci_kept((struct ata_cmd *)r, kept);
}

/* Drivers ask; there is no event for it. */
static void unit_changed(struct device *controller, unsigned unit, uint8_t asc, uint8_t ascq)
{
}

static const struct scsi_host host = {.interface = SCSI_INTERFACE_SATA,
				      .attach = attach_unit,
				      .done = unit_done,
				      .kept = unit_kept,
				      .changed = unit_changed,
				      .detach = ahci_detach};

/* ---- the device ---- */

static void add_capabilities(struct ahci *a)
{
	unsigned cap;

	pci_add_msi(&a->pci);
	cap = pci_add_capability(&a->pci, CAP_SATA, 8);
	a->pci.config[cap + 2] = SATA_REVISION;
	put_le32(a->pci.config + cap + 4, (PAIR_INDEX / 4) << 4 | (PAIR_BAR + 4)); /* the BAR by its dword */
}

static bool create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	static const struct pci_ids ids = {0x8086, 0x2922, 0x1af4, 0x1100, 0x01060102};
	struct ahci *a = (struct ahci *)dev;
	uint32_t slot = 0xff, function = 0;

	if (options) {
		g_variant_lookup(options, "slot", "u", &slot);
		g_variant_lookup(options, "function", "u", &function);
	}
	g_mutex_init(&a->lock);
	for (unsigned i = 0; i < AHCI_PORTS; i++) {
		a->port[i].a = a;
		a->port[i].number = i;
	}
	pci_init(&a->pci, &ids);
	a->pci.slot = (uint8_t)slot;
	a->pci.function = (uint8_t)function;
	a->pci.config_written = config_written;
	pci_set_bar(&a->pci, PAIR_BAR, PAIR_SIZE, true, false, &pair_ops, a);
	pci_set_bar(&a->pci, ABAR, ABAR_SIZE, false, false, &abar_ops, a);
	add_capabilities(a);
	work_init(&a->work, dev->core->context, work, hurry, a);
	if (pci_add(&a->pci, error)) {
		power_on(a);
		return true;
	}
	work_destroy(&a->work);
	pci_remove(&a->pci);
	g_mutex_clear(&a->lock);
	return false;
}

static void reset(struct device *dev)
{
	struct ahci *a = (struct ahci *)dev;

	for (unsigned i = 0; i < AHCI_PORTS; i++)
		ahci_port_drop_kept(&a->port[i]);
	g_mutex_lock(&a->lock);
	power_on(a);
	a->index = 0;
	g_mutex_unlock(&a->lock);
	pci_reset(&a->pci);
}

static void destroy(struct device *dev)
{
	struct ahci *a = (struct ahci *)dev;

	work_destroy(&a->work);
	pci_remove(&a->pci);
	g_mutex_clear(&a->lock);
}

static void rest(struct device *dev)
{
	work_pause(&((struct ahci *)dev)->work);
}

static void resume(struct device *dev)
{
	work_resume(&((struct ahci *)dev)->work);
}

/* What waited belongs to lists that are not there any more. */
static bool after_load(void *opaque, GError **error)
{
	struct ahci *a = opaque;

	for (unsigned i = 0; i < AHCI_PORTS; i++) {
		struct ahci_port *p = &a->port[i];

		ahci_port_drop_kept(p);
		if (p->n_busy)
			return kv_fail(error, KV_ERROR_INVALID, "%s: commands are under way", a->pci.dev.id);
		if ((p->clb & 1023) || (p->fb & 255) || (p->sctl & ~0xfffu))
			return kv_fail(error, KV_ERROR_INVALID, "%s: port %u of the saved state has impossible registers",
				       a->pci.dev.id, i);
	}
	if (a->index & ~(ABAR_SIZE - 4u))
		return kv_fail(error, KV_ERROR_INVALID, "%s: the saved index is not one of a register", a->pci.dev.id);
	pci_loaded(&a->pci);
	work_kick(&a->work);
	return true;
}

static const struct state_field port_fields[] = {
	STATE_INT(struct ahci_port, clb, STATE_U64),
	STATE_INT(struct ahci_port, fb, STATE_U64),
	STATE_INT(struct ahci_port, is, STATE_U32),
	STATE_INT(struct ahci_port, ie, STATE_U32),
	STATE_INT(struct ahci_port, cmd, STATE_U32),
	STATE_INT(struct ahci_port, tfd, STATE_U32),
	STATE_INT(struct ahci_port, sig, STATE_U32),
	STATE_INT(struct ahci_port, sctl, STATE_U32),
	STATE_INT(struct ahci_port, serr, STATE_U32),
	STATE_INT(struct ahci_port, sact, STATE_U32),
	STATE_INT(struct ahci_port, ci, STATE_U32),
	STATE_INT(struct ahci_port, signature, STATE_BOOL),
	STATE_INT(struct ahci_port, soft_reset, STATE_BOOL),
	STATE_INT(struct ahci_port, stopped, STATE_BOOL),
	STATE_INT(struct ahci_port, resetting, STATE_BOOL),
	STATE_RAW(struct ahci_port, atapi.sense),
	STATE_END,
};

static const struct state_field fields[] = {
	STATE_ONE(struct ahci, pci, pci_state_fields),
	STATE_INT(struct ahci, ghc, STATE_U32),
	STATE_INT(struct ahci, is, STATE_U32),
	STATE_INT(struct ahci, resetting, STATE_BOOL),
	STATE_INT(struct ahci, index, STATE_U32),
	{.name = "ports",
	 .offset = offsetof(struct ahci, port),
	 .type = STATE_STRUCT,
	 .since = 1,
	 .size = sizeof(struct ahci_port),
	 .count = AHCI_PORTS,
	 .fields = port_fields},
	STATE_END,
};

static const struct state_desc state = {
	.name = "ahci", .version = 1, .oldest = 1, .fields = fields, .after_load = after_load};

const struct device_class device_ahci = {
	.name = "ahci",
	.description = "AHCI (SATA) controller",
	.size = sizeof(struct ahci),
	.create = create,
	.reset = reset,
	.destroy = destroy,
	.pause = rest,
	.resume = resume,
	.state = &state,
	.scsi = &host,
};
