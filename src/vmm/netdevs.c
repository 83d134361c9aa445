/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The networks behind cards: those of --net, each with the name of its card, and those of netdev_add, which a device that is
 * plugged in takes. One that goes while a card has it leaves the card without a cable, as in QEMU. See vmm.h.
 */
#include <string.h>

#include "error.h"
#include "net.h"
#include "vmm.h"

enum { NETDEVS_MAX = 256 };

static void netdev_free(void *opaque)
{
	struct vmm_netdev *n = opaque;

	net_close(n->net);
	g_free(n->id);
	g_free(n->card);
	g_free(n);
}

static struct vmm_netdev *find(const struct vmm *vmm, const char *name, bool by_card)
{
	for (unsigned i = 0; i < vmm->netdevs->len; i++) {
		struct vmm_netdev *n = vmm->netdevs->pdata[i];

		if (!g_strcmp0(by_card ? n->card : n->id, name))
			return n;
	}
	return NULL;
}

struct vmm_netdev *vmm_find_netdev(const struct vmm *vmm, const char *id)
{
	return find(vmm, id, false);
}

struct vmm_netdev *vmm_netdev_of_card(const struct vmm *vmm, const char *card)
{
	return find(vmm, card, true);
}

struct vmm_netdev *vmm_add_netdev(struct vmm *vmm, const char *kind, const char *id, GVariant *options, GError **error)
{
	struct netdev *net = NULL;
	struct vmm_netdev *n;

	if (vmm->netdevs->len == NETDEVS_MAX)
		kv_fail(error, KV_ERROR_UNSUPPORTED, "more than %d networks", NETDEVS_MAX);
	else
		net = net_open(kind, options, NULL, error);
	if (!net)
		return NULL;
	n = g_new0(struct vmm_netdev, 1);
	n->id = g_strdup(id);
	n->net = net;
	g_ptr_array_add(vmm->netdevs, n);
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
	vmm->netdevs = g_ptr_array_new_with_free_func(netdev_free);
}

void vmm_close_netdevs(struct vmm *vmm)
{
	g_clear_pointer(&vmm->netdevs, g_ptr_array_unref);
}
