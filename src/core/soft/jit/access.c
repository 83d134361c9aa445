/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest memory from translated code: linear address, software TLB look-up, and the way out when it misses. A hit costs eight
 * host instructions, whose compare is off the address's critical path; what follows another access off the same base
 * (group.c) costs one.
 */
#include "tx.h"

static bool in_memory(u8 n)
{
	return n != BASE_NONE && n != BASE_RIP && host_reg(n) == IN_MEMORY;
}

/* Base and index as host registers; those that live in memory are loaded into scratch and scratch2. */
static void load_parts(struct tx *t, const struct insn *i, u8 *base, u8 *index)
{
	*base = *index = BASE_NONE;
	if (i->base != BASE_NONE)
		*base = use_reg(t, i->base, HOST_SCRATCH);
	if (i->index != BASE_NONE)
		*index = i->index == i->base && in_memory(i->index) ? *base : use_reg(t, i->index, HOST_SCRATCH2);
}

static bool rip_relative(struct tx *t, const struct insn *i, u8 dst)
{
	s32 end = t->off[t->k] + i->len;
	s64 disp = end + i->disp;

	if (i->adsize != 8)
		return false;
	emit_load(&t->e, dst, TX_CPU(code_base));
	if (disp != (s32)disp) { /* within a page of 2 GiB away */
		emit_lea(&t->e, dst, mem_base(dst, end));
		disp = i->disp;
	}
	emit_lea(&t->e, dst, mem_base(dst, (s32)disp));
	return true;
}

/* Effective address without segment base. Does not change flags. */
static bool effective_address(struct tx *t, const struct insn *i, u8 dst)
{
	struct host_mem m = { .scale = i->scale, .disp = (s32)i->disp };

	if (i->base == BASE_RIP)
		return rip_relative(t, i, dst);
	if (i->d->opnd[0].kind == OP_O || i->d->opnd[1].kind == OP_O) {
		emit_imm(&t->e, dst, i->adsize == 8 ? (u64)i->disp : (u32)i->disp);
		return true;
	}
	if (i->adsize == 2)
		return false;
	load_parts(t, i, &m.base, &m.index);
	if (m.base == BASE_NONE && m.index == BASE_NONE)
		emit_imm(&t->e, dst, i->adsize == 8 ? (u64)(s64)m.disp : (u32)m.disp);
	else if (i->adsize == 8)
		emit_lea(&t->e, dst, m);
	else
		emit_lea32(&t->e, dst, m);
	return true;
}

/* 32 bits of registers that are all mapped. */
static bool lea_in_place(struct tx *t, const struct insn *i, u8 dst)
{
	struct host_op lea32 = { .opcode = 0x8d };
	struct host_mem m = { BASE_NONE, BASE_NONE, i->scale, false, false, (s32)i->disp };

	if (i->opsize != 4 || i->adsize != 8 || i->base == BASE_NONE || i->base == BASE_RIP || in_memory(i->base) || in_memory(i->index))
		return false;
	load_parts(t, i, &m.base, &m.index);
	emit_op_mem(&t->e, &lea32, dst, &m);
	return true;
}

bool lea_insn(struct tx *t, const struct insn *i)
{
	u8 dst = host_reg(i->reg);
	struct host_op mov = { .opcode = 0x8b, .w = i->opsize == 8 };

	if (i->opsize == 2)
		return false;
	if (dst != IN_MEMORY && i->opsize == 8)
		return effective_address(t, i, dst);
	if (dst != IN_MEMORY && lea_in_place(t, i, dst))
		return true;
	if (!effective_address(t, i, HOST_SCRATCH))
		return false;
	if (dst != IN_MEMORY) {
		emit_op_reg(&t->e, &mov, dst, HOST_SCRATCH);
	} else {
		if (i->opsize == 4)
			emit_mov32(&t->e, HOST_SCRATCH, HOST_SCRATCH);
		emit_store(&t->e, TX_GPR(i->reg), HOST_SCRATCH);
	}
	return true;
}

bool access_address(struct tx *t, const struct insn *i, u8 dst)
{
	if (!effective_address(t, i, dst))
		return false;
	if (i->seg == SEG_FS || i->seg == SEG_GS)
		emit_alu_load(&t->e, ALU_ADD, dst, mem_gs(offsetof(struct cpu, seg[i->seg].base)));
	return true;
}

bool access_is_plain(const struct insn *i)
{
	return i->mem && i->base != BASE_NONE && i->index == BASE_NONE && i->adsize == 8 && i->seg != SEG_FS && i->seg != SEG_GS &&
	       i->mem_size && i->disp == (s32)i->disp;
}

const u8 *access_begin(struct tx *t)
{
	flags_free(t);
	return emit_here(&t->e);
}

static struct host_mem tlb_field(const struct tx *t, size_t field)
{
	struct host_mem m = { HOST_SCRATCH2, BASE_NONE, 0, true, false, 0 };

	m.disp = (s32)(offsetof(struct cpu, tlb) + (t->key & KEY_VIEW) * sizeof(t->c->tlb[0]) + field);
	return m;
}

/* Wide operands may have to be aligned, and x87 instructions report what earlier ones did: the interpreter knows the order. */
static bool page_fault_is_first(const struct insn *i)
{
	return i->mem_size <= 8 && !(i->d->attr & ATTR_VEC);
}

static void add_slow_site(struct tx *t, u8 *jump, const u8 *retry, unsigned size, u16 own, u8 what)
{
	if (page_fault_is_first(&t->insn[t->k]))
		what |= SLOW_PAGE_FAULT;
	t->slow[t->slow_count++] = (struct slow_site){ jump, retry, t->off[t->k], (u16)size, own, what };
}

/* scratch = linear address -> its offset in the page; scratch2 = offset of the entry in the TLB. */
static void tlb_compare(struct tx *t, const u8 *retry, unsigned size, u16 own, u8 what)
{
	struct host_mem tag = tlb_field(t, what & SLOW_WRITE ? offsetof(struct tlb_entry, wtag) : offsetof(struct tlb_entry, rtag));
	struct emit *e = &t->e;

	_Static_assert(sizeof(struct tlb_entry) == 32, "the index is scaled by 32");
	emit_rorx32(e, HOST_SCRATCH2, HOST_SCRATCH, 12 - 5);
	emit_alu_imm(e, ALU_AND, false, HOST_SCRATCH2, (TLB_SIZE - 1) << 5);
	emit_alu_load(e, ALU_SUB, HOST_SCRATCH, tag);
	emit_alu_imm(e, ALU_CMP, true, HOST_SCRATCH, (s32)(PAGE_SIZE - size));
	add_slow_site(t, emit_jcc(e, COND_A, NULL), retry, size, own, what);
}

static void load_addend(struct tx *t)
{
	emit_load(&t->e, HOST_SCRATCH2, tlb_field(t, offsetof(struct tlb_entry, addend)));
}

void access_check(struct tx *t, const u8 *retry, unsigned size, bool write)
{
	size_t tag = write ? offsetof(struct tlb_entry, wtag) : offsetof(struct tlb_entry, rtag);

	tlb_compare(t, retry, size, 0, write ? SLOW_WRITE : 0);
	emit_alu_load(&t->e, ALU_ADD, HOST_SCRATCH, tlb_field(t, tag));
	load_addend(t);
}

/* Guest base register + disp + scratch2, or code_base where the base is RIP. */
static struct host_mem based(struct tx *t, u8 base, s32 disp)
{
	struct host_mem m = { HOST_SCRATCH, HOST_SCRATCH2, 0, false, false, disp };

	if (base == BASE_RIP)
		emit_load(&t->e, HOST_SCRATCH, TX_CPU(code_base));
	else
		m.base = use_reg(t, base, HOST_SCRATCH);
	return m;
}

static void based_address(struct tx *t, u8 base, s32 disp)
{
	if (base == BASE_RIP)
		emit_load(&t->e, HOST_SCRATCH, TX_CPU(code_base));
	emit_lea(&t->e, HOST_SCRATCH, mem_base(base == BASE_RIP ? HOST_SCRATCH : use_reg(t, base, HOST_SCRATCH), disp));
}

static struct host_mem stack_window(const struct tx *t, size_t field)
{
	return mem_gs(offsetof(struct cpu, stack) + (t->key & KEY_VIEW) * sizeof(t->c->stack[0]) + field);
}

/* scratch2 = addend of the page that the access's group lies in, kept from its leader. */
static void group_addend(struct tx *t, u8 group)
{
	struct host_mem kept = TX_CPU(group_addend[group]);

	emit_load(&t->e, HOST_SCRATCH2, t->group_is_stack[group] ? stack_window(t, offsetof(struct stack_window, addend)) : kept);
}

static void lead_stack(struct tx *t, const struct access *a, u8 base, bool write)
{
	struct emit *e = &t->e;
	const u8 *retry = access_begin(t);

	based_address(t, base, a->lo);
	emit_alu_load(e, ALU_SUB, HOST_SCRATCH, stack_window(t, offsetof(struct stack_window, page)));
	emit_alu_imm(e, ALU_CMP, true, HOST_SCRATCH, (s32)PAGE_SIZE - a->span);
	add_slow_site(t, emit_jcc(e, COND_A, NULL), retry, a->span, a->own, (u8)((write ? SLOW_WRITE : 0) | SLOW_STACK | SLOW_GROUP));
	group_addend(t, a->group);
}

static void lead(struct tx *t, const struct access *a, u8 base, bool write)
{
	const u8 *retry = access_begin(t);

	based_address(t, base, a->lo);
	tlb_compare(t, retry, a->span, a->own, (u8)((write ? SLOW_WRITE : 0) | SLOW_GROUP));
	load_addend(t);
	emit_store(&t->e, TX_CPU(group_addend[a->group]), HOST_SCRATCH2);
}

struct host_mem access_based(struct tx *t, const struct access *a, u8 base, s32 disp, unsigned size, bool write)
{
	const u8 *retry;

	switch (a->how) {
	case ACCESS_FOLLOWS:
		group_addend(t, a->group);
		break;
	case ACCESS_LEADS:
		if (t->group_is_stack[a->group])
			lead_stack(t, a, base, write);
		else
			lead(t, a, base, write);
		break;
	default:
		retry = access_begin(t);
		based_address(t, base, disp);
		tlb_compare(t, retry, size, 0, write ? SLOW_WRITE : 0);
		load_addend(t);
	}
	return based(t, base, disp);
}

/* One LEA of mapped registers. */
static bool address_is_quick(const struct insn *i)
{
	return i->base != BASE_RIP && i->d->opnd[0].kind != OP_O && i->d->opnd[1].kind != OP_O && !in_memory(i->base) &&
	       !in_memory(i->index) && i->seg != SEG_FS && i->seg != SEG_GS;
}

bool access_operand(struct tx *t, const struct insn *i, unsigned size, bool write, struct host_mem *ret_m)
{
	s64 disp = i->disp + (i->base == BASE_RIP ? t->off[t->k] + i->len : 0);
	const u8 *retry;

	if (access_is_plain(i) && disp == (s32)disp) {
		*ret_m = access_based(t, &t->operand[t->k], i->base, (s32)disp, size, write);
		return true;
	}
	retry = access_begin(t);
	if (!access_address(t, i, HOST_SCRATCH))
		return false;
	*ret_m = mem_pair(HOST_SCRATCH, HOST_SCRATCH2);
	if (!address_is_quick(i)) {
		access_check(t, retry, size, write);
		return true;
	}
	tlb_compare(t, retry, size, 0, write ? SLOW_WRITE : 0);
	access_address(t, i, HOST_SCRATCH); /* sooner there than the tag could be added */
	load_addend(t);
	return true;
}

void tx_site(struct tx *t)
{
	t->site[t->site_count++] = (struct site){ (u32)(emit_here(&t->e) - t->j->code_x), t->off[t->k],
						   t->state == FLAGS_HOST };
}
