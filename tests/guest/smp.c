/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Several processors: start-up, IPIs both ways, locks, every kind of atomic, TLB shoot-down, code changed by another one. */
#include "rt.h"

#define CPUS 4
#define ROUNDS 20000

static volatile u32 up, phase, done[CPUS], ipis[CPUS], acks;
static volatile u64 locked_add, lock_word, plain_under_lock, cas_sum, xchg_lock, xchg_sum;
static volatile u32 cas16_lock __attribute__((aligned(16)));
static volatile u64 pair[2] __attribute__((aligned(16)));
static volatile u8 bits[ROUNDS / 8 + 8];
static volatile u64 pd[512] __attribute__((aligned(4096))), pt[512] __attribute__((aligned(4096)));
static volatile u8 frame_a[4096] __attribute__((aligned(4096))), frame_b[4096] __attribute__((aligned(4096)));
static volatile u8 code[64];
static volatile bool stale, torn;

static unsigned self(void)
{
	return apic_read(0x20) >> 24;
}

static void on_ipi(struct frame *f)
{
	ipis[self()]++;
	apic_write(0xb0, 0);
}

static void on_flush(struct frame *f)
{
	WRITE_REG("cr3", READ_REG("cr3"));
	__atomic_fetch_add(&acks, 1, __ATOMIC_SEQ_CST);
	apic_write(0xb0, 0);
}

static void atomics(unsigned cpu)
{
	for (unsigned n = 0; n < ROUNDS; n++) {
		u64 old, v = 1;
		u8 equal;

		__asm__ volatile("lock addq $1, %0" : "+m"(locked_add));
		while (__atomic_exchange_n(&xchg_lock, 1, __ATOMIC_ACQUIRE))
			__asm__ volatile("pause");
		plain_under_lock++;
		__atomic_store_n(&xchg_lock, 0, __ATOMIC_RELEASE);
		old = cas_sum;
		do
			__asm__ volatile("lock cmpxchgq %3, %1\n\tsete %2"
					 : "+a"(old), "+m"(cas_sum), "=q"(equal)
					 : "r"(old + 2)
					 : "memory");
		while (!equal);
		__asm__ volatile("lock xaddq %0, %1" : "+r"(v), "+m"(xchg_sum));
		__asm__ volatile("lock btsl %1, %0" : "+m"(bits) : "r"(n) : "memory");
		if (cpu & 1) {
			u64 lo = pair[0], hi = pair[1];

			do
				__asm__ volatile("lock cmpxchg16b %0\n\tsete %3"
						 : "+m"(pair), "+a"(lo), "+d"(hi), "=q"(equal)
						 : "b"(lo + 1), "c"(hi + 1)
						 : "memory");
			while (!equal);
		} else {
			u64 lo = 0, hi = 0;

			__asm__ volatile("lock cmpxchg16b %0" : "+m"(pair), "+a"(lo), "+d"(hi) : "b"(0), "c"(0) : "memory");
			if (lo != hi)
				torn = true;
		}
	}
}

static void reader(void)
{
	/* frame_a holds 1, frame_b holds 2; after the acknowledged flush only 2 may be seen */
	while (phase == 3) {
		u8 v = *(volatile u8 *)0x40000000;

		if (v == 1 && phase == 4)
			stale = true;
	}
}

static void run_code(void)
{
	u32 (*f)(void) = (u32(*)(void))(u64)code;

	while (f() != 5)
		__asm__ volatile("pause");
}

static void work(unsigned cpu)
{
	while (phase < 1)
		__asm__ volatile("pause");
	atomics(cpu);
	__atomic_fetch_add(&done[0], 1, __ATOMIC_SEQ_CST);
	while (phase < 2)
		__asm__ volatile("pause");
	__asm__ volatile("sti");
	while (phase < 3)
		__asm__ volatile("pause");
	reader();
	__atomic_fetch_add(&done[1], 1, __ATOMIC_SEQ_CST);
	while (phase < 5)
		__asm__ volatile("pause");
	run_code();
	__atomic_fetch_add(&done[2], 1, __ATOMIC_SEQ_CST);
	/* sleep until an IPI */
	for (u32 before = ipis[cpu]; ipis[cpu] == before;)
		__asm__ volatile("sti\n\thlt");
	__atomic_fetch_add(&done[3], 1, __ATOMIC_SEQ_CST);
}

void ap_main(unsigned cpu)
{
	WRITE_REG("cr4", READ_REG("cr4"));
	apic_enable();
	__atomic_fetch_add(&up, 1, __ATOMIC_SEQ_CST);
	work(self());
}

static void wait_done(unsigned n)
{
	while (done[n] < CPUS - 1)
		__asm__ volatile("pause");
}

static void ipi_all(u8 vector)
{
	apic_write(0x300, 0xc4000 | vector);
}

#define KVM_LEAF     0x40000000
#define PV_SEND_IPI  (1u << 11) /* Linux, Documentation/virt/kvm/x86/cpuid.rst */
#define HC_SEND_IPI  10		/* hypercalls.rst: bitmap in RBX and RCX from APIC ID RDX on, RSI as the ICR; how many got it */

static u64 pv_ipi(u64 processors, u8 vector)
{
	u32 id[4];
	u64 ret = HC_SEND_IPI;

	cpuid(0, 0, id);
	if (id[1] == 0x68747541) /* AuthenticAMD */
		__asm__ volatile("vmmcall" : "+a"(ret) : "b"(processors), "c"(0ul), "d"(0ul), "S"((u64)vector) : "memory");
	else
		__asm__ volatile("vmcall" : "+a"(ret) : "b"(processors), "c"(0ul), "d"(0ul), "S"((u64)vector) : "memory");
	return ret;
}

static void pv_ipis(void)
{
	u32 id[4];

	cpuid(KVM_LEAF + 1, 0, id);
	if (!(id[0] & PV_SEND_IPI))
		return;
	ok(pv_ipi(1u << 1 | 1u << 3, 0x40) == 2, "PV IPI reports two processors");
	while (ipis[1] + ipis[3] < 4)
		__asm__ volatile("pause");
	ok(ipis[1] == 2 && ipis[3] == 2 && ipis[2] == 2 && !ipis[0], "PV IPI to two");
}

void guest_main(void)
{
	bool good = true;

	handlers[0x40] = on_ipi;
	handlers[0x41] = on_flush;
	out8(0x21, 0xff);
	out8(0xa1, 0xff);
	apic_enable();
	for (unsigned n = 0; n < 4096; n++) {
		frame_a[n] = 1;
		frame_b[n] = 2;
	}
	*(volatile u64 *)0x2008 = (u64)pd | 3;
	pd[0] = (u64)pt | 3;
	pt[0] = (u64)frame_a | 3;
	WRITE_REG("cr3", READ_REG("cr3"));
	start_aps(CPUS);
	while (up < CPUS - 1)
		__asm__ volatile("pause");
	ok(true, "all processors are up");
	phase = 1;
	atomics(0);
	wait_done(0);
	ok(locked_add == CPUS * ROUNDS, "LOCK ADD");
	ok(plain_under_lock == CPUS * ROUNDS, "XCHG lock");
	ok(cas_sum == 2 * CPUS * ROUNDS, "CMPXCHG");
	ok(xchg_sum == CPUS * ROUNDS, "XADD");
	ok(pair[0] == pair[1] && pair[0] == CPUS / 2 * ROUNDS && !torn, "CMPXCHG16B");
	for (unsigned n = 0; n < ROUNDS; n++)
		good &= bits[n / 8] >> (n & 7) & 1;
	ok(good, "LOCK BTS");
	phase = 2;
	ipi_all(0x40);
	while (ipis[1] + ipis[2] + ipis[3] < CPUS - 1)
		__asm__ volatile("pause");
	ok(ipis[1] == 1 && ipis[2] == 1 && ipis[3] == 1 && !ipis[0], "IPI to all others");
	apic_write(0x310, 2u << 24);
	apic_write(0x300, 0x4040);
	while (ipis[2] < 2)
		__asm__ volatile("pause");
	ok(ipis[1] == 1 && ipis[3] == 1, "IPI to one");
	pv_ipis();
	phase = 3;
	pt[0] = (u64)frame_b | 3;
	ipi_all(0x41);
	while (acks < CPUS - 1)
		__asm__ volatile("pause");
	phase = 4;
	wait_done(1);
	WRITE_REG("cr3", READ_REG("cr3"));
	ok(!stale && *(volatile u8 *)0x40000000 == 2, "TLB shoot-down");
	code[0] = 0xb8;
	*(volatile u32 *)(code + 1) = 4;
	code[5] = 0xc3;
	phase = 5;
	for (u64 start = rdtsc(); rdtsc() - start < 10000000;)
		__asm__ volatile("pause");
	*(volatile u32 *)(code + 1) = 5;
	wait_done(2);
	ok(true, "code changed by another processor");
	for (u64 start = rdtsc(); rdtsc() - start < 10000000;)
		__asm__ volatile("pause");
	while (done[3] < CPUS - 1) {
		ipi_all(0x40);
		for (u64 start = rdtsc(); rdtsc() - start < 1000000;)
			__asm__ volatile("pause");
	}
	ok(true, "IPIs wake from HLT");
}
