/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP commands about processors: which models there are, what one means on this host, where each vCPU is. See qmp.h. */
#include <string.h>

#include "machine.h"
#include "qmp.h"
#include "vmm.h"

/* host and max are what they are today. */
static bool is_fixed(const char *model)
{
	return strcmp(model, "host") != 0 && strcmp(model, "max") != 0;
}

static JsonArray *strings(GStrv list)
{
	JsonArray *a = json_array_new();

	for (char **s = list; *s; s++)
		json_array_add_string_element(a, *s);
	return a;
}

JsonNode *qmp_query_cpu_definitions(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm *vmm = opaque;
	g_auto(GStrv) models = machine_cpu_models();
	g_autoptr(JsonArray) list = json_array_new();

	for (char **m = models; *m; m++) {
		g_auto(GStrv) missing = NULL;
		g_autoptr(GVariant) props = machine_cpu_expand(vmm->kvm_fd, *m, &missing, error);
		g_autofree char *type = g_strconcat(*m, "-x86_64-cpu", NULL);
		JsonObject *o;

		if (!props)
			return NULL;
		o = json_object_new();
		json_object_set_string_member(o, "name", *m);
		json_object_set_string_member(o, "typename", type);
		json_object_set_array_member(o, "unavailable-features", strings(missing));
		json_object_set_boolean_member(o, "migration-safe", is_fixed(*m));
		json_object_set_boolean_member(o, "static", FALSE);
		json_object_set_boolean_member(o, "deprecated", FALSE);
		json_array_add_object_element(list, o);
	}
	return qmp_array(g_steal_pointer(&list));
}

static const char *const expansions[] = { "full", "static", NULL };
static const struct qmp_type expansion = { QMP_ENUM, .values = expansions };
static const struct qmp_member model_members[] = {
	{ "name", &qmp_string },
	{ "props", &qmp_any, .optional = true },
	{},
};
static const struct qmp_type model = { QMP_OBJECT, .members = model_members };
const struct qmp_member qmp_query_cpu_model_expansion_args[] = {
	{ "type", &expansion },
	{ "model", &model },
	{},
};

/* {"name": "EPYC", "props": {"avx2": false}} as --cpu has it. */
static char *choice_text(JsonObject *m, GError **error)
{
	g_autoptr(GString) s = g_string_new(json_object_get_string_member(m, "name"));
	JsonNode *props = json_object_get_member(m, "props");
	g_autoptr(GList) names = NULL;

	if (strchr(s->str, ',')) {
		qmp_fail(error, QMP_ERROR_GENERIC, "The CPU type '%s' is not a known CPU type", s->str);
		return NULL;
	}
	if (props && !JSON_NODE_HOLDS_OBJECT(props)) {
		qmp_fail(error, QMP_ERROR_GENERIC, "Invalid parameter type for 'model.props', expected: dict");
		return NULL;
	}
	names = props ? json_object_get_members(json_node_get_object(props)) : NULL;
	for (GList *n = names; n; n = n->next) {
		JsonNode *value = json_object_get_member(json_node_get_object(props), n->data);

		if (json_node_get_value_type(value) != G_TYPE_BOOLEAN || strchr(n->data, ',')) {
			qmp_fail(error, QMP_ERROR_GENERIC, "Invalid parameter type for '%s', expected: boolean", (char *)n->data);
			return NULL;
		}
		g_string_append_printf(s, ",%s=%s", (char *)n->data, json_node_get_boolean(value) ? "on" : "off");
	}
	return g_string_free(g_steal_pointer(&s), FALSE);
}

JsonNode *qmp_query_cpu_model_expansion(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm *vmm = opaque;
	JsonObject *given = json_object_get_object_member(args, "model"), *o, *m, *out;
	g_autofree char *text = choice_text(given, error);
	g_auto(GStrv) missing = NULL;
	g_autoptr(GVariant) props = text ? machine_cpu_expand(vmm->kvm_fd, text, &missing, error) : NULL;
	GVariantIter iter;
	const char *name;
	GVariant *value;

	if (!props)
		return NULL;
	out = json_object_new();
	g_variant_iter_init(&iter, props);
	while (g_variant_iter_loop(&iter, "{&sv}", &name, &value)) {
		if (g_variant_is_of_type(value, G_VARIANT_TYPE_BOOLEAN))
			json_object_set_boolean_member(out, name, g_variant_get_boolean(value));
		else if (g_variant_is_of_type(value, G_VARIANT_TYPE_UINT64))
			json_object_set_int_member(out, name, (gint64)g_variant_get_uint64(value));
		else
			json_object_set_string_member(out, name, g_variant_get_string(value, NULL));
	}
	m = json_object_new();
	json_object_set_string_member(m, "name", json_object_get_string_member(given, "name"));
	json_object_set_object_member(m, "props", out);
	o = json_object_new();
	json_object_set_object_member(o, "model", m);
	return qmp_object(o);
}

/* As the guest's CPUID has it. */
static JsonObject *vcpu_place(const struct vmm *vmm, unsigned index)
{
	JsonObject *o = json_object_new();
	unsigned socket, core, thread;

	machine_vcpu_place(vmm->machine, index, &socket, &core, &thread);
	json_object_set_int_member(o, "socket-id", socket);
	json_object_set_int_member(o, "core-id", core);
	json_object_set_int_member(o, "thread-id", thread);
	return o;
}

JsonNode *qmp_query_cpus_fast(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm *vmm = opaque;
	JsonArray *list = json_array_new();

	for (unsigned i = 0; i < machine_vcpus(vmm->machine); i++) {
		g_autofree char *path = vmm_vcpu_path(vmm, i);
		JsonObject *o;

		if (!machine_vcpu_present(vmm->machine, i))
			continue;
		o = json_object_new();
		json_object_set_int_member(o, "cpu-index", i);
		json_object_set_string_member(o, "qom-path", path);
		json_object_set_int_member(o, "thread-id", machine_vcpu_thread(vmm->machine, i));
		json_object_set_object_member(o, "props", vcpu_place(vmm, i));
		json_object_set_string_member(o, "target", "x86_64");
		json_array_add_object_element(list, o);
	}
	return qmp_array(list);
}

/* The last one first, as QEMU has them. */
JsonNode *qmp_query_hotpluggable_cpus(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm *vmm = opaque;
	g_autofree char *type = machine_cpu_type(vmm->machine);
	JsonArray *list;

	if (!machine_has_cpu_slots(vmm->machine))
		return qmp_fail(error, QMP_ERROR_GENERIC, "The feature 'query-hotpluggable-cpus' is not enabled");
	list = json_array_new();
	for (unsigned i = machine_vcpus(vmm->machine); i-- > 0;) {
		bool present = machine_vcpu_present(vmm->machine, i);
		g_autofree char *path = present ? vmm_vcpu_path(vmm, i) : NULL;
		JsonObject *o = json_object_new();

		json_object_set_object_member(o, "props", vcpu_place(vmm, i));
		json_object_set_int_member(o, "vcpus-count", 1);
		if (path)
			json_object_set_string_member(o, "qom-path", path);
		json_object_set_string_member(o, "type", type);
		json_array_add_object_element(list, o);
	}
	return qmp_array(list);
}

JsonNode *qmp_query_acpi_ospm_status(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm *vmm = opaque;
	JsonArray *list = json_array_new();

	for (unsigned i = 0; i < machine_vcpus(vmm->machine); i++) {
		g_autoptr(GVariant) info = vmm_cpu_ost(vmm, i);

		if (info)
			json_array_add_element(list, json_gvariant_serialize(info));
	}
	return qmp_array(list);
}
