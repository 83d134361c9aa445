/* SPDX-License-Identifier: GPL-2.0-or-later */
/* query-pci (QEMU's qapi/pci.json): functions, each bridge with those behind it. Registers: PCI 3.0, 6.1; bridges 1.2, 3.2. */
#include <linux/pci_regs.h>

#include "bytes.h"
#include "qmp.h"
#include "query.h"
#include "vmm.h"

static void put_range(JsonObject *bus, const char *name, uint64_t base, uint64_t limit)
{
	JsonObject *o = json_object_new();

	json_object_set_int_member(o, "base", (gint64)base);
	json_object_set_int_member(o, "limit", (gint64)limit);
	json_object_set_object_member(bus, name, o);
}

/* An end of a window: a register's bits, and another's above them in a bridge that has those. */
static uint64_t window(unsigned low, unsigned shift, bool wide, uint64_t high, unsigned high_shift)
{
	return (uint64_t)low << shift | (wide ? high << high_shift : 0);
}

static void put_windows(JsonObject *bus, const uint8_t *c)
{
	bool io = (c[PCI_IO_BASE] & 15) == PCI_IO_RANGE_TYPE_32;
	bool pref = (c[PCI_PREF_MEMORY_BASE] & 15) == PCI_PREF_RANGE_TYPE_64;

	put_range(bus, "io_range", window(c[PCI_IO_BASE] & 0xf0, 8, io, get_le16(c + PCI_IO_BASE_UPPER16), 16),
		  window(c[PCI_IO_LIMIT] & 0xf0, 8, io, get_le16(c + PCI_IO_LIMIT_UPPER16), 16) | 0xfff);
	put_range(bus, "memory_range", window(get_le16(c + PCI_MEMORY_BASE) & 0xfff0, 16, false, 0, 0),
		  window(get_le16(c + PCI_MEMORY_LIMIT) & 0xfff0, 16, false, 0, 0) | 0xfffff);
	put_range(bus, "prefetchable_range",
		  window(get_le16(c + PCI_PREF_MEMORY_BASE) & 0xfff0, 16, pref, get_le32(c + PCI_PREF_BASE_UPPER32), 32),
		  window(get_le16(c + PCI_PREF_MEMORY_LIMIT) & 0xfff0, 16, pref, get_le32(c + PCI_PREF_LIMIT_UPPER32), 32) |
			  0xfffff);
}

static JsonObject *bridge_bus(const uint8_t *c)
{
	JsonObject *bus = json_object_new();

	json_object_set_int_member(bus, "number", c[PCI_PRIMARY_BUS]);
	json_object_set_int_member(bus, "secondary", c[PCI_SECONDARY_BUS]);
	json_object_set_int_member(bus, "subordinate", c[PCI_SUBORDINATE_BUS]);
	put_windows(bus, c);
	return bus;
}

static JsonArray *regions(const struct machine_pci *f)
{
	JsonArray *list = json_array_new();

	for (unsigned n = 0; n < MACHINE_PCI_BARS; n++) {
		const struct machine_pci_bar *b = &f->bar[n];
		bool rom = n == MACHINE_PCI_BARS - 1;
		JsonObject *o;

		if (!b->size)
			continue;
		o = json_object_new();
		json_object_set_int_member(o, "bar", n);
		json_object_set_string_member(o, "type", b->io ? "io" : "memory");
		json_object_set_int_member(o, "address", (gint64)b->address);
		json_object_set_int_member(o, "size", (gint64)b->size);
		if (!b->io) {
			json_object_set_boolean_member(o, "prefetch", !rom && (f->config[PCI_BASE_ADDRESS_0 + 4 * n] &
									       PCI_BASE_ADDRESS_MEM_PREFETCH));
			json_object_set_boolean_member(o, "mem_type_64", b->wide);
		}
		json_array_add_object_element(list, o);
	}
	return list;
}

static JsonArray *functions(const GArray *all, int parent, unsigned bus);

static JsonObject *describe(const GArray *all, const struct machine_pci *f, unsigned bus)
{
	JsonObject *o = json_object_new(), *class_info = json_object_new(), *id = json_object_new();
	const uint8_t *c = f->config;
	bool is_bridge = (c[PCI_HEADER_TYPE] & 0x7f) == PCI_HEADER_TYPE_BRIDGE;

	json_object_set_int_member(o, "bus", bus);
	json_object_set_int_member(o, "slot", f->slot);
	json_object_set_int_member(o, "function", f->function);
	json_object_set_int_member(class_info, "class", get_le16(c + PCI_CLASS_DEVICE));
	json_object_set_object_member(o, "class_info", class_info);
	json_object_set_int_member(id, "vendor", get_le16(c + PCI_VENDOR_ID));
	json_object_set_int_member(id, "device", get_le16(c + PCI_DEVICE_ID));
	if (!is_bridge) {
		json_object_set_int_member(id, "subsystem", get_le16(c + PCI_SUBSYSTEM_ID));
		json_object_set_int_member(id, "subsystem-vendor", get_le16(c + PCI_SUBSYSTEM_VENDOR_ID));
	}
	json_object_set_object_member(o, "id", id);
	json_object_set_int_member(o, "irq_pin", c[PCI_INTERRUPT_PIN]);
	if (c[PCI_INTERRUPT_PIN])
		json_object_set_int_member(o, "irq", c[PCI_INTERRUPT_LINE]);
	json_object_set_string_member(o, "qdev_id", f->id);
	json_object_set_array_member(o, "regions", regions(f));
	if (is_bridge) {
		JsonObject *bridge = json_object_new();

		json_object_set_object_member(bridge, "bus", bridge_bus(c));
		json_object_set_array_member(bridge, "devices", functions(all, (int)f->index, c[PCI_SECONDARY_BUS]));
		json_object_set_object_member(o, "pci_bridge", bridge);
	}
	return o;
}

/* As deep as there are bridges, which the user made. */
static JsonArray *functions(const GArray *all, int parent, unsigned bus)
{
	JsonArray *list = json_array_new();

	for (guint i = 0; i < all->len; i++) {
		const struct machine_pci *f = &g_array_index(all, struct machine_pci, i);

		if (f->parent == parent)
			json_array_add_object_element(list, describe(all, f, bus));
	}
	return list;
}

JsonNode *qmp_query_pci(void *opaque, JsonObject *args, GError **error)
{
	g_autoptr(GArray) all = machine_pci(((struct vmm *)opaque)->machine);
	JsonArray *list = json_array_new();
	JsonObject *root = json_object_new();

	json_object_set_int_member(root, "bus", 0);
	json_object_set_array_member(root, "devices", functions(all, -1, 0));
	json_array_add_object_element(list, root);
	return qmp_array(list);
}
