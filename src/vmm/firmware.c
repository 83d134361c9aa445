/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a pc's firmware is, and what it is told: --firmware, --nvram, --boot, --fw-cfg, --smbios, and bootindex. Files that
 * Debian's packages have are known here by name, and what to install when they are not there. See vmm.h.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "machine.h"
#include "vmm.h"

#define BIOS	   "/usr/share/seabios/bios-256k.bin"
/* Its first phases are 64-bit code, which the software KVM translates; those of the build with 4 MiB are not. */
#define UEFI	   "/usr/share/OVMF/OVMF_CODE.fd"
#define KERNEL_ROM "/usr/share/qemu/linuxboot_dma.bin"
#define ROM_FILE   "genroms/linuxboot_dma.bin"

struct vmm_firmware {
	struct machine_firmware fw; /* first */
	char *template;
	struct machine_file *files;
};

/* Options that only firmware would hear of. */
static const char *const pc_options[] = {"firmware", "nvram", "boot", "fw-cfg", "smbios"};

static GVariant *lookup(const struct vmm *vmm, const char *name)
{
	return options_lookup_value(vmm->options, name);
}

static const char *text_of(GVariant *keys, const char *name)
{
	const char *text = NULL;

	if (keys)
		g_variant_lookup(keys, name, "&s", &text);
	return text;
}

/* ---- firmware and variables ---- */

static bool need(const char *option, const char *path, const char *package, GError **error)
{
	return access(path, R_OK) == 0 ||
	       kv_fail_errno(error, errno, "%s: cannot read '%s'; install the Debian package %s", option, path, package);
}

/* Code that has Secure Boot relies on a mode that guards the variables from the OS. */
static bool refuse_secure_boot(const char *path, GError **error)
{
	g_autofree char *real = realpath(path, NULL);
	const char *name = real ? strrchr(real, '/') : NULL;

	return !name || !strstr(name, "secboot") ||
	       kv_fail(error, KV_ERROR_UNSUPPORTED,
		       "--firmware: '%s' is made for Secure Boot, which needs system management mode (SMM), and there is none; "
		       "give --firmware uefi", path);
}

/* "CODE" in a file's name has "VARS" beside it. */
static char *variables_of(const char *code)
{
	const char *slash = strrchr(code, '/'), *word = strstr(slash ? slash : code, "CODE");
	g_autofree char *path = word ? g_strdup_printf("%.*sVARS%s", (int)(word - code), code, word + 4) : NULL;

	return path && access(path, R_OK) == 0 ? g_steal_pointer(&path) : NULL;
}

static bool read_nvram(const struct vmm *vmm, struct vmm_firmware *f, GError **error)
{
	const char *nvram = text_of(vmm->options, "nvram");

	f->template = variables_of(f->fw.code);
	f->fw.nvram = nvram;
	f->fw.variables = f->template;
	if (!nvram || f->template)
		return true;
	f->fw.variables = nvram;
	return access(nvram, F_OK) == 0 ||
	       kv_fail(error, KV_ERROR_USAGE, "--nvram: '%s' is not there, and beside '%s' is nothing to make it from", nvram,
		       f->fw.code);
}

static bool read_code(const struct vmm *vmm, struct vmm_firmware *f, GError **error)
{
	const char *name = text_of(vmm->options, "firmware");
	bool bios = !name || !strcmp(name, "bios"), uefi = name && !strcmp(name, "uefi");

	f->fw.code = bios ? BIOS : uefi ? UEFI : name;
	if (bios && text_of(vmm->options, "nvram"))
		return kv_fail(error, KV_ERROR_USAGE, "--nvram: a BIOS has no variables; give --firmware uefi");
	if (bios || uefi)
		return need("--firmware", f->fw.code, bios ? "seabios" : "ovmf", error) && (bios || read_nvram(vmm, f, error));
	if (access(name, R_OK) < 0)
		return kv_fail_errno(error, errno, "--firmware: cannot read '%s'", name);
	return refuse_secure_boot(name, error) && read_nvram(vmm, f, error);
}

/* ---- boot order ---- */

static bool check_order(const char *key, const char *letters, GError **error)
{
	for (const char *p = letters; p && *p; p++)
		if (!strchr("cdn", *p) || strchr(p + 1, *p))
			return kv_fail(error, KV_ERROR_USAGE,
				       "--boot: %s: '%s' is not valid; give some of c (disks), d (CD-ROM drives), n (network)",
				       key, letters);
	return true;
}

static bool read_boot(const struct vmm *vmm, struct machine_firmware *fw, GError **error)
{
	g_autoptr(GVariant) keys = lookup(vmm, "boot");
	gboolean menu = FALSE;
	guint64 wait = 0;

	if (!keys)
		return true;
	fw->order = text_of(keys, "order");
	fw->once = text_of(keys, "once");
	g_variant_lookup(keys, "menu", "b", &menu);
	g_variant_lookup(keys, "menu-wait", "t", &wait);
	fw->menu = menu;
	fw->menu_wait = (unsigned)wait;
	return check_order("order", fw->order, error) && check_order("once", fw->once, error);
}

/* The option's bootindexes; seen has each that was there. */
static bool check_indexes(const struct vmm *vmm, const char *option, GHashTable *seen, GError **error)
{
	g_autoptr(GVariant) list = lookup(vmm, option);

	for (size_t i = 0; list && i < g_variant_n_children(list); i++) {
		g_autoptr(GVariant) keys = g_variant_get_child_value(list, i);
		guint64 n = 0;

		if (!g_variant_lookup(keys, "bootindex", "t", &n))
			continue;
		if (!vmm_is_pc(vmm))
			return kv_fail(error, KV_ERROR_USAGE, "--%s: bootindex is for --machine pc: 'micro' boots a kernel",
				       option);
		if (!g_strcmp0(text_of(keys, "bus"), "usb"))
			return kv_fail(error, KV_ERROR_UNSUPPORTED, "--%s: bootindex is not for bus=usb", option);
		if (!g_hash_table_add(seen, GUINT_TO_POINTER((guint)n + 1)))
			return kv_fail(error, KV_ERROR_USAGE, "--%s: bootindex %" G_GUINT64_FORMAT " is given twice", option, n);
	}
	return true;
}

unsigned vmm_boot_index(GVariant *keys)
{
	guint64 n = 0;

	return g_variant_lookup(keys, "bootindex", "t", &n) ? (unsigned)n + 1 : 0;
}

/* ---- files of fw_cfg ---- */

static GBytes *read_file(const char *path, GError **error)
{
	char *data;
	gsize len;

	return g_file_get_contents(path, &data, &len, error) ? g_bytes_new_take(data, len) : NULL;
}

static bool add_file(struct machine_firmware *fw, struct machine_file *files, const char *name, GBytes *data)
{
	if (data)
		files[fw->n_files++] = (struct machine_file){name, data};
	return data;
}

static bool add_given(struct machine_firmware *fw, struct machine_file *files, GVariant *keys, GError **error)
{
	const char *name = text_of(keys, "name"), *file = text_of(keys, "file"), *string = text_of(keys, "string");

	if (!file == !string)
		return kv_fail(error, KV_ERROR_USAGE, "--fw-cfg: '%s' has no content, or two; give file=PATH or string=TEXT",
			       name);
	if (add_file(fw, files, name, file ? read_file(file, error) : g_bytes_new(string, strlen(string))))
		return true;
	g_prefix_error(error, "--fw-cfg: ");
	return false;
}

/* A BIOS has no way to a kernel of fw_cfg but this option ROM. */
static bool add_kernel_rom(const struct vmm *vmm, struct vmm_firmware *f, GError **error)
{
	if (!text_of(vmm->options, "kernel") || f->fw.variables)
		return true;
	return need("--kernel", KERNEL_ROM, "qemu-system-data", error) &&
	       add_file(&f->fw, f->files, ROM_FILE, read_file(KERNEL_ROM, error));
}

static bool read_files(const struct vmm *vmm, struct vmm_firmware *f, GError **error)
{
	g_autoptr(GVariant) list = lookup(vmm, "fw-cfg");
	size_t n = list ? g_variant_n_children(list) : 0;

	f->fw.files = f->files = g_new0(struct machine_file, n + 1);
	for (size_t i = 0; i < n; i++) {
		g_autoptr(GVariant) keys = g_variant_get_child_value(list, i);

		if (!add_given(&f->fw, f->files, keys, error))
			return false;
	}
	return add_kernel_rom(vmm, f, error);
}

/* ---- all of it ---- */

static bool check(const struct vmm *vmm, GError **error)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);

	for (unsigned i = 0; i < G_N_ELEMENTS(pc_options) && !vmm_is_pc(vmm); i++) {
		g_autoptr(GVariant) v = lookup(vmm, pc_options[i]);

		if (v)
			return kv_fail(error, KV_ERROR_USAGE, "--%s: machine 'micro' has no firmware; give --machine pc",
				       pc_options[i]);
	}
	return check_indexes(vmm, "disk", seen, error) && check_indexes(vmm, "net", seen, error);
}

bool vmm_open_firmware(struct vmm *vmm, GError **error)
{
	struct vmm_firmware *f;

	if (!check(vmm, error))
		return false;
	if (!vmm_is_pc(vmm))
		return true;
	f = g_new0(struct vmm_firmware, 1);
	vmm->firmware = &f->fw;
	f->fw.smbios = lookup(vmm, "smbios");
	return read_code(vmm, f, error) && read_boot(vmm, &f->fw, error) && read_files(vmm, f, error);
}

void vmm_close_firmware(struct vmm *vmm)
{
	struct vmm_firmware *f = (struct vmm_firmware *)vmm->firmware;

	if (!f)
		return;
	for (unsigned i = 0; i < f->fw.n_files; i++)
		g_bytes_unref(f->files[i].data);
	g_free(f->files);
	g_free(f->template);
	g_clear_pointer(&f->fw.smbios, g_variant_unref);
	g_free(f);
	vmm->firmware = NULL;
}
