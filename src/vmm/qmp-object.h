/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a QMP client made by object-add, for those who are given a name of it. Main thread. */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct vmm;

/* A reference to a secret's bytes; NULL: there is none of that name. */
GBytes *qmp_secret(const struct vmm *vmm, const char *id, GError **error);

struct qmp_tls_creds {
	const char *dir;   /* the object's: a folder in QEMU's layout (base/tls.h) */
	char *password;	   /* of its key, or NULL; g_free */
	bool verify_peer;  /* the other side needs a certificate of the folder's authority */
};

/* Those of a server, or of a client. */
bool qmp_tls_creds(const struct vmm *vmm, const char *id, bool server, struct qmp_tls_creds *ret, GError **error);
