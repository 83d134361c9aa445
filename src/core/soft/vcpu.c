/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A vCPU's life, its reset states, and how other threads reach it. Called by ioctl.c, run.c and the chips.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "chip/chip.h"
#include "cpu/interp.h"
#include "cpuid.h"
#include "jit/jit.h"
#include "kvmclock.h"
#include "mmu.h"
#include "msr.h"
#include "soft.h"
#include "sys.h"

static const size_t run_size = RUN_PAGES * PAGE_SIZE;
static const size_t tables_at = offsetof(struct vcpu, cpu.tlb);
static const size_t tables_size = offsetof(struct vcpu, cpu.code) - offsetof(struct vcpu, cpu.tlb);
_Static_assert(offsetof(struct vcpu, cpu.tlb) % PAGE_SIZE == 0 && offsetof(struct vcpu, cpu.code) % PAGE_SIZE == 0 &&
		       sizeof(struct vcpu) % PAGE_SIZE == 0,
	       "the tables of an address space are mapped by themselves");

static bool is_mapped(long r)
{
	return (unsigned long)r < -4095ul;
}

/* The tables alone are memory of their own. In KVM_RUN too, so without libc (sys.h). */
static bool map_tables(u8 *vcpu)
{
	return is_mapped(sys_call6(SYS_mmap, (long)(vcpu + tables_at), (long)tables_size, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
}

/* kvm_run pages and struct vcpu */
static bool map_first(u8 *base, int run_fd, int vcpu_fd)
{
	const int prot = PROT_READ | PROT_WRITE;

	return mmap(base, run_size, prot, MAP_SHARED | MAP_FIXED, run_fd, 0) != MAP_FAILED &&
	       mmap(base + run_size, sizeof(struct vcpu), prot, MAP_SHARED | MAP_FIXED, vcpu_fd, 0) != MAP_FAILED &&
	       map_tables(base + run_size);
}

/* What is mapped at `from` as well, as mremap() of no bytes does it with shared memory: the descriptors are not needed for it. */
static bool map_again(u8 *from, size_t size, u8 *to)
{
	return is_mapped(sys_call6(SYS_mremap, (long)from, 0, (long)size, MREMAP_MAYMOVE | MREMAP_FIXED, (long)to, 0));
}

bool vcpu_map_face(struct vcpu *v, struct cpu *face)
{
	u8 *first = (u8 *)v->run, *base = (u8 *)face - run_size;

	return map_again(first, run_size, base) && map_again(first + run_size, sizeof(struct vcpu), base + run_size) &&
	       map_tables(base + run_size);
}

static int memfd_sized(const char *name, size_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, (off_t)size) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/*
 * A struct vcpu behind its kvm_run pages, with room for as many as there are sets of tables (struct cpu): most are mapped when
 * they are needed, each takes 10 microseconds. The kvm_run pages are a memfd so that user space can map them too; nobody else
 * sees the other one.
 */
static int vcpu_map(struct vcpu **ret_vcpu)
{
	const size_t face_size = run_size + sizeof(struct vcpu);
	int run_fd = memfd_sized("kvm-vcpu", run_size);
	int vcpu_fd = run_fd < 0 ? -1 : memfd_sized("kvcore-vcpu", sizeof(struct vcpu)), err = vcpu_fd < 0 ? -errno : -ENOMEM;
	u8 *base = mmap(NULL, MMU_SETS * face_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	bool good = run_fd >= 0 && vcpu_fd >= 0 && base != MAP_FAILED;
	struct vcpu *v = (struct vcpu *)(base + run_size);

	good = good && map_first(base, run_fd, vcpu_fd);
	if (vcpu_fd >= 0)
		close(vcpu_fd);
	if (good) {
		v->run = (struct kvm_run *)base;
		good = vcpu_map_face(v, (struct cpu *)((u8 *)v + face_size));
	}
	if (!good) {
		if (run_fd >= 0)
			close(run_fd);
		if (base != MAP_FAILED)
			munmap(base, MMU_SETS * face_size);
		return err;
	}
	for (u32 k = 0; k < MMU_SETS; k++)
		v->mmu.set[k] = (struct mmu_set){ .face = (struct cpu *)((u8 *)v + k * face_size), .mapped = k < 2 };
	v->fd = run_fd;
	*ret_vcpu = v;
	return 0;
}

/* The descriptor itself belongs to the descriptor table. */
void vcpu_destroy(struct vcpu *v)
{
	if (v->lapic)
		lapic_destroy(v->lapic);
	fpu_free(&v->fpu);
	free(v->cpuid);
	pthread_mutex_destroy(&v->lock);
	munmap(v->run, MMU_SETS * (run_size + sizeof(struct vcpu)));
}

void vcpu_reset(struct vcpu *v, bool init_only)
{
	struct cpu *c = &v->cpu;

	cpu_reset(c, init_only);
	if (!init_only) {
		fpu_reset(&v->fpu);
		msr_reset(v);
		kvmclock_reset(v);
	}
	if (v->lapic)
		lapic_reset(v->lapic, init_only);
	c->replay_count = c->replay_pos = 0;
	v->io_pending = 0;
	v->pio_count = 0;
	v->user_irq = -1;
	v->inject_exc.pending = v->triple_fault = false;
	__atomic_store_n(&v->nmi_pending, false, __ATOMIC_SEQ_CST); /* KVM forgets it at INIT, too */
	c->exc.pending = false;
	c->halted = false;
	mmu_flush_all(c);
}

int vcpu_create(struct vm *vm, u32 id, struct vcpu **ret_vcpu)
{
	struct vcpu *v = NULL;
	int err;

	if (id >= MAX_VCPU_IDS)
		return -EINVAL;
	pthread_mutex_lock(&vm->lock);
	if (vm->vcpu_count == MAX_VCPUS)
		err = -EINVAL;
	else if (vm_vcpu_by_id(vm, id))
		err = -EEXIST;
	else
		err = vcpu_map(&v);
	if (err)
		goto out;
	v->vm = vm;
	v->id = id;
	v->index = vm->vcpu_count;
	v->user_irq = -1;
	v->cpu.vcpu = v;
	v->cpu.self = (u64)(uintptr_t)&v->cpu;
	mmu_init(&v->cpu);
	v->cpu.poll = (u32_unaligned *)((u8 *)v->run + 1);
	v->cpu.a20_always = true;
	v->cpu.tsc_offset = vm->tsc_offset;
	v->apic_base = 0xfee00800 | (id == vm->bsp_id ? 0x100 : 0);
	v->poll_ns = 10000;
	cpuid_init(v);
	if (vm->jit)
		jit_reset_heat(vm->jit, &v->cpu);
	pthread_mutex_init(&v->lock, NULL);
	if (!fpu_init(&v->fpu)) {
		err = -ENOMEM;
	} else if (vm->chips) {
		v->lapic = lapic_create(v);
		err = v->lapic ? 0 : -ENOMEM;
	}
	if (err) {
		int fd = v->fd;

		vcpu_destroy(v);
		close(fd);
		goto out;
	}
	vcpu_reset(v, false);
	v->mp_state = !vm->chips || id == vm->bsp_id ? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_UNINITIALIZED;
	vm->vcpu[vm->vcpu_count] = v;
	__atomic_store_n(&vm->vcpu_count, vm->vcpu_count + 1, __ATOMIC_RELEASE);
	*ret_vcpu = v;
out:
	pthread_mutex_unlock(&vm->lock);
	return err;
}

void vcpu_request(struct vcpu *v, u32 req)
{
	/* What a sleeping vCPU may just as well do when it wakes up for another reason */
	const u32 can_wait = REQ_TLB_FLUSH | REQ_JUMP_FLUSH | REQ_PAUSE | REQ_MIGRATE_CLOCK;

	__atomic_fetch_or(&v->cpu.req, req, __ATOMIC_SEQ_CST);
	__atomic_store_n(vcpu_poll_byte(v), 1, __ATOMIC_SEQ_CST);
	if ((req & ~can_wait) && __atomic_load_n(&v->sleeping, __ATOMIC_SEQ_CST))
		sys_futex_wake((u32 *)v->run, 1); /* the word that holds the poll byte */
}

void vcpu_kick(struct vcpu *v)
{
	vcpu_request(v, REQ_EVENT);
}
