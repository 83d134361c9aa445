/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finds where a QMP message ends; what it says is json-glib's to find out. json-glib wants one whole value, recurses as deep as
 * it goes, and takes more than JSON: some of it is let through (docs/architecture.md), but not what makes it see other strings
 * and brackets than this file, leak (a second value, a surrogate without its other half), or build what JSON cannot write.
 * See reader.h.
 */
#include "reader.h"

#include <stdbool.h>
#include <string.h>

#include "message.h"

enum state {
	OUTSIDE, /* of strings */
	STRING,
	ESCAPE,
	RECOVERY, /* behind a fault: up to where a client may have begun anew */
};

/* What a byte is to the message. */
enum taken { INNER, LAST, BEHIND, FAULT };

struct qmp_reader {
	JsonParser *parser;
	GRegex *bad_escape;
	enum state state;
	char quote;
	GString *text;	      /* the message so far */
	int braces, brackets; /* open ones */
	bool bad_number;      /* json-glib could not write it */
	size_t max;	      /* bytes of a message */
};

/* A backslash that begins no escape of JSON's, or one of no character. What SKIP has passed is not looked at again. */
static const char bad_escape[] = "\\\\(?:[\"'\\\\/bfnrt]"
				 "|u(?!0000|[dD][89a-fA-F])[[:xdigit:]]{4}"
				 "|u[dD][89abAB][[:xdigit:]]{2}\\\\u[dD][c-fC-F][[:xdigit:]]{2})(*SKIP)(*FAIL)|\\\\";

/* json-glib puts ".0" behind digits without a point, be it "inf" or "1e+22". */
static void check_number(struct qmp_reader *r, JsonNode *node)
{
	char digits[G_ASCII_DTOSTR_BUF_SIZE];

	if (json_node_get_value_type(node) != G_TYPE_DOUBLE)
		return;
	g_ascii_dtostr(digits, sizeof(digits), json_node_get_double(node));
	if (strpbrk(digits, "en") && !strchr(digits, '.'))
		r->bad_number = true;
}

static void on_element(JsonParser *parser, JsonArray *array, int index, struct qmp_reader *r)
{
	check_number(r, json_array_get_element(array, (guint)index));
}

static void on_member(JsonParser *parser, JsonObject *object, const char *name, struct qmp_reader *r)
{
	check_number(r, json_object_get_member(object, name));
}

struct qmp_reader *qmp_reader_new(void)
{
	struct qmp_reader *r = g_new0(struct qmp_reader, 1);

	r->text = g_string_new(NULL);
	r->max = QMP_MESSAGE_MAX;
	r->bad_escape = g_regex_new(bad_escape, G_REGEX_RAW, 0, NULL);
	r->parser = json_parser_new();
	g_signal_connect(r->parser, "array-element", G_CALLBACK(on_element), r);
	g_signal_connect(r->parser, "object-member", G_CALLBACK(on_member), r);
	return r;
}

void qmp_reader_free(struct qmp_reader *r)
{
	if (!r)
		return;
	g_object_unref(r->parser);
	g_regex_unref(r->bad_escape);
	g_string_free(r->text, TRUE);
	g_free(r);
}

void qmp_reader_set_max(struct qmp_reader *r, size_t bytes)
{
	r->max = bytes;
}

static void start_anew(struct qmp_reader *r, enum state state)
{
	r->state = state;
	r->braces = r->brackets = 0;
	g_string_truncate(r->text, 0);
}

static JsonNode *parse(struct qmp_reader *r, GError **error)
{
	r->bad_number = false;
	if (g_regex_match_full(r->bad_escape, r->text->str, (gssize)r->text->len, 0, 0, NULL, NULL))
		return qmp_fail(error, QMP_ERROR_GENERIC, "JSON parse error, invalid escape sequence in string");
	if (!json_parser_load_from_data(r->parser, r->text->str, (gssize)r->text->len, error)) {
		g_prefix_error(error, "JSON parse error, ");
		return NULL;
	}
	if (r->bad_number)
		return qmp_fail(error, QMP_ERROR_GENERIC, "JSON parse error, a number is out of range");
	return json_parser_steal_root(r->parser);
}

/* ---- where a message ends ---- */

static bool is_one_of(const char *set, uint8_t c)
{
	return c && strchr(set, c);
}

static enum taken fault(GError **error, const char *text)
{
	qmp_fail(error, QMP_ERROR_GENERIC, "%s", text);
	return FAULT;
}

static enum taken stray(uint8_t c, GError **error)
{
	g_autofree char *valid = g_utf8_make_valid((const char *)&c, 1);
	g_autofree char *text = g_strdup_printf("JSON parse error, stray '%s'", valid);

	return fault(error, text);
}

/* Braces and brackets are counted apart, as QEMU does it. */
static enum taken take_structure(struct qmp_reader *r, uint8_t c, GError **error)
{
	r->braces += c == '{' ? 1 : c == '}' ? -1 : 0;
	r->brackets += c == '[' ? 1 : c == ']' ? -1 : 0;
	if (r->braces + r->brackets > QMP_NESTING_MAX)
		return fault(error, "JSON nesting depth limit exceeded");
	return r->braces < 0 || r->brackets < 0 || (!r->braces && !r->brackets) ? LAST : INNER;
}

static enum taken take_outside(struct qmp_reader *r, uint8_t c, GError **error)
{
	bool word = g_ascii_isalnum(c) || is_one_of("+-.", c);

	if (!word && r->text->len && !r->braces && !r->brackets) /* a word outside of brackets has no end of its own */
		return BEHIND;
	if (is_one_of("{}[]:,", c))
		return take_structure(r, c, error);
	if (c == '"' || c == '\'') {
		r->state = STRING;
		r->quote = (char)c;
		return INNER;
	}
	return word || is_one_of(" \t\r\n", c) ? INNER : stray(c, error);
}

/* In single quotes json-glib's versions differ about escapes, so there are none. */
static enum taken take_in_string(struct qmp_reader *r, uint8_t c, GError **error)
{
	bool escape = r->state == ESCAPE;

	if (c < 0x20 || c > 0xfd || (c == '\\' && r->quote == '\''))
		return stray(c, error);
	r->state = STRING;
	if (!escape && c == '\\')
		r->state = ESCAPE;
	if (escape || c != (uint8_t)r->quote)
		return INNER;
	r->state = OUTSIDE;
	return r->braces || r->brackets ? INNER : LAST;
}

static enum taken take(struct qmp_reader *r, uint8_t c, GError **error)
{
	enum taken taken;

	if (r->state == RECOVERY) {
		if ((c >= 0x20 || c == '\t') && c <= 0xfd && !is_one_of("{}[]:,", c))
			return INNER;
		r->state = OUTSIDE;
	}
	if (r->text->len == r->max)
		return fault(error, "JSON token size limit exceeded");
	taken = r->state == OUTSIDE ? take_outside(r, c, error) : take_in_string(r, c, error);
	if (taken != BEHIND && (r->text->len || !is_one_of(" \t\r\n", c)))
		g_string_append_c(r->text, (char)c);
	return taken;
}

size_t qmp_reader_feed(struct qmp_reader *r, const uint8_t *data, size_t len, JsonNode **ret_message, GError **error)
{
	*ret_message = NULL;
	for (size_t at = 0; at < len; at++) {
		enum taken taken = take(r, data[at], error);

		if (taken == INNER)
			continue;
		if (taken != FAULT)
			*ret_message = parse(r, error);
		start_anew(r, taken == FAULT ? RECOVERY : OUTSIDE);
		return at + (taken != BEHIND);
	}
	return len;
}
