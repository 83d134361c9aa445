/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a tree of options has under a name. g_variant_lookup() makes bytes of the whole tree, then goes through it entry by entry
 * and checks each: 30,000 instructions, and a start looks sixty times. Here it is gone through once. See options.h.
 */
#include "options.h"

/* Of the tree that was asked last: a process has one. It is held, so that its address is nobody else's. */
static struct {
	GVariant *options;
	GHashTable *values;
} entries;

static GVariant *find(GVariant *options, const char *name)
{
	GVariantIter iter;
	GVariant *value;
	char *key;

	if (entries.options == options)
		return g_hash_table_lookup(entries.values, name);
	g_clear_pointer(&entries.options, g_variant_unref);
	g_clear_pointer(&entries.values, g_hash_table_unref);
	entries.values = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_variant_unref);
	g_variant_iter_init(&iter, options);
	while (g_variant_iter_next(&iter, "{sv}", &key, &value))
		g_hash_table_replace(entries.values, key, value);
	entries.options = g_variant_ref(options);
	return g_hash_table_lookup(entries.values, name);
}

bool options_lookup(GVariant *options, const char *name, const char *format, ...)
{
	GVariant *value = find(options, name);
	va_list args;

	if (!value || !g_variant_check_format_string(value, format, FALSE))
		return false;
	va_start(args, format);
	g_variant_get_va(value, format, NULL, &args);
	va_end(args);
	return true;
}

GVariant *options_lookup_value(GVariant *options, const char *name)
{
	GVariant *value = find(options, name);

	return value ? g_variant_ref(value) : NULL;
}
