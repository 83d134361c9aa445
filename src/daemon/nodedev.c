/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Node devices: what the host has, for clients to look at (host-devices.h, or the driver's own list). They are read anew for each
 * call, in a worker without the lock. Nothing is made, detached or taken away: those procedures are not there.
 */
#include <string.h>

#include "call.h"
#include "host-devices.h"
#include "hv.h"
#include "model-xml.h"

/* VIR_CONNECT_LIST_NODE_DEVICES_CAP_… by bits; types that are not here are not listed by any host. */
static const struct {
	const char *type;
	guint32 flag;
} kinds[] = {
	{ "system", 1 << 0 },	 { "pci", 1 << 1 },  { "usb_device", 1 << 2 }, { "usb", 1 << 3 },	{ "net", 1 << 4 },
	{ "scsi_host", 1 << 5 }, { "scsi_target", 1 << 6 }, { "scsi", 1 << 7 },	{ "storage", 1 << 8 },	{ "fc_host", 1 << 9 },
	{ "vports", 1 << 10 },
};
enum { CAPS_ALL = (1 << 21) - 1, LIST_INACTIVE = 1 << 30, LIST_ACTIVE = 1u << 31, XML_INACTIVE = 1 };

static GPtrArray *all_of(struct call *call)
{
	GPtrArray *all;

	state_release();
	all = call->hv->driver->node_devices(call->hv);
	state_acquire();
	return all;
}

static xmlNode *root_of(const struct host_object *o)
{
	return xmlDocGetRootElement(o->doc);
}

/* Its types: those of its capabilities, and fc_host and vports of what a SCSI host can besides. */
static GPtrArray *types_of(const struct host_object *o)
{
	GPtrArray *types = g_ptr_array_new();

	for (const xmlNode *c = xml_child(root_of(o), "capability"); c; c = xml_next(c)) {
		g_ptr_array_add(types, (char *)xml_text(c, "@type"));
		for (const xmlNode *more = xml_child(c, "capability"); more; more = xml_next(more)) {
			if (xml_is(more, "@type", "fc_host"))
				g_ptr_array_add(types, (char *)"fc_host");
			else if (xml_is(more, "@type", "vport_ops"))
				g_ptr_array_add(types, (char *)"vports");
		}
	}
	return types;
}

static bool has_type(const struct host_object *o, const char *type)
{
	g_autoptr(GPtrArray) types = types_of(o);
	bool found = false;

	for (unsigned i = 0; i < types->len; i++)
		found |= !strcmp(types->pdata[i], type);
	return found;
}

static bool fits(const struct host_object *o, guint32 flags)
{
	if (flags & (LIST_ACTIVE | (guint32)LIST_INACTIVE) && !(flags & LIST_ACTIVE))
		return false;
	if (!(flags & CAPS_ALL))
		return true;
	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++)
		if (flags & kinds[i].flag && has_type(o, kinds[i].type))
			return true;
	return false;
}

static bool list_all(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	bool test = call->hv->driver->test_rules;
	g_autoptr(GPtrArray) all = NULL;
	GVariantBuilder list;
	guint32 flags, n = 0;
	gint32 wants;

	g_variant_get(args, "(iu)", &wants, &flags);
	if (!call->hv->driver->node_devices)
		return handler_unsupported(call, args, ret, error);
	if (!call_check_flags(call, flags, CAPS_ALL | (test ? 0 : LIST_ACTIVE | (guint32)LIST_INACTIVE), error))
		return false;
	all = all_of(call);
	g_variant_builder_init(&list, G_VARIANT_TYPE("as"));
	for (unsigned i = 0; i < all->len; i++) {
		if (!fits(all->pdata[i], flags))
			continue;
		n++;
		if (wants)
			g_variant_builder_add(&list, "s", xml_text(root_of(all->pdata[i]), "name"));
	}
	*ret = g_variant_new("(asu)", &list, n);
	return true;
}

/* node_num_of_devices and node_list_devices: of a type, or all. */
static bool names(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	bool listed = call->proc->number == RPC_NODE_LIST_DEVICES;
	g_autoptr(GPtrArray) all = NULL;
	GVariantBuilder list;
	const char *type;
	gint32 n = 0, room = 0;
	guint32 flags;

	if (!call->hv->driver->node_devices)
		return handler_unsupported(call, args, ret, error);
	g_variant_get_child(args, 0, "m&s", &type);
	if (listed)
		g_variant_get_child(args, 1, "i", &room);
	g_variant_get_child(args, listed ? 2 : 1, "u", &flags);
	if (!call_check_flags(call, flags, 0, error))
		return false;
	all = all_of(call);
	g_variant_builder_init(&list, G_VARIANT_TYPE("as"));
	for (unsigned i = 0; i < all->len; i++) {
		if (type && !has_type(all->pdata[i], type))
			continue;
		if (n++ < room)
			g_variant_builder_add(&list, "s", xml_text(root_of(all->pdata[i]), "name"));
	}
	if (listed) {
		*ret = g_variant_new("(as)", &list);
		return true;
	}
	g_variant_builder_clear(&list);
	*ret = g_variant_new("(i)", n);
	return true;
}

/* ---- one ---- */

/* all: keeps what is found. */
static const struct host_object *find(struct call *call, GVariant *args, GPtrArray **all, GError **error)
{
	const char *name;

	if (!call->hv->driver->node_devices) {
		handler_unsupported(call, args, NULL, error);
		return NULL;
	}
	g_variant_get_child(args, 0, "&s", &name);
	*all = all_of(call);
	for (unsigned i = 0; i < (*all)->len; i++)
		if (xml_is(root_of((*all)->pdata[i]), "name", name))
			return (*all)->pdata[i];
	rpc_fail(error, VIR_ERR_NO_NODE_DEVICE, "no node device with matching name '%s'", name);
	return NULL;
}

static bool lookup(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GPtrArray) all = NULL;
	const struct host_object *o = find(call, args, &all, error);

	if (o)
		*ret = g_variant_new("(s)", xml_text(root_of(o), "name"));
	return o;
}

static bool lookup_wwn(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GPtrArray) all = NULL;
	const char *wwnn, *wwpn;

	if (!call->hv->driver->node_devices || call->hv->driver->test_rules)
		return handler_unsupported(call, args, ret, error);
	g_variant_get_child(args, 0, "&s", &wwnn);
	g_variant_get_child(args, 1, "&s", &wwpn);
	return rpc_fail(error, VIR_ERR_NO_NODE_DEVICE, "no Fibre Channel host with WWNs '%s' and '%s'", wwnn, wwpn);
}

static bool get_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GPtrArray) all = NULL;
	const struct host_object *o;
	g_autofree char *xml = NULL;
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (call->hv->driver->node_devices &&
	    !call_check_flags(call, flags, call->hv->driver->test_rules ? 0 : XML_INACTIVE, error))
		return false;
	o = find(call, args, &all, error);
	if (!o)
		return false;
	xml = object_format(OBJECT_NODE_DEVICE, o->doc, 0);
	*ret = g_variant_new("(s)", xml);
	return true;
}

static bool get_parent(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GPtrArray) all = NULL;
	const struct host_object *o = find(call, args, &all, error);

	if (o)
		*ret = g_variant_new("(ms)", xml_text(root_of(o), "parent"));
	return o;
}

static bool caps(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GPtrArray) all = NULL, types = NULL;
	const struct host_object *o = find(call, args, &all, error);
	gint32 room;

	if (!o)
		return false;
	types = g_ptr_array_new();
	for (const xmlNode *c = xml_child(root_of(o), "capability"); c; c = xml_next(c))
		g_ptr_array_add(types, (char *)xml_text(c, "@type"));
	if (call->proc->number == RPC_NODE_DEVICE_NUM_OF_CAPS) {
		*ret = g_variant_new("(i)", types->len);
		return true;
	}
	g_variant_get_child(args, 1, "i", &room);
	*ret = g_variant_new("(@as)", g_variant_new_strv((const char *const *)types->pdata, CLAMP(room, 0, (gint32)types->len)));
	return true;
}

/* What is there is active, and nobody has defined it; but of the machine itself all is told to be so, as by libvirt. */
static bool flag(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GPtrArray) all = NULL;
	const struct host_object *o;

	if (call->hv->driver->test_rules)
		return handler_unsupported(call, args, ret, error);
	o = find(call, args, &all, error);
	if (o)
		*ret = g_variant_new("(i)", call->proc->number == RPC_NODE_DEVICE_IS_ACTIVE ||
						    xml_is(root_of(o), "name", "computer"));
	return o;
}

const struct handler nodedev_handlers[] = {
	{ RPC_CONNECT_LIST_ALL_NODE_DEVICES, list_all, HANDLER_READ_ONLY },
	{ RPC_NODE_NUM_OF_DEVICES, names, HANDLER_READ_ONLY },
	{ RPC_NODE_LIST_DEVICES, names, HANDLER_READ_ONLY },
	{ RPC_NODE_DEVICE_LOOKUP_BY_NAME, lookup, HANDLER_READ_ONLY },
	{ RPC_NODE_DEVICE_LOOKUP_SCSI_HOST_BY_WWN, lookup_wwn, HANDLER_READ_ONLY },
	{ RPC_NODE_DEVICE_GET_XML_DESC, get_xml, HANDLER_READ_ONLY },
	{ RPC_NODE_DEVICE_GET_PARENT, get_parent, HANDLER_READ_ONLY },
	{ RPC_NODE_DEVICE_NUM_OF_CAPS, caps, HANDLER_READ_ONLY },
	{ RPC_NODE_DEVICE_LIST_CAPS, caps, HANDLER_READ_ONLY },
	{ RPC_NODE_DEVICE_IS_ACTIVE, flag, HANDLER_READ_ONLY },
	{ RPC_NODE_DEVICE_IS_PERSISTENT, flag, HANDLER_READ_ONLY },
	{ RPC_NODE_DEVICE_GET_AUTOSTART, flag, HANDLER_READ_ONLY },
	{ 0 },
};
