/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about networks. */
#include <string.h>

#include "ahead.h"
#include "args.h"
#include "objects.h"
#include "event.h"
#include "rpc/message.h"

static bool cmd_net_list(struct shell *sh, const struct args *a)
{
	static const struct flag flags_table[] = {
		{ "persistent", 4 }, { "transient", 8 }, { "autostart", 16 }, { "no-autostart", 32 }, {}
	};
	enum { INACTIVE = 1, ACTIVE = 2 };
	unsigned flags = flags_of(a, flags_table) | (arg_on(a, "all")	     ? INACTIVE | ACTIVE
						     : arg_on(a, "inactive") ? INACTIVE
									     : ACTIVE);
	g_autoptr(GVariant) answer = NULL;
	g_autoptr(GPtrArray) all = NULL;
	struct table *t = NULL;

	if (arg_on(a, "table") + arg_on(a, "name") + arg_on(a, "uuid") > 1)
		return shell_error(sh, "Only one argument from --table, --name and --uuid may be specified.");
	answer = ask(sh, "connect_list_all_networks", "(iu)", 1, flags);
	if (!answer)
		return shell_error(sh, "Failed to list networks");
	all = sorted_objects(answer);
	if (!arg_on(a, "name") && !arg_on(a, "uuid")) {
		ask_ahead(sh, all, "network_is_active", NULL);
		ask_ahead(sh, all, "network_get_autostart", NULL);
		ask_ahead(sh, all, "network_is_persistent", NULL);
		t = table_new("Name", "State", "Autostart", "Persistent", NULL);
	}
	for (unsigned i = 0; i < all->len; i++) {
		GVariant *net = g_ptr_array_index(all, i);
		g_autofree char *uuid = object_uuid(net);

		if (arg_on(a, "uuid"))
			say(sh, "%s\n", uuid);
		else if (arg_on(a, "name"))
			say(sh, "%s\n", object_name(net));
		else
			table_add(t, object_name(net), *yes_no(sh, "network_is_active", net, "no") == 'y' ? "active" : "inactive",
				  yes_no(sh, "network_get_autostart", net, "no autostart"),
				  yes_no(sh, "network_is_persistent", net, "unknown"), NULL);
	}
	if (t)
		table_say(sh, t);
	return true;
}

static bool cmd_net_info(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) net = find_network(sh, a, "network");
	g_autofree char *uuid = NULL, *bridge = NULL;

	if (!net)
		return false;
	uuid = object_uuid(net);
	say_field(sh, 16, "Name", "%s", object_name(net));
	say_field(sh, 16, "UUID", "%s", uuid);
	say_field(sh, 16, "Active", "%s", yes_no(sh, "network_is_active", net, "no"));
	say_field(sh, 16, "Persistent", "%s", yes_no(sh, "network_is_persistent", net, "unknown"));
	say_field(sh, 16, "Autostart", "%s", yes_no(sh, "network_get_autostart", net, "no autostart"));
	bridge = ask_text(sh, "network_get_bridge_name", "(@" NETWORK ")", net);
	if (bridge)
		say_field(sh, 16, "Bridge", "%s", bridge);
	forget_error(sh);
	return true;
}

static bool cmd_net_name(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) net = is_uuid(arg_text(a, "network")) ? find_network(sh, a, "network") : NULL;

	if (!is_uuid(arg_text(a, "network")))
		return shell_error(sh, "failed to get network '%s'", arg_text(a, "network"));
	return say_object_name(sh, net);
}

static bool cmd_net_uuid(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) net = find_network(sh, a, "network");

	return say_object_uuid(sh, net);
}

static bool cmd_net_dumpxml(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) net = find_network(sh, a, "network");

	return say_description(sh, a, "network_get_xml_desc", net, arg_on(a, "inactive") ? 1 : 0);
}

/* A new network of a file's XML. */
static bool make(struct shell *sh, const struct args *a, const char *procedure, const char *with_flags, const char *done,
		 const char *failed)
{
	enum { VALIDATE = 1 };
	const char *path = arg_text(a, "file");
	g_autofree char *xml = read_file(sh, path);
	g_autoptr(GVariant) answer = NULL, net = NULL;

	if (!xml)
		return false;
	answer = arg_on(a, "validate") ? ask(sh, with_flags, "(su)", xml, VALIDATE) : ask(sh, procedure, "(s)", xml);
	if (!answer)
		return shell_error(sh, "%s %s", failed, path);
	net = first_of(answer);
	say_extra(sh, "Network %s %s %s\n", object_name(net), done, path);
	return true;
}

static bool cmd_net_define(struct shell *sh, const struct args *a)
{
	return make(sh, a, "network_define_xml", "network_define_xml_flags", "defined from", "Failed to define network from");
}

static bool cmd_net_create(struct shell *sh, const struct args *a)
{
	return make(sh, a, "network_create_xml", "network_create_xml_flags", "created from", "Failed to create network from");
}

static bool act(struct shell *sh, const struct args *a, const char *procedure, const char *done, const char *failed)
{
	g_autoptr(GVariant) net = find_network(sh, a, "network");

	return net && finish(sh, tell(sh, procedure, "(@" NETWORK ")", net), done, failed, arg_text(a, "network"));
}

static bool cmd_net_start(struct shell *sh, const struct args *a)
{
	return act(sh, a, "network_create", "Network %s started", "Failed to start network %s");
}

static bool cmd_net_destroy(struct shell *sh, const struct args *a)
{
	return act(sh, a, "network_destroy", "Network %s destroyed", "Failed to destroy network %s");
}

static bool cmd_net_undefine(struct shell *sh, const struct args *a)
{
	return act(sh, a, "network_undefine", "Network %s has been undefined", "Failed to undefine network %s");
}

static bool cmd_net_autostart(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) net = find_network(sh, a, "network");
	bool off = arg_on(a, "disable");

	return net && finish(sh, tell(sh, "network_set_autostart", "(@" NETWORK "i)", net, !off),
			     off ? "Network %s unmarked as autostarted" : "Network %s marked as autostarted",
			     off ? "failed to unmark network %s as autostarted" : "failed to mark network %s as autostarted",
			     arg_text(a, "network"));
}

static char *stored_description(struct shell *sh, const struct edit *e)
{
	return stored_xml(sh, "network_get_xml_desc", e->object);
}

static GVariant *define_again(struct shell *sh, const struct edit *e, const char *xml, bool relaxed)
{
	return ask(sh, "network_define_xml", "(s)", xml);
}

static bool cmd_net_edit(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) net = find_network(sh, a, "network");
	struct edit edit = { stored_description,
			     define_again,
			     net,
			     false,
			     "Network %s XML configuration not changed.",
			     "Network %s XML configuration edited." };

	return net && edit_object(sh, &edit, object_name(net));
}

/* ---- update ---- */

static bool send_update(struct shell *sh, GVariant *net, int command, int section, int index, const char *xml, unsigned flags)
{
	enum { RIGHT_ORDER = 16 };
	int ordered = 0;

	/* Servers without that feature take the two the other way round. */
	if (!ask_int(sh, &ordered, "connect_supports_feature", "(i)", RIGHT_ORDER))
		forget_error(sh);
	return tell(sh, "network_update", "(@" NETWORK "uuisu)", net, ordered ? command : section, ordered ? section : command,
		    index, xml, flags);
}

static bool cmd_net_update(struct shell *sh, const struct args *a)
{
	static const char *const commands[] = { "none", "modify", "delete", "add-last", "add-first", NULL };
	static const char *const sections[] = { "none",		"bridge",
						"domain",	"ip",
						"ip-dhcp-host", "ip-dhcp-range",
						"forward",	"forward-interface",
						"forward-pf",	"portgroup",
						"dns-host",	"dns-txt",
						"dns-srv",	NULL };
	g_autoptr(GVariant) net = NULL;
	g_autofree char *xml = NULL;
	const char *word = arg_text(a, "command"), *where = arg_text(a, "section"), *given = arg_text(a, "xml");
	int command = strcmp(word, "add") == 0 ? 3 : word_of(word, commands), section = word_of(where, sections);
	int flags = affect_of(sh, a), index = -1;

	if (flags < 0 || !(net = find_network(sh, a, "network")))
		return false;
	if (command <= 0)
		return shell_error(sh, "unrecognized command name '%s'", word);
	if (section <= 0)
		return shell_error(sh, "unrecognized section name '%s'", where);
	if (arg_int(sh, a, "parent-index", &index) < 0)
		return false;
	xml = *given == '<' ? g_strdup(given) : read_file(sh, given);
	if (!xml)
		return false;
	if (!send_update(sh, net, command, section, index, xml, flags))
		return shell_error(sh, "Failed to update network %s", object_name(net));
	say_extra(sh, "Updated network %s %s", object_name(net),
		  flags == (AFFECT_CONFIG | AFFECT_LIVE) ? "persistent config and live state"
		  : flags == AFFECT_CONFIG		 ? "persistent config"
							 : "live state");
	return true;
}

/* ---- leases, ports ---- */

static bool cmd_net_dhcp_leases(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) net = find_network(sh, a, "network"), answer = NULL, list = NULL;
	struct table *t;

	if (!net)
		return false;
	answer = ask(sh, "network_get_dhcp_leases", "(@" NETWORK "msiu)", net, arg_text(a, "mac"), 1, 0);
	if (!answer)
		return shell_error(sh, "Failed to get leases info for %s", object_name(net));
	list = first_of(answer);
	t = table_new("Expiry Time", "MAC address", "Protocol", "IP address", "Hostname", "Client ID or DUID", NULL);
	for (gsize i = 0; i < g_variant_n_children(list); i++) {
		const char *interface, *mac, *iaid, *address, *host, *client;
		g_autofree char *when = NULL, *cidr = NULL;
		g_autoptr(GDateTime) time = NULL;
		gint64 expiry;
		gint32 type;
		guint32 prefix;

		g_variant_get_child(list, i, "(&sxim&sm&s&sum&sm&s)", &interface, &expiry, &type, &mac, &iaid, &address, &prefix,
				    &host, &client);
		time = g_date_time_new_from_unix_local(expiry);
		when = time ? g_date_time_format(time, "%Y-%m-%d %H:%M:%S") : g_strdup("-");
		cidr = g_strdup_printf("%s/%u", address, prefix);
		table_add(t, when, mac ? mac : "-",
			  type == 0   ? "ipv4"
			  : type == 1 ? "ipv6"
				      : "",
			  cidr, host ? host : "-", client ? client : "-", NULL);
	}
	table_say(sh, t);
	return true;
}

static bool cmd_net_port_list(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) net = find_network(sh, a, "network"), answer = NULL, list = NULL;
	struct table *t;

	if (!net)
		return false;
	if (arg_on(a, "table") && arg_on(a, "uuid"))
		return shell_error(sh, "Only one argument from --table and --uuid may be specified.");
	answer = ask(sh, "network_list_all_ports", "(@" NETWORK "iu)", net, 1, 0);
	if (!answer)
		return false;
	list = first_of(answer);
	t = arg_on(a, "uuid") ? NULL : table_new("UUID", NULL);
	for (gsize i = 0; i < g_variant_n_children(list); i++) {
		g_autoptr(GVariant) port = g_variant_get_child_value(list, i);
		g_autofree char *uuid = object_uuid(port);

		if (t)
			table_add(t, uuid, NULL);
		else
			say(sh, "%s\n", uuid);
	}
	if (t)
		table_say(sh, t);
	return true;
}

#define PORT "(" NETWORK "ay)"

static GVariant *find_port(struct shell *sh, const struct args *a, GVariant *net)
{
	const char *text = arg_text(a, "port");
	GVariant *uuid = strlen(text) == 36 ? uuid_value(text) : NULL;
	g_autoptr(GVariant) answer = uuid ? ask(sh, "network_port_lookup_by_uuid", "(@" NETWORK "@ay)", net, uuid) : NULL;

	if (!answer) {
		forget_error(sh);
		shell_error(sh, "failed to get network port '%s'", text);
	}
	return first_of(answer);
}

static bool cmd_net_port_dumpxml(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) net = find_network(sh, a, "network"), port = net ? find_port(sh, a, net) : NULL;

	return say_description(sh, a, "network_port_get_xml_desc", port, 0);
}

static bool cmd_net_port_create(struct shell *sh, const struct args *a)
{
	enum { VALIDATE = 2 };
	const char *path = arg_text(a, "file");
	g_autoptr(GVariant) net = find_network(sh, a, "network"), answer = NULL, port = NULL;
	g_autofree char *xml = net ? read_file(sh, path) : NULL, *uuid = NULL;

	if (!xml)
		return false;
	answer = ask(sh, "network_port_create_xml", "(@" NETWORK "su)", net, xml, arg_on(a, "validate") ? VALIDATE : 0);
	if (!answer)
		return shell_error(sh, "Failed to create network from %s", path);
	port = first_of(answer);
	uuid = object_uuid(port);
	say_extra(sh, "Network port %s created from %s\n", uuid, path);
	return true;
}

static bool cmd_net_port_delete(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) net = find_network(sh, a, "network"), port = net ? find_port(sh, a, net) : NULL;
	g_autofree char *uuid = port ? object_uuid(port) : NULL;

	return port && finish(sh, tell(sh, "network_port_delete", "(@" PORT "u)", port, 0), "Network port %s deleted",
			      "Failed to delete network port %s", uuid);
}

static bool cmd_net_event(struct shell *sh, const struct args *a)
{
	return watch_objects(sh, a, EVENTS_OF_NETWORKS);
}

const struct command network_commands[] = {
	{ "net-autostart", cmd_net_autostart, "<network> [--disable]", "start a network with the server, or not" },
	{ "net-create", cmd_net_create, "<file> [--validate]", "a network from an XML file, which is active at once" },
	{ "net-define", cmd_net_define, "<file> [--validate]", "a network from an XML file, which is not active yet" },
	{ "net-destroy", cmd_net_destroy, "<network>", "end a network" },
	{ "net-dhcp-leases", cmd_net_dhcp_leases, "<network> [--mac <string>]", "addresses that a network has given" },
	{ "net-dumpxml", cmd_net_dumpxml, "<network> [--inactive] [--xpath <string>] [--wrap]",
	  "a network's description as XML" },
	{ "net-edit", cmd_net_edit, "<network>", "change a network's XML in an editor" },
	{ "net-event", cmd_net_event,
	  "[--network <string>] [--event <string>] [--loop] [--timeout <number>] [--list] [--timestamp]", "what networks tell" },
	{ "net-info", cmd_net_info, "<network>", "the basic facts about a network" },
	{ "net-list", cmd_net_list,
	  "[--inactive] [--all] [--persistent] [--transient] [--autostart] [--no-autostart] [--uuid] [--name] "
	  "[--table]",
	  "networks" },
	{ "net-name", cmd_net_name, "<network>", "a network's name" },
	{ "net-start", cmd_net_start, "<network>", "start a network that is defined" },
	{ "net-undefine", cmd_net_undefine, "<network>", "forget a network" },
	{ "net-update", cmd_net_update,
	  "<network> <command> <section> <xml> [--parent-index <number>] [--config] [--live] [--current]",
	  "change a part of a network" },
	{ "net-uuid", cmd_net_uuid, "<network>", "a network's UUID" },
	{ "net-port-create", cmd_net_port_create, "<network> <file> [--validate]", "a port of a network from an XML file" },
	{ "net-port-delete", cmd_net_port_delete, "<network> <port>", "take a port from a network" },
	{ "net-port-dumpxml", cmd_net_port_dumpxml, "<network> <port> [--xpath <string>] [--wrap]",
	  "a port's description as XML" },
	{ "net-port-list", cmd_net_port_list, "<network> [--uuid] [--table]", "ports of a network" },
	{},
};
