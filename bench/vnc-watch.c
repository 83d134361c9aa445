/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VNC viewer that only counts, by libvncclient: vnc-watch PORT ENCODINGS SECONDS. Tells the pictures that it has had (the first
 * pixel is the guest's number of each: bench/screen/main.c), the updates and the bytes of a second. Called by kvbench/vnc.py.
 */
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <rfb/rfbclient.h>

enum { WAIT_US = 100000 };

static unsigned frames, updates;
static uint32_t last;

static void finished(rfbClient *c)
{
	uint32_t now = *(uint32_t *)(void *)c->frameBuffer & 0xffffff;

	updates++;
	frames += now != last;
	last = now;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t received(const rfbClient *c)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	getsockopt(c->sock, IPPROTO_TCP, TCP_INFO, &info, &len);
	return info.tcpi_bytes_received;
}

static void quiet(const char *format, ...)
{
}

int main(int argc, char **argv)
{
	rfbClient *c = rfbGetClient(8, 3, 4);
	double limit = argc == 4 ? strtod(argv[3], NULL) : 0, start;
	uint64_t bytes;

	if (!limit)
		return 2;
	rfbClientLog = quiet;
	free(c->serverHost);
	c->serverHost = strdup("127.0.0.1");
	c->serverPort = (int)strtol(argv[1], NULL, 10);
	c->FinishedFrameBufferUpdate = finished;
	c->appData.encodingsString = argv[2];
	c->appData.enableJPEG = FALSE; /* QEMU's server has no loss unless asked for */
	if (!rfbInitClient(c, NULL, NULL))
		return 1;
	while (!updates)
		if (WaitForMessage(c, WAIT_US) < 0 || !HandleRFBServerMessage(c))
			return 1;
	frames = updates = 0;
	start = seconds();
	bytes = received(c);
	while (seconds() - start < limit) {
		int n = WaitForMessage(c, WAIT_US);

		if (n < 0 || (n && !HandleRFBServerMessage(c)))
			return 1;
	}
	limit = seconds() - start;
	printf("@vnc %g %g %g\n", frames / limit, updates / limit, (double)(received(c) - bytes) / limit);
	rfbClientCleanup(c);
	return 0;
}
