/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The loops of the benchmark that no ordinary program has by itself, each one system primitive many times: loops NAME COUNT.
 * A loop checks what the kernel answers and prints a value that depends on all of it; it ends with status 1 when an answer is
 * wrong. Linked statically, run by runner.c in the guest and natively. */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAR_FILE "/usr/lib/gcc/x86_64-linux-gnu/12/include/stddef.h"

static void check(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "loops: wrong answer: %s\n", what);
		_exit(1);
	}
}

static uint64_t loop_getppid(unsigned long count)
{
	long parent = getppid();
	uint64_t right = 0;
	for (unsigned long i = 0; i < count; i++)
		right += syscall(SYS_getppid) == parent;
	return right;
}

static uint64_t loop_stat(unsigned long count)
{
	struct stat status;
	uint64_t sum = 0;
	for (unsigned long i = 0; i < count; i++) {
		check(stat(FAR_FILE, &status) == 0 && S_ISREG(status.st_mode), "stat");
		sum += (uint64_t)status.st_size;
	}
	return sum;
}

/* A byte to the other process and back: two switches a round. */
static uint64_t loop_pipe(unsigned long count)
{
	int there[2], back[2];
	unsigned char byte = 0;
	uint64_t sum = 0;
	check(pipe(there) == 0 && pipe(back) == 0, "pipe");
	pid_t child = fork();
	if (child == 0) {
		close(there[1]);
		while (read(there[0], &byte, 1) == 1) {
			byte = (unsigned char)(byte * 5 + 1);
			check(write(back[1], &byte, 1) == 1, "write");
		}
		_exit(0);
	}
	for (unsigned long i = 0; i < count; i++) {
		check(write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1, "read");
		sum = sum * 31 + byte;
	}
	close(there[1]);
	check(waitpid(child, NULL, 0) == child, "wait");
	return sum;
}

static uint64_t wait_status(pid_t child)
{
	int status = -1;
	check(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status), "wait");
	return (uint64_t)WEXITSTATUS(status);
}

static uint64_t loop_fork(unsigned long count)
{
	uint64_t sum = 0;
	for (unsigned long i = 0; i < count; i++) {
		pid_t child = fork();
		if (child == 0)
			_exit((int)(i % 100));
		sum += wait_status(child);
	}
	return sum;
}

static uint64_t loop_exec(unsigned long count)
{
	uint64_t good = 0;
	for (unsigned long i = 0; i < count; i++) {
		pid_t child = fork();
		if (child == 0) {
			execl("/usr/bin/true", "true", (char *)NULL);
			_exit(127);
		}
		good += wait_status(child) == 0;
	}
	check(good == count, "exec");
	return good;
}

/* COUNT pages touched, in pieces of 64: fresh ones must be zero, and keep what is written. */
static uint64_t loop_fault(unsigned long count)
{
	const size_t page = 4096, pages = 64;
	uint64_t sum = 0;
	for (unsigned long done = 0; done < count; done += pages) {
		unsigned char *piece = mmap(NULL, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		check(piece != MAP_FAILED, "mmap");
		for (size_t i = 0; i < pages; i++) {
			check(piece[i * page] == 0, "a fresh page is not zero");
			piece[i * page] = (unsigned char)(i + done);
		}
		for (size_t i = 0; i < pages; i++)
			sum = sum * 31 + piece[i * page];
		check(munmap(piece, pages * page) == 0, "munmap");
	}
	return sum;
}

/* Processor alone: a sieve, and a sum that needs its result. */
static uint64_t loop_compute(unsigned long count)
{
	static unsigned char composite[1 << 16];
	uint64_t sum = 1;
	for (unsigned long round = 0; round < count; round++) {
		memset(composite, 0, sizeof(composite));
		for (size_t i = 2; i < sizeof(composite); i++) {
			if (composite[i])
				continue;
			sum = sum * 6364136223846793005 + i + round;
			for (size_t j = i * 2; j < sizeof(composite); j += i)
				composite[j] = 1;
		}
	}
	return sum;
}

static const struct {
	const char *name;
	uint64_t (*loop)(unsigned long count);
} loops[] = {
	{"getppid", loop_getppid}, {"stat", loop_stat},	  {"pipe", loop_pipe},	     {"fork", loop_fork},
	{"exec", loop_exec},	   {"fault", loop_fault}, {"compute", loop_compute},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 3 && i < sizeof(loops) / sizeof(loops[0]); i++) {
		if (strcmp(argv[1], loops[i].name) == 0) {
			printf("%s %llu\n", argv[1], (unsigned long long)loops[i].loop(strtoul(argv[2], NULL, 10)));
			return 0;
		}
	}
	fprintf(stderr, "usage: loops NAME COUNT\n");
	return 2;
}
