/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Storage that is files of this host: its parts. Called without the state lock, in any thread. */
#pragma once
#include "pools.h"

/*
 * One file as a volume. *ret_skip: it is none, and left out of lists (pipes, sockets, what went away or may not be read);
 * NULL: that is an error. Whatever it is, opening does not wait.
 */
bool files_look(const char *path, const struct volume_facts *as, struct volume_facts *ret, bool *ret_skip, GError **error);
bool files_create(const struct volume_plan *plan, GError **error);
bool files_erase(const struct volume *v, GError **error);
bool files_resize(const struct volume *v, guint64 capacity, unsigned flags, GError **error);
bool files_wipe(const struct volume *v, unsigned algorithm, GError **error);
int files_open(const struct volume *v, bool write, GError **error);
/* A new file's owner and mode, where somebody said any. */
bool files_set_owner(int fd, const char *path, const struct volume_stat *s, GError **error);
/* Bytes of one file into another that has none yet, without its holes; shared: both files have the same blocks. */
enum copy_how { COPY_BYTES, COPY_MAY_SHARE, COPY_MUST_SHARE };
bool files_copy(int from, const char *from_path, int to, const char *to_path, enum copy_how how, GError **error);
/* from's disk into a new image: all of it, or only what its own layer has. */
bool files_convert(const struct volume *from, const char *to, const char *to_format, bool own_layer, GError **error);
