/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every row of device_table[]: it can be made and freed, its saved state goes round, and a reset
 * brings it back to how it was made. The registers are first filled with what a confused guest
 * writes, so that the state is not the initial one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <glib/gstdio.h>
#include <linux/pci_regs.h>

#include "char.h"
#include "disk.h"
#include "image.h"
#include "net.h"
#include "pci.h"

enum { ECAM = 0x80000000, WINDOW = 0x90000000, WINDOW_SIZE = 0x4000000, RAM = 1 << 20 };

struct world {
	struct machine_core core;
	struct device_backend backend;
	struct device *dev;
};

static char *disk_path;

static void request(void *machine, enum machine_request what)
{
}

static void open_backend(struct world *w, const char *cls)
{
	static const char *const disks[] = {"nvme", "sata-disk", "usb-storage", "virtio-blk", NULL};
	bool scsi = g_str_has_prefix(cls, "scsi-");

	if (g_str_has_prefix(cls, "usb-"))
		w->backend.controller = device_new(&w->core, "xhci", "usb", NULL, NULL, NULL);
	if (!strcmp(cls, "sata-disk"))
		w->backend.controller = device_new(&w->core, "ahci", "sata", NULL, NULL, NULL);
	if (scsi || g_strv_contains(disks, cls)) {
		struct image *img;
		GVariantDict d;

		g_variant_dict_init(&d, NULL);
		g_variant_dict_insert(&d, "file", "s", disk_path);
		g_variant_dict_insert(&d, "readonly", "b", strcmp(cls, "sata-disk") != 0);
		img = image_open(g_variant_dict_end(&d), NULL);
		assert_non_null(img);
		w->backend.disk = disk_new("drive", img, NULL, NULL);
		if (scsi)
			w->backend.controller = device_new(&w->core, "virtio-scsi", "hba", NULL, NULL, NULL);
	} else if (!strcmp(cls, "virtio-net") || !strcmp(cls, "e1000e")) {
		w->backend.netdev = net_open("none", NULL, NULL, NULL);
		assert_non_null(w->backend.netdev);
	} else if (!strcmp(cls, "virtserialport")) {
		w->backend.controller = device_new(&w->core, "virtio-serial", "bus", NULL, NULL, NULL);
		w->backend.chardev = char_open("file:/dev/null", NULL);
	} else if (!strcmp(cls, "ns16550") || !strcmp(cls, "virtio-console")) {
		w->backend.chardev = char_open("file:/dev/null", NULL);
		assert_non_null(w->backend.chardev);
	}
}

static void world_open(struct world *w, const char *cls)
{
	const struct pci_windows windows = { WINDOW, WINDOW_SIZE, 1ull << 40, 1 << 30, 0xc000, 0x1000 };
	g_autoptr(GError) error = NULL;

	*w = (struct world){ .core = { .vm_fd = -1, .request = request } };
	w->core.mem = mem_new(-1);
	assert_true(mem_add_ram(w->core.mem, 0, RAM, NULL));
	w->core.ports = bus_new("port");
	w->core.mmio = bus_new("mmio");
	w->core.pci = pci_bus_new(&w->core, &windows, NULL);
	pci_bus_set_ecam(w->core.pci, ECAM, 1, NULL);
	open_backend(w, cls);
	w->dev = device_new(&w->core, cls, "dut", NULL, &w->backend, &error);
	if (!w->dev)
		fail_msg("%s: %s", cls, error->message);
}

static void world_close(struct world *w)
{
	device_free(w->dev);
	device_free(w->backend.controller);
	disk_free(w->backend.disk);
	net_close(w->backend.netdev);
	char_close(w->backend.chardev);
	pci_bus_free(w->core.pci);
	bus_free(w->core.ports);
	bus_free(w->core.mmio);
	mem_free(w->core.mem);
}

static void settle(void)
{
	while (g_main_context_iteration(NULL, FALSE))
		;
}

static void access_bus(struct bus *bus, uint64_t at, GRand *rand)
{
	uint64_t v = (uint64_t)g_rand_int(rand) << 32 | g_rand_int(rand);

	bus_access(bus, at, &v, 1 << g_rand_int_range(rand, 0, 4), g_rand_boolean(rand));
}

/* All ports but PCI's, all configuration spaces, and the window of BARs. */
static void poke(struct world *w, unsigned seed)
{
	GRand *rand = g_rand_new_with_seed(seed);

	for (unsigned slot = 0; slot < 32; slot++) {
		uint64_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

		bus_access(w->core.mmio, ECAM + (slot << 15) + PCI_COMMAND, &command, 2, true);
	}
	for (unsigned i = 0; i < 4000; i++) {
		access_bus(w->core.ports, g_rand_int_range(rand, 0, 0x700), rand);
		access_bus(w->core.mmio, WINDOW + g_rand_int_range(rand, 0, 0x8000), rand);
	}
	for (unsigned i = 0; i < 2000; i++) {
		unsigned slot = g_rand_int_range(rand, 0, 2);

		access_bus(w->core.mmio, ECAM + (slot << 15) + g_rand_int_range(rand, 0, 256), rand);
	}
	settle();
	g_rand_free(rand);
}

static GBytes *saved(struct world *w)
{
	GByteArray *out = g_byte_array_new();

	if (w->dev->cls->pause)
		w->dev->cls->pause(w->dev);
	state_save(out, w->dev->cls->state, w->dev->id, w->dev);
	return g_byte_array_free_to_bytes(out);
}

static void has_all_it_needs(void **state)
{
	for (const struct device_class *const *c = device_table; *c; c++) {
		assert_non_null((*c)->name);
		assert_non_null((*c)->description);
		assert_non_null((*c)->create);
		assert_non_null((*c)->reset);
		assert_non_null((*c)->destroy);
		assert_non_null((*c)->state);
		assert_ptr_equal(device_class_find((*c)->name), *c);
	}
	assert_null(device_class_find("no-such-device"));
}

static void state_goes_round(void **state)
{
	for (const struct device_class *const *c = device_table; *c; c++) {
		for (unsigned seed = 1; seed <= 8; seed++) {
			g_autoptr(GBytes) before = NULL, after = NULL;
			g_autoptr(GError) error = NULL;
			struct world a, b;
			size_t at = 0;

			world_open(&a, (*c)->name);
			poke(&a, seed);
			before = saved(&a);
			world_close(&a);
			world_open(&b, (*c)->name);
			if (!state_load(before, &at, (*c)->state, "dut", b.dev, &error))
				fail_msg("%s, seed %u: %s", (*c)->name, seed, error->message);
			assert_int_equal(at, g_bytes_get_size(before));
			after = saved(&b);
			if (!g_bytes_equal(before, after))
				fail_msg("%s, seed %u: saved and loaded state differ", (*c)->name, seed);
			world_close(&b);
		}
	}
}

/* The clock keeps its time and its battery-backed memory. */
static bool forgets_at_reset(const struct device_class *c)
{
	return strcmp(c->name, "mc146818") != 0;
}

static void reset_is_power_on(void **state)
{
	for (const struct device_class *const *c = device_table; *c; c++) {
		g_autoptr(GBytes) fresh = NULL, after = NULL;
		struct world a;

		world_open(&a, (*c)->name);
		fresh = saved(&a);
		if ((*c)->resume)
			(*c)->resume(a.dev);
		poke(&a, 99);
		if ((*c)->pause)
			(*c)->pause(a.dev);
		(*c)->reset(a.dev);
		after = saved(&a);
		if (forgets_at_reset(*c) && !g_bytes_equal(fresh, after))
			fail_msg("%s: a reset leaves something behind", (*c)->name);
		world_close(&a);
	}
}

static void damaged_state_is_refused(void **state)
{
	for (const struct device_class *const *c = device_table; *c; c++) {
		g_autoptr(GBytes) good = NULL;
		struct world a;

		world_open(&a, (*c)->name);
		good = saved(&a);
		for (size_t n = 0; n < g_bytes_get_size(good); n += 97) {
			g_autoptr(GBytes) part = g_bytes_new_from_bytes(good, 0, n);
			g_autoptr(GError) error = NULL;
			size_t at = 0;

			assert_false(state_load(part, &at, (*c)->state, "dut", a.dev, &error));
			assert_non_null(error);
		}
		world_close(&a);
	}
}

static int connect_to(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_strlcpy(sa.sun_path, path, sizeof(sa.sun_path));
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static uint8_t uart_in(struct world *w, unsigned reg)
{
	uint8_t v = 0;

	bus_access(w->core.ports, 0x3f8 + reg, &v, 1, false);
	return v;
}

/* Runs the main context until the line status says that a byte is there. */
static bool byte_comes(struct world *w)
{
	for (unsigned i = 0; i < 60000; i++) {
		if (uart_in(w, 5) & 1)
			return true;
		settle();
		g_usleep(1000);
	}
	return false;
}

/* A full FIFO that the guest empties without reading it takes input again. */
static void input_goes_on(void **state)
{
	g_autofree char *dir = g_dir_make_tmp("kv-uart-XXXXXX", NULL), *path = g_build_filename(dir, "s", NULL);
	g_autofree char *spec = g_strconcat("unix:", path, NULL);
	uint8_t clear = 7;
	struct world w;
	int fd;

	world_open(&w, "debugcon");
	device_free(w.dev);
	w.backend.chardev = char_open(spec, NULL);
	assert_non_null(w.backend.chardev);
	w.dev = device_new(&w.core, "ns16550", "dut", NULL, &w.backend, NULL);
	assert_non_null(w.dev);
	fd = connect_to(path);
	assert_int_equal(write(fd, "ab", 2), 2);
	assert_true(byte_comes(&w)); /* without FIFO there is room for one */
	settle();
	bus_access(w.core.ports, 0x3f8 + 2, &clear, 1, true);
	assert_true(byte_comes(&w));
	assert_int_equal(uart_in(&w, 0), 'b');
	close(fd);
	world_close(&w);
	g_rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_all_it_needs),
		cmocka_unit_test(state_goes_round),
		cmocka_unit_test(reset_is_power_on),
		cmocka_unit_test(damaged_state_is_refused),
		cmocka_unit_test(input_goes_on),
	};
	int fd = g_file_open_tmp("kv-disk-XXXXXX", &disk_path, NULL), failed;

	if (fd < 0 || ftruncate(fd, 1 << 20))
		return 1;
	close(fd);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	g_unlink(disk_path);
	g_free(disk_path);
	return failed;
}
