/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A thread that copies between a file, which may make it wait, and one end of a socket pair, whose other end a stream has.
 * Called by stream.c, with the state lock held.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct pump;

/*
 * fd is taken. to_file: what comes in by *ret_fd goes to the file. length 0: no limit. framed: what goes through *ret_fd are
 * frames: a struct pump_frame, and behind one of data its bytes.
 */
struct pump_frame {
	guint64 hole; /* 0: data */
	guint64 len;
};
struct pump *pump_new(int fd, guint64 offset, guint64 length, bool to_file, bool framed, int *ret_fd, GError **error);
/* ended(data) and then done(done_data, what failed) run in the main thread when the copy is over. */
void pump_start(struct pump *p, void (*ended)(void *data), void *data, void (*done)(void *data, const GError *error),
		void *done_data);
bool pump_done(const struct pump *p, GError **error); /* true: it is over; error: what failed, or as it was */
void pump_unref(struct pump *p);
