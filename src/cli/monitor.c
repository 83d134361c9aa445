/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that look at one domain, and the rows of all that look at domains. */
#include <string.h>

#include "args.h"
#include "monitor.h"
#include "objects.h"
#include "rpc/message.h"

enum { XML_INACTIVE = 2 };

static const char *reason_name(int state, int reason)
{
	static const char *const names[][14] = {
		[STATE_NONE] = { "unknown" },
		[STATE_RUNNING] = { "unknown", "booted", "migrated", "restored", "from snapshot", "unpaused",
				    "migration canceled", "save canceled", "event wakeup", "crashed", "post-copy",
				    "post-copy failed" },
		[STATE_BLOCKED] = { "unknown" },
		[STATE_PAUSED] = { "unknown", "user", "migrating", "saving", "dumping", "I/O error", "watchdog", "from snapshot",
				   "shutting down", "creating snapshot", "crashed", "starting up", "post-copy",
				   "post-copy failed" },
		[STATE_SHUTDOWN] = { "unknown", "user" },
		[STATE_SHUTOFF] = { "unknown", "shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from snapshot",
				    "daemon" },
		[STATE_CRASHED] = { "unknown", "panicked" },
		[STATE_SUSPENDED] = { "unknown" },
	};
	bool known = state >= 0 && state < (int)G_N_ELEMENTS(names) && reason >= 0 && reason < 14;

	return known && names[state][reason] ? names[state][reason] : "unknown";
}

static bool cmd_domstate(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	int state, reason;

	if (!dom || !domain_state(sh, dom, &state, &reason))
		return false;
	if (arg_on(a, "reason"))
		say(sh, "%s (%s)\n", domain_state_name(state), reason_name(state, reason));
	else
		say(sh, "%s\n", domain_state_name(state));
	return true;
}

/* ---- dominfo ---- */

static bool say_info(struct shell *sh, GVariant *dom)
{
	g_autoptr(GVariant) info = ask(sh, "domain_get_info", "(@" DOMAIN ")", dom);
	gint32 state;
	guint64 max, used, time;
	guint32 cpus;

	if (!info)
		return false;
	g_variant_get(info, "(ittut)", &state, &max, &used, &cpus, &time);
	say_field(sh, 16, "State", "%s", domain_state_name(state));
	say_field(sh, 16, "CPU(s)", "%u", cpus);
	if (time)
		say_field(sh, 16, "CPU time", "%.1fs", time / 1000000000.0);
	if (max != G_MAXUINT64 && max != G_MAXULONG)
		say_field(sh, 16, "Max memory", "%" G_GUINT64_FORMAT " KiB", max);
	else
		say_field(sh, 16, "Max memory", "%s", "no limit");
	say_field(sh, 16, "Used memory", "%" G_GUINT64_FORMAT " KiB", used);
	return true;
}

/* "ac", which is "ai" here, as text. */
static char *chars(GVariant *value)
{
	GString *text = g_string_new(NULL);

	for (gsize i = 0; i < g_variant_n_children(value); i++) {
		gint32 c;

		g_variant_get_child(value, i, "i", &c);
		if (!c)
			break;
		g_string_append_c(text, c);
	}
	return g_string_free(text, FALSE);
}

static void say_security(struct shell *sh, GVariant *dom)
{
	g_autoptr(GVariant) model = ask(sh, "node_get_security_model", NULL), label = NULL, a = NULL, b = NULL, text = NULL;
	g_autofree char *name = NULL, *doi = NULL, *shown = NULL;
	gint32 enforcing;

	if (!model)
		return forget_error(sh);
	g_variant_get(model, "(@ai@ai)", &a, &b);
	name = chars(a);
	doi = chars(b);
	if (!*name)
		return;
	say_field(sh, 16, "Security model", "%s", name);
	say_field(sh, 16, "Security DOI", "%s", doi);
	label = ask(sh, "domain_get_security_label", "(@" DOMAIN ")", dom);
	if (!label)
		return forget_error(sh);
	g_variant_get(label, "(@aii)", &text, &enforcing);
	shown = chars(text);
	if (*shown)
		say_field(sh, 16, "Security label", "%s (%s)", shown, enforcing ? "enforcing" : "permissive");
}

static void say_messages(struct shell *sh, GVariant *dom)
{
	g_autoptr(GVariant) answer = ask(sh, "domain_get_messages", "(@" DOMAIN "u)", dom, 0), list = first_of(answer);

	for (gsize i = 0; list && i < g_variant_n_children(list); i++) {
		const char *text;

		g_variant_get_child(list, i, "&s", &text);
		if (i == 0)
			say_field(sh, 16, "Messages", "%s", text);
		else
			say(sh, "%-16s%s\n", "", text);
	}
	forget_error(sh);
}

static bool cmd_dominfo(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	g_autofree char *uuid = NULL, *os = NULL;
	int v;

	if (!dom)
		return false;
	uuid = object_uuid(dom);
	if (domain_id(dom) == -1)
		say_field(sh, 16, "Id", "-");
	else
		say_field(sh, 16, "Id", "%d", domain_id(dom));
	say_field(sh, 16, "Name", "%s", domain_name(dom));
	say_field(sh, 16, "UUID", "%s", uuid);
	os = ask_text(sh, "domain_get_os_type", "(@" DOMAIN ")", dom);
	if (os)
		say_field(sh, 16, "OS Type", "%s", os);
	if (!say_info(sh, dom))
		return false;
	if (!ask_int(sh, &v, "domain_is_persistent", "(@" DOMAIN ")", dom))
		say_field(sh, 16, "Persistent", "%s", "unknown");
	else
		say_field(sh, 16, "Persistent", "%s", v ? "yes" : "no");
	if (ask_int(sh, &v, "domain_get_autostart", "(@" DOMAIN ")", dom))
		say_field(sh, 16, "Autostart", "%s", v ? "enable" : "disable");
	if (!ask_int(sh, &v, "domain_has_managed_save_image", "(@" DOMAIN "u)", dom, 0))
		say_field(sh, 16, "Managed save", "%s", "unknown");
	else
		say_field(sh, 16, "Managed save", "%s", v ? "yes" : "no");
	say_security(sh, dom);
	say_messages(sh, dom);
	return true;
}

/* ---- interfaces ---- */

static const char *source_of(const struct node *interface)
{
	static const char *const attributes[] = { "bridge", "dev", "network", "name", "path" };
	const struct node *source = node_get(interface, "source");

	for (unsigned i = 0; i < G_N_ELEMENTS(attributes); i++)
		if (node_attr(source, attributes[i]))
			return node_attr(source, attributes[i]);
	return "-";
}

static bool cmd_domiflist(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	g_autoptr(node) xml = dom ? domain_xml(sh, dom, arg_on(a, "inactive") ? XML_INACTIVE : 0) : NULL;
	g_autoptr(GPtrArray) list = node_all(xml, "devices/interface");
	struct table *t;

	if (!xml)
		return false;
	t = table_new("Interface", "Type", "Source", "Model", "MAC", NULL);
	for (unsigned i = 0; i < list->len; i++) {
		struct node *n = g_ptr_array_index(list, i);
		const char *target = node_get_attr(n, "target", "dev"), *model = node_get_attr(n, "model", "type");
		const char *mac = node_get_attr(n, "mac", "address"), *type = node_attr(n, "type");

		table_add(t, target ? target : "-", type ? type : "-", source_of(n), model ? model : "-", mac ? mac : "-", NULL);
	}
	table_say(sh, t);
	return true;
}

static bool cmd_domifstat(struct shell *sh, const struct args *a)
{
	static const char *const names[] = { "rx_bytes", "rx_packets", "rx_errs", "rx_drop",
					     "tx_bytes", "tx_packets", "tx_errs", "tx_drop" };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), answer = NULL;
	const char *device = arg_text(a, "interface");

	if (!dom)
		return false;
	answer = ask(sh, "domain_interface_stats", "(@" DOMAIN "s)", dom, device);
	if (!answer)
		return shell_error(sh, "Failed to get interface stats %s %s", domain_name(dom), device);
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		gint64 v;

		g_variant_get_child(answer, i, "x", &v);
		if (v >= 0)
			say(sh, "%s %s %" G_GINT64_FORMAT "\n", device, names[i], v);
	}
	return true;
}

static bool is_mac(const char *text)
{
	unsigned bytes[6];
	char rest;

	return sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &bytes[0], &bytes[1], &bytes[2], &bytes[3], &bytes[4], &bytes[5],
		      &rest) == 6;
}

static bool cmd_domif_getlink(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	g_autoptr(node) xml = dom ? domain_xml(sh, dom, arg_on(a, "config") ? XML_INACTIVE : 0) : NULL;
	g_autoptr(GPtrArray) list = node_all(xml, "devices/interface");
	const char *which = arg_text(a, "interface"), *state;
	bool by_mac = is_mac(which);

	if (!xml)
		return false;
	for (unsigned i = 0; i < list->len; i++) {
		struct node *n = g_ptr_array_index(list, i);
		const char *name = by_mac ? node_get_attr(n, "mac", "address") : node_get_attr(n, "target", "dev");

		if (!name || g_ascii_strcasecmp(name, which) != 0)
			continue;
		state = node_get_attr(n, "link", "state");
		say(sh, "%s %s", which, state ? state : "up");
		return true;
	}
	return shell_error(sh, "Interface (%s: %s) not found.", by_mac ? "mac" : "dev", which);
}

static void say_addresses(struct shell *sh, const char *name, const char *mac, GVariant *addresses, bool full)
{
	gsize n = g_variant_n_children(addresses);

	if (!n)
		say(sh, " %-10s %-17s    %-12s %s\n", name, mac, "N/A", "N/A");
	for (gsize i = 0; i < n; i++) {
		gint32 type;
		guint32 prefix;
		const char *address;
		g_autofree char *shown = NULL;

		g_variant_get_child(addresses, i, "(i&su)", &type, &address, &prefix);
		shown = g_strdup_printf("%-12s %s/%u", type == 0 ? "ipv4" : type == 1 ? "ipv6" : "", address, prefix);
		if (full || !i)
			say(sh, " %-10s %-17s    %s\n", name, mac, shown);
		else
			say(sh, " %-10s %-17s    %s\n", "-", "-", shown);
	}
}

static bool cmd_domifaddr(struct shell *sh, const struct args *a)
{
	static const char *const sources[] = { "lease", "agent", "arp" };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), answer = NULL, list = NULL;
	const char *only = arg_text(a, "interface"), *source = arg_text(a, "source");
	unsigned from = 0;

	if (!dom)
		return false;
	while (source && from < G_N_ELEMENTS(sources) && strcmp(sources[from], source) != 0)
		from++;
	if (from == G_N_ELEMENTS(sources))
		return shell_error(sh, "Unknown data source '%s'", source);
	answer = ask(sh, "domain_interface_addresses", "(@" DOMAIN "uu)", dom, from, 0);
	if (!answer)
		return shell_error(sh, "Failed to query for interfaces addresses");
	list = first_of(answer);
	say_extra(sh, " %-10s %-20s %-8s     %s\n%s%s\n", "Name", "MAC address", "Protocol", "Address",
		  "-------------------------------------------------", "------------------------------");
	for (gsize i = 0; i < g_variant_n_children(list); i++) {
		g_autoptr(GVariant) addresses = NULL;
		const char *name, *mac;

		g_variant_get_child(list, i, "(&sm&s@a(isu))", &name, &mac, &addresses);
		if (!only || strcmp(only, name) == 0)
			say_addresses(sh, name, mac ? mac : "N/A", addresses, arg_on(a, "full"));
	}
	return true;
}

/* ---- memory, control, time ---- */

static bool cmd_dommemstat(struct shell *sh, const struct args *a)
{
	static const char *const names[] = { "swap_in",	    "swap_out",	       "major_fault",	"minor_fault", "unused",
					     "available",   "actual",	       "rss",		"usable",      "last_update",
					     "disk_caches", "hugetlb_pgalloc", "hugetlb_pgfail" };
	static const unsigned char order[] = { 6, 0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 7 };
	enum { STATS_MAX = 16 };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), answer = NULL, list = NULL;
	int period, given = arg_int(sh, a, "period", &period), flags = affect_of(sh, a);

	if (!dom || given < 0 || flags < 0)
		return false;
	if (given && period < 0)
		return shell_error(sh, "Invalid collection period value '%d'", period);
	if (given)
		return tell(sh, "domain_set_memory_stats_period", "(@" DOMAIN "iu)", dom, period, flags) ||
		       shell_error(sh, "Unable to change balloon collection period.");
	answer = ask(sh, "domain_memory_stats", "(@" DOMAIN "uu)", dom, STATS_MAX, 0);
	if (!answer)
		return shell_error(sh, "Failed to get memory statistics for domain %s", domain_name(dom));
	list = first_of(answer);
	for (gsize k = 0; k < sizeof(order); k++)
		for (gsize i = 0; i < g_variant_n_children(list); i++) {
			gint32 tag;
			guint64 v;

			g_variant_get_child(list, i, "(it)", &tag, &v);
			if (tag == order[k])
				say(sh, "%s %" G_GUINT64_FORMAT "\n", names[tag], v);
		}
	return true;
}

static bool cmd_domcontrol(struct shell *sh, const struct args *a)
{
	static const char *const states[] = { "ok", "background job", "occupied", "error" };
	static const char *const causes[] = { "", "unknown", "monitor failure", "internal (locking) error" };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), answer = NULL;
	guint32 state, details;
	guint64 since;

	if (!dom)
		return false;
	answer = ask(sh, "domain_get_control_info", "(@" DOMAIN "u)", dom, 0);
	if (!answer)
		return false;
	g_variant_get(answer, "(uut)", &state, &details, &since);
	state = MIN(state, G_N_ELEMENTS(states) - 1);
	if (state != 0 && state != 3)
		say(sh, "%s (%0.3fs)\n", states[state], since / 1000.0);
	else if (state == 3 && details < G_N_ELEMENTS(causes) && details)
		say(sh, "%s: %s (%0.3fs)\n", states[state], causes[details], since / 1000.0);
	else
		say(sh, "%s\n", states[state]);
	return true;
}

static bool say_time(struct shell *sh, GVariant *dom, bool pretty)
{
	g_autoptr(GVariant) answer = ask(sh, "domain_get_time", "(@" DOMAIN "u)", dom, 0);
	gint64 seconds;
	guint32 nanoseconds;

	if (!answer)
		return false;
	g_variant_get(answer, "(xu)", &seconds, &nanoseconds);
	if (pretty) {
		g_autoptr(GDateTime) t = g_date_time_new_from_unix_utc(seconds);
		g_autofree char *text = t ? g_date_time_format(t, "%Y-%m-%d %H:%M:%S") : g_strdup("out of range");

		say(sh, "Time: %s", text);
	} else {
		say(sh, "Time: %" G_GINT64_FORMAT, seconds);
	}
	return true;
}

static bool cmd_domtime(struct shell *sh, const struct args *a)
{
	enum { SYNC = 1 };
	g_autoptr(GVariant) dom = NULL;
	bool now = arg_on(a, "now"), sync = arg_on(a, "sync");
	gint64 seconds = 0;
	int given;

	if (args_exclude(sh, a, "time", "now") || args_exclude(sh, a, "time", "sync") || args_exclude(sh, a, "now", "sync"))
		return false;
	dom = find_domain(sh, a, "domain");
	given = dom ? arg_i64(sh, a, "time", &seconds) : -1;
	if (given < 0)
		return false;
	if (!given && !now && !sync)
		return say_time(sh, dom, arg_on(a, "pretty"));
	if (now)
		seconds = g_get_real_time() / G_USEC_PER_SEC;
	return tell(sh, "domain_set_time", "(@" DOMAIN "xuu)", dom, seconds, 0, sync ? SYNC : 0);
}

const struct command monitor_commands[] = {
	{ "domblkerror", cmd_domblkerror, "<domain>", "disks whose writes or reads failed" },
	{ "domblkinfo", cmd_domblkinfo, "<domain> [--device <string>] [--human] [--all]", "sizes of a disk" },
	{ "domblklist", cmd_domblklist, "<domain> [--inactive] [--details]", "a domain's disks" },
	{ "domblkstat", cmd_domblkstat, "<domain> [--device <string>] [--human]", "what a disk has read and written" },
	{ "domcontrol", cmd_domcontrol, "<domain>", "whether a domain's control interface is free" },
	{ "domif-getlink", cmd_domif_getlink, "<domain> <interface> [--config]", "whether an interface's cable is in" },
	{ "domifaddr", cmd_domifaddr, "<domain> [--interface <string>] [--full] [--source <string>]",
	  "network addresses of a domain" },
	{ "domiflist", cmd_domiflist, "<domain> [--inactive]", "a domain's network interfaces" },
	{ "domifstat", cmd_domifstat, "<domain> <interface>", "what an interface has received and sent" },
	{ "dominfo", cmd_dominfo, "<domain>", "the basic facts about a domain" },
	{ "dommemstat", cmd_dommemstat, "<domain> [--period <number>] [--config] [--live] [--current]",
	  "a domain's use of memory" },
	{ "domstate", cmd_domstate, "<domain> [--reason]", "a domain's state" },
	{ "domstats", cmd_domstats,
	  "[--state] [--cpu-total] [--balloon] [--vcpu] [--interface] [--block] [--perf] [--iothread] [--memory] [--dirtyrate] "
	  "[--vm] "
	  "[--list-active] [--list-inactive] [--list-persistent] [--list-transient] [--list-running] [--list-paused] "
	  "[--list-shutoff] "
	  "[--list-other] [--raw] [--enforce] [--backing] [--nowait] [<domain>]...",
	  "statistics of one domain, or several" },
	{ "domtime", cmd_domtime, "<domain> [--now] [--pretty] [--sync] [--time <number>]", "a guest's clock" },
	{ "list", cmd_list,
	  "[--inactive] [--all] [--transient] [--persistent] [--with-snapshot] [--without-snapshot] [--with-checkpoint] "
	  "[--without-checkpoint] [--state-running] [--state-paused] [--state-shutoff] [--state-other] [--autostart] "
	  "[--no-autostart] "
	  "[--with-managed-save] [--without-managed-save] [--uuid] [--name] [--id] [--table] [--managed-save] [--title]",
	  "domains" },
	{ "top", cmd_top, "[--once] [--delay <number>] [--count <number>] [--sort <string>]", "what running domains use, live" },
	{},
};
