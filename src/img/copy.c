/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copies images: the inside of convert, commit and dd. Threads take ranges of 1 MiB in order, read them at the same time, and
 * write them in their order (a file that is written in order lies on its disk in order) or, when asked to, as they come. What
 * reads as zeroes is found twice: by the metadata, before anything is read, and by looking at the data.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/fs.h>

#include "bytes.h"
#include "img.h"

enum {
	CHUNK = 1 << 20, /* a core's own cache has room for it */
	ZERO_CHUNK = 1 << 30,
	SECTOR = 512,
	THREADS_MAX = 8,
	LOOKS = 5000, /* some 100 us */
	BLOCK = 4096, /* what file systems share; where theirs are larger they refuse */
};

enum piece { SKIP, ZEROES, COPY };

struct range {
	uint64_t offset, len, ticket;
	enum piece what;
};

struct waiter {
	GCond turned;
	bool waits;
};

struct job {
	const struct img_copy *c;
	uint64_t *start; /* of each source */
	uint64_t total, unit, chunk; /* chunk: a whole number of units */
	bool in_order, packs, offload;
	unsigned n_threads;
	GMutex lock;
	/* Under the lock: */
	struct waiter *waiter; /* of ticket i: i % n_threads, since no more are under way */
	uint64_t next, ticket, turn, done;
	bool failed;
	uint64_t map_at, map_len; /* what the last look at metadata said */
	enum piece map_what;
	uint64_t share_unit; /* 0: nothing can be shared */
	unsigned share_max;  /* how much is tried at once */
	struct image_piece pieces[IMAGE_MAX_PIECES];
	uint64_t began; /* microseconds */
};

static void wake(struct job *j, uint64_t ticket)
{
	struct waiter *w = j->waiter + ticket % j->n_threads;

	if (w->waits)
		g_cond_signal(&w->turned);
}

static bool fail(struct job *j, const char *what, uint64_t offset, int res)
{
	g_mutex_lock(&j->lock);
	if (!j->failed)
		img_fail("error while %s at byte %" G_GUINT64_FORMAT ": %s", what, offset, g_strerror(-res));
	j->failed = true;
	for (unsigned i = 0; i < j->n_threads; i++)
		wake(j, i);
	g_mutex_unlock(&j->lock);
	return false;
}

/* Which source has this byte. */
static unsigned source_at(const struct job *j, uint64_t offset)
{
	unsigned i = j->c->n_source - 1;

	while (i && j->start[i] > offset)
		i--;
	return i;
}

static enum piece classify(const struct job *j, const struct image *img, const struct image_extent *e, uint64_t at)
{
	if (e->kind == IMAGE_DATA || e->kind == IMAGE_COMPRESSED)
		return COPY;
	if (j->c->on_backing) {
		if (e->kind == IMAGE_HOLE && img->backing_name)
			return SKIP;
		return j->c->zeroed && at >= j->c->zero_from ? SKIP : ZEROES;
	}
	if (!j->c->sparse)
		return COPY;
	return j->c->zeroed ? SKIP : ZEROES;
}

static int status(const struct job *j, uint64_t at, struct image_extent *ret)
{
	unsigned i = source_at(j, at);
	const struct img_source *s = &j->c->source[i];
	uint64_t in = at - j->start[i], left = s->len - in;
	bool in_hole;
	int res;

	if (j->c->on_backing && at < j->c->zero_from)
		left = MIN(left, j->c->zero_from - at);
	res = img_look(s->img, s->from + in, left, j->c->on_backing, ret, &in_hole);
	if (res < 0 && j->c->salvage) {
		*ret = (struct image_extent){.kind = IMAGE_DATA, .len = MIN(left, CHUNK)};
		return 0;
	}
	return res;
}

static struct image_file *file_of(const struct image *img, const struct image_extent *e)
{
	for (unsigned i = 0; i < e->depth; i++)
		img = img->backing;
	return img->data;
}

/*
 * The target's clusters that an extent is in. Around it there may be less than a cluster of hole: a raw file has that as it is,
 * and it is shared with the data, from `free` on, where nothing was written yet. What is shared otherwise are whole clusters.
 */
static bool find_piece(const struct job *j, const struct image_extent *e, uint64_t at, uint64_t free, struct image_piece *ret)
{
	unsigned i = source_at(j, at);
	const struct img_source *s = &j->c->source[i];
	bool around = s->img->format->plain && !j->c->on_backing;
	uint64_t unit = j->share_unit, from = at, to = at + e->len, size = image_file_size(s->img->data);

	if (e->kind != IMAGE_DATA || !e->has_at)
		return false;
	if (around && align_down(at, unit) >= MAX(free, j->start[i]))
		from = align_down(at, unit);
	if (around && align_up(to, unit) <= j->start[i] + s->len && e->at + (align_up(to, unit) - at) <= size)
		to = align_up(to, unit);
	*ret = (struct image_piece){from, align_down(to, unit) - from, e->at - (at - from)};
	return from % unit == 0 && to >= from + unit && ret->at % BLOCK == 0;
}

/* Pieces of one file from `at` on, and where they end. Between them are holes. */
static unsigned find_pieces(struct job *j, struct image_extent e, uint64_t at, uint64_t *ret_end)
{
	const struct image *img = j->c->source[source_at(j, at)].img;
	const struct image_file *file = file_of(img, &e);
	uint64_t end = j->start[source_at(j, at)] + j->c->source[source_at(j, at)].len;
	uint64_t free = j->map_what == SKIP && j->map_at + j->map_len == at ? j->map_at : at;
	unsigned n = 0;

	while (n < j->share_max) {
		struct image_piece *p = &j->pieces[n];

		if (classify(j, img, &e, at) == SKIP) {
			at += e.len;
		} else if (file_of(img, &e) == file && find_piece(j, &e, at, free, p)) {
			at = free = p->offset + p->len;
			n++;
		} else {
			break;
		}
		if (at >= end || status(j, at, &e) < 0)
			break;
	}
	*ret_end = at;
	return n;
}

/* Data that the target can have without a copy; *len is how far that goes, or for how far it does not. */
static bool share(struct job *j, const struct image_extent *e, uint64_t at, uint64_t *len)
{
	uint64_t end, in_unit;
	unsigned n;
	int res;

	if (!j->share_unit)
		return false;
	n = find_pieces(j, *e, at, &end);
	res = n ? image_write_shared(j->c->target, file_of(j->c->source[source_at(j, at)].img, e), j->pieces, n) : -EEXIST;
	if (res > 0) {
		*len = ((unsigned)res < n ? j->pieces[res].offset : end) - at;
		return true;
	}
	in_unit = at % j->share_unit;
	if (in_unit)
		*len = MIN(*len, j->share_unit - in_unit);
	if (n && res == -EEXIST)
		j->share_max = 1;
	else if (n)
		j->share_unit = 0;
	return false;
}

/* What is at a place as the metadata have it, and how far that goes. */
static int look(struct job *j, uint64_t at, enum piece *ret, uint64_t *ret_len)
{
	if (at < j->map_at || at - j->map_at >= j->map_len) {
		struct image_extent e;
		enum piece what;
		uint64_t len;
		int res = status(j, at, &e);

		if (res < 0)
			return res;
		len = e.len;
		what = classify(j, j->c->source[source_at(j, at)].img, &e, at);
		if (what == COPY && share(j, &e, at, &len))
			what = SKIP;
		j->map_at = at;
		j->map_len = len;
		j->map_what = what;
	}
	*ret = j->map_what;
	*ret_len = j->map_at + j->map_len - at;
	return 0;
}

/* The same in whole units: one that has data in it is data. */
static int look_units(struct job *j, uint64_t at, enum piece *ret, uint64_t *ret_len)
{
	int res = look(j, at, ret, ret_len);

	if (res < 0 || at + *ret_len == j->total || *ret_len % j->unit == 0)
		return res;
	if (*ret != COPY && *ret_len >= j->unit) {
		*ret_len = align_down(*ret_len, j->unit);
		return 0;
	}
	*ret = COPY;
	*ret_len = MIN(align_up(*ret_len, j->unit), j->total - at);
	return 0;
}

static void account(struct job *j, uint64_t len)
{
	const struct img_copy *c = j->c;

	j->done += len;
	img_progress(c->progress_from + (c->progress_to - c->progress_from) * ((double)j->done / j->total));
}

/* The next range that is to be done: 1, 0 at the end, or a negative errno. Under the lock. */
static int take_locked(struct job *j, struct range *r)
{
	enum piece what;
	uint64_t len, more;
	int res = 0;

	while (j->next < j->total) {
		res = look_units(j, j->next, &what, &len);
		if (res < 0)
			return res;
		if (what != SKIP)
			break;
		j->next += len;
		account(j, len);
	}
	if (j->next >= j->total)
		return 0;
	*r = (struct range){.offset = j->next, .what = what, .ticket = j->ticket++};
	if (what == ZEROES)
		len = MIN(len, ZERO_CHUNK);
	while (what == COPY && len < j->chunk && r->offset + len < j->total) {
		res = look_units(j, r->offset + len, &what, &more);
		if (res < 0)
			return res;
		if (what == COPY)
			len += more;
	}
	r->len = r->what == COPY ? MIN(len, j->chunk) : len;
	j->next += r->len;
	return 1;
}

/* No faster than copy->rate: how long to sleep, in microseconds. */
static uint64_t too_early(const struct job *j)
{
	double due = j->c->rate ? (double)j->next / j->c->rate * 1e6 : 0;
	uint64_t past = g_get_monotonic_time() - j->began;

	return due > past ? due - past : 0;
}

static bool take(struct job *j, struct range *r)
{
	uint64_t at, wait = 0;
	int res = 0;

	g_mutex_lock(&j->lock);
	at = j->next;
	if (!j->failed) {
		wait = too_early(j);
		res = take_locked(j, r);
	}
	g_mutex_unlock(&j->lock);
	if (res < 0)
		return fail(j, "reading block status", at, res);
	if (res && wait)
		g_usleep(wait);
	return res;
}

/* Sector by sector; what cannot be read is zeroes. */
static void salvage(struct job *j, struct image *img, uint64_t offset, uint8_t *buf, uint64_t len)
{
	for (uint64_t at = 0; at < len; at += SECTOR) {
		uint64_t n = MIN(SECTOR, len - at);
		int res = image_read(img, offset + at, buf + at, n);

		if (res == 0)
			continue;
		if (!j->c->quiet)
			g_printerr("kv-img: warning: error while reading offset %" G_GUINT64_FORMAT ": %s\n", offset + at,
				   g_strerror(-res));
		memset(buf + at, 0, n);
	}
}

/* A raw image needs no look at where its holes are. */
static int read_source(struct image *img, uint64_t offset, uint8_t *buf, uint64_t len)
{
	return img->format->plain ? img->data->type->read(img->data, offset, buf, len) : image_read(img, offset, buf, len);
}

static bool read_range(struct job *j, const struct range *r, uint8_t *buf)
{
	for (uint64_t at = 0, n; at < r->len; at += n) {
		unsigned i = source_at(j, r->offset + at);
		const struct img_source *s = &j->c->source[i];
		uint64_t in = r->offset + at - j->start[i];
		int res;

		n = MIN(r->len - at, s->len - in);
		res = read_source(s->img, s->from + in, buf + at, n);
		if (res < 0 && !j->c->salvage)
			return fail(j, "reading", r->offset + at, res);
		if (res < 0)
			salvage(j, s->img, s->from + in, buf + at, n);
	}
	return true;
}

/* A write takes about as long as a sleeper needs to wake: with a processor for each thread it pays to look first. */
static void look_for_turn(const struct job *j, const struct range *r)
{
	if (j->n_threads > g_get_num_processors())
		return;
	for (int i = 0; i < LOOKS && __atomic_load_n(&j->turn, __ATOMIC_RELAXED) != r->ticket; i++)
		__builtin_ia32_pause();
}

/* In order: waits until everybody before has written. */
static bool wait_turn(struct job *j, const struct range *r)
{
	struct waiter *w = j->waiter + r->ticket % j->n_threads;
	bool ok;

	if (!j->in_order)
		return true;
	look_for_turn(j, r);
	g_mutex_lock(&j->lock);
	w->waits = true;
	while (j->turn != r->ticket && !j->failed)
		g_cond_wait(&w->turned, &j->lock);
	w->waits = false;
	ok = !j->failed;
	g_mutex_unlock(&j->lock);
	return ok;
}

static void end_turn(struct job *j, const struct range *r)
{
	g_mutex_lock(&j->lock);
	if (j->in_order) {
		__atomic_store_n(&j->turn, r->ticket + 1, __ATOMIC_RELAXED);
		wake(j, j->turn);
	}
	account(j, r->len);
	g_mutex_unlock(&j->lock);
}

/* The length of the run of zeroes, or of no zeroes, at the start; in steps of copy->sparse of the image. */
static uint64_t run_of(const struct job *j, uint64_t offset, const uint8_t *buf, uint64_t len, bool *ret_zero)
{
	uint64_t at = 0, step;

	for (; at < len; at += step) {
		bool zero;

		step = MIN(j->c->sparse - (offset + at) % j->c->sparse, len - at);
		zero = img_is_zero(buf + at, step);
		if (!at)
			*ret_zero = zero;
		else if (zero != *ret_zero)
			break;
	}
	return at;
}

/* Data that is zeroes: nothing where the target has no other ones. */
static int write_hole(struct job *j, uint64_t offset, uint64_t len)
{
	return j->c->zeroed && !j->c->on_backing ? 0 : image_write_zeroes(j->c->target, offset, len, IMAGE_MAY_UNMAP);
}

static bool write_sparse(struct job *j, uint64_t offset, const uint8_t *buf, uint64_t len)
{
	struct image *target = j->c->target;

	for (uint64_t at = 0, n; at < len; at += n) {
		bool zero = false;
		int res = 0;

		n = j->c->sparse ? run_of(j, offset + at, buf + at, len - at, &zero) : len;
		if (!zero && target->format->plain && j->c->zeroed)
			image_file_will_fill(target->file, offset + at, n, false);
		if (!zero)
			res = image_write(target, offset + at, buf + at, n);
		else
			res = write_hole(j, offset + at, n);
		if (res < 0)
			return fail(j, "writing", offset + at, res);
	}
	return true;
}

/* Clusters of a range as they will be in the file, one behind the other. */
struct packed {
	uint8_t *bytes;
	uint64_t *len; /* 0: zeroes; UINT64_MAX: does not become smaller */
};

static bool pack(struct job *j, const struct range *r, const uint8_t *buf, struct packed *p)
{
	struct image *target = j->c->target;

	for (uint64_t at = 0, i = 0; at < r->len; at += j->unit, i++) {
		uint64_t n = MIN(j->unit, r->len - at);
		int res = 0;

		p->len[i] = 0;
		if (!j->c->sparse || !img_is_zero(buf + at, n)) {
			res = target->format->compress(target, buf + at, n, p->bytes + at, &p->len[i]);
			p->len[i] = p->len[i] ? p->len[i] : UINT64_MAX;
		}
		if (res < 0)
			return fail(j, "compressing", r->offset + at, res);
	}
	return true;
}

/* One cluster; packed: its length, 0 and UINT64_MAX as above, or what it is when there are no halves. */
static int write_cluster(struct job *j, uint64_t offset, const uint8_t *buf, uint64_t len, const uint8_t *bytes, uint64_t packed)
{
	struct image *target = j->c->target;

	if (!packed)
		return write_hole(j, offset, len);
	if (!j->packs)
		return image_write_compressed(target, offset, buf, len);
	if (packed == UINT64_MAX)
		return image_write(target, offset, buf, len);
	return image_write_packed(target, offset, bytes, packed);
}

static bool write_compressed(struct job *j, const struct range *r, const uint8_t *buf, const struct packed *p)
{
	for (uint64_t at = 0, i = 0; at < r->len; at += j->unit, i++) {
		uint64_t n = MIN(j->unit, r->len - at);
		uint64_t packed = j->packs ? p->len[i] : !j->c->sparse || !img_is_zero(buf + at, n);
		int res = write_cluster(j, r->offset + at, buf + at, n, j->packs ? p->bytes + at : NULL, packed);

		if (res < 0)
			return fail(j, "writing", r->offset + at, res);
	}
	return true;
}

/* The kernel copies what lies in files as it is: how much of the range it did. */
static uint64_t offload(struct job *j, const struct range *r)
{
	uint64_t done = 0;

	while (done < r->len) {
		unsigned i = source_at(j, r->offset + done);
		const struct img_source *s = &j->c->source[i];
		uint64_t in = r->offset + done - j->start[i];
		struct image *layer = s->img;
		struct image_extent e;
		off_t from, to = r->offset + done;
		ssize_t got;

		if (image_status(s->img, s->from + in, MIN(s->len - in, r->len - done), &e) < 0 || !e.has_at)
			break;
		for (unsigned d = 0; d < e.depth; d++)
			layer = layer->backing;
		from = e.at;
		got = copy_file_range(layer->data->fd, &from, j->c->target->file->fd, &to, e.len, 0);
		if (got <= 0)
			break;
		done += got;
	}
	return done;
}

static bool do_range(struct job *j, struct range *r, uint8_t *buf, struct packed *p)
{
	struct range rest = *r;
	uint64_t done = 0;
	bool ok = true;
	int res;

	if (r->what == ZEROES) {
		ok = wait_turn(j, r);
		res = ok ? image_write_zeroes(j->c->target, r->offset, r->len, j->c->sparse ? IMAGE_MAY_UNMAP : 0) : 0;
		ok = ok && (res == 0 || fail(j, "writing zeroes", r->offset, res));
	} else {
		if (j->offload && wait_turn(j, r))
			done = offload(j, r);
		rest.offset += done;
		rest.len -= done;
		ok = !rest.len ||
		     (read_range(j, &rest, buf) && (!j->packs || pack(j, &rest, buf, p)) && wait_turn(j, r) &&
		      (j->c->compress ? write_compressed(j, &rest, buf, p) : write_sparse(j, rest.offset, buf, rest.len)));
	}
	if (ok)
		end_turn(j, r);
	return ok;
}

/* From r on, or from what is next. */
static void work_from(struct job *j, const struct range *first)
{
	g_autofree uint8_t *buf = g_malloc(j->chunk);
	g_autofree uint8_t *bytes = j->packs ? g_malloc(j->chunk) : NULL;
	g_autofree uint64_t *len = j->packs ? g_new0(uint64_t, j->chunk / j->unit) : NULL;
	struct packed p = {bytes, len};
	struct range r;

	if (first) {
		r = *first;
		if (!do_range(j, &r, buf, &p))
			return;
	}
	while (take(j, &r) && do_range(j, &r, buf, &p))
		;
}

static void *work(void *opaque)
{
	work_from(opaque, NULL);
	return NULL;
}

/* Two files may share their blocks: then there is nothing to copy. */
static bool reflink(const struct img_copy *c)
{
	const struct img_source *s = &c->source[0];
	struct image_file *to = c->target->file;

	if (!c->reflink || c->n_source != 1 || s->from || !c->zeroed || c->on_backing || !c->sparse ||
	    c->target->size != s->len || !s->img->format->plain || !c->target->format->plain || s->img->size != s->len ||
	    to->fd < 0 || s->img->file->fd < 0)
		return false;
	if (ioctl(to->fd, FICLONE, s->img->file->fd) < 0)
		return false;
	return to->type->truncate(to, c->target->size) == 0;
}

static bool may_share(const struct img_copy *c)
{
	return c->reflink && c->zeroed && c->sparse && !c->compress && !c->salvage && !c->rate;
}

/* Neither in the page cache nor on its way there ahead of the reader. */
static bool is_slow(const struct image_file *f)
{
	return f->fd < 0 || (fcntl(f->fd, F_GETFL) & O_DIRECT);
}

/* Memory is copied by as many as there are processors for: more of them only take turns. More can wait for what is slow. */
static unsigned choose_threads(const struct img_copy *c)
{
	bool slow = is_slow(c->target->data);

	for (unsigned i = 0; i < c->n_source; i++)
		slow = slow || is_slow(c->source[i].img->data);
	return slow ? THREADS_MAX : CLAMP(g_get_num_processors() + (c->compress ? 2 : 0), 2, c->compress ? THREADS_MAX : 4);
}

/* When there is something to do that is not done by sharing. */
static void run_threads(struct job *j)
{
	unsigned n = MIN(j->c->threads ? j->c->threads : choose_threads(j->c), j->total / j->chunk + 1);
	g_autofree GThread **threads = g_new(GThread *, n);
	g_autofree struct waiter *waiter = g_new0(struct waiter, n);
	struct range first;

	j->n_threads = n;
	j->waiter = waiter;
	for (unsigned i = 0; i < n; i++)
		g_cond_init(&waiter[i].turned);
	if (take(j, &first)) {
		for (unsigned i = 1; i < n; i++)
			threads[i] = g_thread_new("copy", work, j);
		work_from(j, &first);
		for (unsigned i = 1; i < n; i++)
			g_thread_join(threads[i]);
	}
	for (unsigned i = 0; i < n; i++)
		g_cond_clear(&waiter[i].turned);
}

bool img_copy(const struct img_copy *c)
{
	struct job j = {.c = c, .unit = 1, .in_order = !c->any_order};
	const struct image_format *format = c->target->format;
	g_autofree uint64_t *start = g_new(uint64_t, c->n_source);

	j.start = start;
	for (unsigned i = 0; i < c->n_source; i++) {
		start[i] = j.total;
		j.total += c->source[i].len;
	}
	if (!j.total || reflink(c)) {
		img_progress(c->progress_to);
		return true;
	}
	if (c->compress) {
		j.unit = format->cluster_size(c->target);
		j.packs = format->compress && format->write_packed;
		j.in_order = j.in_order && j.packs;
	}
	j.chunk = MAX(CHUNK / j.unit, 1) * j.unit;
	j.share_max = IMAGE_MAX_PIECES;
	if (may_share(c))
		j.share_unit = MAX(format->cluster_size ? format->cluster_size(c->target) : 0, BLOCK);
	j.offload = c->offload && format->plain && !c->compress && c->target->file->fd >= 0;
	j.began = g_get_monotonic_time();
	g_mutex_init(&j.lock);
	run_threads(&j);
	g_mutex_clear(&j.lock);
	return !j.failed;
}
