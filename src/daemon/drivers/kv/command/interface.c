/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <interface>: --net. A cable that is not plugged in is pulled when the machine is there (../start.c). See parts.h. */
#include <string.h>

#include "parts.h"

enum { FORWARDS_MAX = 256 };

static bool add_range(const xmlNode *forward, const xmlNode *range, GPtrArray *ret, GError **error)
{
	const char *proto = xml_text(forward, "@proto"), *address = xml_text(forward, "@address");
	bool six = address && strchr(address, ':');
	guint64 start, end, to;

	if (!xml_number(range, "@start", &start))
		return refuse(error, "portForward: a <range> has no start");
	if (!xml_number(range, "@end", &end))
		end = start;
	if (!xml_number(range, "@to", &to))
		to = start;
	if (end < start || end > G_MAXUINT16 || to + (end - start) > G_MAXUINT16 || ret->len + (end - start) >= FORWARDS_MAX)
		return refuse(error, "portForward: the range from %" G_GUINT64_FORMAT " is none, or of more than %d ports", start,
			      FORWARDS_MAX);
	for (guint64 port = start; port <= end; port++)
		g_ptr_array_add(ret, g_strdup_printf("%s:%s%s%s:%" G_GUINT64_FORMAT "-:%" G_GUINT64_FORMAT, proto ? proto : "tcp",
						     six ? "[" : "", address ? address : "", six ? "]" : "", port,
						     to + (port - start)));
	return true;
}

bool command_forwards(const xmlNode *interface, GPtrArray *ret, GError **error)
{
	const xmlNode *forward, *range;

	for (unsigned n = 0; (forward = xml_nth(interface, "portForward", n)); n++) {
		if (!xml_child(forward, "range"))
			return refuse(error, "portForward without a <range>: all ports are not forwarded");
		for (unsigned i = 0; (range = xml_nth(forward, "range", i)); i++)
			if (!add_range(forward, range, ret, error))
				return false;
	}
	return true;
}

bool command_interface(struct command *c, const xmlNode *node, GError **error)
{
	g_autoptr(GPtrArray) forwards = g_ptr_array_new_with_free_func(g_free);
	const char *model = xml_text(node, "model/@type");
	const char *bar = xml_text(node, "rom/@bar");
	keys *k;

	if (!xml_is(node, "@type", "user"))
		return refuse(error, "interface of type '%s' is not supported; user is", xml_text(node, "@type") ?: "");
	if (model && strcmp(model, "virtio") && strcmp(model, "e1000e"))
		return refuse(error, "interface model '%s' is not supported; virtio and e1000e are", model);
	if (!command_forwards(node, forwards, error))
		return false;
	k = keys_new("user");
	put(k, "model", model);
	put_from(k, "mac", node, "mac/@address");
	put(k, "rombar", bar);
	put_from(k, "romfile", node, "rom/@file");
	put_from(k, "bootindex", node, "boot/@order");
	for (unsigned i = 0; i < forwards->len; i++)
		put(k, "hostfwd", forwards->pdata[i]);
	add(c, "--net", keys_end(k));
	return true;
}
