/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's network interfaces, for clients to look at (host-devices.h, or the driver's own list), read anew for each call.
 * They are the host's to configure: what changes them is not there, but for the test driver, which has procedures of its own.
 */
#include <string.h>

#include "call.h"
#include "host-devices.h"
#include "hv.h"
#include "model-xml.h"

enum { LIST_INACTIVE = 1, LIST_ACTIVE = 2, XML_INACTIVE = 1 };

static xmlNode *root_of(const struct host_object *o)
{
	return xmlDocGetRootElement(o->doc);
}

static const char *mac_of(const struct host_object *o)
{
	const char *mac = xml_text(root_of(o), "mac/@address");

	return mac ? mac : "";
}

static GVariant *handle(const struct host_object *o)
{
	return g_variant_new("(ss)", xml_text(root_of(o), "@name"), mac_of(o));
}

static bool is_there(struct call *call, GError **error)
{
	return call->hv->driver->interfaces || handler_unsupported(call, NULL, NULL, error);
}

static bool list_all(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GPtrArray) all = NULL;
	GVariantBuilder list;
	guint32 flags, n = 0;
	gint32 wants;

	g_variant_get(args, "(iu)", &wants, &flags);
	if (!is_there(call, error) || !call_check_flags(call, flags, LIST_INACTIVE | LIST_ACTIVE, error))
		return false;
	all = call->hv->driver->interfaces(call->hv);
	g_variant_builder_init(&list, G_VARIANT_TYPE("a(ss)"));
	for (unsigned i = 0; i < all->len; i++) {
		const struct host_object *o = all->pdata[i];

		if (flags && !(flags & (o->active ? LIST_ACTIVE : LIST_INACTIVE)))
			continue;
		n++;
		if (wants)
			g_variant_builder_add_value(&list, handle(o));
	}
	*ret = g_variant_new("(a(ss)u)", &list, n);
	return true;
}

/* The old way: their number, then names, of those that are active or of the others. */
static bool number(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	bool active = call->proc->number == RPC_CONNECT_NUM_OF_INTERFACES;
	g_autoptr(GPtrArray) all = NULL;
	gint32 n = 0;

	if (!is_there(call, error))
		return false;
	all = call->hv->driver->interfaces(call->hv);
	for (unsigned i = 0; i < all->len; i++)
		n += ((struct host_object *)all->pdata[i])->active == active;
	*ret = g_variant_new("(i)", n);
	return true;
}

static bool names(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	bool active = call->proc->number == RPC_CONNECT_LIST_INTERFACES;
	g_autoptr(GPtrArray) all = NULL;
	GVariantBuilder list;
	gint32 room;

	if (!is_there(call, error))
		return false;
	g_variant_get(args, "(i)", &room);
	all = call->hv->driver->interfaces(call->hv);
	g_variant_builder_init(&list, G_VARIANT_TYPE("as"));
	for (unsigned i = 0; i < all->len && room > 0; i++) {
		const struct host_object *o = all->pdata[i];

		if (o->active != active)
			continue;
		g_variant_builder_add(&list, "s", xml_text(root_of(o), "@name"));
		room--;
	}
	*ret = g_variant_new("(as)", &list);
	return true;
}

/* ---- one ---- */

static const struct host_object *find(struct call *call, const char *name, GPtrArray **all, GError **error)
{
	bool test = call->hv->driver->test_rules;

	if (!is_there(call, error))
		return NULL;
	*all = call->hv->driver->interfaces(call->hv);
	for (unsigned i = 0; i < (*all)->len; i++)
		if (xml_is(root_of((*all)->pdata[i]), "@name", name))
			return (*all)->pdata[i];
	rpc_fail(error, VIR_ERR_NO_INTERFACE,
		 test ? "no interface with matching name '%s'" : "couldn't find interface named '%s'", name);
	return NULL;
}

static const struct host_object *of_args(struct call *call, GVariant *args, GPtrArray **all, GError **error)
{
	g_autoptr(GVariant) h = g_variant_get_child_value(args, 0);
	const char *name;

	g_variant_get_child(h, 0, "&s", &name);
	return find(call, name, all, error);
}

static bool answer(const struct host_object *o, GVariant **ret)
{
	if (o)
		*ret = g_variant_new("(@(ss))", handle(o));
	return o;
}

static bool by_name(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GPtrArray) all = NULL;
	const char *name;

	g_variant_get(args, "(&s)", &name);
	return answer(find(call, name, &all, error), ret);
}

static bool by_mac(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const struct host_object *found = NULL;
	g_autoptr(GPtrArray) all = NULL;
	unsigned n = 0;
	const char *mac;

	if (!is_there(call, error))
		return false;
	g_variant_get(args, "(&s)", &mac);
	all = call->hv->driver->interfaces(call->hv);
	for (unsigned i = 0; i < all->len; i++)
		if (!g_ascii_strcasecmp(mac_of(all->pdata[i]), mac) && !n++)
			found = all->pdata[i];
	if (!n)
		return rpc_fail(error, VIR_ERR_NO_INTERFACE,
				call->hv->driver->test_rules ? "no interface with matching mac '%s'"
							     : "couldn't find interface with MAC address '%s'",
				mac);
	if (n > 1)
		return rpc_fail(error, VIR_ERR_MULTIPLE_INTERFACES, "the MAC address '%s' matches multiple interfaces", mac);
	return answer(found, ret);
}

static bool is_active(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GPtrArray) all = NULL;
	const struct host_object *o = of_args(call, args, &all, error);

	if (o)
		*ret = g_variant_new("(i)", o->active);
	return o;
}

static bool get_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GPtrArray) all = NULL;
	const struct host_object *o = of_args(call, args, &all, error);
	g_autofree char *xml = NULL;
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (!o || !call_check_flags(call, flags, call->hv->driver->test_rules ? 0 : XML_INACTIVE, error))
		return false;
	xml = object_format(OBJECT_INTERFACE, o->doc, 0);
	*ret = g_variant_new("(s)", xml);
	return true;
}

const struct handler interface_handlers[] = {
	{ RPC_CONNECT_LIST_ALL_INTERFACES, list_all, HANDLER_READ_ONLY },
	{ RPC_CONNECT_NUM_OF_INTERFACES, number, HANDLER_READ_ONLY },
	{ RPC_CONNECT_NUM_OF_DEFINED_INTERFACES, number, HANDLER_READ_ONLY },
	{ RPC_CONNECT_LIST_INTERFACES, names, HANDLER_READ_ONLY },
	{ RPC_CONNECT_LIST_DEFINED_INTERFACES, names, HANDLER_READ_ONLY },
	{ RPC_INTERFACE_LOOKUP_BY_NAME, by_name, HANDLER_READ_ONLY },
	{ RPC_INTERFACE_LOOKUP_BY_MAC_STRING, by_mac, HANDLER_READ_ONLY },
	{ RPC_INTERFACE_IS_ACTIVE, is_active, HANDLER_READ_ONLY },
	{ RPC_INTERFACE_GET_XML_DESC, get_xml, HANDLER_READ_ONLY },
	{ 0 },
};
