/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks and drives of the host; not what is made of other storage (loop, RAM, device mapper). See host-devices.h. */
#include <string.h>

#include "host-devices.h"
#include "model-xml.h"

enum { SECTOR = 512 };

/* By the kernel's names, where a device does not say it itself. */
static const struct {
	const char *prefix, *type;
} kinds[] = { { "vd", "disk" }, { "nvme", "disk" }, { "xvd", "disk" }, { "pmem", "disk" }, { "dasd", "dasd" },
	      { "mmcblk", "sd" }, { "sr", "cdrom" }, { "fd", "floppy" },  { "sd", "disk" },  { "hd", "disk" } };

/* NULL: none that is listed. */
static char *drive_type(const struct host *h, const char *base, const char *number)
{
	g_autofree char *device = g_strconcat("b", number, NULL), *type = host_udev(h, device, "ID_TYPE");
	g_autofree char *floppy = host_udev(h, device, "ID_DRIVE_FLOPPY");

	if (type && !strcmp(type, "cd"))
		return g_strdup("cdrom");
	if (floppy && !strcmp(floppy, "1"))
		return g_strdup("floppy");
	if (type && (!strcmp(type, "disk") || !strcmp(type, "optical")))
		return g_steal_pointer(&type);
	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++)
		if (g_str_has_prefix(base, kinds[i].prefix))
			return g_strdup(kinds[i].type);
	return NULL;
}

static void add_sizes(xmlNode *capability, const char *folder)
{
	gint64 bytes = host_number(folder, "size", 0) * SECTOR, block = host_number(folder, "queue/logical_block_size", SECTOR);
	xmlNode *media;

	if (host_number(folder, "removable", 0) == 1) {
		media = xml_add(capability, "capability");
		xml_set(media, "@type", "removable");
		host_set_number(media, "media_available", bytes > 0);
		host_set_number(media, "media_size", bytes);
		return;
	}
	host_set_number(capability, "size", bytes);
	host_set_number(capability, "logical_block_size", block);
	host_set_number(capability, "num_blocks", block > 0 ? bytes / block : 0);
}

static void add_disk(struct host *h, const char *folder)
{
	g_autofree char *base = g_path_get_basename(folder), *number = host_text(folder, "dev"), *device = NULL, *name = NULL;
	g_autofree char *type = number ? drive_type(h, base, number) : NULL, *serial = NULL, *bus = NULL;
	g_autofree char *node = g_strconcat("/dev/", base, NULL), *model = NULL, *vendor = NULL, *short_serial = NULL;
	xmlNode *capability, *devnode, *root;

	if (!type)
		return;
	device = g_strconcat("b", number, NULL);
	serial = host_udev(h, device, "ID_SERIAL");
	short_serial = host_udev(h, device, "ID_SERIAL_SHORT");
	bus = host_udev(h, device, "ID_BUS");
	model = host_text(folder, "device/model");
	vendor = host_text(folder, "device/vendor");
	name = serial ? g_strconcat("block_", base, "_", serial, NULL) : g_strconcat("block_", base, NULL);
	capability = host_device_new(h, "storage", folder, name);
	root = capability->parent;
	devnode = xml_add(root, "devnode");
	xml_set(devnode, "@type", "dev");
	xml_set(devnode, "", node);
	xml_set(capability, "block", node);
	host_set(capability, "bus", bus);
	xml_set(capability, "drive_type", type);
	host_set(capability, "model", model);
	host_set(capability, "vendor", vendor);
	host_set(capability, "serial", short_serial ? short_serial : serial);
	add_sizes(capability, folder);
}

void host_add_block(struct host *h)
{
	g_autoptr(GPtrArray) folders = host_folders(h, "/sys/block");

	for (unsigned i = 0; i < folders->len; i++)
		add_disk(h, folders->pdata[i]);
}
