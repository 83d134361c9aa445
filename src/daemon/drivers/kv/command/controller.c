/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * <controller>. Disks and channels bring theirs, which are told where to be; ports are devices, and SCSI controllers without a
 * disk, each named as its alias, for what is behind them now or comes later. See parts.h.
 */
#include <string.h>

#include "parts.h"

static bool add_port(struct command *c, const xmlNode *node, GError **error)
{
	const char *model = xml_text(node, "@model");
	g_autofree char *id = NULL;
	keys *k;

	if (model && !strcmp(model, "pcie-root"))
		return true;
	if (!model || strcmp(model, "pcie-root-port"))
		return refuse(error, "pci controllers of model '%s' are not supported", model ? model : "");
	if (!c->pc)
		return refuse(error, "the machine 'micro' has one PCI bus, and no ports for others");
	id = command_port_id(node);
	k = keys_new("pcie-root-port");
	put(k, "id", id);
	put_bus(c, k, node);
	put_from(k, "port", node, "target/@port");
	put_from(k, "chassis", node, "target/@chassis");
	add(c, "--device", keys_end(k));
	return true;
}

static bool add_usb(struct command *c, const xmlNode *node, GError **error)
{
	const char *model = xml_text(node, "@model");
	keys *k;

	if (model && !strcmp(model, "none"))
		return true;
	if (model && strcmp(model, "qemu-xhci") && strcmp(model, "nec-xhci"))
		return refuse(error, "usb controllers of model '%s' are not supported; qemu-xhci is", model);
	if (!xml_is(node, "@index", "0") && xml_text(node, "@index"))
		return refuse(error, "there is one usb controller, with the index 0");
	k = keys_new("xhci");
	put(k, "id", xml_text(node, "alias/@name") ?: "usb");
	put_bus(c, k, node);
	add(c, "--device", keys_end(k));
	return true;
}

static bool has_disks(const xmlNode *domain, const char *index)
{
	const xmlNode *devices = xml_child(domain, "devices"), *d;

	for (unsigned n = 0; (d = xml_nth(devices, "disk", n)); n++)
		if (xml_is(d, "target/@bus", "scsi") && !strcmp(xml_text(d, "address/@controller") ?: "0", index))
			return true;
	return false;
}

static bool add_scsi(struct command *c, const xmlNode *node, GError **error)
{
	const char *model = xml_text(node, "@model"), *index = xml_text(node, "@index") ?: "0";
	bool first = !strcmp(index, "0"), of_disks = has_disks(c->domain, index);
	g_autofree char *id = of_disks && first ? g_strdup("scsi") : g_strconcat("scsi", index, NULL);
	keys *k;

	if (model && strcmp(model, "virtio-scsi") && strcmp(model, "auto"))
		return refuse(error, "scsi controllers of model '%s' are not supported; virtio-scsi is", model);
	if (of_disks) {
		add_place(c, id, node);
		return true;
	}
	k = keys_new("virtio-scsi");
	put(k, "id", id);
	put_bus(c, k, node);
	add(c, "--device", keys_end(k));
	return true;
}

/* What is at one of them is at the first. */
static bool add_serial(struct command *c, const xmlNode *node)
{
	static const char *const kinds[] = {"channel", "console"};
	const xmlNode *devices = xml_child(c->domain, "devices"), *d;
	bool used = false;

	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++)
		for (unsigned n = 0; (d = xml_nth(devices, kinds[i], n)); n++)
			used |= xml_is(d, "target/@type", "virtio");
	if (used && (!xml_text(node, "@index") || xml_is(node, "@index", "0")))
		add_place(c, "console", node);
	return true;
}

static bool add_sata(struct command *c, const xmlNode *node, GError **error)
{
	g_autofree char *address = command_address(c->domain, node);

	return !address || !strcmp(address, "1f.2") || refuse(error, "the sata controller is at 00:1f.2, not at %s", address);
}

bool command_controller(struct command *c, const xmlNode *node, GError **error)
{
	const char *type = xml_text(node, "@type");

	if (type && !strcmp(type, "pci"))
		return add_port(c, node, error);
	if (type && !strcmp(type, "usb"))
		return add_usb(c, node, error);
	if (type && !strcmp(type, "scsi"))
		return add_scsi(c, node, error);
	if (type && !strcmp(type, "virtio-serial"))
		return add_serial(c, node);
	return !type || strcmp(type, "sata") || add_sata(c, node, error);
}
