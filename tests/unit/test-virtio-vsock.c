/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtio sockets as their driver sees them; the host's sockets are this file's. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <glib/gstdio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_vsock.h>

#include "bytes.h"
#include "virtio-rig.h"

enum { RX, TX, EVENT, BUFFER = RIG_DATA, ROOM = 8192, HEADER = 44, CID = 42, GUEST = 1000, CREDIT = 256 << 10 };

struct test {
	struct rig r;
	char *dir, *path;
	int server;		/* at port 5000 */
	unsigned given;		/* receive buffers, of 4 in turn */
	struct virtio_vsock_hdr h; /* of the last packet */
	uint8_t data[ROOM];
};

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	g_strlcpy(sa.sun_path, path, sizeof(sa.sun_path));
	return sa;
}

static int client_of(const char *path)
{
	struct sockaddr_un sa = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static void give(struct test *t, uint32_t len)
{
	struct ring_buf b = { BUFFER + ROOM * (t->given++ % 4), len, true };

	assert_true(ring_add(&t->r.ring[RX], &b, 1, 0, t->r.ram + b.gpa));
	rig_kick(&t->r, RX);
}

static void open_vsock(struct test *t)
{
	g_autofree char *options = NULL, *port = NULL;
	struct sockaddr_un sa;

	memset(t, 0, sizeof(*t));
	t->dir = g_dir_make_tmp("kv-vsock-XXXXXX", NULL);
	t->path = g_build_filename(t->dir, "v", NULL);
	port = g_strconcat(t->path, "_5000", NULL);
	sa = address(port);
	t->server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(t->server, (struct sockaddr *)&sa, sizeof(sa)) || listen(t->server, 300), 0);
	options = g_strdup_printf("{'cid': <uint64 %d>, 'unix': <'%s'>}", CID, t->path);
	rig_open(&t->r, "virtio-vsock", g_variant_new_parsed(options), NULL);
	assert_int_equal(rig_read(&t->r, t->r.device, 8), CID);
	assert_true(rig_negotiate(&t->r, 0));
	for (unsigned i = 0; i < 3; i++)
		rig_queue(&t->r, i, 8);
	rig_driver_ok(&t->r);
	rig_run();
}

static void close_vsock(struct test *t)
{
	g_autofree char *port = g_strconcat(t->path, "_5000", NULL);

	rig_close(&t->r);
	close(t->server);
	g_unlink(port);
	assert_int_equal(g_rmdir(t->dir), 0); /* nothing is left */
	g_free(t->dir);
	g_free(t->path);
}

static void packet(struct test *t, const struct virtio_vsock_hdr *h, const void *data, uint32_t len)
{
	struct ring_buf b = { BUFFER + 8 * ROOM, HEADER + len, false };

	memcpy(t->r.ram + b.gpa, h, HEADER);
	if (len)
		memcpy(t->r.ram + b.gpa + HEADER, data, len);
	rig_request(&t->r, TX, &b, 1);
}

static struct virtio_vsock_hdr header(uint32_t guest, uint32_t host, uint16_t op)
{
	return (struct virtio_vsock_hdr){ .src_cid = CID, .dst_cid = 2, .src_port = guest, .dst_port = host, .type = 1, .op = op,
					  .buf_alloc = 65536 };
}

static void say(struct test *t, uint32_t guest, uint32_t host, uint16_t op)
{
	struct virtio_vsock_hdr h = header(guest, host, op);

	packet(t, &h, NULL, 0);
}

static void say_data(struct test *t, uint32_t guest, uint32_t host, const void *data, uint32_t len)
{
	struct virtio_vsock_hdr h = header(guest, host, VIRTIO_VSOCK_OP_RW);

	h.len = len;
	packet(t, &h, data, len);
}

/* The next packet's operation, 0 when there is none; its buffer is given again. */
static unsigned hear(struct test *t)
{
	uint32_t len;
	uint8_t *at;

	rig_run();
	at = ring_get(&t->r.ring[RX], &len);
	if (!at)
		return 0;
	assert_true(len >= HEADER);
	memcpy(&t->h, at, HEADER);
	assert_int_equal(t->h.len, len - HEADER);
	memcpy(t->data, at + HEADER, t->h.len);
	ring_arm(&t->r.ring[RX]);
	give(t, ROOM);
	return t->h.op;
}

static int accept_guest(struct test *t, uint32_t guest)
{
	int fd;

	say(t, guest, 5000, VIRTIO_VSOCK_OP_REQUEST);
	fd = accept4(t->server, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(fd >= 0);
	assert_int_equal(hear(t), VIRTIO_VSOCK_OP_RESPONSE);
	assert_int_equal(t->h.dst_port, guest);
	assert_int_equal(t->h.src_port, 5000);
	assert_int_equal(t->h.buf_alloc, CREDIT);
	return fd;
}

static void test_guest_connects(void **state)
{
	struct virtio_vsock_hdr h = header(GUEST, 5000, VIRTIO_VSOCK_OP_SHUTDOWN);
	char text[100];
	struct test t;
	int fd;

	open_vsock(&t);
	give(&t, ROOM);
	fd = accept_guest(&t, GUEST);
	say_data(&t, GUEST, 5000, "hello", 5);
	assert_int_equal(recv(fd, text, sizeof(text), 0), 5);
	assert_memory_equal(text, "hello", 5);
	assert_int_equal(send(fd, "answer", 6, 0), 6);
	assert_int_equal(hear(&t), VIRTIO_VSOCK_OP_RW);
	assert_int_equal(t.h.len, 6);
	assert_memory_equal(t.data, "answer", 6);
	assert_int_equal(t.h.fwd_cnt, 5);
	say(&t, GUEST, 5000, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	assert_int_equal(hear(&t), VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	/* Half, then all of it. */
	h.flags = VIRTIO_VSOCK_SHUTDOWN_SEND;
	packet(&t, &h, NULL, 0);
	assert_int_equal(recv(fd, text, sizeof(text), 0), 0);
	assert_int_equal(send(fd, "still", 5, 0), 5);
	assert_int_equal(hear(&t), VIRTIO_VSOCK_OP_RW);
	shutdown(fd, SHUT_WR);
	assert_int_equal(hear(&t), VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(t.h.flags & VIRTIO_VSOCK_SHUTDOWN_SEND, VIRTIO_VSOCK_SHUTDOWN_SEND);
	h.flags = VIRTIO_VSOCK_SHUTDOWN_SEND | VIRTIO_VSOCK_SHUTDOWN_RCV;
	packet(&t, &h, NULL, 0);
	assert_int_equal(hear(&t), VIRTIO_VSOCK_OP_RST);
	assert_int_equal(hear(&t), 0);
	close(fd);
	/* The ports are free again. */
	close(accept_guest(&t, GUEST));
	close_vsock(&t);
}

static void test_host_connects(void **state)
{
	char text[100] = { 0 };
	struct test t;
	int fd;

	open_vsock(&t);
	give(&t, ROOM);
	fd = client_of(t.path);
	assert_int_equal(send(fd, "CONN", 4, 0), 4);
	assert_int_equal(hear(&t), 0);
	/* What follows the command is data, and waits. */
	assert_int_equal(send(fd, "ECT 77\nmore", 11, 0), 11);
	assert_int_equal(hear(&t), VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(t.h.dst_port, 77);
	assert_int_equal(hear(&t), 0);
	assert_true(recv(fd, text, sizeof(text), 0) < 0);
	say(&t, 77, t.h.src_port, VIRTIO_VSOCK_OP_RESPONSE);
	assert_true(recv(fd, text, sizeof(text), 0) > 3);
	assert_memory_equal(text, "OK ", 3);
	assert_int_equal(g_ascii_strtoull(text + 3, NULL, 10), t.h.src_port);
	assert_int_equal(hear(&t), VIRTIO_VSOCK_OP_RW);
	assert_memory_equal(t.data, "more", 4);
	/* The guest resets it. */
	say(&t, 77, t.h.src_port, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(recv(fd, text, sizeof(text), 0), 0);
	close(fd);
	/* Refused; nonsense; a line without an end. */
	fd = client_of(t.path);
	assert_int_equal(send(fd, "CONNECT 78\n", 11, 0), 11);
	assert_int_equal(hear(&t), VIRTIO_VSOCK_OP_REQUEST);
	say(&t, 78, t.h.src_port, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(recv(fd, text, sizeof(text), 0), 0);
	close(fd);
	for (unsigned i = 0; i < 3; i++) {
		static const char *const lines[] = { "LISTEN 1\n", "CONNECT x\n", "CONNECT                                  1" };

		fd = client_of(t.path);
		assert_true(send(fd, lines[i], strlen(lines[i]), 0) > 0);
		rig_run();
		assert_true(!recv(fd, text, sizeof(text), 0) || errno == ECONNRESET);
		close(fd);
	}
	assert_int_equal(hear(&t), 0);
	close_vsock(&t);
}

/* Neither side can make the other keep more than was agreed on. */
static void test_credit(void **state)
{
	struct virtio_vsock_hdr h = header(GUEST, 5000, VIRTIO_VSOCK_OP_REQUEST);
	static uint8_t data[ROOM];
	uint32_t all = 0;
	unsigned op;
	struct test t;
	int fd;

	open_vsock(&t);
	give(&t, ROOM);
	h.buf_alloc = 100;
	packet(&t, &h, NULL, 0);
	fd = accept4(t.server, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_int_equal(hear(&t), VIRTIO_VSOCK_OP_RESPONSE);
	assert_int_equal(send(fd, data, 250, 0), 250);
	assert_int_equal(hear(&t), VIRTIO_VSOCK_OP_RW);
	assert_int_equal(t.h.len, 100);
	assert_int_equal(hear(&t), 0);
	h.op = VIRTIO_VSOCK_OP_CREDIT_UPDATE;
	h.fwd_cnt = 60;
	packet(&t, &h, NULL, 0);
	assert_int_equal(hear(&t), VIRTIO_VSOCK_OP_RW);
	assert_int_equal(t.h.len, 60);
	/* A guest that claims to have taken more than it got has no more credit for it. */
	h.fwd_cnt = 1000000;
	packet(&t, &h, NULL, 0);
	assert_int_equal(hear(&t), 0);
	/* The host takes nothing: the socket's buffer, ours, and then a reset. */
	do {
		say_data(&t, GUEST, 5000, data, ROOM);
		all += ROOM;
		op = hear(&t);
	} while (op != VIRTIO_VSOCK_OP_RST && all < 8 << 20);
	assert_int_equal(op, VIRTIO_VSOCK_OP_RST);
	assert_true(all > CREDIT);
	close(fd);
	close_vsock(&t);
}

static void test_refused(void **state)
{
	struct virtio_vsock_hdr h = header(GUEST, 5000, VIRTIO_VSOCK_OP_REQUEST);
	int fds[300];
	unsigned n = 0, op;
	struct test t;

	open_vsock(&t);
	give(&t, ROOM);
	say(&t, GUEST, 5001, VIRTIO_VSOCK_OP_REQUEST); /* nobody listens there */
	assert_int_equal(hear(&t), VIRTIO_VSOCK_OP_RST);
	assert_int_equal(t.h.src_port, 5001);
	say(&t, GUEST, 5000, VIRTIO_VSOCK_OP_RW); /* no connection */
	assert_int_equal(hear(&t), VIRTIO_VSOCK_OP_RST);
	say(&t, GUEST, 5000, VIRTIO_VSOCK_OP_RST); /* is not answered */
	assert_int_equal(hear(&t), 0);
	h.type = 2;
	packet(&t, &h, NULL, 0);
	assert_int_equal(hear(&t), VIRTIO_VSOCK_OP_RST);
	assert_int_equal(t.h.type, 2);
	h.type = 1;
	h.src_cid = 5; /* somebody else's name */
	packet(&t, &h, NULL, 0);
	assert_int_equal(hear(&t), 0);
	for (op = VIRTIO_VSOCK_OP_RESPONSE; op == VIRTIO_VSOCK_OP_RESPONSE && n < 300; n++) {
		say(&t, 2000 + n, 5000, VIRTIO_VSOCK_OP_REQUEST);
		fds[n] = accept4(t.server, NULL, NULL, SOCK_CLOEXEC);
		op = hear(&t);
	}
	assert_int_equal(op, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(n, 257);
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	close_vsock(&t);
}

/* Answers that nobody takes are bounded: the guest's packets wait. */
static void test_no_room(void **state)
{
	struct virtio_vsock_hdr h = header(GUEST, 5000, VIRTIO_VSOCK_OP_RW);
	struct ring_buf b = { BUFFER, HEADER, false };
	unsigned taken = 0, resets = 0;
	struct test t;

	open_vsock(&t);
	memcpy(t.r.ram + BUFFER, &h, HEADER);
	while (taken < 1000) {
		assert_true(ring_add(&t.r.ring[TX], &b, 1, 0, &t));
		rig_kick(&t.r, TX);
		if (!ring_get(&t.r.ring[TX], NULL))
			break;
		ring_arm(&t.r.ring[TX]);
		taken++;
	}
	assert_int_equal(taken, 64);
	t.given = 1;
	give(&t, ROOM);
	while (hear(&t) == VIRTIO_VSOCK_OP_RST)
		resets++;
	assert_int_equal(resets, 65);
	assert_non_null(ring_get(&t.r.ring[TX], NULL));
	close_vsock(&t);
}

static void test_hostile(void **state)
{
	struct virtio_vsock_hdr h = header(GUEST, 5000, VIRTIO_VSOCK_OP_RW);
	struct ring_buf b = { BUFFER, 20, false };
	struct test t;

	open_vsock(&t);
	assert_true(ring_add(&t.r.ring[TX], &b, 1, 0, &t));
	rig_kick(&t.r, TX);
	assert_true(rig_status(&t.r) & VIRTIO_CONFIG_S_NEEDS_RESET);
	close_vsock(&t);
	open_vsock(&t);
	h.len = 1000000;
	memcpy(t.r.ram + BUFFER, &h, HEADER);
	b.len = HEADER + 8;
	assert_true(ring_add(&t.r.ring[TX], &b, 1, 0, &t));
	rig_kick(&t.r, TX);
	assert_true(rig_status(&t.r) & VIRTIO_CONFIG_S_NEEDS_RESET);
	close_vsock(&t);
	open_vsock(&t);
	say(&t, GUEST, 5001, VIRTIO_VSOCK_OP_REQUEST);
	give(&t, HEADER);
	assert_true(rig_status(&t.r) & VIRTIO_CONFIG_S_NEEDS_RESET);
	close_vsock(&t);
}

/* A reset and a move end the connections, which the host sees; after a move the guest is told. */
static void test_ends(void **state)
{
	g_autofree char *options = NULL;
	struct ring_buf b = { BUFFER + 9 * ROOM, 4, true };
	char text[10];
	struct test t;
	int fd;

	open_vsock(&t);
	give(&t, ROOM);
	fd = accept_guest(&t, GUEST);
	options = g_strdup_printf("{'cid': <uint64 %d>, 'unix': <'%s'>}", CID, t.path);
	rig_move(&t.r, "virtio-vsock", g_variant_new_parsed(options), NULL);
	assert_int_equal(recv(fd, text, sizeof(text), 0), 0);
	close(fd);
	memset(t.r.ram + b.gpa, 0xff, 4);
	assert_true(ring_add(&t.r.ring[EVENT], &b, 1, 0, &t));
	rig_kick(&t.r, EVENT);
	assert_non_null(ring_get(&t.r.ring[EVENT], NULL));
	assert_int_equal(get_le32(t.r.ram + b.gpa), VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
	fd = accept_guest(&t, GUEST);
	rig_reset(&t.r);
	assert_int_equal(recv(fd, text, sizeof(text), 0), 0);
	close(fd);
	close_vsock(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guest_connects), cmocka_unit_test(test_host_connects), cmocka_unit_test(test_credit),
		cmocka_unit_test(test_refused),	       cmocka_unit_test(test_no_room),	     cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
