/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <disk>: --disk. What is behind a drive that is plugged in is blockdev-add's: ../hotplug.c. See parts.h. */
#include <string.h>

#include "parts.h"

struct word {
	const char *theirs, *ours; /* ours NULL: what it is anyway */
};

static const struct word caches[] = {{"default", NULL}, {}};
static const struct word engines[] = {{"native", NULL}, {}};
static const struct word write_errors[] = {{"enospace", "enospc"}, {}};

static const char *word(const struct word *table, const char *text)
{
	for (unsigned i = 0; text && table[i].theirs; i++)
		if (!strcmp(table[i].theirs, text))
			return table[i].ours;
	return text;
}

/* nbd://HOST:PORT/NAME, nbd+unix:///NAME?socket=PATH */
static char *nbd_uri(const xmlNode *source)
{
	const char *name = xml_text(source, "@name"), *host = xml_text(source, "host/@name");
	g_autofree char *escaped = g_uri_escape_string(name ? name : "", "/", TRUE);
	const char *port = xml_text(source, "host/@port");
	g_autofree char *socket = NULL;
	bool six;

	if (xml_is(source, "host/@transport", "unix")) {
		socket = g_uri_escape_string(xml_text(source, "host/@socket") ?: "", "/", TRUE);
		return g_strdup_printf("nbd+unix:///%s?socket=%s", escaped, socket);
	}
	six = host && strchr(host, ':');
	return g_strdup_printf("nbd://%s%s%s:%s/%s", six ? "[" : "", host ? host : "localhost", six ? "]" : "",
			       port ? port : "10809", escaped);
}

bool command_disk_file(const xmlNode *disk, char **ret, GError **error)
{
	const xmlNode *source = xml_child(disk, "source");
	const char *type = xml_text(disk, "@type"), *path = xml_text(source, "@file");

	*ret = NULL;
	if (!type || !strcmp(type, "file") || !strcmp(type, "block")) {
		*ret = g_strdup(path ? path : source ? xml_text(source, "@dev") : NULL);
		if (*ret && !**ret)
			g_clear_pointer(ret, g_free);
	} else if (!strcmp(type, "network") && source && xml_is(source, "@protocol", "nbd")) {
		*ret = nbd_uri(source);
	} else {
		return refuse(error, "disk '%s': type '%s' is not supported", xml_text(disk, "target/@dev") ?: "", type);
	}
	return *ret || xml_is(disk, "@device", "cdrom") ||
	       refuse(error, "disk '%s' has no source", xml_text(disk, "target/@dev") ?: "");
}

bool command_disk_copies(const xmlNode *disk, bool *ret, GError **error)
{
	const char *name = xml_text(disk, "target/@dev") ?: "";

	*ret = xml_is(disk, "driver/@copy_on_read", "on");
	if (*ret && xml_is(disk, "@device", "cdrom"))
		return refuse(error, "copy_on_read is not supported with removable disk '%s'", name);
	return !*ret || !xml_child(disk, "readonly") ||
	       refuse(error, "copy_on_read is not compatible with read-only disk '%s'", name);
}

void command_disk_errors(const xmlNode *disk, const char **ret_write, const char **ret_read)
{
	const char *write = xml_text(disk, "driver/@error_policy"), *read = xml_text(disk, "driver/@rerror_policy");

	*ret_write = word(write_errors, write);
	*ret_read = read ? read : write && strcmp(write, "enospace") ? write : NULL;
}

static void put_errors(keys *k, const xmlNode *disk)
{
	const char *write, *read;

	command_disk_errors(disk, &write, &read);
	put(k, "werror", write);
	put(k, "rerror", read);
}

static void put_limits(keys *k, const xmlNode *disk)
{
	static const char *const names[][2] = {
		{"total_bytes_sec", "bps"}, {"read_bytes_sec", "bps-read"}, {"write_bytes_sec", "bps-write"},
		{"total_iops_sec", "iops"}, {"read_iops_sec", "iops-read"}, {"write_iops_sec", "iops-write"},
	};
	static const char *const endings[][2] = {{"", ""}, {"_max", "-max"}, {"_max_length", "-max-length"}};
	const xmlNode *tune = xml_child(disk, "iotune");

	for (unsigned i = 0; tune && i < G_N_ELEMENTS(names); i++) {
		for (unsigned e = 0; e < G_N_ELEMENTS(endings); e++) {
			g_autofree char *theirs = g_strconcat(names[i][0], endings[e][0], NULL);
			g_autofree char *ours = g_strconcat(names[i][1], endings[e][1], NULL);
			guint64 n;

			if (xml_number(tune, theirs, &n) && n)
				put_number(k, ours, n);
		}
	}
	if (tune && !xml_is(tune, "size_iops_sec", "0"))
		put_from(k, "iops-size", tune, "size_iops_sec");
	if (tune)
		put_from(k, "throttle-group", tune, "group_name");
}

static void put_identity(keys *k, const xmlNode *disk)
{
	const char *wwn = xml_text(disk, "wwn");
	g_autofree char *hex = wwn ? g_strconcat(g_str_has_prefix(wwn, "0x") ? "" : "0x", wwn, NULL) : NULL;

	put_from(k, "serial", disk, "serial");
	put(k, "wwn", hex);
	put_from(k, "bootindex", disk, "boot/@order");
	put_from(k, "queues", disk, "driver/@queues");
}

/* A SCSI disk's controller, target and LUN. */
static bool put_drive(keys *k, const xmlNode *disk, GError **error)
{
	const char *bus = xml_text(disk, "target/@bus");

	if (!bus || strcmp(bus, "scsi") || !xml_is(disk, "address/@type", "drive"))
		return true;
	if (xml_text(disk, "address/@bus") && !xml_is(disk, "address/@bus", "0"))
		return refuse(error, "disk '%s': a SCSI controller has bus 0 alone", xml_text(disk, "target/@dev") ?: "");
	if (!xml_is(disk, "address/@controller", "0"))
		put_from(k, "controller", disk, "address/@controller");
	put_from(k, "scsi-id", disk, "address/@target");
	put_from(k, "lun", disk, "address/@unit");
	return true;
}

/* As libvirt has it: without discards nothing is given back. */
static const char *zeroes_of(const xmlNode *disk)
{
	const char *zeroes = xml_text(disk, "driver/@detect_zeroes");

	return zeroes && !strcmp(zeroes, "unmap") && !xml_is(disk, "driver/@discard", "unmap") ? "on" : zeroes;
}

bool command_disk(struct command *c, const xmlNode *disk, GError **error)
{
	const char *bus = xml_text(disk, "target/@bus"), *name = xml_text(disk, "target/@dev");
	bool cdrom = xml_is(disk, "@device", "cdrom");
	g_autofree char *file = NULL;
	bool copies;
	keys *k;

	if (cdrom && bus && strcmp(bus, "sata") && strcmp(bus, "scsi") && strcmp(bus, "usb"))
		return refuse(error, "disk '%s': a CD-ROM drive is of bus sata, scsi or usb, not %s", name ?: "", bus);
	if (xml_child(disk, "readonly") && !cdrom && bus && !strcmp(bus, "sata"))
		return refuse(error, "disk '%s': a SATA disk cannot be read-only", name ?: "");
	if (!command_disk_file(disk, &file, error))
		return false;
	if (!command_disk_copies(disk, &copies, error))
		return false;
	k = keys_new(NULL);
	put(k, "file", file);
	put(k, "format", !file ? NULL : xml_text(disk, "driver/@type") ?: "raw");
	put(k, "bus", bus ? bus : "virtio");
	put(k, "media", cdrom ? "cdrom" : NULL);
	put(k, "id", command_id(disk));
	put_address(c, k, disk);
	put(k, "readonly", xml_child(disk, "readonly") && !cdrom ? "on" : NULL);
	put(k, "cache", word(caches, xml_text(disk, "driver/@cache")));
	put(k, "aio", word(engines, xml_text(disk, "driver/@io")));
	put_from(k, "discard", disk, "driver/@discard");
	put(k, "detect-zeroes", zeroes_of(disk));
	put(k, "copy-on-read", copies ? "on" : NULL);
	put(k, "snapshot", xml_child(disk, "transient") ? "on" : NULL);
	put_errors(k, disk);
	put_identity(k, disk);
	put_limits(k, disk);
	if (!put_drive(k, disk, error)) {
		g_free(keys_end(k));
		return false;
	}
	add(c, "--disk", keys_end(k));
	return true;
}
