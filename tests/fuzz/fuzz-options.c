/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: kv-vmm's command line (words ended by newlines), its file of options, and port forwards. Whatever
 * the text, the answer is a tree or an error with a one-line message in UTF-8.
 */
#include <stdlib.h>

#include "hostfwd.h"
#include "options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_error(bool ok, GError *error)
{
	if (ok == (error != NULL))
		abort();
	if (error && (!g_utf8_validate(error->message, -1, NULL) || !*error->message))
		abort();
	g_clear_error(&error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup(size ? (const char *)data : "", size);
	g_auto(GStrv) words = g_strsplit(text, "\n", -1);
	GError *error = NULL;
	GVariant *tree = options_parse(g_strv_length(words), words, &error);
	struct hostfwd f;

	check_error(tree, error);
	if (tree)
		g_variant_unref(tree);
	error = NULL;
	tree = options_parse_text("file", size ? (const char *)data : "", size, &error);
	check_error(tree, error);
	if (tree)
		g_variant_unref(tree);
	for (char **w = words; *w; w++) {
		bool ok;

		error = NULL;
		ok = g_utf8_validate(*w, -1, NULL) && hostfwd_parse(*w, &f, &error);
		if (ok || error)
			check_error(ok, error);
		if (ok && (!f.host_port || !f.guest_port))
			abort();
	}
	return 0;
}
