/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fuzz target: a file in libvirt's format of configuration files. Texts are UTF-8, lists end, and an error has a line. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool take(void *opaque, const char *name, const struct conf_value *v, GError **error)
{
	unsigned *n = opaque;

	if (!*name || (v->type == CONF_TEXT && !g_utf8_validate(v->text, -1, NULL)))
		abort();
	for (unsigned i = 0; v->type == CONF_LIST && v->list[i]; i++)
		if (!g_utf8_validate(v->list[i], -1, NULL))
			abort();
	(*n)++;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = size ? g_strndup((const char *)data, size) : g_strdup("");
	g_autoptr(GError) error = NULL;
	unsigned n = 0;

	if (conf_parse("f", text, take, &n, &error) == (error != NULL) || (error && !g_str_has_prefix(error->message, "f:")))
		abort();
	return 0;
}
