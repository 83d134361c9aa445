/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* KvStream: bytes to or from a server beside the calls: a console, a volume's contents, a screenshot. */
#pragma once
#include "kv-connection.h"

G_BEGIN_DECLS

#define KV_TYPE_STREAM kv_stream_get_type()
G_DECLARE_FINAL_TYPE(KvStream, kv_stream, KV, STREAM, GObject)

/**
 * kv_stream_open_sync:
 * @procedure: "domain_open_console", "storage_vol_download" and others that open a stream
 * @args: (nullable): its arguments
 * @ret_answer: (out) (optional) (transfer full): its answer
 *
 * Returns: (transfer full): the stream; it holds a reference of the connection
 */
KvStream *kv_stream_open_sync(KvConnection *connection, const char *procedure, GVariant *args, GVariant **ret_answer,
			      GCancellable *cancellable, GError **error);
/**
 * kv_stream_recv_sync:
 * @buffer: (out caller-allocates) (array length=length) (element-type guint8): where to
 *
 * Returns: how many bytes; 0 at the end; -1 on error
 */
gssize kv_stream_recv_sync(KvStream *self, void *buffer, gsize length, GCancellable *cancellable, GError **error);
/**
 * kv_stream_recv_nonblock:
 * @buffer: (out caller-allocates) (array length=length) (element-type guint8): where to
 *
 * For the signal "ready".
 *
 * Returns: the same; when nothing has come the error is G_IO_ERROR_WOULD_BLOCK
 */
gssize kv_stream_recv_nonblock(KvStream *self, void *buffer, gsize length, GError **error);
/**
 * kv_stream_read_bytes_sync:
 * @count: at most so many
 *
 * For bindings.
 *
 * Returns: (transfer full): the same; empty at the end
 */
GBytes *kv_stream_read_bytes_sync(KvStream *self, gsize count, GCancellable *cancellable, GError **error);
/**
 * kv_stream_send_sync:
 * @buffer: (array length=length) (element-type guint8): what
 */
gboolean kv_stream_send_sync(KvStream *self, const void *buffer, gsize length, GCancellable *cancellable, GError **error);
/**
 * kv_stream_send_nonblock:
 * @buffer: (array length=length) (element-type guint8): what
 *
 * For a main loop that must not wait for a server that takes nothing. A length of 0 only asks whether some would be taken.
 *
 * Returns: how many of them are taken, and on their way sooner or later; -1 on error, which is G_IO_ERROR_WOULD_BLOCK when
 * the last ones are not: the signal "ready" comes when they are
 */
gssize kv_stream_send_nonblock(KvStream *self, const void *buffer, gsize length, GError **error);
/**
 * kv_stream_recv_hole_sync:
 *
 * For a volume's download with the flag 1 (sparse), before each kv_stream_recv_sync(), which stops at a hole.
 *
 * Returns: bytes of the hole that comes next, and is then behind us; 0 where there is none; -1 on error
 */
gint64 kv_stream_recv_hole_sync(KvStream *self, GCancellable *cancellable, GError **error);
/**
 * kv_stream_send_hole_sync:
 * @length: bytes that read as zeroes, and need no room
 *
 * For a volume's upload with the flag 1 (sparse).
 */
gboolean kv_stream_send_hole_sync(KvStream *self, guint64 length, GCancellable *cancellable, GError **error);
/* Waits until the other side has taken all of it, and says whether it could. */
gboolean kv_stream_finish_sync(KvStream *self, GCancellable *cancellable, GError **error);
/* Ends it otherwise; the last reference does as well. */
void kv_stream_abort(KvStream *self);

/* Signals: ready()   something came, or kv_stream_send_nonblock() may be tried again; in the connection's main context */

G_END_DECLS
