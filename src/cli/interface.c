/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about the host's network interfaces. */
#include <string.h>

#include "ahead.h"
#include "args.h"
#include "objects.h"

#define INTERFACE "(ss)"

enum { XML_INACTIVE = 1, DEFINE_VALIDATE = 1 };

static GVariant *find_interface(struct shell *sh, const struct args *a)
{
	const char *text = arg_text(a, "interface");
	bool is_mac = strlen(text) == 17 && text[2] == ':';
	g_autoptr(GVariant) answer = is_mac ? ask(sh, "interface_lookup_by_mac_string", "(s)", text)
					    : ask(sh, "interface_lookup_by_name", "(s)", text);

	if (!answer)
		shell_error(sh, "failed to get interface '%s'", text);
	return first_of(answer);
}

static bool cmd_iface_list(struct shell *sh, const struct args *a)
{
	enum { INACTIVE = 1, ACTIVE = 2 };
	unsigned flags = arg_on(a, "all") ? INACTIVE | ACTIVE : arg_on(a, "inactive") ? INACTIVE : ACTIVE;
	g_autoptr(GVariant) answer = ask(sh, "connect_list_all_interfaces", "(iu)", 1, flags);
	g_autoptr(GPtrArray) all = answer ? sorted_objects(answer) : NULL;
	struct table *t;

	if (!answer)
		return shell_error(sh, "Failed to list interfaces");
	ask_ahead(sh, all, "interface_is_active", NULL);
	t = table_new("Name", "State", "MAC Address", NULL);
	for (unsigned i = 0; i < all->len; i++) {
		GVariant *interface = g_ptr_array_index(all, i);
		const char *name, *mac;
		int active = 0;

		g_variant_get(interface, "(&s&s)", &name, &mac);
		ask_int(sh, &active, "interface_is_active", "(@" INTERFACE ")", interface);
		table_add(t, name, active ? "active" : "inactive", mac, NULL);
	}
	table_say(sh, t);
	return true;
}

static bool cmd_iface_name(struct shell *sh, const struct args *a)
{
	const char *text = arg_text(a, "interface");
	g_autoptr(GVariant) interface = NULL;

	/* A name is what is asked for: none is taken. */
	if (strlen(text) != 17 || text[2] != ':')
		return shell_error(sh, "failed to get interface '%s'", text);
	interface = find_interface(sh, a);
	return say_object_name(sh, interface);
}

static bool cmd_iface_mac(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) interface = find_interface(sh, a);
	const char *mac;

	if (!interface)
		return false;
	g_variant_get_child(interface, 1, "&s", &mac);
	say(sh, "%s\n", mac);
	return true;
}

static bool cmd_iface_dumpxml(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) interface = find_interface(sh, a);

	return say_description(sh, a, "interface_get_xml_desc", interface, arg_on(a, "inactive") ? 1 : 0);
}

static bool cmd_iface_start(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) interface = find_interface(sh, a);

	return interface && finish(sh, tell(sh, "interface_create", "(@" INTERFACE "u)", interface, 0), "Interface %s started",
				   "Failed to start interface %s", arg_text(a, "interface"));
}

static bool cmd_iface_destroy(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) interface = find_interface(sh, a);

	return interface && finish(sh, tell(sh, "interface_destroy", "(@" INTERFACE "u)", interface, 0), "Interface %s destroyed",
				   "Failed to destroy interface %s", arg_text(a, "interface"));
}

static bool cmd_iface_undefine(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) interface = find_interface(sh, a);

	return interface && finish(sh, tell(sh, "interface_undefine", "(@" INTERFACE ")", interface), "Interface %s undefined",
				   "Failed to undefine interface %s", arg_text(a, "interface"));
}

/* ---- changes of the host's configuration ---- */

static bool change(struct shell *sh, const char *procedure, const char *done, const char *failed)
{
	return finish(sh, tell(sh, procedure, "(u)", 0), done, failed, "");
}

static bool cmd_iface_begin(struct shell *sh, const struct args *a)
{
	return change(sh, "interface_change_begin", "Network config change transaction started",
		      "Failed to begin network config change transaction");
}

static bool cmd_iface_commit(struct shell *sh, const struct args *a)
{
	return change(sh, "interface_change_commit", "Network config change transaction committed",
		      "Failed to commit network config change transaction");
}

static bool cmd_iface_rollback(struct shell *sh, const struct args *a)
{
	return change(sh, "interface_change_rollback", "Network config change transaction rolled back",
		      "Failed to rollback network config change transaction");
}

static bool cmd_iface_define(struct shell *sh, const struct args *a)
{
	const char *path = arg_text(a, "file");
	g_autofree char *xml = read_file(sh, path);
	g_autoptr(GVariant) answer = NULL, interface = NULL;

	if (!xml)
		return false;
	answer = ask(sh, "interface_define_xml", "(su)", xml, arg_on(a, "validate") ? DEFINE_VALIDATE : 0);
	if (!answer)
		return shell_error(sh, "Failed to define interface from %s", path);
	interface = first_of(answer);
	say_extra(sh, "Interface %s defined from %s\n", object_name(interface), path);
	return true;
}

static char *stored_description(struct shell *sh, const struct edit *e)
{
	return ask_text(sh, "interface_get_xml_desc", "(@" INTERFACE "u)", e->object, XML_INACTIVE);
}

static GVariant *define_again(struct shell *sh, const struct edit *e, const char *xml, bool relaxed)
{
	return ask(sh, "interface_define_xml", "(su)", xml, 0);
}

static bool cmd_iface_edit(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) interface = find_interface(sh, a);
	struct edit edit = { stored_description,
			     define_again,
			     interface,
			     false,
			     "Interface %s XML configuration not changed.",
			     "Interface %s XML configuration edited." };

	return interface && edit_object(sh, &edit, object_name(interface));
}

/* ---- bridges ---- */

/* Of a plain interface's description that of a bridge with it inside, which has what the interface had. NULL: said. */
static char *bridge_xml(struct shell *sh, const struct args *a, const char *xml, unsigned delay)
{
	const char *name = arg_text(a, "interface"), *bridge_name = arg_text(a, "bridge"), *type;
	g_autoptr(node) tree = node_parse(xml, &sh->error);
	g_autofree char *kept_type = NULL, *number = g_strdup_printf("%u", delay);
	struct node *bridge, *inner;

	if (!tree) {
		shell_error(sh, "Failed to parse configuration of %s", name);
		return NULL;
	}
	type = node_attr(tree, "type");
	if (!type || strcmp(type, "bridge") == 0) {
		shell_error(sh, type ? "Existing device %s is already a bridge" : "Existing device %s has no type", name);
		return NULL;
	}
	if (g_strcmp0(node_attr(tree, "name"), name) != 0) {
		shell_error(sh, "Interface name from config %s doesn't match given supplied name %s", node_attr(tree, "name"),
			    name);
		return NULL;
	}
	kept_type = g_strdup(type);
	bridge = node_add(tree, "bridge");
	node_set_attr(bridge, "stp", arg_on(a, "no-stp") ? "off" : "on");
	node_set_attr(bridge, "delay", number);
	inner = node_add(bridge, "interface");
	node_set_attr(inner, "type", kept_type);
	node_set_attr(inner, "name", name);
	/* Addresses and the start mode go with the bridge, what is of the hardware with the interface. */
	for (unsigned i = 0; i < tree->children->len;) {
		struct node *child = g_ptr_array_index(tree->children, i);
		bool stays = !child->name || child == bridge || strcmp(child->name, "start") == 0 ||
			     strcmp(child->name, "protocol") == 0 || strcmp(child->name, "mtu") == 0;

		if (stays)
			i++;
		else
			node_move(tree, child, inner);
	}
	node_set_attr(tree, "type", "bridge");
	node_set_attr(tree, "name", bridge_name);
	return node_write(tree);
}

static bool start(struct shell *sh, GVariant *interface)
{
	return tell(sh, "interface_create", "(@" INTERFACE "u)", interface, 0);
}

static bool cmd_iface_bridge(struct shell *sh, const struct args *a)
{
	const char *name = arg_text(a, "interface"), *bridge_name = arg_text(a, "bridge");
	g_autoptr(GVariant) interface = find_interface(sh, a), other = NULL, answer = NULL, bridge = NULL;
	g_autofree char *xml = NULL, *new = NULL;
	unsigned delay = 0;

	if (!interface || arg_uint(sh, a, "delay", &delay) < 0)
		return false;
	other = ask(sh, "interface_lookup_by_name", "(s)", bridge_name);
	if (other)
		return shell_error(sh, "Network device %s already exists", bridge_name);
	forget_error(sh);
	xml = ask_text(sh, "interface_get_xml_desc", "(@" INTERFACE "u)", interface, XML_INACTIVE);
	new = xml ? bridge_xml(sh, a, xml, delay) : NULL;
	if (!new)
		return false;
	answer = ask(sh, "interface_define_xml", "(su)", new, 0);
	if (!answer)
		return shell_error(sh, "Failed to define new bridge interface %s", bridge_name);
	bridge = first_of(answer);
	say_extra(sh, "Created bridge %s with attached device %s\n", bridge_name, name);
	if (arg_on(a, "no-start"))
		return true;
	if (!start(sh, bridge))
		return shell_error(sh, "Failed to start bridge interface %s", bridge_name);
	say_extra(sh, "Bridge interface %s started\n", bridge_name);
	return true;
}

/* The other way: of a bridge with one interface inside, that interface with what the bridge had. NULL: said. */
static char *unbridge_xml(struct shell *sh, const char *bridge_name, const char *xml, char **ret_name)
{
	g_autoptr(node) tree = node_parse(xml, &sh->error);
	struct node *bridge, *inner;
	g_autoptr(GPtrArray) all = NULL;
	const char *problem = NULL;

	*ret_name = NULL;
	if (!tree) {
		shell_error(sh, "Failed to parse configuration of %s", bridge_name);
		return NULL;
	}
	bridge = node_get(tree, "bridge");
	all = node_all(tree, "bridge/interface");
	inner = all->len ? g_ptr_array_index(all, 0) : NULL;
	if (g_strcmp0(node_attr(tree, "type"), "bridge") != 0)
		problem = "Device %s is not a bridge";
	else if (!bridge)
		problem = "No bridge node in xml document";
	else if (all->len != 1)
		problem = all->len ? "Multiple interfaces attached to bridge" : "No interface attached to bridge";
	else if (!node_attr(inner, "name"))
		problem = "Device attached to bridge %s has no name";
	else if (!node_attr(inner, "type"))
		problem = "Attached device %s has no type";
	if (problem) {
		finish(sh, false, "", problem, bridge_name);
		return NULL;
	}
	*ret_name = g_strdup(node_attr(inner, "name"));
	node_set_attr(tree, "type", node_attr(inner, "type"));
	node_set_attr(tree, "name", *ret_name);
	while (inner->children && inner->children->len)
		node_move(inner, g_ptr_array_index(inner->children, 0), tree);
	node_remove(tree, bridge);
	return node_write(tree);
}

static bool cmd_iface_unbridge(struct shell *sh, const struct args *a)
{
	const char *bridge_name = arg_text(a, "bridge");
	g_autoptr(GVariant) found = ask(sh, "interface_lookup_by_name", "(s)", bridge_name), bridge = NULL, answer = NULL,
			    interface = NULL;
	g_autofree char *xml = NULL, *new = NULL, *name = NULL;

	if (!found)
		return shell_error(sh, "failed to get interface '%s'", bridge_name);
	bridge = first_of(found);
	xml = ask_text(sh, "interface_get_xml_desc", "(@" INTERFACE "u)", bridge, XML_INACTIVE);
	new = xml ? unbridge_xml(sh, bridge_name, xml, &name) : NULL;
	if (!new)
		return false;
	if (!arg_on(a, "no-start") && !tell(sh, "interface_destroy", "(@" INTERFACE "u)", bridge, 0))
		return shell_error(sh, "Failed to destroy bridge interface %s", bridge_name);
	if (!tell(sh, "interface_undefine", "(@" INTERFACE ")", bridge))
		return shell_error(sh, "Failed to undefine bridge interface %s", bridge_name);
	answer = ask(sh, "interface_define_xml", "(su)", new, 0);
	if (!answer)
		return shell_error(sh, "Failed to define new interface %s", name);
	interface = first_of(answer);
	say_extra(sh, "Device %s un-attached from bridge %s\n", name, bridge_name);
	if (arg_on(a, "no-start"))
		return true;
	return finish(sh, start(sh, interface), "Interface %s started", "Failed to start interface %s", name);
}

const struct command interface_commands[] = {
	{ "iface-begin", cmd_iface_begin, NULL, "remember the host's network, for iface-rollback" },
	{ "iface-bridge", cmd_iface_bridge, "<interface> <bridge> [--no-stp] [--delay <number>] [--no-start]",
	  "a bridge with an interface of the host in it" },
	{ "iface-commit", cmd_iface_commit, NULL, "keep the changes since iface-begin" },
	{ "iface-define", cmd_iface_define, "<file> [--validate]", "a host's interface from an XML file" },
	{ "iface-destroy", cmd_iface_destroy, "<interface>", "end a host's interface" },
	{ "iface-dumpxml", cmd_iface_dumpxml, "<interface> [--inactive] [--xpath <string>] [--wrap]",
	  "a host interface's description as XML" },
	{ "iface-edit", cmd_iface_edit, "<interface>", "change a host interface's XML in an editor" },
	{ "iface-list", cmd_iface_list, "[--inactive] [--all]", "the host's interfaces" },
	{ "iface-mac", cmd_iface_mac, "<interface>", "a host interface's MAC address" },
	{ "iface-name", cmd_iface_name, "<interface>", "a host interface's name" },
	{ "iface-rollback", cmd_iface_rollback, NULL, "undo the changes since iface-begin" },
	{ "iface-start", cmd_iface_start, "<interface>", "start a host's interface" },
	{ "iface-unbridge", cmd_iface_unbridge, "<bridge> [--no-start]", "take an interface out of its bridge, and that away" },
	{ "iface-undefine", cmd_iface_undefine, "<interface>", "forget a host's interface" },
	{},
};
