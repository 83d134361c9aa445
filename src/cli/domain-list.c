/* SPDX-License-Identifier: GPL-2.0-or-later */
/* list and domstats: what there is of all domains at once. */
#include <string.h>

#include "ahead.h"
#include "args.h"
#include "monitor.h"
#include "objects.h"
#include "rpc/message.h"

enum { LIST_ACTIVE = 1, LIST_INACTIVE = 2, LIST_RUNNING = 16, LIST_PAUSED = 32, LIST_SHUTOFF = 64, METADATA_TITLE = 1 };
enum { UUID_LEN = 16 };

static const struct flag list_flags[] = {
	{ "persistent", 1 << 2 },
	{ "transient", 1 << 3 },
	{ "state-running", 1 << 4 },
	{ "state-paused", 1 << 5 },
	{ "state-shutoff", 1 << 6 },
	{ "state-other", 1 << 7 },
	{ "with-managed-save", 1 << 8 },
	{ "without-managed-save", 1 << 9 },
	{ "autostart", 1 << 10 },
	{ "no-autostart", 1 << 11 },
	{ "with-snapshot", 1 << 12 },
	{ "without-snapshot", 1 << 13 },
	{ "with-checkpoint", 1 << 14 },
	{ "without-checkpoint", 1 << 15 },
	{},
};

static const struct flag stats_flags[] = {
	{ "state", 1 << 0 },	 { "cpu-total", 1 << 1 }, { "balloon", 1 << 2 }, { "vcpu", 1 << 3 },
	{ "interface", 1 << 4 }, { "block", 1 << 5 },	  { "perf", 1 << 6 },	 { "iothread", 1 << 7 },
	{ "memory", 1 << 8 },	 { "dirtyrate", 1 << 9 }, { "vm", 1 << 10 },	 {},
};

static const struct flag stats_list_flags[] = {
	{ "list-active", 1 << 0 },  { "list-inactive", 1 << 1 }, { "list-persistent", 1 << 2 }, { "list-transient", 1 << 3 },
	{ "list-running", 1 << 4 }, { "list-paused", 1 << 5 },	 { "list-shutoff", 1 << 6 },	{ "list-other", 1 << 7 },
	{ "nowait", 1 << 29 },	    { "backing", 1 << 30 },	 { "enforce", 1u << 31 },	{},
};

/* Those that run by their IDs, then the others by their names. */
static int compare(const void *a, const void *b)
{
	const struct sort_key *x = a, *y = b;

	if (x->id == -1 && y->id == -1)
		return g_ascii_strcasecmp(x->name, y->name);
	if (x->id == -1 || y->id == -1)
		return x->id == -1 ? 1 : -1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static char *title_of(struct shell *sh, GVariant *dom)
{
	char *title = ask_text(sh, "domain_get_metadata", "(@" DOMAIN "imsu)", dom, METADATA_TITLE, NULL, 0);

	if (!title && error_code(sh) == VIR_ERR_NO_SUPPORT) {
		g_autoptr(node) xml = domain_xml(sh, dom, 0);

		title = node_text(node_get(xml, "title"));
	}
	forget_error(sh);
	return title ? title : g_strdup("");
}

/* ---- states ---- */

/* UUID -> state, of what was listed so; the keys are within lists. */
struct states {
	GHashTable *by_uuid;
	GPtrArray *lists;
};

static unsigned uuid_hash(const void *uuid)
{
	guint32 word;

	memcpy(&word, uuid, sizeof(word));
	return word;
}

static gboolean uuid_equal(const void *a, const void *b)
{
	return memcmp(a, b, UUID_LEN) == 0;
}

static const void *uuid_of(GVariant *dom)
{
	g_autoptr(GVariant) value = g_variant_get_child_value(dom, 1);
	gsize n;

	return g_variant_get_fixed_array(value, &n, 1);
}

static void states_add(struct states *s, GVariant *answer, int state)
{
	GVariant *list = first_of(answer);

	g_ptr_array_add(s->lists, list);
	for (gsize i = 0; i < g_variant_n_children(list); i++) {
		g_autoptr(GVariant) dom = g_variant_get_child_value(list, i);

		g_hash_table_insert(s->by_uuid, (void *)uuid_of(dom), GINT_TO_POINTER(state));
	}
}

static void states_free(struct states *s)
{
	g_hash_table_unref(s->by_uuid);
	g_ptr_array_unref(s->lists);
}

/*
 * A server of any age filters its list by state, which tells the states of a thousand domains in three calls. A domain that is in
 * none of these, since its state is a rare one, or changed meanwhile, is asked by itself.
 */
static void states_ask(struct shell *sh, struct states *s, GPtrArray *all)
{
	static const struct {
		unsigned flag;
		int state;
	} filters[] = { { LIST_RUNNING, STATE_RUNNING }, { LIST_PAUSED, STATE_PAUSED }, { LIST_SHUTOFF, STATE_SHUTOFF } };
	g_autoptr(GPtrArray) others = g_ptr_array_new();

	for (unsigned i = 0; i < G_N_ELEMENTS(filters) && all->len > G_N_ELEMENTS(filters); i++) {
		g_autoptr(GVariant) answer = ask(sh, "connect_list_all_domains", "(iu)", 1, filters[i].flag);

		if (answer)
			states_add(s, answer, filters[i].state);
	}
	for (unsigned i = 0; i < all->len; i++)
		if (!g_hash_table_contains(s->by_uuid, uuid_of(g_ptr_array_index(all, i))))
			g_ptr_array_add(others, g_ptr_array_index(all, i));
	ask_ahead(sh, others, "domain_get_state", g_variant_new("(u)", 0));
	forget_error(sh);
}

static const char *state_of(struct shell *sh, const struct states *states, GVariant *dom, bool with_saved)
{
	int state, reason, saved = 0;
	gpointer known;

	if (g_hash_table_lookup_extended(states->by_uuid, uuid_of(dom), NULL, &known))
		state = GPOINTER_TO_INT(known);
	else if (!domain_state(sh, dom, &state, &reason))
		state = STATE_NONE;
	if (with_saved && state == STATE_SHUTOFF)
		ask_int(sh, &saved, "domain_has_managed_save_image", "(@" DOMAIN "u)", dom, 0);
	forget_error(sh);
	return saved > 0 ? "saved" : domain_state_name(state);
}

/* What the rows will ask for. */
static void ask_for_rows(struct shell *sh, const struct args *a, GPtrArray *all)
{
	if (arg_on(a, "title"))
		ask_ahead(sh, all, "domain_get_metadata", g_variant_new("(imsu)", METADATA_TITLE, NULL, 0));
	if (arg_on(a, "managed-save"))
		ask_ahead(sh, all, "domain_has_managed_save_image", g_variant_new("(u)", 0));
}

static void say_table(struct shell *sh, const struct args *a, GPtrArray *all)
{
	bool titles = arg_on(a, "title");
	struct table *t = table_new("Id", "Name", "State", titles ? "Title" : NULL, NULL);
	struct states states = { g_hash_table_new(uuid_hash, uuid_equal),
				 g_ptr_array_new_with_free_func((GDestroyNotify)g_variant_unref) };

	states_ask(sh, &states, all);
	ask_for_rows(sh, a, all);
	for (unsigned i = 0; i < all->len; i++) {
		GVariant *dom = g_ptr_array_index(all, i);
		g_autofree char *title = titles ? title_of(sh, dom) : NULL;
		char id[16] = "-";

		if (domain_id(dom) != -1)
			g_snprintf(id, sizeof(id), "%d", domain_id(dom));
		table_add(t, id, domain_name(dom), state_of(sh, &states, dom, arg_on(a, "managed-save")), title, NULL);
	}
	table_say(sh, t);
	states_free(&states);
}

static void say_words(struct shell *sh, const struct args *a, GPtrArray *all)
{
	for (unsigned i = 0; i < all->len; i++) {
		GVariant *dom = g_ptr_array_index(all, i);
		g_autofree char *uuid = object_uuid(dom), *id = g_strdup_printf("%d", domain_id(dom));
		const char *words[4] = {};
		unsigned n = 0;
		g_autofree char *line = NULL;

		if (arg_on(a, "uuid"))
			words[n++] = uuid;
		if (arg_on(a, "id"))
			words[n++] = domain_id(dom) == -1 ? "-" : id;
		if (arg_on(a, "name"))
			words[n++] = domain_name(dom);
		/* IDs alone are those of domains that run. */
		if (n == 1 && arg_on(a, "id") && domain_id(dom) == -1)
			continue;
		line = g_strjoinv(" ", (char **)words);
		say(sh, "%s\n", line);
	}
}

bool cmd_list(struct shell *sh, const struct args *a)
{
	unsigned flags = flags_of(a, list_flags);
	bool off = arg_on(a, "state-shutoff"); /* no domain that runs is so */
	bool words = arg_on(a, "uuid") || arg_on(a, "name") || arg_on(a, "id");
	g_autoptr(GPtrArray) all = NULL;
	g_autoptr(GVariant) answer = NULL;

	if (args_exclude(sh, a, "table", "name") || args_exclude(sh, a, "table", "uuid") || args_exclude(sh, a, "table", "id"))
		return false;
	flags |= arg_on(a, "all")		      ? LIST_ACTIVE | LIST_INACTIVE
		 : arg_on(a, "inactive") || off ? LIST_INACTIVE
						      : LIST_ACTIVE;
	answer = ask(sh, "connect_list_all_domains", "(iu)", 1, flags);
	if (!answer)
		return shell_error(sh, "Failed to list domains");
	all = sorted_by(answer, compare);
	if (words && !arg_on(a, "table"))
		say_words(sh, a, all);
	else
		say_table(sh, a, all);
	return true;
}

/* ---- domstats ---- */

static void say_record(struct shell *sh, GVariant *record)
{
	g_autoptr(GVariant) dom = g_variant_get_child_value(record, 0), params = g_variant_get_child_value(record, 1);
	json_t *object = sh->json ? json_object() : NULL;
	const char *name;
	GVariantIter iter;
	GVariant *value;

	say(sh, "Domain: '%s'\n", domain_name(dom));
	g_variant_iter_init(&iter, params);
	while (g_variant_iter_next(&iter, "(&sv)", &name, &value)) {
		g_autofree char *text = param_text(value);

		say(sh, "  %s=%s\n", name, text);
		if (object)
			json_object_set_new(object, name, json_string(text));
		g_variant_unref(value);
	}
	if (!object)
		return;
	if (!sh->value)
		sh->value = json_object();
	json_object_set_new(sh->value, domain_name(dom), object);
}

bool cmd_domstats(struct shell *sh, const struct args *a)
{
	unsigned stats = flags_of(a, stats_flags);
	unsigned flags = flags_of(a, stats_list_flags);
	char *const *names = arg_list(a, "domain");
	g_autoptr(GVariant) answer = NULL, records = NULL;
	GVariantBuilder doms;

	g_variant_builder_init(&doms, G_VARIANT_TYPE("a" DOMAIN));
	for (; names && *names; names++) {
		g_autoptr(GVariant) dom = find_domain_text(sh, *names);

		if (!dom) {
			g_variant_builder_clear(&doms);
			return false;
		}
		g_variant_builder_add_value(&doms, dom);
	}
	answer = ask(sh, "connect_get_all_domain_stats", "(a" DOMAIN "uu)", &doms, stats, flags);
	records = first_of(answer);
	for (gsize i = 0; records && i < g_variant_n_children(records); i++) {
		g_autoptr(GVariant) record = g_variant_get_child_value(records, i);

		if (i)
			say(sh, "\n");
		say_record(sh, record);
	}
	return answer;
}
