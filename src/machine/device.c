/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making and freeing devices by the name of their class (device.h). Called by the boards. */
#include "device.h"

#include <string.h>

#include "error.h"

const struct device_class *device_class_find(const char *name)
{
	for (const struct device_class *const *c = device_table; *c; c++)
		if (!strcmp((*c)->name, name))
			return *c;
	return NULL;
}

struct device *device_new(struct machine_core *core, const char *cls, const char *id, GVariant *options,
			  const struct device_backend *backend, GError **error)
{
	static const struct device_backend none;
	const struct device_class *c = device_class_find(cls);
	struct device *d;

	if (!c) {
		kv_fail(error, KV_ERROR_USAGE, "there is no device '%s'", cls);
		return NULL;
	}
	d = g_malloc0(c->size);
	d->cls = c;
	d->core = core;
	d->id = g_strdup(id);
	if (c->create(d, options, backend ? backend : &none, error))
		return d;
	g_free(d->id);
	g_free(d);
	return NULL;
}

const struct device_key device_no_keys[] = {{0}};

static GVariant *key_value(const struct device_key *k, const char *word, GError **error)
{
	bool hex = g_str_has_prefix(word, "0x");
	guint64 n, max = k->max ? k->max : UINT64_MAX;

	switch (k->type) {
	case DEVICE_KEY_BOOL:
		if (!strcmp(word, "on") || !strcmp(word, "off"))
			return g_variant_new_boolean(word[1] == 'n');
		kv_fail(error, KV_ERROR_USAGE, "%s: '%s' is not on or off", k->name, word);
		return NULL;
	case DEVICE_KEY_COUNT:
		if (g_ascii_string_to_unsigned(word + (hex ? 2 : 0), hex ? 16 : 10, k->min, max, &n, NULL))
			return g_variant_new_uint64(n);
		kv_fail(error, KV_ERROR_USAGE, "%s: '%s' is not a number from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT,
			k->name, word, k->min, max);
		return NULL;
	case DEVICE_KEY_TEXT:
		return g_variant_new_string(word);
	case DEVICE_KEY_BACKEND:
		kv_fail(error, KV_ERROR_USAGE, "%s is for device_add alone", k->name);
		return NULL;
	}
	return NULL;
}

static GVariant *fail_key(const struct device_class *cls, const char *name, GError **error)
{
	GString *known = g_string_new(NULL);

	for (const struct device_key *k = cls->keys; k->name; k++)
		g_string_append_printf(known, "%s%s", known->len ? ", " : "", k->name);
	kv_fail(error, KV_ERROR_USAGE, "%s has no option '%s'; it has %s", cls->name, name, known->len ? known->str : "none");
	g_string_free(known, TRUE);
	return NULL;
}

GVariant *device_options(const struct device_class *cls, GVariant *words, GError **error)
{
	g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
	const char *name, *word;
	GVariantIter iter;

	g_variant_iter_init(&iter, words);
	while (g_variant_iter_next(&iter, "{&s&s}", &name, &word)) {
		const struct device_key *k = cls->keys;
		GVariant *v;

		while (k && k->name && strcmp(k->name, name))
			k++;
		if (!k || !k->name)
			return fail_key(cls, name, error);
		v = key_value(k, word, error);
		if (!v) {
			g_prefix_error(error, "%s: ", cls->name);
			return NULL;
		}
		g_variant_dict_insert_value(&dict, name, v);
	}
	return g_variant_ref_sink(g_variant_dict_end(&dict));
}

void device_free(struct device *d)
{
	if (!d)
		return;
	if (d->cls->destroy)
		d->cls->destroy(d);
	g_free(d->id);
	g_free(d);
}
