/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory and vCPUs: how much a domain has, may have, and gets. */
#include <string.h>

#include "domain.h"
#include "events.h"
#include "model-xml.h"

enum { MEM_MAXIMUM = 4 };
enum { VCPU_MAXIMUM = 4, VCPU_GUEST = 8, VCPU_HOTPLUGGABLE = 16 };

static void set_number(struct domain_def *def, const char *path, guint64 n)
{
	g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, n);

	domain_def_set_text(def, path, text);
}

/* ---- memory ---- */

static void set_memory_of(struct domain_def *def, guint64 kib, bool maximum)
{
	if (maximum) {
		guint64 now = domain_def_current(def);

		set_number(def, "memory", kib);
		kib = MIN(now, kib);
	}
	set_number(def, "currentMemory", kib);
}

static bool check_memory(struct domain *d, guint64 kib, guint32 flags, GError **error)
{
	struct domain_def *stored = flags & AFFECT_CONFIG ? domain_stored_def(d, error) : NULL;

	if (flags & AFFECT_CONFIG && !stored)
		return false;
	if (flags & MEM_MAXIMUM && flags & AFFECT_LIVE)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "cannot resize the maximum memory on an active domain");
	if (!(flags & MEM_MAXIMUM) &&
	    ((flags & AFFECT_LIVE && kib > domain_def_memory(d->live)) || (stored && kib > domain_def_memory(stored))))
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "cannot set memory higher than max memory");
	return kib || rpc_fail(error, VIR_ERR_INVALID_ARG, "memory in virDomainSetMemoryFlags must not be zero");
}

static bool set_memory_to(struct call *call, struct domain *d, guint64 kib, guint32 flags, GError **error)
{
	if (!call_check_flags(call, flags, AFFECT_LIVE | AFFECT_CONFIG | MEM_MAXIMUM, error) ||
	    !domain_affects(d, &flags, error) || !check_memory(d, kib, flags, error))
		return false;
	if (flags & AFFECT_LIVE) {
		if (!d->hv->driver->set_memory)
			return handler_unsupported(call, NULL, NULL, error);
		if (!d->hv->driver->set_memory(d, kib, error))
			return false;
	}
	if (!(flags & AFFECT_CONFIG))
		return true;
	set_memory_of(d->def, kib, flags & MEM_MAXIMUM);
	return domain_store(d, error);
}

static bool set_memory_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	guint32 flags = call->proc->number == RPC_DOMAIN_SET_MAX_MEMORY ? MEM_MAXIMUM : AFFECT_LIVE;
	guint64 kib;

	g_variant_get_child(args, 1, "t", &kib);
	if (g_variant_n_children(args) > 2)
		g_variant_get_child(args, 2, "u", &flags);
	return set_memory_to(call, d, kib, flags, error);
}

static bool set_memory(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_MODIFY, false, set_memory_func);
}

static bool get_max_memory(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	const struct domain_def *def = d ? domain_current_def(d, error) : NULL;

	if (!def)
		return false;
	*ret = g_variant_new("(t)", domain_def_memory(def));
	return true;
}

/* ---- vCPUs ---- */

static void set_vcpus_of(struct domain_def *def, unsigned n, bool maximum)
{
	unsigned max, now = domain_def_vcpus(def, &max);
	g_autofree char *text = NULL;

	if (maximum) {
		set_number(def, "vcpu", n);
		max = n;
		n = MIN(now, n);
	}
	text = n < max ? g_strdup_printf("%u", n) : NULL;
	domain_def_set_text(def, "vcpu/@current", text);
}

static bool check_vcpus(struct domain *d, unsigned n, guint32 flags, GError **error)
{
	struct domain_def *stored = flags & AFFECT_CONFIG ? domain_stored_def(d, error) : NULL;
	unsigned max = G_MAXUINT, more;

	if (flags & AFFECT_CONFIG && !stored)
		return false;
	if (!n)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "nvcpus in virDomainSetVcpusFlags must not be zero");
	if (flags & VCPU_MAXIMUM)
		return !(flags & AFFECT_LIVE) ||
		       rpc_fail(error, VIR_ERR_INVALID_ARG, "maximum vcpu count of a live domain can't be modified");
	if (flags & AFFECT_LIVE)
		domain_def_vcpus(d->live, &max);
	if (stored) {
		domain_def_vcpus(stored, &more);
		max = MIN(max, more);
	}
	return n <= max || rpc_fail(error, VIR_ERR_INVALID_ARG, "requested cpu amount exceeds maximum (%u > %u)", n, max);
}

static bool set_vcpus_to(struct call *call, struct domain *d, unsigned n, guint32 flags, GError **error)
{
	if (!call_check_flags(call, flags, AFFECT_LIVE | AFFECT_CONFIG | VCPU_MAXIMUM, error) ||
	    !domain_affects(d, &flags, error) || !check_vcpus(d, n, flags, error))
		return false;
	if (flags & AFFECT_LIVE) {
		if (!d->hv->driver->set_vcpus)
			return handler_unsupported(call, NULL, NULL, error);
		if (!d->hv->driver->set_vcpus(d, n, error))
			return false;
		set_vcpus_of(d->live, n, false);
	}
	if (!(flags & AFFECT_CONFIG))
		return true;
	set_vcpus_of(d->def, n, flags & VCPU_MAXIMUM);
	return domain_store(d, error);
}

static bool set_vcpus_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	guint32 n, flags = AFFECT_LIVE;

	g_variant_get_child(args, 1, "u", &n);
	if (g_variant_n_children(args) > 2)
		g_variant_get_child(args, 2, "u", &flags);
	return set_vcpus_to(call, d, n, flags, error);
}

bool domain_set_vcpus(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_MODIFY, false, set_vcpus_func);
}

static bool vcpus_of(struct call *call, struct domain *d, guint32 flags, unsigned *ret, GError **error)
{
	const struct domain_def *def;
	unsigned now, max;

	if (!call_check_flags(call, flags, AFFECT_LIVE | AFFECT_CONFIG | VCPU_MAXIMUM, error) ||
	    !domain_affects(d, &flags, error))
		return false;
	if (flags & AFFECT_LIVE && flags & AFFECT_CONFIG)
		return rpc_fail(error, VIR_ERR_INVALID_ARG,
				"flags 'VIR_DOMAIN_AFFECT_LIVE' and 'VIR_DOMAIN_AFFECT_CONFIG' are "
				"mutually exclusive");
	def = flags & AFFECT_LIVE ? d->live : domain_stored_def(d, error);
	if (!def)
		return false;
	now = domain_def_vcpus(def, &max);
	*ret = flags & VCPU_MAXIMUM ? max : now;
	return true;
}

bool domain_get_vcpus(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	guint32 flags;
	unsigned n;

	g_variant_get_child(args, 1, "u", &flags);
	if (!d || !vcpus_of(call, d, flags, &n, error))
		return false;
	*ret = g_variant_new("(i)", n);
	return true;
}

static bool get_max_vcpus(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	unsigned n;

	if (!d || !vcpus_of(call, d, VCPU_MAXIMUM | (domain_is_active(d) ? AFFECT_LIVE : AFFECT_CONFIG), &n, error))
		return false;
	*ret = g_variant_new("(i)", n);
	return true;
}

enum { LOOK = HANDLER_FAST | HANDLER_READ_ONLY };

const struct handler domain_size_handlers[] = {
	{ RPC_DOMAIN_SET_MEMORY, set_memory, 0 },
	{ RPC_DOMAIN_SET_MEMORY_FLAGS, set_memory, 0 },
	{ RPC_DOMAIN_SET_MAX_MEMORY, set_memory, 0 },
	{ RPC_DOMAIN_GET_MAX_MEMORY, get_max_memory, LOOK },
	{ RPC_DOMAIN_SET_VCPUS, domain_set_vcpus, 0 },
	{ RPC_DOMAIN_SET_VCPUS_FLAGS, domain_set_vcpus, 0 },
	{ RPC_DOMAIN_GET_VCPUS_FLAGS, domain_get_vcpus, LOOK },
	{ RPC_DOMAIN_GET_MAX_VCPUS, get_max_vcpus, LOOK },
	{ 0 },
};
