/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fw_cfg, how firmware is told about its machine (QEMU's documentation, docs/specs/fw_cfg): items by number, some of which are
 * files of a directory. The device is devices/fw-cfg.c; the pc board (pc-items.c, acpi-pc.c) fills it.
 *
 * Items are set before the vCPUs run, or while they stand still. All functions take the data's reference; what was there is
 * replaced.
 */
#pragma once
#include "device.h"

/* Items that are no files (docs/specs/fw_cfg; SeaBIOS src/fw/paravirt.h). */
enum fw_cfg_key {
	FW_CFG_SIGNATURE = 0x00,
	FW_CFG_ID = 0x01,
	FW_CFG_UUID = 0x02,
	FW_CFG_RAM_SIZE = 0x03,
	FW_CFG_NOGRAPHIC = 0x04,
	FW_CFG_CPUS = 0x05,
	FW_CFG_KERNEL_ADDR = 0x07,
	FW_CFG_KERNEL_SIZE = 0x08,
	FW_CFG_INITRD_ADDR = 0x0a,
	FW_CFG_INITRD_SIZE = 0x0b,
	FW_CFG_BOOT_MENU = 0x0e,
	FW_CFG_MAX_CPUS = 0x0f,
	FW_CFG_KERNEL_DATA = 0x11,
	FW_CFG_INITRD_DATA = 0x12,
	FW_CFG_CMDLINE_ADDR = 0x13,
	FW_CFG_CMDLINE_SIZE = 0x14,
	FW_CFG_CMDLINE_DATA = 0x15,
	FW_CFG_SETUP_ADDR = 0x16,
	FW_CFG_SETUP_SIZE = 0x17,
	FW_CFG_SETUP_DATA = 0x18,
	FW_CFG_DIRECTORY = 0x19,
	FW_CFG_FIRST_FILE = 0x20,
};

enum { FW_CFG_PORT = 0x510, FW_CFG_PORTS = 12, FW_CFG_NAME = 56 /* with its zero */, FW_CFG_FILES = 96 };

void fw_cfg_set(struct device *dev, enum fw_cfg_key key, GBytes *data);
/* The bytes are a file's mapping, or a part of one: what was read leaves this process's memory. */
void fw_cfg_set_mapped(struct device *dev, enum fw_cfg_key key, GBytes *data);
void fw_cfg_set_number(struct device *dev, enum fw_cfg_key key, uint64_t value, unsigned size); /* little endian */
/* False when the name is too long, or there are too many. */
bool fw_cfg_set_file(struct device *dev, const char *name, GBytes *data, GError **error);
bool fw_cfg_has_file(struct device *dev, const char *name);
/*
 * make() renews files whose contents depend on what firmware has done until it asks for them: once after each reset, as the
 * first of the files in names (NULL-terminated, static) is selected. It runs in a vCPU's thread, and calls fw_cfg_renew() alone.
 * A file keeps its size: the directory has been read.
 */
void fw_cfg_set_late(struct device *dev, const char *const *names, void (*make)(void *opaque), void *opaque);
void fw_cfg_renew(struct device *dev, const char *name, GBytes *data);
