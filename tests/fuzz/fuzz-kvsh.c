/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: texts that kvsh reads. The first byte says what the rest is: a description of a server's, which must be the same
 * when it is written and read again; a URI; a command's words.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "node.h"
#include "shell.h"
#include "uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_xml(const char *text)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(node) tree = node_parse(text, &error), again = NULL;
	g_autofree char *one = NULL, *two = NULL;

	if (!tree)
		return;
	one = node_write(tree);
	again = node_parse(one, NULL);
	two = again ? node_write(again) : NULL;
	if (!two || strcmp(one, two) != 0)
		abort();
	g_ptr_array_unref(node_all(tree, "devices/disk"));
	g_free(node_text(tree));
}

static void try_uri(const char *text)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(kv_uri) u = kv_uri_parse(text, &error);
	g_autofree char *socket = u ? kv_uri_socket(u, false) : NULL;

	if (!u != !!error || (u && (!socket || !u->driver)))
		abort();
}

static void try_words(const char *text)
{
	static const struct command command = {
		"try", NULL, "<domain> [--a] [--xpath <string>] [--count <number>] [--size <string>] [[--more] <string>]..."
	};
	g_auto(GStrv) words = g_strsplit(text, " ", -1);
	struct shell sh = {};
	struct args *a = args_parse(&sh, &command, g_strv_length(words), words);
	guint64 size;
	int n;

	if (a) {
		if (!arg_text(a, "domain"))
			abort();
		arg_int(&sh, a, "count", &n);
		arg_size(&sh, a, "size", 1024, &size);
		args_free(a);
	}
	g_clear_error(&sh.error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const tries[])(const char *text) = { try_xml, try_uri, try_words };
	g_autofree char *text = size ? g_strndup((const char *)data + 1, size - 1) : NULL;

	if (text)
		tries[data[0] % G_N_ELEMENTS(tries)](text);
	return 0;
}
