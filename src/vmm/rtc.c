/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --rtc: where the guest's clock chip begins, in QEMU's words, and what it is told by when the guest sets it. The chip counts an
 * offset to the host's clock, or to the time that the machine has run (machine/devices/mc146818.c). See vmm.h.
 */
#include <string.h>
#include <time.h>

#include "error.h"
#include "vmm.h"

/* YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS, in UTC. */
static bool parse_date(const char *text, int64_t *ret_seconds)
{
	static const char form[] = "0000-00-00T00:00:00";
	size_t len = strlen(text), day = strcspn(form, "T");
	g_autofree char *whole = g_strconcat(text, len == day ? form + day : "", NULL);
	g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
	g_autoptr(GDateTime) date = NULL;

	if (len != day && len != strlen(form))
		return false;
	for (size_t i = 0; form[i]; i++)
		if (form[i] == '0' ? !g_ascii_isdigit(whole[i]) : whole[i] != form[i])
			return false;
	date = g_date_time_new_from_iso8601(whole, utc);
	if (date)
		*ret_seconds = g_date_time_to_unix(date);
	return date;
}

/* DST that begins later is the guest's matter. */
static int64_t local_offset(int64_t now)
{
	g_autoptr(GTimeZone) zone = g_time_zone_new_local();

	return g_time_zone_get_offset(zone, g_time_zone_find_interval(zone, G_TIME_TYPE_UNIVERSAL, now));
}

bool vmm_read_rtc(const struct vmm *vmm, struct machine_config *config, GError **error)
{
	g_autoptr(GVariant) keys = options_lookup_value(vmm->options, "rtc");
	const char *base = "utc", *clock = "host";
	int64_t now = time(NULL), start = now;

	if (keys) {
		g_variant_lookup(keys, "base", "&s", &base);
		g_variant_lookup(keys, "clock", "&s", &clock);
	}
	if (!strcmp(base, "localtime"))
		start = now + local_offset(now);
	else if (strcmp(base, "utc") != 0 && !parse_date(base, &start))
		return kv_fail(error, KV_ERROR_USAGE, "--rtc: base: '%s' is not valid; give utc, localtime, or a date as in "
			       "2006-06-17T16:01:21 or 2006-06-17", base);
	config->clock_vm = !strcmp(clock, "vm");
	config->clock_offset = config->clock_vm ? start : start - now;
	return true;
}

/* ---- the guest sets it ---- */

/* One event a second, as from QEMU: the first at once, then the last of what came meanwhile. */
enum { EVENT_SECONDS = 1 };

static void send_event(struct vmm *vmm)
{
	vmm_event(vmm, "RTC_CHANGE",
		  g_variant_new_parsed("{'offset': <%x>, 'qom-path': <'/machine/rtc'>}", (gint64)vmm->rtc.offset));
	vmm->rtc.changed = false;
}

static gboolean on_quiet(gpointer opaque)
{
	struct vmm *vmm = opaque;

	if (vmm->rtc.changed) {
		send_event(vmm);
		return G_SOURCE_CONTINUE;
	}
	vmm->rtc.quiet = 0;
	return G_SOURCE_REMOVE;
}

void vmm_rtc_changed(struct vmm *vmm, int32_t offset)
{
	vmm->rtc.offset = offset;
	vmm->rtc.changed = true;
	if (vmm->rtc.quiet)
		return;
	send_event(vmm);
	vmm->rtc.quiet = g_timeout_add_seconds(EVENT_SECONDS, on_quiet, vmm);
}

void vmm_close_rtc(struct vmm *vmm)
{
	if (vmm->rtc.quiet)
		g_source_remove(vmm->rtc.quiet);
	vmm->rtc.quiet = 0;
}
