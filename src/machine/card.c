/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See card.h. */
#include "card.h"

#include <stdio.h>
#include <string.h>

#include "error.h"

enum { MAC = 6, ROM_MAX = 16 << 20 };

static bool parse_mac(const char *text, uint8_t *mac)
{
	unsigned b[MAC];
	char end;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &end) != MAC)
		return false;
	for (unsigned i = 0; i < MAC; i++)
		mac[i] = (uint8_t)b[i];
	return !(mac[0] & 1);
}

bool card_mac(const char *id, GVariant *options, uint8_t mac[6], GError **error)
{
	uint32_t hash = g_str_hash(id);
	const char *text = NULL;

	if (options)
		g_variant_lookup(options, "mac", "&s", &text);
	/* The customary prefix of virtual machines. */
	memcpy(mac, (uint8_t[]){0x52, 0x54, 0x00, (uint8_t)(hash >> 16), (uint8_t)(hash >> 8), (uint8_t)hash}, MAC);
	return !text || parse_mac(text, mac) ||
	       kv_fail(error, KV_ERROR_USAGE, "%s: mac '%s' is not six hexadecimal bytes of a unicast address", id, text);
}

bool card_rom(struct pci_device *p, GVariant *options, GError **error)
{
	g_autofree char *data = NULL;
	const char *path = NULL;
	gsize len;

	if (options)
		g_variant_lookup(options, "rom", "&s", &path);
	if (!path)
		return true;
	if (!g_file_get_contents(path, &data, &len, error))
		return false;
	if (len < 2 || len > ROM_MAX || (uint8_t)data[0] != 0x55 || (uint8_t)data[1] != 0xaa)
		return kv_fail(error, KV_ERROR_INVALID, "%s: '%s' is not an option ROM of at most 16 MiB", p->dev.id, path);
	return pci_set_rom(p, data, len, error);
}
