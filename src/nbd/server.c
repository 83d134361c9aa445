/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The server: who listens, what is exported, who is connected. Connections are accepted in the context's thread and served by
 * threads of their own (connection.c), which ask here for exports and say here that they are over; the context's thread joins
 * them then. See server.h.
 */
#include "nbd-server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connection.h"
#include "error.h"
#include "log.h"
#include "module.h"

enum {
	HANDSHAKE_US = 30 * G_USEC_PER_SEC,
	CONNECTIONS_MAX = 1024,
	BACKLOG = 128,
	RETRY_US = 100000, /* after a client that could not be accepted, for want of descriptors */
};

struct listener {
	GSource base;
	struct nbd_server *s;
	struct listener *next;
	int fd;
	gpointer tag;
};

struct reaper {
	GSource base;
	struct nbd_server *s;
};

struct nbd_server {
	GMainContext *context;
	struct listener *listeners;
	GSource *reaper; /* ready when a connection is over */
	unsigned max;
	void (*left)(void *opaque, unsigned n, bool used);
	void *opaque;
	const struct kv_tls_module *tls_module;
	struct kv_tls_creds *tls_creds;
	struct nbd_conn *conns; /* the context's thread changes the list; */
	unsigned n_conns;
	GMutex lock; /* below, the list, and what connection.h says */
	GCond changed;
	struct nbd_export *exports;
};

/* ---- exports ---- */

static bool check_string(const char *what, const char *text, GError **error)
{
	if (!text || strlen(text) <= NBD_MAX_STRING)
		return true;
	return kv_fail(error, KV_ERROR_USAGE, "the %s of an NBD export has at most %d bytes", what, NBD_MAX_STRING);
}

static struct nbd_export *find(struct nbd_server *s, const char *name)
{
	struct nbd_export *e = s->exports;

	while (e && strcmp(e->name, name) != 0)
		e = e->next;
	return e;
}

static bool check_export(struct nbd_server *s, struct image *img, const struct nbd_export_options *o, GError **error)
{
	if (!check_string("name", o->name, error) || !check_string("description", o->description, error))
		return false;
	if (o->writable && img->readonly)
		return kv_fail(error, KV_ERROR_USAGE, "export '%s': disk '%s' is open for reading only", o->name, img->path);
	if (o->n_bitmaps > NBD_BITMAPS_MAX)
		return kv_fail(error, KV_ERROR_USAGE, "export '%s': at most %d bitmaps", o->name, NBD_BITMAPS_MAX);
	for (unsigned i = 0; i < o->n_bitmaps; i++)
		if (!check_string("bitmap's name", o->bitmaps[i].name, error))
			return false;
	if (find(s, o->name))
		return kv_fail(error, KV_ERROR_BUSY, "there is an NBD export '%s' already", o->name);
	return true;
}

struct nbd_export *nbd_export_add(struct nbd_server *s, struct image *img, const struct nbd_export_options *o, GError **error)
{
	struct nbd_export *e;

	if (!check_export(s, img, o, error))
		return NULL;
	e = g_new0(struct nbd_export, 1);
	e->server = s;
	e->img = img;
	e->name = g_strdup(o->name);
	e->description = g_strdup(o->description);
	e->writable = o->writable;
	e->ignore_flush = o->ignore_flush;
	e->many = s->max > 1;
	e->allocation_depth = o->allocation_depth;
	for (; e->n_bitmaps < o->n_bitmaps; e->n_bitmaps++) {
		e->bitmap[e->n_bitmaps] = o->bitmaps[e->n_bitmaps];
		e->bitmap[e->n_bitmaps].name = g_strdup(o->bitmaps[e->n_bitmaps].name);
	}
	g_mutex_lock(&s->lock);
	e->next = s->exports;
	s->exports = e;
	g_mutex_unlock(&s->lock);
	return e;
}

struct nbd_export *nbd_export_find(struct nbd_server *s, const char *name)
{
	return find(s, name);
}

unsigned nbd_export_connections(struct nbd_export *e)
{
	unsigned n;

	g_mutex_lock(&e->server->lock);
	n = e->users;
	g_mutex_unlock(&e->server->lock);
	return n;
}

void nbd_export_remove(struct nbd_export *e)
{
	struct nbd_server *s = e->server;

	g_mutex_lock(&s->lock);
	for (struct nbd_export **at = &s->exports; *at; at = &(*at)->next)
		if (*at == e) {
			*at = e->next;
			break;
		}
	for (struct nbd_conn *c = s->conns; c; c = c->next)
		if (c->export == e)
			shutdown(c->fd, SHUT_RDWR);
	while (e->users)
		g_cond_wait(&s->changed, &s->lock);
	g_mutex_unlock(&s->lock);
	for (unsigned i = 0; i < e->n_bitmaps; i++)
		g_free((char *)e->bitmap[i].name);
	g_free(e->name);
	g_free(e->description);
	g_free(e);
}

struct nbd_export *server_take_export(struct nbd_conn *c, const char *name)
{
	g_mutex_lock(&c->server->lock);
	c->export = find(c->server, name);
	if (c->export)
		c->export->users++;
	g_mutex_unlock(&c->server->lock);
	return c->export;
}

void server_drop_export(struct nbd_conn *c)
{
	g_mutex_lock(&c->server->lock);
	if (c->export && !--c->export->users)
		g_cond_broadcast(&c->server->changed);
	c->export = NULL;
	g_mutex_unlock(&c->server->lock);
}

void server_each_export(struct nbd_server *s, void (*fn)(void *opaque, const struct nbd_export *e), void *opaque)
{
	g_mutex_lock(&s->lock);
	for (struct nbd_export *e = s->exports; e; e = e->next)
		fn(opaque, e);
	g_mutex_unlock(&s->lock);
}

/* ---- connections ---- */

static void listen_or_not(struct nbd_server *s)
{
	for (struct listener *l = s->listeners; l; l = l->next)
		g_source_modify_unix_fd(&l->base, l->tag, s->n_conns < s->max ? G_IO_IN : 0);
}

static void add_conn(struct nbd_server *s, int fd)
{
	struct nbd_conn *c = g_new0(struct nbd_conn, 1);
	GError *error = NULL;
	int on = 1;

	/* Fails for what is no TCP socket, which needs it not. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	c->server = s;
	c->fd = fd;
	c->deadline = g_get_monotonic_time() + HANDSHAKE_US;
	c->tls_module = s->tls_module;
	c->tls_creds = s->tls_creds;
	c->in = g_malloc(IN_SIZE);
	c->out = g_malloc(OUT_SIZE);
	g_mutex_lock(&s->lock); /* the thread may be over before its handle is here */
	c->thread = g_thread_try_new("nbd", conn_run, c, &error);
	if (c->thread) {
		c->next = s->conns;
		s->conns = c;
		s->n_conns++;
	}
	g_mutex_unlock(&s->lock);
	if (!c->thread) {
		kv_log_warn("NBD: a client is refused: %s", error->message);
		g_error_free(error);
		conn_free(c);
	}
	listen_or_not(s);
}

void nbd_server_add(struct nbd_server *s, int fd)
{
	add_conn(s, fd);
}

unsigned nbd_server_connections(struct nbd_server *s)
{
	return s->n_conns;
}

void server_conn_over(struct nbd_conn *c)
{
	struct nbd_server *s = c->server;

	g_mutex_lock(&s->lock);
	c->over = true;
	g_source_set_ready_time(s->reaper, 0);
	g_mutex_unlock(&s->lock);
}

static struct nbd_conn *take_over(struct nbd_server *s, bool all)
{
	struct nbd_conn *c = NULL;

	g_mutex_lock(&s->lock);
	for (struct nbd_conn **at = &s->conns; *at; at = &(*at)->next)
		if (all || (*at)->over) {
			c = *at;
			*at = c->next;
			s->n_conns--;
			break;
		}
	g_mutex_unlock(&s->lock);
	return c;
}

static bool join(struct nbd_conn *c)
{
	bool used;

	g_thread_join(c->thread);
	used = c->used;
	conn_free(c);
	return used;
}

static gboolean reap(GSource *source, GSourceFunc callback, gpointer data)
{
	struct nbd_server *s = ((struct reaper *)source)->s;
	struct nbd_conn *c;

	g_source_set_ready_time(source, -1);
	c = take_over(s, false);
	if (!c)
		return G_SOURCE_CONTINUE;
	g_source_set_ready_time(source, 0); /* there may be more */
	{
		bool used = join(c);

		listen_or_not(s);
		if (s->left)
			s->left(s->opaque, s->n_conns, used);
	}
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs reaper_funcs = { .dispatch = reap };

/* ---- listening ---- */

static gboolean accept_one(GSource *source, GSourceFunc callback, gpointer data)
{
	struct listener *l = (struct listener *)source;
	int fd = -1;

	if (g_source_get_ready_time(source) != -1) {
		g_source_set_ready_time(source, -1);
		listen_or_not(l->s);
		return G_SOURCE_CONTINUE;
	}
	if (l->s->n_conns < l->s->max)
		fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0) {
		add_conn(l->s, fd);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		/* It still waits, and would wake us at once. */
		g_source_modify_unix_fd(source, l->tag, 0);
		g_source_set_ready_time(source, g_get_monotonic_time() + RETRY_US);
	}
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs listener_funcs = { .dispatch = accept_one };

void nbd_server_listen(struct nbd_server *s, int fd)
{
	GSource *source = g_source_new(&listener_funcs, sizeof(struct listener));
	struct listener *l = (struct listener *)source;

	listen(fd, BACKLOG); /* more than other sockets of ours have: clients open several connections at once */
	l->s = s;
	l->fd = fd;
	l->tag = g_source_add_unix_fd(source, fd, G_IO_IN);
	l->next = s->listeners;
	s->listeners = l;
	g_source_attach(source, s->context);
	listen_or_not(s);
}

void nbd_server_stop_listening(struct nbd_server *s)
{
	while (s->listeners) {
		struct listener *l = s->listeners;

		s->listeners = l->next;
		close(l->fd);
		g_source_destroy(&l->base);
		g_source_unref(&l->base);
	}
}

/* ---- the server ---- */

static bool load_tls(struct nbd_server *s, const struct nbd_server_options *o, GError **error)
{
	if (!o->tls_creds)
		return true;
	s->tls_module = kv_module_symbol(KV_TLS_MODULE, KV_TLS_SYMBOL, error);
	if (s->tls_module)
		s->tls_creds = s->tls_module->creds_new(o->tls_psk ? KV_TLS_PSK : KV_TLS_X509, o->tls_creds,
							o->tls_verify_peer, o->tls_password, error);
	return s->tls_creds;
}

struct nbd_server *nbd_server_new(GMainContext *context, const struct nbd_server_options *o, GError **error)
{
	struct nbd_server *s = g_new0(struct nbd_server, 1);

	s->context = context;
	s->max = o->max_connections ? MIN(o->max_connections, CONNECTIONS_MAX) : CONNECTIONS_MAX;
	s->left = o->left;
	s->opaque = o->opaque;
	if (!load_tls(s, o, error)) {
		g_free(s);
		return NULL;
	}
	g_mutex_init(&s->lock);
	g_cond_init(&s->changed);
	s->reaper = g_source_new(&reaper_funcs, sizeof(struct reaper));
	((struct reaper *)s->reaper)->s = s;
	g_source_attach(s->reaper, context);
	return s;
}

void nbd_server_free(struct nbd_server *s)
{
	struct nbd_conn *c;

	if (!s)
		return;
	nbd_server_stop_listening(s);
	g_mutex_lock(&s->lock);
	for (c = s->conns; c; c = c->next)
		shutdown(c->fd, SHUT_RDWR);
	g_mutex_unlock(&s->lock);
	while ((c = take_over(s, true)))
		join(c);
	g_source_destroy(s->reaper);
	g_source_unref(s->reaper);
	while (s->exports)
		nbd_export_remove(s->exports);
	if (s->tls_creds)
		s->tls_module->creds_unref(s->tls_creds);
	g_mutex_clear(&s->lock);
	g_cond_clear(&s->changed);
	g_free(s);
}
