/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host: its processors and memory as Linux tells them, what it can run (the driver knows), names of CPU models. */
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "call.h"
#include "hv.h"

/* The number in a file of sysfs; otherwise what is said. */
static long sys_number(long otherwise, const char *format, ...) G_GNUC_PRINTF(2, 3);
static long sys_number(long otherwise, const char *format, ...)
{
	g_autofree char *path = NULL, *text = NULL;
	gint64 n;
	va_list args;

	va_start(args, format);
	path = g_strdup_vprintf(format, args);
	va_end(args);
	if (!g_file_get_contents(path, &text, NULL, NULL))
		return otherwise;
	return g_ascii_string_to_signed(g_strchomp(text), 10, G_MINLONG, G_MAXLONG, &n, NULL) ? n : otherwise;
}

/* KiB of a row of /proc/meminfo. */
static guint64 meminfo(const char *name)
{
	g_autofree char *text = NULL;
	const char *at;

	if (!g_file_get_contents("/proc/meminfo", &text, NULL, NULL))
		return 0;
	at = strstr(text, name);
	return at ? g_ascii_strtoull(at + strlen(name), NULL, 10) : 0;
}

static int mhz(void)
{
	g_autofree char *text = NULL;
	const char *at;

	if (!g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL))
		return 0;
	at = strstr(text, "cpu MHz");
	at = at ? strchr(at, ':') : NULL;
	return at ? (int)g_ascii_strtod(at + 1, NULL) : 0;
}

/* Of the online ones, how many different values a file of the topology has. */
static int distinct(const char *file, int cpus)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);

	for (int i = 0; i < cpus; i++)
		g_hash_table_add(seen,
				 GINT_TO_POINTER(sys_number(0, "/sys/devices/system/cpu/cpu%d/topology/%s", i, file) + 1));
	return g_hash_table_size(seen);
}

static bool get_info(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	int online = sysconf(_SC_NPROCESSORS_ONLN), all = sysconf(_SC_NPROCESSORS_CONF);
	int sockets = MAX(distinct("physical_package_id", all), 1), cores = MAX(distinct("core_id", all), 1);
	int threads = MAX(online / (sockets * cores), 1);

	/* What does not divide (some are offline) is told as one socket, as libvirt does. */
	if (sockets * cores * threads != online) {
		sockets = threads = 1;
		cores = online;
	}
	*ret = g_variant_new("(stiiiiii)", "x86_64", meminfo("MemTotal:"), online, mhz(), 1, sockets, cores, threads);
	return true;
}

static bool get_max_vcpus(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	*ret = g_variant_new("(i)", call->hv->driver->max_vcpus);
	return true;
}

static bool free_memory(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	*ret = g_variant_new("(t)", meminfo("MemFree:") * 1024);
	return true;
}

static bool cells_free_memory(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	gint32 start, max;
	guint64 bytes = meminfo("MemFree:") * 1024;

	g_variant_get(args, "(ii)", &start, &max);
	if (start != 0 || max < 1)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "start cell %d out of range (0-0)", start);
	*ret = g_variant_new("(@at)", g_variant_new_fixed_array(G_VARIANT_TYPE_UINT64, &bytes, 1, sizeof(bytes)));
	return true;
}

static bool cpu_map(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	int all = MIN(sysconf(_SC_NPROCESSORS_CONF), 4096);
	guint8 map[512] = { 0 };
	gint32 wants_map, wants_online, flags;
	unsigned online = 0;

	g_variant_get(args, "(iiu)", &wants_map, &wants_online, &flags);
	if (!call_check_flags(call, flags, 0, error))
		return false;
	for (int i = 0; i < all; i++)
		if (sys_number(1, "/sys/devices/system/cpu/cpu%d/online", i)) {
			map[i / 8] |= 1 << i % 8;
			online++;
		}
	*ret = g_variant_new("(@ayui)",
			     g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, map, wants_map ? (all + 7) / 8 : 0, 1),
			     wants_online ? online : 0, all);
	return true;
}

/* Pairs, as far as there is room for; without room their number. */
static bool answer_stats(GVariant **ret, gint32 room, const char *const *names, const guint64 *values, unsigned n)
{
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(st)"));

	for (unsigned i = 0; i < n && (gint32)i < room; i++)
		g_variant_builder_add(&list, "(st)", names[i], values[i]);
	*ret = g_variant_new("(a(st)i)", &list, room ? MIN(room, (gint32)n) : (gint32)n);
	return true;
}

static bool cpu_stats(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	static const char *const names[] = { "kernel", "user", "idle", "iowait" };
	g_autofree char *text = NULL, *row = NULL;
	unsigned long long user = 0, nice = 0, kernel = 0, idle = 0, wait = 0, irq = 0, soft = 0;
	guint64 tick = 1000000000 / sysconf(_SC_CLK_TCK);
	const char *at;
	gint32 cpu, room;
	guint32 flags;

	g_variant_get(args, "(iiu)", &cpu, &room, &flags);
	if (!call_check_flags(call, flags, 0, error) || !g_file_get_contents("/proc/stat", &text, NULL, error))
		return false;
	row = cpu == -1 ? g_strdup("cpu ") : g_strdup_printf("\ncpu%d ", cpu);
	at = strstr(text, row);
	if (cpu < -1 || !at)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "Invalid cpuNum in virHostCPUGetStatsLinux");
	if (sscanf(at + strlen(row), "%llu %llu %llu %llu %llu %llu %llu", &user, &nice, &kernel, &idle, &wait, &irq,
		   &soft) < 4)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "no prefix '%s' in /proc/stat", row);
	return answer_stats(
		ret, room, names,
		(const guint64[]){ (kernel + irq + soft) * tick, (user + nice) * tick, idle * tick, wait * tick },
		G_N_ELEMENTS(names));
}

static bool memory_stats(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	static const char *const names[] = { "total", "free", "buffers", "cached" };
	gint32 room, cell;
	guint32 flags;

	g_variant_get(args, "(iiu)", &room, &cell, &flags);
	if (!call_check_flags(call, flags, 0, error))
		return false;
	if (cell > 0)
		return rpc_fail(error, VIR_ERR_INVALID_ARG,
				"cellNum in virHostMemGetStats must be less than or equal to 0");
	return answer_stats(
		ret, room, names,
		(const guint64[]){ meminfo("MemTotal:"), meminfo("MemFree:"), meminfo("Buffers:"), meminfo("Cached:") },
		G_N_ELEMENTS(names));
}

/* A text as an array of char with its end, as security labels are. */
GVariant *chars_variant(const char *text)
{
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("ai"));

	for (const char *p = text; *p; p++)
		g_variant_builder_add(&list, "i", *p);
	g_variant_builder_add(&list, "i", 0);
	return g_variant_builder_end(&list);
}

static bool security_model(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	*ret = g_variant_new("(@ai@ai)", chars_variant("none"), chars_variant("0"));
	return true;
}

static bool security_label(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	*ret = g_variant_new("(@aii)", chars_variant(""), 0);
	return true;
}

static bool capabilities(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *xml = NULL;

	if (!call->hv->driver->capabilities)
		return handler_unsupported(call, args, ret, error);
	xml = call->hv->driver->capabilities(call->hv);
	*ret = g_variant_new("(s)", xml);
	return true;
}

static bool domain_capabilities(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const char *emulator, *arch, *machine, *type;
	g_autofree char *xml = NULL;
	guint32 flags;

	g_variant_get(args, "(m&sm&sm&sm&su)", &emulator, &arch, &machine, &type, &flags);
	if (!call->hv->driver->domain_capabilities)
		return handler_unsupported(call, args, ret, error);
	if (!call_check_flags(call, flags, 0, error))
		return false;
	xml = call->hv->driver->domain_capabilities(call->hv, emulator, arch, machine, type, error);
	if (!xml)
		return false;
	*ret = g_variant_new("(s)", xml);
	return true;
}

static bool cpu_models(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	/* Those of libvirt 9.0 for x86, in its order. */
	static const char *const names[] = {
		"486",
		"pentium",
		"pentium2",
		"pentium3",
		"pentiumpro",
		"coreduo",
		"n270",
		"core2duo",
		"qemu32",
		"kvm32",
		"cpu64-rhel5",
		"cpu64-rhel6",
		"qemu64",
		"kvm64",
		"Conroe",
		"Penryn",
		"Nehalem",
		"Nehalem-IBRS",
		"Westmere",
		"Westmere-IBRS",
		"SandyBridge",
		"SandyBridge-IBRS",
		"IvyBridge",
		"IvyBridge-IBRS",
		"Haswell-noTSX",
		"Haswell-noTSX-IBRS",
		"Haswell",
		"Haswell-IBRS",
		"Broadwell-noTSX",
		"Broadwell-noTSX-IBRS",
		"Broadwell",
		"Broadwell-IBRS",
		"Skylake-Client",
		"Skylake-Client-IBRS",
		"Skylake-Client-noTSX-IBRS",
		"Skylake-Server",
		"Skylake-Server-IBRS",
		"Skylake-Server-noTSX-IBRS",
		"Cascadelake-Server",
		"Cascadelake-Server-noTSX",
		"Icelake-Client",
		"Icelake-Client-noTSX",
		"Icelake-Server",
		"Icelake-Server-noTSX",
		"Cooperlake",
		"Snowridge",
		"athlon",
		"phenom",
		"Opteron_G1",
		"Opteron_G2",
		"Opteron_G3",
		"Opteron_G4",
		"Opteron_G5",
		"EPYC",
		"EPYC-IBPB",
		"EPYC-Rome",
		"EPYC-Milan",
		"Dhyana",
	};
	const char *arch;
	gint32 wants;
	guint32 flags;

	g_variant_get(args, "(&siu)", &arch, &wants, &flags);
	if (!call_check_flags(call, flags, 0, error))
		return false;
	if (strcmp(arch, "x86_64") != 0 && strcmp(arch, "i686") != 0)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "cannot find architecture %s", arch);
	*ret = g_variant_new("(@asi)", g_variant_new_strv(names, wants ? (gssize)G_N_ELEMENTS(names) : 0),
			     G_N_ELEMENTS(names));
	return true;
}

static void dmi_entry(GString *out, const char *name, const char *file)
{
	g_autofree char *path = g_build_filename("/sys/class/dmi/id", file, NULL), *text = NULL, *escaped = NULL;

	if (!g_file_get_contents(path, &text, NULL, NULL) || !*g_strstrip(text))
		return;
	escaped = g_markup_escape_text(text, -1);
	g_string_append_printf(out, "    <entry name='%s'>%s</entry>\n", name, escaped);
}

static bool sysinfo_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	static const char *const rows[][3] = {
		{ "bios", "vendor", "bios_vendor" },
		{ "bios", "version", "bios_version" },
		{ "bios", "date", "bios_date" },
		{ "bios", "release", "bios_release" },
		{ "system", "manufacturer", "sys_vendor" },
		{ "system", "product", "product_name" },
		{ "system", "version", "product_version" },
		{ "system", "serial", "product_serial" },
		{ "system", "uuid", "product_uuid" },
		{ "system", "sku", "product_sku" },
		{ "system", "family", "product_family" },
		{ "baseBoard", "manufacturer", "board_vendor" },
		{ "baseBoard", "product", "board_name" },
		{ "baseBoard", "version", "board_version" },
		{ "baseBoard", "serial", "board_serial" },
		{ "baseBoard", "asset", "board_asset_tag" },
	};
	g_autoptr(GString) out = g_string_new("<sysinfo type='smbios'>\n");

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		if (!i || strcmp(rows[i][0], rows[i - 1][0]) != 0)
			g_string_append_printf(out, "  <%s>\n", rows[i][0]);
		dmi_entry(out, rows[i][1], rows[i][2]);
		if (i + 1 == G_N_ELEMENTS(rows) || strcmp(rows[i][0], rows[i + 1][0]) != 0)
			g_string_append_printf(out, "  </%s>\n", rows[i][0]);
	}
	g_string_append(out, "</sysinfo>\n");
	*ret = g_variant_new("(s)", out->str);
	return true;
}

enum { LOOK = HANDLER_FAST | HANDLER_READ_ONLY };

const struct handler node_handlers[] = {
	{ RPC_NODE_GET_INFO, get_info, LOOK },
	{ RPC_NODE_GET_FREE_MEMORY, free_memory, LOOK },
	{ RPC_NODE_GET_CELLS_FREE_MEMORY, cells_free_memory, LOOK },
	{ RPC_NODE_GET_CPU_MAP, cpu_map, LOOK },
	{ RPC_NODE_GET_CPU_STATS, cpu_stats, LOOK },
	{ RPC_NODE_GET_MEMORY_STATS, memory_stats, LOOK },
	{ RPC_NODE_GET_SECURITY_MODEL, security_model, LOOK },
	{ RPC_DOMAIN_GET_SECURITY_LABEL, security_label, LOOK },
	{ RPC_CONNECT_GET_MAX_VCPUS, get_max_vcpus, LOOK },
	{ RPC_CONNECT_GET_CAPABILITIES, capabilities, HANDLER_READ_ONLY },
	{ RPC_CONNECT_GET_DOMAIN_CAPABILITIES, domain_capabilities, 0 },
	{ RPC_CONNECT_GET_CPU_MODEL_NAMES, cpu_models, LOOK },
	{ RPC_CONNECT_GET_SYSINFO, sysinfo_xml, HANDLER_READ_ONLY },
	{ 0 },
};
