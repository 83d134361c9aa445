/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The IOAPIC (82093AA, version 0x11: no EOI register) as Linux KVM's. Callers hold irqchips.lock; `vectors` is read
 * without it.
 */
#include <string.h>
#include "internal.h"

/* Redirection entry (82093AA, 3.2.4) */
#define RTE_STATUS (1ull << 12)
#define RTE_REMOTE_IRR (1ull << 14)
#define RTE_LEVEL (1ull << 15)
#define RTE_MASKED (1ull << 16)
#define RTE_READ_ONLY (RTE_STATUS | RTE_REMOTE_IRR)
#define BASE_DEFAULT 0xfec00000u
#define PINS KVM_IOAPIC_NUM_PINS

static void update_vectors(struct ioapic *io)
{
	u32 bits[8] = { 0 };

	for (unsigned i = 0; i < PINS; i++)
		bits[io->rte[i] >> 5 & 7] |= 1u << (io->rte[i] & 31);
	for (unsigned i = 0; i < 8; i++)
		__atomic_store_n(&io->vectors[i], bits[i], __ATOMIC_RELAXED);
}

/* Sends the pin's interrupt, if it may be: -1 masked or waiting for EOI, else what apic_send() says. */
static int service(struct irqchips *c, unsigned pin)
{
	u64 rte = c->ioapic.rte[pin];
	struct apic_message m = {
		.dest = (u32)(rte >> 56), .vector = (u8)rte, .delivery = rte >> 8 & 7, .logical = rte >> 11 & 1,
		.level_trigger = rte & RTE_LEVEL, .assert = true,
	};
	int ret;

	if ((rte & RTE_MASKED) || ((rte & RTE_LEVEL) && (rte & RTE_REMOTE_IRR)))
		return -1;
	if (!(rte & RTE_LEVEL))
		c->ioapic.irr_delivered |= 1u << pin;
	ret = apic_send(c->vm, NULL, &m);
	if (ret && (rte & RTE_LEVEL))
		c->ioapic.rte[pin] |= RTE_REMOTE_IRR;
	return ret;
}

int ioapic_set(struct irqchips *c, unsigned pin, int level, u32 source)
{
	struct ioapic *io = &c->ioapic;
	u32 bit = 1u << pin;
	bool was = io->irr & bit;

	level = line_update(&io->line[pin], level, source);
	if (!level) {
		io->irr &= ~bit;
		return 1;
	}
	io->irr |= bit;
	if (!(io->rte[pin] & RTE_LEVEL)) {
		io->irr_delivered &= ~bit;
		if (was)
			return 0; /* no edge */
	}
	return service(c, pin);
}

void ioapic_eoi(struct irqchips *c, u8 vector)
{
	struct ioapic *io = &c->ioapic;

	for (unsigned pin = 0; pin < PINS; pin++) {
		if ((u8)io->rte[pin] != vector)
			continue;
		routing_ack(c, true, pin);
		if (!(io->rte[pin] & RTE_LEVEL) || (u8)io->rte[pin] != vector)
			continue;
		io->rte[pin] &= ~RTE_REMOTE_IRR;
		if (io->irr >> pin & 1)
			service(c, pin);
	}
}

/* ---- registers ---- */

static void write_rte(struct irqchips *c, unsigned pin, bool high, u32 value)
{
	struct ioapic *io = &c->ioapic;
	u64 old = io->rte[pin], rte;

	rte = high ? (u32)old | (u64)value << 32 : (old & ~0xffffffffull) | value;
	rte = (rte & ~RTE_READ_ONLY) | (old & RTE_READ_ONLY);
	if (!(rte & RTE_LEVEL))
		rte &= ~RTE_REMOTE_IRR; /* how systems without an EOI register clear it */
	io->rte[pin] = rte;
	update_vectors(io);
	if (((old ^ rte) & RTE_MASKED) && c->routing->pin_gsi[1][pin] == 0)
		pit_unmask(c);
	if ((rte & RTE_LEVEL) && !(rte & (RTE_MASKED | RTE_REMOTE_IRR)) && (io->irr >> pin & 1)) {
		/* The line may have dropped while the pin was masked: its owner knows, if it is a resample irqfd. */
		if (routing_resample(c, pin))
			io->irr &= ~(1u << pin);
		else
			service(c, pin);
	}
}

static u32 window_read(const struct ioapic *io)
{
	unsigned pin = (io->select - 0x10) >> 1;

	switch (io->select) {
	case 0:
	case 2:
		return (io->id & 15) << 24;
	case 1:
		return (PINS - 1) << 16 | 0x11;
	}
	if (io->select < 0x10 || pin >= PINS)
		return io->select < 0x10 ? 0 : UINT32_MAX;
	return (u32)(io->select & 1 ? io->rte[pin] >> 32 : io->rte[pin]);
}

static void window_write(struct irqchips *c, u32 value)
{
	struct ioapic *io = &c->ioapic;
	unsigned pin = (io->select - 0x10) >> 1;

	if (io->select == 0)
		io->id = value >> 24 & 15;
	else if (io->select >= 0x10 && pin < PINS)
		write_rte(c, pin, io->select & 1, value);
}

bool ioapic_mmio(struct irqchips *c, u64 gpa, void *data, unsigned len, bool write)
{
	struct ioapic *io = &c->ioapic;
	u32 reg = (u32)(gpa & 0xff);
	u64 value = 0;

	if (gpa - io->base >= 0x100)
		return false;
	if (gpa & 15) {
		if (!write)
			memset(data, 0, len);
	} else if (write) {
		memcpy(&value, data, len);
		if (reg == 0)
			io->select = (u8)value;
		else if (reg == 0x10)
			window_write(c, (u32)value);
	} else {
		value = reg == 0 ? io->select : reg == 0x10 ? window_read(io) : 0;
		memcpy(data, &value, len);
	}
	return true;
}

/* ---- life and state ---- */

void ioapic_create(struct irqchips *c)
{
	c->ioapic.base = BASE_DEFAULT;
	for (unsigned i = 0; i < PINS; i++)
		c->ioapic.rte[i] = RTE_MASKED;
	update_vectors(&c->ioapic);
}

void ioapic_get_state(struct irqchips *c, struct kvm_ioapic_state *s)
{
	const struct ioapic *io = &c->ioapic;

	*s = (struct kvm_ioapic_state){ .base_address = io->base, .ioregsel = io->select, .id = io->id,
					.irr = io->irr & ~io->irr_delivered };
	for (unsigned i = 0; i < PINS; i++)
		s->redirtbl[i].bits = io->rte[i];
}

void ioapic_set_state(struct irqchips *c, const struct kvm_ioapic_state *s)
{
	struct ioapic *io = &c->ioapic;

	io->base = s->base_address;
	io->select = s->ioregsel & 0xff;
	io->id = s->id & 15;
	io->irr = io->irr_delivered = 0;
	for (unsigned i = 0; i < PINS; i++)
		io->rte[i] = s->redirtbl[i].bits;
	update_vectors(io);
	for (unsigned i = 0; i < PINS; i++)
		if (s->irr >> i & 1) {
			io->irr |= 1u << i;
			service(c, i);
		}
}
