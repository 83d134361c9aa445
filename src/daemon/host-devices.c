/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is common to all kinds of devices, the machine itself, USB and SCSI. See host-devices.h. */
#include "host-devices.h"

#include <stdlib.h>
#include <string.h>

#include "model-xml.h"

enum { TEXT_MAX = 4096, DEVICES_MAX = 65536 };

void host_object_free(struct host_object *o)
{
	xmlFreeDoc(o->doc);
	g_free(o);
}

/* ---- reading ---- */

/* What firmware and devices say may be anything; XML and the wire have UTF-8 without control characters. */
static char *clean(char *text)
{
	char *valid = g_utf8_make_valid(text, -1);

	for (char *p = valid; *p; p++)
		if ((guchar)*p < ' ' || *p == 0x7f)
			*p = ' ';
	g_free(text);
	return g_strstrip(valid);
}

char *host_text(const char *folder, const char *file)
{
	g_autofree char *path = g_build_filename(folder, file, NULL), *text = NULL;
	gsize len;

	if (!g_file_get_contents(path, &text, &len, NULL))
		return NULL;
	if (len > TEXT_MAX)
		text[TEXT_MAX] = 0;
	text = clean(text);
	return *text ? g_steal_pointer(&text) : NULL;
}

gint64 host_number(const char *folder, const char *file, gint64 otherwise)
{
	g_autofree char *text = host_text(folder, file);
	char *end;
	gint64 n = text ? g_ascii_strtoll(text, &end, g_str_has_prefix(text, "0x") ? 16 : 10) : 0;

	return text && end != text ? n : otherwise;
}

char *host_link_name(const char *folder, const char *link)
{
	g_autofree char *path = g_build_filename(folder, link, NULL), *to = g_file_read_link(path, NULL);

	return to ? g_path_get_basename(to) : NULL;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

GPtrArray *host_folders(const struct host *h, const char *path)
{
	GPtrArray *all = g_ptr_array_new_with_free_func(g_free);
	g_autofree char *where = g_strconcat(h->root, path, NULL);
	g_autoptr(GDir) dir = g_dir_open(where, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir)) && all->len < DEVICES_MAX) {
		g_autofree char *entry = g_build_filename(where, name, NULL);
		char *real = realpath(entry, NULL);

		if (real && g_file_test(real, G_FILE_TEST_IS_DIR))
			g_ptr_array_add(all, g_strdup(real));
		free(real);
	}
	g_ptr_array_sort(all, by_text);
	return all;
}

char *host_udev(const struct host *h, const char *device, const char *property)
{
	g_autofree char *path = g_strconcat(h->root, "/run/udev/data/", device, NULL), *text = NULL;
	g_autofree char *start = g_strconcat("E:", property, "=", NULL);
	g_auto(GStrv) lines = NULL;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return NULL;
	lines = g_strsplit(text, "\n", -1);
	for (char **l = lines; *l; l++)
		if (g_str_has_prefix(*l, start))
			return clean(g_strdup(*l + strlen(start)));
	return NULL;
}

/* ---- writing ---- */

void host_set(xmlNode *node, const char *path, const char *text)
{
	if (text)
		xml_set(node, path, text);
}

void host_set_number(xmlNode *node, const char *path, gint64 n)
{
	g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, n);

	xml_set(node, path, text);
}

xmlNode *host_device_new(struct host *h, const char *type, const char *folder, const char *name)
{
	struct host_object *o = g_new0(struct host_object, 1);
	g_autofree char *driver = folder ? host_link_name(folder, "driver") : NULL;
	g_autofree char *clean_name = g_strdup(name);
	xmlNode *root, *capability;

	for (char *p = clean_name; *p; p++)
		if (!g_ascii_isalnum(*p))
			*p = '_';
	o->active = true;
	o->doc = xmlNewDoc(BAD_CAST "1.0");
	root = xmlNewDocNode(o->doc, NULL, BAD_CAST "device", NULL);
	xmlDocSetRootElement(o->doc, root);
	xml_set(root, "name", clean_name);
	if (folder)
		xml_set(root, "path", folder + strlen(h->root));
	host_set(root, "driver/name", driver);
	capability = xml_add(root, "capability");
	xml_set(capability, "@type", type);
	g_ptr_array_add(h->out, o);
	if (folder)
		g_hash_table_replace(h->names, g_strdup(folder), g_steal_pointer(&clean_name));
	return capability;
}

/* The nearest folder above that is a device as well. */
static void add_parent(const struct host *h, struct host_object *o)
{
	xmlNode *root = xmlDocGetRootElement(o->doc);
	const char *path = xml_text(root, "path"), *name = NULL;
	g_autofree char *folder = path ? g_strconcat(h->root, path, NULL) : NULL;

	if (!path) {
		object_set_text(OBJECT_NODE_DEVICE, o->doc, "name", "computer");
		return;
	}
	for (char *slash; !name && (slash = strrchr(folder, '/'));) {
		*slash = 0;
		name = g_hash_table_lookup(h->names, folder);
	}
	object_set_text(OBJECT_NODE_DEVICE, o->doc, "parent", name ? name : "computer");
}

/* ---- the machine ---- */

static void add_computer(struct host *h)
{
	static const char *const rows[][2] = {
		{ "product", "product_name" },		{ "hardware/vendor", "sys_vendor" },
		{ "hardware/version", "product_version" }, { "hardware/serial", "product_serial" },
		{ "firmware/vendor", "bios_vendor" },	{ "firmware/version", "bios_version" },
		{ "firmware/release_date", "bios_date" },
	};
	g_autofree char *dmi = g_strconcat(h->root, "/sys/class/dmi/id", NULL), *uuid = host_text(dmi, "product_uuid");
	xmlNode *capability = host_device_new(h, "system", NULL, "computer");

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *text = host_text(dmi, rows[i][1]);

		host_set(capability, rows[i][0], text);
	}
	xml_set(capability, "hardware/uuid", uuid ? uuid : "00000000-0000-0000-0000-000000000000");
	if (!xml_child(capability, "firmware"))
		xml_set(capability, "firmware", "");
}

/* ---- USB ---- */

static void add_usb_device(struct host *h, const char *folder)
{
	g_autofree char *base = g_path_get_basename(folder), *name = g_strconcat("usb_", base, NULL);
	g_autofree char *product = host_text(folder, "idProduct"), *vendor = host_text(folder, "idVendor");
	g_autofree char *product_id = g_strconcat("0x", product, NULL), *vendor_id = g_strconcat("0x", vendor, NULL);
	g_autofree char *product_name = host_text(folder, "product"), *vendor_name = host_text(folder, "manufacturer");
	xmlNode *capability = host_device_new(h, "usb_device", folder, name);

	host_set_number(capability, "bus", host_number(folder, "busnum", 0));
	host_set_number(capability, "device", host_number(folder, "devnum", 0));
	xml_set(capability, "product", product_name ? product_name : "");
	xml_set(capability, "product/@id", product_id);
	xml_set(capability, "vendor", vendor_name ? vendor_name : "");
	xml_set(capability, "vendor/@id", vendor_id);
}

static gint64 hex(const char *folder, const char *file)
{
	g_autofree char *text = host_text(folder, file);

	return text ? g_ascii_strtoll(text, NULL, 16) : 0;
}

static void add_usb_interface(struct host *h, const char *folder)
{
	static const char *const rows[][2] = { { "number", "bInterfaceNumber" },
					       { "class", "bInterfaceClass" },
					       { "subclass", "bInterfaceSubClass" },
					       { "protocol", "bInterfaceProtocol" } };
	g_autofree char *base = g_path_get_basename(folder), *name = g_strconcat("usb_", base, NULL);
	xmlNode *capability = host_device_new(h, "usb", folder, name);

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		host_set_number(capability, rows[i][0], hex(folder, rows[i][1]));
}

static void add_usb(struct host *h)
{
	g_autoptr(GPtrArray) folders = host_folders(h, "/sys/bus/usb/devices");

	for (unsigned i = 0; i < folders->len; i++) {
		const char *folder = folders->pdata[i];
		g_autofree char *vendor = host_text(folder, "idVendor"), *class = host_text(folder, "bInterfaceClass");

		if (vendor)
			add_usb_device(h, folder);
		else if (class)
			add_usb_interface(h, folder);
	}
}

/* ---- SCSI ---- */

static const char *scsi_type(gint64 type)
{
	static const char *const types[] = { [0] = "disk",    [1] = "tape",	 [3] = "processor", [4] = "worm",
					     [5] = "cdrom",   [6] = "scanner",	 [7] = "mod",	    [8] = "changer",
					     [0xc] = "raid",  [0x14] = "zbc",	 [0xd] = "enclosure" };

	return type >= 0 && type < (gint64)G_N_ELEMENTS(types) && types[type] ? types[type] : "unknown";
}

static void add_scsi_device(struct host *h, const char *folder, const char *base)
{
	unsigned host, bus, target, lun;
	g_autofree char *name = g_strconcat("scsi_", base, NULL);
	xmlNode *capability;

	if (sscanf(base, "%u:%u:%u:%u", &host, &bus, &target, &lun) != 4)
		return;
	capability = host_device_new(h, "scsi", folder, name);
	host_set_number(capability, "host", host);
	host_set_number(capability, "bus", bus);
	host_set_number(capability, "target", target);
	host_set_number(capability, "lun", lun);
	xml_set(capability, "type", scsi_type(host_number(folder, "type", -1)));
}

static void add_scsi(struct host *h)
{
	g_autoptr(GPtrArray) folders = host_folders(h, "/sys/bus/scsi/devices");

	for (unsigned i = 0; i < folders->len; i++) {
		const char *folder = folders->pdata[i];
		g_autofree char *base = g_path_get_basename(folder), *name = g_strconcat("scsi_", base, NULL);
		unsigned number;

		if (sscanf(base, "host%u", &number) == 1) {
			xmlNode *capability = host_device_new(h, "scsi_host", folder, name);
			g_autofree char *class = g_build_filename(folder, "scsi_host", base, NULL);

			host_set_number(capability, "host", number);
			host_set_number(capability, "unique_id", host_number(class, "unique_id", -1));
		} else if (g_str_has_prefix(base, "target")) {
			xml_set(host_device_new(h, "scsi_target", folder, name), "target", base);
		} else {
			add_scsi_device(h, folder, base);
		}
	}
}

/* ---- all of them ---- */

GPtrArray *host_devices_below(const char *root)
{
	struct host h = { root, g_ptr_array_new_with_free_func((GDestroyNotify)host_object_free),
			  g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free) };

	add_computer(&h);
	host_add_pci(&h);
	add_usb(&h);
	add_scsi(&h);
	host_add_net(&h);
	host_add_block(&h);
	for (unsigned i = 0; i < h.out->len; i++)
		add_parent(&h, h.out->pdata[i]);
	g_hash_table_unref(h.names);
	return h.out;
}

GPtrArray *host_node_devices(struct hv *hv)
{
	return host_devices_below("");
}

GPtrArray *host_interfaces(struct hv *hv)
{
	return host_interfaces_below("");
}
