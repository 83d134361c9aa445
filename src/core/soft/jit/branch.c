/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ends of blocks: near branches, calls and returns, and the edges they leave by. Inside a page an edge is a direct jump
 * (linked now or at first use); out of it, or to a computed address, it goes through the jump cache. Edges that can close
 * a loop poll for requests.
 */
#include "stack.h"
#include "tx.h"

static void add_edge(struct tx *t, u8 *rel32, s64 target, bool poll_exit)
{
	t->edge[t->edge_count++] = (struct edge_site){ rel32, (u16)target, t->state == FLAGS_SAVED, poll_exit };
}

static void emit_poll(struct tx *t)
{
	struct host_mem poll = mem_gs(0);

	poll.disp = VCPU_POLL_OFFSET;
	emit_alu_mem_imm32(&t->e, ALU_CMP, poll, 0);
}

/*
 * scratch = linear address to go on at, flags saved: compares with the jump cache; the addresses of the two jumps taken when
 * it misses, or a request waits, go to ret_miss. scratch2 is left as the entry's index.
 */
static struct host_mem jump_compare(struct tx *t, enum tlb_view view, const u8 *miss, u8 *ret_miss[2])
{
	struct host_op xor32 = { .opcode = 0x33 };
	struct emit *e = &t->e;
	size_t table = offsetof(struct cpu, jump) + (view + (tx_is_32(t) ? VIEW_COUNT : 0u)) * sizeof(t->c->jump[0]);
	struct host_mem entry = { BASE_NONE, HOST_SCRATCH2, 3, true, false, (s32)table };

	_Static_assert(sizeof(struct jump_entry) == 16, "twice the index is scaled by 8");
	emit_poll(t);
	ret_miss[0] = emit_jcc(e, COND_NE, miss);
	emit_ror32(e, HOST_SCRATCH2, HOST_SCRATCH, JUMP_FOLD);
	emit_op_reg(e, &xor32, HOST_SCRATCH2, HOST_SCRATCH);
	emit_alu_imm(e, ALU_AND, false, HOST_SCRATCH2, (JUMP_SIZE - 1) << 1);
	emit_alu_load(e, ALU_CMP, HOST_SCRATCH, entry);
	ret_miss[1] = emit_jcc(e, COND_NE, miss);
	return entry;
}

static void jump_go(struct tx *t, struct host_mem entry)
{
	emit_alu_imm(&t->e, ALU_AND, true, HOST_SCRATCH, -(s32)PAGE_SIZE);
	emit_store(&t->e, TX_FRAME(code_base), HOST_SCRATCH);
	entry.disp += (s32)offsetof(struct jump_entry, code);
	emit_jmp_mem(&t->e, entry);
}

/* To an address that is known to be canonical, or whose form the next fetch may judge. */
void jump_lookup_in(struct tx *t, enum tlb_view view)
{
	u8 *miss[2];

	jump_go(t, jump_compare(t, view, t->j->stub_dispatch, miss));
}

/* To a computed address: RSP moves by rsp_by only when it is clear that the branch does not fault. */
static void jump_computed(struct tx *t, s32 rsp_by)
{
	struct host_mem entry;

	t->miss = (struct miss_site){ .guest = t->off[t->k], .rsp_by = rsp_by };
	entry = jump_compare(t, t->key & KEY_VIEW, NULL, t->miss.rel32);
	stack_move(t, rsp_by);
	stack_settle(t);
	jump_go(t, entry);
}

/* Interprets the branch, which raises #GP, unless bits 63..47 of scratch are all equal. */
void interp_if_not_canonical(struct tx *t, u16 guest)
{
	struct host_op sar = { .w = 1, .opcode = 0xc1, .imm_size = 1, .imm = 47 };
	struct emit *e = &t->e;

	if (tx_is_32(t))
		return;
	scratch2_lost(t);
	emit_mov(e, HOST_SCRATCH2, HOST_SCRATCH);
	emit_op_reg(e, &sar, 7, HOST_SCRATCH2);
	emit_alu_imm(e, ALU_ADD, false, HOST_SCRATCH2, 1);
	emit_alu_imm(e, ALU_CMP, false, HOST_SCRATCH2, 1);
	t->interp[t->interp_count++] = (struct interp_site){ emit_jcc(e, COND_A, NULL), guest };
}

void branch_miss(struct tx *t)
{
	if (!t->miss.rel32[0])
		return;
	emit_patch_here(&t->e, t->miss.rel32[0]);
	emit_patch_here(&t->e, t->miss.rel32[1]);
	interp_if_not_canonical(t, t->miss.guest);
	stack_move(t, t->miss.rsp_by);
	stack_settle(t);
	emit_jmp(&t->e, t->j->stub_dispatch);
}

static void jump_lookup(struct tx *t)
{
	jump_lookup_in(t, t->key & KEY_VIEW);
}

static void save_if_host(struct tx *t)
{
	if (t->state == FLAGS_HOST)
		flags_save(t);
}

/* Of the page that code_base says. */
static void load_rip(struct tx *t, s64 offset)
{
	emit_load(&t->e, HOST_SCRATCH, TX_FRAME(code_base));
	if (offset != (s32)offset) { /* a jump of 2 GiB */
		emit_lea(&t->e, HOST_SCRATCH, mem_base(HOST_SCRATCH, (s32)(offset / 2)));
		offset -= offset / 2;
	}
	tx_lea(t, HOST_SCRATCH, mem_base(HOST_SCRATCH, (s32)offset));
}

void edge_interp(struct tx *t, u16 offset)
{
	save_if_host(t);
	load_rip(t, offset);
	emit_jmp(&t->e, t->j->stub_interp);
}

void edge_view(struct tx *t, s64 target, enum tlb_view view)
{
	save_if_host(t);
	load_rip(t, target);
	jump_lookup_in(t, view);
}

static bool has_gone_back(const struct tx *t)
{
	return t->went_back && t->k >= t->went_back;
}

static void move_code_base(struct tx *t, s64 by)
{
	scratch_lost(t);
	emit_load(&t->e, HOST_SCRATCH, TX_FRAME(code_base));
	emit_lea(&t->e, HOST_SCRATCH, mem_base(HOST_SCRATCH, (s32)by));
	emit_store(&t->e, TX_FRAME(code_base), HOST_SCRATCH);
}

void branch_next_page(struct tx *t)
{
	static const struct host_op add = { .w = 1, .opcode = 0x81, .imm_size = 4 };
	s64 by = tx_page_at(t, t->k + 1) - tx_page_at(t, t->k);
	struct host_mem code_base = TX_FRAME(code_base);
	struct host_op op = add;

	op.imm = (u64)by;
	if (t->state == FLAGS_SAVED || !t->live_out[t->k])
		emit_op_mem(&t->e, &op, 0, &code_base);
	else
		move_code_base(t, by);
}

void edge_to(struct tx *t, s64 target)
{
	bool inside = target >= 0 && target < (s64)PAGE_SIZE;

	if (!inside) {
		save_if_host(t);
		load_rip(t, target - tx_page_at(t, t->k));
		jump_lookup(t);
		return;
	}
	if (t->in_page[t->k])
		move_code_base(t, -tx_page_at(t, t->k));
	if (target <= tx_at(t, t->k) || has_gone_back(t)) {
		flags_free_for(t, target);
		emit_poll(t);
		add_edge(t, emit_jcc(&t->e, COND_NE, NULL), target, true);
	} else if (flags_recipe_serves(t, target)) {
		flags_free_for(t, target);
	}
	emit_align_rel32(&t->e, 1);
	add_edge(t, emit_jmp(&t->e, NULL), target, false);
}

static s64 branch_target(const struct tx *t, const struct insn *i)
{
	return tx_at(t, t->k) + i->len + (s64)i->imm;
}

/*
 * A condition on flags that are saved, where one look at their image decides: the host condition to jump on instead. Signed
 * comparisons want two flags and are not among them.
 */
static bool test_saved(struct tx *t, u8 cond, u8 *ret_cond)
{
	static const u8 mask[8] = { FL_OF >> 11, FL_CF, FL_ZF, FL_CF | FL_ZF, FL_SF, FL_PF, 0, 0 };
	struct host_op test8 = { .opcode = 0xf6, .imm_size = 1, .imm = mask[cond >> 1] };
	struct host_mem image = TX_FRAME(saved_flags);

	if (!test8.imm)
		return false;
	image.disp += cond >> 1 != 0; /* OF is seto's byte, the others are lahf's */
	emit_op_mem(&t->e, &test8, 0, &image);
	*ret_cond = cond & 1 ? COND_E : COND_NE;
	return true;
}

static void jcc_insn(struct tx *t, const struct insn *i)
{
	bool middle = t->k + 1 < t->n, turned = middle && (t->turned >> t->k & 1);
	s64 target = turned ? tx_at(t, t->k) + i->len : branch_target(t, i);
	bool forward = target > tx_at(t, t->k) && target < (s64)PAGE_SIZE && !has_gone_back(t);
	u8 cond = (i->opcode & 15) ^ turned, *over;
	enum flags_state before;

	if (!flags_must_restore(t) || !test_saved(t, cond, &cond))
		flags_before(t, HOST_SCRATCH);
	if (forward && !flags_recipe_serves(t, target)) {
		emit_align_rel32(&t->e, 2);
		add_edge(t, emit_jcc(&t->e, cond, NULL), target, false);
	} else if (middle || (forward && t->side_count < MAX_SIDES)) {
		t->side[t->side_count++] =
			(struct side_exit){ emit_jcc(&t->e, cond, NULL), target, t->state, t->recipe, t->recipe_regs, t->k };
	} else {
		before = t->state;
		over = emit_jcc(&t->e, cond ^ 1, NULL);
		edge_to(t, target);
		emit_patch_here(&t->e, over);
		t->state = before;
	}
	if (!middle)
		edge_to(t, t->end);
}

/* A computed jump that left the path. */
static void jump_elsewhere(struct tx *t)
{
	struct miss_site at_end = t->miss;

	scratch_lost(t);
	emit_alu_load(&t->e, ALU_ADD, HOST_SCRATCH, TX_FRAME(code_base));
	if (t->recipe) {
		emit_store(&t->e, TX_FRAME(scratch[0]), HOST_SCRATCH);
		recipe_emit(t, t->recipe);
		flags_save(t);
		emit_load(&t->e, HOST_SCRATCH, TX_FRAME(scratch[0]));
	}
	jump_computed(t, 0);
	branch_miss(t);
	t->miss = at_end;
}

void branch_sides(struct tx *t)
{
	for (u32 n = 0; n < t->side_count; n++) {
		emit_patch_here(&t->e, t->side[n].rel32);
		t->state = t->side[n].state;
		t->recipe = t->side[n].recipe;
		t->recipe_regs = t->side[n].recipe_regs;
		t->k = t->side[n].k;
		if (t->side[n].target == SIDE_COMPUTED)
			jump_elsewhere(t);
		else
			edge_to(t, t->side[n].target);
	}
}

/* LOOP and JRCXZ with RCX: RCX - 1 by LEA, since flags stay. */
static void loop_insn(struct tx *t, const struct insn *i)
{
	bool jrcxz = i->opcode == 0xe3;
	s64 zero = jrcxz ? branch_target(t, i) : t->end, other = jrcxz ? t->end : branch_target(t, i);
	enum flags_state before;
	u8 *not_zero;

	if (!jrcxz)
		tx_lea(t, RCX, mem_base(RCX, -1));
	before = t->state;
	if (tx_is_32(t))
		emit_u8(&t->e, 0x67);
	emit_u8(&t->e, 0xe3); /* jrcxz over the jump */
	emit_u8(&t->e, 5);
	not_zero = emit_jmp(&t->e, NULL);
	edge_to(t, zero);
	emit_patch_here(&t->e, not_zero);
	t->state = before;
	edge_to(t, other);
}

static void ret_insn(struct tx *t, const struct insn *i)
{
	s32 extra = i->d->opnd[0].kind == OP_I ? (u16)i->imm : 0;
	struct host_mem at;

	flags_free(t);
	at = stack_pop_at(t, RSP);
	tx_window_site(t);
	tx_load(t, HOST_SCRATCH, at);
	jump_computed(t, insn_word(i) + extra);
}

static void push_return(struct tx *t)
{
	struct host_mem at = stack_push_at(t);

	access_free_scratch(t, &at);
	scratch_lost(t);
	emit_load(&t->e, HOST_SCRATCH, TX_FRAME(code_base));
	emit_lea(&t->e, HOST_SCRATCH, mem_base(HOST_SCRATCH, t->off[t->k] + t->insn[t->k].len));
	tx_window_site(t);
	tx_store(t, at, HOST_SCRATCH);
	stack_move(t, -insn_word(&t->insn[t->k]));
	stack_settle(t);
}

static void call_indirect(struct tx *t, const struct insn *i)
{
	flags_free(t);
	if (i->mem)
		stack_operand_to_slot(t, i);
	if (i->mem)
		emit_load(&t->e, HOST_SCRATCH, TX_FRAME(scratch[0]));
	else if (use_reg(t, i->rm, HOST_SCRATCH) != HOST_SCRATCH)
		tx_mov(t, HOST_SCRATCH, host_reg(i->rm));
	if (!i->mem)
		emit_store(&t->e, TX_FRAME(scratch[0]), HOST_SCRATCH);
	interp_if_not_canonical(t, t->off[t->k]);
	push_return(t);
	emit_load(&t->e, HOST_SCRATCH, TX_FRAME(scratch[0]));
	jump_lookup(t);
}

/* scratch = linear address to go on at, flags saved: the path went where the block goes on. */
static void jump_expected(struct tx *t)
{
	u32 next = t->k + 1 < t->n ? t->k + 1 : 0;
	s64 expected = tx_at(t, next) - tx_page_at(t, t->k);

	emit_alu_load(&t->e, ALU_SUB, HOST_SCRATCH, TX_FRAME(code_base));
	emit_alu_imm(&t->e, ALU_CMP, true, HOST_SCRATCH, (s32)expected);
	t->side[t->side_count++] =
		(struct side_exit){ emit_jcc(&t->e, COND_NE, NULL), SIDE_COMPUTED, t->state, t->unsaved, 0, t->k };
	scratch_lost(t);
	if (next)
		return;
	if (t->unsaved)
		flags_store_recipe(t, t->unsaved);
	t->unsaved = 0;
	edge_to(t, t->off[0]);
}

/* Counts the ways through a block that ends here, until there are enough to see what a path would gain. */
static void count_heat(struct tx *t)
{
	struct host_mem heat = TX_CPU(heat[t->off[t->k] % HEATS]);

	if (!t->j->options.paths || t->src->path || (t->key & (KEY_ALONE | KEY_32)))
		return;
	emit_alu_mem_imm32(&t->e, ALU_SUB, heat, 1);
	t->hot = emit_jcc(&t->e, COND_E, NULL);
}

static void jmp_indirect(struct tx *t, const struct insn *i)
{
	struct host_mem m;

	flags_free(t);
	if (i->mem) {
		access_operand(t, i, insn_word(i), false, &m);
		tx_window_site(t);
		tx_load(t, HOST_SCRATCH, m);
	} else if (use_reg(t, i->rm, HOST_SCRATCH) != HOST_SCRATCH) {
		tx_mov(t, HOST_SCRATCH, host_reg(i->rm));
	}
	if (t->expected >> t->k & 1) {
		jump_expected(t);
		return;
	}
	count_heat(t);
	jump_computed(t, 0);
}

bool branch_possible(const struct insn *i)
{
	u8 kind = i->d->opnd[0].kind;

	if (i->p66 || i->adsize != insn_word(i))
		return false;
	switch (i->d->kind) {
	case KIND_JCC:
		return i->map == 1 || i->opcode < 0x80;
	case KIND_RET:
		return true;
	case KIND_LOOP:
		return i->opcode == 0xe2 || i->opcode == 0xe3;
	case KIND_JMP:
	case KIND_CALL:
		return kind == OP_J || kind == OP_E;
	default:
		return false;
	}
}

void branch_insn(struct tx *t, const struct insn *i)
{
	bool direct = i->d->opnd[0].kind == OP_J;

	switch (i->d->kind) {
	case KIND_JCC:
		jcc_insn(t, i);
		break;
	case KIND_LOOP:
		loop_insn(t, i);
		break;
	case KIND_RET:
		ret_insn(t, i);
		break;
	case KIND_JMP:
		if (!direct)
			jmp_indirect(t, i);
		else if (t->k + 1 == t->n) /* else the block goes on there */
			edge_to(t, branch_target(t, i));
		break;
	default:
		if (!direct) {
			call_indirect(t, i);
			break;
		}
		push_return(t);
		edge_to(t, branch_target(t, i));
		break;
	}
}
