/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A text in the user's editor. Called by edit, net-edit, desc --edit and their like. */
#include <glib/gstdio.h>
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

char *edit_text(struct shell *sh, const char *text, bool *ret_same)
{
	g_autofree char *path = NULL, *edited = NULL;
	g_autoptr(GError) error = NULL;
	int fd = g_file_open_tmp("kvsh-XXXXXX.xml", &path, &error);

	*ret_same = false;
	if (fd < 0 || close(fd) != 0 || !g_file_set_contents(path, text, -1, &error))
		shell_error(sh, "a temporary file: %s", error ? error->message : g_strerror(errno));
	else if (run_editor(sh, path) && !g_file_get_contents(path, &edited, NULL, &error))
		shell_error(sh, "%s", error->message);
	if (path)
		g_unlink(path);
	*ret_same = edited && strcmp(edited, text) == 0;
	return *ret_same ? NULL : g_steal_pointer(&edited);
}
