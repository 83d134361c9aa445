/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The memory balloon as its driver sees it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "bytes.h"
#include "devices/virtio-balloon.h"
#include "virtio-rig.h"

enum { INFLATE, DEFLATE, STATS, REPORTING, LIST = RIG_DATA, PAGES = RIG_DATA + 0x10000 };

static struct rig rig;

static int open_balloon(void **state)
{
	rig_open(&rig, "virtio-balloon", g_variant_new_parsed("{'target': <uint64 0x7000>}"), NULL);
	return 0;
}

static int close_balloon(void **state)
{
	rig_close(&rig);
	return 0;
}

static void start(uint64_t features, unsigned queues)
{
	assert_true(rig_negotiate(&rig, features));
	for (unsigned i = 0; i < queues; i++)
		rig_queue(&rig, i, 8);
	rig_driver_ok(&rig);
	rig_run();
}

static bool resident(uint64_t gpa)
{
	unsigned char v;

	assert_int_equal(mincore(rig.ram + gpa, 4096, &v), 0);
	return v & 1;
}

static void test_inflate(void **state)
{
	struct ring_buf b = { LIST, 6 * 4, false };
	uint32_t first = PAGES >> 12;
	uint32_t pfns[6] = { first, first + 1, first + 5, first + 4, 0xffffffff, RIG_RAM >> 12 };

	assert_int_equal(rig_read(&rig, rig.config + 2, 2), 0x1040 + VIRTIO_ID_BALLOON);
	assert_int_equal(rig_read(&rig, rig.device, 4), 7);
	start(0, 2);
	for (unsigned i = 0; i < 8; i++)
		memset(rig.ram + PAGES + 4096 * i, 0x55, 4096);
	memcpy(rig.ram + LIST, pfns, sizeof(pfns));
	assert_int_equal(rig_request(&rig, INFLATE, &b, 1), 0);
	for (unsigned i = 0; i < 8; i++) {
		bool gone = i == 0 || i == 1 || i == 4 || i == 5;

		assert_int_equal(resident(PAGES + 4096 * i), !gone);
		if (!gone)
			assert_int_equal(rig.ram[PAGES + 4096 * i], 0x55);
	}
	assert_int_equal(rig.ram[PAGES], 0);
	assert_int_equal(rig_request(&rig, DEFLATE, &b, 1), 0);
	rig_write(&rig, rig.device + 4, 4, 4);
	assert_int_equal(virtio_balloon_actual(rig.dev), 0x4000);
	rig_write(&rig, rig.device, 4, 9); /* not the driver's */
	assert_int_equal(rig_read(&rig, rig.device, 4), 7);
	rig_isr(&rig);
	virtio_balloon_set_target(rig.dev, 0x10000);
	assert_int_equal(rig_isr(&rig), 2);
	assert_int_equal(rig_read(&rig, rig.device, 4), 16);
}

/* A list without end would keep the main thread busy for hours. */
static void test_long_list(void **state)
{
	struct ring_buf b = { LIST, 0x10004, false };

	for (unsigned queue = INFLATE; queue <= STATS; queue++) {
		start(1 << VIRTIO_BALLOON_F_STATS_VQ, 3);
		assert_true(ring_add(&rig.ring[queue], &b, 1, 0, &rig));
		rig_kick(&rig, queue);
		assert_true(rig_status(&rig) & VIRTIO_CONFIG_S_NEEDS_RESET);
	}
}

static void put_stat(unsigned i, uint16_t tag, uint64_t value)
{
	put_le16(rig.ram + LIST + 10 * i, tag);
	put_le64(rig.ram + LIST + 10 * i + 2, value);
}

static void test_stats(void **state)
{
	struct ring_buf b = { LIST, 35, false };
	uint64_t s[VIRTIO_BALLOON_S_NR];

	start(1 << VIRTIO_BALLOON_F_STATS_VQ | 1ull << VIRTIO_RING_F_EVENT_IDX, 3);
	assert_int_equal(virtio_balloon_stats(rig.dev, s), 0);
	virtio_balloon_ask(rig.dev);
	assert_true(s[VIRTIO_BALLOON_S_MEMFREE] == UINT64_MAX);
	put_stat(0, VIRTIO_BALLOON_S_MEMFREE, 12345);
	put_stat(1, 999, 1);
	put_stat(2, VIRTIO_BALLOON_S_MEMTOT, 1ull << 40);
	assert_true(ring_add(&rig.ring[STATS], &b, 1, 0, &rig));
	rig_kick(&rig, STATS);
	/* The device keeps the buffer until somebody asks, even over a move. */
	assert_null(ring_get(&rig.ring[STATS], NULL));
	assert_true(virtio_balloon_stats(rig.dev, s) > 1000000000);
	virtio_balloon_ask(rig.dev);
	assert_int_equal(s[VIRTIO_BALLOON_S_MEMFREE], 12345);
	assert_true(s[VIRTIO_BALLOON_S_MEMTOT] == 1ull << 40);
	assert_true(s[VIRTIO_BALLOON_S_CACHES] == UINT64_MAX);
	assert_ptr_equal(ring_get(&rig.ring[STATS], NULL), &rig);
	ring_arm(&rig.ring[STATS]);
	put_stat(0, VIRTIO_BALLOON_S_MEMFREE, 777);
	assert_true(ring_add(&rig.ring[STATS], &b, 1, 0, &rig));
	rig_kick(&rig, STATS);
	rig_move(&rig, "virtio-balloon", NULL, NULL);
	virtio_balloon_ask(rig.dev);
	assert_ptr_equal(ring_get(&rig.ring[STATS], NULL), &rig);
	/* Two at once are against the rules. */
	ring_arm(&rig.ring[STATS]);
	assert_true(ring_add(&rig.ring[STATS], &b, 1, 0, &rig));
	assert_true(ring_add(&rig.ring[STATS], &b, 1, 0, &rig));
	rig_kick(&rig, STATS);
	assert_true(rig_status(&rig) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void report(unsigned queue)
{
	struct ring_buf b[] = { { PAGES, 8192, true }, { PAGES + 0x4000, 4096, true },
				{ PAGES + 0x5001, 100, true } };

	for (unsigned i = 0; i < 8; i++)
		memset(rig.ram + PAGES + 4096 * i, 0x55, 4096);
	rig_request(&rig, queue, b, 3);
	assert_false(resident(PAGES));
	assert_false(resident(PAGES + 4096));
	assert_true(resident(PAGES + 8192));
	assert_false(resident(PAGES + 0x4000));
	assert_true(resident(PAGES + 0x5000));
	assert_int_equal(rig.ram[PAGES + 0x5001], 0x55);
}

static void test_reporting(void **state)
{
	start(1 << VIRTIO_BALLOON_F_STATS_VQ | 1 << VIRTIO_BALLOON_F_REPORTING, 4);
	report(REPORTING);
	/* Without statistics its queue has the number before. */
	start(1 << VIRTIO_BALLOON_F_REPORTING, 3);
	report(REPORTING - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_inflate, open_balloon, close_balloon),
		cmocka_unit_test_setup_teardown(test_long_list, open_balloon, close_balloon),
		cmocka_unit_test_setup_teardown(test_stats, open_balloon, close_balloon),
		cmocka_unit_test_setup_teardown(test_reporting, open_balloon, close_balloon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
