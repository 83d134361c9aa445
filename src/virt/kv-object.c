/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See kv-object.h and object-inside.h. */
#include "object-inside.h"

typedef struct {
	KvConnection *connection;
	GVariant *handle;
	char *name, *uuid;
} KvObjectPrivate;

enum { CONNECTION = 1, HANDLE, NAME, UUID, N_PROPERTIES };

G_DEFINE_ABSTRACT_TYPE_WITH_PRIVATE(KvObject, kv_object, G_TYPE_OBJECT)

static KvObjectPrivate *private(KvObject *self)
{
	return kv_object_get_instance_private(self);
}

static char *uuid_text(GVariant *bytes)
{
	gsize n;
	const guint8 *b = g_variant_get_fixed_array(bytes, &n, 1);
	GString *out;

	if (n != 16)
		return NULL;
	out = g_string_sized_new(36);
	for (gsize i = 0; i < n; i++)
		g_string_append_printf(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", b[i]);
	return g_string_free(out, FALSE);
}

/* A handle's only UUID; its name is its first text, but a volume's, which says its pool before. */
static void read_handle(KvObjectPrivate *p)
{
	bool is_volume = g_variant_is_of_type(p->handle, G_VARIANT_TYPE("(sss)"));

	if (g_variant_is_of_type(p->handle, G_VARIANT_TYPE_STRING)) {
		p->name = g_variant_dup_string(p->handle, NULL);
		return;
	}
	for (gsize i = is_volume; i < g_variant_n_children(p->handle); i++) {
		g_autoptr(GVariant) child = g_variant_get_child_value(p->handle, i);

		if (!p->name && g_variant_is_of_type(child, G_VARIANT_TYPE_STRING))
			p->name = g_variant_dup_string(child, NULL);
		if (!p->uuid && g_variant_is_of_type(child, G_VARIANT_TYPE("ay")))
			p->uuid = uuid_text(child);
	}
}

KvObject *kv_object_new(GType type, KvConnection *connection, GVariant *handle)
{
	g_autoptr(GVariant) sunk = g_variant_ref_sink(handle);
	KvObject *self;
	KvObjectPrivate *p;

	for (const struct kv_class *class = kv_classes; class->letter; class ++) {
		if (class->type() != type || !g_variant_is_of_type(sunk, G_VARIANT_TYPE(class->handle)))
			continue;
		self = g_object_new(type, NULL);
		p = private(self);
		p->connection = g_object_ref(connection);
		p->handle = g_steal_pointer(&sunk);
		read_handle(p);
		return self;
	}
	return NULL;
}

KvConnection *kv_object_get_connection(KvObject *self)
{
	return private(self)->connection;
}

GVariant *kv_object_get_handle(KvObject *self)
{
	return private(self)->handle;
}

const char *kv_object_get_name(KvObject *self)
{
	return private(self)->name;
}

const char *kv_object_get_uuid(KvObject *self)
{
	return private(self)->uuid;
}

int kv_object_get_id(KvObject *self)
{
	int id = -1;

	if (g_variant_is_of_type(private(self)->handle, G_VARIANT_TYPE("(sayi)")))
		g_variant_get_child(private(self)->handle, 2, "i", &id);
	return id;
}

gboolean kv_object_equal(KvObject *self, KvObject *other)
{
	KvObjectPrivate *a = private(self), *b = private(other);

	if (G_OBJECT_TYPE(self) != G_OBJECT_TYPE(other) || a->connection != b->connection)
		return FALSE;
	return a->uuid || b->uuid ? !g_strcmp0(a->uuid, b->uuid) : g_variant_equal(a->handle, b->handle);
}

/* ---- calls ---- */

GVariant *kv_object_call_sync(KvObject *self, const char *procedure, GVariant *args, GCancellable *cancellable, GError **error)
{
	return kv_connection_call_sync(private(self)->connection, procedure, args, cancellable, error);
}

static void on_answer(GObject *connection, GAsyncResult *result, gpointer data)
{
	g_autoptr(GTask) task = data;
	GError *error = NULL;
	GVariant *answer = kv_connection_call_finish(KV_CONNECTION(connection), result, &error);

	if (answer)
		g_task_return_pointer(task, answer, (GDestroyNotify)g_variant_unref);
	else
		g_task_return_error(task, error);
}

void kv_object_call(KvObject *self, const char *procedure, GVariant *args, GCancellable *cancellable,
		    GAsyncReadyCallback callback, gpointer user_data)
{
	GTask *task = g_task_new(self, cancellable, callback, user_data);

	g_task_set_source_tag(task, kv_object_call);
	kv_connection_call(private(self)->connection, procedure, args, cancellable, on_answer, task);
}

GVariant *kv_object_call_finish(KvObject *self, GAsyncResult *result, GError **error)
{
	g_return_val_if_fail(g_task_is_valid(result, self), NULL);
	return g_task_propagate_pointer(G_TASK(result), error);
}

KvStream *kv_wire_stream(KvConnection *connection, const char *procedure, GVariant *args, char **ret_mime,
			 GCancellable *cancellable, GError **error)
{
	g_autoptr(GVariant) answer = NULL;
	KvStream *stream = kv_stream_open_sync(connection, procedure, args, &answer, cancellable, error);

	if (ret_mime)
		*ret_mime = stream ? kv_unwire_maybe_text(answer, 0) : NULL;
	return stream;
}

/* ---- values ---- */

GVariant *kv_wire_bytes(GBytes *bytes)
{
	return bytes ? g_variant_new_from_bytes(G_VARIANT_TYPE_BYTESTRING, bytes, TRUE) :
		       g_variant_new_array(G_VARIANT_TYPE_BYTE, NULL, 0);
}

GVariant *kv_wire_params(GVariant *vardict)
{
	GVariantBuilder out;
	GVariantIter all;
	const char *name;
	GVariant *value;

	g_variant_builder_init(&out, G_VARIANT_TYPE("a(sv)"));
	if (vardict && g_variant_is_of_type(vardict, G_VARIANT_TYPE_VARDICT)) {
		g_variant_iter_init(&all, vardict);
		while (g_variant_iter_loop(&all, "{&sv}", &name, &value))
			g_variant_builder_add(&out, "(sv)", name, value);
	}
	return g_variant_builder_end(&out);
}

GVariant *kv_wire_objects(GPtrArray *domains)
{
	GVariantBuilder out;

	g_variant_builder_init(&out, G_VARIANT_TYPE("a(sayi)"));
	for (guint i = 0; domains && i < domains->len; i++)
		g_variant_builder_add_value(&out, kv_object_get_handle(domains->pdata[i]));
	return g_variant_builder_end(&out);
}

KvObject *kv_unwire_object(KvConnection *connection, GType type, GVariant *answer, gsize i)
{
	g_autoptr(GVariant) handle = g_variant_get_child_value(answer, i);

	return kv_object_new(type, connection, handle);
}

GPtrArray *kv_unwire_objects(KvConnection *connection, GType type, GVariant *answer, gsize i)
{
	g_autoptr(GVariant) list = g_variant_get_child_value(answer, i);
	GPtrArray *out = g_ptr_array_new_with_free_func(g_object_unref);

	for (gsize k = 0; k < g_variant_n_children(list); k++)
		g_ptr_array_add(out, kv_unwire_object(connection, type, list, k));
	return out;
}

char *kv_unwire_text(GVariant *answer, gsize i)
{
	char *text;

	g_variant_get_child(answer, i, "s", &text);
	return text;
}

char *kv_unwire_maybe_text(GVariant *answer, gsize i)
{
	char *text;

	g_variant_get_child(answer, i, "ms", &text);
	return text;
}

char **kv_unwire_texts(GVariant *answer, gsize i)
{
	char **texts;

	g_variant_get_child(answer, i, "^as", &texts);
	return texts;
}

GBytes *kv_unwire_bytes(GVariant *answer, gsize i)
{
	g_autoptr(GVariant) bytes = g_variant_get_child_value(answer, i);

	return g_variant_get_data_as_bytes(bytes);
}

GVariant *kv_unwire_params(GVariant *answer, gsize i)
{
	g_autoptr(GVariant) params = g_variant_get_child_value(answer, i);
	GVariantDict out;
	GVariantIter all;
	const char *name;
	GVariant *value;

	g_variant_dict_init(&out, NULL);
	g_variant_iter_init(&all, params);
	while (g_variant_iter_loop(&all, "(&sv)", &name, &value))
		g_variant_dict_insert_value(&out, name, value);
	return g_variant_ref_sink(g_variant_dict_end(&out));
}

GVariant *kv_unwire_variant(GVariant *answer, gsize i)
{
	return g_variant_get_child_value(answer, i);
}

gboolean kv_unwire_bool(GVariant *answer, gsize i)
{
	gint32 yes;

	g_variant_get_child(answer, i, "i", &yes);
	return yes != 0;
}

/* ---- properties ---- */

static void get_property(GObject *object, guint id, GValue *value, GParamSpec *spec)
{
	KvObjectPrivate *p = private(KV_OBJECT(object));

	switch (id) {
	case CONNECTION:
		g_value_set_object(value, p->connection);
		break;
	case HANDLE:
		g_value_set_variant(value, p->handle);
		break;
	case NAME:
		g_value_set_string(value, p->name);
		break;
	case UUID:
		g_value_set_string(value, p->uuid);
		break;
	default:
		G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
	}
}

static void finalize(GObject *object)
{
	KvObjectPrivate *p = private(KV_OBJECT(object));

	g_clear_object(&p->connection);
	g_clear_pointer(&p->handle, g_variant_unref);
	g_free(p->name);
	g_free(p->uuid);
	G_OBJECT_CLASS(kv_object_parent_class)->finalize(object);
}

static void kv_object_class_init(KvObjectClass *class)
{
	GObjectClass *object = G_OBJECT_CLASS(class);
	const GParamFlags how = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

	object->get_property = get_property;
	object->finalize = finalize;
	g_object_class_install_property(object, CONNECTION,
					g_param_spec_object("connection", "connection", "whose it is", KV_TYPE_CONNECTION, how));
	g_object_class_install_property(object, HANDLE,
					g_param_spec_variant("handle", "handle", "what the protocol calls it", G_VARIANT_TYPE_ANY,
							     NULL, how));
	g_object_class_install_property(object, NAME, g_param_spec_string("name", "name", "its name", NULL, how));
	g_object_class_install_property(object, UUID, g_param_spec_string("uuid", "uuid", "its UUID as text", NULL, how));
}

static void kv_object_init(KvObject *self)
{
}
