/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See store-file.h. */
#include "store-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "error.h"

#define PREFIX ".new-"

bool store_file_is_leftover(const char *file)
{
	return g_str_has_prefix(file, PREFIX);
}

char *store_file_read(const char *path, gsize max, GError **error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	g_autofree char *text = NULL;
	struct stat st;
	ssize_t n = -1;
	gsize len = 0;

	if (fd < 0) {
		kv_fail_errno(error, errno, "%s", path);
		return NULL;
	}
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (guint64)st.st_size <= max) {
		text = g_malloc((gsize)st.st_size + 1);
		while (len < (gsize)st.st_size && (n = read(fd, text + len, (gsize)st.st_size - len)) > 0)
			len += (gsize)n;
		text[len] = 0;
	}
	close(fd);
	if (!text || (len && n < 0) || memchr(text, 0, len)) {
		kv_fail(error, KV_ERROR_INVALID, "%s: not a text of at most %" G_GSIZE_FORMAT " bytes", path, max);
		return NULL;
	}
	return g_steal_pointer(&text);
}

bool store_file_sync_folder(const char *dir, GError **error)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool ok = fd < 0 ? errno == ENOENT : fsync(fd) == 0;

	if (!ok)
		kv_fail_errno(error, errno, "cannot make '%s' durable", dir);
	if (fd >= 0)
		close(fd);
	return ok;
}

static bool fill(int fd, const char *text, bool durable)
{
	gsize left = strlen(text);

	while (left) {
		ssize_t n = write(fd, text, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		text += n;
		left -= (gsize)n;
	}
	return !durable || fsync(fd) == 0;
}

bool store_file_write(const char *dir, const char *file, const char *text, bool durable, struct stat *ret_st, GError **error)
{
	g_autofree char *path = g_build_filename(dir, file, NULL), *made = g_build_filename(dir, PREFIX "XXXXXX", NULL);
	int fd = g_mkstemp_full(made, O_WRONLY | O_CLOEXEC, 0600);
	struct stat st;
	bool ok;

	if (fd < 0)
		return kv_fail_errno(error, errno, "cannot make a file in '%s'", dir);
	ok = fill(fd, text, durable) && rename(made, path) == 0 && fstat(fd, &st) == 0;
	if (!ok) {
		kv_fail_errno(error, errno, "cannot write '%s'", path);
		unlink(made);
	} else if (ret_st) {
		*ret_st = st;
	}
	close(fd);
	return ok && (!durable || store_file_sync_folder(dir, error));
}
