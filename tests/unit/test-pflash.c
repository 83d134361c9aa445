/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flash by its commands, as firmware's driver uses them; what is in the file then; what a driver that makes mistakes finds. The
 * array itself is memory, which is read here where the machine would have it: without a CPU an access always comes to the device.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "device.h"

enum { SIZE = 4 * 4096 };
#define BASE 0xffc00000ull

struct world {
	struct machine_core core;
	struct device *dev;
	char *path;
};

static void open_world(struct world *w, bool file)
{
	g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
	g_autoptr(GVariant) options = NULL;
	int fd = -1;

	*w = (struct world){.core = {.vm_fd = -1}};
	w->core.mem = mem_new(-1);
	w->core.ports = bus_new("port");
	w->core.mmio = bus_new("mmio");
	if (file) {
		fd = g_file_open_tmp("kv-flash-XXXXXX", &w->path, NULL);
		assert_true(fd >= 0);
		assert_int_equal(ftruncate(fd, SIZE), 0);
	}
	g_variant_dict_insert(&dict, "base", "t", (guint64)BASE);
	g_variant_dict_insert(&dict, "size", "t", (guint64)SIZE);
	g_variant_dict_insert(&dict, "fd", "i", fd);
	g_variant_dict_insert_value(&dict, "content", g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, "variables", 9, 1));
	options = g_variant_ref_sink(g_variant_dict_end(&dict));
	w->dev = device_new(&w->core, "pflash", "nvram", options, NULL, NULL);
	assert_non_null(w->dev);
}

static void close_world(struct world *w)
{
	device_free(w->dev);
	bus_free(w->core.ports);
	bus_free(w->core.mmio);
	mem_free(w->core.mem);
	if (w->path)
		g_unlink(w->path);
	g_free(w->path);
}

static void out(struct world *w, uint64_t at, uint8_t v)
{
	assert_true(bus_access(w->core.mmio, BASE + at, &v, 1, true));
}

static uint8_t in(struct world *w, uint64_t at)
{
	uint8_t v = 0;

	assert_true(bus_access(w->core.mmio, BASE + at, &v, 1, false));
	return v;
}

/* What OVMF's driver does to tell flash from RAM and ROM. */
static void is_found(void **state)
{
	struct world w;

	open_world(&w, false);
	assert_int_equal(in(&w, 0), 'v');
	out(&w, 0, 0x50);
	assert_int_equal(in(&w, 0), 'v');
	out(&w, 0, 0x70);
	assert_int_equal(in(&w, 0), 0);
	out(&w, 0, 0xff);
	assert_int_equal(in(&w, 0), 'v');
	assert_int_equal(in(&w, 9), 0xff);
	close_world(&w);
}

static void query(void **state)
{
	struct world w;

	open_world(&w, false);
	out(&w, 0x55, 0x98);
	assert_int_equal(in(&w, 0x10), 'Q');
	assert_int_equal(in(&w, 0x11), 'R');
	assert_int_equal(in(&w, 0x12), 'Y');
	assert_int_equal(in(&w, 0x13), 1);
	assert_int_equal(1u << in(&w, 0x27), SIZE);
	assert_int_equal(in(&w, 0x2d) | in(&w, 0x2e) << 8, 3);
	assert_int_equal((in(&w, 0x2f) | in(&w, 0x30) << 8) * 256, 4096);
	assert_int_equal(in(&w, in(&w, 0x15)), 'P');
	out(&w, 0, 0x90);
	assert_int_equal(in(&w, 0), 0x89);
	out(&w, 0, 0xf0); /* not a command: back to the array */
	assert_int_equal(in(&w, 0), 'v');
	close_world(&w);
}

static void program(struct world *w, uint64_t at, uint8_t v)
{
	out(w, at, 0x10);
	out(w, at, v);
	assert_int_equal(in(w, at), 0x80);
}

/* Bits are cleared one by one and set by the block; each is in the file at once. */
static void changes_last(void **state)
{
	struct world w;
	g_autofree char *data = NULL;
	gsize len;

	open_world(&w, true);
	program(&w, 4096, 0x5a);
	program(&w, 4096, 0xf0);
	out(&w, 0, 0xff);
	assert_int_equal(in(&w, 4096), 0x50);
	assert_true(g_file_get_contents(w.path, &data, &len, NULL));
	assert_int_equal(len, SIZE);
	assert_int_equal((uint8_t)data[4096], 0x50);
	g_clear_pointer(&data, g_free);
	out(&w, 4096 + 17, 0x20);
	out(&w, 4096 + 17, 0xd0);
	assert_int_equal(in(&w, 0), 0x80);
	out(&w, 0, 0xff);
	assert_int_equal(in(&w, 4096), 0xff);
	assert_int_equal(in(&w, 0), 'v');
	assert_true(g_file_get_contents(w.path, &data, &len, NULL));
	assert_int_equal((uint8_t)data[4096], 0xff);
	assert_int_equal((uint8_t)data[8191], 0xff);
	assert_int_equal(data[8192], 0); /* the file's own */
	close_world(&w);
}

static void buffered(void **state)
{
	struct world w;

	open_world(&w, false);
	out(&w, 8192 + 16, 0xe8);
	assert_int_equal(in(&w, 8192), 0x80);
	out(&w, 8192 + 16, 3);
	for (unsigned i = 0; i < 4; i++)
		out(&w, 8192 + 16 + i, (uint8_t)(0x30 + i));
	out(&w, 8192 + 16, 0xd0);
	assert_int_equal(in(&w, 8192), 0x80);
	out(&w, 0, 0xff);
	assert_int_equal(in(&w, 8192 + 15), 0xff);
	assert_int_equal(in(&w, 8192 + 16), 0x30);
	assert_int_equal(in(&w, 8192 + 19), 0x33);
	assert_int_equal(in(&w, 8192 + 20), 0xff);
	close_world(&w);
}

static void mistakes(void **state)
{
	struct world w;

	open_world(&w, false);
	out(&w, 0, 0x20); /* an erase that is not confirmed */
	out(&w, 0, 0x55);
	assert_int_equal(in(&w, 0), 0xb0);
	out(&w, 0, 0x50);
	out(&w, 0, 0xff);
	assert_int_equal(in(&w, 0), 'v');
	out(&w, 0, 0xe8); /* data that leaves the buffer */
	out(&w, 0, 255);
	out(&w, 255, 1);
	out(&w, 256, 2);
	assert_int_equal(in(&w, 0) & 0x30, 0x30);
	out(&w, 0, 0xff);
	assert_int_equal(in(&w, 255), 0xff);
	out(&w, 0, 0xe8); /* not confirmed */
	out(&w, 0, 0);
	out(&w, 300, 1);
	out(&w, 0, 0);
	assert_int_equal(in(&w, 0) & 0x30, 0x30);
	out(&w, 0, 0xff);
	assert_int_equal(in(&w, 300), 0xff);
	close_world(&w);
}

/* The array is state: a machine that is loaded has it, and its file. */
static void saved(void **state)
{
	struct world a, b;
	g_autoptr(GByteArray) out_bytes = g_byte_array_new();
	g_autoptr(GBytes) bytes = NULL;
	g_autofree char *data = NULL;
	gsize len;
	size_t at = 0;

	open_world(&a, false);
	program(&a, 100, 0x12);
	state_save(out_bytes, a.dev->cls->state, "nvram", a.dev);
	bytes = g_byte_array_free_to_bytes(g_byte_array_ref(out_bytes));
	open_world(&b, true);
	assert_true(state_load(bytes, &at, b.dev->cls->state, "nvram", b.dev, NULL));
	assert_int_equal(in(&b, 0), 0x80); /* still shows its status */
	out(&b, 0, 0xff);
	assert_int_equal(in(&b, 100), 0x12);
	assert_true(g_file_get_contents(b.path, &data, &len, NULL));
	assert_int_equal(data[100], 0x12);
	assert_memory_equal(data, "variables", 9);
	close_world(&a);
	close_world(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_found), cmocka_unit_test(query),	cmocka_unit_test(changes_last),
		cmocka_unit_test(buffered), cmocka_unit_test(mistakes), cmocka_unit_test(saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
