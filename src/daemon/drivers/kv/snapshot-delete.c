/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots are deleted. An internal one goes out of its images. An external one's image becomes one with the overlay that stands
 * on it: the overlay is committed into it, by a job of the running machine or by kv-img, and whoever had the overlay has it
 * instead. An image that several stand on stays for them. Everything may be done again after a crash: what is done is seen in
 * images and definitions. See snapshot.h.
 */
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "snapshot.h"

#define JOB "snapshot-delete"

enum { POLL_MS = 20 };

/* ---- a running machine's job ---- */

static JsonObject *find_job(JsonNode *answer)
{
	JsonArray *list = kv_array(answer);

	for (guint i = 0; list && i < json_array_get_length(list); i++) {
		JsonObject *o = kv_object(json_array_get_element(list, i));

		if (!g_strcmp0(kv_text_in(o, "id"), JOB))
			return o;
	}
	return NULL;
}

/* Until it is ready (pivots then), and until it is over. */
static bool wait_job(struct kv_machine *m, const char *target, GError **error)
{
	bool pivoted = false;

	for (;;) {
		g_autoptr(JsonNode) answer = kv_ask(m, "query-jobs", NULL, error);
		JsonObject *job = find_job(answer);
		const char *status = kv_text_in(job, "status"), *why = kv_text_in(job, "error");

		if (!answer)
			return false;
		if (!status)
			return rpc_fail(error, VIR_ERR_OPERATION_FAILED,
					"finishing block job failed while deleting disk '%s' snapshot: "
					"'it is not there'",
					target);
		if (!strcmp(status, "concluded")) {
			bool ok = !why || rpc_fail(error, VIR_ERR_OPERATION_FAILED,
						   "block commit failed while deleting disk '%s' snapshot: '%s'", target, why);

			return kv_do(m, "job-dismiss", kv_args("id", JOB, NULL), ok ? error : NULL) && ok;
		}
		if (!strcmp(status, "ready") && !pivoted) {
			if (!kv_do(m, "job-complete", kv_args("id", JOB, NULL), error))
				return false;
			pivoted = true;
		}
		state_wait(&m->changed, g_get_monotonic_time() + POLL_MS * G_TIME_SPAN_MILLISECOND);
	}
}

bool kv_commit_live(struct kv_machine *m, const char *target, const char *top, const char *base, GError **error)
{
	const xmlNode *disk = m->d->live ? kv_disk_in(domain_def_root(m->d->live), target) : NULL;
	JsonObject *args;
	bool ok;

	if (!disk)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "failed to find disk '%s' in snapshot VM XML", target);
	args = kv_args("job-id", JOB, "device", xml_text(disk, "alias/@name"), "top", top, "base", base, NULL);
	json_object_set_boolean_member(args, "auto-dismiss", FALSE);
	kv_machine_ref(m);
	ok = kv_do(m, "block-commit", args, error) && wait_job(m, target, error);
	kv_machine_unref(m);
	return ok;
}

/* One that a daemon before us has begun ends, whichever way. */
static void end_old_job(struct kv_machine *m)
{
	for (;;) {
		g_autoptr(JsonNode) answer = kv_ask(m, "query-jobs", NULL, NULL);
		const char *status = kv_text_in(find_job(answer), "status");

		if (!status)
			return;
		if (!strcmp(status, "concluded"))
			kv_do(m, "job-dismiss", kv_args("id", JOB, NULL), NULL);
		else if (strcmp(status, "aborting") && strcmp(status, "pending"))
			kv_do(m, "job-cancel", kv_args("id", JOB, NULL), NULL);
		state_wait(&m->changed, g_get_monotonic_time() + POLL_MS * G_TIME_SPAN_MILLISECOND);
	}
}

/* ---- an image and what stands on it ---- */

struct merge {
	const char *target, *base, *base_format; /* the snapshot's image */
	char *top, *top_format;			 /* the only one that stands on it; NULL: there is nothing to merge */
	GPtrArray *above;			 /* files that stand on top and that no machine has open */
	bool live;
};

static void merge_clear(struct merge *g)
{
	g_free(g->top);
	g_free(g->top_format);
	if (g->above)
		g_ptr_array_unref(g->above);
}

/* A chain that the running machine has open. */
static bool is_open(struct domain *d, const char *file)
{
	g_autoptr(GPtrArray) one = g_ptr_array_new_with_free_func((GDestroyNotify)g_ptr_array_unref);
	xmlNode *disk;

	for (unsigned n = 0; d->live && (disk = domain_def_device(d->live, "disk", n)); n++) {
		const char *top = kv_disk_file(disk);
		GPtrArray *chain = top ? kv_img_chain(top, xml_text(disk, "driver/@type"), NULL) : NULL;

		if (chain)
			g_ptr_array_add(one, chain);
	}
	return kv_in_chains(one, file);
}

static bool plan(struct domain *d, const xmlDoc *doc, const xmlNode *part, struct merge *ret, GError **error)
{
	const xmlNode *disk = kv_part_disk(doc, part);
	g_autoptr(GPtrArray) chains = kv_chains(d, doc, error), standing = NULL, above = NULL;
	const struct kv_layer *top;

	*ret = (struct merge){xml_text(part, "@name"), kv_disk_file(disk), xml_text(disk, "driver/@type") ?: "raw"};
	if (!chains)
		return false;
	if (!ret->base)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "failed to find disk '%s' in snapshot VM XML", ret->target);
	standing = kv_standing_on(chains, ret->base);
	if (kv_file_is_named(d, doc, ret->base) || standing->len != 1)
		return true;
	top = standing->pdata[0];
	if (*top->snapshots)
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
				"deletion of external and internal children disk snapshots not supported");
	ret->top = g_strdup(top->file);
	ret->top_format = g_strdup(top->format);
	ret->live = is_open(d, top->file);
	ret->above = g_ptr_array_new_with_free_func(g_free);
	above = kv_standing_on(chains, top->file);
	for (unsigned i = 0; i < above->len; i++)
		if (!is_open(d, ((struct kv_layer *)above->pdata[i])->file))
			g_ptr_array_add(ret->above, g_strdup(((struct kv_layer *)above->pdata[i])->file));
	return true;
}

static bool run_merge(struct domain *d, const struct merge *g, GError **error)
{
	struct kv_machine *m = g->live ? kv_machine_of(d, error) : NULL;

	if (g->live && (!m || !kv_commit_live(m, g->target, g->top, g->base, error)))
		return false;
	if (!g->live && !kv_img(error, "commit", "-q", "-f", g->top_format, "-b", g->base, g->top, NULL))
		return false;
	for (unsigned i = 0; i < g->above->len; i++)
		if (!kv_img(error, "rebase", "-q", "-u", "-b", g->base, "-F", g->base_format, g->above->pdata[i], NULL))
			return false;
	kv_files_replace(d, g->top, g->base, g->base_format);
	if (m && !kv_learn_chains(m, error))
		return false;
	if (d->live)
		kv_store_status(d);
	return (!d->persistent || domain_store(d, error)) && kv_store_snapshots(d, error);
}

/* ---- an internal one ---- */

static bool drop_internal(struct domain *d, const xmlDoc *doc, const xmlNode *part, GError **error)
{
	const char *name = kv_snapshot_name(doc), *target = xml_text(part, "@name"),
		   *file = kv_disk_file(kv_part_disk(doc, part));
	const xmlNode *live = d->live ? kv_disk_in(domain_def_root(d->live), target) : NULL;
	g_autoptr(GPtrArray) chain = file ? kv_img_chain(file, "qcow2", error) : NULL;

	if (!chain)
		return false;
	if (!kv_layer_has(chain->pdata[0], name)) {
		kv_log_warn("skipping snapshot action on %s: '%s' has no snapshot '%s'", target, file, name);
		return true;
	}
	if (live && !g_strcmp0(kv_disk_file(live), file)) {
		struct kv_machine *m = kv_machine_of(d, error);

		return m && kv_do(m, "blockdev-snapshot-delete-internal-sync",
				  kv_args("device", xml_text(live, "alias/@name"), "name", name, NULL), error);
	}
	if (is_open(d, file))
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED,
				"disk image '%s' for internal snapshot '%s' is not the same as disk image currently used by VM",
				file, name);
	return kv_img(error, "snapshot", "-d", name, file, NULL);
}

/* ---- all of it ---- */

static bool check(struct domain *d, const xmlDoc *doc, GError **error)
{
	xmlNode *part;

	for (unsigned n = 0; (part = kv_part(doc, "external", n)); n++) {
		__attribute__((cleanup(merge_clear))) struct merge g = {};

		if (!plan(d, doc, part, &g, error))
			return false;
	}
	return true;
}

/* What may be left over: the overlays that were merged, and what only this snapshot needed. */
static GPtrArray *candidates_of(struct domain *d, const xmlDoc *doc, GError **error)
{
	g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(g_free), chains = NULL;
	xmlNode *part;

	for (unsigned n = 0; (part = kv_part(doc, "external", n)); n++) {
		g_autoptr(GPtrArray) standing = NULL;
		const char *base = kv_disk_file(kv_part_disk(doc, part));

		if (!chains && !(chains = kv_chains(d, doc, error)))
			return NULL;
		standing = base ? kv_standing_on(chains, base) : g_ptr_array_new();
		for (unsigned i = 0; i < standing->len; i++)
			g_ptr_array_add(found, g_strdup(((struct kv_layer *)standing->pdata[i])->file));
		g_ptr_array_add(found, kv_canonical(kv_disk_file(part)));
		if (base)
			g_ptr_array_add(found, kv_canonical(base));
	}
	return g_steal_pointer(&found);
}

/* A base that nobody else has is the snapshot's own as long as that is in the tree. */
static void collect(struct domain *d, const xmlDoc *doc, const GPtrArray *candidates)
{
	struct snapshot *s = snapshots_find(d->snapshots, kv_snapshot_name(doc));
	xmlDoc *whole = s ? s->doc : NULL;

	if (s)
		s->doc = xmlNewDoc(BAD_CAST "1.0"),
		xmlDocSetRootElement(s->doc, xmlNewDocNode(s->doc, NULL, BAD_CAST "gone", NULL));
	kv_files_collect(d, candidates);
	if (s) {
		xmlFreeDoc(s->doc);
		s->doc = whole;
	}
}

static void forget_file(struct domain *d, const char *file)
{
	g_autofree char *real = kv_canonical(file);

	g_hash_table_remove(snapshots_made(d->snapshots), real);
}

bool kv_snapshot_merge(struct domain *d, const xmlDoc *doc, GError **error)
{
	g_autoptr(GPtrArray) candidates = candidates_of(d, doc, error);
	xmlNode *part;

	if (!candidates)
		return false;
	if (d->own)
		end_old_job(d->own);
	for (unsigned n = 0; (part = kv_part(doc, "internal", n)); n++)
		if (!drop_internal(d, doc, part, error))
			return false;
	for (unsigned n = 0; (part = kv_part(doc, "external", n)); n++) {
		__attribute__((cleanup(merge_clear))) struct merge g = {};

		if (!plan(d, doc, part, &g, error) || (g.top && !run_merge(d, &g, error)))
			return false;
	}
	if (kv_snapshot_memory(doc))
		forget_file(d, kv_snapshot_memory(doc));
	if (kv_snapshot_memory(doc) && unlink(kv_snapshot_memory(doc)) < 0 && errno != ENOENT)
		return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "failed to remove memory file '%s': %s", kv_snapshot_memory(doc),
				g_strerror(errno));
	collect(d, doc, candidates);
	return true;
}

bool kv_snapshot_delete(struct domain *d, xmlDoc *doc, unsigned flags, GError **error)
{
	if ((!kv_snapshot_is_pending(d, "delete", kv_snapshot_name(doc)) && !kv_snapshot_settle(d, error)) ||
	    !check(d, doc, error) || !kv_snapshot_note(d, "delete", doc, error) || !kv_snapshot_merge(d, doc, error))
		return false;
	snapshots_set_pending(d->snapshots, NULL, NULL);
	return true;
}
