/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The formats that table.c lists, one file each. */
#pragma once

#include "image.h"

extern const struct image_format image_raw;
