/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI tables of the micro board (ACPI 6.4, chapter 5): RSDP, XSDT, FADT of the hardware-reduced kind (no PM1 registers, no
 * legacy timers to calibrate: Linux starts fastest this way), MADT, MCFG, DSDT. Laid into low memory before the kernel starts;
 * called by boot.c. The pc board's are acpi-pc.c's.
 */
#include <string.h>

#include "acpi-table.h"
#include "bytes.h"
#include "error.h"
#include "internal.h"

#define TABLES_BASE  0xe0000ull /* where the BIOS area is on a PC; the RSDP comes first */
#define TABLES_END   0xf0000ull
#define OEM_TABLE_ID "KVMICRO "
#define FADT_SIZE    276

static GByteArray *fadt(uint64_t dsdt)
{
	GByteArray *t = acpi_table_new("FACP", 6, OEM_TABLE_ID);
	uint8_t *f;

	g_byte_array_set_size(t, FADT_SIZE);
	f = t->data;
	memset(f + ACPI_HEADER, 0, FADT_SIZE - ACPI_HEADER);
	put_le16(f + 109, 0x0005); /* legacy devices, no VGA to probe; the RTC is there */
	put_le32(f + 112, 1u << 0 | 1u << 4 | 1u << 5 | 1u << 10 | 1u << 20); /* WBINVD, button devices, reset, reduced */
	acpi_put_port(f + 116, PM_BASE + 2, 8);
	f[128] = 1; /* reset value */
	f[131] = 4; /* minor version */
	put_le64(f + 140, dsdt);
	acpi_put_port(f + 244, PM_BASE, 8);
	acpi_put_port(f + 256, PM_BASE + 1, 8);
	memcpy(f + 268, ACPI_OEM_ID "  ", 8);
	return t;
}

static GByteArray *madt(const struct machine *m)
{
	GByteArray *t = acpi_table_new("APIC", 5, OEM_TABLE_ID);

	acpi_put(t, LAPIC_BASE, 4);
	acpi_put(t, 0, 4); /* the 8259s are masked (machine.c) */
	acpi_put_apics(t, m);
	return t;
}

/* ---- DSDT ---- */

static void pci_routing(aml *a)
{
	unsigned package;

	aml_byte(a, 8);
	aml_name(a, "_PRT");
	package = aml_begin_package(a, 32);
	for (unsigned slot = 0; slot < 32; slot++) {
		unsigned entry = aml_begin_package(a, 4);

		aml_int(a, slot << 16 | 0xffff);
		aml_int(a, 0); /* INTA */
		aml_int(a, 0);
		aml_int(a, 16 + slot % 4);
		aml_end(a, entry);
	}
	aml_end(a, package);
}

static void pci_bridge(aml *a, const struct machine *m)
{
	unsigned dev = aml_begin_device(a, "PCI0");
	static const uint8_t return_arg3[] = {0xa4, 0x6b};
	aml *crs = g_byte_array_new();
	unsigned osc;

	aml_named_id(a, "_HID", "PNP0A08");
	aml_named_id(a, "_CID", "PNP0A03");
	aml_named_int(a, "_SEG", 0);
	aml_named_int(a, "_BBN", 0);
	aml_named_int(a, "_UID", 0);
	aml_bus_range(crs, 0, 0);
	aml_io(crs, 0xcf8, 8);
	aml_io_window(crs, 0, 0xcf7);
	aml_io_window(crs, 0xd00, 0xffff);
	aml_memory_window32(crs, (uint32_t)PCI_MMIO_BASE, (uint32_t)(PCI_MMIO_BASE + PCI_MMIO_SIZE - 1));
	aml_memory_window64(crs, m->mmio64_base, m->mmio64_base + PCI_MMIO64_SIZE - 1);
	aml_resource_end(crs);
	aml_named_buffer(a, "_CRS", crs);
	pci_routing(a);
	osc = aml_begin_method(a, "_OSC", 4, false); /* all is granted: no firmware wants it */
	aml_bytes(a, return_arg3, sizeof(return_arg3));
	aml_end(a, osc);
	aml_end(a, dev);
}

/* The configuration space is memory that nobody else may take. */
static void reserved(aml *a)
{
	unsigned dev = aml_begin_device(a, "RSV0");
	aml *crs = g_byte_array_new();

	aml_named_id(a, "_HID", "PNP0C02");
	aml_named_int(a, "_UID", 1);
	aml_fixed_memory(crs, (uint32_t)ECAM_BASE, (uint32_t)ECAM_SIZE);
	aml_resource_end(crs);
	aml_named_buffer(a, "_CRS", crs);
	aml_end(a, dev);
}

static void legacy(aml *a, const char *name, const char *id, uint16_t port, uint8_t ports, uint32_t gsi)
{
	unsigned dev = aml_begin_device(a, name);
	aml *crs = g_byte_array_new();

	aml_named_id(a, "_HID", id);
	aml_named_int(a, "_UID", 1);
	aml_io(crs, port, ports);
	aml_irq(crs, gsi, true);
	aml_resource_end(crs);
	aml_named_buffer(a, "_CRS", crs);
	aml_end(a, dev);
}

/* Event device: reads the event byte, tells the power button. */
static void events(aml *a)
{
	static const uint8_t region[] = {0x5b, 0x80, 'P', 'M', 'E', 'V', 1, 0x0b, (PM_BASE + 3) & 0xff, (PM_BASE + 3) >> 8,
					 0x0a, 1};
	static const uint8_t field[] = {'P', 'M', 'E', 'V', 1, 'E', 'V', 'T', 'S', 8};
	static const uint8_t store[] = {0x70, 'E', 'V', 'T', 'S', 0x60}; /* Local0 = EVTS */
	static const uint8_t condition[] = {0x7b, 0x60, 0x01, 0x00};	 /* Local0 & 1 */
	unsigned dev = aml_begin_device(a, "GED0"), mark, inner;
	aml *crs = g_byte_array_new();

	aml_byte(a, 8);
	aml_name(a, "_HID");
	aml_string(a, "ACPI0013");
	aml_named_int(a, "_UID", 0);
	aml_irq(crs, PM_GSI, true);
	aml_resource_end(crs);
	aml_named_buffer(a, "_CRS", crs);
	aml_bytes(a, region, sizeof(region));
	mark = aml_begin(a, (const uint8_t[]){0x5b, 0x81}, 2);
	aml_bytes(a, field, sizeof(field));
	aml_end(a, mark);
	mark = aml_begin_method(a, "_EVT", 1, true);
	aml_bytes(a, store, sizeof(store));
	inner = aml_begin(a, (const uint8_t[]){0xa0}, 1); /* If */
	aml_bytes(a, condition, sizeof(condition));
	aml_byte(a, 0x86); /* Notify */
	aml_name(a, "\\_SB_.PWRB");
	aml_int(a, 0x80);
	aml_end(a, inner);
	aml_end(a, mark);
	aml_end(a, dev);
}

static void power_button(aml *a)
{
	unsigned dev = aml_begin_device(a, "PWRB");

	aml_named_id(a, "_HID", "PNP0C0C");
	aml_named_int(a, "_UID", 0);
	aml_end(a, dev);
}

static void sleep_state(aml *a)
{
	unsigned package;

	aml_byte(a, 8);
	aml_name(a, "\\_S5_");
	package = aml_begin_package(a, 4);
	for (unsigned i = 0; i < 4; i++)
		aml_int(a, i == 0 ? 5 : 0);
	aml_end(a, package);
}

static GByteArray *dsdt(const struct machine *m)
{
	GByteArray *t = acpi_table_new("DSDT", 2, OEM_TABLE_ID);
	unsigned scope;

	sleep_state(t);
	scope = aml_begin_scope(t, "\\_SB_");
	acpi_processors(t, m->cpus);
	power_button(t);
	events(t);
	pci_bridge(t, m);
	reserved(t);
	legacy(t, "COM1", "PNP0501", COM1_BASE, 8, COM1_GSI);
	if (m->second_serial)
		legacy(t, "COM2", "PNP0501", COM2_BASE, 8, COM2_GSI);
	legacy(t, "RTC0", "PNP0B00", 0x70, 2, RTC_GSI);
	aml_end(t, scope);
	return t;
}

/* ---- placing ---- */

struct layout {
	struct machine *m;
	uint64_t next;
};

static bool place(struct layout *l, GByteArray *table, uint64_t *ret_at, GError **error)
{
	g_autoptr(GByteArray) t = table;

	put_le32(t->data + 4, t->len);
	t->data[9] = 0;
	t->data[9] = acpi_checksum(t->data, t->len);
	*ret_at = l->next;
	l->next = align_up(l->next + t->len, 64);
	if (l->next > TABLES_END)
		return kv_fail(error, KV_ERROR_INVALID, "the ACPI tables do not fit; use fewer vCPUs");
	return gpa_write(l->m->core.mem, *ret_at, t->data, t->len) ||
	       kv_fail(error, KV_ERROR_INVALID, "the guest has too little memory for its ACPI tables");
}

static bool place_rsdp(struct machine *m, uint64_t xsdt, GError **error)
{
	uint8_t r[36] = "RSD PTR ";

	memcpy(r + 9, ACPI_OEM_ID, 6);
	r[15] = 2;
	put_le32(r + 20, sizeof(r));
	put_le64(r + 24, xsdt);
	r[8] = acpi_checksum(r, 20);
	r[32] = acpi_checksum(r, sizeof(r));
	return gpa_write(m->core.mem, TABLES_BASE, r, sizeof(r)) ||
	       kv_fail(error, KV_ERROR_INVALID, "the guest has too little memory for its ACPI tables");
}

bool acpi_build(struct machine *m, uint64_t *ret_rsdp, GError **error)
{
	struct layout l = {m, TABLES_BASE + 64};
	GByteArray *xsdt = acpi_table_new("XSDT", 1, OEM_TABLE_ID);
	uint64_t dsdt_at, at[3], xsdt_at;

	if (!place(&l, dsdt(m), &dsdt_at, error) || !place(&l, fadt(dsdt_at), &at[0], error) ||
	    !place(&l, madt(m), &at[1], error) || !place(&l, acpi_mcfg(OEM_TABLE_ID, ECAM_BASE, 1), &at[2], error)) {
		g_byte_array_unref(xsdt);
		return false;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(at); i++)
		acpi_put(xsdt, at[i], 8);
	*ret_rsdp = TABLES_BASE;
	return place(&l, xsdt, &xsdt_at, error) && place_rsdp(m, xsdt_at, error);
}
