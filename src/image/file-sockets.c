/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sockets in a queue's source. One is looked at as long as requests are under way, and then until it has woken the queue for
 * somebody else's: turning it off and on costs the submitter of another thread a wake-up. The set of polled descriptors stays
 * the same meanwhile, as GLib wakes itself up when that changes. See file-sockets.h.
 */
#include "file-sockets.h"

enum {
	TURNING_US = 50,
};

void file_sockets_init(struct file_sockets *s, GSource *source, void *owner)
{
	g_mutex_init(&s->lock);
	s->source = source;
	s->alone = g_get_num_processors() < 2;
	for (unsigned i = 0; i < FILE_SOCKETS_MAX; i++)
		s->socket[i].owner = owner;
}

void file_sockets_clear(struct file_sockets *s)
{
	g_mutex_clear(&s->lock);
}

/* Holds lock. */
static struct file_socket *add(struct file_sockets *s, struct image_file *f)
{
	struct file_socket *k = &s->socket[s->n];

	if (s->n == FILE_SOCKETS_MAX)
		return NULL;
	k->file = f;
	k->poll = (GPollFD){ .fd = f->socket };
	k->polled = true;
	g_source_add_poll(s->source, &k->poll);
	__atomic_store_n(&s->n, s->n + 1, __ATOMIC_RELEASE);
	return k;
}

/* Holds lock. */
static void leave_poll(struct file_sockets *s, struct file_socket *k)
{
	if (k->polled)
		g_source_remove_poll(s->source, &k->poll);
	k->polled = false;
}

static struct file_socket *find(struct file_sockets *s, struct image_file *f)
{
	struct file_socket *found = NULL;

	g_mutex_lock(&s->lock);
	for (unsigned i = 0; i < s->n && !found; i++)
		if (s->socket[i].file == f)
			found = &s->socket[i];
	if (!found && f->type->async->events(f))
		found = add(s, f);
	g_mutex_unlock(&s->lock);
	return found;
}

bool file_sockets_submit(struct file_sockets *s, struct image_req *req, image_file_over *over, bool *ret_wake)
{
	struct image_file *f = req->file;
	struct file_socket *k = find(s, f);

	if (!k)
		return false;
	/* Before we look whether it is armed; arm() does it the other way round. */
	__atomic_add_fetch(&k->flying, 1, __ATOMIC_SEQ_CST);
	if (!f->type->async->start(f, req, over, k)) {
		file_socket_over(k);
		return false;
	}
	*ret_wake = !__atomic_load_n(&k->armed, __ATOMIC_SEQ_CST) || f->type->async->events(f) & G_IO_OUT;
	return true;
}

void file_socket_over(struct file_socket *k)
{
	__atomic_sub_fetch(&k->flying, 1, __ATOMIC_SEQ_CST);
}

static bool flies(const struct file_socket *k)
{
	return __atomic_load_n(&k->flying, __ATOMIC_SEQ_CST);
}

void file_sockets_arm(struct file_sockets *s)
{
	if (!__atomic_load_n(&s->n, __ATOMIC_ACQUIRE))
		return;
	g_mutex_lock(&s->lock);
	for (unsigned i = 0; i < s->n; i++) {
		struct file_socket *k = &s->socket[i];

		if (flies(k))
			__atomic_store_n(&k->armed, true, __ATOMIC_SEQ_CST);
		k->poll.events = k->polled && k->armed ? k->file->type->async->events(k->file) : 0;
	}
	g_mutex_unlock(&s->lock);
}

bool file_sockets_ready(struct file_sockets *s)
{
	bool ready = false;

	if (!__atomic_load_n(&s->n, __ATOMIC_ACQUIRE))
		return false;
	g_mutex_lock(&s->lock);
	for (unsigned i = 0; i < s->n; i++)
		ready |= s->socket[i].polled && s->socket[i].poll.revents;
	g_mutex_unlock(&s->lock);
	return ready;
}

bool file_sockets_look(struct file_sockets *s)
{
	struct pollfd fds[FILE_SOCKETS_MAX];
	unsigned n = __atomic_load_n(&s->n, __ATOMIC_ACQUIRE) && !s->alone ? file_sockets_poll_set(s, fds) : 0;
	gint64 until;
	bool found;

	if (!n || !spin_worthwhile(&s->spin))
		return false;
	until = g_get_monotonic_time() + SPIN_US;
	do
		found = poll(fds, n, 0) != 0;
	while (!found && g_get_monotonic_time() < until);
	spin_result(&s->spin, found);
	return found;
}

/* Holds lock, but not meanwhile. */
static void turn(struct file_sockets *s, struct file_socket *k)
{
	const struct image_file_async *async = k->file->type->async;

	k->turning++;
	g_mutex_unlock(&s->lock);
	async->turn(k->file);
	g_mutex_lock(&s->lock);
	k->turning--;
	if (!async->events(k->file))
		leave_poll(s, k);
}

void file_sockets_turn(struct file_sockets *s, bool ready)
{
	if (!__atomic_load_n(&s->n, __ATOMIC_ACQUIRE))
		return;
	g_mutex_lock(&s->lock);
	for (unsigned i = 0; i < s->n; i++) {
		struct file_socket *k = &s->socket[i];

		if (ready && k->polled && k->poll.revents && !flies(k))
			__atomic_store_n(&k->armed, false, __ATOMIC_SEQ_CST);
		if (ready ? k->polled && k->poll.revents : flies(k))
			turn(s, k);
		if (ready)
			k->poll.revents = 0;
	}
	g_mutex_unlock(&s->lock);
}

unsigned file_sockets_poll_set(struct file_sockets *s, struct pollfd *fds)
{
	unsigned n = 0;

	g_mutex_lock(&s->lock);
	for (unsigned i = 0; i < s->n; i++) {
		struct file_socket *k = &s->socket[i];
		unsigned events = k->file->type->async->events(k->file);

		if (flies(k) && events)
			fds[n++] = (struct pollfd){ .fd = k->poll.fd, .events = events };
	}
	g_mutex_unlock(&s->lock);
	return n;
}

void file_sockets_forget(struct file_sockets *s)
{
	g_mutex_lock(&s->lock);
	for (unsigned i = 0; i < s->n; i++) {
		struct file_socket *k = &s->socket[i];

		/* Another thread may be in there for nothing, or for others. */
		while (k->turning) {
			g_mutex_unlock(&s->lock);
			g_usleep(TURNING_US);
			g_mutex_lock(&s->lock);
		}
		leave_poll(s, k);
		k->file = NULL;
		k->armed = false;
	}
	__atomic_store_n(&s->n, 0, __ATOMIC_RELEASE);
	g_mutex_unlock(&s->lock);
}
