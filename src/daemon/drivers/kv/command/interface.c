/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <interface>: --net. A cable that is not plugged in is pulled when the machine is there (../live.c). See parts.h. */
#include <string.h>

#include "parts.h"

enum { FORWARDS_MAX = 256 };

enum { PORTS = G_MAXUINT16 + 1 };

/* Ports of a range, as [start, end]; to: what start is in the guest. */
static bool read_range(const xmlNode *range, guint64 *start, guint64 *end, guint64 *to, GError **error)
{
	if (!xml_number(range, "@start", start))
		return refuse(error, "portForward: a <range> has no start");
	if (!xml_number(range, "@end", end))
		*end = *start;
	if (!xml_number(range, "@to", to))
		*to = *start;
	return (*end >= *start && *end < PORTS && *to + (*end - *start) < PORTS) ||
	       refuse(error, "portForward: the range from %" G_GUINT64_FORMAT " is none", *start);
}

static bool find_excluded(const xmlNode *forward, bool *excluded, GError **error)
{
	guint64 start, end, to;

	for (const xmlNode *range = xml_child(forward, "range"); range; range = xml_next(range)) {
		if (!xml_is(range, "@exclude", "yes"))
			continue;
		if (xml_text(range, "@to"))
			return refuse(error, "portForward: what is excluded goes nowhere, and has no to");
		if (!read_range(range, &start, &end, &to, error))
			return false;
		for (guint64 port = start; port <= end; port++)
			excluded[port] = true;
	}
	return true;
}

static bool add_range(const xmlNode *forward, const xmlNode *range, const bool *excluded, GPtrArray *ret, GError **error)
{
	const char *proto = xml_text(forward, "@proto"), *address = xml_text(forward, "@address");
	guint64 start, end, to;

	if (!read_range(range, &start, &end, &to, error))
		return false;
	for (guint64 port = start; port <= end; port++) {
		if (excluded[port])
			continue;
		if (ret->len == FORWARDS_MAX)
			return refuse(error, "portForward: more than %d ports are not supported", FORWARDS_MAX);
		g_ptr_array_add(ret, g_strdup_printf("%s:%s:%" G_GUINT64_FORMAT "-:%" G_GUINT64_FORMAT, proto ? proto : "tcp",
						     address ? address : "", port, to + (port - start)));
	}
	return true;
}

static bool add_forward(const xmlNode *forward, GPtrArray *ret, GError **error)
{
	g_autofree bool *excluded = g_new0(bool, PORTS);
	const char *address = xml_text(forward, "@address");
	unsigned ranges = 0;

	if (address && strchr(address, ':'))
		return refuse(error, "portForward: the IPv6 address '%s' is not supported; IPv4's are", address);
	if (!find_excluded(forward, excluded, error))
		return false;
	for (const xmlNode *range = xml_child(forward, "range"); range; range = xml_next(range)) {
		if (xml_is(range, "@exclude", "yes"))
			continue;
		if (!add_range(forward, range, excluded, ret, error))
			return false;
		ranges++;
	}
	return ranges || refuse(error, "portForward without a <range>: all ports are not forwarded");
}

bool command_forwards(const xmlNode *interface, GPtrArray *ret, GError **error)
{
	for (const xmlNode *forward = xml_child(interface, "portForward"); forward; forward = xml_next(forward))
		if (!add_forward(forward, ret, error))
			return false;
	return true;
}

bool command_check_interface(const xmlNode *node, GError **error)
{
	const char *model = xml_text(node, "model/@type");

	if (!xml_is(node, "@type", "user") && !xml_is(node, "@type", "network"))
		return refuse(error, "interface of type '%s' is not supported; user and network are",
			      xml_text(node, "@type") ?: "");
	return !model || !strcmp(model, "virtio") || !strcmp(model, "e1000e") ||
	       refuse(error, "interface model '%s' is not supported; virtio and e1000e are", model);
}

static bool put_network(struct command *c, keys *k, const xmlNode *node, GError **error)
{
	g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);

	if (!xml_is(node, "@type", "network") || !c->paths->network)
		return true;
	if (!c->paths->network(c->paths->opaque, node, words, error))
		return false;
	for (unsigned i = 0; i + 1 < words->len; i += 2)
		put(k, words->pdata[i], words->pdata[i + 1]);
	return true;
}

bool command_interface(struct command *c, const xmlNode *node, GError **error)
{
	g_autoptr(GPtrArray) forwards = g_ptr_array_new_with_free_func(g_free);
	keys *k;

	if (!command_check_interface(node, error) || !command_forwards(node, forwards, error))
		return false;
	k = keys_new("user");
	put_from(k, "model", node, "model/@type");
	put_from(k, "id", node, "alias/@name");
	put_address(c, k, node);
	put_from(k, "mac", node, "mac/@address");
	put_from(k, "rombar", node, "rom/@bar");
	put_from(k, "romfile", node, "rom/@file");
	put_from(k, "bootindex", node, "boot/@order");
	for (unsigned i = 0; i < forwards->len; i++)
		put(k, "hostfwd", forwards->pdata[i]);
	if (!put_network(c, k, node, error)) {
		g_string_free(k, TRUE);
		return false;
	}
	add(c, "--net", keys_end(k));
	return true;
}
