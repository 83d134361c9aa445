/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The networks behind cards: those of --net, each with the name of its card, and those of netdev_add, which a device that is
 * plugged in takes. One that goes while a card has it leaves the card without a cable, as in QEMU. See vmm.h.
 */
#include "names.h"
#include "net.h"
#include "vmm.h"

static void netdev_free(void *opaque)
{
	struct vmm_netdev *n = opaque;

	net_close(n->net);
	g_free(n->id);
	g_free(n->card);
	g_free(n);
}

struct vmm_netdev *vmm_find_netdev(const struct vmm *vmm, const char *id)
{
	return names_find(vmm->netdevs, id);
}

struct vmm_netdev *vmm_netdev_of_card(const struct vmm *vmm, const char *card)
{
	for (unsigned i = 0; i < vmm->netdevs->len; i++) {
		struct vmm_netdev *n = vmm->netdevs->pdata[i];

		if (!g_strcmp0(n->card, card))
			return n;
	}
	return NULL;
}

struct vmm_netdev *vmm_add_netdev(struct vmm *vmm, const char *kind, const char *id, GVariant *options, GError **error)
{
	struct netdev *net = names_room(vmm->netdevs, "networks", error) ? net_open(kind, options, NULL, error) : NULL;
	struct vmm_netdev *n = net ? names_add(vmm->netdevs, sizeof(*n), id) : NULL;

	if (n)
		n->net = net;
	return n;
}

void vmm_remove_netdev(struct vmm *vmm, struct vmm_netdev *n)
{
	if (!n->card) {
		g_ptr_array_remove(vmm->netdevs, n);
		return;
	}
	net_cut(n->net);
	g_clear_pointer(&n->id, g_free);
}

void vmm_card_gone(struct vmm *vmm, const char *card)
{
	struct vmm_netdev *n = vmm_netdev_of_card(vmm, card);

	if (!n)
		return;
	g_clear_pointer(&n->card, g_free);
	if (!n->id)
		g_ptr_array_remove(vmm->netdevs, n);
}

void vmm_open_netdevs(struct vmm *vmm)
{
	vmm->netdevs = names_new(netdev_free);
}

void vmm_close_netdevs(struct vmm *vmm)
{
	g_clear_pointer(&vmm->netdevs, g_ptr_array_unref);
}
