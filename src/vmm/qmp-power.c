/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP commands about sleep: whether the machine can, and its end. The guest begins it; events come from loop.c. See qmp.h. */
#include "machine.h"
#include "qmp.h"
#include "vmm.h"

JsonNode *qmp_query_current_machine(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm *vmm = opaque;
	JsonObject *o = json_object_new();

	json_object_set_boolean_member(o, "wakeup-suspend-support", machine_can_sleep(vmm->machine));
	return qmp_object(o);
}

JsonNode *qmp_system_wakeup(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm *vmm = opaque;

	if (!machine_can_sleep(vmm->machine))
		return qmp_fail(error, QMP_ERROR_GENERIC, "wake-up from suspend is not supported by this guest");
	if (!vmm_sleeps(vmm))
		return qmp_fail(error, QMP_ERROR_GENERIC, "Unable to wake up: guest is not in suspended state");
	machine_wake(vmm->machine);
	return qmp_nothing();
}
