/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * String instructions and ports. REP runs in runs of elements that lie in one page at both ends: there it is a loop over
 * host memory, element by element as the guest asked, so that overlapping copies come out the same. Between runs it stops for
 * requests, at a state from which the instruction can go on.
 */
#include "exec.h"
#include "x86-ops.h"

#define RUN_MAX 4096u /* elements between two looks at the poll word */

static u64 string_la(struct cpu *c, const struct insn *i, unsigned seg, unsigned reg, unsigned size, bool write)
{
	u64 la = seg_la(c, seg, addr_reg(c, reg, i->adsize), size, write);

	access_note(c, la, size, write);
	return la;
}

static unsigned source_seg(const struct insn *i)
{
	return i->seg_override == 0xff ? SEG_DS : i->seg_override;
}

static void advance(struct cpu *c, const struct insn *i, unsigned reg, u64 elements, unsigned size)
{
	u64 bytes = elements * size;

	addr_reg_set(c, reg, i->adsize, c->rflags & FL_DF ? c->gpr[reg] - bytes : c->gpr[reg] + bytes);
}

/* After an element or run: counts RCX down; true when another one follows now. Otherwise next_rip is set. */
static bool rep_next(struct cpu *c, const struct insn *i, u64 done)
{
	u64 left;

	if (!i->rep)
		return false;
	left = addr_reg(c, RCX, i->adsize) - done;
	addr_reg_set(c, RCX, i->adsize, left);
	if (!left)
		return false;
	if (likely(!poll_word(c) && !c->trap_bits && !(c->rflags & FL_TF)))
		return true;
	c->next_rip = c->rip; /* interrupted: the instruction goes on later */
	if (c->dr[7] & 0xff) {
		c->rflags |= FL_RF;
		c->keep_rf = true;
	}
	return false;
}

/* REP with a count of zero does nothing, not even to the upper half of RCX. */
static bool rep_none(struct cpu *c, const struct insn *i)
{
	return i->rep && !addr_reg(c, RCX, i->adsize);
}

/* Elements from offset in `reg` up that stay in its page, in its segment and address size, forward. */
static u64 run_length(struct cpu *c, const struct insn *i, unsigned reg, u64 la, unsigned size, u64 max)
{
	u64 room = (PAGE_SIZE - (la & ~PAGE_MASK)) / size, off = addr_reg(c, reg, i->adsize);
	u64 top = i->adsize == 8 ? ~0ull : i->adsize == 4 ? 0xffffffffull : 0xffff;

	if (top - off < PAGE_SIZE)
		room = room < (top - off) / size ? room : (top - off) / size;
	return room < max ? room : max;
}

/* The same of a run that goes down from la. */
static u64 run_length_down(struct cpu *c, const struct insn *i, unsigned reg, u64 la, unsigned size, u64 max)
{
	u64 at = la & ~PAGE_MASK, off = addr_reg(c, reg, i->adsize), room = at + size > PAGE_SIZE ? 0 : at / size + 1;

	if (off < PAGE_SIZE)
		room = room < off / size ? room : off / size;
	return room < max ? room : max;
}

/* A run worth doing at once, up or down: its length, or 0. */
static u64 any_run(struct cpu *c, const struct insn *i)
{
	u64 count = addr_reg(c, RCX, i->adsize);

	if (c->watch || (c->cpl == 3 && (c->rflags & FL_AC))) /* access_note() wants to see each */
		return 0;
	if (i->rep && !(c->rflags & FL_TF) && count > 1)
		return count < RUN_MAX ? count : RUN_MAX;
	return 0;
}

static u64 fast_run(struct cpu *c, const struct insn *i)
{
	return c->rflags & FL_DF ? 0 : any_run(c, i);
}

/* Eight bytes at a time, unless that would read what an element before it is to write. */
static void copy_elements(u8 *dst, const u8 *src, u64 n, unsigned size)
{
	u64 bytes = n * size, at = 0;

	if ((u64)(uintptr_t)dst - (u64)(uintptr_t)src >= 8)
		for (; bytes - at >= 8; at += 8)
			host_store(dst + at, host_load(src + at, 8), 8);
	for (; at < bytes; at += size)
		host_store(dst + at, host_load(src + at, size), size);
}

/* From the last one to the first, which dst and src point to. */
static void copy_elements_down(u8 *dst, const u8 *src, u64 n, unsigned size)
{
	u64 left = n * size;

	if ((u64)(uintptr_t)src - (u64)(uintptr_t)dst >= 8)
		for (; left >= 8; left -= 8)
			host_store(dst + left - 8, host_load(src + left - 8, 8), 8);
	for (; left; left -= size)
		host_store(dst + left - size, host_load(src + left - size, size), size);
}

static void fill_elements(u8 *dst, u64 v, u64 n, unsigned size)
{
	u64 bytes = n * size, at = 0, repeated = (v & size_mask(size)) * (~0ull / size_mask(size));

	for (; bytes - at >= 8; at += 8)
		host_store(dst + at, repeated, 8);
	for (; at < bytes; at += size)
		host_store(dst + at, v, size);
}

/* The lowest byte of a run that begins with the element at la; a page fault is the first element's. */
static u8 *run_ptr(struct cpu *c, u64 la, unsigned bytes, unsigned size, enum mmu_access acc)
{
	if (!(c->rflags & FL_DF))
		return mmu_ptr(c, la, bytes, acc, c->view);
	return mmu_ptr(c, la, size, acc, c->view) ? mmu_ptr(c, la - (bytes - size), bytes, acc, c->view) : NULL;
}

/* One run through host memory; 0 when it has to be done by elements. */
static u64 movs_run(struct cpu *c, const struct insn *i, unsigned size)
{
	u64 n = any_run(c, i), from, to;
	bool down = c->rflags & FL_DF;
	unsigned bytes;
	u8 *src, *dst;

	if (!n)
		return 0;
	from = seg_la(c, source_seg(i), addr_reg(c, RSI, i->adsize), size, false);
	to = seg_la(c, SEG_ES, addr_reg(c, RDI, i->adsize), size, true);
	n = down ? run_length_down(c, i, RSI, from, size, n) : run_length(c, i, RSI, from, size, n);
	n = down ? run_length_down(c, i, RDI, to, size, n) : run_length(c, i, RDI, to, size, n);
	if (n < 2)
		return 0;
	bytes = (unsigned)n * size;
	src = run_ptr(c, from, bytes, size, MMU_READ);
	dst = src ? run_ptr(c, to, bytes, size, MMU_WRITE) : NULL;
	if (!dst)
		return 0;
	if (down)
		copy_elements_down(dst, src, n, size);
	else
		copy_elements(dst, src, n, size);
	mmu_wrote(c);
	return n;
}

/* Near the segment's limit elements are done one by one, and the first bad one faults. */
static bool run_in_limit(struct cpu *c, const struct insn *i, unsigned reg, unsigned seg, unsigned size)
{
	const struct segment *s = &c->seg[seg];
	u64 off = addr_reg(c, reg, i->adsize);

	return c->mode == MODE_LONG64 || ((s->type & 0xc) != 4 && off + PAGE_SIZE <= s->limit);
}

void exec_movs(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);
	u64 n;

	if (rep_none(c, i))
		return;
	do {
		n = 0;
		if (i->rep && run_in_limit(c, i, RSI, source_seg(i), size) && run_in_limit(c, i, RDI, SEG_ES, size))
			n = movs_run(c, i, size);
		if (!n) {
			u64 v = mem_load(c, string_la(c, i, source_seg(i), RSI, size, false), size);

			mem_store(c, string_la(c, i, SEG_ES, RDI, size, true), v, size);
			n = 1;
		}
		advance(c, i, RSI, n, size);
		advance(c, i, RDI, n, size);
	} while (rep_next(c, i, n));
}

static u64 stos_run(struct cpu *c, const struct insn *i, unsigned size)
{
	u64 n = fast_run(c, i), to;
	u8 *dst;

	if (!n)
		return 0;
	to = seg_la(c, SEG_ES, addr_reg(c, RDI, i->adsize), size, true);
	n = run_length(c, i, RDI, to, size, n);
	if (n < 2)
		return 0;
	dst = mmu_ptr(c, to, (unsigned)n * size, MMU_WRITE, c->view);
	if (!dst)
		return 0;
	fill_elements(dst, c->gpr[RAX], n, size);
	mmu_wrote(c);
	return n;
}

void exec_stos(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);
	u64 n;

	if (rep_none(c, i))
		return;
	do {
		n = i->rep && run_in_limit(c, i, RDI, SEG_ES, size) ? stos_run(c, i, size) : 0;
		if (!n) {
			mem_store(c, string_la(c, i, SEG_ES, RDI, size, true), c->gpr[RAX], size);
			n = 1;
		}
		advance(c, i, RDI, n, size);
	} while (rep_next(c, i, n));
}

void exec_lods(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);

	if (rep_none(c, i))
		return;
	do {
		u64 v = mem_load(c, string_la(c, i, source_seg(i), RSI, size, false), size);

		if (size == 1)
			c->gpr[RAX] = (c->gpr[RAX] & ~0xffull) | v;
		else
			gpr_put(c, i, RAX, size, v);
		advance(c, i, RSI, 1, size);
	} while (rep_next(c, i, 1));
}

/* REPE and REPNE end on the flag as well. */
static bool rep_compare(struct cpu *c, const struct insn *i, u64 done)
{
	if (rep_next(c, i, done))
		return !(c->rflags & FL_ZF) == (i->rep == 0xf2);
	if (i->rep && !(c->rflags & FL_ZF) != (i->rep == 0xf2)) {
		c->next_rip = c->rip + i->len; /* ended, not interrupted */
		c->keep_rf = false;
	}
	return false;
}

/* Does REPE or REPNE go on behind elements like these? */
static inline bool compare_goes_on(const struct insn *i, u64 a, u64 b)
{
	return (a == b) == (i->rep == 0xf3);
}

/* The elements looked at, with the flags of the last; 0 when it has to be done by elements. */
static u64 scas_run(struct cpu *c, const struct insn *i, unsigned size)
{
	u64 n = fast_run(c, i), at, done = 0, a = c->gpr[RAX] & size_mask(size), b;
	const u8 *p;

	if (!n || !run_in_limit(c, i, RDI, SEG_ES, size))
		return 0;
	at = seg_la(c, SEG_ES, addr_reg(c, RDI, i->adsize), size, false);
	n = run_length(c, i, RDI, at, size, n);
	p = n < 2 ? NULL : mem_ptr_view(c, at, (unsigned)n * size, MMU_READ, c->view);
	if (!p)
		return 0;
	do
		b = host_load(p + done++ * size, size);
	while (done < n && compare_goes_on(i, a, b));
	flags_set(c, flags_sub(a, b, a - b, size));
	return done;
}

void exec_scas(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 1);
	u64 n;

	if (rep_none(c, i))
		return;
	do {
		n = scas_run(c, i, size);
		if (!n) {
			u64 v = mem_load(c, string_la(c, i, SEG_ES, RDI, size, false), size);

			flags_set(c, flags_sub(c->gpr[RAX], v, c->gpr[RAX] - v, size));
			n = 1;
		}
		advance(c, i, RDI, n, size);
	} while (rep_compare(c, i, n));
}

/* Elements at the beginning that are equal, by eight bytes; never the last one. */
static u64 equal_elements(const u8 *p, const u8 *q, u64 n, unsigned size)
{
	u64 bytes = n * size, at = 0;

	while (bytes - at > 8 && host_load(p + at, 8) == host_load(q + at, 8))
		at += 8;
	return at / size;
}

static u64 cmps_run(struct cpu *c, const struct insn *i, unsigned size)
{
	u64 n = fast_run(c, i), at[2], done, a, b;
	const u8 *p, *q;
	unsigned bytes;

	if (!n || !run_in_limit(c, i, RSI, source_seg(i), size) || !run_in_limit(c, i, RDI, SEG_ES, size))
		return 0;
	at[0] = seg_la(c, source_seg(i), addr_reg(c, RSI, i->adsize), size, false);
	at[1] = seg_la(c, SEG_ES, addr_reg(c, RDI, i->adsize), size, false);
	n = run_length(c, i, RDI, at[1], size, run_length(c, i, RSI, at[0], size, n));
	if (n < 2)
		return 0;
	bytes = (unsigned)n * size;
	p = mem_ptr_view(c, at[0], bytes, MMU_READ, c->view);
	q = p ? mem_ptr_view(c, at[1], bytes, MMU_READ, c->view) : NULL;
	if (!q)
		return 0;
	done = i->rep == 0xf3 ? equal_elements(p, q, n, size) : 0;
	do {
		a = host_load(p + done * size, size);
		b = host_load(q + done * size, size);
	} while (++done < n && compare_goes_on(i, a, b));
	flags_set(c, flags_sub(a, b, a - b, size));
	return done;
}

void exec_cmps(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);
	u64 n;

	if (rep_none(c, i))
		return;
	do {
		n = cmps_run(c, i, size);
		if (!n) {
			u64 a = mem_load(c, string_la(c, i, source_seg(i), RSI, size, false), size);
			u64 b = mem_load(c, string_la(c, i, SEG_ES, RDI, size, false), size);

			flags_set(c, flags_sub(a, b, a - b, size));
			n = 1;
		}
		advance(c, i, RSI, n, size);
		advance(c, i, RDI, n, size);
	} while (rep_compare(c, i, n));
}

/* ---- ports ---- */

static void io_watch(struct cpu *c, u16 port, unsigned size)
{
	if (likely(!c->watch || !(c->cr4 & CR4_DE)))
		return;
	for (unsigned n = 0; n < 4; n++) {
		unsigned len = (unsigned)(c->dr[7] >> (18 + 4 * n) & 3) + 1;

		if ((c->dr[7] >> (2 * n) & 3) && (c->dr[7] >> (16 + 4 * n) & 3) == 2 && port < c->dr[n] + len &&
		    c->dr[n] < port + size)
			c->trap_bits |= 1u << n;
	}
}

void exec_ins(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);
	u16 port = (u16)c->gpr[RDX];

	io_check(c, port, size);
	if (rep_none(c, i))
		return;
	do {
		u64 la = string_la(c, i, SEG_ES, RDI, size, true), v = 0;

		mmu_check_write(c, la, size, c->view);
		host_pio(c, port, &v, size, false);
		mem_store(c, la, v, size);
		io_watch(c, port, size);
		advance(c, i, RDI, 1, size);
	} while (rep_next(c, i, 1));
}

void exec_outs(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 1);
	u16 port = (u16)c->gpr[RDX];

	io_check(c, port, size);
	if (rep_none(c, i))
		return;
	do {
		u64 v = mem_load(c, string_la(c, i, source_seg(i), RSI, size, false), size);

		host_pio(c, port, &v, size, true);
		io_watch(c, port, size);
		advance(c, i, RSI, 1, size);
	} while (rep_next(c, i, 1));
}

static u16 port_of(struct cpu *c, const struct insn *i, unsigned k)
{
	return i->d->opnd[k].kind == OP_I ? (u8)i->imm : (u16)c->gpr[RDX];
}

void exec_in(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);
	u16 port = port_of(c, i, 1);
	u64 v = 0;

	io_check(c, port, size);
	c->single = (struct single_access){ c->insns, (u8)size, RAX, size < 4 };
	host_pio(c, port, &v, size, false);
	io_watch(c, port, size);
	gpr_put_low(c, RAX, size, v);
}

void exec_out(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 1);
	u16 port = port_of(c, i, 0);
	u64 v = c->gpr[RAX] & size_mask(size);

	io_check(c, port, size);
	c->single = (struct single_access){ c->insns, (u8)size, RAX, size < 4 };
	host_pio(c, port, &v, size, true);
	io_watch(c, port, size);
}
