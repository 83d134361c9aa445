/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An NBD server (the NBD project's doc/proto.md: fixed newstyle, structured replies, metadata contexts, TLS): images as exports,
 * which come and go while it runs. Used by kv-img serve.
 *
 * Threads: a server belongs to the thread of its GMainContext, which accepts connections; all functions are called there. Each
 * connection has a thread of its own, with a queue of its own to the image. Bytes of clients are hostile: what a connection
 * can take is bounded (memory, time of its handshake), and so is how many there are.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "image.h"

struct nbd_server;
struct nbd_export;

/* A dirty bitmap as a metadata context, "qemu:dirty-bitmap:NAME". */
struct nbd_bitmap {
	const char *name;
	/* Is offset dirty? The run's length, at most len and not 0. Any thread, several at a time. 0 or a negative errno. */
	int (*extent)(void *opaque, uint64_t offset, uint64_t len, bool *ret_dirty, uint64_t *ret_len);
	void *opaque;
};

enum { NBD_BITMAPS_MAX = 16 };
/* One of src/image/bitmap.h's, which stays there, and named as it is, as long as the export. */
struct image_bitmap;
struct nbd_bitmap nbd_bitmap_of(struct image_bitmap *b);

struct nbd_export_options {
	const char *name;	 /* at most 4096 bytes, as all strings here */
	const char *description; /* NULL: none */
	bool writable;		 /* of an image that is open for writing */
	bool ignore_flush;	 /* what clients want to be safe on disk is not made so */
	bool allocation_depth;	 /* offers "qemu:allocation-depth" */
	const struct nbd_bitmap *bitmaps;
	unsigned n_bitmaps;
};

struct nbd_server_options {
	unsigned max_connections; /* more wait, unaccepted; 0: as many as there can be */
	const char *tls_creds;	  /* a folder (tls.h): clients have to use TLS; NULL: they cannot */
	bool tls_verify_peer;	  /* clients need a certificate of our authority */
	const char *tls_password; /* of the folder's server-key.pem; NULL: it has none */
	bool tls_psk;		  /* keys of the folder's keys.psk in the place of certificates */
	/* A connection has ended (its handshake was through if `used`); how many are left. In the context. NULL: nobody asks. */
	void (*left)(void *opaque, unsigned n, bool used);
	void *opaque;
};

struct nbd_server *nbd_server_new(GMainContext *context, const struct nbd_server_options *options, GError **error);
/* Ends all connections, then frees the exports, but not their images. NULL is fine. */
void nbd_server_free(struct nbd_server *s);
/* Takes a listening socket over; non-blocking. */
void nbd_server_listen(struct nbd_server *s, int fd);
/* Ends listening: those who are connected stay. */
void nbd_server_stop_listening(struct nbd_server *s);
unsigned nbd_server_connections(struct nbd_server *s);

/* The image stays the caller's, who closes it after nbd_export_remove() or nbd_server_free(). */
struct nbd_export *nbd_export_add(struct nbd_server *s, struct image *img, const struct nbd_export_options *options,
				  GError **error);
/* NULL: there is none. */
struct nbd_export *nbd_export_find(struct nbd_server *s, const char *name);
unsigned nbd_export_connections(struct nbd_export *e);
/* Its connections are ended: what they have in flight is finished before this returns. */
void nbd_export_remove(struct nbd_export *e);

/* One connection whose two ends are there already: takes fd over. */
void nbd_server_add(struct nbd_server *s, int fd);
