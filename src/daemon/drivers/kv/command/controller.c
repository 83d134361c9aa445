/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * <controller>. Disks bring theirs, and devices of a definition are on bus 0, so what is left is for devices that come later:
 * ports whose bus no device of the definition has, SCSI controllers without a disk, each named as its alias. See parts.h.
 */
#include <string.h>

#include "parts.h"

/* A device of the definition has this bus. */
static bool is_taken(const xmlNode *domain, guint64 bus)
{
	const xmlNode *devices = xml_child(domain, "devices");

	for (const xmlNode *d = devices ? devices->children : NULL; d; d = d->next) {
		const char *text =
			d->type == XML_ELEMENT_NODE && xml_is(d, "address/@type", "pci") ? xml_text(d, "address/@bus") : NULL;

		if (text && g_ascii_strtoull(text, NULL, 0) == bus)
			return true;
	}
	return false;
}

static bool add_port(struct command *c, const xmlNode *node, GError **error)
{
	const char *model = xml_text(node, "@model"), *alias = xml_text(node, "alias/@name");
	guint64 index = 0;
	g_autofree char *id = NULL;
	keys *k;

	if (model && !strcmp(model, "pcie-root"))
		return true;
	if (!model || strcmp(model, "pcie-root-port"))
		return refuse(error, "pci controllers of model '%s' are not supported", model ? model : "");
	if (!c->pc)
		return refuse(error, "the machine 'micro' has one PCI bus, and no ports for others");
	xml_number(node, "@index", &index);
	if (is_taken(c->domain, index))
		return true;
	id = alias ? g_strdup(alias) : g_strdup_printf("pci.%" G_GUINT64_FORMAT, index);
	k = keys_new("pcie-root-port");
	put(k, "id", id);
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
	add(c, "--device", keys_end(k));
	return true;
}

static bool has_disks(const xmlNode *domain, const char *index)
{
	const xmlNode *devices = xml_child(domain, "devices");

	for (const xmlNode *d = devices ? devices->children : NULL; d; d = d->next)
		if (d->type == XML_ELEMENT_NODE && !strcmp((const char *)d->name, "disk") && xml_is(d, "target/@bus", "scsi") &&
		    !strcmp(xml_text(d, "address/@controller") ?: "0", index))
			return true;
	return false;
}

static bool add_scsi(struct command *c, const xmlNode *node, GError **error)
{
	const char *model = xml_text(node, "@model"), *index = xml_text(node, "@index") ?: "0";
	g_autofree char *id = NULL;
	keys *k;

	if (model && strcmp(model, "virtio-scsi") && strcmp(model, "auto"))
		return refuse(error, "scsi controllers of model '%s' are not supported; virtio-scsi is", model);
	if (has_disks(c->domain, index))
		return true;
	id = g_strconcat("scsi", index, NULL);
	k = keys_new("virtio-scsi");
	put(k, "id", id);
	add(c, "--device", keys_end(k));
	return true;
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
	return true; /* sata, virtio-serial: with what is at them */
}
