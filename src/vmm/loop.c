/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The main loop: runs the machine, takes signals, and turns the way it ends into the exit
 * status of the process. Signals come through a signalfd, so that all of this happens in the
 * main thread, outside of any handler. See vmm.h.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <glib-unix.h>

#include "char.h"
#include "disk.h"
#include "error.h"
#include "log.h"
#include "machine.h"
#include "saved.h"
#include "sandbox.h"
#include "vmm.h"

enum {
	STATUS_FAILED = 1,
	STATUS_SIGNAL = 128, /* plus the signal's number, as shells have it */
};

static void handled_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

void vmm_block_signals(void)
{
	sigset_t set;

	handled_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* cause: guest or not, and QEMU's ShutdownCause (qapi/run-state.json). */
static void leave(struct vmm *vmm, int status, bool guest, const char *cause)
{
	vmm_event_cause(vmm, "SHUTDOWN", guest, cause);
	vmm->status = status;
	g_main_loop_quit(vmm->loop);
}

void vmm_guest_stops(struct vmm *vmm, const char *reason)
{
	vmm_stop(vmm);
	vmm->stop_reason = reason;
}

/* The guest has powered itself off, or has reset itself where it may not: that it waits for a reset is a choice of the user's. */
static void power_off(struct vmm *vmm, const char *cause)
{
	if (vmm->shutdown_action == SHUTDOWN_POWEROFF) {
		leave(vmm, 0, true, cause);
		return;
	}
	vmm_event_cause(vmm, "SHUTDOWN", true, cause);
	vmm_guest_stops(vmm, "shutdown");
}

static void fail(struct vmm *vmm, GError *error)
{
	kv_log_error("%s", error->message);
	g_error_free(error);
	leave(vmm, STATUS_FAILED, false, "host-error");
}

static void ended(void *opaque, enum machine_end end, const char *text);

static bool run_or_wake(struct vmm *vmm, GError **error)
{
	bool wakes = machine_woken(vmm->machine);

	if ((wakes && !machine_wake_reset(vmm->machine, error)) || !machine_run(vmm->machine, ended, vmm, error))
		return false;
	if (wakes)
		vmm_event(vmm, "WAKEUP", NULL);
	return true;
}

/* The guest went to sleep, or is woken; with `stop` in between all waits for `cont`. */
static void sleep_changed(struct vmm *vmm, const char *event)
{
	GError *error = NULL;

	if (event && machine_asleep(vmm->machine))
		vmm_event(vmm, event, NULL);
	if (!vmm->stopped && !run_or_wake(vmm, &error))
		fail(vmm, error);
}

static void restart(struct vmm *vmm, bool guest, const char *cause)
{
	GError *error = NULL;

	vmm_event_cause(vmm, "RESET", guest, cause);
	migrate_settle(vmm);
	if (!machine_reset(vmm->machine, &error) ||
	    (!vmm->stopped && !run_or_wake(vmm, &error)))
		fail(vmm, error);
}

void vmm_guest_reset(struct vmm *vmm)
{
	if (vmm->reboot_action == REBOOT_SHUTDOWN) {
		kv_log_info("the guest rebooted, which is its end, as --no-reboot or --action asks");
		power_off(vmm, "guest-reset");
		return;
	}
	machine_pause(vmm->machine);
	restart(vmm, true, "guest-reset");
}

/* What the guest asks for after that it asks too late. */
void vmm_guest_quit(struct vmm *vmm, int status, const char *cause)
{
	if (g_main_loop_is_running(vmm->loop))
		leave(vmm, status, true, cause);
}

static void ended(void *opaque, enum machine_end end, const char *text)
{
	struct vmm *vmm = opaque;

	switch (end) {
	case MACHINE_SUSPENDED:
		sleep_changed(vmm, "SUSPEND");
		break;
	case MACHINE_WOKEN:
		sleep_changed(vmm, NULL);
		break;
	case MACHINE_HIBERNATED:
		vmm_event(vmm, "SUSPEND_DISK", NULL);
		power_off(vmm, "guest-shutdown");
		break;
	case MACHINE_POWEROFF:
	case MACHINE_QUIT:
		power_off(vmm, "guest-shutdown");
		break;
	case MACHINE_RESET:
		vmm_guest_reset(vmm);
		break;
	case MACHINE_TRIPLE_FAULT:
		kv_log_error("the guest died of a triple fault%s%s", text ? ": " : "",
			     text ? text : "");
		leave(vmm, STATUS_FAILED, true, "guest-panic");
		break;
	case MACHINE_ERROR:
		kv_log_error("%s", text ? text : "the CPU engine failed");
		leave(vmm, STATUS_FAILED, false, "host-error");
		break;
	}
}

bool vmm_sleeps(const struct vmm *vmm)
{
	return !vmm->stopped && machine_asleep(vmm->machine);
}

void vmm_stop(struct vmm *vmm)
{
	vmm->autostart = false;
	if (vmm->stopped)
		return;
	vmm->stopped = true;
	machine_pause(vmm->machine);
	vmm_event(vmm, "STOP", NULL);
}

/*
 * The main loop may be run from inside of a pause or reset, where this has to wait, and behind all that they wait for. Another
 * request that fails during the pause changes nothing: it is kept like the first.
 */
static gboolean io_error_stop(gpointer opaque)
{
	struct vmm *vmm = opaque;
	bool stopped = vmm->stopped;

	if (!stopped && machine_busy(vmm->machine)) {
		g_source_set_priority(vmm->io_error_stop, G_PRIORITY_DEFAULT_IDLE);
		return G_SOURCE_CONTINUE;
	}
	g_clear_pointer(&vmm->io_error_stop, g_source_unref);
	if (stopped)
		return G_SOURCE_REMOVE;
	vmm_stop(vmm);
	vmm->io_error = true;
	return G_SOURCE_REMOVE;
}

static void tell_io_error(struct vmm *vmm, struct disk *d, const struct disk_error *e)
{
	vmm_event_io_error(vmm, d, e);
	if (e->action != DISK_STOP || vmm->io_error_stop)
		return;
	kv_log_warn("%s: %s: %s; the machine stands still%s", disk_id(d), e->read ? "cannot read" : "cannot write",
		    g_strerror(e->err), vmm->qmp ? " until QMP's cont" : ", and without --qmp it cannot be told to go on");
	vmm->io_error_stop = g_idle_source_new();
	g_source_set_priority(vmm->io_error_stop, G_PRIORITY_HIGH);
	g_source_set_callback(vmm->io_error_stop, io_error_stop, vmm, NULL);
	g_source_attach(vmm->io_error_stop, NULL);
}

/* Of a disk that an I/O thread serves, on its way to the main loop. */
struct far_error {
	struct vmm *vmm;
	struct disk *disk; /* perhaps gone by then */
	struct disk_error error;
};

static gboolean on_far_error(gpointer opaque)
{
	struct far_error *f = opaque;

	for (unsigned i = 0; i < f->vmm->n_disks; i++)
		if (f->vmm->disks[i].disk == f->disk)
			tell_io_error(f->vmm, f->disk, &f->error);
	return G_SOURCE_REMOVE;
}

static void io_error(void *opaque, struct disk *d, const struct disk_error *e)
{
	struct far_error *f;
	GSource *source;

	if (g_main_context_is_owner(NULL)) {
		tell_io_error(opaque, d, e);
		return;
	}
	f = g_new(struct far_error, 1);
	*f = (struct far_error){ opaque, d, *e };
	source = g_idle_source_new();
	g_source_set_priority(source, G_PRIORITY_HIGH);
	g_source_set_callback(source, on_far_error, f, g_free);
	g_source_attach(source, NULL);
	g_source_unref(source);
}

static void tray_moved(void *opaque, struct disk *d, bool open)
{
	vmm_event_tray(opaque, d, open);
}

void vmm_watch_disk(struct vmm *vmm, struct disk *disk, bool on)
{
	disk_set_error_func(disk, on ? io_error : NULL, vmm);
	disk_set_tray_func(disk, on ? tray_moved : NULL, vmm);
}

static void watch_disks(struct vmm *vmm, bool on)
{
	for (unsigned i = 0; i < vmm->n_disks; i++)
		vmm_watch_disk(vmm, vmm->disks[i].disk, on);
}

bool vmm_cont(struct vmm *vmm, GError **error)
{
	g_autoptr(GError) why = NULL;

	if (!vmm->stopped)
		return true;
	if (!g_strcmp0(vmm->stop_reason, "shutdown"))
		return kv_fail(error, KV_ERROR_USAGE, "Resetting the Virtual Machine is required");
	if (migrate_may_run(vmm, &why))
		return vmm_go(vmm, error);
	if (why)
		g_propagate_error(error, g_steal_pointer(&why));
	return !*error;
}

bool vmm_go(struct vmm *vmm, GError **error)
{
	vmm_event(vmm, "RESUME", NULL);
	vmm->stopped = vmm->prelaunch = vmm->io_error = false;
	return run_or_wake(vmm, error);
}

void vmm_reset(struct vmm *vmm)
{
	if (vmm->incoming || vmm->incoming_deferred) { /* what is there yet will be another's */
		vmm_event_cause(vmm, "RESET", false, "host-qmp-system-reset");
		return;
	}
	vmm->io_error = false;
	if (!g_strcmp0(vmm->stop_reason, "shutdown") || !g_strcmp0(vmm->stop_reason, "guest-panicked"))
		vmm->stop_reason = "prelaunch";
	restart(vmm, false, "host-qmp-system-reset");
}

void vmm_at_rest(struct vmm *vmm, void (*f)(void *opaque), void *opaque)
{
	GError *error = NULL;

	machine_pause(vmm->machine);
	f(opaque);
	if (!vmm->stopped && !run_or_wake(vmm, &error))
		fail(vmm, error);
}

void vmm_powerdown(struct vmm *vmm)
{
	vmm_event(vmm, "POWERDOWN", NULL);
	machine_power_button(vmm->machine);
}

void vmm_quit(struct vmm *vmm)
{
	leave(vmm, 0, false, "host-qmp-quit");
}

void vmm_fail(struct vmm *vmm)
{
	leave(vmm, STATUS_FAILED, false, "host-error");
}

static void quit_key(void *opaque)
{
	leave(opaque, 0, false, "host-ui");
}

/* 0: none. */
static int read_signal(int fd)
{
	struct signalfd_siginfo info;
	uint8_t sig;

	if (fd == sandbox_signals())
		return read(fd, &sig, 1) == 1 ? sig : 0;
	return read(fd, &info, sizeof(info)) == sizeof(info) ? (int)info.ssi_signo : 0;
}

static gboolean on_signal(gint fd, GIOCondition condition, gpointer data)
{
	struct vmm *vmm = data;
	int sig = read_signal(fd);

	if (!sig)
		return G_SOURCE_CONTINUE;
	if (sig == SIGTERM && !vmm->power_pressed) {
		vmm->power_pressed = true;
		kv_log_info("SIGTERM: pressed the guest's power button; once more to quit");
		vmm_powerdown(vmm);
		return G_SOURCE_CONTINUE;
	}
	kv_log_info("quit by SIG%s", sigabbrev_np(sig));
	leave(vmm, STATUS_SIGNAL + sig, false, "host-signal");
	return G_SOURCE_CONTINUE;
}

static void take_signals(struct vmm *vmm)
{
	sigset_t set;

	handled_signals(&set);
	vmm->signal_fd = sandbox_signals() >= 0 ? sandbox_signals() : signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (vmm->signal_fd < 0) {
		kv_log_warn("signals are not handled: %s", g_strerror(errno));
		return;
	}
	vmm->signals = g_unix_fd_source_new(vmm->signal_fd, G_IO_IN);
	g_source_set_callback(vmm->signals, G_SOURCE_FUNC(on_signal), vmm, NULL);
	g_source_attach(vmm->signals, NULL);
}

/* A machine that comes from elsewhere runs when it is here. */
static bool start(struct vmm *vmm, GError **error)
{
	bool paused = vmm_flag(vmm, "paused"), comes;
	const char *uri = NULL;

	vmm->running = g_get_monotonic_time();
	comes = options_lookup(vmm->options, "incoming", "&s", &uri);
	if (!comes && !paused)
		return machine_run(vmm->machine, ended, vmm, error);
	vmm->stopped = true;
	vmm->prelaunch = !comes;
	vmm->autostart = !paused;
	if (!comes)
		return true;
	vmm->stop_reason = "inmigrate";
	vmm->incoming_deferred = strcmp(uri, "defer") == 0;
	return vmm->incoming_deferred || incoming_start(vmm, uri, error);
}

/* Behind the vCPUs, which start the sooner: nothing of a guest's first instructions waits for these. */
static bool start_engine(GError **error)
{
	return kvcore_start_threads() == 0 || kv_fail_errno(error, errno, "cannot start the CPU engine's threads");
}

static void unplugged(void *opaque, const char *id, int cpu)
{
	struct vmm *vmm = opaque;

	if (cpu < 0) {
		vmm_unplug_drive(vmm, id);
		vmm_card_gone(vmm, id);
		vmm_give_back_chardev(vmm, id);
	}
	vmm_event_unplugged(vmm, id, cpu);
}

int vmm_run(struct vmm *vmm)
{
	GError *error = NULL;

	vmm->loop = g_main_loop_new(NULL, FALSE);
	take_signals(vmm);
	char_set_quit(vmm->console, quit_key, vmm);
	if (vmm->virtio_console)
		char_set_quit(vmm->virtio_console, quit_key, vmm);
	watch_disks(vmm, true);
	machine_on_unplugged(vmm->machine, unplugged, vmm);
	if (vmm->qmp)
		saved_keep_open();
	if (sandbox_enter(vmm, &error) && vmm_start_iothreads(vmm, &error) && start(vmm, &error) && start_engine(&error))
		g_main_loop_run(vmm->loop);
	else
		fail(vmm, error);
	incoming_close(vmm);
	migrate_close(vmm);
	if (vmm->qmp)
		vmm->qmp_module->close(vmm);
	machine_pause(vmm->machine);
	vmm->stopped = true; /* for an I/O thread's error that is on its way: jobs end behind the machine */
	watch_disks(vmm, false);
	vmm_close_notices(vmm);
	if (vmm->io_error_stop)
		g_source_destroy(vmm->io_error_stop);
	g_clear_pointer(&vmm->io_error_stop, g_source_unref);
	if (vmm->signals) {
		g_source_destroy(vmm->signals);
		g_source_unref(vmm->signals);
		close(vmm->signal_fd);
	}
	g_main_loop_unref(vmm->loop);
	return vmm->status;
}
