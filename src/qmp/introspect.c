/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See introspect.h. */
#include "introspect.h"

#include <string.h>

struct writer {
	JsonArray *list;
	GHashTable *names; /* of what was told: a table of members, or of an enumeration's values, to its name */
	GHashTable *lists; /* those that were told, by name */
	unsigned next;
};

static char *type_name(struct writer *w, const struct qmp_type *type);

static JsonObject *entry(struct writer *w, const char *name, const char *meta)
{
	JsonObject *o = json_object_new();

	json_object_set_string_member(o, "name", name);
	json_object_set_string_member(o, "meta-type", meta);
	json_array_add_object_element(w->list, o);
	return o;
}

/* A name for it, and whether it is new. */
static bool name_of(struct writer *w, const void *key, char **ret)
{
	const char *name = g_hash_table_lookup(w->names, key);

	if (name) {
		*ret = g_strdup(name);
		return false;
	}
	*ret = g_strdup_printf("%u", w->next++);
	g_hash_table_insert(w->names, (void *)key, g_strdup(*ret));
	return true;
}

static char *enum_name(struct writer *w, const char *const *values)
{
	JsonArray *names, *members;
	JsonObject *o;
	char *name;

	if (!name_of(w, values, &name))
		return name;
	names = json_array_new();
	members = json_array_new();
	for (; *values; values++) {
		JsonObject *m = json_object_new();

		json_array_add_string_element(names, *values);
		json_object_set_string_member(m, "name", *values);
		json_array_add_object_element(members, m);
	}
	o = entry(w, name, "enum");
	json_object_set_array_member(o, "members", members);
	json_object_set_array_member(o, "values", names);
	return name;
}

static void put_member(struct writer *w, JsonArray *members, const struct qmp_member *m)
{
	g_autofree char *type = type_name(w, m->type);
	JsonObject *o = json_object_new();

	json_object_set_string_member(o, "name", m->name);
	json_object_set_string_member(o, "type", type);
	if (m->optional)
		json_object_set_null_member(o, "default");
	json_array_add_object_element(members, o);
}

static bool is_case(const struct qmp_member *m, const char *value)
{
	return m->tag && !strcmp(m->value, value);
}

/* The members that an object has with one value of its tag. */
static void put_variant(struct writer *w, JsonArray *variants, const struct qmp_member *members, const struct qmp_member *first)
{
	g_autofree char *name = NULL;
	JsonObject *o = json_object_new();

	if (name_of(w, first, &name)) {
		JsonArray *list = json_array_new();

		for (const struct qmp_member *m = members; m->name; m++)
			if (is_case(m, first->value))
				put_member(w, list, m);
		json_object_set_array_member(entry(w, name, "object"), "members", list);
	}
	json_object_set_string_member(o, "case", first->value);
	json_object_set_string_member(o, "type", name);
	json_array_add_object_element(variants, o);
}

/* The first of its members that has this value of the tag. */
static bool is_first(const struct qmp_member *members, const struct qmp_member *m)
{
	for (; members != m; members++)
		if (is_case(members, m->value))
			return false;
	return true;
}

static char *object_name(struct writer *w, const struct qmp_member *members)
{
	static const struct qmp_member none[] = { {} };
	JsonArray *list, *variants;
	const char *tag = NULL;
	JsonObject *o;
	char *name;

	members = members ? members : none;
	if (!name_of(w, members, &name))
		return name;
	list = json_array_new();
	variants = json_array_new();
	for (const struct qmp_member *m = members; m->name; m++) {
		if (!m->tag) {
			put_member(w, list, m);
		} else if (is_first(members, m)) {
			tag = m->tag;
			put_variant(w, variants, members, m);
		}
	}
	o = entry(w, name, "object");
	json_object_set_array_member(o, "members", list);
	if (tag) {
		json_object_set_string_member(o, "tag", tag);
		json_object_set_array_member(o, "variants", variants);
	} else {
		json_array_unref(variants);
	}
	return name;
}

static char *list_name(struct writer *w, const struct qmp_type *item)
{
	g_autofree char *of = type_name(w, item);
	char *name = g_strconcat("[", of, "]", NULL);

	if (g_hash_table_add(w->lists, g_strdup(name)))
		json_object_set_string_member(entry(w, name, "array"), "element-type", of);
	return name;
}

static char *type_name(struct writer *w, const struct qmp_type *type)
{
	switch (type->kind) {
	case QMP_STRING:
		return g_strdup("str");
	case QMP_INTEGER:
	case QMP_UINT32:
	case QMP_UINT64:
		return g_strdup("int");
	case QMP_NUMBER:
		return g_strdup("number");
	case QMP_BOOLEAN:
		return g_strdup("bool");
	case QMP_ENUM:
		return enum_name(w, type->values);
	case QMP_OBJECT:
		return object_name(w, type->members);
	case QMP_LIST:
		return list_name(w, type->item);
	case QMP_ANY:
		break;
	}
	return g_strdup("any");
}

static void put_builtins(struct writer *w)
{
	static const char *const types[][2] = { { "str", "string" },   { "int", "int" },     { "number", "number" },
						{ "bool", "boolean" }, { "any", "value" }, { "null", "null" } };

	for (unsigned i = 0; i < G_N_ELEMENTS(types); i++)
		json_object_set_string_member(entry(w, types[i][0], "builtin"), "json-type", types[i][1]);
}

JsonNode *qmp_introspect(const struct qmp_command *const *tables, unsigned n_tables, const char *const *events)
{
	struct writer w = { .list = json_array_new(),
			    .names = g_hash_table_new_full(NULL, NULL, NULL, g_free),
			    .lists = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL) };

	put_builtins(&w);
	for (unsigned i = 0; i < n_tables; i++)
		for (const struct qmp_command *c = tables[i]; c->name; c++) {
			g_autofree char *args = c->checks_args ? g_strdup("any") : object_name(&w, c->args);
			JsonObject *o = entry(&w, c->name, "command");

			json_object_set_string_member(o, "arg-type", args);
			json_object_set_string_member(o, "ret-type", "any");
			json_object_set_boolean_member(o, "allow-oob", FALSE);
		}
	for (; events && *events; events++)
		json_object_set_string_member(entry(&w, *events, "event"), "arg-type", "any");
	g_hash_table_unref(w.names);
	g_hash_table_unref(w.lists);
	return qmp_array(w.list);
}
