/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The translator's own objects. Invariants, on which every file here relies:
 *
 *  1. A block is 64-bit or flat 32-bit code of one guest-physical page, entered at one offset with one key (privilege view,
 *     vector state, code size).
 *     An instruction that reaches into the next page is a block of its own, which checks at its start that the ITLB still
 *     maps that page where it did, and dies with either page. A path (path.c) may lie in several pages, in the same way.
 *     It is position independent in guest-linear space: RIP is cpu.code_base + a constant, so one translation of a library
 *     page serves every address it is mapped at. In another page of a path code_base is that page's.
 *  2. Direct links join blocks of the same page and key only. All other edges go through cpu.jump (linear address to code),
 *     which is emptied with the TLB; each address space has its own. So invalidating a page needs no unlinking: its blocks
 *     leave the table and the jump caches, and whoever is still inside leaves at its next back edge, where it polls.
 *     A path takes the place of the block that began where it does: block_find() finds it first. Who is linked to the other
 *     one, or has it in a cache, may go on there.
 *  3. Guest flags are in the host's flags (FLAGS_HOST) or in cpu.saved_flags as lahf/seto image (FLAGS_SAVED), known at
 *     each point of a translation. A block has two entries: `entry_saved` reloads the host's flags if the block wants
 *     them, `entry_host` follows. Jump caches, enter and exits use FLAGS_SAVED.
 *  4. Flags that no path reads before writing them are dead and may hold anything. An instruction that may fault reads
 *     them: the frame that the fault pushes has all. (With options.flags 0 it does not.) Flags that only faults read may be a
 *     recipe in the place of an image (recipe.c): its registers, or jit_frame.shifted, keep their values until the flags
 *     are written, no code reads it, and C follows it before it does anything else.
 *  5. Every guest instruction is either wholly done or not begun when its block is left: checks come before effects.
 *     What the fast path cannot do (TLB miss that is not memory, page crossing) is given to interp_step(). Page faults are
 *     delivered at once, and instructions that are not translated are executed by inplace.c: both from inside of a block,
 *     with c->fault_jmp being jit_run()'s, so nothing between may need cleaning up.
 *  6. A page with translations has memslot.code_pages set, and then no TLB of any address space holds a write tag for it:
 *     every write comes to jit_invalidate(). So do writes by user space that reports them (kvcore_memory_written()); those of
 *     user space that does not are caught by jit_verify_page() when the page is next fetched through a new ITLB entry.
 *  7. Code memory is written through one mapping and executed through another; blocks, pages and exit records are bump
 *     allocated and die together in jit_flush().
 *  8. An access without a check of its own follows one of the same block that looked up the same page, for the whole span
 *     and for all that the group does (a write tag if any of it writes). Between them nothing may change a mapping: what is
 *     not an ordinary instruction ends all groups. Addresses in a group differ by constants, which group.c keeps so small
 *     that no displacement of a host instruction can overflow: else a guest would reach host memory. Where an index, a byte,
 *     is part of the address, each access compares it with how far the page goes (enum access_form).
 *  9. Each look-up has a retry point of its own, from which nothing but itself is done again: two pages may have one place
 *     in the TLB.
 * 10. Every way around a loop polls: edges backward, computed jumps that leave the block, and every edge of a block that itself
 *     followed a jump backward or is a path.
 * 11. In 32-bit code (KEY_32) CS, DS, ES and SS are flat wherever a block runs: what could change that is done by inplace.c,
 *     which asks jit_fits() before it goes back. Every address is cut to 32 bits before it is looked up or added to, since
 *     nobody promises that the upper halves of registers are zero; so an access that follows another one has an instruction of
 *     its own for that, and none uses a register as the base of the host's operand. FS and GS are left to the interpreter.
 * 12. jit.lock guards all tables; it is never held while the world is being stopped, nor while guest code runs. vCPU threads
 *     read the lists of pages and blocks without it: records are linked when they are complete, stay readable when they are
 *     unlinked, and their memory is used again only after the world was stopped. What such a look-up finds of a page that
 *     dies meanwhile goes the way of invariant 2: the flush of jump caches is requested after the page left the table, and
 *     entries of code caches bear the age that the page had before the look-up.
 */
#pragma once
#include <pthread.h>
#include "../soft.h"
#include "../thread.h"
#include "emit.h"
#include "jit.h"

#define CODE_SIZE (32u << 20)
#define META_SIZE (48u << 20)
#define MAX_BLOCKS (1u << 19)
#define PAGE_HASH 16384u
#define PAGE_AGES 4096u
#define BLOCK_INSNS 64
#define MAX_SIDES 24 /* branches in the middle of a block */
#define MAX_EDGES (2 * MAX_SIDES + 6)
#define OFF_BUCKETS 32u
#define START_BITS 1024u
#define LINES 64

/*
 * What translated code has on the host's stack, at RSP: cores rename such memory, so that a value that is stored and loaded
 * again costs next to nothing, where gs: makes it wait for the store. The stubs copy all but the addends from and to struct
 * cpu whenever C is called.
 */
#define MAX_GROUPS 32
struct jit_frame {
	u64 reg[3]; /* those without a host register: home_index() */
	u64 code_base, saved_flags;
	u64 operand; /* what recipes find in no register: what a comparison had in memory, what a shift shifted */
	u64 scratch[2];
	u64 addend[MAX_GROUPS]; /* of pages that several accesses of the block share */
	u32 limit[MAX_GROUPS];	/* of a group's indices: ACCESS_ARRAY */
};

/* Block keys */
#define KEY_VIEW 3u /* enum tlb_view */
#define KEY_VEC 4u  /* vector instructions raise neither #NM nor #UD for control state */
#define KEY_ALONE 8u /* no groups: for where a group's span lies in two pages */
#define KEY_32 16u   /* 32-bit code, flat (cpu_flat32()); else 64-bit code */

enum exit_reason { EXIT_DISPATCH, EXIT_INTERP, EXIT_LINK, EXIT_HOT };

/* A host instruction that may fault on the host's behalf (divide, aligned vector access): where the guest was. */
struct site {
	u32 code; /* offset in the code memory */
	u16 guest;	 /* offset in the page */
	u16 flags; /* where they are: SITE_SAVED, SITE_HOST, else a recipe */
};
enum { SITE_SAVED, SITE_HOST };

/* How flags are made again from the registers a and b, or an immediate, or what a comparison found in memory. */
struct recipe {
	u8 op : 4, size : 4; /* enum alu_op, RECIPE_TEST, RECIPE_SHIFT + modrm digit; bytes, 0: none */
	u8 a, b;	     /* b: BASE_NONE for imm; either: RECIPE_KEPT for jit_frame.operand */
	s8 by;		     /* what was added to a since */
	s32 imm;
};
#define RECIPES 4096u
#define RECIPE_TEST 8u
#define RECIPE_KEPT 16u
#define RECIPE_SHIFT 8u /* digits 4 to 7, of jit_frame.operand by imm */
#define FLAGS_RECIPE 0x80u /* in cpu.saved_flags: the number of a recipe, no image */

struct block {
	struct block *next; /* in code_page.blocks[]; what block_find() reads is close to it */
	u16 offset;	    /* in the guest page */
	u8 key;
	bool wants_flags; /* its code reads flags that it was entered with */
	u32 entry_saved, entry_host, start, code_end; /* offsets in the code memory */
	struct code_page *page;
	struct site *sites;
	u16 insns;
	u16 site_count;
	bool is_path;	  /* made from a struct path */
	u8 path_tries;	  /* times that a path was looked for from here */
};

/* The way that the guest went from an instruction on (path.c): what a block through computed jumps is made from. */
#define PATH_PAGES 4u
struct path {
	u32 insns, pages;
	u64 rip[BLOCK_INSNS + 1]; /* the last: where it went on */
	struct path_page {
		u64 la, gpa;
		const u8 *host;
		struct code_page *page;
	} page[PATH_PAGES]; /* [0] is that of the block, its home */
};

/* A page with a block that ends in another page. */
struct page_user {
	struct page_user *next;
	struct code_page *page;
};

struct code_page {
	struct code_page *next;
	struct page_user *users;
	u64 gpa;
	bool dead;
	u64 verified_events, verified_tsc; /* when page_matches() was asked last; atomic */
	u64 lines; /* 64-byte lines that blocks were made from */
	u64 line_hash[LINES];
	u64 bytes[LINES];     /* which of them exactly, a bit each; their sum: see byte_hash() */
	u64 bytes_hash[LINES];
	u64 mixed;	      /* lines where others have been written since: line_hash is void */
	u64 starts[START_BITS / 64]; /* bit offset % START_BITS: a block may begin there */
	struct block *blocks[OFF_BUCKETS];
};

/* A direct jump that is not linked yet: what lies in the code behind the call of stub_link. */
struct link {
	u16 target; /* offset in the page */
	u8 key;
	u8 saved;  /* the jump is made in FLAGS_SAVED */
	s32 rel32; /* where the jump's displacement is, from this struct */
	u32 block; /* it is in this one of jit.blocks */
} __attribute__((packed));

struct jit {
	pthread_mutex_t lock;
	u8 *code_w, *code_x;
	u32 code_used, code_base; /* stubs end at code_base */
	u8 *meta;
	size_t meta_used;
	u32 pieces_wanted; /* atomic futex word: how much of code memory the thread `ahead` shall have got pages for (code.c) */
	bool has_ahead;
	struct thread ahead;
	struct block **blocks; /* in the order of their code: signals search it, links know their number */
	u32 block_count;
	struct code_page *pages[PAGE_HASH];
	struct tx *tx; /* the translation in progress */
	u64 page_age[PAGE_AGES]; /* by page_age_at(): what is kept of a page elsewhere is void after a change */
	u64 ages;		 /* the youngest */
	const u8 *stub_dispatch, *stub_interp, *stub_string, *stub_inplace, *stub_away, *stub_interp_here;
	const u8 *stub_dispatch_at, *stub_interp_at, *stub_hot_at; /* called; the page offset to go on at is the u16 behind */
	const u8 *stub_path, *stub_alone;
	const u8 *stub_link[2];			     /* called in FLAGS_HOST, FLAGS_SAVED; a struct link is behind the call */
	const u8 *stub_slow[VIEW_COUNT][3][2]; /* by view; read tag, write tag, stack window: slow_kind(); alone, group */
	unsigned (*enter)(struct cpu *c, const u8 *code);
	struct jit_options options;
	bool testing; /* the options are not the usual ones */
	u64 random;   /* state of jit_inject() */
	struct recipe recipe[RECIPES]; /* a hash table; what is there stays */
	struct lockstep *lockstep;
	struct cpu *tlb_owner; /* jit_limit_tlb(): whose TLB it looked at last, with how many fills, and the entries it left */
	u64 tlb_fills;
	u32 tlb_last[TLB_SIZE];
	struct jit_stats stats;
};

/* Arithmetic flags as lahf and seto leave them in AX, and back from cpu.saved_flags. */
static inline u64 flags_image(u64 rflags)
{
	return (rflags & 0xff) << 8 | (rflags >> 11 & 1);
}
u16 recipe_image(const struct cpu *c, u16 code); /* recipe.c; the registers are in cpu.gpr */

static inline void flags_in(struct cpu *c)
{
	u16 image = *(const volatile u16 *)&c->saved_flags; /* as wide as it was stored */

	if (image & FLAGS_RECIPE)
		image = recipe_image(c, image);
	c->rflags = (c->rflags & ~(u64)FL_ARITH) | (image >> 8 & (FL_ARITH & 0xff)) | (u64)(image & 1) << 11;
}

static inline u8 block_key(const struct cpu *c)
{
	bool vec = !(c->cr0 & (CR0_EM | CR0_TS)) && (c->cr4 & CR4_OSFXSR) && (c->cr4 & CR4_OSXSAVE) && (c->xcr0 & 6) == 6;

	return (u8)(c->view | (vec ? KEY_VEC : 0) | (c->mode == MODE_LONG64 ? 0 : KEY_32));
}

/*
 * What translated code does not look at: other modes, segments that are not flat, shadows, single steps, CPL 1 and 2,
 * breakpoints, alignment checks. RF holds back nothing without breakpoints and ends with the next instruction: who enters code
 * drops it.
 */
static inline bool jit_fits(const struct cpu *c)
{
	/* Bytes just written are not to be read as one word, which would wait for the stores. */
	const volatile u8 *mode = &c->mode, *shadow = &c->intr_shadow, *cpl = &c->cpl;

	if (unlikely(*mode != MODE_LONG64) && !cpu_flat32(c))
		return false;
	if (*shadow || (c->rflags & FL_TF) || (c->dr[7] & 0xff))
		return false;
	return *cpl == 0 || (*cpl == 3 && !((c->rflags & FL_AC) && (c->cr0 & CR0_AM)));
}

/* An age comes back after 2^38 changes: more than a day with a change every microsecond. */
static inline u64 *page_age_at(struct jit *j, u64 gpa)
{
	_Static_assert(CODE_SIZE <= 1u << CODE_AGE_SHIFT, "code_entry.code holds an offset in the code memory");
	return &j->page_age[gpa >> 12 & (PAGE_AGES - 1)];
}

static inline u8 *jit_exec(struct jit *j, u32 offset)
{
	return j->code_x + offset;
}

/* code.c */
bool code_create(struct jit *j);
void code_destroy(struct jit *j);
void code_ahead(struct jit *j); /* before a block is made */
void *meta_alloc(struct jit *j, size_t size); /* zeroed; NULL when full (then flush) */

/* stubs.c: entry, exits and the slow-path call, generated once a VM */
bool stubs_emit(struct jit *j);
unsigned jit_string(struct cpu *c, u64 unused, u32 info); /* string.c: called by stub_string; 0 = done, 1 = interpret */
#define SLOW_OFFSET 0xfffu

/* What a memory access that missed tells, in the code behind its call. */
struct slow_info {
	u16 guest; /* the instruction's offset in its page */
	u16 size;  /* bytes that were looked up */
	u16 own;   /* where among them the instruction's own begin */
	u16 what;  /* SLOW_* */
	s32 retry; /* code to try again, from this struct */
	s32 alone; /* of a group: where the instruction is in a block without groups, likewise; 0: not known yet */
};
#define SLOW_WRITE 1u
#define SLOW_STACK 2u /* missed the stack window */
#define SLOW_GROUP 4u /* for several instructions */
#define SLOW_WTAG 16u /* wants a page that may be written, even if this access reads; the stack window does as well */
#define SLOW_ELSEWHERE 32u /* in the page, but not where the instruction's own access is */
#define SLOW_INDEX 64u	  /* no miss: an index leads out of the page */
#define SLOW_PAGE_FAULT 8u /* no other exception of the instruction comes before a page fault */

static inline u32 slow_kind(unsigned what)
{
	return what & SLOW_STACK ? 2 : (what & (SLOW_WRITE | SLOW_WTAG)) != 0;
}

/* Called by the slow stubs: the code to go on with, in FLAGS_SAVED. */
const u8 *jit_slow_access(struct cpu *c, u64 la, const struct slow_info *s);
const u8 *jit_alone(struct cpu *c, const struct slow_info *s); /* an index leads out of the group's page */

/* inplace.c: called by the stubs and by run.c; the code to go on with, c->code_base and saved_flags being set for it */
struct inplace;
const u8 *jit_inplace(struct cpu *c, const struct inplace *p);
const u8 *jit_interpret(struct cpu *c, u64 rip);
const u8 *jit_next(struct cpu *c, u64 rip); /* what the jump cache does not have; flags stay saved */
const u8 *jit_page_fault(struct cpu *c, u64 la, u32 error, u16 offset); /* at a guest instruction not begun */

/* cache.c: pages and blocks. On a vCPU's thread the two find functions need no lock. */
struct code_page *page_find(struct jit *j, u64 gpa);
struct code_page *page_create(struct jit *j, u64 gpa);
struct block *block_find(struct code_page *p, u16 offset, u8 key);
void block_add(struct code_page *p, struct block *b);
void page_ages_change(struct jit *j); /* of all */
void page_cover(struct code_page *p, const u8 *host, u16 offset, u16 size);
bool page_add_user(struct jit *j, struct code_page *p, struct code_page *user);
void page_kill(struct jit *j, const struct memory *m, struct code_page *p);
bool page_written(struct code_page *p, u16 offset, unsigned size); /* in the page: were blocks made from any of these bytes? */
bool page_matches(const struct code_page *p, const u8 *host);
struct block *block_of_code(struct jit *j, u32 offset);

/* Where a block's bytes are: its page, and the linearly next one where an instruction may reach into it (or NULL). */
struct block_source {
	struct code_page *page, *next;
	const u8 *host, *next_host;
	const struct path *path; /* what it shall follow, or NULL */
	u16 offset;
	u8 key;
};

/* run.c: enters code, which is for c->rip */
unsigned run_code(struct jit *j, struct cpu *c, const u8 *code);

/* run.c: everything translated goes, with all vCPUs outside of it */
void jit_flush_world(struct jit *j, struct cpu *c);

const u8 *code_known(struct jit *j, struct cpu *c); /* run.c: see there */
struct block *block_known(struct jit *j, u64 gpa, u8 key);
void code_forget(struct jit *j, struct cpu *c, u64 la, u64 gpa, u8 key); /* there is a better block now: look again */

/* path.c: a computed jump is hot: it is done, and what follows may become a block. A cpu_leave_reason, or 0. */
unsigned path_follow(struct jit *j, struct cpu *c);
/* Called by stub_path: are the pages of a path where they were? The code to go on with. */
struct path_check;
const u8 *path_enter(struct cpu *c, const struct path_check *p);

/* translate.c: NULL when memory ran out (then flush and come again) */
struct block *block_translate(struct jit *j, struct cpu *c, const struct block_source *s);
