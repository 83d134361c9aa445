/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VNC server: listens, starts a thread for each viewer, and carries what they say to the guest's devices. The module kv-
 * vnc.so; see vnc.h for who calls it, and vnc-server.h for how the parts work together.
 */
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <glib-unix.h>

#include "vnc-server.h"

#include "error.h"
#include "listen.h"
#include "module.h"

enum { BACKLOG = 16 };

struct vnc_listener {
	struct vnc *server;
	int fd;
	bool websocket;
	GSource *source;
};

/* ---- messages ---- */

static struct vnc_peer peer_of(const struct vnc_viewer *v)
{
	const struct vnc *s = v->server;

	return (struct vnc_peer){v->host,    v->service,	 v->family,
				 s->host,    s->service, __atomic_load_n(&v->dname, __ATOMIC_ACQUIRE),
				 v->websocket};
}

static void tell(struct vnc_viewer *v, enum vnc_event what)
{
	struct vnc_peer p = peer_of(v);

	if (v->server->config.event)
		v->server->config.event(v->server->config.opaque, what, &p);
}

static void drop(struct vnc_viewer *v)
{
	g_mutex_lock(&v->server->lock);
	v->quit = true;
	g_mutex_unlock(&v->server->lock);
	shutdown(v->fd, SHUT_RDWR);
	vnc_viewer_wake(v);
}

/* A viewer that asked to be the only one may, when it was let in: those before it go; who would share with it is not let in. */
static void let_in(struct vnc *s, struct vnc_viewer *v, bool alone)
{
	alone = alone && s->config.share == VNC_SHARE_ALLOW_EXCLUSIVE;
	for (unsigned i = 0; i < VNC_VIEWERS; i++) {
		struct vnc_viewer *other = s->viewer[i];

		if (!other || !other->initialized)
			continue;
		if (alone) {
			drop(other);
		} else if (other->alone) {
			drop(v);
			return;
		}
	}
	v->initialized = true;
	v->alone = alone;
	tell(v, VNC_INITIALIZED);
}

static void free_viewer(struct vnc_viewer *v)
{
	g_thread_join(v->thread);
	vnc_tls_free(v);
	close(v->fd);
	close(v->wake);
	sraRgnDestroy(v->damage);
	g_hash_table_unref(v->keys);
	g_free(v->host);
	g_free(v->service);
	g_free(v);
}

static void gone(struct vnc *s, struct vnc_viewer *v)
{
	vnc_input_release(s, v);
	g_mutex_lock(&s->lock);
	s->viewer[v->slot] = NULL;
	g_mutex_unlock(&s->lock);
	if (!--s->n_viewers)
		vnc_screen_close(s);
	tell(v, VNC_DISCONNECTED);
	free_viewer(v);
}

static void handle(struct vnc *s, const struct vnc_message *m)
{
	switch (m->kind) {
	case VNC_MESSAGE_READY:
		let_in(s, m->viewer, m->x);
		break;
	case VNC_MESSAGE_WISH:
		display_wish(s->config.display, s->config.head, (uint32_t)m->x, (uint32_t)m->y);
		break;
	case VNC_MESSAGE_GONE:
		gone(s, m->viewer);
		return;
	default:
		vnc_input_message(s, m);
	}
	vnc_screen_soon(s);
}

static gboolean drain(gpointer opaque);

/* Holds lock. */
static void drain_soon(struct vnc *s)
{
	if (s->drain || g_queue_is_empty(&s->messages))
		return;
	s->drain = g_idle_source_new();
	g_source_set_priority(s->drain, G_PRIORITY_DEFAULT);
	g_source_set_callback(s->drain, drain, s, NULL);
	g_source_attach(s->drain, s->config.context);
}

/* The queue may be longer than a turn: who goes does not wait for room. */
static gboolean drain(gpointer opaque)
{
	struct vnc *s = opaque;

	g_mutex_lock(&s->lock);
	g_clear_pointer(&s->drain, g_source_unref);
	for (unsigned i = 0; i < VNC_MESSAGES && !g_queue_is_empty(&s->messages); i++) {
		g_autofree struct vnc_message *m = g_queue_pop_head(&s->messages);

		g_cond_signal(&s->room);
		g_mutex_unlock(&s->lock);
		handle(s, m);
		g_mutex_lock(&s->lock);
	}
	drain_soon(s);
	g_mutex_unlock(&s->lock);
	return G_SOURCE_REMOVE;
}

bool vnc_post(const struct vnc_message *m)
{
	struct vnc *s = m->viewer->server;
	bool posted;

	g_mutex_lock(&s->lock);
	while (s->messages.length >= VNC_MESSAGES && !s->stopping && m->kind != VNC_MESSAGE_GONE)
		g_cond_wait(&s->room, &s->lock);
	posted = !s->stopping;
	if (posted) {
		g_queue_push_tail(&s->messages, g_memdup2(m, sizeof(*m)));
		drain_soon(s);
	}
	g_mutex_unlock(&s->lock);
	return posted;
}

/* ---- connections ---- */

static void get_names(const struct sockaddr_storage *sa, socklen_t len, const char **ret_family, char **ret_host,
		      char **ret_service)
{
	char host[NI_MAXHOST] = "", service[NI_MAXSERV] = "";

	if (sa->ss_family != AF_UNIX)
		getnameinfo((const struct sockaddr *)sa, len, host, sizeof(host), service, sizeof(service),
			    NI_NUMERICHOST | NI_NUMERICSERV);
	*ret_family = sa->ss_family == AF_INET6 ? "ipv6" : sa->ss_family == AF_INET ? "ipv4" : "unix";
	*ret_host = g_strdup(host);
	*ret_service = g_strdup(service);
}

static struct vnc_viewer *new_viewer(struct vnc *s, unsigned slot, int fd, bool websocket)
{
	struct sockaddr_storage sa = {0};
	socklen_t len = sizeof(sa);
	struct vnc_viewer *v = g_new0(struct vnc_viewer, 1);

	*v = (struct vnc_viewer){.server = s, .slot = slot, .fd = fd, .inner = -1, .websocket = websocket, .running = 1};
	v->resized = v->new_cursor = true;
	v->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	v->damage = sraRgnCreate();
	v->keys = g_hash_table_new(NULL, NULL);
	getpeername(fd, (struct sockaddr *)&sa, &len);
	get_names(&sa, len, &v->family, &v->host, &v->service);
	return v;
}

static void accept_viewer(struct vnc *s, int fd, bool websocket)
{
	unsigned slot = 0;
	struct vnc_viewer *v;

	while (slot < VNC_VIEWERS && s->viewer[slot])
		slot++;
	if (slot == VNC_VIEWERS) {
		close(fd);
		return;
	}
	if (!s->n_viewers++)
		vnc_screen_open(s);
	v = new_viewer(s, slot, fd, websocket);
	g_mutex_lock(&s->lock);
	s->viewer[slot] = v;
	g_mutex_unlock(&s->lock);
	tell(v, VNC_CONNECTED);
	if (s->tls_creds && !vnc_tls_start(v))
		shutdown(fd, SHUT_RDWR);
	v->thread = g_thread_new("vnc", vnc_viewer_run, v);
}

static gboolean on_connection(gint fd, GIOCondition condition, gpointer opaque)
{
	struct vnc_listener *l = opaque;
	int conn = kv_listen_accept(fd, 0);

	if (conn >= 0)
		accept_viewer(l->server, conn, l->websocket);
	return G_SOURCE_CONTINUE;
}

static void add_listener(struct vnc *s, int fd, bool websocket)
{
	struct vnc_listener *l = g_new0(struct vnc_listener, 1);

	*l = (struct vnc_listener){s, fd, websocket, g_unix_fd_source_new(fd, G_IO_IN)};
	g_source_set_callback(l->source, G_SOURCE_FUNC(on_connection), l, NULL);
	g_source_attach(l->source, s->config.context);
	g_ptr_array_add(s->listeners, l);
}

static void close_listener(gpointer opaque)
{
	struct vnc_listener *l = opaque;

	g_source_destroy(l->source);
	g_source_unref(l->source);
	close(l->fd);
	g_free(l);
}

static int bind_one(const struct addrinfo *ai)
{
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

	if (fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) && !bind(fd, ai->ai_addr, ai->ai_addrlen) &&
	    !listen(fd, BACKLOG))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static int listen_tcp(const char *host, const char *port, GError **error)
{
	const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	int res = getaddrinfo(host, port, &hints, &list), fd = -1, err;

	if (res) {
		kv_fail(error, KV_ERROR_USAGE, "--vnc: '%s' port '%s': %s", host, port, gai_strerror(res));
		return -1;
	}
	errno = EADDRNOTAVAIL;
	for (struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next)
		fd = bind_one(ai);
	err = errno;
	freeaddrinfo(list);
	if (fd < 0)
		kv_fail_errno(error, err, "--vnc: cannot listen on '%s' port %s", host, port);
	return fd;
}

/* HOST:PORT, [HOST]:PORT */
static bool split_address(const char *text, char **ret_host, char **ret_port)
{
	const char *colon = strrchr(text, ':');
	bool bracket = *text == '[';

	if (!colon || colon == text || !colon[1] || (bracket && colon[-1] != ']'))
		return false;
	*ret_host = g_strndup(text + bracket, (gsize)(colon - text - 2 * bracket));
	*ret_port = g_strdup(colon + 1);
	return true;
}

static bool open_tcp(struct vnc *s, GError **error)
{
	g_autofree char *host = NULL, *port = NULL, *web = g_strdup_printf("%u", s->config.websocket);
	struct sockaddr_storage sa = {0};
	socklen_t len = sizeof(sa);
	int fd;

	if (!split_address(s->config.listen, &host, &port))
		return kv_fail(error, KV_ERROR_USAGE, "--vnc: '%s' is not valid; give unix:PATH or ADDR:PORT", s->config.listen);
	fd = listen_tcp(host, port, error);
	if (fd < 0)
		return false;
	add_listener(s, fd, false);
	getsockname(fd, (struct sockaddr *)&sa, &len);
	get_names(&sa, len, &s->family, &s->host, &s->service);
	if (!s->config.websocket)
		return true;
	fd = listen_tcp(host, web, error);
	if (fd < 0)
		return false;
	add_listener(s, fd, true);
	s->web_service = g_steal_pointer(&web);
	return true;
}

static bool open_listeners(struct vnc *s, GError **error)
{
	const char *listen = s->config.listen;
	int fd;

	if (!g_str_has_prefix(listen, "unix:"))
		return open_tcp(s, error);
	if (s->config.websocket)
		return kv_fail(error, KV_ERROR_USAGE, "--vnc: websocket: a port belongs to an address; give ADDR:PORT");
	fd = kv_listen_unix("VNC socket", listen + 5, error);
	if (fd < 0)
		return false;
	s->path = g_strdup(listen + 5);
	s->folder = kv_listen_folder(s->path);
	s->family = "unix";
	s->host = g_strdup("");
	s->service = g_strdup(s->path);
	add_listener(s, fd, false);
	return true;
}

/* ---- the module ---- */

static void drop_line(const char *format, ...)
{
}

/* libvncserver makes a lock anew with each screen: so all are made here, before viewers come. Its ciphers have a first time. */
static void prime(struct vnc *s)
{
	char password[VNC_PASSWORD_MAX + 1] = "prime";
	uint8_t bytes[CHALLENGESIZE] = {0};

	rfbLog = rfbErr = drop_line;
	for (unsigned i = 0; i < VNC_VIEWERS; i++)
		s->screen[i] = rfbGetScreen(NULL, NULL, 640, 480, 8, 3, 4);
	vnc_extension_register();
	rfbEncryptBytes(bytes, password);
}

static void on_input(void *opaque)
{
	struct vnc *s = opaque;

	g_mutex_lock(&s->lock);
	s->leds = input_get_leds(s->config.input);
	s->absolute = input_pointer_is_absolute(s->config.input);
	for (unsigned i = 0; i < VNC_VIEWERS; i++)
		if (s->viewer[i])
			vnc_viewer_wake(s->viewer[i]);
	g_mutex_unlock(&s->lock);
}

static void vnc_stop(struct vnc *s)
{
	if (s->listeners)
		g_ptr_array_unref(s->listeners);
	input_unwatch(s->config.input, s);
	g_mutex_lock(&s->lock);
	s->stopping = true;
	g_cond_broadcast(&s->room);
	g_mutex_unlock(&s->lock);
	for (unsigned i = 0; i < VNC_VIEWERS; i++)
		if (s->viewer[i]) {
			drop(s->viewer[i]);
			free_viewer(s->viewer[i]);
		}
	if (s->n_viewers)
		vnc_screen_close(s);
	if (s->drain)
		g_source_destroy(s->drain);
	g_clear_pointer(&s->drain, g_source_unref);
	g_queue_clear_full(&s->messages, g_free);
	for (unsigned i = 0; i < VNC_VIEWERS && s->screen[i]; i++)
		rfbScreenCleanup(s->screen[i]);
	if (s->path)
		kv_listen_remove(s->folder, s->path);
	vnc_input_free(s);
	if (s->tls_creds)
		s->tls_module->creds_unref(s->tls_creds);
	g_free((void *)s->cursor.pixels);
	g_free(s->shadow);
	g_free(s->path);
	g_free(s->folder_of_creds);
	g_free(s->name);
	g_free(s->host);
	g_free(s->service);
	g_free(s->web_service);
	g_cond_clear(&s->room);
	g_mutex_clear(&s->lock);
	g_free(s);
}

static bool open_tls(struct vnc *s, GError **error)
{
	const char *folder = s->config.tls_creds;

	if (!folder)
		return true;
	s->folder_of_creds = g_canonicalize_filename(folder, NULL);
	s->tls_kind = strcmp(folder, VNC_TLS_ANON) ? KV_TLS_X509 : KV_TLS_ANON;
	if (s->tls_kind == KV_TLS_ANON && s->config.tls_verify_peer)
		return kv_fail(error, KV_ERROR_USAGE, "--vnc: tls-verify-peer needs certificates; give a folder to tls-creds");
	s->tls_module = kv_module_symbol(KV_TLS_MODULE, KV_TLS_SYMBOL, error);
	if (s->tls_module)
		s->tls_creds = s->tls_module->creds_new(s->tls_kind, s->folder_of_creds, s->config.tls_verify_peer, NULL, error);
	return s->tls_creds;
}

static struct vnc *vnc_start(const struct vnc_config *config, GError **error)
{
	struct vnc *s = g_new0(struct vnc, 1);

	s->config = *config;
	s->name = g_strdup(config->name);
	s->listeners = g_ptr_array_new_with_free_func(close_listener);
	s->has_password = config->password;
	g_strlcpy(s->password, config->password ? config->password : "", sizeof(s->password));
	s->expires = INT64_MAX;
	s->can_wish = display_takes_wishes(config->display, config->head);
	g_mutex_init(&s->lock);
	g_cond_init(&s->room);
	g_queue_init(&s->messages);
	input_watch(config->input, config->context, on_input, s);
	on_input(s);
	if (!open_tls(s, error) || !open_listeners(s, error)) {
		vnc_stop(s);
		return NULL;
	}
	prime(s);
	/* What would read files later. */
	vnc_input_open(s);
	return s;
}

static bool vnc_set_password(struct vnc *s, const char *password)
{
	g_mutex_lock(&s->lock);
	if (s->has_password) {
		memset(s->password, 0, sizeof(s->password));
		g_strlcpy(s->password, password, sizeof(s->password));
	}
	g_mutex_unlock(&s->lock);
	return s->has_password;
}

static bool vnc_expire_password(struct vnc *s, int64_t seconds)
{
	g_mutex_lock(&s->lock);
	s->expires = seconds;
	g_mutex_unlock(&s->lock);
	return s->has_password;
}

static bool vnc_has_password(const struct vnc *s)
{
	return s->has_password;
}

/* Viewers that are there keep theirs. */
static bool vnc_reload_tls(struct vnc *s, GError **error)
{
	struct kv_tls_creds *new;

	if (!s->tls_creds)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "vnc tls is not enabled");
	new = s->tls_module->creds_new(s->tls_kind, s->folder_of_creds, s->config.tls_verify_peer, NULL, error);
	if (!new)
		return false;
	s->tls_module->creds_unref(s->tls_creds);
	s->tls_creds = new;
	return true;
}

static const char *vnc_get_tls(const struct vnc *s)
{
	return !s->tls_creds ? NULL : s->tls_kind == KV_TLS_ANON ? "tls" : "x509";
}

static void vnc_each_client(struct vnc *s, void (*f)(void *opaque, const struct vnc_peer *peer), void *opaque)
{
	for (unsigned i = 0; i < VNC_VIEWERS; i++)
		if (s->viewer[i]) {
			struct vnc_peer p = peer_of(s->viewer[i]);

			f(opaque, &p);
		}
}

static void vnc_get_address(const struct vnc *s, struct vnc_peer *ret)
{
	*ret = (struct vnc_peer){.family = s->family, .server_host = s->host, .server_service = s->service};
}

static bool vnc_get_websocket(const struct vnc *s, struct vnc_peer *ret)
{
	*ret = (struct vnc_peer){
		.family = s->family, .server_host = s->host, .server_service = s->web_service, .websocket = true};
	return s->web_service;
}

extern const struct vnc_module kv_vnc;
const struct vnc_module kv_vnc = {.start = vnc_start,
				  .stop = vnc_stop,
				  .set_password = vnc_set_password,
				  .expire_password = vnc_expire_password,
				  .has_password = vnc_has_password,
				  .get_tls = vnc_get_tls,
				  .reload_tls = vnc_reload_tls,
				  .each_client = vnc_each_client,
				  .get_address = vnc_get_address,
				  .get_websocket = vnc_get_websocket};
