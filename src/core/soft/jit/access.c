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

static bool is_moffs(const struct insn *i)
{
	return i->d->opnd[0].kind == OP_O || i->d->opnd[1].kind == OP_O;
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

static bool rip_relative(struct tx *t, const struct insn *i, s64 disp, u8 dst)
{
	s32 end = t->off[t->k] + i->len;

	if (i->adsize != 8)
		return false;
	emit_load(&t->e, dst, TX_FRAME(code_base));
	if (end + disp != (s32)(end + disp)) { /* within a page of 2 GiB away */
		emit_lea(&t->e, dst, mem_base(dst, end));
		end = 0;
	}
	emit_lea(&t->e, dst, mem_base(dst, (s32)(end + disp)));
	return true;
}

/* Effective address, with this displacement, without segment base. Does not change flags. */
static bool effective_address(struct tx *t, const struct insn *i, s64 disp, u8 dst)
{
	struct host_mem m = { .scale = i->scale, .disp = (s32)disp };

	if (i->base == BASE_RIP)
		return rip_relative(t, i, disp, dst);
	if (is_moffs(i)) {
		emit_imm(&t->e, dst, i->adsize == 8 ? (u64)disp : (u32)disp);
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

	if (i->opsize != 4 || i->adsize != 8 || i->base == BASE_NONE || i->base == BASE_RIP)
		return false;
	if (in_memory(i->base) || in_memory(i->index))
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
	if (dst != IN_MEMORY && i->opsize == insn_word(i))
		return effective_address(t, i, i->disp, dst);
	if (dst != IN_MEMORY && lea_in_place(t, i, dst))
		return true;
	if (!effective_address(t, i, i->disp, HOST_SCRATCH))
		return false;
	scratch_lost(t);
	if (dst != IN_MEMORY) {
		emit_op_reg(&t->e, &mov, dst, HOST_SCRATCH);
	} else {
		if (i->opsize == 4)
			emit_mov32(&t->e, HOST_SCRATCH, HOST_SCRATCH);
		emit_store(&t->e, TX_GPR(i->reg), HOST_SCRATCH);
		scratch_has_reg(t, i->reg);
	}
	return true;
}

bool access_has_segment(const struct insn *i)
{
	return i->seg == SEG_FS || i->seg == SEG_GS;
}

/* fs:[disp], gs:[disp]: what threads and processors have of their own. */
static bool is_segment_only(const struct insn *i)
{
	return access_has_segment(i) && i->base == BASE_NONE && i->index == BASE_NONE && i->adsize == 8 &&
	       i->disp == (s32)i->disp;
}

static void load_segment(struct tx *t, const struct insn *i, u8 dst)
{
	emit_load(&t->e, dst, mem_gs(offsetof(struct cpu, seg[i->seg].base)));
}

/* dst = linear address; uses scratch2 where a segment has a base. Does not change flags. */
static bool linear_address(struct tx *t, const struct insn *i, s64 disp, u8 dst)
{
	if (is_segment_only(i)) {
		load_segment(t, i, dst);
		emit_lea(&t->e, dst, mem_base(dst, (s32)disp));
		return true;
	}
	if (!effective_address(t, i, disp, dst))
		return false;
	if (access_has_segment(i)) {
		scratch2_lost(t);
		load_segment(t, i, HOST_SCRATCH2);
		emit_lea(&t->e, dst, mem_pair(dst, HOST_SCRATCH2));
	}
	return true;
}

bool access_address(struct tx *t, const struct insn *i, u8 dst)
{
	return linear_address(t, i, i->disp, dst);
}

bool access_may_group(const struct insn *i)
{
	return i->adsize == insn_word(i) && i->mem_size && i->disp == (s32)i->disp && !is_moffs(i);
}

const u8 *access_begin(struct tx *t)
{
	flags_free(t);
	scratch_lost(t);
	scratch2_lost(t);
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

static void add_slow_site(struct tx *t, u8 *jump, const u8 *retry, unsigned size, u16 own, u16 what)
{
	if (!(what & SLOW_ELSEWHERE) && page_fault_is_first(&t->insn[t->k]))
		what |= SLOW_PAGE_FAULT;
	t->slow[t->slow_count++] = (struct slow_site){ jump, retry, t->off[t->k], (u16)size, own, what, t->unsaved };
}

/* scratch = linear address -> its offset in the page; scratch2 = offset of the entry in the TLB. */
static void tlb_compare(struct tx *t, const u8 *retry, unsigned size, u16 own, u16 what)
{
	struct host_mem tag = tlb_field(t, slow_kind(what) ? offsetof(struct tlb_entry, wtag) : offsetof(struct tlb_entry, rtag));
	struct emit *e = &t->e;

	_Static_assert(sizeof(struct tlb_entry) == 32, "the index is scaled by 32");
	scratch2_lost(t);
	emit_ror32(e, HOST_SCRATCH2, HOST_SCRATCH, 12 - 5);
	emit_alu_imm(e, ALU_AND, false, HOST_SCRATCH2, (TLB_SIZE - 1) << 5);
	emit_alu_load(e, ALU_SUB, HOST_SCRATCH, tag);
	emit_alu_imm(e, ALU_CMP, true, HOST_SCRATCH, (s32)(PAGE_SIZE - size));
	add_slow_site(t, emit_jcc(e, COND_A, NULL), retry, size, own, what);
}

static void load_addend(struct tx *t)
{
	emit_load(&t->e, HOST_SCRATCH2, tlb_field(t, offsetof(struct tlb_entry, addend)));
}

/* After tlb_compare(): scratch = the host's address. */
static void add_page(struct tx *t)
{
	emit_alu_load(&t->e, ALU_ADD, HOST_SCRATCH, tlb_field(t, offsetof(struct tlb_entry, page)));
}

void access_check(struct tx *t, const u8 *retry, unsigned size, bool write)
{
	tlb_compare(t, retry, size, 0, write ? SLOW_WRITE : 0);
	add_page(t);
}

static struct host_mem stack_window(const struct tx *t, size_t field)
{
	return mem_gs(offsetof(struct cpu, stack) + (t->key & KEY_VIEW) * sizeof(t->c->stack[0]) + field);
}

static void load_group_addend(struct tx *t, u8 group, u8 dst)
{
	struct host_mem kept = TX_FRAME(addend[group]);

	emit_load(&t->e, dst, t->group_is_stack[group] ? stack_window(t, offsetof(struct stack_window, addend)) : kept);
}

/* scratch2 = addend of the page that the access's group lies in, kept from its leader. */
static void group_addend(struct tx *t, u8 group)
{
	if (t->addend_in_scratch2 != group)
		load_group_addend(t, group, HOST_SCRATCH2);
	t->addend_in_scratch2 = group;
}

/* The same in either scratch register, so that two groups by turns, as loops over arrays have them, each keep theirs. */
static u8 group_addend_somewhere(struct tx *t, u8 group)
{
	if (t->addend_in_scratch == group)
		return HOST_SCRATCH;
	if (t->addend_in_scratch2 == group || t->addend_in_scratch2 == NO_GROUP || t->reg_in_scratch != IN_MEMORY) {
		group_addend(t, group);
		return HOST_SCRATCH2;
	}
	load_group_addend(t, group, HOST_SCRATCH);
	t->addend_in_scratch = group;
	return HOST_SCRATCH;
}

/* scratch = where the leader's group begins: looks up its page and keeps the addend. */
static void lead_check(struct tx *t, const struct access *a, const u8 *retry, bool write)
{
	u16 what = (u16)((write ? SLOW_WRITE : 0) | (a->wtag ? SLOW_WTAG : 0) | SLOW_GROUP);
	struct emit *e = &t->e;

	if (t->group_is_stack[a->group]) {
		emit_alu_load(e, ALU_SUB, HOST_SCRATCH, stack_window(t, offsetof(struct stack_window, page)));
		emit_alu_imm(e, ALU_CMP, true, HOST_SCRATCH, (s32)PAGE_SIZE - a->span);
		add_slow_site(t, emit_jcc(e, COND_A, NULL), retry, a->span, a->own, what | SLOW_STACK | SLOW_WTAG);
		scratch2_lost(t);
		group_addend(t, a->group);
		t->window_led = true;
		return;
	}
	tlb_compare(t, retry, a->span, a->own, what);
}

/* base: a register whose value is added to the addend, or IN_MEMORY. */
static void keep_addend(struct tx *t, const struct access *a, u8 base)
{
	if (t->group_is_stack[a->group])
		return;
	load_addend(t);
	if (base != IN_MEMORY)
		emit_lea(&t->e, HOST_SCRATCH2, mem_pair(HOST_SCRATCH2, base));
	emit_store(&t->e, TX_FRAME(addend[a->group]), HOST_SCRATCH2);
	t->addend_in_scratch2 = a->group;
}

static struct host_mem reg_address(struct tx *t, u8 reg, s32 disp)
{
	return mem_base(use_reg(t, reg, HOST_SCRATCH), disp);
}

struct host_mem access_stack(struct tx *t, u8 reg, s32 disp, bool write)
{
	const struct access *a = &t->stack[t->k];
	struct host_mem m;
	const u8 *retry;

	if (a->how == ACCESS_FOLLOWS) {
		group_addend(t, a->group);
	} else {
		retry = access_begin(t);
		tx_lea(t, HOST_SCRATCH, reg_address(t, reg, a->how == ACCESS_LEADS ? disp - a->own : disp));
		if (a->how == ACCESS_LEADS) {
			lead_check(t, a, retry, write);
			keep_addend(t, a, IN_MEMORY);
		} else {
			tlb_compare(t, retry, insn_word(&t->insn[t->k]), 0, write ? SLOW_WRITE : 0);
			load_addend(t);
		}
	}
	if (tx_is_32(t)) {
		tx_lea(t, HOST_SCRATCH, reg_address(t, reg, disp));
		scratch_lost(t);
		return mem_pair(HOST_SCRATCH, HOST_SCRATCH2);
	}
	m = reg_address(t, reg, disp);
	m.index = HOST_SCRATCH2;
	return m;
}

void access_free_scratch(struct tx *t, struct host_mem *m)
{
	if (m->base != HOST_SCRATCH || m->index != HOST_SCRATCH2)
		return;
	emit_lea(&t->e, HOST_SCRATCH2, *m);
	scratch2_lost(t);
	*m = mem_base(HOST_SCRATCH2, 0);
}

static s64 rip_disp(const struct tx *t, const struct insn *i)
{
	return i->base == BASE_RIP ? t->off[t->k] + i->len + i->disp : i->disp;
}

/* [register + disp], flat: the register itself serves as the base of the host's operand; or code_base, or a segment's base. */
static bool is_based(const struct tx *t, const struct insn *i)
{
	if (is_segment_only(i))
		return !is_moffs(i);
	return i->base != BASE_NONE && i->index == BASE_NONE && i->adsize == 8 && i->seg != SEG_FS && i->seg != SEG_GS &&
	       rip_disp(t, i) == (s32)rip_disp(t, i);
}

/*
 * [base + index * scale + disp], both mapped, in a group: what is kept is the host's address of what the base points to, so
 * that the index remains the index.
 */
bool access_indexed(const struct insn *i)
{
	return i->adsize == 8 && i->base != BASE_NONE && i->base != BASE_RIP && i->index != BASE_NONE && !in_memory(i->base) &&
	       !in_memory(i->index) && i->seg != SEG_FS && i->seg != SEG_GS;
}

static bool is_indexed(const struct tx *t, const struct insn *i)
{
	return t->operand[t->k].how != ACCESS_ALONE && access_indexed(i);
}

static struct host_mem operand_at(struct tx *t, const struct insn *i, u8 addend)
{
	struct host_mem m = mem_pair(HOST_SCRATCH, addend);

	if (is_indexed(t, i))
		return (struct host_mem){ addend, host_reg(i->index), i->scale, false, false,
					  (s32)i->disp + t->operand[t->k].base_by };
	if (!is_based(t, i))
		return m;
	m.disp = (s32)rip_disp(t, i);
	if (i->base != BASE_RIP && i->base != BASE_NONE) {
		m.base = use_reg(t, i->base, HOST_SCRATCH);
		return m;
	}
	scratch_lost(t);
	if (i->base == BASE_RIP)
		emit_load(&t->e, HOST_SCRATCH, TX_FRAME(code_base));
	else
		load_segment(t, i, HOST_SCRATCH);
	return m;
}

/* Is a follower's operand made of mapped registers alone? */
static bool leaves_scratch(const struct tx *t, const struct insn *i)
{
	return is_indexed(t, i) || (is_based(t, i) && i->base != BASE_RIP && i->base != BASE_NONE && !in_memory(i->base));
}

/* May the operand be addressed as the guest does, the addend being the index? Else through what scratch has become. */
static bool base_serves(const struct tx *t, const struct insn *i)
{
	return leaves_scratch(t, i) || (t->operand[t->k].how == ACCESS_LEADS && is_based(t, i));
}

/*
 * The page is looked up at the group's constant address, so a page fault there is not yet one of this access: the interpreter
 * sees.
 */
static struct host_mem table_operand(struct tx *t, const struct insn *i)
{
	const struct access *a = &t->operand[t->k];
	struct host_mem m = { HOST_SCRATCH2, host_reg(i->index), i->scale, false, false, (s32)i->disp };
	const u8 *retry;

	if (a->how == ACCESS_FOLLOWS) {
		m.base = group_addend_somewhere(t, a->group);
		return m;
	}
	retry = access_begin(t);
	emit_imm(&t->e, HOST_SCRATCH, (u64)(i->disp - a->own));
	tlb_compare(t, retry, a->span, 0, (a->wtag ? SLOW_WTAG : 0) | SLOW_GROUP | SLOW_ELSEWHERE);
	keep_addend(t, a, IN_MEMORY);
	return m;
}

/* scratch = offset in its page of the array's first element, which scratch2 is the host's address of: keeps how many follow. */
static void keep_limit(struct tx *t, const struct insn *i, u8 group)
{
	struct host_op store = { .opcode = 0x89 };
	struct host_mem limit = TX_FRAME(limit[group]);

	emit_alu_imm(&t->e, ALU_XOR, false, HOST_SCRATCH, PAGE_SIZE - 1);
	if (i->mem_size > 1)
		emit_alu_imm(&t->e, ALU_SUB, false, HOST_SCRATCH, i->mem_size - 1);
	if (i->scale)
		emit_shift32(&t->e, SHIFT_SHR, HOST_SCRATCH, i->scale);
	emit_op_mem(&t->e, &store, HOST_SCRATCH, &limit);
}

static void lead_array(struct tx *t, const struct insn *i, const struct access *a)
{
	const u8 *retry = access_begin(t);

	emit_lea(&t->e, HOST_SCRATCH, mem_base(host_reg(i->base), (s32)i->disp));
	tlb_compare(t, retry, i->mem_size, 0, (a->wtag ? SLOW_WTAG : 0) | SLOW_GROUP | SLOW_ELSEWHERE);
	emit_load(&t->e, HOST_SCRATCH2, tlb_field(t, offsetof(struct tlb_entry, page)));
	emit_lea(&t->e, HOST_SCRATCH2, mem_pair(HOST_SCRATCH2, HOST_SCRATCH));
	emit_store(&t->e, TX_FRAME(addend[a->group]), HOST_SCRATCH2);
	keep_limit(t, i, a->group);
	t->addend_in_scratch2 = a->group;
}

/* Instruction k's, before the one that is being emitted begins. */
static void check_index(struct tx *t, u32 k)
{
	static const struct host_op cmp = { .opcode = 0x3b };
	struct host_mem limit = TX_FRAME(limit[t->operand[k].group]);

	emit_op_mem(&t->e, &cmp, host_reg(t->insn[k].index), &limit);
	add_slow_site(t, emit_jcc(&t->e, COND_A, NULL), emit_here(&t->e), 0, 0, SLOW_GROUP | SLOW_INDEX);
}

static struct host_mem array_operand(struct tx *t, const struct insn *i)
{
	const struct access *a = &t->operand[t->k];
	struct host_mem m = { BASE_NONE, host_reg(i->index), i->scale, false, false, 0 };

	if (a->how == ACCESS_LEADS)
		lead_array(t, i, a);
	else if (!a->checked)
		flags_free(t);
	if (!a->checked)
		check_index(t, t->k);
	for (u32 n = t->k + 1; n < t->n && t->insn[n].d->kind != KIND_JMP; n++)
		if (t->operand[n].checked == t->k + 1)
			check_index(t, n);
	m.base = group_addend_somewhere(t, a->group);
	return m;
}

bool access_operand(struct tx *t, const struct insn *i, unsigned size, bool write, struct host_mem *ret_m)
{
	const struct access *a = &t->operand[t->k];
	bool leads = a->how == ACCESS_LEADS, serves = base_serves(t, i);
	u8 addend = HOST_SCRATCH2;
	const u8 *retry;

	if (a->form != ACCESS_PLAIN) {
		*ret_m = a->form == ACCESS_TABLE ? table_operand(t, i) : array_operand(t, i);
		return true;
	}
	if (a->how == ACCESS_FOLLOWS) {
		if (!is_based(t, i) && !is_indexed(t, i)) {
			access_address(t, i, HOST_SCRATCH);
			scratch_lost(t);
		}
		if (leaves_scratch(t, i))
			addend = group_addend_somewhere(t, a->group);
		else
			group_addend(t, a->group);
		*ret_m = operand_at(t, i, addend);
		return true;
	}
	retry = access_begin(t);
	if (!linear_address(t, i, leads ? i->disp - a->own : i->disp, HOST_SCRATCH))
		return false;
	if (leads)
		lead_check(t, a, retry, write);
	else
		tlb_compare(t, retry, size, 0, write ? SLOW_WRITE : 0);
	if (!serves && leads && t->group_is_stack[a->group]) {
		access_address(t, i, HOST_SCRATCH); /* the window has no `page` */
		*ret_m = mem_pair(HOST_SCRATCH, HOST_SCRATCH2);
		return true;
	}
	if (!serves)
		add_page(t);
	if (leads)
		keep_addend(t, a, is_indexed(t, i) ? host_reg(i->base) : IN_MEMORY);
	else if (serves)
		load_addend(t);
	*ret_m = serves ? operand_at(t, i, addend) : mem_base(HOST_SCRATCH, leads ? a->own : 0);
	return true;
}

void tx_window_site(struct tx *t)
{
	if (t->window_led)
		tx_site(t);
	t->window_led = false;
}

void tx_site(struct tx *t)
{
	t->site[t->site_count++] = (struct site){ (u32)(emit_here(&t->e) - t->j->code_x), t->off[t->k],
						   t->state == FLAGS_HOST ? SITE_HOST : t->unsaved };
}
