/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shifts, rotates, double shifts and single bits. A count that is zero, once the instruction has masked it, changes no flag.
 * Else CF is the bit that went last. OF is defined for a count of 1 alone, and what it is then the processor makes it for
 * any: to the left whether the top bit differs from CF, to the right whether it differs from the bit below. AF, undefined
 * too, is set by shifts.
 */
#include "exec.h"
#include "x86-ops.h"

static unsigned masked_count(u64 count, unsigned size)
{
	return count & (size == 8 ? 63 : 31);
}

static u32 flags_left(u64 result, bool carry, unsigned size)
{
	return flag_if(carry, FL_CF) | flag_if(carry != top_bit(result, size), FL_OF);
}

static u32 flags_right(u64 result, bool carry, unsigned size)
{
	return flag_if(carry, FL_CF) | flag_if(top_bit(result ^ result << 1, size), FL_OF);
}

/* ---- shifts ---- */

static u32 op_shl(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	unsigned n = masked_count(s, size);
	u64 v = *d & size_mask(size);

	if (!n)
		return f;
	*d = v << n;
	return flags_left(*d, top_bit(v << (n - 1), size), size) | FL_AF | flags_result(*d, size);
}

static u32 op_shr(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	unsigned n = masked_count(s, size);
	u64 v = *d & size_mask(size);

	if (!n)
		return f;
	*d = v >> n;
	return flags_right(*d, v >> (n - 1) & 1, size) | FL_AF | flags_result(*d, size);
}

static u32 op_sar(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	unsigned n = masked_count(s, size);
	s64 v = sign_extend(*d, size);

	if (!n)
		return f;
	*d = (u64)(v >> n);
	return flags_right(*d, v >> (n - 1) & 1, size) | FL_AF | flags_result(*d, size);
}

/* ---- rotates: SF, ZF, AF and PF stay ---- */

static u32 op_rol(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	unsigned n = masked_count(s, size), by = n % (8 * size);
	u64 v = *d & size_mask(size);

	if (!n)
		return f;
	*d = by ? v << by | v >> (8 * size - by) : v;
	return (f & ~(FL_CF | FL_OF)) | flags_left(*d, *d & 1, size);
}

static u32 op_ror(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	unsigned n = masked_count(s, size), by = n % (8 * size);
	u64 v = *d & size_mask(size);

	if (!n)
		return f;
	*d = by ? v >> by | v << (8 * size - by) : v;
	return (f & ~(FL_CF | FL_OF)) | flags_right(*d, top_bit(*d, size), size);
}

/* With CF on top of it: a rotate of one bit more. */
static u32 rotate_with_carry(u64 *d, unsigned left, unsigned size, u32 f, bool *ret_carry)
{
	unsigned bits = 8 * size;
	unsigned __int128 v = (unsigned __int128)(f & FL_CF) << bits | (*d & size_mask(size));

	if (left)
		v = v << left | v >> (bits + 1 - left);
	*d = (u64)v;
	*ret_carry = v >> bits & 1;
	return f & ~(FL_CF | FL_OF);
}

static u32 op_rcl(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	unsigned n = masked_count(s, size);
	bool carry;

	if (!n)
		return f;
	f = rotate_with_carry(d, n % (8 * size + 1), size, f, &carry);
	return f | flags_left(*d, carry, size);
}

static u32 op_rcr(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	unsigned n = masked_count(s, size), places = 8 * size + 1;
	bool carry;

	if (!n)
		return f;
	f = rotate_with_carry(d, (places - n % places) % places, size, f, &carry);
	return f | flags_right(*d, carry, size);
}

/* By opcode digit. */
static alu_fn *const shift_ops[8] = { op_rol, op_ror, op_rcl, op_rcr, op_shl, op_shr, op_shl, op_sar };

u32 shift_flags(unsigned digit, unsigned size, u64 v, u64 count)
{
	return shift_ops[digit](&v, count, 0, size, 0);
}

void exec_shift(struct cpu *c, const struct insn *i)
{
	opnd_modify(c, i, opnd_size(i, 0), shift_ops[i->modrm >> 3 & 7], opnd_get(c, i, 1, 1), 0);
}

/*
 * Double shifts: bits of s, and when these are used up (16 bits by more than 16; undefined) once more. SHLD has CF and OF of
 * SHL, which for less than 16 are its own.
 */
static u32 op_shld(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	unsigned n = masked_count(t, size), bits = 8 * size;
	u64 v = *d & size_mask(size);

	if (!n)
		return f;
	s &= size_mask(size);
	*d = n < bits ? v << n | s >> (bits - n) : s << (n - bits) | s >> (2 * bits - n);
	return flags_left(v << n, top_bit(v << (n - 1), size), size) | FL_AF | flags_result(*d, size);
}

static u32 op_shrd(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	unsigned n = masked_count(t, size), bits = 8 * size;
	u64 v = *d & size_mask(size);

	if (!n)
		return f;
	s &= size_mask(size);
	*d = n < bits ? v >> n | s << (bits - n) : s >> (n - bits) | s << (2 * bits - n);
	return flags_right(*d, v >> (n - 1) & 1, size) | FL_AF | flags_result(*d, size);
}

void exec_shld(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);

	opnd_modify(c, i, size, i->d->op == INSN_SHLD ? op_shld : op_shrd, opnd_get(c, i, 1, size), opnd_get(c, i, 2, 1));
}

/* ---- single bits: CF is the bit, the other flags stay ---- */

static u32 op_bt(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	return (f & ~FL_CF) | (*d >> (s & (8 * size - 1)) & FL_CF);
}

static u32 op_bts(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	f = op_bt(d, s, t, size, f);
	*d |= 1ull << (s & (8 * size - 1));
	return f;
}

static u32 op_btr(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	f = op_bt(d, s, t, size, f);
	*d &= ~(1ull << (s & (8 * size - 1)));
	return f;
}

static u32 op_btc(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	f = op_bt(d, s, t, size, f);
	*d ^= 1ull << (s & (8 * size - 1));
	return f;
}

static alu_fn *const bit_ops[4] = { op_bt, op_bts, op_btr, op_btc };

/* A register offset selects a bit of a string in memory, up to half the address space away. */
static void bt_string(struct cpu *c, const struct insn *i, unsigned size, alu_fn *fn)
{
	s64 bit = sign_extend(opnd_get(c, i, 1, size), size);
	u64 ea = insn_ea(c, i) + (u64)(bit >> 3 & -(s64)size), la;
	bool write = i->d->op != INSN_BT;
	u32 f = flags_get(c);

	ea = i->adsize == 8 ? ea : i->adsize == 4 ? (u32)ea : (u16)ea;
	la = seg_la(c, i->seg, ea, size, write);
	access_note(c, la, size, write);
	if (write) {
		mem_modify(c, la, size, i->lock, fn, (u64)bit, 0, &f);
	} else {
		u64 v = mem_load(c, la, size);

		f = fn(&v, (u64)bit, 0, size, f);
	}
	flags_set(c, f);
}

void exec_bt(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);
	alu_fn *fn = bit_ops[i->d->op - INSN_BT];

	if (i->mem && i->d->opnd[1].kind == OP_G) {
		bt_string(c, i, size, fn);
	} else if (i->d->op != INSN_BT) {
		opnd_modify(c, i, size, fn, opnd_get(c, i, 1, size), 0);
	} else {
		u64 v = opnd_get(c, i, 0, size);

		flags_set(c, fn(&v, opnd_get(c, i, 1, size), 0, size, flags_get(c)));
	}
}
