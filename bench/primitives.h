/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The primitives of ring 3 (user.S), a table for the guest and the native program. */
#pragma once
#include <stdint.h>

typedef void primitive_fn(uint64_t count, void *scratch);

struct primitive {
	const char *name;
	primitive_fn *run;
	unsigned unroll; /* operations for each count */
};

extern const struct primitive user_primitives[]; /* ends with a NULL name */

/* Ticks for `count` turns of it; the guest's goes to ring 3 in between. */
typedef uint64_t primitive_timer(const struct primitive *p, uint64_t count);
