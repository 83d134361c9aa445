/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The options of a command, which its synopsis defines in the notation of virsh's help:
 *
 *   <name>                  required, by place or as --name VALUE       [--name]            a switch
 *   [--name <string>]       may be given, mostly also by place                [--name <number>]   likewise, a number
 *   [<name>]...             any number of them; [[--name] <string>]... likewise; {[--name] <string>}... at least one
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

enum arg_kind { ARG_SWITCH, ARG_STRING, ARG_NUMBER, ARG_LIST };

struct arg {
	char name[40];
	enum arg_kind kind;
	bool required;
	GPtrArray *values; /* NULL: not given */
};

struct args {
	const struct command *command;
	struct arg *list;
	unsigned n;
	GPtrArray *names; /* for the messages of a command that takes several objects */
};

struct shell;
struct command;

/* Fills list with what the synopsis says; the number of them. */
GArray *args_of(const char *synopsis);
/* words: without the command's name. NULL with the error said. */
struct args *args_parse(struct shell *sh, const struct command *c, int n, char *const *words);
void args_free(struct args *a);
/* false: a value is empty that may not be, which was said. Where virsh takes an empty one for none it is none from here on. */
bool args_are_filled(struct shell *sh, struct args *a);
/* The same of a line that is being typed, whatever is wrong with it. *ret_next: what the word behind these is for; NULL: nothing.
 */
struct args *args_typed(const struct command *c, int n, char *const *words, const struct arg **ret_next);

bool arg_exists(const struct args *a, const char *name); /* has the command such an option? */
bool arg_on(const struct args *a, const char *name);
/* NULL: not given. */
const char *arg_text(const struct args *a, const char *name);
/* Ends with NULL; NULL: not given. */
char *const *arg_list(const struct args *a, const char *name);
/* 0: not given, 1: in *ret, -1: malformed, which was said. */
int arg_int(struct shell *sh, const struct args *a, const char *name, int *ret);
int arg_uint(struct shell *sh, const struct args *a, const char *name, unsigned *ret);
int arg_u64(struct shell *sh, const struct args *a, const char *name, guint64 *ret);
int arg_i64(struct shell *sh, const struct args *a, const char *name, gint64 *ret);
/* With a unit: "2G"; scale: what none means. The result is in bytes. */
int arg_size(struct shell *sh, const struct args *a, const char *name, guint64 scale, guint64 *ret);
/* The same of any text. false: it is none, or too large; an error is set when that says more. */
bool size_parse(const char *text, guint64 scale, guint64 *ret, GError **error);
/* "a,b=c,,d" in its parts; two commas are one in a part. */
char **spec_parts(const char *spec);
/* Which of words, which ends with NULL; -1: none. */
int word_of(const char *word, const char *const *words);
/* false: option was given without wants, which was said. */
bool args_require(struct shell *sh, const struct args *a, const char *option, const char *wants);
/* Are both there? It is said, then. */
bool args_exclude(struct shell *sh, const struct args *a, const char *one, const char *other);
