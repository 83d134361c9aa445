/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Limits of a drive's requests and bytes a second: leaky buckets with QEMU's numbers, so that the same limits feel the same
 * (its docs/throttle.txt). Each bucket leaks `avg` units a second; a request may go while no bucket of its kind is full.
 * A bucket holds a tenth of a second of avg, or, where bursts are allowed, `length` seconds of `max`.
 *
 * Time is the caller's, in nanoseconds that never go back. No locks: the caller's.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum throttle_kind {
	THROTTLE_BPS,
	THROTTLE_BPS_READ,
	THROTTLE_BPS_WRITE,
	THROTTLE_IOPS,
	THROTTLE_IOPS_READ,
	THROTTLE_IOPS_WRITE,
	THROTTLE_KINDS,
};

struct throttle_limit {
	uint64_t avg;	 /* units a second; 0: no limit */
	uint64_t max;	 /* units a second in a burst; 0: no bursts */
	uint64_t length; /* seconds a burst may last; 0 is 1 */
};

struct throttle_config {
	struct throttle_limit limit[THROTTLE_KINDS];
	uint64_t iops_size; /* bytes that count as one request, more as more; 0: a request is one */
};

struct throttle {
	struct throttle_config config;
	double level[THROTTLE_KINDS];	    /* units in the bucket */
	double burst_level[THROTTLE_KINDS]; /* likewise, of the second one that bursts of more than a second have */
	int64_t last_ns;
};

/* QEMU's rules: no limit of all beside one of reads or writes, no burst without or below its limit, 1e15 at most. */
bool throttle_check(const struct throttle_config *c, GError **error);
bool throttle_limits(const struct throttle_config *c); /* is there any limit? */
/* The buckets start empty. */
void throttle_set(struct throttle *t, const struct throttle_config *c, int64_t now_ns);
/* How long a request of this kind has to wait: 0, go (and account). */
int64_t throttle_wait(struct throttle *t, bool write, int64_t now_ns);
void throttle_account(struct throttle *t, bool write, uint64_t bytes);
