/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The order of devices in a saved state. A machine whose devices came and went is restored as one that has had them from the
 * start: so users' devices are in an order that does not tell. Ports and controllers stand before what is at them; the board's
 * own come first, as they were made. Called by machine.c and saved-form.c.
 */
#include <string.h>

#include "device.h"
#include "internal.h"

/* What others are at, outermost first; the rest is behind them. */
static const char *const parents[] = {"pcie-root-port", "xhci", "ahci", "virtio-scsi", "virtio-console", "usb-storage"};

static unsigned rank(const struct device *d)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(parents); i++)
		if (!strcmp(d->cls->name, parents[i]))
			return i;
	return G_N_ELEMENTS(parents);
}

static int compare(const void *a, const void *b)
{
	const struct device *x = *(struct device *const *)a, *y = *(struct device *const *)b;
	unsigned m = rank(x), n = rank(y);

	return m != n ? (m < n ? -1 : 1) : strcmp(x->id, y->id);
}

GPtrArray *saved_order(const struct machine *m)
{
	GPtrArray *order = g_ptr_array_new();
	g_autoptr(GPtrArray) users = g_ptr_array_new();

	for (unsigned i = 0; i < m->devices->len; i++) {
		struct device *d = m->devices->pdata[i];

		g_ptr_array_add(d->users ? users : order, d);
	}
	g_ptr_array_sort(users, compare);
	for (unsigned i = 0; i < users->len; i++)
		g_ptr_array_add(order, users->pdata[i]);
	return order;
}
