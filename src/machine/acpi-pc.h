/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ACPI tables of the pc board: acpi-pc.c, and the DSDT in acpi-pc-dsdt.c. */
#pragma once
#include "acpi-table.h"

#define ACPI_PC_OEM_TABLE "KVPC    "

/* ICH9's places that tables name and its chips (devices/) have. */
enum {
	PC_PM1_EVENT = PM_BASE,
	PC_PM1_CONTROL = PM_BASE + 4,
	PC_PM_TIMER = PM_BASE + 8,
	PC_GPE0 = PM_BASE + 0x20,
	PC_GPE0_LEN = 16,
	PC_SMI_COMMAND = 0xb2,
	PC_ACPI_ENABLE = 2,
	PC_ACPI_DISABLE = 3,
	PC_RESET_PORT = 0xcf9,
	PC_RESET_VALUE = 0x0f,
	PC_SLP_TYP_S5 = 0,
	PC_RTC_CENTURY = 0x32,
};
#define PC_HPET_BASE 0xfed00000ull

/* Files of fw_cfg, made anew as firmware reads them. */
bool acpi_pc_add(struct machine *m, GError **error);
/* For tests: all tables, each at *ret_at[i] (terminated by len); and the DSDT alone. */
GByteArray *acpi_pc_dsdt(const struct machine *m);
/* Whether there is a device of the class. */
bool acpi_pc_has(const struct machine *m, const char *cls);
