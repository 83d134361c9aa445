/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a drive is told when it is made (disk.h, disk_new()): words to numbers, and what is wrong with them. */
#include <string.h>

#include "error.h"
#include "block-internal.h"

struct word {
	const char *name;
	int value;
};

static const struct word caches[] = {{"writeback", 0}, {"none", 0}, {"writethrough", 1}, {"directsync", 1}, {"unsafe", 2}, {}};
static const struct word discards[] = {{"on", 0}, {"unmap", 0}, {"off", 1}, {"ignore", 1}, {}};
static const struct word zeroes[] = {{"off", DISK_ZEROES_OFF}, {"on", DISK_ZEROES_ON}, {"unmap", DISK_ZEROES_UNMAP}, {}};
static const struct word write_errors[] = {
	{"enospc", DISK_ENOSPC}, {"report", DISK_REPORT}, {"ignore", DISK_IGNORE}, {"stop", DISK_STOP}, {}};
static const struct word read_errors[] = {{"report", DISK_REPORT}, {"ignore", DISK_IGNORE}, {"stop", DISK_STOP}, {}};

static const struct {
	const char *name;
	enum throttle_kind kind;
} limits[] = {
	{"bps", THROTTLE_BPS},	 {"bps-read", THROTTLE_BPS_READ},   {"bps-write", THROTTLE_BPS_WRITE},
	{"iops", THROTTLE_IOPS}, {"iops-read", THROTTLE_IOPS_READ}, {"iops-write", THROTTLE_IOPS_WRITE},
};

/* The value of a word among those of a table, the first when it is not given. */
static bool find_word(const struct disk *d, GVariant *options, const char *key, const struct word *words, int *ret,
		      GError **error)
{
	const char *text = words->name;
	g_autoptr(GString) known = g_string_new(NULL);

	if (options)
		g_variant_lookup(options, key, "&s", &text);
	for (const struct word *w = words; w->name; w++) {
		if (strcmp(text, w->name) == 0) {
			*ret = w->value;
			return true;
		}
		g_string_append_printf(known, "%s%s", w == words ? "" : ", ", w->name);
	}
	return kv_fail(error, KV_ERROR_USAGE, "%s: %s=%s is not known; give one of %s", d->id, key, text, known->str);
}

static uint64_t find_number(GVariant *options, const char *name, const char *suffix)
{
	g_autofree char *key = g_strconcat(name, suffix, NULL);
	guint64 n = 0;

	g_variant_lookup(options, key, "t", &n);
	return n;
}

static bool parse_throttle(struct disk *d, GVariant *options, GError **error)
{
	struct throttle_config c = {};
	const char *group = NULL;

	if (!options)
		return true;
	for (unsigned i = 0; i < G_N_ELEMENTS(limits); i++)
		c.limit[limits[i].kind] = (struct throttle_limit){.avg = find_number(options, limits[i].name, ""),
								  .max = find_number(options, limits[i].name, "-max"),
								  .length = find_number(options, limits[i].name, "-max-length")};
	c.iops_size = find_number(options, "iops-size", "");
	g_variant_lookup(options, "throttle-group", "&s", &group);
	if (!throttle_check(&c, error)) {
		g_prefix_error(error, "%s: ", d->id);
		return false;
	}
	if (!throttle_limits(&c)) {
		disk_join_throttle_group(d, group);
		return true;
	}
	return disk_set_throttle(d, &c, group, error);
}

bool disk_parse(struct disk *d, GVariant *options, GError **error)
{
	int cache, no_discard, detect, on_read, on_write;

	if (!find_word(d, options, "cache", caches, &cache, error) ||
	    !find_word(d, options, "discard", discards, &no_discard, error) ||
	    !find_word(d, options, "detect-zeroes", zeroes, &detect, error) ||
	    !find_word(d, options, "rerror", read_errors, &on_read, error) ||
	    !find_word(d, options, "werror", write_errors, &on_write, error) || !parse_throttle(d, options, error))
		return false;
	if (detect == DISK_ZEROES_UNMAP && no_discard)
		return kv_fail(error, KV_ERROR_USAGE, "%s: detect-zeroes=unmap needs discard=on", d->id);
	d->writeback = cache != 1;
	d->unsafe = cache == 2;
	d->no_discard = no_discard;
	d->zeroes = detect;
	d->on_read = on_read;
	d->on_write = on_write;
	return true;
}
