/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: the bytes of an NBD client. The first one says what they are: all of a session, or (odd) what comes behind a
 * handshake with structured replies and all contexts. Whatever they are, the connection ends when they do, the image keeps its
 * size, and replies begin with one of the protocol's magic numbers.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "proto.h"
#include "nbd-server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	DISK = 256 << 10,
	GREETING = 18,
	SHAKEN = 192, /* bytes that the handshake below is answered with */
	REPLIES_MAX = 1 << 20, /* of these the rest is not read: a client that goes away */
};

static const char handshake[] = "\0\0\0\3"
				"IHAVEOPT\0\0\0\10\0\0\0\0"
				"IHAVEOPT\0\0\0\12\0\0\0\70\0\0\0\1x\0\0\0\3\0\0\0\17base:allocation\0\0\0\1x\0\0\0\23"
				"qemu:dirty-bitmap:b"
				"IHAVEOPT\0\0\0\7\0\0\0\7\0\0\0\1x\0\0";

static int extent(void *opaque, uint64_t offset, uint64_t len, bool *ret_dirty, uint64_t *ret_len)
{
	if (!len || len > DISK || offset > DISK - len)
		abort();
	*ret_dirty = offset & 4096;
	*ret_len = MIN(len, 4096 - offset % 4096);
	return 0;
}

static struct image *open_image(void)
{
	int fd = memfd_create("nbd", MFD_CLOEXEC);
	g_autofree char *text = NULL;
	g_autoptr(GVariant) options = NULL;

	if (fd < 0 || ftruncate(fd, DISK) < 0 || pwrite(fd, "data", 4, 100000) != 4)
		abort();
	text = g_strdup_printf("{'file': <'/proc/self/fd/%d'>, 'format': <'raw'>}", fd);
	options = g_variant_ref_sink(g_variant_new_parsed(text));
	return image_open(options, NULL);
}

static struct nbd_server *start(struct image *img)
{
	static const struct nbd_bitmap bitmap = { "b", extent, NULL };
	const struct nbd_server_options s = {};
	const struct nbd_export_options o = {
		.name = "x", .writable = true, .allocation_depth = true, .bitmaps = &bitmap, .n_bitmaps = 1
	};
	struct nbd_server *server = nbd_server_new(NULL, &s, NULL);

	nbd_export_add(server, img, &o, NULL);
	return server;
}

struct bytes {
	int fd;
	const uint8_t *data;
	size_t len;
	bool shaken;
};

static void *feed(void *opaque)
{
	struct bytes *b = opaque;

	if (b->shaken)
		send(b->fd, handshake, sizeof(handshake) - 1, MSG_NOSIGNAL);
	while (b->len) {
		ssize_t n = send(b->fd, b->data, b->len, MSG_NOSIGNAL);

		if (n <= 0)
			break;
		b->data += n;
		b->len -= n;
	}
	shutdown(b->fd, SHUT_WR);
	return NULL;
}

static void check_magic(const uint8_t *p, size_t len)
{
	if (len >= GREETING + 8 && get_be64(p + GREETING) != NBD_REP_MAGIC && get_be64(p + GREETING) != DISK)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct image *img;
	static struct nbd_server *server;
	static uint8_t replies[REPLIES_MAX];
	struct bytes b = { .data = data + 1, .len = size - 1 };
	size_t got = 0;
	GThread *feeder;
	int ends[2];
	ssize_t n;

	if (!size)
		return 0;
	if (!img) {
		img = open_image();
		server = start(img);
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		abort();
	nbd_server_add(server, ends[1]);
	b.fd = ends[0];
	b.shaken = data[0] & 1;
	feeder = g_thread_new("feed", feed, &b);
	while (got < sizeof(replies) && (n = recv(ends[0], replies + got, sizeof(replies) - got, 0)) > 0)
		got += n;
	shutdown(ends[0], SHUT_RDWR);
	g_thread_join(feeder);
	close(ends[0]);
	check_magic(replies, got);
	if (b.shaken && got < SHAKEN)
		abort();
	while (nbd_server_connections(server))
		g_main_context_iteration(NULL, TRUE);
	if (img->size != DISK)
		abort();
	return 0;
}
