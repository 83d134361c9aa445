/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See disk-rig.h. */
#include "disk-rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

void ram_init(struct ram_image *m)
{
	memset(m, 0, sizeof(*m));
	m->img.size = RAM_BYTES;
	m->img.state = m;
	m->tail = &m->waiting;
	for (unsigned i = 0; i < sizeof(m->bytes); i++)
		m->bytes[i] = i * 7 + i / 512;
}

static void transfer(struct ram_image *m, struct image_req *r)
{
	uint64_t at = r->offset;

	for (unsigned i = 0; i < r->n_iov; i++) {
		if (r->op == IMAGE_READ)
			memcpy(r->iov[i].iov_base, m->bytes + at, r->iov[i].iov_len);
		else
			memcpy(m->bytes + at, r->iov[i].iov_base, r->iov[i].iov_len);
		at += r->iov[i].iov_len;
	}
	assert_int_equal(at, r->offset + r->len);
}

static int run(struct ram_image *m, struct image_req *r)
{
	if (m->fail && (!m->fail_ops || (m->fail_ops & 1u << r->op)))
		return -m->fail;
	assert_true(r->op == IMAGE_FLUSH || r->offset + r->len <= m->img.size);
	switch (r->op) {
	case IMAGE_READ:
		m->reads++;
		transfer(m, r);
		break;
	case IMAGE_WRITE:
		m->writes++;
		transfer(m, r);
		break;
	case IMAGE_FLUSH:
		m->flushes++;
		break;
	case IMAGE_DISCARD:
	case IMAGE_WRITE_ZEROES:
		m->discards += r->op == IMAGE_DISCARD;
		m->zeroes += r->op == IMAGE_WRITE_ZEROES;
		m->unmaps += r->op == IMAGE_DISCARD || r->flags & IMAGE_MAY_UNMAP;
		memset(m->bytes + r->offset, 0, r->len);
		break;
	}
	return 0;
}

static gboolean complete_all(gpointer data)
{
	struct ram_image *m = data;

	m->source = 0;
	ram_complete(m);
	return G_SOURCE_REMOVE;
}

void ram_complete(struct ram_image *m)
{
	struct image_req *list = m->waiting;

	m->waiting = NULL;
	m->tail = &m->waiting;
	while (list) {
		struct image_req *r = list;

		list = r->link;
		r->complete(r, run(m, r));
	}
	for (unsigned i = 0; i < RAM_QUEUES; i++)
		if (m->batch[i].fn)
			m->batch[i].fn(m->batch[i].opaque);
}

void image_queue_on_batch(struct image_queue *q, void (*batch)(void *opaque), void *opaque)
{
	struct ram_image *m = q->image->state;

	m->batch[q - m->queue].fn = batch;
	m->batch[q - m->queue].opaque = opaque;
}

struct image_queue *image_queue_new(struct image *img, GMainContext *context, unsigned depth, GError **error)
{
	struct ram_image *m = img->state;

	for (unsigned i = 0; i < RAM_QUEUES; i++)
		if (!m->queue[i].image) {
			m->queue[i].image = img;
			m->n_queues++;
			return &m->queue[i];
		}
	fail_msg("too many queues");
	return NULL;
}

void image_queue_free(struct image_queue *q)
{
	struct ram_image *m = q->image->state;

	while (m->waiting)
		ram_complete(m);
	m->batch[q - m->queue].fn = NULL;
	m->n_queues--;
	q->image = NULL;
}

void image_submit(struct image_queue *q, struct image_req *r)
{
	struct ram_image *m = q->image->state;

	r->link = NULL;
	*m->tail = r;
	m->tail = &r->link;
}

void image_queue_hurry(struct image_queue *q)
{
}

void image_kick(struct image_queue *q)
{
	struct ram_image *m = q->image->state;

	if (m->waiting && !m->hold && !m->source)
		m->source = g_idle_add(complete_all, m);
}

void image_close(struct image *img)
{
	struct ram_image *m = img ? img->state : NULL;

	if (!m)
		return;
	if (m->source)
		g_source_remove(m->source);
	m->source = 0;
	m->closed++;
}

bool image_resize(struct image *img, uint64_t size, enum image_prealloc prealloc, GError **error)
{
	assert_true(size <= 2 * RAM_BYTES);
	__atomic_store_n(&img->size, size, __ATOMIC_RELAXED);
	return true;
}

void image_reap(struct image_queue *q, unsigned us)
{
}

struct image *image_ref(struct image *img)
{
	return img;
}

/* Nothing is submitted between these in the tests. */
void image_drain_begin(struct image *img)
{
	struct ram_image *m = img->state;

	while (m->waiting)
		ram_complete(m);
}

void image_drain_end(struct image *img)
{
}

void image_queue_set_image(struct image_queue *q, struct image *img)
{
	((struct ram_image *)q->image->state)->n_queues--;
	((struct ram_image *)img->state)->n_queues++;
	q->image = img;
}
