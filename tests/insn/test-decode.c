/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The decoder against Zydis: random byte strings biased towards every opcode and prefix, in every mode. Compared are
 * validity, length, memory operand (base, index, scale, displacement, segment, bytes), immediate and register numbers.
 * test-decode [--cases N] [--seed S]
 */
#include <Zydis/Zydis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "decode.h"
#include "exec-list.h"

static u64 rng_state;

static u64 rng(void)
{
	u64 z = (rng_state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static const struct {
	enum cpu_mode mode;
	ZydisMachineMode zmode;
	ZydisStackWidth width;
} modes[] = {
	{MODE_LONG64, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64},
	{MODE_COMPAT32, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32},
	{MODE_PROT32, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
	{MODE_PROT16, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16},
	{MODE_REAL, ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16},
};

/* A string that looks like an instruction often enough: prefixes, escape bytes, any opcode, then noise. */
static void make_bytes(u8 *b)
{
	static const u8 prefix[] = {0x66, 0xf2, 0xf3, 0x67, 0xf0, 0x2e, 0x64, 0x3e, 0x65, 0x26, 0x36};
	unsigned n = 0;
	u64 r = rng();

	for (unsigned k = 0; k < 16; k += 8) {
		u64 noise = rng();

		memcpy(b + k, &noise, 8);
	}
	while ((r & 3) == 0 && n < 6) {
		b[n++] = prefix[(r >> 8) % sizeof(prefix)];
		r = rng();
	}
	if (r & 4)
		b[n++] = 0x40 | (r >> 8 & 15);
	switch (r >> 16 & 7) {
	case 0:
	case 1:
		break;
	case 2:
		b[n++] = 0xc5;
		b[n++] = (u8)(r >> 24 | (r & 0x8000 ? 0x78 : 0));
		break;
	case 3:
		b[n++] = 0xc4;
		b[n++] = (u8)((r >> 24 & 0xe0) | (1 + (r >> 32 & 3) % 3));
		b[n++] = (u8)(r >> 40 | (r & 0x8000 ? 0x78 : 0));
		break;
	case 4:
	case 5:
		b[n++] = 0x0f;
		break;
	case 6:
		b[n++] = 0x0f;
		b[n++] = 0x38;
		break;
	default:
		b[n++] = 0x0f;
		b[n++] = 0x3a;
	}
}

/* Extensions that x86.tab leaves out on purpose. */
static bool left_out(const ZydisDecodedInstruction *z)
{
	static const char *const ext[] = {"3DNOW",
					  "AMD",
					  "AMD_INVLPGB",
					  "FMA4",
					  "XOP",
					  "CET",
					  "CLDEMOTE",
					  "CLZERO",
					  "ENQCMD",
					  "GFNI",
					  "HRESET",
					  "KEYLOCKER",
					  "KEYLOCKER_WIDE",
					  "MCOMMIT",
					  "MONITORX",
					  "MOVDIR",
					  "MPX",
					  "PADLOCK",
					  "PT",
					  "PCONFIG",
					  "PKU",
					  "PTWRITE",
					  "RDPRU",
					  "RTM",
					  "SGX",
					  "SGX_ENCLV",
					  "SMX",
					  "SNP",
					  "SSE4A",
					  "SVM",
					  "TBM",
					  "TDX",
					  "TSX_LDTRK",
					  "UINTR",
					  "VMFUNC",
					  "VTX",
					  "WAITPKG",
					  "XSAVES",
					  "AVX_VNNI",
					  "AMX_TILE",
					  "AMX_INT8",
					  "AMX_BF16",
					  "FRED",
					  "TSX",
					  "INVPCID_NONE",
					  "KNC",
					  "KNCE",
					  "KNCV",
					  "UNKNOWN",
					  "WRMSRNS",
					  "MSRLIST",
					  "RAO_INT",
					  "AVX_IFMA",
					  "AVX_VNNI_INT8",
					  "AVX_NE_CONVERT",
					  "CMPCCXADD",
					  "PBNDKB",
					  "VAESNI",
					  "LKGS",
					  "AVX_GFNI",
					  "ICACHE_PREFETCH",
					  NULL};
	const char *name = ZydisISAExtGetString(z->meta.isa_ext), *m = ZydisMnemonicGetString(z->mnemonic);

	if (z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY && z->encoding != ZYDIS_INSTRUCTION_ENCODING_VEX)
		return true;
	for (unsigned k = 0; ext[k]; k++)
		if (!strcmp(name, ext[k]))
			return true;
	if (z->meta.isa_set >= ZYDIS_ISA_SET_AVX512BW_128 && z->meta.isa_set <= ZYDIS_ISA_SET_AVX512_VPOPCNTDQ_512)
		return true;
	if (m[0] == 'k')
		return true; /* AVX-512 mask registers */
	return !strcmp(m, "rsm") || !strcmp(m, "xabort") || !strcmp(m, "xbegin") || !strcmp(m, "getsec") ||
	       !strcmp(m, "femms") || !strcmp(m, "jmpe") || !strcmp(m, "fstpnce");
}

static int gpr_number(ZydisRegister r)
{
	if (r == ZYDIS_REGISTER_NONE)
		return BASE_NONE;
	if (r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP)
		return BASE_RIP;
	return ZydisRegisterGetId(r);
}

static const char *compare_memory(const struct insn *i, const ZydisDecodedOperand *op)
{
	static const ZydisRegister seg[] = {ZYDIS_REGISTER_ES, ZYDIS_REGISTER_CS, ZYDIS_REGISTER_SS,
					    ZYDIS_REGISTER_DS, ZYDIS_REGISTER_FS, ZYDIS_REGISTER_GS};
	u64 disp_mask;
	u8 shift = 0;

	if (!i->mem)
		return "memory operand missed";
	/* Zydis 4.0 takes SIB base 5 with REX.B under a 67 prefix for R13D */
	if (i->base == BASE_NONE && i->adsize == 4 && (i->rex & 1))
		return NULL;
	if (gpr_number(op->mem.base) != i->base)
		return "base";
	if (gpr_number(op->mem.index) != i->index)
		return "index";
	while (op->mem.scale >> (shift + 1))
		shift++;
	if (i->index != BASE_NONE && shift != i->scale)
		return "scale";
	disp_mask =
		i->d->opnd[0].kind == OP_O || i->d->opnd[1].kind == OP_O ? (1ull << (i->adsize * 8 % 64)) - 1 : ~0ull;
	if (i->adsize == 8)
		disp_mask = ~0ull;
	if (op->mem.disp.has_displacement ? ((u64)op->mem.disp.value ^ (u64)i->disp) & disp_mask : i->disp != 0)
		return "displacement";
	if (seg[i->seg] != op->mem.segment && i->d->kind != KIND_LEA)
		return "segment";
	/* a cache line, and a 16-bit MOVSXD, which makers describe differently */
	if (insn_exec(i->d) == exec_clflush || i->d->op == INSN_MOVSXD)
		return NULL;
	if (i->mem_size && op->size / 8 != i->mem_size && i->d->opnd[0].kind != OP_VSIB &&
	    i->d->opnd[1].kind != OP_VSIB)
		return "memory bytes";
	return NULL;
}

static const char *compare_operands(const struct insn *i, const ZydisDecodedInstruction *z,
				    const ZydisDecodedOperand *op)
{
	bool memory = false;

	for (unsigned n = 0; n < z->operand_count_visible; n++) {
		const char *bad = NULL;

		switch (op[n].type) {
		case ZYDIS_OPERAND_TYPE_MEMORY:
			if (op[n].encoding == ZYDIS_OPERAND_ENCODING_NONE)
				continue;
			bad = compare_memory(i, &op[n]);
			memory = true;
			break;
		case ZYDIS_OPERAND_TYPE_IMMEDIATE:
			if (op[n].encoding == ZYDIS_OPERAND_ENCODING_NONE ||
			    op[n].encoding == ZYDIS_OPERAND_ENCODING_IS4)
				continue;
			if (i->d->op == INSN_ENTER && n == 1) {
				bad = op[n].imm.value.u == i->imm2 ? NULL : "second immediate";
			} else {
				unsigned bits = (i->d->attr >> D_IMM_SHIFT & 15) == IMM_IB ? 8
						: op[n].imm.is_signed			   ? 64
											   : op[n].size;
				u64 mask = bits == 64 ? ~0ull : (1ull << bits) - 1;

				bad = (op[n].imm.value.u ^ i->imm) & mask ? "immediate" : NULL;
			}
			break;
		case ZYDIS_OPERAND_TYPE_REGISTER:
			if (op[n].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM && !i->mem && op[n].size > 8 &&
			    (u8)ZydisRegisterGetId(op[n].reg.value) != i->rm &&
			    (u8)ZydisRegisterGetId(op[n].reg.value) != (i->rm & 7))
				bad = "modrm.rm register";
			if (op[n].encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG && op[n].size > 8 &&
			    (u8)ZydisRegisterGetId(op[n].reg.value) != i->reg &&
			    (u8)ZydisRegisterGetId(op[n].reg.value) != (i->reg & 7))
				bad = "modrm.reg register";
			if (ZydisRegisterGetClass(op[n].reg.value) == ZYDIS_REGCLASS_SEGMENT &&
			    op[n].encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG &&
			    (u8)ZydisRegisterGetId(op[n].reg.value) != i->reg)
				bad = "segment register"; /* an index, whatever REX.R says */
			if (op[n].encoding == ZYDIS_OPERAND_ENCODING_NDSNDD &&
			    (u8)ZydisRegisterGetId(op[n].reg.value) != i->vvvv)
				bad = "VEX.vvvv register";
			break;
		default:
			break;
		}
		if (bad)
			return bad;
	}
	if (i->mem && !memory)
		return "memory operand invented";
	if (z->operand_width != i->opsize * 8u && z->operand_width >= 16 && i->d->opnd[0].size == SZ_V &&
	    i->d->kind != KIND_NOP)
		return "operand size";
	return NULL;
}

struct failure_count {
	char key[64];
	unsigned count;
};
static struct failure_count seen[512];

static void report(const char *what, const u8 *b, enum cpu_mode mode, const struct insn *i, int ours, ZyanStatus zs,
		   const ZydisDecodedInstruction *z, int zop)
{
	const char *m = ZYAN_SUCCESS(zs) ? ZydisMnemonicGetString(z->mnemonic) : "(bad)";
	char key[64];
	unsigned n;

	snprintf(key, sizeof(key), "%.30s/%.30s", what, ours == DECODE_OK ? insn_name(i->d) : m);
	for (n = 0; n < 511 && seen[n].count && strcmp(seen[n].key, key); n++)
		;
	memcpy(seen[n].key, key, sizeof(key));
	if (seen[n].count++ >= 2)
		return;
	printf("FAIL %s mode %d:", what, mode);
	for (n = 0; n < 15; n++)
		printf(" %02x", b[n]);
	printf("\n   ours %d %s len %d seg %d base %d disp %lld size %d ops %d; Zydis %s len %d isa %s base %d\n", ours,
	       ours == DECODE_OK ? insn_name(i->d) : "", i->len, i->seg, i->base, (long long)i->disp, i->mem_size, i->opsize,
	       m, ZYAN_SUCCESS(zs) ? z->length : 0, ZYAN_SUCCESS(zs) ? ZydisISAExtGetString(z->meta.isa_ext) : "", zop);
}

static bool one_case(ZydisDecoder *dec, unsigned mode_index)
{
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	enum cpu_mode mode = modes[mode_index].mode;
	ZydisDecodedInstruction z;
	const char *bad = NULL;
	enum decode_result res;
	struct insn i;
	ZyanStatus zs;
	u8 b[16];

	make_bytes(b);
	res = insn_decode(&i, b, 15, mode);
	zs = ZydisDecoderDecodeFull(&dec[mode_index], b, 15, &z, op);
	if (ZYAN_SUCCESS(zs) && left_out(&z))
		return true;
	/* SYSENTER and SYSEXIT fault with #GP, not #UD, outside protected mode */
	if (res == DECODE_OK && (insn_exec(i.d) == exec_sysenter || insn_exec(i.d) == exec_sysexit) && mode == MODE_REAL)
		return true;
	if ((res == DECODE_OK) != !!ZYAN_SUCCESS(zs))
		bad = res == DECODE_OK ? "decodes what Zydis refuses" : "refuses what Zydis decodes";
	else if (res == DECODE_OK)
		bad = i.len != z.length ? "length" : compare_operands(&i, &z, op);
	if (res == DECODE_OK && !bad)
		for (unsigned n = 0; n < i.len && !bad; n++) {
			struct insn part;

			if (insn_decode(&part, b, n, mode) != DECODE_MORE)
				bad = "does not ask for more";
		}
	if (bad)
		report(bad, b, mode, &i, res, zs, &z, op[0].mem.base);
	return !bad;
}

int main(int argc, char **argv)
{
	ZydisDecoder dec[ARRAY_SIZE(modes)];
	u64 cases = 2000000, failed = 0;

	for (int k = 1; k + 1 < argc; k += 2) {
		if (!strcmp(argv[k], "--cases"))
			cases = strtoull(argv[k + 1], NULL, 0);
		else if (!strcmp(argv[k], "--seed"))
			rng_state = strtoull(argv[k + 1], NULL, 0);
	}
	for (unsigned k = 0; k < ARRAY_SIZE(modes); k++) {
		ZydisDecoderInit(&dec[k], modes[k].zmode, modes[k].width);
		ZydisDecoderEnableMode(&dec[k], ZYDIS_DECODER_MODE_AMD_BRANCHES, ZYAN_FALSE);
		ZydisDecoderEnableMode(&dec[k], ZYDIS_DECODER_MODE_KNC, ZYAN_FALSE);
		ZydisDecoderEnableMode(&dec[k], ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
		ZydisDecoderEnableMode(&dec[k], ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
		ZydisDecoderEnableMode(&dec[k], ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
	}
	for (u64 n = 0; n < cases; n++)
		failed += !one_case(dec, n & 1 ? 0 : (unsigned)(n >> 1) % ARRAY_SIZE(modes));
	printf("%llu cases, %llu differ\n", (unsigned long long)cases, (unsigned long long)failed);
	return failed != 0;
}
