/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Paging: every mode and permission against the rules of SDM vol. 3, 4.6 written down once more, and the TLB's flushes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>
#include "fault.h"
#include "jit/internal.h"
#include "mmu.h"
#include "soft.h"

#define RAM_SIZE (8u << 20)
#define ROOT 0x1000u
#define LA 0x40201000ull /* slots 0, 1, 1, 1 of the four levels */
#define PAGE 0x200000u

static struct vm *vm;
static struct vcpu *v;
static struct cpu *c;
static uint8_t *ram;

static uint64_t *entry(uint64_t gpa)
{
	return (uint64_t *)(ram + gpa);
}

static void set_region(uint32_t slot, uint64_t gpa, uint64_t size, uint32_t flags)
{
	struct kvm_userspace_memory_region r = { .slot = slot, .guest_phys_addr = gpa, .memory_size = size, .flags = flags,
						 .userspace_addr = (uintptr_t)ram };

	assert_int_equal(mem_set_region(vm, &r), 0);
}

static int setup(void **state)
{
	assert_int_equal(vm_create(&vm), 0);
	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(ram != MAP_FAILED);
	set_region(0, 0, RAM_SIZE, 0);
	assert_int_equal(vcpu_create(vm, 0, &v), 0);
	c = &v->cpu;
	c->phys_mask = (1ull << 40) - 1;
	return 0;
}

static int teardown(void **state)
{
	vm_put(vm);
	munmap(ram, RAM_SIZE);
	return 0;
}

static void long_mode(void)
{
	c->cr0 = CR0_PE | CR0_PG | CR0_WP;
	c->cr4 = CR4_PAE | CR4_PGE;
	c->efer = EFER_LME | EFER_LMA | EFER_NX;
	c->cr3 = ROOT;
	c->mode = MODE_LONG64;
	memset(ram, 0, 0x10000);
	*entry(ROOT) = 0x2007;
	*entry(0x2000 + 8) = 0x3007;
	*entry(0x3000 + 8) = 0x4007;
	*entry(0x4000 + 8) = PAGE | 7;
	mmu_flush_all(c);
}

/* 4.6: may the access be made? */
static bool allowed(uint64_t pte, unsigned acc, unsigned view, bool wp, bool smep, bool smap)
{
	bool user_page = pte & 4, writable = pte & 2, nx = pte >> 63;

	if (view == VIEW_USER) {
		if (!user_page)
			return false;
		return acc == MMU_WRITE ? writable : acc == MMU_EXEC ? !nx : true;
	}
	if (acc == MMU_EXEC)
		return !nx && !(smep && user_page);
	if (smap && user_page && view == VIEW_KERNEL)
		return false;
	return acc != MMU_WRITE || writable || !wp;
}

static void one_permission(unsigned bits)
{
	uint64_t pte = PAGE | 1 | (bits & 1 ? 2 : 0) | (bits & 2 ? 4 : 0) | (bits & 4 ? 1ull << 63 : 0);
	bool wp = bits & 8, smep = bits & 16, smap = bits & 32;
	unsigned acc = bits >> 6 & 3, view = bits >> 8 & 3;
	struct mmu_result r;
	uint32_t error;

	if (acc > MMU_EXEC || view >= VIEW_COUNT)
		return;
	*entry(0x4000 + 8) = pte;
	c->cr0 = CR0_PE | CR0_PG | (wp ? CR0_WP : 0);
	c->cr4 = CR4_PAE | CR4_PGE | (smep ? CR4_SMEP : 0) | (smap ? CR4_SMAP : 0);
	error = PF_P | (acc == MMU_WRITE ? PF_W : 0) | (view == VIEW_USER ? PF_U : 0) | (acc == MMU_EXEC ? PF_I : 0);
	if (allowed(pte, acc, view, wp, smep, smap)) {
		assert_true(mmu_walk(c, LA + 5, acc, view, false, &r));
		assert_int_equal(r.gpa, PAGE + 5);
		assert_ptr_equal(r.host, ram + PAGE + 5);
		assert_int_equal(*entry(0x4000 + 8), pte | 0x20 | (acc == MMU_WRITE ? 0x40 : 0));
	} else {
		assert_false(mmu_walk(c, LA + 5, acc, view, false, &r));
		assert_int_equal(r.error, error);
		assert_int_equal(*entry(0x4000 + 8), pte);
	}
}

static void permissions(void **state)
{
	long_mode();
	for (unsigned bits = 0; bits < 1u << 10; bits++)
		one_permission(bits);
}

/* W and U are the AND of all levels, NX the OR. */
static void upper_levels(void **state)
{
	static const uint64_t at[] = { ROOT, 0x2008, 0x3008, 0x4008 };
	struct mmu_result r;

	for (unsigned i = 0; i < 4; i++) {
		long_mode();
		*entry(at[i]) &= ~2ull;
		assert_false(mmu_walk(c, LA, MMU_WRITE, VIEW_USER, false, &r));
		assert_int_equal(r.error, PF_P | PF_W | PF_U);
		*entry(at[i]) ^= 6;
		assert_false(mmu_walk(c, LA, MMU_READ, VIEW_USER, false, &r));
		*entry(at[i]) |= 4 | 1ull << 63;
		assert_false(mmu_walk(c, LA, MMU_EXEC, VIEW_USER, false, &r));
		assert_true(mmu_walk(c, LA, MMU_READ, VIEW_USER, false, &r));
		*entry(at[i]) = 0;
		mmu_flush_page(c, LA);
		assert_false(mmu_walk(c, LA, MMU_READ, VIEW_USER, false, &r));
		assert_int_equal(r.error, PF_U);
		long_mode();
		*entry(at[i]) |= 1ull << 45; /* beyond MAXPHYADDR */
		assert_false(mmu_walk(c, LA, MMU_READ, VIEW_KERNEL, false, &r));
		assert_int_equal(r.error, PF_P | PF_RSVD);
	}
	long_mode();
	*entry(ROOT) |= 0x80;
	assert_false(mmu_walk(c, LA, MMU_READ, VIEW_KERNEL, false, &r));
	assert_int_equal(r.error, PF_P | PF_RSVD);
	long_mode();
	*entry(0x4008) |= 1ull << 63;
	c->efer &= ~(uint64_t)EFER_NX;
	assert_false(mmu_walk(c, LA, MMU_READ, VIEW_KERNEL, false, &r));
	assert_int_equal(r.error, PF_P | PF_RSVD);
}

static void large_pages(void **state)
{
	struct mmu_result r;

	long_mode();
	*entry(0x3008) = 0x400000 | 0x87;
	assert_true(mmu_walk(c, LA + 0x12345, MMU_READ, VIEW_USER, false, &r));
	assert_int_equal(r.gpa, 0x400000 + ((LA + 0x12345) & 0x1fffff));
	assert_int_equal(r.shift, 21);
	*entry(0x3008) |= 0x2000;
	assert_false(mmu_walk(c, LA, MMU_READ, VIEW_USER, false, &r));
	assert_int_equal(r.error, PF_P | PF_RSVD | PF_U);
	*entry(0x2008) = 0x87;
	assert_true(mmu_walk(c, 0x40000000 + 0x123456, MMU_READ, VIEW_USER, false, &r));
	assert_int_equal(r.gpa, 0x123456);
	assert_int_equal(r.shift, 30);
}

static void mode_32(void **state)
{
	uint32_t *pd = (uint32_t *)(ram + ROOT), *pt = (uint32_t *)(ram + 0x2000);
	struct mmu_result r;

	memset(ram, 0, 0x10000);
	c->cr0 = CR0_PE | CR0_PG | CR0_WP;
	c->cr4 = CR4_PSE;
	c->efer = 0;
	c->cr3 = ROOT;
	c->mode = MODE_PROT32;
	pd[0x300] = 0x2003;
	pt[5] = PAGE | 1;
	assert_true(mmu_walk(c, 0xc0005678, MMU_READ, VIEW_KERNEL, false, &r));
	assert_int_equal(r.gpa, PAGE + 0x678);
	assert_false(mmu_walk(c, 0xc0005678, MMU_WRITE, VIEW_KERNEL, false, &r));
	assert_int_equal(r.error, PF_P | PF_W);
	assert_int_equal(pt[5], PAGE | 0x21);
	pd[0x301] = 0x400083;
	assert_true(mmu_walk(c, 0xc0412345, MMU_WRITE, VIEW_KERNEL, false, &r));
	assert_int_equal(r.gpa, 0x412345);
	assert_int_equal(pd[0x301], 0x4000e3);
}

static void mode_pae(void **state)
{
	struct mmu_result r;

	memset(ram, 0, 0x10000);
	c->cr0 = CR0_PE | CR0_PG | CR0_WP;
	c->cr4 = CR4_PAE;
	c->efer = EFER_NX;
	c->mode = MODE_PROT32;
	*entry(ROOT + 0x20) = 0x2001; /* the table is 32-byte aligned */
	*entry(ROOT + 0x38) = 0x2001;
	*entry(0x2000) = 0x3003;
	*entry(0x3000) = PAGE | 1ull << 63 | 3;
	c->cr3 = ROOT + 0x20;
	assert_true(mmu_load_pdptes(c, c->cr3));
	assert_true(mmu_walk(c, 0xc0000010, MMU_WRITE, VIEW_KERNEL, false, &r));
	assert_int_equal(r.gpa, PAGE + 0x10);
	assert_false(mmu_walk(c, 0xc0000010, MMU_EXEC, VIEW_KERNEL, false, &r));
	assert_false(mmu_walk(c, 0x40000000, MMU_READ, VIEW_KERNEL, false, &r));
	assert_int_equal(r.error, 0);
	*entry(ROOT + 0x38) |= 2; /* reserved in a PDPTE */
	assert_false(mmu_load_pdptes(c, c->cr3));
}

static bool raises(uint64_t la, unsigned len, bool write, uint32_t *ret_error, uint64_t *ret_cr2)
{
	static uint8_t buf[16];
	jmp_buf jb;

	c->fault_jmp = &jb;
	if (setjmp(jb)) {
		*ret_error = c->exc.error;
		*ret_cr2 = c->exc.cr2;
		return true;
	}
	if (write)
		mmu_write(c, la, buf, len, VIEW_KERNEL);
	else
		mmu_read(c, la, buf, len, VIEW_KERNEL);
	return false;
}

static void page_crossing(void **state)
{
	uint64_t value = 0x1122334455667788, back = 0, cr2;
	uint32_t error;

	long_mode();
	*entry(0x4010) = (PAGE + 0x5000) | 3; /* the next linear page is elsewhere */
	mmu_write(c, LA + 0xffd, &value, 8, VIEW_KERNEL);
	assert_memory_equal(ram + PAGE + 0xffd, "\x88\x77\x66", 3);
	assert_memory_equal(ram + PAGE + 0x5000, "\x55\x44\x33\x22\x11", 5);
	mmu_read(c, LA + 0xffd, &back, 8, VIEW_KERNEL);
	assert_int_equal(back, value);
	*entry(0x4010) = 0;
	mmu_flush_page(c, LA + 0x1000);
	memset(ram + PAGE + 0xff0, 0xaa, 16);
	assert_true(raises(LA + 0xffd, 8, true, &error, &cr2));
	assert_int_equal(error, PF_W);
	assert_int_equal(cr2, LA + 0x1000);
	assert_int_equal(ram[PAGE + 0xffd], 0xaa); /* nothing was written */
}

/* Descriptor tables and stacks of a 64-bit kernel, while 32-bit code runs; and its own data, which end at 4 GiB. */
static void page_crossing_in_32_bit_code(void **state)
{
	const uint64_t high = 0xffffffffc0000000 | LA; /* slots 511, 511, 1, 1: nothing is at its lower half */
	uint64_t value = 0x1122334455667788, back = 0, cr2;
	uint32_t error;

	long_mode();
	*entry(ROOT + 8 * 511) = 0x6007;
	*entry(0x6000 + 8 * 511) = 0x3007;
	*entry(0x4010) = (PAGE + 0x5000) | 7;
	c->mode = MODE_COMPAT32;
	mmu_write(c, high + 0xffd, &value, 8, VIEW_KERNEL);
	mmu_read(c, high + 0xffd, &back, 8, VIEW_KERNEL);
	assert_int_equal(back, value);
	assert_memory_equal(ram + PAGE + 0x5000, "\x55\x44\x33\x22\x11", 5);
	assert_true(raises(0xfffffffd, 8, false, &error, &cr2));
	assert_int_equal(cr2, 0xfffffffd);
	c->mode = MODE_LONG64;
}

static void tlb_and_flushes(void **state)
{
	uint8_t byte = 1;

	long_mode();
	mmu_write(c, LA, &byte, 1, VIEW_KERNEL);
	assert_int_equal(ram[PAGE], 1);
	*entry(0x4008) = (PAGE + 0x1000) | 7; /* stale until flushed */
	byte = 2;
	mmu_write(c, LA, &byte, 1, VIEW_KERNEL);
	assert_int_equal(ram[PAGE], 2);
	mmu_flush_page(c, LA + 0xfff);
	mmu_write(c, LA, &byte, 1, VIEW_KERNEL);
	assert_int_equal(ram[PAGE + 0x1000], 2);
	/* A global page survives MOV CR3, others do not. */
	*entry(0x4008) = PAGE | 0x107;
	mmu_flush_all(c);
	mmu_read(c, LA, &byte, 1, VIEW_KERNEL);
	*entry(0x4008) = (PAGE + 0x1000) | 7;
	ram[PAGE] = 11;
	ram[PAGE + 0x1000] = 22;
	mmu_set_cr3(c, ROOT, false);
	mmu_read(c, LA, &byte, 1, VIEW_KERNEL);
	assert_int_equal(byte, 11);
	mmu_flush_all(c);
	mmu_read(c, LA, &byte, 1, VIEW_KERNEL);
	assert_int_equal(byte, 22);
	*entry(0x4008) = PAGE | 7;
	mmu_set_cr3(c, ROOT, false);
	mmu_read(c, LA, &byte, 1, VIEW_KERNEL);
	assert_int_equal(byte, 11);
	/* INVLPG anywhere in a large page drops all of it. */
	*entry(0x3008) = 0x400000 | 0x87;
	mmu_flush_all(c);
	ram[0x401000] = 33;
	mmu_read(c, LA, &byte, 1, VIEW_KERNEL);
	assert_int_equal(byte, 33);
	*entry(0x3008) = 0x4007;
	mmu_flush_page(c, LA + 0x5000);
	mmu_read(c, LA, &byte, 1, VIEW_KERNEL);
	assert_int_equal(byte, 11);
}

/* Where c would go on at LA in this mode: what cpu_put_jump() noted, or 0. */
static uint64_t jump_known(enum cpu_mode mode, unsigned cpl)
{
	c->mode = (uint8_t)mode;
	c->cpl = (uint8_t)cpl;
	c->view = cpl ? VIEW_USER : VIEW_KERNEL;
	c->rip = LA;
	return (uintptr_t)cpu_get_jump(c);
}

/* With supervisor code in global pages MOV CR3 drops user code's targets alone, but those of each code size. */
static void targets_of_user_code(void **state)
{
	static const enum cpu_mode modes[] = { MODE_LONG64, MODE_COMPAT32 };
	uint64_t gpa;
	uint8_t *host;
	uint32_t error;
	bool mmio;

	for (unsigned m = 0; m < 2; m++)
		for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
			long_mode();
			*entry(0x4008) |= cpl ? 0 : 0x100;
			jump_known(modes[m], cpl);
			assert_true(mmu_fetch(c, LA, &gpa, &host, &error, &mmio));
			cpu_put_jump(c, 1234);
			assert_int_equal(jump_known(modes[m], cpl), 1234);
			mmu_set_cr3(c, ROOT, false);
			assert_int_equal(jump_known(modes[m], cpl), cpl ? 0 : 1234);
		}
	c->mode = MODE_LONG64;
	c->cpl = 0;
	c->view = VIEW_KERNEL;
}

static void many_flushes(void **state)
{
	uint8_t byte;

	long_mode();
	for (unsigned i = 0; i < 512; i++)
		*entry(0x4000 + 8 * i) = (PAGE + i * 0x1000) | 7;
	for (unsigned view = 0; view < VIEW_COUNT; view++)
		for (unsigned i = 0; i < 512; i++)
			mmu_read(c, 0x40200000 + i * 0x1000, &byte, 1, view);
	mmu_set_cr3(c, ROOT, false);
	for (unsigned view = 0; view < VIEW_COUNT; view++)
		for (unsigned i = 0; i < TLB_SIZE; i++)
			assert_int_not_equal(tlb_index(c->set->tlb[view][i].rtag), i);
}

static uint8_t read_byte(uint64_t la)
{
	uint8_t byte = 0;

	mmu_read(c, la, &byte, 1, VIEW_KERNEL);
	return byte;
}

/* What is kept is seen by the page-table entry that is stale on purpose. */
static void address_spaces(void **state)
{
	uint64_t fills, recycles;

	long_mode();
	c->cr4 |= CR4_PCIDE;
	mmu_flush_all(c);
	ram[PAGE] = 11;
	ram[PAGE + 0x1000] = 22;
	assert_int_equal(read_byte(LA), 11);
	mmu_set_cr3(c, ROOT | 1, false);
	*entry(0x4008) = (PAGE + 0x1000) | 7;
	assert_int_equal(read_byte(LA), 22);
	fills = v->mmu.fills;
	for (unsigned round = 0; round < 10; round++) {
		mmu_set_cr3(c, ROOT, true);
		assert_int_equal(read_byte(LA), 11);
		mmu_set_cr3(c, ROOT | 1, true);
		assert_int_equal(read_byte(LA), 22);
	}
	assert_int_equal(v->mmu.fills, fills);
	mmu_flush_page(c, LA);
	mmu_set_cr3(c, ROOT, true);
	assert_int_equal(read_byte(LA), 11); /* INVLPG was for the other PCID: the page is not global */
	recycles = v->mmu.recycles;
	for (unsigned pcid = 2; pcid < MMU_SETS; pcid++) /* PCID 1 was left longest ago */
		mmu_set_cr3(c, ROOT | pcid, true);
	assert_int_equal(v->mmu.recycles, recycles);
	mmu_set_cr3(c, ROOT | 100, true);
	assert_int_equal(v->mmu.recycles, recycles + 1);
	mmu_set_cr3(c, ROOT, true);
	assert_int_equal(read_byte(LA), 11);
	mmu_set_cr3(c, ROOT, false);
	assert_int_equal(read_byte(LA), 22);
}

/* Of all address spaces nothing is left, and each finds its way again; address 0 is nobody's. */
static void give_back(void **state)
{
	unsigned char pages[64];
	size_t size = offsetof(struct cpu, code) - offsetof(struct cpu, tlb), there = 0;

	long_mode();
	c->cr4 |= CR4_PCIDE;
	mmu_flush_all(c);
	ram[PAGE] = 11;
	for (unsigned pcid = 0; pcid < 3; pcid++) {
		mmu_set_cr3(c, ROOT | pcid, true);
		assert_int_equal(read_byte(LA), 11);
	}
	assert_true(mmu_may_write(c, PAGE) || c->set->tlb[VIEW_KERNEL][tlb_index(LA)].rtag == LA);
	*entry(0x4008) = (PAGE + 0x1000) | 7;
	ram[PAGE + 0x1000] = 22;
	mmu_give_back(c);
	for (size_t at = 0; at < size; at += sizeof(pages) * 4096) {
		size_t n = (size - at < sizeof(pages) * 4096 ? size - at : sizeof(pages) * 4096) / 4096;

		assert_int_equal(mincore((uint8_t *)c->set + offsetof(struct cpu, tlb) + at, n * 4096, pages), 0);
		for (size_t i = 0; i < n; i++)
			there += pages[i] & 1;
	}
	assert_in_range(there, 1, 16); /* the first entries of each table, and no others */
	assert_false(mmu_may_write(c, PAGE));
	for (unsigned view = 0; view < VIEW_COUNT; view++)
		assert_int_not_equal(c->set->tlb[view][0].rtag, 0);
	for (unsigned pcid = 0; pcid < 3; pcid++) {
		mmu_set_cr3(c, ROOT | pcid, true);
		assert_int_equal(read_byte(LA), 22);
	}
}

/* A code page has no write tag in any set, also where one was made before. */
static void code_page_of_all_spaces(void **state)
{
	struct memslot *s;
	uint32_t hint = 0;
	uint8_t byte = 1;

	long_mode();
	c->cr4 |= CR4_PCIDE;
	mmu_flush_all(c);
	s = mem_slot(&vm->memory, PAGE, &hint);
	for (unsigned pcid = 0; pcid < 3; pcid++) {
		mmu_set_cr3(c, ROOT | pcid, true);
		mmu_write(c, LA, &byte, 1, VIEW_KERNEL);
		assert_int_equal(c->set->tlb[VIEW_KERNEL][tlb_index(LA)].wtag, LA);
	}
	s->code_pages[PAGE / 4096] = 1;
	mmu_close_page(c, PAGE);
	for (unsigned pcid = 0; pcid < 3; pcid++) {
		mmu_set_cr3(c, ROOT | pcid, true);
		assert_int_equal(c->set->tlb[VIEW_KERNEL][tlb_index(LA)].rtag, LA);
		assert_int_not_equal(c->set->tlb[VIEW_KERNEL][tlb_index(LA)].wtag, LA);
	}
	s->code_pages[PAGE / 4096] = 0;
}

/* The tables of the lowest levels are remembered until a flush, or until an access faults through them. */
static void upper_levels_are_kept(void **state)
{
	uint64_t hits;
	struct mmu_result r;

	long_mode();
	*entry(0x4010) = (PAGE + 0x2000) | 7;
	*entry(0x5010) = (PAGE + 0x3000) | 7;
	*entry(0x5018) = (PAGE + 0x4000) | 7;
	assert_int_equal(*entry(0x3008), 0x4007);
	assert_true(mmu_walk(c, LA, MMU_READ, VIEW_USER, false, &r));
	hits = v->mmu.walk_hits;
	*entry(0x3008) = 0x5007;
	assert_true(mmu_walk(c, LA + 0x1000, MMU_READ, VIEW_USER, false, &r));
	assert_int_equal(r.gpa, PAGE + 0x2000);
	assert_int_equal(v->mmu.walk_hits, hits + 1);
	assert_true(mmu_walk(c, LA + 0x1000, MMU_READ, VIEW_USER, true, &r)); /* a probe sees what is there */
	assert_int_equal(r.gpa, PAGE + 0x3000);
	assert_true(mmu_walk(c, LA + 0x2000, MMU_READ, VIEW_USER, false, &r)); /* no fault: it is looked up anew */
	assert_int_equal(r.gpa, PAGE + 0x4000);
	*entry(0x3008) = 0x4007;
	assert_false(mmu_walk(c, LA + 0x7000, MMU_READ, VIEW_USER, false, &r));
	*entry(0x3008) = 0x5007;
	assert_true(mmu_walk(c, LA + 0x1000, MMU_READ, VIEW_USER, false, &r)); /* the fault dropped it */
	assert_int_equal(r.gpa, PAGE + 0x3000);
	*entry(0x3008) &= ~2ull; /* rights of upper levels are kept, too */
	mmu_flush_page(c, 0);
	assert_true(mmu_walk(c, LA + 0x1000, MMU_READ, VIEW_USER, false, &r));
	assert_false(r.writable_now);
	assert_true(mmu_walk(c, LA + 0x2000, MMU_READ, VIEW_USER, false, &r));
	assert_false(mmu_walk(c, LA + 0x2000, MMU_WRITE, VIEW_USER, false, &r));
	assert_int_equal(r.error, PF_P | PF_W | PF_U);
}

/* While a split access waits for the world to stop, user space may put other memory where the page tables were. */
static void memory_changes_before_split(void **state)
{
	uint8_t *before = ram, *after = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct mmu_split s;

	long_mode();
	*entry(0x4010) = (PAGE + 0x1000) | 7;
	read_byte(LA);
	read_byte(LA + 0x1000);
	memcpy(after, ram, 0x10000);
	ram = after;
	*entry(0x4008) = (PAGE + 0x3000) | 7;
	set_region(0, 0, 0, 0);
	set_region(0, 0, RAM_SIZE, 0);
	assert_true(mmu_split_begin(c, LA + 0xffd, 8, VIEW_KERNEL, &s));
	mmu_split_end(c);
	assert_ptr_equal(s.piece[0].host, after + PAGE + 0x3ffd);
	assert_ptr_equal(s.piece[1].host, after + PAGE + 0x1000);
	assert_true(c->req & REQ_TLB_FLUSH); /* what else waits for it has not seen it yet */
	after[PAGE + 0x3000] = 44;
	assert_int_equal(read_byte(LA), 44);
	set_region(0, 0, 0, 0);
	ram = before;
	set_region(0, 0, RAM_SIZE, 0);
	mmu_flush_all(c);
	munmap(after, RAM_SIZE);
}

static void dirty_log(void **state)
{
	uint64_t bitmap[RAM_SIZE / 4096 / 64];
	struct kvm_dirty_log log = { .slot = 0, .dirty_bitmap = bitmap };
	uint8_t byte = 7;

	long_mode();
	set_region(0, 0, RAM_SIZE, KVM_MEM_LOG_DIRTY_PAGES);
	mmu_flush_all(c);
	assert_int_equal(mem_get_dirty_log(vm, &log), 0);
	for (unsigned round = 0; round < 2; round++) {
		mmu_flush_all(c); /* what the run loop does for REQ_TLB_FLUSH */
		mmu_read(c, LA, &byte, 1, VIEW_KERNEL);
		mmu_write(c, LA + 1, &byte, 1, VIEW_KERNEL);
		mmu_write(c, LA + 2, &byte, 1, VIEW_KERNEL);
		assert_int_equal(mem_get_dirty_log(vm, &log), 0);
		assert_true(bitmap[PAGE / 4096 / 64] >> (PAGE / 4096 & 63) & 1);
		assert_true(c->req & REQ_TLB_FLUSH);
	}
	assert_int_equal(mem_get_dirty_log(vm, &log), 0);
	for (unsigned i = 0; i < RAM_SIZE / 4096 / 64; i++)
		assert_int_equal(bitmap[i], 0);
	set_region(0, 0, RAM_SIZE, 0);
	assert_int_equal(mem_get_dirty_log(vm, &log), -ENOENT);
}

static void code_pages_close_writes(void **state)
{
	struct memslot *s;
	uint32_t hint = 0;

	long_mode();
	s = mem_slot(&vm->memory, PAGE, &hint);
	assert_true(mmu_fill(c, LA, MMU_WRITE, VIEW_KERNEL));
	s->code_pages[PAGE / 4096] = 1;
	mmu_flush_all(c);
	assert_true(mmu_fill(c, LA, MMU_READ, VIEW_KERNEL));
	assert_false(mmu_fill(c, LA, MMU_READ, VIEW_KERNEL)); /* it is there: a miss was a page crossing */
	assert_false(mmu_fill(c, LA, MMU_WRITE, VIEW_KERNEL));
	s->code_pages[PAGE / 4096] = 0;
}

/*
 * Another vCPU may translate a page between mmu_ptr() and the write through its pointer; what it makes of the old bytes must
 * not live on. Here it is this thread that translates there.
 */
static void code_goes_after_the_write(void **state)
{
	struct jit *j = vm->jit;
	uint8_t *p;

	if (!j)
		skip();
	long_mode();
	mem_slot(&vm->memory, PAGE, NULL)->code_pages[PAGE / 4096] = 1;
	mmu_flush_all(c);
	p = mmu_ptr(c, LA + 100, 4, MMU_WRITE, VIEW_KERNEL);
	assert_ptr_equal(p, ram + PAGE + 100);
	if (!page_find(j, PAGE))
		page_create(j, PAGE);
	page_cover(page_find(j, PAGE), ram + PAGE, 100, 4);
	memcpy(p, "new", 4);
	mmu_wrote(c);
	assert_null(page_find(j, PAGE));
	assert_int_equal(mem_slot(&vm->memory, PAGE, NULL)->code_pages[PAGE / 4096], 0);
	assert_true(mmu_fill(c, LA, MMU_WRITE, VIEW_KERNEL));
	page_create(j, PAGE);
	page_cover(page_find(j, PAGE), ram + PAGE, 100, 4);
	mmu_wrote(c); /* nothing was written meanwhile */
	assert_non_null(page_find(j, PAGE));
	jit_flush(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(permissions), cmocka_unit_test(upper_levels), cmocka_unit_test(large_pages),
		cmocka_unit_test(mode_32), cmocka_unit_test(mode_pae), cmocka_unit_test(page_crossing),
		cmocka_unit_test(page_crossing_in_32_bit_code), cmocka_unit_test(tlb_and_flushes),
		cmocka_unit_test(targets_of_user_code),
		cmocka_unit_test(many_flushes), cmocka_unit_test(address_spaces),
		cmocka_unit_test(give_back),
		cmocka_unit_test(code_page_of_all_spaces), cmocka_unit_test(upper_levels_are_kept),
		cmocka_unit_test(memory_changes_before_split), cmocka_unit_test(dirty_log),
		cmocka_unit_test(code_pages_close_writes), cmocka_unit_test(code_goes_after_the_write),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
