/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Paths: blocks that go on behind computed jumps. A switch, as bytecode interpreters have it, jumps through a table at every
 * turn, and a block that ends there forgets all it has looked up. So computed jumps are counted; one that is hot is done by
 * the interpreter, which goes on for as many instructions as a block may have and notes where it came by. That way is
 * translated as one block: where it had a computed jump, the target is compared with what it was, and another one leaves
 * (branch.c). From then on the block stands in the place of the one that began there. It may lie in several pages; then it
 * asks at its start whether the others are mapped where they were, and dies with any. Called by run.c and translate.c.
 */
#include "../cpu/interp.h"
#include "../mmu.h"
#include "tx.h"

struct path_check {
	const struct code_page *home;
	const u8 *resume; /* behind the check */
	u16 offset;
	u32 pages;
	struct {
		s64 from_home;
		u64 gpa;
	} page[PATH_PAGES];
};

/* ---- its code ---- */

void path_emit_check(struct tx *t)
{
	const struct path_page *page = t->src->path->page;
	struct path_check *p = meta_alloc(t->j, sizeof(*p));

	if (!p) {
		t->e.full = true;
		return;
	}
	*p = (struct path_check){ .home = t->page, .offset = t->off[0], .pages = t->pages };
	for (u32 n = 1; n < t->pages; n++) {
		p->page[n].from_home = (s64)(page[n].la - page[0].la);
		p->page[n].gpa = page[n].gpa;
		tx_page_check(t, p->page[n].from_home, p->page[n].gpa, t->check_rel32[n]);
	}
	t->check = p;
	t->loop_entry = p->resume = emit_here(&t->e);
}

void path_emit_out(struct tx *t)
{
	u16 offset = t->off[t->n ? t->n - 1 : 0];

	if (t->hot) {
		emit_patch_here(&t->e, t->hot);
		emit_call(&t->e, t->j->stub_hot_at);
		emit_bytes(&t->e, &offset, sizeof(offset));
	}
	if (!t->check)
		return;
	for (u32 n = 1; n < t->pages; n++) {
		emit_patch_here(&t->e, t->check_rel32[n][0]);
		emit_patch_here(&t->e, t->check_rel32[n][1]);
	}
	emit_imm(&t->e, HOST_SCRATCH, (u64)(uintptr_t)t->check);
	emit_jmp(&t->e, t->j->stub_path);
}

/* What else knows a page's place is the jump cache, whose entries are no longer asked for: so the ITLB is filled here. */
const u8 *path_enter(struct cpu *c, const struct path_check *p)
{
	bool mmio, there = true;
	u32 error;
	u8 *host;
	u64 gpa;

	for (u32 n = 1; there && n < p->pages; n++)
		there = mmu_fetch(c, c->code_base + (u64)p->page[n].from_home, &gpa, &host, &error, &mmio) &&
			(gpa & PAGE_MASK) == p->page[n].gpa;
	return there && !p->home->dead ? p->resume : jit_interpret(c, c->code_base + p->offset);
}

/* ---- its way ---- */

void jit_reset_heat(struct jit *j, struct cpu *c)
{
	for (u32 n = 0; n < HEATS; n++)
		if (!c->heat[n])
			c->heat[n] = j->options.paths;
}

/* Notes c->rip; false: its page has no code, is too far away, or one too many. */
static bool path_note(struct jit *j, struct cpu *c, struct path *p)
{
	u64 la = c->rip & PAGE_MASK, gpa;
	struct path_page *page;
	u32 n = 0, error;
	u8 *host;
	bool mmio;

	while (n < p->pages && p->page[n].la != la)
		n++;
	page = &p->page[n];
	if (n == p->pages) {
		if (n == PATH_PAGES || !mmu_fetch(c, c->rip, &gpa, &host, &error, &mmio))
			return false;
		*page = (struct path_page){ la, gpa & PAGE_MASK, (const u8 *)((uintptr_t)host & PAGE_MASK),
					    page_find(j, gpa & PAGE_MASK) };
		if (!page->page || la - p->page[0].la + (1u << 30) > 2u << 30)
			return false;
		p->pages++;
	}
	p->rip[p->insns++] = c->rip;
	return true;
}

/* False: leave with *ret_why. */
static bool step(struct cpu *c, unsigned *ret_why)
{
	c->replay_pos = c->replay_count = 0;
	return interp_step(c, ret_why) != INTERP_LEAVE;
}

static bool goes_on(const struct cpu *c, u8 key)
{
	return !*c->poll && jit_fits(c) && block_key(c) == key;
}

static bool path_record(struct jit *j, struct cpu *c, struct path *p, unsigned *ret_why)
{
	u64 fetch_flushes = c->vcpu->mmu.fetch_flushes;
	u8 key = block_key(c);

	p->insns = p->pages = 0;
	while (p->insns < BLOCK_INSNS && goes_on(c, key) && (!p->insns || c->rip != p->rip[0]) && path_note(j, c, p))
		if (!step(c, ret_why))
			return false;
	p->rip[p->insns] = c->rip;
	if (c->vcpu->mmu.fetch_flushes != fetch_flushes)
		p->insns = 0; /* pages may be elsewhere now */
	return true;
}

static void path_make(struct jit *j, struct cpu *c, const struct path *p, u8 key)
{
	struct block_source s = { .page = p->page[0].page, .host = p->page[0].host, .path = p, .key = key };
	bool there = true;

	s.offset = p->rip[0] & ~PAGE_MASK;
	pthread_mutex_lock(&j->lock);
	for (u32 n = 0; n < p->pages; n++)
		there &= page_find(j, p->page[n].gpa) == p->page[n].page;
	if (there && block_translate(j, c, &s))
		j->stats.paths++;
	pthread_mutex_unlock(&j->lock);
	code_forget(j, c, p->rip[0], p->page[0].gpa | s.offset, key);
}

/* Most computed jumps only come by a few instructions and a call. */
#define TRIES 3

/* Does a block begin at c->rip that is no path yet, and may become one? */
static bool is_worth_it(struct jit *j, struct cpu *c)
{
	struct block *b;
	bool mmio;
	u32 error;
	u8 *host;
	u64 gpa;

	if (!goes_on(c, block_key(c)) || !mmu_fetch(c, c->rip, &gpa, &host, &error, &mmio))
		return false;
	b = block_known(j, gpa, block_key(c));
	if (b && b->is_path)
		code_forget(j, c, c->rip, gpa, block_key(c)); /* another vCPU made it */
	return b && !b->is_path && b->path_tries++ < TRIES;
}

unsigned path_follow(struct jit *j, struct cpu *c)
{
	u8 key = block_key(c);
	struct path p;
	unsigned why;

	jit_reset_heat(j, c);
	if (!step(c, &why))
		return why;
	if (!is_worth_it(j, c))
		return 0;
	if (!path_record(j, c, &p, &why))
		return why;
	if (p.insns && block_key(c) == key)
		path_make(j, c, &p, key);
	return 0;
}
