/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMBIOS structures of a pc, for firmware to place (fw_cfg's etc/smbios/). Called by pc-firmware.c. */
#pragma once
#include "internal.h"

/*
 * @given: machine_firmware.smbios, or NULL. The entry point (SMBIOS 2.8) has no address of the structures yet. ret_uuid: 16
 * bytes, as they are written; zeroes when none was given.
 */
bool smbios_build(const struct machine *m, GVariant *given, GBytes **ret_anchor, GBytes **ret_tables, uint8_t *ret_uuid,
		  GError **error);
