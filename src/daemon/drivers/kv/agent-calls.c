/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What libvirt's calls ask of a guest's agent: file systems, its clock, users, processors, addresses, sleep. In the place of
 * everybody's handlers (hv.h), since only this driver's guests have an agent. Without the domain's job: see agent.c.
 */
#include <string.h>

#include "agent-reply.h"
#include "kv.h"

enum { TIME_SYNC = 1, PASSWORD_ENCRYPTED = 1, HOSTNAME_LEASE = 1, HOSTNAME_AGENT = 2 };
enum { KEYS_APPEND = 1, KEYS_REMOVE = 2 };
enum { SOURCE_AGENT = 1 };
enum { NS = 1000000000 };

typedef bool agent_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error);

/* The domain that the arguments name, which must run. */
static bool with_guest(struct call *call, GVariant *args, GVariant **ret, GError **error, agent_func *func)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);

	return d && domain_require_active(d, error) && func(call, d, args, ret, error);
}

/* The flags are the n-th argument. */
static bool check_flags(struct call *call, GVariant *args, unsigned n, unsigned supported, guint32 *ret, GError **error)
{
	g_variant_get_child(args, n, "u", ret);
	return call_check_flags(call, *ret, supported, error);
}

static JsonNode *ask(struct domain *d, const char *name, JsonObject *args, GError **error)
{
	return kv_agent_call(d, name, args, AGENT_ANSWERS, error);
}

static bool tell(struct domain *d, const char *name, JsonObject *args, GError **error)
{
	g_autoptr(JsonNode) value = ask(d, name, args, error);

	return value;
}

static JsonArray *texts(GVariant *list)
{
	JsonArray *array = json_array_new();

	for (gsize i = 0; i < g_variant_n_children(list); i++) {
		g_autoptr(GVariant) one = g_variant_get_child_value(list, i);

		json_array_add_string_element(array, g_variant_get_string(one, NULL));
	}
	return array;
}

/* ---- file systems ---- */

static bool freeze_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GVariant) points = g_variant_get_child_value(args, 1);
	bool thaw = call->proc->number == RPC_DOMAIN_FSTHAW, some = g_variant_n_children(points);
	g_autoptr(JsonNode) value = NULL;
	JsonObject *o = NULL;
	guint32 flags;

	if (!check_flags(call, args, 2, 0, &flags, error))
		return false;
	if (thaw && some)
		return rpc_fail(error, VIR_ERR_ARGUMENT_UNSUPPORTED, "specifying mountpoints is not supported");
	if (some) {
		o = json_object_new();
		json_object_set_array_member(o, "mountpoints", texts(points));
	}
	value = ask(d, thaw ? "guest-fsfreeze-thaw" : some ? "guest-fsfreeze-freeze-list" : "guest-fsfreeze-freeze", o, error);
	if (!value)
		return false;
	if (!JSON_NODE_HOLDS_VALUE(value))
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "Invalid data provided by guest agent");
	*ret = g_variant_new("(i)", (gint32)CLAMP(json_node_get_int(value), 0, G_MAXINT32));
	return true;
}

static bool freeze(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return with_guest(call, args, ret, error, freeze_func);
}

static bool trim_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *point = NULL;
	JsonObject *o;
	guint64 least;
	guint32 flags;

	g_variant_get_child(args, 1, "ms", &point);
	g_variant_get_child(args, 2, "t", &least);
	if (!check_flags(call, args, 3, 0, &flags, error))
		return false;
	if (point)
		return rpc_fail(error, VIR_ERR_ARGUMENT_UNSUPPORTED, "Specifying mount point is not supported for now");
	o = json_object_new();
	json_object_set_int_member(o, "minimum", (gint64)MIN(least, G_MAXINT64));
	return tell(d, "guest-fstrim", o, error);
}

static bool trim(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return with_guest(call, args, ret, error, trim_func);
}

static bool fsinfo_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(JsonNode) value = NULL;
	GVariant *list;
	guint32 flags;

	if (!check_flags(call, args, 1, 0, &flags, error))
		return false;
	value = ask(d, "guest-get-fsinfo", NULL, error);
	list = value ? agent_filesystems(value, d->live, error) : NULL;
	if (!list)
		return false;
	*ret = g_variant_new("(@a(sssas)u)", list, (guint32)g_variant_n_children(list));
	return true;
}

static bool fsinfo(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return with_guest(call, args, ret, error, fsinfo_func);
}

/* ---- its clock ---- */

static bool get_time_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(JsonNode) value = NULL;
	guint32 flags;
	gint64 ns;

	if (!check_flags(call, args, 1, 0, &flags, error))
		return false;
	value = ask(d, "guest-get-time", NULL, error);
	if (!value)
		return false;
	if (!JSON_NODE_HOLDS_VALUE(value) || (ns = json_node_get_int(value)) <= 0)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "Invalid data provided by guest agent");
	*ret = g_variant_new("(xu)", ns / NS, (guint32)(ns % NS));
	return true;
}

static bool get_time(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return with_guest(call, args, ret, error, get_time_func);
}

/* Ticks of the RTC that a guest with a wrong clock has not had are of no use to it any more. */
static bool set_time_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	JsonObject *o = NULL;
	struct kv_machine *m;
	guint32 ns, flags;
	gint64 seconds;

	g_variant_get_child(args, 1, "x", &seconds);
	g_variant_get_child(args, 2, "u", &ns);
	if (!check_flags(call, args, 3, TIME_SYNC, &flags, error))
		return false;
	if (!(flags & TIME_SYNC)) {
		if (seconds < 0 || seconds > G_MAXINT64 / NS - 1)
			return rpc_fail(error, VIR_ERR_INVALID_ARG, "Time '%" G_GINT64_FORMAT "' is too big for guest agent",
					seconds);
		o = json_object_new();
		json_object_set_int_member(o, "time", seconds * NS + ns);
	}
	if (!tell(d, "guest-set-time", o, error))
		return false;
	m = kv_machine_of(d, error);
	return m && kv_do(m, "rtc-reset-reinjection", NULL, error);
}

static bool set_time(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return with_guest(call, args, ret, error, set_time_func);
}

/* ---- users ---- */

static bool password_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *user = NULL, *password = NULL, *coded = NULL;
	JsonObject *o;
	guint32 flags;

	g_variant_get_child(args, 1, "ms", &user);
	g_variant_get_child(args, 2, "ms", &password);
	if (!check_flags(call, args, 3, PASSWORD_ENCRYPTED, &flags, error))
		return false;
	if (!user || !password)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "a user and a password are needed");
	coded = g_base64_encode((const guchar *)password, strlen(password));
	o = kv_args("username", user, "password", coded, NULL);
	json_object_set_boolean_member(o, "crypted", (flags & PASSWORD_ENCRYPTED) != 0);
	return tell(d, "guest-set-user-password", o, error);
}

static bool set_password(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return with_guest(call, args, ret, error, password_func);
}

static bool get_keys_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(JsonNode) value = NULL;
	g_autofree char *user = NULL;
	GVariant *list;
	guint32 flags;

	g_variant_get_child(args, 1, "s", &user);
	if (!check_flags(call, args, 2, 0, &flags, error))
		return false;
	value = ask(d, "guest-ssh-get-authorized-keys", kv_args("username", user, NULL), error);
	list = value ? agent_keys(value, error) : NULL;
	if (list)
		*ret = g_variant_new("(@as)", list);
	return list;
}

static bool get_keys(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return with_guest(call, args, ret, error, get_keys_func);
}

static bool set_keys_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GVariant) keys = g_variant_get_child_value(args, 2);
	g_autofree char *user = NULL;
	JsonObject *o;
	guint32 flags;

	g_variant_get_child(args, 1, "s", &user);
	if (!check_flags(call, args, 3, KEYS_APPEND | KEYS_REMOVE, &flags, error))
		return false;
	if (flags == (KEYS_APPEND | KEYS_REMOVE))
		return rpc_fail(error, VIR_ERR_INVALID_ARG,
				"flags 'VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_APPEND' and "
				"'VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_REMOVE' are mutually exclusive");
	o = kv_args("username", user, NULL);
	json_object_set_array_member(o, "keys", texts(keys));
	if (flags & KEYS_REMOVE)
		return tell(d, "guest-ssh-remove-authorized-keys", o, error);
	json_object_set_boolean_member(o, "reset", !(flags & KEYS_APPEND));
	return tell(d, "guest-ssh-add-authorized-keys", o, error);
}

static bool set_keys(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return with_guest(call, args, ret, error, set_keys_func);
}

/* ---- names and addresses ---- */

static bool hostname_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(JsonNode) value = NULL;
	g_autofree char *name = NULL;

	value = ask(d, "guest-get-host-name", NULL, error);
	name = value ? agent_text(value, "host-name") : NULL;
	if (value && !name)
		rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "Invalid data provided by guest agent");
	if (name)
		*ret = g_variant_new("(s)", name);
	return name;
}

/* As DHCP calls it. */
static bool lease_name_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *name = kv_lease_name(d, error);

	if (name)
		*ret = g_variant_new("(s)", name);
	return name;
}

static bool hostname(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	guint32 flags;

	if (!check_flags(call, args, 1, HOSTNAME_LEASE | HOSTNAME_AGENT, &flags, error))
		return false;
	if (flags == (HOSTNAME_LEASE | HOSTNAME_AGENT))
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "Flags 'VIR_DOMAIN_GET_HOSTNAME_LEASE' and "
							    "'VIR_DOMAIN_GET_HOSTNAME_AGENT' are mutually exclusive");
	return flags & HOSTNAME_LEASE ? domain_with_job(call, args, ret, error, JOB_QUERY, true, lease_name_func) :
					with_guest(call, args, ret, error, hostname_func);
}

static bool addresses_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(JsonNode) value = NULL;
	guint32 flags;
	GVariant *list;

	if (!check_flags(call, args, 2, 0, &flags, error))
		return false;
	value = ask(d, "guest-network-get-interfaces", NULL, error);
	list = value ? agent_interfaces(value, error) : NULL;
	if (list)
		*ret = g_variant_new("(@a(smsa(isu)))", list);
	return list;
}

static bool addresses(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	guint32 source;

	g_variant_get_child(args, 1, "u", &source);
	return source == SOURCE_AGENT ? with_guest(call, args, ret, error, addresses_func) :
					domain_interface_addresses(call, args, ret, error);
}

/* ---- everything about it ---- */

static const struct {
	const char *command;
	bool (*read)(struct agent_params *p, JsonNode *value);
} infos[] = {
	{"guest-get-users", agent_info_users},
	{"guest-get-osinfo", agent_info_os},
	{"guest-get-timezone", agent_info_timezone},
	{"guest-get-host-name", agent_info_hostname},
	{"guest-get-fsinfo", agent_info_filesystems},
	{"guest-get-disks", agent_info_disks},
	{"guest-network-get-interfaces", agent_info_interfaces},
};

/* lenient: an agent that does not know the command has nothing to tell. */
static bool add_info(struct domain *d, unsigned i, bool lenient, struct agent_params *p, GError **error)
{
	g_autoptr(GError) why = NULL;
	g_autoptr(JsonNode) value = ask(d, infos[i].command, NULL, &why);

	if (!value && lenient && g_error_matches(why, RPC_ERRORS, VIR_ERR_INTERNAL_ERROR))
		return true;
	if (!value) {
		g_propagate_error(error, g_steal_pointer(&why));
		return false;
	}
	p->def = d->live;
	if (!infos[i].read(p, value))
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "Invalid data provided by guest agent");
	return p->n <= AGENT_PARAMS_MAX ||
	       rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "the guest agent tells more than %d parameters", AGENT_PARAMS_MAX);
}

static bool info_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	struct agent_params p = {};
	GVariantBuilder out;
	guint32 types, flags;
	bool ok = true;

	g_variant_get_child(args, 1, "u", &types);
	if (!check_flags(call, args, 2, 0, &flags, error))
		return false;
	if (types >> G_N_ELEMENTS(infos))
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "unsupported guest information types '0x%x'",
				types >> G_N_ELEMENTS(infos) << G_N_ELEMENTS(infos));
	g_variant_builder_init(&out, G_VARIANT_TYPE("a(sv)"));
	p.out = &out;
	for (unsigned i = 0; ok && i < G_N_ELEMENTS(infos); i++)
		ok = (types && !(types & 1u << i)) || add_info(d, i, !types, &p, error);
	if (ok)
		*ret = g_variant_new("(a(sv))", &out);
	else
		g_variant_builder_clear(&out);
	return ok;
}

static bool info(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return with_guest(call, args, ret, error, info_func);
}

/* ---- its limits ---- */

static bool set_timeout(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	gint32 timeout;
	guint32 flags;

	g_variant_get_child(args, 1, "i", &timeout);
	if (!d || !check_flags(call, args, 2, 0, &flags, error))
		return false;
	if (timeout < AGENT_BLOCK)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "guest agent timeout '%d' is less than the minimum '%d'", timeout,
				AGENT_BLOCK);
	if (!domain_require_active(d, error))
		return false;
	d->agent_timeout = timeout;
	kv_store_status(d);
	*ret = g_variant_new("(i)", 0);
	return true;
}

const struct handler kv_agent_handlers[] = {
	{RPC_DOMAIN_FSFREEZE, freeze, 0},
	{RPC_DOMAIN_FSTHAW, freeze, 0},
	{RPC_DOMAIN_FSTRIM, trim, 0},
	{RPC_DOMAIN_GET_FSINFO, fsinfo, 0},
	{RPC_DOMAIN_GET_TIME, get_time, 0},
	{RPC_DOMAIN_SET_TIME, set_time, 0},
	{RPC_DOMAIN_SET_USER_PASSWORD, set_password, 0},
	{RPC_DOMAIN_AUTHORIZED_SSH_KEYS_GET, get_keys, 0},
	{RPC_DOMAIN_AUTHORIZED_SSH_KEYS_SET, set_keys, 0},
	{RPC_DOMAIN_GET_HOSTNAME, hostname, 0},
	{RPC_DOMAIN_INTERFACE_ADDRESSES, addresses, 0},
	{RPC_DOMAIN_GET_GUEST_INFO, info, 0},
	{RPC_DOMAIN_AGENT_SET_RESPONSE_TIMEOUT, set_timeout, 0},
	{0},
};
