/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about storage pools. */
#include <string.h>

#include "ahead.h"
#include "args.h"
#include "event.h"
#include "objects.h"
#include "rpc/message.h"

enum { POOL_INACTIVE, POOL_BUILDING, POOL_RUNNING, POOL_DEGRADED };

/* VIR_STORAGE_POOL_CREATE_WITH_… */
static const struct flag build_flags[] = { { "build", 1 }, { "overwrite", 2 }, { "no-overwrite", 4 }, {} };

static const char *state_name(int state)
{
	static const char *const names[] = { "inactive", "building", "running", "degraded", "inaccessible" };

	return state >= 0 && state < (int)G_N_ELEMENTS(names) ? names[state] : "unknown";
}

struct info {
	gint32 state;
	guint64 capacity, allocation, available;
};

static bool get_info(struct shell *sh, GVariant *pool, struct info *ret)
{
	g_autoptr(GVariant) answer = ask(sh, "storage_pool_get_info", "(@" POOL ")", pool);

	if (answer)
		g_variant_get(answer, "(ittt)", &ret->state, &ret->capacity, &ret->allocation, &ret->available);
	return answer;
}

static char *size_text(guint64 bytes, bool is_running)
{
	const char *unit;
	double v = scaled(bytes, &unit);

	return is_running ? g_strdup_printf("%.2f %s", v, unit) : g_strdup("-");
}

static void add_details(struct shell *sh, struct table *t, GVariant *pool)
{
	struct info i = {};
	bool known = get_info(sh, pool, &i), is_running = i.state == POOL_RUNNING || i.state == POOL_DEGRADED;
	g_autofree char *capacity = size_text(i.capacity, is_running), *allocation = size_text(i.allocation, is_running);
	g_autofree char *available = size_text(i.available, is_running);

	table_add(t, object_name(pool), known ? state_name(i.state) : "unknown",
		  yes_no(sh, "storage_pool_get_autostart", pool, "no autostart"),
		  yes_no(sh, "storage_pool_is_persistent", pool, "unknown"), capacity, allocation, available, NULL);
}

/* Adds the flags of --type; false with the error said. */
static bool add_types(struct shell *sh, const struct args *a, unsigned *flags)
{
	static const char *const types[] = { "dir",   "fs",  "netfs",	 "logical", "disk", "iscsi",	"scsi",
					     "mpath", "rbd", "sheepdog", "gluster", "zfs",  "vstorage", "iscsi-direct" };
	g_auto(GStrv) words = g_strsplit(arg_text(a, "type") ? arg_text(a, "type") : "", ",", -1);

	for (char **w = words; *w; w++) {
		unsigned i = 0;

		while (i < G_N_ELEMENTS(types) && strcmp(types[i], *w) != 0)
			i++;
		if (i == G_N_ELEMENTS(types))
			return shell_error(sh, "Invalid pool type '%s'", *w);
		*flags |= 64u << i;
	}
	return true;
}

static void ask_for_rows(struct shell *sh, GPtrArray *all, bool details)
{
	ask_ahead(sh, all, details ? "storage_pool_get_info" : "storage_pool_is_active", NULL);
	ask_ahead(sh, all, "storage_pool_get_autostart", NULL);
	if (details)
		ask_ahead(sh, all, "storage_pool_is_persistent", NULL);
}

static bool cmd_pool_list(struct shell *sh, const struct args *a)
{
	static const struct flag flags_table[] = {
		{ "persistent", 4 }, { "transient", 8 }, { "autostart", 16 }, { "no-autostart", 32 }, {}
	};
	enum { INACTIVE = 1, ACTIVE = 2 };
	unsigned flags = flags_of(a, flags_table) | (arg_on(a, "all")	     ? INACTIVE | ACTIVE
						     : arg_on(a, "inactive") ? INACTIVE
									     : ACTIVE);
	bool details = arg_on(a, "details"), words = arg_on(a, "name") || arg_on(a, "uuid");
	g_autoptr(GVariant) answer = NULL;
	g_autoptr(GPtrArray) all = NULL;
	struct table *t = NULL;

	if (!add_types(sh, a, &flags))
		return false;
	answer = ask(sh, "connect_list_all_storage_pools", "(iu)", 1, flags);
	if (!answer)
		return shell_error(sh, "Failed to list pools");
	all = sorted_objects(answer);
	if (!words) {
		ask_for_rows(sh, all, details);
		t = details ? table_new("Name", "State", "Autostart", "Persistent", "Capacity", "Allocation", "Available", NULL)
			    : table_new("Name", "State", "Autostart", NULL);
	}
	for (unsigned i = 0; i < all->len; i++) {
		GVariant *pool = g_ptr_array_index(all, i);
		g_autofree char *uuid = object_uuid(pool);

		if (words)
			say(sh, "%s%s%-*s\n", arg_on(a, "uuid") ? uuid : "", arg_on(a, "uuid") && arg_on(a, "name") ? " " : "",
			    arg_on(a, "name") ? 20 : 0, arg_on(a, "name") ? object_name(pool) : "");
		else if (details)
			add_details(sh, t, pool);
		else
			table_add(t, object_name(pool),
				  *yes_no(sh, "storage_pool_is_active", pool, "no") == 'y' ? "active" : "inactive",
				  yes_no(sh, "storage_pool_get_autostart", pool, "no autostart"), NULL);
	}
	if (t)
		table_say(sh, t);
	return true;
}

static void say_size(struct shell *sh, const char *name, guint64 bytes, bool exact)
{
	const char *unit;
	double v = scaled(bytes, &unit);

	if (exact)
		say_field(sh, 16, name, "%" G_GUINT64_FORMAT, bytes);
	else
		say_field(sh, 16, name, "%2.2f %s", v, unit);
}

static bool cmd_pool_info(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) pool = find_pool(sh, a, "pool");
	bool bytes = arg_on(a, "bytes");
	g_autofree char *uuid = NULL;
	struct info i;

	if (!pool)
		return false;
	uuid = object_uuid(pool);
	say_field(sh, 16, "Name", "%s", object_name(pool));
	say_field(sh, 16, "UUID", "%s", uuid);
	if (!get_info(sh, pool, &i))
		return false;
	say_field(sh, 16, "State", "%s", state_name(i.state));
	say_field(sh, 16, "Persistent", "%s", yes_no(sh, "storage_pool_is_persistent", pool, "unknown"));
	say_field(sh, 16, "Autostart", "%s", yes_no(sh, "storage_pool_get_autostart", pool, "no autostart"));
	if (i.state == POOL_RUNNING || i.state == POOL_DEGRADED) {
		say_size(sh, "Capacity", i.capacity, bytes);
		say_size(sh, "Allocation", i.allocation, bytes);
		say_size(sh, "Available", i.available, bytes);
	}
	return true;
}

static bool cmd_pool_name(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) pool = is_uuid(arg_text(a, "pool")) ? find_pool(sh, a, "pool") : NULL;

	if (!is_uuid(arg_text(a, "pool")))
		return shell_error(sh, "failed to get pool '%s'", arg_text(a, "pool"));
	return say_object_name(sh, pool);
}

static bool cmd_pool_uuid(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) pool = find_pool(sh, a, "pool");

	return say_object_uuid(sh, pool);
}

static bool cmd_pool_dumpxml(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) pool = find_pool(sh, a, "pool");

	return say_description(sh, a, "storage_pool_get_xml_desc", pool, arg_on(a, "inactive") ? 1 : 0);
}

/* ---- new pools ---- */

static bool make(struct shell *sh, const struct args *a, const char *procedure, unsigned flags, const char *what)
{
	const char *path = arg_text(a, "file");
	g_autofree char *xml = read_file(sh, path);
	g_autoptr(GVariant) answer = xml ? ask(sh, procedure, "(su)", xml, flags) : NULL, pool = NULL;

	if (!xml)
		return false;
	if (!answer)
		return shell_error(sh, "Failed to %s pool from %s", what, path);
	pool = first_of(answer);
	say_extra(sh, "Pool %s %sd from %s\n", object_name(pool), what, path);
	return true;
}

static bool cmd_pool_define(struct shell *sh, const struct args *a)
{
	return make(sh, a, "storage_pool_define_xml", arg_on(a, "validate") ? 1 : 0, "define");
}

static bool cmd_pool_create(struct shell *sh, const struct args *a)
{
	return !args_exclude(sh, a, "overwrite", "no-overwrite") &&
	       make(sh, a, "storage_pool_create_xml", flags_of(a, build_flags), "create");
}

static void add_adapter(GString *out, const struct args *a)
{
	xml_add(out, "    <adapter type='scsi_host' name='%s'/>\n", arg_text(a, "adapter-name"));
	if (!arg_on(a, "adapter-wwnn") || !arg_on(a, "adapter-wwpn"))
		return;
	g_string_append(out, "    <adapter type='fc_host'");
	xml_add(out, " parent='%s'", arg_text(a, "adapter-parent"));
	xml_add(out, " parent_wwnn='%s'", arg_text(a, "adapter-parent-wwnn"));
	xml_add(out, " parent_wwpn='%s'", arg_text(a, "adapter-parent-wwpn"));
	xml_add(out, " parent_fabric_wwn='%s'", arg_text(a, "adapter-parent-fabric-wwn"));
	xml_add(out, " wwnn='%s'", arg_text(a, "adapter-wwnn"));
	xml_add(out, " wwpn='%s'/>\n", arg_text(a, "adapter-wwpn"));
}

static char *pool_xml(const struct args *a)
{
	g_autoptr(GString) out = g_string_new(NULL), source = g_string_new(NULL);

	xml_add(source, "    <host name='%s'/>\n", arg_text(a, "source-host"));
	xml_add(source, "    <dir path='%s'/>\n", arg_text(a, "source-path"));
	xml_add(source, "    <device path='%s'/>\n", arg_text(a, "source-dev"));
	xml_add(source, "    <initiator>\n      <iqn name='%s'/>\n    </initiator>\n", arg_text(a, "source-initiator"));
	add_adapter(source, a);
	if (arg_on(a, "auth-type") && arg_on(a, "auth-username")) {
		xml_add(source, "    <auth type='%s'", arg_text(a, "auth-type"));
		xml_add(source, " username='%s'>\n", arg_text(a, "auth-username"));
		xml_add(source, "      <secret usage='%s'/>\n", arg_text(a, "secret-usage"));
		xml_add(source, "      <secret uuid='%s'/>\n", arg_on(a, "secret-usage") ? NULL : arg_text(a, "secret-uuid"));
		g_string_append(source, "    </auth>\n");
	}
	xml_add(source, "    <format type='%s'/>\n", arg_text(a, "source-format"));
	xml_add(source, "    <protocol ver='%s'/>\n", arg_text(a, "source-protocol-ver"));
	xml_add(source, "    <name>%s</name>\n", arg_text(a, "source-name"));
	xml_add(out, "<pool type='%s'>\n", arg_text(a, "type"));
	xml_add(out, "  <name>%s</name>\n", arg_text(a, "name"));
	if (source->len)
		g_string_append_printf(out, "  <source>\n%s  </source>\n", source->str);
	xml_add(out, "  <target>\n    <path>%s</path>\n  </target>\n", arg_text(a, "target"));
	g_string_append(out, "</pool>\n");
	return g_string_free(g_steal_pointer(&out), FALSE);
}

static bool make_as(struct shell *sh, const struct args *a, const char *procedure, unsigned flags, const char *what)
{
	g_autofree char *xml = pool_xml(a);
	g_autoptr(GVariant) answer = NULL, pool = NULL;

	if (arg_on(a, "print-xml")) {
		say(sh, "%s", xml);
		return true;
	}
	answer = ask(sh, procedure, "(su)", xml, flags);
	if (!answer)
		return shell_error(sh, "Failed to %s pool %s", what, arg_text(a, "name"));
	pool = first_of(answer);
	say_extra(sh, "Pool %s %sd\n", object_name(pool), what);
	return true;
}

static bool cmd_pool_define_as(struct shell *sh, const struct args *a)
{
	return make_as(sh, a, "storage_pool_define_xml", 0, "define");
}

static bool cmd_pool_create_as(struct shell *sh, const struct args *a)
{
	return !args_exclude(sh, a, "overwrite", "no-overwrite") &&
	       make_as(sh, a, "storage_pool_create_xml", flags_of(a, build_flags), "create");
}

/* ---- what is done with one ---- */

static bool act(struct shell *sh, const struct args *a, const char *procedure, int flags, const char *done, const char *failed)
{
	g_autoptr(GVariant) pool = find_pool(sh, a, "pool");
	bool ok;

	if (!pool)
		return false;
	ok = flags < 0 ? tell(sh, procedure, "(@" POOL ")", pool) : tell(sh, procedure, "(@" POOL "u)", pool, flags);
	return finish(sh, ok, done, failed, arg_text(a, "pool"));
}

static bool cmd_pool_start(struct shell *sh, const struct args *a)
{
	return !args_exclude(sh, a, "overwrite", "no-overwrite") &&
	       act(sh, a, "storage_pool_create", flags_of(a, build_flags), "Pool %s started", "Failed to start pool %s");
}

static bool cmd_pool_build(struct shell *sh, const struct args *a)
{
	enum { NO_OVERWRITE = 4, OVERWRITE = 8 };
	int flags = (arg_on(a, "overwrite") ? OVERWRITE : 0) | (arg_on(a, "no-overwrite") ? NO_OVERWRITE : 0);

	return !args_exclude(sh, a, "overwrite", "no-overwrite") &&
	       act(sh, a, "storage_pool_build", flags, "Pool %s built", "Failed to build pool %s");
}

static bool cmd_pool_destroy(struct shell *sh, const struct args *a)
{
	return act(sh, a, "storage_pool_destroy", -1, "Pool %s destroyed", "Failed to destroy pool %s");
}

static bool cmd_pool_delete(struct shell *sh, const struct args *a)
{
	return act(sh, a, "storage_pool_delete", 0, "Pool %s deleted", "Failed to delete pool %s");
}

static bool cmd_pool_undefine(struct shell *sh, const struct args *a)
{
	return act(sh, a, "storage_pool_undefine", -1, "Pool %s has been undefined", "Failed to undefine pool %s");
}

static bool cmd_pool_refresh(struct shell *sh, const struct args *a)
{
	return act(sh, a, "storage_pool_refresh", 0, "Pool %s refreshed", "Failed to refresh pool %s");
}

static bool cmd_pool_autostart(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) pool = find_pool(sh, a, "pool");
	bool off = arg_on(a, "disable");

	return pool && finish(sh, tell(sh, "storage_pool_set_autostart", "(@" POOL "i)", pool, !off),
			      off ? "Pool %s unmarked as autostarted" : "Pool %s marked as autostarted",
			      off ? "failed to unmark pool %s as autostarted" : "failed to mark pool %s as autostarted",
			      arg_text(a, "pool"));
}

static char *stored_description(struct shell *sh, const struct edit *e)
{
	return stored_xml(sh, "storage_pool_get_xml_desc", e->object);
}

static GVariant *define_again(struct shell *sh, const struct edit *e, const char *xml, bool relaxed)
{
	return ask(sh, "storage_pool_define_xml", "(su)", xml, 0);
}

static bool cmd_pool_edit(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) pool = find_pool(sh, a, "pool");
	struct edit edit = { stored_description,
			     define_again,
			     pool,
			     false,
			     "Pool %s XML configuration not changed.",
			     "Pool %s XML configuration edited." };

	return pool && edit_object(sh, &edit, object_name(pool));
}

static bool cmd_pool_capabilities(struct shell *sh, const struct args *a)
{
	g_autofree char *xml = ask_text(sh, "connect_get_storage_pool_capabilities", "(u)", 0);

	if (!xml)
		return shell_error(sh, "failed to get storage pool capabilities");
	say(sh, "%s\n", xml);
	return true;
}

static bool say_sources(struct shell *sh, const char *type, const char *spec)
{
	g_autofree char *xml = ask_text(sh, "connect_find_storage_pool_sources", "(smsu)", type, spec, 0);

	if (!xml)
		return shell_error(sh, "Failed to find any %s pool sources", type);
	say(sh, "%s", xml);
	return true;
}

static bool cmd_find_storage_pool_sources(struct shell *sh, const struct args *a)
{
	g_autofree char *spec = arg_on(a, "srcSpec") ? read_file(sh, arg_text(a, "srcSpec")) : NULL;

	return (spec || !arg_on(a, "srcSpec")) && say_sources(sh, arg_text(a, "type"), spec);
}

static bool cmd_find_storage_pool_sources_as(struct shell *sh, const struct args *a)
{
	g_autoptr(GString) spec = g_string_new(NULL);

	if (!arg_on(a, "host"))
		return arg_on(a, "port") || arg_on(a, "initiator") ? shell_error(sh, "--port and --initiator need --host")
								   : say_sources(sh, arg_text(a, "type"), NULL);
	g_string_append(spec, "<source>\n");
	xml_add(spec, "  <host name='%s'", arg_text(a, "host"));
	xml_add(spec, " port='%s'", arg_text(a, "port"));
	g_string_append(spec, "/>\n");
	xml_add(spec, "  <initiator>\n    <iqn name='%s'/>\n  </initiator>\n", arg_text(a, "initiator"));
	g_string_append(spec, "</source>\n");
	return say_sources(sh, arg_text(a, "type"), spec->str);
}

static bool cmd_pool_event(struct shell *sh, const struct args *a)
{
	return watch_objects(sh, a, EVENTS_OF_POOLS);
}

const struct command pool_commands[] = {
	{ "find-storage-pool-sources-as", cmd_find_storage_pool_sources_as,
	  "<type> [--host <string>] [--port <string>] [--initiator <string>]", "where pools could be made of, by options" },
	{ "find-storage-pool-sources", cmd_find_storage_pool_sources, "<type> [--srcSpec <string>]",
	  "where pools could be made of, by XML" },
	{ "pool-autostart", cmd_pool_autostart, "<pool> [--disable]", "start a pool with the server, or not" },
	{ "pool-build", cmd_pool_build, "<pool> [--no-overwrite] [--overwrite]", "make what a pool is on" },
	{ "pool-create-as", cmd_pool_create_as,
	  "<name> <type> [--print-xml] [--source-host <string>] [--source-path <string>] [--source-dev <string>] "
	  "[--source-name <string>] [--target <string>] [--source-format <string>] [--auth-type <string>] "
	  "[--auth-username <string>] [--secret-usage <string>] [--secret-uuid <string>] [--adapter-name <string>] "
	  "[--adapter-wwnn <string>] [--adapter-wwpn <string>] [--adapter-parent <string>] [--adapter-parent-wwnn "
	  "<string>] [--adapter-parent-wwpn <string>] [--adapter-parent-fabric-wwn <string>] [--source-protocol-ver "
	  "<string>] [--source-initiator <string>] [--build] [--no-overwrite] [--overwrite]",
	  "a pool from options, which is active at once" },
	{ "pool-create", cmd_pool_create, "<file> [--build] [--no-overwrite] [--overwrite]",
	  "a pool from an XML file, which is active at once" },
	{ "pool-define-as", cmd_pool_define_as,
	  "<name> <type> [--print-xml] [--source-host <string>] [--source-path <string>] [--source-dev <string>] "
	  "[--source-name <string>] [--target <string>] [--source-format <string>] [--auth-type <string>] "
	  "[--auth-username <string>] [--secret-usage <string>] [--secret-uuid <string>] [--adapter-name <string>] "
	  "[--adapter-wwnn <string>] [--adapter-wwpn <string>] [--adapter-parent <string>] [--adapter-parent-wwnn "
	  "<string>] [--adapter-parent-wwpn <string>] [--adapter-parent-fabric-wwn <string>] [--source-protocol-ver "
	  "<string>] [--source-initiator <string>]",
	  "a pool from options, which is not active yet" },
	{ "pool-define", cmd_pool_define, "<file> [--validate]", "a pool from an XML file, which is not active yet" },
	{ "pool-delete", cmd_pool_delete, "<pool>", "delete what a pool is on" },
	{ "pool-destroy", cmd_pool_destroy, "<pool>", "end a pool, and leave its data" },
	{ "pool-dumpxml", cmd_pool_dumpxml, "<pool> [--inactive] [--xpath <string>] [--wrap]", "a pool's description as XML" },
	{ "pool-edit", cmd_pool_edit, "<pool>", "change a pool's XML in an editor" },
	{ "pool-info", cmd_pool_info, "<pool> [--bytes]", "the basic facts about a pool" },
	{ "pool-list", cmd_pool_list,
	  "[--inactive] [--all] [--transient] [--persistent] [--autostart] [--no-autostart] [--type <string>] "
	  "[--details] [--uuid] [--name]",
	  "pools" },
	{ "pool-name", cmd_pool_name, "<pool>", "a pool's name" },
	{ "pool-refresh", cmd_pool_refresh, "<pool>", "look which volumes a pool has" },
	{ "pool-start", cmd_pool_start, "<pool> [--build] [--no-overwrite] [--overwrite]", "start a pool that is defined" },
	{ "pool-undefine", cmd_pool_undefine, "<pool>", "forget a pool" },
	{ "pool-uuid", cmd_pool_uuid, "<pool>", "a pool's UUID" },
	{ "pool-event", cmd_pool_event,
	  "[--pool <string>] [--event <string>] [--loop] [--timeout <number>] [--list] [--timestamp]", "what pools tell" },
	{ "pool-capabilities", cmd_pool_capabilities, NULL, "which kinds of pools there can be" },
	{},
};
