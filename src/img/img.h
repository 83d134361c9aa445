/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kv-img inside: what its commands (a file each, rows of img_commands[]) share. One process does one command in its main
 * thread, which alone prints; copies use threads (copy.c). Functions that return bool or a pointer without a GError have
 * told the user already what is wrong.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "format.h"
#include "image.h"

/* ---- the command line: main.c ---- */

/* Options without a letter; those with one have it as their key. */
enum img_key {
	IMG_OBJECT = 128,
	IMG_IMAGE_OPTS,
	IMG_TARGET_IMAGE_OPTS,
	IMG_OUTPUT,
	IMG_CHAIN,
	IMG_TARGET_IS_ZERO,
	IMG_SALVAGE,
	IMG_BITMAPS,
	IMG_SKIP_BROKEN,
	IMG_ADD,
	IMG_REMOVE,
	IMG_CLEAR,
	IMG_ENABLE,
	IMG_DISABLE,
	IMG_MERGE,
	IMG_START,
	IMG_LENGTH,
	IMG_SIZE_OF,
	IMG_SHRINK,
	IMG_PREALLOC,
	IMG_FORCE,
	IMG_FLUSH_INTERVAL,
	IMG_PATTERN,
	IMG_NO_DRAIN,
	IMG_CACHE_MODE,
	IMG_AIO,
	IMG_DISCARD,
	IMG_DETECT_ZEROES,
	IMG_TLS_CREDS,
	IMG_TLS_PSK,
	IMG_TLS_VERIFY,
	IMG_FORK,
	IMG_PID_FILE,
	IMG_KEYS,
};

struct img_option {
	int key;	  /* 0 ends a table */
	const char *name; /* long, or NULL */
	const char *arg;  /* what follows; NULL: nothing */
	const char *help; /* NULL: QEMU has it, and it is accepted or refused here; --help does not tell */
};

/* An option as it was given. */
struct img_given {
	int key;
	const char *value;
};

struct img_args {
	const struct img_command *command;
	const char *value[IMG_KEYS]; /* by key: the last one; "" where an option has no argument; NULL: not given */
	GString *o;		     /* all -o, with commas between them */
	GArray *given;		     /* struct img_given: all of them, in order */
	int n;			     /* what is no option */
	char **word;
};

struct img_command {
	const char *name, *usage, *help;
	const struct img_option *options;
	int (*run)(struct img_args *args); /* the exit status */
	bool size_last;			   /* the last word is no option though it begins with a dash */
};

extern const struct img_command *const img_commands[]; /* NULL-terminated */
extern const struct img_command img_amend, img_bench, img_bitmap, img_check, img_commit, img_compare, img_convert, img_create,
	img_dd, img_info, img_map, img_measure, img_rebase, img_resize, img_serve, img_snapshot;

/* What most commands have. */
/* clang-format off */
#define IMG_OPTION_COMMON \
	{ IMG_IMAGE_OPTS, "image-opts", NULL, "FILE is driver=FORMAT,file.filename=PATH" }, \
	{ IMG_OBJECT, "object", "DEF", NULL }
#define IMG_OPTION_FORMAT { 'f', NULL, "FORMAT", "the image's format; guessed when left out" }
#define IMG_OPTION_SHARE { 'U', "force-share", NULL, "take no locks: others may be writing" }
#define IMG_OPTION_QUIET { 'q', NULL, NULL, "print errors only" }
#define IMG_OPTION_PROGRESS { 'p', NULL, NULL, "show progress; without it SIGUSR1 prints it" }
#define IMG_OPTION_CACHE { 't', NULL, "CACHE", "writeback, none, writethrough, directsync, unsafe" }
#define IMG_OPTION_SRC_CACHE { 'T', NULL, "CACHE", "the same for what is read" }
#define IMG_OPTION_OUTPUT { IMG_OUTPUT, "output", "human|json", "how to print; human is the default" }
/* clang-format on */

static inline bool img_has(const struct img_args *args, int key)
{
	return args->value[key] != NULL;
}
void img_help(const struct img_command *command);

/* ---- messages and numbers: common.c ---- */

/* "kv-img: ..." and where to read more; 1. */
int img_usage(const struct img_args *args, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* "kv-img: ..."; 1. */
int img_fail(const char *format, ...) G_GNUC_PRINTF(1, 2);
/* The same with an error's text behind what may be NULL; frees it; 1. */
int img_fail_error(const char *what, GError *error);
/* To standard output, but with -q. */
void img_say(const struct img_args *args, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* QEMU's sizes: "64k", "1.5G", "0x1000"; -EINVAL, -ERANGE. */
int img_parse_size(const char *text, uint64_t *ret);
/* The same for an option, with a message; what: "image size". */
bool img_size(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *ret);
bool img_number(const char *text, uint64_t *ret);
char *img_human_size(uint64_t size); /* "1.5 GiB" */
/* --output: false after a message. */
bool img_wants_json(const struct img_args *args, bool *ret);
/* -t, -T: the name of a cache mode is known; flush: the result is to be made durable. */
bool img_cache(const char *name, bool *ret_flush);
bool img_is_zero(const void *buf, size_t len);

/* ---- progress.c ---- */
void img_progress_start(bool show, double step);
/* 0 to 100; any thread. */
void img_progress(double percent);
void img_progress_end(void);

/* ---- open.c ---- */
enum {
	IMG_RW = 1,
	IMG_SHARED = 2,
	IMG_ALONE = 4,	   /* what it stands on is not opened */
	IMG_SPEC = 8,	   /* the name is a list of --image-opts */
	IMG_CHECKING = 32, /* what is wrong in it does not matter */
	IMG_UNSAFE = 16,   /* what is flushed need not be safe on disk; for one image in a process */
};
/* The flags that the command line has. */
unsigned img_open_flags(const struct img_args *args);
/* format NULL: guessed from the content, with a warning where a raw image is to be written. */
struct image *img_open(const char *name, const char *format, unsigned flags);
struct image *img_try_open(const char *name, const char *format, unsigned flags, GError **error);
/* As it was at a snapshot: "ID_OR_NAME", "snapshot.id=ID", "snapshot.name=NAME". */
struct image *img_open_snapshot(const char *name, const char *format, unsigned flags, const char *which);
/*
 * image_map() (alone) or image_status() for who copies or counts data: clusters that lie in a hole of their file, as
 * preallocation=metadata makes them, are IMAGE_ZERO, with their place. Files that have nearly all their blocks are not looked at.
 */
int img_look(struct image *img, uint64_t offset, uint64_t len, bool alone, struct image_extent *ret, bool *ret_in_hole);
/* As "file" in the options of image_open() and image_create(). */
void img_insert_path(GVariantDict *options, const char *path);
/* Without "file:", which QEMU's names of files may begin with. */
const char *img_file_name(const char *name);
/* A backing file's name as it stands in base, seen from here. */
char *img_resolve(const char *base, const char *name);
/* The list "a=b,c=d" as names and values by turns, NULL-terminated; a comma in a value is doubled. A word alone is "on",
 * with "no" in front "off". */
char **img_split_options(const char *text);

/* ---- spec.c: an image's name in parts; both are to be freed, the format may be NULL ---- */
bool img_read_image_opts(const char *text, char **ret_path, char **ret_format, GError **error);
bool img_read_json(const char *text, char **ret_path, char **ret_format, GError **error); /* behind "json:" */

/* ---- json.c: JSON as QEMU writes it ---- */
typedef struct json_t json_t;
/* Takes the object; prints it with a newline, members in QEMU's order. */
void img_json_print(json_t *value);
json_t *img_json_string(const char *text); /* any bytes */
json_t *img_json_from_variant(GVariant *value);
json_t *img_json_order(json_t *value); /* a copy in QEMU's order */

/* ---- create-options.c: what -o may have ---- */
enum { IMG_MAX_OPTIONS = 32 };
struct img_create_option;
struct img_new {
	const struct image_format *format;
	const struct img_create_option *table;
	char *value[IMG_MAX_OPTIONS]; /* by row of the table; NULL: not given */
	bool unsafe;		      /* it need not be safe on disk when it is made */
};
/* Reads -o; prefix: of messages, NULL: none. Free with img_new_clear(). */
bool img_new_parse(struct img_new *n, const char *prefix, const char *format, const char *options);
const char *img_new_get(const struct img_new *n, const char *name);
bool img_new_set(struct img_new *n, const char *name, const char *value); /* false: the format has no such option */
bool img_new_has(const struct img_new *n, const char *name);
/* "Formatting 'x', fmt=..." */
void img_new_print(const struct img_new *n, const char *file);
bool img_new_create(const struct img_new *n, const char *file, GError **error);
/* Are the options possible together? False after a message. */
bool img_new_check(const struct img_new *n);
void img_new_clear(struct img_new *n);
/* Is there help or ? among the options? Then print that. */
bool img_options_help(const char *format, const char *options, bool with_file, int *ret_status);
bool img_asks_for_help(const char *options);
int img_amend_help(const char *format); /* the exit status */
const char *img_new_name(const struct img_new *n, unsigned row);
/* As a format takes it: switches are "on" or "off". NULL: not given. */
const char *img_new_value(const struct img_new *n, unsigned row);
/* Are there backing images in the format? Where not, a hole is the layer's own zeroes. */
bool img_can_stand(const char *format);
bool img_can_amend(const char *format, const char *name, bool *ret_known);

/* ---- bitmap.c ---- */
/* convert --bitmaps: false after a message when the source has none that can be copied. */
bool img_bitmaps_check(struct image *source, bool skip_broken);
bool img_bitmaps_copy(struct image *source, struct image *target, bool skip_broken);
/* What a copy of them takes in an image with clusters of this size; QEMU's estimate. */
uint64_t img_bitmaps_size(struct image *source, uint64_t cluster);

/* ---- snapshot.c ---- */
void img_print_snapshots(GArray *list);

/* ---- copy.c ---- */
struct img_source {
	struct image *img;
	uint64_t from, len; /* bytes of it that are read */
};
struct img_copy {
	const struct img_source *source;
	unsigned n_source;
	struct image *target;
	uint64_t sparse;    /* zeroes of this many bytes become holes; 0: everything is written */
	bool zeroed;	    /* the target reads as zeroes */
	bool on_backing;    /* what the sources' top layer does not have is not copied */
	uint64_t zero_from; /* with on_backing: where the target's backing image ends */
	bool compress, any_order, salvage, quiet, reflink, offload;
	unsigned threads; /* 0: what suits the files */
	uint64_t rate;			   /* bytes a second; 0: no limit */
	double progress_from, progress_to; /* percent */
};
bool img_copy(const struct img_copy *copy);
