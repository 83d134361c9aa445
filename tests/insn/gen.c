/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes cases from rows of x86.tab: an encoding with random prefixes, registers, displacement and immediate, and a
 * machine state under which its memory operand lies somewhere interesting (page ends, read-only and missing pages).
 */
#include <string.h>
#include "diff.h"
#include "exec-list.h"
#include "vector.h"

enum cpu_mode test_mode = MODE_LONG64;
static u64 rng_state;
static u8 pristine[DATA_BYTES];

void rng_seed(u64 seed)
{
	rng_state = seed * 0x2545f4914f6cdd1dull + 1;
}

u64 rng(void)
{
	u64 z = (rng_state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static u64 value(void)
{
	static const u64 edge[] = {0,
				   1,
				   2,
				   0x7f,
				   0x80,
				   0xff,
				   0x7fff,
				   0x8000,
				   0xffff,
				   0x7fffffff,
				   0x80000000,
				   0xffffffff,
				   0x7fffffffffffffff,
				   0x8000000000000000,
				   0xffffffffffffffff,
				   0x100000000,
				   10,
				   0x9a};
	u64 r = rng();

	switch (r & 7) {
	case 0:
	case 1:
		return edge[(r >> 8) % ARRAY_SIZE(edge)];
	case 2:
		return (r >> 8) & 0xff;
	case 3:
		return (u64)(s64)(s32)(r >> 32);
	default:
		return rng();
	}
}

static void fill_floats(u8 *p, unsigned bytes)
{
	static const u32 f32[] = {0,	      0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000,
				  0x7fc00000, 0x7f800001, 1,	      0x007fffff, 0x00800000, 0x7f7fffff,
				  0x4f000000, 0xcf000000, 0x4b000001, 0x3f000000};
	static const u64 f64[] = {0,
				  1ull << 63,
				  0x3ff0000000000000,
				  0xbff8000000000000,
				  0x7ff0000000000000,
				  0xfff0000000000000,
				  0x7ff8000000000000,
				  0x7ff0000000000001,
				  1,
				  0x0010000000000000,
				  0x7fefffffffffffff,
				  0x41e0000000000000,
				  0x43e0000000000000,
				  0x3fe0000000000000};
	u64 how = rng() & 7;

	for (unsigned n = 0; n < bytes; n += 8) {
		u64 r = rng(), v = r;

		if (how < 2)
			v = f32[(r >> 8) % ARRAY_SIZE(f32)] | (u64)f32[(r >> 40) % ARRAY_SIZE(f32)] << 32;
		else if (how < 4)
			v = f64[(r >> 8) % ARRAY_SIZE(f64)];
		else if (how == 4) /* moderate numbers */
			v = (r & 0x800fffffffffffffull) | (0x3f8 + (r >> 52 & 15)) << 52;
		else if (how == 5)
			v = (r & 0x807fffff807fffffull) | (0x7bull + (r >> 24 & 7)) << 23 |
			    (0x7bull + (r >> 56 & 7)) << 55;
		memcpy(p + n, &v, bytes - n < 8 ? bytes - n : 8);
	}
}

void gen_init(void)
{
	const u32 stack_like = 0x007fffff, other = 0x00710ff0;

	for (unsigned n = 0; n < DATA_BYTES; n += 32)
		fill_floats(pristine + n, 32);
	/* A register loaded from here may become an address: not one of this process's stack. */
	for (unsigned n = 0; n < DATA_BYTES; n += 4)
		if (!memcmp(pristine + n, &stack_like, 4))
			memcpy(pristine + n, &other, 4);
}

void gen_vector(struct test_case *t)
{
	u16 fcw = 0x037f, fsw = 0;
	u32 mxcsr = 0x1f80;
	u64 r = rng();

	memset(t->vec, 0, sizeof(t->vec));
	if (r & 1)
		fcw = (u16)(0x007f | (r >> 8 & 0xf00));
	if ((r & 0xf0) == 0x10)
		fcw &= (u16) ~(1u << (r >> 32 & 7) % 6);
	else if ((r & 0xf0) == 0x20)
		fcw &= (u16) ~(rng() & 0x3f);
	if (r & 2)
		fsw = (u16)(r >> 16 & 0x7f00);
	if ((r & 0xf00) == 0)
		fsw |= (u16)(r >> 40 & 0x7f);
	if (r & 4)
		mxcsr |= (u32)(r >> 20 & 0x3f) | (u32)(r >> 30 & 3) << 13;
	if (r & 8)
		mxcsr |= (u32)(r >> 50 & 1) << 15 | (u32)(r >> 51 & 1) << 6;
	if ((r & 0xf000) == 0)
		mxcsr &= ~(0x80u << (r >> 56) % 6);
	else if ((r & 0xf000) == 0x1000)
		mxcsr &= ~((u32)rng() & 0x1f80);
	memcpy(t->vec, &fcw, 2);
	memcpy(t->vec + 2, &fsw, 2);
	t->vec[4] = r >> 48 & 1 ? 0xff : r >> 49 & 1 ? 0 : (u8)rng();
	memcpy(t->vec + FPU_MXCSR, &mxcsr, 4);
	for (unsigned n = 0; n < 8; n++) {
		u64 m = rng();
		u16 e = (u16)(0x3fff + ((m & 63) - 32));

		if (one_in(2))
			m |= 1ull << 63;
		if (one_in(8))
			e = (u16)rng();
		if (one_in(8))
			m = 1ull << 63;
		if (one_in(16))
			e = 0x7fff;
		if (one_in(16))
			e = 0, m = one_in(2) ? 0 : m;
		memcpy(t->vec + FPU_ST + 16 * n, &m, 8);
		memcpy(t->vec + FPU_ST + 16 * n + 8, &e, 2);
	}
	for (unsigned n = 0; n < 16; n++) {
		fill_floats(t->vec + FPU_XMM + 16 * n, 16);
		fill_floats(t->vec + FPU_AVX_OFFSET + 16 * n, 16);
	}
	t->vec[FPU_XSTATE_BV] = 7;
}

/* An address in or around the data pages for an access of `size` bytes. */
u64 gen_data_address(unsigned size, bool aligned)
{
	u64 r = rng(), a, edge;

	switch (r & 15) {
	case 0:
	case 1:
		edge = DATA_FIRST + 4096 * (r >> 8 & 3);
		a = edge - (size ? (r >> 16) % (size + 1) : 0);
		break;
	case 2:
		a = DATA_FIRST + (r >> 8) % DATA_BYTES;
		break;
	default:
		a = DATA_FIRST + (r >> 8) % (8192 - 1024);
	}
	if (aligned && (r >> 60))
		a &= ~63ull;
	else if (r >> 62 && size && !(size & (size - 1)))
		a &= ~(u64)(size - 1);
	return a;
}

static bool is_state_row(const struct insn_desc *d)
{
	return insn_exec(d) == vector_exec && d->opnd[0].size == SZ_VAR;
}

bool gen_row_usable(const struct insn_row *row)
{
	const struct insn_desc *d = &insn_descs[row->desc];
	insn_fn *const out[] = {exec_in,       exec_out,      exec_ins,	  exec_outs,  exec_lar,	     exec_verr,
				exec_sgdt,     exec_sldt,     exec_smsw,  exec_lxs,   exec_mov_sreg, exec_push_sreg,
				exec_pop_sreg, exec_rdtsc,    exec_rdpmc, exec_rdpid, exec_rdrand,   exec_cpuid,
				exec_xgetbv,   exec_fsgsbase, exec_pushf, exec_serialize};

	/* PREFETCHW with a register: AMD #UD, Intel nothing */
	if (row->map == 1 && row->opcode == 0x0d && row->mod == 1)
		return false;
	if ((d->attr & ATTR_CPL0) || d->kind == KIND_SYSTEM || row->m64 == (test_mode != MODE_LONG64))
		return false;
	if (test_mode != MODE_LONG64 && !row->vex && (row->w > 0 || row->b > 0))
		return false;
	for (unsigned n = 0; n < ARRAY_SIZE(out); n++)
		if (insn_exec(d) == out[n])
			return false;
	return true;
}

static unsigned put_prefixes(u8 *p, const struct insn_row *row, const struct insn_desc *d)
{
	static const u8 byte[4] = {0, 0x66, 0xf3, 0xf2};
	static const u8 null_seg[4] = {0x26, 0x2e, 0x36, 0x3e};
	unsigned n = 0;

	if (one_in(12))
		p[n++] = 0x67;
	if (one_in(24))
		p[n++] = null_seg[rng() & 3];
	if (row->vex)
		return n;
	if ((d->attr & ATTR_LOCK) && one_in(4))
		p[n++] = 0xf0;
	if (d->attr & ATTR_STRING && one_in(2))
		p[n++] = one_in(2) ? 0xf3 : 0xf2;
	if (row->pfx != 1 && !(d->attr & ATTR_FORCE64) && insn_exec(d) != vector_exec && one_in(4))
		p[n++] = 0x66;
	if (row->pfx)
		p[n++] = byte[row->pfx];
	return n;
}

static unsigned put_opcode(u8 *p, const struct insn_row *row)
{
	unsigned n = 0;
	u64 r = rng();
	u8 rxb = (u8)(r & 7), w = row->w < 0 ? r >> 3 & 1 : (u8)row->w, opcode = row->opcode;

	if (row->vex) {
		u8 l = row->l < 0 ? r >> 4 & 1 : (u8)row->l, vvvv = r >> 5 & 1 ? 0xf : r >> 8 & 0xf;
		static const u8 pp[4] = {0, 1, 2, 3};

		if (test_mode != MODE_LONG64) {
			rxb = 7;
			vvvv |= 8;
			/* with W, AMD #UD and Intel the 32-bit form */
			if (row->map == 3 && (row->opcode == 0x16 || row->opcode == 0x22))
				w = 0;
		}
		p[n++] = 0xc4;
		p[n++] = (u8)(row->map | rxb << 5);
		p[n++] = (u8)(w << 7 | vvvv << 3 | l << 2 | pp[row->pfx]);
	} else {
		if (row->b >= 0)
			rxb = (rxb & 6) | (u8)row->b;
		if (test_mode == MODE_LONG64 && (row->w > 0 || row->b > 0 || (r & 0x30)))
			p[n++] = 0x40 | (u8)(w << 3) | rxb;
		if (row->map)
			p[n++] = 0x0f;
		if (row->map > 1)
			p[n++] = row->map == 2 ? 0x38 : 0x3a;
	}
	if (row->plus)
		opcode |= rng() & 7;
	p[n++] = opcode;
	if (row->modrm) {
		u8 reg = row->reg < 0 ? rng() & 7 : (u8)row->reg, rm = row->rm < 0 ? rng() & 7 : (u8)row->rm;
		bool reg_form = row->mod < 0 ? one_in(2) : row->mod;

		p[n++] = (u8)((reg_form ? 3 : rng() % 3) << 6 | reg << 3 | rm);
	}
	return n;
}

/* Sets registers so that the memory operand is at `target`; false when it cannot be. */
static bool aim(struct test_case *t, u64 target)
{
	struct insn *i = &t->insn;
	unsigned disp_at;
	u64 scaled = 0, base;

	if (i->adsize == 2)
		return false;

	if (i->index != BASE_NONE && !(i->d->opnd[1].kind == OP_VSIB)) {
		if (i->index == i->base) {
			u64 factor = 1 + (1ull << i->scale), rest = target - (u64)i->disp;

			if (i->adsize != 8 || rest % factor)
				return false;
			t->in.gpr[i->base] = rest / factor;
			return true;
		}
		t->in.gpr[i->index] = (u64)(s64)(s8)rng();
		scaled = t->in.gpr[i->index] << i->scale;
	}
	if (i->base == BASE_NONE || i->base == BASE_RIP) {
		/* the displacement's four bytes stand before the immediate */
		s64 disp = (s64)(target - scaled - (i->base == BASE_RIP ? t->at + i->len : 0));
		u32 d32 = (u32)disp;

		if (i->d->opnd[0].kind == OP_O || i->d->opnd[1].kind == OP_O) {
			memcpy(t->bytes + i->len - i->adsize, &target, i->adsize);
		} else {
			if ((s64)(s32)d32 != disp && i->adsize == 8)
				return false;
			disp_at = i->len - i->imm_size - 4u;
			memcpy(t->bytes + disp_at, &d32, 4);
		}
		return insn_decode(i, t->bytes, 15, test_mode) == DECODE_OK;
	}
	base = target - scaled - (u64)i->disp;
	t->in.gpr[i->base] = base;
	if (test_mode == MODE_LONG64 && i->adsize == 4 && one_in(2))
		t->in.gpr[i->base] |= rng() << 32;
	return true;
}

/* Data that only some instructions care about: branch targets in memory, areas that XRSTOR takes, small gather indices.
 */
static void prepare_data(struct test_case *t, u64 target)
{
	const struct insn_desc *d = t->insn.d;
	u64 off = target - DATA_FIRST, to = CODE + 64 + rng() % 0xf00;

	if ((d->kind == KIND_CALL || d->kind == KIND_JMP || d->kind == KIND_RET) && off < 8192 - 8) {
		memcpy(t->data + off, &to, 8);
		t->patched = true;
	}
	if (is_state_row(d) && d->opnd[0].acc == ACC_R && off < 8192 - 1024) {
		memcpy(t->data + off, t->vec, 28);
		memset(t->data + off + 512, 0, 64);
		t->data[off + 512] = rng() & 7;
		if (one_in(8))
			t->data[off + 512 + rng() % 24] = 1;
		if (one_in(16))
			t->data[off + 26] = 1;
		t->patched = true;
	}
}

static void aim_string(struct test_case *t)
{
	const struct insn *i = &t->insn;
	unsigned size = insn_size(i, i->d->opnd[i->d->opnd[0].kind == OP_REG].size);

	t->in.gpr[RSI] = gen_data_address(size, false);
	t->in.gpr[RDI] = gen_data_address(size, false);
	if (one_in(4))
		t->in.gpr[RDI] = t->in.gpr[RSI] + (u64)(s64)(s8)(rng() % 40 - 20);
	t->in.gpr[RCX] = rng() % 40;
	if (i->adsize == 4 && one_in(2))
		t->in.gpr[RCX] |= rng() << 32;
}

static void aim_stack(struct test_case *t)
{
	t->in.gpr[RSP] = gen_data_address(16, false);
	if (t->insn.d->kind == KIND_LEAVE || insn_exec(t->insn.d) == exec_enter)
		t->in.gpr[RBP] = gen_data_address(16, false);
	if (t->insn.d->kind == KIND_RET)
		prepare_data(t, t->in.gpr[RSP]);
}

/* Immediates that would lead away from the code pages, or select what is not to be compared. */
static bool fix_immediate(struct test_case *t)
{
	struct insn *i = &t->insn;

	if (i->d->opnd[0].kind == OP_J) {
		u64 to;

		if (i->imm_size == 4) {
			s32 rel = (s32)(rng() % 0xe00) - 0x700;

			memcpy(t->bytes + i->len - 4, &rel, 4);
			if (insn_decode(i, t->bytes, 15, test_mode) != DECODE_OK)
				return false;
		}
		to = t->at + i->len + i->imm;
		if (to - t->at < i->len + EXIT_BYTES)
			return false;
	}
	if (insn_result_varies(i)) {
		u64 count = i->d->opnd[2].kind == OP_I ? i->imm : t->in.gpr[RCX];

		return insn_exec(i->d) == exec_shld && (count & 31) <= 16;
	}
	return true;
}

void gen_registers(struct test_case *t)
{
	for (unsigned n = 0; n < 16; n++)
		t->in.gpr[n] = value();
	t->in.rip = t->at;
	t->in.rflags = 0x202 | (rng() & FL_ARITH) | (one_in(4) ? FL_DF : 0);
}

static void gather_indices(struct test_case *t)
{
	for (unsigned n = 0; n < 32; n += 4) {
		u32 v = (u32)(s32)(s8)rng();
		u32 high = v >> 31 ? ~0u : 0;
		u8 *p = t->vec + (n < 16 ? FPU_XMM : FPU_AVX_OFFSET - 16) + 16 * t->insn.index + n;

		memcpy(p, t->insn.opcode & 1 && (n & 4) ? &high : &v, 4);
		if (t->insn.opcode & 1 && !(n & 4))
			high = v >> 31 ? ~0u : 0;
	}
}

static void aim_memory(struct test_case *t)
{
	struct insn *i = &t->insn;
	bool wide = (i->d->attr & ATTR_ALIGN) || is_state_row(i->d);
	u64 target = gen_data_address(i->mem_size, wide);

	if (one_in(40) || !aim(t, target))
		return;
	if (i->d->opnd[1].kind == OP_VSIB)
		gather_indices(t);
	prepare_data(t, target);
	/* bit strings: stay near */
	if (insn_exec(i->d) == exec_bt && i->d->opnd[1].kind == OP_G && i->reg != i->base && i->reg != i->index &&
	    one_in(2) == 0)
		t->in.gpr[i->reg] = (u64)((s64)rng() >> 50);
}

unsigned gen_encoding(u8 *p, const struct insn_row *row)
{
	u64 noise[2] = {rng(), rng()};
	unsigned n;

	memcpy(p, noise, 16);
	n = put_prefixes(p, row, &insn_descs[row->desc]);
	return n + put_opcode(p + n, row);
}

void gen_restore(struct test_case *t)
{
	if (t->patched)
		memcpy(t->data, pristine, DATA_BYTES);
	t->patched = false;
}

bool gen_case(struct test_case *t, const struct insn_row *row)
{
	const struct insn_desc *d = &insn_descs[row->desc];

	gen_encoding(t->bytes, row);
	if (insn_decode(&t->insn, t->bytes, 15, test_mode) != DECODE_OK)
		return false;
	if (t->insn.d != d && !((d->attr & D_COUNT) && t->insn.d == d + 1))
		return false;
	if (t->insn.seg_override != 0xff)
		return false;
	t->row = row;
	t->at = CODE + 4096 + 1024 + (rng() & 63);
	if (one_in(16))
		t->at = CODE + 8192 - rng() % (t->insn.len + 1u);
	gen_restore(t);
	gen_registers(t);
	gen_vector(t);
	if (t->insn.mem && !(d->attr & ATTR_NOMEMCHECK))
		aim_memory(t);
	if (d->attr & ATTR_STRING)
		aim_string(t);
	if (insn_exec(d) == exec_xlat)
		t->in.gpr[RBX] = gen_data_address(256, false);
	if ((d->attr & ATTR_MASKED) && !t->insn.mem)
		t->in.gpr[RDI] = gen_data_address(16, false);
	if (is_state_row(d)) {
		t->in.gpr[RAX] &= ~0xf8ull;
		t->in.gpr[RDX] = 0;
	}
	if (d->kind == KIND_PUSH || d->kind == KIND_POP || d->kind == KIND_CALL || d->kind == KIND_RET ||
	    d->kind == KIND_LEAVE || insn_exec(d) == exec_enter)
		aim_stack(t);
	if ((d->kind == KIND_CALL || d->kind == KIND_JMP) && d->opnd[0].kind == OP_E && !t->insn.mem &&
	    t->insn.rm != RSP)
		t->in.gpr[t->insn.rm] = CODE + 64 + rng() % 0xf00;
	if (d->kind == KIND_LOOP && one_in(2))
		t->in.gpr[RCX] = rng() & 1;
	if (!fix_immediate(t))
		return false;
	for (unsigned k = 0; k < 16 && test_mode != MODE_LONG64; k++)
		t->in.gpr[k] = k < 8 ? (u32)t->in.gpr[k] : 0;
	t->count = 1;
	t->size = t->insn.len;
	memcpy(t->code, t->bytes, sizeof(t->bytes));
	return true;
}

void gen_start(struct test_case *t)
{
	memcpy(t->data, pristine, DATA_BYTES);
	t->patched = false;
}
