/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs that take long: how far they are, and their end before time; jobs on disks. */
#include <string.h>

#include "domain.h"

enum { TYPE_NONE, TYPE_BOUNDED, TYPE_UNBOUNDED, TYPE_COMPLETED, TYPE_FAILED, TYPE_CANCELLED };
enum { STATS_COMPLETED = 1, STATS_KEEP_COMPLETED = 2 };

/* In the order of domain_get_job_info's answer. */
static const char *const fields[] = {
	"time_elapsed",	    "time_remaining",	"data_total", "data_processed", "data_remaining", "memory_total",
	"memory_processed", "memory_remaining", "disk_total", "disk_processed", "disk_remaining",
};

static guint64 field(GVariant *stats, const char *name)
{
	GVariantIter iter;
	const char *key;
	GVariant *value;
	guint64 n = 0;

	if (!stats)
		return 0;
	g_variant_iter_init(&iter, stats);
	while (g_variant_iter_loop(&iter, "(&sv)", &key, &value))
		if (strcmp(key, name) == 0 && g_variant_is_of_type(value, G_VARIANT_TYPE_UINT64))
			n = g_variant_get_uint64(value);
	return n;
}

static guint64 elapsed(const struct domain *d)
{
	return (g_get_monotonic_time() - d->job_began) / 1000;
}

static bool job_info(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	GVariant *list[1 + G_N_ELEMENTS(fields)];

	if (!d || !domain_require_active(d, error))
		return false;
	list[0] = g_variant_new_int32(!d->long_job ? TYPE_NONE : d->job_stats ? TYPE_BOUNDED : TYPE_UNBOUNDED);
	for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++)
		list[1 + i] = g_variant_new_uint64(!d->long_job ? 0 : i ? field(d->job_stats, fields[i]) : elapsed(d));
	*ret = g_variant_new_tuple(list, G_N_ELEMENTS(list));
	return true;
}

static bool job_stats(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	g_autoptr(GVariant) none = g_variant_ref_sink(g_variant_new_array(G_VARIANT_TYPE("(sv)"), NULL, 0));
	guint32 flags;
	int type = TYPE_NONE;

	g_variant_get_child(args, 1, "u", &flags);
	if (!d || !call_check_flags(call, flags, STATS_COMPLETED | STATS_KEEP_COMPLETED, error))
		return false;
	if (flags & STATS_COMPLETED)
		type = !d->long_job && d->job_stats ? TYPE_COMPLETED : TYPE_NONE;
	else if (!domain_require_active(d, error))
		return false;
	else if (d->long_job)
		type = d->job_stats ? TYPE_BOUNDED : TYPE_UNBOUNDED;
	*ret = g_variant_new("(i@a(sv))", type, type != TYPE_NONE && d->job_stats ? d->job_stats : none);
	if (type == TYPE_COMPLETED && !(flags & STATS_KEEP_COMPLETED))
		g_clear_pointer(&d->job_stats, g_variant_unref);
	return true;
}

static bool abort_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	guint32 flags = 0;

	if (g_variant_n_children(args) > 1)
		g_variant_get_child(args, 1, "u", &flags);
	if (!call_check_flags(call, flags, 0, error))
		return false;
	if (!d->long_job)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "no job is active on the domain");
	return d->hv->driver->abort_job(d, error);
}

static bool abort_job(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	if (!call->hv->driver->abort_job)
		return handler_unsupported(call, args, ret, error);
	return domain_with_job(call, args, ret, error, JOB_ABORT, true, abort_func);
}

/* ---- disks ---- */

static bool block_job_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	return d->hv->driver->block_job(d, call->proc->number, args, ret, error);
}

static bool block_job(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	bool looks = call->proc->number == RPC_DOMAIN_GET_BLOCK_JOB_INFO;

	if (!call->hv->driver->block_job)
		return handler_unsupported(call, args, ret, error);
	return domain_with_job(call, args, ret, error, looks ? JOB_QUERY : JOB_MODIFY, true, block_job_func);
}

static bool resize_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	enum { RESIZE_BYTES = 1, RESIZE_CAPACITY = 2 };
	g_autofree char *path = NULL;
	guint64 size;
	guint32 flags;

	g_variant_get_child(args, 1, "s", &path);
	g_variant_get_child(args, 2, "t", &size);
	g_variant_get_child(args, 3, "u", &flags);
	if (!call_check_flags(call, flags, RESIZE_BYTES, error))
		return false;
	if (!(flags & RESIZE_BYTES)) {
		if (size > G_MAXUINT64 / 1024)
			return rpc_fail(error, VIR_ERR_INVALID_ARG, "size must be less than %" G_GUINT64_FORMAT,
					G_MAXUINT64 / 1024);
		size *= 1024;
	}
	return d->hv->driver->block_resize(d, path, size, error);
}

static bool block_resize(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	if (!call->hv->driver->block_resize)
		return handler_unsupported(call, args, ret, error);
	return domain_with_job(call, args, ret, error, JOB_MODIFY, true, resize_func);
}

enum { LOOK = HANDLER_FAST | HANDLER_READ_ONLY };

const struct handler domain_job_handlers[] = {
	{ RPC_DOMAIN_GET_JOB_INFO, job_info, LOOK },
	{ RPC_DOMAIN_GET_JOB_STATS, job_stats, LOOK },
	{ RPC_DOMAIN_ABORT_JOB, abort_job, 0 },
	{ RPC_DOMAIN_ABORT_JOB_FLAGS, abort_job, 0 },
	{ RPC_DOMAIN_BLOCK_PULL, block_job, 0 },
	{ RPC_DOMAIN_BLOCK_REBASE, block_job, 0 },
	{ RPC_DOMAIN_BLOCK_COMMIT, block_job, 0 },
	{ RPC_DOMAIN_BLOCK_COPY, block_job, 0 },
	{ RPC_DOMAIN_BLOCK_JOB_ABORT, block_job, 0 },
	{ RPC_DOMAIN_BLOCK_JOB_SET_SPEED, block_job, 0 },
	{ RPC_DOMAIN_GET_BLOCK_JOB_INFO, block_job, HANDLER_READ_ONLY },
	{ RPC_DOMAIN_SET_BLOCK_THRESHOLD, block_job, 0 },
	{ RPC_DOMAIN_BLOCK_RESIZE, block_resize, 0 },
	{ 0 },
};
