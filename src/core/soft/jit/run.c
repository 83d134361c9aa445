/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The dispatcher: finds or makes the block at RIP, runs it, and handles why it came back; interprets what was not
 * translated. Also what the rest of the core calls: invalidation, verification, signals. See jit.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <ucontext.h>
#include "../cpu/host.h"
#include "../cpu/interp.h"
#include "../mmu.h"
#include "lockstep.h"
#include "tx.h"

#define AUX_HWCAP2 26 /* <sys/auxv.h> clashes with the page-fault bits of state.h */
#define HWCAP2_FSGSBASE_BIT (1u << 1)
unsigned long getauxval(unsigned long type);

static bool host_fits(void)
{
	return getauxval(AUX_HWCAP2) & HWCAP2_FSGSBASE_BIT;
}

struct jit *jit_create(const struct jit_options *o)
{
	struct jit *j;

	if (!host_fits())
		return NULL;
	j = calloc(1, sizeof(*j));
	if (!j)
		return NULL;
	pthread_mutex_init(&j->lock, NULL);
	j->options = *o;
	j->testing = o->tlb || o->events || !o->links || o->lockstep;
	j->random = o->seed;
	j->tx = calloc(1, sizeof(*j->tx));
	if (!j->tx || !code_create(j) || !stubs_emit(j) || (o->lockstep && !lockstep_create(j))) {
		jit_destroy(j);
		return NULL;
	}
	return j;
}

void jit_destroy(struct jit *j)
{
	if (!j)
		return;
	lockstep_destroy(j);
	code_destroy(j);
	free(j->tx);
	pthread_mutex_destroy(&j->lock);
	free(j);
}

void jit_flush(struct jit *j)
{
	pthread_mutex_lock(&j->lock);
	for (u32 h = 0; h < PAGE_HASH; h++)
		j->pages[h] = NULL;
	j->meta_used = 0;
	j->block_count = 0;
	j->code_used = j->code_base;
	j->stats.flushes++;
	pthread_mutex_unlock(&j->lock);
}

/* Memory for code or records ran out: everything goes, with all vCPUs outside of translated code. */
void jit_flush_world(struct jit *j, struct cpu *c)
{
	struct vm *vm = c->vcpu->vm;

	vm_stop_world(vm, c->vcpu);
	for (u32 n = 0; n < vm->memory.count; n++)
		__builtin_memset(vm->memory.slot[n].code_pages, 0, vm->memory.slot[n].size >> 12);
	jit_flush(j);
	for (u32 n = 0; n < vm->vcpu_count; n++)
		vcpu_request(vm->vcpu[n], REQ_JUMP_FLUSH);
	cpu_flush_code(c);
	vm_resume_world(vm);
}

static struct code_page *new_code_page(struct jit *j, struct cpu *c, u64 gpa)
{
	struct vm *vm = c->vcpu->vm;
	bool smp = vm->vcpu_count > 1;
	struct code_page *p = NULL;
	struct memslot *s;

	if (smp)
		vm_stop_world(vm, c->vcpu);
	s = mem_slot(&vm->memory, gpa, NULL); /* not before: slots may change while we wait to stop the world */
	if (s) {
		__atomic_store_n(&s->code_pages[(gpa - s->gpa) >> 12], 1, __ATOMIC_SEQ_CST);
		for (u32 n = 0; n < vm->vcpu_count; n++)
			mmu_close_page(&vm->vcpu[n]->cpu, gpa);
		pthread_mutex_lock(&j->lock);
		p = page_find(j, gpa);
		if (!p)
			p = page_create(j, gpa);
		pthread_mutex_unlock(&j->lock);
	}
	if (smp)
		vm_resume_world(vm);
	return p;
}

/*
 * The page behind c->rip's, when an instruction at this offset may reach into it. False: its code page had to be made,
 * which let the world move: come again.
 */
static bool next_page(struct jit *j, struct cpu *c, struct block_source *s)
{
	u64 gpa;
	u8 *host;
	u32 error;
	bool mmio;

	if (s->offset <= PAGE_SIZE - INSN_MAX || !mmu_fetch(c, (c->rip & PAGE_MASK) + PAGE_SIZE, &gpa, &host, &error, &mmio))
		return true;
	pthread_mutex_lock(&j->lock);
	s->next = page_find(j, gpa & PAGE_MASK);
	pthread_mutex_unlock(&j->lock);
	if (!s->next) {
		if (!new_code_page(j, c, gpa & PAGE_MASK))
			jit_flush_world(j, c);
		return false;
	}
	s->next_host = (const u8 *)((uintptr_t)host & PAGE_MASK);
	return true;
}

/* Block at gpa in a page that has code already; NULL: it cannot be made now. */
static struct block *block_here(struct jit *j, struct cpu *c, u64 gpa, const u8 *host_page, u8 key)
{
	struct block_source s = { .host = host_page, .offset = gpa & ~PAGE_MASK, .key = key };
	struct block *b = NULL;

	pthread_mutex_lock(&j->lock);
	s.page = page_find(j, gpa & PAGE_MASK);
	if (s.page)
		b = block_find(s.page, s.offset, key);
	if (s.page && !b)
		b = block_translate(j, c, &s);
	pthread_mutex_unlock(&j->lock);
	return b;
}

/* Block at gpa, translated now if need be; NULL: pages were made or memory was flushed, come again. */
static struct block *block_at(struct jit *j, struct cpu *c, u64 gpa, const u8 *host_page, u8 key)
{
	struct block_source s = { .host = host_page, .offset = gpa & ~PAGE_MASK, .key = key };
	struct block *b = NULL;

	if (!next_page(j, c, &s))
		return NULL;
	pthread_mutex_lock(&j->lock);
	s.page = page_find(j, gpa & PAGE_MASK);
	if (s.page)
		b = block_find(s.page, s.offset, key);
	if (s.page && !b && (!s.next || !s.next->dead))
		b = block_translate(j, c, &s);
	pthread_mutex_unlock(&j->lock);
	if (b)
		return b;
	if ((s.page && !(s.next && s.next->dead)) || !new_code_page(j, c, gpa & PAGE_MASK))
		jit_flush_world(j, c);
	return NULL;
}

static struct code_entry *code_entry(struct cpu *c, u64 gpa, u8 key, u64 *ret_key)
{
	*ret_key = (gpa << 8 | key) + 1;
	return &c->code[(gpa ^ gpa >> 12 ^ (u64)key << 6) % CODE_ENTRIES];
}

/* Code for c->rip that was entered before under this state, through ITLB and code cache. */
const u8 *code_known(struct jit *j, struct cpu *c)
{
	const struct code_entry *known;
	u64 gpa, key, code;
	u8 *host;
	u32 error;
	bool mmio;

	j->stats.jump_misses++;
	if (!mmu_fetch(c, c->rip, &gpa, &host, &error, &mmio))
		return NULL;
	known = code_entry(c, gpa, block_key(c), &key);
	if (known->key != key || known->code >> CODE_AGE_SHIFT != c->code_age)
		return NULL;
	code = known->code & ((1ull << CODE_AGE_SHIFT) - 1);
	if (likely(j->options.jumps))
		cpu_put_jump(c, c->view, c->rip, code);
	return (const u8 *)(uintptr_t)code;
}

/* Code to enter at c->rip in FLAGS_SAVED; NULL: interpret one instruction, or take the requests that came meanwhile. */
static const u8 *code_at_rip(struct jit *j, struct cpu *c)
{
	const struct jump_entry *e = &c->set->jump[c->view][jump_index(c->rip)];
	const u8 *code = e->rip == c->rip ? (const u8 *)(uintptr_t)e->code : code_known(j, c);
	struct block *b;
	u64 gpa, key;
	u8 *host;
	u32 error;
	bool mmio;

	while (!code) {
		if (!mmu_fetch(c, c->rip, &gpa, &host, &error, &mmio))
			return NULL;
		j->stats.lookups++;
		b = block_at(j, c, gpa, (const u8 *)((uintptr_t)host & PAGE_MASK), block_key(c));
		if (b) {
			code = jit_exec(j, b->entry_saved);
			*code_entry(c, gpa, block_key(c), &key) =
				(struct code_entry){ key, (u64)(uintptr_t)code | (u64)c->code_age << CODE_AGE_SHIFT };
			if (likely(j->options.jumps))
				cpu_put_jump(c, c->view, c->rip, (u64)(uintptr_t)code);
		} else if (*c->poll) {
			return NULL; /* the world moved: what the ITLB says may be void */
		}
	}
	return code;
}

/* A direct jump was taken for the first time: join it to its block, if both still stand. */
static void link_edge(struct jit *j, const struct link *l, u64 flushes)
{
	const struct block *from, *to = NULL;

	pthread_mutex_lock(&j->lock);
	from = j->options.links && j->stats.flushes == flushes ? block_of_code(j, (u32)((const u8 *)l - j->code_x)) : NULL;
	if (from && !from->page->dead)
		to = block_find(from->page, l->target, l->key);
	if (to) {
		emit_patch(j->code_w + ((const u8 *)l - j->code_x) + l->rel32, j->code_x - j->code_w,
			   jit_exec(j, l->saved ? to->entry_saved : to->entry_host));
		j->stats.links++;
	}
	pthread_mutex_unlock(&j->lock);
}

unsigned run_code(struct jit *j, struct cpu *c, const u8 *code)
{
	unsigned reason;

	c->code_base = c->rip & PAGE_MASK;
	c->saved_flags = flags_image(c->rflags);
	c->rflags &= ~(u64)FL_RF;
	reason = j->enter(c, code);
	flags_in(c);
	return reason;
}

static unsigned run_loop(struct jit *j, struct cpu *c)
{
	const struct link *pending = NULL;
	u64 flushes = 0;
	unsigned why;

	while (!*c->poll && c->mode == MODE_LONG64 && !(c->rflags & FL_TF)) {
		u8 key = block_key(c);
		const u8 *code;

		if (unlikely(j->testing))
			jit_inject(j, c, false);
		if ((key ^ c->jit_key) & KEY_VEC) {
			cpu_flush_jump(c);
			c->jit_key = key;
		}
		code = jit_fits(c) ? code_at_rip(j, c) : NULL;
		j->stats.unfit += !code;
		if (pending)
			link_edge(j, pending, flushes);
		pending = NULL;
		if (code) {
			switch (unlikely(j->lockstep) ? lockstep_run(j, c, code) : run_code(j, c, code)) {
			case EXIT_DISPATCH:
				continue;
			case EXIT_LINK:
				pending = (const struct link *)(uintptr_t)c->cur_block;
				flushes = j->stats.flushes;
				continue;
			case EXIT_DIVERGED:
				return LEAVE_ERROR;
			default:
				break;
			}
		} else if (*c->poll) {
			continue;
		}
		j->stats.interp_exits++;
		c->replay_pos = c->replay_count = 0;
		if (interp_step(c, &why) == INTERP_LEAVE)
			return why;
	}
	return 0;
}

static u64 swap_gs_base(u64 base)
{
	u64 old;

	__asm__ volatile("rdgsbase %0\n\twrgsbase %1" : "=&r"(old) : "r"(base));
	return old;
}

unsigned jit_run(struct jit *j, struct cpu *c)
{
	jmp_buf jump, *outer = c->fault_jmp;
	unsigned why;
	u64 gs;
	int met;

	c->watch = false; /* breakpoints are not for translated code */
	gs = swap_gs_base((u64)(uintptr_t)c->set);
	c->gs_is_set = true;
	c->fault_jmp = &jump;
	met = setjmp(jump); /* what inplace.c executes comes back here when it faults or leaves */
	if (!met || interp_recover(c, met, &why))
		why = run_loop(j, c);
	c->fault_jmp = outer;
	c->gs_is_set = false;
	swap_gs_base(gs);
	return why;
}

/* The same instruction in a block without groups; NULL: the records are full, interpret it. */
static const u8 *alone_at(struct jit *j, struct cpu *c)
{
	u8 key = block_key(c) | KEY_ALONE;
	struct code_entry *known;
	struct block *b;
	u64 gpa, tag;
	u8 *host;
	u32 error;
	bool mmio;

	if (unlikely(j->lockstep) || !mmu_fetch(c, c->rip, &gpa, &host, &error, &mmio))
		return jit_interpret(c, c->rip); /* (a block inside of another is nothing to compare) */
	known = code_entry(c, gpa, key, &tag);
	if (known->key == tag && known->code >> CODE_AGE_SHIFT == c->code_age)
		return (const u8 *)(uintptr_t)(known->code & ((1ull << CODE_AGE_SHIFT) - 1));
	b = block_here(j, c, gpa, (const u8 *)((uintptr_t)host & PAGE_MASK), key);
	if (!b)
		return jit_interpret(c, c->rip);
	*known = (struct code_entry){ tag, (u64)(uintptr_t)jit_exec(j, b->entry_saved) | (u64)c->code_age << CODE_AGE_SHIFT };
	return jit_exec(j, b->entry_saved);
}

/* A TLB miss. A page fault is delivered at once; what is not plain memory is interpreted. */
static const u8 *fill(struct jit *j, struct cpu *c, u64 la, const struct slow_info *s)
{
	struct mmu_result r;
	enum mmu_try how = mmu_try(c, la, s->what & SLOW_WRITE ? MMU_WRITE : MMU_READ, c->view, &r);

	if (how == MMU_FILLED)
		return (const u8 *)s + s->retry;
	if (how == MMU_SLOW) {
		j->stats.not_plain++;
		return jit_interpret(c, c->rip);
	}
	j->stats.page_faults++;
	if (!(s->what & SLOW_PAGE_FAULT) || !is_canonical(la) || unlikely(j->lockstep))
		return jit_interpret(c, c->rip);
	return jit_page_fault(c, la + s->own, r.error, s->guest);
}

/* The stack window serves pages that may be written; a read alone must not make one so. */
static const u8 *stack_read(struct jit *j, struct cpu *c, u64 la, const struct slow_info *s)
{
	const struct tlb_entry *e = &c->set->tlb[c->view][tlb_index(la)];
	const u8 *retry = (const u8 *)s + s->retry, *next = e->rtag == (la & PAGE_MASK) ? retry : fill(j, c, la, s);

	return next == retry && e->wtag != (la & PAGE_MASK) ? alone_at(j, c) : next;
}

const u8 *jit_slow_access(struct cpu *c, u64 la, const struct slow_info *s)
{
	struct jit *j = c->vcpu->vm->jit;

	c->rip = c->code_base + s->guest;
	if ((la & ~PAGE_MASK) + s->size > PAGE_SIZE) { /* two pages: never a hit */
		if (!(s->what & SLOW_GROUP)) {
			j->stats.page_crossings++;
			return jit_interpret(c, c->rip);
		}
		j->stats.group_misses++;
		return alone_at(j, c);
	}
	j->stats.tlb_misses++;
	if (unlikely(j->testing)) {
		jit_inject(j, c, true);
		if (j->options.tlb)
			jit_limit_tlb(j, c, la);
	}
	return (s->what & (SLOW_STACK | SLOW_WRITE)) == SLOW_STACK ? stack_read(j, c, la, s) : fill(j, c, la, s);
}

static void forget_page(struct jit *j, struct cpu *c, struct code_page *p)
{
	struct vm *vm = c->vcpu->vm;

	page_kill(j, &vm->memory, p);
	cpu_flush_code(c);
	for (u32 n = 0; n < vm->vcpu_count; n++)
		if (vm->vcpu[n] && vm->vcpu[n] != c->vcpu)
			vcpu_request(vm->vcpu[n], REQ_JUMP_FLUSH);
}

void jit_invalidate(struct jit *j, struct cpu *c, struct memslot *s, u64 gpa, unsigned len)
{
	unsigned first = (gpa & ~PAGE_MASK) / 64, last = ((gpa & ~PAGE_MASK) + (len ? len : 1) - 1) / 64;
	u64 touched = ~0ull << first;
	struct code_page *p;

	if (last < LINES - 1)
		touched &= (1ull << (last + 1)) - 1;
	pthread_mutex_lock(&j->lock);
	p = page_find(j, gpa & PAGE_MASK);
	if (p && (p->lines & touched))
		forget_page(j, c, p);
	pthread_mutex_unlock(&j->lock);
}

/* A device whose every signal was suppressed is noticed after this long: a fraction of a millisecond. */
#define VERIFY_TSC (1u << 20)

void jit_verify_page(struct jit *j, struct cpu *c, struct memslot *s, u64 gpa)
{
	u64 events = __atomic_load_n(&c->vcpu->vm->device_events, __ATOMIC_RELAXED), now = __builtin_ia32_rdtsc();
	struct code_page *p;

	pthread_mutex_lock(&j->lock);
	p = page_find(j, gpa & PAGE_MASK);
	if (p && (p->verified_events != events || now - p->verified_tsc > VERIFY_TSC)) {
		p->verified_events = events;
		p->verified_tsc = now;
		if (!page_matches(p, mem_slot_host(s, gpa & PAGE_MASK)))
			forget_page(j, c, p);
	}
	pthread_mutex_unlock(&j->lock);
}

static struct jit *running_jit(struct cpu **ret_c)
{
	u64 gs;

	if (!host_fits())
		return NULL;
	__asm__ volatile("rdgsbase %0" : "=r"(gs));
	*ret_c = (struct cpu *)(uintptr_t)gs;
	return gs ? (*ret_c)->vcpu->vm->jit : NULL;
}

bool jit_signal(int sig, void *siginfo, void *ucontext)
{
	ucontext_t *u = ucontext;
	struct cpu *c;
	struct jit *j = running_jit(&c);
	u64 pc = (u64)u->uc_mcontext.gregs[REG_RIP], code;
	struct block *b;

	if (!j || pc < (u64)(uintptr_t)j->code_x || pc >= (u64)(uintptr_t)j->code_x + CODE_SIZE)
		return false;
	code = pc - (u64)(uintptr_t)j->code_x;
	b = block_of_code(j, (u32)code);
	for (u32 n = 0; b && n < b->site_count; n++) {
		if (b->sites[n].code != code)
			continue;
		if (b->sites[n].host_flags)
			c->saved_flags = flags_image((u64)u->uc_mcontext.gregs[REG_EFL]);
		j->stats.host_faults++;
		u->uc_mcontext.gregs[REG_R9] = (greg_t)(c->code_base + b->sites[n].guest);
		u->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)j->stub_interp;
		return true;
	}
	return false;
}

void jit_get_stats(struct jit *j, struct jit_stats *ret)
{
	*ret = j->stats;
}
