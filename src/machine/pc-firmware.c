/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See pc-firmware.h. What is where: docs/specs/fw_cfg of QEMU, SeaBIOS src/fw/paravirt.c, OVMF's PlatformInitLib. */
#include "pc-firmware.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "acpi-pc.h"
#include "board.h"
#include "boot-order.h"
#include "bytes.h"
#include "error.h"
#include "fw-cfg.h"
#include "log.h"
#include "pc-kernel.h"
#include "smbios.h"

#define ROM_MAX	     (16u << 20)
#define SHADOW	     (128u << 10) /* of the ROM: below 1 MiB, as a BIOS expects it */
#define FLASH_MAX    (8u << 20)
#define PAGE	     4096u
#define KERNEL_ROM   "genroms/linuxboot_dma.bin"
#define ORDER_FILE   "bootorder"
#define E820_RAM     1
#define E820_KEPT    2
#define FEATURES_VMX (1u << 5) /* CPUID 1, ECX */

struct pc_firmware {
	struct mem_region *rom;
	char *order, *once;
	bool started, has_kernel;
};

/* ---- ROM and flash ---- */

static bool read_whole(const char *path, const char *what, size_t max, char **ret_data, gsize *ret_len, GError **error)
{
	g_autofree char *data = NULL;

	if (!g_file_get_contents(path, &data, ret_len, error))
		return false;
	if (!*ret_len || *ret_len > max || *ret_len % PAGE)
		return kv_fail(error, KV_ERROR_INVALID, "%s '%s' has %zu bytes: not a multiple of 4 KiB up to %zu MiB", what,
			       path, *ret_len, max >> 20);
	*ret_data = g_steal_pointer(&data);
	return true;
}

static bool add_rom(struct machine *m, const char *path, GError **error)
{
	struct pc_firmware *f = m->firmware;
	g_autofree char *data = NULL;
	gsize len;

	if (!read_whole(path, "firmware", ROM_MAX, &data, &len, error))
		return false;
	f->rom = mem_region_new(m->core.mem, "firmware", len, true, error);
	if (!f->rom)
		return false;
	memcpy(f->rom->host, data, len);
	return mem_region_map(f->rom, HIGH_RAM_BASE - len, error);
}

/* Made at once or not at all: half a file of variables would be no start. */
static bool make_nvram(const char *path, const char *template, GError **error)
{
	const GFileSetContentsFlags flags = G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE;
	g_autofree char *data = NULL;
	gsize len;

	if (!read_whole(template, "variables", FLASH_MAX, &data, &len, error))
		return false;
	if (!g_file_set_contents_full(path, data, (gssize)len, flags, 0600, error)) {
		g_prefix_error(error, "--nvram: ");
		return false;
	}
	kv_log_info("--nvram: '%s' is new, made of '%s'", path, template);
	return true;
}

static int open_nvram(const char *path, const char *template, GError **error)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT) {
		if (!make_nvram(path, template, error))
			return -1;
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	if (fd < 0) {
		kv_fail_errno(error, errno, "--nvram: cannot open '%s'", path);
		return -1;
	}
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		kv_fail(error, KV_ERROR_BUSY, "--nvram: '%s' is in use; give each machine a file of its own", path);
		close(fd);
		return -1;
	}
	return fd;
}

static bool add_flash_of(struct machine *m, const char *path, int fd, GError **error)
{
	g_autofree char *data = NULL;
	g_autoptr(GVariant) options = NULL;
	g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
	gsize len;

	if (!read_whole(path, "variables", FLASH_MAX, &data, &len, error))
		return false;
	g_variant_dict_insert(&dict, "base", "t", HIGH_RAM_BASE - m->firmware->rom->size - len);
	g_variant_dict_insert(&dict, "size", "t", (guint64)len);
	g_variant_dict_insert(&dict, "fd", "i", fd);
	g_variant_dict_insert_value(&dict, "content", g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, data, len, 1));
	options = g_variant_ref_sink(g_variant_dict_end(&dict));
	return board_add(m, "pflash", "nvram", options, NULL, error);
}

static bool add_flash(struct machine *m, const struct machine_firmware *config, GError **error)
{
	int fd = -1;

	if (!config->variables)
		return true;
	if (config->nvram) {
		fd = open_nvram(config->nvram, config->variables, error);
		if (fd < 0)
			return false;
	} else {
		kv_log_info("firmware: its variables are forgotten at the end; --nvram FILE keeps them");
	}
	if (add_flash_of(m, fd < 0 ? config->variables : config->nvram, fd, error))
		return true;
	if (fd >= 0)
		close(fd);
	return false;
}

bool pc_firmware_new(struct machine *m, const struct machine_firmware *config, GError **error)
{
	struct pc_firmware *f = m->firmware = g_new0(struct pc_firmware, 1);

	f->order = g_strdup(config->order);
	f->once = g_strdup(config->once);
	if (!add_rom(m, config->code, error) || !add_flash(m, config, error))
		return false;
	m->fw_cfg = board_add(m, "fw-cfg", "fwcfg", NULL, NULL, error);
	return m->fw_cfg;
}

void pc_firmware_free(struct pc_firmware *f)
{
	if (!f)
		return;
	mem_region_free(f->rom);
	g_free(f->order);
	g_free(f->once);
	g_free(f);
}

/* ---- items ---- */

static void put_range(GByteArray *a, uint64_t start, uint64_t len, uint32_t type)
{
	uint8_t e[20];

	put_le64(e, start);
	put_le64(e + 8, len);
	put_le32(e + 16, type);
	g_byte_array_append(a, e, sizeof(e));
}

static GBytes *memory_map(const struct machine *m)
{
	GByteArray *a = g_byte_array_new();
	uint64_t low = pc_low_ram(m->memory);

	put_range(a, KVM_IDENTITY_BASE, KVM_KEPT_SIZE, E820_KEPT);
	put_range(a, 0, low, E820_RAM);
	if (m->memory > low)
		put_range(a, HIGH_RAM_BASE, m->memory - low, E820_RAM);
	return g_byte_array_free_to_bytes(a);
}

/* Firmware locks this register with VMX in it, if there is VMX. */
static uint64_t feature_control(const struct machine *m)
{
	enum { ENTRIES = 256, LOCKED = 1, VMX_OUTSIDE_SMX = 4 };
	g_autofree struct kvm_cpuid2 *c = g_malloc0(sizeof(*c) + ENTRIES * sizeof(c->entries[0]));

	c->nent = ENTRIES;
	if (kvcore_ioctl(m->kvm_fd, KVM_GET_SUPPORTED_CPUID, c) < 0)
		return 0;
	for (unsigned i = 0; i < c->nent; i++)
		if (c->entries[i].function == 1 && (c->entries[i].ecx & FEATURES_VMX))
			return LOCKED | VMX_OUTSIDE_SMX;
	return 0;
}

static bool set_number_file(struct machine *m, const char *name, uint64_t value, unsigned size, GError **error)
{
	uint8_t b[8];

	put_le64(b, value);
	return fw_cfg_set_file(m->fw_cfg, name, g_bytes_new(b, size), error);
}

/* QEMU's etc/system-states: bit 7, the state is there; below, its sleep type. S0, S3, S4 and S5 are. */
static bool tell_machine(struct machine *m, GError **error)
{
	static const uint8_t states[6] = {0x80, 0, 0, 0x80 | PC_SLP_TYP_S3, 0x80 | PC_SLP_TYP_S4, 0x80};
	struct device *c = m->fw_cfg;
	uint64_t control = feature_control(m);

	fw_cfg_set_number(c, FW_CFG_RAM_SIZE, m->memory, 8);
	fw_cfg_set_number(c, FW_CFG_CPUS, cpus_present(m), 2);
	fw_cfg_set_number(c, FW_CFG_MAX_CPUS, cpu_apic_id(&m->topology, m->cpus - 1) + 1, 2); /* a limit of APIC ids */
	fw_cfg_set_number(c, FW_CFG_NOGRAPHIC, !m->core.display, 2);
	return fw_cfg_set_file(c, "etc/e820", memory_map(m), error) &&
	       fw_cfg_set_file(c, "etc/system-states", g_bytes_new_static(states, sizeof(states)), error) &&
	       (!acpi_pc_has(m, "pvpanic") || set_number_file(m, "etc/pvpanic-port", PC_PVPANIC_PORT, 2, error)) &&
	       (!control || set_number_file(m, "etc/msr_feature_control", control, 8, error));
}

static bool tell_smbios(struct machine *m, GVariant *given, GError **error)
{
	GBytes *anchor, *tables;
	uint8_t uuid[16];

	if (!smbios_build(m, given, &anchor, &tables, uuid, error))
		return false;
	fw_cfg_set(m->fw_cfg, FW_CFG_UUID, g_bytes_new(uuid, sizeof(uuid)));
	return fw_cfg_set_file(m->fw_cfg, "etc/smbios/smbios-tables", tables, error) &&
	       fw_cfg_set_file(m->fw_cfg, "etc/smbios/smbios-anchor", anchor, error);
}

static bool tell_boot(struct machine *m, const struct machine_firmware *config, GError **error)
{
	fw_cfg_set_number(m->fw_cfg, FW_CFG_BOOT_MENU, config->menu, 2);
	return !config->menu_wait || set_number_file(m, "etc/boot-menu-wait", config->menu_wait, 2, error);
}

static bool tell_files(struct machine *m, const struct machine_firmware *config, GError **error)
{
	for (unsigned i = 0; i < config->n_files; i++) {
		const struct machine_file *f = &config->files[i];

		if (fw_cfg_has_file(m->fw_cfg, f->name))
			return kv_fail(error, KV_ERROR_USAGE, "--fw-cfg: there is a file '%s' already; give another name",
				       f->name);
		if (!fw_cfg_set_file(m->fw_cfg, f->name, g_bytes_ref(f->data), error))
			return false;
	}
	return true;
}

bool pc_firmware_tell(struct machine *m, const struct machine_firmware *config, GError **error)
{
	if (!tell_machine(m, error) || !tell_smbios(m, config->smbios, error) || !acpi_pc_add(m, error) ||
	    !tell_boot(m, config, error) || !tell_files(m, config, error))
		return false;
	m->firmware->has_kernel = m->kernel;
	return !m->kernel || pc_kernel_add(m, error);
}

static bool start_order(struct machine *m, GError **error)
{
	struct pc_firmware *f = m->firmware;
	bool rom = f->has_kernel && fw_cfg_has_file(m->fw_cfg, KERNEL_ROM);
	GBytes *order = boot_order(m->devices, !f->started && f->once ? f->once : f->order, rom ? "/rom@" KERNEL_ROM : NULL);

	/* A file that was there is not taken away: one without a line says nothing. */
	if (!order && fw_cfg_has_file(m->fw_cfg, ORDER_FILE))
		order = g_bytes_new_static("", 1);
	return !order || fw_cfg_set_file(m->fw_cfg, ORDER_FILE, order, error);
}

bool pc_firmware_start(struct machine *m, GError **error)
{
	struct pc_firmware *f = m->firmware;
	size_t n = MIN(f->rom->size, SHADOW);

	if (!start_order(m, error))
		return false;
	f->started = true;
	return gpa_write(m->core.mem, (1 << 20) - n, f->rom->host + f->rom->size - n, n) ||
	       kv_fail(error, KV_ERROR_INVALID, "the guest has too little memory for its firmware");
}
