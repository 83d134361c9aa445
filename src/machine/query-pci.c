/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PCI functions of a machine as they stand in its configuration space, for query-pci. See query.h. */
#include <string.h>

#include "internal.h"
#include "query.h"

static void describe(struct pci_device *p, unsigned index, int parent, struct machine_pci *ret)
{
	*ret = (struct machine_pci){.id = p->dev.id, .slot = p->slot, .function = p->function, .parent = parent, .index = index};
	g_mutex_lock(&p->lock);
	memcpy(ret->config, p->config, sizeof(ret->config));
	for (unsigned n = 0; n < MACHINE_PCI_BARS; n++) {
		const struct pci_bar *b = &p->bar[n];

		if (b->size)
			ret->bar[n] = (struct machine_pci_bar){b->is_mapped ? b->mapped : UINT64_MAX, b->size, b->io, b->wide};
	}
	g_mutex_unlock(&p->lock);
}

struct found {
	struct pci_device *p;
	int parent;
};

/* Buses in turn: those behind bridges come when their bridge has. */
GArray *machine_pci(struct machine *m)
{
	GArray *list = g_array_new(FALSE, TRUE, sizeof(struct machine_pci));
	g_autoptr(GArray) buses = g_array_new(FALSE, TRUE, sizeof(struct found));
	struct found root = {NULL, -1};

	g_array_append_val(buses, root);
	for (unsigned i = 0; i < buses->len; i++) {
		struct found *at = &g_array_index(buses, struct found, i);
		const struct pci_bus *bus = at->p ? at->p->secondary : m->core.pci;
		int parent = at->parent;

		for (unsigned devfn = 0; devfn < PCI_BUS_FUNCTIONS; devfn++) {
			struct pci_device *p = pci_bus_function(bus, devfn);
			struct found next = {p, (int)list->len};
			struct machine_pci info;

			if (!p)
				continue;
			describe(p, list->len, parent, &info);
			g_array_append_val(list, info);
			if (p->secondary)
				g_array_append_val(buses, next);
		}
	}
	return list;
}
