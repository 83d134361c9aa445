/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What kvd.conf(5) says, in the words of libvirtd.conf. Read once by main.c before anything listens; afterwards it does not
 * change, so that any thread may look.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct config {
	/* TLS */
	gint64 listen_tls, tls_no_verify_certificate, tls_no_sanity_certificate;
	char *listen_addr, *tls_port, *key_file, *cert_file, *ca_file, *crl_file, *tls_priority;
	char **tls_allowed_dn_list; /* NULL: all; empty: none */
	/* Unix sockets */
	char *unix_sock_group, *unix_sock_ro_perms, *unix_sock_rw_perms, *unix_sock_dir;
	/* "none" or "polkit" */
	char *auth_unix_ro, *auth_unix_rw, *auth_tls;
	char **access_drivers;
	/* How much */
	gint64 max_clients, max_queued_clients, max_anonymous_clients, max_workers, prio_workers, max_client_requests;
	gint64 keepalive_interval, keepalive_count; /* s; -1: none are sent */
};

extern struct config config;

/* path NULL: the usual place, where there need not be one. */
bool config_read(const char *path, bool session, GError **error);
/* Is the access driver polkit on? */
bool config_has_access_control(void);
