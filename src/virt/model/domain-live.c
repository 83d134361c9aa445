/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a running domain's XML has beside the definition: its number, and an alias for each device, as libvirt names them. */
#include <string.h>

#include "complete.h"
#include "domain-def.h"
#include "model-xml.h"

static void set_alias(xmlNode *d, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void set_alias(xmlNode *d, const char *format, ...)
{
	g_autofree char *name = NULL;
	va_list args;

	if (xml_text(d, "alias/@name"))
		return;
	va_start(args, format);
	name = g_strdup_vprintf(format, args);
	va_end(args);
	xml_set(d, "alias/@name", name);
}

static void name_disk(xmlNode *d, unsigned n)
{
	const char *bus = xml_text(d, "target/@bus");

	if (bus && xml_is(d, "address/@type", "drive")) {
		bool scsi = !strcmp(bus, "scsi");

		set_alias(d, "%s%s-%s%s%s-%s", bus, xml_text(d, "address/@controller"), xml_text(d, "address/@bus"),
			  scsi ? "-" : "", scsi ? xml_text(d, "address/@target") : "", xml_text(d, "address/@unit"));
	} else {
		set_alias(d, "%s-disk%d", bus ? bus : "virtio", disk_number(xml_text(d, "target/@dev")));
	}
}

static void name_controller(xmlNode *d, unsigned n)
{
	const char *type = xml_text(d, "@type"), *index = xml_text(d, "@index");

	if (!strcmp(type, "pci"))
		set_alias(d, strcmp(index, "0") ? "pci.%s" : "pcie.%s", index);
	else if (!strcmp(type, "sata") && !strcmp(index, "0"))
		set_alias(d, "ide");
	else if (!strcmp(type, "usb") && !strcmp(index, "0"))
		set_alias(d, "usb");
	else
		set_alias(d, "%s%s", type, index);
}

static void name_console(xmlNode *d, unsigned n)
{
	if (n == 0 && xml_is(d, "target/@type", "serial"))
		set_alias(d, "serial0");
	else
		set_alias(d, "console%u", n);
}

static const struct {
	const char *kind, *prefix;
	void (*name)(xmlNode *, unsigned);
} names[] = {
	{ "disk", NULL, name_disk },
	{ "controller", NULL, name_controller },
	{ "interface", "net" },
	{ "serial", "serial" },
	{ "console", NULL, name_console },
	{ "channel", "channel" },
	{ "input", "input" },
	{ "video", "video" },
	{ "watchdog", "watchdog" },
	{ "memballoon", "balloon" },
	{ "rng", "rng" },
	{ "panic", "panic" },
	{ "vsock", "vsock" },
};

/* A name that nobody else has, also after devices went and came. */
static void name_by_number(xmlNode *devices, xmlNode *d, const char *prefix, unsigned n)
{
	for (;; n++) {
		g_autofree char *name = g_strdup_printf("%s%u", prefix, n);
		const xmlNode *other = xml_nth(devices, (const char *)d->name, 0);

		while (other && !xml_is(other, "alias/@name", name))
			other = xml_next(other);
		if (other)
			continue;
		set_alias(d, "%s", name);
		return;
	}
}

static void name_kind(xmlNode *devices, unsigned k)
{
	unsigned n = 0;

	for (xmlNode *d = xml_nth(devices, names[k].kind, 0); d; d = xml_next(d), n++) {
		if (xml_text(d, "alias/@name") || xml_is(d, "model/@type", "none") || xml_is(d, "@model", "none"))
			continue;
		if (names[k].name)
			names[k].name(d, n);
		else
			name_by_number(devices, d, names[k].prefix, n);
	}
}

void domain_def_set_live(struct domain_def *def, int id)
{
	xmlNode *root = domain_def_root(def), *devices = xml_child(root, "devices");
	g_autofree char *text = g_strdup_printf("%d", id);

	for (unsigned k = 0; k < G_N_ELEMENTS(names) && !xml_is(root, "@type", "test"); k++)
		name_kind(devices, k);
	domain_def_set_text(def, "@id", id < 0 ? NULL : text);
}
