/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices and interfaces of the host that libvirt's test driver has. Interfaces can be defined, started, and changed in turns. */
#include <string.h>

#include "domain-def.h"
#include "host-devices.h"
#include "model-xml.h"
#include "test.h"

/* ---- devices ---- */

#define FC_HOST(host, id, wwnn, wwpn, fabric, more) \
	"<capability type='scsi_host'><host>" host "</host><unique_id>" id "</unique_id><capability type='fc_host'><wwnn>" wwnn \
	"</wwnn><wwpn>" wwpn "</wwpn><fabric_wwn>" fabric "</fabric_wwn></capability>" more "</capability></device>"
#define VPORTS "<capability type='vport_ops'><max_vports>0</max_vports><vports>0</vports></capability>"

static const char *const devices[] = {
	"<device><name>computer</name><capability type='system'>"
	"<hardware><vendor>Libvirt</vendor><version>Test driver</version><serial>123456</serial>"
	"<uuid>11111111-2222-3333-4444-555555555555</uuid></hardware>"
	"<firmware><vendor>Libvirt</vendor><version>Test Driver</version><release_date>01/22/2007</release_date></firmware>"
	"</capability></device>",
	"<device><name>scsi_host1</name><parent>computer</parent>"
	FC_HOST("1", "0", "2000000012341234", "1000000012341234", "2000000043214321", VPORTS),
	"<device><name>scsi_host2</name><parent>computer</parent>"
	FC_HOST("2", "1", "2000000056785678", "1000000056785678", "2000000087658765", VPORTS),
	"<device><name>scsi_host11</name><parent>scsi_host1</parent>"
	FC_HOST("11", "10", "2000000034563456", "1000000034563456", "2000000043214321", ""),
};

static GPtrArray *new_list(void)
{
	return g_ptr_array_new_with_free_func((GDestroyNotify)host_object_free);
}

static void add(GPtrArray *list, xmlDoc *doc, bool active)
{
	struct host_object *o = g_new0(struct host_object, 1);

	o->doc = doc;
	o->active = active;
	g_ptr_array_add(list, o);
}

GPtrArray *test_node_devices(struct hv *hv)
{
	GPtrArray *list = new_list();

	for (unsigned i = 0; i < G_N_ELEMENTS(devices); i++)
		add(list, object_parse(OBJECT_NODE_DEVICE, devices[i], -1, DEF_TEST, NULL), true);
	return list;
}

/* ---- interfaces ---- */

struct test_host {
	GPtrArray *interfaces, *before; /* before: of a transaction that has begun; NULL: none */
};

static GPtrArray *copy(const GPtrArray *from, bool active)
{
	GPtrArray *list = new_list();

	for (unsigned i = 0; i < from->len; i++) {
		const struct host_object *o = from->pdata[i];

		add(list, xmlCopyDoc(o->doc, 1), o->active && active);
	}
	return list;
}

bool test_host_open(struct hv *hv, GError **error)
{
	struct test_host *host = hv->own = g_new0(struct test_host, 1);
	xmlDoc *doc = object_parse(OBJECT_INTERFACE,
				   "<interface type='ethernet' name='eth1'><start mode='onboot'/>"
				   "<mac address='aa:bb:cc:dd:ee:ff'/><mtu size='1492'/><protocol family='ipv4'>"
				   "<ip address='192.168.0.5' prefix='24'/><route gateway='192.168.0.1'/></protocol></interface>",
				   -1, DEF_TEST, error);

	host->interfaces = new_list();
	if (doc)
		add(host->interfaces, doc, true);
	return doc;
}

void test_host_close(struct hv *hv)
{
	struct test_host *host = hv->own;

	if (!host)
		return;
	g_ptr_array_unref(host->interfaces);
	g_clear_pointer(&host->before, g_ptr_array_unref);
	g_free(host);
}

GPtrArray *test_interfaces(struct hv *hv)
{
	return copy(((struct test_host *)hv->own)->interfaces, true);
}

static struct host_object *find(struct test_host *host, const char *name)
{
	for (unsigned i = 0; i < host->interfaces->len; i++) {
		struct host_object *o = host->interfaces->pdata[i];

		if (xml_is(xmlDocGetRootElement(o->doc), "@name", name))
			return o;
	}
	return NULL;
}

static struct host_object *of_args(struct call *call, GVariant *args, GError **error)
{
	g_autoptr(GVariant) h = g_variant_get_child_value(args, 0);
	struct host_object *o;
	const char *name;

	g_variant_get_child(h, 0, "&s", &name);
	o = find(call->hv->own, name);
	if (!o)
		rpc_fail(error, VIR_ERR_NO_INTERFACE, "no interface with matching name '%s'", name);
	return o;
}

static bool define(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	enum { VALIDATE = 1 };
	struct test_host *host = call->hv->own;
	struct host_object *old;
	const char *xml, *name, *mac;
	guint32 flags;
	xmlDoc *doc;

	g_variant_get(args, "(&su)", &xml, &flags);
	if (!call_check_flags(call, flags, VALIDATE, error))
		return false;
	doc = object_parse(OBJECT_INTERFACE, xml, -1, DEF_TEST | (flags & VALIDATE ? DEF_VALIDATE : 0), error);
	if (!doc)
		return false;
	name = xml_text(xmlDocGetRootElement(doc), "@name");
	mac = xml_text(xmlDocGetRootElement(doc), "mac/@address");
	*ret = g_variant_new("((ss))", name, mac ? mac : "");
	old = find(host, name);
	if (old) {
		xmlFreeDoc(old->doc);
		old->doc = doc;
	} else {
		add(host->interfaces, doc, false);
	}
	return true;
}

static bool undefine(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct host_object *o = of_args(call, args, error);

	return o && g_ptr_array_remove(((struct test_host *)call->hv->own)->interfaces, o);
}

/* interface_create and interface_destroy. */
static bool set_active(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct host_object *o = of_args(call, args, error);
	bool active = call->proc->number == RPC_INTERFACE_CREATE;
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (!o || !call_check_flags(call, flags, 0, error))
		return false;
	if (o->active == active) {
		g_autofree char *text = rpc_error_text(VIR_ERR_OPERATION_INVALID, NULL);

		g_set_error_literal(error, RPC_ERRORS, VIR_ERR_OPERATION_INVALID, text);
		return false;
	}
	o->active = active;
	return true;
}

static bool begin(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct test_host *host = call->hv->own;

	if (host->before)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "there is another transaction running.");
	host->before = copy(host->interfaces, false); /* libvirt's forgets it as well */
	return true;
}

static bool commit(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct test_host *host = call->hv->own;

	if (!host->before)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "no transaction running, nothing to be committed.");
	g_clear_pointer(&host->before, g_ptr_array_unref);
	return true;
}

static bool rollback(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct test_host *host = call->hv->own;

	if (!host->before)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "no transaction running, nothing to rollback.");
	g_ptr_array_unref(host->interfaces);
	host->interfaces = g_steal_pointer(&host->before);
	return true;
}

const struct handler test_host_handlers[] = {
	{ RPC_INTERFACE_DEFINE_XML, define, HANDLER_FAST },
	{ RPC_INTERFACE_UNDEFINE, undefine, HANDLER_FAST },
	{ RPC_INTERFACE_CREATE, set_active, HANDLER_FAST },
	{ RPC_INTERFACE_DESTROY, set_active, HANDLER_FAST },
	{ RPC_INTERFACE_CHANGE_BEGIN, begin, HANDLER_FAST },
	{ RPC_INTERFACE_CHANGE_COMMIT, commit, HANDLER_FAST },
	{ RPC_INTERFACE_CHANGE_ROLLBACK, rollback, HANDLER_FAST },
	{ 0 },
};
