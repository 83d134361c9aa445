/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about a domain's processors and memory. */
#include <string.h>

#include "args.h"
#include "domain.h"
#include "objects.h"
#include "rpc/message.h"

enum { VCPU_CONFIG = 2, VCPU_LIVE = 1, VCPU_MAXIMUM = 4, VCPU_GUEST = 8, VCPU_HOTPLUGGABLE = 16 };

/* ---- vcpucount ---- */

static bool count(struct shell *sh, GVariant *dom, unsigned flags, int *ret)
{
	return ask_int(sh, ret, "domain_get_vcpus_flags", "(@" DOMAIN "u)", dom, flags);
}

static bool one_count(struct shell *sh, const struct args *a, GVariant *dom)
{
	unsigned flags = (arg_on(a, "maximum") ? VCPU_MAXIMUM : 0) | (arg_on(a, "guest") ? VCPU_GUEST : 0) |
			 (arg_on(a, "live") ? VCPU_LIVE : 0) | (arg_on(a, "config") ? VCPU_CONFIG : 0);
	int n;

	if (!count(sh, dom, flags, &n) && arg_on(a, "guest") && error_code(sh) != VIR_ERR_NO_SUPPORT &&
	    error_code(sh) != VIR_ERR_INVALID_ARG)
		return false;
	if (sh->error)
		return shell_error(sh, arg_on(a, "guest")     ? "Failed to retrieve vCPU count from the guest"
				       : arg_on(a, "maximum") ? "Failed to retrieve maximum vcpu count"
							      : "Failed to retrieve current vcpu count");
	say(sh, "%d\n", n);
	return true;
}

static bool cmd_counts(struct shell *sh, GVariant *dom)
{
	static const struct {
		const char *kind, *where;
		unsigned flags;
	} rows[] = {
		{ "maximum", "config", VCPU_MAXIMUM | VCPU_CONFIG },
		{ "maximum", "live", VCPU_MAXIMUM | VCPU_LIVE },
		{ "current", "config", VCPU_CONFIG },
		{ "current", "live", VCPU_LIVE },
	};
	int persistent, n;

	if (!ask_int(sh, &persistent, "domain_is_persistent", "(@" DOMAIN ")", dom))
		return false;
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		if (rows[i].flags & VCPU_CONFIG ? !persistent : domain_is_active(sh, dom) != 1)
			continue;
		if (!count(sh, dom, rows[i].flags, &n))
			return false;
		say(sh, "%-12s %-12s %3d\n", rows[i].kind, rows[i].where, n);
	}
	return true;
}

bool cmd_vcpucount(struct shell *sh, const struct args *a)
{
	static const char *const any[] = { "maximum", "active", "live", "config", "current", "guest" };
	g_autoptr(GVariant) dom = NULL;
	bool all = true;

	if (args_exclude(sh, a, "live", "config") || args_exclude(sh, a, "current", "live") ||
	    args_exclude(sh, a, "current", "config") || args_exclude(sh, a, "active", "maximum") ||
	    args_exclude(sh, a, "guest", "config"))
		return false;
	for (unsigned i = 0; i < G_N_ELEMENTS(any); i++)
		all &= !arg_on(a, any[i]);
	dom = find_domain(sh, a, "domain");
	return dom && (all ? cmd_counts(sh, dom) : one_count(sh, a, dom));
}

/* ---- vcpuinfo ---- */

int host_cpus(struct shell *sh)
{
	enum { MANY = 1 << 20 }; /* of a server's word; maps have a bit for each */
	g_autoptr(GVariant) map = ask(sh, "node_get_cpu_map", "(iiu)", 0, 0, 0), info = NULL;
	gint64 n = 1;
	gint32 v;

	if (map) {
		g_variant_get_child(map, 2, "i", &v);
		n = v;
	} else {
		info = ask(sh, "node_get_info", NULL);
		if (!info)
			return -1;
		for (unsigned i = 0; i < 4 && n > 0 && n <= MANY; i++) {
			g_variant_get_child(info, 4 + i, "i", &v);
			n *= v;
		}
	}
	if (n > 0 && n <= MANY)
		return n;
	shell_error(sh, "the server says that its host has %" G_GINT64_FORMAT " processors", n);
	return -1;
}

static void say_affinity(struct shell *sh, const guint8 *map, gsize len, int cpus, bool pretty)
{
	if (pretty) {
		g_autofree char *list = cpu_list(map, len, cpus);

		say(sh, "%-15s %s (out of %d)\n", "CPU Affinity:", list, cpus);
		return;
	}
	say(sh, "%-15s ", "CPU Affinity:");
	for (int i = 0; i < cpus && (gsize)i / 8 < len; i++)
		say(sh, "%c", map[i / 8] & 1 << i % 8 ? 'y' : '-');
	say(sh, "\n");
}

/* Without a running domain there is only where its processors may run. */
static bool offline_info(struct shell *sh, GVariant *dom, int cpus, bool pretty)
{
	int n, maplen = (cpus + 7) / 8;
	g_autoptr(GVariant) answer = NULL, maps = NULL;
	const guint8 *bytes;
	gsize len;

	if (!count(sh, dom, VCPU_CONFIG, &n))
		return false;
	answer = ask(sh, "domain_get_vcpu_pin_info", "(@" DOMAIN "iiu)", dom, n, maplen, VCPU_CONFIG);
	if (!answer)
		return false;
	maps = first_of(answer);
	bytes = g_variant_get_fixed_array(maps, &len, 1);
	for (int i = 0; i < n && (gsize)(i + 1) * maplen <= len; i++) {
		say(sh, "%-15s %d\n%-15s %s\n%-15s %s\n", "VCPU:", i, "CPU:", "N/A", "State:", "N/A");
		say(sh, "%-15s %s\n", "CPU time", "N/A");
		say_affinity(sh, bytes + i * maplen, maplen, cpus, pretty);
		if (i + 1 < n)
			say(sh, "\n");
	}
	return true;
}

bool cmd_vcpuinfo(struct shell *sh, const struct args *a)
{
	static const char *const states[] = { "offline", "running", "blocked" };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), info = NULL, answer = NULL, list = NULL, maps = NULL;
	int cpus = dom ? host_cpus(sh) : -1, maplen = (cpus + 7) / 8;
	const guint8 *bytes;
	guint32 n;
	gsize len;

	if (cpus < 0 || !(info = ask(sh, "domain_get_info", "(@" DOMAIN ")", dom)))
		return false;
	g_variant_get_child(info, 3, "u", &n);
	answer = ask(sh, "domain_get_vcpus", "(@" DOMAIN "ii)", dom, (int)n, maplen);
	if (!answer)
		return error_code(sh) == VIR_ERR_OPERATION_INVALID && domain_id(dom) == -1 &&
		       offline_info(sh, dom, cpus, arg_on(a, "pretty"));
	g_variant_get(answer, "(@a(uiti)@ay)", &list, &maps);
	bytes = g_variant_get_fixed_array(maps, &len, 1);
	for (gsize i = 0; i < g_variant_n_children(list) && (i + 1) * maplen <= len; i++) {
		guint32 vcpu;
		gint32 state, cpu;
		guint64 time;

		g_variant_get_child(list, i, "(uiti)", &vcpu, &state, &time, &cpu);
		say(sh, "%-15s %u\n%-15s %d\n", "VCPU:", vcpu, "CPU:", cpu);
		say(sh, "%-15s %s\n", "State:", state >= 0 && state < (int)G_N_ELEMENTS(states) ? states[state] : "no state");
		if (time)
			say(sh, "%-15s %.1lfs\n", "CPU time:", time / 1000000000.0);
		say_affinity(sh, bytes + i * maplen, maplen, cpus, arg_on(a, "pretty"));
		if (i + 1 < g_variant_n_children(list))
			say(sh, "\n");
	}
	return true;
}

/* ---- pins ---- */

GVariant *cpu_map(struct shell *sh, const char *text, int cpus)
{
	int len = (cpus + 7) / 8;
	g_autofree guint8 *map = g_malloc0(len);
	g_auto(GStrv) parts = g_strsplit(strcmp(text, "r") == 0 ? "" : text, ",", -1);

	if (strcmp(text, "r") == 0)
		for (int i = 0; i < cpus; i++)
			map[i / 8] |= 1 << i % 8;
	if (!*text) {
		rpc_fail(&sh->error, VIR_ERR_INVALID_ARG, "Failed to parse bitmap ''");
		shell_error(sh, "Invalid cpulist ''");
		return NULL;
	}
	for (char **p = parts; *p; p++) {
		bool off = **p == '^';
		char *end;
		guint64 first = g_ascii_strtoull(*p + off, &end, 10), last = first;

		if (end != *p + off && *end == '-' && g_ascii_isdigit(end[1]))
			last = g_ascii_strtoull(end + 1, &end, 10);
		if (end == *p + off || *end || last < first || !g_ascii_isdigit((*p)[off])) {
			rpc_fail(&sh->error, VIR_ERR_INVALID_ARG, "Failed to parse bitmap '%s'", text);
			shell_error(sh, "Invalid cpulist '%s'", text);
			return NULL;
		}
		if (last >= (guint64)cpus) {
			shell_error(sh, "CPU %d in cpulist '%s' exceed the maxcpu %d", (int)MIN(last, G_MAXINT), text, cpus);
			return NULL;
		}
		for (guint64 i = first; i <= last; i++)
			map[i / 8] = off ? map[i / 8] & ~(1 << i % 8) : map[i / 8] | 1 << i % 8;
	}
	return g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, map, len, 1);
}

/* only: NULL: of all. */
static bool say_pins(struct shell *sh, GVariant *dom, const unsigned *only, int cpus, int flags)
{
	g_autoptr(GVariant) info = ask(sh, "domain_get_info", "(@" DOMAIN ")", dom), answer = NULL, maps = NULL;
	int maplen = (cpus + 7) / 8;
	const guint8 *bytes;
	struct table *t;
	guint32 n;
	gsize len;

	if (!info)
		return false;
	g_variant_get_child(info, 3, "u", &n);
	if (only && *only >= n)
		return flags & AFFECT_CONFIG ? shell_error(sh, "vcpu %u is out of range of persistent cpu count %u", *only, n)
					     : shell_error(sh, "vcpu %u is out of range of live cpu count %u", *only, n);
	answer = ask(sh, "domain_get_vcpu_pin_info", "(@" DOMAIN "iiu)", dom, (int)n, maplen, flags);
	maps = first_of(answer);
	if (!maps)
		return false;
	bytes = g_variant_get_fixed_array(maps, &len, 1);
	t = table_new("VCPU", "CPU Affinity", NULL);
	for (guint32 i = 0; i < n && (gsize)(i + 1) * maplen <= len; i++) {
		g_autofree char *list = cpu_list(bytes + i * maplen, maplen, cpus), *vcpu = g_strdup_printf("%u", i);

		if (!only || *only == i)
			table_add(t, vcpu, list, NULL);
	}
	table_say(sh, t);
	return true;
}

bool cmd_vcpupin(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = NULL;
	const char *list = arg_text(a, "cpulist");
	int flags = affect_of(sh, a), cpus, given;
	unsigned vcpu = 0;
	GVariant *map;

	if (flags < 0 || (given = arg_uint(sh, a, "vcpu", &vcpu)) < 0 || !(dom = find_domain(sh, a, "domain")) ||
	    (cpus = host_cpus(sh)) < 0)
		return false;
	if (list && !given)
		return shell_error(sh, "vcpupin: Missing vCPU number in pin mode.");
	if (!list && (flags & AFFECT_LIVE) && (flags & AFFECT_CONFIG))
		return shell_error(sh, "cannot query both live and config at once");
	if (!list)
		return say_pins(sh, dom, given ? &vcpu : NULL, cpus, flags);
	map = cpu_map(sh, list, cpus);
	if (!map)
		return false;
	return flags ? tell(sh, "domain_pin_vcpu_flags", "(@" DOMAIN "u@ayu)", dom, vcpu, map, flags)
		     : tell(sh, "domain_pin_vcpu", "(@" DOMAIN "u@ay)", dom, vcpu, map);
}

bool cmd_emulatorpin(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), answer = NULL, maps = NULL, map = NULL;
	const char *list = arg_text(a, "cpulist");
	int flags = affect_of(sh, a), cpus;
	g_autofree char *shown = NULL;
	const guint8 *bytes;
	gsize len;

	if (!dom || flags < 0 || (cpus = host_cpus(sh)) < 0)
		return false;
	if (list) {
		map = cpu_map(sh, list, cpus);
		return map && tell(sh, "domain_pin_emulator", "(@" DOMAIN "@ayu)", dom, g_variant_ref_sink(map), flags);
	}
	if ((flags & AFFECT_LIVE) && (flags & AFFECT_CONFIG))
		return shell_error(sh, "cannot query both live and config at once");
	answer = ask(sh, "domain_get_emulator_pin_info", "(@" DOMAIN "iu)", dom, (cpus + 7) / 8, flags);
	maps = first_of(answer);
	if (!maps)
		return false;
	bytes = g_variant_get_fixed_array(maps, &len, 1);
	shown = cpu_list(bytes, len, cpus);
	say_extra(sh, "%s %s\n%s\n", "emulator:", "CPU Affinity", "----------------------------------");
	say(sh, "       *: %s\n", shown);
	return true;
}

/* ---- setvcpus, setmem ---- */

bool cmd_setvcpus(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = NULL;
	unsigned flags, n;
	int affect;

	if (arg_on(a, "maximum") && !arg_on(a, "config"))
		return shell_error(sh, "Option --%s is required by option --%s", "config", "maximum");
	if (args_exclude(sh, a, "maximum", "guest") || args_exclude(sh, a, "maximum", "hotpluggable") ||
	    args_exclude(sh, a, "guest", "config") || (affect = affect_of(sh, a)) < 0)
		return false;
	if (!(dom = find_domain(sh, a, "domain")) || arg_uint(sh, a, "count", &n) < 0)
		return false;
	if (!n)
		return shell_error(sh, "Can't set 0 processors for a VM");
	flags = affect | (arg_on(a, "maximum") ? VCPU_MAXIMUM : 0) | (arg_on(a, "guest") ? VCPU_GUEST : 0) |
		(arg_on(a, "hotpluggable") ? VCPU_HOTPLUGGABLE : 0);
	/* The older call is what servers without the newer one have, and what it means is the same. */
	if (!flags)
		return tell(sh, "domain_set_vcpus_flags", "(@" DOMAIN "uu)", dom, n, 0) ||
		       (error_code(sh) == VIR_ERR_NO_SUPPORT && tell(sh, "domain_set_vcpus", "(@" DOMAIN "u)", dom, n));
	return tell(sh, "domain_set_vcpus_flags", "(@" DOMAIN "uu)", dom, n, flags);
}

/* A size in KiB. */
static bool take_kib(struct shell *sh, const struct args *a, guint64 *ret)
{
	if (arg_size(sh, a, "size", 1024, ret) < 0)
		return false;
	*ret = (*ret + 1023) / 1024;
	return true;
}

bool cmd_setmem(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = NULL;
	int flags = affect_of(sh, a);
	guint64 kib;

	if (flags < 0 || !(dom = find_domain(sh, a, "domain")) || !take_kib(sh, a, &kib))
		return false;
	if (!kib)
		return shell_error(sh, "memory in virDomainSetMemoryFlags must not be zero");
	return tell(sh, "domain_set_memory_flags", "(@" DOMAIN "tu)", dom, kib, flags);
}

bool cmd_setmaxmem(struct shell *sh, const struct args *a)
{
	enum { MEM_MAXIMUM = 4 };
	g_autoptr(GVariant) dom = NULL;
	int flags = affect_of(sh, a);
	guint64 kib;

	if (flags < 0 || !(dom = find_domain(sh, a, "domain")) || !take_kib(sh, a, &kib))
		return false;
	return tell(sh, "domain_set_memory_flags", "(@" DOMAIN "tu)", dom, kib, flags | MEM_MAXIMUM) ||
	       shell_error(sh, "Unable to change MaxMemorySize");
}

/* ---- one processor, and what the guest makes of its own ---- */

static bool is_off(const struct args *a)
{
	return arg_on(a, "disable");
}

bool cmd_setvcpu(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = NULL;
	int flags;

	if (args_exclude(sh, a, "enable", "disable") || (flags = affect_of(sh, a)) < 0)
		return false;
	if (!arg_on(a, "enable") && !is_off(a))
		return shell_error(sh, "one of --enable, --disable is required");
	dom = find_domain(sh, a, "domain");
	return dom && tell(sh, "domain_set_vcpu", "(@" DOMAIN "siu)", dom, arg_text(a, "vcpulist"), !is_off(a), flags);
}

bool cmd_guestvcpus(struct shell *sh, const struct args *a)
{
	const char *list = arg_text(a, "cpulist");
	g_autoptr(GVariant) dom = NULL, answer = NULL, params = NULL;

	if (args_exclude(sh, a, "enable", "disable") || !args_require(sh, a, "enable", "cpulist") ||
	    !args_require(sh, a, "disable", "cpulist"))
		return false;
	if (list && !arg_on(a, "enable") && !is_off(a))
		return shell_error(sh, "One of options --enable or --disable is required by option --cpulist");
	dom = find_domain(sh, a, "domain");
	if (!dom)
		return false;
	if (list)
		return tell(sh, "domain_set_guest_vcpus", "(@" DOMAIN "siu)", dom, list, !is_off(a), 0);
	answer = ask(sh, "domain_get_guest_vcpus", "(@" DOMAIN "u)", dom, 0);
	params = first_of(answer);
	if (params)
		say_params(sh, params, 15);
	return params;
}

/* ---- cpu-stats ---- */

static void say_cpu_stats(struct shell *sh, const char *title, GVariant *params)
{
	static const char *const times[] = { "cpu_time", "vcpu_time", "user_time", "system_time", NULL };
	json_t *object = sh->json ? json_object() : NULL;

	say(sh, "%s:\n", title);
	for (gsize i = 0; i < g_variant_n_children(params); i++) {
		g_autoptr(GVariant) value = NULL;
		g_autofree char *text = NULL;
		const char *name;

		g_variant_get_child(params, i, "(&sv)", &name, &value);
		if (word_of(name, times) >= 0 && g_variant_is_of_type(value, G_VARIANT_TYPE_UINT64)) {
			guint64 v = g_variant_get_uint64(value);

			text = g_strdup_printf("%9" G_GUINT64_FORMAT ".%09" G_GUINT64_FORMAT " seconds", v / 1000000000,
					       v % 1000000000);
		} else {
			text = param_text(value);
		}
		say(sh, "\t%-12s %s\n", name, text);
		if (object)
			json_object_set_new(object, name, json_string(g_strchug(text)));
	}
	if (!object)
		return;
	if (!sh->value)
		sh->value = json_object();
	json_object_set_new(sh->value, title, object);
}

/* What one CPU, or -1 for all, has used; "" or the number of parameters is asked first. NULL on error. */
static GVariant *cpu_stats(struct shell *sh, GVariant *dom, int cpu)
{
	g_autoptr(GVariant) count = ask(sh, "domain_get_cpu_stats", "(@" DOMAIN "uiuu)", dom, 0, cpu, 1, 0), answer = NULL;
	gint32 n;

	if (!count)
		return NULL;
	g_variant_get_child(count, 1, "i", &n);
	if (n <= 0)
		return first_of(count);
	answer = ask(sh, "domain_get_cpu_stats", "(@" DOMAIN "uiuu)", dom, n, cpu, 1, 0);
	return first_of(answer);
}

static bool no_stats(struct shell *sh, GVariant *dom)
{
	return shell_error(sh, "Failed to retrieve CPU statistics for domain '%s'", domain_name(dom));
}

static bool each_cpu(struct shell *sh, GVariant *dom, int start, int n, bool all)
{
	g_autoptr(GVariant) count = ask(sh, "domain_get_cpu_stats", "(@" DOMAIN "uiuu)", dom, 0, 0, 0, 0);
	gint32 max;

	if (!count)
		return no_stats(sh, dom);
	g_variant_get_child(count, 1, "i", &max);
	if (max == 0) {
		say(sh, "No per-CPU stats available\n");
		return true;
	}
	if (start >= max)
		return shell_error(sh, "Start CPU %d is out of range (min: 0, max: %d)", start, max - 1);
	if (!all && n > max - start)
		say(sh, "Only %d CPUs available to show\n", max - start);
	n = all ? max - start : MIN(n, max - start);
	for (int i = start; i < start + n; i++) {
		g_autofree char *title = g_strdup_printf("CPU%d", i);
		g_autoptr(GVariant) params = cpu_stats(sh, dom, i);

		if (!params)
			return no_stats(sh, dom);
		/* One that is offline has none. */
		if (g_variant_n_children(params))
			say_cpu_stats(sh, title, params);
	}
	return true;
}

bool cmd_cpu_stats(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), total = NULL;
	bool only_total = arg_on(a, "total");
	int start = 0, n = 0, with_start, with_count;

	if (!dom || (with_start = arg_int(sh, a, "start", &start)) < 0 || (with_count = arg_int(sh, a, "count", &n)) < 0)
		return false;
	if (start < 0)
		return shell_error(sh, "Invalid value for start CPU");
	if (n < 0)
		return shell_error(sh, "Invalid value for number of CPUs to show");
	if ((!only_total || with_start || with_count) && !each_cpu(sh, dom, start, n, !with_count))
		return false;
	if (!only_total && (with_start || with_count))
		return true;
	total = cpu_stats(sh, dom, -1);
	if (!total)
		return no_stats(sh, dom);
	if (g_variant_n_children(total))
		say_cpu_stats(sh, "Total", total);
	else
		say(sh, "No total stats available\n");
	return true;
}
