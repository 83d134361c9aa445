/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See dhcp-look.h. Called by user.c for each frame, so that what is no DHCP is told early. */
#include "dhcp-look.h"

#include <string.h>

#include <linux/if_ether.h>

#include "bytes.h"

enum {
	IP_MIN = 20,
	UDP_LEN = 8,
	SERVER_PORT = 67,
	CLIENT_PORT = 68,
	YIADDR = 16,
	CHADDR = 28,
	COOKIE = 236,
	OPTIONS = 240,
	OPTION_PAD = 0,
	OPTION_NAME = 12,
	OPTION_LEASE = 51,
	OPTION_TYPE = 53,
	OPTION_END = 255,
};
#define MAGIC_COOKIE 0x63825363u

static void read_option(unsigned code, const uint8_t *data, size_t len, struct dhcp_seen *ret)
{
	if (code == OPTION_TYPE && len == 1) {
		ret->type = *data;
	} else if (code == OPTION_LEASE && len == 4) {
		ret->seconds = get_be32(data);
	} else if (code == OPTION_NAME) {
		memcpy(ret->name, data, len);
		ret->name[len] = 0;
	}
}

static bool read_message(const uint8_t *message, size_t len, struct dhcp_seen *ret)
{
	if (len < OPTIONS || message[1] != 1 || message[2] != sizeof(ret->mac) || get_be32(message + COOKIE) != MAGIC_COOKIE)
		return false;
	memset(ret, 0, sizeof(*ret));
	memcpy(&ret->address, message + YIADDR, sizeof(ret->address));
	memcpy(ret->mac, message + CHADDR, sizeof(ret->mac));
	for (size_t at = OPTIONS; at < len && message[at] != OPTION_END;) {
		if (message[at] == OPTION_PAD) {
			at++;
			continue;
		}
		if (len - at < 2 || len - at - 2 < message[at + 1])
			break;
		read_option(message[at], message + at + 2, message[at + 1], ret);
		at += 2 + (size_t)message[at + 1];
	}
	return ret->type;
}

bool dhcp_look(const uint8_t *frame, size_t len, struct dhcp_seen *ret)
{
	const uint8_t *ip = frame + ETH_HLEN, *udp;
	size_t header;
	uint32_t from, to;

	if (len < ETH_HLEN + IP_MIN + UDP_LEN || get_be16(frame + 12) != ETH_P_IP || ip[0] >> 4 != 4 || ip[9] != IPPROTO_UDP)
		return false;
	header = 4 * (size_t)(ip[0] & 15);
	if (header < IP_MIN || len - ETH_HLEN < header + UDP_LEN)
		return false;
	udp = ip + header;
	from = get_be16(udp);
	to = get_be16(udp + 2);
	if (!(from == CLIENT_PORT && to == SERVER_PORT) && !(from == SERVER_PORT && to == CLIENT_PORT))
		return false;
	return read_message(udp + UDP_LEN, len - ETH_HLEN - header - UDP_LEN, ret);
}
