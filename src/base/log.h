/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines for people on standard error, `PROGRAM: text`. Any thread. Debug lines only with KV_DEBUG in the environment. */
#pragma once
#include <glib.h>
#include <stdbool.h>

void kv_log_set_program(const char *name); /* static string; default "kv" */
void kv_log_set_quiet(bool quiet);	   /* drops info lines */
void kv_log_error(const char *format, ...) G_GNUC_PRINTF(1, 2);
void kv_log_warn(const char *format, ...) G_GNUC_PRINTF(1, 2);
void kv_log_info(const char *format, ...) G_GNUC_PRINTF(1, 2);
void kv_log_debug(const char *format, ...) G_GNUC_PRINTF(1, 2);
bool kv_log_has_debug(void); /* whether they are written */
