/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which frames the 82574 takes (datasheet, 7.1.1: addresses, multicast hash, VLANs) and to which of its two receive queues each
 * goes (7.1.2.8, RSS: the Toeplitz hash of Microsoft's specification). Called by e1000e-rx.c under the card's lock.
 */
#include <string.h>

#include <netinet/in.h>

#include "bytes.h"
#include "e1000e.h"

enum {
	ADDRESSES = 16,
	RSS_ENABLED = 1, RSS_TCP4 = 1 << 16, RSS_IP4 = 1 << 17, RSS_TCP6 = 1 << 18, RSS_IP6 = 1 << 20,
	TYPE_TCP4 = 1, TYPE_IP4 = 2, TYPE_TCP6 = 3, TYPE_IP6 = 5,
	KEY = 40, INPUT = 36,
	IP4_MIN = 20, IP6_LEN = 40,
};

static bool is_ours(struct e1000e *e, const uint8_t *mac)
{
	for (unsigned i = 0; i < ADDRESSES; i++) {
		uint32_t low = *e1000e_reg(e, RAL + 8 * i), high = *e1000e_reg(e, RAL + 8 * i + 4);

		if (high >> 31 && get_le32(mac) == low && get_le16(mac + 4) == (high & 0xffff))
			return true;
	}
	return false;
}

/* Twelve bits of the address, which ones RCTL.MO says (10.2.5.1), find a bit of the table. */
static bool in_hash(struct e1000e *e, const uint8_t *mac)
{
	static const uint8_t shifts[] = {4, 3, 2, 0};
	unsigned bit = get_le16(mac + 4) >> shifts[*e1000e_reg(e, RCTL) >> 12 & 3] & 0xfff;

	return *e1000e_reg(e, MTA + 4 * (bit >> 5)) >> (bit & 31) & 1;
}

static bool vlan_wanted(struct e1000e *e, const uint8_t *frame, size_t len)
{
	unsigned tag;

	if (!(*e1000e_reg(e, RCTL) & RCTL_VFE) || len < ETH_HLEN + 4 || get_be16(frame + 12) != (*e1000e_reg(e, VET) & 0xffff))
		return true;
	tag = get_be16(frame + 14) & 0xfff;
	return *e1000e_reg(e, VFTA + 4 * (tag >> 5)) >> (tag & 31) & 1;
}

bool e1000e_wanted(struct e1000e *e, const uint8_t *frame, size_t len)
{
	static const uint8_t broadcast[ETH_ALEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	uint32_t rctl = *e1000e_reg(e, RCTL);

	if (!vlan_wanted(e, frame, len))
		return false;
	if (!memcmp(frame, broadcast, ETH_ALEN))
		return rctl & (RCTL_BAM | RCTL_MPE);
	if (frame[0] & 1)
		return (rctl & RCTL_MPE) || in_hash(e, frame) || is_ours(e, frame);
	return (rctl & RCTL_UPE) || is_ours(e, frame) || in_hash(e, frame);
}

/* What the hash lets in is not known by address: it is more than the tables have. */
void e1000e_rx_filter(struct device *dev, struct rx_filter *ret)
{
	struct e1000e *e = (struct e1000e *)dev;
	uint32_t rctl, tagged = 0;

	g_mutex_lock(&e->lock);
	rctl = *e1000e_reg(e, RCTL);
	ret->promiscuous = (rctl & RCTL_UPE) && (rctl & RCTL_MPE);
	ret->broadcast = rctl & (RCTL_BAM | RCTL_MPE);
	ret->unicast = rctl & RCTL_UPE ? RX_ALL : RX_NORMAL;
	ret->multicast = rctl & RCTL_MPE ? RX_ALL : RX_NORMAL;
	for (unsigned group = 0; group < 2; group++)
		for (unsigned i = 0; i < ADDRESSES; i++) {
			uint32_t low = *e1000e_reg(e, RAL + 8 * i), high = *e1000e_reg(e, RAL + 8 * i + 4);
			uint8_t mac[ETH_ALEN];

			put_le32(mac, low);
			put_le16(mac + 4, (uint16_t)high);
			if (!i)
				memcpy(ret->mac, mac, ETH_ALEN);
			else if (high >> 31 && (mac[0] & 1) == group)
				rx_filter_add(ret, mac);
		}
	for (unsigned i = 0; i < RX_VLANS / 32; i++) {
		ret->multicast_overflow |= *e1000e_reg(e, MTA + 4 * i) != 0;
		put_le32(ret->vlans + 4 * i, *e1000e_reg(e, VFTA + 4 * i));
		tagged |= *e1000e_reg(e, VFTA + 4 * i);
	}
	ret->vlan = !(rctl & RCTL_VFE) ? RX_ALL : tagged ? RX_NORMAL : RX_NONE;
	g_mutex_unlock(&e->lock);
	rx_watch_asked(&e->watch);
}

/* A window of 32 bits of the key slides along; each bit of the input that is set adds the one it is at. */
static uint32_t toeplitz(const uint8_t *key, const uint8_t *input, unsigned len)
{
	uint32_t window = get_be32(key), hash = 0;

	for (unsigned i = 0; i < 8 * len; i++) {
		if (input[i / 8] & 0x80 >> i % 8)
			hash ^= window;
		window = window << 1 | (key[4 + i / 8] >> (7 - i % 8) & 1);
	}
	return hash;
}

/* Addresses, then ports if the frame is a whole TCP segment; answers the hash's type and the length of the input. */
static uint8_t hash_input(uint32_t mrqc, const uint8_t *frame, size_t len, uint8_t *input, unsigned *ret_len)
{
	const uint8_t *ip = frame + ETH_HLEN;
	size_t left = len - ETH_HLEN, head;
	unsigned type = get_be16(frame + 12);
	bool tcp;

	if (type == ETH_P_IP && left >= IP4_MIN && ip[0] >> 4 == 4) {
		head = 4u * (ip[0] & 15);
		tcp = ip[9] == IPPROTO_TCP && !(get_be16(ip + 6) & 0x3fff) && head >= IP4_MIN && left >= head + 4;
		memcpy(input, ip + 12, 8);
		*ret_len = 8;
		if (tcp && (mrqc & RSS_TCP4)) {
			memcpy(input + 8, ip + head, 4);
			*ret_len = 12;
			return TYPE_TCP4;
		}
		return mrqc & RSS_IP4 ? TYPE_IP4 : 0;
	}
	if (type != ETH_P_IPV6 || left < IP6_LEN || ip[0] >> 4 != 6)
		return 0;
	memcpy(input, ip + 8, 32);
	*ret_len = 32;
	if (ip[6] == IPPROTO_TCP && left >= IP6_LEN + 4 && (mrqc & RSS_TCP6)) {
		memcpy(input + 32, ip + IP6_LEN, 4);
		*ret_len = INPUT;
		return TYPE_TCP6;
	}
	return mrqc & RSS_IP6 ? TYPE_IP6 : 0;
}

unsigned e1000e_rss_queue(struct e1000e *e, const uint8_t *frame, size_t len, uint32_t *ret_hash, uint8_t *ret_type)
{
	uint32_t mrqc = *e1000e_reg(e, MRQC);
	uint8_t key[KEY], input[INPUT];
	unsigned n;

	*ret_hash = 0;
	*ret_type = 0;
	if ((mrqc & 3) != RSS_ENABLED)
		return 0;
	*ret_type = hash_input(mrqc, frame, len, input, &n);
	if (!*ret_type)
		return 0;
	for (unsigned i = 0; i < KEY / 4; i++)
		put_le32(key + 4 * i, *e1000e_reg(e, RSSRK + 4 * i));
	*ret_hash = toeplitz(key, input, n);
	/* 128 bytes, of which the highest bit is the queue. */
	n = *ret_hash & 127;
	return *e1000e_reg(e, RETA + 4 * (n / 4)) >> (8 * (n % 4) + 7) & 1;
}
