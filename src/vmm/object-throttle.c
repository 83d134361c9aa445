/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects of type throttle-group: limits that several drives share. The group is there without drives, and its limits change by
 * qom-set of `limits`, QEMU's ThrottleLimits (qapi/block-core.json); keys have x- before the same names. See objects.h,
 * block/throttle-group.h.
 */
#include <string.h>

#include "error.h"
#include "objects.h"
#include "options.h"
#include "throttle-group.h"

struct throttle_object {
	struct vmm_object base;
	struct throttle_group *group;
};

#define LIMIT(name, what)                                                                                   \
	{ "x-" name, OPTION_SIZE, "N", what " a second", .max = INT64_MAX },                                \
	{ "x-" name "-max", OPTION_SIZE, "N", what " a second in a burst", .max = INT64_MAX },              \
	{ "x-" name "-max-length", OPTION_COUNT, "S", "seconds a burst may last (1)", .min = 1, .max = UINT32_MAX }

static const struct option keys[] = {
	LIMIT("iops-total", "requests"),
	LIMIT("iops-read", "reads"),
	LIMIT("iops-write", "writes"),
	LIMIT("bps-total", "bytes"),
	LIMIT("bps-read", "bytes read"),
	LIMIT("bps-write", "bytes written"),
	{ "x-iops-size", OPTION_SIZE, "SIZE", "bytes that count as one request", .max = INT64_MAX },
	{},
};

static const char *const kinds[THROTTLE_KINDS] = {
	[THROTTLE_BPS] = "bps-total",	[THROTTLE_BPS_READ] = "bps-read",   [THROTTLE_BPS_WRITE] = "bps-write",
	[THROTTLE_IOPS] = "iops-total", [THROTTLE_IOPS_READ] = "iops-read", [THROTTLE_IOPS_WRITE] = "iops-write",
};

/* The number that a name of ThrottleLimits has; NULL: there is no such. */
static uint64_t *find_number(struct throttle_config *c, const char *name)
{
	if (!strcmp(name, "iops-size"))
		return &c->iops_size;
	for (int i = 0; i < THROTTLE_KINDS; i++) {
		const char *rest = g_str_has_prefix(name, kinds[i]) ? name + strlen(kinds[i]) : NULL;

		if (rest && !*rest)
			return &c->limit[i].avg;
		if (rest && !strcmp(rest, "-max"))
			return &c->limit[i].max;
		if (rest && !strcmp(rest, "-max-length"))
			return &c->limit[i].length;
	}
	return NULL;
}

/* Of a property's value (x), or a key's (t). */
static bool take_number(GVariant *value, uint64_t *ret)
{
	if (g_variant_is_of_type(value, G_VARIANT_TYPE_INT64))
		*ret = (uint64_t)g_variant_get_int64(value);
	else if (g_variant_is_of_type(value, G_VARIANT_TYPE_UINT64))
		*ret = g_variant_get_uint64(value);
	else
		return false;
	return true;
}

static bool set_limit(struct throttle_config *c, const char *name, GVariant *value, GError **error)
{
	uint64_t *number = find_number(c, name);

	if (!number)
		return kv_fail(error, KV_ERROR_USAGE, "Parameter 'limits.%s' is unexpected", name);
	if (!take_number(value, number))
		return kv_fail(error, KV_ERROR_USAGE, "Invalid parameter type for 'limits.%s', expected: integer", name);
	return *number || !g_str_has_suffix(name, "-length") || kv_fail(error, KV_ERROR_USAGE, "the burst length cannot be 0");
}

/* Sets what is given, and leaves the others as they are. */
static bool set_limits(struct throttle_group *g, GVariant *given, GError **error)
{
	struct throttle_config c = *throttle_group_config(g);
	GVariantIter iter;
	const char *name;
	GVariant *value;

	g_variant_iter_init(&iter, given);
	while (g_variant_iter_next(&iter, "{&sv}", &name, &value)) {
		bool ok = set_limit(&c, name + (g_str_has_prefix(name, "x-") ? strlen("x-") : 0), value, error);

		g_variant_unref(value);
		if (!ok)
			return false;
	}
	if (!throttle_check(&c, error))
		return false;
	throttle_group_set(g, &c);
	return true;
}

static bool create(struct vmm_object *o, GVariant *given, GError **error)
{
	struct throttle_object *t = (struct throttle_object *)o;

	if (throttle_group_find(o->id))
		return kv_fail(error, KV_ERROR_USAGE, "A group with this name already exists");
	t->group = throttle_group_get(o->id);
	return set_limits(t->group, given, error);
}

static void object_free(struct vmm_object *o)
{
	throttle_group_unref(((struct throttle_object *)o)->group);
}

static bool in_use(const struct vmm_object *o)
{
	return throttle_group_has_members(((const struct throttle_object *)o)->group);
}

static void put(GVariantBuilder *b, const char *kind, const char *suffix, uint64_t n)
{
	g_autofree char *name = g_strconcat(kind, suffix, NULL);

	g_variant_builder_add(b, "{sv}", name, g_variant_new_int64((gint64)n));
}

static GVariant *get(const struct vmm_object *o, const char *property)
{
	const struct throttle_config *c = throttle_group_config(((const struct throttle_object *)o)->group);
	GVariantBuilder b;

	g_variant_builder_init(&b, G_VARIANT_TYPE_VARDICT);
	for (int i = 0; i < THROTTLE_KINDS; i++) {
		put(&b, kinds[i], "", c->limit[i].avg);
		put(&b, kinds[i], "-max", c->limit[i].max);
		put(&b, kinds[i], "-max-length", MAX(c->limit[i].length, 1));
	}
	put(&b, "iops-size", "", c->iops_size);
	return g_variant_builder_end(&b);
}

static bool set(struct vmm_object *o, const char *property, GVariant *value, GError **error)
{
	return set_limits(((struct throttle_object *)o)->group, value, error);
}

static const char *const properties[] = { "limits", NULL };

const struct object_type object_throttle_group = {
	.name = "throttle-group",
	.size = sizeof(struct throttle_object),
	.keys = keys,
	.create = create,
	.in_use = in_use,
	.free = object_free,
	.properties = properties,
	.get = get,
	.set = set,
};
