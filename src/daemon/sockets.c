/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See sockets.h. systemd's protocol for sockets that it has opened is environment variables, so no library is needed for it. */
#include "sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <grp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "client-tls.h"
#include "config.h"
#include "error.h"
#include "folders.h"
#include "server.h"

enum { LISTEN_FDS_START = 3, ACTIVATED_MAX = 16 };
enum { MODE_OWNER = 0700, MODE_GROUP = 0770, MODE_ALL = 0777 };

static bool is_polkit(const char *auth)
{
	return auth && strcmp(auth, "polkit") == 0;
}

/* ---- who is welcome ---- */

static enum server_welcome welcome_of(mode_t mode)
{
	return mode & S_IWOTH ? SERVER_ALL : mode & S_IWGRP ? SERVER_GROUP : SERVER_OWNER;
}

static bool take_group(struct server_socket *s, GError **error)
{
	const struct group *group;

	s->group = -1;
	if (!config.unix_sock_group)
		return true;
	errno = 0;
	group = getgrnam(config.unix_sock_group);
	if (!group)
		return kv_fail(error, KV_ERROR_USAGE, "unix_sock_group: there is no group '%s'", config.unix_sock_group);
	s->group = group->gr_gid;
	return true;
}

static bool take_mode(struct server_socket *s, const char *name, const char *perms, mode_t usual, GError **error)
{
	guint64 mode;

	s->mode = usual;
	if (!perms)
		return true;
	if (!g_ascii_string_to_unsigned(perms, 8, 0, 0777, &mode, NULL))
		return kv_fail(error, KV_ERROR_USAGE, "%s: '%s' is no mode of a file; give one as \"0770\"", name, perms);
	s->mode = mode;
	return true;
}

/* A Unix socket of ours. A session's is its user's alone, whatever the file says. */
static bool rules(const struct sockets *from, bool read_only, struct server_socket *ret, GError **error)
{
	bool polkit = is_polkit(read_only ? config.auth_unix_ro : config.auth_unix_rw);
	mode_t usual = read_only || polkit ? MODE_ALL : config.unix_sock_group ? MODE_GROUP : MODE_OWNER;

	*ret = (struct server_socket){ .kind = { .read_only = read_only, .polkit = polkit }, .group = -1, .mode = MODE_OWNER };
	if (from->session)
		return true;
	if (!take_group(ret, error) ||
	    !take_mode(ret, read_only ? "unix_sock_ro_perms" : "unix_sock_rw_perms",
		       read_only ? config.unix_sock_ro_perms : config.unix_sock_rw_perms, usual, error))
		return false;
	ret->welcome = welcome_of(ret->mode);
	return true;
}

/* ---- systemd ---- */

static bool ends_with(const char *text, const char *suffix)
{
	g_autofree char *unit = g_strconcat(suffix, ".socket", NULL);

	return text && (g_str_has_suffix(text, suffix) || g_str_has_suffix(text, unit));
}

static bool take_tcp(int fd, const struct sockets *from, GError **error)
{
	const struct server_socket s = { .kind = { .tls = true } };

	return client_tls_load(from->session, error) && server_listen(fd, NULL, &s, error);
}

/* Its file's mode and group are systemd's to choose. */
static bool take_unix(int fd, const char *name, const char *path, const struct sockets *from, GError **error)
{
	bool read_only = ends_with(name, "-ro") || ends_with(path, "-ro");
	struct server_socket s;
	struct stat st;

	if (!rules(from, read_only, &s, error))
		return false;
	if (!from->session && stat(path, &st) == 0) {
		s.group = st.st_gid;
		s.welcome = welcome_of(st.st_mode);
	}
	return server_listen(fd, NULL, &s, error);
}

static bool take_one(int fd, const char *name, const struct sockets *from, GError **error)
{
	union {
		struct sockaddr any;
		struct sockaddr_un un;
		struct sockaddr_storage room;
	} sa = { 0 };
	socklen_t len = sizeof(sa) - 1;

	if (getsockname(fd, &sa.any, &len) < 0)
		return kv_fail_errno(error, errno, "descriptor %d of LISTEN_FDS", fd);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	g_unix_set_fd_nonblocking(fd, TRUE, NULL);
	if (sa.any.sa_family == AF_INET || sa.any.sa_family == AF_INET6)
		return take_tcp(fd, from, error);
	if (sa.any.sa_family == AF_UNIX)
		return take_unix(fd, name, sa.un.sun_path, from, error);
	return kv_fail(error, KV_ERROR_USAGE, "descriptor %d of LISTEN_FDS is a socket of neither Unix nor TCP", fd);
}

/* sd_listen_fds_with_names(3): a name or path that ends with "-ro" is for those who only look; TCP is TLS. */
static bool take_activated(const struct sockets *from, unsigned *ret_n, GError **error)
{
	const char *pid = g_getenv("LISTEN_PID"), *count = g_getenv("LISTEN_FDS"), *names = g_getenv("LISTEN_FDNAMES");
	g_auto(GStrv) name = g_strsplit(names ? names : "", ":", -1);
	unsigned n_names = g_strv_length(name);
	guint64 n;

	*ret_n = 0;
	if (!pid || !count || g_ascii_strtoull(pid, NULL, 10) != (guint64)getpid() ||
	    !g_ascii_string_to_unsigned(count, 10, 0, ACTIVATED_MAX, &n, NULL))
		return true;
	for (unsigned i = 0; i < n; i++)
		if (!take_one(LISTEN_FDS_START + i, i < n_names ? name[i] : NULL, from, error))
			return false;
	g_unsetenv("LISTEN_PID");
	g_unsetenv("LISTEN_FDS");
	g_unsetenv("LISTEN_FDNAMES");
	*ret_n = n;
	return true;
}

/* ---- our own ---- */

static bool open_both(const struct sockets *s, const char *path, GError **error)
{
	g_autofree char *ro = g_strconcat(path, "-ro", NULL);
	g_autofree char *folder = g_path_get_dirname(path);
	bool there = access(folder, F_OK) == 0;
	struct server_socket all, look;

	if (g_mkdir_with_parents(folder, 0700) < 0)
		return kv_fail_errno(error, errno, "cannot make folder '%s'", folder);
	if (!rules(s, false, &all, error) || !rules(s, true, &look, error))
		return false;
	/* Others are to reach the sockets, whatever our umask is. */
	if (!s->session && !there)
		chmod(folder, 0755);
	return server_listen(-1, path, &all, error) && server_listen(-1, ro, &look, error);
}

static bool open_tls(const struct sockets *s, GError **error)
{
	const struct server_socket socket = { .kind = { .tls = true } };
	const char *colon = s->tls ? strrchr(s->tls, ':') : NULL, *port = config.tls_port ? config.tls_port : "16514";
	g_autofree char *address = NULL;

	if (!s->tls)
		address = g_strdup(config.listen_addr);
	else if (colon)
		address = *s->tls == '[' && colon[-1] == ']' ? g_strndup(s->tls + 1, colon - s->tls - 2)
							     : g_strndup(s->tls, colon - s->tls);
	if (s->tls)
		port = colon ? colon + 1 : s->tls;
	return client_tls_load(s->session, error) &&
	       server_listen_tcp(address && *address ? address : NULL, port, &socket, error);
}

bool sockets_open(const struct sockets *s, GError **error)
{
	g_autofree char *folder = config.unix_sock_dir ? g_strdup(config.unix_sock_dir) : folder_path(FOLDER_RUN, s->session);
	g_autofree char *own = g_build_filename(folder, "kvd-sock", NULL);
	const char *run = s->session ? g_get_user_runtime_dir() : "/run";
	g_autofree char *libvirts = g_build_filename(run, "libvirt", "libvirt-sock", NULL);
	unsigned n;

	if (!take_activated(s, &n, error))
		return false;
	/* First what may fail for its certificates. */
	if ((s->tls || (!n && config.listen_tls)) && !open_tls(s, error))
		return false;
	if (!n && !open_both(s, s->socket ? s->socket : own, error))
		return false;
	return !s->libvirts || open_both(s, libvirts, error);
}
