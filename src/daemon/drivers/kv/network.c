/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Networks of the kv driver, as files and as what is behind cards. Each card has a user-mode NAT of its own, made of its
 * network's addresses when the card is made (command/network.c); so a network that is active is a word of the daemon's, takes
 * nothing of the host, and a card goes on with what it has. See kv.h.
 */
#include <string.h>

#include "kv.h"
#include "log.h"
#include "registry.h"

/* What libvirt's package has as its default network, but for the bridge. */
static const char default_xml[] =
	"<network><name>default</name><forward mode='nat'/><ip address='192.168.122.1' netmask='255.255.255.0'>"
	"<dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp></ip></network>";

bool kv_network_check(struct hv *hv, xmlDoc *doc, GError **error)
{
	xmlNode *root = xmlDocGetRootElement(doc);

	/* The model adds one as libvirt does, which here would stand for nothing. */
	if (!xml_text(root, "bridge/@name"))
		xml_set(root, "bridge", NULL);
	return command_network_check(root, error);
}

/* ---- files ---- */

static xmlDoc *read_doc(struct hv *hv, struct store *s, const char *name, GError **error)
{
	g_autofree char *xml = store_read(s, name, error);
	g_autoptr(xmlDoc) doc = xml ? object_parse(OBJECT_NETWORK, xml, -1, 0, error) : NULL;

	return doc && kv_network_check(hv, doc, error) ? g_steal_pointer(&doc) : NULL;
}

static void add_stored(void *opaque, const struct store_entry *entry)
{
	struct hv *hv = opaque;
	struct kv_hv *kv = hv->own;
	g_autoptr(GError) error = NULL;
	g_autoptr(xmlDoc) doc = read_doc(hv, kv->networks, entry->name, &error);
	struct entry *e = doc ? registry_define(hv->networks, doc, false, &error) : NULL;

	if (!e) {
		kv_log_error("the definition of network '%s' is left alone: %s", entry->name, error->message);
		return;
	}
	doc = NULL;
	e->autostart = entry->autostart;
}

/* What is active may be another definition than the stored one, or have none. */
static void add_active(void *opaque, const struct store_entry *entry)
{
	struct hv *hv = opaque;
	struct kv_hv *kv = hv->own;
	struct entry *e = registry_by_name(hv->networks, entry->name);
	g_autoptr(GError) error = NULL;
	g_autoptr(xmlDoc) doc = read_doc(hv, kv->networks_active, entry->name, &error);
	g_autofree char *is = doc ? object_format(OBJECT_NETWORK, doc, 0) : NULL;
	g_autofree char *stored = e ? object_format(OBJECT_NETWORK, e->doc, 0) : NULL;

	if (doc && (!e || strcmp(is, stored) != 0)) {
		e = registry_define(hv->networks, doc, true, &error);
		if (e)
			doc = NULL;
	}
	if (e)
		e->active = true;
	if (error)
		kv_log_error("the network '%s', which was active: %s", entry->name, error->message);
}

/* Who has deleted it does not get it back: then the folder is there. */
static bool add_default(struct hv *hv, GError **error)
{
	g_autoptr(xmlDoc) doc = object_parse(OBJECT_NETWORK, default_xml, -1, 0, error);
	struct entry *e = doc && kv_network_check(hv, doc, error) ? registry_define(hv->networks, doc, false, error) : NULL;

	if (!e)
		return false;
	doc = NULL;
	e->autostart = e->active = true;
	if (!registry_store(e, error))
		return false;
	kv_network_status(hv, e);
	return true;
}

bool kv_networks_open(struct hv *hv, GError **error)
{
	g_autofree char *config = g_build_filename(hv->config_dir, "networks", NULL);
	g_autofree char *state = g_build_filename(hv->state_dir, "networks", NULL);
	bool is_new = !g_file_test(config, G_FILE_TEST_EXISTS);
	struct kv_hv *kv = hv->own;

	kv->networks = store_open(config, "network", 0, error);
	kv->networks_active = kv->networks ? store_open(state, "network", STORE_STATUS, error) : NULL;
	if (!kv->networks_active)
		return false;
	store_each(kv->networks, add_stored, hv);
	store_each(kv->networks_active, add_active, hv);
	return !is_new || registry_by_name(hv->networks, "default") || add_default(hv, error);
}

void kv_networks_close(struct kv_hv *kv)
{
	store_free(kv->networks_active);
	store_free(kv->networks);
}

bool kv_network_store(struct hv *hv, const char *name, const char *uuid, const char *xml, bool autostart, GError **error)
{
	struct kv_hv *kv = hv->own;

	if (!xml)
		return store_remove(kv->networks, name, error);
	return store_write(kv->networks, name, uuid, xml, error) && store_set_autostart(kv->networks, name, autostart, error);
}

void kv_network_status(struct hv *hv, struct entry *e)
{
	struct kv_hv *kv = hv->own;
	g_autoptr(GError) error = NULL;
	g_autofree char *xml = e->active ? object_format(OBJECT_NETWORK, e->live ? e->live : e->doc, 0) : NULL;

	if (xml ? !store_write(kv->networks_active, e->name, e->uuid_text, xml, &error)
		: !store_remove(kv->networks_active, e->name, &error))
		kv_log_warn("what is active of network '%s' is not noted: %s", e->name, error->message);
}

/* ---- cards ---- */

static const struct entry *network_of(struct hv *hv, const xmlNode *interface, GError **error)
{
	const char *name = xml_text(interface, "source/@network") ?: "";
	const struct entry *e = registry_by_name(hv->networks, name);

	if (!e)
		rpc_fail(error, VIR_ERR_NO_NETWORK, "no network with matching name '%s'", name);
	else if (!e->active)
		rpc_fail(error, VIR_ERR_OPERATION_INVALID, "network '%s' is not active", name);
	return e && e->active ? e : NULL;
}

struct search {
	struct hv *hv;
	const char *network, *mac;
};

/* Another card of the network has it, in a machine that runs. */
static bool is_taken(void *opaque, const char *address)
{
	const struct search *s = opaque;
	GHashTableIter domains;
	gpointer value;

	g_hash_table_iter_init(&domains, s->hv->domains);
	while (g_hash_table_iter_next(&domains, NULL, &value)) {
		const struct domain *d = value;
		const struct kv_machine *m = d->own;
		xmlNode *card;

		for (unsigned i = 0; m && m->addresses && d->live && (card = domain_def_device(d->live, "interface", i)); i++) {
			const char *mac = xml_text(card, "mac/@address");

			if (mac && g_ascii_strcasecmp(mac, s->mac) && xml_is(card, "source/@network", s->network) &&
			    !g_strcmp0(g_hash_table_lookup(m->addresses, mac), address))
				return true;
		}
	}
	return false;
}

void kv_note_address(struct kv_machine *m, const char *mac, const char *address)
{
	if (!m->addresses)
		m->addresses = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	if (mac && address)
		g_hash_table_replace(m->addresses, g_strdup(mac), g_strdup(address));
}

bool kv_network_words(void *opaque, const xmlNode *interface, GPtrArray *ret, GError **error)
{
	struct kv_machine *m = opaque;
	struct search s = {m->d->hv, xml_text(interface, "source/@network"), xml_text(interface, "mac/@address") ?: ""};
	const struct entry *e = network_of(s.hv, interface, error);

	if (!e || !command_network_words(entry_root(e), s.mac, is_taken, &s, ret, error))
		return false;
	for (unsigned i = 0; i + 1 < ret->len; i += 2)
		if (!strcmp(ret->pdata[i], "dhcpstart"))
			kv_note_address(m, s.mac, ret->pdata[i + 1]);
	return true;
}

/* ---- names ---- */

static bool has_target(struct hv *hv, const char *name)
{
	GHashTableIter domains;
	gpointer value;
	xmlNode *card;

	g_hash_table_iter_init(&domains, hv->domains);
	while (g_hash_table_iter_next(&domains, NULL, &value))
		for (unsigned i = 0; (card = domain_def_device(((struct domain *)value)->live, "interface", i)); i++)
			if (xml_is(card, "target/@dev", name))
				return true;
	return false;
}

void kv_name_card(struct hv *hv, xmlNode *interface)
{
	if (!xml_is(interface, "@type", "network") || xml_text(interface, "target/@dev"))
		return;
	for (unsigned n = 0;; n++) {
		g_autofree char *name = g_strdup_printf("vnet%u", n);

		if (has_target(hv, name))
			continue;
		xml_set(interface, "target/@dev", name);
		return;
	}
}

unsigned kv_network_connections(struct hv *hv, const struct entry *e)
{
	GHashTableIter domains;
	gpointer value;
	unsigned count = 0;

	g_hash_table_iter_init(&domains, hv->domains);
	while (g_hash_table_iter_next(&domains, NULL, &value)) {
		const struct domain *d = value;
		xmlNode *card;

		for (unsigned i = 0; d->live && (card = domain_def_device(d->live, "interface", i)); i++)
			count += xml_is(card, "@type", "network") && xml_is(card, "source/@network", e->name);
	}
	return count;
}
