/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MSRs that a kernel relies on: what they keep, what they refuse; and CPUID's promises about them. */
#include "rt.h"

#define RDMSR(index) TRAP("mov %0, %%ecx\n\trdmsr", "i"(index))
#define WRMSR(index, value) \
	TRAP("mov %1, %%rax\n\tmov %%rax, %%rdx\n\tshr $32, %%rdx\n\tmov %0, %%ecx\n\twrmsr", "i"(index), "r"((u64)(value)))

static void keeps(u32 index, u64 value, const char *name)
{
	u64 old = rdmsr(index);

	wrmsr(index, value);
	ok(rdmsr(index) == value, name);
	wrmsr(index, old);
}

static void efer(void)
{
	u64 old = rdmsr(0xc0000080);

	ok(old & 0x400, "EFER.LMA");
	ok(WRMSR(0xc0000080, old & ~0x100ull) == EXC_GP, "EFER.LME while paging");
	ok(WRMSR(0xc0000080, old | 1ull << 40) == EXC_GP, "EFER reserved bit");
	wrmsr(0xc0000080, old & ~0x400ull);
	ok(rdmsr(0xc0000080) & 0x400, "EFER.LMA is read-only");
}

static void features(void)
{
	u32 out[4], linear;

	cpuid(0x40000000, 0, out);
	ok(out[1] == 0x4b4d564b && out[2] == 0x564b4d56 && out[3] == 0x4d, "KVMKVMKVM");
	cpuid(0x40000001, 0, out);
	ok(!out[1] && !out[2], "KVM's features are in EAX and EDX");
	cpuid(1, 0, out);
	ok(out[2] >> 31, "hypervisor bit");
	ok(!(out[2] >> 27 & 1), "OSXSAVE follows CR4, off");
	if (out[2] >> 26 & 1) {
		WRITE_REG("cr4", READ_REG("cr4") | 0x40000);
		cpuid(1, 0, out);
		ok(out[2] >> 27 & 1, "OSXSAVE follows CR4, on");
	}
	ok((out[1] >> 24) == 0, "initial APIC id");
	cpuid(7, 0, out);
	linear = out[2] >> 16 & 1 ? 57 : 48; /* LA57 */
	cpuid(0x80000008, 0, out);
	ok((out[0] & 0xff) >= 36 && (out[0] & 0xff) <= 52 && (out[0] >> 8 & 0xff) == linear, "address widths");
}

static void clock(void)
{
	static struct __attribute__((packed)) {
		u32 version, pad;
		u64 tsc, system;
		u32 mul;
		signed char shift;
		u8 flags, pad2[2];
	} page __attribute__((aligned(64)));
	u32 out[4];
	u64 t;

	cpuid(0x40000001, 0, out);
	if (!(out[0] >> 3 & 1))
		return;
	wrmsr(0x4b564d01, (u64)&page | 1);
	for (unsigned n = 0; n < 1000 && !((volatile u32 *)&page)[0]; n++)
		(void)in8(0x80);
	t = rdtsc();
	ok(page.version && !(page.version & 1) && page.mul && page.tsc <= t, "kvmclock");
	wrmsr(0x4b564d01, 0);
}

void guest_main(void)
{
	ok(RDMSR(0x12345) == EXC_GP && WRMSR(0x12345, 0) == EXC_GP, "unknown MSR");
	keeps(0x277, 0x0007040600070406, "PAT");
	ok(WRMSR(0x277, 0x0202020202020202) == EXC_GP, "PAT of a reserved type");
	keeps(0xc0000081, 0x0023001000000000, "STAR");
	keeps(0xc0000082, 0xffffffff81000000, "LSTAR");
	ok(WRMSR(0xc0000082, 1ull << 60) == EXC_GP, "LSTAR non-canonical");
	keeps(0xc0000084, 0x47700, "FMASK");
	keeps(0x174, 0x10, "SYSENTER_CS");
	keeps(0x175, 0xffff800000000000, "SYSENTER_ESP");
	keeps(0x176, 0xffff800000001000, "SYSENTER_EIP");
	keeps(0xc0000100, 0x12345000, "FS base");
	keeps(0xc0000102, 0xffff888000000000, "kernel GS base");
	keeps(0xc0000103, 0x77, "TSC_AUX");
	keeps(0x200, 6, "MTRR base");
	keeps(0x2ff, 0xc06, "MTRR default type");
	efer();
	features();
	clock();
}
