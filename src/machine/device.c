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

void device_free(struct device *d)
{
	if (!d)
		return;
	if (d->cls->destroy)
		d->cls->destroy(d);
	g_free(d->id);
	g_free(d);
}
