/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads a saved machine (saved.h) into one of the same configuration. Every number is checked against this machine's
 * own, nothing is allocated by its word, and what does not fit is refused in words.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "error.h"
#include "internal.h"
#include "mem-backing.h"
#include "saved-form.h"

enum { WAIT_MS = 100, PIECE = 64 << 10 };

struct loader *loader_new_for(struct guest_mem *mem, const char *description, int fd)
{
	struct loader *l = g_new0(struct loader, 1);

	l->mem = mem;
	l->description = g_strdup(description);
	l->fd = fd;
	l->n_areas = mem_areas(mem, l->area);
	l->state = g_byte_array_new();
	return l;
}

struct loader *loader_new(struct machine *m, int fd)
{
	g_autofree char *description = saved_describe(m);
	struct loader *l = loader_new_for(m->core.mem, description, fd);

	l->m = m;
	return l;
}

void loader_free(struct loader *l)
{
	if (!l)
		return;
	g_byte_array_unref(l->state);
	g_free(l->description);
	g_free(l);
}

void loader_cancel(struct loader *l)
{
	__atomic_store_n(&l->cancelled, 1, __ATOMIC_SEQ_CST);
}

bool loader_mapped(const struct loader *l)
{
	return l->mapped;
}

/* All len bytes; from a file's beginning on, or as they come. */
static bool take(struct loader *l, void *to, size_t len, GError **error)
{
	uint8_t *p = to;

	while (len) {
		struct pollfd wait = { .fd = l->fd, .events = POLLIN };
		ssize_t n = read(l->fd, p, len);

		if (__atomic_load_n(&l->cancelled, __ATOMIC_SEQ_CST))
			return kv_fail(error, KV_ERROR_USAGE, "cancelled");
		if (n < 0 && errno == EAGAIN)
			poll(&wait, 1, WAIT_MS);
		else if (n < 0 && errno != EINTR)
			return kv_fail_errno(error, errno, "the saved machine cannot be read");
		else if (!n)
			return kv_fail(error, KV_ERROR_INVALID, "the saved machine ends too early");
		else if (n > 0)
			p += n, len -= n;
	}
	return true;
}

static bool take_head(struct loader *l, struct saved_header *h, GError **error)
{
	uint8_t fixed[SAVED_FIXED];
	g_autofree char *text = g_malloc(SAVED_DESCRIPTION);

	return take(l, fixed, sizeof(fixed), error) && saved_get_header(fixed, h, error) &&
	       take(l, text, h->description, error) && saved_check(fixed, text, h->description, l->description, error);
}

/* ---- a stream ---- */

static bool check_range(struct loader *l, const struct saved_record *r, GError **error)
{
	uint64_t pages;

	if (r->area >= l->n_areas)
		return kv_fail(error, KV_ERROR_INVALID, "the saved machine has pages of area %u, of %u", r->area, l->n_areas);
	pages = l->area[r->area].size / SAVED_PAGE;
	if (r->first >= pages || !r->count || r->count > pages - r->first)
		return kv_fail(error, KV_ERROR_INVALID, "the saved machine has pages outside of %s", l->area[r->area].name);
	return true;
}

static bool take_pages(struct loader *l, const struct saved_record *r, GError **error)
{
	if (!check_range(l, r, error))
		return false;
	if (r->count > SAVED_RUN)
		return kv_fail(error, KV_ERROR_INVALID, "the saved machine has %" G_GUINT64_FORMAT " pages at once: more than %u",
			       r->count, SAVED_RUN);
	return take(l, l->area[r->area].host + r->first * SAVED_PAGE, r->count * SAVED_PAGE, error);
}

/* What is zeroes already stays the host's. */
static void zero_pages(uint8_t *page, uint64_t n)
{
	for (; n--; page += SAVED_PAGE)
		if (page[0] || memcmp(page, page + 1, SAVED_PAGE - 1))
			memset(page, 0, SAVED_PAGE);
}

/* What nobody tells of is zeroes, and a file may have had other bytes. */
static void zero_backing(struct loader *l)
{
	for (unsigned i = 0; i < l->n_areas; i++) {
		const struct mem_area *a = &l->area[i];

		for (uint64_t at = 0, len; l->mem->backing && a->slot < MEM_BLOCKS && at < a->size; at += len) {
			bool data = mem_backing_has_data(l->mem->backing, a->host + at, &len);

			len = MIN(MAX(len, SAVED_PAGE), a->size - at);
			if (data)
				zero_pages(a->host + at, len / SAVED_PAGE);
		}
	}
}

static bool take_zeroes(struct loader *l, const struct saved_record *r, GError **error)
{
	if (!check_range(l, r, error))
		return false;
	zero_pages(l->area[r->area].host + r->first * SAVED_PAGE, r->count);
	return true;
}

static bool check_state(struct loader *l, uint64_t len, GError **error)
{
	if (l->complete)
		return kv_fail(error, KV_ERROR_INVALID, "the saved machine has two states");
	if (!len || len > SAVED_STATE_MAX)
		return kv_fail(error, KV_ERROR_INVALID,
			       "the saved machine's state has %" G_GUINT64_FORMAT " bytes: none or too many", len);
	return true;
}

/* Memory for it is taken as its bytes come. */
static bool take_state(struct loader *l, uint64_t len, GError **error)
{
	while (l->state->len < len) {
		guint at = l->state->len, n = MIN(len - at, PIECE);

		g_byte_array_set_size(l->state, at + n);
		if (!take(l, l->state->data + at, n, error))
			return false;
	}
	l->complete = true;
	return true;
}

static bool read_stream(struct loader *l, GError **error)
{
	zero_backing(l);
	for (;;) {
		uint8_t bytes[24];
		struct saved_record r;

		if (!take(l, bytes, sizeof(bytes), error))
			return false;
		saved_get_record(bytes, &r);
		switch (r.type) {
		case SAVED_PAGES:
			if (!take_pages(l, &r, error))
				return false;
			break;
		case SAVED_ZEROES:
			if (!take_zeroes(l, &r, error))
				return false;
			break;
		case SAVED_STATE:
			l->running = r.area & 1;
			if (!check_state(l, r.count, error) || !take_state(l, r.count, error))
				return false;
			break;
		case SAVED_END:
			return l->complete || kv_fail(error, KV_ERROR_INVALID, "the saved machine has no state");
		default:
			return kv_fail(error, KV_ERROR_INVALID, "the saved machine has a record of the unknown type %u", r.type);
		}
	}
}

/* ---- a file ---- */

static bool seek(struct loader *l, uint64_t at, GError **error)
{
	return lseek(l->fd, (off_t)at, SEEK_SET) >= 0 || kv_fail_errno(error, errno, "the saved machine cannot be read");
}

/* RAM is mapped, where it is not a backend's; devices' memory is read: their resets write to it anyway. */
static bool map_areas(struct loader *l, GError **error)
{
	for (unsigned i = 0; i < l->n_areas; i++) {
		const struct mem_area *a = &l->area[i];
		uint64_t at = saved_area_at(l->area, i);

		if (a->slot < MEM_BLOCKS && mem_can_map_file(l->mem)) {
			if (!mem_map_file(l->mem, a, l->fd, at, error))
				return false;
		} else if (!seek(l, at, error) || !take(l, a->host, a->size, error)) {
			return false;
		}
	}
	l->mapped = true;
	return true;
}

static bool read_file(struct loader *l, const struct saved_header *h, GError **error)
{
	uint64_t end = saved_area_at(l->area, l->n_areas);
	struct stat st;

	if (fstat(l->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return kv_fail(error, KV_ERROR_INVALID, "the saved machine is a file's, and this is none: give file:PATH");
	if (!check_state(l, h->state_len, error))
		return false;
	if (h->state_at != end || (uint64_t)st.st_size < end || st.st_size - end < h->state_len)
		return kv_fail(error, KV_ERROR_INVALID, "the saved machine's file has %" G_GUINT64_FORMAT " bytes: too few",
			       (uint64_t)st.st_size);
	l->running = h->running;
	return seek(l, end, error) && take_state(l, h->state_len, error) && map_areas(l, error);
}

bool loader_read(struct loader *l, GError **error)
{
	struct saved_header h;

	if (!take_head(l, &h, error))
		return false;
	return h.form == SAVED_FILE ? read_file(l, &h, error) : read_stream(l, error);
}

bool loader_finish(struct loader *l, bool *ret_running, GError **error)
{
	g_autoptr(GBytes) bytes = g_bytes_new(l->state->data, l->state->len);

	if (!machine_load(l->m, bytes, error))
		return false;
	*ret_running = l->running;
	return true;
}
