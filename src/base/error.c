/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The error domain and the two ways to set an error. See error.h. */
#include "error.h"

G_DEFINE_QUARK(kv-error-quark, kv_error)

bool kv_fail(GError **error, enum kv_error code, const char *format, ...)
{
	va_list ap;

	if (error) {
		va_start(ap, format);
		*error = g_error_new_valist(KV_ERROR, code, format, ap);
		va_end(ap);
	}
	return false;
}

bool kv_fail_errno(GError **error, int err, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list ap;

	va_start(ap, format);
	text = g_strdup_vprintf(format, ap);
	va_end(ap);
	return kv_fail(error, KV_ERROR_SYSTEM, "%s: %s", text, g_strerror(err));
}
