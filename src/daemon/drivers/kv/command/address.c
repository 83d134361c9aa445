/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <address type='pci'>: where a device's PCI function is, for kv-vmm. Buses are those of ports, by their aliases. See parts.h. */
#include <string.h>

#include "parts.h"

static guint64 number(const xmlNode *device, const char *path)
{
	const char *text = xml_text(device, path);

	return text ? g_ascii_strtoull(text, NULL, 0) : 0;
}

char *command_port_id(const xmlNode *controller)
{
	const char *alias = xml_text(controller, "alias/@name"), *index = xml_text(controller, "@index");

	return alias ? g_strdup(alias) : g_strdup_printf("pci.%s", index ? index : "0");
}

char *command_bus(const xmlNode *domain, const xmlNode *device)
{
	const xmlNode *c = xml_child(domain, "devices/controller");
	guint64 bus = number(device, "address/@bus"), index;

	if (!xml_is(device, "address/@type", "pci") || !bus)
		return NULL;
	for (; c; c = xml_next(c))
		if (xml_is(c, "@type", "pci") && xml_number(c, "@index", &index) && index == bus)
			return command_port_id(c);
	return g_strdup_printf("pci.%" G_GUINT64_FORMAT, bus);
}

char *command_slot(const xmlNode *device)
{
	if (!xml_is(device, "address/@type", "pci") || !xml_text(device, "address/@slot"))
		return NULL;
	return g_strdup_printf("%" G_GINT64_MODIFIER "x.%" G_GINT64_MODIFIER "x", number(device, "address/@slot"),
			       number(device, "address/@function"));
}

char *command_address(const xmlNode *domain, const xmlNode *device)
{
	g_autofree char *bus = command_bus(domain, device), *slot = command_slot(device);

	return !slot ? NULL : g_strconcat(bus ? bus : "", bus ? ":" : "", slot, NULL);
}

void put_address(struct command *c, keys *k, const xmlNode *device)
{
	g_autofree char *address = command_address(c->domain, device);

	put(k, "addr", address);
}

void put_bus(struct command *c, keys *k, const xmlNode *device)
{
	g_autofree char *bus = command_bus(c->domain, device), *slot = command_slot(device);

	put(k, "bus", bus);
	put(k, "addr", slot);
}

void add_place(struct command *c, const char *name, const xmlNode *device)
{
	keys *k;

	if (!xml_is(device, "address/@type", "pci"))
		return;
	k = keys_new(name);
	put_address(c, k, device);
	add(c, "--place", keys_end(k));
}
