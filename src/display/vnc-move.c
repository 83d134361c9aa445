/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finds what has moved between two pictures: a window, lines of text. Corners (pixels that are not as their neighbours to the
 * left and above) are where pictures can be told apart; those whose surroundings are the same in both, and once in each, vote
 * for a way. The ways with the most votes are tried: the largest rectangles that are all as the old picture was, so far away,
 * are what moved. So a vote may be wrong, and a copy may not.
 *
 * The work is bounded: pixels are gone through a few times, patches are 1,024 of each picture. Called by vnc-viewer.c.
 */
#include <glib.h>
#include <string.h>

#include "vnc-change.h"

enum { PATCH_WIDTH = 32, PATCH_HEIGHT = 8, PATCHES = 1024, BUCKETS = 2 * PATCHES, SIGNS = 1 << 16 };
enum { WAYS = 512, PROBES = 16, ELECTED = 3 };
enum { GAIN_MIN = 1024 /* pixels that a copy saves */, COPIES = 4, TRIES = 8, BOXES = 3 * TRIES + 1 };

struct patch {
	uint64_t hash;
	uint32_t sign; /* of its first pixels: those with the smallest are taken, in both pictures the same */
	int x, y;
	unsigned same; /* an old one's: in the old picture, and then in the new */
	int dx, dy;
};

struct patches {
	const uint32_t *pixels;
	size_t stride;
	unsigned n;
	uint32_t last; /* no sign is larger */
	struct patch patch[PATCHES];
};

struct way {
	int dx, dy;
	unsigned votes;
};

struct search {
	struct patches old, new;
	uint16_t bucket[BUCKETS]; /* of old patches: number + 1 */
	struct way way[WAYS];
};

/* ---- corners and patches ---- */

static uint32_t turn(uint32_t value, unsigned by)
{
	return value << by | value >> (32 - by);
}

static uint32_t sign_of(const uint32_t *p, size_t stride)
{
	return (p[0] ^ turn(p[1], 5) ^ turn(p[4], 13) ^ turn(p[2 * stride + 2], 23)) * 0x9e3779b1u;
}

static uint64_t hash_of(const uint32_t *p, size_t stride)
{
	uint64_t h = 0;

	for (unsigned y = 0; y < PATCH_HEIGHT; y += 2, p += 2 * stride)
		for (unsigned x = 0; x < PATCH_WIDTH; x += 2)
			h = (h ^ (p[x] | (uint64_t)p[x + 1] << 32)) * 0x9e3779b97f4a7c15ull + (h >> 29);
	return h * 0x9e3779b97f4a7c15ull;
}

static void keep_to(struct patches *s, uint32_t last)
{
	unsigned n = 0;

	s->last = last;
	for (unsigned i = 0; i < s->n; i++)
		if (s->patch[i].sign <= last)
			s->patch[n++] = s->patch[i];
	s->n = n;
}

static void add_patch(struct patches *s, uint32_t sign, int x, int y)
{
	while (s->n == PATCHES && sign <= s->last && s->last)
		keep_to(s, s->last / 2);
	/* Full of one that is everywhere, or not of its like any more. */
	if (s->n < PATCHES && sign <= s->last)
		s->patch[s->n++] = (struct patch){.sign = sign, .x = x, .y = y};
}

static void find_patches(struct patches *s, int width, int height)
{
	for (int y = 0; y + PATCH_HEIGHT <= height; y++) {
		const uint32_t *p = s->pixels + (size_t)y * s->stride, *above = y ? p - s->stride : NULL;

		for (int x = 0; x + PATCH_WIDTH <= width; x++) {
			uint32_t sign;

			if ((x && p[x] == p[x - 1]) || (above && p[x] == above[x]))
				continue;
			sign = sign_of(p + x, s->stride);
			if (sign <= s->last)
				add_patch(s, sign, x, y);
		}
	}
}

/* Whose signs the other has too: of a film, for one, nearly none. */
static void keep_common(struct patches *s, const struct patches *other)
{
	uint64_t seen[SIGNS / 64] = {0};
	unsigned n = 0;

	for (unsigned i = 0; i < other->n; i++)
		seen[other->patch[i].sign % SIGNS / 64] |= 1ull << other->patch[i].sign % 64;
	for (unsigned i = 0; i < s->n; i++)
		if (seen[s->patch[i].sign % SIGNS / 64] >> s->patch[i].sign % 64 & 1)
			s->patch[n++] = s->patch[i];
	s->n = n;
}

static void hash_patches(struct patches *s)
{
	for (unsigned i = 0; i < s->n; i++)
		s->patch[i].hash = hash_of(s->pixels + (size_t)s->patch[i].y * s->stride + s->patch[i].x, s->stride);
}

/* ---- votes ---- */

static struct patch *find_old(struct search *s, uint64_t hash, unsigned *ret_bucket)
{
	unsigned b = (unsigned)(hash >> 40) % BUCKETS;

	for (; s->bucket[b]; b = (b + 1) % BUCKETS)
		if (s->old.patch[s->bucket[b] - 1].hash == hash)
			return &s->old.patch[s->bucket[b] - 1];
	*ret_bucket = b;
	return NULL;
}

static void enter_old(struct search *s)
{
	for (unsigned i = 0, b; i < s->old.n; i++) {
		struct patch *same = find_old(s, s->old.patch[i].hash, &b);

		if (same)
			same->same = 1;
		else
			s->bucket[b] = (uint16_t)(i + 1);
	}
}

static void vote(struct search *s, int dx, int dy)
{
	uint32_t at = ((uint32_t)dx * 0x9e3779b1u ^ (uint32_t)dy * 0x85ebca6bu) >> 16;

	for (unsigned i = 0; i < PROBES; i++) {
		struct way *w = &s->way[(at + i) % WAYS];

		if (w->votes && (w->dx != dx || w->dy != dy))
			continue;
		*w = (struct way){dx, dy, w->votes + 1};
		return;
	}
}

static void vote_all(struct search *s)
{
	for (unsigned i = 0, b; i < s->new.n; i++) {
		const struct patch *p = &s->new.patch[i];
		struct patch *from = find_old(s, p->hash, &b);

		if (!from)
			continue;
		from->same++;
		from->dx = p->x - from->x;
		from->dy = p->y - from->y;
	}
	for (unsigned i = 0; i < s->old.n; i++) {
		const struct patch *p = &s->old.patch[i];

		if (p->same == 1 && (p->dx || p->dy))
			vote(s, p->dx, p->dy);
	}
}

/* Each time the next best; false: there is none. */
static bool elect(struct search *s, struct way *ret)
{
	struct way *best = &s->way[0];

	for (unsigned i = 1; i < WAYS; i++)
		if (s->way[i].votes > best->votes)
			best = &s->way[i];
	*ret = *best;
	best->votes = 0;
	return ret->votes;
}

/* ---- rectangles that moved ---- */

static int area(const sraRect *r)
{
	return (r->x2 - r->x1) * (r->y2 - r->y1);
}

/*
 * The largest rectangle of columns that stand on the line `bottom`: each is of right pixels from its `top` on. A column is on the
 * stack while those to its left are higher.
 */
static void harvest(const int *top, int *stack, const sraRect *in, int bottom, sraRect *best)
{
	int n = 0, width = in->x2 - in->x1;

	for (int x = 0; x <= width; x++) {
		int begin = x < width ? top[x] : bottom;

		while (n && top[stack[n - 1]] <= begin) {
			int y = top[stack[--n]], left = n ? stack[n - 1] + 1 : 0;
			sraRect r = {in->x1 + left, y, in->x1 + x, bottom};

			if (area(&r) > area(best))
				*best = r;
		}
		stack[n++] = x;
	}
}

/* What is all right in the box, which is where the old pixels are in the change's box as well. */
static sraRect find_largest(const struct vnc_change *c, const struct way *way, const sraRect *in)
{
	int width = in->x2 - in->x1;
	g_autofree int *top = g_new(int, width), *stack = g_new(int, width + 1);
	sraRect best = {0};

	for (int x = 0; x < width; x++)
		top[x] = in->y1;
	for (int y = in->y1; y < in->y2; y++) {
		const uint32_t *new = c->new + (size_t)y * c->new_stride + in->x1;
		const uint32_t *old = c->old + (size_t)(y - way->dy) * c->old_stride + (in->x1 - way->dx);
		bool ends = false;

		if (!memcmp(new, old, (size_t)width * sizeof(*new)))
			continue;
		for (int x = 0; x < width && !ends; x++)
			ends = new[x] != old[x] && top[x] < y;
		/* Where no column ends, the next line has what this one has, and more. */
		if (ends)
			harvest(top, stack, in, y, &best);
		for (int x = 0; x < width; x++)
			if (new[x] != old[x])
				top[x] = y + 1;
	}
	harvest(top, stack, in, in->y2, &best);
	return best;
}

static unsigned add_box(sraRect *box, unsigned n, sraRect r)
{
	if (r.x2 > r.x1 && r.y2 > r.y1 && area(&r) >= GAIN_MIN)
		box[n++] = r;
	return n;
}

static bool find_copies(const struct vnc_change *c, const struct way *way, sraRegionPtr copies)
{
	sraRect box[BOXES + 4];
	unsigned n = add_box(box, 0, (sraRect){MAX(way->dx, 0), MAX(way->dy, 0), c->width + MIN(way->dx, 0),
					       c->height + MIN(way->dy, 0)});
	unsigned found = 0;

	for (unsigned tries = 0; n && tries < TRIES && found < COPIES; tries++) {
		sraRect in = box[--n], all = find_largest(c, way, &in), changed;
		int gain = 0;

		if (area(&all) < GAIN_MIN)
			continue;
		if (vnc_find_difference(c, &all, &changed, &gain) && gain >= GAIN_MIN) {
			sraRegionPtr r = sraRgnCreateRect(changed.x1, changed.y1, changed.x2, changed.y2);

			sraRgnOr(copies, r);
			sraRgnDestroy(r);
			found++;
		}
		n = add_box(box, n, (sraRect){in.x1, all.y1, all.x1, all.y2});
		n = add_box(box, n, (sraRect){all.x2, all.y1, in.x2, all.y2});
		n = add_box(box, n, (sraRect){in.x1, in.y1, in.x2, all.y1});
		n = add_box(box, n, (sraRect){in.x1, all.y2, in.x2, in.y2});
	}
	return found;
}

bool vnc_find_move(const struct vnc_change *c, int *ret_dx, int *ret_dy, sraRegionPtr copies)
{
	g_autofree struct search *s = NULL;
	struct way way;

	if (c->width < PATCH_WIDTH || c->height < PATCH_HEIGHT || (int64_t)c->width * c->height < GAIN_MIN)
		return false;
	s = g_new0(struct search, 1);
	s->old.pixels = c->old;
	s->old.stride = c->old_stride;
	s->new.pixels = c->new;
	s->new.stride = c->new_stride;
	s->old.last = UINT32_MAX;
	find_patches(&s->old, c->width, c->height);
	s->new.last = s->old.last;
	find_patches(&s->new, c->width, c->height);
	keep_common(&s->old, &s->new); /* which were not dropped for want of room, too */
	keep_common(&s->new, &s->old);
	hash_patches(&s->old);
	hash_patches(&s->new);
	enter_old(s);
	vote_all(s);
	for (unsigned i = 0; i < ELECTED && elect(s, &way); i++)
		if (find_copies(c, &way, copies)) {
			*ret_dx = way.dx;
			*ret_dy = way.dy;
			return true;
		}
	return false;
}
