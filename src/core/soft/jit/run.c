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
#include "../host-cpuid.h"
#include "../host-gs.h"
#include "../mmu.h"
#include "lockstep.h"
#include "tx.h"

static bool host_has_bmi2(void)
{
	u32 r[4];

	host_leaf(7, 0, r);
	return r[1] >> 8 & 1;
}

struct jit *jit_create(const struct jit_options *o)
{
	struct jit *j;

	j = calloc(1, sizeof(*j));
	if (!j)
		return NULL;
	host_gs_init();
	emit_init(host_has_bmi2());
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

bool jit_flush(struct jit *j)
{
	pthread_mutex_lock(&j->lock);
	if (!j->meta_used) {
		pthread_mutex_unlock(&j->lock);
		return false;
	}
	for (u32 h = 0; h < PAGE_HASH; h++)
		j->pages[h] = NULL;
	j->meta_used = 0;
	j->block_count = 0;
	j->code_used = j->code_base;
	page_ages_change(j);
	j->stats.flushes++;
	pthread_mutex_unlock(&j->lock);
	return true;
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
	cpu_flush_jump(c);
	vm_resume_world(vm);
}

/* Takes the write tags of the page from all vCPUs, the world being stopped; else only if none but c can have one. */
static bool close_page(struct vm *vm, struct cpu *c, u64 gpa, bool stopped)
{
	u32 count = __atomic_load_n(&vm->vcpu_count, __ATOMIC_ACQUIRE);

	for (u32 n = 0; n < count && !stopped; n++)
		if (vm->vcpu[n] != c->vcpu && mmu_may_write(&vm->vcpu[n]->cpu, gpa))
			return false;
	for (u32 n = 0; n < count; n++)
		if (stopped || vm->vcpu[n] == c->vcpu)
			mmu_close_page(&vm->vcpu[n]->cpu, gpa);
	return true;
}

/*
 * Once a page has code, no vCPU may keep a write tag for it, or a write would go unseen. Mostly none but c has one, which
 * shows without stopping the world: here code_pages is set, then the other vCPUs' notes are read; a vCPU that fills its TLB,
 * or means to write through a pointer, notes the page, then reads code_pages (mmu_note_write()). Both have a full fence
 * between, so at least one sees the other: that vCPU makes no tag, or here the world is stopped.
 *  - Only flushes take notes back, on the vCPU's own thread between two instructions, when the tags are gone. So a note
 *    outlives what is copied from an entry for longer than the entry may stay: the stack window, which goes with each flush,
 *    and a block's group_addend.
 *  - Other writes read code_pages behind a fence after the write, and translation reads the bytes after it was set: the write
 *    is translated, or it invalidates.
 *  - page_kill() clears code_pages, also for threads that are no vCPU's and do not stop with the world. It is under
 *    jit.lock as all of this is, so a page in the table and its code_pages change together.
 */
static struct code_page *try_code_page(struct jit *j, struct cpu *c, u64 gpa, bool stopped, bool *ret_busy)
{
	struct vm *vm = c->vcpu->vm;
	struct memslot *s = mem_slot(&vm->memory, gpa, NULL);
	struct code_page *p;
	u8 *has_code;

	*ret_busy = false;
	if (!s)
		return NULL;
	has_code = &s->code_pages[(gpa - s->gpa) >> 12];
	pthread_mutex_lock(&j->lock);
	p = page_find(j, gpa);
	if (!p) {
		__atomic_store_n(has_code, 1, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		*ret_busy = !close_page(vm, c, gpa, stopped);
		if (*ret_busy)
			__atomic_store_n(has_code, 0, __ATOMIC_RELAXED);
		else
			p = page_create(j, gpa);
	}
	pthread_mutex_unlock(&j->lock);
	return p;
}

static struct code_page *new_code_page(struct jit *j, struct cpu *c, u64 gpa)
{
	struct vm *vm = c->vcpu->vm;
	bool busy;
	struct code_page *p = try_code_page(j, c, gpa, false, &busy);

	if (!busy)
		return p;
	j->stats.world_stops++;
	vm_stop_world(vm, c->vcpu); /* slots may change while it waits */
	p = try_code_page(j, c, gpa, true, &busy);
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

	if (s->offset <= PAGE_SIZE - INSN_MAX || ((s->key & KEY_32) && c->rip >> 12 == UINT32_MAX >> 12) ||
	    !mmu_fetch(c, (c->rip & PAGE_MASK) + PAGE_SIZE, &gpa, &host, &error, &mmio))
		return true;
	s->next = page_find(j, gpa & PAGE_MASK);
	if (!s->next) {
		if (!new_code_page(j, c, gpa & PAGE_MASK))
			jit_flush_world(j, c);
		return false;
	}
	s->next_host = (const u8 *)((uintptr_t)host & PAGE_MASK);
	return true;
}

struct block *block_known(struct jit *j, u64 gpa, u8 key)
{
	struct code_page *p = page_find(j, gpa & PAGE_MASK);

	return p ? block_find(p, gpa & ~PAGE_MASK, key) : NULL;
}

/* Block at gpa, translated if nobody did so meanwhile; NULL and *ret_pages: the pages that it lies in come first. */
static struct block *block_make(struct jit *j, struct cpu *c, u64 gpa, struct block_source *s, bool *ret_pages)
{
	struct block *b = NULL;

	pthread_mutex_lock(&j->lock);
	s->page = page_find(j, gpa & PAGE_MASK);
	if (s->page)
		b = block_find(s->page, s->offset, s->key);
	*ret_pages = !s->page || (s->next && s->next->dead);
	if (!b && !*ret_pages)
		b = block_translate(j, c, s);
	pthread_mutex_unlock(&j->lock);
	return b;
}

/* Block at gpa in a page that has code already; NULL: it cannot be made now. */
static struct block *block_here(struct jit *j, struct cpu *c, u64 gpa, const u8 *host_page, u8 key)
{
	struct block_source s = { .host = host_page, .offset = gpa & ~PAGE_MASK, .key = key };
	struct block *b = block_known(j, gpa, key);
	bool pages;

	return b ? b : block_make(j, c, gpa, &s, &pages);
}

/* Block at gpa, translated now if need be; NULL: pages were made or memory was flushed, come again. */
static struct block *block_at(struct jit *j, struct cpu *c, u64 gpa, const u8 *host_page, u8 key)
{
	struct block_source s = { .host = host_page, .offset = gpa & ~PAGE_MASK, .key = key };
	struct block *b;
	bool pages;

	if (!next_page(j, c, &s))
		return NULL;
	b = block_known(j, gpa, key);
	if (!b)
		b = block_make(j, c, gpa, &s, &pages);
	if (b)
		return b;
	if (!pages || !new_code_page(j, c, gpa & PAGE_MASK))
		jit_flush_world(j, c);
	return NULL;
}

/* The place of a block in the code cache, and what is there for it now; the page's age is taken before anything is looked up. */
struct code_slot {
	struct code_entry *entry;
	u64 key, age;
};

static struct code_slot code_slot(struct jit *j, struct cpu *c, u64 gpa, u8 key)
{
	return (struct code_slot){ &c->code[(gpa ^ gpa >> 12 ^ (u64)key << 6) % CODE_ENTRIES], (gpa << 8 | key) + 1,
				   __atomic_load_n(page_age_at(j, gpa), __ATOMIC_ACQUIRE) };
}

static const u8 *code_slot_get(struct jit *j, const struct code_slot *s)
{
	if (s->entry->key != s->key || s->entry->code >> CODE_AGE_SHIFT != s->age)
		return NULL;
	return jit_exec(j, s->entry->code & ((1u << CODE_AGE_SHIFT) - 1));
}

static const u8 *code_slot_put(struct jit *j, const struct code_slot *s, const struct block *b)
{
	*s->entry = (struct code_entry){ s->key, b->entry_saved | s->age << CODE_AGE_SHIFT };
	return jit_exec(j, b->entry_saved);
}

void code_forget(struct jit *j, struct cpu *c, u64 la, u64 gpa, u8 key)
{
	struct jump_entry *e = &c->set->jump[cpu_jump_table(c)][jump_index(la)];

	code_slot(j, c, gpa, key).entry->key = 0;
	if (e->rip == la)
		e->rip = jump_no_rip(jump_index(la));
}

/* Code for c->rip that was entered before under this state, through ITLB and code cache. */
const u8 *code_known(struct jit *j, struct cpu *c)
{
	struct code_slot slot;
	const u8 *code;
	u64 gpa;
	u8 *host;
	u32 error;
	bool mmio;

	c->vcpu->stat.jit.jump_misses++;
	if (!mmu_fetch(c, c->rip, &gpa, &host, &error, &mmio))
		return NULL;
	slot = code_slot(j, c, gpa, block_key(c));
	code = code_slot_get(j, &slot);
	if (code && likely(j->options.jumps))
		cpu_put_jump(c, (u64)(uintptr_t)code);
	return code;
}

/* Code to enter at c->rip in FLAGS_SAVED; NULL: interpret one instruction, or take the requests that came meanwhile. */
static const u8 *code_at_rip(struct jit *j, struct cpu *c)
{
	const u8 *code = cpu_get_jump(c);
	struct code_slot slot;
	struct block *b;
	u64 gpa;
	u8 *host;
	u32 error;
	bool mmio;

	if (!code)
		code = code_known(j, c);
	while (!code) {
		if (!mmu_fetch(c, c->rip, &gpa, &host, &error, &mmio))
			return NULL;
		c->vcpu->stat.jit.lookups++;
		slot = code_slot(j, c, gpa, block_key(c));
		b = block_at(j, c, gpa, (const u8 *)((uintptr_t)host & PAGE_MASK), block_key(c));
		if (b) {
			code = code_slot_put(j, &slot, b);
			if (likely(j->options.jumps))
				cpu_put_jump(c, (u64)(uintptr_t)code);
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
	from = j->options.links && j->stats.flushes == flushes ? j->blocks[l->block] : NULL;
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

	while (!*c->poll && cpu_translates(c) && !(c->rflags & FL_TF)) {
		u8 key = block_key(c);
		const u8 *code;

		if (unlikely(j->testing))
			jit_inject(j, c, false);
		if ((key ^ c->jit_key) & KEY_VEC) {
			cpu_flush_jump(c);
			c->jit_key = key;
		}
		code = jit_fits(c) ? code_at_rip(j, c) : NULL;
		c->vcpu->stat.jit.unfit += !code;
		if (pending)
			link_edge(j, pending, flushes);
		pending = NULL;
		if (code) {
			switch (unlikely(j->lockstep) ? lockstep_run(j, c, code) : run_code(j, c, code)) {
			case EXIT_DISPATCH:
				continue;
			case EXIT_HOT:
				why = path_follow(j, c);
				if (why)
					return why;
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
		c->vcpu->stat.jit.interp_exits++;
		c->replay_pos = c->replay_count = 0;
		if (interp_step(c, &why) == INTERP_LEAVE)
			return why;
	}
	return 0;
}

/*
 * Writing the GS base is slow. A thread whose GS base is 0 does not use it, so ours stays there for the next KVM_RUN; what is
 * found in its place then is somebody's and is put back. The storage must need no call to libc.
 */
static _Thread_local __attribute__((tls_model("initial-exec"))) struct {
	struct cpu *running; /* in jit_run() */
	u64 gs_left;	     /* GS base that nobody misses */
} thread;

static u64 gs_enter(const struct cpu *c)
{
	u64 base = (u64)(uintptr_t)c->set, own = host_gs_read();

	if (own != base)
		host_gs_write(base);
	return own;
}

static void gs_leave(const struct cpu *c, u64 own)
{
	if (own == thread.gs_left)
		thread.gs_left = (u64)(uintptr_t)c->set;
	else
		host_gs_write(own);
}

unsigned jit_run(struct jit *j, struct cpu *c)
{
	jmp_buf jump, *outer = c->fault_jmp;
	unsigned why;
	u64 gs;
	int met;

	c->watch = false; /* breakpoints are not for translated code */
	gs = gs_enter(c);
	c->gs_is_set = true;
	thread.running = c;
	c->fault_jmp = &jump;
	met = setjmp(jump); /* what inplace.c executes comes back here when it faults or leaves */
	if (!met || interp_recover(c, met, &why))
		why = run_loop(j, c);
	c->fault_jmp = outer;
	thread.running = NULL;
	c->gs_is_set = false;
	gs_leave(c, gs);
	return why;
}

/* The instruction at c->rip in a block without groups; NULL: not to be had now, interpret it. */
static const u8 *alone_at(struct jit *j, struct cpu *c)
{
	u8 key = block_key(c) | KEY_ALONE;
	struct code_slot slot;
	const u8 *code;
	struct block *b;
	u64 gpa;
	u8 *host;
	u32 error;
	bool mmio;

	/* A block inside of another is nothing that lock-step could compare. */
	if (unlikely(j->lockstep) || !mmu_fetch(c, c->rip, &gpa, &host, &error, &mmio))
		return NULL;
	slot = code_slot(j, c, gpa, key);
	code = code_slot_get(j, &slot);
	if (code)
		return code;
	b = block_here(j, c, gpa, (const u8 *)((uintptr_t)host & PAGE_MASK), key);
	return b ? code_slot_put(j, &slot, b) : NULL;
}

/* A TLB miss. A page fault is delivered at once; what is not plain memory is interpreted. */
static const u8 *fill(struct jit *j, struct cpu *c, u64 la, const struct slow_info *s)
{
	struct mmu_result r;
	enum mmu_try how = mmu_try(c, la, s->what & SLOW_WRITE ? MMU_WRITE : MMU_READ, c->view, &r);

	if (how == MMU_FILLED)
		return (const u8 *)s + s->retry;
	if (how == MMU_SLOW) {
		c->vcpu->stat.jit.not_plain++;
		return jit_interpret(c, c->rip);
	}
	c->vcpu->stat.jit.page_faults++;
	if (!(s->what & SLOW_PAGE_FAULT) || !is_canonical(la) || unlikely(j->lockstep))
		return jit_interpret(c, c->rip);
	return jit_page_fault(c, la + s->own, r.error, s->guest);
}

/* A read that leads writes, or the stack window, wants a page that may be written; by itself it must not make one so. */
static const u8 *read_writable(struct jit *j, struct cpu *c, u64 la, const struct slow_info *s)
{
	const struct tlb_entry *e = &c->set->tlb[c->view][tlb_index(la)];
	const u8 *retry = (const u8 *)s + s->retry, *next = e->rtag == (la & PAGE_MASK) ? retry : fill(j, c, la, s);

	if (next != retry || e->wtag == (la & PAGE_MASK))
		return next;
	next = alone_at(j, c);
	return next ? next : jit_interpret(c, c->rip);
}

/* A group lies in two pages: its instructions have to look for themselves. The stub goes there by itself from now on. */
static const u8 *crossing(struct jit *j, struct cpu *c, const struct slow_info *s)
{
	const u8 *alone = alone_at(j, c);

	if (!alone)
		return jit_interpret(c, c->rip);
	if (j->options.links)
		__atomic_store_n((s32 *)(void *)(j->code_w + ((const u8 *)&s->alone - j->code_x)), (s32)(alone - (const u8 *)s),
				 __ATOMIC_RELEASE);
	return alone;
}

const u8 *jit_slow_access(struct cpu *c, u64 la, const struct slow_info *s)
{
	struct jit *j = c->vcpu->vm->jit;

	c->rip = c->code_base + s->guest;
	if ((la & ~PAGE_MASK) + s->size > PAGE_SIZE) { /* two pages: never a hit */
		if (!(s->what & SLOW_GROUP)) {
			c->vcpu->stat.jit.page_crossings++;
			return jit_interpret(c, c->rip);
		}
		c->vcpu->stat.jit.group_misses++;
		return crossing(j, c, s);
	}
	c->vcpu->stat.jit.tlb_misses++;
	if (unlikely(j->testing)) {
		jit_inject(j, c, true);
		if (j->options.tlb)
			jit_limit_tlb(j, c, la);
	}
	return (s->what & (SLOW_WTAG | SLOW_WRITE)) == SLOW_WTAG ? read_writable(j, c, la, s) : fill(j, c, la, s);
}

const u8 *jit_alone(struct cpu *c, const struct slow_info *s)
{
	c->rip = c->code_base + s->guest;
	c->vcpu->stat.jit.group_misses++;
	return crossing(c->vcpu->vm->jit, c, s);
}

static void forget_page(struct vm *vm, struct cpu *self, struct code_page *p)
{
	u32 count = __atomic_load_n(&vm->vcpu_count, __ATOMIC_ACQUIRE);

	page_kill(vm->jit, &vm->memory, p);
	for (u32 n = 0; n < count; n++)
		if (&vm->vcpu[n]->cpu == self) {
			cpu_flush_jump(self);
			vm->vcpu[n]->mmu.fetch_flushes++; /* jit_inplace() does not go on in a block that is gone */
		} else {
			vcpu_request(vm->vcpu[n], REQ_JUMP_FLUSH);
		}
}

void jit_invalidate(struct vm *vm, struct cpu *self, u64 gpa, unsigned len)
{
	struct jit *j = vm->jit;
	struct code_page *p;

	pthread_mutex_lock(&j->lock);
	p = page_find(j, gpa & PAGE_MASK);
	if (p && page_written(p, gpa & ~PAGE_MASK, len ? len : 1))
		forget_page(vm, self, p);
	pthread_mutex_unlock(&j->lock);
}

/* A device whose every signal was suppressed is noticed after this long: a fraction of a millisecond. */
#define VERIFY_TSC (1u << 20)

void jit_verify_page(struct jit *j, struct cpu *c, struct memslot *s, u64 gpa)
{
	u64 events = __atomic_load_n(&c->vcpu->vm->device_events, __ATOMIC_RELAXED), now = __builtin_ia32_rdtsc();
	struct code_page *p = page_find(j, gpa & PAGE_MASK);

	if (!p || (__atomic_load_n(&p->verified_events, __ATOMIC_RELAXED) == events &&
		   now - __atomic_load_n(&p->verified_tsc, __ATOMIC_RELAXED) <= VERIFY_TSC))
		return;
	pthread_mutex_lock(&j->lock);
	p = page_find(j, gpa & PAGE_MASK);
	if (p && !page_matches(p, mem_slot_host(s, gpa & PAGE_MASK))) {
		forget_page(c->vcpu->vm, c, p);
	} else if (p) {
		__atomic_store_n(&p->verified_events, events, __ATOMIC_RELAXED);
		__atomic_store_n(&p->verified_tsc, now, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&j->lock);
}

bool jit_signal(int sig, void *siginfo, void *ucontext)
{
	ucontext_t *u = ucontext;
	struct cpu *c = thread.running;
	struct jit *j = c ? c->vcpu->vm->jit : NULL;
	u64 pc = (u64)u->uc_mcontext.gregs[REG_RIP], code;
	struct jit_frame *f;
	struct block *b;

	if (!j || pc < (u64)(uintptr_t)j->code_x || pc >= (u64)(uintptr_t)j->code_x + CODE_SIZE)
		return false;
	code = pc - (u64)(uintptr_t)j->code_x;
	b = block_of_code(j, (u32)code);
	for (u32 n = 0; b && n < b->site_count; n++) {
		if (b->sites[n].code != code)
			continue;
		f = (struct jit_frame *)u->uc_mcontext.gregs[REG_RSP];
		if (b->sites[n].flags == SITE_HOST)
			f->saved_flags = flags_image((u64)u->uc_mcontext.gregs[REG_EFL]);
		else if (b->sites[n].flags != SITE_SAVED)
			f->saved_flags = b->sites[n].flags;
		c->vcpu->stat.jit.host_faults++;
		_Static_assert(HOST_SCRATCH == R14, "what stub_interp takes");
		u->uc_mcontext.gregs[REG_R14] = (greg_t)(f->code_base + b->sites[n].guest);
		u->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)j->stub_interp;
		return true;
	}
	return false;
}

void jit_get_stats(struct jit *j, struct jit_stats *ret)
{
	*ret = j->stats;
}
