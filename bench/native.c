/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernels and ring 3's primitives as a native program: the ceiling that bench/run compares with. Same objects and same
 * lines as the guest's (bench/guest/main.c), and the rate of the TSC, in which guests count.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "kernels.h"
#include "primitives.h"
#include "report.h"

static void *arena, *other_arena;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t run_primitive(const struct primitive *p, uint64_t count)
{
	uint64_t start = read_tsc();

	p->run(count, arena);
	return read_tsc() - start;
}

static uint64_t run_kernel(const struct kernel *k, uint64_t *ret_sum)
{
	uint64_t start = read_tsc();

	*ret_sum = k->run(arena);
	return read_tsc() - start;
}

static void *run_other(void *kernel)
{
	static u64 sum;

	sum = ((const struct kernel *)kernel)->run(other_arena);
	return &sum;
}

static uint64_t run_kernel_twice(const struct kernel *k, uint64_t *ret_sum)
{
	uint64_t start = read_tsc();
	pthread_t thread;
	void *sum;

	if (pthread_create(&thread, NULL, run_other, (void *)k))
		exit(1);
	*ret_sum = k->run(arena);
	pthread_join(thread, &sum);
	start = read_tsc() - start;
	if (*(u64 *)sum != *ret_sum)
		report_sum(k->name, *(u64 *)sum);
	return start;
}

static void *new_arena(void)
{
	void *p = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("bench-native: arena");
		exit(1);
	}
	madvise(p, ARENA_SIZE, MADV_NOHUGEPAGE); /* the guest's pages are small as well */
	memset(p, 0, ARENA_SIZE);
	return p;
}

void report_line(const char *name, uint64_t thousandths, const char *unit)
{
	printf("@bench %s %" PRIu64 ".%03u %s\n", name, thousandths / 1000, (unsigned)(thousandths % 1000), unit);
	fflush(stdout);
}

void report_sum(const char *name, uint64_t sum)
{
	printf("@bench %s %016" PRIx64 " sum\n", name, sum);
}

int main(int argc, char **argv)
{
	uint64_t ns = now_ns(), ticks = read_tsc();

	arena = new_arena();
	other_arena = new_arena();
	if (argc == 1 || !strcmp(argv[1], "kernels"))
		report_kernels(run_kernel, "ticks");
	if (argc == 1 || !strcmp(argv[1], "primitives"))
		report_primitives(user_primitives, run_primitive);
	if (argc == 2 && !strcmp(argv[1], "smp")) {
		report_kernels(run_kernel, "ticks");
		report_kernels(run_kernel_twice, "twice-ticks");
	}
	ticks = read_tsc() - ticks;
	ns = now_ns() - ns;
	report_line("tsc", (uint64_t)((double)ticks / (double)ns * 1e9), "kHz");
	report_line("end", 0, "-");
	return 0;
}
