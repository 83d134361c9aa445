/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See acpi-table.h. Sources: ACPI 6.4, 5.2.6 (header), 5.2.12 (MADT); PCI firmware specification 3.0 (MCFG). */
#include "acpi-table.h"

#include <string.h>

#include "bytes.h"

enum { MADT_ENABLED = 1, MADT_ONLINE_CAPABLE = 2 };

uint8_t acpi_checksum(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

GByteArray *acpi_table_new(const char *signature, uint8_t revision, const char *oem_table)
{
	uint8_t h[ACPI_HEADER] = {0};

	memcpy(h, signature, 4);
	h[8] = revision;
	memcpy(h + 10, ACPI_OEM_ID, 6);
	memcpy(h + 16, oem_table, ACPI_OEM_TABLE);
	put_le32(h + 24, 1);
	memcpy(h + 28, "KVAS", 4);
	put_le32(h + 32, 1);
	return g_byte_array_append(g_byte_array_new(), h, sizeof(h));
}

void acpi_put(GByteArray *t, uint64_t v, unsigned len)
{
	uint8_t b[8];

	put_le64(b, v);
	g_byte_array_append(t, b, len);
}

void acpi_put_port(uint8_t *gas, uint16_t port, unsigned bits)
{
	gas[0] = 1;
	gas[1] = (uint8_t)bits;
	gas[3] = bits == 8; /* access size; others: not said */
	put_le64(gas + 4, port);
}

void acpi_put_override(GByteArray *t, uint8_t irq, uint32_t gsi, uint16_t flags)
{
	acpi_put(t, 0x0a02, 2);
	acpi_put(t, 0, 1);
	acpi_put(t, irq, 1);
	acpi_put(t, gsi, 4);
	acpi_put(t, flags, 2);
}

void acpi_put_lapic(GByteArray *t, const struct machine *m, unsigned index, bool enabled)
{
	acpi_put(t, 0x0800, 2); /* local APIC */
	acpi_put(t, index, 1);
	acpi_put(t, cpu_apic_id(&m->topology, index), 1);
	acpi_put(t, enabled ? MADT_ENABLED : MADT_ONLINE_CAPABLE, 4);
}

void acpi_put_apics(GByteArray *t, const struct machine *m)
{
	for (unsigned i = 0; i < m->cpus; i++)
		acpi_put_lapic(t, m, i, !__atomic_load_n(&m->vcpu[i].absent, __ATOMIC_RELAXED));
	acpi_put(t, 0x0c01, 2); /* I/O APIC */
	acpi_put(t, cpu_apic_id(&m->topology, m->cpus - 1) + 1, 2);
	acpi_put(t, IOAPIC_BASE, 4);
	acpi_put(t, 0, 4);
	acpi_put_override(t, 0, 2, 0);
	acpi_put(t, 0x0604, 2); /* NMI on LINT1 of all */
	acpi_put(t, 0xff, 1);
	acpi_put(t, 0, 2);
	acpi_put(t, 1, 1);
}

GByteArray *acpi_mcfg(const char *oem_table, uint64_t base, unsigned buses)
{
	GByteArray *t = acpi_table_new("MCFG", 1, oem_table);

	acpi_put(t, 0, 8);
	acpi_put(t, base, 8);
	acpi_put(t, 0, 2); /* segment */
	acpi_put(t, 0, 1); /* first bus, last bus */
	acpi_put(t, buses - 1, 1);
	acpi_put(t, 0, 4);
	return t;
}

void acpi_processors(aml *a, unsigned cpus)
{
	for (unsigned i = 0; i < cpus; i++) {
		g_autofree char *name = g_strdup_printf("C%03X", i);
		unsigned dev = aml_begin_device(a, name);

		aml_byte(a, 8);
		aml_name(a, "_HID");
		aml_string(a, "ACPI0007");
		aml_named_int(a, "_UID", i);
		aml_end(a, dev);
	}
}
