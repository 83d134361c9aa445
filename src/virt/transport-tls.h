/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* TLS with x509, as libvirt's clients speak it: certificates of both sides, then one byte of the server's that says yes. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#include "uri.h"

/* GnuTLS takes longer to start than a command of kvsh, so this is a module that the first tls:// loads. */
struct kv_transport_tls {
	/* fd blocks until this returns. Certificates: libvirt's places (docs/tlscerts), or all in the folder "pkipath". */
	void *(*start)(int fd, const struct kv_uri *u, GError **error);
	/* As read(2) and write(2). */
	ssize_t (*read)(void *tls, void *buf, size_t len);
	ssize_t (*write)(void *tls, const void *buf, size_t len);
	bool (*pending)(void *tls);
	void (*end)(void *tls);
};

#define KV_TRANSPORT_TLS_MODULE "kv-virt-tls"
#define KV_TRANSPORT_TLS_SYMBOL "kv_transport_tls"
