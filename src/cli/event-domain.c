/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What each event of a domain says. Called by event.c. */
#include <string.h>

#include "event-domain.h"
#include "objects.h"

/* A word of a list by its number. */
#define WORD(list, i) ((i) >= 0 && (i) < (int)G_N_ELEMENTS(list) && (list)[i] ? (list)[i] : "unknown")

static int number(GVariant *v, unsigned child)
{
	g_autoptr(GVariant) c = g_variant_get_child_value(v, child);

	return g_variant_is_of_type(c, G_VARIANT_TYPE_UINT32) ? (int)g_variant_get_uint32(c) : g_variant_get_int32(c);
}

/* NULL: none was sent */
static const char *text(GVariant *v, unsigned child)
{
	g_autoptr(GVariant) c = g_variant_get_child_value(v, child), in = NULL;

	if (!g_variant_is_of_type(c, G_VARIANT_TYPE_MAYBE))
		return g_variant_get_string(c, NULL);
	in = g_variant_get_maybe(c);
	return in ? g_variant_get_string(in, NULL) : NULL;
}

static const char *or_null(const char *s)
{
	return s ? s : "<null>";
}

static void lifecycle(GString *out, const char *name, GVariant *v)
{
	static const char *const events[] = { "Defined", "Undefined", "Started",     "Suspended", "Resumed",
					      "Stopped", "Shutdown",  "PMSuspended", "Crashed" };
	static const char *const details[][9] = {
		{ "Added", "Updated", "Renamed", "Snapshot" },
		{ "Removed", "Renamed" },
		{ "Booted", "Migrated", "Restored", "Snapshot", "Event wakeup" },
		{ "Paused", "Migrated", "I/O Error", "Watchdog", "Restored", "Snapshot", "API error", "Post-copy",
		  "Post-copy Error" },
		{ "Unpaused", "Migrated", "Snapshot", "Post-copy" },
		{ "Shutdown", "Destroyed", "Crashed", "Migrated", "Saved", "Failed", "Snapshot" },
		{ "Finished", "Finished after guest request", "Finished after host request" },
		{ "Memory", "Disk" },
		{ "Panicked", "Crashloaded" },
	};
	int event = number(v, 1);
	bool known = event >= 0 && event < (int)G_N_ELEMENTS(events);

	g_string_append_printf(out, "event 'lifecycle' for domain '%s': %s %s\n", name, WORD(events, event),
			       known ? WORD(details[event], number(v, 2)) : "unknown");
}

static void rtc_change(GString *out, const char *name, GVariant *v)
{
	gint64 offset;

	g_variant_get_child(v, 1, "x", &offset);
	g_string_append_printf(out, "event 'rtc-change' for domain '%s': %" G_GINT64_FORMAT "\n", name, offset);
}

static void watchdog(GString *out, const char *name, GVariant *v)
{
	static const char *const actions[] = { "none", "pause", "reset", "poweroff", "shutdown", "debug", "inject-nmi" };

	g_string_append_printf(out, "event 'watchdog' for domain '%s': %s\n", name, WORD(actions, number(v, 1)));
}

static const char *const io_actions[] = { "none", "pause", "report" };

static void io_error(GString *out, const char *name, GVariant *v)
{
	g_string_append_printf(out, "event 'io-error' for domain '%s': %s (%s) %s\n", name, text(v, 1), text(v, 2),
			       WORD(io_actions, number(v, 3)));
}

static void io_error_reason(GString *out, const char *name, GVariant *v)
{
	g_string_append_printf(out, "event 'io-error-reason' for domain '%s': %s (%s) %s due to %s\n", name, text(v, 1),
			       text(v, 2), WORD(io_actions, number(v, 3)), text(v, 4));
}

static void graphics(GString *out, const char *name, GVariant *v)
{
	static const char *const phases[] = { "connect", "initialize", "disconnect" };
	static const char *const families[] = { "IPv4", "IPv6", "unix" };
	g_autoptr(GVariant) subjects = NULL;
	const char *host[2], *service[2], *scheme;
	gint32 phase, family[2];

	g_variant_get(v, "(@" DOMAIN "i(i&s&s)(i&s&s)&s@a(ss))", NULL, &phase, &family[0], &host[0], &service[0], &family[1],
		      &host[1], &service[1], &scheme, &subjects);
	g_string_append_printf(out, "event 'graphics' for domain '%s': %s local[%s %s %s] remote[%s %s %s] %s\n", name,
			       WORD(phases, phase), WORD(families, family[0]), host[0], service[0], WORD(families, family[1]),
			       host[1], service[1], scheme);
	for (gsize i = 0; i < g_variant_n_children(subjects); i++) {
		const char *type, *value;

		g_variant_get_child(subjects, i, "(&s&s)", &type, &value);
		g_string_append_printf(out, "\t%s=%s\n", type, value);
	}
}

static void block_job_named(GString *out, const char *event, const char *name, GVariant *v)
{
	static const char *const types[] = { "Unknown job",  "Block Pull",	    "Block Copy",
					     "Block Commit", "Active Block Commit", "Backup" };
	static const char *const states[] = { "completed", "failed", "canceled", "ready" };

	g_string_append_printf(out, "event '%s' for domain '%s': %s for %s %s\n", event, name, WORD(types, number(v, 2)),
			       text(v, 1), WORD(states, number(v, 3)));
}

static void block_job(GString *out, const char *name, GVariant *v)
{
	block_job_named(out, "block-job", name, v);
}

static void block_job_2(GString *out, const char *name, GVariant *v)
{
	block_job_named(out, "block-job-2", name, v);
}

static void disk_change(GString *out, const char *name, GVariant *v)
{
	static const char *const reasons[] = { "changed", "dropped" };

	g_string_append_printf(out, "event 'disk-change' for domain '%s' disk %s: %s -> %s: %s\n", name, text(v, 3),
			       or_null(text(v, 1)), or_null(text(v, 2)), WORD(reasons, number(v, 4)));
}

static void tray_change(GString *out, const char *name, GVariant *v)
{
	static const char *const reasons[] = { "opened", "closed" };

	g_string_append_printf(out, "event 'tray-change' for domain '%s' disk %s: %s\n", name, text(v, 1),
			       WORD(reasons, number(v, 2)));
}

static void balloon_change(GString *out, const char *name, GVariant *v)
{
	guint64 actual;

	g_variant_get_child(v, 1, "t", &actual);
	g_string_append_printf(out, "event 'balloon-change' for domain '%s': %" G_GUINT64_FORMAT "KiB\n", name, actual);
}

static void device_removed(GString *out, const char *name, GVariant *v)
{
	g_string_append_printf(out, "event 'device-removed' for domain '%s': %s\n", name, text(v, 1));
}

static void device_added(GString *out, const char *name, GVariant *v)
{
	g_string_append_printf(out, "event 'device-added' for domain '%s': %s\n", name, text(v, 1));
}

static void device_removal_failed(GString *out, const char *name, GVariant *v)
{
	g_string_append_printf(out, "event 'device-removal-failed' for domain '%s': %s\n", name, text(v, 1));
}

static void params(GString *out, const char *event, const char *name, GVariant *v)
{
	g_autoptr(GVariant) list = g_variant_get_child_value(v, 1);

	g_string_append_printf(out, "event '%s' for domain '%s':\n", event, name);
	for (gsize i = 0; i < g_variant_n_children(list); i++) {
		g_autoptr(GVariant) value = NULL;
		g_autofree char *shown = NULL;
		const char *field;

		g_variant_get_child(list, i, "(&sv)", &field, &value);
		shown = param_text(value);
		g_string_append_printf(out, "\t%s: %s\n", field, shown);
	}
}

static void tunable(GString *out, const char *name, GVariant *v)
{
	params(out, "tunable", name, v);
}

static void job_completed(GString *out, const char *name, GVariant *v)
{
	params(out, "job-completed", name, v);
}

static void agent_lifecycle(GString *out, const char *name, GVariant *v)
{
	static const char *const states[] = { NULL, "connected", "disconnected" };
	static const char *const reasons[] = { "unknown", "domain started", "channel event" };

	g_string_append_printf(out, "event 'agent-lifecycle' for domain '%s': state: '%s' reason: '%s'\n", name,
			       WORD(states, number(v, 1)), WORD(reasons, number(v, 2)));
}

static void migration_iteration(GString *out, const char *name, GVariant *v)
{
	g_string_append_printf(out, "event 'migration-iteration' for domain '%s': iteration: '%d'\n", name, number(v, 1));
}

static void metadata_change(GString *out, const char *name, GVariant *v)
{
	static const char *const types[] = { "description", "title", "element" };

	g_string_append_printf(out, "event 'metadata-change' for domain '%s': type %s, uri %s\n", name, WORD(types, number(v, 1)),
			       or_null(text(v, 2)));
}

static void block_threshold(GString *out, const char *name, GVariant *v)
{
	guint64 threshold, excess;

	g_variant_get_child(v, 3, "t", &threshold);
	g_variant_get_child(v, 4, "t", &excess);
	g_string_append_printf(
		out, "event 'block-threshold' for domain '%s': dev: %s(%s) %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT "\n", name,
		text(v, 1), or_null(text(v, 2)), threshold, excess);
}

static void memory_failure(GString *out, const char *name, GVariant *v)
{
	static const char *const recipients[] = { "hypervisor", "guest" };
	static const char *const actions[] = { "ignore", "inject", "fatal", "reset" };
	unsigned flags = number(v, 3);

	g_string_append_printf(out, "event 'memory-failure' for domain '%s':\nrecipient: %s\naction: %s\n", name,
			       WORD(recipients, number(v, 1)), WORD(actions, number(v, 2)));
	g_string_append_printf(out, "flags:\n\taction required: %d\n\trecursive: %d\n", (flags & 1) != 0, (flags & 2) != 0);
}

static void memory_device_size_change(GString *out, const char *name, GVariant *v)
{
	guint64 size;

	g_variant_get_child(v, 2, "t", &size);
	g_string_append_printf(out,
			       "event 'memory-device-size-change' for domain '%s':\nalias: %s\nsize: %" G_GUINT64_FORMAT "\n",
			       name, text(v, 1), size);
}

/* In the order of enum virDomainEventID, which is what they are registered by. */
const struct domain_event domain_events[] = {
	{ "lifecycle", "domain_event_callback_lifecycle", lifecycle },
	{ "reboot", "domain_event_callback_reboot" },
	{ "rtc-change", "domain_event_callback_rtc_change", rtc_change },
	{ "watchdog", "domain_event_callback_watchdog", watchdog },
	{ "io-error", "domain_event_callback_io_error", io_error },
	{ "graphics", "domain_event_callback_graphics", graphics },
	{ "io-error-reason", "domain_event_callback_io_error_reason", io_error_reason },
	{ "control-error", "domain_event_callback_control_error" },
	{ "block-job", "domain_event_callback_block_job", block_job },
	{ "disk-change", "domain_event_callback_disk_change", disk_change },
	{ "tray-change", "domain_event_callback_tray_change", tray_change },
	{ "pm-wakeup", "domain_event_callback_pmwakeup" },
	{ "pm-suspend", "domain_event_callback_pmsuspend" },
	{ "balloon-change", "domain_event_callback_balloon_change", balloon_change },
	{ "pm-suspend-disk", "domain_event_callback_pmsuspend_disk" },
	{ "device-removed", "domain_event_callback_device_removed", device_removed },
	{ "block-job-2", "domain_event_block_job_2", block_job_2 },
	{ "tunable", "domain_event_callback_tunable", tunable },
	{ "agent-lifecycle", "domain_event_callback_agent_lifecycle", agent_lifecycle },
	{ "device-added", "domain_event_callback_device_added", device_added },
	{ "migration-iteration", "domain_event_callback_migration_iteration", migration_iteration },
	{ "job-completed", "domain_event_callback_job_completed", job_completed },
	{ "device-removal-failed", "domain_event_callback_device_removal_failed", device_removal_failed },
	{ "metadata-change", "domain_event_callback_metadata_change", metadata_change },
	{ "block-threshold", "domain_event_block_threshold", block_threshold },
	{ "memory-failure", "domain_event_memory_failure", memory_failure },
	{ "memory-device-size-change", "domain_event_memory_device_size_change", memory_device_size_change },
	{},
};

/* The message without its callback: (domain, …), whichever of the two shapes it came in. */
static GVariant *message_of(GVariant *body)
{
	g_autoptr(GVariant) last = g_variant_get_child_value(body, g_variant_n_children(body) - 1);
	GVariant *parts[8];
	unsigned n = MIN(g_variant_n_children(body) - 1, G_N_ELEMENTS(parts));
	GVariant *all;

	/* …, (domain, …) */
	if (g_variant_is_of_type(last, G_VARIANT_TYPE_TUPLE) && !g_variant_is_of_type(last, G_VARIANT_TYPE(DOMAIN)))
		return g_steal_pointer(&last);
	for (unsigned i = 0; i < n; i++)
		parts[i] = g_variant_get_child_value(body, i + 1);
	all = g_variant_ref_sink(g_variant_new_tuple(parts, n));
	for (unsigned i = 0; i < n; i++)
		g_variant_unref(parts[i]);
	return all;
}

char *domain_event_text(const struct domain_event *e, GVariant *body)
{
	g_autoptr(GVariant) v = message_of(body), dom = g_variant_get_child_value(v, 0);
	GString *out = g_string_new(NULL);

	if (e->write)
		e->write(out, domain_name(dom), v);
	else
		g_string_append_printf(out, "event '%s' for domain '%s'\n", e->name, domain_name(dom));
	return g_string_free(out, FALSE);
}
