/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disks that definitions name, and the images that stand on each other behind them. What stands on what is asked of the
 * images, not of the tree: users commit and rebase by themselves. See snapshot.h.
 */
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "snapshot.h"

/* ---- definitions ---- */

const char *kv_disk_file(const xmlNode *disk)
{
	const char *file = xml_text(disk, "source/@file");

	return file ? file : xml_text(disk, "source/@dev");
}

void kv_disk_set_source(xmlNode *disk, const char *file)
{
	bool device = g_str_has_prefix(file, "/dev/");

	xml_set(disk, "@type", device ? "block" : "file");
	xml_set(disk, device ? "source/@file" : "source/@dev", NULL);
	xml_set(disk, device ? "source/@dev" : "source/@file", file);
}

void kv_disk_set_file(xmlNode *disk, const char *file, const char *format)
{
	kv_disk_set_source(disk, file);
	xml_set(disk, "driver/@type", format);
}

xmlNode *kv_disk_in(const xmlNode *domain, const char *target)
{
	xmlNode *devices = xml_child(domain, "devices"), *disk;

	for (unsigned n = 0; target && (disk = xml_nth(devices, "disk", n)); n++)
		if (xml_is(disk, "target/@dev", target))
			return disk;
	return NULL;
}

xmlNode *kv_part(const xmlDoc *doc, const char *kind, unsigned n)
{
	xmlNode *disks = xml_child(xmlDocGetRootElement((xmlDoc *)doc), "disks"), *disk;

	for (unsigned i = 0; (disk = xml_nth(disks, "disk", i)); i++)
		if (xml_is(disk, "@snapshot", kind) && !n--)
			return disk;
	return NULL;
}

xmlNode *kv_part_disk(const xmlDoc *doc, const xmlNode *part)
{
	return kv_disk_in(xml_child(xmlDocGetRootElement((xmlDoc *)doc), "domain"), xml_text(part, "@name"));
}

const char *kv_snapshot_name(const xmlDoc *doc)
{
	return xml_text(xmlDocGetRootElement((xmlDoc *)doc), "name");
}

const char *kv_snapshot_memory(const xmlDoc *doc)
{
	return xml_text(xmlDocGetRootElement((xmlDoc *)doc), "memory/@file");
}

/* Each definition that a domain has: its own two, and its snapshots'. */
struct each {
	void (*func)(void *opaque, xmlNode *domain, const xmlDoc *snapshot);
	void *opaque;
};

static void each_definition(struct domain *d, const struct each *each)
{
	static const char *const names[] = {"domain", "inactiveDomain"};
	struct snapshot *s;

	if (d->live)
		each->func(each->opaque, domain_def_root(d->live), NULL);
	if (d->def)
		each->func(each->opaque, domain_def_root(d->def), NULL);
	for (unsigned n = 0; (s = snapshots_nth(d->snapshots, n)); n++)
		for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
			if (xml_child(xmlDocGetRootElement(s->doc), names[i]))
				each->func(each->opaque, xml_child(xmlDocGetRootElement(s->doc), names[i]), s->doc);
}

struct replacement {
	const char *from, *to, *format;
};

static void replace(void *opaque, xmlNode *domain, const xmlDoc *unused)
{
	const struct replacement *r = opaque;
	xmlNode *devices = xml_child(domain, "devices"), *disk;

	for (unsigned n = 0; (disk = xml_nth(devices, "disk", n)); n++)
		if (kv_is_same_file(kv_disk_file(disk), r->from))
			kv_disk_set_file(disk, r->to, r->format);
}

void kv_files_replace(struct domain *d, const char *from, const char *to, const char *to_format)
{
	struct replacement r = {from, to, to_format};

	each_definition(d, &(struct each){replace, &r});
}

/* What is inside of an image may be taken back whoever writes to it. */
static bool is_inside(const xmlDoc *snapshot, const xmlNode *disk)
{
	xmlNode *part;

	for (unsigned n = 0; (part = kv_part(snapshot, "internal", n)); n++)
		if (xml_is(part, "@name", xml_text(disk, "target/@dev")))
			return true;
	return false;
}

struct search {
	const xmlDoc *not_of;
	const char *file;
	bool found;
};

static void look(void *opaque, xmlNode *domain, const xmlDoc *snapshot)
{
	xmlNode *devices = xml_child(domain, "devices"), *disk;
	struct search *s = opaque;

	for (unsigned n = 0; (!snapshot || snapshot != s->not_of) && (disk = xml_nth(devices, "disk", n)); n++)
		s->found |= kv_is_same_file(kv_disk_file(disk), s->file) && !(snapshot && is_inside(snapshot, disk));
}

bool kv_file_is_named(struct domain *d, const xmlDoc *not_of, const char *file)
{
	g_autofree char *real = kv_canonical(file);
	struct search s = {not_of, real};

	each_definition(d, &(struct each){look, &s});
	return s.found;
}

/* ---- chains ---- */

struct tops {
	GHashTable *files; /* file -> its format; both g_free() */
	const xmlDoc *not_of;
	bool snapshots; /* theirs, else the domain's own */
};

static void add_top(void *opaque, xmlNode *domain, const xmlDoc *snapshot)
{
	xmlNode *devices = xml_child(domain, "devices"), *disk;
	struct tops *t = opaque;

	if (!snapshot == t->snapshots || (snapshot && snapshot == t->not_of))
		return;
	for (unsigned n = 0; (disk = xml_nth(devices, "disk", n)); n++) {
		const char *file = kv_disk_file(disk), *format = xml_text(disk, "driver/@type");

		if (file && !xml_is(disk, "@device", "cdrom"))
			g_hash_table_insert(t->files, g_strdup(file), g_strdup(format ? format : "raw"));
	}
}

static bool add_chains(GPtrArray *chains, GHashTable *files, bool may_fail, GError **error)
{
	GHashTableIter iter;
	gpointer file, format;

	g_hash_table_iter_init(&iter, files);
	while (g_hash_table_iter_next(&iter, &file, &format)) {
		g_autoptr(GError) why = NULL;
		GPtrArray *chain = kv_img_chain(file, format, &why);

		if (chain) {
			g_ptr_array_add(chains, chain);
		} else if (!may_fail) {
			g_propagate_error(error, g_steal_pointer(&why));
			return false;
		}
	}
	return true;
}

GPtrArray *kv_chains(struct domain *d, const xmlDoc *not_of, GError **error)
{
	g_autoptr(GPtrArray) chains = g_ptr_array_new_with_free_func((GDestroyNotify)g_ptr_array_unref);

	if (!domain_stored_def(d, error))
		return NULL;
	for (unsigned i = 0; i < 2; i++) {
		g_autoptr(GHashTable) files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
		struct tops tops = {files, not_of, i};

		each_definition(d, &(struct each){add_top, &tops});
		if (!add_chains(chains, files, i, error))
			return NULL;
	}
	return g_steal_pointer(&chains);
}

GPtrArray *kv_standing_on(const GPtrArray *chains, const char *file)
{
	GPtrArray *found = g_ptr_array_new();
	g_autofree char *real = kv_canonical(file);

	for (unsigned i = 0; i < chains->len; i++) {
		const GPtrArray *chain = chains->pdata[i];

		for (unsigned n = 1; n < chain->len; n++) {
			const struct kv_layer *above = chain->pdata[n - 1], *below = chain->pdata[n];
			bool known = false;

			for (unsigned k = 0; k < found->len; k++)
				known |= !strcmp(((struct kv_layer *)found->pdata[k])->file, above->file);
			if (!known && !strcmp(below->file, real))
				g_ptr_array_add(found, (void *)above);
		}
	}
	return found;
}

bool kv_in_chains(const GPtrArray *chains, const char *file)
{
	g_autofree char *real = kv_canonical(file);

	for (unsigned i = 0; i < chains->len; i++) {
		const GPtrArray *chain = chains->pdata[i];

		for (unsigned n = 0; n < chain->len; n++)
			if (!strcmp(((struct kv_layer *)chain->pdata[n])->file, real))
				return true;
	}
	return false;
}

void kv_files_collect(struct domain *d, const GPtrArray *candidates)
{
	GHashTable *made = snapshots_made(d->snapshots);
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) chains = candidates->len ? kv_chains(d, NULL, &error) : NULL;

	if (error)
		kv_log_warn("domain '%s': files that are no longer needed stay: %s", d->name, error->message);
	for (unsigned i = 0; chains && i < candidates->len; i++) {
		const char *file = candidates->pdata[i];

		if (!g_hash_table_contains(made, file) || kv_in_chains(chains, file))
			continue;
		if (unlink(file) < 0)
			kv_log_warn("domain '%s': '%s' is no longer needed and stays: %s", d->name, file, g_strerror(errno));
		g_hash_table_remove(made, file);
	}
}
