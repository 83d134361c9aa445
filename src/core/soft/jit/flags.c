/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest flags in host flags: which are live where, and moving them to cpu.saved_flags while the translator's own compares
 * need the host's (invariants 3 and 4 of internal.h). lahf/seto costs a tenth of pushf/popf.
 */
#include "tx.h"
#include "x86-ops.h"

u16 insn_reads_flags(const struct insn *i)
{
	if (bits_possible(i) || string_possible(i))
		return i->d->flags_read & FL_ARITH;
	switch (i->d->kind) {
	case KIND_INTERP:
	case KIND_SYSTEM:
		return system_ignores_flags(i) ? 0 : FL_ARITH;
	case KIND_STRING:
		return FL_ARITH;
	default:
		return i->d->flags_read & FL_ARITH;
	}
}

static u16 insn_writes_flags(const struct insn *i)
{
	return i->d->flags_written & FL_ARITH;
}

/* Followers of a group too: each is looked at by itself when the group lies in two pages. */
static bool may_fault(const struct tx *t, const struct insn *i)
{
	switch (i->d->kind) {
	case KIND_LEA:
	case KIND_NOP:
	case KIND_JCC:
		return false;
	case KIND_COPY:
		return t->j->options.flags && (i->mem || copy_may_fault(i));
	default:
		return t->j->options.flags;
	}
}

#define LOOK_AHEAD 8

bool insn_is_ordinary(const struct insn *i)
{
	switch (i->d->kind) {
	case KIND_COPY:
	case KIND_LEA:
	case KIND_PUSH:
	case KIND_POP:
	case KIND_LEAVE:
	case KIND_NOP:
		return true;
	default:
		return false;
	}
}

/* What becomes of flags at a place, by what may look first: nothing before they are written, a fault, or more than that. */
enum fate { FATE_UNKNOWN, FATE_DEAD, FATE_FAULTS, FATE_READ };

/* FATE_FAULTS: *ret_moved are the registers that the last of these faults would find changed. */
static enum fate find_fate(struct tx *t, s64 target, u16 *ret_moved)
{
	u16 open = FL_ARITH, moved = 0;
	enum fate fate = FATE_DEAD;
	struct insn i;

	*ret_moved = 0;
	for (unsigned n = 0; n < LOOK_AHEAD; n++) {
		if (target < 0 || target >= (s64)PAGE_SIZE)
			return FATE_READ;
		if (insn_decode(&i, t->host + target, PAGE_SIZE - (u64)target, tx_mode(t)) != DECODE_OK)
			return FATE_READ;
		if (insn_reads_flags(&i) & open)
			return FATE_READ;
		if (may_fault(t, &i)) {
			if (open != FL_ARITH)
				return FATE_READ;
			fate = FATE_FAULTS;
			*ret_moved = moved;
		}
		if (!insn_is_ordinary(&i))
			return FATE_READ;
		open &= (u16)~insn_writes_flags(&i);
		moved |= insn_moves(&i);
		page_cover(t->page, t->host, (u16)target, i.len);
		if (!open)
			return fate;
		target += i.len;
	}
	return FATE_READ;
}

/* Analyses and edges ask about the same places. */
static const struct flags_fate *flags_fate(struct tx *t, s64 target)
{
	struct flags_fate *f = &t->fate[(u64)target % ARRAY_SIZE(t->fate)];

	if (f->what == FATE_UNKNOWN || f->target != target) {
		f->target = target;
		f->what = (u8)find_fate(t, target, &f->moved);
	}
	return f;
}

bool flags_wanted_at(struct tx *t, s64 target)
{
	const struct block *b;

	if (target == t->off[0] && t->n) {
		t->loops = true;
		return t->loop_wants;
	}
	b = target >= 0 && target < (s64)PAGE_SIZE ? block_find(t->page, (u16)target, t->key & (u8)~KEY_ALONE) : NULL;
	return b ? b->wants_flags : flags_fate(t, target)->what != FATE_DEAD;
}

/* Flags that may be read after the block's last instruction. */
static u16 live_at_end(struct tx *t)
{
	const struct insn *last = &t->insn[t->n - 1];
	s64 next = t->end, target;

	if (t->ends_interp || (t->inplace >> (t->n - 1) & 1))
		return FL_ARITH;
	if (last->d->op == INSN_SYSRET) /* has them in R11 */
		return 0;
	if (last->d->opnd[0].kind != OP_J)
		return last->d->kind == KIND_RET || last->d->kind == KIND_JMP || last->d->kind == KIND_CALL ||
				       flags_wanted_at(t, next) ?
			       FL_ARITH :
			       0;
	target = next + (s64)last->imm;
	if (flags_wanted_at(t, target))
		return FL_ARITH;
	if (last->d->kind == KIND_JCC || last->d->kind == KIND_LOOP)
		return flags_wanted_at(t, next) ? FL_ARITH : 0;
	return 0;
}

/* Where a branch in the middle of the block leaves it. */
static s64 other_way(const struct tx *t, u32 k)
{
	return tx_at(t, k) + t->insn[k].len + (t->turned >> k & 1 ? 0 : (s64)t->insn[k].imm);
}

static bool operand_frees(const struct access *a)
{
	return a->how != ACCESS_FOLLOWS || (a->form == ACCESS_ARRAY && !a->checked);
}

static bool access_frees(const struct tx *t, u32 k)
{
	const struct insn *i = &t->insn[k];

	if (t->inplace >> k & 1)
		return true;
	switch (i->d->kind) {
	case KIND_COPY:
		return i->mem && operand_frees(&t->operand[k]);
	case KIND_PUSH:
	case KIND_POP:
	case KIND_LEAVE:
		return t->stack[k].how != ACCESS_FOLLOWS || (i->mem && operand_frees(&t->operand[k]));
	case KIND_JCC:
	case KIND_LEA:
	case KIND_NOP:
		return false;
	default:
		return true;
	}
}

/* With options.flags a fault reads them. */
static bool fault_reads(const struct tx *t, u32 k)
{
	return t->j->options.flags && (access_frees(t, k) || copy_may_fault(&t->insn[k]));
}

static void analyse(struct tx *t)
{
	u16 live = live_at_end(t);

	for (u32 k = t->n; k-- > 0;) {
		const struct insn *i = &t->insn[k];

		if (i->d->kind == KIND_JCC && k + 1 < t->n && flags_wanted_at(t, other_way(t, k)))
			live = FL_ARITH;
		if (t->expected >> k & 1)
			live = FL_ARITH;
		t->live_out[k] = live;
		live = (u16)((live & ~insn_writes_flags(&t->insn[k])) | insn_reads_flags(&t->insn[k]));
		if (fault_reads(t, k))
			live = FL_ARITH;
		t->live_in[k] = live;
	}
}

/* May what follows find a recipe in the place of flags? */
static bool is_plain(const struct tx *t, u32 k)
{
	const struct insn *i = &t->insn[k];

	if ((t->inplace >> k & 1) || bits_possible(i) || string_possible(i))
		return false;
	return insn_is_ordinary(i) || i->d->kind == KIND_JCC || i->d->kind == KIND_JMP;
}

/* A path that comes round has not written the flags: does a recipe for them serve at its start, too? */
static bool start_takes_recipe(struct tx *t, u16 regs)
{
	const struct flags_fate *f = flags_fate(t, t->off[0]);

	return f->what == FATE_DEAD || (f->what == FATE_FAULTS && !(f->moved & regs));
}

/*
 * A check overwrites the flags of instruction `writer`: does nothing from then on but faults look at them until they are
 * written again, and are the operands in `regs` what they were at each of these faults? A path may be left at its computed
 * jumps, out of line, where a recipe makes all of them.
 */
static bool recipe_serves(struct tx *t, u32 writer, u16 regs)
{
	bool freed = false, moved = false;

	for (u32 k = writer + 1; k < t->n; k++) {
		const struct insn *i = &t->insn[k];
		u16 writes = insn_writes_flags(i);

		if (!is_plain(t, k) || (moved && may_fault(t, i)))
			return false;
		freed |= access_frees(t, k);
		if (moved && (t->expected >> k & 1))
			return false;
		if (freed && (insn_reads_flags(i) || (writes && writes != FL_ARITH)))
			return false;
		if (writes)
			return freed;
		moved |= (t->moves[k] & regs) != 0;
	}
	return freed && (t->expected >> (t->n - 1) & 1 ? !moved && start_takes_recipe(t, regs) : !t->live_out[t->n - 1]);
}

static void find_recipes(struct tx *t)
{
	t->recipe_serves = 0;
	for (u32 k = 0; k < t->n; k++) {
		const struct insn *i = &t->insn[k];

		t->recipe_of[k] = 0;
		if (!t->live_out[k] || !insn_writes_flags(i) || !is_plain(t, k))
			continue;
		t->recipe_of[k] = recipe_of(t->j, i, &t->recipe_needs[k]);
		if (t->recipe_of[k] && recipe_serves(t, k, t->recipe_needs[k]))
			t->recipe_serves |= 1ull << k;
	}
}

void flags_analyse(struct tx *t)
{
	t->live_in[0] = FL_ARITH; /* of nothing but an instruction for the interpreter */
	if (!t->n)
		return;
	t->loop_wants = t->loops = false;
	analyse(t);
	if (t->live_in[0]) {
		t->loop_wants = true; /* an edge back to the start has to bring them */
		if (t->loops)
			analyse(t);
	}
	find_recipes(t);
}

void flags_emit_save(struct emit *e)
{
	struct host_op store16 = { .p66 = true, .opcode = 0x89 };
	struct host_op seto = { .map = 1, .opcode = 0x90, .byte_reg = true };
	struct host_mem saved = TX_FRAME(saved_flags);

	emit_mov(e, HOST_SCRATCH, RAX);
	emit_u8(e, 0x9f); /* lahf */
	emit_op_reg(e, &seto, 0, RAX);
	emit_op_mem(e, &store16, RAX, &saved);
	emit_mov(e, RAX, HOST_SCRATCH);
}

void flags_save(struct tx *t)
{
	scratch_lost(t);
	flags_emit_save(&t->e);
	t->state = FLAGS_SAVED;
	t->unsaved = 0;
}

void flags_store_recipe(struct tx *t, u16 recipe)
{
	emit_store_imm(&t->e, TX_FRAME(saved_flags), recipe);
}

void flags_emit_restore(struct emit *e, u8 tmp)
{
	struct host_op movzx = { .map = 1, .opcode = 0xb7 };
	struct host_mem saved = TX_FRAME(saved_flags);

	emit_mov(e, tmp, RAX);
	emit_op_mem(e, &movzx, RAX, &saved);
	emit_u8(e, 0x04); /* add al, 0x7f: OF from seto's 1 */
	emit_u8(e, 0x7f);
	emit_u8(e, 0x9e); /* sahf */
	emit_mov(e, RAX, tmp);
}

void flags_restore(struct tx *t, u8 tmp)
{
	if (tmp == HOST_SCRATCH)
		scratch_lost(t);
	else
		scratch2_lost(t);
	flags_emit_restore(&t->e, tmp);
	t->state = FLAGS_HOST;
	t->recipe = 0;
}

void flags_free(struct tx *t)
{
	if (t->state == FLAGS_HOST && (t->live_in[t->k] || t->j->options.flags)) {
		if (t->recipe && (t->recipe_serves >> t->writer & 1))
			t->unsaved = t->recipe;
		else
			flags_save(t);
	}
	t->state = FLAGS_SAVED;
}

bool flags_recipe_serves(struct tx *t, s64 target)
{
	const struct flags_fate *f;

	if (t->state != FLAGS_HOST || !t->recipe || (t->moves[t->k] & t->recipe_regs))
		return false;
	f = flags_fate(t, target);
	return f->what == FATE_FAULTS && !(f->moved & t->recipe_regs);
}

void flags_free_for(struct tx *t, s64 target)
{
	if (t->state == FLAGS_HOST && flags_wanted_at(t, target)) {
		if (flags_recipe_serves(t, target))
			flags_store_recipe(t, t->recipe);
		else
			flags_save(t);
	}
	t->state = FLAGS_SAVED;
	t->unsaved = 0;
}

bool flags_must_restore(const struct tx *t)
{
	const struct insn *i = &t->insn[t->k];
	u16 writes = insn_writes_flags(i), through = t->live_out[t->k] & (u16)~writes;

	return t->state == FLAGS_SAVED && (insn_reads_flags(i) || (writes && through));
}

void flags_before(struct tx *t, u8 tmp)
{
	if (flags_must_restore(t))
		flags_restore(t, tmp);
}

bool flags_enter_saved(const struct tx *t)
{
	if (t->crosses || t->pages > 1 || !t->live_in[0])
		return true;
	for (u32 k = 0; k < t->n; k++) {
		u16 writes = insn_writes_flags(&t->insn[k]);

		if (access_frees(t, k))
			return true;
		if (insn_reads_flags(&t->insn[k]) || (writes && (t->live_out[k] & (u16)~writes)))
			return false;
		if (writes == FL_ARITH)
			break;
	}
	return true;
}

void flags_after(struct tx *t)
{
	const struct insn *i = &t->insn[t->k];

	if (!insn_writes_flags(i))
		return;
	t->state = FLAGS_HOST;
	t->unsaved = 0;
	t->writer = t->k;
	t->recipe = i->mem && !flags_keep_operand(t) ? 0 : t->recipe_of[t->k];
	t->recipe_regs = t->recipe_needs[t->k];
}

bool flags_keep_operand(const struct tx *t)
{
	return recipe_takes_operand(t->j, t->recipe_of[t->k]) && (t->recipe_serves >> t->k & 1);
}

void flags_moved(struct tx *t)
{
	const struct insn *i = &t->insn[t->k];

	if (t->recipe && !insn_writes_flags(i) && (t->moves[t->k] & t->recipe_regs))
		t->recipe = i->d->kind == KIND_LEA ? recipe_after_lea(t->j, t->recipe, i) : 0;
}
