/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes one block: find its instructions, see which flags live where, emit each, then the parts out of line. Called by
 * run.c under jit.lock.
 */
#include "../cpu/host.h"
#include "tx.h"
#include "x86-ops.h"

static bool is_branch(const struct insn *i)
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

static bool is_inplace(const struct tx *t, u32 k)
{
	return t->inplace >> k & 1;
}

static bool ends_block(const struct tx *t, u32 k)
{
	const struct insn *i = &t->insn[k];

	return is_branch(i) || system_ends_block(i) || transfer_possible(t, i) || (is_inplace(t, k) && inplace_ends_block(i));
}

static bool translatable(struct tx *t, const struct insn *i)
{
	const struct insn_desc *d = i->d;

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
		return is_branch(i) ? branch_possible(i) : bits_possible(i) || string_possible(i) || transfer_possible(t, i) ||
							      system_possible(t, i);
	}
}

/* From a copy, so that insn.bytes are what was decoded whoever writes the page meanwhile. */
static enum decode_result decode_here(struct tx *t, struct insn *i, u16 off)
{
	size_t avail = PAGE_SIZE - off < INSN_MAX ? PAGE_SIZE - off : INSN_MAX;
	u8 bytes[INSN_MAX + 1];

	if (likely(avail == INSN_MAX && off <= PAGE_SIZE - sizeof(bytes)))
		__builtin_memcpy(bytes, t->host + off, sizeof(bytes)); /* of constant size: two moves */
	else
		__builtin_memcpy(bytes, t->host + off, avail);
	return insn_decode(i, bytes, avail, MODE_LONG64);
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
	return insn_decode(i, bytes, INSN_MAX, MODE_LONG64);
}

static bool discover_crossing(struct tx *t, u16 off)
{
	if (decode_crossing(t, &t->insn[0], off) != DECODE_OK)
		return false;
	t->inplace = !translatable(t, &t->insn[0]);
	t->crosses = true;
	t->n = 1;
	t->off[0] = off;
	t->end = (u16)(off + t->insn[0].len);
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

	if (is_inplace(t, k) || (t->key & KEY_ALONE) || (!jcc && (i->d->kind != KIND_JMP || i->d->opnd[0].kind != OP_J)))
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

static void discover(struct tx *t, u16 offset)
{
	u32 sides = 0, copies = 1;
	s64 off = offset;

	for (t->n = 0; t->n < t->j->options.block && off != BLOCK_ENDS && off < (s64)PAGE_SIZE; t->n++) {
		struct insn *i = &t->insn[t->n];
		enum decode_result r = decode_here(t, i, (u16)off);

		if (r == DECODE_MORE && (t->n || discover_crossing(t, (u16)off)))
			break; /* in a block of its own */
		t->ends_interp = r != DECODE_OK;
		if (t->ends_interp || (t->n == BLOCK_INSNS - 1 && i->d->op == INSN_STI)) /* which needs one behind it */
			break;
		t->off[t->n] = (u16)off;
		t->inplace |= (u64)!translatable(t, i) << t->n;
		off = ends_block(t, t->n) ? way_on(t, t->n, &copies, &sides) : off + i->len;
	}
	if (t->n && ends_block(t, t->n - 1))
		t->ends_interp = false; /* its edges are its own */
	if (!t->crosses)
		t->end = t->n ? (u16)(t->off[t->n - 1] + t->insn[t->n - 1].len) : offset;
}

static bool emit_insn(struct tx *t, const struct insn *i)
{
	switch (i->d->kind) {
	case KIND_COPY:
		return copy_insn(t, i);
	case KIND_LEA:
		return lea_insn(t, i);
	case KIND_PUSH:
		return push_insn(t, i);
	case KIND_POP:
		return pop_insn(t, i);
	case KIND_LEAVE:
		return leave_insn(t, i);
	case KIND_NOP:
		return true;
	default:
		if (bits_possible(i))
			return bits_insn(t, i);
		if (string_possible(i))
			return string_insn(t, i);
		if (transfer_possible(t, i))
			return transfer_insn(t, i);
		if (!is_branch(i))
			return system_insn(t, i);
		branch_insn(t, i);
		return true;
	}
}

/* The scratch registers are anybody's outside of these. */
static bool minds_scratch(const struct tx *t, const struct insn *i)
{
	switch (is_inplace(t, t->k) ? KIND_INTERP : i->d->kind) {
	case KIND_COPY:
	case KIND_LEA:
	case KIND_PUSH:
	case KIND_POP:
	case KIND_NOP:
	case KIND_JCC:
	case KIND_JMP:
		return true;
	default:
		return false;
	}
}

/* False: the interpreter turned out to have to do an instruction, on which the analyses had counted. */
static bool emit_body(struct tx *t)
{
	scratch_lost(t);
	scratch2_lost(t);
	for (t->k = 0; t->k < t->n; t->k++) {
		struct insn *i = &t->insn[t->k];

		if (t->rsp_lag && !stack_may_lag(t, i))
			stack_settle(t);
		if (is_inplace(t, t->k)) {
			inplace_insn(t, i, ends_block(t, t->k));
		} else if (!emit_insn(t, i)) {
			t->inplace |= 1ull << t->k;
			return false;
		}
		flags_moved(t);
		if (!minds_scratch(t, i)) {
			scratch_lost(t);
			scratch2_lost(t);
		}
	}
	stack_settle(t);
	t->k = t->n ? t->n - 1 : 0;
	if (t->ends_interp)
		edge_interp(t, t->end);
	else if (!ends_block(t, t->k))
		edge_to(t, t->end);
	return true;
}

static void emit_slow_sites(struct tx *t)
{
	for (u32 n = 0; n < t->slow_count; n++) {
		const struct slow_site *s = &t->slow[n];
		struct slow_info info = { s->guest, s->size, s->own, s->what, 0, 0 };
		bool group = s->what & SLOW_GROUP;

		if (s->recipe) {
			emit_patch_here(&t->e, s->jump);
			flags_store_recipe(t, s->recipe);
		}
		while (!t->e.full && ((uintptr_t)(t->e.p + 5) & 3)) /* jit_slow_access() writes one of its words */
			emit_u8(&t->e, 0x90);
		if (!s->recipe)
			emit_patch_here(&t->e, s->jump);
		emit_call(&t->e, t->j->stub_slow[t->key & KEY_VIEW][slow_kind(s->what)][group]);
		info.retry = (s32)(s->retry - emit_here(&t->e));
		if (group)
			emit_bytes(&t->e, &info, sizeof(info));
		else
			emit_bytes(&t->e, &info, offsetof(struct slow_info, alone));
	}
}

static void emit_rip(struct tx *t, u16 target)
{
	emit_load(&t->e, HOST_SCRATCH, TX_FRAME(code_base));
	emit_lea(&t->e, HOST_SCRATCH, mem_base(HOST_SCRATCH, target));
}

/* Leaves to C, to go on at this offset; flags are saved or dead. */
static void emit_exit(struct tx *t, const u8 *stub, u16 offset)
{
	emit_call(&t->e, stub);
	emit_bytes(&t->e, &offset, sizeof(offset));
}

static void emit_interp_sites(struct tx *t)
{
	for (u32 n = 0; n < t->interp_count; n++) {
		emit_patch_here(&t->e, t->interp[n].rel32);
		emit_exit(t, t->j->stub_interp_at, t->interp[n].guest);
	}
}

static void emit_link(struct tx *t, const struct edge_site *s)
{
	struct link l = { s->target, t->key & (u8)~KEY_ALONE, s->saved, 0, t->j->block_count };

	emit_patch_here(&t->e, s->rel32);
	emit_call(&t->e, t->j->stub_link[s->saved ? FLAGS_SAVED : FLAGS_HOST]);
	l.rel32 = (s32)(s->rel32 - t->e.p);
	emit_bytes(&t->e, &l, sizeof(l));
}

static void emit_edges(struct tx *t, const struct block *self)
{
	for (u32 n = 0; n < t->edge_count; n++) {
		const struct edge_site *s = &t->edge[n];
		u8 key = t->key & (u8)~KEY_ALONE;
		const struct block *b = s->target == self->offset && t->key == key ? self : block_find(t->page, s->target, key);

		if (!t->j->options.links)
			b = NULL;

		if (s->poll_exit) {
			emit_patch_here(&t->e, s->rel32);
			emit_exit(t, t->j->stub_dispatch_at, s->target);
		} else if (b) {
			emit_patch(s->rel32, t->e.exec, jit_exec(t->j, s->saved ? b->entry_saved : b->entry_host));
		} else {
			emit_link(t, s);
		}
	}
}

static bool keep_sites(struct tx *t, struct block *b)
{
	if (!t->site_count)
		return true;
	b->sites = meta_alloc(t->j, t->site_count * sizeof(*b->sites));
	if (!b->sites)
		return false;
	__builtin_memcpy(b->sites, t->site, t->site_count * sizeof(*b->sites));
	b->site_count = (u16)t->site_count;
	return true;
}

/* Is the next page still where it was? Else the instruction is interpreted, which also fills the ITLB. */
static void emit_crossing_check(struct tx *t)
{
	struct emit *e = &t->e;
	size_t table = offsetof(struct cpu, itlb) + ((t->key & KEY_VIEW) == VIEW_USER ? sizeof(t->c->itlb[0]) : 0);
	struct host_mem entry = { BASE_NONE, HOST_SCRATCH2, 3, true, false, 0 };
	struct host_mem triple = { HOST_SCRATCH2, HOST_SCRATCH2, 1, false, false, 0 };

	_Static_assert(sizeof(struct itlb_entry) == 24, "the index is scaled by 3 * 8");
	emit_rip(t, PAGE_SIZE);
	emit_mov32(e, HOST_SCRATCH2, HOST_SCRATCH);
	emit_shift32(e, SHIFT_SHR, HOST_SCRATCH2, 12);
	emit_alu_imm(e, ALU_AND, false, HOST_SCRATCH2, ITLB_SIZE - 1);
	emit_lea(e, HOST_SCRATCH2, triple);
	entry.disp = (s32)(table + offsetof(struct itlb_entry, tag));
	emit_alu_load(e, ALU_CMP, HOST_SCRATCH, entry);
	t->interp[t->interp_count++] = (struct interp_site){ emit_jcc(e, COND_NE, NULL), t->off[0] };
	emit_imm(e, HOST_SCRATCH, t->src->next->gpa);
	entry.disp = (s32)(table + offsetof(struct itlb_entry, gpa));
	emit_alu_load(e, ALU_CMP, HOST_SCRATCH, entry);
	t->interp[t->interp_count++] = (struct interp_site){ emit_jcc(e, COND_NE, NULL), t->off[0] };
}

static void emit_entries(struct tx *t, struct block *b)
{
	struct jit *j = t->j;

	b->start = b->entry_saved = b->entry_host = (u32)(t->e.p - j->code_w);
	t->state = FLAGS_SAVED;
	if (flags_enter_saved(t)) {
		if (!t->n || t->live_in[0]) { /* with none it goes to the interpreter at once, which wants them all */
			flags_save(t);
			b->entry_saved = (u32)(t->e.p - j->code_w);
		}
		if (t->crosses)
			emit_crossing_check(t);
	} else {
		flags_emit_restore(&t->e, HOST_SCRATCH);
		b->entry_host = (u32)(t->e.p - j->code_w);
		t->state = FLAGS_HOST;
	}
}

static bool emit_block(struct tx *t, struct block *b)
{
	struct jit *j = t->j;
	u8 *start = j->code_w + ((j->code_used + 15) & ~15u);

	do {
		__builtin_memset(&t->state, 0, offsetof(struct tx, insn) - offsetof(struct tx, state));
		t->e = (struct emit){ start, j->code_w + j->options.code - 4, j->code_x - j->code_w, false };
		group_analyse(t);
		flags_analyse(t);
		b->wants_flags = t->live_in[0];
		emit_entries(t, b);
	} while (!emit_body(t));
	branch_sides(t);
	emit_slow_sites(t);
	branch_miss(t);
	emit_interp_sites(t);
	emit_edges(t, b);
	if (t->e.full || !keep_sites(t, b))
		return false;
	j->code_used = b->code_end = (u32)(t->e.p - j->code_w);
	j->stats.code_bytes = j->code_used;
	return true;
}

static u16 bytes_here(const struct tx *t, u32 k)
{
	return t->crosses ? (u16)(PAGE_SIZE - t->off[k]) : t->insn[k].len;
}

static inline u64 load8(const u8 *p)
{
	u64 v;

	__builtin_memcpy(&v, p, 8);
	return v;
}

/* Are the bytes of instruction k here still what was decoded? In words, where there are as many. */
static bool is_unchanged(const struct tx *t, u32 k)
{
	const u8 *a = t->insn[k].bytes, *b = t->host + t->off[k];
	unsigned n = bytes_here(t, k);

	if (unlikely(t->off[k] > PAGE_SIZE - 8))
		return !__builtin_memcmp(a, b, n);
	if (n < 8)
		return !((load8(a) ^ load8(b)) << (64 - 8 * n));
	return load8(a) == load8(b) && load8(a + n - 8) == load8(b + n - 8);
}

/* Is memory still what was decoded? Asked after the lines were hashed: a device's write is then in neither or seen. */
static bool unchanged(const struct tx *t)
{
	for (u32 k = 0; k < t->n; k++)
		if (!is_unchanged(t, k))
			return false;
	return !t->crosses ||
	       !__builtin_memcmp(t->insn[0].bytes + bytes_here(t, 0), t->src->next_host, t->insn[0].len - bytes_here(t, 0));
}

/* Both pages of a crossing instruction are watched, and the block ends with either. */
static bool cover(struct tx *t, u16 offset)
{
	page_cover(t->page, t->host, offset, 1);
	for (u32 k = 0; k < t->n; k++)
		page_cover(t->page, t->host, t->off[k], bytes_here(t, k));
	if (!t->crosses)
		return unchanged(t);
	page_cover(t->src->next, t->src->next_host, 0, (u16)(t->end - PAGE_SIZE));
	return unchanged(t) && page_add_user(t->j, t->src->next, t->page);
}

struct block *block_translate(struct jit *j, struct cpu *c, const struct block_source *s)
{
	struct tx *t = j->tx;
	struct block *b = meta_alloc(j, sizeof(*b));

	if (!b || j->block_count == MAX_BLOCKS)
		return NULL;
	__builtin_memset(t, 0, offsetof(struct tx, insn));
	t->j = j;
	t->c = c;
	t->src = s;
	t->page = s->page;
	t->host = s->host;
	t->key = s->key;
	discover(t, s->offset);
	code_ahead(j);
	*b = (struct block){ .page = s->page, .offset = s->offset, .key = s->key };
	if (!emit_block(t, b))
		return NULL;
	j->blocks[j->block_count] = b;
	__atomic_store_n(&j->block_count, j->block_count + 1, __ATOMIC_RELEASE);
	if (!cover(t, s->offset))
		return NULL;
	b->insns = (u16)t->n;
	block_add(s->page, b);
	j->stats.blocks++;
	return b;
}
