/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random requests of 4 KiB to an NBD server, DEPTH at the same time; prints how many a second. It speaks the protocol itself, as
 * a library takes longer for a request than a server: what has come is taken with one receive, and answered by as many requests
 * with one send, for every server alike. It looks for a reply for a while before it sleeps, or one request at a time would
 * measure how long its own processor needs to wake up. Called by kvbench/nbd.py.
 * usage: nbd-load SOCKET read|write DEPTH COUNT FIRST-BYTE BYTES
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../src/nbd/proto.h"

enum {
	SIZE = 4096,
	DEPTH_MAX = 256,
	CHUNK_HEAD = NBD_CHUNK_SIZE + 8,
};

#define LOOK_S 100e-6

static int fd;
static bool writing;
static uint8_t out[DEPTH_MAX * (NBD_REQUEST_SIZE + SIZE)], in[DEPTH_MAX * (CHUNK_HEAD + SIZE)], data[SIZE];

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

static void fail(const char *what)
{
	fprintf(stderr, "nbd-load: %s\n", what);
	exit(1);
}

static void put(uint8_t *to, uint64_t value, unsigned bytes)
{
	while (bytes--) {
		to[bytes] = value;
		value >>= 8;
	}
}

static uint64_t get(const uint8_t *from, unsigned bytes)
{
	uint64_t value = 0;

	while (bytes--)
		value = value << 8 | *from++;
	return value;
}

static void send_all(const void *from, size_t len)
{
	for (ssize_t n; len; len -= n, from = (const char *)from + n) {
		n = send(fd, from, len, MSG_NOSIGNAL);
		if (n <= 0)
			fail("the server has gone");
	}
}

static void recv_all(void *to, size_t len)
{
	for (ssize_t n; len; len -= n, to = (char *)to + n) {
		n = recv(fd, to, len, 0);
		if (n <= 0)
			fail("the server has gone");
	}
}

/* ---- the handshake ---- */

/* With the replies to it: true when it was acknowledged. */
static bool option(uint32_t what, const void *bytes, uint32_t len)
{
	uint8_t head[20];

	put(head, NBD_OPTS_MAGIC, 8);
	put(head + 8, what, 4);
	put(head + 12, len, 4);
	send_all(head, NBD_OPTION_SIZE);
	send_all(bytes, len);
	for (;;) {
		uint32_t type, more;

		recv_all(head, sizeof(head));
		type = get(head + 12, 4);
		more = get(head + 16, 4);
		if (get(head, 8) != NBD_REP_MAGIC || more > sizeof(in))
			fail("not an NBD server");
		recv_all(in, more);
		if (type == NBD_REP_ACK || type & NBD_REP_ERR)
			return type == NBD_REP_ACK;
	}
}

static void connect_to(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	static const uint8_t unnamed[6];
	uint8_t hello[18], flags[4];

	if (strlen(path) >= sizeof(a.sun_path))
		fail("the socket's path is too long");
	memcpy(a.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		fail("cannot connect");
	recv_all(hello, sizeof(hello));
	put(flags, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES, 4);
	send_all(flags, 4);
	if (!option(NBD_OPT_STRUCTURED_REPLY, NULL, 0) || !option(NBD_OPT_GO, unnamed, sizeof(unnamed)))
		fail("the server refuses an option");
}

/* ---- requests ---- */

static size_t put_request(uint8_t *to, uint64_t at)
{
	put(to, NBD_REQUEST_MAGIC, 4);
	put(to + 4, 0, 2);
	put(to + 6, writing ? NBD_CMD_WRITE : NBD_CMD_READ, 2);
	put(to + 8, at, 8);
	put(to + 16, at, 8);
	put(to + 24, SIZE, 4);
	if (writing)
		memcpy(to + NBD_REQUEST_SIZE, data, SIZE);
	return NBD_REQUEST_SIZE + (writing ? SIZE : 0);
}

/* The chunk or simple reply at p, of which n bytes are there: its size, 0 if it is not complete. */
static size_t reply(const uint8_t *p, size_t n, unsigned *over)
{
	size_t size;
	unsigned type;

	if (n < NBD_SIMPLE_REPLY_SIZE)
		return 0;
	if (get(p, 4) == NBD_SIMPLE_REPLY_MAGIC) {
		if (get(p + 4, 4) || !writing)
			fail("a request has failed");
		++*over;
		return NBD_SIMPLE_REPLY_SIZE;
	}
	if (get(p, 4) != NBD_STRUCTURED_REPLY_MAGIC)
		fail("not a reply");
	size = n < NBD_CHUNK_SIZE ? n + 1 : NBD_CHUNK_SIZE + get(p + 16, 4);
	if (size > n)
		return 0;
	type = get(p + 6, 2);
	if (type != NBD_REPLY_TYPE_NONE && type != NBD_REPLY_TYPE_OFFSET_DATA && type != NBD_REPLY_TYPE_OFFSET_HOLE)
		fail("a request has failed");
	*over += get(p + 4, 2) & NBD_REPLY_FLAG_DONE;
	return size;
}

static ssize_t receive(void *to, size_t len)
{
	double until = now() + LOOK_S;
	ssize_t n;

	do
		n = recv(fd, to, len, MSG_DONTWAIT);
	while (n < 0 && errno == EAGAIN && now() < until);
	return n < 0 && errno == EAGAIN ? recv(fd, to, len, 0) : n;
}

static void run(unsigned depth, unsigned long count, uint64_t first, uint64_t blocks)
{
	unsigned long flying = 0;
	unsigned idle = depth;
	size_t have = 0;

	while (count || flying) {
		size_t len = 0, at = 0, size;
		ssize_t n;

		for (; idle && count; idle--, count--, flying++)
			len += put_request(out + len, first + next_random() % blocks * SIZE);
		send_all(out, len);
		n = receive(in + have, sizeof(in) - have);
		if (n <= 0)
			fail("the server has gone");
		have += n;
		for (unsigned over = 0; (size = reply(in + at, have - at, &over)); at += size, over = 0) {
			idle += over;
			flying -= over;
		}
		have -= at;
		memmove(in, in + at, have);
	}
}

int main(int argc, char **argv)
{
	unsigned depth = argc == 7 ? strtoul(argv[3], NULL, 0) : 0;
	unsigned long count;
	double before;

	if (!depth || depth > DEPTH_MAX) {
		fprintf(stderr, "usage: nbd-load SOCKET read|write DEPTH COUNT FIRST-BYTE BYTES\n");
		return 2;
	}
	memset(data, 5, SIZE);
	count = strtoul(argv[4], NULL, 0);
	writing = strcmp(argv[2], "write") == 0;
	connect_to(argv[1]);
	before = now();
	run(depth, count, strtoull(argv[5], NULL, 0), strtoull(argv[6], NULL, 0) / SIZE);
	printf("%.0f\n", count / (now() - before));
	close(fd);
	return 0;
}
