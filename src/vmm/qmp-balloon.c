/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP commands about the memory balloon (QEMU's qapi/machine.json); its event is in notices.c. See qmp.h. */
#include "qmp.h"
#include "query.h"
#include "vmm.h"

const struct qmp_member qmp_balloon_args[] = { { "value", &qmp_integer }, {} };

static JsonNode *no_balloon(GError **error)
{
	return qmp_fail(error, QMP_ERROR_DEVICE_NOT_ACTIVE, "No balloon device has been activated");
}

JsonNode *qmp_balloon(void *opaque, JsonObject *args, GError **error)
{
	gint64 bytes = json_object_get_int_member(args, "value");
	const struct vmm *vmm = opaque;
	uint64_t now;

	if (!machine_balloon(vmm->machine, &now))
		return no_balloon(error);
	if (bytes <= 0)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'target' expects a size");
	machine_set_balloon(vmm->machine, (uint64_t)bytes);
	return qmp_nothing();
}

JsonNode *qmp_query_balloon(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm *vmm = opaque;
	JsonObject *o;
	uint64_t bytes;

	if (!machine_balloon(vmm->machine, &bytes))
		return no_balloon(error);
	o = json_object_new();
	json_object_set_int_member(o, "actual", (gint64)bytes);
	return qmp_object(o);
}
