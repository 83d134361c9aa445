/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about network filters, and where they are bound. */
#include <string.h>

#include "args.h"
#include "objects.h"

#define FILTER	"(say)"
#define BINDING "(ss)"

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

static char *description(struct shell *sh, const struct edit *e)
{
	return ask_text(sh, "nwfilter_get_xml_desc", "(@" FILTER "u)", e->object, 0);
}

static GVariant *define_again(struct shell *sh, const struct edit *e, const char *xml, bool relaxed)
{
	return ask(sh, "nwfilter_define_xml", "(s)", xml);
}

static bool cmd_nwfilter_edit(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) filter = find_filter(sh, a);
	struct edit edit = { description,
			     define_again,
			     filter,
			     false,
			     "Network filter %s XML configuration not changed.",
			     "Network filter %s XML configuration edited." };

	return filter && edit_object(sh, &edit, object_name(filter));
}

/* ---- bindings ---- */

static GVariant *find_binding(struct shell *sh, const struct args *a)
{
	const char *port = arg_text(a, "binding");
	g_autoptr(GVariant) answer = ask(sh, "nwfilter_binding_lookup_by_port_dev", "(s)", port);

	if (!answer)
		shell_error(sh, "failed to get nwfilter binding '%s'", port);
	return first_of(answer);
}

static bool cmd_nwfilter_binding_list(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) answer = ask(sh, "connect_list_all_nwfilter_bindings", "(iu)", 1, 0);
	g_autoptr(GPtrArray) all = answer ? sorted_objects(answer) : NULL;
	struct table *t;

	if (!answer)
		return shell_error(sh, "Failed to list network filter bindings");
	t = table_new("Port Dev", "Filter", NULL);
	for (unsigned i = 0; i < all->len; i++) {
		const char *port, *filter;

		g_variant_get(g_ptr_array_index(all, i), "(&s&s)", &port, &filter);
		table_add(t, port, filter, NULL);
	}
	table_say(sh, t);
	return true;
}

static bool cmd_nwfilter_binding_dumpxml(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) binding = find_binding(sh, a);

	return say_description(sh, a, "nwfilter_binding_get_xml_desc", binding, 0);
}

static bool cmd_nwfilter_binding_create(struct shell *sh, const struct args *a)
{
	enum { VALIDATE = 1 };
	const char *path = arg_text(a, "file");
	g_autofree char *xml = read_file(sh, path);
	g_autoptr(GVariant) answer = NULL, binding = NULL;

	if (!xml)
		return false;
	answer = ask(sh, "nwfilter_binding_create_xml", "(su)", xml, arg_on(a, "validate") ? VALIDATE : 0);
	if (!answer)
		return shell_error(sh, "Failed to create network filter from %s", path);
	binding = first_of(answer);
	say_extra(sh, "Network filter binding on %s created from %s\n", object_name(binding), path);
	return true;
}

static bool cmd_nwfilter_binding_delete(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) binding = find_binding(sh, a);

	return binding &&
	       finish(sh, tell(sh, "nwfilter_binding_delete", "(@" BINDING ")", binding), "Network filter binding on %s deleted",
		      "Failed to delete network filter binding on %s", arg_text(a, "binding"));
}

const struct command filter_commands[] = {
	{ "nwfilter-define", cmd_nwfilter_define, "<file> [--validate]", "a network filter from an XML file" },
	{ "nwfilter-dumpxml", cmd_nwfilter_dumpxml, "<nwfilter> [--xpath <string>] [--wrap]",
	  "a network filter's description as XML" },
	{ "nwfilter-edit", cmd_nwfilter_edit, "<nwfilter>", "change a network filter's XML in an editor" },
	{ "nwfilter-list", cmd_nwfilter_list, NULL, "network filters" },
	{ "nwfilter-undefine", cmd_nwfilter_undefine, "<nwfilter>", "forget a network filter" },
	{ "nwfilter-binding-create", cmd_nwfilter_binding_create, "<file> [--validate]",
	  "bind a filter to a port by an XML file" },
	{ "nwfilter-binding-delete", cmd_nwfilter_binding_delete, "<binding>", "take a filter from a port" },
	{ "nwfilter-binding-dumpxml", cmd_nwfilter_binding_dumpxml, "<binding> [--xpath <string>] [--wrap]",
	  "a binding's description as XML" },
	{ "nwfilter-binding-list", cmd_nwfilter_binding_list, NULL, "where network filters are bound" },
	{},
};
