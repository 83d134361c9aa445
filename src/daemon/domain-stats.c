/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What domains use: all statistics at once for many of them, and the older calls for one disk, one interface, memory. */
#include <string.h>

#include "domain.h"
#include "model-xml.h"

enum {
	STATS_STATE = 1 << 0,
	STATS_CPU = 1 << 1,
	STATS_BALLOON = 1 << 2,
	STATS_VCPU = 1 << 3,
	STATS_KNOWN = (1 << 11) - 1,
	STATS_FILTERS = 0xff,
	STATS_NOWAIT = 1 << 29,
	STATS_BACKING = 1 << 30,
};
#define STATS_ENFORCE (1u << 31)

static void add_own(struct domain *d, unsigned groups, GVariantBuilder *out)
{
	if (!(groups & STATS_STATE))
		return;
	g_variant_builder_add(out, "(sv)", "state.state", g_variant_new_int32(d->state));
	g_variant_builder_add(out, "(sv)", "state.reason", g_variant_new_int32(d->reason));
}

/* One domain's record. false: it is left out, because it is gone or its machine does not answer. */
static bool add_record(struct domain *d, unsigned groups, guint32 flags, GVariantBuilder *records)
{
	GVariantBuilder params = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(sv)"));
	bool asks = d->hv->driver->stats && groups & ~STATS_STATE && domain_is_active(d);
	bool job = asks && !(flags & STATS_NOWAIT && d->job != JOB_NONE) && domain_job_begin(d, JOB_QUERY, NULL);

	if (d->gone) {
		g_variant_builder_clear(&params);
		return false;
	}
	add_own(d, groups, &params);
	if (d->hv->driver->stats && groups & ~STATS_STATE)
		d->hv->driver->stats(d, groups | (job ? 0 : HV_STATS_NOW), &params, NULL);
	if (job)
		domain_job_end(d, JOB_QUERY);
	g_variant_builder_add(records, "(@(sayi)a(sv))", domain_handle(d), &params);
	return true;
}

static bool collect(struct call *call, GVariant *doms, guint32 flags, GPtrArray *list, GError **error)
{
	GHashTableIter iter;
	gpointer value;

	for (gsize i = 0; i < g_variant_n_children(doms); i++) {
		g_autoptr(GVariant) handle = g_variant_get_child_value(doms, i);
		struct domain *d = domain_of_handle(call->hv, handle, NULL);

		if (d)
			g_ptr_array_add(list, d);
	}
	if (g_variant_n_children(doms))
		return true;
	g_hash_table_iter_init(&iter, call->hv->domains);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (domain_fits(value, flags & STATS_FILTERS))
			g_ptr_array_add(list, domain_ref(value));
	return true;
}

static bool all_stats(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GVariant) doms = g_variant_get_child_value(args, 0);
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)domain_unref);
	unsigned known = call->hv->driver->stats ? STATS_KNOWN : STATS_STATE;
	GVariantBuilder records = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a((sayi)a(sv))"));
	guint32 groups, flags;
	bool ok;

	g_variant_get_child(args, 1, "u", &groups);
	g_variant_get_child(args, 2, "u", &flags);
	ok = call_check_flags(call, flags, STATS_FILTERS | STATS_NOWAIT | STATS_BACKING | STATS_ENFORCE, error);
	if (ok && flags & STATS_ENFORCE && groups & ~known)
		ok = rpc_fail(error, VIR_ERR_ARGUMENT_UNSUPPORTED, "Stats types bits 0x%x are not supported by this daemon",
			      groups & ~known);
	if (!ok || !collect(call, doms, flags, list, error)) {
		g_variant_builder_clear(&records);
		return false;
	}
	for (unsigned i = 0; i < list->len; i++)
		add_record(list->pdata[i], groups ? groups & known : known, flags, &records);
	*ret = g_variant_new("(a((sayi)a(sv)))", &records);
	return true;
}

/* ---- one at a time ---- */

/* A disk by its target or source; NULL: there is none. */
static const char *disk_target(const struct domain *d, const char *path)
{
	xmlNode *disk;

	for (unsigned i = 0; (disk = domain_def_device(d->live, "disk", i)); i++) {
		const char *target = xml_text(disk, "target/@dev"), *source = xml_text(disk, "source/@file");

		if (!source)
			source = xml_text(disk, "source/@dev");
		if (target && (strcmp(target, path) == 0 || (source && strcmp(source, path) == 0)))
			return target;
	}
	return NULL;
}

static bool block_stats(struct domain *d, const char *path, gint64 ret[5], GError **error)
{
	const char *target = disk_target(d, path);

	if (!target)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "invalid path: %s", path);
	if (d->hv->driver->block_stats)
		return d->hv->driver->block_stats(d, target, ret, error);
	return rpc_fail(error, VIR_ERR_NO_SUPPORT, "virDomainBlockStats");
}

/* No path: the sum of all. */
static bool block_stats_sum(struct domain *d, const char *path, gint64 ret[5], GError **error)
{
	xmlNode *disk;

	if (*path)
		return block_stats(d, path, ret, error);
	memset(ret, 0, 5 * sizeof(*ret));
	for (unsigned i = 0; (disk = domain_def_device(d->live, "disk", i)); i++) {
		const char *target = xml_text(disk, "target/@dev");
		gint64 one[5];

		if (!target || !block_stats(d, target, one, error))
			return false;
		for (unsigned j = 0; j < 5; j++)
			ret[j] += one[j];
	}
	return true;
}

static bool block_stats_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *path = NULL;
	gint64 n[5];

	g_variant_get_child(args, 1, "s", &path);
	if (!block_stats_sum(d, path, n, error))
		return false;
	*ret = g_variant_new("(xxxxx)", n[0], n[1], n[2], n[3], n[4]);
	return true;
}

static bool block_stats_call(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_QUERY, true, block_stats_func);
}

static bool block_stats_flags_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	static const char *const names[] = { "rd_operations", "rd_bytes", "wr_operations", "wr_bytes" };
	GVariantBuilder params = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(sv)"));
	g_autofree char *path = NULL;
	gint64 n[5] = { 0 };
	gint32 room, got = 0;
	bool ok;

	g_variant_get_child(args, 1, "s", &path);
	g_variant_get_child(args, 2, "i", &room);
	ok = block_stats_sum(d, path, n, error);
	for (unsigned i = 0; i < G_N_ELEMENTS(names) && ok && room > (gint32)i; i++, got++)
		g_variant_builder_add(&params, "(sv)", names[i], g_variant_new_int64(n[i]));
	if (!ok) {
		g_variant_builder_clear(&params);
		return false;
	}
	*ret = g_variant_new("(a(sv)i)", &params, room ? got : (gint32)G_N_ELEMENTS(names));
	return true;
}

static bool block_stats_flags(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_QUERY, true, block_stats_flags_func);
}

static bool has_interface(const struct domain *d, const char *name)
{
	xmlNode *nic;

	for (unsigned i = 0; (nic = domain_def_device(d->live, "interface", i)); i++)
		if (xml_is(nic, "target/@dev", name) || xml_is(nic, "mac/@address", name))
			return true;
	return false;
}

static bool interface_stats_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *name = NULL;
	gint64 n[8];

	g_variant_get_child(args, 1, "s", &name);
	if (!has_interface(d, name))
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "'%s' is not a known interface", name);
	if (!d->hv->driver->interface_stats)
		return handler_unsupported(call, NULL, NULL, error);
	if (!d->hv->driver->interface_stats(d, name, n, error))
		return false;
	*ret = g_variant_new("(xxxxxxxx)", n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7]);
	return true;
}

static bool interface_stats(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_QUERY, true, interface_stats_func);
}

static bool block_info_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *path = NULL;
	guint64 n[3];

	g_variant_get_child(args, 1, "s", &path);
	if (!d->hv->driver->block_info)
		return handler_unsupported(call, NULL, NULL, error);
	if (!d->hv->driver->block_info(d, path, n, error))
		return false;
	*ret = g_variant_new("(ttt)", n[1], n[0], n[2]); /* allocation first */
	return true;
}

static bool block_info(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_QUERY, false, block_info_func);
}

static bool memory_stats_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	/* VIR_DOMAIN_MEMORY_STAT_… by the names that balloon statistics have. */
	static const char *const names[] = { "balloon.swap_in",	      "balloon.swap_out",    "balloon.major_fault",
					     "balloon.minor_fault",   "balloon.unused",	     "balloon.available",
					     "balloon.current",	      "balloon.rss",	     "balloon.usable",
					     "balloon.last-update",   "balloon.disk_caches", "balloon.hugetlb_pgalloc",
					     "balloon.hugetlb_pgfail" };
	GVariantBuilder all = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(sv)")),
			out = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(it)"));
	g_autoptr(GVariant) list = NULL;
	guint32 room;

	g_variant_get_child(args, 1, "u", &room);
	if (d->hv->driver->stats)
		d->hv->driver->stats(d, STATS_BALLOON, &all, NULL);
	list = g_variant_ref_sink(g_variant_builder_end(&all));
	for (gsize i = 0; i < g_variant_n_children(list); i++) {
		g_autoptr(GVariant) value = NULL;
		const char *name;

		g_variant_get_child(list, i, "(&sv)", &name, &value);
		for (unsigned j = 0; j < G_N_ELEMENTS(names) && room; j++)
			if (strcmp(names[j], name) == 0 && g_variant_is_of_type(value, G_VARIANT_TYPE_UINT64)) {
				g_variant_builder_add(&out, "(it)", j, g_variant_get_uint64(value));
				room--;
			}
	}
	*ret = g_variant_new("(a(it))", &out);
	return true;
}

static bool memory_stats(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	if (!call->hv->driver->stats)
		return handler_unsupported(call, args, ret, error);
	return domain_with_job(call, args, ret, error, JOB_QUERY, true, memory_stats_func);
}

const struct handler domain_stats_handlers[] = {
	{ RPC_CONNECT_GET_ALL_DOMAIN_STATS, all_stats, HANDLER_READ_ONLY },
	{ RPC_DOMAIN_BLOCK_STATS, block_stats_call, HANDLER_READ_ONLY },
	{ RPC_DOMAIN_BLOCK_STATS_FLAGS, block_stats_flags, HANDLER_READ_ONLY },
	{ RPC_DOMAIN_INTERFACE_STATS, interface_stats, HANDLER_READ_ONLY },
	{ RPC_DOMAIN_GET_BLOCK_INFO, block_info, HANDLER_READ_ONLY },
	{ RPC_DOMAIN_MEMORY_STATS, memory_stats, HANDLER_READ_ONLY },
	{ 0 },
};
