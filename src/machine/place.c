/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where PCI functions are that a user has given a place, by their devices' names: machine_config.places. board_add() asks for
 * each device that it makes; a root port that a place names is made when the first place needs it. See board.h.
 */
#include <string.h>

#include "board.h"
#include "error.h"

enum { SLOTS = 32 };

/* SLOT or SLOT.FUNCTION, hexadecimal as in lspci. */
bool place_read(const char *text, struct pci_place *place, GError **error)
{
	g_auto(GStrv) parts = g_strsplit(text, ".", 2);
	guint64 slot, function = 0;
	const char *hex = parts[0] && g_str_has_prefix(parts[0], "0x") ? parts[0] + 2 : parts[0];

	if (!hex || !g_ascii_string_to_unsigned(hex, 16, 0, SLOTS - 1, &slot, NULL) ||
	    (parts[1] && !g_ascii_string_to_unsigned(parts[1], 16, 0, 7, &function, NULL)))
		return kv_fail(error, KV_ERROR_USAGE, "addr: '%s' is not SLOT or SLOT.FUNCTION, as 4 or 1f.2", text);
	place->slot = (uint8_t)slot;
	place->function = (uint8_t)function;
	return true;
}

/* What is behind the last colon: names of ports may have others. */
static const char *behind_bus(const char *address)
{
	const char *colon = strrchr(address, ':');

	return colon ? colon + 1 : address;
}

/* Devices without a place keep off the slots of bus 0 that others have been given. */
bool place_reserve(struct machine *m, const struct machine_config *config, GError **error)
{
	for (unsigned i = 0; i < config->n_places; i++) {
		struct pci_place place;

		if (!place_read(behind_bus(config->places[i].address), &place, error))
			return false;
		if (!strchr(config->places[i].address, ':'))
			m->core.pci_reserved |= 1u << place.slot;
	}
	for (unsigned i = 0; i < config->n_devices; i++) {
		const char *address = NULL, *bus = NULL;
		struct pci_place place;

		g_variant_lookup(config->devices[i].options, "addr", "&s", &address);
		g_variant_lookup(config->devices[i].options, "bus", "&s", &bus);
		if (address && (!bus || !strcmp(bus, "pcie.0")) && place_read(address, &place, NULL))
			m->core.pci_reserved |= 1u << place.slot;
	}
	return true;
}

bool place_find(struct machine *m, const char *id, struct pci_place *ret, struct device **ret_slot, bool *ret_found,
		GError **error)
{
	const struct machine_config *config = m->config;
	const char *address = NULL;
	g_autofree char *bus = NULL;

	*ret = (struct pci_place){.slot = 0xff};
	*ret_slot = NULL;
	for (unsigned i = 0; config && i < config->n_places && !address; i++)
		if (!strcmp(config->places[i].id, id))
			address = config->places[i].address;
	*ret_found = address;
	if (!address)
		return true;
	if (!place_read(behind_bus(address), ret, error))
		return false;
	bus = g_strndup(address, (gsize)(behind_bus(address) - address));
	if (*bus)
		bus[strlen(bus) - 1] = 0;
	return plug_find_bus(m, bus, true, ret, ret_slot, error);
}

bool place_check(struct machine *m, const struct machine_config *config, GError **error)
{
	for (unsigned i = 0; i < config->n_places; i++)
		if (!plug_find(m, config->places[i].id))
			return kv_fail(error, KV_ERROR_USAGE, "there is no device '%s' to be at the place '%s'",
				       config->places[i].id, config->places[i].address);
	return true;
}
