/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * After a crash: what was under way is finished, or taken back, so that the tree says what is in the files. A creation that has
 * all it wanted becomes a snapshot; a return whose machine was ended is done; a deletion is done again. See snapshot.h.
 */
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "snapshot.h"

bool kv_snapshot_is_pending(const struct domain *d, const char *what, const char *name)
{
	xmlDoc *doc = NULL;
	const char *pending = snapshots_pending(d->snapshots, &doc);

	return pending && !strcmp(pending, what) && (!name || !g_strcmp0(kv_snapshot_name(doc), name));
}

/* ---- a creation ---- */

static bool has_disks(struct domain *d, const xmlDoc *doc)
{
	g_autoptr(GPtrArray) chains = NULL;
	xmlNode *part;

	for (unsigned n = 0; (part = kv_part(doc, "internal", n)); n++) {
		const char *file = kv_disk_file(kv_part_disk(doc, part));
		g_autoptr(GPtrArray) chain = file ? kv_img_chain(file, "qcow2", NULL) : NULL;

		if (!chain || !kv_layer_has(chain->pdata[0], kv_snapshot_name(doc)))
			return false;
	}
	/* A machine says which it has; else they are complete when there are all of them, and nothing was written to them. */
	for (unsigned n = 0; (part = kv_part(doc, "external", n)); n++) {
		const char *file = kv_disk_file(part);
		const xmlNode *live = d->live ? kv_disk_in(domain_def_root(d->live), xml_text(part, "@name")) : NULL;
		g_autoptr(GPtrArray) chain = kv_img_chain(file, "qcow2", NULL);

		if (!chain || chain->len < 2 || (live && g_strcmp0(kv_disk_file(live), file)))
			return false;
	}
	return true;
}

static bool has_memory(const xmlDoc *doc)
{
	const char *file = kv_snapshot_memory(doc);

	return !file || access(file, R_OK) == 0; /* it has its name when it is whole */
}

/* A machine that was paused for it goes on. */
static bool calm_down(struct kv_machine *m, const xmlDoc *doc, GError **error)
{
	if (!kv_snapshot_memory(doc))
		return kv_learn_chains(m, error);
	kv_memory_cancel(m);
	if (m->d->state == DOMAIN_PAUSED && m->d->reason == PAUSED_SNAPSHOT &&
	    xml_is(xmlDocGetRootElement((xmlDoc *)doc), "state", "running") && !kv_do(m, "cont", NULL, error))
		return false;
	return kv_learn_chains(m, error);
}

static bool settle_create(struct domain *d, xmlDoc *doc, GError **error)
{
	const char *name = kv_snapshot_name(doc);
	unsigned flags = kv_snapshot_flags(doc);
	struct snapshot *s;

	if (d->own && !calm_down(d->own, doc, error))
		return false;
	if (snapshots_find(d->snapshots, name) || !has_disks(d, doc) || !has_memory(doc)) {
		kv_log_warn("domain '%s': the snapshot '%s' was not complete; it is taken back", d->name, name);
		return kv_snapshot_take_back(d, doc, error);
	}
	if (!kv_snapshot_use_overlays(d, doc, error))
		return false;
	kv_log_warn("domain '%s': the snapshot '%s' was complete; it is kept", d->name, name);
	if (!(flags & (SNAPSHOT_NO_METADATA | SNAPSHOT_REUSE_EXT)))
		kv_snapshot_remember_files(d, doc);
	if (!(flags & SNAPSHOT_NO_METADATA)) {
		xml_set(xmlDocGetRootElement(doc), "@flags", NULL);
		s = snapshots_add(d->snapshots, name, xmlCopyDoc(doc, 1), snapshots_current(d->snapshots));
		snapshots_set_current(d->snapshots, s);
	}
	return kv_snapshot_note(d, NULL, NULL, error);
}

/* ---- the others ---- */

/* While its old machine lives nothing has happened yet. */
static bool settle_revert(struct domain *d, xmlDoc *doc, GError **error)
{
	return d->own ? kv_snapshot_note(d, NULL, NULL, error) : kv_snapshot_apply(d, doc, error);
}

static bool settle_delete(struct domain *d, xmlDoc *doc, GError **error)
{
	struct snapshot *s = snapshots_find(d->snapshots, kv_snapshot_name(doc)), *parent = s ? s->parent : NULL;
	bool was_current = s && snapshots_current(d->snapshots) == s;

	if (d->own && !kv_learn_chains(d->own, error))
		return false;
	if (!kv_snapshot_merge(d, s ? s->doc : doc, error)) /* the tree's: files are known by it */
		return false;
	if (s)
		snapshots_remove(s);
	if (was_current)
		snapshots_set_current(d->snapshots, parent);
	return kv_snapshot_note(d, NULL, NULL, error);
}

static const struct {
	const char *what;
	bool (*func)(struct domain *d, xmlDoc *doc, GError **error);
} rows[] = {{"create", settle_create}, {"revert", settle_revert}, {"delete", settle_delete}};

bool kv_snapshot_settle(struct domain *d, GError **error)
{
	xmlDoc *doc = NULL;
	const char *what = snapshots_pending(d->snapshots, &doc);
	g_autoptr(xmlDoc) copy = NULL;

	if (!what)
		return true;
	copy = xmlCopyDoc(doc, 1); /* the pending one goes away when it is done */
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		if (!strcmp(rows[i].what, what))
			return rows[i].func(d, copy, error);
	return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "a snapshot's '%s' was under way, which nobody knows", what);
}
