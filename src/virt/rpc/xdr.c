/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See xdr.h. Type strings are constants of ours and trusted; bytes are a stranger's. Called by message.c. */
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "xdr.h"

enum { UUID_LEN = 16, MODEL_LEN = 32 };
enum { PARAM_INT = 1, PARAM_UINT, PARAM_HYPER, PARAM_UHYPER, PARAM_DOUBLE, PARAM_BOOL, PARAM_STRING };

static const struct {
	char letter;
	const char *means;
} names[] = {
	{ 'D', "(sUi)" }, { 'N', "(sU)" }, { 'P', "(sU)" }, { 'F', "(sU)" }, { 'V', "(sss)" }, { 'I', "(ss)" },
	{ 'E', "(Uis)" }, { 'X', "s" },	   { 'C', "(sD)" }, { 'Z', "(sD)" },
};

static const char *meaning(char letter)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		if (names[i].letter == letter)
			return names[i].means;
	return NULL;
}

/* Behind the one type that type begins with. */
static const char *skip(const char *type)
{
	if (*type == '?' || *type == 'a')
		return skip(type + 1);
	if (*type != '(')
		return type + 1;
	for (type++; *type != ')';)
		type = skip(type);
	return type + 1;
}

static const char *write_type(GString *out, const char *type)
{
	static const char from[] = "iuhHdcsoUMT", *const to[] = { "i", "u", "x", "t", "d", "i", "s", "ay", "ay", "s", "(sv)" };
	const char *means = meaning(*type), *end = skip(type), *at = strchr(from, *type);

	if (means) {
		write_type(out, means);
	} else if (at) {
		g_string_append(out, to[at - from]);
	} else if (*type == '(') {
		g_string_append_c(out, '(');
		for (type++; *type != ')';)
			type = write_type(out, type);
		g_string_append_c(out, ')');
	} else {
		g_string_append_c(out, *type == '?' ? 'm' : 'a');
		write_type(out, type + 1);
	}
	return end;
}

char *xdr_variant_type(const char *type)
{
	GString *out = g_string_new(NULL);

	write_type(out, type);
	return g_string_free(out, FALSE);
}

/* ---- to bytes ---- */

static uint8_t *room(GByteArray *out, size_t len)
{
	guint at = out->len;

	g_byte_array_set_size(out, at + len);
	return out->data + at;
}

static void pad(uint8_t *to, const void *data, size_t len)
{
	static const uint8_t zero[4];

	memcpy(to, data, len);
	memcpy(to + len, zero, -len & 3);
}

void xdr_put_word(GByteArray *out, uint32_t v)
{
	put_be32(room(out, 4), v);
}

static void put_hyper(GByteArray *out, uint64_t v)
{
	put_be64(room(out, 8), v);
}

static void put_double(GByteArray *out, double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	put_hyper(out, bits);
}

void xdr_put_padded(GByteArray *out, const void *data, size_t len)
{
	if (len)
		pad(room(out, len + (-len & 3)), data, len);
}

bool xdr_put_string(GByteArray *out, const char *s, GError **error)
{
	size_t len = strlen(s);
	uint8_t *to;

	if (len > XDR_STRING_MAX)
		return kv_fail(error, KV_ERROR_USAGE, "a text of %zu bytes is longer than a message's can be, %d", len,
			       XDR_STRING_MAX);
	to = room(out, 4 + len + (-len & 3));
	put_be32(to, len);
	pad(to + 4, s, len);
	return true;
}

static bool put_bytes(GByteArray *out, GVariant *v, bool is_uuid, GError **error)
{
	size_t len;
	const uint8_t *data = g_variant_get_fixed_array(v, &len, 1);

	if (is_uuid && len != UUID_LEN)
		return kv_fail(error, KV_ERROR_USAGE, "a UUID has %d bytes, not %zu", UUID_LEN, len);
	if (!is_uuid)
		xdr_put_word(out, len);
	xdr_put_padded(out, data, len);
	return true;
}

static void put_model(GByteArray *out, const char *s)
{
	size_t len = MIN(strlen(s), MODEL_LEN - 1);

	for (unsigned i = 0; i < MODEL_LEN; i++)
		xdr_put_word(out, i < len ? (uint32_t)(signed char)s[i] : 0);
}

static bool put_param(GByteArray *out, GVariant *v, GError **error)
{
	const char *name;
	g_autoptr(GVariant) value = NULL;

	g_variant_get(v, "(&sv)", &name, &value);
	if (!xdr_put_string(out, name, error))
		return false;
	switch (g_variant_classify(value)) {
	case G_VARIANT_CLASS_INT32:
		xdr_put_word(out, PARAM_INT);
		xdr_put_word(out, g_variant_get_int32(value));
		return true;
	case G_VARIANT_CLASS_UINT32:
		xdr_put_word(out, PARAM_UINT);
		xdr_put_word(out, g_variant_get_uint32(value));
		return true;
	case G_VARIANT_CLASS_INT64:
		xdr_put_word(out, PARAM_HYPER);
		put_hyper(out, g_variant_get_int64(value));
		return true;
	case G_VARIANT_CLASS_UINT64:
		xdr_put_word(out, PARAM_UHYPER);
		put_hyper(out, g_variant_get_uint64(value));
		return true;
	case G_VARIANT_CLASS_DOUBLE:
		xdr_put_word(out, PARAM_DOUBLE);
		put_double(out, g_variant_get_double(value));
		return true;
	case G_VARIANT_CLASS_BOOLEAN:
		xdr_put_word(out, PARAM_BOOL);
		xdr_put_word(out, g_variant_get_boolean(value));
		return true;
	case G_VARIANT_CLASS_STRING:
		xdr_put_word(out, PARAM_STRING);
		return xdr_put_string(out, g_variant_get_string(value, NULL), error);
	default:
		return kv_fail(error, KV_ERROR_USAGE, "parameter '%s' has a value of type '%s', which none can have", name,
			       g_variant_get_type_string(value));
	}
}

static bool put(GByteArray *out, const char *type, GVariant *v, GError **error);

static bool put_children(GByteArray *out, const char *type, GVariant *v, GError **error)
{
	gsize n = g_variant_n_children(v);
	bool is_tuple = *type == '(', ok = true;

	if (!is_tuple)
		xdr_put_word(out, n);
	type++;
	for (gsize i = 0; i < n && ok; i++) {
		g_autoptr(GVariant) child = g_variant_get_child_value(v, i);

		ok = put(out, type, child, error);
		if (is_tuple)
			type = skip(type);
	}
	return ok;
}

static bool put(GByteArray *out, const char *type, GVariant *v, GError **error)
{
	const char *means = meaning(*type);

	if (means)
		return put(out, means, v, error);
	switch (*type) {
	case 'i':
	case 'c':
		xdr_put_word(out, g_variant_get_int32(v));
		return true;
	case 'u':
		xdr_put_word(out, g_variant_get_uint32(v));
		return true;
	case 'h':
		put_hyper(out, g_variant_get_int64(v));
		return true;
	case 'H':
		put_hyper(out, g_variant_get_uint64(v));
		return true;
	case 'd':
		put_double(out, g_variant_get_double(v));
		return true;
	case 's':
		return xdr_put_string(out, g_variant_get_string(v, NULL), error);
	case 'o':
	case 'U':
		return put_bytes(out, v, *type == 'U', error);
	case 'M':
		put_model(out, g_variant_get_string(v, NULL));
		return true;
	case 'T':
		return put_param(out, v, error);
	case '?': /* a maybe has as many children as an array with one or none */
	default:
		return put_children(out, type, v, error);
	}
}

bool xdr_encode(GByteArray *out, const char *type, GVariant *value, GError **error)
{
	g_autoptr(GVariant) v = g_variant_ref_sink(value);
	g_autofree char *want = xdr_variant_type(type);
	guint len = out->len;

	if (strcmp(want, g_variant_get_type_string(v)) != 0)
		return kv_fail(error, KV_ERROR_USAGE, "a message of type '%s' instead of '%s'",
			       g_variant_get_type_string(v), want);
	if (put(out, type, v, error))
		return true;
	g_byte_array_set_size(out, len);
	return false;
}

/* ---- from bytes ---- */

struct source {
	const uint8_t *at;
	size_t left;
	unsigned budget; /* of values in arrays */
};

static bool is_short(GError **error)
{
	kv_fail(error, KV_ERROR_INVALID, "the message ends too early");
	return false;
}

static bool get(struct source *s, void *ret, size_t len, GError **error)
{
	if (len > s->left)
		return is_short(error);
	memcpy(ret, s->at, len);
	s->at += len;
	s->left -= len;
	return true;
}

static bool get_word(struct source *s, uint32_t *ret, GError **error)
{
	uint8_t b[4];

	if (!get(s, b, sizeof(b), error))
		return false;
	*ret = get_be32(b);
	return true;
}

static bool get_hyper(struct source *s, uint64_t *ret, GError **error)
{
	uint8_t b[8];

	if (!get(s, b, sizeof(b), error))
		return false;
	*ret = get_be64(b);
	return true;
}

/* A length and its bytes, which stay where they are. */
static bool get_counted(struct source *s, const uint8_t **ret, uint32_t *ret_len, GError **error)
{
	if (!get_word(s, ret_len, error))
		return false;
	if (*ret_len > s->left || ((*ret_len + 3ULL) & ~3ULL) > s->left)
		return is_short(error);
	*ret = s->at;
	s->at += (*ret_len + 3) & ~3U;
	s->left -= (*ret_len + 3) & ~3U;
	return true;
}

static GVariant *get_string(struct source *s, GError **error)
{
	const uint8_t *data;
	uint32_t len;

	if (!get_counted(s, &data, &len, error))
		return NULL;
	if (len > XDR_STRING_MAX || memchr(data, 0, len) || !g_utf8_validate((const char *)data, len, NULL)) {
		kv_fail(error, KV_ERROR_INVALID, "the message has a text that is too long, not UTF-8 or has a NUL");
		return NULL;
	}
	return g_variant_new_take_string(g_strndup((const char *)data, len));
}

static GVariant *get_bytes(struct source *s, GError **error)
{
	const uint8_t *data;
	uint32_t len;

	return get_counted(s, &data, &len, error) ? g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, data, len, 1) : NULL;
}

static GVariant *get_uuid(struct source *s, GError **error)
{
	uint8_t uuid[UUID_LEN];

	if (!get(s, uuid, sizeof(uuid), error))
		return NULL;
	return g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, uuid, sizeof(uuid), 1);
}

static GVariant *get_model(struct source *s, GError **error)
{
	char text[MODEL_LEN + 1] = "";
	uint32_t word;

	for (unsigned i = 0; i < MODEL_LEN; i++) {
		if (!get_word(s, &word, error))
			return NULL;
		text[i] = word;
	}
	return g_variant_new_take_string(g_utf8_make_valid(text, -1));
}

static GVariant *take(struct source *s, const char *type, GError **error);

static GVariant *get_value(struct source *s, GError **error)
{
	static const char types[] = "iuhHdis";
	g_autoptr(GVariant) v = NULL;
	uint32_t kind;

	if (!get_word(s, &kind, error))
		return NULL;
	if (kind < PARAM_INT || kind > PARAM_STRING) {
		kv_fail(error, KV_ERROR_INVALID, "the message has a typed parameter of type %u, which there is not", kind);
		return NULL;
	}
	v = take(s, &types[kind - PARAM_INT], error);
	if (!v)
		return NULL;
	g_variant_ref_sink(v);
	return g_variant_new_variant(kind == PARAM_BOOL ? g_variant_new_boolean(g_variant_get_int32(v) != 0) : v);
}

static GVariant *get_param(struct source *s, GError **error)
{
	GVariant *both[2] = { get_string(s, error) };

	if (!both[0])
		return NULL;
	both[1] = get_value(s, error);
	if (!both[1])
		g_variant_unref(g_variant_ref_sink(both[0]));
	return both[1] ? g_variant_new_tuple(both, 2) : NULL;
}

static GVariant *get_array(struct source *s, const char *type, GError **error)
{
	g_autofree char *child = xdr_variant_type(type);
	g_autofree GVariant **list = NULL;
	GVariant *array;
	uint32_t n, i = 0;

	if (!get_word(s, &n, error))
		return NULL;
	/* Nothing is shorter than a word. */
	if (n > s->left / 4 || n > s->budget) {
		kv_fail(error, KV_ERROR_INVALID, "the message says that it has %u of something, which is too much", n);
		return NULL;
	}
	s->budget -= n;
	list = g_new(GVariant *, n + 1);
	for (; i < n; i++) {
		list[i] = take(s, type, error);
		if (!list[i])
			break;
	}
	if (i == n)
		return g_variant_new_array(G_VARIANT_TYPE(child), list, n);
	array = i ? g_variant_new_array(G_VARIANT_TYPE(child), list, i) : NULL;
	if (array)
		g_variant_unref(g_variant_ref_sink(array));
	return NULL;
}

static GVariant *get_tuple(struct source *s, const char *type, GError **error)
{
	g_autoptr(GPtrArray) list = g_ptr_array_new();
	GVariant *tuple;
	bool ok = true;

	for (type++; *type != ')' && ok; type = skip(type)) {
		GVariant *v = take(s, type, error);

		ok = v;
		if (ok)
			g_ptr_array_add(list, v);
	}
	tuple = g_variant_new_tuple((GVariant **)list->pdata, list->len);
	if (ok)
		return tuple;
	g_variant_unref(g_variant_ref_sink(tuple));
	return NULL;
}

static GVariant *get_maybe(struct source *s, const char *type, GError **error)
{
	g_autofree char *child = xdr_variant_type(type);
	GVariant *v = NULL;
	uint32_t there;

	if (!get_word(s, &there, error))
		return NULL;
	if (there > 1) {
		kv_fail(error, KV_ERROR_INVALID, "the message has %u where something is there or not", there);
		return NULL;
	}
	if (there) {
		v = take(s, type, error);
		if (!v)
			return NULL;
	}
	return g_variant_new_maybe(G_VARIANT_TYPE(child), v);
}

static GVariant *get_number(struct source *s, char type, GError **error)
{
	uint64_t hyper;
	uint32_t word;
	double real;

	if (strchr("iuc", type)) {
		if (!get_word(s, &word, error))
			return NULL;
		return type == 'u' ? g_variant_new_uint32(word) : g_variant_new_int32(word);
	}
	if (!get_hyper(s, &hyper, error))
		return NULL;
	memcpy(&real, &hyper, sizeof(real));
	return type == 'h' ? g_variant_new_int64(hyper) : type == 'H' ? g_variant_new_uint64(hyper) : g_variant_new_double(real);
}

/* Floating, or NULL. */
static GVariant *take(struct source *s, const char *type, GError **error)
{
	const char *means = meaning(*type);

	if (means)
		return take(s, means, error);
	switch (*type) {
	case 's':
		return get_string(s, error);
	case 'o':
		return get_bytes(s, error);
	case 'U':
		return get_uuid(s, error);
	case 'M':
		return get_model(s, error);
	case 'T':
		return get_param(s, error);
	case '?':
		return get_maybe(s, type + 1, error);
	case 'a':
		return get_array(s, type + 1, error);
	case '(':
		return get_tuple(s, type, error);
	default:
		return get_number(s, *type, error);
	}
}

GVariant *xdr_decode(const void *data, size_t len, const char *type, GError **error)
{
	struct source s = { data, len, XDR_COUNT_MAX };
	g_autoptr(GVariant) v = take(&s, type, error);

	if (!v)
		return NULL;
	g_variant_ref_sink(v);
	if (s.left) {
		kv_fail(error, KV_ERROR_INVALID, "the message has %zu bytes too many", s.left);
		return NULL;
	}
	return g_steal_pointer(&v);
}
