/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The part of virtio that is the same for every device and every transport: the status
 * machine, feature negotiation, configuration bytes, queue threads and interrupts. Written
 * once here so that a device file holds only what the device does. See virtio.h.
 */
#include "virtio.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <linux/virtio_ring.h>

#include "log.h"

enum {
	COMMON_SELECTS = 2, /* 64 feature bits */
};

struct virtio_queue_source {
	GSource base;
	struct virtio_device *v;
	struct virtqueue *vq;
	int fd;
};

static const uint64_t common_features = 1ull << VIRTIO_F_VERSION_1 |
					1ull << VIRTIO_F_RING_PACKED |
					1ull << VIRTIO_RING_F_EVENT_IDX |
					1ull << VIRTIO_RING_F_INDIRECT_DESC;

bool virtio_live(struct virtio_device *v)
{
	return __atomic_load_n(&v->live, __ATOMIC_ACQUIRE) &&
	       !__atomic_load_n(&v->paused, __ATOMIC_ACQUIRE);
}

static gboolean queue_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	struct virtio_queue_source *s = (struct virtio_queue_source *)source;
	uint64_t count;

	if (read(s->fd, &count, sizeof(count)) < 0)
		return G_SOURCE_CONTINUE;
	g_mutex_lock(&s->vq->lock);
	if (virtio_live(s->v) && s->vq->started)
		s->v->cls->notify(s->v, s->vq);
	if (s->vq->broken)
		virtio_break(s->v, s->vq->why);
	g_mutex_unlock(&s->vq->lock);
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs queue_source_funcs = { .dispatch = queue_dispatch };

void virtio_init(struct virtio_device *v, const struct virtio_class *cls, const char *id,
		 struct guest_mem *mem, GMainContext *context, uint64_t features,
		 unsigned config_size, unsigned n_queues, uint16_t queue_size)
{
	g_assert(n_queues <= VIRTIO_MAX_QUEUES && config_size <= VIRTIO_CONFIG_MAX &&
		 queue_size <= VIRTQ_MAX_SIZE);
	v->cls = cls;
	v->id = id;
	v->mem = mem;
	v->context = context;
	v->host_features = features | common_features;
	v->config_size = config_size;
	v->config_vector = 0xffff;
	g_mutex_init(&v->lock);
	v->n_queues = n_queues;
	v->queues = g_new0(struct virtqueue, n_queues);
	v->sources = g_new0(struct virtio_queue_source *, n_queues);
	for (unsigned i = 0; i < n_queues; i++) {
		GSource *source = g_source_new(&queue_source_funcs, sizeof(**v->sources));
		struct virtio_queue_source *s = (struct virtio_queue_source *)source;

		virtq_init(&v->queues[i], mem, i, queue_size);
		s->v = v;
		s->vq = &v->queues[i];
		s->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (s->fd < 0)
			g_error("eventfd: %s", g_strerror(errno)); /* out of descriptors */
		g_source_add_unix_fd(source, s->fd, G_IO_IN);
		g_source_attach(source, context);
		v->sources[i] = s;
	}
}

void virtio_destroy(struct virtio_device *v)
{
	virtio_reset(v);
	for (unsigned i = 0; i < v->n_queues; i++) {
		close(v->sources[i]->fd);
		g_source_destroy(&v->sources[i]->base);
		g_source_unref(&v->sources[i]->base);
		virtq_destroy(&v->queues[i]);
	}
	g_free(v->sources);
	g_free(v->queues);
	g_mutex_clear(&v->lock);
}

int virtio_queue_eventfd(struct virtio_device *v, unsigned index)
{
	return v->sources[index]->fd;
}

void virtio_queue_kick(struct virtio_device *v, unsigned index)
{
	uint64_t one = 1;

	/* A full counter (EAGAIN) is a pending wake-up as well. */
	if (write(v->sources[index]->fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		kv_log_warn("%s: cannot wake queue %u: %s", v->id, index, g_strerror(errno));
}

static void kick_all(struct virtio_device *v)
{
	for (unsigned i = 0; i < v->n_queues; i++)
		if (v->queues[i].started)
			virtio_queue_kick(v, i);
}

void virtio_queue_flush(struct virtio_device *v, struct virtqueue *vq)
{
	if (virtq_publish(vq))
		v->transport->interrupt(v->transport_opaque, vq);
	if (vq->broken)
		virtio_break(v, vq->why);
}

static bool driver_ok(struct virtio_device *v)
{
	return __atomic_load_n(&v->status, __ATOMIC_ACQUIRE) & VIRTIO_CONFIG_S_DRIVER_OK;
}

void virtio_config_changed(struct virtio_device *v)
{
	__atomic_add_fetch(&v->generation, 1, __ATOMIC_RELEASE);
	if (driver_ok(v))
		v->transport->interrupt(v->transport_opaque, NULL);
}

void virtio_break(struct virtio_device *v, const char *why)
{
	if (!__atomic_exchange_n(&v->live, false, __ATOMIC_ACQ_REL))
		return;
	kv_log_warn("%s: stopped until the driver resets it: %s", v->id, why);
	__atomic_or_fetch(&v->status, VIRTIO_CONFIG_S_NEEDS_RESET, __ATOMIC_RELEASE);
	virtio_config_changed(v);
}

uint64_t virtio_features_page(struct virtio_device *v, bool host, uint32_t select)
{
	uint64_t features = host ? v->host_features : v->features;

	return select < COMMON_SELECTS ? features >> 32 * select & UINT32_MAX : 0;
}

void virtio_write_features(struct virtio_device *v, uint32_t value)
{
	unsigned shift = 32 * (v->guest_select & 1);

	if (v->guest_select >= COMMON_SELECTS || (v->status & VIRTIO_CONFIG_S_FEATURES_OK))
		return;
	v->features = (v->features & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
}

static void start_queue(struct virtio_device *v, struct virtqueue *vq)
{
	g_mutex_lock(&vq->lock);
	if (vq->enabled && !vq->started && virtq_start(vq, v->features))
		virtq_enable_notify(vq);
	g_mutex_unlock(&vq->lock);
}

/* All enabled queues; false, and the device broken, when one is unusable. */
static bool start_queues(struct virtio_device *v)
{
	const char *why = NULL;

	for (unsigned i = 0; i < v->n_queues; i++) {
		start_queue(v, &v->queues[i]);
		if (v->queues[i].broken)
			why = v->queues[i].why;
	}
	__atomic_store_n(&v->live, true, __ATOMIC_RELEASE);
	if (why)
		virtio_break(v, why);
	return !why;
}

void virtio_enable_queue(struct virtio_device *v, struct virtqueue *vq)
{
	vq->enabled = true;
	/* Linux enables its queues before DRIVER_OK; some drivers add one later. */
	if (!v->live)
		return;
	start_queue(v, vq);
	if (vq->broken)
		virtio_break(v, vq->why);
}

static bool features_acceptable(struct virtio_device *v)
{
	return !(v->features & ~v->host_features) && virtio_has(v, VIRTIO_F_VERSION_1);
}

void virtio_write_status(struct virtio_device *v, uint8_t value)
{
	uint8_t old = __atomic_load_n(&v->status, __ATOMIC_ACQUIRE);
	uint8_t rising = value & ~old;

	if (!value) {
		virtio_reset(v);
		return;
	}
	/* Bits are only ever added, and NEEDS_RESET is ours. */
	rising &= ~VIRTIO_CONFIG_S_NEEDS_RESET;
	if ((rising & VIRTIO_CONFIG_S_FEATURES_OK) && !features_acceptable(v))
		rising &= ~VIRTIO_CONFIG_S_FEATURES_OK;
	if ((rising & VIRTIO_CONFIG_S_DRIVER_OK) &&
	    !((old | rising) & VIRTIO_CONFIG_S_FEATURES_OK))
		rising &= ~VIRTIO_CONFIG_S_DRIVER_OK;
	__atomic_or_fetch(&v->status, rising, __ATOMIC_RELEASE);
	if ((rising & VIRTIO_CONFIG_S_DRIVER_OK) && start_queues(v)) {
		if (v->cls->started)
			v->cls->started(v);
		kick_all(v);
	}
}

void virtio_read_config(struct virtio_device *v, unsigned offset, void *data, unsigned len)
{
	memset(data, 0, len);
	if (offset < v->config_size)
		memcpy(data, v->config + offset, MIN(len, v->config_size - offset));
}

void virtio_write_config(struct virtio_device *v, unsigned offset, const void *data, unsigned len)
{
	uint8_t before[VIRTIO_CONFIG_MAX];

	if (!v->cls->config_written || offset >= v->config_size ||
	    len > v->config_size - offset)
		return;
	memcpy(before, v->config, sizeof(before));
	memcpy(v->config + offset, data, len);
	v->cls->config_written(v, before, offset, len);
}

/* Wait until no queue work runs, and have the class finish what it started. */
static void settle(struct virtio_device *v)
{
	for (unsigned i = 0; i < v->n_queues; i++) {
		g_mutex_lock(&v->queues[i].lock);
		g_mutex_unlock(&v->queues[i].lock);
	}
	if (v->cls->quiesce)
		v->cls->quiesce(v);
}

void virtio_reset(struct virtio_device *v)
{
	__atomic_store_n(&v->live, false, __ATOMIC_RELEASE);
	settle(v);
	for (unsigned i = 0; i < v->n_queues; i++) {
		g_mutex_lock(&v->queues[i].lock);
		virtq_reset(&v->queues[i]);
		g_mutex_unlock(&v->queues[i].lock);
	}
	v->features = 0;
	v->config_vector = 0xffff;
	v->queue_select = 0;
	v->host_select = v->guest_select = 0;
	if (v->cls->reset)
		v->cls->reset(v);
	__atomic_store_n(&v->status, 0, __ATOMIC_RELEASE);
}

void virtio_pause(struct virtio_device *v)
{
	__atomic_store_n(&v->paused, true, __ATOMIC_RELEASE);
	settle(v);
}

void virtio_resume(struct virtio_device *v)
{
	__atomic_store_n(&v->paused, false, __ATOMIC_RELEASE);
	kick_all(v);
}
