/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * As much of QEMU's object tree as there is here: /machine/peripheral with the devices of --device, --net, --disk, device_add,
 * their types and properties, and /objects with those of object-add; and what types there are, with what they take. Clients read
 * a balloon's statistics so. See qmp.h.
 */
#include <string.h>

#include "machine.h"
#include "net.h"
#include "qmp.h"
#include "query.h"
#include "vmm.h"

#define PERIPHERAL "/machine/peripheral"
#define OBJECTS	   "/objects"
/* Of a card: net_describe(). QEMU counts nothing there. */
#define NET_STATS "net-stats"

const struct qmp_member qmp_qom_list_args[] = { { "path", &qmp_string }, {} };
const struct qmp_member qmp_qom_get_args[] = { { "path", &qmp_string }, { "property", &qmp_string }, {} };
const struct qmp_member qmp_qom_set_args[] = {
	{ "path", &qmp_string },
	{ "property", &qmp_string },
	{ "value", &qmp_any },
	{},
};
const struct qmp_member qmp_qom_list_types_args[] = {
	{ "implements", &qmp_string, .optional = true },
	{ "abstract", &qmp_boolean, .optional = true },
	{},
};
const struct qmp_member qmp_typename_args[] = { { "typename", &qmp_string }, {} };

static void put_devices(struct vmm *vmm, JsonArray *list), put_objects(struct vmm *vmm, JsonArray *list);

/* The levels above devices and objects, and what each has below it. */
static const struct {
	const char *path;
	const char *children[3]; /* containers, or */
	void (*put)(struct vmm *vmm, JsonArray *list);
} containers[] = {
	{ "/", { "machine", "objects" }, NULL },
	{ "/machine", { "peripheral" }, NULL },
	{ PERIPHERAL, { NULL }, put_devices },
	{ OBJECTS, { NULL }, put_objects },
};

static int find_container(const char *path)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(containers); i++)
		if (g_str_equal(path, containers[i].path))
			return (int)i;
	return -1;
}

/* A device's id, which stands alone, too: QEMU takes what can only mean one. NULL: it is no device of the machine's. */
static const char *device_of(struct vmm *vmm, const char *path)
{
	const char *id = g_str_has_prefix(path, PERIPHERAL "/") ? path + strlen(PERIPHERAL "/") : path;
	g_autofree char *type = machine_device_type(vmm->machine, id);

	return type ? id : NULL;
}

/* Of --object or object-add. A secret is not told: it has no properties. */
static struct vmm_object *object_of(struct vmm *vmm, const char *path)
{
	const char *id = g_str_has_prefix(path, OBJECTS "/") ? path + strlen(OBJECTS "/") : path;

	return vmm_find_object(vmm, id);
}

static bool has_property(const struct vmm_object *o, const char *name)
{
	return o->type->properties && g_strv_contains(o->type->properties, name);
}

static JsonNode *no_object(const char *path, GError **error)
{
	return qmp_fail(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", path);
}

static void put(JsonArray *list, const char *name, const char *type, const char *description)
{
	JsonObject *o = json_object_new();

	json_object_set_string_member(o, "name", name);
	json_object_set_string_member(o, "type", type);
	if (description)
		json_object_set_string_member(o, "description", description);
	json_array_add_object_element(list, o);
}

static void put_child(JsonArray *list, const char *name, const char *of)
{
	g_autofree char *type = g_strdup_printf("child<%s>", of);

	put(list, name, type, NULL);
}

static void put_devices(struct vmm *vmm, JsonArray *list)
{
	g_auto(GStrv) ids = machine_devices(vmm->machine);

	for (unsigned i = 0; ids[i]; i++) {
		g_autofree char *type = machine_device_type(vmm->machine, ids[i]);

		put_child(list, ids[i], type);
	}
}

static void put_object(void *list, struct vmm_object *o)
{
	put_child(list, o->id, o->type->name);
}

static void put_objects(struct vmm *vmm, JsonArray *list)
{
	vmm_each_object(vmm, put_object, list);
}

static const char *json_type(const struct vmm_object *o, const char *property)
{
	g_autoptr(GVariant) value = g_variant_ref_sink(o->type->get(o, property));

	return g_variant_is_of_type(value, G_VARIANT_TYPE_INT64)   ? "int" :
	       g_variant_is_of_type(value, G_VARIANT_TYPE_BOOLEAN) ? "bool" :
	       g_variant_is_of_type(value, G_VARIANT_TYPE_STRING)  ? "string" :
								     "struct";
}

static void put_properties(const struct vmm_object *o, JsonArray *list)
{
	for (const char *const *p = o->type->properties; p && *p; p++)
		put(list, *p, json_type(o, *p), NULL);
}

JsonNode *qmp_qom_list(void *opaque, JsonObject *args, GError **error)
{
	const char *path = json_object_get_string_member(args, "path");
	int container = find_container(path);
	const char *id = container < 0 ? device_of(opaque, path) : NULL;
	const struct vmm_object *object = container < 0 && !id ? object_of(opaque, path) : NULL;
	g_autoptr(GVariant) properties = NULL;
	const char *name, *type, *help;
	JsonArray *list;
	GVariantIter iter;

	if (container < 0 && !id && !object)
		return no_object(path, error);
	list = json_array_new();
	put(list, "type", "string", NULL);
	if (id) {
		properties = machine_properties(((struct vmm *)opaque)->machine, id);
		g_variant_iter_init(&iter, properties);
		while (g_variant_iter_next(&iter, "(&s&s&sb)", &name, &type, &help, NULL))
			put(list, name, type, help);
		if (vmm_netdev_of_card(opaque, id))
			put(list, NET_STATS, "net statistics", "what passed the card, port forwards, its lease");
	} else if (object) {
		put_properties(object, list);
	} else if (container >= 0) {
		for (const char *const *child = containers[container].children; *child; child++)
			put_child(list, *child, "container");
		if (containers[container].put)
			containers[container].put(opaque, list);
	}
	return qmp_array(list);
}

static JsonNode *no_property(const char *type, const char *name, GError **error)
{
	return qmp_fail(error, QMP_ERROR_GENERIC, "Property '%s.%s' not found", type, name);
}

JsonNode *qmp_qom_get(void *opaque, JsonObject *args, GError **error)
{
	const char *path = json_object_get_string_member(args, "path"), *name = json_object_get_string_member(args, "property");
	struct machine *m = ((struct vmm *)opaque)->machine;
	int container = find_container(path);
	const char *id = container < 0 ? device_of(opaque, path) : NULL;
	const struct vmm_object *object = container < 0 && !id ? object_of(opaque, path) : NULL;
	g_autofree char *type = id ? machine_device_type(m, id) : NULL;
	g_autoptr(GVariant) value = NULL;

	if (!type)
		type = g_strdup(container >= 0 ? "container" : object ? object->type->name : NULL);
	if (!type)
		return no_object(path, error);
	if (g_str_equal(name, "type"))
		return json_node_init_string(json_node_alloc(), type);
	if (id && g_str_equal(name, NET_STATS) && vmm_netdev_of_card(opaque, id))
		value = net_describe(vmm_netdev_of_card(opaque, id)->net);
	else if (id)
		value = machine_get(m, id, name);
	else if (object && has_property(object, name))
		value = g_variant_ref_sink(object->type->get(object, name));
	return value ? json_gvariant_serialize(value) : no_property(type, name, error);
}

/* 1: it can be set; 0: not that; -1: there is no such property. */
static int is_writable(struct machine *m, const char *id, const char *property)
{
	g_autoptr(GVariant) list = machine_properties(m, id);
	const char *name;
	gboolean writable;
	GVariantIter iter;

	g_variant_iter_init(&iter, list);
	while (g_variant_iter_next(&iter, "(&s&s&sb)", &name, NULL, NULL, &writable))
		if (g_str_equal(name, property))
			return writable;
	return -1;
}

static bool is_integer(JsonNode *node)
{
	return JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_INT64;
}

static JsonNode *set_of_object(struct vmm_object *o, const char *name, JsonNode *given, GError **error)
{
	g_autoptr(GVariant) value = NULL, now = NULL;

	if (!has_property(o, name))
		return no_property(o->type->name, name, error);
	if (!o->type->set)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Property '%s.%s' is not writable", o->type->name, name);
	now = g_variant_ref_sink(o->type->get(o, name));
	if (g_variant_is_of_type(now, G_VARIANT_TYPE_INT64) && !is_integer(given))
		return qmp_fail(error, QMP_ERROR_GENERIC, "Invalid parameter type for '%s', expected: integer", name);
	if (g_variant_is_of_type(now, G_VARIANT_TYPE_VARDICT) && !JSON_NODE_HOLDS_OBJECT(given))
		return qmp_fail(error, QMP_ERROR_GENERIC, "Invalid parameter type for '%s', expected: object", name);
	value = json_gvariant_deserialize(given, g_variant_get_type_string(now), error);
	if (!value)
		return NULL;
	g_variant_ref_sink(value);
	return o->type->set(o, name, value, error) ? qmp_nothing() : NULL;
}

JsonNode *qmp_qom_set(void *opaque, JsonObject *args, GError **error)
{
	const char *path = json_object_get_string_member(args, "path"), *name = json_object_get_string_member(args, "property");
	struct machine *m = ((struct vmm *)opaque)->machine;
	const char *id = device_of(opaque, path);
	JsonNode *given = json_object_get_member(args, "value");
	g_autofree char *type = id ? machine_device_type(m, id) : NULL, *owner = NULL;
	g_autoptr(GVariant) value = NULL;
	struct vmm_object *object = id ? NULL : object_of(opaque, path);
	int writable;

	if (object)
		return set_of_object(object, name, given, error);
	if (!id)
		return no_object(path, error);
	owner = qmp_property_owner(type);
	writable = is_writable(m, id, name);
	if (writable < 0)
		return no_property(type, name, error);
	if (!writable)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Property '%s.%s' is not writable", owner, name);
	if (!is_integer(given))
		return qmp_fail(error, QMP_ERROR_GENERIC, "Invalid parameter type for '%s', expected: integer", name);
	value = g_variant_ref_sink(g_variant_new_int64(json_node_get_int(given)));
	return machine_set(m, id, name, value, error) ? qmp_nothing() : NULL;
}

/* Types are devices', none of them abstract. */
JsonNode *qmp_qom_list_types(void *opaque, JsonObject *args, GError **error)
{
	const char *implements = qmp_text(args, "implements");
	g_auto(GStrv) classes = machine_classes();
	JsonArray *list = json_array_new();

	for (unsigned i = 0; classes[i]; i++) {
		JsonObject *o;

		if (implements && !g_str_equal(implements, "device") && !g_str_equal(implements, classes[i]))
			continue;
		o = json_object_new();
		json_object_set_string_member(o, "name", classes[i]);
		json_object_set_string_member(o, "parent", "device");
		json_array_add_object_element(list, o);
	}
	return qmp_array(list);
}

static JsonNode *list_options(const char *type)
{
	g_autoptr(GVariant) options = machine_class_options(type);
	const char *name, *kind, *help;
	JsonArray *list;
	GVariantIter iter;

	if (!options)
		return NULL;
	list = json_array_new();
	g_variant_iter_init(&iter, options);
	while (g_variant_iter_next(&iter, "(&s&s&s)", &name, &kind, &help))
		put(list, name, kind, help);
	return qmp_array(list);
}

JsonNode *qmp_qom_list_properties(void *opaque, JsonObject *args, GError **error)
{
	const char *type = json_object_get_string_member(args, "typename");
	JsonNode *list = list_options(type);

	return list ? list : qmp_fail(error, QMP_ERROR_DEVICE_NOT_FOUND, "Class '%s' not found", type);
}

JsonNode *qmp_device_list_properties(void *opaque, JsonObject *args, GError **error)
{
	const char *type = json_object_get_string_member(args, "typename");
	JsonNode *list = list_options(type);

	return list ? list : qmp_fail(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", type);
}
