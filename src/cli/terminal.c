/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See terminal.h. Called by say.c, objects.c and shell.c. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "objects.h"
#include "terminal.h"

/* ---- colours ---- */

bool terminal_has_color(int fd)
{
	const char *no_color = g_getenv("NO_COLOR"), *term = g_getenv("TERM");

	return isatty(fd) && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
}

const char *color_begin(enum color c)
{
	static const char *const codes[] = { "", "\033[1m", "\033[2m", "\033[32m", "\033[33m", "\033[31m" };

	return codes[c];
}

const char *color_end(enum color c)
{
	return c ? "\033[0m" : "";
}

enum color color_of_state(const char *state)
{
	static const struct {
		const char *state;
		enum color color;
	} colors[] = {
		{ "running", COLOR_GREEN },	 { "active", COLOR_GREEN },	  { "idle", COLOR_GREEN },
		{ "paused", COLOR_YELLOW },	 { "in shutdown", COLOR_YELLOW }, { "degraded", COLOR_YELLOW },
		{ "pmsuspended", COLOR_YELLOW }, { "building", COLOR_YELLOW },	  { "saved", COLOR_YELLOW },
		{ "crashed", COLOR_RED },	 { "inaccessible", COLOR_RED },	  { "shut off", COLOR_DIM },
		{ "inactive", COLOR_DIM },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(colors); i++)
		if (strcmp(colors[i].state, state) == 0)
			return colors[i].color;
	return COLOR_NONE;
}

/* ---- hints ---- */

void hint(struct shell *sh, const char *format, ...)
{
	va_list args;

	if (!isatty(STDERR_FILENO) || sh->quiet)
		return;
	va_start(args, format);
	g_free(sh->hint);
	sh->hint = g_strdup_vprintf(format, args);
	va_end(args);
}

void hint_say(struct shell *sh)
{
	enum color c = terminal_has_color(STDERR_FILENO) ? COLOR_DIM : COLOR_NONE;

	if (sh->hint)
		fprintf(stderr, "%shint: %s%s\n", color_begin(c), sh->hint, color_end(c));
	g_clear_pointer(&sh->hint, g_free);
}

/* Two letters that were typed the wrong way round: one slip, not two. */
static bool is_swap(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a && a[1] && a[0] == b[1] && a[1] == b[0] && strcmp(a + 2, b + 2) == 0;
}

/* How many letters are to be put in, taken out or changed (Levenshtein). */
static unsigned distance(const char *a, const char *b)
{
	size_t n = strlen(b);
	g_autofree unsigned *row = g_new(unsigned, n + 1);

	if (is_swap(a, b))
		return 1;
	for (size_t k = 0; k <= n; k++)
		row[k] = k;
	for (size_t i = 0; a[i]; i++) {
		unsigned corner = row[0]++;

		for (size_t k = 0; k < n; k++) {
			unsigned change = corner + (g_ascii_tolower(a[i]) != g_ascii_tolower(b[k]));

			corner = row[k + 1];
			row[k + 1] = MIN(change, MIN(corner, row[k]) + 1);
		}
	}
	return row[n];
}

void hint_names(struct shell *sh, const char *typed, GPtrArray *names)
{
	enum { SHOWN = 4, LONGEST = 256 };
	g_autoptr(GString) found = g_string_new(NULL);
	unsigned near = 1 + strlen(typed) / 4, n = 0;

	for (unsigned allowed = 1; allowed <= near && !n; allowed++)
		for (unsigned i = 0; i < names->len && n < SHOWN; i++) {
			const char *name = g_ptr_array_index(names, i);

			if (strlen(typed) > LONGEST || strlen(name) > LONGEST)
				continue;
			if (distance(typed, name) > allowed && !(allowed == near && strlen(typed) > 2 && strstr(name, typed)))
				continue;
			g_string_append_printf(found, "%s'%s'", n ? ", " : "", name);
			n++;
		}
	if (n)
		hint(sh, "did you mean %s?", found->str);
}

void hint_objects(struct shell *sh, const char *typed, const char *procedure, unsigned flags)
{
	GError *why = NULL;
	g_autoptr(GVariant) answer = NULL, list = NULL;
	g_autoptr(GPtrArray) names = NULL;

	if (!isatty(STDERR_FILENO) || !sh->conn)
		return;
	why = g_steal_pointer(&sh->error);
	answer = ask(sh, procedure, "(iu)", 1, flags);
	list = first_of(answer);
	names = g_ptr_array_new_with_free_func(g_free);
	for (gsize i = 0; list && i < g_variant_n_children(list); i++) {
		g_autoptr(GVariant) object = g_variant_get_child_value(list, i);

		g_ptr_array_add(names, g_strdup(object_name(object)));
	}
	hint_names(sh, typed, names);
	forget_error(sh);
	sh->error = why;
}

void hint_server(struct shell *sh)
{
	bool session = sh->uri ? strstr(sh->uri, "session") != NULL : getuid() != 0;

	if (sh->uri && strstr(sh->uri, "://") && !strstr(sh->uri, ":///"))
		hint(sh, "does that host run kvd or libvirtd, and may you connect to it? kvsh(1) has the forms of a URI");
	else if (session)
		hint(sh, "no server of your own runs: start one with 'kvd --session &', or give another one with --connect");
	else
		hint(sh, "no server of the system runs: start 'kvd' as root, or use your own: 'kvd --session &' and "
			 "'kvsh -c qemu:///session'");
}
