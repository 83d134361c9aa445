/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checking an image: references are counted (qcow2-count.c) and compared with the reference counts, then the "copied" flags with
 * both. Leaks are clusters that are counted too high; everything else is corruption. After a repair everything is looked at once
 * more, so what is reported as left is what is there. Lines are worded as qemu-img check words them.
 */
#include <errno.h>
#include <string.h>

#include "error.h"
#include "qcow2.h"

/* ---- reference counts ---- */

/* The refcount structures themselves; where they cannot be right they are made anew. */
static void count_refcounts(struct qcow2_count *c)
{
	struct qcow2 *s = c->s;

	if (!s->reftable_size || !qcow2_count_range(c, s->reftable_offset, s->reftable_size * 8ULL, "refcount table"))
		c->rebuild = true;
	for (uint32_t i = 0; i < s->reftable_size && !c->rebuild; i++) {
		uint64_t at = s->reftable[i] & QCOW2_REFBLOCK;

		if (!s->reftable[i])
			continue;
		if (s->reftable[i] != at || !qcow2_aligned(s, at) || at > QCOW2_OFFSET) {
			qcow2_count_say(c, &c->ret->corruptions,
					"ERROR refcount block %u is not cluster aligned; refcount table entry "
					"corrupted",
					i);
			c->rebuild = true;
		} else if (!qcow2_count_range(c, at, s->cluster_size, "refcount block")) {
			c->rebuild = true;
		} else if (qcow2_count_get(c, qcow2_cluster(s, at)) != 1) {
			qcow2_count_say(c, &c->ret->corruptions,
					"ERROR refcount block %u at %#" PRIx64 " is used for something else", i, at);
			c->rebuild = true;
		}
	}
}

static int repair_count(struct qcow2_count *c, uint64_t cluster, uint64_t have, uint64_t want)
{
	unsigned needs = have > want ? IMAGE_FIX_LEAKS : IMAGE_FIX_ERRORS;

	return c->fix & needs ? qcow2_refcount_set(c->s, cluster, want) : 0;
}

static int compare(struct qcow2_count *c, uint64_t cluster, uint64_t have, uint64_t want)
{
	if (have)
		c->ret->end_offset = MAX(c->ret->end_offset, (cluster + 1) << c->s->cluster_bits);
	if (have == want)
		return 0;
	qcow2_count_say(c, have > want ? &c->ret->leaks : &c->ret->corruptions,
			"%s cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64, have > want ? "Leaked" : "ERROR",
			cluster, have, want);
	return repair_count(c, cluster, have, want);
}

/* Flags that agree with neither count (see flag_is_right()). */
static bool flags_wrong(uint32_t word, uint64_t have)
{
	uint32_t count = word & QCOW2_COUNT_MASK;

	return (word & QCOW2_COUNT_COPIED && have != 1 && count != 1) || (word & QCOW2_COUNT_SHARED && have == 1 && count == 1);
}

static int compare_one(struct qcow2_count *c, uint64_t cluster, uint64_t have, uint32_t word)
{
	uint64_t want = word & QCOW2_COUNT_MASK;

	c->doubt |= have != want || flags_wrong(word, have);
	return have || want ? compare(c, cluster, have, want) : 0;
}

/* In nearly all images a cluster that is used has one reference and the flag. */
static bool all_plain(const uint8_t *counts, const uint32_t *words)
{
	uint32_t other = 0;

	for (unsigned i = 0; i < QCOW2_COUNT_CHUNK; i++) {
		uint32_t have = (uint32_t)counts[2 * i] << 8 | counts[2 * i + 1];

		other |= (have ^ (words[i] & ~QCOW2_COUNT_COPIED)) | (have & ~1u);
	}
	return !other;
}

static int compare_chunk(struct qcow2_count *c, uint64_t first, const uint8_t *block, uint64_t i)
{
	static const uint32_t none[QCOW2_COUNT_CHUNK];
	static const uint8_t zeroes[QCOW2_COUNT_CHUNK * 8];
	unsigned order = c->s->refcount_order;
	const uint8_t *counts = block + (i << order) / 8;
	const uint32_t *words = qcow2_count_chunk(c, first + i);
	int res = 0;

	if (!words && memcmp(counts, zeroes, ((size_t)QCOW2_COUNT_CHUNK << order) / 8) == 0)
		return 0;
	words = words ? words : none;
	if (order == 4 && all_plain(counts, words)) {
		unsigned last = QCOW2_COUNT_CHUNK;

		while (last && !words[last - 1])
			last--;
		c->ret->end_offset = MAX(c->ret->end_offset, (first + i + last) << c->s->cluster_bits);
		return 0;
	}
	for (unsigned k = 0; k < QCOW2_COUNT_CHUNK && res == 0; k++)
		res = compare_one(c, first + i + k, qcow2_refcount_entry(block, i + k, order), words[k]);
	return res;
}

static int compare_block(struct qcow2_count *c, uint64_t index)
{
	struct qcow2 *s = c->s;
	uint64_t first = index << s->refblock_bits, n = 1ULL << s->refblock_bits;
	g_autofree uint8_t *block = g_malloc(s->cluster_size);
	int res = qcow2_pread(s, s->reftable[index], block, s->cluster_size);

	for (uint64_t i = 0; i < n && res == 0; i += QCOW2_COUNT_CHUNK)
		res = compare_chunk(c, first, block, i);
	return res;
}

/* Clusters that are referred to, and no block counts them. */
static void compare_uncounted(struct qcow2_count *c, uint64_t cluster, uint64_t count)
{
	struct qcow2 *s = c->s;
	uint64_t index = cluster >> s->refblock_bits;

	if (index < s->reftable_size && s->reftable[index] & QCOW2_REFBLOCK)
		return;
	qcow2_count_say(c, &c->ret->corruptions, "ERROR cluster %" PRIu64 " refcount=0 reference=%" PRIu64, cluster, count);
	c->rebuild = true;
}

static int compare_all(struct qcow2_count *c)
{
	struct qcow2 *s = c->s;
	int res = 0;

	for (uint64_t i = 0; i < s->reftable_size && res == 0; i++)
		if (s->reftable[i] & QCOW2_REFBLOCK)
			res = compare_block(c, i);
	qcow2_count_each(c, compare_uncounted);
	return res;
}

/* ---- "copied" flags ---- */

/* A crash between the steps of a snapshot may leave flags that agree with what refers to a cluster while its count is too high.
 */
static int flag_is_right(struct qcow2_count *c, uint64_t at, bool flag, uint64_t *ret_have, bool *ret)
{
	uint64_t cluster = qcow2_cluster(c->s, at), want = qcow2_count_get(c, cluster);
	int res = qcow2_refcount_get(c->s, cluster, ret_have);

	*ret = flag == (*ret_have == 1) || flag == (want == 1);
	return res;
}

static int check_table_flags(struct qcow2_count *c, uint64_t table)
{
	struct qcow2 *s = c->s;
	int res = 0;

	for (uint64_t at = 0; at < s->cluster_size && res == 0; at += s->l2_cache.slice_size) {
		uint8_t *slice;

		res = qcow2_cache_get(&s->l2_cache, table + at, &slice);
		for (uint32_t i = 0; i < s->l2_cache.slice_size && res == 0; i += s->entry_size) {
			uint64_t word = get_be64(slice + i), have;
			bool right;

			if (word & QCOW2_COMPRESSED || !(word & QCOW2_OFFSET) || qcow2_has_data_file(s))
				continue;
			res = flag_is_right(c, word & QCOW2_OFFSET, word & QCOW2_COPIED, &have, &right);
			if (res < 0 || right)
				continue;
			qcow2_count_say(c, &c->ret->corruptions,
					"ERROR OFLAG_COPIED data cluster: l2_entry=%" PRIx64 " refcount=%" PRIu64, word, have);
			if (!(c->fix & IMAGE_FIX_ERRORS))
				continue;
			put_be64(slice + i, (word & ~QCOW2_COPIED) | (have == 1 ? QCOW2_COPIED : 0));
			qcow2_cache_dirty(&s->l2_cache, slice);
		}
	}
	return res;
}

/* Data's flags were seen with the counts; what is wrong with which entry takes another look. */
static int check_flags(struct qcow2_count *c)
{
	struct qcow2 *s = c->s;
	int res = 0;

	for (uint32_t i = 0; i < s->l1_size && res == 0; i++) {
		uint64_t table = s->l1[i] & QCOW2_OFFSET, have;
		bool right;

		if (!table || !qcow2_aligned(s, table) || qcow2_cluster(s, table) >= c->end)
			continue;
		res = flag_is_right(c, table, s->l1[i] & QCOW2_COPIED, &have, &right);
		if (res == 0 && !right) {
			qcow2_count_say(c, &c->ret->corruptions,
					"ERROR OFLAG_COPIED L2 cluster: l1_index=%u l1_entry=%" PRIx64 " refcount=%" PRIu64, i,
					s->l1[i], have);
			if (c->fix & IMAGE_FIX_ERRORS)
				qcow2_l1_set(s, i, table | (have == 1 ? QCOW2_COPIED : 0));
		}
		if (res == 0 && c->doubt)
			res = check_table_flags(c, table);
	}
	return res;
}

/* ---- all of it ---- */

static int run_steps(struct qcow2_count *c)
{
	int res = qcow2_count_all(c);

	if (res < 0)
		return res;
	if (c->s->incompatible & QCOW2_CORRUPT)
		qcow2_count_say(c, &c->ret->corruptions, "ERROR the image is marked as corrupt");
	count_refcounts(c);
	if (!c->rebuild)
		res = compare_all(c);
	if (res == 0 && c->rebuild && c->fix & IMAGE_FIX_ERRORS)
		res = qcow2_rebuild(c);
	c->doubt |= c->rebuild || c->ret->corruptions || c->ret->leaks;
	/* Flags are nothing to go by while counts cannot be read. */
	return res < 0 || (c->rebuild && !(c->fix & IMAGE_FIX_ERRORS)) ? res : check_flags(c);
}

static int run_once(struct qcow2 *s, unsigned fix, image_report *report, void *opaque, struct image_check *ret)
{
	struct qcow2_count c = {.fix = fix, .report = report, .opaque = opaque, .ret = ret};
	int res;

	*ret = (struct image_check){.total_clusters = qcow2_clusters(s, s->img->size)};
	qcow2_count_init(&c, s);
	res = run_steps(&c);
	qcow2_count_clear(&c);
	return res;
}

static int store_repairs(struct qcow2 *s)
{
	int res = qcow2_write_refcounts(s);

	if (res == 0)
		res = qcow2_flush_locked(s);
	if (res == 0)
		res = qcow2_write_refcounts(s);
	return res < 0 ? res : qcow2_sync(s);
}

/* Nothing is wrong any more: so says the header. */
static int clear_marks(struct qcow2 *s, unsigned fix, const struct image_check *ret)
{
	int res;

	if (!(s->incompatible & (QCOW2_DIRTY | QCOW2_CORRUPT)) || ret->corruptions || ret->check_errors ||
	    !(fix & IMAGE_FIX_ERRORS))
		return 0;
	s->incompatible &= ~(uint64_t)(QCOW2_DIRTY | QCOW2_CORRUPT);
	res = qcow2_header_features(s);
	return res < 0 ? res : qcow2_sync(s);
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static int check_locked(struct qcow2 *s, unsigned fix, image_report *report, void *opaque, struct image_check *ret)
{
	struct image_check first;
	int res = s->img->readonly ? 0 : store_repairs(s);

	if (res == 0)
		res = run_once(s, fix, report, opaque, ret);
	if (res < 0 || !fix)
		return res;
	first = *ret;
	first.corruptions -= !!(s->incompatible & QCOW2_CORRUPT);
	res = store_repairs(s);
	if (res == 0 && (first.corruptions || first.leaks))
		res = run_once(s, 0, NULL, NULL, ret);
	ret->corruptions -= MIN(ret->corruptions, !!(s->incompatible & QCOW2_CORRUPT));
	ret->corruptions_fixed = less(first.corruptions, ret->corruptions);
	ret->leaks_fixed = less(first.leaks, ret->leaks);
	return res < 0 ? res : clear_marks(s, fix, ret);
}

bool qcow2_check(struct image *img, unsigned fix, image_report *report, void *opaque, struct image_check *ret, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	bool was_checking = s->checking;
	int res;

	if (fix && img->readonly)
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s' is open for reading only and cannot be repaired", img->path);
	g_mutex_lock(&s->lock);
	qcow2_wait_all(s);
	s->checking = true;
	res = check_locked(s, fix, report, opaque, ret);
	s->checking = was_checking;
	g_mutex_unlock(&s->lock);
	return res == 0 || kv_fail_errno(error, -res, "disk '%s': cannot be checked", img->path);
}
