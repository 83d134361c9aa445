/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP commands about networks and the cards before them (QEMU's qapi/net.json). See qmp.h; netdevs.c has the networks. */
#include <string.h>

#include "machine.h"
#include "net.h"
#include "qmp.h"
#include "query.h"
#include "schema.h"
#include "vmm.h"

const struct qmp_member qmp_set_link_args[] = { { "name", &qmp_string }, { "up", &qmp_boolean }, {} };

static const char *const kinds[] = { "user", NULL };
static const struct qmp_type kind = { .kind = QMP_ENUM, .values = kinds };
static const struct qmp_member forward_members[] = { { "str", &qmp_string }, {} };
static const struct qmp_type forward = { .kind = QMP_OBJECT, .members = forward_members };
static const struct qmp_type forwards = { .kind = QMP_LIST, .item = &forward };
#define USER(name, type) { name, type, .optional = true, .tag = "type", .value = "user" }
const struct qmp_member qmp_netdev_add_args[] = {
	{ "id", &qmp_string },
	{ "type", &kind },
	USER("hostfwd", &forwards),
	USER("restrict", &qmp_boolean),
	USER("net", &qmp_string),
	USER("host", &qmp_string),
	USER("dns", &qmp_string),
	USER("dhcpstart", &qmp_string),
	USER("hostname", &qmp_string),
	USER("domainname", &qmp_string),
	USER("tftp", &qmp_string),
	USER("bootfile", &qmp_string),
	USER("ipv6", &qmp_boolean),
	USER("ipv6-prefix", &qmp_string),
	USER("ipv6-prefixlen", &qmp_integer),
	USER("ipv6-host", &qmp_string),
	USER("ipv6-dns", &qmp_string),
	{},
};
const struct qmp_member qmp_query_rx_filter_args[] = { { "name", &qmp_string, .optional = true }, {} };
const struct qmp_member qmp_netdev_del_args[] = { { "id", &qmp_string }, {} };

/* Of the network or of its card. */
JsonNode *qmp_set_link(void *opaque, JsonObject *args, GError **error)
{
	const char *name = json_object_get_string_member(args, "name");
	struct vmm_netdev *n = vmm_find_netdev(opaque, name);

	if (!n)
		n = vmm_netdev_of_card(opaque, name);
	if (!n)
		return qmp_fail(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", name);
	net_set_link(n->net, json_object_get_boolean_member(args, "up"));
	return qmp_nothing();
}

static void take_words(GVariantDict *options, JsonObject *args)
{
	static const char *const texts[] = { "net",  "host",	 "dns",	      "dhcpstart", "hostname", "domainname",
					     "tftp", "bootfile", "ipv6-host", "ipv6-dns" };
	static const char *const flags[] = { "restrict", "ipv6" };
	const char *prefix = qmp_text(args, "ipv6-prefix");
	/* QEMU has no word for a network without DHCP; no address is called so. */
	bool no_dhcp = !g_strcmp0(qmp_text(args, "dhcpstart"), "none");

	if (no_dhcp)
		g_variant_dict_insert(options, "dhcp", "b", FALSE);
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		if (qmp_text(args, texts[i]) && !(no_dhcp && !strcmp(texts[i], "dhcpstart")))
			g_variant_dict_insert(options, texts[i], "s", qmp_text(args, texts[i]));
	for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++)
		if (json_object_has_member(args, flags[i]))
			g_variant_dict_insert(options, flags[i], "b", json_object_get_boolean_member(args, flags[i]));
	if (prefix) {
		gint64 len = json_object_get_int_member_with_default(args, "ipv6-prefixlen", 64);
		g_autofree char *net = g_strdup_printf("%s/%" G_GINT64_FORMAT, prefix, len);

		g_variant_dict_insert(options, "ipv6-net", "s", net);
	}
}

/* As --net has it. */
static GVariant *options_of(JsonObject *args)
{
	JsonArray *list = json_object_has_member(args, "hostfwd") ? json_object_get_array_member(args, "hostfwd") : NULL;
	GVariantBuilder words;
	GVariantDict options;

	g_variant_dict_init(&options, NULL);
	take_words(&options, args);
	g_variant_builder_init(&words, G_VARIANT_TYPE("as"));
	for (guint i = 0; list && i < json_array_get_length(list); i++)
		g_variant_builder_add(&words, "s", json_object_get_string_member(json_array_get_object_element(list, i), "str"));
	g_variant_dict_insert_value(&options, "hostfwd", g_variant_builder_end(&words));
	return g_variant_ref_sink(g_variant_dict_end(&options));
}

JsonNode *qmp_netdev_add(void *opaque, JsonObject *args, GError **error)
{
	const char *id = json_object_get_string_member(args, "id");
	g_autoptr(GVariant) options = options_of(args);

	if (!qmp_check_id(id, error))
		return NULL;
	if (vmm_find_netdev(opaque, id))
		return qmp_fail(error, QMP_ERROR_GENERIC, "Duplicate ID '%s'", id);
	return vmm_add_netdev(opaque, json_object_get_string_member(args, "type"), id, options, error) ? qmp_nothing() : NULL;
}

JsonNode *qmp_netdev_del(void *opaque, JsonObject *args, GError **error)
{
	const char *id = json_object_get_string_member(args, "id");
	struct vmm_netdev *n = vmm_find_netdev(opaque, id);

	if (!n)
		return qmp_fail(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", id);
	vmm_remove_netdev(opaque, n);
	return qmp_nothing();
}

/* False: the device tells nothing of that kind. */
static bool put_filter(struct vmm *vmm, const char *id, JsonArray *list, bool *ret_known)
{
	g_autoptr(GVariant) filter = machine_rx_filter(vmm->machine, id, ret_known);
	g_autoptr(JsonNode) node = filter ? json_gvariant_serialize(filter) : NULL;

	if (!node)
		return false;
	json_object_set_string_member(json_node_get_object(node), "name", id);
	json_array_add_object_element(list, json_node_dup_object(node));
	return true;
}

JsonNode *qmp_query_rx_filter(void *opaque, JsonObject *args, GError **error)
{
	g_autoptr(JsonArray) list = json_array_new();
	const char *name = qmp_text(args, "name");
	struct vmm *vmm = opaque;
	g_auto(GStrv) ids = machine_devices(vmm->machine);
	bool known;

	for (unsigned i = 0; !name && ids[i]; i++)
		put_filter(vmm, ids[i], list, &known);
	if (!name || put_filter(vmm, name, list, &known))
		return qmp_array(g_steal_pointer(&list));
	if (!known && vmm_find_netdev(vmm, name))
		return qmp_fail(error, QMP_ERROR_GENERIC, "net client(%s) isn't a NIC", name);
	return qmp_fail(error, QMP_ERROR_GENERIC, "invalid net client name: %s", name);
}
