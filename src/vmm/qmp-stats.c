/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * query-stats and query-stats-schemas (QEMU's qapi/stats.json): the counters of --stats, by the names they have there, as those
 * of provider "kvm". Counters of one vCPU lose their `vcpuN.`; the rest is the VM's. See qmp.h.
 */
#include <string.h>

#include "machine.h"
#include "qmp.h"
#include "vmm.h"

static const char *const targets[] = { "vm", "vcpu", NULL };
static const char *const providers[] = { "kvm", NULL };
static const struct qmp_type target = { .kind = QMP_ENUM, .values = targets };
static const struct qmp_type provider = { .kind = QMP_ENUM, .values = providers };
static const struct qmp_member request_members[] = {
	{ "provider", &provider },
	{ "names", &qmp_strings, .optional = true },
	{},
};
static const struct qmp_type request = { .kind = QMP_OBJECT, .members = request_members };
static const struct qmp_type request_list = { .kind = QMP_LIST, .item = &request };

const struct qmp_member qmp_stats_args[] = {
	{ "target", &target },
	{ "providers", &request_list, .optional = true },
	{ "vcpus", &qmp_strings, .optional = true, .tag = "target", .value = "vcpu" },
	{},
};

const struct qmp_member qmp_stats_schemas_args[] = { { "provider", &provider, .optional = true }, {} };

enum { THE_VM = -1 };

/* One `name value` line: whose it is, its name without that, its value. False: it is no counter. */
static bool read_line(char *line, int *ret_owner, const char **ret_name, uint64_t *ret_value)
{
	static const char prefix[] = "vcpu";
	char *value = strchr(line, ' '), *end;
	guint64 index;

	if (!value)
		return false;
	*value++ = 0;
	if (!g_ascii_string_to_unsigned(value, 10, 0, G_MAXINT64, ret_value, NULL))
		return false;
	*ret_owner = THE_VM;
	*ret_name = line;
	if (!g_str_has_prefix(line, prefix))
		return true;
	index = g_ascii_strtoull(line + strlen(prefix), &end, 10);
	if (*end == '.' && index < G_MAXINT) {
		*ret_owner = (int)index;
		*ret_name = end + 1;
	}
	return true;
}

/* names: NULL for all. */
static bool is_wanted(JsonArray *names, const char *name)
{
	guint n = names ? json_array_get_length(names) : 0;

	for (guint i = 0; i < n; i++)
		if (!strcmp(json_array_get_string_element(names, i), name))
			return true;
	return !names;
}

/* The lines of one owner. */
static JsonArray *collect(const char *text, int owner, JsonArray *names)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	JsonArray *list = json_array_new();

	for (char **line = lines; *line; line++) {
		const char *name;
		uint64_t value;
		int whose;

		if (read_line(*line, &whose, &name, &value) && whose == owner && is_wanted(names, name)) {
			JsonObject *o = json_object_new();

			json_object_set_string_member(o, "name", name);
			json_object_set_int_member(o, "value", (gint64)value);
			json_array_add_object_element(list, o);
		}
	}
	return list;
}

static void put_result(const struct vmm *vmm, JsonArray *results, const char *text, int owner, JsonArray *names)
{
	g_autoptr(JsonArray) stats = collect(text, owner, names);
	g_autofree char *path = owner == THE_VM ? NULL : vmm_vcpu_path(vmm, (unsigned)owner);
	JsonObject *o;

	if (!json_array_get_length(stats))
		return;
	o = json_object_new();
	json_object_set_string_member(o, "provider", "kvm");
	if (path)
		json_object_set_string_member(o, "qom-path", path);
	json_object_set_array_member(o, "stats", json_array_ref(stats));
	json_array_add_object_element(results, o);
}

static JsonArray *get_array(JsonObject *o, const char *name)
{
	return json_object_has_member(o, name) ? json_object_get_array_member(o, name) : NULL;
}

static void put_results(const struct vmm *vmm, JsonArray *results, const char *text, JsonObject *args, JsonArray *names)
{
	JsonArray *vcpus = get_array(args, "vcpus");

	if (!strcmp(json_object_get_string_member(args, "target"), "vm")) {
		put_result(vmm, results, text, THE_VM, names);
		return;
	}
	for (unsigned i = 0; i < machine_vcpus(vmm->machine); i++) {
		g_autofree char *path = vmm_vcpu_path(vmm, i);

		if (machine_vcpu_present(vmm->machine, i) && is_wanted(vcpus, path))
			put_result(vmm, results, text, (int)i, names);
	}
}

JsonNode *qmp_query_stats(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm *vmm = opaque;
	g_autofree char *text = machine_stats(vmm->machine);
	JsonArray *requests = get_array(args, "providers"), *results = json_array_new();

	if (!requests)
		put_results(vmm, results, text, args, NULL);
	for (guint i = 0; requests && i < json_array_get_length(requests); i++)
		put_results(vmm, results, text, args, get_array(json_array_get_object_element(requests, i), "names"));
	return qmp_array(results);
}

/* A name's row of the schema; what is counted goes up, unless it is told here. */
static JsonObject *describe(const char *name)
{
	static const struct {
		const char *name, *type, *unit;
	} others[] = {
		{ "jit.code_bytes", "instant", "bytes" },
		{ "balloon.balloon", "instant", "bytes" },
		{ "balloon.free-memory", "instant", "bytes" },
		{ "balloon.total-memory", "instant", "bytes" },
		{ "balloon.available-memory", "instant", "bytes" },
		{ "balloon.disk-caches", "instant", "bytes" },
	};
	JsonObject *o = json_object_new();

	json_object_set_string_member(o, "name", name);
	json_object_set_string_member(o, "type", "cumulative");
	json_object_set_int_member(o, "exponent", 0);
	for (size_t i = 0; i < G_N_ELEMENTS(others); i++)
		if (!strcmp(others[i].name, name)) {
			json_object_set_string_member(o, "type", others[i].type);
			json_object_set_string_member(o, "unit", others[i].unit);
		}
	return o;
}

/* Every name that one of the owners has. */
static JsonArray *names_of(const char *text, int first, int last)
{
	g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	JsonArray *list = json_array_new();

	for (int owner = first; owner <= last; owner++) {
		g_autoptr(JsonArray) stats = collect(text, owner, NULL);

		for (guint i = 0; i < json_array_get_length(stats); i++) {
			const char *name = json_object_get_string_member(json_array_get_object_element(stats, i), "name");

			if (g_hash_table_add(seen, g_strdup(name)))
				json_array_add_object_element(list, describe(name));
		}
	}
	return list;
}

static void put_schema(JsonArray *list, const char *whose, JsonArray *stats)
{
	JsonObject *o = json_object_new();

	json_object_set_string_member(o, "provider", "kvm");
	json_object_set_string_member(o, "target", whose);
	json_object_set_array_member(o, "stats", stats);
	json_array_add_object_element(list, o);
}

JsonNode *qmp_query_stats_schemas(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm *vmm = opaque;
	g_autofree char *text = machine_stats(vmm->machine);
	JsonArray *list = json_array_new();

	put_schema(list, "vm", names_of(text, THE_VM, THE_VM));
	put_schema(list, "vcpu", names_of(text, 0, (int)machine_vcpus(vmm->machine) - 1));
	return qmp_array(list);
}
