/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which instructions a block consists of: those that follow each other, for as long as one place in the page leads to the
 * next; or those of a path that the guest went (path.c), also through computed jumps and into other pages. Called by
 * translate.c.
 */
#include "../cpu/host.h"
#include "tx.h"
#include "x86-ops.h"

bool insn_is_branch(const struct insn *i)
{
	switch (i->d->kind) {
	case KIND_JCC:
	case KIND_JMP:
	case KIND_CALL:
	case KIND_RET:
	case KIND_LOOP:
		return true;
	default:
		return false;
	}
}

bool tx_is_inplace(const struct tx *t, u32 k)
{
	return t->inplace >> k & 1;
}

bool tx_ends_block(const struct tx *t, u32 k)
{
	const struct insn *i = &t->insn[k];

	return insn_is_branch(i) || system_ends_block(i) || transfer_possible(t, i) ||
	       (tx_is_inplace(t, k) && inplace_ends_block(i));
}

/* INC and DEC, whose opcodes are REX in 64-bit code. */
bool insn_is_short_inc(const struct insn *i)
{
	return insn_is_32(i) && !i->map && (i->opcode & 0xf0) == 0x40;
}

/* 32-bit code that the host's 64-bit mode has not, or does otherwise. */
static bool differs_from_64(const struct insn *i)
{
	if ((i->d->attr & ATTR_NO64) && !insn_is_short_inc(i))
		return true;
	if (i->mem && (i->seg >= SEG_FS || (i->seg == SEG_CS && (i->mem_acc & ACC_W))))
		return true;
	if (i->vex) /* 64-bit code looks at VEX.W and at bit 7 of an immediate, and zeroes 16 registers */
		return i->vexw || i->d->op == INSN_VZEROALL || i->d->op == INSN_VZEROUPPER || i->d->opnd[3].kind == OP_L;
	return false;
}

static bool translatable(struct tx *t, const struct insn *i)
{
	const struct insn_desc *d = i->d;

	if (insn_is_32(i) && differs_from_64(i))
		return false;
	if (d->cpuid && !host_cpuid_gate(t->c, d->cpuid))
		return false;
	if ((d->attr & ATTR_VEC) && !(t->key & KEY_VEC))
		return false;
	switch (d->kind) {
	case KIND_COPY:
		return copy_possible(i);
	case KIND_LEA:
		return i->opsize != 2 && i->adsize != 2;
	case KIND_PUSH:
	case KIND_POP:
	case KIND_LEAVE:
		return stack_possible(i);
	case KIND_NOP:
		return true;
	default:
		if (insn_is_branch(i))
			return branch_possible(i);
		return bits_possible(i) || string_possible(i) || transfer_possible(t, i) || system_possible(t, i);
	}
}

/* From a copy, so that insn.bytes are what was decoded whoever writes the page meanwhile. */
static enum decode_result decode_at(const struct tx *t, const u8 *host, struct insn *i, u16 off)
{
	size_t avail = PAGE_SIZE - off < INSN_MAX ? PAGE_SIZE - off : INSN_MAX;
	u8 bytes[INSN_MAX + 1];

	if (likely(avail == INSN_MAX && off <= PAGE_SIZE - sizeof(bytes)))
		__builtin_memcpy(bytes, host + off, sizeof(bytes)); /* of constant size: two moves */
	else
		__builtin_memcpy(bytes, host + off, avail);
	return insn_decode(i, bytes, avail, tx_mode(t));
}

/* The bytes of an instruction that may go on in the next page. */
static enum decode_result decode_crossing(struct tx *t, struct insn *i, u16 off)
{
	unsigned here = PAGE_SIZE - off;
	u8 bytes[INSN_MAX];

	if (here >= INSN_MAX || !t->src->next)
		return DECODE_MORE;
	__builtin_memcpy(bytes, t->host + off, here);
	__builtin_memcpy(bytes + here, t->src->next_host, INSN_MAX - here);
	return insn_decode(i, bytes, INSN_MAX, tx_mode(t));
}

static bool discover_crossing(struct tx *t, u16 off)
{
	if (decode_crossing(t, &t->insn[0], off) != DECODE_OK)
		return false;
	t->inplace = !translatable(t, &t->insn[0]);
	t->crosses = true;
	t->n = 1;
	t->off[0] = off;
	t->end = off + t->insn[0].len;
	return true;
}

#define LOOP_COPIES 8
#define LOOP_INSNS 24
#define STRAIGHT_SIDES 6
#define MAX_BACKS 3

/* The block returns to its own start with insns instructions: is there room for the loop's body once more? */
static bool unrolls(u32 insns, u32 *copies)
{
	u32 body = insns / *copies;

	return body <= LOOP_INSNS && insns + body <= BLOCK_INSNS && (*copies)++ < LOOP_COPIES;
}

static bool in_block(const struct tx *t, s64 offset, u32 insns)
{
	for (u32 k = 0; k < insns; k++)
		if (t->off[k] == offset)
			return true;
	return false;
}

/*
 * Where a block goes on after branch k, its last so far: behind a conditional branch forward (the likely way, and what was
 * checked before still holds), where a direct jump leads (backward a few times), and once more around a loop that is the
 * whole block. BLOCK_ENDS if nowhere.
 */
#define BLOCK_ENDS (-1)
static s64 way_on(struct tx *t, u32 k, u32 *copies, u32 *sides)
{
	const struct insn *i = &t->insn[k];
	s64 behind = t->off[k] + i->len, target = behind + (s64)i->imm;
	bool jcc = i->d->kind == KIND_JCC;

	if (tx_is_inplace(t, k) || (t->key & KEY_ALONE) || (!jcc && (i->d->kind != KIND_JMP || i->d->opnd[0].kind != OP_J)))
		return BLOCK_ENDS;
	if (jcc && *sides == MAX_SIDES)
		return BLOCK_ENDS;
	*sides += jcc;
	if (target == t->off[0] && unrolls(k + 1, copies)) {
		t->turned |= (u64)jcc << k;
		return target;
	}
	if (!jcc && target >= 0 && target < behind && t->backs < MAX_BACKS && !in_block(t, target, k + 1)) {
		if (!t->backs++)
			t->went_back = k + 1;
		return target;
	}
	if (target < behind || (jcc && *copies == 1 && *sides > STRAIGHT_SIDES))
		return BLOCK_ENDS;
	return jcc ? behind : target < (s64)PAGE_SIZE ? target : BLOCK_ENDS;
}

void discover(struct tx *t, u16 offset)
{
	u32 sides = 0, copies = 1;
	s64 off = offset;

	__builtin_memset(t->in_page, 0, sizeof(t->in_page));
	t->pages = 1;
	for (t->n = 0; t->n < t->j->options.block && off != BLOCK_ENDS && off < (s64)PAGE_SIZE; t->n++) {
		struct insn *i = &t->insn[t->n];
		enum decode_result r = decode_at(t, t->host, i, (u16)off);

		if (r == DECODE_MORE && (t->n || discover_crossing(t, (u16)off)))
			break; /* in a block of its own */
		t->ends_interp = r != DECODE_OK;
		if (t->ends_interp || (t->n == BLOCK_INSNS - 1 && i->d->op == INSN_STI)) /* which needs one behind it */
			break;
		t->off[t->n] = (u16)off;
		t->inplace |= (u64)!translatable(t, i) << t->n;
		off = tx_ends_block(t, t->n) ? way_on(t, t->n, &copies, &sides) : off + i->len;
	}
	if (t->n && tx_ends_block(t, t->n - 1))
		t->ends_interp = false; /* its edges are its own */
	if (!t->crosses)
		t->end = t->n ? t->off[t->n - 1] + t->insn[t->n - 1].len : offset;
}

/* What a path may go through. Calls and returns end it. */
static bool path_passes(struct tx *t, const struct insn *i)
{
	bool jump = i->d->kind == KIND_JCC || i->d->kind == KIND_JMP;

	return (insn_is_ordinary(i) || jump || bits_possible(i)) && translatable(t, i);
}

static bool is_computed(const struct insn *i)
{
	return i->d->kind == KIND_JMP && i->d->opnd[0].kind == OP_E;
}

/* The path went from instruction k to this place, by itself rather than because of a fault? Notes how. */
static bool path_leads(struct tx *t, u32 k, s64 to)
{
	const struct insn *i = &t->insn[k];
	s64 behind = tx_at(t, k) + i->len, target = behind + (s64)i->imm;

	if (is_computed(i)) {
		t->expected |= 1ull << k;
		return true;
	}
	if (i->d->kind == KIND_JMP)
		return to == target;
	if (i->d->kind == KIND_JCC && to == target) {
		t->turned |= (u64)(to != behind) << k;
		return true;
	}
	return to == behind;
}

/* Number of the page that la is in. */
static u8 path_page(const struct path *p, u64 la)
{
	u8 n = 0;

	while (p->page[n].la != (la & PAGE_MASK))
		n++;
	return n;
}

static bool path_step(struct tx *t, u64 rip, u32 *sides)
{
	const struct path *p = t->src->path;
	struct insn *i = &t->insn[t->n];
	u8 page = path_page(p, rip);

	t->off[t->n] = rip & ~PAGE_MASK;
	t->in_page[t->n] = page;
	if (t->n && !path_leads(t, t->n - 1, tx_at(t, t->n)))
		return false;
	if (decode_at(t, p->page[page].host, i, t->off[t->n]) != DECODE_OK || !path_passes(t, i))
		return false;
	*sides += i->d->kind == KIND_JCC || is_computed(i);
	return *sides < MAX_SIDES;
}

bool discover_path(struct tx *t)
{
	const struct path *p = t->src->path;
	u32 sides = 0, last;
	bool comes_round;

	while (t->n < p->insns && t->n < t->j->options.block && path_step(t, p->rip[t->n], &sides))
		t->n++;
	if (!t->n)
		return false;
	last = t->n - 1;
	comes_round = t->n == p->insns && p->rip[t->n] == p->rip[0];
	t->expected &= (1ull << last) - 1; /* the last one is compared if it closes a loop */
	if (comes_round && is_computed(&t->insn[last]))
		t->expected |= 1ull << last;
	t->turned &= (1ull << last) - 1;
	for (u32 k = 0; k < t->n; k++)
		t->pages = t->in_page[k] >= t->pages ? t->in_page[k] + 1u : t->pages;
	t->went_back = 1; /* every edge may close a loop */
	t->end = tx_at(t, last) + t->insn[last].len;
	return t->expected;
}
