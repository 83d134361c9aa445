/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The compute kernels: plain C, compiled once and linked into the bare guest (bench/guest) and into a native program
 * (bench/native.c). Each works in an arena that the caller provides and returns a checksum that must be the same everywhere.
 * No libc and no static data that is written: the guest runs them in ring 3.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define ARENA_SIZE (4u << 20) /* bytes, page aligned; contents do not matter */

struct kernel {
	const char *name;
	u64 (*run)(void *arena);
};

extern const struct kernel bench_kernels[]; /* ends with a NULL name */

u64 kernel_sort(void *arena);
u64 kernel_hash(void *arena);
u64 kernel_lz(void *arena);
u64 kernel_tree(void *arena);
u64 kernel_sha(void *arena);
u64 kernel_call(void *arena);
u64 kernel_interp(void *arena);
u64 kernel_strm(void *arena);
u64 kernel_mm(void *arena);

/* Marsaglia's xorshift64 (Journal of Statistical Software 8/14), the input of all of them; never 0. */
static inline u64 next_random(u64 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static inline u64 mix(u64 sum, u64 value)
{
	return (sum ^ value) * 0x9e3779b97f4a7c15ull + (sum >> 29);
}
