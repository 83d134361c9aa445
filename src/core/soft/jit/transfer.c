/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SYSCALL and SYSRET to 64-bit code in emitted code: what cpu/syscall.c does in 64-bit mode, then the jump cache of the
 * other privilege view. All that is not usual (disabled, a target that is not canonical, single steps, an event that waits
 * for IF) goes to the interpreter before anything has happened. translate.c calls it.
 */
#include "../cpu/interp.h"
#include "tx.h"
#include "x86-ops.h"

#define FLAGS_ALL (FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_AC | FL_VIF | FL_VIP | FL_ID)
#define FLAGS_RARE (FL_TF | FL_AC | FL_VIF | FL_VIP)

bool transfer_possible(const struct tx *t, const struct insn *i)
{
	if (insn_is_32(i))
		return false;
	if (i->d->op == INSN_SYSRET)
		return i->opsize == 8 && (t->key & KEY_VIEW) != VIEW_USER;
	return i->d->op == INSN_SYSCALL;
}

static void store_u8(struct tx *t, size_t offset, u8 value)
{
	struct host_op mov = { .opcode = 0xc6, .imm_size = 1, .imm = value };
	struct host_mem m = mem_gs(offset);

	emit_op_mem(&t->e, &mov, 0, &m);
}

static void alu(struct tx *t, enum alu_op op, u8 dst, u8 src)
{
	struct host_op o = { .w = 1, .opcode = (u8)(op * 8 + 3) };

	emit_op_reg(&t->e, &o, dst, src);
}

/* A flat CS and SS for privilege dpl; scratch2 is the selector of CS, that of SS is `apart` from it. Uses RCX. */
static void set_segments(struct tx *t, unsigned dpl, s32 apart)
{
	static const enum seg_id which[2] = { SEG_CS, SEG_SS };
	struct host_op store16 = { .p66 = true, .opcode = 0x89 };

	_Static_assert(sizeof(struct segment) == 24, "stored as three words");
	for (unsigned n = 0; n < 2; n++) {
		size_t at = offsetof(struct cpu, seg[which[n]]);
		struct segment s = segment_flat(which[n], 0, dpl, which[n] == SEG_CS);
		struct host_mem sel = mem_gs(at + offsetof(struct segment, sel));
		u64 image[3];

		__builtin_memcpy(image, &s, sizeof(image));
		for (unsigned w = 0; w < 3; w++) {
			emit_imm(&t->e, RCX, image[w]);
			emit_store(&t->e, mem_gs(at + 8 * w), RCX);
		}
		if (n)
			emit_alu_imm(&t->e, ALU_ADD, false, HOST_SCRATCH2, apart);
		emit_op_mem(&t->e, &store16, HOST_SCRATCH2, &sel);
	}
}

static void load_u16(struct tx *t, u8 dst, size_t offset)
{
	struct host_op movzx = { .map = 1, .opcode = 0xb7 };
	struct host_mem m = mem_gs(offset);

	emit_op_mem(&t->e, &movzx, dst, &m);
}

/* scratch2 = RFLAGS with the arithmetic flags that are saved; uses RCX. */
static void compose_flags(struct tx *t)
{
	emit_load(&t->e, HOST_SCRATCH2, TX_CPU(rflags));
	emit_alu_imm(&t->e, ALU_AND, false, HOST_SCRATCH2, (FLAGS_ALL & ~FL_ARITH) | FL_1);
	system_load_u8(t, RCX, TX_FRAME(saved_flags), 1);
	emit_alu_imm(&t->e, ALU_AND, false, RCX, FL_ARITH & 0xff);
	alu(t, ALU_OR, HOST_SCRATCH2, RCX);
	system_load_u8(t, RCX, TX_FRAME(saved_flags), 0);
	emit_shift32(&t->e, SHIFT_SHL, RCX, 11);
	alu(t, ALU_OR, HOST_SCRATCH2, RCX);
}

static void put_reg(struct tx *t, u8 guest, u8 host)
{
	if (host_reg(guest) == IN_MEMORY)
		emit_store(&t->e, TX_GPR(guest), host);
	else
		emit_mov(&t->e, host_reg(guest), host);
}

static void syscall_insn(struct tx *t)
{
	struct host_op not64 = { .w = 1, .opcode = 0xf7 }, test = { .opcode = 0xf7, .imm_size = 4, .imm = FL_AC };
	struct host_op store8 = { .opcode = 0x88, .byte_reg = true };
	struct host_mem view = TX_CPU(view), rflags = TX_CPU(rflags);
	struct emit *e = &t->e;

	test_or_interp(t, TX_CPU(efer), EFER_SCE, COND_E);
	compose_flags(t);
	put_reg(t, R11, HOST_SCRATCH2);
	emit_load(e, RCX, TX_CPU(sfmask));
	emit_op_reg(e, &not64, 2, RCX);
	alu(t, ALU_AND, HOST_SCRATCH2, RCX);
	emit_alu_imm(e, ALU_OR, false, HOST_SCRATCH2, FL_1);
	system_set_flags(t, HOST_SCRATCH2, RCX);
	emit_shift32(e, SHIFT_SHR, HOST_SCRATCH2, 18);
	emit_alu_imm(e, ALU_AND, false, HOST_SCRATCH2, FL_AC >> 18);
	emit_op_mem(e, &store8, HOST_SCRATCH2, &view);
	store_u8(t, offsetof(struct cpu, cpl), 0);
	load_u16(t, HOST_SCRATCH2, offsetof(struct cpu, star) + 4);
	emit_alu_imm(e, ALU_AND, false, HOST_SCRATCH2, 0xfffc);
	set_segments(t, 0, 8);
	emit_load(e, RCX, TX_FRAME(code_base));
	emit_lea(e, RCX, mem_base(RCX, t->end));
	emit_load(e, HOST_SCRATCH, TX_CPU(lstar));
	emit_op_mem(e, &test, 0, &rflags);
	emit_jcc(e, COND_NE, t->j->stub_dispatch);
	jump_lookup_in(t, VIEW_KERNEL);
}

static void sysret_insn(struct tx *t)
{
	struct host_op test_rare = { .opcode = 0xf7, .imm_size = 4, .imm = FLAGS_RARE };
	struct emit *e = &t->e;
	u8 r11;

	test_or_interp(t, TX_CPU(efer), EFER_SCE, COND_E);
	emit_op_reg(e, &test_rare, 0, use_reg(t, R11, HOST_SCRATCH2));
	interp_if(t, COND_NE);
	interp_if_event_waits(t);
	emit_mov(e, HOST_SCRATCH, RCX);
	interp_if_not_canonical(t, t->off[t->k]);
	r11 = use_reg(t, R11, HOST_SCRATCH2);
	if (r11 != HOST_SCRATCH2)
		emit_mov(e, HOST_SCRATCH2, r11);
	emit_alu_imm(e, ALU_AND, false, HOST_SCRATCH2, FLAGS_ALL);
	emit_alu_imm(e, ALU_OR, false, HOST_SCRATCH2, FL_1);
	system_set_flags(t, HOST_SCRATCH2, RCX);
	store_u8(t, offsetof(struct cpu, cpl), 3);
	store_u8(t, offsetof(struct cpu, view), VIEW_USER);
	load_u16(t, HOST_SCRATCH2, offsetof(struct cpu, star) + 6);
	emit_alu_imm(e, ALU_ADD, false, HOST_SCRATCH2, 16);
	emit_alu_imm(e, ALU_OR, false, HOST_SCRATCH2, 3);
	set_segments(t, 3, -8);
	emit_mov(e, RCX, HOST_SCRATCH);
	jump_lookup_in(t, VIEW_USER);
}

bool transfer_insn(struct tx *t, const struct insn *i)
{
	flags_free(t);
	if (i->d->op == INSN_SYSCALL)
		syscall_insn(t);
	else
		sysret_insn(t);
	return true;
}
