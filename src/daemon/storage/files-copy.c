/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copies of volumes: of raw ones the file system is asked first, others go through their formats. See files.h. */
#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "error.h"
#include "files.h"
#include "image.h"

enum { CHUNK = 1 << 20, GRAIN = 4096 };

/* ---- bytes ---- */

static bool is_zero(const char *p, size_t len)
{
	return !len || (!*p && memcmp(p, p + 1, len - 1) == 0);
}

/* What is not zeroes of a buffer; where the new file has none yet, they are there already. */
static bool put(int to, const char *to_path, const char *buf, size_t len, off_t at, GError **error)
{
	for (size_t done = 0; done < len;) {
		size_t n = MIN(len - done, GRAIN);
		ssize_t got;

		if (is_zero(buf + done, n)) {
			done += n;
			continue;
		}
		while (done + n < len && !is_zero(buf + done + n, MIN(GRAIN, len - done - n)))
			n += MIN(GRAIN, len - done - n);
		got = pwrite(to, buf + done, n, at + done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return kv_fail_errno(error, errno, "failed writing to file '%s'", to_path);
		done += got;
	}
	return true;
}

static bool copy_run(int from, const char *from_path, int to, const char *to_path, char *buf, off_t at, off_t end, GError **error)
{
	while (at < end) {
		ssize_t n = pread(from, buf, MIN(end - at, CHUNK), at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return kv_fail_errno(error, errno, "failed reading from file '%s'", from_path);
		if (n == 0)
			break;
		if (!put(to, to_path, buf, n, at, error))
			return false;
		at += n;
	}
	return true;
}

/* Blocks that both files have then. The new one is as long as it is to be, and that is not shorter. */
static int share_blocks(int from, int to)
{
	return ioctl(to, FICLONERANGE, &(struct file_clone_range){.src_fd = from});
}

bool files_copy(int from, const char *from_path, int to, const char *to_path, enum copy_how how, GError **error)
{
	g_autofree char *buf = NULL;
	off_t end;

	if (how != COPY_BYTES && share_blocks(from, to) == 0)
		return true;
	if (how == COPY_MUST_SHARE)
		return kv_fail_errno(error, errno, "failed to clone files from '%s'", from_path);
	buf = g_malloc(CHUNK);
	end = lseek(from, 0, SEEK_END);
	for (off_t at = 0; at < end;) {
		off_t data = lseek(from, at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0)
			data = at; /* no such file system */
		hole = lseek(from, data, SEEK_HOLE);
		if (hole < 0)
			hole = end;
		if (!copy_run(from, from_path, to, to_path, buf, data, hole, error))
			return false;
		at = hole;
	}
	return true;
}

/* ---- disks ---- */

static struct image *open_image(const char *path, const char *format, bool readonly, bool alone, GError **error)
{
	g_autoptr(GVariant) options = NULL;
	GVariantDict d;

	g_variant_dict_init(&d, NULL);
	g_variant_dict_insert(&d, "file", "s", path);
	g_variant_dict_insert(&d, "format", "s", strcmp(format, "iso") == 0 ? "raw" : format);
	g_variant_dict_insert(&d, "readonly", "b", readonly);
	if (alone)
		g_variant_dict_insert(&d, "backing", "s", "");
	options = g_variant_ref_sink(g_variant_dict_end(&d));
	return image_open(options, error);
}

static int write_grains(struct image *to, const char *buf, uint64_t at, uint64_t len, bool all)
{
	int res = 0;

	for (uint64_t done = 0; res == 0 && done < len;) {
		uint64_t n = MIN(len - done, GRAIN);

		if (!all && is_zero(buf + done, n)) {
			done += n;
			continue;
		}
		while (done + n < len && (all || !is_zero(buf + done + n, MIN(GRAIN, len - done - n))))
			n += MIN(GRAIN, len - done - n);
		res = image_write(to, at + done, buf + done, n);
		done += n;
	}
	return res;
}

/* own_layer: what the layer has hides what it stands on, zeroes as well. */
static int copy_extent(struct image *from, struct image *to, char *buf, uint64_t at, const struct image_extent *e, bool own_layer)
{
	int res = 0;

	if (e->kind == IMAGE_HOLE || (e->kind == IMAGE_ZERO && !own_layer))
		return 0;
	if (e->kind == IMAGE_ZERO)
		return image_write_zeroes(to, at, e->len, IMAGE_MAY_UNMAP);
	for (uint64_t done = 0; res == 0 && done < e->len;) {
		uint64_t n = MIN(e->len - done, CHUNK);

		res = image_read(from, at + done, buf, n);
		if (res == 0)
			res = write_grains(to, buf, at + done, n, own_layer);
		done += n;
	}
	return res;
}

static bool copy_image(struct image *from, struct image *to, bool own_layer, GError **error)
{
	g_autofree char *buf = g_malloc(CHUNK);
	uint64_t end = MIN(from->size, to->size);
	int res = 0;

	for (uint64_t at = 0; res == 0 && at < end;) {
		struct image_extent e;

		res = (own_layer ? image_map : image_status)(from, at, end - at, &e);
		if (res < 0)
			return kv_fail_errno(error, -res, "failed reading from file '%s'", from->path);
		res = copy_extent(from, to, buf, at, &e, own_layer);
		at += e.len;
	}
	if (res == 0)
		res = image_flush(to);
	return res == 0 || kv_fail_errno(error, -res, "failed to copy '%s' to '%s'", from->path, to->path);
}

bool files_convert(const struct volume *from, const char *to, const char *to_format, bool own_layer, GError **error)
{
	struct image *a = open_image(from->path, from->facts.format, true, own_layer, error);
	struct image *b = a ? open_image(to, to_format, false, own_layer, error) : NULL;
	bool ok = b && copy_image(a, b, own_layer, error);

	image_close(b);
	image_close(a);
	return ok;
}
