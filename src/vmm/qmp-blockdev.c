/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blockdev-add and blockdev-del: from QEMU's BlockdevOptions (qapi/block-core.json) to open images that stand on each other.
 * A driver is a row here: "file" and its like are raw images whose file a format's image may be in. What QEMU has and we have
 * not is refused by name. See qmp-block.h.
 */
#include "qmp-block.h"

#include <string.h>

#include "error.h"
#include "filter.h"
#include "format.h"
#include "graph.h"
#include "vmm.h"

enum { DEPTH_MAX = 64 };

enum key_kind {
	KEY_STRING,
	KEY_FLAG,
	KEY_SIZE,
	KEY_OBJECT,
	KEY_ONLY,    /* a flag that has to be what we do anyway: `only` */
	KEY_SPECIAL, /* looked at by its driver's function */
};

struct key {
	const char *name; /* QEMU's */
	enum key_kind kind;
	const char *option; /* image_open()'s; NULL: it is looked at elsewhere */
	bool only;
	const struct key *members; /* of an object */
};

static const struct key cache_keys[] = { { "direct", KEY_FLAG }, { "no-flush", KEY_FLAG }, {} };
static const struct key server_keys[] = {
	{ "type", KEY_STRING }, { "path", KEY_STRING }, { "host", KEY_STRING }, { "port", KEY_STRING }, {},
};

/* In the order in which QEMU looks at them. */
static const struct key common_keys[] = {
	{ "driver", KEY_STRING },
	{ "node-name", KEY_STRING },
	{ "discard", KEY_STRING },
	{ "cache", KEY_OBJECT, .members = cache_keys },
	{ "read-only", KEY_FLAG, "readonly" },
	{ "auto-read-only", KEY_FLAG, "auto-readonly" },
	{ "force-share", KEY_FLAG, "force-share" },
	{ "detect-zeroes", KEY_STRING },
	{},
};

static const struct key file_keys[] = {
	{ "filename", KEY_STRING, "file" },
	{ "aio", KEY_STRING, "aio" },
	{ "locking", KEY_STRING },
	{ "drop-cache", KEY_ONLY, NULL, true },
	{ "x-check-cache-dropped", KEY_ONLY, NULL, false },
	{},
};

static const struct key nbd_keys[] = { { "server", KEY_OBJECT, .members = server_keys }, { "export", KEY_STRING }, {} };
static const struct key format_keys[] = { { "file", KEY_SPECIAL }, {} };

static const struct key qcow2_keys[] = {
	{ "file", KEY_SPECIAL },
	{ "backing", KEY_SPECIAL },
	{ "l2-cache-size", KEY_SIZE, "l2-cache-size" },
	{ "refcount-cache-size", KEY_SIZE, "refcount-cache-size" },
	{ "pass-discard-request", KEY_ONLY, NULL, true },
	{ "pass-discard-snapshot", KEY_ONLY, NULL, true },
	{},
};

/* Filters take what is below them as it is. */
static const struct key throttle_keys[] = { { "throttle-group", KEY_STRING }, { "file", KEY_SPECIAL }, {} };

enum driver_kind { DRIVER_FILE, DRIVER_NBD, DRIVER_FORMAT, DRIVER_THROTTLE, DRIVER_COPY };

struct driver {
	const char *name;
	enum driver_kind kind;
	const struct key *keys;
};

static const struct driver drivers[] = {
	{ "file", DRIVER_FILE, file_keys },
	{ "host_device", DRIVER_FILE, file_keys },
	{ "nbd", DRIVER_NBD, nbd_keys },
	{ "raw", DRIVER_FORMAT, format_keys },
	{ "qcow2", DRIVER_FORMAT, qcow2_keys },
	{ "vmdk", DRIVER_FORMAT, format_keys },
	{ "vpc", DRIVER_FORMAT, format_keys },
	{ "vhdx", DRIVER_FORMAT, format_keys },
	{ "vdi", DRIVER_FORMAT, format_keys },
	{ "throttle", DRIVER_THROTTLE, throttle_keys },
	{ "copy-on-read", DRIVER_COPY, format_keys },
};

/* One blockdev-add: what is opened on the way is named at once, and forgotten when something fails. */
struct adding {
	struct vmm *vmm;
	unsigned depth;
};

static struct image *open_node(struct adding *a, JsonObject *o, GError **error);

static const struct key *find_key(const struct key *keys, const char *name)
{
	for (; keys->name; keys++)
		if (strcmp(keys->name, name) == 0)
			return keys;
	return NULL;
}

static bool is_type(JsonNode *v, GType type)
{
	return JSON_NODE_HOLDS_VALUE(v) && json_node_get_value_type(v) == type;
}

static bool wrong_type(const char *name, const char *expected, GError **error)
{
	qmp_fail(error, QMP_ERROR_GENERIC, "Invalid parameter type for '%s', expected: %s", name, expected);
	return false;
}

/* Of an object: they are looked at elsewhere. */
static bool check_members(const struct key *object, JsonNode *v, GError **error)
{
	JsonObjectIter iter;
	const char *name;

	if (!JSON_NODE_HOLDS_OBJECT(v))
		return wrong_type(object->name, "object", error);
	json_object_iter_init_ordered(&iter, json_node_get_object(v));
	while (json_object_iter_next_ordered(&iter, &name, &v)) {
		const struct key *key = find_key(object->members, name);
		g_autofree char *full = g_strdup_printf("%s.%s", object->name, name);

		if (!key)
			return qmp_fail(error, QMP_ERROR_GENERIC, "Parameter '%s' is unexpected", full);
		if (!is_type(v, key->kind == KEY_FLAG ? G_TYPE_BOOLEAN : G_TYPE_STRING))
			return wrong_type(full, key->kind == KEY_FLAG ? "boolean" : "string", error);
	}
	return true;
}

static bool take_key(const struct key *key, JsonNode *v, GVariantDict *dict, GError **error)
{
	switch (key->kind) {
	case KEY_STRING:
		if (!is_type(v, G_TYPE_STRING))
			return wrong_type(key->name, "string", error);
		if (key->option)
			g_variant_dict_insert(dict, key->option, "s", json_node_get_string(v));
		return true;
	case KEY_FLAG:
		if (!is_type(v, G_TYPE_BOOLEAN))
			return wrong_type(key->name, "boolean", error);
		g_variant_dict_insert(dict, key->option, "b", json_node_get_boolean(v));
		return true;
	case KEY_SIZE:
		if (!is_type(v, G_TYPE_INT64) || json_node_get_int(v) < 0)
			return wrong_type(key->name, "integer", error);
		g_variant_dict_insert(dict, key->option, "t", (guint64)json_node_get_int(v));
		return true;
	case KEY_OBJECT:
		return check_members(key, v, error);
	case KEY_ONLY:
		if (!is_type(v, G_TYPE_BOOLEAN))
			return wrong_type(key->name, "boolean", error);
		return json_node_get_boolean(v) == key->only ||
		       kv_fail(error, KV_ERROR_UNSUPPORTED, "'%s' cannot be %s here", key->name, key->only ? "off" : "on");
	case KEY_SPECIAL:
		return true;
	}
	return false;
}

/* The types of what all drivers have. */
static bool check_common(JsonObject *o, GError **error)
{
	g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);

	for (const struct key *key = common_keys; key->name; key++) {
		JsonNode *v = json_object_get_member(o, key->name);

		if (v && !take_key(key, v, &dict, error))
			return false;
	}
	return true;
}

static bool take_keys(const struct driver *d, JsonObject *o, GVariantDict *dict, GError **error)
{
	JsonObjectIter iter;
	const char *name;
	JsonNode *value;

	json_object_iter_init_ordered(&iter, o);
	while (json_object_iter_next_ordered(&iter, &name, &value)) {
		const struct key *key = find_key(common_keys, name);

		if (!key)
			key = find_key(d->keys, name);
		if (!key) {
			qmp_fail(error, QMP_ERROR_GENERIC, "Parameter '%s' is unexpected", name);
			return false;
		}
		if (!take_key(key, value, dict, error))
			return false;
	}
	return true;
}

static const char *get_string(JsonObject *o, const char *name)
{
	JsonNode *v = json_object_get_member(o, name);

	return v && is_type(v, G_TYPE_STRING) ? json_node_get_string(v) : NULL;
}

static bool get_flag(JsonObject *o, const char *name, bool otherwise)
{
	JsonNode *v = json_object_get_member(o, name);

	return v && is_type(v, G_TYPE_BOOLEAN) ? json_node_get_boolean(v) : otherwise;
}

/* {"direct": true, "no-flush": false}; whether writes wait for the disk is the guest's decision. */
static bool take_cache(JsonObject *o, GVariantDict *dict, GError **error)
{
	JsonNode *v = json_object_get_member(o, "cache");

	if (!v)
		return true;
	if (get_flag(json_node_get_object(v), "no-flush", false))
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "cache.no-flush is a guest disk's: give cache=unsafe with --disk");
	g_variant_dict_insert(dict, "direct", "b", get_flag(json_node_get_object(v), "direct", false));
	return true;
}

static bool check_word(JsonObject *o, const char *name, const char *const *words, GError **error)
{
	const char *text = get_string(o, name);

	if (!text || g_strv_contains(words, text))
		return true;
	qmp_fail(error, QMP_ERROR_GENERIC, "Parameter '%s' does not accept value '%s'", name, text);
	return false;
}

/* Guest disks have these themselves (--disk discard=, detect-zeroes=): a node takes the words that it can keep. */
static bool check_words(JsonObject *o, GError **error)
{
	static const char *const discard[] = { "ignore", "unmap", NULL }, *const zeroes[] = { "off", NULL },
				  *const locking[] = { "auto", "on", "off", NULL };

	return check_word(o, "discard", discard, error) && check_word(o, "detect-zeroes", zeroes, error) &&
	       check_word(o, "locking", locking, error);
}

/* "file": a node's name or another object. */
static struct image *open_reference(struct adding *a, JsonObject *o, const char *name, GError **error)
{
	JsonNode *v = json_object_get_member(o, name);
	struct block_node *node;

	if (!v) {
		qmp_fail(error, QMP_ERROR_GENERIC, "Parameter '%s' is missing", name);
		return NULL;
	}
	if (JSON_NODE_HOLDS_OBJECT(v))
		return open_node(a, json_node_get_object(v), error);
	if (!is_type(v, G_TYPE_STRING)) {
		wrong_type(name, "BlockdevRef", error);
		return NULL;
	}
	node = graph_find(a->vmm->graph, json_node_get_string(v));
	if (node)
		return image_ref(node->img);
	qmp_fail(error, QMP_ERROR_GENERIC, "Cannot find device='%s' nor node-name='%s'", json_node_get_string(v),
		 json_node_get_string(v));
	return NULL;
}

struct image *qmp_open_reference(struct vmm *vmm, JsonObject *o, const char *name, GError **error)
{
	struct adding a = { .vmm = vmm };

	return open_reference(&a, o, name, error);
}

/* Filters are what drives and exports are on. */
static bool is_image(const struct image *img, const struct driver *d, GError **error)
{
	return !image_is_filter(img) || kv_fail(error, KV_ERROR_UNSUPPORTED, "a %s node cannot be on a %s node, but that on it",
						d->name, img->format->name);
}

static struct image *open_format(struct adding *a, const struct driver *d, JsonObject *o, GVariantDict *dict, GError **error)
{
	JsonNode *below = json_object_get_member(o, "backing");
	g_autoptr(GVariant) options = NULL;
	struct image *storage = open_reference(a, o, "file", error), *backing = NULL, *img = NULL;

	if (!storage)
		return NULL;
	if (!is_image(storage, d, error) || !graph_is_free(a->vmm->graph, storage, error))
		goto out;
	if (below && JSON_NODE_HOLDS_NULL(below))
		g_variant_dict_insert(dict, "backing", "s", "");
	else if (below && (!(backing = open_reference(a, o, "backing", error)) || !is_image(backing, d, error)))
		goto out;
	g_variant_dict_insert(dict, "format", "s", d->name);
	options = g_variant_ref_sink(g_variant_dict_end(dict));
	img = image_open_on(storage, backing, options, error);
out:
	image_close(storage);
	image_close(backing);
	return img;
}

/* An NBD export as the URI that image_open() knows. */
static char *nbd_uri(JsonObject *o, GError **error)
{
	const char *export = get_string(o, "export"), *type, *path, *host, *port;
	JsonNode *v = json_object_get_member(o, "server");
	g_autofree char *name = g_uri_escape_string(export ? export : "", NULL, FALSE);
	JsonObject *server;

	if (!v || !JSON_NODE_HOLDS_OBJECT(v)) {
		qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'server' is missing");
		return NULL;
	}
	server = json_node_get_object(v);
	type = get_string(server, "type");
	path = get_string(server, "path");
	host = get_string(server, "host");
	port = get_string(server, "port");
	if (g_strcmp0(type, "unix") == 0 && path) {
		g_autofree char *socket = g_uri_escape_string(path, "/", FALSE);

		return g_strdup_printf("nbd+unix:///%s?socket=%s", name, socket);
	}
	if (g_strcmp0(type, "inet") == 0 && host && port)
		return strchr(host, ':') ? g_strdup_printf("nbd://[%s]:%s/%s", host, port, name) :
					   g_strdup_printf("nbd://%s:%s/%s", host, port, name);
	qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'server.type' needs unix with a path, or inet with host and port");
	return NULL;
}

static struct image *open_storage(const struct driver *d, JsonObject *o, GVariantDict *dict, GError **error)
{
	g_autofree char *uri = d->kind == DRIVER_NBD ? nbd_uri(o, error) : NULL;
	g_autoptr(GVariant) options = NULL;

	if (d->kind == DRIVER_NBD && !uri)
		return NULL;
	if (uri)
		g_variant_dict_insert(dict, "file", "s", uri);
	if (d->kind == DRIVER_FILE && !get_string(o, "filename")) {
		qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'filename' is missing");
		return NULL;
	}
	if (get_string(o, "aio") && strcmp(get_string(o, "aio"), "native") == 0)
		g_variant_dict_insert(dict, "aio", "s", "auto");
	if (get_flag(o, "auto-read-only", false))
		g_variant_dict_insert(dict, "readonly", "b", TRUE);
	g_variant_dict_insert(dict, "format", "s", "raw");
	options = g_variant_ref_sink(g_variant_dict_end(dict));
	return image_open(options, error);
}

static bool check_filter(const struct driver *d, JsonObject *o, GError **error)
{
	static const char *const below[] = { "cache", "force-share", "auto-read-only" };

	for (unsigned i = 0; i < G_N_ELEMENTS(below); i++)
		if (json_object_has_member(o, below[i]))
			return kv_fail(error, KV_ERROR_UNSUPPORTED, "'%s' is for the node below a %s node", below[i], d->name);
	return true;
}

static struct image *open_filter(struct adding *a, const struct driver *d, JsonObject *o, GError **error)
{
	const char *name = get_string(o, "throttle-group");
	struct throttle_group *group = name ? throttle_group_find(name) : NULL;
	bool readonly = get_flag(o, "read-only", false);
	struct image *below = check_filter(d, o, error) ? open_reference(a, o, "file", error) : NULL, *img = NULL;

	if (!below)
		return NULL;
	if (d->kind == DRIVER_COPY)
		img = image_copy_on_read_new(below, readonly);
	else if (group)
		img = image_throttle_new(below, group, readonly);
	else if (name)
		qmp_fail(error, QMP_ERROR_GENERIC, "Throttle group '%s' does not exist", name);
	else
		qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'throttle-group' is missing");
	image_close(below);
	return img;
}

static const struct driver *find_driver(JsonObject *o, GError **error)
{
	const char *name = get_string(o, "driver");

	for (size_t i = 0; name && i < G_N_ELEMENTS(drivers); i++)
		if (strcmp(drivers[i].name, name) == 0)
			return &drivers[i];
	if (name)
		qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'driver' does not accept value '%s'", name);
	else
		qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'driver' is missing");
	return NULL;
}

static struct image *open_image(struct adding *a, JsonObject *o, GError **error)
{
	const struct driver *d = find_driver(o, error);
	g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);

	if (!d || !take_keys(d, o, &dict, error) || !check_words(o, error) || !take_cache(o, &dict, error))
		return NULL;
	if (d->kind == DRIVER_THROTTLE || d->kind == DRIVER_COPY)
		return open_filter(a, d, o, error);
	return d->kind == DRIVER_FORMAT ? open_format(a, d, o, &dict, error) : open_storage(d, o, &dict, error);
}

static void free_how(void *how)
{
	json_object_unref(how);
}

static struct image *open_node(struct adding *a, JsonObject *o, GError **error)
{
	const char *name = get_string(o, "node-name");
	struct block_node *node;
	struct image *img = NULL;

	if (a->depth++ >= DEPTH_MAX)
		kv_fail(error, KV_ERROR_USAGE, "images are more than %d deep", DEPTH_MAX);
	else
		img = open_image(a, o, error);
	a->depth--;
	node = img ? graph_add(a->vmm->graph, name, img, error) : NULL;
	if (!node) {
		g_clear_pointer(&img, image_close);
		return NULL;
	}
	node->how = json_object_ref(o);
	node->free_how = free_how;
	return img;
}

const struct qmp_member qmp_blockdev_del_args[] = { { "node-name", &qmp_string }, {} };

JsonNode *qmp_blockdev_add(void *opaque, JsonObject *args, GError **error)
{
	struct adding a = { .vmm = opaque };
	struct block_graph *g = a.vmm->graph;
	struct image *img;

	if (!json_object_has_member(args, "driver"))
		return qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'driver' is missing");
	if (!check_common(args, error))
		return NULL;
	if (!get_string(args, "node-name"))
		return qmp_fail(error, QMP_ERROR_GENERIC, "'node-name' must be specified for the root node");
	img = open_node(&a, args, error);
	if (img)
		graph_find_image(g, img)->added = true;
	image_close(img);
	graph_sweep(g);
	return img ? qmp_nothing() : NULL;
}

JsonNode *qmp_blockdev_del(void *opaque, JsonObject *args, GError **error)
{
	struct block_graph *g = ((struct vmm *)opaque)->graph;
	const char *name = json_object_get_string_member(args, "node-name");
	struct block_node *node = graph_find(g, name);

	if (!node)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Failed to find node with node-name='%s'", name);
	return graph_del(g, node, error) ? qmp_nothing() : NULL;
}
