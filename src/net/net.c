/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The part of network backends that is the same for every kind. See net.h. */
#include "net.h"

#include <string.h>

#include "backends.h"
#include "error.h"
#include "module.h"

static const struct {
	const char *kind;
	const struct net_backend *backend; /* NULL: in a module */
	const char *module, *symbol;
} backends[] = {
	{ "none", &net_none },
	{ "user", NULL, "kv-user-net", "net_user" },
};

static const struct net_backend *find_backend(const char *kind, GError **error)
{
	for (size_t i = 0; i < G_N_ELEMENTS(backends); i++)
		if (strcmp(backends[i].kind, kind) == 0)
			return backends[i].module ? kv_module_symbol(backends[i].module, backends[i].symbol, error) :
						    backends[i].backend;
	kv_fail(error, KV_ERROR_USAGE, "network kind '%s' is not known; give none or user", kind);
	return NULL;
}

struct netdev *net_open(const char *kind, GVariant *options, GMainContext *context, GError **error)
{
	const struct net_backend *backend = find_backend(kind, error);
	struct netdev *dev;

	if (!backend)
		return NULL;
	dev = g_new0(struct netdev, 1);
	dev->backend = backend;
	dev->context = context;
	if (!backend->open(dev, options, error)) {
		g_free(dev);
		return NULL;
	}
	return dev;
}

void net_close(struct netdev *dev)
{
	if (!dev)
		return;
	dev->backend->close(dev);
	g_free(dev);
}

void net_attach(struct netdev *dev, const struct net_client *client, void *opaque)
{
	dev->client = client;
	dev->client_opaque = opaque;
}

void net_send(struct netdev *dev, const struct virtio_net_hdr *hdr, const struct iovec *iov,
	      unsigned n_iov)
{
	if (dev->link_up)
		dev->backend->send(dev, hdr, iov, n_iov);
	else
		dev->sent.dropped++;
}

bool net_forward(struct netdev *dev, const char *text, bool add, GError **error)
{
	return dev->backend->forward ?
		       dev->backend->forward(dev, text, add, error) :
		       kv_fail(error, KV_ERROR_UNSUPPORTED, "this network forwards no ports: there is none behind the card");
}

static void put_count(GVariantDict *out, const char *direction, const struct net_count *count)
{
	const struct {
		const char *name;
		uint64_t n;
	} rows[] = { { "bytes", count->bytes }, { "packets", count->frames }, { "dropped", count->dropped } };

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *name = g_strdup_printf("%s-%s", direction, rows[i].name);

		g_variant_dict_insert(out, name, "t", rows[i].n);
	}
}

GVariant *net_describe(struct netdev *dev)
{
	GVariantDict out;

	g_variant_dict_init(&out, NULL);
	g_variant_dict_insert(&out, "link-up", "b", dev->link_up);
	put_count(&out, "rx", &dev->received);
	put_count(&out, "tx", &dev->sent);
	if (dev->backend->describe)
		dev->backend->describe(dev, &out);
	return g_variant_ref_sink(g_variant_dict_end(&out));
}

void net_set_link(struct netdev *dev, bool up)
{
	if (dev->link_up == up)
		return;
	dev->link_up = up;
	if (dev->client)
		dev->client->link_changed(dev->client_opaque, up);
}

void net_cut(struct netdev *dev)
{
	net_set_link(dev, false);
	dev->backend->close(dev);
	dev->backend = &net_none;
	dev->state = NULL;
}

void net_resume(struct netdev *dev)
{
	dev->backend->resume(dev);
}
