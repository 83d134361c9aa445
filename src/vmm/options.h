/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keys kv-vmm understands: one const table from which the parser, --help, the nearest-name
 * hints, the shell completions and the check of the man page are derived. A parsed command line
 * is a GVariant dictionary, and so is a configuration file (--config). Used by config.c, main.c and
 * gen-completion.c.
 *
 * Shapes in the tree, by type: FLAG and BOOL b; COUNT and SIZE t (bytes); TEXT, FILE, CHOICE
 * and CHARDEV s; KEYS a{sv}; WORDS (sa{ss}). What may be repeated is an array of that (as, aa{sv}).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

enum option_type {
	OPTION_FLAG,	/* no value */
	OPTION_BOOL,	/* on or off */
	OPTION_COUNT,	/* a decimal number from min to max */
	OPTION_SIZE,	/* bytes with an optional K, M, G or T */
	OPTION_TEXT,
	OPTION_FILE,	/* a path; completion offers files */
	OPTION_CHOICE,	/* one of choices[] */
	OPTION_CHARDEV, /* KIND or KIND:PATH, KIND one of choices[] */
	OPTION_KEYS,	/* key=value,... of keys[]; ",," is a comma inside a value */
	OPTION_WORDS,	/* NAME,key=value,...: what keys there are depends on the name */
};

struct option {
	const char *name;
	enum option_type type;
	const char *arg;  /* how --help calls the value */
	const char *help; /* one line */
	uint64_t min;
	uint64_t max;
	const char *const *choices;
	const struct option *keys; /* ends with a NULL name */
	bool repeat;
	bool required; /* of a key */
	bool rare;     /* the man page has it, --help has not */
	bool first;    /* a key whose name may be left out when it comes first */
};

/* --watchdog-action and watchdog-set-action, in the order of QEMU's WatchdogAction. */
enum watchdog_action {
	WATCHDOG_RESET,
	WATCHDOG_SHUTDOWN,
	WATCHDOG_POWEROFF,
	WATCHDOG_PAUSE,
	WATCHDOG_DEBUG,
	WATCHDOG_NONE,
	WATCHDOG_INJECT_NMI,
};
extern const char *const option_watchdog_actions[]; /* NULL-terminated */
/* --action and set-action, in the order of QEMU's RebootAction, ShutdownAction, PanicAction. */
enum reboot_action { REBOOT_RESET, REBOOT_SHUTDOWN };
enum shutdown_action { SHUTDOWN_POWEROFF, SHUTDOWN_PAUSE };
enum panic_action { PANIC_PAUSE, PANIC_SHUTDOWN, PANIC_EXIT_FAILURE, PANIC_NONE };
extern const char *const option_reboot_actions[], *const option_shutdown_actions[], *const option_panic_actions[];

extern const struct option option_table[]; /* ends with a NULL name */

/* The parsed command line, with the file of --config in it, a floating-free a{sv}; NULL with @error set. */
GVariant *options_parse(int argc, char *const *argv, GError **error);

/*
 * options-lookup.c: as g_variant_lookup() and g_variant_lookup_value() on such a tree, which changes no more; many times as fast.
 * What they set without a copy (&s) is there until another tree is asked. Main thread.
 */
bool options_lookup(GVariant *options, const char *name, const char *format, ...);
GVariant *options_lookup_value(GVariant *options, const char *name);

/* One option at argv[*i] into such a tree; *i moves past the value it takes. */
bool options_add(GVariantDict *dict, int argc, char *const *argv, int *i, GError **error);

/* options-file.c: the tree of a file of options, one a line; of its text, with a name for messages. */
GVariant *options_parse_file(const char *path, GError **error);
GVariant *options_parse_text(const char *name, const char *text, size_t len, GError **error);
/* What the file has is first of what may be repeated, and gives way to what may not. */
void options_merge(GVariantDict *dict, GVariant *file);

/* key=value,... as in one option's value. */
GVariant *options_parse_keys(const struct option *option, const char *text, GError **error);

/* One of option->keys with its value into such a tree. */
bool options_add_word(GVariantDict *dict, const struct option *option, const char *name, const char *value, GError **error);

/* Bytes, with an optional binary suffix; false when it is not a size or overflows. */
bool options_parse_size(const char *text, uint64_t *ret_bytes);

/* The text of --help, without keys that can have one value only; free with g_free. */
char *options_help(void);

/* "stdio|pty|..." of choices[]; free with g_free. */
char *options_choices(const struct option *option);

/* The entry of a NULL-terminated table by name, or NULL. */
const struct option *options_find(const struct option *table, const char *name);

/* The name in @table that @name most likely meant, or NULL. */
const char *options_nearest(const struct option *table, const char *name);
