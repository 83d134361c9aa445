/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Networks as objects, by libvirt's rules. What makes one work is the driver's (hv.h). */
#include <string.h>

#include "autostart.h"
#include "hv.h"
#include "log.h"
#include "registry.h"
#include "uuid.h"

enum { XML_INACTIVE = 1, XML_VALIDATE = 1, LIST_ALL = 63 };
enum { UPDATE_MODIFY = 1, UPDATE_DELETE, UPDATE_ADD_LAST, UPDATE_ADD_FIRST, UPDATE_LIVE = 1, UPDATE_CONFIG = 2 };

static bool list_all(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(say)"));
	guint32 flags, n;
	gint32 wants;

	g_variant_get(args, "(iu)", &wants, &flags);
	if (!call_check_flags(call, flags, LIST_ALL, error)) {
		g_variant_builder_clear(&list);
		return false;
	}
	n = registry_list(call->hv->networks, flags, NULL, wants ? &list : NULL);
	*ret = g_variant_new("(a(say)u)", &list, n);
	return true;
}

static bool number(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	bool active = call->proc->number == RPC_CONNECT_NUM_OF_NETWORKS;

	*ret = g_variant_new("(i)", registry_names(call->hv->networks, active, 0, NULL));
	return true;
}

static bool names(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("as"));
	gint32 room;

	g_variant_get(args, "(i)", &room);
	registry_names(call->hv->networks, call->proc->number == RPC_CONNECT_LIST_NETWORKS, room, &list);
	*ret = g_variant_new("(as)", &list);
	return true;
}

static bool answer(const struct entry *e, GVariant **ret)
{
	*ret = g_variant_new("(@(say))", entry_handle(e));
	return true;
}

static bool by_name(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const struct entry *e;
	const char *name;

	g_variant_get(args, "(&s)", &name);
	e = registry_by_name(call->hv->networks, name);
	return e ? answer(e, ret) : rpc_fail(error, VIR_ERR_NO_NETWORK, "no network with matching name '%s'", name);
}

static bool by_uuid(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GVariant) uuid = g_variant_get_child_value(args, 0);
	g_autofree char *text = NULL;
	const struct entry *e = registry_by_uuid(call->hv->networks, uuid);

	if (e)
		return answer(e, ret);
	text = uuid_format(uuid);
	return rpc_fail(error, VIR_ERR_NO_NETWORK, "no network with matching uuid '%s'", text);
}

/* ---- one ---- */

static bool flag(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const struct entry *e = registry_of_args(call->hv->networks, args, error);

	if (!e)
		return false;
	*ret = g_variant_new("(i)", call->proc->number == RPC_NETWORK_IS_ACTIVE	      ? e->active
				    : call->proc->number == RPC_NETWORK_IS_PERSISTENT ? e->persistent
										      : e->autostart);
	return true;
}

static bool get_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const struct entry *e = registry_of_args(call->hv->networks, args, error);
	const struct hv_driver *driver = call->hv->driver;
	g_autoptr(xmlDoc) doc = NULL;
	g_autofree char *xml = NULL;
	guint32 flags;
	unsigned n;

	g_variant_get_child(args, 1, "u", &flags);
	if (!e || !call_check_flags(call, flags, call->hv->driver->test_rules ? 0 : XML_INACTIVE, error))
		return false;
	doc = xmlCopyDoc(!(flags & XML_INACTIVE) && e->live ? e->live : e->doc, 1);
	n = !(flags & XML_INACTIVE) && driver->network_connections ? driver->network_connections(call->hv, e) : 0;
	if (n) {
		g_autofree char *text = g_strdup_printf("%u", n);

		object_set_text(OBJECT_NETWORK, doc, "@connections", text);
	}
	xml = object_format(OBJECT_NETWORK, doc, 0);
	*ret = g_variant_new("(s)", xml);
	return true;
}

static bool bridge_name(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const struct entry *e = registry_of_args(call->hv->networks, args, error);
	const char *name = e ? xml_text(entry_root(e), "bridge/@name") : NULL;

	if (!e)
		return false;
	if (!name)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "network '%s' does not have a bridge name.", e->name);
	*ret = g_variant_new("(s)", name);
	return true;
}

static bool set_autostart(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct entry *e = registry_of_args(call->hv->networks, args, error);
	bool before;
	gint32 on;

	g_variant_get_child(args, 1, "i", &on);
	if (!e)
		return false;
	if (!e->persistent && !call->hv->driver->test_rules)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "cannot set autostart for transient network");
	before = e->autostart;
	e->autostart = on != 0;
	if (registry_store(e, error))
		return true;
	e->autostart = before;
	return false;
}

static void note(struct entry *e)
{
	struct hv *hv = e->of->hv;

	if (hv->driver->network_status)
		hv->driver->network_status(hv, e);
}

/* The network of a call's XML, checked, among the others; stored if it is not transient. */
static struct entry *take_xml(struct call *call, GVariant *args, bool transient, GError **error)
{
	g_autoptr(xmlDoc) doc = NULL;
	struct entry *e;
	const char *xml;
	guint32 flags = 0;

	g_variant_get_child(args, 0, "&s", &xml);
	if (g_variant_n_children(args) > 1)
		g_variant_get_child(args, 1, "u", &flags);
	if (!call_check_flags(call, flags, XML_VALIDATE, error))
		return NULL;
	doc = object_parse(OBJECT_NETWORK, xml, -1, call->hv->driver->def_flags, error);
	if (!doc || (call->hv->driver->network_check && !call->hv->driver->network_check(call->hv, doc, error)))
		return NULL;
	if (!transient)
		return registry_define_stored(call->hv->networks, &doc, error);
	e = registry_define(call->hv->networks, doc, true, error);
	if (e)
		doc = NULL;
	return e;
}

static bool define(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct entry *e = take_xml(call, args, false, error);

	if (!e)
		return false;
	note(e);
	registry_event(e, 0, OBJECT_DEFINED);
	return answer(e, ret);
}

static bool start(struct entry *e, GError **error)
{
	struct hv *hv = e->of->hv;

	if (hv->driver->network_start && !hv->driver->network_start(hv, e, error))
		return false;
	e->active = true;
	note(e);
	registry_event(e, 0, OBJECT_STARTED);
	return true;
}

void autostart_networks(struct hv *hv)
{
	GHashTableIter iter;
	gpointer value;

	if (hv->driver->stored && !hv_first_since_boot(hv, "networks-started"))
		return;
	g_hash_table_iter_init(&iter, hv->networks->all);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		g_autoptr(GError) error = NULL;
		struct entry *e = value;

		if (e->autostart && !e->active && !start(e, &error))
			kv_log_warn("network '%s' does not start with the daemon: %s", e->name, error->message);
	}
}

static bool create_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct entry *e = take_xml(call, args, true, error);

	if (!e)
		return false;
	if (start(e, error))
		return answer(e, ret);
	if (!e->persistent)
		registry_remove(e);
	return false;
}

static bool create(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct entry *e = registry_of_args(call->hv->networks, args, error);

	if (!e)
		return false;
	if (e->active && call->hv->driver->test_rules)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "Network '%s' is already running", e->name);
	if (e->active)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "network is already active");
	return start(e, error);
}

static bool destroy(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct entry *e = registry_of_args(call->hv->networks, args, error);
	struct hv *hv = call->hv;

	if (!e)
		return false;
	if (!e->active && !hv->driver->test_rules)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "network '%s' is not active", e->name);
	if (e->active && hv->driver->network_stop && !hv->driver->network_stop(hv, e, error))
		return false;
	e->active = false;
	g_clear_pointer(&e->live, xmlFreeDoc);
	note(e);
	registry_event(e, 0, OBJECT_STOPPED);
	if (!e->persistent)
		registry_remove(e);
	return true;
}

static bool undefine(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct entry *e = registry_of_args(call->hv->networks, args, error);

	if (!e)
		return false;
	if (e->active && call->hv->driver->test_rules)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "Network '%s' is still running", e->name);
	if (!e->persistent)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "can't undefine transient network");
	e->persistent = false;
	if (!registry_store(e, error)) {
		e->persistent = true;
		return false;
	}
	e->autostart = false;
	/* What is active is all that there is now. */
	if (e->live) {
		xmlFreeDoc(e->doc);
		e->doc = g_steal_pointer(&e->live);
	}
	registry_event(e, 0, OBJECT_UNDEFINED);
	if (!e->active)
		registry_remove(e);
	return true;
}

/* ---- parts that change while it works ---- */

/* VIR_NETWORK_SECTION_…: where its elements are, and what libvirt calls it. */
static const struct section {
	const char *path, *name;
	const char *keys[3];
	const char *fixed; /* elements that cannot be modified, in words */
	bool whole;	   /* two are the same by all of the keys, not by one of them */
} sections[] = {
	[1] = { NULL, "'bridge'" },
	[2] = { NULL, "'domain'" },
	[3] = { NULL, "'ip'" },
	[4] = { "ip/dhcp/host", "dhcp host", { "@mac", "@name", "@ip" } },
	[5] = { "ip/dhcp/range", "dhcp range", { "@start", "@end" }, "dhcp ranges", true },
	[6] = { NULL, "'forward'" },
	[7] = { "forward/interface", "interface", { "@dev" }, "forward interface entries" },
	[8] = { NULL, "'forward pf'" },
	[9] = { "portgroup", "portgroup", { "@name" } },
	[10] = { "dns/host", "DNS HOST", { "@ip" }, "DNS HOST records" },
	[11] = { "dns/txt", "DNS TXT", { "@name" }, "DNS TXT records" },
	[12] = { "dns/srv", "DNS SRV", { "@service" }, "DNS SRV records" },
};

struct change {
	guint32 command, section;
	gint32 index;
	const char *xml;
};

static bool is_same(const xmlNode *n, const struct section *s, const xmlNode *like, bool all)
{
	bool same = all;

	for (unsigned k = 0; k < G_N_ELEMENTS(s->keys) && s->keys[k]; k++) {
		const char *wanted = xml_text(like, s->keys[k]), *text = xml_text(n, s->keys[k]);
		bool is_mac = !strcmp(s->keys[k], "@mac");
		bool fits = wanted && text && !(is_mac ? g_ascii_strcasecmp(wanted, text) : strcmp(wanted, text));

		same = all ? same && (fits || !wanted) : same || fits;
	}
	return same;
}

/* What is to be deleted is all that is said of it. */
static xmlNode *find_same(xmlNode *parent, const struct section *s, const xmlNode *like, bool all)
{
	xmlNode *n;

	for (unsigned i = 0; (n = xml_nth(parent, (const char *)like->name, i)); i++)
		if (is_same(n, s, like, all || s->whole))
			return n;
	return NULL;
}

/* The <ip> of this index; below 0: the one with DHCP, or else the first, of IPv4 if there is one. */
static xmlNode *find_ip(xmlNode *root, gint32 index, GError **error)
{
	xmlNode *first = NULL, *ip = index < 0 ? NULL : xml_nth(root, "ip", (unsigned)index);
	const char *name = xml_text(root, "name");

	if (!ip && index >= 0)
		rpc_fail(error, VIR_ERR_OPERATION_INVALID,
			 "couldn't update dhcp host entry - no <ip> element found at index %d in network '%s'", index, name);
	if (index >= 0)
		return ip;
	for (ip = xml_child(root, "ip"); ip; ip = xml_next(ip)) {
		if (xml_child(ip, "dhcp/range") || xml_child(ip, "dhcp/host"))
			return ip;
		if (!first || (xml_is(first, "@family", "ipv6") && !xml_is(ip, "@family", "ipv6")))
			first = ip;
	}
	if (!first)
		rpc_fail(error, VIR_ERR_OPERATION_INVALID,
			 "couldn't update dhcp host entry - no <ip> element found in network '%s'", name);
	return first;
}

static xmlNode *parent_of(xmlNode *root, const char *path, gint32 index, GError **error)
{
	g_auto(GStrv) parts = g_strsplit(path, "/", -1);
	xmlNode *at = root;

	for (char **p = parts; p[1] && at; p++) {
		xmlNode *next = strcmp(*p, "ip") ? xml_child(at, *p) : find_ip(root, index, error);

		at = next || !strcmp(*p, "ip") ? next : xml_add(at, *p);
	}
	return at;
}

static bool fail_same(xmlNode *root, const struct section *s, const xmlNode *node, guint32 command, GError **error)
{
	const char *network = xml_text(root, "name"), *mac = xml_text(node, "@mac") ?: "unknown";
	const char *name = xml_text(node, "@name") ?: "(null)", *ip = xml_text(node, "@ip") ?: "unknown";
	g_autofree char *text = g_strchomp(model_xml_format((xmlNode *)node));
	bool is_host = !strcmp(s->name, "dhcp host");

	if (command == UPDATE_DELETE || (command == UPDATE_MODIFY && !is_host))
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID,
				g_str_has_prefix(s->name, "DNS") ? "couldn't locate a matching %s record in network %s"
								 : "couldn't locate a matching %s entry in network '%s'",
				s->name, network);
	if (command == UPDATE_MODIFY)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID,
				"couldn't locate an existing dhcp host entry with "
				"\"mac='%s'\" \"name='%s'\" \"ip='%s'\" in network '%s'",
				mac, name, ip, network);
	if (is_host)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID,
				"there is an existing dhcp host entry in network '%s' that matches "
				"\"<host mac='%s' name='%s' ip='%s'/>\"",
				network, mac, name, ip);
	return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "there is an existing %s entry in network '%s' that matches \"%s\"",
			s->name, network, text);
}

/* Ranges are before hosts. */
static void add_node(xmlNode *parent, xmlNode *node, bool first)
{
	xmlNode *like = xml_nth(parent, (const char *)node->name, 0), *next;

	while (like && !first && (next = xml_next(like)))
		like = next;
	if (like && !first)
		xmlAddNextSibling(like, node);
	else if (like)
		xmlAddPrevSibling(like, node);
	else if (parent->children && !strcmp((const char *)node->name, "range"))
		xmlAddPrevSibling(parent->children, node);
	else
		xmlAddChild(parent, node);
}

/* node: taken over. */
static bool put_node(xmlNode *root, xmlNode *parent, const struct section *s, guint32 command, xmlNode *node, GError **error)
{
	xmlNode *old = find_same(parent, s, node, command == UPDATE_DELETE);
	bool adds = command == UPDATE_ADD_LAST || command == UPDATE_ADD_FIRST;

	if (adds ? !!old : !old) {
		fail_same(root, s, node, command, error);
		xmlFreeNode(node);
		return false;
	}
	if (command == UPDATE_DELETE)
		xmlFreeNode(node);
	else if (adds)
		add_node(parent, node, command == UPDATE_ADD_FIRST);
	else
		xmlAddPrevSibling(old, node);
	if (!adds) {
		xmlUnlinkNode(old);
		xmlFreeNode(old);
	}
	return true;
}

static bool update_doc(xmlDoc *doc, const struct change *c, GError **error)
{
	const struct section *s = c->section < G_N_ELEMENTS(sections) ? &sections[c->section] : &sections[0];
	xmlNode *root = xmlDocGetRootElement(doc), *parent, *node;

	if (!s->path)
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "can't update %s section of network '%s'",
				s->name ? s->name : "unrecognized", xml_text(root, "name"));
	node = object_parse_part(OBJECT_NETWORK, doc, s->path, c->xml, error);
	if (!node)
		return false;
	if (c->command == UPDATE_MODIFY && s->fixed) {
		xmlFreeNode(node);
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "%s cannot be modified, only added or deleted", s->fixed);
	}
	parent = parent_of(root, s->path, c->index, error);
	if (parent)
		return put_node(root, parent, s, c->command, node, error);
	xmlFreeNode(node);
	return false;
}

/* A changed and checked copy. */
static xmlDoc *changed(const struct entry *e, const xmlDoc *doc, const struct change *c, GError **error)
{
	g_autoptr(xmlDoc) copy = xmlCopyDoc((xmlDoc *)doc, 1);
	struct hv *hv = e->of->hv;

	if (!update_doc(copy, c, error) ||
	    (hv->driver->network_check && !hv->driver->network_check(hv, copy, error)))
		return NULL;
	return g_steal_pointer(&copy);
}

/* Both or none. What is active and what is stored may differ from here on. */
static bool update_both(struct entry *e, const struct change *c, guint32 flags, GError **error)
{
	g_autoptr(xmlDoc) live = NULL, stored = NULL;
	xmlDoc *before = e->doc;

	if (flags & UPDATE_LIVE && !(live = changed(e, e->live ? e->live : e->doc, c, error)))
		return false;
	if (flags & UPDATE_CONFIG) {
		if (!(stored = changed(e, e->doc, c, error)))
			return false;
		e->doc = stored;
		if (!registry_store(e, error)) {
			e->doc = before;
			return false;
		}
		stored = before;
		if (e->active && !e->live && !live)
			e->live = g_steal_pointer(&stored);
	}
	if (live && e->persistent) {
		xmlFreeDoc(e->live);
		e->live = g_steal_pointer(&live);
	} else if (live) {
		xmlFreeDoc(e->doc);
		e->doc = g_steal_pointer(&live);
	}
	note(e);
	return true;
}

static bool update(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct entry *e = registry_of_args(call->hv->networks, args, error);
	guint32 command, section, flags;
	const char *xml;
	gint32 index;

	g_variant_get_child(args, 1, "u", &command);
	g_variant_get_child(args, 2, "u", &section);
	g_variant_get_child(args, 3, "i", &index);
	g_variant_get_child(args, 4, "&s", &xml);
	g_variant_get_child(args, 5, "u", &flags);
	if (!e || !call_check_flags(call, flags, UPDATE_LIVE | UPDATE_CONFIG, error))
		return false;
	if (command < UPDATE_MODIFY || command > UPDATE_ADD_FIRST)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "unrecognized network update command code %u", command);
	if (!(flags & (UPDATE_LIVE | UPDATE_CONFIG)))
		flags = e->active ? UPDATE_LIVE : UPDATE_CONFIG;
	if (flags & UPDATE_LIVE && !e->active)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "network is not running");
	if (flags & UPDATE_CONFIG && !e->persistent)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "cannot change persistent config of a transient network");
	return update_both(e, &(struct change){ command, section, index, xml }, flags, error);
}

static bool leases(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(sximsmssumsms)"));
	struct entry *e = registry_of_args(call->hv->networks, args, error);
	g_autofree char *mac = NULL;
	g_autoptr(GVariant) all = NULL, none = NULL;
	gint32 wants;
	guint32 flags;
	bool ok;

	g_variant_get_child(args, 1, "ms", &mac);
	g_variant_get_child(args, 2, "i", &wants);
	g_variant_get_child(args, 3, "u", &flags);
	ok = e && call_check_flags(call, flags, 0, error);
	if (ok && !call->hv->driver->network_leases)
		ok = handler_unsupported(call, args, ret, error);
	else if (ok)
		ok = call->hv->driver->network_leases(call->hv, e, mac, &list, error);
	all = g_variant_ref_sink(g_variant_builder_end(&list));
	if (!ok)
		return false;
	none = g_variant_ref_sink(g_variant_new_array(G_VARIANT_TYPE("(sximsmssumsms)"), NULL, 0));
	*ret = g_variant_new("(@a(sximsmssumsms)u)", wants ? all : none, (guint32)g_variant_n_children(all));
	return true;
}

enum { LOOK = HANDLER_FAST | HANDLER_READ_ONLY };

const struct handler network_handlers[] = {
	{ RPC_CONNECT_LIST_ALL_NETWORKS, list_all, LOOK },
	{ RPC_CONNECT_NUM_OF_NETWORKS, number, LOOK },
	{ RPC_CONNECT_NUM_OF_DEFINED_NETWORKS, number, LOOK },
	{ RPC_CONNECT_LIST_NETWORKS, names, LOOK },
	{ RPC_CONNECT_LIST_DEFINED_NETWORKS, names, LOOK },
	{ RPC_NETWORK_LOOKUP_BY_NAME, by_name, LOOK },
	{ RPC_NETWORK_LOOKUP_BY_UUID, by_uuid, LOOK },
	{ RPC_NETWORK_IS_ACTIVE, flag, LOOK },
	{ RPC_NETWORK_IS_PERSISTENT, flag, LOOK },
	{ RPC_NETWORK_GET_AUTOSTART, flag, LOOK },
	{ RPC_NETWORK_GET_XML_DESC, get_xml, LOOK },
	{ RPC_NETWORK_GET_BRIDGE_NAME, bridge_name, LOOK },
	{ RPC_NETWORK_SET_AUTOSTART, set_autostart, 0 },
	{ RPC_NETWORK_DEFINE_XML, define, 0 },
	{ RPC_NETWORK_DEFINE_XML_FLAGS, define, 0 },
	{ RPC_NETWORK_CREATE_XML, create_xml, 0 },
	{ RPC_NETWORK_CREATE_XML_FLAGS, create_xml, 0 },
	{ RPC_NETWORK_CREATE, create, 0 },
	{ RPC_NETWORK_DESTROY, destroy, 0 },
	{ RPC_NETWORK_UNDEFINE, undefine, 0 },
	{ RPC_NETWORK_UPDATE, update, 0 },
	{ RPC_NETWORK_GET_DHCP_LEASES, leases, HANDLER_READ_ONLY },
	{ 0 },
};
