/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about the host and its hypervisor. */
#include <string.h>

#include "args.h"
#include "host.h"
#include "objects.h"
#include "rpc/message.h"

static bool cmd_capabilities(struct shell *sh, const struct args *a)
{
	g_autofree char *xml = ask_text(sh, "connect_get_capabilities", NULL);

	if (!xml)
		return shell_error(sh, "failed to get capabilities");
	say(sh, "%s\n", xml);
	return true;
}

static bool cmd_domcapabilities(struct shell *sh, const struct args *a)
{
	g_autofree char *xml = ask_text(sh, "connect_get_domain_capabilities", "(msmsmsmsu)", arg_text(a, "emulatorbin"),
					arg_text(a, "arch"), arg_text(a, "machine"), arg_text(a, "virttype"), 0);

	if (!xml)
		return shell_error(sh, "failed to get emulator capabilities");
	say(sh, "%s\n", xml);
	return true;
}

static bool cmd_hostname(struct shell *sh, const struct args *a)
{
	g_autofree char *name = ask_text(sh, "connect_get_hostname", NULL);

	if (!name)
		return shell_error(sh, "failed to get hostname");
	say(sh, "%s\n", name);
	return true;
}

static bool cmd_uri(struct shell *sh, const struct args *a)
{
	g_autofree char *uri = sh->uri && *sh->uri ? g_strdup(sh->uri) : ask_text(sh, "connect_get_uri", NULL);

	if (!uri)
		return shell_error(sh, "failed to get URI");
	say(sh, "%s\n", uri);
	return true;
}

static bool cmd_sysinfo(struct shell *sh, const struct args *a)
{
	g_autofree char *xml = ask_text(sh, "connect_get_sysinfo", "(u)", 0);

	if (!xml)
		return shell_error(sh, "failed to get sysinfo");
	say(sh, "%s", xml);
	return true;
}

static bool cmd_maxvcpus(struct shell *sh, const struct args *a)
{
	g_autoptr(node) caps = NULL;
	g_autofree char *xml = NULL;
	const char *type = arg_text(a, "type"), *max;
	int n;

	/* The domain capabilities know it better, where there are any. */
	xml = ask_text(sh, "connect_get_domain_capabilities", "(msmsmsmsu)", NULL, NULL, NULL, type, 0);
	caps = xml ? node_parse(xml, NULL) : NULL;
	max = node_get_attr(caps, "vcpu", "max");
	if (max) {
		say(sh, "%s\n", max);
		return true;
	}
	if (!ask_int(sh, &n, "connect_get_max_vcpus", "(ms)", type))
		return false;
	say(sh, "%d\n", n);
	return true;
}

static bool cmd_nodeinfo(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) answer = ask(sh, "node_get_info", NULL);
	gint32 cpus, mhz, nodes, sockets, cores, threads;
	const char *model;
	guint64 memory;

	if (!answer)
		return shell_error(sh, "failed to get node information");
	g_variant_get(answer, "(&stiiiiii)", &model, &memory, &cpus, &mhz, &nodes, &sockets, &cores, &threads);
	say_field(sh, 21, "CPU model", "%s", model);
	say_field(sh, 21, "CPU(s)", "%d", cpus);
	if (mhz)
		say_field(sh, 21, "CPU frequency", "%d MHz", mhz);
	say_field(sh, 21, "CPU socket(s)", "%d", sockets);
	say_field(sh, 21, "Core(s) per socket", "%d", cores);
	say_field(sh, 21, "Thread(s) per core", "%d", threads);
	say_field(sh, 21, "NUMA cell(s)", "%d", nodes);
	say_field(sh, 21, "Memory size", "%" G_GUINT64_FORMAT " KiB", memory);
	return true;
}

static void say_version(struct shell *sh, const char *what, guint64 v)
{
	say(sh, "%s %d.%d.%d\n", what, (int)(v / 1000000), (int)(v / 1000 % 1000), (int)(v % 1000));
}

static bool cmd_version(struct shell *sh, const struct args *a)
{
	/* Of libvirt's interface: the one whose texts and procedures this is. */
	enum { SPOKEN = 9000000 };
	g_autofree char *type = ask_text(sh, "connect_get_type", NULL), *api = NULL, *running = NULL;
	guint64 v;

	if (!type)
		return shell_error(sh, "failed to get hypervisor type");
	say_version(sh, "Compiled against library: libvirt", SPOKEN);
	say_version(sh, "Using library: libvirt", SPOKEN);
	api = g_strdup_printf("Using API: %s", type);
	say_version(sh, api, SPOKEN);
	if (!ask_u64(sh, &v, "connect_get_version", NULL)) {
		if (error_code(sh) != VIR_ERR_NO_SUPPORT)
			return shell_error(sh, "failed to get the hypervisor version");
		v = 0;
	}
	running = g_strdup_printf("Running hypervisor: %s", type);
	if (v)
		say_version(sh, running, v);
	else
		say(sh, "Cannot extract running %s hypervisor version\n", type);
	if (!arg_on(a, "daemon"))
		return true;
	if (!ask_u64(sh, &v, "connect_get_lib_version", NULL))
		return shell_error(sh, "failed to get the daemon version");
	say_version(sh, "Running against daemon:", v);
	return true;
}

static bool cmd_cpu_models(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) answer = ask(sh, "connect_get_cpu_model_names", "(siu)", arg_text(a, "arch"), 1, 0),
			    list = first_of(answer);

	if (!answer)
		return shell_error(sh, "failed to get CPU model names");
	if (!g_variant_n_children(list))
		say(sh, "all CPU models are accepted\n");
	for (gsize i = 0; i < g_variant_n_children(list); i++) {
		const char *name;

		g_variant_get_child(list, i, "&s", &name);
		say(sh, "%s\n", name);
	}
	return true;
}

/* ---- memory ---- */

static bool free_of_all(struct shell *sh)
{
	g_autofree char *xml = ask_text(sh, "connect_get_capabilities", NULL);
	g_autoptr(node) caps = xml ? node_parse(xml, &sh->error) : NULL;
	g_autoptr(GPtrArray) cells = node_all(caps, "host/topology/cells/cell");
	guint64 all = 0;

	if (!caps)
		return shell_error(sh, "unable to get node capabilities");
	if (!cells->len)
		return shell_error(sh, "NUMA not supported");
	for (unsigned i = 0; i < cells->len; i++) {
		const char *id = node_attr(g_ptr_array_index(cells, i), "id");
		guint64 number = i;
		int cell = id && g_ascii_string_to_unsigned(id, 10, 0, G_MAXINT, &number, NULL) ? (int)number : (int)i;
		g_autoptr(GVariant) answer = ask(sh, "node_get_cells_free_memory", "(ii)", cell, 1), list = first_of(answer);
		guint64 v;

		if (!list || !g_variant_n_children(list))
			return shell_error(sh, "failed to get free memory for NUMA node number: %d", cell);
		g_variant_get_child(list, 0, "t", &v);
		say(sh, "%5d: %10" G_GUINT64_FORMAT " KiB\n", cell, v / 1024);
		all += v / 1024;
	}
	say_extra(sh, "--------------------\n");
	say_extra(sh, "%5s: %10" G_GUINT64_FORMAT " KiB\n", "Total", all);
	return true;
}

static bool cmd_freecell(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) answer = NULL, list = NULL;
	guint64 v;
	int cell, given;

	if (args_exclude(sh, a, "all", "cellno"))
		return false;
	given = arg_int(sh, a, "cellno", &cell);
	if (given < 0)
		return false;
	if (arg_on(a, "all"))
		return free_of_all(sh);
	if (!given) {
		if (!ask_u64(sh, &v, "node_get_free_memory", NULL))
			return false;
		say(sh, "Total: %" G_GUINT64_FORMAT " KiB\n", v / 1024);
		return true;
	}
	answer = ask(sh, "node_get_cells_free_memory", "(ii)", cell, 1);
	list = first_of(answer);
	if (!list || !g_variant_n_children(list))
		return false;
	g_variant_get_child(list, 0, "t", &v);
	say(sh, "%d: %" G_GUINT64_FORMAT " KiB\n", cell, v / 1024);
	return true;
}

/* ---- CPUs ---- */

/* "0-3,5" of a bitmap of n bits. */
char *cpu_list(const guint8 *map, gsize len, unsigned n)
{
	GString *out = g_string_new(NULL);

	for (unsigned i = 0; i < n && i / 8 < len; i++) {
		unsigned first = i;

		if (!(map[i / 8] & 1 << i % 8))
			continue;
		while (i + 1 < n && (i + 1) / 8 < len && (map[(i + 1) / 8] & 1 << (i + 1) % 8))
			i++;
		g_string_append_printf(out, "%s%u", out->len ? "," : "", first);
		if (i > first)
			g_string_append_printf(out, "-%u", i);
	}
	return g_string_free(out, FALSE);
}

static bool cmd_nodecpumap(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) answer = ask(sh, "node_get_cpu_map", "(iiu)", 1, 1, 0), map = first_of(answer);
	g_autoptr(GString) text = g_string_new(NULL);
	const guint8 *bytes;
	guint32 online;
	gint32 n;
	gsize len;

	if (!answer)
		return shell_error(sh, "Unable to get cpu map");
	g_variant_get_child(answer, 1, "u", &online);
	g_variant_get_child(answer, 2, "i", &n);
	bytes = g_variant_get_fixed_array(map, &len, 1);
	if (arg_on(a, "pretty")) {
		g_autofree char *list = cpu_list(bytes, len, MAX(n, 0));

		g_string_append(text, list);
	} else {
		for (int i = 0; i < n && (gsize)i / 8 < len; i++)
			g_string_append_c(text, bytes[i / 8] & 1 << i % 8 ? 'y' : '-');
	}
	say_field(sh, 16, "CPUs present", "%d", n);
	say_field(sh, 16, "CPUs online", "%u", online);
	say_field(sh, 16, "CPU map", "%s", text->str);
	return true;
}

static const char *const cpu_fields[] = { "user", "system", "idle", "iowait", "intr", "utilization" };
enum { USER, SYSTEM, IDLE, IOWAIT, INTR, UTILIZATION, N_FIELDS };

static bool cpu_stats(struct shell *sh, int cpu, bool there[N_FIELDS], guint64 v[N_FIELDS])
{
	static const char *const params[] = { "user", "kernel", "idle", "iowait", "intr", "utilization" };
	g_autoptr(GVariant) list = ask_params(sh, "node_get_cpu_stats", "(iiu)", cpu, 0, 0);

	if (!list)
		return shell_error(sh, "Unable to get node cpu stats");
	for (gsize i = 0; i < g_variant_n_children(list); i++) {
		const char *name;
		guint64 value;

		g_variant_get_child(list, i, "(&st)", &name, &value);
		for (unsigned k = 0; k < N_FIELDS; k++)
			if (strcmp(params[k], name) == 0) {
				there[k] = true;
				v[k] = value;
			}
	}
	return true;
}

static void say_percents(struct shell *sh, const bool there[N_FIELDS], const guint64 before[N_FIELDS],
			 const guint64 after[N_FIELDS])
{
	guint64 d[N_FIELDS], total = 0;

	if (there[UTILIZATION]) {
		double usage = after[UTILIZATION];

		say(sh, "%-15s %5.1f%%\n%-15s %5.1f%%\n", "usage:", usage, "idle:", 100 - usage);
		return;
	}
	for (unsigned i = 0; i < UTILIZATION; i++) {
		d[i] = there[i] ? after[i] - before[i] : 0;
		total += d[i];
	}
	say(sh, "%-15s %5.1f%%\n", "usage:", (double)(d[USER] + d[SYSTEM]) / total * 100);
	for (unsigned i = 0; i < UTILIZATION; i++)
		if (there[i]) {
			g_autofree char *label = g_strconcat(cpu_fields[i], ":", NULL);

			say(sh, "%-15s %5.1f%%\n", label, (double)d[i] / total * 100);
		}
}

static bool cmd_nodecpustats(struct shell *sh, const struct args *a)
{
	enum { ALL = -1 };
	bool there[N_FIELDS] = {};
	guint64 v[N_FIELDS] = {}, later[N_FIELDS] = {};
	int cpu = ALL;

	if (arg_int(sh, a, "cpu", &cpu) < 0 || !cpu_stats(sh, cpu, there, v))
		return false;
	if (arg_on(a, "percent")) {
		if (!there[UTILIZATION]) {
			g_usleep(G_USEC_PER_SEC);
			if (!cpu_stats(sh, cpu, there, later))
				return false;
		}
		say_percents(sh, there, v, there[UTILIZATION] ? v : later);
		return true;
	}
	for (unsigned i = 0; i < UTILIZATION; i++)
		if (there[i]) {
			g_autofree char *label = g_strconcat(cpu_fields[i], ":", NULL);

			say(sh, "%-15s %20" G_GUINT64_FORMAT "\n", label, v[i]);
		}
	return true;
}

static bool cmd_nodememstats(struct shell *sh, const struct args *a)
{
	enum { ALL = -1 };
	g_autoptr(GVariant) list = NULL, count = NULL, answer = NULL;
	int cell = ALL;
	gint32 n = 0;

	if (arg_int(sh, a, "cell", &cell) < 0)
		return false;
	count = ask(sh, "node_get_memory_stats", "(iiu)", 0, cell, 0);
	if (!count)
		return shell_error(sh, "Unable to get number of memory stats");
	g_variant_get_child(count, 1, "i", &n);
	answer = ask(sh, "node_get_memory_stats", "(iiu)", n, cell, 0);
	list = first_of(answer);
	if (!list)
		return shell_error(sh, "Unable to get memory stats");
	for (gsize i = 0; i < g_variant_n_children(list); i++) {
		const char *name;
		guint64 v;

		g_variant_get_child(list, i, "(&st)", &name, &v);
		say(sh, "%-7s: %20" G_GUINT64_FORMAT " KiB\n", name, v);
	}
	return true;
}

static bool cmd_nodesuspend(struct shell *sh, const struct args *a)
{
	static const char *const targets[] = { "mem", "disk", "hybrid" };
	const char *target = arg_text(a, "target");
	guint64 seconds;
	unsigned i = 0;

	while (i < G_N_ELEMENTS(targets) && strcmp(targets[i], target) != 0)
		i++;
	if (i == G_N_ELEMENTS(targets))
		return shell_error(sh, "Invalid target");
	if (arg_u64(sh, a, "duration", &seconds) < 0)
		return false;
	return tell(sh, "node_suspend_for_duration", "(utu)", i, seconds, 0) || shell_error(sh, "The host was not suspended");
}

static bool cmd_nodesevinfo(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) params = ask_params(sh, "node_get_sev_info", "(iu)", 0, 0);

	if (!params)
		return shell_error(sh, "Unable to get host SEV information");
	say_params(sh, params, 18);
	return true;
}

const struct command host_commands[] = {
	{ "allocpages", cmd_allocpages, "<pagesize> <pagecount> [--cellno <number>] [--add] [--all]",
	  "how many huge pages the host keeps" },
	{ "capabilities", cmd_capabilities, NULL, "what the host and the hypervisor can do" },
	{ "cpu-baseline", cmd_cpu_baseline, "<file> [--features] [--migratable]", "what several CPUs have in common" },
	{ "cpu-compare", cmd_cpu_compare, "<file> [--error] [--validate]", "a CPU beside the host's" },
	{ "cpu-models", cmd_cpu_models, "<arch>", "CPU models of an architecture" },
	{ "domcapabilities", cmd_domcapabilities,
	  "[--virttype <string>] [--emulatorbin <string>] [--arch <string>] [--machine <string>]", "what a domain can have" },
	{ "freecell", cmd_freecell, "[--cellno <number>] [--all]", "free memory, in all or of a NUMA cell" },
	{ "freepages", cmd_freepages, "[--cellno <number>] [--pagesize <number>] [--all]", "free pages of a size" },
	{ "hostname", cmd_hostname, NULL, "the host's name" },
	{ "hypervisor-cpu-baseline", cmd_hypervisor_cpu_baseline,
	  "[--file <string>] [--virttype <string>] [--emulator <string>] [--arch <string>] [--machine <string>] [--features] "
	  "[--migratable] [--model <string>]",
	  "what several CPUs have in common that the hypervisor can give" },
	{ "hypervisor-cpu-compare", cmd_hypervisor_cpu_compare,
	  "<file> [--virttype <string>] [--emulator <string>] [--arch <string>] [--machine <string>] [--error] [--validate]",
	  "a CPU beside the one that the hypervisor gives" },
	{ "maxvcpus", cmd_maxvcpus, "[--type <string>]", "how many vCPUs a domain can have" },
	{ "node-memory-tune", cmd_node_memory_tune,
	  "[--shm-pages-to-scan <number>] [--shm-sleep-millisecs <number>] [--shm-merge-across-nodes <number>]",
	  "how the host merges equal pages" },
	{ "nodecpumap", cmd_nodecpumap, "[--pretty]", "which CPUs the host has" },
	{ "nodecpustats", cmd_nodecpustats, "[--cpu <number>] [--percent]", "time that the host's CPUs took" },
	{ "nodeinfo", cmd_nodeinfo, NULL, "the basic facts about the host" },
	{ "nodememstats", cmd_nodememstats, "[--cell <number>]", "the host's memory" },
	{ "nodesevinfo", cmd_nodesevinfo, NULL, "what the host can do for encrypted guests" },
	{ "nodesuspend", cmd_nodesuspend, "<target> <duration>", "send the host to sleep for some time" },
	{ "sysinfo", cmd_sysinfo, NULL, "what the host's firmware says of it" },
	{ "uri", cmd_uri, NULL, "which server this is connected to" },
	{ "version", cmd_version, "[--daemon]", "versions of what takes part" },
	{},
};
