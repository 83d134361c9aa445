/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One translation in progress: translate.c drives it, flags.c, access.c, copy.c, stack.c and branch.c each emit one
 * concern. Private to the translator.
 */
#pragma once
#include "internal.h"

enum flags_state { FLAGS_HOST, FLAGS_SAVED };

/* The out-of-line part of a memory access: TLB miss, then try again or interpret. */
struct slow_site {
	u8 *jump;	 /* writable rel32 that comes here */
	const u8 *retry; /* executable */
	u16 guest;
	u8 size;
	bool write;
};

/* A conditional exit to the interpreter, flags saved. */
struct interp_site {
	u8 *rel32;
	u16 guest;
};

/* A computed branch that is not in the jump cache: the target's form is checked before RSP moves. */
struct miss_site {
	u8 *rel32[2];
	u16 guest;
	s32 rsp_by;
};

/* A direct edge to be finished out of line. */
struct edge_site {
	u8 *rel32;
	u16 target;
	bool saved, poll_exit;
};

struct tx {
	struct jit *j;
	struct cpu *c;
	const struct block_source *src;
	struct code_page *page;
	const u8 *host; /* the guest page's bytes */
	u8 key;
	bool crosses; /* the only instruction reaches into src->next */
	struct emit e;
	u32 n; /* instructions that are translated */
	bool ends_interp; /* the next instruction, at `end`, is for the interpreter */
	u16 end;	  /* page offset behind the last instruction; 4096 = the next page */
	struct insn insn[BLOCK_INSNS];
	u16 off[BLOCK_INSNS + 1];
	u16 live_in[BLOCK_INSNS], live_out[BLOCK_INSNS]; /* FL_ARITH bits */
	enum flags_state state;
	u32 k; /* the instruction being emitted */
	u64 inplace; /* bit k: instruction k is done by inplace.c */
	struct slow_site slow[BLOCK_INSNS * 3];
	u32 slow_count;
	struct interp_site interp[BLOCK_INSNS * 2];
	u32 interp_count;
	struct miss_site miss; /* a block ends with one computed branch at most */
	struct edge_site edge[8];
	u32 edge_count;
	struct site site[BLOCK_INSNS];
	u32 site_count;
};

#define TX_GPR(n) mem_gs(offsetof(struct cpu, gpr) + 8 * (n))
#define TX_CPU(field) mem_gs(offsetof(struct cpu, field))

/* flags.c */
void flags_analyse(struct tx *t);
void flags_save(struct tx *t);	     /* HOST -> SAVED; uses scratch */
void flags_restore(struct tx *t, u8 tmp); /* SAVED -> HOST; uses tmp */
void flags_emit_restore(struct emit *e, u8 tmp);
void flags_free(struct tx *t);	     /* before host flags are overwritten by the translator's own code */
void flags_before(struct tx *t, u8 tmp); /* before the guest instruction k itself, which may read or merge flags */
bool flags_must_restore(const struct tx *t); /* would flags_before() emit anything? */
void flags_after(struct tx *t);
bool flags_wanted_at(struct tx *t, s64 target); /* may the code at this page offset read flags? */
u16 insn_reads_flags(const struct insn *i);

/* access.c */
bool access_address(struct tx *t, const struct insn *i, u8 dst);   /* dst = linear address; false: not supported */
void access_check(struct tx *t, const u8 *retry, unsigned size, bool write); /* scratch = address -> scratch + scratch2 = host */
const u8 *access_begin(struct tx *t); /* frees the flags, returns the retry point */
void tx_site(struct tx *t);	      /* the host instruction emitted next may fault for the guest */

/* copy.c, stack.c, branch.c, bits.c, string.c, system.c: emit instruction k; false: the interpreter has to do it */
bool copy_insn(struct tx *t, const struct insn *i);
bool lea_insn(struct tx *t, const struct insn *i);
bool copy_possible(const struct insn *i);
bool push_insn(struct tx *t, const struct insn *i);
bool pop_insn(struct tx *t, const struct insn *i);
bool leave_insn(struct tx *t, const struct insn *i);
void branch_miss(struct tx *t);	/* the out-of-line part of a computed branch */
bool branch_possible(const struct insn *i);
void branch_insn(struct tx *t, const struct insn *i);
void edge_to(struct tx *t, s64 target);	/* unconditional edge to a page offset (may lie outside of the page) */
void edge_interp(struct tx *t, u16 offset);
void jump_lookup_in(struct tx *t, enum tlb_view view); /* goes on at scratch under a view */
void edge_view(struct tx *t, s64 target, enum tlb_view view); /* goes on under another view */
void interp_if_not_canonical(struct tx *t, u16 guest); /* scratch; overwrites scratch2 and flags */
bool bits_possible(const struct insn *i);
bool bits_insn(struct tx *t, const struct insn *i);
bool string_possible(const struct insn *i);
bool string_insn(struct tx *t, const struct insn *i);
bool system_possible(const struct tx *t, const struct insn *i);
bool system_ends_block(const struct insn *i);
bool system_insn(struct tx *t, const struct insn *i);
bool system_ignores_flags(const struct insn *i); /* whoever does it: neither reads arithmetic flags nor passes them on */
void interp_if(struct tx *t, u8 cond); /* flags saved */
void interp_if_event_waits(struct tx *t);
void test_or_interp(struct tx *t, struct host_mem m, u32 bits, u8 cond);
void system_load_u8(struct tx *t, u8 dst, size_t offset);
void system_set_flags(struct tx *t, u8 reg, u8 tmp); /* RFLAGS = reg, of which only bits that exist are set */
/* transfer.c */
bool transfer_possible(const struct tx *t, const struct insn *i);
bool transfer_insn(struct tx *t, const struct insn *i);
/* inplace.c: the interpreter's function, called from the block */
bool inplace_ends_block(const struct insn *i);
void inplace_insn(struct tx *t, const struct insn *i, bool ends_block);

/* Guest register n as a host register: itself when mapped, else loaded into tmp. */
static inline u8 use_reg(struct tx *t, u8 n, u8 tmp)
{
	if (host_reg(n) != IN_MEMORY)
		return host_reg(n);
	emit_load(&t->e, tmp, TX_GPR(n));
	return tmp;
}
