/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What can come next on a line: commands, options, names of objects. For readline, and for the shells' completion. */
#pragma once
#include "shell.h"

/* All words that fit at the cursor, not yet by what is typed of this one; never NULL, free with g_strfreev(). */
char **complete_words(struct shell *sh, const char *line, size_t cursor);
/* Whether the word that starts there may be a file's name. */
bool complete_wants_file(const char *line, size_t start);
