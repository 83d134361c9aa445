/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What devices tell the machine's owner (notice.h): they do it in any thread and under their locks, the owner hears of it in the
 * main context. A guest can make as many as it likes; when too many wait, more are forgotten. Called by machine.c.
 */
#include "internal.h"

enum { WAITING_MAX = 256 };

struct note {
	enum machine_notice what;
	char *name;
	uint32_t value;
};

struct notices {
	const struct machine *machine;
	void (*tell)(void *opaque, enum machine_notice what, const char *name, uint32_t value);
	void *opaque;
	GMainContext *context;
	GMutex lock;
	GQueue waiting; /* of struct note */
	GSource *source; /* on its way, or NULL */
};

static void note_free(gpointer data)
{
	struct note *note = data;

	g_free(note->name);
	g_free(note);
}

static struct note *next(struct notices *n)
{
	struct note *note;

	g_mutex_lock(&n->lock);
	note = g_queue_pop_head(&n->waiting);
	if (!note)
		g_clear_pointer(&n->source, g_source_unref);
	g_mutex_unlock(&n->lock);
	return note;
}

static gboolean tell(gpointer opaque)
{
	struct notices *n = opaque;
	struct note *note;

	/* The main loop runs inside of a pause or reset: what follows from a notice may be one, too. */
	if (machine_busy(n->machine)) {
		g_source_set_priority(g_main_current_source(), G_PRIORITY_DEFAULT_IDLE);
		return G_SOURCE_CONTINUE;
	}
	note = next(n);

	if (!note)
		return G_SOURCE_REMOVE;
	n->tell(n->opaque, note->what, note->name, note->value);
	note_free(note);
	return G_SOURCE_CONTINUE;
}

struct notices *notices_new(const struct machine *m, const struct machine_config *config)
{
	struct notices *n = g_new0(struct notices, 1);

	n->tell = config->noticed;
	n->opaque = config->noticed_opaque;
	n->machine = m;
	n->context = m->core.context;
	g_mutex_init(&n->lock);
	g_queue_init(&n->waiting);
	return n;
}

void notices_add(struct notices *n, enum machine_notice what, const char *name, uint32_t value)
{
	if (!n->tell)
		return;
	g_mutex_lock(&n->lock);
	if (n->waiting.length < WAITING_MAX) {
		struct note *note = g_new(struct note, 1);

		*note = (struct note){what, g_strdup(name), value};
		g_queue_push_tail(&n->waiting, note);
	}
	if (!n->source) {
		n->source = g_idle_source_new();
		g_source_set_priority(n->source, G_PRIORITY_DEFAULT);
		g_source_set_callback(n->source, tell, n, NULL);
		g_source_attach(n->source, n->context);
	}
	g_mutex_unlock(&n->lock);
}

void notices_free(struct notices *n)
{
	if (!n)
		return;
	if (n->source)
		g_source_destroy(n->source);
	g_clear_pointer(&n->source, g_source_unref);
	g_queue_clear_full(&n->waiting, note_free);
	g_mutex_clear(&n->lock);
	g_free(n);
}
