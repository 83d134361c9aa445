/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Each kind of device's defaults, in a table of kinds, and the devices that come by themselves (complete.h). */
#include <string.h>

#include "complete.h"
#include "domain-def.h"
#include "message.h"
#include "model-xml.h"

#ifndef KV_EMULATOR
#define KV_EMULATOR "/usr/bin/kv-vmm"
#endif

xmlNode *first_device(const struct completion *c, const char *kind)
{
	return xml_nth(c->devices, kind, 0);
}

void set_number(xmlNode *node, const char *path, guint64 n)
{
	char text[24];

	g_snprintf(text, sizeof(text), "%" G_GUINT64_FORMAT, n);
	xml_set(node, path, text);
}

guint64 number_or(const xmlNode *node, const char *path, guint64 otherwise)
{
	guint64 n;

	return xml_number(node, path, &n) ? n : otherwise;
}

/* ---- cards ---- */

static bool complete_interface(struct completion *c, xmlNode *card, GError **error)
{
	if (!xml_child(card, "mac")) {
		guint32 r = g_random_int();
		char text[18];

		g_snprintf(text, sizeof(text), "52:54:00:%02x:%02x:%02x", r & 0xff, r >> 8 & 0xff, r >> 16 & 0xff);
		xml_set(card, "mac/@address", text);
	}
	/* A running card's name in the host is not its definition's. */
	if (!c->test && !(c->flags & DEF_LIVE) && g_str_has_prefix(xml_text(card, "target/@dev") ?: "", "vnet"))
		xml_set(card, "target", NULL);
	if (xml_is(card, "@type", "network") && !xml_text(card, "source/@network"))
		return rpc_fail(error, VIR_ERR_XML_ERROR, "Missing required attribute 'network' in element 'source'");
	for (xmlNode *f = xml_child(card, "portForward"); f; f = xml_next(f))
		for (xmlNode *r = xml_child(f, "range"); r; r = xml_next(r))
			if (number_or(r, "@end", 65535) < number_or(r, "@start", 0))
				return rpc_fail(error, VIR_ERR_XML_ERROR, "portForward range: end is before start %s",
						xml_text(r, "@start"));
	if (!c->test) {
		xml_default(card, "model/@type", "virtio");
	} else if (!xml_text(card, "target/@dev")) {
		g_autofree char *dev = NULL;
		unsigned n = 0;

		for (const xmlNode *other = first_device(c, "interface"); other && other != card; other = xml_next(other))
			n++;
		dev = g_strdup_printf("testnet%u", n);
		xml_set(card, "target/@dev", dev);
	}
	return true;
}

static bool complete_video(struct completion *c, xmlNode *video, GError **error)
{
	/* What Vagrant writes unless told otherwise, and every system that drives a cirrus drives a VGA. */
	if (!c->test && xml_is(video, "model/@type", "cirrus"))
		xml_set(video, "model/@type", "vga");
	xml_default(video, "model/@type", c->test ? "cirrus" : "vga");
	if (xml_is(video, "model/@type", "none"))
		return true;
	if (xml_is(video, "model/@type", "vga") || xml_is(video, "model/@type", "cirrus"))
		xml_default(video, "model/@vram", "16384");
	xml_default(video, "model/@heads", "1");
	return true;
}

enum { VNC_PASSWORD = 8 };

static bool complete_graphics(struct completion *c, xmlNode *graphics, GError **error)
{
	const char *port = xml_text(graphics, "@port"), *address = xml_text(graphics, "@listen");
	const char *socket = xml_text(graphics, "@socket"), *password = xml_text(graphics, "@passwd");
	xmlNode *listen = xml_child(graphics, "listen");

	if (!listen) {
		listen = xml_add(graphics, "listen");
		xml_set(listen, "@type", socket ? "socket" : "address");
		xml_set(listen, socket ? "@socket" : "@address", socket ? socket : address);
	} else if (xml_is(listen, "@type", "address") && xml_text(listen, "@address")) {
		xml_set(graphics, "@listen", xml_text(listen, "@address"));
	} else if (xml_is(listen, "@type", "socket") && xml_text(listen, "@socket")) {
		xml_set(graphics, "@socket", xml_text(listen, "@socket"));
	}
	if (xml_is(listen, "@type", "socket") || xml_is(listen, "@type", "none"))
		return true;
	if (strlen(password ? password : "") > VNC_PASSWORD)
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "VNC password is %zu characters long, only 8 permitted",
				strlen(password));
	if (xml_is(graphics, "@autoport", "no") && (!port || !strcmp(port, "-1"))) {
		xml_set(graphics, "@port", NULL);
		return true;
	}
	if (port && strcmp(port, "-1") && strcmp(port, "0") && !xml_is(graphics, "@autoport", "yes")) {
		if (number_or(graphics, "@port", 0) > 65535 || *port == '-')
			return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "cannot parse vnc port %s", port);
		xml_set(graphics, "@autoport", "no");
		return true;
	}
	if (!(c->flags & DEF_LIVE) || !port)
		xml_set(graphics, "@port", "-1");
	xml_set(graphics, "@autoport", "yes");
	return true;
}

/* ---- characters ---- */

enum { PORTS_MAX = 32 };

static bool complete_port(struct completion *c, xmlNode *like, GError **error)
{
	guint32 used = 0;

	if (xml_text(like, "target/@port"))
		return true;
	for (xmlNode *d = first_device(c, (const char *)like->name); d; d = xml_next(d)) {
		guint64 port = number_or(d, "target/@port", PORTS_MAX);

		if (port < PORTS_MAX)
			used |= 1u << port;
	}
	if (used == G_MAXUINT32)
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "more than %d devices <%s>", PORTS_MAX,
				(const char *)like->name);
	set_number(like, "target/@port", (guint64)g_bit_nth_lsf(~used, -1));
	return true;
}

static bool complete_character(struct completion *c, xmlNode *d, GError **error)
{
	const char *type;

	xml_default(d, "@type", "pty");
	type = xml_text(d, "@type");
	if ((!strcmp(type, "pty") || !strcmp(type, "null")) && !(c->flags & DEF_LIVE))
		xml_set(d, "source", NULL);
	if (!strcmp(type, "file") && !xml_text(d, "source/@path"))
		return rpc_fail(error, VIR_ERR_XML_ERROR, "Missing source path attribute for char device");
	if (!strcmp(type, "unix")) {
		/* A channel's socket without a path gets one where it is started. */
		if (!xml_text(d, "source/@path") && strcmp((const char *)d->name, "channel"))
			return rpc_fail(error, VIR_ERR_XML_ERROR, "Missing source path attribute for char device");
		if (!xml_text(d, "source/@path"))
			xml_set(d, "source", NULL);
		else
			xml_default(d, "source/@mode", "connect");
		if (xml_is(d, "source/@mode", "connect") && !c->test)
			return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
					"mode 'connect' (meant without mode, too) of element <source> is not supported");
	}
	return true;
}

static bool complete_serial(struct completion *c, xmlNode *serial, GError **error)
{
	if (!complete_character(c, serial, error))
		return false;
	if (!c->test) {
		xml_default(serial, "target/@type", "isa-serial");
		xml_default(serial, "target/model/@name", "isa-serial");
	}
	return complete_port(c, serial, error);
}

static bool complete_console(struct completion *c, xmlNode *console, GError **error)
{
	if (!complete_character(c, console, error))
		return false;
	xml_default(console, "target/@type", "serial");
	return complete_port(c, console, error);
}

static bool complete_channel(struct completion *c, xmlNode *channel, GError **error)
{
	if (!xml_text(channel, "target/@type"))
		return rpc_fail(error, VIR_ERR_XML_ERROR, "channel target type is not specified");
	return complete_character(c, channel, error);
}

/* ---- others ---- */

static bool complete_input(struct completion *c, xmlNode *input, GError **error)
{
	xml_default(input, "@bus", xml_is(input, "@type", "tablet") ? "usb" : c->micro ? "virtio" : "ps2");
	if (xml_is(input, "@type", "tablet") && xml_is(input, "@bus", "ps2"))
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "ps2 bus does not support tablet input device");
	return true;
}

static bool complete_watchdog(struct completion *c, xmlNode *watchdog, GError **error)
{
	xml_default(watchdog, "@action", "reset");
	return true;
}

static bool complete_rng(struct completion *c, xmlNode *rng, GError **error)
{
	if (xml_is(rng, "backend/@model", "random") && xml_is(rng, "backend", ""))
		xml_set(rng, "backend", "/dev/random");
	return true;
}

static bool complete_panic(struct completion *c, xmlNode *panic, GError **error)
{
	if (!c->test)
		xml_default(panic, "@model", "isa");
	return true;
}

static bool complete_vsock(struct completion *c, xmlNode *vsock, GError **error)
{
	xml_default(vsock, "@model", "virtio");
	xml_default(vsock, "cid/@auto", xml_text(vsock, "cid/@address") ? "no" : "yes");
	return true;
}

static const struct {
	const char *kind;
	bool (*complete)(struct completion *, xmlNode *, GError **);
} kinds[] = {
	{ "disk", complete_disk },	   { "interface", complete_interface }, { "serial", complete_serial },
	{ "console", complete_console },   { "channel", complete_channel },	{ "input", complete_input },
	{ "graphics", complete_graphics }, { "video", complete_video },		{ "watchdog", complete_watchdog },
	{ "rng", complete_rng },	   { "panic", complete_panic },	   { "vsock", complete_vsock },
};

/* As libvirt has it: of what else it may be, nothing is kept. */
static bool is_users_alias(const char *alias)
{
	return g_str_has_prefix(alias, "ua-") &&
	       !alias[strspn(alias, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")];
}

bool complete_device(struct completion *c, xmlNode *device, GError **error)
{
	const char *alias = xml_text(device, "alias/@name");

	if (alias && !is_users_alias(alias) && !(c->flags & DEF_LIVE))
		xml_set(device, "alias", NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++)
		if (xmlStrEqual(device->name, BAD_CAST kinds[i].kind))
			return kinds[i].complete(c, device, error);
	return true;
}

/* ---- all of them ---- */

static bool check_boot_order(struct completion *c, GError **error)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

	for (xmlNode *d = c->devices->children; d; d = d->next) {
		const char *order = xml_text(d, "boot/@order");

		if (order && !g_hash_table_add(seen, (char *)order))
			return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "boot order '%s' used for more than one device",
					order);
	}
	return true;
}

static bool check_aliases(struct completion *c, GError **error)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
	const xmlNode *console = first_device(c, "console");
	bool has_twin = xml_is(console, "target/@type", "serial");

	for (xmlNode *d = c->devices->children; d; d = d->next) {
		const char *alias = xml_text(d, "alias/@name");

		if (alias && is_users_alias(alias) && !(has_twin && d == console) && !g_hash_table_add(seen, (char *)alias))
			return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "non unique alias detected: %s", alias);
	}
	return true;
}

/* The first serial port and the first console are one thing under two names. */
static xmlNode *twin(struct completion *c, xmlNode *from, const char *kind)
{
	xmlNode *to = xml_add(c->devices, kind);
	const xmlNode *source = xml_child(from, "source");

	xml_set(to, "@type", xml_text(from, "@type"));
	if (xml_text(from, "@tty"))
		xml_set(to, "@tty", xml_text(from, "@tty"));
	if (source)
		xmlAddChild(to, xmlDocCopyNode((xmlNode *)source, to->doc, 1));
	return to;
}

static bool complete_twins(struct completion *c, GError **error)
{
	xmlNode *serial = first_device(c, "serial"), *console = first_device(c, "console");

	for (xmlNode *d = console ? xml_next(console) : NULL; d; d = xml_next(d))
		if (xml_is(d, "target/@type", "serial"))
			return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "Only the first console can be a serial port");
	if (console && xml_is(console, "target/@type", "serial") && !serial) {
		twin(c, console, "serial");
		return complete_serial(c, first_device(c, "serial"), error);
	}
	if (serial && !xml_is(console, "target/@type", "serial")) {
		xmlNode *to = twin(c, serial, "console");

		xml_set(to, "target/@type", "serial");
		xml_set(to, "target/@port", xml_text(serial, "target/@port"));
		if (console)
			xmlAddPrevSibling(console, to);
	}
	return true;
}

static bool has_input(const struct completion *c, const char *type)
{
	for (xmlNode *d = first_device(c, "input"); d; d = xml_next(d))
		if (xml_is(d, "@type", type) && xml_is(d, "@bus", "ps2"))
			return true;
	return false;
}

static void add_implied(struct completion *c)
{
	static const char *const inputs[] = { "mouse", "keyboard" };
	xmlNode *video = first_device(c, "video");

	if (first_device(c, "graphics") && !video && !c->micro) {
		video = xml_add(c->devices, "video");
		complete_video(c, video, NULL);
	}
	if (video && !xml_is(video, "model/@type", "none"))
		xml_default(video, "model/@primary", "yes");
	if (c->test)
		return;
	for (unsigned i = 0; i < G_N_ELEMENTS(inputs) && !c->micro; i++) {
		if (!has_input(c, inputs[i])) {
			xmlNode *input = xml_add(c->devices, "input");

			xml_set(input, "@type", inputs[i]);
			xml_set(input, "@bus", "ps2");
		}
	}
	if (!first_device(c, "audio") && !c->micro) {
		xml_set(c->devices, "audio/@id", "1");
		xml_set(c->devices, "audio/@type", "none");
	}
	xml_default(c->devices, "memballoon/@model", "virtio");
}

static char *emulator; /* NULL: nobody has said */

void domain_def_set_emulator(const char *path)
{
	g_free(emulator);
	emulator = g_strdup(path);
}

static void complete_emulator(struct completion *c)
{
	const char *named = xml_text(c->devices, "emulator");
	g_autofree char *program = named ? g_path_get_basename(named) : NULL;

	if (emulator && !(c->flags & DEF_LIVE) && (!named || !strcmp(program, "kv-vmm")))
		xml_set(c->devices, "emulator", emulator);
	else
		xml_default(c->devices, "emulator", KV_EMULATOR);
}

bool complete_devices(struct completion *c, GError **error)
{
	if (!c->test)
		complete_emulator(c);
	for (xmlNode *d = c->devices->children, *next; d; d = next) {
		next = d->next;
		if (!complete_device(c, d, error))
			return false;
	}
	if (!check_disk_targets(c, error) || !check_boot_order(c, error) || !check_aliases(c, error))
		return false;
	sort_disks(c);
	if (!complete_twins(c, error))
		return false;
	add_implied(c);
	return true;
}
