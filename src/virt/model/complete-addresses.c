/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Addresses that are not PCI's (complete.h): units of drives follow from their names, ports of virtio-serial and USB in order. */
#include <string.h>

#include "complete.h"
#include "domain-def.h"
#include "message.h"
#include "model-xml.h"

enum { SCSI_UNITS = 7, SATA_UNITS = 6, SERIAL_PORTS = 31, USB_PORTS = 8, USB_PORTS_MAX = 15, CONTROLLERS_MAX = 256 };

static bool complete_drives(struct completion *c, GError **error)
{
	static const char *const parts[] = { "address/@controller", "address/@bus", "address/@target", "address/@unit" };
	g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	for (xmlNode *d = first_device(c, "disk"); d; d = xml_next(d)) {
		const char *bus = xml_text(d, "target/@bus");
		unsigned units = !strcmp(bus, "scsi") ? SCSI_UNITS : !strcmp(bus, "sata") ? SATA_UNITS : 0;
		int n = disk_number(xml_text(d, "target/@dev"));
		char *key;

		if (!units)
			continue;
		if (!xml_child(d, "address")) {
			xml_set(d, "address/@type", "drive");
			set_number(d, "address/@controller", (guint64)n / units);
			set_number(d, "address/@bus", 0);
			set_number(d, "address/@target", 0);
			set_number(d, "address/@unit", (guint64)n % units);
		}
		if (!xml_is(d, "address/@type", "drive"))
			continue;
		for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++)
			if (!xml_text(d, parts[i]))
				xml_set(d, parts[i], "0");
		key = g_strdup_printf("controller='%s' bus='%s' target='%s' unit='%s'", xml_text(d, "address/@controller"),
				      xml_text(d, "address/@bus"), xml_text(d, "address/@target"), xml_text(d, "address/@unit"));
		if (g_hash_table_contains(seen, key)) {
			rpc_fail(error, VIR_ERR_XML_ERROR, "Found duplicate drive address for disk with target name '%s' %s",
				 xml_text(d, "target/@dev"), key);
			g_free(key);
			return false;
		}
		g_hash_table_add(seen, key);
	}
	return true;
}

/* Ports in use of each controller, as bits: 0 is a console's, 31 there is not. */
static guint32 *serial_ports(struct completion *c, GError **error)
{
	g_autofree guint32 *used = g_new(guint32, CONTROLLERS_MAX);

	for (unsigned i = 0; i < CONTROLLERS_MAX; i++)
		used[i] = 1 | 1u << SERIAL_PORTS;
	for (xmlNode *d = first_device(c, "channel"); d; d = xml_next(d)) {
		guint64 port = number_or(d, "address/@port", SERIAL_PORTS), controller = number_or(d, "address/@controller", 0);

		if (!xml_is(d, "address/@type", "virtio-serial") || controller >= CONTROLLERS_MAX || port >= SERIAL_PORTS)
			continue;
		if (port && used[controller] >> port & 1) {
			rpc_fail(error, VIR_ERR_XML_ERROR, "virtio serial port %u on controller %u is already occupied",
				 (unsigned)port, (unsigned)controller);
			return NULL;
		}
		used[controller] |= 1u << port;
	}
	return g_steal_pointer(&used);
}

/* The first controller that has room, or a new one if none has; CONTROLLERS_MAX: no more. */
static unsigned roomy_controller(struct completion *c, const guint32 *used)
{
	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < CONTROLLERS_MAX; i++)
			if (used[i] != G_MAXUINT32 && !!find_controller(c, "virtio-serial", i) == (pass == 0))
				return i;
	return CONTROLLERS_MAX;
}

static bool complete_serial_ports(struct completion *c, GError **error)
{
	g_autofree guint32 *used = serial_ports(c, error);

	for (xmlNode *d = used ? first_device(c, "channel") : NULL; d; d = xml_next(d)) {
		unsigned controller;

		if (!xml_is(d, "target/@type", "virtio") || xml_child(d, "address"))
			continue;
		controller = roomy_controller(c, used);
		if (controller == CONTROLLERS_MAX)
			return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "Unable to find a free virtio-serial port");
		if (!find_controller(c, "virtio-serial", controller))
			add_controller(c, "virtio-serial", controller, NULL);
		xml_set(d, "address/@type", "virtio-serial");
		set_number(d, "address/@controller", controller);
		set_number(d, "address/@bus", 0);
		set_number(d, "address/@port", (guint64)g_bit_nth_lsf(~used[controller], -1));
		used[controller] |= 1u << g_bit_nth_lsf(~used[controller], -1);
	}
	return used;
}

static bool is_usb(const xmlNode *d)
{
	return xml_is(d, "@bus", "usb") || xml_is(d, "target/@bus", "usb");
}

static bool complete_usb(struct completion *c, GError **error)
{
	static const char *const kinds[] = { "disk", "input" };
	xmlNode *controller = find_controller(c, "usb", 0);
	guint64 ports = MIN(number_or(controller, "@ports", USB_PORTS), USB_PORTS_MAX);
	guint32 used = 1;

	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
			for (xmlNode *d = first_device(c, kinds[i]); d; d = xml_next(d)) {
				guint64 port = number_or(d, "address/@port", 0);

				if (!is_usb(d) || (pass == 0) != !!xml_child(d, "address"))
					continue;
				if (xml_is(controller, "@model", "none"))
					return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
							"Device configuration requires USB, but USB is disabled");
				if (pass == 1) {
					port = (guint64)g_bit_nth_lsf(~used, -1);
					xml_set(d, "address/@type", "usb");
					set_number(d, "address/@bus", 0);
					set_number(d, "address/@port", port);
				}
				if (port < 1 || port > ports)
					return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "No free USB ports");
				if (used >> port & 1)
					return rpc_fail(error, VIR_ERR_XML_ERROR, "Duplicate USB address bus 0 port %u",
							(unsigned)port);
				used |= 1u << port;
			}
		}
	}
	return true;
}

bool complete_addresses(struct completion *c, GError **error)
{
	if (!complete_drives(c, error))
		return false;
	if (c->test)
		return true;
	return complete_serial_ports(c, error) && complete_usb(c, error);
}
