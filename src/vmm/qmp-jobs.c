/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block jobs over QMP: block-commit, block-stream, blockdev-mirror and -backup start one; block-job-* (qapi/block-core.json) and
 * job-* (qapi/job.json) are the verbs; events as jobs go on. What jobs do is in src/block. See qmp-block.h.
 */
#include <string.h>

#include "bitmap.h"
#include "disk.h"
#include "error.h"
#include "format.h"
#include "graph.h"
#include "job.h"
#include "qmp-block.h"
#include "vmm.h"

static struct block_graph *graph_of(void *opaque)
{
	return ((struct vmm *)opaque)->graph;
}

/* ---- arguments ---- */

static const char *const on_error_names[] = {
	[JOB_ON_ERROR_REPORT] = "report", [JOB_ON_ERROR_IGNORE] = "ignore", [JOB_ON_ERROR_ENOSPC] = "enospc",
	[JOB_ON_ERROR_STOP] = "stop",	  "auto",			    NULL,
};
static const char *const sync_names[] = {
	[JOB_SYNC_FULL] = "full",		[JOB_SYNC_TOP] = "top",	      [JOB_SYNC_NONE] = "none",
	[JOB_SYNC_INCREMENTAL] = "incremental", [JOB_SYNC_BITMAP] = "bitmap", NULL,
};
static const char *const copy_mode_names[] = { "background", "write-blocking", NULL };
static const char *const bitmap_mode_names[] = { "on-success", "never", "always", NULL };
static const struct qmp_type on_error = { .kind = QMP_ENUM, .values = on_error_names };
static const struct qmp_type sync_type = { .kind = QMP_ENUM, .values = sync_names };
static const struct qmp_type copy_mode = { .kind = QMP_ENUM, .values = copy_mode_names };
static const struct qmp_type bitmap_mode = { .kind = QMP_ENUM, .values = bitmap_mode_names };

#define COMMON_ARGS \
	{ "job-id", &qmp_string, .optional = true }, { "speed", &qmp_integer, .optional = true }, \
	{ "filter-node-name", &qmp_string, .optional = true }, { "auto-finalize", &qmp_boolean, .optional = true }, \
	{ "auto-dismiss", &qmp_boolean, .optional = true }

const struct qmp_member qmp_block_commit_args[] = {
	COMMON_ARGS,
	{ "device", &qmp_string },
	{ "base-node", &qmp_string, .optional = true },
	{ "base", &qmp_string, .optional = true },
	{ "top-node", &qmp_string, .optional = true },
	{ "top", &qmp_string, .optional = true },
	{ "backing-file", &qmp_string, .optional = true },
	{ "on-error", &on_error, .optional = true },
	{},
};

const struct qmp_member qmp_block_stream_args[] = {
	COMMON_ARGS,
	{ "device", &qmp_string },
	{ "base", &qmp_string, .optional = true },
	{ "base-node", &qmp_string, .optional = true },
	{ "backing-file", &qmp_string, .optional = true },
	{ "bottom", &qmp_string, .optional = true },
	{ "on-error", &on_error, .optional = true },
	{},
};

const struct qmp_member qmp_blockdev_mirror_args[] = {
	COMMON_ARGS,
	{ "device", &qmp_string },
	{ "target", &qmp_string },
	{ "replaces", &qmp_string, .optional = true },
	{ "sync", &sync_type },
	{ "granularity", &qmp_uint32, .optional = true },
	{ "buf-size", &qmp_integer, .optional = true },
	{ "on-source-error", &on_error, .optional = true },
	{ "on-target-error", &on_error, .optional = true },
	{ "copy-mode", &copy_mode, .optional = true },
	{},
};

const struct qmp_member qmp_blockdev_backup_args[] = {
	COMMON_ARGS,
	{ "device", &qmp_string },
	{ "target", &qmp_string },
	{ "sync", &sync_type },
	{ "bitmap", &qmp_string, .optional = true },
	{ "bitmap-mode", &bitmap_mode, .optional = true },
	{ "compress", &qmp_boolean, .optional = true },
	{ "on-source-error", &on_error, .optional = true },
	{ "on-target-error", &on_error, .optional = true },
	{},
};

const struct qmp_member qmp_job_id_args[] = { { "id", &qmp_string }, {} };
const struct qmp_member qmp_block_job_args[] = { { "device", &qmp_string }, {} };
const struct qmp_member qmp_block_job_cancel_args[] = {
	{ "device", &qmp_string },
	{ "force", &qmp_boolean, .optional = true },
	{},
};
const struct qmp_member qmp_block_job_set_speed_args[] = { { "device", &qmp_string }, { "speed", &qmp_integer }, {} };

/* The index of a word that the table of arguments has let through. */
static int find_word(const char *const *words, const char *word)
{
	int i = 0;

	while (words[i] && strcmp(words[i], word))
		i++;
	return i;
}

static enum job_on_error policy(JsonObject *args, const char *name)
{
	const char *text = qmp_text(args, name);

	return text && strcmp(text, "auto") ? (enum job_on_error)find_word(on_error_names, text) : JOB_ON_ERROR_REPORT;
}

/* What most jobs are told. The id is the disk's when it has none. */
static bool read_options(struct vmm *vmm, JsonObject *args, struct job_options *ret, GError **error)
{
	gint64 speed = json_object_get_int_member_with_default(args, "speed", 0);
	const char *device = json_object_get_string_member(args, "device"), *id = qmp_text(args, "job-id");

	if (speed < 0)
		return kv_fail(error, KV_ERROR_USAGE, "Parameter 'speed' expects a non-negative value");
	if (!id && graph_find_user(vmm->graph, device))
		id = device;
	if (!id)
		return kv_fail(error, KV_ERROR_USAGE, "An explicit job ID is required for this node");
	*ret = (struct job_options){
		.id = id,
		.speed = speed,
		.on_source_error = policy(args, json_object_has_member(args, "on-error") ? "on-error" : "on-source-error"),
		.on_target_error = policy(args, json_object_has_member(args, "on-error") ? "on-error" : "on-target-error"),
		.manual_finalize = !json_object_get_boolean_member_with_default(args, "auto-finalize", TRUE),
		.manual_dismiss = !json_object_get_boolean_member_with_default(args, "auto-dismiss", TRUE),
		.owner = vmm->job_owner,
	};
	return true;
}

static struct image *lookup(void *opaque, JsonObject *args, const char *member, GError **error)
{
	const char *name = json_object_get_string_member(args, member);

	return graph_lookup_base(graph_of(opaque), name, name, error);
}

/* A job has a pace of its own. */
static struct image *lookup_target(void *opaque, JsonObject *args, GError **error)
{
	const char *name = json_object_get_string_member(args, "target");
	struct image *img = graph_lookup(graph_of(opaque), name, name, error);

	if (!img || !image_is_filter(img))
		return img;
	kv_fail(error, KV_ERROR_UNSUPPORTED,
		"Node '%s' is a filter, which a job does not write through; give the node below, and a speed", name);
	return NULL;
}

/* An image of the chain below `top` by node name or by file name; neither given: NULL without an error. */
static bool find_below(void *opaque, struct image *top, const char *node, const char *file, struct image **ret, GError **error)
{
	struct image *img = node ? graph_lookup_base(graph_of(opaque), NULL, node, error) : NULL;

	*ret = NULL;
	if (node && file)
		return kv_fail(error, KV_ERROR_USAGE, "a node's name and a file's name are given for the same image");
	if (node && !img)
		return false;
	if (!node && !file)
		return true;
	for (struct image *i = top; i; i = i->backing)
		if (node ? i == img : strcmp(i->path, file) == 0 || (i->backing && g_strcmp0(i->backing_name, file) == 0)) {
			*ret = node || strcmp(i->path, file) == 0 ? i : i->backing;
			return true;
		}
	return node ? kv_fail(error, KV_ERROR_USAGE, "Node '%s' is not a backing image of '%s'", node,
			      graph_name(graph_of(opaque), top)) :
		      kv_fail(error, KV_ERROR_USAGE, "Can't find '%s' in the backing chain", file);
}

static JsonNode *started(const struct job *job)
{
	return job ? qmp_nothing() : NULL;
}

JsonNode *qmp_block_commit(void *opaque, JsonObject *args, GError **error)
{
	struct image *active = lookup(opaque, args, "device", error);
	struct job_commit what = { .active = active, .backing_file = qmp_text(args, "backing-file") };
	struct job_options options;

	if (!active || !read_options(opaque, args, &options, error) ||
	    !find_below(opaque, active, qmp_text(args, "top-node"), qmp_text(args, "top"), &what.top, error) ||
	    !find_below(opaque, active, qmp_text(args, "base-node"), qmp_text(args, "base"), &what.base, error))
		return NULL;
	if (!what.top)
		what.top = active;
	for (struct image *i = what.top->backing; i && !what.base; i = i->backing)
		if (!i->backing)
			what.base = i;
	if (!what.base)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Cannot commit, '%s' has no backing file", what.top->path);
	return started(job_commit_new(&options, &what, error));
}

JsonNode *qmp_block_stream(void *opaque, JsonObject *args, GError **error)
{
	struct image *top = lookup(opaque, args, "device", error), *bottom = NULL;
	struct job_stream what = { .top = top, .backing_file = qmp_text(args, "backing-file") };
	struct job_options options;

	if (!top || !read_options(opaque, args, &options, error) ||
	    !find_below(opaque, top, qmp_text(args, "base-node"), qmp_text(args, "base"), &what.base, error) ||
	    !find_below(opaque, top, qmp_text(args, "bottom"), NULL, &bottom, error))
		return NULL;
	if (bottom && what.base)
		return qmp_fail(error, QMP_ERROR_GENERIC, "'bottom' and 'base' are specified, which is mutually exclusive");
	if (bottom)
		what.base = bottom->backing;
	return started(job_stream_new(&options, &what, error));
}

static enum job_sync sync_of(JsonObject *args)
{
	return find_word(sync_names, json_object_get_string_member(args, "sync"));
}

JsonNode *qmp_blockdev_mirror(void *opaque, JsonObject *args, GError **error)
{
	gint64 granularity = json_object_get_int_member_with_default(args, "granularity", 0);
	gint64 buf_size = json_object_get_int_member_with_default(args, "buf-size", 0);
	struct job_mirror what = { .source = lookup(opaque, args, "device", error), .sync = sync_of(args) };
	struct job_options options;

	what.target = what.source ? lookup_target(opaque, args, error) : NULL;
	if (!what.target || !read_options(opaque, args, &options, error))
		return NULL;
	if (qmp_text(args, "replaces") && !(what.replaces = lookup(opaque, args, "replaces", error)))
		return NULL;
	if (what.sync == JOB_SYNC_INCREMENTAL || what.sync == JOB_SYNC_BITMAP)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Sync mode '%s' not supported",
				json_object_get_string_member(args, "sync"));
	if (granularity && (granularity < 512 || granularity > 64 << 20 || (granularity & (granularity - 1))))
		return qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'granularity' expects a power of 2 in range [512B, 64MB]");
	if (buf_size < 0)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'buf-size' expects a non-negative value");
	what.write_blocking = g_strcmp0(qmp_text(args, "copy-mode"), "write-blocking") == 0;
	what.granularity = granularity;
	what.buf_size = buf_size;
	return started(job_mirror_new(&options, &what, error));
}

/* ---- backups, which may be part of a transaction ---- */

static bool read_bitmap(JsonObject *args, struct job_backup *what, GError **error)
{
	const char *mode = qmp_text(args, "bitmap-mode"), *name = qmp_text(args, "bitmap");
	bool wanted = what->sync == JOB_SYNC_INCREMENTAL || what->sync == JOB_SYNC_BITMAP;

	if (wanted && !name)
		return kv_fail(error, KV_ERROR_USAGE, "must provide a valid bitmap name for '%s' sync mode",
			       json_object_get_string_member(args, "sync"));
	if (what->sync == JOB_SYNC_BITMAP && !mode)
		return kv_fail(error, KV_ERROR_USAGE, "Bitmap sync mode must be given when providing a bitmap");
	if (name && !wanted)
		return kv_fail(error, KV_ERROR_USAGE, "Sync mode '%s' does not take a bitmap",
			       json_object_get_string_member(args, "sync"));
	if (!name)
		return !mode || kv_fail(error, KV_ERROR_USAGE, "Cannot specify bitmap sync mode without a bitmap");
	what->bitmap_mode = !mode || strcmp(mode, "on-success") == 0 ? JOB_BITMAP_ON_SUCCESS :
			    strcmp(mode, "never") == 0		     ? JOB_BITMAP_NEVER :
								       JOB_BITMAP_ALWAYS;
	if (what->sync == JOB_SYNC_INCREMENTAL && what->bitmap_mode != JOB_BITMAP_ON_SUCCESS)
		return kv_fail(error, KV_ERROR_USAGE, "Bitmap sync mode must be 'on-success' when using sync mode 'incremental'");
	what->bitmap = image_bitmap_find(what->source, name, error);
	return what->bitmap && image_bitmap_usable(what->source, what->bitmap, true, error);
}

static bool prepare_backup(void *opaque, JsonObject *args, void **state, GError **error)
{
	struct job_backup what = { .source = lookup(opaque, args, "device", error),
				   .sync = sync_of(args),
				   .compress = json_object_get_boolean_member_with_default(args, "compress", FALSE) };
	struct job_group *own;
	struct job_options options;
	struct vmm *vmm = opaque;
	struct job *job;

	what.target = what.source ? lookup_target(opaque, args, error) : NULL;
	if (!what.target || !read_options(opaque, args, &options, error) || !read_bitmap(args, &what, error))
		return false;
	/* A group has it wait for job_start(). */
	own = vmm->job_group ? NULL : job_group_new();
	options.group = own ? own : vmm->job_group;
	job = job_backup_new(&options, &what, error);
	if (own)
		job_group_unref(own);
	*state = job ? job_ref(job) : NULL;
	return job;
}

static bool commit_backup(void *opaque, void *state, GError **error)
{
	job_start(state);
	return true;
}

static void abort_backup(void *opaque, void *state)
{
	job_cancel(state, true, NULL);
}

static void clean_backup(void *opaque, void *state)
{
	job_unref(state);
}

const struct qmp_action qmp_action_backup = { "blockdev-backup", qmp_blockdev_backup_args, prepare_backup,
					      commit_backup,	 abort_backup,		   clean_backup };

JsonNode *qmp_blockdev_backup(void *opaque, JsonObject *args, GError **error)
{
	return qmp_run_action(&qmp_action_backup, opaque, args, error);
}

/* ---- verbs ---- */

static struct job *find_job(JsonObject *args, GError **error)
{
	bool block = json_object_has_member(args, "device");
	const char *id = json_object_get_string_member(args, block ? "device" : "id");
	struct job *job = job_find(id);

	if (job)
		return job;
	if (block)
		qmp_fail(error, QMP_ERROR_DEVICE_NOT_ACTIVE, "Block job '%s' not found", id);
	else
		qmp_fail(error, QMP_ERROR_GENERIC, "Job not found");
	return NULL;
}

static JsonNode *verb(JsonObject *args, bool (*run)(struct job *job, GError **error), GError **error)
{
	struct job *job = find_job(args, error);

	return job && run(job, error) ? qmp_nothing() : NULL;
}

JsonNode *qmp_job_pause(void *opaque, JsonObject *args, GError **error)
{
	return verb(args, job_pause, error);
}

JsonNode *qmp_job_resume(void *opaque, JsonObject *args, GError **error)
{
	return verb(args, job_resume, error);
}

JsonNode *qmp_job_complete(void *opaque, JsonObject *args, GError **error)
{
	return verb(args, job_complete, error);
}

JsonNode *qmp_job_finalize(void *opaque, JsonObject *args, GError **error)
{
	return verb(args, job_finalize, error);
}

JsonNode *qmp_job_dismiss(void *opaque, JsonObject *args, GError **error)
{
	return verb(args, job_dismiss, error);
}

/* job-cancel is always forced; block-job-cancel as it is told. */
JsonNode *qmp_job_cancel(void *opaque, JsonObject *args, GError **error)
{
	bool force = !json_object_has_member(args, "device") || json_object_get_boolean_member_with_default(args, "force", FALSE);
	struct job *job = find_job(args, error);

	return job && job_cancel(job, force, error) ? qmp_nothing() : NULL;
}

JsonNode *qmp_block_job_set_speed(void *opaque, JsonObject *args, GError **error)
{
	gint64 speed = json_object_get_int_member(args, "speed");
	struct job *job = find_job(args, error);

	if (!job)
		return NULL;
	if (speed < 0)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'speed' expects a non-negative value");
	return job_set_speed(job, speed, error) ? qmp_nothing() : NULL;
}

/* ---- queries ---- */

static void put_progress(JsonObject *o, struct job *job, const char *now, const char *all)
{
	uint64_t offset, len;

	job_progress(job, &offset, &len);
	json_object_set_int_member(o, now, offset);
	json_object_set_int_member(o, all, len);
}

JsonNode *qmp_query_jobs(void *opaque, JsonObject *args, GError **error)
{
	g_autoptr(GList) jobs = job_list();
	JsonArray *list = json_array_new();

	for (GList *l = jobs; l; l = l->next) {
		struct job *job = l->data;
		JsonObject *o = json_object_new();

		put_progress(o, job, "current-progress", "total-progress");
		json_object_set_string_member(o, "status", job_status_name(job->status));
		json_object_set_string_member(o, "type", job_type_name(job->type));
		json_object_set_string_member(o, "id", job->id);
		if (job->error)
			json_object_set_string_member(o, "error", job->error);
		json_array_add_object_element(list, o);
	}
	return qmp_array(list);
}

JsonNode *qmp_query_block_jobs(void *opaque, JsonObject *args, GError **error)
{
	g_autoptr(GList) jobs = job_list();
	JsonArray *list = json_array_new();

	for (GList *l = jobs; l; l = l->next) {
		struct job *job = l->data;
		JsonObject *o;

		if (job->type == JOB_CREATE)
			continue;
		o = json_object_new();
		json_object_set_boolean_member(o, "auto-finalize", job->auto_finalize);
		json_object_set_string_member(o, "io-status", job_io_status_name(job->io_status));
		json_object_set_string_member(o, "device", job->id);
		json_object_set_boolean_member(o, "auto-dismiss", job->auto_dismiss);
		json_object_set_boolean_member(o, "busy", job_is_busy(job));
		put_progress(o, job, "offset", "len");
		json_object_set_string_member(o, "status", job_status_name(job->status));
		json_object_set_boolean_member(o, "paused", job_is_paused(job));
		json_object_set_int_member(o, "speed", job->speed);
		json_object_set_boolean_member(o, "ready", job_is_ready(job));
		json_object_set_string_member(o, "type", job_type_name(job->type));
		if (job->error)
			json_object_set_string_member(o, "error", job->error);
		json_array_add_object_element(list, o);
	}
	return qmp_array(list);
}

/* ---- events ---- */

static void send_status(struct vmm *vmm, const struct job *job)
{
	JsonObject *data = json_object_new();

	json_object_set_string_member(data, "status", job_status_name(job->status));
	json_object_set_string_member(data, "id", job->id);
	qmp_event(vmm, "JOB_STATUS_CHANGE", data);
}

static void send_progress(struct vmm *vmm, const char *name, struct job *job, bool with_error)
{
	JsonObject *data = json_object_new();

	json_object_set_string_member(data, "device", job->id);
	put_progress(data, job, "offset", "len");
	json_object_set_int_member(data, "speed", job->speed);
	json_object_set_string_member(data, "type", job_type_name(job->type));
	if (with_error && job->error)
		json_object_set_string_member(data, "error", job->error);
	qmp_event(vmm, name, data);
}

static void send_error(struct vmm *vmm, const struct job_event *e)
{
	JsonObject *data = json_object_new();

	json_object_set_string_member(data, "device", e->job->id);
	json_object_set_string_member(data, "operation", e->is_read ? "read" : "write");
	json_object_set_string_member(data, "action", job_action_name(e->action));
	qmp_event(vmm, "BLOCK_JOB_ERROR", data);
}

static void send_pending(struct vmm *vmm, const struct job *job)
{
	JsonObject *data = json_object_new();

	json_object_set_string_member(data, "type", job_type_name(job->type));
	json_object_set_string_member(data, "id", job->id);
	qmp_event(vmm, "BLOCK_JOB_PENDING", data);
}

static void listen(void *opaque, const struct job_event *e)
{
	struct vmm *vmm = opaque;

	/* blockdev-create is no block job. */
	if (e->job->type == JOB_CREATE && e->kind != JOB_EVENT_STATUS)
		return graph_sweep(vmm->graph);
	switch (e->kind) {
	case JOB_EVENT_STATUS:
		send_status(vmm, e->job);
		break;
	case JOB_EVENT_READY:
		send_progress(vmm, "BLOCK_JOB_READY", e->job, false);
		break;
	case JOB_EVENT_COMPLETED:
		graph_sweep(vmm->graph); /* who hears of it finds the files closed that nobody has any more */
		send_progress(vmm, "BLOCK_JOB_COMPLETED", e->job, true);
		break;
	case JOB_EVENT_CANCELLED:
		graph_sweep(vmm->graph);
		send_progress(vmm, "BLOCK_JOB_CANCELLED", e->job, false);
		break;
	case JOB_EVENT_PENDING:
		send_pending(vmm, e->job);
		break;
	case JOB_EVENT_ERROR:
		send_error(vmm, e);
		break;
	}
}

static bool replace(void *opaque, struct image *from, struct image *to, GError **error)
{
	graph_replace(graph_of(opaque), from, to);
	return true;
}

static const char *name_of(void *opaque, const struct image *img)
{
	return graph_name(graph_of(opaque), img);
}

void qmp_open_jobs(struct vmm *vmm)
{
	vmm->job_owner = g_new(struct job_owner, 1);
	*vmm->job_owner = (struct job_owner){ .replace = replace, .name = name_of, .opaque = vmm };
	job_set_listener(listen, vmm);
}

void qmp_close_jobs(struct vmm *vmm)
{
	job_cancel_all();
	job_set_listener(NULL, NULL);
	g_clear_pointer(&vmm->job_owner, g_free);
}
