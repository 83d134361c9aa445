/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the ACPI tables of both boards (acpi.c, acpi-pc.c) have in common. Lengths and sums are set when a table is placed. */
#pragma once
#include "aml.h"
#include "internal.h"

enum { ACPI_HEADER = 36, ACPI_RSDP = 36, ACPI_OEM_TABLE = 8 };
#define ACPI_OEM_ID "KVASIR"

uint8_t acpi_checksum(const uint8_t *p, size_t len);
GByteArray *acpi_table_new(const char *signature, uint8_t revision, const char *oem_table);
void acpi_put(GByteArray *t, uint64_t v, unsigned len);
void acpi_put_port(uint8_t *gas, uint16_t port, unsigned bits); /* generic address structure: an I/O port */
void acpi_put_lapic(GByteArray *t, const struct machine *m, unsigned index, bool enabled); /* one processor's */
void acpi_put_apics(GByteArray *t, const struct machine *m);	/* of a MADT: local and I/O APICs, ISA 0 is GSI 2, NMI */
void acpi_put_override(GByteArray *t, uint8_t irq, uint32_t gsi, uint16_t flags);
GByteArray *acpi_mcfg(const char *oem_table, uint64_t base, unsigned buses);
void acpi_processors(aml *a, unsigned cpus); /* in \_SB */
