/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Transmission of the 82574 (datasheet, 7.2): legacy and extended descriptors become frames, a context descriptor says where
 * checksums go and how a large TCP segment is split. A frame is gathered under the lock, copied, and given to the back end
 * without it. Called by e1000e.c in the main context.
 */
#include <string.h>

#include <netinet/in.h>

#include "bytes.h"
#include "e1000e.h"
#include "offload.h"

enum {
	BUDGET = 512, /* descriptors at once */
	/* The third dword of a descriptor, 7.2.4 and 7.2.10. */
	EOP = 1 << 24, LEGACY_IC = 1 << 26, DATA_TSE = 1 << 26, RS = 1 << 27, DEXT = 1 << 29, VLE = 1 << 30,
	TYPE_CONTEXT = 0, TYPE_DATA = 1,
	CONTEXT_TCP = 1 << 24, CONTEXT_IPV4 = 1 << 25,
	DONE = 1,
	POPTS_IP = 1 << 8, POPTS_L4 = 1 << 9,
	IVAR_EVERY = 31, /* a bit of IVAR: all descriptors are written back with an interrupt */
	TAG = 4, IP4_MIN = 20, IP6_LEN = 40, TCP_MIN = 20, TCP_SUM = 16,
};

/* What is to be done with a frame once the lock is released. */
struct outgoing {
	struct virtio_net_hdr hdr;
	size_t len;
	bool segment, loop;
};

void e1000e_tx_reset(struct e1000e *e)
{
	for (unsigned q = 0; q < E1000E_QUEUES; q++)
		memset(&e->tx[q], 0, offsetof(struct e1000e_tx, frame));
}

static void take_context(struct e1000e_tx *t, const uint8_t *d)
{
	uint32_t command = get_le32(d + 8);

	t->context = (struct e1000e_context){.ipcss = d[0],
					     .ipcso = d[1],
					     .ipcse = get_le16(d + 2),
					     .tucss = d[4],
					     .tucso = d[5],
					     .tucse = get_le16(d + 6),
					     .payload_len = command & 0xfffff,
					     .tcp = command & CONTEXT_TCP,
					     .ipv4 = command & CONTEXT_IPV4,
					     .header_len = d[13],
					     .mss = get_le16(d + 14)};
}

/* The sum over [start, end], or to the frame's end, goes to `at`, on top of what is there. */
static void put_sum(struct e1000e_tx *t, size_t start, size_t end, size_t at)
{
	size_t stop = end ? MIN(end + 1, t->len) : t->len;
	uint16_t sum;

	if (start >= stop || at + 2 > t->len)
		return;
	sum = net_csum_fold(net_csum_add(0, t->frame + start, stop - start));
	/* The same number, and what UDP does not take for "none". */
	put_be16(t->frame + at, sum ? sum : 0xffff);
}

static void put_sums(struct e1000e_tx *t)
{
	const struct e1000e_context *c = &t->context;

	if (t->legacy_sum)
		put_sum(t, t->css, 0, t->cso);
	if (t->ip_sum)
		put_sum(t, c->ipcss, c->ipcse, c->ipcso);
	if (t->l4_sum)
		put_sum(t, c->tucss, c->tucse, c->tucso);
}

/* A segment larger than the wire takes, with lengths and sums as virtio wants it. False: it is none that we can split. */
static bool prepare_segment(struct e1000e_tx *t, struct virtio_net_hdr *h)
{
	const struct e1000e_context *c = &t->context;
	size_t ip_len = c->ipv4 ? IP4_MIN : IP6_LEN, l4_len = t->len - c->tucss;
	uint8_t *ip = t->frame + c->ipcss, *tcp = t->frame + c->tucss;
	uint32_t sum = IPPROTO_TCP;

	if (!c->tcp || !c->mss || t->len > c->ipcss + 0xffffu || c->ipcss + ip_len > c->tucss ||
	    c->tucss + TCP_MIN > c->header_len || c->header_len > t->len)
		return false;
	if (c->ipv4) {
		put_be16(ip + 2, t->len - c->ipcss);
		put_be16(ip + 10, 0);
		put_be16(ip + 10, net_csum_fold(net_csum_add(0, ip, c->tucss - c->ipcss)));
		sum = net_csum_add(sum, ip + 12, 8);
	} else {
		put_be16(ip + 4, t->len - c->ipcss - IP6_LEN);
		sum = net_csum_add(sum, ip + 8, 32);
	}
	put_be16(tcp + TCP_SUM, (uint16_t)~net_csum_fold(sum + (uint32_t)l4_len));
	*h = (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				     .gso_type = c->ipv4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6,
				     .hdr_len = GUINT16_TO_LE(c->header_len),
				     .gso_size = GUINT16_TO_LE(c->mss),
				     .csum_start = GUINT16_TO_LE(c->tucss),
				     .csum_offset = GUINT16_TO_LE(TCP_SUM)};
	return true;
}

/* Behind the addresses; what offsets the header has move with the frame. */
static void insert_tag(struct e1000e *e, struct e1000e_tx *t, uint16_t tag, struct virtio_net_hdr *h)
{
	memmove(t->frame + 2 * ETH_ALEN + TAG, t->frame + 2 * ETH_ALEN, t->len - 2 * ETH_ALEN);
	put_be16(t->frame + 2 * ETH_ALEN, *e1000e_reg(e, VET) & 0xffff);
	put_be16(t->frame + 2 * ETH_ALEN + 2, tag);
	t->len += TAG;
	if (!h->gso_type)
		return;
	h->hdr_len = GUINT16_TO_LE(GUINT16_FROM_LE(h->hdr_len) + TAG);
	h->csum_start = GUINT16_TO_LE(GUINT16_FROM_LE(h->csum_start) + TAG);
}

static void count_frame(struct e1000e *e, const struct e1000e_tx *t, const struct virtio_net_hdr *h)
{
	uint32_t head = GUINT16_FROM_LE(h->hdr_len), mss = GUINT16_FROM_LE(h->gso_size), frames = 1;

	if (h->gso_type && t->len > head) {
		frames = (t->len - head + mss - 1) / mss;
		e1000e_count(e, TSCTC, 1);
	}
	e1000e_count(e, TPT, frames);
	e1000e_count(e, GPTC, frames);
	e1000e_count_wide(e, TOTL, t->len + (frames - 1) * head + frames * ETH_FCS_LEN);
	e1000e_count_wide(e, GOTCL, t->len + (frames - 1) * head + frames * ETH_FCS_LEN);
	e1000e_count_size(e, PTC64, MAX(h->gso_type ? head + mss : t->len, ETH_ZLEN) + ETH_FCS_LEN);
	if (t->frame[0] & 1)
		e1000e_count(e, get_le32(t->frame) == UINT32_MAX ? BPTC : MPTC, frames);
	e->sent += frames;
}

/* The last descriptor of a packet was taken. False: nothing goes out. */
static bool finish_frame(struct e1000e *e, struct e1000e_tx *t, bool tagged, uint16_t tag, struct outgoing *out)
{
	memset(&out->hdr, 0, sizeof(out->hdr));
	if (t->skip || t->len < ETH_HLEN || (t->tse && !prepare_segment(t, &out->hdr))) {
		e->dropped++;
		return false;
	}
	if (!t->tse)
		put_sums(t);
	if (tagged && (*e1000e_reg(e, CTRL) & CTRL_VME))
		insert_tag(e, t, tag, &out->hdr);
	count_frame(e, t, &out->hdr);
	out->len = t->len;
	out->loop = e1000e_loops(e);
	out->segment = out->hdr.gso_type;
	memcpy(e->out, t->frame, t->len);
	return true;
}

static void start_frame(struct e1000e_tx *t, uint32_t command, uint32_t options, const uint8_t *d)
{
	bool extended = command & DEXT;

	t->tse = extended && (command & DATA_TSE);
	t->ip_sum = extended && (options & POPTS_IP);
	t->l4_sum = extended && (options & POPTS_L4);
	t->legacy_sum = !extended && (command & LEGACY_IC);
	t->cso = d[10];
	t->css = d[13];
}

/* Room for a tag is kept. */
static void append(struct e1000e *e, struct e1000e_tx *t, uint64_t address, uint32_t len)
{
	if (t->skip || len > sizeof(t->frame) - TAG - t->len ||
	    (len && !gpa_read(e->pci.dev.core->mem, address, t->frame + t->len, len))) {
		t->skip = true;
		return;
	}
	t->len += len;
}

/* True: *out is a frame to send. */
static bool take_descriptor(struct e1000e *e, unsigned queue, const uint8_t *d, struct outgoing *out)
{
	struct e1000e_tx *t = &e->tx[queue];
	uint32_t command = get_le32(d + 8), options = get_le32(d + 12);
	bool extended = command & DEXT, ready = false;
	unsigned type = command >> 20 & 15;

	if (extended && type == TYPE_CONTEXT) {
		take_context(t, d);
		return false;
	}
	if (extended && type != TYPE_DATA)
		return false;
	if (!t->len && !t->skip)
		start_frame(t, command, options, d);
	append(e, t, get_le64(d), extended ? command & 0xfffff : command & 0xffff);
	if (!(command & EOP))
		return false;
	ready = finish_frame(e, t, command & VLE, (uint16_t)(options >> 16), out);
	t->len = 0;
	t->skip = false;
	return ready;
}

/* Answers the causes of it. */
static uint32_t write_back(struct e1000e *e, struct e1000e_ring *r, unsigned queue, const uint8_t *d)
{
	uint8_t status[4];

	if (!(get_le32(d + 8) & RS) && !(*e1000e_reg(e, IVAR) >> IVAR_EVERY))
		return 0;
	put_le32(status, (get_le32(d + 12) & ~15u) | DONE);
	e1000e_ring_write(e, r, 12, status, sizeof(status));
	return pci_msix_enabled(&e->pci) ? (uint32_t)CAUSE_TXQ0 << queue : CAUSE_TXDW;
}

/* Descriptors up to the end of a frame; true: there is one. Holds the lock. */
static bool gather(struct e1000e *e, unsigned queue, unsigned *budget, uint32_t *causes, struct outgoing *out)
{
	struct e1000e_ring r;
	uint8_t d[16];
	bool ready = false;

	if (e->paused || !(*e1000e_reg(e, TCTL) & TCTL_EN) || !e1000e_ring_open(e, false, queue, sizeof(d), &r))
		return false;
	while (!ready && *budget && e1000e_ring_filled(&r)) {
		if (!e1000e_ring_read(e, &r, d))
			return false;
		--*budget;
		ready = take_descriptor(e, queue, d, out);
		*causes |= write_back(e, &r, queue, d);
		e1000e_ring_advance(&r);
		if (!e1000e_ring_filled(&r))
			*causes |= CAUSE_TXQE;
	}
	return ready;
}

static void send_plain(void *opaque, const uint8_t *frame, size_t len)
{
	static const struct virtio_net_hdr plain;
	struct e1000e *e = opaque;
	struct iovec iov = {(void *)frame, len};

	net_send(e->net, &plain, &iov, 1);
}

static void loop_back(void *opaque, const uint8_t *frame, size_t len)
{
	static const struct virtio_net_hdr plain;

	e1000e_receive(opaque, &plain, frame, len);
}

static void send_out(struct e1000e *e, const struct outgoing *out)
{
	unsigned bit = out->hdr.gso_type == VIRTIO_NET_HDR_GSO_TCPV4 ? VIRTIO_NET_F_HOST_TSO4 : VIRTIO_NET_F_HOST_TSO6;
	struct iovec iov = {e->out, out->len};

	if (out->loop)
		net_offload_finish(e->out, out->len, &out->hdr, 0, loop_back, e);
	else if (out->segment && !(e->net->offloads >> bit & 1))
		net_offload_finish(e->out, out->len, &out->hdr, 0, send_plain, e);
	else
		net_send(e->net, &out->hdr, &iov, 1);
}

/* Interrupts come when a round is over, or a lot was sent. */
bool e1000e_transmit(struct e1000e *e)
{
	unsigned budget = BUDGET;
	struct outgoing out;

	for (unsigned q = 0; q < E1000E_QUEUES; q++) {
		uint32_t causes = 0;
		bool ready;

		do {
			g_mutex_lock(&e->lock);
			ready = gather(e, q, &budget, &causes, &out);
			if (!ready && causes)
				e1000e_cause(e, causes);
			g_mutex_unlock(&e->lock);
			if (ready)
				send_out(e, &out);
		} while (ready);
	}
	return !budget;
}
