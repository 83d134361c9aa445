/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP commands about the screen and its VNC server (QEMU: qapi/ui.json). See qmp.h. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "display.h"
#include "error.h"
#include "qmp.h"
#include "screenshot.h"
#include "vmm.h"
#include "vnc.h"

/* ---- screendump ---- */

static const char *const formats[] = {"ppm", "png", NULL};
static const struct qmp_type format_type = {QMP_ENUM, .values = formats};
const struct qmp_member qmp_screendump_args[] = {
	{"filename", &qmp_string},
	{"device", &qmp_string, .optional = true},
	{"head", &qmp_integer, .optional = true},
	{"format", &format_type, .optional = true},
	{},
};

JsonNode *qmp_screendump(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm *vmm = opaque;
	const char *device = json_object_get_string_member_with_default(args, "device", NULL);
	gint64 head = json_object_get_int_member_with_default(args, "head", 0);

	unsigned first, shown;

	if (!device && json_object_has_member(args, "head"))
		return qmp_fail(error, QMP_ERROR_GENERIC, "'head' must be specified together with 'device'");
	if (device && !machine_has_device(vmm->machine, device))
		return qmp_fail(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", device);
	if (!display_find(vmm->display, NULL, 0, &first)) {
		kv_fail(error, KV_ERROR_UNSUPPORTED, "There is no console to take a screendump from");
		return NULL;
	}
	if (head < 0 || head >= DISPLAY_HEADS || !display_find(vmm->display, device, (unsigned)head, &shown)) {
		kv_fail(error, KV_ERROR_USAGE, "device '%s' has no head %" G_GINT64_FORMAT, device, head);
		return NULL;
	}
	if (!screenshot_write(vmm->display, shown, json_object_get_string_member(args, "filename"),
			      !strcmp(json_object_get_string_member_with_default(args, "format", "ppm"), "png"), error))
		return NULL;
	return qmp_nothing();
}

JsonNode *qmp_query_display_options(void *opaque, JsonObject *args, GError **error)
{
	JsonObject *o = json_object_new();

	json_object_set_string_member(o, "type", "none"); /* no window on the host's screen */
	return qmp_object(o);
}

/* ---- VNC ---- */

/* QEMU's names of what a viewer has to do: one of both words ("vencrypt+x509+vnc"), or the primary type and VeNCrypt's. */
static char *auth_name(const struct vmm_vnc *v)
{
	const struct vnc_module *m = v->vmm->vnc_module;
	const char *tls = m->get_tls(v->server), *inner = m->has_password(v->server) ? "vnc" : "none";

	return tls ? g_strdup_printf("vencrypt+%s+%s", tls, inner) : g_strdup(inner);
}

static void put_auth(JsonObject *o, const struct vmm_vnc *v, bool websocket)
{
	const struct vnc_module *m = v->vmm->vnc_module;
	const char *tls = m->get_tls(v->server), *inner = m->has_password(v->server) ? "vnc" : "none";
	g_autofree char *both = g_strdup_printf("%s-%s", tls, inner);

	json_object_set_string_member(o, "auth", tls && !websocket ? "vencrypt" : inner);
	if (tls && !websocket)
		json_object_set_string_member(o, "vencrypt", both);
}

static void put_peer(JsonObject *o, const struct vnc_peer *p, bool server)
{
	json_object_set_string_member(o, "host", server ? p->server_host : p->host);
	json_object_set_string_member(o, "service", server ? p->server_service : p->service);
	json_object_set_string_member(o, "family", p->family);
	json_object_set_boolean_member(o, "websocket", p->websocket);
	if (p->x509_dname && !server)
		json_object_set_string_member(o, "x509_dname", p->x509_dname);
}

static void put_client(void *opaque, const struct vnc_peer *p)
{
	JsonObject *o = json_object_new();

	put_peer(o, p, false);
	json_array_add_object_element(opaque, o);
}

static JsonArray *list_clients(const struct vmm_vnc *v)
{
	JsonArray *clients = json_array_new();

	v->vmm->vnc_module->each_client(v->server, put_client, clients);
	return clients;
}

/* The first server. */
JsonNode *qmp_query_vnc(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm *vmm = opaque;
	JsonObject *o = json_object_new();
	g_autofree char *auth = NULL;
	const struct vmm_vnc *v;
	struct vnc_peer where;

	json_object_set_boolean_member(o, "enabled", vmm->vnc != NULL);
	if (!vmm->vnc)
		return qmp_object(o);
	v = vmm->vnc->pdata[0];
	auth = auth_name(v);
	vmm->vnc_module->get_address(v->server, &where);
	json_object_set_string_member(o, "host", where.server_host);
	json_object_set_string_member(o, "service", where.server_service);
	json_object_set_string_member(o, "family", where.family);
	json_object_set_string_member(o, "auth", auth);
	json_object_set_array_member(o, "clients", list_clients(v));
	return qmp_object(o);
}

static void put_address(JsonArray *addresses, const struct vmm_vnc *v, const struct vnc_peer *p)
{
	JsonObject *o = json_object_new();

	put_peer(o, p, true);
	put_auth(o, v, p->websocket);
	json_array_add_object_element(addresses, o);
}

static JsonObject *server_info(const struct vmm_vnc *v)
{
	const struct vnc_module *m = v->vmm->vnc_module;
	JsonArray *addresses = json_array_new();
	JsonObject *o = json_object_new();
	struct vnc_peer where;

	if (m->get_websocket(v->server, &where))
		put_address(addresses, v, &where);
	m->get_address(v->server, &where);
	put_address(addresses, v, &where);
	json_object_set_string_member(o, "id", v->id);
	put_auth(o, v, false);
	json_object_set_array_member(o, "clients", list_clients(v));
	json_object_set_array_member(o, "server", addresses);
	if (v->device)
		json_object_set_string_member(o, "display", v->device);
	return o;
}

JsonNode *qmp_query_vnc_servers(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm *vmm = opaque;
	JsonArray *all = json_array_new();

	for (unsigned i = 0; vmm->vnc && i < vmm->vnc->len; i++)
		json_array_add_object_element(all, server_info(vmm->vnc->pdata[i]));
	return qmp_array(all);
}

static void on_event(void *opaque, enum vnc_event what, const struct vnc_peer *p)
{
	static const char *const names[] = {
		[VNC_CONNECTED] = "VNC_CONNECTED",
		[VNC_INITIALIZED] = "VNC_INITIALIZED",
		[VNC_DISCONNECTED] = "VNC_DISCONNECTED",
	};
	const struct vmm_vnc *v = opaque;
	JsonObject *data = json_object_new(), *client = json_object_new(), *server = json_object_new();

	put_peer(client, p, false);
	put_peer(server, p, true);
	if (v->server) {
		g_autofree char *auth = auth_name(v);

		json_object_set_string_member(server, "auth", auth);
	}
	json_object_set_object_member(data, "server", server);
	json_object_set_object_member(data, "client", client);
	qmp_event(v->vmm, names[what], data);
}

void qmp_watch_vnc(struct vmm_vnc *v, struct vnc_config *config)
{
	config->event = on_event;
	config->opaque = v;
}

static const char *const protocols[] = {"vnc", "spice", NULL};
static const struct qmp_type protocol_type = {QMP_ENUM, .values = protocols};
static const char *const connected[] = {"keep", "fail", "disconnect", NULL};
static const struct qmp_type connected_type = {QMP_ENUM, .values = connected};
const struct qmp_member qmp_set_password_args[] = {
	{"protocol", &protocol_type},
	{"password", &qmp_string},
	{"connected", &connected_type, .optional = true},
	{"display", &qmp_string, .optional = true, .tag = "protocol", .value = "vnc"},
	{},
};
const struct qmp_member qmp_expire_password_args[] = {
	{"protocol", &protocol_type},
	{"time", &qmp_string},
	{"display", &qmp_string, .optional = true, .tag = "protocol", .value = "vnc"},
	{},
};

/* The server that `display` names, or the first one; failure says what cannot be done without. */
static const struct vmm_vnc *find_server(const struct vmm *vmm, JsonObject *args, const char *failure, GError **error)
{
	const char *id = json_object_get_string_member_with_default(args, "display", NULL);

	if (strcmp(json_object_get_string_member(args, "protocol"), "vnc")) {
		qmp_fail(error, QMP_ERROR_DEVICE_NOT_ACTIVE, "SPICE is not in use");
		return NULL;
	}
	for (unsigned i = 0; vmm->vnc && i < vmm->vnc->len; i++) {
		const struct vmm_vnc *v = vmm->vnc->pdata[i];

		if (!id || !strcmp(id, v->id))
			return v;
	}
	kv_fail(error, KV_ERROR_UNSUPPORTED, "%s", failure);
	return NULL;
}

static JsonNode *set_password(const struct vmm_vnc *v, const char *password, GError **error)
{
	if (v->vmm->vnc_module->set_password(v->server, password))
		return qmp_nothing();
	kv_fail(error, KV_ERROR_UNSUPPORTED, "Could not set password");
	return NULL;
}

JsonNode *qmp_set_password(void *opaque, JsonObject *args, GError **error)
{
	bool is_vnc = !strcmp(json_object_get_string_member(args, "protocol"), "vnc");
	const struct vmm_vnc *v;

	if (is_vnc && strcmp(json_object_get_string_member_with_default(args, "connected", "keep"), "keep"))
		return qmp_fail(error, QMP_ERROR_GENERIC, "Invalid parameter 'connected'");
	v = find_server(opaque, args, "Could not set password", error);
	return v ? set_password(v, json_object_get_string_member(args, "password"), error) : NULL;
}

const struct qmp_member qmp_change_vnc_password_args[] = {
	{"password", &qmp_string},
	{},
};

JsonNode *qmp_change_vnc_password(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm *vmm = opaque;

	if (vmm->vnc)
		return set_password(vmm->vnc->pdata[0], json_object_get_string_member(args, "password"), error);
	kv_fail(error, KV_ERROR_UNSUPPORTED, "Could not set password");
	return NULL;
}

static const char *const reload_types[] = {"vnc", NULL};
static const struct qmp_type reload_type = {QMP_ENUM, .values = reload_types};
const struct qmp_member qmp_display_reload_args[] = {
	{"type", &reload_type},
	{"tls-certs", &qmp_boolean, .optional = true, .tag = "type", .value = "vnc"},
	{},
};

JsonNode *qmp_display_reload(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm *vmm = opaque;

	if (!json_object_get_boolean_member_with_default(args, "tls-certs", FALSE))
		return qmp_nothing();
	if (!vmm->vnc) {
		kv_fail(error, KV_ERROR_UNSUPPORTED, "Can not find vnc display");
		return NULL;
	}
	for (unsigned i = 0; i < vmm->vnc->len; i++) {
		const struct vmm_vnc *v = vmm->vnc->pdata[i];

		if ((!i || vmm->vnc_module->get_tls(v->server)) && !vmm->vnc_module->reload_tls(v->server, error))
			return NULL;
	}
	return qmp_nothing();
}

/* "now", "never", "+SECONDS" or Unix time. */
static bool parse_time(const char *text, int64_t *ret)
{
	bool relative = *text == '+';
	gint64 n;

	if (!strcmp(text, "now") || !strcmp(text, "never")) {
		*ret = text[2] == 'w' ? 0 : INT64_MAX;
		return true;
	}
	if (!g_ascii_string_to_signed(text + relative, 10, 0, INT32_MAX * 1024ll, &n, NULL))
		return false;
	*ret = n + (relative ? (int64_t)time(NULL) : 0);
	return true;
}

JsonNode *qmp_expire_password(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm_vnc *v = find_server(opaque, args, "Could not set password expire time", error);
	const char *text = json_object_get_string_member(args, "time");
	int64_t when;

	if (!v)
		return NULL;
	if (!parse_time(text, &when)) {
		kv_fail(error, KV_ERROR_USAGE, "Parameter 'time' doesn't take value '%s'", text);
		return NULL;
	}
	if (!v->vmm->vnc_module->expire_password(v->server, when)) {
		kv_fail(error, KV_ERROR_UNSUPPORTED, "Could not set password expire time");
		return NULL;
	}
	return qmp_nothing();
}
