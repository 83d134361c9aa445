/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP commands about the machine as a whole: what it is, its processors, stop and go. See qmp.h. */
#include "machine.h"
#include "options.h"
#include "qmp.h"
#include "vmm.h"

JsonNode *qmp_query_version(void *opaque, JsonObject *args, GError **error)
{
	return qmp_version();
}

JsonNode *qmp_query_name(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm *vmm = opaque;
	JsonObject *o = json_object_new();
	const char *name;

	if (options_lookup(vmm->options, "name", "&s", &name))
		json_object_set_string_member(o, "name", name);
	return qmp_object(o);
}

JsonNode *qmp_query_status(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm *vmm = opaque;
	JsonObject *o = json_object_new();

	json_object_set_string_member(o, "status", vmm->stop_reason ? vmm->stop_reason :
						   vmm->io_error    ? "io-error" :
						   vmm->prelaunch   ? "prelaunch" :
						   vmm->stopped	    ? "paused" :
						   vmm_sleeps(vmm)  ? "suspended" :
								      "running");
	json_object_set_boolean_member(o, "singlestep", FALSE);
	json_object_set_boolean_member(o, "running", !vmm->stopped && !vmm_sleeps(vmm));
	return qmp_object(o);
}

/* The kernel's KVM, that is: clients take `enabled` for hardware virtualization. */
JsonNode *qmp_query_kvm(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm *vmm = opaque;
	JsonObject *o = json_object_new();

	json_object_set_boolean_member(o, "enabled", vmm->accel.accel == KVCORE_KVM);
	json_object_set_boolean_member(o, "present", TRUE);
	return qmp_object(o);
}

JsonNode *qmp_stop(void *opaque, JsonObject *args, GError **error)
{
	vmm_stop(opaque);
	return qmp_nothing();
}

JsonNode *qmp_cont(void *opaque, JsonObject *args, GError **error)
{
	return vmm_cont(opaque, error) ? qmp_nothing() : NULL;
}

JsonNode *qmp_system_powerdown(void *opaque, JsonObject *args, GError **error)
{
	vmm_powerdown(opaque);
	return qmp_nothing();
}

JsonNode *qmp_system_reset(void *opaque, JsonObject *args, GError **error)
{
	vmm_reset(opaque);
	return qmp_nothing();
}

JsonNode *qmp_quit(void *opaque, JsonObject *args, GError **error)
{
	vmm_quit(opaque);
	return qmp_nothing();
}

JsonNode *qmp_inject_nmi(void *opaque, JsonObject *args, GError **error)
{
	machine_nmi(((struct vmm *)opaque)->machine);
	return qmp_nothing();
}

static const struct qmp_type watchdog_action = { .kind = QMP_ENUM, .values = option_watchdog_actions };
const struct qmp_member qmp_watchdog_set_action_args[] = { { "action", &watchdog_action }, {} };

static const struct qmp_type reboot_action = { .kind = QMP_ENUM, .values = option_reboot_actions };
static const struct qmp_type shutdown_action = { .kind = QMP_ENUM, .values = option_shutdown_actions };
static const struct qmp_type panic_action = { .kind = QMP_ENUM, .values = option_panic_actions };
const struct qmp_member qmp_set_action_args[] = {
	{ "reboot", &reboot_action, .optional = true },
	{ "shutdown", &shutdown_action, .optional = true },
	{ "panic", &panic_action, .optional = true },
	{ "watchdog", &watchdog_action, .optional = true },
	{},
};

JsonNode *qmp_set_action(void *opaque, JsonObject *args, GError **error)
{
	const char *watchdog = qmp_text(args, "watchdog");

	vmm_set_actions(opaque, qmp_text(args, "reboot"), qmp_text(args, "shutdown"), qmp_text(args, "panic"));
	if (watchdog)
		vmm_set_watchdog(opaque, watchdog);
	return qmp_nothing();
}

/* No interrupt of the clock is ever late, to be repeated. */
JsonNode *qmp_rtc_reset_reinjection(void *opaque, JsonObject *args, GError **error)
{
	return qmp_nothing();
}

JsonNode *qmp_watchdog_set_action(void *opaque, JsonObject *args, GError **error)
{
	vmm_set_watchdog(opaque, json_object_get_string_member(args, "action"));
	return qmp_nothing();
}
