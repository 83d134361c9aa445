/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's end, sleep and processors by way of its agent, which is asked first where there is one, as libvirt does: then by
 * ACPI. Handlers in the place of everybody's, which they call for all that is not the agent's. See agent.c.
 */
#include <string.h>

#include "agent-reply.h"
#include "kv.h"

enum { MODE_ACPI = 1, MODE_AGENT = 2 };
enum { VCPU_MAXIMUM = 4, VCPU_GUEST = 8 };

/* ---- shutdown and reboot ---- */

/* What is left for the other way has no MODE_AGENT in it. */
static GVariant *without_agent(GVariant *args, guint32 modes)
{
	g_autoptr(GVariant) handle = g_variant_get_child_value(args, 0);

	return g_variant_ref_sink(g_variant_new("(@*u)", handle, modes & ~MODE_AGENT));
}

/* True: it is done, or *error says why nothing else is tried. */
static bool by_agent(struct domain *d, const char *mode, enum agent_end end, guint32 modes, bool *ret_ok, GError **error)
{
	bool asked = modes & MODE_AGENT;
	g_autoptr(JsonNode) value = NULL;
	g_autoptr(GError) why = NULL;

	if (!asked && (modes || !kv_agent_is_there(d)))
		return false;
	value = kv_agent_call(d, "guest-shutdown", kv_args("mode", mode, NULL), end, &why);
	*ret_ok = value;
	if (value || (asked && !(modes & MODE_ACPI))) {
		if (why)
			g_propagate_error(error, g_steal_pointer(&why));
		return true;
	}
	*ret_ok = true;
	return !domain_is_active(d); /* it went by itself meanwhile */
}

static bool end_it(struct call *call, GVariant *args, GVariant **ret, GError **error, const char *mode, enum agent_end end,
		   handler_func *otherwise)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	g_autoptr(GVariant) rest = NULL;
	guint32 modes = 0;
	bool ok = false;

	if (!d || !domain_require_active(d, error))
		return false;
	if (g_variant_n_children(args) > 1)
		g_variant_get_child(args, 1, "u", &modes);
	if (!call_check_flags(call, modes, MODE_ACPI | MODE_AGENT, error))
		return false;
	if (by_agent(d, mode, end, modes, &ok, error))
		return ok;
	rest = without_agent(args, modes);
	return otherwise(call, rest, ret, error);
}

static bool shut_down(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return end_it(call, args, ret, error, "powerdown", AGENT_SHUTS_DOWN, domain_shutdown);
}

static bool reboot(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return end_it(call, args, ret, error, "reboot", AGENT_RESETS, domain_reboot);
}

/* ---- sleep ---- */

static const struct {
	const char *command, *path, *name;
} targets[] = {
	{"guest-suspend-ram", "pm/suspend-to-mem/@enabled", "S3"},
	{"guest-suspend-disk", "pm/suspend-to-disk/@enabled", "S4"},
	{"guest-suspend-hybrid", "pm/suspend-to-mem/@enabled", "S3"},
};

static bool pm_suspend(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	g_autoptr(JsonNode) value = NULL;
	guint32 target, flags;
	guint64 duration;

	g_variant_get_child(args, 1, "u", &target);
	g_variant_get_child(args, 2, "t", &duration);
	g_variant_get_child(args, 3, "u", &flags);
	if (!d || !call_check_flags(call, flags, 0, error))
		return false;
	if (duration)
		return rpc_fail(error, VIR_ERR_ARGUMENT_UNSUPPORTED, "Duration not supported. Use 0 for now");
	if (target >= G_N_ELEMENTS(targets))
		return rpc_fail(error, VIR_ERR_ARGUMENT_UNSUPPORTED, "Unknown suspend target: %u", target);
	if (!domain_require_active(d, error))
		return false;
	if (xml_is(domain_def_root(d->live), targets[target].path, "no"))
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "%s state is disabled for this domain",
				targets[target].name);
	value = kv_agent_call(d, targets[target].command, NULL, target == 1 ? AGENT_SHUTS_DOWN : AGENT_SUSPENDS, error);
	return value;
}

static bool wakeup_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	return m && call_check_flags(call, flags, 0, error) && kv_do(m, "system_wakeup", NULL, error);
}

static bool pm_wakeup(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_MODIFY, true, wakeup_func);
}

/* ---- processors that the guest has but does not use ---- */

/* Of those that can go, the last ones go; of those that are away, the first ones come. */
static JsonArray *choose(JsonArray *all, int change)
{
	JsonArray *list = json_array_new();
	bool online = change > 0;
	gint64 n = json_array_get_length(all), left = ABS(change);

	for (gint64 k = 0; k < n && left; k++) {
		JsonObject *o = kv_object(json_array_get_element(all, (guint)(online ? k : n - 1 - k))), *one;

		if (kv_flag_in(o, "online") == online || (!online && !kv_flag_in(o, "can-offline")))
			continue;
		one = json_object_new();
		json_object_set_int_member(one, "logical-id", kv_number_in(o, "logical-id"));
		json_object_set_boolean_member(one, "online", online);
		json_array_add_object_element(list, one);
		left--;
	}
	return list;
}

static JsonNode *get_guest_vcpus(struct domain *d, int *ret_online, int *ret_all, GError **error)
{
	JsonNode *value = kv_agent_call(d, "guest-get-vcpus", NULL, AGENT_ANSWERS, error);

	*ret_online = value ? agent_count_vcpus(value, ret_all) : -1;
	if (value && *ret_online < 0) {
		rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "Invalid data provided by guest agent");
		g_clear_pointer(&value, json_node_unref);
	}
	return value;
}

/* list is taken over. */
static bool set_some(struct domain *d, JsonArray *list, GError **error)
{
	guint n = json_array_get_length(list);
	g_autoptr(JsonNode) value = NULL;
	JsonObject *o = json_object_new();
	gint64 done;

	json_object_set_array_member(o, "vcpus", list);
	value = kv_agent_call(d, "guest-set-vcpus", o, AGENT_ANSWERS, error);
	if (!value)
		return false;
	done = JSON_NODE_HOLDS_VALUE(value) ? json_node_get_int(value) : 0;
	return done == n || rpc_fail(error, VIR_ERR_INTERNAL_ERROR,
				     "failed to set state of cpu: the guest changed %" G_GINT64_FORMAT " of %u", done, n);
}

static bool set_count(struct domain *d, guint32 n, GError **error)
{
	g_autoptr(JsonNode) value = NULL;
	unsigned max = 0;
	JsonArray *list;
	int online, all;

	domain_def_vcpus(d->live, &max);
	if (n > max)
		return rpc_fail(error, VIR_ERR_INVALID_ARG,
				"requested vcpu count is greater than the count of enabled vcpus in the "
				"domain: %u > %u",
				n, max);
	value = get_guest_vcpus(d, &online, &all, error);
	if (!value)
		return false;
	if (n == (guint32)online)
		return true;
	list = choose(kv_array(value), (int)n - online);
	if (json_array_get_length(list) != (guint)ABS((int)n - online)) {
		json_array_unref(list);
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "failed to set vcpu count: %u of %d can be online", n, all);
	}
	return set_some(d, list, error);
}

static bool set_vcpus(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = NULL;
	guint32 n, flags;

	g_variant_get_child(args, 1, "u", &n);
	g_variant_get_child(args, 2, "u", &flags);
	if (!(flags & VCPU_GUEST))
		return domain_set_vcpus(call, args, ret, error);
	d = domain_of_args(call, args, error);
	if (!d || !call_check_flags(call, flags, VCPU_GUEST | AFFECT_LIVE, error))
		return false;
	if (!n)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "nvcpus in virDomainSetVcpusFlags must not be zero");
	return domain_require_active(d, error) && set_count(d, n, error);
}

static bool get_vcpus(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(JsonNode) value = NULL;
	g_autoptr(Domain) d = NULL;
	int online, all;
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (!(flags & VCPU_GUEST))
		return domain_get_vcpus(call, args, ret, error);
	d = domain_of_args(call, args, error);
	if (!d || !call_check_flags(call, flags, VCPU_GUEST | VCPU_MAXIMUM | AFFECT_LIVE, error) ||
	    !domain_require_active(d, error))
		return false;
	value = get_guest_vcpus(d, &online, &all, error);
	if (value)
		*ret = g_variant_new("(i)", flags & VCPU_MAXIMUM ? all : online);
	return value;
}

static bool guest_vcpus(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	g_autoptr(JsonNode) value = NULL;
	GVariant *list;
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (!d || !call_check_flags(call, flags, 0, error) || !domain_require_active(d, error))
		return false;
	value = kv_agent_call(d, "guest-get-vcpus", NULL, AGENT_ANSWERS, error);
	list = value ? agent_vcpus(value, error) : NULL;
	if (list)
		*ret = g_variant_new("(@a(sv))", list);
	return list;
}

/* "0-3,^2,5"; NULL: it makes no sense. */
static bool *parse_map(const char *text)
{
	g_auto(GStrv) parts = g_strsplit(text, ",", AGENT_PARAMS_MAX);
	bool *set = g_new0(bool, AGENT_PARAMS_MAX);

	for (char **p = parts; *p; p++) {
		const char *at = g_strchug(*p);
		bool value = *at != '^';
		guint64 first, last;
		char *end;

		at += !value;
		first = last = g_ascii_strtoull(at, &end, 10);
		if (end != at && *end == '-') {
			at = end + 1;
			last = g_ascii_strtoull(at, &end, 10);
		}
		if (end == at || *end || last < first || last >= AGENT_PARAMS_MAX) {
			g_free(set);
			return NULL;
		}
		for (guint64 i = first; i <= last; i++)
			set[i] = value;
	}
	return set;
}

static bool set_guest_vcpus(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	g_autofree char *map = NULL;
	g_autofree bool *set = NULL;
	JsonArray *list;
	guint32 flags;
	gint32 state;

	g_variant_get_child(args, 1, "s", &map);
	g_variant_get_child(args, 2, "i", &state);
	g_variant_get_child(args, 3, "u", &flags);
	if (!d || !call_check_flags(call, flags, 0, error))
		return false;
	if (state != 0 && state != 1)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "unsupported state value");
	set = parse_map(map);
	if (!set)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "Failed to parse bitmap '%s'", map);
	if (!domain_require_active(d, error))
		return false;
	list = json_array_new();
	for (guint i = 0; i < AGENT_PARAMS_MAX; i++) {
		JsonObject *one = set[i] ? json_object_new() : NULL;

		if (!one)
			continue;
		json_object_set_int_member(one, "logical-id", i);
		json_object_set_boolean_member(one, "online", state);
		json_array_add_object_element(list, one);
	}
	return set_some(d, list, error);
}

const struct handler kv_agent_power_handlers[] = {
	{RPC_DOMAIN_SHUTDOWN, shut_down, 0},
	{RPC_DOMAIN_SHUTDOWN_FLAGS, shut_down, 0},
	{RPC_DOMAIN_REBOOT, reboot, 0},
	{RPC_DOMAIN_PM_SUSPEND_FOR_DURATION, pm_suspend, 0},
	{RPC_DOMAIN_PM_WAKEUP, pm_wakeup, 0},
	{RPC_DOMAIN_SET_VCPUS_FLAGS, set_vcpus, 0},
	{RPC_DOMAIN_GET_VCPUS_FLAGS, get_vcpus, HANDLER_READ_ONLY},
	{RPC_DOMAIN_GET_GUEST_VCPUS, guest_vcpus, 0},
	{RPC_DOMAIN_SET_GUEST_VCPUS, set_guest_vcpus, 0},
	{0},
};
