/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sends the machine. A thread sends memory while the guest runs, round after round, until what is left takes no longer than the
 * downtime limit; then the main thread pauses the machine, takes its state and lets go of its disks, and the thread sends the
 * rest. A background snapshot takes memory as it is at one moment instead (saver_protect()), or, where that is not possible,
 * runs on after the pause. Statuses, events and texts are QEMU's. See migrate.h.
 */
#include "migrate.h"

#include "error.h"
#include "job.h"
#include "log.h"
#include "machine.h"
#include "role.h"
#include "vmm.h"

enum {
	DEFAULT_BANDWIDTH = 128 << 20, /* as QEMU's */
	DEFAULT_DOWNTIME = 300,
	FILE_LEFT = 1 << 20, /* bytes: a file takes these in a moment */
	ROUNDS_MAX = 30,     /* of a background snapshot: then the pause is as long as it has to be */
};

struct migrate {
	struct vmm *vmm;
	struct migrate_target target;
	struct saver *saver;
	GThread *thread;
	GSource *call; /* of the thread to the main thread, on its way */
	bool background, ran, released, gone_on;
	const char *reason; /* why it stood still before; NULL: it did not, or the user stopped it */
	bool moment; /* memory is saved as it is at the pause, by saver_protect() */
	gint64 started, setup_done, paused_at, ended, downtime; /* microseconds */
	char *error;
	GError *result; /* the thread's, when it has ended */
	struct saved_counts last;
	GMutex lock;
	GCond changed;
	bool cancelled, paused; /* under the lock, as is: */
	GByteArray *state;
	GError *pause_error;
};

static const char *const names[] = {
	[MIGRATE_NONE] = "none",	     [MIGRATE_SETUP] = "setup",		[MIGRATE_ACTIVE] = "active",
	[MIGRATE_CANCELLING] = "cancelling", [MIGRATE_CANCELLED] = "cancelled", [MIGRATE_FAILED] = "failed",
	[MIGRATE_COMPLETED] = "completed",
};

const char *migrate_status_name(enum migrate_status status)
{
	return names[status];
}

void migrate_init(struct vmm *vmm)
{
	vmm->migrate_settings.max_bandwidth = DEFAULT_BANDWIDTH;
	vmm->migrate_settings.downtime_limit = DEFAULT_DOWNTIME;
}

enum migrate_status migrate_status(const struct vmm *vmm)
{
	return vmm->migrate_status;
}

void migrate_set_status(struct vmm *vmm, enum migrate_status status)
{
	if (vmm->migrate_status == status)
		return;
	vmm->migrate_status = status;
	if (!vmm->migrate_settings.events)
		return;
	vmm_event(vmm, "MIGRATION", g_variant_new_parsed("{'status': <%s>}", names[status]));
}

bool migrate_is_active(const struct vmm *vmm)
{
	return vmm->migrate && vmm->migrate->thread;
}

void migrate_apply_settings(struct vmm *vmm)
{
	const struct migrate_settings *set = &vmm->migrate_settings;
	bool limited = migrate_is_active(vmm) && (set->bandwidth_set || vmm->migrate->target.form == SAVED_STREAM);

	if (migrate_is_active(vmm))
		saver_set_rate(vmm->migrate->saver, limited ? set->max_bandwidth : 0);
}

/* ---- the thread ---- */

static void drop_call(struct migrate *m)
{
	if (m->call)
		g_source_destroy(m->call);
	g_clear_pointer(&m->call, g_source_unref);
}

/* One at a time: who calls again no longer waits for the first. */
static void call_main(struct migrate *m, GSourceFunc func)
{
	g_mutex_lock(&m->lock);
	drop_call(m);
	m->call = g_idle_source_new();
	g_source_set_priority(m->call, G_PRIORITY_HIGH);
	g_source_set_callback(m->call, func, m, NULL);
	g_source_attach(m->call, NULL);
	g_mutex_unlock(&m->lock);
}

static gboolean pause_now(gpointer opaque);
static gboolean resume_now(gpointer opaque);
static gboolean thread_ended(gpointer opaque);

static bool wait_paused(struct migrate *m, GError **error)
{
	g_mutex_lock(&m->lock);
	while (!m->paused && !m->cancelled)
		g_cond_wait(&m->changed, &m->lock);
	if (m->pause_error)
		g_propagate_error(error, g_steal_pointer(&m->pause_error));
	else if (!m->paused)
		kv_fail(error, KV_ERROR_USAGE, "cancelled");
	g_mutex_unlock(&m->lock);
	return m->state;
}

static bool is_little(struct migrate *m, unsigned round)
{
	uint64_t limit = __atomic_load_n(&m->vmm->migrate_settings.downtime_limit, __ATOMIC_RELAXED);
	struct saved_counts c;

	saver_counts(m->saver, &c);
	if (m->background)
		return c.remaining <= FILE_LEFT || round >= ROUNDS_MAX;
	return c.remaining * 1000 <= limit * c.bytes_a_second || !c.remaining;
}

static bool send_rounds(struct migrate *m, GError **error)
{
	for (unsigned round = 1;; round++) {
		if (!saver_round(m->saver, error))
			return false;
		if (is_little(m, round))
			break;
	}
	call_main(m, pause_now);
	if (!m->background)
		return wait_paused(m, error) && saver_finish(m->saver, m->state, m->ran, error);
	if (!wait_paused(m, error) || !saver_last(m->saver, error))
		return false;
	call_main(m, resume_now);
	return saver_finish_sealed(m->saver, m->state, m->ran, error);
}

static bool send_moment(struct migrate *m, GError **error)
{
	if (!saver_protect(m->saver, error))
		return false;
	call_main(m, pause_now);
	return saver_serve(m->saver, error) && wait_paused(m, error) &&
	       saver_finish_sealed(m->saver, m->state, m->ran, error);
}

static bool is_cancelled(void *opaque)
{
	struct migrate *m = opaque;
	bool yes;

	g_mutex_lock(&m->lock);
	yes = m->cancelled;
	g_mutex_unlock(&m->lock);
	return yes;
}

/* Only then does the thread lose sockets and names. */
static bool reach_target(struct migrate *m, GError **error)
{
	if (m->target.tcp) {
		m->target.fd = migrate_tcp_connect(m->target.tcp, is_cancelled, m, error);
		if (m->target.fd < 0)
			return false;
		saver_set_stream(m->saver, m->target.fd);
	}
	kv_role_enter("saver");
	return true;
}

static gpointer send_thread(gpointer opaque)
{
	struct migrate *m = opaque;
	GError *error = NULL;

	if (reach_target(m, &error) && saver_begin(m->saver, &error))
		(m->moment ? send_moment : send_rounds)(m, &error);
	m->result = error;
	call_main(m, thread_ended);
	return NULL;
}

/* ---- in the main thread ---- */

/* What cannot leave with the machine. */
static bool may_leave(struct vmm *vmm, GError **error)
{
	g_autoptr(GList) jobs = job_list();

	for (GList *j = jobs; j; j = j->next) {
		const struct job *job = j->data;

		if (job->status < JOB_CONCLUDED)
			return kv_fail(error, KV_ERROR_BUSY, "the job '%s' is %s: wait for its end or cancel it", job->id,
				       job_status_name(job->status));
	}
	return !vmm->qmp_module || !vmm->qmp_module->has_exports(vmm) ||
	       kv_fail(error, KV_ERROR_BUSY, "disks are exported by NBD: remove the exports with block-export-del");
}

static bool take_state(struct migrate *m, GError **error)
{
	struct vmm *vmm = m->vmm;
	g_autoptr(GByteArray) state = g_byte_array_new();

	if ((!m->background && !may_leave(vmm, error)) || !machine_save(vmm->machine, state, error))
		return false;
	if (m->moment && !saver_seal(m->saver, error))
		return false;
	if (!m->background && !vmm_release_disks(vmm, error))
		return false;
	m->released = !m->background;
	m->state = g_steal_pointer(&state);
	return true;
}

static void go_on(struct migrate *m)
{
	g_autoptr(GError) error = NULL;

	if (m->gone_on)
		return;
	m->gone_on = true;
	m->downtime = g_get_monotonic_time() - m->paused_at;
	m->vmm->stop_reason = m->reason;
	if (m->released && !vmm_take_disks(m->vmm, &error)) {
		kv_log_error("%s; the machine stands still until cont", error->message);
		m->vmm->stop_reason = "postmigrate";
		return;
	}
	m->released = false;
	if (m->ran && !vmm_cont(m->vmm, &error))
		kv_log_error("%s", error->message);
}

enum call { CALL_NOW, CALL_LATER, CALL_STALE };

/* By the thread's source: not while something else changes the machine's state. */
static enum call called(struct migrate *m)
{
	enum call what = CALL_NOW;

	g_mutex_lock(&m->lock);
	if (g_main_current_source() != m->call) {
		what = CALL_STALE;
	} else if (machine_busy(m->vmm->machine)) {
		g_source_set_priority(m->call, G_PRIORITY_DEFAULT_IDLE);
		what = CALL_LATER;
	} else {
		g_clear_pointer(&m->call, g_source_unref);
	}
	g_mutex_unlock(&m->lock);
	return what;
}

static void pause_machine(struct migrate *m, GError **error)
{
	m->paused_at = g_get_monotonic_time();
	m->ran = !m->vmm->stopped;
	m->reason = m->vmm->stop_reason;
	vmm_stop(m->vmm);
	if (!m->background)
		m->vmm->stop_reason = "finish-migrate";
	if (!take_state(m, error))
		saver_cancel(m->saver);
	if (m->moment && m->state)
		go_on(m);
}

static gboolean resume_now(gpointer opaque)
{
	struct migrate *m = opaque;
	enum call what = called(m);

	if (what == CALL_NOW)
		go_on(m);
	return what == CALL_LATER;
}

static gboolean pause_now(gpointer opaque)
{
	struct migrate *m = opaque;
	enum call what = called(m);
	GError *error = NULL;

	if (what != CALL_NOW)
		return what == CALL_LATER;
	if (m->cancelled)
		return G_SOURCE_REMOVE;
	pause_machine(m, &error);
	g_mutex_lock(&m->lock);
	m->pause_error = error;
	m->paused = true;
	g_cond_broadcast(&m->changed);
	g_mutex_unlock(&m->lock);
	return G_SOURCE_REMOVE;
}

static void failed(struct migrate *m, GError *error)
{
	bool cancelled = m->vmm->migrate_status == MIGRATE_CANCELLING;

	if (!cancelled)
		kv_log_warn("the machine was not saved: %s", error->message);
	g_free(m->error);
	m->error = cancelled ? NULL : g_strdup(error->message);
	migrate_close_target(&m->target, false, NULL);
	if (m->paused_at)
		go_on(m);
	migrate_set_status(m->vmm, cancelled ? MIGRATE_CANCELLED : MIGRATE_FAILED);
}

static void completed(struct migrate *m)
{
	if (m->background)
		go_on(m);
	else
		m->vmm->stop_reason = "postmigrate";
	migrate_set_status(m->vmm, MIGRATE_COMPLETED);
}

static void finish(struct migrate *m)
{
	g_autoptr(GError) error = NULL;

	g_thread_join(g_steal_pointer(&m->thread));
	drop_call(m);
	m->ended = g_get_monotonic_time();
	if (m->paused_at && !m->downtime)
		m->downtime = m->ended - m->paused_at;
	/* What stopped it in the main thread says more than that the thread was stopped; or came too late: all is there. */
	if (m->result)
		error = m->pause_error ? g_steal_pointer(&m->pause_error) : g_steal_pointer(&m->result);
	g_clear_error(&m->pause_error);
	g_clear_error(&m->result);
	saver_counts(m->saver, &m->last);
	g_clear_pointer(&m->saver, saver_free);
	if (!error)
		migrate_close_target(&m->target, true, &error);
	if (error)
		failed(m, error);
	else
		completed(m);
	g_clear_pointer(&m->state, g_byte_array_unref);
}

static gboolean thread_ended(gpointer opaque)
{
	struct migrate *m = opaque;

	enum call what = called(m);

	if (what == CALL_NOW && m->thread)
		finish(m);
	return what == CALL_LATER;
}

static void free_migrate(struct vmm *vmm)
{
	struct migrate *m = vmm->migrate;

	if (!m)
		return;
	drop_call(m);
	g_mutex_clear(&m->lock);
	g_cond_clear(&m->changed);
	g_free(m->error);
	g_free(m);
	vmm->migrate = NULL;
}

static bool can_protect(struct migrate *m)
{
	g_autoptr(GError) error = NULL;

	if (saver_register(m->saver, &error))
		return true;
	kv_log_debug("background-snapshot: memory is copied in rounds: %s", error->message);
	return false;
}

bool migrate_start(struct vmm *vmm, const char *uri, GError **error)
{
	struct migrate_target target;
	struct migrate *m;

	if (migrate_is_active(vmm))
		return kv_fail(error, KV_ERROR_BUSY, "There's a migration process in progress");
	if (vmm->incoming || vmm->incoming_deferred)
		return kv_fail(error, KV_ERROR_USAGE, "Guest is waiting for an incoming migration");
	if (vmm->stop_reason && g_str_has_suffix(vmm->stop_reason, "migrate"))
		return kv_fail(error, KV_ERROR_USAGE, "Can't migrate the vm that was paused due to previous migration");
	if (vmm->migrate_settings.background && !g_str_has_prefix(uri, "file:"))
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "background-snapshot is for file:PATH");
	if ((!vmm->migrate_settings.background && !may_leave(vmm, error)) || !migrate_open_target(vmm, uri, &target, error))
		return false;
	free_migrate(vmm);
	m = vmm->migrate = g_new0(struct migrate, 1);
	*m = (struct migrate){ .vmm = vmm, .target = target, .background = vmm->migrate_settings.background,
			       .started = g_get_monotonic_time() };
	g_mutex_init(&m->lock);
	g_cond_init(&m->changed);
	vmm->migrate_status = MIGRATE_NONE;
	migrate_set_status(vmm, MIGRATE_SETUP);
	m->saver = saver_new(vmm->machine, target.fd, target.form);
	m->moment = m->background && can_protect(m);
	if (!m->moment && !saver_log(m->saver, error)) {
		g_clear_pointer(&m->saver, saver_free);
		migrate_close_target(&m->target, false, NULL);
		migrate_set_status(vmm, MIGRATE_FAILED);
		return false;
	}
	m->thread = g_thread_new("migration", send_thread, m);
	migrate_apply_settings(vmm);
	m->setup_done = g_get_monotonic_time();
	migrate_set_status(vmm, MIGRATE_ACTIVE);
	return true;
}

/* why: what is told of it, if it has not failed already; NULL: that it was stopped. */
static void stop_thread(struct migrate *m, const char *why)
{
	saver_cancel(m->saver);
	g_mutex_lock(&m->lock);
	m->cancelled = true;
	if (why && !m->pause_error)
		kv_fail(&m->pause_error, KV_ERROR_GUEST, "%s", why);
	g_cond_broadcast(&m->changed);
	g_mutex_unlock(&m->lock);
}

void migrate_cancel(struct vmm *vmm)
{
	if (!migrate_is_active(vmm))
		return;
	migrate_set_status(vmm, MIGRATE_CANCELLING);
	stop_thread(vmm->migrate, NULL);
}

void migrate_settle(struct vmm *vmm)
{
	struct migrate *m = vmm->migrate;

	if (!migrate_is_active(vmm) || (!m->moment && !m->paused_at))
		return;
	if (!m->moment || !m->state)
		stop_thread(m, "the machine was reset before it was saved");
	finish(m);
}

/* At the end of the process nothing is started again. */
void migrate_close(struct vmm *vmm)
{
	struct migrate *m = vmm->migrate;

	if (migrate_is_active(vmm)) {
		stop_thread(m, NULL);
		g_thread_join(g_steal_pointer(&m->thread));
		saver_free(m->saver);
		migrate_close_target(&m->target, false, NULL);
		g_clear_error(&m->result);
		g_clear_error(&m->pause_error);
		g_clear_pointer(&m->state, g_byte_array_unref);
	}
	free_migrate(vmm);
	g_clear_pointer(&vmm->fds, g_hash_table_unref);
}

bool migrate_may_run(struct vmm *vmm, GError **error)
{
	if (vmm->incoming || vmm->incoming_deferred) {
		vmm->autostart = true;
		return false;
	}
	if (g_strcmp0(vmm->stop_reason, "finish-migrate") == 0)
		return kv_fail(error, KV_ERROR_BUSY, "Migration is not finalized yet");
	if (!vmm_take_disks(vmm, error))
		return false;
	vmm->stop_reason = NULL;
	return true;
}

static int64_t to_ms(gint64 us)
{
	return us / 1000;
}

void migrate_info(struct vmm *vmm, struct migrate_info *ret)
{
	struct migrate *m = vmm->migrate;

	*ret = (struct migrate_info){ .status = vmm->migrate_status, .total = -1, .setup = -1, .downtime = -1, .expected = -1 };
	if (!m)
		return;
	ret->error = m->error;
	ret->has_counts = true;
	ret->counts = m->last;
	if (m->saver)
		saver_counts(m->saver, &ret->counts);
	ret->setup = to_ms(m->setup_done - m->started);
	ret->total = to_ms((m->thread ? g_get_monotonic_time() : m->ended) - m->started);
	if (m->downtime)
		ret->downtime = to_ms(m->downtime);
	if (m->thread && ret->counts.bytes_a_second)
		ret->expected = (int64_t)(ret->counts.remaining * 1000 / ret->counts.bytes_a_second);
}
