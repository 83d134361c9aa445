/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of console kinds and what they share. See char.h. */
#include "char.h"

#include <string.h>

#include "error.h"
#include "stream.h"

const struct char_kind *const chardev_kinds[] = {
	&char_kind_stdio, &char_kind_pty, &char_kind_file, &char_kind_unix, NULL,
};

static const struct char_kind *find_kind(const char *spec, size_t len, GError **error)
{
	for (const struct char_kind *const *k = chardev_kinds; *k; k++)
		if (strlen((*k)->name) == len && memcmp((*k)->name, spec, len) == 0)
			return *k;
	kv_fail(error, KV_ERROR_USAGE, "console '%s' is not known; give stdio, pty, file:PATH or unix:PATH",
		spec);
	return NULL;
}

struct chardev *char_open(const char *spec, GError **error)
{
	size_t len = strcspn(spec, ":");
	const struct char_kind *kind = find_kind(spec, len, error);
	const char *path = spec[len] ? spec + len + 1 : "";
	struct chardev *c;

	if (!kind)
		return NULL;
	if (kind->has_path != (*path != 0) || (spec[len] && !kind->has_path)) {
		kv_fail(error, KV_ERROR_USAGE, "console '%s' is not valid; give %s%s", spec, kind->name,
			kind->has_path ? ":PATH" : " without a path");
		return NULL;
	}
	c = g_new0(struct chardev, 1);
	c->kind = kind;
	c->where = g_strdup(kind->has_path ? path : kind->name);
	if (!kind->open(c, path, error)) {
		g_free(c->where);
		g_free(c);
		return NULL;
	}
	return c;
}

void char_close(struct chardev *c)
{
	if (!c)
		return;
	c->kind->close(c);
	g_free(c->where);
	g_free(c);
}

void char_attach(struct chardev *c, const struct char_client *client, void *opaque)
{
	c->client_opaque = opaque;
	c->client = client;
	stream_resume(c->state);
}

void char_set_quit(struct chardev *c, void (*quit)(void *opaque), void *opaque)
{
	c->quit_opaque = opaque;
	c->quit = quit;
}

void char_write(struct chardev *c, const uint8_t *data, size_t len)
{
	stream_write(c->state, data, len);
}

bool char_writable(struct chardev *c)
{
	return stream_writable(c->state);
}

bool char_connected(struct chardev *c)
{
	return stream_connected(c->state);
}

void char_resume(struct chardev *c)
{
	stream_resume(c->state);
}
