/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The arithmetic flags (SDM vol. 1, 3.4.3.1) of integer instructions, as bits of RFLAGS: FL_ARITH. alu.c, shift.c, bits.c,
 * muldiv.c and string.c make them of operands and results, whose bits above `size` bytes may be anything.
 *
 * Flags that the architecture leaves undefined (u: in x86.tab) get what AMD's family 19h leaves: on such a host
 * tests/insn/test-insn-diff compares every flag. On others, and in lock-step, undefined ones are left out.
 */
#pragma once
#include "state.h"

static inline u64 size_mask(unsigned size)
{
	return ~0ull >> (64 - 8 * size);
}

static inline s64 sign_extend(u64 v, unsigned size)
{
	unsigned shift = 64 - 8 * size;

	return (s64)(v << shift) >> shift;
}

static inline bool top_bit(u64 v, unsigned size)
{
	return v << (64 - 8 * size) >> 63;
}

static inline u32 flag_if(bool is, u32 flag)
{
	return is ? flag : 0;
}

/* PF: the low byte has an even number of ones. */
static inline u32 flags_parity(u64 result)
{
	return flag_if(!__builtin_parity((u8)result), FL_PF);
}

/* SF, ZF, PF. For AND, OR, XOR and TEST these are all, the others are clear. */
static inline u32 flags_result(u64 result, unsigned size)
{
	return flag_if(top_bit(result, size), FL_SF) | flag_if(!(result << (64 - 8 * size)), FL_ZF) | flags_parity(result);
}

/* `carries` has a bit for each place that carried, or borrowed, from the next one: CF is the last, AF the fourth. */
static inline u32 flags_carries(u64 carries, unsigned size)
{
	return flag_if(top_bit(carries, size), FL_CF) | flag_if(carries & 8, FL_AF);
}

/* sum = a + b, or a + b + 1. OF: the operands have one sign, the sum the other. */
static inline u32 flags_add(u64 a, u64 b, u64 sum, unsigned size)
{
	return flags_carries((a & b) | ((a | b) & ~sum), size) | flag_if(top_bit((a ^ sum) & (b ^ sum), size), FL_OF) |
	       flags_result(sum, size);
}

/* difference = a - b, or a - b - 1. OF: the operands differ in sign, and the difference has not that of a. */
static inline u32 flags_sub(u64 a, u64 b, u64 difference, unsigned size)
{
	return flags_carries((~a & b) | ((~a | b) & difference), size) |
	       flag_if(top_bit((a ^ b) & (a ^ difference), size), FL_OF) | flags_result(difference, size);
}
