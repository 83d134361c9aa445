/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disks in OVA files. Called by image.c. Private to src/image. */
#pragma once
#include "file.h"

/* Could this be one? By its name and its first bytes (512, or what the file has). */
bool ova_looks_like(const char *path, const uint8_t *head, size_t len);
/*
 * A window into the file, which it takes over, also when it fails: the bytes of one member, read only. member NULL: the only
 * disk that there is.
 */
struct image_file *ova_open_member(struct image_file *f, const char *member, GError **error);
