/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs on disks as they go on: libvirt's calls about them, their events, and their end, which changes the definitions. The end is
 * a worker's with the domain's job, or whoever's that waits for it. See block-job.h.
 */
#include <string.h>
#include <unistd.h>

#include "block-job.h"
#include "events.h"
#include "log.h"
#include "workers.h"

enum { ABORT_ASYNC = 1, ABORT_PIVOT = 2, BYTES = 1, POLL_MS = 50 };

static const char *const names[] = {
	[BLOCK_JOB_PULL] = "pull",
	[BLOCK_JOB_COPY] = "copy",
	[BLOCK_JOB_COMMIT] = "commit",
	[BLOCK_JOB_ACTIVE_COMMIT] = "active-commit",
};

/* ---- those that there are ---- */

static void block_job_free(struct block_job *job)
{
	g_free(job->id);
	g_free(job->target);
	g_free(job->node);
	if (job->files)
		g_ptr_array_unref(job->files);
	g_free(job);
}

static GPtrArray *jobs_of(struct kv_machine *m)
{
	if (!m->block_jobs)
		m->block_jobs = g_ptr_array_new_with_free_func((GDestroyNotify)block_job_free);
	return m->block_jobs;
}

struct block_job *block_job_of(struct kv_machine *m, const char *target)
{
	for (unsigned i = 0; i < jobs_of(m)->len; i++) {
		struct block_job *job = m->block_jobs->pdata[i];

		if (!g_strcmp0(job->target, target))
			return job;
	}
	return NULL;
}

static struct block_job *find_by_id(struct kv_machine *m, const char *id)
{
	for (unsigned i = 0; i < jobs_of(m)->len; i++) {
		struct block_job *job = m->block_jobs->pdata[i];

		if (!g_strcmp0(job->id, id))
			return job;
	}
	return NULL;
}

struct block_job *block_job_add(struct kv_machine *m, enum block_job_type type, const char *target)
{
	struct block_job *job = g_new0(struct block_job, 1);

	job->type = type;
	job->target = g_strdup(target);
	job->id = g_strdup_printf("%s-%s", names[type], target);
	g_ptr_array_add(jobs_of(m), job);
	return job;
}

void block_job_drop(struct kv_machine *m, struct block_job *job)
{
	g_ptr_array_remove(jobs_of(m), job);
}

bool kv_has_block_jobs(const struct kv_machine *m)
{
	return m->block_jobs && m->block_jobs->len;
}

xmlNode *block_job_disk(const struct domain_def *def, const char *target)
{
	xmlNode *disk;

	for (unsigned n = 0; def && (disk = domain_def_device(def, "disk", n)); n++)
		if (xml_is(disk, "target/@dev", target))
			return disk;
	return NULL;
}

/* By its target or the path of its image, which has to be there. */
static xmlNode *find_disk(struct domain *d, const char *name, GError **error)
{
	xmlNode *disk, *found = block_job_disk(d->live, name);

	for (unsigned n = 0; !found && (disk = domain_def_device(d->live, "disk", n)); n++)
		if (xml_is(disk, "source/@file", name) || xml_is(disk, "source/@dev", name))
			found = disk;
	if (!found)
		rpc_fail(error, VIR_ERR_INVALID_ARG, "disk '%s' not found in domain", name);
	return found;
}

/* ---- <mirror> ---- */

/* Its attributes as libvirt had them first, and its elements as it has them now. */
void block_job_set_mirror(xmlNode *disk, const struct block_job *job, const char *file, const char *format)
{
	xmlNode *mirror = xmlNewDocNode(disk->doc, NULL, BAD_CAST "mirror", NULL), *target = xml_child(disk, "target");
	bool device = g_str_has_prefix(file, "/dev/");

	xmlAddPrevSibling(target, mirror);
	xml_set(mirror, "@type", device ? "block" : "file");
	if (!device && job->type == BLOCK_JOB_COPY)
		xml_set(mirror, "@file", file);
	if (job->type == BLOCK_JOB_COPY)
		xml_set(mirror, "@format", format);
	xml_set(mirror, "@job", names[job->type]);
	xml_set(mirror, "format/@type", format);
	xml_set(mirror, device ? "source/@dev" : "source/@file", file);
}

static void tell_ready(struct kv_machine *m, const struct block_job *job)
{
	xmlNode *disk = block_job_disk(m->d->live, job->target);

	if (disk && xml_child(disk, "mirror"))
		xml_set(disk, "mirror/@ready", job->pivoting ? "pivot" : job->aborted ? "abort" : job->ready ? "yes" : NULL);
	kv_store_status(m->d);
}

/* ---- the status file ---- */

/* Names of files may have characters that XML does not have: they are as in C. */
void kv_block_jobs_format(const struct kv_machine *m, GString *out)
{
	for (unsigned i = 0; m->block_jobs && i < m->block_jobs->len; i++) {
		const struct block_job *job = m->block_jobs->pdata[i];
		g_autofree char *line = g_markup_printf_escaped(
			"<blockjob type='%d' target='%s' node='%s' ready='%d' pivoting='%d' aborted='%d'>\n", job->type,
			job->target, job->node ? job->node : "", job->ready, job->pivoting, job->aborted);

		g_string_append(out, line);
		for (unsigned k = 0; job->files && k < job->files->len; k++) {
			g_autofree char *name = g_strescape(job->files->pdata[k], NULL);
			g_autofree char *file = g_markup_printf_escaped("<file escaped='%s'/>\n", name);

			g_string_append(out, file);
		}
		g_string_append(out, "</blockjob>\n");
	}
}

void kv_block_jobs_load(struct kv_machine *m, const xmlNode *status)
{
	for (xmlNode *node = xml_nth(status, "blockjob", 0); node; node = xml_next(node)) {
		const char *target = xml_text(node, "@target");
		struct block_job *job;
		guint64 type = 0;

		if (!target || !xml_number(node, "@type", &type) || type < BLOCK_JOB_PULL || type > BLOCK_JOB_ACTIVE_COMMIT)
			continue;
		job = block_job_add(m, (enum block_job_type)type, target);
		job->node = xml_text(node, "@node") && *xml_text(node, "@node") ? g_strdup(xml_text(node, "@node")) : NULL;
		job->ready = xml_is(node, "@ready", "1");
		job->pivoting = xml_is(node, "@pivoting", "1");
		job->aborted = xml_is(node, "@aborted", "1");
		for (xmlNode *file = xml_nth(node, "file", 0); file; file = xml_next(file)) {
			const char *escaped = xml_text(file, "@escaped");

			if (!job->files)
				job->files = g_ptr_array_new_with_free_func(g_free);
			/* "path": of a kvd before this one */
			g_ptr_array_add(job->files, escaped ? g_strcompress(escaped) : g_strdup(xml_text(file, "@path") ?: ""));
		}
	}
}

/* ---- its end ---- */

static void tell(struct kv_machine *m, const struct block_job *job, enum block_job_status status)
{
	const xmlNode *disk = block_job_disk(m->d->live, job->target);
	const char *path = disk ? xml_text(disk, "source/@file") ?: xml_text(disk, "source/@dev") : NULL;

	if (path)
		events_domain(m->d, DOMAIN_EVENT_BLOCK_JOB, g_variant_new("(sii)", path, job->type, status));
	events_domain(m->d, DOMAIN_EVENT_BLOCK_JOB_2, g_variant_new("(sii)", job->target, job->type, status));
}

static JsonObject *find_job(JsonNode *answer, const char *id)
{
	JsonArray *list = kv_array(answer);

	for (guint i = 0; list && i < json_array_get_length(list); i++) {
		JsonObject *o = kv_object(json_array_get_element(list, i));

		if (!g_strcmp0(kv_text_in(o, "id"), id) || !g_strcmp0(kv_text_in(o, "device"), id))
			return o;
	}
	return NULL;
}

/* The stored definition's disk becomes what the running one's is now, if it was what that one was before. */
static void follow(struct domain *d, const char *target, const char *before)
{
	const xmlNode *live = block_job_disk(d->live, target);
	xmlNode *disk = d->persistent && domain_stored_def(d, NULL) ? block_job_disk(d->def, target) : NULL;
	const char *now = disk ? xml_text(disk, "source/@file") ?: xml_text(disk, "source/@dev") : NULL;
	bool device = live && xml_text(live, "source/@dev");
	g_autoptr(GError) error = NULL;

	if (!live || !now || g_strcmp0(now, before))
		return;
	xml_set(disk, "@type", xml_text(live, "@type"));
	xml_set(disk, device ? "source/@file" : "source/@dev", NULL);
	xml_set(disk, device ? "source/@dev" : "source/@file", xml_text(live, device ? "source/@dev" : "source/@file"));
	xml_set(disk, "driver/@type", xml_text(live, "driver/@type"));
	if (xml_child(disk, "backingStore")) { /* somebody has written the chain into it */
		xmlNode *store = xml_child(live, "backingStore");

		xml_set(disk, "backingStore", NULL);
		if (store)
			xmlAddNextSibling(xml_child(disk, "source"), xmlDocCopyNode(store, disk->doc, 1));
	}
	if (!domain_store(d, &error))
		kv_log_warn("Unable to update persistent definition on vm %s after block job: %s", d->name, error->message);
}

static void remove_files(const struct block_job *job)
{
	for (unsigned i = 0; job->files && i < job->files->len; i++)
		if (unlink(job->files->pdata[i]) < 0)
			kv_log_warn("cannot remove '%s', which was committed: %s", (char *)job->files->pdata[i],
				    g_strerror(errno));
}

/* What is said of it; its error, if there is one, to be freed. */
static enum block_job_status result_of(const struct block_job *job, JsonNode *answer, char **ret_error)
{
	JsonObject *o = find_job(answer, job->id);
	const char *why = o ? kv_text_in(o, "error") : "it is not there";
	bool needs_pivot = job->type == BLOCK_JOB_COPY || job->type == BLOCK_JOB_ACTIVE_COMMIT;

	*ret_error = g_strdup(why);
	if (job->aborted || (needs_pivot && !job->pivoting && !why))
		return BLOCK_JOB_CANCELED;
	return why ? BLOCK_JOB_FAILED : BLOCK_JOB_COMPLETED;
}

/* (waits) With the domain's job. error: why it failed, for who waits; may be NULL. */
static void end_job(struct kv_machine *m, struct block_job *job, char **ret_error)
{
	g_autoptr(JsonNode) answer = kv_ask(m, "query-jobs", NULL, NULL);
	g_autofree char *id = g_strdup(job->id), *before = NULL, *why = NULL;
	enum block_job_status status;
	xmlNode *disk;

	if (m->gone || !answer)
		return;
	status = result_of(job, answer, &why);
	if (find_job(answer, id))
		kv_do(m, "job-dismiss", kv_args("id", id, NULL), NULL);
	if (job->node && status != BLOCK_JOB_COMPLETED)
		kv_do(m, "blockdev-del", kv_args("node-name", job->node, NULL), NULL);
	disk = m->gone ? NULL : block_job_disk(m->d->live, job->target);
	if (disk) {
		before = g_strdup(xml_text(disk, "source/@file") ?: xml_text(disk, "source/@dev"));
		xml_set(disk, "mirror", NULL);
		kv_learn_chains(m, NULL);
	}
	if (m->gone || job != find_by_id(m, id))
		return;
	if (status == BLOCK_JOB_COMPLETED) {
		follow(m->d, job->target, before);
		remove_files(job);
	} else if (status == BLOCK_JOB_FAILED) {
		kv_log_warn("domain '%s': block job '%s' failed: %s", m->d->name, id, why);
	}
	tell(m, job, status);
	if (ret_error && status == BLOCK_JOB_FAILED)
		*ret_error = g_steal_pointer(&why);
	block_job_drop(m, job);
	kv_store_status(m->d);
	g_cond_broadcast(&m->changed);
}

struct ending {
	struct kv_machine *m;
	struct domain *d; /* it may be forgotten before its machine */
	char *id;
};

/* NULL: it is somebody else's to end, or nobody's any more. */
static struct block_job *to_end(const struct ending *e)
{
	struct block_job *job = e->m->gone ? NULL : find_by_id(e->m, e->id);

	return job && job->concluded && !job->awaited ? job : NULL;
}

/* A job that takes long may be in between: then it is tried again. */
static void end_later(void *opaque)
{
	struct ending *e = opaque;
	bool begun = false;

	while (to_end(e) && !begun)
		begun = domain_job_begin(e->d, JOB_MODIFY, NULL);
	if (begun && to_end(e))
		end_job(e->m, to_end(e), NULL);
	if (begun)
		domain_job_end(e->d, JOB_MODIFY);
	domain_unref(e->d);
	kv_machine_unref(e->m);
	g_free(e->id);
	g_free(e);
}

static void end_soon(struct kv_machine *m, const struct block_job *job)
{
	struct ending *e = g_new(struct ending, 1);

	*e = (struct ending){kv_machine_ref(m), domain_ref(m->d), g_strdup(job->id)};
	workers_run(end_later, e);
}

/* In the main thread. */
void kv_block_job_status(struct kv_machine *m, const char *id, const char *status)
{
	struct block_job *job = find_by_id(m, id);

	if (!job || !status)
		return;
	if (!strcmp(status, "ready") && !job->ready) {
		job->ready = true;
		tell_ready(m, job);
		tell(m, job, BLOCK_JOB_READY);
	}
	if (strcmp(status, "concluded") || job->concluded)
		return;
	job->concluded = true;
	g_cond_broadcast(&m->changed);
	if (!job->awaited)
		end_soon(m, job);
}

void kv_block_jobs_reconnect(struct kv_machine *m)
{
	g_autoptr(JsonNode) answer = kv_has_block_jobs(m) ? kv_ask(m, "query-jobs", NULL, NULL) : NULL;
	g_autoptr(GPtrArray) ids = g_ptr_array_new_with_free_func(g_free);

	for (unsigned i = 0; answer && i < jobs_of(m)->len; i++)
		g_ptr_array_add(ids, g_strdup(((struct block_job *)m->block_jobs->pdata[i])->id));
	for (unsigned i = 0; i < ids->len; i++) {
		JsonObject *o = find_job(answer, ids->pdata[i]);
		struct block_job *job = find_by_id(m, ids->pdata[i]);

		if (job && (!o || !g_strcmp0(kv_text_in(o, "status"), "concluded")))
			end_job(m, job, NULL);
		else if (job)
			kv_block_job_status(m, ids->pdata[i], kv_text_in(o, "status"));
	}
}

bool block_job_wait(struct kv_machine *m, const char *target, char **ret_error, GError **error)
{
	struct block_job *job;

	while (!m->gone && qmp_client_is_open(m->qmp) && (job = block_job_of(m, target))) {
		if (job->concluded) {
			end_job(m, job, ret_error);
			return true;
		}
		job->awaited = true;
		state_wait(&m->changed, g_get_monotonic_time() + POLL_MS * G_TIME_SPAN_MILLISECOND);
	}
	return (!m->gone && qmp_client_is_open(m->qmp)) || rpc_fail(error, VIR_ERR_OPERATION_FAILED, "domain is not running");
}

/* ---- calls ---- */

bool block_job_begin(struct kv_machine *m, struct block_job *job, const char *command, JsonObject *args, guint64 speed,
		     GError **error)
{
	g_autofree char *id = g_strdup(job->id);

	json_object_set_string_member(args, "job-id", id);
	json_object_set_boolean_member(args, "auto-dismiss", FALSE);
	if (speed)
		json_object_set_int_member(args, "speed", (gint64)speed);
	kv_store_status(m->d);
	if (kv_do(m, command, args, error))
		return true;
	job = m->gone ? NULL : find_by_id(m, id);
	if (job)
		block_job_drop(m, job);
	if (!m->gone)
		kv_store_status(m->d);
	return false;
}

bool block_speed(guint64 bandwidth, bool bytes, guint64 *ret, GError **error)
{
	if (!bytes && bandwidth > (guint64)G_MAXINT64 >> 20)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "bandwidth must be less than %" G_GUINT64_FORMAT,
				(guint64)G_MAXINT64 >> 20);
	*ret = bytes ? MIN(bandwidth, G_MAXINT64) : bandwidth << 20;
	return true;
}

static bool pivot_job(struct kv_machine *m, struct block_job *job, GError **error)
{
	if (job->type != BLOCK_JOB_COPY && job->type != BLOCK_JOB_ACTIVE_COMMIT)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "job type '%s' does not support pivot", names[job->type]);
	if (!job->ready)
		return rpc_fail(error, VIR_ERR_BLOCK_COPY_ACTIVE, "block job '%s' not ready for pivot yet", job->target);
	job->pivoting = true;
	tell_ready(m, job);
	return kv_do(m, "job-complete", kv_args("id", job->id, NULL), error);
}

static bool cancel_job(struct kv_machine *m, struct block_job *job, GError **error)
{
	job->aborted = true;
	tell_ready(m, job);
	return kv_do(m, "block-job-cancel", kv_args("device", job->id, NULL), error);
}

/* A job whose end was not begun goes on as it was, or has ended by itself meanwhile. */
static void take_back(struct kv_machine *m, const char *target)
{
	struct block_job *job = m->gone ? NULL : block_job_of(m, target);

	if (!job)
		return;
	job->pivoting = job->aborted = job->awaited = false;
	tell_ready(m, job);
	if (job->concluded)
		end_soon(m, job);
}

static bool abort_job(struct kv_machine *m, xmlNode *disk, GVariant *args, GError **error)
{
	g_autofree char *target = g_strdup(xml_text(disk, "target/@dev")), *why = NULL;
	struct block_job *job = block_job_of(m, target);
	bool pivot;
	guint32 flags;

	g_variant_get_child(args, 2, "u", &flags);
	pivot = flags & ABORT_PIVOT;
	if (!job)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "disk %s does not have an active block job", target);
	if (job->pivoting || job->aborted)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "block job on disk '%s' is still being ended", target);
	if (pivot && (!job->ready || (job->type != BLOCK_JOB_COPY && job->type != BLOCK_JOB_ACTIVE_COMMIT)))
		return pivot_job(m, job, error);
	job->awaited = !(flags & ABORT_ASYNC);
	if (pivot ? !pivot_job(m, job, error) : !cancel_job(m, job, error)) {
		take_back(m, target);
		return false;
	}
	if (flags & ABORT_ASYNC)
		return true;
	if (!block_job_wait(m, target, &why, error))
		return false;
	return !why || rpc_fail(error, VIR_ERR_OPERATION_FAILED, "block job '%s' failed while pivoting: %s", target, why);
}

/* libvirt's clients take equal numbers for a job that is ready. */
static void put_info(GVariant **ret, const struct block_job *job, JsonObject *o, bool bytes)
{
	guint64 at = (guint64)MAX(kv_number_in(o, "offset"), 0), end = (guint64)MAX(kv_number_in(o, "len"), 0);
	guint64 speed = (guint64)MAX(kv_number_in(o, "speed"), 0);

	if (!kv_flag_in(o, "ready") && at >= end) {
		end = MAX(end, 1);
		at = end - 1;
	}
	*ret = g_variant_new("(iittt)", 1, job->type, bytes ? speed : (speed + (1 << 20) - 1) >> 20, at, end);
}

static bool get_info(struct kv_machine *m, xmlNode *disk, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *target = g_strdup(xml_text(disk, "target/@dev"));
	g_autoptr(JsonNode) answer = NULL;
	struct block_job *job = block_job_of(m, target);
	JsonObject *o;
	guint32 flags;

	g_variant_get_child(args, 2, "u", &flags);
	answer = job ? kv_ask(m, "query-block-jobs", NULL, error) : NULL;
	if (job && !answer)
		return false;
	job = m->gone ? NULL : block_job_of(m, target);
	o = job ? find_job(answer, job->id) : NULL;
	if (o)
		put_info(ret, job, o, flags & BYTES);
	else
		*ret = g_variant_new("(iittt)", 0, 0, (guint64)0, (guint64)0, (guint64)0);
	return true;
}

static bool set_speed(struct kv_machine *m, xmlNode *disk, GVariant *args, GError **error)
{
	const char *target = xml_text(disk, "target/@dev");
	struct block_job *job = block_job_of(m, target);
	JsonObject *o;
	guint64 speed;
	guint32 flags;

	g_variant_get_child(args, 2, "t", &speed);
	g_variant_get_child(args, 3, "u", &flags);
	if (!block_speed(speed, flags & BYTES, &speed, error))
		return false;
	if (!job)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "disk %s does not have an active block job", target);
	o = kv_args("device", job->id, NULL);
	json_object_set_int_member(o, "speed", (gint64)speed);
	return kv_do(m, "block-job-set-speed", o, error);
}

/* ---- all of them ---- */

static bool may_begin(struct kv_machine *m, const xmlNode *disk, GError **error)
{
	const char *target = xml_text(disk, "target/@dev");

	if (!xml_text(disk, "source/@file") && !xml_text(disk, "source/@dev"))
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "disk '%s' does not currently have a source assigned", target);
	if (block_job_of(m, target))
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "disk '%s' already in active block job", target);
	return !xml_child(disk, "transient") ||
	       rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "block jobs are not supported on transient disk '%s'", target);
}

static const struct {
	unsigned procedure, flags_at, flags;
	bool (*begin)(struct kv_machine *m, xmlNode *disk, GVariant *args, GError **error);
} starts[] = {
	{RPC_DOMAIN_BLOCK_PULL, 3, 1 << 6, block_pull_start},
	{RPC_DOMAIN_BLOCK_REBASE, 4, 0x7f, block_copy_rebase},
	{RPC_DOMAIN_BLOCK_COMMIT, 5, 0x1f, block_commit_start},
	{RPC_DOMAIN_BLOCK_COPY, 4, 0xf, block_copy_start},
};

static bool begin(struct kv_machine *m, unsigned row, xmlNode *disk, GVariant *args, GError **error)
{
	guint32 flags;

	g_variant_get_child(args, starts[row].flags_at, "u", &flags);
	if (flags & ~starts[row].flags)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "unsupported flags (0x%x)", flags & ~starts[row].flags);
	return may_begin(m, disk, error) && starts[row].begin(m, disk, args, error);
}

bool kv_block_job(struct domain *d, unsigned procedure, GVariant *args, GVariant **ret, GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);
	g_autofree char *name = NULL;
	xmlNode *disk;
	bool ok = false;

	g_variant_get_child(args, 1, "s", &name);
	disk = m ? find_disk(d, name, error) : NULL;
	if (!disk)
		return false;
	if (procedure == RPC_DOMAIN_SET_BLOCK_THRESHOLD)
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED,
				"a block threshold ('%s') is not supported: kv-vmm has no "
				"block-set-write-threshold",
				name);
	kv_machine_ref(m);
	if (procedure == RPC_DOMAIN_BLOCK_JOB_ABORT)
		ok = abort_job(m, disk, args, error);
	else if (procedure == RPC_DOMAIN_BLOCK_JOB_SET_SPEED)
		ok = set_speed(m, disk, args, error);
	else if (procedure == RPC_DOMAIN_GET_BLOCK_JOB_INFO)
		ok = get_info(m, disk, args, ret, error);
	for (unsigned i = 0; i < G_N_ELEMENTS(starts); i++)
		if (starts[i].procedure == procedure)
			ok = begin(m, i, disk, args, error);
	kv_machine_unref(m);
	return ok;
}

bool kv_block_resize(struct domain *d, const char *name, guint64 bytes, GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);
	const xmlNode *disk = m ? find_disk(d, name, error) : NULL;
	JsonObject *args;

	if (!disk)
		return false;
	if (xml_child(disk, "readonly") || (!xml_text(disk, "source/@file") && !xml_text(disk, "source/@dev")))
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "can't resize empty or readonly disk '%s'", name);
	if (block_job_of(m, xml_text(disk, "target/@dev")))
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "disk '%s' already in active block job", name);
	args = kv_args("device", command_id(disk), NULL);
	json_object_set_int_member(args, "size", (gint64)MIN((bytes + 511) & ~(guint64)511, G_MAXINT64 & ~511));
	return kv_do(m, "block_resize", args, error);
}
