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

void vmm_event_unplugged(struct vmm *vmm, const char *id, int cpu)
{
	g_autofree char *path = id ? g_strconcat("/machine/peripheral/", id, NULL) : vmm_vcpu_path(vmm, (unsigned)cpu);

	if (id)
		vmm_event(vmm, "DEVICE_DELETED", g_variant_new_parsed("{'device': <%s>, 'path': <%s>}", id, path));
	else
		vmm_event(vmm, "DEVICE_DELETED", g_variant_new_parsed("{'path': <%s>}", path));
}

char *vmm_vcpu_path(const struct vmm *vmm, unsigned index)
{
	const char *id = machine_vcpu_id(vmm->machine, index);

	return id ? g_strconcat("/machine/peripheral/", id, NULL) : g_strdup_printf("/machine/unattached/device[%u]", index);
}

GVariant *vmm_cpu_ost(const struct vmm *vmm, unsigned cpu)
{
	const char *id = machine_vcpu_id(vmm->machine, cpu);
	g_autofree char *slot = g_strdup_printf("%u", cpu);
	uint32_t source, status;
	GVariantDict d;

	if (!machine_cpu_ost(vmm->machine, cpu, &source, &status))
		return NULL;
	g_variant_dict_init(&d, NULL);
	if (id)
		g_variant_dict_insert(&d, "device", "s", id);
	g_variant_dict_insert(&d, "slot", "s", slot);
	g_variant_dict_insert(&d, "slot-type", "s", "CPU");
	g_variant_dict_insert(&d, "source", "x", (gint64)source);
	g_variant_dict_insert(&d, "status", "x", (gint64)status);
	return g_variant_dict_end(&d);
}

void vmm_event_cpu_ost(struct vmm *vmm, unsigned cpu)
{
	GVariant *info = vmm_cpu_ost(vmm, cpu);

	if (info)
		vmm_event(vmm, "ACPI_DEVICE_OST", g_variant_new_parsed("{'info': <%@a{sv}>}", info));
}
