/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * no-log.c - base/log.h that says nothing, in the place of the library's: a broken ring is worth a line, ten thousand are not.
 * Linked into fuzz targets whose devices warn.
 */
#include "log.h"

void kv_log_set_program(const char *name)
{
}

void kv_log_set_quiet(bool quiet)
{
}

void kv_log_error(const char *format, ...)
{
}

void kv_log_warn(const char *format, ...)
{
}

void kv_log_info(const char *format, ...)
{
}

void kv_log_debug(const char *format, ...)
{
}

bool kv_log_has_debug(void)
{
	return false;
}
