/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Port forwards in text: tcp|udp:[ADDR]:PORT-[GUEST]:PORT. Used by user.c and tests. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>
#include <netinet/in.h>

struct hostfwd {
	bool udp;
	struct in_addr host; /* INADDR_ANY when left out */
	uint16_t host_port;
	struct in_addr guest; /* INADDR_ANY when left out: the address DHCP gives first */
	uint16_t guest_port;
};

/* The part that says where it listens, tcp|udp:[ADDR]:PORT; what is behind it need not be there, and is not looked at. */
bool hostfwd_parse_listener(const char *text, struct hostfwd *ret, GError **error);
bool hostfwd_parse(const char *text, struct hostfwd *ret, GError **error);
