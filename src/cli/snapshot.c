/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about snapshots. */
#include <string.h>

#include "ahead.h"
#include "args.h"
#include "event.h"
#include "objects.h"
#include "rpc/message.h"
#include "tree.h"

enum { XML_SECURE = 1 };
enum { CREATE_REDEFINE = 1, CREATE_CURRENT = 2 };

/* VIR_DOMAIN_SNAPSHOT_CREATE_… */
static const struct flag create_flags[] = {
	{ "no-metadata", 4 },	  { "halt", 8 },       { "disk-only", 16 },
	{ "reuse-external", 32 }, { "quiesce", 64 },   { "atomic", 128 },
	{ "live", 256 },	  { "validate", 512 }, {},
};

static GVariant *lookup(struct shell *sh, GVariant *dom, const char *name)
{
	g_autoptr(GVariant) answer = ask(sh, "domain_snapshot_lookup_by_name", "(@" DOMAIN "su)", dom, name, 0);

	return first_of(answer);
}

/* By name, or the current one. NULL: the error was said. */
static GVariant *find(struct shell *sh, const struct args *a, GVariant *dom)
{
	const char *name = arg_text(a, "snapshotname");
	g_autoptr(GVariant) answer = NULL;

	if (name && arg_on(a, "current")) {
		shell_error(sh, "--%s and --current are mutually exclusive", "snapshotname");
		return NULL;
	}
	if (name)
		return lookup(sh, dom, name);
	if (!arg_on(a, "current")) {
		shell_error(sh, "--%s or --current is required", "snapshotname");
		return NULL;
	}
	answer = ask(sh, "domain_snapshot_current", "(@" DOMAIN "u)", dom, 0);
	return first_of(answer);
}

static char *xml_of(struct shell *sh, GVariant *snap, unsigned flags)
{
	return ask_text(sh, "domain_snapshot_get_xml_desc", "(@" SNAPSHOT "u)", snap, flags);
}

static struct node *tree_of(struct shell *sh, GVariant *snap)
{
	g_autofree char *xml = xml_of(sh, snap, 0);

	return xml ? node_parse(xml, &sh->error) : NULL;
}

/* ---- create ---- */

static bool create(struct shell *sh, GVariant *dom, const char *xml, unsigned flags, const char *from)
{
	g_autoptr(GVariant) answer = NULL, snap = NULL;
	enum { HALT = 8 };
	int persistent = 1;

	if ((flags & HALT) && ask_int(sh, &persistent, "domain_is_persistent", "(@" DOMAIN ")", dom) && !persistent)
		return shell_error(sh, "cannot halt after snapshot of transient domain");
	answer = ask(sh, "domain_snapshot_create_xml", "(@" DOMAIN "su)", dom, xml, flags);
	if (!answer)
		return false;
	snap = first_of(answer);
	if (from)
		say_extra(sh, "Domain snapshot %s created from '%s'", object_name(snap), from);
	else
		say_extra(sh, "Domain snapshot %s created", object_name(snap));
	return true;
}

static bool cmd_snapshot_create(struct shell *sh, const struct args *a)
{
	unsigned flags = flags_of(a, create_flags) | (arg_on(a, "redefine") ? CREATE_REDEFINE : 0) |
			 (arg_on(a, "current") ? CREATE_CURRENT : 0);
	const char *path = arg_text(a, "xmlfile");
	g_autoptr(GVariant) dom = NULL;
	g_autofree char *xml = NULL;

	dom = find_domain(sh, a, "domain");
	if (!dom)
		return false;
	xml = path ? read_file(sh, path) : g_strdup("<domainsnapshot/>");
	return xml && create(sh, dom, xml, flags, path);
}

static bool add_memory(struct shell *sh, GString *out, const char *spec)
{
	g_auto(GStrv) parts = spec_parts(spec);
	const char *snapshot = NULL, *file = NULL;

	for (char **p = parts; *p; p++) {
		if (!snapshot && g_str_has_prefix(*p, "snapshot="))
			snapshot = *p + 9;
		else if (!file && g_str_has_prefix(*p, "file="))
			file = *p + 5;
		else if (!file && **p == '/')
			file = *p;
		else
			return shell_error(sh, "unable to parse memspec: %s", spec);
	}
	g_string_append(out, "  <memory");
	xml_add(out, " snapshot='%s'", snapshot);
	xml_add(out, " file='%s'", file);
	g_string_append(out, "/>\n");
	return true;
}

static bool add_disk(struct shell *sh, GString *out, const char *spec)
{
	g_auto(GStrv) parts = spec_parts(spec);
	const char *snapshot = NULL, *driver = NULL, *type = NULL, *file = NULL;
	bool is_block;

	for (char **p = parts + 1; *p; p++) {
		if (!snapshot && g_str_has_prefix(*p, "snapshot="))
			snapshot = *p + 9;
		else if (!driver && g_str_has_prefix(*p, "driver="))
			driver = *p + 7;
		else if (!type && g_str_has_prefix(*p, "stype="))
			type = *p + 6;
		else if (!file && g_str_has_prefix(*p, "file="))
			file = *p + 5;
		else
			return shell_error(sh, "unable to parse diskspec: %s", spec);
	}
	is_block = type && strcmp(type, "block") == 0;
	if (type && !is_block && strcmp(type, "file") != 0)
		return shell_error(sh, "Unknown storage type: '%s'", type) ||
		       shell_error(sh, "unable to parse diskspec: %s", spec);
	xml_add(out, "    <disk name='%s'", parts[0]);
	xml_add(out, " snapshot='%s'", snapshot);
	xml_add(out, " type='%s'", type);
	if (!driver && !file) {
		g_string_append(out, "/>\n");
		return true;
	}
	g_string_append(out, ">\n");
	xml_add(out, "      <driver type='%s'/>\n", driver);
	xml_add(out, is_block ? "      <source dev='%s'/>\n" : "      <source file='%s'/>\n", file);
	g_string_append(out, "    </disk>\n");
	return true;
}

static bool cmd_snapshot_create_as(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	g_autoptr(GString) xml = g_string_new("<domainsnapshot>\n");
	char *const *disks = arg_list(a, "diskspec");

	if (!dom)
		return false;
	xml_add(xml, "  <name>%s</name>\n", arg_text(a, "name"));
	xml_add(xml, "  <description>%s</description>\n", arg_text(a, "description"));
	if (arg_on(a, "memspec") && !add_memory(sh, xml, arg_text(a, "memspec")))
		return false;
	if (disks)
		g_string_append(xml, "  <disks>\n");
	for (char *const *d = disks; d && *d; d++)
		if (!add_disk(sh, xml, *d))
			return false;
	if (disks)
		g_string_append(xml, "  </disks>\n");
	g_string_append(xml, "</domainsnapshot>\n");
	if (arg_on(a, "print-xml")) {
		say(sh, "%s\n", xml->str);
		return true;
	}
	return create(sh, dom, xml->str, flags_of(a, create_flags), NULL);
}

/* ---- list ---- */

struct row {
	GVariant *snap;
	char *name, *parent, *state;
	gint64 created;
};

static void row_free(void *opaque)
{
	struct row *r = opaque;

	g_variant_unref(r->snap);
	g_free(r->name);
	g_free(r->parent);
	g_free(r->state);
	g_free(r);
}

static int compare(const void *a, const void *b)
{
	return g_ascii_strcasecmp((*(struct row **)a)->name, (*(struct row **)b)->name);
}

static bool fill(struct shell *sh, struct row *r)
{
	g_autoptr(node) tree = tree_of(sh, r->snap);
	g_autofree char *created = node_text(node_get(tree, "creationTime"));

	r->parent = node_text(node_get(tree, "parent/name"));
	r->state = node_text(node_get(tree, "state"));
	r->created = created ? g_ascii_strtoll(created, NULL, 10) : 0;
	return tree;
}

static void ask_for_descriptions(struct shell *sh, GVariant *list)
{
	g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func((GDestroyNotify)g_variant_unref);

	for (gsize i = 0; i < g_variant_n_children(list); i++)
		g_ptr_array_add(all, g_variant_get_child_value(list, i));
	ask_ahead(sh, all, "domain_snapshot_get_xml_desc", g_variant_new("(u)", 0));
}

/* The list of the server, with what its rows need. NULL on error. */
static GPtrArray *rows_of(struct shell *sh, const struct args *a, GVariant *dom, GVariant *from, unsigned flags)
{
	g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func(row_free);
	g_autoptr(GVariant) answer = NULL, list = NULL;
	bool names = arg_on(a, "name");

	if (from)
		answer = ask(sh, "domain_snapshot_list_all_children", "(@" SNAPSHOT "iu)", from, 1, flags);
	else
		answer = ask(sh, "domain_list_all_snapshots", "(@" DOMAIN "iu)", dom, 1, flags);
	list = first_of(answer);
	if (!list)
		return NULL;
	if (!names)
		ask_for_descriptions(sh, list);
	for (gsize i = 0; i < g_variant_n_children(list); i++) {
		struct row *r = g_new0(struct row, 1);

		r->snap = g_variant_get_child_value(list, i);
		r->name = g_strdup(object_name(r->snap));
		g_ptr_array_add(rows, r);
		if (!names && !fill(sh, r))
			return NULL;
	}
	if (!arg_on(a, "topological"))
		g_ptr_array_sort(rows, compare);
	return g_steal_pointer(&rows);
}

static void say_rows(struct shell *sh, GPtrArray *rows, bool with_parent)
{
	struct table *t = table_new("Name", "Creation Time", "State", with_parent ? "Parent" : NULL, NULL);

	for (unsigned i = 0; i < rows->len; i++) {
		struct row *r = g_ptr_array_index(rows, i);
		g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(r->created);
		g_autofree char *when = time ? g_date_time_format(time, "%Y-%m-%d %H:%M:%S %z") : g_strdup("-");

		table_add(t, r->name, when, r->state ? r->state : "", r->parent ? r->parent : "", NULL);
	}
	table_say(sh, t);
}

static void say_rows_as_tree(struct shell *sh, GPtrArray *rows, const char *from)
{
	g_autofree char **names = g_new0(char *, rows->len + 1), **parents = g_new0(char *, rows->len + 1);
	unsigned n = 0;

	if (from)
		names[n++] = (char *)from;
	for (unsigned i = 0; i < rows->len; i++, n++) {
		struct row *r = g_ptr_array_index(rows, i);

		names[n] = r->name;
		parents[n] = r->parent;
	}
	say_tree(sh, names, parents, n);
}

static bool list_conflicts(struct shell *sh, const struct args *a)
{
	if (args_exclude(sh, a, "tree", "name") || args_exclude(sh, a, "parent", "tree") ||
	    args_exclude(sh, a, "roots", "tree") || args_exclude(sh, a, "parent", "roots") ||
	    args_exclude(sh, a, "from", "current") || args_exclude(sh, a, "roots", "from") ||
	    args_exclude(sh, a, "roots", "current"))
		return true;
	if (arg_on(a, "descendants") && !arg_on(a, "from") && !arg_on(a, "current"))
		return !shell_error(sh, "--descendants requires either --from or --current");
	return false;
}

static bool cmd_snapshot_list(struct shell *sh, const struct args *a)
{
	/* VIR_DOMAIN_SNAPSHOT_LIST_… */
	static const struct flag flags_table[] = { { "metadata", 2 },
						   { "leaves", 4 },
						   { "no-leaves", 8 },
						   { "no-metadata", 16 },
						   { "inactive", 32 },
						   { "active", 64 },
						   { "disk-only", 128 },
						   { "internal", 256 },
						   { "external", 512 },
						   { "topological", 1024 },
						   {} };
	enum { ROOTS = 1, DESCENDANTS = 1 };
	g_autoptr(GVariant) dom = list_conflicts(sh, a) ? NULL : find_domain(sh, a, "domain"), from = NULL, answer = NULL;
	unsigned flags = flags_of(a, flags_table);
	g_autoptr(GPtrArray) rows = NULL;

	if (!dom)
		return false;
	if (arg_on(a, "from") && !(from = lookup(sh, dom, arg_text(a, "from"))))
		return false;
	if (arg_on(a, "current")) {
		answer = ask(sh, "domain_snapshot_current", "(@" DOMAIN "u)", dom, 0);
		from = first_of(answer);
		if (!from)
			return false;
	}
	if (from ? arg_on(a, "descendants") : arg_on(a, "roots"))
		flags |= from ? DESCENDANTS : ROOTS;
	rows = rows_of(sh, a, dom, from, flags);
	if (!rows)
		return false;
	if (arg_on(a, "tree"))
		say_rows_as_tree(sh, rows, from ? object_name(from) : NULL);
	else if (arg_on(a, "name"))
		for (unsigned i = 0; i < rows->len; i++)
			say(sh, "%s\n", ((struct row *)g_ptr_array_index(rows, i))->name);
	else
		say_rows(sh, rows, arg_on(a, "parent"));
	return true;
}

/* ---- one ---- */

static bool is_external(const struct node *tree)
{
	g_autofree char *state = node_text(node_get(tree, "state"));
	g_autoptr(GPtrArray) disks = node_all(tree, "disks/disk");
	const char *memory = node_get_attr(tree, "memory", "snapshot");
	bool external = (state && strcmp(state, "disk-snapshot") == 0) || (memory && strcmp(memory, "external") == 0);

	for (unsigned i = 0; i < disks->len; i++) {
		const char *snapshot = node_attr(g_ptr_array_index(disks, i), "snapshot");

		external |= snapshot && strcmp(snapshot, "external") == 0;
	}
	return external;
}

static bool cmd_snapshot_info(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), snap = dom ? find(sh, a, dom) : NULL;
	g_autoptr(node) tree = NULL;
	g_autofree char *state = NULL, *parent = NULL;
	int v;

	if (!snap)
		return false;
	say_field(sh, 16, "Name", "%s", object_name(snap));
	say_field(sh, 16, "Domain", "%s", domain_name(dom));
	if (ask_int(sh, &v, "domain_snapshot_is_current", "(@" SNAPSHOT "u)", snap, 0))
		say_field(sh, 16, "Current", "%s", v ? "yes" : "no");
	tree = tree_of(sh, snap);
	if (!tree)
		return false;
	state = node_text(node_get(tree, "state"));
	parent = node_text(node_get(tree, "parent/name"));
	say_field(sh, 16, "State", "%s", state ? state : "");
	say_field(sh, 16, "Location", "%s", is_external(tree) ? "external" : "internal");
	say_field(sh, 16, "Parent", "%s", parent ? parent : "-");
	if (ask_int(sh, &v, "domain_snapshot_num_children", "(@" SNAPSHOT "u)", snap, 0)) {
		say_field(sh, 16, "Children", "%d", v);
		if (!ask_int(sh, &v, "domain_snapshot_num_children", "(@" SNAPSHOT "u)", snap, 1))
			return false;
		say_field(sh, 16, "Descendants", "%d", v);
	}
	if (ask_int(sh, &v, "domain_snapshot_has_metadata", "(@" SNAPSHOT "u)", snap, 0))
		say_field(sh, 16, "Metadata", "%s", v ? "yes" : "no");
	forget_error(sh);
	return true;
}

static bool cmd_snapshot_dumpxml(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), snap = dom ? lookup(sh, dom, arg_text(a, "snapshotname")) : NULL;
	g_autofree char *xml = snap ? xml_of(sh, snap, arg_on(a, "security-info") ? XML_SECURE : 0) : NULL;

	return say_xml(sh, a, xml);
}

static bool cmd_snapshot_parent(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), snap = dom ? find(sh, a, dom) : NULL, answer = NULL,
			    parent = NULL;

	if (!snap)
		return false;
	answer = ask(sh, "domain_snapshot_get_parent", "(@" SNAPSHOT "u)", snap, 0);
	if (!answer && error_code(sh) == VIR_ERR_NO_DOMAIN_SNAPSHOT) {
		forget_error(sh);
		return shell_error(sh, "snapshot '%s' has no parent", object_name(snap));
	}
	if (!answer)
		return false;
	parent = first_of(answer);
	say(sh, "%s", object_name(parent));
	return true;
}

static bool set_current(struct shell *sh, GVariant *dom, const char *name)
{
	g_autoptr(GVariant) snap = lookup(sh, dom, name), answer = NULL;
	g_autofree char *xml = snap ? xml_of(sh, snap, XML_SECURE) : NULL;

	if (!xml)
		return false;
	answer = ask(sh, "domain_snapshot_create_xml", "(@" DOMAIN "su)", dom, xml, CREATE_REDEFINE | CREATE_CURRENT);
	if (answer)
		say_extra(sh, "Snapshot %s set as current", name);
	return answer;
}

static bool cmd_snapshot_current(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), answer = NULL, snap = NULL;
	g_autofree char *xml = NULL;
	int there;

	if (!dom || args_exclude(sh, a, "name", "snapshotname"))
		return false;
	if (arg_on(a, "snapshotname"))
		return set_current(sh, dom, arg_text(a, "snapshotname"));
	if (!ask_int(sh, &there, "domain_has_current_snapshot", "(@" DOMAIN "u)", dom, 0))
		return false;
	if (!there)
		return shell_error(sh, "domain '%s' has no current snapshot", domain_name(dom));
	answer = ask(sh, "domain_snapshot_current", "(@" DOMAIN "u)", dom, 0);
	snap = first_of(answer);
	if (!snap)
		return false;
	if (arg_on(a, "name")) {
		say(sh, "%s", object_name(snap));
		return true;
	}
	xml = xml_of(sh, snap, arg_on(a, "security-info") ? XML_SECURE : 0);
	if (xml)
		say(sh, "%s", xml);
	return xml;
}

static bool cmd_snapshot_revert(struct shell *sh, const struct args *a)
{
	/* VIR_DOMAIN_SNAPSHOT_REVERT_… */
	static const struct flag flags_table[] = { { "running", 1 }, { "paused", 2 }, { "reset-nvram", 8 }, {} };
	enum { FORCE = 4 };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), snap = dom ? find(sh, a, dom) : NULL;
	unsigned flags = flags_of(a, flags_table);
	bool ok;

	if (!snap)
		return false;
	ok = tell(sh, "domain_revert_to_snapshot", "(@" SNAPSHOT "u)", snap, flags);
	if (!ok && arg_on(a, "force") && error_code(sh) == VIR_ERR_SNAPSHOT_REVERT_RISKY)
		ok = tell(sh, "domain_revert_to_snapshot", "(@" SNAPSHOT "u)", snap, flags | FORCE);
	return finish(sh, ok, "Domain snapshot %s reverted", "Failed to revert snapshot %s", object_name(snap));
}

static bool cmd_snapshot_delete(struct shell *sh, const struct args *a)
{
	static const struct flag flags_table[] = { { "children", 1 }, { "metadata", 2 }, { "children-only", 4 }, {} };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), snap = dom ? find(sh, a, dom) : NULL;

	return snap && finish(sh, tell(sh, "domain_snapshot_delete", "(@" SNAPSHOT "u)", snap, flags_of(a, flags_table)),
			      arg_on(a, "children-only") ? "Domain snapshot %s children deleted" : "Domain snapshot %s deleted",
			      "Failed to delete snapshot %s", object_name(snap));
}

static bool cmd_snapshot_edit(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = NULL, snap = NULL, answer = NULL, new_snap = NULL;
	unsigned flags = CREATE_REDEFINE | (arg_on(a, "current") ? CREATE_CURRENT : 0);
	g_autofree char *old = NULL, *new = NULL;
	bool same, renamed;

	if (args_exclude(sh, a, "rename", "clone"))
		return false;
	dom = find_domain(sh, a, "domain");
	if (dom)
		snap = arg_on(a, "snapshotname") ? lookup(sh, dom, arg_text(a, "snapshotname")) : find(sh, a, dom);
	old = snap ? xml_of(sh, snap, XML_SECURE) : NULL;
	new = old ? edit_text(sh, old, &same) : NULL;
	if (!new &&old && same)
		say_extra(sh, "Snapshot %s XML configuration not changed.\n", object_name(snap));
	if (!new)
		return old && same;
	answer = ask(sh, "domain_snapshot_create_xml", "(@" DOMAIN "su)", dom, new, flags);
	if (!answer)
		return shell_error(sh, "Failed to update %s", object_name(snap));
	new_snap = first_of(answer);
	renamed = strcmp(object_name(snap), object_name(new_snap)) != 0;
	if (!renamed) {
		say_extra(sh, "Snapshot %s edited.\n", object_name(snap));
		return true;
	}
	if (arg_on(a, "clone")) {
		say_extra(sh, "Snapshot %s cloned to %s.\n", object_name(snap), object_name(new_snap));
		return true;
	}
	if (!tell(sh, "domain_snapshot_delete", "(@" SNAPSHOT "u)", arg_on(a, "rename") ? snap : new_snap, 2))
		return shell_error(sh, "Failed to clean up %s", object_name(arg_on(a, "rename") ? snap : new_snap));
	return arg_on(a, "rename") ||
	       shell_error(sh, "Must use --rename or --clone to change %s to %s", object_name(snap), object_name(new_snap));
}

const struct command snapshot_commands[] = {
	{ "snapshot-create", cmd_snapshot_create,
	  "<domain> [--xmlfile <string>] [--redefine] [--current] [--no-metadata] [--halt] [--disk-only] "
	  "[--reuse-external] [--quiesce] [--atomic] [--live] [--validate]",
	  "a snapshot from an XML file" },
	{ "snapshot-create-as", cmd_snapshot_create_as,
	  "<domain> [--name <string>] [--description <string>] [--print-xml] [--no-metadata] [--halt] [--disk-only] "
	  "[--reuse-external] [--quiesce] [--atomic] [--live] [--validate] [--memspec <string>] [[--diskspec] "
	  "<string>]...",
	  "a snapshot from options" },
	{ "snapshot-current", cmd_snapshot_current, "<domain> [--name] [--security-info] [--snapshotname <string>]",
	  "the current snapshot, or another one as current" },
	{ "snapshot-delete", cmd_snapshot_delete,
	  "<domain> [--snapshotname <string>] [--current] [--children] [--children-only] [--metadata]", "delete a snapshot" },
	{ "snapshot-dumpxml", cmd_snapshot_dumpxml, "<domain> <snapshotname> [--security-info] [--xpath <string>] [--wrap]",
	  "a snapshot's description as XML" },
	{ "snapshot-edit", cmd_snapshot_edit, "<domain> [--snapshotname <string>] [--current] [--rename] [--clone]",
	  "change a snapshot's XML in an editor" },
	{ "snapshot-info", cmd_snapshot_info, "<domain> [--snapshotname <string>] [--current]",
	  "the basic facts about a snapshot" },
	{ "snapshot-list", cmd_snapshot_list,
	  "<domain> [--parent] [--roots] [--leaves] [--no-leaves] [--metadata] [--no-metadata] [--inactive] "
	  "[--active] [--disk-only] [--internal] [--external] [--tree] [--from <string>] [--current] "
	  "[--descendants] [--name] [--topological]",
	  "a domain's snapshots" },
	{ "snapshot-parent", cmd_snapshot_parent, "<domain> [--snapshotname <string>] [--current]",
	  "what a snapshot is based on" },
	{ "snapshot-revert", cmd_snapshot_revert,
	  "<domain> [--snapshotname <string>] [--current] [--running] [--paused] [--force] [--reset-nvram]",
	  "go back to a snapshot" },
	{},
};
