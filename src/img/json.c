/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON as QEMU's tools write it, byte for byte: four spaces a level, ASCII alone, and the members of an object in the order of
 * QEMU's hash table of 512 chains (its hash is TDB's), which programs should not but do rely on.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "img.h"

enum {
	CHAINS = 512,
};

static unsigned chain_of(const char *key)
{
	uint32_t value = 0x238f13afu * (uint32_t)strlen(key);

	for (unsigned i = 0; key[i]; i++)
		value += (uint32_t)(uint8_t)key[i] << (i * 5 % 24);
	return (1103515243u * value + 12345u) % CHAINS;
}

struct member {
	const char *key;
	json_t *value;
	unsigned chain, index;
};

static int compare_members(const void *a, const void *b)
{
	const struct member *x = a, *y = b;

	if (x->chain != y->chain)
		return x->chain < y->chain ? -1 : 1;
	/* What came last is the first of its chain. */
	return x->index > y->index ? -1 : 1;
}

static json_t *order_object(json_t *value)
{
	g_autofree struct member *members = g_new(struct member, json_object_size(value) + 1);
	json_t *out = json_object(), *item;
	unsigned n = 0;
	const char *key;

	json_object_foreach(value, key, item)
	{
		members[n] = (struct member){key, item, chain_of(key), n};
		n++;
	}
	qsort(members, n, sizeof(members[0]), compare_members);
	for (unsigned i = 0; i < n; i++)
		json_object_set_new(out, members[i].key, img_json_order(members[i].value));
	return out;
}

json_t *img_json_order(json_t *value)
{
	json_t *out, *item;
	size_t i;

	if (json_is_object(value))
		return order_object(value);
	if (!json_is_array(value))
		return json_incref(value);
	out = json_array();
	json_array_foreach(value, i, item) json_array_append_new(out, img_json_order(item));
	return out;
}

/* Nothing in brackets takes two lines. Strings are escaped, and end with a quote, so a line's end says what it is. */
static void print_line(const char *line)
{
	size_t len = strlen(line), comma = len && line[len - 1] == ',', end = len - comma;

	if (end >= 2 && (memcmp(line + end - 2, "[]", 2) == 0 || memcmp(line + end - 2, "{}", 2) == 0))
		printf("%.*s\n%*s%s\n", (int)end - 1, line, (int)strspn(line, " "), "", line + end - 1);
	else
		puts(line);
}

void img_json_print(json_t *value)
{
	json_t *ordered = img_json_order(value);
	char *text = json_dumps(ordered, JSON_INDENT(4) | JSON_ENSURE_ASCII);
	g_auto(GStrv) lines = g_strsplit(text ? text : "", "\n", -1);

	for (char **line = lines; *line; line++)
		print_line(*line);
	free(text);
	json_decref(ordered);
	json_decref(value);
}

json_t *img_json_string(const char *text)
{
	g_autofree char *valid = g_utf8_make_valid(text, -1);

	return json_string(valid);
}

static json_t *from_container(GVariant *value)
{
	bool dictionary = g_variant_is_of_type(value, G_VARIANT_TYPE_DICTIONARY);
	json_t *out = dictionary ? json_object() : json_array();
	GVariantIter iter;
	GVariant *child;

	g_variant_iter_init(&iter, value);
	while ((child = g_variant_iter_next_value(&iter))) {
		if (dictionary) {
			g_autoptr(GVariant) key = g_variant_get_child_value(child, 0);
			g_autoptr(GVariant) item = g_variant_get_child_value(child, 1);

			json_object_set_new(out, g_variant_get_string(key, NULL), img_json_from_variant(item));
		} else {
			json_array_append_new(out, img_json_from_variant(child));
		}
		g_variant_unref(child);
	}
	return out;
}

json_t *img_json_from_variant(GVariant *value)
{
	switch (g_variant_classify(value)) {
	case G_VARIANT_CLASS_BOOLEAN:
		return json_boolean(g_variant_get_boolean(value));
	case G_VARIANT_CLASS_BYTE:
		return json_integer(g_variant_get_byte(value));
	case G_VARIANT_CLASS_INT32:
		return json_integer(g_variant_get_int32(value));
	case G_VARIANT_CLASS_UINT32:
		return json_integer(g_variant_get_uint32(value));
	case G_VARIANT_CLASS_INT64:
		return json_integer(g_variant_get_int64(value));
	case G_VARIANT_CLASS_UINT64:
		return json_integer((json_int_t)g_variant_get_uint64(value));
	case G_VARIANT_CLASS_STRING:
		return img_json_string(g_variant_get_string(value, NULL));
	case G_VARIANT_CLASS_VARIANT: {
		g_autoptr(GVariant) inner = g_variant_get_variant(value);

		return img_json_from_variant(inner);
	}
	default:
		return g_variant_is_container(value) ? from_container(value) : json_null();
	}
}
