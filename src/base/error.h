/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors of every part but the core: GError in one domain. A function that can fail returns bool (false) or a pointer
 * (NULL) if and only if it set *error; it never also prints. Messages name the thing, the cause, and what to do, in one
 * line without a full stop.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

#define KV_ERROR kv_error_quark()
GQuark kv_error_quark(void);

enum kv_error {
	KV_ERROR_USAGE,	  /* an option, key or value that is not understood */
	KV_ERROR_SYSTEM,  /* a system call; the message ends with strerror */
	KV_ERROR_BUSY,	  /* somebody else holds it */
	KV_ERROR_INVALID, /* bytes from outside (image, kernel, saved state) that make no sense */
	KV_ERROR_UNSUPPORTED,
	KV_ERROR_GUEST, /* the guest or the CPU engine cannot go on */
};

/* Sets the error and returns false: `return kv_fail(error, KV_ERROR_USAGE, "...")`. */
bool kv_fail(GError **error, enum kv_error code, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* The same with ": " and the text of err (a positive errno) at the end. */
bool kv_fail_errno(GError **error, int err, const char *format, ...) G_GNUC_PRINTF(3, 4);
