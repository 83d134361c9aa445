/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A card whose cable is not plugged in. A row of net.c's table. */
#include "backends.h"

static bool none_open(struct netdev *dev, GVariant *options, GError **error)
{
	dev->link_up = false;
	return true;
}

static void none_close(struct netdev *dev)
{
}

static void none_send(struct netdev *dev, const struct virtio_net_hdr *hdr,
		      const struct iovec *iov, unsigned n_iov)
{
	dev->sent.dropped++;
}

static void none_resume(struct netdev *dev)
{
}

const struct net_backend net_none = {
	.open = none_open,
	.close = none_close,
	.send = none_send,
	.resume = none_resume,
};
