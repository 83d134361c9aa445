/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What only a person at a terminal sees: colours, and a line after an error that says what to do next. Programs that read the
 * output never get any of it. NO_COLOR (no-color.org) and TERM=dumb turn colours off.
 */
#pragma once
#include "shell.h"

enum color { COLOR_NONE, COLOR_BOLD, COLOR_DIM, COLOR_GREEN, COLOR_YELLOW, COLOR_RED };

/* Is the file descriptor a terminal that shall have colours? */
bool terminal_has_color(int fd);
/* "\033[…m" before a text, and what ends it; both "" for COLOR_NONE. */
const char *color_begin(enum color c);
const char *color_end(enum color c);
/* Of a state of a domain, a pool, a network, an interface. */
enum color color_of_state(const char *state);

/* What to do next, if standard error is a terminal. It is said behind the command's errors, by hint_say(). */
void hint(struct shell *sh, const char *format, ...) G_GNUC_PRINTF(2, 3);
void hint_say(struct shell *sh);
/* The names (char *) that are near to what was typed, as a hint; none: nothing. */
void hint_names(struct shell *sh, const char *typed, GPtrArray *names);
/* What of a list procedure(need_results, flags) is near. Keeps sh->error. */
void hint_objects(struct shell *sh, const char *typed, const char *procedure, unsigned flags);
/* How to get to a server that does not answer. */
void hint_server(struct shell *sh);
