/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PCI addresses (complete.h), as libvirt gives them on a q35: chips and the first video card have places of their own on bus 0;
 * every other card is alone behind a root port, of which there are as many as needed and one more for a card that comes later.
 * Unlike libvirt we add no bridge for a conventional card: kv-vmm has none, and bus 0 takes it.
 * Twice over: a first pass finds which controllers are missing, a second one, with all of them there, gives the addresses.
 */
#include <string.h>

#include "complete.h"
#include "domain-def.h"
#include "message.h"
#include "model-xml.h"

enum { BUSES = 256, SLOTS = 32, CHIPS_SLOT = 0x1f, SATA_FUNCTION = 2, VIDEO_SLOT = 1, PORTS_A_SLOT = 8 };

enum bus_kind { BUS_NONE, BUS_ROOT, BUS_PORT, BUS_BRIDGE };
struct bus {
	enum bus_kind kind;
	guint8 slots[SLOTS]; /* functions in use, as bits */
	guint32 ports;	     /* slots whose functions are root ports that libvirt placed */
};
struct pci {
	struct completion *c;
	struct bus buses[BUSES];
	unsigned n_buses; /* the highest controller's number + 1 */
	bool dry;
};

static const struct {
	const char *model, *name;
	enum bus_kind kind;
} bus_models[] = {
	{ "pcie-root", NULL, BUS_ROOT },
	{ "pcie-root-port", "pcie-root-port", BUS_PORT },
	{ "pcie-to-pci-bridge", "pcie-pci-bridge", BUS_BRIDGE },
};

static void note_bus(struct pci *pci, const xmlNode *controller)
{
	guint64 index = number_or(controller, "@index", 0);

	if (index >= BUSES)
		return;
	for (unsigned i = 0; i < G_N_ELEMENTS(bus_models); i++)
		if (xml_is(controller, "@model", bus_models[i].model))
			pci->buses[index].kind = bus_models[i].kind;
	pci->n_buses = MAX(pci->n_buses, (unsigned)index + 1);
}

static bool is_pci_controller(const xmlNode *d)
{
	return xmlStrEqual(d->name, BAD_CAST "controller") && xml_is(d, "@type", "pci");
}

/* ---- what is taken ---- */

static bool reserve(struct pci *pci, unsigned bus, unsigned slot, unsigned function, GError **error)
{
	const struct bus *b = &pci->buses[bus % BUSES];

	if (bus >= BUSES || b->kind == BUS_NONE)
		return rpc_fail(error, VIR_ERR_XML_ERROR,
				"The device address has bus='0x%02x', and there is no PCI controller with index='%u'", bus, bus);
	if (slot >= SLOTS || function >= 8 || (b->kind == BUS_PORT && slot) || (b->kind != BUS_PORT && !slot))
		return rpc_fail(error, VIR_ERR_XML_ERROR, "Invalid PCI address 0000:%02x:%02x.%x", bus, slot, function);
	if (b->slots[slot] >> function & 1)
		return rpc_fail(error, VIR_ERR_XML_ERROR, "Attempted double use of PCI Address 0000:%02x:%02x.%x", bus, slot,
				function);
	pci->buses[bus].slots[slot] |= (guint8)(1u << function);
	return true;
}

static void set_part(xmlNode *address, const char *attribute, unsigned digits, unsigned value)
{
	char text[16];

	g_snprintf(text, sizeof(text), "0x%0*x", (int)digits, value);
	xml_set(address, attribute, text);
}

static void set_address(struct pci *pci, xmlNode *d, unsigned bus, unsigned slot, unsigned function)
{
	xmlNode *address;

	pci->buses[bus].slots[slot] |= (guint8)(1u << function);
	if (pci->dry || !d)
		return;
	address = xml_child(d, "address");
	if (!address)
		address = xml_add(d, "address");
	xml_set(address, "@type", "pci");
	set_part(address, "@domain", 4, 0);
	set_part(address, "@bus", 2, bus);
	set_part(address, "@slot", 2, slot);
	set_part(address, "@function", 1, function);
}

/* Numbers that are left out, of controllers or of buses that addresses name, are root ports. */
static bool fill_holes(struct pci *pci, unsigned last, GError **error)
{
	for (unsigned b = 1; b <= last && b < BUSES; b++) {
		if (pci->buses[b].kind != BUS_NONE)
			continue;
		if (pci->c->fixed || pci->c->micro)
			return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "No more available PCI slots");
		note_bus(pci, add_controller(pci->c, "pci", b, "pcie-root-port"));
	}
	return true;
}

static unsigned last_bus(const struct pci *pci)
{
	unsigned last = pci->n_buses ? pci->n_buses - 1 : 0;

	for (const xmlNode *d = pci->c->devices->children; d; d = d->next)
		if (xml_is(d, "address/@type", "pci"))
			last = MAX(last, (unsigned)MIN(number_or(d, "address/@bus", 0), BUSES - 1));
	return last;
}

static bool note_given(struct pci *pci, GError **error)
{
	if (!fill_holes(pci, last_bus(pci), error))
		return false;
	for (xmlNode *d = pci->c->devices->children; d; d = d->next) {
		unsigned bus, slot, function;

		if (!xml_is(d, "address/@type", "pci"))
			continue;
		if (number_or(d, "address/@domain", 0))
			return rpc_fail(error, VIR_ERR_XML_ERROR, "Only PCI domain 0 is available");
		/* "type='pci'" alone asks for any place. */
		if (!xml_text(d, "address/@slot") && !xml_text(d, "address/@bus")) {
			xml_set(d, "address", NULL);
			continue;
		}
		bus = (unsigned)number_or(d, "address/@bus", 0);
		slot = (unsigned)number_or(d, "address/@slot", 0);
		function = (unsigned)number_or(d, "address/@function", 0);
		if (!reserve(pci, bus, slot, function, error))
			return false;
		if (is_pci_controller(d) && xml_is(d, "@model", "pcie-root-port") && !bus)
			pci->buses[0].ports |= 1u << slot;
		set_address(pci, d, bus, slot, function);
	}
	return true;
}

/* ---- who needs a place ---- */

static bool wants(const xmlNode *d)
{
	return !xml_child(d, "address");
}

/* One of libvirt's rounds over the devices: those of a kind for which is() says so get a place, in this order. */
static bool any(const xmlNode *d)
{
	return true;
}

static bool is_virtio_bus(const xmlNode *d)
{
	return xml_is(d, "@bus", "virtio");
}

static bool is_virtio_disk(const xmlNode *d)
{
	return xml_is(d, "target/@bus", "virtio");
}

static bool is_card_controller(const xmlNode *d)
{
	if (is_pci_controller(d) || xml_is(d, "@model", "none"))
		return false;
	return !(xml_is(d, "@type", "sata") && !number_or(d, "@index", 0));
}

static bool has_model(const xmlNode *d)
{
	return !xml_is(d, "@model", "none") && !xml_is(d, "model/@type", "none");
}

static bool is_pvpanic_card(const xmlNode *d)
{
	return xml_is(d, "@model", "pvpanic");
}

static const struct {
	const char *kind;
	bool (*is)(const xmlNode *);
	bool conventional;
} rounds[] = {
	{ "interface", any },	    { "controller", is_card_controller }, { "disk", is_virtio_disk }, { "memballoon", has_model },
	{ "rng", any },		    { "watchdog", any, true },		  { "video", has_model },     { "input", is_virtio_bus },
	{ "panic", is_pvpanic_card }, { "vsock", any },
};

/* ---- places ---- */

static bool add_bus(struct pci *pci, const char *model, GError **error)
{
	xmlNode *d;

	if (pci->n_buses >= BUSES || pci->c->fixed)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "No more available PCI slots");
	d = add_controller(pci->c, "pci", pci->n_buses, model);
	note_bus(pci, d);
	return true;
}

static int free_port_bus(const struct pci *pci)
{
	for (unsigned b = 1; b < pci->n_buses; b++)
		if (pci->buses[b].kind == BUS_PORT && !pci->buses[b].slots[0])
			return (int)b;
	return -1;
}

static bool place_behind_port(struct pci *pci, xmlNode *d, GError **error)
{
	int bus = free_port_bus(pci);

	if (bus < 0) {
		if (!add_bus(pci, "pcie-root-port", error))
			return false;
		bus = free_port_bus(pci);
	}
	set_address(pci, d, (unsigned)bus, 0, 0);
	return true;
}

static bool place_on_root(struct pci *pci, xmlNode *d, GError **error)
{
	for (unsigned slot = 1; slot < SLOTS; slot++) {
		if (!pci->buses[0].slots[slot]) {
			set_address(pci, d, 0, slot, 0);
			return true;
		}
	}
	return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "No more available PCI slots");
}

/* A conventional card: behind a bridge that is there, else on bus 0. */
static bool place_conventional(struct pci *pci, xmlNode *d, GError **error)
{
	for (unsigned b = 1; b < pci->n_buses; b++) {
		for (unsigned slot = 1; pci->buses[b].kind == BUS_BRIDGE && slot < SLOTS; slot++) {
			if (!pci->buses[b].slots[slot]) {
				set_address(pci, d, b, slot, 0);
				return true;
			}
		}
	}
	return place_on_root(pci, d, error);
}

/* A root port: eight of them share a slot. */
static bool place_port(struct pci *pci, xmlNode *d, GError **error)
{
	struct bus *root = &pci->buses[0];

	for (unsigned slot = 1; slot < SLOTS; slot++) {
		if (root->slots[slot] && (!(root->ports >> slot & 1) || root->slots[slot] == 0xff))
			continue;
		root->ports |= 1u << slot;
		set_address(pci, d, 0, slot, (unsigned)g_bit_nth_lsf(~(gulong)root->slots[slot], -1));
		return true;
	}
	return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "No more available PCI slots");
}

static bool place_controllers(struct pci *pci, GError **error)
{
	for (xmlNode *d = first_device(pci->c, "controller"); d; d = xml_next(d)) {
		if (!is_pci_controller(d) || !wants(d) || !number_or(d, "@index", 0))
			continue;
		if (!(xml_is(d, "@model", "pcie-root-port") ? place_port : place_behind_port)(pci, d, error))
			return false;
	}
	return true;
}

static bool place_cards(struct pci *pci, GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(rounds); i++) {
		for (xmlNode *d = first_device(pci->c, rounds[i].kind); d; d = xml_next(d)) {
			bool ok;

			if (!rounds[i].is(d) || !wants(d))
				continue;
			if (pci->c->micro)
				ok = place_on_root(pci, d, error);
			else
				ok = (rounds[i].conventional ? place_conventional : place_behind_port)(pci, d, error);
			if (!ok)
				return false;
		}
	}
	return true;
}

/* Chips of the ICH9, and the screen where firmware looks for it: the first pass gives these addresses already. */
static void place_fixed(struct pci *pci)
{
	struct bus *root = &pci->buses[0];
	xmlNode *sata = find_controller(pci->c, "sata", 0), *video = first_device(pci->c, "video");

	if (pci->c->micro)
		return;
	root->slots[CHIPS_SLOT] |= 1 << 0 | 1 << 3;
	if (sata && wants(sata) && !(root->slots[CHIPS_SLOT] & 1 << SATA_FUNCTION))
		set_address(pci, sata, 0, CHIPS_SLOT, SATA_FUNCTION);
	if (video && wants(video) && has_model(video) && !root->slots[VIDEO_SLOT])
		set_address(pci, video, 0, VIDEO_SLOT, 0);
}

static bool one_pass(struct completion *c, bool dry, GError **error)
{
	g_autofree struct pci *pci = g_new0(struct pci, 1);
	unsigned given;

	pci->c = c;
	for (xmlNode *d = first_device(c, "controller"); d; d = xml_next(d))
		if (is_pci_controller(d))
			note_bus(pci, d);
	given = pci->n_buses;
	if (!note_given(pci, error))
		return false;
	place_fixed(pci);
	pci->dry = dry;
	if (!place_controllers(pci, error) || !place_cards(pci, error))
		return false;
	/* Whoever writes no ports leaves them to us, and will want to plug something in. */
	return !dry || given > 1 || pci->n_buses <= given || place_behind_port(pci, NULL, error);
}

/* ---- what a port says of itself ---- */

static void finish_ports(struct completion *c)
{
	guint32 shared = 0; /* slots of bus 0 with something at another function than 0 */

	for (xmlNode *d = c->devices->children; d; d = d->next)
		if (xml_is(d, "address/@type", "pci") && xml_is(d, "address/@bus", "0x00") &&
		    number_or(d, "address/@function", 0))
			shared |= 1u << (number_or(d, "address/@slot", 0) % SLOTS);
	for (xmlNode *d = first_device(c, "controller"); d; d = xml_next(d)) {
		guint64 slot = number_or(d, "address/@slot", 0), function = number_or(d, "address/@function", 0);

		if (!is_pci_controller(d))
			continue;
		for (unsigned i = 0; i < G_N_ELEMENTS(bus_models); i++)
			if (bus_models[i].name && xml_is(d, "@model", bus_models[i].model) && !xml_text(d, "model/@name"))
				xml_set(d, "model/@name", bus_models[i].name);
		if (!xml_is(d, "@model", "pcie-root-port"))
			continue;
		if (!xml_text(d, "target/@chassis"))
			set_number(d, "target/@chassis", number_or(d, "@index", 0));
		if (!xml_text(d, "target/@port")) {
			g_autofree char *port = g_strdup_printf("0x%x", (unsigned)(slot << 3 | function) & 0xff);

			xml_set(d, "target/@port", port);
		}
		if (!function && xml_is(d, "address/@bus", "0x00") && shared >> (slot % SLOTS) & 1 &&
		    !xml_text(d, "address/@multifunction"))
			xml_set(d, "address/@multifunction", "on");
	}
}

bool complete_pci(struct completion *c, GError **error)
{
	if (c->test)
		return true;
	if (!one_pass(c, true, error) || !one_pass(c, false, error))
		return false;
	finish_ports(c);
	return true;
}
