/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Changes of images while guests use them: a drain holds back the requests of all queues over an image, and what stands on what
 * is changed then. A submitter counts itself in and then looks whether its queue is held; who drains holds the queue and then
 * waits until the count is zero: one of them sees the other. See image.h.
 */
#include "live.h"

#include "error.h"
#include "file.h"
#include "filter.h"
#include "format.h"

/* A drain, of which there may be several at once: the image and the queues that it holds. */
struct drain {
	struct image *img;
	GPtrArray *queues; /* struct live_queue, which are not freed while they are here */
	struct drain *next;
};

static GMutex queues_lock; /* the lists, and pins */
static GCond unpinned;
static struct live_queue *queues;
static struct drain *drains;

static bool has_image(const struct image_queue *q, const struct image *img)
{
	for (const struct image *i = q->image; i; i = i->backing)
		if (i == img)
			return true;
	return false;
}

/* Holds queues_lock. */
static void pin(struct drain *d, struct live_queue *l)
{
	l->pins++;
	g_ptr_array_add(d->queues, l);
}

/* A new queue over an image that is drained right now is held from the beginning. */
void live_queue_add(struct live_queue *l)
{
	g_mutex_init(&l->lock);
	l->waiting_end = &l->waiting;
	g_mutex_lock(&queues_lock);
	l->next = queues;
	queues = l;
	for (struct drain *d = drains; d; d = d->next)
		if (has_image(l->q, d->img)) {
			pin(d, l);
			if (!l->held++)
				queue_chain_leave(l->q);
		}
	g_mutex_unlock(&queues_lock);
}

void live_queue_remove(struct live_queue *l)
{
	g_mutex_lock(&queues_lock);
	while (l->pins)
		g_cond_wait(&unpinned, &queues_lock);
	for (struct live_queue **at = &queues; *at; at = &(*at)->next)
		if (*at == l) {
			*at = l->next;
			break;
		}
	g_mutex_unlock(&queues_lock);
	g_mutex_clear(&l->lock);
}

bool live_enter(struct live_queue *l, struct image_req *req)
{
	__atomic_add_fetch(&l->inside, 1, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&l->held, __ATOMIC_SEQ_CST))
		return true;
	g_mutex_lock(&l->lock);
	/* Perhaps the drain has ended, and nobody would look into the list. */
	if (!__atomic_load_n(&l->held, __ATOMIC_SEQ_CST)) {
		g_mutex_unlock(&l->lock);
		return true;
	}
	if (req) {
		req->link = NULL;
		*l->waiting_end = req;
		l->waiting_end = &req->link;
	}
	__atomic_sub_fetch(&l->inside, 1, __ATOMIC_SEQ_CST);
	g_mutex_unlock(&l->lock);
	return false;
}

void live_leave(struct live_queue *l)
{
	__atomic_sub_fetch(&l->inside, 1, __ATOMIC_RELEASE);
}

void live_put_back(struct live_queue *l, struct image_req *list)
{
	struct image_req **end = &list;

	while (*end)
		end = &(*end)->link;
	if (end == &list)
		return;
	g_mutex_lock(&l->lock);
	*end = l->waiting;
	if (!l->waiting)
		l->waiting_end = end;
	l->waiting = list;
	g_mutex_unlock(&l->lock);
}

bool image_queue_enter(struct image_queue *q)
{
	return live_enter(queue_live(q), NULL);
}

void image_queue_leave(struct image_queue *q)
{
	live_leave(queue_live(q));
}

static void hold(struct live_queue *l)
{
	if (__atomic_fetch_add(&l->held, 1, __ATOMIC_SEQ_CST))
		return;
	while (__atomic_load_n(&l->inside, __ATOMIC_SEQ_CST))
		g_usleep(50);
	queue_wait_idle(l->q);
	queue_chain_leave(l->q);
}

static void resubmit(struct live_queue *l)
{
	struct image_queue *q = l->q;
	struct image_req *req;

	g_mutex_lock(&l->lock);
	req = l->waiting;
	l->waiting = NULL;
	l->waiting_end = &l->waiting;
	g_mutex_unlock(&l->lock);
	while (req) {
		struct image_req *next = req->link;

		image_submit(q, req);
		req = next;
	}
	image_kick(q);
}

static void release(struct live_queue *l)
{
	if (__atomic_load_n(&l->held, __ATOMIC_SEQ_CST) == 1)
		queue_chain_join(l->q);
	g_mutex_lock(&l->lock);
	__atomic_sub_fetch(&l->held, 1, __ATOMIC_SEQ_CST);
	g_mutex_unlock(&l->lock);
	if (!__atomic_load_n(&l->held, __ATOMIC_SEQ_CST))
		resubmit(l);
}

/* Others may be added meanwhile. */
static struct live_queue *drained_queue(struct drain *d, unsigned i)
{
	struct live_queue *l;

	g_mutex_lock(&queues_lock);
	l = g_ptr_array_index(d->queues, i);
	g_mutex_unlock(&queues_lock);
	return l;
}

void image_drain_begin(struct image *img)
{
	struct drain *d = g_new(struct drain, 1);
	unsigned n;

	*d = (struct drain){ .img = img, .queues = g_ptr_array_new() };
	g_mutex_lock(&queues_lock);
	for (struct live_queue *l = queues; l; l = l->next)
		if (has_image(l->q, img))
			pin(d, l);
	n = d->queues->len;
	d->next = drains;
	drains = d;
	g_mutex_unlock(&queues_lock);
	for (unsigned i = 0; i < n; i++)
		hold(drained_queue(d, i));
}

static struct drain *take_drain(struct image *img)
{
	struct drain *d = NULL;

	g_mutex_lock(&queues_lock);
	for (struct drain **at = &drains; *at && !d; at = d ? at : &(*at)->next)
		if ((*at)->img == img) {
			d = *at;
			*at = d->next;
		}
	g_mutex_unlock(&queues_lock);
	return d;
}

void image_drain_end(struct image *img)
{
	struct drain *d = take_drain(img);

	for (unsigned i = 0; d && i < d->queues->len; i++)
		release(g_ptr_array_index(d->queues, i));
	if (!d)
		return;
	g_mutex_lock(&queues_lock);
	for (unsigned i = 0; i < d->queues->len; i++)
		((struct live_queue *)g_ptr_array_index(d->queues, i))->pins--;
	g_cond_broadcast(&unpinned);
	g_mutex_unlock(&queues_lock);
	g_ptr_array_free(d->queues, TRUE);
	g_free(d);
}

void image_queue_set_image(struct image_queue *q, struct image *img)
{
	q->image = img;
}

void image_set_backing_image(struct image *img, struct image *backing)
{
	struct image *old = img->backing;

	img->backing = backing ? image_ref(backing) : NULL;
	image_filter_follow(img);
	image_close(old);
}

static bool reopen_file(struct image_file *f, bool readonly, GError **error)
{
	if (f->readonly == readonly)
		return true;
	if (f->type->reopen)
		return f->type->reopen(f, readonly, error);
	return kv_fail(error, KV_ERROR_UNSUPPORTED, "disk '%s' cannot be opened anew", f->name);
}

static bool reopen_files(struct image *img, bool readonly, GError **error)
{
	bool was = img->file->readonly;

	if (!reopen_file(img->file, readonly, error))
		return false;
	if (img->data == img->file || reopen_file(img->data, readonly, error))
		return true;
	reopen_file(img->file, was, NULL);
	return false;
}

bool image_reopen(struct image *img, bool readonly, GError **error)
{
	if (img->readonly == readonly)
		return true;
	if (!img->format->reopen || img->guessed)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "disk '%s': %s images stay as they were opened", img->path,
			       img->format->name);
	if (readonly) {
		if (!img->format->reopen(img, true, error))
			return false;
		img->readonly = true;
		/* What is open for more than that does no harm. */
		if (reopen_files(img, true, NULL) && img->storage)
			img->storage->readonly = true;
		return true;
	}
	if (!reopen_files(img, false, error))
		return false;
	img->readonly = false;
	if (img->format->reopen(img, false, error)) {
		if (img->storage)
			img->storage->readonly = false;
		return true;
	}
	img->readonly = true;
	reopen_files(img, true, NULL);
	return false;
}

/* ---- who wants to know ---- */

bool image_watched(const struct image *img)
{
	return __atomic_load_n(&img->watches, __ATOMIC_ACQUIRE);
}

void image_watch_add(struct image *img, struct image_watch *w)
{
	g_rw_lock_writer_lock(&img->watch_lock);
	w->next = img->watches;
	__atomic_store_n(&img->watches, w, __ATOMIC_RELEASE);
	g_rw_lock_writer_unlock(&img->watch_lock);
}

void image_watch_remove(struct image *img, struct image_watch *w)
{
	g_rw_lock_writer_lock(&img->watch_lock);
	for (struct image_watch **at = &img->watches; *at; at = &(*at)->next)
		if (*at == w) {
			__atomic_store_n(at, w->next, __ATOMIC_RELEASE);
			break;
		}
	g_rw_lock_writer_unlock(&img->watch_lock);
}

bool image_watched_before(struct image *img)
{
	bool asks = false;

	if (!image_watched(img))
		return false;
	g_rw_lock_reader_lock(&img->watch_lock);
	for (const struct image_watch *w = img->watches; w && !asks; w = w->next)
		asks = w->before;
	g_rw_lock_reader_unlock(&img->watch_lock);
	return asks;
}

int image_watch_before(struct image *img, uint64_t offset, uint64_t len)
{
	int res = 0;

	if (!image_watched(img))
		return 0;
	g_rw_lock_reader_lock(&img->watch_lock);
	for (struct image_watch *w = img->watches; w && res == 0; w = w->next)
		if (w->before)
			res = w->before(w, offset, len);
	g_rw_lock_reader_unlock(&img->watch_lock);
	return res;
}

void image_watch_after(struct image *img, uint64_t offset, uint64_t len)
{
	if (!image_watched(img))
		return;
	g_rw_lock_reader_lock(&img->watch_lock);
	for (struct image_watch *w = img->watches; w; w = w->next)
		if (w->after)
			w->after(w, offset, len);
	g_rw_lock_reader_unlock(&img->watch_lock);
}

void image_watch_resized(struct image *img, uint64_t size)
{
	g_rw_lock_reader_lock(&img->watch_lock);
	for (struct image_watch *w = img->watches; w; w = w->next)
		if (w->resized)
			w->resized(w, size);
	g_rw_lock_reader_unlock(&img->watch_lock);
}
