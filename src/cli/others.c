/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about secrets, network filters, host interfaces and devices: found by name, listed, described, started and ended. */
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "event.h"
#include "objects.h"
#include "rpc/message.h"
#include "tree.h"

#define INTERFACE "(ss)"
#define SECRET	  "(ayis)"
#define FILTER	  "(say)"

/* ---- interfaces ---- */

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

const struct command interface_commands[] = {
	{ "iface-destroy", cmd_iface_destroy, "<interface>", "end a host's interface" },
	{ "iface-dumpxml", cmd_iface_dumpxml, "<interface> [--inactive] [--xpath <string>] [--wrap]",
	  "a host interface's description as XML" },
	{ "iface-list", cmd_iface_list, "[--inactive] [--all]", "the host's interfaces" },
	{ "iface-mac", cmd_iface_mac, "<interface>", "a host interface's MAC address" },
	{ "iface-name", cmd_iface_name, "<interface>", "a host interface's name" },
	{ "iface-start", cmd_iface_start, "<interface>", "start a host's interface" },
	{ "iface-undefine", cmd_iface_undefine, "<interface>", "forget a host's interface" },
	{},
};

/* ---- network filters ---- */

static GVariant *find_filter(struct shell *sh, const struct args *a)
{
	const char *text = arg_text(a, "nwfilter");
	GVariant *uuid = strlen(text) == 36 ? uuid_value(text) : NULL;
	g_autoptr(GVariant) answer =
		uuid ? ask(sh, "nwfilter_lookup_by_uuid", "(@ay)", uuid) : ask(sh, "nwfilter_lookup_by_name", "(s)", text);

	if (!answer)
		shell_error(sh, "failed to get nwfilter '%s'", text);
	return first_of(answer);
}

static bool cmd_nwfilter_list(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) answer = ask(sh, "connect_list_all_nwfilters", "(iu)", 1, 0);
	g_autoptr(GPtrArray) all = answer ? sorted_objects(answer) : NULL;
	struct table *t;

	if (!answer)
		return shell_error(sh, "Failed to list network filters");
	t = table_new("UUID", "Name", NULL);
	for (unsigned i = 0; i < all->len; i++) {
		g_autofree char *uuid = object_uuid(g_ptr_array_index(all, i));

		table_add(t, uuid, object_name(g_ptr_array_index(all, i)), NULL);
	}
	table_say(sh, t);
	return true;
}

static bool cmd_nwfilter_dumpxml(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) filter = find_filter(sh, a);

	return say_description(sh, a, "nwfilter_get_xml_desc", filter, 0);
}

static bool cmd_nwfilter_define(struct shell *sh, const struct args *a)
{
	const char *path = arg_text(a, "file");
	g_autofree char *xml = read_file(sh, path);
	g_autoptr(GVariant) answer = NULL, filter = NULL;

	if (!xml)
		return false;
	answer = arg_on(a, "validate") ? ask(sh, "nwfilter_define_xml_flags", "(su)", xml, 1)
				       : ask(sh, "nwfilter_define_xml", "(s)", xml);
	if (!answer)
		return shell_error(sh, "Failed to define network filter from %s", path);
	filter = first_of(answer);
	say_extra(sh, "Network filter %s defined from %s\n", object_name(filter), path);
	return true;
}

static bool cmd_nwfilter_undefine(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) filter = find_filter(sh, a);

	return filter && finish(sh, tell(sh, "nwfilter_undefine", "(@" FILTER ")", filter), "Network filter %s undefined",
				"Failed to undefine network filter %s", arg_text(a, "nwfilter"));
}

const struct command filter_commands[] = {
	{ "nwfilter-define", cmd_nwfilter_define, "<file> [--validate]", "a network filter from an XML file" },
	{ "nwfilter-dumpxml", cmd_nwfilter_dumpxml, "<nwfilter> [--xpath <string>] [--wrap]",
	  "a network filter's description as XML" },
	{ "nwfilter-list", cmd_nwfilter_list, NULL, "network filters" },
	{ "nwfilter-undefine", cmd_nwfilter_undefine, "<nwfilter>", "forget a network filter" },
	{},
};

/* ---- secrets ---- */

static char *secret_uuid(GVariant *secret)
{
	g_autoptr(GVariant) both = g_variant_ref_sink(g_variant_new("(s@ay)", "", g_variant_get_child_value(secret, 0)));

	return object_uuid(both);
}

static GVariant *find_secret(struct shell *sh, const struct args *a)
{
	const char *text = arg_text(a, "secret");
	GVariant *uuid = uuid_value(text);
	g_autoptr(GVariant) answer = uuid ? ask(sh, "secret_lookup_by_uuid", "(@ay)", uuid) : NULL;

	if (!uuid)
		rpc_fail(&sh->error, VIR_ERR_INVALID_ARG, "uuidstr in virSecretLookupByUUIDString must be a valid UUID");
	if (!answer)
		shell_error(sh, "failed to get secret '%s'", text);
	return first_of(answer);
}

static bool cmd_secret_list(struct shell *sh, const struct args *a)
{
	static const struct flag flags_table[] = {
		{ "ephemeral", 1 }, { "no-ephemeral", 2 }, { "private", 4 }, { "no-private", 8 }, {}
	};
	static const char *const types[] = { "none", "volume", "ceph", "iscsi", "tls", "vtpm" };
	g_autoptr(GVariant) answer = ask(sh, "connect_list_all_secrets", "(iu)", 1, flags_of(a, flags_table)),
			    list = first_of(answer);
	struct table *t;

	if (!answer)
		return shell_error(sh, "Failed to list secrets");
	t = table_new("UUID", "Usage", NULL);
	for (gsize i = 0; i < g_variant_n_children(list); i++) {
		g_autoptr(GVariant) secret = g_variant_get_child_value(list, i);
		g_autofree char *uuid = secret_uuid(secret), *usage = NULL;
		const char *id;
		gint32 type;

		g_variant_get(secret, "(@ayi&s)", NULL, &type, &id);
		usage = type > 0 && type < (int)G_N_ELEMENTS(types) ? g_strdup_printf("%s %s", types[type], id)
								    : g_strdup("Unused");
		table_add(t, uuid, usage, NULL);
	}
	table_say(sh, t);
	return true;
}

static bool cmd_secret_define(struct shell *sh, const struct args *a)
{
	const char *path = arg_text(a, "file");
	g_autofree char *xml = read_file(sh, path), *uuid = NULL;
	g_autoptr(GVariant) answer = xml ? ask(sh, "secret_define_xml", "(su)", xml, arg_on(a, "validate") ? 1 : 0) : NULL,
			    secret = NULL;

	if (!answer)
		return xml ? shell_error(sh, "Failed to set attributes from %s", path) : false;
	secret = first_of(answer);
	uuid = secret_uuid(secret);
	say_extra(sh, "Secret %s created\n", uuid);
	return true;
}

static bool cmd_secret_dumpxml(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) secret = find_secret(sh, a);

	return say_description(sh, a, "secret_get_xml_desc", secret, 0);
}

static bool cmd_secret_get_value(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) secret = find_secret(sh, a), answer = NULL, value = NULL;
	const guint8 *bytes;
	gsize len;

	answer = secret ? ask(sh, "secret_get_value", "(@" SECRET "u)", secret, 0) : NULL;
	value = first_of(answer);
	if (!value)
		return false;
	bytes = g_variant_get_fixed_array(value, &len, 1);
	if (arg_on(a, "plain")) {
		if (fwrite(bytes, 1, len, stdout) != len)
			return false;
	} else {
		g_autofree char *text = g_base64_encode(bytes, len);

		say(sh, "%s", text);
	}
	return true;
}

static bool cmd_secret_set_value(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) secret = find_secret(sh, a);
	const char *text = arg_text(a, "base64");
	g_autofree char *read = NULL;
	g_autofree guint8 *plain = NULL;
	gsize len;

	if (!secret || args_exclude(sh, a, "file", "base64"))
		return false;
	if (arg_on(a, "interactive"))
		return shell_error(sh, "secret-set-value --interactive is not supported: give --file");
	if (arg_on(a, "file"))
		text = read = read_file(sh, arg_text(a, "file"));
	if (!text)
		return arg_on(a, "file") ? false : shell_error(sh, "Input secret value is missing");
	plain = arg_on(a, "plain") ? (guint8 *)g_strdup(text) : g_base64_decode(text, &len);
	len = arg_on(a, "plain") ? strlen(text) : len;
	if (!tell(sh, "secret_set_value", "(@" SECRET "@ayu)", secret,
		  g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, plain, len, 1), 0))
		return shell_error(sh, "Failed to set secret value");
	say_extra(sh, "Secret value set\n");
	return true;
}

static bool cmd_secret_undefine(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) secret = find_secret(sh, a);

	return secret && finish(sh, tell(sh, "secret_undefine", "(@" SECRET ")", secret), "Secret %s deleted",
				"Failed to delete secret %s", arg_text(a, "secret"));
}

static bool cmd_secret_event(struct shell *sh, const struct args *a)
{
	return watch_objects(sh, a, EVENTS_OF_SECRETS);
}

const struct command secret_commands[] = {
	{ "secret-define", cmd_secret_define, "<file> [--validate]", "a secret from an XML file" },
	{ "secret-dumpxml", cmd_secret_dumpxml, "<secret> [--xpath <string>] [--wrap]", "a secret's description as XML" },
	{ "secret-event", cmd_secret_event,
	  "[--secret <string>] [--event <string>] [--loop] [--timeout <number>] [--list] [--timestamp]", "what secrets tell" },
	{ "secret-get-value", cmd_secret_get_value, "<secret> [--plain]", "what a secret is" },
	{ "secret-list", cmd_secret_list, "[--ephemeral] [--no-ephemeral] [--private] [--no-private]", "secrets" },
	{ "secret-set-value", cmd_secret_set_value, "<secret> [--file <string>] [--plain] [--interactive] [--base64 <string>]",
	  "what a secret shall be" },
	{ "secret-undefine", cmd_secret_undefine, "<secret>", "forget a secret" },
	{},
};

/* ---- devices ---- */

static int compare_words(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool cmd_nodedev_list(struct shell *sh, const struct args *a)
{
	static const char *const caps[] = { "system",	   "pci",	 "usb_device", "usb",	  "net",    "scsi_host",
					    "scsi_target", "scsi",	 "storage",    "fc_host", "vports", "scsi_generic",
					    "drm",	   "mdev_types", "mdev",       "ccw",	  "css",    "vdpa",
					    "ap_card",	   "ap_queue",	 "ap_matrix",  "vpd" };
	enum { INACTIVE = 1u << 30, ACTIVE = 1u << 31 };
	unsigned flags = arg_on(a, "all") ? INACTIVE | ACTIVE : arg_on(a, "inactive") ? INACTIVE : ACTIVE;
	g_auto(GStrv) wanted = g_strsplit(arg_text(a, "cap") ? arg_text(a, "cap") : "", ",", -1);
	g_autoptr(GVariant) answer = NULL, list = NULL;
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free), parents = g_ptr_array_new_with_free_func(g_free);

	for (char **w = wanted; *w; w++) {
		unsigned i = 0;

		while (i < G_N_ELEMENTS(caps) && strcmp(caps[i], *w) != 0)
			i++;
		if (i == G_N_ELEMENTS(caps))
			return shell_error(sh, "Invalid capability type");
		flags |= 1u << i;
	}
	answer = ask(sh, "connect_list_all_node_devices", "(iu)", 1, flags);
	list = first_of(answer);
	if (!list)
		return shell_error(sh, "Failed to list node devices");
	for (gsize i = 0; i < g_variant_n_children(list); i++) {
		char *name;

		g_variant_get_child(list, i, "s", &name);
		g_ptr_array_add(names, name);
	}
	g_ptr_array_sort(names, compare_words);
	for (unsigned i = 0; i < names->len; i++) {
		g_autoptr(GVariant) parent = NULL;
		char *text = NULL;

		if (!arg_on(a, "tree")) {
			say(sh, "%s\n", (char *)g_ptr_array_index(names, i));
			continue;
		}
		parent = ask(sh, "node_device_get_parent", "(s)", g_ptr_array_index(names, i));
		if (parent)
			g_variant_get(parent, "(ms)", &text);
		g_ptr_array_add(parents, text);
	}
	forget_error(sh);
	if (arg_on(a, "tree"))
		say_tree(sh, (char *const *)names->pdata, (char *const *)parents->pdata, names->len);
	return true;
}

static bool cmd_nodedev_dumpxml(struct shell *sh, const struct args *a)
{
	g_autofree char *xml = ask_text(sh, "node_device_get_xml_desc", "(su)", arg_text(a, "device"), 0);

	if (!xml)
		return shell_error(sh, "Could not find matching device '%s'", arg_text(a, "device"));
	return say_xml(sh, a, xml);
}

static bool act(struct shell *sh, const struct args *a, const char *procedure, const char *types, const char *done,
		const char *failed)
{
	const char *name = arg_text(a, "device");
	g_autoptr(GVariant) answer = ask(sh, "node_device_lookup_by_name", "(s)", name);

	if (!answer)
		return shell_error(sh, "Could not find matching device '%s'", name);
	return finish(sh, tell(sh, procedure, types, name, 0), done, failed, name);
}

static bool cmd_nodedev_reattach(struct shell *sh, const struct args *a)
{
	return act(sh, a, "node_device_re_attach", "(s)", "Device %s re-attached", "Failed to re-attach device %s");
}

static bool cmd_nodedev_reset(struct shell *sh, const struct args *a)
{
	return act(sh, a, "node_device_reset", "(s)", "Device %s reset", "Failed to reset device %s");
}

static bool cmd_nodedev_start(struct shell *sh, const struct args *a)
{
	return act(sh, a, "node_device_create", "(su)", "Device %s started", "Failed to start device %s");
}

static bool cmd_nodedev_event(struct shell *sh, const struct args *a)
{
	return watch_objects(sh, a, EVENTS_OF_DEVICES);
}

const struct command nodedev_commands[] = {
	{ "nodedev-dumpxml", cmd_nodedev_dumpxml, "<device> [--xpath <string>] [--wrap]", "a host device's description as XML" },
	{ "nodedev-list", cmd_nodedev_list, "[--tree] [--cap <string>] [--inactive] [--all]", "the host's devices" },
	{ "nodedev-reattach", cmd_nodedev_reattach, "<device>", "give a device back to the host" },
	{ "nodedev-reset", cmd_nodedev_reset, "<device>", "reset a host's device" },
	{ "nodedev-event", cmd_nodedev_event,
	  "[--device <string>] [--event <string>] [--loop] [--timeout <number>] [--list] [--timestamp]",
	  "what the host's devices tell" },
	{ "nodedev-start", cmd_nodedev_start, "<device>", "start a device that is defined" },
	{},
};
