/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The disassembler: a decoded instruction in SDM syntax, for logs and failing tests. No libc, so that it works
 * anywhere. */
#include "insn.h"

struct text {
	char *p, *end; /* one byte is kept for the terminator */
};

static void put(struct text *t, const char *s)
{
	while (*s && t->p < t->end)
		*t->p++ = *s++;
}

static void put_hex(struct text *t, u64 v)
{
	char digits[20];
	unsigned n = sizeof(digits);

	digits[--n] = 0;
	do {
		digits[--n] = "0123456789abcdef"[v & 15];
		v >>= 4;
	} while (v);
	digits[--n] = 'x';
	digits[--n] = '0';
	put(t, digits + n);
}

static void put_number(struct text *t, unsigned v)
{
	char digits[3] = {(char)('0' + v / 10), (char)('0' + v % 10), 0};

	put(t, v < 10 ? digits + 1 : digits);
}

static void put_gpr(struct text *t, const struct insn *i, unsigned n, unsigned size)
{
	static const char *const low8[] = {"al", "cl", "dl", "bl", "ah", "ch", "dh", "bh", "spl", "bpl", "sil", "dil"};
	static const char *const word[] = {"ax", "cx", "dx", "bx", "sp", "bp", "si", "di"};

	if (n >= 8) {
		put(t, "r");
		put_number(t, n);
		put(t, size == 8 ? "" : size == 4 ? "d" : size == 2 ? "w" : "b");
	} else if (size == 1) {
		put(t, low8[n >= 4 && i->has_rex ? n + 4 : n]);
	} else {
		put(t, size == 8 ? "r" : size == 4 ? "e" : "");
		put(t, word[n]);
	}
}

static const char *const seg_names[] = {"es", "cs", "ss", "ds", "fs", "gs"};

static const char *pointer(unsigned size)
{
	switch (size) {
	case 1:
		return "byte ";
	case 2:
		return "word ";
	case 4:
		return "dword ";
	case 6:
		return "fword ";
	case 8:
		return "qword ";
	case 10:
		return "tbyte ";
	case 16:
		return "xmmword ";
	case 32:
		return "ymmword ";
	default:
		return "";
	}
}

static void put_memory(struct text *t, const struct insn *i, u64 rip)
{
	bool first = true;

	put(t, pointer(i->mem_size));
	if (i->seg_override != 0xff) {
		put(t, seg_names[i->seg]);
		put(t, ":");
	}
	put(t, "[");
	if (i->base == BASE_RIP) {
		put_hex(t, rip + i->len + (u64)i->disp);
		put(t, "]");
		return;
	}
	if (i->base != BASE_NONE) {
		put_gpr(t, i, i->base, i->adsize);
		first = false;
	}
	if (i->index != BASE_NONE) {
		put(t, first ? "" : "+");
		if (i->d->opnd[1].kind == OP_VSIB) {
			put(t, "xmm");
			put_number(t, i->index);
		} else {
			put_gpr(t, i, i->index, i->adsize);
		}
		put(t, "*");
		put_number(t, 1u << i->scale);
		first = false;
	}
	if (i->disp || first) {
		put(t, first ? "" : i->disp < 0 ? "-" : "+");
		put_hex(t, i->disp < 0 && !first ? -(u64)i->disp : (u64)i->disp);
	}
	put(t, "]");
}

static void put_vector(struct text *t, const struct insn *i, const struct opnd *o, unsigned n)
{
	put(t, insn_size(i, o->size) == 32 ? "ymm" : "xmm");
	put_number(t, n);
}

static void put_indexed(struct text *t, const char *name, unsigned n)
{
	put(t, name);
	put_number(t, n);
}

static void put_operand(struct text *t, const struct insn *i, const struct opnd *o, u64 rip)
{
	unsigned size = insn_size(i, o->size);

	switch ((enum opnd_kind)o->kind) {
	case OP_E:
	case OP_M:
	case OP_O:
	case OP_VSIB:
	case OP_R:
		if (i->mem)
			put_memory(t, i, rip);
		else
			put_gpr(t, i, i->rm, size);
		break;
	case OP_W:
	case OP_U:
		if (i->mem)
			put_memory(t, i, rip);
		else
			put_vector(t, i, o, i->rm);
		break;
	case OP_Q:
	case OP_N:
		if (i->mem)
			put_memory(t, i, rip);
		else
			put_indexed(t, "mm", i->rm & 7);
		break;
	case OP_G:
		put_gpr(t, i, i->reg, size);
		break;
	case OP_Z:
		put_gpr(t, i, (i->opcode & 7) | (i->rex & 1) << 3, size);
		break;
	case OP_B:
		put_gpr(t, i, i->vvvv, size);
		break;
	case OP_REG:
		if (o->size == SZ_64V)
			put(t, seg_names[o->reg]);
		else
			put_gpr(t, i, o->reg, size);
		break;
	case OP_V:
		put_vector(t, i, o, i->reg);
		break;
	case OP_H:
		put_vector(t, i, o, i->vvvv);
		break;
	case OP_L:
		put_vector(t, i, o, (unsigned)i->imm >> 4 & 15);
		break;
	case OP_P:
		put_indexed(t, "mm", i->reg & 7);
		break;
	case OP_I:
		put_hex(t, i->d->op == INSN_ENTER && o != i->d->opnd ? i->imm2 : i->imm);
		break;
	case OP_ONE:
		put(t, "1");
		break;
	case OP_J:
		put_hex(t, rip + i->len + i->imm);
		break;
	case OP_A:
		put_hex(t, i->imm2);
		put(t, ":");
		put_hex(t, i->imm);
		break;
	case OP_S:
		put(t, seg_names[(i->modrm >> 3 & 7) % 6]);
		break;
	case OP_C:
		put_indexed(t, "cr", i->reg);
		break;
	case OP_D:
		put_indexed(t, "dr", i->reg);
		break;
	case OP_X:
		put(t, seg_names[i->seg]);
		put(t, ":[si]");
		break;
	case OP_Y:
		put(t, "es:[di]");
		break;
	case OP_F:
		put(t, "flags");
		break;
	case OP_ST:
		put(t, "st0");
		break;
	case OP_STI:
		put_indexed(t, "st", i->modrm & 7);
		break;
	case OP_NONE:
		break;
	}
}

void insn_print(const struct insn *i, u64 rip, char *buf, size_t size)
{
	struct text t = {buf, buf + size - 1};

	if (!size)
		return;
	if (i->lock)
		put(&t, "lock ");
	if (i->rep && (i->d->attr & ATTR_STRING))
		put(&t, i->rep == 0xf3 ? "rep " : "repne ");
	put(&t, insn_name(i->d));
	for (unsigned n = 0; n < i->d->nopnd; n++) {
		put(&t, n ? ", " : " ");
		put_operand(&t, i, &i->d->opnd[n], rip);
	}
	*t.p = 0;
}
