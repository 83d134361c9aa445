/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --config: options of a file, one a line, as they would stand on the command line, but that the rest of the line is the value.
 * Lines, and not sections of keys, because options are repeated and their order counts, and because a mistake then has a line's
 * number. The command line comes after it. Called by options.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "options.h"

enum { FILE_MAX = 1 << 20 };

/* line: trimmed, not empty, changed. */
static bool parse_line(GVariantDict *dict, char *line, GError **error)
{
	char *name = line + (g_str_has_prefix(line, "--") ? 2 : 0), *value = strpbrk(name, " \t=");
	g_autofree char *word = NULL;
	const struct option *o;
	char *words[2];
	int i = 0;

	if (value) {
		bool equals = *value == '=';

		*value++ = 0;
		value += strspn(value, " \t");
		if (!equals && *value == '=')
			value += 1 + strspn(value + 1, " \t");
	}
	word = g_strconcat("--", name, NULL);
	words[0] = word;
	words[1] = value;
	o = options_find(option_table, name);
	if (o && !strcmp(o->name, "config"))
		return kv_fail(error, KV_ERROR_USAGE, "--config: a file cannot name another; give both on the command line");
	if (o && o->type == OPTION_FLAG && value)
		return kv_fail(error, KV_ERROR_USAGE, "--%s: takes no value", name);
	return options_add(dict, value ? 2 : 1, words, &i, error);
}

GVariant *options_parse_text(const char *name, const char *text, size_t len, GError **error)
{
	g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
	g_auto(GStrv) lines = NULL;
	g_autofree char *copy = NULL;

	if (memchr(text, 0, len) || !g_utf8_validate(text, (gssize)len, NULL)) {
		kv_fail(error, KV_ERROR_INVALID, "--config: '%s' is not text in UTF-8", name);
		return NULL;
	}
	copy = g_strndup(text, len);
	lines = g_strsplit(copy, "\n", -1);
	for (unsigned i = 0; lines[i]; i++) {
		char *line = g_strstrip(lines[i]);

		if (*line && *line != '#' && !parse_line(&dict, line, error)) {
			g_prefix_error(error, "%s:%u: ", name, i + 1);
			return NULL;
		}
	}
	return g_variant_ref_sink(g_variant_dict_end(&dict));
}

GVariant *options_parse_file(const char *path, GError **error)
{
	g_autofree char *text = g_malloc(FILE_MAX + 1);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = 1;

	while (fd >= 0 && n > 0 && len <= FILE_MAX) {
		n = read(fd, text + len, FILE_MAX + 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	if (fd < 0 || n < 0)
		kv_fail_errno(error, errno, "--config: cannot read '%s'", path);
	else if (len > FILE_MAX)
		kv_fail(error, KV_ERROR_INVALID, "--config: '%s' has more than %d KiB", path, FILE_MAX >> 10);
	if (fd >= 0)
		close(fd);
	return fd < 0 || n < 0 || len > FILE_MAX ? NULL : options_parse_text(path, text, len, error);
}

static void merge_lists(GVariantDict *dict, const char *name, GVariant *first, GVariant *then)
{
	GVariantBuilder builder;

	g_variant_builder_init(&builder, G_VARIANT_TYPE_ARRAY);
	for (unsigned list = 0; list < 2; list++) {
		GVariantIter iter;
		GVariant *item;

		g_variant_iter_init(&iter, list ? then : first);
		while ((item = g_variant_iter_next_value(&iter))) {
			g_variant_builder_add_value(&builder, item);
			g_variant_unref(item);
		}
	}
	g_variant_dict_insert_value(dict, name, g_variant_builder_end(&builder));
}

void options_merge(GVariantDict *dict, GVariant *file)
{
	for (const struct option *o = option_table; o->name; o++) {
		g_autoptr(GVariant) first = g_variant_lookup_value(file, o->name, NULL);
		g_autoptr(GVariant) then = g_variant_dict_lookup_value(dict, o->name, NULL);

		if (first && then && o->repeat)
			merge_lists(dict, o->name, first, then);
		else if (first && !then)
			g_variant_dict_insert_value(dict, o->name, first);
	}
}
