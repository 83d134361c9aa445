/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See kv-stream.h. */
#include "connection-inside.h"
#include "kv-stream.h"

struct _KvStream {
	GObject parent;
	KvConnection *connection;
	struct rpc_stream *stream;
};

G_DEFINE_FINAL_TYPE(KvStream, kv_stream, G_TYPE_OBJECT)

static guint ready_signal;

static void on_ready(void *opaque)
{
	g_autoptr(KvStream) self = g_object_ref(opaque);

	g_signal_emit(self, ready_signal, 0);
}

KvStream *kv_stream_open_sync(KvConnection *connection, const char *procedure, GVariant *args, GVariant **ret_answer,
			      GCancellable *cancellable, GError **error)
{
	g_autoptr(GVariant) sunk = args ? g_variant_ref_sink(args) : NULL;
	g_autoptr(KvStream) self = g_object_new(KV_TYPE_STREAM, NULL);
	const struct rpc_proc *proc;
	struct rpc_client *client = kv_connection_client(connection, procedure, &proc, error);

	if (!client)
		return NULL;
	self->connection = g_object_ref(connection);
	self->stream = rpc_stream_open(client, proc, sunk, ret_answer, on_ready, self, cancellable, error);
	return self->stream ? g_steal_pointer(&self) : NULL;
}

gssize kv_stream_recv_sync(KvStream *self, void *buffer, gsize length, GCancellable *cancellable, GError **error)
{
	return rpc_stream_recv(self->stream, buffer, length, true, cancellable, error);
}

gssize kv_stream_recv_nonblock(KvStream *self, void *buffer, gsize length, GError **error)
{
	return rpc_stream_recv(self->stream, buffer, length, false, NULL, error);
}

GBytes *kv_stream_read_bytes_sync(KvStream *self, gsize count, GCancellable *cancellable, GError **error)
{
	gsize room = MIN(count, 1 << 20);
	g_autofree char *buffer = g_malloc(room);
	gssize n = kv_stream_recv_sync(self, buffer, room, cancellable, error);

	return n < 0 ? NULL : g_bytes_new_take(g_steal_pointer(&buffer), n);
}

gboolean kv_stream_send_sync(KvStream *self, const void *buffer, gsize length, GCancellable *cancellable, GError **error)
{
	return rpc_stream_send(self->stream, buffer, length, cancellable, error);
}

gssize kv_stream_send_nonblock(KvStream *self, const void *buffer, gsize length, GError **error)
{
	return rpc_stream_send_nonblock(self->stream, buffer, length, error);
}

gint64 kv_stream_recv_hole_sync(KvStream *self, GCancellable *cancellable, GError **error)
{
	return rpc_stream_recv_hole(self->stream, cancellable, error);
}

gboolean kv_stream_send_hole_sync(KvStream *self, guint64 length, GCancellable *cancellable, GError **error)
{
	return rpc_stream_send_hole(self->stream, length, cancellable, error);
}

gboolean kv_stream_finish_sync(KvStream *self, GCancellable *cancellable, GError **error)
{
	return rpc_stream_finish(self->stream, cancellable, error);
}

void kv_stream_abort(KvStream *self)
{
	rpc_stream_abort(self->stream);
}

static void dispose(GObject *object)
{
	KvStream *self = KV_STREAM(object);

	g_clear_pointer(&self->stream, rpc_stream_free);
	g_clear_object(&self->connection);
	G_OBJECT_CLASS(kv_stream_parent_class)->dispose(object);
}

static void kv_stream_class_init(KvStreamClass *class)
{
	G_OBJECT_CLASS(class)->dispose = dispose;
	ready_signal = g_signal_new("ready", KV_TYPE_STREAM, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
}

static void kv_stream_init(KvStream *self)
{
}
