/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * KvObject: what a server has (a domain, a network, a volume …), as the protocol names it: a handle, which is its name and UUID.
 * It is looked at when asked: two objects may be the same domain (kv_object_equal()), and one whose domain is gone stays a name.
 * Its kinds and what can be done with them are kv-api.h's, made of schema/kv-api.tab; any thread.
 */
#pragma once
#include "kv-connection.h"

G_BEGIN_DECLS

#define KV_TYPE_OBJECT kv_object_get_type()
/**
 * KvObject:
 *
 * Something that a server has.
 */
G_DECLARE_DERIVABLE_TYPE(KvObject, kv_object, KV, OBJECT, GObject)

struct _KvObjectClass {
	GObjectClass parent_class;
};

/**
 * kv_object_new:
 * @type: KV_TYPE_DOMAIN or another kind
 * @handle: of its type in the protocol, sunk if floating
 *
 * For what kv_connection_call_sync() brought.
 *
 * Returns: (transfer full) (nullable): it, or %NULL when the handle is none of that kind's
 */
KvObject *kv_object_new(GType type, KvConnection *connection, GVariant *handle);
/**
 * kv_object_get_connection:
 *
 * Returns: (transfer none): whose it is
 */
KvConnection *kv_object_get_connection(KvObject *self);
/**
 * kv_object_get_handle:
 *
 * Returns: (transfer none): what the protocol calls it
 */
GVariant *kv_object_get_handle(KvObject *self);
const char *kv_object_get_name(KvObject *self);
/**
 * kv_object_get_uuid:
 *
 * Returns: (nullable): as text; of what has none, %NULL
 */
const char *kv_object_get_uuid(KvObject *self);
/* Of a domain that ran when this was brought; else -1. */
int kv_object_get_id(KvObject *self);
gboolean kv_object_equal(KvObject *self, KvObject *other);

/**
 * kv_object_call_sync:
 * @procedure: one whose first argument is such an object
 * @args: a tuple that begins with the handle, sunk if floating
 *
 * Returns: (transfer full): the answer, a tuple
 */
GVariant *kv_object_call_sync(KvObject *self, const char *procedure, GVariant *args, GCancellable *cancellable, GError **error);
void kv_object_call(KvObject *self, const char *procedure, GVariant *args, GCancellable *cancellable,
		    GAsyncReadyCallback callback, gpointer user_data);
/**
 * kv_object_call_finish:
 *
 * Returns: (transfer full): the answer, a tuple
 */
GVariant *kv_object_call_finish(KvObject *self, GAsyncResult *result, GError **error);

/**
 * kv_connection_watch_sync:
 * @event: what is sent, "domain_event_callback_lifecycle" or another event of schema/rpc.procs
 * @object: (nullable): of this one; %NULL: of all
 *
 * From now on the connection has the signals "event", with what was sent, and "object-event", with the object and the rest of it.
 *
 * Returns: its number, for kv_connection_unwatch_sync(); -1 on error
 */
int kv_connection_watch_sync(KvConnection *self, const char *event, KvObject *object, GCancellable *cancellable, GError **error);
gboolean kv_connection_unwatch_sync(KvConnection *self, const char *event, int number, GCancellable *cancellable, GError **error);

G_END_DECLS
