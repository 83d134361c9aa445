/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See complete.h. */
#include <string.h>

#include "args.h"
#include "complete.h"
#include "objects.h"

/* What lists the objects that an option names. */
static const struct {
	const char *option, *procedure;
	unsigned flags;
} lists[] = {
	{ "domain", "connect_list_all_domains", 3 },	  { "network", "connect_list_all_networks", 3 },
	{ "pool", "connect_list_all_storage_pools", 3 },  { "interface", "connect_list_all_interfaces", 3 },
	{ "device", "connect_list_all_node_devices", 0 }, { "nwfilter", "connect_list_all_nwfilters", 0 },
};

static const char *const file_options[] = { "file", "xml", "xmlfile", "config", "backupxml", "checkpointxml", "dir", NULL };

static void add_objects(struct shell *sh, GPtrArray *words, const char *option)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(lists); i++) {
		g_autoptr(GVariant) answer = NULL, list = NULL;

		if (strcmp(lists[i].option, option) != 0 || !sh->conn)
			continue;
		answer = ask(sh, lists[i].procedure, "(iu)", 1, lists[i].flags);
		list = first_of(answer);
		for (gsize k = 0; list && k < g_variant_n_children(list); k++) {
			g_autoptr(GVariant) object = g_variant_get_child_value(list, k);

			g_ptr_array_add(words, g_variant_is_of_type(object, G_VARIANT_TYPE_STRING)
						       ? g_variant_dup_string(object, NULL)
						       : g_strdup(object_name(object)));
		}
		forget_error(sh);
	}
}

/* The words of the command that the cursor is in; the last is what is being typed. */
static char **words_before(const char *line, size_t cursor)
{
	g_autofree char *text = g_strndup(line, cursor);
	const char *start = strrchr(text, ';');
	g_auto(GStrv) raw = g_strsplit_set(start ? start + 1 : text, " \t", -1);
	GPtrArray *words = g_ptr_array_new();

	for (char **w = raw; *w; w++)
		if (**w || !w[1])
			g_ptr_array_add(words, g_strdup(*w));
	if (!words->len)
		g_ptr_array_add(words, g_strdup(""));
	g_ptr_array_add(words, NULL);
	return (char **)g_ptr_array_free(words, FALSE);
}

/* The option whose value is being typed; NULL: none. */
static const struct arg *value_of(GArray *list, char **words)
{
	unsigned n = g_strv_length(words), place = 0;
	const char *before = n > 2 ? words[n - 2] : "";

	for (unsigned i = 0; i < list->len; i++) {
		const struct arg *arg = &g_array_index(list, struct arg, i);

		if (g_str_has_prefix(before, "--") && strcmp(before + 2, arg->name) == 0 && arg->kind != ARG_SWITCH)
			return arg;
	}
	for (unsigned w = 1; w + 1 < n; w++)
		place += !g_str_has_prefix(words[w], "--");
	for (unsigned i = 0; i < list->len; i++) {
		const struct arg *arg = &g_array_index(list, struct arg, i);

		if (arg->kind == ARG_LIST || (arg->kind != ARG_SWITCH && place-- == 0))
			return arg;
	}
	return NULL;
}

char **complete_words(struct shell *sh, const char *line, size_t cursor)
{
	g_auto(GStrv) words = words_before(line, cursor);
	GPtrArray *found = g_ptr_array_new();
	const struct command *c = command_named(words[0]);

	if (!words[1]) {
		for (const struct group *g = groups; g->keyword; g++)
			for (const struct command *each = g->commands; each->name; each++)
				g_ptr_array_add(found, g_strdup(each->name));
	} else if (c) {
		g_autoptr(GArray) list = args_of(c->synopsis);
		const struct arg *value = value_of(list, words);

		if (value && !g_str_has_prefix(words[g_strv_length(words) - 1], "-"))
			add_objects(sh, found, value->name);
		for (unsigned i = 0; i < list->len && (!value || g_str_has_prefix(words[g_strv_length(words) - 1], "-")); i++)
			g_ptr_array_add(found, g_strdup_printf("--%s", g_array_index(list, struct arg, i).name));
	}
	g_ptr_array_add(found, NULL);
	return (char **)g_ptr_array_free(found, FALSE);
}

bool complete_wants_file(const char *line, size_t start)
{
	g_auto(GStrv) words = words_before(line, start);
	const struct command *c = words[1] ? command_named(words[0]) : NULL;
	g_autoptr(GArray) list = c ? args_of(c->synopsis) : NULL;
	const struct arg *value = c ? value_of(list, words) : NULL;

	return value && g_strv_contains(file_options, value->name);
}
