/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The SATA disk as a device (ata.h): made, reset, saved; its commands are ata.c's. Attached to an AHCI controller. */
#include <string.h>

#include "ata.h"
#include "boot-order.h"
#include "classes.h"
#include "error.h"
#include "pci.h"

enum {
	UDMA = 5, /* the mode that firmware would set */
};

void sata_disk_reset(struct sata_disk *d)
{
	d->write_cache = disk_is_writeback(d->disk);
	d->look_ahead = true;
	d->smart = true;
	d->multiple = 0;
	d->udma = UDMA;
}

static void on_kept(struct disk_req *req, bool kept)
{
	ahci_kept((struct ata_cmd *)req, kept);
}

static const struct disk_client client = {.kept = on_kept};

static bool parse(struct sata_disk *d, GVariant *options, GError **error)
{
	g_autofree char *otherwise = g_strndup(d->dev.id, ATA_SERIAL);
	const char *serial = otherwise;

	if (options) {
		g_variant_lookup(options, "serial", "&s", &serial);
		g_variant_lookup(options, "wwn", "t", &d->wwn);
	}
	if (strlen(serial) > ATA_SERIAL)
		return kv_fail(error, KV_ERROR_USAGE, "%s: serial '%s' is longer than %d characters", d->dev.id, serial,
			       ATA_SERIAL);
	g_strlcpy(d->serial, serial, sizeof(d->serial));
	return true;
}

static bool create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct sata_disk *d = (struct sata_disk *)dev;

	d->disk = backend->disk;
	d->controller = backend->controller;
	if (!d->disk || disk_is_empty(d->disk))
		return kv_fail(error, KV_ERROR_USAGE, "%s: a disk needs an image", dev->id);
	if (disk_is_readonly(d->disk))
		return kv_fail(error, KV_ERROR_USAGE, "%s: a SATA disk cannot be read-only; use another bus, or snapshot=on",
			       dev->id);
	if (!parse(d, options, error))
		return false;
	d->io = disk_queue_new(d->disk, dev->core->context, ATA_QUEUE_DEPTH, error);
	if (!d->io)
		return false;
	if (!ahci_attach_disk(d->controller, d, error)) {
		disk_queue_free(d->io);
		return false;
	}
	disk_set_client(d->disk, &client, d);
	return true;
}

static void reset(struct device *dev)
{
	struct sata_disk *d = (struct sata_disk *)dev;

	sata_disk_reset(d);
	d->ncq_error = (struct ata_ncq_error){0};
}

static void destroy(struct device *dev)
{
	struct sata_disk *d = (struct sata_disk *)dev;

	ahci_detach(d->controller, d->port);
	disk_set_client(d->disk, NULL, NULL);
	disk_queue_free(d->io);
}

static void resume(struct device *dev)
{
	disk_resume(((struct sata_disk *)dev)->disk);
}

static bool can_save(struct device *dev, GError **error)
{
	if (!disk_has_kept(((struct sata_disk *)dev)->disk))
		return true;
	return kv_fail(error, KV_ERROR_INVALID,
		       "%s: requests that failed wait to be done again, which a saved state cannot have; let the machine go on",
		       dev->id);
}

static char *stats(struct device *dev)
{
	const struct sata_disk *d = (const struct sata_disk *)dev;

	return g_strdup_printf("%s.reads %" G_GUINT64_FORMAT "\n%s.writes %" G_GUINT64_FORMAT "\n", dev->id, d->requests[0],
			       dev->id, d->requests[1]);
}

static bool after_load(void *opaque, GError **error)
{
	const struct sata_disk *d = opaque;

	if (d->udma > 6 || d->multiple > 16)
		return kv_fail(error, KV_ERROR_INVALID, "%s: the saved settings of the disk are impossible", d->dev.id);
	return true;
}

static const struct state_field ncq_error_fields[] = {
	STATE_INT(struct ata_ncq_error, valid, STATE_BOOL), STATE_INT(struct ata_ncq_error, slot, STATE_U8),
	STATE_INT(struct ata_ncq_error, status, STATE_U8),  STATE_INT(struct ata_ncq_error, error, STATE_U8),
	STATE_INT(struct ata_ncq_error, device, STATE_U8),  STATE_INT(struct ata_ncq_error, count, STATE_U16),
	STATE_INT(struct ata_ncq_error, lba, STATE_U64),    STATE_END,
};

static const struct state_field fields[] = {
	STATE_INT(struct sata_disk, write_cache, STATE_BOOL),
	STATE_INT(struct sata_disk, look_ahead, STATE_BOOL),
	STATE_INT(struct sata_disk, smart, STATE_BOOL),
	STATE_INT(struct sata_disk, multiple, STATE_U8),
	STATE_INT(struct sata_disk, udma, STATE_U8),
	STATE_ONE(struct sata_disk, ncq_error, ncq_error_fields),
	STATE_END,
};

static const struct state_desc state = {
	.name = "sata-disk", .version = 1, .oldest = 1, .fields = fields, .after_load = after_load};

static char *boot_path(struct device *dev, char *ret_kind)
{
	const struct sata_disk *d = (const struct sata_disk *)dev;
	g_autofree char *rest = g_strdup_printf("drive@%x/disk@0", d->port);

	*ret_kind = 'c';
	return boot_path_pci((const struct pci_device *)d->controller, rest);
}

const struct device_class device_sata_disk = {
	.name = "sata-disk",
	.description = "SATA disk",
	.size = sizeof(struct sata_disk),
	.create = create,
	.reset = reset,
	.destroy = destroy,
	.resume = resume,
	.can_save = can_save,
	.state = &state,
	.stats = stats,
	.boot_path = boot_path,
};
