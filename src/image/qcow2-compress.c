/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Compressed clusters: deflate without a header, or zstd. What is read may be anything: output is bounded by the cluster, memory
 * by the window. Called by qcow2-map.c and by tools that convert.
 *
 * The format says "zlib" and no window. QEMU writes with one of 4 KiB, and reads a cluster into its place in one call, where zlib
 * lets a match reach back as far as there is output; so we write with deflate's 32 KiB, which is smaller, and what libdeflate
 * does, several times as fast as zlib.
 */
#include <errno.h>
#include <string.h>

#include <libdeflate.h>
#include <zlib.h>
#include <zstd.h>

#include "qcow2.h"

enum { DEFLATE_LEVEL = 4, INFLATE_WINDOW = -15, ZSTD_WINDOW_MAX = 24 };

/* Their tables are made once a thread. */
static GPrivate thread_compressor = G_PRIVATE_INIT((GDestroyNotify)libdeflate_free_compressor);
static GPrivate thread_decompressor = G_PRIVATE_INIT((GDestroyNotify)libdeflate_free_decompressor);

static struct libdeflate_compressor *compressor(void)
{
	if (!g_private_get(&thread_compressor))
		g_private_set(&thread_compressor, libdeflate_alloc_compressor(DEFLATE_LEVEL));
	return g_private_get(&thread_compressor);
}

static struct libdeflate_decompressor *decompressor(void)
{
	if (!g_private_get(&thread_decompressor))
		g_private_set(&thread_decompressor, libdeflate_alloc_decompressor());
	return g_private_get(&thread_decompressor);
}

/* Streams that go on behind the cluster, or end in the middle of a symbol when it is full: QEMU reads them. */
static int inflate_slowly(const void *src, size_t src_len, void *dst, size_t dst_len)
{
	z_stream z = {.next_in = (Bytef *)src, .avail_in = src_len, .next_out = dst, .avail_out = dst_len};

	if (inflateInit2(&z, INFLATE_WINDOW) != Z_OK)
		return -ENOMEM;
	inflate(&z, Z_FINISH);
	inflateEnd(&z);
	return z.avail_out ? -EIO : 0;
}

static int inflate_zlib(const void *src, size_t src_len, void *dst, size_t dst_len)
{
	struct libdeflate_decompressor *d = decompressor();

	if (d && libdeflate_deflate_decompress(d, src, src_len, dst, dst_len, NULL) == LIBDEFLATE_SUCCESS)
		return 0;
	return inflate_slowly(src, src_len, dst, dst_len);
}

static int inflate_zstd(const void *src, size_t src_len, void *dst, size_t dst_len)
{
	ZSTD_DCtx *d = ZSTD_createDCtx();
	ZSTD_inBuffer in = {src, src_len, 0};
	ZSTD_outBuffer out = {dst, dst_len, 0};

	if (!d)
		return -ENOMEM;
	ZSTD_DCtx_setParameter(d, ZSTD_d_windowLogMax, ZSTD_WINDOW_MAX);
	while (out.pos < out.size) {
		size_t before = in.pos + out.pos, r = ZSTD_decompressStream(d, &out, &in);

		if (ZSTD_isError(r) || before == in.pos + out.pos)
			break;
	}
	ZSTD_freeDCtx(d);
	return out.pos < out.size ? -EIO : 0;
}

int qcow2_inflate(const struct qcow2 *s, const void *src, size_t src_len, void *dst, size_t dst_len)
{
	return (s->zstd ? inflate_zstd : inflate_zlib)(src, src_len, dst, dst_len);
}

/* The length, or 0 when it does not become shorter than dst_len. */
static size_t deflate_zlib(const void *src, size_t src_len, void *dst, size_t dst_len)
{
	struct libdeflate_compressor *c = compressor();

	return c ? libdeflate_deflate_compress(c, src, src_len, dst, dst_len) : 0;
}

static size_t deflate_zstd(const void *src, size_t src_len, void *dst, size_t dst_len)
{
	size_t len = ZSTD_compress(dst, dst_len, src, src_len, ZSTD_CLEVEL_DEFAULT);

	return ZSTD_isError(len) ? 0 : len;
}

/* Takes room for the bytes; with the lock. */
static int take_room(struct qcow2 *s, uint64_t offset, size_t len, struct qcow2_busy *busy, uint64_t *ret_at)
{
	uint64_t cluster = qcow2_cluster(s, offset), max = 1ULL << MIN(62 - (s->cluster_bits - 8), 56);
	int res = qcow2_will_write(s);

	if (res < 0)
		return res;
	qcow2_busy_wait(s, cluster, cluster);
	res = qcow2_l2_prepare(s, offset);
	if (res == 0)
		res = qcow2_alloc_bytes(s, len, ret_at);
	if (res == 0 && *ret_at > max - s->cluster_size) {
		qcow2_release(s, *ret_at, len);
		res = -EFBIG;
	}
	if (res == 0)
		qcow2_busy_begin(s, busy, cluster, cluster);
	return res;
}

static int link_packed(struct qcow2 *s, uint64_t offset, uint64_t at, size_t len)
{
	struct qcow2_entry old, e = {0};
	uint64_t sectors = ((at + len - 1) >> 9) - (at >> 9);
	int res = qcow2_l2_get(s, offset, &old);

	e.word = QCOW2_COMPRESSED | at | sectors << (62 - (s->cluster_bits - 8));
	if (res == 0)
		res = qcow2_l2_set(s, offset, &e);
	if (res == 0)
		qcow2_entry_gone(s, &old, false);
	return res;
}

int qcow2_write_packed(struct image *img, uint64_t offset, const void *packed, uint64_t len)
{
	struct qcow2 *s = qcow2_state(img);
	struct qcow2_busy busy;
	uint64_t at;
	int res;

	if (!qcow2_aligned(s, offset) || !len || len >= s->cluster_size || qcow2_has_data_file(s))
		return -EINVAL;
	g_mutex_lock(&s->lock);
	res = take_room(s, offset, len, &busy, &at);
	g_mutex_unlock(&s->lock);
	if (res < 0)
		return res;
	res = qcow2_pwrite(s, at, packed, len);
	g_mutex_lock(&s->lock);
	if (res == 0)
		res = link_packed(s, offset, at, len);
	else
		qcow2_release(s, at, len);
	qcow2_busy_end(s, &busy);
	if (res == 0)
		res = qcow2_settle(s);
	g_mutex_unlock(&s->lock);
	return res;
}

/* What is shorter than a cluster ends with zeroes. */
int qcow2_compress(struct image *img, const void *buf, uint64_t len, void *out, uint64_t *ret_len)
{
	struct qcow2 *s = qcow2_state(img);
	g_autofree uint8_t *whole = NULL;

	if (qcow2_has_data_file(s))
		return -ENOTSUP;
	if (len > s->cluster_size)
		return -EINVAL;
	if (len < s->cluster_size) {
		whole = g_malloc0(s->cluster_size);
		memcpy(whole, buf, len);
		buf = whole;
	}
	*ret_len = (s->zstd ? deflate_zstd : deflate_zlib)(buf, s->cluster_size, out, s->cluster_size - 1);
	return 0;
}

int qcow2_write_compressed(struct image *img, uint64_t offset, const void *buf, uint64_t len)
{
	struct qcow2 *s = qcow2_state(img);
	g_autofree uint8_t *packed = g_malloc(s->cluster_size);
	uint64_t packed_len;
	int res;

	if (!qcow2_aligned(s, offset) || (len < s->cluster_size && offset + len < img->size))
		return -EINVAL;
	res = qcow2_compress(img, buf, len, packed, &packed_len);
	if (res < 0)
		return res;
	return packed_len ? qcow2_write_packed(img, offset, packed, packed_len) : qcow2_write(img, offset, buf, len);
}
