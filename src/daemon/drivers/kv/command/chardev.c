/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <serial>, <console>, <channel>. See parts.h. */
#include <string.h>

#include "parts.h"

char *char_target(const xmlNode *device, const char *path, GError **error)
{
	const char *type = xml_text(device, "@type"), *given = xml_text(device, "source/@path");

	if (!type || !strcmp(type, "pty"))
		return g_strdup("pty");
	if (!strcmp(type, "null"))
		return g_strdup("file:/dev/null");
	if (!strcmp(type, "file") && given)
		return g_strconcat("file:", given, NULL);
	if (!strcmp(type, "unix") && (given || path))
		return g_strconcat("unix:", given ? given : path, NULL);
	refuse(error, "a %s of type '%s'%s is not supported", (const char *)device->name, type, given ? "" : " without a path");
	return NULL;
}

bool command_serial(struct command *c, const xmlNode *node, GError **error)
{
	static const char *const options[] = {"--console", "--console2"};
	g_autofree char *name = g_strdup_printf("serial%u", c->serials), *path = g_build_filename(c->paths->run, name, NULL);
	char *target;

	if (c->serials == G_N_ELEMENTS(options))
		return refuse(error, "there are two serial ports, and no third");
	target = char_target(node, path, error);
	if (!target)
		return false;
	add(c, options[c->serials++], target);
	return true;
}

/* A console of type serial is the first port once more. */
bool command_console(struct command *c, const xmlNode *node, GError **error)
{
	g_autofree char *path = g_build_filename(c->paths->run, "console", NULL);
	char *target;

	if (!xml_is(node, "target/@type", "virtio"))
		return c->serials || command_serial(c, node, error);
	if (c->consoles++)
		return refuse(error, "there is one virtio console, and no second");
	target = char_target(node, path, error);
	if (!target)
		return false;
	add(c, "--virtio-console", target);
	return true;
}

char *command_channel_path(const xmlNode *channel, const char *domain, const struct command_paths *paths)
{
	const char *path = xml_text(channel, "source/@path"), *name = xml_text(channel, "target/@name");
	g_autofree char *folder = NULL, *file = NULL;

	if (path)
		return g_strdup(path);
	folder = g_strdelimit(g_strconcat("domain-", domain, NULL), "/", '_');
	file = g_strdelimit(g_strdup(name ? name : "channel"), "/", '_');
	return g_build_filename(paths->lib, "channel", "target", folder, file, NULL);
}

bool command_channel(struct command *c, const xmlNode *node, GError **error)
{
	g_autofree char *path = command_channel_path(node, xml_text(c->domain, "name") ?: "", c->paths);
	g_autofree char *target = char_target(node, path, error);
	keys *k;

	if (!target)
		return false;
	if (!xml_is(node, "target/@type", "virtio"))
		return refuse(error, "a channel's target of type '%s' is not supported; virtio is",
			      xml_text(node, "target/@type") ?: "");
	k = keys_new(NULL);
	put(k, "to", target);
	put_from(k, "name", node, "target/@name");
	put_from(k, "id", node, "alias/@name");
	add(c, "--channel", keys_end(k));
	return true;
}
