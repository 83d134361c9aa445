/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Header and records of a saved machine, and what it says the machine is. See saved-form.h. */
#include "saved-form.h"

#include <string.h>

#include "bytes.h"
#include "error.h"
#include "internal.h"

#define MAGIC "KVASIRVM"

enum { VERSION = 1 };

/* FNV-1a: against damage. */
static uint32_t checksum(const char *p, size_t n)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)p[i]) * 16777619u;
	return h;
}

void saved_put_record(uint8_t to[24], const struct saved_record *r)
{
	put_le32(to, r->type);
	put_le32(to + 4, r->area);
	put_le64(to + 8, r->first);
	put_le64(to + 16, r->count);
}

void saved_get_record(const uint8_t from[24], struct saved_record *ret)
{
	*ret = (struct saved_record){ get_le32(from), get_le32(from + 4), get_le64(from + 8), get_le64(from + 16) };
}

void saved_put_header(uint8_t *to, const struct saved_header *h, const char *description)
{
	memset(to, 0, SAVED_FIXED);
	memcpy(to, MAGIC, 8);
	put_le32(to + 8, VERSION);
	put_le32(to + 12, h->form);
	put_le32(to + 16, strlen(description));
	put_le32(to + 20, checksum(description, strlen(description)));
	put_le64(to + 24, h->state_at);
	put_le64(to + 32, h->state_len);
	put_le32(to + 40, h->running);
}

bool saved_get_header(const uint8_t *from, struct saved_header *ret, GError **error)
{
	uint32_t version = get_le32(from + 8), form = get_le32(from + 12);

	if (memcmp(from, MAGIC, 8))
		return kv_fail(error, KV_ERROR_INVALID, "this is not a saved machine, or one that was not saved to its end");
	if (version != VERSION)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "the saved machine has version %u, this program reads %d", version,
			       VERSION);
	*ret = (struct saved_header){ .form = form, .description = get_le32(from + 16), .state_at = get_le64(from + 24),
				      .state_len = get_le64(from + 32), .running = get_le32(from + 40) & 1 };
	if (form > SAVED_FILE)
		return kv_fail(error, KV_ERROR_INVALID, "the saved machine has the form %u, which is none", form);
	if (ret->description > SAVED_DESCRIPTION)
		return kv_fail(error, KV_ERROR_INVALID, "the saved machine's description has %u bytes: more than %u",
			       ret->description, SAVED_DESCRIPTION);
	return true;
}

static bool differs(char *theirs, const char *mine, GError **error)
{
	g_autofree char *valid = theirs ? g_utf8_make_valid(theirs, -1) : NULL, *text = valid ? g_strescape(valid, NULL) : NULL;

	return kv_fail(error, KV_ERROR_INVALID, "the saved machine has %s%.100s%s where this one has %s%s%s", text ? "'" : "",
		       text ? text : "nothing", text ? "'" : "", mine ? "'" : "", mine ? mine : "nothing", mine ? "'" : "");
}

bool saved_check(const uint8_t *header, const char *text, size_t len, const char *mine, GError **error)
{
	g_autofree char *copy = g_strndup(text, len);
	g_auto(GStrv) theirs = g_strsplit(copy, "\n", -1), ours = g_strsplit(mine, "\n", -1);
	unsigned i = 0;

	if (checksum(text, len) != get_le32(header + 20))
		return kv_fail(error, KV_ERROR_INVALID, "the saved machine's description is damaged: its checksum does not fit");
	if (len == strlen(mine) && !memcmp(text, mine, len))
		return true;
	while (theirs[i] && ours[i] && !strcmp(theirs[i], ours[i]))
		i++;
	return differs(theirs[i], ours[i], error);
}

static void describe_devices(struct machine *m, GString *s)
{
	g_autoptr(GPtrArray) order = saved_order(m);

	for (unsigned i = 0; i < order->len; i++) {
		const struct device *d = order->pdata[i];
		g_autofree char *id = g_strescape(d->id, NULL);

		g_string_append_printf(s, "device %s %s\n", d->cls->name, id);
	}
}

char *saved_describe(struct machine *m)
{
	GString *s = g_string_new(NULL);
	struct mem_area areas[MEM_AREAS];
	unsigned n = mem_areas(m->core.mem, areas);

	g_string_append_printf(s, "machine %s\ncpus %u\nmemory %" G_GUINT64_FORMAT "\n",
			       m->kind == MACHINE_PC ? "pc" : "micro", m->cpus, m->memory);
	g_string_append_printf(s, "cpu %s, %u sockets, %u cores, %u threads\n", m->cpu.model ? m->cpu.model->name : "host",
			       m->topology.sockets, m->topology.cores, m->topology.threads);
	for (unsigned i = 0; i < n; i++)
		g_string_append_printf(s, "area %s %" G_GUINT64_FORMAT "\n", areas[i].name, areas[i].size);
	describe_devices(m, s);
	return g_string_free(s, FALSE);
}

uint64_t saved_area_at(const struct mem_area *areas, unsigned n)
{
	uint64_t at = SAVED_HEADER;

	for (unsigned i = 0; i < n; i++)
		at += areas[i].size;
	return at;
}
