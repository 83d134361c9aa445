/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reception of the 82574 (datasheet, 7.1): a frame goes to as many buffers as it fills, whose descriptors (legacy, extended, or
 * with four buffers) say how long it is and what was checked. A frame for which the ring has no room stays with the back end.
 * With the descriptors of packet split we do not split: the buffers are filled one after the other (7.1.6.1 allows it).
 * Called by the back end through e1000e_client, in the main context.
 */
#include <string.h>

#include <netinet/in.h>

#include "bytes.h"
#include "e1000e.h"
#include "offload.h"

enum {
	STATUS_DD = 1, STATUS_EOP = 2, STATUS_VP = 8, STATUS_L4CS = 0x20, STATUS_IPCS = 0x40,
	ERROR_L4 = 0x20, ERROR_IP = 0x40,
	TAG = 4, SPLIT_BUFFERS = 4, UDP_LEN = 8, TCP_MIN = 20, IP4_MIN = 20, IP6_LEN = 40,
};

/* What a descriptor tells of a frame. */
struct report {
	uint8_t status, errors, rss_type;
	uint16_t tag, ident, sum;
	uint32_t hash;
	unsigned queue;
};

/* How descriptors and buffers look now (RCTL, RFCTL, PSRCTL). */
struct format {
	bool extended, split;
	unsigned descriptor, buffers;
	uint32_t size[SPLIT_BUFFERS], total;
};

static void read_format(struct e1000e *e, struct format *f)
{
	uint32_t rctl = *e1000e_reg(e, RCTL), ps = *e1000e_reg(e, PSRCTL), flex = rctl >> 27 & 15;

	memset(f, 0, sizeof(*f));
	f->extended = *e1000e_reg(e, RFCTL) & RFCTL_EXTENDED;
	f->split = f->extended && (rctl & RCTL_SPLIT);
	f->descriptor = f->split ? 32 : 16;
	f->buffers = f->split ? SPLIT_BUFFERS : 1;
	if (f->split) {
		f->size[0] = (ps & 0x7f) * 128;
		for (unsigned i = 1; i < SPLIT_BUFFERS; i++)
			f->size[i] = (ps >> 8 * i & 0x3f) * 1024;
	} else if (flex) {
		f->size[0] = flex * 1024;
	} else {
		f->size[0] = (rctl & RCTL_BSEX ? 32768u : 2048u) >> (rctl >> 16 & 3);
	}
	for (unsigned i = 0; i < f->buffers; i++)
		f->total += f->size[i];
}

/* ---- checksums ---- */

static void check_l4(struct report *r, const uint8_t *l4, size_t len, unsigned protocol, uint32_t sum, bool valid)
{
	unsigned at = protocol == IPPROTO_TCP ? 16 : 6;

	if (len < (protocol == IPPROTO_TCP ? TCP_MIN : UDP_LEN) || (protocol == IPPROTO_UDP && !get_be16(l4 + at)))
		return;
	r->status |= STATUS_L4CS;
	if (!valid && net_csum_fold(net_csum_add(sum + protocol + (uint32_t)len, l4, len)))
		r->errors |= ERROR_L4;
}

/* IPv4 and IPv6 without extension headers, TCP and UDP without fragments (7.1.9); valid: the host has looked at L4. */
static void check_sums(struct e1000e *e, struct report *r, const uint8_t *frame, size_t len, bool valid)
{
	uint32_t wish = *e1000e_reg(e, RXCSUM);
	const uint8_t *ip = frame + ETH_HLEN;
	unsigned type = get_be16(frame + 12), protocol;
	size_t left = len - ETH_HLEN, head, whole;

	if (type == ETH_P_IP && left >= IP4_MIN && ip[0] >> 4 == 4) {
		head = 4u * (ip[0] & 15);
		whole = get_be16(ip + 2);
		if (head < IP4_MIN || whole < head || whole > left)
			return;
		r->ident = get_be16(ip + 4);
		if (wish & RXCSUM_IP) {
			r->status |= STATUS_IPCS;
			r->errors |= net_csum_fold(net_csum_add(0, ip, head)) ? ERROR_IP : 0;
		}
		protocol = get_be16(ip + 6) & 0x3fff ? IPPROTO_RAW : ip[9];
	} else if (type == ETH_P_IPV6 && left >= IP6_LEN && ip[0] >> 4 == 6) {
		head = IP6_LEN;
		whole = head + get_be16(ip + 4);
		if (whole > left)
			return;
		protocol = ip[6];
	} else {
		return;
	}
	if ((wish & RXCSUM_L4) && (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP))
		check_l4(r, ip + head, whole - head, protocol,
			 type == ETH_P_IP ? net_csum_add(0, ip + 12, 8) : net_csum_add(0, ip + 8, 32), valid);
}

/* ---- descriptors ---- */

static void write_legacy(struct e1000e *e, struct e1000e_ring *ring, const struct report *r, uint32_t len, bool last)
{
	uint8_t d[8];

	put_le16(d, (uint16_t)len);
	put_le16(d + 2, last ? r->sum : 0);
	d[4] = last ? r->status | STATUS_EOP | STATUS_DD : STATUS_DD;
	d[5] = last ? r->errors : 0;
	put_le16(d + 6, last ? r->tag : 0);
	e1000e_ring_write(e, ring, 8, d, sizeof(d));
}

/* used: bytes in each buffer. What says that the descriptor is done is written last, at once. */
static void write_extended(struct e1000e *e, struct e1000e_ring *ring, const struct format *f, const struct report *r,
			   const uint32_t *used, bool last)
{
	uint8_t low[8], middle[8], high[16] = {0};
	bool hashed = *e1000e_reg(e, RXCSUM) & RXCSUM_PCSD;

	put_le32(low, r->rss_type | r->queue << 8);
	put_le32(low + 4, hashed ? r->hash : r->ident | (uint32_t)r->sum << 16);
	put_le32(middle, (last ? r->status | STATUS_EOP : 0u) | STATUS_DD | (last ? (uint32_t)r->errors << 24 : 0));
	put_le16(middle + 4, (uint16_t)used[0]);
	put_le16(middle + 6, last ? r->tag : 0);
	for (unsigned i = 1; i < f->buffers; i++)
		put_le16(high + 2 * i, (uint16_t)used[i]);
	if (f->split)
		e1000e_ring_write(e, ring, 16, high, sizeof(high));
	e1000e_ring_write(e, ring, 0, low, sizeof(low));
	e1000e_ring_write(e, ring, 8, middle, sizeof(middle));
}

/* The frame, from `at` on, to the buffers of the descriptor at the head; answers the bytes it took. */
static uint32_t fill_descriptor(struct e1000e *e, struct e1000e_ring *ring, const struct format *f, const struct report *r,
				uint32_t at, uint32_t len)
{
	uint32_t used[SPLIT_BUFFERS] = {0}, done = 0;
	uint8_t d[32];

	if (!e1000e_ring_read(e, ring, d))
		return 0;
	for (unsigned i = 0; i < f->buffers; i++) {
		uint64_t address = get_le64(d + 8 * i);

		used[i] = MIN(f->size[i], len - at - done);
		/* A buffer at 0 takes its share and keeps nothing (7.1.7); so does one that is not memory. */
		if (address && used[i])
			gpa_write(e->pci.dev.core->mem, address, e->frame + at + done, used[i]);
		done += used[i];
	}
	if (f->extended)
		write_extended(e, ring, f, r, used, at + done == len);
	else
		write_legacy(e, ring, r, used[0], at + done == len);
	e1000e_ring_advance(ring);
	return done;
}

static uint32_t causes_of(struct e1000e *e, const struct e1000e_ring *ring, unsigned queue)
{
	uint32_t low = ring->entries >> (1 + (*e1000e_reg(e, RCTL) >> 8 & 3));
	uint32_t causes = pci_msix_enabled(&e->pci) ? (uint32_t)CAUSE_RXQ0 << queue : CAUSE_RXT0;

	return e1000e_ring_filled(ring) <= low ? causes | CAUSE_RXDMT0 : causes;
}

static void count_frame(struct e1000e *e, uint32_t len)
{
	e1000e_count(e, TPR, 1);
	e1000e_count(e, GPRC, 1);
	e1000e_count_wide(e, TORL, len + ETH_FCS_LEN);
	e1000e_count_wide(e, GORCL, len + ETH_FCS_LEN);
	e1000e_count_size(e, PRC64, len + ETH_FCS_LEN);
	if (e->frame[0] & 1)
		e1000e_count(e, get_le32(e->frame) == UINT32_MAX ? BPRC : MPRC, 1);
	e->received++;
}

/* e->frame to the ring. False: there is no room. */
static bool deliver(struct e1000e *e, struct report *r, uint32_t len)
{
	struct e1000e_ring ring;
	uint32_t at = 0, n;
	struct format f;

	read_format(e, &f);
	if (!f.total)
		return true;
	if (!e1000e_ring_open(e, true, r->queue, f.descriptor, &ring) ||
	    e1000e_ring_filled(&ring) < (len + f.total - 1) / f.total) {
		e1000e_count(e, RNBC, 1);
		return false;
	}
	while (at < len && (n = fill_descriptor(e, &ring, &f, r, at, len)))
		at += n;
	e1000e_cause(e, causes_of(e, &ring, r->queue));
	return true;
}

static void take_tag(struct e1000e *e, struct report *r, uint32_t *len)
{
	if (!(*e1000e_reg(e, CTRL) & CTRL_VME) || *len < ETH_HLEN + TAG ||
	    get_be16(e->frame + 2 * ETH_ALEN) != (*e1000e_reg(e, VET) & 0xffff))
		return;
	r->status |= STATUS_VP;
	r->tag = get_be16(e->frame + 2 * ETH_ALEN + 2);
	*len -= TAG;
	memmove(e->frame + 2 * ETH_ALEN, e->frame + 2 * ETH_ALEN + TAG, *len - 2 * ETH_ALEN);
}

static uint32_t size_limit(struct e1000e *e)
{
	return (*e1000e_reg(e, RCTL) & RCTL_LPE ? E1000E_FRAME_MAX : ETH_FRAME_LEN + TAG + ETH_FCS_LEN) - ETH_FCS_LEN;
}

/* e->frame, len bytes, from the wire. Holds the lock. */
static bool take_frame(struct e1000e *e, uint32_t len, bool valid)
{
	uint32_t rxcsum = *e1000e_reg(e, RXCSUM), start = rxcsum & 0xff, wire;
	struct report r = {0};

	if (len > size_limit(e)) {
		e1000e_count(e, ROC, 1);
		return true;
	}
	if (len < ETH_ZLEN) {
		memset(e->frame + len, 0, ETH_ZLEN - len);
		len = ETH_ZLEN;
	}
	wire = len;
	if (!e1000e_wanted(e, e->frame, len))
		return true;
	take_tag(e, &r, &len);
	check_sums(e, &r, e->frame, len, valid);
	r.queue = e1000e_rss_queue(e, e->frame, len, &r.hash, &r.rss_type);
	if (!(rxcsum & RXCSUM_PCSD) && start < len)
		r.sum = net_csum_fold(net_csum_add(0, e->frame + start, len - start));
	if (!(*e1000e_reg(e, RCTL) & RCTL_SECRC)) {
		/* Nobody knows the CRC any more: the bytes are there, and are zeroes. */
		memset(e->frame + len, 0, ETH_FCS_LEN);
		len += ETH_FCS_LEN;
	}
	if (!deliver(e, &r, len))
		return false;
	count_frame(e, wire);
	return true;
}

bool e1000e_receive(struct e1000e *e, const struct virtio_net_hdr *hdr, const uint8_t *frame, size_t len)
{
	bool valid = hdr->flags & VIRTIO_NET_HDR_F_DATA_VALID, taken = true;

	g_mutex_lock(&e->lock);
	if (e->paused) {
		taken = false;
	} else if (!(*e1000e_reg(e, RCTL) & RCTL_EN) || (!e->link && !e1000e_loops(e)) || len < ETH_HLEN ||
		   len > E1000E_FRAME_MAX) {
		e->dropped++;
	} else {
		if (frame != e->frame)
			memcpy(e->frame, frame, len);
		taken = take_frame(e, (uint32_t)len, valid);
	}
	e->rx_blocked |= !taken;
	g_mutex_unlock(&e->lock);
	return taken;
}

struct filled {
	struct e1000e *e;
	bool taken;
};

static void receive_filled(void *opaque, const uint8_t *frame, size_t len)
{
	static const struct virtio_net_hdr valid = {.flags = VIRTIO_NET_HDR_F_DATA_VALID};
	struct filled *f = opaque;

	f->taken = e1000e_receive(f->e, &valid, frame, len);
}

/* Sums that were left open are filled; large segments are not for us, who never asked for them. */
static bool client_receive(void *opaque, const struct virtio_net_hdr *hdr, const struct iovec *iov, unsigned n_iov)
{
	struct e1000e *e = opaque;
	struct filled f = {e, true};
	size_t len = 0;

	for (unsigned i = 0; i < n_iov; i++) {
		if (iov[i].iov_len > sizeof(e->frame) - len || hdr->gso_type || e1000e_loops(e)) {
			e->dropped++;
			return true;
		}
		memcpy(e->frame + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	if (hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		net_offload_finish(e->frame, len, hdr, 0, receive_filled, &f);
	else
		f.taken = e1000e_receive(e, hdr, e->frame, len);
	return f.taken;
}

static bool client_can_receive(void *opaque)
{
	return !((struct e1000e *)opaque)->rx_blocked;
}

static void client_link_changed(void *opaque, bool up)
{
	struct e1000e *e = opaque;

	g_mutex_lock(&e->lock);
	e1000e_link(e, up);
	g_mutex_unlock(&e->lock);
}

const struct net_client e1000e_client = {
	.can_receive = client_can_receive,
	.receive = client_receive,
	.link_changed = client_link_changed,
};
