/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A port of the AHCI controller (AHCI 1.3.1, 3.3 and 10.1): registers, start and stop, resets of the link. Called by ahci.c. */
#include "ahci.h"

enum {
	CLB = 0x00,
	CLBU = 0x04,
	FB = 0x08,
	FBU = 0x0c,
	IS = 0x10,
	IE = 0x14,
	CMD = 0x18,
	TFD = 0x20,
	SIG = 0x24,
	SSTS = 0x28,
	SCTL = 0x2c,
	SERR = 0x30,
	SACT = 0x34,
	CI = 0x38,
};

enum {
	CMD_ST = 1 << 0,
	CMD_SUD = 1 << 1,
	CMD_POD = 1 << 2,
	CMD_CLO = 1 << 3,
	CMD_FRE = 1 << 4,
	CMD_FR = 1 << 14,
	CMD_CR = 1 << 15,
	CMD_ATAPI = 1 << 24,
	CMD_WRITABLE = CMD_ST | CMD_FRE | CMD_ATAPI | 1 << 25 /* DLAE */,
	CMD_POWER_ON = CMD_SUD | CMD_POD,
	SCTL_DET = 0xf,
	SCTL_WRITABLE = 0xfff,
	DET_RESET = 1,
	DET_OFF = 4,
	SSTS_UP = 0x133, /* active, 6 Gb/s, a device and its link */
	SSTS_OFFLINE = 4,
	SERR_X = 1 << 26, /* exchanged: a device has come */
	SERR_N = 1 << 16, /* PhyRdy has changed */
	SERR_BITS = 0x07ff0f03,
	TFD_NOTHING = 0x7f,
	SIG_NOTHING = -1,
	CLB_ALIGN = 1024,
	FB_ALIGN = 256,
};

bool ahci_has_device(const struct ahci_port *p)
{
	return p->disk || p->cd;
}

static bool is_up(const struct ahci_port *p)
{
	return ahci_has_device(p) && (p->sctl & SCTL_DET) != DET_RESET && (p->sctl & SCTL_DET) != DET_OFF && !p->resetting;
}

static uint32_t link_status(const struct ahci_port *p)
{
	if ((p->sctl & SCTL_DET) == DET_OFF)
		return SSTS_OFFLINE;
	return is_up(p) ? SSTS_UP : 0;
}

/* PCS and PRCS show bits of SERR (3.3.5). */
static void follow_serr(struct ahci_port *p)
{
	p->is &= ~(AHCI_PCS | AHCI_PRCS);
	if (p->serr & SERR_X)
		p->is |= AHCI_PCS;
	if (p->serr & SERR_N)
		p->is |= AHCI_PRCS;
}

/* The device sends its signature as soon as there is a link. */
static void link_up(struct ahci_port *p)
{
	if (!ahci_has_device(p)) {
		p->tfd = TFD_NOTHING;
		p->sig = SIG_NOTHING;
		return;
	}
	p->sig = p->cd ? ATAPI_SIGNATURE : ATA_DISK_SIGNATURE;
	p->tfd = 1 << 8 | (p->cd ? 0 : ATA_READY);
	p->signature = true;
	p->serr |= SERR_X;
	follow_serr(p);
	if (p->cmd & CMD_FRE)
		ahci_post_signature(p);
}

static void reset_device(struct ahci_port *p)
{
	if (p->disk)
		sata_disk_reset(p->disk);
	if (p->cd)
		atapi_reset(&p->atapi, p->cd);
}

void ahci_port_power_on(struct ahci_port *p)
{
	ahci_port_abandon(p);
	p->clb = p->fb = 0;
	p->is = p->ie = p->serr = p->sctl = 0;
	p->cmd = CMD_POWER_ON;
	p->signature = p->stopped = p->resetting = false;
	reset_device(p);
	link_up(p);
}

void ahci_port_settle(struct ahci_port *p)
{
	if (!p->resetting || p->n_busy)
		return;
	p->resetting = false;
	reset_device(p);
	if ((p->sctl & SCTL_DET) == 0)
		link_up(p);
	ahci_interrupt(p->a);
}

static bool can_be_used(const struct ahci_port *p)
{
	return (p->cmd & CMD_FRE) && !(p->tfd & (ATA_BSY | ATA_DRQ));
}

static void write_command(struct ahci_port *p, uint32_t value)
{
	uint32_t old = p->cmd;

	p->cmd = (old & ~CMD_WRITABLE) | (value & CMD_WRITABLE);
	if ((value & CMD_CLO) && !(old & CMD_ST))
		p->tfd &= ~(ATA_BSY | ATA_DRQ);
	/* The list is not to run where answers have no place (10.3.1). */
	if (!(old & CMD_ST) && (p->cmd & CMD_ST) && !can_be_used(p) && ahci_has_device(p))
		p->cmd &= ~CMD_ST;
	if ((old & CMD_ST) && !(p->cmd & CMD_ST))
		ahci_port_abandon(p);
	if ((p->cmd & CMD_FRE) && p->signature)
		ahci_post_signature(p);
}

/* COMRESET as long as DET is 1; the device answers when it is 0 again, and when what it was doing has ended. */
static void write_control(struct ahci_port *p, uint32_t value)
{
	uint32_t old = p->sctl & SCTL_DET;

	p->sctl = value & SCTL_WRITABLE;
	value &= SCTL_DET;
	if (old == value)
		return;
	if (value == DET_RESET || value == DET_OFF) {
		ahci_port_abandon(p);
		p->tfd = ahci_has_device(p) ? TFD_NOTHING | ATA_BSY : TFD_NOTHING;
		p->sig = SIG_NOTHING;
		p->signature = p->stopped = false;
		p->resetting = true;
		p->serr |= ahci_has_device(p) ? SERR_N : 0;
		follow_serr(p);
	} else if (!value && !p->resetting) {
		link_up(p);
	}
}

uint32_t ahci_port_read(struct ahci_port *p, unsigned offset)
{
	uint32_t running = (p->cmd & CMD_ST) || p->n_dead ? CMD_CR : 0;

	switch (offset) {
	case CLB:
		return (uint32_t)p->clb;
	case CLBU:
		return p->clb >> 32;
	case FB:
		return (uint32_t)p->fb;
	case FBU:
		return p->fb >> 32;
	case IS:
		return p->is;
	case IE:
		return p->ie;
	case CMD:
		return p->cmd | running | (p->cmd & CMD_FRE ? CMD_FR : 0);
	case TFD:
		return p->tfd;
	case SIG:
		return p->sig;
	case SSTS:
		return link_status(p);
	case SCTL:
		return p->sctl;
	case SERR:
		return p->serr;
	case SACT:
		return p->sact;
	case CI:
		return p->ci;
	}
	return 0;
}

static void write_low(uint64_t *address, uint32_t value, uint32_t align)
{
	*address = (*address & ~(uint64_t)UINT32_MAX) | (value & ~(align - 1));
}

static void write_high(uint64_t *address, uint32_t value)
{
	*address = (*address & UINT32_MAX) | (uint64_t)value << 32;
}

void ahci_port_write(struct ahci_port *p, unsigned offset, uint32_t value)
{
	switch (offset) {
	case CLB:
		write_low(&p->clb, value, CLB_ALIGN);
		break;
	case CLBU:
		write_high(&p->clb, value);
		break;
	case FB:
		write_low(&p->fb, value, FB_ALIGN);
		break;
	case FBU:
		write_high(&p->fb, value);
		break;
	case IS:
		p->is &= ~value;
		follow_serr(p);
		break;
	case IE:
		p->ie = value & AHCI_INTERRUPTS;
		break;
	case CMD:
		write_command(p, value);
		break;
	case SCTL:
		write_control(p, value);
		break;
	case SERR:
		p->serr &= ~(value & SERR_BITS);
		follow_serr(p);
		break;
	case SACT:
		p->sact |= p->cmd & CMD_ST ? value : 0;
		return;
	case CI:
		p->ci |= p->cmd & CMD_ST ? value : 0;
		break;
	default:
		return;
	}
	ahci_interrupt(p->a);
	if (offset == CI || offset == CMD || offset == SCTL)
		work_kick(&p->a->work);
}
