/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 82574L as its driver sees it: registers, NVM and PHY, rings, offloads, filters, interrupts. The network is this file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <linux/mii.h>
#include <linux/pci_regs.h>
#include <netinet/in.h>

#include "bytes.h"
#include "devices/e1000e.h"
#include "offload.h"

enum {
	RAM = 1 << 20, ECAM = 0xb0000000, WINDOW = 0xc0000000,
	TX_RING = 0x1000, RX_RING = 0x2000, RING_ENTRIES = 8, BUFFERS = 0x10000, BUFFER = 2048,
	EOP = 1 << 24, RS = 1 << 27, DEXT = 1 << 29, VLE = 1 << 30, DATA = 1 << 20, TSE = 1 << 26,
};

static const uint8_t our_mac[] = {0x52, 0x54, 0, 1, 2, 3};

struct test {
	struct machine_core core;
	struct device *dev;
	struct netdev net;
	uint8_t *ram;
	uint64_t config, bar;
	uint32_t tail; /* of the transmit ring */
};

static GPtrArray *sent; /* of GBytes */
static struct virtio_net_hdr last_header;
static unsigned resumed;

static void take_sent(struct netdev *dev, const struct virtio_net_hdr *hdr, const struct iovec *iov, unsigned n_iov)
{
	assert_int_equal(n_iov, 1);
	last_header = *hdr;
	g_ptr_array_add(sent, g_bytes_new(iov->iov_base, iov->iov_len));
}

static void note_resume(struct netdev *dev)
{
	resumed++;
}

static const struct net_backend backend = {.send = take_sent, .resume = note_resume};

static void request(void *machine, enum machine_request what)
{
}

static uint32_t rd(struct test *t, unsigned reg)
{
	uint32_t v = 0;

	bus_access(t->core.mmio, t->bar + reg, &v, 4, false);
	return v;
}

static void wr(struct test *t, unsigned reg, uint32_t v)
{
	bus_access(t->core.mmio, t->bar + reg, &v, 4, true);
}

static void run(void)
{
	while (g_main_context_iteration(NULL, FALSE))
		continue;
}

static struct e1000e *card(struct test *t)
{
	return (struct e1000e *)t->dev;
}

static void open_device(struct test *t)
{
	GVariantDict d;
	g_autoptr(GVariant) options = NULL;
	g_autoptr(GError) error = NULL;
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_IO | PCI_COMMAND_MASTER;
	uint32_t bar = WINDOW;

	g_variant_dict_init(&d, NULL);
	g_variant_dict_insert(&d, "mac", "s", "52:54:00:01:02:03");
	options = g_variant_ref_sink(g_variant_dict_end(&d));
	t->dev = device_new(&t->core, "e1000e", "net0", options, &(struct device_backend){.netdev = &t->net}, &error);
	if (!t->dev)
		fail_msg("%s", error->message);
	t->config = ECAM + ((uint64_t)card(t)->pci.slot << 15);
	t->bar = WINDOW;
	bus_access(t->core.mmio, t->config + PCI_BASE_ADDRESS_0, &bar, 4, true);
	bus_access(t->core.mmio, t->config + PCI_COMMAND, &command, 2, true);
}

static void open_card(struct test *t, uint64_t offloads)
{
	const struct pci_windows windows = {WINDOW, 0x1000000, 1ull << 40, 1 << 30, 0xc000, 0x1000};

	*t = (struct test){.core = {.vm_fd = -1, .request = request}};
	t->net = (struct netdev){.backend = &backend, .link_up = true, .offloads = offloads};
	t->core.mem = mem_new(-1);
	assert_true(mem_add_ram(t->core.mem, 0, RAM, NULL));
	t->ram = gpa_ptr(t->core.mem, 0, RAM);
	t->core.ports = bus_new("port");
	t->core.mmio = bus_new("mmio");
	t->core.pci = pci_bus_new(&t->core, &windows, NULL);
	pci_bus_set_ecam(t->core.pci, ECAM, 1, NULL);
	sent = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	resumed = 0;
	open_device(t);
	run();
}

static void close_card(struct test *t)
{
	device_free(t->dev);
	pci_bus_free(t->core.pci);
	bus_free(t->core.mmio);
	bus_free(t->core.ports);
	mem_free(t->core.mem);
	g_ptr_array_free(sent, TRUE);
}

/* Rings of 8, receive buffers behind each other, all but one of them the card's. */
static void start(struct test *t, uint32_t rctl)
{
	wr(t, TDBAL, TX_RING);
	wr(t, TDLEN, RING_ENTRIES * 16);
	wr(t, TCTL, TCTL_EN);
	for (unsigned i = 0; i < RING_ENTRIES; i++)
		put_le64(t->ram + RX_RING + 16 * i, BUFFERS + BUFFER * i);
	wr(t, RDBAL, RX_RING);
	wr(t, RDLEN, RING_ENTRIES * 16);
	wr(t, RCTL, RCTL_EN | RCTL_SECRC | rctl);
	wr(t, RDT, RING_ENTRIES - 1);
	run();
	resumed = 0;
}

static void put_descriptor(struct test *t, uint64_t address, uint32_t command, uint32_t options)
{
	uint8_t *d = t->ram + TX_RING + 16 * t->tail;

	put_le64(d, address);
	put_le32(d + 8, command);
	put_le32(d + 12, options);
	t->tail = (t->tail + 1) % RING_ENTRIES;
}

static void send_ring(struct test *t)
{
	wr(t, TDT, t->tail);
	run();
}

static size_t sent_frame(unsigned n, const uint8_t **ret)
{
	size_t len;

	assert_true(n < sent->len);
	*ret = g_bytes_get_data(sent->pdata[n], &len);
	return len;
}

static bool arrive(struct test *t, const uint8_t *frame, size_t len)
{
	static const struct virtio_net_hdr none;
	struct iovec iov = {(void *)frame, len};

	return t->net.client->receive(t->net.client_opaque, &none, &iov, 1);
}

/* TCP over IPv4, sums as they should be; the addresses and ports of Microsoft's first example of RSS. */
static size_t make_tcp(uint8_t *f, const uint8_t *mac, size_t payload)
{
	uint8_t *ip = f + 14, *tcp = ip + 20;
	size_t len = 54 + payload;

	memset(f, 0, len);
	memcpy(f, mac, 6);
	f[6] = 2;
	put_be16(f + 12, 0x800);
	ip[0] = 0x45;
	put_be16(ip + 2, len - 14);
	put_be16(ip + 4, 77);
	ip[8] = 64;
	ip[9] = IPPROTO_TCP;
	memcpy(ip + 12, (uint8_t[]){66, 9, 149, 187, 161, 142, 100, 80}, 8);
	put_be16(ip + 10, net_csum_fold(net_csum_add(0, ip, 20)));
	put_be16(tcp, 2794);
	put_be16(tcp + 2, 1766);
	tcp[12] = 0x50;
	for (size_t i = 0; i < payload; i++)
		tcp[20 + i] = i * 7;
	put_be16(tcp + 16, net_csum_fold(net_csum_add(net_csum_add(IPPROTO_TCP + 20 + payload, ip + 12, 8), tcp, 20 + payload)));
	return len;
}

static bool sums_are_right(const uint8_t *f, size_t len)
{
	const uint8_t *ip = f + 14;

	return get_be16(ip + 2) == len - 14 && !net_csum_fold(net_csum_add(0, ip, 20)) &&
	       !net_csum_fold(net_csum_add(net_csum_add(IPPROTO_TCP + len - 34, ip + 12, 8), f + 34, len - 34));
}

static uint16_t nvm(struct test *t, unsigned word)
{
	wr(t, EERD, word << 2 | 1);
	assert_true(rd(t, EERD) & 2);
	return rd(t, EERD) >> 16;
}

static uint32_t phy(struct test *t, unsigned address, unsigned reg)
{
	wr(t, MDIC, 2 << 26 | address << 21 | reg << 16);
	assert_true(rd(t, MDIC) & 1 << 28);
	return rd(t, MDIC);
}

static void test_identity(void **state)
{
	uint16_t sum = 0, address = 0;
	uint32_t v;
	struct test t;

	open_card(&t, 0);
	bus_access(t.core.mmio, t.config, &v, 4, false);
	assert_int_equal(v, 0x10d38086);
	for (unsigned i = 0; i < 64; i++)
		sum += nvm(&t, i);
	assert_int_equal(sum, 0xbaba);
	assert_int_equal(nvm(&t, 0), get_le16(our_mac));
	assert_int_equal(nvm(&t, 2000), 0xffff);
	assert_int_equal(rd(&t, RAL), get_le32(our_mac));
	assert_int_equal(rd(&t, RAL + 4), 0x80000000 | get_le16(our_mac + 4));
	assert_int_equal(rd(&t, 0x40), get_le32(our_mac)); /* its old place */
	assert_int_equal(phy(&t, 1, MII_PHYSID1) & 0xffff, 0x0141);
	assert_true(phy(&t, 2, MII_PHYSID1) & 1 << 30);
	wr(&t, MDIC, 1 << 26 | 1 << 21 | 22 << 16 | 800);
	assert_int_equal(phy(&t, 1, MII_PHYSID1) & 0xffff, 0); /* of another page */
	/* The same registers by the ports. */
	address = 0xc000;
	bus_access(t.core.mmio, t.config + PCI_BASE_ADDRESS_2, &address, 2, true);
	v = RAL;
	bus_access(t.core.ports, address & ~3u, &v, 4, true);
	bus_access(t.core.ports, (address & ~3u) + 4, &v, 4, false);
	assert_int_equal(v, get_le32(our_mac));
	close_card(&t);
}

static void test_transmit(void **state)
{
	const uint8_t *f;
	struct test t;
	size_t len;

	open_card(&t, 0);
	start(&t, 0);
	wr(&t, IMS, CAUSE_TXDW);
	len = make_tcp(t.ram + BUFFERS, our_mac, 100);
	put_descriptor(&t, BUFFERS, 60, 0);
	put_descriptor(&t, BUFFERS + 60, (len - 60) | EOP | RS, 0);
	send_ring(&t);
	assert_int_equal(sent_frame(0, &f), len);
	assert_memory_equal(f, t.ram + BUFFERS, len);
	assert_int_equal(t.ram[TX_RING + 12] & 1, 0);
	assert_int_equal(t.ram[TX_RING + 28] & 1, 1);
	assert_int_equal(rd(&t, TDH), 2);
	assert_true(card(&t)->pci.intx_level);
	assert_int_equal(rd(&t, ICR) & (CAUSE_TXDW | CAUSE_ASSERTED), CAUSE_TXDW | CAUSE_ASSERTED);
	assert_false(card(&t)->pci.intx_level);
	/* A sum where a legacy descriptor says, and a VLAN's tag. */
	wr(&t, CTRL, rd(&t, CTRL) | CTRL_VME);
	put_be16(t.ram + BUFFERS + 24, 0);
	put_descriptor(&t, BUFFERS, 34 | 24 << 16 | EOP | 1 << 26 | VLE, 14 << 8 | 0x123u << 16);
	send_ring(&t);
	assert_int_equal(sent_frame(1, &f), 38);
	assert_memory_equal(f + 12, ((uint8_t[]){0x81, 0, 1, 0x23, 8, 0}), 6);
	assert_int_equal(net_csum_fold(net_csum_add(0, f + 18, 20)), 0);
	/* Once read, statistics begin anew. */
	assert_int_equal(rd(&t, GPTC), 2);
	assert_int_equal(rd(&t, GPTC), 0);
	assert_int_equal(rd(&t, GOTCL), len + 4 + 38 + 4);
	close_card(&t);
}

/* A segment of 1000 bytes, 300 to a frame. Linux leaves lengths and sums at zero but for the pseudo header's. */
static void put_segment(struct test *t, bool tse)
{
	uint8_t *d, *f = t->ram + BUFFERS;
	size_t len = make_tcp(f, our_mac, 1000);

	if (tse)
		put_be16(f + 16, 0);
	put_be16(f + 24, 0);
	put_be16(f + 50, (uint16_t)~net_csum_fold(net_csum_add(IPPROTO_TCP + (tse ? 0 : 1020), f + 26, 8)));
	d = t->ram + TX_RING + 16 * t->tail;
	put_descriptor(t, 0, 1000 | DEXT | 7 << 24, 54 << 8 | 300u << 16);
	memcpy(d, (uint8_t[]){14, 24, 33, 0, 34, 50, 0, 0}, 8);
	put_descriptor(t, BUFFERS, 54 | DEXT | DATA | (tse ? TSE : 0), 3 << 8);
	put_descriptor(t, BUFFERS + 54, (len - 54) | DEXT | DATA | EOP | RS | (tse ? TSE : 0), 3 << 8);
}

static void test_offloads(void **state)
{
	const uint8_t *f;
	size_t len, all = 0;
	struct test t;

	open_card(&t, 0);
	start(&t, 0);
	put_segment(&t, true);
	send_ring(&t);
	assert_int_equal(sent->len, 4);
	for (unsigned i = 0; i < 4; i++) {
		len = sent_frame(i, &f);
		assert_true(sums_are_right(f, len));
		assert_int_equal(get_be32(f + 38), all);
		all += len - 54;
	}
	assert_int_equal(all, 1000);
	assert_int_equal(rd(&t, TPT), 4);
	put_segment(&t, false);
	send_ring(&t);
	len = sent_frame(4, &f);
	assert_int_equal(len, 1054);
	assert_true(sums_are_right(f, len));
	/* A back end that takes it whole has it so, with what it needs to know. */
	t.net.offloads = 1 << VIRTIO_NET_F_HOST_TSO4;
	put_segment(&t, true);
	send_ring(&t);
	assert_int_equal(sent_frame(5, &f), 1054);
	assert_int_equal(last_header.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(GUINT16_FROM_LE(last_header.gso_size), 300);
	assert_int_equal(GUINT16_FROM_LE(last_header.csum_start), 34);
	assert_int_equal(get_be16(f + 16), 1040);
	close_card(&t);
}

static void test_receive(void **state)
{
	uint8_t f[200], other[6] = {0x52, 0x54, 0, 9, 9, 9}, all[6], group[6] = {1, 0, 0x5e, 0, 0, 5};
	const uint8_t *d;
	struct test t;
	size_t len;

	memset(all, 0xff, 6);
	open_card(&t, 0);
	start(&t, RCTL_BAM);
	wr(&t, IMS, CAUSE_RXT0);
	len = make_tcp(f, our_mac, 100);
	assert_true(arrive(&t, f, len));
	d = t.ram + RX_RING;
	assert_int_equal(get_le16(d + 8), len);
	assert_int_equal(d[12], 1 | 2 | 0x20 | 0x40); /* DD, EOP, both sums looked at */
	assert_int_equal(d[13], 0);
	assert_memory_equal(t.ram + BUFFERS, f, len);
	assert_true(rd(&t, ICR) & CAUSE_RXT0);
	assert_int_equal(rd(&t, RDH), 1);
	/* A wrong sum is told. */
	f[60] ^= 1;
	assert_true(arrive(&t, f, len));
	assert_int_equal(d[16 + 13], 0x20);
	/* Somebody else's, a group's that is not wanted, everybody's, the group's that is. */
	make_tcp(f, other, 100);
	arrive(&t, f, len);
	make_tcp(f, group, 100);
	arrive(&t, f, len);
	assert_int_equal(rd(&t, RDH), 2);
	make_tcp(f, all, 100);
	arrive(&t, f, len);
	assert_int_equal(rd(&t, RDH), 3);
	wr(&t, MTA + 4 * ((get_le16(group + 4) >> 4 & 0xfff) >> 5), 1u << (get_le16(group + 4) >> 4 & 31));
	make_tcp(f, group, 100);
	arrive(&t, f, len);
	assert_int_equal(rd(&t, RDH), 4);
	/* Short frames are as long as the wire has them. */
	make_tcp(f, our_mac, 0);
	arrive(&t, f, 54);
	assert_int_equal(get_le16(d + 4 * 16 + 8), 60);
	assert_int_equal(rd(&t, GPRC), 5);
	/* VLANs: stripped, and filtered. */
	memmove(f + 16, f + 12, 100);
	put_be16(f + 12, 0x8100);
	put_be16(f + 14, 0x2005);
	wr(&t, CTRL, rd(&t, CTRL) | CTRL_VME);
	arrive(&t, f, 104);
	assert_int_equal(get_le16(d + 5 * 16 + 8), 100);
	assert_int_equal(get_le16(d + 5 * 16 + 14), 0x2005);
	assert_true(d[5 * 16 + 12] & 8);
	wr(&t, RCTL, rd(&t, RCTL) | RCTL_VFE);
	arrive(&t, f, 104);
	assert_int_equal(rd(&t, RDH), 6);
	close_card(&t);
}

/* What does not fit stays with the back end, which is told of room. */
static void test_no_room(void **state)
{
	uint8_t f[200];
	struct test t;
	size_t len;

	open_card(&t, 0);
	start(&t, 0);
	len = make_tcp(f, our_mac, 100);
	for (unsigned i = 0; i < RING_ENTRIES - 1; i++)
		assert_true(arrive(&t, f, len));
	assert_true(t.net.client->can_receive(t.net.client_opaque));
	assert_false(arrive(&t, f, len));
	assert_false(t.net.client->can_receive(t.net.client_opaque));
	run();
	assert_int_equal(resumed, 0);
	wr(&t, RDT, 2);
	run();
	assert_int_equal(resumed, 1);
	assert_true(arrive(&t, f, len));
	/* A small buffer: one frame, two descriptors. */
	wr(&t, RCTL, RCTL_EN | RCTL_SECRC | 3 << 16);
	wr(&t, RDT, 6);
	len = 300;
	f[150] = 0;
	{
		uint8_t big[300] = {0};

		memcpy(big, f, sizeof(f));
		memset(big + 256, 0x5a, 44);
		assert_true(arrive(&t, big, len));
	}
	assert_int_equal(rd(&t, RDH), 2);
	assert_int_equal(t.ram[RX_RING + 12] & 3, 1);
	assert_int_equal(get_le16(t.ram + RX_RING + 16 + 8), 44);
	assert_int_equal(t.ram[RX_RING + 16 + 12] & 3, 3);
	assert_int_equal(t.ram[BUFFERS + BUFFER], 0x5a);
	close_card(&t);
}

/* The key and the first row of Microsoft's "Verifying the RSS Hash Calculation". */
static void test_rss(void **state)
{
	static const uint8_t key[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
					0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
					0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};
	uint8_t f[200];
	struct test t;
	size_t len;

	open_card(&t, 0);
	start(&t, 0);
	for (unsigned i = 0; i < 10; i++)
		wr(&t, RSSRK + 4 * i, get_le32(key + 4 * i));
	wr(&t, MRQC, 1 | 3 << 16);
	wr(&t, RXCSUM, RXCSUM_PCSD);
	wr(&t, RFCTL, RFCTL_EXTENDED);
	len = make_tcp(f, our_mac, 10);
	assert_true(arrive(&t, f, len));
	assert_int_equal(get_le32(t.ram + RX_RING), 1); /* TCP over IPv4, queue 0 */
	assert_int_equal(get_le32(t.ram + RX_RING + 4), 0x51ccc178);
	assert_int_equal(get_le32(t.ram + RX_RING + 8), 3);
	assert_int_equal(get_le16(t.ram + RX_RING + 12), 64);
	wr(&t, MRQC, 1 | 2 << 16);
	assert_true(arrive(&t, f, len));
	assert_int_equal(get_le32(t.ram + RX_RING + 16 + 4), 0x323e8fc2);
	/* Its entry of the table names the other queue, which has no ring yet. */
	wr(&t, RETA + (0x323e8fc2 & 127) / 4 * 4, 0x80u << 8 * (0xc2 % 4));
	assert_false(arrive(&t, f, len));
	wr(&t, RDBAL + QUEUE_STRIDE, RX_RING + 0x800);
	wr(&t, RDLEN + QUEUE_STRIDE, 128);
	wr(&t, RDT + QUEUE_STRIDE, 4);
	put_le64(t.ram + RX_RING + 0x800, BUFFERS);
	run();
	assert_true(arrive(&t, f, len));
	assert_int_equal(get_le32(t.ram + RX_RING + 0x800), 2 | 1 << 8);
	close_card(&t);
}

static void enable_msix(struct test *t)
{
	uint16_t flags = PCI_MSIX_FLAGS_ENABLE;
	struct e1000e *e = card(t);

	bus_access(t->core.mmio, t->config + e->pci.msix_cap + PCI_MSIX_FLAGS, &flags, 2, true);
	for (unsigned i = 0; i < E1000E_VECTORS; i++)
		e->pci.msix[i].control = 0;
}

static void test_vectors(void **state)
{
	struct test t;
	struct e1000e *e;

	open_card(&t, 0);
	start(&t, 0);
	e = card(&t);
	enable_msix(&t);
	wr(&t, IVAR, 8 | 9 << 8 | 10 << 16); /* RXQ0: 0, TXQ0: 1, other: 2 */
	wr(&t, EIAC, CAUSE_RXQ0 | CAUSE_TXQ0);
	wr(&t, IMS, CAUSE_RXQ0 | CAUSE_TXQ0 | CAUSE_OTHER | CAUSE_LSC);
	assert_int_equal(e->pci.msix_sent, 0);
	put_descriptor(&t, BUFFERS, 60 | EOP | RS, 0);
	send_ring(&t);
	assert_int_equal(e->pci.msix_sent, 1);
	/* It cleared itself, and its mask. */
	assert_int_equal(rd(&t, IMS) & (CAUSE_RXQ0 | CAUSE_TXQ0), CAUSE_RXQ0);
	assert_int_equal(rd(&t, ICR) & CAUSE_TXQ0, 0);
	put_descriptor(&t, BUFFERS, 60 | EOP | RS, 0);
	send_ring(&t);
	assert_int_equal(e->pci.msix_sent, 1);
	wr(&t, IMS, CAUSE_TXQ0);
	assert_int_equal(e->pci.msix_sent, 2);
	net_set_link(&t.net, false);
	assert_int_equal(e->pci.msix_sent, 3);
	assert_true(rd(&t, ICR) & CAUSE_LSC);
	/* Seen, and gone, so that the next change is another one. */
	assert_false(rd(&t, ICR) & CAUSE_LSC);
	net_set_link(&t.net, true);
	assert_int_equal(e->pci.msix_sent, 4);
	net_set_link(&t.net, false);
	rd(&t, ICR);
	assert_false(rd(&t, STATUS) & STATUS_LU);
	assert_false(phy(&t, 1, MII_BMSR) & BMSR_LSTATUS);
	close_card(&t);
}

/* Not twice in 16 ms: the second one comes later, not never. */
static void test_moderation(void **state)
{
	struct test t;
	struct e1000e *e;

	open_card(&t, 0);
	e = card(&t);
	enable_msix(&t);
	wr(&t, EITR, 0xffff);
	wr(&t, IVAR, 8 << 16);
	wr(&t, EIAC, CAUSE_OTHER);
	wr(&t, IMS, CAUSE_OTHER);
	wr(&t, ICS, CAUSE_OTHER);
	assert_int_equal(e->pci.msix_sent, 1);
	e->quiet_until[0] = G_MAXINT64 / 2; /* whatever this machine's speed */
	wr(&t, IMS, CAUSE_OTHER);
	wr(&t, ICS, CAUSE_OTHER);
	run();
	assert_int_equal(e->pci.msix_sent, 1);
	t.dev->cls->pause(t.dev);
	e->quiet_until[0] = 0;
	t.dev->cls->resume(t.dev);
	for (unsigned i = 0; i < 60000 && e->pci.msix_sent < 2; i++) {
		g_usleep(1000);
		run();
	}
	assert_int_equal(e->pci.msix_sent, 2);
	close_card(&t);
}

static void test_loopback(void **state)
{
	struct test t;

	open_card(&t, 0);
	start(&t, RCTL_UPE);
	wr(&t, MDIC, 1 << 26 | 1 << 21 | MII_BMCR << 16 | BMCR_LOOPBACK | BMCR_FULLDPLX | BMCR_SPEED1000);
	make_tcp(t.ram + BUFFERS + BUFFER * 8, our_mac, 50);
	put_descriptor(&t, BUFFERS + BUFFER * 8, 104 | EOP, 0);
	send_ring(&t);
	assert_int_equal(sent->len, 0);
	assert_int_equal(rd(&t, RDH), 1);
	assert_memory_equal(t.ram + BUFFERS, t.ram + BUFFERS + BUFFER * 8, 104);
	close_card(&t);
}

static void test_link(void **state)
{
	struct test t;
	uint8_t f[100];

	open_card(&t, 0);
	start(&t, RCTL_UPE);
	assert_true(rd(&t, STATUS) & STATUS_LU);
	wr(&t, IMS, CAUSE_LSC);
	rd(&t, ICR);
	net_set_link(&t.net, false);
	assert_true(card(&t)->pci.intx_level);
	assert_true(rd(&t, ICR) & CAUSE_LSC);
	assert_false(rd(&t, STATUS) & STATUS_LU);
	make_tcp(f, our_mac, 0);
	assert_true(arrive(&t, f, 60)); /* and lost */
	assert_int_equal(rd(&t, RDH), 0);
	put_descriptor(&t, BUFFERS, 60 | EOP, 0);
	send_ring(&t);
	assert_int_equal(sent->len, 0);
	net_set_link(&t.net, true);
	assert_true(rd(&t, STATUS) & STATUS_LU);
	assert_true(phy(&t, 1, MII_BMSR) & BMSR_LSTATUS);
	close_card(&t);
}

static void test_hostile(void **state)
{
	uint8_t f[200];
	struct test t;

	open_card(&t, 0);
	start(&t, RCTL_UPE);
	wr(&t, TDT, 0xffff);
	run();
	wr(&t, TDH, 0xffff);
	wr(&t, TDT, 3);
	run();
	wr(&t, TDH, 0);
	wr(&t, TDT, 0);
	/* Data and rings where no memory is; a packet without an end; a context that reaches out of its frame. */
	put_descriptor(&t, 0xfffffffffffffff0, 1000 | EOP | RS, 0);
	put_descriptor(&t, 0, DEXT | 7 << 24, 255u << 8 | 8u << 16);
	put_descriptor(&t, BUFFERS, 100 | DEXT | DATA | TSE | EOP, 3 << 8);
	send_ring(&t);
	assert_int_equal(sent->len, 0);
	assert_int_equal(rd(&t, TDH), 3);
	for (unsigned i = 0; i < 20; i++) {
		put_descriptor(&t, 0, 0xfffff | DEXT | DATA, 0);
		send_ring(&t);
	}
	put_descriptor(&t, BUFFERS, 60 | EOP, 0); /* the end of the packet that never was */
	put_descriptor(&t, BUFFERS, 60 | EOP, 0);
	send_ring(&t);
	assert_int_equal(sent->len, 1);
	wr(&t, TDBAH, 0xffffffff);
	wr(&t, TDT, 7);
	wr(&t, RDBAH, 0x1000);
	make_tcp(f, our_mac, 100);
	arrive(&t, f, 154);
	wr(&t, RDLEN, 0);
	run();
	assert_false(arrive(&t, f, 154));
	wr(&t, CTRL, CTRL_RST);
	assert_int_equal(rd(&t, TDBAH), 0);
	assert_int_equal(rd(&t, RCTL), 0);
	close_card(&t);
}

/* Saved with a packet half fetched: that one is lost, the next is not. */
static void test_move(void **state)
{
	GByteArray *stream = g_byte_array_new();
	g_autoptr(GBytes) bytes = NULL;
	g_autoptr(GError) error = NULL;
	struct test t;
	size_t at = 0;

	open_card(&t, 0);
	start(&t, 0);
	wr(&t, 0xb608, 1 << 24 | 16);
	put_descriptor(&t, BUFFERS, 60, 0);
	send_ring(&t);
	t.dev->cls->pause(t.dev);
	state_save(stream, t.dev->cls->state, "net0", t.dev);
	bytes = g_byte_array_free_to_bytes(stream);
	device_free(t.dev);
	open_device(&t);
	if (!state_load(bytes, &at, t.dev->cls->state, "net0", t.dev, &error))
		fail_msg("%s", error->message);
	t.dev->cls->resume(t.dev);
	run();
	assert_true(resumed);
	assert_int_equal(rd(&t, 0xb608), 1 << 24 | 16);
	put_descriptor(&t, BUFFERS, 60 | EOP, 0);
	put_descriptor(&t, BUFFERS, 64 | EOP, 0);
	send_ring(&t);
	assert_int_equal(sent->len, 1);
	assert_int_equal(g_bytes_get_size(sent->pdata[0]), 64);
	close_card(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity), cmocka_unit_test(test_transmit),   cmocka_unit_test(test_offloads),
		cmocka_unit_test(test_receive),	 cmocka_unit_test(test_no_room),    cmocka_unit_test(test_rss),
		cmocka_unit_test(test_vectors),	 cmocka_unit_test(test_moderation), cmocka_unit_test(test_loopback),
		cmocka_unit_test(test_link),	 cmocka_unit_test(test_hostile),    cmocka_unit_test(test_move),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
