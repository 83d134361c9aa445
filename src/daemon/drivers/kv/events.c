/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a machine tells: QMP's events become the domain's state and libvirt's events, a row each; the connection's end is the
 * machine's. In the main thread, with the state lock held: nothing here waits. See kv.h.
 */
#include <signal.h>
#include <string.h>

#include "events.h"
#include "kv.h"
#include "log.h"
#include "workers.h"

enum { END_SECONDS = 15, POLL_MS = 50, REGAIN_MS = 1000 };
enum { WATCHDOG_NONE, WATCHDOG_PAUSE, WATCHDOG_RESET, WATCHDOG_POWEROFF, WATCHDOG_SHUTDOWN, WATCHDOG_DEBUG, WATCHDOG_INJECTNMI };
enum { IO_ERROR_NONE, IO_ERROR_PAUSE, IO_ERROR_REPORT };
enum { TRAY_OPEN, TRAY_CLOSE };
enum { AGENT_CONNECTED = 1, AGENT_DISCONNECTED = 2, AGENT_BY_CHANNEL = 2 };

/* ---- its state ---- */

static void on_shutdown(struct kv_machine *m, JsonObject *data)
{
	const char *reason = kv_text_in(data, "reason");

	g_free(m->shutdown);
	m->shutdown = g_strdup(reason ? reason : "");
	if (m->starting || m->ending)
		return;
	domain_set_state(m->d, DOMAIN_SHUTDOWN, 0, LIFE_SHUTDOWN, kv_flag_in(data, "guest") ? SHUTDOWN_GUEST : SHUTDOWN_HOST);
}

static int suspend_detail(int reason)
{
	return reason == PAUSED_IOERROR ? SUSPENDED_IOERROR : reason == PAUSED_WATCHDOG ? SUSPENDED_WATCHDOG : SUSPENDED_PAUSED;
}

static void on_stop(struct kv_machine *m, JsonObject *data)
{
	int reason = m->pause_reason;

	m->pause_reason = PAUSED_UNKNOWN;
	if (!m->starting && m->d->state != DOMAIN_PAUSED)
		domain_set_state(m->d, DOMAIN_PAUSED, reason, LIFE_SUSPENDED, suspend_detail(reason));
}

static void on_resume(struct kv_machine *m, JsonObject *data)
{
	if (!m->starting && m->d->state == DOMAIN_PAUSED)
		domain_set_state(m->d, DOMAIN_RUNNING, RUNNING_UNPAUSED, LIFE_RESUMED, RESUMED_UNPAUSED);
}

static void on_reset(struct kv_machine *m, JsonObject *data)
{
	m->resets++;
	events_domain(m->d, DOMAIN_EVENT_REBOOT, NULL);
}

static void on_suspend(struct kv_machine *m, JsonObject *data)
{
	domain_set_state(m->d, DOMAIN_PMSUSPENDED, 0, LIFE_PMSUSPENDED, 0);
	events_domain(m->d, DOMAIN_EVENT_PMSUSPEND, NULL);
}

static void on_wakeup(struct kv_machine *m, JsonObject *data)
{
	if (m->d->state == DOMAIN_PMSUSPENDED)
		domain_set_state(m->d, DOMAIN_RUNNING, RUNNING_WAKEUP, LIFE_STARTED, STARTED_WAKEUP);
	events_domain(m->d, DOMAIN_EVENT_PMWAKEUP, NULL);
}

static void on_suspend_disk(struct kv_machine *m, JsonObject *data)
{
	events_domain(m->d, DOMAIN_EVENT_PMSUSPEND_DISK, NULL);
}

static void on_panic(struct kv_machine *m, JsonObject *data)
{
	m->panicked = true;
	domain_set_state(m->d, DOMAIN_CRASHED, 1, LIFE_CRASHED, 0);
}

/* It dumps itself, and goes on. */
static void on_crash_loaded(struct kv_machine *m, JsonObject *data)
{
	domain_event_lifecycle(m->d, LIFE_CRASHED, CRASHED_CRASHLOADED);
}

static void on_watchdog(struct kv_machine *m, JsonObject *data)
{
	static const char *const names[] = {
		[WATCHDOG_NONE] = "none",
		[WATCHDOG_PAUSE] = "pause",
		[WATCHDOG_RESET] = "reset",
		[WATCHDOG_POWEROFF] = "poweroff",
		[WATCHDOG_SHUTDOWN] = "shutdown",
		[WATCHDOG_DEBUG] = "debug",
		[WATCHDOG_INJECTNMI] = "inject-nmi",
	};
	const char *action = kv_text_in(data, "action");
	int n = WATCHDOG_NONE;

	for (unsigned i = 0; action && i < G_N_ELEMENTS(names); i++)
		if (!strcmp(names[i], action))
			n = (int)i;
	if (n == WATCHDOG_PAUSE)
		m->pause_reason = PAUSED_WATCHDOG;
	events_domain(m->d, DOMAIN_EVENT_WATCHDOG, g_variant_new("(i)", n));
}

/* ---- its devices ---- */

static void on_io_error(struct kv_machine *m, JsonObject *data)
{
	const char *alias = kv_text_in(data, "device"), *action = kv_text_in(data, "action");
	const xmlNode *disk = kv_device_by_alias(m->d->live, "disk", alias);
	const char *path = disk ? xml_text(disk, "source/@file") : NULL, *why = kv_flag_in(data, "nospace") ? "enospc" : "";
	int n = !action || !strcmp(action, "ignore") ? IO_ERROR_NONE : !strcmp(action, "stop") ? IO_ERROR_PAUSE : IO_ERROR_REPORT;

	if (!path && disk)
		path = xml_text(disk, "source/@dev");
	if (n == IO_ERROR_PAUSE)
		m->pause_reason = PAUSED_IOERROR;
	events_domain(m->d, DOMAIN_EVENT_IO_ERROR, g_variant_new("(ssi)", path ? path : "", alias ? alias : "", n));
	events_domain(m->d, DOMAIN_EVENT_IO_ERROR_REASON, g_variant_new("(ssis)", path ? path : "", alias ? alias : "", n, why));
}

static void on_deleted(struct kv_machine *m, JsonObject *data)
{
	const char *alias = kv_text_in(data, "device");
	bool vcpu = kv_vcpu_left(m, data);

	if (!alias)
		return;
	if (g_strcmp0(m->leaving, alias) == 0) {
		g_clear_pointer(&m->leaving, g_free);
		g_cond_broadcast(&m->changed);
		return;
	}
	if (vcpu)
		return;
	kv_remove_backends(m, alias);
	domain_device_left(m->d, alias);
}

static void on_tray(struct kv_machine *m, JsonObject *data)
{
	const char *alias = kv_text_in(data, "device");
	xmlNode *disk = kv_device_by_alias(m->d->live, "disk", alias);
	bool open = kv_flag_in(data, "tray-open");

	if (disk)
		xml_set(disk, "target/@tray", open ? "open" : "closed");
	kv_store_status(m->d);
	events_domain(m->d, DOMAIN_EVENT_TRAY_CHANGE, g_variant_new("(si)", alias ? alias : "", open ? TRAY_OPEN : TRAY_CLOSE));
}

static void on_balloon(struct kv_machine *m, JsonObject *data)
{
	guint64 kib = (guint64)MAX(kv_number_in(data, "actual"), 0) / 1024;
	g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, kib);

	if (m->d->live)
		domain_def_set_text(m->d->live, "currentMemory", text);
	events_domain(m->d, DOMAIN_EVENT_BALLOON_CHANGE, g_variant_new("(t)", kib));
}

static void on_rtc(struct kv_machine *m, JsonObject *data)
{
	events_domain(m->d, DOMAIN_EVENT_RTC_CHANGE, g_variant_new("(x)", kv_number_in(data, "offset")));
}

static void on_port(struct kv_machine *m, JsonObject *data)
{
	xmlNode *channel = kv_device_by_alias(m->d->live, "channel", kv_text_in(data, "id"));
	bool open = kv_flag_in(data, "open");

	if (!channel)
		return;
	xml_set(channel, "target/@state", open ? "connected" : "disconnected");
	kv_store_status(m->d);
	if (xml_is(channel, "target/@name", "org.qemu.guest_agent.0"))
		events_domain(m->d, DOMAIN_EVENT_AGENT_LIFECYCLE,
			      g_variant_new("(ii)", open ? AGENT_CONNECTED : AGENT_DISCONNECTED, AGENT_BY_CHANNEL));
}

static void on_job(struct kv_machine *m, JsonObject *data)
{
	kv_block_job_status(m, kv_text_in(data, "id"), kv_text_in(data, "status"));
}

static const struct {
	const char *name;
	void (*func)(struct kv_machine *m, JsonObject *data);
} rows[] = {
	{"BALLOON_CHANGE", on_balloon},
	{"BLOCK_IO_ERROR", on_io_error},
	{"DEVICE_DELETED", on_deleted},
	{"DEVICE_TRAY_MOVED", on_tray},
	{"GUEST_CRASHLOADED", on_crash_loaded},
	{"GUEST_PANICKED", on_panic},
	{"JOB_STATUS_CHANGE", on_job},
	{"RESET", on_reset},
	{"RESUME", on_resume},
	{"RTC_CHANGE", on_rtc},
	{"SHUTDOWN", on_shutdown},
	{"STOP", on_stop},
	{"SUSPEND", on_suspend},
	{"SUSPEND_DISK", on_suspend_disk},
	{"VSERPORT_CHANGE", on_port},
	{"WAKEUP", on_wakeup},
	{"WATCHDOG", on_watchdog},
};

static void on_event(void *opaque, const char *name, JsonObject *data)
{
	g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), data);
	g_autofree char *details = json_to_string(node, FALSE);
	gint64 now = g_get_real_time();
	struct kv_machine *m = opaque;

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		if (!strcmp(rows[i].name, name))
			rows[i].func(m, data);
	events_monitor(m->d, name, now / G_USEC_PER_SEC, (unsigned)(now % G_USEC_PER_SEC), details);
}

/* ---- its end ---- */

static void tell_end(struct kv_machine *m)
{
	const char *why = m->shutdown;

	if (m->destroyed)
		domain_stopped(m->d, SHUTOFF_DESTROYED, STOPPED_DESTROYED);
	else if (m->panicked || (why && !strcmp(why, "guest-panic")))
		domain_stopped(m->d, SHUTOFF_CRASHED, STOPPED_CRASHED);
	else if (!why)
		domain_stopped(m->d, SHUTOFF_CRASHED, STOPPED_FAILED);
	else if (!strcmp(why, "host-error"))
		domain_stopped(m->d, SHUTOFF_FAILED, STOPPED_FAILED);
	else
		domain_stopped(m->d, SHUTOFF_SHUTDOWN, STOPPED_SHUTDOWN);
}

void kv_machine_ended(struct kv_machine *m)
{
	struct domain *d = m->d;
	bool crashed = m->panicked || !m->shutdown || !strcmp(m->shutdown, "guest-panic");
	bool again = d->persistent && !m->destroyed && (m->fake_reboot || (crashed && m->restarts));

	if (m->gone)
		return;
	domain_ref(d);
	m->gone = true;
	tell_end(m);
	d->own = NULL;
	g_cond_broadcast(&m->changed);
	kv_process_clean_up(m);
	kv_machine_unref(m);
	if (again)
		kv_start_again(d);
	domain_unref(d);
}

/* Who is in the middle of a call about it has its definition, and hears first that its monitor is gone. */
static void let_others_end(struct kv_machine *m)
{
	struct domain *d = domain_ref(m->d);

	while (!m->ending && !m->gone && !m->end_awaited && d->job != JOB_NONE)
		state_wait(&d->job_ended, g_get_monotonic_time() + POLL_MS * G_TIME_SPAN_MILLISECOND);
	domain_unref(d);
}

/*
 * A monitor may be lost without the machine: by an answer of more than a client takes, or one that makes no sense. Nobody's guest
 * ends for that while it can be had again.
 */
static bool regain(struct kv_machine *m)
{
	gint64 until = g_get_monotonic_time() + END_SECONDS * G_USEC_PER_SEC;

	do {
		if (m->ending || m->gone ||
		    kv_process_wait_end(m, g_get_monotonic_time() + REGAIN_MS * G_TIME_SPAN_MILLISECOND))
			return false;
		if (!m->ending && !m->gone && kv_regain(m))
			return true;
	} while (g_get_monotonic_time() < until);
	return false;
}

/* Its files are free when the process is gone: who hears of the end may start it again. */
static void finish(void *opaque)
{
	struct kv_machine *m = opaque;

	if (regain(m)) {
		kv_machine_unref(m);
		return;
	}
	if (!m->ending && !m->gone && kv_process_is_alive(m)) {
		kv_log_warn("domain '%s': its process %d does not end; it is killed", m->d->name, (int)m->pid);
		kv_process_kill(m, SIGKILL);
		kv_process_wait_end(m, g_get_monotonic_time() + G_USEC_PER_SEC);
	}
	if (!m->ending && !m->gone)
		let_others_end(m);
	if (!m->ending)
		kv_machine_ended(m);
	kv_machine_unref(m);
}

static void on_closed(void *opaque, const char *why)
{
	struct kv_machine *m = opaque;

	g_cond_broadcast(&m->changed);
	if (!m->starting && !m->ending && !m->gone)
		workers_run(finish, kv_machine_ref(m));
}

const struct qmp_client_ops kv_client_ops = {state_acquire, state_release, state_wait, on_event, on_closed};
