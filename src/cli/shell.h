/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvsh: what all commands share. A command is a row of a const table: its name, its synopsis, which is also how its options are
 * parsed (args.h), and a function. Texts are virsh's, to the letter, since scripts read them; --output json has the same as data.
 * One thread.
 */
#pragma once
#include <jansson.h>
#include <stdbool.h>

#include "kv-connection.h"
#include "kv-stream.h"

struct args;

struct shell {
	KvConnection *conn;
	bool only_looks; /* it was made to complete a word, and changes nothing: commands have another one */
	char *uri; /* NULL: none was given */
	bool is_named; /* by --connect: it is connected to before any command, and nothing is done without it */
	bool read_only, quiet, timing, interactive, json, stop;
	int keepalive_interval, keepalive_count;
	char escape;	   /* of the console */
	GError *error;	   /* of the last call that failed; told after the command if it failed */
	GString *text;	   /* json: what was said */
	json_t *value;	   /* json: what was said as data; NULL: the text */
	GHashTable *ahead; /* ahead.c: procedure -> answers that came before they were asked for */
	char *hint;	   /* terminal.c: for the person at the terminal, after the errors */
	char *lost;	   /* the connection went away while something ran */
};

struct command {
	const char *name;
	bool (*run)(struct shell *sh, const struct args *a); /* false: an error was said, or is in sh->error */
	const char *synopsis;				     /* after the name; see args.h */
	const char *help;
	bool no_connection, is_hidden; /* hidden: from help and completion */
};

struct group {
	const char *keyword, *title;
	const struct command *commands; /* ends with {} */
};
/* All, in the order of help; ends with {}. */
extern const struct group groups[];
extern const struct command domain_commands[], monitor_commands[], event_commands[], host_commands[], checkpoint_commands[],
	interface_commands[], filter_commands[], network_commands[], nodedev_commands[], secret_commands[], snapshot_commands[],
	backup_commands[], pool_commands[], volume_commands[], shell_commands[];
const struct command *command_named(const char *name); /* NULL: none */

/* ---- saying ---- */
void say(struct shell *sh, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* Not with --quiet. */
void say_extra(struct shell *sh, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* "error: …". Always false. */
bool shell_error(struct shell *sh, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* "Name:           value", the value at column width; in JSON a member. */
void say_field(struct shell *sh, int width, const char *name, const char *format, ...) G_GNUC_PRINTF(4, 5);
/* JSON over several lines as virsh has it: nothing in brackets is an empty line. To be freed; NULL: it is no JSON. */
char *json_pretty(const json_t *value);
/* Takes what json shall print in place of the text. */
void say_value(struct shell *sh, json_t *value);

/* A table as virsh aligns it. Columns are as many as header has words before NULL. */
struct table;
struct table *table_new(const char *first, ...) G_GNUC_NULL_TERMINATED;
void table_add(struct table *t, const char *first, ...) G_GNUC_NULL_TERMINATED;
void table_add_list(struct table *t, char *const *cells); /* the strings are taken over, the list is not */
void table_say(struct shell *sh, struct table *t);	  /* and frees it */

/* ---- asking ---- */
/* The answer, or NULL with sh->error. types: of the arguments, as g_variant_new(); NULL: none. */
GVariant *ask(struct shell *sh, const char *procedure, const char *types, ...);
/* For procedures whose answer says nothing. */
bool tell(struct shell *sh, const char *procedure, const char *types, ...);
bool ask_int(struct shell *sh, int *ret, const char *procedure, const char *types, ...);
bool ask_u64(struct shell *sh, guint64 *ret, const char *procedure, const char *types, ...);
/* A string that is all of the answer; NULL on error. */
char *ask_text(struct shell *sh, const char *procedure, const char *types, ...);
int error_code(const struct shell *sh); /* of sh->error in the protocol's numbers; 0: there is none */
void forget_error(struct shell *sh);

bool shell_connect(struct shell *sh);
/* To the server of --connect, if there is one and it was not yet; false with the error said and explained. */
bool shell_open(struct shell *sh);
/* Runs a line of several commands. false: the last that ran failed. */
bool shell_run_text(struct shell *sh, const char *text);
bool shell_run_words(struct shell *sh, int n, char *const *words);
void shell_loop(struct shell *sh); /* interactive.c */

/* A file's text, or what is typed for "-"; NULL with the error said as "Reading file '%s' failed"… */
char *read_file(struct shell *sh, const char *path);
char *read_bytes(struct shell *sh, const char *path, gsize *ret_len); /* the same, with zeroes in it; ret_len may be NULL */
