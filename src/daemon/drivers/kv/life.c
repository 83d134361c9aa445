/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine's life as its user has it: started, paused, ended. Workers, with the domain's job. See kv.h. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kv.h"
#include "log.h"
#include "workers.h"

enum { START_SECONDS = 60, QUIT_SECONDS = 5, UNBLOCK_SECONDS = 2, NAME_IN_PATH = 20 };
enum { MODE_ACPI = 1 };

/* ---- its start ---- */

/* Short, since a socket's path may not be long. */
static char *run_folder(const struct domain *d, int id)
{
	g_autofree char *name = g_strndup(d->name, NAME_IN_PATH), *folder = NULL;

	for (char *p = name; *p; p++)
		if (!g_ascii_isalnum(*p) && !strchr("-_.", *p))
			*p = '_';
	folder = g_strdup_printf("%d-%s", id, name);
	return g_build_filename(d->hv->state_dir, "run", folder, NULL);
}

static bool make_folder_of(const char *path, GError **error)
{
	g_autofree char *dir = g_path_get_dirname(path);

	return g_mkdir_with_parents(dir, 0700) == 0 || kv_fail_errno(error, errno, "cannot make the folder '%s'", dir);
}

/* Where variables and sockets go there is a folder. */
static bool make_folders(struct kv_machine *m, const struct domain_def *def, const struct command_paths *paths, GError **error)
{
	g_autofree char *nvram = command_nvram_path(domain_def_root(def), paths);
	xmlNode *channel;

	if (g_mkdir_with_parents(m->run, 0700) < 0)
		return kv_fail_errno(error, errno, "cannot make the folder '%s'", m->run);
	if (nvram && !make_folder_of(nvram, error))
		return false;
	for (unsigned n = 0; (channel = domain_def_device(def, "channel", n)); n++) {
		g_autofree char *path = command_channel_path(channel, m->d->name, paths);

		if (xml_is(channel, "@type", "unix") && !make_folder_of(path, error))
			return false;
	}
	return true;
}

static bool reset_nvram(const struct domain_def *def, const struct command_paths *paths, GError **error)
{
	g_autofree char *nvram = command_nvram_path(domain_def_root(def), paths);

	return !nvram || unlink(nvram) == 0 || errno == ENOENT || kv_fail_errno(error, errno, "cannot remove '%s'", nvram);
}

static char **with_incoming(char **argv, const char *memory)
{
	GPtrArray *words = g_ptr_array_new();

	for (char **word = argv; *word; word++)
		g_ptr_array_add(words, *word);
	g_free(argv);
	g_ptr_array_add(words, g_strdup("--incoming"));
	g_ptr_array_add(words, memory ? g_strconcat("file:", memory, NULL) : g_strdup("fd:3"));
	g_ptr_array_add(words, NULL);
	return (char **)g_ptr_array_free(words, FALSE);
}

static bool launch(struct kv_machine *m, unsigned flags, const struct kv_origin *origin, int saved, GError **error)
{
	struct kv_hv *kv = m->d->hv->own;
	struct command_paths paths;
	g_auto(GStrv) argv = NULL;
	xmlNode *card;
	gint64 until;

	kv_paths(kv, m->d->hv, m, &paths);
	kv_name_sockets(m, m->d->live, &paths);
	for (unsigned n = 0; (card = domain_def_device(m->d->live, "interface", n)); n++)
		kv_name_card(m->d->hv, card);
	argv = command_new(domain_def_root(m->d->live), &paths, error);
	if (!argv || !make_folders(m, m->d->live, &paths, error) ||
	    (flags & START_RESET_NVRAM && !reset_nvram(m->d->live, &paths, error)))
		return false;
	if (saved >= 0 || origin->memory)
		argv = with_incoming(g_steal_pointer(&argv), origin->memory);
	if (!kv_process_start(m, argv, saved, error))
		return false;
	kv_scope_start(m);
	until = g_get_monotonic_time() + START_SECONDS * G_USEC_PER_SEC;
	return kv_process_connect(m, until, until, error);
}

/* A saved machine has come when its status is no longer inmigrate. */
static bool wait_incoming(struct kv_machine *m, GError **error)
{
	for (;;) {
		g_autoptr(JsonNode) answer = kv_ask(m, "query-status", NULL, error);
		const char *status = kv_text_in(kv_object(answer), "status");

		if (!answer)
			return false;
		if (!status || strcmp(status, "inmigrate"))
			return true;
		state_wait(&m->changed, g_get_monotonic_time() + 20 * G_TIME_SPAN_MILLISECOND);
	}
}

/* libvirt's words for where it came from: booted, restored, from a snapshot. */
static const struct {
	int running, paused, started, suspended;
} origins[] = {
	{RUNNING_BOOTED, PAUSED_USER, STARTED_BOOTED, SUSPENDED_PAUSED},
	{RUNNING_RESTORED, PAUSED_USER, STARTED_RESTORED, SUSPENDED_RESTORED},
	{RUNNING_FROM_SNAPSHOT, PAUSED_FROM_SNAPSHOT, STARTED_FROM_SNAPSHOT, SUSPENDED_FROM_SNAPSHOT},
};

static void tell_hints(const struct domain *d)
{
	g_auto(GStrv) hints = d->live ? domain_def_hints(d->live) : NULL;
	g_autofree char *text = hints ? g_strjoinv(">, <", hints) : NULL;

	if (text && *text)
		kv_log_warn("domain '%s': kept, without an effect: <%s>", d->name, text);
}

static bool run_it(struct kv_machine *m, unsigned flags, const struct kv_origin *origin, bool running, GError **error)
{
	unsigned row = origin->snapshot ? 2 : origin->saved != NULL;
	struct domain *d = m->d;

	if (((origin->saved || origin->memory) && !wait_incoming(m, error)) || !kv_learn(m, error) ||
	    !kv_learn_chains(m, error) || !kv_tune_start(m, error) || !kv_arrange(m, error) || !kv_store_starting(m, error))
		return false;
	if (!(flags & START_PAUSED) && running && (!kv_do(m, "cont", NULL, error) || !kv_tune_run(m, error)))
		return false;
	m->starting = false;
	tell_hints(d);
	if (!(flags & START_PAUSED) && running) {
		domain_set_state(d, DOMAIN_RUNNING, origins[row].running, LIFE_STARTED, origins[row].started);
	} else {
		domain_set_state(d, DOMAIN_PAUSED, origins[row].paused, LIFE_STARTED, origins[row].started);
		domain_event_lifecycle(d, LIFE_SUSPENDED, origins[row].suspended);
	}
	if (!qmp_client_is_open(m->qmp)) /* it ended in between, when nobody listened */
		kv_client_ops.closed(m, "");
	return true;
}

/* What it said is told by the caller. */
static void give_up(struct kv_machine *m)
{
	struct domain *d = m->d;

	m->ending = true;
	kv_kill(m, false);
	m->gone = true;
	d->own = NULL;
	d->id = -1;
	d->state = DOMAIN_SHUTOFF;
	d->reason = SHUTOFF_FAILED;
	kv_store_status(d);
	kv_process_clean_up(m);
	kv_machine_unref(m);
}

/* A deletion goes on beside a machine that runs; all else is as it was, or done, before one starts. */
static bool settle_snapshots(struct domain *d, GError **error)
{
	return kv_snapshot_is_pending(d, "delete", NULL) || kv_snapshot_settle(d, error);
}

/* A managed save that was cut short, as the daemon ended meanwhile, is left out; the machine boots, as under libvirt. */
bool kv_start(struct domain *d, unsigned flags, const char *restore_from, GError **error)
{
	g_autofree char *managed = domain_managed_path(d);

	if (!g_strcmp0(restore_from, managed) && kv_saved_is_part(restore_from)) {
		kv_log_warn("domain '%s': ignoring incomplete managed state %s", d->name, restore_from);
		restore_from = NULL;
	}
	return settle_snapshots(d, error) && kv_start_from(d, flags, &(struct kv_origin){.saved = restore_from}, error);
}

bool kv_start_from(struct domain *d, unsigned flags, const struct kv_origin *origin, GError **error)
{
	const char *restore_from = origin->saved;
	g_autoptr(GArray) ports = NULL;
	struct kv_machine *m;
	bool running = true, ok;
	int saved = -1;

	if (restore_from && (saved = kv_open_saved(restore_from, &running, error)) < 0)
		return false;
	if (!d->live && restore_from) { /* what was saved, whatever is defined by now */
		g_autofree char *xml = kv_saved_xml(d->hv, restore_from, error);

		d->live = xml ? domain_def_parse(xml, -1, DEF_LIVE, error) : NULL;
	} else if (!d->live) {
		d->live = domain_def_copy(d->def);
	}
	if (!d->live) {
		if (saved >= 0)
			close(saved);
		return false;
	}
	d->id = ++d->hv->last_id;
	domain_def_set_live(d->live, d->id);
	m = d->own = kv_machine_new(d);
	m->run = run_folder(d, d->id);
	m->starting = true;
	m->restarts = xml_is(domain_def_root(d->live), "on_crash", "restart");
	ports = kv_choose_ports(d, d->live, error);
	ok = ports && launch(m, flags, origin, saved, error) && run_it(m, flags, origin, running, error);
	if (saved >= 0)
		close(saved);
	if (!ok)
		give_up(m);
	return ok;
}

static void start_again(void *opaque)
{
	struct domain *d = opaque;
	g_autoptr(GError) error = NULL;

	if (domain_job_begin(d, JOB_MODIFY, &error)) {
		if (!domain_is_active(d) && domain_stored_def(d, &error) && !kv_start(d, 0, NULL, &error))
			kv_log_error("domain '%s' does not start again: %s", d->name, error->message);
		domain_job_end(d, JOB_MODIFY);
	}
	domain_unref(d);
}

void kv_start_again(struct domain *d)
{
	workers_run(start_again, domain_ref(d));
}

/* ---- its end ---- */

/* graceful: no SIGKILL. What is not flushed by then is lost either way: quit flushes. */
void kv_kill(struct kv_machine *m, bool graceful)
{
	gint64 second = G_USEC_PER_SEC;

	if (m->qmp && qmp_client_is_open(m->qmp) && kv_process_is_alive(m)) {
		g_autoptr(JsonNode) answer =
			qmp_client_call(m->qmp, "quit", NULL, -1, g_get_monotonic_time() + QUIT_SECONDS * second, NULL);
	}
	if (kv_process_wait_end(m, g_get_monotonic_time() + (m->qmp ? QUIT_SECONDS : 0) * second))
		return;
	kv_process_kill(m, graceful ? SIGINT : SIGKILL);
	kv_process_wait_end(m, g_get_monotonic_time() + QUIT_SECONDS * second);
}

bool kv_destroy(struct domain *d, bool graceful, GError **error)
{
	struct kv_machine *m = d->own;

	if (!m || m->gone)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "domain is not running");
	kv_machine_ref(m);
	m->ending = true;
	kv_kill(m, graceful);
	if (kv_process_is_alive(m)) {
		m->ending = false;
		kv_machine_unref(m);
		return rpc_fail(error, VIR_ERR_RESOURCE_BUSY, "Failed to terminate process %d with SIG%s", (int)m->pid,
				graceful ? "INT" : "KILL");
	}
	if (!m->gone) {
		m->gone = true;
		d->own = NULL;
		domain_stopped(d, SHUTOFF_DESTROYED, STOPPED_DESTROYED);
		kv_process_clean_up(m);
		kv_machine_unref(m);
	}
	g_cond_broadcast(&m->changed);
	kv_machine_unref(m);
	return true;
}

bool kv_unblock(struct domain *d)
{
	gint64 until = g_get_monotonic_time() + UNBLOCK_SECONDS * G_USEC_PER_SEC;
	struct kv_machine *m = d->own;
	bool kill = false;

	if (!m)
		return false;
	kv_machine_ref(m);
	while (d->job != JOB_NONE && !m->gone && !m->ending && !kill)
		kill = !state_wait(&d->job_ended, until) && d->job != JOB_NONE;
	if (kill) {
		m->destroyed = true;
		kv_kill(m, false);
	}
	kv_machine_unref(m);
	return kill;
}

/* ---- in between ---- */

bool kv_suspend(struct domain *d, GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);

	if (!m)
		return false;
	if (d->state == DOMAIN_PMSUSPENDED)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "domain is pmsuspended");
	if (d->state == DOMAIN_PAUSED)
		return true;
	m->pause_reason = PAUSED_USER;
	return kv_do(m, "stop", NULL, error); /* the event changes the state, before the answer */
}

bool kv_resume(struct domain *d, GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);

	if (!m)
		return false;
	if (d->state == DOMAIN_PMSUSPENDED)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "domain is pmsuspended");
	if (d->state == DOMAIN_RUNNING)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "domain is already running");
	return kv_do(m, "cont", NULL, error) && kv_tune_run(m, error);
}

/* The agent's way was gone before (agent-power.c). */
static struct kv_machine *for_button(struct domain *d, unsigned modes, GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);

	if (m && modes && !(modes & MODE_ACPI)) {
		rpc_fail(error, VIR_ERR_ARGUMENT_UNSUPPORTED,
			 "this way of a shutdown is not supported; ACPI's power button and the guest's agent are");
		return NULL;
	}
	return m;
}

bool kv_shutdown(struct domain *d, unsigned modes, GError **error)
{
	struct kv_machine *m = for_button(d, modes, error);

	if (m)
		m->fake_reboot = false;
	return m && kv_do(m, "system_powerdown", NULL, error);
}

/* A guest that was asked to end starts again. */
bool kv_reboot(struct domain *d, unsigned modes, GError **error)
{
	struct kv_machine *m = for_button(d, modes, error);

	if (!m)
		return false;
	if (!d->persistent)
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "a transient domain is reset, not rebooted");
	m->fake_reboot = true;
	return kv_do(m, "system_powerdown", NULL, error);
}

bool kv_reset(struct domain *d, GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);

	return m && kv_do(m, "system_reset", NULL, error);
}
