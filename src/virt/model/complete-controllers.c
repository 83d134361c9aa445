/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Controllers (complete.h): in libvirt's order, numbered, with models, and those that nobody wrote but devices need. */
#include <string.h>

#include "complete.h"
#include "domain-def.h"
#include "message.h"
#include "model-xml.h"

enum { CONTROLLERS_MAX = 256, SCSI_UNITS = 7, SATA_UNITS = 6 };

xmlNode *find_controller(const struct completion *c, const char *type, guint64 index)
{
	for (xmlNode *d = first_device(c, "controller"); d; d = xml_next(d))
		if (xml_is(d, "@type", type) && number_or(d, "@index", G_MAXUINT64) == index)
			return d;
	return NULL;
}

xmlNode *add_controller(struct completion *c, const char *type, guint64 index, const char *model)
{
	xmlNode *d = xml_add(c->devices, "controller");

	xml_set(d, "@type", type);
	set_number(d, "@index", index);
	xml_set(d, "@model", model);
	return d;
}

/* Where libvirt puts one that comes to those that are there: without a number behind the last of its type. */
static guint place_of(GPtrArray *all, const xmlNode *d)
{
	gint64 index = xml_text(d, "@index") ? (gint64)number_or(d, "@index", 0) : -1;
	guint at = all->len;

	for (guint i = all->len; i-- > 0;) {
		const xmlNode *other = all->pdata[i];

		if (!xml_is(other, "@type", xml_text(d, "@type")))
			continue;
		if (index < 0)
			return i + 1;
		if (xml_text(other, "@index") && (gint64)number_or(other, "@index", 0) > index)
			at = i;
	}
	return at;
}

static void sort_controllers(struct completion *c)
{
	g_autoptr(GPtrArray) all = g_ptr_array_new();

	for (xmlNode *d = first_device(c, "controller"); d; d = xml_next(d))
		g_ptr_array_insert(all, (gint)place_of(all, d), d);
	for (guint i = 0; i < all->len; i++) {
		xmlUnlinkNode(all->pdata[i]);
		xmlAddChild(c->devices, all->pdata[i]);
	}
}

static guint64 free_index(struct completion *c, const char *type, guint64 from)
{
	while (find_controller(c, type, from))
		from++;
	return from;
}

static bool number_controllers(struct completion *c, GError **error)
{
	for (xmlNode *d = first_device(c, "controller"); d; d = xml_next(d)) {
		const char *type = xml_text(d, "@type"), *model = xml_text(d, "@model");

		if (!xml_text(d, "@index")) {
			bool behind = !strcmp(type, "pci") && g_strcmp0(model, "pcie-root") && g_strcmp0(model, "pci-root");
			guint64 index = free_index(c, type, behind);

			/* A companion has its master's number. */
			set_number(d, "@index", xml_child(d, "master") && index ? index - 1 : index);
		} else if (!xml_child(d, "master") && find_controller(c, type, number_or(d, "@index", 0)) != d) {
			return rpc_fail(error, VIR_ERR_XML_ERROR, "Multiple '%s' controllers with index '%s'", type,
					xml_text(d, "@index"));
		}
	}
	return true;
}

/* What kv-vmm has, the first being what is meant when none is said. */
static const struct {
	const char *type;
	const char *const models[5];
} models[] = {
	{ "usb", { "qemu-xhci", "nec-xhci", "none" } },
	{ "scsi", { "virtio-scsi" } },
	{ "pci", { NULL, "pcie-root", "pcie-root-port", "pcie-to-pci-bridge" } },
};

static bool check_model(xmlNode *d, GError **error)
{
	const char *type = xml_text(d, "@type"), *model = xml_text(d, "@model");

	if (model && !strcmp(model, "auto") && strcmp(type, "pci"))
		model = NULL;
	for (unsigned i = 0; i < G_N_ELEMENTS(models); i++) {
		if (strcmp(models[i].type, type))
			continue;
		if (!model && models[i].models[0]) {
			xml_set(d, "@model", models[i].models[0]);
			return true;
		}
		if (!model && !number_or(d, "@index", 0)) {
			xml_set(d, "@model", "pcie-root");
			return true;
		}
		for (unsigned j = 0; model && j < G_N_ELEMENTS(models[i].models); j++)
			if (!g_strcmp0(models[i].models[j], model))
				return true;
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "%s controller model '%s' is not supported", type,
				model ? model : "");
	}
	if (model)
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "%s controller model '%s' is not supported", type, model);
	return true;
}

static bool check_models(struct completion *c, GError **error)
{
	for (xmlNode *d = first_device(c, "controller"); d; d = xml_next(d)) {
		guint64 index = number_or(d, "@index", 0);

		if (!check_model(d, error))
			return false;
		if (xml_is(d, "@type", "pci") && (index == 0) != xml_is(d, "@model", "pcie-root"))
			return rpc_fail(error, VIR_ERR_XML_ERROR, "pcie-root controller must have index='0', and no other may");
		if (index > 0 && (xml_is(d, "@type", "usb") || xml_is(d, "@type", "sata")))
			return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "a second %s controller is not supported",
					xml_text(d, "@type"));
	}
	return true;
}

static void need(struct completion *c, const char *type, guint64 last, const char *model)
{
	for (guint64 i = 0; i <= last; i++)
		if (!find_controller(c, type, i))
			add_controller(c, type, i, model);
}

static bool need_for_disks(struct completion *c, const char *bus, unsigned units, const char *model, GError **error)
{
	guint64 next = 0; /* all before are there */

	for (xmlNode *d = first_device(c, "disk"); d; d = xml_next(d)) {
		const char *target = xml_text(d, "target/@dev");
		guint64 last;

		if (!xml_is(d, "target/@bus", bus))
			continue;
		last = number_or(d, "address/@controller", (guint64)MAX(disk_number(target), 0) / units);
		if (last >= (strcmp(bus, "sata") || c->test ? 32 : 1))
			return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "disk %s: there is no room for it at %s", target, bus);
		if (last >= next)
			need(c, bus, last, model);
		next = MAX(next, last + 1);
	}
	return true;
}

static bool uses_usb(struct completion *c)
{
	static const char *const kinds[] = { "input", "disk" };

	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++)
		for (xmlNode *d = first_device(c, kinds[i]); d; d = xml_next(d))
			if (xml_is(d, "@bus", "usb") || xml_is(d, "target/@bus", "usb"))
				return true;
	return false;
}

static void need_one(struct completion *c, const char *type, guint64 index)
{
	if (!find_controller(c, type, index))
		add_controller(c, type, index, NULL);
}

static bool has_controller(const struct completion *c, const char *type)
{
	for (xmlNode *d = first_device(c, "controller"); d; d = xml_next(d))
		if (xml_is(d, "@type", type))
			return true;
	return false;
}

static bool need_for_channels(struct completion *c, GError **error)
{
	static const char *const kinds[] = { "console", "channel" };
	bool any = false;

	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
		for (xmlNode *d = first_device(c, kinds[i]); d; d = xml_next(d)) {
			if (!xml_is(d, "target/@type", "virtio"))
				continue;
			any = true;
			if (number_or(d, "address/@controller", 0) >= CONTROLLERS_MAX)
				return rpc_fail(error, VIR_ERR_XML_ERROR, "virtio-serial controller index is too large");
			if (xml_text(d, "address/@controller"))
				need_one(c, "virtio-serial", number_or(d, "address/@controller", 0));
		}
	}
	if (any && !has_controller(c, "virtio-serial"))
		need_one(c, "virtio-serial", 0);
	return true;
}

bool complete_controllers(struct completion *c, GError **error)
{
	unsigned n = 0;

	for (xmlNode *d = first_device(c, "controller"); d; d = xml_next(d))
		if (++n > CONTROLLERS_MAX)
			return rpc_fail(error, VIR_ERR_XML_ERROR, "more than %d controllers", CONTROLLERS_MAX);
	sort_controllers(c);
	if (!number_controllers(c, error))
		return false;
	if (!c->test) {
		if (!check_models(c, error))
			return false;
		if (!c->micro || uses_usb(c))
			need(c, "usb", 0, "qemu-xhci");
		if (!c->micro)
			need(c, "sata", 0, NULL);
		need(c, "pci", 0, "pcie-root");
	}
	return need_for_disks(c, "scsi", SCSI_UNITS, c->test ? NULL : "virtio-scsi", error) &&
	       need_for_disks(c, "sata", SATA_UNITS, NULL, error) && need_for_channels(c, error);
}
