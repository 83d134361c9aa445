/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small devices that tell the machine's owner something: pvpanic, the 6300ESB's watchdog, isa-debug-exit; and isa-debugcon. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <glib/gstdio.h>
#include <linux/pci_regs.h>

#include "device.h"
#include "pci.h"

enum { ECAM = 0xb0000000, WINDOW = 0xc0000000 };
enum { PRELOAD1 = 0, PRELOAD2 = 4, RELOAD = 12, CONFIG = 0x60, LOCK = 0x68, FAST = 4, NO_REBOOT = 32 };

struct test {
	struct machine_core core;
	struct device *dev;
};

static GArray *heard; /* of uint64_t: what, value */

static void notice(void *machine, enum machine_notice what, const char *name, uint32_t value)
{
	uint64_t v = (uint64_t)what << 32 | value;

	g_array_append_val(heard, v);
}

static void request(void *machine, enum machine_request what)
{
}

static GVariant *words(const struct device_class *cls, const char *text)
{
	g_autoptr(GVariant) w = g_variant_ref_sink(g_variant_new_parsed(text));
	g_autoptr(GError) error = NULL;
	GVariant *options = device_options(cls, w, &error);

	if (!options)
		fail_msg("%s", error->message);
	return options;
}

static void open_device(struct test *t, const char *cls, const char *options)
{
	const struct pci_windows windows = {WINDOW, 0x1000000, 1ull << 40, 1 << 30, 0xc000, 0x1000};
	g_autoptr(GVariant) values = words(device_class_find(cls), options);
	uint16_t command = PCI_COMMAND_MEMORY;
	g_autoptr(GError) error = NULL;

	*t = (struct test){.core = {.vm_fd = -1, .request = request, .notice = notice}};
	heard = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	t->core.mem = mem_new(-1);
	t->core.ports = bus_new("port");
	t->core.mmio = bus_new("mmio");
	t->core.pci = pci_bus_new(&t->core, &windows, NULL);
	pci_bus_set_ecam(t->core.pci, ECAM, 1, NULL);
	t->dev = device_new(&t->core, cls, "dev", values, NULL, &error);
	if (!t->dev)
		fail_msg("%s", error->message);
	bus_access(t->core.mmio, ECAM + PCI_COMMAND, &command, 2, true);
}

static void close_device(struct test *t)
{
	device_free(t->dev);
	pci_bus_free(t->core.pci);
	bus_free(t->core.mmio);
	bus_free(t->core.ports);
	mem_free(t->core.mem);
	g_array_unref(heard);
}

static void wr(struct test *t, uint64_t at, unsigned size, uint64_t v)
{
	bus_access(t->core.mmio, at, &v, size, true);
}

static uint64_t rd(struct test *t, uint64_t at, unsigned size)
{
	uint64_t v = 0;

	bus_access(t->core.mmio, at, &v, size, false);
	return v;
}

static void test_pvpanic_port(void **state)
{
	uint8_t v = 0xaa;
	struct test t;

	open_device(&t, "pvpanic", "@a{ss} {}");
	assert_true(bus_access(t.core.ports, 0x505, &v, 1, false));
	assert_int_equal(v, 3);
	assert_true(bus_access(t.core.ports, 0x505, &v, 1, true));
	assert_int_equal(heard->len, 1);
	assert_int_equal(g_array_index(heard, uint64_t, 0), (uint64_t)NOTICE_PANICKED << 32);
	v = 2;
	assert_true(bus_access(t.core.ports, 0x505, &v, 1, true));
	assert_int_equal(g_array_index(heard, uint64_t, 1), (uint64_t)NOTICE_CRASH_LOADED << 32);
	close_device(&t);
}

static void test_pvpanic(void **state)
{
	struct test t;

	open_device(&t, "pvpanic-pci", "@a{ss} {}");
	assert_int_equal(rd(&t, ECAM, 4), 0x00111b36);
	assert_int_equal(rd(&t, WINDOW, 1), 3);
	wr(&t, WINDOW + 1, 1, 1);
	wr(&t, WINDOW, 1, 4);
	assert_int_equal(heard->len, 0);
	wr(&t, WINDOW, 1, 2);
	wr(&t, WINDOW, 1, 1);
	assert_int_equal(heard->len, 2);
	assert_int_equal(g_array_index(heard, uint64_t, 0) >> 32, NOTICE_CRASH_LOADED);
	assert_int_equal(g_array_index(heard, uint64_t, 1) >> 32, NOTICE_PANICKED);
	close_device(&t);
}

static void unlock(struct test *t)
{
	wr(t, WINDOW + RELOAD, 2, 0x80);
	wr(t, WINDOW + RELOAD, 2, 0x86);
}

static void set(struct test *t, unsigned reg, uint32_t v)
{
	unlock(t);
	wr(t, WINDOW + reg, 4, v);
}

static bool notice_comes(void)
{
	for (unsigned i = 0; i < 60000 && !heard->len; i++) {
		g_main_context_iteration(NULL, FALSE);
		g_usleep(1000);
	}
	return heard->len;
}

/* Both stages of a millisecond. */
static void test_watchdog(void **state)
{
	struct test t;

	open_device(&t, "i6300esb", "@a{ss} {}");
	assert_int_equal(rd(&t, ECAM, 4), 0x25ab8086);
	wr(&t, WINDOW + PRELOAD1, 4, 1); /* without the keys: nothing */
	wr(&t, ECAM + CONFIG, 2, FAST);
	set(&t, PRELOAD1, 1000);
	set(&t, PRELOAD2, 1000);
	assert_int_equal(rd(&t, WINDOW + RELOAD, 2), 0);
	wr(&t, ECAM + LOCK, 1, 2);
	assert_true(notice_comes());
	assert_int_equal(g_array_index(heard, uint64_t, 0) >> 32, NOTICE_WATCHDOG);
	t.dev->cls->reset(t.dev);
	/* It tells why, until it is told to forget. */
	wr(&t, ECAM + PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	wr(&t, ECAM + PCI_BASE_ADDRESS_0, 4, WINDOW);
	assert_int_equal(rd(&t, WINDOW + RELOAD, 2), 0x1200);
	set(&t, RELOAD, 0x200);
	assert_int_equal(rd(&t, WINDOW + RELOAD, 2), 0);
	close_device(&t);
}

static void test_watchdog_fed(void **state)
{
	struct test t;

	open_device(&t, "i6300esb", "@a{ss} {}");
	/* As long as it goes, 17 minutes; then a second of nothing and a short one. */
	wr(&t, ECAM + LOCK, 1, 2);
	wr(&t, ECAM + CONFIG, 2, FAST);
	set(&t, PRELOAD1, 10);
	set(&t, PRELOAD2, 10);
	for (unsigned i = 0; i < 20; i++) {
		g_main_context_iteration(NULL, FALSE);
		g_usleep(1000);
	}
	assert_int_equal(heard->len, 0); /* the stage goes on as it began */
	/* One key alone, or in the wrong order, does not restart it. */
	wr(&t, WINDOW + RELOAD, 2, 0x86);
	wr(&t, WINDOW + RELOAD, 2, 0x80);
	wr(&t, WINDOW + RELOAD, 2, 0x100);
	g_main_context_iteration(NULL, FALSE);
	assert_int_equal(heard->len, 0);
	set(&t, RELOAD, 0x100);
	assert_true(notice_comes());
	close_device(&t);
}

/* Locked, it cannot be stopped; standing still with the machine, it does not run out. */
static void test_watchdog_locked(void **state)
{
	struct test t;

	open_device(&t, "i6300esb", "@a{ss} {}");
	wr(&t, ECAM + CONFIG, 2, FAST);
	set(&t, PRELOAD1, 1000);
	set(&t, PRELOAD2, 1000);
	wr(&t, ECAM + LOCK, 1, 3);
	wr(&t, ECAM + LOCK, 1, 0);
	assert_int_equal(rd(&t, ECAM + LOCK, 1), 3);
	t.dev->cls->pause(t.dev);
	for (unsigned i = 0; i < 20; i++) {
		g_main_context_iteration(NULL, FALSE);
		g_usleep(1000);
	}
	assert_int_equal(heard->len, 0);
	t.dev->cls->resume(t.dev);
	assert_true(notice_comes());
	close_device(&t);
}

static void test_exit(void **state)
{
	struct test t;
	uint32_t v = 5;

	open_device(&t, "isa-debug-exit", "{'iobase': '0xf4', 'iosize': '4'}");
	bus_access(t.core.ports, 0xf8, &v, 1, true);
	assert_int_equal(heard->len, 0);
	bus_access(t.core.ports, 0xf4, &v, 4, true);
	assert_int_equal(g_array_index(heard, uint64_t, 0), (uint64_t)NOTICE_EXIT << 32 | 11);
	close_device(&t);
}

static void test_debugcon(void **state)
{
	g_autofree char *dir = g_dir_make_tmp("kv-debugcon-XXXXXX", NULL), *path = g_build_filename(dir, "out", NULL);
	g_autofree char *text = NULL;
	g_autofree char *options = g_strdup_printf("{'iobase': '0x402', 'file': '%s'}", path);
	struct device *own;
	struct test t;
	uint8_t v = 0;

	g_setenv("KV_DEBUG", "1", true);
	open_device(&t, "isa-debugcon", options);
	/* The board's own leaves it the port. */
	own = device_new(&t.core, "debugcon", "own", NULL, NULL, NULL);
	assert_non_null(own);
	bus_access(t.core.ports, 0x402, &v, 1, false);
	assert_int_equal(v, 0xe9);
	for (const char *p = "hello\n"; *p; p++)
		bus_access(t.core.ports, 0x402, (void *)p, 1, true);
	device_free(own);
	bus_access(t.core.ports, 0x402, (void *)"!", 1, true);
	close_device(&t);
	assert_true(g_file_get_contents(path, &text, NULL, NULL));
	assert_string_equal(text, "hello\n!");
	/* Who writes a log nobody reads is not found. */
	for (unsigned debug = 0; debug < 2; debug++) {
		(debug ? (void)g_setenv("KV_DEBUG", "1", true) : g_unsetenv("KV_DEBUG"));
		open_device(&t, "debugcon", "@a{sv} {}");
		v = 0;
		bus_access(t.core.ports, 0x402, &v, 1, false);
		assert_int_equal(v, debug ? 0xe9 : 0xff);
		close_device(&t);
	}
	g_unlink(path);
	g_rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pvpanic), cmocka_unit_test(test_pvpanic_port),
		cmocka_unit_test(test_watchdog), cmocka_unit_test(test_watchdog_fed),
		cmocka_unit_test(test_watchdog_locked), cmocka_unit_test(test_exit), cmocka_unit_test(test_debugcon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
