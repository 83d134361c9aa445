/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kv-img bench: how long do requests take? They go through a queue, as a guest's do. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "file-queue.h"
#include "img.h"

static const struct img_option options[] = {
	IMG_OPTION_FORMAT,
	{'c', NULL, "N", "how many requests; 75000"},
	{'d', NULL, "N", "how many at the same time; 64"},
	{'s', NULL, "SIZE", "bytes of a request; 4k"},
	{'S', NULL, "SIZE", "from one request's start to the next; -s"},
	{'o', NULL, "OFFSET", "where to begin"},
	{'w', NULL, NULL, "write; what is in the image is lost"},
	{IMG_PATTERN, "pattern", "BYTE", "what to write; 0"},
	{IMG_FLUSH_INTERVAL, "flush-interval", "N", "flush after so many requests"},
	{IMG_NO_DRAIN, "no-drain", NULL, "do not wait for the requests before a flush"},
	{'i', NULL, "AIO", "threads, or native or io_uring: io_uring"},
	{'n', NULL, NULL, "-i native"},
	IMG_OPTION_CACHE,
	IMG_OPTION_QUIET,
	IMG_OPTION_SHARE,
	IMG_OPTION_COMMON,
	{},
};

struct bench {
	struct img_args *args;
	struct image *img;
	struct image_queue *queue;
	struct image_req *req, **idle; /* depth of them, and one for flushes at the end */
	struct iovec iov;
	uint64_t count, depth, size, step, offset, interval;
	uint64_t sent, since_flush, n_idle, flying;
	bool write, no_drain, flushing;
	int res;
};

static bool number(struct bench *b, int key, const char *what, uint64_t min, uint64_t max, uint64_t *ret)
{
	const char *text = b->args->value[key];

	if (text && (img_parse_size(text, ret) < 0 || *ret < min || *ret > max))
		return img_fail("Invalid %s specified", what), false;
	return true;
}

static bool read_options(struct bench *b, uint64_t *ret_pattern)
{
	*ret_pattern = 0;
	if (!number(b, 'c', "request count", 0, INT32_MAX, &b->count) || !number(b, 'd', "queue depth", 1, 65536, &b->depth) ||
	    !number(b, 's', "buffer size", 1, INT32_MAX, &b->size) || !number(b, 'S', "step size", 0, INT32_MAX, &b->step) ||
	    !number(b, 'o', "offset", 0, INT64_MAX, &b->offset) ||
	    !number(b, IMG_FLUSH_INTERVAL, "flush interval", 0, INT32_MAX, &b->interval) ||
	    !number(b, IMG_PATTERN, "pattern byte", 0, 255, ret_pattern))
		return false;
	if (!b->write && b->interval)
		return img_fail("--flush-interval is only available in write tests"), false;
	if (b->interval && b->interval < b->depth)
		return img_fail("Flush interval can't be smaller than depth"), false;
	if (!b->step)
		b->step = b->size;
	return true;
}

static void completed(struct image_req *req, int res)
{
	struct bench *b = req->opaque;

	b->flying--;
	if (res < 0)
		b->res = res;
	if (req->op == IMAGE_FLUSH)
		b->flushing = false;
	else
		b->idle[b->n_idle++] = req;
}

static void send_flush(struct bench *b)
{
	struct image_req *req = &b->req[b->depth];

	*req = (struct image_req){.op = IMAGE_FLUSH, .complete = completed, .opaque = b};
	b->flushing = true;
	b->since_flush = 0;
	b->flying++;
	image_submit(b->queue, req);
}

static void send_one(struct bench *b)
{
	struct image_req *req = b->idle[--b->n_idle];

	*req = (struct image_req){.op = b->write ? IMAGE_WRITE : IMAGE_READ,
				  .iov = &b->iov,
				  .n_iov = 1,
				  .offset = b->offset,
				  .len = b->size,
				  .complete = completed,
				  .opaque = b};
	b->sent++;
	b->since_flush++;
	b->flying++;
	b->offset = (b->offset + b->step) % b->img->size;
	image_submit(b->queue, req);
}

static void go_on(struct bench *b)
{
	while (b->sent < b->count && !b->res) {
		bool flush = b->interval && b->since_flush == b->interval;

		if (b->flushing && (flush || !b->no_drain))
			break;
		if (flush && !b->no_drain && b->flying)
			break;
		if (flush)
			send_flush(b);
		else if (b->n_idle)
			send_one(b);
		else
			break;
	}
	image_kick(b->queue);
}

static bool run(struct bench *b)
{
	GError *error = NULL;
	int64_t start;

	b->queue = image_queue_new(b->img, NULL, b->depth + 1, &error);
	if (!b->queue)
		return img_fail_error(NULL, error), false;
	printf("Sending %" G_GUINT64_FORMAT " %s requests, %" G_GUINT64_FORMAT " bytes each, %" G_GUINT64_FORMAT
	       " in parallel (starting at offset %" G_GUINT64_FORMAT ", step size %" G_GUINT64_FORMAT ")\n",
	       b->count, b->write ? "write" : "read", b->size, b->depth, b->offset, b->step);
	if (b->interval)
		printf("Sending flush every %" G_GUINT64_FORMAT " requests\n", b->interval);
	start = g_get_monotonic_time();
	for (go_on(b); b->flying; go_on(b))
		g_main_context_iteration(NULL, TRUE);
	if (b->res)
		img_fail("Failed request: %s", g_strerror(-b->res));
	else
		printf("Run completed in %3.3f seconds.\n", (g_get_monotonic_time() - start) / 1e6);
	image_queue_free(b->queue);
	return !b->res;
}

/* -i, -n: the last one given counts in QEMU; here -i does. */
static bool find_aio(struct img_args *args, int *ret)
{
	const char *name = args->value['i'] ? args->value['i'] : img_has(args, 'n') ? "native" : NULL;

	*ret = FILE_ENGINE_AUTO;
	if (name && strcmp(name, "threads") == 0)
		*ret = FILE_ENGINE_THREADS;
	else if (name && (strcmp(name, "native") == 0 || strcmp(name, "io_uring") == 0))
		*ret = FILE_ENGINE_URING;
	else if (name)
		return img_fail("Invalid aio option: %s", name), false;
	return true;
}

static int bench(struct img_args *args)
{
	struct bench b = {.args = args,
			  .count = 75000,
			  .depth = 64,
			  .size = 4096,
			  .write = img_has(args, 'w'),
			  .no_drain = img_has(args, IMG_NO_DRAIN)};
	uint64_t pattern;
	bool flush, ok;
	int aio;

	if (args->n != 1)
		return img_usage(args, "Expecting one image file name");
	if (!img_cache(args->value['t'], &flush) || !read_options(&b, &pattern) || !find_aio(args, &aio))
		return 1;
	b.img = img_open(args->word[0], args->value['f'], img_open_flags(args) | (b.write ? IMG_RW : 0));
	if (!b.img)
		return 1;
	b.img->aio = aio;
	if (!b.img->size) {
		image_close(b.img);
		return img_fail("'%s' is empty", args->word[0]);
	}
	b.iov = (struct iovec){g_malloc0(b.size), b.size};
	memset(b.iov.iov_base, pattern, b.size);
	b.req = g_new0(struct image_req, b.depth + 1);
	b.idle = g_new0(struct image_req *, b.depth);
	for (b.n_idle = 0; b.n_idle < b.depth; b.n_idle++)
		b.idle[b.n_idle] = &b.req[b.n_idle];
	ok = run(&b);
	image_close(b.img);
	g_free(b.iov.iov_base);
	g_free(b.idle);
	g_free(b.req);
	return !ok;
}

const struct img_command img_bench = {"bench", "[option]... FILE", "how long requests take", options, bench};
