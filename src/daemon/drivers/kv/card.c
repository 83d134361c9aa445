/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of a card changes while its machine runs: its cable, and its port forwards, which come and go one by one, so that the
 * others' connections stay. See kv.h.
 */
#include <string.h>

#include "kv.h"

static bool move_cable(struct kv_machine *m, const char *alias, bool up, GError **error)
{
	JsonObject *args = kv_args("name", alias, NULL);

	json_object_set_boolean_member(args, "up", up);
	return kv_do(m, "set_link", args, error);
}

/* (waits) An answer with words says what was wrong. What goes is known by where it listens. */
static bool change_forward(struct kv_machine *m, const char *card, const char *rule, bool add, GError **error)
{
	g_autofree char *listener = g_strndup(rule, strcspn(rule, "-"));
	g_autofree char *line = g_strdup_printf("%s %s %s", add ? "hostfwd_add" : "hostfwd_remove", card, add ? rule : listener);
	g_autoptr(JsonNode) answer = kv_ask(m, "human-monitor-command", kv_args("command-line", line, NULL), error);
	const char *text = answer && JSON_NODE_HOLDS_VALUE(answer) ? json_node_get_string(answer) : NULL;
	g_autofree char *why = g_strchomp(g_strdup(text ? text : ""));

	if (!answer)
		return false;
	return (add ? !*why : g_str_has_suffix(why, "removed")) || rpc_fail(error, VIR_ERR_OPERATION_FAILED, "%s", why);
}

static bool has(const GPtrArray *list, const char *text)
{
	return g_ptr_array_find_with_equal_func((GPtrArray *)list, text, g_str_equal, NULL);
}

/* (waits) All of a that b has not; *ret_done: how many of a were gone through. */
static bool change_all(struct kv_machine *m, const char *card, const GPtrArray *a, const GPtrArray *b, bool add,
		       unsigned *ret_done, GError **error)
{
	for (*ret_done = 0; *ret_done < a->len; ++*ret_done)
		if (!has(b, a->pdata[*ret_done]) && !change_forward(m, card, a->pdata[*ret_done], add, error))
			return false;
	return true;
}

/* Listeners that go make room for those that come; on failure it is as before. */
static bool change_forwards(struct kv_machine *m, const char *alias, const xmlNode *before, const xmlNode *after, GError **error)
{
	g_autoptr(GPtrArray) old = g_ptr_array_new_with_free_func(g_free), new = g_ptr_array_new_with_free_func(g_free);
	unsigned gone = 0, come = 0;

	if (!command_forwards(before, old, NULL) || !command_forwards(after, new, error))
		return false;
	if (change_all(m, alias, old, new, false, &gone, error) && change_all(m, alias, new, old, true, &come, error))
		return true;
	for (unsigned i = 0; i < come; i++)
		if (!has(old, new->pdata[i]))
			change_forward(m, alias, new->pdata[i], false, NULL);
	for (unsigned i = 0; i < gone; i++)
		if (!has(new, old->pdata[i]))
			change_forward(m, alias, old->pdata[i], true, NULL);
	return false;
}

/* What stays as it is. */
static const struct {
	const char *path, *words;
} fixed[] = {
	{"@type", "cannot change the type of a network interface"},
	{"source/@network", "cannot change the network of an interface"},
	{"model/@type", "cannot modify network device model from %s to %s"},
	{"rom/@bar", "cannot modify network device rom bar setting"},
	{"rom/@file", "cannot modify network rom file"},
	{"boot/@order", "cannot modify network device boot index setting"},
};

static bool check_rest(const xmlNode *before, const xmlNode *after, GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(fixed); i++) {
		const char *was = xml_text(before, fixed[i].path), *is = xml_text(after, fixed[i].path);

		if (!g_strcmp0(was, is))
			continue;
		if (strstr(fixed[i].words, "%s"))
			return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "cannot modify network device model from %s to %s",
					was ? was : "(default)", is ? is : "(default)");
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "%s", fixed[i].words);
	}
	return true;
}

bool kv_update_card(struct kv_machine *m, const xmlNode *before, xmlNode *after, GError **error)
{
	bool was = !xml_is(before, "link/@state", "down"), is = !xml_is(after, "link/@state", "down");
	g_autofree char *alias = g_strdup(xml_text(before, "alias/@name") ?: "net0");

	return check_rest(before, after, error) && change_forwards(m, alias, before, after, error) &&
	       (was == is || move_cable(m, alias, is, error));
}
