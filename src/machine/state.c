/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writer and reader of saved state (state.h has the format). The stream may come from anywhere:
 * every length is checked against what is left before it is used.
 */
#include "state.h"

#include <string.h>

#include "bytes.h"
#include "error.h"

enum { MAGIC = 0x5453564b /* "KVST" */, HEADER = 12, NESTING = 8 };

static const uint8_t int_size[] = {
	[STATE_U8] = 1, [STATE_U16] = 2, [STATE_U32] = 4, [STATE_U64] = 8, [STATE_BOOL] = 1,
};

/* FNV-1a: against damage in storage, not against an adversary. */
static uint32_t checksum(const uint8_t *p, size_t n)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 16777619u;
	return h;
}

static void append_u32(GByteArray *out, uint32_t v)
{
	uint8_t b[4];

	put_le32(b, v);
	g_byte_array_append(out, b, sizeof(b));
}

static void append_name(GByteArray *out, const char *name)
{
	uint8_t n = MIN(strlen(name), UINT8_MAX);

	g_byte_array_append(out, &n, 1);
	g_byte_array_append(out, (const uint8_t *)name, n);
}

static void save_fields(GByteArray *out, const struct state_field *f, const uint8_t *base);

static void save_value(GByteArray *out, const struct state_field *f, const uint8_t *base)
{
	const uint8_t *p = base + f->offset;

	switch (f->type) {
	case STATE_BYTES:
		g_byte_array_append(out, p, f->count);
		break;
	case STATE_ARRAY: /* the host is little endian, as its guests are */
		g_byte_array_append(out, p, f->count * f->size);
		break;
	case STATE_STRUCT:
		for (uint32_t i = 0; i < f->count; i++)
			save_fields(out, f->fields, p + i * f->size);
		break;
	case STATE_POINTER_STRUCT: {
		uint32_t n = *(const uint32_t *)(base + f->count_at);

		append_u32(out, n);
		p = *(const uint8_t *const *)p;
		for (uint32_t i = 0; i < n; i++)
			save_fields(out, f->fields, p + i * f->size);
		break;
	}
	case STATE_BUFFER:
		g_byte_array_append(out, *(const uint8_t *const *)p, *(const uint32_t *)(base + f->count_at));
		break;
	case STATE_LIST: {
		const GPtrArray *list = *(GPtrArray *const *)p;

		append_u32(out, list->len);
		for (uint32_t i = 0; i < list->len; i++)
			save_fields(out, f->fields, list->pdata[i]);
		break;
	}
	default:
		g_byte_array_append(out, p, int_size[f->type]);
	}
}

static void save_fields(GByteArray *out, const struct state_field *f, const uint8_t *base)
{
	for (; f->name[0]; f++) {
		uint8_t type = f->type;
		guint at;

		append_name(out, f->name);
		g_byte_array_append(out, &type, 1);
		at = out->len;
		append_u32(out, 0);
		save_value(out, f, base);
		put_le32(out->data + at, out->len - at - 4);
	}
}

void state_save(GByteArray *out, const struct state_desc *desc, const char *id,
		const void *opaque)
{
	guint at = out->len;

	if (desc->before_save)
		desc->before_save((void *)opaque);
	append_u32(out, MAGIC);
	append_u32(out, 0);
	append_u32(out, 0);
	append_name(out, desc->name);
	append_name(out, id);
	append_u32(out, desc->version);
	save_fields(out, desc->fields, opaque);
	put_le32(out->data + at + 4, out->len - at - HEADER);
	put_le32(out->data + at + 8, checksum(out->data + at + HEADER, out->len - at - HEADER));
}

struct reader {
	const uint8_t *p, *end;
	const char *what; /* section, for messages */
	uint32_t version;
	unsigned depth;
};

static bool take(struct reader *r, size_t n, const uint8_t **ret, GError **error)
{
	if ((size_t)(r->end - r->p) < n)
		return kv_fail(error, KV_ERROR_INVALID, "saved state of %s ends too early",
			       r->what);
	*ret = r->p;
	r->p += n;
	return true;
}

static bool take_u32(struct reader *r, uint32_t *ret, GError **error)
{
	const uint8_t *p = NULL;

	if (!take(r, 4, &p, error))
		return false;
	*ret = get_le32(p);
	return true;
}

static bool take_name(struct reader *r, const char *want, const char *kind, GError **error)
{
	const uint8_t *n = NULL, *p = NULL;

	if (!take(r, 1, &n, error) || !take(r, *n, &p, error))
		return false;
	if (*n == MIN(strlen(want), UINT8_MAX) && !memcmp(p, want, *n))
		return true;
	return kv_fail(error, KV_ERROR_INVALID, "saved state of %s has the %s '%.*s' where '%s' "
		       "should be", r->what, kind, *n, (const char *)p, want);
}

static bool load_fields(struct reader *r, const struct state_field *f, uint8_t *base,
			GError **error);

static bool load_structs(struct reader *r, const struct state_field *f, uint8_t *p, uint32_t n,
			 GError **error)
{
	bool ok = true;

	if (++r->depth > NESTING)
		return kv_fail(error, KV_ERROR_INVALID, "saved state of %s nests too deep",
			       r->what);
	for (uint32_t i = 0; ok && i < n; i++)
		ok = load_fields(r, f->fields, p + i * f->size, error);
	r->depth--;
	return ok;
}

static bool wrong_length(struct reader *r, const struct state_field *f, GError **error)
{
	return kv_fail(error, KV_ERROR_INVALID, "saved state of %s: the field '%s' has a length "
		       "that this version does not have", r->what, f->name);
}

static bool load_raw(struct reader *r, const struct state_field *f, uint8_t *p, size_t size,
		     GError **error)
{
	const uint8_t *from = NULL;

	if ((size_t)(r->end - r->p) != size)
		return wrong_length(r, f, error);
	take(r, size, &from, error);
	if (f->type == STATE_BOOL && *from > 1)
		return kv_fail(error, KV_ERROR_INVALID, "saved state of %s: '%s' is %u, neither "
			       "true nor false", r->what, f->name, *from);
	memcpy(p, from, size);
	return true;
}

static bool load_buffer(struct reader *r, const struct state_field *f, uint8_t *base, GError **error)
{
	uint8_t **p = (uint8_t **)(base + f->offset);
	uint32_t *len = (uint32_t *)(base + f->count_at);
	size_t n = (size_t)(r->end - r->p);
	const uint8_t *from = NULL;

	if (n > f->count)
		return wrong_length(r, f, error);
	take(r, n, &from, error);
	g_free(*p);
	*p = g_memdup2(from, n);
	*len = (uint32_t)n;
	return true;
}

static bool load_list(struct reader *r, const struct state_field *f, GPtrArray *list, GError **error)
{
	uint32_t n = 0;

	g_ptr_array_set_size(list, 0);
	if (!take_u32(r, &n, error))
		return false;
	if (n > f->count)
		return kv_fail(error, KV_ERROR_INVALID, "saved state of %s has %u of '%s', more than %u", r->what, n, f->name,
			       f->count);
	for (uint32_t i = 0; i < n; i++) {
		g_ptr_array_add(list, g_malloc0(f->size));
		if (!load_structs(r, f, list->pdata[i], 1, error))
			return false;
	}
	return true;
}

/* r is limited to the bytes of the value. */
static bool load_value(struct reader *r, const struct state_field *f, uint8_t *base,
		       GError **error)
{
	uint8_t *p = base + f->offset;
	uint32_t n = 0, have;

	switch (f->type) {
	case STATE_BYTES:
		return load_raw(r, f, p, f->count, error);
	case STATE_ARRAY:
		return load_raw(r, f, p, f->count * f->size, error);
	case STATE_STRUCT:
		return load_structs(r, f, p, f->count, error);
	case STATE_POINTER_STRUCT:
		have = *(const uint32_t *)(base + f->count_at);
		if (!take_u32(r, &n, error))
			return false;
		if (n != have || n > f->count)
			return kv_fail(error, KV_ERROR_INVALID, "saved state of %s has %u of '%s', "
				       "this machine has %u", r->what, n, f->name, have);
		return load_structs(r, f, *(uint8_t **)p, n, error);
	case STATE_BUFFER:
		return load_buffer(r, f, base, error);
	case STATE_LIST:
		return load_list(r, f, *(GPtrArray **)p, error);
	default:
		return load_raw(r, f, p, int_size[f->type], error);
	}
}

static bool load_fields(struct reader *r, const struct state_field *f, uint8_t *base,
			GError **error)
{
	for (; f->name[0]; f++) {
		const uint8_t *type = NULL, *value = NULL;
		struct reader inner = *r;
		uint32_t len = 0;

		if (f->since > r->version)
			continue;
		if (!take_name(r, f->name, "field", error) || !take(r, 1, &type, error) ||
		    !take_u32(r, &len, error) || !take(r, len, &value, error))
			return false;
		if (*type != f->type)
			return kv_fail(error, KV_ERROR_INVALID, "saved state of %s: the field '%s' "
				       "has another type", r->what, f->name);
		inner.p = value;
		inner.end = value + len;
		if (!load_value(&inner, f, base, error))
			return false;
		if (inner.p != inner.end)
			return wrong_length(r, f, error);
	}
	return true;
}

bool state_load(GBytes *in, size_t *offset, const struct state_desc *desc, const char *id,
		void *opaque, GError **error)
{
	size_t size;
	const uint8_t *data = g_bytes_get_data(in, &size);
	struct reader r = { .what = id };
	uint32_t magic = 0, len = 0, sum = 0;

	if (*offset > size)
		return kv_fail(error, KV_ERROR_INVALID, "saved state of %s is missing", id);
	r.p = data + *offset;
	r.end = data + size;
	if (!take_u32(&r, &magic, error) || !take_u32(&r, &len, error) ||
	    !take_u32(&r, &sum, error))
		return false;
	if (magic != MAGIC)
		return kv_fail(error, KV_ERROR_INVALID, "saved state of %s: not a saved state", id);
	if (len > (size_t)(r.end - r.p))
		return kv_fail(error, KV_ERROR_INVALID, "saved state of %s ends too early", id);
	r.end = r.p + len;
	if (checksum(r.p, len) != sum)
		return kv_fail(error, KV_ERROR_INVALID, "saved state of %s is damaged: its "
			       "checksum does not fit", id);
	if (!take_name(&r, desc->name, "device", error) || !take_name(&r, id, "id", error) ||
	    !take_u32(&r, &r.version, error))
		return false;
	if (r.version > desc->version || r.version < desc->oldest)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "saved state of %s is version %u, this "
			       "program reads %u to %u", id, r.version, desc->oldest,
			       desc->version);
	if (!load_fields(&r, desc->fields, opaque, error))
		return false;
	if (r.p != r.end)
		return kv_fail(error, KV_ERROR_INVALID, "saved state of %s has bytes too many", id);
	*offset = r.end - data;
	return !desc->after_load || desc->after_load(opaque, error);
}
