/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Instructions that save and load vector state: FXSAVE, XSAVE and their kin (the x87's own are in x87-env.c). The host's
 * own instruction fills or takes a buffer here; the guest's memory gets what its mode and XCR0 show. Instruction and data
 * pointers are stored as zero: the host's registers may hold host addresses. Sources: SDM vol. 1, chapters 8, 10, 13.
 */
#include <string.h>
#include "../fpu.h"
#include "../cpu/decode.h"
#include "vec.h"

#define HEADER	    FPU_XSTATE_BV
#define COMPACT	    (1ull << 63)

struct area {
	u8 b[FPU_AREA_MAX] __attribute__((aligned(64)));
};

static void save_host(struct area *a)
{
	memset(a->b + HEADER, 0, 64);
	__asm__ volatile("xsave64 %0" : "=m"(*a) : "a"(7), "d"(0));
	memset(a->b + 6, 0, 18); /* FOP, FIP, FDP */
}

static void load_host(const struct area *a)
{
	__asm__ volatile("xrstor64 %0" : : "m"(*a), "a"(7), "d"(0));
}

static u64 get64(const u8 *p)
{
	u64 v;

	memcpy(&v, p, 8);
	return v;
}

static u32 get32(const u8 *p)
{
	u32 v;

	memcpy(&v, p, 4);
	return v;
}

static u64 area_la(struct cpu *c, const struct insn *i, unsigned bytes, unsigned align, bool write)
{
	u64 ea = insn_ea(c, i), la = ea;

	if (c->mode != MODE_LONG64 || i->seg >= SEG_FS)
		la += c->seg[i->seg].base;
	if (la & (align - 1))
		cpu_raise_err(c, EXC_GP, 0);
	return seg_la(c, i->seg, ea, bytes, write);
}

/* XMM registers that the mode has: bytes in the legacy region, and of the AVX component. */
static unsigned vector_bytes(const struct cpu *c)
{
	return c->mode == MODE_LONG64 ? 256 : 128;
}

static void fxsave(struct cpu *c, const struct insn *i)
{
	u64 la = area_la(c, i, 512, 16, true);
	unsigned bytes = FPU_XMM + vector_bytes(c);
	const u32 mask = MXCSR_VALID;
	struct area a;

	access_note_aligned(c, la, bytes, 1, true);
	mmu_check_write(c, la, 512, c->view);
	save_host(&a);
	memcpy(a.b + 28, &mask, 4);
	mmu_write(c, la, a.b, bytes, c->view);
}

static void fxrstor(struct cpu *c, const struct insn *i)
{
	u64 la = area_la(c, i, 512, 16, false);
	struct area a, in;

	access_note_aligned(c, la, FPU_XMM + vector_bytes(c), 1, false);
	mmu_read(c, la, in.b, 512, c->view);
	if (get32(in.b + FPU_MXCSR) & ~MXCSR_VALID)
		cpu_raise_err(c, EXC_GP, 0);
	save_host(&a);
	memcpy(a.b, in.b, 6);
	memcpy(a.b + FPU_MXCSR, in.b + FPU_MXCSR, 4);
	memcpy(a.b + FPU_ST, in.b + FPU_ST, 128);
	memcpy(a.b + FPU_XMM, in.b + FPU_XMM, vector_bytes(c));
	a.b[HEADER] |= 3;
	load_host(&a);
}

static u64 requested(const struct cpu *c)
{
	return ((u32)c->gpr[RAX] | c->gpr[RDX] << 32) & c->xcr0;
}

struct piece {
	unsigned at, bytes;
	u64 features; /* any of them asks for it */
};

static void xsave(struct cpu *c, const struct insn *i)
{
	u64 rfbm = requested(c), la = area_la(c, i, FPU_AVX_OFFSET, 64, true), in_use, bv;
	bool compact = i->d->op == INSN_XSAVEC, lazy = compact || i->d->op == INSN_XSAVEOPT;
	unsigned vb = vector_bytes(c), end = rfbm & 4 ? FPU_AREA_MAX : FPU_AVX_OFFSET; /* of what is checked */
	const struct piece pieces[] = {
		{0, 24, 1}, {FPU_ST, 128, 1}, {FPU_MXCSR, 8, 6}, {FPU_XMM, vb, 2}, {FPU_AVX_OFFSET, vb, 4}};
	const u32 mask = MXCSR_VALID;
	u64 header[2] = {0, 0};
	struct area a;

	mmu_check_write(c, la, end, c->view);
	mmu_read(c, la + HEADER, header, 8, c->view);
	save_host(&a);
	memcpy(a.b + 28, &mask, 4);
	in_use = get64(a.b + HEADER);
	if (get32(a.b + FPU_MXCSR) != 0x1f80 && compact)
		in_use |= 2;
	bv = compact ? rfbm & in_use : (header[0] & ~rfbm) | (rfbm & in_use);
	for (unsigned n = 0; n < ARRAY_SIZE(pieces); n++) {
		u64 want = lazy && pieces[n].at != FPU_MXCSR ? rfbm & in_use : rfbm;

		if (pieces[n].at == FPU_MXCSR && compact)
			want = rfbm & in_use & 2;
		if (!(want & pieces[n].features))
			continue;
		access_note_aligned(c, la + pieces[n].at, pieces[n].bytes, 1, true);
		mmu_write(c, la + pieces[n].at, a.b + pieces[n].at, pieces[n].bytes, c->view);
	}
	header[0] = bv;
	header[1] = COMPACT | rfbm;
	access_note_aligned(c, la + HEADER, compact ? 16 : 8, 1, true);
	mmu_write(c, la + HEADER, header, compact ? 16 : 8, c->view);
}

/* #GP(0) unless the header of an XSAVE area is one that XRSTOR takes. */
static void check_header(struct cpu *c, const u8 *header)
{
	u64 bv = get64(header), comp = get64(header + 8);
	bool bad;

	if (comp & COMPACT) {
		bad = !host_cpuid_gate(c, GATE_XSAVEC) || (comp & ~COMPACT & ~c->xcr0) || (bv & ~comp);
		for (unsigned n = 16; n < 64; n++)
			bad |= header[n];
	} else {
		bad = (bv & ~c->xcr0) || comp || get64(header + 16);
	}
	if (bad)
		cpu_raise_err(c, EXC_GP, 0);
}

static void xrstor(struct cpu *c, const struct insn *i)
{
	u64 rfbm = requested(c), la = area_la(c, i, FPU_AVX_OFFSET, 64, false), load;
	const struct piece pieces[] = {
		{0, 6, 1}, {FPU_ST, 128, 1}, {FPU_XMM, vector_bytes(c), 2}, {FPU_AVX_OFFSET, vector_bytes(c), 4}};
	u32 mxcsr = 0x1f80, want_mxcsr;
	struct area a, in;
	bool compact;

	mmu_read(c, la, in.b, FPU_AVX_OFFSET, c->view);
	check_header(c, in.b + HEADER);
	compact = in.b[HEADER + 15] & 0x80;
	load = rfbm & get64(in.b + HEADER);
	if (load & 4)
		mmu_read(c, la + FPU_AVX_OFFSET, in.b + FPU_AVX_OFFSET, vector_bytes(c), c->view);
	access_note_aligned(c, la + HEADER, 64, 1, false);
	want_mxcsr = compact ? rfbm & 2 : rfbm & 6;
	if (!compact || (load & 2))
		mxcsr = get32(in.b + FPU_MXCSR);
	if (want_mxcsr && (mxcsr & ~MXCSR_VALID))
		cpu_raise_err(c, EXC_GP, 0);
	save_host(&a);
	for (unsigned n = 0; n < ARRAY_SIZE(pieces); n++) {
		const struct piece *p = &pieces[n];

		if (load & p->features) {
			access_note_aligned(c, la + p->at, p->bytes, 1, false);
			memcpy(a.b + p->at, in.b + p->at, p->bytes);
		} else if (rfbm & p->features) {
			memset(a.b + p->at, 0, p->bytes);
		}
	}
	if (rfbm & ~load & 1)
		memcpy(a.b, (const u16[]){0x37f}, 2);
	if (want_mxcsr)
		memcpy(a.b + FPU_MXCSR, &mxcsr, 4);
	a.b[HEADER] |= (u8)rfbm | 2;
	/* an initial component with all registers in reach can be marked so, which XSAVEOPT's users see */
	if (c->mode == MODE_LONG64)
		a.b[HEADER] &= (u8) ~(rfbm & ~load);
	load_host(&a);
	if (want_mxcsr)
		__asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
}

void vector_state(struct cpu *c, const struct insn *i)
{
	switch (i->d->op) {
	case INSN_FXSAVE:
		fxsave(c, i);
		break;
	case INSN_FXRSTOR:
		fxrstor(c, i);
		break;
	case INSN_XRSTOR:
		xrstor(c, i);
		break;
	default:
		xsave(c, i);
	}
}
