/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <os>: firmware and its variables, a kernel, what is started from, SMBIOS. See parts.h. */
#include <string.h>

#include "parts.h"

static bool is_uefi(const xmlNode *domain)
{
	return xml_is(domain, "os/@firmware", "efi") || xml_is(domain, "os/loader/@type", "pflash");
}

char *command_nvram_path(const xmlNode *domain, const struct command_paths *paths)
{
	const char *path = xml_text(domain, "os/nvram"), *name = xml_text(domain, "name");
	g_autofree char *file = NULL;

	if (!command_is_pc(domain) || !is_uefi(domain) || xml_is(domain, "os/loader/@stateless", "yes"))
		return NULL;
	if (path && *path)
		return g_strdup(path);
	file = g_strdelimit(g_strdup_printf("%s_VARS.fd", name), "/", '_');
	return g_build_filename(paths->lib, "nvram", file, NULL);
}

bool command_firmware(struct command *c, GError **error)
{
	const char *loader = xml_text(c->domain, "os/loader"), *kernel = xml_text(c->domain, "os/kernel");
	g_autofree char *nvram = command_nvram_path(c->domain, c->paths);

	if (!c->pc && (loader || xml_text(c->domain, "os/@firmware")))
		return refuse(error, "the machine 'micro' has no firmware: no <loader>, no firmware='%s'",
			      xml_text(c->domain, "os/@firmware") ?: "");
	if (!c->pc && !kernel)
		return refuse(error, "the machine 'micro' needs a <kernel>");
	if (!kernel && (xml_text(c->domain, "os/initrd") || xml_text(c->domain, "os/cmdline")))
		return refuse(error, "<initrd> and <cmdline> are for a <kernel>");
	if (loader && *loader)
		add_text(c, "--firmware", loader);
	else if (is_uefi(c->domain))
		add_text(c, "--firmware", "uefi");
	add_text(c, "--nvram", nvram);
	add_text(c, "--kernel", kernel);
	add_text(c, "--initrd", xml_text(c->domain, "os/initrd"));
	add_text(c, "--append", xml_text(c->domain, "os/cmdline"));
	return true;
}

/* ---- <boot dev> ---- */

static bool boot_order(const xmlNode *os, GString *letters, GError **error)
{
	static const struct {
		const char *dev;
		char letter;
	} devs[] = {{"hd", 'c'}, {"cdrom", 'd'}, {"network", 'n'}};
	const xmlNode *boot;

	for (unsigned n = 0; (boot = xml_nth(os, "boot", n)); n++) {
		unsigned i = 0;

		while (i < G_N_ELEMENTS(devs) && !xml_is(boot, "@dev", devs[i].dev))
			i++;
		if (i == G_N_ELEMENTS(devs))
			return refuse(error, "boot dev '%s' is not supported", xml_text(boot, "@dev") ?: "");
		if (!strchr(letters->str, devs[i].letter))
			g_string_append_c(letters, devs[i].letter);
	}
	return true;
}

static bool has_order(const xmlNode *domain, const char *kind)
{
	const xmlNode *devices = xml_child(domain, "devices"), *device;

	for (unsigned n = 0; devices && (device = xml_nth(devices, kind, n)); n++)
		if (xml_text(device, "boot/@order"))
			return true;
	return false;
}

/* Devices with an order of their own come first. */
bool command_boot(struct command *c, GError **error)
{
	const xmlNode *os = xml_child(c->domain, "os");
	g_autoptr(GString) letters = g_string_new(NULL);
	keys *k;

	if (!c->pc)
		return true;
	if (!boot_order(os, letters, error))
		return false;
	k = keys_new(NULL);
	if (letters->len && !has_order(c->domain, "disk") && !has_order(c->domain, "interface"))
		put(k, "order", letters->str);
	if (xml_is(os, "bootmenu/@enable", "yes")) {
		put(k, "menu", "on");
		if (!xml_is(os, "bootmenu/@timeout", "0"))
			put_from(k, "menu-wait", os, "bootmenu/@timeout");
	}
	if (k->len)
		add(c, "--boot", keys_end(k));
	else
		g_string_free(k, TRUE);
	return true;
}

/* ---- SMBIOS ---- */

/* The names that libvirt's entries have are --smbios's. */
static const struct {
	const char *element;
	unsigned type;
} structures[] = {{"bios", 0}, {"system", 1}, {"baseBoard", 2}, {"chassis", 3}};

static void add_structure(struct command *c, const xmlNode *node, unsigned type, const char *uuid)
{
	keys *k = keys_new(NULL);
	const xmlNode *entry;

	put_number(k, "type", type);
	for (unsigned n = 0; node && (entry = xml_nth(node, "entry", n)); n++)
		if (!uuid || !xml_is(entry, "@name", "uuid"))
			put(k, xml_text(entry, "@name") ?: "", xml_text(entry, "") ?: "");
	put(k, "uuid", uuid);
	add(c, "--smbios", keys_end(k));
}

static void add_files(struct command *c, const xmlNode *sysinfo)
{
	const xmlNode *entry;

	for (unsigned n = 0; (entry = xml_nth(sysinfo, "entry", n)); n++) {
		keys *k = keys_new(NULL);

		put_from(k, "name", entry, "@name");
		if (xml_text(entry, "@file"))
			put_from(k, "file", entry, "@file");
		else
			put(k, "string", xml_text(entry, "") ?: "");
		add(c, "--fw-cfg", keys_end(k));
	}
}

bool command_smbios(struct command *c, GError **error)
{
	bool told = xml_is(c->domain, "os/smbios/@mode", "sysinfo");
	const xmlNode *sysinfo, *smbios = NULL;

	for (unsigned n = 0; (sysinfo = xml_nth(c->domain, "sysinfo", n)); n++) {
		if (!c->pc)
			return refuse(error, "the machine 'micro' has no firmware that <sysinfo> is for");
		if (xml_is(sysinfo, "@type", "fwcfg"))
			add_files(c, sysinfo);
		else
			smbios = sysinfo;
	}
	for (unsigned i = 0; c->pc && i < G_N_ELEMENTS(structures); i++) {
		const char *uuid = structures[i].type == 1 ? xml_text(c->domain, "uuid") : NULL;
		const xmlNode *node = told && smbios ? xml_child(smbios, structures[i].element) : NULL;

		if (node || uuid)
			add_structure(c, node, structures[i].type, uuid);
	}
	return true;
}
