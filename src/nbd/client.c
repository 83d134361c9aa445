/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An NBD export as a file (image/file.h), over libnbd: the module kv-nbd-client.so. Any number of threads have requests under
 * way in one connection. Of those that wait, one looks after the socket for all (the leader) and hands that on when its own
 * request is over, so that a lone request costs no change of threads. Queues look after the socket as well, for asynchronous
 * requests (client-async.c). libnbd's handle has a lock of its own, which is held while a request is put into the socket or taken
 * out, but not while the leader sleeps.
 *
 * A connection that is lost stays lost: what was not flushed may be gone, and a new one would hide that.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libnbd.h>

#include "bytes.h"
#include "client.h"
#include "error.h"

enum {
	TURN_MAX = 64, /* replies that are taken at a time */
	BLOCK_MAX = 64 << 10, /* the largest smallest block that we can do with */
};

struct waiter {
	struct nbd_file *f;
	bool done;
	int res;
	GCond woken;
	struct waiter *next;
};

image_nbd_connect kv_nbd_connect;

/* ---- requests under way ---- */

/* In whatever thread is in libnbd. */
static int on_complete(void *opaque, int *error)
{
	struct waiter *w = opaque;

	w->res = -*error;
	nbd_file_over(w->f);
	__atomic_store_n(&w->done, true, __ATOMIC_RELEASE);
	return 1;
}

static bool is_done(const struct waiter *w)
{
	return __atomic_load_n(&w->done, __ATOMIC_ACQUIRE);
}

/* What libnbd waits for and gets at once: POLLIN, POLLOUT; 0: nothing. Errors count as that. */
static short ready(const struct nbd_file *f, unsigned direction)
{
	struct pollfd p = { .fd = f->base.socket };

	if (direction & LIBNBD_AIO_DIRECTION_READ)
		p.events |= POLLIN;
	if (direction & LIBNBD_AIO_DIRECTION_WRITE)
		p.events |= POLLOUT;
	if (poll(&p, 1, 0) <= 0)
		return 0;
	return p.revents & (POLLIN | POLLOUT) ? p.revents & (POLLIN | POLLOUT) : p.events;
}

/*
 * Takes what the socket brings, without waiting. One thread at a time, and what brought it here may have been taken by another
 * one: libnbd is not called for nothing, as it would send no request until it has a reply then. False: the connection is lost,
 * or of no use.
 */
static bool take(struct nbd_file *f)
{
	bool ok = true;

	g_mutex_lock(&f->turn);
	for (unsigned i = 0; ok && i < TURN_MAX; i++) {
		unsigned direction = nbd_aio_get_direction(f->nbd);
		short events = direction ? ready(f, direction) : 0;

		if (direction && !events)
			break;
		if (events & POLLIN)
			ok = nbd_aio_notify_read(f->nbd) == 0;
		else
			ok = direction && nbd_aio_notify_write(f->nbd) == 0;
		/* Nobody waits for more? */
		if (__atomic_load_n(&f->over, __ATOMIC_RELAXED) == __atomic_load_n(&f->begun, __ATOMIC_RELAXED))
			break;
	}
	g_mutex_unlock(&f->turn);
	return ok;
}

/* Waits for the socket once, and takes what it brings. */
static bool turn(struct nbd_file *f)
{
	struct pollfd p[2] = { { .fd = nbd_aio_get_fd(f->nbd) }, { .fd = f->wake, .events = POLLIN } };
	unsigned direction = nbd_aio_get_direction(f->nbd);
	uint64_t count;

	if (direction & LIBNBD_AIO_DIRECTION_READ)
		p[0].events |= POLLIN;
	if (direction & LIBNBD_AIO_DIRECTION_WRITE)
		p[0].events |= POLLOUT;
	if (p[0].fd < 0 || !p[0].events)
		return false;
	if (poll(p, G_N_ELEMENTS(p), -1) < 0)
		return errno == EINTR;
	if (p[1].revents && read(f->wake, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return false;
	if (p[0].revents & (POLLIN | POLLOUT | POLLHUP | POLLERR))
		return take(f);
	return !(p[0].revents & POLLNVAL);
}

/* Holds lock. */
static void is_lost(struct nbd_file *f)
{
	if (!f->lost)
		f->warn("disk '%s': the connection to the NBD server is lost", f->base.name);
	__atomic_store_n(&f->lost, true, __ATOMIC_RELEASE);
}

static void wake_leader(struct nbd_file *f)
{
	uint64_t one = 1;

	/* Full: it is awake already. */
	if (write(f->wake, &one, sizeof(one)) < 0 && errno != EAGAIN)
		f->warn("disk '%s': cannot wake a thread: %s", f->base.name, g_strerror(errno));
}

/* Whoever is done goes; if nobody is leader, one of those that wait becomes it. Holds lock. */
static void wake_others(struct nbd_file *f)
{
	if (f->leader && is_done(f->leader))
		wake_leader(f);
	for (struct waiter *w = f->waiters; w; w = w->next)
		if (is_done(w))
			g_cond_signal(&w->woken);
	if (!f->leader && f->waiters)
		g_cond_signal(&f->waiters->woken);
}

/* If libnbd does not know it yet, it will at once. */
static void give_up(struct nbd_file *f)
{
	g_mutex_lock(&f->turn);
	if (nbd_aio_get_direction(f->nbd))
		shutdown(f->base.socket, SHUT_RDWR);
	g_mutex_unlock(&f->turn);
	g_mutex_lock(&f->lock);
	is_lost(f);
	g_mutex_unlock(&f->lock);
}

void nbd_file_turn(struct image_file *base)
{
	struct nbd_file *f = nbd_of(base);

	if (!take(f))
		give_up(f);
	g_mutex_lock(&f->lock);
	wake_others(f);
	g_mutex_unlock(&f->lock);
}

static void lead(struct nbd_file *f, struct waiter *w)
{
	f->leader = w;
	g_mutex_unlock(&f->lock);
	if (!turn(f))
		give_up(f);
	g_mutex_lock(&f->lock);
	f->leader = NULL;
}

static void remove_waiter(struct nbd_file *f, struct waiter *w)
{
	for (struct waiter **at = &f->waiters; *at; at = &(*at)->next)
		if (*at == w) {
			*at = w->next;
			return;
		}
}

/* A request that libnbd has taken, until it is over. */
static int wait_for(struct nbd_file *f, struct waiter *w)
{
	g_mutex_lock(&f->lock);
	w->next = f->waiters;
	f->waiters = w;
	while (!is_done(w)) { /* libnbd ends all of them when the connection is lost */
		if (f->leader) {
			g_cond_wait(&w->woken, &f->lock);
			continue;
		}
		lead(f, w);
		if (!is_done(w))
			wake_others(f);
	}
	remove_waiter(f, w);
	wake_others(f);
	g_mutex_unlock(&f->lock);
	return w->res;
}

static struct waiter *begin(struct nbd_file *f, struct waiter *w)
{
	*w = (struct waiter){ .f = f };
	nbd_file_begin(f);
	return w;
}

/* cookie: of an nbd_aio function that has begin(w) as its completion's. */
static int finish(struct nbd_file *f, struct waiter *w, int64_t cookie)
{
	int res;

	if (cookie < 0) {
		res = nbd_get_errno();
		nbd_file_over(f);
		g_mutex_lock(&f->lock);
		if (nbd_aio_is_dead(f->nbd) || nbd_aio_is_closed(f->nbd))
			is_lost(f);
		g_mutex_unlock(&f->lock);
		return res ? -res : -EIO;
	}
	/* Not all of it fitted into the socket: the leader has to wait for room. */
	if (nbd_aio_get_direction(f->nbd) & LIBNBD_AIO_DIRECTION_WRITE)
		wake_leader(f);
	return wait_for(f, w);
}

#define COMPLETION(f, w) ((nbd_completion_callback){ .callback = on_complete, .user_data = begin(f, w) })

/* ---- transfers of whole blocks ---- */

static int transfer(struct nbd_file *f, bool write, uint64_t offset, char *buf, uint64_t len)
{
	int res = 0;

	while (len && res == 0) {
		struct waiter w;
		uint64_t n = MIN(len, f->chunk);

		if (nbd_file_gone(f))
			return -EIO;
		res = finish(f, &w,
			     write ? nbd_aio_pwrite(f->nbd, buf, n, offset, COMPLETION(f, &w), 0) :
				     nbd_aio_pread(f->nbd, buf, n, offset, COMPLETION(f, &w), 0));
		offset += n;
		buf += n;
		len -= n;
	}
	return res;
}

/* Blocks around a range that does not begin or end with one. */
static int transfer_around(struct nbd_file *f, bool write, uint64_t offset, char *buf, uint64_t len)
{
	uint64_t from = align_down(offset, f->block), to = MIN(align_up(offset + len, f->block), image_file_size(&f->base));
	g_autofree char *bounce = NULL;
	int res;

	/* Longer ones have few bytes around them. */
	if (len > f->chunk) {
		uint64_t n = align_down(f->chunk, f->block) - (offset - from);

		res = transfer_around(f, write, offset, buf, n);
		return res < 0 ? res : transfer_around(f, write, offset + n, buf + n, len - n);
	}
	bounce = g_malloc(to - from);
	res = transfer(f, false, from, bounce, to - from);
	if (res < 0 || !write) {
		if (res == 0)
			memcpy(buf, bounce + (offset - from), len);
		return res;
	}
	memcpy(bounce + (offset - from), buf, len);
	return transfer(f, true, from, bounce, to - from);
}

static int any_transfer(struct nbd_file *f, bool write, uint64_t offset, char *buf, uint64_t len)
{
	int res;

	if (!len)
		return 0;
	if (!((offset | len) & (f->block - 1)))
		return transfer(f, write, offset, buf, len);
	if (!write)
		return transfer_around(f, false, offset, buf, len);
	g_mutex_lock(&f->edges);
	res = transfer_around(f, true, offset, buf, len);
	g_mutex_unlock(&f->edges);
	return res;
}

/* ---- what a file does ---- */

static int nbd_read(struct image_file *base, uint64_t offset, void *buf, uint64_t len)
{
	uint64_t size = image_file_size(base), here = offset < size ? MIN(len, size - offset) : 0;

	memset((char *)buf + here, 0, len - here);
	return any_transfer(nbd_of(base), false, offset, buf, here);
}

/* 0 or a reason why nothing can be written there. */
static int check_change(struct image_file *base, uint64_t offset, uint64_t len)
{
	if (base->readonly)
		return -EROFS;
	return range_inside(offset, len, image_file_size(base)) ? 0 : -ENOSPC;
}

static int nbd_write(struct image_file *base, uint64_t offset, const void *buf, uint64_t len)
{
	int res = check_change(base, offset, len);

	return res < 0 ? res : any_transfer(nbd_of(base), true, offset, (char *)buf, len);
}

static int write_zero_bytes(struct nbd_file *f, uint64_t offset, uint64_t len)
{
	g_autofree char *zeroes = g_malloc0(MIN(len, CHUNK_MAX));
	int res = 0;

	for (uint64_t n; len && res == 0; offset += n, len -= n) {
		n = MIN(len, CHUNK_MAX);
		res = any_transfer(f, true, offset, zeroes, n);
	}
	return res;
}

unsigned nbd_zero_flags(unsigned flags)
{
	return (flags & IMAGE_MAY_UNMAP ? 0 : LIBNBD_CMD_FLAG_NO_HOLE) |
	       (flags & IMAGE_FAST_ZERO ? LIBNBD_CMD_FLAG_FAST_ZERO : 0);
}

static int zero_blocks(struct nbd_file *f, uint64_t offset, uint64_t len, unsigned flags)
{
	unsigned wire = nbd_zero_flags(flags);
	int res = 0;

	for (uint64_t n; len && res == 0; offset += n, len -= n) {
		struct waiter w;

		n = MIN(len, RANGE_MAX);
		res = nbd_file_gone(f) ? -EIO : finish(f, &w, nbd_aio_zero(f->nbd, n, offset, COMPLETION(f, &w), wire));
	}
	return res;
}

static int nbd_write_zeroes(struct image_file *base, uint64_t offset, uint64_t len, unsigned flags)
{
	struct nbd_file *f = nbd_of(base);
	uint64_t from = align_up(offset, f->block), to = align_down(offset + len, f->block);
	int res = check_change(base, offset, len);

	if (res < 0 || !len)
		return res;
	if (flags & IMAGE_FAST_ZERO && (!f->can_fast_zero || from != offset || to != offset + len))
		return -ENOTSUP;
	if (!f->can_zero || from >= to)
		return write_zero_bytes(f, offset, len);
	res = from > offset ? write_zero_bytes(f, offset, from - offset) : 0;
	if (res == 0)
		res = zero_blocks(f, from, to - from, flags);
	return res == 0 && to < offset + len ? write_zero_bytes(f, to, offset + len - to) : res;
}

static int nbd_discard(struct image_file *base, uint64_t offset, uint64_t len)
{
	struct nbd_file *f = nbd_of(base);
	uint64_t at = align_up(offset, f->block), to = align_down(offset + len, f->block);
	int res = check_change(base, offset, len);

	if (res < 0 || !f->can_trim)
		return res;
	for (uint64_t n; at < to && res == 0; at += n) {
		struct waiter w;

		n = MIN(to - at, RANGE_MAX);
		res = nbd_file_gone(f) ? -EIO : finish(f, &w, nbd_aio_trim(f->nbd, n, at, COMPLETION(f, &w), 0));
	}
	return res;
}

static int nbd_flush_all(struct image_file *base)
{
	struct nbd_file *f = nbd_of(base);
	struct waiter w;

	if (base->readonly || !f->can_flush)
		return 0;
	return nbd_file_gone(f) ? -EIO : finish(f, &w, nbd_aio_flush(f->nbd, COMPLETION(f, &w), 0));
}

static int nbd_truncate(struct image_file *base, uint64_t size)
{
	return size <= image_file_size(base) ? 0 : -ENOTSUP;
}

struct extents {
	uint64_t len; /* of the first run */
	bool known, zero, ended;
};

static int on_extents(void *opaque, const char *context, uint64_t offset, uint32_t *entries, size_t n, int *error)
{
	struct extents *e = opaque;

	if (strcmp(context, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0)
		return 0;
	for (size_t i = 0; i + 1 < n && !e->ended; i += 2) {
		bool zero = entries[i + 1] & LIBNBD_STATE_ZERO;

		e->ended = e->known && zero != e->zero;
		if (e->ended)
			break;
		e->known = true;
		e->zero = zero;
		e->len += entries[i];
	}
	return 0;
}

static bool nbd_has_data(struct image_file *base, uint64_t offset, uint64_t len, uint64_t *ret_len)
{
	struct nbd_file *f = nbd_of(base);
	uint64_t size = image_file_size(base), from = align_down(offset, f->block);
	struct extents e = {};
	const nbd_extent_callback found = { .callback = on_extents, .user_data = &e };
	struct waiter w;
	uint64_t n;
	int res;

	*ret_len = len;
	if (offset >= size)
		return false;
	if (!f->can_extents || nbd_file_gone(f))
		return true;
	n = MIN(align_up(offset + MIN(len, RANGE_MAX) - from, f->block), size - from);
	n = MIN(n, RANGE_MAX);
	res = finish(f, &w, nbd_aio_block_status(f->nbd, n, from, found, COMPLETION(f, &w), 0));
	if (res < 0 || !e.known || e.len <= offset - from)
		return true;
	*ret_len = MIN(len, e.len - (offset - from));
	return !e.zero;
}

static void nbd_close_file(struct image_file *base)
{
	struct nbd_file *f = nbd_of(base);

	if (!nbd_file_gone(f) && nbd_aio_is_ready(f->nbd))
		nbd_shutdown(f->nbd, 0);
	nbd_close(f->nbd);
	close(f->wake);
	g_mutex_clear(&f->lock);
	g_mutex_clear(&f->turn);
	g_mutex_clear(&f->edges);
}

static const struct image_file_type type = {
	.read = nbd_read,
	.write = nbd_write,
	.write_zeroes = nbd_write_zeroes,
	.discard = nbd_discard,
	.flush = nbd_flush_all,
	.truncate = nbd_truncate,
	.has_data = nbd_has_data,
	.async = &nbd_file_async,
	.close = nbd_close_file,
};

/* ---- connecting ---- */

static bool fail(GError **error, const char *name)
{
	const char *why = nbd_get_error();

	return kv_fail(error, KV_ERROR_SYSTEM, "cannot open disk '%s': %s", name, why ? why : "it failed");
}

static struct nbd_handle *connect_to(const char *name, const char *uri, GError **error)
{
	struct nbd_handle *nbd = nbd_create();

	if (nbd && nbd_set_uri_allow_local_file(nbd, true) == 0 && nbd_set_pread_initialize(nbd, false) == 0 &&
	    nbd_add_meta_context(nbd, LIBNBD_CONTEXT_BASE_ALLOCATION) == 0 && nbd_connect_uri(nbd, uri) == 0)
		return nbd;
	fail(error, name);
	if (nbd)
		nbd_close(nbd);
	return NULL;
}

static bool read_limits(struct nbd_file *f, struct nbd_handle *nbd, GError **error)
{
	int64_t size = nbd_get_size(nbd), block = nbd_get_block_size(nbd, LIBNBD_SIZE_MINIMUM),
		most = nbd_get_block_size(nbd, LIBNBD_SIZE_MAXIMUM);
	uint64_t chunk = most > 0 ? MIN(most, CHUNK_MAX) : CHUNK_MAX;

	if (size < 0)
		return fail(error, f->base.name);
	block = MAX(block, 1);
	if (block & (block - 1) || block > BLOCK_MAX)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "disk '%s': blocks of %" G_GINT64_FORMAT " bytes are not supported",
			       f->base.name, block);
	f->base.size = size;
	f->block = block;
	f->chunk = MAX(align_down(chunk, block), (uint64_t)block);
	f->can_flush = nbd_can_flush(nbd) > 0;
	f->can_trim = nbd_can_trim(nbd) > 0;
	f->can_zero = nbd_can_zero(nbd) > 0;
	f->can_fast_zero = f->can_zero && nbd_can_fast_zero(nbd) > 0;
	f->can_extents = nbd_can_meta_context(nbd, LIBNBD_CONTEXT_BASE_ALLOCATION) > 0;
	return true;
}

static bool check_writable(const char *name, bool readonly, struct nbd_handle *nbd, GError **error)
{
	return readonly || nbd_is_read_only(nbd) == 0 ||
	       kv_fail(error, KV_ERROR_SYSTEM, "disk '%s': the NBD export is read only (readonly=on reads only)", name);
}

struct image_file *kv_nbd_connect(const char *name, const char *uri, bool readonly, void (*warn)(const char *format, ...),
				  GError **error)
{
	struct nbd_handle *nbd = connect_to(name, uri, error);
	struct nbd_file *f;

	if (!nbd)
		return NULL;
	f = g_new0(struct nbd_file, 1);
	f->base = (struct image_file){ .type = &type, .name = (char *)name, .fd = -1, .readonly = readonly, .device = true,
				      .socket = nbd_aio_get_fd(nbd) };
	f->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (f->wake < 0)
		kv_fail_errno(error, errno, "disk '%s': cannot make an eventfd", name);
	if (f->wake < 0 || !check_writable(name, readonly, nbd, error) || !read_limits(f, nbd, error)) {
		if (f->wake >= 0)
			close(f->wake);
		nbd_close(nbd);
		g_free(f);
		return NULL;
	}
	f->base.name = g_strdup(name);
	f->nbd = nbd;
	f->warn = warn;
	g_mutex_init(&f->lock);
	g_mutex_init(&f->turn);
	g_mutex_init(&f->edges);
	return &f->base;
}
