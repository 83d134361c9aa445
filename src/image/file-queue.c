/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Asynchronous file I/O. A queue has an io_uring of its own for reads, writes and flushes, so that queues do not contend; what
 * io_uring does not do (holes, formats), does not finish (short transfers) or does not exist for goes to a thread pool that all
 * queues share. Files elsewhere (NBD) have sockets instead. Completions come back through one GSource, which watches the ring,
 * an eventfd of the threads, and the sockets.
 */
#include "file-queue.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <liburing.h>

#include "error.h"
#include "file-sockets.h"
#include "gate.h"
#include "log.h"
#include "role.h"

enum {
	POOL_THREADS = 16, /* those that wait in a gate among them */
	RING_MAX = 1024,
	BATCH = 64, /* completions taken at a time */
	GATHER_FROM = 8, /* under way: gather() waits for more ends */
	GATHER_FEW = 2, /* for fewer it was in vain */
	GATHER_US = 100,
	BACKOFF_MAX = 1024,
	REAP_AIM = 30, /* ends that one wait is for */
	PATIENCE_US_MAX = 1000,
	RETRY_MS = 10,
};

struct file_queue {
	char *name;
	GMainContext *context;
	file_queue_work *work;
	void *opaque;
	int event_fd;
	bool uring;
	struct io_uring ring;
	struct file_sockets sockets;
	GMutex lock; /* the ring and the list */
	struct image_req *done; /* over, and complete() not called; result in req->done */
	unsigned in_flight;	/* atomic */
	unsigned in_ring;	/* of those; lock, and looked at without it */
	void (*batch)(void *opaque); /* NULL: none */
	void *batch_opaque;
	unsigned skip, backoff; /* gather(): times until it is tried again; what it will be if that is in vain */
	unsigned patience_us;	/* wait_for_many(): the context's thread */
	GSource *source;
};

struct file_source {
	GSource base;
	struct file_queue *q; /* freed with the source, which a running dispatch keeps */
	gpointer event_tag;
};

struct finished {
	struct image_req *req;
	int res;
};

/* The queue whose sockets this thread looks after right now; it runs the completions next. */
static __thread struct file_queue *turning;

static void wake(struct file_queue *q)
{
	uint64_t one = 1;

	/* A full counter is a pending wake-up as well. */
	if (write(q->event_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		kv_log_warn("disk '%s': cannot wake its queue: %s", q->name, g_strerror(errno));
}

/* A request is over. Holds lock. */
static void add_done(struct file_queue *q, struct image_req *req, int res)
{
	if (req->layer)
		gate_leave(req->layer->gate);
	req->done = (uint64_t)(int64_t)res;
	req->link = q->done;
	q->done = req;
}

static void post(struct file_queue *q, struct image_req *req, int res)
{
	g_mutex_lock(&q->lock);
	add_done(q, req, res);
	/* Under the lock: once the last request is out of the list, the queue may go away. */
	wake(q);
	g_mutex_unlock(&q->lock);
}

struct pool_job {
	struct file_queue *q;
	struct image_req *req;
};

static void pool_run(gpointer data, gpointer unused)
{
	struct pool_job job = *(struct pool_job *)data;

	kv_role_enter("pool");
	g_free(data);
	post(job.q, job.req, job.req->fd < 0 && !job.req->file ? job.q->work(job.q->opaque, job.req) : file_io(job.req));
}

static void pool_push(struct file_queue *q, struct image_req *req)
{
	static GThreadPool *pool;
	struct pool_job *job = g_new(struct pool_job, 1);

	if (g_once_init_enter(&pool)) {
		GThreadPool *p = g_thread_pool_new(pool_run, NULL, POOL_THREADS, FALSE, NULL);

		g_once_init_leave(&pool, p);
	}
	*job = (struct pool_job){ q, req };
	g_thread_pool_push(pool, job, NULL);
}

/* Hand what was submitted to the kernel; it may be short of memory for a moment. Holds lock. */
static void ring_submit(struct file_queue *q)
{
	int r;

	do {
		r = io_uring_submit(&q->ring);
	} while (r == -EINTR);
	if (r < 0)
		wake(q);
}

static bool ring_push(struct file_queue *q, struct image_req *req)
{
	struct io_uring_sqe *sqe;

	if (!q->uring || req->fd < 0 || req->op > IMAGE_FLUSH || req->n_iov > IOV_MAX)
		return false;
	g_mutex_lock(&q->lock);
	sqe = io_uring_get_sqe(&q->ring);
	if (!sqe) {
		ring_submit(q);
		sqe = io_uring_get_sqe(&q->ring);
	}
	if (sqe) {
		if (req->op == IMAGE_READ)
			io_uring_prep_readv(sqe, req->fd, req->iov, req->n_iov, req->at);
		else if (req->op == IMAGE_WRITE)
			io_uring_prep_writev(sqe, req->fd, req->iov, req->n_iov, req->at);
		else
			io_uring_prep_fsync(sqe, req->fd, IORING_FSYNC_DATASYNC);
		io_uring_sqe_set_data(sqe, req);
		q->in_ring++;
	}
	g_mutex_unlock(&q->lock);
	return sqe;
}

/* A file has done a request: any thread, which holds locks of the file. */
static void socket_over(void *opaque, struct image_req *req, int res)
{
	struct file_socket *k = opaque;
	struct file_queue *q = k->owner;

	g_mutex_lock(&q->lock);
	file_socket_over(k);
	add_done(q, req, res);
	if (turning != q)
		wake(q);
	g_mutex_unlock(&q->lock);
}

static bool socket_push(struct file_queue *q, struct image_req *req)
{
	bool asleep;

	if (req->fd >= 0 || !req->file || !file_sockets_submit(&q->sockets, req, socket_over, &asleep))
		return false;
	if (asleep && !g_main_context_is_owner(q->context))
		wake(q);
	return true;
}

static void turn_sockets(struct file_queue *q, bool ready)
{
	turning = q;
	file_sockets_turn(&q->sockets, ready);
	turning = NULL;
}

void file_queue_submit(struct file_queue *q, struct image_req *req)
{
	__atomic_add_fetch(&q->in_flight, 1, __ATOMIC_RELAXED);
	req->done = 0;
	if (!ring_push(q, req) && !socket_push(q, req))
		pool_push(q, req);
}

void file_queue_post(struct file_queue *q, struct image_req *req, int res)
{
	__atomic_add_fetch(&q->in_flight, 1, __ATOMIC_RELAXED);
	req->layer = NULL;
	post(q, req, res);
}

/* Holds lock. */
static void kick(struct file_queue *q)
{
	if (q->uring && io_uring_sq_ready(&q->ring))
		ring_submit(q);
}

void file_queue_kick(struct file_queue *q)
{
	g_mutex_lock(&q->lock);
	kick(q);
	g_mutex_unlock(&q->lock);
}

/* A completion of the ring: true when the request is over. */
static bool ring_result(struct file_queue *q, struct image_req *req, int res)
{
	if (req->op == IMAGE_FLUSH)
		return true;
	if (res >= 0) {
		req->done += res;
		if (req->done >= req->len)
			return true;
	} else if (res != -EAGAIN && res != -EINTR && res != -EOPNOTSUPP && res != -EINVAL) {
		return true;
	}
	pool_push(q, req);
	return false;
}

/* What the ring has finished, to the list: true when there may be more. Holds lock. */
static bool reap_ring(struct file_queue *q)
{
	struct io_uring_cqe *cqes[BATCH];
	unsigned seen;

	if (!q->uring)
		return false;
	/* A full completion ring keeps more in the kernel until it is asked. */
	if (io_uring_cq_has_overflow(&q->ring))
		io_uring_get_events(&q->ring);
	seen = io_uring_peek_batch_cqe(&q->ring, cqes, BATCH);
	for (unsigned i = 0; i < seen; i++) {
		struct image_req *req = io_uring_cqe_get_data(cqes[i]);

		if (ring_result(q, req, cqes[i]->res))
			add_done(q, req, MIN(cqes[i]->res, 0));
	}
	io_uring_cq_advance(&q->ring, seen);
	q->in_ring -= seen;
	return seen == BATCH;
}

void file_queue_collect(struct file_queue *q)
{
	file_sockets_turn(&q->sockets, false);
	g_mutex_lock(&q->lock);
	kick(q);
	while (reap_ring(q))
		;
	if (q->done)
		wake(q);
	g_mutex_unlock(&q->lock);
}

static unsigned take_finished(struct file_queue *q, struct finished *out)
{
	unsigned n = 0;
	bool more;

	g_mutex_lock(&q->lock);
	more = reap_ring(q);
	for (; q->done && n < BATCH; n++) {
		struct image_req *req = q->done;

		q->done = req->link;
		out[n] = (struct finished){ req, (int)(int64_t)req->done };
	}
	if (q->done || more)
		wake(q);
	g_mutex_unlock(&q->lock);
	return n;
}

static void run_completions(struct file_queue *q)
{
	struct finished list[BATCH];
	unsigned n = take_finished(q, list);

	for (unsigned i = 0; i < n; i++) {
		list[i].req->complete(list[i].req, list[i].res);
		__atomic_sub_fetch(&q->in_flight, 1, __ATOMIC_RELEASE);
	}
	if (n && q->batch)
		q->batch(q->batch_opaque);
}

void file_queue_on_batch(struct file_queue *q, void (*batch)(void *opaque), void *opaque)
{
	q->batch = batch;
	q->batch_opaque = opaque;
}

/*
 * One call of the kernel's that hands over what was submitted and waits for n ends, which it would otherwise wake the context's
 * thread for one by one. The lock is held: a thread that ends another request meanwhile waits a little with us.
 */
static void wait_ring(struct file_queue *q, unsigned us)
{
	struct __kernel_timespec ts = { .tv_nsec = us * 1000ull };
	struct io_uring_cqe *cqe;

	g_mutex_lock(&q->lock);
	if (q->in_ring && (q->ring.features & IORING_FEAT_EXT_ARG))
		io_uring_submit_and_wait_timeout(&q->ring, &cqe, MIN(q->in_ring, REAP_AIM), &ts, NULL);
	kick(q); /* what a signal, or want of memory, has left behind */
	g_mutex_unlock(&q->lock);
}

/* Something has ended. When much is under way more may end soon, and all of it is told at once. */
static void gather(struct file_queue *q)
{
	unsigned ready = q->uring ? io_uring_cq_ready(&q->ring) : 0, in_ring = __atomic_load_n(&q->in_ring, __ATOMIC_RELAXED);

	if (!q->batch || !ready || in_ring < GATHER_FROM || ready >= MIN(in_ring, REAP_AIM) || (q->skip && q->skip--))
		return;
	wait_ring(q, GATHER_US);
	if (io_uring_cq_ready(&q->ring) >= ready + GATHER_FEW) {
		q->backoff = 1;
		return;
	}
	q->skip = q->backoff;
	q->backoff = MIN(2 * q->backoff, BACKOFF_MAX);
}

/* Longer, where that finds the rest; a slow disk, of which little ends at a time, is not waited for. */
static void wait_for_many(struct file_queue *q, unsigned us)
{
	unsigned in_ring = __atomic_load_n(&q->in_ring, __ATOMIC_RELAXED), aim = MIN(in_ring, REAP_AIM), ended;

	q->patience_us = CLAMP(q->patience_us, us, PATIENCE_US_MAX);
	wait_ring(q, q->patience_us);
	ended = q->uring ? io_uring_cq_ready(&q->ring) : 0;
	if (ended < aim)
		q->patience_us = ended >= GATHER_FROM ? 2 * q->patience_us : us;
}

void file_queue_reap(struct file_queue *q, unsigned us)
{
	if (us)
		wait_for_many(q, us);
	if (q->uring && io_uring_cq_ready(&q->ring))
		run_completions(q);
}

static gboolean source_prepare(GSource *source, int *ret_timeout)
{
	struct file_sockets *sockets = &((struct file_source *)source)->q->sockets;

	file_sockets_arm(sockets);
	*ret_timeout = file_sockets_look(sockets) ? 0 : -1;
	return FALSE;
}

static gboolean source_check(GSource *source)
{
	return file_sockets_ready(&((struct file_source *)source)->q->sockets);
}

static gboolean source_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	struct file_source *s = (struct file_source *)source;
	uint64_t count;

	if (g_source_query_unix_fd(source, s->event_tag) && read(s->q->event_fd, &count, sizeof(count)) > 0)
		file_queue_kick(s->q);
	turn_sockets(s->q, true);
	gather(s->q);
	run_completions(s->q);
	return G_SOURCE_CONTINUE;
}

static void source_finalize(GSource *source)
{
	struct file_queue *q = ((struct file_source *)source)->q;

	if (q->uring)
		io_uring_queue_exit(&q->ring);
	close(q->event_fd);
	file_sockets_clear(&q->sockets);
	g_mutex_clear(&q->lock);
	g_free(q->name);
	g_free(q);
}

static GSourceFuncs source_funcs = {
	.prepare = source_prepare, .check = source_check, .dispatch = source_dispatch, .finalize = source_finalize
};

/*
 * A ring that does what ring_push() wants and nothing else, for good: else it would open files that a filter of system calls
 * forbids to open. Linux 5.10; before that it is as it is.
 */
static int make_ring(struct io_uring *ring, unsigned depth)
{
	struct io_uring_restriction only[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC },
	};
	int r = io_uring_queue_init(depth, ring, IORING_SETUP_R_DISABLED);

	if (r == -EINVAL)
		return io_uring_queue_init(depth, ring, 0);
	if (r < 0)
		return r;
	/* Debian 12's liburing declares functions for these, and does not have them. */
	if (!syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_RESTRICTIONS, only, G_N_ELEMENTS(only)) &&
	    !syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0))
		return 0;
	r = -errno;
	io_uring_queue_exit(ring);
	return r;
}

static bool open_ring(struct file_queue *q, enum file_engine engine, unsigned depth, GError **error)
{
	int r = -ENOSYS;

	if (engine == FILE_ENGINE_THREADS)
		return true;
	r = make_ring(&q->ring, MIN(MAX(depth, 8), RING_MAX));
	/* Without NODROP (Linux < 5.5) a full ring would lose completions. */
	if (r == 0 && !(q->ring.features & IORING_FEAT_NODROP)) {
		io_uring_queue_exit(&q->ring);
		r = -ENOSYS;
	}
	q->uring = r == 0;
	if (r < 0 && engine == FILE_ENGINE_URING)
		return kv_fail_errno(error, -r, "io_uring is not usable; give aio=threads");
	if (r < 0)
		kv_log_debug("no io_uring (%s), disk I/O by threads", g_strerror(-r));
	return true;
}

struct file_queue *file_queue_new(const char *name, enum file_engine engine, GMainContext *context, unsigned depth,
				  file_queue_work *work, void *opaque, GError **error)
{
	struct file_queue *q = g_new0(struct file_queue, 1);

	q->name = g_strdup(name);
	q->context = context;
	q->work = work;
	q->opaque = opaque;
	q->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->event_fd < 0) {
		kv_fail_errno(error, errno, "disk '%s': cannot make an eventfd", name);
		g_free(q->name);
		g_free(q);
		return NULL;
	}
	if (!open_ring(q, engine, depth, error)) {
		close(q->event_fd);
		g_free(q->name);
		g_free(q);
		return NULL;
	}
	g_mutex_init(&q->lock);
	q->source = g_source_new(&source_funcs, sizeof(struct file_source));
	((struct file_source *)q->source)->q = q;
	file_sockets_init(&q->sockets, q->source, q);
	((struct file_source *)q->source)->event_tag = g_source_add_unix_fd(q->source, q->event_fd, G_IO_IN);
	/* Else GLib takes the descriptors out of its poll and wakes itself up for each, at every dispatch. */
	g_source_set_can_recurse(q->source, TRUE);
	if (q->uring)
		g_source_add_unix_fd(q->source, q->ring.ring_fd, G_IO_IN);
	g_source_attach(q->source, context);
	return q;
}

/* Until nothing is under way; run: completions here, as the context's thread may be waiting for us. */
static void wait_idle(struct file_queue *q, bool run)
{
	struct pollfd fds[2 + FILE_SOCKETS_MAX] = { { .fd = q->event_fd, .events = POLLIN },
						    { .fd = q->uring ? q->ring.ring_fd : -1, .events = POLLIN } };

	while (__atomic_load_n(&q->in_flight, __ATOMIC_ACQUIRE)) {
		file_queue_kick(q);
		if (run) {
			turn_sockets(q, false);
			run_completions(q);
		}
		/* The context's thread may take the wake-up: look again soon. */
		if (__atomic_load_n(&q->in_flight, __ATOMIC_ACQUIRE))
			poll(fds, run ? 2 + file_sockets_poll_set(&q->sockets, fds + 2) : 0, run ? RETRY_MS : 1);
	}
	/* A thread that posted the last request may still hold the lock. */
	g_mutex_lock(&q->lock);
	g_mutex_unlock(&q->lock);
}

void file_queue_forget_files(struct file_queue *q)
{
	file_sockets_forget(&q->sockets);
}

void file_queue_wait_idle(struct file_queue *q)
{
	bool ours = g_main_context_acquire(q->context);

	wait_idle(q, ours);
	if (ours)
		g_main_context_release(q->context);
}

void file_queue_free(struct file_queue *q)
{
	GSource *source = q->source;

	wait_idle(q, true);
	file_queue_forget_files(q);
	g_source_destroy(source);
	g_source_unref(source);
}
