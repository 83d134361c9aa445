/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * System calls and time without libc, for code that runs while the guest's vector state is in the host's registers
 * (fpu.h): the kernel preserves all of it, libc's wrappers promise nothing. Results are negative errno.
 */
#pragma once
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include "types.h"

static inline long sys_call6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

/* Waits while *word == expected, at most timeout_ns (UINT64_MAX: for ever). 0, -EAGAIN, -EINTR, -ETIMEDOUT. */
static inline long sys_futex_wait(u32 *word, u32 expected, u64 timeout_ns)
{
	struct timespec ts = { .tv_sec = (time_t)(timeout_ns / 1000000000u), .tv_nsec = (long)(timeout_ns % 1000000000u) };

	return sys_call6(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, expected,
			 timeout_ns == UINT64_MAX ? 0 : (long)&ts, 0, 0);
}

static inline long sys_futex_wake(u32 *word, int count)
{
	return sys_call6(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, count, 0, 0, 0);
}

static inline long sys_write(int fd, const void *p, size_t n)
{
	return sys_call6(SYS_write, fd, (long)p, (long)n, 0, 0, 0);
}

static inline long sys_read(int fd, void *p, size_t n)
{
	return sys_call6(SYS_read, fd, (long)p, (long)n, 0, 0, 0);
}

static inline void sys_yield(void)
{
	sys_call6(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

/* Signals that wait for this thread although it blocks them. */
static inline u64 sys_sigpending(void)
{
	u64 set = 0;

	sys_call6(SYS_rt_sigpending, (long)&set, sizeof(set), 0, 0, 0, 0);
	return set;
}

static inline u64 sys_rdtsc(void)
{
	u32 lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)hi << 32 | lo;
}

static inline void sys_pause(void)
{
	__asm__ volatile("pause");
}

static inline void sys_cpuid(u32 leaf, u32 subleaf, u32 out[4])
{
	__asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(subleaf));
}
