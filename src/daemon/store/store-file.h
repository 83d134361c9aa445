/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small files that are there whole or not at all, after a crash and a power cut as well. Any thread. See store.c, index. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <sys/stat.h>

/* A text without NULs of up to max bytes. */
char *store_file_read(const char *path, gsize max, GError **error);
/* Beside it under another name, then renamed. durable: before it answers, text and name are on the disk. ret_st may be NULL. */
bool store_file_write(const char *dir, const char *file, const char *text, bool durable, struct stat *ret_st, GError **error);
bool store_file_sync_folder(const char *dir, GError **error); /* a folder that is not there has nothing to be kept */
bool store_file_is_leftover(const char *file);		      /* of a write that was cut short */
