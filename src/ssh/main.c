/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kv-ssh-helper: what libvirt's clients and kvsh start at the other end of ssh (as virt-ssh-helper), so that its input and output
 * are a connection to the daemon there. Which socket that is the URI says; a user's daemon is started when there is none, as
 * libvirt's clients do it for a local connection.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "error.h"
#include "log.h"
#include "uri.h"

enum { BUFFER = 256 << 10, START_TRIES = 500, START_WAIT_US = 10000 };

static gboolean read_only, version;

static const GOptionEntry entries[] = {
	{ "readonly", 'r', 0, G_OPTION_ARG_NONE, &read_only, "Connect read-only", NULL },
	{ "version", 'V', 0, G_OPTION_ARG_NONE, &version, "Print the version and leave", NULL },
	{ NULL },
};

/* ---- the daemon ---- */

/* -1 and errno. */
static int connect_to(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, err;

	if (strlen(path) >= sizeof(sa.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	g_strlcpy(sa.sun_path, path, sizeof(sa.sun_path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return fd;
	err = errno;
	if (fd >= 0)
		close(fd);
	errno = err;
	return -1;
}

static void leave_session(gpointer unused)
{
	setsid();
}

/* It outlives the connection. */
static bool start_daemon(GError **error)
{
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
	g_autofree char *folder = g_path_get_dirname(self ? self : ""), *beside = g_build_filename(folder, "kvd", NULL);
	char *argv[] = { access(beside, X_OK) == 0 ? beside : (char *)"kvd", (char *)"--session", NULL };

	return g_spawn_async("/", argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL,
			     leave_session, NULL, NULL, error);
}

static bool may_start(const struct kv_uri *u)
{
	const char *wish = g_getenv("LIBVIRT_AUTOSTART");

	return u->session && !u->socket && (errno == ENOENT || errno == ECONNREFUSED) && (!wish || strcmp(wish, "0") != 0);
}

/* Of several that find nobody one starts the daemon, and the others find it then. -1: they may all try. */
static int lock(const char *socket)
{
	g_autofree char *folder = g_path_get_dirname(socket), *path = g_build_filename(folder, "start.lock", NULL);
	int fd;

	g_mkdir_with_parents(folder, 0700);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		flock(fd, LOCK_EX);
	return fd;
}

static int connect_or_start(const char *path, GError **error)
{
	int held = lock(path), fd = connect_to(path);

	if (fd < 0 && start_daemon(error)) {
		for (unsigned i = 0; i < START_TRIES && (fd = connect_to(path)) < 0; i++)
			g_usleep(START_WAIT_US);
		if (fd < 0)
			kv_fail_errno(error, errno, "kvd does not start: there is nobody at '%s'", path);
	}
	if (held >= 0)
		close(held);
	return fd;
}

static int connect_daemon(const struct kv_uri *u, GError **error)
{
	g_autofree char *path = kv_uri_socket(u, read_only), *ours = kv_uri_kvd_socket(u, read_only);
	int fd = connect_to(path);

	if (fd >= 0)
		return fd;
	if (may_start(u))
		return connect_or_start(ours, error);
	kv_fail_errno(error, errno, "cannot connect to '%s'", path);
	return -1;
}

/* ---- bytes ---- */

struct way {
	int from, to;
	size_t at, len; /* what is in the buffer */
	bool ended;	/* nothing more comes */
	char buffer[BUFFER];
};

static bool again(void)
{
	return errno == EAGAIN || errno == EINTR;
}

/* false: it is broken, or all that there was is through. */
static bool move(struct way *w, bool readable, bool writable)
{
	ssize_t n;

	if (readable && w->len == 0 && !w->ended) {
		n = read(w->from, w->buffer, sizeof(w->buffer));
		if (n < 0 && !again())
			return false;
		w->ended = n == 0;
		w->at = 0;
		w->len = MAX(n, 0);
		writable = true;
	}
	if (writable && w->len) {
		n = write(w->to, w->buffer + w->at, w->len);
		if (n < 0 && !again())
			return false;
		w->at += MAX(n, 0);
		w->len -= MAX(n, 0);
	}
	return !w->ended || w->len;
}

/* Nobody is asked about what is not wanted of him: one who has hung up says so at once, each time. */
static struct pollfd wait_for(int fd, short events)
{
	return (struct pollfd){ events ? fd : -1, events };
}

/* Until either side has hung up. */
static void pass(int sock)
{
	static struct way up = { .from = STDIN_FILENO }, down = { .to = STDOUT_FILENO };
	enum { GONE = POLLERR | POLLHUP, CAN_WRITE = POLLOUT | GONE };

	up.to = down.from = sock;
	for (int fds[] = { STDIN_FILENO, STDOUT_FILENO, sock }, i = 0; i < 3; i++)
		g_unix_set_fd_nonblocking(fds[i], TRUE, NULL);
	for (bool good = true; good;) {
		struct pollfd p[] = {
			wait_for(STDIN_FILENO, up.len ? 0 : POLLIN),
			wait_for(sock, (up.len ? POLLOUT : 0) | (down.len ? 0 : POLLIN)),
			{ STDOUT_FILENO, down.len ? POLLOUT : 0 },
		};

		if (poll(p, G_N_ELEMENTS(p), -1) < 0 && errno != EINTR)
			return;
		if (p[2].revents & GONE) /* nobody reads what comes */
			return;
		good = move(&up, p[0].revents & ~POLLOUT, p[1].revents & CAN_WRITE) &&
		       move(&down, p[1].revents & ~POLLOUT, p[2].revents & POLLOUT);
	}
}

static bool run(int argc, char **argv, GError **error)
{
	g_autoptr(GOptionContext) context = g_option_context_new("URI");
	g_autoptr(kv_uri) u = NULL;
	int fd;

	g_option_context_set_summary(context, "Connects its input and output with the daemon of a URI; for ssh.");
	g_option_context_add_main_entries(context, entries, NULL);
	if (!g_option_context_parse(context, &argc, &argv, error))
		return false;
	if (version) {
		g_print("kv-ssh-helper %s\n", KV_VERSION);
		return true;
	}
	if (argc != 2)
		return kv_fail(error, KV_ERROR_USAGE, "give one URI, as 'qemu:///system'");
	u = kv_uri_parse(argv[1], error);
	if (!u)
		return false;
	if (u->kind != KV_OVER_UNIX || u->host)
		return kv_fail(error, KV_ERROR_USAGE, "'%s': the daemon is on this host; give a URI without transport", argv[1]);
	fd = connect_daemon(u, error);
	if (fd < 0)
		return false;
	pass(fd);
	return true;
}

int main(int argc, char **argv)
{
	g_autoptr(GError) error = NULL;

	kv_log_set_program("kv-ssh-helper");
	signal(SIGPIPE, SIG_IGN);
	if (run(argc, argv, &error))
		return 0;
	kv_log_error("%s", error->message);
	return 1;
}
