/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One guest processor: its architectural registers, and the few caches that the interpreter and the translator share.
 * Owned by the thread that runs the vCPU; other threads touch `req` only (and state under the vCPU's lock while it is
 * not in KVM_RUN). Translated code addresses this struct through gs:, so everything it needs lies here.
 *
 * Vector state (x87, MMX, SSE, AVX) is not here while the guest runs: it lives in the host's own registers from the
 * entry of KVM_RUN to its return (fpu.h). All of src/core/soft is therefore compiled with general registers only.
 */
#pragma once
#include <setjmp.h>
#include "types.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
enum seg_id { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, SEG_COUNT };

/* EFLAGS (SDM vol. 1, 3.4.3) */
#define FL_CF 0x1u
#define FL_1 0x2u
#define FL_PF 0x4u
#define FL_AF 0x10u
#define FL_ZF 0x40u
#define FL_SF 0x80u
#define FL_TF 0x100u
#define FL_IF 0x200u
#define FL_DF 0x400u
#define FL_OF 0x800u
#define FL_IOPL 0x3000u
#define FL_NT 0x4000u
#define FL_RF 0x10000u
#define FL_VM 0x20000u
#define FL_AC 0x40000u
#define FL_VIF 0x80000u
#define FL_VIP 0x100000u
#define FL_ID 0x200000u
#define FL_ARITH (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

#define CR0_PE (1u << 0)
#define CR0_MP (1u << 1)
#define CR0_EM (1u << 2)
#define CR0_TS (1u << 3)
#define CR0_ET (1u << 4)
#define CR0_NE (1u << 5)
#define CR0_WP (1u << 16)
#define CR0_AM (1u << 18)
#define CR0_NW (1u << 29)
#define CR0_CD (1u << 30)
#define CR0_PG (1u << 31)
#define CR4_VME (1u << 0)
#define CR4_PVI (1u << 1)
#define CR4_TSD (1u << 2)
#define CR4_DE (1u << 3)
#define CR4_PSE (1u << 4)
#define CR4_PAE (1u << 5)
#define CR4_MCE (1u << 6)
#define CR4_PGE (1u << 7)
#define CR4_PCE (1u << 8)
#define CR4_OSFXSR (1u << 9)
#define CR4_OSXMMEXCPT (1u << 10)
#define CR4_UMIP (1u << 11)
#define CR4_FSGSBASE (1u << 16)
#define CR4_PCIDE (1u << 17)
#define CR4_OSXSAVE (1u << 18)
#define CR4_SMEP (1u << 20)
#define CR4_SMAP (1u << 21)
#define EFER_SCE (1u << 0)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)
#define EFER_NX (1u << 11)

enum { EXC_DE, EXC_DB, EXC_NMI, EXC_BP, EXC_OF, EXC_BR, EXC_UD, EXC_NM, EXC_DF, EXC_TS = 10, EXC_NP, EXC_SS, EXC_GP,
       EXC_PF, EXC_MF = 16, EXC_AC, EXC_MC, EXC_XM };

/* Page fault error code bits (SDM vol. 3, 4.7) */
#define PF_P 1u
#define PF_W 2u
#define PF_U 4u
#define PF_RSVD 8u
#define PF_I 16u

/* A segment register with its hidden part; limit is in bytes (already scaled by G). */
struct segment {
	u64 base;
	u32 limit;
	u16 sel;
	u8 type; /* bits 3..0 of the descriptor's type; for code/data bit 3 = code, bit 2 = E or C, bit 1 = W or R, 0 = A */
	u8 s, dpl, present, avl, l, db, g;
	u8 unusable;
};

struct desc_table {
	u64 base;
	u16 limit;
};

/*
 * Execution modes: they select decoding, and the translator's block keys. MODE_LONG64 is CS.L under EFER.LMA;
 * MODE_COMPAT* are 32/16-bit code under EFER.LMA.
 */
enum cpu_mode { MODE_REAL, MODE_VM86, MODE_PROT16, MODE_PROT32, MODE_COMPAT16, MODE_COMPAT32, MODE_LONG64 };

/*
 * The software TLB. One entry serves data reads and writes of one 4 KiB page for one privilege view; an access
 * [la, la+n) hits when la - tag < 4096 - (n - 1) (unsigned); its host address is la + addend, or page + (la - tag).
 * A tag that matches nothing is tlb_no_tag(index): an address that would never be looked up in this entry. It is zero for
 * all but the first, so that untouched memory is an empty table once its first entry is written.
 * wtag is absent for pages that are read-only, clean (dirty bit or dirty log still to be set) or hold translated code.
 */
struct tlb_entry {
	u64 rtag, wtag;
	u64 addend; /* host address - linear address */
	u8 *page;
};
#define TLB_BITS 11
#define TLB_SIZE (1u << TLB_BITS)
#define TLB_GLOBAL 1ull /* in cpu.tlb_gpa, beside the address of the page */
enum tlb_view { VIEW_KERNEL, VIEW_KERNEL_AC, VIEW_USER, VIEW_COUNT }; /* CPL<3 without / with user access, CPL 3 */
#define JUMP_TABLES (2 * VIEW_COUNT) /* views of 64-bit code, then those of 32-bit code */

static inline u32 tlb_index(u64 la)
{
	return (la >> 12) & (TLB_SIZE - 1);
}
static inline u64 tlb_no_tag(u32 index)
{
	return (u64)!index << 12;
}

/* Translated code's own entry for the page that RSP was last seen in: writable, and dropped with any TLB entry. */
struct stack_window {
	u64 page; /* linear address, or NO_STACK_WINDOW */
	u64 addend;
};
#define NO_STACK_WINDOW (1ull << 63)

/* Where fetches may come from: page tag (| nothing) per view, to the guest-physical page. Misses go to mmu_fetch(). */
struct itlb_entry {
	u64 tag; /* linear page, or tlb_no_tag-like value */
	u64 gpa;
	u8 *host;
};
#define ITLB_SIZE 256u

/*
 * Jump cache: linear address of a branch target to translated code, per view and code size; emptied with the TLB:
 * cpu_flush_jump(). The address in an empty entry is jump_no_rip(): its own index is another one. Most functions begin at a
 * multiple of 16. Translated code (jit/branch.c) computes the same index.
 */
struct jump_entry {
	u64 rip;
	u64 code;
};
#define JUMP_BITS 13
#define JUMP_SIZE (1u << JUMP_BITS)
#define JUMP_FOLD 10
static inline u32 jump_index(u64 rip)
{
	return ((u32)rip ^ (u32)rip >> JUMP_FOLD) >> 1 & (JUMP_SIZE - 1);
}
static inline u64 jump_no_rip(u32 index)
{
	return (u64)!index << 1; /* not 1, which has index 0 as well */
}

/* Which of up to 16384 entries of a table were filled: who empties the table looks at no others. A TLB entry may be in both. */
enum filled_table {
	FILLED_GLOBAL, FILLED_LOCAL, /* of the TLB: view << TLB_BITS | index */
	FILLED_JUMP,
	FILLED_ITLB = FILLED_JUMP + JUMP_TABLES,
	FILLED_TABLES = FILLED_ITLB + 2,
};
struct filled {
	u64 any[FILLED_TABLES][4]; /* a bit for each word that is not zero */
	u64 word[FILLED_TABLES][256];
};
static inline void filled_add(struct filled *f, u32 table, u32 index)
{
	f->word[table][index / 64] |= 1ull << (index & 63);
	f->any[table][index / 4096] |= 1ull << (index / 64 & 63);
}
/* for (struct filled_walk w = filled_begin(f, table); filled_next(f, &w, &index);) */
struct filled_walk {
	u64 any, bits;
	u32 table, n, group;
};
static inline struct filled_walk filled_begin(const struct filled *f, u32 table)
{
	return (struct filled_walk){ .any = f->any[table][0], .table = table };
}
static inline bool filled_next(const struct filled *f, struct filled_walk *w, u32 *ret_index)
{
	while (!w->bits) {
		while (!w->any) {
			if (w->group == 3)
				return false;
			w->any = f->any[w->table][++w->group];
		}
		w->n = w->group * 64 + (u32)__builtin_ctzll(w->any);
		w->any &= w->any - 1;
		w->bits = f->word[w->table][w->n];
	}
	*ret_index = w->n * 64 + (u32)__builtin_ctzll(w->bits);
	w->bits &= w->bits - 1;
	return true;
}
static inline void filled_clear(struct filled *f, u32 table)
{
	u64 *any = f->any[table];

	for (u32 n = 0; n < 4; n++)
		for (; any[n]; any[n] &= any[n] - 1)
			f->word[table][n * 64 + (u32)__builtin_ctzll(any[n])] = 0;
}

/* Paging-structure cache (SDM vol. 3, 4.10.3): where the table of the last or last but one level lies for an address. */
struct memslot;
struct walk_entry {
	u64 key;   /* linear address >> 21 or >> 30, times 256; the rights of the upper levels: WALK_* of mmu.c */
	u64 stamp; /* valid while it is set_notes.walk_stamp */
	u8 *table; /* host address */
	struct memslot *slot;
};
#define WALK_PT 64u
#define WALK_PD 16u

/*
 * What mmu.c and mmu-sets.c know about the tables of one address space; see struct cpu. First is what is always looked at: one
 * page, and what there is nothing to know about is not touched.
 */
struct set_notes {
	u64 root;	   /* page tables that filled it */
	u64 walk_stamp;	   /* never zero */
	bool kernel_local; /* supervisor code was fetched from a page that is not global */
	struct filled filled;
	u64 global_writes[64], local_writes[64]; /* pages with a write tag: note_write() */
	u64 large[32], huge; /* 2 MiB and 1 GiB regions where large pages were cut: note_bit() */
	u64 fetched[2][64]; /* pages fetched from since the jump cache was emptied, [1] by user code: note_bit() */
	struct walk_entry walk_pt[WALK_PT], walk_pd[WALK_PD];
};
/* A region's bit among 2 << bits: the kernel's half and the user's do not meet. */
static inline u32 note_bit(u64 la, u32 shift, u32 bits)
{
	return (u32)(la >> shift & ((1u << bits) - 1)) | (u32)(la >> 63) << bits;
}
static inline bool note_has(const u64 *map, u32 bit)
{
	return map[bit / 64] >> (bit & 63) & 1;
}
static inline void note_add(u64 *map, u32 bit)
{
	map[bit / 64] |= 1ull << (bit & 63);
}
static inline u32 note_huge(u64 la)
{
	return note_bit(la, 30, 5);
}
static inline u32 note_large(u64 la)
{
	return note_bit(la, 21, 10);
}
static inline u32 note_fetched(u64 la)
{
	return note_bit(la, 12, 11);
}
static inline u32 note_write(u64 gpa)
{
	return gpa >> 12 & 4095;
}

/*
 * Code cache of a vCPU: guest-physical address and block key to translated code. It survives changes of mappings, so that a
 * return to an address space finds its code again. What was made from a page is void when the page's age is another
 * (jit/cache.c), so nobody has to empty it.
 */
struct code_entry {
	u64 key; /* 0: empty */
	u64 code; /* the page's age when it was made << CODE_AGE_SHIFT, and where in the code memory */
};
#define CODE_ENTRIES 16384u
#define CODE_AGE_SHIFT 26

/* Requests to a vCPU; set by anybody with vcpu_request(), polled by all execution loops. */
#define REQ_EXIT (1u << 0)	 /* leave to run.c: something below is set, or user space wants the vCPU */
#define REQ_EVENT (1u << 1)	 /* interrupt state changed: look at LAPIC/PIC/NMI/INIT/SIPI */
#define REQ_PAUSE (1u << 2)	 /* stop the world: memslots or code cache are changing */
#define REQ_TLB_FLUSH (1u << 3)	 /* all cached translations of addresses are void */
#define REQ_JUMP_FLUSH (1u << 4) /* jump cache void (code was invalidated by another vCPU) */
#define REQ_SIGNAL (1u << 5)	 /* look for pending signals */
#define REQ_MIGRATE_CLOCK (1u << 6) /* kvmclock page needs an update */

/* One MMIO or port access of the current instruction that user space has answered (see cpu/host.h, replay). */
struct io_replay {
	u64 addr;
	u8 data[8];
	u8 len;
	bool write, port, done;
};
/*
 * The instruction that `insns` counted last makes one access of this size; then, if it is a read, a register gets the value,
 * and that is all: it need not be executed again when user space has answered.
 */
struct single_access {
	u64 insn;
	u8 size, reg;
	bool merge; /* the register's other bits stay */
};
#define IO_REPLAY_MAX 8 /* an unaligned 32-byte vector access splits into at most 5 pieces of 8 bytes, read and write */

/* The interpreter's cache of decoded instructions: a direct-mapped table by host address, contents checked on use. */
#define DECODED_COUNT 2048u
#define DECODED_SIZE 192u

/* Segments that transfers load all the time, by selector; code and data apart, of which IRET needs one each. */
#define PLAIN_COUNT 8u
#define OPS_MAX 1024u

typedef u32 u32_unaligned __attribute__((aligned(1)));

/* Computed jumps are told apart by this many counters. */
#define HEATS 256u

struct cpu {
	/* -- read and written by translated code; the order is free, the offsets come from offsetof -- */
	u64 gpr[16];
	u64 rip;
	u64 rflags;    /* in translated code: all but FL_ARITH (those are in the host's flags or in saved_flags) */
	u64 code_base;	 /* translated code: linear address of the page being executed; see struct jit_frame */
	u64 saved_flags; /* translated code: lahf/seto image, or a recipe for it, while the host's flags are lent; likewise */
	u64 operand; /* translated code: of a comparison with memory, or a shift, for its recipe; likewise */
	u64 scratch[2]; /* translated code's stubs */
	struct stack_window stack[VIEW_COUNT];
	u64 host_rsp;
	u64 cur_block; /* translated code: the block that is leaving, for the dispatcher */
	u32_unaligned *poll; /* kvm_run bytes 1..4: immediate_exit and three of ours; non-zero = leave (soft.h) */
	u32 heat[HEATS]; /* translated code: by the place of computed jumps, how often until they are hot */
	u32 req;       /* REQ_*, atomic */
	u8 cpl, mode, view, intr_shadow; /* cached from cs, cr0, efer, rflags.AC; intr_shadow: STI or MOV SS just done */
	struct segment seg[SEG_COUNT];
	u64 self;      /* address of this struct, for translated code's helper calls */
	struct cpu *set; /* this struct with the tables of the current address space: see "caches" */
	u32 jit_key;   /* execution state the jump cache was filled for */
	bool gs_is_set; /* the host's GS base is `set`: on the vCPU's thread in jit_run() */

	struct desc_table gdtr, idtr;
	u64 cr0, cr2, cr3, cr4, cr8, efer, xcr0;
	u64 dr[8];
	u64 kernel_gs_base, star, lstar, cstar, sfmask, tsc_aux;
	u64 sysenter_cs, sysenter_esp, sysenter_eip, pat, mtrr_def, misc_enable;
	s64 tsc_offset;
	u64 pdpte[4]; /* PAE page-directory pointers, loaded by MOV CR3 (SDM vol. 3, 4.4.1) */
	u64 phys_mask; /* bits of a physical address that exist (MAXPHYADDR) */
	bool halted, nmi_blocked, a20_always;

	/* Pending exception that cpu_raise() recorded before it left by longjmp */
	struct {
		u8 vector;
		bool has_error, in_delivery, pending;
		u32 error;
		u64 cr2;
		u64 dr6; /* payload of #DB */
	} exc;
	jmp_buf *fault_jmp; /* where cpu_raise() and cpu_leave() go: set by whoever executes an instruction */

	struct io_replay replay[IO_REPLAY_MAX];
	u8 replay_count, replay_pos;
	struct single_access single;

	struct lockstep *shadow; /* this one is a shadow, see jit/lockstep.h */
	struct vcpu *vcpu; /* the owner (soft.h); the processor itself never looks inside */

	u64 insns; /* interpreted instructions */
	u32 op_count[OPS_MAX]; /* the same by enum insn_op (insn.h) */

	/*
	 * -- caches of one address space --
	 * struct vcpu is mapped MMU_SETS times. The mappings differ in this part alone, everything else is the same memory.
	 * So a change of address space (mmu-sets.c) is another GS base for translated code and another cpu.set for C code,
	 * which reaches the tables as c->set->tlb and so on.
	 */
	struct tlb_entry tlb[VIEW_COUNT][TLB_SIZE] __attribute__((aligned(4096)));
	u64 tlb_gpa[VIEW_COUNT][TLB_SIZE]; /* of the same entries: only flushes look at it */
	struct jump_entry jump[JUMP_TABLES][JUMP_SIZE];
	struct itlb_entry itlb[2][ITLB_SIZE]; /* [0] supervisor, [1] user */
	struct set_notes notes;

	/* -- caches of all address spaces -- */
	struct code_entry code[CODE_ENTRIES] __attribute__((aligned(4096)));

	/* -- the interpreter's own (exec.h) -- */
	u64 next_rip;	/* where the instruction goes on: preset to the one behind it, branches change it */
	u64 trap_bits;	/* DR6 bits of the traps that the instruction has met so far */
	u8 decode_mode; /* enum cpu_mode: as `mode`, but 32-bit for real mode with a 32-bit CS */
	bool watch;	/* data or I/O breakpoints are armed */
	bool keep_rf;	/* the instruction loaded RF (IRET, task switch) */
	bool no_trap;	/* no single-step trap after this instruction (INT n, MOV SS) */
	struct {
		u64 raw;
		struct segment seg; /* type 0: empty */
	} plain[2][PLAIN_COUNT]; /* seg_plain(): [1] is code */
	/* cache of decoded instructions */
	u8 decoded[DECODED_COUNT][DECODED_SIZE] __attribute__((aligned(64)));
};

void cpu_update_mode(struct cpu *c); /* recompute cpl, mode, view after cs, cr0, cr4, efer or rflags.VM/AC changed */

static inline void cpu_drop_stack(struct cpu *c)
{
	for (u32 v = 0; v < VIEW_COUNT; v++)
		c->stack[v].page = NO_STACK_WINDOW;
}

/* Empties the jump caches of all address spaces: execution state changed, or code became void. Own thread only. */
void cpu_flush_jump(struct cpu *c);

/* The jump cache for c's mode, which is one that is translated. */
static inline u32 cpu_jump_table(const struct cpu *c)
{
	return c->view + (c->mode == MODE_LONG64 ? 0u : VIEW_COUNT);
}

static inline void cpu_put_jump(struct cpu *c, u64 code)
{
	u32 i = jump_index(c->rip), table = cpu_jump_table(c);

	c->set->jump[table][i] = (struct jump_entry){ c->rip, code };
	filled_add(&c->set->notes.filled, FILLED_JUMP + table, i);
}

/* What is known for c->rip, or NULL. */
static inline const u8 *cpu_get_jump(const struct cpu *c)
{
	const struct jump_entry *e = &c->set->jump[cpu_jump_table(c)][jump_index(c->rip)];

	return e->rip == c->rip ? (const u8 *)(uintptr_t)e->code : NULL;
}

static inline bool cpu_long(const struct cpu *c)
{
	return c->efer & EFER_LMA;
}

/* All 4 GiB of a segment from base 0 may be read, and written if it is one for data. */
static inline bool seg_is_flat(const struct segment *s, u8 type_mask, u8 type)
{
	return !s->base && s->limit == UINT32_MAX && (s->type & type_mask) == type && !s->unusable;
}

/* 32-bit code with flat CS, DS, ES and SS: what the translator does outside of 64-bit mode. */
static inline bool cpu_flat32(const struct cpu *c)
{
	return (c->mode == MODE_PROT32 || c->mode == MODE_COMPAT32) && seg_is_flat(&c->seg[SEG_CS], 10, 10) &&
	       seg_is_flat(&c->seg[SEG_SS], 14, 2) && c->seg[SEG_SS].db && seg_is_flat(&c->seg[SEG_DS], 14, 2) &&
	       seg_is_flat(&c->seg[SEG_ES], 14, 2);
}

/* Code that the translator may do, as far as the mode goes. */
static inline bool cpu_translates(const struct cpu *c)
{
	return c->mode == MODE_LONG64 || cpu_flat32(c);
}
