/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts: LAPIC self-IPIs, priorities and TPR, STI and MOV SS shadows, HLT, PIC with the PIT, IOAPIC, NMI, x2APIC. */
#include "rt.h"

#define IOAPIC 0xfec00000ull

static volatile u64 count[256], order[16], norder;
static volatile u64 last_rip;
static volatile bool want_eoi = true;

static void on_irq(struct frame *f)
{
	count[f->vector]++;
	if (norder < 16)
		order[norder++] = f->vector;
	last_rip = f->rip;
	if (f->vector >= 0x30 && want_eoi)
		apic_write(0xb0, 0);
}

static void on_pic(struct frame *f)
{
	count[f->vector]++;
	out8(0x20, 0x20);
}

static void self_ipi(unsigned vector)
{
	apic_write(0x300, 0x40000 | vector);
}

static void wait_ticks(u64 n)
{
	for (u64 start = rdtsc(); rdtsc() - start < n;)
		__asm__ volatile("pause");
}

static void ioapic_write(unsigned reg, u32 v)
{
	*(volatile u32 *)IOAPIC = reg;
	*(volatile u32 *)(IOAPIC + 0x10) = v;
}

static u32 ioapic_read(unsigned reg)
{
	*(volatile u32 *)IOAPIC = reg;
	return *(volatile u32 *)(IOAPIC + 0x10);
}

static void local(void)
{
	u64 where;

	norder = 0;
	self_ipi(0x40);
	self_ipi(0x60);
	self_ipi(0x50);
	ok(norder == 0, "IF holds interrupts back");
	__asm__ volatile("sti\n\tnop\n\tnop\n\tcli");
	ok(norder == 3 && order[0] == 0x60 && order[1] == 0x50 && order[2] == 0x40, "highest vector first");
	self_ipi(0x40);
	__asm__ volatile("lea 1f(%%rip), %0\n\tsti\n\tnop\n1:\tcli" : "=r"(where));
	ok(last_rip == where, "STI shadow is one instruction");
	self_ipi(0x40);
	__asm__ volatile("lea 1f(%%rip), %0\n\tmov %%ss, %%ecx\n\tsti\n\tmov %%ecx, %%ss\n\tnop\n1:\tcli"
			 : "=r"(where)
			 :
			 : "rcx");
	/* of instructions in sequence that hold interrupts back, only the first is sure to do so (SDM vol. 3, 6.8.3) */
	ok(last_rip == where || last_rip == where - 1, "STI shadow of MOV SS");
	norder = 0;
	self_ipi(0x40);
	__asm__ volatile("sti\n\tcli");
	ok(norder == 0, "STI CLI lets nothing in");
	__asm__ volatile("sti\n\thlt\n\tcli");
	ok(norder == 1, "STI HLT takes the pending one");
}

static void priority(void)
{
	norder = 0;
	WRITE_REG("cr8", 5);
	ok(READ_REG("cr8") == 5 && apic_read(0x80) == 0x50, "CR8 is the TPR");
	self_ipi(0x51);
	self_ipi(0x61);
	__asm__ volatile("sti\n\tnop\n\tnop\n\tcli");
	ok(norder == 1 && order[0] == 0x61, "TPR masks its class");
	__asm__ volatile("sti\n\tnop");
	WRITE_REG("cr8", 0);
	__asm__ volatile("nop\n\tcli");
	ok(norder == 2 && order[1] == 0x51, "lowering the TPR delivers");
	want_eoi = false;
	norder = 0;
	self_ipi(0x55);
	__asm__ volatile("sti\n\tnop\n\tnop\n\tcli");
	ok(apic_read(0x100 + 0x20) == 1u << 21 && apic_read(0xa0) == 0x50, "ISR and PPR");
	self_ipi(0x58);
	self_ipi(0x68);
	want_eoi = true;
	__asm__ volatile("sti\n\tnop\n\tnop\n\tcli");
	ok(norder == 2 && order[1] == 0x68, "a higher class nests, the same waits");
	apic_write(0xb0, 0);
	__asm__ volatile("sti\n\tnop\n\tnop\n\tcli");
	ok(norder == 3 && order[2] == 0x58, "after EOI");
}

static void pic(void)
{
	out8(0x20, 0x11);
	out8(0x21, 0x20);
	out8(0x21, 4);
	out8(0x21, 1);
	out8(0xa0, 0x11);
	out8(0xa1, 0x28);
	out8(0xa1, 2);
	out8(0xa1, 1);
	out8(0x21, 0xfe);
	out8(0xa1, 0xff);
	apic_write(0x350, 0x700); /* LINT0: ExtINT */
	handlers[0x20] = on_pic;
	out8(0x43, 0x34);
	out8(0x40, 0x00);
	out8(0x40, 0x10); /* 4096 / 1.19 MHz: 3.4 ms */
	__asm__ volatile("sti");
	for (unsigned n = 0; n < 2000 && count[0x20] < 3; n++)
		wait_ticks(1000000);
	__asm__ volatile("cli");
	ok(count[0x20] >= 3, "PIT through the PIC");
	out8(0x21, 0xff);
	apic_write(0x350, 0x10000);
}

static void ioapic(void)
{
	ok((ioapic_read(1) & 0xff) >= 0x11 && ((ioapic_read(1) >> 16) & 0xff) == 23, "IOAPIC version");
	ioapic_write(0x11, apic_read(0x20) & 0xff000000);
	ioapic_write(0x10, 0x70);
	__asm__ volatile("sti");
	for (unsigned n = 0; n < 2000 && count[0x70] < 3; n++)
		wait_ticks(1000000);
	__asm__ volatile("cli");
	ok(count[0x70] >= 3, "PIT through the IOAPIC");
	ioapic_write(0x10, 0x10070);
	ok(ioapic_read(0x10) & 0x10000, "masked");
	__asm__ volatile("sti\n\tnop\n\tnop\n\tcli"); /* one more may have come meanwhile */
}

#define KVM_LEAF   0x40000000u /* Linux, Documentation/virt/kvm/x86/cpuid.rst and msr.rst */
#define PV_EOI	   (1u << 6)
#define MSR_PV_EOI 0x4b564d04u

static volatile u32 eoi_word __attribute__((aligned(4)));
static volatile u64 offers;
static volatile bool ask_again;

static bool has_pv_eoi(void)
{
	u32 out[4];

	cpuid(KVM_LEAF, 0, out);
	if (out[1] != 0x4b4d564b)
		return false;
	cpuid(KVM_LEAF + 1, 0, out);
	return out[0] & PV_EOI;
}

/* As Linux ends an interrupt: whether it is offered is the hypervisor's choice. */
static void on_pv(struct frame *f)
{
	order[norder++ & 15] = f->vector;
	if (ask_again) {
		ask_again = false;
		self_ipi(0x42);
		ok(!(eoi_word & 1), "another request takes the PV EOI back");
	}
	if (eoi_word & 1) {
		offers++;
		eoi_word = 0;
	} else {
		apic_write(0xb0, 0);
	}
}

static void pv_eoi(void)
{
	if (!has_pv_eoi())
		return;
	for (unsigned v = 0x40; v < 0x70; v++)
		handlers[v] = on_pv;
	norder = 0;
	wrmsr(MSR_PV_EOI, (u64)&eoi_word | 1);
	self_ipi(0x41);
	__asm__ volatile("sti\n\tnop\n\tnop\n\tcli");
	ok(norder == 1 && !apic_read(0x100 + 0x20) && apic_read(0xa0) == 0, "PV EOI ends an interrupt");
	self_ipi(0x41);
	__asm__ volatile("sti\n\tnop\n\tnop\n\tcli");
	ok(norder == 2 && !(eoi_word & 1), "and the next one comes");
	offers = 0;
	self_ipi(0x41);
	self_ipi(0x61);
	__asm__ volatile("sti\n\tnop\n\tnop\n\tcli");
	ok(norder == 4 && order[2] == 0x61 && order[3] == 0x41 && offers < 2, "no PV EOI while another one waits");
	ask_again = true;
	self_ipi(0x41);
	__asm__ volatile("sti\n\tnop\n\tnop\n\tcli");
	ok(norder == 6 && order[5] == 0x42, "a request of the same class comes after");
	ok(TRAP("mov $0x4b564d04, %%ecx\n\tmov $3, %%eax\n\txor %%edx, %%edx\n\twrmsr", "m"(trap)) == EXC_GP,
	   "PV EOI's address is aligned");
	wrmsr(MSR_PV_EOI, 0);
	for (unsigned v = 0x40; v < 0x70; v++)
		handlers[v] = on_irq;
}

static volatile u64 nmis, nmi_nested, nmi_depth;

static void on_nmi(struct frame *f)
{
	nmis++;
	nmi_depth++;
	if (nmi_depth > 1)
		nmi_nested++;
	if (nmis == 1) {
		apic_write(0x300, 0x44400); /* another NMI to ourselves: waits for IRET */
		wait_ticks(10000);
	}
	nmi_depth--;
}

static void nmi(void)
{
	handlers[EXC_NMI] = on_nmi;
	apic_write(0x310, apic_read(0x20) & 0xff000000);
	apic_write(0x300, 0x4400);
	wait_ticks(10000000);
	ok(nmis == 2 && !nmi_nested, "NMIs do not nest");
}

static void x2apic(void)
{
	u32 out[4];

	cpuid(1, 0, out);
	if (!(out[2] >> 21 & 1))
		return;
	wrmsr(0x1b, rdmsr(0x1b) | 0xc00);
	ok(rdmsr(0x802) == 0 && (rdmsr(0x803) & 0xff) >= 0x10, "x2APIC id and version");
	norder = 0;
	wrmsr(0x83f, 0x48);
	want_eoi = false;
	__asm__ volatile("sti\n\tnop\n\tnop\n\tcli");
	wrmsr(0x80b, 0);
	ok(norder == 1 && order[0] == 0x48, "x2APIC self IPI");
	ok(TRAP("mov $0x80e, %%ecx\n\trdmsr", "m"(trap)) == EXC_GP, "DFR does not exist");
}

void guest_main(void)
{
	for (unsigned v = 32; v < 256; v++)
		handlers[v] = on_irq;
	out8(0x21, 0xff);
	out8(0xa1, 0xff);
	apic_enable();
	local();
	priority();
	pic();
	ioapic();
	pv_eoi();
	nmi();
	x2apic();
}
