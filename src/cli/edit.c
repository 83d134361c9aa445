/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A text in the user's editor, and what follows when the server refuses it. Called by edit, net-edit, desc --edit and their like.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "objects.h"

static bool run_editor(struct shell *sh, const char *path)
{
	const char *editor = g_getenv("VISUAL") ? g_getenv("VISUAL") : g_getenv("EDITOR") ? g_getenv("EDITOR") : "vi";
	g_autofree char *quoted = g_shell_quote(path), *line = g_strdup_printf("%s %s", editor, quoted);
	const char *argv[] = { "/bin/sh", "-c", line, NULL };
	g_autoptr(GError) error = NULL;
	int status;

	if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_CHILD_INHERITS_STDIN, NULL, NULL, NULL, NULL, &status, &error) ||
	    !g_spawn_check_wait_status(status, &error))
		return shell_error(sh, "%s: %s", editor, error->message);
	return true;
}

/* In the file as it was made, which is nobody else's to read: g_file_set_contents() would make another one. */
static bool write_all(int fd, const char *text)
{
	for (size_t left = strlen(text); left;) {
		ssize_t n = write(fd, text, left);

		if (n < 0 && errno != EINTR)
			return false;
		text += MAX(n, 0);
		left -= MAX(n, 0);
	}
	return true;
}

char *edit_text(struct shell *sh, const char *text, bool *ret_same)
{
	g_autofree char *path = NULL, *edited = NULL;
	g_autoptr(GError) error = NULL;
	int fd = g_file_open_tmp("kvsh-XXXXXX.xml", &path, &error);
	bool written = fd >= 0 && write_all(fd, text);
	gsize len = 0;

	*ret_same = false;
	if (fd >= 0 && close(fd) != 0)
		written = false;
	if (!written)
		shell_error(sh, "a temporary file: %s", error ? error->message : g_strerror(errno));
	else if (run_editor(sh, path) && !g_file_get_contents(path, &edited, &len, &error))
		shell_error(sh, "%s", error->message);
	if (edited && !g_utf8_validate(edited, (gssize)len, NULL)) {
		shell_error(sh, "what was edited is no UTF-8 text");
		g_clear_pointer(&edited, g_free);
	}
	if (path)
		g_unlink(path);
	*ret_same = edited && strcmp(edited, text) == 0;
	return *ret_same ? NULL : g_steal_pointer(&edited);
}

/* ---- a description ---- */

/* What to do with a description that the server refused: one of "ynfi"; 0: nobody is there to ask. */
static char ask_again(struct shell *sh, const char *why, bool can_relax)
{
	char line[64];

	if (sh->error)
		shell_error(sh, "%s", sh->error->message);
	if (!isatty(STDIN_FILENO)) {
		if (!sh->error)
			shell_error(sh, "%s", why);
		forget_error(sh);
		return 0;
	}
	forget_error(sh);
	for (;;) {
		printf("\n%s %s %s: ", why, "Try again?", can_relax ? "[y,n,i,f,?]" : "[y,n,f,?]");
		fflush(stdout);
		if (!fgets(line, sizeof(line), stdin))
			return 'n';
		*line = g_ascii_tolower(*line);
		if (*line == 'y' || *line == 'n' || *line == 'f' || (can_relax && *line == 'i'))
			return *line;
		printf("y - yes, start editor again\nn - no, throw away my changes\n%sf - force, try to redefine again\n"
		       "? - print this help\n",
		       can_relax ? "i - turn off validation and try to redefine again\n" : "");
	}
}

/* Once to the server. NULL: done; otherwise why not. */
static const char *redefine(struct shell *sh, const struct edit *e, const char *old, const char *new, bool forced, bool relaxed,
			    GVariant **ret)
{
	g_autofree char *now = forced ? NULL : e->get(sh, e);

	if (!forced && !now)
		return "Failed.";
	if (!forced && strcmp(now, old) != 0)
		return "The XML configuration was changed by another user.";
	*ret = e->define(sh, e, new, relaxed);
	return *ret ? NULL : "Failed.";
}

enum edit_end { EDIT_FAILED, EDIT_SAME, EDIT_DONE };

static enum edit_end edit_description(struct shell *sh, const struct edit *e, GVariant **ret)
{
	g_autofree char *old = e->get(sh, e), *text = g_strdup(old);
	bool relaxed = false, forced = false, same;
	const char *why;
	char answer;

	while (old) {
		g_autofree char *new = edit_text(sh, text, &same);

		/* Unchanged since the last try: the same again. */
		if (!new &&same && strcmp(text, old) != 0)
			new = g_strdup(text);
		if (!new || strcmp(new, old) == 0)
			return new || same ? EDIT_SAME : EDIT_FAILED;
		while ((why = redefine(sh, e, old, new, forced, relaxed, ret))) {
			answer = ask_again(sh, why, e->can_relax && !relaxed);
			if (!answer || answer == 'n')
				return EDIT_FAILED;
			forced |= answer == 'f';
			relaxed |= answer == 'i';
			if (answer == 'y')
				break;
		}
		if (!why)
			return EDIT_DONE;
		g_free(text);
		text = g_steal_pointer(&new);
	}
	return EDIT_FAILED;
}

bool edit_object(struct shell *sh, const struct edit *e, const char *name)
{
	g_autoptr(GVariant) answer = NULL, now = NULL;

	switch (edit_description(sh, e, &answer)) {
	case EDIT_SAME:
		return finish(sh, true, e->same, NULL, name);
	case EDIT_DONE:
		/* It may have another name now. */
		now = g_variant_n_children(answer) ? first_of(answer) : NULL;
		return finish(sh, true, e->done, NULL, now ? object_name(now) : name);
	default:
		return false;
	}
}
