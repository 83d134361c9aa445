/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host sides of a network card. A card sends frames with net_send() and is given frames through its client callbacks; both
 * carry a struct virtio_net_hdr, so that checksums and segmentation stay undone as long as both sides can leave them.
 *
 * Threads: everything in the thread of the GMainContext given at net_open().
 */
#pragma once
#include <glib.h>
#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define NET_FRAME_MAX (65536 + 256) /* bytes of a frame with an unsegmented TCP packet */

struct netdev;

/* The card: what a backend calls. */
struct net_client {
	/* True when a frame of any size could be taken now. When it was false, the card calls net_resume() later. */
	bool (*can_receive)(void *opaque);
	/* Takes the frame (copies it); false: no room, the backend keeps or drops it. hdr as in virtio 1.2, 5.1.6. */
	bool (*receive)(void *opaque, const struct virtio_net_hdr *hdr, const struct iovec *iov, unsigned n_iov);
	void (*link_changed)(void *opaque, bool up);
};

struct net_backend {
	bool (*open)(struct netdev *dev, GVariant *options, GError **error);
	void (*close)(struct netdev *dev);
	void (*send)(struct netdev *dev, const struct virtio_net_hdr *hdr, const struct iovec *iov, unsigned n_iov);
	void (*resume)(struct netdev *dev);
	/* A port forward comes or goes, in text as hostfwd.h has it. NULL: there are none. */
	bool (*forward)(struct netdev *dev, const char *text, bool add, GError **error);
	/* What the backend knows of the guest: appends to an a{sv}; see net_describe(). May be NULL. */
	void (*describe)(struct netdev *dev, GVariantDict *out);
};

/* Frames and bytes of one direction; dropped: frames that nobody took. */
struct net_count {
	uint64_t frames, bytes, dropped;
};

struct netdev {
	const struct net_backend *backend;
	const struct net_client *client; /* NULL until net_attach() */
	void *client_opaque;
	GMainContext *context;
	bool link_up;
	uint64_t offloads; /* VIRTIO_NET_F_CSUM, HOST_TSO4/6, GUEST_CSUM, GUEST_TSO4/6 bits (1 << n) that the backend handles */
	struct net_count sent, received; /* by the guest */
	void *state;
};

/*
 * kind: none or user, a module. options, a{sv}; user: hostfwd (as, "tcp:ADDR:PORT-GUEST:PORT"), restrict (b), ipv6 (b, on),
 * tftp (s, a folder), bootfile (s), and the network's addresses (user-config.h).
 */
struct netdev *net_open(const char *kind, GVariant *options, GMainContext *context, GError **error);
void net_close(struct netdev *dev); /* NULL is fine */
void net_attach(struct netdev *dev, const struct net_client *client, void *opaque);
/* The frame is taken (sent, or dropped and counted) before this returns; the iov is free then. */
void net_send(struct netdev *dev, const struct virtio_net_hdr *hdr, const struct iovec *iov, unsigned n_iov);
void net_resume(struct netdev *dev);
/* What was behind the card is closed; the card stays, without a cable. */
void net_cut(struct netdev *dev);
/* A port forward is added, or taken away ("tcp:ADDR:PORT" is enough then). */
bool net_forward(struct netdev *dev, const char *text, bool add, GError **error);
/*
 * a{sv}: link-up (b); rx-bytes, rx-packets, rx-dropped of what the guest received and tx-… of what it sent (t); hostfwd (as);
 * dhcpstart (s), the address that DHCP gives, if there is DHCP;
 * lease (a{sv}: address, mac, hostname (s), seconds (t) that it was given for, age (t) in seconds), the one DHCP gave last.
 */
GVariant *net_describe(struct netdev *dev);
/* The cable is pulled, or plugged in: the card is told. Nothing goes out meanwhile, and what comes in the card drops. */
void net_set_link(struct netdev *dev, bool up);
