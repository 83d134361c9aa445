/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opens an image and does what it is told, like qemu-io: for tests that compare with QEMU's tools.
 *
 *   image-io create FILE FORMAT SIZE [KEY=VALUE]...
 *   image-io open FILE FORMAT [KEY=VALUE]... -- COMMAND...     "-": commands from standard input, one a line
 *
 * Commands: write OFF LEN BYTE; compressed OFF LEN BYTE; zero OFF LEN [unmap]; discard OFF LEN; read OFF LEN BYTE (fails when
 * other bytes are there); flush; resize SIZE [PREALLOC]; dump FILE; map; info; check [leaks|all]; snapshots; snapshot
 * create|apply|delete NAME; backing NAME FORMAT; bitmap add NAME GRANULARITY, bitmap remove|clear|enable|disable NAME; bitmaps (a
 * line for each: name, flags, runs that are dirty); abort (exits without closing).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bitmap.h"
#include "format.h"

enum { CHUNK = 1 << 20 };

static void die(const char *what, GError *error)
{
	fprintf(stderr, "image-io: %s%s%s\n", what, error ? ": " : "", error ? error->message : "");
	exit(1);
}

static uint64_t number(const char *text)
{
	static const char units[] = "bkMGT";
	char *end;
	uint64_t n;
	const char *unit;

	if (!text)
		die("a number is missing", NULL);
	n = strtoull(text, &end, 0);
	unit = *end ? strchr(units, *end) : units;
	if (!unit)
		die(text, NULL);
	return n << 10 * (unit - units);
}

static GVariant *options_of(char **words, int n, const char *file, const char *format, GVariantBuilder *b)
{
	g_variant_builder_add(b, "{sv}", "file", g_variant_new_string(file));
	g_variant_builder_add(b, "{sv}", "format", g_variant_new_string(format));
	for (int i = 0; i < n; i++) {
		g_auto(GStrv) pair = g_strsplit(words[i], "=", 2);
		GVariant *value;

		if (!pair[1])
			die(words[i], NULL);
		if (strcmp(pair[0], "readonly") == 0 || strcmp(pair[0], "check") == 0)
			value = g_variant_new_boolean(strcmp(pair[1], "on") == 0);
		else if (strcmp(pair[0], "l2-cache-size") == 0)
			value = g_variant_new_uint64(number(pair[1]));
		else
			value = g_variant_new_string(pair[1]);
		g_variant_builder_add(b, "{sv}", pair[0], value);
	}
	return g_variant_ref_sink(g_variant_builder_end(b));
}

static void expect(int res, const char *what)
{
	if (res < 0) {
		fprintf(stderr, "image-io: %s: %s\n", what, g_strerror(-res));
		exit(1);
	}
}

static void do_write(struct image *img, char **w)
{
	uint64_t at = number(w[1]), len = number(w[2]);
	g_autofree uint8_t *buf = g_malloc(len);

	memset(buf, number(w[3]), len);
	expect((w[0][0] == 'w' ? image_write : image_write_compressed)(img, at, buf, len), w[0]);
}

static void do_zero(struct image *img, char **w)
{
	expect(image_write_zeroes(img, number(w[1]), number(w[2]), w[3] ? IMAGE_MAY_UNMAP : 0), "zero");
}

static void do_discard(struct image *img, char **w)
{
	expect(image_discard(img, number(w[1]), number(w[2])), "discard");
}

static void do_read(struct image *img, char **w)
{
	uint64_t at = number(w[1]), len = number(w[2]), byte = number(w[3]);
	g_autofree uint8_t *buf = g_malloc(len);

	expect(image_read(img, at, buf, len), "read");
	for (uint64_t i = 0; i < len; i++) {
		if (buf[i] != byte) {
			fprintf(stderr, "image-io: read: %#x at %#" PRIx64 ", not %#x\n", buf[i], at + i, (unsigned)byte);
			exit(1);
		}
	}
}

static void do_flush(struct image *img, char **w)
{
	expect(image_flush(img), "flush");
}

static void do_resize(struct image *img, char **w)
{
	static const char *const names[] = {"off", "metadata", "falloc", "full"};
	enum image_prealloc prealloc = IMAGE_PREALLOC_OFF;
	GError *error = NULL;

	for (unsigned i = 0; w[2] && i < G_N_ELEMENTS(names); i++)
		if (strcmp(names[i], w[2]) == 0)
			prealloc = i;
	if (!image_resize(img, number(w[1]), prealloc, &error))
		die("resize", error);
}

static void do_dump(struct image *img, char **w)
{
	g_autofree uint8_t *buf = g_malloc(CHUNK);
	FILE *f = fopen(w[1], "w");

	for (uint64_t at = 0; at < img->size; at += CHUNK) {
		uint64_t n = MIN(CHUNK, img->size - at);

		expect(image_read(img, at, buf, n), "dump");
		if (!f || fwrite(buf, 1, n, f) != n)
			die("dump", NULL);
	}
	if (!f || fclose(f))
		die("dump", NULL);
}

static void do_map(struct image *img, char **w)
{
	static const char *const names[] = {"hole", "zero", "data", "compressed"};
	struct image_extent e;

	for (uint64_t at = 0; at < img->size; at += e.len) {
		expect(image_status(img, at, img->size - at, &e), "map");
		printf("%#" PRIx64 " %#" PRIx64 " %s depth %u", at, e.len, names[e.kind], e.depth);
		if (e.has_at)
			printf(" at %#" PRIx64, e.at);
		putchar('\n');
	}
}

static void do_info(struct image *img, char **w)
{
	GVariantBuilder b;
	g_autofree char *text = NULL;
	g_autoptr(GVariant) v = NULL;

	g_variant_builder_init(&b, G_VARIANT_TYPE_VARDICT);
	if (img->format->info)
		img->format->info(img, &b);
	v = g_variant_ref_sink(g_variant_builder_end(&b));
	text = g_variant_print(v, FALSE);
	printf("size %" PRIu64 " backing %s format %s %s\n", img->size, img->backing_name ? img->backing_name : "-",
	       img->backing_format ? img->backing_format : "-", text);
}

static void print_line(void *opaque, const char *text)
{
	puts(text);
}

static void do_check(struct image *img, char **w)
{
	unsigned fix = !w[1] ? 0 : strcmp(w[1], "all") == 0 ? IMAGE_FIX_LEAKS | IMAGE_FIX_ERRORS : IMAGE_FIX_LEAKS;
	struct image_check r;
	GError *error = NULL;

	if (!img->format->check(img, fix, print_line, NULL, &r, &error))
		die("check", error);
	printf("corruptions %" PRIu64 " leaks %" PRIu64 " fixed %" PRIu64 " %" PRIu64 " errors %" PRIu64 " total %" PRIu64
	       " allocated %" PRIu64 " fragmented %" PRIu64 " compressed %" PRIu64 " end %" PRIu64 "\n",
	       r.corruptions, r.leaks, r.corruptions_fixed, r.leaks_fixed, r.check_errors, r.total_clusters, r.allocated_clusters,
	       r.fragmented_clusters, r.compressed_clusters, r.end_offset);
	if (r.corruptions || r.leaks || r.check_errors)
		exit(3);
}

static void do_snapshots(struct image *img, char **w)
{
	GArray *list = img->format->snapshots(img);

	for (unsigned i = 0; i < list->len; i++) {
		struct image_snapshot *sn = &g_array_index(list, struct image_snapshot, i);

		printf("%s %s %" PRIu64 "\n", sn->id, sn->name, sn->size);
	}
	image_snapshots_free(list);
}

static void do_snapshot(struct image *img, char **w)
{
	GError *error = NULL;
	bool ok;

	if (!w[1] || !w[2])
		die("snapshot what?", NULL);
	image_lock_out(img);
	if (strcmp(w[1], "create") == 0)
		ok = img->format->snapshot_create(img, w[2], &error);
	else if (strcmp(w[1], "apply") == 0)
		ok = img->format->snapshot_apply(img, w[2], &error);
	else
		ok = img->format->snapshot_delete(img, w[2], &error);
	image_let_in(img);
	if (!ok)
		die("snapshot", error);
}

static void do_backing(struct image *img, char **w)
{
	GError *error = NULL;

	if (!img->format->set_backing(img, w[1], w[1] ? w[2] : NULL, &error))
		die("backing", error);
}

static bool change_bitmap(struct image *img, struct image_bitmap *b, const char *what, GError **error)
{
	if (strcmp(what, "remove") == 0)
		return image_bitmap_remove(img, b, error);
	if (strcmp(what, "clear") == 0)
		return image_bitmap_reset(img, b, error);
	return image_bitmap_record(img, b, strcmp(what, "enable") == 0, error);
}

static void do_bitmap(struct image *img, char **w)
{
	GError *error = NULL;
	struct image_bitmap *b;

	if (!w[1] || !w[2])
		die("bitmap what?", NULL);
	if (strcmp(w[1], "add") == 0) {
		if (!image_bitmap_add(img, w[2], number(w[3]), true, false, &error))
			die("bitmap", error);
		return;
	}
	b = image_bitmap_find(img, w[2], &error);
	if (!b || !change_bitmap(img, b, w[1], &error))
		die("bitmap", error);
}

static void do_bitmaps(struct image *img, char **w)
{
	GError *error = NULL;
	uint64_t offset, len;

	if (!image_bitmaps_load(img, &error))
		die("bitmaps", error);
	for (const struct image_bitmap *b = img->bitmaps; b; b = b->next) {
		printf("%s %s", b->name, b->inconsistent ? "in-use" : b->recording ? "auto" : "-");
		for (uint64_t at = 0; image_bitmap_next(b, true, at, b->size, &offset, &len); at = offset + len)
			printf(" %" PRIu64 "+%" PRIu64, offset, len);
		putchar('\n');
	}
}

static void do_abort(struct image *img, char **w)
{
	fflush(stdout);
	_exit(0);
}

static const struct {
	const char *name;
	void (*run)(struct image *img, char **words);
} commands[] = {
	{"write", do_write}, {"compressed", do_write},	  {"zero", do_zero},	     {"discard", do_discard}, {"read", do_read},
	{"flush", do_flush}, {"resize", do_resize},	  {"dump", do_dump},	     {"map", do_map},	      {"info", do_info},
	{"check", do_check}, {"snapshots", do_snapshots}, {"snapshot", do_snapshot}, {"backing", do_backing}, {"abort", do_abort},
	{"bitmap", do_bitmap}, {"bitmaps", do_bitmaps},
};

static void run(struct image *img, const char *line)
{
	g_auto(GStrv) words = g_strsplit(g_strchomp((char *)line), " ", 0);

	for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
		if (g_strcmp0(words[0], commands[i].name) == 0) {
			commands[i].run(img, words);
			return;
		}
	}
	die(line, NULL);
}

static void run_stdin(struct image *img)
{
	char line[256];

	while (fgets(line, sizeof(line), stdin))
		run(img, line);
}

static int do_create(int argc, char **argv)
{
	GVariantBuilder b;
	g_autoptr(GVariant) options = NULL;
	GError *error = NULL;

	g_variant_builder_init(&b, G_VARIANT_TYPE_VARDICT);
	g_variant_builder_add(&b, "{sv}", "size", g_variant_new_uint64(number(argv[4])));
	options = options_of(argv + 5, argc - 5, argv[2], argv[3], &b);
	if (!image_create(options, &error))
		die("create", error);
	return 0;
}

int main(int argc, char **argv)
{
	g_autoptr(GVariant) options = NULL;
	GError *error = NULL;
	struct image *img;
	GVariantBuilder b;
	int end = 4;

	if (argc >= 5 && strcmp(argv[1], "create") == 0)
		return do_create(argc, argv);
	if (argc < 5 || strcmp(argv[1], "open") != 0)
		die("create or open, a file, a format", NULL);
	while (end < argc && strcmp(argv[end], "--") != 0)
		end++;
	g_variant_builder_init(&b, G_VARIANT_TYPE_VARDICT);
	options = options_of(argv + 4, end - 4, argv[2], argv[3], &b);
	img = image_open(options, &error);
	if (!img)
		die("open", error);
	for (int i = end + 1; i < argc; i++) {
		if (strcmp(argv[i], "-") == 0)
			run_stdin(img);
		else
			run(img, argv[i]);
	}
	image_close(img);
	return 0;
}
