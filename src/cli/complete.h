/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What can follow in a line: called by interactive.c, and for the user's own shell by the hidden command complete. */
#pragma once
#include "shell.h"

/* Words that may stand at the cursor of a line; each is the caller's, NULL at the end. */
char **complete_words(struct shell *sh, const char *line, size_t cursor);
/* ... in the place of the last of words, which is being typed. Connects if there is something to ask for, silently. */
char **complete_command(struct shell *sh, char *const *words);
/* Does a file's name belong there? */
bool complete_wants_file(const char *line, size_t start);
