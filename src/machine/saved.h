/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A whole machine as bytes: what it is, its memory, its state (docs/saved-state.md has the format). A saver writes it, to a
 * stream (socket, pipe) or to a file that can be mapped; a loader reads it into a machine of the same configuration. Bytes that
 * are loaded are hostile.
 *
 * Threads: new and free, and what is said so, in the main thread; all else in any one other thread, which may wait for the
 * descriptor. Descriptors stay the caller's; a stream's are made non-blocking.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct machine;
struct saver;
struct loader;

enum saved_form { SAVED_STREAM, SAVED_FILE };

/* How far it is; read by any thread at any time. */
struct saved_counts {
	uint64_t total;		/* bytes of memory in all */
	uint64_t remaining;	/* bytes that are known to have to go */
	uint64_t sent;		/* bytes through the descriptor */
	uint64_t normal, zero;	/* pages that went as they are; that were told to be zeroes */
	uint64_t rounds;	/* how often the log of writes was taken */
	uint64_t dirty_rate;	/* pages a second that were written, in the last round */
	uint64_t bytes_a_second; /* as measured; 0: not yet */
};

/* Opens what saving takes privileges for, before the process gives those up. Main thread, any number of times. */
void saved_keep_open(void);

/* Main thread. Memory changes no more unless saver_log() says that it may. */
struct saver *saver_new(struct machine *m, int fd, enum saved_form form);
void saver_set_stream(struct saver *s, int fd); /* of a STREAM that was made with -1, before saver_begin() */
void saver_free(struct saver *s); /* NULL is fine */
/* From now on the machine may run until the pause before saver_finish(). Main thread. */
bool saver_log(struct saver *s, GError **error);
/* Bytes a second, 0: no limit. Any thread. */
void saver_set_rate(struct saver *s, uint64_t rate);
void saver_cancel(struct saver *s); /* any thread: what goes on fails soon */
void saver_counts(struct saver *s, struct saved_counts *ret);

/* Who it is, first of all. */
bool saver_begin(struct saver *s, GError **error);
/* What was written since the last round; all of it the first time. What is due then is counts.remaining. */
bool saver_round(struct saver *s, GError **error);
/* The machine is paused (again): the last round without a limit, then its state (machine_save()'s), and whether it ran. */
bool saver_finish(struct saver *s, const GByteArray *state, bool running, GError **error);
/* Of that the last round alone: memory may change again, and saver_finish_sealed() is the end. */
bool saver_last(struct saver *s, GError **error);

/*
 * To a file, of memory as it is at one moment, which the machine leaves at once: pages are write-protected (userfaultfd(2)), and
 * one that the guest wants to write is saved first. In the place of log and rounds.
 *
 * saver_register(): false when this host cannot do it, or this memory (a loaded file's); main thread. saver_protect(): all pages;
 * while the machine still runs, those that are written are noted. saver_serve() does what faults there are until saver_seal() is
 * called, and from then on it saves; it returns when all is saved. saver_seal(): this is the moment. Main thread, paused.
 */
bool saver_register(struct saver *s, GError **error);
bool saver_protect(struct saver *s, GError **error);
bool saver_seal(struct saver *s, GError **error);
bool saver_serve(struct saver *s, GError **error);
/* The end of that. */
bool saver_finish_sealed(struct saver *s, const GByteArray *state, bool running, GError **error);

/* Main thread. The machine has not run. */
struct loader *loader_new(struct machine *m, int fd);
void loader_free(struct loader *l); /* NULL is fine */
void loader_cancel(struct loader *l); /* any thread */
/*
 * Memory, and the state's bytes. What the file is: a stream is read to its end; a file's memory is mapped, which takes no time,
 * and the file has to stay as it is for the machine's life.
 */
bool loader_read(struct loader *l, GError **error);
/* All was read: vCPUs, chips, devices. ret_running: it ran when it was saved. Main thread. */
bool loader_finish(struct loader *l, bool *ret_running, GError **error);
bool loader_mapped(const struct loader *l); /* memory is the file's */
