/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls ahead: a list asks the same of every object, and a server answers a hundred such questions in little more than the time
 * of one when they are all on their way at once. What comes is kept until ask() wants it, so a list is written as if it asked one
 * object after the other; what did not come (a server that knows no such procedure, an object that has gone) is asked then, and
 * its error is told as ever. Called by the commands that list; shell.c takes from it.
 */
#include <string.h>

#include "ahead.h"

struct answer {
	GVariant *args, *answer;
};

static void answer_free(void *opaque)
{
	struct answer *a = opaque;

	g_variant_unref(a->args);
	g_variant_unref(a->answer);
	g_free(a);
}

static void queue_free(void *queue)
{
	g_queue_free_full(queue, answer_free);
}

void ahead_put(struct shell *sh, const char *procedure, GVariant *args, GVariant *answer)
{
	struct answer *a = g_new(struct answer, 1);
	GQueue *queue;

	if (!sh->ahead)
		sh->ahead = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, queue_free);
	queue = g_hash_table_lookup(sh->ahead, procedure);
	if (!queue) {
		queue = g_queue_new();
		g_hash_table_insert(sh->ahead, (char *)procedure, queue);
	}
	*a = (struct answer){ g_variant_ref_sink(args), g_variant_ref_sink(answer) };
	g_queue_push_tail(queue, a);
}

/* g_variant_equal() compares their texts. */
static bool same(GVariant *a, GVariant *b)
{
	gsize n = g_variant_get_size(a);

	return n == g_variant_get_size(b) && memcmp(g_variant_get_data(a), g_variant_get_data(b), n) == 0;
}

GVariant *ahead_take(struct shell *sh, const char *procedure, GVariant *args)
{
	GQueue *queue = sh->ahead ? g_hash_table_lookup(sh->ahead, procedure) : NULL;

	for (GList *l = queue && args ? queue->head : NULL; l; l = l->next) {
		struct answer *a = l->data;
		GVariant *answer;

		if (!same(a->args, args))
			continue;
		answer = g_variant_ref(a->answer);
		answer_free(a);
		g_queue_delete_link(queue, l);
		return answer;
	}
	return NULL;
}

void ahead_forget(struct shell *sh)
{
	g_clear_pointer(&sh->ahead, g_hash_table_unref);
}

/* (object, what follows it…) */
static GVariant *arguments(GVariant *object, GVariant *rest)
{
	gsize n = rest ? g_variant_n_children(rest) : 0;
	g_autofree GVariant **parts = g_new(GVariant *, n + 1);
	GVariant *all;

	parts[0] = object;
	for (gsize i = 0; i < n; i++)
		parts[i + 1] = g_variant_get_child_value(rest, i);
	all = g_variant_ref_sink(g_variant_new_tuple(parts, n + 1));
	for (gsize i = 0; i < n; i++)
		g_variant_unref(parts[i + 1]);
	return all;
}

void ask_ahead(struct shell *sh, GPtrArray *objects, const char *procedure, GVariant *rest)
{
	g_autoptr(GVariant) sunk = rest ? g_variant_ref_sink(rest) : NULL;
	g_autoptr(GPtrArray) args = g_ptr_array_new_with_free_func((GDestroyNotify)g_variant_unref), answers = NULL;

	if (objects->len < 2 || !sh->conn)
		return;
	for (unsigned i = 0; i < objects->len; i++)
		g_ptr_array_add(args, arguments(g_ptr_array_index(objects, i), sunk));
	answers = kv_connection_call_each_sync(sh->conn, procedure, args, NULL, NULL);
	for (unsigned i = 0; answers && i < args->len; i++)
		if (g_ptr_array_index(answers, i))
			ahead_put(sh, procedure, g_ptr_array_index(args, i), g_ptr_array_index(answers, i));
}
