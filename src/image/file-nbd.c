/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of NBD exports, and the way to the module that opens them. Called by image.c. See file-nbd.h. */
#include "file-nbd.h"

#include <string.h>

#include "error.h"
#include "log.h"
#include "module.h"

static const char *const schemes[] = { "nbd://", "nbds://", "nbd+unix://", "nbds+unix://" };

static bool is_uri(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(schemes); i++)
		if (g_str_has_prefix(name, schemes[i]))
			return true;
	return false;
}

bool image_file_is_nbd(const char *name)
{
	return is_uri(name) || g_str_has_prefix(name, "nbd:");
}

/* QEMU's older form. An address of IPv6 has its brackets. */
static char *from_qemu(const char *name, GError **error)
{
	const char *rest = name + strlen("nbd:"), *export = strstr(rest, ":exportname=");
	g_autofree char *where = export ? g_strndup(rest, export - rest) : g_strdup(rest);
	g_autofree char *escaped = g_uri_escape_string(export ? export + strlen(":exportname=") : "", "/", TRUE);
	char *colon = strrchr(where, ':');

	if (g_str_has_prefix(where, "unix:") && where[strlen("unix:")]) {
		g_autofree char *path = g_uri_escape_string(where + strlen("unix:"), "/", TRUE);

		return g_strdup_printf("nbd+unix:///%s?socket=%s", escaped, path);
	}
	if (colon && colon != where && colon[1] && strspn(colon + 1, "0123456789") == strlen(colon + 1))
		return g_strdup_printf("nbd://%s/%s", where, escaped);
	kv_fail(error, KV_ERROR_USAGE, "'%s' is no NBD export; give nbd://HOST:PORT/NAME or nbd+unix:///NAME?socket=PATH", name);
	return NULL;
}

char *image_file_nbd_uri(const char *name, GError **error)
{
	return is_uri(name) ? g_strdup(name) : from_qemu(name, error);
}

struct image_file *image_file_open_nbd(const char *name, bool readonly, unsigned flags, GError **error)
{
	g_autofree char *uri = image_file_nbd_uri(name, error);
	image_nbd_connect *connect = NULL;

	if (uri)
		connect = (image_nbd_connect *)kv_module_symbol(IMAGE_NBD_MODULE, IMAGE_NBD_SYMBOL, error);
	return connect ? connect(name, uri, readonly, kv_log_warn, error) : NULL;
}
