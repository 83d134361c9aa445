/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processors in the pc board's DSDT where some may come and go (ACPI 6.4, 5.6.6, 6.3, 8.4): a container whose methods work with
 * the registers of devices/acpi-cpu-hotplug.c, and general purpose event 2, which looks what happened. One mutex for all: a
 * processor is selected before it is looked at. Called by acpi-pc-dsdt.c.
 */
#include "acpi-pc.h"
#include "cpu.h"
#include "devices/acpi-cpu-hotplug.h"

#define REGISTERS "\\_SB_.PCI0.PRES."
#define LOCK	  REGISTERS "CPLK"
#define SELECTOR  REGISTERS "CSEL"
#define COMMAND	  REGISTERS "CCMD"
#define DATA	  REGISTERS "CDAT"
#define ENABLED	  REGISTERS "CPEN"
#define INSERTED  REGISTERS "CINS"
#define REMOVED	  REGISTERS "CRMV"
#define EJECT	  REGISTERS "CEJ0"

enum { OP_NOTIFY = 0x86, OP_WHILE = 0xa2, OP_EXT = 0x5b, OP_MUTEX = 0x01, OP_ACQUIRE = 0x23, OP_RELEASE = 0x27 };
enum { DEVICE_CHECK = 1, EJECT_REQUEST = 3 };
enum { FIELD_BYTES = 1, FIELD_DWORDS = 3, FIELD_ZEROES = 2 << 5 /* bits that are not written are 0 */ };
enum { GET_PENDING = 0, OST_EVENT = 1, OST_STATUS = 2 };
enum { PRESENT = 0x0f };

static void acquire(aml *a)
{
	static const uint8_t op[] = {OP_EXT, OP_ACQUIRE}, for_ever[] = {0xff, 0xff};

	aml_bytes(a, op, sizeof(op));
	aml_name(a, LOCK);
	aml_bytes(a, for_ever, sizeof(for_ever));
}

static void release(aml *a)
{
	static const uint8_t op[] = {OP_EXT, OP_RELEASE};

	aml_bytes(a, op, sizeof(op));
	aml_name(a, LOCK);
}

static void store_int(aml *a, uint64_t v, const char *name)
{
	aml_byte(a, AML_STORE);
	aml_int(a, v);
	aml_name(a, name);
}

/* op: an argument or a local. */
static void store_op(aml *a, uint8_t op, const char *name)
{
	aml_byte(a, AML_STORE);
	aml_byte(a, op);
	aml_name(a, name);
}

static void set_local(aml *a, uint64_t v)
{
	aml_byte(a, AML_STORE);
	aml_int(a, v);
	aml_byte(a, AML_LOCAL0);
}

void acpi_pc_cpu_registers(aml *a)
{
	unsigned dev = aml_begin_device(a, "PRES"), field;
	static const uint8_t mutex[] = {OP_EXT, OP_MUTEX};
	aml *crs = g_byte_array_new();

	aml_named_id(a, "_HID", "PNP0A06");
	aml_byte(a, 8);
	aml_name(a, "_UID");
	aml_string(a, "CPU hotplug");
	aml_bytes(a, mutex, sizeof(mutex));
	aml_name(a, "CPLK");
	aml_byte(a, 0); /* level */
	aml_io(crs, PC_CPU_HOTPLUG_PORT, CPU_HOTPLUG_PORTS);
	aml_resource_end(crs);
	aml_named_buffer(a, "_CRS", crs);
	aml_region(a, "PRST", 1, PC_CPU_HOTPLUG_PORT, CPU_HOTPLUG_PORTS);
	field = aml_begin_field(a, "PRST", FIELD_BYTES | FIELD_ZEROES);
	aml_field(a, NULL, 32);
	aml_field(a, "CPEN", 1);
	aml_field(a, "CINS", 1);
	aml_field(a, "CRMV", 1);
	aml_field(a, "CEJ0", 1);
	aml_field(a, NULL, 4);
	aml_field(a, "CCMD", 8);
	aml_end(a, field);
	field = aml_begin_field(a, "PRST", FIELD_DWORDS);
	aml_field(a, "CSEL", 32);
	aml_field(a, NULL, 32);
	aml_field(a, "CDAT", 32);
	aml_end(a, field);
	aml_end(a, dev);
}

/* CSTA (n): _STA of processor n. */
static void method_status(aml *a)
{
	unsigned method = aml_begin_method(a, "CSTA", 1, true), condition;
	static const uint8_t end[] = {AML_RETURN, AML_LOCAL0};

	acquire(a);
	store_op(a, AML_ARG0, SELECTOR);
	set_local(a, 0);
	condition = aml_begin_if(a);
	aml_name(a, ENABLED);
	set_local(a, PRESENT);
	aml_end(a, condition);
	release(a);
	aml_bytes(a, end, sizeof(end));
	aml_end(a, method);
}

static void method_eject(aml *a)
{
	unsigned method = aml_begin_method(a, "CEJ0", 1, true);

	acquire(a);
	store_op(a, AML_ARG0, SELECTOR);
	store_int(a, 1, EJECT);
	release(a);
	aml_end(a, method);
}

/* COST (n, event, status) */
static void method_ost(aml *a)
{
	unsigned method = aml_begin_method(a, "COST", 3, true);

	acquire(a);
	store_op(a, AML_ARG0, SELECTOR);
	store_int(a, OST_EVENT, COMMAND);
	store_op(a, AML_ARG0 + 1, DATA);
	store_int(a, OST_STATUS, COMMAND);
	store_op(a, AML_ARG0 + 2, DATA);
	release(a);
	aml_end(a, method);
}

/* CTFY (n, what): a name cannot be an argument. */
static void method_notify(aml *a, const struct machine *m)
{
	unsigned method = aml_begin_method(a, "CTFY", 2, false);

	for (unsigned i = 0; i < m->cpus; i++) {
		g_autofree char *name = g_strdup_printf("C%03X", i);
		unsigned condition = aml_begin_if(a);

		aml_byte(a, AML_EQUAL);
		aml_byte(a, AML_ARG0);
		aml_int(a, i);
		aml_byte(a, OP_NOTIFY);
		aml_name(a, name);
		aml_byte(a, AML_ARG0 + 1);
		aml_end(a, condition);
	}
	aml_end(a, method);
}

/* If it happened to the selected one: that is told, and done with. */
static void tell(aml *a, const char *what, unsigned notification)
{
	unsigned condition = aml_begin_if(a);

	aml_name(a, what);
	aml_name(a, "CTFY");
	aml_name(a, DATA);
	aml_int(a, notification);
	store_int(a, 1, what);
	set_local(a, 1);
	aml_end(a, condition);
}

/* CSCN: until nothing is pending. */
static void method_scan(aml *a)
{
	unsigned method = aml_begin_method(a, "CSCN", 0, true), loop;

	acquire(a);
	set_local(a, 1);
	store_int(a, 0, SELECTOR);
	loop = aml_begin(a, (const uint8_t[]){OP_WHILE}, 1);
	aml_byte(a, AML_LOCAL0);
	set_local(a, 0);
	store_int(a, GET_PENDING, COMMAND);
	tell(a, INSERTED, DEVICE_CHECK);
	tell(a, REMOVED, EJECT_REQUEST);
	aml_end(a, loop);
	release(a);
	aml_end(a, method);
}

/* Its entry of the MADT, as it is when it is there. */
static void madt_entry(aml *a, const struct machine *m, unsigned index)
{
	aml *mat = g_byte_array_new();

	acpi_put_lapic(mat, m, index, true);
	aml_named_buffer(a, "_MAT", mat);
}

/* A processor's method is one of the container's with its number, and with the first `hands_on` of its own arguments. */
static void call(aml *a, const char *method, unsigned args, const char *to, unsigned index, unsigned hands_on)
{
	unsigned mark = aml_begin_method(a, method, args, true);

	if (!args)
		aml_byte(a, AML_RETURN);
	aml_name(a, to);
	aml_int(a, index);
	for (unsigned i = 0; i < hands_on; i++)
		aml_byte(a, (uint8_t)(AML_ARG0 + i));
	aml_end(a, mark);
}

static void processor(aml *a, const struct machine *m, unsigned index)
{
	g_autofree char *name = g_strdup_printf("C%03X", index);
	unsigned dev = aml_begin_device(a, name);

	aml_byte(a, 8);
	aml_name(a, "_HID");
	aml_string(a, "ACPI0007");
	aml_named_int(a, "_UID", index);
	call(a, "_STA", 0, "CSTA", index, 0);
	madt_entry(a, m, index);
	if (index)
		call(a, "_EJ0", 1, "CEJ0", index, 0);
	call(a, "_OST", 3, "COST", index, 2);
	aml_end(a, dev);
}

void acpi_pc_cpus(aml *a, const struct machine *m)
{
	unsigned dev = aml_begin_device(a, "CPUS");

	aml_byte(a, 8);
	aml_name(a, "_HID");
	aml_string(a, "ACPI0010");
	aml_named_id(a, "_CID", "PNP0A05");
	method_status(a);
	method_eject(a);
	method_ost(a);
	method_notify(a, m);
	method_scan(a);
	for (unsigned i = 0; i < m->cpus; i++)
		processor(a, m, i);
	aml_end(a, dev);
}

void acpi_pc_cpu_event(aml *a)
{
	unsigned scope = aml_begin_scope(a, "\\_GPE"), method = aml_begin_method(a, "_E02", 0, false);

	aml_name(a, "\\_SB_.CPUS.CSCN");
	aml_end(a, method);
	aml_end(a, scope);
}
