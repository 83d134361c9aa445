/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The interpreter's functions that schema/x86.tab names (its last column), one a family: they look at i->d->op (INSN_*,
 * from the generated x86-ops.h), at i->opcode & 15 (conditions) and at the operands i->d->opnd[], which stand in SDM
 * order, destination first. vector_exec() (vector.h) does everything with x87, MMX, XMM and YMM registers,
 * FXSAVE/XSAVE, LDMXCSR, EMMS.
 */
#pragma once
#include "insn.h"

/* -- arithmetic and logic -- */
insn_fn exec_alu;   /* ADD OR ADC SBB AND SUB XOR CMP (enum values consecutive, in this order = opcode digit): opnd 0, 1
		     */
insn_fn exec_test;  /* TEST */
insn_fn exec_not;   /* NOT */
insn_fn exec_neg;   /* NEG */
insn_fn exec_inc;   /* INC DEC */
insn_fn exec_mul;   /* MUL IMUL, one operand */
insn_fn exec_imul;  /* IMUL two operands (opnd 0 *= 1) or three (0 = 1 * 2): nopnd tells */
insn_fn exec_div;   /* DIV IDIV */
insn_fn exec_shift; /* ROL ROR RCL RCR SHL SHR SAL SAR (consecutive, = modrm digit); count = opnd 1: imm, ONE or CL */
insn_fn exec_shld;  /* SHLD SHRD: opnd 2 = imm or CL */
insn_fn exec_bt;    /* BT BTS BTR BTC (consecutive): opnd 1 is G (memory: bit string) or I */
insn_fn exec_bsf;   /* BSF BSR TZCNT LZCNT POPCNT */
insn_fn exec_bswap; /* BSWAP */
insn_fn exec_cmpxchg;	/* CMPXCHG */
insn_fn exec_cmpxchg8b; /* CMPXCHG8B CMPXCHG16B */
insn_fn exec_xadd;	/* XADD */
insn_fn exec_bcd;	/* DAA DAS AAA AAS AAM AAD (imm8) */
insn_fn exec_cbw;	/* CBW CWDE CDQE (by opsize; one op, INSN_CBW) */
insn_fn exec_cwd;	/* CWD CDQ CQO (by opsize; INSN_CWD) */
insn_fn exec_crc32;	/* CRC32: opnd 1 has the source size */
insn_fn exec_bmi; /* ANDN BEXTR BLSR BLSMSK BLSI BZHI MULX PDEP PEXT RORX SARX SHLX SHRX: operands as in the SDM */
insn_fn exec_adx; /* ADCX ADOX */

/* -- moves -- */
insn_fn exec_mov;      /* MOV among GPR, memory, immediate, moffs; MOVNTI */
insn_fn exec_movzx;    /* MOVZX: opnd 1 has the source size */
insn_fn exec_movsx;    /* MOVSX MOVSXD */
insn_fn exec_movbe;    /* MOVBE */
insn_fn exec_mov_sreg; /* MOV Sreg: from (opnd 1 is OP_S) or to (opnd 0 is OP_S) a segment register */
insn_fn exec_mov_cr;   /* MOV CRn, both directions; register operands always 8 (4 outside 64-bit mode) bytes */
insn_fn exec_mov_dr;   /* MOV DRn */
insn_fn exec_xchg;     /* XCHG */
insn_fn exec_lea;      /* LEA */
insn_fn exec_cmov;     /* CMOVcc: opcode & 15 (INSN_CMOVO + cc, consecutive) */
insn_fn exec_setcc;    /* SETcc: opcode & 15 */
insn_fn exec_lxs;      /* LES LDS LSS LFS LGS */
insn_fn exec_xlat;     /* XLAT (no operands; address = seg:rBX + AL by adsize, i->seg) */
insn_fn exec_flag;     /* CLC STC CMC CLD STD CLI STI */
insn_fn exec_lahf;     /* LAHF SAHF */
insn_fn exec_salc;     /* SALC */

/* -- stack -- */
insn_fn exec_push;	/* PUSH E, Z, I: size of opnd 0 is SZ_64V; I is sign-extended in imm */
insn_fn exec_pop;	/* POP E, Z (memory operand's address uses RSP after the pop) */
insn_fn exec_push_sreg; /* PUSH Sreg: opnd 0 = kind OP_REG, size SZ_64V; opnd[0].reg is the enum seg_id */
insn_fn exec_pop_sreg;	/* POP Sreg: the same */
insn_fn exec_pusha;	/* PUSHA */
insn_fn exec_popa;	/* POPA */
insn_fn exec_pushf;	/* PUSHF */
insn_fn exec_popf;	/* POPF */
insn_fn exec_enter;	/* ENTER: opnd 0 = imm16 (i->imm), opnd 1 = imm8 (i->imm2) */
insn_fn exec_leave;	/* LEAVE */

/* -- control flow -- */
insn_fn exec_jmp;      /* JMP J or E, near */
insn_fn exec_jcc;      /* Jcc: opcode & 15; target = next RIP + i->imm */
insn_fn exec_loop;     /* LOOPNE LOOPE LOOP JRCXZ (opcodes E0..E3; count register by adsize) */
insn_fn exec_call;     /* CALL J or E, near */
insn_fn exec_ret;      /* RET near, with or without imm16 */
insn_fn exec_jmp_far;  /* JMP A or M (SZ_P) */
insn_fn exec_call_far; /* CALL A or M (SZ_P) */
insn_fn exec_ret_far;  /* RETF, with or without imm16 */
insn_fn exec_iret;     /* IRET */
insn_fn exec_int;      /* INT n, INT3, INTO, INT1 */
insn_fn exec_bound;    /* BOUND */
insn_fn exec_ud;       /* UD0 UD1 UD2 */
insn_fn exec_nop;      /* NOP, NOP E, PAUSE, prefetches, ENDBR (not fences) */
insn_fn exec_fence;    /* LFENCE MFENCE SFENCE */
insn_fn exec_serialize;
insn_fn exec_clflush;  /* CLFLUSH CLFLUSHOPT CLWB: one byte is read for its faults */

/* -- strings and ports -- */
insn_fn exec_movs; /* MOVS: element size = size of opnd 0 (1 or SZ_V); i->rep; source segment i->seg */
insn_fn exec_stos;
insn_fn exec_lods;
insn_fn exec_scas;
insn_fn exec_cmps;
insn_fn exec_ins;
insn_fn exec_outs;
insn_fn exec_in;  /* IN: opnd 0 AL/eAX, opnd 1 imm8 or DX */
insn_fn exec_out; /* OUT: opnd 0 imm8 or DX, opnd 1 AL/eAX */

/* -- system -- */
insn_fn exec_arpl; /* ARPL */
insn_fn exec_lar;  /* LAR LSL */
insn_fn exec_verr; /* VERR VERW */
insn_fn exec_sgdt; /* SGDT SIDT */
insn_fn exec_lgdt; /* LGDT LIDT */
insn_fn exec_sldt; /* SLDT STR */
insn_fn exec_lldt; /* LLDT LTR */
insn_fn exec_smsw; /* SMSW */
insn_fn exec_lmsw; /* LMSW */
insn_fn exec_clts;
insn_fn exec_hlt;
insn_fn exec_invlpg;
insn_fn exec_invpcid;
insn_fn exec_swapgs;
insn_fn exec_wbinvd;   /* INVD WBINVD WBNOINVD */
insn_fn exec_fsgsbase; /* RDFSBASE RDGSBASE WRFSBASE WRGSBASE */
insn_fn exec_clac;     /* CLAC STAC */
insn_fn exec_syscall;
insn_fn exec_sysret;
insn_fn exec_sysenter;
insn_fn exec_sysexit;
insn_fn exec_rdmsr;
insn_fn exec_wrmsr;
insn_fn exec_rdtsc; /* RDTSC RDTSCP */
insn_fn exec_rdpmc;
insn_fn exec_rdpid;
insn_fn exec_rdrand; /* RDRAND RDSEED */
insn_fn exec_cpuid;
insn_fn exec_monitor; /* MONITOR */
insn_fn exec_mwait;   /* MWAIT */
insn_fn exec_xgetbv;
insn_fn exec_xsetbv;
insn_fn exec_vmcall; /* VMCALL VMMCALL */

/* May its result be undefined, and differ between processors? BSWAP of 16 bits, SHLD and SHRD of 16 by more than that. */
static inline bool insn_result_varies(const struct insn *i)
{
	return i->opsize == 2 && (insn_exec(i->d) == exec_bswap || insn_exec(i->d) == exec_shld);
}
