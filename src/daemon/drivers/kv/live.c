/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the definition of a running machine has and the stored one has not: terminals, ports, states. See kv.h. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "kv.h"

enum { PORT_FIRST = 5900, PORT_LAST = 65535, WEB_FIRST = 5700 };

xmlNode *kv_device_by_alias(const struct domain_def *def, const char *kind, const char *alias)
{
	xmlNode *device;

	for (unsigned n = 0; def && alias && (device = domain_def_device(def, kind, n)); n++)
		if (xml_is(device, "alias/@name", alias))
			return device;
	return NULL;
}

/* ---- ports ---- */

static bool is_ours(const struct domain *d, const char *attribute, unsigned port)
{
	GHashTableIter iter;
	gpointer other;
	guint64 n;

	g_hash_table_iter_init(&iter, d->hv->domains);
	while (g_hash_table_iter_next(&iter, NULL, &other)) {
		const struct domain *o = other;
		xmlNode *graphics;

		for (unsigned i = 0; o->live && (graphics = domain_def_device(o->live, "graphics", i)); i++)
			if (xml_number(graphics, attribute, &n) && n == port)
				return true;
	}
	return false;
}

static bool is_free(unsigned port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((guint16)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	bool ok;

	if (fd < 0)
		return true;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	ok = bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;
	close(fd);
	return ok;
}

/*
 * Other daemons of this host choose as well, and a port is free until the machine listens: meanwhile it is taken by a name in the
 * abstract namespace, which all users share and nothing is left of. -1: somebody has it.
 */
static int hold(unsigned port)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int len = snprintf(sa.sun_path + 1, sizeof(sa.sun_path) - 1, "kvd-port-%u", port);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool choose(struct domain *d, xmlNode *graphics, const char *attribute, unsigned first, GArray *held, GError **error)
{
	for (unsigned port = first; port <= PORT_LAST; port++) {
		g_autofree char *text = NULL;
		int fd;

		if (is_ours(d, attribute, port) || (fd = hold(port)) < 0)
			continue;
		g_array_append_val(held, fd);
		if (!is_free(port))
			continue;
		text = g_strdup_printf("%u", port);
		xml_set(graphics, attribute, text);
		return true;
	}
	return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "Unable to find an unused port in range 'VNC' (%u-%d)", first, PORT_LAST);
}

static void let_go(gpointer fd)
{
	close(*(int *)fd);
}

GArray *kv_choose_ports(struct domain *d, struct domain_def *def, GError **error)
{
	g_autoptr(GArray) held = g_array_new(FALSE, FALSE, sizeof(int));
	xmlNode *graphics;

	g_array_set_clear_func(held, let_go);

	for (unsigned n = 0; (graphics = domain_def_device(def, "graphics", n)); n++) {
		const char *port = xml_text(graphics, "@port");
		bool socket = xml_is(graphics, "listen/@type", "socket") || xml_text(graphics, "@socket");

		if (!socket && !xml_text(graphics, "listen/@address") && xml_is(graphics, "listen/@type", "address")) {
			xml_set(graphics, "listen/@address", "127.0.0.1");
			xml_set(graphics, "@listen", "127.0.0.1");
		}
		if (!socket && (!port || !strcmp(port, "-1") || xml_is(graphics, "@autoport", "yes")) &&
		    !choose(d, graphics, "@port", PORT_FIRST, held, error))
			return NULL;
		if (xml_is(graphics, "@websocket", "-1") && !choose(d, graphics, "@websocket", WEB_FIRST, held, error))
			return NULL;
	}
	return g_steal_pointer(&held);
}

/* ---- sockets that nobody gave a place ---- */

static void set_path(xmlNode *device, const char *path)
{
	xml_set(device, "source/@mode", "bind");
	xml_set(device, "source/@path", path);
}

static bool needs_path(const xmlNode *device)
{
	return xml_is(device, "@type", "unix") && !xml_text(device, "source/@path");
}

/* The places are those of command/chardev.c. */
void kv_name_sockets(struct kv_machine *m, struct domain_def *def, const struct command_paths *paths)
{
	xmlNode *device;

	for (unsigned n = 0; (device = domain_def_device(def, "channel", n)); n++) {
		g_autofree char *path = command_channel_path(device, m->d->name, paths);

		if (needs_path(device))
			set_path(device, path);
	}
	for (unsigned n = 0; (device = domain_def_device(def, "serial", n)); n++) {
		g_autofree char *path = g_strdup_printf("%s/serial%u", m->run, n);

		if (needs_path(device))
			set_path(device, path);
	}
	for (unsigned n = 0; (device = domain_def_device(def, "console", n)); n++) {
		bool virtio = xml_is(device, "target/@type", "virtio");
		g_autofree char *path = g_build_filename(m->run, virtio ? "console" : "serial0", NULL);

		if (needs_path(device))
			set_path(device, path);
	}
}

/* ---- terminals ---- */

static void set_terminal(xmlNode *device, const char *path)
{
	if (!device || !xml_is(device, "@type", "pty"))
		return;
	xml_set(device, "source/@path", path);
	if (!strcmp((const char *)device->name, "console"))
		xml_set(device, "@tty", path);
}

/* kv-vmm's names: console and console2 are serial ports, and the first is the first <console> as well. */
static void learn_terminal(struct kv_machine *m, const char *label, const char *path)
{
	const struct domain_def *def = m->d->live;
	xmlNode *device;

	if (!strcmp(label, "console") || !strcmp(label, "console2"))
		set_terminal(domain_def_device(def, "serial", strcmp(label, "console") != 0), path);
	set_terminal(kv_device_by_alias(def, "channel", label), path);
	for (unsigned n = 0; (device = domain_def_device(def, "console", n)); n++)
		if (!strcmp(label, xml_is(device, "target/@type", "virtio") ? "virtio-console" : "console"))
			set_terminal(device, path);
}

/* Whether the guest has its end open, which events say from now on. */
static void learn_port(struct kv_machine *m, const char *label, bool open)
{
	xmlNode *channel = kv_device_by_alias(m->d->live, "channel", label);

	if (channel && xml_is(channel, "target/@type", "virtio"))
		xml_set(channel, "target/@state", open ? "connected" : "disconnected");
}

/* (waits) A daemon that comes back asks which addresses were given. */
static void learn_addresses(struct kv_machine *m)
{
	xmlNode *card;

	if (m->addresses)
		return;
	for (unsigned n = 0; !m->gone && m->d->live && (card = domain_def_device(m->d->live, "interface", n)); n++) {
		g_autofree char *mac = g_strdup(xml_text(card, "mac/@address")), *path = NULL;
		g_autoptr(JsonNode) answer = NULL;

		if (!xml_is(card, "@type", "network"))
			continue;
		path = g_strconcat("/machine/peripheral/", xml_text(card, "alias/@name") ?: "", NULL);
		answer = kv_ask(m, "qom-get", kv_args("path", path, "property", "net-stats", NULL), NULL);
		if (answer && kv_text_in(kv_object(answer), "dhcpstart"))
			kv_note_address(m, mac, kv_text_in(kv_object(answer), "dhcpstart"));
	}
}

bool kv_learn(struct kv_machine *m, GError **error)
{
	g_autoptr(JsonNode) answer = kv_ask(m, "query-chardev", NULL, error);
	JsonArray *list = kv_array(answer);

	for (guint i = 0; list && i < json_array_get_length(list); i++) {
		JsonObject *o = kv_object(json_array_get_element(list, i));
		const char *label = kv_text_in(o, "label"), *file = kv_text_in(o, "filename");

		if (label && file && g_str_has_prefix(file, "pty:"))
			learn_terminal(m, label, file + strlen("pty:"));
		if (label)
			learn_port(m, label, kv_flag_in(o, "frontend-open"));
	}
	learn_addresses(m);
	return answer;
}

/* ---- before it runs ---- */

/* The VMM's names of its VNC servers. */
static bool set_passwords(struct kv_machine *m, GError **error)
{
	xmlNode *graphics;

	for (unsigned n = 0; (graphics = domain_def_device(m->d->live, "graphics", n)); n++) {
		const char *password = xml_text(graphics, "@passwd");
		g_autofree char *id = n ? g_strdup_printf("vnc%u", n + 1) : g_strdup("default");
		JsonObject *args;

		if (!password)
			continue;
		args = kv_args("protocol", "vnc", "password", password, "display", id, NULL);
		if (!kv_do(m, "set_password", args, error))
			return false;
	}
	return true;
}

static bool pull_cables(struct kv_machine *m, GError **error)
{
	xmlNode *interface;

	for (unsigned n = 0; (interface = domain_def_device(m->d->live, "interface", n)); n++) {
		const char *card = xml_text(interface, "alias/@name");
		JsonObject *args;

		if (!xml_is(interface, "link/@state", "down"))
			continue;
		args = kv_args("name", card, NULL);
		json_object_set_boolean_member(args, "up", FALSE);
		if (!kv_do(m, "set_link", args, error))
			return false;
	}
	return true;
}

bool kv_arrange(struct kv_machine *m, GError **error)
{
	guint64 most = domain_def_memory(m->d->live), now = domain_def_current(m->d->live);
	const xmlNode *balloon = domain_def_device(m->d->live, "memballoon", 0);

	if (!set_passwords(m, error) || !pull_cables(m, error))
		return false;
	return !now || now >= most || !balloon || xml_is(balloon, "@model", "none") || kv_set_memory(m->d, now, error);
}
