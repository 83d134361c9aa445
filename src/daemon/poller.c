/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See poller.h. Called by server.c, client.c and stream.c. */
#include "poller.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "call.h"
#include "error.h"
#include "spin.h"

enum {
	BATCH = 64,
	TURNS = 16, /* before GLib's other sources have theirs */
};

struct later {
	void (*func)(void *data);
	void *data;
};

static int epoll = -1;
/* What epoll_wait() said, without the lock: who was removed since is not among the watches any more. */
static struct epoll_event batch[BATCH];
static int batch_len;
static GHashTable *watches;
static unsigned processors;
static struct watch wake;
static GQueue laters = G_QUEUE_INIT;

static gboolean prepare(GSource *source, gint *timeout)
{
	*timeout = -1;
	return FALSE;
}

static bool look(void)
{
	batch_len = epoll_wait(epoll, batch, BATCH, 0);
	return batch_len > 0;
}

/* What is ready is done. */
static void run_batch(void)
{
	state_acquire();
	for (int i = 0; i < batch_len; i++) {
		struct watch *w = batch[i].data.ptr;

		if (g_hash_table_contains(watches, w))
			w->ready(w, batch[i].events);
	}
	state_release();
}

static bool look_for_more(void)
{
	static struct spin spin;
	gint64 until = g_get_monotonic_time() + SPIN_US;
	bool found = false;

	if (processors < 2 || !spin_worthwhile(&spin))
		return false;
	do
		found = look();
	while (!found && g_get_monotonic_time() < until);
	spin_result(&spin, found);
	return found;
}

static gboolean dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	unsigned turns = 0;

	if (look())
		do
			run_batch();
		while (++turns < TURNS && look_for_more());
	return G_SOURCE_CONTINUE;
}

static GPollFD poll_fd = { .events = G_IO_IN };

static gboolean check(GSource *source)
{
	return (poll_fd.revents & G_IO_IN) != 0;
}

static void woken(struct watch *w, uint32_t events)
{
	uint64_t n;
	GQueue now = laters;

	if (read(w->fd, &n, sizeof(n)) < 0)
		return;
	g_queue_init(&laters);
	for (struct later *l; (l = g_queue_pop_head(&now));) {
		l->func(l->data);
		g_free(l);
	}
}

void poller_later(void (*func)(void *data), void *data)
{
	struct later *l = g_new(struct later, 1);
	uint64_t one = 1;

	*l = (struct later){ func, data };
	g_queue_push_tail(&laters, l);
	if (laters.length == 1 && write(wake.fd, &one, sizeof(one)) < 0)
		return; /* it is readable already */
}

bool poller_start(GError **error)
{
	static GSourceFuncs funcs = { .prepare = prepare, .check = check, .dispatch = dispatch };
	GSource *source;

	watches = g_hash_table_new(NULL, NULL);
	processors = g_get_num_processors();
	epoll = epoll_create1(EPOLL_CLOEXEC);
	wake = (struct watch){ eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), EPOLLIN, woken };
	if (epoll < 0 || wake.fd < 0)
		return kv_fail_errno(error, errno, "cannot make what waits for clients");
	source = g_source_new(&funcs, sizeof(GSource));
	g_source_set_can_recurse(source, TRUE); /* else GLib takes its descriptor away for each dispatch: five system calls */
	poll_fd.fd = epoll;
	g_source_add_poll(source, &poll_fd);
	g_source_attach(source, NULL);
	g_source_unref(source);
	return poller_add(&wake, error);
}

bool poller_add(struct watch *w, GError **error)
{
	struct epoll_event e = { .events = w->events, .data.ptr = w };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, w->fd, &e) < 0)
		return kv_fail_errno(error, errno, "cannot wait for descriptor %d", w->fd);
	g_hash_table_add(watches, w);
	return true;
}

void poller_set(struct watch *w, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = w };

	if (w->events == events)
		return;
	w->events = events;
	epoll_ctl(epoll, EPOLL_CTL_MOD, w->fd, &e);
}

void poller_remove(struct watch *w)
{
	epoll_ctl(epoll, EPOLL_CTL_DEL, w->fd, NULL);
	g_hash_table_remove(watches, w);
}
