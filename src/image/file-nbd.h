/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * NBD exports in the place of files: which names are theirs, and what the module behind them gives. libnbd takes longer to start
 * than a command of kv-img, so it is in a module (src/nbd/client.c, kv-nbd-client.so), which is loaded for the first such name.
 */
#pragma once
#include "file.h"

/* "nbd://", "nbds://", "nbd+unix://", "nbds+unix://", and QEMU's "nbd:HOST:PORT[:exportname=X]", "nbd:unix:PATH[...]". */
bool image_file_is_nbd(const char *name);
/* The URI that such a name means, to be freed. */
char *image_file_nbd_uri(const char *name, GError **error);
/* Connects. flags as for image_file_open(). */
struct image_file *image_file_open_nbd(const char *name, bool readonly, unsigned flags, GError **error);

/* The module's function. warn: where it says what happens later. */
typedef struct image_file *image_nbd_connect(const char *name, const char *uri, bool readonly,
					     void (*warn)(const char *format, ...), GError **error);
#define IMAGE_NBD_MODULE "kv-nbd-client"
#define IMAGE_NBD_SYMBOL "kv_nbd_connect"
