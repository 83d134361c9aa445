/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The VM's interrupt chips together: creation, who answers an access, KVM_{GET,SET}_IRQCHIP. */
#include <errno.h>
#include <stdlib.h>
#include "internal.h"

int irqchips_create(struct vm *vm, bool split, u32 split_pins)
{
	struct irqchips *c;
	pthread_mutexattr_t attr;

	if (vm->chips)
		return -EEXIST;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->vm = vm;
	c->split = split;
	c->split_pins = split_pins;
	if (routing_create(c) < 0) {
		free(c);
		return -ENOMEM;
	}
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&c->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	pic_create(c);
	ioapic_create(c);
	vm->chips = c;
	return 0;
}

void irqchips_destroy(struct vm *vm)
{
	struct irqchips *c = vm->chips;

	if (!c)
		return;
	vm->chips = NULL;
	pit_destroy(c);
	pthread_mutex_destroy(&c->lock);
	free(c->routing);
	free(c);
}

bool irqchips_split(const struct vm *vm)
{
	return vm->chips && vm->chips->split;
}

bool chips_mmio(struct vcpu *v, u64 gpa, void *data, unsigned len, bool write)
{
	struct irqchips *c = v->vm->chips;
	bool taken;

	if (v->lapic && lapic_mmio(v, gpa, data, len, write))
		return true;
	if (c->split || gpa - c->ioapic.base >= 0x100)
		return false;
	pthread_mutex_lock(&c->lock);
	taken = ioapic_mmio(c, gpa, data, len, write);
	pthread_mutex_unlock(&c->lock);
	return taken;
}

bool chips_pio(struct vcpu *v, u16 port, void *data, unsigned size, bool write)
{
	struct irqchips *c = v->vm->chips;
	bool taken;

	if (c->split || !((port & ~0x81) == 0x20 || (port & ~3) == 0x40 || port == 0x61 || (port & ~1) == 0x4d0))
		return false;
	pthread_mutex_lock(&c->lock);
	taken = pic_pio(c, port, data, size, write) || pit_pio(c, port, data, size, write);
	pthread_mutex_unlock(&c->lock);
	return taken;
}

int irqchip_get(struct vm *vm, struct kvm_irqchip *chip)
{
	struct irqchips *c = vm->chips;
	int err = 0;

	pthread_mutex_lock(&c->lock);
	if (chip->chip_id <= KVM_IRQCHIP_PIC_SLAVE)
		chip->chip.pic = c->pic.s[chip->chip_id];
	else if (chip->chip_id == KVM_IRQCHIP_IOAPIC)
		ioapic_get_state(c, &chip->chip.ioapic);
	else
		err = -EINVAL;
	pthread_mutex_unlock(&c->lock);
	return err;
}

int irqchip_set(struct vm *vm, const struct kvm_irqchip *chip)
{
	struct irqchips *c = vm->chips;
	int err = 0;

	pthread_mutex_lock(&c->lock);
	if (chip->chip_id <= KVM_IRQCHIP_PIC_SLAVE)
		pic_set_state(c, chip->chip_id, &chip->chip.pic);
	else if (chip->chip_id == KVM_IRQCHIP_IOAPIC)
		ioapic_set_state(c, &chip->chip.ioapic);
	else
		err = -EINVAL;
	pthread_mutex_unlock(&c->lock);
	return err;
}
