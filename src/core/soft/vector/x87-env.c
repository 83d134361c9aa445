/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The x87's environment and its whole state in memory: FNSTENV, FLDENV, FNSAVE, FRSTOR (SDM vol. 1, 8.1.10). The format has
 * fields of 16 or 32 bits by operand size; the addresses in it are always 0 for a guest. Called by x87.c.
 */
#include <string.h>
#include "x87.h"

#define TAG_VALID   0u
#define TAG_ZERO    1u
#define TAG_SPECIAL 2u
#define TAG_EMPTY   3u

enum { ENV_FCW, ENV_FSW, ENV_FTW, ENV_FIELDS = 7 };

struct env {
	u8 b[28 + 80];
	unsigned field; /* bytes */
};

static unsigned tag(const struct x87 *x, unsigned n)
{
	unsigned exp = x->reg[n].sign_exp & 0x7fff;

	if (!(x->used >> n & 1))
		return TAG_EMPTY;
	if (!exp && !x->reg[n].sig)
		return TAG_ZERO;
	return exp && exp != 0x7fff && x->reg[n].sig >> 63 ? TAG_VALID : TAG_SPECIAL;
}

static void env_put(struct env *e, unsigned n, unsigned v)
{
	const u16 field[2] = {(u16)v, 0xffff};

	memcpy(e->b + n * e->field, field, e->field);
}

static u16 env_get(const struct env *e, unsigned n)
{
	u16 v;

	memcpy(&v, e->b + n * e->field, 2);
	return v;
}

static void env_pack(struct env *e, struct x87 *x)
{
	u8 *regs = e->b + ENV_FIELDS * e->field;
	unsigned tags = 0;

	for (unsigned n = 0; n < 8; n++) {
		tags |= tag(x, n) << (2 * n);
		memcpy(regs + 10 * n, &x87_reg(x, n)->sig, 8);
		memcpy(regs + 10 * n + 8, &x87_reg(x, n)->sign_exp, 2);
	}
	env_put(e, ENV_FCW, x->fcw);
	env_put(e, ENV_FSW, x87_fsw(x));
	env_put(e, ENV_FTW, tags);
	memset(e->b + 3 * e->field, 0, 4 * e->field);
	if (e->field == 4) {
		memset(e->b + 10, 0xff, 2);
		memset(e->b + 26, 0xff, 2);
	}
}

static void env_unpack(struct x87 *x, const struct env *e, bool registers)
{
	const u8 *regs = e->b + ENV_FIELDS * e->field;

	x->fcw = (env_get(e, ENV_FCW) & FCW_VALID) | FCW_FIXED;
	x87_set_fsw(x, env_get(e, ENV_FSW));
	x->used = 0;
	for (unsigned n = 0; n < 8; n++) {
		if ((env_get(e, ENV_FTW) >> (2 * n) & 3u) != TAG_EMPTY)
			x->used |= (u8)(1u << n);
		if (!registers)
			continue;
		memcpy(&x87_reg(x, n)->sig, regs + 10 * n, 8);
		memcpy(&x87_reg(x, n)->sign_exp, regs + 10 * n + 8, 2);
	}
}

void x87_env(struct cpu *c, const struct insn *i)
{
	bool registers = i->d->op == INSN_FNSAVE || i->d->op == INSN_FRSTOR;
	bool store = i->d->op == INSN_FNSAVE || i->d->op == INSN_FNSTENV;
	struct env e = {.field = i->opsize == 2 ? 2 : 4};
	unsigned bytes = ENV_FIELDS * e.field + (registers ? 80 : 0);
	u64 la = insn_la_aligned(c, i, bytes, e.field, store);
	struct x87 x;

	if (!store) {
		mmu_read(c, la, e.b, bytes, c->view);
		x87_get(&x);
		env_unpack(&x, &e, registers);
		x87_put(&x);
		return;
	}
	mmu_check_write(c, la, bytes, c->view);
	x87_get(&x);
	env_pack(&e, &x);
	mmu_write(c, la, e.b, bytes, c->view);
	if (registers)
		x87_init(&x);
	else
		x.fcw |= FP_ALL;
	x87_put(&x);
}
