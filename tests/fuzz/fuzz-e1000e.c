/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: the 82574L on a PCI bus with memory and no CPU. The input is a program of a hostile driver: registers, bytes into
 * memory, descriptors, frames from the network, the link, save and load. Nothing is expected but that the process survives, and
 * that what is sent has the size of a frame.
 *
 * Input: operations of one byte and their operands (see step()); it ends with the bytes.
 */
#include <stdlib.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "bytes.h"
#include "devices/e1000e.h"
#include "fuzz-input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAM = 0x8000, BAR = 0xc0000000, ECAM = 0xb0000000, TX_RING = 0, RX_RING = 0x400, ENTRIES = 16 };

struct fuzz {
	struct machine_core core;
	struct device *dev;
	struct netdev net;
	struct fuzz_input in;
	unsigned tail;
};

static void net_take(struct netdev *dev, const struct virtio_net_hdr *hdr, const struct iovec *iov, unsigned n_iov)
{
	volatile uint8_t sum = hdr->flags;
	size_t len = 0;

	for (unsigned i = 0; i < n_iov; len += iov[i++].iov_len)
		for (size_t k = 0; k < iov[i].iov_len; k++)
			sum += ((uint8_t *)iov[i].iov_base)[k];
	if (len < ETH_HLEN || len > NET_FRAME_MAX)
		abort();
}

static void net_room(struct netdev *dev)
{
}

static const struct net_backend net_backend = {.send = net_take, .resume = net_room};

static void request(void *machine, enum machine_request what)
{
}

static void wr(struct fuzz *f, unsigned reg, uint64_t v, unsigned size)
{
	bus_access(f->core.mmio, BAR + reg, &v, size, true);
}

static void rd(struct fuzz *f, unsigned reg, unsigned size)
{
	uint64_t v;

	bus_access(f->core.mmio, BAR + reg, &v, size, false);
}

static void run_context(void)
{
	for (unsigned i = 0; i < 64 && g_main_context_iteration(NULL, FALSE); i++)
		continue;
}

static void map_bar(struct fuzz *f)
{
	uint32_t bar = BAR;
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

	bus_access(f->core.mmio, ECAM + PCI_BASE_ADDRESS_0, &bar, 4, true);
	bus_access(f->core.mmio, ECAM + PCI_COMMAND, &command, 2, true);
}

/* As a driver has it, with what the input chooses. */
static void bring_up(struct fuzz *f)
{
	unsigned rctl = fuzz_take(&f->in, 4), rfctl = fuzz_take(&f->in, 2), ps = fuzz_take(&f->in, 4);

	f->tail = 0;
	for (unsigned q = 0; q < 2; q++) {
		wr(f, TDBAL + q * QUEUE_STRIDE, TX_RING + q * 0x200, 4);
		wr(f, TDLEN + q * QUEUE_STRIDE, ENTRIES * 16, 4);
		wr(f, RDBAL + q * QUEUE_STRIDE, RX_RING + q * 0x200, 4);
		wr(f, RDLEN + q * QUEUE_STRIDE, ENTRIES * 32, 4);
		wr(f, RDT + q * QUEUE_STRIDE, ENTRIES - 1, 4);
	}
	wr(f, TCTL, TCTL_EN, 4);
	wr(f, RFCTL, rfctl, 4);
	wr(f, PSRCTL, ps, 4);
	wr(f, MRQC, ps << 16 | 1, 4);
	wr(f, RETA, ps, 4);
	wr(f, RCTL, rctl | RCTL_EN | RCTL_UPE, 4);
	wr(f, CTRL, (rctl & CTRL_VME) | CTRL_SLU, 4);
	wr(f, IMS, fuzz_take(&f->in, 4), 4);
}

static void add_descriptor(struct fuzz *f)
{
	uint8_t *d = (uint8_t *)gpa_ptr(f->core.mem, TX_RING, RAM) + 16 * f->tail;

	put_le64(d, fuzz_take(&f->in, 2) % (RAM + 64));
	put_le32(d + 8, fuzz_take(&f->in, 4) & 0xff301fff);
	put_le32(d + 12, fuzz_take(&f->in, 4));
	f->tail = (f->tail + 1) % ENTRIES;
	wr(f, TDT, f->tail, 4);
}

static void arrive(struct fuzz *f)
{
	struct virtio_net_hdr h = {.flags = fuzz_take(&f->in, 1)};
	uint8_t frame[3000];
	struct iovec iov = {frame, 14 + fuzz_take(&f->in, 2) % (sizeof(frame) - 14)};

	memset(frame, fuzz_take(&f->in, 1), sizeof(frame));
	put_be16(frame + 12, h.flags & 0x10 ? ETH_P_IP : h.flags & 0x20 ? ETH_P_IPV6 : ETH_P_8021Q);
	for (unsigned i = 14; i < 40 && h.flags & 0x80; i++)
		frame[i] = fuzz_take(&f->in, 1);
	h.csum_start = h.flags;
	h.gso_type = h.flags & 8 ? VIRTIO_NET_HDR_GSO_TCPV4 : 0;
	f->net.client->receive(f->net.client_opaque, &h, &iov, 1);
}

static void save_and_load(struct fuzz *f)
{
	GByteArray *stream = g_byte_array_new();
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) bytes = NULL;
	struct e1000e *e = (struct e1000e *)f->dev;
	size_t offset = 0;

	f->dev->cls->pause(f->dev);
	/* A stream from somewhere else says what no driver wrote. */
	e->reg[fuzz_take(&f->in, 2) % E1000E_WORDS] = fuzz_take(&f->in, 4);
	e->waits[fuzz_take(&f->in, 1) % sizeof(e->waits)] = fuzz_take(&f->in, 1);
	state_save(stream, f->dev->cls->state, f->dev->id, f->dev);
	bytes = g_byte_array_free_to_bytes(stream);
	if (!state_load(bytes, &offset, f->dev->cls->state, f->dev->id, f->dev, &error))
		f->dev->cls->reset(f->dev);
	f->dev->cls->resume(f->dev);
	map_bar(f);
}

static void step(struct fuzz *f)
{
	static const uint16_t hot[] = {TDT, TDH, RDT, RDH, ICR, ICS, IMS, IMC, CTRL, RCTL, TCTL, MDIC, EERD, IVAR, EIAC, ITR,
				       EITR, TDLEN, RDLEN, TDBAL, RDBAL, TDBAH, RXCSUM, CTRL_EXT, VET, SWSM, STATUS, GORCL};
	uint8_t *ram = gpa_ptr(f->core.mem, 0, RAM);
	unsigned op = fuzz_take(&f->in, 1), at, n;

	switch (op & 15) {
	case 0:
		bring_up(f);
		break;
	case 1:
		wr(f, fuzz_take(&f->in, 3) & 0x1ffff, fuzz_take(&f->in, 4), 1u << (op >> 4 & 3));
		break;
	case 2:
		rd(f, fuzz_take(&f->in, 3) & 0x1ffff, 1u << (op >> 4 & 3));
		break;
	case 3:
		wr(f, hot[fuzz_take(&f->in, 1) % G_N_ELEMENTS(hot)] + (op & 0x10 ? QUEUE_STRIDE : 0), fuzz_take(&f->in, 4), 4);
		break;
	case 4:
	case 5:
		at = fuzz_take(&f->in, 2) % RAM;
		for (n = 1 + (op >> 4); n-- && at < RAM;)
			ram[at++] = fuzz_take(&f->in, 1);
		break;
	case 6:
		arrive(f);
		break;
	case 7:
		net_set_link(&f->net, op & 0x10);
		f->net.offloads = op & 0x20 ? ~0ull : 0;
		break;
	case 8:
		save_and_load(f);
		break;
	case 9: /* MSI-X on and off */
		at = PCI_MSIX_FLAGS_ENABLE & fuzz_take(&f->in, 2);
		bus_access(f->core.mmio, ECAM + ((struct pci_device *)f->dev)->msix_cap + PCI_MSIX_FLAGS, &at, 2, true);
		break;
	case 10:
		run_context();
		break;
	default:
		add_descriptor(f);
		if (op & 0x10)
			run_context();
	}
}

static void look_at_filter(struct device *dev)
{
	struct rx_filter filter = {0};
	g_autoptr(GVariant) told = NULL;

	dev->cls->rx_filter(dev, &filter);
	told = g_variant_ref_sink(rx_filter_tell(&filter));
	if (filter.n_unicast + filter.n_multicast > RX_MACS || !g_variant_is_of_type(told, G_VARIANT_TYPE_VARDICT))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = {.in = {data, MIN(size, 4096)}};

	f.core = (struct machine_core){.vm_fd = -1, .mem = mem_new(-1), .ports = bus_new("port"), .mmio = bus_new("mmio"),
				       .context = g_main_context_default(), .request = request};
	f.net = (struct netdev){.backend = &net_backend, .link_up = true};
	if (!mem_add_ram(f.core.mem, 0, RAM, NULL))
		abort();
	f.core.pci = pci_bus_new(&f.core, &(struct pci_windows){BAR, 0x10000000, 1ull << 40, 1ull << 30, 0xc000, 0x1000}, NULL);
	if (!f.core.pci || !pci_bus_set_ecam(f.core.pci, ECAM, 1, NULL))
		abort();
	f.dev = device_new(&f.core, "e1000e", "fuzz", NULL, &(struct device_backend){.netdev = &f.net}, NULL);
	if (!f.dev)
		abort();
	map_bar(&f);
	bring_up(&f);
	while (f.in.left)
		step(&f);
	run_context();
	look_at_filter(f.dev);
	device_free(f.dev);
	pci_bus_free(f.core.pci);
	bus_free(f.core.mmio);
	bus_free(f.core.ports);
	mem_free(f.core.mem);
	return 0;
}
