/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a user-mode network is to be, from options to libslirp's configuration. Keys, all optional, have QEMU's names and
 * meanings: net ("ADDR[/BITS]"), host, dhcpstart, dns, ipv6-net, ipv6-host, ipv6-dns, hostname, domainname, tftp, bootfile (s),
 * restrict, ipv6, dhcp (b; dhcp is ours: nobody answers without). Used by user.c.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct user_config {
	struct SlirpConfig *slirp; /* its texts are options' or the one below */
	char *tftp;
};

/* options: a{sv} or NULL, which outlives *ret. *ret, zeroed before, is to be cleared in any case. */
bool user_config_read(GVariant *options, struct user_config *ret, GError **error);
void user_config_clear(struct user_config *c);
