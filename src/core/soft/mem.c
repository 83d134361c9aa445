/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memslots and dirty logs (mem.h). A change builds a new sorted array and swaps it in while the world is stopped, so that
 * look-ups need no lock. The error rules are those of KVM_SET_USER_MEMORY_REGION in Linux.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "jit/jit.h"
#include "mem.h"
#include "soft.h"

enum {
	LAZY_FROM = 8 << 10,
	LAZY_BYTES = 128 << 10, /* malloc maps as much */
};

struct memslot *mem_slot_search(const struct memory *m, u64 gpa, u32 *hint)
{
	u32 lo = 0, hi = m->count, i;

	while (lo < hi) {
		i = (lo + hi) / 2;
		if (gpa < m->slot[i].gpa) {
			hi = i;
		} else if (gpa - m->slot[i].gpa >= m->slot[i].size) {
			lo = i + 1;
		} else {
			if (hint)
				*hint = i;
			return &m->slot[i];
		}
	}
	return NULL;
}

/* Once: who watches looks at the log, and watches again. */
static void tell_watcher(struct memslot *s)
{
	int watch = __atomic_exchange_n(&s->watch, 0, __ATOMIC_SEQ_CST);
	u64 one = 1;

	/* A counter that is full is as good. */
	if (watch && write(watch - 1, &one, sizeof(one)) < 0)
		return;
}

void mem_mark_dirty(struct memslot *s, u64 gpa)
{
	u64 page = (gpa - s->gpa) / PAGE_SIZE, bit = 1ull << (page & 63);

	if (!s->dirty || __atomic_load_n(&s->dirty[page / 64], __ATOMIC_RELAXED) & bit)
		return;
	__atomic_fetch_or(&s->dirty[page / 64], bit, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&s->watch, __ATOMIC_SEQ_CST))
		tell_watcher(s);
}

static size_t dirty_bytes(const struct memslot *s)
{
	return (s->size / PAGE_SIZE + 63) / 64 * 8;
}

/* Swaps the slot array; the vCPUs forget everything they derived from the old one. Frees the old array. */
static void swap_slots(struct vm *vm, struct memslot *slots, u32 count)
{
	struct memslot *old = vm->memory.slot;

	vm_stop_world(vm, NULL);
	pthread_rwlock_wrlock(&vm->memory_lock);
	vm->memory.slot = slots;
	vm->memory.count = count;
	vm->memory.generation++;
	pthread_rwlock_unlock(&vm->memory_lock);
	if (vm->jit && jit_flush(vm->jit))
		for (u32 i = 0; i < count; i++) /* no page holds code now: writes are plain again */
			memset(slots[i].code_pages, 0, slots[i].size / PAGE_SIZE);
	for (u32 i = 0; i < vm->vcpu_count; i++)
		vcpu_request(vm->vcpu[i], REQ_TLB_FLUSH | REQ_JUMP_FLUSH);
	vm_resume_world(vm);
	free(old);
}

static int region_check(const struct kvm_userspace_memory_region *r)
{
	if ((r->memory_size | r->guest_phys_addr | r->userspace_addr) & (PAGE_SIZE - 1))
		return -EINVAL;
	if (r->slot >= MEM_SLOTS_MAX || r->flags & ~(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY))
		return -EINVAL;
	if (r->memory_size / PAGE_SIZE > (1ull << 31) - 1 || r->guest_phys_addr + r->memory_size < r->guest_phys_addr)
		return -EINVAL;
	if (r->userspace_addr >> 47 || (r->userspace_addr + r->memory_size) > 1ull << 47)
		return -EINVAL;
	return 0;
}

static bool overlaps(const struct memory *m, const struct kvm_userspace_memory_region *r, const struct memslot *except)
{
	for (u32 i = 0; i < m->count; i++) {
		const struct memslot *s = &m->slot[i];

		if (s != except && r->guest_phys_addr < s->gpa + s->size && s->gpa < r->guest_phys_addr + r->memory_size)
			return true;
	}
	return false;
}

/* Gives the slot a dirty log when its flags ask for one; takes it away otherwise. */
static int slot_dirty_setup(struct vm *vm, struct memslot *s)
{
	if (!(s->flags & KVM_MEM_LOG_DIRTY_PAGES)) {
		s->dirty = NULL;
		return 0;
	}
	if (s->dirty)
		return 0;
	s->dirty = calloc(1, dirty_bytes(s));
	if (!s->dirty)
		return -ENOMEM;
	if (vm->manual_dirty & KVM_DIRTY_LOG_INITIALLY_SET)
		for (u64 p = 0; p < s->size / PAGE_SIZE; p++)
			s->dirty[p / 64] |= 1ull << (p & 63);
	return 0;
}

static int slot_delete(struct vm *vm, struct memslot *old)
{
	struct memory *m = &vm->memory;
	u32 at = (u32)(old - m->slot);
	struct memslot gone = *old, *slots = malloc(sizeof(*slots) * (m->count ? m->count : 1));

	if (!slots)
		return -ENOMEM;
	for (u32 i = 0, n = 0; i < m->count; i++)
		if (i != at)
			slots[n++] = m->slot[i];
	swap_slots(vm, slots, m->count - 1);
	free(gone.code_pages);
	free(gone.dirty);
	return 0;
}

/* Puts `s` in its place; `old` (or NULL) leaves. */
static int slot_put(struct vm *vm, const struct memslot *s, const struct memslot *old)
{
	struct memory *m = &vm->memory;
	struct memslot *slots = malloc(sizeof(*slots) * (m->count + 1));
	u32 n = 0;
	bool placed = false;

	if (!slots)
		return -ENOMEM;
	for (u32 i = 0; i < m->count; i++) {
		if (&m->slot[i] == old)
			continue;
		if (!placed && m->slot[i].gpa > s->gpa) {
			slots[n++] = *s;
			placed = true;
		}
		slots[n++] = m->slot[i];
	}
	if (!placed)
		slots[n++] = *s;
	swap_slots(vm, slots, n);
	return 0;
}

/* One for each page. Of LAZY_BYTES and more they are zeroes of the kernel's, which come when they are touched: few ever are. */
static size_t code_page_bytes(const struct memslot *s)
{
	size_t n = s->size / PAGE_SIZE;

	return n >= LAZY_FROM && n < LAZY_BYTES ? LAZY_BYTES : n;
}

static int slot_create(struct vm *vm, const struct kvm_userspace_memory_region *r)
{
	struct memslot s = { .id = r->slot, .flags = r->flags, .gpa = r->guest_phys_addr, .size = r->memory_size,
			     .hva = (u8 *)(uintptr_t)r->userspace_addr };
	int err;

	s.code_pages = calloc(1, code_page_bytes(&s));
	if (!s.code_pages)
		return -ENOMEM;
	err = slot_dirty_setup(vm, &s);
	if (!err)
		err = slot_put(vm, &s, NULL);
	if (err) {
		free(s.code_pages);
		free(s.dirty);
	}
	return err;
}

static int slot_change(struct vm *vm, struct memslot *old, const struct kvm_userspace_memory_region *r)
{
	struct memslot s = *old, was = *old;
	int err;

	if ((u8 *)(uintptr_t)r->userspace_addr != old->hva || r->memory_size != old->size ||
	    ((r->flags ^ old->flags) & KVM_MEM_READONLY))
		return -EINVAL;
	if (r->guest_phys_addr == old->gpa && r->flags == old->flags)
		return 0;
	s.gpa = r->guest_phys_addr;
	s.flags = r->flags;
	err = slot_dirty_setup(vm, &s);
	if (err)
		return err;
	err = slot_put(vm, &s, old);
	if (err && s.dirty != was.dirty)
		free(s.dirty);
	else if (!err && !s.dirty)
		free(was.dirty);
	return err;
}

int mem_set_region(struct vm *vm, const struct kvm_userspace_memory_region *r)
{
	struct memslot *old = NULL;
	int err = region_check(r);

	if (err)
		return err;
	pthread_mutex_lock(&vm->lock);
	for (u32 i = 0; i < vm->memory.count; i++)
		if (vm->memory.slot[i].id == r->slot)
			old = &vm->memory.slot[i];
	if (!r->memory_size)
		err = old ? slot_delete(vm, old) : -EINVAL;
	else if ((!old || r->guest_phys_addr != old->gpa) && overlaps(&vm->memory, r, old))
		err = -EEXIST;
	else
		err = old ? slot_change(vm, old, r) : slot_create(vm, r);
	pthread_mutex_unlock(&vm->lock);
	return err;
}

static struct memslot *slot_logged(struct vm *vm, u32 id)
{
	for (u32 i = 0; i < vm->memory.count; i++)
		if (vm->memory.slot[i].id == id)
			return vm->memory.slot[i].dirty ? &vm->memory.slot[i] : NULL;
	return NULL;
}

/* After bits were cleared every vCPU has to meet the page again before it writes. */
static void flush_writers(struct vm *vm)
{
	for (u32 i = 0; i < vm->vcpu_count; i++)
		vcpu_request(vm->vcpu[i], REQ_TLB_FLUSH);
}

int mem_get_dirty_log(struct vm *vm, const struct kvm_dirty_log *log)
{
	struct memslot *s;
	int err = 0;

	if (log->slot >= MEM_SLOTS_MAX)
		return -EINVAL;
	pthread_mutex_lock(&vm->lock);
	s = slot_logged(vm, log->slot);
	if (!s) {
		err = -ENOENT;
	} else if (vm->manual_dirty) {
		memcpy(log->dirty_bitmap, s->dirty, dirty_bytes(s));
	} else {
		u64 *to = log->dirty_bitmap, any = 0;

		vm_stop_world(vm, NULL);
		for (size_t i = 0; i < dirty_bytes(s) / 8; i++) {
			to[i] = s->dirty[i];
			any |= to[i];
			s->dirty[i] = 0;
		}
		if (any)
			flush_writers(vm);
		vm_resume_world(vm);
	}
	pthread_mutex_unlock(&vm->lock);
	return err;
}

int mem_clear_dirty_log(struct vm *vm, const struct kvm_clear_dirty_log *log)
{
	struct memslot *s;
	u64 pages;
	int err = 0;

	if (log->slot >= MEM_SLOTS_MAX || log->first_page & 63)
		return -EINVAL;
	pthread_mutex_lock(&vm->lock);
	s = slot_logged(vm, log->slot);
	pages = s ? s->size / PAGE_SIZE : 0;
	if (!s) {
		err = -ENOENT;
	} else if (log->first_page > pages || log->num_pages > pages - log->first_page ||
		   (log->num_pages < pages - log->first_page && log->num_pages & 63)) {
		err = -EINVAL;
	} else {
		const u64 *from = log->dirty_bitmap;

		vm_stop_world(vm, NULL);
		for (u64 i = 0; i < (log->num_pages + 63) / 64; i++)
			s->dirty[log->first_page / 64 + i] &= ~from[i];
		flush_writers(vm);
		vm_resume_world(vm);
	}
	pthread_mutex_unlock(&vm->lock);
	return err;
}

/*
 * A slot's change copies it before the world stops, so that a watch which is told meanwhile may be told again: the watcher then
 * finds nothing.
 */
int mem_watch_dirty(struct vm *vm, u32 slot, int eventfd)
{
	struct memslot *s;

	pthread_mutex_lock(&vm->lock);
	s = slot_logged(vm, slot);
	if (s)
		__atomic_store_n(&s->watch, eventfd + 1, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&vm->lock);
	return s ? 0 : -ENOENT;
}

void mem_free(struct memory *m)
{
	for (u32 i = 0; i < m->count; i++) {
		free(m->slot[i].code_pages);
		free(m->slot[i].dirty);
	}
	free(m->slot);
	*m = (struct memory){ 0 };
}
