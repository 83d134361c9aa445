/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's side of vsock.py: echoes what a client of port 1234 sends until that has no more; sends BYTES to port 5000 of the
 * host while it compares what comes back; is refused at port 5001.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define BYTES 3000000

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 31 + i / 251);
}

static void fail(const char *what)
{
	printf("vsock: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int vsock(void)
{
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (fd < 0)
		fail("socket");
	return fd;
}

static void send_all(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n <= 0)
			fail("write");
		data += n;
		len -= (size_t)n;
	}
}

static void echo(void)
{
	struct sockaddr_vm sa = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = 1234};
	uint8_t data[65536];
	size_t all = 0;
	int fd = vsock(), peer;
	ssize_t n;

	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(fd, 1))
		fail("listen");
	printf("listening\n");
	peer = accept(fd, NULL, NULL);
	if (peer < 0)
		fail("accept");
	while ((n = read(peer, data, sizeof(data))) > 0) {
		send_all(peer, data, (size_t)n);
		all += (size_t)n;
	}
	printf("echoed %zu\n", all);
	close(peer);
}

static int to_host(unsigned port)
{
	struct sockaddr_vm sa = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = port};
	int fd = vsock();

	if (!connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		return fd;
	close(fd);
	return -1;
}

static void talk(void)
{
	static uint8_t data[BYTES];
	size_t all = 0;
	int fd = to_host(5000);
	ssize_t n;

	if (fd < 0)
		fail("connect");
	for (size_t i = 0; i < BYTES; i++)
		data[i] = pattern(i);
	if (!fork()) {
		send_all(fd, data, BYTES);
		shutdown(fd, SHUT_WR);
		_exit(0);
	}
	while ((n = read(fd, data, sizeof(data))) > 0)
		for (ssize_t i = 0; i < n; i++)
			if (data[i] != pattern(all++)) {
				printf("byte %zu is wrong\n", all - 1);
				exit(1);
			}
	wait(NULL);
	printf("came back %zu\n", all);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	echo();
	talk();
	printf("port 5001: %s\n", to_host(5001) < 0 ? strerror(errno) : "connected");
	return 0;
}
