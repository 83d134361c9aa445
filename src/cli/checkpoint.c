/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about checkpoints, and the backups that start from them. */
#include <string.h>

#include "ahead.h"
#include "args.h"
#include "objects.h"
#include "rpc/message.h"
#include "tree.h"

#define CHECKPOINT SNAPSHOT /* on the wire both are a name and a domain */

enum { XML_SECURE = 1, XML_NO_DOMAIN = 2, XML_SIZE = 4 };
enum { CREATE_REDEFINE = 1 };

static GVariant *lookup(struct shell *sh, GVariant *dom, const char *name)
{
	g_autoptr(GVariant) answer = ask(sh, "domain_checkpoint_lookup_by_name", "(@" DOMAIN "su)", dom, name, 0);

	return first_of(answer);
}

/* The one of the option. NULL: the error was said. */
static GVariant *find(struct shell *sh, const struct args *a, GVariant *dom)
{
	const char *name = arg_text(a, "checkpointname");

	if (!name)
		shell_error(sh, "--%s is required", "checkpointname");
	return name ? lookup(sh, dom, name) : NULL;
}

static char *xml_of(struct shell *sh, GVariant *point, unsigned flags)
{
	return ask_text(sh, "domain_checkpoint_get_xml_desc", "(@" CHECKPOINT "u)", point, flags);
}

/* ---- create ---- */

static bool create(struct shell *sh, GVariant *dom, const char *xml, unsigned flags, const char *from)
{
	g_autoptr(GVariant) answer = ask(sh, "domain_checkpoint_create_xml", "(@" DOMAIN "su)", dom, xml, flags), point = NULL;

	if (!answer)
		return false;
	point = first_of(answer);
	if (from)
		say_extra(sh, "Domain checkpoint %s created from '%s'", object_name(point), from);
	else
		say_extra(sh, "Domain checkpoint %s created", object_name(point));
	return true;
}

static bool cmd_checkpoint_create(struct shell *sh, const struct args *a)
{
	static const struct flag flags_table[] = {
		{ "redefine", CREATE_REDEFINE }, { "quiesce", 2 }, { "redefine-validate", 4 }, {}
	};
	const char *path = arg_text(a, "xmlfile");
	g_autoptr(GVariant) dom = NULL;
	g_autofree char *xml = NULL;

	if (!args_require(sh, a, "redefine-validate", "redefine") || !(dom = find_domain(sh, a, "domain")))
		return false;
	xml = path ? read_file(sh, path) : g_strdup("<domaincheckpoint/>");
	return xml && create(sh, dom, xml, flags_of(a, flags_table), path);
}

static bool add_disk(struct shell *sh, GString *out, const char *spec)
{
	g_auto(GStrv) parts = spec_parts(spec);
	const char *kind = NULL, *bitmap = NULL;

	for (char **p = parts + 1; *p; p++) {
		if (!kind && g_str_has_prefix(*p, "checkpoint="))
			kind = *p + 11;
		else if (!bitmap && g_str_has_prefix(*p, "bitmap="))
			bitmap = *p + 7;
		else
			return shell_error(sh, "unable to parse diskspec: %s", spec);
	}
	xml_add(out, "    <disk name='%s'", parts[0]);
	xml_add(out, " checkpoint='%s'", kind);
	xml_add(out, " bitmap='%s'", bitmap);
	g_string_append(out, "/>\n");
	return true;
}

static bool cmd_checkpoint_create_as(struct shell *sh, const struct args *a)
{
	enum { QUIESCE = 2 };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	g_autoptr(GString) xml = g_string_new("<domaincheckpoint>\n");
	char *const *disks = arg_list(a, "diskspec");

	if (!dom)
		return false;
	xml_add(xml, "  <name>%s</name>\n", arg_text(a, "name"));
	xml_add(xml, "  <description>%s</description>\n", arg_text(a, "description"));
	if (disks)
		g_string_append(xml, "  <disks>\n");
	for (char *const *d = disks; d && *d; d++)
		if (!add_disk(sh, xml, *d))
			return false;
	if (disks)
		g_string_append(xml, "  </disks>\n");
	g_string_append(xml, "</domaincheckpoint>\n");
	if (arg_on(a, "print-xml")) {
		say(sh, "%s\n", xml->str);
		return true;
	}
	return create(sh, dom, xml->str, arg_on(a, "quiesce") ? QUIESCE : 0, NULL);
}

/* ---- list ---- */

struct row {
	GVariant *point;
	char *parent;
	gint64 created;
};

static void row_free(void *opaque)
{
	struct row *r = opaque;

	g_variant_unref(r->point);
	g_free(r->parent);
	g_free(r);
}

static bool fill(struct shell *sh, struct row *r)
{
	g_autofree char *xml = xml_of(sh, r->point, XML_NO_DOMAIN), *created = NULL;
	g_autoptr(node) tree = xml ? node_parse(xml, &sh->error) : NULL;

	created = node_text(node_get(tree, "creationTime"));
	r->parent = node_text(node_get(tree, "parent/name"));
	r->created = created ? g_ascii_strtoll(created, NULL, 10) : 0;
	return tree;
}

static GPtrArray *in_order(GVariant *answer, bool topological)
{
	g_autoptr(GVariant) list = NULL;
	GPtrArray *all;

	if (!topological)
		return sorted_objects(answer);
	list = first_of(answer);
	all = g_ptr_array_new_with_free_func((GDestroyNotify)g_variant_unref);
	for (gsize i = 0; i < g_variant_n_children(list); i++)
		g_ptr_array_add(all, g_variant_get_child_value(list, i));
	return all;
}

/* NULL on error. */
static GPtrArray *rows_of(struct shell *sh, const struct args *a, GVariant *dom, GVariant *from, unsigned flags)
{
	g_autoptr(GVariant) answer = from ? ask(sh, "domain_checkpoint_list_all_children", "(@" CHECKPOINT "iu)", from, 1, flags)
					  : ask(sh, "domain_list_all_checkpoints", "(@" DOMAIN "iu)", dom, 1, flags);
	g_autoptr(GPtrArray) all = answer ? in_order(answer, arg_on(a, "topological")) : NULL,
			     rows = g_ptr_array_new_with_free_func(row_free);

	if (!answer) {
		shell_error(sh, "unexpected problem querying checkpoints");
		return NULL;
	}
	if (!arg_on(a, "name"))
		ask_ahead(sh, all, "domain_checkpoint_get_xml_desc", g_variant_new("(u)", XML_NO_DOMAIN));
	for (unsigned i = 0; i < all->len; i++) {
		struct row *r = g_new0(struct row, 1);

		r->point = g_variant_ref(g_ptr_array_index(all, i));
		g_ptr_array_add(rows, r);
		if (!arg_on(a, "name") && !fill(sh, r))
			return NULL;
	}
	return g_steal_pointer(&rows);
}

static void say_rows(struct shell *sh, GPtrArray *rows, bool with_parent)
{
	struct table *t = table_new("Name", "Creation Time", with_parent ? "Parent" : NULL, NULL);

	for (unsigned i = 0; i < rows->len; i++) {
		struct row *r = g_ptr_array_index(rows, i);
		g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(r->created);
		g_autofree char *when = time ? g_date_time_format(time, "%Y-%m-%d %H:%M:%S %z") : g_strdup("-");

		table_add(t, object_name(r->point), when, r->parent ? r->parent : "", NULL);
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

		names[n] = (char *)object_name(r->point);
		parents[n] = r->parent;
	}
	say_tree(sh, names, parents, n);
}

static bool cmd_checkpoint_list(struct shell *sh, const struct args *a)
{
	/* VIR_DOMAIN_CHECKPOINT_LIST_… */
	static const struct flag flags_table[] = { { "roots", 1 },  { "descendants", 1 }, { "topological", 2 },
						   { "leaves", 4 }, { "no-leaves", 8 },	  {} };
	enum { DESCENDANTS = 1 };
	unsigned flags = flags_of(a, flags_table);
	g_autoptr(GVariant) dom = NULL, from = NULL;
	g_autoptr(GPtrArray) rows = NULL;

	if (args_exclude(sh, a, "tree", "name") || args_exclude(sh, a, "parent", "roots") ||
	    args_exclude(sh, a, "parent", "tree") || args_exclude(sh, a, "roots", "tree") || args_exclude(sh, a, "roots", "from"))
		return false;
	if (arg_on(a, "descendants") && !arg_on(a, "from"))
		return shell_error(sh, "--descendants requires --from");
	if (!(dom = find_domain(sh, a, "domain")) || (arg_on(a, "from") && !(from = lookup(sh, dom, arg_text(a, "from")))))
		return false;
	if (from && arg_on(a, "tree"))
		flags |= DESCENDANTS;
	rows = rows_of(sh, a, dom, from, flags);
	if (!rows)
		return false;
	if (arg_on(a, "tree"))
		say_rows_as_tree(sh, rows, arg_text(a, "from"));
	else if (arg_on(a, "name"))
		for (unsigned i = 0; i < rows->len; i++)
			say(sh, "%s\n", object_name(((struct row *)g_ptr_array_index(rows, i))->point));
	else
		say_rows(sh, rows, arg_on(a, "parent"));
	return true;
}

/* ---- one ---- */

static int children(struct shell *sh, GVariant *point, unsigned flags)
{
	g_autoptr(GVariant) answer = ask(sh, "domain_checkpoint_list_all_children", "(@" CHECKPOINT "iu)", point, 0, flags);
	gint32 n = -1;

	if (answer)
		g_variant_get_child(answer, 1, "i", &n);
	return n;
}

/* Its parent's name. false: on error. *ret NULL: it has none. */
static bool parent_of(struct shell *sh, GVariant *point, char **ret)
{
	g_autoptr(GVariant) answer = ask(sh, "domain_checkpoint_get_parent", "(@" CHECKPOINT "u)", point, 0), parent = NULL;

	*ret = NULL;
	if (!answer && error_code(sh) == VIR_ERR_NO_DOMAIN_CHECKPOINT) {
		forget_error(sh);
		return true;
	}
	if (!answer)
		return false;
	parent = first_of(answer);
	*ret = g_strdup(object_name(parent));
	return true;
}

static bool cmd_checkpoint_info(struct shell *sh, const struct args *a)
{
	enum { DESCENDANTS = 1 };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), point = dom ? find(sh, a, dom) : NULL;
	g_autofree char *parent = NULL;
	int n;

	if (!point)
		return false;
	say_field(sh, 16, "Name", "%s", object_name(point));
	say_field(sh, 16, "Domain", "%s", domain_name(dom));
	if (!parent_of(sh, point, &parent))
		return shell_error(sh, "unexpected problem querying checkpoint state");
	say_field(sh, 16, "Parent", "%s", parent ? parent : "-");
	n = children(sh, point, 0);
	if (n < 0)
		return false;
	say_field(sh, 16, "Children", "%d", n);
	n = children(sh, point, DESCENDANTS);
	if (n < 0)
		return false;
	say_field(sh, 16, "Descendants", "%d", n);
	return true;
}

static bool cmd_checkpoint_dumpxml(struct shell *sh, const struct args *a)
{
	static const struct flag flags_table[] = {
		{ "security-info", XML_SECURE }, { "no-domain", XML_NO_DOMAIN }, { "size", XML_SIZE }, {}
	};
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), point = dom ? find(sh, a, dom) : NULL;
	g_autofree char *xml = point ? xml_of(sh, point, flags_of(a, flags_table)) : NULL;

	return say_xml(sh, a, xml);
}

static bool cmd_checkpoint_parent(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), point = dom ? find(sh, a, dom) : NULL;
	g_autofree char *parent = NULL;

	if (!point || !parent_of(sh, point, &parent))
		return false;
	if (!parent)
		return shell_error(sh, "checkpoint '%s' has no parent", object_name(point));
	say(sh, "%s", parent);
	return true;
}

static bool cmd_checkpoint_delete(struct shell *sh, const struct args *a)
{
	static const struct flag flags_table[] = { { "children", 1 }, { "metadata", 2 }, { "children-only", 4 }, {} };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), point = dom ? find(sh, a, dom) : NULL;

	return point &&
	       finish(sh, tell(sh, "domain_checkpoint_delete", "(@" CHECKPOINT "u)", point, flags_of(a, flags_table)),
		      arg_on(a, "children-only") ? "Domain checkpoint %s children deleted" : "Domain checkpoint %s deleted",
		      "Failed to delete checkpoint %s", object_name(point));
}

static bool cmd_checkpoint_edit(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), point = dom ? find(sh, a, dom) : NULL, answer = NULL, now = NULL;
	g_autofree char *old = point ? xml_of(sh, point, XML_SECURE) : NULL, *new = NULL;
	bool same = false;

	new = old ? edit_text(sh, old, &same) : NULL;
	if (!new &&same)
		say_extra(sh, "Checkpoint %s XML configuration not changed.\n", object_name(point));
	if (!new)
		return same || (old && shell_error(sh, "Failed to update %s", object_name(point)));
	answer = ask(sh, "domain_checkpoint_create_xml", "(@" DOMAIN "su)", dom, new, CREATE_REDEFINE);
	if (!answer)
		return shell_error(sh, "Failed to update %s", object_name(point));
	now = first_of(answer);
	if (strcmp(object_name(now), object_name(point)) != 0)
		return shell_error(sh, "Cannot rename checkpoint %s to %s", object_name(point), object_name(now));
	say_extra(sh, "Checkpoint %s edited.\n", object_name(point));
	return true;
}

const struct command checkpoint_commands[] = {
	{ "checkpoint-create", cmd_checkpoint_create,
	  "<domain> [--xmlfile <string>] [--redefine] [--redefine-validate] [--quiesce]", "a checkpoint from an XML file" },
	{ "checkpoint-create-as", cmd_checkpoint_create_as,
	  "<domain> [--name <string>] [--description <string>] [--print-xml] [--quiesce] [[--diskspec] <string>]...",
	  "a checkpoint from options" },
	{ "checkpoint-delete", cmd_checkpoint_delete,
	  "<domain> [--checkpointname <string>] [--children] [--children-only] [--metadata]", "delete a checkpoint" },
	{ "checkpoint-dumpxml", cmd_checkpoint_dumpxml,
	  "<domain> [--checkpointname <string>] [--security-info] [--no-domain] [--size] [--xpath <string>] [--wrap]",
	  "a checkpoint's description as XML" },
	{ "checkpoint-edit", cmd_checkpoint_edit, "<domain> [--checkpointname <string>]",
	  "change a checkpoint's XML in an editor" },
	{ "checkpoint-info", cmd_checkpoint_info, "<domain> [--checkpointname <string>]", "the basic facts about a checkpoint" },
	{ "checkpoint-list", cmd_checkpoint_list,
	  "<domain> [--parent] [--roots] [--leaves] [--no-leaves] [--tree] [--from <string>] [--descendants] [--name] "
	  "[--topological]",
	  "a domain's checkpoints" },
	{ "checkpoint-parent", cmd_checkpoint_parent, "<domain> [--checkpointname <string>]", "what a checkpoint is based on" },
	{},
};

/* ---- backup ---- */

static bool cmd_backup_begin(struct shell *sh, const struct args *a)
{
	enum { REUSE_EXTERNAL = 1 };
	const char *path = arg_text(a, "backupxml"), *check_path = arg_text(a, "checkpointxml");
	g_autofree char *xml = NULL, *check = NULL;
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");

	if (!dom)
		return false;
	xml = path ? read_file(sh, path) : g_strdup("<domainbackup/>");
	if (!xml || (check_path && !(check = read_file(sh, check_path))))
		return false;
	if (!tell(sh, "domain_backup_begin", "(@" DOMAIN "smsu)", dom, xml, check,
		  arg_on(a, "reuse-external") ? REUSE_EXTERNAL : 0))
		return false;
	say_extra(sh, "Backup started\n");
	return true;
}

static bool cmd_backup_dumpxml(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");

	return say_description(sh, a, "domain_backup_get_xml_desc", dom, 0);
}

const struct command backup_commands[] = {
	{ "backup-begin", cmd_backup_begin, "<domain> [--backupxml <string>] [--checkpointxml <string>] [--reuse-external]",
	  "back up a running domain's disks" },
	{ "backup-dumpxml", cmd_backup_dumpxml, "<domain> [--xpath <string>] [--wrap]", "the backup that runs, as XML" },
	{},
};
