/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What devices have to tell: QMP events with QEMU's shapes, and what follows from them. See vmm.h, machine/notice.h. */
#include "qmp.h"
#include "vmm.h"

static void port_changed(struct vmm *vmm, const char *id, bool open)
{
	JsonObject *data = json_object_new();

	json_object_set_string_member(data, "id", id);
	json_object_set_boolean_member(data, "open", open);
	qmp_event(vmm, "VSERPORT_CHANGE", data);
}

void vmm_noticed(void *opaque, enum machine_notice what, const char *name, bool on)
{
	struct vmm *vmm = opaque;

	switch (what) {
	case NOTICE_PORT:
		port_changed(vmm, name, on);
		break;
	}
}
