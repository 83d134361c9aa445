/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <input>, <rng>, <memballoon>, <watchdog>, <panic>, <vsock>. What a micro always has is not added twice. See parts.h. */
#include <string.h>

#include "parts.h"

static void add_device(struct command *c, const char *name, const xmlNode *node)
{
	keys *k = keys_new(name);

	put_from(k, "id", node, "alias/@name");
	put_bus(c, k, node);
	add(c, "--device", keys_end(k));
}

/* A pc with a screen that others see has a tablet already; it has PS/2's two always, a micro never. */
bool command_input(struct command *c, const xmlNode *node, GError **error)
{
	const char *type = xml_text(node, "@type") ?: "", *bus = xml_text(node, "@bus") ?: "usb";
	g_autofree char *name = NULL;

	if (!strcmp(bus, "ps2"))
		return true;
	if (strcmp(type, "mouse") && strcmp(type, "tablet") && strcmp(type, "keyboard"))
		return refuse(error, "input of type '%s' is not supported", type);
	if (strcmp(bus, "usb") && strcmp(bus, "virtio"))
		return refuse(error, "input at the bus '%s' is not supported; usb, virtio and ps2 are", bus);
	if (!strcmp(bus, "usb") && !strcmp(type, "tablet") && c->pc && c->vncs && !c->tablets++)
		return true;
	name = g_strdup_printf("%s-%s", bus, strcmp(bus, "usb") || strcmp(type, "keyboard") ? type : "kbd");
	add_device(c, name, node);
	return true;
}

bool command_rng(struct command *c, const xmlNode *node, GError **error)
{
	if (c->pc || c->rngs++)
		add_device(c, "virtio-rng", node);
	else
		add_place(c, "rng", node);
	return true;
}

bool command_memballoon(struct command *c, const xmlNode *node, GError **error)
{
	if (c->pc && !xml_is(node, "@model", "none"))
		add_device(c, "virtio-balloon", node);
	else if (!c->pc)
		add_place(c, "balloon", node);
	return true;
}

bool command_watchdog(struct command *c, const xmlNode *node, GError **error)
{
	if (!xml_is(node, "@model", "i6300esb"))
		return refuse(error, "watchdog model '%s' is not supported; i6300esb is", xml_text(node, "@model") ?: "");
	add_device(c, "i6300esb", node);
	add_text(c, "--watchdog-action", xml_text(node, "@action"));
	return true;
}

bool command_panic(struct command *c, const xmlNode *node, GError **error)
{
	add_device(c, xml_is(node, "@model", "pvpanic") ? "pvpanic-pci" : "pvpanic", node);
	return true;
}

bool command_vsock(struct command *c, const xmlNode *node, GError **error)
{
	g_autofree char *path = g_build_filename(c->paths->run, "vsock", NULL);
	keys *k = keys_new("virtio-vsock");

	put_from(k, "id", node, "alias/@name");
	put_bus(c, k, node);
	put_from(k, "cid", node, "cid/@address");
	put(k, "unix", path);
	add(c, "--device", keys_end(k));
	return true;
}
