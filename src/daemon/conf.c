/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See conf.h. */
#include "conf.h"

#include <string.h>

#include "error.h"

struct reader {
	const char *at;
	unsigned line;
};

static void skip_blanks(struct reader *r)
{
	while (*r->at == ' ' || *r->at == '\t' || *r->at == '\r')
		r->at++;
	if (*r->at == '#')
		r->at += strcspn(r->at, "\n");
}

static void skip_lines(struct reader *r)
{
	for (skip_blanks(r); *r->at == '\n'; skip_blanks(r)) {
		r->line++;
		r->at++;
	}
}

/* The text between two marks; NULL: it does not end. */
static char *between(struct reader *r, const char *mark, bool lines)
{
	const char *begin = r->at + strlen(mark), *end = strstr(begin, mark);

	if (!end || (!lines && memchr(begin, '\n', end - begin)))
		return NULL;
	for (const char *p = begin; p < end; p++)
		r->line += *p == '\n';
	r->at = end + strlen(mark);
	return g_strndup(begin, end - begin);
}

static char *read_text(struct reader *r, GError **error)
{
	bool lines = g_str_has_prefix(r->at, "\"\"\"");
	char *text = between(r, lines ? "\"\"\"" : *r->at == '"' ? "\"" : "'", lines);

	if (!text)
		kv_fail(error, KV_ERROR_USAGE, "a text does not end");
	else if (!g_utf8_validate(text, -1, NULL))
		kv_fail(error, KV_ERROR_USAGE, "a text is not UTF-8");
	else
		return text;
	g_free(text);
	return NULL;
}

static bool read_number(struct reader *r, gint64 *ret, GError **error)
{
	size_t len = strspn(r->at, "+-") + strspn(r->at + strspn(r->at, "+-"), "0123456789");
	g_autofree char *digits = g_strndup(r->at, len);

	r->at += len;
	return g_ascii_string_to_signed(*digits == '+' ? digits + 1 : digits, 10, G_MININT64, G_MAXINT64, ret, NULL) ||
	       kv_fail(error, KV_ERROR_USAGE, "a value is a number, a text in quotation marks, or a list of texts in []");
}

static bool is_quote(const struct reader *r)
{
	return *r->at == '"' || *r->at == '\'';
}

static bool read_list(struct reader *r, GPtrArray *list, GError **error)
{
	r->at++;
	for (skip_lines(r); *r->at != ']'; skip_lines(r)) {
		char *text;

		if (!is_quote(r))
			return kv_fail(error, KV_ERROR_USAGE, "a list is of texts in quotation marks, and ends with ]");
		text = read_text(r, error);
		if (!text)
			return false;
		g_ptr_array_add(list, text);
		skip_lines(r);
		if (*r->at == ',')
			r->at++;
		else if (*r->at != ']')
			return kv_fail(error, KV_ERROR_USAGE, "texts of a list have commas between them");
	}
	r->at++;
	g_ptr_array_add(list, NULL);
	return true;
}

static bool read_value(struct reader *r, const char *name, conf_func *func, void *opaque, GError **error)
{
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);
	g_autofree char *text = NULL;
	struct conf_value v = { CONF_NUMBER };

	if (*r->at == '[') {
		v.type = CONF_LIST;
		if (!read_list(r, list, error))
			return false;
		v.list = (const char *const *)list->pdata;
	} else if (is_quote(r)) {
		v.type = CONF_TEXT;
		v.text = text = read_text(r, error);
		if (!text)
			return false;
	} else if (!read_number(r, &v.number, error)) {
		return false;
	}
	return func(opaque, name, &v, error);
}

static bool read_line(struct reader *r, conf_func *func, void *opaque, GError **error)
{
	size_t len = strspn(r->at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
	g_autofree char *name = g_strndup(r->at, len);

	if (!len)
		return kv_fail(error, KV_ERROR_USAGE, "a line begins with a name, or with # for a comment");
	r->at += len;
	skip_blanks(r);
	if (*r->at != '=')
		return kv_fail(error, KV_ERROR_USAGE, "there is no = behind '%s'", name);
	r->at++;
	skip_blanks(r);
	if (!read_value(r, name, func, opaque, error))
		return false;
	skip_blanks(r);
	if (*r->at == ';')
		r->at++;
	else if (*r->at && *r->at != '\n')
		return kv_fail(error, KV_ERROR_USAGE, "there is more than one value behind '%s'", name);
	return true;
}

bool conf_parse(const char *what, const char *text, conf_func *func, void *opaque, GError **error)
{
	struct reader r = { text, 1 };

	for (skip_lines(&r); *r.at; skip_lines(&r))
		if (!read_line(&r, func, opaque, error)) {
			g_prefix_error(error, "%s:%u: ", what, r.line);
			return false;
		}
	return true;
}
