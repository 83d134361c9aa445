/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A network in user space: libslirp's own TCP/IP, DHCP and DNS relay in front of the host's
 * sockets, without privileges. A module of net.c's table. The guest sees 10.0.2.0/24 with the
 * gateway 10.0.2.2 and the name server 10.0.2.3, and is given 10.0.2.15 first; and fec0::/64 with
 * fec0::2 and fec0::3. It may have files by TFTP from the gateway, and start from one.
 *
 * libslirp wants a poll loop: one GSource asks it before each poll what to watch. It speaks
 * plain frames, so that checksums and segments are finished in software (offload.h); since it
 * bears large packets, few are really split. Frames for a guest with no room wait in a short
 * queue. All in the thread of the GMainContext.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include <libslirp.h>

#include "backends.h"
#include "error.h"
#include "dhcp-look.h"
#include "hostfwd.h"
#include "log.h"
#include "offload.h"
#include "user-config.h"

enum {
	BACKLOG_MAX = 512,     /* frames of at most 1514 bytes */
	SEGMENT_MIN = 32 << 10, /* payload that libslirp takes in one piece */
	FORWARDS_MAX = 4096,
};

/* What DHCP gave last; the name is the guest's word. */
struct lease {
	struct dhcp_seen given; /* type 0: nothing yet */
	char name[DHCP_NAME_MAX + 1];
	gint64 since; /* monotonic, us */
};

struct user {
	struct netdev *dev;
	Slirp *slirp;
	GSource *source;
	GQueue backlog; /* of GBytes */
	GPtrArray *forwards; /* of texts */
	struct in_addr dhcp_start; /* 0: no DHCP */
	struct lease lease;
	uint8_t frame[NET_FRAME_MAX];
};

struct user_source {
	GSource base;
	struct user *user;
	GArray *fds;	/* of GPollFD, watched */
	GArray *wanted; /* of GPollFD, by the last prepare */
	gint64 deadline; /* microseconds; when libslirp wants its turn without an event */
};

struct timer {
	GSource *source;
	struct user *user;
	SlirpTimerId id;
	void *opaque;
};

static gushort poll_from_slirp(int events)
{
	return (events & SLIRP_POLL_IN ? G_IO_IN : 0) | (events & SLIRP_POLL_OUT ? G_IO_OUT : 0) |
	       (events & SLIRP_POLL_PRI ? G_IO_PRI : 0) | (events & SLIRP_POLL_ERR ? G_IO_ERR : 0) |
	       (events & SLIRP_POLL_HUP ? G_IO_HUP : 0);
}

static int poll_to_slirp(gushort events)
{
	return (events & G_IO_IN ? SLIRP_POLL_IN : 0) | (events & G_IO_OUT ? SLIRP_POLL_OUT : 0) |
	       (events & G_IO_PRI ? SLIRP_POLL_PRI : 0) | (events & G_IO_ERR ? SLIRP_POLL_ERR : 0) |
	       (events & G_IO_HUP ? SLIRP_POLL_HUP : 0);
}

static int add_poll(int fd, int events, void *opaque)
{
	struct user_source *s = opaque;
	GPollFD pfd = { .fd = fd, .events = poll_from_slirp(events) };

	g_array_append_val(s->wanted, pfd);
	return s->wanted->len - 1;
}

static int get_revents(int index, void *opaque)
{
	struct user_source *s = opaque;

	if (index < 0 || (guint)index >= s->fds->len)
		return 0;
	return poll_to_slirp(g_array_index(s->fds, GPollFD, index).revents);
}

static bool same_polls(const GArray *a, const GArray *b)
{
	if (a->len != b->len)
		return false;
	for (guint i = 0; i < a->len; i++) {
		const GPollFD *x = &g_array_index(a, GPollFD, i), *y = &g_array_index(b, GPollFD, i);

		if (x->fd != y->fd || x->events != y->events)
			return false;
	}
	return true;
}

static gboolean user_prepare(GSource *source, gint *timeout)
{
	struct user_source *s = (struct user_source *)source;
	uint32_t wait = UINT32_MAX;
	GArray *old;

	g_array_set_size(s->wanted, 0);
	slirp_pollfds_fill(s->user->slirp, &wait, add_poll, s);
	*timeout = wait > INT32_MAX ? -1 : (gint)wait;
	s->deadline = *timeout < 0 ? G_MAXINT64 : g_source_get_time(source) + 1000ll * *timeout;
	if (same_polls(s->fds, s->wanted))
		return FALSE;
	for (guint i = 0; i < s->fds->len; i++)
		g_source_remove_poll(source, &g_array_index(s->fds, GPollFD, i));
	old = s->fds;
	s->fds = s->wanted;
	s->wanted = old;
	for (guint i = 0; i < s->fds->len; i++)
		g_source_add_poll(source, &g_array_index(s->fds, GPollFD, i));
	return FALSE;
}

static gboolean user_check(GSource *source)
{
	struct user_source *s = (struct user_source *)source;

	for (guint i = 0; i < s->fds->len; i++)
		if (g_array_index(s->fds, GPollFD, i).revents)
			return TRUE;
	return g_source_get_time(source) >= s->deadline;
}

static gboolean user_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	struct user_source *s = (struct user_source *)source;

	slirp_pollfds_poll(s->user->slirp, 0, get_revents, s);
	for (guint i = 0; i < s->fds->len; i++)
		g_array_index(s->fds, GPollFD, i).revents = 0;
	return G_SOURCE_CONTINUE;
}

static void user_finalize(GSource *source)
{
	struct user_source *s = (struct user_source *)source;

	g_array_unref(s->fds);
	g_array_unref(s->wanted);
}

static GSourceFuncs user_source_funcs = {
	.prepare = user_prepare,
	.check = user_check,
	.dispatch = user_dispatch,
	.finalize = user_finalize,
};

static bool deliver(struct user *u, const void *data, size_t len)
{
	/* The sums are ours or were checked by the host's TCP. */
	static const struct virtio_net_hdr hdr = { .flags = VIRTIO_NET_HDR_F_DATA_VALID };
	struct iovec iov = { (void *)data, len };
	struct netdev *dev = u->dev;

	if (!dev->client->can_receive(dev->client_opaque) ||
	    !dev->client->receive(dev->client_opaque, &hdr, &iov, 1))
		return false;
	dev->received.frames++;
	dev->received.bytes += len;
	return true;
}

/* A guest says its name when it asks, and has the address when it is told so. */
static void look_for_lease(struct user *u, const uint8_t *frame, size_t len)
{
	struct dhcp_seen seen;

	if (!dhcp_look(frame, len, &seen))
		return;
	if (seen.type == DHCP_REQUEST) {
		g_strlcpy(u->lease.name, seen.name, sizeof(u->lease.name));
	} else if (seen.type == DHCP_ACK) {
		u->lease.given = seen;
		u->lease.since = g_get_monotonic_time();
	} else if (seen.type == DHCP_RELEASE) {
		u->lease.given.type = 0;
	}
}

static ssize_t slirp_to_guest(const void *data, size_t len, void *opaque)
{
	struct user *u = opaque;

	look_for_lease(u, data, len);
	if (!u->dev->client || u->backlog.length >= BACKLOG_MAX)
		u->dev->received.dropped++;
	else if (u->backlog.length || !deliver(u, data, len))
		g_queue_push_tail(&u->backlog, g_bytes_new(data, len));
	return len;
}

static void user_resume(struct netdev *dev)
{
	struct user *u = dev->state;
	GBytes *head;

	while ((head = g_queue_peek_head(&u->backlog))) {
		size_t len;
		const void *data = g_bytes_get_data(head, &len);

		if (!deliver(u, data, len))
			return;
		g_bytes_unref(g_queue_pop_head(&u->backlog));
	}
}

static void frame_to_slirp(void *opaque, const uint8_t *frame, size_t len)
{
	struct user *u = opaque;

	slirp_input(u->slirp, frame, len);
}

static void user_send(struct netdev *dev, const struct virtio_net_hdr *hdr,
		      const struct iovec *iov, unsigned n_iov)
{
	struct user *u = dev->state;
	size_t len = 0;

	for (unsigned i = 0; i < n_iov; i++) {
		if (iov[i].iov_len > sizeof(u->frame) - len) {
			dev->sent.dropped++;
			return;
		}
		memcpy(u->frame + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	look_for_lease(u, u->frame, len);
	if (!net_offload_finish(u->frame, len, hdr, SEGMENT_MIN, frame_to_slirp, u)) {
		dev->sent.dropped++;
		return;
	}
	dev->sent.frames++;
	dev->sent.bytes += len;
}

static void guest_error(const char *msg, void *opaque)
{
	kv_log_debug("network: %s", msg);
}

static int64_t clock_get_ns(void *opaque)
{
	return g_get_monotonic_time() * 1000;
}

static gboolean timer_fire(gpointer data)
{
	struct timer *t = data;

	g_source_set_ready_time(t->source, -1);
	slirp_handle_timer(t->user->slirp, t->id, t->opaque);
	return G_SOURCE_CONTINUE;
}

static gboolean timer_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	return callback(data);
}

static GSourceFuncs timer_funcs = { .dispatch = timer_dispatch };

static void *timer_new(SlirpTimerId id, void *cb_opaque, void *opaque)
{
	struct user *u = opaque;
	struct timer *t = g_new(struct timer, 1);

	*t = (struct timer){ g_source_new(&timer_funcs, sizeof(GSource)), u, id, cb_opaque };
	g_source_set_callback(t->source, timer_fire, t, NULL);
	g_source_attach(t->source, u->dev->context);
	return t;
}

static void timer_free(void *timer, void *opaque)
{
	struct timer *t = timer;

	g_source_destroy(t->source);
	g_source_unref(t->source);
	g_free(t);
}

static void timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
	struct timer *t = timer;

	g_source_set_ready_time(t->source, expire_ms * 1000);
}

static void poll_fd_changed(int fd, void *opaque)
{
	/* prepare asks for all of them each time */
}

static void notify(void *opaque)
{
	struct user *u = opaque;

	g_main_context_wakeup(u->dev->context);
}

static const SlirpCb callbacks = {
	.send_packet = slirp_to_guest,
	.guest_error = guest_error,
	.clock_get_ns = clock_get_ns,
	.timer_free = timer_free,
	.timer_mod = timer_mod,
	.register_poll_fd = poll_fd_changed,
	.unregister_poll_fd = poll_fd_changed,
	.notify = notify,
	.timer_new_opaque = timer_new,
};

/* What tells a forward from others: where it listens. */
static bool same_listener(const char *text, const struct hostfwd *f)
{
	struct hostfwd other;

	return hostfwd_parse(text, &other, NULL) && other.udp == f->udp && other.host.s_addr == f->host.s_addr &&
	       other.host_port == f->host_port;
}

static bool add_forward(struct user *u, const char *text, GError **error)
{
	struct hostfwd f;

	if (!hostfwd_parse(text, &f, error))
		return false;
	if (u->forwards->len >= FORWARDS_MAX)
		return kv_fail(error, KV_ERROR_USAGE, "hostfwd '%s': there are %d already, and no more", text, FORWARDS_MAX);
	if (slirp_add_hostfwd(u->slirp, f.udp, f.host, f.host_port, f.guest, f.guest_port) < 0)
		return kv_fail_errno(error, errno, "hostfwd '%s': cannot listen on port %u", text,
				     f.host_port);
	g_ptr_array_add(u->forwards, g_strdup(text));
	return true;
}

static bool remove_forward(struct user *u, const char *text, GError **error)
{
	struct hostfwd f;

	if (!hostfwd_parse_listener(text, &f, error))
		return false;
	for (unsigned i = 0; i < u->forwards->len; i++) {
		if (!same_listener(u->forwards->pdata[i], &f))
			continue;
		slirp_remove_hostfwd(u->slirp, f.udp, f.host, f.host_port);
		g_ptr_array_remove_index(u->forwards, i);
		return true;
	}
	return kv_fail(error, KV_ERROR_INVALID, "hostfwd '%s': there is no such forward", text);
}

static bool user_forward(struct netdev *dev, const char *text, bool add, GError **error)
{
	return (add ? add_forward : remove_forward)(dev->state, text, error);
}

static GVariant *lease_variant(const struct lease *l)
{
	const uint8_t *m = l->given.mac;
	g_autofree char *mac = g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
	g_autofree char *name = g_utf8_make_valid(l->name, -1);
	char address[INET_ADDRSTRLEN] = "";
	GVariantDict out;

	inet_ntop(AF_INET, &l->given.address, address, sizeof(address));
	g_variant_dict_init(&out, NULL);
	g_variant_dict_insert(&out, "address", "s", address);
	g_variant_dict_insert(&out, "mac", "s", mac);
	g_variant_dict_insert(&out, "hostname", "s", name);
	g_variant_dict_insert(&out, "seconds", "t", (guint64)l->given.seconds);
	g_variant_dict_insert(&out, "age", "t", (guint64)(g_get_monotonic_time() - l->since) / G_USEC_PER_SEC);
	return g_variant_dict_end(&out);
}

static void user_describe(struct netdev *dev, GVariantDict *out)
{
	const struct user *u = dev->state;
	char first[INET_ADDRSTRLEN] = "";

	if (u->dhcp_start.s_addr) {
		inet_ntop(AF_INET, &u->dhcp_start, first, sizeof(first));
		g_variant_dict_insert(out, "dhcpstart", "s", first);
	}
	g_variant_dict_insert_value(out, "hostfwd",
				    g_variant_new_strv((const char *const *)u->forwards->pdata, u->forwards->len));
	if (u->lease.given.type)
		g_variant_dict_insert_value(out, "lease", lease_variant(&u->lease));
}

static bool add_forwards(struct user *u, GVariant *options, GError **error)
{
	g_autoptr(GVariantIter) iter = NULL;
	const char *text;

	if (!options || !g_variant_lookup(options, "hostfwd", "as", &iter))
		return true;
	while (g_variant_iter_next(iter, "&s", &text))
		if (!add_forward(u, text, error))
			return false;
	return true;
}

static void user_close(struct netdev *dev)
{
	struct user *u = dev->state;

	if (u->source) {
		g_source_destroy(u->source);
		g_source_unref(u->source);
	}
	slirp_cleanup(u->slirp);
	g_queue_clear_full(&u->backlog, (GDestroyNotify)g_bytes_unref);
	g_ptr_array_unref(u->forwards);
	g_free(u);
}

static bool user_open(struct netdev *dev, GVariant *options, GError **error)
{
	struct user_config wish = {0};
	struct user_source *s;
	struct user *u;

	if (!user_config_read(options, &wish, error)) {
		user_config_clear(&wish);
		return false;
	}
	u = g_new0(struct user, 1);
	u->dev = dev;
	dev->state = u;
	u->forwards = g_ptr_array_new_with_free_func(g_free);
	if (!wish.slirp->disable_dhcp)
		u->dhcp_start = wish.slirp->vdhcp_start;
	u->slirp = slirp_new(wish.slirp, &callbacks, u);
	user_config_clear(&wish);
	if (!add_forwards(u, options, error)) {
		user_close(dev);
		return false;
	}
	u->source = g_source_new(&user_source_funcs, sizeof(struct user_source));
	s = (struct user_source *)u->source;
	s->user = u;
	s->fds = g_array_new(FALSE, TRUE, sizeof(GPollFD));
	s->wanted = g_array_new(FALSE, TRUE, sizeof(GPollFD));
	g_source_attach(u->source, dev->context);
	dev->link_up = true;
	dev->offloads = 1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_HOST_TSO4 |
			1ull << VIRTIO_NET_F_HOST_TSO6 | 1ull << VIRTIO_NET_F_GUEST_CSUM;
	return true;
}

const struct net_backend net_user = {
	.open = user_open,
	.close = user_close,
	.send = user_send,
	.resume = user_resume,
	.forward = user_forward,
	.describe = user_describe,
};
