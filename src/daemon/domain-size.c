/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory and vCPUs: how much a domain has, may have, and gets. */
#include <string.h>

#include "domain.h"
#include "events.h"
#include "field-values.h"
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
	g_autoptr(DomainDef) wanted = NULL;

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
	wanted = domain_def_copy(d->def);
	set_memory_of(wanted, kib, flags & MEM_MAXIMUM);
	return domain_store_as(d, &wanted, error);
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

static void set_vcpus_of(struct domain_def *def, unsigned n, guint32 flags)
{
	unsigned now = domain_def_vcpus(def, NULL);

	if (!(flags & VCPU_MAXIMUM)) {
		domain_def_set_vcpus(def, n, flags & VCPU_HOTPLUGGABLE);
		return;
	}
	domain_def_set_vcpus_max(def, n);
	if (now > n)
		domain_def_set_vcpus(def, n, false);
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

/* The one that comes or goes next; -1: none can. */
static int next_vcpu(const struct domain_def *def, bool on)
{
	unsigned max;

	domain_def_vcpus(def, &max);
	for (unsigned i = 0; i < max; i++) {
		unsigned index = on ? i : max - 1 - i;
		struct domain_vcpu v = domain_vcpu_of(domain_def_root(def), index);

		if (on ? !v.enabled : v.enabled && v.hotpluggable)
			return (int)index;
	}
	return -1;
}

static unsigned can_change(const struct domain_def *def, bool on)
{
	unsigned max, n = 0;

	domain_def_vcpus(def, &max);
	for (unsigned i = 0; i < max; i++) {
		struct domain_vcpu v = domain_vcpu_of(domain_def_root(def), i);

		n += on ? !v.enabled : v.enabled && v.hotpluggable;
	}
	return n;
}

/* The machine may have ended meanwhile, and others of them may have gone by themselves. */
static bool change_vcpu(struct domain *d, unsigned index, bool on, GError **error)
{
	if (!d->hv->driver->set_vcpu(d, index, on, error) || !domain_require_active(d, error))
		return false;
	domain_def_set_vcpu(d->live, index, on);
	if (d->hv->driver->store_status)
		d->hv->driver->store_status(d);
	return true;
}

static bool set_live(struct domain *d, unsigned n, GError **error)
{
	unsigned now = domain_def_vcpus(d->live, NULL);
	bool on = n > now;

	if ((on ? n - now : now - n) > can_change(d->live, on))
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID,
				"failed to find appropriate hotpluggable vcpus to reach the desired target vcpu count");
	for (;;) {
		int index = next_vcpu(d->live, on);

		now = domain_def_vcpus(d->live, NULL);
		if (index < 0 || (on ? now >= n : now <= n))
			return true;
		if (!change_vcpu(d, (unsigned)index, on, error))
			return false;
	}
}

static bool set_vcpus_to(struct call *call, struct domain *d, unsigned n, guint32 flags, GError **error)
{
	guint32 hotpluggable = call->hv->driver->set_vcpu ? VCPU_HOTPLUGGABLE : 0;
	g_autoptr(DomainDef) wanted = NULL;

	if (!call_check_flags(call, flags, AFFECT_LIVE | AFFECT_CONFIG | VCPU_MAXIMUM | hotpluggable, error) ||
	    !domain_affects(d, &flags, error) || !check_vcpus(d, n, flags, error))
		return false;
	if (flags & AFFECT_LIVE) {
		if (!d->hv->driver->set_vcpus && !d->hv->driver->set_vcpu)
			return handler_unsupported(call, NULL, NULL, error);
		if (!(d->hv->driver->set_vcpu ? set_live : d->hv->driver->set_vcpus)(d, n, error))
			return false;
		if (d->hv->driver->set_vcpus)
			domain_def_set_vcpus(d->live, n, false);
	}
	if (!(flags & AFFECT_CONFIG))
		return true;
	wanted = domain_def_copy(d->def);
	set_vcpus_of(wanted, n, flags);
	return domain_store_as(d, &wanted, error);
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

/* ---- one by one ---- */

/* In the definition those that stay come first; the first of all is not to be touched. */
static bool check_set(const struct domain_def *def, const guint8 *set, gsize len, bool on, const char *which, GError **error)
{
	int first = -1;
	unsigned max;

	domain_def_vcpus(def, &max);
	for (unsigned i = 0; i < len; i++) {
		struct domain_vcpu v = domain_vcpu_of(domain_def_root(def), i);

		if (!set[i]) {
			if (first >= 0 && v.enabled && !v.hotpluggable)
				return rpc_fail(error, VIR_ERR_INVALID_ARG, "vcpu '%d' can't be modified as it is followed by "
						"non-hotpluggable online vcpus", first);
			continue;
		}
		if (i >= max)
			return rpc_fail(error, VIR_ERR_INVALID_ARG, "vcpu %u is not present in %s config", i, which);
		if (!i)
			return rpc_fail(error, VIR_ERR_INVALID_ARG, "vCPU '0' can't be modified");
		first = first < 0 ? (int)i : first;
		if (strcmp(which, "live"))
			continue;
		if (v.enabled == on)
			return rpc_fail(error, VIR_ERR_INVALID_ARG, "vcpu '%u' is already in requested state", i);
		if (!on && !v.hotpluggable)
			return rpc_fail(error, VIR_ERR_INVALID_ARG, "vcpu '%u' can't be hotunplugged", i);
	}
	return true;
}

static bool change_set(struct domain *d, const guint8 *set, gsize len, bool on, GError **error)
{
	for (unsigned i = 0; i < len; i++)
		if (set[i] && domain_vcpu_of(domain_def_root(d->live), i).enabled != on && !change_vcpu(d, i, on, error))
			return false;
	return true;
}

static bool set_vcpu_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GByteArray) set = NULL;
	g_autoptr(DomainDef) wanted = NULL;
	struct domain_def *stored = NULL;
	const char *map;
	gint32 state;
	guint32 flags;

	g_variant_get_child(args, 1, "&s", &map);
	g_variant_get_child(args, 2, "i", &state);
	g_variant_get_child(args, 3, "u", &flags);
	if (!d->hv->driver->set_vcpu)
		return handler_unsupported(call, args, ret, error);
	if (state != 0 && state != 1)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "unsupported state value");
	if (!call_check_flags(call, flags, AFFECT_LIVE | AFFECT_CONFIG, error) || !domain_affects(d, &flags, error))
		return false;
	set = field_cpus(map);
	if (!set || !memchr(set->data, 1, set->len))
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "no vcpus selected for modification");
	stored = flags & AFFECT_CONFIG ? domain_stored_def(d, error) : NULL;
	if (flags & AFFECT_CONFIG && (!stored || !check_set(stored, set->data, set->len, state, "persistent", error)))
		return false;
	if (flags & AFFECT_LIVE && (!check_set(d->live, set->data, set->len, state, "live", error) ||
				    !change_set(d, set->data, set->len, state, error)))
		return false;
	if (!(flags & AFFECT_CONFIG))
		return true;
	wanted = domain_def_copy(d->def);
	for (unsigned i = 0; i < set->len; i++)
		if (set->data[i])
			domain_def_set_vcpu(wanted, i, state);
	return domain_store_as(d, &wanted, error);
}

static bool set_vcpu(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_MODIFY, false, set_vcpu_func);
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
	{ RPC_DOMAIN_SET_VCPU, set_vcpu, 0 },
	{ RPC_DOMAIN_GET_VCPUS_FLAGS, domain_get_vcpus, LOOK },
	{ RPC_DOMAIN_GET_MAX_VCPUS, get_max_vcpus, LOOK },
	{ 0 },
};
