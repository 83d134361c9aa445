/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers of processors that come and go, as firmware and the DSDT's methods use them (QEMU's docs/specs/
 * acpi_cpu_hotplug.rst): found, counted, one comes, one goes. And the tables that say where they are.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "acpi-pc.h"
#include "devices/acpi-cpu-hotplug.h"
#include "pc-rig.h"

enum { BASE = PC_CPU_HOTPLUG_PORT, STATUS = BASE + 4, COMMAND = BASE + 5, DATA = BASE + 8, CPUS = 4 };

static struct {
	unsigned events, ejected, noticed;
} seen;

static void on_gpe(void *opaque, unsigned bit)
{
	assert_int_equal(bit, 2);
	seen.events++;
}

static void on_eject(void *machine, unsigned index)
{
	seen.ejected = index;
}

static void on_notice(void *machine, enum machine_notice what, const char *name, uint32_t value)
{
	assert_int_equal(what, NOTICE_CPU_OST);
	seen.noticed = value;
}

/* Two packages of two: APIC ids are the indices. The first is there. */
static struct machine *begin(void)
{
	struct machine *m = pc_rig_new(64 << 20, CPUS);

	memset(&seen, 0, sizeof(seen));
	m->topology = (struct cpu_topology){2, 2, 1};
	for (unsigned i = 1; i < CPUS; i++)
		m->vcpu[i].absent = true;
	m->core.gpe = on_gpe;
	m->core.cpu_eject = on_eject;
	m->core.notice = on_notice;
	assert_true(cpus_add_hotplug(m, NULL));
	return m;
}

static void select_cpu(struct machine *m, uint32_t index)
{
	pc_rig_out(m, BASE, 4, index);
}

static unsigned status_of(struct machine *m, uint32_t index)
{
	select_cpu(m, index);
	return (unsigned)pc_rig_in(m, STATUS, 1);
}

/* "Detecting and enabling modern CPU hotplug interface", "Enumerate CPUs": OVMF does it so. */
static void enumerate(void **state)
{
	struct machine *m = begin();
	unsigned present = 0, possible = 0;

	cpu_hotplug_set(m->cpu_hotplug, 2, true, false);
	select_cpu(m, 0);
	pc_rig_out(m, COMMAND, 1, 0);
	assert_int_equal(pc_rig_in(m, BASE, 4), 0);
	do {
		present += pc_rig_in(m, STATUS, 1) & 1;
		select_cpu(m, ++possible);
	} while (pc_rig_in(m, DATA, 4));
	assert_int_equal(possible, CPUS);
	assert_int_equal(present, 2);
	assert_int_equal(pc_rig_in(m, STATUS, 1), 0);
	pc_rig_out(m, COMMAND, 1, 3); /* not taken: none is selected */
	select_cpu(m, 3);
	assert_int_equal(pc_rig_in(m, DATA, 4), 3); /* the selector, still */
	pc_rig_out(m, COMMAND, 1, 3);
	assert_int_equal(pc_rig_in(m, DATA, 4), 3); /* the id */
	assert_int_equal(pc_rig_in(m, BASE, 4), 0);
	assert_int_equal(seen.events, 0);
	pc_rig_free(m);
}

static void one_comes(void **state)
{
	struct machine *m = begin();
	struct cpu_ost ost;

	cpu_hotplug_set(m->cpu_hotplug, 2, true, true);
	assert_int_equal(seen.events, 1);
	select_cpu(m, 0);
	pc_rig_out(m, COMMAND, 1, 0);
	assert_int_equal(pc_rig_in(m, DATA, 4), 2);
	assert_int_equal(pc_rig_in(m, STATUS, 1), 3);
	pc_rig_out(m, STATUS, 1, 2);
	assert_int_equal(pc_rig_in(m, STATUS, 1), 1);
	pc_rig_out(m, COMMAND, 1, 0);
	assert_int_equal(pc_rig_in(m, STATUS, 1), 1); /* nothing else: the selected one stays */
	pc_rig_out(m, COMMAND, 1, 1);
	pc_rig_out(m, DATA, 4, 1);
	assert_int_equal(seen.noticed, 0);
	pc_rig_out(m, COMMAND, 1, 2);
	pc_rig_out(m, DATA, 4, 0x80);
	assert_int_equal(seen.noticed, 2);
	ost = cpu_hotplug_ost(m->cpu_hotplug, 2);
	assert_int_equal(ost.event, 1);
	assert_int_equal(ost.status, 0x80);
	pc_rig_free(m);
}

static void one_goes(void **state)
{
	struct machine *m = begin();

	cpu_hotplug_set(m->cpu_hotplug, 3, true, false);
	cpu_hotplug_ask(m->cpu_hotplug, 3);
	assert_int_equal(seen.events, 1);
	select_cpu(m, 0);
	pc_rig_out(m, COMMAND, 1, 0);
	assert_int_equal(pc_rig_in(m, STATUS, 1), 5);
	pc_rig_out(m, STATUS, 1, 4);
	assert_int_equal(pc_rig_in(m, STATUS, 1), 1);
	assert_int_equal(seen.ejected, 0);
	pc_rig_out(m, STATUS, 1, 16); /* firmware is to do it */
	assert_int_equal(pc_rig_in(m, STATUS, 1), 17);
	pc_rig_out(m, STATUS, 1, 8);
	assert_int_equal(seen.ejected, 3);
	assert_int_equal(pc_rig_in(m, STATUS, 1), 0);
	seen.ejected = 0;
	pc_rig_out(m, STATUS, 1, 8);
	select_cpu(m, 0);
	pc_rig_out(m, STATUS, 1, 8);
	assert_int_equal(seen.ejected, 0); /* neither one that is not there, nor the first */
	assert_int_equal(status_of(m, 0), 1);
	pc_rig_free(m);
}

/* A reset takes back what was under way, and no processor. */
static void reset(void **state)
{
	struct machine *m = begin();

	cpu_hotplug_set(m->cpu_hotplug, 1, true, true);
	cpu_hotplug_set(m->cpu_hotplug, 2, true, false);
	cpu_hotplug_ask(m->cpu_hotplug, 2);
	m->core.waking = true;
	m->cpu_hotplug->cls->reset(m->cpu_hotplug);
	assert_int_equal(status_of(m, 1), 3);
	m->core.waking = false;
	m->cpu_hotplug->cls->reset(m->cpu_hotplug);
	assert_int_equal(status_of(m, 1), 1);
	assert_int_equal(status_of(m, 2), 1);
	assert_int_equal(status_of(m, 3), 0);
	pc_rig_free(m);
}

static unsigned enabled(const GByteArray *tables, unsigned *ret_all)
{
	const uint8_t *t = tables->data;
	unsigned n = 0;

	*ret_all = 0;
	while (memcmp(t, "APIC", 4))
		t++;
	for (uint32_t at = 44; at < (uint32_t)(t[4] | t[5] << 8); at += t[at + 1])
		if (t[at] == 0) {
			n += t[at + 4] & 1;
			++*ret_all;
		}
	return n;
}

/* Tables say who is there when firmware reads them. */
static void tables(void **state)
{
	struct machine *m = begin();
	g_autoptr(GByteArray) before = NULL, after = NULL;
	unsigned all;

	assert_true(acpi_pc_add(m, NULL));
	before = pc_rig_file(m, "etc/acpi/tables");
	assert_int_equal(enabled(before, &all), 1);
	assert_int_equal(all, CPUS);
	m->vcpu[2].absent = false;
	m->fw_cfg->cls->reset(m->fw_cfg);
	after = pc_rig_file(m, "etc/acpi/tables");
	assert_int_equal(enabled(after, &all), 2);
	pc_rig_free(m);
}

/* Who is there, and by which names, as saved. */
static void presence(void **state)
{
	struct machine *m = begin();
	g_autoptr(GByteArray) out = g_byte_array_new();
	struct cpus_state *s;
	g_autoptr(GBytes) bytes = NULL;
	g_autoptr(GError) error = NULL;
	size_t at = 0;

	m->vcpu[0].id = g_strdup("first");
	m->vcpu[2].absent = false;
	m->vcpu[2].id = g_strdup("hot");
	s = cpus_state_get(m);
	state_save(out, &cpus_state_desc, "cpus", s);
	cpus_state_free(s);
	bytes = g_bytes_new(out->data, out->len);
	s = cpus_state_new();
	assert_true(state_load(bytes, &at, &cpus_state_desc, "cpus", s, NULL));
	m->cpus = 2; /* of a machine that has fewer */
	assert_false(cpus_state_set(m, s, &error));
	assert_non_null(strstr(error->message, "processors 0x5, of 2"));
	cpus_state_free(s);
	assert_int_equal(cpus_find(m, "first"), 0);
	m->cpus = CPUS;
	assert_int_equal(cpus_find(m, "hot"), 2);
	assert_int_equal(cpus_find(m, "cold"), -1);
	g_free(m->vcpu[0].id);
	g_free(m->vcpu[2].id);
	pc_rig_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(enumerate), cmocka_unit_test(one_comes), cmocka_unit_test(one_goes),
		cmocka_unit_test(reset),     cmocka_unit_test(tables),	  cmocka_unit_test(presence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
