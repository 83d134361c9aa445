/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * acpi.c as a guest finds it: from the RSDP in low memory to each table, with sums and lengths;
 * what is said about processors, power and PCI. Where iasl is installed it reads the DSDT.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "bytes.h"
#include "internal.h"

enum { RAM = 2 << 20, HEADER = 36 };

static struct machine *built(unsigned cpus)
{
	struct machine *m = g_new0(struct machine, 1);
	uint64_t rsdp = 0;

	m->core.vm_fd = -1;
	m->core.mem = mem_new(-1);
	m->cpus = cpus;
	m->topology = (struct cpu_topology){1, cpus, 1};
	m->memory = RAM;
	m->mmio64_base = 0x400000000;
	assert_true(mem_add_ram(m->core.mem, 0, RAM, NULL));
	assert_true(acpi_build(m, &rsdp, NULL));
	/* Where guests look without being told (5.2.5.1). */
	assert_in_range(rsdp, 0xe0000, 0xfffff);
	assert_int_equal(rsdp % 16, 0);
	return m;
}

static void unbuild(struct machine *m)
{
	mem_free(m->core.mem);
	g_free(m);
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s += *p++;
	return s;
}

static const uint8_t *table_at(const struct machine *m, uint64_t gpa)
{
	const uint8_t *t = gpa_ptr(m->core.mem, gpa, HEADER);
	uint32_t len;

	assert_non_null(t);
	len = get_le32(t + 4);
	assert_true(len >= HEADER && gpa + len <= 0x100000);
	assert_int_equal(sum(t, len), 0);
	return t;
}

static const uint8_t *xsdt(const struct machine *m)
{
	const uint8_t *r = gpa_ptr(m->core.mem, 0xe0000, 36), *x;

	assert_memory_equal(r, "RSD PTR ", 8);
	assert_int_equal(sum(r, 20), 0);
	assert_int_equal(sum(r, get_le32(r + 20)), 0);
	x = table_at(m, get_le64(r + 24));
	assert_memory_equal(x, "XSDT", 4);
	return x;
}

static const uint8_t *find(const struct machine *m, const char *signature)
{
	const uint8_t *x = xsdt(m);

	for (uint32_t at = HEADER; at < get_le32(x + 4); at += 8) {
		const uint8_t *t = table_at(m, get_le64(x + at));

		if (!memcmp(t, signature, 4))
			return t;
	}
	fail_msg("there is no %s", signature);
	return NULL;
}

static void power(void **state)
{
	struct machine *m = built(1);
	const uint8_t *f = find(m, "FACP");

	assert_int_equal(get_le32(f + 4), 276);
	assert_int_equal(get_le32(f + 112) >> 20 & 1, 1); /* hardware-reduced */
	assert_int_equal(get_le32(f + 112) >> 10 & 1, 1); /* with a reset register */
	assert_int_equal(get_le64(f + 120), 0x602);
	assert_int_equal(f[128], 1);
	assert_int_equal(get_le64(f + 248), 0x600);
	assert_int_equal(get_le64(f + 260), 0x601);
	assert_memory_equal(table_at(m, get_le64(f + 140)), "DSDT", 4);
	unbuild(m);
}

static void processors(void **state)
{
	static const unsigned cpus[] = { 1, 2, 7, VCPUS_MAX };

	for (size_t i = 0; i < G_N_ELEMENTS(cpus); i++) {
		struct machine *m = built(cpus[i]);
		const uint8_t *t = find(m, "APIC");
		unsigned found = 0, io = 0;

		for (uint32_t at = HEADER + 8; at < get_le32(t + 4); at += t[at + 1]) {
			assert_true(t[at + 1] >= 2);
			if (t[at] == 0) {
				assert_int_equal(t[at + 3], found++);
				assert_int_equal(get_le32(t + at + 4) & 1, 1);
			} else if (t[at] == 1) {
				assert_int_equal(get_le32(t + at + 4), IOAPIC_BASE);
				io++;
			}
		}
		assert_int_equal(found, cpus[i]);
		assert_int_equal(io, 1);
		unbuild(m);
	}
}

static void configuration_space(void **state)
{
	struct machine *m = built(1);
	const uint8_t *t = find(m, "MCFG");

	assert_int_equal(get_le32(t + 4), 60);
	assert_int_equal(get_le64(t + 44), ECAM_BASE);
	assert_int_equal(t[54], 0);
	assert_int_equal((t[55] + 1ull) << 20, ECAM_SIZE);
	unbuild(m);
}

/* The compiler that everybody uses understands the DSDT, without a complaint. */
static void dsdt_is_aml(void **state)
{
	g_autofree char *iasl = g_find_program_in_path("iasl"), *dir = NULL, *aml = NULL, *dsl = NULL;
	g_autofree char *out = NULL, *err = NULL, *text = NULL, *command = NULL;
	struct machine *m = built(2);
	const uint8_t *dsdt = table_at(m, get_le64(find(m, "FACP") + 140));
	static const char *const expected[] = { "PCI0", "_PRT", "_S5", "PNP0501", "ACPI0013", "PNP0C0C", "_OSC" };
	int status;

	if (!iasl) {
		unbuild(m);
		skip();
	}
	dir = g_dir_make_tmp("kv-acpi-XXXXXX", NULL);
	aml = g_build_filename(dir, "dsdt.aml", NULL);
	dsl = g_build_filename(dir, "dsdt.dsl", NULL);
	assert_true(g_file_set_contents(aml, (const char *)dsdt, get_le32(dsdt + 4), NULL));
	command = g_strdup_printf("%s -d %s", iasl, aml);
	assert_true(g_spawn_command_line_sync(command, &out, &err, &status, NULL));
	assert_int_equal(status, 0);
	assert_null(strstr(err, "rror"));
	assert_true(g_file_get_contents(dsl, &text, NULL, NULL));
	for (size_t i = 0; i < G_N_ELEMENTS(expected); i++)
		if (!strstr(text, expected[i]))
			fail_msg("the DSDT has no %s", expected[i]);
	g_unlink(aml);
	g_unlink(dsl);
	g_rmdir(dir);
	unbuild(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(power), cmocka_unit_test(processors),
		cmocka_unit_test(configuration_space), cmocka_unit_test(dsdt_is_aml),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
