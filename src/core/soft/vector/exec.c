/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Vector instructions of the interpreter: checks, operands, faults, results. What they compute is in the tables' functions
 * (vec.h). Called through insn_desc.exec, and by the translator for its checks.
 */
#include "../cpu/decode.h"
#include "vec.h"

static bool is_state(const struct insn *i)
{
	switch (i->d->op) {
	case INSN_FXSAVE:
	case INSN_FXRSTOR:
	case INSN_XSAVE:
	case INSN_XSAVEOPT:
	case INSN_XSAVEC:
	case INSN_XRSTOR:
		return true;
	default:
		return false;
	}
}

void vector_check(struct cpu *c, const struct insn *i)
{
	u32 attr = i->d->attr;

	if (attr & ATTR_X87) {
		u64 stop = i->d->op == INSN_FWAIT ? CR0_MP | CR0_TS : CR0_EM | CR0_TS;

		if (i->d->op == INSN_FWAIT ? (c->cr0 & stop) == stop : c->cr0 & stop)
			cpu_raise(c, EXC_NM);
		return;
	}
	if (is_state(i)) {
		bool fx = i->d->op == INSN_FXSAVE || i->d->op == INSN_FXRSTOR;

		if (!fx && !(c->cr4 & CR4_OSXSAVE))
			cpu_raise(c, EXC_UD);
		if (c->cr0 & (fx ? CR0_TS | CR0_EM : CR0_TS))
			cpu_raise(c, EXC_NM);
		return;
	}
	if (attr & ATTR_VEX) {
		if (!(c->cr4 & CR4_OSXSAVE) || (c->xcr0 & 6) != 6)
			cpu_raise(c, EXC_UD);
	} else if ((c->cr0 & CR0_EM) || ((attr & ATTR_SSE) && !(c->cr4 & CR4_OSFXSR))) {
		cpu_raise(c, EXC_UD);
	}
	if (c->cr0 & CR0_TS)
		cpu_raise(c, EXC_NM);
}

/* Comes before the check for canonical form: always #GP(0), even through the stack segment. */
static void check_alignment(struct cpu *c, const struct insn *i)
{
	u64 la = insn_ea(c, i);

	if (c->mode != MODE_LONG64 || i->seg >= SEG_FS)
		la += c->seg[i->seg].base;
	if (la & (i->mem_size - 1u))
		cpu_raise_err(c, EXC_GP, 0);
}

static void load_mxcsr(struct cpu *c, const struct insn *i)
{
	u32 v;

	mmu_read(c, insn_la(c, i, 4, false), &v, 4, c->view);
	if (v & ~MXCSR_VALID)
		cpu_raise_err(c, EXC_GP, 0);
	mxcsr_set(v);
}

/* Waiting x87 and MMX instructions report what an earlier one left pending before they look at memory. */
static void check_pending(struct cpu *c, const struct insn *i)
{
	if (!(i->d->attr & (ATTR_X87 | ATTR_MMX)) || !(x87_status() & 0x80))
		return;
	if ((i->d->attr & ATTR_SSE) && i->d->opnd[0].kind != OP_P)
		return;
	switch (i->d->op) {
	case INSN_FNSTCW:
	case INSN_FNSTSW:
	case INSN_FNSTENV:
	case INSN_FNSAVE:
	case INSN_FNCLEX:
	case INSN_FNINIT:
	case INSN_FNENI:
	case INSN_FNDISI:
	case INSN_FNSETPM:
		return;
	default:
		cpu_raise(c, EXC_MF);
	}
}

/* VZEROUPPER and VZEROALL leave alone the registers that the mode does not have. */
static void zero_vectors(struct cpu *c, const struct insn *i)
{
	unsigned count = c->mode == MODE_LONG64 ? 16 : 8;
	union vec v;

	for (unsigned n = 0; n < count; n++) {
		vec_get(n, &v);
		if (i->vl)
			v.q[0] = v.q[1] = 0;
		v.q[2] = v.q[3] = 0;
		vec_set(n, &v);
	}
}

/* ---- ordinary instructions ---- */

static const struct vec_op *search(unsigned op)
{
	static const struct vec_op *const lists[] = {
		vec_moves, vec_integer, vec_shifts, vec_shuffles, vec_crypto, vec_text, vec_floats,
	};
	static const struct vec_op nobody;

	for (unsigned n = 0; n < ARRAY_SIZE(lists); n++)
		for (const struct vec_op *o = lists[n]; o->fn; o++)
			if (o->op == op)
				return o;
	return &nobody;
}

const struct vec_op *vec_find(unsigned op)
{
	static const struct vec_op *found[INSN_COUNT]; /* so far */
	const struct vec_op *o = __atomic_load_n(&found[op], __ATOMIC_RELAXED);

	if (!o) {
		o = search(op);
		__atomic_store_n(&found[op], o, __ATOMIC_RELAXED);
	}
	return o->fn ? o : NULL;
}

static bool is_mmx(unsigned kind)
{
	return kind == OP_P || kind == OP_Q || kind == OP_N;
}

/* Bytes of the vector registers: MMX if the first of them is. */
static unsigned register_bytes(const struct insn *i)
{
	for (unsigned k = 0; k < i->d->nopnd; k++) {
		unsigned kind = i->d->opnd[k].kind;

		if (kind == OP_V || kind == OP_H || kind == OP_W || kind == OP_U)
			return 16u << i->vl;
		if (is_mmx(kind))
			return 8;
	}
	return 16;
}

static bool is_memory(const struct insn *i, unsigned kind)
{
	return i->mem && (kind == OP_W || kind == OP_Q || kind == OP_E || kind == OP_M);
}

/* Number of the register that a vector operand is in. */
static unsigned register_of(const struct insn *i, unsigned kind)
{
	switch (kind) {
	case OP_V:
		return i->reg;
	case OP_P:
		return i->reg & 7u;
	case OP_H:
		return i->vvvv;
	case OP_L: /* outside 64-bit mode it has three bits */
		return (i->imm >> 4) & (i->mode == MODE_LONG64 ? 15u : 7u);
	case OP_Q:
	case OP_N:
		return i->rm & 7u;
	default:
		return i->rm;
	}
}

static void fetch_operand(struct cpu *c, const struct insn *i, unsigned k, union vec *s)
{
	unsigned kind = i->d->opnd[k].kind;

	switch (kind) {
	case OP_V:
	case OP_H:
	case OP_L:
	case OP_W:
	case OP_U:
		vec_get(register_of(i, kind), s);
		break;
	case OP_P:
	case OP_Q:
	case OP_N:
		s->q[0] = mmx_get(register_of(i, kind));
		break;
	case OP_E:
	case OP_R:
	case OP_G:
		s->q[0] = c->gpr[opnd_reg(i, k)];
		break;
	default:
		break;
	}
}

/* Not so if there is memory where a register could be and the other one is of SSE: CVTPI2PS, CVTPI2PD. */
static bool uses_mmx(const struct insn *i)
{
	for (unsigned k = 0; k < i->d->nopnd; k++)
		if (is_mmx(i->d->opnd[k].kind) && !is_memory(i, i->d->opnd[k].kind))
			return true;
	return false;
}

/* Memory comes first: a register of the MMX changes the state of the x87 when it is looked at. */
static void fetch(struct cpu *c, struct vec_insn *v, u64 la)
{
	const struct insn *i = v->i;
	unsigned n = 0, at[4] = {0};

	for (unsigned k = 0; k < i->d->nopnd; k++) {
		const struct opnd *o = &i->d->opnd[k];

		at[k] = n;
		if (!(o->acc & ACC_R) || o->kind == OP_I)
			continue;
		if (is_memory(i, o->kind))
			mmu_read(c, la, &v->s[n], i->mem_size, c->view);
		n++;
	}
	if (uses_mmx(i) && (x87_status() & 0x80))
		cpu_raise(c, EXC_MF);
	for (unsigned k = 0; k < i->d->nopnd; k++) {
		const struct opnd *o = &i->d->opnd[k];

		if ((o->acc & ACC_R) && !is_memory(i, o->kind))
			fetch_operand(c, i, k, &v->s[at[k]]);
	}
	if ((i->d->attr & ATTR_SSE) && (i->d->opnd[0].kind == OP_V || i->d->opnd[0].kind == OP_W || i->d->opnd[0].kind == OP_U))
		vec_get(register_of(i, i->d->opnd[0].kind), &v->r);
}

/* Floating-point exceptions are noted in MXCSR; one that is not masked is raised, after the x87 has gone over to MMX. */
static void take_exceptions(struct cpu *c, const struct vec_insn *v)
{
	if (v->raised & ~v->mxcsr)
		mxcsr_set(v->mxcsr | v->raised);
	if (!(v->raised & ~(v->mxcsr >> MXCSR_MASK_SHIFT)))
		return;
	if (uses_mmx(v->i))
		mmx_get(0);
	cpu_raise(c, c->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD);
}

static void put_result(struct cpu *c, struct vec_insn *v)
{
	const struct insn *i = v->i;
	unsigned kind = i->d->opnd[0].kind;

	if (!(i->d->opnd[0].acc & ACC_W))
		return;
	switch (kind) {
	case OP_P:
	case OP_Q:
	case OP_N:
		mmx_set(register_of(i, kind), v->r.q[0]);
		break;
	case OP_E:
	case OP_R:
	case OP_G:
		gpr_put_low(c, opnd_reg(i, 0), opnd_size(i, 0), v->r.q[0]);
		break;
	default:
		if (i->d->attr & ATTR_SSE) {
			vec_set_low(register_of(i, kind), &v->r);
			break;
		}
		for (unsigned n = v->bytes; n < sizeof(v->r); n++)
			v->r.b[n] = 0;
		vec_set(register_of(i, kind), &v->r);
	}
}

static void put(struct cpu *c, struct vec_insn *v, u64 la)
{
	const struct insn_desc *d = v->i->d;

	take_exceptions(c, v);
	if (v->i->mem && (v->i->mem_acc & ACC_W))
		mmu_write(c, la, &v->r, v->i->mem_size, c->view);
	else
		put_result(c, v);
	if (d->implicit_written & (1u << RCX))
		c->gpr[RCX] = v->rcx;
	if (d->flags_written)
		c->rflags = (c->rflags & ~(u64)d->flags_written) | (v->flags & d->flags_written);
}

static void ordinary(struct cpu *c, const struct insn *i, const struct vec_op *op)
{
	struct vec_insn v = {.i = i, .bytes = register_bytes(i), .size = op->size, .arg = op->arg, .imm = (u8)i->imm};
	bool store = i->mem_acc & ACC_W;
	u64 la = 0;

	v.flags = flags_get(c);
	v.rax = c->gpr[RAX];
	v.rcx = c->gpr[RCX];
	v.rdx = c->gpr[RDX];
	v.mxcsr = mxcsr_get();
	if (i->mem) {
		if (i->d->attr & ATTR_ALIGN)
			check_alignment(c, i);
		la = insn_la(c, i, i->mem_size, store);
		if (store)
			mmu_check_write(c, la, i->mem_size, c->view);
	}
	fetch(c, &v, la);
	op->fn(&v);
	put(c, &v, la);
}

void vector_exec(struct cpu *c, const struct insn *i)
{
	vector_check(c, i);
	check_pending(c, i);
	switch (i->d->op) {
	case INSN_LDMXCSR:
	case INSN_VLDMXCSR:
		load_mxcsr(c, i);
		return;
	case INSN_EMMS:
		x87_exec(c, i);
		return;
	case INSN_VZEROUPPER:
	case INSN_VZEROALL:
		zero_vectors(c, i);
		return;
	default:
		break;
	}
	if (i->d->attr & ATTR_X87)
		x87_exec(c, i);
	else if (is_state(i))
		vector_state(c, i);
	else if (i->d->attr & ATTR_MASKED)
		vector_masked(c, i);
	else
		ordinary(c, i, vec_find(i->d->op));
}
