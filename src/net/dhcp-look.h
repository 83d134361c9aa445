/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DHCP as it passes by (RFC 2131, 2132): which address a guest was given and what it calls itself. Frames are hostile: what does
 * not fit is no DHCP. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <netinet/in.h>

#define DHCP_NAME_MAX 255

enum dhcp_type { DHCP_REQUEST = 3, DHCP_ACK = 5, DHCP_RELEASE = 7 };

struct dhcp_seen {
	uint8_t type; /* enum dhcp_type, or another of RFC 2132, 9.6 */
	uint8_t mac[6];
	struct in_addr address; /* that the client is given */
	uint32_t seconds;	/* for how long; 0: not said */
	char name[DHCP_NAME_MAX + 1]; /* of the client; "" */
};

/* An Ethernet frame; false: it is no DHCP message over IPv4. */
bool dhcp_look(const uint8_t *frame, size_t len, struct dhcp_seen *ret);
