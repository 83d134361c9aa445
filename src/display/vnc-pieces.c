/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rectangles that a viewer is sent of a change. Each costs some thirty bytes, whatever is in it (its header, a palette, the
 * end of a block of zlib's), and each pixel that is as it was costs little; so rectangles are as small as what differs, but
 * neighbours become one. Called by vnc-viewer.c.
 */
#include <glib.h>
#include <string.h>

#include "vnc-change.h"

enum { PASSES = 3 };

bool vnc_find_difference(const struct vnc_change *c, const sraRect *in, sraRect *ret, int *ret_pixels)
{
	sraRect found = {INT_MAX, INT_MAX, 0, 0};
	int pixels = 0;

	for (int y = in->y1; y < in->y2; y++) {
		const uint32_t *old = c->old + (size_t)y * c->old_stride, *new = c->new + (size_t)y * c->new_stride;
		int first = in->x1, end = in->x2;

		if (!memcmp(old + first, new + first, (size_t)(end - first) * sizeof(*new)))
			continue;
		while (old[first] == new[first])
			first++;
		while (old[end - 1] == new[end - 1])
			end--;
		for (int x = first; ret_pixels && x < end; x++)
			pixels += old[x] != new[x];
		found.x1 = MIN(found.x1, first);
		found.x2 = MAX(found.x2, end);
		found.y1 = MIN(found.y1, y);
		found.y2 = y + 1;
	}
	if (!found.y2)
		return false;
	*ret = found;
	if (ret_pixels)
		*ret_pixels = pixels;
	return true;
}

static int area(const sraRect *r)
{
	return (r->x2 - r->x1) * (r->y2 - r->y1);
}

static sraRect both(const sraRect *a, const sraRect *b)
{
	return (sraRect){MIN(a->x1, b->x1), MIN(a->y1, b->y1), MAX(a->x2, b->x2), MAX(a->y2, b->y2)};
}

/* Each joins the first before it that has it cheaply; what grew may then join another. */
static unsigned join(sraRect *r, unsigned n, int slack)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < n; i++) {
		unsigned k = 0;

		for (; k < kept; k++) {
			sraRect one = both(&r[k], &r[i]);

			if (area(&one) - area(&r[k]) - area(&r[i]) <= slack) {
				r[k] = one;
				break;
			}
		}
		if (k == kept)
			r[kept++] = r[i];
	}
	return kept;
}

sraRegionPtr vnc_find_pieces(const struct vnc_change *c, sraRegionPtr region, int slack)
{
	g_autofree sraRect *r = g_new(sraRect, sraRgnCountRects(region) + 1);
	sraRectangleIterator *it = sraRgnGetIterator(region);
	sraRegionPtr found = sraRgnCreate();
	unsigned n = 0, before = 0;
	sraRect in;

	while (sraRgnIteratorNext(it, &in))
		n += vnc_find_difference(c, &in, &r[n], NULL);
	sraRgnReleaseIterator(it);
	for (unsigned pass = 0; pass < PASSES && n != before; pass++) {
		before = n;
		n = join(r, n, slack);
	}
	for (unsigned i = 0; i < n; i++) {
		sraRegionPtr one = sraRgnCreateRect(r[i].x1, r[i].y1, r[i].x2, r[i].y2);

		sraRgnOr(found, one);
		sraRgnDestroy(one);
	}
	return found;
}
