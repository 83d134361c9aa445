/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A kernel that firmware boots: the bzImage in its two parts, initrd and command line are items of fw_cfg with the addresses
 * where they go. OVMF reads them itself and starts the kernel's EFI stub; under SeaBIOS an option ROM does (linuxboot, of
 * Debian's QEMU), which enters the kernel in real mode. Linux's Documentation/x86/boot.rst: the header and who fills it in.
 */
#include <asm/bootparam.h>
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "fw-cfg.h"
#include "pc-kernel.h"

enum {
	HEADER_AT = 0x1f1,
	SECTOR = 512,
	PROTOCOL_MIN = 0x0204,
	LOADER_UNKNOWN = 0xff,
	SETUP_ADDR = 0x10000,
	CMDLINE_ADDR = 0x20000,
	CMDLINE_MAX = 0x10000,
	KERNEL_ADDR = 0x100000,
	TABLES_ROOM = 0x28000, /* at the end of low memory, for firmware's tables */
};

#define HEADER_MAGIC 0x53726448u /* "HdrS" */

static GBytes *map_file(const char *option, const char *path, GError **error)
{
	GMappedFile *file = g_mapped_file_new(path, FALSE, error);
	GBytes *bytes;

	if (!file) {
		g_prefix_error(error, "%s: ", option);
		return NULL;
	}
	bytes = g_mapped_file_get_bytes(file);
	g_mapped_file_unref(file);
	if (g_bytes_get_size(bytes) <= UINT32_MAX)
		return bytes;
	kv_fail(error, KV_ERROR_INVALID, "%s: '%s' has more than 4 GiB", option, path);
	g_bytes_unref(bytes);
	return NULL;
}

static bool check_header(const struct machine *m, const struct setup_header *h, size_t setup, size_t size, GError **error)
{
	if (h->header != HEADER_MAGIC || h->boot_flag != 0xaa55 || h->version < PROTOCOL_MIN || !(h->loadflags & LOADED_HIGH))
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "--kernel: '%s' is not a bzImage, the kernel that firmware can load",
			       m->kernel);
	if (setup >= size)
		return kv_fail(error, KV_ERROR_INVALID,
			       "--kernel: '%s' is cut short: nothing follows its %zu bytes of setup code", m->kernel, setup);
	return true;
}

/* As high as kernel and memory permit. */
static bool add_initrd(struct machine *m, struct setup_header *h, uint64_t kernel_end, GError **error)
{
	uint64_t end = MIN(pc_low_ram(m->memory) - TABLES_ROOM, (uint64_t)h->initrd_addr_max + 1), at;
	GBytes *data;
	size_t size;

	if (!m->initrd)
		return true;
	data = map_file("--initrd", m->initrd, error);
	if (!data)
		return false;
	size = g_bytes_get_size(data);
	at = size < end ? align_down(end - size, 4096) : 0;
	fw_cfg_set_mapped(m->fw_cfg, FW_CFG_INITRD_DATA, data);
	fw_cfg_set_number(m->fw_cfg, FW_CFG_INITRD_SIZE, size, 4);
	fw_cfg_set_number(m->fw_cfg, FW_CFG_INITRD_ADDR, at, 4);
	h->ramdisk_image = (uint32_t)at;
	h->ramdisk_size = (uint32_t)size;
	return at >= kernel_end || kv_fail(error, KV_ERROR_USAGE, "kernel and initrd '%s' do not fit into %" G_GUINT64_FORMAT
					   " MiB of memory", m->initrd, m->memory >> 20);
}

static bool add_command_line(struct machine *m, const struct setup_header *h, GError **error)
{
	const char *line = m->append ? m->append : "";
	size_t len = strlen(line), max = MIN(h->version >= 0x206 ? h->cmdline_size : 255u, CMDLINE_MAX - 1u);

	fw_cfg_set(m->fw_cfg, FW_CFG_CMDLINE_DATA, g_bytes_new(line, len + 1));
	fw_cfg_set_number(m->fw_cfg, FW_CFG_CMDLINE_SIZE, len + 1, 4);
	fw_cfg_set_number(m->fw_cfg, FW_CFG_CMDLINE_ADDR, CMDLINE_ADDR, 4);
	return len <= max || kv_fail(error, KV_ERROR_USAGE, "--append: the command line has %zu bytes, %s takes %zu", len,
				     m->kernel, max);
}

/* boot.rst, "Special command line options": vga= is for the setup code, which reads no command line. */
static bool get_video_mode(const char *line, uint16_t *ret, GError **error)
{
	static const char *const names[] = {"ask", "ext", "normal"}; /* 0xfffd and on */
	g_auto(GStrv) words = g_strsplit_set(line ? line : "", " \t\n", -1);

	for (unsigned i = 0; words[i]; i++) {
		char *end;
		uint64_t mode;

		if (!g_str_has_prefix(words[i], "vga="))
			continue;
		mode = g_ascii_strtoull(words[i] + 4, &end, 0);
		for (unsigned n = 0; n < G_N_ELEMENTS(names); n++)
			if (!strcmp(words[i] + 4, names[n])) {
				*ret = (uint16_t)(0xfffd + n);
				return true;
			}
		*ret = (uint16_t)mode;
		return (g_ascii_isdigit(words[i][4]) && !*end && mode <= UINT16_MAX) ||
		       kv_fail(error, KV_ERROR_USAGE,
			       "--append: '%s' is no video mode; give a number below 65536, normal, ext or ask", words[i]);
	}
	return true;
}

static bool add_parts(struct machine *m, GBytes *kernel, GError **error)
{
	size_t size, setup_len;
	const uint8_t *data = g_bytes_get_data(kernel, &size);
	struct setup_header h = {0};
	uint16_t mode;
	uint8_t *setup;

	if (size > HEADER_AT + sizeof(h))
		memcpy(&h, data + HEADER_AT, sizeof(h));
	mode = h.vid_mode;
	setup_len = ((h.setup_sects ? h.setup_sects : 4u) + 1) * SECTOR;
	if (!check_header(m, &h, setup_len, size, error) ||
	    !add_initrd(m, &h, KERNEL_ADDR + MAX((uint64_t)size, h.init_size), error) || !add_command_line(m, &h, error) ||
	    !get_video_mode(m->append, &mode, error))
		return false;
	h.vid_mode = mode;
	h.type_of_loader = LOADER_UNKNOWN;
	h.loadflags |= CAN_USE_HEAP;
	h.heap_end_ptr = CMDLINE_ADDR - SETUP_ADDR - SECTOR;
	h.cmd_line_ptr = CMDLINE_ADDR;
	setup = g_memdup2(data, setup_len);
	memcpy(setup + HEADER_AT, &h, MIN(sizeof(h), setup_len - HEADER_AT));
	fw_cfg_set(m->fw_cfg, FW_CFG_SETUP_DATA, g_bytes_new_take(setup, setup_len));
	fw_cfg_set_number(m->fw_cfg, FW_CFG_SETUP_SIZE, setup_len, 4);
	fw_cfg_set_number(m->fw_cfg, FW_CFG_SETUP_ADDR, SETUP_ADDR, 4);
	fw_cfg_set_mapped(m->fw_cfg, FW_CFG_KERNEL_DATA, g_bytes_new_from_bytes(kernel, setup_len, size - setup_len));
	fw_cfg_set_number(m->fw_cfg, FW_CFG_KERNEL_SIZE, size - setup_len, 4);
	fw_cfg_set_number(m->fw_cfg, FW_CFG_KERNEL_ADDR, KERNEL_ADDR, 4);
	return true;
}

bool pc_kernel_add(struct machine *m, GError **error)
{
	g_autoptr(GBytes) kernel = map_file("--kernel", m->kernel, error);

	return kernel && add_parts(m, kernel, error);
}
