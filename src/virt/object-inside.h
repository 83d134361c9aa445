/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between libkv's objects and the methods that are made of schema/kv-api.tab: values to and from the wire's types. */
#pragma once
#include <stdbool.h>

#include "kv-object.h"
#include "kv-stream.h"

/* The kinds, ended by {}: kv-api.c. */
struct kv_class {
	char letter; /* of xdr.h */
	const char *handle;
	GType (*type)(void);
};
extern const struct kv_class kv_classes[];

/* Floating. NULL is empty. */
GVariant *kv_wire_bytes(GBytes *bytes);
GVariant *kv_wire_params(GVariant *vardict); /* a{sv} to a(sv) */
GVariant *kv_wire_objects(GPtrArray *domains);

/* Child i of an answer; the caller's. */
KvObject *kv_unwire_object(KvConnection *connection, GType type, GVariant *answer, gsize i);
GPtrArray *kv_unwire_objects(KvConnection *connection, GType type, GVariant *answer, gsize i);
char *kv_unwire_text(GVariant *answer, gsize i);
char *kv_unwire_maybe_text(GVariant *answer, gsize i);
char **kv_unwire_texts(GVariant *answer, gsize i);
GBytes *kv_unwire_bytes(GVariant *answer, gsize i);
GVariant *kv_unwire_params(GVariant *answer, gsize i); /* a(sv) to a{sv}; of names that come twice the last */
GVariant *kv_unwire_variant(GVariant *answer, gsize i);
gboolean kv_unwire_bool(GVariant *answer, gsize i);
/* ret_mime: NULL, or where the first of the answer goes. */
KvStream *kv_wire_stream(KvConnection *connection, const char *procedure, GVariant *args, char **ret_mime,
			 GCancellable *cancellable, GError **error);

/* object-event.c: the object that an event's message is about, and the rest of the message as a tuple; NULL: it is about none. */
KvObject *kv_event_object(KvConnection *self, const char *args_type, GVariant *body, GVariant **ret_rest);
