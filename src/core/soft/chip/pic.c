/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two cascaded 8259A with ELCR (ports 20, 21, a0, a1, 4d0, 4d1). Callers hold irqchips.lock; only `output` is read
 * without.
 */
#include <string.h>
#include "internal.h"

#define CASCADE 2

/* Priority of the most urgent pin in mask: 0 highest, 8 none. */
static unsigned priority(const struct kvm_pic_state *s, u8 mask)
{
	for (unsigned p = 0; p < 8; p++)
		if (mask >> ((p + s->priority_add) & 7) & 1)
			return p;
	return 8;
}

/* The pin that this chip would interrupt for, or -1. */
static int request(const struct pic *p, unsigned which)
{
	const struct kvm_pic_state *s = &p->s[which];
	unsigned want = priority(s, s->irr & ~s->imr), serving;
	u8 isr = s->isr;

	if (want == 8)
		return -1;
	if (s->special_mask)
		isr &= (u8)~s->imr;
	if (s->special_fully_nested_mode && which == 0)
		isr &= (u8)~(1u << CASCADE);
	serving = priority(s, isr);
	return want < serving ? (int)((want + s->priority_add) & 7) : -1;
}

/* An edge or level at a pin: 1 new, 0 it was pending. */
static int input(struct kvm_pic_state *s, unsigned pin, bool level)
{
	u8 bit = (u8)(1u << pin);
	bool fresh = level && !(s->irr & bit);

	if (!level) {
		if (s->elcr & bit)
			s->irr &= (u8)~bit;
		s->last_irr &= (u8)~bit;
		return 1;
	}
	if ((s->elcr & bit) || !(s->last_irr & bit))
		s->irr |= bit;
	else
		fresh = true; /* the line stayed up */
	s->last_irr |= bit;
	return fresh;
}

static void update(struct irqchips *c)
{
	struct pic *p = &c->pic;
	u32 output, count = __atomic_load_n(&c->vm->vcpu_count, __ATOMIC_ACQUIRE);

	if (request(p, 1) >= 0) {
		input(&p->s[0], CASCADE, true);
		input(&p->s[0], CASCADE, false);
	}
	output = request(p, 0) >= 0;
	if (output == p->output)
		return;
	__atomic_store_n(&p->output, output, __ATOMIC_SEQ_CST);
	for (u32 i = 0; output && i < count; i++)
		if (c->vm->vcpu[i]->lapic && lapic_takes_pic(c->vm->vcpu[i]->lapic)) {
			vcpu_kick(c->vm->vcpu[i]);
			break;
		}
}

int pic_set(struct irqchips *c, unsigned pin, int level, u32 source)
{
	struct kvm_pic_state *s = &c->pic.s[pin >> 3];
	int ret;

	level = line_update(&c->pic.line[pin], level, source);
	ret = input(s, pin & 7, level);
	update(c);
	return s->imr >> (pin & 7) & 1 ? -1 : ret;
}

static void finish(struct irqchips *c, unsigned which, unsigned pin)
{
	c->pic.s[which].isr &= (u8)~(1u << pin);
	routing_ack(c, false, which * 8 + pin);
}

static void acknowledge(struct irqchips *c, unsigned which, unsigned pin)
{
	struct kvm_pic_state *s = &c->pic.s[which];
	u8 bit = (u8)(1u << pin);

	s->isr |= bit;
	if (!(s->elcr & bit))
		s->irr &= (u8)~bit;
	if (s->auto_eoi) {
		if (s->rotate_on_auto_eoi)
			s->priority_add = (pin + 1) & 7;
		finish(c, which, pin);
	}
}

int pic_intack(struct irqchips *c)
{
	struct pic *p = &c->pic;
	int pin = request(p, 0), slave, vector;

	if (pin < 0) {
		vector = p->s[0].irq_base + 7; /* spurious */
	} else if (pin == CASCADE) {
		slave = request(p, 1);
		acknowledge(c, 0, CASCADE);
		if (slave >= 0)
			acknowledge(c, 1, (unsigned)slave);
		vector = p->s[1].irq_base + (slave >= 0 ? slave : 7);
	} else {
		acknowledge(c, 0, (unsigned)pin);
		vector = p->s[0].irq_base + pin;
	}
	update(c);
	return vector;
}

int pic_peek(struct irqchips *c)
{
	int pin = request(&c->pic, 0), slave;

	if (pin < 0)
		return -1;
	if (pin != CASCADE)
		return c->pic.s[0].irq_base + pin;
	slave = request(&c->pic, 1);
	return c->pic.s[1].irq_base + (slave >= 0 ? slave : 7);
}

/* ---- ports ---- */

static void write_icw1(struct irqchips *c, unsigned which, u8 value)
{
	struct kvm_pic_state *s = &c->pic.s[which];
	u8 edges = s->irr & (u8)~s->elcr;

	s->init4 = value & 1;
	s->last_irr = 0;
	s->irr &= s->elcr;
	s->imr = s->isr = 0;
	s->priority_add = s->special_mask = s->read_reg_select = s->poll = 0;
	if (!s->init4)
		s->special_fully_nested_mode = s->auto_eoi = 0;
	s->init_state = 1;
	update(c);
	for (unsigned pin = 0; pin < 8; pin++)
		if (edges >> pin & 1)
			routing_ack(c, false, which * 8 + pin);
}

static void write_ocw2(struct irqchips *c, unsigned which, u8 value)
{
	struct kvm_pic_state *s = &c->pic.s[which];
	unsigned pin = value & 7, command = value >> 5, p;

	switch (command) {
	case 0:
	case 4:
		s->rotate_on_auto_eoi = command >> 2;
		break;
	case 1:
	case 5: /* end of the most urgent one, rotating */
		p = priority(s, s->isr);
		if (p == 8)
			break;
		pin = (p + s->priority_add) & 7;
		if (command == 5)
			s->priority_add = (pin + 1) & 7;
		finish(c, which, pin);
		break;
	case 3:
		finish(c, which, pin);
		break;
	case 6:
		s->priority_add = (pin + 1) & 7;
		break;
	case 7:
		s->priority_add = (pin + 1) & 7;
		finish(c, which, pin);
		break;
	}
	update(c);
}

static void write_command(struct irqchips *c, unsigned which, u8 value)
{
	struct kvm_pic_state *s = &c->pic.s[which];

	if (value & 0x10) {
		write_icw1(c, which, value);
	} else if (value & 8) {
		if (value & 4)
			s->poll = 1;
		if (value & 2)
			s->read_reg_select = value & 1;
		if (value & 0x40)
			s->special_mask = value >> 5 & 1;
		update(c);
	} else {
		write_ocw2(c, which, value);
	}
}

static void write_data(struct irqchips *c, unsigned which, u8 value)
{
	struct kvm_pic_state *s = &c->pic.s[which];
	u8 changed;

	switch (s->init_state) {
	case 0:
		changed = s->imr ^ value;
		s->imr = value;
		if (which == 0 && (changed & 1))
			pit_unmask(c);
		update(c);
		break;
	case 1:
		s->irq_base = value & 0xf8;
		s->init_state = 2;
		break;
	case 2:
		s->init_state = s->init4 ? 3 : 0;
		break;
	default:
		s->special_fully_nested_mode = value >> 4 & 1;
		s->auto_eoi = value >> 1 & 1;
		s->init_state = 0;
	}
}

static u8 read_poll(struct irqchips *c, unsigned which)
{
	struct kvm_pic_state *s = &c->pic.s[which];
	int pin = request(&c->pic, which);

	s->poll = 0;
	if (pin >= 0) {
		if (which == 1) {
			c->pic.s[0].isr &= (u8)~(1u << CASCADE);
			c->pic.s[0].irr &= (u8)~(1u << CASCADE);
		}
		s->irr &= (u8)~(1u << pin);
		finish(c, which, (unsigned)pin);
	}
	update(c);
	return pin >= 0 ? (u8)(0x80 | pin) : 7;
}

static u8 read_port(struct irqchips *c, unsigned which, bool data)
{
	struct kvm_pic_state *s = &c->pic.s[which];

	if (s->poll)
		return read_poll(c, which);
	return data ? s->imr : s->read_reg_select ? s->isr : s->irr;
}

bool pic_pio(struct irqchips *c, u16 port, void *data, unsigned size, bool write)
{
	bool elcr = (port & ~1) == 0x4d0;
	unsigned which = elcr ? port & 1 : port >> 7 & 1;
	u8 *value = data;

	if (!elcr && (port & ~0x81) != 0x20)
		return false;
	if (size != 1) { /* KVM answers bytes only */
		if (!write)
			memset(data, 0, size);
		return true;
	}
	if (elcr && write)
		c->pic.s[which].elcr = *value & c->pic.s[which].elcr_mask;
	else if (elcr)
		*value = c->pic.s[which].elcr;
	else if (!write)
		*value = read_port(c, which, port & 1);
	else
		(port & 1 ? write_data : write_command)(c, which, *value);
	return true;
}

void pic_create(struct irqchips *c)
{
	c->pic.s[0].elcr_mask = 0xf8;
	c->pic.s[1].elcr_mask = 0xde;
}

void pic_set_state(struct irqchips *c, unsigned which, const struct kvm_pic_state *s)
{
	c->pic.s[which] = *s;
	c->pic.s[which].priority_add &= 7;
	c->pic.s[which].elcr_mask = which ? 0xde : 0xf8;
	c->pic.output = 0; /* a request that stands already is told again */
	update(c);
}
