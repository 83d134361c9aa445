/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which sockets kvd listens on, and who is welcome at each: options, kvd.conf, or what systemd has opened. Called by main.c. */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct sockets {
	bool session;
	bool libvirts;	    /* also where libvirt's clients look */
	const char *socket; /* NULL: the usual place */
	const char *tls;    /* ADDRESS:PORT, :PORT, PORT; NULL: what kvd.conf says */
};

/* With the state lock held. */
bool sockets_open(const struct sockets *s, GError **error);
