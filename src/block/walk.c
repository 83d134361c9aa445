/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See walk.h. Called by stream.c and commit.c. */
#include "walk.h"

void walk_init(struct walk *w)
{
	g_mutex_init(&w->lock);
	job_set_progress(w->job, 0, w->size);
}

void walk_clear(struct walk *w)
{
	g_mutex_clear(&w->lock);
}

/* The next run that is of interest: 1, 0 at the end, or an error of the place *ret_offset. Under the lock. */
static int take_locked(struct walk *w, uint64_t *ret_offset, uint64_t *ret_len)
{
	while (w->next < w->size) {
		enum copy_what what;
		uint64_t n;
		int res;

		*ret_offset = w->next;
		res = copy_look(&w->copy, w->next, w->size - w->next, &what, &n);
		if (res < 0)
			return res;
		if (what != COPY_SKIP) {
			*ret_len = MIN(n, JOB_CHUNK - w->next % JOB_CHUNK);
			w->next += *ret_len;
			return 1;
		}
		w->next += n;
		job_advance(w->job, n);
	}
	return 0;
}

static int take(struct walk *w, uint64_t *ret_offset, uint64_t *ret_len)
{
	int res;

	g_mutex_lock(&w->lock);
	res = take_locked(w, ret_offset, ret_len);
	/* What cannot even be looked at is a piece as well; its error comes again when it is done. */
	if (res < 0) {
		*ret_len = MIN(w->size - w->next, JOB_CHUNK - w->next % JOB_CHUNK);
		w->next += *ret_len;
		res = 1;
	}
	g_mutex_unlock(&w->lock);
	return res;
}

static int do_piece(struct walk *w, uint64_t offset, uint64_t len, void *buf)
{
	do {
		bool is_read = true;
		int res = w->piece(w, offset, len, buf, &is_read);
		enum job_action action;

		if (res == 0)
			return 0;
		action = job_io_error(w->job, is_read, res);
		if (action == JOB_ACTION_REPORT)
			return res;
		if (action == JOB_ACTION_IGNORE && w->skip_errors) {
			__atomic_store_n(&w->ignored, res, __ATOMIC_RELAXED);
			return 0;
		}
	} while (job_go_on(w->job));
	return 0;
}

int walk_work(struct walk *w)
{
	g_autofree void *buf = g_malloc(JOB_CHUNK);
	uint64_t offset, len;
	int res = 0;

	while (res == 0 && job_go_on(w->job) && take(w, &offset, &len)) {
		job_pace(w->job, len);
		res = do_piece(w, offset, len, buf);
		if (res == 0)
			job_advance(w->job, len);
	}
	return res;
}
