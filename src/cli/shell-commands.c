/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about kvsh itself, and the groups of all commands. */
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "args.h"
#include "complete.h"
#include "shell.h"

/* ---- help ---- */

static const struct {
	const char *name, *help;
} option_texts[] = {
	{ "domain", "its name, ID or UUID" },
	{ "network", "its name or UUID" },
	{ "pool", "its name or UUID" },
	{ "vol", "its name, key or path" },
	{ "file", "a file; of a description: XML, - for standard input" },
	{ "config", "the stored configuration, from the next start on" },
	{ "live", "the running domain" },
	{ "current", "the domain as it is now" },
	{ "persistent", "the running domain, if it runs, and the configuration" },
	{ "print-xml", "only show what would be done, as XML" },
	{ "validate", "check the description against the schema" },
	{ "xpath", "only what this XPath finds" },
	{ "wrap", "put what the XPath finds into one element" },
	{ "inactive", "those that do not run; of a description: what holds from the next start on" },
	{ "all", "all of them" },
	{ "uuid", "UUIDs alone" },
	{ "name", "names alone; of something new: its name" },
	{ "table", "a table, which is the default" },
	{ "loop", "go on after the first event" },
	{ "timeout", "seconds to wait" },
	{ "timestamp", "say when each came" },
	{ "list", "the kinds that there are" },
	{ "event", "which kind" },
	{ "bytes", "exact numbers" },
	{ "human", "numbers with units" },
	{ "disable", "not any more" },
};

static void say_option(struct shell *sh, const struct arg *arg)
{
	const char *text = "";
	g_autofree char *shown =
		arg->kind == ARG_SWITCH ? g_strdup_printf("--%s", arg->name)
		: arg->required		? g_strdup_printf("[--%s] <%s>", arg->name, arg->kind == ARG_NUMBER ? "number" : "string")
					: g_strdup_printf("--%s <%s>", arg->name, arg->kind == ARG_NUMBER ? "number" : "string");

	for (unsigned i = 0; i < G_N_ELEMENTS(option_texts); i++)
		if (strcmp(option_texts[i].name, arg->name) == 0)
			text = option_texts[i].help;
	if (*text)
		say(sh, "    %-15s  %s\n", shown, text);
	else
		say(sh, "    %s\n", shown);
}

static bool help_command(struct shell *sh, const struct command *c)
{
	g_autoptr(GArray) list = args_of(c->synopsis);

	say(sh, "  NAME\n    %s - %s\n", c->name, c->help);
	say(sh, "\n  SYNOPSIS\n    %s%s%s\n", c->name, c->synopsis ? " " : "", c->synopsis ? c->synopsis : "");
	say(sh, "\n  DESCRIPTION\n    %s: see kvsh(1).\n", c->help);
	if (list->len)
		say(sh, "\n  OPTIONS\n");
	for (unsigned i = 0; i < list->len; i++)
		say_option(sh, &g_array_index(list, struct arg, i));
	say(sh, "\n");
	return true;
}

static void help_group(struct shell *sh, const struct group *g)
{
	say(sh, " %s (help keyword '%s'):\n", g->title, g->keyword);
	for (const struct command *c = g->commands; c->name; c++)
		if (!c->is_hidden)
			say(sh, "    %-30s %s\n", c->name, c->help);
	say(sh, "\n");
}

static bool cmd_help(struct shell *sh, const struct args *a)
{
	const char *what = arg_text(a, "command");

	if (what && command_named(what))
		return help_command(sh, command_named(what));
	if (!what)
		say(sh, "Grouped commands:\n\n");
	for (const struct group *g = groups; g->keyword; g++) {
		if (!what || g_ascii_strcasecmp(what, g->keyword) == 0 || g_ascii_strcasecmp(what, g->title) == 0) {
			help_group(sh, g);
			if (what)
				return true;
		}
	}
	return !what || shell_error(sh, "command or command group '%s' doesn't exist", what);
}

/* ---- the rest ---- */

static bool cmd_cd(struct shell *sh, const struct args *a)
{
	const char *dir = arg_text(a, "dir");

	if (!sh->interactive)
		return shell_error(sh, "cd: command valid only in interactive mode");
	dir = dir ? dir : g_get_home_dir();
	return chdir(dir) == 0 || shell_error(sh, "cd: %s: %s", g_strerror(errno), dir);
}

static bool cmd_pwd(struct shell *sh, const struct args *a)
{
	g_autofree char *dir = g_get_current_dir();

	say(sh, "%s\n", dir);
	return true;
}

static bool cmd_echo(struct shell *sh, const struct args *a)
{
	g_autoptr(GString) out = g_string_new(NULL);
	char *const *words = arg_list(a, "string"), *const *first = words;

	if (args_exclude(sh, a, "shell", "xml"))
		return false;
	for (; words && *words; words++) {
		g_autofree char *text = g_strdup(*words);

		if (arg_on(a, "shell")) {
			g_autofree char *plain = g_steal_pointer(&text);

			text = strspn(plain, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=./:@%+,") ==
						       strlen(plain) &&
					       *plain
				       ? g_strdup(plain)
				       : g_shell_quote(plain);
		}
		if (arg_on(a, "xml")) {
			g_autofree char *plain = g_steal_pointer(&text);

			text = g_markup_escape_text(plain, -1);
		}
		g_string_append_printf(out, "%s%s%s", words > first ? " " : "", text, *text && arg_on(a, "split") ? "\n" : "");
	}
	if (arg_on(a, "err"))
		return shell_error(sh, "%s", out->str), true;
	say(sh, "%s", out->str);
	return true;
}

/* What may follow words, for the shell's completion: the last is what is being typed. */
static bool cmd_complete(struct shell *sh, const struct args *a)
{
	static char *none[] = { "", NULL };
	char *const *words = arg_list(a, "string");
	g_auto(GStrv) found = NULL;

	words = words ? words : none;
	found = complete_command(sh, words);
	for (char **f = found; *f; f++)
		if (g_str_has_prefix(*f, words[g_strv_length((char **)words) - 1]))
			say(sh, "%s\n", *f);
	return true;
}

static bool cmd_quit(struct shell *sh, const struct args *a)
{
	sh->stop = true;
	return true;
}

/* Without a name it is the same server again; one that cannot be reached is forgotten. */
static bool cmd_connect(struct shell *sh, const struct args *a)
{
	const char *name = arg_text(a, "name");
	g_autofree char *before = g_strdup(sh->uri);
	bool looked = sh->read_only;

	g_clear_object(&sh->conn);
	if (name) {
		g_free(sh->uri);
		sh->uri = g_strdup(name);
	}
	sh->read_only = arg_on(a, "readonly") || (!name && looked);
	if (shell_connect(sh))
		return true;
	sh->read_only = looked;
	g_free(sh->uri);
	sh->uri = g_steal_pointer(&before);
	return false;
}

const struct command shell_commands[] = {
	{ "cd", cmd_cd, "[--dir <string>]", "another folder to work in", .no_connection = true },
	{ "echo", cmd_echo, "[--shell] [--xml] [--split] [--err] [<string>]...", "say words", .no_connection = true },
	{ "exit", cmd_quit, NULL, "leave", .no_connection = true },
	{ "help", cmd_help, "[--command <string>]", "what a command or a group does", .no_connection = true },
	{ "pwd", cmd_pwd, NULL, "which folder this is", .no_connection = true },
	{ "quit", cmd_quit, NULL, "leave", .no_connection = true },
	{ "complete", cmd_complete, "[<string>]...", "what may follow", .no_connection = true, .is_hidden = true },
	{ "connect", cmd_connect, "[--name <string>] [--readonly]", "another server", .no_connection = true },
	{},
};

const struct group groups[] = {
	{ "domain", "Domain Management", domain_commands },
	{ "monitor", "Domain Monitoring", monitor_commands },
	{ "events", "Domain Events", event_commands },
	{ "host", "Host and Hypervisor", host_commands },
	{ "checkpoint", "Checkpoint", checkpoint_commands },
	{ "interface", "Interface", interface_commands },
	{ "filter", "Network Filter", filter_commands },
	{ "network", "Networking", network_commands },
	{ "snapshot", "Snapshot", snapshot_commands },
	{ "nodedev", "Node Device", nodedev_commands },
	{ "secret", "Secret", secret_commands },
	{ "backup", "Backup", backup_commands },
	{ "pool", "Storage Pool", pool_commands },
	{ "volume", "Storage Volume", volume_commands },
	{ "kvsh", "kvsh itself", shell_commands },
	{},
};
