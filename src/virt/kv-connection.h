/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * KvConnection: a connection to kvd, or to libvirtd and its modular daemons, by libvirt's protocol. Every procedure of the
 * protocol can be called by name; schema/rpc.procs lists them with their types, and src/virt/rpc/xdr.h says which GVariant type
 * each letter there is: domain_lookup_by_name takes "(s)" and gives "((sayi))". Objects are what the protocol sends: a domain is
 * "(sayi)", its name, the 16 bytes of its UUID and its ID or -1.
 *
 * Errors of the server are in KV_VIRT_ERROR with libvirt's number (virterror.h) and its text. A connection may be used from
 * several threads; signals come in the main context that was the thread's default when it was opened.
 */
#pragma once
#include <gio/gio.h>
#include <gio/gunixfdlist.h>

G_BEGIN_DECLS

#define KV_VIRT_ERROR kv_virt_error_quark()
GQuark kv_virt_error_quark(void);

/**
 * KvConnectionFlags:
 * @KV_CONNECTION_NONE: all may be changed
 * @KV_CONNECTION_READ_ONLY: the read-only socket, and calls that only look
 */
typedef enum {
	KV_CONNECTION_NONE = 0,
	KV_CONNECTION_READ_ONLY = 1,
} KvConnectionFlags;

#define KV_TYPE_CONNECTION kv_connection_get_type()
G_DECLARE_FINAL_TYPE(KvConnection, kv_connection, KV, CONNECTION, GObject)

/**
 * kv_connection_open_sync:
 * @uri: (nullable): as virsh's --connect; %NULL: the local daemon's own choice
 *
 * Returns: (transfer full): the connection, authenticated and open
 */
KvConnection *kv_connection_open_sync(const char *uri, KvConnectionFlags flags, GCancellable *cancellable, GError **error);
/**
 * kv_connection_open:
 *
 * The same in a thread.
 */
void kv_connection_open(const char *uri, KvConnectionFlags flags, GCancellable *cancellable, GAsyncReadyCallback callback,
			gpointer user_data);
/**
 * kv_connection_open_finish:
 *
 * Returns: (transfer full): the connection
 */
KvConnection *kv_connection_open_finish(GAsyncResult *result, GError **error);

/*
 * Says goodbye, and waits a few seconds for the answer to it; calls under way end with an error. The last reference does it as
 * well.
 */
void kv_connection_close(KvConnection *self);
gboolean kv_connection_is_alive(KvConnection *self);
/* Pings, as virConnectSetKeepAlive(): every so many seconds, and so many may go unanswered. FALSE: the server knows none. */
gboolean kv_connection_set_keepalive(KvConnection *self, guint interval, guint count);

/**
 * kv_connection_call_sync:
 * @procedure: "domain_create"; of program qemu: "qemu:domain_monitor_command"
 * @args: (nullable): a tuple, sunk if floating
 *
 * Returns: (transfer full): the answer, a tuple
 */
GVariant *kv_connection_call_sync(KvConnection *self, const char *procedure, GVariant *args, GCancellable *cancellable,
				  GError **error);
/**
 * kv_connection_call_with_fds_sync:
 * @fds: (nullable): file descriptors that go along
 * @ret_fds: (out) (optional) (nullable) (transfer full): those that came back
 *
 * Returns: (transfer full): the answer, a tuple
 */
GVariant *kv_connection_call_with_fds_sync(KvConnection *self, const char *procedure, GVariant *args, GUnixFDList *fds,
					   GUnixFDList **ret_fds, GCancellable *cancellable, GError **error);
/**
 * kv_connection_call_each_sync:
 * @args: (element-type GVariant): a tuple for each call
 *
 * A procedure for many objects: all calls are on their way before the first answer is waited for.
 *
 * Returns: (transfer full) (element-type GVariant): the answers in the order of args; %NULL for a call that the server refused,
 * whose error a call of its own tells. %NULL when the connection is lost
 */
GPtrArray *kv_connection_call_each_sync(KvConnection *self, const char *procedure, GPtrArray *args, GCancellable *cancellable,
					GError **error);
void kv_connection_call(KvConnection *self, const char *procedure, GVariant *args, GCancellable *cancellable,
			GAsyncReadyCallback callback, gpointer user_data);
/**
 * kv_connection_call_finish:
 *
 * Returns: (transfer full): the answer, a tuple
 */
GVariant *kv_connection_call_finish(KvConnection *self, GAsyncResult *result, GError **error);

/*
 * Signals:
 *   event(procedure: string, body: GVariant)   a message of the server, "domain_event_callback_lifecycle"; who wants it
 *                                              has called kv_connection_watch_sync()
 *   object-event(object: KvObject, procedure: string, details: GVariant)
 *                                              the same of an object, and the rest of the message as a tuple
 *   closed(error: GError)                      the server is gone
 */

G_END_DECLS
