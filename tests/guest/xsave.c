/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Vector state: CR0.TS and EM, CR4.OSFXSR and OSXSAVE, FXSAVE, XSAVE and XRSTOR with masks, XCR0, that state survives exits. */
#include "rt.h"

static u8 area[4096] __attribute__((aligned(64))), area2[4096] __attribute__((aligned(64)));
static u8 value[32] __attribute__((aligned(32))), result[32] __attribute__((aligned(32)));

static bool same(const u8 *a, const u8 *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (((const volatile u8 *)a)[i] != ((const volatile u8 *)b)[i])
			return false;
	return true;
}

static void clear(u8 *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		((volatile u8 *)p)[i] = 0;
}

static void gates(void)
{
	u64 cr0 = READ_REG("cr0"), cr4 = READ_REG("cr4");

	WRITE_REG("cr4", cr4 & ~0x200ull);
	ok(TRAP("addps %%xmm0, %%xmm0", "m"(trap)) == EXC_UD, "SSE without CR4.OSFXSR");
	WRITE_REG("cr4", cr4 | 0x600);
	ok(TRAP("addps %%xmm0, %%xmm0", "m"(trap)) == NO_EXC, "SSE with CR4.OSFXSR");
	WRITE_REG("cr0", cr0 | 8);
	ok(TRAP("addps %%xmm0, %%xmm0", "m"(trap)) == EXC_NM, "SSE with TS");
	ok(TRAP("fnop", "m"(trap)) == EXC_NM, "x87 with TS");
	WRITE_REG("cr0", cr0 | 0xa);
	ok(TRAP("fwait", "m"(trap)) == EXC_NM, "FWAIT with TS and MP");
	WRITE_REG("cr0", (cr0 & ~2ull) | 8);
	ok(TRAP("fwait", "m"(trap)) == NO_EXC, "FWAIT with TS alone");
	__asm__ volatile("clts");
	WRITE_REG("cr0", (cr0 | 4) & ~8ull);
	ok(TRAP("fnop", "m"(trap)) == EXC_NM, "x87 with EM");
	ok(TRAP("addps %%xmm0, %%xmm0", "m"(trap)) == EXC_UD, "SSE with EM");
	WRITE_REG("cr0", (cr0 & ~0xcull) | 0x22);
	ok(TRAP("xgetbv", "m"(trap)) == EXC_UD, "XGETBV without CR4.OSXSAVE");
	ok(TRAP("movaps (%0), %%xmm0", "r"(value + 1)) == EXC_GP, "alignment");
	ok(TRAP("movups (%0), %%xmm0", "r"(value + 1)) == NO_EXC, "no alignment");
}

static void fxsave(void)
{
	for (unsigned n = 0; n < 32; n++)
		value[n] = (u8)(n * 5 + 1);
	__asm__ volatile("movaps %0, %%xmm5" : : "m"(value));
	__asm__ volatile("fxsave %0" : "=m"(area));
	ok(same(area + 160 + 5 * 16, value, 16), "FXSAVE");
	__asm__ volatile("xorps %%xmm5, %%xmm5\n\tfxrstor %1\n\tmovaps %%xmm5, %0" : "=m"(result) : "m"(area));
	ok(same(result, value, 16), "FXRSTOR");
	*(volatile u32 *)(area + 24) = 0x10000;
	ok(TRAP("fxrstor (%0)", "r"(area)) == EXC_GP, "FXRSTOR of a reserved MXCSR bit");
	ok(TRAP("fxsave (%0)", "r"(area + 8)) == EXC_GP, "FXSAVE alignment");
}

static void exits(void)
{
	__asm__ volatile("movaps %0, %%xmm15" : : "m"(value));
	(void)in8(0x300);
	(void)*(volatile u32 *)MMIO_BASE;
	__asm__ volatile("movaps %%xmm15, %0" : "=m"(result));
	ok(same(result, value, 16), "XMM survives exits to user space");
	__asm__ volatile("fninit\n\tfld1\n\tfldpi");
	(void)in8(0x300);
	__asm__ volatile("faddp\n\tfisttpll %0" : "=m"(result));
	ok(*(volatile u64 *)result == 4, "x87 survives exits");
}

static void xsave(void)
{
	u32 out[4], lo, hi, avx;

	cpuid(1, 0, out);
	if (!(out[2] >> 26 & 1))
		return;
	avx = out[2] >> 28 & 1;
	WRITE_REG("cr4", READ_REG("cr4") | 0x40000);
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	ok(lo == 1 && !hi, "XCR0 is x87 at first");
	ok(TRAP("xor %%ecx, %%ecx\n\txor %%edx, %%edx\n\tmov $2, %%eax\n\txsetbv", "m"(trap)) == EXC_GP, "XCR0 without x87");
	ok(TRAP("xor %%ecx, %%ecx\n\txor %%edx, %%edx\n\tmov $5, %%eax\n\txsetbv", "m"(trap)) == EXC_GP, "AVX without SSE");
	if (avx)
		ok(TRAP("vaddps %%ymm0, %%ymm0, %%ymm0", "m"(trap)) == EXC_UD, "AVX without XCR0");
	__asm__ volatile("xsetbv" : : "a"(avx ? 7 : 3), "d"(0), "c"(0));
	cpuid(0xd, 0, out);
	if (!ok(out[1] == (avx ? 832 : 576), "CPUID tells the size of the enabled state") || !avx)
		return;
	clear(area2, sizeof(area2));
	for (unsigned n = 0; n < 32; n++)
		value[n] = (u8)(200 - n);
	__asm__ volatile("vmovaps %0, %%ymm3" : : "m"(value));
	__asm__ volatile("xsave %0" : "=m"(area2) : "a"(7), "d"(0));
	ok(same(area2 + 160 + 48, value, 16) && same(area2 + 576 + 48, value + 16, 16), "XSAVE");
	ok((*(volatile u64 *)(area2 + 512) & 6) == 6, "XSTATE_BV");
	__asm__ volatile("vzeroall");
	__asm__ volatile("xrstor %1\n\tvmovaps %%ymm3, %0" : "=m"(result) : "m"(area2), "a"(4), "d"(0));
	ok(!same(result, value, 16) && same(result + 16, value + 16, 16), "XRSTOR of the upper halves alone");
	*(volatile u64 *)(area2 + 512) = 0;
	__asm__ volatile("xrstor %1\n\tvmovaps %%ymm3, %0" : "=m"(result) : "m"(area2), "a"(7), "d"(0));
	clear(value, 32);
	ok(same(result, value, 32), "XRSTOR of the initial state");
	*(volatile u64 *)(area2 + 512) = 1ull << 40;
	ok(TRAP("mov $7, %%eax\n\txor %%edx, %%edx\n\txrstor (%0)", "r"(area2)) == EXC_GP, "XRSTOR of an unknown component");
	ok(TRAP("xsave (%0)", "r"(area2 + 16)) == EXC_GP, "XSAVE alignment");
}

static void exceptions(void)
{
	u32 mxcsr = 0x1f80 & ~0x200u; /* divide by zero */

	__asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
	WRITE_REG("cr4", READ_REG("cr4") | 0x400);
	ok(TRAP("pcmpeqd %%xmm0, %%xmm0\n\tpslld $25, %%xmm0\n\tpsrld $2, %%xmm0\n\txorps %%xmm1, %%xmm1\n\tdivps %%xmm1, %%xmm0",
		"m"(trap)) == EXC_XM, "XM");
	WRITE_REG("cr4", READ_REG("cr4") & ~0x400ull);
	ok(TRAP("divps %%xmm1, %%xmm0", "m"(trap)) == EXC_UD, "without OSXMMEXCPT it is UD");
	mxcsr = 0x1f80;
	__asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
	ok(TRAP("fninit\n\tfldz\n\tfld1\n\tpushq $0x37b\n\tfldcw (%%rsp)\n\tadd $8, %%rsp\n\tfdivp\n\tfwait", "m"(trap)) ==
		   EXC_MF, "MF");
	__asm__ volatile("fninit");
	ok(TRAP("pushq $0x10000\n\tpop %%rax\n\tmov %%rax, (%0)\n\tldmxcsr (%0)", "r"(result)) == EXC_GP, "LDMXCSR reserved bit");
}

void guest_main(void)
{
	gates();
	fxsave();
	exits();
	xsave();
	exceptions();
}
