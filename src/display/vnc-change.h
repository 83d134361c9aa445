/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a viewer is told of a new picture when it has an old one: pieces of the old one that are elsewhere now, and pieces to
 * paint. Nothing is remembered here; vnc-viewer.c knows which picture its viewer has. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rfb/rfb.h>
#include <rfb/rfbregion.h>

/* The box of both pictures in which all changes are: what is outside of it is not looked at. Regions are of its coordinates. */
struct vnc_change {
	const uint32_t *old, *new; /* the box's first pixels */
	size_t old_stride, new_stride; /* pixels from line to line */
	int width, height;
};

/* vnc-move.c: adds to `copies` what is now where old pixels dx to the left and dy above were; false: nothing of use moved. */
bool vnc_find_move(const struct vnc_change *c, int *ret_dx, int *ret_dy, sraRegionPtr copies);

/*
 * vnc-pieces.c: the part of the region that differs, in few rectangles: two become one if that paints at most `slack` pixels
 * more. The caller destroys it.
 */
sraRegionPtr vnc_find_pieces(const struct vnc_change *c, sraRegionPtr region, int slack);
/* Where the pictures differ in the rectangle, exactly; false: nowhere. ret_pixels: how many do; NULL is quicker. */
bool vnc_find_difference(const struct vnc_change *c, const sraRect *in, sraRect *ret, int *ret_pixels);
