/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits of what a domain's process may use of the host: processors, memory, disks, as typed parameters and in the definition.
 * Keeping them is the driver's (hv.h, tune), with what the kernel has.
 */
#include <string.h>

#include "domain.h"
#include "events.h"
#include "model-xml.h"

enum { STRING_OKAY = 4 };
/* In KiB: no limit, as libvirt has it. */
#define UNLIMITED G_GINT64_CONSTANT(9007199254740991)
#define QUOTA_MAX G_GINT64_CONSTANT(17592186044415)

/* A parameter, its element and what there is without it. period: 0 is none, and so for quotas. */
struct tunable {
	const char *name, *path;
	const char *type; /* on the wire */
	gint64 otherwise, min, max;
	bool zero; /* 0, or less, is no limit */
};

static const struct tunable scheduler[] = {
	{ "cpu_shares", "cputune/shares", "t", 100, 1, 10000 },
	{ "vcpu_period", "cputune/period", "t", 100000, 1000, 1000000, true },
	{ "vcpu_quota", "cputune/quota", "x", -1, 1000, QUOTA_MAX, true },
	{ "emulator_period", "cputune/emulator_period", "t", 100000, 1000, 1000000, true },
	{ "emulator_quota", "cputune/emulator_quota", "x", -1, 1000, QUOTA_MAX, true },
	{ "global_period", "cputune/global_period", "t", 100000, 1000, 1000000, true },
	{ "global_quota", "cputune/global_quota", "x", -1, 1000, QUOTA_MAX, true },
	{ NULL },
};
static const struct tunable memory[] = {
	{ "hard_limit", "memtune/hard_limit", "t", UNLIMITED, 1, G_MAXINT64 },
	{ "soft_limit", "memtune/soft_limit", "t", UNLIMITED, 1, G_MAXINT64 },
	{ "swap_hard_limit", "memtune/swap_hard_limit", "t", UNLIMITED, 1, G_MAXINT64 },
	{ NULL },
};
/* Those with a device's element have a text: "/dev/vda,500,/dev/vdb,100". */
static const struct tunable blkio[] = {
	{ "weight", "blkiotune/weight", "u", 0, 10, 1000, true },
	{ "device_weight", "weight", "s", 0, 10, 1000, true },
	{ "device_read_iops_sec", "read_iops_sec", "s", 0, 0, G_MAXUINT32 },
	{ "device_write_iops_sec", "write_iops_sec", "s", 0, 0, G_MAXUINT32 },
	{ "device_read_bytes_sec", "read_bytes_sec", "s", 0, 0, G_MAXINT64 },
	{ "device_write_bytes_sec", "write_bytes_sec", "s", 0, 0, G_MAXINT64 },
	{ NULL },
};
static const char *const numa_modes[] = { "strict", "preferred", "interleave", "restrictive" };

static bool is_text(const struct tunable *t)
{
	return *t->type == 's';
}

static unsigned count(const struct tunable *rows)
{
	unsigned n = 0;

	while (rows[n].name)
		n++;
	return n;
}

static const struct tunable *find(const struct tunable *rows, const char *name)
{
	for (; rows->name; rows++)
		if (!strcmp(rows->name, name))
			return rows;
	return NULL;
}

/* ---- devices' limits ---- */

static xmlNode *device_node(struct domain_def *def, const char *path, bool make)
{
	xmlNode *tune = xml_child(domain_def_root(def), "blkiotune"), *device;

	for (unsigned i = 0; tune && (device = xml_nth(tune, "device", i)); i++)
		if (xml_is(device, "path", path))
			return device;
	if (!make)
		return NULL;
	if (!tune) {
		domain_def_set_text(def, "blkiotune", "");
		tune = xml_child(domain_def_root(def), "blkiotune");
	}
	device = xml_add(tune, "device");
	xml_set(device, "path", path);
	return device;
}

static char *device_text(const struct domain_def *def, const struct tunable *t)
{
	const xmlNode *tune = xml_child(domain_def_root(def), "blkiotune"), *device;
	GString *out = g_string_new(NULL);

	for (unsigned i = 0; tune && (device = xml_nth(tune, "device", i)); i++)
		if (xml_text(device, t->path))
			g_string_append_printf(out, "%s%s,%s", out->len ? "," : "", xml_text(device, "path"),
					       xml_text(device, t->path));
	return g_string_free(out, FALSE);
}

static bool in_range(const struct tunable *t, gint64 n, GError **error)
{
	if ((t->zero && n <= 0) || (n >= t->min && n <= t->max))
		return true;
	return rpc_fail(error, VIR_ERR_INVALID_ARG, "value of '%s' is out of range [%" G_GINT64_FORMAT ", %" G_GINT64_FORMAT "]",
			t->name, t->min, t->max);
}

/* 0 takes a device's limit away. def NULL: only checked. */
static bool set_devices(struct domain_def *def, const struct tunable *t, const char *text, GError **error)
{
	g_auto(GStrv) words = g_strsplit(text, ",", -1);

	for (char **w = words; *w && **words; w += 2) {
		gint64 n;
		xmlNode *device;

		if (**w != '/' || !w[1] || !g_ascii_string_to_signed(w[1], 10, 0, G_MAXINT64, &n, NULL))
			return rpc_fail(error, VIR_ERR_INVALID_ARG, "unable to parse blkio device '%s' '%s'", t->name, text);
		if (!in_range(t, n, error))
			return false;
		device = def ? device_node(def, *w, n) : NULL;
		if (!device)
			continue;
		xml_set(device, t->path, n ? w[1] : NULL);
		if (!xml_text(device, "weight") && !xml_text(device, "read_iops_sec") && !xml_text(device, "write_iops_sec") &&
		    !xml_text(device, "read_bytes_sec") && !xml_text(device, "write_bytes_sec")) {
			xmlUnlinkNode(device);
			xmlFreeNode(device);
		}
	}
	return true;
}

/* ---- one value ---- */

static gint64 number_of(GVariant *value)
{
	switch (*g_variant_get_type_string(value)) {
	case 't':
		return (gint64)MIN(g_variant_get_uint64(value), (guint64)G_MAXINT64);
	case 'x':
		return g_variant_get_int64(value);
	case 'u':
		return g_variant_get_uint32(value);
	default:
		return 0;
	}
}

static GVariant *number_value(const struct tunable *t, gint64 n)
{
	return *t->type == 't' ? g_variant_new_uint64((guint64)n) :
	       *t->type == 'x' ? g_variant_new_int64(n) : g_variant_new_uint32((guint32)n);
}

/* After nodes were added. */
static void put_in_order(struct domain_def *def)
{
	g_autofree char *name = g_strdup(domain_def_name(def));

	domain_def_set_text(def, "name", name);
}

static void set_one(struct domain_def *def, const struct tunable *t, GVariant *value)
{
	g_autofree char *text = NULL;
	bool memory_limit = g_str_has_prefix(t->path, "memtune/");
	gint64 n;

	if (is_text(t)) {
		set_devices(def, t, g_variant_get_string(value, NULL), NULL);
		put_in_order(def);
		return;
	}
	n = number_of(value);
	if (!(t->zero && n == 0) && !(memory_limit && n >= UNLIMITED))
		text = g_strdup_printf("%" G_GINT64_FORMAT, n < 0 ? -1 : n);
	domain_def_set_text(def, t->path, text);
	if (memory_limit && text) {
		g_autofree char *unit = g_strconcat(t->path, "/@unit", NULL);

		domain_def_set_text(def, unit, "KiB");
	}
}

static bool check_one(const struct tunable *rows, const char *name, GVariant *value, GError **error)
{
	const struct tunable *t = find(rows, name);

	if (!t)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "parameter '%s' not supported", name);
	if (strcmp(g_variant_get_type_string(value), t->type))
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "invalid type '%s' for parameter '%s', expected '%s'",
				g_variant_get_type_string(value), name, t->type);
	if (is_text(t))
		return set_devices(NULL, t, g_variant_get_string(value, NULL), error);
	return in_range(t, number_of(value), error);
}

static bool check_together(const struct domain_def *def, GError **error)
{
	guint64 hard, swap;

	if (xml_number(domain_def_root(def), "memtune/swap_hard_limit", &swap) &&
	    xml_number(domain_def_root(def), "memtune/hard_limit", &hard) && hard > swap)
		return rpc_fail(error, VIR_ERR_INVALID_ARG,
				"memory hard_limit tunable value must be lower than or equal to swap_hard_limit");
	return true;
}

/* ---- setting ---- */

static const struct tunable *rows_of(const struct call *call)
{
	switch (call->proc->number) {
	case RPC_DOMAIN_GET_MEMORY_PARAMETERS:
	case RPC_DOMAIN_SET_MEMORY_PARAMETERS:
		return memory;
	case RPC_DOMAIN_GET_BLKIO_PARAMETERS:
	case RPC_DOMAIN_SET_BLKIO_PARAMETERS:
		return blkio;
	default:
		return scheduler;
	}
}

static void apply(struct domain_def *def, const struct tunable *rows, GVariant *params)
{
	const char *name;
	GVariantIter iter;
	GVariant *value;

	g_variant_iter_init(&iter, params);
	while (g_variant_iter_loop(&iter, "(&sv)", &name, &value))
		set_one(def, find(rows, name), value);
}

static bool check_all(const struct tunable *rows, GVariant *params, GError **error)
{
	for (gsize i = 0; i < g_variant_n_children(params); i++) {
		g_autoptr(GVariant) value = NULL;
		const char *name;

		g_variant_get_child(params, i, "(&sv)", &name, &value);
		if (!check_one(rows, name, value, error))
			return false;
	}
	return true;
}

static bool set_live(struct domain *d, const struct tunable *rows, GVariant *params, GError **error)
{
	g_autoptr(DomainDef) wanted = domain_def_copy(d->live);

	apply(wanted, rows, params);
	if (!check_together(wanted, error) || !d->hv->driver->tune(d, wanted, error) || !domain_require_active(d, error))
		return false;
	apply(d->live, rows, params);
	if (d->hv->driver->store_status)
		d->hv->driver->store_status(d);
	if (rows == scheduler)
		events_domain(d, DOMAIN_EVENT_TUNABLE, g_variant_new("(@a(sv))", params));
	return true;
}

static bool set_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GVariant) params = g_variant_get_child_value(args, 1);
	const struct tunable *rows = rows_of(call);
	g_autoptr(DomainDef) wanted = NULL;
	guint32 flags = AFFECT_CURRENT;

	if (!d->hv->driver->tune)
		return handler_unsupported(call, args, ret, error);
	if (g_variant_n_children(args) > 2)
		g_variant_get_child(args, 2, "u", &flags);
	if (!call_check_flags(call, flags, AFFECT_LIVE | AFFECT_CONFIG, error) || !domain_affects(d, &flags, error) ||
	    !check_all(rows, params, error))
		return false;
	if (flags & AFFECT_CONFIG) {
		if (!domain_stored_def(d, error))
			return false;
		wanted = domain_def_copy(d->def);
		apply(wanted, rows, params);
		if (!check_together(wanted, error))
			return false;
	}
	if (flags & AFFECT_LIVE && !set_live(d, rows, params, error))
		return false;
	return !wanted || domain_store_as(d, &wanted, error);
}

static bool set(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_MODIFY, false, set_func);
}

/* ---- getting ---- */

static GVariant *value_of(struct domain *d, const struct domain_def *def, const struct tunable *t)
{
	g_autofree char *text = is_text(t) ? device_text(def, t) : NULL;
	const char *set;
	gint64 n;

	if (text)
		return g_variant_new_string(text);
	if (def == d->live && d->hv->driver->tuned && d->hv->driver->tuned(d, t->path, &n))
		return number_value(t, n);
	set = xml_text(domain_def_root(def), t->path);
	return number_value(t, set && g_ascii_string_to_signed(set, 10, G_MININT64, G_MAXINT64, &n, NULL) ? n : t->otherwise);
}

static const struct domain_def *def_for(struct call *call, struct domain *d, guint32 flags, GError **error)
{
	flags &= ~(guint32)STRING_OKAY;
	if (!d->hv->driver->tune) {
		handler_unsupported(call, NULL, NULL, error);
		return NULL;
	}
	if (!call_check_flags(call, flags, AFFECT_LIVE | AFFECT_CONFIG, error) || !domain_affects(d, &flags, error))
		return NULL;
	return flags & AFFECT_LIVE ? d->live : domain_stored_def(d, error);
}

/* Those of schedulers have no number in their answers. */
static bool get(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	const struct tunable *rows = rows_of(call);
	const struct domain_def *def;
	guint32 flags = AFFECT_CURRENT;
	GVariantBuilder list;
	gint32 room;

	g_variant_get_child(args, 1, "i", &room);
	if (g_variant_n_children(args) > 2)
		g_variant_get_child(args, 2, "u", &flags);
	def = d ? def_for(call, d, flags, error) : NULL;
	if (!def)
		return false;
	g_variant_builder_init(&list, G_VARIANT_TYPE("a(sv)"));
	for (gint32 i = 0; rows[i].name && i < room; i++)
		g_variant_builder_add(&list, "(sv)", rows[i].name, value_of(d, def, &rows[i]));
	*ret = rows == scheduler ? g_variant_new("(a(sv))", &list) :
	       g_variant_new("(a(sv)i)", &list, room > 0 ? MIN(room, (gint32)count(rows)) : (gint32)count(rows));
	return true;
}

static bool scheduler_type(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);

	if (!d)
		return false;
	*ret = g_variant_new("(si)", "posix", call->hv->driver->tune ? count(scheduler) : 0);
	return true;
}

/* ---- memory of nodes: decided when a machine starts ---- */

static bool get_numa(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	const struct domain_def *def;
	const char *mode, *nodes;
	GVariantBuilder list;
	guint32 flags;
	gint32 room;
	int number = 0;

	g_variant_get_child(args, 1, "i", &room);
	g_variant_get_child(args, 2, "u", &flags);
	def = d ? def_for(call, d, flags, error) : NULL;
	if (!def)
		return false;
	mode = xml_text(domain_def_root(def), "numatune/memory/@mode");
	nodes = xml_text(domain_def_root(def), "numatune/memory/@nodeset");
	for (unsigned i = 0; mode && i < G_N_ELEMENTS(numa_modes); i++)
		if (!strcmp(numa_modes[i], mode))
			number = (int)i;
	g_variant_builder_init(&list, G_VARIANT_TYPE("a(sv)"));
	if (room > 0)
		g_variant_builder_add(&list, "(sv)", "numa_mode", g_variant_new_int32(number));
	if (room > 1)
		g_variant_builder_add(&list, "(sv)", "numa_nodeset", g_variant_new_string(nodes ? nodes : ""));
	*ret = g_variant_new("(a(sv)i)", &list, room > 0 ? MIN(room, 2) : 2);
	return true;
}

static bool set_numa_one(struct domain_def *def, const char *name, GVariant *value, GError **error)
{
	if (!strcmp(name, "numa_mode") && g_variant_is_of_type(value, G_VARIANT_TYPE_INT32)) {
		gint32 mode = g_variant_get_int32(value);

		if (mode < 0 || mode >= (gint32)G_N_ELEMENTS(numa_modes))
			return rpc_fail(error, VIR_ERR_INVALID_ARG, "unsupported numatune mode: '%d'", mode);
		domain_def_set_text(def, "numatune/memory/@mode", numa_modes[mode]);
		return true;
	}
	if (!strcmp(name, "numa_nodeset") && g_variant_is_of_type(value, G_VARIANT_TYPE_STRING)) {
		domain_def_set_text(def, "numatune/memory/@nodeset", g_variant_get_string(value, NULL));
		return true;
	}
	return rpc_fail(error, VIR_ERR_INVALID_ARG, "parameter '%s' not supported", name);
}

static bool set_numa_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GVariant) params = g_variant_get_child_value(args, 1);
	g_autoptr(DomainDef) wanted = NULL;
	guint32 flags;

	if (!d->hv->driver->tune)
		return handler_unsupported(call, args, ret, error);
	g_variant_get_child(args, 2, "u", &flags);
	if (!call_check_flags(call, flags, AFFECT_LIVE | AFFECT_CONFIG, error) || !domain_affects(d, &flags, error))
		return false;
	if (flags & AFFECT_LIVE)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID,
				"can't change numatune of a running domain; with --config it is changed at its next start");
	if (!domain_stored_def(d, error))
		return false;
	wanted = domain_def_copy(d->def);
	xml_default(domain_def_root(wanted), "numatune/memory/@mode", "strict");
	for (gsize i = 0; i < g_variant_n_children(params); i++) {
		g_autoptr(GVariant) value = NULL;
		const char *name;

		g_variant_get_child(params, i, "(&sv)", &name, &value);
		if (!set_numa_one(wanted, name, value, error))
			return false;
	}
	return domain_store_as(d, &wanted, error);
}

static bool set_numa(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_MODIFY, false, set_numa_func);
}

enum { LOOK = HANDLER_FAST | HANDLER_READ_ONLY };

const struct handler domain_tune_handlers[] = {
	{ RPC_DOMAIN_GET_SCHEDULER_TYPE, scheduler_type, LOOK },
	{ RPC_DOMAIN_GET_SCHEDULER_PARAMETERS, get, LOOK },
	{ RPC_DOMAIN_GET_SCHEDULER_PARAMETERS_FLAGS, get, LOOK },
	{ RPC_DOMAIN_SET_SCHEDULER_PARAMETERS, set, 0 },
	{ RPC_DOMAIN_SET_SCHEDULER_PARAMETERS_FLAGS, set, 0 },
	{ RPC_DOMAIN_GET_MEMORY_PARAMETERS, get, LOOK },
	{ RPC_DOMAIN_SET_MEMORY_PARAMETERS, set, 0 },
	{ RPC_DOMAIN_GET_BLKIO_PARAMETERS, get, LOOK },
	{ RPC_DOMAIN_SET_BLKIO_PARAMETERS, set, 0 },
	{ RPC_DOMAIN_GET_NUMA_PARAMETERS, get_numa, LOOK },
	{ RPC_DOMAIN_SET_NUMA_PARAMETERS, set_numa, 0 },
	{ 0 },
};
