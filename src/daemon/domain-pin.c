/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which of the host's processors a domain's threads may use, where they are, and how much of them they had. */
#include <string.h>

#include "cpumap.h"
#include "domain.h"
#include "events.h"
#include "model-xml.h"

/* ---- in the definition ---- */

static xmlNode *pin_node(const struct domain_def *def, unsigned vcpu)
{
	xmlNode *tune = xml_child(domain_def_root(def), "cputune"), *pin;
	guint64 n;

	for (unsigned i = 0; tune && (pin = xml_nth(tune, "vcpupin", i)); i++)
		if (xml_number(pin, "@vcpu", &n) && n == vcpu)
			return pin;
	return NULL;
}

static const char *pinned(const struct domain_def *def, int vcpu)
{
	const xmlNode *root = domain_def_root(def), *pin = vcpu >= 0 ? pin_node(def, (unsigned)vcpu) : NULL;
	const char *cpus = vcpu >= 0 ? (pin ? xml_text(pin, "@cpuset") : NULL) : xml_text(root, "cputune/emulatorpin/@cpuset");

	return cpus ? cpus : xml_text(root, "vcpu/@cpuset");
}

/* In the order of vCPUs. */
static void set_pin(struct domain_def *def, int vcpu, const char *cpus)
{
	g_autofree char *number = g_strdup_printf("%d", vcpu), *first = NULL;
	xmlNode *tune, *pin;
	guint64 n;

	if (vcpu < 0) {
		domain_def_set_text(def, "cputune/emulatorpin/@cpuset", cpus);
		return;
	}
	pin = pin_node(def, (unsigned)vcpu);
	if (!pin) {
		if (!xml_child(domain_def_root(def), "cputune"))
			domain_def_set_text(def, "cputune", "");
		tune = xml_child(domain_def_root(def), "cputune");
		pin = xml_add(tune, "vcpupin");
		xml_set(pin, "@vcpu", number);
		for (xmlNode *other = xml_nth(tune, "vcpupin", 0); other && other != pin; other = xml_next(other))
			if (xml_number(other, "@vcpu", &n) && n > (guint64)vcpu) {
				xmlUnlinkNode(pin);
				xmlAddPrevSibling(other, pin);
				break;
			}
	}
	xml_set(pin, "@cpuset", cpus);
	first = g_strdup(xml_text(domain_def_root(def), "cputune/vcpupin/@vcpu"));
	domain_def_set_text(def, "cputune/vcpupin/@vcpu", first); /* all is in order again */
}

/* ---- pinning ---- */

static bool check_vcpu(const struct domain_def *def, unsigned vcpu, const char *which, GError **error)
{
	unsigned n;

	domain_def_vcpus(def, &n);
	return vcpu < n || rpc_fail(error, VIR_ERR_INVALID_ARG, "vcpu %u is out of range of %s cpu count %u", vcpu, which, n);
}

static void tell(struct domain *d, int vcpu, const char *cpus)
{
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(sv)"));
	g_autofree char *name = vcpu < 0 ? g_strdup("cputune.emulatorpin") : g_strdup_printf("cputune.vcpupin%d", vcpu);

	g_variant_builder_add(&list, "(sv)", name, g_variant_new_string(cpus));
	events_domain(d, DOMAIN_EVENT_TUNABLE, g_variant_new("(a(sv))", &list));
}

static bool pin_to(struct call *call, struct domain *d, int vcpu, GVariant *map, guint32 flags, GError **error)
{
	g_autoptr(DomainDef) wanted = NULL;
	struct domain_def *stored;
	g_autofree char *cpus = NULL;
	const guint8 *bits;
	gsize len;

	bits = g_variant_get_fixed_array(map, &len, 1);
	len = MIN(len, CPUMAP_BYTES_MAX);
	if (!call_check_flags(call, flags, AFFECT_LIVE | AFFECT_CONFIG, error) || !domain_affects(d, &flags, error))
		return false;
	cpus = cpumap_text(bits, len);
	if (!*cpus)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "Empty cpu list for pinning");
	stored = flags & AFFECT_CONFIG ? domain_stored_def(d, error) : NULL;
	if (flags & AFFECT_CONFIG && !stored)
		return false;
	if (vcpu >= 0 && ((flags & AFFECT_LIVE && !check_vcpu(d->live, (unsigned)vcpu, "live", error)) ||
			  (stored && !check_vcpu(stored, (unsigned)vcpu, "persistent", error))))
		return false;
	if (flags & AFFECT_LIVE) {
		if (!d->hv->driver->pin(d, vcpu, bits, len, error))
			return false;
		if (!domain_require_active(d, error))
			return false;
		set_pin(d->live, vcpu, cpus);
		if (d->hv->driver->store_status)
			d->hv->driver->store_status(d);
		tell(d, vcpu, cpus);
	}
	if (!stored)
		return true;
	wanted = domain_def_copy(d->def);
	set_pin(wanted, vcpu, cpus);
	return domain_store_as(d, &wanted, error);
}

/* domain_pin_vcpu, domain_pin_vcpu_flags and domain_pin_emulator. */
static bool pin_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	bool emulator = call->proc->number == RPC_DOMAIN_PIN_EMULATOR;
	g_autoptr(GVariant) map = g_variant_get_child_value(args, emulator ? 1 : 2);
	guint32 vcpu = 0, flags = AFFECT_LIVE;

	if (!d->hv->driver->pin)
		return handler_unsupported(call, args, ret, error);
	if (!emulator)
		g_variant_get_child(args, 1, "u", &vcpu);
	if (call->proc->number != RPC_DOMAIN_PIN_VCPU)
		g_variant_get_child(args, emulator ? 2 : 3, "u", &flags);
	return pin_to(call, d, emulator ? PIN_EMULATOR : (int)MIN(vcpu, G_MAXINT32), map, flags, error);
}

static bool pin(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_MODIFY, false, pin_func);
}

/* ---- what is pinned ---- */

static void append_map(GByteArray *maps, const char *cpus, gsize len)
{
	guint8 map[CPUMAP_BYTES_MAX];

	if (!cpus || !cpumap_bits(cpus, map, len))
		cpumap_all(map, len);
	g_byte_array_append(maps, map, (guint)len);
}

static const struct domain_def *def_for(struct call *call, struct domain *d, guint32 flags, GError **error)
{
	if (!call->hv->driver->pin) {
		handler_unsupported(call, NULL, NULL, error);
		return NULL;
	}
	if (!call_check_flags(call, flags, AFFECT_LIVE | AFFECT_CONFIG, error) || !domain_affects(d, &flags, error))
		return NULL;
	return flags & AFFECT_LIVE ? d->live : domain_stored_def(d, error);
}

static bool vcpu_pin_info(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	g_autoptr(GByteArray) maps = g_byte_array_new();
	const struct domain_def *def;
	gint32 max, len;
	guint32 flags;
	unsigned n;

	g_variant_get_child(args, 1, "i", &max);
	g_variant_get_child(args, 2, "i", &len);
	g_variant_get_child(args, 3, "u", &flags);
	def = d ? def_for(call, d, flags, error) : NULL;
	if (!def)
		return false;
	domain_def_vcpus(def, &n);
	n = MIN(n, (unsigned)MAX(max, 0));
	for (unsigned i = 0; i < n; i++)
		append_map(maps, pinned(def, (int)i), (gsize)CLAMP(len, 0, CPUMAP_BYTES_MAX));
	*ret = g_variant_new("(@ayi)", g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, maps->data, maps->len, 1), n);
	return true;
}

static bool emulator_pin_info(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	g_autoptr(GByteArray) maps = g_byte_array_new();
	const struct domain_def *def;
	guint32 flags;
	gint32 len;

	g_variant_get_child(args, 1, "i", &len);
	g_variant_get_child(args, 2, "u", &flags);
	def = d ? def_for(call, d, flags, error) : NULL;
	if (!def)
		return false;
	append_map(maps, pinned(def, PIN_EMULATOR), (gsize)CLAMP(len, 0, CPUMAP_BYTES_MAX));
	*ret = g_variant_new("(@ayi)", g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, maps->data, maps->len, 1), 1);
	return true;
}

/* Our machines have none that a definition names. */
static bool iothread_info(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (!d || !def_for(call, d, flags, error))
		return false;
	*ret = g_variant_new("(@a(uay)u)", g_variant_new_array(G_VARIANT_TYPE("(uay)"), NULL, 0), 0);
	return true;
}

static bool pin_iothread(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	guint32 id, flags;

	g_variant_get_child(args, 1, "u", &id);
	g_variant_get_child(args, 3, "u", &flags);
	return d && def_for(call, d, flags, error) && rpc_fail(error, VIR_ERR_INVALID_ARG, "iothread %u not found", id);
}

/* ---- what they do ---- */

static bool vcpus_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GByteArray) maps = g_byte_array_new();
	g_autofree struct hv_vcpu *now = NULL;
	GVariantBuilder list;
	gint32 max, len;
	unsigned n, told = 0;

	g_variant_get_child(args, 1, "i", &max);
	g_variant_get_child(args, 2, "i", &len);
	if (!d->hv->driver->vcpus)
		return handler_unsupported(call, args, ret, error);
	if (!domain_is_active(d))
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "cannot retrieve vcpu information for inactive domain");
	domain_def_vcpus(d->live, &n);
	now = g_new0(struct hv_vcpu, n + 1);
	if (!d->hv->driver->vcpus(d, now, n, error) || !domain_require_active(d, error))
		return false;
	g_variant_builder_init(&list, G_VARIANT_TYPE("a(uiti)"));
	for (unsigned i = 0; i < n && told < (unsigned)MAX(max, 0); i++) {
		if (!domain_vcpu_of(domain_def_root(d->live), i).enabled)
			continue;
		told++;
		g_variant_builder_add(&list, "(uiti)", i, 1, now[i].time, now[i].processor);
		g_byte_array_append(maps, now[i].map, (guint)CLAMP(len, 0, (gint32)sizeof(now[i].map)));
	}
	*ret = g_variant_new("(a(uiti)@ay)", &list,
			     g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, maps->data, maps->len, 1));
	return true;
}

static bool vcpus(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_QUERY, false, vcpus_func);
}

/* All together is start -1. Linux does not count a process's time by processors. */
static bool cpu_stats(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	static const char *const names[] = { "cpu_time", "user_time", "system_time" };
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	guint64 times[2], values[G_N_ELEMENTS(names)];
	GVariantBuilder list;
	guint32 room, cpus, flags;
	gint32 start;

	g_variant_get_child(args, 1, "u", &room);
	g_variant_get_child(args, 2, "i", &start);
	g_variant_get_child(args, 3, "u", &cpus);
	g_variant_get_child(args, 4, "u", &flags);
	if (!d)
		return false;
	if (!d->hv->driver->cpu_times)
		return handler_unsupported(call, args, ret, error);
	if (!call_check_flags(call, flags, 4, error) || !domain_require_active(d, error))
		return false;
	if (start != -1)
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED,
				"there are no times of each host processor; 'cpu-stats --total' has those of all");
	if (!d->hv->driver->cpu_times(d, times))
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "domain is not running");
	memcpy(values, (const guint64[]){ times[0] + times[1], times[0], times[1] }, sizeof(values));
	g_variant_builder_init(&list, G_VARIANT_TYPE("a(sv)"));
	for (unsigned i = 0; i < G_N_ELEMENTS(names) && i < room; i++)
		g_variant_builder_add(&list, "(sv)", names[i], g_variant_new_uint64(values[i]));
	*ret = g_variant_new("(a(sv)i)", &list, room ? MIN(room, G_N_ELEMENTS(names)) : G_N_ELEMENTS(names));
	return true;
}

enum { LOOK = HANDLER_FAST | HANDLER_READ_ONLY };

const struct handler domain_pin_handlers[] = {
	{ RPC_DOMAIN_PIN_VCPU, pin, 0 },
	{ RPC_DOMAIN_PIN_VCPU_FLAGS, pin, 0 },
	{ RPC_DOMAIN_PIN_EMULATOR, pin, 0 },
	{ RPC_DOMAIN_PIN_IOTHREAD, pin_iothread, HANDLER_FAST },
	{ RPC_DOMAIN_GET_VCPU_PIN_INFO, vcpu_pin_info, LOOK },
	{ RPC_DOMAIN_GET_EMULATOR_PIN_INFO, emulator_pin_info, LOOK },
	{ RPC_DOMAIN_GET_IOTHREAD_INFO, iothread_info, LOOK },
	{ RPC_DOMAIN_GET_VCPUS, vcpus, HANDLER_READ_ONLY },
	{ RPC_DOMAIN_GET_CPU_STATS, cpu_stats, LOOK },
	{ 0 },
};
