/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The form of a saved machine (docs/saved-state.md), between saver.c, saver-cow.c and loader.c: header, records of a stream,
 * places in a file. All integers are little endian.
 */
#pragma once
#include "mem.h"
#include "saved.h"

#define SAVED_PAGE	  4096u
#define SAVED_HEADER	  (64u << 10) /* what a file has before memory */
#define SAVED_FIXED	  64u	      /* of it; then the description */
#define SAVED_DESCRIPTION (SAVED_HEADER - SAVED_FIXED)
#define SAVED_RUN	  256u	      /* pages in one record at most */
#define SAVED_STATE_MAX	  (1u << 30) /* bytes */

enum saved_record_type { SAVED_PAGES = 1, SAVED_ZEROES, SAVED_STATE, SAVED_END };

/* PAGES, ZEROES: of an area; STATE: area is 1 when the machine ran, count bytes follow; END: nothing. 24 bytes. */
struct saved_record {
	uint32_t type, area;
	uint64_t first, count; /* pages */
};

/* The fixed part, behind magic, version, form, length and checksum of the description. */
struct saved_header {
	enum saved_form form;
	uint32_t description;	      /* bytes */
	uint64_t state_at, state_len; /* FILE */
	bool running;		      /* FILE */
};

void saved_put_record(uint8_t to[24], const struct saved_record *r);
void saved_get_record(const uint8_t from[24], struct saved_record *ret);
/* SAVED_FIXED bytes. */
void saved_put_header(uint8_t *to, const struct saved_header *h, const char *description);
bool saved_get_header(const uint8_t *from, struct saved_header *ret, GError **error);
/* text, h->description bytes of it, is what this machine is; else says what is different. */
bool saved_check(const uint8_t *header, const char *text, size_t len, const char *mine, GError **error);

/* What a machine is, in lines; g_free. */
char *saved_describe(struct machine *m);

/* Where an area is in a file. */
uint64_t saved_area_at(const struct mem_area *areas, unsigned n);

struct saver {
	struct machine *m; /* NULL in tests */
	struct guest_mem *mem;
	char *description;
	int fd;
	enum saved_form form;
	unsigned n_areas;
	struct mem_area area[MEM_AREAS];
	uint64_t *due[MEM_AREAS]; /* a bit a page */
	bool logs, again; /* again: not the first round */
	bool no_limit;
	int cancelled;	/* atomic */
	uint64_t rate;	/* atomic */
	struct saved_counts counts; /* each atomic */
	int64_t window, round_at; /* microseconds */
	uint64_t window_bytes;
	uint64_t busy_us, busy_bytes; /* of which the speed is made */
	struct cow *cow; /* saver-cow.c */
};

struct saver *saver_new_for(struct guest_mem *mem, const char *description, int fd, enum saved_form form);
bool saver_cancelled(struct saver *s, GError **error); /* false and the error when it is */
/* All bytes; at: in a file. */
bool saver_write(struct saver *s, const void *data, size_t len, uint64_t at, GError **error);
/* n pages, of which each that is zeroes is told so, or left out where the file has nothing yet. */
bool saver_put(struct saver *s, unsigned area, uint64_t first, const uint8_t *pages, uint64_t n, bool fresh, GError **error);
bool saver_end_file(struct saver *s, const GByteArray *state, bool running, GError **error);
void saver_add(uint64_t *count, uint64_t n);
void cow_free(struct cow *c);
void cow_keep_open(void); /* saved_keep_open() */

struct loader {
	struct machine *m;
	struct guest_mem *mem;
	char *description;
	int fd;
	unsigned n_areas;
	struct mem_area area[MEM_AREAS];
	int cancelled; /* atomic */
	GByteArray *state;
	bool running, complete, mapped;
};

struct loader *loader_new_for(struct guest_mem *mem, const char *description, int fd);
