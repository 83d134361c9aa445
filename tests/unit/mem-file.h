/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An image file in memory that remembers what was written to it, so that a crash can be played: everything up to a flush is
 * there, of what came later any part. For tests of formats.
 */
#pragma once
#include "format.h"

enum mem_op { MEM_WRITE, MEM_ZEROES, MEM_TRUNCATE, MEM_FLUSH };

struct mem_record {
	enum mem_op op;
	uint64_t offset, len; /* TRUNCATE: len */
	uint64_t when;	      /* mem_now(): in which order, among all files */
	uint8_t *bytes;
};

struct mem_file {
	struct image_file base;
	GMutex lock;
	GByteArray *bytes;
	GArray *log; /* struct mem_record; NULL: nothing is noted */
	int fail_in; /* > 0: this many writes from now one fails */
	int fail_reads_in; /* the same of reads */
	int fail_code; /* how: a negative errno; 0: -EIO */
};

struct mem_file *mem_file_new(const void *bytes, size_t len);
void mem_file_free(struct mem_file *f);
void mem_file_record(struct mem_file *f); /* from now on */
/* The number that the next record of any file gets, and how many records of a file are before that. */
uint64_t mem_now(void);
unsigned mem_file_records(const struct mem_file *f, uint64_t before);
/* What may be there after a crash behind n records of `log`, with the bytes that were there before them. */
struct mem_file *mem_file_crash(const struct mem_file *before, const GArray *log, unsigned n, GRand *rand);

GVariant *mem_parse(const char *options); /* the members of an a{sv} as text */
/* The image over a file, opened by its format alone, without image.c; NULL with the error. The file outlives it. */
struct image *mem_image_open(struct mem_file *f, const struct image_format *format, const char *options, GError **error);
void mem_image_end(struct image *img);
