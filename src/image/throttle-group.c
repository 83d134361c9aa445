/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See throttle-group.h. The way of a limited request: its queue's owner asks here whether it may go; else it waits in its queue's
 * list, and the queue in its group's, whose first one alone asks again when the time has come, and then is the last. One lock for
 * all groups: who comes here is limited anyway.
 */
#include "throttle-group.h"

enum { US_NS = 1000 };

struct throttle_group {
	unsigned refs;
	char *name;
	struct throttle throttle;
	bool limited; /* atomic: looked at without the lock */
	GQueue turns; /* throttle_queues that wait */
	unsigned members;
	struct throttle_group *next;
};

static GMutex lock; /* all groups, and what queues have waiting */
static struct throttle_group *groups; /* the main thread's */

static int64_t now_ns(void)
{
	return g_get_monotonic_time() * US_NS;
}

/* ---- groups ---- */

struct throttle_group *throttle_group_find(const char *name)
{
	struct throttle_group *g = groups;

	while (g && !g_str_equal(g->name, name))
		g = g->next;
	return g;
}

struct throttle_group *throttle_group_get(const char *name)
{
	struct throttle_group *g = throttle_group_find(name);

	if (!g) {
		g = g_new0(struct throttle_group, 1);
		g->name = g_strdup(name);
		g_queue_init(&g->turns);
		g->next = groups;
		groups = g;
	}
	g->refs++;
	return g;
}

struct throttle_group *throttle_group_ref(struct throttle_group *g)
{
	g->refs++;
	return g;
}

void throttle_group_unref(struct throttle_group *g)
{
	struct throttle_group **at = &groups;

	if (!g || --g->refs)
		return;
	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
	g_free(g->name);
	g_free(g);
}

const char *throttle_group_name(const struct throttle_group *g)
{
	return g->name;
}

void throttle_group_add_member(struct throttle_group *g)
{
	g->members++;
}

void throttle_group_remove_member(struct throttle_group *g)
{
	g->members--;
}

bool throttle_group_has_members(const struct throttle_group *g)
{
	return g->members;
}

const struct throttle_config *throttle_group_config(const struct throttle_group *g)
{
	return &g->throttle.config;
}

/* The first one looks at once whether its time has come. Holds the lock. */
static void wake_first(struct throttle_group *g)
{
	struct throttle_queue *first = g_queue_peek_head(&g->turns);

	if (first)
		g_source_set_ready_time(first->source, 0);
}

void throttle_group_set(struct throttle_group *g, const struct throttle_config *c)
{
	g_mutex_lock(&lock);
	throttle_set(&g->throttle, c, now_ns());
	__atomic_store_n(&g->limited, throttle_limits(c), __ATOMIC_RELEASE);
	wake_first(g);
	g_mutex_unlock(&lock);
}

/* ---- requests ---- */

static bool is_write(const struct image_req *req)
{
	return req->op == IMAGE_WRITE || req->op == IMAGE_WRITE_ZEROES;
}

void throttle_queue_init(struct throttle_queue *q, struct throttle_group *g, GSource *source)
{
	*q = (struct throttle_queue){ .group = g, .source = source, .tail = &q->head };
}

static void put(struct throttle_queue *q, struct image_req *req)
{
	req->link = NULL;
	*q->tail = req;
	q->tail = &req->link;
}

static struct image_req *take(struct throttle_queue *q)
{
	struct image_req *req = q->head;

	q->head = req->link;
	if (!q->head)
		q->tail = &q->head;
	return req;
}

/* May it go now? Else when, in *ret_ns. Holds the lock. */
static bool admit(struct throttle_group *g, const struct throttle_queue *q, const struct image_req *req, int64_t *ret_ns)
{
	int64_t now = now_ns(), wait = throttle_wait(&g->throttle, is_write(req), now);

	*ret_ns = now + wait;
	if (wait && !q->hurry && g->limited)
		return false;
	throttle_account(&g->throttle, is_write(req), req->len);
	return true;
}

static void wait_until(struct throttle_queue *q, int64_t ns)
{
	g_source_set_ready_time(q->source, ns / US_NS + 1);
}

bool throttle_queue_add(struct throttle_queue *q, struct image_req *req)
{
	struct throttle_group *g = __atomic_load_n(&q->group, __ATOMIC_ACQUIRE);
	int64_t at = 0;
	bool waits;

	if (!g || (req->op != IMAGE_READ && !is_write(req)))
		return false;
	g_mutex_lock(&lock);
	g = q->group;
	waits = q->head || (g && g->limited && (!g_queue_is_empty(&g->turns) || !admit(g, q, req, &at)));
	if (waits && !q->head) {
		g_queue_push_tail(&g->turns, q);
		if (at)
			wait_until(q, at);
	}
	if (waits)
		put(q, req);
	g_mutex_unlock(&lock);
	return waits;
}

/* The queue had its turn, or has nothing any more. Holds the lock. */
static void end_turn(struct throttle_group *g, struct throttle_queue *q)
{
	bool first = g_queue_peek_head(&g->turns) == q;

	g_queue_remove(&g->turns, q);
	if (q->head)
		g_queue_push_tail(&g->turns, q);
	if (first)
		wake_first(g);
}

struct image_req *throttle_queue_next(struct throttle_queue *q)
{
	struct image_req *req = NULL;
	struct throttle_group *g;
	int64_t at = 0;

	g_mutex_lock(&lock);
	g = q->group;
	if (!q->head)
		q->hurry = false;
	else if (!g || ((q->hurry || g_queue_peek_head(&g->turns) == q) && admit(g, q, q->head, &at)))
		req = take(q);
	else if (at)
		wait_until(q, at);
	if (req && g)
		end_turn(g, q);
	g_mutex_unlock(&lock);
	return req;
}

void throttle_queue_hurry(struct throttle_queue *q)
{
	g_mutex_lock(&lock);
	q->hurry = true;
	g_source_set_ready_time(q->source, 0);
	g_mutex_unlock(&lock);
}

void throttle_queue_move(struct throttle_queue *q, struct throttle_group *to)
{
	struct throttle_group *from = q->group;

	g_mutex_lock(&lock);
	if (from) {
		g_queue_remove(&from->turns, q);
		wake_first(from);
	}
	if (q->head && to)
		g_queue_push_tail(&to->turns, q);
	if (q->head)
		g_source_set_ready_time(q->source, 0);
	__atomic_store_n(&q->group, to, __ATOMIC_RELEASE);
	g_mutex_unlock(&lock);
}

struct image_req *throttle_queue_leave(struct throttle_queue *q)
{
	struct image_req *list;

	g_mutex_lock(&lock);
	list = q->head;
	q->head = NULL;
	q->tail = &q->head;
	if (q->group)
		end_turn(q->group, q);
	g_mutex_unlock(&lock);
	return list;
}
