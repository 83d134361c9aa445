/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What devices have to tell: QMP events with QEMU's shapes, and what follows from them. See vmm.h, machine/notice.h. */
#include "log.h"
#include "options.h"
#include "query.h"
#include "vmm.h"

enum { BALLOON_PAUSE_MS = 1000 };

static void port_changed(struct vmm *vmm, const char *id, bool open)
{
	vmm_event(vmm, "VSERPORT_CHANGE", g_variant_new_parsed("{'id': <%s>, 'open': <%b>}", id, (gboolean)open));
}

static void event_with_action(struct vmm *vmm, const char *event, const char *action)
{
	vmm_event(vmm, event, g_variant_new_parsed("{'action': <%s>}", action));
}

static void panicked(struct vmm *vmm)
{
	static const char *const told[] = {
		[PANIC_PAUSE] = "pause", [PANIC_SHUTDOWN] = "poweroff", [PANIC_EXIT_FAILURE] = "poweroff", [PANIC_NONE] = "run",
	};

	kv_log_error("the guest panicked");
	event_with_action(vmm, "GUEST_PANICKED", told[vmm->panic_action]);
	if (vmm->panic_action == PANIC_NONE)
		return;
	if (vmm->panic_action == PANIC_PAUSE)
		vmm_guest_stops(vmm, "guest-panicked");
	else
		vmm_guest_quit(vmm, 1, "guest-panic");
}

/* The guest dumps itself, and goes on. */
static void crash_loaded(struct vmm *vmm)
{
	kv_log_warn("the guest panicked, and takes a dump");
	event_with_action(vmm, "GUEST_CRASHLOADED", "run");
}

static void do_reset(struct vmm *vmm)
{
	vmm_guest_reset(vmm);
}

static void do_poweroff(struct vmm *vmm)
{
	vmm_guest_quit(vmm, 0, "guest-shutdown");
}

static void do_nmi(struct vmm *vmm)
{
	machine_nmi(vmm->machine);
}

static void do_nothing(struct vmm *vmm)
{
}

static void watchdog(struct vmm *vmm)
{
	static void (*const run[])(struct vmm *vmm) = {
		[WATCHDOG_RESET] = do_reset,	   [WATCHDOG_SHUTDOWN] = vmm_powerdown,
		[WATCHDOG_POWEROFF] = do_poweroff, [WATCHDOG_PAUSE] = vmm_stop,
		[WATCHDOG_DEBUG] = do_nothing,	   [WATCHDOG_NONE] = do_nothing,
		[WATCHDOG_INJECT_NMI] = do_nmi,
	};
	const char *name = option_watchdog_actions[vmm->watchdog_action];

	kv_log_warn("the guest's watchdog ran out: %s", name);
	event_with_action(vmm, "WATCHDOG", name);
	run[vmm->watchdog_action](vmm);
}

static unsigned index_of(const char *const *words, const char *word)
{
	unsigned i = 0;

	while (words[i] && !g_str_equal(words[i], word))
		i++;
	return i;
}

void vmm_set_watchdog(struct vmm *vmm, const char *action)
{
	vmm->watchdog_action = (enum watchdog_action)index_of(option_watchdog_actions, action);
}

void vmm_set_actions(struct vmm *vmm, const char *reboot, const char *shutdown, const char *panic)
{
	if (reboot)
		vmm->reboot_action = (enum reboot_action)index_of(option_reboot_actions, reboot);
	if (shutdown)
		vmm->shutdown_action = (enum shutdown_action)index_of(option_shutdown_actions, shutdown);
	if (panic)
		vmm->panic_action = (enum panic_action)index_of(option_panic_actions, panic);
}

static void tell_balloon(struct vmm *vmm)
{
	uint64_t bytes;

	if (machine_balloon(vmm->machine, &bytes))
		vmm_event(vmm, "BALLOON_CHANGE", g_variant_new_parsed("{'actual': <%x>}", (gint64)bytes));
}

static gboolean balloon_again(gpointer opaque)
{
	struct vmm *vmm = opaque;

	if (!vmm->balloon_moved) {
		g_clear_pointer(&vmm->balloon_pause, g_source_unref);
		return G_SOURCE_REMOVE;
	}
	vmm->balloon_moved = false;
	tell_balloon(vmm);
	return G_SOURCE_CONTINUE;
}

/* As in QEMU: at once, then once a second at most, and the last one is told. */
static void balloon_changed(struct vmm *vmm)
{
	if (vmm->balloon_pause) {
		vmm->balloon_moved = true;
		return;
	}
	tell_balloon(vmm);
	vmm->balloon_pause = g_timeout_source_new(BALLOON_PAUSE_MS);
	g_source_set_callback(vmm->balloon_pause, balloon_again, vmm, NULL);
	g_source_attach(vmm->balloon_pause, NULL);
}

static void rx_filter_changed(struct vmm *vmm, const char *id)
{
	g_autofree char *type = machine_device_type(vmm->machine, id);
	g_autofree char *path = g_strdup_printf("/machine/peripheral/%s%s", id,
						type && g_str_has_prefix(type, "virtio-") ? "/virtio-backend" : "");

	if (type)
		vmm_event(vmm, "NIC_RX_FILTER_CHANGED", g_variant_new_parsed("{'name': <%s>, 'path': <%s>}", id, path));
}

void vmm_close_notices(struct vmm *vmm)
{
	if (vmm->balloon_pause)
		g_source_destroy(vmm->balloon_pause);
	g_clear_pointer(&vmm->balloon_pause, g_source_unref);
}

void vmm_noticed(void *opaque, enum machine_notice what, const char *name, uint32_t value)
{
	struct vmm *vmm = opaque;

	switch (what) {
	case NOTICE_PORT:
		port_changed(vmm, name, value);
		break;
	case NOTICE_PANICKED:
		panicked(vmm);
		break;
	case NOTICE_CRASH_LOADED:
		crash_loaded(vmm);
		break;
	case NOTICE_WATCHDOG:
		watchdog(vmm);
		break;
	case NOTICE_BALLOON:
		balloon_changed(vmm);
		break;
	case NOTICE_RX_FILTER:
		rx_filter_changed(vmm, name);
		break;
	case NOTICE_CLOCK:
		vmm_rtc_changed(vmm, (int32_t)value);
		break;
	case NOTICE_CPU_OST:
		vmm_event_cpu_ost(vmm, value);
		break;
	case NOTICE_EXIT:
		vmm_guest_quit(vmm, value & 0xff, "guest-shutdown");
		break;
	}
}
