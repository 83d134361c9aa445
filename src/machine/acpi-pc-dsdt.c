/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The DSDT of the pc board (ACPI 6.4, chapters 6 and 19; PCI firmware specification 3.0, 4.5 for _OSC): the PCI host bridge with
 * the windows that firmware left free for BARs, interrupt routing by the 8259s (the LPC bridge's link registers, ICH9 datasheet
 * 13.1.19) and by the I/O APIC (GSI 16 and on), and the legacy devices, which no bus can find. Called by acpi-pc.c.
 */
#include <string.h>

#include "acpi-pc.h"
#include "bytes.h"
#include "fw-cfg.h"
#include "pci.h"

#define VGA_FIRST	0xa0000u
#define VGA_LAST	0xbffffu
#define WINDOW_END	IOAPIC_BASE /* for BARs below 4 GiB */
#define WINDOW64_UNIT	(1ull << 30)
#define WINDOW64_SIZE	(32ull << 30) /* at least, so that there is room for what is plugged in */
#define LINKS		8
#define LINK_SCOPE	"\\_SB_.PCI0.ISA_."
#define PINS		4
#define SLOTS		32
#define LINK_DISABLED	0x80

bool acpi_pc_has(const struct machine *m, const char *cls)
{
	for (unsigned i = 0; m->devices && i < m->devices->len; i++)
		if (!strcmp(((const struct device *)m->devices->pdata[i])->cls->name, cls))
			return true;
	return false;
}

static unsigned devices_of(const struct machine *m, const char *cls)
{
	unsigned n = 0;

	for (unsigned i = 0; m->devices && i < m->devices->len; i++)
		n += !strcmp(((const struct device *)m->devices->pdata[i])->cls->name, cls);
	return n;
}

/* ---- interrupts ---- */

/* Firmware and drivers choose between the 8259s (0) and the APIC (1). */
static void interrupt_model(aml *a)
{
	static const uint8_t store[] = {AML_STORE, AML_ARG0};
	unsigned mark;

	aml_named_int(a, "PICF", 0);
	mark = aml_begin_method(a, "_PIC", 1, false);
	aml_bytes(a, store, sizeof(store));
	aml_name(a, "PICF");
	aml_end(a, mark);
}

/* Lines are links A to D, and GSI 16 to 19. */
static void routes(aml *a, const struct machine_core *core, const char *name, bool apic)
{
	unsigned package;

	aml_byte(a, 8);
	aml_name(a, name);
	package = aml_begin_package(a, SLOTS * PINS);
	for (unsigned i = 0; i < SLOTS * PINS; i++) {
		unsigned slot = i / PINS, pin = i % PINS, line = pci_intx_line(core, slot, pin + 1);
		unsigned entry = aml_begin_package(a, 4);
		char link[] = {'L', 'N', 'K', (char)('A' + line), 0};

		aml_int(a, slot << 16 | 0xffff);
		aml_int(a, pin);
		if (apic)
			aml_int(a, 0);
		else
			aml_name(a, link);
		aml_int(a, apic ? 16 + line : 0);
		aml_end(a, entry);
	}
	aml_end(a, package);
}

static void pci_routing(aml *a, const struct machine_core *core)
{
	unsigned method, condition;

	routes(a, core, "PRTP", false);
	routes(a, core, "PRTA", true);
	method = aml_begin_method(a, "_PRT", 0, false);
	condition = aml_begin_if(a);
	aml_name(a, "PICF");
	aml_return(a, "PRTA");
	aml_end(a, condition);
	aml_return(a, "PRTP");
	aml_end(a, method);
}

static void put_register(aml *a, unsigned link)
{
	g_autofree char *name = g_strdup_printf(LINK_SCOPE "PRQ%c", 'A' + link);

	aml_name(a, name);
}

static void link_status(aml *a, unsigned link)
{
	unsigned method = aml_begin_method(a, "_STA", 0, false), condition = aml_begin_if(a);

	aml_byte(a, AML_AND);
	put_register(a, link);
	aml_int(a, LINK_DISABLED);
	aml_byte(a, AML_ZERO);
	aml_byte(a, AML_RETURN);
	aml_int(a, 0x09); /* there, not enabled */
	aml_end(a, condition);
	aml_byte(a, AML_RETURN);
	aml_int(a, 0x0b);
	aml_end(a, method);
}

static void link_disable(aml *a, unsigned link)
{
	unsigned method = aml_begin_method(a, "_DIS", 0, false);

	aml_byte(a, AML_OR);
	put_register(a, link);
	aml_int(a, LINK_DISABLED);
	put_register(a, link);
	aml_end(a, method);
}

/* The interrupt of the only descriptor is at byte 5 of the buffer. */
static void link_resources(aml *a, unsigned link)
{
	static const uint32_t none = 0;
	unsigned method = aml_begin_method(a, "_CRS", 0, true);
	aml *now = g_byte_array_new();

	aml_shared_irqs(now, &none, 1);
	aml_resource_end(now);
	aml_named_buffer(a, "PRR0", now);
	aml_dword_field(a, "PRR0", 0, 5, "PRRI");
	aml_byte(a, AML_AND);
	put_register(a, link);
	aml_int(a, 0x0f);
	aml_name(a, "PRRI");
	aml_return(a, "PRR0");
	aml_end(a, method);
	method = aml_begin_method(a, "_SRS", 1, true);
	aml_dword_field(a, NULL, 0, 5, "PRRI");
	aml_byte(a, AML_STORE);
	aml_name(a, "PRRI");
	put_register(a, link);
	aml_end(a, method);
}

static void links(aml *a)
{
	static const uint32_t possible[] = {5, 10, 11};

	for (unsigned i = 0; i < LINKS; i++) {
		char name[] = {'L', 'N', 'K', (char)('A' + i), 0};
		unsigned dev = aml_begin_device(a, name);
		aml *irqs = g_byte_array_new();

		aml_named_id(a, "_HID", "PNP0C0F");
		aml_named_int(a, "_UID", i);
		aml_shared_irqs(irqs, possible, G_N_ELEMENTS(possible));
		aml_resource_end(irqs);
		aml_named_buffer(a, "_PRS", irqs);
		link_status(a, i);
		link_disable(a, i);
		link_resources(a, i);
		aml_end(a, dev);
	}
}

/* ---- the host bridge ---- */

/* The OS may have native hot plug, PME, AER and the capability structure; SHPC is not there. */
static void osc(aml *a)
{
	static const uint8_t uuid[] = {0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40,
				       0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66};
	static const uint8_t equal[] = {AML_EQUAL, AML_ARG0, 0x11, 0x13, 0x0a, sizeof(uuid)}; /* Arg0 == Buffer (16) {...} */
	static const uint8_t grant[] = {AML_AND, 'C', 'D', 'W', '3', 0x0a, 0x1d, AML_LOCAL0};
	static const uint8_t old[] = {AML_NOT, AML_EQUAL, AML_ARG0 + 1, 1}; /* Arg1 != 1 */
	static const uint8_t less[] = {AML_NOT, AML_EQUAL, 'C', 'D', 'W', '3', AML_LOCAL0};
	static const uint8_t bad_revision[] = {AML_OR, 'C', 'D', 'W', '1', 0x0a, 8, 'C', 'D', 'W', '1'};
	static const uint8_t masked[] = {AML_OR, 'C', 'D', 'W', '1', 0x0a, 16, 'C', 'D', 'W', '1'};
	static const uint8_t store[] = {AML_STORE, AML_LOCAL0, 'C', 'D', 'W', '3'};
	static const uint8_t unknown[] = {AML_OR, 'C', 'D', 'W', '1', 0x0a, 4, 'C', 'D', 'W', '1'};
	static const uint8_t end[] = {AML_RETURN, AML_ARG0 + 3};
	unsigned method = aml_begin_method(a, "_OSC", 4, true), mark, inner;

	aml_dword_field(a, NULL, 3, 0, "CDW1");
	mark = aml_begin_if(a);
	aml_bytes(a, equal, sizeof(equal));
	aml_bytes(a, uuid, sizeof(uuid));
	aml_dword_field(a, NULL, 3, 8, "CDW3");
	aml_bytes(a, grant, sizeof(grant));
	inner = aml_begin_if(a);
	aml_bytes(a, old, sizeof(old));
	aml_bytes(a, bad_revision, sizeof(bad_revision));
	aml_end(a, inner);
	inner = aml_begin_if(a);
	aml_bytes(a, less, sizeof(less));
	aml_bytes(a, masked, sizeof(masked));
	aml_end(a, inner);
	aml_bytes(a, store, sizeof(store));
	aml_end(a, mark);
	mark = aml_begin_else(a);
	aml_bytes(a, unknown, sizeof(unknown));
	aml_end(a, mark);
	aml_bytes(a, end, sizeof(end));
	aml_end(a, method);
}

/* From RAM's end to the I/O APIC, around the configuration space. */
static void windows32(aml *crs, uint64_t first, uint64_t ecam, uint64_t ecam_size)
{
	bool inside = ecam_size && ecam < WINDOW_END && ecam + ecam_size > first;

	if (!inside) {
		aml_memory_window32(crs, (uint32_t)first, (uint32_t)(WINDOW_END - 1));
		return;
	}
	if (ecam > first)
		aml_memory_window32(crs, (uint32_t)first, (uint32_t)(ecam - 1));
	if (ecam + ecam_size < WINDOW_END)
		aml_memory_window32(crs, (uint32_t)(ecam + ecam_size), (uint32_t)(WINDOW_END - 1));
}

/* Where firmware placed the large BARs, or where an OS may. */
static void window64(aml *crs, const struct machine *m)
{
	uint64_t low = pc_low_ram(m->memory), top = HIGH_RAM_BASE + m->memory - low, first, last, end;

	if (!pci_bus_high_bars(m->core.pci, &first, &last) || first < top || last > 1ull << 52) {
		first = align_up(top, WINDOW64_UNIT);
		last = first;
	}
	first = MAX(align_down(first, WINDOW64_UNIT), top);
	end = MAX(align_up(last + 1, WINDOW64_UNIT), first + WINDOW64_SIZE);
	aml_memory_window64(crs, first, end - 1);
}

static void resources(aml *a, const struct machine *m, uint64_t ecam, unsigned buses)
{
	aml *crs = g_byte_array_new();

	aml_bus_range(crs, 0, (uint16_t)(MAX(buses, 1u) - 1));
	aml_io(crs, 0xcf8, 8);
	aml_io_window(crs, 0, 0xcf7);
	aml_io_window(crs, 0xd00, 0xffff);
	aml_memory_window32(crs, VGA_FIRST, VGA_LAST);
	windows32(crs, pc_low_ram(m->memory), ecam, (uint64_t)buses << 20);
	window64(crs, m);
	aml_resource_end(crs);
	aml_named_buffer(a, "_CRS", crs);
}

/* ---- behind the LPC bridge ---- */

static void legacy(aml *a, const char *name, const char *id, unsigned uid, aml *crs)
{
	unsigned dev = aml_begin_device(a, name);

	aml_named_id(a, "_HID", id);
	aml_named_int(a, "_UID", uid);
	aml_resource_end(crs);
	aml_named_buffer(a, "_CRS", crs);
	aml_end(a, dev);
}

static void legacy_port(aml *a, const char *name, const char *id, unsigned uid, uint16_t port, uint8_t ports, unsigned irq)
{
	aml *crs = g_byte_array_new();

	aml_io(crs, port, ports);
	aml_isa_irq(crs, irq);
	legacy(a, name, id, uid, crs);
}

static void keyboard(aml *a)
{
	aml *crs = g_byte_array_new(), *mouse = g_byte_array_new();

	aml_io(crs, 0x60, 1);
	aml_io(crs, 0x64, 1);
	aml_isa_irq(crs, 1);
	legacy(a, "KBD_", "PNP0303", 0, crs);
	aml_isa_irq(mouse, 12);
	legacy(a, "MOU_", "PNP0F13", 0, mouse);
}

static void link_registers(aml *a)
{
	unsigned field;

	aml_region(a, "PRR0", 2, 0x60, 12); /* PCI configuration space */
	field = aml_begin_field(a, "PRR0", 0);
	for (unsigned i = 0; i < LINKS; i++) {
		char name[] = {'P', 'R', 'Q', (char)('A' + i), 0};

		if (i == LINKS / 2)
			aml_field(a, NULL, 32);
		aml_field(a, name, 8);
	}
	aml_end(a, field);
}

/* RDPT and WRPT are for drivers that know the device by its methods (QEMU's docs/specs/pvpanic.txt). */
static void panic_port(aml *a)
{
	static const uint8_t store[] = {AML_STORE, AML_ARG0};
	unsigned dev = aml_begin_device(a, "PEVT"), mark;
	aml *crs = g_byte_array_new();

	aml_byte(a, 8);
	aml_name(a, "_HID");
	aml_string(a, "QEMU0001");
	aml_named_int(a, "_STA", 0x0f);
	aml_io(crs, PC_PVPANIC_PORT, 1);
	aml_resource_end(crs);
	aml_named_buffer(a, "_CRS", crs);
	aml_region(a, "PEOR", 1, PC_PVPANIC_PORT, 1); /* ports */
	mark = aml_begin_field(a, "PEOR", 1);	      /* bytes */
	aml_field(a, "PEPT", 8);
	aml_end(a, mark);
	mark = aml_begin_method(a, "RDPT", 0, false);
	aml_return(a, "PEPT");
	aml_end(a, mark);
	mark = aml_begin_method(a, "WRPT", 1, false);
	aml_bytes(a, store, sizeof(store));
	aml_name(a, "PEPT");
	aml_end(a, mark);
	aml_end(a, dev);
}

static void lpc_bridge(aml *a, const struct machine *m)
{
	unsigned dev = aml_begin_device(a, "ISA_");

	aml_named_int(a, "_ADR", 0x1f0000);
	link_registers(a);
	legacy_port(a, "COM1", "PNP0501", 1, COM1_BASE, 8, COM1_GSI);
	if (devices_of(m, "ns16550") > 1)
		legacy_port(a, "COM2", "PNP0501", 2, 0x2f8, 8, 3);
	legacy_port(a, "RTC_", "PNP0B00", 0, 0x70, 8, RTC_GSI);
	keyboard(a);
	if (acpi_pc_has(m, "pvpanic"))
		panic_port(a);
	aml_end(a, dev);
}

static void fw_cfg(aml *a)
{
	unsigned dev = aml_begin_device(a, "FWCF");
	aml *crs = g_byte_array_new();

	aml_byte(a, 8);
	aml_name(a, "_HID");
	aml_string(a, "QEMU0002");
	aml_named_int(a, "_STA", 0x0b);
	aml_io(crs, FW_CFG_PORT, FW_CFG_PORTS);
	aml_resource_end(crs);
	aml_named_buffer(a, "_CRS", crs);
	aml_end(a, dev);
}

static void pci_bridge(aml *a, const struct machine *m, uint64_t ecam, unsigned buses)
{
	unsigned dev = aml_begin_device(a, "PCI0");

	aml_named_id(a, "_HID", "PNP0A08");
	aml_named_id(a, "_CID", "PNP0A03");
	aml_named_int(a, "_BBN", 0);
	aml_named_int(a, "_SEG", 0);
	aml_named_int(a, "_UID", 0);
	resources(a, m, ecam, buses);
	pci_routing(a, &m->core);
	osc(a);
	lpc_bridge(a, m);
	fw_cfg(a);
	if (m->cpu_hotplug)
		acpi_pc_cpu_registers(a);
	aml_end(a, dev);
}

/* Memory that belongs to no bus. */
static void board_memory(aml *a, const char *name, const char *id, uint64_t base, uint64_t size)
{
	aml *crs = g_byte_array_new();

	aml_fixed_memory(crs, (uint32_t)base, (uint32_t)size);
	legacy(a, name, id, 0, crs);
}

/* The sleep type for PM1a, and for a PM1b that there is not. */
static void sleep_state(aml *a, const char *name, unsigned type)
{
	unsigned package;

	aml_byte(a, 8);
	aml_name(a, name);
	package = aml_begin_package(a, 4);
	aml_int(a, type);
	aml_int(a, type);
	aml_int(a, 0);
	aml_int(a, 0);
	aml_end(a, package);
}

GByteArray *acpi_pc_dsdt(const struct machine *m)
{
	GByteArray *t = acpi_table_new("DSDT", 2, ACPI_PC_OEM_TABLE);
	uint64_t ecam;
	unsigned scope, buses = pci_bus_ecam(m->core.pci, &ecam);

	interrupt_model(t);
	sleep_state(t, "\\_S3_", PC_SLP_TYP_S3);
	sleep_state(t, "\\_S4_", PC_SLP_TYP_S4);
	sleep_state(t, "\\_S5_", PC_SLP_TYP_S5);
	scope = aml_begin_scope(t, "\\_SB_");
	if (!m->cpu_hotplug)
		acpi_processors(t, m->cpus);
	pci_bridge(t, m, ecam, buses);
	if (m->cpu_hotplug)
		acpi_pc_cpus(t, m);
	links(t);
	if (buses)
		board_memory(t, "DRAC", "PNP0C01", ecam, (uint64_t)buses << 20);
	if (acpi_pc_has(m, "hpet"))
		board_memory(t, "HPET", "PNP0103", PC_HPET_BASE, 0x400);
	aml_end(t, scope);
	if (m->cpu_hotplug)
		acpi_pc_cpu_event(t);
	return t;
}
