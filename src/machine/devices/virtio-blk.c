/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtio disk (virtio 1.2, section 5.2): requests from any number of queues to a drive,
 * asynchronously. A request keeps a copy of its chain; the drive's image writes straight into
 * guest memory and the completion, in the queue's context, pushes the chain.
 */
#include <errno.h>
#include <string.h>

#include <linux/virtio_blk.h>

#include "boot-order.h"
#include "bytes.h"
#include "classes.h"
#include "disk.h"
#include "error.h"
#include "iothread.h"
#include "virtio-pci.h"

enum {
	QUEUE_SIZE = 256,
	QUEUES_MAX = 16,
	SEG_MAX = QUEUE_SIZE - 2,
	SECTOR_BITS = 9,
	BLOCK_BITS = 12, /* of the host's page cache */
	HEADER = sizeof(struct virtio_blk_outhdr),
	/* One range a request keeps a discard a single image request. */
	DISCARD_SEGS = 1,
	DISCARD_SECTORS = 1 << 22, /* 2 GiB */
};

/*
 * A guest that keeps many requests under way need not wake us for each few: after a round we sleep for as long as it takes some
 * more to come, notifications being off. What that finds says whether it was worth it; if not, it is not tried again for a while.
 */
struct pace {
	unsigned popped;	/* requests of the last round */
	bool napped;		/* before that round */
	unsigned wait, backoff; /* rounds until it is tried again; what it will be if that is in vain */
	unsigned us;
};
enum {
	NAP_AIM = 26, /* requests that a nap is to find */
	NAP_FEW = 5,
	NAPS = 3, /* in a row, when there is nothing: a guest whose requests have all ended begins anew */
	NAP_US_MIN = 10,
	NAP_US_MAX = 200,
	BACKOFF_MIN = 32,
	BACKOFF_MAX = 4096,
};

/* What is over and not told: the guest is interrupted once for all that ends together. */
struct ended {
	struct virtio_blk *b;
	struct virtqueue *vq;
	unsigned n; /* vq->lock */
};

struct virtio_blk {
	struct virtio_pci_device dev;
	struct disk *disk;
	struct iothread *iothread; /* NULL: the main loop serves it */
	bool held;		   /* ... and we hold it: the device rests */
	struct disk_queue *io[QUEUES_MAX];
	struct pace pace[QUEUES_MAX];
	struct ended ended[QUEUES_MAX];
	unsigned n_io;
	char serial[VIRTIO_BLK_ID_BYTES];
	uint64_t requests[2]; /* reads, writes: for --stats */
};

struct blk_req {
	struct disk_req disk; /* first */
	struct virtio_blk *b;
	struct virtqueue *vq;
	struct virtq_chain *chain; /* behind the struct */
	uint8_t *status;
	bool status_in_data; /* the status byte was cut off the last data segment */
};

/* Drop @len bytes from the front of the device-readable part. */
static void skip_out(struct virtq_chain *c, uint32_t len)
{
	c->out_len -= len;
	while (c->n_out && len >= c->out->iov_len) {
		len -= c->out->iov_len;
		c->out++;
		c->n_out--;
	}
	if (len) {
		c->out->iov_base = (char *)c->out->iov_base + len;
		c->out->iov_len -= len;
	}
}

/* The request is over: status byte, used ring. Holds vq->lock; the guest learns of it by tell(). */
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
	r->b->ended[r->vq->index].n++;
	g_free(r);
}

/* Holds vq->lock. */
static void tell(struct ended *e)
{
	virtio_queue_flush(&e->b->dev.v, e->vq);
	for (; e->n; e->n--)
		virtio_request_end(&e->b->dev.v);
}

static void tell_batch(void *opaque)
{
	struct ended *e = opaque;

	g_mutex_lock(&e->vq->lock);
	tell(e);
	g_mutex_unlock(&e->vq->lock);
}

static bool writethrough(struct virtio_blk *b)
{
	struct virtio_device *v = &b->dev.v;

	/* A driver without FLUSH cannot ask for its data to be stable, so every write is. */
	return !virtio_has(v, VIRTIO_BLK_F_FLUSH) ||
	       !__atomic_load_n(&v->config[offsetof(struct virtio_blk_config, wce)],
				__ATOMIC_RELAXED);
}

static void submit(struct blk_req *r, enum image_op op, unsigned flags)
{
	r->disk.io.op = op;
	r->disk.io.flags = flags;
	disk_submit(r->b->io[r->vq->index], &r->disk);
}

/* The drive is done with a request, in the queue's context. */
static void complete(struct disk_req *req, int res)
{
	struct blk_req *r = (struct blk_req *)req;
	struct virtqueue *vq = r->vq;
	uint8_t status = VIRTIO_BLK_S_OK;

	if (res < 0)
		status = res == -ENOTSUP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
	g_mutex_lock(&vq->lock);
	finish(r, status);
	g_mutex_unlock(&vq->lock);
}

/* A failed one waits for the VM to go on: neither pause nor reset wait for it. */
static void kept(struct disk_req *req, bool on)
{
	struct virtio_device *v = &((struct blk_req *)req)->b->dev.v;

	if (on)
		virtio_request_end(v);
	else
		virtio_request_begin(v);
}

static void drop(struct disk_req *req)
{
	g_free(req);
}

static bool in_image(struct virtio_blk *b, uint64_t sector, uint64_t bytes)
{
	uint64_t sectors = disk_size(b->disk) >> SECTOR_BITS;

	return sector <= sectors && bytes >> SECTOR_BITS <= sectors - sector;
}

static void start_io(struct blk_req *r, uint64_t sector, bool write)
{
	struct virtq_chain *c = r->chain;
	struct virtio_blk *b = r->b;
	uint64_t len = write ? c->out_len : c->in_len - 1;

	if (len % (1 << SECTOR_BITS) || !in_image(b, sector, len) ||
	    (write && disk_is_readonly(b->disk))) {
		finish(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	if (!len) {
		finish(r, VIRTIO_BLK_S_OK);
		return;
	}
	r->disk.io.iov = write ? c->out : c->in;
	r->disk.io.n_iov = write ? c->n_out : c->n_in;
	r->disk.io.offset = sector << SECTOR_BITS;
	r->disk.io.len = len;
	r->disk.durable = write && writethrough(b);
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

	if (disk_is_readonly(b->disk) || c->out_len != sizeof(range)) {
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
	r->disk.io.offset = sector << SECTOR_BITS;
	r->disk.io.len = len;
	r->disk.durable = zeroes && writethrough(b);
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
	r->disk.complete = complete;
	virtio_request_begin(&b->dev.v);
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

/* Notifications stay off until blk_settle(): many requests of a busy guest come while the ones before are done. */
static void blk_notify(struct virtio_device *v, struct virtqueue *vq)
{
	struct virtio_blk *b = v->owner;
	struct virtq_chain *chain;
	unsigned n = 0;

	virtq_disable_notify(vq);
	while (n < vq->size && (chain = virtq_pop(vq))) {
		start_request(b, vq, chain);
		n++;
	}
	b->pace[vq->index].popped = n;
	tell(&b->ended[vq->index]);
}

static void nap_in_vain(struct pace *p)
{
	p->napped = false;
	p->wait = p->backoff;
	p->backoff = MIN(2 * p->backoff, BACKOFF_MAX);
}

static bool wants_nap(struct pace *p)
{
	if (!p->popped)
		return false;
	if (!p->napped)
		return !p->wait || !--p->wait;
	if (p->popped < NAP_FEW && p->us == NAP_US_MAX) {
		nap_in_vain(p);
		return false;
	}
	if (p->popped >= NAP_FEW)
		p->backoff = BACKOFF_MIN;
	p->us = CLAMP(p->us * NAP_AIM / p->popped, NAP_US_MIN, NAP_US_MAX);
	return true;
}

static bool is_at_work(struct virtio_device *v, const struct virtqueue *vq)
{
	return virtio_live(v) && vq->started && !vq->broken;
}

/* True: there are requests. */
static bool nap(struct pace *p, struct virtio_device *v, struct virtqueue *vq)
{
	bool found = false;

	p->napped = true;
	for (unsigned i = 0; i < NAPS && !found; i++) {
		disk_reap(((struct virtio_blk *)v->owner)->io[vq->index], NAP_US_MAX);
		g_usleep(p->us);
		g_mutex_lock(&vq->lock);
		found = is_at_work(v, vq) && !virtq_empty(vq);
		g_mutex_unlock(&vq->lock);
		if (!found)
			p->us = MIN(2 * p->us, NAP_US_MAX);
	}
	if (!found)
		nap_in_vain(p);
	return found;
}

static bool blk_settle(struct virtio_device *v, struct virtqueue *vq)
{
	struct virtio_blk *b = v->owner;
	struct pace *p = &b->pace[vq->index];
	bool more;

	if (wants_nap(p)) {
		if (nap(p, v, vq))
			return true;
	} else {
		disk_kick(b->io[vq->index]);
		disk_reap(b->io[vq->index], 0);
	}
	g_mutex_lock(&vq->lock);
	more = is_at_work(v, vq) && virtq_enable_notify(vq);
	g_mutex_unlock(&vq->lock);
	return more;
}

static void blk_config_written(struct virtio_device *v, const uint8_t *before, unsigned offset,
			       unsigned len)
{
	enum { WCE = offsetof(struct virtio_blk_config, wce) };
	uint8_t wce = v->config[WCE] & 1;

	memcpy(v->config, before, v->config_size);
	if (virtio_has(v, VIRTIO_BLK_F_CONFIG_WCE))
		__atomic_store_n(&v->config[WCE], wce, __ATOMIC_RELAXED);
}

static void drop_kept(struct virtio_blk *b)
{
	for (unsigned i = 0; i < b->n_io; i++)
		disk_queue_drop(b->io[i], drop);
}

static void blk_reset(struct virtio_device *v)
{
	struct virtio_blk *b = v->owner;

	v->config[offsetof(struct virtio_blk_config, wce)] = disk_is_writeback(b->disk);
	drop_kept(b);
}

static void blk_hurry(struct virtio_device *v)
{
	disk_hurry(((struct virtio_blk *)v->owner)->disk);
}

static const struct virtio_class blk_class = {
	.name = "virtio-blk",
	.id = VIRTIO_ID_BLOCK,
	.pci_class = 0x010000,
	.notify = blk_notify,
	.settle = blk_settle,
	.config_written = blk_config_written,
	.reset = blk_reset,
	.hurry = blk_hurry,
};

static void fill_config(struct virtio_blk *b, unsigned queues)
{
	struct virtio_blk_config c = {
		.capacity = GUINT64_TO_LE(disk_size(b->disk) >> SECTOR_BITS),
		.seg_max = GUINT32_TO_LE(SEG_MAX),
		.blk_size = GUINT32_TO_LE(1 << SECTOR_BITS),
		.physical_block_exp = BLOCK_BITS - SECTOR_BITS,
		.min_io_size = GUINT16_TO_LE(1 << (BLOCK_BITS - SECTOR_BITS)),
		.wce = disk_is_writeback(b->disk),
		.num_queues = GUINT16_TO_LE(queues),
		.max_discard_sectors = GUINT32_TO_LE(DISCARD_SECTORS),
		.max_discard_seg = GUINT32_TO_LE(DISCARD_SEGS),
		.discard_sector_alignment = GUINT32_TO_LE(1 << (BLOCK_BITS - SECTOR_BITS)),
		.max_write_zeroes_sectors = GUINT32_TO_LE(DISCARD_SECTORS),
		.max_write_zeroes_seg = GUINT32_TO_LE(DISCARD_SEGS),
		.write_zeroes_may_unmap = 1,
	};

	memcpy(b->dev.v.config, &c, sizeof(c));
}

static void blk_resized(void *opaque)
{
	struct virtio_blk *b = opaque;
	uint64_t *capacity = (uint64_t *)(b->dev.v.config + offsetof(struct virtio_blk_config, capacity));

	__atomic_store_n(capacity, GUINT64_TO_LE(disk_size(b->disk) >> SECTOR_BITS), __ATOMIC_RELAXED);
	virtio_config_changed(&b->dev.v);
}

static const struct disk_client disk_client = { .kept = kept, .resized = blk_resized };

/* While the device rests, or changes, its queues' context is the main thread's. */
static void hold(struct virtio_blk *b)
{
	if (!b->held)
		iothread_hold(b->iothread);
	b->held = true;
}

static void let_go(struct virtio_blk *b)
{
	if (b->held)
		iothread_let_go(b->iothread);
	b->held = false;
}

static void take_iothread(struct virtio_blk *b, struct iothread *t)
{
	b->iothread = t;
	if (t) {
		iothread_take(t);
		b->dev.context = iothread_context(t);
	}
	hold(b);
}

static void give_back_iothread(struct virtio_blk *b)
{
	let_go(b);
	if (b->iothread)
		iothread_give_back(b->iothread);
}

static void close_queues(struct virtio_blk *b)
{
	disk_set_client(b->disk, NULL, NULL);
	while (b->n_io)
		disk_queue_free(b->io[--b->n_io]);
	give_back_iothread(b);
}

static bool blk_create(struct device *dev, GVariant *options,
		       const struct device_backend *backend, GError **error)
{
	struct virtio_blk *b = (struct virtio_blk *)dev;
	g_autofree char *otherwise = g_strndup(dev->id, VIRTIO_BLK_ID_BYTES);
	const char *serial = otherwise;
	uint32_t queues = 1;
	uint64_t features = 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE |
			    1ull << VIRTIO_BLK_F_TOPOLOGY | 1ull << VIRTIO_BLK_F_FLUSH |
			    1ull << VIRTIO_BLK_F_CONFIG_WCE | 1ull << VIRTIO_BLK_F_MQ;

	b->disk = backend ? backend->disk : NULL;
	if (!b->disk || disk_is_empty(b->disk))
		return kv_fail(error, KV_ERROR_USAGE, "%s: a disk needs an image", dev->id);
	if (options) {
		g_variant_lookup(options, "serial", "&s", &serial);
		g_variant_lookup(options, "queues", "u", &queues);
	}
	if (queues < 1 || queues > QUEUES_MAX)
		return kv_fail(error, KV_ERROR_USAGE, "%s: queues is %u; use 1 to %d", dev->id,
			       queues, QUEUES_MAX);
	if (strlen(serial) > VIRTIO_BLK_ID_BYTES)
		return kv_fail(error, KV_ERROR_USAGE, "%s: serial '%s' is longer than %d characters",
			       dev->id, serial, VIRTIO_BLK_ID_BYTES);
	memcpy(b->serial, serial, strlen(serial));
	if (disk_is_readonly(b->disk))
		features |= 1ull << VIRTIO_BLK_F_RO;
	else
		features |= 1ull << VIRTIO_BLK_F_WRITE_ZEROES |
			    (disk_can_discard(b->disk) ? 1ull << VIRTIO_BLK_F_DISCARD : 0);
	for (unsigned i = 0; i < queues; i++)
		b->pace[i] = (struct pace){ .wait = BACKOFF_MIN, .backoff = BACKOFF_MIN, .us = NAP_US_MAX };
	take_iothread(b, backend->iothread);
	for (; b->n_io < queues; b->n_io++) {
		b->io[b->n_io] = disk_queue_new(b->disk, b->dev.context ? b->dev.context : dev->core->context, QUEUE_SIZE, error);
		if (!b->io[b->n_io]) {
			close_queues(b);
			return false;
		}
	}
	if (!virtio_pci_create(dev, &blk_class, features, sizeof(struct virtio_blk_config), queues,
			       QUEUE_SIZE, error)) {
		close_queues(b);
		return false;
	}
	for (unsigned i = 0; i < queues; i++) {
		b->ended[i] = (struct ended){ .b = b, .vq = &b->dev.v.queues[i] };
		disk_queue_on_batch(b->io[i], tell_batch, &b->ended[i]);
	}
	fill_config(b, queues);
	disk_set_client(b->disk, &disk_client, b);
	return true;
}

static void blk_destroy(struct device *dev)
{
	hold((struct virtio_blk *)dev);
	virtio_pci_destroy(dev);
	close_queues((struct virtio_blk *)dev);
}

static void blk_pause(struct device *dev)
{
	hold((struct virtio_blk *)dev);
	virtio_pci_pause(dev);
}

/* Kept requests go on with the VM. */
static void blk_resume(struct device *dev)
{
	virtio_pci_resume(dev);
	disk_resume(((struct virtio_blk *)dev)->disk);
	let_go((struct virtio_blk *)dev);
}

static bool blk_can_save(struct device *dev, GError **error)
{
	if (!disk_has_kept(((struct virtio_blk *)dev)->disk))
		return true;
	return kv_fail(error, KV_ERROR_INVALID,
		       "%s: requests that failed wait to be done again, which a saved state cannot "
		       "have; let the machine go on",
		       dev->id);
}

/* What waited belongs to rings that are not there any more. */
static bool blk_after_load(void *dev, GError **error)
{
	drop_kept(dev);
	return virtio_pci_after_load(dev, error);
}

static char *blk_stats(struct device *dev)
{
	struct virtio_blk *b = (struct virtio_blk *)dev;

	return g_strdup_printf("%s.reads %" G_GUINT64_FORMAT "\n%s.writes %" G_GUINT64_FORMAT "\n",
			       dev->id, b->requests[0], dev->id, b->requests[1]);
}

static const struct state_field blk_fields[] = {
	VIRTIO_PCI_STATE(struct virtio_blk, dev),
	STATE_END,
};

static const struct state_desc blk_state = {
	.name = "virtio-blk",
	.version = 1,
	.oldest = 1,
	.fields = blk_fields,
	.after_load = blk_after_load,
};

static char *blk_boot_path(struct device *dev, char *ret_kind)
{
	*ret_kind = 'c';
	return boot_path_pci((struct pci_device *)dev, "disk@0,0");
}

static const struct device_key blk_keys[] = {{"serial", DEVICE_KEY_TEXT, "serial number"},
					    {"drive", DEVICE_KEY_BACKEND, "a node of blockdev-add"},
					    {"iothread", DEVICE_KEY_BACKEND, "the thread that serves it"},
					    {}};

const struct device_class device_virtio_blk = {
	.name = "virtio-blk",
	.description = "virtio disk",
	.size = sizeof(struct virtio_blk),
	.create = blk_create,
	.reset = virtio_pci_reset,
	.destroy = blk_destroy,
	.pause = blk_pause,
	.resume = blk_resume,
	.can_save = blk_can_save,
	.state = &blk_state,
	.stats = blk_stats,
	.boot_path = blk_boot_path,
	.keys = blk_keys,
};
