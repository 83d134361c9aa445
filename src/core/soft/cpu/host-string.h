/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs of string instructions over host memory, by the host's own; direction is up. For cpu/string.c and jit/string.c. */
#pragma once
#include "../types.h"

static inline void host_movs(void *dst, const void *src, u64 n, unsigned size)
{
	switch (size) {
	case 1:
		__asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
		break;
	case 2:
		__asm__ volatile("rep movsw" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
		break;
	case 4:
		__asm__ volatile("rep movsl" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
		break;
	default:
		__asm__ volatile("rep movsq" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
	}
}

static inline void host_stos(void *dst, u64 v, u64 n, unsigned size)
{
	switch (size) {
	case 1:
		__asm__ volatile("rep stosb" : "+D"(dst), "+c"(n) : "a"(v) : "memory");
		break;
	case 2:
		__asm__ volatile("rep stosw" : "+D"(dst), "+c"(n) : "a"(v) : "memory");
		break;
	case 4:
		__asm__ volatile("rep stosl" : "+D"(dst), "+c"(n) : "a"(v) : "memory");
		break;
	default:
		__asm__ volatile("rep stosq" : "+D"(dst), "+c"(n) : "a"(v) : "memory");
	}
}

/* What the repeated compares below have in common: the elements looked at, and the last one's flags as lahf and seto give. */
#define HOST_COMPARE(insn, ...) \
	__asm__ volatile(insn "\n\tlahf\n\tseto %%al" : "+a"(rax), "+D"(b), "+c"(left) __VA_ARGS__ : : "memory", "cc")

/* REPNE (until equal) or REPE SCAS of n > 0 elements at b. */
static inline u64 host_scas(const void *b, u64 rax, u64 n, unsigned size, bool until_equal, u32 *ret_flags)
{
	u64 left = n;

	switch (size | until_equal << 4) {
	case 1:
		HOST_COMPARE("repe scasb");
		break;
	case 2:
		HOST_COMPARE("repe scasw");
		break;
	case 4:
		HOST_COMPARE("repe scasl");
		break;
	case 8:
		HOST_COMPARE("repe scasq");
		break;
	case 0x11:
		HOST_COMPARE("repne scasb");
		break;
	case 0x12:
		HOST_COMPARE("repne scasw");
		break;
	case 0x14:
		HOST_COMPARE("repne scasl");
		break;
	default:
		HOST_COMPARE("repne scasq");
	}
	*ret_flags = (u16)rax;
	return n - left;
}

/* REPNE or REPE CMPS of n > 0 elements: at a with those at b. */
static inline u64 host_cmps(const void *a, const void *b, u64 n, unsigned size, bool until_equal, u32 *ret_flags)
{
	u64 left = n, rax = 0;

	switch (size | until_equal << 4) {
	case 1:
		HOST_COMPARE("repe cmpsb", , "+S"(a));
		break;
	case 2:
		HOST_COMPARE("repe cmpsw", , "+S"(a));
		break;
	case 4:
		HOST_COMPARE("repe cmpsl", , "+S"(a));
		break;
	case 8:
		HOST_COMPARE("repe cmpsq", , "+S"(a));
		break;
	case 0x11:
		HOST_COMPARE("repne cmpsb", , "+S"(a));
		break;
	case 0x12:
		HOST_COMPARE("repne cmpsw", , "+S"(a));
		break;
	case 0x14:
		HOST_COMPARE("repne cmpsl", , "+S"(a));
		break;
	default:
		HOST_COMPARE("repne cmpsq", , "+S"(a));
	}
	*ret_flags = (u16)rax;
	return n - left;
}
