/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes one block: find its instructions, see which flags live where, emit each, then the parts out of line. Called by
 * run.c under jit.lock.
 */
#include "tx.h"

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
		if (!insn_is_branch(i))
			return system_insn(t, i);
		branch_insn(t, i);
		return true;
	}
}

/* The scratch registers are anybody's outside of these. */
static bool minds_scratch(const struct tx *t, const struct insn *i)
{
	switch (tx_is_inplace(t, t->k) ? KIND_INTERP : i->d->kind) {
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
		if (tx_is_inplace(t, t->k)) {
			inplace_insn(t, i, tx_ends_block(t, t->k));
		} else if (!emit_insn(t, i)) {
			t->inplace |= 1ull << t->k;
			return false;
		}
		flags_moved(t);
		if (!minds_scratch(t, i)) {
			scratch_lost(t);
			scratch2_lost(t);
		}
		if (t->k + 1 < t->n && t->in_page[t->k + 1] != t->in_page[t->k])
			branch_next_page(t);
	}
	stack_settle(t);
	t->k = t->n ? t->n - 1 : 0;
	if (t->ends_interp)
		edge_interp(t, (u16)t->end);
	else if (!tx_ends_block(t, t->k))
		edge_to(t, t->end);
	return true;
}

static void emit_slow_sites(struct tx *t)
{
	for (u32 n = 0; n < t->slow_count; n++) {
		const struct slow_site *s = &t->slow[n];
		struct slow_info info = { s->guest, s->size, s->own, s->what, 0, 0 };
		bool group = s->what & SLOW_GROUP;
		const u8 *stub = t->j->stub_slow[t->key & KEY_VIEW][slow_kind(s->what)][group];

		if (s->recipe) {
			emit_patch_here(&t->e, s->jump);
			flags_store_recipe(t, s->recipe);
		}
		while (!t->e.full && ((uintptr_t)(t->e.p + 5) & 3)) /* jit_slow_access() writes one of its words */
			emit_u8(&t->e, 0x90);
		if (!s->recipe)
			emit_patch_here(&t->e, s->jump);
		emit_call(&t->e, s->what & SLOW_INDEX ? t->j->stub_alone : stub);
		info.retry = (s32)(s->retry - emit_here(&t->e));
		emit_bytes(&t->e, &info, group ? sizeof(info) : offsetof(struct slow_info, alone));
	}
}

static void emit_rip(struct tx *t, s32 target)
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
		} else if (b == self && t->loop_entry && s->saved) {
			emit_patch(s->rel32, t->e.exec, t->loop_entry);
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

/* Is that page still where it was? The two ways out are taken with flags saved. */
void tx_page_check(struct tx *t, s64 from_home, u64 gpa, u8 *ret_rel32[2])
{
	struct emit *e = &t->e;
	size_t table = offsetof(struct cpu, itlb) + ((t->key & KEY_VIEW) == VIEW_USER ? sizeof(t->c->itlb[0]) : 0);
	struct host_mem entry = { BASE_NONE, HOST_SCRATCH2, 3, true, false, 0 };
	struct host_mem triple = { HOST_SCRATCH2, HOST_SCRATCH2, 1, false, false, 0 };

	_Static_assert(sizeof(struct itlb_entry) == 24, "the index is scaled by 3 * 8");
	emit_rip(t, (s32)from_home);
	emit_mov32(e, HOST_SCRATCH2, HOST_SCRATCH);
	emit_shift32(e, SHIFT_SHR, HOST_SCRATCH2, 12);
	emit_alu_imm(e, ALU_AND, false, HOST_SCRATCH2, ITLB_SIZE - 1);
	emit_lea(e, HOST_SCRATCH2, triple);
	entry.disp = (s32)(table + offsetof(struct itlb_entry, tag));
	emit_alu_load(e, ALU_CMP, HOST_SCRATCH, entry);
	ret_rel32[0] = emit_jcc(e, COND_NE, NULL);
	emit_imm(e, HOST_SCRATCH, gpa);
	entry.disp = (s32)(table + offsetof(struct itlb_entry, gpa));
	emit_alu_load(e, ALU_CMP, HOST_SCRATCH, entry);
	ret_rel32[1] = emit_jcc(e, COND_NE, NULL);
}

/* The instruction is interpreted, which also fills the ITLB, if the next page is not where it was. */
static void emit_crossing_check(struct tx *t)
{
	u8 *rel32[2];

	tx_page_check(t, PAGE_SIZE, t->src->next->gpa, rel32);
	for (u32 n = 0; n < 2; n++)
		t->interp[t->interp_count++] = (struct interp_site){ rel32[n], t->off[0] };
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
		if (t->pages > 1)
			path_emit_check(t);
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
		t->e = (struct emit){ start, j->code_w + j->options.code, j->code_x - j->code_w, false };
		group_analyse(t);
		flags_analyse(t);
		b->wants_flags = t->live_in[0];
		emit_entries(t, b);
	} while (!emit_body(t));
	branch_sides(t);
	emit_slow_sites(t);
	branch_miss(t);
	path_emit_out(t);
	emit_interp_sites(t);
	emit_edges(t, b);
	if (t->e.full || !keep_sites(t, b))
		return false;
	j->code_used = b->code_end = (u32)(t->e.p - j->code_w);
	j->stats.code_bytes = j->code_used;
	return true;
}

static const u8 *host_of(const struct tx *t, u32 k)
{
	return t->in_page[k] ? t->src->path->page[t->in_page[k]].host : t->host;
}

static struct code_page *page_of(const struct tx *t, u32 k)
{
	return t->in_page[k] ? t->src->path->page[t->in_page[k]].page : t->page;
}

static u16 bytes_here(const struct tx *t, u32 k)
{
	return t->crosses ? (u16)(PAGE_SIZE - t->off[k]) : t->insn[k].len;
}

/* Is memory still what was decoded? Asked after the lines were hashed: a device's write is then in neither or seen. */
static bool unchanged(const struct tx *t)
{
	for (u32 k = 0; k < t->n; k++)
		if (__builtin_memcmp(t->insn[k].bytes, host_of(t, k) + t->off[k], bytes_here(t, k)))
			return false;
	return !t->crosses ||
	       !__builtin_memcmp(t->insn[0].bytes + bytes_here(t, 0), t->src->next_host, t->insn[0].len - bytes_here(t, 0));
}

/* All pages that the block lies in are watched, and it ends with any of them. */
static bool cover(struct tx *t, u16 offset)
{
	page_cover(t->page, t->host, offset, 1);
	for (u32 k = 0; k < t->n; k++)
		page_cover(page_of(t, k), host_of(t, k), t->off[k], bytes_here(t, k));
	for (u32 n = 1; n < t->pages; n++)
		if (!page_add_user(t->j, t->src->path->page[n].page, t->page))
			return false;
	if (!t->crosses)
		return unchanged(t);
	page_cover(t->src->next, t->src->next_host, 0, (u16)(t->end - PAGE_SIZE));
	return unchanged(t) && page_add_user(t->j, t->src->next, t->page);
}

struct block *block_translate(struct jit *j, struct cpu *c, const struct block_source *s)
{
	struct tx *t = j->tx;
	struct block *b = meta_alloc(j, sizeof(*b)), **bucket = &s->page->blocks[s->offset % OFF_BUCKETS];

	if (!b || j->block_count == MAX_BLOCKS)
		return NULL;
	__builtin_memset(t, 0, offsetof(struct tx, insn));
	t->j = j;
	t->c = c;
	t->src = s;
	t->page = s->page;
	t->host = s->host;
	t->key = s->key;
	if (!s->path)
		discover(t, s->offset);
	else if (!discover_path(t))
		return NULL;
	code_ahead(j);
	*b = (struct block){ .page = s->page, .offset = s->offset, .key = s->key, .is_path = s->path };
	if (!emit_block(t, b))
		return NULL;
	j->blocks[j->block_count] = b;
	__atomic_store_n(&j->block_count, j->block_count + 1, __ATOMIC_RELEASE);
	if (!cover(t, s->offset))
		return NULL;
	b->insns = (u16)t->n;
	b->next = *bucket;
	__atomic_store_n(bucket, b, __ATOMIC_RELEASE); /* block_find() needs no lock */
	j->stats.blocks++;
	return b;
}
