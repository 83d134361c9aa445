/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Short integer names and small attributes, for src/core/soft only. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define NOINLINE __attribute__((noinline))
#define PAGE_SIZE 4096ull
#define PAGE_MASK (~(PAGE_SIZE - 1))

/* Bits 63 to 47 of a 64-bit linear address are equal (SDM vol. 1, 3.3.7.1). */
static inline bool is_canonical(u64 la)
{
	return !((la + 0x800000000000ull) >> 48);
}
