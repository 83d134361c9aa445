/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvsh at a terminal: lines with history and completion. Called by main.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <readline/history.h>
#include <readline/readline.h>

#include "complete.h"

static struct shell *the_shell; /* readline has no argument for it */

static char *next_match(const char *word, int state)
{
	static char **list;
	static unsigned at;
	char *copy;

	if (!state) {
		g_strfreev(list);
		list = complete_words(the_shell, rl_line_buffer, rl_point);
		at = 0;
	}
	while (list[at] && !g_str_has_prefix(list[at], word))
		at++;
	copy = list[at] ? strdup(list[at]) : NULL;
	at += copy != NULL;
	return copy;
}

static char **on_complete(const char *word, int start, int end)
{
	char **matches = rl_completion_matches(word, next_match);

	/* What takes files has them; readline's own completion. */
	rl_attempted_completion_over = matches || !complete_wants_file(rl_line_buffer, start);
	return matches;
}

void shell_loop(struct shell *sh)
{
	const char *prompt = sh->read_only ? "kvsh > " : "kvsh # ";
	char *line;

	the_shell = sh;
	rl_readline_name = "kvsh";
	rl_attempted_completion_function = on_complete;
	rl_completer_word_break_characters = " \t\n;";
	if (!sh->quiet)
		printf("Welcome to kvsh, the virtualization interactive terminal.\n\nType:  'help' for help with commands\n"
		       "       'quit' to quit\n\n");
	while (!sh->stop && (line = readline(prompt))) {
		if (*line)
			add_history(line);
		shell_run_text(sh, line);
		free(line);
	}
	putchar('\n');
}
