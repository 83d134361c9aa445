/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about the host's devices. */
#include <string.h>

#include "ahead.h"
#include "args.h"
#include "event.h"
#include "objects.h"
#include "tree.h"

static int compare_words(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void ask_for_parents(struct shell *sh, GPtrArray *names)
{
	g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func((GDestroyNotify)g_variant_unref);

	for (unsigned i = 0; i < names->len; i++)
		g_ptr_array_add(all, g_variant_ref_sink(g_variant_new_string(g_ptr_array_index(names, i))));
	ask_ahead(sh, all, "node_device_get_parent", NULL);
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
	if (arg_on(a, "tree"))
		ask_for_parents(sh, names);
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

static bool look_up(struct shell *sh, const char *name)
{
	return tell(sh, "node_device_lookup_by_name", "(s)", name) ||
	       shell_error(sh, "Could not find matching device '%s'", name);
}

static bool act(struct shell *sh, const struct args *a, const char *procedure, const char *types, const char *done,
		const char *failed)
{
	const char *name = arg_text(a, "device");

	return look_up(sh, name) && finish(sh, tell(sh, procedure, types, name, 0), done, failed, name);
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

static bool cmd_nodedev_destroy(struct shell *sh, const struct args *a)
{
	return act(sh, a, "node_device_destroy", "(s)", "Destroyed node device '%s'", "Failed to destroy node device '%s'");
}

static bool cmd_nodedev_undefine(struct shell *sh, const struct args *a)
{
	return act(sh, a, "node_device_undefine", "(su)", "Undefined node device '%s'", "Failed to undefine node device '%s'");
}

static bool cmd_nodedev_autostart(struct shell *sh, const struct args *a)
{
	const char *name = arg_text(a, "device");
	bool off = arg_on(a, "disable");

	return look_up(sh, name) &&
	       finish(sh, tell(sh, "node_device_set_autostart", "(si)", name, !off),
		      off ? "Device %s unmarked as autostarted" : "Device %s marked as autostarted",
		      off ? "failed to unmark device %s as autostarted" : "failed to mark device %s as autostarted", name);
}

static bool cmd_nodedev_detach(struct shell *sh, const struct args *a)
{
	const char *name = arg_text(a, "device"), *driver = arg_text(a, "driver");
	bool ok;

	if (!look_up(sh, name))
		return false;
	ok = driver ? tell(sh, "node_device_detach_flags", "(smsu)", name, driver, 0)
		    : tell(sh, "node_device_dettach", "(s)", name);
	return finish(sh, ok, "Device %s detached", "Failed to detach device %s", name);
}

/* A new device of a file's XML. */
static bool make(struct shell *sh, const struct args *a, const char *procedure, const char *done, const char *failed)
{
	enum { VALIDATE = 1 };
	const char *path = arg_text(a, "file"), *name;
	g_autofree char *xml = read_file(sh, path);
	g_autoptr(GVariant) answer = xml ? ask(sh, procedure, "(su)", xml, arg_on(a, "validate") ? VALIDATE : 0) : NULL;

	if (!answer)
		return xml ? finish(sh, false, done, failed, path) : false;
	g_variant_get_child(answer, 0, "&s", &name);
	say_extra(sh, done, name, path);
	return true;
}

static bool cmd_nodedev_create(struct shell *sh, const struct args *a)
{
	return make(sh, a, "node_device_create_xml", "Node device %s created from %s\n", "Failed to create node device from %s");
}

static bool cmd_nodedev_define(struct shell *sh, const struct args *a)
{
	return make(sh, a, "node_device_define_xml", "Node device '%s' defined from '%s'\n",
		    "Failed to define node device from '%s'");
}

static const char *answer_of(struct shell *sh, const char *procedure, const char *name, const char *unknown)
{
	int v;

	if (ask_int(sh, &v, procedure, "(s)", name))
		return v ? "yes" : "no";
	forget_error(sh);
	return unknown;
}

static bool cmd_nodedev_info(struct shell *sh, const struct args *a)
{
	const char *name = arg_text(a, "device"), *parent = NULL;
	g_autoptr(GVariant) answer = NULL;

	if (!look_up(sh, name))
		return false;
	answer = ask(sh, "node_device_get_parent", "(s)", name);
	if (answer)
		g_variant_get_child(answer, 0, "m&s", &parent);
	say_field(sh, 16, "Name", "%s", name);
	say_field(sh, 16, "Parent", "%s", parent ? parent : "");
	/* Servers without these know only devices that are there. */
	say_field(sh, 16, "Active", "%s", answer_of(sh, "node_device_is_active", name, "yes"));
	say_field(sh, 16, "Persistent", "%s", answer_of(sh, "node_device_is_persistent", name, "yes"));
	say_field(sh, 16, "Autostart", "%s", answer_of(sh, "node_device_get_autostart", name, "no autostart"));
	return true;
}

static bool cmd_nodedev_event(struct shell *sh, const struct args *a)
{
	return watch_objects(sh, a, EVENTS_OF_DEVICES);
}

const struct command nodedev_commands[] = {
	{ "nodedev-autostart", cmd_nodedev_autostart, "<device> [--disable]", "start a defined device with the host, or not" },
	{ "nodedev-create", cmd_nodedev_create, "<file> [--validate]", "a device from an XML file, which is there at once" },
	{ "nodedev-define", cmd_nodedev_define, "<file> [--validate]", "a device from an XML file, which is not there yet" },
	{ "nodedev-destroy", cmd_nodedev_destroy, "<device>", "take away a device that was made" },
	{ "nodedev-detach", cmd_nodedev_detach, "<device> [--driver <string>]", "take a device from the host, for a domain" },
	{ "nodedev-dumpxml", cmd_nodedev_dumpxml, "<device> [--xpath <string>] [--wrap]", "a host device's description as XML" },
	{ "nodedev-info", cmd_nodedev_info, "<device>", "the basic facts about a host's device" },
	{ "nodedev-list", cmd_nodedev_list, "[--tree] [--cap <string>] [--inactive] [--all]", "the host's devices" },
	{ "nodedev-reattach", cmd_nodedev_reattach, "<device>", "give a device back to the host" },
	{ "nodedev-reset", cmd_nodedev_reset, "<device>", "reset a host's device" },
	{ "nodedev-event", cmd_nodedev_event,
	  "[--device <string>] [--event <string>] [--loop] [--timeout <number>] [--list] [--timestamp]",
	  "what the host's devices tell" },
	{ "nodedev-start", cmd_nodedev_start, "<device>", "start a device that is defined" },
	{ "nodedev-undefine", cmd_nodedev_undefine, "<device>", "forget a device" },
	{},
};
