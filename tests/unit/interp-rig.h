/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A processor in 32-bit protected mode for tests of the interpreter: flat segments, tables in guest memory, every vector's
 * handler at its own address. Tests write one instruction, step, and look.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>
#include "interp.h"
#include "mmu.h"
#include "soft.h"

#define RAM_SIZE (2u << 20)
#define GDT 0x2000u
#define IDT 0x3000u
#define TSS_A 0x4000u
#define TSS_B 0x4100u
#define HANDLERS 0x5000u /* 16 bytes a vector */
#define CODE 0x8000u
#define STACK_TOP 0x20000u
#define INNER_STACK 0x30000u

enum { CODE0 = 0x08, DATA0 = 0x10, CODE3 = 0x1b, DATA3 = 0x23, SEL_TSS_A = 0x28, SEL_TSS_B = 0x30, FREE = 0x38, FREE2 = 0x40,
       CODE16 = 0x48, CONFORMING = 0x50 };

#define NO_EXCEPTION (-1)
#define SHUTDOWN (-2)

static struct vm *vm;
static struct vcpu *v;
static struct cpu *c;
static uint8_t *ram;

static inline uint32_t get32(uint32_t at)
{
	uint32_t x;

	memcpy(&x, ram + at, 4);
	return x;
}

static inline uint16_t get16(uint32_t at)
{
	return (uint16_t)get32(at);
}

static inline void put32(uint32_t at, uint32_t x)
{
	memcpy(ram + at, &x, 4);
}

static inline void put16(uint32_t at, uint16_t x)
{
	memcpy(ram + at, &x, 2);
}

/* access: type, S, DPL, P; flags: G, D, L, AVL */
static inline uint64_t descriptor(uint32_t base, uint32_t limit, unsigned access, unsigned flags)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 |
	       (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
}

static inline void put_desc(unsigned sel, uint64_t raw)
{
	memcpy(ram + GDT + (sel & 0xfff8), &raw, 8);
}

static inline uint64_t gate(unsigned sel, uint32_t off, unsigned access, unsigned params)
{
	return (off & 0xffff) | (uint64_t)sel << 16 | (uint64_t)params << 32 | (uint64_t)access << 40 |
	       (uint64_t)(off >> 16) << 48;
}

static inline void put_idt(unsigned vector, uint64_t raw)
{
	memcpy(ram + IDT + 8 * vector, &raw, 8);
}

static inline void load_segment(enum seg_id seg, unsigned sel)
{
	uint64_t raw;
	struct segment *s = &c->seg[seg];
	uint32_t limit;

	memcpy(&raw, ram + GDT + (sel & 0xfff8), 8);
	limit = (uint32_t)((raw & 0xffff) | (raw >> 32 & 0xf0000));
	*s = (struct segment){ .base = (raw >> 16 & 0xffffff) | (raw >> 32 & 0xff000000), .sel = (u16)sel,
			       .limit = raw >> 55 & 1 ? limit << 12 | 0xfff : limit, .type = (raw >> 40 & 15), .s = raw >> 44 & 1,
			       .dpl = raw >> 45 & 3, .present = raw >> 47 & 1, .db = raw >> 54 & 1, .l = raw >> 53 & 1,
			       .g = raw >> 55 & 1 };
}

static inline void enter_level(unsigned cpl)
{
	load_segment(SEG_CS, cpl ? CODE3 : CODE0);
	load_segment(SEG_SS, cpl ? DATA3 : DATA0);
	for (unsigned s = SEG_DS; s <= SEG_GS; s++)
		load_segment(s, cpl ? DATA3 : DATA0);
	load_segment(SEG_ES, cpl ? DATA3 : DATA0);
	c->gpr[RSP] = STACK_TOP;
	cpu_update_mode(c);
}

static inline void protected_mode(void)
{
	memset(ram, 0, 0x40000);
	put_desc(CODE0, descriptor(0, 0xfffff, 0x9b, 0xc));
	put_desc(DATA0, descriptor(0, 0xfffff, 0x93, 0xc));
	put_desc(CODE3, descriptor(0, 0xfffff, 0xfb, 0xc));
	put_desc(DATA3, descriptor(0, 0xfffff, 0xf3, 0xc));
	put_desc(SEL_TSS_A, descriptor(TSS_A, 0x67, 0x8b, 0));
	put_desc(SEL_TSS_B, descriptor(TSS_B, 0x67, 0x89, 0));
	put_desc(CODE16, descriptor(0, 0xffff, 0x9b, 0));
	put_desc(CONFORMING, descriptor(0, 0xfffff, 0x9f, 0xc));
	for (unsigned n = 0; n < 256; n++)
		put_idt(n, gate(CODE0, HANDLERS + 16 * n, 0x8e, 0));
	put32(TSS_A + 4, INNER_STACK);
	put32(TSS_A + 8, DATA0);
	cpu_reset(c, false);
	c->gdtr = (struct desc_table){ GDT, 0x7f };
	c->idtr = (struct desc_table){ IDT, 0x7ff };
	c->cr0 = CR0_PE | CR0_ET;
	enter_level(0);
	load_segment(SEG_TR, SEL_TSS_A);
	mmu_flush_all(c);
}

static inline int setup(void **state)
{
	struct kvm_userspace_memory_region r = { .memory_size = RAM_SIZE };

	assert_int_equal(vm_create(&vm), 0);
	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(ram != MAP_FAILED);
	r.userspace_addr = (uintptr_t)ram;
	assert_int_equal(mem_set_region(vm, &r), 0);
	assert_int_equal(vcpu_create(vm, 0, &v), 0);
	c = &v->cpu;
	c->phys_mask = (1ull << 40) - 1;
	protected_mode();
	return 0;
}

static inline int teardown(void **state)
{
	vm_put(vm);
	munmap(ram, RAM_SIZE);
	return 0;
}

/* The vector whose handler is about to run. */
static inline int vector_at_rip(void)
{
	uint64_t off = c->rip - HANDLERS;

	return off < 16 * 256 && !(off & 15) ? (int)(off / 16) : NO_EXCEPTION;
}

/* Executes one instruction given as bytes; the exception it raised, NO_EXCEPTION or SHUTDOWN. */
#define STEP(...) step((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))
static inline int step(const uint8_t *code, size_t len)
{
	unsigned reason = 0;

	memcpy(ram + CODE, code, len);
	c->rip = CODE - c->seg[SEG_CS].base;
	if (interp_step(c, &reason) == INTERP_LEAVE)
		return SHUTDOWN;
	return vector_at_rip();
}

/* Error code of the exception just delivered through a 32-bit gate. */
static inline uint32_t error_code(void)
{
	return get32((uint32_t)c->gpr[RSP]);
}
