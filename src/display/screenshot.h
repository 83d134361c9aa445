/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A head's picture, now, as a file: PNG (ISO 15948) by libpng, or binary PPM (netpbm's ppm(5)). Main thread. For QMP's
 * screendump.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

struct display;

/* A file that is there is replaced; false with an error also when the head is off. */
bool screenshot_write(struct display *d, unsigned head, const char *path, bool png, GError **error);
