/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The part of virtio that is the same for every device and every transport: the status
 * machine, feature negotiation, configuration bytes, queue threads and interrupts. Written
 * once here so that a device file holds only what the device does. See virtio.h.
 */
#include "virtio.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <linux/virtio_ring.h>

#include "error.h"
#include "log.h"

enum {
	FEATURE_PAGES = 2, /* of 32 bits */
	RESET_WAIT_US = 50000,
	BREAKS_LOGGED = 5,
	ROUNDS_MAX = 16, /* of one queue, before others have their turn */
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

static void work(struct virtio_device *v, struct virtqueue *vq)
{
	g_mutex_lock(&vq->lock);
	if (virtio_live(v) && vq->started)
		v->cls->notify(v, vq);
	if (vq->broken)
		virtio_break(v, vq->why);
	g_mutex_unlock(&vq->lock);
}

static gboolean queue_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	struct virtio_queue_source *s = (struct virtio_queue_source *)source;
	unsigned rounds = 0;
	uint64_t count;

	if (read(s->fd, &count, sizeof(count)) < 0)
		return G_SOURCE_CONTINUE;
	do {
		work(s->v, s->vq);
	} while (s->v->cls->settle && s->v->cls->settle(s->v, s->vq) && ++rounds < ROUNDS_MAX);
	if (rounds == ROUNDS_MAX)
		virtio_queue_kick(s->v, s->vq->index);
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs queue_source_funcs = { .dispatch = queue_dispatch };

static void free_queues(struct virtio_device *v)
{
	for (unsigned i = 0; i < v->n_queues; i++) {
		if (v->sources[i]) {
			close(v->sources[i]->fd);
			g_source_destroy(&v->sources[i]->base);
			g_source_unref(&v->sources[i]->base);
		}
		virtq_destroy(&v->queues[i]);
	}
	g_free(v->sources);
	g_free(v->queues);
	g_cond_clear(&v->idle);
	g_mutex_clear(&v->idle_lock);
	g_mutex_clear(&v->lock);
}

static bool add_source(struct virtio_device *v, unsigned index, GError **error)
{
	struct virtio_queue_source *s;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return kv_fail_errno(error, errno, "%s: cannot get an event for queue %u", v->id,
				     index);
	s = (struct virtio_queue_source *)g_source_new(&queue_source_funcs, sizeof(*s));
	s->v = v;
	s->vq = &v->queues[index];
	s->fd = fd;
	g_source_add_unix_fd(&s->base, fd, G_IO_IN);
	/* Else GLib wakes its own loop, with three system calls, after each dispatch. */
	g_source_set_can_recurse(&s->base, TRUE);
	g_source_attach(&s->base, v->context);
	v->sources[index] = s;
	return true;
}

bool virtio_init(struct virtio_device *v, const struct virtio_class *cls, void *owner,
		 const char *id, struct guest_mem *mem, GMainContext *context, uint64_t features,
		 unsigned config_size, unsigned n_queues, uint16_t queue_size, GError **error)
{
	g_assert(n_queues <= VIRTIO_MAX_QUEUES && config_size <= VIRTIO_CONFIG_MAX &&
		 queue_size <= VIRTQ_MAX_SIZE);
	v->cls = cls;
	v->owner = owner;
	v->id = id;
	v->mem = mem;
	v->context = context;
	v->host_features = features | common_features;
	v->config_size = config_size;
	v->config_vector = 0xffff;
	g_mutex_init(&v->lock);
	g_mutex_init(&v->idle_lock);
	g_cond_init(&v->idle);
	v->n_queues = n_queues;
	v->queues = g_new0(struct virtqueue, n_queues);
	v->sources = g_new0(struct virtio_queue_source *, n_queues);
	for (unsigned i = 0; i < n_queues; i++)
		virtq_init(&v->queues[i], mem, i, queue_size);
	for (unsigned i = 0; i < n_queues; i++)
		if (!add_source(v, i, error)) {
			free_queues(v);
			return false;
		}
	return true;
}

void virtio_destroy(struct virtio_device *v)
{
	virtio_reset(v);
	free_queues(v);
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
	/* A hostile driver does this in a loop: the log is not to be flooded. */
	if (v->breaks++ < BREAKS_LOGGED)
		kv_log_warn("%s: stopped until the driver resets it: %s", v->id, why);
	__atomic_or_fetch(&v->status, VIRTIO_CONFIG_S_NEEDS_RESET, __ATOMIC_RELEASE);
	virtio_config_changed(v);
}

uint32_t virtio_features_page(struct virtio_device *v, bool host, uint32_t select)
{
	uint64_t features = host ? v->host_features : v->features;

	return select < FEATURE_PAGES ? features >> 32 * select & UINT32_MAX : 0;
}

void virtio_write_features(struct virtio_device *v, uint32_t value)
{
	unsigned shift = 32 * (v->guest_select & 1);

	if (v->guest_select >= FEATURE_PAGES || (v->status & VIRTIO_CONFIG_S_FEATURES_OK))
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

void virtio_request_begin(struct virtio_device *v)
{
	__atomic_add_fetch(&v->in_flight, 1, __ATOMIC_ACQ_REL);
}

void virtio_request_end(struct virtio_device *v)
{
	if (__atomic_sub_fetch(&v->in_flight, 1, __ATOMIC_ACQ_REL))
		return;
	g_mutex_lock(&v->idle_lock);
	if (v->idle_waiters) /* GLib asks the kernel even if there is nobody */
		g_cond_broadcast(&v->idle);
	g_mutex_unlock(&v->idle_lock);
}

static bool is_idle(struct virtio_device *v)
{
	return !__atomic_load_n(&v->in_flight, __ATOMIC_ACQUIRE);
}

/* With live or paused changed before: no queue work runs any more when this returns. */
static void fence_queues(struct virtio_device *v)
{
	for (unsigned i = 0; i < v->n_queues; i++) {
		g_mutex_lock(&v->queues[i].lock);
		g_mutex_unlock(&v->queues[i].lock);
	}
}

static void hurry(struct virtio_device *v)
{
	if (v->cls->hurry)
		v->cls->hurry(v);
}

static bool wait_idle(struct virtio_device *v, int64_t until_us)
{
	bool ok = true;

	g_mutex_lock(&v->idle_lock);
	v->idle_waiters++;
	while (!is_idle(v) && ok)
		ok = g_cond_wait_until(&v->idle, &v->idle_lock, until_us);
	v->idle_waiters--;
	g_mutex_unlock(&v->idle_lock);
	return is_idle(v);
}

/* Completions come through the context: run it when it is ours to run, else wait for them. */
static void drain(struct virtio_device *v)
{
	fence_queues(v);
	hurry(v);
	while (!is_idle(v)) {
		if (g_main_context_acquire(v->context)) {
			g_main_context_iteration(v->context, TRUE);
			g_main_context_release(v->context);
		} else {
			wait_idle(v, g_get_monotonic_time() + RESET_WAIT_US);
		}
	}
}

static void finish_reset(struct virtio_device *v)
{
	for (unsigned i = 0; i < v->n_queues; i++) {
		g_mutex_lock(&v->queues[i].lock);
		virtq_reset(&v->queues[i]);
		g_mutex_unlock(&v->queues[i].lock);
	}
	v->features = 0;
	v->config_vector = 0xffff;
	v->queue_select = 0;
	v->host_select = v->guest_select = 0;
	v->resetting = false;
	if (v->cls->reset)
		v->cls->reset(v);
	__atomic_store_n(&v->status, 0, __ATOMIC_RELEASE);
}

/*
 * Reset by the driver, in a vCPU thread: it must not wait for long here, the main thread may
 * be waiting for this vCPU. What is still in flight then is waited for by the driver, which
 * reads the status until it is 0 (section 4.1.4.3.2).
 */
static void start_reset(struct virtio_device *v)
{
	__atomic_store_n(&v->live, false, __ATOMIC_RELEASE);
	fence_queues(v);
	v->resetting = true;
	hurry(v);
	if (is_idle(v) || wait_idle(v, g_get_monotonic_time() + RESET_WAIT_US))
		finish_reset(v);
}

uint8_t virtio_read_status(struct virtio_device *v)
{
	if (v->resetting && is_idle(v))
		finish_reset(v);
	return __atomic_load_n(&v->status, __ATOMIC_ACQUIRE);
}

void virtio_write_status(struct virtio_device *v, uint8_t value)
{
	uint8_t old = __atomic_load_n(&v->status, __ATOMIC_ACQUIRE);
	uint8_t rising = value & ~old;

	if (!value) {
		start_reset(v);
		return;
	}
	if (v->resetting)
		return;
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

void virtio_reset(struct virtio_device *v)
{
	__atomic_store_n(&v->live, false, __ATOMIC_RELEASE);
	drain(v);
	finish_reset(v);
}

void virtio_pause(struct virtio_device *v)
{
	__atomic_store_n(&v->paused, true, __ATOMIC_RELEASE);
	drain(v);
}

void virtio_resume(struct virtio_device *v)
{
	__atomic_store_n(&v->paused, false, __ATOMIC_RELEASE);
	kick_all(v);
}

bool virtio_loaded(struct virtio_device *v, GError **error)
{
	bool running = v->status & VIRTIO_CONFIG_S_DRIVER_OK;

	if ((v->status & VIRTIO_CONFIG_S_FEATURES_OK) && !features_acceptable(v))
		return kv_fail(error, KV_ERROR_INVALID,
			       "%s: the saved state uses features 0x%" PRIx64
			       " that this device does not offer; give it the same options",
			       v->id, v->features & ~v->host_features);
	v->live = false;
	for (unsigned i = 0; i < v->n_queues; i++) {
		virtq_stop(&v->queues[i]);
		v->queues[i].broken = false;
	}
	if (!running || (v->status & VIRTIO_CONFIG_S_NEEDS_RESET) || v->resetting)
		return true;
	for (unsigned i = 0; i < v->n_queues; i++) {
		start_queue(v, &v->queues[i]);
		if (v->queues[i].broken)
			return kv_fail(error, KV_ERROR_INVALID, "%s: saved queue %u: %s", v->id, i,
				       v->queues[i].why);
	}
	v->live = true;
	kick_all(v);
	return true;
}

static const struct state_field queue_state_fields[] = {
	STATE_INT(struct virtqueue, size, STATE_U16),
	STATE_INT(struct virtqueue, vector, STATE_U16),
	STATE_INT(struct virtqueue, enabled, STATE_BOOL),
	STATE_INT(struct virtqueue, desc, STATE_U64),
	STATE_INT(struct virtqueue, avail, STATE_U64),
	STATE_INT(struct virtqueue, used, STATE_U64),
	STATE_INT(struct virtqueue, next_avail, STATE_U16),
	STATE_INT(struct virtqueue, next_used, STATE_U16),
	STATE_INT(struct virtqueue, avail_wrap, STATE_BOOL),
	STATE_INT(struct virtqueue, used_wrap, STATE_BOOL),
	STATE_END,
};

const struct state_field virtio_state_fields[] = {
	STATE_INT(struct virtio_device, status, STATE_U8),
	STATE_INT(struct virtio_device, generation, STATE_U8),
	STATE_INT(struct virtio_device, config_vector, STATE_U16),
	STATE_INT(struct virtio_device, queue_select, STATE_U16),
	STATE_INT(struct virtio_device, host_select, STATE_U32),
	STATE_INT(struct virtio_device, guest_select, STATE_U32),
	STATE_INT(struct virtio_device, features, STATE_U64),
	STATE_INT(struct virtio_device, resetting, STATE_BOOL),
	STATE_RAW(struct virtio_device, config),
	{ .name = "queues", .offset = offsetof(struct virtio_device, queues),
	  .type = STATE_POINTER_STRUCT, .since = 1, .size = sizeof(struct virtqueue),
	  .count = VIRTIO_MAX_QUEUES, .count_at = offsetof(struct virtio_device, n_queues),
	  .fields = queue_state_fields },
	STATE_END,
};
