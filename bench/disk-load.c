/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random requests of 4 KiB to a block device, past the page cache, `depth` of them under way (io_submit(2)). Runs in a guest.
 * usage: disk-load DEVICE read|write DEPTH SECONDS. Prints "@disk start" and "@disk end REQUESTS SECONDS".
 */
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, DEPTH_MAX = 128 };

static uint64_t state = 88172645463325252ull, blocks;
static struct iocb iocbs[DEPTH_MAX];

static uint64_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static int die(const char *what)
{
	perror(what);
	return 1;
}

static int submit(aio_context_t context, struct iocb *cb)
{
	cb->aio_offset = next() % blocks * BLOCK;
	return syscall(SYS_io_submit, context, 1, &cb) == 1 ? 0 : die("io_submit");
}

/* As soon as requests end, as many new ones begin. */
static uint64_t load(aio_context_t context, unsigned depth, double until)
{
	struct io_event events[DEPTH_MAX];
	uint64_t done = 0;

	for (unsigned i = 0; i < depth; i++)
		if (submit(context, &iocbs[i]))
			exit(1);
	while (now() < until) {
		long n = syscall(SYS_io_getevents, context, 1, depth, events, NULL);

		for (long i = 0; i < n; i++) {
			if (events[i].res != BLOCK || submit(context, (struct iocb *)(uintptr_t)events[i].obj))
				exit(1);
		}
		done += n > 0 ? n : 0;
	}
	return done;
}

int main(int argc, char **argv)
{
	int write = argc == 5 && strcmp(argv[2], "write") == 0, fd;
	unsigned depth = argc == 5 ? strtoul(argv[3], NULL, 10) : 0;
	double seconds = argc == 5 ? strtod(argv[4], NULL) : 0, start;
	aio_context_t context = 0;
	uint64_t size, done;
	char *buffers;

	if (depth < 1 || depth > DEPTH_MAX)
		return fputs("usage: disk-load DEVICE read|write DEPTH SECONDS\n", stderr), 2;
	fd = open(argv[1], (write ? O_RDWR : O_RDONLY) | O_DIRECT);
	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &size) < 0 || syscall(SYS_io_setup, depth, &context) < 0)
		return die(argv[1]);
	blocks = size / BLOCK;
	buffers = aligned_alloc(BLOCK, depth * BLOCK);
	memset(buffers, 'x', depth * BLOCK);
	for (unsigned i = 0; i < depth; i++)
		iocbs[i] = (struct iocb){ .aio_lio_opcode = write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD, .aio_fildes = fd,
					  .aio_buf = (uintptr_t)(buffers + i * BLOCK), .aio_nbytes = BLOCK };
	puts("@disk start");
	fflush(stdout);
	start = now();
	done = load(context, depth, start + seconds);
	printf("@disk end %llu %.3f\n", (unsigned long long)done, now() - start);
	return 0;
}
