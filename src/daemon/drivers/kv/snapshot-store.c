/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots as files, one a domain (store.h): the whole tree, which is the current one, what is under way, and the files that
 * they made. One file, so that it is the old tree or the new one whatever happens. Called by the driver's table and
 * domain-snapshot.c.
 */
#include <string.h>

#include "log.h"
#include "snapshot.h"
#include "workers.h"

enum { START_MS = 20 };

/* ---- out ---- */

static void add_element(GString *out, const char *name, const char *text)
{
	g_autofree char *escaped = g_markup_escape_text(text, -1);

	g_string_append_printf(out, "<%s>%s</%s>\n", name, escaped, name);
}

static void add_doc(GString *out, const xmlDoc *doc)
{
	g_autofree char *text = model_xml_format(xmlDocGetRootElement((xmlDoc *)doc));

	g_string_append(out, text);
}

static char *format(const struct domain *d)
{
	GString *out = g_string_new("<domainsnapshots>\n");
	const struct snapshot *current = snapshots_current(d->snapshots), *s;
	GHashTableIter iter;
	xmlDoc *doc = NULL;
	const char *what = snapshots_pending(d->snapshots, &doc);
	gpointer file;

	add_element(out, "name", d->name);
	add_element(out, "uuid", d->uuid_text);
	if (current)
		add_element(out, "current", current->name);
	g_hash_table_iter_init(&iter, snapshots_made(d->snapshots));
	while (g_hash_table_iter_next(&iter, &file, NULL))
		add_element(out, "made", file);
	if (what) {
		g_string_append_printf(out, "<pending what='%s'>\n", what);
		add_doc(out, doc);
		g_string_append(out, "</pending>\n");
	}
	for (unsigned n = 0; (s = snapshots_nth(d->snapshots, n)); n++)
		add_doc(out, s->doc);
	g_string_append(out, "</domainsnapshots>\n");
	return g_string_free(out, FALSE);
}

bool kv_store_snapshots(struct domain *d, GError **error)
{
	struct kv_hv *kv = d->hv->own;
	g_autofree char *text = NULL;

	if (!snapshots_count(d->snapshots) && !snapshots_pending(d->snapshots, NULL))
		return store_remove(kv->snapshots, d->name, error);
	text = format(d);
	if (strlen(text) > MODEL_XML_MAX)
		return rpc_fail(error, VIR_ERR_OPERATION_FAILED,
				"unable to save metadata of the snapshots of '%s': with %u of them it has more than %d bytes; "
				"delete some",
				d->name, snapshots_count(d->snapshots), MODEL_XML_MAX);
	return store_write(kv->snapshots, d->name, d->uuid_text, text, error);
}

bool kv_snapshot_note(struct domain *d, const char *what, const xmlDoc *doc, GError **error)
{
	snapshots_set_pending(d->snapshots, what, what ? xmlCopyDoc((xmlDoc *)doc, 1) : NULL);
	if (kv_store_snapshots(d, error))
		return true;
	snapshots_set_pending(d->snapshots, NULL, NULL);
	return false;
}

void kv_forget_snapshots(struct domain *d)
{
	struct kv_hv *kv = d->hv->own;

	snapshots_clear(d->snapshots);
	store_remove(kv->snapshots, d->name, NULL);
}

/* ---- in ---- */

static xmlDoc *doc_of(xmlNode *node)
{
	xmlDoc *doc = xmlNewDoc(BAD_CAST "1.0");

	xmlDocSetRootElement(doc, xmlDocCopyNode(node, doc, 1));
	return doc;
}

/* Parents may be younger than their children, after a redefinition. */
static void link_parents(struct snapshots *all)
{
	struct snapshot *s;

	for (unsigned n = 0; (s = snapshots_nth(all, n)); n++) {
		const char *above = xml_text(xmlDocGetRootElement(s->doc), "parent/name");
		struct snapshot *parent = above ? snapshots_find(all, above) : NULL;

		if (parent && parent != s && !snapshot_is_below(parent, s))
			snapshots_replace(s, xmlCopyDoc(s->doc, 1), parent);
	}
}

static void take(struct domain *d, const xmlNode *root)
{
	xmlNode *pending = xml_child(root, "pending"), *node;
	const char *current = xml_text(root, "current");

	for (unsigned n = 0; (node = xml_nth(root, "made", n)); n++)
		g_hash_table_add(snapshots_made(d->snapshots), g_strdup(xml_text(node, "") ?: ""));
	for (unsigned n = 0; (node = xml_nth(root, "domainsnapshot", n)); n++) {
		const char *name = xml_text(node, "name");

		if (name && !snapshots_find(d->snapshots, name))
			snapshots_add(d->snapshots, name, doc_of(node), NULL);
	}
	link_parents(d->snapshots);
	if (current)
		snapshots_set_current(d->snapshots, snapshots_find(d->snapshots, current));
	if (pending && xml_child(pending, "domainsnapshot"))
		snapshots_set_pending(d->snapshots, xml_text(pending, "@what"), doc_of(xml_child(pending, "domainsnapshot")));
}

/* One that runs is asked when it is connected to. */
static void settle_later(void *opaque)
{
	struct domain *d = opaque;
	g_autoptr(GError) error = NULL;
	const struct kv_machine *m;

	while ((m = d->own) && m->starting && !m->gone) {
		state_release();
		g_usleep(START_MS * 1000);
		state_acquire();
	}
	if (domain_job_begin(d, JOB_MODIFY, NULL)) {
		if (!kv_snapshot_settle(d, &error))
			kv_log_error("domain '%s': %s", d->name, error->message);
		domain_job_end(d, JOB_MODIFY);
	}
	domain_unref(d);
}

static void load_one(void *opaque, const struct store_entry *entry)
{
	struct hv *hv = opaque;
	struct kv_hv *kv = hv->own;
	struct domain *d = g_hash_table_lookup(hv->names, entry->name);
	g_autoptr(GError) error = NULL;
	g_autofree char *text = NULL;
	g_autoptr(xmlDoc) doc = NULL;

	if (!d || strcmp(d->uuid_text, entry->uuid)) {
		kv_log_warn("there are snapshots of a domain '%s' that is not there; they are left alone", entry->name);
		return;
	}
	text = store_read(kv->snapshots, entry->name, &error);
	doc = text ? model_xml_parse(text, -1, "domainsnapshots", &error) : NULL;
	if (!doc) {
		kv_log_error("the snapshots of domain '%s': %s", entry->name, error->message);
		return;
	}
	take(d, xmlDocGetRootElement(doc));
	if (snapshots_pending(d->snapshots, NULL))
		workers_run(settle_later, domain_ref(d));
}

void kv_load_snapshots(struct hv *hv)
{
	struct kv_hv *kv = hv->own;

	store_each(kv->snapshots, load_one, hv);
}
