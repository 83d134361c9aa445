/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See kv-connection.h: opening with authentication, procedures by name. The protocol's work is client.c's. */
#include <string.h>

#include "connection-inside.h"
#include "error.h"
#include "message.h"
#include "object-inside.h"

enum { AUTH_NONE, AUTH_SASL, AUTH_POLKIT };
enum { FEATURE_KEEPALIVE = 10 };
enum { CLOSE_SECONDS = 3 }; /* for the server's last answer */
enum { EVENT, OBJECT_EVENT, CLOSED, N_SIGNALS };

struct _KvConnection {
	GObject parent;
	struct kv_uri *uri;
	KvConnectionFlags flags;
	struct rpc_client *client;
	bool is_open, can_ping;
};

G_DEFINE_FINAL_TYPE(KvConnection, kv_connection, G_TYPE_OBJECT)

static guint signals[N_SIGNALS];

GQuark kv_virt_error_quark(void)
{
	return rpc_errors_quark();
}

static void emit_object_event(KvConnection *self, const struct rpc_proc *proc, GVariant *body)
{
	g_autoptr(GVariant) rest = NULL;
	g_autoptr(KvObject) object = NULL;

	if (!g_signal_has_handler_pending(self, signals[OBJECT_EVENT], 0, TRUE))
		return;
	object = kv_event_object(self, proc->args, body, &rest);
	if (object)
		g_signal_emit(self, signals[OBJECT_EVENT], 0, object, proc->name, rest);
}

static void on_event(void *opaque, const struct rpc_proc *proc, GVariant *body)
{
	g_autoptr(KvConnection) self = g_object_ref(opaque);

	g_signal_emit(self, signals[EVENT], 0, proc->name, body);
	emit_object_event(self, proc, body);
}

static void on_closed(void *opaque, const GError *why)
{
	g_autoptr(KvConnection) self = g_object_ref(opaque);

	g_signal_emit(self, signals[CLOSED], 0, why);
}

static const struct rpc_client_calls client_calls = { on_event, on_closed };

static const struct rpc_proc *find(const char *procedure, GError **error)
{
	bool is_qemu = g_str_has_prefix(procedure, "qemu:");
	const struct rpc_proc *proc = rpc_proc_named(is_qemu ? RPC_QEMU : RPC_REMOTE, procedure + (is_qemu ? 5 : 0));

	if (!proc || proc->event) {
		rpc_fail(error, VIR_ERR_INVALID_ARG, "there is no procedure '%s'", procedure);
		return NULL;
	}
	return proc;
}

struct rpc_client *kv_connection_client(KvConnection *self, const char *procedure, const struct rpc_proc **ret_proc,
					GError **error)
{
	*ret_proc = find(procedure, error);
	if (!*ret_proc)
		return NULL;
	if (!self->client)
		rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "client socket is closed");
	return self->client;
}

GVariant *kv_connection_call_with_fds_sync(KvConnection *self, const char *procedure, GVariant *args, GUnixFDList *fds,
					   GUnixFDList **ret_fds, GCancellable *cancellable, GError **error)
{
	g_autoptr(GVariant) sunk = args ? g_variant_ref_sink(args) : NULL;
	const struct rpc_proc *proc;
	struct rpc_client *client = kv_connection_client(self, procedure, &proc, error);

	if (ret_fds)
		*ret_fds = NULL;
	return client ? rpc_client_call(client, proc, sunk, fds, ret_fds, cancellable, error) : NULL;
}

GVariant *kv_connection_call_sync(KvConnection *self, const char *procedure, GVariant *args, GCancellable *cancellable,
				  GError **error)
{
	return kv_connection_call_with_fds_sync(self, procedure, args, NULL, NULL, cancellable, error);
}

GPtrArray *kv_connection_call_each_sync(KvConnection *self, const char *procedure, GPtrArray *args, GCancellable *cancellable,
					GError **error)
{
	const struct rpc_proc *proc;
	struct rpc_client *client = kv_connection_client(self, procedure, &proc, error);

	return client ? rpc_client_call_each(client, proc, args, cancellable, error) : NULL;
}

void kv_connection_call(KvConnection *self, const char *procedure, GVariant *args, GCancellable *cancellable,
			GAsyncReadyCallback callback, gpointer user_data)
{
	g_autoptr(GVariant) sunk = args ? g_variant_ref_sink(args) : NULL;
	g_autoptr(GTask) task = g_task_new(self, cancellable, callback, user_data);
	const struct rpc_proc *proc;
	GError *error = NULL;
	struct rpc_client *client = kv_connection_client(self, procedure, &proc, &error);

	g_task_set_source_tag(task, kv_connection_call);
	if (client)
		rpc_client_start(client, proc, sunk, task);
	else
		g_task_return_error(task, error);
}

GVariant *kv_connection_call_finish(KvConnection *self, GAsyncResult *result, GError **error)
{
	g_return_val_if_fail(g_task_is_valid(result, self), NULL);
	return g_task_propagate_pointer(G_TASK(result), error);
}

/* ---- opening ---- */

static bool ask(KvConnection *self, const char *procedure, GVariant *args, GVariant **ret, GCancellable *cancellable,
		GError **error)
{
	g_autoptr(GVariant) answer = kv_connection_call_sync(self, procedure, args, cancellable, error);

	if (!answer)
		return false;
	if (ret)
		*ret = g_steal_pointer(&answer);
	return true;
}

static bool authenticate(KvConnection *self, GCancellable *cancellable, GError **error)
{
	g_autoptr(GVariant) answer = NULL, types = NULL;
	const gint32 *list;
	bool polkit = false;
	gsize n;

	if (!ask(self, "auth_list", NULL, &answer, cancellable, error))
		return false;
	types = g_variant_get_child_value(answer, 0);
	list = g_variant_get_fixed_array(types, &n, sizeof(*list));
	for (gsize i = 0; i < n; i++) {
		if (list[i] == AUTH_NONE)
			return true;
		polkit |= list[i] == AUTH_POLKIT;
	}
	if (!n)
		return true;
	if (!polkit)
		return rpc_fail(error, VIR_ERR_AUTH_UNAVAILABLE, "the server wants SASL, which this client has not");
	return ask(self, "auth_polkit", NULL, NULL, cancellable, error);
}

static bool supports(KvConnection *self, int feature, GCancellable *cancellable)
{
	g_autoptr(GVariant) answer = NULL;
	gint32 yes = 0;

	if (ask(self, "connect_supports_feature", g_variant_new("(i)", feature), &answer, cancellable, NULL))
		g_variant_get(answer, "(i)", &yes);
	return yes > 0;
}

static KvConnection *open_in(GMainContext *context, const char *uri, KvConnectionFlags flags, GCancellable *cancellable,
			     GError **error)
{
	g_autoptr(KvConnection) self = g_object_new(KV_TYPE_CONNECTION, NULL);
	struct kv_transport *transport;

	self->uri = kv_uri_parse(uri, error);
	if (!self->uri)
		return NULL;
	self->flags = flags;
	transport = kv_transport_open(self->uri, flags & KV_CONNECTION_READ_ONLY, error);
	if (!transport)
		return NULL;
	self->client = rpc_client_new(transport, context, &client_calls, self);
	if (!authenticate(self, cancellable, error))
		return NULL;
	self->can_ping = supports(self, FEATURE_KEEPALIVE, cancellable);
	self->is_open = ask(self, "connect_open", g_variant_new("(msu)", self->uri->name, flags), NULL, cancellable, error);
	return self->is_open ? g_steal_pointer(&self) : NULL;
}

KvConnection *kv_connection_open_sync(const char *uri, KvConnectionFlags flags, GCancellable *cancellable, GError **error)
{
	g_autoptr(GMainContext) context = g_main_context_ref_thread_default();

	return open_in(context, uri, flags, cancellable, error);
}

struct opening {
	char *uri;
	KvConnectionFlags flags;
};

static void opening_free(void *opaque)
{
	struct opening *o = opaque;

	g_free(o->uri);
	g_free(o);
}

static void open_in_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	struct opening *o = data;
	GError *error = NULL;
	KvConnection *self = open_in(g_task_get_context(task), o->uri, o->flags, cancellable, &error);
	if (self)
		g_task_return_pointer(task, self, g_object_unref);
	else
		g_task_return_error(task, error);
}

void kv_connection_open(const char *uri, KvConnectionFlags flags, GCancellable *cancellable, GAsyncReadyCallback callback,
			gpointer user_data)
{
	g_autoptr(GTask) task = g_task_new(NULL, cancellable, callback, user_data);
	struct opening *o = g_new(struct opening, 1);

	*o = (struct opening){ g_strdup(uri), flags };
	g_task_set_task_data(task, o, opening_free);
	g_task_run_in_thread(task, open_in_thread);
}

KvConnection *kv_connection_open_finish(GAsyncResult *result, GError **error)
{
	return g_task_propagate_pointer(G_TASK(result), error);
}

/* ---- the rest ---- */

void kv_connection_close(KvConnection *self)
{
	if (!self->client)
		return;
	if (self->is_open && rpc_client_is_alive(self->client)) {
		rpc_client_end_in(self->client, CLOSE_SECONDS);
		ask(self, "connect_close", NULL, NULL, NULL, NULL);
	}
	self->is_open = false;
	g_clear_pointer(&self->client, rpc_client_free);
}

gboolean kv_connection_is_alive(KvConnection *self)
{
	return self->client && rpc_client_is_alive(self->client);
}

gboolean kv_connection_set_keepalive(KvConnection *self, guint interval, guint count)
{
	if (!self->client || !self->can_ping)
		return FALSE;
	rpc_client_keepalive(self->client, interval, count);
	return TRUE;
}

static void finalize(GObject *object)
{
	KvConnection *self = KV_CONNECTION(object);

	g_clear_pointer(&self->uri, kv_uri_free);
	G_OBJECT_CLASS(kv_connection_parent_class)->finalize(object);
}

static void dispose(GObject *object)
{
	kv_connection_close(KV_CONNECTION(object));
	G_OBJECT_CLASS(kv_connection_parent_class)->dispose(object);
}

static void kv_connection_class_init(KvConnectionClass *class)
{
	GObjectClass *object = G_OBJECT_CLASS(class);

	object->dispose = dispose;
	object->finalize = finalize;
	signals[EVENT] = g_signal_new("event", KV_TYPE_CONNECTION, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 2,
				      G_TYPE_STRING, G_TYPE_VARIANT);
	signals[OBJECT_EVENT] = g_signal_new("object-event", KV_TYPE_CONNECTION, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
					     G_TYPE_NONE, 3, KV_TYPE_OBJECT, G_TYPE_STRING, G_TYPE_VARIANT);
	signals[CLOSED] =
		g_signal_new("closed", KV_TYPE_CONNECTION, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 1, G_TYPE_ERROR);
}

static void kv_connection_init(KvConnection *self)
{
}
