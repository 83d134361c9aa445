/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The x87: its state, its memory operands, and the way of an instruction through its function. Called by exec.c, after the
 * checks for #NM and for exceptions that are pending.
 */
#include <string.h>
#include "../fpu.h"
#include "x87.h"

u16 x87_fsw(const struct x87 *x)
{
	unsigned fsw = x->fsw | (unsigned)x->top << 11;

	return (u16)(x->fsw & ~x->fcw & FP_ALL ? fsw | FSW_ES | FSW_BUSY : fsw);
}

void x87_set_fsw(struct x87 *x, u16 fsw)
{
	x->fsw = (u16)(fsw & ~(FSW_TOP | FSW_ES | FSW_BUSY));
	x->top = fsw >> 11 & 7;
}

void x87_get(struct x87 *x)
{
	u8 *b = x->image.b;
	u16 fsw;

	__asm__ volatile("fxsave64 %0" : "=m"(x->image));
	memcpy(&x->fcw, b, 2);
	memcpy(&fsw, b + 2, 2);
	x87_set_fsw(x, fsw);
	x->used = b[4];
	for (unsigned n = 0; n < 8; n++) {
		memcpy(&x87_reg(x, n)->sig, b + FPU_ST + 16 * n, 8);
		memcpy(&x87_reg(x, n)->sign_exp, b + FPU_ST + 16 * n + 8, 2);
	}
}

/* The addresses of the last instruction and operand are always 0 for a guest. */
void x87_put(struct x87 *x)
{
	u8 *b = x->image.b;
	u16 fsw = x87_fsw(x);

	memset(b, 0, FPU_MXCSR);
	memcpy(b, &x->fcw, 2);
	memcpy(b + 2, &fsw, 2);
	b[4] = x->used;
	for (unsigned n = 0; n < 8; n++) {
		memcpy(b + FPU_ST + 16 * n, &x87_reg(x, n)->sig, 8);
		memcpy(b + FPU_ST + 16 * n + 8, &x87_reg(x, n)->sign_exp, 2);
	}
	__asm__ volatile("fxrstor64 %0" : : "m"(x->image));
}

static const struct x87_op *search(unsigned op)
{
	static const struct x87_op *const lists[] = {x87_moves, x87_control, x87_arith, x87_more, x87_bcd};
	static const struct x87_op nobody;

	for (unsigned n = 0; n < ARRAY_SIZE(lists); n++)
		for (const struct x87_op *o = lists[n]; o->fn; o++)
			if (o->op == op)
				return o;
	return &nobody;
}

static const struct x87_op *find(unsigned op)
{
	static const struct x87_op *found[INSN_COUNT]; /* so far */
	const struct x87_op *o = __atomic_load_n(&found[op], __ATOMIC_RELAXED);

	if (!o) {
		o = search(op);
		__atomic_store_n(&found[op], o, __ATOMIC_RELAXED);
	}
	return o->fn ? o : NULL;
}

void x87_exec(struct cpu *c, const struct insn *i)
{
	const struct x87_op *op = find(i->d->op);
	bool store = i->mem_acc & ACC_W;
	struct x87 x;
	u64 la = 0;

	if (x87_host(i))
		return;
	if (!op) {
		x87_env(c, i);
		return;
	}
	if (i->mem)
		la = insn_la(c, i, i->mem_size, store);
	if (store)
		mmu_check_write(c, la, i->mem_size, c->view);
	else if (i->mem)
		mmu_read(c, la, &x.mem, i->mem_size, c->view);
	x.i = i;
	x.arg = op->arg;
	x.flags = flags_get(c);
	x87_get(&x);
	if (!op->keeps_c1)
		x.fsw &= (u16)~FSW_C1;
	if (op->fn(&x)) {
		if (store)
			mmu_write(c, la, &x.mem, i->mem_size, c->view);
		for (unsigned n = 0; n < op->pops; n++)
			x87_pop(&x);
	}
	x87_put(&x);
	if (i->d->opnd[0].kind == OP_REG)
		gpr_put_low(c, i->d->opnd[0].reg, 2, x.ax);
	if (i->d->flags_written)
		c->rflags = (c->rflags & ~(u64)i->d->flags_written) | (x.flags & i->d->flags_written);
}
