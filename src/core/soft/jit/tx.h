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
	u16 size, own;
	u16 what; /* SLOW_* */
	u16 recipe; /* of the flags, or 0: they are saved or dead */
};

/* How an access of the block finds its host page (group.c). */
enum access_how { ACCESS_ALONE, ACCESS_LEADS, ACCESS_FOLLOWS };
/*
 * How its operand is computed. PLAIN: one address, a constant from the group's. The index of the others is a zero-extended byte.
 * TABLE: at a constant address, and all that the index may reach lies in one page. ARRAY: at a register, and indices are
 * compared with how many elements the page has from there on.
 */
enum access_form { ACCESS_PLAIN, ACCESS_TABLE, ACCESS_ARRAY };
struct access {
	u8 how, group, form;
	u8 checked; /* n: its index is compared by instruction n - 1, before the flags are written that it would overwrite */
	u16 span; /* of a leader's group, bytes */
	u16 own;  /* where in the group the leader's own bytes are */
	bool wtag;   /* a leader of accesses some of which write */
	s32 base_by; /* a follower's base register, less what it was for the leader */
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

/* A conditional branch in the middle of a block whose edge is emitted behind the block; or a computed one that goes elsewhere. */
#define SIDE_COMPUTED INT64_MIN
struct side_exit {
	u8 *rel32;
	s64 target; /* SIDE_COMPUTED: scratch is the linear address, from code_base */
	enum flags_state state;
	u16 recipe, recipe_regs;
	u32 k;
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
	s64 end;	  /* behind the last instruction, from the home page; 4096 = the next page */
	u64 inplace; /* bit k: instruction k is done by inplace.c */
	u32 backs;     /* jumps backward that the block followed */
	u32 went_back; /* instructions until the first of them, after which every edge may close a loop; 0: none */
	u64 turned;  /* bit k: the block goes on where branch k jumps to, not behind it */
	u64 expected; /* bit k: computed jump k is compared with where the path went on: k + 1, or the start if k is the last */
	u32 pages;    /* that it lies in, if it is made from a path */
	bool loop_wants; /* an edge to the block's own start needs the flags */
	bool loops;	 /* the analysis of flags asked whether it does */
	struct flags_fate {
		s64 target;
		u16 moved;
		u8 what;
	} fate[16]; /* by target: what flags_fate() found */
	u64 recipe_serves; /* bit k: instead of the flags of instruction k a recipe does, all the way until they are dead */

	/* zeroed whenever emission begins anew */
	enum flags_state state;
	u16 unsaved; /* FLAGS_SAVED, but there is no image: this recipe makes one. 0: there is */
	u16 recipe, recipe_regs; /* for the flags in FLAGS_HOST; the registers still have the operands */
	u32 writer; /* the instruction that they are from */
	s32 rsp_lag; /* what the guest's RSP is more than its register, inside of a run of pushes and pops */
	bool window_led; /* the stack window was just checked: see tx_window_site() */
	u32 k; /* the instruction being emitted */
	/* What the scratch registers hold by chance, so that it need not be loaded again; see scratch_lost(). */
	u8 reg_in_scratch;	/* HOST_SCRATCH: a guest register, or IN_MEMORY */
	u8 addend_in_scratch, addend_in_scratch2; /* the addend of this group, or NO_GROUP */
	struct miss_site miss; /* a block ends with one computed branch at most */
	u8 *hot; /* rel32 of the jump that is taken when it has run often */
	struct path_check *check; /* that a path in several pages begins with */
	u8 *check_rel32[PATH_PAGES][2]; /* the jumps out of it */
	const u8 *loop_entry; /* behind it, where the path comes round to */
	u32 slow_count, interp_count, edge_count, side_count, site_count;

	/* not zeroed at the start */
	struct insn insn[BLOCK_INSNS];
	u16 off[BLOCK_INSNS + 1]; /* in its page */
	u8 in_page[BLOCK_INSNS];  /* which of the path's pages, 0: home */
	u16 moves[BLOCK_INSNS];	  /* insn_moves() */
	u16 live_in[BLOCK_INSNS], live_out[BLOCK_INSNS]; /* FL_ARITH bits */
	u16 recipe_of[BLOCK_INSNS], recipe_needs[BLOCK_INSNS]; /* for an instruction's flags, or 0, and the registers it takes */
	struct access operand[BLOCK_INSNS], stack[BLOCK_INSNS];
	bool group_is_stack[MAX_GROUPS];
	struct slow_site slow[BLOCK_INSNS * 3];
	struct interp_site interp[BLOCK_INSNS * 2 + 2]; /* two an instruction, SYSRET four */
	struct edge_site edge[MAX_EDGES];
	struct side_exit side[MAX_SIDES];
	struct site site[BLOCK_INSNS + MAX_GROUPS]; /* one an instruction, and where the stack is looked up */
};

static inline bool tx_is_32(const struct tx *t)
{
	return t->key & KEY_32;
}
/* What the block is decoded for; 32-bit code is the same in legacy and compatibility mode. */
static inline enum cpu_mode tx_mode(const struct tx *t)
{
	return tx_is_32(t) ? MODE_PROT32 : MODE_LONG64;
}
static inline bool insn_is_32(const struct insn *i)
{
	return i->mode != MODE_LONG64;
}
/* Of a register, an address, what a push pushes. */
static inline u8 insn_word(const struct insn *i)
{
	return insn_is_32(i) ? 4 : 8;
}

#define NO_GROUP 0xff
#define TX_FRAME(field) mem_base(RSP, offsetof(struct jit_frame, field))
#define TX_GPR(n) mem_base(RSP, (s32)(offsetof(struct jit_frame, reg) + 8 * home_index(n))) /* of those not mapped */
#define TX_CPU(field) mem_gs(offsetof(struct cpu, field))

/* flags.c */
void flags_analyse(struct tx *t);
void flags_save(struct tx *t);	     /* HOST -> SAVED; uses scratch */
void flags_restore(struct tx *t, u8 tmp); /* SAVED -> HOST; uses tmp */
void flags_emit_save(struct emit *e); /* uses scratch */
void flags_emit_restore(struct emit *e, u8 tmp);
void flags_free(struct tx *t);	     /* before host flags are overwritten by the translator's own code */
void flags_store_recipe(struct tx *t, u16 recipe); /* in the place of an image */
void flags_free_for(struct tx *t, s64 target); /* HOST -> SAVED, before a jump there, as far as they are wanted */
bool flags_recipe_serves(struct tx *t, s64 target); /* at a jump there, in FLAGS_HOST */
void flags_before(struct tx *t, u8 tmp); /* before the guest instruction k itself, which may read or merge flags */
bool flags_enter_saved(const struct tx *t); /* is a check of the translator's the first to touch the flags? */
bool flags_must_restore(const struct tx *t); /* would flags_before() emit anything? */
void flags_after(struct tx *t); /* instruction k was emitted, and its flags are in the host's */
bool flags_keep_operand(const struct tx *t); /* must instruction k, which compares memory, keep what it finds? */
void flags_moved(struct tx *t); /* instruction k was emitted, whoever does it */
bool flags_wanted_at(struct tx *t, s64 target); /* may the code there read flags? */
u16 insn_reads_flags(const struct insn *i);

/* recipe.c; 0: there is none. *ret_regs: bit n, it needs GPR n */
u16 recipe_of(struct jit *j, const struct insn *i, u16 *ret_regs);
bool recipe_keeps_shifted(const struct insn *i); /* jit_frame.operand is then to have its operand, if it has a recipe */
u16 recipe_after_lea(struct jit *j, u16 code, const struct insn *i); /* which writes one of its registers; 0: void */
bool recipe_takes_operand(const struct jit *j, u16 code); /* from memory: the block has to keep it */
void recipe_emit(struct tx *t, u16 code); /* SAVED -> HOST; uses both scratch registers */

/* group.c */
u8 insn_operand_gpr(const struct insn *i, const struct opnd *o); /* the register that it names, or BASE_NONE */
void group_analyse(struct tx *t);
u16 insn_gprs(const struct insn *i, u8 access); /* ACC_R, ACC_W: bit n = GPR n, wholly or in part; not RSP of the stack */
u16 insn_moves(const struct insn *i); /* GPRs that it writes, RSP and RBP of the stack included */

/* access.c */
bool access_address(struct tx *t, const struct insn *i, u8 dst);   /* dst = linear address; false: not supported */
void access_check(struct tx *t, const u8 *retry, unsigned size, bool write); /* scratch: linear address -> host's */
/* Instruction k's memory operand as host memory; uses scratch2, and scratch if *ret_m does. */
bool access_operand(struct tx *t, const struct insn *i, unsigned size, bool write, struct host_mem *ret_m);
/* A word at [reg + disp]; likewise. In 32-bit code it uses scratch too, which access_free_scratch() frees. */
struct host_mem access_stack(struct tx *t, u8 reg, s32 disp, bool write);
void access_free_scratch(struct tx *t, struct host_mem *m);
bool access_may_group(const struct insn *i);
bool access_indexed(const struct insn *i);
bool access_has_segment(const struct insn *i);
const u8 *access_begin(struct tx *t); /* frees the flags, returns the retry point */
/* The same if it is the first through the stack window: an address that is not canonical may lie in an empty one. */
void tx_window_site(struct tx *t);
void tx_site(struct tx *t);	      /* the host instruction emitted next may fault for the guest */

/* discover.c: what the block consists of */
void discover(struct tx *t, u16 offset);
bool discover_path(struct tx *t); /* false: none that is worth a block */
bool tx_ends_block(const struct tx *t, u32 k);
bool tx_is_inplace(const struct tx *t, u32 k);
bool insn_is_branch(const struct insn *i);
bool insn_is_short_inc(const struct insn *i); /* INC, DEC by opcodes 40 to 4F */
bool insn_is_ordinary(const struct insn *i); /* flags.c: behind it comes the next */

/* translate.c: is the page this far from home mapped there? Flags are saved; emits two jumps for when it is not. */
void tx_page_check(struct tx *t, s64 from_home, u64 gpa, u8 *ret_rel32[2]);

/* path.c: what a path in several pages begins with; and its way out, out of line, with that of a jump that got hot */
void path_emit_check(struct tx *t);
void path_emit_out(struct tx *t);

/* copy.c, stack.c, branch.c, bits.c, string.c, system.c: emit instruction k; false: the interpreter has to do it */
bool copy_insn(struct tx *t, const struct insn *i);
bool lea_insn(struct tx *t, const struct insn *i);
bool copy_possible(const struct insn *i);
bool copy_may_fault(const struct insn *i); /* in the host, for the guest */
bool stack_may_lag(const struct tx *t, const struct insn *i);
void stack_settle(struct tx *t);
bool stack_possible(const struct insn *i); /* PUSH, POP, LEAVE */
bool push_insn(struct tx *t, const struct insn *i);
bool pop_insn(struct tx *t, const struct insn *i);
bool leave_insn(struct tx *t, const struct insn *i);
void branch_miss(struct tx *t);	/* the out-of-line part of a computed branch */
void branch_sides(struct tx *t); /* the edges of the branches in the middle */
bool branch_possible(const struct insn *i);
void branch_insn(struct tx *t, const struct insn *i);
void edge_to(struct tx *t, s64 target);	/* unconditional edge; targets count from the home page and may lie outside of it */
void branch_next_page(struct tx *t); /* after instruction k, whose successor in the block is in another page */
void edge_interp(struct tx *t, u16 offset);
void jump_lookup_in(struct tx *t, enum tlb_view view); /* goes on at scratch under a view */
void edge_view(struct tx *t, s64 target, enum tlb_view view); /* goes on under another view */
void interp_if_not_canonical(struct tx *t, u16 guest); /* scratch; overwrites scratch2 and flags. Never in 32-bit code */
bool bits_insn(struct tx *t, const struct insn *i);
static inline bool bits_possible(const struct insn *i) /* asked of every instruction, several times */
{
	return i->mem && i->map == 1 && (i->opcode & 0xe7) == 0xa3 && i->opsize != 2 && i->adsize == 8;
}
bool string_is_emitted(const struct insn *i); /* of KIND_STRING */
static inline bool string_possible(const struct insn *i)
{
	return i->d->kind == KIND_STRING && string_is_emitted(i);
}
bool string_insn(struct tx *t, const struct insn *i);
bool system_possible(const struct tx *t, const struct insn *i);
bool system_ends_block(const struct insn *i);
bool system_insn(struct tx *t, const struct insn *i);
bool system_ignores_flags(const struct insn *i); /* whoever does it: neither reads arithmetic flags nor passes them on */
void interp_if(struct tx *t, u8 cond); /* flags saved */
void interp_if_event_waits(struct tx *t);
void test_or_interp(struct tx *t, struct host_mem m, u32 bits, u8 cond);
void system_load_u8(struct tx *t, u8 dst, struct host_mem m, s32 byte);
void system_set_flags(struct tx *t, u8 reg, u8 tmp); /* RFLAGS = reg, of which only bits that exist are set */
/* transfer.c */
bool transfer_possible(const struct tx *t, const struct insn *i);
bool transfer_insn(struct tx *t, const struct insn *i);
/* inplace.c: the interpreter's function, called from the block */
bool inplace_ends_block(const struct insn *i);
void inplace_insn(struct tx *t, const struct insn *i, bool ends_block);

/* Whoever changes a scratch register says so, before another instruction could use what it held. */
static inline void scratch_lost(struct tx *t)
{
	t->reg_in_scratch = IN_MEMORY;
	t->addend_in_scratch = NO_GROUP;
}
static inline void scratch_has_reg(struct tx *t, u8 n)
{
	t->reg_in_scratch = n;
	t->addend_in_scratch = NO_GROUP;
}
static inline void scratch2_lost(struct tx *t)
{
	t->addend_in_scratch2 = NO_GROUP;
}

/* Where instruction k's page lies, from the block's home. */
static inline s64 tx_page_at(const struct tx *t, u32 k)
{
	const struct path *p = t->src->path;

	return t->in_page[k] ? (s64)(p->page[t->in_page[k]].la - p->page[0].la) : 0;
}
static inline s64 tx_at(const struct tx *t, u32 k)
{
	return tx_page_at(t, k) + t->off[k];
}

/* Words: 64 bits, or 32 in 32-bit code, which leave the upper half of a register zero. */
static inline void tx_load(struct tx *t, u8 dst, struct host_mem m)
{
	if (tx_is_32(t))
		emit_load32(&t->e, dst, m);
	else
		emit_load(&t->e, dst, m);
}
static inline void tx_store(struct tx *t, struct host_mem m, u8 src)
{
	if (tx_is_32(t))
		emit_store32(&t->e, m, src);
	else
		emit_store(&t->e, m, src);
}
static inline void tx_lea(struct tx *t, u8 dst, struct host_mem m)
{
	if (tx_is_32(t))
		emit_lea32(&t->e, dst, m);
	else
		emit_lea(&t->e, dst, m);
}
static inline void tx_mov(struct tx *t, u8 dst, u8 src)
{
	if (tx_is_32(t))
		emit_mov32(&t->e, dst, src);
	else
		emit_mov(&t->e, dst, src);
}

/* Guest register n as a host register: itself when mapped, else loaded into tmp. */
static inline u8 use_reg(struct tx *t, u8 n, u8 tmp)
{
	if (host_reg(n) != IN_MEMORY)
		return host_reg(n);
	if (tmp == HOST_SCRATCH && t->reg_in_scratch == n)
		return tmp;
	if (tmp == HOST_SCRATCH)
		scratch_lost(t);
	else
		scratch2_lost(t);
	emit_load(&t->e, tmp, TX_GPR(n));
	return tmp;
}
