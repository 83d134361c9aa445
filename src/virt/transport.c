/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See transport.h. TLS is in transport-tls.c. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "module.h"
#include "message.h"
#include "transport.h"
#include "transport-tls.h"

enum { PORT_TLS = 16514, PORT_TCP = 16509 };

static int connect_unix(const char *path, GError **error)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(addr.sun_path)) {
		rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "Path %s too long for unix socket", path);
		return -1;
	}
	g_strlcpy(addr.sun_path, path, sizeof(addr.sun_path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "Failed to connect socket to '%s': %s", path, g_strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

static int connect_tcp(const char *host, int port, GError **error)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list, *a;
	g_autofree char *service = g_strdup_printf("%d", port);
	int fd = -1, err = getaddrinfo(host, service, &hints, &list), cause = 0;

	if (err) {
		rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "unable to connect to server at '%s:%d': %s", host, port,
			 gai_strerror(err));
		return -1;
	}
	for (a = list; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
			cause = errno;
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(list);
	if (fd < 0)
		rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "unable to connect to server at '%s:%d': %s", host, port,
			 g_strerror(cause));
	return fd;
}

static void become_session(gpointer unused)
{
	/* An interrupt at the terminal is for us alone; ssh would take it as its end. */
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	sigaction(SIGINT, &ignore, NULL);
}

static int connect_command(char *const *argv, GPid *ret_pid, GError **error)
{
	g_autoptr(GError) cause = NULL;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
		rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "unable to create a socket pair: %s", g_strerror(errno));
		return -1;
	}
	if (!g_spawn_async_with_fds(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, become_session,
				    NULL, ret_pid, pair[1], pair[1], -1, &cause)) {
		rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "%s", cause->message);
		close(pair[0]);
		close(pair[1]);
		return -1;
	}
	close(pair[1]);
	return pair[0];
}

/* What runs over there: the helper, which finds the socket itself, or netcat with the socket's usual name. */
static char *remote_script(const struct kv_uri *u, bool read_only)
{
	static const char *const helpers[] = { "kv-ssh-helper", "virt-ssh-helper" };
	bool may_help = !u->socket && (!u->proxy || strcmp(u->proxy, "netcat") != 0);
	bool may_nc = !u->proxy || strcmp(u->proxy, "native") != 0;
	g_autofree char *name = g_shell_quote(u->name), *nc = g_shell_quote(u->netcat ? u->netcat : "nc");
	g_autofree char *path =
		u->socket ? g_strdup(u->socket)
			  : g_strdup(read_only ? "/var/run/libvirt/libvirt-sock-ro" : "/var/run/libvirt/libvirt-sock");
	g_autofree char *quoted = g_shell_quote(path);
	g_autoptr(GString) out = g_string_new(NULL);

	for (unsigned i = 0; may_help && i < G_N_ELEMENTS(helpers); i++)
		g_string_append_printf(out, "if command -v %s >/dev/null 2>&1; then exec %s %s%s; fi; ", helpers[i], helpers[i],
				       read_only ? "-r " : "", name);
	if (!may_nc)
		g_string_append(out, "echo there is no kv-ssh-helper or virt-ssh-helper >&2; exit 127");
	if (may_nc)
		g_string_append_printf(out,
				       "q=; if %s -q 2>&1 | grep -q 'requires an argument'; then q=-q0; fi; exec %s $q -U %s", nc,
				       nc, quoted);
	return g_string_free(g_steal_pointer(&out), FALSE);
}

static int connect_ssh(const struct kv_uri *u, bool read_only, GPid *ret_pid, GError **error)
{
	g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
	g_autofree char *script = remote_script(u, read_only), *quoted = g_shell_quote(script);
	const char *plain[] = { u->command ? u->command : "ssh", "-T", "-e", "none", NULL };

	for (const char **p = plain; *p; p++)
		g_ptr_array_add(argv, g_strdup(*p));
	if (u->port > 0) {
		g_ptr_array_add(argv, g_strdup("-p"));
		g_ptr_array_add(argv, g_strdup_printf("%d", u->port));
	}
	if (u->user) {
		g_ptr_array_add(argv, g_strdup("-l"));
		g_ptr_array_add(argv, g_strdup(u->user));
	}
	if (u->keyfile) {
		g_ptr_array_add(argv, g_strdup("-i"));
		g_ptr_array_add(argv, g_strdup(u->keyfile));
	}
	if (u->no_tty) {
		g_ptr_array_add(argv, g_strdup("-o"));
		g_ptr_array_add(argv, g_strdup("BatchMode=yes"));
	}
	if (u->no_verify) {
		g_ptr_array_add(argv, g_strdup("-o"));
		g_ptr_array_add(argv, g_strdup("StrictHostKeyChecking=no"));
	}
	g_ptr_array_add(argv, g_strdup("--"));
	g_ptr_array_add(argv, g_strdup(u->host));
	g_ptr_array_add(argv, g_strdup_printf("sh -c %s", quoted));
	g_ptr_array_add(argv, NULL);
	return connect_command((char *const *)argv->pdata, ret_pid, error);
}

static int connect_any(const struct kv_uri *u, bool read_only, struct kv_transport *t, GError **error)
{
	g_autofree char *path = NULL;
	char *ext[] = { u->command, NULL };

	switch (u->kind) {
	case KV_OVER_SSH:
		return connect_ssh(u, read_only, &t->pid, error);
	case KV_OVER_EXT:
		return connect_command(ext, &t->pid, error);
	case KV_OVER_TCP:
		return connect_tcp(u->host, u->port > 0 ? u->port : PORT_TCP, error);
	case KV_OVER_TLS:
		return connect_tcp(u->host, u->port > 0 ? u->port : PORT_TLS, error);
	default:
		path = kv_uri_socket(u, read_only);
		t->can_pass_fds = true;
		return connect_unix(path, error);
	}
}

static bool start_tls(struct kv_transport *t, const struct kv_uri *u, GError **error)
{
	t->module = kv_module_symbol(KV_TRANSPORT_TLS_MODULE, KV_TRANSPORT_TLS_SYMBOL, error);
	if (t->module)
		t->tls = t->module->start(t->fd, u, error);
	return t->tls;
}

struct kv_transport *kv_transport_open(const struct kv_uri *u, bool read_only, GError **error)
{
	struct kv_transport *t = g_new0(struct kv_transport, 1);

	t->fd = connect_any(u, read_only, t, error);
	if (t->fd >= 0 && (u->kind != KV_OVER_TLS || start_tls(t, u, error))) {
		fcntl(t->fd, F_SETFL, O_NONBLOCK);
		return t;
	}
	kv_transport_free(t);
	return NULL;
}

void kv_transport_free(struct kv_transport *t)
{
	if (t->tls)
		t->module->end(t->tls);
	if (t->fd >= 0)
		close(t->fd);
	if (t->pid) {
		kill(t->pid, SIGTERM);
		waitpid(t->pid, NULL, 0);
		g_spawn_close_pid(t->pid);
	}
	g_free(t);
}

ssize_t kv_transport_read(struct kv_transport *t, void *buf, size_t len, GArray *fds)
{
	char control[CMSG_SPACE(sizeof(int) * 32)];
	struct iovec iov = { buf, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	ssize_t n;

	if (t->tls)
		return t->module->read(t->tls, buf, len);
	n = recvmsg(t->fd, &m, MSG_CMSG_CLOEXEC);
	if (n < 0)
		return n;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			g_array_append_vals(fds, CMSG_DATA(c), (c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	return n;
}

ssize_t kv_transport_write(struct kv_transport *t, const void *buf, size_t len)
{
	return t->tls ? t->module->write(t->tls, buf, len) : send(t->fd, buf, len, MSG_NOSIGNAL);
}

ssize_t kv_transport_write_fd(struct kv_transport *t, int fd)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct iovec iov = { (char[]){ 0 }, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	return sendmsg(t->fd, &m, MSG_NOSIGNAL);
}

bool kv_transport_pending(const struct kv_transport *t)
{
	return t->tls && t->module->pending(t->tls);
}
