/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the chips share among themselves: their state, and interrupt messages between them. irqchips.lock is recursive,
 * because ending an interrupt calls back to the line's owner (PIT, resample irqfd), which changes lines again.
 * Lock order: irqchips.lock, irqfd.c's lock, a LAPIC's lock, the timers' lock.
 */
#pragma once
#include "chip.h"

/* ---- an interrupt on its way to LAPICs (SDM vol. 3, 11.6.1 ICR; 11.11 MSI) ---- */
enum apic_delivery {
	APIC_FIXED, APIC_LOWEST, APIC_SMI, APIC_REMOTE_READ, APIC_NMI, APIC_INIT, APIC_STARTUP, APIC_EXTINT
};
enum apic_shorthand { APIC_TO_DEST, APIC_TO_SELF, APIC_TO_ALL, APIC_TO_OTHERS };

struct apic_message {
	u32 dest;
	u8 vector, delivery, shorthand;
	bool logical, level_trigger, assert, redirect;
};

/* Number of LAPICs that took it, or -1 when none is addressed. source: the sending LAPIC of an IPI, or NULL. */
int apic_send(struct vm *vm, struct lapic *source, const struct apic_message *m);
/* MSI address and data to a message. */
struct apic_message apic_msi_message(const struct vm *vm, u32 low, u32 high, u32 data);
/* True if this LAPIC passes the 8259's interrupts (virtual wire) / takes NMIs from LINT0. */
bool lapic_takes_pic(const struct lapic *l);
void lapic_lint0_nmi(struct lapic *l);
bool lapic_mmio(struct vcpu *v, u64 gpa, void *data, unsigned len, bool write);

/* ---- 8259 pair ---- */
struct pic {
	struct kvm_pic_state s[2]; /* master, slave */
	u32 line[16];		   /* bit a source */
	u32 output;		   /* INTR of the master; atomic: read without the lock */
};
void pic_create(struct irqchips *c);
int pic_set(struct irqchips *c, unsigned pin, int level, u32 source);
int pic_intack(struct irqchips *c); /* INTA cycle: vector */
int pic_peek(struct irqchips *c);   /* vector that INTA would give, or -1 */
bool pic_pio(struct irqchips *c, u16 port, void *data, unsigned size, bool write);
void pic_set_state(struct irqchips *c, unsigned which, const struct kvm_pic_state *s);

/* ---- IOAPIC ---- */
struct ioapic {
	u64 base;
	u32 select, id, irr;
	u32 irr_delivered; /* edges that went out and are kept in irr while the line is up */
	u64 rte[KVM_IOAPIC_NUM_PINS];
	u32 line[KVM_IOAPIC_NUM_PINS]; /* bit a source */
	u32 vectors[8];		       /* atomic: vectors named by some RTE, for the EOI's quick look */
};
void ioapic_create(struct irqchips *c);
int ioapic_set(struct irqchips *c, unsigned pin, int level, u32 source);
bool ioapic_mmio(struct irqchips *c, u64 gpa, void *data, unsigned len, bool write);
void ioapic_eoi(struct irqchips *c, u8 vector);
void ioapic_get_state(struct irqchips *c, struct kvm_ioapic_state *s);
void ioapic_set_state(struct irqchips *c, const struct kvm_ioapic_state *s);

/* ---- 8254 ---- */
struct pit;
bool pit_pio(struct irqchips *c, u16 port, void *data, unsigned size, bool write);
void pit_destroy(struct irqchips *c);
void pit_ack(struct irqchips *c);    /* the guest took IRQ 0's interrupt */
void pit_unmask(struct irqchips *c); /* IRQ 0 was masked or unmasked */

/* ---- routing ---- */
#define ROUTES_MAX 4096u
struct gsi_route {
	s8 pic, ioapic; /* pins, or -1 */
	bool msi;
	u32 msi_low, msi_high, msi_data;
};
struct routing {
	u32 count; /* GSIs */
	s16 pin_gsi[2][KVM_IOAPIC_NUM_PINS]; /* PIC and IOAPIC pins back to a GSI, or -1 */
	struct gsi_route gsi[];
};
int routing_create(struct irqchips *c);
/* A pin's interrupt has ended: tells the owners of its GSIs. */
void routing_ack(struct irqchips *c, bool ioapic, unsigned pin);

struct irqchips {
	struct vm *vm;
	pthread_mutex_t lock; /* recursive */
	bool split;
	u32 split_pins;
	struct routing *routing;
	struct pic pic;
	struct ioapic ioapic;
	struct pit *pit;
};

#define IRQ_SOURCE_USER 0
#define IRQ_SOURCE_PIT 1
#define IRQ_SOURCE_RESAMPLE 2

/* irqfd.c: the GSI's interrupt may be pending although its line is down: true if a resample irqfd was asked. */
bool irqfd_resample(struct vm *vm, u32 gsi);
/* routing.c: the same for a pin */
bool routing_resample(struct irqchips *c, unsigned ioapic_pin);

/* New OR of a line's sources. */
static inline int line_update(u32 *line, int level, u32 source)
{
	u32 bit = 1u << (source & 31);

	*line = level ? *line | bit : *line & ~bit;
	return *line != 0;
}
