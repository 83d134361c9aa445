/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes a machine: its memory in rounds while it runs, what was written meanwhile again, and its state at last (saved.h). The
 * first round leaves out pages that nobody has touched, which /proc/self/pagemap tells without making them.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "internal.h"
#include "mem-backing.h"
#include "saved-form.h"

enum {
	WINDOW_US = 50000, /* in which the rate is kept */
	WAIT_MS = 100,	   /* until it is looked whether somebody cancelled */
	PAGEMAP = 512,	   /* entries at once */
};

#define TOUCHED (7ull << 61) /* present, in swap, or a file's */

static const uint8_t zeroes[SAVED_PAGE];

static uint64_t pages_of(const struct mem_area *a)
{
	return a->size / SAVED_PAGE;
}

static size_t words_of(const struct mem_area *a)
{
	return pages_of(a) / 64 + 1;
}

void saver_add(uint64_t *count, uint64_t n)
{
	__atomic_add_fetch(count, n, __ATOMIC_RELAXED);
}

static void set(uint64_t *count, uint64_t n)
{
	__atomic_store_n(count, n, __ATOMIC_RELAXED);
}

struct saver *saver_new_for(struct guest_mem *mem, const char *description, int fd, enum saved_form form)
{
	struct saver *s = g_new0(struct saver, 1);

	s->mem = mem;
	s->description = g_strdup(description);
	s->form = form;
	s->n_areas = mem_areas(mem, s->area);
	for (unsigned i = 0; i < s->n_areas; i++) {
		s->due[i] = g_new0(uint64_t, words_of(&s->area[i]));
		s->counts.total += s->area[i].size;
	}
	s->counts.remaining = s->counts.total;
	if (form == SAVED_STREAM && fd >= 0)
		saver_set_stream(s, fd);
	else
		s->fd = fd;
	return s;
}

void saver_set_stream(struct saver *s, int fd)
{
	s->fd = fd;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

struct saver *saver_new(struct machine *m, int fd, enum saved_form form)
{
	g_autofree char *description = saved_describe(m);
	struct saver *s = saver_new_for(m->core.mem, description, fd, form);

	s->m = m;
	return s;
}

void saver_free(struct saver *s)
{
	if (!s)
		return;
	cow_free(s->cow);
	if (s->logs)
		mem_log_stop(s->mem);
	for (unsigned i = 0; i < s->n_areas; i++)
		g_free(s->due[i]);
	g_free(s->description);
	g_free(s);
}

bool saver_log(struct saver *s, GError **error)
{
	s->logs = mem_log_start(s->mem, error);
	return s->logs;
}

void saver_set_rate(struct saver *s, uint64_t rate)
{
	set(&s->rate, rate);
}

void saver_cancel(struct saver *s)
{
	__atomic_store_n(&s->cancelled, 1, __ATOMIC_SEQ_CST);
}

bool saver_cancelled(struct saver *s, GError **error)
{
	return !__atomic_load_n(&s->cancelled, __ATOMIC_SEQ_CST) || kv_fail(error, KV_ERROR_USAGE, "cancelled");
}

void saver_counts(struct saver *s, struct saved_counts *ret)
{
	const uint64_t *from = (const uint64_t *)&s->counts;
	uint64_t *to = (uint64_t *)ret;

	for (size_t i = 0; i < sizeof(*ret) / sizeof(*to); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

/* ---- bytes ---- */

static ssize_t write_some(struct saver *s, const void *data, size_t len, uint64_t at)
{
	struct pollfd p = { .fd = s->fd, .events = POLLOUT };
	ssize_t n = s->form == SAVED_FILE ? pwrite(s->fd, data, len, (off_t)at) : write(s->fd, data, len);

	if (n >= 0)
		return n;
	if (errno == EAGAIN)
		poll(&p, 1, WAIT_MS);
	return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

bool saver_write(struct saver *s, const void *data, size_t len, uint64_t at, GError **error)
{
	const uint8_t *p = data;

	while (len) {
		ssize_t n;

		/* Before, not behind: who has all of it may have begun to run. */
		if (!saver_cancelled(s, error))
			return false;
		n = write_some(s, p, len, at);
		if (n < 0)
			return kv_fail_errno(error, errno, "the saved machine cannot be written");
		saver_add(&s->counts.sent, n);
		p += n;
		at += n;
		len -= n;
	}
	return true;
}

/* A fast writer rests until its window is over. */
static bool keep_rate(struct saver *s, uint64_t bytes, GError **error)
{
	uint64_t rate = __atomic_load_n(&s->rate, __ATOMIC_RELAXED);
	int64_t now = g_get_monotonic_time();

	if (!rate || s->no_limit)
		return true;
	if (now - s->window > 2 * WINDOW_US) {
		s->window = now;
		s->window_bytes = 0;
	}
	s->window_bytes += bytes;
	while (s->window_bytes > rate / (G_USEC_PER_SEC / WINDOW_US)) {
		int64_t over = s->window + WINDOW_US - g_get_monotonic_time();

		if (!saver_cancelled(s, error))
			return false;
		if (over > 0)
			g_usleep(over);
		s->window += WINDOW_US;
		s->window_bytes -= MIN(s->window_bytes, rate / (G_USEC_PER_SEC / WINDOW_US) + 1);
	}
	return true;
}

static bool put_record(struct saver *s, const struct saved_record *r, GError **error)
{
	uint8_t bytes[24];

	saved_put_record(bytes, r);
	return saver_write(s, bytes, sizeof(bytes), 0, error);
}

static bool put_zeroes(struct saver *s, unsigned area, uint64_t first, uint64_t n, bool fresh, GError **error)
{
	uint64_t at = saved_area_at(s->area, area) + first * SAVED_PAGE;

	saver_add(&s->counts.zero, n);
	if (s->form == SAVED_STREAM)
		return put_record(s, &(struct saved_record){ SAVED_ZEROES, area, first, n }, error);
	if (fresh || fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)(n * SAVED_PAGE)) == 0)
		return true;
	for (uint64_t i = 0; i < n; i++)
		if (!saver_write(s, zeroes, SAVED_PAGE, at + i * SAVED_PAGE, error))
			return false;
	return true;
}

static bool put_data(struct saver *s, unsigned area, uint64_t first, const uint8_t *pages, uint64_t n, GError **error)
{
	int64_t since = g_get_monotonic_time();

	saver_add(&s->counts.normal, n);
	if (s->form == SAVED_STREAM && !put_record(s, &(struct saved_record){ SAVED_PAGES, area, first, n }, error))
		return false;
	if (!saver_write(s, pages, n * SAVED_PAGE, saved_area_at(s->area, area) + first * SAVED_PAGE, error) ||
	    !keep_rate(s, n * SAVED_PAGE, error))
		return false;
	s->busy_us += g_get_monotonic_time() - since;
	s->busy_bytes += n * SAVED_PAGE;
	set(&s->counts.bytes_a_second, s->busy_us ? s->busy_bytes * G_USEC_PER_SEC / s->busy_us : 0);
	return true;
}

static bool is_zero(const uint8_t *page)
{
	return !page[0] && !memcmp(page, page + 1, SAVED_PAGE - 1);
}

/* A page that the guest changes between the look and the write is due again. */
bool saver_put(struct saver *s, unsigned area, uint64_t first, const uint8_t *pages, uint64_t n, bool fresh, GError **error)
{
	for (uint64_t i = 0, end; i < n; i = end) {
		bool zero = is_zero(pages + i * SAVED_PAGE);

		for (end = i + 1; end < n && is_zero(pages + end * SAVED_PAGE) == zero; end++)
			;
		if (!(zero ? put_zeroes(s, area, first + i, end - i, fresh, error) :
			     put_data(s, area, first + i, pages + i * SAVED_PAGE, end - i, error)))
			return false;
	}
	return true;
}

/* ---- rounds ---- */

static int pagemap_fd = -1;

void saved_keep_open(void)
{
	if (pagemap_fd < 0)
		pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	cow_keep_open();
}

/* All pages of RAM but those that are nowhere yet: zeroes, which need not be told. */
static void all_due(struct saver *s)
{
	uint64_t entries[PAGEMAP], left = 0;

	for (unsigned i = 0; i < s->n_areas; i++) {
		const struct mem_area *a = &s->area[i];
		uint64_t n = pages_of(a);
		/* What is not there of a file's pages is in the file. */
		bool anonymous = a->slot < MEM_BLOCKS && !s->mem->block[a->slot].mapped, behind = false;
		const struct mem_backing *backing = a->slot < MEM_BLOCKS ? s->mem->backing : NULL;
		uint64_t same = 0; /* up to there as `behind` says */

		for (uint64_t page = 0; page < n; page++) {
			uint64_t at = page % PAGEMAP, bytes = MIN(n - page, PAGEMAP) * 8;
			off_t from = (off_t)((uintptr_t)a->host / SAVED_PAGE + page) * 8;

			if (!at && (!anonymous || pread(pagemap_fd, entries, bytes, from) != (ssize_t)bytes))
				memset(entries, 0xff, sizeof(entries));
			if (backing && page >= same) {
				behind = mem_backing_has_data(backing, a->host + page * SAVED_PAGE, &same);
				same = page + MAX(same / SAVED_PAGE, 1);
			}
			if (!(entries[at] & TOUCHED) && !behind)
				continue;
			s->due[i][page / 64] |= 1ull << page % 64;
			left += SAVED_PAGE;
		}
	}
	set(&s->counts.remaining, left);
}

static bool take_log(struct saver *s, GError **error)
{
	int64_t now = g_get_monotonic_time();
	uint64_t pages = 0;

	for (unsigned i = 0; i < s->n_areas; i++) {
		if (!mem_log_take(s->mem, &s->area[i], s->due[i], error))
			return false;
		for (size_t w = 0; w < words_of(&s->area[i]); w++)
			pages += __builtin_popcountll(s->due[i][w]);
	}
	if (s->round_at && now > s->round_at)
		set(&s->counts.dirty_rate, pages * G_USEC_PER_SEC / (now - s->round_at));
	s->round_at = now;
	saver_add(&s->counts.rounds, 1);
	set(&s->counts.remaining, pages * SAVED_PAGE);
	return true;
}

static bool is_due(const uint64_t *due, uint64_t page)
{
	return due[page / 64] & 1ull << page % 64;
}

static bool put_area(struct saver *s, unsigned i, GError **error)
{
	const struct mem_area *a = &s->area[i];
	uint64_t n = pages_of(a), end;

	for (uint64_t page = 0; page < n; page = end) {
		end = page + 1;
		if (!s->due[i][page / 64])
			end = (page / 64 + 1) * 64;
		if (!is_due(s->due[i], page))
			continue;
		while (end < n && end - page < SAVED_RUN && is_due(s->due[i], end))
			end++;
		for (uint64_t p = page; p < end; p++)
			s->due[i][p / 64] &= ~(1ull << p % 64);
		if (!saver_put(s, i, page, a->host + page * SAVED_PAGE, end - page, !s->again, error))
			return false;
		set(&s->counts.remaining, s->counts.remaining - MIN(s->counts.remaining, (end - page) * SAVED_PAGE));
	}
	return true;
}

bool saver_begin(struct saver *s, GError **error)
{
	g_autofree uint8_t *header = g_malloc0(SAVED_FIXED);

	if (strlen(s->description) > SAVED_DESCRIPTION)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "the machine has more devices than a saved one can have");
	if (s->form == SAVED_FILE)
		return true; /* its header comes last */
	saved_put_header(header, &(struct saved_header){ .form = SAVED_STREAM }, s->description);
	return saver_write(s, header, SAVED_FIXED, 0, error) &&
	       saver_write(s, s->description, strlen(s->description), 0, error);
}

bool saver_round(struct saver *s, GError **error)
{
	if (!s->again)
		all_due(s);
	for (unsigned i = 0; i < s->n_areas; i++)
		if (!put_area(s, i, error))
			return false;
	s->again = true;
	return !s->logs || take_log(s, error);
}

/* ---- the end ---- */

static bool end_stream(struct saver *s, const GByteArray *state, bool running, GError **error)
{
	return put_record(s, &(struct saved_record){ SAVED_STATE, running, 0, state->len }, error) &&
	       saver_write(s, state->data, state->len, 0, error) &&
	       put_record(s, &(struct saved_record){ .type = SAVED_END }, error);
}

/* Without its header a file is none. */
bool saver_end_file(struct saver *s, const GByteArray *state, bool running, GError **error)
{
	g_autofree uint8_t *header = g_malloc0(SAVED_HEADER);
	struct saved_header h = { .form = SAVED_FILE, .state_at = saved_area_at(s->area, s->n_areas), .state_len = state->len,
				  .running = running };

	saved_put_header(header, &h, s->description);
	memcpy(header + SAVED_FIXED, s->description, MIN(strlen(s->description), SAVED_DESCRIPTION));
	if (!saver_write(s, state->data, state->len, h.state_at, error))
		return false;
	if (fdatasync(s->fd) < 0 && errno != EINVAL && errno != EROFS)
		return kv_fail_errno(error, errno, "the saved machine cannot be written");
	return saver_write(s, header, SAVED_HEADER, 0, error);
}

bool saver_last(struct saver *s, GError **error)
{
	s->no_limit = true;
	/* saver_round() takes the log behind itself: what it took last goes in the first, all since in the second. */
	if ((s->logs && !take_log(s, error)) || !saver_round(s, error))
		return false;
	set(&s->counts.remaining, 0);
	return true;
}

bool saver_finish(struct saver *s, const GByteArray *state, bool running, GError **error)
{
	if (!saver_last(s, error))
		return false;
	return s->form == SAVED_FILE ? saver_end_file(s, state, running, error) : end_stream(s, state, running, error);
}
