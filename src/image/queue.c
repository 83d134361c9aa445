/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Asynchronous requests to an image of any format (image.h). Where each part of a request is a run of bytes of some file of
 * the chain, or zeroes, it goes to the kernel, or to a file with a socket, at once and with the caller's buffers; everything else
 * (allocation, decompression, discards) is done by threads with the synchronous functions of access.c.
 *
 * A transfer that the kernel does on its own must find its cluster where it was looked up. The rule: it is in the gate of the
 * layer that it reads or writes, from before map_now() until it has ended, and whatever moves or frees clusters locks that
 * gate first (gate.h). While somebody does or waits for that, requests go to the threads, which may wait in the gate; this
 * thread never does. Writes go to the kernel only where map_now() says that they change no metadata (in_place), and to the
 * image itself.
 */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "file-queue.h"
#include "filter.h"
#include "gate.h"
#include "iov.h"
#include "live.h"

enum {
	PIECES_MAX = 16, /* of a request; one in more is for the threads */
	BOUNCE = 1 << 20,
};

struct queue {
	struct image_queue base;
	struct live_queue live;
	struct file_queue *io;
	struct gate_node *nodes; /* one for each layer */
	unsigned n_nodes;
	/* With filters; all of it stays while requests are let in. */
	struct image *target; /* what is under them */
	bool copies;	      /* reads copy what they find below the target */
	GPtrArray *limits;    /* of struct limit, the uppermost first; NULL: none */
	bool closing;
};

/* A throttle filter's requests of one queue. */
struct limit {
	GSource base; /* in the queue's context */
	struct throttle_queue turns;
	GMutex lock;
	struct queue *q; /* NULL: the queue has given it up */
	unsigned index;
};

struct gate_node {
	struct gate_queue base;
	struct image_gate *gate;
	struct queue *q;
};

struct piece {
	bool zero;
	struct image_file *file;
	uint64_t at, len;
	struct image *layer; /* in whose gate we are */
};

/* A request in several pieces. It is over with the last of them. */
struct split {
	struct image_req *req;
	struct image *watched; /* tell those who watch it of the write; NULL: nobody does */
	unsigned pending; /* atomic */
	int res;	  /* atomic */
	struct image_req part[PIECES_MAX];
	struct iovec iov[];
};

/* ---- in a thread ---- */

static int read_bytes(struct image *img, bool copies, uint64_t offset, void *buf, uint64_t len)
{
	return copies ? image_read_copying(img, offset, buf, len) : image_read(img, offset, buf, len);
}

static int transfer_all(struct image *img, bool copies, struct image_req *req)
{
	g_autofree char *bounce = NULL;
	int res = 0;

	if (req->n_iov == 1)
		return req->op == IMAGE_READ ? read_bytes(img, copies, req->offset, req->iov->iov_base, req->len) :
					       image_write(img, req->offset, req->iov->iov_base, req->len);
	bounce = g_malloc(MIN(req->len, BOUNCE));
	for (uint64_t done = 0; done < req->len && res == 0; done += BOUNCE) {
		uint64_t n = MIN(req->len - done, BOUNCE);

		if (req->op == IMAGE_WRITE) {
			req_copy(req, done, bounce, n);
			res = image_write(img, req->offset + done, bounce, n);
		} else {
			res = read_bytes(img, copies, req->offset + done, bounce, n);
			if (res == 0)
				req_copy(req, done, bounce, n);
		}
	}
	return res;
}

static int work(void *opaque, struct image_req *req)
{
	struct queue *q = opaque;
	struct image *img = q->target;

	switch (req->op) {
	case IMAGE_READ:
	case IMAGE_WRITE:
		return transfer_all(img, q->copies, req);
	case IMAGE_FLUSH:
		return image_flush(img);
	case IMAGE_DISCARD:
		return image_discard(img, req->offset, req->len);
	case IMAGE_WRITE_ZEROES:
		return image_write_zeroes(img, req->offset, req->len, req->flags);
	}
	return -EINVAL;
}

/* ---- by the kernel ---- */

bool image_map_now(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret)
{
	struct image_extent e = {};
	bool ok = img->format->map_now ? img->format->map_now(img, offset, len, &e) : img->format->map(img, offset, len, &e) == 0;

	*ret = e;
	return ok && image_extent_valid(&e, len);
}

/* Where the front of a range is: in the gate then if it is not zeroes. False: a thread is to find out. copies: or to copy it. */
static bool locate(struct image *img, bool write, bool copies, uint64_t offset, uint64_t len, struct piece *ret)
{
	struct image_extent e;

	for (;; img = img->backing) {
		bool known;

		if (!gate_try_enter(img->gate))
			return false;
		known = image_map_now(img, offset, len, &e);
		if (known && e.kind == IMAGE_DATA && e.has_at && image_file_queues(img->data) && (!write || e.in_place)) {
			*ret = (struct piece){ .file = img->data, .at = e.at, .len = e.len, .layer = img };
			return true;
		}
		gate_leave(img->gate);
		if (!known || write || (e.kind != IMAGE_ZERO && e.kind != IMAGE_HOLE))
			return false;
		if (e.kind == IMAGE_HOLE && image_is_moving(img->backing))
			return false;
		len = e.kind == IMAGE_HOLE ? image_in_backing(img, offset, e.len) : 0;
		if (len && copies)
			return false;
		if (!len) {
			*ret = (struct piece){ .zero = true, .len = e.len };
			return true;
		}
	}
}

static void leave(const struct piece *p)
{
	if (p->layer)
		gate_leave(p->layer->gate);
}

/* True when p goes on where `last` ends, which is longer then. */
static bool joined(struct piece *last, const struct piece *p)
{
	if (last->zero != p->zero || last->layer != p->layer || (!p->zero && last->at + last->len != p->at))
		return false;
	last->len += p->len;
	leave(p);
	return true;
}

/* The pieces of a request; 0: it is one for the threads. */
static unsigned plan(struct image *img, bool copies, const struct image_req *req, struct piece *pieces)
{
	struct piece p;
	unsigned n = 0;

	for (uint64_t done = 0; done < req->len; done += p.len) {
		bool ok = locate(img, req->op == IMAGE_WRITE, copies, req->offset + done, req->len - done, &p);

		if (ok && n && joined(&pieces[n - 1], &p))
			continue;
		if (ok && n < PIECES_MAX) {
			pieces[n++] = p;
			continue;
		}
		if (ok)
			leave(&p);
		while (n)
			leave(&pieces[--n]);
		return 0;
	}
	return n;
}

static void part_done(struct image_req *part, int res)
{
	struct split *s = part->opaque;
	int none = 0;

	if (res < 0)
		__atomic_compare_exchange_n(&s->res, &none, res, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	if (__atomic_sub_fetch(&s->pending, 1, __ATOMIC_ACQ_REL))
		return;
	if (s->watched)
		image_watch_after(s->watched, s->req->offset, s->req->len);
	s->req->complete(s->req, s->res);
	g_free(s);
}

static void aim(struct image_req *req, struct image_file *f)
{
	req->fd = f->fd;
	req->file = f;
}

static void submit_split(struct queue *q, struct image_req *req, const struct piece *pieces, unsigned n)
{
	struct split *s = g_malloc(sizeof(*s) + (req->n_iov + n) * sizeof(struct iovec));
	struct iovec *iov = s->iov;
	unsigned parts = 0;

	s->req = req;
	s->watched = req->op == IMAGE_WRITE && image_watched(q->target) ? q->target : NULL;
	s->res = 0;
	for (uint64_t done = 0; n; done += pieces->len, pieces++, n--) {
		struct image_req *part = &s->part[parts];

		if (pieces->zero) {
			req_zero(req, done, pieces->len);
			continue;
		}
		*part = (struct image_req){ .op = req->op, .iov = iov, .offset = req->offset + done, .len = pieces->len,
					    .complete = part_done, .opaque = s,
					    .at = pieces->at, .layer = pieces->layer };
		aim(part, pieces->file);
		part->n_iov = req_slice(req, done, pieces->len, iov);
		iov += part->n_iov;
		parts++;
	}
	s->pending = parts;
	/* The last one may be over, and s gone, before the loop is. */
	for (unsigned i = 0; i < parts; i++)
		file_queue_submit(q->io, &s->part[i]);
}

static void submit_pieces(struct queue *q, struct image_req *req, const struct piece *pieces, unsigned n)
{
	if (n > 1 || (req->op == IMAGE_WRITE && image_watched(q->target))) {
		submit_split(q, req, pieces, n);
		return;
	}
	if (pieces->zero) {
		req_zero(req, 0, req->len);
		file_queue_post(q->io, req, 0);
		return;
	}
	aim(req, pieces->file);
	req->at = pieces->at;
	req->layer = pieces->layer;
	file_queue_submit(q->io, req);
}

/* What is wrong with a request (readonly: a filter is): 0 or a negative errno. */
static int check(const struct image *img, bool readonly, const struct image_req *req)
{
	if (req->op == IMAGE_FLUSH)
		return 0;
	if (!range_inside(req->offset, req->len, __atomic_load_n(&img->size, __ATOMIC_RELAXED)))
		return -EINVAL;
	if (req->op == IMAGE_READ)
		return req_bytes(req) == req->len ? 0 : -EINVAL;
	if (img->readonly || readonly)
		return -EROFS;
	if (req->op == IMAGE_DISCARD)
		return img->discard ? 0 : -ENOTSUP;
	return req->op == IMAGE_WRITE && req_bytes(req) != req->len ? -EINVAL : 0;
}

/* Raw images' requests go to the file's queue as they are, with its own flushes and holes, when nobody wants to know. */
static bool passes(struct image *img, const struct image_req *req)
{
	return img->format->plain && !img->guessed && (req->op == IMAGE_READ || req->op == IMAGE_FLUSH || !image_watched(img)) &&
	       image_file_queues(img->data);
}

static void submit(struct queue *q, struct image_req *req)
{
	struct image *img = q->target;
	struct piece pieces[PIECES_MAX];
	int res = check(img, q->base.image->readonly, req);
	unsigned n = 0;

	req->layer = NULL;
	req->fd = -1;
	req->file = NULL;
	if (res < 0 || (!req->len && req->op != IMAGE_FLUSH)) {
		file_queue_post(q->io, req, res);
		return;
	}
	if (passes(img, req)) {
		aim(req, img->data);
		req->at = req->offset;
	} else if (req->op == IMAGE_READ || (req->op == IMAGE_WRITE && !img->guessed && !image_watched_before(img))) {
		n = plan(img, q->copies, req, pieces);
	}
	if (n)
		submit_pieces(q, req, pieces, n);
	else
		file_queue_submit(q->io, req);
}

/* ---- filters ---- */

/* It waits for one of the limits from that one on. */
static bool is_held(struct queue *q, struct image_req *req, unsigned from)
{
	for (unsigned i = from; q->limits && !q->closing && i < q->limits->len; i++)
		if (throttle_queue_add(&((struct limit *)q->limits->pdata[i])->turns, req))
			return true;
	return false;
}

static void enter_limits(struct queue *q, struct image_req *req, unsigned from)
{
	if (!live_enter(&q->live, req))
		return;
	if (G_LIKELY(!q->limits) || !is_held(q, req, from))
		submit(q, req);
	live_leave(&q->live);
}

static gboolean limit_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	struct limit *l = (struct limit *)source;
	struct image_req *req;

	g_source_set_ready_time(source, -1);
	g_mutex_lock(&l->lock);
	while (l->q && (req = throttle_queue_next(&l->turns)))
		enter_limits(l->q, req, l->index + 1);
	if (l->q)
		image_kick(&l->q->base);
	g_mutex_unlock(&l->lock);
	return G_SOURCE_CONTINUE;
}

static void limit_finalize(GSource *source)
{
	g_mutex_clear(&((struct limit *)source)->lock);
}

static GSourceFuncs limit_funcs = { .dispatch = limit_dispatch, .finalize = limit_finalize };

static void limit_new(struct queue *q, struct throttle_group *g)
{
	struct limit *l = (struct limit *)g_source_new(&limit_funcs, sizeof(struct limit));

	if (!q->limits)
		q->limits = g_ptr_array_new();
	g_mutex_init(&l->lock);
	l->q = q;
	l->index = q->limits->len;
	throttle_queue_init(&l->turns, g, &l->base);
	g_ptr_array_add(q->limits, l);
	g_source_attach(&l->base, q->base.context);
}

/* What waits in it, a list. */
static struct image_req *limit_free(struct limit *l)
{
	struct image_req *list;

	g_mutex_lock(&l->lock);
	list = throttle_queue_leave(&l->turns);
	l->q = NULL;
	g_mutex_unlock(&l->lock);
	g_source_destroy(&l->base);
	g_source_unref(&l->base);
	return list;
}

static void filters_join(struct queue *q)
{
	struct image *img = q->base.image;

	q->copies = false;
	for (; image_is_filter(img); img = img->backing) {
		if (image_throttle_group(img))
			limit_new(q, image_throttle_group(img));
		q->copies |= image_copies_on_read(img);
	}
	q->target = img;
	q->copies = q->copies && !img->readonly && img->format->populate;
}

/* Nothing is let in: what waits for a turn does so for the end of that. */
static void filters_leave(struct queue *q)
{
	for (unsigned i = 0; q->limits && i < q->limits->len; i++)
		live_put_back(&q->live, limit_free(q->limits->pdata[i]));
	g_clear_pointer(&q->limits, g_ptr_array_unref);
}

void image_queue_hurry(struct image_queue *base)
{
	struct queue *q = (struct queue *)base;

	if (!live_enter(&q->live, NULL)) /* after a drain it is not in a hurry */
		return;
	for (unsigned i = 0; q->limits && i < q->limits->len; i++)
		throttle_queue_hurry(&((struct limit *)q->limits->pdata[i])->turns);
	live_leave(&q->live);
}

/* The queue is going to be freed: what waits goes. */
static void end_waiting(struct queue *q)
{
	q->closing = true;
	for (unsigned i = 0; q->limits && i < q->limits->len; i++) {
		struct image_req *req = throttle_queue_leave(&((struct limit *)q->limits->pdata[i])->turns);

		while (req) {
			struct image_req *next = req->link;

			image_submit(&q->base, req);
			req = next;
		}
	}
}

void image_submit(struct image_queue *base, struct image_req *req)
{
	struct queue *q = (struct queue *)base;

	enter_limits(q, req, 0);
}

void image_kick(struct image_queue *q)
{
	file_queue_kick(((struct queue *)q)->io);
}

void image_reap(struct image_queue *q, unsigned us)
{
	file_queue_reap(((struct queue *)q)->io, us);
}

void image_queue_on_batch(struct image_queue *q, void (*batch)(void *opaque), void *opaque)
{
	file_queue_on_batch(((struct queue *)q)->io, batch, opaque);
}

/* ---- queues ---- */

static void collect(struct gate_queue *node)
{
	file_queue_collect(((struct gate_node *)node)->q->io);
}

struct live_queue *queue_live(struct image_queue *q)
{
	return &((struct queue *)q)->live;
}

void queue_wait_idle(struct image_queue *q)
{
	file_queue_wait_idle(((struct queue *)q)->io);
}

void queue_chain_join(struct image_queue *base)
{
	struct queue *q = (struct queue *)base;
	struct gate_node *node;

	filters_join(q);
	for (struct image *i = q->base.image; i; i = i->backing)
		q->n_nodes++;
	node = q->nodes = g_new0(struct gate_node, q->n_nodes);
	for (struct image *i = q->base.image; i; i = i->backing, node++) {
		*node = (struct gate_node){ .base.collect = collect, .gate = i->gate, .q = q };
		gate_add_queue(i->gate, &node->base);
	}
}

void queue_chain_leave(struct image_queue *base)
{
	struct queue *q = (struct queue *)base;

	file_queue_forget_files(q->io);
	filters_leave(q);
	for (unsigned i = 0; i < q->n_nodes; i++)
		gate_remove_queue(q->nodes[i].gate, &q->nodes[i].base);
	g_clear_pointer(&q->nodes, g_free);
	q->n_nodes = 0;
}

struct image_queue *image_queue_new(struct image *img, GMainContext *context, unsigned depth, GError **error)
{
	struct queue *q = g_new0(struct queue, 1);

	q->base = (struct image_queue){ img, context };
	q->io = file_queue_new(img->path, img->aio, context, depth, work, q, error);
	if (!q->io) {
		g_free(q);
		return NULL;
	}
	q->live.q = &q->base;
	queue_chain_join(&q->base);
	live_queue_add(&q->live);
	return &q->base;
}

void image_queue_free(struct image_queue *base)
{
	struct queue *q = (struct queue *)base;

	if (!q)
		return;
	end_waiting(q);
	file_queue_wait_idle(q->io);
	live_queue_remove(&q->live);
	file_queue_wait_idle(q->io); /* what a drain had held back */
	queue_chain_leave(base);
	file_queue_free(q->io);
	g_free(q);
}
