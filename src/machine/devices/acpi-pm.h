/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ports of the power block, from PM_BASE: what acpi.c tells the guest and acpi-pm.c answers. */
#pragma once

enum {
	PM_SLEEP_CONTROL, /* ACPI 6.4, table 4.18 */
	PM_SLEEP_STATUS,
	PM_RESET,
	PM_EVENTS, /* of the generic event device; reading clears */
	PM_PORTS,
};

enum {
	PM_SLP_EN = 0x20,
	PM_SLP_TYP_S5 = 5,
	PM_RESET_VALUE = 1,
	PM_EVENT_BUTTON = 1,
};
