/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names under their parents, as snapshot-list --tree and nodedev-list --tree show them. */
#include <string.h>

#include "tree.h"

struct tree {
	struct shell *sh;
	char *const *names;
	char *const *parents;
	unsigned n;
	bool *said; /* a server may say that one is below itself, or give several the same name */
	GString *indent;
	unsigned depth;
};

enum { DEPTH_MAX = 200 }; /* of a server's word for who is whose parent */

static bool is_below(const struct tree *t, unsigned k, unsigned i)
{
	return !t->said[k] && t->parents[k] && strcmp(t->parents[k], t->names[i]) == 0;
}

static void say_one(struct tree *t, unsigned i, bool is_last, bool is_root)
{
	size_t before = t->indent->len;
	int last = -1;

	t->said[i] = true;
	say(t->sh, "%s%s%s\n", t->indent->str, is_root ? "" : "+- ", t->names[i]);
	if (!is_root)
		g_string_append(t->indent, is_last ? "  " : "| ");
	for (unsigned k = 0; k < t->n; k++)
		if (is_below(t, k, i))
			last = k;
	if (last >= 0)
		say(t->sh, "%s  |\n", t->indent->str);
	g_string_append(t->indent, "  ");
	for (unsigned k = 0; k < t->n && t->depth < DEPTH_MAX; k++)
		if (is_below(t, k, i)) {
			t->depth++;
			say_one(t, k, (int)k == last, false);
			t->depth--;
		}
	g_string_truncate(t->indent, t->indent->len - 2);
	if (last < 0 && is_last)
		say(t->sh, "%s\n", t->indent->str);
	g_string_truncate(t->indent, before);
}

void say_tree(struct shell *sh, char *const *names, char *const *parents, unsigned n)
{
	g_autofree bool *said = g_new0(bool, n + 1);
	struct tree t = { sh, names, parents, n, said, g_string_new(NULL) };

	for (unsigned i = 0; i < n; i++)
		if (!parents[i])
			say_one(&t, i, i == n - 1, true);
	g_string_free(t.indent, TRUE);
}
