/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See gate.h. One mutex: it is held for a few instructions, twice for each transfer. */
#include "gate.h"

enum {
	COLLECT_US = 2000,
};

struct image_gate {
	GMutex lock;
	GCond changed;
	unsigned in;	  /* transfers */
	unsigned waiting; /* in gate_lock(): they go first, or guests that are busy would keep them out for ever */
	bool locked;
	GMutex queues_lock; /* taken before a queue's own lock, which comes before `lock` */
	struct gate_queue *queues;
};

struct image_gate *gate_new(void)
{
	struct image_gate *g = g_new0(struct image_gate, 1);

	g_mutex_init(&g->lock);
	g_mutex_init(&g->queues_lock);
	g_cond_init(&g->changed);
	return g;
}

void gate_free(struct image_gate *g)
{
	if (!g)
		return;
	g_mutex_clear(&g->lock);
	g_mutex_clear(&g->queues_lock);
	g_cond_clear(&g->changed);
	g_free(g);
}

static bool shut(const struct image_gate *g)
{
	return g->locked || g->waiting;
}

bool gate_try_enter(struct image_gate *g)
{
	bool open;

	if (!g)
		return true;
	g_mutex_lock(&g->lock);
	open = !shut(g);
	g->in += open;
	g_mutex_unlock(&g->lock);
	return open;
}

void gate_enter(struct image_gate *g)
{
	if (!g)
		return;
	g_mutex_lock(&g->lock);
	while (shut(g))
		g_cond_wait(&g->changed, &g->lock);
	g->in++;
	g_mutex_unlock(&g->lock);
}

void gate_leave(struct image_gate *g)
{
	if (!g)
		return;
	g_mutex_lock(&g->lock);
	if (!--g->in && g->waiting)
		g_cond_broadcast(&g->changed);
	g_mutex_unlock(&g->lock);
}

static void collect(struct image_gate *g)
{
	g_mutex_lock(&g->queues_lock);
	for (struct gate_queue *q = g->queues; q; q = q->next)
		q->collect(q);
	g_mutex_unlock(&g->queues_lock);
}

void gate_lock(struct image_gate *g)
{
	if (!g)
		return;
	g_mutex_lock(&g->lock);
	g->waiting++;
	while (g->in || g->locked) {
		g_mutex_unlock(&g->lock);
		collect(g);
		g_mutex_lock(&g->lock);
		if (g->in || g->locked)
			g_cond_wait_until(&g->changed, &g->lock, g_get_monotonic_time() + COLLECT_US);
	}
	g->waiting--;
	g->locked = true;
	g_mutex_unlock(&g->lock);
}

void gate_unlock(struct image_gate *g)
{
	if (!g)
		return;
	g_mutex_lock(&g->lock);
	g->locked = false;
	g_cond_broadcast(&g->changed);
	g_mutex_unlock(&g->lock);
}

void gate_add_queue(struct image_gate *g, struct gate_queue *q)
{
	if (!g)
		return;
	g_mutex_lock(&g->queues_lock);
	q->next = g->queues;
	g->queues = q;
	g_mutex_unlock(&g->queues_lock);
}

void gate_remove_queue(struct image_gate *g, struct gate_queue *q)
{
	if (!g)
		return;
	g_mutex_lock(&g->queues_lock);
	for (struct gate_queue **at = &g->queues; *at; at = &(*at)->next)
		if (*at == q) {
			*at = q->next;
			break;
		}
	g_mutex_unlock(&g->queues_lock);
}
