/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <video> and <graphics>. See parts.h. */
#include <string.h>

#include "parts.h"

static void put_screens(keys *k, const xmlNode *model)
{
	guint64 heads;

	if (xml_number(model, "@heads", &heads) && heads > 1)
		put_number(k, "max_outputs", heads);
	put_from(k, "xres", model, "resolution/@x");
	put_from(k, "yres", model, "resolution/@y");
}

/* A GPU without a VGA: a second card, or one of a micro. */
static bool add_gpu(struct command *c, const xmlNode *node)
{
	keys *k = keys_new("virtio-gpu");

	put_from(k, "id", node, "alias/@name");
	put_bus(c, k, node);
	put_screens(k, xml_child(node, "model"));
	add(c, "--device", keys_end(k));
	return true;
}

bool command_video(struct command *c, const xmlNode *node, GError **error)
{
	const char *type = xml_text(node, "model/@type");
	bool virtio = type && !strcmp(type, "virtio");
	keys *k;

	if (type && !strcmp(type, "none"))
		return true;
	if (virtio && (!c->pc || c->videos++))
		return add_gpu(c, node);
	if (!c->pc)
		return refuse(error, "the machine 'micro' has no video card of type '%s'; virtio is", type ? type : "");
	if (!virtio && (!type || (strcmp(type, "vga") && strcmp(type, "bochs"))))
		return refuse(error, "video model '%s' is not supported; virtio and vga are", type ? type : "");
	if (!virtio && c->videos++)
		return refuse(error, "a second video card has to be of model virtio");
	k = keys_new(virtio ? "virtio" : "std");
	put_address(c, k, node);
	if (virtio)
		put_screens(k, xml_child(node, "model"));
	add(c, "--vga", keys_end(k));
	return true;
}

static bool listen_at(struct command *c, const xmlNode *node, char **ret, GError **error)
{
	const xmlNode *listen = xml_child(node, "listen");
	const char *type = listen ? xml_text(listen, "@type") : xml_text(node, "@socket") ? "socket" : "address";
	const char *address = listen ? xml_text(listen, "@address") : NULL, *socket = listen ? xml_text(listen, "@socket") : NULL;
	gint64 port = 0;

	if (xml_nth(node, "listen", 1))
		return refuse(error, "graphics listens at one place, not two");
	if (type && !strcmp(type, "socket")) {
		g_autofree char *own = g_build_filename(c->paths->run, "vnc", NULL);

		if (!socket)
			socket = xml_text(node, "@socket");
		*ret = g_strconcat("unix:", socket ? socket : own, NULL);
		return true;
	}
	if (!type || strcmp(type, "address"))
		return refuse(error, "graphics: listen of type '%s' is not supported; address and socket are", type ? type : "");
	if (!address)
		address = xml_text(node, "@listen") ?: "127.0.0.1";
	if (xml_text(node, "@port"))
		g_ascii_string_to_signed(xml_text(node, "@port"), 10, -1, G_MAXUINT16, &port, NULL);
	*ret = g_strdup_printf(strchr(address, ':') ? "[%s]:%d" : "%s:%d", address, MAX((int)port, 0));
	return true;
}

bool command_graphics(struct command *c, const xmlNode *node, GError **error)
{
	g_autofree char *at = NULL;
	gint64 websocket = -1;
	keys *k;

	if (!xml_is(node, "@type", "vnc"))
		return refuse(error, "graphics of type '%s' is not supported; vnc is", xml_text(node, "@type") ?: "");
	if (xml_text(node, "@passwdValidTo"))
		return refuse(error, "graphics: passwdValidTo is not supported");
	if (!listen_at(c, node, &at, error))
		return false;
	c->vncs++;
	k = keys_new(NULL);
	put(k, "listen", at);
	if (xml_text(node, "@passwd"))
		put(k, "password", "on");
	if (xml_is(node, "@sharePolicy", "force-shared"))
		put(k, "share", "shared");
	if (xml_text(node, "@websocket") &&
	    g_ascii_string_to_signed(xml_text(node, "@websocket"), 10, -1, G_MAXUINT16, &websocket, NULL) && websocket > 0)
		put_number(k, "websocket", (guint64)websocket);
	add(c, "--vnc", keys_end(k));
	return true;
}
