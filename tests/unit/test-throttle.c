/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits of requests, in a time that the test counts itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "throttle.h"

#define S 1000000000ll

/* As many requests as are let through until `end`, each as soon as it may go. */
static unsigned run(struct throttle *t, bool write, uint64_t bytes, int64_t *now, int64_t end)
{
	unsigned n = 0;

	for (;;) {
		int64_t wait = throttle_wait(t, write, *now);

		if (*now + wait >= end) {
			*now = end;
			return n;
		}
		if (wait) {
			*now += wait;
			continue;
		}
		throttle_account(t, write, bytes);
		n++;
	}
}

static void start(struct throttle *t, const struct throttle_config *c)
{
	assert_true(throttle_check(c, NULL));
	throttle_set(t, c, 0);
}

static void test_rates(void **state)
{
	struct throttle_config c = {.limit = {[THROTTLE_IOPS] = {.avg = 100}}};
	struct throttle t;
	int64_t now = 0;

	start(&t, &c);
	/* A tenth of a second's worth at once, and one more as the bucket is only full above its rim. */
	assert_in_range(run(&t, false, 4096, &now, 1), 10, 11);
	assert_in_range(run(&t, true, 4096, &now, 10 * S), 998, 1002);
	c = (struct throttle_config){.limit = {[THROTTLE_BPS_WRITE] = {.avg = 1 << 20}}};
	start(&t, &c);
	now = 0;
	assert_in_range(run(&t, true, 4096, &now, 10 * S), 2560, 2590);
	assert_int_equal(throttle_wait(&t, false, now), 0);
	c.limit[THROTTLE_BPS_WRITE].avg = 1;
	start(&t, &c);
	throttle_account(&t, true, 1 << 20);
	assert_in_range(throttle_wait(&t, true, 0), (1 << 20) * S - S, (1 << 20) * S);
}

static void test_bursts(void **state)
{
	struct throttle_config c = {.limit = {[THROTTLE_IOPS] = {.avg = 100, .max = 1000}}};
	struct throttle t;
	int64_t now = 0;

	/* A bucket of a second at 1000; after it 100 a second. */
	start(&t, &c);
	assert_in_range(run(&t, true, 512, &now, 1), 1000, 1001);
	assert_in_range(run(&t, true, 512, &now, 10 * S), 995, 1002);
	/* For three seconds at 1000 each, not at once. */
	c.limit[THROTTLE_IOPS].length = 3;
	start(&t, &c);
	now = 0;
	assert_in_range(run(&t, true, 512, &now, 1 * S), 1095, 1105);
	assert_in_range(run(&t, true, 512, &now, 3 * S), 1990, 2010);
	run(&t, true, 512, &now, 5 * S);
	assert_in_range(run(&t, true, 512, &now, 15 * S), 990, 1010);
}

static void test_sizes(void **state)
{
	struct throttle_config c = {.limit = {[THROTTLE_IOPS_READ] = {.avg = 100}}, .iops_size = 4096};
	struct throttle t;
	int64_t now = 0;

	start(&t, &c);
	assert_in_range(run(&t, false, 16384, &now, 10 * S), 248, 256);
	now = 0;
	start(&t, &c);
	assert_in_range(run(&t, false, 512, &now, 10 * S), 998, 1012);
}

static void test_rejected(void **state)
{
	static const struct throttle_config rows[] = {
		{.limit = {[THROTTLE_BPS] = {.avg = 1}, [THROTTLE_BPS_READ] = {.avg = 1}}},
		{.limit = {[THROTTLE_IOPS] = {.avg = 1}, [THROTTLE_IOPS_WRITE] = {.avg = 1}}},
		{.limit = {[THROTTLE_IOPS] = {.max = 1}}},
		{.limit = {[THROTTLE_IOPS] = {.avg = 2, .max = 1}}},
		{.limit = {[THROTTLE_IOPS] = {.avg = 2, .length = 2}}},
		{.limit = {[THROTTLE_IOPS] = {.avg = 2, .max = 1000000, .length = UINT64_MAX}}},
		{.limit = {[THROTTLE_BPS] = {.avg = UINT64_MAX}}},
		{.iops_size = 512},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(GError) error = NULL;

		assert_false(throttle_check(&rows[i], &error));
		assert_non_null(error);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rates), cmocka_unit_test(test_bursts),
					   cmocka_unit_test(test_sizes), cmocka_unit_test(test_rejected)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
