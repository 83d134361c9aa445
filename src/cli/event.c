/* SPDX-License-Identifier: GPL-2.0-or-later */
/* event and its like: see event.h. */
#include <glib-unix.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "event.h"
#include "event-domain.h"
#include "objects.h"

struct wait {
	struct shell *sh;
	GMainLoop *loop;
	bool go_on, with_time, is_pretty;
	int count;
	const char *ended; /* why, if not by an event */
	/* Which are waited for: of domains by their bits, of others one. */
	guint32 wanted;
	enum event_source source;
	const struct object_event *one;
	char *name; /* of objects: only this one */
};

/* ---- waiting ---- */

static gboolean on_timeout(gpointer opaque)
{
	struct wait *w = opaque;

	w->ended = "event loop timed out";
	g_main_loop_quit(w->loop);
	return G_SOURCE_CONTINUE;
}

static gboolean on_interrupt(gpointer opaque)
{
	struct wait *w = opaque;

	w->ended = "event loop interrupted";
	g_main_loop_quit(w->loop);
	return G_SOURCE_CONTINUE;
}

static void on_closed(KvConnection *conn, const GError *why, struct wait *w)
{
	g_main_loop_quit(w->loop);
}

static void say_event(struct wait *w, const char *text)
{
	g_autoptr(GDateTime) now = g_date_time_new_now_utc();
	g_autofree char *time = g_date_time_format(now, "%Y-%m-%d %H:%M:%S");

	if (!w->go_on && w->count)
		return;
	if (w->with_time)
		say(w->sh, "%s.%03d+0000: %s", time, g_date_time_get_microsecond(now) / 1000, text);
	else
		say(w->sh, "%s", text);
	fflush(stdout);
	w->count++;
	if (!w->go_on)
		g_main_loop_quit(w->loop);
}

/* Until an event, or several, the time or an interrupt. Says how many there were. */
static bool run(struct wait *w, GCallback on_event, int timeout)
{
	struct shell *sh = w->sh;
	gulong events = g_signal_connect(sh->conn, "event", on_event, w),
	       closed = g_signal_connect(sh->conn, "closed", G_CALLBACK(on_closed), w);
	guint interrupt = g_unix_signal_add(SIGINT, on_interrupt, w),
	      timer = timeout ? g_timeout_add_seconds(timeout, on_timeout, w) : 0;

	if (kv_connection_is_alive(sh->conn))
		g_main_loop_run(w->loop);
	g_source_remove(interrupt);
	if (timer)
		g_source_remove(timer);
	g_signal_handler_disconnect(sh->conn, events);
	g_signal_handler_disconnect(sh->conn, closed);
	if (w->ended)
		say(sh, "%s\n", w->ended);
	say(sh, "events received: %d\n", w->count);
	return w->count > 0;
}

/* false with the error said; 0 when there is none. */
static bool take_timeout(struct shell *sh, const struct args *a, int *ret)
{
	int given;

	*ret = 0;
	given = arg_int(sh, a, "timeout", ret);
	if (given > 0 && *ret < 1)
		return shell_error(sh, "Numeric value '%s' for <timeout> option is malformed or out of range",
				   arg_text(a, "timeout"));
	return given >= 0;
}

/* ---- domains ---- */

static void on_domain_event(KvConnection *conn, const char *procedure, GVariant *body, struct wait *w)
{
	for (unsigned i = 0; domain_events[i].name; i++)
		if ((w->wanted & (1u << i)) && strcmp(domain_events[i].procedure, procedure) == 0) {
			g_autofree char *text = domain_event_text(&domain_events[i], body);

			say_event(w, text);
		}
}

static bool pick(struct shell *sh, const struct args *a, guint32 *ret)
{
	const char *name = arg_text(a, "event");

	if (!name && !arg_on(a, "all"))
		return shell_error(sh, "one of --list, --all, or --event <type> is required");
	for (unsigned i = 0; domain_events[i].name; i++)
		if (!name || strcmp(domain_events[i].name, name) == 0)
			*ret |= 1u << i;
	return *ret || shell_error(sh, "unknown event type %s", name);
}

static bool register_domain_events(struct wait *w, GVariant *dom, bool all, int *ids)
{
	g_autoptr(GVariant) only = g_variant_ref_sink(g_variant_new_maybe(G_VARIANT_TYPE(DOMAIN), dom));

	for (unsigned i = 0; domain_events[i].name; i++) {
		if (!(w->wanted & (1u << i)))
			continue;
		ids[i] = -1;
		if (!ask_int(w->sh, &ids[i], "connect_domain_event_callback_register_any", "(i@m" DOMAIN ")", i, only)) {
			/* With --all, a server that does not know one yet has the others. */
			w->wanted &= ~(1u << i);
			if (!all)
				return false;
			forget_error(w->sh);
		}
	}
	return w->wanted;
}

static bool list_events(struct shell *sh)
{
	for (unsigned i = 0; domain_events[i].name; i++)
		say(sh, "%s\n", domain_events[i].name);
	return true;
}

static bool cmd_event(struct shell *sh, const struct args *a)
{
	struct wait w = { sh, .go_on = arg_on(a, "loop"), .with_time = arg_on(a, "timestamp") };
	g_autoptr(GVariant) dom = NULL;
	int ids[32], timeout;
	bool ok;

	if (args_exclude(sh, a, "all", "event") || args_exclude(sh, a, "list", "all") || args_exclude(sh, a, "list", "event"))
		return false;
	if (arg_on(a, "list"))
		return list_events(sh);
	if (!pick(sh, a, &w.wanted) || !take_timeout(sh, a, &timeout))
		return false;
	if (arg_on(a, "domain") && !(dom = find_domain(sh, a, "domain")))
		return false;
	w.loop = g_main_loop_new(NULL, FALSE);
	ok = register_domain_events(&w, dom, arg_on(a, "all"), ids) && run(&w, G_CALLBACK(on_domain_event), timeout);
	for (unsigned i = 0; domain_events[i].name; i++)
		if ((w.wanted & (1u << i)) && ids[i] >= 0 && kv_connection_is_alive(sh->conn))
			tell(sh, "connect_domain_event_callback_deregister_any", "(i)", ids[i]);
	g_main_loop_unref(w.loop);
	return ok;
}

/* ---- others ---- */

struct object_event {
	const char *name, *procedure;
	const char *const *details; /* NULL: there are none */
};

static const char *const network_details[] = { "Defined", "Undefined", "Started", "Stopped", NULL };
static const char *const pool_details[] = { "Defined", "Undefined", "Started", "Stopped", "Created", "Deleted", NULL };
static const char *const device_details[] = { "Created", "Deleted", "Defined", "Undefined", NULL };
static const char *const secret_details[] = { "Defined", "Undefined", NULL };

static const struct source {
	const char *option, *what, *type, *enter, *leave;
	struct object_event events[3]; /* in the order of their numbers */
} sources[] = {
	[EVENTS_OF_NETWORKS] = { "network",
				 "network",
				 NETWORK,
				 "connect_network_event_register_any",
				 "connect_network_event_deregister_any",
				 { { "lifecycle", "network_event_lifecycle", network_details } } },
	[EVENTS_OF_POOLS] = { "pool",
			      "storage pool",
			      POOL,
			      "connect_storage_pool_event_register_any",
			      "connect_storage_pool_event_deregister_any",
			      { { "lifecycle", "storage_pool_event_lifecycle", pool_details },
				{ "refresh", "storage_pool_event_refresh" } } },
	[EVENTS_OF_DEVICES] = { "device",
				"node device",
				"s",
				"connect_node_device_event_register_any",
				"connect_node_device_event_deregister_any",
				{ { "lifecycle", "node_device_event_lifecycle", device_details },
				  { "update", "node_device_event_update" } } },
	[EVENTS_OF_SECRETS] = { "secret",
				"secret",
				"(ayis)",
				"connect_secret_event_register_any",
				"connect_secret_event_deregister_any",
				{ { "lifecycle", "secret_event_lifecycle", secret_details },
				  { "value-changed", "secret_event_value_changed" } } },
};

static char *name_of(GVariant *object)
{
	if (g_variant_is_of_type(object, G_VARIANT_TYPE_STRING))
		return g_variant_dup_string(object, NULL);
	if (g_variant_is_of_type(object, G_VARIANT_TYPE("(ayis)"))) {
		g_autoptr(GVariant) both = g_variant_ref_sink(g_variant_new("(s@ay)", "", g_variant_get_child_value(object, 0)));

		return object_uuid(both);
	}
	return g_strdup(object_name(object));
}

static void on_object_event(KvConnection *conn, const char *procedure, GVariant *body, struct wait *w)
{
	g_autoptr(GVariant) object = NULL;
	g_autofree char *name = NULL, *text = NULL;
	const char *what = sources[w->source].what;
	gint32 detail;

	if (strcmp(procedure, w->one->procedure) != 0)
		return;
	object = g_variant_get_child_value(body, 1);
	name = name_of(object);
	if (w->one->details) {
		g_variant_get_child(body, 2, "i", &detail);
		text = g_strdup_printf("event 'lifecycle' for %s %s: %s\n", what, name,
				       detail >= 0 && detail < (int)g_strv_length((char **)w->one->details)
					       ? w->one->details[detail]
					       : "unknown");
	} else {
		text = g_strdup_printf("event '%s' for %s %s\n", w->one->name, what, name);
	}
	say_event(w, text);
}

/* The object that alone is watched, in a maybe; NULL: it was said that there is none. */
static GVariant *watched(struct shell *sh, const struct args *a, enum event_source source)
{
	const struct source *s = &sources[source];
	const char *name = arg_text(a, s->option);
	g_autoptr(GVariant) object = NULL, answer = NULL;

	if (!name)
		return g_variant_ref_sink(g_variant_new_maybe(G_VARIANT_TYPE(s->type), NULL));
	if (source == EVENTS_OF_NETWORKS) {
		object = find_network(sh, a, s->option);
	} else if (source == EVENTS_OF_POOLS) {
		object = find_pool(sh, a, s->option);
	} else if (source == EVENTS_OF_DEVICES) {
		answer = ask(sh, "node_device_lookup_by_name", "(s)", name);
		object = first_of(answer);
		if (!object)
			shell_error(sh, "Could not find matching device '%s'", name);
	} else {
		GVariant *uuid = uuid_value(name);

		answer = uuid ? ask(sh, "secret_lookup_by_uuid", "(@ay)", uuid) : NULL;
		object = first_of(answer);
		if (!object)
			shell_error(sh, "failed to get secret '%s'", name);
	}
	return object ? g_variant_ref_sink(g_variant_new_maybe(NULL, object)) : NULL;
}

bool watch_objects(struct shell *sh, const struct args *a, enum event_source source)
{
	const struct source *s = &sources[source];
	struct wait w = { sh, .go_on = arg_on(a, "loop"), .with_time = arg_on(a, "timestamp"), .source = source };
	const char *name = arg_text(a, "event");
	g_autofree char *types = g_strdup_printf("(i@m%s)", s->type);
	g_autoptr(GVariant) only = NULL;
	int id, timeout;
	bool ok;

	if (arg_on(a, "list")) {
		for (unsigned i = 0; s->events[i].name; i++)
			say(sh, "%s\n", s->events[i].name);
		return true;
	}
	if (!name)
		return shell_error(sh, "either --list or --event <type> is required");
	for (unsigned i = 0; s->events[i].name; i++)
		if (strcmp(s->events[i].name, name) == 0)
			w.one = &s->events[i];
	if (!w.one)
		return shell_error(sh, "unknown event type %s", name);
	if (!take_timeout(sh, a, &timeout) || !(only = watched(sh, a, source)))
		return false;
	if (!ask_int(sh, &id, s->enter, types, (int)(w.one - s->events), only))
		return false;
	w.loop = g_main_loop_new(NULL, FALSE);
	ok = run(&w, G_CALLBACK(on_object_event), timeout);
	if (kv_connection_is_alive(sh->conn))
		tell(sh, s->leave, "(i)", id);
	g_main_loop_unref(w.loop);
	return ok;
}

/* ---- the monitor's own ---- */

static void on_monitor_event(KvConnection *conn, const char *procedure, GVariant *body, struct wait *w)
{
	g_autoptr(GVariant) dom = NULL;
	g_autofree char *text = NULL, *pretty = NULL;
	const char *name, *details;
	gint64 seconds;
	guint32 micros;

	if (strcmp(procedure, "domain_monitor_event") != 0)
		return;
	g_variant_get(body, "(i@" DOMAIN "&sxum&s)", NULL, &dom, &name, &seconds, &micros, &details);
	if (details && w->is_pretty) {
		json_t *value = json_loads(details, JSON_DECODE_ANY, NULL);
		g_autofree char *shown = json_pretty(value);

		pretty = shown ? g_strconcat(shown, "\n", NULL) : NULL;
		json_decref(value);
	}
	details = pretty ? pretty : details ? details : "<null>";
	text = w->with_time ? g_strdup_printf("event %s for domain '%s': %s\n", name, domain_name(dom), details)
			    : g_strdup_printf("event %s at %" G_GINT64_FORMAT ".%06u for domain '%s': %s\n", name, seconds,
					      micros, domain_name(dom), details);
	say_event(w, text);
}

static bool cmd_qemu_monitor_event(struct shell *sh, const struct args *a)
{
	static const struct flag flags_table[] = { { "regex", 1 }, { "no-case", 2 }, {} };
	struct wait w = { sh, .go_on = arg_on(a, "loop"), .with_time = arg_on(a, "timestamp"), .is_pretty = arg_on(a, "pretty") };
	g_autoptr(GVariant) dom = NULL, only = NULL;
	int id, timeout;
	bool ok;

	if (!take_timeout(sh, a, &timeout) || (arg_on(a, "domain") && !(dom = find_domain(sh, a, "domain"))))
		return false;
	only = g_variant_ref_sink(g_variant_new_maybe(G_VARIANT_TYPE(DOMAIN), dom));
	if (!ask_int(sh, &id, "qemu:connect_domain_monitor_event_register", "(@m" DOMAIN "msu)", only, arg_text(a, "event"),
		     flags_of(a, flags_table)))
		return false;
	w.loop = g_main_loop_new(NULL, FALSE);
	ok = run(&w, G_CALLBACK(on_monitor_event), timeout);
	if (kv_connection_is_alive(sh->conn))
		tell(sh, "qemu:connect_domain_monitor_event_deregister", "(i)", id);
	g_main_loop_unref(w.loop);
	return ok;
}

const struct command event_commands[] = {
	{ "event", cmd_event,
	  "[--domain <string>] [--event <string>] [--all] [--loop] [--timeout <number>] [--list] [--timestamp]",
	  "what domains tell" },
	{ "qemu-monitor-event", cmd_qemu_monitor_event,
	  "[--domain <string>] [--event <string>] [--pretty] [--loop] [--timeout <number>] [--regex] [--no-case] [--timestamp]",
	  "what the machine's monitor tells" },
	{},
};
