/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See board.h. */
#include "board.h"

#include "disk.h"
#include "error.h"

#define QUEUES_MAX 8 /* what virtio-net takes; more vCPUs share them */

struct device *board_add(struct machine *m, const char *cls, const char *id, GVariant *options,
			 const struct device_backend *backend, GError **error)
{
	struct device *d;

	for (unsigned i = 0; i < m->devices->len; i++)
		if (!g_strcmp0(((struct device *)m->devices->pdata[i])->id, id)) {
			kv_fail(error, KV_ERROR_USAGE, "there are two devices '%s'; give one of them another id", id);
			return NULL;
		}
	d = device_new(&m->core, cls, id, options, backend, error);
	if (d)
		g_ptr_array_add(m->devices, d);
	return d;
}

/* A disk or card: a queue, or a pair, for each vCPU. */
static bool add_queued(struct machine *m, const char *cls, const char *id, GVariant *given, const struct device_backend *backend,
		       GError **error)
{
	g_autoptr(GVariant) options = NULL;
	GVariantDict dict;

	g_variant_dict_init(&dict, given);
	if (!g_variant_dict_contains(&dict, "queues"))
		g_variant_dict_insert(&dict, "queues", "u", MIN(m->cpus, QUEUES_MAX));
	options = g_variant_ref_sink(g_variant_dict_end(&dict));
	return board_add(m, cls, id, options, backend, error);
}

/* SCSI disks have one controller, in the place of the first of them. */
static bool add_scsi(struct machine *m, const struct machine_disk *disk, struct device **controller, GError **error)
{
	struct device_backend backend = {.disk = disk->disk};

	if (!*controller && !add_queued(m, "virtio-scsi", "scsi", NULL, NULL, error))
		return false;
	if (!*controller)
		*controller = m->devices->pdata[m->devices->len - 1];
	backend.controller = *controller;
	return board_add(m, disk->cdrom ? "scsi-cd" : "scsi-disk", disk_id(disk->disk), disk->options, &backend, error);
}

bool board_add_serial(struct machine *m, const struct machine_config *config, GError **error)
{
	g_autoptr(GVariant) second = g_variant_ref_sink(g_variant_new_parsed("{'second': <true>}"));

	m->second_serial = config->console2;
	return board_add(m, "ns16550", "com1", NULL, &(struct device_backend){.chardev = config->console}, error) &&
	       (!config->console2 ||
		board_add(m, "ns16550", "com2", second, &(struct device_backend){.chardev = config->console2}, error));
}

bool board_add_console(struct machine *m, const struct machine_config *config, GError **error)
{
	g_autofree struct device_port *ports = g_new0(struct device_port, config->n_channels);
	struct device_backend backend = {.chardev = config->virtio_console, .ports = ports, .n_ports = config->n_channels};

	for (unsigned i = 0; i < config->n_channels; i++) {
		const struct machine_channel *c = &config->channels[i];

		ports[i] = (struct device_port){c->chardev, c->name, c->id};
	}
	if (!backend.chardev && !backend.n_ports)
		return true;
	return board_add(m, "virtio-console", "console", NULL, &backend, error);
}

bool board_add_disks(struct machine *m, const struct machine_config *config, GError **error)
{
	struct device *controller = NULL;

	for (unsigned i = 0; i < config->n_disks; i++) {
		const struct machine_disk *d = &config->disks[i];
		bool ok = d->bus == MACHINE_BUS_SCSI ? add_scsi(m, d, &controller, error) :
						       add_queued(m, "virtio-blk", disk_id(d->disk), d->options,
								  &(struct device_backend){.disk = d->disk}, error);

		if (!ok)
			return false;
	}
	return true;
}

bool board_add_cards(struct machine *m, const struct machine_config *config, GError **error)
{
	for (unsigned i = 0; i < config->n_cards; i++) {
		const struct machine_card *c = &config->cards[i];
		g_autofree char *id = g_strdup_printf("net%u", i);

		if (!add_queued(m, c->cls, id, c->options, &(struct device_backend){.netdev = c->net}, error))
			return false;
	}
	return true;
}

bool board_add_devices(struct machine *m, const struct machine_config *config, GError **error)
{
	for (unsigned i = 0; i < config->n_devices; i++) {
		const struct machine_device *d = &config->devices[i];
		const struct device_class *cls = device_class_find(d->cls);
		g_autofree char *id = d->id ? g_strdup(d->id) : g_strdup_printf("device%u", i);
		g_autoptr(GVariant) options = NULL;

		if (!cls || !cls->keys)
			return kv_fail(error, KV_ERROR_USAGE, "--device %s: there is no such device to add", d->cls);
		options = device_options(cls, d->options, error);
		if (!options || !board_add(m, d->cls, id, options, NULL, error))
			return false;
	}
	return true;
}
