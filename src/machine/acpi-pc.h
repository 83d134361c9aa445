/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ACPI tables of the pc board: acpi-pc.c, and the DSDT in acpi-pc-dsdt.c. */
#pragma once
#include "acpi-table.h"

#define ACPI_PC_OEM_TABLE "KVPC    "

/* Files of fw_cfg, made anew as firmware reads them. */
bool acpi_pc_add(struct machine *m, GError **error);
GByteArray *acpi_pc_dsdt(const struct machine *m);
/* acpi-pc-cpus.c: below PCI0, in \_SB and in the root, where processors may come. */
void acpi_pc_cpu_registers(aml *a);
void acpi_pc_cpus(aml *a, const struct machine *m);
void acpi_pc_cpu_event(aml *a);
/* Whether there is a device of the class. */
bool acpi_pc_has(const struct machine *m, const char *cls);
