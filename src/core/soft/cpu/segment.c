/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Segmentation: linear addresses with limit and type checks, descriptor tables, loads of segment registers, LDTR and TR,
 * stacks and I/O permissions from the TSS (SDM vol. 3, chapters 3, 5, 7; vol. 1, 19.5).
 */
#include "exec.h"

#define DESC_ACCESSED (1ull << 40)
#define DESC_BUSY (1ull << 41)

void raise_sel(struct cpu *c, unsigned vector, u16 sel)
{
	cpu_raise_err(c, vector, sel & 0xfffcu);
}

u64 seg_linear(struct cpu *c, enum seg_id seg, u64 offset, unsigned len, bool write)
{
	const struct segment *s = &c->seg[seg];
	unsigned vector = seg == SEG_SS ? EXC_SS : EXC_GP;
	u32 off = (u32)offset, last = off + len - 1;

	if (c->mode == MODE_LONG64)
		return seg_la(c, seg, offset, len, write);
	if (mode_paged_segments(c)) {
		if (unlikely(s->unusable))
			cpu_raise_err(c, vector, 0);
		if (unlikely(write ? (s->type & 10) != 2 : (s->type & 10) == 8))
			cpu_raise_err(c, vector, 0);
		if (unlikely((s->type & 12) == 4)) {
			if (off <= s->limit || last < off || last > (s->db ? 0xffffffffu : 0xffffu))
				cpu_raise_err(c, vector, 0);
			return (u32)(s->base + off);
		}
	}
	if (unlikely(last > s->limit || last < off))
		cpu_raise_err(c, vector, 0);
	return (u32)(s->base + off);
}

void access_inspect(struct cpu *c, u64 la, unsigned len, unsigned align, bool write)
{
	if (c->cpl == 3 && (c->rflags & FL_AC) && (c->cr0 & CR0_AM) && (la & (align - 1)))
		cpu_raise_err(c, EXC_AC, 0);
	for (unsigned n = 0; c->watch && n < 4; n++) {
		static const u8 lengths[4] = { 1, 2, 8, 4 };
		unsigned kind = c->dr[7] >> (16 + 4 * n) & 3, dlen = lengths[c->dr[7] >> (18 + 4 * n) & 3];
		u64 addr = c->dr[n] & ~(u64)(dlen - 1);

		if ((c->dr[7] >> (2 * n) & 3) && (kind == 3 || (kind == 1 && write)) && la < addr + dlen && addr < la + len)
			c->trap_bits |= 1u << n;
	}
}

/* ---- descriptors ---- */

static bool table_of(struct cpu *c, u16 sel, u64 *ret_base, u32 *ret_limit)
{
	const struct segment *ldt = &c->seg[SEG_LDTR];

	if (!SEL_TI(sel)) {
		*ret_base = c->gdtr.base;
		*ret_limit = c->gdtr.limit;
		return true;
	}
	*ret_base = ldt->base;
	*ret_limit = ldt->limit;
	return !ldt->unusable;
}

static u64 table_la(const struct cpu *c, u64 base, u64 off)
{
	return cpu_long(c) ? base + off : (u32)(base + off);
}

bool desc_read(struct cpu *c, u16 sel, u64 *ret_raw)
{
	u64 base;
	u32 limit;

	if (!table_of(c, sel, &base, &limit) || (u32)SEL_INDEX(sel) + 7 > limit)
		return false;
	*ret_raw = mem_load_view(c, table_la(c, base, SEL_INDEX(sel)), 8, VIEW_KERNEL);
	return true;
}

bool desc_read_long(struct cpu *c, u16 sel, u64 ret_raw[2])
{
	u64 base;
	u32 limit;

	if (!table_of(c, sel, &base, &limit) || (u32)SEL_INDEX(sel) + 15 > limit)
		return false;
	ret_raw[0] = mem_load_view(c, table_la(c, base, SEL_INDEX(sel)), 8, VIEW_KERNEL);
	ret_raw[1] = mem_load_view(c, table_la(c, base, SEL_INDEX(sel) + 8u), 8, VIEW_KERNEL);
	return true;
}

void desc_parse(struct segment *s, u16 sel, u64 raw)
{
	u32 limit = (u32)((raw & 0xffff) | (raw >> 32 & 0xf0000));

	*s = (struct segment){
		.base = (raw >> 16 & 0xffffff) | (raw >> 32 & 0xff000000),
		.sel = sel,
		.type = raw >> 40 & 15,
		.s = raw >> 44 & 1,
		.dpl = raw >> 45 & 3,
		.present = raw >> 47 & 1,
		.avl = raw >> 52 & 1,
		.l = raw >> 53 & 1,
		.db = raw >> 54 & 1,
		.g = raw >> 55 & 1,
	};
	s->limit = s->g ? limit << 12 | 0xfff : limit;
}

#define DESC_PLAIN (0x60fdull << 40) /* D, L; P, DPL, S, type but R or W */
#define DESC_CODE64 (0x2099ull << 40)
#define DESC_DATA (0x0093ull << 40)
#define DESC_PLAIN_DATA (0x00fbull << 40) /* any direction */
#define DESC_DPL_SHIFT 45

const struct segment *seg_plain(struct cpu *c, u16 sel, bool code)
{
	struct segment *s = &c->plain[code][sel / 8 % PLAIN_COUNT].seg;
	u64 *known = &c->plain[code][sel / 8 % PLAIN_COUNT].raw, raw, rpl = SEL_RPL(sel);

	if (SEL_TI(sel) || !SEL_INDEX(sel) || (sel | 7u) > c->gdtr.limit)
		return NULL;
	raw = mem_load_view(c, table_la(c, c->gdtr.base, SEL_INDEX(sel)), 8, VIEW_KERNEL);
	if (code ? (raw & DESC_PLAIN) != (DESC_CODE64 | rpl << DESC_DPL_SHIFT) :
		   (raw & DESC_PLAIN_DATA) != (DESC_DATA | rpl << DESC_DPL_SHIFT))
		return NULL;
	if (*known != raw || s->sel != sel) {
		desc_parse(s, sel, raw);
		*known = raw;
	}
	return s;
}

static void desc_write_bits(struct cpu *c, u16 sel, u64 set, u64 clear)
{
	u64 base, la, raw;
	u32 limit;
	u64 *p;

	table_of(c, sel, &base, &limit);
	la = table_la(c, base, SEL_INDEX(sel));
	p = mmu_ptr(c, la, 8, MMU_WRITE, VIEW_KERNEL);
	if (p) {
		raw = host_load(p, 8);
		while (!host_cas(p, 8, &raw, (raw | set) & ~clear))
			;
		mmu_wrote(c);
	} else {
		raw = mem_load_view(c, la, 8, VIEW_KERNEL);
		mem_store_view(c, la, (raw | set) & ~clear, 8, VIEW_KERNEL);
	}
}

void desc_set_accessed(struct cpu *c, u16 sel, u64 raw)
{
	if (!(raw & DESC_ACCESSED))
		desc_write_bits(c, sel, DESC_ACCESSED, 0);
}

void desc_set_busy(struct cpu *c, u16 sel, bool busy)
{
	desc_write_bits(c, sel, busy ? DESC_BUSY : 0, busy ? 0 : DESC_BUSY);
}

/* ---- loads ---- */

void seg_set_real(struct cpu *c, enum seg_id seg, u16 sel)
{
	struct segment *s = &c->seg[seg];

	if (s->unusable) /* a null segment of protected mode */
		*s = (struct segment){ .limit = 0xffff, .type = 3, .s = 1, .present = 1 };
	s->sel = sel;
	s->base = (u64)sel << 4;
	if (seg == SEG_CS) /* readable and writable whatever it was; the limit stays */
		s->type = 0xb;
}

void seg_set_vm86(struct cpu *c, enum seg_id seg, u16 sel)
{
	c->seg[seg] = (struct segment){ .base = (u64)sel << 4, .limit = 0xffff, .sel = sel, .type = 3, .s = 1, .dpl = 3,
					.present = 1 };
}

void seg_set_null(struct cpu *c, enum seg_id seg, u16 sel)
{
	struct segment *s = &c->seg[seg];

	/* 64-bit code sees the base of FS and GS: it is cleared, as on Intel and on AMD since Zen 2 */
	*s = (struct segment){ .sel = sel, .unusable = 1, .type = 1, .s = 1, .db = 1, .g = 1 };
	if (seg == SEG_SS)
		s->dpl = SEL_RPL(sel);
}

void seg_check_ss(struct cpu *c, u16 sel, unsigned cpl, unsigned vector, struct segment *ret, u64 *ret_raw)
{
	if (!(sel & 0xfffc))
		cpu_raise_err(c, vector, 0);
	if (!desc_read(c, sel, ret_raw))
		raise_sel(c, vector, sel);
	desc_parse(ret, sel, *ret_raw);
	if (SEL_RPL(sel) != cpl || !ret->s || (ret->type & 10) != 2 || ret->dpl != cpl)
		raise_sel(c, vector, sel);
	if (!ret->present)
		raise_sel(c, EXC_SS, sel);
	ret->type |= 1;
}

static void load_ss(struct cpu *c, u16 sel)
{
	struct segment s;
	u64 raw;

	if (!(sel & 0xfffc) && c->mode == MODE_LONG64 && c->cpl < 3 && SEL_RPL(sel) == c->cpl) {
		seg_set_null(c, SEG_SS, sel);
		return;
	}
	seg_check_ss(c, sel, c->cpl, EXC_GP, &s, &raw);
	desc_set_accessed(c, sel, raw);
	c->seg[SEG_SS] = s;
}

void seg_load(struct cpu *c, enum seg_id seg, u16 sel)
{
	struct segment s;
	u64 raw;

	if (c->mode == MODE_REAL) {
		seg_set_real(c, seg, sel);
		return;
	}
	if (c->mode == MODE_VM86) {
		seg_set_vm86(c, seg, sel);
		return;
	}
	if (seg == SEG_SS) {
		load_ss(c, sel);
		return;
	}
	if (!(sel & 0xfffc)) {
		seg_set_null(c, seg, sel);
		return;
	}
	if (!desc_read(c, sel, &raw))
		raise_sel(c, EXC_GP, sel);
	desc_parse(&s, sel, raw);
	if (!s.s || (s.type & 10) == 8)
		raise_sel(c, EXC_GP, sel);
	if ((s.type & 12) != 12 && (SEL_RPL(sel) > s.dpl || c->cpl > s.dpl))
		raise_sel(c, EXC_GP, sel);
	if (!s.present)
		raise_sel(c, EXC_NP, sel);
	desc_set_accessed(c, sel, raw);
	s.type |= 1;
	c->seg[seg] = s;
}

void seg_drop_privileged(struct cpu *c)
{
	static const u8 data[4] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };

	for (unsigned n = 0; n < 4; n++) {
		struct segment *s = &c->seg[data[n]];

		if (!s->unusable && s->dpl < c->cpl && (s->type & 12) != 12) {
			u64 base = s->base;

			seg_set_null(c, data[n], 0);
			if (cpu_long(c))
				s->base = base;
		} else if (s->unusable && !(s->sel & 0xfffc)) {
			s->sel = 0;
		}
	}
}

/* A system descriptor, 16 bytes in long mode. */
static void system_desc(struct cpu *c, u16 sel, unsigned vector, struct segment *s)
{
	u64 raw[2] = { 0, 0 };

	if (SEL_TI(sel) || !(cpu_long(c) ? desc_read_long(c, sel, raw) : desc_read(c, sel, raw)))
		raise_sel(c, vector, sel);
	desc_parse(s, sel, raw[0]);
	s->base |= raw[1] << 32;
	if (s->s || (raw[1] >> 40 & 0x1f))
		raise_sel(c, vector, sel);
}

void load_ldt(struct cpu *c, u16 sel, unsigned vector)
{
	struct segment s;

	if (!(sel & 0xfffc)) {
		c->seg[SEG_LDTR] = (struct segment){ .sel = sel, .unusable = 1, .type = 2 };
		return;
	}
	system_desc(c, sel, vector, &s);
	if (s.type != 2)
		raise_sel(c, vector, sel);
	if (!s.present)
		raise_sel(c, vector == EXC_TS ? EXC_TS : EXC_NP, sel);
	if (!is_canonical(s.base))
		raise_sel(c, vector, sel);
	c->seg[SEG_LDTR] = s;
}

void load_tr(struct cpu *c, u16 sel)
{
	struct segment s;

	if (!(sel & 0xfffc))
		cpu_raise_err(c, EXC_GP, 0);
	system_desc(c, sel, EXC_GP, &s);
	if (s.type != 9 && !(s.type == 1 && !cpu_long(c)))
		raise_sel(c, EXC_GP, sel);
	if (!s.present)
		raise_sel(c, EXC_NP, sel);
	if (!is_canonical(s.base))
		raise_sel(c, EXC_GP, sel);
	desc_set_busy(c, sel, true);
	s.type |= 2;
	c->seg[SEG_TR] = s;
}

/* ---- TSS ---- */

static u64 tss_la(const struct cpu *c, u64 off)
{
	u64 la = c->seg[SEG_TR].base + off;

	return cpu_long(c) ? la : (u32)la;
}

u64 tss64_rsp(struct cpu *c, unsigned slot_offset)
{
	if (slot_offset + 7 > c->seg[SEG_TR].limit)
		raise_sel(c, EXC_TS, c->seg[SEG_TR].sel);
	return mem_load_view(c, tss_la(c, slot_offset), 8, VIEW_KERNEL);
}

void tss_stack(struct cpu *c, unsigned cpl, u16 *ret_ss, u64 *ret_sp)
{
	const struct segment *tr = &c->seg[SEG_TR];
	unsigned off;

	if (cpu_long(c)) {
		*ret_sp = tss64_rsp(c, 4 + 8 * cpl);
		*ret_ss = 0;
		return;
	}
	if (tr->type & 8) {
		off = 4 + 8 * cpl;
		if (off + 5 > tr->limit)
			raise_sel(c, EXC_TS, tr->sel);
		*ret_sp = mem_load_view(c, tss_la(c, off), 4, VIEW_KERNEL);
		*ret_ss = (u16)mem_load_view(c, tss_la(c, off + 4), 2, VIEW_KERNEL);
	} else {
		off = 2 + 4 * cpl;
		if (off + 3 > tr->limit)
			raise_sel(c, EXC_TS, tr->sel);
		*ret_sp = mem_load_view(c, tss_la(c, off), 2, VIEW_KERNEL);
		*ret_ss = (u16)mem_load_view(c, tss_la(c, off + 2), 2, VIEW_KERNEL);
	}
}

void io_check(struct cpu *c, u16 port, unsigned size)
{
	const struct segment *tr = &c->seg[SEG_TR];
	u32 map, byte;
	u16 bits;

	if (c->mode == MODE_REAL || (c->mode != MODE_VM86 && c->cpl <= (c->rflags >> 12 & 3)))
		return;
	if (!tr->unusable && tr->present && (tr->type & 13) == 9 && tr->limit >= 103) {
		map = (u32)mem_load_view(c, tss_la(c, 102), 2, VIEW_KERNEL);
		byte = map + port / 8;
		if (byte + 1 <= tr->limit) {
			bits = (u16)mem_load_view(c, tss_la(c, byte), 2, VIEW_KERNEL);
			if (!(bits >> (port & 7) & ((1u << size) - 1)))
				return;
		}
	}
	cpu_raise_err(c, EXC_GP, 0);
}
