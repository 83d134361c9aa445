/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvd's workers: work that waits holds up no other work while there may be more threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config.h"
#include "workers.h"

static GCond changed;
static unsigned done;
static bool go_on;

static void count(void *data)
{
	done++;
	g_cond_broadcast(&changed);
}

static void wait_for_word(void *data)
{
	while (!go_on)
		state_wait(&changed, 0);
	count(NULL);
}

static bool wait_until_done(unsigned n)
{
	gint64 until = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;

	while (done < n)
		if (!state_wait(&changed, until))
			return false;
	return true;
}

/* In one go, while a worker sleeps: the first waits for what the second does. */
static void test_two_at_once(void **state)
{
	state_acquire();
	config.max_workers = 4;
	workers_run(count, NULL);
	assert_true(wait_until_done(1));
	state_release();
	g_usleep(50000); /* it sleeps */
	state_acquire();
	workers_run(wait_for_word, NULL);
	workers_run(count, NULL);
	assert_true(wait_until_done(2));
	go_on = true;
	g_cond_broadcast(&changed);
	assert_true(wait_until_done(3));
	state_release();
}

/* As many as there may be, and no more than that: what is left has its turn later. */
static void test_many(void **state)
{
	state_acquire();
	done = 0;
	go_on = false;
	for (unsigned i = 0; i < 4; i++)
		workers_run(wait_for_word, NULL);
	for (unsigned i = 0; i < 20; i++)
		workers_run(count, NULL);
	state_wait(&changed, g_get_monotonic_time() + 50000);
	assert_int_equal(done, 0);
	go_on = true;
	g_cond_broadcast(&changed);
	assert_true(wait_until_done(24));
	state_release();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_at_once),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
