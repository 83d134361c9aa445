/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libkv with a stock libvirtd: opening beside the main loop, many calls at once, calls from threads, events while others wait,
 * errors, what is cancelled, a server that goes away. Started by kvsh.py (name libkv) with a URI of the test driver and the
 * server's process.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kv-connection.h"
#include "kv-stream.h"

#define CHECK(what)                                                                                                              \
	do {                                                                                                                     \
		if (!(what)) {                                                                                                   \
			printf("%s:%d: %s\n", __FILE__, __LINE__, #what);                                                        \
			exit(1);                                                                                                 \
		}                                                                                                                \
	} while (0)

enum { CALLS = 200, THREADS = 4, THREAD_CALLS = 100 };

static GMainLoop *loop;
static KvConnection *conn;
static unsigned answers, events;

static void on_open(GObject *source, GAsyncResult *result, gpointer unused)
{
	conn = kv_connection_open_finish(result, NULL);
	g_main_loop_quit(loop);
}

static GVariant *find(const char *name)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GVariant) answer =
		kv_connection_call_sync(conn, "domain_lookup_by_name", g_variant_new("(s)", name), NULL, &error);

	CHECK(answer);
	return g_variant_get_child_value(answer, 0);
}

/* ---- many at once ---- */

static void on_answer(GObject *source, GAsyncResult *result, gpointer number)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GVariant) answer = kv_connection_call_finish(conn, result, &error);

	/* Every second one asks for what there is not. */
	if (GPOINTER_TO_UINT(number) % 2)
		CHECK(!answer && g_error_matches(error, KV_VIRT_ERROR, 42));
	else
		CHECK(answer && !error);
	if (++answers == CALLS)
		g_main_loop_quit(loop);
}

static void test_async(void)
{
	for (unsigned i = 0; i < CALLS; i++)
		kv_connection_call(conn, "domain_lookup_by_name", g_variant_new("(s)", i % 2 ? "nope" : "test"), NULL, on_answer,
				   GUINT_TO_POINTER(i));
	/* One that waits in between, and takes the others' answers off the wire. */
	g_variant_unref(find("test"));
	g_main_loop_run(loop);
	CHECK(answers == CALLS);
}

static gpointer ask_often(gpointer unused)
{
	for (unsigned i = 0; i < THREAD_CALLS; i++) {
		g_autoptr(GVariant) dom = find("test");
		g_autoptr(GVariant) xml =
			kv_connection_call_sync(conn, "domain_get_xml_desc", g_variant_new("(@(sayi)u)", dom, 0), NULL, NULL);

		CHECK(xml);
	}
	return NULL;
}

static void test_threads(void)
{
	GThread *threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		threads[i] = g_thread_new("asks", ask_often, NULL);
	ask_often(NULL);
	for (unsigned i = 0; i < THREADS; i++)
		g_thread_join(threads[i]);
}

/* ---- events ---- */

static void on_event(KvConnection *self, const char *procedure, GVariant *body, gpointer unused)
{
	CHECK(strcmp(procedure, "domain_event_callback_lifecycle") == 0);
	CHECK(g_variant_is_of_type(body, G_VARIANT_TYPE("(i((sayi)ii))")));
	if (++events == 2)
		g_main_loop_quit(loop);
}

static void test_events(void)
{
	g_autoptr(GVariant) dom = find("test"), none = g_variant_ref_sink(g_variant_new_maybe(G_VARIANT_TYPE("(sayi)"), NULL)),
			    id = NULL;
	gulong handler = g_signal_connect(conn, "event", G_CALLBACK(on_event), NULL);

	id = kv_connection_call_sync(conn, "connect_domain_event_callback_register_any", g_variant_new("(i@m(sayi))", 0, none),
				     NULL, NULL);
	CHECK(id);
	/* They come with the answers, and are told when the main loop runs. */
	g_variant_unref(kv_connection_call_sync(conn, "domain_suspend", g_variant_new("(@(sayi))", dom), NULL, NULL));
	g_variant_unref(kv_connection_call_sync(conn, "domain_resume", g_variant_new("(@(sayi))", dom), NULL, NULL));
	CHECK(events == 0);
	g_main_loop_run(loop);
	CHECK(events == 2);
	g_signal_handler_disconnect(conn, handler);
}

/* ---- errors ---- */

static void test_errors(void)
{
	g_autoptr(GCancellable) cancelled = g_cancellable_new();
	g_autoptr(GError) error = NULL;

	CHECK(!kv_connection_call_sync(conn, "domain_lookup_by_name", g_variant_new("(i)", 1), NULL, &error) &&
	      error); /* another type */
	g_clear_error(&error);
	CHECK(!kv_connection_call_sync(conn, "no_such_procedure", NULL, NULL, &error) && error);
	g_clear_error(&error);
	CHECK(!kv_connection_call_sync(conn, "domain_event_lifecycle", NULL, NULL, &error) && error); /* the server's to send */
	g_clear_error(&error);
	g_cancellable_cancel(cancelled);
	CHECK(!kv_connection_call_sync(conn, "connect_get_hostname", NULL, cancelled, &error));
	CHECK(g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED));
	g_clear_error(&error);
	/* Its answer comes still, to nobody. */
	g_variant_unref(find("test"));
	CHECK(!kv_stream_open_sync(conn, "storage_vol_download",
				   g_variant_new("((sss)ttu)", "default-pool", "nope", "nope", 0, 0, 0), NULL, NULL, &error));
	CHECK(error->domain == KV_VIRT_ERROR);
}

static void test_screenshot(void)
{
	g_autoptr(GVariant) dom = find("test"), answer = NULL;
	g_autoptr(GError) error = NULL;
	g_autoptr(KvStream) stream =
		kv_stream_open_sync(conn, "domain_screenshot", g_variant_new("(@(sayi)uu)", dom, 0, 0), &answer, NULL, &error);
	char data[8];

	CHECK(stream && answer);
	CHECK(kv_stream_recv_sync(stream, data, sizeof(data), NULL, &error) == 8 && memcmp(data, "\x89PNG\r\n\x1a\n", 8) == 0);
	while (kv_stream_recv_sync(stream, data, sizeof(data), NULL, &error) > 0)
		;
	CHECK(!error && kv_stream_finish_sync(stream, NULL, &error));
	/* Another one is given up in its middle, and calls go on. */
	g_object_unref(stream);
	stream = kv_stream_open_sync(conn, "domain_screenshot", g_variant_new("(@(sayi)uu)", dom, 0, 0), NULL, NULL, &error);
	g_clear_object(&stream);
	g_variant_unref(find("test"));
}

/* ---- the end ---- */

static void on_closed(KvConnection *self, const GError *why, gpointer unused)
{
	CHECK(strstr(why->message, "End of file"));
	g_main_loop_quit(loop);
}

static void test_server_gone(int pid)
{
	g_autoptr(GError) error = NULL;

	g_signal_connect(conn, "closed", G_CALLBACK(on_closed), NULL);
	kill(pid, SIGKILL);
	g_main_loop_run(loop);
	CHECK(!kv_connection_is_alive(conn));
	CHECK(!kv_connection_call_sync(conn, "connect_get_hostname", NULL, NULL, &error) && error);
	g_clear_error(&error);
	kv_connection_close(conn);
	CHECK(!kv_connection_call_sync(conn, "connect_get_hostname", NULL, NULL, &error) && error);
}

/* Many calls at once: each answer in its place, a refused one NULL, and the connection goes on. */
static void test_each(void)
{
	g_autoptr(GPtrArray) args = g_ptr_array_new_with_free_func((GDestroyNotify)g_variant_unref), got = NULL;
	enum { N = 300 };

	for (int i = 0; i < N; i++)
		g_ptr_array_add(args, g_variant_ref_sink(g_variant_new("(s)", i % 3 ? "test" : "nope")));
	got = kv_connection_call_each_sync(conn, "domain_lookup_by_name", args, NULL, NULL);
	CHECK(got && got->len == N);
	for (int i = 0; got && i < N; i++)
		CHECK(!!g_ptr_array_index(got, i) == (i % 3 != 0));
	g_ptr_array_set_size(args, 0);
	g_clear_pointer(&got, g_ptr_array_unref);
	got = kv_connection_call_each_sync(conn, "domain_lookup_by_name", args, NULL, NULL);
	CHECK(got && got->len == 0);
}

int main(int argc, char **argv)
{
	loop = g_main_loop_new(NULL, FALSE);
	kv_connection_open(argv[1], KV_CONNECTION_NONE, NULL, on_open, NULL);
	g_main_loop_run(loop);
	CHECK(conn);
	CHECK(kv_connection_set_keepalive(conn, 1, 5));
	test_async();
	test_each();
	test_threads();
	test_events();
	test_errors();
	test_screenshot();
	test_server_gone((int)g_ascii_strtoll(argv[2], NULL, 10));
	g_object_unref(conn);
	g_main_loop_unref(loop);
	puts("done");
	return 0;
}
