/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pci.c and msix.c as a driver sees them: both ways to configuration space, BARs that are sized
 * and moved, MSI-X masks and pending bits. Interrupts are counted by the device, since there is no KVM.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <linux/pci_regs.h>

#include "bytes.h"
#include "core.h"
#include "pci.h"

enum { ECAM = 0x80000000, WINDOW = 0x90000000, BAR_SIZE = 0x4000, MSIX_AT = 0x1000, VECTORS = 3 };

#define WINDOW64 0x800000000ull

struct rig {
	struct machine_core core;
	struct pci_device p;
	uint64_t offset, data;
};

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
	struct rig *r = opaque;

	if (offset >= MSIX_AT && offset < MSIX_AT + pci_msix_bytes(VECTORS))
		return pci_msix_read(&r->p, offset - MSIX_AT, size);
	r->offset = offset;
	return 0x55;
}

static void bar_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct rig *r = opaque;

	if (offset >= MSIX_AT && offset < MSIX_AT + pci_msix_bytes(VECTORS))
		pci_msix_write(&r->p, offset - MSIX_AT, size, data);
	r->offset = offset;
	r->data = data;
}

static const struct bus_ops bar_ops = { bar_read, bar_write };
static const struct device_class rig_class = { .name = "rig" };

static struct rig *rig_new(bool wide)
{
	static const struct pci_ids ids = { .vendor = 0x1234, .device = 0x5678, .class_revision = 0xff000001 };
	struct rig *r = g_new0(struct rig, 1);

	r->core.vm_fd = -1;
	r->core.ports = bus_new("port");
	r->core.mmio = bus_new("mmio");
	r->core.pci = pci_bus_new(&r->core, &(struct pci_windows){WINDOW, 0x100000, WINDOW64, 0x100000, 0xc000, 0x1000}, NULL);
	pci_bus_set_ecam(r->core.pci, ECAM, 1, NULL);
	assert_non_null(r->core.pci);
	r->p.dev = (struct device){ .cls = &rig_class, .id = (char *)"rig0", .core = &r->core };
	pci_init(&r->p, &ids);
	r->p.slot = 5;
	pci_set_bar(&r->p, 0, BAR_SIZE, false, wide, &bar_ops, r);
	assert_true(pci_add_msix(&r->p, 0, MSIX_AT, VECTORS, NULL));
	assert_true(pci_add(&r->p, NULL));
	return r;
}

static void rig_free(struct rig *r)
{
	pci_remove(&r->p);
	pci_bus_free(r->core.pci);
	bus_free(r->core.ports);
	bus_free(r->core.mmio);
	g_free(r);
}

static uint32_t mmio(struct rig *r, uint64_t at, unsigned size)
{
	uint64_t v = 0;

	bus_access(r->core.mmio, at, &v, size, false);
	return v;
}

static void mmio_write(struct rig *r, uint64_t at, unsigned size, uint32_t v)
{
	bus_access(r->core.mmio, at, &v, size, true);
}

static uint64_t config_at(unsigned slot, unsigned offset)
{
	return ECAM + (slot << 15) + offset;
}

static uint32_t config(struct rig *r, unsigned offset, unsigned size)
{
	return mmio(r, config_at(5, offset), size);
}

static void config_write(struct rig *r, unsigned offset, unsigned size, uint32_t v)
{
	mmio_write(r, config_at(5, offset), size, v);
}

static uint32_t port_config(struct rig *r, uint32_t address, unsigned offset, unsigned size)
{
	uint32_t v = 0;

	bus_access(r->core.ports, 0xcf8, &address, 4, true);
	bus_access(r->core.ports, 0xcfc + offset, &v, size, false);
	return v;
}

static void identifies(void **state)
{
	struct rig *r = rig_new(false);

	assert_int_equal(config(r, 0, 4), 0x56781234);
	assert_int_equal(config(r, 2, 2), 0x5678);
	assert_int_equal(config(r, 11, 1), 0xff);
	assert_int_equal(port_config(r, 0x80000000 | 5 << 11, 0, 4), 0x56781234);
	assert_int_equal(port_config(r, 0x80000000 | 5 << 11, 3, 1), 0x56);
	assert_int_equal(port_config(r, 5 << 11, 0, 4), 0xffffffff);
	assert_int_equal(port_config(r, 0x80010000 | 5 << 11, 0, 4), 0xffffffff);
	assert_int_equal(port_config(r, 0x80000000 | 5 << 11 | 1 << 8, 0, 4), 0xffffffff);
	assert_int_equal(mmio(r, config_at(6, 0), 4), 0xffffffff);
	assert_int_equal(mmio(r, config_at(5, 0) + (1 << 12), 4), 0xffffffff);
	rig_free(r);
}

static void keeps_what_is_read_only(void **state)
{
	struct rig *r = rig_new(false);

	for (unsigned at = 0; at < PCI_CONFIG_SIZE; at += 4) {
		uint32_t before = config(r, at, 4), mask = at < PCI_CONFIG_KEPT ? get_le32(r->p.wmask + at) : 0;

		if (at == PCI_COMMAND)
			mask &= 0xffff;
		config_write(r, at, 4, ~before);
		assert_int_equal((config(r, at, 4) ^ before) & ~mask, 0);
		config_write(r, at, 4, before);
	}
	/* The ends of the function's space. */
	mmio_write(r, config_at(5, 0xffe), 4, 0xffffffff);
	assert_int_equal(mmio(r, config_at(5, 0xffd), 8) & 0xffffffff, 0xffffffff);
	rig_free(r);
}

static void sizes_and_moves_a_bar(void **state)
{
	struct rig *r = rig_new(false);
	uint32_t first = config(r, PCI_BASE_ADDRESS_0, 4);

	assert_in_range(first, WINDOW, WINDOW + 0x100000 - BAR_SIZE);
	assert_int_equal(mmio(r, first, 4), 0xffffffff); /* memory is not enabled */
	config_write(r, PCI_BASE_ADDRESS_0, 4, 0xffffffff);
	assert_int_equal(config(r, PCI_BASE_ADDRESS_0, 4), 0xffffffff & ~(BAR_SIZE - 1));
	config_write(r, PCI_BASE_ADDRESS_0, 4, first);
	config_write(r, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(mmio(r, first + 8, 4), 0x55);
	assert_int_equal(r->offset, 8);
	config_write(r, PCI_BASE_ADDRESS_0, 4, WINDOW + 0x80000);
	assert_int_equal(mmio(r, first, 4), 0xffffffff);
	assert_int_equal(mmio(r, WINDOW + 0x80000 + BAR_SIZE - 1, 1), 0x55);
	/* On top of the configuration space: refused, and it comes back when moved away. */
	config_write(r, PCI_BASE_ADDRESS_0, 4, ECAM);
	assert_int_equal(config(r, 0, 4), 0x56781234);
	config_write(r, PCI_BASE_ADDRESS_0, 4, first);
	assert_int_equal(mmio(r, first, 4), 0x55);
	pci_reset(&r->p);
	assert_int_equal(mmio(r, first, 4), 0xffffffff);
	assert_int_equal(config(r, PCI_BASE_ADDRESS_0, 4), first);
	rig_free(r);
}

static void moves_a_wide_bar(void **state)
{
	struct rig *r = rig_new(true);

	assert_int_equal(config(r, PCI_BASE_ADDRESS_0 + 4, 4), WINDOW64 >> 32);
	config_write(r, PCI_BASE_ADDRESS_0 + 4, 4, 0xffffffff);
	assert_int_equal(config(r, PCI_BASE_ADDRESS_0 + 4, 4), 0xffffffff);
	config_write(r, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	config_write(r, PCI_BASE_ADDRESS_0, 4, 0xffffffff); /* the last bytes there are */
	assert_int_equal(mmio(r, 0ull - BAR_SIZE, 4), 0x55);
	config_write(r, PCI_BASE_ADDRESS_0 + 4, 4, 3);
	config_write(r, PCI_BASE_ADDRESS_0, 4, 0x10000);
	assert_int_equal(mmio(r, 0x300010000, 4), 0x55);
	rig_free(r);
}

static unsigned find_msix(struct rig *r)
{
	unsigned at = config(r, PCI_CAPABILITY_LIST, 1);

	while (at && config(r, at, 1) != PCI_CAP_ID_MSIX)
		at = config(r, at + 1, 1);
	assert_int_not_equal(at, 0);
	return at;
}

static void msix(void **state)
{
	struct rig *r = rig_new(false);
	uint64_t table = config(r, PCI_BASE_ADDRESS_0, 4) + MSIX_AT, pba;
	unsigned cap = find_msix(r);

	config_write(r, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(config(r, cap + PCI_MSIX_FLAGS, 2), VECTORS - 1);
	assert_int_equal(config(r, cap + PCI_MSIX_TABLE, 4), MSIX_AT);
	pba = table - MSIX_AT + (config(r, cap + PCI_MSIX_PBA, 4) & ~7u);
	mmio_write(r, table + 16, 4, 0xfee00000);
	mmio_write(r, table + 24, 4, 0x41);
	assert_int_equal(mmio(r, table + 16, 4), 0xfee00000);
	assert_int_equal(mmio(r, table + 24, 4), 0x41);
	pci_msix_notify(&r->p, 1); /* off: lost */
	config_write(r, cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	assert_true(pci_msix_enabled(&r->p));
	assert_int_equal(r->p.msix_sent, 0);
	pci_msix_notify(&r->p, 1); /* masked: waits */
	assert_int_equal(r->p.msix_sent, 0);
	assert_int_equal(mmio(r, pba, 4), 2);
	mmio_write(r, table + 28, 4, 0);
	assert_int_equal(r->p.msix_sent, 1);
	assert_int_equal(mmio(r, pba, 4), 0);
	config_write(r, cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	pci_msix_notify(&r->p, 1);
	assert_int_equal(r->p.msix_sent, 1);
	config_write(r, cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(r->p.msix_sent, 2);
	pci_msix_notify(&r->p, VECTORS);
	pci_msix_notify(&r->p, 0xffff);
	assert_int_equal(r->p.msix_sent, 2);
	/* Behind the table, and across entries. */
	mmio_write(r, table + VECTORS * 16, 4, 1);
	mmio_write(r, pba, 4, 0xffffffff);
	assert_int_equal(mmio(r, pba, 4), 0);
	pci_reset(&r->p);
	assert_false(pci_msix_enabled(&r->p));
	rig_free(r);
}

/* Any access of any width, aligned or not, to all of the table and the configuration space. */
static void every_access(void **state)
{
	struct rig *r = rig_new(false);
	uint32_t bar = config(r, PCI_BASE_ADDRESS_0, 4);

	config_write(r, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	for (unsigned size = 1; size <= 8; size *= 2) {
		for (uint64_t at = 0; at < BAR_SIZE; at++) {
			uint64_t v = ~0ull;

			bus_access(r->core.mmio, bar + at, &v, size, true);
			bus_access(r->core.mmio, bar + at, &v, size, false);
		}
		for (uint64_t at = 0; at < PCI_CONFIG_SIZE; at++) {
			uint64_t v = 0x5a5a5a5a5a5a5a5a;

			bus_access(r->core.mmio, config_at(5, at), &v, size, true);
			bus_access(r->core.mmio, config_at(5, at), &v, size, false);
		}
		pci_reset(&r->p);
		config_write(r, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	}
	assert_int_equal(config(r, 0, 4), 0x56781234);
	rig_free(r);
}

/* What a function adds to its line follows its wish, and the driver's veto. */
static void intx(void **state)
{
	struct rig *r = rig_new(false);

	pci_set_intx(&r->p, true);
	assert_true(r->p.intx_asserted);
	config_write(r, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
	assert_false(r->p.intx_asserted);
	assert_true(r->p.intx_level);
	pci_loaded(&r->p);
	assert_false(r->p.intx_asserted);
	config_write(r, PCI_COMMAND, 2, 0);
	assert_true(r->p.intx_asserted);
	pci_loaded(&r->p);
	assert_true(r->p.intx_asserted);
	pci_reset(&r->p);
	assert_false(r->p.intx_asserted);
	rig_free(r);
}

static void slots(void **state)
{
	static const struct pci_ids ids = { .vendor = 1 };
	struct rig *r = rig_new(false);
	struct pci_device *p = g_new0(struct pci_device, 33);
	g_autoptr(GError) error = NULL;
	unsigned n;

	for (n = 0; n < 33; n++) {
		p[n].dev = r->p.dev;
		pci_init(&p[n], &ids);
		if (!pci_add(&p[n], &error))
			break;
		assert_int_not_equal(p[n].slot, 5);
	}
	assert_int_equal(n, 31);
	assert_non_null(strstr(error->message, "slot"));
	while (n--)
		pci_remove(&p[n]);
	g_free(p);
	rig_free(r);
}

/* A VM of the software KVM, for its interrupt chips. */
static int chips_new(void)
{
	int kvm = kvcore_open(KVCORE_SOFT, NULL), vm = kvcore_ioctl(kvm, KVM_CREATE_VM, 0);

	assert_true(kvm >= 0 && vm >= 0);
	assert_int_equal(kvcore_ioctl(vm, KVM_CREATE_IRQCHIP, 0), 0);
	kvcore_close(kvm);
	return vm;
}

static bool line_is_up(int vm, unsigned pin)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };

	assert_int_equal(kvcore_ioctl(vm, KVM_GET_IRQCHIP, &chip), 0);
	return chip.chip.ioapic.irr >> pin & 1;
}

static bool loaded(void *opaque, GError **error)
{
	pci_loaded(opaque);
	return true;
}

/* A line that is up when the state is saved is up after loading, and goes down again. */
static void intx_moves(void **state)
{
	static const struct state_desc desc = { "rig", 1, 1, pci_state_fields, NULL, loaded };
	enum { PIN = 16 + 5 % 4 };
	GByteArray *out = g_byte_array_new();
	struct rig *a = rig_new(false), *b = rig_new(false);
	g_autoptr(GBytes) in = NULL;
	size_t at = 0;

	a->core.vm_fd = chips_new();
	b->core.vm_fd = chips_new();
	pci_set_intx(&a->p, true);
	assert_true(line_is_up(a->core.vm_fd, PIN));
	state_save(out, &desc, "rig0", &a->p);
	in = g_byte_array_free_to_bytes(out);
	assert_true(state_load(in, &at, &desc, "rig0", &b->p, NULL));
	assert_true(line_is_up(b->core.vm_fd, PIN));
	pci_set_intx(&b->p, false);
	assert_false(line_is_up(b->core.vm_fd, PIN));
	pci_set_intx(&b->p, true);
	assert_true(line_is_up(b->core.vm_fd, PIN));
	kvcore_close(a->core.vm_fd);
	kvcore_close(b->core.vm_fd);
	a->core.vm_fd = b->core.vm_fd = -1;
	rig_free(a);
	rig_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(identifies), cmocka_unit_test(keeps_what_is_read_only),
		cmocka_unit_test(sizes_and_moves_a_bar), cmocka_unit_test(moves_a_wide_bar),
		cmocka_unit_test(msix), cmocka_unit_test(every_access), cmocka_unit_test(intx), cmocka_unit_test(slots),
		cmocka_unit_test(intx_moves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
