/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The network cards of --net: what is behind each, its model, address and option ROM. See vmm.h. */
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "log.h"
#include "machine.h"
#include "vmm.h"

/* Debian's package ipxe-qemu. */
#define ROM_FOLDER "/usr/lib/ipxe/qemu"

/* A pc can start from the network; the micro board has no firmware that would run the ROM. */
static char *rom_path(const struct vmm *vmm, GVariant *keys, const char *model)
{
	const char *file = NULL;
	g_autofree char *path = NULL;
	gboolean on = vmm_is_pc(vmm);

	g_variant_lookup(keys, "rombar", "b", &on);
	g_variant_lookup(keys, "romfile", "&s", &file);
	if (!on)
		return NULL;
	if (file)
		return g_strdup(file);
	path = g_strdup_printf(ROM_FOLDER "/efi-%s.rom", model);
	if (!access(path, R_OK))
		return g_steal_pointer(&path);
	kv_log_debug("%s is not there: the card cannot be started from", path);
	return NULL;
}

/* The network is named like its card. */
static struct netdev *open_net(struct vmm *vmm, const char *id, const char *kind, GVariant *keys, GError **error)
{
	struct vmm_netdev *n;

	if (vmm_find_netdev(vmm, id)) {
		kv_fail(error, KV_ERROR_USAGE, "--net: there are two cards '%s'; give one of them another id", id);
		return NULL;
	}
	n = vmm_add_netdev(vmm, kind, id, keys, error);
	if (!n)
		return NULL;
	n->card = g_strdup(id);
	return n->net;
}

static bool open_card(struct vmm *vmm, unsigned index, GVariant *keys, GError **error)
{
	const char *kind = "none", *model = "virtio", *mac = NULL, *id = NULL;
	g_autofree char *usual = g_strdup_printf("net%u", index), *rom = NULL;
	struct machine_card *c = &vmm->cards[index];
	GVariantDict options;

	g_variant_lookup(keys, "kind", "&s", &kind);
	g_variant_lookup(keys, "model", "&s", &model);
	g_variant_lookup(keys, "id", "&s", &id);
	rom = rom_path(vmm, keys, model);
	c->cls = strcmp(model, "virtio") ? model : "virtio-net";
	c->boot = vmm_boot_index(keys);
	c->net = open_net(vmm, id ? id : usual, kind, keys, error);
	if (c->net)
		c->id = vmm_find_netdev(vmm, id ? id : usual)->card;
	g_variant_dict_init(&options, NULL);
	if (g_variant_lookup(keys, "mac", "&s", &mac))
		g_variant_dict_insert(&options, "mac", "s", mac);
	if (rom)
		g_variant_dict_insert(&options, "rom", "s", rom);
	c->options = g_variant_ref_sink(g_variant_dict_end(&options));
	return c->net;
}

bool vmm_open_cards(struct vmm *vmm, GError **error)
{
	g_autoptr(GVariant) list = options_lookup_value(vmm->options, "net");

	vmm_open_netdevs(vmm);
	vmm->n_cards = list ? (unsigned)g_variant_n_children(list) : 0;
	vmm->cards = g_new0(struct machine_card, vmm->n_cards);
	for (unsigned i = 0; i < vmm->n_cards; i++) {
		g_autoptr(GVariant) keys = g_variant_get_child_value(list, i);

		if (!open_card(vmm, i, keys, error))
			return false;
	}
	return true;
}

void vmm_close_cards(struct vmm *vmm)
{
	for (unsigned i = 0; i < vmm->n_cards; i++)
		g_clear_pointer(&vmm->cards[i].options, g_variant_unref);
	g_free(vmm->cards);
	vmm_close_netdevs(vmm);
}
