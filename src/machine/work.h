/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a device does behind its registers: a vCPU's write asks for it, the main context does it, and requests to the device's
 * drive are counted, so that a pause and a reset can wait for their ends. For controllers that are not virtio's.
 *
 * Threads: work_kick() and work_busy() any; all else the main thread, in whose context run() and the ends of requests come.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct work {
	GSource *source;
	GMainContext *context;
	void (*run)(void *opaque);
	void (*hurry)(void *opaque); /* somebody waits for the requests under way: disk_hurry(); may be NULL */
	void *opaque;
	unsigned busy; /* requests under way; atomic */
	bool paused;
};

void work_init(struct work *w, GMainContext *context, void (*run)(void *opaque), void (*hurry)(void *opaque), void *opaque);
void work_destroy(struct work *w); /* waits for what is under way; run() is not called any more */
/* run() is called soon, unless it is paused: then with work_resume(). */
void work_kick(struct work *w);
void work_begin(struct work *w);
void work_end(struct work *w);
unsigned work_busy(const struct work *w);
/* Waits until nothing is under way; run() rests until work_resume(). */
void work_pause(struct work *w);
void work_resume(struct work *w);
