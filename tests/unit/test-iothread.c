/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * I/O threads: what is in their context is done by them, not at all while they are held, and by who holds them if that runs the
 * context; many times, since the two meet in the middle.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "error.h"
#include "iothread.h"

enum { ROUNDS = 2000 };

struct work {
	GMutex lock;
	GCond changed;
	unsigned done;
	pid_t by;
};

static gboolean work(gpointer opaque)
{
	struct work *w = opaque;

	g_mutex_lock(&w->lock);
	w->done++;
	w->by = gettid();
	g_cond_broadcast(&w->changed);
	g_mutex_unlock(&w->lock);
	return G_SOURCE_REMOVE;
}

static void ask(struct iothread *t, struct work *w)
{
	GSource *source = g_idle_source_new();

	g_source_set_callback(source, work, w, NULL);
	g_source_attach(source, iothread_context(t));
	g_source_unref(source);
}

static void wait_done(struct work *w, unsigned n, pid_t by)
{
	g_mutex_lock(&w->lock);
	while (w->done < n)
		g_cond_wait(&w->changed, &w->lock);
	assert_int_equal(w->done, n);
	assert_int_equal(w->by, by);
	g_mutex_unlock(&w->lock);
}

static void test_before_it_runs(void **state)
{
	struct iothread *t = iothread_new("t");
	struct work w = { 0 };

	ask(t, &w);
	assert_int_equal(iothread_tid(t), 0);
	iothread_hold(t);
	assert_true(g_main_context_iteration(iothread_context(t), FALSE));
	wait_done(&w, 1, gettid());
	assert_true(iothread_start(t, NULL));
	ask(t, &w);
	iothread_let_go(t);
	wait_done(&w, 2, iothread_tid(t));
	assert_int_not_equal(iothread_tid(t), gettid());
	iothread_free(t);
}

static void test_hold(void **state)
{
	struct iothread *t = iothread_new("t");
	struct work w = { 0 };

	assert_true(iothread_start(t, NULL));
	assert_true(iothread_start(t, NULL));
	for (unsigned i = 0; i < ROUNDS; i++) {
		ask(t, &w);
		if (i % 2)
			wait_done(&w, 3 * i + 1, iothread_tid(t));
		iothread_hold(t);
		iothread_hold(t);
		ask(t, &w);
		iothread_let_go(t);
		/* Still held: nobody else does it. */
		while (g_main_context_iteration(iothread_context(t), FALSE))
			;
		wait_done(&w, 3 * i + 2, w.by);
		assert_int_equal(w.by, gettid());
		iothread_let_go(t);
		ask(t, &w);
		wait_done(&w, 3 * i + 3, iothread_tid(t));
	}
	iothread_hold(NULL);
	iothread_let_go(NULL);
	iothread_free(t);
}

static void test_users(void **state)
{
	struct iothread *t = iothread_new("t");

	iothread_take(t);
	iothread_take(t);
	iothread_give_back(t);
	assert_int_equal(iothread_users(t), 1);
	iothread_give_back(t);
	assert_int_equal(iothread_users(t), 0);
	iothread_hold(t);
	assert_true(iothread_start(t, NULL));
	iothread_let_go(t);
	iothread_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_before_it_runs),
		cmocka_unit_test(test_hold),
		cmocka_unit_test(test_users),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
