/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images from the command line, for formats.py: makes them, says what is in them, and does to them what lines on standard
 * input say. FILE FORMAT create SIZE [OPTION=VALUE]... | info | check | map | dump RAW | run
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "format.h"

enum { CHUNK = 1 << 20 };

static int fail(GError *error)
{
	fprintf(stderr, "%s\n", error->message);
	return 1;
}

static int create(const char *file, const char *format, int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	GVariantBuilder b;

	g_variant_builder_init(&b, G_VARIANT_TYPE("a{sv}"));
	g_variant_builder_add(&b, "{sv}", "file", g_variant_new_string(file));
	g_variant_builder_add(&b, "{sv}", "format", g_variant_new_string(format));
	g_variant_builder_add(&b, "{sv}", "size", g_variant_new_uint64(strtoull(argv[0], NULL, 0)));
	for (int i = 1; i < argc; i++) {
		g_auto(GStrv) kv = g_strsplit(argv[i], "=", 2);

		g_variant_builder_add(&b, "{sv}", kv[0], g_variant_new_string(kv[1] ? kv[1] : ""));
	}
	g_autoptr(GVariant) options = g_variant_ref_sink(g_variant_builder_end(&b));

	return image_create(options, &error) ? 0 : fail(error);
}

static struct image *open_image(const char *file, const char *format, bool readonly, GError **error)
{
	const char *member = g_getenv("MEMBER"); /* of an OVA */
	GVariantBuilder b;

	g_variant_builder_init(&b, G_VARIANT_TYPE("a{sv}"));
	g_variant_builder_add(&b, "{sv}", "file", g_variant_new_string(file));
	g_variant_builder_add(&b, "{sv}", "format", g_variant_new_string(format));
	g_variant_builder_add(&b, "{sv}", "readonly", g_variant_new_boolean(readonly));
	if (member)
		g_variant_builder_add(&b, "{sv}", "member", g_variant_new_string(member));
	g_autoptr(GVariant) options = g_variant_ref_sink(g_variant_builder_end(&b));

	return image_open(options, error);
}

static int info(struct image *img)
{
	g_autofree char *text = NULL;
	GVariantBuilder b;

	g_variant_builder_init(&b, G_VARIANT_TYPE("a{sv}"));
	if (img->format->info)
		img->format->info(img, &b);
	g_autoptr(GVariant) members = g_variant_ref_sink(g_variant_builder_end(&b));

	text = g_variant_print(members, FALSE);
	printf("format %s\nsize %" G_GUINT64_FORMAT "\n", img->format->name, img->size);
	printf("cluster-size %" G_GUINT64_FORMAT "\n", img->format->cluster_size ? img->format->cluster_size(img) : 0);
	printf("members %s\n", text);
	return 0;
}

static void report(void *opaque, const char *text)
{
	printf("%s\n", text);
}

static int check(struct image *img, unsigned fix)
{
	g_autoptr(GError) error = NULL;
	struct image_check c = { 0 };

	if (!img->format->check)
		return 63;
	if (!img->format->check(img, fix, report, NULL, &c, &error))
		return fail(error);
	printf("corruptions %d leaks %d\n", (int)c.corruptions, (int)c.leaks);
	return c.corruptions ? 2 : c.leaks ? 3 : 0;
}

static int map(struct image *img)
{
	static const char *const kinds[] = { "hole", "zero", "data", "compressed" };

	for (uint64_t at = 0; at < img->size;) {
		struct image_extent e;
		int r = image_status(img, at, img->size - at, &e);

		if (r < 0) {
			fprintf(stderr, "map at %" G_GUINT64_FORMAT ": %s\n", at, strerror(-r));
			return 1;
		}
		printf("%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %s\n", at, e.len, kinds[e.kind]);
		at += e.len;
	}
	return 0;
}

/* In pieces of no format's size. */
static int dump(struct image *img, const char *to)
{
	g_autofree char *buf = g_malloc(CHUNK);
	int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0644), r = 0;
	uint64_t at = 0;

	for (uint64_t n; !r && at < img->size; at += n) {
		n = MIN(CHUNK - 512 * (at % 7), img->size - at);
		r = image_read(img, at, buf, n);
		if (!r && pwrite(fd, buf, n, at) != (ssize_t)n)
			r = -EIO;
	}
	close(fd);
	if (r < 0)
		fprintf(stderr, "dump: %s\n", strerror(-r));
	return r < 0;
}

/* Bytes that say where they are. */
static void fill(unsigned char *buf, uint64_t offset, uint64_t len, unsigned seed)
{
	for (uint64_t i = 0; i < len; i++)
		buf[i] = seed + (offset + i) / 512 + (offset + i) % 251;
}

/* Are they all this byte? */
static int expect(struct image *img, uint64_t offset, uint64_t len, unsigned byte)
{
	g_autofree unsigned char *buf = g_malloc(len + 1);
	int r = image_read(img, offset, buf, len);

	for (uint64_t i = 0; !r && i < len; i++)
		if (buf[i] != byte)
			r = -EBADMSG;
	return r;
}

static int run_line(struct image *img, const char *line)
{
	uint64_t offset = 0, len = 0;
	unsigned seed = 0;
	char op = 0;
	int n = sscanf(line, "%c %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %u", &op, &offset, &len, &seed);
	g_autofree unsigned char *buf = NULL;

	if (op == 'f')
		return image_flush(img);
	if (op == 'k') /* no close: what is not flushed is lost */
		_exit(0);
	if (n < 3)
		return -EINVAL;
	if (op == 'z')
		return image_write_zeroes(img, offset, len, seed);
	if (op == 'e')
		return expect(img, offset, len, seed);
	if (op == 'd')
		return image_discard(img, offset, len);
	buf = g_malloc(len + 1);
	fill(buf, offset, len, seed);
	return op == 'w'   ? image_write(img, offset, buf, len)
	       : op == 'c' ? image_write_compressed(img, offset, buf, len)
			   : -EINVAL;
}

static int run(struct image *img)
{
	char line[100];

	while (fgets(line, sizeof(line), stdin)) {
		int r = run_line(img, line);

		if (r < 0) {
			fprintf(stderr, "%.*s: %s\n", (int)strcspn(line, "\n"), line, strerror(-r));
			return 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	const char *command = argc > 3 ? argv[3] : "";
	struct image *img;
	int r = 2;

	if (strcmp(command, "create") == 0 && argc > 4)
		return create(argv[1], argv[2], argc - 4, argv + 4);
	if (argc < 4)
		return r;
	img = open_image(argv[1], argv[2], strcmp(command, "run") != 0 && strcmp(command, "fix") != 0, &error);
	if (!img)
		return fail(error);
	if (strcmp(command, "info") == 0)
		r = info(img);
	else if (strcmp(command, "check") == 0)
		r = check(img, 0);
	else if (strcmp(command, "fix") == 0)
		r = check(img, IMAGE_FIX_LEAKS | IMAGE_FIX_ERRORS);
	else if (strcmp(command, "map") == 0)
		r = map(img);
	else if (strcmp(command, "dump") == 0 && argc > 4)
		r = dump(img, argv[4]);
	else if (strcmp(command, "run") == 0)
		r = run(img);
	image_close(img);
	return r;
}
