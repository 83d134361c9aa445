/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lines of fw_cfg's "bootorder" as QEMU writes them, and in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "boot-order.h"
#include "disk.h"
#include "net.h"
#include "pc-rig.h"
#include "pci.h"

struct world {
	struct machine *m;
	struct disk *disk[3];
	struct netdev *net;
};

static struct device *add(struct world *w, const char *cls, struct device_backend backend)
{
	struct device *d = device_new(&w->m->core, cls, cls, NULL, &backend, NULL);

	assert_non_null(d);
	g_ptr_array_add(w->m->devices, d);
	return d;
}

/* In the order of their slots: 1 a card, 2 a SCSI controller with two drives; the first is the host bridge. */
static struct world built(void)
{
	struct world w = {.m = pc_rig_new(64 << 20, 1), .net = net_open("none", NULL, NULL, NULL)};
	struct device *hba;

	assert_true(pci_bus_set_ecam(w.m->core.pci, 0xb0000000, 1, NULL));
	for (unsigned i = 0; i < 3; i++) {
		w.disk[i] = disk_new("drive", NULL, NULL, NULL);
		assert_non_null(w.disk[i]);
	}
	add(&w, "pci-host", (struct device_backend){0});
	add(&w, "virtio-net", (struct device_backend){.netdev = w.net});
	hba = add(&w, "virtio-scsi", (struct device_backend){0});
	add(&w, "scsi-cd", (struct device_backend){.disk = w.disk[0], .controller = hba});
	add(&w, "scsi-cd", (struct device_backend){.disk = w.disk[1], .controller = hba});
	return w;
}

static void drop(struct world *w)
{
	/* Units before their controller. */
	while (w->m->devices->len)
		g_ptr_array_remove_index(w->m->devices, w->m->devices->len - 1);
	for (unsigned i = 0; i < 3; i++)
		disk_free(w->disk[i]);
	net_close(w->net);
	pc_rig_free(w->m);
}

static void check(struct world *w, const char *order, const char *first, const char *expected)
{
	g_autoptr(GBytes) b = boot_order(w->m->devices, order, first);

	if (!expected) {
		assert_null(b);
		return;
	}
	assert_non_null(b);
	assert_string_equal(g_bytes_get_data(b, NULL), expected);
	assert_int_equal(g_bytes_get_size(b), strlen(expected) + 1);
}

#define NET "/pci@i0cf8/ethernet@1/ethernet-phy@0"
#define CD0 "/pci@i0cf8/scsi@2/channel@0/disk@0,0"
#define CD1 "/pci@i0cf8/scsi@2/channel@0/disk@1,0"

static void letters(void **state)
{
	struct world w = built();

	check(&w, NULL, NULL, NULL);
	check(&w, "nd", NULL, NET "\n" CD0 "\n" CD1);
	check(&w, "d", NULL, CD0 "\n" CD1);
	check(&w, "c", NULL, "");
	check(&w, NULL, "/rom@x", "/rom@x");
	drop(&w);
}

static void indexes(void **state)
{
	struct world w = built();
	struct device *cd = w.m->devices->pdata[w.m->devices->len - 1];

	cd->boot = 1;
	check(&w, NULL, NULL, CD1);
	check(&w, "nd", NULL, CD1 "\n" NET "\n" CD0);
	((struct device *)w.m->devices->pdata[w.m->devices->len - 2])->boot = 9;
	check(&w, "n", "/rom@x", "/rom@x\n" CD1 "\n" CD0 "\n" NET);
	drop(&w);
}

/* A class with a name of its own, one without, and a function that is not 0. */
static void functions(void **state)
{
	struct pci_device p = {.slot = 31, .function = 2};
	g_autofree char *ahci = NULL, *ide = NULL, *nvme = NULL;

	memcpy(p.config, "\x86\x80\x22\x29", 4);
	memcpy(p.config + 10, "\x06\x01", 2);
	ahci = boot_path_pci(&p, "drive@0/disk@0");
	assert_string_equal(ahci, "/pci@i0cf8/pci8086,2922@1f,2/drive@0/disk@0");
	p.config[10] = 1;
	p.function = 0;
	ide = boot_path_pci(&p, "x");
	assert_string_equal(ide, "/pci@i0cf8/ide@1f/x");
	p.config[10] = 8;
	memcpy(p.config, "\x36\x1b\x10\x00", 4);
	p.slot = 4;
	nvme = boot_path_pci(&p, "namespace@1,0");
	assert_string_equal(nvme, "/pci@i0cf8/pci1b36,10@4/namespace@1,0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(letters),
		cmocka_unit_test(indexes),
		cmocka_unit_test(functions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
