/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See rx-filter.h. */
#include "rx-filter.h"

#include <string.h>

enum { MAC = 6 };

void rx_watch_asked(struct rx_watch *w)
{
	__atomic_store_n(&w->asked, true, __ATOMIC_RELEASE);
}

void rx_watch_changed(struct rx_watch *w, struct device *dev)
{
	struct machine_core *core = dev->core;

	if (__atomic_exchange_n(&w->asked, false, __ATOMIC_ACQ_REL) && core->notice)
		core->notice(core->machine, NOTICE_RX_FILTER, dev->id, 0);
}

void rx_filter_add(struct rx_filter *f, const uint8_t *mac)
{
	bool group = mac[0] & 1;
	unsigned at = f->n_unicast + f->n_multicast;

	if (at == RX_MACS) {
		*(group ? &f->multicast_overflow : &f->unicast_overflow) = true;
		return;
	}
	memcpy(f->macs[at], mac, MAC);
	f->n_unicast += !group;
	f->n_multicast += group;
}

static void put_macs(GVariantDict *d, const char *name, const uint8_t (*macs)[MAC], unsigned n)
{
	GVariantBuilder list;

	g_variant_builder_init(&list, G_VARIANT_TYPE("as"));
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *m = macs[i];
		g_autofree char *text = g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);

		g_variant_builder_add(&list, "s", text);
	}
	g_variant_dict_insert_value(d, name, g_variant_builder_end(&list));
}

static GVariant *vlan_table(const struct rx_filter *f)
{
	GVariantBuilder list;

	g_variant_builder_init(&list, G_VARIANT_TYPE("ax"));
	for (unsigned i = 0; i < RX_VLANS; i++)
		if (f->vlans[i / 8] >> i % 8 & 1)
			g_variant_builder_add(&list, "x", (gint64)i);
	return g_variant_builder_end(&list);
}

GVariant *rx_filter_tell(const struct rx_filter *f)
{
	static const char *const states[] = { [RX_NORMAL] = "normal", [RX_NONE] = "none", [RX_ALL] = "all" };
	const uint8_t *m = f->mac;
	g_autofree char *mac = g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
	g_auto(GVariantDict) d = G_VARIANT_DICT_INIT(NULL);

	g_variant_dict_insert(&d, "promiscuous", "b", f->promiscuous);
	g_variant_dict_insert(&d, "multicast", "s", states[f->multicast]);
	g_variant_dict_insert(&d, "unicast", "s", states[f->unicast]);
	g_variant_dict_insert(&d, "vlan", "s", states[f->vlan]);
	g_variant_dict_insert(&d, "broadcast-allowed", "b", f->broadcast);
	g_variant_dict_insert(&d, "multicast-overflow", "b", f->multicast_overflow);
	g_variant_dict_insert(&d, "unicast-overflow", "b", f->unicast_overflow);
	g_variant_dict_insert(&d, "main-mac", "s", mac);
	g_variant_dict_insert_value(&d, "vlan-table", vlan_table(f));
	put_macs(&d, "unicast-table", f->macs, f->n_unicast);
	put_macs(&d, "multicast-table", f->macs + f->n_unicast, f->n_multicast);
	return g_variant_dict_end(&d);
}
