/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --kernel on a pc: firmware loads it. Called by pc-firmware.c. */
#pragma once
#include "internal.h"

/* m's kernel, initrd and command line as items of fw_cfg. */
bool pc_kernel_add(struct machine *m, GError **error);
