/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network filters: there are none, since cards of our machines are not behind the host's packet filter, and <filterref> is
 * refused. So lists are empty, every name is unknown, and what defines or binds one is not there.
 */
#include "call.h"
#include "hv.h"
#include "uuid.h"

static bool is_there(struct call *call, GError **error)
{
	return !call->hv->driver->test_rules || handler_unsupported(call, NULL, NULL, error);
}

static bool list_all(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	bool bindings = call->proc->number == RPC_CONNECT_LIST_ALL_NWFILTER_BINDINGS;
	const GVariantType *type = G_VARIANT_TYPE(bindings ? "(ss)" : "(say)");
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (!is_there(call, error) || !call_check_flags(call, flags, 0, error))
		return false;
	*ret = g_variant_new(bindings ? "(@a(ss)u)" : "(@a(say)u)", g_variant_new_array(type, NULL, 0), 0);
	return true;
}

static bool number(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	if (!is_there(call, error))
		return false;
	*ret = g_variant_new("(i)", 0);
	return true;
}

static bool names(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	if (!is_there(call, error))
		return false;
	*ret = g_variant_new("(@as)", g_variant_new_strv(NULL, 0));
	return true;
}

static bool by_name(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const char *name;

	g_variant_get(args, "(&s)", &name);
	return is_there(call, error) && rpc_fail(error, VIR_ERR_NO_NWFILTER, "no nwfilter with matching name '%s'", name);
}

static bool by_uuid(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GVariant) uuid = g_variant_get_child_value(args, 0);
	g_autofree char *text = uuid_format(uuid);

	return is_there(call, error) && rpc_fail(error, VIR_ERR_NO_NWFILTER, "no nwfilter with matching uuid '%s'", text);
}

enum { LOOK = HANDLER_FAST | HANDLER_READ_ONLY };

const struct handler nwfilter_handlers[] = {
	{ RPC_CONNECT_LIST_ALL_NWFILTERS, list_all, LOOK },
	{ RPC_CONNECT_LIST_ALL_NWFILTER_BINDINGS, list_all, LOOK },
	{ RPC_CONNECT_NUM_OF_NWFILTERS, number, LOOK },
	{ RPC_CONNECT_LIST_NWFILTERS, names, LOOK },
	{ RPC_NWFILTER_LOOKUP_BY_NAME, by_name, LOOK },
	{ RPC_NWFILTER_LOOKUP_BY_UUID, by_uuid, LOOK },
	{ 0 },
};
