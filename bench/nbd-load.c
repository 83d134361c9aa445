/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random requests of 4 KiB to an NBD server, DEPTH at the same time, over libnbd; prints how many a second. Called by
 * kvbench/nbd.py.   usage: nbd-load URI read|write DEPTH COUNT FIRST-BYTE BYTES
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libnbd.h>

enum {
	SIZE = 4096,
	DEPTH_MAX = 256,
};

struct slot {
	bool idle;
	char data[SIZE];
};

static struct slot slots[DEPTH_MAX];
static unsigned long flying;
static bool failed;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static uint64_t next_random(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static int over(void *opaque, int *error)
{
	((struct slot *)opaque)->idle = true;
	flying--;
	failed |= *error;
	return 1;
}

static bool start(struct nbd_handle *nbd, bool write, uint64_t at, struct slot *s)
{
	nbd_completion_callback done = { .callback = over, .user_data = s };

	s->idle = false;
	flying++;
	return (write ? nbd_aio_pwrite(nbd, s->data, SIZE, at, done, 0) : nbd_aio_pread(nbd, s->data, SIZE, at, done, 0)) >= 0;
}

static bool run(struct nbd_handle *nbd, bool write, unsigned depth, unsigned long count, uint64_t first, uint64_t blocks)
{
	while (count || flying) {
		for (unsigned i = 0; i < depth && count; i++)
			if (slots[i].idle) {
				count--;
				if (!start(nbd, write, first + next_random() % blocks * SIZE, &slots[i]))
					return false;
			}
		if (flying && nbd_poll(nbd, -1) < 0)
			return false;
	}
	return !failed;
}

int main(int argc, char **argv)
{
	struct nbd_handle *nbd = nbd_create();
	unsigned depth = argc == 7 ? strtoul(argv[3], NULL, 0) : 0;
	unsigned long count;
	double before;

	if (!nbd || !depth || depth > DEPTH_MAX) {
		fprintf(stderr, "usage: nbd-load URI read|write DEPTH COUNT FIRST-BYTE BYTES\n");
		return 2;
	}
	for (unsigned i = 0; i < depth; i++) {
		slots[i].idle = true;
		memset(slots[i].data, 5, SIZE);
	}
	count = strtoul(argv[4], NULL, 0);
	nbd_set_pread_initialize(nbd, false);
	if (nbd_connect_uri(nbd, argv[1]) < 0) {
		fprintf(stderr, "nbd-load: %s\n", nbd_get_error());
		return 1;
	}
	before = now();
	if (!run(nbd, strcmp(argv[2], "write") == 0, depth, count, strtoull(argv[5], NULL, 0),
		 strtoull(argv[6], NULL, 0) / SIZE)) {
		fprintf(stderr, "nbd-load: a request has failed\n");
		return 1;
	}
	printf("%.0f\n", count / (now() - before));
	nbd_shutdown(nbd, 0);
	nbd_close(nbd);
	return 0;
}
