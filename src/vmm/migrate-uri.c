/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What migrate and --incoming name: unix:PATH, tcp:HOST:PORT, fd:NAME, exec:COMMAND, file:PATH. A file is made under another name
 * and renamed when it is complete, so that none is half of one, and one that a machine has its memory from is not written to.
 * See migrate.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "error.h"
#include "listen.h"
#include "lock.h"
#include "migrate.h"
#include "vmm.h"

static const char known[] = "unix:PATH, tcp:HOST:PORT, fd:NAME, exec:COMMAND or file:PATH";

static const char *after(const char *uri, const char *scheme)
{
	size_t n = strlen(scheme);

	return strncmp(uri, scheme, n) == 0 && uri[n] ? uri + n : NULL;
}

static int fail_uri(const char *uri, GError **error)
{
	kv_fail(error, KV_ERROR_USAGE, "'%s': unknown migration protocol; give %s", uri, known);
	return -1;
}

/* One that listens, and lets nobody in, has no room at some time: that is told at once, and not waited for. */
static int connect_unix(const char *path, GError **error)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(sa.sun_path)) {
		kv_fail(error, KV_ERROR_USAGE, "unix:%s: the path is too long for a socket", path);
		return -1;
	}
	memcpy(sa.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return fd;
	kv_fail_errno(error, errno, "unix:%s", path);
	if (fd >= 0)
		close(fd);
	return -1;
}

/* ---- passed descriptors ---- */

static void close_value(gpointer value)
{
	close(GPOINTER_TO_INT(value));
}

bool migrate_add_fd(struct vmm *vmm, const char *name, int fd)
{
	if (!vmm->fds)
		vmm->fds = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, close_value);
	return g_hash_table_insert(vmm->fds, g_strdup(name), GINT_TO_POINTER(fd));
}

bool migrate_close_fd(struct vmm *vmm, const char *name)
{
	return vmm->fds && g_hash_table_remove(vmm->fds, name);
}

int migrate_take_fd(struct vmm *vmm, const char *name, GError **error)
{
	gpointer key, value;

	if (vmm->fds && g_hash_table_steal_extended(vmm->fds, name, &key, &value)) {
		g_free(key);
		return GPOINTER_TO_INT(value);
	}
	kv_fail(error, KV_ERROR_USAGE, "File descriptor named '%s' has not been found", name);
	return -1;
}

/* ---- out ---- */

static int make_file(const char *path, char **ret_made, GError **error)
{
	g_autofree char *made = g_strdup_printf("%s.XXXXXX", path);
	struct stat st;
	int fd;

	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		kv_fail(error, KV_ERROR_USAGE, "file:%s is no regular file; give fd:NAME for others", path);
		return -1;
	}
	fd = g_mkstemp_full(made, O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		kv_fail_errno(error, errno, "file:%s", path);
	else
		*ret_made = g_steal_pointer(&made);
	return fd;
}

bool migrate_open_target(struct vmm *vmm, const char *uri, struct migrate_target *ret, GError **error)
{
	const char *rest;

	*ret = (struct migrate_target){ .fd = -1 };
	if ((rest = after(uri, "unix:"))) {
		ret->fd = connect_unix(rest, error);
	} else if ((rest = after(uri, "tcp:"))) {
		if (migrate_tcp_check(rest, error))
			ret->tcp = g_strdup(rest);
	} else if ((rest = after(uri, "exec:"))) {
		ret->fd = migrate_exec(vmm, rest, true, error);
	} else if ((rest = after(uri, "fd:"))) {
		ret->fd = migrate_take_fd(vmm, rest, error);
	} else if ((rest = after(uri, "file:"))) {
		ret->form = SAVED_FILE;
		ret->fd = make_file(rest, &ret->made, error);
		ret->path = g_strdup(rest);
	} else {
		fail_uri(uri, error);
	}
	return ret->fd >= 0 || ret->tcp;
}

bool migrate_close_target(struct migrate_target *t, bool complete, GError **error)
{
	bool ok = true;

	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
	if (t->made && complete && rename(t->made, t->path) < 0)
		ok = kv_fail_errno(error, errno, "file:%s", t->path);
	if (t->made && (!complete || !ok))
		unlink(t->made);
	g_clear_pointer(&t->made, g_free);
	g_clear_pointer(&t->path, g_free);
	g_clear_pointer(&t->tcp, g_free);
	return ok;
}

/* ---- in ---- */

/* Locked like a disk's image: memory is the file's from now on. */
static int open_file(const char *path, GError **error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		kv_fail_errno(error, errno, "file:%s", path);
	} else if (!image_lock(fd, path, true, error)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static int given_fd(struct vmm *vmm, const char *name, GError **error)
{
	guint64 n = 0;

	if (!g_ascii_isdigit(*name))
		return migrate_take_fd(vmm, name, error);
	if (g_ascii_string_to_unsigned(name, 10, 3, G_MAXINT, &n, NULL) && fcntl((int)n, F_GETFD) >= 0) {
		fcntl((int)n, F_SETFD, FD_CLOEXEC);
		return (int)n;
	}
	kv_fail(error, KV_ERROR_USAGE, "fd:%s: there is no such open descriptor", name);
	return -1;
}

int migrate_open_source(struct vmm *vmm, const char *uri, bool *ret_listens, GError **error)
{
	const char *rest;

	*ret_listens = false;
	if ((rest = after(uri, "unix:"))) {
		*ret_listens = true;
		return kv_listen_unix("migration socket", rest, error);
	}
	if ((rest = after(uri, "tcp:"))) {
		*ret_listens = true;
		return migrate_tcp_listen(rest, error);
	}
	if ((rest = after(uri, "exec:")))
		return migrate_exec(vmm, rest, false, error);
	if ((rest = after(uri, "fd:")))
		return given_fd(vmm, rest, error);
	if ((rest = after(uri, "file:")))
		return open_file(rest, error);
	return fail_uri(uri, error);
}
