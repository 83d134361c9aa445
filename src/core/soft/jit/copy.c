/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ordinary instructions: copied to the host with their registers renamed and their memory operand replaced by the looked-up
 * host address. Which fields hold general registers, and what else is touched, comes from x86.tab.
 */
#include "../cpu/host.h"
#include "tx.h"
#include "x86-ops.h"

/* The general registers that an instruction names, by encoding field. */
struct fields {
	bool g, e, b, z; /* modrm.reg, modrm.rm, VEX.vvvv, opcode */
	bool g_written, e_written, b_written, z_written;
	bool byte, high; /* some operand is a byte register; one of AH..BH */
	bool moffs, raw; /* raw: modrm.rm / reg hold no general or vector register: keep the bits */
	bool mmx_reg, mmx_rm;
};

static u8 z_reg(const struct insn *i)
{
	return (u8)((i->opcode & 7) | (i->rex & 1) << 3);
}

static bool is_high(const struct insn *i, const struct opnd *o, u8 n)
{
	return o->size == 1 && !i->has_rex && !i->vex && n >= 4 && n < 8;
}

static bool scan_operand(const struct insn *i, const struct opnd *o, struct fields *f)
{
	bool w = o->acc & ACC_W;
	u8 n = BASE_NONE;

	switch (o->kind) {
	case OP_G:
		f->g = true, f->g_written |= w, n = i->reg;
		break;
	case OP_E:
	case OP_R:
	case OP_M:
		if (i->mem)
			return true;
		f->e = true, f->e_written |= w, n = i->rm;
		break;
	case OP_B:
		f->b = true, f->b_written |= w, n = i->vvvv;
		break;
	case OP_Z:
		f->z = true, f->z_written |= w, n = z_reg(i);
		break;
	case OP_O:
		f->moffs = true;
		return true;
	case OP_REG:
		f->byte |= o->size == 1;
		return host_reg(o->reg) == o->reg;
	case OP_P:
		f->mmx_reg = true;
		return true;
	case OP_Q:
	case OP_N:
		f->mmx_rm = !i->mem;
		return true;
	case OP_I:
	case OP_ONE:
	case OP_NONE:
	case OP_V:
	case OP_H:
	case OP_W:
	case OP_U:
	case OP_L:
	case OP_ST:
	case OP_STI:
		return true;
	default:
		return false;
	}
	if (o->size == 1) {
		f->byte = true;
		f->high |= is_high(i, o, n);
	}
	return true;
}

static bool scan(const struct insn *i, struct fields *f)
{
	*f = (struct fields){ 0 };
	for (unsigned n = 0; n < i->d->nopnd; n++)
		if (!scan_operand(i, &i->d->opnd[n], f))
			return false;
	return true;
}

/* Distinct guest registers of the fields that have no host register. */
static unsigned resident(const struct insn *i, const struct fields *f, u8 list[4])
{
	u8 all[4] = { f->g ? i->reg : RAX, f->e ? i->rm : RAX, f->b ? i->vvvv : RAX, f->z ? z_reg(i) : RAX };
	unsigned n = 0;

	for (unsigned a = 0; a < 4; a++) {
		bool seen = host_reg(all[a]) != IN_MEMORY;

		for (unsigned k = 0; k < n; k++)
			seen |= list[k] == all[a];
		if (!seen)
			list[n++] = all[a];
	}
	return n;
}


/* AH..BH are numbers 4..7 of byte operands: RSP's number does not mean RSP there. */
static bool high_alias(const struct insn *i, const struct fields *f)
{
	for (unsigned n = 0; n < i->d->nopnd; n++) {
		const struct opnd *o = &i->d->opnd[n];
		u8 r = o->kind == OP_G ? i->reg : o->kind == OP_Z ? z_reg(i) : i->rm;

		if (o->kind != OP_G && o->kind != OP_Z && (i->mem || (o->kind != OP_E && o->kind != OP_R)))
			continue;
		if (r >= 8 || (r == RSP && !is_high(i, o, r)))
			return false;
	}
	return !i->mem && !(i->rex & 8) && !f->b;
}

/* BT, BTS, BTR, BTC with a register offset reach memory beyond the operand. */
static bool is_bit_string(const struct insn *i)
{
	return i->mem && i->map == 1 && (i->opcode & 0xe7) == 0xa3;
}

bool copy_possible(const struct insn *i)
{
	const u16 homeless = 1u << RSP | HOMES;
	const struct insn_desc *d = i->d;
	struct fields f;
	u8 list[4];

	if ((d->implicit_read | d->implicit_written) & homeless)
		return false;
	if (d->attr & (ATTR_MASKED | ATTR_CPL0 | ATTR_STRING | ATTR_END))
		return false;
	if (i->adsize == 2 || is_bit_string(i) || !scan(i, &f))
		return false;
	if (i->mem && (i->mem_size == 0 || i->mem_size > 32 || !i->mem_acc))
		return false;
	if (f.high && !high_alias(i, &f))
		return false;
	return resident(i, &f, list) <= (i->mem ? 1u : 2u);
}

static u8 vex_pp(u8 mandatory)
{
	return mandatory == 0x66 ? 1 : mandatory == 0xf3 ? 2 : mandatory == 0xf2 ? 3 : 0;
}

/* Inlined: a copy of what was just written byte by byte would wait for the stores. */
static inline __attribute__((always_inline)) struct host_op host_encoding(const struct insn *i, const struct fields *f)
{
	struct host_op o = {
		.prefix = i->mandatory == 0x66 ? 0 : i->mandatory,
		.p66 = i->p66 || i->mandatory == 0x66,
		.lock = i->lock,
		.w = i->rex >> 3 & 1,
		.byte_reg = f->byte,
		.no_rex = f->high,
		.map = i->map,
		.opcode = i->opcode,
		.imm_size = i->imm_size,
		.imm = i->imm,
		.vex = i->vex,
		.vl = i->vl,
		.pp = vex_pp(i->mandatory),
	};

	if (i->vex)
		o.p66 = false;
	return o;
}

struct temps {
	u8 guest[2], host[2];
	unsigned n;
};

static u8 field_reg(const struct temps *m, u8 guest, bool high)
{
	if (high)
		return guest;
	for (unsigned k = 0; k < m->n; k++)
		if (m->guest[k] == guest)
			return m->host[k];
	return host_reg(guest);
}

/* Is register g written whole, without being read? */
static bool is_replaced(const struct insn *i, u8 g)
{
	bool mov = i->d->op == INSN_MOV || i->d->op == INSN_MOVZX || i->d->op == INSN_MOVSX || i->d->op == INSN_MOVSXD;

	return mov && i->d->opnd[0].size != 1 && i->opsize >= 4 && !(insn_gprs(i, ACC_R) >> g & 1);
}

/* One that scratch holds already stays there; else the first goes to scratch, unless a memory operand needs it. */
static void load_temps(struct tx *t, const struct insn *i, const struct fields *f, bool scratch_taken, struct temps *m)
{
	u8 list[4], held = t->reg_in_scratch;

	m->n = resident(i, f, list);
	for (unsigned k = 0; k < m->n; k++) {
		bool second = scratch_taken || (m->n == 2 && (k == 1) != (list[1] == held));

		m->guest[k] = list[k];
		m->host[k] = second ? HOST_SCRATCH2 : HOST_SCRATCH;
		if (second)
			scratch2_lost(t);
		if (second || list[k] != held) {
			if (!is_replaced(i, list[k]))
				emit_load(&t->e, m->host[k], TX_GPR(list[k]));
		}
		if (!second)
			scratch_has_reg(t, list[k]);
	}
}

static bool writes_reg(const struct insn *i, const struct fields *f, u8 g)
{
	return (f->g_written && i->reg == g) || (f->e_written && i->rm == g) || (f->b_written && i->vvvv == g) ||
	       (f->z_written && z_reg(i) == g);
}

/*
 * Register g is in scratch only: does it stay there until an instruction behind k writes it again, with nothing between that
 * may leave the block?
 */
#define REWRITE_AHEAD 4
static bool is_rewritten(const struct tx *t, u8 g)
{
	for (u32 k = t->k + 1; k < t->n && k <= t->k + REWRITE_AHEAD; k++) {
		const struct insn *i = &t->insn[k];
		u16 writes = i->d->flags_written & FL_ARITH;
		struct fields f;
		u8 list[4];
		unsigned n;

		if ((t->inplace >> k & 1) || i->d->kind != KIND_COPY || i->mem || copy_may_fault(i) || !scan(i, &f))
			return false;
		if (t->in_page[k] != t->in_page[t->k]) /* code_base moves by way of scratch */
			return false;
		if (insn_reads_flags(i) || (writes && writes != FL_ARITH)) /* flags may have to be restored by way of scratch */
			return false;
		n = resident(i, &f, list);
		if (n > 1 || (n && list[0] != g))
			return false;
		if (n && writes_reg(i, &f, g))
			return true;
	}
	return false;
}

static void store_temps(struct tx *t, const struct insn *i, const struct fields *f, const struct temps *m)
{
	if (m->n == 1 && m->host[0] == HOST_SCRATCH && writes_reg(i, f, m->guest[0]) && is_rewritten(t, m->guest[0]))
		return;
	for (unsigned k = 0; k < m->n; k++) {
		if (writes_reg(i, f, m->guest[k]))
			emit_store(&t->e, TX_GPR(m->guest[k]), m->host[k]);
	}
}

/* Divides and vector instructions may fault on the host, for the guest. */
bool copy_may_fault(const struct insn *i)
{
	return (i->d->attr & (ATTR_VEC | ATTR_ALIGN)) || (i->map == 0 && (i->opcode & 0xfe) == 0xf6 && (i->modrm & 0x30) == 0x30);
}

static u8 reg_field(const struct insn *i, const struct fields *f, const struct temps *m)
{
	if (f->g)
		return field_reg(m, i->reg, f->high);
	for (unsigned n = 0; n < i->d->nopnd; n++)
		if (i->d->opnd[n].kind == OP_V)
			return i->reg;
	return i->modrm >> 3 & 7;
}

static u8 rm_field(const struct insn *i, const struct fields *f, const struct temps *m)
{
	if (f->e)
		return field_reg(m, i->rm, f->high);
	for (unsigned n = 0; n < i->d->nopnd; n++)
		if (i->d->opnd[n].kind == OP_W || i->d->opnd[n].kind == OP_U)
			return i->rm;
	return i->modrm & 7;
}

/*
 * A register that lives in struct cpu and is only read is the instruction's memory operand: itself as modrm.rm, or as
 * modrm.reg after the direction is turned.
 */
static bool copy_from_home(struct tx *t, const struct insn *i, const struct fields *f)
{
	bool alu = i->map == 0 && i->opcode < 0x40 && !(i->opcode & 4), wide = i->opcode & 1;
	bool map0 = (alu && (i->opcode & 2)) || i->opcode == 0x39 || i->opcode == 0x8b || i->opcode == 0x63 ||
		    i->opcode == 0x85 || i->opcode == 0x69 || i->opcode == 0x6b;
	bool map1 = (i->opcode & 0xf0) == 0x40 || i->opcode == 0xaf || (i->opcode & 0xf6) == 0xb6;
	bool from_rm = (i->map == 0 && map0) || (i->map == 1 && map1);
	bool turns = i->map == 0 && wide && ((alu && !(i->opcode & 2)) || i->opcode == 0x89 || i->opcode == 0x85);
	struct host_op o = host_encoding(i, f);
	struct host_mem home;

	if (i->mem || i->vex || !i->has_modrm || f->high || i->opsize < 4)
		return false;
	if (from_rm && f->e && !f->e_written && host_reg(i->rm) == IN_MEMORY && t->reg_in_scratch != i->rm &&
	    host_reg(i->reg) != IN_MEMORY) {
		home = TX_GPR(i->rm);
		emit_op_mem(&t->e, &o, host_reg(i->reg), &home);
		return true;
	}
	if (!turns || !f->g || !f->e || f->g_written || host_reg(i->reg) != IN_MEMORY || t->reg_in_scratch == i->reg ||
	    host_reg(i->rm) == IN_MEMORY)
		return false;
	home = TX_GPR(i->reg);
	if (i->opcode != 0x85)
		o.opcode ^= 2;
	emit_op_mem(&t->e, &o, host_reg(i->rm), &home);
	return true;
}

static void emit_copy(struct tx *t, const struct insn *i, const struct fields *f, const struct host_mem *mem)
{
	struct host_op o = host_encoding(i, f);
	struct temps m;

	load_temps(t, i, f, mem && (mem->base == HOST_SCRATCH || mem->index == HOST_SCRATCH), &m);
	if (t->recipe_of[t->k] && recipe_keeps_shifted(i))
		emit_store(&t->e, TX_FRAME(operand), rm_field(i, f, &m));
	if (i->vex)
		o.vvvv = f->b ? field_reg(&m, i->vvvv, false) : i->vvvv;
	if (copy_may_fault(i)) {
		tx_site(t);
		t->window_led = false;
	}
	tx_window_site(t);
	if (f->moffs) { /* A0..A3 become MOV with ModRM */
		o.opcode = (u8)(0x88 | ((i->opcode ^ 2) & 3));
		emit_op_mem(&t->e, &o, RAX, mem);
	} else if (i->mem) {
		emit_op_mem(&t->e, &o, reg_field(i, f, &m), mem);
	} else if (i->has_modrm) {
		emit_op_reg(&t->e, &o, reg_field(i, f, &m), rm_field(i, f, &m));
	} else if (insn_is_short_inc(i)) {
		o.opcode = 0xff;
		emit_op_reg(&t->e, &o, i->opcode >> 3 & 1, field_reg(&m, z_reg(i), false));
	} else {
		emit_op_plain(&t->e, &o, f->z ? field_reg(&m, z_reg(i), f->high) : BASE_NONE);
	}
	store_temps(t, i, f, &m);
}

/* CMP and TEST of memory, whose operand a recipe may want: loaded, kept, compared from scratch. */
static void compare_kept(struct tx *t, const struct insn *i, const struct fields *f, const struct host_mem *mem)
{
	struct host_op load = { .opcode = 0x8b, .w = i->mem_size == 8 }, o = host_encoding(i, f);
	struct temps none = { .n = 0 };

	if (i->mem_size == 1)
		load = (struct host_op){ .map = 1, .opcode = 0xb6 };
	tx_window_site(t);
	emit_op_mem(&t->e, &load, HOST_SCRATCH, mem);
	scratch_lost(t);
	emit_store(&t->e, TX_FRAME(operand), HOST_SCRATCH);
	emit_op_reg(&t->e, &o, reg_field(i, f, &none), HOST_SCRATCH);
}

/* The operand's address in scratch, where scratch2 is needed for something else. */
static void fold_address(struct tx *t, struct host_mem *mem)
{
	emit_lea(&t->e, HOST_SCRATCH, *mem);
	scratch_lost(t);
	*mem = mem_base(HOST_SCRATCH, 0);
}

bool copy_insn(struct tx *t, const struct insn *i)
{
	struct host_mem mem;
	struct fields f;
	u8 list[4];
	bool scratch_taken = false;

	if (!scan(i, &f))
		return false;
	if (i->mem) {
		if (!access_operand(t, i, i->mem_size, i->mem_acc & ACC_W, &mem))
			return false;
		scratch_taken = mem.base == HOST_SCRATCH || mem.index == HOST_SCRATCH;
		if (mem.base == HOST_SCRATCH && mem.index == HOST_SCRATCH2 && (flags_must_restore(t) || resident(i, &f, list)))
			fold_address(t, &mem);
	}
	flags_before(t, scratch_taken ? HOST_SCRATCH2 : HOST_SCRATCH);
	if (i->mem && flags_keep_operand(t))
		compare_kept(t, i, &f, &mem);
	else if (!copy_from_home(t, i, &f))
		emit_copy(t, i, &f, i->mem ? &mem : NULL);
	flags_after(t);
	return true;
}
