/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bus.c: which handler an address reaches, overlaps, and intervals that come and go under readers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bus.h"

struct target {
	struct bus *bus;
	uint64_t offset, data;
	unsigned size, calls;
	bool gone; /* set after unregister: no call may follow */
};

static uint64_t target_read(void *opaque, uint64_t offset, unsigned size)
{
	struct target *t = opaque;

	g_assert_false(__atomic_load_n(&t->gone, __ATOMIC_SEQ_CST));
	t->offset = offset;
	t->size = size;
	__atomic_add_fetch(&t->calls, 1, __ATOMIC_RELAXED);
	return 0x1122334455667788;
}

static void target_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct target *t = opaque;

	t->offset = offset;
	t->size = size;
	t->data = data;
	t->calls++;
}

static const struct bus_ops ops = { target_read, target_write };

static void reaches_the_handler(void **state)
{
	struct target a = { 0 }, b = { 0 };
	struct bus *bus = bus_new("port");
	uint64_t v = 0;

	assert_true(bus_register(bus, 0x100, 8, "a", &ops, &a, NULL));
	assert_true(bus_register(bus, 0x108, 8, "b", &ops, &b, NULL));
	assert_true(bus_access(bus, 0x107, &v, 1, false));
	assert_int_equal(v, 0x88);
	assert_int_equal(a.offset, 7);
	assert_int_equal(a.size, 1);
	v = 0xdeadbeefcafe;
	assert_true(bus_access(bus, 0x108, &v, 2, true));
	assert_int_equal(b.offset, 0);
	assert_int_equal(b.data, 0xcafe);
	assert_int_equal(a.calls, 1);
	bus_free(bus);
}

static void nobody_answers(void **state)
{
	struct bus *bus = bus_new("port");
	struct target a = { 0 };
	uint64_t v = 0;

	assert_false(bus_access(bus, 0, &v, 4, false));
	assert_int_equal(v, 0xffffffff);
	assert_true(bus_register(bus, 0x100, 8, "a", &ops, &a, NULL));
	assert_false(bus_access(bus, 0xff, &v, 1, false));
	assert_false(bus_access(bus, 0x108, &v, 1, true));
	assert_int_equal(a.calls, 0);
	bus_unregister(bus, 0x104); /* not a start: nothing happens */
	assert_true(bus_access(bus, 0x100, &v, 1, false));
	bus_unregister(bus, 0x100);
	assert_false(bus_access(bus, 0x100, &v, 1, false));
	bus_free(bus);
}

static void refuses_overlaps(void **state)
{
	static const uint64_t bad[][2] = {
		{ 0x100, 1 }, { 0xff, 2 }, { 0x107, 1 }, { 0x107, 100 }, { 0, 0x1000 }, { 0x50, 0 },
		{ UINT64_MAX, 2 },
	};
	struct bus *bus = bus_new("mmio");
	struct target a = { 0 };

	assert_true(bus_register(bus, 0x100, 8, "first", &ops, &a, NULL));
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;

		assert_false(bus_register(bus, bad[i][0], bad[i][1], "second", &ops, &a, &error));
		assert_non_null(error);
		assert_non_null(strstr(error->message, "second"));
		if (i < 5)
			assert_non_null(strstr(error->message, "first"));
	}
	assert_true(bus_register(bus, UINT64_MAX, 1, "last", &ops, &a, NULL));
	bus_free(bus);
}

static void full(void **state)
{
	struct bus *bus = bus_new("mmio");
	g_autoptr(GError) error = NULL;
	struct target a = { 0 };
	unsigned n = 0;

	while (n < 100000 && bus_register(bus, n * 16, 16, "x", &ops, &a, &error))
		n++;
	assert_in_range(n, 64, 99999);
	assert_non_null(error);
	bus_unregister(bus, 0);
	assert_true(bus_register(bus, n * 16, 16, "x", &ops, &a, NULL));
	bus_free(bus);
}

static void self_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct target *t = opaque;

	bus_unregister(t->bus, 0x100);
	assert_true(bus_register(t->bus, 0x200, 8, "moved", &ops, t, NULL));
}

/* A PCI device that is told to move its BAR by a write to that BAR. */
static void unregisters_itself(void **state)
{
	static const struct bus_ops self_ops = { target_read, self_write };
	struct target t = { .bus = bus_new("mmio") };
	uint64_t v = 0;

	assert_true(bus_register(t.bus, 0x100, 8, "self", &self_ops, &t, NULL));
	assert_true(bus_access(t.bus, 0x100, &v, 4, true));
	assert_false(bus_access(t.bus, 0x100, &v, 4, false));
	assert_true(bus_access(t.bus, 0x200, &v, 4, false));
	bus_free(t.bus);
}

static struct {
	struct bus *bus;
	bool stop;
	unsigned reading; /* readers that have begun; atomic */
} shared;

static gpointer reader(gpointer unused)
{
	uint64_t v, hits = 0;

	__atomic_add_fetch(&shared.reading, 1, __ATOMIC_SEQ_CST);
	do {
		for (uint64_t at = 0; at < 0x800; at += 8)
			hits += bus_access(shared.bus, at, &v, 8, false);
		/* The one that is always there is always found. */
		g_assert_true(bus_access(shared.bus, 0x1000, &v, 8, false));
	} while (!__atomic_load_n(&shared.stop, __ATOMIC_RELAXED));
	return GSIZE_TO_POINTER(hits);
}

/* A handler waits for a lock of who takes its interval away. */
struct pair {
	struct bus *bus;
	GMutex lock;
	unsigned inside;
};

static uint64_t wait_for_lock(void *opaque, uint64_t offset, unsigned size)
{
	struct pair *p = opaque;

	__atomic_add_fetch(&p->inside, 1, __ATOMIC_SEQ_CST);
	g_mutex_lock(&p->lock);
	g_mutex_unlock(&p->lock);
	return 1;
}

static const struct bus_ops waiting_ops = { wait_for_lock, target_write };

static gpointer read_it(gpointer opaque)
{
	struct pair *p = opaque;
	uint64_t v = 0;

	bus_access(p->bus, 0x100, &v, 1, false);
	return GUINT_TO_POINTER((guint)v);
}

static void withdraws_under_a_lock(void **state)
{
	struct pair p = { .bus = bus_new("mmio") };
	struct target t = { 0 };
	GThread *thread;
	uint64_t v = 0;

	g_mutex_init(&p.lock);
	assert_true(bus_register(p.bus, 0x100, 8, "a", &waiting_ops, &p, NULL));
	g_mutex_lock(&p.lock);
	thread = g_thread_new("reader", read_it, &p);
	while (!__atomic_load_n(&p.inside, __ATOMIC_SEQ_CST))
		g_thread_yield();
	bus_withdraw(p.bus, 0x100); /* bus_unregister() would wait for ever */
	assert_false(bus_access(p.bus, 0x100, &v, 1, false));
	assert_true(bus_register(p.bus, 0x100, 8, "b", &ops, &t, NULL));
	assert_true(bus_access(p.bus, 0x100, &v, 1, false));
	assert_int_equal(v & 0xff, 0x88);
	g_mutex_unlock(&p.lock);
	assert_int_equal(GPOINTER_TO_UINT(g_thread_join(thread)), 1);
	g_mutex_clear(&p.lock);
	bus_free(p.bus);
}

static void readers_and_a_writer(void **state)
{
	struct target fixed = { 0 }, moving[4] = { { 0 } };
	GThread *thread[2];

	shared.bus = bus_new("mmio");
	assert_true(bus_register(shared.bus, 0x1000, 8, "fixed", &ops, &fixed, NULL));
	for (size_t i = 0; i < G_N_ELEMENTS(thread); i++)
		thread[i] = g_thread_new("reader", reader, NULL);
	while (__atomic_load_n(&shared.reading, __ATOMIC_SEQ_CST) < G_N_ELEMENTS(thread))
		g_thread_yield();
	for (unsigned i = 0; i < 20000; i++) {
		struct target *t = &moving[i % 4];
		uint64_t at = i * 8 % 0x800;

		__atomic_store_n(&t->gone, false, __ATOMIC_SEQ_CST);
		assert_true(bus_register(shared.bus, at, 8, "moving", &ops, t, NULL));
		bus_unregister(shared.bus, at);
		__atomic_store_n(&t->gone, true, __ATOMIC_SEQ_CST);
	}
	__atomic_store_n(&shared.stop, true, __ATOMIC_RELAXED);
	for (size_t i = 0; i < G_N_ELEMENTS(thread); i++)
		g_thread_join(thread[i]);
	assert_true(fixed.calls > 0);
	bus_free(shared.bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reaches_the_handler), cmocka_unit_test(nobody_answers),
		cmocka_unit_test(refuses_overlaps),    cmocka_unit_test(full),
		cmocka_unit_test(unregisters_itself),  cmocka_unit_test(readers_and_a_writer),
		cmocka_unit_test(withdraws_under_a_lock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
