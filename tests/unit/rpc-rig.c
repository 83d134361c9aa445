/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See rpc-rig.h. */
#include <string.h>

#include "rpc-rig.h"
#include "xdr.h"

static guint32 next(struct rpc_rig *rig)
{
	rig->seed = rig->seed * 1664525 + 1013904223;
	return rig->seed >> 8;
}

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

static const struct {
	char letter;
	const char *means;
} objects[] = {
	{ 'D', "(sUi)" }, { 'N', "(sU)" },  { 'P', "(sU)" }, { 'F', "(sU)" }, { 'V', "(sss)" },
	{ 'I', "(ss)" },  { 'E', "(Uis)" }, { 'X', "s" },    { 'C', "(sD)" }, { 'Z', "(sD)" },
};

static GVariant *text(struct rpc_rig *rig, unsigned max)
{
	static const char letters[] = "abz/09 <&'é";
	GString *s = g_string_new(NULL);

	for (unsigned n = next(rig) % (max + 1); n; n--)
		g_string_append_c(s, letters[next(rig) % 10]);
	if (max > 40 && next(rig) % 4 == 0)
		g_string_append(s, "é");
	return g_variant_new_take_string(g_string_free(s, FALSE));
}

static GVariant *bytes(struct rpc_rig *rig, unsigned len)
{
	guint8 data[64];

	for (unsigned i = 0; i < len; i++)
		data[i] = next(rig);
	return g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, data, len, 1);
}

static GVariant *param(struct rpc_rig *rig)
{
	static const char kinds[] = "iuhHds";
	unsigned kind = next(rig) % 7;
	GVariant *value = kind == 6 ? g_variant_new_boolean(next(rig) & 1) : rpc_rig_value(rig, &kinds[kind]);

	return g_variant_new("(@sv)", text(rig, 20), value);
}

static GVariant *several(struct rpc_rig *rig, const char *type)
{
	GPtrArray *list = g_ptr_array_new();
	g_autofree char *child = *type == 'a' ? xdr_variant_type(type + 1) : NULL;
	GVariant *v;

	if (*type == 'a') {
		for (unsigned n = next(rig) % (rig->list_max + 1); n; n--)
			g_ptr_array_add(list, rpc_rig_value(rig, type + 1));
		v = g_variant_new_array(G_VARIANT_TYPE(child), (GVariant **)list->pdata, list->len);
	} else {
		for (const char *t = type + 1; *t != ')'; t = skip(t))
			g_ptr_array_add(list, rpc_rig_value(rig, t));
		v = g_variant_new_tuple((GVariant **)list->pdata, list->len);
	}
	g_ptr_array_free(list, TRUE);
	return v;
}

GVariant *rpc_rig_value(struct rpc_rig *rig, const char *type)
{
	GVariant *object = rig->object ? rig->object(rig->opaque, *type) : NULL;
	g_autofree char *child = NULL;

	if (object)
		return object;
	for (unsigned i = 0; i < G_N_ELEMENTS(objects); i++)
		if (objects[i].letter == *type)
			return rpc_rig_value(rig, objects[i].means);
	switch (*type) {
	case 'i':
	case 'c':
		return g_variant_new_int32(next(rig) - 0x800000);
	case 'u':
		return g_variant_new_uint32(next(rig) << 9);
	case 'h':
		return g_variant_new_int64((gint64)((guint64)next(rig) << 41));
	case 'H':
		return g_variant_new_uint64((guint64)next(rig) << 40 | next(rig));
	case 'd':
		return g_variant_new_double(next(rig) / 7.0);
	case 's':
		return text(rig, 60);
	case 'M':
		return text(rig, 31);
	case 'o':
		return bytes(rig, next(rig) % 64);
	case 'U':
		return bytes(rig, 16);
	case 'T':
		return param(rig);
	case '?':
		child = xdr_variant_type(type + 1);
		return g_variant_new_maybe(G_VARIANT_TYPE(child), next(rig) & 1 ? rpc_rig_value(rig, type + 1) : NULL);
	default:
		return several(rig, type);
	}
}
