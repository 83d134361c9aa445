/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests (doc/proto.md, "Transmission phase"). One of few bytes that can be had at once is done on the spot, from the buffer
 * of what has been received or into that of the replies; others become a `struct slow`, which waits for the image's queue. What
 * a connection has under way is bounded: beyond that its requests stay in the socket.
 */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "connection.h"
#include "log.h"

enum {
	QUEUE_DEPTH = 128,
	SMALL = 64 << 10, /* replies in the buffer, writes out of it */
	AT_ONCE = 1 << 20, /* a write of more would hold up the others */
	SLOW_MAX = 128,
	SLOW_BYTES = 32 << 20, /* with this many under way no request more is begun */
	PARTS_MAX = 32,
	REPLIES = 16, /* sent together while there are requests to work on */
	REPLY_BYTES = 64 << 10,
};

struct part {
	uint64_t offset, len;
	bool zero;
	struct iovec iov;
	struct image_req req;
};

/* A request that the queue does. */
struct slow {
	struct nbd_conn *c;
	struct nbd_request r;
	uint8_t *buf; /* r.len bytes; NULL: it has none */
	uint64_t has_bytes;
	int res;
	unsigned pending, n_parts;
	struct slow *next; /* finished */
	struct part part[];
};

enum nbd_error nbd_error_of(int res)
{
	switch (-res) {
	case EPERM:
	case EROFS:
	case EACCES:
		return NBD_EPERM;
	case ENOMEM:
		return NBD_ENOMEM;
	case EINVAL:
		return NBD_EINVAL;
	case EFBIG:
	case EDQUOT:
	case ENOSPC:
		return NBD_ENOSPC;
	case EOVERFLOW:
		return NBD_EOVERFLOW;
	case ENOTSUP:
		return NBD_ENOTSUP;
	case ESHUTDOWN:
		return NBD_ESHUTDOWN;
	}
	return NBD_EIO;
}

/* ---- replies ---- */

static void put_simple(uint8_t *to, const struct nbd_request *r, int res)
{
	put_be32(to, NBD_SIMPLE_REPLY_MAGIC);
	put_be32(to + 4, res < 0 ? nbd_error_of(res) : 0);
	memcpy(to + 8, r->cookie, sizeof(r->cookie));
}

void conn_put_chunk(uint8_t *to, const struct nbd_request *r, unsigned type, bool done, uint32_t len)
{
	put_be32(to, NBD_STRUCTURED_REPLY_MAGIC);
	put_be16(to + 4, done ? NBD_REPLY_FLAG_DONE : 0);
	put_be16(to + 6, type);
	memcpy(to + 8, r->cookie, sizeof(r->cookie));
	put_be32(to + 16, len);
}

bool conn_reply_simple(struct nbd_conn *c, const struct nbd_request *r, int res)
{
	uint8_t *to = conn_out(c, NBD_SIMPLE_REPLY_SIZE);

	if (!to)
		return false;
	put_simple(to, r, res);
	conn_out_add(c, NBD_SIMPLE_REPLY_SIZE);
	c->n_replies++;
	return true;
}

bool conn_reply_error(struct nbd_conn *c, const struct nbd_request *r, int res)
{
	const char *text = g_strerror(-res);
	unsigned len = MIN(strlen(text), ERROR_TEXT_MAX);
	uint8_t *to;

	if (!c->structured)
		return conn_reply_simple(c, r, res);
	to = conn_out(c, NBD_CHUNK_SIZE + 6 + len);
	if (!to)
		return false;
	conn_put_chunk(to, r, NBD_REPLY_TYPE_ERROR, true, 6 + len);
	put_be32(to + NBD_CHUNK_SIZE, nbd_error_of(res));
	put_be16(to + NBD_CHUNK_SIZE + 4, len);
	memcpy(to + NBD_CHUNK_SIZE + 6, text, len);
	conn_out_add(c, NBD_CHUNK_SIZE + 6 + len);
	c->n_replies++;
	return true;
}

static bool reply_error(struct nbd_conn *c, const struct nbd_request *r, int res)
{
	bool chunks = r->type == NBD_CMD_READ || r->type == NBD_CMD_BLOCK_STATUS;

	return chunks ? conn_reply_error(c, r, res) : conn_reply_simple(c, r, res);
}

/* What stands before a read's data; how many bytes that is. */
static unsigned data_head_size(const struct nbd_conn *c)
{
	return c->structured ? NBD_CHUNK_SIZE + 8 : NBD_SIMPLE_REPLY_SIZE;
}

static void put_data_head(struct nbd_conn *c, uint8_t *to, const struct nbd_request *r, uint64_t offset, uint32_t len, bool done)
{
	if (!c->structured) {
		put_simple(to, r, 0);
		return;
	}
	conn_put_chunk(to, r, NBD_REPLY_TYPE_OFFSET_DATA, done, 8 + len);
	put_be64(to + NBD_CHUNK_SIZE, offset);
}

static bool reply_hole(struct nbd_conn *c, const struct nbd_request *r, uint64_t offset, uint32_t len, bool done)
{
	uint8_t *to = conn_out(c, NBD_CHUNK_SIZE + 12);

	if (!to)
		return false;
	conn_put_chunk(to, r, NBD_REPLY_TYPE_OFFSET_HOLE, done, 12);
	put_be64(to + NBD_CHUNK_SIZE, offset);
	put_be32(to + NBD_CHUNK_SIZE + 8, len);
	conn_out_add(c, NBD_CHUNK_SIZE + 12);
	return true;
}

/* All of it, out of a buffer that it takes over. */
static bool reply_buffer(struct nbd_conn *c, const struct nbd_request *r, uint8_t *buf)
{
	unsigned head = data_head_size(c);
	uint8_t *to = conn_out(c, head);

	if (!to) {
		g_free(buf);
		return false;
	}
	put_data_head(c, to, r, r->offset, r->len, true);
	conn_out_add(c, head);
	conn_out_ref(c, buf, r->len, buf);
	c->n_replies++;
	return true;
}

static bool reply_parts(struct nbd_conn *c, struct slow *s)
{
	unsigned head = data_head_size(c);

	for (unsigned i = 0; i < s->n_parts; i++) {
		const struct part *p = &s->part[i];
		bool done = i + 1 == s->n_parts;
		uint8_t *to;

		if (p->zero) {
			if (!reply_hole(c, &s->r, p->offset, p->len, done))
				return false;
			continue;
		}
		to = conn_out(c, head);
		if (!to)
			return false;
		put_data_head(c, to, &s->r, p->offset, p->len, done);
		conn_out_add(c, head);
		conn_out_ref(c, s->buf + (p->offset - s->r.offset), p->len, NULL);
	}
	return conn_send(c); /* the buffer is freed after this */
}

/* ---- what the queue does ---- */

static void slow_free(struct slow *s)
{
	g_free(s->buf);
	g_free(s);
}

/* Takes buf over, which may be NULL. */
static struct slow *slow_new(struct nbd_conn *c, const struct nbd_request *r, uint8_t *buf, unsigned n_parts)
{
	struct slow *s = g_malloc0(sizeof(*s) + n_parts * sizeof(s->part[0]));

	s->c = c;
	s->r = *r;
	s->buf = buf;
	s->n_parts = n_parts;
	return s;
}

static void slow_done(struct image_req *req, int res);

static void submit(struct slow *s, struct part *p, enum image_op op, unsigned flags)
{
	struct nbd_conn *c = s->c;
	bool sized = op == IMAGE_READ || op == IMAGE_WRITE;

	p->req = (struct image_req){
		.op = op, .flags = flags, .offset = p->offset, .len = p->len, .complete = slow_done, .opaque = s
	};
	if (sized) {
		p->iov = (struct iovec){ s->buf + (p->offset - s->r.offset), p->len };
		p->req.iov = &p->iov;
		p->req.n_iov = 1;
	}
	s->pending++;
	c->n_running++;
	c->submitted = true;
	image_submit(c->queue, &p->req);
}

static void slow_begin(struct slow *s)
{
	s->has_bytes = s->buf ? s->r.len : 0;
	s->c->n_slow++;
	s->c->slow_bytes += s->has_bytes;
}

/* A request that is one of the image's. Takes buf over. */
static bool start(struct nbd_conn *c, const struct nbd_request *r, uint8_t *buf, enum image_op op, unsigned flags)
{
	struct slow *s = slow_new(c, r, buf, 1);

	s->part[0].offset = op == IMAGE_FLUSH ? 0 : r->offset;
	s->part[0].len = op == IMAGE_FLUSH ? 0 : r->len;
	slow_begin(s);
	submit(s, &s->part[0], op, flags);
	return true;
}

static void slow_reply(struct slow *s)
{
	struct nbd_conn *c = s->c;

	if (s->res < 0) {
		reply_error(c, &s->r, s->res);
	} else if (s->r.type != NBD_CMD_READ) {
		conn_reply_simple(c, &s->r, 0);
	} else if (s->n_parts == 1) {
		reply_buffer(c, &s->r, g_steal_pointer(&s->buf));
	} else {
		reply_parts(c, s);
	}
}

/* Is what a request changed to be safe on disk when it is answered? */
static bool durable(const struct nbd_conn *c, const struct nbd_request *r)
{
	return (r->flags & NBD_CMD_FLAG_FUA) && !c->export->ignore_flush;
}

/* A reply that cannot be sent shows at the next receive. */
static void answer_finished(struct nbd_conn *c)
{
	while (c->finished) {
		struct slow *s = c->finished;

		c->finished = s->next;
		if (!c->finished)
			c->finished_end = &c->finished;
		slow_reply(s);
		c->n_slow--;
		c->slow_bytes -= s->has_bytes;
		slow_free(s);
	}
}

/* In the connection's thread, perhaps in the middle of sending something: replies are made later. */
static void slow_done(struct image_req *req, int res)
{
	struct slow *s = req->opaque;
	struct nbd_conn *c = s->c;
	bool advice = req->op == IMAGE_DISCARD && res == -ENOTSUP;

	c->n_running--;
	if (res < 0 && !advice)
		s->res = res;
	if (--s->pending)
		return;
	if (s->res == 0 && req->op != IMAGE_FLUSH && req->op != IMAGE_READ && durable(c, &s->r)) {
		s->part[0].offset = s->part[0].len = 0;
		submit(s, &s->part[0], IMAGE_FLUSH, 0);
		return;
	}
	s->next = NULL;
	*c->finished_end = s;
	c->finished_end = &s->next;
}

/* ---- reads ---- */

/* Is there nothing else to do? Then waiting for the disk here is quicker than having somebody else do it. */
static bool alone(const struct nbd_conn *c)
{
	return !c->n_slow && !conn_have(c);
}

/* Into the buffer of the replies. -EAGAIN: not at once. */
static int read_small(struct nbd_conn *c, const struct nbd_request *r)
{
	unsigned head = data_head_size(c);
	uint8_t *to = conn_out(c, head + r->len);
	bool zero;
	int res;

	if (!to)
		return -EPIPE;
	res = image_read_now(c->queue, r->offset, to + head, r->len, &zero);
	if (res == -EAGAIN && alone(c) && image_queue_enter(c->queue)) {
		zero = false;
		if (!image_is_filter(c->queue->image))
			res = image_read(c->queue->image, r->offset, to + head, r->len);
		image_queue_leave(c->queue);
	}
	if (res < 0)
		return res;
	c->n_replies++;
	if (zero && c->structured && !(r->flags & NBD_CMD_FLAG_DF))
		return reply_hole(c, r, r->offset, r->len, true) ? 0 : -EPIPE;
	put_data_head(c, to, r, r->offset, r->len, true);
	conn_out_add(c, head + r->len);
	return 0;
}

static bool read_whole(struct nbd_conn *c, const struct nbd_request *r)
{
	uint8_t *buf = g_try_malloc(r->len);
	bool zero;
	int res;

	if (!buf)
		return reply_error(c, r, -ENOMEM);
	res = image_read_now(c->queue, r->offset, buf, r->len, &zero);
	if (res == 0)
		return reply_buffer(c, r, buf);
	return start(c, r, buf, IMAGE_READ, 0);
}

/* Data and zeroes of a range by turns, at most PARTS_MAX, the last of which is then called data; 0: it could not be found out. */
static unsigned find_parts(struct nbd_conn *c, const struct nbd_request *r, struct part *parts)
{
	struct image *img = conn_enter_image(c);
	unsigned n = 0;
	struct image_extent e;

	for (uint64_t done = 0; done < r->len; done += e.len) {
		bool zero;

		if (n == PARTS_MAX) {
			parts[n - 1].zero = false;
			parts[n - 1].len = r->offset + r->len - parts[n - 1].offset;
			break;
		}
		if (image_status(img, r->offset + done, r->len - done, &e) < 0) {
			n = 0;
			break;
		}
		zero = e.kind == IMAGE_HOLE || e.kind == IMAGE_ZERO;
		if (n && parts[n - 1].zero == zero)
			parts[n - 1].len += e.len;
		else
			parts[n++] = (struct part){ .offset = r->offset + done, .len = e.len, .zero = zero };
	}
	conn_leave_image(c);
	return n;
}

static bool read_sparse(struct nbd_conn *c, const struct nbd_request *r)
{
	struct part parts[PARTS_MAX];
	unsigned n = find_parts(c, r, parts);
	struct slow *s;
	uint8_t *buf;

	if (n == 1 && parts[0].zero) {
		c->n_replies++;
		return reply_hole(c, r, r->offset, r->len, true);
	}
	if (n <= 1)
		return read_whole(c, r);
	buf = g_try_malloc(r->len);
	if (!buf)
		return reply_error(c, r, -ENOMEM);
	s = slow_new(c, r, buf, n);
	memcpy(s->part, parts, n * sizeof(parts[0]));
	slow_begin(s);
	s->pending = 1; /* until all are submitted; no completion runs before we wait */
	for (unsigned i = 0; i < n; i++)
		if (!s->part[i].zero)
			submit(s, &s->part[i], IMAGE_READ, 0);
	s->pending--;
	return true;
}

static bool run_read(struct nbd_conn *c, const struct nbd_request *r)
{
	int res;

	if (!r->len && c->structured) {
		uint8_t *to = conn_out(c, NBD_CHUNK_SIZE);

		if (!to)
			return false;
		conn_put_chunk(to, r, NBD_REPLY_TYPE_NONE, true, 0);
		conn_out_add(c, NBD_CHUNK_SIZE);
		return true;
	}
	if (!r->len)
		return conn_reply_simple(c, r, 0);
	if (r->len > NBD_MAX_PAYLOAD)
		return reply_error(c, r, -EINVAL);
	if (r->len > SMALL || (r->len == SMALL && c->structured))
		return c->structured && !(r->flags & NBD_CMD_FLAG_DF) ? read_sparse(c, r) : read_whole(c, r);
	res = read_small(c, r);
	if (res == -EAGAIN)
		return read_whole(c, r);
	return res == -EPIPE ? false : res == 0 || reply_error(c, r, res);
}

static bool run_cache(struct nbd_conn *c, const struct nbd_request *r)
{
	uint8_t *buf = r->len && r->len <= NBD_MAX_PAYLOAD ? g_try_malloc(r->len) : NULL;

	if (!buf)
		return reply_error(c, r, r->len > NBD_MAX_PAYLOAD ? -EINVAL : r->len ? -ENOMEM : 0);
	return start(c, r, buf, IMAGE_READ, 0);
}

/* ---- writes ---- */

/* 0 or the reason to refuse a change. */
static int check_change(struct nbd_conn *c, const struct nbd_request *r)
{
	if (!c->export->writable)
		return -EPERM;
	if (range_inside(r->offset, r->len, c->size))
		return 0;
	return r->type == NBD_CMD_TRIM ? -EINVAL : -ENOSPC;
}

static bool written(struct nbd_conn *c, const struct nbd_request *r, int res)
{
	if (res == 0 && durable(c, r))
		return start(c, r, NULL, IMAGE_FLUSH, 0);
	return conn_reply_simple(c, r, res);
}

/* -EAGAIN: not at once. */
static int write_now(struct nbd_conn *c, const struct nbd_request *r, const void *data)
{
	int res = r->len <= AT_ONCE ? image_write_now(c->queue, r->offset, data, r->len) : -EAGAIN;

	/* New clusters need nothing to be read where there is no backing image: a thread would not be quicker. */
	if (res == -EAGAIN && r->len <= SMALL && image_queue_enter(c->queue)) {
		struct image *img = c->queue->image;

		if (!img->backing)
			res = image_write(img, r->offset, data, r->len);
		image_queue_leave(c->queue);
	}
	return res;
}

static bool run_write(struct nbd_conn *c, const struct nbd_request *r)
{
	bool here = r->len <= conn_have(c);
	int res = r->len > NBD_MAX_PAYLOAD ? -EINVAL : check_change(c, r);
	uint8_t *buf = NULL;

	if (res == 0 && here) {
		res = r->len ? write_now(c, r, c->in + c->in_at) : 0;
		if (res != -EAGAIN) {
			c->in_at += r->len;
			return written(c, r, res);
		}
		res = 0;
	}
	if (res == 0) {
		buf = g_try_malloc(r->len);
		res = buf ? 0 : -ENOMEM;
	}
	if (res < 0)
		return conn_skip(c, r->len) && reply_error(c, r, res);
	if (!conn_read(c, buf, r->len)) {
		g_free(buf);
		return false;
	}
	if (!here)
		res = write_now(c, r, buf);
	if (here || res == -EAGAIN)
		return start(c, r, buf, IMAGE_WRITE, 0);
	g_free(buf);
	return written(c, r, res);
}

static bool run_change(struct nbd_conn *c, const struct nbd_request *r)
{
	int res = check_change(c, r);

	if (res < 0)
		return reply_error(c, r, res);
	if (!r->len)
		return written(c, r, 0);
	if (r->type == NBD_CMD_TRIM)
		return start(c, r, NULL, IMAGE_DISCARD, 0);
	return start(c, r, NULL, IMAGE_WRITE_ZEROES, (r->flags & NBD_CMD_FLAG_NO_HOLE ? 0 : IMAGE_MAY_UNMAP) |
						     (r->flags & NBD_CMD_FLAG_FAST_ZERO ? IMAGE_FAST_ZERO : 0));
}

static bool run_flush(struct nbd_conn *c, const struct nbd_request *r)
{
	return c->export->ignore_flush ? conn_reply_simple(c, r, 0) : start(c, r, NULL, IMAGE_FLUSH, 0);
}

/* ---- one request ---- */

static const struct {
	bool (*run)(struct nbd_conn *c, const struct nbd_request *r); /* NULL: there is no such one */
	unsigned flags;						      /* beside FUA; */
	unsigned structured_flags;				      /* with structured replies alone */
	bool reads;						      /* its range is to be inside */
} commands[] = {
	[NBD_CMD_READ] = { run_read, 0, NBD_CMD_FLAG_DF, true },
	[NBD_CMD_WRITE] = { run_write },
	[NBD_CMD_FLUSH] = { run_flush },
	[NBD_CMD_TRIM] = { run_change },
	[NBD_CMD_CACHE] = { run_cache, .reads = true },
	[NBD_CMD_WRITE_ZEROES] = { run_change, NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO },
	[NBD_CMD_BLOCK_STATUS] = { conn_block_status, NBD_CMD_FLAG_REQ_ONE, .reads = true },
};

static bool run_one(struct nbd_conn *c)
{
	const uint8_t *p = c->in + c->in_at;
	struct nbd_request r = {
		.flags = get_be16(p + 4), .type = get_be16(p + 6), .offset = get_be64(p + 16), .len = get_be32(p + 24)
	};
	unsigned flags = NBD_CMD_FLAG_FUA;
	int res = 0;

	if (get_be32(p) != NBD_REQUEST_MAGIC || r.type == NBD_CMD_DISC)
		return false;
	memcpy(r.cookie, p + 8, sizeof(r.cookie));
	c->in_at += NBD_REQUEST_SIZE;
	if (r.type >= G_N_ELEMENTS(commands) || !commands[r.type].run)
		return conn_reply_simple(c, &r, -EINVAL);
	flags |= commands[r.type].flags | (c->structured ? commands[r.type].structured_flags : 0);
	if (r.flags & ~flags || (commands[r.type].reads && !range_inside(r.offset, r.len, c->size)))
		res = -EINVAL;
	if (res == 0)
		return commands[r.type].run(c, &r);
	if (r.type == NBD_CMD_WRITE && !conn_skip(c, r.len))
		return false;
	return reply_error(c, &r, res);
}

/* Is there a request that can be worked on? A small write comes with all of its data. */
static bool have_request(struct nbd_conn *c)
{
	const uint8_t *p = c->in + c->in_at;
	uint32_t len;

	if (conn_have(c) < NBD_REQUEST_SIZE)
		return false;
	len = get_be16(p + 6) == NBD_CMD_WRITE ? get_be32(p + 24) : 0;
	return len > SMALL || conn_have(c) >= NBD_REQUEST_SIZE + len;
}

static bool room(const struct nbd_conn *c)
{
	return c->n_slow < SLOW_MAX && c->slow_bytes <= SLOW_BYTES;
}

static bool run_all(struct nbd_conn *c)
{
	while (room(c) && have_request(c)) {
		if (!run_one(c))
			return false;
		if ((c->n_replies >= REPLIES || c->out_len >= REPLY_BYTES || c->n_parts > 1) && !conn_send(c))
			return false;
	}
	return true;
}

/* True: there are bytes, or the client has gone (*ret_ok). */
static bool look_for_more(struct nbd_conn *c, bool *ret_ok)
{
	static unsigned looking; /* atomic: connections that do */
	gint64 until = g_get_monotonic_time() + SPIN_US;
	unsigned had = conn_have(c);
	bool found = false;

	if (!spin_worthwhile(&c->spin))
		return false;
	/* A processor is left for the clients. */
	if (__atomic_add_fetch(&looking, 1, __ATOMIC_RELAXED) < c->processors)
		do {
			*ret_ok = conn_fill(c, false);
			found = !*ret_ok || conn_have(c) > had;
		} while (!found && g_get_monotonic_time() < until);
	__atomic_sub_fetch(&looking, 1, __ATOMIC_RELAXED);
	spin_result(&c->spin, found);
	return found;
}

/* For bytes of the client or the end of a request. */
static bool wait_for_more(struct nbd_conn *c)
{
	bool take = room(c) && !have_request(c), ok;

	if (c->finished || (room(c) && have_request(c)))
		return true;
	if (!c->n_running && look_for_more(c, &ok))
		return ok;
	if (!c->n_running)
		return conn_fill(c, true);
	if (take && c->tls && c->tls_module->pending(c->tls))
		return conn_fill(c, false);
	conn_turn(c, take ? G_IO_IN : 0, true);
	if (!take) /* a client that has gone would not let us sleep */
		return !c->poll.revents;
	return !c->poll.revents || conn_fill(c, false);
}

static bool open_queue(struct nbd_conn *c)
{
	g_autoptr(GError) error = NULL;

	c->queue = image_queue_new(c->export->img, c->context, QUEUE_DEPTH, &error);
	if (!c->queue)
		kv_log_warn("NBD: export '%s': %s", c->export->name, error->message);
	return c->queue;
}

static void serve(struct nbd_conn *c)
{
	bool more = true;

	c->poll.fd = c->fd;
	g_main_context_add_poll(c->context, &c->poll, G_PRIORITY_DEFAULT);
	while (more) {
		bool go = run_all(c);

		conn_kick(c);
		answer_finished(c);
		more = conn_send(c) && go && wait_for_more(c);
	}
	g_main_context_remove_poll(c->context, &c->poll);
	while (c->n_running)
		conn_turn(c, 0, true);
	answer_finished(c);
	conn_send(c);
}

void conn_serve(struct nbd_conn *c)
{
	c->context = g_main_context_new();
	c->finished_end = &c->finished;
	c->processors = g_get_num_processors(); /* reads a file each time */
	/* Ours, or a drain would run the ends of requests in its own thread. */
	g_main_context_acquire(c->context);
	if (open_queue(c)) {
		serve(c);
		image_queue_free(c->queue);
	}
	g_main_context_release(c->context);
	g_main_context_unref(c->context);
}
