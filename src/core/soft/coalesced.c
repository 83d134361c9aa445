/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The zones and the ring of coalesced.h. Zones change under vm->lock with the world stopped; vCPUs read without a lock. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "coalesced.h"

#define ZONES_MAX 100
struct coalesced {
	pthread_mutex_t ring_lock;
	u32 count;
	struct kvm_coalesced_mmio_zone zone[ZONES_MAX];
};

int coalesced_register(struct vm *vm, const struct kvm_coalesced_mmio_zone *z)
{
	int err = 0;

	if (z->pio != 0 && z->pio != 1)
		return -EINVAL;
	pthread_mutex_lock(&vm->lock);
	if (!vm->coalesced) {
		struct coalesced *fresh = calloc(1, sizeof(*fresh));

		if (fresh)
			pthread_mutex_init(&fresh->ring_lock, NULL);
		__atomic_store_n(&vm->coalesced, fresh, __ATOMIC_RELEASE);
	}
	if (!vm->coalesced) {
		err = -ENOMEM;
	} else if (vm->coalesced->count == ZONES_MAX) {
		err = -ENOSPC;
	} else {
		vm_stop_world(vm, NULL);
		vm->coalesced->zone[vm->coalesced->count++] = *z;
		vm_resume_world(vm);
	}
	pthread_mutex_unlock(&vm->lock);
	return err;
}

int coalesced_unregister(struct vm *vm, const struct kvm_coalesced_mmio_zone *z)
{
	struct coalesced *c;

	if (z->pio != 0 && z->pio != 1)
		return -EINVAL;
	pthread_mutex_lock(&vm->lock);
	c = vm->coalesced;
	if (c) {
		u32 n = 0;

		vm_stop_world(vm, NULL);
		for (u32 i = 0; i < c->count; i++) {
			const struct kvm_coalesced_mmio_zone *o = &c->zone[i];
			bool inside = o->pio == z->pio && z->addr >= o->addr &&
				      z->addr + z->size <= o->addr + o->size;

			if (!inside)
				c->zone[n++] = *o;
		}
		c->count = n;
		vm_resume_world(vm);
	}
	pthread_mutex_unlock(&vm->lock);
	return 0;
}

void coalesced_destroy(struct vm *vm)
{
	if (vm->coalesced)
		pthread_mutex_destroy(&vm->coalesced->ring_lock);
	free(vm->coalesced);
	vm->coalesced = NULL;
}

bool coalesced_write(struct vm *vm, u64 addr, const void *data, u32 len, bool pio)
{
	const u32 max = (u32)((PAGE_SIZE - sizeof(struct kvm_coalesced_mmio_ring)) / sizeof(struct kvm_coalesced_mmio));
	struct coalesced *c = __atomic_load_n(&vm->coalesced, __ATOMIC_ACQUIRE);
	struct kvm_coalesced_mmio_ring *ring;
	bool taken = false;
	u32 last;

	if (!c)
		return false;
	for (u32 i = 0; i < c->count && !taken; i++) {
		const struct kvm_coalesced_mmio_zone *z = &c->zone[i];

		taken = z->pio == pio && addr >= z->addr && addr - z->addr + len <= z->size;
	}
	if (!taken)
		return false;
	ring = (struct kvm_coalesced_mmio_ring *)((u8 *)vm->vcpu[0]->run + 2 * PAGE_SIZE);
	pthread_mutex_lock(&c->ring_lock);
	last = ring->last; /* shared with user space: read once, checked */
	if (last >= max || (last + 1) % max == __atomic_load_n(&ring->first, __ATOMIC_ACQUIRE)) {
		taken = false; /* full: an ordinary exit empties it */
	} else {
		struct kvm_coalesced_mmio *e = &ring->coalesced_mmio[last];

		e->phys_addr = addr;
		e->len = len;
		e->pio = pio;
		memcpy(e->data, data, len);
		__atomic_store_n(&ring->last, (last + 1) % max, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&c->ring_lock);
	return taken;
}
