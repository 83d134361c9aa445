/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <clock>: the clock chip. What timers do with late ticks is a hint (domain-fields.h). See parts.h. */
#include <string.h>

#include "parts.h"

static char *date(gint64 seconds)
{
	g_autoptr(GDateTime) t = g_date_time_new_from_unix_utc(seconds);

	return t ? g_date_time_format(t, "%Y-%m-%dT%H:%M:%S") : NULL;
}

/* The definition has an hour that is reached by counting from one that moves. */
static bool variable(const xmlNode *clock, const struct command_paths *paths, char **ret, GError **error)
{
	bool local = xml_is(clock, "@basis", "localtime");
	const char *text = xml_text(clock, "@adjustment");
	gint64 ahead = 0, now = paths->now;

	if (text && strcmp(text, "reset") && !g_ascii_string_to_signed(text, 10, -G_MAXINT32, G_MAXINT32, &ahead, error))
		return false;
	if (local) {
		g_autoptr(GTimeZone) zone = g_time_zone_new_local();
		int interval = g_time_zone_find_interval(zone, G_TIME_TYPE_UNIVERSAL, now);

		now += interval < 0 ? 0 : g_time_zone_get_offset(zone, interval);
	}
	*ret = ahead ? date(now + ahead) : g_strdup(local ? "localtime" : "utc");
	return true;
}

static bool base_of(const xmlNode *clock, const struct command_paths *paths, char **ret, GError **error)
{
	const char *offset = xml_text(clock, "@offset");
	guint64 start;

	if (offset && !strcmp(offset, "variable"))
		return variable(clock, paths, ret, error);
	if (offset && !strcmp(offset, "absolute") && xml_number(clock, "@start", &start) && start < G_MAXINT64)
		*ret = date((gint64)start);
	else if (!offset || !strcmp(offset, "utc") || !strcmp(offset, "localtime"))
		*ret = g_strdup(offset);
	else
		return refuse(error, "clock offset '%s' is not supported", offset);
	return true;
}

bool command_clock(struct command *c, GError **error)
{
	const xmlNode *clock = xml_child(c->domain, "clock"), *timer;
	g_autofree char *base = NULL;
	keys *k;

	if (!clock)
		return true;
	if (!base_of(clock, c->paths, &base, error))
		return false;
	k = keys_new(NULL);
	if (base && strcmp(base, "utc"))
		put(k, "base", base);
	for (unsigned n = 0; (timer = xml_nth(clock, "timer", n)); n++)
		if (xml_is(timer, "@name", "rtc") && xml_is(timer, "@track", "guest"))
			put(k, "clock", "vm");
	if (k->len)
		add(c, "--rtc", keys_end(k));
	else
		g_string_free(k, TRUE);
	return true;
}
