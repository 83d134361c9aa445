/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a machine uses: its process's times from /proc, disks and balloon from QMP, cards from its counters. See kv.h. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kv.h"

enum {
	GROUP_CPU = 1 << 1,
	GROUP_BALLOON = 1 << 2,
	GROUP_VCPU = 1 << 3,
	GROUP_INTERFACE = 1 << 4,
	GROUP_BLOCK = 1 << 5,
};

static void add(GVariantBuilder *out, const char *name, GVariant *value)
{
	g_variant_builder_add(out, "(sv)", name, value);
}

static void G_GNUC_PRINTF(3, 4) add_nth(GVariantBuilder *out, GVariant *value, const char *format, ...)
{
	g_autofree char *name = NULL;
	va_list ap;

	va_start(ap, format);
	name = g_strdup_vprintf(format, ap);
	va_end(ap);
	add(out, name, value);
}

static GVariant *u64(gint64 n)
{
	return g_variant_new_uint64((guint64)MAX(n, 0));
}

/* ---- the process ---- */

/* Fields 14 and 15 of /proc/…/stat (proc(5)), in ns. */
static bool read_times(const char *path, guint64 *ret_user, guint64 *ret_system)
{
	guint64 tick = G_GUINT64_CONSTANT(1000000000) / (guint64)MAX(sysconf(_SC_CLK_TCK), 1);
	g_autofree char *text = NULL;
	const char *rest;

	if (!g_file_get_contents(path, &text, NULL, NULL) || !(rest = strrchr(text, ')')) ||
	    sscanf(rest + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT, ret_user,
		   ret_system) != 2)
		return false;
	*ret_user *= tick;
	*ret_system *= tick;
	return true;
}

static bool process_times(const struct kv_machine *m, guint64 *ret_user, guint64 *ret_system)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)m->pid);

	return kv_process_is_alive(m) && read_times(path, ret_user, ret_system);
}

guint64 kv_cpu_time(struct domain *d)
{
	guint64 user, system;

	return d->own && process_times(d->own, &user, &system) ? user + system : 0;
}

bool kv_cpu_times(struct domain *d, guint64 ret[2])
{
	return d->own && process_times(d->own, &ret[0], &ret[1]);
}

static guint64 resident_kib(const struct kv_machine *m)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/statm", (int)m->pid), *text = NULL;
	guint64 pages = 0;

	if (g_file_get_contents(path, &text, NULL, NULL))
		sscanf(text, "%*s %" G_GUINT64_FORMAT, &pages);
	return pages * (guint64)sysconf(_SC_PAGESIZE) / 1024;
}

static void add_cpu(const struct kv_machine *m, GVariantBuilder *out)
{
	guint64 user, system;

	if (!process_times(m, &user, &system))
		return;
	add(out, "cpu.time", g_variant_new_uint64(user + system));
	add(out, "cpu.user", g_variant_new_uint64(user));
	add(out, "cpu.system", g_variant_new_uint64(system));
}

/* ---- processors, balloon ---- */

static void add_vcpus(struct kv_machine *m, GVariantBuilder *out)
{
	g_autoptr(JsonNode) answer = kv_ask(m, "query-cpus-fast", NULL, NULL);
	JsonArray *list = kv_array(answer);
	unsigned max, n;

	if (!m->d->live)
		return;
	n = domain_def_vcpus(m->d->live, &max);
	add(out, "vcpu.current", g_variant_new_uint32(n));
	add(out, "vcpu.maximum", g_variant_new_uint32(max));
	for (guint i = 0; list && i < json_array_get_length(list); i++) {
		JsonObject *o = kv_object(json_array_get_element(list, i));
		g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/stat", (int)m->pid, (int)kv_number_in(o, "thread-id"));
		unsigned index = (unsigned)kv_number_in(o, "cpu-index");
		guint64 user, system;

		add_nth(out, g_variant_new_int32(1), "vcpu.%u.state", index);
		if (read_times(path, &user, &system))
			add_nth(out, g_variant_new_uint64(user + system), "vcpu.%u.time", index);
	}
}

/* The guest's own view, in libvirt's words and KiB. */
static const struct {
	const char *qmp, *name;
	unsigned divide;
} guest_stats[] = {
	{"stat-swap-in", "balloon.swap_in", 1024},	   {"stat-swap-out", "balloon.swap_out", 1024},
	{"stat-major-faults", "balloon.major_fault", 1},   {"stat-minor-faults", "balloon.minor_fault", 1},
	{"stat-free-memory", "balloon.unused", 1024},	   {"stat-total-memory", "balloon.available", 1024},
	{"stat-available-memory", "balloon.usable", 1024}, {"stat-disk-caches", "balloon.disk_caches", 1024},
};

static void add_guest_memory(struct kv_machine *m, GVariantBuilder *out)
{
	const xmlNode *balloon = domain_def_device(m->d->live, "memballoon", 0);
	const char *id = command_is_pc(domain_def_root(m->d->live)) && balloon ? command_id(balloon) : "balloon";
	g_autofree char *path = g_strconcat("/machine/peripheral/", id ? id : "balloon", NULL);
	g_autoptr(JsonNode) answer = kv_ask(m, "qom-get", kv_args("path", path, "property", "guest-stats", NULL), NULL);
	JsonObject *stats = kv_object_in(kv_object(answer), "stats");
	gint64 updated = kv_number_in(kv_object(answer), "last-update");

	if (updated)
		add(out, "balloon.last-update", u64(updated));
	for (unsigned i = 0; stats && i < G_N_ELEMENTS(guest_stats); i++)
		if (json_object_has_member(stats, guest_stats[i].qmp) && kv_number_in(stats, guest_stats[i].qmp) >= 0)
			add(out, guest_stats[i].name, u64(kv_number_in(stats, guest_stats[i].qmp) / guest_stats[i].divide));
}

static void add_balloon(struct kv_machine *m, bool now, GVariantBuilder *out)
{
	g_autoptr(JsonNode) answer = now ? NULL : kv_ask(m, "query-balloon", NULL, NULL);
	guint64 current;

	if (!m->d->live)
		return;
	current = answer ? (guint64)MAX(kv_number_in(kv_object(answer), "actual"), 0) / 1024 : domain_def_current(m->d->live);
	add(out, "balloon.current", g_variant_new_uint64(current));
	add(out, "balloon.maximum", g_variant_new_uint64(domain_def_memory(m->d->live)));
	if (answer)
		add_guest_memory(m, out);
	add(out, "balloon.rss", g_variant_new_uint64(resident_kib(m)));
}

/* ---- disks ---- */

static JsonObject *find_device(JsonNode *answer, const char *id)
{
	JsonArray *list = kv_array(answer);

	for (guint i = 0; list && id && i < json_array_get_length(list); i++) {
		JsonObject *o = kv_object(json_array_get_element(list, i));
		const char *device = kv_text_in(o, "device");

		if (device && !strcmp(device, id))
			return o;
	}
	return NULL;
}

static const struct {
	const char *qmp, *name;
} block_counts[] = {
	{"rd_operations", "rd.reqs"},	  {"rd_bytes", "rd.bytes"},
	{"rd_total_time_ns", "rd.times"}, {"wr_operations", "wr.reqs"},
	{"wr_bytes", "wr.bytes"},	  {"wr_total_time_ns", "wr.times"},
	{"flush_operations", "fl.reqs"},  {"flush_total_time_ns", "fl.times"},
};

static const char *source_of(const xmlNode *disk)
{
	const char *path = xml_text(disk, "source/@file");

	return path ? path : xml_text(disk, "source/@dev");
}

static void add_sizes(JsonObject *device, const char *path, unsigned i, GVariantBuilder *out)
{
	gint64 capacity = kv_number_in(kv_object_in(kv_object_in(device, "inserted"), "image"), "virtual-size");
	struct stat st;

	if (path && stat(path, &st) == 0) {
		add_nth(out, u64((gint64)st.st_blocks * 512), "block.%u.allocation", i);
		if (capacity)
			add_nth(out, u64(capacity), "block.%u.capacity", i);
		add_nth(out, u64(st.st_size), "block.%u.physical", i);
	}
}

static void add_disks(struct kv_machine *m, GVariantBuilder *out)
{
	g_autoptr(JsonNode) counts = kv_ask(m, "query-blockstats", NULL, NULL), devices = kv_ask(m, "query-block", NULL, NULL);
	xmlNode *disk;
	unsigned n = 0;

	while (m->d->live && domain_def_device(m->d->live, "disk", n))
		n++;
	add(out, "block.count", g_variant_new_uint32(n));
	for (unsigned i = 0; i < n && (disk = domain_def_device(m->d->live, "disk", i)); i++) {
		const char *name = xml_text(disk, "target/@dev"), *path = source_of(disk), *id = command_id(disk);
		JsonObject *stats = kv_object_in(find_device(counts, id), "stats");

		add_nth(out, g_variant_new_string(name ? name : ""), "block.%u.name", i);
		if (path)
			add_nth(out, g_variant_new_string(path), "block.%u.path", i);
		for (unsigned k = 0; stats && k < G_N_ELEMENTS(block_counts); k++)
			add_nth(out, u64(kv_number_in(stats, block_counts[k].qmp)), "block.%u.%s", i, block_counts[k].name);
		add_sizes(find_device(devices, id), path, i, out);
	}
}

static xmlNode *disk_of(const struct domain *d, const char *dev, GError **error)
{
	xmlNode *disk;

	for (unsigned n = 0; (disk = domain_def_device(d->live, "disk", n)); n++)
		if (xml_is(disk, "target/@dev", dev))
			return disk;
	rpc_fail(error, VIR_ERR_INVALID_ARG, "invalid path: %s", dev);
	return NULL;
}

bool kv_block_stats(struct domain *d, const char *dev, gint64 ret[5], GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);
	const xmlNode *disk = m ? disk_of(d, dev, error) : NULL;
	g_autofree char *id = disk ? g_strdup(command_id(disk)) : NULL;
	g_autoptr(JsonNode) answer = id ? kv_ask(m, "query-blockstats", NULL, error) : NULL;
	JsonObject *stats = kv_object_in(find_device(answer, id), "stats");

	if (!answer)
		return false;
	if (!stats)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "cannot find statistics for device '%s'", id);
	ret[0] = kv_number_in(stats, "rd_operations");
	ret[1] = kv_number_in(stats, "rd_bytes");
	ret[2] = kv_number_in(stats, "wr_operations");
	ret[3] = kv_number_in(stats, "wr_bytes");
	ret[4] = -1;
	return true;
}

bool kv_block_info(struct domain *d, const char *dev, guint64 ret[3], GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);
	const xmlNode *disk = m ? disk_of(d, dev, error) : NULL;
	g_autofree char *id = disk ? g_strdup(command_id(disk)) : NULL, *path = disk ? g_strdup(source_of(disk)) : NULL;
	g_autoptr(JsonNode) answer = id ? kv_ask(m, "query-block", NULL, error) : NULL;
	JsonObject *image = kv_object_in(kv_object_in(find_device(answer, id), "inserted"), "image");
	struct stat st;

	if (!answer)
		return false;
	ret[0] = (guint64)MAX(kv_number_in(image, "virtual-size"), 0);
	ret[1] = ret[2] = 0;
	if (path && stat(path, &st) == 0) {
		ret[1] = (guint64)st.st_blocks * 512;
		ret[2] = (guint64)st.st_size;
	}
	return true;
}

bool kv_stats(struct domain *d, unsigned groups, GVariantBuilder *out, GError **error)
{
	struct kv_machine *m = domain_is_active(d) ? d->own : NULL;
	bool now = groups & HV_STATS_NOW;

	if (!m || m->gone || !d->live) {
		struct domain_def *def = domain_stored_def(d, NULL);

		if (def && groups & GROUP_BALLOON)
			add(out, "balloon.maximum", g_variant_new_uint64(domain_def_memory(def)));
		return true;
	}
	kv_machine_ref(m);
	if (groups & GROUP_CPU)
		add_cpu(m, out);
	if (groups & GROUP_BALLOON)
		add_balloon(m, now || !m->qmp, out);
	if (groups & GROUP_VCPU && !now && m->qmp && !m->gone)
		add_vcpus(m, out);
	if (groups & GROUP_INTERFACE && !now && m->qmp && !m->gone)
		kv_add_cards(m, out);
	if (groups & GROUP_BLOCK && !now && m->qmp && !m->gone)
		add_disks(m, out);
	kv_machine_unref(m);
	return true;
}
