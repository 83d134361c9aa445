/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What passes a card and which address its guest was given, as its machine says (kv-vmm's property net-stats): statistics of
 * interfaces, leases of networks, addresses of domains. See kv.h.
 */
#include <string.h>

#include "kv.h"
#include "registry.h"

enum { SOURCE_LEASE };
enum { ADDRESS_IPV4 };

/* (waits) NULL: it says nothing. */
static JsonNode *ask_card(struct kv_machine *m, const char *alias, GError **error)
{
	g_autofree char *path = g_strconcat("/machine/peripheral/", alias, NULL);

	return kv_ask(m, "qom-get", kv_args("path", path, "property", "net-stats", NULL), error);
}

static xmlNode *find_card(const struct domain *d, const char *name)
{
	xmlNode *card;

	for (unsigned i = 0; (card = domain_def_device(d->live, "interface", i)); i++)
		if (xml_is(card, "target/@dev", name) || xml_is(card, "mac/@address", name))
			return card;
	return NULL;
}

/* In libvirt's order; there are no errors. */
static const struct {
	const char *qmp, *name;
} counts[] = {
	{"rx-bytes", "rx.bytes"}, {"rx-packets", "rx.pkts"}, {NULL, "rx.errs"}, {"rx-dropped", "rx.drop"},
	{"tx-bytes", "tx.bytes"}, {"tx-packets", "tx.pkts"}, {NULL, "tx.errs"}, {"tx-dropped", "tx.drop"},
};

bool kv_interface_stats(struct domain *d, const char *dev, gint64 ret[8], GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);
	const xmlNode *card = m ? find_card(d, dev) : NULL;
	g_autofree char *alias = card ? g_strdup(xml_text(card, "alias/@name")) : NULL;
	g_autoptr(JsonNode) answer = NULL;

	if (m && !alias)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "invalid path, '%s' is not a known interface", dev);
	answer = m ? ask_card(m, alias, error) : NULL;
	if (!answer)
		return false;
	for (unsigned i = 0; i < G_N_ELEMENTS(counts); i++)
		ret[i] = counts[i].qmp ? kv_number_in(kv_object(answer), counts[i].qmp) : 0;
	return true;
}

static void put(GVariantBuilder *out, unsigned n, const char *name, GVariant *value)
{
	g_autofree char *full = g_strdup_printf("net.%u.%s", n, name);

	g_variant_builder_add(out, "(sv)", full, value);
}

/* A card without a name in the host is called by its address. */
void kv_add_cards(struct kv_machine *m, GVariantBuilder *out)
{
	g_autoptr(GPtrArray) aliases = g_ptr_array_new_with_free_func(g_free), names = g_ptr_array_new_with_free_func(g_free);
	xmlNode *card;

	for (unsigned i = 0; m->d->live && (card = domain_def_device(m->d->live, "interface", i)); i++) {
		const char *name = xml_text(card, "target/@dev");

		g_ptr_array_add(aliases, g_strdup(xml_text(card, "alias/@name") ?: ""));
		g_ptr_array_add(names, g_strdup(name ? name : xml_text(card, "mac/@address") ?: ""));
	}
	g_variant_builder_add(out, "(sv)", "net.count", g_variant_new_uint32(aliases->len));
	for (unsigned i = 0; i < aliases->len && !m->gone; i++) {
		g_autoptr(JsonNode) answer = ask_card(m, aliases->pdata[i], NULL);

		put(out, i, "name", g_variant_new_string(names->pdata[i]));
		for (unsigned k = 0; answer && k < G_N_ELEMENTS(counts); k++)
			put(out, i, counts[k].name,
			    g_variant_new_uint64(counts[k].qmp ? (guint64)MAX(kv_number_in(kv_object(answer), counts[k].qmp), 0)
							       : 0));
	}
}

/* ---- leases ---- */

struct lease {
	char *mac, *address, *name;
	gint64 ends; /* seconds since 1970 */
	unsigned prefix;
};

static void lease_free(void *opaque)
{
	struct lease *l = opaque;

	g_free(l->mac);
	g_free(l->address);
	g_free(l->name);
	g_free(l);
}

static unsigned prefix_of(const struct entry *e)
{
	const xmlNode *ip = e ? xml_child(entry_root(e), "ip") : NULL;
	const char *mask = NULL;
	g_autoptr(GInetAddress) address = NULL;
	guint64 prefix = 24;
	guint32 bits;

	while (ip && xml_is(ip, "@family", "ipv6"))
		ip = xml_next(ip);
	mask = ip ? xml_text(ip, "@netmask") : NULL;
	address = mask ? g_inet_address_new_from_string(mask) : NULL;
	if (address && g_inet_address_get_native_size(address) == sizeof(bits)) {
		memcpy(&bits, g_inet_address_to_bytes(address), sizeof(bits));
		return (unsigned)__builtin_popcount(bits);
	}
	if (ip)
		xml_number(ip, "@prefix", &prefix);
	return (unsigned)MIN(prefix, 32);
}

/* What the network calls it, whatever it calls itself; NULL: nothing. */
static const char *given_name(const struct entry *network, const char *mac)
{
	for (const xmlNode *ip = network ? xml_child(entry_root(network), "ip") : NULL; ip; ip = xml_next(ip))
		for (const xmlNode *host = xml_child(ip, "dhcp/host"); host; host = xml_next(host))
			if (xml_text(host, "@mac") && !g_ascii_strcasecmp(xml_text(host, "@mac"), mac))
				return xml_text(host, "@name");
	return NULL;
}

/* (waits) The lease of a card, which is not looked at afterwards: it may be gone. */
static void add_lease(struct kv_machine *m, const xmlNode *card, GPtrArray *ret)
{
	g_autofree char *alias = g_strdup(xml_text(card, "alias/@name")), *name = NULL;
	const char *network = xml_text(card, "source/@network");
	const struct entry *e = network ? registry_by_name(m->d->hv->networks, network) : NULL;
	unsigned prefix = prefix_of(e);
	g_autoptr(JsonNode) answer = NULL;
	struct lease *l;
	JsonObject *o;

	name = g_strdup(given_name(e, xml_text(card, "mac/@address") ?: ""));
	answer = alias ? ask_card(m, alias, NULL) : NULL;
	o = kv_object_in(kv_object(answer), "lease");
	if (!o || !kv_text_in(o, "address") || !kv_text_in(o, "mac"))
		return;
	l = g_new0(struct lease, 1);
	l->mac = g_strdup(kv_text_in(o, "mac"));
	l->address = g_strdup(kv_text_in(o, "address"));
	l->name = g_strdup(name ?: kv_text_in(o, "hostname") ?: "");
	l->ends = g_get_real_time() / G_USEC_PER_SEC - kv_number_in(o, "age") + kv_number_in(o, "seconds");
	l->prefix = prefix;
	g_ptr_array_add(ret, l);
}

/* (waits) network NULL: of all cards that have one. */
static void leases_of(struct domain *d, const char *network, GPtrArray *ret)
{
	struct kv_machine *m = d->own && ((struct kv_machine *)d->own)->qmp ? kv_machine_ref(d->own) : NULL;
	xmlNode *card;

	for (unsigned i = 0; m && !m->gone && d->live && (card = domain_def_device(d->live, "interface", i)); i++)
		if (xml_is(card, "@type", "network") && (!network || xml_is(card, "source/@network", network)))
			add_lease(m, card, ret);
	if (m)
		kv_machine_unref(m);
}

bool kv_network_leases(struct hv *hv, struct entry *e, const char *mac, GVariantBuilder *out, GError **error)
{
	g_autoptr(GPtrArray) leases = g_ptr_array_new_with_free_func(lease_free);
	g_autoptr(GList) domains = g_hash_table_get_values(hv->domains);
	g_autofree char *network = g_strdup(e->name);

	for (GList *l = domains; l; l = l->next)
		domain_ref(l->data);
	for (GList *l = domains; l; l = l->next) {
		struct domain *d = l->data;

		if (domain_is_active(d) && domain_job_begin(d, JOB_QUERY, NULL)) {
			leases_of(d, network, leases);
			domain_job_end(d, JOB_QUERY);
		}
		domain_unref(d);
	}
	for (unsigned i = 0; i < leases->len; i++) {
		const struct lease *l = leases->pdata[i];

		if (!mac || !g_ascii_strcasecmp(mac, l->mac))
			g_variant_builder_add(out, "(sximsmssumsms)", network, l->ends, ADDRESS_IPV4, l->mac, NULL, l->address,
					      l->prefix, *l->name ? l->name : NULL, NULL);
	}
	return true;
}

/* ---- addresses of a domain ---- */

static void add_interface(GVariantBuilder *out, const char *name, const char *mac, GVariant *addresses)
{
	g_variant_builder_add(out, "(sms@a(isu))", name, mac, addresses);
}

static bool from_leases(struct domain *d, GVariantBuilder *out)
{
	g_autoptr(GPtrArray) leases = g_ptr_array_new_with_free_func(lease_free);

	leases_of(d, NULL, leases);
	for (unsigned i = 0; i < leases->len; i++) {
		const struct lease *l = leases->pdata[i];
		GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(isu)"));
		const xmlNode *card = d->live ? find_card(d, l->mac) : NULL;

		g_variant_builder_add(&list, "(isu)", ADDRESS_IPV4, l->address, l->prefix);
		add_interface(out, card ? xml_text(card, "target/@dev") ?: l->mac : l->mac, l->mac, g_variant_builder_end(&list));
	}
	return true;
}

char *kv_lease_name(struct domain *d, GError **error)
{
	g_autoptr(GPtrArray) leases = g_ptr_array_new_with_free_func(lease_free);

	leases_of(d, NULL, leases);
	for (unsigned i = 0; i < leases->len; i++) {
		const struct lease *l = leases->pdata[i];

		if (l->name && *l->name)
			return g_strdup(l->name);
	}
	rpc_fail(error, VIR_ERR_NO_HOSTNAME, "no hostname found for domain %s", d->name);
	return NULL;
}

bool kv_interface_addresses(struct domain *d, unsigned source, GVariantBuilder *out, GError **error)
{
	if (!kv_machine_of(d, error))
		return false;
	if (source == SOURCE_LEASE)
		return from_leases(d, out);
	return rpc_fail(error, VIR_ERR_ARGUMENT_UNSUPPORTED, "Unknown IP address data source %u", source);
}
