/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disks' defaults, what of them goes together, and their order (complete.h). */
#include <string.h>

#include "complete.h"
#include "domain-def.h"
#include "message.h"
#include "model-xml.h"

static const struct {
	const char *prefix, *bus;
} disk_names[] = { { "vd", "virtio" }, { "sd", "scsi" }, { "hd", "ide" }, { "fd", "fdc" }, { "xvd", "xen" }, { "ubd", "uml" } };

static int name_number(const char *letters)
{
	int n = 0;

	if (!*letters)
		return -1;
	for (const char *p = letters; *p; p++) {
		if (*p < 'a' || *p > 'z' || n > 10000)
			return -1;
		n = n * 26 + *p - 'a' + 1;
	}
	return n - 1;
}

int disk_number(const char *target)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(disk_names); i++)
		if (g_str_has_prefix(target, disk_names[i].prefix))
			return name_number(target + strlen(disk_names[i].prefix));
	return -1;
}

static const char *guess_bus(const char *target)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(disk_names); i++)
		if (g_str_has_prefix(target, disk_names[i].prefix))
			return disk_names[i].bus;
	return "virtio";
}

static bool check_wwn(const xmlNode *disk, GError **error)
{
	const char *wwn = xml_text(disk, "wwn");

	if (!wwn || (strlen(wwn) == 16 && strspn(wwn, "0123456789abcdefABCDEF") == 16))
		return true;
	return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "Malformed wwn: %s", wwn);
}

static bool check_iotune(xmlNode *disk, GError **error)
{
	static const char *const units[] = { "bytes_sec", "iops_sec", "bytes_sec_max", "iops_sec_max" };
	const xmlNode *iotune = xml_child(disk, "iotune");

	if (iotune && !iotune->children)
		xml_set(disk, "iotune", NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(units); i++) {
		g_autofree char *total = g_strdup_printf("iotune/total_%s", units[i]);
		g_autofree char *reads = g_strdup_printf("iotune/read_%s", units[i]);
		g_autofree char *writes = g_strdup_printf("iotune/write_%s", units[i]);

		if (number_or(disk, total, 0) && (number_or(disk, reads, 0) || number_or(disk, writes, 0)))
			return rpc_fail(error, VIR_ERR_XML_ERROR, "total and read/write %s cannot be set at the same time",
					units[i]);
	}
	return true;
}

bool complete_disk(struct completion *c, xmlNode *disk, GError **error)
{
	static const char *const defaults[] = { "driver/@cache", "driver/@error_policy", "driver/@rerror_policy", "driver/@io",
						"driver/@discard", "@snapshot" };
	const char *target = xml_text(disk, "target/@dev"), *bus;
	bool cdrom;

	if (!target)
		return rpc_fail(error, VIR_ERR_XML_ERROR, "missing target information for device");
	xml_default(disk, "@type", "file");
	xml_default(disk, "@device", "disk");
	for (unsigned i = 0; i < G_N_ELEMENTS(defaults); i++)
		if (xml_is(disk, defaults[i], "default"))
			xml_set(disk, defaults[i], NULL);
	xml_default(disk, "target/@bus", guess_bus(target));
	bus = xml_text(disk, "target/@bus");
	cdrom = xml_is(disk, "@device", "cdrom");
	if (cdrom || xml_is(disk, "@device", "floppy")) {
		if (cdrom)
			xml_set(disk, "readonly", "");
	} else if (!xml_child(disk, "source")) {
		return rpc_fail(error, VIR_ERR_XML_ERROR, "missing source information for device %s", target);
	}
	if (disk_number(target) < 0 && g_ascii_isdigit(target[strlen(target) - 1]))
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
				"invalid disk target '%s', partitions can't appear in disk targets", target);
	if (disk_number(target) < 0 && !xml_child(disk, "address"))
		return rpc_fail(error, VIR_ERR_XML_ERROR, "Unknown disk name '%s' and no address specified", target);
	if (c->test)
		return true;
	if (!strcmp(bus, "ide") || !strcmp(bus, "fdc") || !strcmp(bus, "xen") || !strcmp(bus, "uml"))
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
				"disk %s: bus '%s' is not supported; there are virtio, scsi, sata and usb", target, bus);
	if (cdrom && strcmp(bus, "sata") && strcmp(bus, "scsi"))
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
				"disk %s: a CD-ROM drive of bus '%s' is not supported; there are sata and scsi", target, bus);
	if (xml_is(disk, "@type", "network"))
		for (xmlNode *h = xml_child(disk, "source/host"); h; h = xml_next(h))
			if (xml_text(h, "@name") && !xml_text(h, "@port"))
				xml_set(h, "@port", "10809");
	if (!check_wwn(disk, error) || !check_iotune(disk, error))
		return false;
	if (xml_child(disk, "wwn") && strcmp(bus, "sata") && strcmp(bus, "scsi"))
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "Only ide and scsi disk support wwn");
	xml_default(disk, "driver/@name", "qemu");
	xml_default(disk, "driver/@type", "raw");
	return true;
}

/* ---- all of them ---- */

bool check_disk_targets(struct completion *c, GError **error)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

	for (xmlNode *d = first_device(c, "disk"); d; d = xml_next(d)) {
		const char *target = xml_text(d, "target/@dev");

		if (!g_hash_table_add(seen, (char *)target))
			return rpc_fail(error, VIR_ERR_XML_ERROR, "target '%s' duplicated for disk sources", target);
	}
	return true;
}

struct disk_place {
	xmlNode *disk;
	unsigned bus, number; /* which bus came first; the target's number */
};

static int compare_disks(const void *a, const void *b)
{
	const struct disk_place *x = a, *y = b;

	if (x->bus != y->bus)
		return x->bus < y->bus ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* By bus, as buses come, and then by name. */
void sort_disks(struct completion *c)
{
	g_autoptr(GArray) places = g_array_new(FALSE, FALSE, sizeof(struct disk_place));
	g_autoptr(GHashTable) buses = g_hash_table_new(g_str_hash, g_str_equal);
	xmlNode *next;

	for (xmlNode *d = first_device(c, "disk"); d; d = next) {
		char *bus = (char *)xml_text(d, "target/@bus");
		struct disk_place p = { d, 0, (unsigned)disk_number(xml_text(d, "target/@dev")) };
		void *seen;

		next = xml_next(d);
		if (!g_hash_table_lookup_extended(buses, bus, NULL, &seen)) {
			seen = GUINT_TO_POINTER(g_hash_table_size(buses));
			g_hash_table_insert(buses, bus, seen);
		}
		p.bus = GPOINTER_TO_UINT(seen);
		g_array_append_val(places, p);
	}
	g_array_sort(places, compare_disks);
	for (unsigned i = 0; i < places->len; i++) {
		xmlNode *d = g_array_index(places, struct disk_place, i).disk;

		xmlUnlinkNode(d);
		xmlAddChild(c->devices, d);
	}
}
