/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lines on standard error. A line is one write(2), so that lines of several threads and
 * processes do not mix. See log.h.
 */
#include "log.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *program = "kv";
static bool log_quiet;

void kv_log_set_program(const char *name)
{
	program = name;
}

void kv_log_set_quiet(bool quiet)
{
	log_quiet = quiet;
}

static void G_GNUC_PRINTF(1, 0) put_line(const char *format, va_list ap)
{
	g_autofree char *text = g_strdup_vprintf(format, ap);
	g_autofree char *line = g_strconcat(program, ": ", text, "\n", NULL);

	/* Nothing can be done about a lost line. */
	if (write(STDERR_FILENO, line, strlen(line)) < 0)
		return;
}

void kv_log_error(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	put_line(format, ap);
	va_end(ap);
}

void kv_log_warn(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	put_line(format, ap);
	va_end(ap);
}

void kv_log_info(const char *format, ...)
{
	va_list ap;

	if (log_quiet)
		return;
	va_start(ap, format);
	put_line(format, ap);
	va_end(ap);
}

bool kv_log_has_debug(void)
{
	return getenv("KV_DEBUG");
}

void kv_log_debug(const char *format, ...)
{
	static int enabled = -1;
	va_list ap;

	if (enabled < 0)
		enabled = kv_log_has_debug();
	if (!enabled)
		return;
	va_start(ap, format);
	put_line(format, ap);
	va_end(ap);
}
