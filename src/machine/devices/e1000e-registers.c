/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The 82574's registers (datasheet, chapter 10): one table says which there are and what of them a driver may change, two
 * functions what more a write or read does. Reached through BAR 0, or through an address and a data port (3.1.2.1).
 */
#include <string.h>

#include "e1000e.h"

enum {
	ALIASES_END = 0x800,
	SMBI = 1,
	EECD_REQUEST = 1 << 6, EECD_GRANT = 1 << 7, EECD_PRESENT = 1 << 8, EECD_AUTO_READ = 1 << 9,
	RESET_ADDRESS_VALID = 1u << 31,
	TSYNCRXCTL = 0xb620, SYSTIML = 0xb600, SYSTIMH = 0xb604, TIMINCA = 0xb608,
	TICK_NS = 40, /* 10.2.11.8: TIMINCA's periods are of 25 MHz */
};

struct range {
	uint16_t offset, words;
	uint32_t writable, initial;
};

/* By offset. What is not here reads as zero. */
static const struct range ranges[] = {
	{CTRL, 1, ~0u, CTRL_FD | CTRL_SLU | CTRL_SPEED_1000},
	{STATUS, 1, 0, STATUS_FD | STATUS_SPEED_1000 | STATUS_ASDV_1000},
	{EECD, 1, 0x4f, 0},
	{EERD, 1, 0, 0},
	{CTRL_EXT, 1, ~(uint32_t)CTRL_EXT_EE_RST, 0},
	{FLA, 1, 0x1f, 0},
	{MDIC, 1, 0, 1 << 28},
	{FCAL, 2, ~0u, 0},
	{FCT, 1, 0xffff, 0},
	{VET, 1, 0xffff, 0x8100},
	{ICR, 1, 0, 0},
	{ITR, 1, 0xffff, 0},
	{IMS, 1, 0, 0},
	{EIAC, 1, 0x01f00000, 0},
	{IAM, 1, ~0u, 0},
	{IVAR, 1, 0x800fffff, 0},
	{EITR, E1000E_VECTORS, 0xffff, 0},
	{RCTL, 1, ~0u, 0},
	{FCTTV, 1, 0xffff, 0},
	{TCTL, 1, ~0u, 8},
	{TIPG, 1, 0x3fffffff, 0x00602008},
	{AIT, 1, 0xffff, 0},
	{LEDCTL, 1, ~0u, 0x07068302},
	{EXTCNF_CTRL, 1, ~0u, 0},
	{EXTCNF_SIZE, 1, ~0u, 0},
	{PBA, 1, 0x3f, 0x00140014},
	{PBS, 1, 0x3f, 0x28},
	{EEMNGCTL, 1, 0, 1 << 18},
	{FCRTL, 1, ~0u, 0},
	{FCRTH, 1, ~0u, 0},
	{PSRCTL, 1, 0x3f3f3f7f, 0x00040402},
	{RDBAL, 1, ~15u, 0},
	{RDBAH, 1, ~0u, 0},
	{RDLEN, 1, 0xfff80, 0},
	{RDH, 1, 0xffff, 0},
	{RDT, 1, 0xffff, 0},
	{RDTR, 1, 0xffff, 0},
	{RXDCTL, 1, ~0u, 0x00010000},
	{RADV, 1, 0xffff, 0},
	{RDBAL + QUEUE_STRIDE, 1, ~15u, 0},
	{RDBAH + QUEUE_STRIDE, 1, ~0u, 0},
	{RDLEN + QUEUE_STRIDE, 1, 0xfff80, 0},
	{RDH + QUEUE_STRIDE, 1, 0xffff, 0},
	{RDT + QUEUE_STRIDE, 1, 0xffff, 0},
	{RXDCTL + QUEUE_STRIDE, 1, ~0u, 0x00010000},
	{RSRPD, 1, 0xfff, 0},
	{RAID, 1, 0xffff, 0},
	{CPUVEC, 1, 0xff, 0},
	{TDBAL, 1, ~15u, 0},
	{TDBAH, 1, ~0u, 0},
	{TDLEN, 1, 0xfff80, 0},
	{TDH, 1, 0xffff, 0},
	{TDT, 1, 0xffff, 0},
	{TIDV, 1, 0xffff, 0},
	{TXDCTL, 1, ~0u, 1 << 22},
	{TADV, 1, 0xffff, 0},
	{TARC, 1, ~0u, 0x403},
	{TDBAL + QUEUE_STRIDE, 1, ~15u, 0},
	{TDBAH + QUEUE_STRIDE, 1, ~0u, 0},
	{TDLEN + QUEUE_STRIDE, 1, 0xfff80, 0},
	{TDH + QUEUE_STRIDE, 1, 0xffff, 0},
	{TDT + QUEUE_STRIDE, 1, 0xffff, 0},
	{TXDCTL + QUEUE_STRIDE, 1, ~0u, 1 << 22},
	{TARC + QUEUE_STRIDE, 1, ~0u, 0x403},
	{STATS, (STATS_END - STATS) / 4, 0, 0},
	{RXCSUM, 1, 0x37ff, RXCSUM_IP | RXCSUM_L4},
	{RFCTL, 1, ~0u, 0},
	{MTA, 128, ~0u, 0},
	{RAL, 32, ~0u, 0},
	{VFTA, 128, ~0u, 0},
	{WUC, 1, 0x3f, 0},
	{WUFC, 1, ~0u, 0},
	{WUS, 1, 0, 0},
	{MRQC, 1, ~0u, 0},
	{MANC, 1, ~0u, 0},
	{IPAV, 1, ~0u, 0},
	{IP4AT, 8, ~0u, 0},
	{MANC2H, 1, ~0u, 0},
	{IP6AT, 4, ~0u, 0},
	{WUPL, 1, 0, 0},
	{WUPM, 32, 0, 0},
	{GCR, 1, ~0u, 0},
	{FACTPS, 1, 0, 0x20000020},
	{SWSM, 1, 0xf, 0},
	{FWSM, 1, 0, 0},
	{SWSM2, 1, 0x3, 0},
	{RETA, 32, ~0u, 0},
	{RSSRK, 10, ~0u, 0},
};

/* Old places of registers that are elsewhere since (10.2.1, "alias addresses"). */
static const struct {
	uint16_t from, len, to;
} aliases[] = {
	{0x40, 0x80, RAL}, {0x108, 4, RDTR}, {0x110, 12, RDBAL}, {0x120, 4, RDH}, {0x128, 4, RDT}, {0x160, 4, FCRTH},
	{0x168, 4, FCRTL}, {0x200, 0x200, MTA}, {0x420, 12, TDBAL}, {0x430, 4, TDH}, {0x438, 4, TDT}, {0x440, 4, TIDV},
	{0x600, 0x200, VFTA},
};

static unsigned canonical(unsigned offset)
{
	for (unsigned i = 0; offset < ALIASES_END && i < G_N_ELEMENTS(aliases); i++)
		if (offset - aliases[i].from < aliases[i].len && offset >= aliases[i].from)
			return offset - aliases[i].from + aliases[i].to;
	return offset;
}

static const struct range *find_range(unsigned offset)
{
	unsigned low = 0, high = G_N_ELEMENTS(ranges);

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (offset < ranges[mid].offset)
			high = mid;
		else if (offset >= ranges[mid].offset + 4u * ranges[mid].words)
			low = mid + 1;
		else
			return &ranges[mid];
	}
	return NULL;
}

void e1000e_count(struct e1000e *e, unsigned offset, uint32_t n)
{
	uint32_t *r = e1000e_reg(e, offset);

	*r = *r > UINT32_MAX - n ? UINT32_MAX : *r + n;
}

void e1000e_count_wide(struct e1000e *e, unsigned offset, uint32_t n)
{
	uint32_t *r = e1000e_reg(e, offset);
	uint64_t v = (r[0] | (uint64_t)r[1] << 32);

	v = v > UINT64_MAX - n ? UINT64_MAX : v + n;
	r[0] = (uint32_t)v;
	r[1] = (uint32_t)(v >> 32);
}

/* 10.2.7.18 and on: 64, to 127, to 255, to 511, to 1023, more. */
void e1000e_count_size(struct e1000e *e, unsigned offset, size_t len)
{
	unsigned n = 0;

	while (n < 5 && len > (n ? (64u << n) - 1 : 64))
		n++;
	e1000e_count(e, offset + 4 * n, 1);
}

/* ---- the clock ---- */

static uint64_t now_ns(void)
{
	return (uint64_t)g_get_monotonic_time() * 1000;
}

static uint64_t systim(const struct e1000e *e)
{
	unsigned period = e->timinca >> 24;

	if (!period)
		return e->systim;
	return e->systim + (now_ns() - e->systim_at) / (TICK_NS * period) * (e->timinca & 0xffffff);
}

static void set_systim(struct e1000e *e, uint64_t v)
{
	e->systim = v;
	e->systim_at = now_ns();
}

void e1000e_clock_save(struct e1000e *e)
{
	set_systim(e, systim(e));
}

void e1000e_clock_loaded(struct e1000e *e)
{
	e->systim_at = now_ns();
}

static uint32_t read_clock(struct e1000e *e, unsigned offset)
{
	switch (offset) {
	case SYSTIML:
		return (uint32_t)systim(e);
	case SYSTIMH:
		return (uint32_t)(systim(e) >> 32);
	case TIMINCA:
		return e->timinca;
	default: /* no frame has a time stamp */
		return 0;
	}
}

static void write_clock(struct e1000e *e, unsigned offset, uint32_t v)
{
	uint64_t now = systim(e);

	if (offset == SYSTIML)
		now = (now & ~(uint64_t)UINT32_MAX) | v;
	else if (offset == SYSTIMH)
		now = (now & UINT32_MAX) | (uint64_t)v << 32;
	set_systim(e, now);
	if (offset == TIMINCA)
		e->timinca = v;
}

/* ---- reads ---- */

static uint32_t read_status(struct e1000e *e)
{
	uint32_t v = *e1000e_reg(e, STATUS);

	if (e->link && (*e1000e_reg(e, CTRL) & CTRL_SLU))
		v |= STATUS_LU;
	return v | (*e1000e_reg(e, CTRL) & CTRL_GIO_MASTER_DISABLE ? 0 : STATUS_GIO_MASTER);
}

/* The high half of a wide one ends both. */
static uint32_t read_statistic(struct e1000e *e, unsigned offset)
{
	uint32_t *r = e1000e_reg(e, offset), v = *r;
	bool low = offset == GORCL || offset == GOTCL || offset == TORL || offset == TOTL;
	bool high = offset == GORCL + 4 || offset == GOTCL + 4 || offset == TORL + 4 || offset == TOTL + 4;

	if (high)
		r[-1] = 0;
	if (!low)
		*r = 0;
	return v;
}

static uint32_t read_register(struct e1000e *e, unsigned offset)
{
	uint32_t v;

	if (offset >= SYSTIML && offset <= TSYNCRXCTL)
		return read_clock(e, offset);
	if (offset >= 4 * E1000E_WORDS || !find_range(offset))
		return 0;
	v = *e1000e_reg(e, offset);
	switch (offset) {
	case STATUS:
		return read_status(e);
	case ICR:
		return e1000e_read_icr(e);
	case EECD:
		return v | EECD_PRESENT | EECD_AUTO_READ | (v & EECD_REQUEST ? EECD_GRANT : 0);
	case SWSM: /* who reads 0 has it (10.2.9.8) */
		*e1000e_reg(e, SWSM) |= SMBI;
		return v;
	}
	return offset >= STATS && offset < STATS_END ? read_statistic(e, offset) : v;
}

/* ---- writes ---- */

void e1000e_registers_reset(struct e1000e *e)
{
	memset(e->reg, 0, sizeof(e->reg));
	for (unsigned i = 0; i < G_N_ELEMENTS(ranges); i++)
		for (unsigned w = 0; w < ranges[i].words; w++)
			e->reg[ranges[i].offset / 4 + w] = ranges[i].initial;
	*e1000e_reg(e, RAL) = e->nvm[0] | (uint32_t)e->nvm[1] << 16;
	*e1000e_reg(e, RAL + 4) = e->nvm[2] | (uint32_t)RESET_ADDRESS_VALID;
	e->io_address = 0;
	e->timinca = 0;
	e->systim = 0;
	e1000e_tx_reset(e);
	e1000e_irq_reset(e);
	e->resume = e->rx_blocked; /* what the back end keeps is dropped */
	e1000e_kick(e);
}

static void write_control(struct e1000e *e, uint32_t v, uint32_t old)
{
	if (v & CTRL_RST) {
		e1000e_registers_reset(e);
		v = *e1000e_reg(e, CTRL);
	}
	if (v & CTRL_PHY_RST) {
		e1000e_phy_reset(e);
		*e1000e_reg(e, STATUS) |= STATUS_PHYRA;
	}
	*e1000e_reg(e, CTRL) = v & ~(CTRL_RST | CTRL_PHY_RST);
	if ((v & CTRL_PHY_RST) || (v & ~old & CTRL_SLU))
		e1000e_link(e, e->link);
}

/* Room came, or a ring to send from, or somebody turned the key. */
static bool moves_frames(unsigned offset)
{
	return offset == TDT || offset == TDT + QUEUE_STRIDE || offset == TCTL || offset == RDT || offset == RDT + QUEUE_STRIDE ||
	       offset == RCTL;
}

static bool filters_frames(unsigned offset)
{
	return offset == RCTL || (offset >= MTA && offset < VFTA + RX_VLANS / 8);
}

static void write_register(struct e1000e *e, unsigned offset, uint32_t v)
{
	const struct range *range = offset < 4 * E1000E_WORDS ? find_range(offset) : NULL;
	uint32_t *r = e1000e_reg(e, range ? offset : 0), old = *r;

	switch (offset) {
	case ICR:
		e1000e_write_icr(e, v);
		return;
	case ICS:
		e1000e_cause(e, v);
		return;
	case IMS:
		e1000e_enable(e, v);
		return;
	case IMC:
		e1000e_disable(e, v);
		return;
	case MDIC:
		e1000e_write_mdic(e, v);
		return;
	case EERD:
		e1000e_write_eerd(e, v);
		return;
	case CTRL:
		write_control(e, v, old);
		return;
	case STATUS:
		*r &= v | ~(uint32_t)STATUS_PHYRA;
		return;
	}
	if (offset >= SYSTIML && offset <= TSYNCRXCTL)
		write_clock(e, offset, v);
	if (!range)
		return;
	*r = (old & ~range->writable) | (v & range->writable);
	if (*r != old && filters_frames(offset))
		rx_watch_changed(&e->watch, &e->pci.dev);
	if (moves_frames(offset)) {
		e->resume |= e->rx_blocked;
		e1000e_kick(e);
	}
}

/* ---- the BARs ---- */

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
	struct e1000e *e = opaque;
	uint64_t v;

	g_mutex_lock(&e->lock);
	v = read_register(e, canonical(offset & ~3u));
	if (size == 8)
		v |= (uint64_t)read_register(e, canonical((offset & ~3u) + 4)) << 32;
	g_mutex_unlock(&e->lock);
	return v >> 8 * (offset & 3);
}

/* Registers are written as a whole (3.1.2.1); smaller writes change nothing. */
static void mmio_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct e1000e *e = opaque;

	if (size < 4 || offset & 3)
		return;
	g_mutex_lock(&e->lock);
	write_register(e, canonical((unsigned)offset), (uint32_t)data);
	if (size == 8)
		write_register(e, canonical((unsigned)offset + 4), (uint32_t)(data >> 32));
	g_mutex_unlock(&e->lock);
}

const struct bus_ops e1000e_mmio_ops = {mmio_read, mmio_write};

static uint64_t io_read(void *opaque, uint64_t offset, unsigned size)
{
	struct e1000e *e = opaque;
	uint64_t v = 0;

	g_mutex_lock(&e->lock);
	if (offset == 0)
		v = e->io_address;
	else if (offset == 4 && e->io_address < 0x20000)
		v = read_register(e, canonical(e->io_address & ~3u));
	g_mutex_unlock(&e->lock);
	return v;
}

static void io_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct e1000e *e = opaque;

	if (size != 4)
		return;
	g_mutex_lock(&e->lock);
	if (offset == 0)
		e->io_address = (uint32_t)data;
	else if (offset == 4 && e->io_address < 0x20000)
		write_register(e, canonical(e->io_address & ~3u), (uint32_t)data);
	g_mutex_unlock(&e->lock);
}

const struct bus_ops e1000e_io_ops = {io_read, io_write};
