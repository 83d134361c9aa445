/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Says what machines do, as it happens, and asks each for its state without waiting.   kv-watch [URI [COUNT]]
 * Ends after COUNT events, or never.
 */
#include <kv.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const words[] = { "defined", "undefined", "started", "suspended", "resumed",
				     "stopped", "shut down", "asleep",  "crashed" };

struct watch {
	GMainLoop *loop;
	int left;
	int status;
};

static void have_state(GObject *domain, GAsyncResult *result, gpointer data)
{
	struct watch *w = data;
	g_autoptr(GError) error = NULL;
	KvDomainState state;
	const char *name = kv_object_get_name(KV_OBJECT(domain));

	if (kv_domain_get_state_finish(KV_DOMAIN(domain), result, &state, NULL, &error))
		printf("%s is now in state %d\n", name, state);
	else
		printf("%s: %s\n", name, error->message);
	fflush(stdout);
	if (w->left > 0 && --w->left == 0)
		g_main_loop_quit(w->loop);
}

static void on_event(KvConnection *conn, KvObject *object, const char *event, GVariant *details, struct watch *w)
{
	gint32 what = -1;

	g_variant_get_child(details, 0, "i", &what);
	printf("%s: %s\n", kv_object_get_name(object), what >= 0 && what < (int)G_N_ELEMENTS(words) ? words[what] : event);
	kv_domain_get_state(KV_DOMAIN(object), 0, NULL, have_state, w);
}

static void on_closed(KvConnection *conn, GError *why, struct watch *w)
{
	fprintf(stderr, "the server is gone: %s\n", why->message);
	w->status = 1;
	g_main_loop_quit(w->loop);
}

int main(int argc, char **argv)
{
	g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
	g_autoptr(GError) error = NULL;
	g_autoptr(KvConnection) conn = kv_connection_open_sync(argc > 1 ? argv[1] : NULL, KV_CONNECTION_NONE, NULL, &error);
	guint64 count = 0;
	struct watch w = { loop, 0, 0 };

	if (conn && argc > 2 && !g_ascii_string_to_unsigned(argv[2], 10, 0, G_MAXINT, &count, &error))
		g_clear_object(&conn);
	w.left = count;
	if (!conn || kv_connection_watch_sync(conn, "domain_event_callback_lifecycle", NULL, NULL, &error) < 0) {
		fprintf(stderr, "%s: %s\n", argv[0], error->message);
		return 1;
	}
	g_signal_connect(conn, "object-event", G_CALLBACK(on_event), &w);
	g_signal_connect(conn, "closed", G_CALLBACK(on_closed), &w);
	printf("watching\n");
	fflush(stdout);
	g_main_loop_run(loop);
	g_signal_handlers_disconnect_by_data(conn, &w);
	return w.status;
}
