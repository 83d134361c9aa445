/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client that speaks libvirt's protocol itself, for every server alike, as a library takes longer for a message than a server.
 * Called by kvbench/manage.py.
 * rpc-load SOCKET events CLIENTS EVENTS: so many clients register for lifecycle events, one more suspends and resumes the domain
 *   "test" of test:///default EVENTS times together, and the time until each has all of them is printed in ms.
 * rpc-load SOCKET trips COUNT: as many calls, one after the other; prints the median and the 99th percentile in ms.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	PROGRAM = 0x20008086,
	CONNECT_OPEN = 1,
	LOOKUP_BY_NAME = 23,
	RESUME = 28,
	SUSPEND = 34,
	AUTH_LIST = 66,
	LIB_VERSION = 157,
	REGISTER_ANY = 316,
	LIFECYCLE = 318,
	REPLY = 1,
	MESSAGE = 2,
	HEAD = 28,
	CLIENTS_MAX = 100,
	ROOM = 65536,
	TIMEOUT_MS = 60000,
	TRIPS_MAX = 1000000,
};

struct client {
	int fd;
	size_t len;
	unsigned events, replies;
	uint8_t in[ROOM];
};

static struct client clients[CLIENTS_MAX + 1];

static void fail(const char *what)
{
	fprintf(stderr, "rpc-load: %s\n", what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static uint32_t word(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, 4);
	return ntohl(v);
}

static void call(struct client *c, unsigned procedure, const void *args, size_t len)
{
	uint32_t words[] = { htonl(HEAD + len), htonl(PROGRAM), htonl(1), htonl(procedure), 0, htonl(1), 0 };
	uint8_t out[512];

	memcpy(out, words, HEAD);
	memcpy(out + HEAD, args, len);
	if (send(c->fd, out, HEAD + len, MSG_NOSIGNAL) != (ssize_t)(HEAD + len))
		fail("the server has gone");
}

/* Counts and drops the whole messages that have come, but for the last answer, which ret may have. */
static void take(struct client *c, uint8_t *ret, size_t ret_size)
{
	ssize_t n = recv(c->fd, c->in + c->len, ROOM - c->len, 0);
	size_t at = 0, size;

	if (n <= 0)
		fail("the server has gone");
	c->len += (size_t)n;
	for (; c->len - at >= HEAD && c->len - at >= (size = word(c->in + at)); at += size) {
		const uint8_t *m = c->in + at;

		if (size < HEAD || size > ROOM)
			fail("no message of the protocol");
		c->events += word(m + 16) == MESSAGE && word(m + 12) == LIFECYCLE;
		if (word(m + 16) != REPLY)
			continue;
		c->replies++;
		if (word(m + 24))
			fail("the server refuses");
		if (ret && size - HEAD <= ret_size)
			memcpy(ret, m + HEAD, size - HEAD);
	}
	memmove(c->in, c->in + at, c->len - at);
	c->len -= at;
}

static void ask(struct client *c, unsigned procedure, const void *args, size_t len, uint8_t *ret, size_t ret_size)
{
	unsigned before = c->replies;

	call(c, procedure, args, len);
	while (c->replies == before)
		take(c, ret, ret_size);
}

static void open_client(struct client *c, const char *path)
{
	static const uint8_t uri[] = "\0\0\0\1\0\0\0\17test:///default\0\0\0\0";
	struct sockaddr_un address = { AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path))
		fail("the socket's path is too long");
	memcpy(address.sun_path, path, strlen(path));
	c->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (connect(c->fd, (struct sockaddr *)&address, sizeof(address)))
		fail("nobody listens");
	ask(c, AUTH_LIST, "", 0, NULL, 0);
	ask(c, CONNECT_OPEN, uri, 28, NULL, 0);
}

/* One call after the other, as servers may take two of a client in any order, while what the others get is taken. */
static void run(struct client *main_one, const uint8_t *domain, size_t domain_len, unsigned n_clients, unsigned n_events)
{
	struct pollfd polls[CLIENTS_MAX + 1];
	unsigned sent = 0, done = 0, first = main_one->replies;

	for (unsigned i = 0; i <= n_clients; i++)
		polls[i] = (struct pollfd){ clients[i].fd, POLLIN, 0 };
	while (done < n_clients || main_one->replies - first < n_events) {
		if (sent < n_events && sent == main_one->replies - first)
			call(main_one, sent++ % 2 ? RESUME : SUSPEND, domain, domain_len);
		if (poll(polls, n_clients + 1, TIMEOUT_MS) <= 0)
			fail("events are missing");
		done = 0;
		for (unsigned i = 0; i <= n_clients; i++) {
			if (polls[i].revents)
				take(&clients[i], NULL, 0);
			done += i < n_clients && clients[i].events >= n_events;
		}
	}
}

static void run_events(const char *path, unsigned n_clients, unsigned n_events)
{
	static const uint8_t name[] = "\0\0\0\4test", every[8];
	uint8_t domain[28];
	double begin;

	if (!n_clients || n_clients > CLIENTS_MAX || !n_events)
		fail("no such number of clients or events");
	for (unsigned i = 0; i <= n_clients; i++)
		open_client(&clients[i], path);
	for (unsigned i = 0; i < n_clients; i++)
		ask(&clients[i], REGISTER_ANY, every, sizeof(every), NULL, 0);
	ask(&clients[n_clients], LOOKUP_BY_NAME, name, 8, domain, sizeof(domain));
	begin = now();
	run(&clients[n_clients], domain, sizeof(domain), n_clients, n_events);
	printf("%.3f\n", now() - begin);
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void run_trips(const char *path, unsigned n)
{
	double *took = n && n <= TRIPS_MAX ? malloc(n * sizeof(*took)) : NULL;

	if (!took)
		fail("no such number of calls");
	open_client(&clients[0], path);
	for (unsigned i = 0; i < n; i++) {
		double begin = now();

		ask(&clients[0], LIB_VERSION, "", 0, NULL, 0);
		took[i] = now() - begin;
	}
	qsort(took, n, sizeof(*took), compare);
	printf("%.4f %.4f\n", took[n / 2], took[(size_t)n * 99 / 100]);
	free(took);
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[2], "events"))
		run_events(argv[1], (unsigned)strtoul(argv[3], NULL, 10), (unsigned)strtoul(argv[4], NULL, 10) & ~1u);
	else if (argc == 4 && !strcmp(argv[2], "trips"))
		run_trips(argv[1], (unsigned)strtoul(argv[3], NULL, 10));
	else
		fail("usage: rpc-load SOCKET events CLIENTS EVENTS | rpc-load SOCKET trips COUNT");
	return 0;
}
