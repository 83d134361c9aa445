/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory as it is at one moment, to a file, while the machine goes on (saver_protect() and so on of saved.h). All pages are
 * write-protected by userfaultfd(2) before the moment, while the machine runs; what is written until then is let go and
 * protected again at the moment itself, so that the pause does not grow with memory. From then on a unit of pages is copied,
 * let go and written out: one after the other, and first those that somebody waits for.
 *
 * One thread does it all and waits for nobody but the file: who writes to memory may hold any lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "error.h"
#include "saved-form.h"

enum { UNIT = 64 << 10, UNIT_PAGES = UNIT / 4096, PIECE = 16 << 20, WAIT_MS = 20 };

struct cow {
	int fd;
	GMutex lock; /* the next three, until sealed */
	bool sealed;
	GArray *let_go; /* struct unit: written since saver_protect() */
	uint64_t *open[MEM_AREAS]; /* a bit a unit: not protected (any more) */
	uint8_t *buffer; /* UNIT bytes */
	unsigned n_areas;
	const struct mem_area *area;
	unsigned registered;
};

struct unit {
	unsigned area;
	uint64_t index;
};

static uint64_t units_of(const struct mem_area *a)
{
	return (a->size + UNIT - 1) / UNIT;
}

static uint64_t unit_len(const struct mem_area *a, uint64_t index)
{
	return MIN(UNIT, a->size - index * UNIT);
}

static bool is_open(const struct cow *c, struct unit u)
{
	return c->open[u.area][u.index / 64] & 1ull << u.index % 64;
}

static void set_open(struct cow *c, struct unit u, bool on)
{
	uint64_t bit = 1ull << u.index % 64;

	c->open[u.area][u.index / 64] = on ? c->open[u.area][u.index / 64] | bit : c->open[u.area][u.index / 64] & ~bit;
}

static bool protect(struct cow *c, void *at, uint64_t len, bool on, GError **error)
{
	struct uffdio_writeprotect w = { .range = { (uintptr_t)at, len }, .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0 };

	while (ioctl(c->fd, UFFDIO_WRITEPROTECT, &w) < 0)
		if (errno != EAGAIN)
			return kv_fail_errno(error, errno, "guest memory cannot be write-protected");
	return true;
}

static bool protect_unit(struct cow *c, struct unit u, bool on, GError **error)
{
	const struct mem_area *a = &c->area[u.area];

	return protect(c, a->host + u.index * UNIT, unit_len(a, u.index), on, error);
}

/* One for the process, and for all of its savers, of which there is one at a time. Tried once: later the sandbox forbids it. */
static int faults_fd = -1, faults_errno = EPERM;

void cow_keep_open(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP };
	int fd;

	if (faults_fd >= 0)
		return;
	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0) {
		faults_fd = fd;
		return;
	}
	faults_errno = errno;
	if (fd >= 0)
		close(fd);
}

/* Nobody waits after this. */
static void release(struct cow *c)
{
	for (; c->registered; c->registered--) {
		const struct mem_area *a = &c->area[c->registered - 1];
		struct uffdio_range r = { (uintptr_t)a->host, a->size };

		ioctl(c->fd, UFFDIO_UNREGISTER, &r);
	}
}

void cow_free(struct cow *c)
{
	if (!c)
		return;
	release(c);
	for (unsigned i = 0; i < c->n_areas; i++)
		g_free(c->open[i]);
	g_array_unref(c->let_go);
	g_mutex_clear(&c->lock);
	g_free(c->buffer);
	g_free(c);
}

static struct cow *cow_new(struct saver *s)
{
	struct cow *c = g_new0(struct cow, 1);

	c->n_areas = s->n_areas;
	c->area = s->area;
	c->let_go = g_array_new(FALSE, FALSE, sizeof(struct unit));
	c->buffer = g_malloc(UNIT);
	g_mutex_init(&c->lock);
	for (unsigned i = 0; i < c->n_areas; i++)
		c->open[i] = g_new0(uint64_t, units_of(&c->area[i]) / 64 + 1);
	return c;
}

/* Also faults of the kernel, which are those of KVM and of devices' system calls, so it has to be permitted. */
static bool open_faults(struct cow *c, GError **error)
{
	c->fd = faults_fd;
	return c->fd >= 0 || kv_fail(error, KV_ERROR_UNSUPPORTED,
				     "userfaultfd: %s (it takes root, or sysctl vm.unprivileged_userfaultfd=1)",
				     g_strerror(faults_errno));
}

static bool register_area(struct cow *c, const struct mem_area *a, GError **error)
{
	struct uffdio_register r = { .range = { (uintptr_t)a->host, a->size }, .mode = UFFDIO_REGISTER_MODE_WP };

	if (ioctl(c->fd, UFFDIO_REGISTER, &r) < 0)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "%s: userfaultfd does not write-protect it: %s", a->name,
			       g_strerror(errno));
	c->registered++;
	return true;
}

bool saver_register(struct saver *s, GError **error)
{
	struct cow *c = s->cow = cow_new(s);
	bool ok = open_faults(c, error);

	for (unsigned i = 0; ok && i < c->n_areas; i++)
		ok = register_area(c, &c->area[i], error);
	if (!ok)
		g_clear_pointer(&s->cow, cow_free);
	return ok;
}

/* Pages that are not there cannot be protected by every kernel; reading makes them the one page of zeroes. */
static bool populate_all(struct cow *c, GError **error)
{
	for (unsigned i = 0; i < c->n_areas; i++)
		if (madvise(c->area[i].host, c->area[i].size, MADV_POPULATE_READ) < 0)
			return kv_fail_errno(error, errno, "%s: cannot be read", c->area[i].name);
	return true;
}

static bool find_unit(const struct cow *c, uint64_t address, struct unit *ret)
{
	for (unsigned i = 0; i < c->n_areas; i++) {
		uint64_t offset = address - (uintptr_t)c->area[i].host;

		if (offset < c->area[i].size) {
			*ret = (struct unit){ i, offset / UNIT };
			return true;
		}
	}
	return false;
}

static bool save_unit(struct saver *s, struct unit u, GError **error)
{
	struct cow *c = s->cow;
	const struct mem_area *a = &c->area[u.area];
	uint64_t len = unit_len(a, u.index);

	if (is_open(c, u))
		return true;
	memcpy(c->buffer, a->host + u.index * UNIT, len);
	set_open(c, u, true);
	__atomic_sub_fetch(&s->counts.remaining, len, __ATOMIC_RELAXED);
	return protect_unit(c, u, false, error) &&
	       saver_put(s, u.area, u.index * UNIT_PAGES, c->buffer, len / SAVED_PAGE, true, error);
}

/* Before the moment: it is written as if nothing were. */
static bool let_go(struct cow *c, struct unit u, GError **error)
{
	if (!is_open(c, u))
		g_array_append_val(c->let_go, u);
	set_open(c, u, true);
	return protect_unit(c, u, false, error);
}

static bool serve_one(struct saver *s, const struct uffd_msg *msg, GError **error)
{
	struct cow *c = s->cow;
	struct unit u;
	bool ok;

	if (msg->event != UFFD_EVENT_PAGEFAULT || !find_unit(c, msg->arg.pagefault.address, &u))
		return true;
	g_mutex_lock(&c->lock);
	if (!c->sealed) {
		ok = let_go(c, u, error);
		g_mutex_unlock(&c->lock);
		return ok;
	}
	g_mutex_unlock(&c->lock);
	/* One that is open by now has another waiter, who came a moment too late to be woken. */
	return is_open(c, u) ? protect_unit(c, u, false, error) : save_unit(s, u, error);
}

static bool serve_waiting(struct saver *s, GError **error)
{
	struct uffd_msg msg[16];
	ssize_t n;

	while ((n = read(s->cow->fd, msg, sizeof(msg))) > 0)
		for (size_t i = 0; i < n / sizeof(*msg); i++)
			if (!serve_one(s, &msg[i], error))
				return false;
	return saver_cancelled(s, error);
}

/* Not all at once: who writes to what is protected already is not to wait for the rest. */
static bool protect_all(struct saver *s, GError **error)
{
	struct cow *c = s->cow;

	for (unsigned i = 0; i < c->n_areas; i++)
		for (uint64_t at = 0; at < c->area[i].size; at += PIECE)
			if (!protect(c, c->area[i].host + at, MIN(PIECE, c->area[i].size - at), true, error) ||
			    !serve_waiting(s, error))
				return false;
	return true;
}

bool saver_protect(struct saver *s, GError **error)
{
	mem_hold(s->mem, true);
	if (populate_all(s->cow, error) && protect_all(s, error))
		return true;
	release(s->cow);
	mem_hold(s->mem, false);
	return false;
}

static bool is_sealed(struct cow *c)
{
	bool sealed;

	g_mutex_lock(&c->lock);
	sealed = c->sealed;
	g_mutex_unlock(&c->lock);
	return sealed;
}

static bool save_area(struct saver *s, unsigned area, GError **error)
{
	for (uint64_t i = 0; i < units_of(&s->area[area]); i++)
		if (!serve_waiting(s, error) || !save_unit(s, (struct unit){ area, i }, error))
			return false;
	return true;
}

static bool serve(struct saver *s, GError **error)
{
	struct pollfd p = { .fd = s->cow->fd, .events = POLLIN };

	while (!is_sealed(s->cow)) {
		poll(&p, 1, WAIT_MS);
		if (!serve_waiting(s, error))
			return false;
	}
	for (unsigned i = 0; i < s->n_areas; i++)
		if (!save_area(s, i, error))
			return false;
	return true;
}

bool saver_serve(struct saver *s, GError **error)
{
	bool ok = serve(s, error);

	release(s->cow);
	mem_hold(s->mem, false);
	return ok;
}

/* The machine stands still; nobody but our thread writes its notes, and that only when there is a fault. */
bool saver_seal(struct saver *s, GError **error)
{
	struct cow *c = s->cow;
	bool ok = true;

	g_mutex_lock(&c->lock);
	for (guint i = 0; ok && i < c->let_go->len; i++) {
		struct unit u = g_array_index(c->let_go, struct unit, i);

		set_open(c, u, false);
		ok = protect_unit(c, u, true, error);
	}
	g_array_set_size(c->let_go, 0);
	c->sealed = ok;
	g_mutex_unlock(&c->lock);
	return ok;
}

bool saver_finish_sealed(struct saver *s, const GByteArray *state, bool running, GError **error)
{
	return saver_end_file(s, state, running, error);
}
