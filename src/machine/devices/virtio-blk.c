/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtio disk (virtio 1.2, section 5.2): requests from any number of queues to a disk
 * image, asynchronously. A request keeps a copy of its chain; the image writes straight into
 * guest memory and the completion, in the queue's context, pushes the chain.
 */
#include <string.h>

#include <linux/virtio_blk.h>

#include "bytes.h"
#include "device.h"
#include "image.h"
#include "virtio-pci.h"

enum {
	QUEUE_SIZE = 256,
	QUEUES_MAX = 16,
	SEG_MAX = QUEUE_SIZE - 2,
	SECTOR_BITS = 9,
	HEADER = sizeof(struct virtio_blk_outhdr),
	/* One range a request keeps a discard a single image request. */
	DISCARD_SEGS = 1,
	DISCARD_SECTORS = 1 << 22, /* 2 GiB */
};

struct virtio_blk {
	struct virtio_pci_device dev;
	struct image *image;
	struct image_queue *io[QUEUES_MAX];
	char serial[VIRTIO_BLK_ID_BYTES + 1];
	uint64_t requests[2]; /* reads, writes: for --stats */
};

struct blk_req {
	struct image_req io;
	struct virtio_blk *b;
	struct virtqueue *vq;
	struct virtq_chain *chain; /* behind the struct */
	uint8_t *status;
	bool status_in_data; /* the status byte was cut off the last data segment */
	bool flush_after;
};

/* Drop @len bytes from the front of the device-readable part. */
static void skip_out(struct virtq_chain *c, uint32_t len)
{
	c->out_len -= len;
	while (len >= c->out->iov_len && c->n_out) {
		len -= c->out->iov_len;
		c->out++;
		c->n_out--;
	}
	if (len) {
		c->out->iov_base = (char *)c->out->iov_base + len;
		c->out->iov_len -= len;
	}
}

/* The request is over: status byte, used ring. Holds vq->lock; the caller flushes the queue. */
static void finish(struct blk_req *r, uint8_t status)
{
	struct virtq_chain *c = r->chain;

	*r->status = status;
	/* The cut status byte back, so that the whole chain is reported as written. */
	if (r->status_in_data)
		c->in[c->n_in - 1].iov_len++;
	else
		c->n_in++;
	virtq_push(r->vq, c, c->in_len);
	g_free(r);
}

static void submit(struct blk_req *r, enum image_op op, unsigned flags)
{
	r->io.op = op;
	r->io.flags = flags;
	image_submit(r->b->io[r->vq->index], &r->io);
}

/* An image request ended, in the queue's context. */
static void complete(struct image_req *io, int res)
{
	struct blk_req *r = io->opaque;
	struct virtio_blk *b = r->b;
	struct virtqueue *vq = r->vq;

	g_mutex_lock(&vq->lock);
	if (res >= 0 && r->flush_after) {
		r->flush_after = false;
		submit(r, IMAGE_FLUSH, 0);
		image_kick(b->io[vq->index]);
	} else {
		finish(r, res >= 0 ? VIRTIO_BLK_S_OK :
				     res == -ENOTSUP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR);
		virtio_queue_flush(&b->dev.v, vq);
	}
	g_mutex_unlock(&vq->lock);
}

static bool in_image(struct virtio_blk *b, uint64_t sector, uint64_t bytes)
{
	uint64_t sectors = b->image->size >> SECTOR_BITS;

	return sector <= sectors && bytes >> SECTOR_BITS <= sectors - sector;
}

static void start_io(struct blk_req *r, uint64_t sector, bool write)
{
	struct virtq_chain *c = r->chain;
	struct virtio_blk *b = r->b;
	uint64_t len = write ? c->out_len : c->in_len - 1;

	if (len % (1 << SECTOR_BITS) || !in_image(b, sector, len) ||
	    (write && b->image->readonly)) {
		finish(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	if (!len) {
		finish(r, VIRTIO_BLK_S_OK);
		return;
	}
	r->io.iov = write ? c->out : c->in;
	r->io.n_iov = write ? c->n_out : c->n_in;
	r->io.offset = sector << SECTOR_BITS;
	r->io.len = len;
	r->flush_after = write && !b->dev.v.config[offsetof(struct virtio_blk_config, wce)];
	__atomic_add_fetch(&b->requests[write], 1, __ATOMIC_RELAXED);
	submit(r, write ? IMAGE_WRITE : IMAGE_READ, 0);
}

static void start_range(struct blk_req *r, bool zeroes)
{
	struct virtq_chain *c = r->chain;
	struct virtio_blk *b = r->b;
	struct virtio_blk_discard_write_zeroes range;
	uint64_t sector, len;
	uint32_t flags;

	if (b->image->readonly || c->out_len != sizeof(range)) {
		finish(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	virtq_iov_read(c->out, c->n_out, 0, &range, sizeof(range));
	sector = GUINT64_FROM_LE(range.sector);
	len = (uint64_t)GUINT32_FROM_LE(range.num_sectors) << SECTOR_BITS;
	flags = GUINT32_FROM_LE(range.flags);
	if (flags & ~(zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0)) {
		finish(r, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	if (!in_image(b, sector, len) || len >> SECTOR_BITS > DISCARD_SECTORS) {
		finish(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	r->io.offset = sector << SECTOR_BITS;
	r->io.len = len;
	r->flush_after = zeroes && !b->dev.v.config[offsetof(struct virtio_blk_config, wce)];
	submit(r, zeroes ? IMAGE_WRITE_ZEROES : IMAGE_DISCARD,
	       zeroes && (flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) ? IMAGE_MAY_UNMAP : 0);
}

static void start_request(struct virtio_blk *b, struct virtqueue *vq, struct virtq_chain *chain)
{
	size_t chain_at = (sizeof(struct blk_req) + 7) & ~7ul;
	struct virtio_blk_outhdr h;
	struct blk_req *r;
	struct iovec *last;

	if (chain->out_len < HEADER || !chain->in_len) {
		virtq_break(vq, "disk request without header or status");
		return;
	}
	r = g_malloc(chain_at + virtq_chain_size(chain));
	*r = (struct blk_req){ .b = b, .vq = vq };
	r->io.complete = complete;
	r->io.opaque = r;
	r->chain = virtq_chain_copy(chain, (char *)r + chain_at);
	chain = r->chain;
	virtq_iov_read(chain->out, chain->n_out, 0, &h, HEADER);
	skip_out(chain, HEADER);
	/* The status byte is the last of the writable part, wherever the driver cut it. */
	last = &chain->in[chain->n_in - 1];
	r->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	r->status_in_data = last->iov_len > 1;
	if (r->status_in_data)
		last->iov_len--;
	else
		chain->n_in--;
	switch (GUINT32_FROM_LE(h.type)) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		start_io(r, GUINT64_FROM_LE(h.sector), GUINT32_FROM_LE(h.type));
		break;
	case VIRTIO_BLK_T_FLUSH:
		submit(r, IMAGE_FLUSH, 0);
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		start_range(r, GUINT32_FROM_LE(h.type) == VIRTIO_BLK_T_WRITE_ZEROES);
		break;
	case VIRTIO_BLK_T_GET_ID:
		virtq_iov_write(chain->in, chain->n_in, 0, b->serial, VIRTIO_BLK_ID_BYTES);
		finish(r, VIRTIO_BLK_S_OK);
		break;
	default:
		finish(r, VIRTIO_BLK_S_UNSUPP);
	}
}

static void blk_notify(struct virtio_device *v, struct virtqueue *vq)
{
	struct virtio_blk *b = (struct virtio_blk *)v;
	struct virtq_chain *chain;
	unsigned budget = 2 * vq->size;

	do {
		virtq_disable_notify(vq);
		while (budget && (chain = virtq_pop(vq))) {
			budget--;
			start_request(b, vq, chain);
		}
	} while (budget && virtq_enable_notify(vq));
	if (!budget)
		virtio_queue_kick(v, vq->index);
	image_kick(b->io[vq->index]);
	virtio_queue_flush(v, vq);
}
