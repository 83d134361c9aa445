/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chains of images, guests that write to them all the time, and what jobs tell: for the tests of jobs and of live images. */
#pragma once
#include "image.h"
#include "job.h"

/* ---- chains ---- */

enum { CHAIN_MAX = 5 };
struct chain_spec {
	const char *format[CHAIN_MAX], *options[CHAIN_MAX]; /* lowest first */
	uint64_t size[CHAIN_MAX];
	unsigned n;
};
struct chain {
	struct image *layer[CHAIN_MAX]; /* lowest first; [n - 1] is open for writing */
	unsigned n;
	char *path[CHAIN_MAX];
};
/* Files with random contents. */
void chain_make(struct chain *c, const struct chain_spec *spec, GRand *rand);
void chain_close(struct chain *c);
/* A file of its own for a job's target; closed by image_close(). */
struct image *new_image(const char *name, const char *format, const char *options, uint64_t size);
struct image *open_image(const char *path, const char *format, bool readonly);
uint8_t *contents(struct image *img); /* g_free() */
void expect_contents(struct image *img, const uint8_t *bytes, uint64_t len);
void expect_clean(struct image *img, bool leaks); /* qcow2: its check finds nothing */
void scribble(struct image *img, GRand *rand, unsigned n);

/* ---- a guest: a thread with a queue that compares what it reads with what it wrote ---- */

struct guest {
	struct image_queue *q;
	GMainContext *context;
	GThread *thread;
	GRand *rand;
	uint8_t *model;
	uint64_t size;
	int stop;	  /* atomic */
	unsigned pause_us; /* between batches; atomic */
	unsigned rounds;  /* atomic; batches that are over */
	bool errors_are_fine;
	struct guest *next;
};
struct guest *guest_start(struct image *img, unsigned seed);
void guest_wait(struct guest *g, unsigned rounds); /* until it has done so many more; runs the main loop meanwhile */
void guest_stop(struct guest *g);		   /* and all that it wrote is there */

/* ---- jobs ---- */

extern const struct job_owner rig_owner; /* moves guests; compares what they move between */
extern unsigned rig_pivots;
void events_begin(void); /* a listener: what came is in events_text() */
char *events_take(void); /* "created running ready READY ..."; g_free() */
/* Runs the main loop until the job has that status (NULL: is gone). */
void job_wait(const char *id, enum job_status status);
