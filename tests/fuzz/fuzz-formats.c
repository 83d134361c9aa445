/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images of other programs' formats, and OVA files with such: opened, mapped, read, checked, written to. An input is a file, or
 * "pieces: " and pieces of a file that is larger than a corpus should be (offset, 8 bytes; length, 4; bytes). Each is tried as
 * it is and with all its checksums made right, which mutations would else never get past.
 */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "error.h"
#include "log.h"
#include "vhdx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_MAX = 32 << 20, EXTENTS = 64, CHUNK = 64 << 10 };

static char *folder, *path;

static void remove_folder(void)
{
	g_unlink(path);
	g_rmdir(folder);
}

static void make_folder(void)
{
	folder = g_dir_make_tmp("kv-fuzz-XXXXXX", NULL);
	if (!folder)
		abort();
	path = g_build_filename(folder, "image.ova", NULL);
	atexit(remove_folder);
}

static void put(int fd, const void *p, size_t len, uint64_t at)
{
	if (pwrite(fd, p, len, at) != (ssize_t)len)
		abort();
}

static void put_pieces(int fd, const uint8_t *p, size_t left)
{
	while (left >= 12) {
		uint64_t at = get_le64(p) % FILE_MAX;
		size_t len = MIN(get_le32(p + 8), left - 12);

		if (len)
			put(fd, p + 12, len, at);
		p += 12 + len;
		left -= 12 + len;
	}
}

/* ---- checksums ---- */

static void mend_vpc(uint8_t *p, size_t len, size_t at)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i < at || i >= at + 4 ? p[i] : 0;
	put_be32(p + at, ~sum);
}

static void mend_vhdx(uint8_t *p, size_t len)
{
	put_le32(p + 4, vhdx_checksum(p, len, 4));
}

static void mend_tar(uint8_t *h)
{
	unsigned sum = 0;
	char text[8];

	memset(h + 148, ' ', 8);
	for (unsigned i = 0; i < 512; i++)
		sum += h[i];
	g_snprintf(text, sizeof(text), "%06o", sum);
	memcpy(h + 148, text, 7);
}

/* In [at, end), which is aligned; what begins there may reach up to size. */
static void mend(uint8_t *p, size_t at, size_t end, size_t size)
{
	for (; at < end && at + 512 <= size; at += 512) {
		if (memcmp(p + at, "conectix", 8) == 0)
			mend_vpc(p + at, 512, 64);
		else if (memcmp(p + at, "cxsparse", 8) == 0 && at + 1024 <= size)
			mend_vpc(p + at, 1024, 36);
		else if (memcmp(p + at, "head", 4) == 0 && at + VHDX_HEADER <= size)
			mend_vhdx(p + at, VHDX_HEADER);
		else if (memcmp(p + at, "regi", 4) == 0 && at + VHDX_REGIONS <= size)
			mend_vhdx(p + at, VHDX_REGIONS);
		else if (memcmp(p + at, "loge", 4) == 0 && range_inside(at, get_le32(p + at + 8), MIN(size, at + (64 << 10))))
			mend_vhdx(p + at, MAX(get_le32(p + at + 8), 64));
		else if (memcmp(p + at + 257, "ustar", 5) == 0)
			mend_tar(p + at);
	}
}

static void mend_file(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END), at = 0;
	uint8_t *p = size ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : NULL;

	if (p == MAP_FAILED)
		abort();
	/* Holes have no sums. */
	while (p && (at = lseek(fd, at, SEEK_DATA)) >= 0) {
		off_t end = lseek(fd, at, SEEK_HOLE);

		mend(p, at, end, size);
		at = end;
	}
	if (p)
		munmap(p, size);
}

static void write_file(const uint8_t *data, size_t size, bool right_sums)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		abort();
	if (size >= 8 && memcmp(data, "pieces: ", 8) == 0)
		put_pieces(fd, data + 8, size - 8);
	else
		put(fd, data, size, 0);
	if (right_sums)
		mend_file(fd);
	close(fd);
}

/* ---- use ---- */

static struct image *open_image(const char *format, bool readonly)
{
	g_autoptr(GError) error = NULL;
	GVariantBuilder b;
	struct image *img;

	g_variant_builder_init(&b, G_VARIANT_TYPE("a{sv}"));
	g_variant_builder_add(&b, "{sv}", "file", g_variant_new_string(path));
	g_variant_builder_add(&b, "{sv}", "format", g_variant_new_string(format));
	g_variant_builder_add(&b, "{sv}", "readonly", g_variant_new_boolean(readonly));
	/* No other file. */
	g_variant_builder_add(&b, "{sv}", "backing", g_variant_new_string(""));
	g_autoptr(GVariant) options = g_variant_ref_sink(g_variant_builder_end(&b));

	img = image_open(options, &error);
	if (!img == !error || (error && (!*error->message || !g_utf8_validate(error->message, -1, NULL))))
		abort();
	return img;
}

static void ignore(void *opaque, const char *text)
{
	if (!*text)
		abort();
}

static void use_info(struct image *img)
{
	GVariantBuilder b;

	g_variant_builder_init(&b, G_VARIANT_TYPE("a{sv}"));
	if (img->format->info)
		img->format->info(img, &b);
	g_variant_unref(g_variant_ref_sink(g_variant_builder_end(&b)));
	if (img->format->cluster_size)
		img->format->cluster_size(img);
}

static void use_check(struct image *img)
{
	g_autoptr(GError) error = NULL;
	struct image_check c = { 0 };

	if (img->format->check && !img->format->check(img, 0, ignore, NULL, &c, &error) && !error)
		abort();
}

static void read_all(struct image *img)
{
	static uint8_t buf[CHUNK];
	uint64_t at = 0;

	for (unsigned i = 0; i < EXTENTS && at < img->size; i++) {
		struct image_extent e;
		int r = image_map(img, at, img->size - at, &e);

		if (!r && (!e.len || e.len > img->size - at))
			abort();
		if (image_read(img, at, buf, MIN(img->size - at, CHUNK)) < 0 || r < 0)
			e.len = 512;
		at += MIN(e.len, img->size - at);
	}
	if (img->size)
		image_read(img, img->size - 512, buf, 512);
}

static void write_some(struct image *img)
{
	static const uint8_t buf[CHUNK] = { 1, 2, 3 };
	const uint64_t places[] = { 0, 3 << 9, 1 << 20, img->size / 1024 * 512, img->size - MIN(img->size, 512) };

	for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
		uint64_t at = places[i];

		if (at >= img->size)
			continue;
		image_write(img, at, buf, MIN(img->size - at, 4096));
		image_write_compressed(img, at, buf, MIN(img->size - at, CHUNK));
		if (i & 1)
			image_write_zeroes(img, at, MIN(img->size - at, 8192), IMAGE_MAY_UNMAP);
		if (i == 2)
			image_flush(img);
	}
	image_discard(img, 0, img->size);
}

static void use(const uint8_t *data, size_t size, bool right_sums)
{
	const char *format = "vpc"; /* the one that has nothing at its start */
	uint8_t head[512] = { 0 };
	struct image *img;
	int fd;

	write_file(data, size, right_sums);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, head, sizeof(head)) < 0)
		abort();
	close(fd);
	if (strcmp(image_format_guess(head, sizeof(head)), "raw") != 0)
		format = image_format_guess(head, sizeof(head));
	else if (memcmp(head + 257, "ustar", 5) == 0)
		format = "auto";
	img = open_image(format, true);
	if (img) {
		use_info(img);
		read_all(img);
		use_check(img);
		image_close(img);
	}
	img = open_image(format, false);
	if (img) {
		write_some(img);
		read_all(img);
		image_close(img);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!folder)
		make_folder();
	use(data, size, false);
	use(data, size, true);
	return 0;
}
