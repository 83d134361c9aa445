/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See workers.h. Called by dispatch.c. */
#include "workers.h"

#include "config.h"
#include "dispatch.h"

enum { IDLE_SECONDS = 20 };

struct work {
	struct call *call; /* NULL: func */
	GVariant *args;
	void (*func)(void *data);
	void *data;
	bool looks;
};

/* One for each kind of worker. */
static struct pool {
	GCond more;
	unsigned n, idle;
	unsigned called; /* of the idle ones: woken for something, and not there yet */
	bool priority;
} pools[] = { { .priority = false }, { .priority = true } };
static GQueue queue = G_QUEUE_INIT;

static struct work *next(const struct pool *p)
{
	for (GList *l = queue.head; l; l = l->next) {
		struct work *w = l->data;

		if (p->priority && !w->looks)
			continue;
		g_queue_delete_link(&queue, l);
		return w;
	}
	return NULL;
}

static gpointer worker(gpointer data)
{
	struct pool *p = data;
	struct work *w;

	state_acquire();
	for (bool late = false;;) {
		while ((w = next(p))) {
			late = false;
			if (w->call)
				dispatch_run(w->call, w->args);
			else
				w->func(w->data);
			g_free(w);
		}
		if (late)
			break;
		p->idle++;
		late = !state_wait(&p->more, g_get_monotonic_time() + IDLE_SECONDS * G_USEC_PER_SEC);
		p->idle--;
		p->called -= p->called > 0;
	}
	p->n--;
	state_release();
	return NULL;
}

static bool wake(struct pool *p)
{
	/* One that was called for something else may have to wait in the middle of it. */
	if (p->idle > p->called) {
		p->called++;
		state_signal(&p->more);
		return true;
	}
	if (p->n >= (p->priority ? config.prio_workers : config.max_workers))
		return false;
	p->n++;
	g_thread_unref(g_thread_new(p->priority ? "kvd-looks" : "kvd-works", worker, p));
	return true;
}

static void push(struct work work)
{
	g_queue_push_tail(&queue, g_memdup2(&work, sizeof(work)));
	if (!wake(&pools[0]) && work.looks)
		wake(&pools[1]);
}

void workers_push(struct call *call, GVariant *args, bool looks)
{
	push((struct work){ .call = call, .args = args, .looks = looks });
}

void workers_run(void (*func)(void *data), void *data)
{
	push((struct work){ .func = func, .data = data });
}

bool workers_are_idle(void)
{
	return !queue.length && pools[0].idle == pools[0].n && pools[1].idle == pools[1].n;
}
