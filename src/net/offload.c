/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checksum fill and segmentation in software. See offload.h. A packet is split by copying its
 * headers before each piece of payload and correcting the fields that differ: IP length and
 * identification, TCP sequence and flags, and the sums.
 */
#include "offload.h"

#include <string.h>

#include <glib.h>
#include <linux/if_ether.h>
#include <netinet/in.h>

#include "bytes.h"


enum {
	IP4_MIN = 20,
	IP6_LEN = 40,
	TCP_MIN = 20,
	TCP_FIN = 0x01,
	TCP_PSH = 0x08,
	TCP_CWR = 0x80,
	GSO_MIN = 8, /* what Linux sends at least; less would be a flood of frames */
	HEADERS_MAX = ETH_HLEN + 4 + 60 + 60,
};

/* Where the layers of a packet start; all within the frame. */
struct layers {
	size_t ip;
	size_t l4;
	size_t payload;
	bool v6;
};

uint32_t net_csum_add(uint32_t sum, const uint8_t *data, size_t len)
{
	uint64_t wide = sum;
	size_t i;

	for (i = 0; i + 1 < len; i += 2)
		wide += (uint32_t)data[i] << 8 | data[i + 1];
	if (i < len)
		wide += (uint32_t)data[i] << 8;
	while (wide >> 32)
		wide = (wide & UINT32_MAX) + (wide >> 32);
	return wide;
}

uint16_t net_csum_fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* The guest left the sum over [start, end) open: the field holds the pseudo header's. */
static bool fill_csum(uint8_t *frame, size_t len, size_t start, size_t offset)
{
	uint16_t sum;

	if (start > len || offset > len - start || len - start - offset < 2)
		return false;
	sum = net_csum_fold(net_csum_add(0, frame + start, len - start));
	/* 0 means "no checksum" in UDP, and 0xffff is its equal everywhere. */
	put_be16(frame + start + offset, sum ? sum : 0xffff);
	return true;
}

static bool find_layers(const uint8_t *frame, size_t len, struct layers *ret)
{
	size_t ip = ETH_HLEN, l4, payload;
	uint32_t type;
	uint8_t protocol;

	if (len < ETH_HLEN)
		return false;
	type = get_be16(frame + 12);
	if (type == ETH_P_8021Q && len >= ETH_HLEN + 4) {
		type = get_be16(frame + 16);
		ip += 4;
	}
	/* Lengths go into 16-bit fields. */
	if (len - ip > UINT16_MAX)
		return false;
	ret->ip = ip;
	ret->v6 = type == ETH_P_IPV6;
	if (type == ETH_P_IP) {
		if (len - ip < IP4_MIN || frame[ip] >> 4 != 4)
			return false;
		l4 = ip + 4 * (frame[ip] & 15);
		protocol = frame[ip + 9];
		if (l4 < ip + IP4_MIN)
			return false;
	} else if (ret->v6) {
		if (len - ip < IP6_LEN || frame[ip] >> 4 != 6)
			return false;
		/* Linux puts no extension header before a segment it leaves to us. */
		l4 = ip + IP6_LEN;
		protocol = frame[ip + 6];
	} else {
		return false;
	}
	ret->l4 = l4;
	if (protocol != IPPROTO_TCP || l4 > len || len - l4 < TCP_MIN)
		return false;
	payload = l4 + 4 * (frame[l4 + 12] >> 4);
	if (payload < l4 + TCP_MIN || payload > len || payload > HEADERS_MAX)
		return false;
	ret->payload = payload;
	return true;
}

/* Sum over the pseudo header (RFC 793, RFC 8200 8.1) and the segment. */
static void fix_l4_csum(uint8_t *frame, size_t len, const struct layers *at)
{
	uint8_t *field = frame + at->l4 + 16;
	size_t l4_len = len - at->l4;
	uint32_t sum = IPPROTO_TCP + l4_len;

	if (at->v6)
		sum = net_csum_add(sum, frame + at->ip + 8, 32);
	else
		sum = net_csum_add(sum, frame + at->ip + 12, 8);
	put_be16(field, 0);
	put_be16(field, net_csum_fold(net_csum_add(sum, frame + at->l4, l4_len)));
}

static void fix_segment(uint8_t *frame, size_t len, const struct layers *at, size_t done,
			unsigned index, bool last)
{
	uint8_t *ip = frame + at->ip;
	uint8_t *l4 = frame + at->l4;

	if (at->v6) {
		put_be16(ip + 4, len - at->l4);
	} else {
		put_be16(ip + 2, len - at->ip);
		put_be16(ip + 4, get_be16(ip + 4) + index);
		put_be16(ip + 10, 0);
		put_be16(ip + 10, net_csum_fold(net_csum_add(0, ip, at->l4 - at->ip)));
	}
	put_be32(l4 + 4, get_be32(l4 + 4) + done);
	if (!last)
		l4[13] &= ~(TCP_FIN | TCP_PSH);
	if (index)
		l4[13] &= ~TCP_CWR;
	fix_l4_csum(frame, len, at);
}

/* Each segment is built just before its payload, over bytes that were sent already. */
static bool segment(uint8_t *frame, size_t len, const struct virtio_net_hdr *hdr,
		    size_t payload_min, net_frame_fn emit, void *opaque)
{
	unsigned gso = hdr->gso_type & ~VIRTIO_NET_HDR_GSO_ECN;
	size_t size = GUINT16_FROM_LE(hdr->gso_size);
	uint8_t headers[HEADERS_MAX];
	struct layers at;
	size_t total;

	if (size < GSO_MIN || !find_layers(frame, len, &at))
		return false;
	if (at.v6 != (gso == VIRTIO_NET_HDR_GSO_TCPV6))
		return false;
	size = MAX(size, payload_min);
	total = len - at.payload;
	memcpy(headers, frame, at.payload);
	for (size_t done = 0, index = 0; done < total || !index; index++) {
		size_t n = MIN(size, total - done);
		uint8_t *start = frame + done;

		memcpy(start, headers, at.payload);
		fix_segment(start, at.payload + n, &at, done, index, done + n == total);
		emit(opaque, start, at.payload + n);
		done += n;
	}
	return true;
}

bool net_offload_finish(uint8_t *frame, size_t len, const struct virtio_net_hdr *hdr,
			size_t payload_min, net_frame_fn emit, void *opaque)
{
	switch (hdr->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		break;
	case VIRTIO_NET_HDR_GSO_TCPV4:
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return segment(frame, len, hdr, payload_min, emit, opaque);
	default:
		return false;
	}
	if ((hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
	    !fill_csum(frame, len, GUINT16_FROM_LE(hdr->csum_start),
		       GUINT16_FROM_LE(hdr->csum_offset)))
		return false;
	emit(opaque, frame, len);
	return true;
}
