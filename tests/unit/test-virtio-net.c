/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtio network card as its driver sees it, joined to a backend that is this test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "net.h"
#include "virtio-rig.h"

enum { RX, TX, CTRL, HEADER = 12, BUFFER = RIG_DATA, FRAME = RIG_DATA + 0x20000 };

struct net_test {
	struct rig r;
	struct netdev net;
	struct net_backend backend;
	struct device_backend host;
	uint8_t sent[2048]; /* the last frame */
	size_t sent_len;
	struct virtio_net_hdr sent_hdr;
	unsigned n_sent, n_resumed;
};

static void fake_send(struct netdev *dev, const struct virtio_net_hdr *hdr,
		      const struct iovec *iov, unsigned n_iov)
{
	struct net_test *t = dev->state;

	t->n_sent++;
	t->sent_len = 0;
	t->sent_hdr = *hdr;
	for (unsigned i = 0; i < n_iov; i++) {
		memcpy(t->sent + t->sent_len, iov[i].iov_base, iov[i].iov_len);
		t->sent_len += iov[i].iov_len;
	}
}

static void fake_resume(struct netdev *dev)
{
	((struct net_test *)dev->state)->n_resumed++;
}

static void open_card(struct net_test *t, const char *options)
{
	t->backend = (struct net_backend){ .send = fake_send, .resume = fake_resume };
	t->net.backend = &t->backend;
	t->net.link_up = true;
	t->net.state = t;
	t->host.netdev = &t->net;
	rig_open(&t->r, "virtio-net", options ? g_variant_new_parsed(options) : NULL, &t->host);
}

static void start(struct net_test *t, uint64_t features)
{
	assert_true(rig_negotiate(&t->r, features));
	rig_queue(&t->r, RX, 16);
	rig_queue(&t->r, TX, 16);
	rig_queue(&t->r, CTRL, 16);
	rig_driver_ok(&t->r);
	rig_run();
}

static bool give(struct net_test *t, const struct virtio_net_hdr *hdr, const uint8_t *frame, size_t len)
{
	static const struct virtio_net_hdr none;
	struct iovec iov[2] = { { (void *)frame, 10 }, { (void *)(frame + 10), len - 10 } };

	return t->net.client->receive(t->net.client_opaque, hdr ? hdr : &none, iov, 2);
}

static void fill_frame(uint8_t *f, size_t len, const char *mac)
{
	for (size_t i = 0; i < len; i++)
		f[i] = i * 3;
	memcpy(f, mac, 6);
}

static const char mac[] = "\x52\x54\x00\x01\x02\x03";
static const char mac_option[] = "{'mac': <'52:54:00:01:02:03'>}";

static void test_identity(void **state)
{
	struct net_test t = { .net.offloads = 1 << VIRTIO_NET_F_CSUM | 1 << VIRTIO_NET_F_HOST_TSO4 };
	uint64_t f;
	uint8_t m[6];

	open_card(&t, mac_option);
	assert_int_equal(rig_read(&t.r, t.r.config + 2, 2), 0x1040 + VIRTIO_ID_NET);
	for (unsigned i = 0; i < 6; i++)
		m[i] = rig_read(&t.r, t.r.device + i, 1);
	assert_memory_equal(m, mac, 6);
	assert_int_equal(rig_read(&t.r, t.r.device + 6, 2), VIRTIO_NET_S_LINK_UP);
	f = rig_offered(&t.r);
	assert_true(f >> VIRTIO_NET_F_CSUM & 1);
	assert_true(f >> VIRTIO_NET_F_HOST_TSO4 & 1);
	assert_false(f >> VIRTIO_NET_F_HOST_TSO6 & 1);
	assert_false(f >> VIRTIO_NET_F_GUEST_CSUM & 1);
	assert_false(f >> VIRTIO_NET_F_MQ & 1);
	rig_close(&t.r);
	assert_null(t.net.client);
}

static void test_transmit(void **state)
{
	struct net_test t = { .net.offloads = 1 << VIRTIO_NET_F_CSUM };
	struct ring_buf b[] = { { BUFFER, 20, false }, { BUFFER + 20, 100, false } };
	struct virtio_net_hdr *h;

	open_card(&t, NULL);
	start(&t, 1 << VIRTIO_NET_F_CSUM);
	h = (struct virtio_net_hdr *)(t.r.ram + BUFFER);
	fill_frame(t.r.ram + BUFFER + HEADER, 108, mac);
	assert_int_equal(rig_request(&t.r, TX, b, 2), 0);
	assert_int_equal(t.sent_len, 108);
	assert_memory_equal(t.sent, t.r.ram + BUFFER + HEADER, 108);
	h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	h->csum_start = 34;
	rig_request(&t.r, TX, b, 2);
	assert_int_equal(t.n_sent, 2);
	assert_int_equal(t.sent_hdr.csum_start, 34);
	/* What was not negotiated, or makes no sense, is dropped, not passed on. */
	h->gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	rig_request(&t.r, TX, b, 2);
	h->gso_type = 0x44;
	rig_request(&t.r, TX, b, 2);
	h->gso_type = 0;
	b[0].len = 13;
	rig_request(&t.r, TX, b, 1);
	assert_int_equal(t.n_sent, 2);
	b[0].len = 5;
	assert_true(ring_add(&t.r.ring[TX], b, 1, 0, &t));
	rig_kick(&t.r, TX);
	assert_true(rig_status(&t.r) & VIRTIO_CONFIG_S_NEEDS_RESET);
	rig_close(&t.r);
}

static void post_rx(struct net_test *t, unsigned n, uint32_t len)
{
	for (unsigned i = 0; i < n; i++) {
		struct ring_buf b[] = { { BUFFER + 4096 * i, len / 2, true },
					{ BUFFER + 4096 * i + len / 2, len - len / 2, true } };

		assert_true(ring_add(&t->r.ring[RX], b, 2, 0, GUINT_TO_POINTER(i + 1)));
	}
	rig_kick(&t->r, RX);
}

static void receive_merged(uint64_t features)
{
	struct net_test t = { 0 };
	uint8_t frame[1000];
	uint32_t len;

	open_card(&t, mac_option);
	start(&t, features | 1 << VIRTIO_NET_F_MRG_RXBUF);
	fill_frame(frame, sizeof(frame), mac);
	post_rx(&t, 5, 256);
	assert_true(give(&t, NULL, frame, 100));
	assert_true(rig_isr(&t.r) & 1);
	assert_ptr_equal(ring_get(&t.r.ring[RX], &len), GUINT_TO_POINTER(1));
	assert_int_equal(len, 112);
	assert_int_equal(t.r.ram[BUFFER + 10], 1);
	assert_memory_equal(t.r.ram + BUFFER + HEADER, frame, 100);
	/* 1012 bytes take four buffers of 256. */
	assert_true(give(&t, NULL, frame, 1000));
	for (unsigned i = 0, at = 0; i < 4; i++) {
		assert_ptr_equal(ring_get(&t.r.ring[RX], &len), GUINT_TO_POINTER(i + 2));
		assert_int_equal(len, i < 3 ? 256 : 1012 - 3 * 256);
		if (i == 0) {
			assert_int_equal(t.r.ram[BUFFER + 4096 + 10], 4);
			assert_memory_equal(t.r.ram + BUFFER + 4096 + HEADER, frame, 244);
			at = 244;
		} else {
			assert_memory_equal(t.r.ram + BUFFER + 4096 * (i + 1), frame + at, len);
			at += len;
		}
	}
	assert_null(ring_get(&t.r.ring[RX], &len));
	/* None left: the frame is refused whole, and the backend told when there is room. */
	post_rx(&t, 2, 256);
	assert_false(give(&t, NULL, frame, 1000));
	assert_false(t.net.client->can_receive(t.net.client_opaque));
	assert_null(ring_get(&t.r.ring[RX], &len));
	assert_int_equal(t.n_resumed, 0);
	post_rx(&t, 3, 256);
	assert_int_equal(t.n_resumed, 1);
	assert_true(t.net.client->can_receive(t.net.client_opaque));
	assert_true(give(&t, NULL, frame, 1000));
	for (unsigned i = 0; i < 4; i++)
		assert_non_null(ring_get(&t.r.ring[RX], &len));
	assert_null(ring_get(&t.r.ring[RX], &len));
	rig_close(&t.r);
}

static void test_receive_merged(void **state)
{
	receive_merged(0);
	receive_merged(1ull << VIRTIO_RING_F_EVENT_IDX);
	receive_merged(1ull << VIRTIO_F_RING_PACKED);
	receive_merged(1ull << VIRTIO_F_RING_PACKED | 1ull << VIRTIO_RING_F_EVENT_IDX);
}

static void test_receive_single(void **state)
{
	struct net_test t = { .net.offloads = 1 << VIRTIO_NET_F_GUEST_CSUM };
	struct virtio_net_hdr h = { .flags = VIRTIO_NET_HDR_F_DATA_VALID };
	uint8_t frame[1000];
	uint32_t len;

	open_card(&t, mac_option);
	start(&t, 0);
	fill_frame(frame, sizeof(frame), mac);
	post_rx(&t, 1, 512);
	assert_true(give(&t, NULL, frame, 1000)); /* too long for its buffer: dropped */
	assert_null(ring_get(&t.r.ring[RX], &len));
	assert_true(give(&t, &h, frame, 200));
	assert_non_null(ring_get(&t.r.ring[RX], &len));
	assert_int_equal(len, 212);
	assert_int_equal(t.r.ram[BUFFER], 0); /* no flags the driver did not accept */
	h.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	post_rx(&t, 1, 512);
	assert_true(give(&t, &h, frame, 200));
	assert_null(ring_get(&t.r.ring[RX], &len));
	start(&t, 1 << VIRTIO_NET_F_GUEST_CSUM);
	post_rx(&t, 1, 512);
	assert_true(give(&t, &h, frame, 200));
	assert_non_null(ring_get(&t.r.ring[RX], &len));
	assert_int_equal(t.r.ram[BUFFER], VIRTIO_NET_HDR_F_NEEDS_CSUM);
	rig_reset(&t.r);
	assert_true(give(&t, NULL, frame, 200)); /* no driver: dropped, not kept for ever */
	rig_close(&t.r);
}

static uint8_t control(struct net_test *t, uint8_t class, uint8_t cmd, const void *data, size_t len)
{
	uint64_t at = FRAME;
	struct ring_buf b[] = { { at, 2, false }, { at + 2, len, false }, { at + 0x1000, 1, true } };

	t->r.ram[at] = class;
	t->r.ram[at + 1] = cmd;
	memcpy(t->r.ram + at + 2, data, len);
	if (!len)
		b[1] = b[2];
	assert_int_equal(rig_request(&t->r, CTRL, b, len ? 3 : 2), 1);
	return t->r.ram[at + 0x1000];
}

static bool arrives(struct net_test *t, const char *to)
{
	uint8_t frame[60];

	fill_frame(frame, sizeof(frame), to);
	post_rx(t, 1, 256);
	assert_true(give(t, NULL, frame, sizeof(frame)));
	if (ring_get(&t->r.ring[RX], NULL))
		return true;
	/* Use up the buffer with a frame that does arrive. */
	fill_frame(frame, sizeof(frame), (char *)"\x52\x54\x00\x01\x02\x03");
	assert_true(give(t, NULL, frame, sizeof(frame)));
	assert_non_null(ring_get(&t->r.ring[RX], NULL));
	return false;
}

static void test_filter(void **state)
{
	static const char other[] = "\x52\x54\x00\x09\x09\x09", multi[] = "\x01\x00\x5e\x00\x00\xfb";
	static const char broadcast[] = "\xff\xff\xff\xff\xff\xff";
	struct net_test t = { 0 };
	uint8_t table[4 + 6 + 4 + 6] = { 1 }, big[4 + 100 * 6 + 4] = { 100 };
	uint8_t off = 0, on = 1;

	open_card(&t, mac_option);
	start(&t, 1 << VIRTIO_NET_F_CTRL_VQ | 1 << VIRTIO_NET_F_CTRL_RX | 1 << VIRTIO_NET_F_MRG_RXBUF);
	assert_true(arrives(&t, other)); /* everything until a filter is set */
	assert_int_equal(control(&t, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1), 0);
	assert_false(arrives(&t, other));
	assert_false(arrives(&t, multi));
	assert_true(arrives(&t, broadcast));
	assert_true(arrives(&t, mac));
	memcpy(table + 4, other, 6);
	table[10] = 1;
	memcpy(table + 14, multi, 6);
	assert_int_equal(control(&t, VIRTIO_NET_CTRL_MAC, 0, table, sizeof(table)), 0);
	assert_true(arrives(&t, other));
	assert_true(arrives(&t, multi));
	rig_move(&t.r, "virtio-net", g_variant_new_parsed(mac_option), &t.host);
	assert_true(arrives(&t, multi));
	assert_false(arrives(&t, "\x01\x00\x5e\x00\x00\xfc"));
	assert_int_equal(control(&t, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOMULTI, &on, 1), 0);
	assert_false(arrives(&t, multi));
	/* More addresses than we keep: all of that kind pass. */
	assert_int_equal(control(&t, VIRTIO_NET_CTRL_MAC, 0, big, sizeof(big)), 0);
	assert_true(arrives(&t, "\x52\x54\x00\x09\x09\x08"));
	/* Malformed commands are refused. */
	assert_int_equal(control(&t, VIRTIO_NET_CTRL_MAC, 0, table, 9), 1);
	memset(table, 0xff, 4);
	assert_int_equal(control(&t, VIRTIO_NET_CTRL_MAC, 0, table, sizeof(table)), 1);
	assert_int_equal(control(&t, VIRTIO_NET_CTRL_RX, 77, &on, 1), 1);
	assert_int_equal(control(&t, VIRTIO_NET_CTRL_RX, 0, table, 2), 1);
	assert_int_equal(control(&t, 99, 0, &on, 1), 1);
	assert_int_equal(control(&t, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 6), 0);
	assert_int_equal(rig_read(&t.r, t.r.device + 5, 1), 9);
	rig_close(&t.r);
}

static void test_link_and_announce(void **state)
{
	struct net_test t = { 0 };

	open_card(&t, mac_option);
	start(&t, 1 << VIRTIO_NET_F_STATUS | 1 << VIRTIO_NET_F_CTRL_VQ |
			  1 << VIRTIO_NET_F_GUEST_ANNOUNCE | 1 << VIRTIO_NET_F_MRG_RXBUF);
	rig_isr(&t.r);
	t.net.client->link_changed(t.net.client_opaque, false);
	assert_int_equal(rig_isr(&t.r), 2);
	assert_int_equal(rig_read(&t.r, t.r.device + 6, 2), 0);
	t.net.client->link_changed(t.net.client_opaque, false);
	assert_int_equal(rig_isr(&t.r), 0);
	t.net.client->link_changed(t.net.client_opaque, true);
	assert_int_equal(rig_read(&t.r, t.r.device + 6, 2), VIRTIO_NET_S_LINK_UP);
	rig_isr(&t.r);
	rig_move(&t.r, "virtio-net", g_variant_new_parsed(mac_option), &t.host);
	assert_int_equal(rig_read(&t.r, t.r.device + 6, 2), VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	assert_true(rig_isr(&t.r) & 2);
	assert_int_equal(control(&t, VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, "", 0), 0);
	assert_int_equal(rig_read(&t.r, t.r.device + 6, 2), VIRTIO_NET_S_LINK_UP);
	rig_close(&t.r);
}

static void test_pairs(void **state)
{
	struct net_test t = { 0 };
	uint16_t two = 2, three = 3;
	uint64_t features = 1 << VIRTIO_NET_F_CTRL_VQ | 1 << VIRTIO_NET_F_MQ | 1 << VIRTIO_NET_F_MRG_RXBUF;
	uint8_t frame[60];
	unsigned hits[2] = { 0 };

	open_card(&t, "{'mac': <'52:54:00:01:02:03'>, 'queues': <uint32 2>}");
	assert_int_equal(rig_read(&t.r, t.r.common + VIRTIO_PCI_COMMON_NUMQ, 2), 5);
	assert_true(rig_negotiate(&t.r, features));
	for (unsigned i = 0; i < 5; i++)
		rig_queue(&t.r, i, 64);
	rig_driver_ok(&t.r);
	/* The control queue is the last one; the helper above assumes one pair. */
	memcpy(t.r.ram + FRAME, &(uint8_t[]){ VIRTIO_NET_CTRL_MQ, 0 }, 2);
	for (unsigned i = 0; i < 2; i++) {
		struct ring_buf b[] = { { FRAME, 4, false }, { FRAME + 8, 1, true } };

		memcpy(t.r.ram + FRAME + 2, i ? &two : &three, 2);
		rig_request(&t.r, 4, b, 2);
		assert_int_equal(t.r.ram[FRAME + 8], !i);
	}
	for (unsigned i = 0; i < 40; i++) {
		struct ring_buf b = { BUFFER + 256 * i, 256, true };

		ring_add(&t.r.ring[0], &b, 1, 0, &t);
		ring_add(&t.r.ring[2], &b, 1, 0, &t);
	}
	fill_frame(frame, sizeof(frame), mac);
	for (unsigned i = 0; i < 40; i++) {
		frame[35] = i; /* the source port */
		assert_true(give(&t, NULL, frame, sizeof(frame)));
		hits[0] += ring_get(&t.r.ring[0], NULL) != NULL;
		hits[1] += ring_get(&t.r.ring[2], NULL) != NULL;
	}
	assert_int_equal(hits[0] + hits[1], 40);
	assert_true(hits[0] > 5 && hits[1] > 5);
	rig_close(&t.r);
}

static void test_options(void **state)
{
	static const char *const bad[] = { "52:54:00:01:02", "52:54:00:01:02:03x", "53:54:00:01:02:03", "" };
	struct net_test t = { 0 };

	open_card(&t, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *text = g_strdup_printf("{'mac': <'%s'>}", bad[i]);
		g_autoptr(GVariant) options = g_variant_ref_sink(g_variant_new_parsed(text));

		assert_null(device_new(&t.r.core, "virtio-net", "net1", options, &t.host, &error));
		assert_non_null(strstr(error->message, "net1: mac '"));
	}
	rig_close(&t.r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),       cmocka_unit_test(test_transmit),
		cmocka_unit_test(test_receive_merged), cmocka_unit_test(test_receive_single),
		cmocka_unit_test(test_filter),	       cmocka_unit_test(test_link_and_announce),
		cmocka_unit_test(test_pairs),	       cmocka_unit_test(test_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
