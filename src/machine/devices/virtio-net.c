/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtio network card (virtio 1.2, section 5.1): queue pairs, control queue, checksum and
 * segmentation offloads as far as the backend carries them, receive buffers merged for large
 * packets, address filter, link state, announcement after a move.
 *
 * Threads: queues, the backend and its callbacks all live in the main context; a receive
 * queue's lock may be taken under a transmit queue's (a backend may answer inside net_send).
 */
#include <string.h>

#include <linux/if_ether.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "card.h"
#include "boot-order.h"
#include "classes.h"
#include "error.h"
#include "log.h"
#include "net.h"
#include "rx-filter.h"
#include "virtio-pci.h"

enum {
	QUEUE_SIZE = 256,
	PAIRS_MAX = 8,
	HEADER = sizeof(struct virtio_net_hdr_v1),
	NUM_BUFFERS = offsetof(struct virtio_net_hdr_v1, num_buffers),
	MACS = 64,
	COMMAND_MAX = 2 + 8 + 2 * MACS * ETH_ALEN, /* longer address tables count as overflow */
};

struct virtio_net {
	struct virtio_pci_device dev;
	struct netdev *net;
	uint32_t pairs_max;
	GPtrArray *merged; /* chains of one packet being received; main context */
	bool rx_blocked;   /* the backend waits for net_resume */

	/* Set by control commands; under rx_lock, read per frame. Saved. */
	GMutex rx_lock;
	uint16_t pairs;
	uint64_t guest_offloads;
	bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
	bool uni_overflow, multi_overflow;
	uint32_t n_uni, n_multi;
	uint8_t macs[MACS][ETH_ALEN]; /* unicast ones, then multicast ones */

	struct rx_watch watch;

	uint64_t rx_packets, tx_packets, rx_dropped, tx_dropped;
};

/* The status field of the configuration: atomic, since queue threads must not take v->lock. */
static uint16_t *status_field(struct virtio_device *v)
{
	return (uint16_t *)(void *)(v->config + offsetof(struct virtio_net_config, status));
}

static void change_status(struct virtio_device *v, uint16_t set, uint16_t clear)
{
	uint16_t old = __atomic_load_n(status_field(v), __ATOMIC_ACQUIRE), status;

	do
		status = (old | GUINT16_TO_LE(set)) & GUINT16_TO_LE(~clear);
	while (!__atomic_compare_exchange_n(status_field(v), &old, status, false, __ATOMIC_ACQ_REL,
					    __ATOMIC_ACQUIRE));
	if (status != old)
		virtio_config_changed(v);
}

/* --- receive --- */

static bool in_table(struct virtio_net *n, const uint8_t *mac, unsigned from, unsigned count)
{
	for (unsigned i = from; i < from + count; i++)
		if (!memcmp(n->macs[i], mac, ETH_ALEN))
			return true;
	return false;
}

/* Whether the driver wants frames to this address; holds rx_lock. */
static bool wanted(struct virtio_net *n, const uint8_t *mac)
{
	static const uint8_t broadcast[ETH_ALEN] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (n->promisc)
		return true;
	if (!memcmp(mac, broadcast, ETH_ALEN))
		return !n->nobcast;
	if (mac[0] & 1)
		return !n->nomulti && (n->allmulti || n->multi_overflow ||
				       in_table(n, mac, n->n_uni, n->n_multi));
	return !n->nouni && (n->alluni || n->uni_overflow || in_table(n, mac, 0, n->n_uni) ||
			     !memcmp(n->dev.v.config, mac, ETH_ALEN));
}

/* Can the driver take a frame with this header as it is? Holds rx_lock. */
static bool header_fits(struct virtio_net *n, const struct virtio_net_hdr *h)
{
	uint64_t o = n->guest_offloads;

	if ((h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && !(o >> VIRTIO_NET_F_GUEST_CSUM & 1))
		return false;
	switch (h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return true;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return o >> VIRTIO_NET_F_GUEST_TSO4 & 1;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return o >> VIRTIO_NET_F_GUEST_TSO6 & 1;
	default:
		return false;
	}
}

/* Frames of one flow to one queue: both addresses and ports, where IPv4 and IPv6 have them. */
static unsigned flow_queue(const uint8_t *frame, size_t len, unsigned pairs)
{
	bool v6 = len > 13 && frame[12] == 0x86 && frame[13] == 0xdd;
	size_t from = v6 ? 22 : 26, to = v6 ? 58 : 38;
	uint32_t hash = 2166136261u;

	for (size_t i = from; i < to && i < len; i++)
		hash = (hash ^ frame[i]) * 16777619u;
	return (hash >> 16 ^ hash) % pairs;
}

static void drop_chains(GPtrArray *chains)
{
	g_ptr_array_set_size(chains, 0); /* frees them */
}

/* Header and frame into the chains of one packet. Each is full but for the last. */
static void fill_chains(struct virtqueue *vq, struct virtq_chain **chains, unsigned count,
			const uint8_t *header, const struct iovec *iov, unsigned n_iov,
			size_t len)
{
	size_t at = 0; /* in header and frame together */

	for (unsigned i = 0; i < count; i++) {
		struct virtq_chain *c = chains[i];
		size_t room = MIN(c->in_len, HEADER + len - at), done = 0;

		if (i == 0)
			done = virtq_iov_write(c->in, c->n_in, 0, header, HEADER);
		for (size_t skip = at + done - HEADER, k = 0; k < n_iov && done < room; k++) {
			size_t part;

			if (skip >= iov[k].iov_len) {
				skip -= iov[k].iov_len;
				continue;
			}
			part = MIN(iov[k].iov_len - skip, room - done);
			done += virtq_iov_write(c->in, c->n_in, done,
						(const char *)iov[k].iov_base + skip, part);
			skip = 0;
		}
		virtq_push(vq, c, done);
		at += done;
	}
}

/* Chains for @need bytes. False: the ring has too few now, none was taken. */
static bool take_chains(struct virtio_net *n, struct virtqueue *vq, size_t need, bool merge)
{
	size_t have = 0;
	unsigned slots = 0;

	while (have < need) {
		struct virtq_chain *c = virtq_pop(vq);

		if (!c) {
			virtq_unpop(vq, slots);
			drop_chains(n->merged);
			return false;
		}
		g_ptr_array_add(n->merged,
				virtq_chain_copy(c, g_malloc(virtq_chain_size(c))));
		slots += c->slots;
		have += c->in_len;
		if (c->in_len < HEADER) {
			virtq_break(vq, "receive buffer is smaller than a header");
			drop_chains(n->merged);
			return false;
		}
		if (!merge)
			break;
	}
	return true;
}

/* Holds vq->lock. False: no room, and the driver will notify us when there is. */
static bool deliver(struct virtio_net *n, struct virtqueue *vq, const struct virtio_net_hdr *hdr,
		    const struct iovec *iov, unsigned n_iov, size_t len)
{
	struct virtio_net_hdr_v1 h = { .num_buffers = GUINT16_TO_LE(1) };
	bool merge = virtio_has(&n->dev.v, VIRTIO_NET_F_MRG_RXBUF);
	struct virtq_chain **chains;

	memcpy(&h, hdr, sizeof(*hdr));
	if (!(n->guest_offloads >> VIRTIO_NET_F_GUEST_CSUM & 1))
		h.flags = 0;
	/* More may arrive meanwhile, but perhaps not enough: then wait for the next. */
	if (!take_chains(n, vq, HEADER + len, merge) &&
	    (!virtq_enable_notify(vq) || !take_chains(n, vq, HEADER + len, merge))) {
		if (vq->broken)
			virtio_break(&n->dev.v, vq->why);
		return vq->broken;
	}
	chains = (struct virtq_chain **)n->merged->pdata;
	if (!merge && chains[0]->in_len < HEADER + len) {
		virtq_unpop(vq, chains[0]->slots);
		n->rx_dropped++;
	} else {
		h.num_buffers = GUINT16_TO_LE(n->merged->len);
		fill_chains(vq, chains, n->merged->len, (uint8_t *)&h, iov, n_iov, len);
		n->rx_packets++;
	}
	drop_chains(n->merged);
	virtio_queue_flush(&n->dev.v, vq);
	return true;
}

static bool net_receive(void *opaque, const struct virtio_net_hdr *hdr, const struct iovec *iov,
			unsigned n_iov)
{
	struct virtio_net *n = opaque;
	struct virtio_device *v = &n->dev.v;
	struct virtqueue *vq;
	uint8_t head[64];
	size_t len = 0, have = virtq_iov_read(iov, n_iov, 0, head, sizeof(head));
	bool ok, taken = true;

	for (unsigned i = 0; i < n_iov; i++)
		len += iov[i].iov_len;
	g_mutex_lock(&n->rx_lock);
	ok = len >= ETH_HLEN && len <= NET_FRAME_MAX && header_fits(n, hdr) && wanted(n, head) &&
	     (GUINT16_FROM_LE(*status_field(v)) & VIRTIO_NET_S_LINK_UP);
	vq = &v->queues[n->pairs > 1 ? 2 * flow_queue(head, have, n->pairs) : 0];
	g_mutex_unlock(&n->rx_lock);
	g_mutex_lock(&vq->lock);
	if (__atomic_load_n(&v->paused, __ATOMIC_ACQUIRE))
		taken = false;
	else if (ok && virtio_live(v) && vq->started)
		taken = deliver(n, vq, hdr, iov, n_iov, len);
	else
		n->rx_dropped++;
	n->rx_blocked |= !taken;
	g_mutex_unlock(&vq->lock);
	return taken;
}

static bool net_can_receive(void *opaque)
{
	struct virtio_net *n = opaque;

	return !n->rx_blocked;
}

static void net_link_changed(void *opaque, bool up)
{
	struct virtio_net *n = opaque;

	change_status(&n->dev.v, up ? VIRTIO_NET_S_LINK_UP : 0, up ? 0 : VIRTIO_NET_S_LINK_UP);
}

static const struct net_client net_card = {
	.can_receive = net_can_receive,
	.receive = net_receive,
	.link_changed = net_link_changed,
};

static void rx_notify(struct virtio_net *n, struct virtqueue *vq)
{
	/* Buffers are looked for when a frame comes; notifications only matter when it waits. */
	virtq_disable_notify(vq);
	if (!n->rx_blocked)
		return;
	n->rx_blocked = false;
	g_mutex_unlock(&vq->lock);
	net_resume(n->net);
	g_mutex_lock(&vq->lock);
}

/* --- transmit --- */

static bool tx_header_ok(struct virtio_net *n, const struct virtio_net_hdr *h)
{
	const struct virtio_device *v = &n->dev.v;

	if ((h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && !virtio_has(v, VIRTIO_NET_F_CSUM))
		return false;
	switch (h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return true;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return virtio_has(v, VIRTIO_NET_F_HOST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return virtio_has(v, VIRTIO_NET_F_HOST_TSO6);
	default:
		return false;
	}
}

static void send_chain(struct virtio_net *n, struct virtqueue *vq, struct virtq_chain *c)
{
	struct iovec iov[64];
	struct virtio_net_hdr h;
	int n_iov;

	if (c->out_len < HEADER) {
		virtq_break(vq, "frame without a header");
		return;
	}
	virtq_iov_read(c->out, c->n_out, 0, &h, sizeof(h));
	n_iov = virtq_iov_slice(c->out, c->n_out, HEADER, c->out_len - HEADER, iov,
				G_N_ELEMENTS(iov));
	if (n_iov < 0 || c->out_len - HEADER < ETH_HLEN || c->out_len - HEADER > NET_FRAME_MAX ||
	    !tx_header_ok(n, &h)) {
		n->tx_dropped++;
		return;
	}
	n->tx_packets++;
	net_send(n->net, &h, iov, n_iov);
}

static void tx_notify(struct virtio_net *n, struct virtqueue *vq)
{
	struct virtq_chain *c;
	unsigned budget = 2 * vq->size;

	do {
		virtq_disable_notify(vq);
		while (budget && (c = virtq_pop(vq))) {
			budget--;
			send_chain(n, vq, c);
			virtq_push(vq, c, 0);
		}
	} while (budget && virtq_enable_notify(vq));
	if (!budget)
		virtio_queue_kick(&n->dev.v, vq->index);
	virtio_queue_flush(&n->dev.v, vq);
}

/* --- control --- */

static bool set_rx_mode(struct virtio_net *n, uint8_t cmd, const uint8_t *data, size_t len)
{
	bool *const modes[] = {
		[VIRTIO_NET_CTRL_RX_PROMISC] = &n->promisc,
		[VIRTIO_NET_CTRL_RX_ALLMULTI] = &n->allmulti,
		[VIRTIO_NET_CTRL_RX_ALLUNI] = &n->alluni,
		[VIRTIO_NET_CTRL_RX_NOMULTI] = &n->nomulti,
		[VIRTIO_NET_CTRL_RX_NOUNI] = &n->nouni,
		[VIRTIO_NET_CTRL_RX_NOBCAST] = &n->nobcast,
	};

	if (cmd >= G_N_ELEMENTS(modes) || len != 1)
		return false;
	*modes[cmd] = data[0];
	return true;
}

/* One table of the address filter from @data; answers the bytes it takes, 0 when malformed. */
static uint64_t take_table(struct virtio_net *n, const uint8_t *data, uint64_t len, uint64_t all,
			   uint32_t *ret_count, bool *ret_overflow)
{
	uint32_t first = n->n_uni;
	uint64_t count, bytes;

	if (len < 4)
		return 0;
	count = get_le32(data);
	bytes = 4 + count * ETH_ALEN;
	if (bytes > all)
		return 0;
	*ret_overflow = bytes > len || first + count > MACS;
	*ret_count = *ret_overflow ? 0 : count;
	if (*ret_count)
		memcpy(n->macs[first], data + 4, count * ETH_ALEN);
	return bytes;
}

static bool set_mac(struct virtio_net *n, uint8_t cmd, const uint8_t *data, size_t len,
		    uint64_t all)
{
	uint64_t first;

	if (cmd == VIRTIO_NET_CTRL_MAC_ADDR_SET && len == ETH_ALEN) {
		memcpy(n->dev.v.config, data, ETH_ALEN);
		return true;
	}
	if (cmd != VIRTIO_NET_CTRL_MAC_TABLE_SET)
		return false;
	n->n_uni = n->n_multi = 0;
	first = take_table(n, data, len, all, &n->n_uni, &n->uni_overflow);
	if (!first)
		return false;
	if (first >= len) {
		/* The second table lies behind what we keep: too many to tell apart. */
		n->multi_overflow = true;
		return first < all;
	}
	return take_table(n, data + first, len - first, all - first, &n->n_multi,
			  &n->multi_overflow);
}

static bool set_pairs(struct virtio_net *n, uint8_t cmd, const uint8_t *data, size_t len)
{
	uint16_t pairs;

	if (cmd != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET || len != 2 ||
	    !virtio_has(&n->dev.v, VIRTIO_NET_F_MQ))
		return false;
	pairs = get_le16(data);
	if (pairs < 1 || pairs > n->pairs_max)
		return false;
	n->pairs = pairs;
	return true;
}

static bool set_offloads(struct virtio_net *n, uint8_t cmd, const uint8_t *data, size_t len)
{
	uint64_t offloads;

	if (cmd != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET || len != 8)
		return false;
	offloads = get_le64(data);
	if (offloads & ~n->dev.v.features)
		return false;
	n->guest_offloads = offloads;
	return true;
}

/* @len bytes of the command's data were kept of the @all the driver sent. */
static bool command(struct virtio_net *n, uint8_t class, uint8_t cmd, const uint8_t *data,
		    size_t len, uint64_t all)
{
	bool ok = false;

	g_mutex_lock(&n->rx_lock);
	switch (class) {
	case VIRTIO_NET_CTRL_RX:
		ok = set_rx_mode(n, cmd, data, len);
		break;
	case VIRTIO_NET_CTRL_MAC:
		ok = set_mac(n, cmd, data, len, all);
		break;
	case VIRTIO_NET_CTRL_MQ:
		ok = set_pairs(n, cmd, data, len);
		break;
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		ok = set_offloads(n, cmd, data, len);
		break;
	case VIRTIO_NET_CTRL_ANNOUNCE:
		ok = cmd == VIRTIO_NET_CTRL_ANNOUNCE_ACK && !len;
		break;
	}
	g_mutex_unlock(&n->rx_lock);
	if (ok && (class == VIRTIO_NET_CTRL_RX || class == VIRTIO_NET_CTRL_MAC))
		rx_watch_changed(&n->watch, &n->dev.pci.dev);
	if (ok && class == VIRTIO_NET_CTRL_ANNOUNCE)
		change_status(&n->dev.v, 0, VIRTIO_NET_S_ANNOUNCE);
	return ok;
}

static void ctrl_notify(struct virtio_net *n, struct virtqueue *vq)
{
	struct virtq_chain *c;
	unsigned budget = 2 * vq->size;

	do {
		virtq_disable_notify(vq);
		while (budget && (c = virtq_pop(vq))) {
			uint8_t b[COMMAND_MAX], ack;
			size_t len = virtq_iov_read(c->out, c->n_out, 0, b, sizeof(b));

			budget--;
			if (len < 2 || !c->in_len) {
				virtq_break(vq, "control command without header or answer");
				break;
			}
			ack = command(n, b[0], b[1], b + 2, len - 2, c->out_len - 2) ?
				      VIRTIO_NET_OK : VIRTIO_NET_ERR;
			virtq_push(vq, c, virtq_iov_write(c->in, c->n_in, 0, &ack, 1));
		}
	} while (budget && virtq_enable_notify(vq));
	if (!budget)
		virtio_queue_kick(&n->dev.v, vq->index);
	virtio_queue_flush(&n->dev.v, vq);
}

/* --- the device --- */

static void net_notify(struct virtio_device *v, struct virtqueue *vq)
{
	struct virtio_net *n = v->owner;
	unsigned ctrl = virtio_has(v, VIRTIO_NET_F_MQ) ? 2 * n->pairs_max : 2;

	if (vq->index == ctrl)
		ctrl_notify(n, vq);
	else if (vq->index & 1)
		tx_notify(n, vq);
	else
		rx_notify(n, vq);
}

static const uint64_t offload_bits = 1ull << VIRTIO_NET_F_GUEST_CSUM |
				     1ull << VIRTIO_NET_F_GUEST_TSO4 |
				     1ull << VIRTIO_NET_F_GUEST_TSO6 | 1ull << VIRTIO_NET_F_GUEST_ECN;

static void net_started(struct virtio_device *v)
{
	struct virtio_net *n = v->owner;

	g_mutex_lock(&n->rx_lock);
	n->guest_offloads = v->features & offload_bits;
	g_mutex_unlock(&n->rx_lock);
}

static void net_reset(struct virtio_device *v)
{
	struct virtio_net *n = v->owner;

	g_mutex_lock(&n->rx_lock);
	n->pairs = 1;
	n->guest_offloads = 0;
	/* A driver that sets no filter gets everything. */
	n->promisc = true;
	n->allmulti = n->alluni = n->nomulti = n->nouni = n->nobcast = false;
	n->uni_overflow = n->multi_overflow = false;
	n->n_uni = n->n_multi = 0;
	g_mutex_unlock(&n->rx_lock);
}

/* Tags of VLANs are not looked at: there is no VIRTIO_NET_F_CTRL_VLAN. */
static void net_rx_filter(struct device *dev, struct rx_filter *ret)
{
	struct virtio_net *n = (struct virtio_net *)dev;

	g_mutex_lock(&n->rx_lock);
	ret->promiscuous = n->promisc;
	ret->broadcast = !n->nobcast;
	ret->unicast = n->nouni ? RX_NONE : n->alluni ? RX_ALL : RX_NORMAL;
	ret->multicast = n->nomulti ? RX_NONE : n->allmulti ? RX_ALL : RX_NORMAL;
	ret->vlan = RX_ALL;
	ret->unicast_overflow = n->uni_overflow;
	ret->multicast_overflow = n->multi_overflow;
	memcpy(ret->mac, n->dev.v.config, ETH_ALEN);
	ret->n_unicast = n->n_uni;
	ret->n_multicast = n->n_multi;
	memcpy(ret->macs, n->macs, (n->n_uni + n->n_multi) * (size_t)ETH_ALEN);
	g_mutex_unlock(&n->rx_lock);
	rx_watch_asked(&n->watch);
}

static const struct virtio_class net_class = {
	.name = "virtio-net",
	.id = VIRTIO_ID_NET,
	.pci_class = 0x020000,
	.notify = net_notify,
	.started = net_started,
	.reset = net_reset,
};

/* The backend's offloads, with what depends on them (section 5.1.3.1). */
static uint64_t card_features(struct netdev *net, bool multi)
{
	uint64_t f = net->offloads;

	f &= 1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_HOST_TSO4 |
	     1ull << VIRTIO_NET_F_HOST_TSO6 | offload_bits;
	if (!(f >> VIRTIO_NET_F_CSUM & 1))
		f &= offload_bits;
	if (!(f >> VIRTIO_NET_F_GUEST_CSUM & 1))
		f &= ~offload_bits;
	if (f & offload_bits)
		f |= 1ull << VIRTIO_NET_F_CTRL_GUEST_OFFLOADS;
	if (multi)
		f |= 1ull << VIRTIO_NET_F_MQ;
	return f | 1ull << VIRTIO_NET_F_MAC | 1ull << VIRTIO_NET_F_STATUS |
	       1ull << VIRTIO_NET_F_MRG_RXBUF | 1ull << VIRTIO_NET_F_CTRL_VQ |
	       1ull << VIRTIO_NET_F_CTRL_RX | 1ull << VIRTIO_NET_F_CTRL_RX_EXTRA |
	       1ull << VIRTIO_NET_F_CTRL_MAC_ADDR | 1ull << VIRTIO_NET_F_GUEST_ANNOUNCE;
}

static void net_destroy(struct device *dev)
{
	struct virtio_net *n = (struct virtio_net *)dev;

	net_attach(n->net, NULL, NULL);
	virtio_pci_destroy(dev);
	g_ptr_array_free(n->merged, TRUE);
	g_mutex_clear(&n->rx_lock);
}

static bool net_create(struct device *dev, GVariant *options,
		       const struct device_backend *backend, GError **error)
{
	struct virtio_net *n = (struct virtio_net *)dev;
	struct virtio_net_config *c = (struct virtio_net_config *)n->dev.v.config;
	uint32_t pairs = 1;

	n->net = backend ? backend->netdev : NULL;
	if (!n->net)
		return kv_fail(error, KV_ERROR_USAGE, "%s: a network card needs a backend",
			       dev->id);
	if (options)
		g_variant_lookup(options, "queues", "u", &pairs);
	if (pairs < 1 || pairs > PAIRS_MAX)
		return kv_fail(error, KV_ERROR_USAGE, "%s: queues is %u; use 1 to %d", dev->id,
			       pairs, PAIRS_MAX);
	if (!card_mac(dev->id, options, c->mac, error))
		return false;
	n->pairs_max = pairs;
	n->dev.v.owner = n;
	g_mutex_init(&n->rx_lock);
	n->merged = g_ptr_array_new_with_free_func(g_free);
	c->status = GUINT16_TO_LE(n->net->link_up ? VIRTIO_NET_S_LINK_UP : 0);
	c->max_virtqueue_pairs = GUINT16_TO_LE(pairs);
	net_reset(&n->dev.v);
	if (!virtio_pci_create(dev, &net_class, card_features(n->net, pairs > 1),
			       offsetof(struct virtio_net_config, mtu), 2 * pairs + 1, QUEUE_SIZE,
			       error)) {
		g_ptr_array_free(n->merged, TRUE);
		g_mutex_clear(&n->rx_lock);
		return false;
	}
	net_attach(n->net, &net_card, n);
	if (card_rom(&n->dev.pci, options, error))
		return true;
	net_destroy(dev);
	return false;
}

static void net_unpause(struct device *dev)
{
	struct virtio_net *n = (struct virtio_net *)dev;

	virtio_pci_resume(dev);
	n->rx_blocked = false;
	net_resume(n->net);
}

static char *net_stats(struct device *dev)
{
	struct virtio_net *n = (struct virtio_net *)dev;

	return g_strdup_printf("%s.received %" G_GUINT64_FORMAT "\n%s.sent %" G_GUINT64_FORMAT
			       "\n%s.dropped %" G_GUINT64_FORMAT "\n", dev->id, n->rx_packets,
			       dev->id, n->tx_packets, dev->id, n->rx_dropped + n->tx_dropped);
}

static bool net_after_load(void *opaque, GError **error)
{
	struct virtio_net *n = opaque;
	struct virtio_device *v = &n->dev.v;

	if (n->pairs < 1 || n->pairs > n->pairs_max || n->n_uni > MACS ||
	    n->n_multi > MACS - n->n_uni)
		return kv_fail(error, KV_ERROR_INVALID, "%s: saved queues or filter do not fit",
			       v->id);
	if (!virtio_pci_after_load(opaque, error))
		return false;
	/* Switches elsewhere learn where the card is now. */
	if (virtio_live(v) && virtio_has(v, VIRTIO_NET_F_GUEST_ANNOUNCE))
		change_status(v, VIRTIO_NET_S_ANNOUNCE, 0);
	return true;
}

static const struct state_field net_fields[] = {
	VIRTIO_PCI_STATE(struct virtio_net, dev),
	STATE_INT(struct virtio_net, pairs, STATE_U16),
	STATE_INT(struct virtio_net, guest_offloads, STATE_U64),
	STATE_INT(struct virtio_net, promisc, STATE_BOOL),
	STATE_INT(struct virtio_net, allmulti, STATE_BOOL),
	STATE_INT(struct virtio_net, alluni, STATE_BOOL),
	STATE_INT(struct virtio_net, nomulti, STATE_BOOL),
	STATE_INT(struct virtio_net, nouni, STATE_BOOL),
	STATE_INT(struct virtio_net, nobcast, STATE_BOOL),
	STATE_INT(struct virtio_net, uni_overflow, STATE_BOOL),
	STATE_INT(struct virtio_net, multi_overflow, STATE_BOOL),
	STATE_INT(struct virtio_net, n_uni, STATE_U32),
	STATE_INT(struct virtio_net, n_multi, STATE_U32),
	STATE_RAW(struct virtio_net, macs),
	STATE_END,
};

static const struct state_desc net_state = {
	.name = "virtio-net",
	.version = 1,
	.oldest = 1,
	.fields = net_fields,
	.after_load = net_after_load,
};

static char *net_boot_path(struct device *dev, char *ret_kind)
{
	*ret_kind = 'n';
	return boot_path_pci((struct pci_device *)dev, "ethernet-phy@0");
}

static const struct device_key net_keys[] = {{"mac", DEVICE_KEY_TEXT, "address"},
					    {"netdev", DEVICE_KEY_BACKEND, "a network of netdev_add"},
					    {}};

const struct device_class device_virtio_net = {
	.name = "virtio-net",
	.description = "virtio network card",
	.size = sizeof(struct virtio_net),
	.create = net_create,
	.reset = virtio_pci_reset,
	.destroy = net_destroy,
	.pause = virtio_pci_pause,
	.resume = net_unpause,
	.state = &net_state,
	.stats = net_stats,
	.boot_path = net_boot_path,
	.rx_filter = net_rx_filter,
	.keys = net_keys,
};
