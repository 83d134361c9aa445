/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands of the AHCI controller (AHCI 1.3.1, chapters 4 and 5; Serial ATA 3.0, 10.3 for the FIS): from the list in memory to
 * the device at the port, and the FIS of its answer. Called by ahci.c's work and by the devices when they are done.
 */
#include <string.h>

#include "ahci.h"
#include "bytes.h"

enum {
	HEADER = 32,
	HEADER_CFL = 0x1f, /* length of the FIS in dwords */
	HEADER_ATAPI = 1 << 5,
	HEADER_WRITE = 1 << 6,
	FIS_MIN = 5,
	FIS_BYTES = 20,
	ATAPI_AT = 0x40, /* in the command table */
	PRDT_AT = 0x80,
	PRD = 16,
	PRD_BLOCK = 64, /* read at a time */
	PRD_LENGTH = 0x3fffff,
	CMD_ST = 1 << 0,
	CMD_FRE = 1 << 4,
	CCS_SHIFT = 8,
	CCS = 0x1f << CCS_SHIFT,
};

enum { FIS_H2D = 0x27, FIS_D2H = 0x34, FIS_PIO = 0x5f, FIS_SDB = 0xa1 };
enum { FIS_COMMAND = 0x80, FIS_INTERRUPT = 0x40, FIS_TO_HOST = 0x20, CONTROL_SRST = 4 };
enum { RECEIVED_PIO = 0x20, RECEIVED_D2H = 0x40, RECEIVED_SDB = 0x58 }; /* where a port's answers are */

static struct guest_mem *mem_of(const struct ahci_port *p)
{
	return p->a->pci.dev.core->mem;
}

/* ---- FIS of the device ---- */

static void fatal(struct ahci_port *p, uint32_t bit)
{
	p->stopped = true;
	ahci_raise(p, bit);
}

static void post(struct ahci_port *p, unsigned at, const uint8_t *fis, unsigned len)
{
	if ((p->cmd & CMD_FRE) && !gpa_write(mem_of(p), p->fb + at, fis, len))
		fatal(p, AHCI_HBFS);
}

static void fill_registers(uint8_t *fis, const struct ata_taskfile *tf)
{
	fis[4] = tf->lba;
	fis[5] = tf->lba >> 8;
	fis[6] = tf->lba >> 16;
	fis[7] = tf->device;
	fis[8] = tf->lba >> 24;
	fis[9] = tf->lba >> 32;
	fis[10] = tf->lba >> 40;
	put_le16(fis + 12, tf->count);
}

void ahci_post_signature(struct ahci_port *p)
{
	const struct ata_taskfile tf = {.lba = p->sig >> 8, .count = p->sig & 0xff};
	uint8_t fis[FIS_BYTES] = {FIS_D2H, 0, p->tfd & 0xff, p->tfd >> 8};

	fill_registers(fis, &tf);
	p->signature = false;
	post(p, RECEIVED_D2H, fis, sizeof(fis));
}

static void set_status(struct ahci_port *p, uint8_t status, uint8_t error)
{
	p->tfd = (uint32_t)error << 8 | status;
}

static void answer_registers(struct ata_cmd *c)
{
	struct ahci_port *p = c->port;
	uint8_t fis[FIS_BYTES] = {FIS_D2H, FIS_INTERRUPT, c->status, c->error};

	fill_registers(fis, &c->tf);
	set_status(p, c->status, c->error);
	post(p, RECEIVED_D2H, fis, sizeof(fis));
}

/* All of a PIO command's data is in memory: the last of its FIS, whose end is the command's. */
static void answer_pio(struct ata_cmd *c)
{
	struct ahci_port *p = c->port;
	uint8_t fis[FIS_BYTES] = {FIS_PIO, FIS_INTERRUPT | FIS_TO_HOST, ATA_READY | ATA_DRQ, 0};

	fill_registers(fis, &c->tf);
	fis[15] = c->status;
	put_le16(fis + 16, c->transferred % (1 << 16));
	set_status(p, c->status, c->error);
	post(p, RECEIVED_PIO, fis, sizeof(fis));
	ahci_raise(p, AHCI_PSS);
}

static void post_set_bits(struct ahci_port *p, uint8_t status, uint8_t error, uint32_t ended)
{
	uint8_t fis[8] = {FIS_SDB, FIS_INTERRUPT, status & 0x77, error};

	put_le32(fis + 4, ended);
	set_status(p, (status & 0x77) | (p->tfd & (ATA_BSY | ATA_DRQ)), error);
	post(p, RECEIVED_SDB, fis, sizeof(fis));
	p->sact &= ~ended;
}

static void tell(struct ahci_port *p)
{
	uint32_t ended = p->ended;

	p->ended = 0;
	for (; p->n_ended; p->n_ended--)
		work_end(&p->a->work);
	if (!ended || p->stopped)
		return;
	post_set_bits(p, ATA_READY, 0, ended);
	ahci_raise(p, AHCI_SDBS);
}

void ahci_port_tell(void *opaque)
{
	struct ahci_port *p = opaque;

	g_mutex_lock(&p->a->lock);
	tell(p);
	g_mutex_unlock(&p->a->lock);
}

/* ---- the end of a command ---- */

static void answer_queued(struct ata_cmd *c)
{
	struct ahci_port *p = c->port;

	if (p->stopped) /* another one failed, with which all others are aborted */
		return;
	if (!(c->status & ATA_ERR)) {
		p->ended |= 1u << c->slot;
		return;
	}
	tell(p);
	if (p->disk)
		p->disk->ncq_error = (struct ata_ncq_error){true,	  c->slot,     c->status, c->error,
							    c->tf.device, c->tf.count, c->tf.lba};
	post_set_bits(p, c->status, c->error, 0);
	fatal(p, AHCI_TFES | AHCI_SDBS);
}

static void answer_other(struct ata_cmd *c)
{
	struct ahci_port *p = c->port;
	uint8_t count[4];

	put_le32(count, MIN(c->transferred, UINT32_MAX));
	if (!gpa_write(mem_of(p), p->clb + c->slot * HEADER + 4, count, sizeof(count))) {
		fatal(p, AHCI_HBFS);
		return;
	}
	if (c->status & ATA_ERR) {
		answer_registers(c);
		fatal(p, AHCI_TFES | AHCI_DHRS);
		return;
	}
	p->ci &= ~(1u << c->slot);
	if (c->pio_in) {
		answer_pio(c);
	} else {
		answer_registers(c);
		ahci_raise(p, AHCI_DHRS);
	}
}

static void answer(struct ata_cmd *c)
{
	struct ahci_port *p = c->port;

	if (!c->write)
		dma_written(&c->data, mem_of(p), c->transferred);
	if (c->overflow)
		ahci_raise(p, AHCI_OFS);
	if (c->no_data)
		fatal(p, AHCI_HBFS);
	else if (c->queued)
		answer_queued(c);
	else
		answer_other(c);
}

static void forget(struct ata_cmd *c)
{
	struct ahci_port *p = c->port;

	p->n_busy--;
	if (c->dead)
		p->n_dead--;
	else
		p->at[c->slot] = NULL;
	ata_end(c);
	g_free(c);
}

/* What queued commands have ended is told when all that ended together has; until then the work is not over. */
static void finish(struct ata_cmd *c)
{
	struct ahci_port *p = c->port;
	bool later = c->queued;

	if (c->dead) /* nobody waits for its answer, but the bytes are there */
		dma_written(&c->data, mem_of(p), c->write ? 0 : c->transferred);
	else
		answer(c);
	forget(c);
	if (later)
		p->n_ended++;
	else
		work_end(&p->a->work);
	if (p->ci || p->resetting || p->a->resetting || p->n_dead)
		work_kick(&p->a->work);
}

void ahci_done(struct ata_cmd *c)
{
	struct ahci *a = c->port->a;

	g_mutex_lock(&a->lock);
	finish(c);
	g_mutex_unlock(&a->lock);
}

void ahci_kept(struct ata_cmd *c, bool kept)
{
	struct ahci *a = c->port->a;

	g_mutex_lock(&a->lock);
	c->port->n_kept += kept ? 1 : -1u;
	if (c->port->n_dead)
		work_kick(&a->work);
	g_mutex_unlock(&a->lock);
	if (kept)
		work_end(&a->work);
	else
		work_begin(&a->work);
}

static void drop(struct disk_req *req)
{
	struct ata_cmd *c = (struct ata_cmd *)req;
	struct ahci_port *p = c->port;

	g_mutex_lock(&p->a->lock);
	p->n_kept--;
	forget(c);
	g_mutex_unlock(&p->a->lock);
}

void ahci_port_drop_kept(struct ahci_port *p)
{
	if (p->disk)
		disk_queue_drop(p->disk->io, drop);
	for (unsigned i = 0; p->cd && i < p->cd->n_io; i++)
		disk_queue_drop(p->cd->io[i], drop);
}

void ahci_port_abandon(struct ahci_port *p)
{
	for (unsigned i = 0; i < AHCI_SLOTS; i++) {
		if (!p->at[i])
			continue;
		p->at[i]->dead = true;
		p->n_dead++;
		p->at[i] = NULL;
	}
	p->ended = 0;
	p->ci = p->sact = 0;
	p->cmd &= ~CCS;
	p->tfd &= ~ATA_BSY;
	p->stopped = p->soft_reset = false;
}

/* ---- the data of a command ---- */

/* One block of the table: its pieces up to *left bytes. */
static bool add_pieces(struct ata_cmd *c, const uint8_t *table, unsigned n, uint64_t *left)
{
	for (unsigned i = 0; i < n && *left; i++, table += PRD) {
		uint64_t len = MIN((get_le32(table + 12) & PRD_LENGTH) + 1ull, *left);

		if (!dma_add(&c->data, mem_of(c->port), get_le64(table) & ~1ull, len))
			return false;
		*left -= len;
	}
	return true;
}

bool ata_map(struct ata_cmd *c, uint64_t len, bool partial)
{
	uint8_t table[PRD_BLOCK * PRD];
	uint64_t left = len;

	for (unsigned i = 0; i < c->n_pieces && left; i += PRD_BLOCK) {
		unsigned n = MIN(c->n_pieces - i, PRD_BLOCK);

		if (!gpa_read(mem_of(c->port), c->table + (uint64_t)i * PRD, table, n * PRD) ||
		    !add_pieces(c, table, n, &left)) {
			if (partial)
				return true;
			c->no_data = true;
			ata_fail(c, ATA_ABRT);
			return false;
		}
	}
	if (!left || partial)
		return true;
	c->overflow = true;
	ata_fail(c, ATA_ABRT);
	return false;
}

/* ---- the start ---- */

/* SRST on and off again is a reset of the device (Serial ATA 3.0, 11.4). */
static void control(struct ahci_port *p, unsigned slot, uint8_t value)
{
	bool on = value & CONTROL_SRST;

	p->ci &= ~(1u << slot);
	if (p->soft_reset && !on) {
		if (p->disk)
			sata_disk_reset(p->disk);
		if (p->cd)
			atapi_reset(&p->atapi, p->cd);
		set_status(p, p->cd ? 0 : ATA_READY, 1);
		p->sig = p->cd ? ATAPI_SIGNATURE : ATA_DISK_SIGNATURE;
		ahci_post_signature(p);
	}
	p->soft_reset = on;
}

static void parse(struct ata_cmd *c, const uint8_t *fis)
{
	c->tf = (struct ata_taskfile){
		.command = fis[2],
		.features = fis[3] | fis[11] << 8,
		.lba = fis[4] | fis[5] << 8 | fis[6] << 16 | (uint64_t)fis[8] << 24 | (uint64_t)fis[9] << 32 |
		       (uint64_t)fis[10] << 40,
		.device = fis[7],
		.count = get_le16(fis + 12),
	};
}

static bool is_queued(const struct ahci_port *p, const uint8_t *fis)
{
	return p->disk && (fis[1] & FIS_COMMAND) && (fis[2] == 0x60 || fis[2] == 0x61);
}

/* Queued commands run together, others alone. */
static bool may_start(const struct ahci_port *p, bool queued)
{
	return queued ? !(p->tfd & (ATA_BSY | ATA_DRQ)) : !p->n_busy;
}

static void run(struct ahci_port *p, struct ata_cmd *c)
{
	p->at[c->slot] = c;
	p->n_busy++;
	p->cmd = (p->cmd & ~CCS) | c->slot << CCS_SHIFT;
	if (c->queued)
		p->ci &= ~(1u << c->slot);
	else
		p->tfd |= ATA_BSY;
	work_begin(&p->a->work);
	if (p->disk ? ata_disk_start(p->disk, c) : atapi_start(&p->atapi, p->cd, c))
		finish(c);
}

/* The command of a slot, which may have to wait. */
static void try_slot(struct ahci_port *p, unsigned slot)
{
	uint8_t header[HEADER], table[PRDT_AT];
	struct ata_cmd *c;
	uint64_t at;
	bool queued;

	if (!gpa_read(mem_of(p), p->clb + slot * HEADER, header, sizeof(header))) {
		fatal(p, AHCI_HBFS);
		return;
	}
	at = get_le64(header + 8) & ~(uint64_t)(PRDT_AT - 1);
	if (!gpa_read(mem_of(p), at, table, sizeof(table))) {
		fatal(p, AHCI_HBFS);
		return;
	}
	if ((header[0] & HEADER_CFL) < FIS_MIN || table[0] != FIS_H2D) {
		fatal(p, AHCI_IFS);
		return;
	}
	queued = is_queued(p, table);
	if (!may_start(p, queued))
		return;
	if (!(table[1] & FIS_COMMAND)) {
		control(p, slot, table[15]);
		return;
	}
	c = g_new0(struct ata_cmd, 1);
	c->port = p;
	c->slot = slot;
	c->queued = queued;
	c->write = header[0] & HEADER_WRITE;
	c->table = at + PRDT_AT;
	c->n_pieces = get_le16(header + 2);
	parse(c, table);
	memcpy(c->scsi.cdb, table + ATAPI_AT, SCSI_CDB);
	run(p, c);
}

static bool can_run(const struct ahci_port *p)
{
	return (p->cmd & CMD_ST) && !p->stopped && !p->n_dead && !p->resetting && !p->a->resetting && ahci_has_device(p) &&
	       !(p->sctl & 0xf);
}

void ahci_port_issue(struct ahci_port *p)
{
	unsigned first;

	g_mutex_lock(&p->a->lock);
	first = (p->cmd & CCS) >> CCS_SHIFT;
	for (unsigned i = 1; i <= AHCI_SLOTS && p->ci && can_run(p); i++) {
		unsigned slot = (first + i) % AHCI_SLOTS;

		if ((p->ci & 1u << slot) && !p->at[slot])
			try_slot(p, slot);
	}
	tell(p);
	g_mutex_unlock(&p->a->lock);
	if (p->disk)
		disk_kick(p->disk->io);
	for (unsigned i = 0; p->cd && i < p->cd->n_io; i++)
		disk_kick(p->cd->io[i]);
}
