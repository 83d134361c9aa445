/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See work.h. */
#include "work.h"

struct work_source {
	GSource base;
	struct work *w;
};

static gboolean dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	struct work *w = ((struct work_source *)source)->w;

	g_source_set_ready_time(source, -1);
	if (!w->paused)
		w->run(w->opaque);
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_funcs = {.dispatch = dispatch};

void work_init(struct work *w, GMainContext *context, void (*run)(void *opaque), void (*hurry)(void *opaque), void *opaque)
{
	*w = (struct work){.context = context, .run = run, .hurry = hurry, .opaque = opaque};
	w->source = g_source_new(&source_funcs, sizeof(struct work_source));
	((struct work_source *)w->source)->w = w;
	/* Without this GLib blocks and unblocks the source's descriptors, which it does not have, at each turn. */
	g_source_set_can_recurse(w->source, TRUE);
	g_source_attach(w->source, context);
}

void work_kick(struct work *w)
{
	g_source_set_ready_time(w->source, 0);
}

void work_begin(struct work *w)
{
	__atomic_add_fetch(&w->busy, 1, __ATOMIC_ACQ_REL);
}

void work_end(struct work *w)
{
	__atomic_sub_fetch(&w->busy, 1, __ATOMIC_ACQ_REL);
}

unsigned work_busy(const struct work *w)
{
	return __atomic_load_n(&w->busy, __ATOMIC_ACQUIRE);
}

void work_pause(struct work *w)
{
	w->paused = true;
	if (work_busy(w) && w->hurry)
		w->hurry(w->opaque);
	while (work_busy(w))
		g_main_context_iteration(w->context, TRUE);
}

void work_resume(struct work *w)
{
	w->paused = false;
	work_kick(w);
}

void work_destroy(struct work *w)
{
	if (!w->source)
		return;
	work_pause(w);
	g_source_destroy(w->source);
	g_clear_pointer(&w->source, g_source_unref);
}
