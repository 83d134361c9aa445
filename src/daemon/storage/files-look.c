/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file as a volume: its sizes, its owner, what its header says. See files.h. */
#include <errno.h>
#include <fcntl.h>
#include <json-glib/json-glib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "files.h"
#include "header.h"
#include "log.h"

enum { BLOCK = 512 };

static void take_stat(const struct stat *st, struct volume_stat *ret)
{
	*ret = (struct volume_stat){true, st->st_mode & 07777, st->st_uid, st->st_gid, st->st_atim, st->st_mtim, st->st_ctim};
}

static bool is_storage(mode_t mode)
{
	return S_ISREG(mode) || S_ISBLK(mode) || S_ISDIR(mode);
}

/* Looked at before it is opened, so that no pipe or terminal is; and again, since names are not ours. */
static int open_storage(const char *path, int flags, struct stat *ret)
{
	int fd;

	if (stat(path, ret) < 0)
		return -errno;
	if (!is_storage(ret->st_mode))
		return -EMEDIUMTYPE;
	fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, ret) == 0 && is_storage(ret->st_mode))
		return fd;
	close(fd);
	return -EMEDIUMTYPE;
}

static ssize_t read_head(int fd, guint8 *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, buf + done, len - done, done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += n;
	}
	return done;
}

/* ---- what it stands on ---- */

static const char *member_text(JsonObject *o, const char *name)
{
	JsonNode *node = o ? json_object_get_member(o, name) : NULL;

	return node && json_node_get_value_type(node) == G_TYPE_STRING ? json_node_get_string(node) : NULL;
}

/* "json:{…}": the file's name in it, at one of the places where QEMU takes it. */
static char *json_path(const char *text)
{
	g_autoptr(JsonParser) parser = json_parser_new();
	JsonNode *root, *file;
	JsonObject *o;
	const char *path;

	if (!json_parser_load_from_data(parser, text, -1, NULL))
		return NULL;
	root = json_parser_get_root(parser);
	if (!root || !JSON_NODE_HOLDS_OBJECT(root))
		return NULL;
	o = json_node_get_object(root);
	file = json_object_get_member(o, "file");
	path = member_text(o, "filename");
	if (!path)
		path = member_text(o, "file.filename");
	if (!path && file && JSON_NODE_HOLDS_OBJECT(file))
		path = member_text(json_node_get_object(file), "filename");
	return g_strdup(path);
}

static char *backing_path(const char *of, const char *name)
{
	g_autofree char *folder = g_path_get_dirname(of), *path = NULL;

	if (g_str_has_prefix(name, "json:"))
		path = json_path(name + strlen("json:"));
	if (!path)
		path = g_strdup(name);
	/* A protocol before the first slash: not a file's name. */
	if (*path != '/' && strcspn(path, ":") < strcspn(path, "/"))
		return g_steal_pointer(&path);
	return g_canonicalize_filename(path, folder);
}

static const char *known_format(const char *name)
{
	static const char *const names[] = {"raw", "dir", "bochs", "cloop", "dmg",  "iso",   "vpc", "vdi",
					    "fat", "vhd", "ploop", "cow",   "qcow", "qcow2", "qed", "vmdk"};

	for (unsigned i = 0; name && i < G_N_ELEMENTS(names); i++)
		if (strcmp(names[i], name) == 0)
			return names[i];
	return NULL;
}

static char *guess_format(int fd)
{
	g_autofree guint8 *head = g_malloc(HEADER_BYTES);
	ssize_t n = read_head(fd, head, HEADER_BYTES);
	struct header h;
	char *format;

	header_read(head, MAX(n, 0), &h);
	format = g_strdup(h.format);
	header_clear(&h);
	return format;
}

static void take_backing(const char *path, const struct header *h, struct volume_facts *ret)
{
	struct stat st;
	int fd;

	ret->backing = backing_path(path, h->backing);
	ret->backing_format = g_strdup(known_format(h->backing_format));
	fd = *ret->backing == '/' ? open_storage(ret->backing, O_RDONLY, &st) : -1;
	if (fd >= 0) {
		take_stat(&st, &ret->backing_stat);
		if (!ret->backing_format && !h->backing_format)
			ret->backing_format = guess_format(fd);
		close(fd);
	}
	if (!ret->backing_format)
		ret->backing_format = g_strdup("raw");
}

/* ---- the file itself ---- */

static bool take_header(int fd, const char *path, struct volume_facts *ret, GError **error)
{
	g_autofree guint8 *head = g_malloc(HEADER_BYTES);
	ssize_t n = read_head(fd, head, HEADER_BYTES);
	struct header h;

	if (n < 0)
		return kv_fail_errno(error, -n, "cannot read header '%s'", path);
	header_read(head, n, &h);
	ret->format = g_strdup(h.format);
	if (h.capacity)
		ret->capacity = h.capacity;
	ret->compat = h.compat_11 ? g_strdup("1.1") : NULL;
	ret->cluster = h.compat_11 ? h.cluster : 0;
	ret->lazy_refcounts = h.lazy_refcounts;
	if (h.backing)
		take_backing(path, &h, ret);
	header_clear(&h);
	return true;
}

static bool take_file(int fd, const char *path, const struct stat *st, struct volume_facts *ret, GError **error)
{
	take_stat(st, &ret->stat);
	if (S_ISDIR(st->st_mode)) {
		ret->type = VOLUME_DIR;
		ret->format = g_strdup("dir");
		return true;
	}
	ret->physical = ret->capacity = st->st_size;
	ret->allocation = (guint64)st->st_blocks * BLOCK;
	if (S_ISBLK(st->st_mode)) {
		off_t end = lseek(fd, 0, SEEK_END);

		ret->type = VOLUME_BLOCK;
		ret->physical = ret->capacity = ret->allocation = MAX(end, 0);
	}
	return take_header(fd, path, ret, error);
}

bool files_look(const char *path, const struct volume_facts *as, struct volume_facts *ret, bool *ret_skip, GError **error)
{
	struct stat st;
	int fd = open_storage(path, O_RDONLY, &st);
	bool ok;

	if (fd < 0 && ret_skip) {
		*ret_skip = true;
		if (fd != -ENOENT && fd != -EMEDIUMTYPE)
			kv_log_info("'%s' is left out of its pool: %s", path, g_strerror(-fd));
		return true;
	}
	if (fd == -ENOENT)
		return rpc_fail(error, VIR_ERR_NO_STORAGE_VOL, "no storage vol with matching path '%s'", path);
	if (fd == -EMEDIUMTYPE)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "unexpected storage mode for '%s'", path);
	if (fd < 0)
		return kv_fail_errno(error, -fd, "cannot open volume '%s'", path);
	ok = take_file(fd, path, &st, ret, error);
	close(fd);
	if (!ok)
		volume_facts_clear(ret);
	else if (as && as->format && strcmp(as->format, "raw") == 0 && strcmp(ret->format, "raw") != 0)
		kv_log_warn(
			"volume '%s' was raw, and its first bytes look like %s now; whoever writes to it may have put them there",
			path, ret->format);
	return ok;
}

int files_open(const struct volume *v, bool write, GError **error)
{
	struct stat st;
	int fd = open_storage(v->path, write ? O_WRONLY : O_RDONLY, &st);

	if (fd >= 0 && S_ISDIR(st.st_mode)) {
		close(fd);
		fd = -EISDIR;
	}
	if (fd < 0) {
		kv_fail_errno(error, -fd, "cannot open volume '%s'", v->path);
		return -1;
	}
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	return fd;
}
