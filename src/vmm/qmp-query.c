/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What management asks at a start: which machines, options and limits there are, and what this machine was made with (QEMU's
 * qapi/machine.json, misc.json). See qmp.h.
 */
#include <string.h>

#include "machine.h"
#include "options.h"
#include "qmp.h"
#include "query.h"
#include "vmm.h"

#define NO_UUID "00000000-0000-0000-0000-000000000000"

const struct qmp_member qmp_query_command_line_options_args[] = { { "option", &qmp_string, .optional = true }, {} };

JsonNode *qmp_query_nothing(void *opaque, JsonObject *args, GError **error)
{
	return qmp_array(json_array_new());
}

JsonNode *qmp_query_target(void *opaque, JsonObject *args, GError **error)
{
	JsonObject *o = json_object_new();

	json_object_set_string_member(o, "arch", "x86_64");
	return qmp_object(o);
}

/* The first of --machine's choices is the default. */
JsonNode *qmp_query_machines(void *opaque, JsonObject *args, GError **error)
{
	const char *const *names = options_find(option_table, "machine")->keys[0].choices;
	JsonArray *list = json_array_new();

	for (unsigned i = 0; names[i]; i++) {
		JsonObject *o = json_object_new();

		json_object_set_string_member(o, "name", names[i]);
		if (!i)
			json_object_set_boolean_member(o, "is-default", TRUE);
		json_object_set_int_member(o, "cpu-max", machine_cpus_max());
		json_object_set_boolean_member(o, "hotpluggable-cpus", !strcmp(names[i], "pc"));
		json_object_set_boolean_member(o, "numa-mem-supported", FALSE);
		json_object_set_boolean_member(o, "deprecated", FALSE);
		json_array_add_object_element(list, o);
	}
	return qmp_array(list);
}

/* SMBIOS' has it: --smbios type=1,uuid=. */
JsonNode *qmp_query_uuid(void *opaque, JsonObject *args, GError **error)
{
	g_autoptr(GVariant) list = options_lookup_value(((struct vmm *)opaque)->options, "smbios");
	JsonObject *o = json_object_new();
	const char *uuid = NO_UUID;

	for (gsize i = 0; list && i < g_variant_n_children(list); i++) {
		g_autoptr(GVariant) keys = g_variant_get_child_value(list, i); /* the options keep its words */
		guint64 type = 0;

		if (g_variant_lookup(keys, "type", "t", &type) && type == 1)
			g_variant_lookup(keys, "uuid", "&s", &uuid);
	}
	json_object_set_string_member(o, "UUID", uuid);
	return qmp_object(o);
}

JsonNode *qmp_query_memory_size_summary(void *opaque, JsonObject *args, GError **error)
{
	JsonObject *o = json_object_new();

	json_object_set_int_member(o, "base-memory", (gint64)machine_memory(((struct vmm *)opaque)->machine));
	return qmp_object(o);
}

JsonNode *qmp_query_vm_generation_id(void *opaque, JsonObject *args, GError **error)
{
	return qmp_fail(error, QMP_ERROR_GENERIC, "VM Generation ID device not found");
}

/* ---- options ---- */

static const char *type_of(const struct option *o)
{
	switch (o->type) {
	case OPTION_FLAG:
	case OPTION_BOOL:
		return "boolean";
	case OPTION_COUNT:
		return "number";
	case OPTION_SIZE:
		return "size";
	default:
		return "string";
	}
}

/* An option without keys has none here, either: QEMU tells its own so. */
static JsonObject *describe_option(const struct option *option)
{
	JsonArray *parameters = json_array_new();
	JsonObject *o = json_object_new();

	for (const struct option *k = option->keys; k && k->name; k++) {
		JsonObject *p = json_object_new();

		json_object_set_string_member(p, "name", k->name);
		json_object_set_string_member(p, "type", type_of(k));
		json_object_set_string_member(p, "help", k->help);
		json_array_add_object_element(parameters, p);
	}
	json_object_set_string_member(o, "option", option->name);
	json_object_set_array_member(o, "parameters", parameters);
	return o;
}

JsonNode *qmp_query_command_line_options(void *opaque, JsonObject *args, GError **error)
{
	const char *name = qmp_text(args, "option");
	JsonArray *list;

	if (name && !options_find(option_table, name))
		return qmp_fail(error, QMP_ERROR_GENERIC, "invalid option name: %s", name);
	list = json_array_new();
	for (const struct option *o = option_table; o->name; o++)
		if (!name || g_str_equal(o->name, name))
			json_array_add_object_element(list, describe_option(o));
	return qmp_array(list);
}
