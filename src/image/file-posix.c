/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files and block devices: the synchronous calls of file.h, over the requests of file-io.c. Locked like QEMU locks them
 * (lock.c). Called by image.c and the formats.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/fs.h>
#include <linux/magic.h>

#include "error.h"
#include "file-queue.h"
#include "file.h"
#include "lock.h"

enum {
	FILE_MODE = 0644,
	WRITE_CHUNK = 64 << 10,
	FILL_MIN = 256 << 10,
	FILL_AHEAD = 8 << 20,
};

static bool too_far(uint64_t offset, uint64_t len)
{
	return offset > INT64_MAX || len > INT64_MAX - offset;
}

static int run(struct image_file *f, enum image_op op, unsigned flags, uint64_t offset, void *buf, uint64_t len)
{
	struct iovec iov = { buf, len };
	struct image_req req = {
		.op = op, .flags = flags, .iov = &iov, .n_iov = 1, .at = offset, .offset = offset, .len = len, .fd = f->fd,
		.file = f
	};

	return too_far(offset, len) ? -EINVAL : file_io(&req);
}

static void has_grown(struct image_file *f, uint64_t end)
{
	uint64_t size = image_file_size(f);

	while (end > size &&
	       !__atomic_compare_exchange_n(&f->size, &size, end, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

static int posix_read(struct image_file *f, uint64_t offset, void *buf, uint64_t len)
{
	return run(f, IMAGE_READ, 0, offset, buf, len);
}

static int posix_write(struct image_file *f, uint64_t offset, const void *buf, uint64_t len)
{
	int res = run(f, IMAGE_WRITE, 0, offset, (void *)buf, len);

	if (res == 0 && len)
		has_grown(f, offset + len);
	return res;
}

/* fallocate() makes holes without making the file longer; one byte does, and hurts no write beside it as ftruncate() might. */
static int posix_write_zeroes(struct image_file *f, uint64_t offset, uint64_t len, unsigned flags)
{
	int res = run(f, IMAGE_WRITE_ZEROES, flags, offset, NULL, len);

	if (res < 0 || !len || f->device || offset + len <= image_file_size(f))
		return res;
	return posix_write(f, offset + len - 1, "", 1);
}

static int posix_discard(struct image_file *f, uint64_t offset, uint64_t len)
{
	return len ? run(f, IMAGE_DISCARD, 0, offset, NULL, len) : 0;
}

static int posix_flush(struct image_file *f)
{
	return f->readonly ? 0 : run(f, IMAGE_FLUSH, 0, 0, NULL, 0);
}

static int posix_truncate(struct image_file *f, uint64_t size)
{
	int r;

	if (f->device)
		return size <= image_file_size(f) ? 0 : -ENOTSUP;
	if (size > INT64_MAX)
		return -EFBIG;
	do {
		r = ftruncate(f->fd, size);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	__atomic_store_n(&f->size, size, __ATOMIC_RELAXED);
	return 0;
}

static bool posix_has_data(struct image_file *f, uint64_t offset, uint64_t len, uint64_t *ret_len)
{
	off_t data, hole;

	*ret_len = len;
	if (too_far(offset, len))
		return true;
	data = lseek(f->fd, offset, SEEK_DATA);
	if (data < 0)
		return errno != ENXIO; /* nothing but a hole up to the end, or beyond it */
	if ((uint64_t)data > offset) {
		*ret_len = MIN(len, data - offset);
		return false;
	}
	hole = lseek(f->fd, offset, SEEK_HOLE);
	if (hole > 0 && (uint64_t)hole > offset)
		*ret_len = MIN(len, hole - offset);
	return true;
}

/*
 * ext4 keeps account of each block that is written and has no place yet; 2 GiB take two thirds of the time where places are found
 * by the MiB. (tmpfs fills what it allocates, and xfs and btrfs find places for long runs anyway.)
 */
static void posix_will_fill(struct image_file *f, uint64_t offset, uint64_t len, bool and_on)
{
	uint64_t filled = __atomic_load_n(&f->filled, __ATOMIC_RELAXED);

	if (!f->slow_growth || len < FILL_MIN || too_far(offset, len + FILL_AHEAD) || (and_on && offset + len <= filled))
		return;
	if (and_on)
		len = MAX(len, FILL_AHEAD);
	if (fallocate(f->fd, FALLOC_FL_KEEP_SIZE, offset, len) == 0 && and_on)
		__atomic_store_n(&f->filled, offset + len, __ATOMIC_RELAXED);
}

static void give_back(struct image_file *f)
{
	if (f->filled > image_file_size(f))
		(void)posix_truncate(f, image_file_size(f));
	f->filled = 0;
}

static int posix_share(struct image_file *f, uint64_t offset, uint64_t len, struct image_file *from, uint64_t at)
{
	struct file_clone_range range = { from->fd, at, len, offset };

	if (from->fd < 0 || too_far(offset, len) || too_far(at, len) || at + len > image_file_size(from))
		return -EINVAL;
	if (ioctl(f->fd, FICLONERANGE, &range) < 0)
		return -errno;
	has_grown(f, offset + len);
	return 0;
}

static void posix_close(struct image_file *f)
{
	give_back(f);
	close(f->fd);
}

static int open_fd(const char *path, bool readonly, unsigned flags, GError **error);

/* The descriptor keeps its number: transfers that are under way go on with what they began with. */
static bool posix_reopen(struct image_file *f, bool readonly, GError **error)
{
	bool direct = fcntl(f->fd, F_GETFL) & O_DIRECT;
	int fd = open_fd(f->name, readonly, direct ? IMAGE_FILE_DIRECT : 0, error);
	struct stat old, new;
	bool ok;

	if (fd < 0)
		return false;
	if (fstat(f->fd, &old) < 0 || fstat(fd, &new) < 0 || old.st_dev != new.st_dev || old.st_ino != new.st_ino) {
		close(fd);
		return kv_fail(error, KV_ERROR_INVALID, "disk '%s' is another file now than the one that is open", f->name);
	}
	if (!f->unlocked)
		image_unlock(f->fd);
	ok = f->unlocked || image_lock(fd, f->name, readonly, error);
	if (ok && dup3(fd, f->fd, O_CLOEXEC) < 0)
		ok = kv_fail_errno(error, errno, "disk '%s': cannot open it anew", f->name);
	if (!ok && !f->unlocked)
		image_lock(f->fd, f->name, f->readonly, NULL);
	close(fd);
	if (ok)
		f->readonly = readonly;
	return ok;
}

static const struct image_file_type posix_type = {
	.read = posix_read,
	.write = posix_write,
	.write_zeroes = posix_write_zeroes,
	.discard = posix_discard,
	.flush = posix_flush,
	.truncate = posix_truncate,
	.has_data = posix_has_data,
	.will_fill = posix_will_fill,
	.share = posix_share,
	.close = posix_close,
	.reopen = posix_reopen,
};

/* A block device that takes no writes opens for writing all the same. */
static bool refuses_writes(int fd)
{
	int readonly = 0;

	return ioctl(fd, BLKROGET, &readonly) == 0 && readonly;
}

/* Some file systems have no O_DIRECT, and say EINVAL. */
static int fail_open(const char *path, bool readonly, unsigned flags, int err, GError **error)
{
	bool create = flags & IMAGE_FILE_CREATE;
	bool hint = !readonly && !create && (err == EACCES || err == EROFS);

	if (err == EINVAL && (flags & IMAGE_FILE_DIRECT))
		kv_fail(error, KV_ERROR_UNSUPPORTED,
			"disk '%s': its file system has no O_DIRECT; use the page cache (cache=writeback)", path);
	else
		kv_fail_errno(error, err, "cannot %s disk '%s'%s", create ? "create" : "open", path,
			      hint ? " for writing (readonly=on reads only)" : "");
	return -1;
}

static int open_fd(const char *path, bool readonly, unsigned flags, GError **error)
{
	/* Not blocking: a FIFO would wait for its other end. */
	int how = (readonly ? O_RDONLY : O_RDWR) | (flags & IMAGE_FILE_CREATE ? O_CREAT : 0) |
		  (flags & IMAGE_FILE_DIRECT ? O_DIRECT : 0);
	int fd = open(path, how | O_CLOEXEC | O_NONBLOCK, FILE_MODE);

	if (fd >= 0 && !readonly && refuses_writes(fd)) {
		close(fd);
		fd = -1;
		errno = EROFS;
	}
	return fd < 0 ? fail_open(path, readonly, flags, errno, error) : fd;
}

static bool find_size(struct image_file *f, GError **error)
{
	struct statfs fs;
	struct stat st;
	uint64_t size;

	if (fstat(f->fd, &st) < 0)
		return kv_fail_errno(error, errno, "disk '%s': cannot read its size", f->name);
	f->device = S_ISBLK(st.st_mode);
	if (S_ISREG(st.st_mode))
		f->size = st.st_size;
	else if (!f->device)
		return kv_fail(error, KV_ERROR_INVALID, "disk '%s' is neither a file nor a block device", f->name);
	else if (ioctl(f->fd, BLKGETSIZE64, &size) < 0)
		return kv_fail_errno(error, errno, "disk '%s': cannot read its size", f->name);
	else
		f->size = size;
	f->slow_growth = !f->device && !f->readonly && fstatfs(f->fd, &fs) == 0 && fs.f_type == EXT4_SUPER_MAGIC;
	return true;
}

struct image_file *image_file_open(const char *path, bool readonly, unsigned flags, GError **error)
{
	bool create = flags & IMAGE_FILE_CREATE;
	int res = 0, fd = open_fd(path, readonly, flags, error);
	struct image_file *f;

	if (fd < 0)
		return NULL;
	f = g_new(struct image_file, 1);
	*f = (struct image_file){ .type = &posix_type, .name = g_strdup(path), .fd = fd, .readonly = readonly,
				  .unlocked = flags & IMAGE_FILE_SHARE };
	if (find_size(f, error) && ((flags & IMAGE_FILE_SHARE) || image_lock(fd, path, readonly, error))) {
		if (create && !f->device) /* not before the lock */
			res = posix_truncate(f, 0);
		if (res == 0)
			return f;
		kv_fail_errno(error, -res, "disk '%s': cannot empty it", path);
	}
	image_file_close(f);
	return NULL;
}

struct image_file *image_file_ref(struct image_file *f)
{
	__atomic_add_fetch(&f->more, 1, __ATOMIC_RELAXED);
	return f;
}

void image_file_close(struct image_file *f)
{
	if (!f || __atomic_fetch_sub(&f->more, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	f->type->close(f);
	g_free(f->name);
	g_free(f);
}

static int allocate(struct image_file *f, uint64_t from, uint64_t to)
{
	int r;

	if (f->fd < 0)
		return -ENOTSUP;
	do {
		r = fallocate(f->fd, 0, from, to - from);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

static int write_all(struct image_file *f, uint64_t from, uint64_t to)
{
	static const char zeroes[WRITE_CHUNK];
	int res = 0;

	for (; from < to && res == 0; from += MIN(to - from, WRITE_CHUNK))
		res = f->type->write(f, from, zeroes, MIN(to - from, WRITE_CHUNK));
	return res;
}

int image_file_grow(struct image_file *f, uint64_t size, enum image_prealloc prealloc)
{
	uint64_t old = image_file_size(f);
	int res;

	if (size <= old)
		return 0;
	if (size > INT64_MAX)
		return -EFBIG;
	res = f->type->truncate(f, size);
	if (res == 0 && prealloc == IMAGE_PREALLOC_FALLOC)
		res = allocate(f, old, size);
	if (res == 0 && prealloc == IMAGE_PREALLOC_FULL)
		res = write_all(f, old, size);
	if (res < 0)
		f->type->truncate(f, old);
	return res;
}
