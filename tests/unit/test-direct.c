/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images that are open with O_DIRECT: requests of any place, length and memory have the same effect as without. Skipped where
 * the file system of the temporary folder has no O_DIRECT.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "image-rig.h"

enum {
	SIZE = 1 << 20,
	ODD_SIZE = SIZE + 512, /* ends within a block of 4096 */
};

static bool possible(void)
{
	g_autofree char *path = rig_path("probe");
	int fd = open(path, O_CREAT | O_RDWR | O_DIRECT, 0600);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static struct image *make(const char *format, const char *name, guint64 size, const char *aio)
{
	g_autofree char *path = rig_path(name);
	g_autoptr(GError) error = NULL;
	g_autoptr(GVariant) create =
		g_variant_ref_sink(g_variant_new_parsed("{'file': <%s>, 'format': <%s>, 'size': <%t>}", path, format, size));
	g_autoptr(GVariant) options = g_variant_ref_sink(
		g_variant_new_parsed("{'file': <%s>, 'format': <%s>, 'direct': <true>, 'aio': <%s>}", path, format, aio));
	struct image *img;

	assert_true(image_create(create, NULL));
	img = image_open(options, &error);
	if (!img)
		fail_msg("%s", error->message);
	return img;
}

static void run(const char *format, const char *aio)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(3);
	g_autofree uint8_t *model = g_malloc0(ODD_SIZE);
	struct image *img = make(format, format, ODD_SIZE, aio);
	struct image_queue *q = image_queue_new(img, NULL, 16, NULL);

	assert_true(rig_random(img, q, rand, model, 0, ODD_SIZE, 300));
	assert_true(rig_random(img, NULL, rand, model, 0, ODD_SIZE, 300));
	image_queue_free(q);
	image_close(img);
}

static void test_requests(void **state)
{
	if (!possible())
		skip();
	run("raw", "auto");
	run("raw", "threads");
	run("qcow2", "auto");
	run("qcow2", "threads");
}

/* Bytes beside a sector's part stay what they are. */
static void test_parts(void **state)
{
	struct image *img;
	uint8_t data[4096], back[4096];

	if (!possible())
		skip();
	img = make("raw", "parts", SIZE, "threads");
	memset(data, 0x11, sizeof(data));
	assert_int_equal(image_write(img, 8192, data, sizeof(data)), 0);
	for (unsigned i = 1; i < 600; i += 37) {
		memset(data + i, i, 3);
		assert_int_equal(image_write(img, 8192 + i, data + i, 3), 0);
	}
	assert_int_equal(image_read(img, 8192, back, sizeof(back)), 0);
	assert_memory_equal(back, data, sizeof(back));
	assert_int_equal(image_write_zeroes(img, 8192 + 100, 1000, 0), 0);
	memset(data + 100, 0, 1000);
	assert_int_equal(image_read(img, 8192 + 3, back, 4000), 0);
	assert_memory_equal(back, data + 3, 4000);
	image_close(img);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_requests), cmocka_unit_test(test_parts)};

	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
