/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Locks on image files between processes, on the bytes QEMU uses, so that either program
 * notices the other. Called by file-posix.c.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

/*
 * Take the locks of a reader or a writer on @fd, for as long as its open file description
 * lives. False with KV_ERROR_BUSY when another process stands in the way.
 */
bool image_lock(int fd, const char *path, bool readonly, GError **error);

/* All of them are given back. */
void image_unlock(int fd);
