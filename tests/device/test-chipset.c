/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The chips of the pc board through their registers: host bridge, ISA bridge with power management, HPET, and the clock's
 * periods. KVM is this file's: it keeps the levels of GSIs and the 8254's flags.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bytes.h"
#include "internal.h"

enum { GSIS = 24, MCH = 0, LPC = 31 << 3, PMBASE = 0x40, ACPI_CNTL = 0x44, PIRQA = 0x60, RCBA = 0xf0, EXBAR = 0x60 };
enum { PM = 0x600, PM1_EN = PM + 2, PM1_CNT = PM + 4, PM_TMR = PM + 8 };
enum { GPE_STS = PM + 0x20, GPE_EN = PM + 0x28, SMI_EN = PM + 0x30 };

static struct machine_core core;
static unsigned requests[REQUEST_WAKE + 1], rises[GSIS];
static bool level[GSIS];
static uint32_t pit_flags;

int kvcore_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *p;

	va_start(args, request);
	p = va_arg(args, void *);
	va_end(args);
	if (request == KVM_IRQ_LINE) {
		const struct kvm_irq_level *l = p;

		assert_true(l->irq < GSIS);
		rises[l->irq] += l->level && !level[l->irq];
		level[l->irq] = l->level;
	} else if (request == KVM_GET_PIT2) {
		*(struct kvm_pit_state2 *)p = (struct kvm_pit_state2){.flags = pit_flags};
	} else {
		assert_int_equal(request, KVM_SET_PIT2);
		pit_flags = ((const struct kvm_pit_state2 *)p)->flags;
	}
	return 0;
}

static void request(void *machine, enum machine_request what)
{
	requests[what]++;
}

static void core_open(void)
{
	core = (struct machine_core){.vm_fd = 1000, .request = request};
	core.ports = bus_new("port");
	core.mmio = bus_new("mmio");
	core.pci = pci_bus_new(&core, &(struct pci_windows){0}, NULL);
	memset(requests, 0, sizeof(requests));
	memset(level, 0, sizeof(level));
	memset(rises, 0, sizeof(rises));
	pit_flags = 0;
}

static void core_close(void)
{
	pci_bus_free(core.pci);
	bus_free(core.ports);
	bus_free(core.mmio);
}

static struct device *open_device(const char *cls)
{
	struct device *d = device_new(&core, cls, "dut", NULL, NULL, NULL);

	assert_non_null(d);
	if (d->cls->resume)
		d->cls->resume(d);
	return d;
}

static uint32_t in(uint16_t port, unsigned size)
{
	uint32_t v = 0;

	bus_access(core.ports, port, &v, size, false);
	return v;
}

static void out(uint16_t port, unsigned size, uint32_t v)
{
	bus_access(core.ports, port, &v, size, true);
}

static void select_config(unsigned devfn, unsigned at)
{
	out(0xcf8, 4, 0x80000000 | devfn << 8 | (at & ~3u));
}

static uint32_t config(unsigned devfn, unsigned at, unsigned size)
{
	select_config(devfn, at);
	return in(0xcfc + (at & 3), size);
}

static void set_config(unsigned devfn, unsigned at, unsigned size, uint32_t v)
{
	select_config(devfn, at);
	out(0xcfc + (at & 3), size, v);
}

static uint64_t mmio(uint64_t at, unsigned size)
{
	uint64_t v = 0;

	bus_access(core.mmio, at, &v, size, false);
	return v;
}

static void set_mmio(uint64_t at, unsigned size, uint64_t v)
{
	bus_access(core.mmio, at, &v, size, true);
}

/* ---- host bridge ---- */

static void window_moves(void **state)
{
	static const struct {
		uint32_t bar;
		uint64_t base, last;
	} windows[] = {{0xb0000001, 0xb0000000, 0xbfffffff},
		       {0xe8000003, 0xe8000000, 0xefffffff},
		       {0xec000005, 0xec000000, 0xefffffff},
		       {0xe4000001, 0xe0000000, 0xefffffff}}; /* address bits below the length do not count */
	struct device *d;

	core_open();
	d = open_device("q35-mch");
	assert_int_equal(config(MCH, 0, 4), 0x29c08086);
	assert_int_equal(config(MCH, EXBAR, 4), 0xb0000000);
	assert_int_equal(mmio(0xb0000000, 4), UINT32_MAX);
	for (unsigned i = 0; i < G_N_ELEMENTS(windows); i++) {
		set_config(MCH, EXBAR, 4, windows[i].bar);
		assert_int_equal(mmio(windows[i].base, 4), 0x29c08086);
		assert_int_equal(mmio(windows[i].last, 1), 0xff); /* a bus that has nothing */
		assert_int_equal(mmio(windows[i].base - 4, 4), UINT32_MAX);
	}
	/* Above 4 GiB, moved through itself, and away. */
	set_mmio(0xe0000000 + EXBAR + 4, 4, 1);
	assert_int_equal(mmio(0xe0000000, 4), UINT32_MAX);
	assert_int_equal(mmio(0x1e0000000, 4), 0x29c08086);
	set_config(MCH, EXBAR, 4, 0xe0000007); /* a length that there is not */
	assert_int_equal(mmio(0x1e0000000, 4), UINT32_MAX);
	set_config(MCH, EXBAR, 4, 0xe0000001);
	d->cls->reset(d);
	assert_int_equal(mmio(0x1e0000000, 4), UINT32_MAX);
	assert_int_equal(config(MCH, EXBAR, 4), 0xb0000000);
	device_free(d);
	core_close();
}

/* Firmware that sets the window up by itself, on the way out of a sleep. */
static void window_stays_awake(void **state)
{
	struct device *d;

	core_open();
	d = open_device("q35-mch");
	set_config(MCH, EXBAR, 4, 0xb0000001);
	core.waking = true;
	d->cls->reset(d);
	core.waking = false;
	assert_int_equal(mmio(0xb0000000, 4), 0x29c08086);
	set_mmio(0xb0000000 + EXBAR, 4, 0);
	set_mmio(0xb0000000 + EXBAR + 4, 4, 0);
	set_mmio(0xb0000000 + EXBAR, 4, 0xb0000001);
	assert_int_equal(mmio(0xb0000000, 4), 0x29c08086);
	set_mmio(0xb0000000 + EXBAR, 4, 0); /* once more, and it is gone */
	assert_int_equal(mmio(0xb0000000, 4), UINT32_MAX);
	device_free(d);
	core_close();
}

static void window_meets_another(void **state)
{
	struct device *d, *hpet;

	core_open();
	d = open_device("q35-mch");
	hpet = open_device("hpet");
	set_config(MCH, EXBAR, 4, 0xf0000001); /* the HPET is in it */
	assert_int_equal(mmio(0xf0000000, 4), UINT32_MAX);
	assert_int_equal(mmio(PC_HPET_BASE, 4), PC_HPET_ID);
	set_config(MCH, EXBAR, 4, 0xe0000001);
	assert_int_equal(mmio(0xe0000000, 4), 0x29c08086);
	device_free(hpet);
	device_free(d);
	core_close();
}

static void shadow_is_bytes(void **state)
{
	struct device *d;

	core_open();
	d = open_device("q35-mch");
	set_config(MCH, 0x90, 4, UINT32_MAX);
	set_config(MCH, 0x94, 4, UINT32_MAX);
	assert_int_equal(config(MCH, 0x90, 4), 0x33333330);
	assert_int_equal(config(MCH, 0x94, 4), 0x00333333);
	set_config(MCH, 0x9d, 1, 0x4a); /* SMRAM stays closed */
	assert_int_equal(config(MCH, 0x9d, 1), 2);
	device_free(d);
	core_close();
}

/* ---- interrupts of PCI ---- */

/* Only GSIs of the mask are up. */
static void expect_gsis(uint32_t mask)
{
	for (unsigned i = 0; i < GSIS; i++)
		assert_int_equal(level[i], mask >> i & 1);
}

static void lines_are_routed(void **state)
{
	struct device *d;

	core_open();
	d = open_device("ich9-lpc");
	assert_int_equal(config(LPC, 0, 4), 0x29188086);
	assert_int_equal(config(LPC, PIRQA, 4), 0x80808080);
	core.pci_intx(core.pci_intx_opaque, 1, true);
	expect_gsis(1 << 17);
	set_config(LPC, PIRQA + 1, 1, 10);
	expect_gsis(1 << 17 | 1 << 10);
	set_config(LPC, PIRQA + 2, 1, 10);
	core.pci_intx(core.pci_intx_opaque, 2, true);
	core.pci_intx(core.pci_intx_opaque, 1, false);
	expect_gsis(1 << 18 | 1 << 10); /* one of two that share it is left */
	set_config(LPC, PIRQA + 2, 1, 11);
	expect_gsis(1 << 18 | 1 << 11);
	set_config(LPC, PIRQA + 2, 1, 13); /* the FPU's: none to be routed to */
	expect_gsis(1 << 18);
	set_config(LPC, PIRQA + 2, 1, 5);
	expect_gsis(1 << 18 | 1 << 5);
	core.pci_intx(core.pci_intx_opaque, 2, false);
	expect_gsis(0);
	assert_int_equal(pci_intx_line(&core, 3, 2), 0);
	assert_int_equal(pci_intx_line(&core, 24, 1), 0);
	assert_int_equal(pci_intx_line(&core, 25, 1), 0); /* not rotated from here on */
	assert_int_equal(pci_intx_line(&core, 31, 3), 2);
	device_free(d);
	core_close();
}

/* ---- power management ---- */

static struct device *open_pm(void)
{
	struct device *d;

	core_open();
	d = open_device("ich9-lpc");
	assert_int_equal(in(PM1_CNT, 2), 0xffff); /* nowhere, yet */
	assert_int_equal(ich9_lpc_pm_base(d), PM_BASE);
	set_config(LPC, PMBASE, 4, PM | 0x7f);
	assert_int_equal(config(LPC, PMBASE, 4), PM | 1);
	set_config(LPC, ACPI_CNTL, 1, 0x80);
	assert_int_equal(in(PM1_CNT, 2), 0);
	return d;
}

static void close_pm(struct device *d)
{
	device_free(d);
	core_close();
}

static void power_button_interrupts(void **state)
{
	struct device *d = open_pm();

	out(PM1_EN, 2, 0x100);
	ich9_lpc_power_button(d);
	expect_gsis(0); /* legacy mode */
	assert_int_equal(in(PM, 2), 0x100);
	out(PC_SMI_COMMAND, 1, PC_ACPI_ENABLE);
	assert_int_equal(in(PM1_CNT, 2), 1);
	expect_gsis(1 << PM_GSI);
	out(PM, 2, 0x100);
	assert_int_equal(in(PM, 2), 0);
	expect_gsis(0);
	ich9_lpc_power_button(d);
	expect_gsis(1 << PM_GSI);
	set_config(LPC, ACPI_CNTL, 1, 0x81); /* moved to IRQ 10 */
	expect_gsis(1 << 10);
	out(PC_SMI_COMMAND, 1, PC_ACPI_DISABLE);
	expect_gsis(0);
	assert_int_equal(in(PC_SMI_COMMAND, 1), PC_ACPI_DISABLE);
	close_pm(d);
}

static void sleep_is_power_off(void **state)
{
	struct device *d = open_pm();

	out(PM1_CNT, 2, 5 << 10 | 1 << 13); /* no state of this machine's */
	out(PM1_CNT, 2, PC_SLP_TYP_S4 << 10 | 1 << 13);
	assert_int_equal(requests[REQUEST_HIBERNATE], 1);
	out(PM1_CNT, 2, 0);
	assert_int_equal(requests[REQUEST_POWEROFF], 0);
	out(PM1_CNT + 1, 1, 0x20); /* SLP_EN, by its byte */
	assert_int_equal(requests[REQUEST_POWEROFF], 1);
	assert_int_equal(in(PM1_CNT, 2), 0); /* SLP_EN reads as zero */
	close_pm(d);
}

static void fall_asleep(struct device *d, uint16_t enable)
{
	unsigned before = requests[REQUEST_SUSPEND];
	bool woken;

	out(PM1_EN, 2, enable);
	out(PM1_CNT, 2, PC_SLP_TYP_S3 << 10 | 1 << 13);
	assert_int_equal(requests[REQUEST_SUSPEND], before + 1);
	assert_true(ich9_lpc_asleep(d, &woken));
	assert_false(woken);
	d->cls->pause(d);
}

/* What machine.c does; firmware puts the ports back. */
static uint16_t wake_up(struct device *d)
{
	bool woken;

	assert_true(ich9_lpc_asleep(d, &woken));
	assert_true(woken);
	core.waking = true;
	d->cls->reset(d);
	core.waking = false;
	assert_false(ich9_lpc_asleep(d, &woken));
	d->cls->resume(d);
	set_config(LPC, PMBASE, 4, PM | 1);
	set_config(LPC, ACPI_CNTL, 1, 0x80);
	return (uint16_t)in(PM, 2);
}

static void sleep_ends(void **state)
{
	struct device *d = open_pm();
	bool woken;

	core.wake(core.wake_opaque, WAKE_OTHER); /* nobody sleeps */
	fall_asleep(d, 0);
	core.wake(core.wake_opaque, WAKE_ALARM); /* is not enabled */
	core.wake(core.wake_opaque, WAKE_TIMER);
	assert_int_equal(requests[REQUEST_WAKE], 0);
	ich9_lpc_wake(d);
	core.wake(core.wake_opaque, WAKE_OTHER); /* once is enough */
	assert_int_equal(requests[REQUEST_WAKE], 1);
	assert_int_equal(wake_up(d), 0x8100);
	assert_int_equal(in(PM1_EN, 2), 0);
	fall_asleep(d, 0x400);
	core.wake(core.wake_opaque, WAKE_ALARM);
	assert_int_equal(wake_up(d), 0x8400);
	fall_asleep(d, 0);
	ich9_lpc_power_button(d);
	assert_int_equal(wake_up(d), 0x8100);
	fall_asleep(d, 0x400);
	core.wake(core.wake_opaque, WAKE_ALARM);
	d->cls->reset(d); /* of another kind: it sleeps no longer, and was not woken */
	assert_false(ich9_lpc_asleep(d, &woken));
	set_config(LPC, PMBASE, 4, PM | 1);
	set_config(LPC, ACPI_CNTL, 1, 0x80);
	assert_int_equal(in(PM, 2), 0);
	close_pm(d);
}

/* The counter's turn, 2.3 seconds at most, ends a sleep of a machine that was paused for it, and of one that was loaded. */
static void timer_ends_sleep(void **state)
{
	struct device *d = open_pm();
	g_autoptr(GByteArray) saved = g_byte_array_new();
	g_autoptr(GBytes) bytes = NULL;
	size_t at = 0;

	fall_asleep(d, 1);
	state_save(saved, d->cls->state, "dut", d);
	while (!requests[REQUEST_WAKE])
		g_main_context_iteration(NULL, TRUE);
	assert_int_equal(wake_up(d), 0x8001);
	bytes = g_bytes_new(saved->data, saved->len);
	assert_true(state_load(bytes, &at, d->cls->state, "dut", d, NULL));
	while (requests[REQUEST_WAKE] < 2)
		g_main_context_iteration(NULL, TRUE);
	assert_int_equal(wake_up(d), 0x8001);
	close_pm(d);
}

static void events_of_cards(void **state)
{
	struct device *d = open_pm();

	out(PC_SMI_COMMAND, 1, PC_ACPI_ENABLE);
	out(GPE_EN + 4, 4, 0x11223344);
	assert_int_equal(in(GPE_EN + 5, 2), 0x2233);
	assert_int_equal(in(GPE_EN, 4), 0);
	assert_int_equal(in(SMI_EN, 4), 0x20); /* SMM is set up, as firmware sees it */
	out(SMI_EN, 4, 0);
	assert_int_equal(in(SMI_EN, 4), 0x20);
	assert_int_equal(in(GPE_STS, 4), 0);
	close_pm(d);
}

static void timer_counts(void **state)
{
	struct device *d = open_pm();
	gint64 began = g_get_monotonic_time();
	uint32_t a = in(PM_TMR, 4), b;

	g_usleep(2000);
	b = in(PM_TMR, 4);
	/* 3.58 MHz in 24 bits; no more of it than the time that there was. */
	assert_in_range((b - a) & 0xffffff, 7159, (g_get_monotonic_time() - began) * 3579545 / G_USEC_PER_SEC + 1);
	out(PM_TMR, 4, 0);
	assert_in_range((in(PM_TMR, 4) - b) & 0xffffff, 0, 0x7fffff);
	close_pm(d);
}

/* A count that was saved just before the counter's turn: the event comes, in the main context. */
static void timer_turns(void **state)
{
	struct device *d = open_pm();
	g_autoptr(GBytes) bytes = NULL;
	GByteArray *stream = g_byte_array_new();
	const uint8_t name[] = {'v', 'a', 'l', 'u', 'e'};
	size_t at = 0;
	uint8_t *value = NULL;

	out(PC_SMI_COMMAND, 1, PC_ACPI_ENABLE);
	out(PM1_EN, 2, 1);
	d->cls->pause(d);
	state_save(stream, d->cls->state, "dut", d);
	for (guint i = 0; i + sizeof(name) + 13 <= stream->len; i++)
		if (!memcmp(stream->data + i, name, sizeof(name)))
			value = stream->data + i + sizeof(name) + 5;
	assert_non_null(value);
	put_le64(value, (1 << 23) - 1000);
	/* The checksum is of what was there (state.c: FNV-1a behind 12 bytes). */
	put_le32(stream->data + 8, 2166136261u);
	for (guint i = 12; i < stream->len; i++)
		put_le32(stream->data + 8, (get_le32(stream->data + 8) ^ stream->data[i]) * 16777619u);
	bytes = g_byte_array_free_to_bytes(stream);
	assert_true(state_load(bytes, &at, d->cls->state, "dut", d, NULL));
	expect_gsis(0);
	assert_int_equal(in(PM_TMR, 4), (1 << 23) - 1000);
	d->cls->resume(d);
	while (!level[PM_GSI])
		g_main_context_iteration(NULL, TRUE);
	assert_int_equal(in(PM, 2), 1);
	out(PM, 2, 1);
	expect_gsis(0);
	close_pm(d);
}

static void other_ports(void **state)
{
	struct device *d = open_pm();

	out(0xb3, 1, 0x5a);
	assert_int_equal(in(0xb3, 1), 0x5a);
	assert_int_equal(in(0x92, 1), 2);
	out(0x92, 1, 0);
	assert_int_equal(in(0x92, 1), 2);
	assert_int_equal(requests[REQUEST_RESET], 0);
	out(0x92, 1, 3);
	assert_int_equal(requests[REQUEST_RESET], 1);
	out(0x92, 1, 3); /* no edge */
	assert_int_equal(requests[REQUEST_RESET], 1);
	set_config(LPC, RCBA, 4, PC_RCBA_BASE | 1);
	assert_int_equal(mmio(PC_RCBA_BASE + 0x3140, 4), 0x3210);
	assert_int_equal(mmio(PC_RCBA_BASE + 0x3410, 4), 0x20);
	assert_int_equal(mmio(PC_RCBA_BASE, 4), 0);
	set_config(LPC, RCBA, 4, 0);
	assert_int_equal(mmio(PC_RCBA_BASE, 4), UINT32_MAX);
	/* In the way of something else: it is nowhere, and comes back. */
	set_config(LPC, PMBASE, 4, 0x80);
	assert_int_equal(in(PM1_CNT, 2), 0xffff);
	set_config(LPC, PMBASE, 4, PM);
	assert_int_equal(in(PM1_CNT, 2), 0);
	/* Elsewhere, and tables say where; not switched on, as U-Boot has it. */
	set_config(LPC, ACPI_CNTL, 1, 0);
	set_config(LPC, PMBASE, 4, 0xe400);
	assert_int_equal(ich9_lpc_pm_base(d), 0xe400);
	assert_int_equal(in(PM1_CNT, 2), 0xffff);
	assert_int_equal(in(0xe400 + PC_PM_CONTROL, 2), 0);
	close_pm(d);
}

/* ---- HPET ---- */

#define H(reg) (PC_HPET_BASE + (reg))
enum { CONFIG = 0x10, STATUS = 0x20, COUNTER = 0xf0, T0 = 0x100, T1 = 0x120, T2 = 0x140, CMP = 8 };
enum { LEVEL = 2, ENABLED = 4, PERIODIC = 8, VAL_SET = 0x40, MODE_32 = 0x100, GSI_20 = 20 << 9 };

static struct device *open_hpet(void)
{
	core_open();
	return open_device("hpet");
}

static void hpet_says_what_it_is(void **state)
{
	struct device *d = open_hpet();

	assert_int_equal(mmio(H(0), 8), 10000000ull << 32 | PC_HPET_ID);
	assert_int_equal(mmio(H(4), 4), 10000000);
	assert_int_equal(mmio(H(T0), 8), 0x00f0000000000030);
	assert_int_equal(mmio(H(T1), 8), 0x00f0000000000020);
	set_mmio(H(T1), 4, UINT32_MAX);
	assert_int_equal(mmio(H(T1), 4), 0x3f26); /* not periodic, no FSB */
	assert_int_equal(mmio(H(T2 + 0x20), 8), 0);
	assert_int_equal(mmio(H(0x3f8), 8), 0);
	close_pm(d);
}

static void hpet_counts(void **state)
{
	struct device *d = open_hpet();
	uint64_t a;

	set_mmio(H(COUNTER), 8, 0x123456789abcdef0);
	assert_int_equal(mmio(H(COUNTER), 8), 0x123456789abcdef0);
	set_mmio(H(COUNTER + 4), 4, 7);
	set_mmio(H(CONFIG), 4, 1);
	a = mmio(H(COUNTER), 8);
	assert_int_equal(a >> 32, 7);
	g_usleep(1000);
	assert_true(mmio(H(COUNTER), 8) - a >= 100000);
	set_mmio(H(CONFIG), 4, 0);
	a = mmio(H(COUNTER), 8);
	g_usleep(100);
	assert_int_equal(mmio(H(COUNTER), 8), a);
	close_pm(d);
}

/* Runs the main context until GSI n has risen `times` more. */
static void wait_rises(unsigned n, unsigned times)
{
	unsigned want = rises[n] + times;

	while (rises[n] < want)
		g_main_context_iteration(NULL, TRUE);
}

static void hpet_fires_once(void **state)
{
	struct device *d = open_hpet();

	set_mmio(H(CONFIG), 4, 1);
	set_mmio(H(T2), 4, ENABLED | GSI_20);
	set_mmio(H(T2 + CMP), 8, mmio(H(COUNTER), 8) + 100000);
	assert_int_equal(rises[20], 0);
	wait_rises(20, 1);
	expect_gsis(0);
	for (unsigned i = 0; i < 20; i++) {
		g_main_context_iteration(NULL, FALSE);
		mmio(H(COUNTER), 8);
	}
	assert_int_equal(rises[20], 1);
	/* What is just past is now. */
	set_mmio(H(T2 + CMP), 8, mmio(H(COUNTER), 8) - 5);
	assert_int_equal(rises[20], 2);
	close_pm(d);
}

static void hpet_holds_a_level(void **state)
{
	struct device *d = open_hpet();

	set_mmio(H(CONFIG), 4, 1);
	set_mmio(H(T1), 4, ENABLED | LEVEL | MODE_32 | GSI_20);
	set_mmio(H(T1 + CMP), 4, (uint32_t)mmio(H(COUNTER), 8) + 100000);
	wait_rises(20, 1);
	expect_gsis(1 << 20);
	assert_int_equal(mmio(H(STATUS), 4), 2);
	set_mmio(H(STATUS), 4, 1);
	expect_gsis(1 << 20);
	set_mmio(H(STATUS), 4, 2);
	expect_gsis(0);
	close_pm(d);
}

/* As Linux starts its tick: the accumulator behind VAL_SET, then the period, both at 0x108. */
static void hpet_replaces_the_8254(void **state)
{
	struct device *d = open_hpet();

	set_mmio(H(T0), 4, ENABLED | PERIODIC | VAL_SET | MODE_32);
	set_mmio(H(T0 + CMP), 4, 300000);
	set_mmio(H(T0 + CMP), 4, 100000);
	assert_int_equal(mmio(H(T0 + CMP), 4), 300000);
	set_mmio(H(CONFIG), 4, 3);
	assert_int_equal(pit_flags, KVM_PIT_FLAGS_HPET_LEGACY);
	assert_true(core.hpet_legacy);
	wait_rises(0, 5);
	assert_int_equal(mmio(H(T0 + CMP), 4) % 100000, 0);
	assert_true(mmio(H(T0 + CMP), 4) >= 800000);
	set_mmio(H(CONFIG), 4, 0);
	assert_int_equal(pit_flags, 0);
	assert_false(core.hpet_legacy);
	close_pm(d);
}

/* Periods that nobody could serve, of 10 ns: the main context gets its turn, the lost ones do not come later. */
static void hpet_period_is_bounded(void **state)
{
	struct device *d = open_hpet();

	set_mmio(H(T0), 4, ENABLED | PERIODIC | VAL_SET | GSI_20);
	set_mmio(H(T0 + CMP), 8, 1);
	set_mmio(H(CONFIG), 4, 1);
	wait_rises(20, 10);
	set_mmio(H(T0), 4, PERIODIC | VAL_SET);
	set_mmio(H(T0 + CMP), 8, 0); /* no period at all */
	set_mmio(H(T0), 4, ENABLED | PERIODIC);
	mmio(H(COUNTER), 8);
	close_pm(d);
}

/* ---- the clock ---- */

static uint8_t cmos(uint8_t at)
{
	out(0x70, 1, at);
	return (uint8_t)in(0x71, 1);
}

static void set_cmos(uint8_t at, uint8_t v)
{
	out(0x70, 1, at);
	out(0x71, 1, v);
}

static void clock_has_periods(void **state)
{
	struct device *d;

	core_open();
	d = open_device("mc146818");
	set_cmos(10, 0x26); /* 1024 Hz */
	cmos(12);
	for (uint8_t c = 0; !(c & 0x40); c = cmos(12)) /* without an interrupt, too */
		assert_int_equal(c & 0x80, 0);
	set_cmos(11, 0x42);
	for (unsigned i = 0; i < 3; i++) {
		wait_rises(8, 1);
		assert_int_equal(cmos(12) & 0xc0, 0xc0);
		assert_false(level[8]);
	}
	/* The HPET has its interrupt. */
	core.hpet_legacy = true;
	for (uint8_t c = 0; !(c & 0x80); c = cmos(12))
		g_main_context_iteration(NULL, TRUE);
	assert_false(level[8]);
	set_cmos(11, 2);
	set_cmos(10, 0x76); /* the oscillator stands */
	set_cmos(11, 0x42);
	cmos(12);
	g_usleep(2000);
	assert_int_equal(cmos(12) & 0x40, 0);
	device_free(d);
	core_close();
}

static unsigned alarms;

static void count_alarm(void *opaque, enum machine_wake why)
{
	assert_int_equal(why, WAKE_ALARM);
	alarms++;
}

/* An alarm whose second nobody looked at, because the process or the machine stood still, rings all the same, and once. */
static void alarm_is_not_missed(void **state)
{
	time_t then = time(NULL) + 2;
	struct tm tm;
	struct device *d;

	core_open();
	core.wake = count_alarm;
	d = open_device("mc146818");
	assert_non_null(gmtime_r(&then, &tm));
	set_cmos(11, 0x26); /* binary, 24 hours, alarm */
	set_cmos(1, (uint8_t)tm.tm_sec);
	set_cmos(3, (uint8_t)tm.tm_min);
	set_cmos(5, (uint8_t)tm.tm_hour);
	cmos(12);
	while (time(NULL) < then + 2)
		g_usleep(100000);
	while (!level[8])
		g_main_context_iteration(NULL, TRUE);
	assert_int_equal(cmos(12) & ~0x40, 0xb0); /* update and alarm; periods pass by the way */
	assert_int_equal(alarms, 1);
	d->cls->reset(d);
	assert_int_equal(cmos(15), 0);
	core.waking = true;
	d->cls->reset(d);
	assert_int_equal(cmos(15), 0xfe);
	device_free(d);
	core_close();
}

/* What SeaBIOS and OVMF read without fw_cfg. */
static void clock_knows_the_board(void **state)
{
	g_autoptr(GVariant) options = g_variant_ref_sink(
		g_variant_new_parsed("{'low': <%t>, 'high': <%t>, 'cpus': <%u>}", (guint64)3 << 30, (guint64)5 << 30, 4));
	struct device *d;

	core_open();
	d = device_new(&core, "mc146818", "dut", options, NULL, NULL);
	assert_non_null(d);
	for (unsigned turn = 0; turn < 2; turn++) {
		assert_int_equal(cmos(0x15) | cmos(0x16) << 8, 640);
		assert_int_equal(cmos(0x30) | cmos(0x31) << 8, 65535);
		assert_int_equal(cmos(0x34) | cmos(0x35) << 8, (3072 - 16) * 16);
		assert_int_equal(cmos(0x5b) | cmos(0x5c) << 8 | cmos(0x5d) << 16, 5 << 14);
		assert_int_equal(cmos(0x5f), 3);
		assert_int_equal(cmos(0x0f), turn ? 0xfe : 0); /* how to go on after a reset: kept */
		set_cmos(0x0f, 0xfe);
		set_cmos(0x34, 0);
		d->cls->reset(d);
	}
	device_free(d);
	core_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(window_moves),
		cmocka_unit_test(window_stays_awake),
		cmocka_unit_test(window_meets_another),
		cmocka_unit_test(shadow_is_bytes),
		cmocka_unit_test(lines_are_routed),
		cmocka_unit_test(power_button_interrupts),
		cmocka_unit_test(sleep_is_power_off),
		cmocka_unit_test(sleep_ends),
		cmocka_unit_test(timer_ends_sleep),
		cmocka_unit_test(events_of_cards),
		cmocka_unit_test(timer_counts),
		cmocka_unit_test(timer_turns),
		cmocka_unit_test(other_ports),
		cmocka_unit_test(hpet_says_what_it_is),
		cmocka_unit_test(hpet_counts),
		cmocka_unit_test(hpet_fires_once),
		cmocka_unit_test(hpet_holds_a_level),
		cmocka_unit_test(hpet_replaces_the_8254),
		cmocka_unit_test(hpet_period_is_bounded),
		cmocka_unit_test(clock_has_periods),
		cmocka_unit_test(alarm_is_not_missed),
		cmocka_unit_test(clock_knows_the_board),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
