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
	c = char_new(kind, kind->has_path ? path : kind->name);
	if (kind->open(c, path, error))
		return c;
	char_free(c);
	return NULL;
}

struct chardev *char_new(const struct char_kind *kind, const char *where)
{
	struct chardev *c = g_new0(struct chardev, 1);

	g_mutex_init(&c->lock);
	c->kind = kind;
	c->where = g_strdup(where);
	return c;
}

void char_free(struct chardev *c)
{
	g_mutex_clear(&c->lock);
	g_free(c->where);
	g_free(c);
}

void char_close(struct chardev *c)
{
	if (!c)
		return;
	c->kind->close(c);
	char_free(c);
}

/* ---- nobody ---- */

static void null_put(struct chardev *c, const uint8_t *data, size_t len)
{
}

static void null_close(struct chardev *c)
{
	stream_destroy(c->state);
	g_free(c->state);
}

static const struct char_kind char_kind_null = { .name = "null", .close = null_close, .put = null_put };

struct chardev *char_open_null(void)
{
	struct chardev *c = char_new(&char_kind_null, char_kind_null.name);

	stream_init(g_new0(struct char_stream, 1), c);
	return c;
}

/* ---- for all kinds ---- */

bool char_is_open(const struct chardev *c)
{
	return c->client && (!c->client->is_open || c->client->is_open(c->client_opaque));
}

void char_attach(struct chardev *c, const struct char_client *client, void *opaque)
{
	c->client_opaque = opaque;
	c->client = client;
	char_resume(c);
}

void char_set_quit(struct chardev *c, void (*quit)(void *opaque), void *opaque)
{
	c->quit_opaque = opaque;
	c->quit = quit;
}

void char_write(struct chardev *c, const uint8_t *data, size_t len)
{
	g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&c->lock);

	if (c->kind->put)
		c->kind->put(c, data, len);
	else
		stream_write(c->state, data, len);
}

bool char_writable(struct chardev *c)
{
	g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&c->lock);

	return stream_writable(c->state);
}

bool char_connected(struct chardev *c)
{
	g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&c->lock);

	return c->kind->put || stream_connected(c->state);
}

void char_resume(struct chardev *c)
{
	g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&c->lock);

	stream_resume(c->state);
}

static void exchange(struct chardev *c, struct chardev *other)
{
	const struct char_kind *kind = c->kind;
	void *state = c->state;
	char *where = c->where;

	c->kind = other->kind;
	c->where = other->where;
	c->state = other->state;
	other->kind = kind;
	other->where = where;
	other->state = state;
	stream_set_owner(c->state, c);
	stream_set_owner(other->state, other);
}

void char_change(struct chardev *c, struct chardev *other)
{
	g_mutex_lock(&c->lock);
	exchange(c, other);
	g_mutex_unlock(&c->lock);
	char_close(other);
	if (!c->client)
		return;
	char_resume(c);
	if (c->client->connected)
		c->client->connected(c->client_opaque, char_connected(c));
}

char *char_describe(struct chardev *c)
{
	return c->kind->describe ? c->kind->describe(c) : g_strdup(c->kind->name);
}
