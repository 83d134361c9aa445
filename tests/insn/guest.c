/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The engines under test: a vCPU of the software KVM at CPL 3 in long mode, with the test's pages at the test's linear
 * addresses, and an IDT whose handlers halt, so that any exception is seen by where the guest stops.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "cpuid.h"
#include "diff.h"
#include "host.h"
#include "interp.h"
#include "jit.h"
#include "mmu.h"
#include "soft.h"

/* guest-physical layout */
#define GPA_TABLES 0x1000u
#define GPA_CODE   0x10000u
#define GPA_DATA   0x20000u
#define GPA_SYS	   0x30000u
#define GPA_DATA_PAGE(n) (GPA_DATA + (2 - (n)) * 0x2000u) /* not neighbours: who goes beyond a page's end is elsewhere */
#define RAM_SIZE   0x40000u
/* inside SYS */
#define SYS_IDT	      0x0000u
#define SYS_GDT	      0x1000u
#define SYS_TSS	      0x1800u
#define SYS_HANDLERS  0x2000u
#define SYS_STACK_TOP 0x4000u
#define SYS_PAGES     4

#define PTE_P 1u
#define PTE_W 2u
#define PTE_U 4u

#define VECTOR_RETURNS 0x80u /* handlers from here on return: for interrupts that the guest is not to notice */

struct engine {
	char *name;
	bool translates;
	struct vm *vm;
	struct vcpu *vcpu;
	u8 *ram;
};

/* Those of the engine at work. */
static struct vm *vm;
static struct vcpu *vcpu;
static u8 *ram;

static void use(const struct engine *e)
{
	vm = e->vm;
	vcpu = e->vcpu;
	ram = e->ram;
}

static void put64(u32 gpa, u64 v)
{
	memcpy(ram + gpa, &v, 8);
}

static void build_tables(void)
{
	const u32 pml4 = GPA_TABLES, pdpt = pml4 + 0x1000, pd = pdpt + 0x1000, pt = pd + 0x1000;
	const u64 flags = PTE_P | PTE_W | PTE_U | 0x60;

	put64(pml4, pdpt | flags);
	put64(pdpt, pd | flags);
	put64(pd + 8 * (CODE >> 21), pt | flags);
	put64(pd + 8 * (DATA >> 21), (pt + 0x1000) | flags);
	/* the system pages: the last GiB, as a kernel's */
	put64(pml4 + 8 * 511, (pt + 0x3000) | flags);
	put64(pt + 0x3000 + 8 * 511, (pt + 0x4000) | flags);
	put64(pt + 0x4000, (pt + 0x2000) | flags);
	for (u32 n = 0; n < CODE_PAGES; n++)
		put64(pt + 8 * n, (GPA_CODE + n * 4096) | PTE_P | PTE_W | PTE_U | 0x60);
	for (u32 n = 0; n < DATA_PAGES; n++)
		put64(pt + 0x1000 + 8 * (n + 1),
		      GPA_DATA_PAGE(n) | PTE_P | (n < 2 ? PTE_W : 0) | PTE_U | 0x60 | 1ull << 63);
	for (u32 n = 0; n < SYS_PAGES; n++)
		put64(pt + 0x2000 + 8 * n, (GPA_SYS + n * 4096) | PTE_P | PTE_W | 0x60);
}

static void build_system(void)
{
	static const u8 iretq[] = {0x48, 0xcf};

	for (u32 v = 0; v < 256; v++) {
		u64 at = SYS + SYS_HANDLERS + v * 16;
		u16 dpl3 = v == 3 || v == 4 ? 0xee00 : 0x8e00;

		put64(GPA_SYS + SYS_IDT + v * 16,
		      (at & 0xffff) | 0x08u << 16 | (u64)dpl3 << 32 | (at >> 16 & 0xffff) << 48);
		put64(GPA_SYS + SYS_IDT + v * 16 + 8, at >> 32);
		if (v >= VECTOR_RETURNS)
			memcpy(ram + GPA_SYS + SYS_HANDLERS + v * 16, iretq, sizeof(iretq));
		else
			memset(ram + GPA_SYS + SYS_HANDLERS + v * 16, 0xf4, 16);
	}
	put64(GPA_SYS + SYS_GDT + 0x08, 0x00af9b000000ffff); /* kernel code */
	put64(GPA_SYS + SYS_GDT + 0x10, 0x00cf93000000ffff);
	put64(GPA_SYS + SYS_GDT + 0x18, 0x00cff3000000ffff); /* user data */
	put64(GPA_SYS + SYS_GDT + 0x20, 0x00affb000000ffff); /* user code, 64 and 32 bit */
	put64(GPA_SYS + SYS_GDT + 0x28, 0x00cffb000000ffff);
	put64(GPA_SYS + SYS_TSS + 4, SYS + SYS_STACK_TOP);
	memset(ram + GPA_CODE, 0xcc, CODE_PAGES * 4096);
}

static void set_segment(enum seg_id s, u16 sel, u8 type, u8 dpl)
{
	vcpu->cpu.seg[s] = (struct segment){.sel = sel,
					    .type = type,
					    .s = 1,
					    .dpl = dpl,
					    .present = 1,
					    .limit = 0xffffffff,
					    .g = 1,
					    .l = s == SEG_CS,
					    .db = s != SEG_CS};
}

static void set_code_segment(void)
{
	bool wide = test_mode == MODE_LONG64;

	set_segment(SEG_CS, wide ? 0x23 : 0x2b, 0xb, 3);
	vcpu->cpu.seg[SEG_CS].l = wide;
	vcpu->cpu.seg[SEG_CS].db = !wide;
}

static void set_state(const struct test_case *t)
{
	struct cpu *c = &vcpu->cpu;

	memcpy(c->gpr, t->in.gpr, sizeof(c->gpr));
	for (unsigned r = RAX; r <= RDI && test_mode != MODE_LONG64; r++) /* what 64-bit code left there is nobody's */
		c->gpr[r] |= (0x87654321ull + r) << 32;
	c->rip = t->at;
	c->rflags = t->in.rflags;
	c->intr_shadow = 0;
	c->halted = false;
	c->cr2 = 0;
	c->req = 0;
	*vcpu_poll_byte(vcpu) = 0;
	set_code_segment();
	set_segment(SEG_SS, 0x1b, 3, 3);
	c->seg[SEG_FS].base = t->base[0];
	c->seg[SEG_GS].base = t->base[1];
	cpu_update_mode(c);
}

static void open_cpu(void)
{
	struct cpu *c = &vcpu->cpu;

	c->cr0 = CR0_PE | CR0_PG | CR0_NE | CR0_WP | CR0_MP | CR0_ET;
	c->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | (fpu_features() & 4 ? CR4_OSXSAVE : 0);
	c->efer = EFER_LME | EFER_LMA | EFER_NX | EFER_SCE;
	c->xcr0 = fpu_features();
	c->cr3 = GPA_TABLES;
	c->gdtr = (struct desc_table){SYS + SYS_GDT, 0xff};
	c->idtr = (struct desc_table){SYS + SYS_IDT, 0xfff};
	for (u32 s = SEG_ES; s <= SEG_GS; s++)
		set_segment(s, 0x1b, 3, 3);
	c->seg[SEG_TR] = (struct segment){.sel = 0x40, .base = SYS + SYS_TSS, .limit = 0x67, .type = 0xb, .present = 1};
	c->seg[SEG_LDTR] = (struct segment){.unusable = 1};
	set_code_segment();
	cpu_update_mode(c);
	mmu_flush_all(c);
}

static bool open_vm(struct engine *e)
{
	struct kvm_userspace_memory_region r = {.memory_size = RAM_SIZE};
	struct kvm_cpuid_entry2 entries[80];
	int count;

	e->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	r.userspace_addr = (u64)(uintptr_t)e->ram;
	if (e->ram == MAP_FAILED || vm_create(&e->vm) || vcpu_create(e->vm, 0, &e->vcpu) || mem_set_region(e->vm, &r))
		return false;
	count = cpuid_supported(entries, ARRAY_SIZE(entries));
	return count >= 0 && !cpuid_set(e->vcpu, entries, (u32)count);
}

struct engine *engine_open(const char *name)
{
	struct engine *e = calloc(1, sizeof(*e));
	const char *options = strchr(name, ':');

	e->name = strdup(name);
	e->translates = !strncmp(name, "jit", 3);
	setenv("KVCORE_JIT", options ? options + 1 : "", 1);
	if (!open_vm(e))
		return NULL;
	use(e);
	build_tables();
	build_system();
	open_cpu();
	return !e->translates || vm->jit ? e : NULL;
}

const char *engine_name(const struct engine *e)
{
	return e->name;
}

bool engine_translates(const struct engine *e)
{
	return e->translates;
}

bool engine_has(const struct engine *e, const struct insn_desc *d)
{
	return !d->cpuid || host_cpuid_gate(&e->vcpu->cpu, d->cpuid);
}

/* Guest code and data for the case. The code is written as the guest would, so that translated code is dropped. */
static void put_case(const struct test_case *t)
{
	struct cpu *c = &vcpu->cpu;

	mmu_phys_write(c, GPA_CODE + (u32)(t->at - CODE), t->code, t->size);
	for (u32 n = 0; n < DATA_PAGES; n++)
		memcpy(ram + GPA_DATA_PAGE(n), t->data + n * 4096, 4096);
	memcpy(vcpu->fpu.area, t->vec, fpu_size());
	fpu_written(&vcpu->fpu);
}

static void take_frame(struct outcome *o)
{
	struct cpu *c = &vcpu->cpu;
	u64 vector = (c->rip - (SYS + SYS_HANDLERS)) / 16, frame[6];
	bool has_error = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
	u64 at = c->gpr[RSP] - SYS + GPA_SYS;

	if (vector > 255 || at > RAM_SIZE - sizeof(frame)) {
		o->vector = BROKEN;
		return;
	}
	memcpy(frame, ram + at, sizeof(frame));
	o->vector = (int)vector;
	o->error = has_error ? (u32)frame[0] : 0;
	o->cr2 = c->cr2;
	o->out.rip = frame[has_error];
	o->out.rflags = frame[has_error + 2];
	o->out.gpr[RSP] = frame[has_error + 3];
}

static void take_state(struct outcome *o)
{
	static u8 data[DATA_BYTES];
	struct cpu *c = &vcpu->cpu;

	memcpy(o->out.gpr, c->gpr, sizeof(o->out.gpr));
	o->out.rip = c->rip;
	o->out.rflags = c->rflags;
	o->vector = DONE;
	o->error = 0;
	o->cr2 = 0;
	if (c->cpl == 0)
		take_frame(o);
	memcpy(o->vec, vcpu->fpu.area, fpu_size());
	for (u32 n = 0; n < DATA_PAGES; n++)
		memcpy(data + n * 4096, ram + GPA_DATA_PAGE(n), 4096);
	o->data = data;
}

/* Stray stores of the case go as well, lest a later one runs into them. */
static void clean_code(const struct test_case *t)
{
	u8 fill[4096];

	memset(fill, 0xcc, sizeof(fill));
	mmu_phys_write(&vcpu->cpu, GPA_CODE + (u32)(t->at - CODE), fill, t->size);
	for (u32 at = GPA_CODE; at < GPA_CODE + CODE_PAGES * 4096; at += 4096)
		if (memcmp(ram + at, fill, sizeof(fill)))
			mmu_phys_write(&vcpu->cpu, at, fill, sizeof(fill));
}

static bool in_case(const struct test_case *t)
{
	return vcpu->cpu.cpl == 3 && vcpu->cpu.rip - t->at < t->size;
}

/* True: it ended as a case does. */
static bool interpret(const struct test_case *t)
{
	struct cpu *c = &vcpu->cpu;
	unsigned reason, steps = 0;

	do {
		c->replay_pos = c->replay_count = 0;
		if (interp_step(c, &reason) == INTERP_LEAVE)
			return false;
	} while (in_case(t) && ++steps < 4096);
	return steps < 4096;
}

/* It comes back without a reason for a request: then it is interrupted, as KVM_RUN would. */
static bool translate(const struct test_case *t)
{
	struct cpu *c = &vcpu->cpu;
	unsigned reason, tries = 0;

	do {
		u32 req = c->req;

		if (req & (REQ_JUMP_FLUSH | REQ_TLB_FLUSH))
			mmu_flush_all(c);
		c->req = 0;
		*vcpu_poll_byte(vcpu) = 0;
		if ((req & REQ_EVENT) && in_case(t) && !c->intr_shadow &&
		    !cpu_deliver(c, VECTOR_RETURNS + tries % 64, DELIVER_EXTERNAL, false, 0))
			return false;
		reason = jit_run(vm->jit, c);
	} while (!reason && ++tries < 1024);
	c->rip--; /* behind the handler's HLT */
	return reason == LEAVE_HLT;
}

void engine_run_case(struct engine *e, const struct test_case *t, struct outcome *o)
{
	bool ended;

	use(e);
	put_case(t);
	set_state(t);
	fpu_enter(&vcpu->fpu);
	ended = e->translates ? translate(t) : interpret(t);
	fpu_leave(&vcpu->fpu);
	take_state(o);
	if (!ended)
		o->vector = BROKEN;
	clean_code(t);
}
