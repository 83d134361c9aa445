/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See image-rig.h. */
#include "image-rig.h"

#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <glib/gstdio.h>

static char *folder;

int rig_setup(void **state)
{
	/* Whole disks come and go: their memory stays with the process. */
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 512 << 20);
	folder = g_dir_make_tmp("kv-image-XXXXXX", NULL);
	return folder ? 0 : -1;
}

char *rig_path(const char *name)
{
	return g_build_filename(folder, name, NULL);
}

int rig_teardown(void **state)
{
	GDir *d = g_dir_open(folder, 0, NULL);
	const char *name;

	while ((name = g_dir_read_name(d))) {
		g_autofree char *path = rig_path(name);

		g_unlink(path);
	}
	g_dir_close(d);
	g_rmdir(folder);
	g_free(folder);
	return 0;
}

enum {
	DEPTH = 32,
	REQUEST_MAX = 64 << 10,
	BUSY_CLUSTERS = 16, /* few, so that a freed one is soon another's */
	BUSY_DEPTH = 48,
	BUSY_BYTES = 4096,
};

void rig_fill(GRand *rand, uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i += sizeof(guint32)) {
		guint32 word = g_rand_int(rand);

		memcpy(data + i, &word, MIN(len - i, sizeof(word)));
	}
}

static void on_complete(struct image_req *req, int res)
{
	struct rig_wait *w = req->opaque;

	w->over = true;
	w->res = res;
}

void rig_start(struct image_queue *q, struct rig_wait *w)
{
	w->req.complete = on_complete;
	w->req.opaque = w;
	w->over = false;
	image_submit(q, &w->req);
	assert_false(w->over);
}

int rig_run(struct image_queue *q, GRand *rand, enum image_op op, uint64_t offset, uint8_t *data, uint64_t len)
{
	struct rig_wait w = { .req = { .op = op, .offset = offset, .len = len, .iov = w.iov } };
	uint64_t left = data ? len : 0;

	/* Into odd parts, some of them empty. */
	while (left) {
		size_t part = w.req.n_iov == 7 ? left : (size_t)g_rand_int_range(rand, 0, MIN(left, 20000) + 1);

		w.iov[w.req.n_iov++] = (struct iovec){ data + (len - left), part };
		left -= part;
	}
	rig_start(q, &w);
	image_kick(q);
	while (!w.over)
		g_main_context_iteration(NULL, TRUE);
	return w.res;
}

static int request(struct image *img, struct image_queue *q, GRand *rand, enum image_op op, uint64_t offset, uint8_t *data,
		   uint64_t len)
{
	if (q)
		return rig_run(q, rand, op, offset, data, op == IMAGE_FLUSH ? 0 : len);
	switch (op) {
	case IMAGE_READ:
		return image_read(img, offset, data, len);
	case IMAGE_WRITE:
		return image_write(img, offset, data, len);
	case IMAGE_FLUSH:
		return image_flush(img);
	case IMAGE_DISCARD:
		return image_discard(img, offset, len);
	case IMAGE_WRITE_ZEROES:
		return image_write_zeroes(img, offset, len, g_rand_boolean(rand) ? IMAGE_MAY_UNMAP : 0);
	}
	return -EINVAL;
}

/* A discarded byte is what it was, or zero, and stays that. */
static bool after_discard(struct image *img, uint8_t *model, uint8_t *data, uint64_t offset, uint64_t len)
{
	if (image_read(img, offset, data, len) < 0)
		return false;
	for (uint64_t i = 0; i < len; i++)
		if (data[i] && data[i] != model[offset + i])
			return false;
	memcpy(model + offset, data, len);
	return true;
}

static bool one(struct image *img, struct image_queue *q, GRand *rand, uint8_t *model, uint64_t offset, uint64_t len)
{
	static const enum image_op ops[] = {
		IMAGE_READ, IMAGE_READ, IMAGE_READ, IMAGE_READ, IMAGE_WRITE, IMAGE_WRITE, IMAGE_WRITE, IMAGE_WRITE,
		IMAGE_FLUSH, IMAGE_DISCARD, IMAGE_WRITE_ZEROES,
	};
	enum image_op op = ops[g_rand_int_range(rand, 0, G_N_ELEMENTS(ops))];
	g_autofree uint8_t *data = g_malloc(len);
	bool sized = op == IMAGE_READ || op == IMAGE_WRITE;
	int res;

	if (op == IMAGE_DISCARD && !img->discard)
		return true;
	memset(data, 0xa5, len);
	if (op == IMAGE_WRITE) {
		rig_fill(rand, data, len);
		memcpy(model + offset, data, len);
	}
	res = request(img, q, rand, op, offset, sized ? data : NULL, len);
	if (op == IMAGE_WRITE_ZEROES)
		memset(model + offset, 0, len);
	if (res == 0 && (op != IMAGE_READ || memcmp(data, model + offset, len) == 0) &&
	    (op != IMAGE_DISCARD || after_discard(img, model, data, offset, len)))
		return true;
	fprintf(stderr, "%s: operation %d at %" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT " bytes: %s\n", img->path, op, offset,
		len, res ? g_strerror(-res) : "other data");
	return false;
}

bool rig_random(struct image *img, struct image_queue *q, GRand *rand, uint8_t *model, uint64_t from, uint64_t len, unsigned n)
{
	bool ok = true;

	for (; n && ok; n--) {
		uint64_t bytes = 512 * g_rand_int_range(rand, 1, MIN(len, REQUEST_MAX) / 512 + 1);

		ok = one(img, q, rand, model, from + 512 * g_rand_int_range(rand, 0, (len - bytes) / 512 + 1), bytes);
	}
	return ok;
}

/* Every word names its cluster. */
static void expect_own_data(struct image *img, uint32_t cluster)
{
	uint32_t data[BUSY_BYTES / 4];

	for (uint32_t i = 0; i < BUSY_CLUSTERS; i++) {
		assert_int_equal(image_read(img, (uint64_t)i * cluster, data, sizeof(data)), 0);
		for (unsigned k = 0; k < G_N_ELEMENTS(data); k++)
			if (data[k] && data[k] != i + 1)
				fail_msg("%s: cluster %u has data of %u", img->path, i, data[k] - 1);
	}
}

static void busy_request(struct image_queue *q, GRand *rand, uint32_t cluster, struct rig_wait *w, uint32_t *read_to)
{
	static const enum image_op ops[] = { IMAGE_WRITE, IMAGE_WRITE, IMAGE_WRITE, IMAGE_READ, IMAGE_DISCARD };
	static uint32_t data[BUSY_CLUSTERS][BUSY_BYTES / 4];
	uint32_t i = g_rand_int_range(rand, 0, BUSY_CLUSTERS);
	enum image_op op = ops[g_rand_int_range(rand, 0, G_N_ELEMENTS(ops))];

	if (op == IMAGE_DISCARD && !q->image->discard)
		op = IMAGE_WRITE_ZEROES;
	for (unsigned k = 0; k < BUSY_BYTES / 4; k++)
		data[i][k] = i + 1;
	w->iov[0] = (struct iovec){ op == IMAGE_READ ? read_to : data[i], BUSY_BYTES };
	w->req = (struct image_req){ .op = op, .offset = (uint64_t)i * cluster, .iov = w->iov, .n_iov = 1,
				     .len = op == IMAGE_READ || op == IMAGE_WRITE ? BUSY_BYTES : cluster };
	rig_start(q, w);
}

void rig_busy(struct image *img, uint32_t cluster, unsigned rounds)
{
	static uint32_t back[BUSY_DEPTH][BUSY_BYTES / 4];
	static struct rig_wait w[BUSY_DEPTH];
	g_autoptr(GRand) rand = g_rand_new_with_seed(5);
	struct image_queue *q[2] = { image_queue_new(img, NULL, DEPTH, NULL), image_queue_new(img, NULL, DEPTH, NULL) };

	cluster = MAX(cluster, BUSY_BYTES);
	assert_true((uint64_t)cluster * BUSY_CLUSTERS <= img->size);
	assert_int_equal(image_write_zeroes(img, 0, (uint64_t)cluster * BUSY_CLUSTERS, IMAGE_MAY_UNMAP), 0);
	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < BUSY_DEPTH; i++)
			busy_request(q[i % 2], rand, cluster, &w[i], back[i]);
		image_kick(q[0]);
		image_kick(q[1]);
		for (unsigned i = 0; i < BUSY_DEPTH; i++) {
			while (!w[i].over)
				g_main_context_iteration(NULL, TRUE);
			assert_int_equal(w[i].res, 0);
		}
		expect_own_data(img, cluster);
	}
	image_queue_free(q[0]);
	image_queue_free(q[1]);
}
