/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which frames a network card wants, in one shape for all of them, and that a change is told once after each look: QEMU's
 * query-rx-filter and NIC_RX_FILTER_CHANGED (qapi/net.json). Cards fill it in, query.c tells it.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "device.h"

enum rx_state { RX_NORMAL, RX_NONE, RX_ALL }; /* those of the table; none; all */
enum { RX_MACS = 80, RX_VLANS = 4096 };

struct rx_filter {
	bool promiscuous, broadcast;
	enum rx_state unicast, multicast, vlan;
	bool unicast_overflow, multicast_overflow; /* it wants more than the table has */
	uint8_t mac[6];				   /* its own */
	unsigned n_unicast, n_multicast;	   /* RX_MACS together */
	uint8_t macs[RX_MACS][6];		   /* unicast ones first */
	uint8_t vlans[RX_VLANS / 8];		   /* a bit each */
};

/* In a card. Atomic; zeroed at first. */
struct rx_watch {
	bool asked; /* and not told since */
};

/* The main thread has looked; any thread has changed something. */
void rx_watch_asked(struct rx_watch *w);
void rx_watch_changed(struct rx_watch *w, struct device *dev);
/* To the end of its table, unicast ones first; what does not fit is an overflow. */
void rx_filter_add(struct rx_filter *f, const uint8_t *mac);
/* a{sv} with QEMU's names, floating. */
GVariant *rx_filter_tell(const struct rx_filter *f);
