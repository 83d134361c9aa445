/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See events.h. */
#include "events.h"

#include <errno.h>

#include "disk.h"
#include "vmm.h"

void vmm_event(struct vmm *vmm, const char *name, GVariant *data)
{
	g_autoptr(GVariant) own = data ? g_variant_ref_sink(data) : NULL;

	if (vmm->qmp_module)
		vmm->qmp_module->event(vmm, name, own);
}

void vmm_event_cause(struct vmm *vmm, const char *name, bool guest, const char *reason)
{
	vmm_event(vmm, name, g_variant_new_parsed("{'guest': <%b>, 'reason': <%s>}", (gboolean)guest, reason));
}

void vmm_event_io_error(struct vmm *vmm, struct disk *d, const struct disk_error *e)
{
	static const char *const actions[] = { [DISK_REPORT] = "report", [DISK_IGNORE] = "ignore", [DISK_STOP] = "stop" };
	g_auto(GVariantDict) data = G_VARIANT_DICT_INIT(NULL);

	g_variant_dict_insert(&data, "device", "s", disk_id(d));
	g_variant_dict_insert(&data, "operation", "s", e->read ? "read" : "write");
	g_variant_dict_insert(&data, "action", "s", actions[e->action]);
	if (e->nospace_counts)
		g_variant_dict_insert(&data, "nospace", "b", (gboolean)(e->err == ENOSPC));
	g_variant_dict_insert(&data, "reason", "s", g_strerror(e->err));
	vmm_event(vmm, "BLOCK_IO_ERROR", g_variant_dict_end(&data));
}

void vmm_event_tray(struct vmm *vmm, struct disk *d, bool open)
{
	const char *id = disk_id(d);

	vmm_event(vmm, "DEVICE_TRAY_MOVED",
		  g_variant_new_parsed("{'device': <%s>, 'id': <%s>, 'tray-open': <%b>}", id, id, (gboolean)open));
}

void vmm_event_unplugged(struct vmm *vmm, const char *id)
{
	g_autofree char *path = g_strconcat("/machine/peripheral/", id, NULL);

	vmm_event(vmm, "DEVICE_DELETED", g_variant_new_parsed("{'device': <%s>, 'path': <%s>}", id, path));
}
