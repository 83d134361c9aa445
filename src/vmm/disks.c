/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The drives of --disk: from keys to an open image, the drive around it, and what the machine's device is told. See vmm.h. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "disk.h"
#include "error.h"
#include "filter.h"
#include "format.h"
#include "image.h"
#include "machine.h"
#include "vmm.h"

static const char *text_of(GVariant *keys, const char *name, const char *otherwise)
{
	const char *text = otherwise;

	g_variant_lookup(keys, name, "&s", &text);
	return text;
}

static bool has(GVariant *keys, const char *name)
{
	g_autoptr(GVariant) value = g_variant_lookup_value(keys, name, NULL);

	return value;
}

static bool is_on(GVariant *keys, const char *name)
{
	gboolean on = FALSE;

	g_variant_lookup(keys, name, "b", &on);
	return on;
}

static bool is_cdrom(GVariant *keys)
{
	return strcmp(text_of(keys, "media", "disk"), "cdrom") == 0;
}

static bool is_direct(GVariant *keys)
{
	const char *cache = text_of(keys, "cache", "writeback");

	return strcmp(cache, "none") == 0 || strcmp(cache, "directsync") == 0;
}

/* ---- snapshot=on ---- */

static char *temporary_file(GError **error)
{
	const char *folder = g_getenv("TMPDIR");
	char *path = g_build_filename(folder && *folder ? folder : "/var/tmp", "kv-vmm-XXXXXX", NULL);
	int fd = g_mkstemp(path);

	if (fd >= 0) {
		close(fd);
		return path;
	}
	kv_fail_errno(error, errno, "snapshot=on: cannot make '%s'", path);
	g_free(path);
	return NULL;
}

static GVariant *overlay_keys(const char *path, const char *below, const char *format)
{
	g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);

	g_variant_dict_insert(&dict, "file", "s", path);
	g_variant_dict_insert(&dict, "format", "s", "qcow2");
	g_variant_dict_insert(&dict, "backing", "s", below);
	g_variant_dict_insert(&dict, "backing-format", "s", format);
	return g_variant_ref_sink(g_variant_dict_end(&dict));
}

static bool has_scheme(const char *file)
{
	return file[strcspn(file, ":/")] == ':';
}

/* What the guest writes goes to a file without a name, which is gone with this process. */
static struct image *open_overlay(GVariant *keys, GError **error)
{
	const char *file = text_of(keys, "file", "");
	g_autofree char *below = has_scheme(file) ? g_strdup(file) : g_canonicalize_filename(file, NULL);
	g_autofree char *path = temporary_file(error);
	g_autoptr(GVariant) how = NULL, create = NULL;
	g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
	struct image *img;

	if (!path)
		return NULL;
	create = overlay_keys(path, below, text_of(keys, "format", "raw"));
	/* The image says already what it stands on. */
	g_variant_dict_insert(&dict, "file", "s", path);
	g_variant_dict_insert(&dict, "format", "s", "qcow2");
	g_variant_dict_insert(&dict, "aio", "s", text_of(keys, "aio", "auto"));
	how = g_variant_ref_sink(g_variant_dict_end(&dict));
	img = image_create(create, error) ? image_open(how, error) : NULL;
	unlink(path);
	return img;
}

/* ---- images ---- */

static GVariant *image_keys(GVariant *keys)
{
	g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(keys);

	g_variant_dict_remove(&dict, "snapshot");
	g_variant_dict_insert(&dict, "direct", "b", is_direct(keys));
	if (is_cdrom(keys))
		g_variant_dict_insert(&dict, "readonly", "b", TRUE);
	return g_variant_ref_sink(g_variant_dict_end(&dict));
}

/* A guest that writes a raw image could make it look like any format, and so name files of the host to be read. */
static struct image *open_image(GVariant *keys, GError **error)
{
	g_autoptr(GVariant) mine = image_keys(keys);
	bool guess = strcmp(text_of(keys, "format", "raw"), "auto") == 0, overlay = is_on(keys, "snapshot") && !is_cdrom(keys);
	struct image *img;

	if (guess && (overlay || !is_on(mine, "readonly"))) {
		kv_fail(error, KV_ERROR_USAGE,
			"disk '%s': format=auto is for disks that the guest does not write; give the format that it has, or "
			"readonly=on",
			text_of(keys, "file", ""));
		return NULL;
	}
	img = overlay && !is_on(keys, "readonly") ? open_overlay(keys, error) : image_open(mine, error);
	if (img && !img->size) {
		kv_fail(error, KV_ERROR_INVALID, "disk '%s' is empty; give it a size, as with truncate -s 8G",
			text_of(keys, "file", ""));
		g_clear_pointer(&img, image_close);
	}
	return img;
}

/* ---- devices ---- */

static bool parse_wwn(GVariant *keys, GVariantDict *dict, GError **error)
{
	const char *text = text_of(keys, "wwn", NULL);
	guint64 wwn = 0;

	if (!text)
		return true;
	if (g_str_has_prefix(text, "0x") && g_ascii_string_to_unsigned(text + 2, 16, 1, UINT64_MAX, &wwn, NULL)) {
		g_variant_dict_insert(dict, "wwn", "t", wwn);
		return true;
	}
	return kv_fail(error, KV_ERROR_USAGE, "--disk: wwn: '%s' is not valid; give a number as 0x5000c50015ea71ac", text);
}

_Static_assert(MACHINE_SCSI_MAX == 16, "as options.c has it");
/* Where a SCSI disk is, beside its controller. */
static const char *const addresses[] = { "channel", "scsi-id", "lun" };

static bool device_options(GVariant *keys, struct machine_disk *ret, GError **error)
{
	g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
	const char *serial = text_of(keys, "serial", NULL);
	guint64 queues = 0, n;

	if (serial)
		g_variant_dict_insert(&dict, "serial", "s", serial);
	if (g_variant_lookup(keys, "queues", "t", &queues))
		g_variant_dict_insert(&dict, "queues", "u", (guint32)queues);
	for (unsigned i = 0; i < G_N_ELEMENTS(addresses); i++)
		if (g_variant_lookup(keys, addresses[i], "t", &n))
			g_variant_dict_insert(&dict, addresses[i], "t", n);
	if (!parse_wwn(keys, &dict, error))
		return false;
	ret->options = g_variant_ref_sink(g_variant_dict_end(&dict));
	return true;
}

static const struct {
	const char *name;
	bool cdroms, queues, wwns; /* has them */
} buses[] = {
	[MACHINE_BUS_VIRTIO] = {.name = "virtio", .queues = true},
	[MACHINE_BUS_SCSI] = {.name = "scsi", .cdroms = true, .wwns = true},
	[MACHINE_BUS_SATA] = {.name = "sata", .cdroms = true, .wwns = true},
	[MACHINE_BUS_NVME] = {.name = "nvme", .queues = true},
	[MACHINE_BUS_USB] = {.name = "usb", .cdroms = true, .wwns = true},
};

/* The word is one of the table's: options.c has seen to that. */
static enum machine_bus bus_of(GVariant *keys, const char *otherwise)
{
	const char *name = text_of(keys, "bus", otherwise);
	unsigned i = G_N_ELEMENTS(buses);

	while (i-- > 1 && strcmp(buses[i].name, name) != 0)
		;
	return i;
}

/* Keys that do not go together. */
static bool check_keys(GVariant *keys, const struct machine_disk *d, GError **error)
{
	const char *file = text_of(keys, "file", NULL);

	if (!file && !d->cdrom)
		return kv_fail(error, KV_ERROR_USAGE, "--disk: file is missing; give file=PATH");
	if (d->cdrom && !buses[d->bus].cdroms)
		return kv_fail(error, KV_ERROR_USAGE, "--disk: media=cdrom is for bus=scsi, sata and usb");
	if (is_on(keys, "copy-on-read") && (d->cdrom || is_on(keys, "readonly")))
		return kv_fail(error, KV_ERROR_USAGE, "--disk: copy-on-read writes to the image; leave out %s",
			       d->cdrom ? "media=cdrom" : "readonly");
	if (!buses[d->bus].queues && has(keys, "queues"))
		return kv_fail(error, KV_ERROR_USAGE, "--disk: queues is for bus=virtio and bus=nvme");
	if (d->bus != MACHINE_BUS_VIRTIO && text_of(keys, "iothread", NULL))
		return kv_fail(error, KV_ERROR_USAGE, "--disk: iothread is for bus=virtio");
	for (unsigned i = 0; d->bus != MACHINE_BUS_SCSI && i < G_N_ELEMENTS(addresses); i++)
		if (has(keys, addresses[i]))
			return kv_fail(error, KV_ERROR_USAGE, "--disk: %s is for bus=scsi", addresses[i]);
	if (d->bus != MACHINE_BUS_SCSI && has(keys, "controller"))
		return kv_fail(error, KV_ERROR_USAGE, "--disk: controller is for bus=scsi");
	if (!buses[d->bus].wwns && text_of(keys, "wwn", NULL))
		return kv_fail(error, KV_ERROR_USAGE, "--disk: wwn is for bus=scsi, sata and usb");
	return true;
}

static bool find_iothread(struct vmm *vmm, GVariant *keys, struct machine_disk *d, GError **error)
{
	const char *id = text_of(keys, "iothread", NULL);
	struct vmm_object *o = id ? vmm_need_object(vmm, &object_iothread, id, "--disk: iothread", error) : NULL;

	d->iothread = o ? vmm_iothread(o) : NULL;
	return o || !id;
}

/* ---- images that another process may be writing to ---- */

/* Without locks, to know what the disk is; the guest does not run. */
static struct image *open_inactive(GVariant *keys, GError **error)
{
	g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(keys);
	g_autoptr(GVariant) mine = NULL;

	g_variant_dict_remove(&dict, "snapshot");
	g_variant_dict_insert(&dict, "readonly", "b", TRUE);
	g_variant_dict_insert(&dict, "force-share", "b", TRUE);
	mine = g_variant_ref_sink(g_variant_dict_end(&dict));
	return image_open(mine, error);
}

/* The device is to be made as if the guest could write already. */
static struct image *open_ahead(GVariant *keys, GError **error)
{
	struct image *img = open_inactive(keys, error);
	const char *format = text_of(keys, "format", "raw");

	if (img)
		img->readonly = false;
	if (img && (strcmp(format, "raw") == 0 || strcmp(format, "qcow2") == 0))
		img->discard = true;
	return img;
}

/* What the drive's image is opened with; NULL: it is not one that can be. */
static GVariant *reopen_keys(struct vmm *vmm, unsigned index, const struct image *img)
{
	GVariant *keys = vmm->given[index];
	g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
	struct block_node *node = graph_find_image(vmm->graph, img);

	if (!keys || img->readonly || is_on(keys, "snapshot") || img->storage || (node && node->added))
		return NULL;
	if (strcmp(text_of(keys, "file", ""), img->path) == 0)
		return g_variant_ref(keys);
	g_variant_dict_insert(&dict, "file", "s", img->path);
	g_variant_dict_insert(&dict, "format", "s", img->format->name);
	g_variant_dict_insert(&dict, "direct", "b", img->direct);
	return g_variant_ref_sink(g_variant_dict_end(&dict));
}

/* Takes the new image over. */
static bool exchange(struct vmm *vmm, unsigned index, struct image *img, GError **error)
{
	struct image *old = image_base(vmm->drives[index].user.img);
	bool ok = graph_add(vmm->graph, NULL, img, error);

	if (ok)
		graph_replace(vmm->graph, old, img);
	image_close(img);
	return ok;
}

bool vmm_release_disks(struct vmm *vmm, GError **error)
{
	for (unsigned i = 0; i < vmm->n_disks; i++) {
		struct image *img = image_base(vmm->drives[i].user.img), *other;
		g_autoptr(GVariant) keys = img ? reopen_keys(vmm, i, img) : NULL;

		if (!keys)
			continue;
		other = open_inactive(keys, error);
		if (!other || !exchange(vmm, i, other, error))
			return false;
		vmm->again[i] = g_steal_pointer(&keys);
	}
	return true;
}

bool vmm_take_disks(struct vmm *vmm, GError **error)
{
	for (unsigned i = 0; i < vmm->n_disks; i++) {
		struct image *img;

		if (!vmm->again[i])
			continue;
		img = open_image(vmm->again[i], error);
		if (!img)
			return false;
		image_base(vmm->drives[i].user.img)->readonly = true; /* as it is, which its end has to know */
		if (!exchange(vmm, i, img, error))
			return false;
		g_clear_pointer(&vmm->again[i], g_variant_unref);
	}
	return true;
}

static struct image *open_first(struct vmm *vmm, unsigned index, GVariant *keys, GError **error)
{
	if (!vmm_waits_for_machine(vmm) || is_on(keys, "readonly") || is_cdrom(keys))
		return open_image(keys, error);
	vmm->again[index] = g_variant_ref(keys);
	return open_ahead(keys, error);
}

/* The filter is below the drive, and nobody's: it is not shown (qmp-block-query.c), and snapshots come below it. */
static struct image *open_drive(struct vmm *vmm, unsigned index, GVariant *keys, GError **error)
{
	struct image *img = open_first(vmm, index, keys, error), *filter;

	if (!img || !is_on(keys, "copy-on-read"))
		return img;
	filter = image_copy_on_read_new(img, false);
	image_close(img);
	return filter;
}

static bool open_disk(struct vmm *vmm, unsigned index, GVariant *keys, const char *cd_bus, struct machine_disk *d, GError **error)
{
	g_autofree char *id = g_strdup_printf("disk%u", index);
	struct image *img = NULL;
	guint64 controller;

	d->cdrom = is_cdrom(keys);
	d->bus = bus_of(keys, d->cdrom ? cd_bus : "virtio");
	d->boot = vmm_boot_index(keys);
	if (g_variant_lookup(keys, "controller", "t", &controller))
		d->controller = (unsigned)controller;
	if (!check_keys(keys, d, error) || !device_options(keys, d, error))
		return false;
	if (text_of(keys, "file", NULL)) {
		img = open_drive(vmm, index, keys, error);
		if (!img)
			return false;
	}
	d->disk = disk_new(text_of(keys, "id", id), img, keys, error);
	return d->disk && find_iothread(vmm, keys, d, error);
}

/* --cdrom FILE. */
static GVariant *cdrom_keys(const char *file)
{
	g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);

	g_variant_dict_insert(&dict, "file", "s", file);
	g_variant_dict_insert(&dict, "media", "s", "cdrom");
	g_variant_dict_insert(&dict, "id", "s", "cdrom");
	return g_variant_ref_sink(g_variant_dict_end(&dict));
}

bool vmm_open_disks(struct vmm *vmm, GError **error)
{
	g_autoptr(GVariant) list = options_lookup_value(vmm->options, "disk");
	const char *cdrom = NULL;
	/* What a PC's firmware and installers look for. */
	const char *cd_bus = vmm_is_pc(vmm) ? "sata" : "scsi";
	unsigned listed = list ? g_variant_n_children(list) : 0;
	unsigned n = listed + options_lookup(vmm->options, "cdrom", "&s", &cdrom);

	vmm->n_listed = n;
	vmm->disks = g_new0(struct machine_disk, n + VMM_PLUGGED_MAX);
	vmm->again = g_new0(GVariant *, n + VMM_PLUGGED_MAX);
	vmm->given = g_new0(GVariant *, n + VMM_PLUGGED_MAX);
	for (; vmm->n_disks < n; vmm->n_disks++) {
		g_autoptr(GVariant) keys =
			vmm->n_disks < listed ? g_variant_get_child_value(list, vmm->n_disks) : cdrom_keys(cdrom);
		struct machine_disk *d = &vmm->disks[vmm->n_disks];

		if (open_disk(vmm, vmm->n_disks, keys, cd_bus, d, error)) {
			if (vmm->n_disks < listed)
				vmm->given[vmm->n_disks] = g_variant_ref(keys);
			continue;
		}
		g_clear_pointer(&d->disk, disk_free);
		g_clear_pointer(&d->options, g_variant_unref);
		g_clear_pointer(&vmm->again[vmm->n_disks], g_variant_unref);
		return false;
	}
	return true;
}

void vmm_close_disks(struct vmm *vmm)
{
	for (unsigned i = 0; i < vmm->n_disks; i++) {
		if (vmm->again[i])
			image_base(disk_image(vmm->disks[i].disk))->readonly = true;
		disk_free(vmm->disks[i].disk);
		g_clear_pointer(&vmm->disks[i].options, g_variant_unref);
		g_clear_pointer(&vmm->again[i], g_variant_unref);
		g_clear_pointer(&vmm->given[i], g_variant_unref);
	}
	g_free(vmm->disks);
	g_free(vmm->again);
	g_free(vmm->given);
}
