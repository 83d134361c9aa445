/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The firmware of a pc: its ROM, the flash of its variables, and what fw_cfg tells it. Called by pc.c and machine.c, in the main
 * thread while the vCPUs stand still.
 */
#pragma once
#include "internal.h"

struct pc_firmware;

/* After the machine's devices that others depend on, before those with memory of their own; all that follows is freed with it. */
bool pc_firmware_new(struct machine *m, const struct machine_firmware *config, GError **error);
void pc_firmware_free(struct pc_firmware *f); /* NULL is fine */
/* After the last device: the items of fw_cfg. */
bool pc_firmware_tell(struct machine *m, const struct machine_firmware *config, GError **error);
/* At power-on and after each reset: the copy below 1 MiB, which the guest may have written over, and the order of devices. */
bool pc_firmware_start(struct machine *m, GError **error);
