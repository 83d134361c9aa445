/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network backends: port forwards in text, checksums and segmentation, and the user network
 * driven as a guest would: DHCP, ARP, and a TCP connection to a server of the test with a
 * packet that is left for us to split.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "error.h"
#include "hostfwd.h"
#include "net.h"
#include "offload.h"

static const struct {
	const char *text;
	const char *message; /* NULL: good */
} forwards[] = {
	{ "tcp::2222-:22", NULL },
	{ "udp:127.0.0.1:53-10.0.2.15:53", NULL },
	{ "tcp:127.0.0.1:65535-:1", NULL },
	{ "sctp::1-:2", "it starts with neither tcp: nor udp:" },
	{ "", "it starts with neither tcp: nor udp:" },
	{ "tcp:2222", "a part is missing" },
	{ "tcp::2222", "a part is missing" },
	{ "tcp::2222-22", "a part is missing" },
	{ "tcp:localhost:1-:2", "the host's address is not an IPv4 address" },
	{ "tcp:127.0.0.1.127.0.0.1:1-:2", "the host's address is not an IPv4 address" },
	{ "tcp::0-:2", "the host's port is not a number from 1 to 65535" },
	{ "tcp::65536-:2", "the host's port is not a number from 1 to 65535" },
	{ "tcp::+1-:2", "the host's port is not a number from 1 to 65535" },
	{ "tcp::-:2", "the host's port is not a number from 1 to 65535" },
	{ "tcp::1-x:2", "the guest's address is not an IPv4 address" },
	{ "tcp::1-:2:3", "the guest's port is not a number from 1 to 65535" },
	{ "tcp::1-:", "the guest's port is not a number from 1 to 65535" },
};

static void test_hostfwd(void **state)
{
	struct hostfwd f;

	for (size_t i = 0; i < G_N_ELEMENTS(forwards); i++) {
		g_autoptr(GError) error = NULL;
		bool ok = hostfwd_parse(forwards[i].text, &f, &error);

		assert_int_equal(ok, !forwards[i].message);
		if (!ok && !strstr(error->message, forwards[i].message))
			fail_msg("%s: %s", forwards[i].text, error->message);
	}
	assert_true(hostfwd_parse("udp:127.0.0.1:53-10.0.2.16:5353", &f, NULL));
	assert_true(f.udp);
	assert_int_equal(f.host.s_addr, htonl(INADDR_LOOPBACK));
	assert_int_equal(f.host_port, 53);
	assert_int_equal(f.guest.s_addr, inet_addr("10.0.2.16"));
	assert_int_equal(f.guest_port, 5353);
	assert_true(hostfwd_parse("tcp::1-:2", &f, NULL));
	assert_int_equal(f.host.s_addr, INADDR_ANY);
}

/* --- frames --- */

enum { ETH = 14, IP = 20, TCP = 20, HEADERS = ETH + IP + TCP };

static const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };
static uint8_t host_mac[6];

static uint16_t be16(const uint8_t *p)
{
	return p[0] << 8 | p[1];
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)be16(p) << 16 | be16(p + 2);
}

static void set16(uint8_t *p, uint16_t v)
{
	p[0] = v >> 8;
	p[1] = v;
}

static void set32(uint8_t *p, uint32_t v)
{
	set16(p, v >> 16);
	set16(p + 2, v);
}

static uint32_t pseudo(const uint8_t *f, size_t l4_len)
{
	return net_csum_add(f[ETH + 9] + l4_len, f + ETH + 12, 8);
}

/* Headers of an IPv4 frame from the guest; the transport's bytes are set by the caller. */
static void put_ip(uint8_t *f, size_t len, uint8_t protocol, uint32_t from, uint32_t to)
{
	memset(f, 0, ETH + IP);
	memcpy(f, host_mac, 6);
	memcpy(f + 6, guest_mac, 6);
	set16(f + 12, 0x0800);
	f[ETH] = 0x45;
	set16(f + ETH + 2, len - ETH);
	f[ETH + 8] = 64;
	f[ETH + 9] = protocol;
	set32(f + ETH + 12, from);
	set32(f + ETH + 16, to);
	set16(f + ETH + 10, net_csum_fold(net_csum_add(0, f + ETH, IP)));
}

/* A TCP segment whose sum is left to us, as Linux leaves it: the pseudo header's, folded. */
static void put_tcp(uint8_t *f, size_t len, uint32_t to, uint16_t port, uint32_t seq, uint32_t ack,
		    uint8_t flags)
{
	uint8_t *t = f + ETH + IP;

	put_ip(f, len, IPPROTO_TCP, 0x0a00020f, to);
	memset(t, 0, TCP);
	set16(t, 40000);
	set16(t + 2, port);
	set32(t + 4, seq);
	set32(t + 8, ack);
	t[12] = TCP / 4 << 4;
	t[13] = flags;
	set16(t + 14, 65535);
	set16(t + 16, ~net_csum_fold(pseudo(f, len - ETH - IP)));
}

static bool sums_good(const uint8_t *f, size_t len)
{
	size_t l4 = len - ETH - IP;

	return net_csum_fold(net_csum_add(0, f + ETH, IP)) == 0 &&
	       net_csum_fold(net_csum_add(pseudo(f, l4), f + ETH + IP, l4)) == 0;
}

struct frames {
	unsigned n;
	uint32_t seq;
	size_t payload;
	uint8_t bytes[1 << 17];
	bool fin_early;
	bool bad;
};

static void on_frame(void *opaque, const uint8_t *f, size_t len)
{
	struct frames *all = opaque;
	size_t n = len - HEADERS;

	all->bad |= !sums_good(f, len) || be16(f + ETH + 2) != len - ETH;
	all->bad |= be32(f + ETH + IP + 4) != (uint32_t)(all->seq + all->payload);
	all->bad |= be16(f + ETH + 4) != all->n;
	all->fin_early |= (f[ETH + IP + 13] & 1) && all->payload + n != 60000;
	memcpy(all->bytes + all->payload, f + HEADERS, n);
	all->payload += n;
	all->n++;
}

static void test_segments(void **state)
{
	static struct frames got;
	static uint8_t f[HEADERS + 60000], data[60000];
	struct virtio_net_hdr hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				      .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
				      .hdr_len = HEADERS,
				      .gso_size = 1448,
				      .csum_start = ETH + IP,
				      .csum_offset = 16 };

	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = i * 7 + i / 251;
	for (unsigned pass = 0; pass < 2; pass++) {
		memset(&got, 0, sizeof(got));
		got.seq = 0xfffffff0; /* wraps */
		memcpy(f + HEADERS, data, sizeof(data));
		put_tcp(f, sizeof(f), 0x0a000202, 80, got.seq, 1, 0x19);
		assert_true(net_offload_finish(f, sizeof(f), &hdr, pass ? 32768 : 0, on_frame, &got));
		assert_false(got.bad);
		assert_false(got.fin_early);
		assert_int_equal(got.n, pass ? 2 : (60000 + 1447) / 1448);
		assert_int_equal(got.payload, sizeof(data));
		assert_memory_equal(got.bytes, data, sizeof(data));
	}
}

static void test_checksum(void **state)
{
	static struct frames got;
	static uint8_t f[HEADERS + 101];
	struct virtio_net_hdr hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				      .csum_start = ETH + IP, .csum_offset = 16 };

	memset(&got, 0, sizeof(got));
	memset(f, 0x5a, sizeof(f));
	put_tcp(f, sizeof(f), 0x0a000202, 80, 0, 1, 0x18);
	assert_true(net_offload_finish(f, sizeof(f), &hdr, 0, on_frame, &got));
	assert_int_equal(got.n, 1);
	assert_false(got.bad);
}

/* Reads every byte, for the sanitizers. */
static void count_frame(void *opaque, const uint8_t *f, size_t len)
{
	struct frames *all = opaque;

	for (size_t i = 0; i < len; i++)
		all->payload += f[i];
	all->n++;
}

/* Headers that do not fit the frame: refused, nothing sent, nothing read outside. */
static void test_hostile(void **state)
{
	static struct frames got;
	g_autoptr(GRand) rand = g_rand_new_with_seed(3);
	struct virtio_net_hdr hdr;

	hdr = (struct virtio_net_hdr){ .flags = 1, .csum_start = 60, .csum_offset = 0xffff };
	for (unsigned i = 0; i < 20000; i++) {
		size_t len = g_rand_int_range(rand, 0, 200);
		/* Exactly this long, for the sanitizers. */
		g_autofree uint8_t *f = g_malloc(len);

		for (size_t j = 0; j < len; j++)
			f[j] = g_rand_int(rand);
		if (len > 60 && i % 2) {
			put_tcp(f, len, 0, 0, 0, 0, 0);
			f[ETH] = g_rand_boolean(rand) ? 0x45 : g_rand_int(rand);
			f[ETH + IP + 12] = g_rand_int(rand);
		}
		hdr.gso_type = g_rand_int_range(rand, 0, 6);
		hdr.gso_size = g_rand_int_range(rand, 0, 40);
		hdr.csum_start = g_rand_int_range(rand, 0, 210);
		hdr.csum_offset = g_rand_int_range(rand, 0, 210);
		memset(&got, 0, offsetof(struct frames, bytes));
		if (!net_offload_finish(f, len, &hdr, 0, count_frame, &got))
			assert_int_equal(got.n, 0);
	}
}

/* --- the user network --- */

struct guest {
	struct netdev *dev;
	bool full;
	GQueue frames; /* of GBytes */
};

static bool guest_can_receive(void *opaque)
{
	return !((struct guest *)opaque)->full;
}

static bool guest_receive(void *opaque, const struct virtio_net_hdr *hdr, const struct iovec *iov,
			  unsigned n_iov)
{
	struct guest *g = opaque;

	assert_false(g->full);
	assert_int_equal(n_iov, 1);
	g_queue_push_tail(&g->frames, g_bytes_new(iov->iov_base, iov->iov_len));
	return true;
}

static const struct net_client client = { .can_receive = guest_can_receive, .receive = guest_receive };

static gboolean too_late(gpointer data)
{
	fail_msg("nothing came for 10 seconds");
	return G_SOURCE_REMOVE;
}

/* The next frame that the filter accepts; the others are dropped. */
static GBytes *next_frame(struct guest *g, bool (*filter)(const uint8_t *f, size_t len))
{
	guint timer = g_timeout_add_seconds(10, too_late, NULL);

	while (true) {
		GBytes *b = g_queue_pop_head(&g->frames);
		size_t len;
		const uint8_t *f;

		if (!b) {
			g_main_context_iteration(NULL, TRUE);
			continue;
		}
		f = g_bytes_get_data(b, &len);
		if (filter(f, len)) {
			g_source_remove(timer);
			return b;
		}
		g_bytes_unref(b);
	}
}

static void send_frame(struct guest *g, uint8_t *f, size_t len, const struct virtio_net_hdr *hdr)
{
	static const struct virtio_net_hdr plain;
	/* In parts, as a card has them. */
	struct iovec iov[] = { { f, 10 }, { f + 10, 0 }, { f + 10, len - 10 } };

	net_send(g->dev, hdr ? hdr : &plain, iov, G_N_ELEMENTS(iov));
}

static bool is_dhcp_reply(const uint8_t *f, size_t len)
{
	return len > ETH + IP + 8 + 240 && be16(f + 12) == 0x0800 && f[ETH + 9] == IPPROTO_UDP &&
	       be16(f + ETH + IP + 2) == 68;
}

static bool is_arp_reply(const uint8_t *f, size_t len)
{
	return len >= 42 && be16(f + 12) == 0x0806 && be16(f + 20) == 2;
}

static bool is_tcp(const uint8_t *f, size_t len)
{
	return len >= HEADERS && be16(f + 12) == 0x0800 && f[ETH + 9] == IPPROTO_TCP;
}

/* A message with these options (RFC 2132), and the address that the answer has. */
static uint32_t ask_dhcp(struct guest *g, const char *options, size_t n)
{
	uint8_t f[ETH + IP + 8 + 240 + 64] = {}, *b = f + ETH + IP + 8;
	const uint8_t *r;
	uint32_t address;
	GBytes *reply;

	memset(host_mac, 0xff, 6);
	put_ip(f, sizeof(f), IPPROTO_UDP, 0, 0xffffffff);
	set16(f + ETH + IP, 68);
	set16(f + ETH + IP + 2, 67);
	set16(f + ETH + IP + 4, sizeof(f) - ETH - IP);
	b[0] = b[1] = 1;
	b[2] = 6;
	set32(b + 4, 0x12345678);
	memcpy(b + 28, guest_mac, 6);
	set32(b + 236, 0x63825363);
	memcpy(b + 240, options, n);
	send_frame(g, f, sizeof(f), NULL);
	reply = next_frame(g, is_dhcp_reply);
	r = (const uint8_t *)g_bytes_get_data(reply, NULL) + ETH + IP + 8;
	assert_int_equal(be32(r + 4), 0x12345678);
	address = be32(r + 16);
	g_bytes_unref(reply);
	return address;
}

static void dhcp(struct guest *g)
{
	assert_int_equal(ask_dhcp(g, "\x35\x01\x01\xff", 4), 0x0a00020f); /* DISCOVER */
}

static void arp(struct guest *g)
{
	uint8_t f[42] = {};
	GBytes *reply;

	memset(f, 0xff, 6);
	memcpy(f + 6, guest_mac, 6);
	set16(f + 12, 0x0806);
	memcpy(f + 14, "\0\1\x8\0\6\4\0\1", 8);
	memcpy(f + 22, guest_mac, 6);
	set32(f + 28, 0x0a00020f);
	set32(f + 38, 0x0a000202);
	send_frame(g, f, sizeof(f), NULL);
	reply = next_frame(g, is_arp_reply);
	memcpy(host_mac, (const uint8_t *)g_bytes_get_data(reply, NULL) + 22, 6);
	g_bytes_unref(reply);
}

static void start_guest(struct guest *g, const char *options)
{
	g_autoptr(GVariant) v = g_variant_ref_sink(g_variant_new_parsed(options));
	g_autoptr(GError) error = NULL;

	*g = (struct guest){ .dev = net_open("user", v, NULL, &error) };
	if (!g->dev)
		fail_msg("%s", error->message);
	net_attach(g->dev, &client, g);
	assert_true(g->dev->link_up);
	dhcp(g);
	arp(g);
}

static GVariant *describe(struct guest *g, const char *name, const char *type)
{
	g_autoptr(GVariant) all = net_describe(g->dev);

	return g_variant_lookup_value(all, name, G_VARIANT_TYPE(type));
}

static guint64 count(struct guest *g, const char *name)
{
	g_autoptr(GVariant) v = describe(g, name, "t");

	assert_non_null(v);
	return g_variant_get_uint64(v);
}

static void stop_guest(struct guest *g)
{
	g_queue_clear_full(&g->frames, (GDestroyNotify)g_bytes_unref);
	net_close(g->dev);
}

static int listen_local(uint16_t *ret_port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	*ret_port = ntohs(sa.sin_port);
	return fd;
}

static const struct virtio_net_hdr needs_csum = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
						  .csum_start = ETH + IP, .csum_offset = 16 };

static void test_tcp_out(void **state)
{
	enum { PAYLOAD = 50000 };
	static uint8_t f[HEADERS + PAYLOAD], got[PAYLOAD];
	struct virtio_net_hdr hdr = needs_csum;
	uint16_t port;
	int listener = listen_local(&port), fd;
	struct guest g;
	uint32_t ack;
	GBytes *reply;
	size_t have = 0;

	start_guest(&g, "@a{sv} {}");
	put_tcp(f, HEADERS, 0x0a000202, port, 1000, 0, 0x02);
	send_frame(&g, f, HEADERS, &needs_csum);
	reply = next_frame(&g, is_tcp);
	ack = be32((const uint8_t *)g_bytes_get_data(reply, NULL) + ETH + IP + 4) + 1;
	assert_int_equal(((const uint8_t *)g_bytes_get_data(reply, NULL))[ETH + IP + 13], 0x12);
	assert_true(sums_good(g_bytes_get_data(reply, NULL), g_bytes_get_size(reply)));
	g_bytes_unref(reply);
	for (unsigned i = 0; i < PAYLOAD; i++)
		f[HEADERS + i] = i % 253;
	put_tcp(f, sizeof(f), 0x0a000202, port, 1001, ack, 0x18);
	hdr.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	hdr.gso_size = 1460;
	send_frame(&g, f, sizeof(f), &hdr);
	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	while (have < PAYLOAD) {
		ssize_t n = recv(fd, got + have, PAYLOAD - have, MSG_DONTWAIT);

		if (n > 0)
			have += n;
		else
			g_main_context_iteration(NULL, FALSE);
	}
	for (unsigned i = 0; i < PAYLOAD; i++)
		assert_int_equal(got[i], i % 253);
	close(fd);
	close(listener);
	stop_guest(&g);
}

/* With restrict=on the guest reaches nobody: its SYN does not arrive at the server. */
static void test_restrict(void **state)
{
	uint8_t f[HEADERS] = {};
	uint16_t port;
	int listener = listen_local(&port);
	struct pollfd pfd = { .fd = listener, .events = POLLIN };
	struct guest g;

	start_guest(&g, "{'restrict': <true>}");
	put_tcp(f, HEADERS, 0x0a000202, port, 1000, 0, 0x02);
	send_frame(&g, f, HEADERS, &needs_csum);
	for (unsigned i = 0; i < 50; i++) {
		g_main_context_iteration(NULL, FALSE);
		assert_int_equal(poll(&pfd, 1, 1), 0);
	}
	close(listener);
	stop_guest(&g);
}

/* A connection from the host; the guest has no room for a moment and gets the frame after. */
static void test_hostfwd_and_resume(void **state)
{
	uint16_t port;
	int fd = listen_local(&port);
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	g_autofree char *options = NULL;
	struct guest g;
	const uint8_t *f;
	GBytes *syn;

	close(fd); /* free now, as far as anybody can say */
	options = g_strdup_printf("{'hostfwd': <['tcp:127.0.0.1:%u-:22']>}", port);
	start_guest(&g, options);
	g.full = true;
	sa.sin_port = htons(port);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), -1);
	for (unsigned i = 0; i < 10; i++) {
		g_main_context_iteration(NULL, FALSE);
		g_usleep(1000);
	}
	assert_int_equal(g.frames.length, 0);
	g.full = false;
	net_resume(g.dev);
	syn = next_frame(&g, is_tcp);
	f = g_bytes_get_data(syn, NULL);
	assert_int_equal(be16(f + ETH + IP + 2), 22);
	assert_int_equal(f[ETH + IP + 13], 0x02);
	assert_int_equal(be32(f + ETH + 16), 0x0a00020f);
	g_bytes_unref(syn);
	close(fd);
	stop_guest(&g);
}

static bool is_tftp(const uint8_t *f, size_t len)
{
	return len >= ETH + IP + 8 + 4 && be16(f + 12) == 0x0800 && f[ETH + 9] == IPPROTO_UDP && be16(f + ETH + IP) == 69;
}

/* Sends a packet of TFTP to the gateway; what it answers. RFC 1350. */
static GBytes *tftp(struct guest *g, const char *packet, size_t len)
{
	uint8_t f[ETH + IP + 8 + 100] = {};

	memcpy(f + ETH + IP + 8, packet, len);
	put_ip(f, ETH + IP + 8 + len, IPPROTO_UDP, 0x0a00020f, 0x0a000202);
	set16(f + ETH + IP, 2000);
	set16(f + ETH + IP + 2, 69);
	set16(f + ETH + IP + 4, 8 + len);
	send_frame(g, f, ETH + IP + 8 + len, NULL);
	return next_frame(g, is_tftp);
}

/* A file of the folder is read, one outside is not, and the folder's name counts when it is opened. */
static void test_tftp(void **state)
{
	static const char good[] = "\0\1/file\0octet", bad[] = "\0\1/../file\0octet";
	g_autofree char *folder = g_dir_make_tmp(NULL, NULL), *inner = g_build_filename(folder, "inner", NULL);
	g_autofree char *file = g_build_filename(inner, "file", NULL), *above = g_build_filename(folder, "file", NULL);
	g_autofree char *options = g_strdup_printf("{'tftp': <'%s/../%s/inner'>}", folder, strrchr(folder, '/') + 1);
	struct guest g;
	GBytes *reply;

	assert_int_equal(mkdir(inner, 0700), 0);
	assert_true(g_file_set_contents(file, "inside", -1, NULL) && g_file_set_contents(above, "outside", -1, NULL));
	start_guest(&g, options);
	reply = tftp(&g, good, sizeof(good));
	assert_int_equal(g_bytes_get_size(reply), ETH + IP + 8 + 4 + 6);
	assert_memory_equal((const uint8_t *)g_bytes_get_data(reply, NULL) + ETH + IP + 8, "\0\3\0\1inside", 10);
	g_bytes_unref(reply);
	reply = tftp(&g, bad, sizeof(bad));
	assert_memory_equal((const uint8_t *)g_bytes_get_data(reply, NULL) + ETH + IP + 8, "\0\5", 2);
	g_bytes_unref(reply);
	stop_guest(&g);
	unlink(file);
	unlink(above);
	rmdir(inner);
	rmdir(folder);
}

static bool is_advertisement(const uint8_t *f, size_t len)
{
	return len > ETH + 40 && be16(f + 12) == 0x86dd && f[ETH + 6] == IPPROTO_ICMPV6 && f[ETH + 40] == 134;
}

/* Routers are asked for (RFC 4861, 4.1): fec0::/64 is advertised. */
static void test_ipv6(void **state)
{
	static const uint8_t all_routers[] = { 0xff, 0x02, [15] = 2 }, link_local[] = { 0xfe, 0x80, [15] = 1 };
	uint8_t f[ETH + 40 + 8] = { 0x33, 0x33, 0, 0, 0, 2, [12] = 0x86, 0xdd, [ETH] = 0x60 }, *ip = f + ETH;
	uint32_t sum = 8 + IPPROTO_ICMPV6;
	struct guest g;
	GBytes *reply;

	memcpy(f + 6, guest_mac, 6);
	set16(ip + 4, 8);
	ip[6] = IPPROTO_ICMPV6;
	ip[7] = 255;
	memcpy(ip + 8, link_local, 16);
	memcpy(ip + 24, all_routers, 16);
	ip[40] = 133;
	for (unsigned i = 8; i < 48; i += 2)
		sum += be16(ip + i);
	set16(ip + 42, ~(sum % 0xffff));
	start_guest(&g, "@a{sv} {}");
	send_frame(&g, f, sizeof(f), NULL);
	reply = next_frame(&g, is_advertisement);
	assert_non_null(memmem(g_bytes_get_data(reply, NULL), g_bytes_get_size(reply), "\xfe\xc0\0\0\0\0\0\0\0\0", 10));
	g_bytes_unref(reply);
	stop_guest(&g);
}

static void test_errors(void **state)
{
	uint16_t port;
	int fd = listen_local(&port);
	g_autofree char *text = g_strdup_printf("{'hostfwd': <['tcp:127.0.0.1:%u-:22']>}", port);
	g_autoptr(GVariant) taken = g_variant_ref_sink(g_variant_new_parsed(text));
	g_autoptr(GVariant) folder = g_variant_ref_sink(g_variant_new_parsed("{'tftp': <'/dev/null'>}"));
	g_autoptr(GError) error = NULL, unknown = NULL, file = NULL;
	struct netdev *none;

	assert_null(net_open("user", taken, NULL, &error));
	assert_non_null(strstr(error->message, "Address already in use"));
	assert_null(net_open("tap", taken, NULL, &unknown));
	assert_string_equal(unknown->message,
			    "network kind 'tap' is not known; give none or user");
	assert_null(net_open("user", folder, NULL, &file));
	assert_string_equal(file->message, "tftp '/dev/null': not a folder");
	none = net_open("none", NULL, NULL, NULL);
	assert_false(none->link_up);
	net_close(none);
	close(fd);
}

/* ---- a network with addresses of its own ---- */

#define OWN "'net': <'192.168.77.0/24'>, 'host': <'192.168.77.1'>, 'dns': <'192.168.77.254'>, 'dhcpstart': <'192.168.77.50'>"

static void test_lease(void **state)
{
	static const char request[] = "\x35\x01\x03\x32\x04\xc0\xa8\x4d\x32\x0c\x05guest\xff";
	g_autoptr(GVariant) v = g_variant_ref_sink(g_variant_new_parsed("{" OWN ", 'hostname': <'named'>}"));
	g_autoptr(GVariant) lease = NULL, none = NULL;
	const char *address = NULL, *mac = NULL, *name = NULL;
	struct guest g = { .dev = net_open("user", v, NULL, NULL) };
	guint64 seconds = 0;

	assert_non_null(g.dev);
	net_attach(g.dev, &client, &g);
	none = describe(&g, "lease", "a{sv}");
	assert_null(none);
	assert_int_equal(ask_dhcp(&g, "\x35\x01\x01\xff", 4), 0xc0a84d32);
	none = describe(&g, "lease", "a{sv}");
	assert_null(none); /* an offer is none */
	assert_int_equal(ask_dhcp(&g, request, sizeof(request) - 1), 0xc0a84d32);
	lease = describe(&g, "lease", "a{sv}");
	assert_non_null(lease);
	g_variant_lookup(lease, "address", "&s", &address);
	g_variant_lookup(lease, "mac", "&s", &mac);
	g_variant_lookup(lease, "hostname", "&s", &name);
	g_variant_lookup(lease, "seconds", "t", &seconds);
	assert_string_equal(address, "192.168.77.50");
	assert_string_equal(mac, "52:54:00:01:02:03");
	assert_string_equal(name, "guest");
	assert_int_equal(seconds, 86400);
	assert_int_equal(count(&g, "tx-packets"), 2);
	assert_true(count(&g, "rx-packets") >= 2 && count(&g, "rx-bytes") > 500 && count(&g, "tx-bytes") > 500);
	g.dev->link_up = false;
	net_send(g.dev, &(struct virtio_net_hdr){ 0 }, NULL, 0);
	assert_int_equal(count(&g, "tx-dropped"), 1);
	stop_guest(&g);
}

static void test_changing_forwards(void **state)
{
	struct guest g;
	uint16_t port;
	int fd = listen_local(&port);
	g_autofree char *rule = g_strdup_printf("tcp:127.0.0.1:%u-:22", port);
	g_autofree char *listener = g_strdup_printf("tcp:127.0.0.1:%u", port);
	g_autoptr(GVariant) list = NULL;
	g_autoptr(GError) taken = NULL, absent = NULL, wrong = NULL;

	start_guest(&g, "{'ipv6': <false>}");
	assert_false(net_forward(g.dev, rule, true, &taken));
	assert_non_null(strstr(taken->message, "cannot listen"));
	close(fd);
	assert_true(net_forward(g.dev, rule, true, NULL));
	list = describe(&g, "hostfwd", "as");
	assert_int_equal(g_variant_n_children(list), 1);
	assert_true(net_forward(g.dev, listener, false, NULL));
	assert_false(net_forward(g.dev, listener, false, &absent));
	assert_non_null(strstr(absent->message, "no such forward"));
	assert_false(net_forward(g.dev, "x", false, &wrong));
	assert_true(net_forward(g.dev, rule, true, NULL)); /* the port is free again */
	stop_guest(&g);
}

static void test_config(void **state)
{
	static const char *const cases[][2] = {
		{ "{'net': <'10.0.0.0/31'>}", "net '10.0.0.0/31' is not ADDRESS/BITS" },
		{ "{'net': <''>}", "net '' is not ADDRESS/BITS" },
		{ "{'net': <'x/8'>}", "net 'x/8' is not ADDRESS/BITS" },
		{ "{'host': <'10.0.3.1'>}", "host '10.0.3.1' is not an address of the guest's network" },
		{ "{'host': <'10.0.2.255'>}", "host '10.0.2.255' is not an address of the guest's network" },
		{ "{'host': <'10.0.2.3'>}", "dns: it needs another address than host" },
		{ "{'dhcpstart': <'10.0.2.2'>}", "dhcpstart: it needs another address" },
		{ "{'dns': <'dns'>}", "dns 'dns' is not an IPv4 address" },
		{ "{'ipv6-net': <'fd00::/48'>}", "guests make addresses of 64 bits" },
		{ "{'ipv6-net': <'fd00::/64'>, 'ipv6-host': <'fd01::2'>}", "is not an address of the guest's network" },
		{ "{'ipv6-dns': <'fec0::2'>}", "ipv6-dns: it needs another address than ipv6-host" },
		{ "{'hostname': <''>}", "hostname '' has to have 1 to 63 bytes" },
		{ "{'tftp': <'/no/such/folder'>}", "cannot open the folder" },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GVariant) v = g_variant_ref_sink(g_variant_new_parsed(cases[i][0]));
		g_autoptr(GError) error = NULL;

		assert_null(net_open("user", v, NULL, &error));
		if (!strstr(error->message, cases[i][1]))
			fail_msg("%s: %s", cases[i][0], error->message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostfwd),
		cmocka_unit_test(test_lease),
		cmocka_unit_test(test_changing_forwards),
		cmocka_unit_test(test_config),	 cmocka_unit_test(test_segments),
		cmocka_unit_test(test_checksum), cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_tcp_out),	 cmocka_unit_test(test_restrict),
		cmocka_unit_test(test_hostfwd_and_resume), cmocka_unit_test(test_tftp),
		cmocka_unit_test(test_ipv6),	 cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
