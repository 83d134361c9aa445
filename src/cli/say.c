/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What kvsh prints: text, fields, tables, errors; or all of it as JSON. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shell.h"
#include "terminal.h"

static void put(struct shell *sh, const char *text)
{
	if (sh->json)
		g_string_append(sh->text, text);
	else
		fputs(text, stdout);
}

void say(struct shell *sh, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	put(sh, text);
}

void say_extra(struct shell *sh, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	if (sh->quiet)
		return;
	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	put(sh, text);
}

bool shell_error(struct shell *sh, const char *format, ...)
{
	va_list args;
	enum color c = terminal_has_color(STDERR_FILENO) ? COLOR_RED : COLOR_NONE;

	fflush(stdout);
	fprintf(stderr, "%serror:%s ", color_begin(c), color_end(c));
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return false;
}

void say_value(struct shell *sh, json_t *value)
{
	if (sh->value)
		json_decref(sh->value);
	sh->value = value;
}

void say_field(struct shell *sh, int width, const char *name, const char *format, ...)
{
	g_autofree char *value = NULL, *label = g_strconcat(name, ":", NULL);
	va_list args;

	va_start(args, format);
	value = g_strdup_vprintf(format, args);
	va_end(args);
	if (!sh->json) {
		enum color c =
			strcmp(name, "State") == 0 && terminal_has_color(STDOUT_FILENO) ? color_of_state(value) : COLOR_NONE;

		printf("%-*s%s%s%s\n", width, label, color_begin(c), value, color_end(c));
		return;
	}
	if (!sh->value)
		sh->value = json_object();
	json_object_set_new(sh->value, name, json_string(value));
}

/* ---- tables ---- */

struct table {
	unsigned columns;
	bool has_color;
	GPtrArray *rows; /* of char **, the first is the header */
};

static char **row_of(unsigned n, const char *first, va_list args)
{
	char **row = g_new0(char *, n + 1);

	row[0] = g_strdup(first);
	for (unsigned i = 1; i < n; i++)
		row[i] = g_strdup(va_arg(args, const char *));
	return row;
}

static void row_free(void *row)
{
	g_strfreev(row);
}

struct table *table_new(const char *first, ...)
{
	struct table *t = g_new0(struct table, 1);
	va_list args;

	t->rows = g_ptr_array_new_with_free_func(row_free);
	va_start(args, first);
	for (t->columns = 1; va_arg(args, const char *); t->columns++)
		;
	va_end(args);
	va_start(args, first);
	g_ptr_array_add(t->rows, row_of(t->columns, first, args));
	va_end(args);
	return t;
}

void table_add(struct table *t, const char *first, ...)
{
	va_list args;

	va_start(args, first);
	g_ptr_array_add(t->rows, row_of(t->columns, first, args));
	va_end(args);
}

void table_add_list(struct table *t, char *const *cells)
{
	char **row = g_new0(char *, t->columns + 1);

	memcpy(row, cells, t->columns * sizeof(*row));
	g_ptr_array_add(t->rows, row);
}

/* Columns of a terminal. */
static size_t width_of(const char *text)
{
	size_t width = 0;

	if (!g_utf8_validate(text, -1, NULL))
		return strlen(text);
	for (const char *p = text; *p; p = g_utf8_next_char(p)) {
		gunichar c = g_utf8_get_char(p);

		width += g_unichar_iszerowidth(c) ? 0 : g_unichar_iswide(c) ? 2 : 1;
	}
	return width;
}

/* The header stands out, and a column of states says at a glance which is which. */
static enum color color_of_cell(const struct table *t, char *const *row, unsigned column)
{
	char *const *header = g_ptr_array_index(t->rows, 0);

	if (!t->has_color)
		return COLOR_NONE;
	if (row == header)
		return COLOR_BOLD;
	return strcmp(header[column], "State") == 0 ? color_of_state(row[column]) : COLOR_NONE;
}

static void print_row(struct shell *sh, const struct table *t, char *const *row, const size_t *widths)
{
	for (unsigned i = 0; i < t->columns; i++) {
		size_t pad = i + 1 < t->columns ? widths[i] - width_of(row[i]) + 2 : 0;
		enum color c = color_of_cell(t, row, i);

		say(sh, " %s%s%s%*s", color_begin(c), row[i], color_end(c), (int)pad, "");
	}
	say(sh, "\n");
}

static json_t *rows_as_json(const struct table *t)
{
	char *const *names = g_ptr_array_index(t->rows, 0);
	json_t *list = json_array();

	for (unsigned r = 1; r < t->rows->len; r++) {
		char *const *row = g_ptr_array_index(t->rows, r);
		json_t *object = json_object();

		for (unsigned i = 0; i < t->columns; i++)
			json_object_set_new(object, names[i], json_string(row[i]));
		json_array_append_new(list, object);
	}
	return list;
}

void table_say(struct shell *sh, struct table *t)
{
	g_autofree size_t *widths = g_new0(size_t, t->columns);
	unsigned first = sh->quiet ? 1 : 0;
	size_t total = 0;

	for (unsigned i = 0; i < t->columns; i++) {
		for (unsigned r = first; r < t->rows->len; r++)
			widths[i] = MAX(widths[i], width_of(((char **)g_ptr_array_index(t->rows, r))[i]));
		total += widths[i] + 3;
	}
	t->has_color = terminal_has_color(STDOUT_FILENO);
	if (sh->json) {
		say_value(sh, rows_as_json(t));
	} else {
		for (unsigned r = first; r < t->rows->len; r++) {
			print_row(sh, t, g_ptr_array_index(t->rows, r), widths);
			if (r == 0) {
				g_autofree char *line = g_strnfill(total, '-');

				say(sh, "%s\n", line);
			}
		}
	}
	g_ptr_array_unref(t->rows);
	g_free(t);
}

/* The spaces that the last line begins with. */
static gsize indent_at(const GString *text)
{
	const char *line = g_strrstr_len(text->str, (gssize)text->len, "\n");

	return strspn(line ? line + 1 : text->str, " ");
}

char *json_pretty(const json_t *value)
{
	char *dumped = value ? json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY) : NULL;
	GString *text = g_string_new(NULL);
	bool quoted = false;

	if (!dumped)
		return g_string_free(text, TRUE);
	for (const char *p = dumped; *p; p++) {
		g_string_append_c(text, *p);
		if (*p == '\\' && quoted)
			g_string_append_c(text, *++p);
		else if (*p == '"')
			quoted = !quoted;
		else if (!quoted && ((*p == '{' && p[1] == '}') || (*p == '[' && p[1] == ']')))
			g_string_append_printf(text, "\n\n%*s", (int)indent_at(text), "");
	}
	free(dumped);
	return g_string_free(text, FALSE);
}
