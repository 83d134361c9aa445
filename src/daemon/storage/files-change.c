/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Volumes that are files are made, resized, wiped and removed. See files.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "files.h"
#include "image.h"

enum { FILE_MODE = 0600, DIR_MODE = 0711, CHUNK = 1 << 20, BLOCK = 512 };

bool files_set_owner(int fd, const char *path, const struct volume_stat *s, GError **error)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return kv_fail_errno(error, errno, "stat of '%s' failed", path);
	if (((s->uid >= 0 && s->uid != st.st_uid) || (s->gid >= 0 && s->gid != st.st_gid)) && fchown(fd, s->uid, s->gid) < 0)
		return kv_fail_errno(error, errno, "cannot chown '%s' to (%u, %u)", path, (unsigned)s->uid, (unsigned)s->gid);
	if (s->mode >= 0 && fchmod(fd, s->mode & 07777) < 0)
		return kv_fail_errno(error, errno, "cannot set mode of '%s' to %04o", path, (unsigned)s->mode);
	return true;
}

static bool write_zeroes(int fd, const char *path, guint64 from, guint64 to, GError **error)
{
	g_autofree char *zeroes = g_malloc0(CHUNK);

	while (from < to) {
		ssize_t n = pwrite(fd, zeroes, MIN(to - from, CHUNK), from);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return kv_fail_errno(error, errno, "cannot fill file '%s'", path);
		from += n;
	}
	return true;
}

/* Room for [from, to): of a file system that cannot set it apart, by zeroes; nothing is there yet. */
static bool allocate(int fd, const char *path, guint64 from, guint64 to, GError **error)
{
	if (from >= to)
		return true;
	if (to > G_MAXINT64)
		return kv_fail_errno(error, EFBIG, "cannot allocate %" G_GUINT64_FORMAT " bytes in file '%s'", to, path);
	if (fallocate(fd, 0, 0, to) == 0)
		return true;
	if (errno != ENOSYS && errno != EOPNOTSUPP)
		return kv_fail_errno(error, errno, "cannot allocate %" G_GUINT64_FORMAT " bytes in file '%s'", to, path);
	return write_zeroes(fd, path, from, to, error);
}

static bool set_length(int fd, const char *path, guint64 bytes, GError **error)
{
	if (bytes > G_MAXINT64)
		errno = EFBIG;
	else if (ftruncate(fd, bytes) == 0)
		return true;
	return kv_fail_errno(error, errno, "cannot extend file '%s'", path);
}

/* For btrfs; that another file system has no such thing hurts nobody. */
static void set_nocow(int fd)
{
	int attributes;

	if (ioctl(fd, FS_IOC_GETFLAGS, &attributes) == 0) {
		attributes |= FS_NOCOW_FL;
		ioctl(fd, FS_IOC_SETFLAGS, &attributes);
	}
}

/* ---- raw ---- */

static bool is_raw(const char *format)
{
	return strcmp(format, "raw") == 0 || strcmp(format, "iso") == 0;
}

static bool copy_source(int fd, const struct volume_plan *plan, enum copy_how how, GError **error)
{
	int from;
	bool ok;

	if (!is_raw(plan->source->facts.format))
		return plan->reflink ? rpc_fail(error, VIR_ERR_ARGUMENT_UNSUPPORTED,
						"a raw volume cannot share blocks of a %s one", plan->source->facts.format)
				     : files_convert(plan->source, plan->path, "raw", false, error);
	from = files_open(plan->source, false, error);
	if (from < 0)
		return false;
	ok = files_copy(from, plan->source->path, fd, plan->path, plan->reflink ? COPY_MUST_SHARE : how, error);
	close(from);
	return ok;
}

static bool fill_raw(int fd, const struct volume_plan *plan, GError **error)
{
	const struct volume_facts *f = plan->facts;
	bool sparse = plan->source ? f->allocation < plan->source->facts.capacity : strcmp(f->format, "iso") == 0;

	if (!set_length(fd, plan->path, f->capacity, error) || (!sparse && !allocate(fd, plan->path, 0, f->allocation, error)) ||
	    (plan->source && !copy_source(fd, plan, sparse ? COPY_MAY_SHARE : COPY_BYTES, error)))
		return false;
	return fsync(fd) == 0 || kv_fail_errno(error, errno, "cannot sync data to file '%s'", plan->path);
}

static bool check_raw(const struct volume_plan *plan, GError **error)
{
	if (plan->preallocate)
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "metadata preallocation is not supported for raw volumes");
	return !plan->facts->backing || rpc_fail(error, VIR_ERR_NO_SUPPORT, "backing storage not supported for raw volumes");
}

/* ---- formats ---- */

static bool check_format(const struct volume_plan *plan, GError **error)
{
	const struct volume_facts *f = plan->facts;
	bool qcow2 = strcmp(f->format, "qcow2") == 0, old = g_strcmp0(f->compat, "0.10") == 0;
	const struct volume *from = plan->source;

	if (plan->reflink)
		return rpc_fail(error, VIR_ERR_ARGUMENT_UNSUPPORTED, "blocks are shared with raw volumes only, not with %s ones",
				f->format);
	if (plan->preallocate && !qcow2)
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "metadata preallocation only available with qcow2");
	if (f->compat && !qcow2)
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "compatibility option only available with qcow2");
	if (f->lazy_refcounts && !qcow2)
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "format features only available with qcow2");
	if (f->lazy_refcounts && old)
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "lazy_refcounts not supported with compat level %s",
				f->compat);
	if (!f->backing)
		return true;
	if (plan->preallocate)
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "metadata preallocation conflicts with backing store");
	if (from && g_strcmp0(from->facts.backing, f->backing) != 0)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "a different backing store cannot be specified.");
	return access(f->backing, R_OK) == 0 || kv_fail_errno(error, errno, "inaccessible backing store volume %s", f->backing);
}

static GVariant *create_options(const struct volume_plan *plan)
{
	const struct volume_facts *f = plan->facts;
	bool qcow2 = strcmp(f->format, "qcow2") == 0;
	GVariantDict d;

	g_variant_dict_init(&d, NULL);
	g_variant_dict_insert(&d, "file", "s", plan->path);
	g_variant_dict_insert(&d, "format", "s", f->format);
	if (f->capacity || !f->backing)
		g_variant_dict_insert(&d, "size", "t", f->capacity);
	if (f->backing) {
		g_variant_dict_insert(&d, "backing", "s", f->backing);
		g_variant_dict_insert(&d, "backing-format", "s", f->backing_format);
	}
	if (qcow2)
		g_variant_dict_insert(&d, "compat", "s", f->compat ? f->compat : f->lazy_refcounts ? "1.1" : "0.10");
	if (f->lazy_refcounts)
		g_variant_dict_insert(&d, "lazy_refcounts", "s", "on");
	if (plan->cluster)
		g_variant_dict_insert(&d, "cluster_size", "s", plan->cluster);
	if (plan->preallocate)
		g_variant_dict_insert(&d, "preallocation", "s", f->allocation < f->capacity ? "metadata" : "falloc");
	return g_variant_ref_sink(g_variant_dict_end(&d));
}

static bool fill_format(int fd, const struct volume_plan *plan, GError **error)
{
	g_autoptr(GVariant) options = create_options(plan);

	return image_create(options, error) &&
	       (!plan->source || files_convert(plan->source, plan->path, plan->facts->format, plan->facts->backing, error));
}

/* ---- any ---- */

static bool create_folder(const struct volume_plan *plan, GError **error)
{
	const struct volume_stat *s = &plan->facts->stat;
	int fd;
	bool ok;

	if (plan->facts->backing)
		return rpc_fail(error, VIR_ERR_NO_SUPPORT, "backing storage not supported for directories volumes");
	if (mkdir(plan->path, s->mode >= 0 ? s->mode : DIR_MODE) < 0)
		return kv_fail_errno(error, errno, "failed to create directory '%s'", plan->path);
	fd = open(plan->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	ok = fd >= 0 ? files_set_owner(fd, plan->path, s, error)
		     : kv_fail_errno(error, errno, "cannot open directory '%s'", plan->path);
	if (fd >= 0)
		close(fd);
	if (!ok)
		rmdir(plan->path);
	return ok;
}

bool files_create(const struct volume_plan *plan, GError **error)
{
	struct volume_stat owner = plan->facts->stat;
	const char *format = plan->facts->format;
	bool raw = is_raw(format), ok;
	int fd;

	if (strcmp(format, "dir") == 0)
		return create_folder(plan, error);
	if (!(raw ? check_raw : check_format)(plan, error))
		return false;
	fd = open(plan->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
	if (fd < 0)
		return kv_fail_errno(error, errno, "Failed to create file '%s'", plan->path);
	if (plan->nocow)
		set_nocow(fd);
	if (owner.mode < 0)
		owner.mode = FILE_MODE;
	ok = (raw ? fill_raw : fill_format)(fd, plan, error) && files_set_owner(fd, plan->path, &owner, error);
	close(fd);
	if (!ok)
		unlink(plan->path);
	return ok;
}

bool files_erase(const struct volume *v, GError **error)
{
	bool dir = v->facts.type == VOLUME_DIR;

	if (v->facts.type == VOLUME_BLOCK)
		return rpc_fail(error, VIR_ERR_NO_SUPPORT, "removing block or network volumes is not supported: %s", v->path);
	if ((dir ? rmdir : unlink)(v->path) == 0 || errno == ENOENT)
		return true;
	return kv_fail_errno(error, errno, dir ? "cannot remove directory '%s'" : "cannot unlink file '%s'", v->path);
}

/* ---- sizes ---- */

static bool resize_raw(const struct volume *v, guint64 capacity, unsigned flags, GError **error)
{
	int fd = files_open(v, true, error);
	struct stat st;
	bool ok;

	if (fd < 0)
		return false;
	ok = fstat(fd, &st) == 0 || kv_fail_errno(error, errno, "stat of '%s' failed", v->path);
	ok = ok && (!(flags & RESIZE_ALLOCATE) || allocate(fd, v->path, st.st_size, capacity, error)) &&
	     set_length(fd, v->path, capacity, error) &&
	     (fsync(fd) == 0 || kv_fail_errno(error, errno, "cannot sync data to file '%s'", v->path));
	close(fd);
	return ok;
}

bool files_resize(const struct volume *v, guint64 capacity, unsigned flags, GError **error)
{
	g_autoptr(GVariant) options = NULL;
	struct image *image;
	GVariantDict d;
	bool ok;

	if (v->facts.type != VOLUME_FILE)
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "volume '%s' is no file, and keeps its size", v->name);
	if (is_raw(v->facts.format))
		return resize_raw(v, capacity, flags, error);
	if (flags & RESIZE_ALLOCATE)
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "preallocate is only supported for raw type volume");
	g_variant_dict_init(&d, NULL);
	g_variant_dict_insert(&d, "file", "s", v->path);
	g_variant_dict_insert(&d, "format", "s", v->facts.format);
	options = g_variant_ref_sink(g_variant_dict_end(&d));
	image = image_open(options, error);
	if (!image)
		return false;
	ok = image_resize(image, capacity, IMAGE_PREALLOC_OFF, error);
	if (ok && image_flush(image) < 0)
		ok = kv_fail_errno(error, EIO, "cannot sync data to file '%s'", v->path);
	image_close(image);
	return ok;
}

/* ---- wiping ---- */

/* A file with holes: they stay holes, and what was data becomes one. */
static bool wipe_sparse(int fd, const char *path, off_t size, GError **error)
{
	if (ftruncate(fd, 0) < 0)
		return kv_fail_errno(error, errno, "Failed to truncate volume with path '%s' to 0 bytes", path);
	return ftruncate(fd, size) == 0 ||
	       kv_fail_errno(error, errno, "Failed to truncate volume with path '%s' to %ju bytes", path, (uintmax_t)size);
}

static bool trim(int fd, const char *path, off_t size, GError **error)
{
	if (!size || fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, size) == 0)
		return true;
	if (errno == EOPNOTSUPP || errno == ENOSYS)
		return rpc_fail(error, VIR_ERR_ARGUMENT_UNSUPPORTED, "'trim' algorithm not supported");
	return kv_fail_errno(error, errno, "cannot trim '%s'", path);
}

bool files_wipe(const struct volume *v, unsigned algorithm, GError **error)
{
	static const char *const names[] = {"zero",	"nnsa",	     "dod",	   "bsi",    "gutmann",
					    "schneier", "pfitzner7", "pfitzner33", "random", "trim"};
	struct stat st;
	off_t size;
	bool ok;
	int fd;

	if (algorithm != WIPE_ZERO && algorithm != WIPE_TRIM)
		return rpc_fail(error, VIR_ERR_ARGUMENT_UNSUPPORTED, "'%s' algorithm not supported", names[algorithm]);
	fd = files_open(v, true, error);
	if (fd < 0)
		return false;
	size = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? st.st_size : lseek(fd, 0, SEEK_END);
	if (algorithm == WIPE_TRIM)
		ok = trim(fd, v->path, size, error);
	else if (S_ISREG(st.st_mode) && (guint64)st.st_blocks < (guint64)size / BLOCK)
		ok = wipe_sparse(fd, v->path, size, error);
	else
		ok = write_zeroes(fd, v->path, 0, MAX(size, 0), error);
	if (ok && fdatasync(fd) < 0)
		ok = kv_fail_errno(error, errno, "cannot sync data to volume with path '%s'", v->path);
	close(fd);
	return ok;
}
