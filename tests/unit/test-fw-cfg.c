/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fw_cfg as firmware reads it, by ports and by DMA; and what a guest does that means no good. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bytes.h"
#include "fw-cfg.h"
#include "pc-rig.h"

enum { RAM_END = 2 << 20 };

static void identity(void **state)
{
	struct machine *m = pc_rig_new(64 << 20, 1);
	char text[6] = "";
	uint8_t id[4];

	pc_rig_item(m, FW_CFG_SIGNATURE, text, 5);
	assert_memory_equal(text, "QEMU\0", 5);
	pc_rig_item(m, FW_CFG_ID, id, 4);
	assert_int_equal(get_le32(id), 3);
	assert_int_equal(pc_rig_in(m, 0x514, 4), 0x554d4551); /* "QEMU" */
	assert_int_equal(pc_rig_in(m, 0x518, 4), 0x47464320); /* " CFG" */
	assert_int_equal(pc_rig_in(m, 0x517, 1), 'U');
	pc_rig_free(m);
}

static void files(void **state)
{
	struct machine *m = pc_rig_new(64 << 20, 1);
	g_autoptr(GByteArray) a = NULL, b = NULL;

	assert_true(fw_cfg_set_file(m->fw_cfg, "opt/one", g_bytes_new("first", 5), NULL));
	assert_true(fw_cfg_set_file(m->fw_cfg, "opt/two", g_bytes_new("zwei", 4), NULL));
	assert_true(fw_cfg_set_file(m->fw_cfg, "opt/one", g_bytes_new("erste", 5), NULL));
	a = pc_rig_file(m, "opt/one");
	assert_int_equal(a->len, 5);
	assert_memory_equal(a->data, "erste", 5);
	b = pc_rig_file(m, "opt/two");
	assert_memory_equal(b->data, "zwei", 4);
	assert_null(pc_rig_file(m, "opt/three"));
	assert_true(fw_cfg_has_file(m->fw_cfg, "opt/two"));
	assert_false(fw_cfg_has_file(m->fw_cfg, "opt/tw"));
	pc_rig_free(m);
}

static void names(void **state)
{
	struct machine *m = pc_rig_new(64 << 20, 1);
	g_autofree char *fits = g_strnfill(55, 'n'), *longer = g_strnfill(56, 'n');
	g_autoptr(GError) error = NULL, full = NULL;
	unsigned n;

	assert_true(fw_cfg_set_file(m->fw_cfg, fits, g_bytes_new("x", 1), NULL));
	assert_false(fw_cfg_set_file(m->fw_cfg, longer, g_bytes_new("x", 1), &error));
	assert_non_null(strstr(error->message, "1 to 55 bytes"));
	assert_false(fw_cfg_set_file(m->fw_cfg, "", g_bytes_new("x", 1), NULL));
	for (n = 1; n < FW_CFG_FILES; n++) {
		g_autofree char *name = g_strdup_printf("opt/%u", n);

		assert_true(fw_cfg_set_file(m->fw_cfg, name, g_bytes_new("x", 1), NULL));
	}
	assert_false(fw_cfg_set_file(m->fw_cfg, "opt/last", g_bytes_new("x", 1), &full));
	assert_non_null(strstr(full->message, "more than 96 files"));
	pc_rig_free(m);
}

/* Reads of nothing give zeroes, and keys of other architectures (bit 15) are not the ones without that bit. */
static void nothing(void **state)
{
	static const uint16_t keys[] = {0x06, 0x7f, 0x20, 0x3fff, 0x8000, 0x8001, 0xffff};
	struct machine *m = pc_rig_new(64 << 20, 1);

	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
		uint8_t b[8];

		memset(b, 0xaa, sizeof(b));
		pc_rig_item(m, keys[i], b, sizeof(b));
		assert_int_equal(get_le64(b), 0);
	}
	assert_int_equal(pc_rig_in(m, 0x510, 2), 0xffff);
	assert_int_equal(pc_rig_in(m, 0x511, 2), 0xffff);
	pc_rig_out(m, 0x511, 1, 1);
	pc_rig_free(m);
}

static void dma(void **state)
{
	struct machine *m = pc_rig_new(64 << 20, 1);
	uint8_t b[8];

	fw_cfg_set(m->fw_cfg, FW_CFG_CMDLINE_DATA, g_bytes_new("abcdef", 6));
	/* select, skip, read past the end: zeroes */
	assert_int_equal(pc_rig_dma(m, FW_CFG_CMDLINE_DATA << 16 | 8 | 4, 2, 0), 0);
	assert_true(gpa_write(m->core.mem, 0x2000, "........", 8));
	assert_int_equal(pc_rig_dma(m, 2, 6, 0x2000), 0);
	assert_true(gpa_read(m->core.mem, 0x2000, b, 8));
	assert_memory_equal(b, "cdef\0\0..", 8);
	/* a read goes on where the port's did */
	pc_rig_out(m, 0x510, 2, FW_CFG_CMDLINE_DATA);
	assert_int_equal(pc_rig_in(m, 0x511, 1), 'a');
	assert_int_equal(pc_rig_dma(m, 2, 1, 0x2000), 0);
	assert_int_equal(pc_rig_in(m, 0x511, 1), 'c');
	/* lengths that would wrap */
	assert_int_equal(pc_rig_dma(m, 4, UINT32_MAX, 0), 0);
	assert_int_equal(pc_rig_dma(m, 4, UINT32_MAX, 0), 0);
	assert_int_equal(pc_rig_in(m, 0x511, 1), 0);
	pc_rig_free(m);
}

/* Pages of a file's mapping that were read are let go, and read again. */
static void mapped(void **state)
{
	struct machine *m = pc_rig_new(64 << 20, 1);
	g_autofree char *bytes = g_strnfill(3 * 4096 + 100, 'k'), *path = NULL;
	g_autofree uint8_t *got = g_malloc(3 * 4096 + 100);
	g_autoptr(GMappedFile) file = NULL;
	int fd = g_file_open_tmp(NULL, &path, NULL);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, 3 * 4096 + 100), 3 * 4096 + 100);
	file = g_mapped_file_new_from_fd(fd, FALSE, NULL);
	close(fd);
	unlink(path);
	fw_cfg_set_mapped(m->fw_cfg, FW_CFG_KERNEL_DATA, g_mapped_file_get_bytes(file));
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pc_rig_dma(m, FW_CFG_KERNEL_DATA << 16 | 8 | 2, 3 * 4096 + 100, 0x2000), 0);
		assert_true(gpa_read(m->core.mem, 0x2000, got, 3 * 4096 + 100));
		assert_memory_equal(got, bytes, 3 * 4096 + 100);
	}
	pc_rig_free(m);
}

static void refused(void **state)
{
	struct machine *m = pc_rig_new(64 << 20, 1);
	uint64_t nowhere = GUINT64_SWAP_LE_BE(UINT64_MAX - 4);

	assert_int_equal(pc_rig_dma(m, FW_CFG_SIGNATURE << 16 | 8 | 16, 4, 0x2000), 1); /* a write */
	assert_int_equal(pc_rig_dma(m, 2, 4, RAM_END - 2), 1);
	assert_int_equal(pc_rig_dma(m, 2, UINT32_MAX, 0x2000), 1);
	assert_int_equal(pc_rig_dma(m, 2, 16, UINT64_MAX - 8), 1);
	/* a command that is not in memory */
	assert_true(bus_access(m->core.ports, 0x514, &nowhere, 8, true));
	pc_rig_free(m);
}

struct late {
	struct machine *m;
	unsigned made;
};

static void make(void *opaque)
{
	struct late *l = opaque;
	char text = (char)('A' + l->made++);

	fw_cfg_renew(l->m->fw_cfg, "late", g_bytes_new(&text, 1));
}

/* Once, as it is selected; again after a reset. */
static void late_files(void **state)
{
	static const char *const late_names[] = {"late", NULL};
	struct machine *m = pc_rig_new(64 << 20, 1);
	struct late l = {m, 0};
	g_autoptr(GByteArray) a = NULL, b = NULL, c = NULL;

	assert_true(fw_cfg_set_file(m->fw_cfg, "late", g_bytes_new("0", 1), NULL));
	fw_cfg_set_late(m->fw_cfg, late_names, make, &l);
	assert_int_equal(l.made, 0);
	a = pc_rig_file(m, "late");
	b = pc_rig_file(m, "late");
	assert_int_equal(a->data[0], 'A');
	assert_int_equal(b->data[0], 'A');
	m->fw_cfg->cls->reset(m->fw_cfg);
	assert_int_equal(l.made, 1);
	c = pc_rig_file(m, "late");
	assert_int_equal(c->data[0], 'B');
	pc_rig_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(identity), cmocka_unit_test(files),   cmocka_unit_test(names),	     cmocka_unit_test(nothing),
		cmocka_unit_test(dma),	    cmocka_unit_test(mapped),  cmocka_unit_test(refused), cmocka_unit_test(late_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
