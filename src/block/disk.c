/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A drive (disk.h): its queues, and the way of a request through them. A request that needs nothing of the drive costs a
 * branch when it is submitted and one when it ends; what does need something goes through submit_special() and end_slow().
 * Used by the disks of src/machine and by kv-vmm.
 */
#include "disk.h"

#include <errno.h>
#include <string.h>

#include "error.h"
#include "block-internal.h"

enum { WORD = 16 };

struct queue_source {
	GSource base;
	struct disk_queue *q;
};

/* ---- the end of a request ---- */

static void post(struct disk_req *req, int res)
{
	struct disk_queue *q = req->queue;

	req->res = res;
	g_mutex_lock(&q->disk->lock);
	disk_list_add(&q->posted, req);
	g_mutex_unlock(&q->disk->lock);
	g_source_set_ready_time(q->source, 0);
}

static void send(struct disk_queue *q, struct disk_req *req)
{
	req->at = q->io;
	image_submit(q->io, &req->io);
}

/* A write is through, and is to be durable: to the queue it went to, though the drive may have another image by now. */
static void send_flush(struct disk_req *req)
{
	req->io.op = IMAGE_FLUSH;
	image_submit(req->at, &req->io);
	image_kick(req->at);
}

/* The device's answer. */
static void finish(struct disk_req *req, int res)
{
	struct disk_stats *s = &req->queue->stats;
	uint64_t end = req->io.offset + req->io.len;

	s->last = g_get_monotonic_time();
	if (res < 0) {
		s->by[req->op].failed++;
	} else {
		s->by[req->op].done++;
		s->by[req->op].bytes += req->io.len;
		s->by[req->op].us += s->last - req->submitted;
		if (req->op == IMAGE_WRITE && end > s->highest)
			s->highest = end;
	}
	req->complete(req, res);
}

static void end_slow(struct disk_req *req, int res)
{
	if (res == 0 && req->durable && req->io.op != IMAGE_FLUSH && !req->queue->disk->unsafe) {
		send_flush(req);
		return;
	}
	if (res < 0 && disk_failed(req, &res))
		return;
	finish(req, res);
}

static void on_complete(struct image_req *io, int res)
{
	struct disk_req *req = (struct disk_req *)io;

	if (G_LIKELY(res == 0 && !req->durable))
		finish(req, 0);
	else
		end_slow(req, res);
}

/* ---- requests that the drive has something to say about ---- */

static bool is_zero(const char *p, size_t len)
{
	static const char zeroes[WORD];

	if (memcmp(p, zeroes, MIN(len, WORD)))
		return false;
	return len <= WORD || memcmp(p, p + WORD, len - WORD) == 0;
}

static bool all_zero(const struct image_req *io)
{
	for (unsigned i = 0; i < io->n_iov; i++)
		if (!is_zero(io->iov[i].iov_base, io->iov[i].iov_len))
			return false;
	return true;
}

static void pass_on(struct disk_queue *q, struct disk_req *req)
{
	const struct disk *d = q->disk;

	if (req->io.op == IMAGE_WRITE && d->zeroes != DISK_ZEROES_OFF && all_zero(&req->io)) {
		req->io.op = IMAGE_WRITE_ZEROES;
		req->io.flags = d->zeroes == DISK_ZEROES_UNMAP ? IMAGE_MAY_UNMAP : 0;
	}
	if (d->no_discard)
		req->io.flags &= ~IMAGE_MAY_UNMAP;
	if (!q->io)
		post(req, -ENOMEDIUM);
	else if ((req->op == IMAGE_FLUSH && d->unsafe) || (req->op == IMAGE_DISCARD && d->no_discard))
		post(req, 0);
	else
		send(q, req);
}

static void submit_special(struct disk_queue *q, struct disk_req *req)
{
	if (!throttle_queue_add(&q->limit, &req->io))
		pass_on(q, req);
}

void disk_submit(struct disk_queue *q, struct disk_req *req)
{
	req->queue = q;
	req->op = req->io.op;
	req->submitted = g_get_monotonic_time();
	req->io.complete = on_complete;
	if (G_UNLIKELY(__atomic_load_n(&q->disk->special, __ATOMIC_ACQUIRE)))
		submit_special(q, req);
	else
		send(q, req);
}

void disk_kick(struct disk_queue *q)
{
	if (q->io)
		image_kick(q->io);
}

void disk_reap(struct disk_queue *q, unsigned us)
{
	if (q->io)
		image_reap(q->io, us);
}

void disk_queue_on_batch(struct disk_queue *q, void (*batch)(void *opaque), void *opaque)
{
	q->batch = batch;
	q->batch_opaque = opaque;
	if (q->io)
		image_queue_on_batch(q->io, batch, opaque);
}

/* ---- a queue's source ---- */

static struct disk_req *next_posted(struct disk_queue *q)
{
	struct disk_req *req;

	g_mutex_lock(&q->disk->lock);
	req = disk_list_take(&q->posted);
	g_mutex_unlock(&q->disk->lock);
	return req;
}

static gboolean dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	struct disk_queue *q = ((struct queue_source *)source)->q;
	struct image_req *turn;
	struct disk_req *req;

	g_source_set_ready_time(source, -1);
	while ((req = next_posted(q)))
		if (req->res == 0 || !disk_failed(req, &req->res))
			finish(req, req->res);
	if (q->batch)
		q->batch(q->batch_opaque);
	while ((turn = throttle_queue_next(&q->limit)))
		pass_on(q, (struct disk_req *)turn);
	disk_kick(q);
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_funcs = {.dispatch = dispatch};

struct disk_queue *disk_queue_new(struct disk *d, GMainContext *context, unsigned depth, GError **error)
{
	struct disk_queue *q = g_new0(struct disk_queue, 1);

	*q = (struct disk_queue){.disk = d, .context = context, .depth = depth};
	if (d->image) {
		q->io = image_queue_new(d->image, context, depth, error);
		if (!q->io) {
			g_free(q);
			return NULL;
		}
	}
	disk_list_init(&q->posted);
	disk_list_init(&q->kept);
	q->source = g_source_new(&source_funcs, sizeof(struct queue_source));
	((struct queue_source *)q->source)->q = q;
	throttle_queue_init(&q->limit, d->group, q->source);
	g_source_attach(q->source, context);
	g_ptr_array_add(d->queues, q);
	return q;
}

void disk_queue_free(struct disk_queue *q)
{
	if (!q)
		return;
	if (q->io)
		image_queue_free(q->io);
	throttle_queue_leave(&q->limit); /* nothing waits */
	g_source_destroy(q->source);
	g_source_unref(q->source);
	g_ptr_array_remove(q->disk->queues, q);
	g_free(q);
}

/* ---- drives ---- */

/* A reference of the group is taken over; NULL: none. */
static void join_group(struct disk *d, struct throttle_group *g)
{
	struct throttle_group *old = d->group;

	if (old)
		throttle_group_remove_member(old);
	if (g)
		throttle_group_add_member(g);
	for (unsigned i = 0; i < d->queues->len; i++)
		throttle_queue_move(&((struct disk_queue *)d->queues->pdata[i])->limit, g);
	__atomic_store_n(&d->group, g, __ATOMIC_RELEASE);
	throttle_group_unref(old);
}

void disk_update_special(struct disk *d)
{
	bool special = !d->image || d->group || d->unsafe || d->no_discard || d->zeroes != DISK_ZEROES_OFF;

	__atomic_store_n(&d->special, special, __ATOMIC_RELEASE);
}

struct disk *disk_new(const char *id, struct image *img, GVariant *options, GError **error)
{
	struct disk *d = g_new0(struct disk, 1);

	d->id = g_strdup(id);
	d->image = img;
	d->queues = g_ptr_array_new();
	g_mutex_init(&d->lock);
	if (!disk_parse(d, options, error)) {
		disk_free(d);
		return NULL;
	}
	disk_update_special(d);
	return d;
}

void disk_free(struct disk *d)
{
	if (!d)
		return;
	join_group(d, NULL);
	image_close(d->image);
	g_ptr_array_unref(d->queues);
	g_mutex_clear(&d->lock);
	g_free(d->id);
	g_free(d);
}

const char *disk_id(const struct disk *d)
{
	return d->id;
}

struct image *disk_image(const struct disk *d)
{
	return d->image;
}

/* A device's thread may ask while the main thread exchanges the image: that is not freed before the queues are empty. */
static const struct image *image_of(const struct disk *d)
{
	return __atomic_load_n(&d->image, __ATOMIC_ACQUIRE);
}

uint64_t disk_size(const struct disk *d)
{
	const struct image *img = image_of(d);

	return img ? __atomic_load_n(&img->size, __ATOMIC_RELAXED) : 0;
}

bool disk_is_empty(const struct disk *d)
{
	return !image_of(d);
}

bool disk_is_readonly(const struct disk *d)
{
	const struct image *img = image_of(d);

	return img && img->readonly;
}

bool disk_is_writeback(const struct disk *d)
{
	return d->writeback;
}

bool disk_can_discard(const struct disk *d)
{
	const struct image *img = image_of(d);

	return img && img->discard && !d->no_discard;
}

void disk_stats(const struct disk *d, struct disk_stats *ret)
{
	*ret = (struct disk_stats){};
	for (unsigned i = 0; i < d->queues->len; i++) {
		const struct disk_stats *s = &((const struct disk_queue *)d->queues->pdata[i])->stats;

		for (int op = 0; op < DISK_OPS; op++) {
			ret->by[op].done += s->by[op].done;
			ret->by[op].failed += s->by[op].failed;
			ret->by[op].bytes += s->by[op].bytes;
			ret->by[op].us += s->by[op].us;
		}
		ret->highest = MAX(ret->highest, s->highest);
		ret->last = MAX(ret->last, s->last);
	}
}

void disk_set_client(struct disk *d, const struct disk_client *client, void *opaque)
{
	d->client = client;
	d->client_opaque = opaque;
}

void disk_set_error_func(struct disk *d, disk_error_func *func, void *opaque)
{
	d->error = func;
	d->error_opaque = opaque;
}

const struct throttle_config *disk_throttle(const struct disk *d)
{
	static const struct throttle_config none;

	return d->group ? throttle_group_config(d->group) : &none;
}

const char *disk_throttle_group(const struct disk *d)
{
	return d->group ? throttle_group_name(d->group) : NULL;
}

void disk_join_throttle_group(struct disk *d, const char *name)
{
	join_group(d, name ? throttle_group_get(name) : NULL);
	disk_update_special(d);
}

bool disk_set_throttle(struct disk *d, const struct throttle_config *c, const char *group, GError **error)
{
	if (!throttle_check(c, error))
		return false;
	if (!throttle_limits(c)) {
		disk_join_throttle_group(d, NULL);
		return true;
	}
	if (!d->group || group)
		disk_join_throttle_group(d, group ? group : d->id);
	throttle_group_set(d->group, c);
	return true;
}

void disk_hurry(struct disk *d)
{
	g_mutex_lock(&d->lock);
	for (unsigned i = 0; i < d->queues->len; i++) {
		struct disk_queue *q = d->queues->pdata[i];

		if (__atomic_load_n(&d->group, __ATOMIC_ACQUIRE))
			throttle_queue_hurry(&q->limit);
		if (q->io)
			image_queue_hurry(q->io);
	}
	g_mutex_unlock(&d->lock);
}

static bool open_queues(struct disk *d, struct image *img, struct image_queue **queues, GError **error)
{
	for (unsigned i = 0; img && i < d->queues->len; i++) {
		const struct disk_queue *q = d->queues->pdata[i];

		queues[i] = image_queue_new(img, q->context, q->depth, error);
		if (queues[i]) {
			image_queue_on_batch(queues[i], q->batch, q->batch_opaque);
			continue;
		}
		while (i--)
			image_queue_free(queues[i]);
		return false;
	}
	return true;
}

/* New requests find the new queues; the old ones end theirs before they are gone, and so does the image. */
bool disk_set_image(struct disk *d, struct image *img, GError **error)
{
	g_autofree struct image_queue **queues = g_new0(struct image_queue *, d->queues->len + 1);
	struct image *old = d->image;

	if (!img && (!d->client || !d->client->medium_changed))
		return kv_fail(error, KV_ERROR_USAGE, "%s: its medium cannot be taken out", d->id);
	if (!open_queues(d, img, queues, error))
		return false;
	__atomic_store_n(&d->image, img, __ATOMIC_RELEASE);
	disk_update_special(d);
	g_mutex_lock(&d->lock); /* for disk_hurry() */
	for (unsigned i = 0; i < d->queues->len; i++) {
		struct disk_queue *q = d->queues->pdata[i];
		struct image_queue *before = q->io;

		q->io = queues[i];
		queues[i] = before;
	}
	g_mutex_unlock(&d->lock);
	for (unsigned i = 0; i < d->queues->len; i++)
		if (queues[i])
			image_queue_free(queues[i]);
	if (old)
		image_close(old);
	if (d->client && d->client->medium_changed)
		d->client->medium_changed(d->client_opaque);
	return true;
}

void disk_replace_image(struct disk *d, struct image *img)
{
	struct image *old = d->image;
	bool resized = old->size != img->size;

	image_drain_begin(old);
	image_drain_begin(img);
	for (unsigned i = 0; i < d->queues->len; i++)
		image_queue_set_image(((struct disk_queue *)d->queues->pdata[i])->io, img);
	__atomic_store_n(&d->image, image_ref(img), __ATOMIC_RELEASE);
	disk_update_special(d);
	image_drain_end(img);
	image_drain_end(old);
	image_close(old);
	if (resized && d->client && d->client->resized)
		d->client->resized(d->client_opaque);
}

bool disk_resize(struct disk *d, uint64_t bytes, GError **error)
{
	bool ok;

	if (!d->image)
		return kv_fail(error, KV_ERROR_USAGE, "%s is empty", d->id);
	image_drain_begin(d->image);
	ok = image_resize(d->image, bytes, IMAGE_PREALLOC_OFF, error);
	image_drain_end(d->image);
	if (!ok)
		return false;
	if (d->client && d->client->resized)
		d->client->resized(d->client_opaque);
	return true;
}
