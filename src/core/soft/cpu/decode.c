/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The instruction decoder: prefixes, opcode, modrm, displacement and immediate; everything particular to an instruction
 * comes from the tables. Called by the interpreter, the translator and tests. Sources: SDM vol. 2, chapter 2.
 */
#include "decode.h"

struct reader {
	const u8 *p, *end;
	bool short_of; /* ran into the end */
};

enum prefix_class { PC_NONE, PC_SEG, PC_66, PC_67, PC_LOCK, PC_REP, PC_REX };
static const u8 prefix_class[256] = {
	[0x26] = PC_SEG, [0x2e] = PC_SEG, [0x36] = PC_SEG,  [0x3e] = PC_SEG, [0x64] = PC_SEG, [0x65] = PC_SEG,
	[0x66] = PC_66,	 [0x67] = PC_67,  [0xf0] = PC_LOCK, [0xf2] = PC_REP, [0xf3] = PC_REP, [0x40 ... 0x4f] = PC_REX,
};

static u64 take(struct reader *r, unsigned bytes)
{
	u64 v = 0;

	if (unlikely((size_t)(r->end - r->p) < bytes)) {
		r->short_of = true;
		r->p = r->end;
		return 0;
	}
	if (likely(r->end - r->p >= 8)) {
		__builtin_memcpy(&v, r->p, 8);
		v &= ~0ull >> (64 - 8 * bytes);
	} else {
		for (unsigned n = 0; n < bytes; n++)
			v |= (u64)r->p[n] << (8 * n);
	}
	r->p += bytes;
	return v;
}

static s64 take_signed(struct reader *r, unsigned bytes)
{
	unsigned shift = 64 - 8 * bytes;

	return (s64)(take(r, bytes) << shift) >> shift;
}

static void add_segment(struct insn *i, u8 byte)
{
	switch (byte) {
	case 0x64:
		i->seg_override = SEG_FS;
		break;
	case 0x65:
		i->seg_override = SEG_GS;
		break;
	default:
		if (i->mode != MODE_LONG64)
			i->seg_override = (u8)((byte >> 3) & 3);
	}
}

/* Prefixes and the first byte that is none; -1 when the bytes end. */
static int decode_prefixes(struct insn *i, struct reader *r, bool *ret_67)
{
	while (r->p < r->end) {
		u8 b = *r->p++;
		u8 class = prefix_class[b];

		if (class == PC_REX) {
			if (i->mode != MODE_LONG64)
				return b;
			i->rex = b;
			continue;
		}
		if (class == PC_NONE)
			return b;
		i->rex = 0; /* a REX that is not last counts for nothing */
		if (class == PC_SEG)
			add_segment(i, b);
		else if (class == PC_66)
			i->p66 = true;
		else if (class == PC_67)
			*ret_67 = true;
		else if (class == PC_LOCK)
			i->lock = true;
		else
			i->rep = b;
	}
	r->short_of = true;
	return -1;
}

/* After C4 or C5. Returns the map, or 0 when it is no VEX prefix that exists; pp goes to *ret_pfx. */
static unsigned decode_vex(struct insn *i, struct reader *r, bool three, unsigned *ret_pfx)
{
	u8 b = (u8)take(r, 1), rxb, map = 1;
	bool long64 = i->mode == MODE_LONG64;

	rxb = (u8)~b >> 5;
	if (three) {
		map = b & 31;
		b = (u8)take(r, 1);
		i->vexw = b >> 7;
	} else {
		rxb &= 4;
	}
	i->vex = true;
	i->vvvv = (u8)~b >> 3 & 15;
	i->vl = b >> 2 & 1;
	*ret_pfx = b & 3;
	i->rex = 0x40;
	if (long64)
		i->rex |= rxb | i->vexw << 3;
	return map <= 3 ? map : 0;
}

static unsigned leaf_index(const struct insn *i, const struct insn_root *root, unsigned pfx)
{
	unsigned n = 0, s = root->shape;

	if (s & SHAPE_PFX)
		n = pfx;
	if (s & SHAPE_REG)
		n = n * 8 + (i->modrm >> 3 & 7);
	if (s & SHAPE_MOD)
		n = n * 2 + (i->modrm >= 0xc0);
	if (s & SHAPE_RM)
		n = n * 8 + (i->modrm & 7);
	if (s & SHAPE_W)
		n = n * 2 + (i->vex ? i->vexw : i->rex >> 3 & 1);
	if (s & SHAPE_L)
		n = n * 2 + i->vl;
	if (s & SHAPE_M64)
		n = n * 2 + (i->mode == MODE_LONG64);
	if (s & SHAPE_B)
		n = n * 2 + (i->rex & 1);
	return root->first + n;
}

static void decode_mem16(struct insn *i, struct reader *r)
{
	static const u8 base[8] = {RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX};
	static const u8 index[8] = {RSI, RDI, RSI, RDI, BASE_NONE, BASE_NONE, BASE_NONE, BASE_NONE};
	u8 mod = i->modrm >> 6, rm = i->modrm & 7;

	i->base = base[rm];
	i->index = index[rm];
	if (mod == 0 && rm == 6) {
		i->base = BASE_NONE;
		i->disp = take_signed(r, 2);
	} else if (mod) {
		i->disp = take_signed(r, mod);
	}
	i->seg = i->base == RBP ? SEG_SS : SEG_DS;
}

static void decode_mem(struct insn *i, struct reader *r, bool vsib)
{
	u8 mod = i->modrm >> 6, rm = i->modrm & 7;

	i->index = BASE_NONE;
	i->base = rm | (i->rex & 1) << 3;
	i->seg = SEG_DS;
	if (rm == 4) {
		u8 sib = (u8)take(r, 1);

		i->scale = sib >> 6;
		i->index = (sib >> 3 & 7) | (i->rex & 2) << 2;
		if (i->index == 4 && !vsib) {
			i->index = BASE_NONE;
			i->scale = 0;
		}
		i->base = (sib & 7) | (i->rex & 1) << 3;
		if (mod == 0 && (sib & 7) == 5)
			i->base = BASE_NONE;
	} else if (mod == 0 && rm == 5) {
		i->base = i->mode == MODE_LONG64 ? BASE_RIP : BASE_NONE;
	}
	if (i->base == RSP || i->base == RBP)
		i->seg = SEG_SS;
	if (mod == 1)
		i->disp = take_signed(r, 1);
	else if (mod == 2 || i->base == BASE_NONE || i->base == BASE_RIP)
		i->disp = take_signed(r, 4);
}

static void decode_imm(struct insn *i, struct reader *r)
{
	const u8 *start = r->p;
	unsigned z = i->opsize == 2 ? 2 : 4;

	switch ((enum imm_code)(i->d->attr >> D_IMM_SHIFT & 15)) {
	case IMM_NONE:
		return;
	case IMM_IB:
		i->imm = take(r, 1);
		break;
	case IMM_IS:
	case IMM_JB:
		i->imm = (u64)take_signed(r, 1);
		break;
	case IMM_IW:
		i->imm = take(r, 2);
		break;
	case IMM_IZ:
	case IMM_JZ:
		i->imm = (u64)take_signed(r, z);
		break;
	case IMM_IV:
		i->imm = (u64)take_signed(r, i->opsize);
		break;
	case IMM_IWB:
		i->imm = take(r, 2);
		i->imm2 = take(r, 1);
		break;
	case IMM_AP:
		i->imm = take(r, z);
		i->imm2 = take(r, 2);
		break;
	case IMM_MOFFS:
		i->disp = (s64)take(r, i->adsize);
		i->mem = true;
		i->base = i->index = BASE_NONE;
		return;
	}
	i->imm_size = (u8)(r->p - start);
}

/* Registers that do not exist. REX.R says nothing about a segment register, of which there are eight numbers at most. */
static bool registers_exist(struct insn *i)
{
	for (unsigned n = 0; n < i->d->nopnd; n++) {
		switch (i->d->opnd[n].kind) {
		case OP_S:
			i->reg &= 7;
			if (i->reg > SEG_GS || (n == 0 && i->reg == SEG_CS))
				return false;
			break;
		case OP_C:
			if (i->reg > 8 || !(1u << i->reg & 0x11d))
				return false;
			break;
		case OP_D:
			if (i->reg > 7)
				return false;
			break;
		default:
			break;
		}
	}
	return true;
}

static bool row_allows(struct insn *i)
{
	u32 attr = i->d->attr;

	if (i->lock && (!(attr & ATTR_LOCK) || !i->mem))
		return false;
	if (i->vex && i->vvvv && !(attr & D_VVVV))
		return false;
	if ((attr & ATTR_NOPROT) && i->mode <= MODE_VM86)
		return false;
	if ((attr & D_CHECK) && !registers_exist(i))
		return false;
	return true;
}

static void set_sizes(struct insn *i, bool p67)
{
	u32 attr = i->d->attr;

	if (i->mode == MODE_LONG64) {
		i->adsize = p67 ? 4 : 8;
		if (attr & (ATTR_DEF64 | ATTR_FORCE64))
			i->opsize = i->p66 && !(attr & ATTR_FORCE64) && !(i->rex & 8) ? 2 : 8;
		else
			i->opsize = i->rex & 8 ? 8 : i->p66 ? 2 : 4;
	} else {
		bool half = i->mode != MODE_PROT32 && i->mode != MODE_COMPAT32;

		i->adsize = half == p67 ? 4 : 2;
		i->opsize = half == i->p66 ? 4 : 2;
	}
}

/* Which prefix chose the row, and which are left over. */
static void settle_prefix(struct insn *i, unsigned pfx)
{
	static const u8 byte[4] = {0, 0x66, 0xf3, 0xf2};

	if (!i->vex && !(i->d->attr & D_MAND))
		return;
	i->mandatory = byte[pfx];
	if (pfx == 1)
		i->p66 = false;
	else
		i->rep = 0;
}

static void find_memory(struct insn *i)
{
	const struct insn_desc *d = i->d;

	for (unsigned n = 0; n < d->nopnd; n++) {
		switch (d->opnd[n].kind) {
		case OP_E:
		case OP_M:
		case OP_W:
		case OP_Q:
		case OP_O:
		case OP_VSIB:
			i->mem_size = (u8)insn_size(i, d->opnd[n].size);
			i->mem_acc = d->opnd[n].acc;
			return;
		default:
			break;
		}
	}
}

static enum decode_result decode_modrm(struct insn *i, struct reader *r, const struct insn_root *root)
{
	i->reg = (i->modrm >> 3 & 7) | (i->rex & 4) << 1;
	if (i->modrm >= 0xc0 || (root->flags & ROOT_NOMOD)) {
		i->rm = (i->modrm & 7) | (i->rex & 1) << 3;
		return DECODE_OK;
	}
	i->mem = true;
	if (i->adsize == 2)
		decode_mem16(i, r);
	else
		decode_mem(i, r, i->d->attr & D_VSIB);
	if (i->d->attr & D_VSIB) {
		u8 mask = i->mode == MODE_LONG64 ? i->vvvv : i->vvvv & 7;

		if ((i->modrm & 7) != 4 || i->adsize == 2 || i->reg == i->index || i->reg == mask || i->index == mask)
			return DECODE_UD;
	}
	return DECODE_OK;
}

static enum decode_result starved(size_t avail)
{
	return avail >= INSN_MAX ? DECODE_TOO_LONG : DECODE_MORE;
}

static void finish(struct insn *i, const u8 *start, const u8 *end, size_t avail)
{
	if (i->seg_override != 0xff)
		i->seg = i->seg_override;
	if (i->mem && !(i->d->attr & ATTR_NOMEMCHECK))
		find_memory(i);
	i->len = (u8)(end - start);
	if (avail >= INSN_MAX) { /* all there can be, in two words that overlap */
		__builtin_memcpy(i->bytes, start, 8);
		__builtin_memcpy(i->bytes + INSN_MAX - 8, start + INSN_MAX - 8, 8);
	} else {
		for (unsigned n = 0; n < INSN_MAX; n++)
			i->bytes[n] = n < i->len ? start[n] : 0;
	}
}

/* Everything before modrm; NULL when the bytes end. Opcode 0F of the one-byte map stands for what does not exist. */
static const struct insn_root *decode_opcode(struct insn *i, struct reader *r, bool *ret_67, unsigned *ret_pfx)
{
	int b = decode_prefixes(i, r, ret_67);

	if (b < 0)
		return NULL;
	*ret_pfx = i->rep == 0xf3 ? 2 : i->rep == 0xf2 ? 3 : i->p66;
	i->has_rex = i->rex;
	if (b == 0x0f) {
		b = (int)take(r, 1);
		i->map = 1;
		if (b == 0x38 || b == 0x3a) {
			i->map = b == 0x38 ? 2 : 3;
			b = (int)take(r, 1);
		}
	} else if ((b == 0xc4 || b == 0xc5) && r->p < r->end &&
		   (i->mode == MODE_LONG64 || (i->mode > MODE_VM86 && *r->p >= 0xc0))) {
		if (i->rex || i->p66 || i->rep || i->lock)
			return &insn_roots[0][0x0f];
		i->map = (u8)decode_vex(i, r, b == 0xc4, ret_pfx);
		b = (int)take(r, 1);
		i->opcode = (u8)b;
		return i->map ? &insn_roots[3 + i->map][b] : &insn_roots[0][0x0f];
	}
	i->opcode = (u8)b;
	return &insn_roots[i->map][b];
}

/* All but the copy of the bytes. Word by word: without vector registers the compiler would call for REP STOS. */
static inline void clear(struct insn *i)
{
	u64 *w = (u64 *)i;

	_Static_assert(offsetof(struct insn, imm_size) % 8 == 0 &&
			       offsetof(struct insn, bytes) == offsetof(struct insn, imm_size) + 1,
		       "imm_size is the last field before the bytes");
#pragma GCC unroll 16
	for (unsigned n = 0; n < offsetof(struct insn, imm_size) / 8; n++) {
		w[n] = 0;
		__asm__ volatile("" : : : "memory");
	}
	i->imm_size = 0;
}

enum decode_result insn_decode(struct insn *i, const u8 *p, size_t avail, enum cpu_mode mode)
{
	struct reader r = {p, p + (avail < INSN_MAX ? avail : INSN_MAX), false};
	const struct insn_root *root;
	enum decode_result res;
	unsigned pfx = 0, index;
	bool p67 = false;

	clear(i);
	i->mode = (u8)mode;
	i->seg_override = 0xff;
	i->base = i->index = BASE_NONE;
	i->seg = SEG_DS;
	root = decode_opcode(i, &r, &p67, &pfx);
	if (!root || r.short_of)
		return starved(avail);
	if (!root->first)
		return DECODE_UD;
	if (root->flags & ROOT_MODRM) {
		i->has_modrm = true;
		i->modrm = (u8)take(&r, 1);
		if (r.short_of)
			return starved(avail);
	}
	index = insn_leaves[leaf_index(i, root, pfx)];
	if (!index)
		return DECODE_UD;
	i->d = &insn_descs[index];
	settle_prefix(i, pfx);
	set_sizes(i, p67);
	if (i->has_modrm) {
		res = decode_modrm(i, &r, root);
		if (res != DECODE_OK)
			return r.short_of ? starved(avail) : res;
	}
	decode_imm(i, &r);
	if (r.short_of)
		return starved(avail);
	if (!row_allows(i))
		return DECODE_UD;
	if ((i->d->attr & D_COUNT) && !(i->imm & (i->opsize == 8 && i->d->opnd[0].size != 1 ? 63 : 31)))
		i->d++;
	if (mode != MODE_LONG64)
		i->vvvv &= 7;
	finish(i, p, r.p, avail);
	return DECODE_OK;
}
