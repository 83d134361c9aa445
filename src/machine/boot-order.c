/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See boot-order.h. Called by pc-firmware.c at each start of the machine. */
#include "boot-order.h"

#include <string.h>

#include "bytes.h"
#include "pci.h"

struct entry {
	char *path;
	char kind;
	unsigned boot; /* of the device */
	bool taken;
};

/* Names that Open Firmware has for classes (its PCI binding, 2.5); others are known by their numbers. */
static const struct {
	uint16_t cls;
	const char *name;
} class_names[] = {
	{0x0100, "scsi"}, {0x0101, "ide"}, {0x0200, "ethernet"}, {0x0300, "display"}, {0x0c03, "usb"}, {0x0604, "pci-bridge"},
};

static char *path_of(const struct pci_device *p)
{
	const struct pci_device *bridge = pci_bus_bridge(p->bus);
	uint16_t cls = get_le16(p->config + 10);
	g_autofree char *name = NULL, *above = NULL, *function = p->function ? g_strdup_printf(",%x", p->function) : g_strdup("");

	for (unsigned i = 0; i < G_N_ELEMENTS(class_names) && !name; i++)
		if (class_names[i].cls == cls)
			name = g_strdup(class_names[i].name);
	if (!name)
		name = g_strdup_printf("pci%x,%x", get_le16(p->config), get_le16(p->config + 2));
	above = bridge ? path_of(bridge) : g_strdup("/pci@i0cf8");
	return g_strdup_printf("%s/%s@%x%s", above, name, p->slot, function);
}

char *boot_path_pci(const struct pci_device *p, const char *rest)
{
	g_autofree char *path = path_of(p);

	return g_strdup_printf("%s/%s", path, rest);
}

static void free_entry(gpointer opaque)
{
	g_free(((struct entry *)opaque)->path);
	g_free(opaque);
}

static GPtrArray *entries(GPtrArray *devices, bool *ret_indexed)
{
	GPtrArray *all = g_ptr_array_new_with_free_func(free_entry);

	for (unsigned i = 0; i < devices->len; i++) {
		struct device *d = devices->pdata[i];
		char kind = 0, *path = d->cls->boot_path ? d->cls->boot_path(d, &kind) : NULL;
		struct entry *e;

		if (!path)
			continue;
		e = g_new(struct entry, 1);
		*e = (struct entry){.path = path, .kind = kind, .boot = d->boot};
		*ret_indexed |= d->boot != 0;
		g_ptr_array_add(all, e);
	}
	return all;
}

static void put(GString *s, struct entry *e)
{
	g_string_append_printf(s, "%s%s", s->len ? "\n" : "", e->path);
	e->taken = true;
}

static void put_indexed(GString *s, GPtrArray *all)
{
	for (;;) {
		struct entry *next = NULL;

		for (unsigned i = 0; i < all->len; i++) {
			struct entry *e = all->pdata[i];

			if (e->boot && !e->taken && (!next || e->boot < next->boot))
				next = e;
		}
		if (!next)
			return;
		put(s, next);
	}
}

GBytes *boot_order(GPtrArray *devices, const char *order, const char *first)
{
	GString *s = g_string_new(first);
	bool indexed = false;
	g_autoptr(GPtrArray) all = entries(devices, &indexed);
	gsize len;

	put_indexed(s, all);
	for (; order && *order; order++)
		for (unsigned i = 0; i < all->len; i++) {
			struct entry *e = all->pdata[i];

			if (e->kind == *order && !e->taken)
				put(s, e);
		}
	if (!order && !first && !indexed) {
		g_string_free(s, TRUE);
		return NULL;
	}
	len = s->len + 1;
	return g_bytes_new_take(g_string_free(s, FALSE), len);
}
