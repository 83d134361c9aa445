/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A chip's timer: a callback in the main context at a moment of CLOCK_MONOTONIC, more exact than GLib's milliseconds. Setting it
 * is possible from any thread; making and freeing it is the main thread's. And a chip's counter, which follows that clock; its
 * owner has a lock.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct chip_timer;

#define CHIP_TIMER_NEVER UINT64_MAX

uint64_t chip_timer_now(void); /* ns */
/* NULL with an error when the host has no more file descriptors. */
struct chip_timer *chip_timer_new(GMainContext *context, void (*fire)(void *opaque), void *opaque, GError **error);
void chip_timer_free(struct chip_timer *t); /* NULL is fine */
/* Once, at `when` ns, in place of what was set before; what is past fires soon. */
void chip_timer_set(struct chip_timer *t, uint64_t when);

/* Zeroed but for hz, and stopped, it stands at 0. Counts are modulo 2^64. */
struct chip_counter {
	uint64_t hz, offset;
	uint64_t value; /* while it is stopped; the saved state has it */
	bool stopped;
};

uint64_t chip_counter_read(const struct chip_counter *c);
void chip_counter_write(struct chip_counter *c, uint64_t value);
void chip_counter_stop(struct chip_counter *c);
void chip_counter_start(struct chip_counter *c);
/* value is what it stands at now, and it runs on. */
void chip_counter_snapshot(struct chip_counter *c);
/* How many nanoseconds `ticks` take, at most an hour. */
uint64_t chip_counter_ns(const struct chip_counter *c, uint64_t ticks);
