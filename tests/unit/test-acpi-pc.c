/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pc's ACPI tables as a guest finds them: a small firmware places the files as the loader's commands say, then tables are
 * found from the RSDP, with sums and lengths. Where iasl is installed it takes each table apart and puts it together again
 * without a word of complaint.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "acpi-pc.h"
#include "bytes.h"
#include "fw-cfg.h"
#include "pc-rig.h"

enum { HEADER = 36, COMMAND = 128, TABLES_AT = 0x40000, RSDP_AT = 0xf0000 };

/* ---- a firmware ---- */

struct placed {
	GByteArray *tables, *rsdp;
};

static uint64_t base_of(const char *name)
{
	return !strcmp(name, "etc/acpi/rsdp") ? RSDP_AT : TABLES_AT;
}

static GByteArray *file_of(const struct placed *p, const char *name)
{
	if (!strcmp(name, "etc/acpi/rsdp"))
		return p->rsdp;
	assert_string_equal(name, "etc/acpi/tables");
	return p->tables;
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + *p++);
	return s;
}

static void patch(const struct placed *p, const uint8_t *c)
{
	GByteArray *in = file_of(p, (const char *)c + 4), *to = file_of(p, (const char *)c + 60);
	uint32_t at = get_le32(c + 116);
	uint8_t size = c[120], b[8] = {0};

	assert_true(size == 4 || size == 8);
	assert_true(at + size <= in->len);
	memcpy(b, in->data + at, size);
	assert_true(get_le64(b) < to->len);
	put_le64(b, get_le64(b) + base_of((const char *)c + 60));
	memcpy(in->data + at, b, size);
}

static void add_sum(const struct placed *p, const uint8_t *c)
{
	GByteArray *in = file_of(p, (const char *)c + 4);
	uint32_t at = get_le32(c + 60), start = get_le32(c + 64), len = get_le32(c + 68);

	assert_true(at < in->len && start + len <= in->len && at >= start && at < start + len);
	assert_int_equal(in->data[at], 0);
	in->data[at] = (uint8_t)-sum(in->data + start, len);
}

static void load(struct machine *m, struct placed *p)
{
	g_autoptr(GByteArray) loader = pc_rig_file(m, "etc/table-loader");
	unsigned allocated = 0;

	p->tables = pc_rig_file(m, "etc/acpi/tables");
	p->rsdp = pc_rig_file(m, "etc/acpi/rsdp");
	assert_int_equal(loader->len % COMMAND, 0);
	for (guint at = 0; at < loader->len; at += COMMAND) {
		const uint8_t *c = loader->data + at;

		switch (get_le32(c)) {
		case 0:
			break;
		case 1:
			file_of(p, (const char *)c + 4);
			allocated++;
			break;
		case 2:
			assert_int_equal(allocated, 2);
			patch(p, c);
			break;
		case 3:
			add_sum(p, c);
			break;
		default:
			fail_msg("the loader has a command %u", get_le32(c));
		}
	}
	/* Where firmware puts them. */
	assert_true(gpa_write(m->core.mem, TABLES_AT, p->tables->data, p->tables->len));
	assert_true(gpa_write(m->core.mem, RSDP_AT, p->rsdp->data, p->rsdp->len));
}

static void unload(struct placed *p)
{
	g_byte_array_unref(p->tables);
	g_byte_array_unref(p->rsdp);
}

/* ---- an OS ---- */

static const uint8_t *table_at(const struct machine *m, uint64_t gpa)
{
	const uint8_t *t = gpa_ptr(m->core.mem, gpa, HEADER);
	uint32_t len;

	assert_non_null(t);
	len = get_le32(t + 4);
	assert_non_null(gpa_ptr(m->core.mem, gpa, len));
	if (memcmp(t, "FACS", 4))
		assert_int_equal(sum(t, len), 0);
	return t;
}

static const uint8_t *root(const struct machine *m, bool extended)
{
	const uint8_t *r = gpa_ptr(m->core.mem, RSDP_AT, 36), *t;

	assert_memory_equal(r, "RSD PTR ", 8);
	assert_int_equal(sum(r, 20), 0);
	assert_int_equal(sum(r, get_le32(r + 20)), 0);
	t = table_at(m, extended ? get_le64(r + 24) : get_le32(r + 16));
	assert_memory_equal(t, extended ? "XSDT" : "RSDT", 4);
	return t;
}

/* NULL: there is none. Both lists say the same. */
static const uint8_t *find(const struct machine *m, const char *signature)
{
	const uint8_t *x = root(m, true), *r = root(m, false), *found = NULL;
	unsigned n = (get_le32(x + 4) - HEADER) / 8;

	assert_int_equal((get_le32(r + 4) - HEADER) / 4, n);
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *t = table_at(m, get_le64(x + HEADER + 8 * i));

		assert_int_equal(get_le32(r + HEADER + 4 * i), get_le64(x + HEADER + 8 * i));
		if (!memcmp(t, signature, 4))
			found = t;
	}
	return found;
}

static void add_device(struct machine *m, const char *cls)
{
	struct device *d = device_new(&m->core, cls, cls, NULL, NULL, NULL);

	assert_non_null(d);
	g_ptr_array_add(m->devices, d);
}

static void power(void **state)
{
	struct machine *m = pc_rig_new(64 << 20, 1);
	struct placed p;
	const uint8_t *f;

	assert_true(acpi_pc_add(m, NULL));
	load(m, &p);
	f = find(m, "FACP");
	assert_non_null(f);
	assert_int_equal(get_le16(f + 46), PM_GSI);
	assert_int_equal(get_le32(f + 56), PM_BASE);
	assert_int_equal(get_le32(f + 64), PM_BASE + 4);
	assert_int_equal(get_le32(f + 76), PM_BASE + 8);
	assert_int_equal(get_le32(f + 80), PM_BASE + 0x20);
	assert_int_equal(get_le64(f + 120), 0xcf9);
	assert_int_equal(get_le32(f + 112) & (1u << 20 | 1u << 4), 0); /* not reduced; the power button is PM1's */
	assert_memory_equal(table_at(m, get_le32(f + 36)), "FACS", 4);
	assert_int_equal(get_le32(f + 36) % 64, 0);
	assert_memory_equal(table_at(m, get_le32(f + 40)), "DSDT", 4);
	assert_int_equal(get_le64(f + 140), get_le32(f + 40));
	assert_null(find(m, "HPET"));
	assert_null(find(m, "MCFG"));
	unload(&p);
	pc_rig_free(m);
}

static void processors(void **state)
{
	struct machine *m = pc_rig_new(64 << 20, 6);
	struct placed p;
	const uint8_t *t;
	unsigned found = 0, overrides = 0;
	static const uint8_t ids[] = {0, 1, 2, 4, 5, 6};

	m->topology = (struct cpu_topology){2, 3, 1};
	assert_true(acpi_pc_add(m, NULL));
	load(m, &p);
	t = find(m, "APIC");
	assert_int_equal(get_le32(t + 40), 1); /* 8259s */
	for (uint32_t at = HEADER + 8; at < get_le32(t + 4); at += t[at + 1]) {
		assert_true(t[at + 1] >= 2);
		if (t[at] == 0)
			assert_int_equal(t[at + 3], ids[found++]);
		overrides += t[at] == 2;
		if (t[at] == 2 && t[at + 3] == PM_GSI) {
			assert_int_equal(get_le32(t + at + 4), PM_GSI);
			assert_int_equal(get_le16(t + at + 8), 0x000d);
		}
	}
	assert_int_equal(found, 6);
	assert_int_equal(overrides, 5);
	unload(&p);
	pc_rig_free(m);
}

/* What firmware did to PCI is in the tables that it reads afterwards, and what it did before a reset is not. */
static void late(void **state)
{
	struct machine *m = pc_rig_new(3ull << 30, 1);
	struct placed p;
	const uint8_t *t;

	add_device(m, "hpet");
	assert_true(acpi_pc_add(m, NULL));
	assert_true(pci_bus_set_ecam(m->core.pci, 0xb0000000, 256, NULL));
	load(m, &p);
	t = find(m, "MCFG");
	assert_non_null(t);
	assert_int_equal(get_le64(t + 44), 0xb0000000);
	assert_int_equal(t[54], 0);
	assert_int_equal(t[55], 255);
	t = find(m, "HPET");
	assert_int_equal(get_le64(t + 44), PC_HPET_BASE);
	unload(&p);
	assert_true(pci_bus_set_ecam(m->core.pci, 0xe0000000, 64, NULL));
	m->fw_cfg->cls->reset(m->fw_cfg);
	load(m, &p);
	t = find(m, "MCFG");
	assert_int_equal(get_le64(t + 44), 0xe0000000);
	assert_int_equal(t[55], 63);
	unload(&p);
	pc_rig_free(m);
}

/* ---- iasl ---- */

static char *run(const char *format, ...) G_GNUC_PRINTF(1, 2);
static char *run(const char *format, ...)
{
	g_autofree char *command = NULL, *out = NULL, *err = NULL;
	int status;
	va_list args;

	va_start(args, format);
	command = g_strdup_vprintf(format, args);
	va_end(args);
	assert_true(g_spawn_command_line_sync(command, &out, &err, &status, NULL));
	if (status)
		fail_msg("%s: %s%s", command, out, err);
	return g_strconcat(out, err, NULL);
}

static void check_table(const char *iasl, const char *dir, const uint8_t *t)
{
	g_autofree char *name = g_strndup((const char *)t, 4), *base = g_build_filename(dir, name, NULL);
	g_autofree char *binary = g_strconcat(base, ".aml", NULL), *dsl = g_strconcat(base, ".dsl", NULL);
	g_autofree char *apart = NULL, *together = NULL, *text = NULL;
	bool dsdt = !strcmp(name, "DSDT");
	static const char *const expected[] = {"PCI0", "_PRT", "_S3", "_S4", "_S5", "PNP0501", "PNP0303", "PNP0103", "QEMU0001",
						"QEMU0002", "_OSC", "LNKH", "PRQA", "ACPI0010",
						"_E02", "_MAT", "_EJ0", "_OST", "C03F"};

	assert_true(g_file_set_contents(binary, (const char *)t, get_le32(t + 4), NULL));
	apart = run("%s -d %s", iasl, binary);
	if (strstr(apart, "rror") || strstr(apart, "arning"))
		fail_msg("%s: %s", name, apart);
	assert_true(g_file_get_contents(dsl, &text, NULL, NULL));
	for (size_t i = 0; dsdt && i < G_N_ELEMENTS(expected); i++)
		if (!strstr(text, expected[i]))
			fail_msg("the DSDT has no %s", expected[i]);
	together = run("%s %s", iasl, dsl);
	if (dsdt ? !strstr(together, "0 Errors, 0 Warnings") : strstr(together, "rror ") != NULL)
		fail_msg("%s: %s", name, together);
	g_unlink(binary);
	g_unlink(dsl);
}

static void iasl_agrees(void **state)
{
	g_autofree char *iasl = g_find_program_in_path("iasl"), *dir = NULL;
	struct machine *m;
	struct placed p;
	const uint8_t *x;

	if (!iasl)
		skip();
	m = pc_rig_new(3ull << 30, 64);
	for (unsigned i = 1; i < m->cpus; i++)
		m->vcpu[i].absent = true;
	assert_true(cpus_add_hotplug(m, NULL));
	add_device(m, "hpet");
	add_device(m, "pvpanic");
	assert_true(acpi_pc_add(m, NULL));
	assert_true(pci_bus_set_ecam(m->core.pci, 0xe0000000, 256, NULL));
	load(m, &p);
	dir = g_dir_make_tmp("kv-acpi-XXXXXX", NULL);
	x = root(m, true);
	check_table(iasl, dir, x);
	check_table(iasl, dir, root(m, false));
	for (uint32_t at = HEADER; at < get_le32(x + 4); at += 8)
		check_table(iasl, dir, table_at(m, get_le64(x + at)));
	x = find(m, "FACP");
	check_table(iasl, dir, table_at(m, get_le32(x + 36)));
	check_table(iasl, dir, table_at(m, get_le32(x + 40)));
	assert_int_equal(g_rmdir(dir), 0);
	unload(&p);
	pc_rig_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(power), cmocka_unit_test(processors), cmocka_unit_test(late), cmocka_unit_test(iasl_agrees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
