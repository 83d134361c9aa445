/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See posted.h. Called by machine.c, vcpu.c after each KVM_RUN, and the VGA. */
#include "posted.h"

#include <glib.h>
#include <sys/mman.h>

#include "bus.h"
#include "core.h"
#include "device.h"

enum { PAGE = 4096 };

struct posted {
	struct machine_core *core;
	GMutex lock;
	uint32_t page; /* of vCPU 0's kvm_run */
	bool wanted;
	uint8_t *run; /* mapped once more, so that the end of the vCPU is not the ring's */
	size_t run_size;
	struct kvm_coalesced_mmio_ring *ring; /* NULL before there is a vCPU */
};

struct posted *posted_new(struct machine_core *core)
{
	int page = core->vm_fd < 0 ? 0 : kvcore_ioctl(core->vm_fd, KVM_CHECK_EXTENSION, (unsigned long)KVM_CAP_COALESCED_MMIO);
	struct posted *p;

	if (page <= 0)
		return NULL;
	p = g_new0(struct posted, 1);
	g_mutex_init(&p->lock);
	p->core = core;
	p->page = (uint32_t)page;
	return p;
}

void posted_free(struct posted *p)
{
	if (!p)
		return;
	if (p->run)
		munmap(p->run, p->run_size);
	g_mutex_clear(&p->lock);
	g_free(p);
}

/* What is refused stays an exit. */
void posted_add(struct posted *p, uint64_t gpa, uint32_t size)
{
	struct kvm_coalesced_mmio_zone zone = {.addr = gpa, .size = size};

	if (p && !p->ring && kvcore_ioctl(p->core->vm_fd, KVM_REGISTER_COALESCED_MMIO, &zone) == 0)
		p->wanted = true;
}

void posted_suspend(struct posted *p, uint64_t gpa, uint32_t size)
{
	struct kvm_coalesced_mmio_zone zone = {.addr = gpa, .size = size};

	if (!p || !p->ring)
		return;
	kvcore_ioctl(p->core->vm_fd, KVM_UNREGISTER_COALESCED_MMIO, &zone);
	posted_flush(p);
}

void posted_resume(struct posted *p, uint64_t gpa, uint32_t size)
{
	struct kvm_coalesced_mmio_zone zone = {.addr = gpa, .size = size};

	if (p && p->ring)
		kvcore_ioctl(p->core->vm_fd, KVM_REGISTER_COALESCED_MMIO, &zone);
}

bool posted_open(struct posted *p, int vcpu_fd, size_t run_size)
{
	void *run;

	if (!p || !p->wanted)
		return true;
	run = kvcore_mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd, 0);
	if (run == MAP_FAILED)
		return false;
	p->run = run;
	p->run_size = run_size;
	g_assert(run_size >= (p->page + 1) * (size_t)PAGE); /* as KVM says itself */
	p->ring = (struct kvm_coalesced_mmio_ring *)(p->run + p->page * (size_t)PAGE);
	return true;
}

/* A write leaves the ring when its device has it: who sees an empty one need not wait for the lock. */
void posted_flush(struct posted *p)
{
	const uint32_t max = (PAGE - sizeof(*p->ring)) / sizeof(p->ring->coalesced_mmio[0]);
	uint32_t first;

	if (!p || !p->ring)
		return;
	if (__atomic_load_n(&p->ring->first, __ATOMIC_ACQUIRE) == __atomic_load_n(&p->ring->last, __ATOMIC_ACQUIRE))
		return;
	g_mutex_lock(&p->lock);
	for (first = p->ring->first; first < max && first != __atomic_load_n(&p->ring->last, __ATOMIC_ACQUIRE);
	     first = (first + 1) % max) {
		struct kvm_coalesced_mmio *e = &p->ring->coalesced_mmio[first];

		bus_access(e->pio ? p->core->ports : p->core->mmio, e->phys_addr, e->data, MIN(e->len, sizeof(e->data)), true);
		__atomic_store_n(&p->ring->first, (first + 1) % max, __ATOMIC_RELEASE);
	}
	g_mutex_unlock(&p->lock);
}
