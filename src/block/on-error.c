/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What becomes of a request that failed (rerror, werror): reported to the guest, ignored, or kept until disk_resume(). Kept
 * requests are not under way, so nothing waits for them: the VM pauses, and can be reset or ended, with requests kept.
 * Called by disk.c.
 */
#include <errno.h>

#include "block-internal.h"

/* Not a fault of the host's: the device asked for what there is not. */
static bool is_answer(int err)
{
	return err == EINVAL || err == EROFS || err == ENOTSUP || err == ENOMEDIUM;
}

static enum disk_policy decide(const struct disk *d, bool read, int err)
{
	enum disk_policy p = read ? d->on_read : d->on_write;

	if (p == DISK_ENOSPC)
		p = err == ENOSPC ? DISK_STOP : DISK_REPORT;
	return p;
}

/* A guest can make as many errors as it likes where they do not stop it. */
static bool too_many(struct disk *d, const struct disk_error *e)
{
	int64_t now = g_get_monotonic_time();

	if (e->action == DISK_STOP)
		return false;
	if (d->told_us && now - d->told_us < G_USEC_PER_SEC)
		return true;
	d->told_us = now;
	return false;
}

static void note(struct disk *d, const struct disk_error *e)
{
	/* The first failure counts. */
	enum disk_status ok = DISK_OK;

	if (too_many(d, e))
		return;
	if (e->action == DISK_STOP)
		__atomic_compare_exchange_n(&d->status, &ok, e->err == ENOSPC ? DISK_NOSPACE : DISK_FAILED, false,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	if (d->error)
		d->error(d->error_opaque, d, e);
}

static void keep(struct disk_req *req)
{
	struct disk_queue *q = req->queue;
	struct disk *d = q->disk;

	g_mutex_lock(&d->lock);
	disk_list_add(&q->kept, req);
	g_mutex_unlock(&d->lock);
	d->client->kept(req, true);
}

bool disk_failed(struct disk_req *req, int *res)
{
	struct disk *d = req->queue->disk;
	int err = -*res;
	bool read = req->op == IMAGE_READ;
	struct disk_error e = {.read = read, .err = err};

	if (is_answer(err))
		return false;
	e.action = decide(d, read, err);
	/* A device that cannot keep requests has them reported. */
	if (e.action == DISK_STOP && (!d->client || !d->client->kept))
		e.action = DISK_REPORT;
	e.nospace_counts = d->on_write == DISK_STOP || d->on_write == DISK_ENOSPC || d->on_read == DISK_STOP;
	note(d, &e);
	if (e.action == DISK_IGNORE)
		*res = 0;
	if (e.action == DISK_STOP)
		keep(req);
	return e.action == DISK_STOP;
}

/* All queues' kept requests, in order, as one list. */
static void take_kept(struct disk *d, struct disk_list *ret)
{
	struct disk_req *req;

	disk_list_init(ret);
	g_mutex_lock(&d->lock);
	for (unsigned i = 0; i < d->queues->len; i++)
		while ((req = disk_list_take(&((struct disk_queue *)d->queues->pdata[i])->kept)))
			disk_list_add(ret, req);
	g_mutex_unlock(&d->lock);
}

void disk_resume(struct disk *d)
{
	struct disk_list list;
	struct disk_req *req;

	__atomic_store_n(&d->status, DISK_OK, __ATOMIC_RELAXED);
	take_kept(d, &list);
	while ((req = disk_list_take(&list))) {
		struct disk_queue *q = req->queue;

		req->io.op = req->op;
		d->client->kept(req, false);
		disk_submit(q, req);
		disk_kick(q);
	}
}

bool disk_has_kept(const struct disk *d)
{
	bool kept = false;

	g_mutex_lock((GMutex *)&d->lock);
	for (unsigned i = 0; i < d->queues->len; i++)
		kept |= ((struct disk_queue *)d->queues->pdata[i])->kept.head != NULL;
	g_mutex_unlock((GMutex *)&d->lock);
	return kept;
}

void disk_queue_drop(struct disk_queue *q, void (*drop)(struct disk_req *req))
{
	struct disk *d = q->disk;
	struct disk_req *req;

	for (;;) {
		g_mutex_lock(&d->lock);
		req = disk_list_take(&q->kept);
		g_mutex_unlock(&d->lock);
		if (!req)
			return;
		drop(req);
	}
}

enum disk_status disk_status(const struct disk *d)
{
	return __atomic_load_n(&d->status, __ATOMIC_RELAXED);
}
