/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See board.h. */
#include "board.h"

#include <string.h>

#include "disk.h"
#include "error.h"

#define QUEUES_MAX 8 /* what virtio-net takes; more vCPUs share them */

static bool is_at(const struct machine *m, const struct device *d, const struct pci_place *place)
{
	const struct pci_bus *bus = place->bus ? place->bus : m->core.pci;

	return bus && (const struct device *)pci_bus_function(bus, 8u * place->slot + place->function) == d;
}

struct device *board_add(struct machine *m, const char *cls, const char *id, GVariant *options,
			 const struct device_backend *backend, GError **error)
{
	const struct pci_place *outer = m->core.pci_place;
	struct device *d, *slot;
	struct pci_place place;
	bool given;

	for (unsigned i = 0; i < m->devices->len; i++)
		if (!g_strcmp0(((struct device *)m->devices->pdata[i])->id, id)) {
			kv_fail(error, KV_ERROR_USAGE, "there are two devices '%s'; give one of them another id", id);
			return NULL;
		}
	if (!place_find(m, id, &place, &slot, &given, error))
		return NULL;
	if (given)
		m->core.pci_place = &place;
	d = device_new(&m->core, cls, id, options, backend, error);
	m->core.pci_place = outer;
	if (!d)
		return NULL;
	d->users = m->users;
	g_ptr_array_add(m->devices, d);
	if (given && !is_at(m, d, &place)) {
		kv_fail(error, KV_ERROR_USAGE, "'%s' is no PCI function, and has no addr", id);
		return NULL;
	}
	if (slot)
		slot->cls->plugged(slot, d, false);
	return d;
}

/* A queue, or a pair, for each vCPU. OVMF makes two pairs of an NVMe disk and does not ask how many there are. */
static unsigned queues_of(const struct machine *m, const char *cls)
{
	return CLAMP(m->cpus, strcmp(cls, "nvme") ? 1 : 2, QUEUES_MAX);
}

/* A disk or card. */
static bool add_queued(struct machine *m, const char *cls, const char *id, GVariant *given, const struct device_backend *backend,
		       GError **error)
{
	g_autoptr(GVariant) options = NULL;
	GVariantDict dict;

	g_variant_dict_init(&dict, given);
	if (!g_variant_dict_contains(&dict, "queues"))
		g_variant_dict_insert(&dict, "queues", "u", queues_of(m, cls));
	options = g_variant_ref_sink(g_variant_dict_end(&dict));
	return board_add(m, cls, id, options, backend, error);
}

/* Controllers that several disks share, each in the place of the first of its disks. */
struct controllers {
	struct device *scsi[MACHINE_SCSI_MAX], *sata;
};

static bool add_scsi(struct machine *m, const struct machine_disk *disk, struct controllers *have, GError **error)
{
	struct device_backend backend = {.disk = disk->disk};
	struct device **hba = &have->scsi[disk->controller];
	g_autofree char *id = disk->controller ? g_strdup_printf("scsi%u", disk->controller) : g_strdup("scsi");

	if (!*hba && !add_queued(m, "virtio-scsi", id, NULL, NULL, error))
		return false;
	if (!*hba)
		*hba = m->devices->pdata[m->devices->len - 1];
	backend.controller = *hba;
	return board_add(m, disk->cdrom ? "scsi-cd" : "scsi-disk", disk_id(disk->disk), disk->options, &backend, error);
}

bool board_add_users(struct machine *m, const struct machine_config *config, GError **error)
{
	bool ok;

	m->users = true;
	ok = board_add_console(m, config, error) && board_add_disks(m, config, error) && board_add_cards(m, config, error) &&
	     board_add_devices(m, config, error);
	m->users = false;
	return ok;
}

bool board_add_clock(struct machine *m, const struct machine_config *config, GVariantDict *board, GError **error)
{
	g_autoptr(GVariant) options = NULL;

	g_variant_dict_insert(board, "offset", "x", config->clock_offset);
	g_variant_dict_insert(board, "vm", "b", config->clock_vm);
	options = g_variant_ref_sink(g_variant_dict_end(board));
	m->clock = board_add(m, "mc146818", "rtc", options, NULL, error);
	return m->clock;
}

bool board_add_serial(struct machine *m, const struct machine_config *config, GError **error)
{
	g_autoptr(GVariant) second = NULL;

	if (config->console2)
		second = g_variant_ref_sink(g_variant_new_parsed("{'second': <true>}"));
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

/* The USB controller comes with the first device for it, unless there is one. */
bool board_need_usb(struct machine *m, GError **error)
{
	return m->core.usb || board_add(m, "xhci", "usb", NULL, NULL, error);
}

bool board_add_tablet(struct machine *m, GError **error)
{
	return board_need_usb(m, error) && board_add(m, "usb-tablet", "tablet", NULL, NULL, error);
}

/* Where ICH9 has it, on a pc. */
static struct device *add_ahci(struct machine *m, GError **error)
{
	g_autoptr(GVariant) place = NULL;

	if (m->kind == MACHINE_PC)
		place = g_variant_ref_sink(g_variant_new_parsed("{'slot': <uint32 31>, 'function': <uint32 2>}"));
	return board_add(m, "ahci", "sata", place, NULL, error);
}

static bool add_sata(struct machine *m, const struct machine_disk *disk, struct controllers *have, GError **error)
{
	struct device_backend backend = {.disk = disk->disk};

	if (!have->sata)
		have->sata = add_ahci(m, error);
	if (!have->sata)
		return false;
	backend.controller = have->sata;
	return board_add(m, disk->cdrom ? "scsi-cd" : "sata-disk", disk_id(disk->disk), disk->options, &backend, error);
}

/* Each disk is a device of its own. */
static bool add_usb(struct machine *m, const struct machine_disk *disk, GError **error)
{
	struct device_backend backend = {.disk = disk->disk};
	g_autofree char *id = g_strdup_printf("%s-usb", disk_id(disk->disk));

	backend.controller = board_need_usb(m, error) ? board_add(m, "usb-storage", id, NULL, NULL, error) : NULL;
	return backend.controller &&
	       board_add(m, disk->cdrom ? "scsi-cd" : "scsi-disk", disk_id(disk->disk), disk->options, &backend, error);
}

static bool add_disk(struct machine *m, const struct machine_disk *d, struct controllers *have, GError **error)
{
	const struct device_backend backend = {.disk = d->disk, .iothread = d->iothread};

	switch (d->bus) {
	case MACHINE_BUS_VIRTIO:
		return add_queued(m, "virtio-blk", disk_id(d->disk), d->options, &backend, error);
	case MACHINE_BUS_SCSI:
		return add_scsi(m, d, have, error);
	case MACHINE_BUS_SATA:
		return add_sata(m, d, have, error);
	case MACHINE_BUS_NVME:
		return add_queued(m, "nvme", disk_id(d->disk), d->options, &backend, error);
	case MACHINE_BUS_USB:
		return add_usb(m, d, error);
	}
	return false;
}

bool board_add_disks(struct machine *m, const struct machine_config *config, GError **error)
{
	struct controllers have = {0};

	for (unsigned i = 0; i < config->n_disks; i++) {
		if (!add_disk(m, &config->disks[i], &have, error))
			return false;
		((struct device *)m->devices->pdata[m->devices->len - 1])->boot = config->disks[i].boot;
	}
	return true;
}

bool board_add_cards(struct machine *m, const struct machine_config *config, GError **error)
{
	for (unsigned i = 0; i < config->n_cards; i++) {
		const struct machine_card *c = &config->cards[i];

		if (!add_queued(m, c->cls, c->id, c->options, &(struct device_backend){.netdev = c->net}, error))
			return false;
		((struct device *)m->devices->pdata[m->devices->len - 1])->boot = c->boot;
	}
	return true;
}
