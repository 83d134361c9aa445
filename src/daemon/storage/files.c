/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pools that are folders ("dir") and file systems of devices, which mount(8) mounts ("fs"). See pools.h, files.h. */
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "error.h"
#include "log.h"

enum { FOLDER_MODE = 0711 };

/* ---- mounts ---- */

static bool is_fs(const struct pool_place *p)
{
	return strcmp(p->type, "fs") == 0;
}

static bool is_mounted(const struct pool_place *p)
{
	FILE *f = setmntent("/proc/self/mounts", "r");
	char buf[4096];
	struct mntent entry;
	bool found = false;

	while (f && !found && getmntent_r(f, &entry, buf, sizeof(buf)))
		found = strcmp(entry.mnt_dir, p->path) == 0;
	if (f)
		endmntent(f);
	return found;
}

static bool run(const char *const *argv, GError **error)
{
	g_autofree char *said = NULL, *line = g_strjoinv(" ", (char **)argv);
	g_autoptr(GError) why = NULL;
	gint status;

	if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, &said, &status, &why))
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "%s", why->message);
	return g_spawn_check_wait_status(status, NULL) ||
	       rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "Child process (%s) unexpected exit status %d: %s", line, status >> 8,
			said);
}

static bool start(const struct pool_place *p, GError **error)
{
	const char *argv[] = {"mount", "-o", "nodev,nosuid,noexec", "-t", p->format ? p->format : "auto", p->device,
			      p->path, NULL};

	if (!is_fs(p) || is_mounted(p))
		return true;
	if (p->session)
		return rpc_fail(
			error, VIR_ERR_CONFIG_UNSUPPORTED,
			"pool '%s' of type 'fs': mounting '%s' is for the system's daemon; a user's has pools of type 'dir'",
			p->name, p->device);
	return run(argv, error);
}

static bool stop(const struct pool_place *p, GError **error)
{
	const char *argv[] = {"umount", p->path, NULL};

	return !is_fs(p) || !is_mounted(p) || run(argv, error);
}

static bool is_there(const struct pool_place *p)
{
	return is_fs(p) ? is_mounted(p) : access(p->path, F_OK) == 0;
}

/* ---- the folder ---- */

static bool build(const struct pool_place *p, unsigned flags, GError **error)
{
	g_autofree char *parent = g_path_get_dirname(p->path);
	const struct volume_stat owner = {true, p->mode, p->uid, p->gid};
	bool asked = p->mode >= 0 || p->uid >= 0 || p->gid >= 0, made, ok;
	int fd;

	if (flags && !p->device)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "No source device specified when formatting pool '%s'",
				p->name);
	if (flags)
		return rpc_fail(
			error, VIR_ERR_OPERATION_UNSUPPORTED,
			"formatting device '%s' of pool '%s'; make its file system first and build without overwrite flags",
			p->device, p->name);
	if (g_mkdir_with_parents(parent, 0755) < 0)
		return kv_fail_errno(error, errno, "cannot create path '%s'", parent);
	made = mkdir(p->path, FOLDER_MODE) == 0;
	if (!made && errno != EEXIST)
		return kv_fail_errno(error, errno, "failed to create directory '%s'", p->path);
	fd = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return kv_fail_errno(error, errno, "cannot open directory '%s'", p->path);
	ok = !made || p->mode >= 0 || fchmod(fd, FOLDER_MODE) == 0 ||
	     kv_fail_errno(error, errno, "cannot set mode of '%s' to %04o", p->path, FOLDER_MODE);
	ok = ok && (!asked || files_set_owner(fd, p->path, &owner, error));
	close(fd);
	return ok;
}

static bool remove_it(const struct pool_place *p, GError **error)
{
	return rmdir(p->path) == 0 || kv_fail_errno(error, errno, "failed to remove pool '%s'", p->path);
}

/* ---- what is in it ---- */

static bool has_controls(const char *name)
{
	for (; *name; name++)
		if (g_ascii_iscntrl(*name))
			return true;
	return false;
}

static bool scan_one(const struct pool_place *p, const char *name, GPtrArray *ret, GError **error)
{
	g_autoptr(Volume) v = NULL;
	bool skip = false;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return true;
	if (has_controls(name) || !g_utf8_validate(name, -1, NULL)) {
		kv_log_warn("pool '%s': a file whose name is no text is left out", p->name);
		return true;
	}
	v = volume_new(p->path, name);
	if (!files_look(v->path, NULL, &v->facts, &skip, error))
		return false;
	if (!skip)
		g_ptr_array_add(ret, g_steal_pointer(&v));
	return true;
}

static bool measure(const struct pool_place *p, struct pool_facts *ret, GError **error)
{
	struct statvfs fs;
	struct stat st;

	if (statvfs(p->path, &fs) < 0)
		return kv_fail_errno(error, errno, "cannot statvfs path '%s'", p->path);
	if (stat(p->path, &st) < 0)
		return kv_fail_errno(error, errno, "cannot stat path '%s'", p->path);
	ret->capacity = (guint64)fs.f_frsize * fs.f_blocks;
	ret->available = (guint64)fs.f_frsize * fs.f_bfree;
	ret->allocation = ret->capacity - MIN(ret->capacity, ret->available);
	ret->stat = (struct volume_stat){true, st.st_mode & 07777, st.st_uid, st.st_gid};
	return true;
}

static bool scan(const struct pool_place *p, struct pool_facts *ret, GPtrArray *ret_volumes, GError **error)
{
	DIR *dir = opendir(p->path);
	struct dirent *e;
	bool ok = true;

	if (!dir)
		return kv_fail_errno(error, errno, "cannot open directory '%s'", p->path);
	for (errno = 0; ok && (e = readdir(dir)); errno = 0)
		ok = scan_one(p, e->d_name, ret_volumes, error);
	if (ok && errno)
		ok = kv_fail_errno(error, errno, "cannot read dir '%s'", p->path);
	closedir(dir);
	return ok && measure(p, ret, error);
}

static bool look(const char *path, const struct volume_facts *as, struct volume_facts *ret, GError **error)
{
	return files_look(path, as, ret, NULL, error);
}

static bool is_free(const char *path)
{
	struct stat st;

	return lstat(path, &st) < 0 && errno == ENOENT;
}

const struct pool_backend pools_files = {
	.is_there = is_there,
	.build = build,
	.start = start,
	.stop = stop,
	.remove = remove_it,
	.scan = scan,
	.look = look,
	.is_free = is_free,
	.create = files_create,
	.erase = files_erase,
	.resize = files_resize,
	.wipe = files_wipe,
	.open = files_open,
};
