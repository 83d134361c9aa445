/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which device firmware tries first, in its own words: the file "bootorder" of fw_cfg has a path as in Open Firmware a line
 * (QEMU's documentation of bootindex; SeaBIOS src/boot.c, OVMF's QemuBootOrderLib).
 */
#pragma once
#include "device.h"

struct pci_device;

/* For a class's boot_path(): the function's path, with `rest` of the device behind it ("disk@0,0"); g_free. */
char *boot_path_pci(const struct pci_device *p, const char *rest);
/*
 * Devices with a bootindex by that, then those of each letter of order in their own; a ROM first of all if first is not NULL.
 * NULL when nobody said anything; else lines with a zero at the end.
 */
GBytes *boot_order(GPtrArray *devices, const char *order, const char *first);
