/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Back to a snapshot: images are set back to what is inside of them; where the snapshot is an image of its own, a new overlay
 * stands on it, so that it stays what it is and any number of branches may begin there. Then the definition is the snapshot's,
 * and the machine starts with its memory, or anew, or not. What the machine has done since is lost, as with libvirt. See
 * snapshot.h.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "snapshot.h"

enum { REVERT_RUNNING = 1, REVERT_PAUSED = 2, REVERT_FORCE = 4, REVERT_RESET_NVRAM = 8 };

/* ---- checks ---- */

static bool was_active(const xmlDoc *doc)
{
	const xmlNode *root = xmlDocGetRootElement((xmlDoc *)doc);

	return xml_is(root, "state", "running") || xml_is(root, "state", "paused");
}

static bool check_risks(const struct domain *d, const xmlDoc *doc, unsigned flags, GError **error)
{
	bool start = flags & (REVERT_RUNNING | REVERT_PAUSED);

	if (!d->persistent && !was_active(doc) && !start)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID,
				"transient domain needs to request run or pause to revert to inactive snapshot");
	if (!xml_child(xmlDocGetRootElement((xmlDoc *)doc), "domain"))
		return rpc_fail(error, VIR_ERR_SNAPSHOT_REVERT_RISKY, "snapshot '%s' lacks domain '%s' rollback info",
				kv_snapshot_name(doc), d->name);
	if (flags & REVERT_FORCE)
		return true;
	if (domain_is_active(d) && !was_active(doc) && start)
		return rpc_fail(error, VIR_ERR_SNAPSHOT_REVERT_RISKY, "must respawn guest to start inactive snapshot");
	return !d->has_managed_save || was_active(doc) ||
	       rpc_fail(error, VIR_ERR_SNAPSHOT_REVERT_RISKY,
			"snapshot without memory state, removal of existing managed saved state strongly recommended to avoid "
			"corruption");
}

static bool check_internal(struct domain *d, const xmlDoc *doc, const GPtrArray *chains, GError **error)
{
	xmlNode *part;

	for (unsigned n = 0; (part = kv_part(doc, "internal", n)); n++) {
		const char *file = kv_disk_file(kv_part_disk(doc, part)), *name = kv_snapshot_name(doc);
		g_autoptr(GPtrArray) chain = file ? kv_img_chain(file, "qcow2", error) : NULL;
		g_autoptr(GPtrArray) standing = chain ? kv_standing_on(chains, file) : NULL;

		if (!chain)
			return false;
		if (!kv_layer_has(chain->pdata[0], name))
			return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "disk '%s': there is no snapshot '%s' in '%s'",
					xml_text(part, "@name"), name, file);
		if (standing->len)
			return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED,
					"disk '%s': '%s' stands on '%s', which would change; delete the external snapshot first",
					xml_text(part, "@name"), ((struct kv_layer *)standing->pdata[0])->file, file);
	}
	return true;
}

static bool check_files(struct domain *d, const xmlDoc *doc, GError **error)
{
	g_autoptr(GPtrArray) chains = kv_chains(d, NULL, error);
	const char *memory = kv_snapshot_memory(doc);
	xmlNode *part;

	if (!chains || !check_internal(d, doc, chains, error))
		return false;
	for (unsigned n = 0; (part = kv_part(doc, "external", n)); n++) {
		const xmlNode *disk = kv_part_disk(doc, part);
		g_autoptr(GPtrArray) chain = NULL;

		if (!disk || !kv_disk_file(disk))
			return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "failed to find disk '%s' in snapshot VM XML",
					xml_text(part, "@name"));
		chain = kv_img_chain(kv_disk_file(disk), xml_text(disk, "driver/@type"), error);
		if (!chain)
			return false;
	}
	return !memory || !was_active(doc) || access(memory, R_OK) == 0 ||
	       rpc_fail(error, VIR_ERR_OPERATION_FAILED, "Failed to open file '%s': %s", memory, g_strerror(errno));
}

/* ---- new overlays ---- */

/* Beside the image, named after the time. NULL: nothing can be there. */
static char *new_file(const char *base, GError **error)
{
	const char *name = strrchr(base, '/'), *dot = name ? strrchr(name, '.') : NULL;
	int len = dot ? (int)(dot - base) : (int)strlen(base);
	gint64 now = g_get_real_time() / G_USEC_PER_SEC;

	for (;; now++) {
		g_autofree char *file = g_strdup_printf("%.*s.%" G_GINT64_FORMAT, len, base, now);
		struct stat st;

		if (lstat(file, &st) == 0)
			continue;
		if (errno == ENOENT)
			return g_steal_pointer(&file);
		rpc_fail(error, VIR_ERR_OPERATION_FAILED, "cannot make an overlay '%s': %s", file, g_strerror(errno));
		return NULL;
	}
}

/* <revertDisks> of the plan: what stands on what. */
static bool plan_overlays(xmlDoc *plan, GError **error)
{
	xmlNode *root = xmlDocGetRootElement(plan), *list, *part;

	xml_set(root, "revertDisks", NULL);
	if (!kv_part(plan, "external", 0))
		return true;
	list = xml_add(root, "revertDisks");
	for (unsigned n = 0; (part = kv_part(plan, "external", n)); n++) {
		g_autofree char *file = new_file(kv_disk_file(kv_part_disk(plan, part)), error);
		xmlNode *disk;

		if (!file)
			return false;
		disk = xml_add(list, "disk");
		xml_set(disk, "@name", xml_text(part, "@name"));
		kv_disk_set_file(disk, file, "qcow2");
	}
	return true;
}

static xmlNode *overlay_of(const xmlDoc *plan, unsigned n)
{
	return xml_nth(xml_child(xmlDocGetRootElement((xmlDoc *)plan), "revertDisks"), "disk", n);
}

static bool make_overlays(struct domain *d, const xmlDoc *plan, GError **error)
{
	xmlNode *overlay;

	for (unsigned n = 0; (overlay = overlay_of(plan, n)); n++) {
		const xmlNode *disk = kv_part_disk(plan, overlay);
		const char *file = kv_disk_file(overlay);

		unlink(file);
		if (!kv_img(error, "create", "-q", "-f", "qcow2", "-b", kv_disk_file(disk), "-F",
			    xml_text(disk, "driver/@type") ?: "raw", file, NULL))
			return false;
		g_hash_table_add(snapshots_made(d->snapshots), kv_canonical(file));
	}
	return true;
}

/* The snapshot's definition, or its stored one, on the new overlays. */
static struct domain_def *definition(struct domain *d, const xmlDoc *plan, const char *which, GError **error)
{
	g_autoptr(xmlDoc) copy = xmlCopyDoc((xmlDoc *)plan, 1);
	xmlNode *root = xmlDocGetRootElement(copy), *domain = xml_child(root, which), *overlay;
	g_autofree char *xml = NULL;

	if (!domain)
		domain = xml_child(root, "domain");
	for (unsigned n = 0; (overlay = overlay_of(plan, n)); n++) {
		xmlNode *disk = kv_disk_in(domain, xml_text(overlay, "@name"));
		const char *file = disk ? kv_disk_file(disk) : NULL;

		if (file && !g_strcmp0(file, kv_disk_file(kv_part_disk(plan, overlay))))
			kv_disk_set_file(disk, kv_disk_file(overlay), "qcow2");
	}
	xmlNodeSetName(domain, BAD_CAST "domain");
	xml = model_xml_format(domain);
	return domain_def_parse(xml, -1, d->hv->driver->def_flags, error);
}

/* ---- what is done, again if need be ---- */

static bool set_definition(struct domain *d, const xmlDoc *plan, GError **error)
{
	struct domain_def *def = definition(d, plan, "inactiveDomain", error);

	if (!def)
		return false;
	domain_def_free(d->def);
	d->def = def;
	return !d->persistent || domain_store(d, error);
}

static GPtrArray *tops_of(struct domain *d)
{
	GPtrArray *tops = g_ptr_array_new_with_free_func(g_free);
	xmlNode *disk;

	for (unsigned n = 0; d->def && (disk = domain_def_device(d->def, "disk", n)); n++)
		if (kv_disk_file(disk))
			g_ptr_array_add(tops, kv_canonical(kv_disk_file(disk)));
	return tops;
}

bool kv_snapshot_apply(struct domain *d, xmlDoc *doc, GError **error)
{
	struct snapshot *s = snapshots_find(d->snapshots, kv_snapshot_name(doc));
	g_autoptr(GPtrArray) tops = NULL;
	xmlNode *part;

	if (!domain_stored_def(d, error))
		return false;
	tops = tops_of(d);
	for (unsigned n = 0; (part = kv_part(doc, "internal", n)); n++)
		if (!kv_img(error, "snapshot", "-a", kv_snapshot_name(doc), kv_disk_file(kv_part_disk(doc, part)), NULL))
			return false;
	if (!make_overlays(d, doc, error) || !set_definition(d, doc, error))
		return false;
	if (s)
		snapshots_set_current(d->snapshots, s);
	if (!kv_snapshot_note(d, NULL, NULL, error))
		return false;
	kv_files_collect(d, tops);
	return true;
}

/* ---- the machine ---- */

void kv_end_for_snapshot(struct domain *d)
{
	struct kv_machine *m = d->own;
	bool persistent = d->persistent;

	if (!m)
		return;
	kv_machine_ref(m);
	m->ending = true;
	kv_kill(m, false);
	if (!m->gone) {
		m->gone = true;
		d->own = NULL;
		if (!persistent && !d->def)
			d->def = domain_def_copy(d->live);
		d->persistent = true; /* it comes again */
		domain_stopped(d, SHUTOFF_FROM_SNAPSHOT, STOPPED_FROM_SNAPSHOT);
		d->persistent = persistent;
		kv_process_clean_up(m);
		kv_machine_unref(m);
	}
	g_cond_broadcast(&m->changed);
	kv_machine_unref(m);
}

static bool start_again(struct domain *d, const xmlDoc *plan, unsigned flags, GError **error)
{
	bool active = was_active(plan), paused = xml_is(xmlDocGetRootElement((xmlDoc *)plan), "state", "paused");
	struct kv_origin origin = {.snapshot = true, .memory = active ? kv_snapshot_memory(plan) : NULL};
	unsigned start = flags & REVERT_RESET_NVRAM ? START_RESET_NVRAM : 0;

	if (!active && !(flags & (REVERT_RUNNING | REVERT_PAUSED)))
		return true;
	if (flags & REVERT_PAUSED || (paused && !(flags & REVERT_RUNNING)))
		start |= START_PAUSED;
	d->live = definition(d, plan, "domain", error);
	if (d->live && kv_start_from(d, start, &origin, error))
		return true;
	g_clear_pointer(&d->live, domain_def_free);
	return false;
}

bool kv_snapshot_revert(struct domain *d, xmlDoc *doc, unsigned flags, GError **error)
{
	g_autoptr(xmlDoc) plan = NULL;
	bool ok;

	if (xml_is(xmlDocGetRootElement(doc), "state", "pmsuspended"))
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED,
				"qemu doesn't support reversion of snapshot taken in PMSUSPENDED state");
	if (kv_snapshot_is_pending(d, "delete", kv_snapshot_name(doc)))
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED,
				"snapshot disk '%s' was target of not completed snapshot delete", kv_snapshot_name(doc));
	if (!kv_snapshot_settle(d, error) || !check_risks(d, doc, flags, error) || !check_files(d, doc, error))
		return false;
	plan = xmlCopyDoc(doc, 1);
	if (!plan_overlays(plan, error) || !kv_snapshot_note(d, "revert", plan, error))
		return false;
	kv_end_for_snapshot(d);
	ok = kv_snapshot_apply(d, plan, error);
	if (ok && d->persistent)
		domain_event_lifecycle(d, LIFE_DEFINED, DEFINED_FROM_SNAPSHOT);
	ok = ok && start_again(d, plan, flags, error);
	if (!ok && !d->persistent && !domain_is_active(d))
		domain_forget(d);
	return ok;
}
