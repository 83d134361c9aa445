/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NBD server inside kv-vmm: nbd-server-start and -stop, exports of nodes (qapi/block-export.json). A guest's disk may be
 * exported while it runs: reading alone, unless it is asked for. See qmp-block.h.
 */
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "bitmap.h"
#include "error.h"
#include "graph.h"
#include "listen.h"
#include "nbd-server.h"
#include "qmp-object.h"
#include "qmp-block.h"
#include "vmm.h"

struct vmm_export {
	struct block_user user;
	struct vmm *vmm;
	char *id;
	struct nbd_export *export;
	struct image *img; /* a reference */
	struct image_bitmap **bitmaps;
	unsigned n_bitmaps;
	struct vmm_export *next;
};

struct vmm_nbd {
	struct nbd_server *server;
	char *socket; /* a Unix socket's path, to be removed; NULL: TCP */
	struct vmm_export *exports;
};

/* ---- arguments ---- */

const struct qmp_member qmp_nbd_server_start_args[] = {
	{ "addr", &qmp_socket_address },
	{ "tls-creds", &qmp_string, .optional = true },
	{ "max-connections", &qmp_uint32, .optional = true },
	{},
};

const struct qmp_member qmp_nbd_server_add_args[] = {
	{ "device", &qmp_string },
	{ "name", &qmp_string, .optional = true },
	{ "description", &qmp_string, .optional = true },
	{ "writable", &qmp_boolean, .optional = true },
	{ "bitmap", &qmp_string, .optional = true },
	{},
};

static const char *const remove_modes[] = { "safe", "hard", NULL };
static const struct qmp_type remove_mode = { .kind = QMP_ENUM, .values = remove_modes };
const struct qmp_member qmp_nbd_server_remove_args[] = {
	{ "name", &qmp_string },
	{ "mode", &remove_mode, .optional = true },
	{},
};

static const char *const export_types[] = { "nbd", NULL };
static const struct qmp_type export_type = { .kind = QMP_ENUM, .values = export_types };
const struct qmp_member qmp_block_export_add_args[] = {
	{ "type", &export_type },
	{ "id", &qmp_string },
	{ "node-name", &qmp_string },
	{ "writable", &qmp_boolean, .optional = true },
	{ "writethrough", &qmp_boolean, .optional = true },
	{ "name", &qmp_string, .optional = true },
	{ "description", &qmp_string, .optional = true },
	{ "bitmaps", &qmp_any, .optional = true },
	{ "allocation-depth", &qmp_boolean, .optional = true },
	{},
};
const struct qmp_member qmp_block_export_del_args[] = {
	{ "id", &qmp_string },
	{ "mode", &remove_mode, .optional = true },
	{},
};

static bool flag(JsonObject *o, const char *name)
{
	return json_object_get_boolean_member_with_default(o, name, FALSE);
}

/* ---- the server ---- */

static int listen_at(JsonObject *addr, char **ret_socket, GError **error)
{
	bool is_unix = strcmp(json_object_get_string_member(addr, "type"), "unix") == 0;
	JsonObject *o = json_object_get_object_member(addr, "data");
	int fd;

	if (!is_unix)
		return kv_listen_tcp(json_object_get_string_member(o, "host"), json_object_get_string_member(o, "port"), error);
	fd = kv_listen_unix("NBD socket", json_object_get_string_member(o, "path"), error);
	if (fd >= 0)
		*ret_socket = g_strdup(json_object_get_string_member(o, "path"));
	return fd;
}

JsonNode *qmp_nbd_server_start(void *opaque, JsonObject *args, GError **error)
{
	gint64 max = json_object_get_int_member_with_default(args, "max-connections", 100);
	const char *creds_id = qmp_text(args, "tls-creds");
	struct nbd_server_options options = { 0 };
	struct qmp_tls_creds creds = { 0 };
	struct vmm *vmm = opaque;
	g_autofree char *socket = NULL;
	struct nbd_server *server;
	int fd;

	if (vmm->nbd)
		return qmp_fail(error, QMP_ERROR_GENERIC, "NBD server already running");
	if (max < 0 || max > G_MAXINT)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'max-connections' expects uint32_t");
	if (creds_id && !qmp_tls_creds(vmm, creds_id, true, &creds, error))
		return NULL;
	options.max_connections = max;
	options.tls_creds = creds.dir;
	options.tls_verify_peer = creds.verify_peer;
	options.tls_password = creds.password;
	server = nbd_server_new(NULL, &options, error);
	g_free(creds.password);
	fd = server ? listen_at(json_object_get_object_member(args, "addr"), &socket, error) : -1;
	if (fd < 0) {
		nbd_server_free(server);
		return NULL;
	}
	nbd_server_listen(server, fd);
	vmm->nbd = g_new0(struct vmm_nbd, 1);
	vmm->nbd->server = server;
	vmm->nbd->socket = g_steal_pointer(&socket);
	return qmp_nothing();
}

static void free_export(struct vmm_export *e)
{
	struct vmm *vmm = e->vmm;

	if (e->export)
		nbd_export_remove(e->export);
	for (unsigned i = 0; i < e->n_bitmaps; i++) {
		struct image *img = e->bitmaps[i]->img;

		e->bitmaps[i]->busy = false;
		image_close(img);
	}
	graph_remove_user(vmm->graph, &e->user);
	image_close(e->img);
	graph_sweep(vmm->graph);
	g_free(e->bitmaps);
	g_free(e->id);
	g_free(e);
}

static void export_gone(struct vmm_export *e)
{
	struct vmm *vmm = e->vmm;
	JsonObject *data = json_object_new();

	for (struct vmm_export **at = &vmm->nbd->exports; *at; at = &(*at)->next)
		if (*at == e) {
			*at = e->next;
			break;
		}
	json_object_set_string_member(data, "id", e->id);
	free_export(e);
	qmp_event(vmm, "BLOCK_EXPORT_DELETED", data);
}

void qmp_nbd_close(struct vmm *vmm)
{
	struct vmm_nbd *n = vmm->nbd;

	if (!n)
		return;
	nbd_server_stop_listening(n->server);
	while (n->exports)
		export_gone(n->exports);
	nbd_server_free(n->server);
	if (n->socket)
		unlink(n->socket);
	g_free(n->socket);
	g_free(n);
	vmm->nbd = NULL;
}

bool qmp_nbd_has_exports(const struct vmm *vmm)
{
	return vmm->nbd && vmm->nbd->exports;
}

static bool running(struct vmm *vmm, GError **error)
{
	return vmm->nbd || kv_fail(error, KV_ERROR_USAGE, "NBD server not running");
}

JsonNode *qmp_nbd_server_stop(void *opaque, JsonObject *args, GError **error)
{
	if (!running(opaque, error))
		return NULL;
	qmp_nbd_close(opaque);
	return qmp_nothing();
}

/* ---- exports ---- */

static struct vmm_export *find_export(struct vmm *vmm, const char *id)
{
	for (struct vmm_export *e = vmm->nbd ? vmm->nbd->exports : NULL; e; e = e->next)
		if (strcmp(e->id, id) == 0)
			return e;
	return NULL;
}

/* One that is given by its name is the node's or of an image below it. */
static bool has_bitmap(struct image *img, JsonNode *which, GError **error)
{
	const char *name = JSON_NODE_HOLDS_VALUE(which) ? json_node_get_string(which) : NULL;

	while (img && name && !image_bitmap_find(img, name, NULL))
		img = img->backing;
	return img || !name || kv_fail(error, KV_ERROR_USAGE, "Bitmap '%s' is not found", name);
}

/* The bitmaps of an export, by name, or {"node", "name"}; they are busy as long as it is there. */
static bool take_bitmaps(struct vmm_export *e, struct image **img, JsonArray *names, bool writable, struct nbd_bitmap *rows,
			 GError **error)
{
	guint n = names ? json_array_get_length(names) : 0;

	if (n > NBD_BITMAPS_MAX)
		return kv_fail(error, KV_ERROR_USAGE, "an export has %d bitmaps at most", NBD_BITMAPS_MAX);
	e->bitmaps = g_new0(struct image_bitmap *, n);
	for (guint i = 0; i < n; i++) {
		JsonNode *which = json_array_get_element(names, i);
		struct image_bitmap *b =
			has_bitmap(*img, which, error) ? qmp_find_bitmap_of(e->vmm, *img, which, error) : NULL;

		if (!b)
			return false;
		/* What clients see may not change under them, unless they change it. */
		if (!writable && !(*img)->readonly && b->recording)
			return kv_fail(error, KV_ERROR_USAGE, "Enabled bitmap '%s' incompatible with readonly export", b->name);
		rows[i] = nbd_bitmap_of(b);
		b->busy = true;
		image_ref(b->img); /* which may be another one than what is exported */
		e->bitmaps[e->n_bitmaps++] = b;
	}
	return true;
}

static bool add_export(struct vmm *vmm, const char *id, const char *device, const char *node, JsonArray *bitmaps,
		       struct nbd_export_options *options, GError **error)
{
	struct nbd_bitmap rows[NBD_BITMAPS_MAX];
	struct vmm_export *e;
	struct image *img;

	if (!qmp_check_id(id, NULL))
		return kv_fail(error, KV_ERROR_USAGE, "Invalid block export id");
	if (find_export(vmm, id))
		return kv_fail(error, KV_ERROR_USAGE, "Block export id '%s' is already in use", id);
	img = graph_lookup(vmm->graph, device, node, error);
	if (!img)
		return false;
	if (options->writable && img->readonly)
		return kv_fail(error, KV_ERROR_USAGE, "Block node is read-only");
	if (options->writable && graph_in_use(vmm->graph, img))
		return kv_fail(error, KV_ERROR_BUSY, "disk '%s' is in use, and cannot be exported for writing as well",
			       img->path);
	e = g_new0(struct vmm_export, 1);
	*e = (struct vmm_export){ .vmm = vmm, .id = g_strdup(id), .img = image_ref(img) };
	e->user = (struct block_user){ .img = img };
	graph_add_user(vmm->graph, &e->user);
	if (take_bitmaps(e, &img, bitmaps, options->writable, rows, error)) {
		options->bitmaps = rows;
		options->n_bitmaps = e->n_bitmaps;
		e->export = nbd_export_add(vmm->nbd->server, img, options, error);
	}
	if (!e->export) {
		free_export(e);
		return false;
	}
	e->next = vmm->nbd->exports;
	vmm->nbd->exports = e;
	return true;
}

JsonNode *qmp_nbd_server_add(void *opaque, JsonObject *args, GError **error)
{
	const char *device = json_object_get_string_member(args, "device"), *name = qmp_text(args, "name");
	g_autoptr(JsonArray) bitmaps = json_array_new();
	struct nbd_export_options options = { .name = name ? name : device, .description = qmp_text(args, "description"),
					      .writable = flag(args, "writable") };
	struct vmm *vmm = opaque;
	struct image *img;

	if (!running(vmm, error))
		return NULL;
	/* Unlike block-export-add, this makes do with reading where there is no writing. */
	img = graph_lookup(vmm->graph, device, device, NULL);
	options.writable = options.writable && img && !img->readonly;
	if (qmp_text(args, "bitmap"))
		json_array_add_string_element(bitmaps, qmp_text(args, "bitmap"));
	return add_export(opaque, options.name, device, device, bitmaps, &options, error) ? qmp_nothing() : NULL;
}

static JsonNode *remove_export(struct vmm *vmm, const char *id, bool hard, GError **error)
{
	struct vmm_export *e = find_export(vmm, id);

	if (!e)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Export '%s' is not found", id);
	if (!hard && nbd_export_connections(e->export))
		return qmp_fail(error, QMP_ERROR_GENERIC, "export '%s' still in use", id);
	export_gone(e);
	return qmp_nothing();
}

JsonNode *qmp_nbd_server_remove(void *opaque, JsonObject *args, GError **error)
{
	bool hard = g_strcmp0(qmp_text(args, "mode"), "hard") == 0;

	return remove_export(opaque, json_object_get_string_member(args, "name"), hard, error);
}

JsonNode *qmp_block_export_add(void *opaque, JsonObject *args, GError **error)
{
	const char *node = json_object_get_string_member(args, "node-name"), *name = qmp_text(args, "name");
	JsonNode *bitmaps = json_object_get_member(args, "bitmaps");
	struct nbd_export_options options = { .name = name ? name : node, .description = qmp_text(args, "description"),
					      .writable = flag(args, "writable"),
					      .allocation_depth = flag(args, "allocation-depth") };

	if (!running(opaque, error))
		return NULL;
	if (flag(args, "writethrough"))
		return qmp_fail(error, QMP_ERROR_GENERIC, "writethrough is not supported: clients flush");
	if (bitmaps && !JSON_NODE_HOLDS_ARRAY(bitmaps))
		return qmp_fail(error, QMP_ERROR_GENERIC, "Invalid parameter type for 'bitmaps', expected: array");
	return add_export(opaque, json_object_get_string_member(args, "id"), NULL, node,
			  bitmaps ? json_node_get_array(bitmaps) : NULL, &options, error) ?
		       qmp_nothing() :
		       NULL;
}

JsonNode *qmp_block_export_del(void *opaque, JsonObject *args, GError **error)
{
	bool hard = g_strcmp0(qmp_text(args, "mode"), "hard") == 0;

	return remove_export(opaque, json_object_get_string_member(args, "id"), hard, error);
}

JsonNode *qmp_query_block_exports(void *opaque, JsonObject *args, GError **error)
{
	struct vmm *vmm = opaque;
	JsonArray *list = json_array_new();

	for (struct vmm_export *e = vmm->nbd ? vmm->nbd->exports : NULL; e; e = e->next) {
		JsonObject *o = json_object_new();

		json_object_set_string_member(o, "id", e->id);
		json_object_set_string_member(o, "type", "nbd");
		json_object_set_string_member(o, "node-name", graph_name(vmm->graph, e->img));
		json_object_set_boolean_member(o, "shutting-down", FALSE);
		json_array_add_object_element(list, o);
	}
	return qmp_array(list);
}
