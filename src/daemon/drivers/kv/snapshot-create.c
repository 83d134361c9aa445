/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots are made: what goes together is checked in libvirt's words before anything changes; of a running machine all disks
 * are one transaction, with the memory of the same moment. What fails is taken back. See snapshot.h.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "snapshot.h"

enum { END_SECONDS = 20, POLL_MS = 20, DEFAULT_TIMEOUT = -1 /* VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_DEFAULT */ };

/* ---- checks ---- */

struct counts {
	unsigned internal, external;
	bool left_out; /* a disk that is written to */
};

static bool check_internal(const xmlNode *disk, const char *target, bool disk_only, bool active, GError **error)
{
	const char *format = xml_text(disk, "driver/@type");

	if (disk_only && active)
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
				"active qemu domains require external disk snapshots; disk %s requested internal", target);
	if (!xml_is(disk, "@type", "file") && !xml_is(disk, "@type", "block"))
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "internal inactive snapshots are not supported on '%s' disks",
				xml_text(disk, "@type"));
	return !g_strcmp0(format, "qcow2") ||
	       rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "internal snapshot for disk %s unsupported for storage type %s",
			target, format ? format : "raw");
}

static bool check_target(const xmlNode *part, const char *target, unsigned flags, GError **error)
{
	const char *file = kv_disk_file(part), *format = xml_text(part, "driver/@type");
	struct stat st;

	if (g_strcmp0(format, "qcow2"))
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "external snapshot format for disk %s is unsupported: %s",
				target, format ? format : "none");
	if (!file || *file != '/')
		return rpc_fail(error, VIR_ERR_XML_ERROR, "disk snapshot image path '%s' must be absolute", file ? file : "");
	if (stat(file, &st) < 0) {
		if (errno == ENOENT && !(flags & SNAPSHOT_REUSE_EXT))
			return true;
		return rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "%s for disk %s: %s: %s",
				flags & SNAPSHOT_REUSE_EXT ? "missing existing file" : "unable to stat", target, file,
				g_strerror(errno));
	}
	if (!(flags & SNAPSHOT_REUSE_EXT) && (!S_ISREG(st.st_mode) || st.st_size))
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
				"external snapshot file for disk %s already exists and is not a block device: %s", target, file);
	return true;
}

static bool check_external(const xmlDoc *doc, const xmlNode *part, const xmlNode *disk, unsigned flags, GError **error)
{
	const char *target = xml_text(part, "@name"), *file = kv_disk_file(part);
	xmlNode *disks = xml_child(xmlDocGetRootElement((xmlDoc *)doc), "disks"), *other;

	if (xml_is(disk, "@type", "network"))
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "external active snapshots are not supported on '%s' disks",
				"network");
	if (xml_child(disk, "transient"))
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "disk '%s' is transient: nothing of it is kept", target);
	for (unsigned n = 0; (other = xml_nth(disks, "disk", n)); n++)
		if (other != part && file && !g_strcmp0(kv_disk_file(other), file))
			return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
					"cannot generate external snapshot name for disk '%s': collision with disk '%s'", target,
					xml_text(other, "@name"));
	return check_target(part, target, flags, error);
}

static bool check_disks(const xmlDoc *doc, bool active, unsigned flags, struct counts *ret, GError **error)
{
	xmlNode *disks = xml_child(xmlDocGetRootElement((xmlDoc *)doc), "disks"), *part;

	for (unsigned n = 0; (part = xml_nth(disks, "disk", n)); n++) {
		const xmlNode *disk = kv_part_disk(doc, part);
		bool external = xml_is(part, "@snapshot", "external");

		if (xml_is(part, "@snapshot", "no")) {
			ret->left_out |= kv_disk_file(disk) && !xml_child(disk, "readonly") && !xml_is(disk, "@device", "cdrom");
			continue;
		}
		*(external ? &ret->external : &ret->internal) += 1;
		if (external ? !check_external(doc, part, disk, flags, error)
			     : !check_internal(disk, xml_text(part, "@name"), flags & SNAPSHOT_DISK_ONLY, active, error))
			return false;
	}
	return true;
}

static bool check(struct domain *d, const xmlDoc *doc, unsigned flags, GError **error)
{
	const xmlNode *root = xmlDocGetRootElement((xmlDoc *)doc);
	bool active = domain_is_active(d), external_memory = xml_is(root, "memory/@snapshot", "external");
	bool internal_memory = xml_is(root, "memory/@snapshot", "internal");
	struct counts n = {};

	if (flags & SNAPSHOT_LIVE && !external_memory)
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED,
				"live snapshot creation is supported only during full system snapshots");
	if (d->state == DOMAIN_PMSUSPENDED)
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED,
				"qemu doesn't support taking snapshots of PMSUSPENDED guests");
	if (active && !(flags & SNAPSHOT_DISK_ONLY) && !external_memory && !internal_memory)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID,
				"internal snapshot of a running VM must include the memory state");
	if (!check_disks(doc, active, flags, &n, error))
		return false;
	if (!n.internal && !n.external && !external_memory && !internal_memory)
		return active && flags & SNAPSHOT_DISK_ONLY
			       ? rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
					  "disk-only snapshots require at least one disk to be selected for snapshot")
			       : rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "nothing selected for snapshot");
	if ((n.internal || internal_memory || external_memory) && n.left_out)
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
				"internal and full system snapshots require all disks to be selected for snapshot");
	if ((n.internal && n.external) || (internal_memory && n.external) || (external_memory && n.internal))
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
				"mixing internal and external targets for a snapshot is not yet supported");
	return true;
}

/* ---- disks of one that is off ---- */

static bool make_overlay(const xmlDoc *doc, const xmlNode *part, GError **error)
{
	const xmlNode *disk = kv_part_disk(doc, part);

	return kv_img(error, "create", "-q", "-f", "qcow2", "-b", kv_disk_file(disk), "-F",
		      xml_text(disk, "driver/@type") ?: "raw", kv_disk_file(part), NULL);
}

static bool take_disks(const xmlDoc *doc, unsigned flags, GError **error)
{
	xmlNode *part;

	for (unsigned n = 0; (part = kv_part(doc, "internal", n)); n++)
		if (!kv_img(error, "snapshot", "-c", kv_snapshot_name(doc), kv_disk_file(kv_part_disk(doc, part)), NULL))
			return false;
	for (unsigned n = 0; !(flags & SNAPSHOT_REUSE_EXT) && (part = kv_part(doc, "external", n)); n++)
		if (!make_overlay(doc, part, error))
			return false;
	return true;
}

/* ---- disks of one that runs ---- */

static JsonObject *action(const char *type, JsonObject *data)
{
	JsonObject *o = kv_args("type", type, NULL);

	json_object_set_object_member(o, "data", data);
	return o;
}

static bool transact(struct kv_machine *m, const xmlDoc *doc, unsigned flags, GError **error)
{
	JsonArray *actions = json_array_new();
	JsonObject *args = json_object_new();
	xmlNode *part;

	for (unsigned n = 0; (part = kv_part(doc, "internal", n)); n++) {
		const xmlNode *disk = kv_disk_in(domain_def_root(m->d->live), xml_text(part, "@name"));

		json_array_add_object_element(
			actions, action("blockdev-snapshot-internal-sync",
					kv_args("device", xml_text(disk, "alias/@name"), "name", kv_snapshot_name(doc), NULL)));
	}
	for (unsigned n = 0; (part = kv_part(doc, "external", n)); n++) {
		const xmlNode *disk = kv_disk_in(domain_def_root(m->d->live), xml_text(part, "@name"));

		json_array_add_object_element(actions,
					      action("blockdev-snapshot-sync",
						     kv_args("device", xml_text(disk, "alias/@name"), "snapshot-file",
							     kv_disk_file(part), "format", xml_text(part, "driver/@type"), "mode",
							     flags & SNAPSHOT_REUSE_EXT ? "existing" : "absolute-paths", NULL)));
	}
	if (!json_array_get_length(actions)) {
		json_array_unref(actions);
		json_object_unref(args);
		return true;
	}
	json_object_set_array_member(args, "actions", actions);
	return kv_do(m, "transaction", args, error);
}

static bool ask_agent(struct domain *d, const char *command, GError **error)
{
	g_autofree char *line = g_strdup_printf("{\"execute\":\"%s\"}", command), *answer = NULL;

	if (!d->hv->driver->agent)
		return rpc_fail(error, VIR_ERR_ARGUMENT_UNSUPPORTED, "QEMU guest agent is not configured");
	answer = d->hv->driver->agent(d, line, DEFAULT_TIMEOUT, error);
	return answer;
}

static bool take_disks_live(struct kv_machine *m, const xmlDoc *doc, unsigned flags, GError **error)
{
	bool quiesce = flags & SNAPSHOT_QUIESCE, ok;

	if (quiesce && !ask_agent(m->d, "guest-fsfreeze-freeze", error)) {
		ask_agent(m->d, "guest-fsfreeze-thaw", NULL); /* some file systems may be frozen */
		return false;
	}
	ok = transact(m, doc, flags, error);
	if (quiesce)
		ok = ask_agent(m->d, "guest-fsfreeze-thaw", ok ? error : NULL) && ok;
	return ok;
}

/* ---- memory ---- */

static bool sync_path(const char *path, GError **error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool ok = fd >= 0 && fsync(fd) == 0;

	if (!ok)
		rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "cannot make '%s' durable: %s", path, g_strerror(errno));
	if (fd >= 0)
		close(fd);
	return ok;
}

/* (waits) As long as the disk takes for a guest's memory. */
static bool make_durable(const char *path, GError **error)
{
	g_autofree char *file = g_strdup(path), *dir = g_path_get_dirname(file);
	bool ok;

	state_release();
	ok = sync_path(file, error) && sync_path(dir, error);
	state_acquire();
	return ok;
}

/*
 * At one moment: paused, the state is taken, then the disks, then it runs. Overlays cannot be taken back, so that memory is
 * written first when it may stand still (without LIVE).
 */
static bool take_moment(struct kv_machine *m, const xmlDoc *doc, unsigned flags, bool resume, GError **error)
{
	bool wait_first = kv_part(doc, "external", 0) && !(flags & SNAPSHOT_LIVE);

	if (!kv_migration_wait(m, KV_JOB_SNAPSHOT, !wait_first, error) || !take_disks_live(m, doc, flags, error))
		return false;
	if (resume && !kv_do(m, "cont", NULL, error))
		return false;
	return kv_migration_wait(m, KV_JOB_SNAPSHOT, false, error);
}

static bool take_with_memory(struct kv_machine *m, const xmlDoc *doc, unsigned flags, GError **error)
{
	bool ran = m->d->state == DOMAIN_RUNNING, ok;
	const char *file = kv_snapshot_memory(doc);

	m->pause_reason = PAUSED_SNAPSHOT;
	if (ran && !kv_do(m, "stop", NULL, error))
		return false;
	kv_machine_ref(m);
	ok = kv_memory_begin(m, file, error) && take_moment(m, doc, flags, ran && !(flags & SNAPSHOT_HALT), error) &&
	     make_durable(file, error);
	if (ok)
		kv_memory_end(m);
	else
		kv_memory_cancel(m);
	if (!ok && ran && !m->gone && m->d->state == DOMAIN_PAUSED)
		kv_do(m, "cont", NULL, NULL);
	kv_machine_unref(m);
	return ok;
}

/* ---- definitions ---- */

bool kv_snapshot_use_overlays(struct domain *d, const xmlDoc *doc, GError **error)
{
	struct kv_machine *m = d->own;
	xmlNode *part;

	if (!kv_part(doc, "external", 0))
		return true;
	if (!domain_stored_def(d, error))
		return false;
	for (unsigned n = 0; (part = kv_part(doc, "external", n)); n++) {
		const char *target = xml_text(part, "@name"), *before = kv_disk_file(kv_part_disk(doc, part));
		xmlNode *disk = d->def ? kv_disk_in(domain_def_root(d->def), target) : NULL;

		if (disk && !g_strcmp0(kv_disk_file(disk), before))
			kv_disk_set_file(disk, kv_disk_file(part), xml_text(part, "driver/@type"));
		if (d->live && (disk = kv_disk_in(domain_def_root(d->live), target)))
			kv_disk_set_file(disk, kv_disk_file(part), xml_text(part, "driver/@type"));
	}
	if (m && !kv_learn_chains(m, error))
		return false;
	if (d->live)
		kv_store_status(d);
	return !d->persistent || domain_store(d, error);
}

void kv_snapshot_remember_files(struct domain *d, const xmlDoc *doc)
{
	xmlNode *part;

	for (unsigned n = 0; (part = kv_part(doc, "external", n)); n++)
		g_hash_table_add(snapshots_made(d->snapshots), kv_canonical(kv_disk_file(part)));
	if (kv_snapshot_memory(doc))
		g_hash_table_add(snapshots_made(d->snapshots), kv_canonical(kv_snapshot_memory(doc)));
}

/* ---- taken back ---- */

unsigned kv_snapshot_flags(const xmlDoc *doc)
{
	guint64 flags = 0;

	xml_number(xmlDocGetRootElement((xmlDoc *)doc), "@flags", &flags);
	return (unsigned)flags;
}

static void drop_internal(struct domain *d, const xmlDoc *doc, const xmlNode *part)
{
	const xmlNode *disk = kv_part_disk(doc, part), *live;
	struct kv_machine *m = d->own;
	g_autoptr(GPtrArray) chain = kv_img_chain(kv_disk_file(disk), "qcow2", NULL);

	if (!chain || !kv_layer_has(chain->pdata[0], kv_snapshot_name(doc)))
		return;
	live = d->live ? kv_disk_in(domain_def_root(d->live), xml_text(part, "@name")) : NULL;
	if (m && live)
		kv_do(m, "blockdev-snapshot-delete-internal-sync",
		      kv_args("device", xml_text(live, "alias/@name"), "name", kv_snapshot_name(doc), NULL), NULL);
	else
		kv_img(NULL, "snapshot", "-d", kv_snapshot_name(doc), kv_disk_file(disk), NULL);
}

/* One that a machine has begun to write to goes back into what it stands on. */
static void drop_external(struct domain *d, const xmlDoc *doc, const xmlNode *part, const GPtrArray *chains)
{
	const char *file = kv_disk_file(part), *target = xml_text(part, "@name");
	const xmlNode *disk = kv_part_disk(doc, part);
	g_autoptr(GError) error = NULL;

	if (chains && !kv_in_chains(chains, file)) {
		unlink(file);
	} else if (chains && d->live && kv_commit_live(d->own, target, file, kv_disk_file(disk), &error)) {
		kv_files_replace(d, file, kv_disk_file(disk), xml_text(disk, "driver/@type") ?: "raw");
		unlink(file);
	}
	if (error)
		kv_log_warn("domain '%s': disk '%s' stays on '%s': %s", d->name, target, file, error->message);
}

static bool take_back_overlays(struct domain *d, const xmlDoc *doc, GError **error)
{
	g_autoptr(GPtrArray) chains = NULL;
	xmlNode *part;

	if (!kv_part(doc, "external", 0) || kv_snapshot_flags(doc) & SNAPSHOT_REUSE_EXT)
		return true;
	if (d->own && !kv_learn_chains(d->own, error))
		return false;
	chains = kv_chains(d, NULL, error);
	for (unsigned n = 0; chains && (part = kv_part(doc, "external", n)); n++)
		drop_external(d, doc, part, chains);
	if (d->own)
		kv_learn_chains(d->own, NULL);
	return chains;
}

/* A machine that is about to end has its images until it has. */
static void wait_for_end(struct domain *d)
{
	gint64 until = g_get_monotonic_time() + END_SECONDS * G_USEC_PER_SEC;
	struct kv_machine *m = d->own;

	if (!m)
		return;
	kv_machine_ref(m);
	m->end_awaited = true;
	while ((m->ending || !m->qmp || !qmp_client_is_open(m->qmp)) && !m->gone && g_get_monotonic_time() < until)
		state_wait(&m->changed, g_get_monotonic_time() + POLL_MS * G_TIME_SPAN_MILLISECOND);
	m->end_awaited = false;
	kv_machine_unref(m);
}

bool kv_snapshot_take_back(struct domain *d, const xmlDoc *doc, GError **error)
{
	xmlNode *part;

	wait_for_end(d);
	for (unsigned n = 0; (part = kv_part(doc, "internal", n)); n++)
		drop_internal(d, doc, part);
	if (!take_back_overlays(d, doc, error))
		return false;
	if (kv_snapshot_memory(doc))
		unlink(kv_snapshot_memory(doc));
	return kv_snapshot_note(d, NULL, NULL, error);
}

/* ---- all of it ---- */

/* Where memory of an internal one is. */
static void place_memory(const struct domain *d, xmlDoc *doc)
{
	xmlNode *root = xmlDocGetRootElement(doc);
	g_autofree char *file = NULL, *path = NULL;

	if (!xml_is(root, "memory/@snapshot", "internal"))
		return;
	file = g_strconcat(kv_snapshot_name(doc), ".mem", NULL);
	path = g_build_filename(d->hv->lib_dir, "snapshot", d->name, file, NULL);
	xml_set(root, "memory/@snapshot", "external");
	xml_set(root, "memory/@file", path);
}

static bool check_memory(const xmlDoc *doc, unsigned flags, GError **error)
{
	const char *file = kv_snapshot_memory(doc);
	struct stat st;

	if (!file || stat(file, &st) < 0 || (S_ISREG(st.st_mode) && !st.st_size))
		return true;
	return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "memory snapshot file '%s' already exists", file);
}

/* What images stand on is found in them. */
static void drop_chains(xmlDoc *doc)
{
	xmlNode *devices = xml_child(xmlDocGetRootElement(doc), "domain/devices"), *disk;

	for (unsigned n = 0; (disk = xml_nth(devices, "disk", n)); n++)
		xml_set(disk, "backingStore", NULL);
}

static bool take_all(struct domain *d, const xmlDoc *doc, unsigned flags, GError **error)
{
	struct kv_machine *m = domain_is_active(d) ? kv_machine_of(d, error) : NULL;
	bool ok;

	if (!domain_is_active(d))
		return take_disks(doc, flags, error);
	if (!m)
		return false;
	kv_machine_ref(m);
	ok = kv_snapshot_memory(doc) ? take_with_memory(m, doc, flags, error) : take_disks_live(m, doc, flags, error);
	kv_machine_unref(m);
	return ok;
}

bool kv_snapshot_create(struct domain *d, xmlDoc *doc, unsigned flags, GError **error)
{
	g_autoptr(xmlDoc) plan = NULL;
	g_autofree char *text = NULL;

	if (!kv_snapshot_settle(d, error) || !check(d, doc, flags, error))
		return false;
	place_memory(d, doc);
	drop_chains(doc);
	if (!check_memory(doc, flags, error))
		return false;
	plan = xmlCopyDoc(doc, 1);
	text = g_strdup_printf("%u", flags);
	xml_set(xmlDocGetRootElement(plan), "@flags", text);
	if (!kv_snapshot_note(d, "create", plan, error))
		return false;
	if (!take_all(d, doc, flags, error)) {
		kv_snapshot_take_back(d, plan, NULL);
		return false;
	}
	if (!kv_snapshot_use_overlays(d, doc, error))
		return false;
	if (!(flags & (SNAPSHOT_NO_METADATA | SNAPSHOT_REUSE_EXT)))
		kv_snapshot_remember_files(d, doc);
	snapshots_set_pending(d->snapshots, NULL, NULL);
	if (flags & SNAPSHOT_HALT && domain_is_active(d))
		kv_end_for_snapshot(d);
	return true;
}
