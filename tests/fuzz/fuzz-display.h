/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Somebody who looks at a display, for fuzz targets of graphics devices: what is told to have changed is there. */
#pragma once

#include "display.h"
#include "fuzz-input.h"

static inline void fuzz_on_damage(void *opaque, unsigned head, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
	struct display_surface s;

	check(display_get_surface(opaque, head, &s));
	check(width && height && x + width <= s.width && y + height <= s.height);
}
