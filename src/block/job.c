/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The states of jobs (job.h): which follows which, which verb goes with which, groups, and the events that tell of it. The main
 * thread alone changes a status; the job's threads send it messages. A message is a GSource, never run inside of the sender.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "driver.h"
#include "error.h"
#include "role.h"

enum {
	RETRY_MS = 100, /* after an error that is ignored */
};

struct job_group {
	int refs;
	GPtrArray *jobs;
	bool aborting;
};

/* An image that a job has. */
struct use {
	struct image *img;
	bool alone;
};

static GList *jobs;
static void (*listener)(void *opaque, const struct job_event *event);
static void *listener_opaque;

/* ---- names and tables ---- */

static const char *const type_names[] = {
	[JOB_COMMIT] = "commit", [JOB_STREAM] = "stream", [JOB_MIRROR] = "mirror",
	[JOB_BACKUP] = "backup", [JOB_CREATE] = "create",
};
static const char *const status_names[JOB_STATUS_N] = {
	[JOB_UNDEFINED] = "undefined", [JOB_CREATED] = "created",     [JOB_RUNNING] = "running", [JOB_PAUSED] = "paused",
	[JOB_READY] = "ready",	       [JOB_STANDBY] = "standby",     [JOB_WAITING] = "waiting", [JOB_PENDING] = "pending",
	[JOB_ABORTING] = "aborting",   [JOB_CONCLUDED] = "concluded", [JOB_NULL] = "null",
};

enum verb { CANCEL, PAUSE, RESUME, SET_SPEED, COMPLETE, FINALIZE, DISMISS };
#define IN(status) (1u << JOB_##status)
enum {
	WORKS = IN(CREATED) | IN(RUNNING) | IN(PAUSED) | IN(READY) | IN(STANDBY),
};
static const struct {
	const char *name;
	unsigned states;
} verbs[] = {
	[CANCEL] = { "cancel", WORKS | IN(WAITING) | IN(PENDING) },
	[PAUSE] = { "pause", WORKS },
	[RESUME] = { "resume", WORKS },
	[SET_SPEED] = { "set-speed", WORKS },
	[COMPLETE] = { "complete", IN(READY) },
	[FINALIZE] = { "finalize", IN(PENDING) },
	[DISMISS] = { "dismiss", IN(CONCLUDED) },
};
static const unsigned follows[JOB_STATUS_N] = {
	[JOB_UNDEFINED] = IN(CREATED),
	[JOB_CREATED] = IN(RUNNING) | IN(ABORTING) | IN(NULL),
	[JOB_RUNNING] = IN(PAUSED) | IN(READY) | IN(WAITING) | IN(ABORTING),
	[JOB_PAUSED] = IN(RUNNING),
	[JOB_READY] = IN(STANDBY) | IN(WAITING) | IN(ABORTING),
	[JOB_STANDBY] = IN(READY),
	[JOB_WAITING] = IN(PENDING) | IN(ABORTING),
	[JOB_PENDING] = IN(ABORTING) | IN(CONCLUDED),
	[JOB_ABORTING] = IN(ABORTING) | IN(CONCLUDED),
	[JOB_CONCLUDED] = IN(NULL),
};

const char *job_type_name(enum job_type type)
{
	return type_names[type];
}

const char *job_status_name(enum job_status status)
{
	return status_names[status];
}

const char *job_action_name(enum job_action action)
{
	static const char *const names[] = { "report", "ignore", "stop" };

	return names[action];
}

const char *job_io_status_name(enum job_io_status status)
{
	static const char *const names[] = { "ok", "failed", "nospace" };

	return names[status];
}

/* ---- events ---- */

void job_set_listener(void (*f)(void *opaque, const struct job_event *event), void *opaque)
{
	listener = f;
	listener_opaque = opaque;
}

static void tell(struct job *job, enum job_event_kind kind)
{
	struct job_event event = { .kind = kind, .job = job };

	if (listener)
		listener(listener_opaque, &event);
}

static void set_status(struct job *job, enum job_status status)
{
	g_assert(follows[job->status] & 1u << status);
	if (job->status == status)
		return;
	job->status = status;
	tell(job, JOB_EVENT_STATUS);
}

/* ---- messages to the main thread ---- */

struct message {
	struct job *job;
	void (*run)(struct job *job, unsigned value);
	unsigned value;
};

static gboolean message_run(gpointer data)
{
	struct message *m = data;

	m->run(m->job, m->value);
	return G_SOURCE_REMOVE;
}

static void message_free(gpointer data)
{
	struct message *m = data;

	job_unref(m->job);
	g_free(m);
}

static void post(struct job *job, void (*run)(struct job *job, unsigned value), unsigned value)
{
	g_autoptr(GSource) source = g_idle_source_new();
	struct message *m = g_new(struct message, 1);

	*m = (struct message){ job_ref(job), run, value };
	g_source_set_priority(source, G_PRIORITY_DEFAULT);
	g_source_set_callback(source, message_run, m, message_free);
	g_source_attach(source, NULL);
}

/* ---- the list ---- */

struct job *job_find(const char *id)
{
	for (GList *l = jobs; l; l = l->next)
		if (strcmp(((struct job *)l->data)->id, id) == 0)
			return l->data;
	return NULL;
}

GList *job_list(void)
{
	return g_list_copy(jobs);
}

struct job *job_ref(struct job *job)
{
	__atomic_add_fetch(&job->refs, 1, __ATOMIC_RELAXED);
	return job;
}

void job_unref(struct job *job)
{
	if (__atomic_sub_fetch(&job->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	g_ptr_array_free(job->images, TRUE);
	g_mutex_clear(&job->lock);
	g_cond_clear(&job->changed);
	g_free(job->failure);
	g_free(job->error);
	g_free(job->id);
	g_free(job);
}

static const struct use *use_of(const struct job *job, const struct image *img)
{
	for (unsigned i = 0; i < job->images->len; i++) {
		const struct use *u = job->images->pdata[i];

		if (u->img == img)
			return u;
	}
	return NULL;
}

struct job *job_using(const struct image *img)
{
	for (GList *l = jobs; l; l = l->next)
		if (use_of(l->data, img))
			return l->data;
	return NULL;
}

static void use_free(gpointer p)
{
	image_close(((struct use *)p)->img);
	g_free(p);
}

static const char *name_of(const struct job_owner *owner, const struct image *img)
{
	const char *name = owner && owner->name ? owner->name(owner->opaque, img) : NULL;

	return name ? name : img->path;
}

const char *job_name_of(const struct job_options *options, const struct image *img)
{
	return name_of(options->owner, img);
}

bool job_use(struct job *job, struct image *img, bool alone, GError **error)
{
	struct use *u;

	for (GList *l = jobs; l; l = l->next) {
		const struct job *other = l->data;
		const struct use *theirs = use_of(other, img);

		if (other == job && theirs)
			return true;
		if (theirs && (alone || theirs->alone))
			return kv_fail(error, KV_ERROR_BUSY, "Node '%s' is busy: block device is in use by block job: %s",
				       name_of(job->owner, img), type_names[other->type]);
	}
	u = g_new(struct use, 1);
	*u = (struct use){ image_ref(img), alone };
	g_ptr_array_add(job->images, u);
	return true;
}

bool job_use_chain(struct job *job, struct image *img, GError **error)
{
	for (; img; img = img->backing)
		if (!job_use(job, img, false, error))
			return false;
	return true;
}

/* QEMU's id_wellformed(). */
static bool id_is_fine(const char *id)
{
	bool fine = g_ascii_isalpha(*id);

	for (; *id; id++)
		fine = fine && (g_ascii_isalnum(*id) || strchr("-._", *id));
	return fine;
}

/* ---- groups ---- */

struct job_group *job_group_new(void)
{
	struct job_group *g = g_new0(struct job_group, 1);

	g->refs = 1;
	g->jobs = g_ptr_array_new();
	return g;
}

void job_group_unref(struct job_group *g)
{
	if (--g->refs)
		return;
	g_ptr_array_free(g->jobs, TRUE);
	g_free(g);
}

static void group_leave(struct job *job)
{
	struct job_group *g = job->group;

	job->group = NULL;
	g_ptr_array_remove(g->jobs, job);
	job_group_unref(g);
}

struct job *job_new(const struct job_driver *driver, size_t size, const struct job_options *options, GError **error)
{
	struct job *job;

	if (!options->id || !id_is_fine(options->id)) {
		kv_fail(error, KV_ERROR_USAGE, "Invalid job ID '%s'", options->id ? options->id : "");
		return NULL;
	}
	if (job_find(options->id)) {
		kv_fail(error, KV_ERROR_USAGE, "Job ID '%s' already in use", options->id);
		return NULL;
	}
	job = g_malloc0(size);
	job->driver = driver;
	job->id = g_strdup(options->id);
	job->type = driver->type;
	job->auto_finalize = !options->manual_finalize;
	job->auto_dismiss = !options->manual_dismiss;
	job->on_source_error = options->on_source_error;
	job->on_target_error = options->on_target_error;
	job->speed = job->rate = options->speed;
	job->owner = options->owner;
	job->images = g_ptr_array_new_with_free_func(use_free);
	job->refs = 1;
	job->group = options->group ? options->group : job_group_new();
	job->group->refs += options->group != NULL;
	job->started = !options->group; /* to be, by job_created() */
	g_mutex_init(&job->lock);
	g_cond_init(&job->changed);
	g_ptr_array_add(job->group->jobs, job);
	jobs = g_list_append(jobs, job);
	return job;
}

void job_drop(struct job *job)
{
	group_leave(job);
	jobs = g_list_remove(jobs, job);
	job_unref(job);
}

void job_created(struct job *job)
{
	bool start = job->started;

	job->started = false;
	set_status(job, JOB_CREATED);
	if (start)
		job_start(job);
}

/* ---- how a job ends ---- */

static bool is_through(const struct job *job)
{
	return job->status >= JOB_WAITING;
}

static void update_result(struct job *job)
{
	if (!job->result && job->forced)
		job->result = -ECANCELED;
	if (!job->result)
		return;
	if (!job->error)
		job->error = g_strdup(g_strerror(-job->result));
	set_status(job, JOB_ABORTING);
}

static void do_dismiss(struct job *job)
{
	set_status(job, JOB_NULL);
	jobs = g_list_remove(jobs, job);
	job_unref(job);
}

static void conclude(struct job *job)
{
	job_ref(job);
	update_result(job);
	if (job->driver->end)
		job->driver->end(job);
	g_ptr_array_set_size(job->images, 0);
	if (job->thread)
		tell(job, job->forced ? JOB_EVENT_CANCELLED : JOB_EVENT_COMPLETED);
	group_leave(job);
	set_status(job, JOB_CONCLUDED);
	if (job->status == JOB_CONCLUDED && (job->auto_dismiss || !job->thread))
		do_dismiss(job);
	job_unref(job);
}

/* All of them, which may go away with that. */
static void conclude_all(struct job_group *g)
{
	g->refs++;
	while (g->jobs->len)
		conclude(g->jobs->pdata[0]);
	job_group_unref(g);
}

static bool all_through(const struct job_group *g)
{
	for (unsigned i = 0; i < g->jobs->len; i++)
		if (!is_through(g->jobs->pdata[i]))
			return false;
	return true;
}

/* Running or ready again: what a job does before it does anything else. */
static void unpark(struct job *job)
{
	g_mutex_lock(&job->lock);
	job->pause = false;
	g_cond_broadcast(&job->changed);
	g_mutex_unlock(&job->lock);
	job->user_paused = false;
	if (job->status == JOB_PAUSED)
		set_status(job, JOB_RUNNING);
	else if (job->status == JOB_STANDBY)
		set_status(job, JOB_READY);
}

static void ask_to_end(struct job *job, bool force)
{
	force = force || !job->driver->soft_cancel || !job_is_ready(job);
	g_mutex_lock(&job->lock);
	if (force || !job->over) {
		job->cancelled = true;
		job->forced |= force;
	}
	g_mutex_unlock(&job->lock);
	unpark(job);
}

static void group_abort(struct job *job)
{
	struct job_group *g = job->group;

	if (!g->aborting) {
		g->aborting = true;
		for (unsigned i = 0; i < g->jobs->len; i++) {
			struct job *other = g->jobs->pdata[i];

			if (other != job)
				ask_to_end(other, true);
		}
	}
	for (unsigned i = 0; i < g->jobs->len; i++) {
		struct job *other = g->jobs->pdata[i];

		if (other->status == JOB_CREATED)
			update_result(other);
	}
	if (all_through(g))
		conclude_all(g);
}

static bool prepare_all(struct job_group *g, struct job **ret_failed)
{
	for (unsigned i = 0; i < g->jobs->len; i++) {
		struct job *job = g->jobs->pdata[i];
		g_autoptr(GError) error = NULL;

		if (!job->driver->prepare || job->driver->prepare(job, &error))
			continue;
		job->result = -EIO;
		g_free(job->error);
		job->error = g_strdup(error->message);
		*ret_failed = job;
		return false;
	}
	return true;
}

static void finalize_all(struct job_group *g)
{
	struct job *failed;

	if (prepare_all(g, &failed)) {
		conclude_all(g);
	} else {
		update_result(failed);
		group_abort(failed);
	}
}

static void group_success(struct job *job)
{
	struct job_group *g = job->group;
	bool manual = false;

	set_status(job, JOB_WAITING);
	if (!all_through(g))
		return;
	for (unsigned i = 0; i < g->jobs->len; i++) {
		struct job *other = g->jobs->pdata[i];

		set_status(other, JOB_PENDING);
		if (!other->auto_finalize)
			tell(other, JOB_EVENT_PENDING);
		manual |= !other->auto_finalize;
	}
	if (!manual)
		finalize_all(g);
}

static void completed(struct job *job)
{
	update_result(job);
	if (job->result || job->group->aborting)
		group_abort(job);
	else
		group_success(job);
}

static void on_over(struct job *job, unsigned result)
{
	g_thread_join(job->thread);
	g_mutex_lock(&job->lock);
	job->over = true;
	job->result = (int)result;
	job->error = job->result ? g_steal_pointer(&job->failure) : NULL;
	g_mutex_unlock(&job->lock);
	/* Paused too late. */
	unpark(job);
	completed(job);
}

static gpointer thread_main(gpointer data)
{
	struct job *job = data;
	int res;

	kv_role_enter("job");
	res = job_go_on(job) ? job->driver->run(job) : -ECANCELED;

	post(job, on_over, (unsigned)res);
	return NULL;
}

/* ---- verbs ---- */

static bool apply(const struct job *job, enum verb verb, GError **error)
{
	if (verbs[verb].states & 1u << job->status)
		return true;
	return kv_fail(error, KV_ERROR_USAGE, "Job '%s' in state '%s' cannot accept command verb '%s'", job->id,
		       status_names[job->status], verbs[verb].name);
}

void job_start(struct job *job)
{
	job->started = true;
	set_status(job, JOB_RUNNING);
	job->active = 1;
	job->thread = g_thread_new(type_names[job->type], thread_main, job);
}

bool job_cancel(struct job *job, bool force, GError **error)
{
	if (!apply(job, CANCEL, error))
		return false;
	job_ref(job);
	ask_to_end(job, force);
	if (!job->started) {
		completed(job);
	} else if (is_through(job) && job->forced) {
		update_result(job);
		group_abort(job);
	}
	job_unref(job);
	return true;
}

/* All threads of the job are parked, or were. */
static void on_parked(struct job *job, unsigned unused)
{
	bool parked;

	g_mutex_lock(&job->lock);
	parked = job->pause && !job->active && !job->forced;
	g_mutex_unlock(&job->lock);
	if (parked && job->status == JOB_RUNNING)
		set_status(job, JOB_PAUSED);
	else if (parked && job->status == JOB_READY)
		set_status(job, JOB_STANDBY);
}

bool job_pause(struct job *job, GError **error)
{
	if (!apply(job, PAUSE, error))
		return false;
	if (job_is_paused(job))
		return kv_fail(error, KV_ERROR_USAGE, "Job is already paused");
	g_mutex_lock(&job->lock);
	job->pause = true;
	g_cond_broadcast(&job->changed);
	g_mutex_unlock(&job->lock);
	job->user_paused = true;
	on_parked(job, 0);
	return true;
}

bool job_resume(struct job *job, GError **error)
{
	if (!job_is_paused(job))
		return kv_fail(error, KV_ERROR_USAGE, "Can't resume a job that was not paused");
	if (!apply(job, RESUME, error))
		return false;
	job->io_status = JOB_IO_OK;
	unpark(job);
	return true;
}

bool job_set_speed(struct job *job, uint64_t speed, GError **error)
{
	if (!apply(job, SET_SPEED, error))
		return false;
	job->speed = speed;
	g_mutex_lock(&job->lock);
	job->rate = speed;
	job->allowed_at = 0;
	g_cond_broadcast(&job->changed);
	g_mutex_unlock(&job->lock);
	return true;
}

bool job_complete(struct job *job, GError **error)
{
	bool cancelled;

	if (!apply(job, COMPLETE, error))
		return false;
	g_mutex_lock(&job->lock);
	cancelled = job->cancelled;
	if (!cancelled && job->driver->completes)
		job->completing = true;
	g_cond_broadcast(&job->changed);
	g_mutex_unlock(&job->lock);
	return (!cancelled && job->driver->completes) ||
	       kv_fail(error, KV_ERROR_USAGE, "The active block job '%s' cannot be completed", job->id);
}

bool job_finalize(struct job *job, GError **error)
{
	if (!apply(job, FINALIZE, error))
		return false;
	finalize_all(job->group);
	return true;
}

bool job_dismiss(struct job *job, GError **error)
{
	if (!apply(job, DISMISS, error))
		return false;
	do_dismiss(job);
	return true;
}

void job_cancel_all(void)
{
	while (jobs) {
		GList *all = job_list();
		bool done = false;

		/* One of a group may take others with it. */
		for (GList *l = all; l && !done; l = l->next) {
			struct job *job = l->data;

			if (job->status == JOB_CONCLUDED) {
				do_dismiss(job);
				done = true;
			} else if (!job->forced) {
				job_cancel(job, true, NULL);
				done = true;
			}
		}
		g_list_free(all);
		if (!done)
			g_main_context_iteration(NULL, TRUE);
	}
}

bool job_is_ready(const struct job *job)
{
	return job->status == JOB_READY || job->status == JOB_STANDBY;
}

bool job_is_paused(const struct job *job)
{
	return job->user_paused;
}

bool job_is_busy(struct job *job)
{
	bool busy;

	g_mutex_lock(&job->lock);
	busy = job->thread && !job->over && job->active;
	g_mutex_unlock(&job->lock);
	return busy;
}

/* Both change while they are read; clients expect no offset beyond the length. */
void job_progress(struct job *job, uint64_t *ret_offset, uint64_t *ret_len)
{
	uint64_t offset = __atomic_load_n(&job->offset, __ATOMIC_RELAXED), len = __atomic_load_n(&job->len, __ATOMIC_RELAXED);

	*ret_offset = offset;
	*ret_len = MAX(len, offset);
}

/* ---- in the job's threads ---- */

/* Under the lock. */
static void stop_being_active(struct job *job)
{
	if (!--job->active && job->pause)
		post(job, on_parked, 0);
}

static bool is_ending(const struct job *job)
{
	return job->forced || job->failed;
}

bool job_go_on(struct job *job)
{
	bool ok;

	g_mutex_lock(&job->lock);
	if (job->pause && !is_ending(job)) {
		stop_being_active(job);
		while (job->pause && !is_ending(job))
			g_cond_wait(&job->changed, &job->lock);
		job->active++;
	}
	ok = !is_ending(job);
	g_mutex_unlock(&job->lock);
	return ok;
}

static bool is_wanted(const struct job *job)
{
	return job->pause || is_ending(job);
}

void job_pace(struct job *job, uint64_t bytes)
{
	uint64_t now = g_get_monotonic_time(), rate;

	g_mutex_lock(&job->lock);
	rate = job->rate;
	while (rate && job->rate == rate && !is_wanted(job) && now < job->allowed_at) {
		g_cond_wait_until(&job->changed, &job->lock, job->allowed_at);
		now = g_get_monotonic_time();
	}
	if (job->rate)
		job->allowed_at = MAX(now, job->allowed_at) + (uint64_t)((double)bytes * G_USEC_PER_SEC / job->rate);
	g_mutex_unlock(&job->lock);
}

void job_rest(struct job *job, unsigned ms)
{
	g_mutex_lock(&job->lock);
	if (!is_wanted(job) && !job->completing && !job->cancelled)
		g_cond_wait_until(&job->changed, &job->lock, g_get_monotonic_time() + ms * 1000);
	g_mutex_unlock(&job->lock);
}

void job_set_progress(struct job *job, uint64_t offset, uint64_t len)
{
	__atomic_store_n(&job->len, len, __ATOMIC_RELAXED);
	__atomic_store_n(&job->offset, offset, __ATOMIC_RELAXED);
}

void job_advance(struct job *job, uint64_t bytes)
{
	__atomic_add_fetch(&job->offset, bytes, __ATOMIC_RELAXED);
}

enum { IS_READ = 1, NO_SPACE = 2, ACTION_SHIFT = 2 };

static void on_error(struct job *job, unsigned what)
{
	struct job_event event = { JOB_EVENT_ERROR, job, what & IS_READ, what >> ACTION_SHIFT };

	if (listener)
		listener(listener_opaque, &event);
	if (event.action != JOB_ACTION_STOP)
		return;
	job->io_status = what & NO_SPACE ? JOB_IO_NOSPACE : JOB_IO_FAILED;
	g_mutex_lock(&job->lock);
	job->user_paused = job->pause;
	g_mutex_unlock(&job->lock);
}

static enum job_action action_for(enum job_on_error policy, int err)
{
	switch (policy) {
	case JOB_ON_ERROR_IGNORE:
		return JOB_ACTION_IGNORE;
	case JOB_ON_ERROR_STOP:
		return JOB_ACTION_STOP;
	case JOB_ON_ERROR_ENOSPC:
		return err == -ENOSPC ? JOB_ACTION_STOP : JOB_ACTION_REPORT;
	default:
		return JOB_ACTION_REPORT;
	}
}

enum job_action job_io_error(struct job *job, bool is_read, int err)
{
	enum job_action action = action_for(is_read ? job->on_source_error : job->on_target_error, err);

	g_mutex_lock(&job->lock);
	post(job, on_error, (unsigned)action << ACTION_SHIFT | (is_read ? IS_READ : 0) | (err == -ENOSPC ? NO_SPACE : 0));
	if (action == JOB_ACTION_STOP && !job->forced)
		job->pause = true;
	g_mutex_unlock(&job->lock);
	if (action == JOB_ACTION_IGNORE)
		job_rest(job, RETRY_MS);
	return action;
}

static void on_ready(struct job *job, unsigned unused)
{
	/* Paused, gone on and paused again before this came: it is parked since then. */
	if (job->status == JOB_PAUSED)
		set_status(job, JOB_RUNNING);
	if (job->status != JOB_RUNNING)
		return;
	set_status(job, JOB_READY);
	tell(job, JOB_EVENT_READY);
	on_parked(job, 0);
}

void job_set_ready(struct job *job)
{
	post(job, on_ready, 0);
}

bool job_is_completing(struct job *job)
{
	bool yes;

	g_mutex_lock(&job->lock);
	yes = job->completing || job->cancelled;
	g_mutex_unlock(&job->lock);
	return yes;
}

bool job_is_soft_cancelled(struct job *job)
{
	bool yes;

	g_mutex_lock(&job->lock);
	yes = job->cancelled && !job->forced;
	g_mutex_unlock(&job->lock);
	return yes;
}

int job_fail(struct job *job, int err, const char *format, ...)
{
	va_list args;

	g_mutex_lock(&job->lock);
	if (!job->failure) {
		va_start(args, format);
		job->failure = g_strdup_vprintf(format, args);
		va_end(args);
	}
	g_mutex_unlock(&job->lock);
	return err;
}

struct team {
	struct job *job;
	int (*work)(struct job *job);
};

static gpointer team_main(gpointer data)
{
	const struct team *t = data;
	struct job *job = t->job;
	int res = t->work(job);

	g_mutex_lock(&job->lock);
	if (res < 0 && !job->failed)
		job->failed = res;
	g_cond_broadcast(&job->changed);
	stop_being_active(job);
	g_mutex_unlock(&job->lock);
	return NULL;
}

int job_parallel(struct job *job, unsigned n, int (*work)(struct job *job))
{
	struct team t = { job, work };
	g_autofree GThread **threads = g_new0(GThread *, n);
	int res;

	g_mutex_lock(&job->lock);
	job->active += n - 1;
	job->failed = 0;
	g_mutex_unlock(&job->lock);
	for (unsigned i = 1; i < n; i++)
		threads[i] = g_thread_new(type_names[job->type], team_main, &t);
	team_main(&t);
	for (unsigned i = 1; i < n; i++)
		g_thread_join(threads[i]);
	g_mutex_lock(&job->lock);
	job->active++;
	res = job->failed;
	g_mutex_unlock(&job->lock);
	return res;
}
