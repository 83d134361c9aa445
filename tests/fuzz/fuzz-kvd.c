/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: the bytes of a client of kvd that has opened test:///default, at once and in pieces of 7. Whatever they are, what
 * comes back are whole messages, and the connection ends when the client has hung up.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "client.h"
#include "dispatch.h"
#include "hv.h"
#include "poller.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* connect_open of test:///default; the last byte of the text is its end, then padding comes to flags. */
static const char open_call[] = "\0\0\0\x38" "\x20\0\x80\x86" "\0\0\0\1" "\0\0\0\1" "\0\0\0\0" "\0\0\0\1" "\0\0\0\0"
				"\0\0\0\1" "\0\0\0\x0f" "test:///default\0" "\0\0\0";

static void start(void)
{
	static bool done;
	char folder[] = "/tmp/fuzz-kvd-XXXXXX";

	if (done)
		return;
	done = true;
	/* What a call saves goes there. */
	if (!mkdtemp(folder) || chdir(folder) || rmdir(folder))
		abort();
	hv_set_default(true, "test:///default");
	dispatch_start();
	state_acquire();
	if (!poller_start(NULL))
		abort();
	state_release();
}

/* What has come back; whole messages are checked and taken out. true: the other side has hung up. */
static bool take(int fd, GByteArray *in)
{
	uint8_t buf[4096];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		g_byte_array_append(in, buf, n);
	while (in->len >= RPC_LENGTH) {
		struct rpc_header h;
		uint32_t len = rpc_message_length(in->data, NULL);

		if (!len)
			abort();
		if (in->len < len)
			break;
		if (!rpc_message_header(in->data, &h, NULL) || h.type == RPC_CALL)
			abort();
		g_byte_array_remove_range(in, 0, len);
	}
	return n == 0;
}

static bool turn(int fd, GByteArray *in)
{
	g_main_context_iteration(NULL, FALSE);
	return take(fd, in);
}

static void give(int fd, const uint8_t *data, size_t size, size_t step, GByteArray *in)
{
	for (size_t at = 0; at < size;) {
		ssize_t n = send(fd, data + at, MIN(step, size - at), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0)
			at += n;
		else if (n < 0 && errno != EAGAIN)
			return; /* it has had enough */
		turn(fd, in);
	}
}

static void run(const uint8_t *data, size_t size, size_t step)
{
	g_autoptr(GByteArray) in = g_byte_array_new();
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) || fcntl(pair[1], F_SETFL, O_NONBLOCK))
		abort();
	state_acquire();
	if (!client_new(pair[1], &(struct client_kind){ 0 }, NULL))
		abort();
	state_release();
	if (send(pair[0], open_call, sizeof(open_call), MSG_DONTWAIT) != sizeof(open_call))
		abort();
	/* Its answer comes from a worker. */
	while (recv(pair[0], &(char){ 0 }, 1, MSG_PEEK | MSG_DONTWAIT) < 0)
		g_main_context_iteration(NULL, FALSE);
	give(pair[0], data, size, step, in);
	shutdown(pair[0], SHUT_WR);
	while (!turn(pair[0], in))
		;
	close(pair[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	start();
	run(data, size, SIZE_MAX);
	run(data, MIN(size, 512), 7);
	return 0;
}
