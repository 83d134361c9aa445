/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Instructions that only the interpreter knows, without leaving translated code: a block keeps them decoded and calls their
 * exec function through a fixed stub. Where it goes on - in the block, or at what the jump cache has for the new RIP - is
 * decided afterwards from the state the instruction left; the dispatcher gets what is not usual. Faults longjmp to
 * jit_run(). Page faults that a memory access of translated code meets are delivered from here too. translate.c emits the
 * calls, the stubs come here.
 */
#include "../cpu/interp.h"
#include "../mmu.h"
#include "tx.h"
#include "x86-ops.h"

struct inplace {
	struct insn i;
	const u8 *resume; /* the code behind it, in FLAGS_SAVED; NULL: the block ends here */
	u16 offset;	  /* in the page */
	u8 key;
};

bool inplace_ends_block(const struct insn *i)
{
	/* A TLB or mode change would end the block, but of these most change neither: see inplace_next(). */
	return (i->d->attr & ATTR_END) && i->d->op != INSN_WRMSR;
}

void inplace_insn(struct tx *t, const struct insn *i, bool ends_block)
{
	struct inplace *p = meta_alloc(t->j, sizeof(*p));

	if (!p) {
		t->e.full = true;
		return;
	}
	flags_free(t);
	*p = (struct inplace){ .i = *i, .offset = t->off[t->k], .key = t->key };
	emit_imm(&t->e, HOST_SCRATCH, (u64)(uintptr_t)p);
	emit_jmp(&t->e, t->j->stub_inplace);
	if (!ends_block)
		p->resume = emit_here(&t->e);
}

/* Code for c->rip under the state that is now; else what leaves to the dispatcher. */
static const u8 *code_next(struct jit *j, struct cpu *c)
{
	const u8 *code;

	if (*c->poll || unlikely(!j->options.jumps) || !jit_fits(c) || ((block_key(c) ^ c->jit_key) & KEY_VEC))
		return j->stub_away;
	code = cpu_get_jump(c);
	if (!code)
		code = code_known(j, c);
	if (!code)
		return j->stub_away;
	c->code_base = c->rip & PAGE_MASK;
	c->rflags &= ~(u64)FL_RF;
	return code;
}

const u8 *jit_next(struct cpu *c, u64 rip)
{
	c->rip = rip;
	return code_next(c->vcpu->vm->jit, c);
}

static void state_in(struct cpu *c, u64 rip)
{
	c->rip = rip;
	flags_in(c);
	c->replay_pos = c->replay_count = 0;
}

const u8 *jit_inplace(struct cpu *c, const struct inplace *p)
{
	u64 fetch_flushes = c->vcpu->mmu.fetch_flushes, rip = c->code_base + p->offset;

	state_in(c, rip);
	if (unlikely(c->vcpu->vm->jit->lockstep))
		return c->vcpu->vm->jit->stub_interp_here; /* its shadow stopped here */
	interp_decoded(c, &p->i);
	c->saved_flags = flags_image(c->rflags);
	/* A poll word that is set may mean that the block is gone. */
	if (!*c->poll && p->resume && c->rip == rip + p->i.len && c->view == (p->key & KEY_VIEW) && jit_fits(c) &&
	    c->vcpu->mmu.fetch_flushes == fetch_flushes)
		return p->resume;
	return code_next(c->vcpu->vm->jit, c);
}

const u8 *jit_interpret(struct cpu *c, u64 rip)
{
	struct jit *j = c->vcpu->vm->jit;

	c->vcpu->stat.jit.interp_exits++;
	state_in(c, rip);
	if (unlikely(j->lockstep))
		return j->stub_interp_here;
	interp_here(c);
	c->saved_flags = flags_image(c->rflags);
	return code_next(j, c);
}

const u8 *jit_page_fault(struct cpu *c, u64 la, u32 error, u16 offset)
{
	state_in(c, c->code_base + offset);
	interp_page_fault(c, la, error);
	c->saved_flags = flags_image(c->rflags);
	return code_next(c->vcpu->vm->jit, c);
}
