/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See throttle.h. Called by disk.c, under its lock, and by tests, which have a time of their own. */
#include "throttle.h"

#include "error.h"

#define VALUE_MAX 1000000000000000ull
#define NS_PER_S  1e9

enum {
	TENTHS = 10, /* a bucket has room for a tenth of a second */
};

static bool is_ops(unsigned kind)
{
	return kind >= THROTTLE_IOPS;
}

static bool split(const struct throttle_limit *l)
{
	return (l[0].avg && (l[1].avg || l[2].avg)) || (l[0].max && (l[1].max || l[2].max));
}

/* In QEMU's words (util/throttle.c). */
static bool check_limit(const struct throttle_limit *l, GError **error)
{
	if (l->avg > VALUE_MAX || l->max > VALUE_MAX)
		return kv_fail(error, KV_ERROR_USAGE, "bps/iops/max values must be within [0, %llu]", VALUE_MAX);
	if (l->length > 1 && !l->max)
		return kv_fail(error, KV_ERROR_USAGE, "burst length set without burst rate");
	if (l->length > 1 && l->length > VALUE_MAX / l->max)
		return kv_fail(error, KV_ERROR_USAGE, "burst length too high for this burst rate");
	if (l->max && !l->avg)
		return kv_fail(error, KV_ERROR_USAGE, "bps_max/iops_max require corresponding bps/iops values");
	if (l->max && l->max < l->avg)
		return kv_fail(error, KV_ERROR_USAGE, "bps_max/iops_max cannot be lower than bps/iops");
	return true;
}

bool throttle_check(const struct throttle_config *c, GError **error)
{
	if (split(&c->limit[THROTTLE_BPS]) || split(&c->limit[THROTTLE_IOPS]))
		return kv_fail(error, KV_ERROR_USAGE,
			       "bps/iops/max total values and read/write values cannot be used at the same time");
	if (c->iops_size && !c->limit[THROTTLE_IOPS].avg && !c->limit[THROTTLE_IOPS_READ].avg &&
	    !c->limit[THROTTLE_IOPS_WRITE].avg)
		return kv_fail(error, KV_ERROR_USAGE, "iops size requires an iops value to be set");
	for (unsigned i = 0; i < THROTTLE_KINDS; i++)
		if (!check_limit(&c->limit[i], error))
			return false;
	return true;
}

bool throttle_limits(const struct throttle_config *c)
{
	for (unsigned i = 0; i < THROTTLE_KINDS; i++)
		if (c->limit[i].avg)
			return true;
	return false;
}

void throttle_set(struct throttle *t, const struct throttle_config *c, int64_t now_ns)
{
	*t = (struct throttle){.config = *c, .last_ns = now_ns};
}

static bool concerns(unsigned kind, bool write)
{
	return kind == THROTTLE_BPS || kind == THROTTLE_IOPS || kind == (write ? THROTTLE_BPS_WRITE : THROTTLE_BPS_READ) ||
	       kind == (write ? THROTTLE_IOPS_WRITE : THROTTLE_IOPS_READ);
}

static void leak(struct throttle *t, int64_t now_ns)
{
	double s = (now_ns - t->last_ns) / NS_PER_S;

	if (now_ns <= t->last_ns)
		return;
	t->last_ns = now_ns;
	for (unsigned i = 0; i < THROTTLE_KINDS; i++) {
		t->level[i] = MAX(t->level[i] - t->config.limit[i].avg * s, 0);
		t->burst_level[i] = MAX(t->burst_level[i] - t->config.limit[i].max * s, 0);
	}
}

/* Seconds until a bucket is no longer overfull. */
static double bucket_wait(const struct throttle *t, unsigned kind)
{
	const struct throttle_limit *l = &t->config.limit[kind];
	double room = l->max ? (double)l->max * MAX(l->length, 1) : (double)l->avg / TENTHS;

	if (!l->avg)
		return 0;
	if (t->level[kind] > room)
		return (t->level[kind] - room) / l->avg;
	if (l->length > 1 && t->burst_level[kind] > (double)l->max / TENTHS)
		return (t->burst_level[kind] - (double)l->max / TENTHS) / l->max;
	return 0;
}

int64_t throttle_wait(struct throttle *t, bool write, int64_t now_ns)
{
	double s = 0;

	leak(t, now_ns);
	for (unsigned i = 0; i < THROTTLE_KINDS; i++)
		if (concerns(i, write))
			s = MAX(s, bucket_wait(t, i));
	/* Rounded up, lest somebody waits for less than a nanosecond again and again. */
	return s > 0 ? (int64_t)MIN(s * NS_PER_S, (double)(INT64_MAX / 4)) + 1 : 0;
}

void throttle_account(struct throttle *t, bool write, uint64_t bytes)
{
	double ops = t->config.iops_size && bytes > t->config.iops_size ? (double)bytes / t->config.iops_size : 1;

	for (unsigned i = 0; i < THROTTLE_KINDS; i++) {
		double units = is_ops(i) ? ops : (double)bytes;

		if (!concerns(i, write))
			continue;
		t->level[i] += units;
		t->burst_level[i] += units;
	}
}
