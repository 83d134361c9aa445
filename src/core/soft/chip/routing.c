/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * GSI routing (api.rst, KVM_SET_GSI_ROUTING): from a GSI to pins of the PIC pair and the IOAPIC, or to an MSI; and
 * back, for the owner of a line whose interrupt has ended. Readers hold irqchips.lock for the look-up; an MSI is sent
 * without it.
 */
#include <errno.h>
#include <stdlib.h>
#include "internal.h"

static struct routing *alloc(u32 count)
{
	struct routing *r = calloc(1, sizeof(*r) + count * sizeof(r->gsi[0]));

	if (!r)
		return NULL;
	r->count = count;
	for (u32 i = 0; i < count; i++)
		r->gsi[i].pic = r->gsi[i].ioapic = -1;
	for (unsigned i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		r->pin_gsi[0][i] = r->pin_gsi[1][i] = -1;
	return r;
}

/* GSI n is pin n of both chips, as Linux sets it up; user space that wants the PC's IRQ 0 at pin 2 says so itself. */
int routing_create(struct irqchips *c)
{
	c->routing = alloc(c->split ? 0 : KVM_IOAPIC_NUM_PINS);
	if (!c->routing)
		return -ENOMEM;
	for (u32 i = 0; i < c->routing->count; i++) {
		c->routing->gsi[i].ioapic = (s8)i;
		c->routing->pin_gsi[1][i] = (s16)i;
		if (i < 16) {
			c->routing->gsi[i].pic = (s8)i;
			c->routing->pin_gsi[0][i] = (s16)i;
		}
	}
	return 0;
}

static int add_pin(const struct irqchips *c, struct routing *r, const struct kvm_irq_routing_entry *e)
{
	struct gsi_route *g = &r->gsi[e->gsi];
	u32 chip = e->u.irqchip.irqchip, pin = e->u.irqchip.pin;
	bool ioapic = chip == KVM_IRQCHIP_IOAPIC;

	if (c->split || e->flags || g->msi || chip > KVM_IRQCHIP_IOAPIC || pin >= (ioapic ? KVM_IOAPIC_NUM_PINS : 8u))
		return -EINVAL;
	if (chip == KVM_IRQCHIP_PIC_SLAVE)
		pin += 8;
	if ((ioapic ? g->ioapic : g->pic) >= 0)
		return -EINVAL;
	*(ioapic ? &g->ioapic : &g->pic) = (s8)pin;
	r->pin_gsi[ioapic][pin] = (s16)e->gsi;
	return 0;
}

static int add_msi(const struct irqchips *c, struct routing *r, const struct kvm_irq_routing_entry *e)
{
	struct gsi_route *g = &r->gsi[e->gsi];
	bool wide = c->vm->caps_enabled & KVM_X2APIC_API_USE_32BIT_IDS;

	if ((e->flags & ~KVM_MSI_VALID_DEVID) || g->msi || g->pic >= 0 || g->ioapic >= 0 ||
	    (wide && (e->u.msi.address_hi & 0xff)))
		return -EINVAL;
	g->msi = true;
	g->msi_low = e->u.msi.address_lo;
	g->msi_high = e->u.msi.address_hi;
	g->msi_data = e->u.msi.data;
	return 0;
}

int irq_set_routing(struct vm *vm, const struct kvm_irq_routing *table)
{
	struct irqchips *c = vm->chips;
	struct routing *r, *old;
	u32 count = 0;

	if (table->nr > ROUTES_MAX || table->flags)
		return -EINVAL;
	for (u32 i = 0; i < table->nr; i++) {
		if (table->entries[i].gsi >= ROUTES_MAX)
			return -EINVAL;
		if (table->entries[i].gsi >= count)
			count = table->entries[i].gsi + 1;
	}
	r = alloc(count);
	if (!r)
		return -ENOMEM;
	for (u32 i = 0; i < table->nr; i++) {
		const struct kvm_irq_routing_entry *e = &table->entries[i];
		int err = e->type == KVM_IRQ_ROUTING_IRQCHIP ? add_pin(c, r, e) :
			  e->type == KVM_IRQ_ROUTING_MSI     ? add_msi(c, r, e) :
							       -EINVAL;

		if (err) {
			free(r);
			return err;
		}
	}
	pthread_mutex_lock(&c->lock);
	old = c->routing;
	c->routing = r;
	pthread_mutex_unlock(&c->lock);
	free(old);
	return 0;
}

/* Results add up as in KVM: -1 only if every route says so. */
static int sum(int total, int more)
{
	return more < 0 ? total : (total < 0 ? 0 : total) + more;
}

int irq_set_line(struct vm *vm, u32 gsi, int level, u32 source)
{
	struct irqchips *c = vm->chips;
	struct gsi_route g = { .pic = -1, .ioapic = -1 };
	int ret = -1;

	vm_device_event(vm);
	pthread_mutex_lock(&c->lock);
	if (gsi < c->routing->count)
		g = c->routing->gsi[gsi];
	if (g.pic >= 0)
		ret = sum(ret, pic_set(c, (unsigned)g.pic, level, source));
	if (g.ioapic >= 0)
		ret = sum(ret, ioapic_set(c, (unsigned)g.ioapic, level, source));
	pthread_mutex_unlock(&c->lock);
	if (g.msi && level) {
		struct apic_message m = apic_msi_message(vm, g.msi_low, g.msi_high, g.msi_data);

		ret = apic_send(vm, NULL, &m);
	}
	return ret;
}

void routing_ack(struct irqchips *c, bool ioapic, unsigned pin)
{
	s16 gsi = c->routing->pin_gsi[ioapic][pin];

	if (gsi < 0)
		return;
	if (gsi == 0)
		pit_ack(c);
	irqfd_eoi(c->vm, (u32)gsi);
}

bool routing_resample(struct irqchips *c, unsigned ioapic_pin)
{
	s16 gsi = c->routing->pin_gsi[1][ioapic_pin];

	return gsi >= 0 && irqfd_resample(c->vm, (u32)gsi);
}
