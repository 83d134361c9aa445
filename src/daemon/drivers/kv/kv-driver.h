/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The driver of machines of ours, for the daemon: its table (hv.h), and which program runs them. */
#pragma once
#include "hv.h"

extern const struct hv_driver kv_driver;
/* Before the first is opened; without it kv-vmm is looked for beside the daemon and in PATH. */
void kv_set_vmm(const char *path);
