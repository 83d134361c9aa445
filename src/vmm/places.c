/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where devices' PCI functions are to be: --place, and the keys addr of --disk, --net and --vga. See vmm.h. */
#include "disk.h"
#include "machine.h"
#include "vmm.h"

/* keys NULL: the option was not given. */
static void put(GArray *list, GVariant *keys, const char *id)
{
	struct machine_place place = {.id = id};

	if (!keys)
		return;
	if (!id)
		g_variant_lookup(keys, "device", "&s", &place.id);
	if (g_variant_lookup(keys, "addr", "&s", &place.address))
		g_array_append_val(list, place);
}

GArray *vmm_places(const struct vmm *vmm)
{
	g_autoptr(GVariant) places = options_lookup_value(vmm->options, "place"), vga = options_lookup_value(vmm->options, "vga");
	g_autoptr(GVariant) disks = options_lookup_value(vmm->options, "disk"), nets = options_lookup_value(vmm->options, "net");
	GArray *list = g_array_new(FALSE, TRUE, sizeof(struct machine_place));

	for (gsize i = 0; places && i < g_variant_n_children(places); i++) {
		g_autoptr(GVariant) keys = g_variant_get_child_value(places, i);

		put(list, keys, NULL);
	}
	for (gsize i = 0; disks && i < g_variant_n_children(disks); i++) {
		g_autoptr(GVariant) keys = g_variant_get_child_value(disks, i);

		put(list, keys, disk_id(vmm->disks[i].disk));
	}
	for (gsize i = 0; nets && i < g_variant_n_children(nets); i++) {
		g_autoptr(GVariant) keys = g_variant_get_child_value(nets, i);

		put(list, keys, vmm->cards[i].id);
	}
	put(list, vga, "vga");
	return list;
}
