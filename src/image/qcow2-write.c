/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing. A run of data that is the image's own is overwritten without the lock. Else clusters are taken, or the place that a
 * cluster has already is used; the data is written there, and what the guest has around it copied, without the lock but with the
 * guest clusters noted as busy; at last the entries change, in memory. What is interrupted before that leaves leaks.
 */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "qcow2.h"

enum { MAX_RUN = 8 << 20, MAX_POPULATE = 1 << 20 };

void qcow2_busy_wait(struct qcow2 *s, uint64_t first, uint64_t last)
{
	const struct qcow2_busy *b = s->busy;

	while (b) {
		if (b->first <= last && first <= b->last) {
			s->n_waiting++;
			g_cond_wait(&s->idle, &s->lock);
			s->n_waiting--;
			b = s->busy;
		} else {
			b = b->next;
		}
	}
}

void qcow2_busy_begin(struct qcow2 *s, struct qcow2_busy *b, uint64_t first, uint64_t last)
{
	*b = (struct qcow2_busy){.first = first, .last = last, .next = s->busy};
	s->busy = b;
}

void qcow2_busy_end(struct qcow2 *s, struct qcow2_busy *b)
{
	struct qcow2_busy **p = &s->busy;

	while (*p != b)
		p = &(*p)->next;
	*p = b->next;
	if (s->n_waiting)
		g_cond_broadcast(&s->idle);
}

void qcow2_wait_all(struct qcow2 *s)
{
	qcow2_busy_wait(s, 0, UINT64_MAX);
}

/* What is done in one go. */
struct run {
	uint64_t offset, len; /* of the guest's data */
	uint64_t host;	      /* of the first cluster */
	uint64_t from, to;    /* guest bytes that are in place afterwards; from <= offset, to >= offset + len */
	bool in_place, fresh; /* fresh: clusters that were taken for this */
	struct qcow2_busy busy;
};

static bool is_busy(const struct qcow2 *s, uint64_t cluster)
{
	for (const struct qcow2_busy *b = s->busy; b; b = b->next)
		if (b->first <= cluster && cluster <= b->last)
			return true;
	return false;
}

static bool own(const struct qcow2_entry *e)
{
	return e->word & QCOW2_COPIED && !(e->word & QCOW2_COMPRESSED);
}

/* Data from here on that is the image's own, in one piece. 0: none. */
static int find_in_place(struct qcow2 *s, struct run *run, uint64_t len)
{
	uint64_t done = 0;

	while (done < len) {
		uint64_t at = run->offset + done, in_cluster = at & (s->cluster_size - 1);
		struct qcow2_entry e;
		int res = qcow2_l2_get(s, at, &e);

		if (res < 0)
			return done ? 0 : res;
		if (!own(&e) || qcow2_entry_kind(s, &e, in_cluster >> s->sub_bits) != QCOW2_DATA)
			return 0;
		if (!done)
			run->host = qcow2_entry_offset(&e) + in_cluster;
		else if (qcow2_entry_offset(&e) + in_cluster != run->host + done)
			return 0;
		done += MIN(len - done, s->sub_size - (at & (s->sub_size - 1)));
		run->in_place = true;
		run->len = done;
	}
	return 0;
}

/* Extended L2: what is copied from another place is copied whole; so one at a time. */
static bool alone(const struct qcow2 *s, const struct qcow2_entry *e)
{
	return s->extended && e->word;
}

/* How many clusters from the first on need a new place: it and others of the same slice. */
static int count_new(struct qcow2 *s, uint64_t offset, uint64_t len, uint64_t *ret)
{
	uint64_t want = qcow2_clusters(s, offset + len) - qcow2_cluster(s, offset), n, i;
	const uint8_t *p;
	int res = qcow2_l2_look(s, offset, false, &p, &n);

	if (res < 0)
		return res;
	want = MIN(want, MAX((uint64_t)MAX_RUN >> s->cluster_bits, 1));
	want = MIN(want, n);
	for (i = 1; p && i < want; i++) {
		struct qcow2_entry e = qcow2_l2_entry(s, p, i);

		if ((own(&e) && qcow2_entry_placed(s, &e)) || alone(s, &e) || is_busy(s, qcow2_cluster(s, offset) + i) ||
		    qcow2_entry_check(s, offset + (i << s->cluster_bits), &e) < 0)
			break;
	}
	*ret = MIN(i, want);
	return 0;
}

static int take_clusters(struct qcow2 *s, struct run *run, uint64_t want, uint64_t *ret_n)
{
	if (qcow2_has_data_file(s)) {
		run->host = align_down(run->offset, s->cluster_size);
		*ret_n = want;
		return 0;
	}
	run->fresh = true;
	return qcow2_alloc(s, want, false, &run->host, ret_n);
}

/* The parts of the run's first and last cluster that have to be copied. */
static void find_edges(struct qcow2 *s, struct run *run, const struct qcow2_entry *first)
{
	bool whole = run->fresh && ((first->word & QCOW2_COMPRESSED) || first->bits & UINT32_MAX);
	uint64_t unit = whole || !s->extended ? s->cluster_size : s->sub_size;

	run->from = align_down(run->offset, unit);
	run->to = align_up(run->offset + run->len, unit);
}

static int plan_new(struct qcow2 *s, struct run *run, uint64_t len)
{
	uint64_t first = qcow2_cluster(s, run->offset), n = 1, start = align_down(run->offset, s->cluster_size);
	struct qcow2_entry e;
	int res = qcow2_l2_prepare(s, run->offset);

	if (res == 0)
		res = qcow2_l2_get(s, run->offset, &e);
	if (res < 0)
		return res;
	if (own(&e) && qcow2_entry_placed(s, &e)) {
		run->host = qcow2_entry_offset(&e);
		if (!qcow2_has_data_file(s) && qcow2_is_metadata(s, run->host, s->cluster_size))
			return qcow2_corrupt(s, "guest data is mapped to metadata at %#" PRIx64 " of the file", run->host);
	} else {
		if (!alone(s, &e))
			res = count_new(s, run->offset, len, &n);
		if (res == 0)
			res = take_clusters(s, run, n, &n);
		if (res < 0)
			return res;
	}
	run->len = MIN(len, start + (n << s->cluster_bits) - run->offset);
	find_edges(s, run, &e);
	qcow2_busy_begin(s, &run->busy, first, first + n - 1);
	return 0;
}

static int plan(struct qcow2 *s, struct run *run, uint64_t len)
{
	uint64_t first = qcow2_cluster(s, run->offset);
	int res = qcow2_will_write(s);

	if (res < 0)
		return res;
	qcow2_busy_wait(s, first, first);
	res = find_in_place(s, run, len);
	if (res < 0)
		return res;
	if (!run->in_place)
		return plan_new(s, run, len);
	if (!qcow2_has_data_file(s) && qcow2_is_metadata(s, run->host, run->len))
		return qcow2_corrupt(s, "guest data is mapped to metadata at %#" PRIx64 " of the file", run->host);
	return 0;
}

/* What the guest has in [from, to), to where it will be; zeroes that are there already are left alone. */
static int copy_edge(struct image *img, const struct run *run, uint64_t from, uint64_t to)
{
	struct qcow2 *s = qcow2_state(img);
	uint64_t at = run->host + (from - align_down(run->offset, s->cluster_size));
	g_autofree uint8_t *buf = NULL;
	int res;

	if (from == to)
		return 0;
	if (qcow2_reads_zero(img, from, to - from)) {
		/* Nothing has ever been written there when the file ends before it. */
		if (run->fresh && !img->data->device && image_file_size(img->data) <= at)
			return 0;
		return img->data->type->write_zeroes(img->data, at, to - from, IMAGE_MAY_UNMAP);
	}
	buf = g_malloc(to - from);
	res = qcow2_read_guest(img, from, buf, to - from);
	return res < 0 ? res : img->data->type->write(img->data, at, buf, to - from);
}

static int transfer(struct image *img, const struct run *run, const uint8_t *bytes)
{
	struct qcow2 *s = qcow2_state(img);
	uint64_t at = run->host, start = align_down(run->offset, s->cluster_size);
	int res;

	if (run->in_place)
		return img->data->type->write(img->data, at, bytes, run->len);
	if (run->fresh && image_file_size(img->data) <= at)
		image_file_will_fill(img->data, at, align_up(run->to - start, s->cluster_size), true);
	at += run->offset & (s->cluster_size - 1);
	res = copy_edge(img, run, run->from, run->offset);
	if (res == 0)
		res = img->data->type->write(img->data, at, bytes, run->len);
	return res < 0 ? res : copy_edge(img, run, run->offset + run->len, run->to);
}

/* Which subclusters of this cluster are in place now. */
static uint64_t new_bits(const struct qcow2 *s, const struct run *run, uint64_t cluster_at, uint64_t old)
{
	uint64_t from = MAX(run->from, cluster_at) - cluster_at, to = MIN(run->to, cluster_at + s->cluster_size) - cluster_at;
	unsigned first = from >> s->sub_bits, n = (to >> s->sub_bits) - first;
	uint64_t mask = ((1ULL << n) - 1) << first;

	return (old | mask) & ~(mask << 32);
}

static int link_cluster(struct qcow2 *s, const struct run *run, uint64_t at)
{
	uint64_t host = run->host + (at - align_down(run->offset, s->cluster_size));
	struct qcow2_entry old, e;
	int res = qcow2_l2_get(s, at, &old);

	if (res < 0)
		return res;
	e.word = host | QCOW2_COPIED;
	e.bits = s->extended ? new_bits(s, run, at, old.bits) : 0;
	res = qcow2_l2_set(s, at, &e);
	if (res == 0 && run->fresh)
		qcow2_entry_gone(s, &old, false);
	return res;
}

static int finish(struct qcow2 *s, struct run *run, int res)
{
	uint64_t start = align_down(run->offset, s->cluster_size), end = align_up(run->offset + run->len, s->cluster_size);
	uint64_t at = start;

	for (; at < end && res == 0; at += s->cluster_size)
		res = link_cluster(s, run, at);
	if (res < 0 && run->fresh && at == start)
		qcow2_release(s, run->host, end - start);
	qcow2_busy_end(s, &run->busy);
	return res < 0 ? res : qcow2_settle(s);
}

static int write_run(struct image *img, uint64_t offset, const uint8_t *bytes, uint64_t len, uint64_t *ret_done)
{
	struct qcow2 *s = qcow2_state(img);
	struct run run = {.offset = offset};
	int res;

	g_mutex_lock(&s->lock);
	res = plan(s, &run, len);
	g_mutex_unlock(&s->lock);
	if (res < 0)
		return res;
	res = transfer(img, &run, bytes);
	if (!run.in_place) {
		g_mutex_lock(&s->lock);
		res = finish(s, &run, res);
		g_mutex_unlock(&s->lock);
	}
	*ret_done = run.len;
	return res;
}

int qcow2_write(struct image *img, uint64_t offset, const void *buf, uint64_t len)
{
	const uint8_t *bytes = buf;
	int res = 0;

	while (len && res == 0) {
		uint64_t done = 0;

		res = write_run(img, offset, bytes, len, &done);
		offset += done;
		bytes += done;
		len -= done;
	}
	return res;
}

/* ---- blocks of another file ---- */

struct share {
	struct run run;
	uint64_t at; /* in the other file */
};

/* Whole clusters, so there are no edges. Data that is there is overwritten only by who may fail in the middle. */
static int plan_share(struct qcow2 *s, struct share *share, const struct image_piece *p, uint64_t done)
{
	int res;

	*share = (struct share){.run = {.offset = p->offset + done}, .at = p->at + done};
	res = plan(s, &share->run, p->len - done);
	return res == 0 && share->run.in_place ? -EEXIST : res;
}

/* How many of the first ones follow each other in both files. */
static unsigned in_one_call(const struct share *first, unsigned n, uint64_t *ret_len)
{
	unsigned i;

	*ret_len = first->run.len;
	for (i = 1; i < n; i++) {
		if (first[i].run.host != first->run.host + *ret_len || first[i].at != first->at + *ret_len)
			break;
		*ret_len += first[i].run.len;
	}
	return i;
}

static int do_shares(struct image *img, struct image_file *from, struct share *share, unsigned n)
{
	struct qcow2 *s = qcow2_state(img);
	unsigned some;
	int res = 0;

	for (; n; share += some, n -= some) {
		uint64_t len;

		some = in_one_call(share, n, &len);
		if (res == 0)
			res = img->data->type->share(img->data, share->run.host, len, from, share->at);
		g_mutex_lock(&s->lock);
		for (unsigned i = 0; i < some; i++) {
			int finished = finish(s, &share[i].run, res);

			res = res < 0 ? res : finished;
		}
		g_mutex_unlock(&s->lock);
	}
	return res;
}

static bool pieces_valid(struct qcow2 *s, const struct image_piece *pieces, unsigned n)
{
	uint64_t end = 0;

	for (unsigned i = 0; i < n; i++) {
		if (!qcow2_aligned(s, pieces[i].offset | pieces[i].len) || pieces[i].offset < end)
			return false;
		end = pieces[i].offset + pieces[i].len;
	}
	return true;
}

/* Places are taken in the guest's order, so two who do this do not wait for each other. */
int qcow2_write_shared(struct image *img, struct image_file *from, const struct image_piece *pieces, unsigned n)
{
	g_autofree struct share *share = g_new(struct share, IMAGE_MAX_PIECES);
	struct qcow2 *s = qcow2_state(img);
	unsigned i = 0;
	uint64_t done = 0;
	int res = pieces_valid(s, pieces, n) && img->data->type->share ? 0 : -EINVAL;

	while (i < n && res == 0) {
		unsigned planned = 0;
		int shared;

		g_mutex_lock(&s->lock);
		while (i < n && planned < IMAGE_MAX_PIECES) {
			res = plan_share(s, &share[planned], &pieces[i], done);
			if (res < 0)
				break;
			done += share[planned++].run.len;
			if (done == pieces[i].len) {
				i++;
				done = 0;
			}
		}
		g_mutex_unlock(&s->lock);
		shared = do_shares(img, from, share, planned);
		res = shared < 0 ? shared : res;
	}
	return res == 0 || (res == -EEXIST && i) ? (int)i : res;
}

/* ---- what is behind becomes the image's own ---- */

/* Is there a hole at run->offset? How far that goes in its (sub)cluster, at most len, becomes run->len. */
static int look_for_hole(struct qcow2 *s, struct run *run, uint64_t len, bool *ret)
{
	uint64_t at = run->offset;
	struct qcow2_entry e;
	int res = qcow2_l2_get(s, at, &e);
	enum qcow2_kind kind;

	if (res < 0)
		return res;
	kind = qcow2_entry_kind(s, &e, (at & (s->cluster_size - 1)) >> s->sub_bits);
	if (kind == QCOW2_INVALID)
		return -EIO;
	run->len = MIN(align_down(at, s->sub_size) + s->sub_size - at, len);
	*ret = kind == QCOW2_HOLE || kind == QCOW2_ROOM;
	return 0;
}

/* The first hole of what is left of the range, which nobody is writing to; run->len 0: there is none. */
static int find_hole(struct qcow2 *s, struct run *run, uint64_t len)
{
	uint64_t end = run->offset + len;

	while (run->offset < end) {
		uint64_t cluster = qcow2_cluster(s, run->offset);
		bool hole;
		int res;

		/* Whose write that is, it may make data of the hole. */
		qcow2_busy_wait(s, cluster, cluster);
		res = look_for_hole(s, run, end - run->offset, &hole);
		if (res < 0 || hole)
			return res;
		run->offset += run->len;
	}
	run->len = 0;
	return 0;
}

/* Holes in whole clusters behind the first one: read and written at once. */
static void widen_hole(struct qcow2 *s, struct run *run, uint64_t len)
{
	uint64_t at = run->offset + run->len;

	while (!s->extended && len - run->len >= s->cluster_size && run->len < MAX_POPULATE &&
	       !is_busy(s, qcow2_cluster(s, at))) {
		struct qcow2_entry e;

		if (qcow2_l2_get(s, at, &e) < 0 || qcow2_entry_kind(s, &e, 0) != QCOW2_HOLE)
			break;
		run->len += s->cluster_size;
		at += s->cluster_size;
	}
}

/* Whole (sub)clusters of zeroes need no room. */
static int link_zeroes(struct qcow2 *s, const struct run *run)
{
	uint64_t end = run->offset + run->len;
	int res = 0;

	for (uint64_t at = run->offset; at < end && res == 0; at += s->sub_size) {
		struct qcow2_entry e;

		res = qcow2_l2_prepare(s, at);
		if (res == 0)
			res = qcow2_l2_get(s, at, &e);
		if (res < 0)
			break;
		if (s->extended)
			e.bits |= 1ULL << (32 + ((at & (s->cluster_size - 1)) >> s->sub_bits));
		else
			e.word = QCOW2_ZERO;
		res = qcow2_l2_set(s, at, &e);
	}
	return res < 0 ? res : qcow2_settle(s);
}

static bool may_be_zeroes(const struct qcow2 *s, const struct run *run)
{
	uint64_t end = run->offset + run->len;

	return s->version >= 3 && !qcow2_has_data_file(s) && !(run->offset & (s->sub_size - 1)) &&
	       (!(end & (s->sub_size - 1)) || end == s->img->size);
}

static bool all_zero(const uint8_t *p, uint64_t len)
{
	return !p[0] && memcmp(p, p + 1, len - 1) == 0;
}

/* Finds a hole, and it is ours until populate_end(). */
static int populate_begin(struct qcow2 *s, struct run *run, uint64_t len)
{
	uint64_t end = run->offset + len;
	int res;

	g_mutex_lock(&s->lock);
	res = qcow2_will_write(s);
	if (res == 0)
		res = find_hole(s, run, len);
	if (res == 0 && run->len) {
		widen_hole(s, run, end - run->offset);
		qcow2_busy_begin(s, &run->busy, qcow2_cluster(s, run->offset), qcow2_cluster(s, run->offset + run->len - 1));
	}
	g_mutex_unlock(&s->lock);
	return res;
}

/* Zeroes are noted; for data, places are taken for as much of it as lies in one piece, and that stays ours. */
static int populate_plan(struct qcow2 *s, struct run *run, bool zeroes, int res)
{
	g_mutex_lock(&s->lock);
	qcow2_busy_end(s, &run->busy);
	if (res == 0)
		res = zeroes ? link_zeroes(s, run) : plan_new(s, run, run->len);
	g_mutex_unlock(&s->lock);
	return res;
}

static int populate_run(struct image *img, uint64_t offset, uint64_t len, uint64_t *ret_done)
{
	struct qcow2 *s = qcow2_state(img);
	struct run run = {.offset = offset};
	g_autofree uint8_t *buf = NULL;
	bool zeroes = false;
	int res = populate_begin(s, &run, len);

	*ret_done = run.offset + run.len - offset;
	if (res < 0 || !run.len)
		return res;
	if (!qcow2_reads_zero(img, run.offset, run.len) || !may_be_zeroes(s, &run)) {
		buf = g_malloc(run.len);
		res = qcow2_read_guest(img, run.offset, buf, run.len);
	}
	zeroes = may_be_zeroes(s, &run) && (!buf || (res == 0 && all_zero(buf, run.len)));
	res = populate_plan(s, &run, zeroes, res);
	if (res < 0 || zeroes)
		return res;
	*ret_done = run.offset + run.len - offset;
	res = transfer(img, &run, buf);
	g_mutex_lock(&s->lock);
	res = finish(s, &run, res);
	g_mutex_unlock(&s->lock);
	return res;
}

int qcow2_populate(struct image *img, uint64_t offset, uint64_t len)
{
	int res = 0;

	while (len && res == 0) {
		uint64_t done = 0;

		res = populate_run(img, offset, len, &done);
		offset += done;
		len -= done;
	}
	return res;
}
